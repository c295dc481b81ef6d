import asyncio
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fake_notebooks as fake
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shc import cli, pipeline
from shc.pipeline import NotebookError, ParameterError, RunError
from shc.presets import PRESETS
from shc.runs import Run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with small notebooks, entered; runs are kept in its `runs`."""
    fake.write_sequence(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHC_RUNS", raising=False)
    return tmp_path


@pytest.fixture
def executed(project, monkeypatch):
    """Instead of executing, note which notebooks with which values, and leave the file that papermill would."""
    calls = []

    def note(run, notebook, values):
        calls.append((notebook, dict(values)))
        return fake.write(run.path / "notebooks" / f"{notebook}.ipynb", fake.notebook())

    monkeypatch.setattr(pipeline, "execute", note)
    monkeypatch.setattr(pipeline, "MAKES", {name: () for name in pipeline.MAKES})
    return calls


def names(calls):
    found = [name for name, _ in calls]
    calls.clear()
    return found


def quietly(*arguments, **options):
    return pipeline.run_sequence(*arguments, say=lambda line: None, **options)


# ------------------------------------------------------------------------------------------ folders and names


def test_notebooks_are_found_here_or_beside_the_package(project, monkeypatch):
    assert pipeline.notebooks_folder() == (project / "notebooks").resolve()
    assert pipeline.runs_folder() == project.resolve() / "runs"
    monkeypatch.setenv("SHC_RUNS", str(project / "elsewhere"))
    assert pipeline.run_path("a") == project / "elsewhere" / "a"
    (project / "empty").mkdir()
    monkeypatch.chdir(project / "empty")
    monkeypatch.setattr(pipeline, "__file__", str(project / "empty" / "shc" / "pipeline.py"))
    with pytest.raises(RunError, match="notebooks were not found; run this command in the project's folder"):
        pipeline.notebooks_folder()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", ".hidden", "a b", "a\n", "a\0", "~x"])
def test_a_run_name_cannot_leave_the_runs_folder(project, name):
    with pytest.raises(ParameterError, match="letters, digits"):
        pipeline.run_path(name)


@given(st.text(max_size=20))
def test_every_accepted_run_name_is_a_folder_of_the_runs_folder(name):
    try:
        path = pipeline.run_path(name)
    except ParameterError:
        return
    assert path.resolve().parent == pipeline.runs_folder().resolve()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3}', "{}"])
def test_a_file_that_is_no_notebook_is_told(project, content):
    file = project / "notebooks" / "00_tour.ipynb"
    file.write_text(content)
    with pytest.raises(RunError, match=r"00_tour.*notebook"):
        pipeline.all_parameters()


def test_a_bad_parameters_cell_is_told_with_its_notebook(project):
    fake.write(project / "notebooks" / "03_hash_centers.ipynb", fake.notebook(fake.parameters("bits = 3")))
    with pytest.raises(RunError, match=r"^notebook 03_hash_centers: a parameters cell may only hold"):
        pipeline.all_parameters()


# ------------------------------------------------------------------------------------------ stamps


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in the place of `shc`: centers imports hamming, plots stands alone, methods is a folder."""
    files = {
        "__init__.py": "",
        "centers.py": '"""Doc."""\nfrom shc.hamming import distance\ndef solve(x):\n    """Doc."""\n    return x + 1\n',
        "hamming.py": "def distance(a, b):\n    return a - b  # bits\n",
        "plots.py": "def draw(x):\n    return x\n",
        "methods/__init__.py": "",
        "methods/csq.py": "WEIGHT = 1\n",
    }
    for name, text in files.items():
        file = tmp_path / "package" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(pipeline, "__file__", str(tmp_path / "package" / "pipeline.py"))
    return tmp_path / "package"


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("import shc\nshc.centers.solve(3)", {"centers.py", "hamming.py"}),
        ("from shc import centers", {"centers.py", "hamming.py"}),
        ("from shc.centers import solve", {"centers.py", "hamming.py"}),
        ("import shc.plots as p", {"plots.py"}),
        ("from shc import plots, hamming", {"plots.py", "hamming.py"}),
        ("from shc import methods", {"__init__.py", "csq.py"}),
        ("from shc.methods.csq import WEIGHT", {"csq.py"}),
        ("%matplotlib inline\n!ls\nimport shc.plots", {"plots.py"}),
        ("import numpy as np\nimport shc", set()),
        ("x = 'shc.plots'", set()),
    ],
)
def test_the_modules_that_code_uses(package, code, used):
    assert {file.name for file in pipeline.modules_used(code)} == used


