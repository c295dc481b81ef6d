"""Every engine against brute force, what each of the five calls refuses, a killed writer, a store on the loopback."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

import shc
from shc import hamming, search_lance
from shc.runs import read_arrays, write_arrays
from shc.search import Ball, HammingIndex, Neighbors, SearchError

ROOT = Path(shc.__file__).resolve().parent.parent
ENGINES = ("memory", "lance")
APPROXIMATE = {
    "ivf": dict(nlist=16, nprobe=4),
    "hnsw": dict(m=16, ef_construction=40, ef_search=64),
    "multihash": dict(nhash=4, width=8, nflip=2),
}
ROWS, QUERIES = 600, 8


def random_codes(seed, rows, bits):
    return (np.random.default_rng(seed).integers(0, 2, (rows, bits)) * 2 - 1).astype(np.int8)


def clustered_codes(seed, rows, bits=64, clusters=40):
    """Centers that are the same for every seed, with a tenth of the bits flipped."""
    rng, centers = np.random.default_rng(seed), random_codes(0, clusters, bits)
    flips = np.where(rng.random((rows, bits)) < 0.1, -1, 1)
    return (centers[rng.integers(0, clusters, rows)] * flips).astype(np.int8)


def new_index(engine, folder, **options):
    return HammingIndex.open(f"{engine}:{folder / 'index'}", **options)


@pytest.fixture(params=ENGINES)
def index(request, tmp_path):
    """An empty index of each engine."""
    return new_index(request.param, tmp_path)


@pytest.fixture(params=ENGINES)
def filled(request, tmp_path):
    """600 codes of 32 bits with ids in no order, labels and paths; the codes, and the ids."""
    index, codes = new_index(request.param, tmp_path, fingerprint="hasher a"), random_codes(1, ROWS, 32)
    ids = np.random.default_rng(2).permutation(10 * ROWS)[:ROWS]
    paths = [f"räume/{i}.png" for i in ids]
    assert index.add(codes, ids=ids, labels=ids % 7, paths=paths) == ROWS
    return index, codes, ids


# ------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize("bits", [1, 8, 12, 32, 64, 100, 512, 1024])
def test_neighbors_are_those_of_brute_force(index, bits):
    codes, queries = random_codes(bits, ROWS, bits), random_codes(99, QUERIES, bits)
    index.add(codes[:200])
    index.add(codes[200:])
    distances = hamming.distance(queries, codes)
    found = index.search(queries, k=50)
    assert isinstance(found, Neighbors)
    assert found.ids.dtype == found.labels.dtype == np.int64 and found.distances.dtype == np.int32
    assert (found.distances == np.sort(distances, 1)[:, :50]).all()
    assert (found.distances == np.take_along_axis(distances, found.ids, 1)).all()
    for q in range(QUERIES):
        assert len(set(found.ids[q])) == 50
        nearer = np.flatnonzero(distances[q] < found.distances[q, -1])
        assert set(nearer) <= set(found.ids[q])  # the group that k cuts is the only one in doubt
        assert found.ids[q].tolist() == sorted(found.ids[q], key=lambda i: (distances[q, i], i))


@pytest.mark.parametrize("bits", [8, 64, 100])
def test_balls_are_those_of_brute_force(index, bits):
    codes, queries = random_codes(bits, ROWS, bits), random_codes(99, QUERIES, bits)
    index.add(codes)
    distances = hamming.distance(queries, codes)
    for radius in (0, int(np.median(distances)) - 3, bits, bits + 7):
        found = index.search(queries, radius=radius)
        assert isinstance(found, Ball) and found.offsets.dtype == np.int64 and len(found.offsets) == QUERIES + 1
        for q in range(QUERIES):
            inside = slice(found.offsets[q], found.offsets[q + 1])
            wanted = sorted(np.flatnonzero(distances[q] <= radius), key=lambda i: (distances[q, i], i))
            assert found.ids[inside].tolist() == wanted
            assert found.distances[inside].tolist() == distances[q, wanted].tolist()


def test_flat_memory_keeps_ties_in_the_order_of_the_items():
    """What notebook 5 shows does not depend on faiss's order of ties."""
    codes, queries = random_codes(3, 5000, 16), random_codes(4, 20, 16)
    index = HammingIndex.open("memory:")
    index.add(codes)
    ids, distances = hamming.nearest(queries, codes, 40)
    found = index.search(queries, k=40)
    assert (found.ids == ids).all() and (found.distances == distances).all()


