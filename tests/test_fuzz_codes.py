"""Fuzzing of stores of codes (Parquet and Lance) and of saved indexes: manifests, shards and faiss's own bytes."""

import json
import shutil

import numpy as np
import pytest
from fuzzing import VALUES, accepted, altered, damaged, dumped, fuzz, restored
from hypothesis import strategies as st

from shc import search_faiss
from shc.files import read_arrays, write_arrays
from shc.search import HammingIndex
from shc.shards import EncodedStore, Manifest, Shard
from shc.verify import verify

BITS, CLASSES = 70, ["a", "b", "c"]


def words(rows):
    codes = np.random.default_rng(0).integers(0, 2**63, (rows, 2), dtype=np.uint64)
    codes[:, 1] &= np.uint64(63)  # 70 bits
    return codes


def read_store(folder):
    """Everything that a store can be asked."""
    store = EncodedStore(folder)
    findings = list(verify(folder))
    assert all(finding.told for finding in findings)
    store.check_complete()
    codes, labels, ids, failed = store.codes(), store.labels(), store.ids(), store.failed()
    assert codes.dtype == np.uint64 and codes.shape == (len(labels), -(-store.bits // 64)) and labels.dtype == np.int32
    assert len(ids) == len(labels) and all(isinstance(name, str) for name in (*ids, *failed, *failed.values()))
    assert store.hierarchy is None or len(store.hierarchy.paths) == len(store.manifest.class_names)


@pytest.mark.parametrize("kind", ["parquet", "lance"])
def test_stores_of_codes(tmp_path, kind):
    pytest.importorskip({"parquet": "pyarrow", "lance": "lancedb"}[kind])
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [["x"], ["x"], ["y"]]
    store = EncodedStore.start(tmp_path / "whole", Manifest(BITS, "h", "f", 15, 8, kind, CLASSES, paths, 0))
    for number, count in ((0, 8), (1, 6)):
        names = [f"{number}/{row}.png" for row in range(count)]
        failed = {"gone.png": "no such file"} if number else {}
        store.write(number, Shard(names, np.arange(count, dtype=np.int32) % 3, words(count), failed))
    manifest, folder = json.loads((store.folder / "manifest.json").read_bytes()), tmp_path / "codes"

    def forged(draw, file):
        """A Parquet file with other columns, types, rows or packing than ours, and our metadata, or nearly."""
        rows = draw(st.sampled_from((8, 8, 0, 7, 9, 20_000)))
        names = pa.array([draw(st.sampled_from(("x.png", "y" * 10_000 if rows < 10 else "y")))] * rows)
        octets = draw(st.sampled_from((bytes(16), bytes(16), bytes(8), bytes(17))))
        code, number = pa.array([octets] * rows, pa.binary()), draw(st.sampled_from((pa.int32(), pa.int64())))
        columns = {
            "id": draw(st.sampled_from((names, names, names.cast(pa.binary()), pa.nulls(rows, pa.string())))),
            "label": pa.array([draw(st.sampled_from((0, 1, 7, -9)))] * rows, number),
            "code": code.cast(pa.binary(len(octets))) if draw(st.integers(0, 3)) else code,
        }
        for name in [name for name in columns if not draw(st.integers(0, 9))]:
            del columns[name]
        about = pq.read_schema(store.file(0)).metadata[b"shc"]
        about = dumped(altered(draw, json.loads(about))) if draw(st.booleans()) else about
        table = pa.table(columns).replace_schema_metadata({b"shc": about} if draw(st.integers(0, 9)) else None)
        packing = draw(st.sampled_from(("snappy", "snappy", "none", "gzip", "zstd")))
        pq.write_table(table, file, compression=packing, use_dictionary=draw(st.booleans()))

    def prepare(draw):
        restored(store.folder, folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "manifest.json")
        what = draw(st.sampled_from(("manifest", "bytes", "bytes", "bytes", "forged" if kind == "parquet" else "gone")))
        if what == "manifest":
            text = dumped(altered(draw, manifest) if draw(st.booleans()) else manifest | one(draw))
            (folder / "manifest.json").write_bytes(text)
        elif what == "forged":
            forged(draw, folder / "codes-00000.parquet")
        elif what == "gone":
            draw(st.sampled_from(files)).unlink()
        else:
            for _ in range(draw(st.integers(1, 2))):
                file = draw(st.sampled_from(files))
                file.write_bytes(damaged(draw, file.read_bytes()))
        return lambda: read_store(folder)

    def one(draw):
        """One entry of the manifest with another value."""
        return {draw(st.sampled_from(sorted(manifest))): draw(VALUES)}

    restored(store.folder, folder)
    assert accepted(lambda: read_store(folder), folder)
    fuzz(f"codes: {kind}", prepare, folder, few=5)
    shutil.rmtree(folder)


def test_saved_indexes(tmp_path):
    """Only of kind "flat": the bytes of the others are faiss's, and go through its reader."""
    folder = tmp_path / "index"
    index = HammingIndex.open(f"memory:{folder}", fingerprint="h", bits=BITS)
    index.add(words(9), ids=np.arange(9) * 3, labels=np.arange(9) % 3, paths=[f"{i}.png" for i in range(9)])
    index.save()
    file = folder / search_faiss.FILE
    whole = file.read_bytes()
    arrays, meta = read_arrays(file)

    def read():
        there = HammingIndex.open(f"memory:{folder}", bits=BITS)
        found = there.search(words(2), k=20)
        assert found.ids.shape == (2, there.count()) and (found.ids >= 0).all() and (found.labels >= -1).all()
        assert len(there.search(words(1), radius=BITS).ids) == there.count()

    def prepare(draw):
        if not draw(st.integers(0, 3)):
            file.write_bytes(damaged(draw, whole))
            return read
        changed = dict(arrays)
        if draw(st.booleans()):
            name = draw(st.sampled_from(sorted(changed)))
            content = damaged(draw, changed[name].tobytes())
            kind = (
                changed[name].dtype
                if draw(st.booleans())
                else np.dtype(draw(st.sampled_from(("u1", "i8", "f4", "i4"))))
            )
            changed[name] = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], kind)
        kept = {"kind", "options", "bits", "fingerprint"}
        forged = altered(draw, {k: v for k, v in meta.items() if k in kept}) if draw(st.booleans()) else meta
        if isinstance(forged, dict) and forged.get("kind", "flat") != "flat":
            forged = meta
        write_arrays(file, changed, forged)
        return read

    assert accepted(read, folder)
    assert fuzz("index: saved", prepare, folder, few=4)["accepted"]