def test_the_hash_ignores_comments_docstrings_and_layout_but_not_code(package):
    book = fake.notebook(fake.markdown("# Title"), fake.code("from shc import centers"))
    before = pipeline.source_hash(book)

    def after(file, text):
        old = (package / file).read_text()
        (package / file).write_text(text)
        found = pipeline.source_hash(book)
        (package / file).write_text(old)
        return found

    same = "# moved\nfrom shc.hamming import distance\n\ndef solve(x):\n\n    return (x + 1)  # plus one\n"
    assert after("centers.py", same) == before
    assert after("hamming.py", 'def distance(a, b):\n    """Bits."""\n    return a - b\n') == before
    assert after("plots.py", "def draw(x):\n    return 2 * x\n") == before  # not used here
    assert after("centers.py", same.replace("x + 1", "x + 2")) != before
    assert after("hamming.py", "def distance(a, b):\n    return b - a\n") != before  # used by what is used
    assert pipeline.source_hash(book) == before


def test_the_hash_is_the_same_in_every_version_of_python(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "import a.b as c\n\n\n@c.d(1)\nclass E(F, g=1):\n    x: int = -1\n\n    def h(self, *i, j=None, **k) -> str:\n"
        "        return f'{i!r:>{j}} {k[\"l\"]}' 'm' if i else (lambda: [n for n in i if n < 1e-3])\n"
    )
    assert pipeline.code_hash({file}) == "8d479b4514536dc69c20357bcfcca7dce7a000fc04073652f966754a5ed4df66"


def test_the_hash_follows_the_notebooks_text_and_not_its_outputs(package):
    def hash_of(*cells, **metadata):
        return pipeline.source_hash(fake.notebook(*cells, **metadata))

    before = hash_of(fake.markdown("a"), fake.code("x = 1"))
    assert hash_of(fake.markdown("a"), fake.code("x = 1", fake.stream("3"), count=4), widgets={"state": {}}) == before
    assert hash_of(fake.markdown("a"), fake.code(["x ", "= 1"])) == before  # lists of lines are stored too
    assert hash_of(fake.markdown("b"), fake.code("x = 1")) != before
    assert hash_of(fake.markdown("a"), fake.code("x = 2")) != before
    assert hash_of(fake.markdown("a"), fake.code("x = 1  # one")) != before
    assert hash_of(fake.code("a"), fake.code("x = 1")) != before


def test_a_notebook_that_does_not_parse_is_told(package):
    with pytest.raises(RunError, match=r"code does not parse .*: for x in"):
        pipeline.source_hash(fake.notebook(fake.code("for x in\n    pass")))


# ------------------------------------------------------------------------------------------ selection and skipping


@pytest.mark.parametrize(
    ("first", "only", "chosen"),
    [
        (None, None, slice(None)),
        ("03", None, slice(3, None)),
        ("3", None, slice(3, None)),
        ("03_hash_centers", None, slice(3, None)),
        (None, "05", slice(5, 6)),
        (None, "0", slice(0, 1)),
    ],
)
def test_notebooks_are_selected_by_number_or_name(first, only, chosen):
    assert pipeline.select(first, only) == pipeline.SEQUENCE[chosen]


@pytest.mark.parametrize(
    ("first", "only", "told"),
    [
        ("9", None, "--from 9 names no notebook; they are 00_tour, 01_classifier"),
        (None, "hash_centers", "--only hash_centers names no notebook"),
        ("01", "02", "--from and --only exclude each other"),
    ],
)
def test_a_selection_of_nothing_is_told(first, only, told):
    with pytest.raises(ParameterError, match=told):
        pipeline.select(first, only)


def test_a_second_run_executes_nothing(executed):
    lines = []
    pipeline.run_sequence("one", say=lines.append)
    assert names(executed) == list(pipeline.SEQUENCE)
    assert len(lines) == len(pipeline.SEQUENCE) and all(" s " in line for line in lines)
    lines.clear()
    pipeline.run_sequence("one", say=lines.append)
    assert names(executed) == [] and all("unchanged" in line for line in lines)
    quietly("two")
    assert names(executed) == list(pipeline.SEQUENCE)