def test_codes_may_be_packed_or_torch(filled):
    index, codes, _ = filled
    queries = random_codes(5, QUERIES, 32)
    wanted = index.search(queries, k=5)
    for same in (torch.from_numpy(queries), hamming.pack(queries), queries.astype(np.float32)):
        assert (index.search(same, k=5).ids == wanted.ids).all()
    assert (
        index.add(torch.from_numpy(codes[:2]), ids=torch.tensor([10**7, 10**7 + 1]), labels=torch.tensor([1, 2])) == 2
    )
    assert index.add(hamming.pack(codes[:3])) == 3 and index.count() == ROWS + 5


def test_packed_words_need_the_code_length(tmp_path):
    words = hamming.pack(random_codes(0, 20, 100))
    with pytest.raises(SearchError, match="open the index with bits="):
        HammingIndex.open("memory:").add(words)
    index = HammingIndex.open("memory:", bits=100)
    assert index.add(words) == 20 and index.search(words, k=1).distances.max() == 0
    assert index.search(words[:, :], k=1).ids[:, 0].tolist() == list(range(20))
    with pytest.raises(SearchError, match="not packed codes of 100 bits: expected 2 words"):
        index.add(words | np.uint64(1 << 63))


def test_k_above_the_number_of_items_is_cut_to_it(filled):
    index, codes, ids = filled
    found = index.search(codes[:1], k=10_000)
    assert found.ids.shape == (1, ROWS) and set(found.ids[0]) == set(ids)


def test_more_queries_than_are_searched_at_a_time(filled):
    index, codes, ids = filled
    assert (index.search(codes, k=1).distances == 0).all()
    found = index.search(codes, radius=0)
    assert set(found.ids[found.offsets[17] : found.offsets[18]]) >= {ids[17]}


# ------------------------------------------------------------------------------------------ items


def test_labels_and_paths_come_back(filled):
    index, codes, _ = filled
    found = index.search(codes[:40], k=9)
    assert (found.labels == found.ids % 7).all()
    assert found.paths.tolist() == [[f"räume/{i}.png" for i in row] for row in found.ids]
    ball = index.search(codes[:40], radius=9)
    assert (ball.labels == ball.ids % 7).all() and ball.paths.tolist() == [f"räume/{i}.png" for i in ball.ids]
    index.add(codes[:1], ids=[2 * 10**9])
    plain = index.search(codes[:1], radius=0)
    assert plain.labels[plain.ids == 2 * 10**9].tolist() == [-1]
    assert plain.paths[plain.ids == 2 * 10**9].tolist() == [""]


def test_ids_go_on_after_the_largest(index):
    codes = random_codes(0, 10, 16)
    index.add(codes[:2])
    index.add(codes[2:3], ids=[41])
    index.add(codes[3:5])
    assert set(index.search(codes[:1], k=10).ids[0]) == {0, 1, 41, 42, 43}


