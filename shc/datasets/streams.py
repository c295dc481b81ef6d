"""Images that lie in files: decoded into one tensor where that fits, else when they are asked for.

`FileImages` stands where the package expects a uint8 tensor [N, 3, S, S]: it has its length and shape, and an index
gives decoded images. What reads all of them in an order known before, as training does, gets them decoded ahead by
worker processes. Memory holds names and a few pieces of images, however many there are.
"""

import hashlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shc.datasets.cache import cached_images
from shc.image_files import BrokenImage, read_image
from shc.runs import RunError

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 2 * 2**30  # bytes of a tensor that holds everything: 10,900 images of 256 pixels, 170,000 of 64
PIECE = 32  # images that a worker decodes at a time
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


class FileImages:
    """Picture files as if they were a uint8 tensor [N, 3, S, S] on the CPU; an index decodes.

    Rows are chosen by a number, a slice, numbers in an array or tensor of any shape, or a mask: `x[3]` is [3, S, S],
    `x[[[1, 2], [3, 4]]]` is [2, 2, 3, S, S]. `only` chooses without decoding, `batches` decodes ahead.
    """

    ndim = 4

    def __init__(self, names: tuple[np.ndarray, np.ndarray], size: int, rows: np.ndarray | None = None) -> None:
        """`names` as `packed` makes them; `rows` int64 [N] chooses from them, all by default."""
        self.names, self.size = names, size
        self.rows = np.arange(len(names[1]) - 1) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"FileImages({list(self.shape)}, uint8, decoded when asked for)"

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

    def to(self, *_: Any, **__: Any) -> "FileImages":
        """Itself: batches are moved to a device one by one."""
        return self

    def only(self, index: Any) -> "FileImages":
        """The chosen images, still in their files; `index` chooses along one axis.

        >>> len(FileImages(packed(["a.png", "b.png", "c.png"]), 32).only([0, 2]))
        2
        """
        return FileImages(self.names, self.size, self.rows[_numbers(index)])

    def __getitem__(self, index: Any) -> "Tensor":
        """uint8 [..., 3, S, S], decoded now; ValueError if that is more than LIMIT."""
        import torch

        rows = np.asarray(self.rows[_numbers(index)])
        unique, places = np.unique(rows, return_inverse=True)  # each is decoded once
        images = FileImages(self.names, self.size, unique)
        if images.nbytes > LIMIT:
            raise ValueError(
                f"{len(images):,} images of {self.size} pixels would take {images.nbytes / 2**30:.1f} GB at once; "
                "index fewer of them, or choose with .only(rows), which decodes nothing"
            )
        found = torch.empty(images.shape, dtype=torch.uint8)
        for start, pixels in zip(range(0, len(unique), PIECE), images._pieces([unique]), strict=True):
            found[start : start + PIECE] = torch.from_numpy(pixels)
        if len(unique) == rows.size and (rows.ravel() == unique).all():
            return found.reshape(*rows.shape, *images.shape[1:])
        return found[torch.from_numpy(places.reshape(rows.shape))]

    def batches(self, parts: "Sequence[Tensor] | Sequence[np.ndarray]") -> "Iterator[Tensor]":
        """uint8 [n, 3, S, S] for each part (int64 [n], numbers of rows), in this order, decoded ahead by processes."""
        import torch

        chosen = [self.rows[_numbers(part)] for part in parts]
        pieces = self._pieces(chosen)
        for rows in chosen:
            found = [next(pieces) for _ in range(0, len(rows), PIECE)]
            yield torch.from_numpy(np.concatenate(found) if found else np.empty((0, *self.shape[1:]), np.uint8))

    def __iter__(self) -> "Iterator[Tensor]":
        return (image for batch in self.batches(_split(np.arange(len(self)), PIECE)) for image in batch)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(f"{self!r} is no array; index the images that are needed, e.g. x[:10]")

    def _pieces(self, chosen: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """The chosen rows decoded, at most PIECE at a time."""
        return ahead(self._decoded, [piece for rows in chosen for piece in _split(rows, PIECE)])

    def _decoded(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [n, 3, S, S] of some rows of `names`."""
        found = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        for i, row in enumerate(rows):
            file = file_name(self.names, row)
            try:
                found[i] = read_image(file, self.size)
            except BrokenImage as error:
                raise RunError(f"{file} cannot be read ({error}); put it back, or load the data set again") from error
        return found


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
        raise IndexError(f"images in files are indexed along their first axis only, not by {index!r}")
    array = np.asarray(index)
    return array if array.size else array.astype(np.int64)


def _split(rows: np.ndarray, length: int) -> list[np.ndarray]:
    return [rows[start : start + length] for start in range(0, len(rows), length)]
