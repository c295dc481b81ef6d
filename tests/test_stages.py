"""The steps in process, tiny: 200 training images of 16 pixels, two epochs."""

import time

import numpy as np
import pytest
import torch

from shc import hamming, stages
from shc import similarity as similarity_module
from shc.centers import loss
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig, SimilarityConfig
from shc.runs import ForeignArtifact, MissingArtifact, Run, RunError

SIZES = {"train": 200, "val": 200, "query": 200, "query_seen": 200, "database": 900}
CLASSIFIER = ClassifierConfig(epochs=2, batch=64, device="cpu")
CENTERS = CentersConfig(bits=16)
HASHER = HasherConfig(epochs=2, batch=64, device="cpu", eval_every=1)


def tiny(data="emoji", **changes):
    return Data(data=data, scale=0.02, size=16, **changes)


def drain(steps):
    return list(steps)


@pytest.fixture(scope="module")
def emoji(tmp_path_factory):
    """A finished run on emoji with semantic and random centers, its images, and the values of run_all."""
    run = Run(tmp_path_factory.mktemp("emoji"))
    found = stages.run_all(run, tiny(), CLASSIFIER, CENTERS, HASHER)
    return run, stages.images_of(run), found


@pytest.fixture
def copy_of(emoji, tmp_path):
    """The finished run in a folder of its own, to change."""
    import shutil

    shutil.copytree(emoji[0].path, tmp_path / "copy")
    return Run(tmp_path / "copy")


# ------------------------------------------------------------------------------------------ the whole sequence


def test_every_artifact_is_there_and_fits(emoji):
    run, images, found = emoji
    made = {file.name for file in run.path.iterdir()}
    assert made == {
        "params.yaml", "results.json", "splits.npz", "classifier.safetensors", "statistics.npz", "similarity.npz",
        "centers.npz", "centers-random.npz", "hasher.safetensors", "hasher-random.safetensors",
        "codes.npz", "codes-random.npz",
    }  # fmt: skip
    for name, variant in [("statistics", ""), ("similarity", ""), ("centers", "random"), ("hasher", "random")]:
        artifact = run.load(name, variant, fingerprint=images.fingerprint)
        assert torch.__version__.startswith(artifact.meta["versions"]["torch"])
    assert set(run.parameters()) == {
        "data", "classifier", "similarity", "centers", "centers-random", "hasher", "hasher-random",
    }  # fmt: skip
    for name in ("classifier", "hasher"):
        facts = run.load(name).meta["extra"]
        assert (facts["device"], facts["dtype"], facts["batch"]) == ("cpu", "float32", 64), (
            "what auto became, or was said"
        )
    assert run.results()["mAP"] == {kind: round(value, 6) for kind, value in found.items()}
    assert all(0 < value < 1 for value in found.values())


def test_shapes(emoji):
    run, images, _ = emoji
    assert {split: len(rows) for split, rows in images.splits.items()} == SIZES
    splits = run.load("splits", fingerprint=images.fingerprint)
    assert {name: rows.tolist() for name, rows in splits.arrays.items()} == {
        name: rows.tolist() for name, rows in images.splits.items()
    }
    statistics = run.load("statistics")
    assert statistics["logits"].shape == (200, 100) and statistics["feature_means"].shape == (100, 256)
    codes = stages.load_codes(run, images)
    assert {split: c.shape for split, c in codes.items()} == {split: (n, 16) for split, n in SIZES.items()}
    assert all(set(np.unique(c)) == {-1, 1} and c.dtype == np.int8 for c in codes.values())


def test_similarity_is_symmetric_with_unit_diagonal(emoji):
    S = emoji[0].load("similarity")["S"]
    assert S.shape == (100, 100) and (S == S.T).all() and (np.diag(S) == 1).all() and np.abs(S).max() <= 1


