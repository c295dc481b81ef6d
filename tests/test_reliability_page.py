"""docs/reliability.md says what the record says, and the record holds what the project promises."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def writer(tool):
    return tool("write_reliability")


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "benchmarks" / "reliability.json").read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_record(writer, record):
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(record), "run tools/write_reliability.py"


def test_counts_add_up_and_the_most_is_no_sum(writer):
    made = dict(date="2026-01-02", device="a machine", versions={})
    tests = {
        "one": dict(kills=2, most_memory_mb=1.5, told="yes") | made,
        "two | three": dict(kills=1000, most_memory_mb=9.0) | made,
    }
    lines = writer.page({"kills": tests}).splitlines()
    start = lines.index("|  | kills | told | most memory mb |")
    assert lines[start + 2 : start + 5] == [
        "| one | 2 | yes | 1.5 |", "| two \\| three | 1,000 |  | 9.0 |", "| **all** | 1,002 |  | 9.0 |",
    ]  # fmt: skip
    assert "a machine; 2026-01-02." in lines and "Fuzzing" not in "".join(lines)


def test_it_was_tried_as_often_as_promised_and_nothing_was_lost(record):
    kills, sweep = record["kills"].values(), record["sweep"]["cells"]
    assert sum(counts["kills"] for counts in kills) >= 100
    for name in ("corrupt_accepted", "stages_lost", "repairs_by_hand"):
        assert sum(counts[name] for counts in kills) == 0
    assert sum(counts["cases"] for counts in record["inputs"].values()) >= 300
    assert record["fuzzing"] and all(counts["seconds"] >= 120 for counts in record["fuzzing"].values())
    assert sweep["cells"] >= 200 and sweep["failed"] == sweep["reported"] >= sweep["cells"] // 20
    assert sweep["run_twice"] == 0
    outcomes = ("told", "borne", "unchanged")  # unchanged: a bit that no reader looks at
    for kind, counts in record["faults"].items():
        assert sum(counts.get(name, 0) for name in outcomes) == counts["tried"] > 0, kind
