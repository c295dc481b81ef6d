"""Images with several labels: small oracles, and the sequence on pairs of shapes."""

from dataclasses import replace

import numpy as np
import pairs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import (
    datasets,
    encode,
    frontier,
    hamming,
    image_search,
    label_sets,
    method_run,
    methods,
    metrics,
    similarity,
    stages,
)
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig, SimilarityConfig
from shc.explorer import RetrievalExplorer
from shc.runs import Run, RunError
from shc.set_similarity import check_sets
from shc.targets import centers_of, related

DATA = Data(data="pairs", size=16)
CLASSIFIER = ClassifierConfig(epochs=6, batch=32, device="cpu")
CENTERS = CentersConfig(bits=16)
HASHER = HasherConfig(epochs=6, batch=32, device="cpu", eval_every=2)
DRAWS = dict(max_examples=20, deadline=None)


def draw(seed, n=40, classes=5):
    """Random label sets bool [N, C], one label at least in each row and two rows at least of each class."""
    random = np.random.default_rng(seed)
    sets = random.random((n, classes)) < 0.3
    sets[np.arange(n), np.arange(n) % classes] = True
    return sets, random


def one_hot(labels, classes):
    return np.eye(classes, dtype=bool)[labels]


# ------------------------------------------------------------------------------------------ targets


def plain_majority(sets, centers, ties):
    """Bit by bit, a vote of the labels' centers."""
    targets = []
    for row in sets:
        target = []
        for bit in range(centers.shape[1]):
            votes = sum(centers[c, bit] for c in range(len(centers)) if row[c])
            target.append(ties[bit] if votes == 0 else (1 if votes > 0 else -1))
        targets.append(target)
    return np.array(targets)


@given(seed=st.integers(0, 2**31), dtype=st.sampled_from([torch.bool, torch.float32]))
@settings(**DRAWS)
def test_targets_are_the_majority_of_the_labels_centers(seed, dtype):
    sets, random = draw(seed)
    centers = random.choice([-1.0, 1.0], size=(5, 16))
    tensor = torch.from_numpy(sets).to(dtype)
    opposite = torch.tensor([[1.0] * 16, [-1.0] * 16])  # every bit is a tie
    ties = centers_of(torch.ones(1, 2), opposite)[0].numpy()
    assert set(ties) == {-1, 1}
    found = centers_of(tensor, torch.from_numpy(centers).float()).numpy()
    np.testing.assert_array_equal(found, plain_majority(sets, centers, ties))
    part = centers_of(tensor[7:9], torch.from_numpy(centers).float()).numpy()
    np.testing.assert_array_equal(part, found[7:9])  # ties do not depend on the batch


