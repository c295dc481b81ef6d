"""Pictures made of images and of codes: contact sheets, retrieval strips, bits side by side.

Images are uint8 [N, 3, S, S], torch or NumPy; relations of a neighbor to its query are 2 for the same class, 1 for the
same super-class and 0 for any other. All can be called from `shc.plots`.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from shc.figures import BLUE, DPI, GREY, ORANGE, WIDTH, Figure, figure_of, new_figure, shortened, styled
from shc.hamming import as_codes

# frame and mark of a neighbor by its relation to the query: other, same super-class, same class
RELATIONS = ((GREY, ":", "✗ other"), (ORANGE, "--", "~ same super-class"), (BLUE, "-", "✓ same class"))


@styled
def contact_sheet(
    images: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    columns: int = 12,
    zoom: float = 2.0,
    captions: Sequence[str] | None = None,
) -> Figure:
    """Images [N, 3, S, S] in rows of `columns`, enlarged `zoom` times or as far as the page allows.

    `labels` int [N] with `class_names`, or `captions` [N], write the classes' names below the images.
    """
    pixels = _pixels(images)
    if pixels.ndim != 4 or not len(pixels) or columns < 1:
        raise ValueError(f"images give {list(pixels.shape)} in {columns} columns; expected [N, 3, S, S] and at least 1")
    n, size = len(pixels), pixels.shape[1]
    columns, gap = min(columns, n), max(1, size // 16)
    rows = -(-n // columns)
    if captions is None and labels is not None:
        captions = [str(c) if class_names is None else class_names[int(c)] for c in np.asarray(labels)]
    across = columns * (size + gap) - gap
    scale = min(zoom, WIDTH * DPI / across) if captions is None else min(max(zoom, 76 / size), WIDTH * DPI / across)
    # two lines of 8 points below the images, in pixels of the sheet
    below = 0 if captions is None else round(25 * DPI / 72 / scale)
    sheet = np.full((rows * (size + gap + below) - gap, across, 3), 255, np.uint8)
    corners = [((i // columns) * (size + gap + below), (i % columns) * (size + gap)) for i in range(n)]
    for (top, left), picture in zip(corners, pixels, strict=True):
        sheet[top : top + size, left : left + size] = picture
    shown = sorted(set(captions or ()))
    alt = f"Contact sheet of {n} images" + (f": {', '.join(shown[:12])}{' …' * (len(shown) > 12)}" if shown else "")
    figure = Figure(figsize=(across * scale / DPI, len(sheet) * scale / DPI), dpi=DPI, alt=alt)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    wide = max(4, int(size * scale / 5.6))  # characters of 7 points that fit below an image
    for (top, left), caption in zip(corners, captions or (), strict=False):
        for i, line in enumerate(_lines(caption, wide).split("\n")):  # each on its own baseline, whatever its letters
            y = top + size + (9.5 + 8.5 * i) * DPI / 72 / scale
            axes.text(left + size / 2 - 0.5, y, line, ha="center", fontsize=7)
    return figure


@styled
def retrieval_strips(
    query_images: Any,
    neighbor_images: Any,
    distances: np.ndarray,
    relations: np.ndarray | None,
    query_names: Sequence[str],
    neighbor_names: Any = None,
    title: str = "Queries and their nearest neighbors",
) -> Figure:
    """Every query with its neighbors, the distance in bits under each, framed by its relation to the query.

    `query_images` uint8 [Q, 3, S, S], `neighbor_images` [Q, n, 3, S, S], `distances` int [Q, n], `relations` [Q, n] or
    None where they are unknown, which leaves out frames and marks, `neighbor_names` [Q, n] or None. Frames differ in
    line style and mark, not only in colour.
    """
    distances = np.asarray(distances)
    known = None if relations is None else np.asarray(relations)
    rows, columns = distances.shape if known is None else known.shape
    given = (len(query_images), len(query_names), tuple(np.shape(neighbor_images)[:2]), distances.shape)
    if given != (rows, rows, (rows, columns), (rows, columns)):
        raise ValueError(
            f"got {given[0]} query images, {given[1]} names, neighbors {given[2]} and distances {given[3]} for "
            f"relations {(rows, columns)}; expected Q queries and [Q, n] neighbors throughout"
        )
    if known is None:
        told = [f"{name}, bits {', '.join(map(str, d))}" for name, d in zip(query_names, distances, strict=True)]
    else:
        told = [
            f"{name}, {int((r == 2).sum())} of {columns} neighbors of the same class"
            for name, r in zip(query_names, known, strict=True)
        ]
    alt = f"{title}: " + "; ".join(told)
    edge, side = 0.78, 1.35  # inches of an image, and of the query's name
    named = () if neighbor_names is None else neighbor_names
    below = [[_lines(name, 13).split("\n") for name in row] for row in named]
    step = edge + 0.32 + 0.12 * max((len(lines) for row in below for lines in row), default=0)
    width, height = side + 0.82 * (columns + 1.15) + 0.25, step * rows + 0.4
    figure = Figure(figsize=(width, height), dpi=DPI, alt=alt)

    def write(x: float, y: float, text: str, **look: Any) -> None:  # inches from the top left corner
        figure.text(x / width, 1 - y / height, text, **{"ha": "center", "fontsize": 8, **look})

    write(0.1, 0.1, title, ha="left", va="top", fontsize=11, fontweight="bold")
    queries, neighbors = _pixels(query_images), _pixels(neighbor_images)
    for i, name in enumerate(query_names):
        top = 0.42 + i * step
        bold: dict[str, Any] = dict(ha="right", va="center", fontsize=9, fontweight="bold")
        write(side - 0.1, top + edge / 2, _lines(name, 16), **bold)
        _image(figure, queries[i], side, top, edge)
        write(side + edge / 2, top + edge + 0.15, "query")
        for j in range(columns):
            left, bits = side + 0.82 * (j + 1.15), int(distances[i, j])
            axes, said = _image(figure, neighbors[i, j], left, top, edge), f"{bits} bit{'s' * (bits != 1)}"
            if known is not None:
                color, line, label = RELATIONS[int(known[i, j])]
                frames: tuple[dict[str, Any], ...] = (dict(ec="white", lw=3.4), dict(ec=color, lw=2.6, ls=line))
                for frame in frames:
                    axes.add_patch(Rectangle((0.02, 0.02), 0.96, 0.96, transform=axes.transAxes, fill=False, **frame))
                said = f"{label[0]} {said}"
            write(left + edge / 2, top + edge + 0.15, said)
            for row, part in enumerate(below[i][j] if below else ()):
                write(left + edge / 2, top + edge + 0.28 + 0.12 * row, part)
    if known is None:
        return figure
    handles = [Line2D([], [], color=c, ls=line, lw=2.6, label=label) for c, line, label in RELATIONS[::-1]]
    figure.legend(handles=handles, loc="upper right", ncols=3, borderaxespad=0.2, handlelength=2.6)
    return figure


def worst_failures(
    query_images: Any,
    neighbor_images: Any,
    distances: np.ndarray,
    relations: np.ndarray,
    query_names: Sequence[str],
    neighbor_names: Any = None,
    count: int = 6,
    title: str = "The worst failures",
) -> Figure:
    """The `count` queries with the fewest neighbors of their class (then super-class), drawn as `retrieval_strips`."""
    distances, relations = np.asarray(distances), np.asarray(relations)
    hits, near = (relations == 2).sum(1), (relations == 1).sum(1)
    worst = np.lexsort((np.arange(len(hits)), distances[:, 0], near, hits))[:count]
    chosen_names = None if neighbor_names is None else [neighbor_names[i] for i in worst]
    names = [query_names[i] for i in worst]
    images, neighbors = query_images[worst], neighbor_images[worst]  # before anything is decoded
    return retrieval_strips(images, neighbors, distances[worst], relations[worst], names, chosen_names, title)


@styled
def retrieval_detail(
    query_image: Any, neighbor_images: Any, codes: np.ndarray, relations: np.ndarray, names: Sequence[str]
) -> Figure:
    """One query and its neighbors in rows: image, mark and name, bits (framed where they differ), distance.

    `query_image` uint8 [3, S, S], `neighbor_images` [n, 3, S, S], `codes` [1 + n, K] and `names` [1 + n] with the
    query first, `relations` int [n].
    """
    codes, relations = as_codes(codes), np.asarray(relations)
    rows = len(codes)
    apart = (codes[1:] != codes[:1]).sum(1).tolist()
    hits = int((relations == 2).sum())
    told = f"{hits} of the {rows - 1} nearest are of the same class"
    alt = f"{names[0]}: {told}; " + ", ".join(f"{name} {n} bits" for name, n in zip(names[1:], apart, strict=True))
    figure, axes = new_figure(WIDTH, 0.66 + 0.46 * rows, alt=alt)
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    left, right, step = 2.75, 0.85, 0.46  # inches
    axes.set_position((left / width, 0.2 / height, 1 - (left + right) / width, step * rows / height))
    draw_codes(axes, codes)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    pixels = [_pixels(query_image), *_pixels(neighbor_images)]
    for i, name in enumerate(names):
        edge, middle = step - 0.06, height - 0.2 - step * (rows - i - 0.5)
        picture = _image(figure, pixels[i], 0.12, middle - edge / 2, edge)
        said, note = shortened(name), "bits differ"
        if i:
            color, line, label = RELATIONS[int(relations[i - 1])]
            frame: dict[str, Any] = dict(fill=False, ec=color, ls=line, lw=2.2, clip_on=False)
            picture.add_patch(Rectangle((0, 0), 1, 1, transform=picture.transAxes, **frame))
            said, note = f"{label[0]} {said}", f"{apart[i - 1]} bit{'s' * (apart[i - 1] != 1)}"
        look: dict[str, Any] = dict(va="center", fontsize=9)
        figure.text(0.64 / width, 1 - middle / height, said, fontweight="normal" if i else "bold", **look)
        figure.text(1 - (right - 0.08) / width, 1 - middle / height, note, **look)
    figure.text(0.12 / width, 1 - 0.24 / height, told, fontsize=11, fontweight="bold", va="center")
    marks = [Line2D([], [], color=c, ls=line, lw=2.2, label=label) for c, line, label in RELATIONS[::-1]]
    figure.legend(handles=marks, loc="upper right", ncols=3, borderaxespad=0.2, handlelength=2.4)
    return figure


@styled
def code_strip(
    codes: np.ndarray,
    names: Sequence[str],
    notes: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Codes [n, K] as rows of + and −; bits that differ from the first row's are framed and counted at the right.

    `notes` [n] replace the counts.
    """
    codes = as_codes(codes)
    rows, bits = codes.shape
    if len(names) != rows:
        raise ValueError(f"{len(names)} names for {rows} codes; pass one name per code")
    differ = codes != codes[:1]
    counts = differ.sum(1).tolist()
    told = [f"{n} bit{'s' * (n != 1)}" if n else "same code" for n in counts]
    told[0] = "bits that differ"
    pairs = ", ".join(f"{name} {n}" for name, n in zip(names[1:], counts[1:], strict=True))
    alt = f"{rows} codes of {bits} bits; bits that differ from {names[0]}: {pairs}"
    figure, axes = figure_of(ax, min(WIDTH, 3.0 + 0.3 * bits), 0.62 + 0.3 * rows, alt)
    draw_codes(axes, codes)
    axes.set_yticks(range(rows), [shortened(name) for name in names])
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(rows), list(notes or told))
    for side in (axes, right):
        side.tick_params(length=0)
        side.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_title(title or f"Bits that differ from “{shortened(names[0])}” are framed", fontsize=10)
    return figure


