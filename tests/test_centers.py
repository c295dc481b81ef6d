import dataclasses
import doctest
import itertools
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shc import centers
from shc.centers import check_similarity, collect, loss, optimize_centers, solve
from shc.constructions import distance_only_centers, feasible_centers
from shc.hamming import min_distance_rule, minimum_distance, pair_histogram


def similarity(kind, classes, seed=0):
    """Symmetric, unit diagonal: several shapes that S may take."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        S = rng.uniform(-1, 1, (classes, classes))
    elif kind == "groups":  # as stage 1 yields: super-classes of four, and noise
        group = np.arange(classes) // 4
        S = 0.5 * (group[:, None] == group) - 0.1 + 0.1 * rng.normal(size=(classes, classes))
    elif kind == "rank one":
        v = rng.uniform(-1, 1, classes)
        S = np.outer(v, v)
    else:
        S = np.full((classes, classes), float(kind))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    return S


def same_steps(a, b):
    for left, right in itertools.zip_longest(a, b):
        for item in dataclasses.fields(left):
            if item.name != "seconds":
                assert np.array_equal(getattr(left, item.name), getattr(right, item.name)), item.name


def test_examples():
    assert doctest.testmod(centers).failed == 0


def test_importing_is_cheap():
    heavy = "{'numba', 'scipy', 'torch', 'matplotlib'} & set(sys.modules)"
    code = f"import sys, shc.centers, shc.bounds, shc.constructions; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_loss_is_the_mean_over_all_entries():
    S = similarity("random", 7)
    codes = feasible_centers(9, 7, 2)
    plain = sum((S[i, j] - codes[i].astype(int) @ codes[j] / 9) ** 2 for i in range(7) for j in range(7)) / 49
    assert loss(S, codes) == pytest.approx(plain, rel=1e-12)
    assert loss(S, codes, weights=np.full((7, 7), 2.0)) == pytest.approx(2 * plain, rel=1e-12)
    column = codes.sum(axis=0, dtype=float)
    assert loss(S, codes, balance=0.3) == pytest.approx(plain + 0.3 * (column @ column - 63) / 49, rel=1e-12)


def test_records_tell_the_truth_and_are_bounded():
    S = similarity("groups", 24)
    steps = list(optimize_centers(S, 16, sweeps=400, records=60))
    assert [step.step for step in steps] == list(range(len(steps))) and 60 < len(steps) < 100
    assert [stage for stage, _ in itertools.groupby(step.stage for step in steps)] == [
        "start", "anneal", "descend", "done",
    ]  # fmt: skip
    for step, previous in zip(steps, [steps[0], *steps], strict=False):
        assert step.loss == pytest.approx(loss(S, step.codes), rel=1e-12)
        assert step.best_loss == pytest.approx(loss(S, step.best_codes), rel=1e-12)
        assert minimum_distance(step.best_codes) >= step.required_distance == min_distance_rule(16, 24)
        assert step.min_distance == minimum_distance(step.codes)
        assert step.feasible == (step.min_distance >= step.required_distance)
        assert np.array_equal(step.histogram, pair_histogram(step.codes))
        assert step.best_loss <= previous.best_loss and step.seconds >= previous.seconds
    assert any(not step.feasible for step in steps), "the way leads through sets that break the distance"
    annealing = [step.temperature for step in steps if step.stage == "anneal"]
    assert annealing == sorted(annealing, reverse=True)
    assert steps[-1].best_loss < 0.5 * steps[0].best_loss


@pytest.mark.parametrize("after", [1, 2, 7, 20, 40])
def test_stopping_early_keeps_a_valid_set(after):
    S = similarity("groups", 20)
    steps = optimize_centers(S, 16, sweeps=200, records=40)
    seen = list(itertools.islice(steps, after))
    steps.close()
    result = collect(seen, requested_distance=5)
    assert not result.complete and result.feasible and result.requested_distance == 5
    assert result.achieved_distance == minimum_distance(result.codes) >= result.min_distance
    assert result.loss == pytest.approx(loss(S, result.codes)) and len(result.history) == after
    assert result.loss <= seen[0].loss


def test_an_early_stop_late_in_the_run_is_already_good():
    S = similarity("groups", 40)
    history = solve(S, 32, sweeps=600).history
    late = next(step for step in history if step.step == 60)
    assert late.best_loss < history[0].best_loss / 2


@pytest.mark.parametrize("solver", ["shc", "paper", "paper-code"])
def test_the_seed_decides_everything(solver):
    S = similarity("groups", 16)
    runs = [list(optimize_centers(S, 16, seed=seed, solver=solver, sweeps=60)) for seed in (3, 3, 4)]
    same_steps(runs[0], runs[1])
    assert not np.array_equal(runs[0][-1].codes, runs[2][-1].codes)
    np.random.seed(7)  # the global generator plays no part
    same_steps(runs[0], list(optimize_centers(S, 16, seed=3, solver=solver, sweeps=60)))


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(["random", "groups", "rank one", "1", "-1", "0", "-0.3", "0.8"]),
    st.integers(2, 64),
    st.integers(4, 64),
    st.integers(0, 10**6),
    st.sampled_from(["rule"] * 8 + ["max", 1]),
)
@example("random", 24, 8, 0, "rule")  # the rule's 3 is impossible
@example("-1", 60, 6, 0, "rule")  # more than half of all words
@example("1", 64, 6, 0, "max")  # all words
def test_the_distance_is_never_broken(kind, classes, bits, seed, wanted):
    if classes > 2**bits:
        with pytest.raises(ValueError, match=f"{classes} classes .* {bits} bits"):
            solve(similarity(kind, classes, seed), bits)
        return
    result = solve(similarity(kind, classes, seed), bits, min_distance=wanted, seed=seed, sweeps=2, records=3)
    assert result.codes.dtype == np.int8 and result.codes.shape == (classes, bits)
    assert minimum_distance(result.codes) == result.achieved_distance >= result.min_distance >= 1
    assert result.feasible and result.complete and result.local_optimum
    assert result.loss <= result.history[0].loss
    for step in result.history:
        assert minimum_distance(step.best_codes) >= result.min_distance
    if wanted == "rule":
        assert result.requested_distance == min_distance_rule(bits, classes)
        assert result.requested_distance - 1 <= result.min_distance <= result.requested_distance
        if result.min_distance < result.requested_distance:  # the largest for which a set is found
            assert feasible_centers(bits, classes, result.requested_distance, seed) is None


def test_the_rule_steps_down_where_it_asks_for_the_impossible():
    result = solve(similarity("random", 24), 8, sweeps=50)  # no code of 8 bits and distance 3 has more than 20 words
    assert (result.requested_distance, result.min_distance) == (3, 2)
    full = solve(similarity("random", 200), 8, sweeps=5)  # more than half of all words: some differ in one bit
    assert (full.requested_distance, full.min_distance) == (2, 1)


@pytest.mark.parametrize(("classes", "bits"), [(1, 1), (1, 6), (2, 1), (2, 7), (4, 2), (8, 3)])
def test_smallest_sizes(classes, bits):
    S = similarity("random", classes)
    for wanted in ("rule", "max"):
        result = solve(S, bits, min_distance=wanted, sweeps=30)
        assert result.achieved_distance >= result.min_distance >= 1
        assert len(np.unique(result.codes, axis=0)) == classes


def all_neighbors(codes):
    classes, bits = codes.shape
    for i in range(classes):
        for k in range(bits):
            for m in range(k + 1):
                other = codes.copy()
                other[i, [k, m]] *= -1  # one flip where k = m
                yield other
        for j in range(i):
            other = codes.copy()
            other[[i, j]] = codes[[j, i]]
            yield other


@pytest.mark.parametrize("weighted", [False, True])
def test_the_result_is_a_local_optimum(weighted):
    S = similarity("groups", 12)
    weights = None
    if weighted:
        weights = np.random.default_rng(0).uniform(0.1, 3, (12, 12))
        weights = (weights + weights.T) / 2
    result = solve(S, 8, sweeps=2, weights=weights)  # so short that the descent does the work
    assert result.loss == pytest.approx(loss(S, result.codes, weights=weights))
    better = [
        other
        for other in all_neighbors(result.codes)
        if minimum_distance(other) >= result.min_distance and loss(S, other, weights=weights) < result.loss - 1e-9
    ]
    assert not better and result.local_optimum


def test_similar_classes_get_near_centers_and_more_work_helps():
    S = similarity("groups", 40)
    short, long = (np.mean([solve(S, 24, sweeps=n, seed=s).loss for s in range(3)]) for n in (5, 3000))
    result = solve(S, 24, sweeps=500)
    nearness = result.codes.astype(float) @ result.codes.T / 24
    upper = np.triu_indices(40, 1)
    assert long < short and result.loss < loss(S, distance_only_centers(24, 40)) / 2
    assert np.corrcoef(S[upper], nearness[upper])[0, 1] > 0.7


def test_processes_share_restarts_and_change_nothing():
    S = similarity("groups", 40)
    alone, shared = (solve(S, 16, sweeps=20, restarts=3, workers=workers) for workers in (1, 2))
    assert np.array_equal(alone.codes, shared.codes) and alone.loss == shared.loss
    assert [step.stage for step in shared.history].count("restart") == 3
    assert all(minimum_distance(step.best_codes) >= shared.min_distance for step in shared.history)


def test_an_interrupt_keeps_the_best_set():
    def interrupted(after):
        for step in optimize_centers(S, 16, sweeps=50):
            if step.step == after:
                raise KeyboardInterrupt
            yield step

    S = similarity("groups", 30)
    with pytest.warns(UserWarning, match="interrupted after step 19"):
        result = collect(interrupted(20))
    assert not result.complete and not result.local_optimum and len(result.history) == 20
    assert minimum_distance(result.codes) >= result.min_distance == min_distance_rule(16, 30)
    assert result.loss == pytest.approx(loss(S, result.codes))
    with pytest.raises(KeyboardInterrupt):
        collect(interrupted(0))


def test_graded_targets_come_from_a_class_tree_or_from_class_names():
    from shc.datasets import class_name_embeddings, load
    from shc.similarity import blend, embedding_similarity, hierarchy_similarity, same_group_auc

    hierarchy = load("emoji", scale=0.001).hierarchy
    tree, names = hierarchy_similarity(hierarchy), embedding_similarity(class_name_embeddings("emoji"))
    for S in (tree, names, blend([tree, names], [1, 1])):
        result = solve(S, 32, sweeps=100)
        nearness = result.codes.astype(float) @ result.codes.T
        assert result.loss < loss(S, distance_only_centers(32, 100)) / 2
        assert same_group_auc(nearness, hierarchy.group_ids()) > 0.9 * same_group_auc(S, hierarchy.group_ids())


def test_a_new_class_is_added_within_a_second_and_the_old_centers_stay():
    import time

    S = similarity("groups", 101)
    old = solve(S[:100, :100], 32, sweeps=200)
    began = time.process_time()
    result = solve(S, 32, fixed=(np.arange(100), old.codes))
    assert time.process_time() - began < 1
    assert np.array_equal(result.codes[:100], old.codes) and result.achieved_distance >= result.min_distance
    assert result.min_distance >= min_distance_rule(32, 101) - 1
    words = np.random.default_rng(0).integers(0, 2, (3000, 32)) * 2 - 1
    inner = words @ old.codes.T.astype(int)
    allowed = inner.max(axis=1) <= 32 - 2 * result.min_distance
    residual = ((S[100, :100] - inner / 32) ** 2).sum(axis=1)
    mine = ((S[100, :100] - old.codes @ result.codes[100].astype(int) / 32) ** 2).sum()
    assert allowed.any() and mine < residual[allowed].min(), "better than any of many random codes"


def test_restarts_keep_the_best():
    seeds = range(4)
    once, often = ([solve(similarity("random", 30, seed), 16, sweeps=40, restarts=n) for seed in seeds] for n in (1, 5))
    assert np.mean([result.loss for result in often]) < np.mean([result.loss for result in once])
    assert all(len(result.history) < 200 for result in often)


def test_balance_weight_evens_the_bits():
    S = similarity("0.4", 30)  # similar classes want equal bits
    free, even = solve(S, 16, sweeps=100), solve(S, 16, sweeps=100, balance=0.5)
    assert np.abs(even.codes.sum(0)).sum() < np.abs(free.codes.sum(0)).sum() / 2
    assert even.loss == pytest.approx(loss(S, even.codes, balance=0.5))


def test_weights_shift_the_fit():
    S = similarity("random", 20)
    weights = np.ones((20, 20))
    weights[:5, :5] = 100
    block = np.ix_(range(5), range(5))

    def misfit(result):
        return ((S - result.codes.astype(float) @ result.codes.T / 16)[block] ** 2).mean()

    assert misfit(solve(S, 16, sweeps=200, weights=weights)) < 0.6 * misfit(solve(S, 16, sweeps=200))


def test_fixed_classes_keep_their_centers():
    S = similarity("groups", 24)
    old = solve(S[:20, :20], 16, sweeps=200)
    indices = np.arange(20)
    result = solve(S, 16, sweeps=200, fixed=(indices, old.codes))
    assert np.array_equal(result.codes[:20], old.codes)
    assert minimum_distance(result.codes) >= result.min_distance >= old.min_distance - 1
    everything = solve(S[:20, :20], 16, fixed=(indices, old.codes))
    assert np.array_equal(everything.codes, old.codes)
    close = np.ones((2, 16), dtype=int)
    close[1, 0] = -1
    near = solve(S, 16, sweeps=50, fixed=(np.array([0, 1]), close))
    assert near.min_distance == 1 and near.requested_distance == min_distance_rule(16, 24)


def test_a_start_is_never_made_worse():
    S = similarity("groups", 24)
    good = solve(S, 16, sweeps=2000)
    again = solve(S, 16, sweeps=20, start=good.codes)
    assert again.loss <= good.loss and np.array_equal(again.history[0].codes, good.codes)
    bad = np.ones((24, 16), dtype=int)  # breaks the distance: a place to begin at, not a result
    assert minimum_distance(solve(S, 16, sweeps=20, start=bad).codes) >= 4


def test_bound_is_below_the_loss_and_only_for_the_plain_loss():
    S = similarity("groups", 24)
    result = solve(S, 16, sweeps=300, bound=True)
    assert 0 < result.bound < result.loss < 3 * result.bound
    assert solve(S, 16, sweeps=5, bound=True, balance=0.1).bound is None
    assert solve(S, 16, sweeps=5).bound is None


def test_published_solvers_show_what_they_do():
    S = similarity("groups", 24)
    literal, coded, ours = (solve(S, 16, solver=name, sweeps=300) for name in ("paper", "paper-code", "shc"))
    start = distance_only_centers(16, 24)
    for result, rounds in ((literal, 20), (coded, 30)):
        stages = [step.stage for step in result.history]
        assert stages == ["start", *["round"] * rounds, "done"]
        assert np.array_equal(result.history[0].codes, start)
        assert all(minimum_distance(step.best_codes) >= step.required_distance for step in result.history)
        assert result.loss == pytest.approx(loss(S, result.codes))
    assert literal.loss == pytest.approx(min(step.loss for step in literal.history))  # best of all rounds, as printed
    assert literal.feasible == (minimum_distance(literal.codes) >= literal.min_distance)
    assert coded.feasible and all(step.feasible for step in coded.history)
    assert ours.loss < coded.loss < loss(S, start)


def test_the_literal_solver_can_break_the_distance_and_says_so():
    result = solve(similarity("random", 100), 16, solver="paper")
    assert not result.feasible and result.achieved_distance < result.min_distance


@pytest.mark.parametrize(("bits", "best_known"), [(16, 0.0905), (32, 0.1192)])
def test_ten_classes_reach_the_best_known_loss(bits, best_known):
    """An instance of benchmarks/centers.py whose best known value comes from other programs."""
    file = Path(__file__).parents[1] / "benchmarks" / "centers.py"
    S = runpy.run_path(str(file))["make_similarity"](10)
    assert min(solve(S, bits, seed=seed).loss for seed in range(2)) < 1.01 * best_known


def test_rounding_errors_in_S_are_forgiven_and_removed():
    exact = similarity("random", 6)
    noisy = exact + 1e-7 * np.random.default_rng(0).normal(size=(6, 6))
    S = check_similarity(noisy.astype(np.float32))
    assert S.dtype == np.float64 and np.array_equal(S, S.T) and (np.diag(S) == 1).all()
    assert np.allclose(S, exact, atol=1e-5)
    torch_result = solve(torch.tensor(exact), 8, sweeps=20)
    assert np.array_equal(torch_result.codes, solve(exact, 8, sweeps=20).codes)


def changed(i, j, value):
    S = np.eye(4)
    S[i, j] = value
    return S


EYE = np.eye(4)


@pytest.mark.parametrize(
    ("S", "options", "words"),
    [
        (np.ones((2, 3)), {}, ["[2, 3]", "square"]),
        (np.zeros((0, 0)), {}, ["[0, 0]"]),
        (changed(1, 2, np.nan), {}, ["S[1, 2]", "nan", "finite"]),
        (changed(1, 2, 0.5), {}, ["not symmetric", "0.5", "(S + S.T) / 2"]),
        (changed(3, 3, 0.9), {}, ["S[3, 3] = 0.9", "fill_diagonal"]),
        (np.eye(9), {"bits": 3}, ["9 classes", "3 bits", "8", "at least 4 bits"]),
        (EYE, {"bits": 0}, ["bits=0"]),
        (EYE, {"min_distance": 7}, ["min_distance=7", "at most 5", "Plotkin limit", "rule asks for"]),
        (EYE, {"min_distance": "far"}, ["'far'", "'rule' or 'max'"]),
        (EYE, {"min_distance": 2.5}, ["2.5"]),
        (np.eye(24), {"min_distance": 3}, ["24 codes of 8 bits", "largest found is 2"]),
        (EYE, {"solver": "admm"}, ["'admm'", "paper-code"]),
        (EYE, {"seed": -1}, ["seed=-1"]),
        (EYE, {"sweeps": 0}, ["sweeps=0"]),
        (EYE, {"records": 1.5}, ["records=1.5"]),
        (EYE, {"restarts": 0}, ["restarts=0"]),
        (EYE, {"workers": "all"}, ["workers='all'"]),
        (changed(1, 2, np.inf), {}, ["S[1, 2]", "inf"]),
        (EYE, {"balance": -1.0}, ["balance=-1.0"]),
        (EYE, {"weights": np.ones((3, 3))}, ["[3, 3]", "[4, 4]"]),
        (EYE, {"weights": -np.ones((4, 4))}, ["-1.0", "at least 0"]),
        (EYE, {"weights": np.triu(np.ones((4, 4)))}, ["not symmetric"]),
        (EYE, {"start": np.ones((4, 3))}, ["[4, 3]", "[4, 8]"]),
        (EYE, {"start": np.zeros((4, 8))}, ["value 0", "-1 and +1"]),
        (EYE, {"fixed": (np.array([0]), np.ones((2, 8)))}, ["[1]", "[2, 8]"]),
        (EYE, {"fixed": (np.array([0, 0]), np.ones((2, 8)))}, ["[0, 0]", "0 to 3"]),
        (EYE, {"fixed": (np.array([0, 1]), np.ones((2, 8))), "min_distance": 2}, ["fixed codes are only 0 apart"]),
        (EYE, {"solver": "paper", "start": np.ones((4, 8))}, ["'paper'", "start", "shc"]),
    ],
)
def test_errors_come_at_the_call_and_name_the_value(S, options, words):
    with pytest.raises(ValueError) as error:
        optimize_centers(S, **{"bits": 8, **options})
    assert all(word in str(error.value) for word in words), str(error.value)


def test_nothing_to_collect_is_an_error():
    with pytest.raises(ValueError, match="no steps"):
        collect([])
    with pytest.raises(ValueError, match=r"shape \[3, 3\], but there are 4 codes"):
        loss(np.eye(3), np.ones((4, 8)))
