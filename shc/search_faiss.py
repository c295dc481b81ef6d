"""The index in this process's memory: faiss binary indexes over packed codes, ids and labels in arrays beside them.

"flat" compares every code and is exact. "ivf" looks only into the `nprobe` nearest of `nlist` clusters, "hnsw" walks a
graph of neighbors, "multihash" looks up pieces of the code: faster on millions of items, and they may miss some.
faiss numbers items by position, which here is the row of the ids, labels and paths.
"""

import platform
from pathlib import Path
from typing import Any

import numpy as np

from shc.runs import RunError, library_versions, read_arrays, today, write_arrays
from shc.search import MOST_BITS, Ball, HammingIndex, Items, Neighbors, SearchError, ragged, whole

FILE = "index.safetensors"
AUTO = 0  # chosen when the first items come
# kind → option: (default, least, most); the last of each kind is about searching, and may differ from the saved one
KINDS: dict[str, dict[str, tuple[int, int, int]]] = {
    "flat": {},
    "ivf": {"nlist": (AUTO, 0, 1 << 20), "nprobe": (AUTO, 0, 1 << 20)},
    "hnsw": {"m": (32, 2, 512), "ef_construction": (80, 1, 1 << 16), "ef_search": (256, 1, 1 << 20)},
    "multihash": {"nhash": (4, 1, 1024), "width": (AUTO, 0, 32), "nflip": (1, 0, 32)},
}


ENGINES = {"flat": "IndexBinaryFlat", "ivf": "IndexBinaryIVF", "hnsw": "IndexBinaryHNSW",
           "multihash": "IndexBinaryMultiHash"}  # fmt: skip
LONGEST_HEAD = 64  # bytes that faiss stores before the codes of a flat index


