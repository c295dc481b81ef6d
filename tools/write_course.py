"""Write what the notebooks have in common: the bar of links, the cell that installs the package, and the contents.

    python tools/write_course.py

The order is that of `shc.pipeline.SEQUENCE`, a title is a notebook's first heading, minutes are those of the recorded
run. Only these cells change; outputs stay. A test computes it all again, so that a stale bar turns red.
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shc.pipeline import SEQUENCE, read_notebook  # noqa: E402

FOLDER = ROOT / "notebooks"
CONTENTS = "contents"  # markdown only: neither executed nor part of the sequence
CONTENTS_LINK = f"[Contents and glossary]({CONTENTS}.ipynb)"
INSTALL, TABLE = "install", "contents-table"  # tags of the cells that are written here
INSTALL_LINES = """\
import subprocess
import sys
from importlib.util import find_spec

if find_spec("shc") is None:  # in Colab, for instance: a minute or two
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "{}"], check=True)"""


def project(root: Path = ROOT) -> tuple[str, str]:
    """What pip is asked for, and the GitHub repository as `owner/name`, empty as long as pyproject.toml names none."""
    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = told.get("urls", {}).get("Repository", "").removesuffix("/").removesuffix(".git")
    package, host = f"{told['name']}[notebooks]", "https://github.com/"
    return (f"{package} @ git+{url}", url.removeprefix(host)) if url.startswith(host) else (package, "")


def titles(folder: Path = FOLDER) -> dict[str, str]:
    """The first heading of every notebook of the sequence, by name."""
    return {name: _text(read_notebook(folder / f"{name}.ipynb")["cells"][0]).split("\n")[0][2:] for name in SEQUENCE}


def bar(name: str, known: Mapping[str, str], repository: str = "") -> str:
    """Links to the notebook before, to the contents and to the next one; with a repository, also to Colab.

    The link to Colab is text: its usual picture would be fetched from outside by every page that shows a notebook.
    """
    order = list(known)
    at = order.index(name)
    links = [f"← [{known[before]}]({before}.ipynb)" for before in order[max(at - 1, 0) : at]]
    links += [CONTENTS_LINK, *(f"[{known[after]}]({after}.ipynb) →" for after in order[at + 1 : at + 2])]
    if repository:
        place = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb"
        links.append(f"[open in Colab]({place})")
    return " | ".join(links)


def with_course(book: dict[str, Any], name: str, known: Mapping[str, str], wanted: str, repository: str = "") -> dict:
    """The notebook with its bars and its install cell, which stands after the parameters."""
    first, parameters, *rest = book["cells"]
    old = [cell for cell in rest if _tagged(cell, INSTALL)]
    rest = [cell for cell in rest if not _tagged(cell, INSTALL)]
    if rest[-1]["cell_type"] != "markdown":
        raise ValueError(f"{name} ends with a code cell; end it with text that can hold the bar")
    install = _with_text(old[0] if old else _new_install(), INSTALL_LINES.format(wanted))
    first = _with_text(first, f"{_without_bar(first)}\n\n{bar(name, known, repository)}")
    last = _with_text(rest[-1], f"{_without_bar(rest[-1])}\n\n{bar(name, known)}")
    return book | {"cells": [first, parameters, install, *rest[:-1], last]}


def with_table(book: dict[str, Any], known: Mapping[str, str], seconds: Mapping[str, float]) -> dict[str, Any]:
    """The contents with a table of the notebooks: what each is for, and how long the recorded run took."""
    lines = ["| notebook | you will | minutes |", "|---|---|---|"]
    for name, title in known.items():
        asked = _asked(_text(read_notebook(FOLDER / f"{name}.ipynb")["cells"][0]))
        minutes = f"{seconds[name] / 60:.0f}" if seconds.get(name, 0) >= 30 else "< 1" if name in seconds else "–"
        lines.append(f"| [{title}]({name}.ipynb) | {asked} | {minutes} |")
    cells = [_with_text(c, "\n".join(lines)) if _tagged(c, TABLE) else c for c in book["cells"]]
    return book | {"cells": cells}


def written(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Every notebook by name, as it should be."""
    known, (wanted, repository) = titles(folder), project()
    books = {
        name: with_course(read_notebook(folder / f"{name}.ipynb"), name, known, wanted, repository) for name in SEQUENCE
    }
    record = json.loads((ROOT / "benchmarks" / "quickstart.json").read_text(encoding="utf-8"))
    contents = read_notebook(folder / f"{CONTENTS}.ipynb")
    return books | {CONTENTS: with_table(contents, known, record["results"].get("seconds", {}))}


def main() -> int:
    """Write the notebooks that change; returns the exit status."""
    for name, book in written().items():
        file = FOLDER / f"{name}.ipynb"
        text = json.dumps(book, indent=1, ensure_ascii=False) + "\n"
        if text != file.read_text(encoding="utf-8"):
            file.write_text(text, encoding="utf-8")
            print(f"{file.name} written")
    return 0


def _asked(text: str) -> str:
    """What a first cell says that the reader will do: its list, else its first paragraph."""
    items, item = [], None
    for line in text.split("\n"):
        if line.startswith("- "):
            items.append(item := [line[2:]])
        elif item is not None and line.startswith("  "):
            item.append(line.strip())
        else:
            item = None
    paragraph = text.split("\n\n")[1].replace("\n", " ")
    return "<br>".join(" ".join(lines) for lines in items) or paragraph


def _without_bar(cell: dict[str, Any]) -> str:
    """A cell's text without the paragraph that links to the contents."""
    head, _, tail = _text(cell).rstrip().rpartition("\n\n")
    return head if CONTENTS_LINK in tail else _text(cell).rstrip()


def _new_install() -> dict[str, Any]:
    return {
        "cell_type": "code", "execution_count": None, "id": INSTALL, "metadata": {"tags": [INSTALL]}, "outputs": [],
        "source": [],
    }  # fmt: skip


def _text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _with_text(cell: dict[str, Any], text: str) -> dict[str, Any]:
    return cell if _text(cell) == text else cell | {"source": text.splitlines(keepends=True)}


def _tagged(cell: dict[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


if __name__ == "__main__":
    sys.exit(main())
