"""Does the meaning of the centers matter? SHC against its controls, all trained the same way, several seeds.

    python benchmarks/headline.py                 # the README's table: 32 bits, 3 seeds, 20 minutes on 2 cores
    python benchmarks/headline.py --seeds 1 --scale 0.1 --epochs 4 --hasher-epochs 2 --record ""    # a quick try

A seed sets the classifier's, the centers' and the hasher's randomness; within a seed all four hashers share one
classifier, one start and one schedule, and differ only in their targets. Interrupted, it goes on where it stopped.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

from shc import config, runs, stages
from shc.metrics import bootstrap_interval

KINDS = ("semantic", "permuted", "distance", "random")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="emoji")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=config.ClassifierConfig().epochs)
    parser.add_argument("--hasher-epochs", type=int, default=config.HasherConfig().epochs)
    parser.add_argument("--runs", default="runs/headline", help="folder for the runs, one per seed")
    parser.add_argument(
        "--record", default="benchmarks/headline.json", help="where to write the record; '' for nowhere"
    )
    options = parser.parse_args()
    data = config.Data(data=options.data, scale=options.scale)
    results: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    facts: dict[str, list[float]] = {}
    differences: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS[1:]}
    drawings = None
    for seed in range(options.seeds):
        started = time.perf_counter()
        run = runs.Run(f"{options.runs}-{options.data}-{options.bits}-s{seed}")
        images = stages.start(run, data)
        classifier = config.ClassifierConfig(seed=seed, epochs=options.epochs)
        centers = config.CentersConfig(bits=options.bits, seed=seed)
        hasher = config.HasherConfig(seed=seed, epochs=options.hasher_epochs)
        stages.run_all(run, data, classifier, centers, hasher, kinds=KINDS)
        found = {kind: {q: stages.evaluate(run, images, kind, q) for q in ("query", "query_seen") if q in images.splits}
                 for kind in KINDS}  # fmt: skip
        for kind in KINDS:
            loss = stages.load_centers(run, images, kind)[0].meta["extra"]["loss"]
            values = {
                "f": loss,
                "mAP@ALL": found[kind]["query"]["mAP@ALL"],
                "super_mAP@ALL": found[kind]["query"].get("super_mAP@ALL"),
                "mAP@ALL seen": found[kind].get("query_seen", {}).get("mAP@ALL"),
            }
            for name, value in values.items():
                if value is not None:
                    results[kind].setdefault(name, []).append(round(float(value), 5))
        for kind in KINDS[1:]:
            pair = found["semantic"]["query"]["per_query"], found[kind]["query"]["per_query"]
            differences[kind].append(pair[0]["mAP@ALL"] - pair[1]["mAP@ALL"])
        if "drawing" in images.groups:
            drawings = images.groups["drawing"][images.splits["query"]].numpy()
        for split, value in stages.accuracies(run, images).items():
            facts.setdefault(f"top-1 {split}", []).append(round(value, 5))
        print(f"seed {seed}: {time.perf_counter() - started:.0f} s, " +
              ", ".join(f"{kind} {results[kind]['mAP@ALL'][-1]:.3f}" for kind in KINDS), flush=True)  # fmt: skip

    mean = {kind: float(np.mean(values["mAP@ALL"])) for kind, values in results.items()}
    record = dict(
        data=options.data, scale=options.scale, bits=options.bits, seeds=options.seeds, epochs=options.epochs,
        hasher_epochs=options.hasher_epochs, queries=len(images.splits["query"]),
        database=len(images.splits["database"]),
        fingerprint=images.fingerprint, results=results, classifier=facts,
        ratio={kind: round(mean["semantic"] / mean[kind], 4) for kind in KINDS[1:]},
        device=f"CPU, {platform.machine()}, 2 threads", versions=runs.library_versions(), date=runs.today(),
    )  # fmt: skip
    if drawings is not None:
        record["difference"] = {}
        for kind, parts in differences.items():
            low, high = bootstrap_interval(np.mean(parts, axis=0), drawings, seed=0)
            value = float(np.mean(parts))
            record["difference"][kind] = dict(mean=round(value, 5), low=round(low, 5), high=round(high, 5))
    for kind in KINDS:
        row = results[kind]
        spread = np.std(row["mAP@ALL"], ddof=1) if options.seeds > 1 else float("nan")
        text = "  ".join(f"{name} {np.mean(values):.4f}" for name, values in row.items())
        print(f"{kind:<9} {text}  (sd of mAP@ALL over seeds {spread:.4f})")
    print("mAP@ALL of semantic centers relative to", {k: f"× {v:.3f}" for k, v in record["ratio"].items()})
    if options.record:
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("record:", options.record)


if __name__ == "__main__":
    main()
