"""A run as web pages that open offline: every notebook rendered, and a front page with its numbers and pictures.

The front page follows the notebooks: what was found, the numbers, retrieved images, the notebooks with their key
numbers, every picture under the notebook that drew it, and how it was made. `shc.report_page` knows how pages are made.
"""

import base64
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from shc.figures import DPI
from shc.pipeline import SEQUENCE, headline, notebooks_folder, read_notebook
from shc.report_page import CREDIT, GLOSSARY, page, parsed, render, saves, tidied, title_of
from shc.runs import Run, RunError, atomic_write

HERO = "05_retrieval"  # the picture that opens the front page
KEY = "what each notebook is for, and what the words mean"


def write_report(run: Run) -> Path:
    """Render the run's notebooks and write its index.html; returns the index's path.

    Raises RunError if the run has no executed notebook, if another process works in its folder, or if nbconvert is not
    installed.
    """
    folder = run.path / "notebooks"
    executed = [name for name in SEQUENCE if (folder / f"{name}.ipynb").exists()]
    if not executed:
        raise RunError(f"{run.path} has no executed notebooks; make them with `shc run --name {run.path.name}`")
    notebooks = {name: read_notebook(folder / f"{name}.ipynb") for name in executed}
    glossary = notebooks_folder() / f"{GLOSSARY}.ipynb"
    if glossary.exists():  # nothing in it is executed, so the run lacks it
        notebooks[GLOSSARY] = read_notebook(glossary)
    titles = {name: title_of(notebook, name) for name, notebook in notebooks.items()}
    with run.alone():
        front = index(run, notebooks)  # before anything is written: it may find the run damaged
        if GLOSSARY in notebooks:
            atomic_write(folder / glossary.name, lambda f: f.write_bytes(glossary.read_bytes()))
        for name in notebooks:
            text = render(folder / f"{name}.ipynb", titles)
            atomic_write(folder / f"{name}.html", lambda f, text=text: f.write_text(text, encoding="utf-8"))  # type: ignore[misc]
        atomic_write(run.path / "index.html", lambda f: f.write_text(front, encoding="utf-8"))
    return run.path / "index.html"


def index(run: Run, notebooks: Mapping[str, Mapping[str, Any]]) -> str:
    """The run's front page; `notebooks` are the executed ones, in order, by name."""
    results, name = run.results(), escape(run.path.name)
    figures = {file.stem: file for file in sorted((run.path / "figures").glob("*.png")) if not file.is_symlink()}
    titles = {name: title_of(notebook, name) for name, notebook in notebooks.items()}
    hero = [figure(file, notebooks) for picture, file in figures.items() if picture == HERO]
    rest = [file for picture, file in figures.items() if picture != HERO]
    about = "One run of the course: its numbers, its notebooks as they were executed, and all its pictures."
    parts = [f'<h1>Semantic hash centers <span class="soft">{name}</span></h1><p>{about}</p>']
    if summary := results.get("summary"):
        parts.append(f'<p class="lead">{escape(summary)}</p>')
    parts += [*numbers(results.get("table", [])), *hero, '<h2 id="notebooks">Notebooks</h2><ol class="contents">']
    for notebook, title in sorted(titles.items(), key=lambda item: item[0] != GLOSSARY):
        parts.append(
            f'<li><a href="notebooks/{notebook}.html">{escape(title)}</a>'
            f'<span class="key">{escape(KEY if notebook == GLOSSARY else headline(run, notebook))}</span>'
            f'<a class="soft" href="notebooks/{notebook}.ipynb" aria-label="{escape(title)}, ipynb">ipynb</a></li>'
        )
    parts.append("</ol>")
    if rest:
        parts.append('<h2 id="pictures">Pictures</h2>')
    for notebook, title in [*titles.items(), ("", "More")]:
        mine = [file for file in rest if drawn_by(file.stem, notebooks) == notebook]
        if mine:
            shown = "".join(figure(file, notebooks) for file in mine)
            parts.append(f"<h3>{escape(title)}</h3>{shown}")
    parts += how_it_was_made(run.parameters(), results.get("made_with", {}))
    body = tidied(parsed("".join(parts)))
    return page(
        f"{run.path.name} – semantic hash centers",
        '<a class="skip" href="#notebooks">Skip to the notebooks</a><header><nav aria-label="On this page">'
        '<span class="soft">Semantic hash centers</span><a href="#notebooks">Notebooks</a>'
        + ('<a href="#pictures">Pictures</a>' if rest else "")
        + f'<a href="#made">How it was made</a></nav></header><main>{body}</main>',
    )


