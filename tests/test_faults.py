"""What breaks outside of `shc`: disks, rights, clocks, files, packages, kernels, memory. It is told, and can go on."""

import ast
import contextlib
import errno
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import fake_notebooks as fake
import numpy as np
import psutil
import pytest
import reliability

import shc
from shc import cli, executed, files, locks, pipeline, report, store_evaluation, sweep_jobs, verify
from shc.files import read_arrays
from shc.runs import Run, RunError
from shc.shards import ABANDONED, EncodedStore, Manifest, Shard

ROOT = Path(shc.__file__).resolve().parent.parent
S = np.array([[1.0, -0.5], [-0.5, 1.0]])
CODES = np.array([[1, 1, -1, -1], [-1, -1, 1, 1]], np.int8)
FULL = OSError(errno.ENOSPC, "No space left on device")
GIGABYTES = 2**30


def state(folder):
    """Every file of a folder with its content; links by where they lead."""
    return {
        file.relative_to(folder): os.readlink(file) if file.is_symlink() else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if not file.is_dir()
    }


# ------------------------------------------------------------------------------------------ a full disk


def store_in(folder, format="parquet"):
    return EncodedStore.start(folder, Manifest(8, "h", "f", 4, 2, format, ["a", "b"], None, 0))


def shard(label=1):
    return Shard(["x", "y"], np.array([0, label], np.int32), np.array([[1], [2]], np.uint64))


def search_index(folder, codes):
    from shc.search import HammingIndex

    index = HammingIndex.open(f"memory:{folder}", bits=4)
    index.add(codes)
    index.save()


def picture(run):
    from matplotlib.figure import Figure

    run.save_figure(Figure(figsize=(1, 1)), "03_centers")


def notebook(run):
    unfinished = executed.begun(run.path / "notebooks" / "00_tour.ipynb")
    fake.write(unfinished, fake.notebook(fake.code("1")))
    try:
        executed.kept(unfinished, run.path / "notebooks" / "00_tour.ipynb")
    finally:
        unfinished.unlink()


def page(run):
    report.write_report(run)


def cell(run):
    job = sweep_jobs.Job("cell", str(run.path), "n.ipynb", {}, {}, {}, True, {}, "")
    sweep_jobs.write_record(job, "finished", 1.0)


MADE = dict(parameters={"bits": 4}, fingerprint="f", extra={"min_distance": 4, "loss": 0.5})
WRITERS = {  # each writes into a run that has everything else already
    "artifact of arrays": lambda run: run.save("similarity", {"S": S}, parameters={}, fingerprint="f"),
    "artifact of weights": lambda run: run.save("hasher", {"w": np.ones(3)}, parameters={}, fingerprint="f"),
    "checkpoint": lambda run: run.checkpoint("hasher", "k").save({"w": np.ones(2)}, {"epoch": 3}),
    "results": lambda run: run.add_results(a=1),
    "parameters": lambda run: run.add_parameters("data", {"data": "emoji"}),
    "figure": picture,
    "executed notebook": notebook,
    "report": page,
    "cell of a sweep": cell,
    "shard": lambda run: store_in(run.path / "store").write(0, shard()),
    "search index": lambda run: search_index(run.path / "index", CODES),
    "scores": lambda run: store_evaluation.write_scores(
        {"mAP": 0.5}, run.path / "scores.json", run.path / "store", [run.path / "store"]
    ),
}


def full_while_writing(patch):
    """What is written goes to a device that is always full; safetensors, which renames by itself, says so."""
    from safetensors import SafetensorError

    def no_space(*arguments, **options):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    make = tempfile.mkstemp

    def begin(prefix, dir):
        handle, name = make(prefix=prefix, dir=dir)
        os.unlink(name)
        os.symlink("/dev/full", name)
        return handle, name

    patch.setattr(files.tempfile, "mkstemp", begin)
    patch.setattr(files.os, "chmod", lambda *arguments: None)  # of the device, if a writer failed to fail
    patch.setattr("safetensors.numpy.save_file", no_space)


def fails(*arguments, **options):
    raise FULL


