"""Distance limits against enumeration, optimal codes of the literature, and the codes that this package makes."""

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shc import limits
from shc.constructions import algebraic_centers
from shc.hamming import distance, min_distance_rule, minimum_distance
from shc.limits import algebraic_distance, distance_table, max_distance_limits

# (K, d): the most codes of K bits at distance d that exist (Brouwer's tables; A(20, 8): Gijswijt et al. 2012)
OPTIMAL = {
    (7, 3): 16, (8, 3): 20, (8, 4): 16, (9, 4): 20, (10, 3): 72, (10, 4): 40, (11, 5): 24, (12, 4): 144, (12, 6): 24,
    (13, 6): 32, (14, 6): 64, (15, 5): 256, (16, 4): 2048, (16, 6): 256, (16, 8): 32, (20, 8): 256, (23, 7): 4096,
    (24, 8): 4096, (32, 16): 64, (64, 32): 128,
}  # fmt: skip
# the same for every distance from 1 to K
SMALL = {4: [16, 8, 2, 2], 5: [32, 16, 4, 2, 2], 6: [64, 32, 8, 4, 2, 2], 7: [128, 64, 16, 8, 2, 2, 2]}


def test_examples():
    assert doctest.testmod(limits).failed == 0


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_limits_are_never_below_what_enumeration_finds(bits):
    words = np.array(list(itertools.product((-1, 1), repeat=bits)))
    distances = distance(words, words)
    for classes in range(2, min(2**bits, 6) + 1):
        sets = [(0, *rest) for rest in itertools.combinations(range(1, 2**bits), classes - 1)]
        best = max(min(distances[i, j] for i, j in itertools.combinations(chosen, 2)) for chosen in sets)
        limits = max_distance_limits(bits, classes)
        assert limits.gilbert_varshamov <= best <= limits.largest == min(limits.plotkin, limits.hamming)


@given(st.integers(1, 200), st.integers(1, 3000))
def test_limits_are_in_order_and_the_rule_less_one_is_certain(bits, classes):
    if classes > 2**bits:
        with pytest.raises(ValueError, match=f"{classes} classes.*{bits} bits"):
            max_distance_limits(bits, classes)
        return
    limits = max_distance_limits(bits, classes)
    assert 1 <= limits.gilbert_varshamov <= limits.largest <= bits
    assert min_distance_rule(bits, classes) - 1 <= limits.gilbert_varshamov


def test_known_limits():
    assert max_distance_limits(8, 16).largest == 4  # the extended Hamming code meets it
    assert max_distance_limits(7, 16).hamming == 3  # the Hamming code is perfect
    assert max_distance_limits(64, 128).plotkin == 32  # Reed–Muller
    assert max_distance_limits(23, 4096).hamming == 7  # the Golay code is perfect


@pytest.mark.parametrize(("bits", "least"), OPTIMAL)
def test_no_limit_excludes_an_optimal_code(bits, least):
    words = OPTIMAL[bits, least]
    found = max_distance_limits(bits, words)
    assert found.plotkin >= least and found.hamming >= least and found.gilbert_varshamov <= least
    assert algebraic_distance(bits, words) <= least
    assert max_distance_limits(bits, words + 1).gilbert_varshamov < least, "one more word is impossible"


@pytest.mark.parametrize("bits", SMALL)
def test_limits_enclose_the_truth_for_every_number_of_classes(bits):
    for classes in range(2, 2**bits + 1):
        truth = max(d for d, words in enumerate(SMALL[bits], 1) if words >= classes)
        found = max_distance_limits(bits, classes)
        assert found.gilbert_varshamov <= truth <= found.largest
        assert algebraic_distance(bits, classes) <= truth


@pytest.mark.parametrize("m", range(2, 8))
def test_plotkins_limit_is_tight_for_hadamard_codes(m):
    bits = 2**m
    assert max_distance_limits(bits, 2 * bits).plotkin == bits // 2 == algebraic_distance(bits, 2 * bits)
    assert max_distance_limits(bits, 2 * bits + 1).plotkin < bits // 2


@given(st.integers(1, 90), st.integers(1, 400))
def test_algebraic_distances_are_possible_and_reached(bits, classes):
    if classes > 2**bits:
        return
    reached = algebraic_distance(bits, classes)
    assert 1 <= reached <= max_distance_limits(bits, classes).largest
    if classes <= 60:
        assert minimum_distance(algebraic_centers(bits, classes)) >= reached


def test_the_table_has_the_papers_distances():
    rows = {(row.bits, row.classes): row for row in distance_table()}
    rules = {(16, 10): 6, (32, 10): 13, (64, 10): 28, (16, 100): 4, (32, 100): 10, (64, 100): 24,
             (16, 196): 4, (32, 196): 10, (64, 196): 23, (16, 555): 3, (32, 555): 9, (64, 555): 21}  # fmt: skip
    assert {key: row.rule for key, row in rows.items()} == rules
    assert [rows[k, 100].cap for k in (16, 32, 64)] == [0.5, 0.375, 0.25]
    for row in rows.values():
        assert row.gilbert_varshamov <= row.rule <= row.algebraic <= min(row.hamming, row.plotkin)
    with pytest.raises(ValueError, match=r"300 classes.*8 bits.*at least 9 bits"):
        distance_table([8], [300])


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_three_distances_sum_to_an_even_number(bits, seed):
    """So of C centers at most ⌊C/2⌋⌈C/2⌉ pairs stand at an odd distance, which notebook 3 tells."""
    codes = np.random.default_rng(seed).choice([-1, 1], (9, bits))
    D = distance(codes, codes)
    assert all((D[i, j] + D[j, k] + D[i, k]) % 2 == 0 for i, j, k in itertools.combinations(range(9), 3))
    assert (D[np.triu_indices(9, 1)] % 2).sum() <= 4 * 5
