"""How many database items of each relevance level stand at each Hamming distance: the one count behind every metric.

The histogram int64 [Q, L, K+1] needs no sort and no ids, and histograms add: chunks of the database, processes and
machines combine exactly. The database is read once, in chunks ordered by class, so that relevance is a slice and not a
test per item, and so that packed codes in a memory-mapped file may be larger than the memory. The engines of
`shc.histogram_engines` agree exactly.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from shc import hamming
from shc.histogram_engines import ENGINES, Part

CHUNK = 2**20  # rows of the database at a time
MANY = 2048  # class ids above are numbered anew: the table of their levels would be large where ids have gaps
BAR_AFTER = 2  # seconds; shorter counts show no bar
SHARED_LABELS_BLOCK = 1024  # rows of a product of label sets at a time, so that it stays small


@dataclass(frozen=True)
class Retrieval:
    """Checked and packed queries and database: codes uint64 [Q, W] and [M, W], labels as rows and columns of `levels`.

    `levels` uint8 [A, B] holds the relevance level of a database item of label b to a query of label a.
    """

    query: np.ndarray
    database: np.ndarray
    query_labels: np.ndarray
    database_labels: np.ndarray
    levels: np.ndarray
    bits: int


def level_histogram(
    query_codes: Any,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    levels: Any = None,
    *,
    bits: int | None = None,
    engine: str = "numba",
    threads: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Count, for each query, the database items of each relevance level at each Hamming distance: int64 [Q, L, K+1].

    Codes are ±1 [Q, K] and [M, K], or packed uint64 with `bits=K` (see `shc.hamming.pack`); NumPy or torch. Labels are
    class ids [N], or 0/1 label sets [N, C]. `levels` [C, C] holds the level of class pairs, for instance
    `hierarchy.shared_levels()`, L − 1 being its largest entry; by default the level is 1 for equal class ids and 0
    else, and for label sets the number of shared labels. `engine` is "numba", "numpy" or "torch" (on a GPU if there is
    one; "torch:cpu" and the like name the device); `threads`, of numba, defaults to the number of processors;
    `progress` shows a bar if counting takes more than 2 seconds.

    Raises ValueError for codes that are not ±1, code lengths that differ, an empty side, or labels that do not fit.

    >>> level_histogram([[1, 1]], [[1, 1], [1, -1], [-1, 1]], [7], [7, 7, 3]).tolist()
    [[[0, 1, 0], [1, 1, 0]]]
    """
    return count(
        prepare(query_codes, database_codes, query_labels, database_labels, levels, bits), engine, threads, progress
    )


def prepare(
    query_codes: Any,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    levels: Any = None,
    bits: int | None = None,
) -> Retrieval:
    """Check the arguments of `level_histogram` once and pack the codes."""
    query, query_bits = _packed(query_codes, "query_codes", bits)
    database, database_bits = _packed(database_codes, "database_codes", bits)
    if query_bits != database_bits:
        raise ValueError(
            f"query_codes have {query_bits} bits and database_codes {database_bits}; encode both with the same hasher"
        )
    query_ids = _labels(query_labels, len(query), "query")
    database_ids = _labels(database_labels, len(database), "database")
    if query_ids.ndim != database_ids.ndim:
        raise ValueError(
            f"query_labels {list(query_ids.shape)} and database_labels {list(database_ids.shape)} must be of one kind: "
            "class ids [N] or 0/1 label sets [N, C]"
        )
    if levels is not None:
        if query_ids.ndim == 2:
            raise ValueError("levels goes with class ids [N], not with 0/1 label sets [N, C]; leave levels out")
        table = _level_table(to_numpy(levels), query_ids, database_ids)
    elif query_ids.ndim == 2:
        query_ids, database_ids, table = _shared_labels(query_ids, database_ids)
    else:
        if (classes := 1 + max(int(query_ids.max()), int(database_ids.max()))) > MANY:
            known, query_ids = np.unique(query_ids, return_inverse=True)
            place = np.minimum(np.searchsorted(known, database_ids), len(known) - 1)
            classes = len(known) + 1  # those that queries have, and one for all others
            database_ids = np.where(known[place] == database_ids, place, len(known))
        table = np.eye(classes, dtype=np.uint8)
    return Retrieval(query, database, query_ids, database_ids, table, query_bits)


