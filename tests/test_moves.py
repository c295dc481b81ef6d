"""Every compiled move against the objective computed anew."""

import numpy as np
import pytest

from shc import moves
from shc.annealing import Problem, state_of
from shc.hamming import distance

CLASSES, BITS, DISTANCE = 9, 7, 3


def random_problem(seed, **options):
    rng = np.random.default_rng(seed)
    S = rng.uniform(-1, 1, (CLASSES, CLASSES))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    weights = rng.uniform(0, 2, (CLASSES, CLASSES))
    problem = Problem.of(S, BITS, DISTANCE, weights=(weights + weights.T) / 2, balance=0.7, **options)
    codes = (rng.integers(0, 2, (CLASSES, BITS)) * 2 - 1).astype(np.int8)
    return problem, codes, rng


def objective(problem, codes, penalty):
    """The documented objective, pair by pair: C²/2 times the loss in squared bits, plus the penalty."""
    total = problem.measure(codes).loss * CLASSES**2 * BITS**2 / 2
    for i in range(CLASSES):
        for j in range(i):
            total += penalty * max(int(codes[i].astype(int) @ codes[j]) - problem.cap, 0) ** 2
    return total


def consistent(bits, inner):
    codes = bits.T.astype(np.int8)
    expected = BITS - 2 * distance(codes, codes)
    np.fill_diagonal(expected, -BITS)
    return np.array_equal(inner, expected)


def test_the_loss_is_the_mean_of_all_entries_plus_the_balance_of_bits():
    problem, codes, _ = random_problem(0)
    residual = problem.similarity - codes.astype(float) @ codes.T / BITS
    column = codes.sum(axis=0, dtype=float)
    expected = (problem.weights * residual**2).mean() + 0.7 * (column @ column - BITS * CLASSES) / CLASSES**2
    assert problem.measure(codes).loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("penalty", [0.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_predicted_changes_are_the_real_ones(seed, penalty, dtype):
    problem, codes, rng = random_problem(seed)
    bits, inner, quad, lin = problem.arrays(codes, dtype)
    cap, strength = dtype(problem.cap), dtype(penalty)
    for _ in range(60):
        i, j = rng.choice(CLASSES, 2, replace=False)
        k, m = rng.choice(BITS, 2, replace=False)
        move = rng.integers(3)
        if move == 0:
            change = moves.flip_change(bits, inner, quad, lin, cap, strength, i, k)
        elif move == 1:
            change = moves.pair_flip_change(bits, inner, quad, lin, cap, strength, i, k, m)
        else:
            change = moves.exchange_change(inner, quad, lin, i, j)
        before = objective(problem, bits.T.astype(np.int8), penalty)
        if move == 2:
            moves.exchange(bits, inner, i, j)
        else:
            moves.flip(bits, inner, i, k)
            if move == 1:
                moves.flip(bits, inner, i, m)
            moves.mirror(inner, i)
        after = objective(problem, bits.T.astype(np.int8), penalty)
        assert change == pytest.approx(after - before, abs=1e-9 if dtype is np.float64 else 0.02)
        assert consistent(bits, inner)


def test_annealing_moves_only_free_centers_and_depends_on_its_state_alone():
    free = np.array([1, 4, 8])
    problem, codes, _ = random_problem(5, free=free)
    results = []
    for seed in (1, 1, 2):
        bits, inner, quad, lin = problem.arrays(codes, np.float32)
        shares = np.array([0.4, 0.3])
        accepted = moves.anneal(
            bits, inner, quad, lin, np.float32(problem.cap), free, shares, 500, 50.0, 5.0, 0.1, 10.0, False,
            state_of(seed),
        )  # fmt: skip
        assert accepted > 0 and consistent(bits, inner)
        results.append(bits.T.copy())
        stay = np.setdiff1d(np.arange(CLASSES), free)
        assert np.array_equal(bits.T[stay], codes[stay])
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_cold_annealing_never_climbs_and_stops_once_feasible():
    problem, codes, _ = random_problem(6)
    bits, inner, quad, lin = problem.arrays(codes, np.float64)
    shares, cap = np.array([0.4, 0.3]), float(problem.cap)
    for _ in range(20):
        before = objective(problem, bits.T.astype(np.int8), 2.0)
        moves.anneal(bits, inner, quad, lin, cap, problem.free, shares, 64, 1e-9, 1e-9, 2.0, 2.0, False, state_of(3))
        assert objective(problem, bits.T.astype(np.int8), 2.0) <= before + 1e-9
    arrays = problem.arrays(codes, np.float64)
    nothing = np.zeros((CLASSES, CLASSES))
    moves.anneal(
        arrays[0], arrays[1], nothing, nothing, cap, problem.free, shares, 10**6, 3.0, 0.5, 1.0, 1.0, True, state_of(4)
    )
    assert moves.violations(arrays[1], cap) == 0


def test_violations_counts_pairs():
    problem, codes, _ = random_problem(7)
    inner = problem.arrays(codes, np.float64)[1]
    close = distance(codes, codes)[np.triu_indices(CLASSES, 1)] < DISTANCE
    assert moves.violations(inner, float(problem.cap)) == close.sum()


def test_random_numbers_cover_their_range_evenly():
    state = state_of(0)
    draws = np.array([moves._below(state, 7) for _ in range(7000)])
    assert set(draws) == set(range(7)) and np.bincount(draws).min() > 850
    uniform = np.array([moves._uniform(state) for _ in range(5000)])
    assert 0 < uniform.min() and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.02
