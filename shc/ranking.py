"""Tie-aware ranking measures, computed from how many items stand at each Hamming distance.

K-bit codes have only K + 1 distances, so a Hamming ranking is a row of tie groups, nearest first. Every measure
here is the exact expectation over a uniformly random order inside each group, in closed form (McSherry & Najork
2008, "Computing information retrieval performance measures efficiently in the presence of tied scores"; He et al.
2018, "Hashing as tie-aware learning to rank"): no sort, no sampling. Counts come from
`shc.histograms.level_histogram`.

Arrays are [..., D]: any batch shape, then one entry per distance (D = K + 1). Histograms by relevance level are
[..., L, D]. One ranking gives a float, a batch gives float64 [...].
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from shc.tie_groups import (
    ap_at_cut,
    discounted,
    precisions_first,
    precisions_last,
    precisions_random,
    ratio,
    summed_to_each_rank,
    top_mass,
    weighted_precisions,
)

CONVENTIONS = ("tie-aware", "topk")


def expected_ap(total: ArrayLike, relevant: ArrayLike, k: int | None = None, convention: str = "tie-aware") -> Any:
    """Expected average precision at k (None: all) of rankings with tie groups; 0 to 1, 0 where nothing is relevant.

    `total` and `relevant` [..., D] count the items, and the relevant items, at each distance. "tie-aware" divides the
    sum of precisions by min(k, R), R = all relevant items; "topk" divides by the hits inside the top k, as much of the
    hashing literature does (its expectation needs the hypergeometric law of the hits in the group that k cuts).
    A k above the size of the ranking is cut to it.

    >>> expected_ap([2, 3, 1], [1, 1, 1], k=2)
    0.375
    >>> expected_ap([2, 3, 1], [1, 1, 1], k=2, convention="topk")
    0.75
    """
    check_convention(convention)
    total, relevant, batch = _counts(total, relevant)
    cut = check_k(k, total)
    if convention == "topk" and k is not None:
        mean = lambda values, chance: values @ chance
        return _share(ap_at_cut(total, relevant, cut, precisions_random, mean, by_hits=True), batch)
    summed = weighted_precisions(total, relevant, relevant, cut)
    return _share(ratio(summed, np.minimum(cut, relevant.sum(-1))), batch)


def ap_bounds(
    total: ArrayLike, relevant: ArrayLike, k: int | None = None, convention: str = "tie-aware"
) -> tuple[Any, Any]:
    """The lowest and the highest AP at k that any order inside the tie groups can give, each float or [...].

    With "topk" the best order need not put relevant items first: one more late hit lowers the average over the hits.

    >>> [round(value, 3) for value in ap_bounds([2, 3, 1], [1, 1, 1])]
    [0.467, 0.722]
    """
    check_convention(convention)
    total, relevant, batch = _counts(total, relevant)
    cut, by_hits = check_k(k, total), convention == "topk"
    worst = ap_at_cut(total, relevant, cut, precisions_last, lambda v, _: v.min(), by_hits)
    best = ap_at_cut(total, relevant, cut, precisions_first, lambda v, _: v.max(), by_hits)
    return _share(worst, batch), _share(best, batch)


def expected_weighted_ap(histogram: ArrayLike, weights: ArrayLike | None = None) -> Any:
    """Expected weighted AP over the whole ranking: mean over relevant items of the mean weight up to their rank.

    `histogram` [..., L, D]; `weights` [L], default 0 … L−1 (the number of shared labels); relevant = weight above 0.
    With weights (0, 1) this is AP. Zhao et al. 2015, "Deep semantic ranking based hashing", their weighted mAP.

    >>> expected_weighted_ap([[0, 1], [0, 0], [1, 0]])
    2.0
    """
    histogram, weights, batch = _levels(histogram, weights, lambda levels: levels)
    relevant = histogram[:, weights > 0].sum(1)
    mass = np.einsum("bld,l->bd", histogram, weights)
    total = histogram.sum(1)
    summed = weighted_precisions(total, relevant, mass, check_k(None, total))
    return _shaped(ratio(summed, relevant.sum(-1)), batch)


def expected_precision(total: ArrayLike, relevant: ArrayLike, k: int) -> Any:
    """Expected share of relevant items among the k nearest, 0 to 1; a k above the ranking's size is cut to it.

    >>> expected_precision([2, 2], [1, 2], k=3)
    0.6666666666666666
    """
    total, relevant, batch = _counts(total, relevant)
    size = np.minimum(check_k(k, total), total.sum(-1))
    return _shaped(ratio(top_mass(total, relevant, k), size), batch)


def expected_recall(total: ArrayLike, relevant: ArrayLike, k: int) -> Any:
    """Expected share of all relevant items that is among the k nearest, 0 to 1; 0 where nothing is relevant.

    >>> expected_recall([2, 2], [1, 1], k=1)
    0.25
    """
    total, relevant, batch = _counts(total, relevant)
    return _shaped(ratio(top_mass(total, relevant, check_k(k, total)), relevant.sum(-1)), batch)


def precision_within(total: ArrayLike, relevant: ArrayLike, radius: int) -> Any:
    """Share of relevant items among those at distance ≤ radius (bits), 0 to 1; 0 for an empty ball. Ties play no role.

    >>> precision_within([[0, 4], [1, 3]], [[0, 1], [1, 0]], radius=0)
    array([0., 1.])
    """
    total, relevant, batch = _counts(total, relevant)
    ball = slice(check_radius(radius) + 1)
    return _shaped(ratio(relevant[:, ball].sum(-1), total[:, ball].sum(-1)), batch)


def expected_ndcg(histogram: ArrayLike, k: int, gains: ArrayLike | None = None) -> Any:
    """Expected nDCG at k over relevance levels, 0 to 1: Σ gain / log2(1 + rank), divided by its best possible value.

    `histogram` [..., L, D]; `gains` [L], default 2^level − 1. 0 where every gain is 0. Järvelin & Kekäläinen 2002.

    >>> expected_ndcg([[0, 1], [1, 0]], k=2)
    1.0
    """
    histogram, gains, batch = _levels(histogram, gains, lambda levels: np.exp2(levels) - 1)
    total = histogram.sum(1)
    k = check_k(k, total)
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])  # up to each rank
    dcg = discounted(total, np.einsum("bld,l->bd", histogram, gains), discounts)
    order = np.argsort(-gains)
    sizes = histogram.sum(2)[:, order]
    return _share(ratio(dcg, discounted(sizes, sizes * gains[order], discounts)), batch)


def expected_hp(histogram: ArrayLike, k: int, similarity: ArrayLike | None = None) -> Any:
    """Expected hierarchical precision HP@k, 0 to 1: similarity summed over the top k / the best possible such sum.

    `histogram` [..., L, D]; `similarity` [L] to the query, default level / (L − 1), which is 1 − height(lowest common
    ancestor) / height(root) for levels that count shared ancestors. Deng, Berg & Fei-Fei 2011, "Hierarchical semantic
    indexing for large scale image retrieval".

    >>> expected_hp([[0, 1], [1, 0], [0, 1]], k=1)
    0.5
    """
    histogram, similarity, batch = _levels(histogram, similarity, _level_similarity)
    k = check_k(k, histogram.sum(1))
    return _share(ratio(*(top_mass(sizes, mass, k) for sizes, mass in _found_and_best(histogram, similarity))), batch)


def expected_ahp(histogram: ArrayLike, k: int, similarity: ArrayLike | None = None) -> Any:
    """Expected AHP@k: area under HP@1 … HP@k by the trapezoid rule, divided by k; arguments as in `expected_hp`.

    (Σ_{i≤k} HP@i − (HP@1 + HP@k)/2) / k, so a perfect ranking has (k − 1)/k: the form of Barz & Denzler 2019,
    "Hierarchy-based image embeddings for semantic image retrieval", and their code since 2020.

    >>> expected_ahp([[0, 8], [0, 0], [8, 0]], k=8)
    0.875
    """
    histogram, similarity, batch = _levels(histogram, similarity, _level_similarity)
    k = check_k(k, histogram.sum(1))
    hp = ratio(*(summed_to_each_rank(sizes, mass, k) for sizes, mass in _found_and_best(histogram, similarity)))
    return _share((hp.sum(1) - (hp[:, 0] + hp[:, -1]) / 2) / k, batch)


def expected_acg(histogram: ArrayLike, k: int) -> Any:
    """Expected average cumulative gain: mean level (number of shared labels) of the k nearest; histogram [..., L, D].

    >>> expected_acg([[0, 1], [1, 0], [1, 0]], k=2)
    1.5
    """
    histogram, levels, batch = _levels(histogram, None, lambda levels: levels)
    total = histogram.sum(1)
    size = np.minimum(check_k(k, total), total.sum(-1))
    summed = top_mass(total, np.einsum("bld,l->bd", histogram, levels), k)
    return _shaped(ratio(summed, size), batch)


def check_convention(convention: str) -> None:
    """Raise ValueError unless the convention for mAP@k is known."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not known; choose one of {', '.join(CONVENTIONS)}")