def test_a_changed_notebook_is_executed_with_what_depends_on_it(executed, project):
    quietly("one")
    names(executed)
    book = fake.notebook(fake.parameters(), fake.code("x = 2"))
    fake.write(project / "notebooks" / "03_hash_centers.ipynb", book)
    quietly("one")
    assert names(executed) == list(pipeline.SEQUENCE[3:])
    fake.write(project / "notebooks" / "00_tour.ipynb", book)  # makes nothing that others need
    quietly("one")
    assert names(executed) == ["00_tour"]


def test_changed_values_execute_what_takes_them_and_what_follows(executed, project):
    source = fake.PARAMETERS + "\nbits: int = 32  # code length"
    fake.write(project / "notebooks" / "03_hash_centers.ipynb", fake.notebook(fake.parameters(source)))
    quietly("one")
    names(executed)
    quietly("one", settings=["bits=16"])
    assert executed[0] == ("03_hash_centers", {"bits": 16})
    assert names(executed) == list(pipeline.SEQUENCE[3:])
    quietly("one", settings=["bits=16"])
    assert names(executed) == []
    quietly("one", settings=["seed=1"])
    assert {name: values for name, values in executed}["00_tour"] == {"seed": 1}
    assert names(executed) == list(pipeline.SEQUENCE)


def test_what_is_selected_is_executed_even_if_nothing_changed(executed):
    quietly("one")
    names(executed)
    quietly("one", only="05")
    assert names(executed) == ["05_retrieval"]
    quietly("one", first="04")
    assert names(executed) == list(pipeline.SEQUENCE[4:])


def test_a_notebook_is_executed_again_when_a_file_that_it_reads_changes(executed, project):
    source = f'{fake.PARAMETERS}\nframe: str = "../table.csv"  # a table'
    fake.write(project / "notebooks" / "07_compare_methods.ipynb", fake.notebook(fake.parameters(source)))
    (project / "table.csv").write_text("a\n1\n")
    pipeline.run_sequence("one", say=str)
    executed.clear()
    pipeline.run_sequence("one", say=str)
    assert names(executed) == []
    (project / "table.csv").write_text("a\n2\n")
    pipeline.run_sequence("one", say=str)
    assert names(executed) == ["07_compare_methods"]


def test_a_lost_artifact_or_notebook_is_made_again(executed, monkeypatch):
    run = quietly("one")
    names(executed)
    (run.path / "notebooks" / "02_class_similarity.ipynb").unlink()
    quietly("one")
    assert names(executed) == ["02_class_similarity"]
    monkeypatch.setattr(pipeline, "MAKES", pipeline.MAKES | {"03_hash_centers": ("centers", "centers-random")})
    quietly("one")
    assert names(executed) == ["03_hash_centers"]
    for file in (run.file("centers"), run.file("centers", "random")):
        file.write_bytes(b"")
    quietly("one")
    assert names(executed) == []


def test_a_failure_keeps_what_was_finished(executed, monkeypatch):
    note = pipeline.execute

    def fails(run, notebook, values):
        if notebook == "03_hash_centers":
            raise NotebookError("broken")
        return note(run, notebook, values)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "execute", fails)
        with pytest.raises(NotebookError):
            quietly("one")
    assert names(executed) == list(pipeline.SEQUENCE[:3])
    quietly("one")
    assert names(executed) == list(pipeline.SEQUENCE[3:])


def test_other_data_than_the_runs_is_refused_in_the_middle(executed, project):
    source = fake.PARAMETERS + '\ndata: str = "emoji"  # data set\nscale: float = 1.0  # share'
    fake.write(project / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.parameters(source)))
    quietly("one").add_parameters("data", {"data": "emoji", "scale": 0.2})
    names(executed)
    with pytest.raises(ParameterError, match=r"run 'one' was made with data='emoji' \(asked: 'shapes'\); choose"):
        quietly("one", first="03", data="shapes")
    with pytest.raises(ParameterError, match=r"scale=0.2 \(asked: 0.5\)"):
        quietly("one", only="05", settings=["scale=0.5"])
    assert names(executed) == []
    quietly("one", first="03", settings=["scale=0.2"])
    assert names(executed) == list(pipeline.SEQUENCE[3:])


def test_a_headline_stands_in_the_line(executed):
    Run(pipeline.run_path("one")).add_results(headlines={"05_retrieval": "mAP 0.41"})
    lines = []
    pipeline.run_sequence("one", say=lines.append)
    assert next(line for line in lines if line.startswith("05_retrieval")).endswith("mAP 0.41")


# ------------------------------------------------------------------------------------------ execution


