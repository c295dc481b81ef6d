"""The price of the minimum distance, and the linear hasher that judges sets of centers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shc import bounds, frontier, hamming, methods, stages
from shc.centers import loss
from shc.config import ClassifierConfig, Data
from shc.models import codes_from
from shc.runs import MissingArtifact, Run


def similarity(classes=16, seed=0):
    rng = np.random.default_rng(seed)
    group = np.arange(classes) // 4
    S = 0.6 * (group[:, None] == group) - 0.1 + 0.05 * rng.standard_normal((classes, classes))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    return S


@pytest.fixture(scope="module")
def points():
    return frontier.frontier(similarity(), 12, sweeps=60)


# ------------------------------------------------------------------------------------------ frontier


def test_every_distance_to_the_largest_has_its_point(points):
    largest, _ = frontier.constructions.centers_at_distance(12, 16, "max")
    assert [point.min_distance for point in points] == list(range(largest + 1))


def test_points_tell_the_truth(points):
    S = similarity()
    for point in points:
        assert point.bits == 12 and point.codes.shape == (16, 12)
        assert point.loss == pytest.approx(loss(S, point.codes), abs=1e-12)
        assert point.achieved_distance == hamming.minimum_distance(point.codes) >= point.min_distance
        assert bounds.lower_bound(S, 12, point.min_distance) - 1e-12 <= point.bound <= point.loss
        X = point.codes.astype(float) @ point.codes.T / 12
        assert X[np.triu_indices(16, 1)].max() <= point.cap + 1e-12


def test_neither_loss_nor_bound_falls_with_the_distance(points):
    assert (np.diff([point.loss for point in points]) >= 0).all()
    assert (np.diff([point.bound for point in points]) >= 0).all()


def test_a_seed_gives_the_same_points_and_the_order_of_distances_does_not_matter():
    first, second = (frontier.frontier(similarity(), 12, order, sweeps=30) for order in ([0, 3, 4], [4, 0, 3, 3]))
    assert [point.min_distance for point in second] == [0, 3, 4]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.codes, b.codes) and a.loss == b.loss


def test_two_classes_and_a_rule_that_cannot_be_kept():
    S = np.array([[1, 0.5], [0.5, 1]])
    found = frontier.frontier(S, 4, sweeps=20)
    assert [point.min_distance for point in found] == [0, 1, 2, 3, 4] and found[0].loss == 0
    assert 3 not in frontier.all_distances(8, 24)  # what the rule asks for, and no set keeps


def test_distances_go_in_steps_and_hold_the_rule_and_the_largest():
    assert frontier.all_distances(64, 100, step=10) == [0, 10, 20, 24, 30, 32]


def test_the_price_is_bracketed(points):
    for point in points:
        paid = frontier.price(points, point.min_distance)
        assert 0 <= paid.at_least <= paid.found + 1e-8 <= paid.at_most + 2e-8
        assert paid.found == pytest.approx(point.loss - points[0].loss, abs=1e-7)
        assert paid.bound == pytest.approx(point.bound - points[0].bound, abs=1e-7)


def test_the_price_contains_the_exact_one():
    """Three classes of four bits, all sets enumerated."""
    S = np.array([[1, 0.9, 0.5], [0.9, 1, 0.6], [0.5, 0.6, 1]])
    words = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
    best = {}
    for j in words:
        for k in words:
            codes = np.stack([np.ones(4), j, k]).astype(np.int8)
            value, reached = loss(S, codes), hamming.minimum_distance(codes)
            for d in range(reached + 1):
                best[d] = min(best.get(d, np.inf), value)
    points = frontier.frontier(S, 4, [0, 1, 2], sweeps=100)
    for d in (1, 2):
        paid = frontier.price(points, d)
        assert paid.at_least - 1e-8 <= best[d] - best[0] <= paid.at_most + 1e-8


# ------------------------------------------------------------------------------------------ linear hasher


def toy_features(each=40, classes=4, dimensions=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = 3 * torch.randn(classes, dimensions, generator=generator)
    labels = torch.arange(classes).repeat_interleave(each)
    return means[labels] + 0.3 * torch.randn(len(labels), dimensions, generator=generator), labels


def test_the_linear_hasher_reaches_the_centers_of_separable_classes():
    features, labels = toy_features()
    codes = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    layer = frontier.linear_hasher(features, labels, codes)
    assert (codes_from(layer(features)).numpy() == codes[labels]).all()
    again = frontier.linear_hasher(features, labels, codes)
    assert torch.equal(layer.weight, again.weight) and not layer.weight.requires_grad


def test_the_linear_hasher_stops_where_the_slope_is_zero():
    features, labels = toy_features(each=10)
    codes = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.int8)
    layer = frontier.linear_hasher(features, labels, codes, decay=0.1, iterations=200).requires_grad_(True)
    target = torch.from_numpy(codes.astype(np.float32))
    total = methods.get("shc")().loss(layer(features), labels, target)[0] + 0.1 * layer.weight.square().sum() / 2
    slope = torch.autograd.grad(total, layer.parameters())
    assert max(part.abs().max().item() for part in slope) < 1e-4
    plain = F.binary_cross_entropy_with_logits(2 * layer(features), (target[labels] + 1) / 2).item()
    assert plain < np.log(2)  # better than no layer at all


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose classifier saw 400 images of 16 pixels."""
    run = Run(tmp_path_factory.mktemp("frontier"))
    images = stages.start(run, Data(data="shapes", scale=0.04, size=16))
    for _ in stages.train_classifier(run, images, ClassifierConfig(epochs=3, batch=64, device="cpu")):
        pass
    return run, images


