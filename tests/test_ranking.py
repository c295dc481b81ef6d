import doctest
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import plain_metrics as plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import ranking, tie_groups
from shc.ranking import (
    ap_bounds,
    expected_acg,
    expected_ahp,
    expected_ap,
    expected_hp,
    expected_ndcg,
    expected_precision,
    expected_recall,
    expected_weighted_ap,
    precision_within,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "tie_aware_ap.json").read_text())["vectors"]
LEVELS = 3
GROUPS = st.lists(st.lists(st.integers(0, LEVELS - 1), max_size=4), min_size=1, max_size=5).filter(
    lambda groups: 0 < sum(map(len, groups)) <= 7
)
CUTS = st.integers(1, 9)
close = lambda value: pytest.approx(value, abs=1e-12)


def counts(groups, least=1):
    """total, relevant [D] of a list of tie groups."""
    return [len(group) for group in groups], [sum(level >= least for level in group) for group in groups]


def histogram(groups):
    """[L, D] of a list of tie groups."""
    return [[group.count(level) for group in groups] for level in range(LEVELS)]


def mean(values):
    return math.fsum(values) / len(values)


def test_examples():
    assert doctest.testmod(ranking).failed == 0


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['tie_groups']}@{v['k']}")
def test_expected_ap_of_the_exact_vectors(vector):
    total, relevant = counts(vector["tie_groups"])
    k = None if vector["k"] == "ALL" else vector["k"]
    assert expected_ap(total, relevant, k) == close(float(Fraction(vector["expected_ap_min_norm"])))
    assert expected_ap(total, relevant, k, "topk") == close(float(Fraction(vector["expected_ap_topk_norm"])))


@settings(deadline=None, max_examples=150)
@given(GROUPS, CUTS)
def test_ap_is_the_mean_over_every_order_of_the_ties(groups, k):
    total, relevant = counts(groups)
    for cut in (k, None):
        for convention in ranking.CONVENTIONS:
            values = plain.over_orders(lambda r, c=cut, how=convention: plain.ap(r, c, how), groups)
            assert expected_ap(total, relevant, cut, convention) == close(mean(values))
            worst, best = ap_bounds(total, relevant, cut, convention)
            assert (worst, best) == (close(min(values)), close(max(values)))


@settings(deadline=None, max_examples=100)
@given(GROUPS, CUTS)
def test_graded_measures_are_means_over_every_order_of_the_ties(groups, k):
    levels = histogram(groups)
    for ours, obvious in (
        (expected_ndcg, plain.ndcg),
        (expected_hp, plain.hp),
        (expected_ahp, plain.ahp),
        (expected_acg, plain.acg),
    ):
        assert ours(levels, k) == close(mean(plain.over_orders(lambda r, o=obvious: o(r, k), groups))), ours
    assert expected_weighted_ap(levels) == close(mean(plain.over_orders(plain.weighted_ap, groups)))


@settings(deadline=None, max_examples=100)
@given(GROUPS, CUTS, st.integers(0, 5))
def test_precision_and_recall_against_every_order_of_the_ties(groups, k, radius):
    total, relevant = counts(groups)
    assert expected_precision(total, relevant, k) == close(
        mean(plain.over_orders(lambda r: plain.precision(r, k), groups))
    )
    assert expected_recall(total, relevant, k) == close(mean(plain.over_orders(lambda r: plain.recall(r, k), groups)))
    ball = [level for group in groups[: radius + 1] for level in group]
    assert precision_within(total, relevant, radius) == close(sum(x >= 1 for x in ball) / max(len(ball), 1))


def random_counts(rng, rankings, distances, largest):
    total = rng.integers(0, largest, (rankings, distances))
    return total, rng.binomial(total, rng.random((rankings, 1)))


def test_ap_of_large_groups_against_the_formula_rank_by_rank():
    """Σ_d (r/n) Σ_i (R_< + 1 + (i−1)(r−1)/(n−1)) / (N_< + i), in exact fractions."""
    total, relevant = random_counts(np.random.default_rng(0), rankings=4, distances=9, largest=120)
    for n_of, r_of in zip(total.tolist(), relevant.tolist(), strict=True):
        for k in (7, 150, None):
            size = sum(n_of)
            summed, before, found = Fraction(0), 0, 0
            for n, r in zip(n_of, r_of, strict=True):
                for i in range(1, min(n, (k or size) - before) + 1):
                    other = Fraction((i - 1) * (r - 1), n - 1) if n > 1 else 0
                    summed += Fraction(r, n) * (found + 1 + other) / (before + i)
                before, found = before + n, found + r
            assert expected_ap(n_of, r_of, k) == close(float(summed / min(k or size, sum(r_of))))


def test_topk_of_a_large_cut_group_against_exact_hypergeometric_sums():
    size, relevant, k = 400, 90, 130  # one group: hits x of the first k, all orders of them alike
    ways = {x: math.comb(relevant, x) * math.comb(size - relevant, k - x) for x in range(1, relevant + 1)}
    value = Fraction(0)
    for x, count in ways.items():
        summed = sum(Fraction(x, k) * (1 + Fraction((i - 1) * (x - 1), k - 1)) / i for i in range(1, k + 1))
        value += Fraction(count, math.comb(size, k)) * summed / x
    assert expected_ap([size], [relevant], k, "topk") == close(float(value))


