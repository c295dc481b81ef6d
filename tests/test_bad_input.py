"""Every bad input is refused: the message names the cause, no library's traceback is shown, no file is changed."""

import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import bad_inputs
import bad_inputs_api
import bad_inputs_binary
import bad_inputs_commands
import bad_inputs_files
import bad_inputs_index
import bad_inputs_lists
import bad_inputs_parameters
import bad_inputs_stages
import bad_inputs_sweeps
import pytest
import reliability
from test_cifar import tiny_counts as small_cifar  # noqa: F401
from test_fashion_mnist import tiny_counts as small_fashion_mnist  # noqa: F401

import shc
from shc import cli, pipeline
from shc.datasets import coco

SURFACES = {
    "commands and their options": bad_inputs_commands,
    "parameters of notebooks": bad_inputs_parameters,
    "sweep files and tables": bad_inputs_sweeps,
    "runs, stores and single files": bad_inputs_files,
    "data sets in archives and binary files": bad_inputs_binary,
    "data sets of single pictures": bad_inputs_lists,
    "the index": bad_inputs_index,
    "codes, labels and metrics": bad_inputs_api,
    "centers, stages and trainings": bad_inputs_stages,
}
CASES = [case for module in SURFACES.values() for case in module.CASES]
PACKAGE = Path(shc.__file__).parent
PATH = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def built_folders():
    """What cases copy is deleted in the end."""
    built = []
    with pytest.MonkeyPatch.context() as patch:
        made = bad_inputs.mkdtemp
        patch.setattr(bad_inputs, "mkdtemp", lambda **options: built.append(made(**options)) or built[-1])
        yield
    for folder in built:
        shutil.rmtree(folder)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of the case's own, entered; runs and data are looked for there, and no kernel starts."""
    for name in ("runs", "data"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"SHC_{name.upper()}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(coco, "COUNTS", {"query": 3, "train": 5})
    monkeypatch.setattr(pipeline, "execute_file", lambda *_, **__: pytest.fail("a kernel was started"))
    return tmp_path


def refusal(case, place, capsys):
    """The message by which the input was refused."""
    if isinstance(case.call, str):
        try:
            status = cli.main([part for part in case.call.format(p=place).split(" ") if part])
        except SystemExit as error:  # argparse
            status = error.code
        printed = capsys.readouterr()
        assert status in (1, 2), f"it was accepted, and said: {printed.out}"
        return printed.err + printed.out * case.call.startswith("verify")
    with pytest.raises(ValueError) as raised:
        case.call(place)
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert PACKAGE in Path(last.filename).parents, f"{last.filename} raised it: {raised.value}"
    return str(raised.value)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_refused_and_nothing_is_changed(case, place, capsys):
    if case.prepare:
        case.prepare(place)
    before = bad_inputs.snapshot(place)
    message = refusal(case, place, capsys)
    missing = [word for word in case.words.split(" & ") if word.format(p=place) not in message]
    assert not missing, f"{missing} is not told: {message}"
    assert "Traceback" not in message and len(message) < 5000
    assert bad_inputs.snapshot(place) == before


PROCESSES = (
    ("rum", "'rum'"),
    ("run --name ../x", "'../x'"),
    ("run --set bitz=8", "did you mean 'bits'"),
    ("run --from 02 --only 03", "--from and --only"),
    ("train --run x --stage centers", "'centers'"),
    ("encode --run x --out codes", "--images --split"),
    ("evaluate --query nowhere --database nowhere", "nowhere holds no encoded images"),
    ("sweep nowhere.yaml", "no file nowhere.yaml"),
    ("verify nowhere", "nowhere is not there"),
    ("report --name .git", "'.git'"),
    ("datasets --download", "which data set"),
)


def test_the_command_itself_says_so_without_a_traceback(place):
    before, environment = bad_inputs.snapshot(place), os.environ | {"PYTHONPATH": PATH}
    options = dict(stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=place, env=environment)
    started = [subprocess.Popen([sys.executable, "-m", "shc", *line.split()], **options) for line, _ in PROCESSES]
    for process, (line, words) in zip(started, PROCESSES, strict=True):
        out, told = process.communicate(timeout=120)
        assert process.returncode in (1, 2) and words in told, f"shc {line}: {process.returncode}, {told}{out}"
        assert "Traceback" not in told + out
    assert bad_inputs.snapshot(place) == before


GOOD = list({id(case.good): case for case in CASES if case.good}.values())


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.surface)
def test_the_same_call_without_the_mistake_is_accepted(case, place):
    case.good()


def test_there_are_three_hundred_and_all_differ():
    names = [str(case) for case in CASES]
    lines = [case.call for case in CASES if isinstance(case.call, str) and not case.prepare]
    assert len(set(names)) == len(names) >= 300 and len(set(lines)) == len(lines)
    assert all(case.words.strip() for case in CASES)
    for surface, module in SURFACES.items():
        reliability.count("inputs", surface, cases=len(module.CASES))
