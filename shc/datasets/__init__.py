"""Image data sets, all as one record: images, labels, names, an optional class tree and splits.

A data set is one file in this folder: a function from `Options` to `ImageSet`, registered by `@dataset("name")` and
found by that name. Images are one uint8 tensor, so that a whole set fits on the training device; where that would take
too much memory they are made when they are asked for (`shc.datasets.streams`).
"""

import difflib
import math
import operator
import os
import pkgutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shc.datasets.sources import MissingData, SourceFile, located, require
from shc.hierarchy import Hierarchy
from shc.untrusted import check_npz

if TYPE_CHECKING:
    from torch import Tensor

    from shc.datasets.streams import LazyImages

PROTOCOLS = ("closed", "unseen-classes")
MOST_SEED = 2**32 - 1  # what every generator that is seeded here takes
DATA_FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set in memory, or with images that are made when they are asked for.

    `images` uint8 [N, 3, S, S], a tensor or `LazyImages`, which are used as one; `labels` int64 [N], positions in
    `class_names`, or label sets bool [N, C]; every split int64 [n], positions in `images`. No image stands in two
    splits, except that the official protocol of some sets ranks the training images themselves: then `database`
    contains `train`, and `val`. `train_classes` int64: the classes that occur in `train`. `groups` holds facts per
    image, int64 [N] each, named by `group_names` (for `emoji`: the style and the drawing that an image shows).
    `class_similarity` float64 [C, C] is the exact similarity of the classes where it is known. `fingerprint` (sha256)
    identifies source, renderer, parameters, names and splits; it does not depend on the pixels. `state` identifies the
    files on this machine where the fingerprint knows only their names and sizes, for caches. `skipped` names the files
    that are no part of it and why; `duplicates` files of the same content that lie in different splits.
    """

    name: str
    images: "Tensor | LazyImages"
    labels: "Tensor"
    class_names: list[str]
    hierarchy: Hierarchy | None
    splits: dict[str, "Tensor"]
    fingerprint: str
    train_classes: "Tensor"
    groups: dict[str, "Tensor"] = field(default_factory=dict)
    group_names: dict[str, list[str]] = field(default_factory=dict)
    class_similarity: np.ndarray | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    duplicates: list[tuple[str, ...]] = field(default_factory=list)
    state: str = ""

    def split(self, name: str) -> tuple["Tensor | LazyImages", "Tensor"]:
        """Images [n, 3, S, S] and labels [n] of one split (views where the split is contiguous, so do not write).

        Lazy images are not made: a view of them is returned. Raises ValueError if the data set has no such split.
        """
        import torch

        from shc.datasets.streams import rows_of

        if name not in self.splits:
            raise ValueError(f"{self.name} has no split {name!r}; its splits are {', '.join(self.splits)}")
        rows = self.splits[name]
        if isinstance(self.images, torch.Tensor) and len(rows) and bool((rows.diff() == 1).all()):
            span = slice(int(rows[0]), int(rows[-1]) + 1)
            return self.images[span], self.labels[span]
        return rows_of(self.images, rows), self.labels[rows]


@dataclass(frozen=True)
class Options:
    """What `load` was asked for, checked; see there."""

    name: str
    scale: float = 1.0
    size: int = 32
    seed: int = 0
    fold: int = 0
    protocol: str = "closed"
    root: str = ""
    val: float = 0.1
    unreadable: str = "skip"

    def __post_init__(self) -> None:
        for name in ("size", "seed", "fold"):
            object.__setattr__(self, name, _whole_number(name, getattr(self, name)))
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float, np.number)):
            raise ValueError(f"scale={self.scale!r} must be a number above 0 and at most 1, e.g. 0.1")
        object.__setattr__(self, "scale", float(self.scale))
        if not (math.isfinite(self.scale) and 0 < self.scale <= 1):
            raise ValueError(f"scale={self.scale} must be above 0 and at most 1; 1 gives 10,000 training images")
        if not 16 <= self.size <= 256:
            raise ValueError(f"size={self.size} must lie between 16 and 256 pixels; 32 and 64 are usual")
        if isinstance(self.val, bool) or not isinstance(self.val, (int, float, np.number)) or not 0 <= self.val <= 0.5:
            raise ValueError(f"val={self.val!r} must be a share of the training images between 0 (none) and 0.5")
        object.__setattr__(self, "val", float(self.val))
        if self.unreadable not in ("skip", "fail"):
            raise ValueError(f"unreadable={self.unreadable!r} is unknown; choose skip or fail")
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"seed={self.seed} must lie between 0 and {MOST_SEED}")
        known, about = _entry(self.name).protocols, _entry(self.name).about
        if not 0 <= self.fold < about.folds:
            there = f"0 to {about.folds - 1}" if about.folds > 1 else "only fold 0"
            raise ValueError(f"fold={self.fold} does not exist: {self.name} has {there} ({about.drawn})")
        if self.protocol == "closed":  # everywhere the name of the usual protocol
            object.__setattr__(self, "protocol", known[0])
        if self.protocol not in known:
            raise ValueError(f"protocol={self.protocol!r} is unknown to {self.name}; choose {' or '.join(known)}")


@dataclass(frozen=True)
class About:
    """What `shc datasets` tells of a data set: facts of its publishers, not of files on this machine."""

    classes: str = ""  # e.g. "100 in 20 super-classes"
    images: str = ""  # e.g. "50,000 + 10,000, 32 px"
    labels: str = "one class"
    terms: str = ""  # licence, or terms of use
    files: tuple[SourceFile, ...] = ()  # below `root`; none for a data set that the package carries
    elsewhere: str = ""  # a folder that serves as root if the user's own lacks the files
    layouts: tuple[str, ...] = ()  # further files and folders below `root`, of other layouts that the loader reads
    folds: int = 1
    drawn: str = "another seed draws other splits"  # what its folds are, or why it has one only


Builder = Callable[[Options], ImageSet]


@dataclass(frozen=True)
class Entry:
    """A registered data set."""

    build: Builder
    protocols: tuple[str, ...]
    about: About

    @property
    def description(self) -> str:
        """First line of the builder's docstring."""
        return (self.build.__doc__ or "").strip().split("\n")[0]


