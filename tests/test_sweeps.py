"""Sweeps of a tiny notebook. SHC_KILLS=10 kills the sweep of the last test ten times instead of twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_notebooks as fake
import pandas
import psutil
import pytest

import shc
from shc import cli, pipeline, sweep_jobs, sweeps
from shc.parameters import ParameterError
from shc.runs import Run, RunError
from shc.sweep_file import read_sweep

ROOT = Path(shc.__file__).resolve().parent.parent
PARAMETERS = """run: str = "../runs/one"  # run folder
base: str = ""  # shared part
base_only: bool = False  # only that
method: str = "plain"  # what to do
bits: int = 8  # a number
seed: int = 0  # another
note: str = ""  # any text
pause: float = 0.0  # seconds of work
threads: int = 1  # of the kernel"""
WORK = """import os, signal, time
from pathlib import Path
from shc.runs import Run
time.sleep(pause)
count = Path(run) / "executions"
count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))
if method == "fails" and not Path("repaired").exists():
    raise ValueError(f"no method\\n{method!r}")
if method == "no base" and base_only:
    raise ValueError("no base")
if method == "kills its worker":
    os.kill(os.getppid(), signal.SIGKILL)
if method == "numpy":
    import numpy as np
    value = float(np.random.default_rng(seed).normal(size=bits).sum())
else:
    value = bits + seed / 3
rows = [{"part": part, "value": value, "threads_seen": os.environ["OMP_NUM_THREADS"], "seconds": time.time(),
         "date": str(time.time()), "base_there": bool(base) and (Path(base) / "executions").exists()}
        for part in ("b", "a")]
Run(run).add_results(rows=[] if base_only or method == "no rows" else rows)"""
DOZEN = """
notebook: ./tiny.ipynb
set: {pause: 0.3}
shared: [seed]
cells:
  - {method: [plain, numpy], bits: [8, 16, 32], seed: [0]}
  - {name: second, method: numpy, bits: [8, 16, 32], seed: 1, note: [x, ""]}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with `tiny.ipynb`, entered; runs are kept in its `runs`."""
    return make_project(tmp_path, monkeypatch)


def make_project(folder, patch):
    fake.write(folder / "tiny.ipynb", fake.notebook(fake.parameters(PARAMETERS), fake.code(WORK)))
    patch.chdir(folder)
    patch.setenv("SHC_RUNS", str(folder / "runs"))
    patch.setenv("PYTHONPATH", str(ROOT))  # of the kernels
    return folder


def write(folder, text):
    (folder / "try.yaml").write_text("notebook: ./tiny.ipynb\n" * ("notebook:" not in text) + text)
    return "try.yaml"


def quietly(file, **options):
    lines = []
    return sweeps.run_sweep(file, say=lines.append, **options), "\n".join(lines)


def start(folder, *arguments, **environment):
    """`shc sweep try.yaml …` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "shc", "sweep", "try.yaml", *arguments],
        cwd=folder, env={**os.environ, **environment}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def kernels(folder):
    """Kernels that work in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if "ipykernel_launcher" in (process.info["cmdline"] or []) and process.cwd() == str(folder.resolve()):
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def same(a, b):
    pandas.testing.assert_frame_equal(sweeps.stable(a), sweeps.stable(b))


# ------------------------------------------------------------------------------------------ in this process


