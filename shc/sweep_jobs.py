"""The jobs of a sweep and what executes them: this process, or a Dask cluster.

A job runs the notebook once into its own folder and leaves `cell.json` there, written last: parameters, status, error,
seconds. What a job did is known from its folder only, so that a sweep may be killed at any moment.
"""

import json
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shc import pipeline
from shc.locks import LOCK
from shc.runs import Run, RunError, atomic_write, read_json, today

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKERS_OWN = (*THREADS, "MALLOC_TRIM_THRESHOLD_")  # what Dask sets for its workers is not meant for kernels
DASK = {
    "distributed.scheduler.worker-saturation": 1.0,  # no worker holds a second job while it runs one
    "distributed.worker.multiprocessing-method": "forkserver",
}
CONNECT = 15  # seconds that a scheduler has to answer
TRIES = 2  # of a kernel that does not come up: the ports it was given can be taken by another in the meantime


@dataclass(frozen=True)
class Job:
    """One execution of a sweep's notebook."""

    name: str  # of its folder
    folder: str
    notebook: str
    values: dict[str, Any]  # what the result is identified by
    told: dict[str, Any]  # what else the notebook is told: where to compute, where the shared part is
    resolved: dict[str, Any]  # all parameters that decide the rows
    rows: bool  # whether it must leave rows
    environment: dict[str, str]  # thread variables of the kernel
    tag: str  # of the sweep's execution


def run_job(job: Job) -> dict[str, Any]:
    """Execute a job and return its record, which is also written to its folder (unless the sweep was stopped)."""
    if not Path(job.folder).with_name(LOCK).exists():
        raise RunError(
            f"a worker does not see {Path(job.folder).parent}; start the workers where the project's folder is shared "
            "under the same path"
        )
    begun, run = time.perf_counter(), Run(job.folder)
    try:
        forget_rows(run)
        environment = {k: v for k, v in os.environ.items() if k not in WORKERS_OWN} | job.environment
        for attempt in range(1, TRIES + 1):
            try:
                values = job.values | job.told
                pipeline.execute_file(Path(job.notebook), run, values, environment=environment, tag=job.tag)
                break
            except pipeline.NotebookError as error:
                if attempt == TRIES or "before replying" not in error.reason:
                    raise
        if job.rows:
            check_rows(run)
    except Exception as error:  # of the notebook, of its kernel, of the disk: this cell's, not the sweep's
        if pipeline.was_stopped(job.tag):
            return {"status": "stopped"}
        return write_record(job, "failed", time.perf_counter() - begun, error)
    return write_record(job, "finished", time.perf_counter() - begun)


def write_record(
    job: Job, status: str, seconds: float = 0.0, error: Exception | str = "", executed: str = ""
) -> dict[str, Any]:
    """Write a job's `cell.json` and return its content. `executed` is the notebook to open, seen from the sweep."""
    kind = "" if isinstance(error, str | RunError | pipeline.NotebookError) else f"{type(error).__name__}: "
    reason = getattr(error, "reason", "") or kind + (" ".join(str(error).split()))
    record = dict(
        cell=job.name, notebook=Path(job.notebook).stem, parameters=job.values, resolved=job.resolved, status=status,
        reason=reason, error=str(error), executed=executed or f"{job.name}/notebooks/{Path(job.notebook).name}",
        seconds=round(seconds, 1), date=today(),
    )  # fmt: skip
    text = json.dumps(record, indent=1)
    atomic_write(Path(job.folder) / "cell.json", lambda f: f.write_text(text, encoding="utf-8"))
    return record


def forget_rows(run: Run) -> None:
    """Take the rows of an earlier, unfinished execution out of results.json."""
    try:
        if run.results().get("rows"):
            run.add_results(rows=[])
    except RunError:  # damaged
        (run.path / "results.json").unlink(missing_ok=True)


def rows_of(run: Run) -> list[dict[str, Any]]:
    """The rows that a notebook left; none if there is nothing readable."""
    try:
        rows = read_json(run.path / "results.json").get("rows")
    except RunError:
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def check_rows(run: Run) -> None:
    """Raise RunError if the notebook left no rows, or rows that do not fit a table."""
    rows = rows_of(run)
    if not rows:
        raise RunError("the notebook wrote no rows; let it end with Run(run).add_results(rows=[{'mAP': …}])")
    for name, value in ((name, value) for row in rows for name, value in row.items()):
        if name in ("block", "cell"):
            raise RunError(f"a row has the key {name!r}, which is a column of every sweep; rename it")
        if not isinstance(value, str | int | float | bool | None):
            raise RunError(f"the row's {name!r} is a {type(value).__name__}; a table takes numbers and texts only")


