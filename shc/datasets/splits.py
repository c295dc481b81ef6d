"""Named, seeded splits of real data sets, and the record that is put together from them.

A split function gives row numbers per split. Draws are by class, from a permutation of each class's rows that depends
on the seed alone; `assembled` then holds out `val`, shrinks by `scale`, and computes the fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from shc.datasets import ImageSet, Options
from shc.hierarchy import Hierarchy

if TYPE_CHECKING:
    from torch import Tensor

    from shc.datasets.streams import LazyImages

NOT_CONTENT = ("root", "unreadable")  # options that do not decide which images there are: `source` tells that
LEAST = 2  # images of a class that a smaller split keeps


def shuffled_classes(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows of each class in random order: one int64 array per class, some may be empty.

    Label sets [N, C] count as one class: what is drawn from them is drawn from all rows.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    if labels.ndim == 2:
        return [order]
    ordered = labels[order]
    by_class = order[np.argsort(ordered, kind="stable")]
    return np.split(by_class, np.cumsum(np.bincount(labels))[:-1])


def draw(labels: np.ndarray, counts: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """Disjoint splits with so many rows of every class, in this order; −1 takes what is left: rows, ascending.

    Raises ValueError for a class that has too few.

    >>> {k: v.tolist() for k, v in draw(np.array([0, 0, 0, 1, 1, 1]), {"query": 1, "database": -1}, 0).items()}
    {'query': [2, 3], 'database': [0, 1, 4, 5]}
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in counts}
    needed = sum(count for count in counts.values() if count > 0)
    for label, rows in enumerate(shuffled_classes(labels, seed)):
        if 0 < len(rows) < needed:
            raise ValueError(f"class {label} has {len(rows)} images, but the splits {dict(counts)} need {needed}")
        start = 0
        for name, count in counts.items():
            stop = len(rows) if count < 0 else start + count
            parts[name].append(rows[start:stop])
            start = stop
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def draw_shares(labels: np.ndarray, shares: Mapping[str, float], seed: int, least: int = 1) -> dict[str, np.ndarray]:
    """Disjoint splits with these shares (summing to 1) of every class, at least `least` rows each; rows, ascending.

    The last split takes what rounding leaves. Raises ValueError for a class with fewer rows than `least` per split.

    >>> found = draw_shares(np.zeros(10, dtype=int), {"train": 0.5, "query": 0.2, "database": 0.3}, seed=0)
    >>> [len(rows) for rows in found.values()]
    [5, 2, 3]
    """
    names = list(shares)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for label, rows in enumerate(shuffled_classes(labels, seed)):
        if not len(rows):
            continue
        if len(rows) < least * len(names):
            raise ValueError(
                f"class {label} has {len(rows)} images; the {len(names)} splits need at least {least * len(names)}"
            )
        free = len(rows) - least * len(names)
        edges = np.round(np.cumsum([0.0, *shares.values()]) * free).astype(int) + least * np.arange(len(names) + 1)
        edges[-1] = len(rows)
        for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True):
            parts[name].append(rows[start:stop])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def held_out(splits: Mapping[str, np.ndarray], labels: np.ndarray, share: float, seed: int) -> dict[str, np.ndarray]:
    """The splits with `val`: this share of every class of `train` (at least one image of a class that has two), moved.

    A database that contains the training images keeps those of `val` too.
    """
    if not share or "val" in splits:
        return dict(splits)
    train = splits["train"]
    val = []
    for rows in shuffled_classes(labels[train], seed + 1):
        if len(rows) > 1:
            val.append(train[rows[: max(round(share * len(rows)), 1)]])
    chosen = np.sort(np.concatenate(val))
    return {"train": np.setdiff1d(train, chosen), "val": chosen} | {k: v for k, v in splits.items() if k != "train"}


def shrunk(splits: Mapping[str, np.ndarray], labels: np.ndarray, scale: float, seed: int) -> dict[str, np.ndarray]:
    """The share `scale` of every class in every split, at least LEAST images where there are so many.

    A database that contains `train`, or `val`, contains what is left of it.
    """
    if scale == 1:
        return dict(splits)

    def some(rows: np.ndarray) -> np.ndarray:
        parts = shuffled_classes(labels[rows], seed + 2)
        return np.concatenate([rows[part[: max(round(scale * len(part)), LEAST)]] for part in parts])

    found = {name: np.sort(some(rows)) for name, rows in splits.items() if name != "database"}
    if "database" in splits:
        rows = splits["database"]
        inside = [name for name in ("train", "val") if name in splits and np.isin(splits[name], rows).all()]
        rest = np.setdiff1d(rows, np.concatenate([rows[:0], *(splits[name] for name in inside)]))
        found["database"] = np.sort(np.concatenate([*(found[name] for name in inside), some(rest)]))
    return found


def assembled(
    options: Options,
    *,
    images: "Tensor | LazyImages",
    labels: np.ndarray,
    splits: Mapping[str, np.ndarray],
    class_names: list[str],
    hierarchy: Hierarchy | None,
    source: str,
    **facts: Any,
) -> ImageSet:
    """The record of a data set: `val` held out, splits shrunk to `scale`, and the fingerprint.

    `images` [N, 3, S, S] and `labels` (int64 [N] or bool [N, C]) hold everything that was read, in the files' order;
    `source` identifies the files (their checksums, or their names and sizes). Images that no split needs stay where
    they are; classes without training images, which a small `scale` can leave, are not among `train_classes`. Raises
    ValueError for labels outside of the classes and for an empty split.
    """
    import torch

    labels = np.asarray(labels)
    if labels.ndim == 1 and len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        wrong = labels[(labels < 0) | (labels >= len(class_names))][0]
        raise ValueError(f"{options.name}: label {wrong} is outside of its {len(class_names)} classes; wrong files?")
    splits = shrunk(held_out(splits, labels, options.val, options.seed), labels, options.scale, options.seed)
    for name, rows in splits.items():
        if not len(rows):
            raise ValueError(f"{options.name}: the split {name!r} is empty; use a larger scale, or check the files")
    trained = labels[splits["train"]]
    classes = np.flatnonzero(trained.any(0)) if labels.ndim == 2 else np.unique(trained)
    parameters = {name: value for name, value in asdict(options).items() if name not in NOT_CONTENT}
    return ImageSet(
        name=options.name,
        images=images,
        labels=torch.from_numpy(labels if labels.ndim == 2 else labels.astype(np.int64)),
        class_names=class_names,
        hierarchy=hierarchy,
        splits={name: torch.from_numpy(rows) for name, rows in splits.items()},
        fingerprint=fingerprint(source, parameters, class_names, splits),
        train_classes=torch.from_numpy(classes),
        parameters=parameters,
        **facts,
    )


def fingerprint(
    source: str, parameters: Mapping[str, Any], class_names: list[str], splits: Mapping[str, np.ndarray]
) -> str:
    """What identifies a data set (sha256): its files, what `load` was asked for, names, and the rows of every split."""
    plan = {name: hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest() for name, rows in splits.items()}
    identity = dict(source=source, parameters=dict(parameters), class_names=class_names, splits=plan)
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