def test_semantic_centers_keep_the_distance_and_follow_the_similarity(emoji):
    run, images, _ = emoji
    artifact, history = stages.load_centers(run, images)
    codes, S = artifact["codes"], run.load("similarity")["S"]
    assert codes.shape == (100, 16) and codes.dtype == np.int8
    assert hamming.minimum_distance(codes) >= artifact.meta["extra"]["min_distance"] >= 3
    assert artifact.meta["extra"]["loss"] == pytest.approx(loss(S, codes))
    random, none = stages.load_centers(run, images, "random")
    assert loss(S, codes) < loss(S, random["codes"]) and none == []
    assert history[-1].stage == "done" and (history[-1].codes == codes).all()


def test_the_records_of_the_centers_come_back_as_they_were(emoji, copy_of):
    (copy_of.path / "centers.npz").unlink()
    images = emoji[1]
    fresh = drain(stages.optimize_centers(copy_of, images, CENTERS))
    stored = stages.load_centers(copy_of, images)[1]
    assert len(stored) == len(fresh)
    for a, b in zip(fresh, stored, strict=True):
        for name in ("codes", "best_codes", "histogram"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert getattr(a, name).dtype == getattr(b, name).dtype
        for name in ("step", "stage", "loss", "best_loss", "min_distance", "feasible", "temperature", "seconds"):
            assert getattr(a, name) == getattr(b, name) and type(getattr(b, name)) in (int, str, float, bool)


def test_a_second_call_computes_nothing(emoji):
    run, _, found = emoji
    files = [file for file in run.path.iterdir() if file.name.startswith(("classifier", "centers", "hasher", "codes"))]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    begun = time.perf_counter()
    again = stages.run_all(run, tiny(), CLASSIFIER, CENTERS, HASHER)
    assert time.perf_counter() - begun < 3 and again == found
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files} == before


def test_a_finished_step_yields_the_records_it_was_made_with(emoji):
    run, images, _ = emoji
    records = drain(stages.train_classifier(run, images, CLASSIFIER))
    assert [r["epoch"] for r in records if r["val"] is not None] == [1, 2]
    assert records == run.load("classifier").meta["extra"]["history"]
    assert len(drain(stages.optimize_centers(run, images, CENTERS))) > 10
    assert [r["epoch"] for r in drain(stages.train_hasher(run, images, HASHER)) if r["val"] is not None] == [1, 2]


def test_the_same_parameters_in_another_run_give_the_same_bits(emoji, tmp_path):
    run, _, found = emoji
    other = Run(tmp_path / "other")
    assert (
        stages.run_all(other, tiny(), CLASSIFIER, CENTERS, HASHER, kinds=("semantic",))["semantic"] == found["semantic"]
    )
    for name in ("classifier", "similarity", "centers", "hasher", "codes"):
        a, b = run.load(name), other.load(name)
        assert a.key == b.key
        for array in a.arrays:
            if array != "history_seconds":
                np.testing.assert_array_equal(a[array], b[array])


# ------------------------------------------------------------------------------------------ going on, refusing


def test_an_interrupted_classifier_goes_on_to_the_same_weights(emoji, tmp_path):
    run, images, _ = emoji
    other = Run(tmp_path / "other")
    steps = stages.train_classifier(other, images, CLASSIFIER)
    while next(steps)["epoch"] < 2:
        pass
    steps.close()
    assert (other.path / "checkpoints" / "classifier.safetensors").exists()
    assert not other.file("classifier").exists()
    drain(stages.train_classifier(other, images, CLASSIFIER))
    for name, array in run.load("classifier").arrays.items():
        np.testing.assert_array_equal(array, other.load("classifier")[name])
    assert not (other.path / "checkpoints").exists()


def test_a_step_before_its_time_names_the_notebook(emoji, tmp_path):
    images, empty = emoji[1], Run(tmp_path / "empty")
    with pytest.raises(MissingArtifact, match="no data yet; run notebook 01_classifier"):
        stages.images_of(empty)
    for call, maker in (
        (lambda: stages.class_similarity(empty, images, SimilarityConfig()), "01_classifier"),
        (lambda: drain(stages.optimize_centers(empty, images, CENTERS)), "02_class_similarity"),
        (lambda: drain(stages.train_hasher(empty, images, HASHER)), "03_hash_centers"),
        (lambda: stages.evaluate(empty, images), "04_hashing_network"),
    ):
        with pytest.raises(MissingArtifact, match=f"does not exist yet; run notebook {maker}"):
            call()


