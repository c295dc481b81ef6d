"""Simulated annealing and descent over sets of centers: the optimizer behind `shc.centers`.

On the way a rising penalty lets sets break the minimum distance; what is kept as best never does. The compiled moves
are in `shc.moves` (imported where used: numba takes a moment); this module chooses temperatures, repairs, polishes.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shc.hamming import minimum_distance, pack

if TYPE_CHECKING:
    from shc.moves import Arrays

# Found by trial on the instances of benchmarks/centers.py; energies are in squared bits times the mean weight.
HEAT, COOL = 4.0, 2.0  # first and last temperature, times √C
SOFT, HARD = 0.01, 20.0  # first and last penalty per squared excess of an inner product, times √C
BOOST = 4.0  # factor on the penalty in each extra round that a set needs to keep the distance; at most ROUNDS
ROUNDS = 6
EXCHANGES, TWINS = 4, 0.02  # exchanges tried per visit to a center; share of visits that flip one bit in two centers
WARM = 0.5  # part of the schedule that a warm start skips
LOOK = 5  # every so many records, look for a set nearby that keeps the distance
PATIENT, IMPATIENT = 400, 2000  # classes; see `descend`
PRECISE = 3000  # classes; above, the descent computes in float32, half the memory
TOLERANCE = {np.float64: 1e-6, np.float32: 1.0}  # smaller gains are rounding


@dataclass
class Problem:
    """min mean(w (S − HᵀH/K)²) + balance/C² (‖Σh‖² − KC) over centers that keep `min_distance`; see `of`.

    `min_distance` and `heat`, a factor on the temperatures, may change while a set is annealed: `anneal` and `descend`
    read them anew after every Progress that they yield.
    """

    similarity: np.ndarray  # [C, C]
    bits: int
    min_distance: int
    weights: np.ndarray  # [C, C], or [1, 1] where all pairs weigh the same
    balance: float
    free: np.ndarray  # int64 [F], the classes whose centers may change
    heat: float = 1.0

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
        if weights is None:
            weights = np.ones((1, 1))
        elif weights.min() == weights.max():
            weights = weights[:1, :1]
        return cls(
            similarity=similarity,
            bits=bits,
            min_distance=min_distance,
            weights=weights,
            balance=balance,
            free=np.arange(len(similarity)) if free is None else np.asarray(free, dtype=np.int64),
        )

    @property
    def cap(self) -> int:
        """Largest inner product of two centers that keep the distance."""
        return self.bits - 2 * self.min_distance

    @property
    def scale(self) -> float:
        """Mean weight of a pair."""
        return float(self.weights.mean()) or 1.0

    @property
    def unit(self) -> float:
        """Temperatures and penalties are multiples of this: a move changes C terms of random sign."""
        return self.scale * len(self.similarity) ** 0.5

    def measure(self, codes: np.ndarray) -> "Measure":
        """Loss (without any penalty) and distances of codes [C, K]."""
        from shc import moves

        classes = len(codes)
        histogram = np.zeros(self.bits + 1, dtype=np.int64)
        value = moves.residual(self.similarity, pack(codes), self.bits, self.weights, histogram) / classes**2
        if self.balance:
            column = codes.sum(axis=0, dtype=np.int64)
            value += self.balance * float(column @ column - classes * self.bits) / classes**2
        smallest = int(histogram.nonzero()[0][0]) if classes > 1 else self.bits
        return Measure(value, smallest, smallest >= self.min_distance, histogram)

    def arrays(self, codes: np.ndarray, dtype: type) -> "Arrays":
        """What `shc.moves` works on; times C²K²/2 the loss is, up to a constant, Σ_{i<j} quad g² − 2 lin g."""
        from shc.moves import Arrays

        quad: np.ndarray = self.weights.astype(dtype)
        lin: np.ndarray = self.similarity.astype(dtype)
        lin *= quad
        lin *= self.bits
        lin -= self.balance * self.bits**2 / 2
        np.fill_diagonal(lin, 0.0)
        if quad.size > 1:
            np.fill_diagonal(quad, 0.0)
        rows: np.ndarray = np.ascontiguousarray(codes, dtype=dtype)
        inner = rows @ rows.T  # whole numbers, exact
        np.fill_diagonal(inner, -self.bits)
        return Arrays(rows.copy(), rows.T.copy(), inner, rows.T @ rows, quad, lin, self.free)


class Measure(NamedTuple):
    """What `Problem.measure` finds: `histogram` int64 [K+1] counts the pairs of centers at each distance."""

    loss: float
    min_distance: int
    feasible: bool
    histogram: np.ndarray


class Progress(NamedTuple):
    """A solver's current set `codes` [C, K], and a set near it that keeps the minimum distance, if there is one.

    `optimal`: no flip, pair of flips in one center or (see `descend`) exchange of two centers improves `found`.
    """

    stage: str
    temperature: float
    codes: np.ndarray
    found: np.ndarray | None
    optimal: bool = False


def state_of(*seeds: int) -> np.ndarray:
    """State uint64 [1] of the kernels' random numbers, mixed from whole numbers."""
    return np.random.SeedSequence(seeds).generate_state(1, np.uint64)


def visit_seconds(classes: int, bits: int) -> float:
    """About how long a visit of `shc.moves.anneal` to one center takes, as once measured: to choose efforts by."""
    return 1e-6 + 2e-10 * bits * classes + 1.4e-9 * bits**2


