"""Class similarity from vectors of the class names: the package's own, and a file of the user's."""

import os

import numpy as np
import pytest

from shc import datasets, stages
from shc.config import ConfigError, Data, SimilarityConfig
from shc.name_embeddings import name_embeddings
from shc.parameters import ParameterError, check_values
from shc.runs import Run, RunError
from shc.similarity import embedding_similarity

STATISTICS = {"logits": np.eye(2), "labels": np.arange(2), "feature_means": np.eye(2)}


@pytest.fixture(scope="module")
def shapes():
    return datasets.load("shapes", scale=0.02, size=16, protocol="unseen-classes")


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)


def saved(folder, rows, name="my.npy"):
    np.save(folder / name, rows)
    return str(folder / name)


def test_a_file_serves_data_sets_without_stored_vectors(shapes, vectors, tmp_path):
    assert (name_embeddings(shapes, saved(tmp_path, vectors)) == vectors).all()
    whole = np.eye(100, dtype=np.int64)
    assert (name_embeddings(shapes, saved(tmp_path, whole)) == whole).all()
    with pytest.raises(ValueError, match=r"for 'shapes', only for .*\.npy file of your own .*embeddings=.* hierarchy"):
        name_embeddings(shapes)


BROKEN = {
    "shape": (
        np.ones((99, 5)),
        r"have shape \[99, 5\]; expected numbers \[100, E\], a row for each of the classes .*, …",
    ),
    "flat": (np.ones(100), r"have shape \[100\]; expected"),
    "empty": (np.ones((100, 0)), r"have shape \[100, 0\]; expected"),
    "text": (np.full((100, 2), "a"), r"hold <U1; expected numbers"),
    "complex": (np.ones((100, 2), dtype=complex), r"hold complex128; expected numbers"),
    "nan": (np.where(np.arange(100)[:, None] == 7, np.nan, np.ones((100, 2))), r"not finite for '.*' \(row 7\)"),
    "zeros": (np.arange(100.0)[:, None] * np.ones(2), r"hold zeros for '.*' \(row 0\)"),
    "objects": (np.array([None] * 100), r"cannot be read as \.npy \(it holds Python objects, which are never read\)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_does_not_fit_is_told(shapes, tmp_path, kind):
    rows, told = BROKEN[kind]
    np.save(tmp_path / "my.npy", rows, allow_pickle=True)
    with pytest.raises(RunError, match=told):
        name_embeddings(shapes, str(tmp_path / "my.npy"))


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00", None])
def test_a_file_that_is_no_array_is_told(shapes, vectors, tmp_path, content):
    file = saved(tmp_path, vectors)
    with open(file, "rb") as stream:
        whole = stream.read()
    with open(file, "wb") as stream:
        stream.write(whole[:-9] if content is None else content)
    with pytest.raises(RunError, match=r"cannot be read as \.npy \(.+\); save with numpy\.save numbers \[100, E\]"):
        name_embeddings(shapes, file)


def test_the_similarity_takes_the_trained_classes_rows(shapes, vectors, tmp_path):
    run, classes = Run(tmp_path / "run"), shapes.train_classes.numpy()
    run.save("statistics", STATISTICS, parameters={}, fingerprint=shapes.fingerprint)
    config = SimilarityConfig(source="names", embeddings=saved(tmp_path, vectors))
    S = stages.class_similarity(run, shapes, config)
    np.testing.assert_allclose(S, embedding_similarity(vectors[classes]))
    assert run.parameters()["similarity"]["embeddings"] == str(tmp_path / "my.npy")
    assert SimilarityConfig(**run.parameters()["similarity"]) == config


def test_a_file_counts_by_its_content(vectors, tmp_path, monkeypatch):
    assert "embeddings" not in SimilarityConfig(source="names").identity()  # old artifacts stay what they are
    first = SimilarityConfig(source="names", embeddings=saved(tmp_path, vectors))
    copied = SimilarityConfig(source="names", embeddings=saved(tmp_path, vectors, "copy.npy"))
    assert first.identity() == copied.identity() and str(tmp_path) not in str(first.identity())
    other = SimilarityConfig(source="names", embeddings=saved(tmp_path, 2 * vectors, "other.npy"))
    assert first.identity() != other.identity()
    monkeypatch.chdir(tmp_path)
    assert SimilarityConfig(source="names", embeddings="my.npy") == first
    assert os.path.isabs(first.embeddings)


def test_a_file_that_would_not_be_read_is_refused(vectors, tmp_path):
    file = saved(tmp_path, vectors)
    with pytest.raises(ConfigError, match=r"would not be read: S comes from 'classifier'; set similarity=names"):
        SimilarityConfig(embeddings=file)
    with pytest.raises(ConfigError, match=r"embeddings='.*none\.npy' is not there; give a \.npy file with a row per"):
        SimilarityConfig(source="names", embeddings=str(tmp_path / "none.npy"))
    with pytest.raises(ParameterError, match=r"embeddings=.* would not be read"):
        check_values({"embeddings": file})
    check_values({"similarity": "names", "embeddings": file})


def test_a_data_set_without_any_vectors_is_told(tmp_path):
    run = Run(tmp_path)
    images = stages.start(run, Data("shapes", scale=0.02, size=16))
    run.save("statistics", STATISTICS, parameters={}, fingerprint=images.fingerprint)
    with pytest.raises(ValueError, match="take the similarity from the hierarchy or the classifier"):
        stages.class_similarity(run, images, SimilarityConfig(source="names"))
