"""Write a run's outputs into the committed notebooks, cleaned, so that what a reader sees was made by this code.

Kept: text and PNG outputs. Removed: widget views and state, papermill's and the kernel's metadata, standard error,
injected parameters, local paths. The hash of the source and of the package's code is stored in the notebook; a test
recomputes it, so stale pictures turn red.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shc.center_history import unpack_history
from shc.film import centers_film
from shc.pipeline import SEQUENCE, notebooks_folder, read_notebook, source_hash
from shc.readme import numbers, own_pictures, results
from shc.runs import Run, RunError, atomic_write
from shc.scale_page import scale_numbers, search_numbers
from shc.untrusted import check_regular

THUMBNAILS = {  # notebook → the figure of the run that stands for it in the README
    "00_tour": "00_tour",
    "01_classifier": "01_confusion",
    "02_class_similarity": "02_similarity",
    "03_hash_centers": "03_film_strip",
    "04_hashing_network": "04_quantization",
    "05_retrieval": "05_retrieval",
    "06_center_structure": "06_tanglegram",
    "07_compare_methods": "07_methods",
    "08_your_own_images": "08_retrieval",
}
HERO = ("03_similarity_and_centers", "05_retrieval")
PARTS = {"numbers": numbers, "own pictures": own_pictures, "results": results}  # of the README, from the records
KEEP = ("image/png", "text/plain", "text/markdown", "text/html")
MOST_PIXELS = 20_000_000  # of a figure; eleven are held at a time
LARGEST = 1_200_000  # bytes of a committed notebook


def refresh(run: Run) -> list[str]:
    """Put the run's outputs into the committed notebooks, its numbers and pictures into the README; a line for each.

    Raises RunError if a notebook was not executed in this run, was changed since, or would become too large.
    """
    cleaned_texts = {}
    for name in SEQUENCE:
        file = notebooks_folder() / f"{name}.ipynb"
        committed = read_notebook(file)
        executed_file = run.path / "notebooks" / f"{name}.ipynb"
        if not executed_file.exists():
            raise RunError(f"{name} was not executed in run {run.path.name!r}; make it with `shc run` first")
        cleaned = with_outputs(committed, read_notebook(executed_file), name)
        text = json.dumps(cleaned, indent=1, ensure_ascii=False) + "\n"
        size = len(text.encode())
        if size > LARGEST:
            raise RunError(f"{name} would be {size / 1e6:.1f} MB with its outputs; at most {LARGEST / 1e6} MB")
        cleaned_texts[file] = text
    film = film_of(run)
    write_pictures(run)
    atomic_write(notebooks_folder() / "figures" / "centers.gif", lambda f: f.write_bytes(film))
    for file, text in cleaned_texts.items():  # nothing before all of them are known to be good
        atomic_write(file, lambda f, text=text: f.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    record = json.dumps(dict(results=run.results(), parameters=run.parameters()), indent=1, sort_keys=True) + "\n"
    root = notebooks_folder().parent
    atomic_write(root / "benchmarks" / "quickstart.json", lambda f: f.write_text(record, encoding="utf-8"))
    write_page(root / "README.md", {part: write(root / "benchmarks") for part, write in PARTS.items()})
    pages = [("scale.json", scale_numbers), ("search.json", search_numbers)]
    told_of_scale = [
        "\n".join(write(json.loads((root / "benchmarks" / name).read_text(encoding="utf-8"))))
        for name, write in pages
        if (root / "benchmarks" / name).exists()
    ]
    if told_of_scale:
        write_page(root / "docs" / "scale.md", {"numbers": "\n\n".join(told_of_scale)})
    return [f"{file.stem:<22} {len(text.encode()) / 1e3:7.0f} kB" for file, text in cleaned_texts.items()]


def write_page(file: Path, parts: Mapping[str, str]) -> None:
    """Put numbers where a page has room for them."""
    page = file.read_text(encoding="utf-8")
    for part, text in parts.items():
        page = with_numbers(page, text, part)
    atomic_write(file, lambda f: f.write_text(page, encoding="utf-8"))


def write_pictures(run: Run) -> None:
    """The README's pictures, from the run's figures."""
    from PIL import Image

    def figure(name: str) -> Any:
        file = run.path / "figures" / f"{name}.png"
        if not file.exists():
            raise RunError(f"{file}, a picture of the README, is missing; execute the notebooks with `shc run` first")
        check_regular(file)
        with Image.open(file, "r", ("PNG",)) as picture:  # for other formats Pillow starts programs
            if picture.width * picture.height > MOST_PIXELS or file.is_symlink():
                raise RunError(f"{file} is a link, or larger than any figure; execute its notebook again")
            return picture.convert("RGB")

    folder = notebooks_folder() / "figures"
    thumbnails, parts = {name: figure(source) for name, source in THUMBNAILS.items()}, [figure(name) for name in HERO]
    for name, picture in thumbnails.items():
        picture.thumbnail((280, 180), Image.Resampling.LANCZOS)
        save_png(picture, folder / f"{name}.png")
    width = min(part.width for part in parts)
    parts = [part.resize((width, round(part.height * width / part.width))) for part in parts]
    hero = Image.new("RGB", (width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        hero.paste(part, (0, top))
        top += part.height
    save_png(hero, folder / "hero.png")


def film_of(run: Run) -> bytes:
    """The README's film of the run's centers on their way."""
    steps, S = unpack_history(run.load("centers").arrays), run.load("similarity")["S"]
    return centers_film(S, steps)


def save_png(picture: Any, file: Path) -> None:
    """Write a PIL image with at most 256 colours."""
    atomic_write(file, lambda f: picture.quantize(256).save(f, "PNG", optimize=True))


def with_numbers(page: str, text: str, part: str = "numbers") -> str:
    """The page with one of its parts that records write replaced; RunError without a place for it."""
    begin, finish = f"<!-- {part}:", f"<!-- end of {part} -->"
    head, start, rest = page.partition(begin)
    comment, _, rest = rest.partition("\n")
    _, end, tail = rest.partition(finish)
    if not (start and end):
        raise RunError(f"the page must contain the lines {begin!r} … and {finish!r} for its numbers")
    return f"{head}{start}{comment}\n{text}\n{end}{tail}"


def with_outputs(committed: dict[str, Any], executed: dict[str, Any], name: str) -> dict[str, Any]:
    """The committed notebook with the executed one's outputs, cleaned; RunError if their sources differ."""
    cells = [c for c in executed["cells"] if "injected-parameters" not in c["metadata"].get("tags", [])]
    if [source(c) for c in cells] != [source(c) for c in committed["cells"]]:
        raise RunError(f"{name} has changed since this run executed it; execute it again with `shc run`")
    count = 0
    fresh = []
    for old, new in zip(committed["cells"], cells, strict=True):
        tags = old["metadata"].get("tags")
        cell = dict(old, metadata={"tags": tags} if tags else {})
        if old["cell_type"] == "code":
            count += bool(source(old).strip())
            outputs = [clean(o, count) for o in new["outputs"] if keeps(o, name)]
            cell |= dict(execution_count=count if source(old).strip() else None, outputs=outputs)
        fresh.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    metadata["shc"] = {"source_hash": source_hash(committed)}
    return dict(committed, cells=fresh, metadata=metadata, nbformat=4, nbformat_minor=5)


