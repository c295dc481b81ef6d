"""How good are the centers, and how long do they take? shc's solver, the published one and the lower bound.

    python benchmarks/centers.py                        # nine instances, about a minute on one core
    python benchmarks/centers.py --classes 100 --record ""    # three of them, nothing written

An instance is a class similarity like those that stage 1 yields: prototypes in a two-level hierarchy, noisy samples,
logits, masked softmax, class means, the paper's normalization. The temperatures are set so that the mean square of the
off-diagonal entries agrees with what the paper's table 3 implies (.046 / .026 / .0095 for 100 / 196 / 555 classes).
"best known" is the best loss that other programs found in earlier, longer trials.
"""

import argparse
import datetime
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

from shc.bounds import lower_bound
from shc.centers import solve

GROUPS = {10: [4, 6], 64: [8] * 8, 100: [5] * 20, 196: [7] * 28, 555: [5] * 111}
TEMPERATURE = {10: 2.0, 64: 2.5, 100: 2.4, 196: 3.5, 555: 4.8}
BEST_KNOWN = {  # (classes, bits): loss
    (10, 16): 0.0905, (10, 32): 0.1192, (64, 64): 0.0303,
    (100, 16): 0.0325, (100, 32): 0.0177, (100, 64): 0.0175,
    (196, 16): 0.0395, (196, 32): 0.0184, (196, 64): 0.0119,
    (555, 16): 0.0489, (555, 32): 0.0211, (555, 64): 0.0090,
}  # fmt: skip
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
    """One row: losses, distances and seconds (wall, and of the processor) of every solver on one instance."""
    S = make_similarity(classes)
    row: dict = {"classes": classes, "bits": bits, "best_known": BEST_KNOWN[classes, bits]}
    for solver in ("shc", "paper", "paper-code"):
        began = time.process_time()
        result = solve(S, bits, solver=solver, seed=seed)
        row[solver] = {
            "loss": result.loss,
            "achieved_distance": result.achieved_distance,
            "feasible": result.feasible,
            "seconds": result.seconds,
            "cpu_seconds": time.process_time() - began,
        }
        row["requested_distance"], row["min_distance"] = result.requested_distance, result.min_distance
    began = time.process_time()
    row["bound"] = lower_bound(S, bits, row["min_distance"])
    row["bound_cpu_seconds"] = time.process_time() - began
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--classes", type=int, nargs="*", default=[10, 64, 100, 196], choices=sorted(GROUPS))
    parser.add_argument("--seed", type=int, default=0, help="the solvers' seed; the instances are always the same")
    parser.add_argument("--record", default="benchmarks/centers.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    solve(np.eye(4), 8, sweeps=1)  # compile before the clock runs
    rows = []
    print("  C   K   d |  shc f   s (cpu) | best known ratio | bound  f/bound | paper-code f    s | paper f  d reached")
    for classes, bits in BEST_KNOWN:
        if classes not in options.classes:
            continue
        row = measure(classes, bits, options.seed)
        rows.append(row)
        ours, coded, literal = row["shc"], row["paper-code"], row["paper"]
        print(
            f"{classes:3d} {bits:3d} {row['min_distance']:3d} | {ours['loss']:.4f} {ours['cpu_seconds']:9.1f} | "
            f"{row['best_known']:.4f}     {ours['loss'] / row['best_known']:.3f} | {row['bound']:.4f}  "
            f"{ours['loss'] / row['bound']:5.2f} | {coded['loss']:.4f} {coded['cpu_seconds']:9.1f} | "
            f"{literal['loss']:.4f}  {literal['achieved_distance']}",
            flush=True,
        )
    if options.record:
        record = {
            "what": "loss f of hash centers by solver, with the best known loss and a lower bound",
            "date": datetime.date.today().isoformat(),
            "device": f"{processor()}, {os.cpu_count()} cores, {platform.system()}; one thread, machine shared",
            "versions": versions(),
            "seed": options.seed,
            "rows": rows,
        }
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n")
        print(f"wrote {options.record}")


def processor() -> str:
    """Name of the processor, as the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions that the numbers depend on."""
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("numba", "numpy", "scipy")}


if __name__ == "__main__":
    main()
