"""Every compiled move against the objective computed anew."""

import itertools

import numpy as np
import pytest

from shc import moves
from shc.annealing import Problem, state_of
from shc.hamming import distance, pack, pair_histogram

CLASSES, BITS, DISTANCE = 9, 7, 3


def random_problem(seed, weighted=True, **options):
    rng = np.random.default_rng(seed)
    S = rng.uniform(-1, 1, (CLASSES, CLASSES))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    weights = rng.uniform(0, 2, (CLASSES, CLASSES)) if weighted else np.full((CLASSES, CLASSES), 1.5)
    problem = Problem.of(S, BITS, DISTANCE, weights=(weights + weights.T) / 2, balance=0.7, **options)
    assert problem.weights.size == (CLASSES**2 if weighted else 1)
    codes = (rng.integers(0, 2, (CLASSES, BITS)) * 2 - 1).astype(np.int8)
    return problem, codes, rng


def objective(problem, codes, penalty):
    """The documented objective, pair by pair: C²/2 times the loss in squared bits, plus the penalty."""
    codes = codes.astype(int)
    column = codes.sum(axis=0)
    weights = np.broadcast_to(problem.weights, (CLASSES, CLASSES))
    residual = (weights * (problem.similarity - codes @ codes.T / BITS) ** 2).sum()
    total = (residual + problem.balance * (column @ column - BITS * CLASSES)) * BITS**2 / 2
    for i, j in itertools.combinations(range(CLASSES), 2):
        total += penalty * max(codes[i] @ codes[j] - problem.cap, 0) ** 2
    return total


def consistent(a):
    expected = BITS - 2 * distance(a.codes, a.codes)
    np.fill_diagonal(expected, -BITS)
    same = np.array_equal(a.codes.T, a.bits) and np.array_equal(a.inner, expected)
    return same and np.array_equal(a.overlap, a.bits @ a.bits.T)


def flipped(codes, *places):
    other = codes.copy()
    for i, k in places:
        other[i, k] *= -1
    return other


def test_the_loss_is_the_mean_of_all_entries_plus_the_balance_of_bits():
    for weighted in (True, False):
        problem, codes, _ = random_problem(0, weighted)
        residual = problem.similarity - codes.astype(float) @ codes.T / BITS
        column = codes.sum(axis=0, dtype=float)
        expected = (problem.weights * residual**2).mean() + 0.7 * (column @ column - BITS * CLASSES) / CLASSES**2
        assert problem.measure(codes).loss == pytest.approx(expected, rel=1e-12)
        assert np.array_equal(problem.measure(codes).histogram, pair_histogram(codes))


def test_the_residual_of_long_codes():
    rng = np.random.default_rng(1)
    codes = (rng.integers(0, 2, (5, 130)) * 2 - 1).astype(np.int8)
    S, histogram = rng.uniform(-1, 1, (5, 5)), np.zeros(131, dtype=np.int64)
    total = moves.residual(S, pack(codes), 130, np.ones((1, 1)), histogram)
    assert total == pytest.approx(((S - codes.astype(float) @ codes.T / 130) ** 2).sum(), rel=1e-12)
    assert np.array_equal(histogram, pair_histogram(codes))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_predicted_changes_are_the_real_ones(penalty, weighted, dtype):
    problem, codes, _ = random_problem(2, weighted)
    a = problem.arrays(codes, dtype)
    cap, strength, close = dtype(problem.cap), dtype(penalty), 1e-9 if dtype is np.float64 else 0.02
    work = moves._work(a.bits)
    row, change, other, trial = np.empty(CLASSES, dtype), *np.empty((3, BITS), dtype)
    before = objective(problem, codes, penalty)
    for i in range(CLASSES):
        moves.flip_changes(a.bits, a.inner, a.quad, a.lin, i, row, change)
        found, excess = moves.find_near(a.codes, a.inner, cap, i, work)
        for k in range(BITS):
            real = objective(problem, flipped(codes, (i, k)), penalty) - before
            assert change[k] + penalty * moves.flip_excess(work, found, k, -1) == pytest.approx(real, abs=close)
        anything = np.full(BITS, np.inf, dtype)
        for k in range(BITS):
            arguments = (a.codes, a.bits, a.overlap, a.quad, i, k, change, anything, strength, strength * excess)
            assert moves.next_pairs(*arguments, found, work, trial, True) == k
            for m in range(BITS):
                places = [(i, k)] if m == k else [(i, k), (i, m)]
                real = objective(problem, flipped(codes, *places), penalty) - before
                assert trial[m] == pytest.approx(real, abs=close)
        for j in range(i):
            moves.flip_changes(a.bits, a.inner, a.quad, a.lin, j, row, other)
            moves.twin_changes(a.bits, a.inner, a.quad, a.lin, i, j, change, other, trial)
            for one, two in ((i, j), (j, i)):
                found, _ = moves.find_near(a.codes, a.inner, cap, one, work)
                trial += [strength * moves.flip_excess(work, found, k, two) for k in range(BITS)]
            for k in range(BITS):
                real = objective(problem, flipped(codes, (i, k), (j, k)), penalty) - before
                assert trial[k] == pytest.approx(real, abs=close)
            exchanged = codes.copy()
            exchanged[[i, j]] = codes[[j, i]]
            real = objective(problem, exchanged, penalty) - before
            assert moves.exchange_change(a.inner, a.quad, a.lin, i, j) == pytest.approx(real, abs=close)


