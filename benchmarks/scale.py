"""What evaluation, search and encoding cost as the database grows: the unit costs that docs/scale.md calculates with.

    python benchmarks/scale.py                        # up to 1e8 codes: about 3 minutes, 1 GB of memory and of disk
    python benchmarks/scale.py --largest 1e6 --record ""     # a try

Codes are random words in a file, which is memory-mapped: counting and searching cost the same for any codes, and
nothing here says how good a ranking is. Every figure is the median of several repetitions. Each size is measured in a
process of its own; memory is what that process held at most while it worked, beyond what it held before, without the
pages of the mapped file.
"""

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from shc import models, runs
from shc.histograms import level_histogram
from shc.search import HammingIndex
from shc.training import predict

BITS, CLASSES, QUERIES, K = 64, 100, 100, 100
SIZES = [10**5, 10**6, 10**7, 10**8]
SEARCHED = 10**7  # largest index in memory that is timed; beyond, the cost per item stays what it is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--largest", type=float, default=SIZES[-1], help="largest database")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the encoder")
    parser.add_argument("--record", default="benchmarks/scale.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    rows, fresh = [], multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for size in (size for size in SIZES if size <= options.largest):
            file = write_codes(Path(folder) / "codes.npy", size)
            row: dict[str, Any] = dict(database=size)
            for task in (counting, building, searching) if size <= SEARCHED else (counting,):
                with ProcessPoolExecutor(1, fresh) as process:
                    row[task.__name__] = process.submit(task, file, options).result()
            rows.append(row)
            print(json.dumps(row), flush=True)
    record = dict(
        date=runs.today(), versions=runs.library_versions(), processor=runs.processor(), seed=0,
        threads=options.threads, repeats=options.repeats, bits=BITS, classes=CLASSES, queries=QUERIES, k=K, rows=rows,
        encode=encoding(options),
    )  # fmt: skip
    print(json.dumps(record["encode"]))
    if options.record:
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def write_codes(file: Path, size: int) -> Path:
    """A file of random words uint64 [size, 1]."""
    words = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint64, shape=(size, 1))
    rng = np.random.default_rng(0)
    for start in range(0, size, 10**6):
        words[start : start + 10**6] = random_words(rng, min(10**6, size - start))
    words.flush()
    return file


def random_words(rng: np.random.Generator, count: int) -> np.ndarray:
    """Packed codes uint64 [count, 1]."""
    return rng.integers(0, 2**64, (count, 1), dtype=np.uint64)


def counting(file: Path, options: argparse.Namespace) -> dict[str, float]:
    """Seconds and memory of the histograms of all queries."""
    words, rng = np.load(file, mmap_mode="r"), np.random.default_rng(1)
    query, query_labels = random_words(rng, QUERIES), rng.integers(0, CLASSES, QUERIES)
    labels = rng.integers(0, CLASSES, len(words))
    count = lambda words, labels: level_histogram(
        query, words, query_labels, labels, bits=BITS, threads=options.threads
    )
    count(query, query_labels)  # compile
    return timed(lambda: count(words, labels), options.repeats)


def building(file: Path, options: argparse.Namespace) -> dict[str, float]:
    """Seconds and memory of an index in memory."""
    words = np.load(file, mmap_mode="r")
    HammingIndex.open("memory:", bits=BITS).add(words[:1000])  # import faiss
    return timed(lambda: HammingIndex.open("memory:", bits=BITS).add(words), options.repeats)


def searching(file: Path, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the nearest neighbors of all queries, and the memory that this takes beside the index."""
    index, query = HammingIndex.open("memory:", bits=BITS), random_words(np.random.default_rng(1), QUERIES)
    index.add(np.load(file, mmap_mode="r"))
    return timed(lambda: index.search(query, k=K), options.repeats)


def encoding(options: argparse.Namespace) -> dict[str, Any]:
    """Images per second of the default network, 32 pixels."""
    net = models.Hasher(models.backbone("cnn"), BITS)
    images = torch.randint(0, 256, (5_000, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = timed(lambda: predict(net, images, device=options.device, threads=options.threads), options.repeats)
    return dict(net="cnn", size=32, device=options.device, images_per_second=round(len(images) / found["seconds"]))


def timed(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median seconds of a call after a first one, and the most memory that they took, in megabytes."""
    process, most, done = psutil.Process(), 0, threading.Event()
    before = process.memory_info().rss - process.memory_info().shared

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            memory = process.memory_info()
            most = max(most, memory.rss - memory.shared)  # pages of the mapped file are not the process's own

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = []
    try:
        for _ in range(repeats + 1):
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
    finally:
        done.set()
        watcher.join()
    return dict(seconds=round(float(np.median(seconds[1:])), 4), megabytes=round(max(most - before, 0) / 1e6, 1))


if __name__ == "__main__":
    main()