def anneal(
    problem: Problem,
    start: np.ndarray,
    state: np.ndarray,
    sweeps: int,
    records: int,
    warm: bool = False,
    hold: bool = False,
) -> Iterator[Progress]:
    """Anneal from `start` [C, K], then descend; yield Progress.

    A sweep is as many visits as there are free centers. `warm` starts cold enough to stay near `start`, `hold` never
    leaves the sets that keep the distance, if `start` is one. Stages are "anneal" (at most `records` times) and
    "descend"; the last set is a local optimum that keeps the distance, if one was found.
    """
    from shc import moves

    if not len(problem.free):
        return
    a = problem.arrays(start, np.float32)
    visits = sweeps * len(problem.free)
    records = max(1, min(records, visits))
    parts = np.linspace(WARM if warm else 0.0, 1.0, records + 1)
    temperature = HEAT * problem.unit * (COOL / HEAT) ** parts
    penalty = SOFT * problem.unit * (HARD / SOFT) ** np.sqrt(parts)
    if hold:
        penalty[:] = HARD * problem.unit * BOOST**ROUNDS
    ends = np.linspace(0, visits, records + 1).round().astype(int)
    codes = start
    for r in range(records):
        hot, cold = problem.heat * temperature[r : r + 2]
        moves.anneal(
            a, np.float32(problem.cap), True, EXCHANGES, TWINS, ends[r + 1] - ends[r],
            hot, cold, penalty[r], penalty[r + 1], False, state,
        )  # fmt: skip
        codes = _codes(a)
        found = _feasible_neighbor(problem, codes) if r % LOOK == LOOK - 1 else None
        yield Progress("anneal", float(cold), codes, found)
    cold, strength, more = temperature[-1], penalty[-1], max(visits // 20, 2 * len(problem.free))
    for _ in range(ROUNDS):
        cap = np.float32(problem.cap)
        if moves.violations(a.inner, cap) == 0:
            break
        moves.anneal(a, cap, True, EXCHANGES, TWINS, more, cold, cold, strength, BOOST * strength, False, state)
        strength *= BOOST
        codes = _codes(a)
        yield Progress("anneal", float(cold), codes, None)
    yield from descend(problem, codes, state)


def descend(problem: Problem, codes: np.ndarray, state: np.ndarray) -> Iterator[Progress]:
    """Improve codes [C, K] until no flip, pair of flips in one center or exchange helps; yields like `anneal`.

    Violations are removed first. The final set is checked: a whole pass found no move. Exchanges cost most of the time
    where there are many classes: above PATIENT they are left out after some passes, above IMPATIENT in all.
    """
    from shc import moves

    dtype = np.float64 if len(codes) <= PRECISE else np.float32
    kept = None
    for count in itertools.count():
        if problem.min_distance != kept:  # at first, and when it was changed meanwhile
            kept = problem.min_distance
            if not problem.measure(codes).feasible:
                repaired = _feasible_neighbor(problem, codes)
                if repaired is None:
                    repaired = repair(codes, kept, problem.free, state, sweeps=200)
                if repaired is None:
                    yield Progress("descend", 0.0, codes, None)
                    return
                codes = repaired
            a = problem.arrays(codes, dtype)
        exchanges = len(codes) <= PATIENT or (len(codes) <= IMPATIENT and count < 10)
        taken = moves.polish(a, dtype(problem.cap), exchanges, dtype(TOLERANCE[dtype] * problem.scale))
        codes = _codes(a)
        yield Progress("descend", 0.0, codes, codes, optimal=not taken)
        if not taken and problem.min_distance == kept:
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
    single: bool = True,
) -> np.ndarray | None:
    """Change the `free` rows of codes [C, K] until all pairs keep `min_distance`; None if `sweeps` do not suffice.

    Anneals the violations alone, from the temperature `heat`. Without `single`, bits flip only in pairs, which keeps
    the parity of all distances.
    """
    from shc import moves

    classes, bits = codes.shape
    nothing = np.zeros((1, 1))
    problem = Problem.of(np.broadcast_to(nothing, (classes, classes)), bits, min_distance, weights=nothing, free=free)
    if minimum_distance(codes) >= min_distance:
        return codes
    if not len(free):
        return None
    a = problem.arrays(codes, np.float32)
    visits = sweeps * len(free)
    moves.anneal(a, np.float32(problem.cap), single, 0, 0.0, visits, heat, heat / 6, 1.0, 1.0, True, state)
    found = _codes(a)
    return found if minimum_distance(found) >= min_distance else None


def _feasible_neighbor(problem: Problem, codes: np.ndarray) -> np.ndarray | None:
    """A set near codes [C, K] that keeps the distance, by descent under a heavy penalty; None if stuck."""
    from shc import moves

    a = problem.arrays(codes, np.float32)
    cap, tolerance = np.float32(problem.cap), np.float32(0.01 * problem.scale)
    for penalty in (HARD * problem.unit, 100 * HARD * problem.unit):
        for _ in range(10):
            if not moves.descend(a, cap, np.float32(penalty), tolerance):
                break
        if moves.violations(a.inner, cap) == 0:
            return _codes(a)
    return None


def _codes(a: "Arrays") -> np.ndarray:
    return a.codes.astype(np.int8)
