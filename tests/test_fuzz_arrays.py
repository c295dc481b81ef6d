"""Fuzzing of the readers of npz, npy and safetensors: headers that lie, directories that lie, damaged bytes."""

import io
import json
import struct
import warnings
import zipfile

import numpy as np
from fuzzing import accepted, altered, damaged, dumped, fuzz
from hypothesis import strategies as st

from shc.files import read_arrays, read_meta, write_arrays
from shc.name_embeddings import name_embeddings


def npy(draw, array):
    """An .npy file, sometimes with a forged header."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    content = stream.getvalue()
    if draw(st.booleans()):
        return content
    descr = draw(st.sampled_from(("<f8", "|O", "<U0", "<U99999999", "|V0", ">i4", "|S1", [["a", "<f8"]], "x", 3, None)))
    shape = draw(st.sampled_from(((3,), (), (2**40,), (-1,), (2**31, 2**31, 2**31), (0, 2**62), (True,), (1.5,), "x")))
    head = {"descr": descr, "fortran_order": draw(st.sampled_from((False, True, 1, "x"))), "shape": shape}
    text = draw(st.sampled_from((repr(head), repr(head | {"x": 1}), "[" * 300, "{}", "1+1", "__import__('os')")))
    version = draw(st.sampled_from(((1, 0), (2, 0), (3, 0), (9, 9))))
    packed = text.encode() + b" " * 20 + b"\n"
    length = draw(st.sampled_from((len(packed), 0, 2**16 - 1)))
    size = length.to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + packed + content[-8 * array.size :]


def test_npz(tmp_path):
    file = tmp_path / "similarity.npz"
    write_arrays(file, {"S": np.eye(3), "n": np.arange(5)}, {"key": "k", "parameters": {}})
    whole = file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def prepare(draw):
        if draw(st.booleans()):
            file.write_bytes(damaged(draw, whole))
            return read
        stream, packing = io.BytesIO(), draw(st.sampled_from((0, 8, 8, 12, 14)))
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(stream, "w", packing) as archive:
            for name, content in members.items():
                forge = draw(st.sampled_from(("no", "no", "header", "bytes", "twice", "gone", "name", "large")))
                content = npy(draw, np.arange(3.0)) if forge == "header" else content
                content = damaged(draw, content) if forge == "bytes" else content
                content = content + bytes(2**20) if forge == "large" else content
                name = draw(st.sampled_from(("../x.npy", "x", "a" * 300, "S"))) if forge == "name" else name
                for _ in range({"twice": 2, "gone": 0}.get(forge, 1)):
                    archive.writestr(name, content)
            if archive.filelist and draw(st.booleans()):  # what the directory says
                field = draw(st.sampled_from(("file_size", "compress_size", "header_offset", "CRC", "compress_type")))
                entry = draw(st.sampled_from(archive.filelist))
                limit = 14 if field == "compress_type" else 2**32 - 1
                setattr(entry, field, min(draw(st.sampled_from((0, 1, 100, 2**31, 2**32 - 1))), limit))
        file.write_bytes(stream.getvalue())
        return read

    def read():
        arrays, meta = read_arrays(file)
        assert isinstance(meta, dict) and read_meta(file) == meta
        assert all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in arrays.values())

    assert accepted(read, tmp_path)
    fuzz("arrays: npz", prepare, tmp_path, few=4)


def test_npy(tmp_path):
    file = tmp_path / "names.npy"
    images = type("Images", (), {"class_names": ["a", "b", "c"], "name": "x"})()
    rows = np.random.default_rng(0).normal(size=(3, 4))

    def read():
        found = name_embeddings(images, str(file))
        assert found.shape[0] == 3 and np.isfinite(found).all()

    def prepare(draw):
        content = npy(draw, rows)
        file.write_bytes(damaged(draw, content) if draw(st.booleans()) else content)
        return read

    np.save(file, rows)
    assert accepted(read, tmp_path)
    assert fuzz("arrays: npy", prepare, tmp_path, few=2)["accepted"]


def test_safetensors(tmp_path):
    file = tmp_path / "hasher.safetensors"
    write_arrays(file, {"w": np.ones((3, 4), np.float32), "b": np.arange(5)}, {"key": "k", "parameters": {}})
    whole = file.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, rest = json.loads(whole[8 : 8 + length]), whole[8 + length :]

    def prepare(draw):
        if draw(st.booleans()):
            file.write_bytes(damaged(draw, whole))
            return read
        text = dumped(altered(draw, header))
        told = draw(st.sampled_from((len(text), len(text), len(text), 0, len(text) + 1, 2**63, 2**64 - 1)))
        rest_ = damaged(draw, rest) if draw(st.booleans()) else rest
        file.write_bytes(struct.pack("<Q", told) + text + rest_)
        return read

    def read():
        arrays, meta = read_arrays(file)
        assert isinstance(meta, dict) and read_meta(file) == meta and all(array.size < 100 for array in arrays.values())

    assert accepted(read, tmp_path)
    fuzz("arrays: safetensors", prepare, tmp_path, few=4)
