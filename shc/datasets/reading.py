"""What the readers of official binary formats share: checked lengths, checked labels, resized images."""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shc.datasets import streams
from shc.datasets.cache import cached_images

if TYPE_CHECKING:
    from torch import Tensor

RESIZER = "bilinear, antialiased 1"  # raise the number whenever the same files would give other images
BATCH = 1000


def check_size(size: int, expected: int, what: str | Path) -> None:
    """Raise ValueError unless a file or a member of an archive has the length that its format gives it."""
    if size != expected:
        kind = "was cut short" if size < expected else "is another file"
        raise ValueError(f"{what} has {size:,} bytes, not {expected:,}: it {kind}; delete it and fetch it again")


def check_labels(labels: np.ndarray, classes: int, what: str | Path) -> None:
    """Raise ValueError unless labels [N] lie in 0 … classes − 1 and every class has an image.

    >>> check_labels(np.array([0, 1, 3]), 3, "train.bin")
    Traceback (most recent call last):
    ...
    ValueError: train.bin: label 3 of image 2 is outside of 0 to 2; it is damaged or another file, fetch it again
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"{what}: label {labels[wrong[0]]} of image {wrong[0]} is outside of 0 to {classes - 1}; it is damaged or "
            "another file, fetch it again"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(empty):
        shown = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
        raise ValueError(
            f"{what}: {len(empty)} of {classes} classes have no image (class {shown}); it is not the whole data set, "
            "fetch it again"
        )


def resized(images: np.ndarray, size: int, source: str) -> "Tensor | streams.LazyImages":
    """uint8 [N, 3, size, size] of uint8 [N, 1 or 3, S, S]; grey becomes three equal channels.

    `source` identifies the images. What had to be resized is kept in the cache folder, or is resized again whenever it
    is asked for if all together would take more than `streams.LIMIT`.

    >>> tuple(resized(np.zeros((2, 1, 28, 28), np.uint8), 28, "two black images").shape)
    (2, 3, 28, 28)
    """
    import torch

    given = torch.from_numpy(images)
    if images.shape[-1] == size:
        return given if images.shape[1] == 3 else given.repeat(1, 3, 1, 1)
    lazy = ResizedImages(given, size)
    if lazy.nbytes > streams.LIMIT:
        return lazy

    def resize() -> "Tensor":
        found = torch.empty(lazy.shape, dtype=torch.uint8)
        for start in range(0, len(given), BATCH):
            found[start : start + BATCH] = interpolated(given[start : start + BATCH], size)
        return found

    identity = f"{RESIZER}, {size}, {images.shape}, {source}"
    return cached_images(hashlib.sha256(identity.encode()).hexdigest(), lazy.shape, resize)


class ResizedImages(streams.LazyImages):
    """Images held at their own size, uint8 [N, 1 or 3, S, S], and resized when they are asked for.

    `to` moves what is held, so that another device resizes what it trains on; an index gives images on the CPU.

    >>> import torch
    >>> ResizedImages(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), 224)[1].shape
    torch.Size([3, 224, 224])
    """

    def __init__(self, held: "Tensor", size: int) -> None:
        super().__init__(len(held), size)
        self.held = held

    def to(self, *where: Any, **options: Any) -> Self:
        moved = copy.copy(self)
        moved.held = self.held.to(*where, **options)
        return moved

    def _pieces(self, chosen: Sequence[np.ndarray]) -> "Iterator[Tensor]":
        import torch

        for rows in streams.pieces_of(chosen):
            yield interpolated(self.held[torch.from_numpy(rows).to(self.held.device)], self.size)


def interpolated(images: "Tensor", size: int) -> "Tensor":
    """uint8 [N, 3, size, size] of uint8 [N, 1 or 3, S, S]; an image's pixels do not depend on those beside it."""
    import torch

    from shc.devices import cpu_threads

    with cpu_threads(1):  # a second thread, waiting for the other, loses tenfold on a busy machine
        small = torch.nn.functional.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
        return small.round_().clamp_(0, 255).byte().expand(-1, 3, -1, -1)
