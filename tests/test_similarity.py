import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from shc import similarity
from shc.hierarchy import Hierarchy
from shc.similarity import (
    blend,
    class_profiles,
    class_similarity,
    embedding_similarity,
    feature_similarity,
    hierarchy_similarity,
    normalize_similarity,
    off_diagonal_mean_square,
    same_group_auc,
    spearman_upper,
)

TREE = Hierarchy((("pets",), ("pets",), ("cars",), ("cars",)))


def noisy_logits(seed, classes=6, images=60):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    return rng.normal(size=(images, classes)) + 2 * np.eye(classes)[labels], labels


def is_similarity(matrix):
    return np.array_equal(matrix, matrix.T) and (np.diag(matrix) == 1).all() and np.abs(matrix).max() <= 1


def test_examples():
    assert doctest.testmod(similarity).failed == 0


# Odds instead of logits: the softmax of what is left is then a plain division. Classes 0, 1, 2; four images.
ODDS = np.array(
    [
        [8, 3, 1],  # of class 0, predicted 0
        [2, 6, 2],  # of class 0, predicted 1: the masks differ
        [1, 9, 4],  # of class 1, predicted 1
        [1, 3, 7],  # of class 2, predicted 2
    ]
)
LABELS = np.array([0, 0, 1, 2])


def test_three_classes_by_hand_with_the_prediction_masked():
    # image 0: [-, 3, 1]/4; image 1: [2, -, 2]/4; image 2: [1, -, 4]/5; image 3: [1, 3, -]/4
    profiles = np.array([[0.25, 0.375, 0.375], [0.2, 0, 0.8], [0.25, 0.75, 0]])
    np.testing.assert_allclose(class_profiles(np.log(ODDS), LABELS), profiles, atol=1e-15)
    # Off the diagonal: row 0 is flat, 0; row 1 (.2, .8) about .5 is -1, 1; row 2 (.25, .75) about .5 is -1, 1.
    expected = [[1, -0.5, -0.5], [-0.5, 1, 1], [-0.5, 1, 1]]
    np.testing.assert_allclose(class_similarity(np.log(ODDS), LABELS), expected, atol=1e-12)


def test_three_classes_by_hand_with_the_label_masked():
    # image 0: [-, 3, 1]/4; image 1: [-, 6, 2]/8; so row 0 is (.75, .25) about .5: 1, -1. The other rows are as before.
    profiles = np.array([[0, 0.75, 0.25], [0.2, 0, 0.8], [0.25, 0.75, 0]])
    np.testing.assert_allclose(class_profiles(np.log(ODDS), LABELS, "true"), profiles, atol=1e-15)
    expected = [[1, 0, -1], [0, 1, 1], [-1, 1, 1]]
    np.testing.assert_allclose(class_similarity(np.log(ODDS), LABELS, mask="true"), expected, atol=1e-12)


def test_temperature_divides_the_logits():
    logits, labels = noisy_logits(0)
    np.testing.assert_allclose(
        class_similarity(logits, labels, temperature=2.5), class_similarity(logits / 2.5, labels)
    )
    np.testing.assert_allclose(
        class_profiles(np.log(ODDS), LABELS, temperature=0.5), class_profiles(np.log(ODDS**2), LABELS)
    )
    sharp, soft = (class_profiles(logits, labels, temperature=t).max() for t in (0.1, 3.0))
    assert sharp > soft


def obvious(logits, labels, mask):
    """Image by image and entry by entry."""
    classes = logits.shape[1]
    profiles = np.zeros((classes, classes))
    for c in range(classes):
        mine = [row for row, label in zip(logits, labels, strict=True) if label == c]
        for row in mine:
            masked = int(np.argmax(row)) if mask == "predicted" else c
            weights = [0.0 if j == masked else math.exp(row[j]) for j in range(classes)]
            profiles[c] += np.array(weights) / sum(weights) / len(mine)
    out = np.eye(classes)
    for i in range(classes):
        for j in set(range(classes)) - {i}:
            sides = []
            for row, column in ((i, j), (j, i)):
                others = [profiles[row, m] for m in range(classes) if m != row]
                mean = sum(others) / len(others)
                sides.append((profiles[row, column] - mean) / max(abs(max(others) - mean), abs(min(others) - mean)))
            out[i, j] = sum(sides) / 2
    return out


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(3, 8), st.sampled_from(similarity.MASKS))
def test_class_similarity_against_the_obvious(seed, classes, mask):
    logits, labels = noisy_logits(seed, classes)
    S = class_similarity(logits, labels, mask)
    assert is_similarity(S) and S.dtype == np.float64
    np.testing.assert_allclose(S, obvious(logits, labels, mask), atol=1e-9)
    order = np.random.default_rng(seed).permutation(len(labels))
    np.testing.assert_allclose(class_similarity(logits[order], labels[order], mask), S, atol=1e-9)
    renamed = np.random.default_rng(seed).permutation(classes)  # class renamed[c] is now called c
    again = class_similarity(logits[:, renamed], np.argsort(renamed)[labels], mask)
    np.testing.assert_allclose(again, S[np.ix_(renamed, renamed)], atol=1e-9)
    np.testing.assert_allclose(class_similarity(logits + 700, labels, mask), S, atol=1e-9)  # no overflow