# ------------------------------------------------------------------------------------------ engines


class Engine(Protocol):
    """What executes jobs. `next` waits for one to end and returns it with its record."""

    def submit(self, jobs: Sequence[Job]) -> None: ...

    def next(self) -> tuple[Job, dict[str, Any]]: ...


@contextmanager
def engine(jobs: int, scheduler: str | None, tag: str) -> Iterator[Engine]:
    """Executes here, on a local cluster of `jobs` processes, or on the cluster of a scheduler.

    Leaving it by an exception (Ctrl-C) kills the kernels that run.
    """
    if jobs == 1 and not scheduler:
        with ThreadPoolExecutor(1) as pool:  # not the main thread: that one hears Ctrl-C
            try:
                yield InProcess(pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                pipeline.stop_kernels(tag)
                raise
        return
    with client(jobs, scheduler) as connected:
        dask = OnDask(connected)
        try:
            yield dask
        except BaseException:
            with held_interrupts(), suppress(Exception):
                connected.cancel(list(dask.jobs))
                connected.run(pipeline.stop_kernels, tag, on_error="ignore")
            raise


class InProcess:
    """One job after the other, in this process."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.ended: queue.SimpleQueue[tuple[Job, Future]] = queue.SimpleQueue()

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            future = self.pool.submit(run_job, job)
            future.add_done_callback(lambda ended, job=job: self.ended.put((job, ended)))  # type: ignore[misc]

    def next(self) -> tuple[Job, dict[str, Any]]:
        job, future = self.ended.get()
        return job, future.result()


class OnDask:
    """Jobs on the workers of a Dask cluster; a lost worker's job is repeated as often as Dask's configuration says."""

    def __init__(self, connected: Any) -> None:
        from distributed import as_completed

        self.client, self.ended = connected, as_completed()
        self.jobs: dict[Any, Job] = {}

    def submit(self, jobs: Sequence[Job]) -> None:
        futures = self.client.map(run_job, jobs, pure=False) if jobs else []
        self.jobs |= dict(zip(futures, jobs, strict=True))
        self.ended.update(futures)

    def next(self) -> tuple[Job, dict[str, Any]]:
        future = next(self.ended)
        job = self.jobs.pop(future)
        if future.status in ("cancelled", "lost"):
            raise RunError("the Dask scheduler dropped this sweep's jobs; when it runs again, repeat the same command")
        error = future.exception() if future.status == "error" else None
        if error is None:
            return job, future.result()
        if isinstance(error, RunError):  # the disk is full, the folder is not shared
            raise error
        if type(error).__name__ == "KilledWorker":
            error = "its worker process was killed, again and again (often for memory); run with fewer --jobs"  # type: ignore[assignment]
        return job, write_record(job, "failed", error=error)  # type: ignore[arg-type]


@contextmanager
def client(jobs: int, scheduler: str | None) -> Iterator[Any]:
    """A Dask client of the scheduler at this address, or of a cluster made for the occasion (None, or "local")."""
    scheduler = None if scheduler == "local" else scheduler
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError(
            "running cells in parallel needs Dask: pip install 'semantic-hash-centers[notebooks]' (or [scale]); "
            "--jobs 1 works without it"
        ) from error
    with ExitStack() as stack:
        try:
            with held_interrupts():
                address = scheduler or stack.enter_context(local_cluster(jobs))
                connected = Client(address, timeout=CONNECT)
                stack.callback(connected.close)
        except (OSError, ValueError) as error:
            if not scheduler:
                raise RunError(f"{jobs} processes could not be started ({error}); try fewer --jobs") from error
            raise RunError(
                f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, or give --jobs"
            ) from error
        yield connected


@contextmanager
def local_cluster(jobs: int) -> Iterator[Any]:
    """Worker processes on this machine; Ctrl-C is told when they are up, or down again."""
    import dask
    from distributed import LocalCluster

    with dask.config.set(DASK):
        start_forkserver()
        try:
            cluster = LocalCluster(
                n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )  # fmt: skip
        except RuntimeError as error:
            raise OSError(str(error)) from error
        try:
            yield cluster
        finally:
            with held_interrupts():
                cluster.close()


def start_forkserver() -> None:
    """Start the process that workers are forked from, deaf to Ctrl-C: this process hears it and ends them in order."""
    from multiprocessing import forkserver

    from distributed.utils import get_mp_context

    get_mp_context().set_forkserver_preload(["distributed", "papermill.exceptions"])  # imported once for all workers
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if main:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited; some milliseconds
    try:
        forkserver.ensure_running()
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if heard:
        raise KeyboardInterrupt
