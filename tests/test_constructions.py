import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import bch, constructions
from shc.bch import bch_centers
from shc.constructions import (
    algebraic_centers,
    centers_at_distance,
    distance_only_centers,
    feasible_centers,
    hadamard_centers,
    lexicode,
    random_centers,
)
from shc.hamming import distance, min_distance_rule, minimum_distance, pair_histogram
from shc.limits import algebraic_distance


def is_code(codes, classes, bits):
    return codes.dtype == np.int8 and codes.shape == (classes, bits) and bool((np.abs(codes) == 1).all())


def test_examples():
    assert doctest.testmod(constructions).failed == 0
    assert doctest.testmod(bch).failed == 0


@given(st.integers(1, 70), st.integers(1, 60), st.integers(0, 99))
def test_random_centers_differ_and_depend_on_the_seed_alone(bits, classes, seed):
    codes = random_centers(bits, classes, seed)
    assert is_code(codes, classes, bits)
    assert len(np.unique(codes, axis=0)) == min(classes, 2**bits)
    assert np.array_equal(codes, random_centers(bits, classes, seed))


@pytest.mark.parametrize("m", range(7))
def test_hadamard_centers_are_the_reed_muller_code(m):
    bits = 2**m
    codes = hadamard_centers(bits, 2 * bits)
    assert is_code(codes, 2 * bits, bits)
    histogram = pair_histogram(codes)
    assert histogram[bits] == bits and histogram.sum() == histogram[bits] + (histogram[bits // 2] if m else 0)


@pytest.mark.parametrize(
    ("bits", "words", "least"),
    [(8, 16, 4), (16, 2048, 4), (16, 128, 6), (16, 32, 8), (32, 2048, 12), (64, 65536, 24), (64, 2**18, 22)],
)
def test_bch_codes_have_their_textbook_size_and_distance(bits, words, least):
    codes = bch_centers(bits, min(words, 300), least, seed=1)
    assert is_code(codes, min(words, 300), bits)
    assert len(np.unique(codes, axis=0)) == len(codes)
    histogram = pair_histogram(codes)
    assert histogram.nonzero()[0].min() >= least and not histogram[1::2].any()
    with pytest.raises(ValueError, match=f"has {words} words, fewer than {words + 1} classes"):
        bch_centers(bits, words + 1, least)


def test_shortened_bch_codes_keep_the_distance():
    for bits in (17, 23, 40, 63, 100):
        codes = bch_centers(bits, 8, bits // 4)
        assert minimum_distance(codes) >= bits // 4


@pytest.mark.parametrize(("bits", "classes"), [(8, 10), (16, 33), (32, 64), (32, 100), (40, 100), (60, 100), (13, 2)])
def test_algebraic_centers_keep_the_distance_of_the_table(bits, classes):
    codes = algebraic_centers(bits, classes, seed=3)
    assert is_code(codes, classes, bits) and minimum_distance(codes) >= algebraic_distance(bits, classes)
    assert np.array_equal(codes, algebraic_centers(bits, classes, seed=3))


def test_lexicode_is_greedy():
    codes = lexicode(5, 4, 3)
    kept: list[int] = []
    for word in range(32):
        if all((word ^ other).bit_count() >= 3 for other in kept):
            kept.append(word)
    assert [int(w) for w in (codes > 0) @ (1 << np.arange(5))] == kept
    assert lexicode(5, 5, 3) is None
    avoid = np.array([[1, 1, 1, 1, 1, 1]])
    assert distance(lexicode(6, 3, 3, avoid=avoid), avoid).min() >= 3


@pytest.mark.parametrize("classes", [10, 100, 196, 555])
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_the_rules_distance_is_reached_where_the_paper_needs_it(bits, classes):
    wanted = min_distance_rule(bits, classes)
    codes = feasible_centers(bits, classes, wanted)
    assert is_code(codes, classes, bits) and minimum_distance(codes) >= wanted
    assert np.array_equal(codes, feasible_centers(bits, classes, wanted))
    assert not np.array_equal(codes, feasible_centers(bits, classes, wanted, seed=1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_feasible_centers_keep_what_they_promise(bits, classes, seed):
    if classes > 2**bits:
        return
    used, codes = centers_at_distance(bits, classes, "rule", seed)
    assert is_code(codes, classes, bits) and minimum_distance(codes) >= used
    assert min_distance_rule(bits, classes) - 1 <= used <= min_distance_rule(bits, classes)


def test_a_search_finds_codes_that_are_in_no_family():
    assert minimum_distance(feasible_centers(8, 20, 3)) == 3  # 20 is the most there are
    assert minimum_distance(feasible_centers(24, 60, 8)) >= 8
    assert feasible_centers(8, 21, 3) is None  # no such code


def test_fixed_codes_stay_where_they_are():
    codes = feasible_centers(12, 30, 4)
    indices = np.array([3, 7, 29])
    for bits_left in (12, 24):  # the lexicode, the search
        held = np.tile(codes[:3], bits_left // 12)
        found = feasible_centers(bits_left, 20, 4, fixed=(np.array([3, 7, 19]), held))
        assert minimum_distance(found) >= 4 and np.array_equal(found[[3, 7, 19]], held)
    assert feasible_centers(12, 30, 4, fixed=(indices, codes[[0, 0, 1]])) is None


def test_max_goes_as_far_as_a_set_is_found():
    assert centers_at_distance(64, 100, "max")[0] == 32  # Reed–Muller meets Plotkin's limit
    assert centers_at_distance(8, 16, "max")[0] == 4
    assert centers_at_distance(5, 1, "max")[0] == 5 and centers_at_distance(5, 2, "max")[0] == 5


def test_distance_only_centers_are_far_apart_and_balanced():
    assert minimum_distance(distance_only_centers(64, 100)) == 32
    codes = distance_only_centers(32, 10, seed=2)
    assert is_code(codes, 10, 32) and minimum_distance(codes) == 17
    pairs = distance(codes, codes)[np.triu_indices(10, 1)]
    assert pairs.mean() == pytest.approx(32 * 25 / 45, rel=0.02)  # every bit splits 10 classes 5 to 5
    assert minimum_distance(distance_only_centers(16, 100, min_distance=4)) >= 4
    assert np.array_equal(codes, distance_only_centers(32, 10, seed=2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hadamard_centers(24, 10), ["bits=24", "power of two"]),
        (lambda: hadamard_centers(16, 33), ["33 classes", "32 Hadamard"]),
        (lambda: lexicode(24, 3, 3), ["bits=24", "20"]),
        (lambda: bch_centers(5000, 3, 3), ["5000", "4096"]),
        (lambda: centers_at_distance(8, 24, 6), ["min_distance=6", "at most 3", "limit", "rule asks for 3"]),
        (lambda: centers_at_distance(8, 24, 3), ["24 codes of 8 bits", "min_distance=3", "largest found is 2"]),
        (lambda: centers_at_distance(4, 17), ["17 classes", "4 bits", "at least 5 bits"]),
        (lambda: centers_at_distance(8, 4, 2.5), ["2.5", "'rule' or 'max'"]),
        (lambda: centers_at_distance(8, 4, -1), ["-1", "whole number"]),
        (lambda: centers_at_distance(8, 4, "most"), ["'most'"]),
    ],
)
def test_errors_say_what_is_possible(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words)
