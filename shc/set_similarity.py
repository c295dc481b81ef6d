"""Stage 1 for images with several labels: class profiles from label sets, as `shc.similarity` has them from class ids.

    P[i, j] = mean over the images with i and without j of  softmax_j(logits, the image's answers masked)

What the classifier takes an image of i for, where j is not there: co-prediction without co-occurrence. A mean over all
images of i would call classes alike that merely stand side by side, and frequent ones alike to everything. "Masked" are
an image's labels, or as many of its largest logits as it has labels, so that with one label each nothing is new:
one-hot label sets give the P of the class ids. The SHC paper's journal version reports COCO, but how its S is read
there is not known to us; this reading is ours.

What it cannot undo: a network expects a fork beside a knife even where there is none. On 5,000 pasted images of up to
three emoji of 24 classes, half of the neighbors drawn from a partner class of another super-class (one seed), S ranked
pairs of one super-class above others with AUC .68 (plain mean probabilities over all images of i: .64). S correlated
by .34 with co-occurrence (.48; Spearman), its row sums by −.01 with the frequencies of the classes (.96). Subtracting
the classes' log-odds from the logits takes the former to .25, but the latter to −.64: rare classes then are like all.
"""

from typing import Any

import numpy as np


def set_profiles(scores: np.ndarray, labels: Any, mask: str, temperature: float) -> np.ndarray:
    """P float64 [C, C] from logits [N, C] and label sets [N, C]; see above, and `shc.similarity.class_profiles`.

    Where every image of i has j too, nothing is known, and P[i, j] is the mean of what is known of i. The diagonal is
    the mean over all images of i. An image of all classes is left out. Rows do not sum to 1 where classes stand
    together. Raises ValueError for label sets that do not fit and for a class without an image.

    >>> logits = np.log([[8.0, 3.0, 1.0], [1.0, 8.0, 1.0], [4.0, 9.0, 1.0]])
    >>> both = np.array([[True, False, False], [False, True, False], [True, True, False]])
    >>> set_profiles(logits[[0, 1, 2, 1]], np.vstack([both, [[False, False, True]]]), "true", 1.0).round(3)
    array([[0.   , 0.75 , 0.625],
           [0.5  , 0.   , 0.75 ],
           [0.111, 0.889, 0.   ]])
    """
    from shc.similarity import BLOCK, finite_rows

    sets = check_sets(labels, *scores.shape)
    classes = scores.shape[1]
    summed, counted = np.zeros((classes, classes)), np.zeros((classes, classes))
    for start in range(0, len(scores), BLOCK):
        rows, own = finite_rows(scores, start), sets[start : start + BLOCK]  # (B, C)
        masked = own if mask == "true" else likeliest(rows, own.sum(1))
        some = ~own.all(1)  # an image of all classes leaves none to be taken for
        rows, own, masked = rows[some], own[some], masked[some]
        rows[masked] = -np.inf
        rows = np.exp((rows - rows.max(1, keepdims=True)) / temperature)
        rows /= rows.sum(1, keepdims=True)
        here, absent = own.T.astype(np.float64), (~own).astype(np.float64)
        summed += here @ (rows * absent) + np.diag((rows * own).sum(0))
        counted += here @ absent + np.diag(own.sum(0))
    known = counted > 0
    profiles = summed / np.maximum(counted, 1)
    others = known & ~np.eye(classes, dtype=bool)
    usual = (profiles * others).sum(1) / np.maximum(others.sum(1), 1)
    return np.where(known, profiles, usual[:, None])


def likeliest(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """bool [B, C]: the `counts` [B] largest entries of every row [B, C], the first of equal ones.

    >>> likeliest(np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0]]), np.array([2, 1]))
    array([[ True, False,  True],
           [False,  True, False]])
    """
    rank = np.argsort(np.argsort(-rows, axis=1, kind="stable"), axis=1)
    return rank < counts[:, None]


def check_sets(labels: Any, images: int, classes: int) -> np.ndarray:
    """The label sets as bool [N, C]; ValueError unless they fit the logits' shape and every class has an image."""
    from shc.histograms import to_numpy

    sets = to_numpy(labels)
    if sets.shape != (images, classes) or not images:
        raise ValueError(
            f"label sets have shape {list(sets.shape)} for logits [{images}, {classes}]; give one row per image and "
            "one column per class that was trained"
        )
    if not np.isin(sets, (0, 1)).all():
        raise ValueError(f"label sets hold {sets[~np.isin(sets, (0, 1))][0]}; expected only 0 and 1")
    sets = sets.astype(bool)
    missing = np.flatnonzero(~sets.any(0))
    if len(missing):
        raise ValueError(
            f"class {missing[0]} has no image ({len(missing)} of {classes} classes have none); give images of every "
            "class, or the columns of the classes that were trained"
        )
    return sets
