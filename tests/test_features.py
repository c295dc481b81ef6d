"""Features computed once: a small network with random weights stands for a pretrained one, which would take minutes.

Nobody may ask for this combination (`ClassifierConfig`), so the tests put it where the pretrained one is built.
"""

import dataclasses

import numpy as np
import pytest
import torch

from shc import features, stages, tasks
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig
from shc.models import SmallCNN, backbone
from shc.runs import Run
from shc.train_job import train_here

DATA = Data(scale=0.02, size=16)
PRETRAINED = dict(net="efficientnet_lite0", weights="imagenet", features="frozen")
CLASSIFIER = ClassifierConfig(epochs=3, batch=50, device="cpu", seed=3, **PRETRAINED)
HASHER = HasherConfig(epochs=2, batch=50, device="cpu", eval_every=1)
IMAGES = 1700  # of all splits


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cache folder of this module's own, filled with the images; the small network is what tasks are given."""

    def small(name, *, weights, size, crop, fetch):
        assert (name, weights) == (PRETRAINED["net"], PRETRAINED["weights"])
        return backbone("cnn", size=size, crop=crop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "backbone", small)
        patch.setenv("SHC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield stages.start(Run(tmp_path_factory.mktemp("first")), DATA)


@pytest.fixture
def counted(monkeypatch):
    """How many images each call of a backbone got."""
    calls, plain = [], SmallCNN.features
    monkeypatch.setattr(SmallCNN, "features", lambda net, x: calls.append(len(x)) or plain(net, x))
    return calls


def run_all(folder, **changes):
    run = Run(folder)
    found = stages.run_all(run, DATA, CLASSIFIER, CentersConfig(bits=16), HASHER.with_(**changes), kinds=("semantic",))
    return run, found["semantic"]


def drain(steps):
    return list(steps)


@pytest.fixture(scope="module")
def frozen(shared, tmp_path_factory):
    """A finished run whose networks both stand on features that were computed once."""
    return run_all(tmp_path_factory.mktemp("frozen"))[0]


def test_every_image_is_looked_at_once_and_never_by_a_second_run(shared, tmp_path, counted):
    for file in features.cache_folder().glob("features-*"):
        file.unlink()
    first, found = run_all(tmp_path / "first")
    assert sum(counted) == IMAGES
    counted.clear()
    second, again = run_all(tmp_path / "second")
    assert counted == [] and again == found
    for name in ("classifier", "statistics", "features", "hasher", "codes"):
        a, b = first.load(name), second.load(name)
        assert a.key == b.key and all(np.array_equal(a[array], b[array]) for array in a.arrays)
    stages.accuracies(second, shared)
    hasher = stages.load_hasher(second, shared)
    kept = stages.predict_split(second, shared, hasher, "query", "cpu")
    assert counted == []
    torch.testing.assert_close(kept, stages.predict(hasher, shared.split("query")[0]), rtol=1e-3, atol=1e-4)


def test_only_the_heads_have_learned(frozen, shared):
    start = stages.new_classifier(shared, CLASSIFIER).state_dict()
    classifier, hasher = frozen.load("classifier").arrays, frozen.load("hasher").arrays
    same = {name for name, tensor in start.items() if np.array_equal(classifier[name], tensor.numpy())}
    assert set(start) - same == {"head.weight", "head.bias"}
    assert all(np.array_equal(hasher[name], start[name].numpy()) for name in same)
    history = frozen.load("classifier").meta["extra"]["history"]
    assert history[-1]["loss"] < history[0]["loss"]


def test_statistics_and_codes_are_those_of_the_whole_network(frozen, shared):
    net, _ = stages.load_classifier(frozen, shared)
    x, labels = shared.split("train")
    statistics = frozen.load("statistics")
    np.testing.assert_allclose(statistics["logits"], stages.predict(net, x).numpy(), rtol=1e-3, atol=1e-4)
    means = stages.predict(net.backbone, x)[labels == labels[0]].mean(0)
    np.testing.assert_allclose(statistics["feature_means"][labels[0]], means.numpy(), rtol=1e-3, atol=1e-4)
    u = stages.predict(stages.load_hasher(frozen, shared), shared.split("database")[0])
    codes = stages.load_codes(frozen, shared)["database"]
    assert (stages.codes_from(u).numpy() == codes).mean() > 0.999  # a bit at the border may turn by rounding


def test_a_hasher_may_tune_what_its_classifier_did_not(frozen, shared, tmp_path):
    import shutil

    shutil.copytree(frozen.path, tmp_path / "copy")
    run = Run(tmp_path / "copy")
    drain(stages.train_hasher(run, shared, HASHER.with_(epochs=1, features="tune")))
    before, after = frozen.load("hasher"), run.load("hasher")
    assert after.key != before.key
    assert any(not np.array_equal(after[k], before[k]) for k in after.arrays if k.startswith("backbone."))


def test_other_weights_other_crops_and_other_images_have_files_of_their_own(shared, counted):
    net = stages.new_classifier(shared, CLASSIFIER).backbone
    whole = features.backbone_features(net, shared, CLASSIFIER)
    counted.clear()
    assert torch.equal(features.backbone_features(net, shared, CLASSIFIER)["val"], whole["val"]) and counted == []
    others = [
        (stages.new_classifier(shared, CLASSIFIER.with_(seed=4)).backbone, shared, CLASSIFIER),
        (stages.new_classifier(shared, CLASSIFIER.with_(crop=12)).backbone, shared, CLASSIFIER.with_(crop=12)),
        (net, dataclasses.replace(shared, fingerprint="another"), CLASSIFIER),
        (net, dataclasses.replace(shared, state="replaced pictures"), CLASSIFIER),
    ]
    for other in others:
        features.backbone_features(*other)
        assert sum(counted) == IMAGES
        counted.clear()


def test_an_image_in_two_splits_is_computed_once(shared, counted):
    splits = {"train": shared.splits["train"][:30], "database": shared.splits["train"][10:50]}
    images = dataclasses.replace(shared, splits=splits, fingerprint="overlapping")
    net = stages.new_classifier(shared, CLASSIFIER).backbone
    found = features.backbone_features(net, images, CLASSIFIER)
    assert sum(counted) == 50 and torch.equal(found["train"][10:], found["database"][:20])
    torch.testing.assert_close(
        found["database"], stages.predict(net, images.split("database")[0]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("harm", ["damaged", "unwritable"])
def test_a_cache_that_cannot_be_used_only_costs_time(shared, counted, tmp_path, monkeypatch, harm):
    net = stages.new_classifier(shared, CLASSIFIER).backbone
    expected = features.backbone_features(net, shared, CLASSIFIER)
    if harm == "damaged":
        for file in features.cache_folder().glob("features-*"):
            file.write_bytes(file.read_bytes()[:-8])
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SHC_CACHE", str(tmp_path / "file"))
    counted.clear()
    found = features.backbone_features(net, shared, CLASSIFIER)
    assert sum(counted) == IMAGES and all(torch.equal(found[split], expected[split]) for split in expected)


def test_one_process_computes_before_others_train(shared, tmp_path, counted):
    told = train_here(str(tmp_path / "run"), "classifier", DATA, CLASSIFIER.with_(seed=9, epochs=1), "semantic")
    assert "best on val" in told and sum(counted) == IMAGES


def test_a_scratch_hasher_is_frozen_where_its_classifier_was(frozen, shared, tmp_path):
    import shutil

    shutil.copytree(frozen.path, tmp_path / "copy")
    run = Run(tmp_path / "copy")
    drain(stages.train_hasher(run, shared, HASHER.with_(epochs=1, init="scratch", seed=5)))
    start = stages.new_hasher(None, shared, run.load("classifier"), 16, HASHER.with_(init="scratch", seed=5))
    arrays = run.load("hasher").arrays
    for name, tensor in start.backbone.state_dict().items():
        np.testing.assert_array_equal(arrays[f"backbone.{name}"], tensor.numpy())
