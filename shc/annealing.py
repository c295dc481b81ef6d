"""Simulated annealing and descent over sets of centers: the optimizer behind `shc.centers`.

On the way a rising penalty lets sets break the minimum distance; what is kept as best never does. The compiled moves
are in `shc.moves` (imported where used: numba takes a moment); this module chooses temperatures, repairs, polishes.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shc.hamming import distance

# Found by trial on the instances of benchmarks/centers.py; energies are in squared bits times the mean weight.
HEAT, COOL = 4.0, 1.5  # first and last temperature, times √C
SOFT, HARD = 0.3, 200.0  # first and last penalty per squared excess of an inner product
SHARES = np.array([0.2, 0.7])  # flips, pairs of flips in one center; the rest are exchanges
WARM = 0.5  # part of the schedule that a warm start skips
LOOK = 5  # every so many records, look for a set nearby that keeps the distance
PATIENT = 400  # classes; see `descend`
TOLERANCE = 1e-6  # gains below are rounding


@dataclass(frozen=True)
class Problem:
    """min mean(w (S − HᵀH/K)²) + balance/C² (‖Σh‖² − KC) over centers that keep `min_distance`; see `of`."""

    similarity: np.ndarray  # [C, C]
    bits: int
    min_distance: int
    weights: np.ndarray  # [C, C]
    balance: float
    free: np.ndarray  # int64 [F], the classes whose centers may change

    @classmethod
    def of(
        cls,
        similarity: np.ndarray,
        bits: int,
        min_distance: int,
        weights: np.ndarray | None = None,
        balance: float = 0.0,
        free: np.ndarray | None = None,
    ) -> "Problem":
        """A problem with plain defaults: all pairs weigh 1, no balance term, every center may change."""
        classes = len(similarity)
        return cls(
            similarity=similarity,
            bits=bits,
            min_distance=min_distance,
            weights=np.ones((classes, classes)) if weights is None else weights,
            balance=balance,
            free=np.arange(classes) if free is None else np.asarray(free, dtype=np.int64),
        )

    @property
    def cap(self) -> int:
        """Largest inner product of two centers that keep the distance."""
        return self.bits - 2 * self.min_distance

    @property
    def scale(self) -> float:
        """Mean weight of a pair; temperatures and penalties grow with it."""
        return float(self.weights.mean()) or 1.0

    def measure(self, codes: np.ndarray) -> "Measure":
        """Loss (without any penalty) and distances of codes [C, K]."""
        classes = len(codes)
        distances = distance(codes, codes)  # [C, C]
        inner = self.bits - 2 * distances
        value = float((self.weights * (self.similarity - inner / self.bits) ** 2).mean())
        if self.balance:
            value += self.balance * float(inner.sum() - classes * self.bits) / classes**2
        histogram = np.bincount(distances[np.triu_indices(classes, 1)], minlength=self.bits + 1)
        smallest = int(histogram.nonzero()[0][0]) if classes > 1 else self.bits
        return Measure(value, smallest, smallest >= self.min_distance, histogram)

    def arrays(self, codes: np.ndarray, dtype: type) -> tuple[np.ndarray, ...]:
        """bits [K, C], inner, quad and lin [C, C] as `shc.moves` wants them.

        Times C²K²/2 the objective is, up to a constant, Σ_{i<j} quad g² − 2 lin g.
        """
        quad = self.weights.copy()
        lin = quad * self.similarity * self.bits - self.balance * self.bits**2 / 2
        np.fill_diagonal(quad, 0.0)
        np.fill_diagonal(lin, 0.0)
        bits: np.ndarray = np.ascontiguousarray(codes.T, dtype=dtype)
        inner: np.ndarray = (self.bits - 2 * distance(codes, codes)).astype(dtype)
        np.fill_diagonal(inner, -self.bits)
        return bits, inner, quad.astype(dtype), lin.astype(dtype)


class Measure(NamedTuple):
    """What `Problem.measure` finds: `histogram` int64 [K+1] counts the pairs of centers at each distance."""

    loss: float
    min_distance: int
    feasible: bool
    histogram: np.ndarray


class Progress(NamedTuple):
    """A solver's current set `codes` [C, K], and a set near it that keeps the minimum distance, if there is one."""

    stage: str
    temperature: float
    codes: np.ndarray
    found: np.ndarray | None


def state_of(*seeds: int) -> np.ndarray:
    """State uint64 [1] of the kernels' random numbers, mixed from whole numbers."""
    return np.random.SeedSequence(seeds).generate_state(1, np.uint64)


