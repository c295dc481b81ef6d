"""MATLAB files: what SciPy writes passes, and what announces more than it holds is refused before SciPy reads it."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import test_stanford_cars as cars
from scipy.io import savemat

from shc import mat_files
from shc.datasets.stanford_cars import read_cars
from shc.mat_files import MATRIX, check_mat
from shc.untrusted import TooLarge

HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"


def piece(kind, content):
    """A data element, filled up to eight bytes."""
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(kind, sizes, *content, name=b"class_names", flags=0):
    """A matrix of a class, with these dimensions and what follows them."""
    parts = (
        piece(6, struct.pack("<II", kind | flags, 0)),
        piece(5, struct.pack(f"<{len(sizes)}i", *sizes)),
        piece(1, name),
    )
    return piece(MATRIX, b"".join((*parts, *content)))


def packed(content):
    return struct.pack("<II", 15, len(content := zlib.compress(content))) + content


def deep(times):
    content = array(6, (1, 1), piece(9, bytes(8)))
    for _ in range(times):
        content = array(1, (1, 1), content)
    return content


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_passes(tmp_path, compressed):
    file = tmp_path / "a.mat"
    several = {
        "z": np.ones((2, 3)) * 1j, "empty": np.zeros((0, 0)), "text": "é", "lines": np.array(["a", "bcd"]), "b": True,
        "inside": {"a": {"b": [1, 2]}}, "mixed": np.array([[{"q": 1}, "x", np.int8(3)]], dtype=object),
        "cube": np.zeros((2, 3, 4), np.uint16),
    }  # fmt: skip
    savemat(
        file,
        several | cars.struct(cars.rows_of(True), cars.ONE_FILE) | cars.cells(cars.NAMES),
        do_compression=compressed,
    )
    check_mat(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (array(1, (2**31 - 1, 1)), "announces more than 500,000 arrays"),
        (array(2, (2**20, 1), piece(5, struct.pack("<i", 2)), piece(1, b"a\0")), "announces more than 500,000 arrays"),
        (array(2, (2**20, 1), piece(5, struct.pack("<i", 2)), piece(1, b"")), "announces more than 500,000 arrays"),
        (array(4, (1, 2**31 - 1), piece(16, b"")), "announces 2,147,483,647 characters and has 0 bytes"),
        (array(6, (2**31 - 1, 2**31 - 1), piece(9, bytes(8))), "numbers and has 8 bytes"),
        (array(6, (1, 1), piece(9, bytes(8)), flags=1 << 11), "cut short"),
        (array(6, (-1, -1), piece(9, bytes(8))), r"announces the shape \[-1, -1\]"),
        (array(6, (1,) * 40, piece(9, bytes(8))), "announces the shape"),
        (deep(50), "stand inside each other more than 8 times"),
        (packed(deep(1000)), "stand inside each other more than 8 times"),
        (packed(array(6, (1, 2**20), piece(2, bytes(2**20)))), "unpacks to more than 1,048,576 bytes"),
        (array(3, (1, 1)), "an array of class 3; cells, structs"),
        (array(5, (9, 9), piece(5, bytes(4))), "an array of class 5"),
        (array(16, (1, 1)), "an array of class 16"),
        (struct.pack("<II", MATRIX, 2**31) + bytes(64), "announces 2,147,483,784 bytes and has 200"),
        (packed(deep(1))[:-9], "announces .* bytes and has"),
        (b"\x0f\0\0\0\x08\0\0\0abcdefgh", "cut short or is damaged"),
        (piece(9, bytes(8)), "data of kind 9 where an array is due"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_announces_more_than_it_holds_is_refused(tmp_path, monkeypatch, content, told):
    monkeypatch.setattr(mat_files, "MOST_UNPACKED", 2**20)
    file = tmp_path / "cars_annos.mat"
    file.write_bytes(HEAD + content)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=told):
            check_mat(file)
        with pytest.raises(ValueError, match="cannot be read as a MATLAB file"):
            read_cars(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [b"", b"x" * 128, HEAD[:124] + b"\0\2IM", b"\0" * 4 + HEAD[4:], HEAD[:100]])
def test_what_is_no_file_of_version_5_is_refused(tmp_path, head):
    (tmp_path / "a.mat").write_bytes(head)
    with pytest.raises(TooLarge, match="no MATLAB file of version 5"):
        check_mat(tmp_path / "a.mat")


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "a.mat", "wb") as stream:
        stream.truncate(mat_files.MOST_FILE + 1)
    with pytest.raises(TooLarge, match="at most 67,108,864 are read"):
        check_mat(tmp_path / "a.mat")
