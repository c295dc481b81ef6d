"""Memory and speed of images that stay in their files: a survey, a prediction and one epoch, over many small JPEGs.

    python benchmarks/streaming.py                              # 100,000 pictures of 64 × 48 in a temporary folder
    python benchmarks/streaming.py --images 2000 --record ""    # a quick try

Memory is what this process and the workers that decode hold, pages that they share counted once (Linux: PSS). It is
noted along the way, against the number of images that have gone through; flat is what is wanted. The network is one
linear layer, so that seconds are those of reading and decoding.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from shc import runs
from shc.datasets import streams
from shc.datasets.streams import FileImages, ahead, packed
from shc.datasets.survey import survey
from shc.schedule import Schedule
from shc.training import fit, predict

PIECE = 500  # pictures that are written at a time
POINTS = 20  # at which memory is noted

Note = Callable[[int], None]  # called with the number of images that are done


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="how many pictures (default: 100000)")
    parser.add_argument("--size", type=int, default=64, help="pixels of the images that are made of them")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--folder", default="", help="where a temporary folder for them is made")
    parser.add_argument("--record", default=str(Path(__file__).with_suffix(".json")), help="file to write, or empty")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder or None) as folder:
        os.environ["SHC_CACHE"] = str(Path(folder) / "cache")  # the survey is not to be remembered
        record = measure(Path(folder), options)
    for step, row in record["steps"].items():
        held, rate = row["megabytes"], row["images_per_second"]
        print(f"{step:<8} {rate:>8,.0f} images/s, {max(held):,.0f} MB, {held[-1] - held[0]:+,.0f} on the way")
    if options.record:
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The record: images per second of every step, and megabytes against images."""
    (folder / "pictures").mkdir()
    names = [f"{row:07d}.jpg" for row in range(options.images)]
    jobs = [(str(folder / "pictures"), names[start : start + PIECE]) for start in range(0, len(names), PIECE)]
    steps: dict[str, Any] = {}

    def written(note: Note) -> None:
        for i, _ in enumerate(ahead(write, jobs)):
            note(min((i + 1) * PIECE, len(names)))

    def looked(note: Note) -> None:
        assert not survey(folder / "pictures", names).faults
        note(len(names))

    def predicted(note: Note) -> None:
        done = itertools.count(options.batch, options.batch)
        hook = net.register_forward_hook(lambda *_: note(min(next(done), len(names))))
        predict(net, images, batch=options.batch)
        hook.remove()

    def trained(note: Note) -> None:
        schedule = Schedule(epochs=1, batch=options.batch, lr=1e-4)
        for record in fit(net, loss, images, labels, schedule):
            note(record["step"] * options.batch)

    steps["write"], steps["survey"] = watched(written, len(names)), watched(looked, len(names))
    images = FileImages(packed([folder / "pictures" / name for name in names]), options.size)
    labels = torch.arange(len(images)) % 10
    net = nn.Sequential(nn.AvgPool2d(options.size // 8), nn.Flatten(), nn.Linear(192, 10))
    steps["predict"], steps["fit"] = watched(predicted, len(names)), watched(trained, len(names))
    where = dict(cores=streams.workers(), tensor_megabytes=round(images.nbytes / 1e6))
    made = dict(images=options.images, size=options.size, batch=options.batch, piece=streams.PIECE)
    told = dict(date=runs.today(), versions=runs.library_versions(), processor=runs.processor())
    return told | where | made | dict(steps=steps)


def write(job: tuple[str, list[str]]) -> None:
    """Small JPEGs of soft noise: about 2 KB each."""
    folder, names = job
    rng = np.random.default_rng(int(names[0].split(".")[0]))
    for name in names:
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((64, 48), Image.Resampling.BICUBIC).save(Path(folder) / name, quality=85)


def loss(outputs: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy."""
    return nn.functional.cross_entropy(outputs, labels), {}


def watched(step: Callable[[Note], None], total: int) -> dict[str, Any]:
    """Images per second of a step that tells how many images it has done, and memory along the way."""
    started, images, megabytes = time.perf_counter(), [], []

    def note(done: int) -> None:
        if not images or done - images[-1] >= total / POINTS or done == total:
            images.append(done)
            megabytes.append(memory())

    step(note)
    seconds = time.perf_counter() - started
    return dict(images_per_second=round(images[-1] / seconds, 1), images=images, megabytes=megabytes)


def memory() -> float:
    """Megabytes of this process and its workers; what they share counts once."""
    total = 0
    for process in (os.getpid(), *(worker.pid for worker in multiprocessing.active_children())):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(total / 1000, 1)


if __name__ == "__main__":
    main()
