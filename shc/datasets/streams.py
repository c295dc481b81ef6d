"""Images that would take too much memory as one tensor: made when they are asked for.

`LazyImages` stand where the package expects a uint8 tensor [N, 3, S, S]: they have its length and shape, and an index
gives images. `FileImages` decodes picture files; what reads all of them in an order known before, as training does,
gets them decoded ahead by worker processes. Memory holds names and a few pieces of images, however many there are.
"""

import copy
import hashlib
import multiprocessing
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shc.datasets.cache import cached_images
from shc.image_files import BrokenImage, read_image
from shc.runs import RunError

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 2 * 2**30  # bytes of a tensor that holds everything: 10,900 images of 256 pixels, 170,000 of 64
PIECE = 32  # images that are made at a time
SHOWN = 256  # images in a request that are few enough to be for the eye
KEPT = 64 * 2**20  # bytes of images that such requests leave behind
AHEAD = 2  # pieces that wait at each worker
MOST_WORKERS = 16


def images_of_files(files: Sequence[str | Path], size: int, source: str) -> "Tensor | FileImages":
    """uint8 [N, 3, size, size] of picture files, kept in the cache, or `FileImages` if that takes more than LIMIT.

    `source` identifies files and preparation, for the cache. Raises RunError if a file cannot be read.

    >>> images_of_files([], 32, "nothing").shape
    torch.Size([0, 3, 32, 32])
    """
    images = FileImages(packed(files), size)
    if images.nbytes > LIMIT:
        return images
    key = hashlib.sha256(f"files 1 {size} {source}".encode()).hexdigest()
    return cached_images(key, images.shape, lambda: images[:])


class LazyImages(ABC):
    """Images as if they were a uint8 tensor [N, 3, S, S]; an index makes them.

    Rows are chosen by a number, a slice, numbers in an array or tensor of any shape, or a mask: `x[3]` is [3, S, S],
    `x[[[1, 2], [3, 4]]]` is [2, 2, 3, S, S]. `only` chooses without making any, `batches` serves many choices in turn.
    """

    ndim = 4

    def __init__(self, count: int, size: int) -> None:
        """`count` images of `size` pixels; `rows` int64 [N] are those of them that were chosen."""
        self.size, self.rows = size, np.arange(count)

    @abstractmethod
    def _pieces(self, chosen: "Sequence[np.ndarray]") -> "Iterator[Tensor]":
        """uint8 [n, 3, S, S] of the rows in each array, at most PIECE at a time."""

    def _asked(self, rows: np.ndarray) -> "Iterator[Tensor]":
        """The same for the rows of an index."""
        return self._pieces([rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.shape)}, uint8, made when asked for)"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        return len(self.rows), 3, self.size, self.size

    @property
    def nbytes(self) -> int:
        """What all of them would take as one tensor."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> Any:
        """torch.uint8."""
        import torch

        return torch.uint8

    def to(self, *_: Any, **__: Any) -> Self:
        """Itself: batches are moved to a device one by one."""
        return self

    def only(self, index: Any) -> Self:
        """The chosen images, none of them made; `index` chooses along one axis.

        >>> len(FileImages(packed(["a.png", "b.png", "c.png"]), 32).only([0, 2]))
        2
        """
        chosen = copy.copy(self)
        chosen.rows = self.rows[_numbers(index)]
        return chosen

    def __getitem__(self, index: Any) -> "Tensor":
        """uint8 [..., 3, S, S], made now; ValueError if that is more than LIMIT."""
        import torch

        rows = np.asarray(self.rows[_numbers(index)])
        unique, places = np.unique(rows, return_inverse=True)  # each is made once
        shape = (len(unique), *self.shape[1:])
        if (nbytes := int(np.prod(shape, dtype=np.int64))) > LIMIT:
            raise ValueError(
                f"{len(unique):,} images of {self.size} pixels would take {nbytes / 2**30:.1f} GB at once; index fewer "
                "of them, or choose with .only(rows), which makes none"
            )
        found = torch.empty(shape, dtype=torch.uint8)
        for start, pixels in zip(range(0, len(unique), PIECE), self._asked(unique), strict=True):
            found[start : start + PIECE] = pixels
        if len(unique) == rows.size and (rows.ravel() == unique).all():
            return found.reshape(*rows.shape, *shape[1:])
        return found[torch.from_numpy(places.reshape(rows.shape))]

    def batches(self, parts: "Sequence[Tensor] | Sequence[np.ndarray]") -> "Iterator[Tensor]":
        """uint8 [n, 3, S, S] for each part (int64 [n], numbers of rows), in this order."""
        import torch

        chosen = [self.rows[_numbers(part)] for part in parts]
        pieces = self._pieces(chosen)
        for rows in chosen:
            found = [next(pieces) for _ in range(0, len(rows), PIECE)]
            yield torch.cat(found) if found else torch.empty((0, *self.shape[1:]), dtype=torch.uint8)

    def __iter__(self) -> "Iterator[Tensor]":
        return (image for batch in self.batches(_split(np.arange(len(self)), PIECE)) for image in batch)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(f"{self!r} is no array; index the images that are needed, e.g. x[:10]")


class FileImages(LazyImages):
    """Picture files, decoded when they are asked for; `batches` decodes ahead, in worker processes.

    What a figure or a click asks for is likely to be asked for again: requests of up to SHOWN images are kept decoded,
    some KEPT bytes of them, shared by all choices made with `only`.
    """

    def __init__(self, names: tuple[np.ndarray, np.ndarray], size: int) -> None:
        """`names` as `packed` makes them."""
        super().__init__(len(names[1]) - 1, size)
        self.names = names
        self.kept: dict[int, Tensor] = {}

    def _pieces(self, chosen: "Sequence[np.ndarray]") -> "Iterator[Tensor]":
        import torch

        return map(torch.from_numpy, ahead(partial(decoded, self.names, self.size), pieces_of(chosen)))

    def _asked(self, rows: np.ndarray) -> "Iterator[Tensor]":
        import torch

        if len(rows) > SHOWN:
            return self._pieces([rows])
        for old in list(self.kept)[: max(0, len(self.kept) - KEPT // (3 * self.size**2))]:
            del self.kept[old]
        missing = np.array([row for row in rows.tolist() if row not in self.kept], dtype=np.int64)
        for part, images in zip(pieces_of([missing]), self._pieces([missing]), strict=True):
            self.kept |= zip(part.tolist(), images, strict=True)
        return (torch.stack([self.kept[row] for row in part.tolist()]) for part in pieces_of([rows]))


def decoded(names: tuple[np.ndarray, np.ndarray], size: int, rows: np.ndarray) -> np.ndarray:
    """uint8 [n, 3, size, size] of some of the packed names; RunError for a file that cannot be read."""
    found = np.empty((len(rows), 3, size, size), dtype=np.uint8)
    for i, row in enumerate(rows):
        file = file_name(names, row)
        try:
            found[i] = read_image(file, size)
        except BrokenImage as error:
            raise RunError(f"{file} cannot be read ({error}); put it back, or load the data set again") from error
    return found


def rows_of(images: "Tensor | LazyImages", rows: "Tensor") -> "Tensor | LazyImages":
    """Some images of a tensor, or of lazy ones, which stay lazy; `rows` int64 [n]."""
    return images.only(rows) if isinstance(images, LazyImages) else images[rows]


def pieces_of(chosen: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays cut so that none is longer than PIECE; empty ones are left out."""
    return [piece for rows in chosen for piece in _split(rows, PIECE)]


