"""The optimizer of hash centers as an iterator of records, whose settings may be changed while it runs.

Made by `shc.centers.optimize_centers`. The moves are in `shc.annealing`; this module strings its runs together, keeps
the best set and measures.
"""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from shc.annealing import Problem, Progress, anneal, descend, state_of
from shc.constructions import random_centers
from shc.hamming import minimum_distance


@dataclass(frozen=True)
class CenterStep:
    """What a center optimizer has after one step.

    `loss` (weights and balance included), `min_distance` (bits), `feasible`, `histogram` (int64 [K+1], pairs at each
    distance) and `codes` (int8 [C, K]) describe the current set; `best_loss` and `best_codes` the best set so far that
    keeps `required_distance`. `stage` is "start", "anneal", "restart" (one that ran in a process of its own), "round"
    (published solvers), "descend" or "done"; the codes of "done" are the result. `local_optimum` as in CenterSet.
    """

    step: int
    stage: str
    loss: float
    best_loss: float
    min_distance: int
    feasible: bool
    temperature: float
    histogram: np.ndarray
    codes: np.ndarray
    seconds: float
    best_codes: np.ndarray
    required_distance: int
    local_optimum: bool = False


class Best:
    """The best set so far that keeps the distance of `problem`; `first` is the set it began with."""

    def __init__(self, problem: Problem, first: np.ndarray) -> None:
        self.problem = problem
        self.begin(first)

    def begin(self, first: np.ndarray) -> None:
        """Begin again with codes [C, K] that keep the distance."""
        self.codes = self.first = first
        self.loss = self.problem.measure(first).loss

    def offer(self, codes: np.ndarray, loss: float | None = None) -> float:
        """Take codes [C, K] that keep the distance if they are better; returns their loss."""
        value = self.problem.measure(codes).loss if loss is None else loss
        if value < self.loss:
            self.codes, self.loss = codes, value
        return value


class CenterOptimizer:
    """Iterator of CenterSteps; two settings may be changed between two of them, from any thread.

    `keep(min_distance)` changes the minimum distance, `heat` multiplies the temperatures (1: the schedule's own). Both
    act at the next step. Left alone, the same seed gives the same steps. The published solvers and restarts in
    processes of their own take no changes: ValueError.

    >>> from shc.centers import optimize_centers
    >>> steps = optimize_centers(np.eye(4), 8, sweeps=50)
    >>> next(steps).required_distance
    4
    >>> steps.keep(2)
    >>> next(steps).required_distance
    2
    """

    def __init__(
        self,
        best: Best,
        rounds: Iterator[Progress],
        spent: float,
        *,
        find: Callable[[int, np.ndarray], np.ndarray] | None = None,
        keep_any: bool = False,
    ) -> None:
        """`spent` seconds have gone before; `find(min_distance, near)` makes a set that keeps another distance.

        The result keeps the distance, unless `keep_any`.
        """
        self._best, self._problem, self._find = best, best.problem, find
        # a distance and codes that keep it, from the next step on; a deque since another thread may ask
        self._asked: deque[tuple[int, np.ndarray]] = deque(maxlen=1)
        self._steps = self._records(rounds, spent, keep_any)

    def __iter__(self) -> "CenterOptimizer":
        return self

    def __next__(self) -> CenterStep:
        if self._asked:
            self._problem.min_distance, codes = self._asked.pop()
            if minimum_distance(self._best.codes) < self._problem.min_distance:
                self._best.begin(codes)
        return next(self._steps)

    def close(self) -> None:
        """End it; no more steps come."""
        self._steps.close()

    def keep(self, min_distance: int) -> None:
        """Keep this minimum distance (bits) from the next step on.

        The present set moves on from where it is, and the best set begins again if it is too close. ValueError, and
        no change, if no set is found that keeps the distance; looking for one can take seconds.
        """
        self._asked.append((min_distance, self._steerable()(min_distance, self._best.codes)))

    @property
    def heat(self) -> float:
        """Factor on the temperatures of the annealing schedule."""
        return self._problem.heat

    @heat.setter
    def heat(self, factor: float) -> None:
        self._steerable()
        if not 0 < factor < np.inf:
            raise ValueError(f"heat={factor}; expected a finite factor above 0 on the temperatures, such as 2")
        self._problem.heat = float(factor)

    def _steerable(self) -> Callable[[int, np.ndarray], np.ndarray]:
        if self._find is None:
            raise ValueError('only solver="shc" with workers=1 takes changes while it runs; begin another run instead')
        return self._find

    def _records(self, rounds: Iterator[Progress], spent: float, keep_any: bool) -> Generator[CenterStep, None, None]:
        """Records of the solver's progress; the time that the caller takes between two of them is not counted."""
        resumed, step, optimal = perf_counter(), 0, False
        problem, best = self._problem, self._best
        now, result, result_loss = problem.measure(best.first), best.first, best.loss

        def record(stage: str, codes: np.ndarray, temperature: float = 0.0) -> CenterStep:
            nonlocal spent
            spent += perf_counter() - resumed
            return CenterStep(
                step=step, stage=stage, loss=now.loss, best_loss=best.loss, min_distance=now.min_distance,
                feasible=now.feasible, temperature=temperature, histogram=now.histogram, codes=codes, seconds=spent,
                best_codes=best.codes, required_distance=problem.min_distance,
                local_optimum=stage == "done" and optimal,
            )  # fmt: skip

        yield record("start", best.first)
        resumed = perf_counter()
        for progress in rounds:
            step += 1
            now = problem.measure(progress.codes)
            if now.loss < result_loss:
                result, result_loss = progress.codes, now.loss
            if progress.found is not None:
                loss = best.offer(progress.found, now.loss if progress.found is progress.codes else None)
                optimal = progress.optimal and loss <= best.loss
            yield record(progress.stage, progress.codes, progress.temperature)
            resumed = perf_counter()
        step += 1
        final = result if keep_any else best.codes
        now = problem.measure(final)
        yield record("done", final)


