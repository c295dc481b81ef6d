"""The enumeration against a plain one, and the optimizer and the bounds against the enumeration."""

import doctest
import itertools

import numpy as np
import pytest

from shc import exact
from shc.bounds import dual_bound, grid_bound, lower_bound
from shc.centers import loss, solve
from shc.exact import best_centers
from shc.hamming import min_distance_rule, minimum_distance


def random_similarity(seed, classes, kind="random"):
    rng = np.random.default_rng(seed)
    S = rng.uniform(-1, 1, (classes, classes))
    if kind == "rank one":
        vector = rng.uniform(-1, 1, classes)
        S = np.outer(vector, vector)
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    return S


def plain_best(S, bits, min_distance):
    """Every assignment of every code to every class."""
    words = np.array(list(itertools.product((-1, 1), repeat=bits)))
    values = [
        loss(S, words[list(chosen)])
        for chosen in itertools.product(range(len(words)), repeat=len(S))
        if minimum_distance(words[list(chosen)]) >= min_distance
    ]
    return min(values, default=None)


@pytest.mark.parametrize(
    ("classes", "bits", "d"), [(1, 3, 0), (2, 3, 2), (3, 3, 0), (3, 3, 1), (3, 3, 2), (4, 2, 1), (3, 3, 3)]
)
def test_the_enumeration_agrees_with_a_plain_one(classes, bits, d):
    S = random_similarity(classes + bits, classes)
    expected, found = plain_best(S, bits, d), best_centers(S, bits, d)
    if expected is None:
        assert found is None
    else:
        assert found[0] == pytest.approx(expected, abs=1e-12) == loss(S, found[1])
        assert minimum_distance(found[1]) >= d


@pytest.mark.parametrize("kind", ["random", "rank one"])
@pytest.mark.parametrize(
    ("classes", "bits"), [(2, 2), (2, 8), (3, 5), (3, 8), (4, 4), (4, 7), (5, 5), (5, 8), (6, 3), (6, 5), (6, 6)]
)
def test_the_optimizer_finds_the_optimum_and_the_bounds_stay_below(classes, bits, kind):
    for seed in range(2):
        S = random_similarity(10 * seed + classes, classes, kind)
        rule = min_distance_rule(bits, classes)
        for d in sorted({0, 1, max(rule - 1, 0), rule}):
            truth = best_centers(S, bits, d)
            if truth is None:
                with pytest.raises(ValueError, match="min_distance"):
                    solve(S, bits, min_distance=d)
                continue
            found = solve(S, bits, min_distance=d, seed=seed)
            assert found.loss == pytest.approx(truth[0], abs=1e-9) and found.achieved_distance >= d
            for bound in (grid_bound, dual_bound, lower_bound):
                assert bound(S, bits, d) <= truth[0] + 1e-9


def test_the_largest_case():
    S = random_similarity(3, 6)
    truth, codes = best_centers(S, 8, 3)
    found = solve(S, 8, min_distance=3, bound=True)
    assert found.loss == pytest.approx(truth, abs=1e-9) == loss(S, codes)
    assert 0 < found.bound <= truth


def test_examples_and_errors():
    assert doctest.testmod(exact).failed == 0
    with pytest.raises(ValueError, match=r"7 classes and 8 bits mean .* use shc.centers.solve"):
        best_centers(np.eye(7), 8)
    with pytest.raises(ValueError, match="bits=0"):
        best_centers(np.eye(3), 0)