MOMENTS = {
    "opening": lambda patch: patch.setattr(files.tempfile, "mkstemp", fails),
    "writing": full_while_writing,
    "flushing": lambda patch: patch.setattr(files.os, "fsync", fails),
    "renaming": lambda patch: patch.setattr(files.os, "replace", fails),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run in which every writer has written."""
    run = Run(tmp_path_factory.mktemp("written") / "one")
    for write in WRITERS.values():
        write(run)
    return run


def test_a_full_disk_is_told_by_every_writer_and_what_was_there_stays(written, tmp_path, monkeypatch):
    shutil.copytree(written.path, tmp_path / "one")
    run, told = Run(tmp_path / "one"), 0
    for name, write in WRITERS.items():
        before = state(run.path)
        for moment, fill in MOMENTS.items():
            with monkeypatch.context() as patch, pytest.raises(ValueError) as refused:
                fill(patch)
                write(run)
            assert "the disk is full" in str(refused.value) and str(run.path) in str(refused.value), (name, moment)
            told += 1
            if name != "report":  # which has several pages
                assert state(run.path).keys() - {Path(locks.LOCK)} == before.keys(), (name, moment)
            changed = [file for file, content in state(run.path).items() if before.get(file, content) != content]
            assert not changed, (name, moment)
        write(run)
    reliability.count("faults", "disk full, every writer", tried=len(WRITERS) * len(MOMENTS), told=told)


@contextlib.contextmanager
def mounted(place, options):
    """A file system of its own at this place; skips where that is not allowed."""
    place.mkdir(exist_ok=True)
    done = (
        subprocess.run(["mount", *options, str(place)], capture_output=True, text=True) if os.geteuid() == 0 else None
    )
    if done is None or done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.strip() if done else 'not root'})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up_stops_a_run_that_goes_on_when_there_is_room(forks, tmp_path):
    whole = forks.run("whole run", "one", cwd=tmp_path)
    assert whole.code == 0, whole.told
    needed = sum(file.stat().st_size for file in (tmp_path / "one").iterdir())
    sizes, told = reliability.number([0.0, 0.5], [0.0, 0.02, 0.1, 0.4, 0.8]), 0
    for share in sizes:
        disk = tmp_path / "disk"
        with mounted(disk, ["-t", "tmpfs", "-o", f"size={4096 * (1 + int(share * needed) // 4096)}", "tmpfs"]):
            ended = forks.run("whole run", disk / "one", cwd=tmp_path)
            assert ended.code == 1 and "the disk is full" in ended.told and str(disk) in ended.told, ended.told
            told += 1
            there = [finding for finding in found(disk / "one") if not finding.good]
            assert not there, there
            subprocess.run(["mount", "-o", f"remount,size={4 * needed}", str(disk)], check=True)
            ended = forks.run("whole run", disk / "one", cwd=tmp_path)
            assert ended.code == 0 and ended.told == whole.told, ended.told
            for file in [*(tmp_path / "one").glob("*.npz"), *(tmp_path / "one").glob("*.safetensors")]:
                a, b = read_arrays(file)[0], read_arrays(disk / "one" / file.name)[0]
                assert all(np.array_equal(a[k], b[k]) for k in a if k != "history_seconds"), file.name
    reliability.count("faults", "disk full, a small one", tried=len(sizes), told=told)


def found(folder):
    try:
        return list(verify.verify(folder))
    except RunError:  # nothing is there yet
        return []


# ------------------------------------------------------------------------------------------ rights


@pytest.fixture
def foreign():
    """A run that belongs to this user, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="shc-"))
    folder.chmod(0o777)
    run = Run(folder / "one")
    for write in list(WRITERS.values())[:5]:
        write(run)
    yield run
    shutil.rmtree(folder)


def as_somebody(forks, run, work, *arguments):
    """Do the work as a user without rights; root becomes nobody, everybody else is one."""
    return forks.run(work, *arguments, cwd=run.path.parent, nobody=os.geteuid() == 0)


def test_a_folder_without_permission_is_told_and_unchanged(forks, foreign):
    if os.geteuid():
        foreign.path.chmod(0o555)
    before = state(foreign.path)
    ended = as_somebody(forks, foreign, "save", "one")
    foreign.path.chmod(0o755)
    assert ended.code == 1 and state(foreign.path) == before
    assert "one/.lock could not be written (Permission denied); make the folder writable or" in ended.told
    reading = as_somebody(forks, foreign, "shc", "verify", "one")
    assert reading.code == 0 and "all as they should be" in reading.told, reading.told
    reliability.count("faults", "folder without permission", tried=1, told=1)


