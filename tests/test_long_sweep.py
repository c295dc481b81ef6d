"""A long sweep in which one cell of twenty fails: it ends, names them, and after a kill goes on where it was.

For the table these are 200 trainings on the tiny preset in notebooks of their own; else a dozen cells that only count.
"""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_notebooks as fake
import reliability

import shc
from shc import sweeps
from shc.presets import preset_values
from shc.sweep_file import read_sweep
from shc.verify import verify

ROOT = Path(shc.__file__).resolve().parent.parent
CELLS = reliability.number(12, 200)
FAILING = CELLS // 20 or 1

# what a cell is when there is no time for trainings: it fails if it is told to
COLUMNS = (
    'run: str = "../runs/one"  # run folder\nseed: int = 0  # of the number\nsimilarity: str = "classifier"  # or not'
)
LIGHT = """import os, random, time
from shc.runs import Run
Run(run).path.mkdir(parents=True, exist_ok=True)
if similarity == "exact":
    raise ValueError("this one has no exact class similarity")
Run(run).add_results(rows=[{"value": random.Random(seed).random()}])"""


def sweep_file(folder):
    """A sweep of CELLS cells, of which FAILING cannot succeed: the drawings have no exact similarity."""
    seeds, wrong = list(range(CELLS - FAILING)), list(range(FAILING))
    if reliability.FULL:
        tiny = {name: preset_values("tiny")[name] for name in ("scale", "size", "bits")}
        common = {**tiny, "epochs": 1, "hasher_epochs": 1, "batch": 100, "frozen": True}
        head = f"set: {common}\nshared: [data, scale, size, epochs]\n".replace("True", "true")
    else:
        fake.write(folder / "cell.ipynb", fake.notebook(fake.parameters(COLUMNS), fake.code(LIGHT)))
        head = "notebook: ./cell.ipynb\n"
    quick, wrong_one = (", method: csq", ", method: shc") if reliability.FULL else ("", "")  # csq asks for no search
    cells = f"cells:\n  - {{seed: {seeds}{quick}}}\n"
    cells += f"  - {{name: wrong, seed: {wrong}, similarity: exact{wrong_one}}}\n"
    (folder / "long.yaml").write_text(head + cells)
    return "long.yaml"


def start(folder, file):
    return subprocess.Popen(
        [sys.executable, "-m", "shc", "sweep", file, "--jobs", "2"], cwd=folder, start_new_session=True, text=True,
        env={**os.environ, "SHC_RUNS": str(folder / "runs"), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def records(folder):
    """When the record of each ended cell was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("*/cell.json")}


def test_a_long_sweep_ends_names_its_failures_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHC_RUNS", str(tmp_path / "runs"))
    file, runs = sweep_file(tmp_path), tmp_path / "runs" / "long"
    process = start(tmp_path, file)
    while process.poll() is None and len(records(runs)) < CELLS // 2:
        time.sleep(0.05)
    assert process.poll() is None, process.stdout.read()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(1.5)  # kernels notice that they are alone within a second
    sweep = read_sweep(file)
    ended = {state.cell.id: state.status for state in sweeps.states(sweep) if state.status != "missing"}
    before = records(runs)
    finished = {name for name, status in ended.items() if status == "finished"}
    assert CELLS // 2 <= len(before) < CELLS and len(finished) >= CELLS // 2 - FAILING - 1

    process = start(tmp_path, file)
    told, _ = process.communicate(timeout=3000)
    assert process.returncode == 1 and "Traceback" not in told, told
    assert f"long: {CELLS} cells, {len(finished)} finished, {CELLS - len(finished)} to run" in told
    after = records(runs)
    again = [name for name in finished if after[name] != before[name]]
    wrong = {cell.id for cell in sweep.cells if cell.block == "wrong"}
    listed = set(re.findall(r"^  (\S+)  \w+: .*exact class similarity", told, re.MULTILINE))
    table = sweeps.read_frame(runs / "results.csv")
    with open(runs / "failed.csv", newline="") as stream:
        failed = {row["cell"] for row in csv.DictReader(stream)}
    assert len(wrong) == FAILING and listed == failed == wrong and not again
    assert f"{FAILING} of {CELLS} cells failed; the same command tries them again:" in told
    assert set(table.cell) == {cell.id for cell in sweep.cells} - wrong
    assert all(finding.good for finding in verify(runs)), "a failed cell is told so, and is no damage"

    process = start(tmp_path, file)  # only what failed is tried again
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and f"{CELLS - FAILING} finished, {FAILING} to run" in told
    last = records(runs)
    assert {name for name in after if name.startswith("shared")} <= last.keys()
    assert {name for name in last if last[name] != after[name]} == wrong
    counted = dict(cells=CELLS, failed=len(failed), reported=len(listed), run_twice=len(again), kills=1)
    reliability.count("sweep", "cells", **counted)
