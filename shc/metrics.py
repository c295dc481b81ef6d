"""Retrieval metrics of binary codes: one call to `evaluate` gives every number of a comparison table.

All numbers are exact expectations over the order of ties (`shc.ranking`), taken from one count of distances
(`shc.histograms`): no sort, and the order of the database changes nothing. mAP@k divides by min(k, R), R = relevant
items in the database; `convention="topk"` divides by the hits inside the top k, as most of the hashing literature does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from shc import invariants, ranking
from shc.hamming import check_seed
from shc.hierarchy import Hierarchy
from shc.promises import debug
from shc.ranking import (
    ap_bounds,
    expected_acg,
    expected_ahp,
    expected_ap,
    expected_hp,
    expected_ndcg,
    expected_precision,
    expected_recall,
    expected_weighted_ap,
    precision_within,
)

BLOCK = 2**21  # entries of a histogram that are scored at a time: some hundred megabytes

__all__ = [
    "ap_bounds",
    "bootstrap_interval",
    "evaluate",
    "expected_acg",
    "expected_ahp",
    "expected_ap",
    "expected_hp",
    "expected_ndcg",
    "expected_precision",
    "expected_recall",
    "expected_weighted_ap",
    "from_histogram",
    "level_histogram",
    "pr_curve",
    "precision_within",
]


def evaluate(
    query_codes: Any,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    hierarchy: Hierarchy | None = None,
    k: int | Sequence[int] = (100, 1000),
    graded_k: int | Sequence[int] = (100, 250),
    radius: int = 2,
    convention: str = "tie-aware",
    per_query: bool = False,
    orders: bool = False,
    bits: int | None = None,
    threads: int | None = None,
    engine: str = "numba",
    progress: bool = False,
) -> dict[str, Any]:
    """Score a Hamming ranking of the database for every query and average: a dict from metric name to value.

    Codes are ±1 [Q, K] and [M, K], or packed uint64 with `bits=K`; labels are class ids, or 0/1 label sets [N, C]
    (relevant = shares a label); NumPy or torch. All values lie in 0 to 1, except ACG and wmAP.

    always           mAP@ALL, and for each `k` mAP@k, P@k, R@k; P@H<=radius (0 for an empty ball), empty@H<=radius
    with hierarchy   super_mAP@ALL (relevant = same super-class), and for each `graded_k` nDCG@k, HP@k, mAHP@k
    with label sets  wmAP@ALL, for each `k` ACG@k, and for each `graded_k` nDCG@k
    orders=True      beside each mAP@k "(given)", ties in database order, and "(worst)", "(best)" over all tie orders
    per_query=True   "per_query": the same names to float64 [Q], for `bootstrap_interval`
    and              queries, database, queries_without_relevant (their AP is 0 and counts), bits, convention

    A k above the size of the database is cut to it. `engine`, `threads` and `progress` as in `level_histogram`: they
    change no number. Raises ValueError, naming the value, for arguments that do not fit.

    >>> scores = evaluate([[1, 1], [-1, -1]], [[1, 1], [1, -1], [-1, -1]], [0, 1], [0, 1, 1], k=1)
    >>> scores["mAP@ALL"], scores["P@1"], scores["R@1"]
    (1.0, 1.0, 0.75)
    """
    from shc.histograms import count, prepare

    ranking.check_convention(convention)
    ranking.check_radius(radius)
    ks, graded = _several(k), _several(graded_k)
    table = None if hierarchy is None else hierarchy.shared_levels()
    height = None if hierarchy is None else hierarchy.height
    retrieval = prepare(query_codes, database_codes, query_labels, database_labels, table, bits)
    histogram = count(retrieval, engine, threads, progress)  # [Q, L, K+1]
    if debug():
        invariants.check_order(histogram, retrieval, lambda turned: count(turned, engine, threads))
    values = from_histogram(
        histogram, height=height, sets=np.ndim(query_labels) == 2, k=ks, graded_k=graded, radius=radius,
        convention=convention,
    )  # fmt: skip
    relevant = histogram[:, height or 1 :].sum(1)
    if orders:
        values |= _tie_orders(retrieval, histogram.sum(1), relevant, height or 1, ks, convention, threads)

    result: dict[str, Any] = {name: float(value.mean()) for name, value in values.items()}
    result |= {
        "queries": len(histogram),
        "database": len(retrieval.database),
        "queries_without_relevant": int((relevant.sum(1) == 0).sum()),
        "bits": retrieval.bits,
        "convention": convention,
    }
    return result | {"per_query": values} if per_query else result


def from_histogram(
    histogram: np.ndarray,
    *,
    height: int | None = None,
    sets: bool = False,
    k: int | Sequence[int] = (100, 1000),
    graded_k: int | Sequence[int] = (100, 250),
    radius: int = 2,
    convention: str = "tie-aware",
) -> dict[str, np.ndarray]:
    """The metrics of `evaluate` from a level histogram int64 [Q, L, K+1]: a dict from name to float64 [Q].

    With a hierarchy give its `height`, the level of equal classes; `sets` says that levels count shared labels. Level
    histograms of parts of a database add up to that of the whole, which is how machines share an evaluation.

    >>> from_histogram(np.array([[[0, 1, 0], [1, 1, 0]]]), k=1)["P@1"]
    array([1.])
    """
    ranking.check_convention(convention)
    ranking.check_radius(radius)
    ks, graded = _several(k), _several(graded_k)
    level = height or 1  # of relevant items
    if height is not None and not 1 <= height < max(histogram.shape[1:2], default=0):
        raise ValueError(
            f"height={height} does not fit to a histogram {list(histogram.shape)}: its second size is the height + 1"
        )
    if histogram.ndim != 3 or not histogram.size or not histogram.any():
        raise ValueError(
            f"histogram {list(histogram.shape)} counts no items; expected counts [queries, levels, K+1], as made by "
            "shc.histograms.level_histogram"
        )

    def block(histogram: np.ndarray) -> dict[str, np.ndarray]:
        total = histogram.sum(1)  # [q, K+1]
        relevant = histogram[:, level:].sum(1)
        ball = total[:, : radius + 1].sum(1)
        stands = np.flatnonzero(total.any(0))
        held = slice(stands[0], stands[-1] + 1)  # distances beyond those that occur take no part
        reach = np.cumsum(total, axis=1).min(0)  # the fewest items of a query within each distance
        values = {"mAP@ALL": expected_ap(total[:, held], relevant[:, held])}
        top = {at: _nearest(histogram, reach, at) for at in {*ks, *graded}}
        counts = {at: (top[at].sum(1), top[at][:, level:].sum(1)) for at in ks}
        values |= {f"mAP@{at}": expected_ap(*counts[at], at, convention) for at in ks}
        for at in ks:
            values[f"P@{at}"] = expected_precision(*counts[at], at)
            values[f"R@{at}"] = expected_recall(*counts[at], at)
        values[f"P@H<={radius}"] = precision_within(total, relevant, radius)
        values[f"empty@H<={radius}"] = (ball == 0).astype(np.float64)
        if level > 1:
            values["super_mAP@ALL"] = expected_ap(total[:, held], histogram[:, level - 1 :, held].sum(1))
        if sets:
            values["wmAP@ALL"] = expected_weighted_ap(histogram[:, :, held])
            values |= {f"ACG@{at}": expected_acg(top[at], at) for at in ks}
        if sets or height:
            values |= {f"nDCG@{at}": expected_ndcg(top[at], at) for at in graded}
        if height:
            values |= {f"HP@{at}": expected_hp(top[at], at) for at in graded}
            values |= {f"mAHP@{at}": expected_ahp(top[at], at) for at in graded}
        return values

    widest = max(histogram[0].size, min(max(graded, default=1), int(histogram[0].sum())), 1)
    rows = max(BLOCK // widest, 1)
    blocks = [block(histogram[start : start + rows]) for start in range(0, len(histogram), rows)]
    found = {name: np.concatenate([values[name] for values in blocks]) for name in blocks[0]}
    if debug():
        invariants.check_values(found)
    return found


def pr_curve(
    query_codes: Any,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    empty: str = "zero",
    bits: int | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision float64 [K+1] of the balls of radius 0 … K around each query, averaged over the queries.

    A query whose ball is empty has precision 0 (so precision[2] is P@H<=2); `empty="skip"` leaves it out of that
    radius' average, as much published code does, which flatters codes that find nothing. Other arguments as in
    `evaluate`.

    >>> recall, precision = pr_curve([[1, 1]], [[1, -1], [-1, 1], [-1, -1]], [0], [0, 1, 0])
    >>> recall.tolist(), [round(value, 2) for value in precision.tolist()]
    ([0.0, 0.5, 1.0], [0.0, 0.5, 0.67])
    """
    if empty not in ("zero", "skip"):
        raise ValueError(f"empty={empty!r} is not known; choose zero or skip")
    histogram = level_histogram(query_codes, database_codes, query_labels, database_labels, bits=bits, threads=threads)
    total = np.cumsum(histogram.sum(1), axis=1)  # [Q, K+1]
    found = np.cumsum(histogram[:, 1:].sum(1), axis=1)
    recall = (found / np.maximum(found[:, -1:], 1)).mean(0)
    counted = np.full(total.shape[1], len(total)) if empty == "zero" else np.maximum((total > 0).sum(0), 1)
    return recall, (found / np.maximum(total, 1)).sum(0) / counted


