"""The files of a store's shards: columns `id`, `label` and `code` as one Parquet file, or as one Lance table.

Both are written beside their place and renamed into it, so that a shard is wholly there or not. What else is known of a
shard is JSON in the metadata of its schema. Codes are the bytes of the words of `shc.hamming.pack`, little-endian.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shc.files import unreadable
from shc.runs import RunError, atomic_write

FORMATS = {"parquet": "pyarrow", "lance": "lancedb"}  # and the package that writes it
METADATA = b"shc"  # key in the schema


def require(package: str, what: str) -> None:
    """Raise RunError naming the extra `scale` if a package is not installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise RunError(f"{what} needs the extra `scale` ({package}): pip install 'semantic-hash-centers[scale]'")


def write_shard(
    file: Path, ids: Sequence[str], labels: np.ndarray, codes: np.ndarray, about: Mapping[str, Any]
) -> None:
    """Write ids, labels int32 [n] and packed codes uint64 [n, W], in the format that the file's suffix names.

    Raises RunError if the package for it is not installed, or the disk is full.
    """
    require(FORMATS[file.suffix[1:]], f"writing {file.suffix[1:]}")
    import pyarrow as pa

    octets = np.ascontiguousarray(codes.astype("<u8")).view(np.uint8)  # [n, 8·W]
    width = 8 * codes.shape[1]
    if file.suffix == ".lance":  # as lists, on which LanceDB searches
        code = pa.FixedSizeListArray.from_arrays(pa.array(octets.reshape(-1)), width)
    else:
        code = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(octets), [None, pa.py_buffer(octets)])
    columns = {"id": pa.array(ids, pa.string()), "label": pa.array(labels, pa.int32()), "code": code}
    text = json.dumps(about, sort_keys=True, ensure_ascii=False)
    table = pa.table(columns).replace_schema_metadata({METADATA: text.encode()})
    if file.suffix == ".lance":
        _write_lance(file, table)
    else:
        import pyarrow.parquet as pq

        atomic_write(file, lambda target: pq.write_table(table, target, write_page_checksum=True))


def read_shard(file: Path, names: list[str]) -> tuple[Any, dict[str, Any]]:
    """The named columns of a shard, an Arrow table, and what else is known of it; without names no rows are read.

    Raises RunError if the file is damaged or something else.
    """
    require(FORMATS[file.suffix[1:]], f"reading {file.suffix[1:]}")
    with damage_told(file):
        if file.suffix == ".lance":
            import lancedb

            opened = lancedb.connect(file.parent).open_table(file.stem)  # a folder NAME.lance is the table NAME
            table, schema = opened.to_arrow().select(names) if names else None, opened.schema
        else:
            import pyarrow.parquet as pq

            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                table, schema = parquet.read(columns=names) if names else None, parquet.schema_arrow
        return table, json.loads(schema.metadata[METADATA])


@contextmanager
def damage_told(file: Path) -> Iterator[None]:
    """Turn what a damaged shard makes its readers raise, and they have many errors, into a RunError."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unreadable(file, error) or RunError(
            f"{file} is damaged or not a shard ({why}); delete it and repeat `shc encode`"
        ) from error


def as_words(column: Any, words: int) -> np.ndarray:
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
        try:
            os.rename(temporary / "codes.lance", file)
        except OSError:
            if not file.exists():  # else another process has been faster with the same
                raise
    except Exception as error:  # lancedb reports a full disk as a RuntimeError
        if isinstance(error, OSError) or "No space left" in str(error):
            why = getattr(error, "strerror", None) or "the disk is full"
            raise RunError(f"{file} could not be written ({why}); make room and repeat the same command") from error
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
