"""Does the paper's minimum distance serve retrieval? The whole hasher, trained towards centers of several distances.

    python benchmarks/frontier.py                  # 32 and 64 bits, 3 seeds: 33 rows, 2 or 3 minutes each on 2 cores
    python benchmarks/frontier.py --bits 16 --seeds 0 --scale 0.1 --epochs 2 --hasher-epochs 1 --record ""   # a try

A seed sets the classifier's, the centers' and the hasher's randomness; within a seed all rows share one classifier, one
start and one schedule, and differ only in the distance that their centers keep. The record is written after every row;
started again with the same settings, finished rows are kept and an interrupted one goes on from its last epoch.
"""

import argparse
import json
import platform
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from shc import bounds, config, constructions, runs, similarity, stages
from shc.metrics import bootstrap_interval

# minimum distances per code length; every other length gets 0, the rule's and the largest
DISTANCES: dict[int, tuple[int | str, ...]] = {32: (0, 4, 8, "rule", 12, "max"), 64: (0, 16, "rule", 28, "max")}
SHARED = ("classifier.safetensors", "statistics.npz", "similarity.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="emoji")
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="the seeds themselves")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=config.ClassifierConfig().epochs)
    parser.add_argument("--hasher-epochs", type=int, default=config.HasherConfig().epochs)
    parser.add_argument("--runs", default="runs/frontier", help="folders of the runs begin like this")
    parser.add_argument(
        "--record", default="benchmarks/frontier.json", help="where to write the record; '' for nowhere"
    )
    options = parser.parse_args()
    settings = dict(data=options.data, scale=options.scale, epochs=options.epochs, hasher_epochs=options.hasher_epochs)
    record = read_record(options.record, settings)
    for seed in options.seeds:
        base = runs.Run(f"{options.runs}-{options.data}-s{seed}")
        images = stages.start(base, config.Data(data=options.data, scale=options.scale))
        record |= dict(
            fingerprint=images.fingerprint, queries=len(images.splits["query"]),
            database=len(images.splits["database"]), versions=runs.library_versions(), device=device(),
        )  # fmt: skip
        for _ in stages.train_classifier(base, images, config.ClassifierConfig(seed=seed, epochs=options.epochs)):
            pass
        S = stages.class_similarity(base, images, config.SimilarityConfig())
        for bits in options.bits:
            for d in distances(bits, len(S)):
                if any((row["bits"], row["d"], row["seed"]) == (bits, d, seed) for row in record["rows"]):
                    continue
                started = time.perf_counter()
                hasher = config.HasherConfig(seed=seed, epochs=options.hasher_epochs)
                row = dict(bits=bits, d=d, seed=seed) | measure(base, images, S, bits, d, hasher)
                row |= dict(seconds=round(time.perf_counter() - started, 1), date=runs.today())
                record["rows"].append(row)
                print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
                write_record(options.record, record)
    record["summary"] = summary(record["rows"], options, images)
    write_record(options.record, record)
    for line in record["summary"]:
        print(", ".join(f"{name} {value}" for name, value in line.items()))


def distances(bits: int, classes: int) -> list[int]:
    """The distances of `DISTANCES` in bits, without repeats."""
    asked = DISTANCES.get(bits, (0, "rule", "max"))
    return sorted({constructions.centers_at_distance(bits, classes, d)[0] for d in asked})


def folder_of(base: runs.Run, bits: int, d: int) -> runs.Run:
    """Where a row keeps its centers, its hasher and its codes."""
    return runs.Run(f"{base.path}-b{bits}-d{d}")


def measure(base: runs.Run, images, S: np.ndarray, bits: int, d: int, hasher: config.HasherConfig) -> dict[str, float]:
    """Optimize centers that keep d, train a hasher towards them, and evaluate it."""
    run = folder_of(base, bits, d)
    run.path.mkdir(parents=True, exist_ok=True)
    run.add_parameters("data", base.parameters()["data"])
    for name in SHARED:
        shutil.copyfile(base.path / name, run.path / name)
    centers = config.CentersConfig(bits=bits, min_distance=str(d), seed=hasher.seed)
    for _ in stages.optimize_centers(run, images, centers):
        pass
    for _ in stages.train_hasher(run, images, hasher):
        pass
    artifact, _ = stages.load_centers(run, images)
    codes = artifact["codes"].astype(np.float64)
    found = stages.evaluate(run, images)
    values = {
        "f": artifact.meta["extra"]["loss"],
        "bound": max(bounds.lower_bound(S, bits, e) for e in (0, d)),  # what holds without a distance holds with one
        "spearman": similarity.spearman_upper(S, codes @ codes.T),
        "val mAP@ALL": run.load("hasher").meta["extra"]["best_val"],
        "mAP@ALL": found["mAP@ALL"],
    }
    if "super_mAP@ALL" in found:
        values["super_mAP@ALL"] = found["super_mAP@ALL"]
    if "query_seen" in images.splits:
        values["mAP@ALL seen"] = stages.evaluate(run, images, queries="query_seen")["mAP@ALL"]
    return {name: round(float(value), 5) for name, value in values.items()}


def summary(rows: list[dict], options: argparse.Namespace, images) -> list[dict]:
    """Per code length and distance: means over seeds, and mAP less that at the rule's d, with its interval."""
    lines = []
    drawings = images.groups["drawing"][images.splits["query"]].numpy() if "drawing" in images.groups else None
    for bits in options.bits:
        rule, _ = constructions.centers_at_distance(bits, len(images.train_classes), "rule")
        known: dict[int, dict[int, np.ndarray]] = {}
        for row in rows:
            if row["bits"] == bits and row["seed"] in options.seeds:
                run = folder_of(runs.Run(f"{options.runs}-{options.data}-s{row['seed']}"), bits, row["d"])
                if run.file("codes").exists():  # a record may come without its folders
                    value = stages.evaluate(run, images)["per_query"]["mAP@ALL"]
                    known.setdefault(row["d"], {})[row["seed"]] = value
        for d, values in sorted(known.items()):
            mine = [row for row in rows if row["bits"] == bits and row["d"] == d and row["seed"] in values]
            names = [name for name in mine[0] if name not in ("bits", "d", "seed", "seconds", "date")]
            line = dict(bits=bits, d=d, rule=d == rule, seeds=sorted(values))
            line |= {name: round(float(np.mean([row[name] for row in mine])), 5) for name in names}
            both = sorted(values.keys() & known.get(rule, {}).keys())
            if both and d != rule:
                gap = np.mean([values[seed] - known[rule][seed] for seed in both], axis=0)
                line["mAP less the rule's"] = round(float(gap.mean()), 5)
                if drawings is not None:
                    line["interval"] = [round(x, 5) for x in bootstrap_interval(gap, drawings, seed=0)]
            lines.append(line)
    return lines


def read_record(file: str, settings: dict) -> dict:
    """The record of an earlier start with the same settings, or an empty one."""
    if file and Path(file).exists():
        record = json.loads(Path(file).read_text(encoding="utf-8"))
        if record["settings"] == settings:
            return record
        raise SystemExit(f"{file} was made with {record['settings']}, asked are {settings}; choose another --record")
    return dict(settings=settings, rows=[])


def write_record(file: str, record: dict) -> None:
    """Write the record, whole or not at all."""
    if file:
        text = json.dumps(record | {"date": runs.today()}, indent=1, ensure_ascii=False) + "\n"
        runs.atomic_write(Path(file), lambda target: target.write_text(text, encoding="utf-8"))


def device() -> str:
    """What the hashers are trained on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {platform.machine()}, 2 threads"


if __name__ == "__main__":
    main()