def keeps(output: dict[str, Any], name: str) -> bool:
    """Whether an output of the notebook `name` is worth committing."""
    if output["output_type"] == "error":
        raise RunError(f"{name}: an error is stored in the executed notebook: {output.get('ename')}; run it again")
    if output["output_type"] == "stream":
        return output["name"] == "stdout"
    return "application/vnd.jupyter.widget-view+json" not in output["data"]


def clean(output: dict[str, Any], count: int) -> dict[str, Any]:
    """An output with only portable content."""
    if output["output_type"] == "stream":
        return dict(output, text=without_paths(source(output, "text")))
    data = {kind: value for kind, value in output["data"].items() if kind in KEEP}
    data = {k: v if k == "image/png" else without_paths(source(data, k)) for k, v in data.items()}
    pictures = {k: v for k, v in output.get("metadata", {}).items() if k == "image/png"}
    cleaned: dict[str, Any] = dict(output_type=output["output_type"], data=data, metadata=pictures)
    if output["output_type"] == "execute_result":
        cleaned["execution_count"] = count
    return cleaned


def without_paths(text: str) -> str:
    """Text in which absolute paths of this machine are shortened to the project's folder."""
    root = str(notebooks_folder().parent)
    short = text.replace(root + "/", "").replace(root, ".").replace(str(Path.home()), "~")
    return re.sub(r"0x[0-9a-f]{8,}", "0x…", short)


def source(cell: dict[str, Any], field: str = "source") -> str:
    """A cell's text as one string; notebooks store strings or lists of lines."""
    return cell[field] if isinstance(cell[field], str) else "".join(cell[field])