def anneal(
    problem: Problem, start: np.ndarray, state: np.ndarray, sweeps: int, records: int, warm: bool = False
) -> Iterator[Progress]:
    """Anneal from `start` [C, K], then descend; yield Progress.

    A sweep is as many proposals as there are free bits. `warm` starts cold enough to stay near `start`. Stages are
    "anneal" (`records` times) and "descend"; the last set is a local optimum that keeps the distance, if one was found.
    """
    from shc import moves

    bits, inner, quad, lin = problem.arrays(start, np.float32)
    if not len(problem.free):
        return
    unit = problem.scale * np.sqrt(len(start))
    records = max(1, min(records, sweeps))
    proposals = -(-sweeps * problem.bits * len(problem.free) // records)
    parts = np.linspace(WARM if warm else 0.0, 1.0, records + 1)
    temperature = HEAT * unit * (COOL / HEAT) ** parts
    penalty = SOFT * problem.scale * (HARD / SOFT) ** np.sqrt(parts)
    codes = start
    for r in range(records):
        moves.anneal(
            bits, inner, quad, lin, np.float32(problem.cap), problem.free, SHARES, proposals,
            temperature[r], temperature[r + 1], penalty[r], penalty[r + 1], False, state,
        )  # fmt: skip
        codes = _codes(bits)
        found = _feasible_neighbor(problem, codes) if r % LOOK == LOOK - 1 else None
        yield Progress("anneal", float(temperature[r + 1]), codes, found)
    yield from descend(problem, codes, state)


def descend(problem: Problem, codes: np.ndarray, state: np.ndarray) -> Iterator[Progress]:
    """Improve codes [C, K] until no flip, pair of flips in one center or exchange helps; yields like `anneal`.

    Violations are removed first. The final set is checked: a whole pass found no move. Above PATIENT classes, where
    exchanges cost most of the time, they are left out after some passes.
    """
    from shc import moves

    if not problem.measure(codes).feasible:
        repaired = _feasible_neighbor(problem, codes)
        if repaired is None:
            repaired = repair(codes, problem.min_distance, problem.free, state, sweeps=200)
        if repaired is None:
            yield Progress("descend", 0.0, codes, None)
            return
        codes = repaired
    bits, inner, quad, lin = problem.arrays(codes, np.float64)
    uniform = problem.weights.min() == problem.weights.max()
    for count in itertools.count():
        if uniform:  # the cross term of two flips is the correlation of two bits over the classes
            correlation = np.abs(np.einsum("ki,mi->km", bits, bits))
            np.fill_diagonal(correlation, 0)
            reach = 8 * problem.scale * (correlation.max() + 1)
        else:
            reach = 8 * quad.sum(axis=1).max()
        exchanges = len(codes) <= PATIENT or count < 10
        tolerance = TOLERANCE * problem.scale
        taken = moves.polish(bits, inner, quad, lin, float(problem.cap), problem.free, reach, exchanges, tolerance)
        codes = _codes(bits)
        yield Progress("descend", 0.0, codes, codes)
        if not taken:
            return


def polish(problem: Problem, codes: np.ndarray, state: np.ndarray, sweeps: int) -> np.ndarray:
    """Best set of a short, warm annealing from codes [C, K] that keep the distance."""
    best, best_loss = codes, problem.measure(codes).loss
    for progress in anneal(problem, codes, state, sweeps, records=1, warm=True):
        if progress.found is not None and (value := problem.measure(progress.found).loss) < best_loss:
            best, best_loss = progress.found, value
    for progress in descend(problem, best, state):
        best = progress.codes
    return best


def repair(
    codes: np.ndarray,
    min_distance: int,
    free: np.ndarray,
    state: np.ndarray,
    sweeps: int,
    heat: float = 3.0,
    pairs: float = 0.5,
) -> np.ndarray | None:
    """Change the `free` rows of codes [C, K] until all pairs keep `min_distance`; None if `sweeps` do not suffice.

    Anneals the violations alone, from the temperature `heat`; `pairs` is the share of pairs of flips in one center.
    """
    from shc import moves

    classes, bits = codes.shape
    problem = Problem.of(np.eye(classes), bits, min_distance, weights=np.zeros((classes, classes)), free=free)
    if problem.measure(codes).feasible:
        return codes
    if not len(free):
        return None
    columns, inner, quad, lin = problem.arrays(codes, np.float32)
    shares = np.array([1 - pairs, pairs])
    steps = sweeps * bits * len(free)
    moves.anneal(
        columns, inner, quad, lin, np.float32(problem.cap), free, shares, steps, heat, heat / 6, 1.0, 1.0, True, state
    )
    found = _codes(columns)
    return found if problem.measure(found).feasible else None


def _feasible_neighbor(problem: Problem, codes: np.ndarray) -> np.ndarray | None:
    """A set near codes [C, K] that keeps the distance, by descent under a heavy penalty; None if stuck."""
    from shc import moves

    bits, inner, quad, lin = problem.arrays(codes, np.float32)
    cap, tolerance = np.float32(problem.cap), np.float32(0.01 * problem.scale)
    for penalty in (HARD, 100 * HARD):
        for _ in range(10):
            strength = np.float32(penalty * problem.scale)
            if not moves.descend(bits, inner, quad, lin, cap, strength, problem.free, tolerance):
                break
        if moves.violations(inner, cap) == 0:
            return _codes(bits)
    return None


def _codes(bits: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bits.T).astype(np.int8)