def test_a_file_that_may_not_be_read_is_not_called_damaged(forks, foreign):
    names = ["similarity.npz", "hasher.safetensors", "checkpoints/hasher.safetensors", "results.json", "params.yaml"]
    before = state(foreign.path)
    for name in names:
        (foreign.path / name).chmod(0o000 if os.geteuid() else 0o600)
        lines = as_somebody(forks, foreign, "shc", "verify", "one").told.splitlines()
        told = [line for line in lines if line.split()[1] == name]
        (foreign.path / name).chmod(0o644)
        assert len(told) == 1 and f"{name} could not be read (Permission denied); it may be whole" in told[0], told
        assert "damaged" not in told[0] and "delete" not in told[0]
    assert state(foreign.path) == before
    reliability.count("faults", "file without permission", tried=len(names), told=len(names))


def test_a_file_that_may_not_be_read_is_not_made_anew(tmp_path, monkeypatch):
    run = Run(tmp_path)
    key = run.save("similarity", {"S": S}, parameters={}, fingerprint="f")
    refuses = lambda *a, **k: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(np, "load", refuses)
    with pytest.raises(RunError, match=r"similarity.npz could not be read \(Permission denied\)"):
        run.fresh("similarity", key)
    monkeypatch.setattr(np, "load", lambda *a, **k: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(RunError, match="there is not enough memory"):
        run.load("similarity")


def test_a_read_only_file_system_is_told_and_can_be_read(forks, foreign):
    with mounted(foreign.path, ["--bind", str(foreign.path)]):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(foreign.path)], check=True)
        before = state(foreign.path)
        ended = forks.run("save", "one", cwd=foreign.path.parent)
        assert ended.code == 1 and "could not be written (Read-only file system)" in ended.told
        assert forks.run("shc", "verify", "one", cwd=foreign.path.parent).code == 0
        assert state(foreign.path) == before
    reliability.count("faults", "read-only file system", tried=1, told=1)


# ------------------------------------------------------------------------------------------ clocks


def test_a_clock_that_goes_backwards_makes_no_time_negative_and_nothing_stale(tmp_path, monkeypatch):
    import launched
    import torch

    from shc.training import Schedule, fit

    now = [1e9]

    def back():
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", back)
    loss = lambda u, y: (torch.nn.functional.cross_entropy(u, y), {})
    records = list(fit(launched.network(), loss, *launched.images(), Schedule(epochs=3, batch=10, threads=1)))
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds) and seconds[0] >= 0 and all(record["left"] >= 0 for record in records)
    run = Run(tmp_path / "one")
    with run.alone():  # waits by another clock
        key = run.save("similarity", {"S": S}, parameters={}, fingerprint="f")
    future = time.monotonic() + 1e10
    store = store_in(tmp_path / "store")
    store.write(0, shard())
    left = store.folder / ".codes-00001.parquet.left"
    for file in (run.file("similarity"), store.file(0)):
        os.utime(file, (future, future))
    left.write_text("")
    os.utime(left, (now[0] - 2 * ABANDONED - 10 * 3600,) * 2)
    assert run.fresh("similarity", key) and run.load("similarity").key == key
    store.clean()
    assert store.missing() == [1] and len(store.read(0)) == 2 and not left.exists()
    reliability.count("faults", "clock going backwards", tried=3, borne=3)


def test_no_duration_is_measured_by_the_clock_on_the_wall():
    """It may be set back; what is measured by `perf_counter` and `monotonic` may not."""
    known = {("shards.py", "time.time"), ("runs.py", "datetime.now")}  # the age of what was left behind; dates
    used = set()
    for file in (ROOT / "shc").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                used |= {(file.name, name)} if name in ("time.time", "datetime.now", "time.time_ns") else set()
    assert used == known


