"""How good are the centers, and how long do they take? shc's solver, the published one and the lower bound.

    python benchmarks/centers.py                        # all instances and the growth with C: half an hour on one core
    python benchmarks/centers.py --classes 100 --fresh 0 --growth --record ""    # three instances, nothing written

The record is written after every row; parts that are not asked for stay as they are in it, each row with its date.

An instance is a class similarity like those that stage 1 yields: prototypes in a two-level hierarchy, noisy samples,
logits, masked softmax, class means, the paper's normalization. The temperatures are set so that the mean square of the
off-diagonal entries agrees with what the paper's table 3 implies (.046 / .026 / .0095 for 100 / 196 / 555 classes).

"published" is the authors' program as it was measured once on these instances, its loss and seconds (wall time, mostly
interpreted loops, on a loaded machine); "best known" the best loss that other programs found in earlier, longer trials.
`paper` and `paper-code` are the same algorithm in `shc.published`, vectorized, so that equal times compare algorithms.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shc import runs
from shc.bounds import lower_bound
from shc.centers import default_sweeps, solve

GROUPS = {10: [4, 6], 16: [4] * 4, 64: [8] * 8, 70: [7] * 10, 100: [5] * 20, 196: [7] * 28, 555: [5] * 111}
TEMPERATURE = {10: 2.0, 16: 2.0, 64: 2.5, 70: 2.5, 100: 2.4, 196: 3.5, 555: 4.8}
BEST_KNOWN = {  # (classes, bits): loss
    (10, 16): 0.0905, (10, 32): 0.1192, (64, 64): 0.0303,
    (100, 16): 0.0325, (100, 32): 0.0177, (100, 64): 0.0175,
    (196, 16): 0.0395, (196, 32): 0.0184, (196, 64): 0.0119,
    (555, 16): 0.0489, (555, 32): 0.0211, (555, 64): 0.0090,
}  # fmt: skip
PUBLISHED = {  # (classes, bits): loss and seconds of the authors' program with its defaults
    (10, 16): (0.1381, 0.9), (10, 32): (0.2284, 1.1), (64, 64): (0.0725, 31),
    (100, 16): (0.0712, 166), (100, 32): (0.0446, 270), (100, 64): (0.0513, 150),
    (196, 16): (0.0757, 2294), (196, 32): (0.0448, 1649), (196, 64): (0.0345, 2100),
}  # fmt: skip
GROWTH = ((100, 64), (300, 64), (1000, 64), (3000, 64), (10_000, 128))  # (classes, bits), each in its own process
DIMENSIONS, WITHIN, NOISE, SAMPLES = 48, 0.5, 0.15, 100


def make_similarity(classes: int, seed: int = 0) -> np.ndarray:
    """The instance's class similarity: float64 [C, C], symmetric, unit diagonal."""
    rng = np.random.Generator(np.random.PCG64([20250711, classes, seed]))
    group = np.repeat(np.arange(len(GROUPS[classes])), GROUPS[classes])
    coarse = rng.standard_normal((len(GROUPS[classes]), DIMENSIONS))
    fine = rng.standard_normal((classes, DIMENSIONS))
    prototypes = np.sqrt(WITHIN) * coarse[group] + np.sqrt(1 - WITHIN) * fine
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    profiles = np.zeros((classes, classes))
    for c in range(classes):
        samples = prototypes[c] + NOISE * rng.standard_normal((SAMPLES, DIMENSIONS))
        logits = TEMPERATURE[classes] * (samples @ prototypes.T)
        logits[:, c] = -np.inf
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        profiles[c] = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    mean = profiles.mean(axis=1, keepdims=True)
    reach = np.abs([profiles.max(axis=1, keepdims=True) - mean, profiles.min(axis=1, keepdims=True) - mean]).max(axis=0)
    S = (profiles - mean) / reach
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1.0)
    return S


def measure(classes: int, bits: int, seed: int) -> dict:
    """One row: losses, distances and seconds (wall) of every solver on one instance."""
    S = make_similarity(classes)
    row: dict = {"classes": classes, "bits": bits, "best_known": BEST_KNOWN[classes, bits]}
    if (classes, bits) in PUBLISHED:
        row["published_loss"], row["published_seconds"] = PUBLISHED[classes, bits]
    for solver in ("shc", "paper", "paper-code"):
        result = solve(S, bits, solver=solver, seed=seed)
        row[solver] = {
            "loss": result.loss,
            "achieved_distance": result.achieved_distance,
            "feasible": result.feasible,
            "seconds": result.seconds,
        }
        row["requested_distance"], row["min_distance"] = result.requested_distance, result.min_distance
    # Shorter and shorter runs: the best within paper-code's time, and the shortest that halves the published loss.
    sweeps = default_sweeps(classes, bits)
    half = row.get("published_loss", 0) / 2
    while sweeps >= 1:
        result = solve(S, bits, seed=seed, sweeps=sweeps)
        point = {"sweeps": sweeps, "loss": result.loss, "seconds": result.seconds}
        if result.loss <= half and result.seconds < row.get("half_published", row["shc"])["seconds"]:
            row["half_published"] = point
        if result.seconds <= row["paper-code"]["seconds"]:
            row.setdefault("same_time", point)
        sweeps //= 2
    began = time.perf_counter()
    row["bound"] = lower_bound(S, bits, row["min_distance"])
    row["bound_seconds"] = time.perf_counter() - began
    return row


