"""What watching a center optimization costs, and how far the picture is behind.

    python benchmarks/live.py            # about 6 minutes on 2 free cores

The same optimization (100 classes) runs alone and under `shc.widgets.CenterControls`, in turn, in one process. Hold-up
is how much longer it takes watched, by the medians. A picture is behind from the moment that the first step it does not
show is made until the next picture is handed to the browser; told are the median and the longest such time of a run.
"""

import argparse
import asyncio
import itertools
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from shc import runs
from shc.centers import optimize_centers
from shc.controls import RECORDS, CenterControls

CLASSES = 100


def class_similarity(classes: int) -> np.ndarray:
    """S [C, C] of random directions in 12 dimensions."""
    x = np.random.default_rng(0).normal(size=(classes, 12))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


class Timed:
    """A CenterOptimizer that notes when its steps were made."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.steps, self.heat, self.made = optimize_centers(*args, **options), 1.0, list[float]()

    def __iter__(self) -> "Timed":
        return self

    def __next__(self) -> Any:
        step = next(self.steps)
        self.made.append(time.perf_counter())
        return step


def alone(S: np.ndarray, bits: int, sweeps: int) -> float:
    """Seconds of an optimization that nobody watches."""
    steps = optimize_centers(S, bits, sweeps=sweeps, records=RECORDS)
    next(steps)
    began = time.perf_counter()
    for _ in steps:
        pass
    return time.perf_counter() - began


def watched(S: np.ndarray, bits: int, sweeps: int) -> dict[str, float]:
    """The same optimization under the controls: seconds, median and longest lag in seconds, frames shown."""
    made: list[Timed] = []

    def factory(*args: Any, **options: Any) -> Any:
        made.append(Timed(*args, **options))
        return made[-1]

    async def session() -> tuple[float, list[tuple[int, float]]]:
        widget = CenterControls(S, bits, factory=factory, sweeps=sweeps)
        shown: list[tuple[int, float]] = []
        draw = widget._draw

        def drawn() -> None:
            newest = len(widget.steps)
            draw()
            shown.append((newest, time.perf_counter()))

        widget._draw = drawn  # type: ignore[method-assign]
        began = time.perf_counter()
        widget.start.click()
        while widget.start.disabled:
            await asyncio.sleep(0.01)
        return began, shown

    began, shown = asyncio.run(session())
    times = made[0].made
    behind = [at - times[old] for (old, _), (_, at) in itertools.pairwise(shown) if old < len(times)]
    lag, longest = (statistics.median(behind), max(behind)) if behind else (0.0, 0.0)
    return dict(seconds=times[-1] - began, lag=lag, longest=longest, frames=len(shown))


def measure(classes: int, bits: int, sweeps: int, repeats: int) -> dict[str, float]:
    """Medians over `repeats` pairs of runs, after one pair that compiles and warms up."""
    S = class_similarity(classes)
    pairs = [(alone(S, bits, sweeps), watched(S, bits, sweeps)) for _ in range(repeats + 1)][1:]
    columns = zip(*((bare, *seen.values()) for bare, seen in pairs), strict=True)
    bare, seen, lag, longest, frames = map(statistics.median, columns)
    return dict(
        seconds_alone=round(bare, 2), seconds_watched=round(seen, 2), hold_up=round(seen / bare - 1, 3),
        lag=round(lag, 2), longest_lag=round(longest, 2), frames=int(frames),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--sweeps", type=int, help="by default as the controls choose them")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", default="benchmarks/live.json", help="where to write the record; '' for nowhere")
    options = parser.parse_args()
    found = {}
    for bits in options.bits:
        sweeps = options.sweeps or CenterControls(class_similarity(CLASSES), bits).sweeps
        found[f"{bits} bits"] = dict(sweeps=sweeps) | measure(CLASSES, bits, sweeps, options.repeats)
        print(f"{bits} bits: {found[f'{bits} bits']}", flush=True)
    if options.record:
        record = dict(
            classes=CLASSES, repeats=options.repeats, found=found, device=f"CPU, {platform.machine()}",
            versions=runs.library_versions(), date=runs.today(),
        )  # fmt: skip
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
