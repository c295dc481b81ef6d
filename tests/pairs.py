"""A small data set with label sets, for tests: two shapes side by side in one image, or twice the same."""

import hashlib

import numpy as np
import torch

from shc import datasets
from shc.datasets import ImageSet, Options
from shc.hierarchy import Hierarchy

CLASSES = tuple(range(0, 100, 10))  # of shapes: every silhouette with two patterns
SIZES = {"train": 900, "val": 100, "query": 120, "database": 400}
FROM = {"train": "database", "database": "train"}  # the source's largest split has most to learn from


def build(options: Options) -> ImageSet:
    """Ten classes of shapes, one or two in an image."""
    source = datasets.load("shapes", scale=0.1, size=options.size, seed=options.seed)
    random = np.random.default_rng(options.seed)
    images, labels, splits = [], [], {}
    for split, count in SIZES.items():
        x, y = source.split(FROM.get(split, split))
        singles = [np.flatnonzero(y.numpy() == c) for c in CLASSES]
        splits[split] = torch.arange(count) + sum(map(len, images))
        drawn = random.integers(len(CLASSES), size=(count, 2))
        drawn[: len(CLASSES)] = np.arange(len(CLASSES))[:, None]  # every class occurs
        halves = [x[[random.choice(singles[c]) for c in side]][..., ::2] for side in drawn.T]
        images.append(torch.cat(halves, dim=3))
        labels.append(one_hot(drawn))
    return ImageSet(
        name=options.name,
        images=torch.cat(images),
        labels=torch.from_numpy(np.concatenate(labels)),
        class_names=[source.class_names[c] for c in CLASSES],
        hierarchy=Hierarchy(tuple((source.class_names[c].split()[1],) for c in CLASSES)),  # the silhouettes
        splits=splits,
        fingerprint=hashlib.sha256(f"{source.fingerprint} pairs".encode()).hexdigest(),
        train_classes=torch.arange(len(CLASSES)),
        class_similarity=source.class_similarity[np.ix_(CLASSES, CLASSES)],
    )


def one_hot(drawn):
    """bool [N, C] of the classes [N, 2] that were drawn."""
    return (drawn[:, :, None] == np.arange(len(CLASSES))).any(1)


datasets.dataset("pairs", ("closed",))(build)