def test_adding_again_adds_nothing(filled):
    index, codes, ids = filled
    paths = [f"räume/{i}.png" for i in ids]
    assert index.add(codes, ids=ids, labels=ids % 7, paths=paths) == 0 and index.count() == ROWS
    more, some = np.append(ids[:5], 10**8), np.append(codes[:5], codes[:1], axis=0)
    assert index.add(some, ids=more, labels=more % 7, paths=[*paths[:5], "new"]) == 1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda code, label, path: (-code, label, path), "code"),
        (lambda code, label, path: (code, label + 1, path), "label"),
        (lambda code, label, path: (code, label, "x"), "path"),
    ],
)
def test_an_id_with_other_content_is_refused(filled, change, what):
    index, codes, ids = filled
    code, label, path = change(codes[7:8], ids[7:8] % 7, f"räume/{ids[7]}.png")
    new, both = random_codes(0, 1, 32), [10**8, ids[7]]
    with pytest.raises(SearchError, match=rf"has id {ids[7]} already, with another {what}.*Nothing was added"):
        index.add(np.append(new, code, axis=0), ids=both, labels=np.append([0], label), paths=["", path])
    assert index.count() == ROWS


def test_delete(filled):
    index, codes, ids = filled
    assert index.delete(ids[:100]) == 100 and index.count() == ROWS - 100
    distances = hamming.distance(codes[:5], codes[100:])
    found = index.search(codes[:5], k=30)
    assert (found.distances == np.sort(distances, 1)[:, :30]).all() and not np.isin(found.ids, ids[:100]).any()
    assert (found.labels == found.ids % 7).all()
    with pytest.raises(SearchError, match=f"has no id {ids[3]}; nothing was deleted"):
        index.delete([ids[3], ids[300]])
    assert index.count() == ROWS - 100
    assert index.add(codes[:100], ids=ids[:100]) == 100 and index.delete([]) == 0
    assert index.delete(ids) == ROWS and index.count() == 0
    with pytest.raises(SearchError, match="is empty"):
        index.search(codes[:1], k=1)
    assert index.add(codes) == ROWS


def test_saved_and_opened_again(filled):
    index, codes, _ = filled
    index.save()
    again = HammingIndex.open(index.uri)
    assert (again.bits, again.fingerprint, again.count()) == (32, "hasher a", ROWS)
    queries = random_codes(5, QUERIES, 32)
    before, after = index.search(queries, k=20), again.search(queries, k=20)
    for name in ("distances", "labels", "paths", "ids"):
        assert name == "distances" or (getattr(after, name) == getattr(before, name))[:, :3].all()
    assert (after.distances == before.distances).all()
    assert again.add(codes[:1]) == 1
    with pytest.raises(SearchError, match="holds codes of 32 bits, not 64; open it with bits=32"):
        HammingIndex.open(index.uri, bits=64)
    with pytest.raises(SearchError, match=r"filled by the hasher hasher a, not by hasher b.*cannot be compared"):
        HammingIndex.open(index.uri, fingerprint="hasher b")
    assert HammingIndex.open(index.uri, bits=32, fingerprint="hasher a").count() >= ROWS