@pytest.mark.parametrize("start", [0, 1, 49, 50, 51, 3_000, 10**6, 10**9])
def test_harmonic_sums_keep_their_digits_far_down_the_ranking(start):
    exact = math.fsum(1 / (start + i) for i in range(1, 1001))
    assert tie_groups.harmonic(start, 1000) == pytest.approx(exact, rel=1e-14)


def test_batches_equal_single_rankings_and_keep_their_shape():
    total, relevant = random_counts(np.random.default_rng(1), rankings=6, distances=5, largest=8)
    levels = np.stack([total - relevant, relevant], axis=1)  # [6, 2, 5]
    measures = (
        (lambda t, r, h: expected_ap(t, r, 4)),
        (lambda t, r, h: expected_ap(t, r, 4, "topk")),
        (lambda t, r, h: ap_bounds(t, r, 4)[0]),
        (lambda t, r, h: expected_precision(t, r, 4)),
        (lambda t, r, h: precision_within(t, r, 1)),
        (lambda t, r, h: expected_ndcg(h, 4)),
        (lambda t, r, h: expected_ahp(h, 4)),
        (lambda t, r, h: expected_weighted_ap(h)),
    )
    for measure in measures:
        batch = measure(total.reshape(2, 3, 5), relevant.reshape(2, 3, 5), levels.reshape(2, 3, 2, 5))
        assert batch.shape == (2, 3)
        single = [measure(t, r, h) for t, r, h in zip(total, relevant, levels, strict=True)]
        assert all(isinstance(value, float) for value in single)
        np.testing.assert_allclose(batch.ravel(), single, atol=1e-14)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000))
def test_bounds(seed, k):
    total, relevant = random_counts(np.random.default_rng(seed), rankings=3, distances=17, largest=200)
    for convention in ranking.CONVENTIONS:
        worst, best = ap_bounds(total, relevant, k, convention)
        value = expected_ap(total, relevant, k, convention)
        assert (worst >= 0).all() and (best <= 1).all()
        assert (worst <= value + 1e-12).all() and (value <= best + 1e-12).all()


def test_perfect_and_hopeless_rankings():
    perfect = [[0, 0, 500], [0, 30, 0], [20, 0, 0]]  # level 2 nearest, then level 1, then level 0
    total, relevant = [20, 30, 500], [20, 0, 0]
    for k in (1, 7, 20, 333, None):
        assert expected_ap(total, relevant, k) == expected_ap(total, relevant, k, "topk") == 1.0
    assert expected_ndcg(perfect, 50) == expected_hp(perfect, 50) == 1.0
    assert expected_ahp(perfect, 50) == close(49 / 50)
    nothing = [[20, 30, 500], [0, 0, 0], [0, 0, 0]]
    assert expected_ap(total, [0, 0, 0]) == expected_ap(total, [0, 0, 0], 5, "topk") == 0.0
    assert expected_recall(total, [0, 0, 0], 5) == expected_ndcg(nothing, 5) == expected_ahp(nothing, 5) == 0.0


def test_the_best_topk_order_may_put_hits_last():
    _, best = ap_bounds([1, 4], [1, 1], k=3, convention="topk")  # a hit on rank 3 only lowers the average
    assert best == 1.0 and expected_ap([1, 1, 1, 1, 1], [1, 1, 0, 0, 0], 3, "topk") == 1.0
    worst, _ = ap_bounds([1, 4], [1, 1], k=3, convention="topk")
    assert worst == close((1 + 2 / 3) / 2)


def test_gains_and_similarities_can_be_given():
    levels = [[1, 2], [2, 1], [1, 1]]
    assert expected_ndcg(levels, 4, gains=[0, 1, 3]) == expected_ndcg(levels, 4)
    assert expected_hp(levels, 4, similarity=[0, 0.5, 1]) == expected_hp(levels, 4)
    assert expected_hp(levels, 4, similarity=[0, 1, 1]) == close(expected_precision([4, 4], [3, 2], 4))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: expected_ap([2, 3], [1, 1, 1]), r"\[2\].*\[3\].*one shape"),
        (lambda: expected_ap([2, 3], [1, 4]), "4 relevant of 3 items.*total first"),
        (lambda: expected_ap([2, 3], [1, 1], convention="stable"), "'stable'.*tie-aware, topk"),
        (lambda: expected_ap([2, 3], [1, 1], k=0), "k=0.*at least 1"),
        (lambda: expected_ap([2, 3], [1, 1], k=2.5), "k=2.5.*whole numbers"),
        (lambda: precision_within([2], [1], -1), "radius=-1.*0 or more"),
        (lambda: expected_ndcg([3, 1], 2), r"histogram \[2\].*level_histogram"),
        (lambda: expected_ndcg([[3], [1]], 2, gains=[1, 2, 3]), r"\[1.0, 2.0, 3.0\].*2 levels"),
    ],
)
def test_errors_name_the_value(call, told):
    with pytest.raises(ValueError, match=told):
        call()
