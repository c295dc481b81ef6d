"""What the minimum distance d costs: the loss f of hash centers, its lower bound, and mAP, from d = 0 to the largest.

The rule's d may ask much of long codes: no two centers can be more similar than 1 − 2d/K. Every set that keeps d also
keeps d − 1, so with d both the optimum of f and any bound on it can only rise. `frontier` makes the sets, `price` says
how much of f the distance is to blame for, and `linear_hasher` with `retrieve` tells whether retrieval minds: one
linear layer on *frozen* features, seconds per set. It ranks sets of centers cheaply; it is no replacement for the
trained hasher (`benchmarks/frontier.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shc import bounds, constructions, hamming, label_sets, methods, metrics, stages
from shc.centers import check_similarity, solve
from shc.datasets import ImageSet
from shc.devices import cpu_threads
from shc.models import codes_from
from shc.runs import Run
from shc.similarity import spearman_upper

DECAY = 1e-3  # weight decay of the linear layer; mAP on validation hardly moves between 0 and 1e-2


@dataclass(frozen=True)
class FrontierPoint:
    """The best centers found for one minimum distance: codes int8 [C, K], their loss, its bound, Spearman with S.

    `achieved_distance` is the smallest distance that occurs, `min_distance` or more.
    """

    bits: int
    min_distance: int
    loss: float
    bound: float
    achieved_distance: int
    spearman: float
    codes: np.ndarray = field(repr=False)

    @property
    def cap(self) -> float:
        """The largest similarity that two centers can have at this distance: 1 − 2d/K."""
        return 1 - 2 * self.min_distance / self.bits


@dataclass(frozen=True)
class Price:
    """What keeping d instead of nothing adds to f: as found, by the bounds, and what is certain of the optimum.

    `found` is f(d) − f(0) of the sets at hand and `bound` is bound(d) − bound(0): both estimates. The optimum rises by
    at least `at_least` = bound(d) − f(0), and by at most `at_most` = f(d) − bound(0).
    """

    found: float
    bound: float
    at_least: float
    at_most: float


def frontier(
    S: np.ndarray,
    bits: int,
    distances: Iterable[int] | None = None,
    seed: int = 0,
    sweeps: int = 1000,
) -> list[FrontierPoint]:
    """The best centers of `bits` bits found for S [C, C] at each minimum distance, in the order of the distances.

    `distances` are bits, by default all from 0 to the largest for which a set is found. Where a set found for a larger
    distance is better, it stands for the smaller one too, so f never falls with d; neither does the bound.

    Raises ValueError for a distance that cannot be kept, and for an S that `shc.centers` would not take.

    >>> [(point.min_distance, round(point.loss, 3)) for point in frontier(np.eye(4), 6, [0, 2, 4], sweeps=50)]
    [(0, 0.028), (2, 0.028), (4, 0.083)]
    """
    S = check_similarity(S)
    if len(S) < 2:
        raise ValueError(f"S has {len(S)} class; a distance needs two classes or more")
    wanted = all_distances(bits, len(S), seed) if distances is None else sorted(set(distances))
    if not wanted:
        raise ValueError("there are no distances to try; pass some bits, or None for all of them")
    best: dict[int, tuple[float, np.ndarray]] = {}
    lowest = (np.inf, np.empty(0, np.int8))
    for d in reversed(wanted):
        found = solve(S, bits, min_distance=d, seed=seed, sweeps=sweeps)
        lowest = min(lowest, (found.loss, found.codes), key=lambda pair: pair[0])
        best[d] = lowest
    points, highest = [], 0.0
    for d in wanted:
        highest = max(highest, bounds.lower_bound(S, bits, d))
        loss, codes = best[d]
        distance = hamming.distance(codes, codes)
        rho = spearman_upper(S, -distance.astype(np.float64))
        points.append(FrontierPoint(bits, d, loss, highest, hamming.minimum_distance(codes), rho, codes))
    return points


def all_distances(bits: int, classes: int, seed: int = 0, step: int = 1) -> list[int]:
    """Minimum distances from 0 in steps of `step`, with the paper's rule (where it can be kept) and the largest found.

    >>> all_distances(16, 100), all_distances(32, 100, step=4)
    ([0, 1, 2, 3, 4, 5, 6], [0, 4, 8, 10, 12, 13])
    """
    if step < 1:
        raise ValueError(f"step={step}; expected a whole number of at least 1")
    largest, _ = constructions.centers_at_distance(bits, classes, "max", seed)
    rule, _ = constructions.centers_at_distance(bits, classes, "rule", seed)
    return sorted({*range(0, largest + 1, step), rule, largest})


def price(points: Sequence[FrontierPoint], min_distance: int) -> Price:
    """How much of f the minimum distance is to blame for, from a frontier that holds d = 0 and `min_distance`.

    >>> S = np.array([[1, 0.9], [0.9, 1]])
    >>> price(frontier(S, 4, [0, 2], sweeps=50), 2)  # f rises from 0.005 to 0.405, and so does its bound
    Price(found=0.4, bound=0.4, at_least=0.4, at_most=0.4)
    """
    known = {point.min_distance: point for point in points}
    for needed in (0, min_distance):
        if needed not in known:
            raise ValueError(f"the frontier has no point at d = {needed}; it has {sorted(known)}, make it with more")
    free, kept = known[0], known[min_distance]
    values = (
        kept.loss - free.loss, kept.bound - free.bound, max(kept.bound - free.loss, 0.0), kept.loss - free.bound,
    )  # fmt: skip
    return Price(*(round(value, 8) for value in values))


# ---------------------------------------------------------------------------------------------- after training


def frozen_features(
    run: Run,
    images: ImageSet,
    splits: Sequence[str] = ("train", "query", "database"),
    device: str = "auto",
    threads: int = 2,
) -> dict[str, Tensor]:
    """Features float32 [N, F] of each split from the backbone of the run's classifier, which is not trained further.

    Every feature is scaled to mean 0 and deviation 1 over the training images.
    """
    net, _ = stages.load_classifier(run, images)
    raw = stages.features_of(net.backbone, images, {"train", *splits}, device, threads)
    mean, deviation = raw["train"].mean(0), raw["train"].std(0).clamp_min(1e-6)
    return {split: (values - mean) / deviation for split, values in raw.items()}


def linear_hasher(
    features: Tensor,
    labels: Tensor,
    codes: np.ndarray,
    method: str = "shc",
    decay: float = DECAY,
    iterations: int = 50,
    threads: int = 2,
) -> nn.Linear:
    """One linear layer u = Wx + b from features [N, F] to the centers codes [C, K] of their labels [N] or [N, C].

    Minimizes the method's loss plus decay · ‖W‖²/K over all images at once by L-BFGS from W = 0: nothing is drawn at
    random, so there is no seed. Raises ValueError for features that are not finite or labels without a center.

    >>> layer = linear_hasher(torch.eye(2), torch.tensor([0, 1]), np.array([[1, 1], [1, -1]]))
    >>> codes_from(layer(torch.eye(2)))
    tensor([[ 1,  1],
            [ 1, -1]], dtype=torch.int8)
    """
    target = torch.from_numpy(hamming.as_codes(codes).astype(np.float32))
    if features.ndim != 2 or len(features) != len(labels) or not len(features):
        raise ValueError(
            f"features {list(features.shape)} and labels {list(labels.shape)} do not fit; pass [N, F] and [N]"
        )
    if not bool(features.isfinite().all()):
        raise ValueError("features must be finite numbers; did the classifier's training diverge? Lower its lr")
    if labels.ndim == 2:
        if labels.shape[1] != len(target):
            raise ValueError(f"label sets {list(labels.shape)} for {len(target)} centers; pass one column per center")
    elif int(labels.min()) < 0 or int(labels.max()) >= len(target):
        raise ValueError(
            f"labels go from {int(labels.min())} to {int(labels.max())} for {len(target)} centers; pass the positions "
            "of trained classes"
        )
    loss_of = methods.get(method)().loss
    layer = nn.Linear(features.shape[1], target.shape[1])
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = loss_of(layer(features), labels, target)[0] + decay * layer.weight.square().mean(0).sum()
        total.backward()
        return total

    with cpu_threads(threads):
        optimizer.step(closure)  # type: ignore[arg-type]
    return layer.requires_grad_(False)


def retrieve(
    images: ImageSet, features: Mapping[str, Tensor], codes: np.ndarray, queries: str = "query", **options: Any
) -> dict[str, Any]:
    """`shc.metrics.evaluate` of a linear hasher trained towards codes [C, K] on frozen features, queries in database.

    `features` as from `frozen_features`, `options` as for `linear_hasher`. Adds the values "per_query".
    """
    place = stages.positions(images, images.split("train")[1])
    layer = linear_hasher(features["train"], place, codes, **options)
    query, database = (codes_from(layer(features[split])) for split in (queries, "database"))
    labels = [images.split(split)[1] for split in (queries, "database")]
    tree = label_sets.graded_tree(images)
    return metrics.evaluate(query, database, *labels, hierarchy=tree, k=(), graded_k=(), per_query=True)
