"""How fast `shc.training.fit` trains, beside the loop that a careful user of torch and torchvision would write.

    python benchmarks/training.py                        # speed, trainings, tuning on 2 cores: about two hours
    python benchmarks/training.py --only speed --quick   # a few minutes
    python benchmarks/training.py --device cuda          # adds the record's part `gpu`

Parts: `speed`: images/s of forward, forward + backward and whole steps with augmentation, per net, dtype and layout.
`trainings`: validation accuracy against seconds, the same seeds by both loops. `tuning`: shorter schedules of ours,
judged on val. `gpu`: speed there, and the seconds of a whole `shc run`; it stays empty without one.

The loops take turns (a slow minute of the machine meets both), each in a process of its own, which rests while the
other works. Both processes have the environment that `shc run` gives its kernels (waiting threads sleep, freed memory
is kept); --usual tries benchmarks/plain_loop.py without it too. The plain loop is tried with 0, 1 and 2 workers, and
the fastest stands for it. Trainings that the record holds are not repeated, so an interrupted measurement goes on.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import training_arms as work
from training_arms import Arm
from training_summary import by_schedule, compared, in_turns, in_words

from shc import runs
from shc.config import ClassifierConfig
from shc.devices import resolve_device
from shc.schedule import Schedule

LARGE = ("resnet34",)  # nets that only a GPU, or --full, measures
TRIED = [  # schedules beside the default: epochs, batch, lr
    (10, 128, 3e-3), (10, 64, 3e-3), (10, 128, 6e-3), (7, 64, 3e-3), (14, 128, 3e-3), (14, 64, 3e-3),
]  # fmt: skip


def speed(arms: dict[str, Arm], options: argparse.Namespace, device: str) -> Iterator[dict[str, Any]]:
    """Yield the table so far after every net: medians over turns, and the ratio to the plain loop of the same turns."""
    dtypes, rows = ("float32", "bfloat16"), list[dict[str, Any]]()
    matmul = dict.fromkeys(dtypes, 0.0)  # the highest rates, so that shares are none too high
    for net in options.nets or [n for n in work.NETS if n not in LARGE or device == "cuda" or options.full]:
        batch, count = sizes(net, options, device)
        flops = arms["ours"](work.operations, net)
        variants = list(itertools.product(dtypes, work.LAYOUTS))
        plain = [(name, workers) for name in arms if name != "ours" for workers in options.workers]
        turns: dict[Any, list[Any]] = {key: [] for key in [*variants, *plain, "plain passes", *dtypes]}
        place = (device, options.threads)
        for turn in range(-1, options.repeats):  # the first turn warms up, and starts the workers
            for d in dtypes:
                matmul[d] = max(matmul[d], arms["ours"](work.matmul_rate, d, *place))
            measured: dict[Any, Any] = {
                (name, n): arms[name](work.plain_steps, net, batch, count, n, device) for name, n in plain
            }
            measured["plain passes"] = arms["plain"](
                work.pass_rates, net, "float32", "contiguous", batch, count, *place
            )
            for variant in variants:
                measured[variant] = arms["ours"](work.pass_rates, net, *variant, batch, count, *place)
            for dtype in dtypes:
                measured[dtype] = arms["ours"](work.our_steps, net, dtype, batch, count, *place)
            for key, value in measured.items():
                turns[key] += [value] if turn >= 0 else []
        best = max(plain, key=lambda key: statistics.median(turns[key]))
        common = dict(net=net, size=work.NETS[net][1], batch=batch, gflop_per_image=round(flops / 1e9, 4))
        rows.append(
            common | dict(loop="plain", dtype="float32", layout="contiguous", process=best[0], workers=best[1])
            | dict(tried={f"{name}, {n} workers": round(statistics.median(turns[name, n]), 1) for name, n in plain})
            | in_turns(turns["plain passes"], turns[best], None, None)
        )  # fmt: skip
        for dtype, layout in variants:
            whole = turns[dtype] if layout == "channels_last" else None  # fit has no other
            rows.append(
                common | dict(loop="ours", dtype=dtype, layout=layout)
                | in_turns(turns[dtype, layout], whole, turns["plain passes"], turns[best])
            )  # fmt: skip
        for row in rows:
            row["matmul_share"] = {  # of both the highest rates, when nothing else took the cores
                name: round(row["images_per_second"][name][2] * row["gflop_per_image"] * 1e9 / matmul[row["dtype"]], 3)
                for name in ("forward + backward", "step")
                if name in row["images_per_second"]
            }
        for row in rows[-1 - len(variants) :]:
            print(in_words(row), flush=True)
        gflops = {dtype: round(rate / 1e9, 1) for dtype, rate in matmul.items()}
        yield dict(device=name_of(device), matmul_gflops=gflops, rows=rows)


def sizes(net: str, options: argparse.Namespace, device: str) -> tuple[int, int]:
    """Batch and steps of one turn."""
    _, side, batch, count = work.NETS[net]
    if options.quick:
        return 16, 2
    return (1024 if side <= 64 else 256, 30) if device == "cuda" else (batch, count)


def trainings(arms: dict[str, Arm], options: argparse.Namespace, kept: Any, workers: int) -> Iterator[dict[str, Any]]:
    """Yield the trainings so far after every seed: the plain loop and ours, an epoch each in turn."""
    done = list(kept["runs"]) if kept and kept["epochs"] == options.epochs and kept["scale"] == options.scale else []
    for seed in range(options.seeds):
        if any(run["seed"] == seed for run in done):
            continue
        schedule = Schedule(epochs=options.epochs, seed=seed, threads=options.threads)
        whole = {"plain": (arms["plain"], ("plain", schedule, options.scale, workers))}
        for dtype in ("float32", "bfloat16"):
            ours = Schedule(epochs=options.epochs, seed=seed, threads=options.threads, dtype=dtype)
            whole[f"ours, {dtype}"] = (arms["ours"], ("ours", ours, options.scale, 0))
        epochs: dict[str, list[tuple[float, float]]] = {loop: [] for loop in whole}
        for epoch in range(options.epochs):
            for loop, (arm, of) in whole.items():
                epochs[loop].append(arm(work.one_epoch, *of))
            told = "; ".join(f"{loop} {v[-1][1]:.4f} in {sum(s for s, _ in v):.0f} s" for loop, v in epochs.items())
            print(f"seed {seed}, epoch {epoch + 1}: {told}", flush=True)
        for loop, values in epochs.items():
            took = [round(s, 2) for s in itertools.accumulate(s for s, _ in values)]
            done.append(dict(seed=seed, loop=loop, val=[round(v, 4) for _, v in values], seconds=took))
        yield dict(device=name_of("cpu"), epochs=options.epochs, scale=options.scale, runs=done) | compared(done)


def tuning(arm: Arm, options: argparse.Namespace, kept: Any, trained: Any) -> Iterator[dict[str, Any]]:
    """Yield the schedules tried so far: final accuracy on val and images seen, one row for each seed.

    The default's rows are those of `trained`, the record's trainings, where it has them.
    """
    tried = [(1, 32, 3e-3), (2, 32, 3e-3)] if options.quick else [(options.epochs, 128, 3e-3), *TRIED]
    default = dict(zip(("epochs", "batch", "lr"), tried[0], strict=True)) | dict(dtype=options.dtype)
    rows = list(kept["rows"]) if kept and kept["scale"] == options.scale else []
    if trained and (trained["epochs"], trained["scale"]) == (options.epochs, options.scale) and not options.quick:
        for run in trained["runs"]:
            same = default | dict(seed=run["seed"])
            if run["loop"] == f"ours, {options.dtype}" and not any(same.items() <= row.items() for row in rows):
                rows.append(
                    same | dict(images=seen(options, *tried[0]), val=run["val"][-1], seconds=run["seconds"][-1])
                )
    for seed, number in itertools.product(range(options.seeds), options.schedules or range(len(tried))):
        epochs, batch, lr = tried[number]
        same = dict(epochs=epochs, batch=batch, lr=lr, seed=seed, dtype=options.dtype)
        if any(same.items() <= row.items() for row in rows):
            continue
        schedule = Schedule(**same, threads=options.threads)  # type: ignore[arg-type]
        values = [arm(work.one_epoch, "ours", schedule, options.scale, 0) for _ in range(epochs)]
        took = round(sum(s for s, _ in values), 1)
        rows.append(same | dict(images=seen(options, epochs, batch), val=round(values[-1][1], 4), seconds=took))
        print(f"tuning: {rows[-1]}", flush=True)
        yield dict(scale=options.scale, rows=rows, schedules=by_schedule(rows, default))


def seen(options: argparse.Namespace, epochs: int, batch: int, *_: float) -> int:
    """Images that a training looks at: the rest of an epoch that fills no batch is left out."""
    return epochs * (len(work.emoji_data(options.scale)[0]) // batch) * batch


def sequence_seconds() -> float:
    """Seconds of notebooks 00–05 at full size, kernel starts included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "shc", "run", "--only"]
        options: dict[str, Any] = dict(check=True, env=os.environ | {"SHC_RUNS": folder}, stdout=subprocess.DEVNULL)
        return work.seconds(lambda: [subprocess.run([*command, f"{n:02}"], **options) for n in range(6)])