def test_a_new_classifier_makes_the_old_similarity_foreign(emoji, copy_of):
    images = emoji[1]
    drain(stages.train_classifier(copy_of, images, CLASSIFIER.with_(seed=1)))
    with pytest.raises(ForeignArtifact, match="made from an earlier statistics, which has changed since"):
        drain(stages.optimize_centers(copy_of, images, CENTERS))
    stages.class_similarity(copy_of, images, SimilarityConfig())
    drain(stages.optimize_centers(copy_of, images, CENTERS))
    with pytest.raises(ForeignArtifact, match=r"hasher\.safetensors was made from an earlier .*run notebook 04"):
        stages.load_codes(copy_of, images)


def test_other_images_are_foreign(emoji, copy_of):
    other = stages.start(copy_of, tiny(seed=1))
    with pytest.raises(ForeignArtifact, match="made from other data"):
        stages.class_similarity(copy_of, other, SimilarityConfig())
    with pytest.raises(ForeignArtifact, match="made from other data"):
        stages.load_centers(copy_of, other)


def test_an_interrupted_optimization_leaves_the_best_centers_so_far(emoji, copy_of):
    _, images, _ = emoji
    other = CENTERS.with_(seed=5)
    steps = stages.optimize_centers(copy_of, images, other)
    seen = [next(steps) for _ in range(30)]
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt)
    artifact, history = stages.load_centers(copy_of, images)
    assert np.array_equal(artifact["codes"], seen[-1].best_codes) and len(history) == 30
    assert artifact.meta["parameters"]["stopped_after"] == 29
    assert hamming.minimum_distance(artifact["codes"]) >= seen[-1].required_distance
    steps = stages.optimize_centers(copy_of, images, other)
    next(steps)
    steps.close()  # what a `break` does
    assert stages.load_centers(copy_of, images)[0].meta["parameters"]["stopped_after"] == 0
    finished = drain(stages.optimize_centers(copy_of, images, other))  # nothing is taken for finished that is not
    assert finished[-1].stage == "done" and len(finished) > 30
    assert "stopped_after" not in stages.load_centers(copy_of, images)[0].meta["parameters"]


def test_centers_that_are_none_are_refused(emoji, copy_of):
    artifact, images = copy_of.load("centers"), emoji[1]

    def write(codes):
        copy_of.save(
            "centers", {"codes": codes}, parameters=artifact.meta["parameters"], fingerprint=images.fingerprint,
            inputs=artifact.meta["inputs"], extra=artifact.meta["extra"],
        )  # fmt: skip

    codes = artifact["codes"].copy()
    codes[0, 0] = 0
    write(codes)
    with pytest.raises(RunError, match=r"do not hold ±1 codes only, .*; run notebook 03_hash_centers again"):
        stages.load_centers(copy_of, images)
    write(np.repeat(artifact["codes"][:1], 100, axis=0))
    with pytest.raises(RunError, match="closer than they claim: 0 bits, not 4; run notebook 03_hash_centers again"):
        stages.load_centers(copy_of, images)


# ------------------------------------------------------------------------------------------ choices


@pytest.mark.parametrize("source", ["classifier", "features", "names", "hierarchy"])
def test_sources_of_similarity(emoji, copy_of, source):
    S = stages.class_similarity(copy_of, emoji[1], SimilarityConfig(source=source))
    assert S.shape == (100, 100) and np.isfinite(S).all() and np.allclose(S, S.T) and np.allclose(np.diag(S), 1)
    np.testing.assert_array_equal(copy_of.load("similarity", source=source)["S"], S)


