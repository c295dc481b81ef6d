"""Sizes of files that others may have made, checked before anything of that size is allocated.

A zip of a thousand bytes can announce a hundred gigabytes, and so can the header of an array. What is announced must
agree with what is there, and stay within MOST_BYTES; what is compressed may besides not grow beyond all measure.
"""

import io
import json
import math
import re
import stat
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

MOST_BYTES = 16 * 2**30  # of one file's arrays
FREE_BYTES = 2**28  # that any archive may unpack to
MOST_GROWTH = 100  # and a larger one this often its own size; deflate alone could reach 1032
MOST_ARRAYS = 10_000
MOST_DEPTH = 50  # of YAML; its parser takes time by the square of the depth
MOST_DIGITS = 1000
MOST_NPY_HEADER = 10_000  # bytes; NumPy parses no longer ones
MOST_HEADER = 2**26  # bytes of a safetensors header, which holds the history of a training


class TooLarge(ValueError):
    """A file that announces more than it holds, or more than is read."""


def check_regular(file: Path) -> int:
    """The file's size; TooLarge for anything but a plain file (a pipe would never end)."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise TooLarge("it is not a plain file")
    return status.st_size


def check_npz(file: Path) -> None:
    """Raise TooLarge unless an npz file's arrays are as large as announced, and within the limits.

    Besides it raises what the reading of zip archives and of array headers raises.
    """
    size, total, packed = check_regular(file), 0, 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS:
            raise TooLarge(f"it holds {len(members):,} arrays; {MOST_ARRAYS:,} are read")
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise TooLarge(f"{member.filename!r} is compressed in another way than numpy does it")
            total, packed = total + member.file_size, packed + member.compress_size
        if packed > size:
            raise TooLarge(f"its members take {packed:,} bytes, the file only {size:,}")
        check_growth(total, size)
        for member in members:
            with archive.open(member) as stream:
                check_npy(stream, member.file_size, member.filename)


def check_npy(stream: IO[bytes], size: int, name: str = "it") -> None:
    """Raise TooLarge unless an .npy stream of `size` bytes announces an array of that size; reads its header only."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    if version not in ((1, 0), (2, 0)):
        raise TooLarge(f"{name} has version {version} of the .npy format; 1 and 2 are read")
    length = stream.read(2 if version == (1, 0) else 4)
    if int.from_bytes(length, "little") > MOST_NPY_HEADER:  # Python would make room for it before it reads
        raise TooLarge(f"the header of {name} announces more than {MOST_NPY_HEADER:,} bytes")
    try:
        shape, _, dtype = read(io.BytesIO(length + stream.read(int.from_bytes(length, "little"))))
    except Exception as error:  # what Python's tokenizer and parser, and NumPy's types come across
        raise TooLarge(f"the header of {name} is damaged ({type(error).__name__})") from error
    if dtype.hasobject:
        raise TooLarge(f"{name} holds Python objects, which are never read")
    announced = math.prod(shape) * max(dtype.itemsize, 1)  # a million texts of no letters take no byte
    if any(n < 0 for n in shape) or announced != size - stream.tell():
        raise TooLarge(
            f"{name} announces {list(shape)} of {dtype}, {announced:,} bytes, and has {size - stream.tell():,}"
        )
    _check_total(announced, MOST_BYTES)


def check_npy_file(file: Path) -> None:
    """As `check_npy`, for a file."""
    size = check_regular(file)
    with file.open("rb") as stream:
        check_npy(stream, size)


def check_safetensors(file: Path) -> None:
    """Raise TooLarge unless a safetensors file's header and tensors fill the file exactly, within the limits."""
    size = check_regular(file)
    _check_total(size, MOST_BYTES)
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(MOST_HEADER, size - 8):
            raise TooLarge(f"its header announces {length:,} bytes; the file has {size:,}")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise TooLarge("its header is no JSON object")
    ends = [_end(tensor) for name, tensor in header.items() if name != "__metadata__"]
    if len(ends) > MOST_ARRAYS:
        raise TooLarge(f"it holds {len(ends):,} tensors; {MOST_ARRAYS:,} are read")
    if max(ends, default=0) != size - 8 - length:
        raise TooLarge(f"its header announces {max(ends, default=0):,} bytes of tensors; {size - 8 - length:,} follow")


def _end(tensor: Any) -> int:
    try:
        return int(tensor["data_offsets"][1])
    except (TypeError, KeyError, IndexError, ValueError):
        raise TooLarge("its header does not say where a tensor ends") from None


def check_growth(total: int, size: int) -> None:
    """Raise TooLarge if a file of `size` bytes would take `total` in memory, and that is beyond all measure."""
    _check_total(total, max(FREE_BYTES, MOST_GROWTH * size))


def _check_total(total: int, most: int) -> None:
    if total > min(most, MOST_BYTES):
        raise TooLarge(f"it unpacks to {total:,} bytes; at most {min(most, MOST_BYTES):,} are read")


class Limited:
    """A stream that raises TooLarge after `most` bytes: for archives whose unpacked size nobody announced."""

    def __init__(self, stream: Any, most: int) -> None:
        self.stream, self.left, self.most = stream, most, most

    def read(self, size: int = -1) -> bytes:
        """As the stream's own, and never more than one byte above the limit."""
        content = self.stream.read(self.left + 1 if size < 0 else min(size, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise TooLarge(f"it unpacks to more than {self.most:,} bytes")
        return content


def check_text(file: Path, most: int = 2**26) -> None:
    """Raise TooLarge for what is no plain file, or larger than such a file (of text, usually) ever gets."""
    size = check_regular(file)
    if size > most:
        raise TooLarge(f"it has {size:,} bytes; at most {most:,} are read")


def check_depth(text: str) -> None:
    """Raise TooLarge for YAML in which lists or mappings stand inside each other more than MOST_DEPTH times.

    A number of more than MOST_DIGITS is refused too: reading and showing it takes time by the square of its length.

    >>> check_depth("a: [[1], {b: 2}]")
    """
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    if deepest > MOST_DEPTH or re.search(rf"^ *([-?:] +){{{MOST_DEPTH}}}", text, re.MULTILINE):
        raise TooLarge(f"its parts stand inside each other more than {MOST_DEPTH} times")
    if re.search(rf"\b[0-9][0-9a-fA-Fxob_:]{{{MOST_DIGITS}}}", text):
        raise TooLarge(f"it holds a number of more than {MOST_DIGITS:,} digits")
