"""Rendered images on disk, one .npy file per fingerprint.

The folder is the user's cache folder, or `SHC_CACHE`. A cache that cannot be used never fails a load: images are then
rendered again each time, and one warning says so.
"""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shc.runs import RunError, atomic_write

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 4 * 2**30  # a full-size set at 32 px takes 0.2 GB


def cache_folder() -> Path:
    """Where rendered images are kept: `$SHC_CACHE`, else the user's cache folder."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("SHC_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("shc")


def cached_images(fingerprint: str, shape: tuple[int, ...], render: Callable[[], "Tensor"]) -> "Tensor":
    """uint8 images of the given shape: from the cache (memory-mapped), else from `render`, whose result is kept.

    A file that is truncated, damaged or of another shape is rendered anew.
    """
    file = cache_folder() / f"images-{fingerprint[:32]}.npy"
    stored = _read(file, shape)
    if stored is not None:
        return stored
    images = render()
    try:
        atomic_write(file, lambda target: _save(target, images.numpy()))
        trim(file)
    except (RunError, OSError) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or cause
        _warn_once(
            f"rendered images could not be kept in {file.parent} ({reason}) and will be rendered again at the next "
            "load; set SHC_CACHE to a writable folder with enough space to avoid this"
        )
    return images


def _read(file: Path, shape: tuple[int, ...]) -> "Tensor | None":
    import torch

    try:
        # copy-on-write: processes share the pages, and writing to the tensor cannot reach the file
        array = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    if array.shape != shape or array.dtype != np.uint8:
        return None
    with suppress(OSError):
        os.utime(file)  # the least recently used files go first, see trim
    return torch.from_numpy(array)


def _save(file: Path, images: np.ndarray) -> None:
    with open(file, "wb") as stream:
        np.save(stream, images, allow_pickle=False)


def trim(newest: Path, kind: str = "images-*.npy") -> None:
    """Delete the least recently used files of a kind until there are at most MAX_BYTES of it; never the newest."""
    files = [file for file in newest.parent.glob(kind) if file != newest]
    total = newest.stat().st_size + sum(file.stat().st_size for file in files)
    for file in sorted(files, key=lambda file: file.stat().st_mtime):
        if total <= MAX_BYTES:
            return
        total -= file.stat().st_size
        file.unlink(missing_ok=True)


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=2)
