"""A run as web pages that open offline: every notebook rendered, and one index with the pictures and the numbers."""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from shc.pipeline import SEQUENCE, headline, read_notebook
from shc.runs import Run, RunError, atomic_write

CREDIT = (
    "Drawings: Noto Emoji and FxEmojis (Apache-2.0), Twemoji and EmojiOne (CC-BY-4.0), OpenMoji and EmojiOne 1 "
    "(CC-BY-SA-4.0), Fluent Emoji (MIT); rasterised, then rendered with random backgrounds."
)
STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: .2rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
table { border-collapse: collapse } td, th { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(27rem, 1fr)); gap: 1.5rem }
figure { margin: 0 } figure img { max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 4px }
figure.wide { grid-column: 1 / -1 } figcaption, .small { font-size: .85rem; opacity: .8 }
@media (max-width: 30rem) { .gallery { grid-template-columns: 1fr } }
"""


def write_report(run: Run) -> Path:
    """Render the run's notebooks and write its index.html; returns the index's path.

    Raises RunError if the run has no executed notebook or nbconvert is not installed.
    """
    folder = run.path / "notebooks"
    executed = [name for name in SEQUENCE if (folder / f"{name}.ipynb").exists()]
    if not executed:
        raise RunError(f"{run.path} has no executed notebooks; make them with `shc run --name {run.path.name}`")
    for name in executed:
        page = render(folder / f"{name}.ipynb")
        atomic_write(folder / f"{name}.html", lambda f, text=page: f.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    page = index(run, executed)
    atomic_write(run.path / "index.html", lambda f: f.write_text(page, encoding="utf-8"))
    return run.path / "index.html"


def render(file: Path) -> str:
    """One notebook as a self-contained HTML page: pictures embedded with their alternative text, no outside request."""
    try:
        import nbformat
        from nbconvert import HTMLExporter
        from traitlets.config import Config
    except ImportError as error:
        raise RunError(
            "the report needs the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'"
        ) from error
    exporter = HTMLExporter(config=Config({"HTMLExporter": dict(
        embed_images=True, mathjax_url="", require_js_url="", jquery_url="", widget_renderer_url="", mermaid_js_url="",
    )}))  # fmt: skip
    notebook = nbformat.reads(json.dumps(read_notebook(file)), as_version=4)
    notebook.metadata.pop("widgets", None)  # static twins stand beside the widgets
    notebook.metadata["title"] = file.stem
    page, _ = exporter.from_notebook_node(notebook)
    page = re.sub(r'<script[^>]*src="[^"]*"[^>]*>\s*</script>', "", page)
    page = re.sub(r"<script[^>]*type=\"module\"[^>]*>.*?</script>", "", page, flags=re.DOTALL)  # mermaid, from the web
    texts = iter(alternative_texts(notebook))
    return re.sub(
        r'(jp-RenderedImage[^>]*>\s*<img )alt="No description has been provided for this image"',
        lambda match: f'{match[1]}alt="{html.escape(next(texts, "figure"), quote=True)}"',
        page,
    )


def alternative_texts(notebook: Any) -> list[str]:
    """The alternative text of every output that nbconvert shows as a picture, in order."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data and not {"text/html", "text/markdown", "image/svg+xml"} & data.keys():
                found.append(output.get("metadata", {}).get("image/png", {}).get("alt") or "figure")
    return found


def index(run: Run, executed: list[str]) -> str:
    """The run's front page."""
    results = run.results()
    parts = [f"<h1>{html.escape(run.path.name)}</h1>", f"<p>{html.escape(results.get('summary', ''))}</p>"]
    table = results.get("table", [])
    if table:
        head, *rows = table
        titles = "".join(f"<th>{html.escape(str(title))}</th>" for title in head)
        parts.append(f"<h2>Retrieval</h2><table><tr>{titles}</tr>")
        for row in rows:
            cells = (
                f"<td class='number'>{cell:.3f}</td>"
                if isinstance(cell, float)
                else f"<td>{html.escape(str(cell))}</td>"
                for cell in row
            )
            parts.append(f"<tr>{''.join(cells)}</tr>")
        parts.append("</table>")
    parts.append("<h2>Notebooks</h2><table>")
    for name in executed:
        parts.append(
            f"<tr><td><a href='notebooks/{name}.html'>{name}</a></td><td>{html.escape(headline(run, name))}</td>"
            f"<td class='small'><a href='notebooks/{name}.ipynb'>ipynb</a></td></tr>"
        )
    parts.append("</table><h2>Pictures</h2><div class='gallery'>")
    for picture in sorted((run.path / "figures").glob("*.png")):
        alt = picture.with_suffix(".txt")
        text = html.escape(alt.read_text(encoding="utf-8") if alt.exists() else picture.stem, quote=True)
        data = picture.read_bytes()
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        wide = " class='wide'" if width > 1.9 * height else ""
        source = base64.b64encode(data).decode()
        parts.append(
            f"<figure{wide}><img alt='{text}' src='data:image/png;base64,{source}'>"
            f"<figcaption>{text}</figcaption></figure>"
        )
    parts.append("</div><h2>How it was made</h2><table>")
    for step, values in run.parameters().items():
        told = ", ".join(f"{k}={v}" for k, v in values.items())
        parts.append(f"<tr><td>{html.escape(step)}</td><td class='small'>{html.escape(told)}</td></tr>")
    made = ", ".join(f"{k} {v}" for k, v in results.get("made_with", {}).items())
    parts.append(f"</table><p class='small'>{html.escape(made)}</p><p class='small'>{html.escape(CREDIT)}</p>")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
        f"content='width=device-width'><title>{html.escape(run.path.name)} – semantic hash centers</title>"
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )
