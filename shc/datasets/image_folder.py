"""Your own pictures in folders, as a data set: folders are classes, the folders above them their groups.

`root/animals/birds/penguin/1.jpg` is a picture of the class "penguin" on the path animals, birds. Hidden files and
folders are left out. A picture counts if it can be decoded; what cannot is named, and left out or refused by choice
(`unreadable`). Splits are drawn by class. Names and contents identify the data set, not the place of the folder.
"""

import hashlib
import warnings
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.sources import MissingData, data_root
from shc.datasets.splits import assembled, draw_shares
from shc.datasets.streams import images_of_files
from shc.datasets.survey import survey
from shc.hierarchy import Hierarchy
from shc.image_files import image_files
from shc.runs import RunError

SHARES = {"train": 0.5, "query": 0.1, "database": 0.4}  # the share `val` of the training images is held out of them
LEAST = 4  # images of a class: one for each of the four splits
NAMED = 5  # classes or files in a message
READY_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "query", "gallery", "database"}

Class = tuple[str, ...]  # folders from the root to the one that holds the pictures


@dataset(
    "image_folder",
    protocols=("closed",),
    about=About(classes="one per folder that holds pictures", images="yours", terms="yours"),
)
def image_folder(options: Options) -> ImageSet:
    """Your own pictures: `root` is a folder of class folders, nested ones make the class hierarchy.

    Raises MissingData without the folder or without pictures in it, ValueError for damaged pictures if they are not to
    be skipped, for fewer than two classes, and for classes of fewer than 4 pictures.
    """
    options.check_fold(1, "another seed draws other splits")
    root = data_root(options.name, options.root)
    names = candidates(root)
    skipped = {name: why for name in names if (why := _no_member(name))}
    names = [name for name in names if name not in skipped]
    found = survey(root, names)
    if found.faults and options.unreadable == "fail":
        raise ValueError(
            f"image_folder: {_told(found.faults, len(names))} cannot be read; repair or remove the files, or load with "
            "unreadable='skip'"
        )
    skipped |= found.faults
    folders = sorted({PurePosixPath(name).parts[:-1] for name in names})
    good = np.array([row for row, name in enumerate(names) if name not in skipped], dtype=np.int64)
    names, digests = [names[row] for row in good], found.digests[good]
    place = {folder: label for label, folder in enumerate(folders)}
    labels = np.array([place[PurePosixPath(name).parts[:-1]] for name in names], dtype=np.int64)
    _check_classes(folders, labels, options)
    splits = draw_shares(labels, shares(options.val), options.seed)
    twice = duplicates(names, digests, splits)
    if skipped:
        _tell(f"image_folder: {_told(skipped, len(names) + len(skipped))} left out")
    if twice:
        first = " = ".join(twice[0][:2])
        _tell(
            f"image_folder: copies of the same file are in different splits, {len(twice):,} time(s) (first: {first}); "
            "retrieval will look better than it is"
        )
    listed = "\n".join(f"{name}\0{digest.tobytes().hex()}" for name, digest in zip(names, digests, strict=True))
    source = f"image_folder 1 {hashlib.sha256(listed.encode()).hexdigest()}"
    return assembled(
        options, images=images_of_files([root / name for name in names], options.size, source), labels=labels,
        splits=splits, class_names=class_names(folders), hierarchy=hierarchy(folders), source=source, skipped=skipped,
        duplicates=twice,
    )  # fmt: skip


def candidates(root: Path) -> list[str]:
    """Relative paths of all pictures that are not hidden, sorted; MissingData without any."""
    try:
        names = image_files(root)
    except RunError as error:
        raise MissingData(f"image_folder: {error}; `root` is the folder whose sub-folders are the classes") from error
    return [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]


def files_of(images: ImageSet, root: str | Path) -> list[str]:
    """Paths below `root`, one per image and in their order, of an image_folder that was loaded from there.

    Raises RunError if the folder holds other pictures than it did then.
    """
    names = [name for name in candidates(Path(root)) if name not in images.skipped]
    folders = sorted({PurePosixPath(name).parts[:-1] for name in names})
    place = {folder: label for label, folder in enumerate(folders)}
    if [place[PurePosixPath(name).parts[:-1]] for name in names] != images.labels.tolist():
        raise RunError(f"the pictures in {root} have changed since they were loaded; load the data set again")
    return names


