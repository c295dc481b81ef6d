"""Pictures that annotation files or folders list: are they all there, and what identifies them without reading them.

Shared by the loaders of data sets that lie as single files below a root.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from shc.datasets.sources import MissingData, file_md5
from shc.datasets.survey import NEVER, stamp


def listed_pictures(
    name: str, root: Path, paths: Sequence[str], annotations: Sequence[Path] = ()
) -> tuple[list[Path], str, str]:
    """The files below `root` that `paths` (with '/') name, their identity, and the state they are in (sha256).

    The identity, for `assembled`, covers the content of the annotation files and the names and sizes of the pictures:
    copies have the same one. The state, for caches of what the pictures show, covers when they were changed, too.
    Raises MissingData for pictures that are not there or empty, ValueError for a path that leaves the root or comes
    twice.
    """
    where = " and ".join(file.name for file in annotations) or "its folders"
    known = set()
    for path in paths:
        # By its text only: a folder of pictures may well be a link to another disk.
        if not path or "\\" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(
                f"{name}: {path!r}, named by {where}, does not lie below {root}; this is no official file: fetch it "
                "again from its publisher"
            )
        if path in known:
            raise ValueError(f"{name}: {path!r} is named twice by {where}; this is no official file: fetch it again")
        known.add(path)
    files = [root / path for path in paths]
    stamps = [_stamp(file) for file in files]
    missing = [path for path, (size, _) in zip(paths, stamps, strict=True) if size <= 0]
    if missing:
        raise MissingData(
            f"{name} is not complete in {root}: {len(missing):,} of the {len(paths):,} pictures that {where} name are "
            f"missing or empty, e.g. {missing[0]}; unpack the archive of pictures there again, or give another root"
        )
    digest = hashlib.sha256()
    sizes = (f"{size} {path}" for path, (size, _) in zip(paths, stamps, strict=True))
    for line in (*map(file_md5, annotations), *sizes):
        digest.update(f"{line}\n".encode())
    identity = digest.hexdigest()
    for _, time in stamps:
        digest.update(f"{time}\n".encode())
    return files, identity, digest.hexdigest()


def check_every_class(name: str, labels: np.ndarray, class_names: Sequence[str], what: str) -> None:
    """Raise ValueError for a class without any of these `labels` (int64 [n], or sets bool [n, C]); `what` names them.

    >>> check_every_class("pets", np.array([0, 1, 0]), ["cat", "dog"], "training pictures")
    """
    found = labels.any(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(class_names)) > 0
    absent = [class_names[c] for c in np.flatnonzero(~found).tolist()]
    if absent:
        raise ValueError(
            f"{name}: {len(absent)} of {len(class_names)} classes have no {what}, e.g. {absent[0]!r}; part of the "
            "files is lost, or they are of another version: fetch them again"
        )


def warn_of_other_counts(name: str, found: Mapping[str, int], official: Mapping[str, int]) -> None:
    """Warn where the files hold fewer or more than their publisher's: measurements could not be compared."""
    other = [f"{found[key]:,} {key} (not {official[key]:,})" for key in official if found[key] != official[key]]
    if other:
        warnings.warn(
            f"{name} has {', '.join(other)}: not the whole data set as published, so do not compare results with "
            "published ones",
            stacklevel=3,
        )


def _stamp(file: Path) -> tuple[int, int]:
    try:
        return stamp(file) if file.is_file() else NEVER
    except OSError:
        return NEVER
