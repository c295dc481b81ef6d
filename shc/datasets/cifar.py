"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 60,000 photographs of 32 px, read from the binary archives.

A record is the label (CIFAR-100: coarse, then fine), then 1,024 red, 1,024 green and 1,024 blue bytes, row by row. The
archive is read member by member; the unpacked folder serves as well. The pickled versions are not read: a pickle can
run any code.
"""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.reading import check_labels, check_size, resized
from shc.datasets.sources import BLOCK, SourceFile, data_root, require
from shc.datasets.splits import assembled, draw
from shc.hierarchy import Hierarchy
from shc.untrusted import Limited, TooLarge, check_regular

SIDE = 32  # pixels
PIXELS = 3 * SIDE * SIDE  # bytes
LONGEST_LIST = 10_000  # bytes of a file of class names
MOST_ELSE = 2**26  # bytes of an archive beside what is wanted, members of no use and long names
TERMS = "no licence given; cite Krizhevsky 2009"
SITE = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True)
class Layout:
    """What an archive holds: images per file, training files first, and the lists of class names."""

    records: dict[str, int]
    names: tuple[str, ...]  # one list per label byte, in the order of the bytes
    classes: tuple[int, ...]  # and how many names it has


CIFAR10 = Layout(
    {f"data_batch_{i}.bin": 10_000 for i in range(1, 6)} | {"test_batch.bin": 10_000}, ("batches.meta.txt",), (10,)
)
CIFAR100 = Layout(
    {"train.bin": 50_000, "test.bin": 10_000}, ("coarse_label_names.txt", "fine_label_names.txt"), (20, 100)
)
ARCHIVE10 = SourceFile(
    "cifar-10-binary.tar.gz", f"{SITE}/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171,
    instead="cifar-10-batches-bin",
)  # fmt: skip
ARCHIVE100 = SourceFile(
    "cifar-100-binary.tar.gz", f"{SITE}/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 168_513_733,
    instead="cifar-100-binary",
)  # fmt: skip
# Images of every class, drawn from training and test images together; −1 takes what is left.
CIFAR10_DRAWS = {"query": 100, "train": 500, "database": -1}
CIFAR100_DRAWS = {"train": 100, "query": 50, "database": -1}


@dataset(
    "cifar10",
    protocols=("disjoint", "train-in-database"),
    about=About("10", "50,000 + 10,000, 32 px", terms=TERMS, files=(ARCHIVE10,), drawn="splits are drawn by the seed"),
)
def cifar10(options: Options) -> ImageSet:
    """CIFAR-10: small photographs of ten kinds of animals and vehicles.

    1,000 images ask and 5,000 train, drawn by class from all 60,000. `disjoint`: the other 54,000 are ranked.
    `train-in-database`: the 59,000 that do not ask. Raises ValueError for an archive that is missing or damaged.
    """
    content = read(options, ARCHIVE10, CIFAR10)
    labels = content.labels[:, 0]
    check_labels(labels, 10, content.place)
    return assembled(
        options,
        images=resized(content.images, options.size, content.source),
        labels=labels,
        splits=cifar10_rows(labels, options.protocol, options.seed),
        class_names=content.names[0],
        hierarchy=None,
        source=content.source,
    )


@dataset(
    "cifar100",
    protocols=("paper", "official"),
    about=About(
        "100 in 20 super-classes",
        "50,000 + 10,000, 32 px",
        "one class, one super-class",
        TERMS,
        (ARCHIVE100,),
        drawn="splits are drawn by the seed, or the publishers'",
    ),
)
def cifar100(options: Options) -> ImageSet:
    """CIFAR-100: small photographs of one hundred things, five to a super-class.

    `paper`: 10,000 train, 5,000 ask and 45,000 are ranked, drawn by class from all 60,000. `official`: the 10,000 test
    images ask, the 50,000 training images train and are ranked. Raises ValueError for an archive that is missing or
    damaged.
    """
    content = read(options, ARCHIVE100, CIFAR100)
    coarse, fine = content.labels.T
    check_labels(coarse, 20, f"{content.place} (first byte, coarse)")
    check_labels(fine, 100, f"{content.place} (second byte, fine)")
    parents = super_classes(coarse, fine, content.place)
    return assembled(
        options,
        images=resized(content.images, options.size, content.source),
        labels=fine,
        splits=cifar100_rows(fine, CIFAR100.records["train.bin"], options.protocol, options.seed),
        class_names=content.names[1],
        hierarchy=Hierarchy(tuple((content.names[0][parent],) for parent in parents)),
        source=content.source,
    )


def cifar10_rows(labels: np.ndarray, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """Rows of every split of CIFAR-10 for labels int64 [N].

    >>> rows = cifar10_rows(np.repeat(np.arange(10), 6000), "train-in-database", 0)
    >>> {split: len(found) for split, found in rows.items()}
    {'train': 5000, 'query': 1000, 'database': 59000}
    """
    drawn = draw(labels, CIFAR10_DRAWS, seed)
    database = drawn["database"]
    if protocol == "train-in-database":
        database = np.sort(np.concatenate([database, drawn["train"]]))
    return {"train": drawn["train"], "query": drawn["query"], "database": database}


def cifar100_rows(labels: np.ndarray, train: int, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """Rows of every split of CIFAR-100 for fine labels int64 [N] whose first `train` images are the training images.

    >>> rows = cifar100_rows(np.repeat(np.arange(100), 600), 50_000, "paper", 0)
    >>> {split: len(found) for split, found in rows.items()}
    {'train': 10000, 'query': 5000, 'database': 45000}
    """
    if protocol == "paper":
        return draw(labels, CIFAR100_DRAWS, seed)
    everything = np.arange(train)
    return {"train": everything, "query": np.arange(train, len(labels)), "database": everything}


def super_classes(coarse: np.ndarray, fine: np.ndarray, place: str) -> np.ndarray:
    """The coarse class of every fine one, int64 [C]; ValueError if images of one fine class disagree.

    >>> super_classes(np.array([7, 7, 3]), np.array([0, 0, 1]), "train.bin")
    array([7, 3])
    """
    parents = np.zeros(fine.max() + 1, dtype=np.int64)
    parents[fine] = coarse
    wrong = np.flatnonzero(parents[fine] != coarse)
    if len(wrong):
        i = wrong[0]
        raise ValueError(
            f"{place}: images of fine class {fine[i]} lie in the coarse classes {coarse[i]} and {parents[fine[i]]}; a "
            "record starts with the coarse label, then comes the fine one. The file is damaged, fetch it again"
        )
    return parents


@dataclass(frozen=True, eq=False)
class Content:
    """An archive's images uint8 [N, 3, 32, 32], labels int64 [N, label bytes] and names, training images first."""

    images: np.ndarray
    labels: np.ndarray
    names: list[list[str]]
    place: str
    source: str