def test_an_executed_notebook_gets_its_parameters(project):
    show = fake.code("import os\nprint(run, seed, os.path.basename(os.getcwd()))")
    fake.write_sequence(project, n00_tour=[show])
    run = Run(pipeline.run_path("one"))
    file = pipeline.execute(run, "00_tour", {"seed": 5})
    outputs = [output for cell in json.loads(file.read_text())["cells"] for output in cell.get("outputs", [])]
    assert ["".join(output["text"]) for output in outputs] == ["../runs/one 5 notebooks\n"]
    assert file == run.path / "notebooks" / "00_tour.ipynb"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "bird = 'penguin'\nraise ValueError(f'no such {bird}')",
            "notebook 00_tour, cell 3, failed:\n    bird = 'penguin'\n    raise ValueError(f'no such {bird}')\n"
            "ValueError: no such penguin\nThe executed notebook is ",
        ),
        ("import time\ntime.sleep(60)", "notebook 00_tour stopped: A cell timed out"),
        ("import os\nos._exit(3)", "notebook 00_tour stopped: "),
    ],
    ids=["error", "timeout", "dead kernel"],
)
def test_a_failing_cell_is_shown(project, monkeypatch, source, told):
    monkeypatch.setattr(pipeline, "CELL_TIMEOUT", 2)
    fake.write_sequence(project, n00_tour=[fake.code(source)])
    with pytest.raises(NotebookError) as raised:
        pipeline.execute(Run(pipeline.run_path("one")), "00_tour", {})
    message = str(raised.value)
    assert message.startswith(told) and "Traceback" not in message and "kept" in message
    assert str(project / "runs" / "one" / "notebooks" / "00_tour.ipynb") in message


def test_a_runs_folder_that_cannot_be_written_is_told_before_a_kernel_starts(project):
    (project / "runs").write_text("a file")
    begun = time.perf_counter()
    with pytest.raises(RunError, match=r"could not be written .*--name"):
        quietly("one")
    assert time.perf_counter() - begun < 5


def test_papermill_is_only_needed_to_execute(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(RunError, match=r"needs the extra `notebooks`: pip install '.*\[notebooks\]'"):
        pipeline.execute(Run(pipeline.run_path("one")), "00_tour", {})


# ------------------------------------------------------------------------------------------ command line


def shc(*arguments, cwd):
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "shc", *arguments], cwd=cwd, capture_output=True, text=True)
    return done, time.perf_counter() - begun


def test_a_misspelt_parameter_is_told_at_once(project):
    source = fake.PARAMETERS + "\nbits: int = 32  # code length"
    fake.write(project / "notebooks" / "03_hash_centers.ipynb", fake.notebook(fake.parameters(source)))
    done, seconds = shc("run", "--set", "bitz=3", cwd=project)
    assert done.returncode == 2 and seconds < 2
    assert done.stderr.startswith("shc: no notebook has a parameter 'bitz'; did you mean 'bits'?")
    assert done.stdout == "" and not (project / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["run", "--set", "sed=3"], 2, "did you mean 'seed'?"),
        (["run", "--set", "seed=x"], 2, "seed='x' is not of type int; it is of everything"),
        (["run", "--set", "seed=-1"], 2, "seed=-1 must be 0 or above"),
        (["run", "--name", "../x"], 2, "letters, digits"),
        (["run", "--only", "77"], 2, "--only 77 names no notebook"),
        (["run", "--data", "emojis"], 2, "did you mean 'emoji'?"),
        (["report", "--name", "nothing"], 1, "has no executed notebooks; make them with `shc run --name nothing`"),
        (["refresh", "--name", "nothing"], 1, "was not executed in run 'nothing'; make it with `shc run` first"),
    ],
)
def test_mistakes_are_told_without_a_traceback(project, capsys, arguments, status, told):
    assert cli.main(arguments) == status
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("shc: ") and told in captured.err


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "--fast"], ["report", "--set", "a=1"]])
def test_unknown_commands_and_options_are_told_by_the_parser(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2 and "usage: shc" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (NotebookError("cell 3 failed"), 1, "shc: cell 3 failed\n"),
        (RunError("the disk is full"), 1, "shc: the disk is full\n"),
        (KeyboardInterrupt(), 130, "\nStopped. Finished steps are kept; the same command goes on from here.\n"),
    ],
)
def test_failures_on_the_way_have_their_own_status(project, monkeypatch, capsys, error, status, told):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr(pipeline, "run_sequence", fails)
    assert cli.main(["run"]) == status
    assert capsys.readouterr().err == told


