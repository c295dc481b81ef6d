"""Measures of the centers' structure, against brute force, SciPy and the loss they take apart."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import bounds, hamming, structure
from shc.centers import loss, solve
from shc.hierarchy import Hierarchy

TREE = Hierarchy(tuple((f"kingdom {c // 8}", f"family {c // 4}") for c in range(16)))
GROUPS = TREE.group_ids()


def similarity(classes=16, seed=0):
    rng = np.random.default_rng(seed)
    group = np.arange(classes) // 4
    S = 0.6 * (group[:, None] == group) - 0.1 + 0.05 * rng.standard_normal((classes, classes))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    return S


def random_codes(classes=16, bits=12, seed=0):
    return np.where(np.random.default_rng(seed).random((classes, bits)) < 0.5, 1, -1).astype(np.int8)


# ------------------------------------------------------------------------------------------ agreement with S


def kendall_by_hand(x, y):
    """τ-b: concordant less discordant pairs over the geometric mean of the pairs that are not tied in either."""
    balance = untied_x = untied_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        balance, untied_x, untied_y = balance + a * b, untied_x + (a != 0), untied_y + (b != 0)
    return balance / np.sqrt(untied_x * untied_y)


def test_rank_agreement_is_kendalls_and_spearmans():
    from scipy.stats import spearmanr

    S, codes = similarity(9), random_codes(9)
    x, y = (m[np.triu_indices(9, 1)] for m in (S, codes @ codes.T.astype(float)))
    found = structure.rank_agreement(S, codes)
    assert found.kendall == pytest.approx(kendall_by_hand(x, y), abs=1e-12)
    assert found.spearman == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_rank_agreement_of_equal_distances_is_undefined():
    found = structure.rank_agreement(similarity(4), np.ones((4, 6), np.int8))
    assert np.isnan(found.kendall) and np.isnan(found.spearman)


def test_optimized_centers_agree_better_than_shuffled_ones():
    S = similarity()
    codes = solve(S, 16, sweeps=100).codes
    shuffled = codes[np.random.default_rng(0).permutation(16)]
    good, bad = structure.rank_agreement(S, codes), structure.rank_agreement(S, shuffled)
    assert good.spearman > 0.4 > bad.spearman and good.kendall > bad.kendall


@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_stress_is_the_loss_shared_out(classes, bits, seed):
    S, codes = similarity(classes, seed), random_codes(classes, bits, seed)
    assert structure.class_stress(S, codes).mean() == pytest.approx(loss(S, codes), abs=1e-12)


def test_stress_partners_hold_the_largest_error():
    S, codes = similarity(), random_codes()
    error = np.square(S - codes.astype(float) @ codes.T / 12)
    for c, partner in enumerate(structure.stress_partners(S, codes)):
        assert partner != c and error[c, partner] == max(np.delete(error[c], c))


def test_a_perfect_fit_has_no_stress_but_other_partners():
    codes = random_codes(5)
    S = codes.astype(float) @ codes.T / 12
    assert np.allclose(structure.class_stress(S, codes), 0)
    assert (structure.stress_partners(S, codes) != np.arange(5)).all()


@pytest.mark.parametrize("d", [0, 2, 5])
def test_forced_stress_is_the_grid_bound_and_never_above_the_stress(d):
    S = similarity()
    forced = structure.forced_stress(S, 16, d)
    assert forced.mean() == pytest.approx(bounds.grid_bound(S, 16, d), abs=1e-12)
    codes = solve(S, 16, min_distance=d, sweeps=50).codes
    assert (forced <= structure.class_stress(S, codes) + 1e-12).all()


# ------------------------------------------------------------------------------------------ trees


def test_joint_heights_are_scipys_cophenetic_distances():
    from scipy.cluster.hierarchy import cophenet, linkage
    from scipy.spatial.distance import squareform

    D = hamming.distance(random_codes(), random_codes())
    heights = structure.joint_heights(structure.average_linkage(D))
    assert np.allclose(squareform(heights), cophenet(linkage(squareform(D), "average")))
    own, expected = (
        structure.cophenetic_correlation(D, heights),
        cophenet(linkage(squareform(D), "average"), squareform(D)),
    )
    assert own == pytest.approx(expected[0], abs=1e-12)


def test_taxonomy_heights_count_levels_and_are_their_own_tree():
    heights = structure.taxonomy_heights(TREE)
    assert heights[0, 0] == 0 and heights[0, 1] == 1 and heights[0, 4] == 2 and heights[0, 8] == 3
    again = structure.joint_heights(structure.average_linkage(heights))
    assert np.allclose(again, heights) and structure.cophenetic_correlation(again, heights) == pytest.approx(1)


def test_cophenetic_correlation_is_pearsons_and_knows_when_it_says_nothing():
    a, b = (hamming.distance(random_codes(seed=s), random_codes(seed=s)) for s in (0, 1))
    pairs = np.triu_indices(16, 1)
    assert structure.cophenetic_correlation(a, b) == pytest.approx(np.corrcoef(a[pairs], b[pairs])[0, 1])
    assert np.isnan(structure.cophenetic_correlation(a, np.ones((16, 16))))
    assert np.isnan(structure.cophenetic_correlation(a[:2, :2], b[:2, :2]))  # one pair has no correlation


# ------------------------------------------------------------------------------------------ bits


def test_information_is_the_entropy_that_the_bit_takes_away():
    codes, groups = random_codes(20, 6), np.arange(20) % 3

    def entropy(counts):
        p = counts[counts > 0] / counts.sum()
        return -(p * np.log2(p)).sum()

    for bit, found in enumerate(structure.bit_information(codes, groups)):
        plus = codes[:, bit] > 0
        rest = sum((groups == g).mean() * entropy(np.bincount(plus[groups == g], minlength=2)) for g in range(3))
        assert found == pytest.approx(entropy(np.bincount(plus, minlength=2)) - rest, abs=1e-12)


def test_means_purity_and_information_of_a_clean_and_a_constant_bit():
    clean = np.where(GROUPS < 2, 1, -1)
    codes = np.stack([clean, np.ones(16, int), -clean], axis=1)
    assert structure.bit_means(codes, GROUPS).tolist() == [[1, 1, -1, -1], [1] * 4, [-1, -1, 1, 1]]
    assert np.allclose(structure.bit_information(codes, GROUPS), [1, 0, 1])
    assert structure.bit_purity(codes, GROUPS).tolist() == [1, 1, 1]
    first, second = structure.telling_bits(codes, GROUPS, count=2)
    assert (first.bit, first.plus, first.minus, first.cut) == (0, (0, 1), (2, 3), ())
    assert (second.bit, second.plus, second.minus) == (2, (2, 3), (0, 1))


def test_a_super_class_is_on_a_side_from_the_agreement_on():
    codes = np.array([[1]] * 4 + [[-1]] + [[-1]] * 5)  # four of five, then five of five
    groups = np.repeat([0, 1], 5)
    assert structure.telling_bits(codes, groups, 1, agreement=0.8)[0].plus == (0,)
    assert structure.telling_bits(codes, groups, 1, agreement=0.9)[0].cut == (0,)


def test_chance_is_what_random_codes_reach():
    codes, groups = random_codes(40, 64), np.arange(40) // 4
    chance = structure.chance_information(codes, groups, draws=50)
    assert chance.shape == (50, 64)
    assert structure.bit_information(codes, groups).mean() == pytest.approx(chance.mean(), abs=0.03)
    assert np.array_equal(chance, structure.chance_information(codes, groups, draws=50))
    meant = np.where(np.random.default_rng(1).random((10, 64)) < 0.5, 1, -1)[groups]
    assert structure.bit_information(meant, groups).mean() > np.quantile(chance, 0.999)


def test_bit_correlation_is_pearsons_and_zero_for_constant_bits():
    codes = random_codes(50, 6)
    assert np.allclose(structure.bit_correlation(codes), np.corrcoef(codes.T))
    codes[:, 2] = 1
    found = structure.bit_correlation(codes)
    assert found[2, 2] == 1 and np.count_nonzero(found[2]) == 1 and np.allclose(found, found.T)


# ------------------------------------------------------------------------------------------ bad input

NAN = np.where(np.eye(4) > 0, 1, np.nan)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: structure.class_stress(np.ones((2, 3)), random_codes(2)), r"S has shape \[2, 3\]; expected a square"),
        (lambda: structure.class_stress(NAN, random_codes(4)), r"S\[0, 1\] is nan; every similarity must be finite"),
        (lambda: structure.class_stress(np.eye(4), random_codes(3)), "3 codes for a similarity of 4 classes; pass one"),
        (lambda: structure.class_stress(np.eye(2), [[0, 1], [1, 1]]), "codes hold the value 0"),
        (lambda: structure.rank_agreement(np.eye(1), random_codes(1)), "S has 1 class; 2 classes or more make a pair"),
        (lambda: structure.stress_partners(np.eye(1), random_codes(1)), "2 classes or more"),
        (lambda: structure.forced_stress(np.eye(3), 8, 9), "min_distance=9 bits; expected 0 to 8"),
        (lambda: structure.average_linkage(np.zeros((1, 1))), "distances has 1 rows; expected at least 2"),
        (lambda: structure.average_linkage(NAN), r"distances\[0, 1\] is nan; every entry must be finite"),
        (lambda: structure.average_linkage([[0, 1], [2, 0]]), r"\[0, 1\] is 1, \[1, 0\] is 2; pass the mean of"),
        (lambda: structure.taxonomy_heights(None), "no class hierarchy to compare with; take one that has"),
        (lambda: structure.cophenetic_correlation(np.zeros((3, 3)), np.zeros((2, 2))), "3 and 2 classes cannot be"),
        (
            lambda: structure.bit_means(random_codes(4), [0, 1]),
            "a super-class id of 0 or more for each of the 4 classes",
        ),
        (lambda: structure.bit_means(random_codes(2), [0.0, 1.0]), "type float64"),
        (lambda: structure.bit_information(random_codes(4), [0] * 4), "in one super-class.*take data with a hierarchy"),
        (
            lambda: structure.telling_bits(random_codes(4), [0, 0, 1, 1], agreement=0.5),
            "agreement=0.5; expected a share",
        ),
    ],
)
def test_errors_say_what_to_do(call, told):
    with pytest.raises(ValueError, match=told):
        call()
