"""Equal images in a data set, and which of them stand on both sides of a split.

`duplicates` compares images as they were loaded, pixel by pixel, by a hash of their bytes: a copy that was shifted,
recolored or compressed again is not found. `equal` groups by any other key, such as the hashes of files that
`image_folder` has. Many published sets hold a few copies; a query that has one in the database is easy.
"""

import hashlib
from collections.abc import Iterable
from itertools import combinations

import numpy as np

from shc.datasets import ImageSet

ASKING = ("query", "query_seen", "val", "train", "database")  # the one that asks comes before the one it asks
BATCH = 1000  # images read at a time: some sets decode them only then


def duplicates(images: ImageSet) -> list[np.ndarray]:
    """Rows of equal images, among those that stand in any split: one int64 array [≥ 2], ascending, for each picture.

    >>> from shc.datasets import load
    >>> duplicates(load("shapes", scale=0.02, size=16))
    []
    """
    rows = used(images)
    pixels = (image for i in range(0, len(rows), BATCH) for image in images.images[rows[i : i + BATCH]].numpy())
    return equal(rows, (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in pixels))


def used(images: ImageSet) -> np.ndarray:
    """Rows of the images that stand in any split, int64 [n], ascending."""
    return np.unique(np.concatenate([part.numpy() for part in images.splits.values()]))


def equal(rows: np.ndarray, keys: Iterable[bytes]) -> list[np.ndarray]:
    """The rows [n] that share their key with others, grouped: int64 [≥ 2] each, in the order of `rows`.

    >>> equal(np.array([3, 5, 7]), [b"a", b"b", b"a"])
    [array([3, 7])]
    """
    found: dict[bytes, list[int]] = {}
    for row, key in zip(rows.tolist(), keys, strict=True):
        found.setdefault(key, []).append(row)
    return [np.array(group) for group in found.values() if len(group) > 1]


def across(images: ImageSet, groups: list[np.ndarray], first: str, second: str) -> np.ndarray:
    """Pairs of equal images with one in each of two splits, int64 [n, 2]: every image of `first` at most once.

    `groups` are those of `duplicates`. An image that stands in both splits is no pair with itself.
    """
    inside = [np.zeros(len(images.labels), dtype=bool) for _ in range(2)]
    for mask, split in zip(inside, (first, second), strict=True):
        mask[images.splits[split].numpy()] = True
    pairs = []
    for group in groups:
        there = group[inside[1][group]]
        for row in group[inside[0][group]]:
            other = there[there != row]
            if len(other):
                pairs.append((row, other[0]))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def straddling(images: ImageSet, groups: list[np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """What `across` finds for every two splits, those that ask first; only pairs of splits that have any."""
    known = [split for split in ASKING if split in images.splits]
    known += [split for split in images.splits if split not in known]
    found = {(a, b): across(images, groups, a, b) for a, b in combinations(known, 2)}
    return {splits: pairs for splits, pairs in found.items() if len(pairs)}


def report(images: ImageSet) -> list[str]:
    """Lines about the splits: images and classes of each, what contains what, and equal images across them."""
    lines = []
    rows = {name: set(part.tolist()) for name, part in images.splits.items()}
    for name in images.splits:
        parts = [other for other in rows if other != name and rows[other] <= rows[name]]
        contains = f"; contains {' and '.join(parts)}" if parts else ""
        lines.append(f"{name:<10} {class_counts(images, name)}{contains}")
    groups = duplicates(images)
    if not groups:
        return [*lines, "No two images are equal."]
    total = sum(map(len, groups))
    some = "1 picture occurs" if len(groups) == 1 else f"{len(groups):,} pictures occur"
    lines.append(f"{some} more than once, as {total:,} images:")
    pairs_of = straddling(images, groups)
    for (asking, ranked), pairs in pairs_of.items():
        labels = images.labels.numpy()[pairs]
        differ = int((labels[:, 0] != labels[:, 1]).reshape(len(pairs), -1).any(1).sum())
        lines.append(
            f"  {len(pairs):,} of {len(rows[asking]):,} in {asking} stand in {ranked} too, {differ:,} of them with "
            "other labels"
        )
    return lines if pairs_of else [*lines, "  none of them in two splits"]


def class_counts(images: ImageSet, split: str) -> str:
    """How many images a split has, of how many classes, and how many of each."""
    labels = images.labels[images.splits[split]].numpy()
    counts = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(images.class_names))
    counts = counts[counts > 0]
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{len(labels):,} images, {len(counts)} of {len(images.class_names)} classes, {each} of each"