def test_an_image_of_one_label_has_its_class_center():
    centers = torch.randint(2, (5, 16), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    labels = torch.tensor([4, 0, 2])
    sets = torch.from_numpy(one_hot(labels.numpy(), 5))
    assert (centers_of(sets, centers) == centers_of(labels, centers)).all()
    assert (related(sets, sets) == related(labels, labels)).all()


@given(seed=st.integers(0, 2**31))
@settings(**DRAWS)
def test_distances_to_the_own_target_and_to_strange_centers(seed):
    sets, random = draw(seed)
    centers, codes = (random.choice([-1, 1], size=(n, 16)).astype(np.int8) for n in (5, 40))
    own, other = label_sets.center_distances(codes, torch.from_numpy(sets), centers)
    target = centers_of(torch.from_numpy(sets), torch.from_numpy(centers).float()).numpy()
    for i in range(40):
        assert own[i] == (codes[i] != target[i]).sum()
        strange = [(codes[i] != centers[c]).sum() for c in range(5) if not sets[i, c]]
        assert other[i] == min(strange, default=17)
    ids = random.integers(5, size=40)
    for a, b in zip(*(label_sets.center_distances(codes, y, centers) for y in (ids, one_hot(ids, 5))), strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------------------ similarity


def plain_profiles(logits, sets, mask, temperature):
    """For every ordered pair of classes, the images with the one and without the other."""
    classes = logits.shape[1]
    P = np.zeros((classes, classes))
    some = ~sets.all(1)  # an image of everything says nothing
    logits, sets, shares = logits[some], sets[some], []
    for z, own in zip(logits, sets, strict=True):
        count = own.sum()
        masked = set(np.flatnonzero(own)) if mask == "true" else set(np.argsort(-z, kind="stable")[:count])
        weights = [0 if c in masked else np.exp(z[c] / temperature) for c in range(classes)]
        shares.append(np.array(weights) / max(sum(weights), 1e-300))
    for i in range(classes):
        for j in range(classes):
            values = [q[j] for q, own in zip(shares, sets, strict=True) if own[i] and (i == j or not own[j])]
            P[i, j] = np.mean(values) if values else np.nan
    for i in range(classes):
        others = np.arange(classes) != i
        P[i] = np.where(np.isnan(P[i]), np.nanmean(P[i][others]) if (~np.isnan(P[i][others])).any() else 0, P[i])
    return P


@pytest.mark.parametrize("mask", similarity.MASKS)
@given(seed=st.integers(0, 2**31), temperature=st.sampled_from([0.5, 1.0, 3.0]))
@settings(**DRAWS)
def test_profiles_of_label_sets_are_those_of_a_plain_loop(mask, seed, temperature):
    sets, random = draw(seed)
    sets[0] = True
    if seed % 2:
        sets[sets[:, 0], 1] = True  # class 0 never stands without class 1
    logits = random.normal(0, 3, sets.shape)
    found = similarity.class_profiles(logits, sets, mask, temperature)
    np.testing.assert_allclose(found, plain_profiles(logits, sets, mask, temperature), rtol=1e-9, atol=1e-12)
    S = similarity.class_similarity(torch.from_numpy(logits), torch.from_numpy(sets), mask, temperature)
    assert isinstance(S, torch.Tensor) and (S == S.T).all() and (S.diag() == 1).all()


@pytest.mark.parametrize("mask", similarity.MASKS)
@given(seed=st.integers(0, 2**31))
@settings(**DRAWS)
def test_one_hot_label_sets_have_the_similarity_of_their_class_ids(mask, seed):
    random = np.random.default_rng(seed)
    labels, logits = np.arange(40) % 5, random.normal(0, 3, (40, 5))
    for wide in (False, True):
        ids, sets = (
            similarity.class_similarity(logits, y, mask, with_diagonal=wide) for y in (labels, one_hot(labels, 5))
        )
        np.testing.assert_allclose(ids, sets, rtol=1e-9, atol=1e-12)


def test_classes_that_only_stand_together_are_not_alike():
    """0 and 1 always share an image, and the classifier is sure of both; 0 looks like 2."""
    sets = np.array([[1, 1, 0, 0]] * 8 + [[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    logits = np.where(sets, 6.0, -6.0)
    logits[sets[:, 0], 2] = 0
    S = similarity.class_similarity(logits, sets)
    assert S[0, 2] > S[0, 1] + 0.5
    together = np.exp(logits)[sets[:, 0]].mean(0)
    assert together[1] > together[2]  # what a plain mean over the images of 0 says


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (np.ones((3, 4), dtype=bool), r"label sets have shape \[3, 4\] for logits \[3, 2\]"),
        (np.array([[2, 0], [0, 1], [1, 1]]), "label sets hold 2; expected only 0 and 1"),
        (np.array([[1, 0], [1, 0], [1, 0]]), r"class 1 has no image \(1 of 2 classes have none\)"),
    ],
)
def test_label_sets_that_do_not_fit_are_told(sets, told):
    with pytest.raises(ValueError, match=told):
        check_sets(sets, 3, 2)
    with pytest.raises(ValueError, match=told):
        similarity.class_similarity(np.zeros((3, 2)), sets)


# ------------------------------------------------------------------------------------------ classifier


@given(seed=st.integers(0, 2**31))
@settings(**DRAWS)
def test_class_map_is_the_mean_of_plain_average_precisions(seed):
    sets, random = draw(seed)
    sets[:, 2] = seed % 2  # a class without an image is left out; one in every image has precision 1
    logits = random.normal(0, 1, sets.shape).astype(np.float32)
    values = []
    for c in np.flatnonzero(sets.any(0)):
        hits = sets[np.argsort(-logits[:, c]), c]
        values.append(np.mean([hits[: r + 1].mean() for r in np.flatnonzero(hits)]))
    assert label_sets.score(torch.from_numpy(logits), torch.from_numpy(sets)) == pytest.approx(np.mean(values))


def test_one_hot_label_sets_have_the_confusions_and_means_of_their_class_ids():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 5, generator=generator), torch.arange(50) % 5
    sets = torch.from_numpy(one_hot(labels.numpy(), 5))
    np.testing.assert_array_equal(label_sets.confusion(logits, labels), label_sets.confusion(logits, sets))
    means = [label_sets.class_means(logits, y, 5) for y in (labels, sets)]
    torch.testing.assert_close(*means)
    many = torch.from_numpy(draw(1, n=50)[0])
    assert label_sets.confusion(logits, many).sum() == pytest.approx(int(many.sum()))  # every label goes somewhere


def test_the_loss_asks_one_question_for_each_class():
    logits, sets = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, True]])
    plain = np.mean([-np.log(1 / (1 + np.exp(-2))), -np.log(1 / (1 + np.exp(1)))])
    assert label_sets.classification_loss(logits, sets)[0].item() == pytest.approx(plain)