class MemoryIndex(HammingIndex):
    """faiss in memory; `place` is the folder that `save` writes, or empty."""

    def __init__(self, uri: str, place: str, bits: int | None, fingerprint: str | None, **options: Any) -> None:
        super().__init__(uri, bits, fingerprint)
        if place.startswith("//") and not place.startswith("///"):
            raise SearchError(f"uri={uri!r}: expected memory: alone, or memory:FOLDER")
        self.file = Path(place) / FILE if place else None
        self.engine: Any = None  # the faiss index, made with the first items
        self.ids = np.zeros(0, dtype=np.int64)
        self.labels = np.zeros(0, dtype=np.int64)
        self.paths = np.zeros(0, dtype=object)  # stays empty while no item has a path
        self.waiting: list[Items] = []  # what adds brought since the arrays were joined
        self.last, self.ascending = -1, True
        self.saved = _state(self.file)
        if self.file is not None and self.file.exists():
            self._load(self.file, options)
            return
        if self.file is not None and self.file.parent.exists() and not self.file.parent.is_dir():
            raise SearchError(f"{self.file.parent} is a file, not the folder of an index; choose another folder")
        self.kind, self.options = _options(options)

    def count(self) -> int:
        """The number of items."""
        return 0 if self.engine is None else self.engine.ntotal

    def save(self) -> None:
        """Write the index to its folder, atomically; SearchError if another process saved it since it was opened."""
        if self.file is None:
            raise SearchError("index memory: has no folder to be saved in; open it as memory:FOLDER")
        if self.engine is None:
            raise SearchError(f"index {self.uri} is empty; add codes before it is saved")
        import faiss

        if _state(self.file) != self.saved:
            raise SearchError(
                f"index {self.uri} was saved by another process since it was opened here, and saving would lose what "
                "that one added; open it again and add there"
            )
        self._join()
        arrays: dict[str, Any] = dict(
            index=faiss.serialize_index_binary(self.engine), ids=self.ids, labels=self.labels,
            paths=np.frombuffer("\0".join(self.paths.tolist()).encode(), dtype=np.uint8),
        )  # fmt: skip
        meta = dict(
            bits=self.bits, fingerprint=self.fingerprint, kind=self.kind, options=self.options, date=today(),
            versions=library_versions() | {"faiss": faiss.__version__}, machine=platform.machine(),
        )  # fmt: skip
        try:
            write_arrays(self.file, arrays, meta)
        except RunError as error:
            why = str(error).partition(";")[0]
            raise SearchError(
                f"index {self.uri} was not saved: {why}; make room or the folder writable, and save again"
            ) from error
        self.saved = _state(self.file)

    def _load(self, file: Path, asked: dict[str, Any]) -> None:
        try:
            arrays, meta = read_arrays(file)
            kind, options = _options(meta["options"] | {"kind": meta["kind"]})
            bits, fingerprint = whole("bits", meta["bits"], 1, MOST_BITS), meta["fingerprint"]
            ids, labels = (_whole_numbers(arrays[name], least) for name, least in (("ids", 0), ("labels", -1)))
            engine = _engine(kind, arrays["index"], len(ids), -(-bits // 8))
            paths = bytes(arrays["paths"]).decode().split("\0") if arrays["paths"].size else []
            if {len(ids), len(labels), len(paths) or engine.ntotal} != {engine.ntotal}:
                raise ValueError("numbers of items differ")
            if len(np.unique(ids)) < len(ids) or not isinstance(fingerprint, str | None):
                raise ValueError("an id comes twice, or its fingerprint is no text")
        except Exception as error:  # faiss, and all that an index of nobody's may hold
            raise SearchError(f"{file} is damaged or no index; delete it and fill the index again") from error
        self.ids, self.labels, self.paths = ids, labels, np.array(paths, dtype=object)
        self._agree(bits, fingerprint)
        if asked.get("kind", kind) != kind:
            raise SearchError(f"index {self.uri} is of kind {kind!r}, not {asked['kind']!r}; leave kind out")
        _, self.options = _options(options | asked | {"kind": kind})
        for name in list(KINDS[kind])[:-1]:
            if self.options[name] not in (options[name], getattr(engine, name, None)):
                raise SearchError(
                    f"index {self.uri} was built with {name}={options[name]}, not {asked[name]}; leave it out, or fill "
                    "an index elsewhere"
                )
        self.kind, self.engine = kind, engine
        self._tune()
        self._look_at_ids()

    # -------------------------------------------------------------------------------------- items

    def _last_id(self) -> int:
        return self.last

    def _find(self, ids: np.ndarray) -> Items:
        rows = self._rows(ids)
        return Items(self._codes()[rows], self.ids[rows], self.labels[rows], self._paths(rows))

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        """Positions of the items with these ids, as far as they are there."""
        self._join()
        if not len(self.ids):
            return np.zeros(0, dtype=np.int64)
        order = np.arange(len(self.ids)) if self.ascending else np.argsort(self.ids)
        places = np.searchsorted(self.ids, ids, sorter=order)
        rows = order[np.minimum(places, len(order) - 1)]
        return rows[self.ids[rows] == ids]

    def _insert(self, items: Items) -> None:
        if self.engine is None:
            self._build(items.codes)
        self.engine.add(items.codes)
        self.ascending = self.ascending and items.ids[0] > self.last and bool((np.diff(items.ids) > 0).all())
        self.last = max(self.last, int(items.ids.max()))
        self.waiting.append(Items(np.zeros((len(items.ids), 0), np.uint8), items.ids, items.labels, items.paths))

    def _remove(self, ids: np.ndarray) -> None:
        keep = np.ones(self.count(), dtype=bool)
        keep[self._rows(ids)] = False
        codes = self._codes()[keep]
        if self.kind == "ivf":  # empty again, but its clusters stay
            self.engine.reset()
        else:  # filled anew, because faiss cannot remove from HNSW and MultiHash
            self._build(codes)
        self.engine.add(codes)
        self.ids, self.labels = self.ids[keep], self.labels[keep]
        self.paths = self.paths[keep] if len(self.paths) else self.paths
        self._look_at_ids()

    def _join(self) -> None:
        """Append what adds brought; once for many adds, so that small ones stay cheap."""
        if self.waiting:
            parts, self.waiting = self.waiting, []
            if len(self.paths) or any(part.paths.any() for part in parts):
                self.paths = np.concatenate([self._paths(np.arange(len(self.ids))), *(part.paths for part in parts)])
            self.ids = np.concatenate([self.ids, *(part.ids for part in parts)])
            self.labels = np.concatenate([self.labels, *(part.labels for part in parts)])

    def _paths(self, rows: np.ndarray) -> np.ndarray:
        return self.paths[rows] if len(self.paths) else np.full(rows.shape, "", dtype=object)

    def _look_at_ids(self) -> None:
        self.last = int(self.ids.max(initial=-1))
        self.ascending = bool((np.diff(self.ids) > 0).all())

    def _codes(self) -> np.ndarray:
        """All codes in the order of their positions: uint8 [N, B]."""
        if self.engine is None:
            return np.zeros((0, -(-(self.bits or 1) // 8)), dtype=np.uint8)
        store = self.engine.storage if self.kind == "multihash" else self.engine
        return store.reconstruct_n(0, store.ntotal)

    # -------------------------------------------------------------------------------------- faiss

    def _build(self, codes: np.ndarray) -> None:
        """An empty faiss index of this kind; codes uint8 [N, B], from which "ivf" learns its clusters."""
        import faiss

        n, width = len(codes), 8 * codes.shape[1]
        given = self.options
        if self.kind == "flat":
            self.engine = faiss.IndexBinaryFlat(width)
        elif self.kind == "ivf":
            lists = given["nlist"] or max(1, min(int(n**0.5), n // 39))  # faiss asks for 39 items per list
            if lists > n:
                raise SearchError(
                    f"nlist={lists} clusters cannot be learned from a first add of {n} items; add at least {lists} at "
                    "once (39 times as many are better), or choose a smaller nlist"
                )
            self.quantizer = faiss.IndexBinaryFlat(width)  # kept, because the index does not own it
            self.engine = faiss.IndexBinaryIVF(self.quantizer, width, lists)
            self.engine.cp.min_points_per_centroid = 1  # no warnings on standard error
            self.engine.train(codes)
        elif self.kind == "hnsw":
            self.engine = faiss.IndexBinaryHNSW(width, given["m"])
            self.engine.hnsw.efConstruction = given["ef_construction"]
        else:
            piece = given["width"] or max(1, min(16, width // given["nhash"]))
            if given["nhash"] * piece > width:
                raise SearchError(
                    f"nhash={given['nhash']} pieces of width={piece} need {given['nhash'] * piece} bits, and the codes "
                    f"have {width}; choose fewer or narrower ones"
                )
            self.engine = faiss.IndexBinaryMultiHash(width, given["nhash"], piece)
        self._tune()

    def _tune(self) -> None:
        """Set what concerns searching only."""
        if self.kind == "flat":
            self.engine.use_heap = False  # counting is faster, and keeps ties in the order of the items
        elif self.kind == "ivf":
            self.engine.nprobe = self.options["nprobe"] or max(1, self.engine.nlist // 16)
        elif self.kind == "hnsw":
            self.engine.hnsw.efSearch = self.options["ef_search"]
        else:
            self.engine.nflip = self.options["nflip"]

    def _nearest(self, queries: np.ndarray, k: int) -> Neighbors:
        self._join()
        distances, rows = self.engine.search(queries, k)
        if self.kind == "flat" and self.ascending:  # faiss has them in the order wanted
            return Neighbors(self.ids[rows], distances, self.labels[rows], self._paths(rows))
        assert self.bits is not None
        missing = rows < 0
        ids, distances = np.where(missing, -1, self.ids[rows]), np.where(missing, self.bits + 1, distances)
        labels, paths = np.where(missing, -1, self.labels[rows]), self._paths(rows)
        paths[missing] = ""
        order = np.lexsort((ids, distances), axis=-1)
        ids, distances, labels, paths = (np.take_along_axis(a, order, 1) for a in (ids, distances, labels, paths))
        return Neighbors(ids, distances, labels, paths)

    def _within(self, queries: np.ndarray, radius: int) -> Ball:
        if self.kind == "hnsw":
            raise SearchError(f"index {self.uri} of kind 'hnsw' finds the k nearest only; use k=, or another kind")
        self._join()
        limits, distances, rows = self.engine.range_search(queries, radius + 1)  # faiss means "nearer than"
        query = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
        none = np.zeros((len(rows), 0), dtype=np.uint8)
        items = Items(none, self.ids[rows], self.labels[rows], self._paths(rows))
        return ragged(len(queries), query, distances, items)


def _engine(kind: str, stored: np.ndarray, count: int, octets: int) -> Any:
    """The faiss index that was stored as uint8 [n]; ValueError unless it has so many codes of so many bytes."""
    import faiss

    if kind != "flat":
        engine = _deserialized(stored)
    elif stored[:4].tobytes() != b"IBxF" or not 0 <= len(stored) - count * octets <= LONGEST_HEAD:
        raise ValueError("its codes are not as many as its items")
    else:  # a head and the codes: faiss would believe the head
        engine = faiss.IndexBinaryFlat(8 * octets)
        engine.add(np.ascontiguousarray(stored[len(stored) - count * octets :]).reshape(count, octets))
    if engine.ntotal != count or engine.d != 8 * octets or type(engine).__name__ != ENGINES[kind]:
        raise ValueError("it is of another kind or length")
    return engine


def _deserialized(stored: np.ndarray) -> Any:
    """The faiss index, none of whose vectors may be larger than what is stored; faiss would allocate first."""
    import faiss

    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):  # an old version
        return faiss.deserialize_index_binary(stored)
    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(2 * stored.nbytes + 4096)
    try:
        return faiss.deserialize_index_binary(stored)
    finally:
        faiss.set_deserialization_vector_byte_limit(before)


def _whole_numbers(values: np.ndarray, least: int) -> np.ndarray:
    if values.dtype != np.int64 or values.ndim != 1 or values.min(initial=least) < least:
        raise ValueError("its ids or labels are no whole numbers of that kind")
    return values


def _state(file: Path | None) -> tuple[int, int] | None:
    """What tells one saved file from another, None where there is none: when it was written, and its size."""
    if file is None or not file.exists():
        return None
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _options(given: dict[str, Any]) -> tuple[str, dict[str, int]]:
    """The kind and its options, checked, with defaults for those not given."""
    kind = given.get("kind", "flat")
    if kind not in KINDS:
        raise SearchError(f"kind={kind!r} is not known; choose one of {', '.join(KINDS)}")
    known = KINDS[kind]
    for name in given:
        if name != "kind" and name not in known:
            takes = f"kind={kind!r} takes {', '.join(known)}" if known else f"kind={kind!r} takes no options"
            raise SearchError(f"{name} is no option here; {takes}")
    return kind, {
        name: whole(name, given.get(name, default), least, most) for name, (default, least, most) in known.items()
    }