# ------------------------------------------------------------------------------------------ damaged files


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A run with artifacts of both formats and a checkpoint, and stores of both formats."""
    folder = tmp_path_factory.mktemp("samples")
    run, rng = Run(folder / "one"), np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 2)).astype(np.float32), np.arange(20) % 2
    arrays = dict(logits=logits, labels=labels, feature_means=rng.normal(size=(2, 3)))
    run.save("statistics", arrays, parameters={}, fingerprint="f")
    run.save("centers", {"codes": CODES}, **MADE)
    weights = {"a.weight": rng.normal(size=(8, 8)).astype(np.float32), "b": np.arange(3)}
    run.save("hasher", weights, parameters={"method": "shc"}, fingerprint="f")
    run.checkpoint("hasher", "k").save(weights, {"epoch": 3})
    for format in ("parquet", "lance"):
        store_in(folder / format, format).write(0, shard())
    return folder


def plain(value):
    """What was read, comparable."""
    if isinstance(value, Shard):
        return [value.ids, value.labels.tolist(), value.codes.tolist(), value.failed]
    arrays, meta = value if isinstance(value, tuple) else (value.arrays, value.meta)
    return {k: (np.asarray(v).dtype.str, np.asarray(v).tolist()) for k, v in arrays.items()}, meta


def begun_anew(checkpoint):
    """A checkpoint that does not count is none: the training begins anew, and `shc verify` tells why."""
    if (kept := checkpoint.load()) is None:
        raise RunError(next(f.told for f in verify.verify(checkpoint.file.parent.parent) if "checkpoints" in f.file))
    return kept


READERS = {
    "one/statistics.npz": lambda folder: Run(folder / "one").load("statistics"),
    "one/centers.npz": lambda folder: Run(folder / "one").load("centers"),
    "one/hasher.safetensors": lambda folder: Run(folder / "one").load("hasher"),
    "one/checkpoints/hasher.safetensors": lambda folder: begun_anew(Run(folder / "one").checkpoint("hasher", "k")),
    "parquet/codes-00000.parquet": lambda folder: EncodedStore(folder / "parquet").read(0),
    "lance/codes-00000.lance": lambda folder: EncodedStore(folder / "lance").read(0),
}
REMEDY = {
    "checkpoints": "is damaged", "statistics": "`shc run --name one --from 01`", "centers": "--name one --from 03`",
    "hasher": "--name one --from 04`", "codes": "repeat `shc encode`",
}  # fmt: skip


def regions(file):
    """The parts of a file by name: where each ends."""
    content = file.read_bytes()
    if file.suffix == ".npz":
        with zipfile.ZipFile(file) as archive:
            starts = [(member.header_offset, member.filename) for member in archive.infolist()]
            starts.append((archive.start_dir, "directory"))
        return dict(zip([name for _, name in starts], [*(at for at, _ in starts[1:]), len(content)], strict=True))
    if file.suffix == ".safetensors":
        header = 8 + struct.unpack("<Q", content[:8])[0]
        return {"length": 8, "header": header, "tensors": len(content)}
    if file.suffix == ".parquet":
        footer = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
        return {"magic": 4, "columns": footer, "footer": len(content) - 8, "tail": len(content)}
    return {file.name: len(content)}


def parts(place):
    """The files of an artifact: itself, or those of a Lance table."""
    return [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())


def outcome(name, folder, wanted, what):
    """ "told", or "same" if the change has changed nothing that is read; never another content."""
    try:
        got = plain(READERS[name](folder))
    except ValueError as error:
        told = str(error)
        assert Path(name).name in told and next(v for k, v in REMEDY.items() if k in name) in told, (what, told)
        return "told"
    assert got == wanted, f"{name}, {what}: accepted with another content"
    return "same"


@pytest.mark.parametrize("name", READERS)
def test_an_artifact_cut_short_anywhere_is_never_accepted(samples, tmp_path, name):
    shutil.copytree(samples, tmp_path / "copy")
    wanted, tried = plain(READERS[name](tmp_path / "copy")), 0
    for file in parts(tmp_path / "copy" / name):
        content = file.read_bytes()
        ends = {end for end in regions(file).values() if end < len(content)}
        lengths = {0, 1, 7, len(content) // 3, len(content) // 2, len(content) - 8, len(content) - 1} | ends
        lengths |= set(range(0, len(content), max(len(content) // reliability.number(8, 150), 1)))
        for length in sorted(length for length in lengths if 0 <= length < len(content)):
            file.write_bytes(content[:length])
            found = outcome(name, tmp_path / "copy", wanted, f"{file.name} cut at {length} of {len(content)}")
            assert found == "told" or name.startswith("lance"), f"cut at {length}"  # some of its files are history
            tried += found == "told"
        file.write_bytes(content)
    assert tried > 5 and plain(READERS[name](tmp_path / "copy")) == wanted
    reliability.count("faults", f"cut short: {name}", tried=tried, told=tried)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_anywhere_is_never_accepted(samples, tmp_path, name):
    shutil.copytree(samples, tmp_path / "copy")
    chance, wanted = random.Random(name), plain(READERS[name](tmp_path / "copy"))
    told, tried = {}, 0
    for file in parts(tmp_path / "copy" / name):
        content, start = file.read_bytes(), 0
        for region, end in regions(file).items():
            most = reliability.number(12, 400 if name.startswith("lance") else 10**6)
            places = range(start, end) if end - start <= most else sorted(chance.sample(range(start, end), most))
            for at in places:
                flipped = bytearray(content)
                flipped[at] ^= 1 << chance.randrange(8)
                file.write_bytes(flipped)
                found = outcome(name, tmp_path / "copy", wanted, f"byte {at} of {file.name} ({region}) flipped")
                told[region], tried = told.get(region, 0) + (found == "told"), tried + 1
            start = end
        file.write_bytes(content)
    content = ("tensors", "header", "S.npy", "codes.npy", "logits.npy", "__meta__.npy", "columns", "codes-00000.lance")
    assert all(told[region] for region in told if region in content) and sum(told.values()) > tried / 5, told
    unchanged = tried - sum(told.values())  # what is read is the same: dates in archives, statistics, history
    reliability.count("faults", f"a bit flipped: {name}", tried=tried, told=tried - unchanged, unchanged=unchanged)


# ------------------------------------------------------------------------------------------ what is not installed

WITHOUT = """
import json, sys
for name in GONE:
    sys.modules[name] = None
