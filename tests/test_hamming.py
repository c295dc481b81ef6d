import doctest
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shc import hamming
from shc.hamming import distance, min_distance_rule, minimum_distance, nearest, pack, pair_histogram, unpack


def random_codes(seed, rows, bits):
    return (np.random.default_rng(seed).integers(0, 2, (rows, bits)) * 2 - 1).astype(np.int8)


def test_examples():
    assert doctest.testmod(hamming).failed == 0


@pytest.mark.parametrize(
    ("classes", "values"),
    [(10, [6, 13, 28]), (100, [4, 10, 24]), (196, [4, 10, 23]), (555, [3, 9, 21])],
)
def test_rule_gives_the_papers_distances(classes, values):
    assert [min_distance_rule(bits, classes) for bits in (16, 32, 64)] == values


@given(st.integers(1, 300), st.integers(1, 2000))
def test_rule_is_the_smallest_distance_of_its_inequality(bits, classes):
    def holds(d):  # Σ_{i<d} binom(K, i) ≥ 2^K / C in whole numbers
        return classes * sum(comb(bits, i) for i in range(d)) >= 2**bits

    d = min_distance_rule(bits, classes)
    assert 1 <= d <= bits
    assert holds(d) or d == bits  # one class would need d = K + 1: there is no pair, and K is the largest distance
    assert not holds(d - 1)


def test_rule_at_its_edges():
    assert (min_distance_rule(1, 1), min_distance_rule(1, 2), min_distance_rule(64, 1)) == (1, 1, 64)
    assert min_distance_rule(3, 100) == 1  # more classes than codes: the rule itself does not mind


@pytest.mark.parametrize("bits", [1, 7, 63, 64, 65, 130])
def test_distance_counts_differing_bits(bits):
    a, b = random_codes(0, 9, bits), random_codes(1, 11, bits)
    plain = [[sum(int(x != y) for x, y in zip(left, right, strict=True)) for right in b] for left in a]
    assert distance(a, b).tolist() == plain
    assert distance(a, b).dtype == np.int64


@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(1, 200))
def test_unpack_undoes_pack(seed, rows, bits):
    codes = random_codes(seed, rows, bits)
    packed = pack(codes)
    assert packed.dtype == np.uint64 and packed.shape == (rows, -(-bits // 64))
    assert np.array_equal(unpack(packed, bits), codes)


def test_packed_words_hold_the_first_bit_lowest_and_zeros_above():
    codes = -np.ones((1, 70), dtype=np.int8)
    codes[0, [0, 3, 64]] = 1
    assert pack(codes).tolist() == [[0b1001, 1]]


def test_minimum_distance_and_histogram_agree_with_the_pairs():
    codes = random_codes(3, 12, 20)
    pairs = [distance(codes[i : i + 1], codes[j : j + 1])[0, 0] for i in range(12) for j in range(i)]
    assert minimum_distance(codes) == min(pairs)
    assert pair_histogram(codes).tolist() == np.bincount(pairs, minlength=21).tolist()
    assert minimum_distance(codes[:1]) == 20  # no pair


def test_nearest_keeps_the_database_order_within_ties():
    database = random_codes(4, 200, 6)  # many ties
    query = random_codes(5, 7, 6)
    indices, distances = nearest(query, database, 50)
    for q in range(7):
        ranked = sorted(range(200), key=lambda n: (int((query[q] != database[n]).sum()), n))[:50]
        assert indices[q].tolist() == ranked
        assert distances[q].tolist() == [int((query[q] != database[n]).sum()) for n in ranked]
    assert nearest(query, database, 1000)[0].shape == (7, 200)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: distance(np.ones((2, 3)), np.ones((2, 4))), ["3", "4", "bits"]),
        (lambda: pack(np.array([[0, 1]])), ["value 0", "2*bit - 1"]),
        (lambda: pack(np.array([[np.nan, 1]])), ["value nan"]),
        (lambda: pack(np.ones(3)), ["[3]", "[N, K]"]),
        (lambda: unpack(np.zeros((2, 1), np.uint64), 65), ["[N, 2]", "[2, 1]", "pack"]),
        (lambda: unpack(np.zeros((2, 1), np.int64), 64), ["uint64", "int64"]),
        (lambda: nearest(np.ones((1, 2)), np.ones((1, 2)), 0), ["k=0"]),
        (lambda: min_distance_rule(0, 5), ["bits=0"]),
        (lambda: min_distance_rule(5, 0), ["classes=0"]),
        (lambda: min_distance_rule(5.5, 3), ["bits=5.5", "whole number"]),
    ],
)
def test_errors_name_the_value_and_what_was_expected(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words)