def test_run_writes_the_report_and_prints_the_summary(executed, project, capsys):
    Run(pipeline.run_path("one")).add_results(summary="mAP .41, random .31")
    assert cli.main(["run", "--name", "one"]) == 0
    *_, page, summary = capsys.readouterr().out.splitlines()
    assert page.endswith("index.html") and (project / "runs" / "one" / "index.html").exists()
    assert summary == "mAP .41, random .31"


def test_lists(project, capsys):
    assert cli.main(["run", "--parameters"]) == 0
    parameters, *presets = capsys.readouterr().out.split("--preset ")
    assert parameters.split() == ["00", "seed:", "int", "0", "of", "everything"]
    assert [told.split()[0] for told in presets] == list(PRESETS)
    assert cli.main(["datasets"]) == 0
    assert "emoji" in capsys.readouterr().out
    assert cli.main(["methods"]) == 0
    assert "Chen et al." in capsys.readouterr().out


def test_a_preset_sets_parameters_that_can_be_overruled(executed, project, monkeypatch):
    monkeypatch.setattr(pipeline, "check_values", lambda values: None)
    monkeypatch.setattr(pipeline, "preset_values", lambda name, data: {"seed": 7 if (name, data) == ("p", "") else 8})
    quietly("one", preset="p")
    assert dict(executed)["01_classifier"] == {"seed": 7}
    executed.clear()
    quietly("two", preset="p", settings=["seed=3"])
    assert dict(executed)["01_classifier"] == {"seed": 3}


def test_a_folder_of_data_is_told_as_seen_from_here(executed, project):
    lines = fake.PARAMETERS + '\ndata: str = "emoji"\nroot: str = ""'
    fake.write(project / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.parameters(lines)))
    with pytest.raises(ParameterError, match="pictures is no folder; give --root FOLDER, the folder with the files"):
        quietly("one", root="pictures")
    (project / "pictures").mkdir()
    quietly("one", root="pictures")
    assert dict(executed)["01_classifier"] == {"root": str(project.resolve() / "pictures")}
    assert cli.main(["run", "--preset", "papers"]) == 2


def test_missing_files_of_a_data_set_are_told_before_a_kernel_starts(executed, project, capsys):
    lines = fake.PARAMETERS + '\ndata: str = "emoji"\nroot: str = ""'
    fake.write(project / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.parameters(lines)))
    (project / "empty").mkdir()
    assert cli.main(["run", "--data", "cifar100", "--root", "empty"]) == 2
    assert "missing cifar-100-binary.tar.gz (or cifar-100-binary) from https" in capsys.readouterr().err
    assert not executed


def test_embeddings_are_told_as_seen_from_here_and_by_their_content(executed, project):
    lines = fake.PARAMETERS + '\nsimilarity: str = "classifier"\nembeddings: str = ""'
    fake.write(project / "notebooks" / "02_class_similarity.ipynb", fake.notebook(fake.parameters(lines)))
    settings = ["similarity=names", "embeddings=my.npy"]
    with pytest.raises(ParameterError, match=r"my\.npy' is not there; give a \.npy file with a row per class"):
        quietly("one", settings=settings)
    with pytest.raises(ParameterError, match="set similarity=names"):
        quietly("one", settings=settings[1:])
    (project / "my.npy").write_bytes(b"1")
    quietly("one", settings=settings)
    assert dict(executed)["02_class_similarity"]["embeddings"] == str(project.resolve() / "my.npy")
    names(executed)
    quietly("one", settings=settings)
    assert names(executed) == []
    (project / "my.npy").write_bytes(b"2")
    quietly("one", settings=settings)
    assert names(executed) == list(pipeline.SEQUENCE[2:])


@pytest.mark.parametrize("place", ["root", "the data folder"])
def test_pictures_that_changed_make_every_notebook_anew(executed, project, monkeypatch, place):
    lines = fake.PARAMETERS + '\ndata: str = "image_folder"\nroot: str = ""'
    fake.write(project / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.parameters(lines)))
    monkeypatch.setenv("SHC_DATA", str(project / "sets"))
    folder = project / "sets" / "image_folder"
    file = folder / "birds" / "1.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"old")
    given = {"root": str(folder)} if place == "root" else {}

    def change(act):
        act()
        quietly("one", **given)
        return names(executed)

    assert change(str) == list(pipeline.SEQUENCE) and change(str) == []
    later = list(pipeline.SEQUENCE[1:])
    status = file.stat()

    def replace():
        file.write_bytes(b"new")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as unpacking programs do

    assert change(replace) == later
    assert change(lambda: (folder / "birds" / "2.JPG").write_bytes(b"")) == later
    assert change(lambda: (folder / "birds" / "notes.txt").write_text("no picture")) == []
    assert change(lambda: (folder / ".thumbs.png").write_bytes(b"hidden")) == []
    assert change(file.unlink) == later


