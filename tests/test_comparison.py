"""Center sets side by side: each answers to the same S and distance, and broken rounds are told."""

import doctest

import numpy as np
import pytest

from shc import bounds, centers, comparison
from shc.comparison import compare_centers
from shc.hamming import min_distance_rule, minimum_distance


def similarity(classes, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.arange(classes) // 4
    S = 0.6 * (groups[:, None] == groups) + 0.1 * rng.standard_normal((classes, classes))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    return S


def test_examples():
    assert doctest.testmod(comparison).failed == 0


@pytest.mark.parametrize(("classes", "bits", "algebra"), [(24, 16, "Hadamard"), (40, 16, "BCH"), (20, 12, "BCH")])
def test_rows_are_what_they_say(classes, bits, algebra):
    S = similarity(classes)
    rows = {row.name: row for row in compare_centers(S, bits, seed=1, sweeps=200)}
    assert list(rows) == ["random", algebra, "distance only", "SHC", "paper", "paper's code"]
    used = rows["SHC"].required_distance
    assert used <= min_distance_rule(bits, classes)
    for row in rows.values():
        assert row.codes.shape == (classes, bits) and row.codes.dtype == np.int8
        assert row.min_distance == minimum_distance(row.codes) and row.required_distance == used
        assert row.loss == pytest.approx(centers.loss(S, row.codes)) and row.seconds > 0
        assert row.keeps == (row.min_distance >= used)
    assert all(rows[name].keeps for name in (algebra, "distance only", "SHC", "paper's code"))
    bound = bounds.lower_bound(S, bits, used)
    assert bound <= rows["SHC"].loss < min(row.loss for row in rows.values() if row.keeps and row.name != "SHC")
    assert rows["paper's code"].note.startswith("every round keeps the distance")


def test_the_papers_rounds_are_counted():
    S, bits = similarity(40), 16
    row = next(row for row in compare_centers(S, bits, sweeps=50) if row.name == "paper")
    history = centers.solve(S, bits, solver="paper").history
    broken = sum(step.min_distance < row.required_distance for step in history if step.stage == "round")
    assert broken > 0 and row.note.startswith(f"{broken} of 20 rounds too close")
    assert ("none beats the start" in row.note) == np.array_equal(row.codes, history[0].codes)


def test_the_distance_can_be_given_and_a_bad_request_is_told():
    rows = compare_centers(np.eye(6), 8, min_distance=2, sweeps=20)
    assert {row.required_distance for row in rows} == {2}
    with pytest.raises(ValueError, match="min_distance=7 is impossible"):
        compare_centers(np.eye(6), 8, min_distance=7)
    with pytest.raises(ValueError, match="not symmetric"):
        compare_centers(np.array([[1, 0.5], [0, 1]]), 8)
