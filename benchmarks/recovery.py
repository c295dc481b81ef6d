"""Does S recover the truth? On `shapes` the exact class similarity is known; the classifier never saw it.

    python benchmarks/recovery.py            # about 3 minutes on 2 CPU cores

Prints Spearman's correlation of S with the exact similarity, and how often a pair of the same super-class outranks
another pair (AUC), for both masks.
"""

import argparse
import json
import platform
from pathlib import Path

from shc import config, runs, similarity, stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=config.ClassifierConfig().epochs)
    parser.add_argument("--run", default="runs/recovery")
    parser.add_argument(
        "--record", default="benchmarks/recovery.json", help="where to write the record; '' for nowhere"
    )
    options = parser.parse_args()
    run = runs.Run(options.run)
    images = stages.start(run, config.Data(data="shapes", scale=options.scale))
    for record in stages.train_classifier(
        run, images, config.ClassifierConfig(seed=options.seed, epochs=options.epochs)
    ):
        if record["val"] is not None:
            print(f"epoch {record['epoch']}: val top-1 {record['val']:.3f}, {record['seconds']:.0f} s", flush=True)
    statistics = run.load("statistics")
    truth, groups = images.class_similarity, images.hierarchy.group_ids()
    found = {}
    for mask in ("predicted", "true"):
        S = similarity.class_similarity(statistics["logits"], statistics["labels"], mask=mask)
        found[mask] = {
            "spearman": round(float(similarity.spearman_upper(S, truth)), 4),
            "auc": round(float(similarity.same_group_auc(S, groups)), 4),
            "mean_square": round(float(similarity.off_diagonal_mean_square(S)), 4),
        }
        print(f"mask={mask}: " + ", ".join(f"{name} {value:.3f}" for name, value in found[mask].items()))
    top1 = {split: round(value, 4) for split, value in stages.accuracies(run, images).items()}
    print("top-1", top1)
    if options.record:
        record = dict(
            data="shapes", scale=options.scale, epochs=options.epochs, seed=options.seed, top1=top1, recovery=found,
            fingerprint=images.fingerprint, device=f"CPU, {platform.machine()}, 2 threads",
            versions=runs.library_versions(), date=runs.today(),
        )  # fmt: skip
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
