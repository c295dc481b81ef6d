"""Write docs/reliability.md from benchmarks/reliability.json, which `make reliability` writes.

.venv/bin/python tools/write_reliability.py
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
HEADER = """# What was tried to break it

Written by `tools/write_reliability.py` from the counts of `make reliability`, which runs the tests below at full length
(`SHC_RELIABILITY=full`); CI runs the same tests with fewer tries. A test compares this page with its record.
"""
ABOUT = {
    "kills": (
        "Ended by SIGKILL",
        "The whole process group is killed at a random moment and the same command started again, until it finishes; "
        "the artifacts then equal those of an undisturbed run, bit by bit (`tests/test_kills.py`).",
    ),
    "inputs": (
        "Bad input",
        "Each ends in an exit code other than 0 or in a ValueError, with a message that names the cause, no traceback "
        "of a library and no file changed (`tests/test_bad_input.py`; all of it runs in CI).",
    ),
    "fuzzing": (
        "Fuzzing",
        "Real files, changed at random with respect to their structure; what is not accepted must be refused by the "
        "documented error, in bounded time and memory (`tests/test_fuzz*.py`). An example of an index is a sequence of "
        "operations, which are compared with a plain Python model; these are counted as accepted or refused.",
    ),
    "faults": (
        "Faults of the machine",
        "Each is provoked, and must be told in a message with the remedy, or borne (`tests/test_faults.py`). A flipped "
        "bit is unchanged if nothing that is read depends on it: a date in an archive, say; other content is never "
        "accepted.",
    ),
    "sweep": (
        "A long sweep with cells that fail",
        "It is killed once in the middle and started again (`tests/test_long_sweep.py`).",
    ),
}
KNOWN = ("date", "device", "versions")
ORDER = ("kills", "cells", "cases", "tried", "told", "unchanged", "borne", "seconds", "examples", "accepted", "refused")
SIZES = ("most", "resident")  # how counts begin that do not add up


def page(record: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The whole file: a table for each part of the record, a row for each test."""
    lines = [HEADER]
    for part, (title, about) in ABOUT.items():
        if tests := record.get(part):
            lines += [f"## {title}", "", about, "", *table(tests), "", made(tests), ""]
    return "\n".join(lines)


def table(tests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row for each test, a column for each thing that any of them counted, and what they add up to."""
    names = [name for counts in tests.values() for name in counts if name not in KNOWN]
    columns = sorted(dict.fromkeys(names), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    rows = [[told(name), *(told(counts.get(column)) for column in columns)] for name, counts in tests.items()]
    if len(rows) > 1:
        rows.append(["**all**", *(together([t.get(column) for t in tests.values()], column) for column in columns)])
    head = ["", *(column.replace("_", " ") for column in columns)]
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def together(values: list[Any], column: str) -> str:
    """The sum of counts; the largest of what is a most; nothing for what does not add up."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len([value for value in values if value is not None]) or not numbers:
        return ""
    return told(max(numbers) if column.startswith(SIZES) else sum(numbers))


def told(value: Any) -> str:
    """A count as the table shows it.

    >>> told(12345), told(1.26), told(None), told("a|b")
    ('12,345', '1.3', '', 'a\\\\|b')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def made(tests: Mapping[str, Mapping[str, Any]]) -> str:
    """When and on what."""
    dates, devices = (sorted({str(counts[name]) for counts in tests.values()}) for name in ("date", "device"))
    return f"{', '.join(devices)}; {', '.join(dates)}."


def main() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    main()
