"""Retrieval metrics between stores of codes (`shc.shards`), shard by shard: none is ever in memory as a whole.

Level histograms are integers that add, so the sum over the database's shards is the histogram of the whole, whoever
counted them in whatever order; every metric follows from it. Queries are taken in blocks that bound the memory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shc import metrics, ranking
from shc.histograms import level_histogram
from shc.runs import RunError, atomic_write, today
from shc.shard_jobs import check_processes, progress, run_jobs, workers
from shc.shards import EncodedStore

BLOCK_BYTES = 2**26  # of one histogram; three of them are held at a time


def evaluate_stores(
    query: str | Path,
    *databases: str | Path,
    k: Sequence[int] = (100, 1000),
    graded_k: Sequence[int] = (100, 250),
    radius: int = 2,
    convention: str = "tie-aware",
    skip_unlabelled: bool = False,
    jobs: int | None = None,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """The metrics of `shc.metrics.evaluate` for all codes of one store as queries to others, with the same names.

    Several `databases` count as one: a collection may be encoded folder by folder. Relevance is the class and, where
    the data set has one, its tree. Images of unknown class are an error, unless `skip_unlabelled` leaves them out on
    both sides: they can be neither right nor wrong. Raises RunError for stores that do not fit together or are not
    complete, ValueError for other arguments that do not fit.
    """
    ranking.check_convention(convention)
    ranking.check_radius(radius)
    asked, ranked = EncodedStore(query), [EncodedStore(database) for database in databases]
    check_stores(asked, ranked, skip_unlabelled)
    tree = asked.hierarchy
    options: dict[str, Any] = dict(
        height=None if tree is None else tree.height, k=tuple(k), graded_k=tuple(graded_k), radius=radius,
        convention=convention,
    )  # fmt: skip
    check_processes(jobs)
    depth = 2 if tree is None else tree.height + 1
    metrics.from_histogram(np.ones((1, depth, asked.bits + 1), dtype=np.int64), **options)  # raises now for a bad k
    found: dict[int, dict[str, np.ndarray]] = {}
    without, size, queries = 0, 0, 0
    for number, histogram in histograms(asked, *ranked, jobs=jobs, scheduler=scheduler):
        if len(histogram) and (size := int(histogram[0].sum())):
            found[number] = metrics.from_histogram(histogram, **options)
            without += int((histogram[:, options["height"] or 1 :].sum((1, 2)) == 0).sum())
            queries += len(histogram)
    if not found:
        raise RunError("queries or database hold no image of a known class; nothing can be scored")
    values = [found[number] for number in sorted(found)]  # in this order always, as float additions depend on it
    result: dict[str, Any] = {name: float(np.concatenate([v[name] for v in values]).mean()) for name in values[0]}
    return result | {
        "queries": queries,
        "database": size,
        "queries_without_relevant": without,
        "bits": asked.bits,
        "convention": convention,
    }


def histograms(
    query: EncodedStore,
    *databases: EncodedStore,
    jobs: int | None = None,
    scheduler: str | None = None,
    block: int | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Number and level histogram int64 [n, L, K+1], over all databases, of every block of labelled queries.

    `block` is the number of queries in a block, by default as many as 64 MB hold. Blocks come as they are ready.
    """
    depth = 2 if query.hierarchy is None else query.hierarchy.height + 1
    block = block or max(1, BLOCK_BYTES // (8 * depth * (query.bits + 1)))
    serial = scheduler is None and jobs in (None, 1)
    size = min(query.manifest.shard, query.manifest.total)
    count = sum(database.manifest.shards for database in databases)
    group = 1 if serial else min(64, -(-count // (8 * workers(jobs, scheduler))))  # shards that a job adds up
    parts = [
        (str(database.folder.resolve()), database.manifest.key, range(first, min(first + group, shards)))
        for database, shards in ((database, database.manifest.shards) for database in databases)
        for first in range(0, shards, group)
    ]
    threads = None if serial else 1

    def todo() -> Iterator[tuple[Any, ...]]:
        number = 0
        for shard in (query.read(place, ids=False) for place in range(query.manifest.shards)):
            for start in range(0, size, block):
                codes, labels = shard.codes[start : start + block], shard.labels[start : start + block]
                known = labels >= 0
                yield from ((number, codes[known], labels[known], *part, threads) for part in parts)
                number += 1

    total = query.manifest.shards * -(-size // block) * len(parts)
    sums: dict[int, np.ndarray] = {}
    left: dict[int, int] = {}
    with progress(total, 0, "part") as bar:
        for number, histogram in run_jobs(count_shards, todo(), processes=jobs, scheduler=scheduler):
            bar.update()
            sums[number] = sums[number] + histogram if number in sums else histogram
            left[number] = left.get(number, len(parts)) - 1
            if not left[number]:
                yield number, sums.pop(number)


def count_shards(
    number: int,
    codes: np.ndarray,
    labels: np.ndarray,
    folder: str,
    key: str,
    shards: Sequence[int],
    threads: int | None,
) -> tuple[int, np.ndarray]:
    """The job: `number` as given, and int64 [n, L, K+1] of packed query codes against some shards of a store."""
    store, levels = _opened(folder, key)
    total = np.zeros((len(codes), 2 if levels is None else int(levels.max()) + 1, store.bits + 1), dtype=np.int64)
    for shard in (store.read(shard, ids=False) for shard in shards if len(codes)):
        known = shard.labels >= 0
        if known.any():
            total += level_histogram(
                codes, shard.codes[known], labels, shard.labels[known], levels, bits=store.bits, threads=threads
            )
    return number, total


def write_scores(
    scores: Mapping[str, Any], file: str | Path, query: str | Path, databases: Sequence[str | Path]
) -> None:
    """Write the metrics to a JSON file, with the hasher and what was asked and ranked."""
    asked = EncodedStore(query).manifest
    about = {
        "hasher": asked.hasher,
        "query_source": asked.source,
        "database_source": ", ".join(EncodedStore(database).manifest.source for database in databases),
        "date": today(),
    }
    text = json.dumps({**scores, **about}, indent=1)
    atomic_write(Path(file), lambda f: f.write_text(text, encoding="utf-8"))


def check_stores(query: EncodedStore, databases: Sequence[EncodedStore], skip_unlabelled: bool) -> None:
    """Raise RunError unless all stores are complete, of one hasher, and labelled, and no database is named twice."""
    if not databases or len({database.folder.resolve() for database in databases}) < len(databases):
        raise RunError("give one folder of codes or more as the database, each of them once")
    for database in databases:
        a, b = query.manifest, database.manifest
        for name, mine, other in (
            ("bits", a.bits, b.bits),
            ("hasher", a.hasher, b.hasher),
            ("class names", a.class_names, b.class_names),
            ("class tree", a.paths, b.paths),
        ):
            if mine != other:
                values = f": {mine} and {other}" if isinstance(mine, int | str) else ""
                raise RunError(
                    f"{query.folder} and {database.folder} have different {name}{values}; encode both by one run's "
                    "hasher"
                )
    for store in (query, *databases):
        store.check_complete()
        if store.manifest.unlabelled and not skip_unlabelled:
            raise RunError(
                f"{store.folder} has {store.manifest.unlabelled:,} images of unknown class, neither right nor wrong; "
                "put them into sub-folders called like their classes, or leave them out by --skip-unlabelled"
            )


@lru_cache(maxsize=16)
def _opened(folder: str, key: str) -> tuple[EncodedStore, np.ndarray | None]:
    """A store and the levels that its classes share, kept for a process's next job."""
    if not Path(folder, "manifest.json").exists():
        raise RunError(f"a worker does not see {folder}; start the workers where it is shared under the same path")
    store = EncodedStore(folder)
    if store.manifest.key != key:
        raise RunError(f"{folder} was replaced meanwhile; repeat the command")
    return store, None if store.hierarchy is None else store.hierarchy.shared_levels()