# ------------------------------------------------------------------------------------------ relevance


@given(seed=st.integers(0, 2**31))
@settings(**DRAWS)
def test_one_hot_label_sets_have_the_relevance_and_the_numbers_of_their_class_ids(seed):
    random = np.random.default_rng(seed)
    groups = np.array([0, 0, 1, 1, 2])
    codes = [random.choice([-1, 1], size=(n, 8)).astype(np.int8) for n in (10, 60)]
    ids = [random.integers(5, size=n) for n in (10, 60)]
    sets = [one_hot(y, 5) for y in ids]
    by_id, by_set = (metrics.evaluate(*codes, *labels, k=(5, 20), orders=True) for labels in (ids, sets))
    assert {name: by_set[name] for name in by_id} == by_id
    assert by_set["wmAP@ALL"] == pytest.approx(by_id["mAP@ALL"]) and by_set["ACG@5"] == pytest.approx(by_id["P@5"])
    index = random.integers(60, size=(10, 4))
    of_ids = label_sets.relation(ids[0], ids[1][index], groups)
    np.testing.assert_array_equal(of_ids, label_sets.relation(sets[0], sets[1][index], groups))
    values = random.random(10)
    for function in (label_sets.present, label_sets.first, label_sets.known):
        np.testing.assert_array_equal(function(ids[0]), function(sets[0]))
    worst = [label_sets.worst_per_class(values, labels, 3) for labels in (ids[0], sets[0])]
    np.testing.assert_array_equal(*worst)
    names = [list(label_sets.names(labels, list("abcde"))) for labels in (ids[0], sets[0])]
    assert names[0] == names[1]
    u, v = (torch.from_numpy(random.normal(size=(n, 8))) for n in (10, 60))
    real = [method_run.unquantized_map(u, v, *(torch.from_numpy(y) for y in labels)) for labels in (ids, sets)]
    assert real[0] == real[1]


def test_relations_of_label_sets_are_those_of_a_plain_loop():
    (sets, random), groups = draw(3), np.array([0, 0, 1, 1, 2])
    index = random.integers(40, size=(40, 6))
    found = label_sets.relation(sets, sets[index], groups)
    for i in range(40):
        for j in range(6):
            a, b = np.flatnonzero(sets[i]), np.flatnonzero(sets[index[i, j]])
            assert found[i, j] == (2 if set(a) & set(b) else 1 if set(groups[a]) & set(groups[b]) else 0)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_the_shares_of_neighbors_are_exact_over_the_order_of_ties(k):
    (sets, random), groups = draw(4), np.array([0, 0, 1, 1, 2])
    codes = random.choice([-1, 1], size=(40, 6)).astype(np.int8)
    distances = hamming.distance(codes[:9], codes)
    nearer = (distances[:, None] < distances[:, :, None]).sum(2)  # (Q, N), images nearer than each image
    tied = (distances[:, None] == distances[:, :, None]).sum(2)
    shown = np.clip((k - nearer) / tied, 0, 1) / k  # chance of standing among the first k
    for labels in (sets, random.integers(5, size=40)):
        kind = label_sets.relation(labels[:9], np.broadcast_to(labels, (9, *labels.shape)), groups)
        same, related = ((shown * (kind == level)).sum(1).mean() for level in (2, 1))
        found = label_sets.neighbor_shares(codes[:9], codes, labels[:9], labels, groups, k)
        assert found == pytest.approx((same, related / (1 - same)))
    alone = label_sets.neighbor_shares(codes, codes, np.zeros(40, int), np.zeros(40, int), groups, k)
    assert alone == (1, 0)  # nobody else to be related to