def test_an_index_without_fingerprint_is_not_taken_for_one_with(index):
    index.add(random_codes(0, 3, 16))
    index.save()
    with pytest.raises(SearchError, match=r"\(without fingerprint\)"):
        HammingIndex.open(index.uri, fingerprint="hasher b")


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda i: i.add(np.zeros((2, 32), np.int8)), "codes: codes hold the value 0; expected only -1 and"),
        (lambda i: i.add(random_codes(0, 2, 16)), "codes have 16 bits, but index .* holds codes of 32"),
        (lambda i: i.add(random_codes(0, 2, 32)[0]), r"codes have shape \[32\]; expected \[N, K\]"),
        (lambda i: i.add(np.zeros((0, 32), np.int8)), "there is nothing to add"),
        (lambda i: i.add([["a", "b"]]), "codes have 2 bits"),
        (
            lambda i: i.add(random_codes(0, 2, 32), ids=[1]),
            r"ids \[1\] of int64 must be one whole number per code, \[2\]",
        ),
        (lambda i: i.add(random_codes(0, 2, 32), ids=[1.5, 2]), "must be one whole number per code"),
        (lambda i: i.add(random_codes(0, 2, 32), ids=[-1, 2]), "ids run from -1 to 2; expected 0"),
        (lambda i: i.add(random_codes(0, 2, 32), ids=[5, 5]), "ids hold 5 more than once"),
        (lambda i: i.add(random_codes(0, 2, 32), labels=[1]), r"labels \[1\] of int64 must be one class id per code"),
        (lambda i: i.add(random_codes(0, 2, 32), labels=[1, -2]), "labels hold -2; class ids start at 0"),
        (lambda i: i.add(random_codes(0, 2, 32), paths=["a"]), "1 paths for 2 codes"),
        (lambda i: i.add(random_codes(0, 2, 32), paths="ab"), "give one path per code"),
        (lambda i: i.add(random_codes(0, 2, 32), paths=["a", "b\0"]), "NUL"),
        (lambda i: i.add(random_codes(0, 2, 32), paths=["a", "b\udcff"]), "no valid text"),
        (lambda i: i.search(random_codes(0, 2, 16), k=1), "query codes have 16 bits"),
        (lambda i: i.search(random_codes(0, 0, 32), k=1), r"query codes have shape \[0, 32\]; give at least one query"),
        (lambda i: i.search(random_codes(0, 2, 32)), "k=None, radius=None: give one of them"),
        (lambda i: i.search(random_codes(0, 2, 32), k=1, radius=1), "k=1, radius=1: give one of them"),
        (lambda i: i.search(random_codes(0, 2, 32), k=0), "k=0; expected a whole number of at least 1"),
        (lambda i: i.search(random_codes(0, 2, 32), k=True), "k=True"),
        (lambda i: i.search(random_codes(0, 2, 32), radius=-1), "radius=-1; expected a whole number of at least 0"),
        (lambda i: i.search(random_codes(0, 2, 32), radius=1.5), "radius=1.5"),
        (lambda i: i.delete([10**9]), "has no id 1000000000"),
        (lambda i: i.delete([[1]]), "ids"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(filled, call, told):
    index = filled[0]
    with pytest.raises(SearchError, match=told):
        call(index)
    assert index.count() == ROWS and index.bits == 32


def test_empty_and_too_long(index):
    with pytest.raises(SearchError, match="is empty; add codes first"):
        index.search(random_codes(0, 1, 8), k=1)
    with pytest.raises(SearchError, match="bits=1025; expected a whole number from 1 to 1024"):
        index.add(random_codes(0, 1, 1025))
    with pytest.raises(SearchError, match="has no id 3"):
        index.delete([3])
    assert index.count() == 0 and index.bits is None  # what was refused decides nothing


@pytest.mark.parametrize(
    ("uri", "options", "told"),
    [
        ("milvus://x", {}, "names no index; expected one of memory:"),
        ("index", {}, "names no index"),
        ("memory://x", {}, "expected memory: alone, or memory:FOLDER"),
        ("lance:", {}, "expected lance:FOLDER"),
        ("lance://x/y", {}, "lance:///FOLDER for an absolute path"),
        ("lance+s3:bucket", {}, r"expected lance\+s3://BUCKET/PREFIX"),
        ("lance+s3://", {}, r"expected lance\+s3://BUCKET/PREFIX"),
        ("memory:", {"bits": 0}, "bits=0; expected a whole number from 1 to 1024"),
        ("memory:", {"fingerprint": 3}, "fingerprint=3 must be a text"),
        ("memory:", {"kind": "tree"}, "kind='tree' is not known; choose one of flat, ivf, hnsw, multihash"),
        ("memory:", {"nprobe": 3}, "nprobe is no option here; kind='flat' takes no options"),
        ("memory:", {"kind": "ivf", "m": 3}, "m is no option here; kind='ivf' takes nlist, nprobe"),
        ("memory:", {"kind": "hnsw", "m": 1}, "m=1; expected a whole number from 2 to 512"),
        ("lance:x", {"kind": "ivf"}, "kind: a lance index is exact and takes no such options"),
    ],
)
def test_what_cannot_be_opened(uri, options, told):
    with pytest.raises(SearchError, match=told):
        HammingIndex.open(uri, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_is_no_folder(engine, tmp_path):
    (tmp_path / "index").write_text("something")
    with pytest.raises(SearchError, match="is a file, not"):
        new_index(engine, tmp_path)
    assert (tmp_path / "index").read_text() == "something"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    index = HammingIndex.open(f"memory:{tmp_path / 'file' / 'index'}")
    index.add(random_codes(0, 3, 16))
    with pytest.raises(SearchError, match=r"was not saved: .* could not be written .*; make room or"):
        index.save()
    with pytest.raises(SearchError, match="file is a file, not a folder"):
        HammingIndex.open(f"lance:{tmp_path / 'file' / 'index'}")


def test_importing_search_stays_cheap():
    code = "import sys, shc.search; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    ).stdout.split()
    assert "shc.search" in loaded and not {"torch", "faiss", "lancedb", "pyarrow", "numba"} & set(loaded)


def test_memory_alone_is_not_saved():
    index = HammingIndex.open("memory:")
    index.add(random_codes(0, 3, 16))
    with pytest.raises(SearchError, match="open it as memory:FOLDER"):
        index.save()


def test_a_damaged_file_is_not_opened(tmp_path):
    index = new_index("memory", tmp_path)
    with pytest.raises(SearchError, match="is empty; add codes before it is saved"):
        index.save()
    index.add(random_codes(0, 300, 64))
    index.save()
    (file,) = (tmp_path / "index").iterdir()
    content = file.read_bytes()
    for damaged in (content[:-9], b"", content[:500] + b"\xff" + content[501:]):
        file.write_bytes(damaged)
        with pytest.raises(SearchError, match="is damaged or no index; delete it and fill the index again"):
            new_index("memory", tmp_path)
    file.write_bytes(content)
    arrays, meta = read_arrays(file)
    write_arrays(file, arrays | {"ids": arrays["ids"][:-1]}, meta)
    with pytest.raises(SearchError, match="is damaged"):
        new_index("memory", tmp_path)


def test_a_damaged_or_foreign_table_is_told(tmp_path):
    import lancedb

    lancedb.connect(tmp_path / "foreign").create_table("items", [{"a": 1}])
    with pytest.raises(SearchError, match="is no index of ours; choose another place"):
        HammingIndex.open(f"lance:{tmp_path / 'foreign'}")
    index = new_index("lance", tmp_path)
    index.add(random_codes(0, 300, 64))
    for manifest in (tmp_path / "index").rglob("*.manifest"):
        manifest.write_bytes(b"no")
    with pytest.raises(SearchError, match="if the index is damaged, fill another one"):
        new_index("lance", tmp_path)


def test_without_lancedb_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(SearchError, match=r"pip install 'semantic-hash-centers\[scale\]'; memory: works without it"):
        HammingIndex.open("lance:somewhere")
    assert HammingIndex.open("memory:").add(random_codes(0, 3, 16)) == 3


# ------------------------------------------------------------------------------------------ approximate kinds


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_approximate_kinds_find_most(kind, tmp_path):
    codes, queries = clustered_codes(1, 4000), clustered_codes(2, 50)
    index = new_index("memory", tmp_path, kind=kind, **APPROXIMATE[kind])
    index.add(codes, labels=np.arange(4000) % 9)
    tenth = np.sort(hamming.distance(queries, codes), 1)[:, 9:10]
    found = index.search(queries, k=10)
    assert ((found.ids >= 0) & (found.distances <= tenth)).mean() > 0.85
    there = found.ids >= 0
    assert (found.distances[there] == np.take_along_axis(hamming.distance(queries, codes), found.ids, 1)[there]).all()
    assert (found.labels == np.where(there, found.ids % 9, -1)).all()
    index.save()
    again = HammingIndex.open(index.uri)
    assert again.kind == kind and (again.search(queries, k=10).distances == found.distances).all()
    assert again.delete(np.arange(0, 4000, 2)) == 2000 and again.count() == 2000
    left = again.search(queries, k=10).ids
    assert (left[left >= 0] % 2 == 1).all() and (left >= 0).mean() > 0.9
    assert again.add(codes[:1], ids=[0]) == 1
    if kind == "hnsw":
        with pytest.raises(SearchError, match="finds the k nearest only; use k="):
            again.search(queries, radius=3)
    else:
        ball = again.search(queries, radius=6)
        exact = (hamming.distance(queries, codes[1::2]) <= 6).sum() + (hamming.distance(queries, codes[:1]) <= 6).sum()
        assert 0.6 * exact < len(ball.ids) <= exact and (ball.distances <= 6).all()


def test_places_that_could_not_be_filled():
    index = HammingIndex.open("memory:", kind="multihash", nhash=2, width=16, nflip=0)
    codes = random_codes(0, 50, 32)
    index.add(codes, labels=np.zeros(50, int), paths=["p"] * 50)
    found = index.search(codes[:3], k=5)
    missing = found.ids < 0
    assert (found.ids[:, 0] == [0, 1, 2]).all() and missing[:, 1:].any()
    assert (found.distances[missing] == 33).all() and (found.labels[missing] == -1).all()
    assert set(found.paths[missing]) == {""}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(kind="ivf", nlist=51), "nlist=51 clusters cannot be learned from a first add of 50 items"),
        (dict(kind="multihash", nhash=4, width=9), "nhash=4 pieces of width=9 need 36 bits, and the codes have 32"),
    ],
)
def test_parameters_that_do_not_fit_the_codes(options, told):
    index = HammingIndex.open("memory:", **options)
    with pytest.raises(SearchError, match=told):
        index.add(random_codes(0, 50, 32))
    assert index.count() == 0 and index.bits is None


