"""Pictures in folders: which there are, which class their folder names, and one of them as a network's input.

A picture is prepared as the embedded data sets are: upright, on white, RGB, padded to a square with white, and reduced
with antialiasing. Only Pillow decodes; nothing here knows hashers or runs.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from shc.runs import RunError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


class BrokenImage(ValueError):
    """A file that does not hold a readable picture; the message says why."""


def image_files(folder: str | Path) -> list[str]:
    """Relative paths, with '/', of all pictures in a folder and its sub-folders, sorted.

    Raises RunError if there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder} is {'a file' if folder.exists() else 'not there'}; give a folder of images")
    found = []
    for path, _, names in os.walk(folder, onerror=_refuse):
        inside = Path(path).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if name.lower().endswith(SUFFIXES)]
    if not found:
        raise RunError(f"{folder} holds no images; files that end in {', '.join(SUFFIXES)} count, in sub-folders too")
    return sorted(found)


def folder_label(path: str, class_names: Sequence[str]) -> int:
    """Position of the class that the innermost fitting sub-folder of a relative path is called after, else −1.

    >>> folder_label("birds/penguin/1.png", ["penguin", "cat"]), folder_label("cat.png", ["penguin", "cat"])
    (0, -1)
    """
    for name in reversed(PurePosixPath(path).parts[:-1]):
        if name in class_names:
            return class_names.index(name)
    return -1


def read_image(file: str | Path, size: int) -> np.ndarray:
    """One picture as uint8 [3, size, size], the first one of an animation.

    Raises BrokenImage if it cannot be decoded or is gone, RunError if the disk fails.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            upright: Image.Image = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):  # 16 bits of gray, which Pillow would clip instead of scale
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            picture = upright.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        flat = Image.alpha_composite(white, picture).convert("RGB")
        side = max(flat.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(flat, ((side - flat.width) // 2, (side - flat.height) // 2))
        small = square.resize((size, size), Image.Resampling.BILINEAR)  # antialiased where it reduces
    except Exception as error:  # Pillow's decoders raise whatever they come across
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.EACCES, errno.EISDIR):
            raise RunError(
                f"{file} cannot be read ({error.strerror}); repair the disk and repeat the command"
            ) from error
        reason = getattr(error, "strerror", None) or str(error).replace(str(file), Path(file).name)
        raise BrokenImage(" ".join((reason or type(error).__name__).split())) from error
    return np.asarray(small).transpose(2, 0, 1)


def _refuse(error: OSError) -> None:
    raise RunError(f"{error.filename} cannot be listed ({error.strerror}); make it readable, or move it away")
