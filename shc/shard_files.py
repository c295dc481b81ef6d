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
from shc.untrusted import TooLarge, check_growth, check_regular

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


def read_shard(file: Path, names: list[str], rows: int, words: int) -> tuple[Any, dict[str, Any]]:
    """The named columns of a shard, an Arrow table, and what else is known of it; without names no rows are read.

    Raises RunError if the file is damaged or something else, if it holds more than `rows` codes, or codes that are not
    of so many words: a small file could unpack to far more.
    """
    require(FORMATS[file.suffix[1:]], f"reading {file.suffix[1:]}")
    with damage_told(file):
        table, schema = (_read_lance if file.suffix == ".lance" else _read_parquet)(file, names, rows, 8 * words)
        about = json.loads(schema.metadata[METADATA])
        if not isinstance(about, dict) or not isinstance(about.get("failed"), dict):
            raise TooLarge("it does not say which images are missing")
        if table is not None and any(column.null_count for column in table.columns):
            raise TooLarge("some of its values are missing")
        return table, about


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


def _read_parquet(file: Path, names: list[str], rows: int, width: int) -> tuple[Any, Any]:
    import pyarrow.parquet as pq

    size = check_regular(file)
    # ids as a dictionary: a long text that stands in every row is then held once
    with pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=["id"]) as parquet:
        about, schema = parquet.metadata, parquet.schema_arrow
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        _check_schema(schema, width)
        for found in (*(group.num_rows for group in groups), sum(group.num_rows for group in groups)):
            _check_rows(found, rows, width, size)
        for group in groups:  # its columns are not asked: pyarrow ends the whole process over some that are damaged
            check_growth(group.total_byte_size, size)
        if not names:
            return None, schema
        table = parquet.read(columns=names)
    if "id" in names:
        import pyarrow as pa
        import pyarrow.compute as pc

        chunks = table["id"].chunks
        lengths = (pc.sum(pc.take(pc.binary_length(c.dictionary), c.indices)).as_py() or 0 for c in chunks)
        check_growth(sum(lengths), size)
        table = table.set_column(names.index("id"), "id", table["id"].cast(pa.string()))
    return table, schema


def _read_lance(file: Path, names: list[str], rows: int, width: int) -> tuple[Any, Any]:
    import lancedb
    import pyarrow as pa

    size = sum(check_regular(part) for part in file.rglob("*") if part.is_symlink() or not part.is_dir())
    opened = lancedb.connect(file.parent).open_table(file.stem)  # a folder NAME.lance is the table NAME
    _check_schema(opened.schema, width)
    _check_rows(opened.count_rows(), rows, width, size)
    if not names:
        return None, opened.schema
    batches: list[Any] = []
    for batch in opened.search().select(names).to_batches():
        batches.append(batch)
        check_growth(sum(part.nbytes for part in batches), size)
    fields = [opened.schema.field(name) for name in names]
    return pa.Table.from_batches(batches, pa.schema(fields)).select(names), opened.schema


def _check_schema(schema: Any, width: int) -> None:
    """Raise TooLarge unless the columns are those that `write_shard` writes, with codes of `width` bytes."""
    import pyarrow as pa

    code = schema.field("code").type
    codes = pa.types.is_fixed_size_list(code) and code.list_size == width and code.value_type == pa.uint8()
    texts = (pa.string(), pa.dictionary(pa.int32(), pa.string()))
    if (
        schema.names != ["id", "label", "code"] or schema.field("label").type != pa.int32()
        or schema.field("id").type not in texts or not (codes or code == pa.binary(width))
    ):  # fmt: skip
        raise TooLarge(f"its columns are {', '.join(f'{f.name} {f.type}' for f in schema)}"[:200])


def _check_rows(found: int, rows: int, width: int, size: int) -> None:
    if not 0 <= found <= rows:
        raise TooLarge(f"it holds {found:,} codes; at most {rows:,} are due")
    check_growth(found * (width + 4), size)


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
