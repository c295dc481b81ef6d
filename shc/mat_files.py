"""MATLAB files of version 5, walked through before SciPy reads them.

SciPy believes what such a file says of itself: dimensions without content, compressed data without end, cells inside
cells inside cells. So a file's arrays are first passed over in the order in which SciPy reads them, and only then read.
Of all kinds of arrays only cells, structs, texts and full arrays of numbers are let through.
"""

import math
import struct
import zlib
from pathlib import Path

from shc.untrusted import TooLarge, check_text

MOST_FILE = 2**26  # bytes; the largest of Stanford Cars has less than 1 MB
MOST_UNPACKED = 2**27  # bytes; 8 MB there
MOST_ARRAYS = 500_000  # 120,000 there, one for each entry of each picture
MOST_DEPTH = 8  # of arrays inside arrays; 2 there
MOST_DIMENSIONS = 32  # NumPy's

ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}  # version 1.0 of the format, and the order of its bytes
MATRIX, COMPRESSED, INT8, INT32, UINT32 = 14, 15, 1, 5, 6  # kinds of data elements
CELL, STRUCT, CHAR, NUMBERS = 1, 2, 4, range(6, 16)  # classes of arrays
COMPLEX = 1 << 11  # in an array's flags
# bytes of one value of a kind of numbers: int8, uint8, int16, uint16, int32, uint32, single, double, int64, uint64
BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}


def check_mat(file: Path) -> None:
    """Raise TooLarge unless a MATLAB file's arrays are as large as announced, few, flat, and of plain kinds."""
    check_text(file, MOST_FILE)
    content = file.read_bytes()
    order = ORDERS.get(content[124:128])
    if order is None or 0 in content[:4]:
        raise TooLarge("it is no MATLAB file of version 5")
    at, arrays, unpacked = 128, 0, 0
    try:
        while at < len(content):
            kind, size = struct.unpack_from(f"{order}II", content, at)
            part = content[at + 8 : at + 8 + size]
            at += 8 + size
            if at > len(content):
                raise TooLarge(f"it announces {at:,} bytes and has {len(content):,}")
            if kind == COMPRESSED:
                part = zlib.decompressobj().decompress(part, MOST_UNPACKED - unpacked + 1)
                if (unpacked := unpacked + len(part)) > MOST_UNPACKED:
                    raise TooLarge(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
                kind, part = struct.unpack_from(f"{order}I", part)[0], part[8:]
            if kind != MATRIX:
                raise TooLarge(f"it holds data of kind {kind} where an array is due")
            arrays = _Walk(part, order, arrays).array(0)
    except (struct.error, zlib.error) as error:
        raise TooLarge("it was cut short or is damaged") from error


class _Walk:
    """A place in the bytes of one variable, moved on as SciPy's reader moves."""

    def __init__(self, data: bytes, order: str, arrays: int) -> None:
        self.data, self.order, self.arrays, self.at = data, order, arrays, 0

    def element(self, *kinds: int) -> tuple[int, bytes]:
        """Kind and content of the data element here, which must be of one of these kinds."""
        kind, size = struct.unpack_from(f"{self.order}II", self.data, self.at)
        if kind >> 16:  # a small one: its size and up to four bytes share the eight of the others' head
            start, kind, size = self.at + 4, kind & 0xFFFF, kind >> 16
            self.at += 8
            if size > 4:
                raise TooLarge(f"it has a small piece of {size} bytes")
        else:
            start = self.at + 8
            self.at = start + -(-size // 8) * 8
        if kind not in kinds or start + size > len(self.data):
            raise TooLarge(f"it holds {size:,} bytes of kind {kind} where others are due, or announces what it lacks")
        return kind, self.data[start : start + size]

    def array(self, depth: int) -> int:
        """Pass over an array, behind its tag; returns how many there have been."""
        self.arrays += 1
        if depth > MOST_DEPTH:
            raise TooLarge(f"its arrays stand inside each other more than {MOST_DEPTH} times")
        flags, _ = struct.unpack(f"{self.order}II", self.element(UINT32)[1])
        _, dimensions = self.element(INT32)
        sizes = struct.unpack(f"{self.order}{len(dimensions) // 4}i", dimensions)
        self.element(INT8)  # its name
        count, kind = math.prod(sizes), flags & 0xFF
        if len(sizes) > MOST_DIMENSIONS or min(sizes, default=0) < 0:
            raise TooLarge(f"an array announces the shape {list(sizes[:MOST_DIMENSIONS])}")
        if kind in (CELL, STRUCT):
            inside = count * (self.fields() if kind == STRUCT else 1)
            if self.arrays + max(count, inside) > MOST_ARRAYS:
                raise TooLarge(f"it announces more than {MOST_ARRAYS:,} arrays")
            for _ in range(inside):
                tag, size = struct.unpack_from(f"{self.order}II", self.data, self.at)
                self.at += 8
                if tag != MATRIX:
                    raise TooLarge(f"it holds data of kind {tag} where an array is due")
                if size:
                    self.array(depth + 1)
        elif kind == CHAR:
            _, text = self.element(*BYTES, 16, 17, 18)
            if count > len(text):
                raise TooLarge(f"a text announces {count:,} characters and has {len(text):,} bytes")
        elif kind in NUMBERS:
            for _ in range(2 if flags & COMPLEX else 1):
                stored, numbers = self.element(*BYTES)
                if count * BYTES[stored] != len(numbers):
                    raise TooLarge(f"an array announces {count:,} numbers and has {len(numbers):,} bytes")
        else:
            raise TooLarge(f"it holds an array of class {kind}; cells, structs, texts and full numbers are read")
        return self.arrays

    def fields(self) -> int:
        """Pass over the names of a struct's fields; returns their number."""
        _, length = self.element(INT32)
        _, names = self.element(INT8)
        (each,) = struct.unpack(f"{self.order}i", length)
        if each < 1 or len(names) % each:
            raise TooLarge(f"names of fields of {each} bytes do not fit into {len(names):,}")
        return len(names) // each
