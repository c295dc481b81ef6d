"""Packed codes on disk in shards: a folder with `manifest.json` and one Parquet file or Lance table per shard.

A shard holds `id` (string), `label` (int32, a position in the manifest's class names, −1 unknown) and `code` (the bytes
of the words of `shc.hamming.pack`, little-endian). It is wholly there or not, so that a store can be written by many
processes and after any interruption. The reader takes one shard at a time: a store may be larger than memory.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shc.hierarchy import Hierarchy
from shc.runs import RunError, atomic_write, library_versions, read_json, today

FORMATS = {"parquet": "pyarrow", "lance": "lancedb"}  # and the package that writes it
VERSION = 1
METADATA = b"shc"  # key in the schema of a shard


def require(package: str, what: str) -> None:
    """Raise RunError naming the extra `scale` if a package is not installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise RunError(f"{what} needs the extra `scale` ({package}): pip install 'semantic-hash-centers[scale]'")


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
        except TypeError as error:
            raise RunError(f"{self.folder}/manifest.json is damaged ({error}); encode again elsewhere") from error

    @classmethod
    def start(cls, folder: str | Path, manifest: Manifest) -> "EncodedStore":
        """The store for this manifest: a new one, or one that was begun in the same way.

        Raises RunError naming both values if the folder was begun in another way.
        """
        folder = Path(folder)
        if (folder / "manifest.json").exists():
            store = cls(folder)
            _check_same(folder, store.manifest, manifest)
            return store
        if any(folder.glob("codes-*")):
            raise RunError(f"{folder} holds codes but no manifest.json; choose another --out, or delete the folder")
        text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False)
        atomic_write(folder / "manifest.json", lambda f: f.write_text(text, encoding="utf-8"))
        return cls(folder)

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
        require(FORMATS[self.manifest.format], f"writing {self.manifest.format}")
        table = _table(shard, self.manifest)
        if self.manifest.format == "lance":
            _write_lance(self.file(number), table)
        else:
            import pyarrow.parquet as pq

            atomic_write(self.file(number), lambda f: pq.write_table(table, f))

    def read(self, number: int, *, ids: bool = True) -> Shard:
        """Read a shard, without its ids if they are not wanted; RunError if it is missing, damaged or another's."""
        file, names = self.file(number), [*(["id"] if ids else []), "label", "code"]
        require(FORMATS[self.manifest.format], f"reading {self.manifest.format}")
        if not file.exists():
            self.check_complete()
        try:
            table = _read_lance(file, names) if self.manifest.format == "lance" else _read_parquet(file, names)
            about = json.loads(table.schema.metadata[METADATA])
            key, failed = about["key"], about["failed"]
            codes = _words(table["code"], -(-self.bits // 64))
            labels = table["label"].to_numpy().astype(np.int32)
            found = table["id"].to_pylist() if ids else []
        except Exception as error:  # of Arrow, Lance, JSON: each has its own
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(f"{file} is damaged ({why}); delete it and repeat `shc encode`") from error
        if key != self.manifest.key:
            raise RunError(f"{file} belongs to another store than {self.folder}/manifest.json; delete it and repeat")
        return Shard(found, labels, codes, failed)

    def __iter__(self) -> Iterator[Shard]:
        return (self.read(number) for number in range(self.manifest.shards))

    def codes(self) -> np.ndarray:
        """All packed codes uint64 [N, W]; 8 bytes for each image and 64 bits."""
        return np.concatenate([self.read(n, ids=False).codes for n in range(self.manifest.shards)])

    def labels(self) -> np.ndarray:
        """All labels int32 [N], −1 where unknown."""
        return np.concatenate([self.read(n, ids=False).labels for n in range(self.manifest.shards)])

    def ids(self) -> list[str]:
        """All ids."""
        return [name for shard in self for name in shard.ids]

    def remove(self, number: int) -> None:
        """Delete a shard, to make it again."""
        file = self.file(number)
        left = file.with_name(f".{file.name}.removed")
        shutil.rmtree(left, ignore_errors=True)
        os.rename(file, left)  # at once, while deleting a folder takes many steps
        self.clean()

    def failed(self) -> dict[str, str]:
        """Why images could not be read, by id."""
        return {name: why for shard in self for name, why in shard.failed.items()}

    def clean(self) -> None:
        """Delete what killed writers left; only when nothing writes any more."""
        for left in self.folder.glob(".*codes-*"):
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


# ------------------------------------------------------------------------------------------ formats


def _table(shard: Shard, manifest: Manifest) -> Any:
    """The Arrow table of a shard. Lance takes codes as lists, on which LanceDB searches; Parquet as plain bytes."""
    import pyarrow as pa

    octets = np.ascontiguousarray(shard.codes.astype("<u8")).view(np.uint8)  # [n, 8·W]
    width = 8 * -(-manifest.bits // 64)
    if manifest.format == "lance":
        code = pa.FixedSizeListArray.from_arrays(pa.array(octets.reshape(-1)), width)
    else:
        code = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(octets), [None, pa.py_buffer(octets)])
    about = json.dumps({"key": manifest.key, "failed": shard.failed}, sort_keys=True, ensure_ascii=False)
    columns = {"id": pa.array(shard.ids, pa.string()), "label": pa.array(shard.labels, pa.int32()), "code": code}
    return pa.table(columns).replace_schema_metadata({METADATA: about.encode()})


def _words(column: Any, words: int) -> np.ndarray:
    """uint64 [n, words] of a column of bytes or of lists of bytes."""
    import pyarrow as pa

    if len(column) == 0:
        return np.zeros((0, words), dtype=np.uint64)
    array = column.combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        octets = array.flatten().to_numpy()
    else:
        start = array.offset * array.type.byte_width
        octets = np.frombuffer(array.buffers()[1], np.uint8)[start : start + len(array) * array.type.byte_width]
    return np.ascontiguousarray(octets).view("<u8").reshape(-1, words).astype(np.uint64)


def _read_parquet(file: Path, names: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).read(columns=list(names))


def _read_lance(file: Path, names: Sequence[str]) -> Any:
    """The table that a folder NAME.lance holds; lancedb calls it NAME."""
    import lancedb

    table = lancedb.connect(file.parent).open_table(file.stem).to_arrow()
    return table.select(list(names))


def _write_lance(file: Path, table: Any) -> None:
    """Write a Lance table beside its place, then rename the folder into it."""
    import lancedb

    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{file.name}.", dir=file.parent))
        lancedb.connect(temporary).create_table("codes", table)
        for path, _, names in os.walk(temporary):
            for target in (path, *(os.path.join(path, name) for name in names)):
                handle = os.open(target, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        if not file.exists():  # else another process has been faster with the same
            with suppress(FileExistsError):
                os.rename(temporary / "codes.lance", file)
    except Exception as error:  # lancedb reports a full disk as a RuntimeError
        if isinstance(error, OSError) or "No space left" in str(error):
            why = getattr(error, "strerror", None) or "the disk is full"
            raise RunError(f"{file} could not be written ({why}); make room and repeat the same command") from error
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
