"""Lower bounds on the loss of hash centers: how much of it no set of centers can avoid.

With X = HᵀH/K, every set of centers gives a positive semidefinite X of rank at most K with unit diagonal, entries on
the grid −1, −1 + 2/K, …, 1 and, off the diagonal, X_ij ≤ 1 − 2d/K. Relaxing one or the other of these gives a bound on
f(H) = mean (S − X)². They hold for the plain loss, not with weights or a bit-balance term.
"""

import numpy as np

from shc.hamming import check_size


def lower_bound(S: np.ndarray, bits: int, min_distance: int, iterations: int = 300) -> float:
    """A number that f(H) of no centers of `bits` bits at least `min_distance` apart falls below (rounding 1e-9).

    The larger of `dual_bound` and `grid_bound`. S [C, C] as for `shc.centers.optimize_centers`.

    >>> round(lower_bound(np.array([[1.0, 0.9], [0.9, 1.0]]), 4, 1), 4)  # X_12 is at most 0.5
    0.08
    """
    from shc.centers import check_similarity

    S = check_similarity(S)
    check_size(bits, len(S))
    if not 0 <= min_distance <= bits:
        raise ValueError(f"min_distance={min_distance} bits; expected 0 to {bits}, the code length")
    bound = max(grid_bound(S, bits, min_distance), dual_bound(S, bits, min_distance, iterations))
    return max(bound - 1e-9, 0.0)


def grid_bound(S: np.ndarray, bits: int, min_distance: int) -> float:
    """Bound from single entries: each X_ij is a multiple of 2/K from −1 and at most 1 − 2d/K.

    >>> round(grid_bound(np.array([[1.0, 0.9], [0.9, 1.0]]), 4, 1), 4)
    0.08
    """
    step = np.round((1 - S) * bits / 2)  # the nearest Hamming distance
    nearest = 1 - 2 * np.clip(step, min_distance, bits) / bits
    residual = S - nearest
    np.fill_diagonal(residual, 0.0)
    return float((residual**2).mean())


def dual_bound(S: np.ndarray, bits: int, min_distance: int, iterations: int = 300) -> float:
    """Bound from the Lagrangian dual of min ‖S − X‖² over X ⪰ 0, rank X ≤ K, X_ii = 1, X_ij ≤ 1 − 2d/K.

    For multipliers y of the diagonal and u ≥ 0 of the caps, minimizing over X leaves
    ‖S‖² − Σ λ² − 2 Σ y − 2 (1 − 2d/K) Σ u, λ the up to K largest positive eigenvalues of S − diag(y) − u.
    Every such value is a bound, so the best one met by at most `iterations` steps of L-BFGS is one too.
    """
    from scipy.linalg import eigh
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    classes = len(S)
    cap = 1 - 2 * min_distance / bits
    rank = min(bits, classes)
    upper = np.triu_indices(classes, 1)
    diagonal = np.diag_indices(classes)
    norm = float((S**2).sum())
    best = -np.inf

    def negative_dual(multipliers: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        y, u = multipliers[:classes], multipliers[classes:]
        shifted = S.copy()
        shifted[upper] -= u
        shifted.T[upper] -= u
        shifted[diagonal] -= y
        values, vectors = eigh(shifted, subset_by_index=(classes - rank, classes - 1), driver="evr")
        values = np.maximum(values, 0)
        X = (vectors * values) @ vectors.T  # [C, C], the minimizer
        dual = norm - float((values**2).sum()) - 2 * float(y.sum()) - 4 * cap * float(u.sum())
        best = max(best, dual)
        slope = np.concatenate([2 * (X[diagonal] - 1), 4 * (X[upper] - cap)])
        return -dual, -slope

    first = np.concatenate([np.zeros(classes), np.maximum(S[upper] - cap, 0)])
    # one BLAS thread: on matrices this small several only wait for each other
    with threadpool_limits(1):
        minimize(
            negative_dual,
            first,
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, None)] * classes + [(0, None)] * len(upper[0]),
            options={"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20},
        )
    return best / classes**2
