"""What the files of a folder hold, found out once: a hash of the content of each, and which are damaged.

Every file is read and decoded one time, by all cores; the result is kept in the cache folder by name, size and time of
change, so that the next load only asks the file system, and only what is new is read.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from shc.datasets import entries
from shc.datasets.cache import cache_folder
from shc.datasets.sources import located
from shc.datasets.streams import ahead, file_name, packed
from shc.image_files import MOST_FILE, MOST_PIXELS, NOT_READ, SUFFIXES, fault, files_below
from shc.runs import RunError, atomic_write
from shc.untrusted import TooLarge, check_npz, check_text

PIECE = 32  # files that a worker reads at a time
DIGEST = 16  # bytes
READER = 2  # raise it whenever `read_image` refuses other files than before
NEVER = (-1, -1)  # size and time of a file that could not be read: it is tried again


@dataclass(frozen=True)
class Survey:
    """Files in the order asked for: `digests` uint8 [N, 16] of their contents; why some are unreadable, by name."""

    digests: np.ndarray
    faults: dict[str, str]


def files_state(name: str, root: str = "") -> str:
    """Hash of the names, sizes and times of change of a data set's files, which are not opened; "" if it has none.

    It tells that they may have changed since. Hidden files do not count.

    >>> files_state("emoji")  # the package carries it
    ''
    """
    about = entries()[name].about
    folder, pictures = located(name, about.files, root, about.elsewhere), about.images == "yours"
    places = [place for file in about.files for place in (file.name, file.instead) if place]
    tops = ["."] if pictures else sorted({PurePosixPath(place).parts[0] for place in (*places, *about.layouts)})
    found = []
    with suppress(RunError):  # a folder that cannot be listed: its load says so
        for top in tops:
            names = (f"{top}/{file}" for file in files_below(folder / top))
            found += (
                [top]
                if (folder / top).is_file()
                else [n for n in names if not pictures or n.lower().endswith(SUFFIXES + NOT_READ)]
            )
    seen = sorted(n for n in found if not any(part.startswith(".") for part in PurePosixPath(n).parts))
    text = "".join(f"{file} {stamp(folder / file)}\n" for file in seen)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16] if seen else ""


def survey(folder: Path, names: Sequence[str]) -> Survey:
    """Read the named files of a folder, or remember what they held."""
    import PIL
    from tqdm import tqdm

    identity = f"{READER} {folder.resolve()} {PIL.__version__} {MOST_PIXELS}".encode(errors="surrogateescape")
    store = cache_folder() / f"folder-{hashlib.sha256(identity).hexdigest()[:32]}.npz"
    stamps = np.array([stamp(folder / name) for name in names], dtype=np.int64).reshape(-1, 2)
    digests, read = np.zeros((len(names), DIGEST), dtype=np.uint8), []
    faults: dict[str, str] = {}
    known, old, old_stamps, old_digests = _load(store)
    for row, name in enumerate(names):
        at = known.get(name, -1)
        if at >= 0 and (old_stamps[at] == stamps[row]).all() and (stamps[row] != NEVER).all():
            digests[row] = old_digests[at]
            faults |= {name: old[name]} if name in old else {}
        else:
            read.append(row)
    if not read:
        return Survey(digests, faults)
    with tqdm(total=len(read), desc="reading pictures", unit="file", delay=2, disable=None) as bar:
        pieces = [read[i : i + PIECE] for i in range(0, len(read), PIECE)]
        paths = packed([folder / names[row] for row in read])
        jobs = [(paths, i, min(i + PIECE, len(read))) for i in range(0, len(read), PIECE)]
        for rows, found in zip(pieces, ahead(_read, jobs), strict=True):
            bar.update(len(rows))
            for row, (digest, why) in zip(rows, found, strict=True):
                if digest:
                    digests[row] = np.frombuffer(digest, dtype=np.uint8)
                else:
                    stamps[row] = NEVER
                faults |= {names[row]: why} if why else {}
    _save(store, names, stamps, digests, faults)
    return Survey(digests, faults)


def _read(job: tuple[tuple[np.ndarray, np.ndarray], int, int]) -> list[tuple[bytes, str]]:
    """Digest (empty where the file cannot be read at all) and fault ("" for none) of each file of a piece."""
    paths, start, stop = job
    found = []
    for row in range(start, stop):
        file = Path(file_name(paths, row))
        try:
            check_text(file, MOST_FILE)  # a pipe or a device would never end
            content = file.read_bytes()
        except (OSError, TooLarge) as error:
            found.append((b"", str(getattr(error, "strerror", None) or error)))
            continue
        found.append((hashlib.blake2b(content, digest_size=DIGEST).digest(), fault(content)))
    return found


def stamp(file: Path) -> tuple[int, int]:
    """Size and time of the last change of a file, NEVER if it cannot be found."""
    try:
        status = file.stat()
    except OSError:
        return NEVER
    return status.st_size, status.st_mtime_ns + status.st_ctime_ns  # programs may put back the first, not the second


def _load(store: Path) -> tuple[dict[str, int], dict[str, str], np.ndarray, np.ndarray]:
    """Row of each name, faults by name, stamps [N, 2] and digests [N, 16] of an earlier survey; empty without one."""
    with suppress(Exception):  # a damaged store is made anew
        check_npz(store)
        with np.load(store, allow_pickle=False) as archive:
            names = [file_name((archive["names"], archive["edges"]), row) for row in range(len(archive["edges"]) - 1)]
            return (
                {name: row for row, name in enumerate(names)},
                json.loads(archive["faults"].tobytes()),
                archive["stamps"],
                archive["digests"],
            )
    return {}, {}, np.empty((0, 2)), np.empty((0, DIGEST))


def _save(store: Path, names: Sequence[str], stamps: np.ndarray, digests: np.ndarray, faults: dict[str, str]) -> None:
    content, edges = packed(names)
    told = np.frombuffer(json.dumps(faults).encode(), dtype=np.uint8)

    def write(target: Path) -> None:
        with open(target, "wb") as stream:
            np.savez(stream, names=content, edges=edges, stamps=stamps, digests=digests, faults=told)

    with suppress(RunError, OSError):  # then it is read again each time, as `cached_images` warns
        atomic_write(store, write)
