"""Images with one label or with several: what the steps and the notebooks need of either, in functions that serve both.

Labels are class ids int64 [N], or label sets bool [N, C] (no label is 0 of them). Two images are alike where they share
a label, so that a label set of one class behaves as its class id does. Functions of logits and features take torch
tensors; the others take NumPy or torch and return NumPy.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from shc.histograms import to_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from shc.datasets import ImageSet
    from shc.hierarchy import Hierarchy

LONGEST = 40  # characters of an image's class names; three of COCO's usually fit

# ---------------------------------------------------------------------------------------------- classifying


def classification_loss(logits: "Tensor", labels: "Tensor") -> "tuple[Tensor, dict[str, Tensor]]":
    """Cross-entropy of logits [N, C] for class positions int64 [N]; for label sets [N, C] the mean of C binary ones.

    Where several answers may be right at once, every class is a question of its own: no class need lose what another
    gains, as it must in a softmax, and a logit is the log-odds that the image shows its class.

    >>> import torch
    >>> [round(classification_loss(torch.zeros(1, 2), y)[0].item(), 4) for y in (torch.tensor([0]), torch.ones(1, 2))]
    [0.6931, 0.6931]
    """
    import torch.nn.functional as F

    if labels.ndim == 1:
        return F.cross_entropy(logits, labels), {}
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype)), {}


def score_name(labels: Any) -> str:
    """What `score` measures for these labels: "top-1" accuracy, or "class mAP" for label sets."""
    return "top-1" if np.ndim(labels) == 1 else "class mAP"


def score(logits: "Tensor", labels: "Tensor") -> float:
    """Top-1 accuracy of logits [N, C] for class positions int64 [N]; for label sets, mean average precision of classes.

    The latter ranks the images by the logit of one class after the other and averages the classes' average precisions;
    a class without an image is left out. It is the usual measure of a multi-label classifier, and none of retrieval.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [1.0, 3.0], [0.0, 1.0]])
    >>> score(logits, torch.tensor([0, 1, 1]))
    1.0
    >>> round(score(logits, torch.tensor([[True, False], [False, True], [True, True]])), 4)
    0.9167
    """
    import torch

    if labels.ndim == 1:
        return (logits.argmax(1) == labels).float().mean().item()
    asked = labels.any(0)
    order = logits[:, asked].argsort(dim=0, descending=True, stable=True)
    hits = labels[:, asked].gather(0, order).double()  # (N, C')
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    return ((precision * hits).sum(0) / hits.sum(0)).float().mean().item() if len(hits.T) else float("nan")


def class_means(features: "Tensor", labels: "Tensor", classes: int) -> "Tensor":
    """Mean features [C, D] of the images of every class, from features [N, D] and their labels.

    An image with several labels counts for each of them, so classes that stand together have means that are alike.

    >>> import torch
    >>> class_means(torch.tensor([[3.0], [9.0]]), torch.tensor([[True, False], [True, True]]), 2)
    tensor([[6.],
            [9.]])
    """
    import torch

    if labels.ndim == 1:
        return torch.stack([features[labels == c].mean(0) for c in range(classes)])
    return labels.float().T @ features / labels.sum(0)[:, None]


def confusion(logits: "Tensor", labels: "Tensor") -> np.ndarray:
    """Counts [C, C] of how often the row's class was taken for the column's, from logits [N, C] and class positions.

    Of an image with n labels the n largest logits are its answers; right ones count on the diagonal, and each missed
    label was taken, in equal parts, for the wrong answers (there are as many).

    >>> import torch
    >>> confusion(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[True, False, True]]))
    array([[1., 0., 0.],
           [0., 0., 0.],
           [0., 1., 0.]])
    """
    import torch

    from shc.set_similarity import likeliest

    classes = logits.shape[1]
    if labels.ndim == 1:
        counts = np.zeros((classes, classes), dtype=int)
        np.add.at(counts, (labels.numpy(), logits.argmax(1).numpy()), 1)
        return counts
    said = torch.from_numpy(likeliest(logits.numpy(), labels.sum(1).numpy()))
    wrong = (said & ~labels).double()
    missed = (labels & ~said).double()
    taken = missed.T @ (wrong / wrong.sum(1, keepdim=True).clamp_min(1))
    return (taken + (labels & said).sum(0).double().diag()).numpy()


def misread(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: whether the largest logit is not the image's class; of n labels, the n largest not its labels.

    >>> misread(np.array([[3.0, 2.0, 1.0]] * 2), np.array([[True, True, False], [True, False, True]]))
    array([False,  True])
    """
    from shc.set_similarity import likeliest

    if labels.ndim == 1:
        return logits.argmax(1) != labels
    return (likeliest(logits, labels.sum(1)) != labels).any(1)