def test_a_saved_kind_is_kept_and_searched_otherwise_if_asked(tmp_path):
    index = new_index("memory", tmp_path, kind="ivf", nlist=8)
    index.add(random_codes(0, 500, 32))
    index.save()
    with pytest.raises(SearchError, match="is of kind 'ivf', not 'flat'"):
        HammingIndex.open(index.uri, kind="flat")
    with pytest.raises(SearchError, match="was built with nlist=8, not 9"):
        HammingIndex.open(index.uri, nlist=9)
    wide = HammingIndex.open(index.uri, nprobe=8)
    queries = random_codes(1, 5, 32)
    exact = np.sort(hamming.distance(queries, random_codes(0, 500, 32)), 1)[:, :9]
    assert (wide.search(queries, k=9).distances == exact).all()


# ------------------------------------------------------------------------------------------ lance: a kill


BATCH, BATCHES = 100, 40
WRITER = """
import sys
import numpy as np
from shc.search import HammingIndex
index = HammingIndex.open("lance:" + sys.argv[1], fingerprint="hasher a")
codes = np.load(sys.argv[2])
print("ready", flush=True)
for start in range(0, len(codes), {BATCH}):
    index.add(codes[start:start + {BATCH}], ids=range(start, start + {BATCH}), labels=[start // {BATCH}] * {BATCH})
    print(start + {BATCH}, flush=True)
"""