def count(
    retrieval: Retrieval, engine: str = "numba", threads: int | None = None, progress: bool = False
) -> np.ndarray:
    """The histogram int64 [Q, L, K+1] of prepared arguments; with `progress`, a bar if it takes more than 2 seconds."""
    name, _, device = engine.partition(":")
    if name not in ENGINES or (device and name != "torch"):
        raise ValueError(f"engine={engine!r} is not known; choose one of {', '.join(ENGINES)} (or torch:DEVICE)")
    out = np.zeros((len(retrieval.query), max(int(retrieval.levels.max()), 1) + 1, retrieval.bits + 1), dtype=np.int64)
    size = len(retrieval.database)
    with _bar(len(out) * size, progress) as bar:
        for start in range(0, size, CHUNK):
            inside = slice(start, start + CHUNK)
            part = Part.of(retrieval.database[inside], retrieval.database_labels[inside], retrieval.bits)

            def work(rows: slice, part: Part = part) -> None:
                sides = retrieval.query[rows], retrieval.query_labels[rows]
                ENGINES[name](part, *sides, retrieval.levels, out[rows], device)
                bar.update(len(sides[0]) * len(part.codes))

            if name == "numba":
                _in_chunks(work, len(out), threads)
            else:
                work(slice(None))
    return out


def _bar(pairs: int, shown: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=pairs, desc="comparing codes", unit=" pairs", unit_scale=True, delay=BAR_AFTER, disable=not shown)


