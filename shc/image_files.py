"""Pictures in folders: which there are, which class their folder names, and one of them as a network's input.

A picture is prepared as the embedded data sets are: upright, on white, RGB, padded to a square with white, and reduced
with antialiasing. Only Pillow decodes, and only FORMATS: for others it starts programs (EPS). Nothing here knows
hashers or runs.
"""

import errno
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from shc.runs import RunError
from shc.untrusted import check_text

FORMATS = {  # Pillow's name of the format of each suffix that is read
    ".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".webp": "WEBP",
    ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF", ".jp2": "JPEG2000", ".avif": "AVIF", ".ico": "ICO",
    ".pbm": "PPM", ".pgm": "PPM", ".ppm": "PPM", ".pnm": "PPM",
}  # fmt: skip
SUFFIXES = tuple(FORMATS)
NOT_READ = (  # pictures all the same: cameras' and phones', drawings, and files of editors
    ".heic", ".heif", ".jxl", ".j2k", ".jpx", ".jxr", ".tga", ".pcx", ".dds", ".exr",
    ".raw", ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw",
    ".svg", ".svgz", ".eps", ".wmf", ".emf", ".psd", ".xcf",
)  # fmt: skip
MOST_PIXELS = 100_000_000  # a picture of more is refused: small files can unpack to more than the memory holds
MOST_FILE = 2**30  # bytes
MOST_SCANS = 100  # of a JPEG, usually 1 or 10: each goes over all pixels, and may take a hundred bytes of the file
BAND = 512  # rows that are put on white at a time
# what concerns one file only; any other failure is the disk's
ONE_FILE = (None, errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)


class BrokenImage(ValueError):
    """A file that does not hold a readable picture; the message says why."""