def test_features_are_scaled_by_the_training_images(trained):
    features = frontier.frozen_features(*trained, splits=("query",))
    assert set(features) == {"train", "query"} and features["query"].shape[1] == 256
    assert features["train"].mean(0).abs().max() < 1e-4
    live = features["train"].std(0) > 0
    assert torch.allclose(features["train"].std(0)[live], torch.ones(int(live.sum())), atol=1e-3)


def test_centers_with_meaning_retrieve_relatives(trained):
    """Codes that say nothing but the super-class find the super-class better than coin flips do."""
    _, images = trained
    features = frontier.frozen_features(*trained)
    groups, _ = stages.trained_groups(images)
    rng = np.random.default_rng(0)
    coarse = np.where(rng.random((groups.max() + 1, 32)) < 0.5, 1, -1)[groups]
    flips = np.where(rng.random((len(groups), 32)) < 0.5, 1, -1)
    related, unrelated = (frontier.retrieve(images, features, codes) for codes in (coarse, flips))
    assert related["super_mAP@ALL"] > unrelated["super_mAP@ALL"]
    assert related["per_query"]["mAP@ALL"].shape == (len(images.splits["query"]),)


# ------------------------------------------------------------------------------------------ bad input

GOOD = torch.zeros(2, 3), torch.tensor([0, 1]), np.array([[1, 1], [1, -1]])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: frontier.frontier(np.ones((2, 3)), 8), r"S has shape \[2, 3\]; expected a square matrix"),
        (lambda: frontier.frontier(np.full((2, 2), np.nan), 8), "every similarity must be finite"),
        (lambda: frontier.frontier(np.eye(1), 8), "S has 1 class; a distance needs two classes or more"),
        (lambda: frontier.frontier(np.eye(9), 3), "9 classes cannot have different centers of 3 bits"),
        (lambda: frontier.frontier(np.eye(4), 8, [99]), "min_distance=99 is impossible.*the paper's rule asks for"),
        (lambda: frontier.frontier(np.eye(4), 8, []), "no distances to try"),
        (lambda: frontier.all_distances(8, 4, step=0), "step=0; expected a whole number of at least 1"),
        (lambda: frontier.price([], 2), "no point at d = 0"),
        (lambda: frontier.linear_hasher(GOOD[0][0], GOOD[1], GOOD[2]), r"features \[3\] and labels \[2\] do not fit"),
        (lambda: frontier.linear_hasher(GOOD[0] * np.nan, GOOD[1], GOOD[2]), "features must be finite"),
        (lambda: frontier.linear_hasher(GOOD[0], GOOD[1] + 1, GOOD[2]), "labels go from 1 to 2 for 2 centers"),
        (lambda: frontier.linear_hasher(*GOOD, method="shcc"), "method 'shcc' is unknown; did you mean 'shc'"),
    ],
)
def test_errors_say_what_to_do(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_a_run_without_a_classifier_is_told(trained, tmp_path):
    with pytest.raises(MissingArtifact, match="run notebook 01_classifier"):
        frontier.frozen_features(Run(tmp_path), trained[1])
