"""Your own pictures in folders, as a data set: folders are classes, the folders above them their groups.

`root/animals/birds/penguin/1.jpg` is a picture of the class "penguin" on the path animals, birds. Hidden files and
folders are left out. A picture counts if it can be decoded; what cannot, or is of a format that is not read, is named,
and left out or refused by choice (`unreadable`). Splits are drawn by class. Names and contents identify the data set,
not the place of the folder.
"""

import hashlib
import re
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.duplicates import equal, straddling, used
from shc.datasets.sources import MissingData, data_root
from shc.datasets.splits import assembled, draw_shares, fingerprint
from shc.datasets.streams import images_of_files
from shc.datasets.survey import survey
from shc.hierarchy import Hierarchy
from shc.image_files import NOT_READ, SUFFIXES, image_files, unread
from shc.runs import RunError

SHARES = {"train": 0.5, "query": 0.1, "database": 0.4}  # the share `val` of the training images is held out of them
LEAST = 4  # images of a class: one for each of the four splits
NAMED = 5  # classes or files in a message
READY_SPLITS = {
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "query", "gallery", "database",
}  # fmt: skip
BESIDE = {"", "data", "image", "images", "img", "imgs", "pictures", "split"}  # what else such a name may hold

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
    root = data_root(options.name, options.root)
    found = pictures(root)
    if found.faults and options.unreadable == "fail":
        total = len(found.names) + len(found.faults)
        raise ValueError(
            f"image_folder: {_told(found.faults, total)} cannot be read; repair, convert or remove the files, or load "
            "with unreadable='skip'"
        )
    skipped = found.outside | found.faults
    if skipped:
        _tell(f"image_folder: {_told(skipped, len(found.names) + len(skipped))} left out")
    place = {folder: label for label, folder in enumerate(found.folders)}
    labels = np.array([place[PurePosixPath(name).parts[:-1]] for name in found.names], dtype=np.int64)
    _check_classes(found.folders, labels, root)
    images = assembled(
        options, images=images_of_files([root / name for name in found.names], options.size, found.source),
        labels=labels, splits=draw_shares(labels, shares(options.val), options.seed),
        class_names=class_names(found.folders), hierarchy=hierarchy(found.folders), source=found.source,
        skipped=skipped,
    )  # fmt: skip
    copies, told = _copies(images, found.names, found.digests)
    if told:
        _tell(told)
    return replace(images, duplicates=copies)


@dataclass(frozen=True)
class Pictures:
    """What a folder holds: the readable pictures of classes, and what else looks like one.

    `names` are relative paths, sorted; `digests` uint8 [N, 16] hash their contents; `folders` the class folders, also
    those without a readable picture; `faults` say why pictures cannot be read, `outside` why others are of no class.
    """

    names: list[str]
    digests: np.ndarray
    folders: list[Class]
    faults: dict[str, str]
    outside: dict[str, str]

    @property
    def source(self) -> str:
        """What identifies the pictures: names and contents."""
        rows = zip(self.names, self.digests, strict=True)
        listed = "\n".join(f"{name}\0{digest.tobytes().hex()}" for name, digest in rows)
        return f"image_folder 1 {hashlib.sha256(listed.encode()).hexdigest()}"


def pictures(root: Path) -> Pictures:
    """Find all pictures that are not hidden, and read those that are new (`shc.datasets.survey`).

    Raises MissingData without any picture, ValueError for folders that are ready-made splits.
    """
    try:
        names = image_files(root, SUFFIXES + NOT_READ)
    except RunError as error:
        raise MissingData(f"image_folder: {error}; `root` is the folder whose sub-folders are the classes") from error
    names = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    outside = {name: why for name in names if (why := _no_member(name))}
    unknown = {name: why for name in names if name not in outside and (why := unread(name))}
    names = [name for name in names if name not in outside and name not in unknown]
    folders = sorted({PurePosixPath(name).parts[:-1] for name in names})
    check_no_splits(folders, root)
    found = survey(root, names)
    good = [row for row, name in enumerate(names) if name not in found.faults]
    return Pictures([names[row] for row in good], found.digests[good], folders, found.faults | unknown, outside)