def test_blocks_of_images_change_nothing(monkeypatch):
    logits, labels = noisy_logits(1)
    whole = class_profiles(logits, labels)
    monkeypatch.setattr(similarity, "BLOCK", 7)
    np.testing.assert_allclose(class_profiles(logits, labels), whole, atol=1e-15)
    np.testing.assert_allclose(whole.sum(1), 1)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_normalization(seed, classes):
    raw = np.random.default_rng(seed).normal(size=(classes, classes)) + 5
    S = normalize_similarity(raw)
    assert is_similarity(S)
    assert S.sum() - classes == pytest.approx(0, abs=1e-9)  # every row has mean 0 outside the diagonal
    np.testing.assert_allclose(normalize_similarity(3 * raw + 11), S, atol=1e-9)
    rediagonaled = raw.copy()
    np.fill_diagonal(rediagonaled, 1e6)
    np.testing.assert_allclose(normalize_similarity(rediagonaled), S, atol=1e-9)
    assert (normalize_similarity(np.full((classes, classes), 0.1)) == np.eye(classes)).all()  # equal: no relation


def test_normalization_with_the_diagonal_is_the_formula_over_whole_rows():
    raw = np.random.default_rng(9).random((6, 6))
    np.fill_diagonal(raw, 0)  # as the masked entry of the paper
    mean = raw.mean(1, keepdims=True)
    largest = np.maximum(raw.max(1, keepdims=True) - mean, mean - raw.min(1, keepdims=True))
    rows = (raw - mean) / largest
    expected = (rows + rows.T) / 2
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(normalize_similarity(raw, with_diagonal=True), expected, atol=1e-12)
    by_image = class_similarity(np.log(ODDS), LABELS, "true", with_diagonal=True)
    np.testing.assert_allclose(
        by_image, normalize_similarity(class_profiles(np.log(ODDS), LABELS, "true"), with_diagonal=True)
    )


def test_planted_groups_are_found():
    rng = np.random.default_rng(2)
    groups = np.arange(20) // 5
    means = rng.normal(size=(4, 16))[groups] + 0.7 * rng.normal(size=(20, 16))
    labels = np.repeat(np.arange(20), 30)
    features = means[labels] + 0.5 * rng.normal(size=(600, 16))
    truth = embedding_similarity(means)
    for S in (class_similarity(features @ means.T / 4, labels), feature_similarity(features, labels)):
        assert same_group_auc(S, groups) > 0.9 and spearman_upper(S, truth) > 0.7
        assert 0 < off_diagonal_mean_square(S) < 1


def test_hierarchy_similarity_ranks_as_the_tree():
    S = hierarchy_similarity(TREE)
    # Each row has (.5, 0, 0) beside the diagonal: mean 1/6, so the sister gets 1 and strangers -(1/6)/(1/3).
    np.testing.assert_allclose(S, [[1, 1, -0.5, -0.5], [1, 1, -0.5, -0.5], [-0.5, -0.5, 1, 1], [-0.5, -0.5, 1, 1]])
    assert same_group_auc(S, TREE.group_ids(1)) == 1.0


def test_embeddings_are_compared_by_direction():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(6, 4)) + 3  # all cosines positive, as those of texts
    S = embedding_similarity(vectors)
    np.testing.assert_allclose(embedding_similarity(vectors * rng.uniform(1, 9, (6, 1))), S, atol=1e-9)
    assert is_similarity(S) and S.min() < 0
    np.testing.assert_allclose(
        feature_similarity(np.repeat(vectors, 3, axis=0), np.repeat(np.arange(6), 3)), S, atol=1e-9
    )


def test_blend():
    first, second = (normalize_similarity(np.random.default_rng(seed).normal(size=(5, 5))) for seed in (4, 5))
    mixed = blend([first, second], [2, 6])
    np.testing.assert_allclose(mixed, 0.25 * first + 0.75 * second)
    assert (np.diag(mixed) == 1).all()
    np.testing.assert_array_equal(blend([first, second], [1, 0]), first)


