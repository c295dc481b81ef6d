"""Hamming geometry of ±1 codes: distances, packed words, and the minimum distance a set of centers should keep.

Codes are int8 arrays [N, K] of −1 and +1. D(a, b) = (K − aᵀb)/2 counts the bits in which two codes differ. Packed
codes are uint64 [N, ceil(K/64)], bit 1 for +1, the first bit lowest. Metrics and search have their own kernels.
"""

from math import comb
from typing import Any

import numpy as np


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamming distances int64 [N, M] (0 to K) between ±1 codes a [N, K] and b [M, K].

    Raises ValueError if the two differ in length or hold anything but −1 and +1.

    >>> distance(np.array([[1, 1, -1]]), np.array([[1, 1, -1], [-1, 1, 1]]))
    array([[0, 2]])
    """
    a, b = as_codes(a), as_codes(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"codes of {a.shape[1]} and {b.shape[1]} bits cannot be compared; encode both with one code length"
        )
    total = np.zeros((len(a), len(b)), dtype=np.int64)
    for left, right in zip(pack(a).T, pack(b).T, strict=True):  # 64 bits at a time
        total += np.bitwise_count(left[:, None] ^ right[None, :])
    return total


def pack(codes: np.ndarray) -> np.ndarray:
    """Pack ±1 codes [N, K] into uint64 words [N, ceil(K/64)]; unused high bits are 0.

    >>> pack(np.array([[1, -1, 1]]))
    array([[5]], dtype=uint64)
    """
    codes = as_codes(codes)
    rows, bits = codes.shape
    padded = np.zeros((rows, -(-bits // 64) * 64), dtype=bool)
    padded[:, :bits] = codes > 0
    packed = np.packbits(padded, axis=1, bitorder="little")  # uint8 [N, 8·words]
    return packed.view("<u8").astype(np.uint64)


def unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """The ±1 codes int8 [N, bits] that `pack` turned into uint64 words [N, ceil(bits/64)].

    >>> unpack(np.array([[5]], dtype=np.uint64), 3)
    array([[ 1, -1,  1]], dtype=int8)
    """
    check_size(bits, 1)
    packed = as_array(packed)
    if packed.dtype != np.uint64 or packed.ndim != 2 or packed.shape[1] != -(-bits // 64):
        raise ValueError(
            f"packed codes of {bits} bits are uint64 [N, {-(-bits // 64)}], got {packed.dtype} {list(packed.shape)}; "
            "make them with shc.hamming.pack"
        )
    octets = np.ascontiguousarray(packed.astype("<u8")).view(np.uint8)  # [N, 8·words]
    flags = np.unpackbits(octets, axis=1, count=bits, bitorder="little")
    return (2 * flags.astype(np.int8) - 1).astype(np.int8)


def minimum_distance(codes: np.ndarray) -> int:
    """Smallest Hamming distance between two different rows of ±1 codes [N, K]; K where there is no pair.

    >>> minimum_distance(np.array([[1, 1], [1, -1], [-1, -1]]))
    1
    """
    codes = as_codes(codes)
    if len(codes) < 2:
        return codes.shape[1]
    return int(pair_histogram(codes).nonzero()[0][0])


def pair_histogram(codes: np.ndarray) -> np.ndarray:
    """How many of the N(N−1)/2 pairs of rows of codes [N, K] stand at each distance: int64 [K+1].

    >>> pair_histogram(np.array([[1, 1], [1, -1], [-1, -1]]))
    array([0, 2, 1])
    """
    codes = as_codes(codes)
    counts = np.zeros(codes.shape[1] + 1, dtype=np.int64)
    for first in range(0, len(codes), 1024):  # all pairs of 10,000 codes at once would need gigabytes
        block = codes[first : first + 1024]
        within = np.bincount(distance(block, block).ravel(), minlength=len(counts))
        within[0] -= len(block)
        counts += within // 2  # every pair was counted twice
        later = codes[first + 1024 :]
        if len(later):
            counts += np.bincount(distance(block, later).ravel(), minlength=len(counts))
    return counts


def nearest(query_codes: np.ndarray, database_codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and distances, int64 [Q, k], of each query's k nearest database codes; ties in database order.

    k above the size of the database is cut to it.

    >>> nearest(np.array([[1, 1]]), np.array([[-1, -1], [1, 1], [1, -1]]), k=2)
    (array([[1, 2]]), array([[0, 1]]))
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k={k!r} neighbors asked for; k must be a whole number of at least 1")
    distances = distance(query_codes, database_codes)  # [Q, N]
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


def min_distance_rule(bits: int, classes: int) -> int:
    """Minimum distance asked of `classes` centers of `bits` bits: smallest d with Σ_{i<d} binom(K, i) ≥ 2^K / C.

    The SHC paper's rule (there called the Gilbert–Varshamov bound), in exact integers; at most K. A set with this
    distance need not exist, but one with d − 1 always does (the Gilbert–Varshamov theorem).

    >>> [min_distance_rule(bits, 100) for bits in (16, 32, 64)]
    [4, 10, 24]
    """
    check_size(bits, classes)
    ball, d = 0, 0
    while classes * ball < 2**bits and d < bits:
        ball += comb(bits, d)
        d += 1
    return d


def check_size(bits: int, classes: int) -> None:
    """Raise ValueError unless `bits` and `classes` are positive whole numbers."""
    for name, value in (("bits", bits), ("classes", classes)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}={value!r}; expected a whole number of at least 1")


def check_seed(seed: int) -> None:
    """Raise ValueError unless `seed` is a whole number from 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed={seed!r}; expected a whole number of at least 0")


def as_array(values: Any) -> np.ndarray:
    """The values as an array; ValueError for rows of different lengths."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{values!s:.80} has rows of different lengths; expected an array") from error


def as_numbers(values: Any, name: str) -> np.ndarray:
    """The values as an array of numbers; ValueError calling them `name` if they are texts or objects."""
    array = as_array(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} hold {array.dtype}; expected numbers")
    return array


def as_codes(codes: np.ndarray) -> np.ndarray:
    """The codes as an int8 array [N, K]; ValueError unless they are two-dimensional and all −1 or +1."""
    codes = as_array(codes)
    if codes.ndim != 2 or codes.shape[1] == 0:
        raise ValueError(f"codes have shape {list(codes.shape)}; expected [N, K] with K of at least 1")
    binary = (codes == 1) | (codes == -1)
    if not binary.all():
        bad = codes[~binary][0]
        raise ValueError(f"codes hold the value {bad}; expected only -1 and +1 (take 2*bit - 1 of 0/1 bits)")
    return codes.astype(np.int8)