def test_a_source_that_the_data_lacks_is_told(emoji, copy_of):
    with pytest.raises(RunError, match=r"'emoji' has no exact class similarity \(shapes has\); choose 'classifier'"):
        stages.class_similarity(copy_of, emoji[1], SimilarityConfig(source="exact"))


def test_permuted_centers_have_the_same_distances_and_other_owners(emoji, copy_of):
    images = emoji[1]
    drain(stages.optimize_centers(copy_of, images, CENTERS.with_(kind="permuted")))
    semantic, permuted = (stages.load_centers(copy_of, images, kind)[0]["codes"] for kind in ("semantic", "permuted"))
    np.testing.assert_array_equal(hamming.pair_histogram(semantic), hamming.pair_histogram(permuted))
    assert sorted(map(tuple, semantic)) == sorted(map(tuple, permuted)) and (semantic != permuted).any()
    with pytest.raises(ForeignArtifact, match="made with bits=16, not 32"):
        drain(stages.optimize_centers(copy_of, images, CENTERS.with_(kind="permuted", bits=32)))


@pytest.mark.parametrize("kind", ["distance", "csq"])
def test_other_controls(emoji, copy_of, kind):
    images = emoji[1]
    assert drain(stages.optimize_centers(copy_of, images, CENTERS.with_(kind=kind))) == []
    codes = stages.load_centers(copy_of, images, kind)[0]["codes"]
    assert codes.shape == (100, 16)
    if kind == "distance":
        assert hamming.minimum_distance(codes) >= stages.load_centers(copy_of, images)[0].meta["extra"]["min_distance"]
    else:
        assert (codes.sum(1) == 0).all()


@pytest.mark.parametrize(("method", "init"), [("csq", "classifier"), ("shc", "scratch")])
def test_other_methods_and_starts_make_other_hashers(emoji, copy_of, method, init):
    images, before = emoji[1], copy_of.load("hasher")
    drain(stages.train_hasher(copy_of, images, HASHER.with_(method=method, init=init)))
    after = copy_of.load("hasher", method=method, init=init)
    assert after.key != before.key and any((after[name] != before[name]).any() for name in before.arrays)
    u = stages.predict(stages.load_hasher(copy_of, images), images.split("query")[0])
    np.testing.assert_array_equal(stages.codes_from(u).numpy(), stages.load_codes(copy_of, images)["query"])
    assert 0 < stages.evaluate(copy_of, images, queries="query_seen")["mAP@ALL"] < 1


def test_classes_that_were_never_trained_are_retrieved(tmp_path):
    run = Run(tmp_path / "unseen")
    hasher = HASHER.with_(epochs=1)
    found = stages.run_all(run, tiny(protocol="unseen-classes"), CLASSIFIER, CENTERS, hasher, kinds=("semantic",))
    images = stages.images_of(run)
    trained, asked = set(images.train_classes.tolist()), set(images.split("query")[1].tolist())
    assert len(trained) == 80 and len(asked) == 20 and not trained & asked
    assert run.load("similarity")["S"].shape == (80, 80) and run.load("centers")["codes"].shape == (80, 16)
    assert len(stages.trained_names(images)) == 80 and stages.trained_groups(images)[0].shape == (80,)
    assert 1 / 20 * 0.8 < found["semantic"] < 1  # a random order of 20 classes gives about 1/20
    assert (stages.positions(images, images.split("train")[1]) >= 0).all()
    assert (stages.positions(images, images.split("query")[1]) == -1).all()
    assert "query" not in stages.accuracies(run, images)


def test_shapes_know_their_exact_similarity(tmp_path):
    run = Run(tmp_path / "shapes")
    images = stages.start(run, tiny("shapes"))
    drain(stages.train_classifier(run, images, CLASSIFIER.with_(epochs=1)))
    S = stages.class_similarity(run, images, SimilarityConfig(source="exact"))
    np.testing.assert_allclose(S, similarity_module.normalize_similarity(images.class_similarity))
    assert set(stages.accuracies(run, images)) == {"val", "query"}
