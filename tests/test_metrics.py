import doctest
import math
from itertools import permutations

import numpy as np
import plain_metrics as plain
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import metrics
from shc.hierarchy import Hierarchy
from shc.metrics import bootstrap_interval, evaluate, pr_curve

TREE = Hierarchy((("a",), ("a",), ("b",), ("b",), ("c",)))


def draw(seed, queries=8, database=60, bits=6, classes=5):
    """query_codes, database_codes, query_labels, database_labels: classes around random centers, 15 % of bits wrong."""
    rng = np.random.default_rng(seed)
    centers = rng.choice(np.array([-1, 1], np.int8), (classes, bits))
    labels = [rng.integers(0, classes, size) for size in (queries, database)]
    flips = [np.where(rng.random((len(ids), bits)) < 0.15, -1, 1).astype(np.int8) for ids in labels]
    return *(centers[ids] * flip for ids, flip in zip(labels, flips, strict=True)), *labels


def plain_scores(distances, levels, height, convention):
    """All metrics of one query by a stable sort, ties in database order."""
    ranked = [levels[m] for m in sorted(range(len(levels)), key=lambda m: distances[m])]
    ball = [level for distance, level in zip(distances, levels, strict=True) if distance <= 1]
    return {
        "mAP@ALL": plain.ap(ranked, None, least=height),
        "mAP@2": plain.ap(ranked, 2, convention, height),
        "mAP@4": plain.ap(ranked, 4, convention, height),
        "P@2": plain.precision(ranked, 2, height),
        "R@4": plain.recall(ranked, 4, height),
        "P@H<=1": sum(level >= height for level in ball) / max(len(ball), 1),
        "empty@H<=1": float(not ball),
        "super_mAP@ALL": plain.ap(ranked, None, least=height - 1),
        "nDCG@3": plain.ndcg(ranked, 3),
        "HP@3": plain.hp(ranked, 3),
        "mAHP@3": plain.ahp(ranked, 3),
    }


def test_examples():
    assert doctest.testmod(metrics).failed == 0


@pytest.mark.parametrize("convention", ["tie-aware", "topk"])
@pytest.mark.parametrize("seed", range(3))
def test_evaluate_is_the_mean_of_stable_sorts_over_every_order_of_the_database(seed, convention):
    query, database, query_labels, database_labels = draw(seed, queries=4, database=6, bits=3)
    scores = evaluate(
        query, database, query_labels, database_labels,
        hierarchy=TREE, k=(2, 4), graded_k=3, radius=1, convention=convention, orders=True, per_query=True,
    )  # fmt: skip
    distances = (query[:, None] != database).sum(2)
    levels = TREE.shared_levels()[query_labels][:, database_labels]
    for q in range(4):
        runs = [
            plain_scores([distances[q, m] for m in order], [levels[q, m] for m in order], TREE.height, convention)
            for order in permutations(range(6))
        ]
        given_order = plain_scores(distances[q].tolist(), levels[q].tolist(), TREE.height, convention)
        for name in runs[0]:
            values = [run[name] for run in runs]
            assert scores["per_query"][name][q] == pytest.approx(math.fsum(values) / 720, abs=1e-12), name
            if name.startswith("mAP"):
                bounds = {"given": given_order[name], "worst": min(values), "best": max(values)}
                for kind, value in bounds.items():
                    assert scores["per_query"][f"{name} ({kind})"][q] == pytest.approx(value, abs=1e-12), (name, kind)
    for name, values in scores["per_query"].items():
        assert scores[name] == pytest.approx(values.mean())


