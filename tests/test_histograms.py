import doctest
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import hamming, histogram_engines, histogram_kernels, histograms
from shc.hierarchy import Hierarchy
from shc.histograms import level_histogram, ordered_precisions, prepare

TREE = Hierarchy((("a",), ("a",), ("b",), ("b",), ("c",)))


def draw(seed, queries=6, database=40, bits=8, classes=5):
    """query_codes, database_codes, query_labels, database_labels, at random."""
    rng = np.random.default_rng(seed)
    codes = [rng.choice(np.array([-1, 1], np.int8), (size, bits)) for size in (queries, database)]
    return *codes, rng.integers(0, classes, queries), rng.integers(0, classes, database)


def obvious(query, database, query_labels, database_labels, levels):
    """One pair at a time."""
    out = np.zeros((len(query), np.max(levels) + 1, query.shape[1] + 1), int)
    for q, code in enumerate(query):
        for m, other in enumerate(database):
            out[q, levels[query_labels[q]][database_labels[m]], (code != other).sum()] += 1
    return out


def test_examples():
    assert doctest.testmod(histograms).failed == 0


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 7, 63, 64, 65, 130, 256, 300, 1024]),
    st.integers(1, 9),
    st.integers(1, 60),
)
def test_all_engines_count_every_pair(seed, bits, queries, database):
    sides = draw(seed, queries, database, bits)
    levels = TREE.shared_levels()
    expected = obvious(*sides, levels)
    for engine in histograms.ENGINES:
        np.testing.assert_array_equal(level_histogram(*sides, levels, engine=engine), expected)
    assert expected.sum() == queries * database


@pytest.mark.parametrize("engine", histograms.ENGINES)
@pytest.mark.parametrize("bits", [16, 64, 200])
def test_chunks_and_blocks_of_any_size(monkeypatch, engine, bits):
    sides, levels = draw(7, queries=9, database=101, bits=bits), TREE.shared_levels()
    expected = obvious(*sides, levels)
    for chunk, cache, pairs in ((1, 1, 64), (10, 24, 64), (40, 100, 640), (101, 2000, 64 * 30)):
        monkeypatch.setattr(histograms, "CHUNK", chunk)
        monkeypatch.setattr(histogram_engines, "CACHE", cache)
        monkeypatch.setattr(histogram_engines, "PAIRS", pairs)
        np.testing.assert_array_equal(level_histogram(*sides, levels, engine=engine), expected)


@pytest.mark.parametrize("bits", [5, 64, 100, 128, 255, 256])
@pytest.mark.parametrize("size", [4_097, 9_000])  # odd, and more than one tile of pairs
def test_large_blocks_are_counted_in_pairs(bits, size):
    assert size > histogram_kernels.LARGE
    sides = draw(12, queries=7, database=size, bits=bits)
    expected = level_histogram(*sides, TREE.shared_levels(), engine="numpy")
    np.testing.assert_array_equal(level_histogram(*sides, TREE.shared_levels()), expected)