_REGISTRY: dict[str, Entry] = {}


def dataset(
    name: str, protocols: tuple[str, ...] = PROTOCOLS, about: About | None = None
) -> Callable[[Builder], Builder]:
    """Register the decorated function `Options -> ImageSet`; its docstring's first line is the description.

    `protocols` are the ways of splitting that it knows, the usual one first.
    """

    def register(build: Builder) -> Builder:
        _REGISTRY[name] = Entry(build, protocols, about or About())
        return build

    return register


def entries() -> dict[str, Entry]:
    """Every data set in this folder by name."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def available() -> dict[str, str]:
    """Name and one-line description of every data set in this folder.

    >>> {"emoji", "shapes"} <= set(available())
    True
    """
    return {name: entry.description for name, entry in entries().items()}


def load(
    name: str,
    scale: float = 1.0,
    size: int = 32,
    seed: int = 0,
    fold: int = 0,
    protocol: str = "closed",
    root: str = "",
    val: float = 0.1,
    unreadable: str = "skip",
) -> ImageSet:
    """Load a data set by name; rendered images come from the cache folder if they were rendered before.

    `scale` in (0, 1] shrinks every split (at least 2 images per class and split); `size` is the image's side in pixels;
    `seed` draws the renders; `fold` selects what is held out (for `emoji`, the family of drawings);
    `protocol="unseen-classes"` trains on four classes of each super-class and retrieves among the fifth ones. Real
    data sets have protocols of their own ("closed" is the usual one of each), lie in the folder `root` (empty: the
    user's data folder), and give the share `val` of their training images to choose epochs by; `unreadable="fail"`
    refuses a folder with damaged pictures, which are otherwise left out and named.
    Raises ValueError for an unknown name, for values out of range, and for files that are missing or damaged.

    >>> tiny = load("emoji", scale=0.02)
    >>> tuple(tiny.images.shape), sorted(tiny.splits)
    ((1700, 3, 32, 32), ['database', 'query', 'query_seen', 'train', 'val'])
    """
    return _entry(name).build(Options(name, scale, size, seed, fold, protocol, root, val, unreadable))


def check(name: str, **options: Any) -> None:
    """Raise the ValueError that `load` would raise for these arguments, whatever files there are."""
    Options(name, **options)


def check_files(name: str, root: str = "") -> None:
    """Raise MissingData unless the folder and the official files that `load` reads are there; none is opened.

    A set in a layout of its own (`About.layouts`) is left to its loader.
    """
    about = _entry(name).about
    folder = located(name, about.files, root, about.elsewhere)
    if (root or about.images == "yours") and not os.path.isdir(folder):
        given = "" if root else "no root was given, and "
        raise MissingData(f"{name}: {given}{folder} is no folder; give --root FOLDER, the folder with the files")
    if not any(os.path.exists(folder / other) for other in about.layouts):
        require(name, about.files, folder)


def class_name_embeddings(name: str) -> np.ndarray:
    """Sentence embeddings (MiniLM) of "a photo of a NAME." for a data set's class names: float32 [C, 384], unit rows.

    Rows follow `class_names`. Raises ValueError for a data set without stored embeddings.

    >>> class_name_embeddings("emoji").shape
    (100, 384)
    """
    archive = read_archive("class_name_embeddings.npz")
    known = sorted(key.removesuffix("_names") for key in archive if key.endswith("_names"))
    if name not in known:
        raise ValueError(
            f"there are no class-name embeddings for {name!r}, only for {' and '.join(known)}; give a .npy file of "
            "your own with a row per class (embeddings=…), or take the similarity from the hierarchy or the classifier"
        )
    vectors = archive[name].astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read_archive(file_name: str) -> dict[str, np.ndarray]:
    """All arrays of one of the package's own npz files; ValueError if it is missing or damaged."""
    file = DATA_FOLDER / file_name
    try:
        check_npz(file)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        state = "damaged" if file.exists() else "missing"
        raise ValueError(f"{file} is {state}; it is part of the package, so install the package again") from error


def _entry(name: str) -> Entry:
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    if name not in _REGISTRY and name in modules:
        import_module(f"{__name__}.{name}")
    if name not in _REGISTRY and name not in (known := available()):
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"data set {name!r} is unknown{hint} Known data sets: {', '.join(known)}")
    return _REGISTRY[name]


def _whole_number(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} must be a whole number, not {type(value).__name__}") from None