def test_without_ties_evaluate_is_the_plain_ranking():
    bits, rng = 64, np.random.default_rng(0)
    flips = rng.permutation(bits)[:40]  # item m differs from the query in flips[m] bits: no two alike
    database = np.where(np.arange(bits) < flips[:, None], -1, 1).astype(np.int8)
    labels = rng.integers(0, 5, 40)
    scores = evaluate(np.ones((1, bits), np.int8), database, [2], labels, hierarchy=TREE, k=7, graded_k=11, orders=True)
    ranked = TREE.shared_levels()[2, labels[np.argsort(flips)]].tolist()
    for name in ("mAP@ALL", "mAP@ALL (given)", "mAP@ALL (worst)", "mAP@ALL (best)"):
        assert scores[name] == pytest.approx(plain.ap(ranked, least=2), abs=1e-12)
    assert scores["mAP@7"] == pytest.approx(plain.ap(ranked, 7, least=2), abs=1e-12)
    assert scores["nDCG@11"] == pytest.approx(plain.ndcg(ranked, 11), abs=1e-12)
    assert scores["mAHP@11"] == pytest.approx(plain.ahp(ranked, 11), abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_values_are_bounded_and_do_not_depend_on_the_order_of_the_database(seed):
    query, database, query_labels, database_labels = draw(seed)
    options = {"hierarchy": TREE, "k": (5, 20), "graded_k": (5, 20)}
    scores = evaluate(query, database, query_labels, database_labels, **options)
    order = np.random.default_rng(seed).permutation(60)
    assert evaluate(query, database[order], query_labels, database_labels[order], **options) == scores
    for name, value in scores.items():
        if isinstance(value, float):
            assert 0 <= value <= 1, name
    bounds = evaluate(query, database, query_labels, database_labels, k=(5, 20), orders=True)
    for name in ("mAP@ALL", "mAP@5", "mAP@20"):
        low, high = bounds[f"{name} (worst)"] - 1e-12, bounds[f"{name} (best)"] + 1e-12
        assert low <= bounds[name] <= high and low <= bounds[f"{name} (given)"] <= high


def test_torch_equals_numpy():
    sides = draw(1)
    expected = evaluate(*sides, hierarchy=TREE)
    assert evaluate(*(torch.from_numpy(side) for side in sides), hierarchy=TREE) == expected
    assert evaluate(torch.from_numpy(sides[0]).float(), *sides[1:], hierarchy=TREE) == expected


def test_engines_blocks_and_parts_of_the_database_change_no_number(monkeypatch):
    query, database, query_labels, database_labels = draw(11)
    expected = evaluate(query, database, query_labels, database_labels, hierarchy=TREE, per_query=True)["per_query"]
    parts = [np.arange(len(database)) % 3 == part for part in range(3)]
    summed = sum(
        metrics.level_histogram(query, database[part], query_labels, database_labels[part], TREE.shared_levels())
        for part in parts
    )
    monkeypatch.setattr(metrics, "BLOCK", 1)  # one query at a time
    again = metrics.from_histogram(summed, height=TREE.height)
    engines = [
        evaluate(query, database, query_labels, database_labels, hierarchy=TREE, per_query=True, engine=engine)
        for engine in ("numpy", "torch:cpu")
    ]
    for found in (again, *(result["per_query"] for result in engines)):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_names_and_counts():
    sides = draw(2)
    flat = evaluate(*sides)
    assert list(flat) == [
        "mAP@ALL", "mAP@100", "mAP@1000", "P@100", "R@100", "P@1000", "R@1000", "P@H<=2", "empty@H<=2",
        "queries", "database", "queries_without_relevant", "bits", "convention",
    ]  # fmt: skip
    assert (flat["queries"], flat["database"], flat["bits"], flat["convention"]) == (8, 60, 6, "tie-aware")
    tree = evaluate(*sides, hierarchy=TREE, radius=0, per_query=True)
    assert {"super_mAP@ALL", "nDCG@100", "nDCG@250", "HP@100", "mAHP@250", "P@H<=0"} <= set(tree)
    assert all(values.shape == (8,) for values in tree["per_query"].values())
    no_groups = Hierarchy(((),) * 5)  # a tree of height 1: nothing between the classes and the root
    assert "super_mAP@ALL" not in evaluate(*sides, hierarchy=no_groups)


def test_k_above_the_database_is_cut_to_it():
    scores = evaluate(*draw(3), hierarchy=TREE, k=(60, 1000), graded_k=(60, 1000))
    assert scores["mAP@1000"] == scores["mAP@ALL"] == scores["mAP@60"]
    assert scores["P@1000"] == scores["P@60"] and scores["R@1000"] == 1.0
    assert scores["mAHP@1000"] == scores["mAHP@60"] and scores["nDCG@1000"] == scores["nDCG@60"]


def test_queries_without_relevant_items_count_as_zero():
    query, database, query_labels, database_labels = draw(4)
    known = database_labels != query_labels[0]
    scores = evaluate(query, database[known], query_labels, database_labels[known], per_query=True)
    lost = query_labels == query_labels[0]
    assert scores["queries_without_relevant"] == lost.sum() > 0
    assert (scores["per_query"]["mAP@ALL"][lost] == 0).all() and (scores["per_query"]["R@100"][lost] == 0).all()
    assert scores["mAP@ALL"] == pytest.approx(scores["per_query"]["mAP@ALL"][~lost].sum() / 8)


def test_an_empty_ball_has_precision_zero_and_is_counted():
    query = np.array([[1, 1, 1, 1], [-1, -1, -1, -1]])
    database = np.array([[1, 1, 1, 1], [1, 1, 1, -1]])
    scores = evaluate(query, database, [0, 0], [0, 1], radius=1)
    assert scores["P@H<=1"] == 0.25 and scores["empty@H<=1"] == 0.5


def test_label_sets():
    rng = np.random.default_rng(5)
    query, database, *_ = draw(5, queries=5, database=30, bits=4)
    query_sets, database_sets = rng.random((5, 6)) < 0.3, rng.random((30, 6)) < 0.3
    scores = evaluate(query, database, query_sets, database_sets, k=7, graded_k=9, per_query=True)
    shared = query_sets.astype(int) @ database_sets.astype(int).T
    samples = {name: [] for name in ("mAP@ALL", "wmAP@ALL", "ACG@7", "nDCG@9")}
    distances = (query[:, None] != database).sum(2)
    for _ in range(4000):
        order = rng.permutation(30)
        ranked = [shared[q, order[np.argsort(distances[q, order], kind="stable")]].tolist() for q in range(5)]
        samples["mAP@ALL"].append(np.mean([plain.ap(r) for r in ranked]))
        samples["wmAP@ALL"].append(np.mean([plain.weighted_ap(r) for r in ranked]))
        samples["ACG@7"].append(np.mean([plain.acg(r, 7) for r in ranked]))
        samples["nDCG@9"].append(np.mean([plain.ndcg(r, 9) for r in ranked]))
    for name, values in samples.items():
        error = np.std(values) / math.sqrt(len(values))
        assert abs(scores[name] - np.mean(values)) < 5 * error + 1e-9, name
    one_hot = [np.eye(5, dtype=int)[labels] for labels in draw(6)[2:]]
    sets, ids = evaluate(*draw(6)[:2], *one_hot), evaluate(*draw(6))
    assert all(sets[name] == ids[name] for name in ids) and sets["wmAP@ALL"] == pytest.approx(ids["mAP@ALL"])


def test_pr_curve_counts_balls():
    query, database, query_labels, database_labels = draw(7, bits=8)
    recall, precision = pr_curve(query, database, query_labels, database_labels)
    _, skipping = pr_curve(query, database, query_labels, database_labels, empty="skip")
    distances, same = (query[:, None] != database).sum(2), query_labels[:, None] == database_labels
    for radius in range(9):
        ball = distances <= radius
        found = (ball & same).sum(1)
        share = [f / n for f, n in zip(found, ball.sum(1), strict=True) if n]
        assert recall[radius] == pytest.approx((found / same.sum(1)).mean())
        assert precision[radius] == pytest.approx(sum(share) / 8)
        assert skipping[radius] == pytest.approx(sum(share) / max(len(share), 1))
    assert precision[2] == pytest.approx(evaluate(query, database, query_labels, database_labels)["P@H<=2"])
    assert recall[-1] == 1.0 and (np.diff(recall) >= 0).all()


def test_bootstrap_interval_follows_the_clusters():
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(100), 20)
    values = rng.normal(size=100)[clusters] + 0.1 * rng.normal(size=2000)
    low, high = bootstrap_interval(values, clusters, seed=0)
    assert (low, high) == bootstrap_interval(values, [f"drawing {c:02}" for c in clusters], seed=0)
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * 0.1 * np.std(values.reshape(100, 20).mean(1)), rel=0.1)
    naive = bootstrap_interval(values, np.arange(2000), seed=0)
    assert (high - low) > 3 * (naive[1] - naive[0])  # taking renders for independent is far too sure
    narrow = bootstrap_interval(values, clusters, seed=0, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(9), 0
    for trial in range(200):
        sizes = rng.integers(1, 9, 40)
        clusters = np.repeat(np.arange(40), sizes)
        values = rng.normal(size=40)[clusters] + rng.normal(size=len(clusters))
        low, high = bootstrap_interval(values, clusters, seed=trial, level=0.9, repeats=400)
        covered += low <= 0 <= high
    assert 0.8 < covered / 200 < 0.97


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"k": 0}, "k=0.*at least 1"),
        ({"graded_k": (5, 2.5)}, "k=2.5"),
        ({"radius": -1}, "radius=-1"),
        ({"radius": 1.5}, "radius=1.5.*whole number"),
        ({"convention": "stable"}, "'stable'.*tie-aware, topk"),
        ({"query_labels": [9] * 8, "hierarchy": TREE}, "query_labels hold class 9.*only 5 classes"),
        ({"database_codes": np.zeros((60, 6))}, "database_codes hold 0.0"),
        ({"database_codes": np.ones((60, 7))}, "6 bits and database_codes 7"),
        ({"database_labels": [0]}, r"database_labels have shape \[1\] for 60"),
    ],
)
def test_errors_name_the_value(change, told):
    names = ("query_codes", "database_codes", "query_labels", "database_labels")
    with pytest.raises(ValueError, match=told):
        evaluate(**dict(zip(names, draw(0), strict=True)) | change)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: bootstrap_interval([1, 2], [0], 0), r"\[2\] and clusters \[1\]"),
        (lambda: bootstrap_interval([1, math.nan], [0, 1], 0), "values hold nan"),
        (lambda: bootstrap_interval([1, 2], [0, 0], 0), "1 cluster.*at least 2"),
        (lambda: bootstrap_interval([1, 2], [0, 1], 0, level=95), "level=95.*0.95"),
        (lambda: bootstrap_interval([1, 2], [0, 1], 0, repeats=0), "repeats=0"),
        (lambda: pr_curve([[1]], [[1]], [0], [0], empty="nan"), "empty='nan'.*zero or skip"),
    ],
)
def test_errors_of_the_others_name_the_value(call, told):
    with pytest.raises(ValueError, match=told):
        call()


@pytest.mark.parametrize("counts", [np.zeros((2, 2, 9), int), np.zeros((0, 2, 9), int), np.ones((2, 9), int)])
def test_a_histogram_without_items_is_told(counts):
    with pytest.raises(ValueError, match=r"counts no items; expected counts .queries, levels, K.1., as made by"):
        metrics.from_histogram(counts)