def packed(files: Sequence[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """File names as bytes uint8 [B] and where each begins, int64 [N + 1].

    Python strings would take thrice the memory, and worker processes would copy them: counting references writes.
    """
    encoded = [os.fsencode(file) for file in files]
    edges = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), edges


def file_name(names: tuple[np.ndarray, np.ndarray], row: int) -> str:
    """One of the packed names.

    >>> file_name(packed(["a.png", "Bär.png"]), 1)
    'Bär.png'
    """
    content, edges = names
    return os.fsdecode(content[edges[row] : edges[row + 1]].tobytes())


def ahead(work: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """work(part) for every part, in order; worker processes compute some ahead if there are more than two parts.

    What `work` returns goes through a pipe: NumPy arrays do not need shared memory, of which containers have little.
    Raises what `work` raises.

    >>> list(ahead(abs, [-1, 2]))
    [1, 2]
    """
    count = min(workers(), len(parts))
    if count == 0 or len(parts) <= 2:
        yield from map(work, parts)
        return
    import torch
    from torch.utils.data import DataLoader

    # A generator of its own, since the loader would draw from the global one, and the numbers of a run would change.
    # Forked workers need no main guard in the user's script; they only decode, so they touch no device and no threads.
    jobs: Any = _Jobs(work, parts)
    loader: Any = DataLoader(
        jobs, batch_size=None, num_workers=count, prefetch_factor=AHEAD, collate_fn=_as_it_is,
        generator=torch.Generator(), multiprocessing_context="fork" if sys.platform == "linux" else None,
    )  # fmt: skip
    for result, error in loader:
        if error is not None:
            raise error
        yield result


def workers() -> int:
    """How many processes decode ahead: one per core of this process; none where processes may not start others."""
    if multiprocessing.current_process().daemon:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


class _Jobs:
    """What a DataLoader reads: results by number, or why there is none (raised there, it would lose its message)."""

    def __init__(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> None:
        self.work, self.parts = work, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> tuple[Any, Exception | None]:
        try:
            return self.work(self.parts[number]), None
        except Exception as error:
            return None, error


def _as_it_is(result: Any) -> Any:
    return result


def _numbers(index: Any) -> Any:
    """An index along the first axis as NumPy takes it."""
    if isinstance(index, slice):
        return index
    if isinstance(index, tuple) or index is None or index is Ellipsis:
        raise IndexError(
            f"images that are made when asked for are indexed along their first axis only, not by {index!r}"
        )
    array = np.asarray(index)
    return array if array.size else array.astype(np.int64)


def _split(rows: np.ndarray, length: int) -> list[np.ndarray]:
    return [rows[start : start + length] for start in range(0, len(rows), length)]
