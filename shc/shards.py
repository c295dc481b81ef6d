"""Packed codes on disk in shards: a folder with `manifest.json` and one Parquet file or Lance table per shard.

A shard (`shc.shard_files`) holds ids, labels (positions in the manifest's class names, −1 unknown) and packed codes. It
is wholly there or not, so that a store can be written by many processes and after any interruption. The reader takes
one shard at a time: a store may be larger than memory.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shc.hierarchy import Hierarchy
from shc.runs import RunError, atomic_write, library_versions, read_json, today
from shc.shard_files import FORMATS, as_words, damage_told, read_shard, write_shard

VERSION = 1
MOST_BITS, MOST_SHARDS, LARGEST = 1024, 1_000_000, 2**40  # that are read
ABANDONED = 3600  # seconds; no shard takes so long to write


@dataclass(frozen=True)
class Manifest:
    """What a store holds: `files` is the hash of all ids in order, `total` their number, broken images included."""

    bits: int
    hasher: str  # key of the hasher's artifact
    files: str
    total: int
    shard: int  # images per shard
    format: str
    class_names: list[str]
    paths: list[list[str]] | None  # of the class tree, one path per class
    unlabelled: int  # images whose class is not known
    source: str = ""  # in words; nothing is compared with it
    version: int = VERSION
    versions: dict[str, str] = field(default_factory=library_versions)
    date: str = field(default_factory=today)

    def __post_init__(self) -> None:
        for name, least, most in (("bits", 1, MOST_BITS), ("shard", 1, LARGEST), ("total", 0, LARGEST)):
            if type(value := getattr(self, name)) is not int or not least <= value <= most:
                raise ValueError(f"{name}={value!r:.40}; expected a whole number from {least} to {most}")
        if self.shards > MOST_SHARDS:
            raise ValueError(f"it announces {self.shards:,} shards; at most {MOST_SHARDS:,} are read")
        if type(self.unlabelled) is not int or not 0 <= self.unlabelled <= self.total:
            raise ValueError(f"unlabelled={self.unlabelled!r:.40}; expected a whole number from 0 to {self.total}")
        for name in ("hasher", "files", "source", "format"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}={getattr(self, name)!r} is no text")
        if self.format not in FORMATS:
            raise ValueError(f"format={self.format!r} is unknown; known are {' and '.join(FORMATS)}")
        if not _is_list(self.class_names, str):
            raise ValueError(f"class_names={self.class_names!r:.80} is no list of names")
        tree = self.paths
        if tree is not None:
            if not isinstance(tree, list) or not all(_is_list(path, str) and path for path in tree):
                raise ValueError(f"paths={tree!r:.80} are no lists of names")
            if len(tree) != len(self.class_names):
                raise ValueError(f"{len(tree)} paths do not fit {len(self.class_names)} classes")
            if tree:
                Hierarchy(tuple(map(tuple, tree)))  # all of the same length

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.total // self.shard)

    @property
    def key(self) -> str:
        """What ties a shard to its manifest: 16 hex digits of bits, hasher, files and shard size."""
        text = json.dumps([self.bits, self.hasher, self.files, self.total, self.shard, self.version])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
    """Rows of one shard: ids, labels int32 [n], packed codes uint64 [n, W]; and why images are missing, by id."""

    ids: list[str]
    labels: np.ndarray
    codes: np.ndarray
    failed: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


class EncodedStore:
    """A folder of shards: `EncodedStore("codes")`; iterating gives one `Shard` after the other.

    Raises RunError if the folder holds no manifest, or one of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        found = read_json(self.folder / "manifest.json")
        if not found:
            raise RunError(f"{self.folder} holds no encoded images (no manifest.json); make them with `shc encode`")
        if found.get("version") != VERSION:
            raise RunError(
                f"{self.folder} has format version {found.get('version')!r}, this program writes {VERSION}; "
                "encode again into another folder"
            )
        try:
            self.manifest = Manifest(**found)
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.folder}/manifest.json is damaged ({error}); encode again elsewhere") from error

    @classmethod
    def start(cls, folder: str | Path, manifest: Manifest) -> "EncodedStore":
        """The store for this manifest: a new one, or one that was begun in the same way.

        Raises RunError naming both values if the folder was begun in another way.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file; choose another --out")
        if (folder / "manifest.json").exists():
            store = cls(folder)
            _check_same(folder, store.manifest, manifest)
            return store
        if any(folder.glob("codes-*")):
            raise RunError(f"{folder} holds codes but no manifest.json; choose another --out, or delete the folder")
        text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False)
        atomic_write(folder / "manifest.json", lambda f: f.write_text(text, encoding="utf-8"))
        store = cls(folder)
        _check_same(folder, store.manifest, manifest)  # another process may have begun it otherwise meanwhile
        return store

    @property
    def bits(self) -> int:
        """Code length."""
        return self.manifest.bits

    @property
    def hierarchy(self) -> Hierarchy | None:
        """The class tree, if the data set has one."""
        return None if self.manifest.paths is None else Hierarchy(tuple(map(tuple, self.manifest.paths)))

    def file(self, number: int) -> Path:
        """Path of a shard."""
        return self.folder / f"codes-{number:05}.{self.manifest.format}"

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there."""
        return [number for number in range(self.manifest.shards) if not self.file(number).exists()]

    def check_complete(self) -> None:
        """Raise RunError if a shard is missing."""
        if missing := self.missing():
            raise RunError(
                f"{self.folder} lacks {len(missing)} of {self.manifest.shards} shards ({self.file(missing[0]).name}); "
                "repeat the `shc encode` that makes it, which goes on where it stopped"
            )

    def write(self, number: int, shard: Shard) -> None:
        """Write a shard, in one piece."""
        about = {"key": self.manifest.key, "failed": shard.failed, "sha256": _sums(shard)}
        write_shard(self.file(number), shard.ids, shard.labels, shard.codes, about)

    def read(self, number: int, *, ids: bool = True) -> Shard:
        """Read a shard, without its ids if they are not wanted; RunError if it is missing, damaged or another's."""
        with damage_told(self.file(number)):
            table, about = self._read(number, [*(["id"] if ids else []), "label", "code"])
            codes, failed = as_words(table["code"], -(-self.bits // 64)), about["failed"]
            expected = self._expected(number)
            if len(codes) + len(failed) != expected:
                raise RunError(
                    f"{self.file(number)} holds {len(codes)} codes and {len(failed)} failures of {expected} images; "
                    "delete it and repeat `shc encode`"
                )
            labels = table["label"].to_numpy()
            if labels.dtype.kind != "i":
                raise RunError(f"{self.file(number)} is damaged (labels are lost); delete it and repeat `shc encode`")
            shard = Shard(table["id"].to_pylist() if ids else [], labels.astype(np.int32), codes, failed)
            self._check(number, _sums(shard) if ids else _sums(shard) | {"id": None}, about)
            return shard

    def failed_in(self, number: int) -> dict[str, str]:
        """Why images of one shard could not be read, by id; reads no rows."""
        with damage_told(self.file(number)):
            about = self._read(number, [])[1]
            self._check(number, {"failed": _sum(about["failed"])}, about)
            return about["failed"]

    def _expected(self, number: int) -> int:
        """Images in a shard, those that could not be read included."""
        return min(self.manifest.shard, self.manifest.total - number * self.manifest.shard)

    def _check(self, number: int, found: dict[str, str | None], about: dict[str, Any]) -> None:
        """Raise RunError if a column is not the one that was written: Lance checks nothing, Parquet not its footer."""
        sums = about.get("sha256", found)  # shards of earlier versions have none
        for name, sum in found.items():
            if sum is not None and (not isinstance(sums, dict) or sums.get(name) != sum):
                raise RunError(
                    f"{self.file(number)} is damaged (its column {name!r} does not match its checksum); delete it and "
                    "repeat `shc encode`"
                )

    def _read(self, number: int, names: list[str]) -> tuple[Any, dict[str, Any]]:
        file = self.file(number)
        if not file.exists():
            self.check_complete()
        table, about = read_shard(file, names, self._expected(number), -(-self.bits // 64))
        if about.get("key") != self.manifest.key:
            raise RunError(
                f"{file} belongs to another store than {self.folder}/manifest.json; delete it and repeat `shc encode`"
            )
        return table, about

    def __iter__(self) -> Iterator[Shard]:
        return (self.read(number) for number in range(self.manifest.shards))

    def codes(self) -> np.ndarray:
        """All packed codes uint64 [N, W]; 8 bytes for each image and 64 bits."""
        none = np.zeros((0, -(-self.bits // 64)), dtype=np.uint64)
        return np.concatenate([none, *(self.read(n, ids=False).codes for n in range(self.manifest.shards))])

    def labels(self) -> np.ndarray:
        """All labels int32 [N], −1 where unknown."""
        none = np.zeros(0, dtype=np.int32)
        return np.concatenate([none, *(self.read(n, ids=False).labels for n in range(self.manifest.shards))])

    def ids(self) -> list[str]:
        """All ids."""
        return [name for shard in self for name in shard.ids]

    def remove(self, number: int) -> None:
        """Delete a shard, to make it again."""
        file = self.file(number)
        left = file.with_name(f".{file.name}.removed")
        _delete(left)
        os.rename(file, left)  # at once, while deleting a folder takes many steps
        _delete(left)

    def failed(self) -> dict[str, str]:
        """Why images could not be read, by id."""
        return {name: why for number in range(self.manifest.shards) for name, why in self.failed_in(number).items()}

    def clean(self) -> None:
        """Delete what killed writers left; what changed within the last ABANDONED seconds may be another's work."""
        for left in self.folder.glob(".*codes-*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > ABANDONED:
                    _delete(left)


def _is_list(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _sums(shard: Shard) -> dict[str, str | None]:
    """sha256 of each column of a shard, and of what could not be read."""
    labels, codes = np.ascontiguousarray(shard.labels, "<i4"), np.ascontiguousarray(shard.codes, "<u8")
    return {"id": _sum(shard.ids), "label": _sum(labels), "code": _sum(codes), "failed": _sum(shard.failed)}


def _sum(content: Any) -> str:
    octets = content.tobytes() if isinstance(content, np.ndarray) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(octets).hexdigest()


def _delete(left: Path) -> None:
    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _check_same(folder: Path, there: Manifest, wanted: Manifest) -> None:
    """Raise RunError naming what differs."""
    remedy = "choose another --out, or delete the folder"
    for name, words in (
        ("bits", "bits"), ("hasher", "hasher"), ("shard", "images per shard"), ("format", "format"),
        ("class_names", "class names"),
    ):  # fmt: skip
        a, b = getattr(there, name), getattr(wanted, name)
        if a != b:
            raise RunError(f"{folder} was made with another {words}: {_short(a)}, now {_short(b)}; {remedy}")
    if (there.files, there.total) != (wanted.files, wanted.total):
        count = f"{there.total:,} then, {wanted.total:,} now" if there.total != wanted.total else "other names"
        raise RunError(
            f"the images changed since {folder} was begun ({count}); restore them, or give another --out and encode "
            "them anew"
        )


def _short(value: Any) -> str:
    return str(value) if not isinstance(value, list) else f"{len(value)} ({', '.join(map(str, value[:3]))}, …)"
