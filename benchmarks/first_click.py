"""From JupyterLab's start to the first answer to a click of one's own: notebooks 01 to 05 in a browser, in quick mode.

    python benchmarks/first_click.py        # a few minutes; needs Chromium

What a reader does after `make lab`, without the reading: open notebook after notebook with the values of `--quick`,
run all its cells, click on a query in notebook 05 and see its neighbors. The installation is not counted.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from shc import parameters, pipeline, runs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from lab import Lab  # noqa: E402  the browser tests' own

NOTEBOOKS = ("01_classifier", "02_class_similarity", "03_hash_centers", "04_hashing_network", "05_retrieval")


def measure(folder: Path) -> dict[str, float]:
    """Seconds that JupyterLab takes to start, each notebook until it is idle again, and the click."""
    seconds, began = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[name], began = round(now - began, 1), now
        print(f"{name}: {seconds[name]} s", flush=True)

    with Lab(folder, seconds=600) as lab:
        lap("JupyterLab")
        for name in NOTEBOOKS:
            notebook = ROOT / "notebooks" / f"{name}.ipynb"
            known = parameters.parameters_of(json.loads(notebook.read_text(encoding="utf-8")))
            lab.copy(notebook, run=str(folder / "run"), **{k: v for k, v in pipeline.QUICK.items() if k in known})
            page = lab.open(f"{name}.ipynb")
            lab.run_all()
            lap(name)
        explorer = page.locator(".shc-explorer")
        before = int(explorer.get_attribute("data-answers") or 0)
        explorer.locator(".sheet [role=option]").nth(3).click()
        page.wait_for_function(f"+document.querySelector('.shc-explorer').dataset.answers > {before}")
        lap("click")
        assert not lab.errors and not lab.outside, (lab.errors, lab.outside)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--record", default="benchmarks/first_click.json", help="where to write; '' for nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder))
    minutes = round(sum(seconds.values()) / 60, 1)
    print(f"{minutes} minutes")
    record = dict(
        minutes=minutes, seconds=seconds, quick=pipeline.QUICK, processor=runs.processor(), cores=os.cpu_count(),
        versions=runs.library_versions(), date=runs.today(),
    )  # fmt: skip
    if options.record:
        Path(options.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
