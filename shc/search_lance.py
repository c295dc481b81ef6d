"""The index that lasts: a LanceDB table in a local folder or in an object store, searched exactly.

Every `add` and `delete` is one commit, so a writer that is killed leaves whole batches only. Bits and fingerprint stand
in the metadata of the table's schema. No approximate index is made or used: every query reads all codes, some 30 ms for
a million, so `memory:` is the engine for many queries. Writers on one machine take turns. In an object store nothing
keeps them apart: there the first add must have ended before others begin, and these must give different ids. Keys,
region and endpoint of a store are the usual AWS_… environment variables.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from shc.search import Ball, HammingIndex, Items, Neighbors, SearchError, ragged

TABLE = "items"
QUERIES = 32  # searched in one call; more take more memory, about 5 MB each on a million items
CONNECT = 5  # seconds that a store has to answer the first question
LIMITS = {"connect_timeout": "5s", "timeout": "60s", "client_max_retries": "2", "client_retry_timeout": "10"}
COLUMNS = ["id", "label", "path"]

REASONS = (  # what an error of LanceDB says somewhere in its dozen lines → what to tell
    (("Failed to get AWS credentials",),
     "no keys were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "InvalidClientTokenId", "status: 403"),
     "the store refuses these keys; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do"),
    (("NoSuchBucket", "status: 404"),
     "the store has no such bucket; make it, or correct the URI or AWS_ENDPOINT_URL"),
    (("HttpError", "Connection refused", "timed out"),
     "the store does not answer; check that it runs and repeat, whole batches are kept"),
    (("PermissionDenied", "Permission denied", "Read-only"),
     "the folder cannot be read or written; check its permissions"),
    (("StorageFull", "No space left"),
     "the disk is full; free some space and repeat, whole batches are kept"),
)  # fmt: skip


class LanceIndex(HammingIndex):
    """A LanceDB table; `place` is what follows the scheme of the URI."""

    def __init__(self, uri: str, place: str, bits: int | None, fingerprint: str | None, **options: Any) -> None:
        super().__init__(uri, bits, fingerprint)
        if options:
            raise SearchError(f"{', '.join(options)}: a lance index is exact and takes no such options; leave them out")
        try:
            import lancedb
        except ImportError as error:
            raise SearchError(
                f"index {uri} needs LanceDB, part of the extra `scale`: pip install 'semantic-hash-centers[scale]'; "
                "memory: works without it"
            ) from error
        self.largest: tuple[int, int] | None = None  # version of the table, and the largest id in it
        remote = uri.startswith("lance+s3:")
        where, settings = _bucket(uri, place) if remote else (_folder(uri, place), {})
        self.folder = None if remote else Path(where)
        with self._told():
            # an interval of 0: every call sees what other writers have added
            self.database: Any = lancedb.connect(
                where, storage_options=settings, read_consistency_interval=timedelta(0)
            )
            self.table: Any = self._opened()

    def count(self) -> int:
        """The number of items."""
        with self._told():
            return self.table.count_rows() if self._there() else 0

    def save(self) -> None:
        """Merge the small pieces that many adds leave, which makes searching faster; the items are stored already."""
        with self._told():
            if self._there():
                self.table.optimize()

    # -------------------------------------------------------------------------------------- items

    def _there(self) -> bool:
        """Whether there is a table; another writer may have made it since."""
        if self.table is None:
            self.table = self._opened()
        return self.table is not None

    def _opened(self) -> Any:
        """The table, if there is one; what it says of itself must fit."""
        try:
            table = self.database.open_table(TABLE)
        except (ValueError, FileNotFoundError) as error:
            if "not found" in str(error):  # also where its first writer was killed before there was anything to see
                return None
            raise
        told = table.schema.metadata or {}
        if b"shc.bits" not in told or not set(_schema(8, None).names) <= set(table.schema.names):
            raise SearchError(f"{self.uri} holds a table {TABLE!r} that is no index of ours; choose another place")
        self._agree(int(told[b"shc.bits"]), told[b"shc.fingerprint"].decode() or None)
        return table

    def _last_id(self) -> int:
        with self._told():
            if not self._there():
                return -1
            version = self.table.version
            if self.largest is None or self.largest[0] != version:
                batches = self.table.search().select(["id"]).to_batches()
                self.largest = version, max((b["id"].to_numpy().max(initial=-1) for b in batches), default=-1)
        return int(self.largest[1])

    def _find(self, ids: np.ndarray) -> Items:
        parts: list[Items] = []
        with self._told():
            if self._there() and len(ids):
                span = f"id >= {ids.min()} AND id <= {ids.max()}"
                for batch in self.table.search().where(span).select([*COLUMNS, "code"]).to_batches():
                    rows = np.flatnonzero(np.isin(batch["id"].to_numpy(), ids))
                    parts += [_items(batch.take(rows), with_codes=True)] if len(rows) else []
        return _joined(parts)

    def _insert(self, items: Items) -> None:
        import pyarrow as pa

        assert self.bits is not None
        before = self.largest
        width = items.codes.shape[1]
        codes = pa.FixedSizeListArray.from_arrays(pa.array(items.codes.reshape(-1)), width)
        schema = _schema(self.bits, self.fingerprint)
        rows = pa.table([items.ids, items.labels, pa.array(items.paths.tolist(), pa.string()), codes], schema=schema)
        with self._told():
            table = self._made(schema) if self.table is None else self.table
            table.add(rows)
            version = table.version
        following = before is not None and version == before[0] + 1
        self.largest = (version, max(before[1], int(items.ids.max()))) if following and before else None

    def _made(self, schema: Any) -> Any:
        """The table, made unless another writer was first."""
        if not self._there():
            self.database.create_table(TABLE, schema=schema, exist_ok=True)
            self.table = self._opened()
        return self.table

    def _writing(self) -> AbstractContextManager[None]:
        return _alone(self.folder)

    def _remove(self, ids: np.ndarray) -> None:
        with self._told():
            self.table.delete(f"id IN ({', '.join(map(str, ids.tolist()))})")

    # -------------------------------------------------------------------------------------- search

    def _nearest(self, queries: np.ndarray, k: int) -> Neighbors:
        assert self.bits is not None
        hits = self._hits(queries, k, None)
        shape = (len(queries), k)
        ids, labels = np.full(shape, -1), np.full(shape, -1)
        distances, paths = np.full(shape, self.bits + 1, dtype=np.int32), np.full(shape, "", dtype=object)
        query = np.repeat(np.arange(len(queries)), np.diff(hits.offsets))
        place = query, np.arange(len(query)) - hits.offsets[query]
        ids[place], distances[place], labels[place], paths[place] = hits.ids, hits.distances, hits.labels, hits.paths
        return Neighbors(ids, distances, labels, paths)

    def _within(self, queries: np.ndarray, radius: int) -> Ball:
        return self._hits(queries, self.count(), radius)

    def _hits(self, queries: np.ndarray, most: int, radius: int | None) -> Ball:
        """What LanceDB finds, at most `most` items for each query."""
        parts, query, distances = [], [], []
        for first in range(0, len(queries), QUERIES):
            block = queries[first : first + QUERIES]
            with self._told():
                search = self.table.search(list(block), vector_column_name="code").distance_type("hamming")
                search = search.bypass_vector_index().limit(most).select([*COLUMNS, "_distance"])
                if radius is not None:
                    search = search.distance_range(upper_bound=radius + 0.5)
                hits = search.to_arrow()
            parts.append(_items(hits))
            distances.append(hits["_distance"].to_numpy().astype(np.int32))
            several = "query_index" in hits.column_names  # which LanceDB leaves out for a single query
            query.append(first + (hits["query_index"].to_numpy() if several else np.zeros(len(hits), dtype=np.int64)))
        return ragged(len(queries), np.concatenate(query), np.concatenate(distances), _joined(parts))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what LanceDB raises into a SearchError that says which index and what to check."""
        try:
            yield
        except SearchError:
            raise
        except Exception as error:  # ValueError, RuntimeError, OSError, by the layer that failed
            raise SearchError(f"index {self.uri}: {_reason(str(error))}") from error


@contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Let one writer at a time look for the table and for ids, make what is not there, and add.

    LanceDB alone would let a second writer replace the first one's table, and store an id twice.
    """
    if folder is None or fcntl is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:  # let go when it is closed, also by a kill
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _schema(bits: int, fingerprint: str | None) -> Any:
    import pyarrow as pa

    fields = [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("code", pa.list_(pa.uint8(), -(-bits // 8)), nullable=False),
    ]
    return pa.schema(fields, metadata={"shc.bits": str(bits), "shc.fingerprint": fingerprint or ""})


def _items(rows: Any, with_codes: bool = False) -> Items:
    """Items from columns of LanceDB, without their codes unless these are asked for."""
    ids, labels = (np.asarray(rows[name]) for name in ("id", "label"))
    codes = np.zeros((len(ids), 0), dtype=np.uint8)
    if with_codes:
        codes = np.asarray(rows["code"].flatten()).reshape(len(ids), -1)
    return Items(codes, ids, labels, np.array(rows["path"].to_pylist(), dtype=object))


def _joined(parts: list[Items]) -> Items:
    """Several pieces as one."""
    nothing = np.zeros(0, dtype=np.int64)
    if not parts:
        return Items(np.zeros((0, 0), dtype=np.uint8), nothing, nothing, nothing.astype(object))
    return Items(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("codes", "ids", "labels", "paths"))
    )


def _folder(uri: str, place: str) -> str:
    if not place or (place.startswith("//") and not place.startswith("///")):
        raise SearchError(f"uri={uri!r}: expected lance:FOLDER, or lance:///FOLDER for an absolute path")
    folder = Path(place[2:] if place.startswith("///") else place).absolute()
    for part in (folder, *folder.parents):
        if part.exists():
            if not part.is_dir():
                raise SearchError(f"uri={uri!r}: {part} is a file, not a folder; choose another place")
            break
    return str(folder)


def _bucket(uri: str, place: str) -> tuple[str, dict[str, str]]:
    """LanceDB's address and settings of an object store that was seen to answer."""
    bucket, _, _ = place.removeprefix("//").partition("/")
    if not place.startswith("//") or not bucket:
        raise SearchError(f"uri={uri!r}: expected lance+s3://BUCKET/PREFIX")
    environment = os.environ
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ("us-east-1" if endpoint else "")
    settings = dict(LIMITS)
    if endpoint:
        if not endpoint.startswith(("http://", "https://")):
            raise SearchError(f"AWS_ENDPOINT_URL={endpoint!r} must begin with http:// or https://")
        settings |= {"endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
    if region:
        settings["region"] = region
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    settings |= {name.lower(): environment[name] for name in names if environment.get(name)}
    address = endpoint or f"https://s3.{region}.amazonaws.com" if region else "https://s3.amazonaws.com"
    try:  # LanceDB would try for minutes where nothing answers
        urlopen(address, timeout=CONNECT).close()
    except HTTPError as error:  # an answer, if only to say that one must not ask like this
        error.close()
    except (OSError, HTTPException, ValueError) as error:
        told = "AWS_ENDPOINT_URL" if endpoint else "the network; for a store of your own set AWS_ENDPOINT_URL"
        why = getattr(error, "reason", error)
        raise SearchError(f"index {uri}: no object store answers at {address} ({why}); check {told}") from error
    return f"s3:{place}", settings


def _reason(text: str) -> str:
    """What to tell of an error of LanceDB."""
    for signs, said in REASONS:
        if any(sign in text for sign in signs):
            return said
    return f"LanceDB says {' '.join(text.split())[:300]!r}; if the index is damaged, fill another one"