def test_the_worst_query_of_several_classes_is_shown_once():
    sets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    assert label_sets.worst_per_class(np.array([0.1, 0.5, 0.3]), sets, 3).tolist() == [0, 2]


def test_long_names_are_shortened_and_empty_sets_told():
    sets = np.array([[True] * 6, [False] * 6])
    told = label_sets.names(sets, ["traffic light"] * 6)
    assert len(told[0]) <= label_sets.LONGEST and told[0].endswith("…") and told[1] == "no label"


# ------------------------------------------------------------------------------------------ the sequence


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run on pairs of shapes, its images, and the values of run_all."""
    run = Run(tmp_path_factory.mktemp("pairs"))
    found = stages.run_all(run, DATA, CLASSIFIER, CENTERS, HASHER, kinds=("semantic",))
    return run, stages.images_of(run), found


def test_training_lowers_the_losses_and_retrieval_beats_chance(made):
    run, images, found = made
    for name in ("classifier", "hasher"):
        history = run.load(name).meta["extra"]["history"]
        assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    labels = [images.split(split)[1].float() for split in ("query", "database")]
    chance = (labels[0] @ labels[1].T > 0).float().mean().item()  # mAP of a random order is about the share of relevant
    assert found["semantic"] > chance + 0.04
    result = stages.evaluate(run, images)
    assert {"mAP@ALL", "wmAP@ALL", "ACG@100", "nDCG@100"} <= result.keys() and "super_mAP@ALL" not in result
    assert result["wmAP@ALL"] >= result["mAP@ALL"]  # two shared labels weigh twice
    accuracy = stages.accuracies(run, images)
    assert accuracy.keys() == {"val", "query"} and all(0.2 < value < 1 for value in accuracy.values())


def test_statistics_hold_the_label_sets_and_give_the_similarity(made):
    run, images, _ = made
    statistics = run.load("statistics")
    y = images.split("train")[1].numpy()
    assert statistics["labels"].dtype == bool and (statistics["labels"] == y).all()
    S = run.load("similarity")["S"]
    plain = plain_profiles(statistics["logits"].astype(np.float64), y, "predicted", 1.0)
    np.testing.assert_allclose(S, similarity.normalize_similarity(plain), atol=1e-9)


@pytest.mark.parametrize("source", ["features", "hierarchy", "exact"])
def test_other_sources_of_similarity(made, tmp_path, source):
    import shutil

    shutil.copytree(made[0].path, tmp_path / "copy")
    S = stages.class_similarity(Run(tmp_path / "copy"), made[1], SimilarityConfig(source=source))
    assert S.shape == (10, 10) and np.isfinite(S).all() and (S == S.T).all()
    if source == "hierarchy":
        assert (S[0, 1] > S[0, 2:]).all()  # the two stars


def test_codes_come_nearer_to_their_own_target_than_to_strange_centers(made):
    run, images, _ = made
    H, codes = stages.load_centers(run, images)[0]["codes"], stages.load_codes(run, images)
    place = stages.positions(images, images.split("train")[1])
    own, other = label_sets.center_distances(codes["train"], place, H)
    assert own.mean() < other.mean() < 8
    shuffled = label_sets.center_distances(codes["train"], place.roll(1, 0), H)[0]
    assert own.mean() < shuffled.mean() - 1


def test_positions_are_the_columns_of_trained_classes(made):
    images = replace(made[1], train_classes=torch.tensor([1, 4]))
    sets = torch.zeros(2, 10, dtype=torch.bool)
    sets[0, 4] = sets[1, 0] = True
    place = stages.positions(images, sets)
    assert place.tolist() == [[False, True], [False, False]] and label_sets.known(place).tolist() == [True, False]


def test_a_linear_hasher_takes_label_sets(made):
    run, images, _ = made
    features = frontier.frozen_features(run, images, device="cpu")
    codes = stages.load_centers(run, images)[0]["codes"]
    assert 0.3 < frontier.retrieve(images, features, codes)["mAP@ALL"] < 1
    with pytest.raises(ValueError, match=r"label sets \[900, 10\] for 9 centers"):
        frontier.retrieve(images, features, codes[:9])


MANY = {name for name, entry in methods.available().items() if entry.multi_label}


def test_which_methods_take_several_labels():
    assert {"csq", "dpsh", "hashnet", "itq", "lsh", "orthohash", "shc", "udmsh"} == MANY


@pytest.mark.parametrize("name", sorted(methods.available()))
def test_methods_are_trained_on_label_sets_or_refuse_them(made, tmp_path, name):
    settings = method_run.MethodRun(
        data="pairs", size=16, bits=16, method=name, epochs=6, hasher_epochs=1, batch=64, init="classifier",
        frozen=True, reference=True, threads=2,
    )  # fmt: skip
    run = Run(tmp_path / name)
    method_run.adopt(run, made[0].path)
    images = stages.start(run, DATA)
    method_run.make_centers(run, images, settings)
    if name not in MANY:
        with pytest.raises(RunError, match=f"method '{name}' takes one class per image.*choose one of csq, dpsh, "):
            list(method_run.train(run, images, settings))
        return
    list(method_run.train(run, images, settings))
    rows = method_run.measure(run, images, settings)
    assert {"wmAP@ALL", "ACG@100"} <= rows[0].keys() and all(0.2 < row["mAP@ALL"] < 1 for row in rows)


def test_a_training_image_without_a_label_is_told(made):
    run, images, _ = made
    labels = images.labels.clone()
    labels[images.splits["train"][:3]] = False
    config = HASHER.with_(seed=1)
    with pytest.raises(RunError, match="3 of 900 training images of 'pairs' have no label"):
        list(stages.train_hasher(run, replace(images, labels=labels), config))


def test_a_store_of_codes_refuses_label_sets(made, tmp_path):
    with pytest.raises(RunError, match=r"images of 'pairs' may have several labels.*05_retrieval .*--images"):
        encode.encode(made[0].path, tmp_path / "codes", split="query", device="cpu")


def test_search_tells_all_labels_of_a_neighbor(made, tmp_path):
    from PIL import Image

    run, images, _ = made
    x, y = images.split("database")
    Image.fromarray(x[40].permute(1, 2, 0).numpy()).save(tmp_path / "one.png")
    told = []
    found = image_search.search(run, [tmp_path / "one.png"], k=3, out=tmp_path / "found.png", say=told.append)
    assert (found.labels == -1).all()
    expected = label_sets.names(y[found.ids[0]], images.class_names)
    assert all(name in told[0] for name in expected) and (tmp_path / "found.png").exists()


def test_the_explorer_shows_label_sets(made):
    run, images, _ = made
    explorer = RetrievalExplorer.of_run(run, images, neighbors=4, query=7)
    assert explorer.first["splits"] == ["query", "train", "val"]
    found, labels = explorer.first["found"], images.split("database")[1]
    assert f"query 7: {found['name']}; " in found["told"] and "of 4 neighbors that share a class" in found["told"]
    mine = images.split("query")[1][7]
    assert [n["relation"] == 2 for n in found["neighbors"]] == [
        bool((labels[n["row"]] & mine).any()) for n in found["neighbors"]
    ]
    of_class = next(f for f in explorer.first["sheet"]["filters"] if f["name"] == "class")
    assert sum(count for _, _, count in of_class["options"]) == images.split("query")[1].sum()
    assert "of 4 neighbors of the same class" in explorer.static(2).alt


def test_pairs_are_what_they_say():
    images = datasets.load("pairs", size=16)
    assert images.labels.dtype == torch.bool and images.labels.shape == (sum(pairs.SIZES.values()), 10)
    assert set(images.labels.sum(1).tolist()) == {1, 2}