def image_files(folder: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """Relative paths, with '/', of all pictures (files of these suffixes) below a folder (`files_below`), sorted.

    Raises RunError if there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise RunError(f"{folder} is {'a file' if os.path.exists(folder) else 'not there'}; give a folder of images")
    found = [name for name in files_below(folder) if name.lower().endswith(suffixes)]
    if not found:
        raise RunError(f"{folder} holds no images; files that end in {', '.join(SUFFIXES)} count, in sub-folders too")
    return sorted(found)


def files_below(folder: Path) -> Iterator[str]:
    """Relative paths, with '/', of all files in a folder and its sub-folders; nothing if it is none.

    Links to folders elsewhere are followed, each folder once; links to what lies in `folder` itself, or above it, are
    not, since they would show the same files again or without end. Raises RunError for a folder that cannot be listed.
    """
    seen = {Path(os.path.realpath(folder))}
    for path, folders, names in os.walk(folder, onerror=_refuse, followlinks=True) if folder.is_dir() else ():
        inside = Path(path).relative_to(folder)
        folders[:] = [name for name in sorted(folders) if _leads_on(os.path.join(path, name), seen)]
        yield from ((inside / name).as_posix() for name in names)


def unread(name: str) -> str:
    """Why the format that a picture's name tells is not read here, "" if it is.

    >>> unread("cat.jpg"), unread("cat.HEIC")
    ('', '.heic is not read; convert it to PNG or JPEG')
    """
    suffix = PurePosixPath(name).suffix.lower()
    return "" if FORMATS.get(suffix) in _decoders() else f"{suffix} is not read; convert it to PNG or JPEG"


def folder_label(path: str, class_names: Sequence[str]) -> int:
    """Position of the class that the innermost fitting sub-folder of a relative path is called after, else −1.

    A class that shares its folder's name with another is called by its path: then all of that has to fit.

    >>> folder_label("birds/penguin/1.png", ["penguin", "cat"]), folder_label("cat.png", ["penguin", "cat"])
    (0, -1)
    >>> folder_label("birds/crane/1.png", ["birds/crane", "machines/crane"])
    0
    """
    folders = PurePosixPath(path).parts[:-1]
    for end in range(len(folders), 0, -1):
        for start in range(end):  # the longest name first
            if (name := "/".join(folders[start:end])) in class_names:
                return class_names.index(name)
    return -1


def read_image(file: str | Path | io.BytesIO, size: int, draft: bool = False) -> np.ndarray:
    """One picture as uint8 [3, size, size], the first one of an animation or of several pages.

    A `draft` decodes all of a JPEG, but roughly, which is faster. Raises BrokenImage if it cannot be decoded, has more
    than MOST_PIXELS or is gone, RunError if the disk fails.
    """
    from PIL import Image, ImageOps

    try:
        if not isinstance(file, io.BytesIO):
            check_text(Path(file), MOST_FILE)  # a pipe or a device would never end
        # Pillow muses about odd files
        with warnings.catch_warnings(action="ignore"), Image.open(file, "r", _decoders()) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"its {opened.width:,} × {opened.height:,} pixels are more than {MOST_PIXELS:,}")
            if draft:
                opened.draft(None, (size, size))
            if opened.format in ("JPEG", "MPO") and scans(file) > MOST_SCANS:
                raise ValueError(f"it is drawn in more than {MOST_SCANS} passes")
            ImageOps.exif_transpose(opened, in_place=True)
            upright: Image.Image = opened
            if upright.mode.startswith(("I", "F")):  # 16 bits of gray, which Pillow would clip instead of scale
                gray = np.asarray(upright)
                if gray.dtype.kind == "f" or not 0 <= gray.min() <= gray.max() < 2**16:
                    raise ValueError("its numbers have no known white; save it with 8 or 16 bits without sign")
                upright = Image.fromarray((gray >> 8).astype(np.uint8))
            if upright.mode in ("RGB", "L") and "transparency" not in upright.info:
                flat = upright.convert("RGB")
            else:
                flat = Image.new("RGB", upright.size, "white")
                for top in range(0, upright.height, BAND):  # copies of the whole would take gigabytes
                    band = upright.crop((0, top, upright.width, min(top + BAND, upright.height))).convert("RGBA")
                    on_white = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band)
                    flat.paste(on_white.convert("RGB"), (0, top))
        if max(flat.size) ** 2 > MOST_PIXELS:  # a strip, whose square would be as large
            flat.thumbnail((8 * size, 8 * size))
        side = max(flat.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(flat, ((side - flat.width) // 2, (side - flat.height) // 2))
        small = square.resize((size, size), Image.Resampling.BILINEAR)  # antialiased where it reduces
    except Exception as error:  # Pillow's decoders raise whatever they come across
        if isinstance(error, OSError) and error.errno not in ONE_FILE:
            raise RunError(
                f"{file} cannot be read ({error.strerror}); repair the disk and repeat the command"
            ) from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(file, io.BytesIO):
            reason = "cannot identify image file" if str(file) in reason or repr(file) in reason else reason
        else:
            reason = reason.replace(str(file), Path(file).name)
        raise BrokenImage(" ".join(reason.split())) from error
    return np.asarray(small).transpose(2, 0, 1)


def scans(file: str | Path | io.BytesIO) -> int:
    """How often a JPEG's pixels are gone over, those of thumbnails in it included."""
    content = file.getvalue() if isinstance(file, io.BytesIO) else Path(file).read_bytes()
    return content.count(b"\xff\xda")


def fault(content: bytes) -> str:
    """Why a file of this content holds no picture that `read_image` can read, "" if it does; all of it is decoded.

    >>> fault(b"")
    'the file is empty'
    """
    if not content:
        return "the file is empty"
    try:
        read_image(io.BytesIO(content), 16, draft=True)
    except BrokenImage as error:
        return str(error)
    return ""


@cache
def _decoders() -> tuple[str, ...]:
    """The formats of FORMATS that this Pillow was built with."""
    from PIL import Image, features

    Image.init()
    built = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}
    with warnings.catch_warnings(action="ignore"):  # an old Pillow does not know the names of later features
        return tuple(
            name for name in dict.fromkeys(FORMATS.values())
            if name in Image.OPEN and (name not in built or features.check(built[name]))
        )  # fmt: skip


def _leads_on(path: str, seen: set[Path]) -> bool:
    """Whether a folder of a walk is to be entered; `seen` holds the walk's root and the linked folders before it."""
    if not os.path.islink(path):
        return True
    target = Path(os.path.realpath(path))
    if any(target == other or target in other.parents or other in target.parents for other in seen):
        return False
    seen.add(target)
    return True


def _refuse(error: OSError) -> None:
    raise RunError(f"{error.filename} cannot be listed ({error.strerror}); make it readable, or move it away")
