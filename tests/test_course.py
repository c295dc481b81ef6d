"""What the notebooks have in common is what tools/write_course.py writes; the glossary leads to where a term is met."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

from shc.pipeline import SEQUENCE, parsed

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
spec = importlib.util.spec_from_file_location("write_course", ROOT / "tools" / "write_course.py")
course = importlib.util.module_from_spec(spec)
spec.loader.exec_module(course)
KNOWN = {"00_one": "0 · One", "01_two": "1 · Two", "02_three": "2 · Three"}
WANTED = "semantic-hash-centers[notebooks]"


def load(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def text(cell):
    return "".join(cell["source"])


def cell(kind, source, *tags):
    outputs = {"outputs": ["kept"], "execution_count": 3} if kind == "code" else {}
    return {"cell_type": kind, "id": source[:4], "metadata": {"tags": list(tags)}, "source": [source], **outputs}


@pytest.fixture
def book():
    cells = [
        cell("markdown", "# 1 · Two\n\nYou will"), cell("code", "bits: int = 8", "parameters"),
        cell("code", "bits + 1"), cell("markdown", "## Exercises\n\n1. Look."),
    ]  # fmt: skip
    return {"cells": cells, "metadata": {}}


@pytest.mark.parametrize("name", [*SEQUENCE, course.CONTENTS])
def test_the_notebooks_are_as_the_script_writes_them(name):
    assert load(name) == course.written()[name], "run tools/write_course.py"


def test_a_bar_leads_to_both_neighbors_and_the_contents():
    contents = "[Contents and glossary](contents.ipynb)"
    assert course.bar("00_one", KNOWN) == f"{contents} | [1 · Two](01_two.ipynb) →"
    assert course.bar("01_two", KNOWN) == f"← [0 · One](00_one.ipynb) | {contents} | [2 · Three](02_three.ipynb) →"
    assert course.bar("02_three", KNOWN) == f"← [1 · Two](01_two.ipynb) | {contents}"


def test_bars_and_the_install_cell_are_written_once(book):
    once = course.with_course(book, "01_two", KNOWN, WANTED)
    assert course.with_course(once, "01_two", KNOWN, WANTED) == once
    first, parameters, install, body, last = once["cells"]
    bar = course.bar("01_two", KNOWN)
    assert text(first) == f"# 1 · Two\n\nYou will\n\n{bar}" and text(last) == f"## Exercises\n\n1. Look.\n\n{bar}"
    assert (parameters, body) == tuple(book["cells"][1:3])  # outputs too
    assert install["metadata"]["tags"] == ["install"] and install["outputs"] == []
    renamed = course.with_course(once, "01_two", KNOWN | {"02_three": "2 · Drei"}, WANTED)
    assert "Drei" in text(renamed["cells"][0]) and "Three" not in text(renamed["cells"][0])


def test_what_the_install_cell_printed_stays(book):
    once = course.with_course(book, "01_two", KNOWN, WANTED)
    once["cells"][2] |= {"execution_count": 2}
    assert course.with_course(once, "01_two", KNOWN, WANTED) == once


def test_a_notebook_that_ends_with_code_has_no_place_for_a_bar(book):
    del book["cells"][-1]
    with pytest.raises(ValueError, match="01_two ends with a code cell"):
        course.with_course(book, "01_two", KNOWN, WANTED)


@pytest.mark.parametrize("there", [True, False])
def test_the_package_is_installed_only_if_it_is_missing(monkeypatch, there):
    source = course.INSTALL_LINES.format(WANTED)
    parsed(source)  # what looks for the modules that a notebook uses can read it
    asked = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append((command[1:], check)))
    exec(source, {})
    assert asked == ([] if there else [(["-m", "pip", "install", "-q", WANTED], True)])


def test_colab_is_offered_once_the_project_names_its_repository(tmp_path, book):
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "a-package"\n')
    assert course.project(tmp_path) == ("a-package[notebooks]", "")
    file.write_text('[project]\nname = "a-package"\n[project.urls]\nRepository = "https://codeberg.org/me/mine"\n')
    assert course.project(tmp_path) == ("a-package[notebooks]", "")
    file.write_text('[project]\nname = "a-package"\n[project.urls]\nRepository = "https://github.com/me/mine.git"\n')
    wanted, repository = course.project(tmp_path)
    assert (wanted, repository) == ("a-package[notebooks] @ git+https://github.com/me/mine", "me/mine")
    cells = course.with_course(book, "01_two", KNOWN, wanted, repository)["cells"]
    place = "https://colab.research.google.com/github/me/mine/blob/main/notebooks/01_two.ipynb"
    assert text(cells[0]).endswith(f" | [open in Colab]({place})") and "Colab" not in text(cells[-1])
    assert "git+https://github.com/me/mine" in text(cells[2])
    again = course.with_course({"cells": cells}, "01_two", KNOWN, WANTED)["cells"]
    assert text(again[0]) == f"# 1 · Two\n\nYou will\n\n{course.bar('01_two', KNOWN)}"


def test_the_contents_name_every_notebook():
    table = next(text(c) for c in load(course.CONTENTS)["cells"] if course.TABLE in c["metadata"].get("tags", []))
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [re.search(r"\((.*)\.ipynb\)", row[0])[1] for row in rows] == list(SEQUENCE)
    assert all(len(row) == 3 and len(row[1]) > 20 for row in rows)


def entries():
    cells = load(course.CONTENTS)["cells"]
    return [line for c in cells for line in text(c).splitlines() if line.startswith("- **")]


@pytest.mark.parametrize("entry", entries())
def test_a_term_of_the_glossary_is_met_where_its_entry_leads(entry):
    terms, links = re.findall(r"\*\*(.+?)\*\*", entry.split(": ")[0]), re.findall(r"\]\((\w+)\.ipynb\)", entry)
    assert terms and links and set(links) <= set(SEQUENCE)
    for name in links:
        cells = " ".join(" ".join(text(c).split()) for c in load(name)["cells"]).casefold().replace("≤", "<=")
        wanted = [term.casefold().replace("≤", "<=").removesuffix("@k") for term in terms]
        assert any(term in cells for term in wanted), f"{name} does not mention {' or '.join(terms)}"


def test_the_glossary_is_one_page_of_short_entries():
    words = [len(re.sub(r"\(\[.*", "", entry).split()) for entry in entries()]
    assert 30 <= len(words) <= 45 and max(words) <= 50


def test_every_link_between_notebooks_leads_to_one():
    for file in FOLDER.glob("*.ipynb"):
        links = re.findall(r"\]\(([^)\s]+\.ipynb)\)", " ".join(text(c) for c in load(file.stem)["cells"]))
        assert all("://" in link or (FOLDER / link).exists() for link in links), file.name