# ---------------------------------------------------------------------------------------------- who has what


def holds(labels: Any, classes: Any) -> Any:
    """bool [N], of the labels' kind: whether each image has the class, one id for all or `classes` [N].

    >>> holds(np.array([[True, False], [True, True]]), 1), holds(np.array([4, 2]), np.array([4, 4]))
    (array([False,  True]), array([ True, False]))
    """
    if labels.ndim == 1:
        return labels == classes
    return labels[:, classes] if np.ndim(classes) == 0 else labels[np.arange(len(labels)), classes]


def known(labels: Any) -> Any:
    """bool [N], of the labels' kind: whether an image has a label, that is, a class id from 0 or a set not empty.

    >>> known(np.array([3, -1])), known(np.array([[False, True], [False, False]]))
    (array([ True, False]), array([ True, False]))
    """
    return labels >= 0 if labels.ndim == 1 else labels.any(1)


def present(labels: Any) -> np.ndarray:
    """The class ids that occur, int64, ascending.

    >>> present(np.array([4, 2, 4])), present(np.array([[False, True], [False, True]]))
    (array([2, 4]), array([1]))
    """
    labels = to_numpy(labels)
    return np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(0))


def first(labels: Any) -> np.ndarray:
    """int64 [N]: one class per image, the first of its labels, for a picture that has room for one; −1 for none.

    >>> first(np.array([[False, True, True], [False, False, False]]))
    array([ 1, -1])
    """
    labels = to_numpy(labels)
    return labels if labels.ndim == 1 else np.where(labels.any(1), labels.argmax(1), -1)


def names(labels: Any, class_names: Any, longest: int = LONGEST) -> np.ndarray:
    """text [...]: the class names of every image of labels [...] or label sets [..., C], joined and cut to `longest`.

    Label sets are told by their type, bool; a class id below 0 is "unknown", an empty set "no label".

    >>> names(np.array([[True, False, True]]), ["cat", "dog", "sofa"]), names(np.array([1, -1]), ["cat", "dog"])
    (array(['cat, sofa'], dtype='<U9'), array(['dog', 'unknown'], dtype='<U7'))
    """
    from shc.figures import shortened

    labels, texts = to_numpy(labels), np.asarray(class_names)
    if labels.dtype != bool:
        return np.where(labels < 0, "unknown", texts[labels])
    flat = labels.reshape(-1, labels.shape[-1])
    told = [shortened(", ".join(texts[row]), longest) if row.any() else "no label" for row in flat]
    return np.array(told).reshape(labels.shape[:-1])


# ---------------------------------------------------------------------------------------------- retrieval


def relation(query: Any, database: Any, groups: Any) -> np.ndarray:
    """int [Q, n]: 2 where a query and a database image share a class, 1 only a super-class, 0 neither.

    `query` [Q] or [Q, C], `database` [Q, n] or [Q, n, C] (each query's neighbors), `groups` int [C] the super-class of
    every class id.

    >>> relation(np.array([0]), np.array([[0, 1, 2]]), [5, 5, 6])
    array([[2, 1, 0]])
    >>> relation(np.array([[True, False, True]]), np.array([[[False, True, True], [False, True, False]]]), [5, 5, 6])
    array([[2, 1]])
    """
    query, database, groups = to_numpy(query), to_numpy(database), to_numpy(groups)
    if query.ndim == 1:
        return (query[:, None] == database) * 1 + (groups[query][:, None] == groups[database])
    related = (super_classes(query, groups)[:, None] & super_classes(database, groups)).any(-1)
    return np.where((query[:, None] & database).any(-1), 2, related * 1)