import numpy as np
from pathlib import Path
from shc import efficientnet, embedding, pipeline, report_page, shard_files, shard_jobs, sweep_jobs
from shc.search import HammingIndex

def enter(manager):
    with manager:
        pass

def module(name):
    import importlib
    importlib.import_module(name)

shard = [["x"], np.zeros(1, np.int32), np.zeros((1, 1), np.uint64), {}]
cases = {
    "anywidget": lambda: module("shc.class_map"),
    "ipywidgets": lambda: module("shc.widgets"),
    "umap": lambda: embedding.umap_points(np.abs(np.subtract.outer(np.arange(12), np.arange(12)))),
    "lancedb": lambda: HammingIndex.open("lance:index"),
    "lancedb, shards": lambda: shard_files.write_shard(Path("a.lance"), *shard),
    "pyarrow": lambda: shard_files.write_shard(Path("a.parquet"), *shard),
    "pyarrow, reading": lambda: shard_files.read_shard(Path("a.parquet"), [], 0, 1),
    "papermill": pipeline.require_papermill,
    "nbconvert": lambda: report_page.render(Path(sys.argv[1]), {}),
    "distributed": lambda: enter(sweep_jobs.client(2, None)),
    "distributed, jobs": lambda: list(shard_jobs.run_jobs(divmod, [(7, 2)], processes=2)),
    "weights": efficientnet.weights_file,
}
told = {}
for name, work in cases.items():
    try:
        work()
        told[name] = "it worked"
    except (ImportError, ValueError) as error:
        told[name] = str(error)