def check_k(k: int | None, total: np.ndarray) -> int:
    """k as an int, cut to the largest ranking in total [B, D]; None means all. ValueError unless k ≥ 1."""
    size = max(int(total.sum(-1).max(initial=0)), 1)
    if k is None:
        return size
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k={k!r} is not a number of retrieved items; give whole numbers of at least 1")
    return min(int(k), size)


def check_radius(radius: int) -> int:
    """The radius as an int; ValueError unless it is a whole number of bits ≥ 0."""
    if isinstance(radius, bool) or not isinstance(radius, int | np.integer) or radius < 0:
        raise ValueError(f"radius={radius!r} is not a Hamming distance; give a whole number of bits, 0 or more")
    return int(radius)


def _share(values: np.ndarray, batch: tuple[int, ...]) -> Any:
    """The values in the batch's shape, without the rounding that lets a perfect 1 come out as 1.0000000000000002."""
    return _shaped(np.clip(values, 0, 1), batch)


def _shaped(values: np.ndarray, batch: tuple[int, ...]) -> Any:
    return values.reshape(batch) if batch else float(values[0])


def _found_and_best(
    histogram: np.ndarray, similarity: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Group sizes and summed similarity [B, …]: by distance, and as the best possible ranking orders them."""
    order = np.argsort(-similarity)
    best = histogram.sum(2)[:, order]
    return (histogram.sum(1), np.einsum("bld,l->bd", histogram, similarity)), (best, best * similarity[order])


def _level_similarity(levels: np.ndarray) -> np.ndarray:
    return levels / max(len(levels) - 1, 1)


def _counts(total: ArrayLike, relevant: ArrayLike) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Both counts as float64 [B, D] (exact up to 2^53), and the batch shape."""
    total, relevant = np.asarray(total), np.asarray(relevant)
    if total.shape != relevant.shape or total.ndim == 0 or total.shape[-1] == 0:
        raise ValueError(
            f"total {list(total.shape)} and relevant {list(relevant.shape)} must have one shape [..., K+1], "
            "counts per Hamming distance, nearest first"
        )
    wrong = ~((relevant >= 0) & (relevant <= total))
    if wrong.any():
        raise ValueError(
            f"{relevant[wrong][0]} relevant of {total[wrong][0]} items at one distance is impossible; "
            "pass total first, then relevant"
        )
    shape = (-1, total.shape[-1])
    return total.reshape(shape).astype(np.float64), relevant.reshape(shape).astype(np.float64), total.shape[:-1]


def _levels(
    histogram: ArrayLike, values: ArrayLike | None, default: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """The histogram as float64 [B, L, D], one value per level, and the batch shape."""
    histogram = np.asarray(histogram)
    if histogram.ndim < 2 or 0 in histogram.shape[-2:] or (histogram < 0).any():
        raise ValueError(
            f"histogram {list(histogram.shape)} must hold counts [..., levels, K+1], none negative; "
            "make it with shc.histograms.level_histogram"
        )
    levels = histogram.shape[-2]
    values = default(np.arange(levels, dtype=np.float64)) if values is None else np.asarray(values, np.float64)
    if values.shape != (levels,) or not (values >= 0).all():
        raise ValueError(f"{values.tolist()} must hold one value of at least 0 for each of the {levels} levels")
    return histogram.reshape(-1, *histogram.shape[-2:]).astype(np.float64), values, histogram.shape[:-2]
