"""MS COCO with label sets: photographs with the categories of all objects in them (Lin et al., 2014).

Read from the official annotations of instances (2017, or 2014: the same pictures in other folders) and the unpacked
folders of pictures. Rows are in the order of the pictures' numbers, so that both years give the same splits. An image
has a category if any object of it is annotated, crowds too. Pictures are kept whole.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.listed import check_every_class, listed_pictures, warn_of_other_counts
from shc.datasets.sources import MissingData, SourceFile, data_root, require
from shc.datasets.splits import assembled, draw
from shc.datasets.streams import images_of_files
from shc.hierarchy import Hierarchy
from shc.untrusted import check_text

OFFICIAL = {"pictures with labels": 122218, "pictures without": 1069, "categories": 80}
COUNTS = {"query": 5000, "train": 10000}
YEARS = ("2017", "2014")
PARTS = ("train", "val")
MOST_TEXT = 2**31  # bytes of an annotation file; the largest official one has 470 MB
MOST_CATEGORIES = 1000  # each is a column of a table that has a row for each picture
OLDER = tuple(f"annotations/instances_{part}2014.json" for part in PARTS)
_SITE = "http://images.cocodataset.org"
FILES = (
    SourceFile("annotations_trainval2017.zip", f"{_SITE}/annotations/annotations_trainval2017.zip",
               "f4bbac642086de4f52a3fdda2de5fa2c", 252907541, instead="annotations"),
    SourceFile("train2017.zip", f"{_SITE}/zips/train2017.zip",
               "cced6f7f71b7629ddf16f17bbcfab6b2", 19336861798, instead="train2017"),
    SourceFile("val2017.zip", f"{_SITE}/zips/val2017.zip",
               "442b8da7639aecaf257c1dceb8ba8c80", 815585330, instead="val2017"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Instances:
    """What the annotations say: `paths` below the root, `labels` bool [N, C]; `dropped` pictures have no label."""

    paths: list[str]
    labels: np.ndarray
    class_names: list[str]
    groups: list[str]
    dropped: int


@dataset(
    "coco",
    protocols=("hashnet", "disjoint"),
    about=About(
        classes="80 in 12 super-categories",
        images="123,287 photographs, 122,218 of them with labels",
        labels="label sets",
        terms="annotations CC BY 4.0; pictures under the terms of use of Flickr",
        files=FILES,
        layouts=(*OLDER, "train2014", "val2014"),
        drawn="the splits are drawn by the seed",
    ),
)
def coco(options: Options) -> ImageSet:
    """MS COCO: photographs with the set of the categories that they show, 80 in 12 super-categories.

    The 1,069 of 123,287 pictures without any annotated object are dropped; `parameters["dropped"]` counts them.
    Protocol `hashnet` (Cao et al. 2017, and most work on hashing since): 5,000 random queries, all others are the
    database, and 10,000 of these train. `disjoint`: the same, without the training pictures in the database.
    Raises ValueError (MissingData where files are not there) that says which file and what to do.
    """
    root = data_root(options.name, options.root)
    annotations = annotation_files(root)
    found = read_instances(annotations)
    check_every_class(options.name, found.labels, found.class_names, "pictures")
    counts = (len(found.paths), found.dropped, len(found.class_names))
    warn_of_other_counts(options.name, dict(zip(OFFICIAL, counts, strict=True)), OFFICIAL)
    _refuse_packed(root, {path.split("/")[0] for path in found.paths})
    files, source, state = listed_pictures(options.name, root, found.paths, annotations)
    images = assembled(
        options,
        images=images_of_files(files, options.size, state),
        labels=found.labels,
        splits=drawn(len(found.paths), options.protocol, options.seed),
        class_names=found.class_names,
        hierarchy=Hierarchy(tuple((group,) for group in found.groups)),
        source=source,
        state=state,
    )
    return dataclasses.replace(images, parameters=images.parameters | {"dropped": found.dropped})


def drawn(count: int, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """5,000 query, 10,000 training and the other rows, of `count`; in `hashnet` the database contains those that train.

    Raises ValueError for fewer than 15,001 pictures.

    >>> {name: len(rows) for name, rows in drawn(122218, "hashnet", seed=0).items()}
    {'query': 5000, 'train': 10000, 'database': 117218}
    """
    needed = sum(COUNTS.values())
    if count <= needed:
        raise ValueError(f"coco has {count:,} pictures, but its splits need more than {needed:,}: fetch all of them")
    splits = draw(np.zeros(count, dtype=np.int64), COUNTS | {"database": -1}, seed)
    if protocol == "hashnet":
        splits["database"] = np.union1d(splits["database"], splits["train"])
    return splits


def annotation_files(root: Path) -> list[Path]:
    """The two annotation files, of 2017 if they are there, else of 2014.

    Raises MissingData if one is not there.
    """
    by_year = [[root / "annotations" / f"instances_{part}{year}.json" for part in PARTS] for year in YEARS]
    files = next((files for files in by_year if any(file.exists() for file in files)), by_year[0])
    if missing := [file.relative_to(root).as_posix() for file in files if not file.exists()]:
        require("coco", FILES, root)
        raise MissingData(
            f"coco: {' and '.join(missing)} not found in {root}; unpack annotations_trainval{files[0].stem[-4:]}.zip "
            "there (it makes the folder annotations), or give another root"
        )
    return files


def read_instances(files: Iterable[Path]) -> Instances:
    """Pictures with their label sets, by number; categories by their official numbers, which have gaps.

    Raises ValueError for files that are damaged, of another kind, or do not fit each other.
    """
    images: dict[int, str] = {}
    pairs, categories = [], None
    for file in files:
        listed, annotated, of_file = _parsed(file)
        if categories not in (None, of_file):
            raise ValueError(f"{file} has other categories than the file before; take both files of one year")
        categories = of_file
        numbers = {number for number, _ in listed}
        if len(numbers) < len(listed) or numbers & images.keys():
            raise ValueError(f"{file} lists a picture twice, or one of the other file; fetch the annotations again")
        _check_known(file, annotated[:, 0], numbers, "picture", "images")
        _check_known(file, annotated[:, 1], of_file.keys(), "category", "categories")
        folder = file.stem.removeprefix("instances_")
        images |= {number: f"{folder}/{name}" for number, name in listed}
        pairs.append(annotated)
    if not categories or not images:
        raise ValueError("coco: the annotations list no categories or no pictures; fetch them again")
    rows, columns = np.array(sorted(images)), np.array(sorted(categories))
    labels = np.zeros((len(rows), len(columns)), dtype=bool)
    picture, category = np.concatenate(pairs).T
    labels[np.searchsorted(rows, picture), np.searchsorted(columns, category)] = True
    labeled = labels.any(1)
    return Instances(
        paths=[images[number] for number in rows[labeled].tolist()],
        labels=labels[labeled],
        class_names=[categories[number][0] for number in columns.tolist()],
        groups=[categories[number][1] for number in columns.tolist()],
        dropped=int((~labeled).sum()),
    )


def _parsed(file: Path) -> tuple[list[tuple[int, str]], np.ndarray, dict[int, tuple[str, str]]]:
    """Pictures (number, file name), annotations int64 [n, 2] (picture, category), categories (name, super-category)."""
    try:
        check_text(file, MOST_TEXT)
        with file.open(encoding="utf-8") as stream:
            data = json.load(stream, object_hook=_slim)
        listed = [(int(number), str(name)) for number, name in data["images"]]
        annotated = np.array(data["annotations"], dtype=np.int64).reshape(-1, 2)
        categories = {int(entry["id"]): (entry["name"], entry["supercategory"]) for entry in data["categories"]}
        if len(categories) < len(data["categories"]):
            raise ValueError("it lists a category twice")
        if not all(isinstance(name, str) and name for names in categories.values() for name in names):
            raise ValueError("a category without a name")
        if len(categories) > MOST_CATEGORIES or not all(abs(n) < 2**63 for n in (*dict(listed), *categories)):
            raise ValueError("numbers of pictures or categories beyond all measure")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, OSError) as error:  # JSON's is a ValueError
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{file} is damaged, was cut short, or holds no annotations of instances ({type(error).__name__}: "
            f"{reason}); unpack the annotations again"
        ) from error
    return listed, annotated, categories


def _slim(entry: dict[str, Any]) -> Any:
    """Keep two values of a picture or annotation while the file is parsed: the outlines would take gigabytes."""
    if "image_id" in entry:
        return entry["image_id"], entry["category_id"]
    if "file_name" in entry:
        return entry["id"], entry["file_name"]
    return entry


def _check_known(file: Path, numbers: np.ndarray, known: Iterable[int], what: str, where: str) -> None:
    unknown = np.setdiff1d(numbers, list(known))
    if len(unknown):
        raise ValueError(
            f"{file}: an annotation has {what} {unknown[0]}, which does not stand under {where!r}; the file is damaged "
            "or was changed: unpack the annotations again"
        )


def _refuse_packed(root: Path, folders: Iterable[str]) -> None:
    for folder in sorted(folders):
        if not (root / folder).is_dir():
            state = "is not unpacked: unpack it there" if (root / f"{folder}.zip").exists() else "is missing: get it"
            raise MissingData(f"coco: {folder}.zip in {root} {state}, so that the folder {folder} is there")
