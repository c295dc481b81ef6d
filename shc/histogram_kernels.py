"""Compiled counting for `shc.histograms`: popcount loops over packed codes that release the GIL.

Every call writes only its own rows of the outputs, so threads over chunks of the queries need no lock. Compiled
code is cached on disk; only the first call on a machine waits for the compiler.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic


def _popcount(typing_context: Any, word: Any) -> Any:
    """Number of set bits of a uint64: one machine instruction, which numba has no name for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


popcount: Any = intrinsic(_popcount)
TILE = 2048  # pairs of distances that stand in the fastest cache
LARGE = 4096  # items; for fewer, summing the table of pairs costs more than it saves, measured at 64 to 255 bits


@njit(nogil=True, cache=True)
def add_distances(word, left, right, out):  # type: ignore[no-untyped-def]
    """Add to out uint16 [m] the distances of a word to `left` times 256, and those to `right`: in vectors."""
    for m in range(len(left)):
        out[m] += (popcount(word ^ left[m]) << np.uint64(8)) + popcount(word ^ right[m])


@njit(nogil=True, cache=True)
def count_pairwise(code, columns, start, stop, table, two, row):  # type: ignore[no-untyped-def]
    """Add to row int64 [K+1], K < 256, how many of the columns uint64 [W, M] from start to stop stand at each distance.

    Incrementing a counter per item is what counting costs. Here two items share one increment, in a table of both
    their distances, uint32 [(K+1)·256], which is summed in the end. `two` uint16 [TILE] holds distances on the way.
    """
    size, half = len(row), (stop - start) // 2
    table[:] = 0
    for first in range(start, start + half, len(two)):
        m = min(len(two), start + half - first)
        two[:m] = 0
        for w in range(len(code)):
            column = columns[w]
            add_distances(code[w], column[first : first + m], column[first + half : first + half + m], two)
        for i in range(m):
            table[two[i]] += np.uint32(1)
    for i in range(size):
        left = 0
        for j in range(size):
            left += table[i * 256 + j]
            row[j] += table[i * 256 + j]
        row[i] += left
    if (stop - start) % 2:
        count_one_by_one(code, columns, stop - 1, stop, row)


@njit(nogil=True, cache=True)
def count_one_by_one(code, columns, start, stop, row):  # type: ignore[no-untyped-def]
    """The same for any K, with an increment per item."""
    if len(code) == 1:  # worth its own loop: the codes of 64 bits and less
        word, column = code[0], columns[0]
        for m in range(start, stop):
            row[popcount(word ^ column[m])] += 1
    else:
        for m in range(start, stop):
            distance = np.uint64(0)
            for w in range(len(code)):
                distance += popcount(code[w] ^ columns[w, m])
            row[distance] += 1


@njit(nogil=True, cache=True)
def count_levels(query, columns, edges, labels, blocks, levels, query_labels, out):  # type: ignore[no-untyped-def]
    """Add to out int64 [Q, L, K+1] how many database items of each level stand at each distance from each query.

    query uint64 [Q, W]; database columns uint64 [W, M], labels[s] in edges[s] to edges[s+1]; levels uint8 [A, B].
    The segments blocks[b] to blocks[b+1] make a block, which stays in the cache while all queries are compared with it.
    In large blocks everything is counted as level 0 first, then the segments of other levels are put right.
    """
    size = out.shape[2]
    table = np.empty(size * 256 if size <= 256 else 0, np.uint32)
    two = np.empty(TILE, np.uint16)
    part = np.empty(size, np.int64)
    for b in range(len(blocks) - 1):
        start, stop = edges[blocks[b]], edges[blocks[b + 1]]
        large = size <= 256 and stop - start > LARGE
        for q in range(query.shape[0]):
            if large:
                count_pairwise(query[q], columns, start, stop, table, two, out[q, 0])
            for s in range(blocks[b], blocks[b + 1]):
                level = levels[query_labels[q], labels[s]]
                if not large:
                    count_one_by_one(query[q], columns, edges[s], edges[s + 1], out[q, level])
                elif level:
                    part[:] = 0
                    count_one_by_one(query[q], columns, edges[s], edges[s + 1], part)
                    out[q, level] += part
                    out[q, 0] -= part


@njit(nogil=True, cache=True)
def sum_precisions(  # type: ignore[no-untyped-def]
    query, database, levels, query_labels, database_labels, least, cuts, bits, precisions, hits
):
    """For the ranking by distance with ties in database order: Σ of the precisions at its hits, and the hits.

    A hit has level ≥ least. Both outputs, [Q, cuts], are taken at each rank of `cuts` (ascending, within the database).
    """
    size, words = database.shape
    distances = np.empty(size, np.int32)
    ranked = np.empty(size, np.bool_)
    for q in range(query.shape[0]):
        place = np.zeros(bits + 2, np.int64)  # where the next item at each distance goes: a counting sort
        for m in range(size):
            distance = np.uint64(0)
            for w in range(words):
                distance += popcount(query[q, w] ^ database[m, w])
            distances[m] = distance
            place[distance + np.uint64(1)] += 1
        for d in range(bits + 1):
            place[d + 1] += place[d]
        for m in range(size):
            ranked[place[distances[m]]] = levels[query_labels[q], database_labels[m]] >= least
            place[distances[m]] += 1
        found, total, cut = 0, 0.0, 0
        for i in range(size):
            if ranked[i]:
                found += 1
                total += found / (i + 1)
            while cut < len(cuts) and cuts[cut] == i + 1:
                precisions[q, cut], hits[q, cut] = total, found
                cut += 1