def shares(val: float) -> dict[str, float]:
    """Share of a class's pictures in each split.

    >>> shares(0.1)
    {'train': 0.45, 'val': 0.05, 'query': 0.1, 'database': 0.4}
    """
    train = SHARES["train"]
    found = {"train": train * (1 - val), "val": train * val, "query": SHARES["query"], "database": SHARES["database"]}
    return {split: share for split, share in found.items() if share}


def class_names(folders: list[Class]) -> list[str]:
    """The innermost folder's name, or the whole path where several classes share that name.

    >>> class_names([("birds", "crane"), ("birds", "gull"), ("machines", "crane")])
    ['birds/crane', 'gull', 'machines/crane']
    """
    count = Counter(folder[-1] for folder in folders)
    return [folder[-1] if count[folder[-1]] == 1 else "/".join(folder) for folder in folders]


def hierarchy(folders: list[Class]) -> Hierarchy | None:
    """The tree of the folders, shorter paths padded by their last group (or the class); None where it tells nothing.

    >>> hierarchy([("birds", "gull"), ("birds", "sea", "tern"), ("cat",)]).paths
    (('birds', 'birds'), ('birds', 'sea'), ('cat', 'cat'))
    """
    paths = [folder[:-1] or folder for folder in folders]
    while len(set(path[:1] for path in paths)) == 1:  # a folder that holds everything groups nothing
        paths = [path[1:] for path in paths]
        if not any(paths):
            return None
    depth = max(map(len, paths))
    paths = [path or folder[-1:] for path, folder in zip(paths, folders, strict=True)]
    if all(path == folder[-1:] for path, folder in zip(paths, folders, strict=True)):
        return None
    return Hierarchy(tuple(path + path[-1:] * (depth - len(path)) for path in paths))


def duplicates(names: list[str], digests: np.ndarray, splits: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    """Names of files with the same content (digests uint8 [N, D]) of which not all lie in one split."""
    split_of = np.zeros(len(names), dtype=np.int64)
    for number, rows in enumerate(splits.values()):
        split_of[rows] = number
    _, groups, counts = np.unique(digests, axis=0, return_inverse=True, return_counts=True)
    groups = groups.reshape(-1)
    order = np.flatnonzero(counts[groups] > 1)
    order = order[np.argsort(groups[order], kind="stable")]
    sets = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
    return sorted(tuple(names[row] for row in rows) for rows in sets if len(np.unique(split_of[rows])) > 1)


def _no_member(name: str) -> str:
    """Why a file is none of the data set's pictures whatever it holds, "" if it may be one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return "" if "/" in name else "it lies in no class folder"


def _check_classes(folders: list[Class], labels: np.ndarray, options: Options) -> None:
    """Raise ValueError if the folders are no classes to draw splits of."""
    top = {folder[0].lower() for folder in folders}
    if len(top) > 1 and top <= READY_SPLITS:
        raise ValueError(
            f"image_folder: the folders {', '.join(sorted(top))} look like splits, not classes; image_folder draws its "
            "own: give one of them as root, or put all pictures of a class into one folder"
        )
    if len(folders) < 2:
        raise ValueError(
            f"image_folder: {len(folders)} class folder(s) with pictures in {data_root(options.name, options.root)}; "
            "at least two sub-folders, one per class, are needed"
        )
    counts = np.bincount(labels, minlength=len(folders))
    few = np.flatnonzero(counts < LEAST)
    if len(few):
        listed = ", ".join(f"{'/'.join(folders[c])} ({counts[c]})" for c in few[:NAMED])
        raise ValueError(
            f"image_folder: {len(few)} of {len(folders)} classes have fewer than {LEAST} readable pictures, one for "
            f"each split: {listed}{', …' if len(few) > NAMED else ''}; add pictures, or move these folders away"
        )


def _told(faults: dict[str, str], total: int) -> str:
    listed = ", ".join(f"{_shown(name)} ({why})" for name, why in list(faults.items())[:NAMED])
    more = f", and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return f"{len(faults):,} of {total:,} pictures ({listed}{more})"


def _shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _tell(message: str) -> None:
    warnings.warn(message, stacklevel=4)