def draw_codes(axes: Axes, codes: np.ndarray) -> None:
    """Cells of codes [n, K], light for +1 and dark for −1, framed where they differ from the first row's."""
    rows, bits = codes.shape
    axes.imshow(codes, cmap="cividis", vmin=-1.4, vmax=1.4, aspect="auto")
    for place in np.arange(rows - 1) + 0.5:
        axes.axhline(place, color="white", lw=1.5)
    for place in np.arange(bits - 1) + 0.5 if bits <= 64 else ():
        axes.axvline(place, color="white", lw=1.0)
    for i, k in np.argwhere(codes != codes[:1]):
        axes.add_patch(Rectangle((k - 0.4, i - 0.38), 0.8, 0.76, fill=False, edgecolor=ORANGE, lw=2))
    if bits <= 32:
        for i, k in np.ndindex(rows, bits):
            bright = codes[i, k] > 0
            word: dict[str, Any] = dict(ha="center", va="center", fontsize=9, color="black" if bright else "white")
            axes.text(k, i, "+" if bright else "−", **word)


def _image(figure: Figure, pixels: np.ndarray, left: float, top: float, edge: float) -> Axes:
    """Axes of `edge` inches with an image [S, S, 3], their corner `left` and `top` inches from the figure's."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + edge) / height, edge / width, edge / height))
    axes.imshow(pixels, aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    return axes


def _lines(text: str, wide: int, most: int = 2) -> str:
    """The text on at most `most` lines of `wide` characters, with an ellipsis if that is too little."""
    return "\n".join(textwrap.wrap(str(text), wide, max_lines=most, placeholder="…", break_long_words=True) or [""])


def _numpy(images: Any) -> np.ndarray:
    return images.numpy() if hasattr(images, "numpy") else np.asarray(images)


def _pixels(images: Any) -> np.ndarray:
    """uint8 [..., 3, S, S] of any kind → NumPy [..., S, S, 3]."""
    return np.moveaxis(_numpy(images), -3, -1)
