"""For all tests: rendered images and runs go to a temporary folder, never to the user's own."""

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