def search(
    best: Best, begin: np.ndarray | None, seed: int, sweeps: int, restarts: int, workers: int, records: int
) -> Iterator[Progress]:
    """The package's own solver: annealing, `restarts` times, then a check that the best set is a local optimum."""
    problem = best.problem
    runs = [
        (problem, best.first, begin, seed, restart, sweeps, max(1, records // restarts)) for restart in range(restarts)
    ]
    if workers > 1 and restarts > 1:
        from joblib import Parallel, delayed

        steps = Parallel(n_jobs=min(workers, restarts), return_as="generator")(delayed(_best_of)(*run) for run in runs)
    else:
        steps = itertools.chain.from_iterable(_restart(*run) for run in runs)
    reached = False
    for progress in steps:
        reached |= progress.stage != "anneal" and progress.found is not None
        if progress.found is not None:
            best.offer(progress.found)
        if restarts == 1 or progress.stage != "descend" or progress.optimal:
            yield progress
    if best.codes is best.first or not reached:
        # so tight a distance that the way through violations did not lead back
        for progress in anneal(problem, best.first, state_of(seed, restarts), sweeps, records, hold=True):
            if progress.found is not None:
                best.offer(progress.found)
            yield progress
    yield from descend(problem, best.codes, state_of(seed))


def _restart(
    problem: Problem, feasible: np.ndarray, begin: np.ndarray | None, seed: int, restart: int, sweeps: int,
    records: int,
) -> Iterator[Progress]:  # fmt: skip
    """One annealing run, from `begin` or from random centers."""
    first = begin
    if first is None:
        # Not from `feasible`: an algebraic code's even distances would survive the highest temperature.
        first = feasible.copy()
        first[problem.free] = random_centers(problem.bits, len(feasible), 1000 * seed + restart)[problem.free]
    return anneal(problem, first, state_of(seed, restart), sweeps, records, warm=begin is not None)


def _best_of(problem: Problem, *options: Any) -> Progress:
    """The best set of one restart, for a process of its own."""
    best = None
    for progress in _restart(problem, *options):
        if progress.found is not None:
            value = problem.measure(progress.found).loss
            if best is None or value < best[0]:
                best = value, progress.found
    codes = progress.codes if best is None else best[1]
    return Progress("restart", 0.0, codes, None if best is None else codes)