def test_pictures_of_notebook_8_are_its_own(executed, project):
    lines = fake.PARAMETERS + '\nroot: str = ""'
    for name in ("01_classifier", *pipeline.OWN_DATA):
        data = '\ndata: str = "emoji"' if name == "01_classifier" else ""
        fake.write(project / "notebooks" / f"{name}.ipynb", fake.notebook(fake.parameters(lines + data)))
    file = project / "pictures" / "birds" / "1.png"
    file.parent.mkdir(parents=True)
    for content, made in ((b"a", list(pipeline.SEQUENCE)), (b"ab", list(pipeline.OWN_DATA))):
        file.write_bytes(content)
        quietly("one", root="pictures")
        assert names(executed) == made  # the first notebook's drawings lie in the package


def test_stamps_of_what_the_package_carries_do_not_ask_for_files(executed, project, monkeypatch):
    lines = fake.PARAMETERS + '\ndata: str = "emoji"\nroot: str = ""'
    fake.write(project / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.parameters(lines)))
    run = quietly("one")
    names(executed)
    book = pipeline.read_notebook(project / "notebooks" / "01_classifier.ipynb")
    identity = json.dumps([pipeline.source_hash(book), {}, ""])  # as before data sets in files had a part in it
    stamps = json.loads((run.path / "notebooks" / "stamps.json").read_text())
    assert stamps["01_classifier"] == hashlib.sha256(identity.encode()).hexdigest()[:16]


def test_a_notebook_with_images_of_its_own_may_be_asked_for_others(executed, project):
    source = fake.PARAMETERS + "\nsize: int = 32  # pixels"
    for name in ("01_classifier", *pipeline.OWN_DATA):
        fake.write(project / "notebooks" / f"{name}.ipynb", fake.notebook(fake.parameters(source)))
    quietly("one").add_parameters("data", {"data": "emoji", "size": 32})
    names(executed)
    quietly("one", only="08", settings=["size=64"])
    assert executed == [("08_your_own_images", {"size": 64})]
    for selected in ({"only": "05"}, {"first": "07"}):
        with pytest.raises(ParameterError, match="was made with size=32"):
            quietly("one", settings=["size=64"], **selected)


def test_quick_settings_exist_and_can_be_overruled(executed, project):
    source = fake.PARAMETERS + "".join(
        f"\n{name}: {type(value).__name__} = {value!r}" for name, value in pipeline.QUICK.items()
    )
    fake.write(project / "notebooks" / "01_classifier.ipynb", fake.notebook(fake.parameters(source)))
    quietly("one", quick=True, settings=["epochs=3"])
    assert dict(executed)["01_classifier"] == pipeline.QUICK | {"epochs": 3}


def test_the_sequence_and_what_it_makes_fit_together():
    assert set(pipeline.MAKES) <= set(pipeline.SEQUENCE) > set(pipeline.OWN_DATA)
    for earlier, later in itertools.pairwise(pipeline.SEQUENCE):
        assert earlier < later
    from shc.runs import ARTIFACTS

    for notebook, made in pipeline.MAKES.items():
        for name in made:
            assert ARTIFACTS[name.partition("-")[0]][1] == notebook


def test_a_reader_that_stops_early_is_no_error():
    program = [sys.executable, "-u", "-m", "shc", "methods"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as lister:
        lister.stdout.close()
        assert lister.stderr.read() == b""


def test_settings_of_a_kernel_stay_out_of_the_users_environment(monkeypatch):
    started = []

    class Fake:
        provisioner = SimpleNamespace(pid=1)

        async def start_kernel(self, **options):
            started.append(options["env"])

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr("jupyter_client.manager.AsyncKernelManager", Fake)
    monkeypatch.setattr(pipeline, "_kernels", {})
    for environment in (None, {"OMP_WAIT_POLICY": "ACTIVE"}):
        asyncio.run(pipeline.kernel_manager(environment, ("", Path("x")))().start_kernel())
    assert [given["OMP_WAIT_POLICY"] for given in started] == ["PASSIVE", "ACTIVE"], "what the user says counts"
    assert "OMP_WAIT_POLICY" not in os.environ