def bootstrap_interval(
    values: ArrayLike, clusters: ArrayLike, seed: int, level: float = 0.95, repeats: int = 1000
) -> tuple[float, float]:
    """Percentile interval (low, high) for the mean of `values` [N], resampling whole clusters with replacement.

    Renders of one drawing are not independent: give the drawing of each query as `clusters` [N], any ids. For a paired
    comparison give the differences as values. Field & Welsh 2007, "Bootstrapping clustered data".

    >>> low, high = bootstrap_interval([0.2, 0.4, 0.6, 0.8], clusters=[0, 0, 1, 1], seed=0)
    >>> round(low, 3), round(high, 3)
    (0.3, 0.7)
    """
    values, clusters = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if values.ndim != 1 or clusters.shape != values.shape:
        raise ValueError(
            f"values {list(values.shape)} and clusters {list(clusters.shape)} must both be [N], one cluster per value"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"values hold {values[~np.isfinite(values)][0]}; expected finite numbers")
    if not 0 < level < 1:
        raise ValueError(f"level={level!r} is not a confidence level; give a share between 0 and 1, for instance 0.95")
    if isinstance(repeats, bool) or not isinstance(repeats, int | np.integer) or repeats < 1:
        raise ValueError(f"repeats={repeats!r} must be a whole number of at least 1")
    check_seed(seed)
    names, ids = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{len(names)} cluster(s) say nothing about variation; give at least 2")
    sums, sizes = np.bincount(ids, weights=values), np.bincount(ids)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=repeats)  # [repeats, clusters]
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def level_histogram(*args: Any, **kwargs: Any) -> np.ndarray:
    """`shc.histograms.level_histogram`, under the name that belongs here: int64 [Q, L, K+1]."""
    from shc import histograms

    return histograms.level_histogram(*args, **kwargs)


