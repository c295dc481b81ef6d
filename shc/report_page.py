"""Pages of a run that open offline: the shell around every page, and one executed notebook as such a page.

Style and script stand in the page. Its content policy allows pictures that are part of it and this one script, so
nothing is fetched and nothing else runs, whatever an output contains. TeX in markdown is shown as it was written.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shc.pipeline import read_notebook
from shc.runs import RunError

CREDIT = (
    "Drawings: Noto Emoji and FxEmojis (Apache-2.0), Twemoji and EmojiOne (CC-BY-4.0), OpenMoji and EmojiOne 1 "
    "(CC-BY-SA-4.0), Fluent Emoji (MIT); rasterised, then rendered with random backgrounds."
)
GLOSSARY = "contents"  # the notebook that every other one links to
MISSING = ("NaN", "nan", "None", "NaT", "<NA>", "–")  # how pandas and numpy print that there is no value
NUMBER = re.compile(r"[+−-]?(\d[\d,]*\.?\d*|\.\d+|inf|∞)(e[+-]?\d+)?( ?%)?( ± [\d.]+)?", re.IGNORECASE)
KINDS = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain")  # shown, best first
ACTIVE = "script, link, iframe, frame, object, embed, base, meta, form, noscript, template"
ACTIVE += ", style[scoped], a.anchor-link"
LONGEST_TEXT = 20_000  # characters of Markdown in a cell; its parser takes time by the square of the length
LONGEST_NUMBER = 60  # characters; NUMBER takes time by the square of the length
MOST_DEPTH = 200  # of elements inside each other, whose tables would take time by the square of the depth
MOST_CELLS = 1_000_000  # rows times columns of a table that is made to read well


def page(title: str, body: str) -> str:
    """A whole page: `body` is HTML with header, main and footer, `title` plain text."""
    style, script = data_file("report.css"), data_file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
    policy += "form-action 'none'; base-uri 'none'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n"
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def data_file(name: str) -> str:
    """Text of a file in the package's data folder."""
    return files("shc").joinpath("data", name).read_text(encoding="utf-8")


