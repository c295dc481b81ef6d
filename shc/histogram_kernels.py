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


@njit(nogil=True, cache=True)
def count_levels(query, database, first, levels, query_labels, out):  # type: ignore[no-untyped-def]
    """Add to out int64 [Q, L, K+1] how many database items of each level stand at each distance from each query.

    query uint64 [Q, W]; database uint64 [M, W], label b in rows first[b] to first[b+1]; levels uint8 [A, B].
    """
    words = query.shape[1]
    for q in range(query.shape[0]):
        for label in range(first.shape[0] - 1):
            row = out[q, levels[query_labels[q], label]]
            if words == 1:  # worth its own loop: the codes of 64 bits and less
                word = query[q, 0]
                for m in range(first[label], first[label + 1]):
                    row[popcount(word ^ database[m, 0])] += 1
            else:
                for m in range(first[label], first[label + 1]):
                    distance = np.uint64(0)
                    for w in range(words):
                        distance += popcount(query[q, w] ^ database[m, w])
                    row[distance] += 1


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
