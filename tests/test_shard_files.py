"""Shards that are not what `shc encode` writes: none is unpacked to far more than it is, and each says why."""

import json
import tracemalloc

import numpy as np
import pytest

from shc.runs import RunError
from shc.shards import EncodedStore, Manifest, Shard

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ROWS = 100_000
LONG = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), ["x" * 100_000])  # one text in every row
MANIFEST = dict(
    bits=64, hasher="h", files="f", total=ROWS, shard=ROWS, format="parquet", class_names=["a", "b"], paths=None,
    unlabelled=0,
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return EncodedStore.start(tmp_path / "codes", Manifest(**MANIFEST))


def table(rows=ROWS, about=None, **columns):
    own = {
        "id": pa.array(["x"] * rows),
        "label": pa.array([0] * rows, pa.int32()),
        "code": pa.array([b"8 octets"] * rows),
    }
    own["code"] = own["code"].cast(pa.binary(8))
    own |= columns
    found = pa.table({name: column for name, column in own.items() if column is not None})
    return found.replace_schema_metadata({b"shc": json.dumps(about).encode()})


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        (dict(id=LONG), {}, r"unpacks to 10,000,000,000 bytes"),
        (dict(rows=ROWS + 1), {}, "holds 100,001 codes; at most 100,000 are due"),
        (dict(label=pa.array(["0"] * ROWS)), {}, "its columns are id .*label string"),
        (dict(label=None), {}, "damaged or not a shard"),
        (dict(code=pa.array([b"9 octets."] * ROWS).cast(pa.binary(9))), {}, "its columns are"),
        (dict(code=pa.array([b"8 octets"] * ROWS)), {}, "its columns are"),
        (dict(more=pa.array([1] * ROWS)), {}, "its columns are"),
        (dict(label=pa.nulls(ROWS, pa.int32())), {}, "some of its values are missing"),
        (dict(about=[]), {}, "does not say which images are missing"),
        (dict(about={"key": "k"}), {}, "does not say which images are missing"),
        (dict(about={"failed": {}}), {}, "belongs to another store"),
    ],
)
def test_other_shards_are_refused(store, changes, options, told):
    changes = {"about": {"key": store.manifest.key, "failed": {}}} | changes
    pq.write_table(table(**changes), store.file(0), **options)
    assert store.file(0).stat().st_size < 2**21
    tracemalloc.start()
    before = pa.default_memory_pool().max_memory()
    try:
        with pytest.raises(RunError, match=told):
            store.read(0)
        assert pa.default_memory_pool().max_memory() - before < 2**28
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_shard_of_ours_is_read(store):
    names = [f"{i}.png" for i in range(ROWS)]
    codes = np.arange(ROWS, dtype=np.uint64)[:, None]
    store.write(0, Shard(names, np.zeros(ROWS, np.int32), codes))
    found = store.read(0)
    assert found.ids == names and (found.codes == codes).all() and not found.labels.any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (dict(bits="x"), "bits='x'; expected a whole number from 1 to 1024"),
        (dict(bits=True), "bits=True"),
        (dict(bits=10**9), "bits=1000000000"),
        (dict(shard=0), "shard=0; expected a whole number from 1"),
        (dict(total=-1), "total=-1"),
        (dict(total=2**40, shard=1), "announces 1,099,511,627,776 shards; at most 1,000,000"),
        (dict(format="../../x"), "format='../../x' is unknown; known are parquet and lance"),
        (dict(format=["parquet"]), "is no text"),
        (dict(hasher=None), "hasher=None is no text"),
        (dict(class_names="ab"), "is no list of names"),
        (dict(paths=[["x"]]), "1 paths do not fit 2 classes"),
        (dict(paths=[["x"], ["y", "z"]]), "equally long parent paths"),
        (dict(paths=[["x"], "y"]), "are no lists of names"),
        (dict(more=1), "unexpected keyword"),
    ],
)
def test_other_manifests_are_refused(tmp_path, changes, told):
    text = json.dumps(MANIFEST | {"version": 1} | changes)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=f"manifest.json is damaged .*{told}"):
        EncodedStore(tmp_path)


def test_a_lance_table_of_something_else_is_refused(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    store = EncodedStore.start(tmp_path / "codes", Manifest(**(MANIFEST | {"format": "lance", "total": 3, "shard": 3})))
    lists = pa.array([[1] * 8] * 4, pa.list_(pa.uint8(), 8))
    about = {"key": store.manifest.key, "failed": {}}
    for rows, columns, told in (
        (4, {"code": lists}, "holds 4 codes; at most 3"),
        (3, {"more": lists[:3]}, "its columns"),
    ):
        lancedb.connect(store.folder).create_table("codes-00000", table(rows, about, **columns), mode="overwrite")
        with pytest.raises(RunError, match=told):
            store.read(0)