@pytest.mark.parametrize("weighted", [False, True])
def test_only_bits_that_can_pass_are_returned_and_none_is_missed(weighted):
    for seed in range(6):
        problem, codes, rng = random_problem(seed, weighted)
        a, penalty = problem.arrays(codes, np.float64), 2.0
        work, before = moves._work(a.bits), objective(problem, codes, penalty)
        row, change, trial = np.empty(CLASSES), *np.empty((2, BITS))
        most = rng.uniform(-60, 0, BITS)
        for i in range(CLASSES):
            moves.flip_changes(a.bits, a.inner, a.quad, a.lin, i, row, change)
            found, excess = moves.find_near(a.codes, a.inner, float(problem.cap), i, work)
            passing, k = [], 0
            while True:
                arguments = (a.codes, a.bits, a.overlap, a.quad, i, k, change, most, penalty, penalty * excess)
                k = moves.next_pairs(*arguments, found, work, trial, True)
                if k == BITS:
                    break
                passing.append(k)
                k += 1
            expected = [
                k for k in range(BITS)
                if any(
                    objective(problem, flipped(codes, *{(i, k), (i, m)}), penalty) - before <= most[m]
                    for m in range(BITS)
                )
            ]  # fmt: skip
            assert passing == expected


@pytest.mark.parametrize("weighted", [False, True])
def test_changes_are_kept_up_to_date_while_a_center_is_visited(weighted):
    problem, codes, rng = random_problem(4, weighted)
    a = problem.arrays(codes, np.float64)
    row, change, anew = np.empty(CLASSES), *np.empty((2, BITS))
    moves.flip_changes(a.bits, a.inner, a.quad, a.lin, 2, row, change)
    for k in rng.integers(0, BITS, 10):
        moves.flip_visited(*a[:-1], 2, k, row, change)
        moves.flip_changes(a.bits, a.inner, a.quad, a.lin, 2, row, anew)
        assert np.allclose(change, anew, rtol=1e-12)


def test_the_arrays_share_no_memory_whatever_the_order_of_the_codes_in_it():
    problem, codes, _ = random_problem(9)
    for ordered in (codes, np.asfortranarray(codes), codes.astype(np.float32), np.asfortranarray(codes, np.float64)):
        for dtype in (np.float32, np.float64):
            a = problem.arrays(ordered, dtype)
            assert not np.shares_memory(a.codes, a.bits) and not np.shares_memory(a.codes, ordered)
            assert all(part.flags.c_contiguous for part in a) and np.array_equal(a.codes, codes)


def test_flips_and_exchanges_keep_the_arrays_consistent():
    problem, codes, rng = random_problem(3)
    a = problem.arrays(codes, np.float32)
    for _ in range(50):
        i, j = rng.choice(CLASSES, 2, replace=False)
        k = rng.integers(BITS)
        expected = flipped(a.codes, (i, k))
        moves.flip(a.codes, a.bits, a.inner, a.overlap, i, k)
        moves.mirror(a.inner, i)
        assert np.array_equal(a.codes, expected) and consistent(a)
        expected[[i, j]] = expected[[j, i]]
        moves.exchange(a.codes, a.bits, a.inner, i, j)
        assert np.array_equal(a.codes, expected) and consistent(a)


