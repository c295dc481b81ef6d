import doctest
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import bounds
from shc.bounds import dual_bound, grid_bound, lower_bound
from shc.centers import loss, solve
from shc.hamming import minimum_distance


def random_similarity(seed, classes):
    rng = np.random.default_rng(seed)
    S = rng.uniform(-1, 1, (classes, classes))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    return S


def best_of_all(S, bits, min_distance):
    """Smallest loss over all sets that keep the distance (the first code may be all ones: flipping a bit of every
    code changes nothing), None if there is no such set."""
    words = np.array(list(itertools.product((-1, 1), repeat=bits)))
    inner = words @ words.T
    chosen = np.array(list(itertools.product([len(words) - 1], *[range(len(words))] * (len(S) - 1))))  # [N, C]
    total = np.zeros(len(chosen))
    allowed = np.ones(len(chosen), dtype=bool)
    for i, j in itertools.combinations(range(len(S)), 2):
        g = inner[chosen[:, i], chosen[:, j]]
        total += 2 * (S[i, j] - g / bits) ** 2
        allowed &= g <= bits - 2 * min_distance
    return float(total[allowed].min() / len(S) ** 2) if allowed.any() else None


CASES = [(2, 6, 0), (2, 6, 3), (3, 5, 2), (3, 6, 3), (4, 4, 1), (4, 4, 2), (5, 3, 1), (5, 3, 0)]


@pytest.mark.parametrize(("classes", "bits", "d"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_bound_stays_below_and_the_optimizer_reaches_the_true_optimum(classes, bits, d, seed):
    S = random_similarity(seed, classes)
    optimum = best_of_all(S, bits, d)
    for bound in (grid_bound(S, bits, d), dual_bound(S, bits, d), lower_bound(S, bits, d)):
        assert bound <= optimum + 1e-9
    assert lower_bound(S, bits, d) >= max(grid_bound(S, bits, d), dual_bound(S, bits, d)) - 2e-9
    found = solve(S, bits, min_distance=d, sweeps=300)
    assert found.loss == pytest.approx(optimum, abs=1e-12) and minimum_distance(found.codes) >= d


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 20), st.floats(0, 1))
def test_no_centers_fall_below_the_bound(seed, classes, bits, part):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, (classes, bits)) * 2 - 1
    S = (1 - part) * random_similarity(seed, classes) + part * codes @ codes.T / bits  # part 1: the codes are perfect
    assert lower_bound(S, bits, minimum_distance(codes), iterations=30) <= loss(S, codes) + 1e-9


def test_bound_is_exact_where_the_distance_alone_decides():
    S = np.full((2, 2), 0.9)
    np.fill_diagonal(S, 1)
    for d in range(5):  # one pair: the allowed value nearest to 0.9
        nearest = min(abs(0.9 - (1 - 2 * D / 4)) for D in range(d, 5))
        assert lower_bound(S, 4, d) == pytest.approx(2 * nearest**2 / 4, abs=1e-8)


def test_bound_counts_rank_and_sign_of_the_eigenvalues():
    codes = np.array([[1, 1], [1, -1], [-1, 1]])
    assert lower_bound(np.eye(3), 2, 0) > 0.05  # three orthogonal codes need three bits
    assert lower_bound(codes @ codes.T / 2, 2, 1) == pytest.approx(0, abs=1e-6)
    opposite = 2 * np.eye(5) - np.ones((5, 5))  # five classes cannot all be opposite; the dual sees it, the grid not
    assert dual_bound(opposite, 8, 0) > 0.3 > grid_bound(opposite, 8, 0) == 0


def test_hundred_classes_take_seconds():
    S = random_similarity(0, 100)
    began = time.process_time()
    assert 0 < lower_bound(S, 32, 10) < loss(S, solve(S, 32, sweeps=50).codes)
    assert time.process_time() - began < 30  # about one second; a generous limit for a busy machine


def test_examples():
    assert doctest.testmod(bounds).failed == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lower_bound(np.eye(3), 4, 5), ["min_distance=5", "0 to 4"]),
        (lambda: lower_bound(np.ones((2, 3)), 4, 1), ["[2, 3]", "square"]),
        (lambda: lower_bound(np.eye(3), 0, 0), ["bits=0"]),
    ],
)
def test_errors_name_the_value(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words)