def files_of(images: ImageSet, root: str | Path) -> list[str]:
    """Paths below `root`, one per image and in their order, of an image_folder that was loaded from there.

    Raises RunError if the folder holds other pictures than it did then, or the same under other names.
    """
    found = pictures(Path(root))
    splits = {name: rows.numpy() for name, rows in images.splits.items()}
    if fingerprint(found.source, images.parameters, images.class_names, splits) != images.fingerprint:
        raise RunError(f"the pictures in {root} have changed since they were loaded; load the data set again")
    return found.names


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


def check_no_splits(folders: list[Class], root: Path) -> None:
    """Raise ValueError if class folders are ready-made splits, which would become classes or groups of classes.

    Folders called train, test and so on are taken for splits if all pictures lie below them, if the same classes lie
    below two of them, or if several classes are divided into them. A single one of that name is a class like any other.
    """
    below: dict[Class, dict[str, set[Class]]] = {}  # folder → each folder in it → the paths of classes in that
    for folder in folders:
        for depth in range(len(folder)):
            below.setdefault(folder[:depth], {}).setdefault(folder[depth], set()).add(folder[depth + 1 :])
    divided = 0
    for parent, children in below.items():
        splits = sorted(name for name in children if _split_word(name))
        if len({_split_word(name) for name in splits}) < 2:
            continue
        classes = Counter(path for name in splits for path in children[name])
        twice = sorted(path for path, count in classes.items() if path and count > 1)
        everything = len(splits) == len(children) and all(folder[: len(parent)] == parent for folder in folders)
        divided += classes[()] > 1
        if twice or everything or divided > 1:
            place = root.joinpath(*parent)
            both = f", and several of them hold {'/'.join(twice[0])}" if twice else ""
            largest = max(splits, key=lambda name: (len(children[name]), "train" in _split_word(name)))
            choice = f"give one of them as root, e.g. {place / largest}, or " if twice or everything else ""
            raise ValueError(
                f"image_folder: the folders {', '.join(splits)} look like splits, not classes; they lie in {place}"
                f"{both}. image_folder draws its own splits: {choice}put all pictures of a class into one folder"
            )


def _split_word(name: str) -> str:
    """Which split a folder's name means, "" for none: "Train", "train2017" and "train_images" mean train."""
    words = {word.removesuffix("set") for word in re.findall("[a-z]+", name.lower())} - BESIDE
    return min(words) if len(words) == 1 and words <= READY_SPLITS else ""


def _copies(images: ImageSet, names: list[str], digests: np.ndarray) -> tuple[list[tuple[str, ...]], str]:
    """Names of files with the same content of which not all lie in one split; and a warning about them."""
    rows = used(images)
    groups = equal(rows, (digest.tobytes() for digest in digests[rows]))
    apart = straddling(images, groups)
    if not apart:
        return [], ""
    there = set(np.concatenate(list(apart.values())).ravel().tolist())
    groups = [group for group in groups if not there.isdisjoint(group.tolist())]
    mixed = sum(len(images.labels[group].unique()) > 1 for group in groups)
    noise = f"; {mixed:,} of them lie in different classes too, of which one must be wrong" if mixed else ""
    splits, pairs = next(iter(apart.items()))
    first = " = ".join(f"{names[row]} in {split}" for row, split in zip(pairs[0], splits, strict=True))
    told = (
        f"image_folder: copies of the same file are in different splits, {len(groups):,} time(s) (first: {first})"
        f"{noise}; retrieval will look better than it is: remove the copies"
    )
    return sorted(tuple(names[row] for row in group) for group in groups), told


def _no_member(name: str) -> str:
    """Why a file is none of the data set's pictures whatever it holds, "" if it may be one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return "" if "/" in name else "it lies in no class folder"


def _check_classes(folders: list[Class], labels: np.ndarray, root: Path) -> None:
    """Raise ValueError if the folders are no classes to draw splits of."""
    if len(folders) < 2:
        raise ValueError(
            f"image_folder: {len(folders)} class folder(s) with pictures in {root}; "
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