def name_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else runs.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=["speed", "trainings", "tuning", "gpu"])
    parser.add_argument("--device", default="cpu", help="cuda: measure the part `gpu`, and nothing else")
    parser.add_argument("--nets", nargs="+", choices=list(work.NETS))
    parser.add_argument("--full", action="store_true", help="nets for a GPU on the CPU too")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="of the plain loop; the best counts")
    parser.add_argument("--usual", action="store_true", help="try the plain loop in the usual environment too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=ClassifierConfig().epochs)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data set")
    parser.add_argument("--dtype", default="float32", help="of the tuning")
    parser.add_argument("--schedules", type=int, nargs="+", help="of the tuning, by number: 0 is the default")
    parser.add_argument("--quick", action="store_true", help="tiny batches and products: to see that it works")
    parser.add_argument("--record", default="benchmarks/training.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    if resolve_device(options.device) == "cuda":
        options.only = ["gpu"]
    file = Path(options.record) if options.record else None
    record: dict[str, Any] = runs.read_json(file) if file and file.exists() else {"gpu": None}
    wanted = options.only or ["speed", "trainings", "tuning"]

    def keep(part: str, found: dict[str, Any] | None) -> None:
        made = dict(date=runs.today(), versions=runs.library_versions(), threads=options.threads)
        record[part] = made | found if found else None
        if file:
            text = json.dumps(record, indent=1) + "\n"
            runs.atomic_write(file, lambda f: f.write_text(text, encoding="utf-8"))

    arms = {"plain": Arm(work.SETTINGS), "ours": Arm(work.SETTINGS)}
    if options.usual:
        arms["plain, usual environment"] = Arm(work.UNSET)
    try:
        if "speed" in wanted:
            for found in speed(arms, options, "cpu"):
                keep("speed", found)
        if "trainings" in wanted:
            rows = record.get("speed", {"rows": []})["rows"]
            tuned = [row for row in rows if (row["net"], row["loop"]) == ("cnn", "plain")]
            workers = tuned[0]["workers"] if tuned else options.workers[0]
            for found in trainings(arms, options, record.get("trainings"), workers):
                keep("trainings", found)
        if "tuning" in wanted:
            for found in tuning(arms["ours"], options, record.get("tuning"), record.get("trainings")):
                keep("tuning", found)
        if "gpu" in wanted and not torch.cuda.is_available():
            print("No GPU answers here: the record's part `gpu` stays empty.", flush=True)
        elif "gpu" in wanted:
            for found in speed(arms, options, "cuda"):
                keep("gpu", found)
            keep("gpu", record["gpu"] | {"sequence_seconds": round(sequence_seconds(), 1)})
    finally:
        for arm in arms.values():
            arm.close()


if __name__ == "__main__":
    main()
