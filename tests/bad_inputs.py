"""Bad inputs as data: what is wrong, where it is given, and which words the refusal must hold.

The tables stand in the modules bad_inputs_*.py, one per kind of entry; tests/test_bad_input.py runs all of them. The
`place` of a case is a folder of its own, in which it is also executed; `prepare` fills it before it is looked at.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


@dataclass(frozen=True)
class Case:
    """One bad input: `call` raises when called with the place, or is a line of arguments of `shc`.

    `good`, where it is given, is the same call without the mistake: it must be accepted, so that it is the mistake
    that is refused.
    """

    surface: str
    what: str
    call: Callable[[Path], Any] | str
    words: str  # in the message, each of those parted by ' & '
    prepare: Callable[[Path], Any] | None = None
    good: Callable[[], Any] | None = None

    def __str__(self):
        return f"{self.surface}: {self.what}"


def of_function(surface, function, good, *rows):
    """Cases of a function: what is wrong, the arguments that differ from the good ones, the words."""
    accepted = partial(function, **good)
    return [
        Case(surface, what, lambda place, changed=good | changed: function(**changed), words, good=accepted)
        for what, changed, words in rows
    ]


def of_files(surface, make, call, *rows):
    """Cases of what reads files: what is wrong, how the good ones made by `make(place)` are changed, the words."""

    def prepare(place, change):
        make(place)
        change(place)

    return [Case(surface, what, call, words, partial(prepare, change=change)) for what, change, words in rows]


def of_folders(surface, call, *rows):
    """Cases of what reads files: what is wrong, what fills the place so, the words."""
    return [Case(surface, what, call, words, make) for what, make, words in rows]


def of_command(command, *rows, prepare=None):
    """Cases of a command: what is wrong, its arguments, the words."""
    return [Case(f"shc {command}", what, f"{command} {line}", words, prepare) for what, line, words in rows]


def snapshot(folder):
    """Everything below a folder: files with their content, and whatever else there is by its kind."""
    return {
        str(file.relative_to(folder)): file.read_bytes() if file.is_file() else file.lstat().st_mode
        for file in sorted(folder.rglob("*"))
    }


def rewritten(name, change):
    """A function of a folder that replaces a file's bytes by `change` of them."""

    def rewrite(folder):
        file = folder / name
        file.write_bytes(change(file.read_bytes()))

    return rewrite


def written(name, content):
    """A function of a folder that writes a file."""

    def write(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def emptied(name):
    """A function of a folder that leaves nothing in a file."""
    return rewritten(name, lambda _: b"")


def nothing(folder):
    """What is wrong is not in the files."""


def load(name, folder="files", **options):
    """A call that loads a data set from this folder of the place."""
    from shc import datasets

    return lambda place: datasets.load(name, root=str(place / folder), **{"size": 16, "val": 0} | options)


def both(*changes):
    """A function of a folder that makes several changes."""

    def change(folder):
        for one in changes:
            one(folder)

    return change


def half(content):
    return content[: len(content) // 2]


def replaced(old, new):
    """A function of bytes that replaces the first `old`, which must be there."""

    def replace(content):
        assert old in content, f"{old!r} is not there to be replaced"
        return content.replace(old, new, 1)

    return replace


def without(name):
    """A function of a folder that deletes a file or folder in it."""

    def delete(folder):
        target = folder / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return delete


@cache
def built(make):
    """The folder that `make(folder)` fills, made once."""
    folder = Path(mkdtemp(prefix="bad-inputs-"))
    make(folder)
    return folder


def put(make, name):
    """A function of a place that puts a copy of what `make` makes there, under this name."""

    def prepare(place):
        shutil.copytree(built(make), place / name, dirs_exist_ok=True)

    return prepare


def tiny_run(folder):
    """A run of all three stages on a few shapes, hardly trained."""
    from shc import stages
    from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig, SimilarityConfig
    from shc.runs import Run

    short = dict(epochs=1, batch=100, device="cpu", threads=1)
    run = Run(folder)
    images = stages.start(run, Data(data="shapes", scale=0.02, size=16))
    list(stages.train_classifier(run, images, ClassifierConfig(**short)))
    stages.class_similarity(run, images, SimilarityConfig())
    next(stages.optimize_centers(run, images, CentersConfig(bits=16)))  # the first set will do
    list(stages.train_hasher(run, images, HasherConfig(**short)))


def tiny_store(folder):
    """The codes of 100 images of three classes, as `shc encode` writes them: 16 bits, in shards of 40."""
    import numpy as np

    from shc.hamming import pack
    from shc.shards import EncodedStore, Manifest, Shard

    rng = np.random.default_rng(0)
    codes, labels = 2 * rng.integers(0, 2, (100, 16)) - 1, np.arange(100, dtype=np.int32) % 3
    manifest = Manifest(16, "hasher1", "files1", 100, 40, "parquet", ["a", "b", "c"], [["x"], ["x"], ["y"]], 0)
    store = EncodedStore.start(folder, manifest)
    for number, rows in enumerate((slice(0, 40), slice(40, 80), slice(80, 100))):
        ids = [f"{row}.png" for row in range(100)[rows]]
        store.write(number, Shard(ids, labels[rows], pack(codes[rows])))
