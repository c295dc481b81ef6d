"""The committed comparison: its cells follow from the tuning record, and its table from its cells."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shc import frames, methods, sweep_file

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
TRIALS = 8


@pytest.fixture(scope="module")
def tuning():
    return frames.read_frame(BENCHMARKS / "tuning.csv")


def test_every_trained_method_was_tuned_equally_often_and_on_validation_images(tuning):
    counts = tuning[tuning["block"] != "frozen"].groupby("method")["cell"].nunique()
    trained = {name for name, entry in methods.available().items() if entry.build.trained}
    assert set(counts.index) == trained and set(counts) == {TRIALS}
    assert set(tuning["split"]) == {"val"} and set(tuning["seed"]) == {0}


def test_the_cells_are_what_the_tuning_chose(tmp_path):
    written = (BENCHMARKS / "comparison.yaml").read_text(encoding="utf-8")
    program = [sys.executable, str(ROOT / "tools" / "write_comparison.py"), "--to", str(tmp_path / "again.yaml")]
    subprocess.run(program, check=True, cwd=ROOT)
    assert (tmp_path / "again.yaml").read_text(encoding="utf-8") == written, "run tools/write_comparison.py"
    best = frames.read_frame(BENCHMARKS / "tuning.csv").query("block == 'shc'").sort_values("mAP@ALL").iloc[-1]
    closed = [cell for cell in yaml.safe_load(written)["cells"] if cell["name"] == "closed" and cell["method"] == "shc"]
    assert {cell["hasher_lr"] for cell in closed} == {best["hasher_lr"]}
    assert {cell.get("options", "") for cell in closed} == {best["options"]}


def test_the_table_holds_cells_of_the_comparison_and_each_once():
    sweep = sweep_file.read_sweep(BENCHMARKS / "comparison.yaml")
    table = frames.read_frame(BENCHMARKS / "comparison.csv")
    asked = {cell.id for cell in sweep.cells}
    assert set(table["cell"]) <= asked
    assert not table.duplicated(["cell", "codes"]).any()
    prints = table["fingerprint"].groupby(table["data"] + table["protocol"]).nunique()
    assert set(table["split"]) == {"query"} and prints.max() == 1  # all runs of a data set saw the same images