def numbers(table: list[list[Any]]) -> list[str]:
    """A results table, its first row the heads, as HTML."""
    if not table:
        return []
    head, *rows = ([escape(told(value)) for value in row] for row in table)
    body = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in rows)
    heads = "".join(f'<th scope="col">{value}</th>' for value in head)
    return [f"<h2>Numbers</h2><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"]


def told(value: Any) -> str:
    """A value as a table shows it.

    >>> [told(value) for value in (0.41234, 0.00004, float("nan"), -float("inf"), None, True, 45000, "seen")]
    ['0.412', '4.0e-05', '–', '−∞', '–', 'yes', '45,000', 'seen']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}".replace("-", "−")
    return str(value)


def drawn_by(picture: str, notebooks: Mapping[str, Mapping[str, Any]]) -> str:
    """The notebook whose number a picture's name begins with, or an empty name."""
    return next((name for name in notebooks if name.split("_")[0] == picture.split("_")[0]), "")


def width_on_screen(file: Path) -> int:
    """Pixels that a PNG takes on a page: larger or smaller, the words in it would differ from picture to picture."""
    try:
        with Image.open(file, "r", ("PNG",)) as picture:
            dpi, _ = picture.info.get("dpi", (DPI, DPI))
            return round(picture.width * DPI / (dpi or DPI))
    except Exception as error:  # Pillow raises whatever it comes across
        raise RunError(f"{file} is no PNG ({type(error).__name__}); delete it, then repeat `shc report`") from error


def figure(file: Path, notebooks: Mapping[str, Mapping[str, Any]]) -> str:
    """A picture of the run, with a caption that leads to the cell that drew it."""
    alt = file.with_suffix(".txt")
    for part in (file, alt):
        if part.exists() and not part.is_file():  # a pipe would never end
            raise RunError(f"{part} is not a plain file; delete it, then repeat `shc report`")
    text = escape(
        (alt.read_text(encoding="utf-8", errors="replace") if alt.exists() and not alt.is_symlink() else "").strip()
        or file.stem.replace("_", " ")
    )
    source, link = base64.b64encode(file.read_bytes()).decode(), ""
    if name := drawn_by(file.stem, notebooks):
        cell = f"#{quote(file.stem)}" if any(saves(cell, file.stem) for cell in notebooks[name]["cells"]) else ""
        title = escape(title_of(notebooks[name], name))
        link = f' <a href="notebooks/{name}.html{cell}" aria-label="the cell in {title}">→ its cell</a>'
    width = f"width:calc({width_on_screen(file)}px + 1rem + 2px)"  # with the padding and border of its card
    picture = f'<img alt="{text}" src="data:image/png;base64,{source}" style="{width}">'
    return f'<figure class="told">{picture}<figcaption>{text}{link}</figcaption></figure>'


def how_it_was_made(parameters: Mapping[str, Mapping[str, Any]], made_with: Mapping[str, Any]) -> list[str]:
    """Parameters of every step, machine and versions, and whose drawings are shown."""
    rows = []
    for step, values in parameters.items():
        value = "\u00a0· ".join(f"{k} {v}" for k, v in values.items() if v != "")
        rows.append(f'<tr><td>{escape(step)}</td><td class="soft">{escape(value)}</td></tr>')
    made = "\u00a0· ".join(f"{key} {value}" for key, value in made_with.items())
    credit = [f'<p class="soft">{escape(CREDIT)}</p>'] if parameters.get("data", {}).get("data") == "emoji" else []
    return [
        f'<h2 id="made">How it was made</h2><table><tbody>{"".join(rows)}</tbody></table>',
        f'<p class="soft">{escape(made)}</p>', *credit,
    ]  # fmt: skip
