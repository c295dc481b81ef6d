"""Search by Hamming distance: one index with five calls, and an engine behind it that a URI chooses.

`memory:` is faiss, exact unless asked otherwise, and as fast as faiss called directly (`shc.search_faiss`); `lance:` is
LanceDB on a local path or an object store, always exact, and survives a kill (`shc.search_lance`). Items are a code, an
id, a label and a path. Another engine is a subclass of `HammingIndex` and two lines in `open`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from shc import hamming
from shc.histograms import to_numpy

MOST_BITS, LARGEST_ID = 1024, 2**63 - 1
PACK_BLOCK = 65_536  # ±1 codes packed at a time, so that checking them needs little memory
FORMS = "memory:, memory:FOLDER, lance:FOLDER, lance:///FOLDER (an absolute path) and lance+s3://BUCKET/PREFIX"


class SearchError(ValueError):
    """An index that cannot be opened or used as asked; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Items:
    """What an index stores: codes uint8 [N, B] packed, ids int64 [N], labels int64 [N] (−1 unknown), paths [N]."""

    codes: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    paths: np.ndarray

    def take(self, rows: np.ndarray) -> "Items":
        """The items at these positions, or where a mask is true."""
        return Items(self.codes[rows], self.ids[rows], self.labels[rows], self.paths[rows])


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest items of Q queries: ids int64, distances int32, labels int64, paths (text), each [Q, k].

    Rows are sorted by distance, equal distances by id. Labels are −1 and paths empty where they are unknown. A place
    that an approximate engine could not fill has id −1 and a distance of one more than the number of bits.
    """

    ids: np.ndarray
    distances: np.ndarray
    labels: np.ndarray
    paths: np.ndarray


@dataclass(frozen=True, eq=False)
class Ball:
    """All items within a radius of Q queries: those of query q are `[offsets[q]:offsets[q + 1]]` of the flat arrays.

    `offsets` int64 [Q+1]; ids int64, distances int32, labels int64 and paths [offsets[Q]], sorted as in `Neighbors`.
    """

    offsets: np.ndarray
    ids: np.ndarray
    distances: np.ndarray
    labels: np.ndarray
    paths: np.ndarray


class HammingIndex(ABC):
    """Codes with ids, labels and paths, searched by Hamming distance; made by `HammingIndex.open`.

    >>> index = HammingIndex.open("memory:")
    >>> index.add(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]]), labels=[7, 7, 3])
    3
    >>> found = index.search(np.array([[1, 1, 1]]), k=2)
    >>> found.ids.tolist(), found.distances.tolist(), found.labels.tolist()
    ([[0, 1]], [[0, 1]], [[7, 7]])
    >>> index.search(np.array([[1, 1, 1]]), radius=1).offsets.tolist()
    [0, 2]
    """

    def __init__(self, uri: str, bits: int | None, fingerprint: str | None) -> None:
        self.uri, self.bits, self.fingerprint = uri, bits, fingerprint

    @staticmethod
    def open(uri: str, *, bits: int | None = None, fingerprint: str | None = None, **options: Any) -> "HammingIndex":
        """Open the index at `uri`, or begin an empty one there.

        `memory:` lives in this process; `memory:FOLDER` is loaded from the folder if `save` was called for it before.
        It takes `kind="flat"` (exact, the default), or one of these approximate kinds: "ivf" (`nlist`, `nprobe`),
        "hnsw" (`m`, `ef_construction`, `ef_search`) or "multihash" (`nhash`, `width`, `nflip`).
        `lance:FOLDER`, `lance:///FOLDER` and `lance+s3://BUCKET/PREFIX` need the extra `scale`; keys, region and
        endpoint of the store come from the usual AWS_… environment variables.
        `bits` is only needed if the first codes are packed. `fingerprint` names what made the codes, for instance
        `run.load("hasher").key`. Raises SearchError for a URI or option that does not exist, an index of other bits or
        of another fingerprint, one that is damaged, and a store that does not answer.
        """
        scheme, colon, place = str(uri).partition(":")
        if not colon or scheme not in ("memory", "lance", "lance+s3"):
            raise SearchError(f"uri={uri!r} names no index; expected one of {FORMS}")
        if bits is not None:
            whole("bits", bits, 1, MOST_BITS)
        if fingerprint is not None and not isinstance(fingerprint, str):
            raise SearchError(f"fingerprint={fingerprint!r} must be a text, for instance run.load('hasher').key")
        if scheme == "memory":
            from shc.search_faiss import MemoryIndex

            return MemoryIndex(str(uri), place, bits, fingerprint, **options)
        from shc.search_lance import LanceIndex

        return LanceIndex(str(uri), place, bits, fingerprint, **options)

    # -------------------------------------------------------------------------------------- the five calls

    def add(self, codes: Any, ids: Any = None, labels: Any = None, paths: Sequence[str] | None = None) -> int:
        """Add items, all or none of them, and return how many are new.

        `codes` are ±1 [N, K] or packed uint64 [N, ceil(K/64)], K at most 1,024; NumPy or torch. `ids` are whole
        numbers from 0, by default those after the largest so far. An item that is there already with the same code,
        label and path is skipped, so an add that was interrupted can be repeated if it gives ids.
        Raises SearchError for codes of other bits, ids given twice, and an id that is there with other content.
        """
        packed, bits = self._packed(codes, "codes")
        if not len(packed):
            raise SearchError(f"codes have shape {list(np.shape(codes))}; there is nothing to add")
        items = Items(packed, _ids(ids, len(packed)), _labels(labels, len(packed)), _paths(paths, len(packed)))
        with self._writing():
            last = self._last_id()
            if ids is None:
                if last + len(packed) > LARGEST_ID:
                    raise SearchError(f"ids after the largest, {last}, would exceed 2^63 - 1; give ids")
                items = Items(packed, np.arange(len(packed)) + last + 1, items.labels, items.paths)
            elif items.ids.min() <= last:
                items = _without(items, self._find(items.ids), self.uri)
            before, self.bits = self.bits, bits
            try:
                if len(items.ids):
                    self._insert(items)
            except BaseException:
                self.bits = before
                raise
        return len(items.ids)

    @overload
    def search(self, codes: Any, *, k: int) -> Neighbors: ...

    @overload
    def search(self, codes: Any, *, radius: int) -> Ball: ...

    def search(self, codes: Any, *, k: int | None = None, radius: int | None = None) -> Neighbors | Ball:
        """The `k` nearest items of every query (k above their number is cut to it), or all within `radius` bits.

        Where k cuts a group of equal distance, which of its members come back is unspecified; everything nearer is
        exact. Raises SearchError for an empty index, codes of other bits, and unless one of `k`, `radius` is given.
        """
        if (k is None) == (radius is None):
            raise SearchError(f"k={k!r}, radius={radius!r}: give one of them, for instance k=10")
        items = self.count()
        if not items:
            raise SearchError(f"index {self.uri} is empty; add codes first")
        queries, bits = self._packed(codes, "query codes")
        if not len(queries):
            raise SearchError(f"query codes have shape {list(np.shape(codes))}; give at least one query")
        if k is not None:
            return self._nearest(queries, min(whole("k", k, 1), items))
        return self._within(queries, min(whole("radius", radius, 0), bits))

    @abstractmethod
    def count(self) -> int:
        """The number of items."""

    def delete(self, ids: Any) -> int:
        """Remove the items with these ids, all or none of them; SearchError names those that are not there."""
        wanted = _ids(ids, np.size(to_numpy(ids)))
        unknown = np.setdiff1d(wanted, self._find(wanted).ids)
        if len(unknown):
            raise SearchError(f"index {self.uri} has no id {_some(unknown)}; nothing was deleted")
        if len(wanted):
            self._remove(wanted)
        return len(wanted)

    @abstractmethod
    def save(self) -> None:
        """Make the index last. `memory:FOLDER` is written as it is now; Lance, stored by each `add`, is tidied up."""

    # -------------------------------------------------------------------------------------- what an engine gives

    def _writing(self) -> AbstractContextManager[Any]:
        """Keeps other writers away between looking for ids and inserting items, where an engine has any."""
        return nullcontext()

    @abstractmethod
    def _last_id(self) -> int:
        """The largest id, −1 where there is none."""

    @abstractmethod
    def _find(self, ids: np.ndarray) -> Items:
        """The items with these ids, as far as they are there, in any order."""

    @abstractmethod
    def _insert(self, items: Items) -> None:
        """Store items whose ids are new."""

    @abstractmethod
    def _remove(self, ids: np.ndarray) -> None:
        """Delete items that are there."""

    @abstractmethod
    def _nearest(self, queries: np.ndarray, k: int) -> Neighbors:
        """Neighbors of packed queries uint8 [Q, B], 1 ≤ k ≤ count."""

    @abstractmethod
    def _within(self, queries: np.ndarray, radius: int) -> Ball:
        """Items within 0 ≤ radius ≤ bits of packed queries uint8 [Q, B]."""

    # -------------------------------------------------------------------------------------- checks

    def _packed(self, codes: Any, name: str) -> tuple[np.ndarray, int]:
        """Codes as uint8 [N, ceil(K/8)], unused bits 0, and K, which must be the index's if it has one."""
        codes = to_numpy(codes)
        if codes.ndim != 2 or codes.shape[1] == 0:
            raise SearchError(f"{name} have shape {list(codes.shape)}; expected [N, K], one row per code")
        if codes.dtype == np.uint64:
            return self._from_words(codes, name)
        bits = whole("bits", codes.shape[1], 1, MOST_BITS)
        if self.bits not in (None, bits):
            raise SearchError(
                f"{name} have {bits} bits, but index {self.uri} holds codes of {self.bits}; encode both with the same "
                "hasher, or open another index"
            )
        if codes.dtype.kind not in "iuf":  # True would count as +1, and False as nothing
            raise SearchError(f"{name} are {codes.dtype}; expected numbers, 1 and -1, or packed uint64 words")
        packed = np.empty((len(codes), -(-bits // 8)), dtype=np.uint8)
        try:
            for start in range(0, len(codes), PACK_BLOCK):
                block = slice(start, start + PACK_BLOCK)
                packed[block] = _octets(hamming.pack(codes[block]), bits)
        except ValueError as error:
            raise SearchError(f"{name}: {error}") from error
        return packed, bits

    def _from_words(self, words: np.ndarray, name: str) -> tuple[np.ndarray, int]:
        if self.bits is None:
            raise SearchError(f"{name} are packed uint64 words; open the index with bits=, their code length")
        wanted, used = -(-self.bits // 64), self.bits % 64
        if words.shape[1] != wanted or (used and (words[:, -1] >> np.uint64(used)).any()):
            raise SearchError(
                f"{name} {list(words.shape)} are not packed codes of {self.bits} bits: expected {wanted} words with "
                "the bits above the code length 0; make them with shc.hamming.pack"
            )
        return _octets(words, self.bits), self.bits

    def _agree(self, bits: int, fingerprint: str | None) -> None:
        """Take over what the stored index says about itself; SearchError if something else was asked for."""
        if self.bits not in (None, bits):
            raise SearchError(
                f"index {self.uri} holds codes of {bits} bits, not {self.bits}; open it with bits={bits}, or make an "
                "index elsewhere"
            )
        if self.fingerprint is not None and self.fingerprint != fingerprint:
            raise SearchError(
                f"index {self.uri} was filled by the hasher {fingerprint or '(without fingerprint)'}, not by "
                f"{self.fingerprint}: their codes cannot be compared; search with that hasher's run, or make an index "
                "elsewhere"
            )
        self.bits, self.fingerprint = bits, fingerprint


def ragged(queries: int, query: np.ndarray, distances: np.ndarray, items: Items) -> Ball:
    """A Ball of hits in any order: `query` int [n] says whose hit it is, `items` [n] what was hit."""
    order = np.lexsort((items.ids, distances, query))
    offsets = np.concatenate([[0], np.bincount(query, minlength=queries).cumsum()]).astype(np.int64)
    found = items.take(order)
    return Ball(offsets, found.ids, distances[order].astype(np.int32), found.labels, found.paths)


def _without(items: Items, known: Items, uri: str) -> Items:
    """The items that are not among the known ones; SearchError if one of them is there with other content."""
    if not len(known.ids):
        return items
    by_id = np.argsort(items.ids)
    rows = by_id[np.searchsorted(items.ids, known.ids, sorter=by_id)]
    again = items.take(rows)
    for what, same in (
        ("code", (again.codes == known.codes).all(1)),
        ("label", again.labels == known.labels),
        ("path", again.paths == known.paths),
    ):
        if not same.all():
            raise SearchError(
                f"index {uri} has id {_some(known.ids[~same])} already, with another {what}; delete it first, or give "
                "the new items other ids. Nothing was added"
            )
    return items.take(np.setdiff1d(np.arange(len(items.ids)), rows))


def _octets(words: np.ndarray, bits: int) -> np.ndarray:
    """Packed words uint64 [N, W] → uint8 [N, ceil(bits/8)], the first bit lowest."""
    octets = np.ascontiguousarray(words, dtype="<u8").view(np.uint8)
    return np.ascontiguousarray(octets[:, : -(-bits // 8)])


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int; SearchError unless it is a whole number in the range."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise SearchError(f"{name}={value!r}; expected a whole number {limits}")
    return int(value)


def _ids(ids: Any, size: int) -> np.ndarray:
    if ids is None:
        return np.arange(size)
    ids = to_numpy(ids)
    if ids.shape != (size,) or (size and ids.dtype.kind not in "iu"):
        raise SearchError(f"ids {list(ids.shape)} of {ids.dtype} must be one whole number per code, [{size}]")
    if size and (ids.min() < 0 or ids.max() > LARGEST_ID):
        raise SearchError(f"ids run from {ids.min()} to {ids.max()}; expected 0 to 2^63 - 1")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise SearchError(f"ids hold {_some(values[counts > 1])} more than once; give every item an id of its own")
    return ids.astype(np.int64)


def _labels(labels: Any, size: int) -> np.ndarray:
    if labels is None:
        return np.full(size, -1, dtype=np.int64)
    labels = to_numpy(labels)
    if labels.shape != (size,) or labels.dtype.kind not in "iu":
        raise SearchError(f"labels {list(labels.shape)} of {labels.dtype} must be one class id per code, [{size}]")
    if labels.min(initial=0) < -1:
        raise SearchError(f"labels hold {labels.min()}; class ids start at 0, and -1 means unknown")
    return labels.astype(np.int64)


def _paths(paths: Sequence[str] | None, size: int) -> np.ndarray:
    if paths is None:
        return np.full(size, "", dtype=object)
    texts = [str(path) for path in paths]
    if isinstance(paths, str) or len(texts) != size:
        raise SearchError(f"{len(texts)} paths for {size} codes; give one path per code, '' where there is none")
    try:
        encoded = "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise SearchError(f"a path is no valid text ({error.object!r:.80}); rename the file") from error
    if b"\0" in encoded:
        raise SearchError("a path holds the character NUL, which no file name can have; correct it")
    return np.array(texts, dtype=object)  # much faster to take from than a StringDType


def _some(values: np.ndarray) -> str:
    """The first values and how many more there are."""
    more = f" and {len(values) - 5:,} more" if len(values) > 5 else ""
    return ", ".join(str(value) for value in values[:5]) + more