def test_bfloat16_products_are_exact_where_they_are_used():
    sides = draw(8, queries=30, database=300, bits=256)
    sides[1][:30] = sides[0]  # distance 0: the largest product
    sides[1][30:60] = -sides[0]
    products = torch.from_numpy(sides[0]).bfloat16() @ torch.from_numpy(sides[1]).bfloat16().T
    np.testing.assert_array_equal((256 - products.int()) // 2, hamming.distance(*sides[:2]))


def test_a_memory_mapped_database_is_read_where_it_is(tmp_path):
    query, database, query_labels, database_labels = draw(9, database=5000, bits=64)
    np.save(tmp_path / "codes.npy", hamming.pack(database))
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    expected = level_histogram(query, database, query_labels, database_labels)
    counted = level_histogram(hamming.pack(query), mapped, query_labels, database_labels, bits=64)
    np.testing.assert_array_equal(counted, expected)
    prepared = prepare(hamming.pack(query), mapped, query_labels, database_labels, bits=64)
    assert np.shares_memory(prepared.database, mapped) and np.shares_memory(prepared.database_labels, database_labels)


def test_the_bar_counts_every_pair(capsys, monkeypatch):
    monkeypatch.setattr(histograms, "BAR_AFTER", 0)
    for engine in histograms.ENGINES:
        level_histogram(*draw(10), engine=engine, progress=True)
        assert "240/240" in capsys.readouterr().err
        level_histogram(*draw(10), engine=engine)
        assert capsys.readouterr().err == ""


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_order_threads_and_chunks_change_nothing(seed, threads):
    query, database, query_labels, database_labels = draw(seed)
    whole = level_histogram(query, database, query_labels, database_labels, TREE.shared_levels(), threads=threads)
    order = np.random.default_rng(seed).permutation(len(database))
    part, rest = order[:13], order[13:]
    summed = sum(
        level_histogram(query, database[ids], query_labels, database_labels[ids], TREE.shared_levels())
        for ids in (part, rest)
    )
    np.testing.assert_array_equal(whole, summed)
    assert whole.dtype == np.int64


def test_default_levels_are_equal_labels_whatever_their_values():
    query, database, query_labels, database_labels = draw(3)
    plain = level_histogram(query, database, query_labels, database_labels)
    np.testing.assert_array_equal(plain, obvious(query, database, query_labels, database_labels, np.eye(5, dtype=int)))
    names = np.array([3, 10**9, 7, 500, 12])
    np.testing.assert_array_equal(level_histogram(query, database, names[query_labels], names[database_labels]), plain)
    rare = np.arange(40) * 10**6 + 10**7  # many classes that no query has
    mixed = np.where(database_labels == 4, rare, database_labels)
    np.testing.assert_array_equal(
        level_histogram(query, database, np.minimum(query_labels, 3), mixed),
        obvious(query, database, np.minimum(query_labels, 3), np.minimum(database_labels, 4), np.eye(5, dtype=int)),
    )
    one_class = level_histogram(query, database, query_labels * 0, database_labels * 0)
    assert one_class.shape == (6, 2, 9) and one_class[:, 0].sum() == 0


@pytest.mark.parametrize("bits", [8, 64, 100])
def test_torch_and_packed_codes_give_the_same(bits):
    query, database, query_labels, database_labels = draw(4, bits=bits)
    plain = level_histogram(query, database, query_labels, database_labels)
    labels = (query_labels, database_labels)
    tensors = [torch.from_numpy(array) for array in (query, database, *labels)]
    np.testing.assert_array_equal(level_histogram(*tensors), plain)
    network = [tensors[0].to(torch.bfloat16).requires_grad_(), tensors[1].float()]
    np.testing.assert_array_equal(level_histogram(*network, *tensors[2:]), plain)
    packed = [hamming.pack(query), hamming.pack(database)]
    np.testing.assert_array_equal(level_histogram(*packed, *labels, bits=bits), plain)
    np.testing.assert_array_equal(level_histogram(query, packed[1], *labels, bits=bits), plain)


def test_label_sets_count_shared_labels():
    rng = np.random.default_rng(5)
    query, database, *_ = draw(5, queries=30, database=50)
    query_sets, database_sets = rng.random((30, 6)) < 0.4, rng.random((50, 6)) < 0.4
    levels = query_sets.astype(int) @ database_sets.astype(int).T
    expected = obvious(query, database, np.arange(30), np.arange(50), levels)
    for engine in histograms.ENGINES:
        counted = level_histogram(query, database, query_sets, database_sets.astype(int), engine=engine)
        np.testing.assert_array_equal(counted, expected)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 64, 70]), st.integers(0, 2))
