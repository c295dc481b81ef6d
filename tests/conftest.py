"""For all tests: rendered images and runs go to a temporary folder, never to the user's own."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHC_CACHE", str(folder / "cache"))
        patch.setenv("SHC_RUNS", str(folder / "runs"))
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("SHC_DEBUG", "1")  # what must always hold is asserted
        yield


@pytest.fixture(scope="session")
def tool():
    """tool(name): the module tools/NAME.py, which is in no package."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent.parent / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def forks():
    """Processes that have imported everything, to be killed or starved."""
    from killed import Forks

    started = Forks()
    yield started
    started.close()
