"""How long exact, tie-aware evaluation takes beside the loop that hashing papers usually evaluate with.

    python benchmarks/metrics.py                      # about eight minutes on 2 cores; writes benchmarks/metrics.json
    python benchmarks/metrics.py --only small         # 1,000 queries × 59,000 images
    python benchmarks/metrics.py --device cuda        # counts on a GPU too

Every row times the same codes in one process, one after the other, repeatedly; the record keeps each median, lowest and
highest. The usual loop sorts the database for every query; it gets codes as float32 and labels as int64, as the image
lists and loaders of published code hand them over, and once more with float32 labels, which it takes faster. Where it
would take minutes it is timed on some of the queries and scaled to all, which the row says (it treats queries one by
one, so its time is proportional to them).
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shc import hamming, metrics, runs
from shc.hierarchy import Hierarchy

SMALL, LARGE = (1_000, 59_000), (5_000, 1_280_000)
CASES = [(SMALL, bits, 100) for bits in (16, 32, 64, 128)] + [(SMALL, 64, classes) for classes in (10, 1000)]
CASES += [(LARGE, 64, 100)]
FLIPPED = 0.2  # share of the bits in which an image's code differs from its class's center


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=["small", "large"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="", help="time the torch engine there too, e.g. cuda")
    parser.add_argument("--threads", type=int, default=2, help="of the threaded rows; the others use one")
    parser.add_argument("--record", default="benchmarks/metrics.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for size, bits, classes in CASES:
        if options.only in (None, "small" if size == SMALL else "large"):
            rows.append(measure(size, bits, classes, options))
            print(in_words(rows[-1]), flush=True)
            if options.record:
                record = dict(
                    date=runs.today(), versions=runs.library_versions(), processor=runs.processor(), seed=0,
                    flipped=FLIPPED, repeats=options.repeats, threads=options.threads, rows=rows,
                )  # fmt: skip
                Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(size: tuple[int, int], bits: int, classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time every evaluator on the same codes; seconds for all queries."""
    queries, database = size
    rng = np.random.default_rng(0)
    centers = rng.choice(np.array([-1, 1], dtype=np.int8), (classes, bits))
    (query, query_labels), (data, data_labels) = (draw(rng, centers, n) for n in size)
    tree = Hierarchy(tuple((f"group {label // 10}",) for label in range(classes)))
    labels = query_labels, data_labels
    packed = hamming.pack(query), hamming.pack(data)
    looped = queries if size == SMALL else 20  # queries that the usual loop is timed on
    onehot = np.eye(classes, dtype=np.int64)
    codes = query[:looped].astype(np.float32), data.astype(np.float32)
    label_sets = onehot[query_labels[:looped]], onehot[data_labels]
    as_floats = [sets.astype(np.float32) for sets in label_sets]

    def ap(engine: str, threads: int = 1) -> Callable[[], Any]:
        def run() -> Any:
            histogram = metrics.level_histogram(*packed, *labels, bits=bits, engine=engine, threads=threads)
            return metrics.expected_ap(histogram.sum(1), histogram[:, 1])

        return run

    every = lambda threads: lambda: metrics.evaluate(*packed, *labels, hierarchy=tree, bits=bits, threads=threads)
    timed: dict[str, Callable[[], Any]] = {
        "usual loop": lambda: usual_ap(*codes, *label_sets),
        "usual loop, float32 labels": lambda: usual_ap(*codes, *as_floats),
        "numpy": ap("numpy"),
        "numba": ap("numba"),
        f"numba, {options.threads} threads": ap("numba", options.threads),
        "numba, all metrics": every(1),
        f"numba, {options.threads} threads, all metrics": every(options.threads),
    }
    if size == LARGE:
        del timed["numpy"]  # minutes
    if options.device:
        timed[f"torch, {options.device}"] = ap(f"torch:{options.device}")
    ap("numba")()  # compile
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(options.repeats):  # interleaved: a slow minute of the machine meets all of them
        for name, run in timed.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    for name in ("usual loop", "usual loop, float32 labels"):
        seconds[name] = [value * queries / looped for value in seconds[name]]
    exact = metrics.evaluate(query[:looped], data, query_labels[:looped], data_labels, orders=True)
    usual = timed["usual loop"]()
    if not exact["mAP@ALL (worst)"] - 1e-6 <= usual <= exact["mAP@ALL (best)"] + 1e-6:
        raise RuntimeError(f"the usual loop's mAP {usual} lies outside of its bounds {exact}")
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return dict(
        queries=queries, database=database, bits=bits, classes=classes, usual_loop_timed_on=looped,
        mAP=dict(usual=round(usual, 6), **{n: round(exact[f"mAP@ALL{n}"], 6) for n in ("", " (worst)", " (best)")}),
        seconds={n: [round(f(v), 5) for f in (np.median, np.min, np.max)] for n, v in seconds.items()},
        times_faster={n: round(median["usual loop"] / value, 1) for n, value in median.items() if n != "usual loop"},
        megabytes_beyond_codes={n: megabytes(run) for n, run in timed.items() if not n.startswith("torch")},
    )  # fmt: skip


def draw(rng: np.random.Generator, centers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes int8 [count, K] around the centers of random classes, and the classes."""
    labels = rng.integers(0, len(centers), count)
    signs = np.where(rng.random((count, centers.shape[1]), dtype=np.float32) < FLIPPED, np.int8(-1), np.int8(1))
    return centers[labels] * signs, labels


def usual_ap(query: np.ndarray, database: np.ndarray, query_onehot: np.ndarray, database_onehot: np.ndarray) -> float:
    """mAP as much published code computes it: per query a product with all codes, a sort, and the hits' precisions.

    Codes are float32 rows, labels one-hot rows; ties stand as the sort leaves them; the divisor is the number of hits.
    """
    values = []
    for code, label in zip(query, query_onehot, strict=True):
        distances = 0.5 * (database.shape[1] - code @ database.T)
        relevant = (label @ database_onehot.T > 0).astype(np.float32)[np.argsort(distances)]
        found = int(relevant.sum())
        ranks = np.where(relevant == 1)[0] + 1.0
        values.append(np.mean(np.linspace(1, found, found) / ranks) if found else 0.0)
    return float(np.mean(values))


def megabytes(run: Callable[[], Any]) -> float:
    """The most memory that arrays made by the call take at one time."""
    tracemalloc.start()
    try:
        run()
        return round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
    finally:
        tracemalloc.stop()


def in_words(row: dict[str, Any]) -> str:
    told = "; ".join(f"{name} {seconds[0]:.3f} s" for name, seconds in row["seconds"].items())
    faster = ", ".join(f"{name} × {value:.0f}" for name, value in row["times_faster"].items())
    return f"{row['queries']:,} × {row['database']:,}, {row['bits']} bits, {row['classes']} classes: {told} ({faster})"


if __name__ == "__main__":
    main()
