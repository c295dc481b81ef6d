"""Three ways to count the same pairs: the engines behind `shc.histograms.count`.

"numba"   compiled popcount loops over packed codes, in threads; the default
"numpy"   XOR, popcount and bincount, one query at a time: plain, and the reference of the others
"torch"   products of ±1 matrices, counted on the device of your choice: exact, because a product of K signs is a whole
          number of at most K, which bfloat16 holds up to 256 and float32 up to 2²⁴

An engine adds a `Part` of the database to the histogram; what it adds are integers, so nothing depends on the order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shc import hamming

CACHE = 2**19  # bytes of codes that all queries are compared with before the next come: about a core's L2
PAIRS = 2**24  # in one matrix product: 16 million bytes of levels, 32 of products, 128 of indices


@dataclass(frozen=True)
class Part:
    """Some of the database: packed codes uint64 [M, W] ordered by label; labels[s] in rows edges[s] to edges[s+1]."""

    codes: np.ndarray
    labels: np.ndarray
    edges: np.ndarray
    bits: int

    @classmethod
    def of(cls, codes: np.ndarray, labels: np.ndarray, bits: int) -> "Part":
        """Order codes [M, W] by their labels [M]."""
        few = labels.max(initial=0) < 2**16
        order = np.argsort(labels.astype(np.uint16) if few else labels, kind="stable")  # 16 bits: a radix sort
        ordered = labels[order]
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        return cls(np.take(codes, order, axis=0), ordered[first], np.append(first, len(ordered)), bits)

    @cached_property
    def columns(self) -> np.ndarray:
        """The codes word by word, uint64 [W, M]."""
        return np.ascontiguousarray(self.codes.T)

    @cached_property
    def blocks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges and labels of segments, cut at every CACHE bytes too, and the first segment of each such block."""
        size, rows = len(self.codes), max(CACHE // (8 * self.codes.shape[1]), 1)
        edges = np.union1d(self.edges, np.arange(0, size, rows))
        labels = self.labels[np.searchsorted(self.edges, edges[:-1], side="right") - 1]
        return edges, labels, np.searchsorted(edges, np.append(np.arange(0, size, rows), size))


Engine = Callable[..., None]  # (part, query, query_labels, levels, out): adds the part to out, rows as in query


def count_numba(
    part: Part, query: np.ndarray, query_labels: np.ndarray, levels: np.ndarray, out: np.ndarray, device: str = ""
) -> None:
    """Compiled, with blocks of the database in the cache; releases the GIL."""
    from shc.histogram_kernels import count_levels

    count_levels(query, part.columns, *part.blocks, levels, query_labels, out)


def count_numpy(
    part: Part, query: np.ndarray, query_labels: np.ndarray, levels: np.ndarray, out: np.ndarray, device: str = ""
) -> None:
    """One query at a time: count all distances, then those of each label of a higher level, and subtract them."""
    size = part.bits + 1
    small = np.uint8 if part.bits < 256 else np.uint16
    for q, (code, row) in enumerate(zip(query, levels[query_labels], strict=True)):
        distances = np.bitwise_count(part.columns[0] ^ code[0]).astype(small, copy=False)
        for column, word in zip(part.columns[1:], code[1:], strict=True):  # 64 bits at a time
            distances += np.bitwise_count(column ^ word)
        out[q, 0] += counted(distances, size)
        for segment in np.flatnonzero(row[part.labels]):
            counts = np.bincount(distances[part.edges[segment] : part.edges[segment + 1]], minlength=size)
            out[q, row[part.labels[segment]]] += counts
            out[q, 0] -= counts


def counted(distances: np.ndarray, size: int) -> np.ndarray:
    """How often each of 0 … size−1 occurs: `np.bincount`, with two neighbouring uint8 distances as one number."""
    if distances.dtype != np.uint8:
        return np.bincount(distances, minlength=size)
    even = len(distances) // 2 * 2
    table = np.bincount(distances[:even].view(np.uint16), minlength=256 * size)[: 256 * size]
    table = table.reshape(size, 256)[:, :size]
    counts = table.sum(0) + table.sum(1)
    for distance in distances[even:]:
        counts[distance] += 1
    return counts


def count_torch(
    part: Part, query: np.ndarray, query_labels: np.ndarray, levels: np.ndarray, out: np.ndarray, device: str = ""
) -> None:
    """Products of ±1 codes on a device, in pieces of PAIRS; in bfloat16 on a GPU, where that is exact."""
    import torch

    from shc.devices import resolve_device

    where = resolve_device(device or "auto")
    kind = torch.bfloat16 if where.startswith("cuda") and part.bits <= 256 else torch.float32
    given = lambda array, kind: torch.from_numpy(np.ascontiguousarray(array)).to(where, kind)
    labels = given(np.repeat(part.labels, np.diff(part.edges)), torch.int64)
    table, height, size = given(levels, torch.int32), out.shape[1], part.bits + 1
    columns = min(PAIRS // 64, len(part.codes))
    step = max(min(PAIRS // columns, PAIRS // (height * size)), 1)  # few bins too: they are numbered in 32 bits
    for start in range(0, len(part.codes), columns):
        inside = slice(start, start + columns)
        database = given(hamming.unpack(part.codes[inside], part.bits), kind).T  # [K, m]
        for first in range(0, len(query), step):
            rows = slice(first, first + step)
            products = (given(hamming.unpack(query[rows], part.bits), kind) @ database).int()  # [q, m]
            bins = table[given(query_labels[rows], torch.int64)][:, labels[inside]]  # the level of each pair [q, m]
            bins += height * torch.arange(len(bins), device=where, dtype=torch.int32)[:, None]
            bins = bins.mul_(size).add_((part.bits - products) // 2)
            counts = torch.bincount(bins.flatten(), minlength=len(products) * height * size)
            out[rows] += counts.view(len(products), height, size).cpu().numpy()


ENGINES: dict[str, Engine] = {"numba": count_numba, "numpy": count_numpy, "torch": count_torch}
