"""NABirds: 48,562 photographs of 555 kinds of North American birds (Van Horn et al., Building a Bird Recognition App,
2015), with the tree that comes with it: orders, some families, species, and below them sex, age or morph.

Read from the official text files and folders, unpacked. Pictures are kept whole; the bounding boxes are not used.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.listed import check_every_class, listed_pictures, warn_of_other_counts
from shc.datasets.sources import SourceFile, data_root, require
from shc.datasets.splits import assembled, draw_shares
from shc.datasets.streams import images_of_files
from shc.hierarchy import Hierarchy
from shc.untrusted import TooLarge, check_text

OFFICIAL = {"training pictures": 23929, "test pictures": 24633, "classes": 555}
PAPER = {"train": 16384, "query": 8171, "database": 25612}  # protocol b; more than there are
IMAGES, LABELS, SPLIT = "images.txt", "image_class_labels.txt", "train_test_split.txt"
CLASSES, PARENTS = "classes.txt", "hierarchy.txt"
MOST_TEXT = 2**26  # bytes of a text file; the largest official one has 4 MB
MOST_LEVELS = 20  # of the tree; 4 there
LONGEST = 18  # digits of a class's number
_NOTE = "https://dl.allaboutbirds.org/nabirds (fill in the form, accept the terms, unpack the archive)"
FILES = tuple(SourceFile(name, note=_NOTE) for name in (IMAGES, LABELS, SPLIT, CLASSES, PARENTS, "images"))


@dataclass(frozen=True, eq=False)
class Birds:
    """What the files say: `paths` below the root, `labels` int64 [N], `train` bool [N]; rows as in images.txt."""

    paths: list[str]
    labels: np.ndarray
    train: np.ndarray
    class_names: list[str]
    hierarchy: Hierarchy


@dataset(
    "nabirds",
    protocols=("a", "b"),
    about=About(
        classes="555 in 404 species and 22 orders",
        images="23,929 + 24,633, photographs",
        terms="terms of use of the Cornell Lab of Ornithology, to be accepted in a form",
        files=FILES,
        drawn="the splits are official, or drawn by the seed",
    ),
)
def nabirds(options: Options) -> ImageSet:
    """NABirds: photographs of 555 kinds of North American birds, in the tree of their species and orders.

    Protocol `a`: the official lists; the database is the 23,929 training pictures, 24,633 test pictures ask. The
    paper has these numbers the other way round (24,633 and 23,929), which looks like a slip. Protocol `b`: the paper's
    sizes (16,384 / 8,171 / 25,612) sum to 50,167, more than the 48,562 pictures there are; so its proportions are
    drawn from every class, and the database is the rest.
    Raises ValueError (MissingData where files are not there) that says which file and what to do.
    """
    root = data_root(options.name, options.root)
    birds = read_birds(root)
    for train, what in ((True, "training pictures"), (False, "test pictures")):
        check_every_class(options.name, birds.labels[birds.train == train], birds.class_names, what)
    found = (int(birds.train.sum()), int((~birds.train).sum()), len(birds.class_names))
    warn_of_other_counts(options.name, dict(zip(OFFICIAL, found, strict=True)), OFFICIAL)
    annotations = [root / name for name in (IMAGES, LABELS, SPLIT, CLASSES, PARENTS)]
    files, source, state = listed_pictures(options.name, root, birds.paths, annotations)
    if options.protocol == "a":
        rows = np.flatnonzero(birds.train)
        splits = {"train": rows, "query": np.flatnonzero(~birds.train), "database": rows}
    else:
        splits = drawn(birds.labels, options.seed)
    return assembled(
        options,
        images=images_of_files(files, options.size, state),
        labels=birds.labels,
        splits=splits,
        class_names=birds.class_names,
        hierarchy=birds.hierarchy,
        source=source,
        state=state,
    )


def drawn(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Protocol `b`, disjoint: the paper's proportions of every class, about 15,850 / 7,920 / 24,790 of 48,562 pictures.

    A class of six or more pictures is in every split.

    >>> {name: len(rows) for name, rows in drawn(np.repeat([0, 1], [100, 13]), seed=0).items()}
    {'train': 37, 'query': 18, 'database': 58}
    """
    total = sum(PAPER.values())
    return draw_shares(labels, {name: size / total for name, size in PAPER.items()}, seed, least=0)


