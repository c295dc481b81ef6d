"""Stage 1: class similarity S, and other sources of the same matrix.

For every training image mask one logit and take the softmax of the rest; the average over the images of class m is
row m: what the classifier takes m for, once the plain answer is forbidden. Row-normalize, symmetrize, set the diagonal
to 1 (SHC, Chen et al. 2025, arXiv 2507.08404, in the paper's order; its published code symmetrizes first). Every other
source goes through the same `normalize_similarity`, because raw scores (text cosines are all positive) would lose by
construction. The diagonal is left out of the row statistics: it is overwritten by 1, and must not set the scale (a
weak classifier's wrong answers put weight there, and a cosine of 1 would always be the largest entry).

S is float64 [C, C], symmetric, unit diagonal, −1 to 1. NumPy or torch in, the same kind out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shc.hamming import as_numbers
from shc.hierarchy import Hierarchy

MASKS = ("predicted", "true")
BLOCK = 65_536  # images whose softmax is held in float64 at once


def class_similarity(
    logits: Any, labels: Any, mask: str = "predicted", temperature: float = 1.0, with_diagonal: bool = False
) -> Any:
    """S [C, C] from a classifier's logits [N, C] on the training images (no augmentation) and their labels.

    `class_profiles` (which explains `mask` and `temperature`, and raises ValueError) followed by
    `normalize_similarity` (which explains `with_diagonal`).

    >>> logits = np.array([[9.0, 3.0, 0.0], [3.0, 9.0, 0.0], [0.0, 1.0, 9.0]])
    >>> class_similarity(logits, [0, 1, 2])
    array([[ 1.,  1., -1.],
           [ 1.,  1.,  0.],
           [-1.,  0.,  1.]])
    """
    return normalize_similarity(class_profiles(logits, labels, mask, temperature), with_diagonal)


def class_profiles(logits: Any, labels: Any, mask: str = "predicted", temperature: float = 1.0) -> Any:
    """Mean masked softmax of each class's images: P [C, C], rows sum to 1; P[m, j] is how much m looks like j.

    Labels are class ids [N], or label sets [N, C] (`shc.set_similarity` says how P is read from those).
    `mask` says which logit of an image becomes −∞: the arg-max ("predicted", the paper) or that of its label ("true",
    the paper's published code; the diagonal is then 0). Logits are divided by `temperature`: sharper ones (< 1) flatten
    all relations but the strongest.

    Raises ValueError for an unknown mask, temperature ≤ 0, logits that are not finite, labels outside 0 … C − 1, and
    classes without an image.

    >>> class_profiles(np.log([[8.0, 3.0, 1.0], [1.0, 8.0, 1.0], [1.0, 0.5, 0.5]]), [0, 1, 2], mask="true")
    array([[0.        , 0.75      , 0.25      ],
           [0.5       , 0.        , 0.5       ],
           [0.66666667, 0.33333333, 0.        ]])
    """
    scores = _numbers(logits, "logits")
    if mask not in MASKS:
        raise ValueError(f"mask={mask!r} is not known; choose one of {', '.join(MASKS)}")
    if not (isinstance(temperature, int | float | np.number) and np.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"temperature={temperature!r} must be a finite number above 0; 1 leaves the logits as they are"
        )
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"logits have shape {list(scores.shape)}; expected [images, classes] with 2 classes or more")
    if np.ndim(labels) == 2:
        from shc.set_similarity import set_profiles

        return _like(logits, set_profiles(scores, labels, mask, temperature))
    classes = scores.shape[1]
    ids = _class_ids(labels, len(scores), classes, "logits")
    summed = np.zeros((classes, classes))
    for start in range(0, len(scores), BLOCK):
        rows, own = finite_rows(scores, start), ids[start : start + BLOCK]  # [B, C]
        masked = rows.argmax(1) if mask == "predicted" else own
        rows[np.arange(len(rows)), masked] = -np.inf
        rows = np.exp((rows - rows.max(1, keepdims=True)) / temperature)
        np.add.at(summed, own, rows / rows.sum(1, keepdims=True))
    return _like(logits, summed / np.bincount(ids, minlength=classes)[:, None])


def finite_rows(scores: np.ndarray, start: int) -> np.ndarray:
    """A block of logits as float64 [B, C], from row `start` on; ValueError naming the first that is not finite."""
    rows = scores[start : start + BLOCK].astype(np.float64)
    if not np.isfinite(rows).all():
        image, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"logits hold {rows[image, column]} for image {start + image}, class {column}; expected finite numbers "
            "(did the training diverge? lower its learning rate)"
        )
    return rows


def normalize_similarity(raw: Any, with_diagonal: bool = False) -> Any:
    """S [C, C] from any class-by-class scores, larger = more alike: the normalization that every source goes through.

    Over the entries of a row outside the diagonal, s ← (s − mean) / max(|max − mean|, |min − mean|): mean 0, largest
    size 1 (all 0 where the entries are equal). Then S ← (S + Sᵀ)/2 and the diagonal becomes 1. `with_diagonal=True`
    takes the statistics over the whole row, as the paper's formula reads; at 100 classes the two hardly differ.

    >>> normalize_similarity(np.array([[5.0, 3.0, 1.0], [3.0, 5.0, 1.0], [1.0, 1.0, 5.0]]))
    array([[ 1. ,  1. , -0.5],
           [ 1. ,  1. , -0.5],
           [-0.5, -0.5,  1. ]])
    """
    scores = _square(raw, "raw")
    counted = np.ones(scores.shape, dtype=bool) if with_diagonal else ~np.eye(len(scores), dtype=bool)
    mean = scores.sum(1, where=counted, keepdims=True) / np.maximum(counted.sum(1, keepdims=True), 1)
    centered = np.where(counted, scores - mean, 0.0)
    scale = np.abs(centered).max(1, keepdims=True)
    # A row of equal entries leaves only rounding behind, which must not be blown up to a relation.
    flat = scale <= 1e-12 * np.abs(np.where(counted, scores, 0.0)).max(1, keepdims=True)
    rows = np.where(flat, 0.0, centered / np.where(flat, 1.0, scale))
    similarity = (rows + rows.T) / 2
    np.fill_diagonal(similarity, 1.0)
    return _like(raw, similarity)


def hierarchy_similarity(hierarchy: Hierarchy) -> np.ndarray:
    """S [C, C] from a class tree: 1 − height(lowest common ancestor) / height(root), normalized. Barz & Denzler 2019.

    >>> hierarchy_similarity(Hierarchy((("birds",), ("birds",), ("fish",))))
    array([[ 1. ,  1. , -0.5],
           [ 1. ,  1. , -0.5],
           [-0.5, -0.5,  1. ]])
    """
    return normalize_similarity(hierarchy.similarity())


def embedding_similarity(embeddings: Any) -> Any:
    """S [C, C] from one embedding per class [C, E], for instance of its name: cosines, normalized.

    Raises ValueError for embeddings that are not finite or are 0.

    >>> embedding_similarity(np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])).round(2)
    array([[ 1.,  1., -1.],
           [ 1.,  1.,  0.],
           [-1.,  0.,  1.]])
    """
    vectors = _numbers(embeddings, "embeddings").astype(np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"embeddings {list(vectors.shape)} must be finite numbers [classes, dimensions]")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"the embedding of class {int(np.argmin(lengths))} is 0 everywhere and has no direction")
    vectors = vectors / lengths
    return normalize_similarity(_like(embeddings, vectors @ vectors.T))


def feature_similarity(features: Any, labels: Any) -> Any:
    """S [C, C] from features [N, F] of the training images and their labels [N]: cosines of class means, normalized.

    C is the largest label + 1; raises ValueError for a class without an image.

    >>> feature_similarity(np.array([[2.0, 0.0], [0.0, 1.0], [1.6, 1.2], [0.0, 3.0]]), [0, 2, 1, 2]).round(2)
    array([[ 1.,  1., -1.],
           [ 1.,  1.,  0.],
           [-1.,  0.,  1.]])
    """
    values = _numbers(features, "features").astype(np.float64)
    if values.ndim != 2:
        raise ValueError(f"features have shape {list(values.shape)}; expected [images, features]")
    ids = _class_ids(labels, len(values), None, "features")
    sums = np.zeros((ids.max() + 1, values.shape[1]))
    np.add.at(sums, ids, values)
    return embedding_similarity(_like(features, sums / np.bincount(ids)[:, None]))


def blend(similarities: Sequence[Any], weights: Sequence[float]) -> Any:
    """Weighted mean of several S [C, C], the weights scaled to sum to 1; the diagonal stays 1.

    >>> blend([np.eye(2), np.ones((2, 2))], weights=[3, 1])
    array([[1.  , 0.25],
           [0.25, 1.  ]])
    """
    parts = [_square(part, f"similarities[{i}]") for i, part in enumerate(similarities)]
    shares = np.asarray(weights, dtype=np.float64)
    if not parts or shares.shape != (len(parts),) or len({part.shape for part in parts}) > 1:
        raise ValueError(
            f"{len(parts)} similarities of shapes {[list(part.shape) for part in parts]} and weights {shares.tolist()} "
            "do not fit; give one weight to each of several [C, C] matrices of the same classes"
        )
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise ValueError(f"weights {shares.tolist()} must be 0 or more, and at least one above 0")
    return _like(similarities[0], np.tensordot(shares / shares.sum(), parts, axes=1))


def off_diagonal_mean_square(similarity: Any) -> float:
    """Mean of S² outside the diagonal: how much relation S holds at all (0 for the identity; sharp logits lower it).

    >>> off_diagonal_mean_square([[1.0, 0.5], [0.5, 1.0]])
    0.25
    """
    return float(np.mean(np.square(_upper(similarity, "similarity"))))


def spearman_upper(similarity: Any, truth: Any) -> float:
    """Spearman rank correlation, −1 to 1, between the class pairs i < j of two matrices [C, C].

    NaN where one of the two ranks nothing, all its pairs being equal.

    >>> S = np.array([[1, 0.3, 0.1], [0.3, 1, 0.2], [0.1, 0.2, 1]])
    >>> round(spearman_upper(S, S**2), 6)
    1.0
    """
    from scipy.stats import rankdata

    ranks = [rankdata(_upper(m, name)) for m, name in ((similarity, "similarity"), (truth, "truth"))]
    if len(ranks[0]) != len(ranks[1]):
        raise ValueError(
            f"similarity has {len(ranks[0])} class pairs and truth {len(ranks[1])}; compare one class list"
        )
    first, second = (r - r.mean() for r in ranks)
    norm = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / norm) if norm > 0 else float("nan")


def same_group_auc(similarity: Any, groups: Any) -> float:
    """Chance, 0 to 1, that S ranks a pair of classes of one group above a pair of two groups; ties count half.

    `groups` [C] holds the group (super-class) id of each class; 0.5 means S knows nothing of the groups.

    >>> same_group_auc([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]], groups=[0, 0, 1])
    1.0
    """
    from scipy.stats import rankdata

    values, ids = _upper(similarity, "similarity"), _numpy(groups)
    classes = len(_square(similarity, "similarity"))
    if ids.shape != (classes,):
        raise ValueError(
            f"groups have shape {list(ids.shape)}; expected one group id for each of the {classes} classes"
        )
    rows, columns = np.triu_indices(classes, 1)
    same = ids[rows] == ids[columns]
    alike, others = int(same.sum()), int((~same).sum())
    if not alike or not others:
        raise ValueError(
            f"groups give {alike} pairs of one group and {others} of two; the AUC needs some of both (a level of the "
            "hierarchy between the classes and the root)"
        )
    return float((rankdata(values)[same].sum() - alike * (alike + 1) / 2) / (alike * others))


def _upper(matrix: Any, name: str) -> np.ndarray:
    """The entries above the diagonal."""
    values = _square(matrix, name)
    if len(values) < 2:
        raise ValueError(f"{name} has {len(values)} class; two classes or more make a pair")
    return values[np.triu_indices(len(values), 1)]


def _square(matrix: Any, name: str) -> np.ndarray:
    """The matrix as float64 [C, C]."""
    values = _numbers(matrix, name).astype(np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not len(values):
        raise ValueError(f"{name} has shape {list(values.shape)}; expected a square matrix [classes, classes]")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"{name} holds {values[row, column]} at [{row}, {column}]; expected finite numbers")
    return values


def _class_ids(labels: Any, size: int, classes: int | None, beside: str) -> np.ndarray:
    """The labels as int64 [N]; ValueError unless each row of `beside` has a class id and each class a row."""
    ids = _numpy(labels)
    if ids.shape != (size,) or not size:
        raise ValueError(
            f"labels have shape {list(ids.shape)} for {size} rows of {beside}; give one class id per image"
        )
    if ids.dtype.kind not in "iu":
        raise ValueError(f"labels have dtype {ids.dtype}; expected integer class ids")
    ids = ids.astype(np.int64)
    known = ids.max() + 1 if classes is None else classes
    if ids.min() < 0 or ids.max() >= known:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"labels hold class {wrong}; expected 0 to {known - 1}, the columns of the {beside}")
    missing = np.flatnonzero(np.bincount(ids, minlength=known) == 0)
    if len(missing):
        raise ValueError(
            f"class {missing[0]} has no image ({len(missing)} of {known} classes have none); give images of every "
            "class, or number only the classes that were trained"
        )
    return ids


def _numbers(array: Any, name: str) -> np.ndarray:
    return as_numbers(_numpy(array), name)


def _numpy(array: Any) -> np.ndarray:
    from shc.histograms import to_numpy

    return to_numpy(array)


def _like(source: Any, values: np.ndarray) -> Any:
    """The values as a torch tensor on the source's device if the source is one."""
    if not hasattr(source, "detach"):
        return values
    import torch

    return torch.from_numpy(values).to(source.device)
