"""A data set's images as PNG files in class folders, the form that `image_folder` reads.

Folders are the class's path in the hierarchy and then the class, so that written and loaded again it has the same
pixels (at the same size), classes and tree. Splits are not written: `image_folder` draws its own.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shc.datasets import ImageSet
from shc.runs import RunError

CHUNK = 500  # images that are decoded at a time, where they lie in files


def write_folder(images: ImageSet, folder: str | Path, rows: Any = None) -> list[str]:
    """Write images as `folder/GROUP/…/CLASS/ROW.png` and return their paths below the folder, in the order of `rows`.

    `rows` int64 [n] are positions in `images.images`, each at most once; by default all. The folder appears when it is
    complete. Raises ValueError for label sets, whose images lie in no one folder, for classes that would share a
    folder, and for rows that are not there or given twice; RunError if the folder holds something already or cannot be
    written.

    >>> import tempfile
    >>> from shc import datasets
    >>> tiny, place = datasets.load("emoji", scale=0.02, size=16), tempfile.mkdtemp()
    >>> write_folder(tiny, place, rows=[0, 20])
    ['farm animals/horse face/0000.png', 'pets and rodents/dog face/0020.png']
    """
    from PIL import Image

    if images.labels.ndim == 2:
        raise ValueError(f"images of {images.name!r} may have several labels, and a picture lies in one class folder")
    chosen = np.arange(len(images.images)) if rows is None else np.asarray(rows, dtype=np.int64)
    given, times = np.unique(chosen, return_counts=True)
    if chosen.ndim != 1 or not len(chosen) or (times > 1).any() or given[0] < 0 or given[-1] >= len(images.images):
        raise ValueError(
            f"rows {list(chosen.shape)} must be positions among the {len(images.images):,} images, each at most once"
        )
    places, target = class_folders(images), Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} holds something already; give a folder that is empty or not there yet")
    wide = len(str(len(images.images) - 1))
    names = [f"{places[images.labels[row]]}/{row:0{wide}d}.png" for row in chosen.tolist()]
    part = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for start in range(0, len(chosen), CHUNK):
            piece = slice(start, start + CHUNK)
            pixels = images.images[chosen[piece]].permute(0, 2, 3, 1).numpy()  # (n, S, S, 3)
            for name, picture in zip(names[piece], pixels, strict=True):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(part / name)
        part.chmod(0o755)
        os.replace(part, target)
    except OSError as error:
        raise RunError(f"{target} could not be written ({error.strerror or error}); choose another folder") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)  # renamed already, unless something went wrong
    return names


def class_folders(images: ImageSet) -> list[str]:
    """The folder of every class: its path in the hierarchy and its name, with '/' between."""
    paths: Sequence[tuple[str, ...]] = images.hierarchy.paths if images.hierarchy else [()] * len(images.class_names)
    found: list[str] = []
    for name, path in zip(images.class_names, paths, strict=True):
        # `image_folder` calls classes of the same name by their whole path
        *_, last = name.split("/") if path and name.split("/")[-2:-1] == [path[-1]] else [name]
        found.append("/".join(_plain(part) for part in (*path, last)))
    if len({place.lower() for place in found}) < len(found):  # some file systems do not tell case apart
        twice = next(place for place in found if [other.lower() for other in found].count(place.lower()) > 1)
        raise ValueError(f"two classes of {images.name!r} would lie in the folder {twice!r}; rename one of them")
    return found


def _plain(part: str) -> str:
    """A name as one folder that every system takes and `image_folder` does not leave out as hidden."""
    plain = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in part).strip()
    return f"_{plain}" if plain[:1] in ("", ".") else plain