def read_birds(root: Path) -> Birds:
    """Paths, labels, official split and tree, from the five text files in `root`.

    Raises MissingData if one is not there, ValueError if they do not fit each other.
    """
    require("nabirds", FILES, root)
    images, labels, split = (_table(root / name) for name in (IMAGES, LABELS, SPLIT))
    for name, table in ((LABELS, labels), (SPLIT, split)):
        if other := images.keys() ^ table.keys():
            raise ValueError(
                f"{root / IMAGES} and {root / name} do not list the same pictures ({len(other):,} stand in one only, "
                f"e.g. {min(other)}); one was cut short or changed: unpack the archive again"
            )
    if not images:
        raise ValueError(f"{root / IMAGES} is empty; unpack the archive again")
    for picture, flag in split.items():
        if flag not in ("0", "1"):
            raise ValueError(
                f"{root / SPLIT}: picture {picture} has {flag!r}, not 1 (training) or 0 (test); unpack the archive "
                "again"
            )
    names, parents = _table(root / CLASSES), _table(root / PARENTS)
    for picture, node in labels.items():
        if node not in names or not node.isdecimal() or len(node) > LONGEST:
            raise ValueError(
                f"{root / LABELS}: picture {picture} has class {node!r}, which {CLASSES} does not name; the files are "
                "of different versions or damaged: unpack the archive again"
            )
    nodes = sorted(set(labels.values()), key=int)  # the numbers of classes have gaps
    place = {node: label for label, node in enumerate(nodes)}
    return Birds(
        paths=[f"images/{path}" for path in images.values()],
        labels=np.array([place[labels[picture]] for picture in images], dtype=np.int64),
        train=np.array([split[picture] == "1" for picture in images], dtype=bool),
        class_names=_unique([names[node] for node in nodes], nodes),
        hierarchy=tree(nodes, names, parents, root / PARENTS),
    )


def tree(nodes: list[str], names: dict[str, str], parents: dict[str, str], file: Path) -> Hierarchy:
    """Ancestors' names of each class below the root, coarsest first; short paths repeat their last parent.

    265 official classes lie below order, family and species, 290 below order and species: there the species stands
    twice. Raises ValueError, naming `file`, for a class without a way to the root, and for a node without a name.

    >>> parents = {"1": "0", "2": "1", "3": "2", "4": "1"}
    >>> names = {"0": "Birds", "1": "Owls", "2": "Barn Owl", "3": "Barn Owl (White)", "4": "Snowy Owl"}
    >>> tree(["3", "4"], names, parents, Path("hierarchy.txt")).paths
    (('Owls', 'Barn Owl'), ('Owls', 'Owls'))
    """
    paths = []
    for node in nodes:
        path: list[str] = []
        above = node
        while above in parents and len(path) <= MOST_LEVELS:
            above = parents[above]
            path.insert(0, above)
        if not path or len(path) > MOST_LEVELS:
            circle = "goes in a circle" if len(set(path)) < len(path) else f"has more than {MOST_LEVELS} levels"
            reason = f"{circle} above" if path else "does not hold"
            raise ValueError(f"{file} {reason} class {node} ({names[node]}); it is damaged: unpack the archive again")
        if unnamed := [above for above in path if above not in names]:
            raise ValueError(
                f"{file} names node {unnamed[0]} above class {node}, which {CLASSES} does not name; the files are of "
                "different versions or damaged: unpack the archive again"
            )
        paths.append([names[above] for above in path[1:]] or [names[node]])  # the root, "Birds", joins everything
    depth = max(map(len, paths))
    return Hierarchy(tuple((*path, *[path[-1]] * (depth - len(path))) for path in paths))


def _table(file: Path) -> dict[str, str]:
    """Lines "key value" in their order; the value may have spaces."""
    try:
        check_text(file, MOST_TEXT)
        lines = file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text ({error}); it is damaged: unpack the archive again") from None
    except (OSError, TooLarge) as error:
        raise ValueError(f"{file} cannot be read ({error}); unpack the archive again") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, _, value = line.strip().partition(" ")
        if not key:
            continue
        if not value or key in found:
            reason = f"has {key} a second time" if value else "needs two entries"
            raise ValueError(f"{file}: line {number} ({line.strip()!r}) {reason}; unpack the archive again")
        found[key] = " ".join(value.split())
    return found


def _unique(names: list[str], nodes: list[str]) -> list[str]:
    """The names, with the class number where one comes twice."""
    count = Counter(names)
    return [f"{name} ({node})" if count[name] > 1 else name for name, node in zip(names, nodes, strict=True)]
