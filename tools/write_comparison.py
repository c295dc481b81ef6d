"""Write benchmarks/comparison.yaml: the comparison's cells, every method with the best of its trials in tuning.csv.

python tools/write_comparison.py
"""

import argparse
from pathlib import Path

import pandas as pd

from shc import frames

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
HEAD = """\
# Written by tools/write_comparison.py: every method from one classifier per seed, under one budget, several seeds, on a
# fifth of the images. hasher_lr and options are the best of eight trials on validation images (tuning.yaml and .csv).
#
#     shc sweep benchmarks/comparison.yaml --jobs 2 --table benchmarks/comparison.csv     # resumable; 5 core hours
name: comparison
notebook: method_run
set: {scale: 0.2, epochs: 30, hasher_epochs: 8, batch: 64}
cells:
"""
FIVE, THREE = "seed: [0, 1, 2, 3, 4]", "seed: [0, 1, 2]"
LEADING = ("shc", "csq", "mds", "orthohash")  # five seeds, like SHC's controls
OTHERS = ("shpdh", "shrewd", "udmsh", "dpsh", "hashnet")
CLOSED_FORM = ("itq", "lsh", "classifier")  # nothing to tune; features computed once
ABLATED = "frozen: true, hasher_epochs: 20"  # the last layer alone, on the classifier's features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=BENCHMARKS / "comparison.yaml", help="the file to write")
    options = parser.parse_args()
    trials = frames.read_frame(BENCHMARKS / "tuning.csv")
    chosen = {str(name): best(part) for name, part in trials[~trials["frozen"]].groupby("method")}
    udmsh = chosen["udmsh"]
    chosen["udmsh"] = f"{udmsh}, hasher_epochs: 38"  # it has no classifier to start from: those 30 epochs and its own 8
    ablated = f"{ABLATED}, {best(trials[trials['frozen']])}"

    def compared(block: str, where: str) -> list[str]:
        lines = [f"{{name: {block}, method: {m}, {chosen[m]}, {where}, {FIVE}}}" for m in LEADING]
        lines += [
            f"{{name: {block}, method: shc, {chosen['shc']}, centers: {kind}, {where}, {FIVE}}}"
            for kind in ("permuted", "random")
        ]
        lines += [f"{{name: {block}, method: {m}, {chosen[m]}, {where}, {THREE}}}" for m in OTHERS]
        lines += [f"{{name: {block}, method: {m}, frozen: true, {where}, {THREE}}}" for m in CLOSED_FORM]
        return lines

    shc = f"method: shc, bits: 32, {FIVE}"
    cells = [
        *compared("closed", "bits: 32"),
        f"{{name: reference, method: shc, {chosen['shc']}, bits: 32, reference: true, {THREE}}}",
        f"{{name: closed, method: lsh, init: classifier, frozen: true, bits: 32, {THREE}}}",
        f"{{name: closed, method: udmsh, init: classifier, {udmsh}, bits: 32, {THREE}}}",
        *compared("unseen", "protocol: unseen-classes, bits: 32"),
        f"{{name: dose, {shc}, shuffled: [0.0, 0.25, 0.5, 0.75, 1.0], {ablated}}}",
        f'{{name: distance, method: shc, {FIVE}, bits: [32, 64], min_distance: ["0", rule, max], {ablated}}}',
        f"{{name: similarity, {shc}, similarity: [classifier, hierarchy, names, features], {ablated}}}",
        f"{{name: similarity, {shc}, data: shapes, similarity: [classifier, hierarchy, exact], {ablated}}}",
        f"{{name: solver, {shc}, solver: [shc, paper-code], {ablated}}}",
        f"{{name: solver, {shc}, centers: [permuted, random, csq, distance], {ablated}}}",
        *compared("shapes", "data: shapes, bits: 32"),
        *compared("closed", "bits: [16, 64]"),
        *(
            f"{{name: budget, method: shc, {chosen['shc']}, {kind}bits: 32, hasher_epochs: [3, 24], {THREE}}}"
            for kind in ("", "centers: permuted, ", "centers: random, ")
        ),
        *(
            f"{{name: budget, method: {m}, {chosen[m]}, bits: 32, hasher_epochs: 24, {THREE}}}"
            for m in ("csq", "mds", "orthohash", "shpdh", "hashnet")
        ),
        *(
            f"{{name: start, method: shc, {chosen['shc']}, {kind}init: scratch, bits: 32, hasher_epochs: 24, {THREE}}}"
            for kind in ("", "centers: permuted, ", "centers: random, ")
        ),
    ]
    text = HEAD + "".join(f"  - {cell}\n" for cell in cells)
    options.to.write_text(text, encoding="utf-8")


def best(trials: pd.DataFrame) -> str:
    """The settings of the trial with the highest validation mAP@ALL."""
    row = trials.loc[trials["mAP@ALL"].idxmax()]
    return f"hasher_lr: {row['hasher_lr']:g}" + (f', options: "{row["options"]}"' if row["options"] else "")


if __name__ == "__main__":
    main()
