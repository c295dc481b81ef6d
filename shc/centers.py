"""Hash centers (stage 2): one ±1 code per class, close in Hamming space where the classes are similar.

Minimizes f(H) = mean over all C² entries of (S − HᵀH/K)², S the class similarity, while every two centers stay at
least the minimum distance d apart (SHC, Chen et al. 2025). `optimize_centers` yields a record per step, for live
plots; `solve` drains it. What it returns is a `shc.center_optimizer.CenterOptimizer`, the search itself is in
`shc.annealing`, the paper's solver in `shc.published`.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from shc.annealing import Problem, visit_seconds
from shc.center_optimizer import Best, CenterOptimizer, CenterStep, search
from shc.constructions import centers_at_distance, distance_only_centers
from shc.hamming import as_codes, as_numbers, check_size, min_distance_rule, minimum_distance

SOLVERS = ("shc", "paper", "paper-code")
FEW, MANY = 32, 64  # for up to FEW classes MANY short runs beat a long one
ROUNDING = 1e-5  # how far S may be from symmetric, or its diagonal from 1


@dataclass(frozen=True)
class CenterSet:
    """Hash centers `codes` int8 [C, K] and how they were found.

    `min_distance` is the distance that the optimizer kept (bits), `requested_distance` the one asked for,
    `achieved_distance` the smallest that occurs. `feasible` (achieved ≥ min_distance) can be False only for
    `solver="paper"`; `complete` is False if the optimizer was stopped. `local_optimum`: it was checked that no flip
    of a bit or of two bits of a center and, up to 400 classes, no exchange of two classes' centers keeps the distance
    and lowers the loss. `bound` is a lower bound on the loss of any such set, None if it was not computed.
    """

    codes: np.ndarray
    loss: float
    min_distance: int
    requested_distance: int
    achieved_distance: int
    feasible: bool
    complete: bool
    local_optimum: bool
    bound: float | None
    seconds: float
    solver: str
    seed: int
    history: list[CenterStep] = field(repr=False, default_factory=list)


def loss(S: np.ndarray, codes: np.ndarray, *, weights: np.ndarray | None = None, balance: float = 0.0) -> float:
    """f(H) of codes [C, K]: mean over all C² entries of w (S − HᵀH/K)², plus balance/C² (‖Σh‖² − KC).

    >>> loss(np.eye(2), np.array([[1, 1], [1, -1]]))
    0.0
    """
    codes = as_codes(codes)
    S = np.asarray(S, dtype=np.float64)
    if S.shape != (len(codes), len(codes)):
        raise ValueError(f"S has shape {list(S.shape)}, but there are {len(codes)} codes; pass one code per class")
    checked = None if weights is None else _check_weights(weights, len(S))
    return Problem.of(S, codes.shape[1], 0, weights=checked, balance=balance).measure(codes).loss


def optimize_centers(
    S: np.ndarray,
    bits: int,
    *,
    min_distance: int | str = "rule",
    seed: int = 0,
    solver: str = "shc",
    balance: float | None = None,
    weights: np.ndarray | None = None,
    start: np.ndarray | None = None,
    fixed: tuple[np.ndarray, np.ndarray] | None = None,
    sweeps: int | None = None,
    restarts: int | None = None,
    workers: int = 1,
    records: int = 100,
) -> CenterOptimizer:
    """Optimize hash centers for a class similarity S [C, C] and yield a CenterStep now and then.

    - `min_distance`: "rule" (the paper's d; if no such set is found, the next smaller), a whole number (kept, or
      ValueError) or "max" (the largest for which a set is found).
    - `solver`: "shc" (annealing), "paper" (its augmented Lagrangian to the letter, which may break d), "paper-code"
      (with its authors' two changes, which keep d).
    - `balance`: weight μ of the bit-balance term μ/C² (‖Σh‖² − KC); none by default, the paper's .625 inside the
      published solvers, whose records show the plain loss.
    - `weights` [C, C]: of the pairs, symmetric, at least 0.
    - `start` [C, K]: codes to begin at. `fixed` = (indices [F], codes [F, K]): classes whose centers stay.
    - `sweeps`: visits to each center, per restart, in which all its bits and pairs of bits are tried; by default enough
      to come near the best known sets.
    - `restarts`: independent runs, of which the best counts; by default one, but 64 short ones for up to 32 classes if
      `sweeps` is not given. `workers` processes share them (each starts in a second or two), with the same result.
    - `records`: at most so many steps are yielded while annealing, all restarts together; fewer above 1,000 classes.

    Stop or interrupt it whenever you like: the last record's `best_codes` keep the distance. The same seed gives the
    same steps, their `seconds` apart (the first run on a machine also compiles, which takes some). The minimum distance
    and the temperatures can be changed between two steps (see CenterOptimizer), unless `workers` share the restarts.

    Raises ValueError, at the call, for a request that makes no sense or whose distance cannot be reached.

    >>> last = list(optimize_centers(np.eye(4), 8, sweeps=50))[-1]
    >>> last.stage, last.loss, last.min_distance
    ('done', 0.0, 4)
    """
    began = perf_counter()
    S = check_similarity(S)
    classes = len(S)
    check_size(bits, classes)
    counts = {"seed": seed, "sweeps": sweeps, "restarts": restarts, "workers": workers, "records": records}
    _check_options(solver, balance, counts)
    checked_weights = None if weights is None else _check_weights(weights, classes)
    held = None if fixed is None else _check_fixed(fixed, classes, bits)
    begin = None if start is None else _check_start(start, classes, bits)
    if begin is not None and held is not None:
        begin[held[0]] = held[1]
    if solver != "shc":
        for name, given in (("weights", weights), ("start", start), ("fixed", fixed)):
            if given is not None:
                raise ValueError(f'solver={solver!r} does not take {name}; use solver="shc"')
    distance, feasible = centers_at_distance(bits, classes, min_distance, seed, held, begin)
    free = None if held is None else np.setdiff1d(np.arange(classes), held[0])
    if solver == "shc":
        problem = Problem.of(S, bits, distance, checked_weights, balance or 0.0, free)
        if restarts is None:
            restarts = MANY if classes <= FEW and sweeps is None else 1
        effort = default_sweeps(classes, bits) if sweeps is None else sweeps
        records = min(records, max(10, 100_000 // classes))

        def find(wanted: int, near: np.ndarray) -> np.ndarray:
            return centers_at_distance(bits, classes, wanted, seed, held, near)[1]

        best = Best(problem, feasible)
        rounds = search(best, begin, seed, effort, restarts, workers, records)
        shared = workers > 1 and restarts > 1
        return CenterOptimizer(best, rounds, perf_counter() - began, find=None if shared else find)
    from shc.published import BALANCE, augmented_lagrangian

    begin = distance_only_centers(bits, classes, seed)
    mu = BALANCE if balance is None else balance
    rounds = augmented_lagrangian(S, begin, distance, balance=mu, as_coded=solver == "paper-code")
    best = Best(Problem.of(S, bits, distance), begin)
    return CenterOptimizer(best, rounds, perf_counter() - began, keep_any=solver == "paper")


def solve(S: np.ndarray, bits: int, *, bound: bool = False, **options) -> CenterSet:
    """The centers that `optimize_centers` (same options) ends with, as a CenterSet.

    The set keeps its minimum distance, unless solver="paper", which is shown as it is and flagged by `feasible`.
    `bound` adds a lower bound on the loss (`shc.bounds`; for the plain loss only, seconds).

    >>> solve(np.eye(4), 8, sweeps=50).loss
    0.0
    """
    steps = optimize_centers(S, bits, **options)
    plain = options.get("weights") is None and not options.get("balance")
    requested = options.get("min_distance", "rule")
    if requested == "rule":
        requested = min_distance_rule(bits, len(S))
    result = collect(
        steps, requested_distance=None if requested == "max" else requested,
        solver=options.get("solver", "shc"), seed=options.get("seed", 0),
    )  # fmt: skip
    if not (bound and plain):
        return result
    from dataclasses import replace

    from shc.bounds import lower_bound

    return replace(result, bound=lower_bound(check_similarity(S), bits, result.min_distance))


def collect(
    steps: Iterable[CenterStep], *, requested_distance: int | None = None, solver: str = "shc", seed: int = 0
) -> CenterSet:
    """Turn the steps of `optimize_centers`, all of them or those up to an early stop, into a CenterSet.

    An interrupt (Ctrl-C) ends it with a warning and the best set so far. ValueError if there are no steps.

    >>> collect(optimize_centers(np.eye(4), 8, sweeps=50)).complete
    True
    """
    history: list[CenterStep] = []
    try:
        for step in steps:
            history.append(step)
    except KeyboardInterrupt:
        if not history:
            raise
        best = history[-1].best_loss
        warnings.warn(
            f"interrupted after step {len(history) - 1}; the best set so far, f = {best:.4f}, is kept", stacklevel=2
        )
    if not history:
        raise ValueError("no steps to collect; let optimize_centers run for at least one step")
    last = history[-1]
    complete = last.stage == "done"
    codes = last.codes if complete else last.best_codes
    return CenterSet(
        codes=codes,
        loss=last.loss if complete else last.best_loss,
        min_distance=last.required_distance,
        requested_distance=last.required_distance if requested_distance is None else requested_distance,
        achieved_distance=minimum_distance(codes),
        feasible=last.feasible if complete else True,
        complete=complete, local_optimum=last.local_optimum, bound=None, seconds=last.seconds, solver=solver,
        seed=seed, history=history,
    )  # fmt: skip


def default_sweeps(classes: int, bits: int) -> int:
    """Visits to each center that bring the set near the best known ones: seconds for 100 classes, minutes at most."""
    seconds = min(1.2 * (classes / 100) ** 1.3, 200)
    return 25 if classes <= FEW else int(np.clip(seconds / (classes * visit_seconds(classes, bits)), 50, 10_000))


def check_similarity(S: np.ndarray) -> np.ndarray:
    """S as float64 [C, C], exactly symmetric with unit diagonal; ValueError if it is not so up to rounding."""
    S = np.asarray(as_numbers(S, "S"), dtype=np.float64)
    if S.ndim != 2 or S.shape[0] != S.shape[1] or not len(S):
        raise ValueError(f"S has shape {list(S.shape)}; expected a square matrix [C, C], one row per class")
    if not np.isfinite(S).all():
        i, j = np.argwhere(~np.isfinite(S))[0]
        raise ValueError(f"S[{i}, {j}] is {S[i, j]}; every similarity must be finite (a class without images?)")
    if not np.array_equal(S, S.T):
        gap = np.abs(S - S.T)
        if gap.max() > ROUNDING:
            i, j = np.unravel_index(gap.argmax(), gap.shape)
            raise ValueError(
                f"S is not symmetric: S[{i}, {j}] = {S[i, j]:.6g} but S[{j}, {i}] = {S[j, i]:.6g}; pass (S + S.T) / 2"
            )
        S = (S + S.T) / 2
    off = np.abs(np.diag(S) - 1)
    if off.max() > ROUNDING:
        i = int(off.argmax())
        raise ValueError(
            f"S[{i}, {i}] = {S[i, i]:.6g}, but a class has similarity 1 to itself; set np.fill_diagonal(S, 1)"
        )
    if off.any():
        S = S.copy()
        np.fill_diagonal(S, 1.0)
    return S


def _check_options(solver: str, balance: float | None, counts: dict[str, int | None]) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r} is unknown; expected one of {', '.join(SOLVERS)}")
    for name, value in counts.items():
        least = 0 if name == "seed" else 1
        if value is not None and (not isinstance(value, int | np.integer) or value < least):
            raise ValueError(f"{name}={value!r}; expected a whole number of at least {least}")
    if balance is not None and not 0 <= balance < np.inf:
        raise ValueError(f"balance={balance}; expected a finite weight of at least 0")


def _check_weights(weights: np.ndarray, classes: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (classes, classes):
        raise ValueError(f"weights have shape {list(weights.shape)}; expected [{classes}, {classes}] like S")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"weights go from {weights.min()} to {weights.max()}; expected finite values of at least 0")
    if np.abs(weights - weights.T).max() > ROUNDING * max(1.0, weights.max()):
        raise ValueError("weights are not symmetric; pass (weights + weights.T) / 2")
    return (weights + weights.T) / 2


def _check_start(start: np.ndarray, classes: int, bits: int) -> np.ndarray:
    codes = as_codes(start).copy()
    if codes.shape != (classes, bits):
        raise ValueError(f"start has shape {list(codes.shape)}; expected [{classes}, {bits}], one code per class")
    return codes


def _check_fixed(fixed: tuple[np.ndarray, np.ndarray], classes: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    indices, codes = np.asarray(fixed[0], dtype=np.int64), as_codes(fixed[1])
    if indices.ndim != 1 or codes.shape != (len(indices), bits):
        raise ValueError(
            f"fixed has indices {list(indices.shape)} and codes {list(codes.shape)}; expected [F] and [F, {bits}]"
        )
    if len(np.unique(indices)) != len(indices) or (indices < 0).any() or (indices >= classes).any():
        raise ValueError(f"fixed indices {indices.tolist()}; expected different classes from 0 to {classes - 1}")
    return indices, codes
