"""A made-up table of a sweep with known effects, for the tests of what reads it. None of its numbers was measured."""

from zlib import crc32

import numpy as np
import pandas as pd

from shc import frames

BITS = (16, 32, 64)
# mAP@ALL at 16, 32 and 64 bits, and how the method differs from the others
LEVELS = {
    "shc": (0.46, 0.50, 0.50), "csq": (0.36, 0.43, 0.47), "mds": (0.37, 0.44, 0.46), "orthohash": (0.35, 0.42, 0.45),
    "shc, permuted centers": (0.37, 0.43, 0.45), "shc, random centers": (0.36, 0.42, 0.45),
    "shpdh": (0.44, 0.48, 0.49), "shrewd": (0.30, 0.36, 0.38), "udmsh": (0.07, 0.08, 0.09),
    "dpsh": (0.25, 0.33, 0.37), "hashnet": (0.24, 0.31, 0.35), "itq": (0.20, 0.24, 0.27), "lsh": (0.10, 0.14, 0.18),
    "classifier": (0.44, 0.45, 0.45),
}  # fmt: skip
CENTERS = {"shc": "semantic", "csq": "csq", "mds": "distance", "orthohash": "random", "classifier": "semantic"}
FIVE = ("shc", "csq", "mds", "orthohash", "shc, permuted centers", "shc, random centers")
RELATIVE = {
    "mAP@ALL": 1.0, "mAP@100": 0.95, "mAP@1000": 0.92, "super_mAP@ALL": 0.6, "nDCG@100": 1.2, "mAHP@250": 1.1,
    "P@H<=2": 0.8, "seen mAP@ALL": 1.5,
}  # fmt: skip
SHARES = (0.3, 0.6, 0.8, 0.95, 1.0)  # of the final value after each fifth of the training


def run(name: str, bits: int, seed: int, level: float, **changes) -> dict:
    """One row: `level` is the mean of mAP@ALL, the seed adds what all methods share and what is the run's own."""
    what = crc32(f"{name} {bits} {sorted((k, v) for k, v in changes.items() if k != 'block')}".encode())
    shared, own = (np.random.default_rng(key).standard_normal() for key in ([seed], [seed, what]))
    value = level + 0.006 * shared + 0.003 * own
    method = name.split(",")[0]
    centers = name.split(", ")[1].split()[0] if "," in name else CENTERS.get(method, "")
    scratch = method in ("udmsh", "itq", "lsh")
    row = dict(
        block="closed", cell=f"{method}-{bits}-s{seed}", data="emoji", protocol="closed", scale=0.2, size=32, fold=0,
        bits=bits, method=method, options="", centers=centers, solver="shc", min_distance="rule",
        similarity="classifier", shuffled=0.0, init="scratch" if scratch else "classifier", frozen=False, epochs=16,
        hasher_epochs=10, hasher_lr=0.002, batch=64, seed=seed, split="query", codes="hashed",
        information={"shpdh": "classes, tree", "shrewd": "tree"}.get(method, "none" if scratch else "classes"),
        circular=method in ("shpdh", "shrewd"), f=0.02 if centers == "semantic" else 0.045 if centers else np.nan,
        d=10 if centers else np.nan, seconds_classifier=60.0, seconds_centers=1.5 if centers == "semantic" else 0.1,
        seconds_hasher=30.0, queries=1000, database=9000, fingerprint="made up", torch="none", device="none",
        date="2026-01-01",
    ) | changes  # fmt: skip
    row |= {score: factor * value for score, factor in RELATIVE.items()}
    epochs = int(row["hasher_epochs"])
    points = [(round(epochs * (i + 1) / 5) or 1, 1.3 * value * share) for i, share in enumerate(SHARES)]
    curve = "" if method in ("itq", "lsh", "classifier") else " ".join(f"{e}:{v:.4f}" for e, v in points)
    return row | dict(curve=curve, val=1.3 * value, best_epoch=epochs)


def rows(blocks: str = "all", seeds: int = 5) -> list[dict]:
    """Rows of the named blocks ("closed unseen …"), or of all; at most `seeds` seeds each."""
    found = []

    def add(block: str, names, lengths=(32,), most: int = 3, level=None, **changes) -> None:
        if blocks != "all" and block not in blocks.split():
            return
        for name in names:
            for bits in lengths:
                for seed in range(min(most if name not in FIVE else max(most, 5), seeds)):
                    usual = LEVELS[name][BITS.index(bits)] if level is None else level
                    found.append(run(name, bits, seed, usual, block=block, **changes))

    add("closed", LEVELS, BITS)
    add("unseen", LEVELS, level=None, protocol="unseen-classes")
    add("shapes", LEVELS, data="shapes")
    add("distance", ["shc"], level=0.505, min_distance="0", d=1, f=0.015)
    add("similarity", ["shc"], level=0.47, similarity="names")
    add("similarity", ["shc"], level=0.505, similarity="hierarchy", information="classes, tree", circular=True)
    add("similarity", ["shc"], level=0.52, similarity="exact", data="shapes")
    add("solver", ["shc"], level=0.45, solver="paper-code", f=0.04)
    add("solver", ["shc"], level=0.43, centers="distance", f=0.045)
    add("solver", ["shc"], level=0.425, centers="csq", f=0.047)
    for dose in (0.25, 0.5, 0.75, 1.0):
        add("dose", ["shc"], level=0.5 - 0.07 * dose, shuffled=dose, f=0.02 + 0.024 * dose)
    for name in ("shc", "csq", "shc, random centers"):
        add("budget", [name], level=LEVELS[name][1] - 0.03, hasher_epochs=3)
        add("budget", [name], level=LEVELS[name][1] + 0.01, hasher_epochs=30)
        add("start", [name], level=LEVELS[name][1] - 0.12, init="scratch")
    for codes, extra in (("hashed", 0), ("snapped", 0.01), ("unquantized", 0.03)):
        add("reference", ["shc", "csq"], level=0.48 + extra, codes=codes, hasher_epochs=12)
    return found


def comparison_frame(folder, blocks: str = "all", seeds: int = 5) -> pd.DataFrame:
    """The made-up table, written to `folder`/comparison.csv and read as a notebook reads it."""
    return frames.read_frame(write_frame(folder, blocks, seeds))


def write_frame(folder, blocks: str = "all", seeds: int = 5):
    """Write it; returns the file. With blocks="" it has a header and no rows."""
    made = pd.DataFrame(rows(blocks, seeds) or rows("closed", 1))
    if not blocks:
        made = made.iloc[:0]
    file = folder / "comparison.csv"
    made.to_csv(file, index=False)
    return file