def ordered_precisions(
    retrieval: Retrieval, least: int, cuts: list[int], threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Σ of the precisions at the hits in the first k, float64 [Q, cuts], and the hits, int64, for each k in `cuts`.

    A hit is an item of level ≥ least. Ties stand in database order, as a stable sort leaves them; this is what the
    literature's mAP depends on, and the reason why the expectation over ties is the default.
    """
    from shc.histogram_kernels import sum_precisions

    size = len(retrieval.database)
    ranks, where = np.unique(np.minimum(cuts, size), return_inverse=True)
    precisions = np.zeros((len(retrieval.query), len(ranks)))
    hits = np.zeros(precisions.shape, dtype=np.int64)

    def work(rows: slice) -> None:
        sum_precisions(
            retrieval.query[rows], retrieval.database, retrieval.levels, retrieval.query_labels[rows],
            retrieval.database_labels, least, ranks, retrieval.bits, precisions[rows], hits[rows],
        )  # fmt: skip

    _in_chunks(work, len(precisions), threads)
    return precisions[:, where], hits[:, where]


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy view or copy of a NumPy array, torch tensor (any device) or nested list."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if str(array.dtype) == "torch.bfloat16":  # NumPy has no such type
            array = array.float()
        return array.numpy()
    return hamming.as_array(array)


def _in_chunks(work: Callable[[slice], None], size: int, threads: int | None) -> None:
    """Call `work` on slices that cover range(size), in threads; it must release the GIL and write only to its rows."""
    if threads is None:
        threads = os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads={threads!r} must be a whole number of at least 1, or None for one per processor")
    step = max(-(-size // (4 * threads)), 1)  # a few chunks per thread even out their ends
    chunks = [slice(start, min(start + step, size)) for start in range(0, size, step)]
    if threads == 1 or len(chunks) == 1:
        for rows in chunks:
            work(rows)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, chunks))


def _packed(codes: Any, name: str, bits: int | None) -> tuple[np.ndarray, int]:
    """Packed words uint64 [N, W] and the code length."""
    codes = to_numpy(codes)
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"{name} have shape {list(codes.shape)}; expected [N, K] with at least one code and one bit")
    if codes.dtype == np.uint64:
        if bits is None:
            raise ValueError(f"{name} are uint64 words; give their code length as bits= (packed), or pass ±1 codes")
        hamming.check_size(bits, 1)
        words = -(-bits // 64)
        if codes.shape[1] != words or (bits % 64 and int(codes[:, -1].max()) >> bits % 64):
            raise ValueError(
                f"{name} {list(codes.shape)} are not packed codes of bits={bits}: expected {words} words with the "
                "bits above the code length 0; make them with shc.hamming.pack"
            )
        return np.ascontiguousarray(codes), bits
    if codes.dtype.kind not in "if":
        raise ValueError(f"{name} have dtype {codes.dtype}; expected int8 of -1 and +1 (take 2*bit - 1 of 0/1 bits)")
    wrong = (codes != 1) & (codes != -1)
    if wrong.any():
        raise ValueError(
            f"{name} hold {codes[wrong][0]} in row {np.argwhere(wrong)[0, 0]}; expected only -1 and +1 "
            "(take the sign of a network's outputs, 2*bit - 1 of 0/1 bits)"
        )
    if bits not in (None, codes.shape[1]):
        raise ValueError(f"{name} have {codes.shape[1]} bits, but bits={bits}; leave bits out for ±1 codes")
    return hamming.pack(codes), codes.shape[1]


def _labels(labels: Any, size: int, side: str) -> np.ndarray:
    """Class ids int64 [N], or label sets bool [N, C]."""
    labels = to_numpy(labels)
    if labels.ndim not in (1, 2) or len(labels) != size:
        raise ValueError(
            f"{side}_labels have shape {list(labels.shape)} for {size} {side}_codes; give one class id, or one row of "
            "0/1 labels, per code"
        )
    if labels.dtype.kind not in "iub":
        raise ValueError(f"{side}_labels have dtype {labels.dtype}; expected integer class ids, or 0/1 label sets")
    if labels.min(initial=0) < 0:
        raise ValueError(f"{side}_labels hold {labels.min()}; class ids start at 0 (leave unlabelled items out)")
    if int(labels.max(initial=0)) >= 2**63:
        raise ValueError(f"{side}_labels hold {labels.max()}; class ids must be below 2^63")
    if labels.ndim == 2:
        if labels.max(initial=0) > 1:
            raise ValueError(f"{side}_labels hold {labels.max()}; label sets [N, C] hold only 0 and 1")
        return labels.astype(bool)
    return labels.astype(np.int64, copy=False)


def _level_table(levels: np.ndarray, query_ids: np.ndarray, database_ids: np.ndarray) -> np.ndarray:
    if levels.ndim != 2 or 0 in levels.shape or levels.dtype.kind not in "iu":
        raise ValueError(f"levels {list(levels.shape)} of {levels.dtype} must be whole numbers [classes, classes]")
    if levels.min() < 0 or levels.max() > 255:
        raise ValueError(f"levels run from {levels.min()} to {levels.max()}; expected 0 to at most 255")
    for side, ids, size in (("query", query_ids, len(levels)), ("database", database_ids, levels.shape[1])):
        if ids.max() >= size:
            raise ValueError(
                f"{side}_labels hold class {ids.max()}, but the hierarchy (levels) has only {size} classes; "
                "give the hierarchy of the data set that the labels come from"
            )
    return np.ascontiguousarray(levels, dtype=np.uint8)


def _shared_labels(query: np.ndarray, database: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of the different label sets on each side, and uint8 [A, B]: how many labels two sets share."""
    if query.shape[1] != database.shape[1]:
        raise ValueError(f"query_labels have {query.shape[1]} columns and database_labels {database.shape[1]}")
    if query.shape[1] > 255:
        raise ValueError(f"label sets of {query.shape[1]} classes are not supported; at most 255")
    query_sets, query_ids = np.unique(query, axis=0, return_inverse=True)
    database_sets, database_ids = np.unique(database, axis=0, return_inverse=True)
    table = np.empty((len(query_sets), len(database_sets)), dtype=np.uint8)
    columns = database_sets.T.astype(np.float32)
    for start in range(0, len(query_sets), SHARED_LABELS_BLOCK):
        rows = slice(start, start + SHARED_LABELS_BLOCK)
        table[rows] = query_sets[rows].astype(np.float32) @ columns
    return query_ids.reshape(-1), database_ids.reshape(-1), table