def super_classes(labels: Any, groups: Any) -> np.ndarray:
    """Super-class ids int64 [...] of class ids [...], or bool [..., G] of label sets [..., C].

    Label sets are told by their type, bool; `groups` int [C] is the super-class of every class id.

    >>> super_classes(np.array([2, 0]), [5, 5, 6]), super_classes(np.array([[True, False, True]]), [5, 5, 6])
    (array([6, 5]), array([[ True,  True]]))
    """
    labels, groups = to_numpy(labels), to_numpy(groups)
    return labels @ (groups[:, None] == np.unique(groups)) if labels.dtype == bool else groups[labels]


def neighbor_shares(
    query_codes: np.ndarray, database_codes: np.ndarray, query_labels: Any, database_labels: Any, groups: Any, k: int
) -> tuple[float, float]:
    """Of every query's k nearest: the share of its class, and the share of its super-class among the others.

    Exact over the order of ties, where a list of neighbors shows one order. With the size of the database as k: shares
    by chance. Labels and `groups` as for `relation`.

    >>> neighbor_shares(np.array([[1, 1]]), np.array([[1, 1], [1, 1], [-1, 1]]), [0], [0, 1, 2], [5, 5, 6], k=1)
    (0.5, 1.0)
    """
    from shc.histograms import level_histogram
    from shc.ranking import expected_precision

    def share(query: Any, database: Any) -> float:
        counts = level_histogram(query_codes, database_codes, query, database)  # (Q, L, K+1)
        return float(expected_precision(counts.sum(1), counts[:, 1:].sum(1), k).mean())

    same = share(query_labels, database_labels)
    either = share(super_classes(query_labels, groups), super_classes(database_labels, groups))
    return same, (either - same) / (1 - same) if same < 1 else 0.0


def center_distances(codes: np.ndarray, labels: Any, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bits from each code [N, K] to its target, and to the nearest center [C, K] of a class it has not: int [N] both.

    The target is the center of the image's class, or for several labels the bit-wise majority of their centers
    (`shc.targets`). `labels` are class positions; every image has one at least.

    >>> center_distances(np.array([[1, 1, -1]]), np.array([0]), np.array([[1, 1, 1], [-1, 1, -1]]))
    (array([1]), array([1]))
    """
    import torch

    from shc.hamming import distance
    from shc.targets import centers_of

    place = torch.as_tensor(labels)
    target = centers_of(place, torch.from_numpy(np.asarray(centers, dtype=np.float32))).numpy()
    own = torch.nn.functional.one_hot(place, len(centers)) if place.ndim == 1 else place
    others = np.where(own.bool().numpy(), centers.shape[1] + 1, distance(codes, centers))
    return (codes != target).sum(1), others.min(1)


def worst_per_class(values: np.ndarray, labels: Any, count: int) -> np.ndarray:
    """int64 [≤ count]: of every class the query with the lowest value, the worst of them first, each query once.

    >>> worst_per_class(np.array([0.5, 0.1, 0.2]), np.array([0, 0, 1]), 2)
    array([1, 2])
    """
    labels = to_numpy(labels)
    rows = [np.flatnonzero(holds(labels, c)) for c in present(labels)]
    worst = dict.fromkeys(int(of_class[values[of_class].argmin()]) for of_class in rows)
    return np.array(sorted(worst, key=lambda i: values[i])[:count])


def clusters(images: "ImageSet", split: str) -> np.ndarray:
    """int64 [n]: what belongs together in a bootstrap of a split's queries: renders of a drawing, else of a class.

    Images with several labels fall into no classes: each stands alone.
    """
    if "drawing" in images.groups:
        return images.groups["drawing"][images.splits[split]].numpy()
    labels = images.split(split)[1].numpy()
    return labels if labels.ndim == 1 else np.arange(len(labels))


def clustered_by(images: "ImageSet") -> str:
    """What `clusters` keeps together, in words: "drawings", "classes" or "images"."""
    return "drawings" if "drawing" in images.groups else "classes" if images.labels.ndim == 1 else "images"


def asked(images: "ImageSet") -> str:
    """What the queries are, in words that are true of this data set and its protocol."""
    query = images.split("query")[1]
    if query.ndim == 1 and not np.isin(query.numpy(), images.train_classes.numpy()).any():
        return "unseen classes"
    return "unseen drawings" if "drawing" in images.groups else "held-out images"


def graded_tree(images: "ImageSet") -> "Hierarchy | None":
    """The class tree to grade relevance by: the data set's own; None for label sets, graded by how many are shared."""
    return images.hierarchy if images.labels.ndim == 1 else None