def test_a_killed_writer_leaves_whole_batches(tmp_path):
    """SHC_KILLS=10 kills ten writers instead of three."""
    rng, codes = random.Random(5), random_codes(0, BATCH * BATCHES, 64)
    np.save(tmp_path / "codes.npy", codes)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for kill in range(int(os.environ.get("SHC_KILLS", "3"))):
        folder = tmp_path / str(kill)
        command = [sys.executable, "-c", WRITER, str(folder), str(tmp_path / "codes.npy")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.02) if kill == 0 else rng.uniform(0.02, 0.4))  # first: as the table is made
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in writer.stdout.read().split()]
        index = HammingIndex.open(f"lance:{folder}", fingerprint="hasher a")
        there = index.count()
        assert there % BATCH == 0 and there >= max(told, default=0)
        if there:
            found = index.search(codes[:there:37], k=1)
            assert (found.distances == 0).all() and (found.labels == found.ids // BATCH).all()
        labels = np.arange(len(codes)) // BATCH
        assert index.add(codes, ids=np.arange(len(codes)), labels=labels) == len(codes) - there  # goes on
        index.save()
        everything = HammingIndex.open(f"lance:{folder}").search(codes[:2], k=len(codes))
        assert set(everything.ids[1]) == set(range(len(codes)))


@pytest.mark.parametrize("left", [(), ("_transactions",), ("_versions",), ("data", "_versions")])
def test_a_table_whose_first_writer_was_killed_is_begun_anew(tmp_path, left):
    for part in left:
        (tmp_path / "index" / "items.lance" / part).mkdir(parents=True)
        (tmp_path / "index" / "items.lance" / part / "0-half.tmp").write_bytes(b"half")
    index = new_index("lance", tmp_path)
    assert index.count() == 0 and index.add(random_codes(0, 9, 16)) == 9
    assert new_index("lance", tmp_path).count() == 9


def test_two_writers_see_each_other(tmp_path):
    codes = random_codes(0, 40, 16)
    one, two = new_index("lance", tmp_path), new_index("lance", tmp_path)
    one.add(codes[:10])
    two.add(codes[10:20])
    one.add(codes[20:30])
    two.add(codes[30:])
    assert one.count() == two.count() == 40
    assert (one.search(codes, k=40).ids.max(), two.search(codes, k=40).ids.max()) == (39, 39)
    assert set(one.search(codes[:1], k=40).ids[0]) == set(range(40))
    one.delete([39])
    assert two.count() == 39
    with pytest.raises(SearchError, match="has no id 39"):
        two.delete([39])


def test_the_table_is_made_by_one_writer_at_a_time(tmp_path, monkeypatch):
    """LanceDB would let the second writer's empty table replace the first one's, with what is in it."""
    codes, one, two = random_codes(0, 10, 16), new_index("lance", tmp_path), new_index("lance", tmp_path)
    other, make = threading.Thread(target=lambda: one.add(codes[:5], ids=range(5))), two.database.create_table

    def slowly(*arguments, **options):
        other.start()
        other.join(0.2)
        assert other.is_alive()  # it waits
        return make(*arguments, **options)

    monkeypatch.setattr(two.database, "create_table", slowly)
    assert two.add(codes[5:], ids=range(5, 10)) == 5
    other.join()
    assert set(new_index("lance", tmp_path).search(codes[:1], k=10).ids[0]) == set(range(10))


def test_two_writers_of_the_same_items_store_them_once(tmp_path, monkeypatch):
    codes, one, two = random_codes(0, 10, 16), new_index("lance", tmp_path), new_index("lance", tmp_path)
    other, insert = threading.Thread(target=lambda: one.add(codes, ids=range(10))), two._insert

    def slowly(items):  # it has seen that none of the ids is there
        other.start()
        other.join(0.2)
        assert other.is_alive()  # it waits
        insert(items)

    monkeypatch.setattr(two, "_insert", slowly)
    assert two.add(codes, ids=range(10)) == 10
    other.join()
    assert new_index("lance", tmp_path).count() == 10


def test_saving_over_what_another_process_saved_is_refused(tmp_path):
    codes, one, two = random_codes(0, 30, 16), new_index("memory", tmp_path), new_index("memory", tmp_path)
    one.add(codes[:20])
    one.save()
    two.add(codes[20:])
    with pytest.raises(SearchError, match="was saved by another process since it was opened here"):
        two.save()
    one.add(codes[20:])
    one.save()
    assert new_index("memory", tmp_path).count() == 30


def test_ids_end_where_whole_numbers_do(index):
    index.add(random_codes(0, 1, 16), ids=[2**63 - 1])
    with pytest.raises(SearchError, match=r"ids after the largest, 9223372036854775807, would exceed 2\^63 - 1"):
        index.add(random_codes(1, 1, 16))
    assert index.count() == 1


# ------------------------------------------------------------------------------------------ lance: an object store


@pytest.fixture(scope="module")
def store():
    """The address of an S3 server on the loopback with a bucket called `bucket`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="bucket")
    yield address
    server.stop()


@pytest.fixture
def settings(monkeypatch):
    """Set the AWS_… variables, and nothing but these."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower() in ("http_proxy", "all_proxy")]:
        monkeypatch.delenv(name)

    def set_to(endpoint, keys=True):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        if keys:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    return set_to


def test_object_store(store, settings):
    settings(store)
    codes, queries = random_codes(1, ROWS, 64), random_codes(2, QUERIES, 64)
    index = HammingIndex.open("lance+s3://bucket/some/prefix", fingerprint="hasher a")
    assert index.add(codes[:400], labels=np.arange(400) % 7, paths=[f"{i}.png" for i in range(400)]) == 400
    assert index.add(codes[400:]) == 200 and index.delete([0, 599]) == 2
    index.save()
    again = HammingIndex.open("lance+s3://bucket/some/prefix", bits=64, fingerprint="hasher a")
    memory = HammingIndex.open("memory:")
    memory.add(codes[1:599], ids=np.arange(1, 599))
    assert again.count() == 598
    for arguments in (dict(k=20), dict(radius=24)):
        ours, theirs = again.search(queries, **arguments), memory.search(queries, **arguments)
        assert (ours.distances == theirs.distances).all()
    assert (ours.ids == theirs.ids).all()  # a ball cuts no tie
    assert (ours.labels == np.where(ours.ids < 400, ours.ids % 7, -1)).all()
    with pytest.raises(SearchError, match="holds codes of 64 bits, not 32"):
        HammingIndex.open("lance+s3://bucket/some/prefix", bits=32)
    with pytest.raises(SearchError, match="filled by the hasher hasher a, not by hasher b"):
        HammingIndex.open("lance+s3://bucket/some/prefix", fingerprint="hasher b")


def test_bucket_that_does_not_exist(store, settings):
    settings(store)
    told = r"index lance\+s3://elsewhere/prefix: the store has no such bucket; make it, or correct"
    with pytest.raises(SearchError, match=told):
        HammingIndex.open("lance+s3://elsewhere/prefix")


def test_no_keys_and_wrong_keys(store, settings, monkeypatch):
    settings(store, keys=False)
    with pytest.raises(SearchError, match="no keys were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        HammingIndex.open("lance+s3://bucket/keys")
    settings(store)
    count_actions(store, 0)  # from now on the server looks at keys
    try:
        with pytest.raises(SearchError, match="the store refuses these keys; check AWS_ACCESS_KEY_ID"):
            HammingIndex.open("lance+s3://bucket/keys")
    finally:
        count_actions(store, 10**9)


def count_actions(store, free):
    """Let moto's server check keys after so many requests."""
    request = urllib.request.Request(f"{store}/moto-api/reset-auth", str(free).encode(), {"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=10).close()


def test_a_store_that_does_not_answer(settings, monkeypatch):
    monkeypatch.setattr(search_lance, "CONNECT", 1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        address = "http://{}:{}".format(*deaf.getsockname())
        settings(address)
        begun = time.monotonic()
        told = rf"no object store answers at {re.escape(address)} \(.*refused.*\); check AWS_ENDPOINT_URL"
        with pytest.raises(SearchError, match=told):
            HammingIndex.open("lance+s3://bucket/prefix")
        deaf.listen(50)  # takes connections, and says nothing
        with pytest.raises(SearchError, match=r"\(timed out\); check AWS_ENDPOINT_URL"):
            HammingIndex.open("lance+s3://bucket/prefix")
        assert time.monotonic() - begun < 30
    settings("127.0.0.1:9000")
    with pytest.raises(SearchError, match="must begin with http:// or https://"):
        HammingIndex.open("lance+s3://bucket/prefix")
