"""How often the tests of reliability try, and where they write what they counted.

Without anything set they try a little, in CI's time; `make reliability` sets SHC_RELIABILITY=full, tries as often as
`docs/reliability.md` says, and writes every count to benchmarks/reliability.json, of which that page is made.
"""

import json
import os
from pathlib import Path
from typing import Any

from shc import runs

FULL = os.environ.get("SHC_RELIABILITY") == "full"
RECORD = Path(__file__).parent.parent / "benchmarks" / "reliability.json"


def number(few: int, many: int) -> int:
    """How often to try: `few` times in CI, `many` times for the table."""
    return many if FULL else few


def count(part: str, name: str, **counted: Any) -> None:
    """Keep what the test `name` of a `part` counted; only in a full run, so that CI changes no file.

    The parts are "kills", "inputs", "fuzzing", "faults" and "sweep"; a repeated test replaces its own counts only.
    """
    if not FULL:
        return
    record = runs.read_json(RECORD) if RECORD.exists() else {}
    counts = dict(date=runs.today(), device=runs.processor(), versions=runs.library_versions()) | counted
    record.setdefault(part, {})[name] = counts
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"  # the same order whichever test ran first
    runs.atomic_write(RECORD, lambda file: file.write_text(text, encoding="utf-8"))