def test_torch_in_torch_out():
    logits, labels = noisy_logits(6)
    tensors = torch.from_numpy(logits).float().requires_grad_(), torch.from_numpy(labels)
    S = class_similarity(*tensors)
    assert isinstance(S, torch.Tensor) and S.dtype == torch.float64
    np.testing.assert_allclose(S.numpy(), class_similarity(logits, labels), atol=1e-5)
    others = (
        normalize_similarity(tensors[0][:6]),
        embedding_similarity(tensors[0]),
        feature_similarity(*tensors),
        blend([S, S], [1, 1]),
    )
    assert all(isinstance(other, torch.Tensor) for other in others)
    assert spearman_upper(S, S) == pytest.approx(1) and isinstance(off_diagonal_mean_square(S), float)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_rank_agreement_against_the_obvious(seed):
    rng = np.random.default_rng(seed)
    S, T = (np.round(normalize_similarity(rng.normal(size=(7, 7))), 1) for _ in range(2))  # rounded: with ties
    upper = np.triu_indices(7, 1)
    assert spearman_upper(S, T) == pytest.approx(spearmanr(S[upper], T[upper])[0])
    assert off_diagonal_mean_square(S) == pytest.approx(np.mean(S[~np.eye(7, dtype=bool)] ** 2))
    groups = np.array([0, 0, 0, 1, 1, 2, 2])
    pairs = [(S[i, j], groups[i] == groups[j]) for i, j in zip(*upper, strict=True)]
    wins = [(a > b) + (a == b) / 2 for a, same in pairs if same for b, other in pairs if not other]
    assert same_group_auc(S, groups) == pytest.approx(sum(wins) / len(wins))


def test_rank_agreement_with_no_ranking_is_nan():
    S = normalize_similarity(np.random.default_rng(7).normal(size=(4, 4)))
    assert math.isnan(spearman_upper(S, np.eye(4)))
    assert same_group_auc(np.eye(4), [0, 0, 1, 1]) == 0.5


LOGITS = np.log(ODDS)
NAN = np.where(ODDS == 9, np.nan, LOGITS)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: class_similarity(LOGITS, LABELS, mask="label"), "'label'.*predicted, true"),
        (lambda: class_similarity(LOGITS, LABELS, temperature=0), "temperature=0 must be.*above 0"),
        (lambda: class_similarity(LOGITS, LABELS, temperature=math.nan), "temperature=nan"),
        (lambda: class_similarity(NAN, LABELS), "logits hold nan for image 2, class 1.*diverge"),
        (lambda: class_similarity(np.where(ODDS == 8, np.inf, LOGITS), LABELS), "logits hold inf for image 0, class 0"),
        (lambda: class_similarity(LOGITS, [0, 0, 1, 3]), "labels hold class 3; expected 0 to 2"),
        (lambda: class_similarity(LOGITS, [0, 0, 1, -1]), "labels hold class -1; expected 0 to 2"),
        (lambda: class_similarity(LOGITS, [0, 0, 1, 1]), "class 2 has no image .1 of 3"),
        (lambda: class_similarity(LOGITS, [0, 0, 1]), r"labels have shape \[3\] for 4 rows of logits"),
        (lambda: class_similarity(LOGITS, [0, 0, 1, 1.5]), "labels have dtype float64"),
        (lambda: class_similarity(LOGITS[0], LABELS), r"logits have shape \[3\]"),
        (lambda: class_similarity(LOGITS[:0], LABELS[:0]), r"labels have shape \[0\] for 0 rows"),
        (lambda: normalize_similarity(LOGITS), r"raw has shape \[4, 3\].*square"),
        (lambda: normalize_similarity(NAN[1:]), r"raw holds nan at \[1, 1\]"),
        (lambda: embedding_similarity(np.eye(3)[[0, 1]] * [[1], [0]]), "class 1 is 0 everywhere"),
        (lambda: feature_similarity(LOGITS, [0, 0, 2, 2]), "class 1 has no image"),
        (lambda: blend([np.eye(2), np.eye(3)], [1, 1]), r"shapes \[\[2, 2\], \[3, 3\]\].*same classes"),
        (lambda: blend([np.eye(2)], [1, 1]), r"weights \[1.0, 1.0\]"),
        (lambda: blend([np.eye(2)], [-1]), r"weights \[-1.0\] must be 0 or more"),
        (lambda: spearman_upper(np.eye(3), np.eye(4)), "3 class pairs and truth 6"),
        (lambda: off_diagonal_mean_square([[1.0]]), "has 1 class"),
        (lambda: same_group_auc(np.eye(3), [0, 1]), r"groups have shape \[2\].*3 classes"),
        (lambda: same_group_auc(np.eye(3), [0, 1, 2]), "0 pairs of one group and 3 of two"),
    ],
)
def test_errors_name_the_value(call, told):
    with pytest.raises(ValueError, match=told):
        call()