@pytest.mark.parametrize("weighted", [False, True])
def test_annealing_moves_only_free_centers_and_depends_on_its_state_alone(weighted):
    free = np.array([1, 4, 8])
    problem, codes, _ = random_problem(5, weighted, free=free)
    results = []
    for seed in (1, 1, 2):
        a = problem.arrays(codes, np.float32)
        cap = np.float32(problem.cap)
        assert moves.anneal(a, cap, True, 1, 0.3, 50, 50.0, 5.0, 0.1, 10.0, False, state_of(seed)) > 0 and consistent(a)
        results.append(a.codes.copy())
        stay = np.setdiff1d(np.arange(CLASSES), free)
        assert np.array_equal(a.codes[stay], codes[stay])
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_cold_annealing_never_climbs_and_stops_once_feasible():
    problem, codes, _ = random_problem(6)
    a, cap = problem.arrays(codes, np.float64), float(problem.cap)
    for twins in (0.0, 1.0):
        for seed in range(10):
            before = objective(problem, a.codes, 2.0)
            moves.anneal(a, cap, True, 1, twins, 8, 1e-9, 1e-9, 2.0, 2.0, False, state_of(seed))
            assert objective(problem, a.codes, 2.0) <= before + 1e-6
    nothing = Problem.of(np.zeros((CLASSES, CLASSES)), BITS, DISTANCE, weights=np.zeros((1, 1)))
    for twins in (0.0, 0.5):
        a = nothing.arrays(codes, np.float64)
        moves.anneal(a, cap, True, 0, twins, 10**6, 3.0, 0.5, 1.0, 1.0, True, state_of(4))
        assert moves.violations(a.inner, cap) == 0 and consistent(a)


@pytest.mark.parametrize("weighted", [False, True])
def test_polish_ends_where_no_allowed_move_helps(weighted):
    problem, codes, _ = random_problem(8, weighted)
    codes = moves_to_feasible(problem, codes)
    a = problem.arrays(codes, np.float64)
    while moves.polish(a, float(problem.cap), True, 1e-6):
        assert moves.violations(a.inner, float(problem.cap)) == 0 and consistent(a)
    final = objective(problem, a.codes, 1e9)
    assert final < objective(problem, codes, 1e9)
    for i in range(CLASSES):
        for k, m in itertools.product(range(BITS), repeat=2):
            assert objective(problem, flipped(a.codes, *{(i, k), (i, m)}), 1e9) >= final - 1e-5
        for j in range(i):
            exchanged = a.codes.copy()
            exchanged[[i, j]] = a.codes[[j, i]]
            assert objective(problem, exchanged, 1e9) >= final - 1e-5


def moves_to_feasible(problem, codes):
    nothing = Problem.of(np.zeros((CLASSES, CLASSES)), BITS, DISTANCE, weights=np.zeros((1, 1)))
    a = nothing.arrays(codes, np.float64)
    moves.anneal(a, float(problem.cap), True, 0, 0.0, 10**5, 3.0, 0.5, 1.0, 1.0, True, state_of(1))
    return a.codes.astype(np.int8)


def test_violations_counts_pairs():
    problem, codes, _ = random_problem(7)
    inner = problem.arrays(codes, np.float64).inner
    close = distance(codes, codes)[np.triu_indices(CLASSES, 1)] < DISTANCE
    assert moves.violations(inner, float(problem.cap)) == close.sum()


def test_random_numbers_cover_their_range_evenly():
    state = state_of(0)
    draws = np.array([moves._below(state, 7) for _ in range(7000)])
    assert set(draws) == set(range(7)) and np.bincount(draws).min() > 850
    uniform = np.array([moves._uniform(state) for _ in range(5000)])
    assert 0 < uniform.min() and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.02
    assert moves._WAITS.mean() == pytest.approx(1, abs=0.01) and moves._WAITS.std() == pytest.approx(1, abs=0.03)