def test_failures_are_recorded_and_tried_again_while_the_others_go_on(project, capsys):
    file = write(
        project, "cells: [{method: [plain, fails, no rows]}, {method: plain, bits: 3, threads: 2, note: 'a,b'}]"
    )
    failed, told = quietly(file, table="table.csv")
    assert failed == 2
    assert "2 of 4 cells failed; the same command tries them again:" in told
    ids = {cell.number: cell.id for cell in read_sweep(file).cells}
    assert f"  {ids[2]}  ValueError: no method 'fails'\n    runs/try/{ids[2]}/notebooks/tiny.ipynb" in told
    assert "the notebook wrote no rows; let it end with Run(run).add_results(rows=" in told
    assert "table.csv was not written: not all cells are finished" in told and not Path("table.csv").exists()
    progress = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"\[1/4\] {ids[1]}  \d+\.\d s, about .* left", progress[0])
    assert progress[1].startswith(f"[2/4] {ids[2]}  failed: ValueError: no method 'fails', about")
    frame = sweeps.read_frame("runs/try/results.csv")
    assert list(frame.columns) == [
        "block", "cell", "method", "bits", "seed", "note", "pause",
        "base_there", "date", "part", "seconds", "threads_seen", "value",
    ]  # fmt: skip
    assert list(frame.cell) == [ids[1]] * 2 + [ids[4]] * 2 and list(frame.part) == ["b", "a"] * 2
    assert list(frame.block) == ["1", "1", "2", "2"] and list(frame.note) == ["", "", "a,b", "a,b"]
    assert list(frame.threads_seen) == [1, 1, 2, 2]
    lines = Path("runs/try/failed.csv").read_text().splitlines()
    assert lines[:2] == [
        "block,cell,error,notebook",
        f"1,{ids[2]},ValueError: no method 'fails',{ids[2]}/notebooks/tiny.ipynb",
    ]
    record = json.loads(Path(f"runs/try/{ids[2]}/cell.json").read_text())
    assert (
        record["status"] == "failed"
        and record["parameters"] == {"method": "fails"}
        and "cell 3, failed" in record["error"]
    )

    Path("repaired").write_text("")
    assert cli.main(["sweep", file, "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert f"   2  failed    {ids[2]}" in listed[1] and listed[-1] == "2 finished, 2 failed, 0 missing"
    assert cli.main(["sweep", file]) == 1
    counts = {n: Path(f"runs/try/{name}/executions").read_text() for n, name in ids.items()}
    assert counts == {1: "1", 2: "2", 3: "2", 4: "1"}
    write(project, "cells: [{method: [plain, fails]}]")  # without the cell that can never succeed
    assert quietly(file, table="table.csv") == (
        0, "try: 2 cells, 2 finished, 0 to run\nresults: runs/try/results.csv\ncopied to table.csv",
    )  # fmt: skip
    assert not Path("runs/try/failed.csv").exists()
    same(sweeps.read_frame("table.csv"), sweeps.gather(file))
    assert list(sweeps.gather(file).method) == ["plain", "plain", "fails", "fails"]


def test_what_cells_share_is_made_once_and_its_failure_is_theirs_only(project):
    file = write(project, "shared: [method]\ncells: [{method: [no base, plain], bits: [1, 2]}]")
    failed, told = quietly(file)
    assert failed == 2 and told.count("the part it shares with others failed: ValueError: no base\n") == 2
    sweep = read_sweep(file)
    assert f"runs/try/{sweep.cells[0].base}/notebooks/tiny.ipynb" in told
    frame = sweeps.gather(file)
    assert list(frame.method) == ["plain"] * 4 and frame.base_there.all()
    assert not (sweep.folder / sweep.cells[0].id / "executions").exists()
    write(project, "shared: [method]\ncells: [{method: plain, bits: [1, 2, 3]}]")
    assert quietly(file)[0] == 0
    assert (sweep.folder / sweep.cells[2].base / "executions").read_text() == "1"


def test_cells_are_finished_only_with_their_parameters_and_rows(project, monkeypatch):
    def write_rows(source, run, values, **options):
        run.add_results(rows=[{"value": values["bits"]}])

    monkeypatch.setattr(pipeline, "execute_file", write_rows)
    file = write(project, "cells: [{bits: [1, 2, 3, 4, 5]}]")
    assert quietly(file)[0] == 0
    folders = [read_sweep(file).folder / cell.id for cell in read_sweep(file).cells]
    (folders[0] / "results.json").write_text('{"rows": []}')
    (folders[1] / "results.json").write_text("{")
    (folders[2] / "cell.json").write_text("{")
    record = json.loads((folders[3] / "cell.json").read_text())
    (folders[3] / "cell.json").write_text(json.dumps(record | {"parameters": {"bits": 3}}))
    assert list(sweeps.gather(file).value) == [5]
    assert list(sweeps.list_cells(file))[-1] == "1 finished, 0 failed, 4 missing"
    assert "1 finished, 4 to run" in quietly(file)[1]
    assert list(sweeps.gather(file).value) == [1, 2, 3, 4, 5]


def test_rows_of_an_earlier_execution_do_not_count(project, monkeypatch):
    monkeypatch.setattr(pipeline, "execute_file", lambda source, run, values, **options: None)
    file = write(project, "cells: [{bits: 1}]")
    Run(read_sweep(file).folder / read_sweep(file).cells[0].id).add_results(rows=[{"value": 7}])
    assert quietly(file)[0] == 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [([{"cell": 1}], "a row has the key 'cell'"), ([{"x": [1]}], "'x' is a list"), ("text", "wrote no rows")],
)
def test_rows_that_do_not_fit_a_table_are_told(tmp_path, rows, told):
    run = Run(tmp_path)
    run.add_results(rows=rows)
    with pytest.raises(RunError, match=re.escape(told)):
        sweep_jobs.check_rows(run)


def test_a_kernel_that_does_not_come_up_is_started_once_more(project, monkeypatch):
    reasons = iter(["Kernel died before replying to kernel_info", "", "Kernel died before replying to kernel_info"] * 2)

    def dies(source, run, values, **options):
        if reason := next(reasons):
            raise pipeline.NotebookError("stopped", reason)
        run.add_results(rows=[{"value": 1}])

    monkeypatch.setattr(pipeline, "execute_file", dies)
    failed, told = quietly(write(project, "cells: [{bits: [1, 2]}]"))
    assert failed == 1 and "Kernel died before" in told


def test_missing_values_and_empty_texts_survive_the_table(project, monkeypatch):
    def rows(source, run, values, **options):
        extra = {"only": 1 / 3, "text": ""} if values["bits"] == 1 else {"flag": True, "note": "resolved"}
        run.add_results(rows=[{"value": 0.1 + 0.2, **extra}])

    monkeypatch.setattr(pipeline, "execute_file", rows)
    file = write(project, "cells: [{bits: [1, 2]}]")
    quietly(file)
    frame = sweeps.gather(file)
    assert list(frame.value) == [0.1 + 0.2] * 2 and frame.only[0] == 1 / 3 and pandas.isna(frame.only[1])
    assert frame.text[0] == "" and pandas.isna(frame.text[1])
    assert list(frame.note) == ["", "resolved"]  # a row's own value wins over the parameter
    assert list(frame.columns) == [
        "block",
        "cell",
        "method",
        "bits",
        "seed",
        "note",
        "pause",
        "only",
        "text",
        "value",
        "flag",
    ]
    with pytest.raises(RunError, match=r"there is no nothing\.csv"):
        sweeps.read_frame("nothing.csv")


def test_two_sweeps_of_one_folder_are_refused(project, monkeypatch):
    file = write(project, "cells: [{bits: 1}]")
    with sweeps.locked(read_sweep(file)):
        with pytest.raises(RunError, match=rf"'try' is being run already, by process {os.getpid()} on \S+, since .*;"):
            sweeps.run_sweep(file)
        assert list(sweeps.list_cells(file))[-1] == "0 finished, 0 failed, 1 missing"
    monkeypatch.setattr(
        pipeline, "execute_file", lambda source, run, values, **options: run.add_results(rows=[{"x": 1}])
    )
    assert quietly(file)[0] == 0


def test_mistakes_are_told_before_anything_starts(project, capsys, monkeypatch):
    file = write(project, "cells: [{bits: [1, x]}]")
    assert cli.main(["sweep", file]) == 1
    told = capsys.readouterr().err
    assert told.startswith("shc: try.yaml: 1 cell cannot be run; nothing was started\nbits='x' is not of type int")
    assert not Path("runs").exists()
    write(project, "cells: [{bits: [1, 1]}]")
    with pytest.raises(ParameterError, match="--jobs 0: give 1 or more"):
        sweeps.run_sweep(file, jobs=0)
    assert list(sweeps.list_cells(file))[1] == "   2  the same as 1"
    write(project, "cells: [{bits: [1, 2]}]")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RunError, match=r"needs Dask: pip install .*; --jobs 1 works without it"):
        sweeps.run_sweep(file, jobs=2)
    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(RunError, match="running notebooks needs the extra `notebooks`"):
        sweeps.run_sweep(file)


