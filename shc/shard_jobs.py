"""Many independent jobs, one per shard or so: in this process, on processes of this machine, or on a Dask cluster.

`run_jobs` yields the results as they come, a bounded number of jobs ahead, so that their list may be long and is never
held. What a job did must be known from its result or its files; nothing else is remembered.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from shc import sweep_jobs
from shc.parameters import ParameterError
from shc.runs import RunError
from shc.shard_files import require

AHEAD = 2  # jobs that wait at each worker, so that none idles


def run_jobs(
    work: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    *,
    processes: int | None = None,
    scheduler: str | None = None,
) -> Iterator[Any]:
    """The results of `work(*job)` for all jobs, in the order in which they end.

    With `processes` of at least 2, or `scheduler="local"`, they run in processes of this machine; with a `scheduler`
    address on that Dask cluster, whose workers must see the same folders. Raises ParameterError for a number of
    processes below 1, RunError for a cluster that cannot be reached or loses a job, and what a job raises.

    >>> list(run_jobs(divmod, [(7, 2), (9, 4)]))
    [(3, 1), (2, 1)]
    """
    check_processes(processes)
    if scheduler is None and processes in (None, 1):
        return (work(*job) for job in jobs)
    return _on_dask(work, iter(jobs), processes or os.cpu_count() or 1, scheduler)


def check_processes(processes: int | None) -> None:
    """Raise ParameterError for a number of processes below 1."""
    if processes is not None and processes < 1:
        raise ParameterError(f"--jobs {processes}: give 1 or more")


def workers(processes: int | None, scheduler: str | None) -> int:
    """How many jobs will run at the same time, as far as that is known before; for sizing jobs only."""
    return processes or (1 if scheduler is None else 8)


def _on_dask(work: Callable[..., Any], jobs: Iterator[tuple[Any, ...]], processes: int, scheduler: str | None) -> Any:
    require("distributed", "running jobs in parallel")
    from distributed import as_completed

    with sweep_jobs.client(processes, None if scheduler == "local" else scheduler) as connected:
        try:
            connected.wait_for_workers(1, timeout=sweep_jobs.CONNECT)
        except TimeoutError as error:
            raise RunError(
                f"the Dask scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`"
            ) from error
        running, submitted = as_completed(), set()

        def submit(job: tuple[Any, ...]) -> None:
            future = connected.submit(work, *job, pure=False)
            submitted.add(future)
            running.add(future)

        try:
            for job in islice(jobs, AHEAD * sum(connected.nthreads().values())):
                submit(job)
            for future in running:
                submitted.discard(future)
                result = _result(future)
                for job in islice(jobs, 1):
                    submit(job)
                yield result
        finally:  # of an error, of Ctrl-C
            with suppress(Exception):
                connected.cancel(list(submitted))


def _result(future: Any) -> Any:
    if future.status in ("cancelled", "lost"):
        raise RunError("the Dask scheduler dropped the jobs; when it runs again, repeat the same command")
    error = future.exception() if future.status == "error" else None
    if error is None:
        return future.result()
    if type(error).__name__ == "KilledWorker":
        raise RunError(
            "a job's worker process was killed, again and again (often for memory); run with fewer --jobs or smaller "
            "shards"
        ) from error
    raise error


def progress(total: int, done: int, unit: str) -> Any:
    """A tqdm bar with the remaining time on stderr; where that is no terminal, it speaks every half minute only."""
    require("tqdm", "a progress bar")
    from tqdm import tqdm

    every = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=total, initial=done, unit=unit, unit_scale=True, mininterval=every, delay=1, dynamic_ncols=True)