def _nearest(histogram: np.ndarray, reach: np.ndarray, k: int) -> np.ndarray:
    """The histogram [q, L, D] with all distances beyond every query's first k items as one: @k they are equal."""
    stop = int(np.searchsorted(reach, k)) + 1
    return np.concatenate([histogram[:, :, :stop], histogram[:, :, stop:].sum(2, keepdims=True)], axis=2)


def _tie_orders(
    retrieval: Any,
    total: np.ndarray,
    relevant: np.ndarray,
    height: int,
    ks: list[int],
    convention: str,
    threads: int | None,
) -> dict[str, np.ndarray]:
    """AP in the database order given, and its bounds over all orders, under the names that `evaluate` documents."""
    from shc.histograms import ordered_precisions

    size, needed = len(retrieval.database), relevant.sum(1)
    cuts = {"ALL": size} | {str(at): min(at, size) for at in ks}
    precisions, hits = ordered_precisions(retrieval, height, list(cuts.values()), threads)
    values = {}
    for column, (name, cut) in enumerate(cuts.items()):
        divisor = hits[:, column] if convention == "topk" else np.minimum(cut, needed)
        worst, best = ap_bounds(total, relevant, cut, convention)
        values[f"mAP@{name} (given)"] = precisions[:, column] / np.maximum(divisor, 1)
        values[f"mAP@{name} (worst)"] = worst
        values[f"mAP@{name} (best)"] = best
    return values


def _several(k: int | Sequence[int]) -> list[int]:
    ks = [k] if isinstance(k, int | np.integer) else list(k)
    for at in ks:
        if isinstance(at, bool) or not isinstance(at, int | np.integer) or at < 1:
            raise ValueError(f"k={at!r} is not a number of retrieved items; give whole numbers of at least 1")
    return [int(at) for at in ks]