def test_a_scheduler_that_does_not_answer_is_told(project, monkeypatch):
    monkeypatch.setattr(sweep_jobs, "CONNECT", 0.5)
    with pytest.raises(RunError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1 .*start one with `dask sched"):
        sweeps.run_sweep(write(project, "cells: [{bits: 1}]"), scheduler="tcp://127.0.0.1:1")


def test_a_terminal_gets_a_bar(capsys):
    class Terminal:
        written = ""

        def write(self, text):
            self.written += text

        def flush(self):
            pass

        def isatty(self):
            return True

    terminal = Terminal()
    with sweeps.Progress(5, 3, terminal) as progress:
        progress.tell("shared-1", {"status": "finished", "seconds": 1.0}, cell=False)
        progress.tell("shc-8", {"status": "finished", "seconds": 1.0})
        progress.tell("csq-8", {"status": "failed", "reason": "why"})
    assert "4/5" in terminal.written and "1 failed, csq-8" in terminal.written


# ------------------------------------------------------------------------------------------ on Dask


def test_any_cluster_will_do_and_a_killed_worker_fails_its_cell_only(project):
    import dask
    from distributed import LocalCluster

    file = write(project, "cells: [{method: [plain, kills its worker, numpy]}]")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        failed, told = quietly(file, scheduler=cluster.scheduler_address)
    assert failed == 1 and "its worker process was killed, again and again" in told
    assert set(sweeps.gather(file).method) == {"plain", "numpy"}


def test_ctrl_c_ends_workers_and_kernels_and_says_how_to_go_on(project):
    write(project, "cells: [{pause: 60, bits: [1, 2, 3]}]")
    process = start(project, "--jobs", "2")
    wait_until(lambda: len(kernels(project)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    out, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == "\nStopped. Finished steps are kept; the same command goes on from here.\n"
    assert out == "try: 3 cells, 0 finished, 3 to run\n"
    assert not kernels(project) and not list((project / "runs").glob("try/*/cell.json"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The frame of the dozen cells run in one go by two workers, and its seconds."""
    with pytest.MonkeyPatch.context() as patch:
        folder = make_project(tmp_path_factory.mktemp("whole"), patch)
        write(folder, DOZEN)
        begun = time.monotonic()
        process = start(folder, "--jobs", "2")
        out, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        assert out == "try: 12 cells, 0 finished, 12 to run\nresults: runs/try/results.csv\n"
        lines = re.findall(r"^\[(\d+)/12\] (\w+)", told, re.MULTILINE)  # a kernel's libraries may warn between them
        assert [int(done) for done, name in lines if name != "shared"] == list(range(1, 13)) and len(lines) == 14, told
        return sweeps.read_frame(folder / "runs" / "try" / "results.csv"), time.monotonic() - begun


def test_a_sweep_killed_at_any_moment_goes_on_to_the_same_table(project, uninterrupted):
    whole, seconds = uninterrupted
    file, chance, kills = write(project, DOZEN), random.Random(0), int(os.environ.get("SHC_KILLS", 2))
    run, begun = 0, True
    while kills:
        if begun:  # in a new folder
            run, begun = run + 1, False
            write(project, f"name: try{run}\n{DOZEN}")
        process = start(project, "--jobs", "2")
        try:
            process.wait(chance.uniform(0.1, 0.8) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills -= 1
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0
            same(sweeps.gather(file), whole)
            begun = True
    sweep = read_sweep(file)
    kept = {c.id for c, state in zip(sweep.cells, sweeps.states(sweep), strict=True) if state.status == "finished"}
    counts = {name: (sweep.folder / name / "executions").read_text() for name in kept}
    process = start(project, "--jobs", "2")
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    same(sweeps.read_frame(sweep.folder / "results.csv"), whole)
    assert counts == {name: (sweep.folder / name / "executions").read_text() for name in kept}
    assert list(sweeps.list_cells(file))[-1] == "12 finished, 0 failed, 0 missing"
