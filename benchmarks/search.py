"""Every engine of `shc.search` on packed codes: seconds to build, queries per second, recall, memory.

    python benchmarks/search.py                      # 1,000,000 × 64 bits, the 100 nearest; about 8 minutes
    python benchmarks/search.py --items 20000 --queries 100 --record ""     # a quick try

Codes are clustered (a center for each of 100 classes, every bit flipped with probability 0.1) or random. Recall counts
the returned items that are no farther than the true k-th one. Each engine runs in a process of its own, so that its
memory can be told: the most that was resident at once beyond what the codes took before. `memory:` and faiss called
directly run in one process, in turn.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from shc import runs
from shc.search import HammingIndex

ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "memory: flat": ("memory:", {}),
    "memory: ivf": ("memory:", {"kind": "ivf"}),
    "memory: hnsw": ("memory:", {"kind": "hnsw"}),
    "memory: multihash": ("memory:", {"kind": "multihash"}),
    "lance:": ("lance:", {}),
}
DATA = ("clustered", "random")
CLUSTERS, FLIPS = 100, 0.1
BATCH = 100_000  # items in one add


def codes_of(data: str, rows: int, bits: int, seed: int, part: int) -> np.ndarray:
    """Packed codes uint64 [rows, ceil(bits/64)]; `part` 0 for the database, 1 for the queries of the same clusters."""
    rng, words = np.random.default_rng([seed, part]), -(-bits // 64)
    packed = np.empty((rows, words), dtype=np.uint64)
    centers = np.random.default_rng(seed).integers(0, 2, (CLUSTERS, bits), dtype=np.uint8)
    for start in range(0, rows, BATCH):
        n = min(BATCH, rows - start)
        if data == "random":
            flags = rng.integers(0, 2, (n, bits), dtype=np.uint8)
        else:
            flags = centers[rng.integers(0, CLUSTERS, n)] ^ (rng.random((n, bits), dtype=np.float32) < FLIPS)
        padded = np.zeros((n, 64 * words), dtype=np.uint8)
        padded[:, :bits] = flags
        packed[start : start + n] = np.packbits(padded, axis=1, bitorder="little").view("<u8")
    return packed


def use_cores(cores: list[int]) -> None:
    """Let all threads of this process run on these cores only, and faiss use as many threads."""
    faiss.omp_set_num_threads(len(cores))
    if hasattr(os, "sched_setaffinity"):
        for task in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(task), cores)


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def all_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def resident() -> int:
    """Bytes of this process that are in memory now."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * resource.getpagesize() if file.exists() else 0


