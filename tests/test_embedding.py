"""Flat pictures of codes: classical MDS is exact where it can be, UMAP repeats, and both are judged fairly."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from shc import embedding, hamming


def codes_in_clusters(clusters=4, each=10, bits=32, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.where(rng.random((clusters, bits)) < 0.5, 1, -1)
    flips = np.where(rng.random((clusters * each, bits)) < 0.05, -1, 1)
    return (np.repeat(centers, each, axis=0) * flips).astype(np.int8), np.repeat(np.arange(clusters), each)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_classical_scaling_recovers_a_euclidean_configuration(dimensions):
    points = np.random.default_rng(0).normal(size=(20, dimensions))
    D = cdist(points, points)
    found, kept = embedding.classical_scaling(D, dimensions)
    assert np.allclose(cdist(found, found), D) and kept == pytest.approx(1)
    assert np.allclose(found.mean(0), 0)


def test_classical_scaling_of_codes_is_their_principal_components():
    codes, _ = codes_in_clusters()
    found, kept = embedding.classical_scaling(np.sqrt(hamming.distance(codes, codes)), 2)
    wide = codes / 2 - (codes / 2).mean(0)  # squared Euclidean distance of ±½ codes is the Hamming distance
    left, sizes, _ = np.linalg.svd(wide, full_matrices=False)
    assert np.allclose(np.abs(found), np.abs(left[:, :2] * sizes[:2]), atol=1e-8)
    assert kept == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    shown = (found[:, 0], found[:, 1])
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in shown)  # the sign is fixed


def test_classical_scaling_of_equal_points():
    points, kept = embedding.classical_scaling(np.zeros((4, 4)))
    assert np.allclose(points, 0) and kept == 0


def test_umap_repeats_and_keeps_clusters_together():
    codes, cluster = codes_in_clusters()
    D = hamming.distance(codes, codes)
    first, second = (embedding.umap_points(D, seed=3, neighbors=8) for _ in range(2))
    assert np.array_equal(first, second) and np.isfinite(first).all()
    nearest = np.argsort(cdist(first, first) + 1e9 * np.eye(len(D)), axis=1)[:, 0]
    assert (cluster[nearest] == cluster).mean() > 0.9
    kept, chance = embedding.kept_neighbors(D, first, count=5)
    assert kept > 2 * chance


@pytest.mark.parametrize("count", [3, 4, 5])  # a folder of two classes can have two centers and two queries
def test_umap_of_few_points_needs_no_other_options(count):
    line = np.arange(count)
    assert embedding.umap_points(np.abs(np.subtract.outer(line, line))).shape == (count, 2)


def test_kept_neighbors_is_one_for_the_truth_and_chance_for_shuffled_dots():
    points = np.random.default_rng(0).normal(size=(200, 2))
    D = cdist(points, points)
    assert embedding.kept_neighbors(D, points, 5) == (1.0, pytest.approx(5 / 199))
    shuffled, chance = embedding.kept_neighbors(D, points[::-1], 5)
    assert abs(shuffled - chance) < 0.05


def test_tied_neighbors_all_count():
    equal = 1 - np.eye(4)
    assert embedding.kept_neighbors(equal, np.arange(8.0).reshape(4, 2), count=1) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: embedding.classical_scaling(np.zeros((2, 3))), r"distances has shape \[2, 3\]; expected a square"),
        (lambda: embedding.classical_scaling(np.full((2, 2), np.nan)), "every entry must be finite"),
        (lambda: embedding.classical_scaling(np.zeros((1, 1))), "expected at least 2"),
        (lambda: embedding.classical_scaling(np.zeros((3, 3)), 4), "dimensions=4; expected 1 to 3"),
        (lambda: embedding.umap_points(np.zeros((2, 2))), "2 rows; expected at least 3"),
        (lambda: embedding.kept_neighbors(np.zeros((4, 4)), np.zeros((3, 2))), r"points have shape \[3, 2\]"),
        (lambda: embedding.kept_neighbors(np.zeros((4, 4)), np.zeros((4, 2)), 4), "count=4 neighbors; expected 1 to 3"),
    ],
)
def test_errors_say_what_to_do(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_a_missing_umap_is_told(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="UMAP is not installed; pip install 'semantic-hash-centers"):
        embedding.umap_points(np.zeros((6, 6)))
