"""Sweeps: one notebook under many parameters, in parallel, resumable, gathered into one tidy table.

Every cell of a sweep file (`shc.sweep_file`) has a folder runs/NAME/CELL; what cells share is made first, in a folder
of its own. A cell counts as finished if its `cell.json` says so, with the parameters of today, and its notebook left
rows. Nothing else is remembered, so that the same command goes on after any interruption.
"""

import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

from shc import pipeline
from shc.locks import held_once
from shc.parameters import ParameterError
from shc.runs import atomic_write
from shc.sweep_file import WHERE, Cell, Sweep, read_sweep
from shc.sweep_jobs import THREADS, Job, engine, write_record
from shc.sweep_tables import RESULTS, VOLATILE, State, gather, read_frame, record_of, stable, states, write_tables

__all__ = ["VOLATILE", "gather", "list_cells", "read_frame", "run_sweep", "stable"]
GATHER_EVERY = 10  # seconds between two writings of the table while cells are finishing


def run_sweep(
    file: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    table: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run the cells that are missing and gather all rows into results.csv; returns how many cells failed.

    `jobs` processes on this machine, or the workers of the Dask `scheduler` at this address. With `table`, results.csv
    is copied there if all cells are finished.
    """
    if jobs < 1:
        raise ParameterError(f"--jobs {jobs}: give 1 or more")
    if table and (Path(table).is_dir() or not Path(table).resolve().parent.is_dir()):
        raise ParameterError(f"--table {table}: give a file in a folder that exists, e.g. results.csv")
    sweep = read_sweep(file)
    if sweep.repeats:
        which = ", ".join(f"{number} = {earlier}" for number, earlier in sweep.repeats)
        say(f"cells with the same parameters are run once: {which}")
    with locked(sweep):
        todo = [state.cell for state in states(sweep) if state.status != "finished"]
        ready = len(sweep.cells) - len(todo)
        say(f"{sweep.name}: {len(sweep.cells)} cells, {ready} finished, {len(todo)} to run")
        if todo:
            pipeline.require_papermill()
            _run(sweep, todo, jobs, scheduler)
        found = write_tables(sweep)
    failed = [state for state in found if state.status == "failed"]
    for line in told_failures(sweep, failed):
        say(line)
    say(f"results: {os.path.relpath(sweep.folder / RESULTS)}")
    if table and any(state.status != "finished" for state in found):
        say(f"{table} was not written: not all cells are finished")
    elif table:
        text = (sweep.folder / RESULTS).read_bytes()
        atomic_write(Path(table), lambda f: f.write_bytes(text))
        say(f"copied to {table}")
    return len(failed)


def list_cells(file: str | Path) -> Iterator[str]:
    """A line per cell: its number, status, name, block, and why it failed; then how many there are of each status."""
    sweep = read_sweep(file)
    found = states(sweep)
    width = max(len(cell.id) for cell in sweep.cells)
    for state in found:
        line = f"{state.cell.number:>4}  {state.status:<8}  {state.cell.id:<{width}}  {state.cell.block}"
        yield line + (f"  {state.record['reason']}" if state.status == "failed" else "")
    for number, earlier in sweep.repeats:
        yield f"{number:>4}  the same as {earlier}"
    count = Counter(state.status for state in found)
    yield ", ".join(f"{count[name]} {name}" for name in ("finished", "failed", "missing"))


def told_failures(sweep: Sweep, failed: Sequence[State]) -> Iterator[str]:
    """The failed cells as lines: each with its error and the notebook to open."""
    if not failed:
        return
    yield f"{len(failed)} of {len(sweep.cells)} cells failed; the same command tries them again:"
    for state in failed:
        yield f"  {state.cell.id}  {state.record['reason']}\n    {os.path.relpath(state.executed(sweep))}"


# ------------------------------------------------------------------------------------------ running


def _run(sweep: Sweep, todo: Sequence[Cell], jobs: int, scheduler: str | None) -> None:
    """Run these cells, each after the part that it shares; a failure is recorded and the others go on."""
    tag = uuid.uuid4().hex
    waiting: dict[str, list[Cell]] = {}  # for the part that they share
    for cell in todo:
        if cell.base and record_of(sweep, cell.base, sweep.bases[cell.base]).get("status") != "finished":
            waiting.setdefault(cell.base, []).append(cell)
    ready = [cell for cell in todo if cell.base not in waiting]
    progress, gathered = Progress(len(sweep.cells), len(todo), sys.stderr), time.monotonic()
    with progress, engine(min(jobs, len(todo)), scheduler, tag) as running:
        running.submit([base_job(sweep, cells[0], tag) for cells in waiting.values()])
        running.submit([cell_job(sweep, cell, tag) for cell in ready])
        pending = len(waiting) + len(ready)
        while pending:
            job, record = running.next()
            pending -= 1
            progress.tell(job.name, record, cell=job.name not in waiting)
            released = [cell_job(sweep, cell, tag) for cell in waiting.pop(job.name, [])]
            if record["status"] == "finished":
                running.submit(released)
                pending += len(released)
            else:
                error = f"the part it shares with others failed: {record['reason']}"
                for lost in released:
                    told = write_record(lost, "failed", error=error, executed=record["executed"])
                    progress.tell(lost.name, told)
            if time.monotonic() - gathered > GATHER_EVERY:
                write_tables(sweep)
                gathered = time.monotonic()


def cell_job(sweep: Sweep, cell: Cell, tag: str) -> Job:
    """The execution of a cell."""
    told = {"base": os.path.relpath(sweep.folder / cell.base, sweep.notebook.parent)} if cell.base else {}
    return Job(
        cell.id, str(sweep.folder / cell.id), str(sweep.notebook), cell.values, told,
        sweep.resolved(cell.values), True, threads(sweep, cell), tag,
    )  # fmt: skip


def base_job(sweep: Sweep, cell: Cell, tag: str) -> Job:
    """The execution that makes what `cell` and others share, computed where this cell is."""
    where = {name: cell.values[name] for name in WHERE if name in cell.values}
    return Job(
        cell.base, str(sweep.folder / cell.base), str(sweep.notebook), sweep.bases[cell.base],
        where | {"base_only": True}, {}, False, threads(sweep, cell), tag,
    )  # fmt: skip


def threads(sweep: Sweep, cell: Cell) -> dict[str, str]:
    """Thread variables of a cell's kernel: its `threads` parameter, else those of this process (not of a worker)."""
    if "threads" in sweep.parameters:
        return dict.fromkeys(THREADS, str(cell.values.get("threads", sweep.parameters["threads"].default)))
    return {name: os.environ[name] for name in THREADS if name in os.environ}


def locked(sweep: Sweep) -> AbstractContextManager[None]:
    """Hold the sweep's folder, so that no second execution works in it; a crash leaves no lock behind."""
    return held_once(sweep.folder, f"sweep {sweep.name!r}", "wait for it or stop it (--list shows how far it is)")


class Progress:
    """A bar with the remaining time in a terminal, else a line per finished cell."""

    def __init__(self, cells: int, todo: int, stream: TextIO) -> None:
        self.cells, self.left, self.stream = cells, todo, stream
        self.todo, self.failed, self.begun, self.bar = todo, 0, time.monotonic(), None

    def __enter__(self) -> "Progress":
        if self.stream.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.cells, initial=self.cells - self.todo, unit="cell", file=self.stream, dynamic_ncols=True
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def tell(self, name: str, record: Mapping[str, Any], *, cell: bool = True) -> None:
        """A cell ended, or a part that cells share."""
        failed = record["status"] != "finished"
        self.left, self.failed = self.left - cell, self.failed + (failed and cell)
        if self.bar is not None:
            self.bar.set_postfix_str(f"{self.failed} failed, {name}", refresh=not cell)
            self.bar.update(cell)
            return
        line = f"[{self.cells - self.left}/{self.cells}] {name}  "
        line += f"failed: {record['reason'][:200]}" if failed else f"{record['seconds']:.1f} s"
        if self.left and self.left < self.todo:
            rest = (time.monotonic() - self.begun) / (self.todo - self.left) * self.left
            line += f", about {rest / 60:.0f} min left" if rest > 90 else f", about {rest:.0f} s left"
        print(line, file=self.stream, flush=True)