def test_ordered_precisions_against_a_stable_sort(seed, bits, least):
    sides = draw(seed, bits=bits)
    levels = TREE.shared_levels()
    cuts = [50, 1, 7, 7, 40]
    precisions, hits = ordered_precisions(prepare(*sides, levels), least, cuts)
    for q in range(6):
        order = np.argsort((sides[0][q] != sides[1]).sum(1), kind="stable")
        relevant = levels[sides[2][q], sides[3][order]] >= least
        running = np.cumsum(relevant) / np.arange(1, 41) * relevant
        assert hits[q].tolist() == [relevant[:k].sum() for k in cuts]
        np.testing.assert_allclose(precisions[q], [running[:k].sum() for k in cuts], atol=1e-12)


def test_paper_size_takes_seconds():
    sides = draw(6, queries=5_000, database=45_000, bits=64, classes=100)
    level_histogram(*(side[:2] for side in sides))  # compile
    start = time.perf_counter()
    counted = level_histogram(*sides)
    assert time.perf_counter() - start < 10  # about 0.1 s on two free cores
    assert (counted.sum((1, 2)) == 45_000).all()


CODES, LABELS = np.array([[1, -1], [1, 1]], np.int8), np.array([0, 1])
SETS = np.array([[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"query_codes": CODES * 2}, "query_codes hold 2 in row 0.*-1 and \\+1"),
        ({"database_codes": np.array([[1.0, 1.0], [1.0, np.nan]])}, "database_codes hold nan in row 1"),
        ({"query_codes": CODES > 0}, "query_codes have dtype bool.*2\\*bit - 1"),
        ({"query_codes": CODES.astype(str)}, "query_codes have dtype <U4"),
        ({"query_codes": CODES[:, :1]}, "query_codes have 1 bits and database_codes 2.*same hasher"),
        ({"query_codes": CODES[0]}, r"query_codes have shape \[2\]"),
        ({"database_codes": CODES[:0]}, r"database_codes have shape \[0, 2\].*at least one code"),
        ({"query_labels": LABELS[:1]}, r"query_labels have shape \[1\] for 2 query_codes"),
        ({"database_labels": LABELS + 0.5}, "database_labels have dtype float64"),
        ({"database_labels": LABELS - 1}, "database_labels hold -1.*start at 0"),
        ({"database_labels": np.array([0, 2**63], np.uint64)}, "database_labels hold 9223372036854775808.*below"),
        ({"database_labels": SETS}, r"query_labels \[2\] and database_labels \[2, 3\].*one kind"),
        ({"query_labels": SETS * 2, "database_labels": SETS}, "query_labels hold 2; label sets"),
        ({"query_labels": SETS[:, :2], "database_labels": SETS}, "2 columns and database_labels 3"),
        ({"query_labels": SETS, "database_labels": SETS, "levels": np.eye(3, dtype=int)}, "leave levels out"),
        ({"levels": np.eye(2)}, r"levels \[2, 2\] of float64 must be whole numbers"),
        ({"levels": np.array([[256, 0], [0, 1]])}, "levels run from 0 to 256"),
        ({"levels": np.eye(1, dtype=int)}, "hold class 1.*only 1 classes"),
        ({"query_codes": CODES.astype(np.uint64)}, "query_codes are uint64 words; give their code length as bits="),
        ({"bits": 3}, "query_codes have 2 bits, but bits=3"),
        (
            {"query_codes": np.array([[8]], np.uint64), "bits": 2},
            r"query_codes \[1, 1\] are not packed codes of bits=2",
        ),
        ({"query_codes": np.array([[1]], np.uint64), "bits": 0}, "bits=0.*at least 1"),
        ({"threads": -1}, "threads=-1.*one per processor"),
        ({"engine": "numba:cuda"}, "engine='numba:cuda'"),
        ({"engine": "torch:nowhere"}, "device='nowhere' is not usable"),
        ({"engine": "gpu"}, "engine='gpu'.*numba, numpy, torch"),
    ],
)
def test_errors_name_the_value(change, told):
    arguments = {"query_codes": CODES, "database_codes": CODES, "query_labels": LABELS, "database_labels": LABELS}
    with pytest.raises(ValueError, match=told):
        level_histogram(**arguments | change)