def read(options: Options, archive: SourceFile, layout: Layout) -> Content:
    """Everything in the archive or in the unpacked folder; ValueError if something is missing, cut short or damaged."""
    root = data_root(options.name, options.root)
    require(options.name, (archive,), root)
    width = len(layout.names) + PIXELS
    sizes = {name: count * width for name, count in layout.records.items()}
    packed = root / archive.name
    place = packed if packed.exists() else root / archive.instead
    wanted = sizes | dict.fromkeys(layout.names, -1)
    files = from_tar(place, archive.instead, wanted) if packed.exists() else from_folder(place, wanted)
    if missing := [name for name in wanted if name not in files]:
        raise ValueError(f"{place} lacks {', '.join(missing)}; it was cut short or is another archive, fetch it again")
    digest = hashlib.sha256()  # of what is inside: the archive may have been packed again
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])} ".encode())
        digest.update(files[name])
    names = [
        read_names(files[name], classes, f"{name} in {place}")
        for name, classes in zip(layout.names, layout.classes, strict=True)
    ]
    images = np.empty((sum(layout.records.values()), PIXELS), np.uint8)
    labels = np.empty((len(images), width - PIXELS), np.int64)
    start = 0
    for name, count in layout.records.items():
        records = np.frombuffer(files.pop(name), np.uint8).reshape(count, width)
        rows = slice(start, start + count)
        labels[rows], images[rows] = records[:, :-PIXELS], records[:, -PIXELS:]
        start += count
    return Content(
        images=images.reshape(-1, 3, SIDE, SIDE),
        labels=labels,
        names=names,
        place=str(place),
        source=f"{archive.name} {digest.hexdigest()}",
    )


def from_tar(file: Path, folder: str, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Content of the wanted members, which lie in `folder`; a length of −1 allows up to LONGEST_LIST bytes."""
    found: dict[str, bytes] = {}
    most = MOST_ELSE + 2 * sum(max(size, LONGEST_LIST) for size in wanted.values())
    try:
        check_regular(file)
        with (
            gzip.open(file) as unzipped,
            tarfile.open(fileobj=(whole := Limited(unzipped, most)), mode="r|", bufsize=BLOCK) as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                inside, _, name = member.name.removeprefix("./").rpartition("/")
                if inside != folder or name not in wanted or not member.isreg():
                    continue
                check_length(member.size, wanted[name], f"{name} in {file}")
                stream = archive.extractfile(member)
                assert stream  # a regular file has one
                found[name] = stream.read()
                check_length(len(found[name]), wanted[name], f"{name} in {file}")
            while whole.read(BLOCK):  # to the end, where the checksum stands
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, TooLarge) as error:
        raise ValueError(f"{file} was cut short or is damaged ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error}); fetch it again") from error
    return found


def from_folder(folder: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Content of the wanted files of an unpacked archive."""
    found = {}
    for name, size in wanted.items():
        file = folder / name
        if file.is_file():
            check_length(file.stat().st_size, size, file)
            found[name] = file.read_bytes()
    return found


def check_length(size: int, expected: int, what: str | Path) -> None:
    """Raise ValueError for a file of another length than expected (−1: up to LONGEST_LIST)."""
    check_size(size, min(size, LONGEST_LIST) if expected < 0 else expected, what)


def read_names(content: bytes, classes: int, what: str) -> list[str]:
    """The names of a list, one a line, with spaces for underscores; ValueError unless there are so many.

    >>> read_names(b"oak_tree\\nrose\\n\\n", 2, "names.txt")
    ['oak tree', 'rose']
    """
    lines = content.decode("utf-8", errors="replace").splitlines()
    names = [line.strip().replace("_", " ") for line in lines if line.strip()]
    if len(set(names)) != classes or len(names) != classes:
        raise ValueError(f"{what} holds {len(set(names))} names, not {classes}; it is damaged, fetch it again")
    return names
