"""SHC's centers against CSQ's, random and permuted ones on Fashion-MNIST: real pictures, ten classes, several seeds.

    shc datasets fashion_mnist --download         # or, on Debian and Ubuntu: apt install dataset-fashion-mnist
    python benchmarks/fashion_mnist.py            # 16 and 32 bits, 5 seeds; writes benchmarks/fashion_mnist.json
    python benchmarks/fashion_mnist.py --quick    # one seed, 16 bits, a fifth of the data; writes nothing

Protocol `disjoint`: 5,000 images train (a tenth of them validates), the 10,000 test images ask, 55,000 are ranked. A
seed sets the draw of the training images and all that is random in training; within a seed every hasher starts from
one classifier and differs only in its targets. Interrupted, it goes on where it stopped.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from shc import config, runs, stages
from shc.datasets import ImageSet
from shc.method_run import adopt
from shc.metrics import bootstrap_interval

KINDS = ("semantic", "csq", "random", "permuted")
MEASURES = ("mAP@ALL", "mAP@1000", "super_mAP@ALL")
QUICK = dict(bits=[16], seeds=1, scale=0.2, epochs=6, hasher_epochs=3, runs="runs/fashion-quick", record="")


def main() -> None:
    options = parsed()
    results: dict[int, dict[str, dict[str, list[float]]]] = {b: {kind: {} for kind in KINDS} for b in options.bits}
    per_query: dict[int, dict[str, list[np.ndarray]]] = {b: {kind: [] for kind in KINDS} for b in options.bits}
    accuracy: dict[str, list[float]] = {}
    fingerprints = []
    for seed in range(options.seeds):
        data = config.Data(data="fashion_mnist", scale=options.scale, seed=seed, protocol=options.protocol)
        classifier = config.ClassifierConfig(seed=seed, epochs=options.epochs)
        base = runs.Run(f"{options.runs}-s{seed}")
        images = stages.start(base, data)
        for _ in stages.train_classifier(base, images, classifier):
            pass
        fingerprints.append(images.fingerprint)
        for split, value in stages.accuracies(base, images).items():
            accuracy.setdefault(f"top-1 {split}", []).append(round(value, 5))
        for bits in options.bits:
            started = time.perf_counter()
            run = runs.Run(f"{options.runs}-s{seed}-{bits}")
            adopt(run, base.path)
            hasher = config.HasherConfig(seed=seed, epochs=options.hasher_epochs)
            stages.run_all(run, data, classifier, config.CentersConfig(bits=bits, seed=seed), hasher, kinds=KINDS)
            for kind in KINDS:
                found = stages.evaluate(run, images, kind)
                loss = stages.load_centers(run, images, kind)[0].meta["extra"]["loss"]
                for name, value in {"f": loss, **{name: found[name] for name in MEASURES}}.items():
                    results[bits][kind].setdefault(name, []).append(round(float(value), 5))
                per_query[bits][kind].append(found["per_query"]["mAP@ALL"])
            told = ", ".join(f"{kind} {results[bits][kind]['mAP@ALL'][-1]:.3f}" for kind in KINDS)
            print(f"seed {seed}, {bits} bits: {time.perf_counter() - started:.0f} s, {told}", flush=True)
    record = dict(
        data="fashion_mnist", protocol=options.protocol, scale=options.scale, bits=options.bits, seeds=options.seeds,
        epochs=options.epochs, hasher_epochs=options.hasher_epochs, sizes=sizes(images), fingerprints=fingerprints,
        classifier=accuracy, results=results,
        difference={bits: differences(per_query[bits]) for bits in options.bits},
        processor=runs.processor(), threads=config.HasherConfig().threads, versions=runs.library_versions(),
        date=runs.today(),
    )  # fmt: skip
    show(results)
    if options.record:
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("record:", options.record)


def parsed() -> argparse.Namespace:
    """The command line; `--quick` gives other defaults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--protocol", default="disjoint", choices=("disjoint", "official"))
    parser.add_argument("--epochs", type=int, default=config.ClassifierConfig().epochs)
    parser.add_argument("--hasher-epochs", type=int, default=config.HasherConfig().epochs)
    parser.add_argument("--runs", default="runs/fashion", help="start of the run folders' names, one per seed and bits")
    parser.add_argument("--record", default="benchmarks/fashion_mnist.json", help="where to write; '' for nowhere")
    parser.add_argument("--quick", action="store_true", help="a try of a minute or two")
    if parser.parse_args().quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args()


def sizes(images: ImageSet) -> dict[str, int]:
    """Images per split."""
    return {split: len(rows) for split, rows in images.splits.items()}


def differences(per_query: dict[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    """mAP@ALL of SHC's centers minus that of the others: mean, interval over the queries, deviation over the seeds.

    The test images that ask are the same for every seed (at scale 1), so that a query's mean over the seeds is one
    observation.
    """
    found = {}
    for kind in KINDS[1:]:
        parts = [a - b for a, b in zip(per_query["semantic"], per_query[kind], strict=True)]  # [Q] each
        by_query = np.mean(parts, axis=0)
        low, high = bootstrap_interval(by_query, np.arange(len(by_query)), seed=0)
        values = dict(mean=by_query.mean(), low=low, high=high)
        if len(parts) > 1:
            values["sd"] = np.std([part.mean() for part in parts], ddof=1)
        found[kind] = {name: round(float(value), 5) for name, value in values.items()}
    return found


def show(results: dict[int, dict[str, dict[str, list[float]]]]) -> None:
    """Print the means over the seeds."""
    for bits, rows in results.items():
        for kind, row in rows.items():
            text = "  ".join(f"{name} {np.mean(values):.4f}" for name, values in row.items())
            seeds = row["mAP@ALL"]
            spread = f"  (sd of mAP@ALL over seeds {np.std(seeds, ddof=1):.4f})" if len(seeds) > 1 else ""
            print(f"{bits} bits  {kind:<9} {text}{spread}")


if __name__ == "__main__":
    main()
