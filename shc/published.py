"""The center solver of the SHC paper (Chen et al. 2025), an augmented Lagrangian, kept for comparison.

With columns h_i of H [K, C], an auxiliary M [K, C] close to H and slacks k_ij ≥ 0 for h_iᵀh_j ≤ K − 2d, every round
solves for M and k, takes three passes of sign steps over the columns, and updates the multipliers. To the letter this
does not keep the distance. The authors' program divides the terms that couple the columns by 10,000, runs 30 rounds
instead of 20 and refuses a step that brings any two centers closer than d: that is what keeps the distance there.
"""

from collections.abc import Iterator

import numpy as np

from shc.annealing import Progress

MULTIPLIER, PENALTY, COUPLING, STEP = 0.1, 0.2, 1e-6, 0.5  # first Λ; ρ; β; η
BALANCE = 0.625  # the paper's weight of the bit-balance term, on the summed objective
PASSES = 3


def augmented_lagrangian(
    S: np.ndarray, start: np.ndarray, min_distance: int, *, balance: float = BALANCE, as_coded: bool = False
) -> Iterator[Progress]:
    """Rounds of the published solver for S [C, C] from codes `start` [C, K]; `as_coded` follows the program.

    20 rounds (30 as coded). Yields Progress with stage "round"; its `found` is None where the distance is broken.

    >>> rounds = list(augmented_lagrangian(np.eye(2), np.array([[1, 1], [1, -1]]), 1))
    >>> len(rounds), rounds[-1].codes.shape
    (20, (2, 2))
    """
    H = start.T.astype(np.float64)  # [K, C]
    bits, classes = H.shape
    cap = bits - 2 * min_distance
    multiplier = np.full((bits, classes), MULTIPLIER)  # Λ, columns λ_i
    alpha = np.zeros((classes, classes))
    coupling = 1e-4 if as_coded else 1.0
    for _ in range(30 if as_coded else 20):
        M = np.linalg.solve(2 / bits**2 * H @ H.T + PENALTY * np.eye(bits), 2 / bits * H @ S + multiplier + PENALTY * H)
        slack = np.maximum(cap - H.T @ H + alpha / COUPLING, 0)  # k_ij
        pull = coupling * 2 * (balance - alpha - COUPLING * (cap - slack))  # factor of h_j in the gradient of h_i
        for _ in range(PASSES):
            for i in range(classes):
                h = H[:, i]
                weight = pull[i] + coupling * 2 * COUPLING * (H.T @ h)
                weight[i] = 0
                gradient = 2 / bits**2 * M @ (M.T @ h) - 2 / bits * M @ S[i]
                gradient += multiplier[:, i] + PENALTY * (h - M[:, i]) + H @ weight
                new = np.where(h - gradient / STEP >= 0, 1.0, -1.0)
                if as_coded and not _keeps_distance(H, i, new, cap):
                    continue
                H[:, i] = new
        multiplier += PENALTY * (H - M)
        inner = H.T @ H
        alpha += COUPLING * (cap - inner - slack)
        codes = np.ascontiguousarray(H.T).astype(np.int8)
        np.fill_diagonal(inner, -bits)
        yield Progress("round", 0.0, codes, codes if inner.max() <= cap else None)


def _keeps_distance(H: np.ndarray, i: int, new: np.ndarray, cap: int) -> bool:
    """Whether column i may become `new` without meeting any other column too closely."""
    inner = new @ H
    inner[i] = -len(new)
    return bool(inner.max() <= cap)
