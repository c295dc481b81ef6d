"""Sets of hash centers side by side: what ignores the similarity, what SHC finds, what the published solvers return.

Every set answers to the same S, code length and minimum distance; seconds are those of making it on this machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from shc import centers, constructions
from shc.centers import CenterSet
from shc.hamming import minimum_distance


@dataclass(frozen=True)
class ComparedCenters:
    """One set of centers: `codes` int8 [C, K], its f, the smallest distance that occurs and the one asked for (bits).

    `seconds` it took to make; `note` is what else there is to say, for the published solvers how their rounds went.
    """

    name: str
    codes: np.ndarray = field(repr=False)
    loss: float
    min_distance: int
    required_distance: int
    seconds: float
    note: str = ""

    @property
    def keeps(self) -> bool:
        """Whether every pair of centers is at least the required distance apart."""
        return self.min_distance >= self.required_distance


def compare_centers(
    S: np.ndarray, bits: int, seed: int = 0, *, min_distance: int | str = "rule", sweeps: int | None = None
) -> list[ComparedCenters]:
    """Random, algebraic, distance-only and semantic centers for S [C, C], and those of the paper's solver.

    The algebraic ones are Hadamard codes (K a power of two, C ≤ 2K) or BCH codes. "paper" is the published algorithm to
    the letter, "paper's code" with its authors' two changes; both start from distance-only centers. `min_distance` and
    `sweeps` as for `shc.centers.optimize_centers`.

    >>> [row.name for row in compare_centers(np.eye(6), 8, sweeps=20)]
    ['random', 'Hadamard', 'distance only', 'SHC', 'paper', "paper's code"]
    """
    S = centers.check_similarity(S)
    classes = len(S)
    centers.solve(np.eye(4), 8, sweeps=1)  # compiles what is timed below
    solve = partial(centers.solve, S, bits, seed=seed)
    found, seconds = _timed(partial(solve, min_distance=min_distance, sweeps=sweeps))
    distance = found.min_distance

    def row(name: str, codes: np.ndarray, seconds: float, note: str = "") -> ComparedCenters:
        return ComparedCenters(name, codes, centers.loss(S, codes), minimum_distance(codes), distance, seconds, note)

    algebra = "Hadamard" if bits & (bits - 1) == 0 and classes <= 2 * bits else "BCH"
    blind = {
        "random": constructions.random_centers,
        algebra: constructions.algebraic_centers,
        "distance only": constructions.distance_only_centers,
    }
    rows = [row(name, *_timed(partial(make, bits, classes, seed))) for name, make in blind.items()]
    rows.append(row("SHC", found.codes, seconds))
    for name, solver in (("paper", "paper"), ("paper's code", "paper-code")):
        result, seconds = _timed(partial(solve, min_distance=distance, solver=solver))
        rows.append(row(name, result.codes, seconds, _rounds_told(result)))
    return rows


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    began = perf_counter()
    made = make()
    return made, perf_counter() - began


def _rounds_told(result: CenterSet) -> str:
    """How many rounds of a published solver broke the distance, and whether any was better than its start."""
    rounds = [step for step in result.history if step.stage == "round"]
    broken = sum(not step.feasible for step in rounds)
    told = f"{broken} of {len(rounds)} rounds too close" if broken else "every round keeps the distance"
    return f"{told}, none beats the start" if result.loss >= result.history[0].loss else told
