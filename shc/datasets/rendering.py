"""What the rendered data sets share: split sizes, unseen classes, seeds, the render loop, random image effects.

Every split draws from its own generator, so its images do not depend on the sizes of the others. Images are rendered on
the CPU in chunks of fixed size: the chunk is part of the random stream. The full sizes at 32 px take about 20 seconds.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from shc.datasets import ImageSet, Options
from shc.datasets.cache import cached_images
from shc.devices import cpu_threads
from shc.hierarchy import Hierarchy

# Images per class at scale 1: with 100 classes the sizes of the CIFAR-100 retrieval protocol.
PER_CLASS = {"train": 100, "val": 20, "query": 50, "query_seen": 50, "database": 450}
CHUNK = 1000
FILES_ONLY = ("root", "val", "unreadable")  # options that only data sets in files have

Renderer = Callable[[Tensor, Generator], Tensor]  # rows int64 [n] → float images [n, 3, S, S] in 0..1


def per_class(split: str, scale: float) -> int:
    """Images per class of a split, at least 2."""
    return max(2, round(PER_CLASS[split] * scale))


def unseen_classes(superclass: np.ndarray, seed: int) -> np.ndarray:
    """One class of each super-class, int64 sorted: the (g + seed)-th member of super-class g, counted in a circle.

    With five members per super-class, seeds 0 to 4 leave out every class exactly once.

    >>> unseen_classes(np.array([0, 0, 0, 1, 1, 1]), seed=1)
    array([1, 5])
    """
    members = [np.flatnonzero(superclass == group) for group in np.unique(superclass)]
    return np.sort([ids[(group + seed) % len(ids)] for group, ids in enumerate(members)])


def split_classes(superclass: np.ndarray, options: Options) -> dict[str, np.ndarray]:
    """Which classes every split shows under the protocol, int64 each."""
    everything = np.arange(len(superclass))
    if options.protocol == "closed":
        return {split: everything for split in PER_CLASS}
    unseen = unseen_classes(superclass, options.seed)
    seen = np.setdiff1d(everything, unseen)
    return {split: seen if split in ("train", "val") else unseen for split in PER_CLASS}


def stream(seed: int, split: str) -> Generator:
    """The random generator of one split."""
    digest = hashlib.sha256(f"{seed} {split}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:4], "big"))


def rendered_set(
    options: Options,
    *,
    source: str,
    labels: dict[str, Tensor],
    groups: dict[str, dict[str, Tensor]],
    renderer: Callable[[Tensor, dict[str, Tensor]], Renderer],
    class_names: list[str],
    hierarchy: Hierarchy,
    **facts: Any,
) -> ImageSet:
    """Render every split (or fetch it from the cache) and put the record together.

    `source` names what is drawn and the renderer's version; `labels` and `groups[name]` are int64 [n] per split;
    `renderer(all_labels, all_groups)` returns the function that draws rows of them; `facts` go into the record as
    they are.
    """
    counts = [len(part) for part in labels.values()]
    splits = dict(zip(labels, torch.arange(sum(counts)).split(counts), strict=True))
    all_labels = torch.cat(list(labels.values()))
    all_groups = {name: torch.cat([parts[split] for split in labels]) for name, parts in groups.items()}
    parameters = {name: value for name, value in asdict(options).items() if name not in FILES_ONLY}
    plan = {split: _digest(all_labels[rows], *(g[rows] for g in all_groups.values())) for split, rows in splits.items()}
    identity = dict(source=source, parameters=parameters, class_names=class_names, splits=plan)
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    shape = (len(all_labels), 3, options.size, options.size)

    def render() -> Tensor:
        draw, images = renderer(all_labels, all_groups), torch.empty(shape, dtype=torch.uint8)
        # A second thread gains a quarter on a free machine and, waiting for the other, loses tenfold on a busy one.
        with cpu_threads(1):
            for split, rows in splits.items():
                generator = stream(options.seed, split)
                for chunk in rows.split(CHUNK):
                    images[chunk[0] : chunk[-1] + 1] = draw(chunk, generator).mul_(255).round_().byte()
        return images

    return ImageSet(
        name=options.name,
        images=cached_images(fingerprint, shape, render),
        labels=all_labels,
        class_names=class_names,
        hierarchy=hierarchy,
        splits=splits,
        fingerprint=fingerprint,
        train_classes=labels["train"].unique(),
        groups=all_groups,
        parameters=parameters,
        **facts,
    )


def uniform(shape: int | tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Random numbers between `low` and `high`."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def per_image(values: Tensor) -> Tensor:
    """[n] → [n, 1, 1, 1], to broadcast one value per image over channels and pixels."""
    return values[:, None, None, None]


def blur_some(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Box-blur a random share of the images, over 3 × 3 pixels at 32 px."""
    radius = max(1, round(images.shape[-1] / 32))
    blurred = F.avg_pool2d(F.pad(images, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)
    return torch.where(per_image(torch.rand(len(images), generator=generator) < share), blurred, images)


def add_noise(images: Tensor, deviation: float, generator: Generator) -> Tensor:
    """Add Gaussian pixel noise and clip to 0..1."""
    return images.add(torch.randn(images.shape, generator=generator), alpha=deviation).clamp_(0, 1)


def _digest(*tensors: Tensor) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()
