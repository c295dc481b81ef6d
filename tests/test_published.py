"""The vectorized published solver against its equations, written entry by entry."""

import doctest

import numpy as np
import pytest

from shc import published
from shc.hamming import minimum_distance
from shc.published import augmented_lagrangian


def by_the_equations(S, start, d, mu, as_coded):
    """Codes after every round: the updates as the paper prints them, with the program's two changes if `as_coded`."""
    rho, beta, eta = 0.2, 1e-6, 0.5
    H = start.T.astype(float)
    K, C = H.shape
    Lambda, alpha = np.full((K, C), 0.1), np.zeros((C, C))
    rounds = []
    for _ in range(30 if as_coded else 20):
        M = np.linalg.inv(2 / K**2 * H @ H.T + rho * np.eye(K)) @ (2 / K * H @ S + Lambda + rho * H)
        k = np.array([[max(K - 2 * d - H[:, i] @ H[:, j] + alpha[i, j] / beta, 0) for j in range(C)] for i in range(C)])
        for _ in range(3):
            for i in range(C):
                h = H[:, i]
                others = np.zeros(K)
                for j in range(C):
                    if j != i:
                        hj = H[:, j]
                        others += 2 * mu * hj - 2 * alpha[i, j] * hj
                        others += beta * (2 * hj * (hj @ h) - 2 * (K - 2 * d - k[i, j]) * hj)
                g = 2 / K**2 * M @ M.T @ h - 2 / K * M @ S[:, i] + Lambda[:, i] + rho * (h - M[:, i])
                g += others / 10_000 if as_coded else others
                new = np.where(h - g / eta >= 0, 1.0, -1.0)
                if as_coded and any((K - new @ H[:, j]) / 2 < d for j in range(C) if j != i):
                    continue
                H[:, i] = new
        Lambda = Lambda + rho * (H - M)
        alpha = alpha + beta * (K - 2 * d - H.T @ H - k)
        rounds.append(H.T.astype(np.int8).copy())
    return rounds


@pytest.mark.parametrize("as_coded", [False, True])
@pytest.mark.parametrize("mu", [0.0, 0.625])
def test_rounds_follow_the_equations(mu, as_coded):
    rng = np.random.default_rng(3)
    S = rng.uniform(-0.5, 0.5, (6, 6))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    from shc.constructions import feasible_centers

    start = feasible_centers(12, 6, 4, seed=1)
    expected = by_the_equations(S, start, 4, mu, as_coded)
    found = list(augmented_lagrangian(S, start, 4, balance=mu, as_coded=as_coded))
    assert len(found) == len(expected) == (30 if as_coded else 20)
    for progress, codes in zip(found, expected, strict=True):
        assert np.array_equal(progress.codes, codes)
        assert (progress.found is not None) == (minimum_distance(codes) >= 4)
        assert as_coded <= (progress.found is not None)  # as coded, the distance holds in every round
    assert any(not np.array_equal(progress.codes, start) for progress in found)


def test_examples():
    assert doctest.testmod(published).failed == 0
