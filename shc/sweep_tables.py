"""What a sweep left on disk: the state of every cell, and all rows in one tidy table.

results.csv has one line per row of a finished cell: block, cell, the notebook's parameters as they were in force, then
the row's own keys (which win where they have a parameter's name). It is in the order of the sweep file, so that two
executions of a file differ in the columns of `VOLATILE` only. failed.csv lists the cells that failed, if any.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from shc.runs import Run, RunError, atomic_write, read_json
from shc.sweep_file import Cell, Sweep, read_sweep
from shc.sweep_jobs import rows_of

if TYPE_CHECKING:
    import pandas

VOLATILE = ("seconds*", "date")  # columns that may differ between two executions of the same sweep
RESULTS, FAILED = "results.csv", "failed.csv"


@dataclass(frozen=True)
class State:
    """A cell as it is on disk: finished, failed or missing (never run, half done, made with other parameters)."""

    cell: Cell
    status: str
    record: dict[str, Any]  # its cell.json
    rows: list[dict[str, Any]]

    def executed(self, sweep: Sweep) -> Path:
        """The executed notebook that tells more: the cell's own, or that of the failed part it shares with others."""
        return sweep.folder / self.record["executed"]


def states(sweep: Sweep) -> list[State]:
    """The state of every cell, in the file's order."""
    found = []
    for cell in sweep.cells:
        record, rows = record_of(sweep, cell.id, cell.values), rows_of(Run(sweep.folder / cell.id))
        status = record.get("status", "missing")
        found.append(State(cell, "missing" if status == "finished" and not rows else status, record, rows))
    return found


def record_of(sweep: Sweep, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The cell.json of a folder; empty if there is none, or if it tells of another notebook or other parameters."""
    try:
        record = read_json(sweep.folder / name / "cell.json")
    except RunError:
        return {}
    usable = {"status", "reason", "resolved", "executed"} <= record.keys()
    fits = record.get("parameters") == values and record.get("notebook") == sweep.notebook.stem
    return record if usable and fits else {}


def gather(file: str | Path) -> "pandas.DataFrame":
    """The rows of all finished cells of a sweep file; what `read_frame` would read from its results.csv."""
    return read_frame(io.StringIO(table(states(read_sweep(file, check=False)))))


def table(found: Sequence[State]) -> str:
    """The rows of the finished cells as CSV. Missing values are `nan`, so that an empty text stays one."""
    import pandas

    heads, rows = [], []
    for state in found:
        if state.status == "finished":
            head = {"block": state.cell.block, "cell": state.cell.id, **state.record["resolved"]}
            heads.append(head)
            rows += [head | row for row in state.rows]
    columns = dict.fromkeys(["block", "cell", *(key for line in (*heads, *rows) for key in line)])
    frame = pandas.DataFrame(rows, columns=list(columns))
    return frame.to_csv(index=False, na_rep="nan", lineterminator="\n")


def read_frame(source: str | Path | TextIO) -> "pandas.DataFrame":
    """A table that a sweep wrote, as a data frame."""
    import pandas

    if isinstance(source, str | Path) and not Path(source).exists():
        raise RunError(f"there is no {source}; `shc sweep FILE` makes it")
    try:
        return pandas.read_csv(
            source, dtype={"block": str, "cell": str}, keep_default_na=False, na_values=["nan"],
            float_precision="round_trip",
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise RunError(f"{source} is not the table of a sweep ({error}); run the sweep again to write it") from error


def stable(frame: "pandas.DataFrame") -> "pandas.DataFrame":
    """The columns in which two executions of the same sweep agree."""
    return frame[[name for name in frame.columns if not any(fnmatchcase(name, pattern) for pattern in VOLATILE)]]


def write_tables(sweep: Sweep) -> list[State]:
    """Write results.csv, and failed.csv if cells failed; returns the state of every cell."""
    found = states(sweep)
    text = table(found)
    atomic_write(sweep.folder / RESULTS, lambda f: f.write_text(text, encoding="utf-8"))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["block", "cell", "error", "notebook"])
    failed = [state for state in found if state.status == "failed"]
    writer.writerows([s.cell.block, s.cell.id, s.record["reason"], s.record["executed"]] for s in failed)
    if failed:
        atomic_write(sweep.folder / FAILED, lambda f: f.write_text(lines.getvalue(), encoding="utf-8"))
    else:
        (sweep.folder / FAILED).unlink(missing_ok=True)
    return found