print(json.dumps(told))
"""


def program(text, *arguments, **environment):
    env = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    }
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)], env=env | environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path):
    from shc.efficientnet import PACKAGE

    gone = ["anywidget", "ipywidgets", "umap", "lancedb", "pyarrow", "papermill", "nbconvert", "distributed", PACKAGE]
    book = fake.write(tmp_path / "book.ipynb", fake.notebook(fake.code("1")))
    told = json.loads(program(f"GONE = {gone}\n{WITHOUT}", book)[0])
    assert all("pip install 'semantic-hash-centers[" in text for text in told.values()), told
    reliability.count("faults", "package not installed", tried=len(told), told=len(told))


DRAW = """
import sys, warnings
import numpy as np
from matplotlib import font_manager
fonts = font_manager.fontManager  # a machine without any: only those that matplotlib brings
fonts.ttflist = [font for font in fonts.ttflist if "mpl-data" in font.fname]
from shc import plots
from shc.runs import Run
figure = plots.similarity_heatmap(np.eye(3), ["a", "ö", "c"])
print(Run(sys.argv[1]).save_figure(figure, "a").stat().st_size)
"""


def test_a_figure_is_drawn_without_fonts_and_without_a_display(tmp_path):
    size, _ = program(DRAW, tmp_path / "one", MPLCONFIGDIR=str(tmp_path), PATH="")
    assert int(size) > 1000 and verify.of_picture(tmp_path / "one" / "figures" / "a.png")
    reliability.count("faults", "no fonts, no display", tried=2, borne=2)


# ------------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize(
    ("kind", "source", "told"),
    [
        ("a kernel that leaves", "import os\nos._exit(3)", "Kernel died, in cell 4 (often for memory)."),
        ("a kernel that is killed", "import os\nos.kill(os.getpid(), 9)", "Kernel died, in cell 4 (often for memory)."),
        ("a cell without end", "import time\ntime.sleep(600)", "after 2 seconds, in cell 4."),
    ],
)
def test_a_notebook_that_stops_is_told_with_its_cell_and_the_next_run_goes_on(
    tmp_path, monkeypatch, capsys, kind, source, told
):
    monkeypatch.setattr(pipeline, "CELL_TIMEOUT", 2)
    monkeypatch.setattr(pipeline, "SEQUENCE", pipeline.SEQUENCE[:3])
    monkeypatch.setattr(report, "SEQUENCE", pipeline.SEQUENCE)
    stops = "\n".join(["from pathlib import Path", "if not Path('repaired').exists():", *indented(source)])
    fake.write_sequence(tmp_path, n01_classifier=[fake.code("y = 2"), fake.code(stops), fake.code("z = 3")])
    monkeypatch.setattr(pipeline, "MAKES", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHC_RUNS", str(tmp_path / "runs"))
    assert cli.main(["run", "--name", "one"]) == 1
    out, error = capsys.readouterr()
    assert error.startswith("shc: notebook 01_classifier stopped: ")
    assert told in error and source.splitlines()[-1] in error
    assert "Traceback" not in error and "repeat the command, or open" in error and out.startswith("00_tour")
    run = tmp_path / "runs" / "one"
    assert not (run / locks.LOCK).exists() and not list((run / "notebooks").glob(".*.json"))
    assert pipeline.read_notebook(run / "notebooks" / "01_classifier.ipynb")["cells"]  # as far as it came
    (tmp_path / "notebooks" / "repaired").write_text("")
    assert cli.main(["run", "--name", "one"]) == 0
    assert [line.split()[:2][-1] == "unchanged" for line in capsys.readouterr().out.splitlines()[:3]] == [
        True, False, False,
    ]  # fmt: skip
    reliability.count("faults", kind, tried=1, told=1)


def indented(source):
    return [f"    {line}" for line in source.splitlines()]


def test_a_full_disk_under_a_notebook_is_told(tmp_path, monkeypatch, capsys):
    fake.write_sequence(tmp_path, n00_tour=[fake.code("print('x' * 10**6)")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHC_RUNS", str(tmp_path / "runs"))
    with mounted(tmp_path / "runs", ["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) as disk:
        assert cli.main(["run", "--name", "one", "--only", "00"]) == 1
        error = capsys.readouterr().err
        assert "the disk is full" in error and "00_tour.ipynb could not be written" in error
        assert not list((disk / "one" / "notebooks").glob("*.ipynb")), "nothing half written is left"
    reliability.count("faults", "disk full under a notebook", tried=1, told=1)


# ------------------------------------------------------------------------------------------ memory


def test_the_stages_keep_within_four_gigabytes(forks, tmp_path):
    ended = forks.run("whole run", "one", cwd=tmp_path, bytes=4 * GIGABYTES)
    assert ended.code == 0, ended.told
    assert ended.memory < 4 * GIGABYTES
    reliability.count("faults", "4 GB of memory", tried=1, borne=1, resident_megabytes=ended.memory // 2**20)


@pytest.mark.skipif(not reliability.FULL, reason="takes the whole sequence: make reliability")
def test_the_notebooks_keep_within_four_gigabytes(tmp_path):
    import resource

    def limited():
        resource.setrlimit(resource.RLIMIT_DATA, (4 * GIGABYTES, 4 * GIGABYTES))

    process = subprocess.Popen(
        [sys.executable, "-m", "shc", "run", "--name", "one", "--preset", "tiny", "--set", "device=cpu"],
        env={**os.environ, "SHC_RUNS": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=limited,
    )  # fmt: skip
    most = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
            most = max(most, sum(resident(number) for number in family))
        time.sleep(0.2)
    assert process.returncode == 0, process.stdout.read()
    assert GIGABYTES / 8 < most < 4 * GIGABYTES
    reliability.count("faults", "4 GB of memory, notebooks", tried=1, borne=1, resident_megabytes=most // 2**20)


def resident(number):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(number).memory_full_info().pss  # pages that processes share count once
    return 0