def title_of(notebook: Mapping[str, Any], otherwise: str) -> str:
    """A notebook's first heading, without its mark-up."""
    for cell in notebook["cells"]:
        found = re.search(r"^# +(.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and found:
            return re.sub(r"[*`]", "", found[1]).strip()
    return otherwise


def saves(cell: Mapping[str, Any], picture: str) -> bool:
    """Whether a cell names this picture of the run, which is how it is saved."""
    return cell["cell_type"] == "code" and f'"{picture}"' in "".join(cell["source"])


def render(file: Path, titles: Mapping[str, str] | None = None) -> str:
    """An executed notebook of a run as a page of its own, pictures embedded with their alternative texts.

    `titles` are those of all notebooks that get a page, in order: the page links to the ones before and after it, and
    links in its text lead to pages. Raises RunError if the file is damaged or nbconvert is not installed.
    """
    notebook = read_notebook(file)
    titles = titles or {file.stem: title_of(notebook, file.stem)}
    soup = parsed(exported(notebook, [picture.stem for picture in (file.parent.parent / "figures").glob("*.png")]))
    disarm(soup)
    for picture in soup.select("img:not([src^='data:'])"):  # on the web, or not part of the run
        picture.replace_with(picture.get("alt") or "")
    for link in soup.select('p > a[href="contents.ipynb"]'):
        drop_bar(link.parent)
    for link in soup.select("a[href]"):
        lead_to_page(link, file.parent, titles)
    drawn = any("load(" + '"emoji"' in "".join(cell["source"]) for cell in notebook["cells"])
    credit = f'<p class="soft">{html.escape(CREDIT)}</p>' if drawn else ""
    around = neighbors(file.stem, titles)
    return page(
        f"{titles.get(file.stem, file.stem)} – {file.parent.parent.name}",
        f'<a class="skip" href="#main">Skip to the notebook</a><header>{around}</header>'
        f'<main id="main">{tidied(soup)}</main>'
        f"<footer>{around.replace('Notebooks', 'Notebooks, again')}{credit}</footer>",
    )


def disarm(soup: Any) -> None:
    """Drop what acts, and what a browser may read in another way than the parser: there an element could hide."""
    from bs4.element import PreformattedString, Stylesheet

    for element in soup.select(ACTIVE):
        element.decompose()
    for text in list(soup.find_all(string=True)):
        if isinstance(text, PreformattedString):  # comments, declarations: where they end is told in many ways
            text.extract()
        elif isinstance(text, Stylesheet) and "<" in text:  # inside of SVG a browser reads elements there
            text.replace_with("")


def exported(notebook: Mapping[str, Any], pictures: list[str]) -> str:
    """The cells as HTML; the first cell that saves one of `pictures` is marked with its name."""
    try:
        import nbformat
        from nbconvert import HTMLExporter
        from traitlets.config import Config
    except ImportError as error:
        raise RunError(
            "the report needs the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'"
        ) from error
    book = nbformat.reads(json.dumps(notebook), as_version=4)
    book.metadata.pop("widgets", None)  # static twins stand beside the widgets
    waiting = set(pictures)
    for number, cell in enumerate(book.cells, 1):
        outputs = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
        texts = [*outputs, *([cell.source] if cell.cell_type == "markdown" else [])]
        if any(len("".join(text)) > LONGEST_TEXT for text in texts):
            raise RunError(f"cell {number} has Markdown of more than {LONGEST_TEXT:,} characters; shorten it")
        cell.metadata["pictures"] = sorted(picture for picture in waiting if saves(cell, picture))
        waiting -= set(cell.metadata["pictures"])
    settings = Config({"NbConvertBase": {"display_data_priority": list(KINDS)}})
    return HTMLExporter(config=settings, raw_template=data_file("notebook.html.j2")).from_notebook_node(book)[0]


def neighbors(name: str, titles: Mapping[str, str]) -> str:
    """Links to the notebook before, the front page and the notebook after."""
    names = list(titles)
    at = names.index(name)
    before = [notebook_link(n, "prev", "← <span>{}</span>", titles[n]) for n in names[max(at - 1, 0) : at]]
    after = [notebook_link(n, "next", "<span>{}</span> →", titles[n]) for n in names[at + 1 : at + 2]]
    contents = '<a href="../index.html">Contents</a>'
    if GLOSSARY in names and name != GLOSSARY:
        contents += f'<a href="{GLOSSARY}.html">Glossary</a>'
    return f'<nav aria-label="Notebooks">{"".join([*before, contents, *after])}</nav>'


def drop_bar(paragraph: Any) -> None:
    """Drop a paragraph that holds nothing but links between notebooks: the page has its own."""
    own = "".join(text for text in paragraph.find_all(string=True) if text.parent.name != "a")
    if not own.strip("←→| \n") and len(paragraph.find_all("a")) > 1:
        paragraph.decompose()


def notebook_link(name: str, rel: str, text: str, title: str) -> str:
    """A link to the page of a neighbor; on small screens only the arrow in `text` is shown, `{}` is the title."""
    title = html.escape(title)
    return f'<a rel="{rel}" href="{name}.html" aria-label="{title}">{text.format(title)}</a>'


def lead_to_page(link: Any, folder: Path, titles: Mapping[str, str]) -> None:
    """Turn a link to a notebook into one to its page; a link to a file that the run does not hold becomes text."""
    address = urlsplit(link["href"])
    if address.scheme or address.netloc or not address.path:
        return
    name = unquote(address.path).removeprefix("./").removesuffix(".ipynb")
    if address.path.endswith(".ipynb") and name in titles:
        link["href"] = address._replace(path=f"{name}.html").geturl()
    elif not (folder / unquote(address.path)).exists():
        link.name, link.attrs = "span", {"title": "not part of this run"}


def parsed(text: str) -> Any:
    """Beautiful Soup's tree of some HTML; it comes with nbconvert. RunError if it is deep beyond all measure."""
    from bs4 import BeautifulSoup, Tag

    soup = BeautifulSoup(text, "html.parser")
    waiting: list[tuple[Tag, int]] = [(soup, 0)]
    while waiting:
        element, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise RunError(f"its HTML has elements inside each other more than {MOST_DEPTH} times; execute it again")
        waiting += [(child, depth + 1) for child in element.children if isinstance(child, Tag)]
    return soup


def tidied(soup: Any) -> str:
    """The HTML with its tables made to read well: one row of heads, numbers to the right, a dash for no value."""
    for table in soup.select("table"):
        if table.thead:
            join_heads(table.thead)
        heads, *rows = ([] if table.thead else [[]]) + [row.find_all(["td", "th"]) for row in table.select("tr")]
        columns = max(map(len, rows), default=0)
        for at in range(columns if columns * len(rows) <= MOST_CELLS else 0):
            column = [row[at] for row in rows if at < len(row)]
            gaps = [cell for cell in column if cell.get_text(strip=True) in MISSING]
            for cell in gaps:
                cell.string, cell["title"] = "–", "no value"
            texts = [cell.get_text(strip=True) for cell in column if cell not in gaps]
            if any(texts) and all(is_number(text) for text in texts if text):
                for cell in [*column, *heads[at : at + 1]]:
                    cell["class"] = "number"
        del table["border"]
        table.wrap(soup.new_tag("div", attrs={"class": "table"}))
    return str(soup)


def is_number(text: str) -> bool:
    """Whether a cell of a table holds a number.

    >>> [is_number(text) for text in ("1,024", "0.5 ± 0.1", "one", "1" * 100)]
    [True, True, False, False]
    """
    return len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) is not None


def join_heads(head: Any) -> None:
    """Pandas prints the index's name in a row of its own; move it up where the first row has room for it."""
    rows = [row.find_all("th") for row in head.select("tr")]
    for row in head.select("tr"):
        del row["style"]
    if len(rows) == 2 and len(rows[0]) == len(rows[1]):
        pairs = [(above, below, below.get_text(strip=True)) for above, below in zip(*rows, strict=True)]
        if not any(text and above.get_text(strip=True) for above, _, text in pairs):
            for above, _, text in pairs:
                above.string = above.get_text(strip=True) or text
            head.select("tr")[1].decompose()
