"""Splits of real data sets: nested ones stay nested when they are shrunk."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shc.datasets import Options, splits


def test_examples():
    assert doctest.testmod(splits).failed == 0


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1), st.booleans())
def test_shrunk_splits_keep_their_shares_and_their_relations(seed, scale, ranked):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 400)
    drawn = splits.draw_shares(labels, {"train": 0.4, "val": 0.1, "query": 0.1, "rest": 0.4}, seed)
    inside = [drawn["train"], drawn["val"]] if ranked else []
    whole = {name: drawn[name] for name in ("train", "val", "query")}
    whole["database"] = np.sort(np.concatenate([drawn["rest"], *inside]))
    small = splits.shrunk(whole, labels, scale, seed)
    for name, rows in small.items():
        assert np.isin(rows, whole[name]).all() and (np.diff(rows) > 0).all()
        for count, kept in zip(np.bincount(labels[whole[name]]), np.bincount(labels[rows]), strict=True):
            assert abs(kept - max(scale * count, 2)) <= 6
    assert not np.isin(small["query"], small["database"]).any()
    for name in ("train", "val"):
        assert np.isin(small[name], small["database"]).all() == ranked


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(ValueError, match="class 1 has 1 images; the 2 splits need at least 2"):
        splits.draw_shares(np.array([0, 0, 1]), {"train": 0.5, "query": 0.5}, 0)


def test_what_is_put_together_is_checked_and_a_class_may_train_nothing():
    options, splits_of = Options("coco", val=0), {"train": np.array([0, 1]), "query": np.array([2])}
    facts = dict(images=torch.zeros(3, 3, 16, 16), class_names=["a", "b", "c"], hierarchy=None, source="")
    images = splits.assembled(options, labels=np.array([2, 0, 1]), splits=splits_of, **facts)
    assert images.train_classes.tolist() == [0, 2] and images.class_names == ["a", "b", "c"]
    sets = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    assert splits.assembled(options, labels=sets, splits=splits_of, **facts).train_classes.tolist() == [0, 2]
    with pytest.raises(ValueError, match="coco: label 3 is outside of its 3 classes"):
        splits.assembled(options, labels=np.array([3, 0, 1]), splits=splits_of, **facts)
    with pytest.raises(ValueError, match="the split 'query' is empty"):
        splits.assembled(options, labels=np.array([2, 0, 1]), splits=splits_of | {"query": np.array([], int)}, **facts)