def fresh(seeds: range) -> Iterator[dict]:
    """Other instances: the default run against one of four times the sweeps."""
    for classes, bits in ((10, 16), (64, 64), (70, 32), (100, 16), (100, 32), (100, 64)):
        for seed in seeds:
            S = make_similarity(classes, seed)
            usual = solve(S, bits)
            restarts = 4 * (64 if classes < 32 else 1)
            long = solve(S, bits, seed=1, sweeps=4 * default_sweeps(classes, bits), restarts=restarts)
            best = min(usual.loss, long.loss)
            yield {"classes": classes, "bits": bits, "instance": seed, "loss": usual.loss, "long": best}
            print(
                f"{classes:3d} {bits:3d}  instance {seed}: f {usual.loss:.4f} = {usual.loss / best:.3f} x a long run",
                flush=True,
            )


def grow(classes: int, bits: int) -> dict:
    """Seconds, memory and loss of the default run for `classes` random points in 48 dimensions, ten to a group."""
    rng = np.random.default_rng(classes)
    points = rng.standard_normal((classes // 10, DIMENSIONS))[np.arange(classes) // 10]
    points += rng.standard_normal((classes, DIMENSIONS))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    S = points @ points.T
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1.0)
    solve(np.eye(4), 8, sweeps=1)  # compile before the clock runs
    result = solve(S, bits)
    start = result.history[0].loss
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {
        "classes": classes, "bits": bits, "min_distance": result.min_distance, "seconds": result.seconds,
        "loss": result.loss, "algebraic_start": start, "gigabytes": memory, "local_optimum": result.local_optimum,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--classes", type=int, nargs="*", default=[10, 64, 100, 196, 555], choices=sorted(GROUPS))
    parser.add_argument("--seed", type=int, default=0, help="the solvers' seed; the instances are always the same")
    parser.add_argument("--fresh", type=int, default=2, help="how many other instances of a size to try")
    parser.add_argument("--growth", type=int, nargs="*", default=[c for c, _ in GROWTH], help="numbers of classes")
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)  # a size of the growth, in this process
    parser.add_argument("--record", default="benchmarks/centers.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(grow(*options.one)))
        return
    solve(np.eye(4), 8, sweeps=1)
    record = read_record(options.record)
    print("  C   K   d | shc f      s  / best known  / bound (its s) | paper-code f   s  shc in that time | ", end="")
    print("half of the published f in | paper f, d reached")
    for classes, bits in BEST_KNOWN:
        if classes not in options.classes:
            continue
        row = measure(classes, bits, options.seed)
        add(record, "rows", row, options)
        ours, coded, same = row["shc"], row["paper-code"], row.get("same_time")
        if "half_published" in row:
            half = row["half_published"]
            speed = f"{half['seconds']:.2f} s, {row['published_seconds'] / half['seconds']:.0f} x faster"
        else:
            speed = "-"
        print(
            f"{classes:3d} {bits:3d} {row['min_distance']:3d} | {ours['loss']:.4f} {ours['seconds']:6.2f} "
            f"{ours['loss'] / row['best_known']:13.3f} {ours['loss'] / row['bound']:8.2f} "
            f"({row['bound_seconds']:.1f}) | "
            f"{coded['loss']:.4f} {coded['seconds']:6.2f} "
            + (f"{same['loss']:.4f} ({same['loss'] / coded['loss'] - 1:+.0%})" if same else "-")
            + f" | {speed} | {row['paper']['loss']:.4f}, {row['paper']['achieved_distance']}",
            flush=True,
        )
    for row in fresh(range(1, 1 + options.fresh)):
        add(record, "fresh", row, options)
    for classes, bits in GROWTH:
        if classes in options.growth:
            command = [sys.executable, __file__, "--one", str(classes), str(bits)]
            row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print("growth", {name: round(value, 4) for name, value in row.items()}, flush=True)
            add(record, "growth", row, options)


def read_record(file: str) -> dict:
    """The parts of an earlier record, or empty ones."""
    parts = ("rows", "fresh", "growth")
    stored = json.loads(Path(file).read_text()) if file and Path(file).exists() else {}
    return (
        {part: stored.get(part, []) for part in parts}
        if all(part in stored for part in parts)
        else {part: [] for part in parts}
    )


def add(record: dict, part: str, row: dict, options: argparse.Namespace) -> None:
    """Put a row into its part of the record, in place of an older one of the same sizes, and write the record."""
    key = lambda r: (r["classes"], r["bits"], r.get("instance", 0))
    row |= {"date": datetime.date.today().isoformat(), "seed": options.seed}
    record[part] = sorted([r for r in record[part] if key(r) != key(row)] + [row], key=key)
    if options.record:
        whole = {
            "what": "loss f of hash centers by solver, with the best known loss and a lower bound; other instances "
            "against long runs; growth with the number of classes",
            "date": row["date"],
            "device": f"{runs.processor()}, {os.cpu_count()} cores, {platform.system()}; one thread, machine shared",
            "versions": versions(),
            "seed": options.seed,
        }
        Path(options.record).write_text(json.dumps(whole | record, indent=1) + "\n")


def versions() -> dict[str, str]:
    """Versions that the numbers depend on."""
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("numba", "numpy", "scipy")}


if __name__ == "__main__":
    main()