def measure(engine: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build one engine from the folder's codes and search it, with all cores and with one."""
    uri, settings = ENGINES[engine]
    codes, queries, truth = (np.load(f"{folder}/{name}.npy") for name in ("codes", "queries", "distances"))
    if uri == "lance:":  # reads all codes for each query
        queries, truth = queries[: options.lance_queries], truth[: options.lance_queries]
    place = tempfile.mkdtemp(dir=folder) if uri == "lance:" else ""
    index, cores = HammingIndex.open(uri + place, bits=options.bits, **settings), all_cores()
    before, first = resident(), BATCH if "ivf" not in engine else len(codes)  # its clusters come from the first add
    build = seconds(lambda: [index.add(codes[s : s + first]) for s in range(0, len(codes), first)])
    build += seconds(index.save) if place else 0.0
    found = index.search(queries, k=options.k)
    rates = {}
    for name, some in (("all", cores), ("one", cores[:1])):
        use_cores(some)
        times = [seconds(lambda: index.search(queries, k=options.k)) for _ in range(options.repeats)]
        rates[name] = round(len(queries) / float(np.median(times)), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)
    return dict(
        engine=engine, queries=len(queries), build_seconds=round(build, 2), queries_per_second=rates,
        recall=round(float(((found.ids >= 0) & (found.distances <= truth[:, -1:])).mean()), 4),
        same_distances=bool((found.distances == truth).all()), memory_mb=round((peak - before) / 1e6, 1),
        disk_mb=round(sum(f.stat().st_size for f in Path(place).rglob("*") if f.is_file()) / 1e6, 1) if place else 0.0,
    )  # fmt: skip


def against_faiss(folder: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """`memory:` and faiss called directly, in turn: medians of seconds for all queries, and for one."""
    codes, queries = np.load(f"{folder}/codes.npy"), np.load(f"{folder}/queries.npy")
    index = HammingIndex.open("memory:", bits=options.bits)
    index.add(codes, labels=np.arange(len(codes)) % CLUSTERS)
    width = -(-options.bits // 8)
    octets, asked = (np.ascontiguousarray(a.view(np.uint8)[:, :width]) for a in (codes, queries))
    direct = faiss.IndexBinaryFlat(8 * width)
    direct.use_heap = False
    direct.add(octets)
    rows, cores = [], all_cores()
    for some in (cores[:1], cores):
        use_cores(some)
        for n in (len(queries), 1):
            ours, theirs = [], []
            for _ in range(max(options.repeats, 5) * (1 if n > 1 else 5)):
                theirs.append(seconds(lambda n=n: direct.search(asked[:n], options.k)))
                ours.append(seconds(lambda n=n: index.search(queries[:n], k=options.k)))
            a, b = float(np.median(ours)), float(np.median(theirs))
            rows.append(dict(threads=len(some), queries=n, ours_seconds=a, faiss_seconds=b, ratio=round(a / b, 3)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--lance-queries", type=int, default=100, help="of these, for the engine that reads from disk")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--record", default="benchmarks/search.json", help="where to write the record; '' for nowhere")
    options = parser.parse_args()
    process = multiprocessing.get_context("spawn")
    results, direct = [], {}
    for data in DATA:
        with tempfile.TemporaryDirectory() as folder, process.Pool(1, maxtasksperchild=1) as pool:
            codes = codes_of(data, options.items, options.bits, options.seed, 0)
            queries = codes_of(data, options.queries, options.bits, options.seed, 1)
            exact = HammingIndex.open("memory:", bits=options.bits)
            exact.add(codes)
            np.save(f"{folder}/distances.npy", exact.search(queries, k=options.k).distances)
            np.save(f"{folder}/codes.npy", codes)
            np.save(f"{folder}/queries.npy", queries)
            del codes, exact
            for engine in options.engines:
                row = dict(data=data, **pool.apply(measure, (engine, folder, options)))
                results.append(row)
                rates = row["queries_per_second"]
                told = f"build {row['build_seconds']:7.1f} s   queries/s {rates['one']:>8,.0f} on one core, "
                told += f"{rates['all']:>8,.0f} on all   recall {row['recall']:.3f}   {row['memory_mb']:6.0f} MB"
                print(f"{data:<9} {engine:<17} {told}", flush=True)
            direct[data] = pool.apply(against_faiss, (folder, options))
            for row in direct[data]:
                print(
                    f"{data:<9} {row['queries']:>5} queries on {row['threads']} threads: memory: "
                    f"{row['ours_seconds'] * 1e3:.2f} ms, faiss {row['faiss_seconds'] * 1e3:.2f} ms, × {row['ratio']}",
                    flush=True,
                )
    if options.record:
        versions = runs.library_versions() | {name: version(name) for name in ("faiss-cpu", "lancedb", "pyarrow")}
        record = dict(
            items=options.items, queries=options.queries, bits=options.bits, k=options.k, repeats=options.repeats,
            seed=options.seed, clusters=CLUSTERS, flips=FLIPS, results=results, against_faiss=direct,
            device=f"{len(all_cores())} cores, {runs.processor()}", versions=versions, date=runs.today(),
        )  # fmt: skip
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("record:", options.record)


if __name__ == "__main__":
    main()
