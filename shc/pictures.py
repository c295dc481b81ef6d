"""Pictures made of images: contact sheets and retrieval strips."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shc.figures import BLUE, GREY, ORANGE, Figure, new_figure, style

# frame and mark of a neighbour by its relation to the query: other, same super-class, same class
RELATIONS = ((GREY, ":", "✗ other"), (ORANGE, "--", "~ same super-class"), (BLUE, "-", "✓ same class"))


def contact_sheet(images: Any, columns: int = 12, zoom: float = 2.0) -> Figure:
    """Images uint8 [N, 3, S, S] in rows of `columns`, enlarged `zoom` times."""
    pixels = _pixels(images)
    n, size = len(pixels), pixels.shape[1]
    rows = -(-n // columns)
    gap = max(1, size // 16)
    sheet = np.full((rows * (size + gap) - gap, columns * (size + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = (i // columns) * (size + gap), (i % columns) * (size + gap)
        sheet[top : top + size, left : left + size] = picture
    scale = min(zoom, 1100 / sheet.shape[1]) / 100
    figure, axes = new_figure(sheet.shape[1] * scale, sheet.shape[0] * scale, alt=f"Contact sheet of {n} images")
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    return figure


def retrieval_strips(
    query_images: Any,
    neighbor_images: Any,
    distances: np.ndarray,
    relations: np.ndarray,
    query_names: Sequence[str],
    neighbor_names: np.ndarray | None = None,
    title: str = "Queries and their nearest neighbors",
) -> Figure:
    """Every query with its neighbors, the distance in bits under each, framed by its relation to the query.

    `query_images` uint8 [Q, 3, S, S], `neighbor_images` [Q, n, 3, S, S], `distances` int [Q, n], `relations` [Q, n]: 2
    same class, 1 same super-class, 0 other. Frames differ in line style and mark, not only in colour.
    """
    queries, neighbors = _pixels(query_images), _pixels(neighbor_images)
    rows, columns = relations.shape
    alt = f"{title}: " + "; ".join(
        f"{name}, {int((r == 2).sum())} of {columns} neighbors of the same class"
        for name, r in zip(query_names, relations, strict=True)
    )
    figure, axes = new_figure(
        1.0 * (columns + 1.9), 1.16 * rows + 0.75, alt=alt, nrows=rows, ncols=columns + 1, squeeze=False,
        gridspec_kw=dict(width_ratios=[1.15] + [1] * columns),
    )  # fmt: skip
    with style():
        for i, name in enumerate(query_names):
            head = axes[i, 0]
            head.imshow(queries[i])
            head.set_ylabel(_broken(name), rotation=0, ha="right", va="center", fontsize=9)
            head.set(xticks=[], yticks=[])
            for j in range(columns):
                color, line, label = RELATIONS[int(relations[i, j])]
                ax = axes[i, j + 1]
                ax.imshow(neighbors[i, j])
                ax.set(xticks=[], yticks=[])
                for spine in ax.spines.values():
                    spine.set(visible=True, color=color, linestyle=line, linewidth=2.6)
                told = "" if neighbor_names is None else f"\n{_broken(str(neighbor_names[i, j]))}"
                ax.set_xlabel(f"{label[0]} {int(distances[i, j])} bits{told}", fontsize=8, labelpad=2)
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color=c, ls=line, lw=2.6, label=label) for c, line, label in RELATIONS[::-1]]
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


def _broken(name: str) -> str:
    """A long name on two lines."""
    if len(name) <= 11 or " " not in name:
        return name
    spaces = [i for i, c in enumerate(name) if c == " "]
    middle = min(spaces, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle + 1 :]}"


def _pixels(images: Any) -> np.ndarray:
    """uint8 [..., 3, S, S] of any kind → NumPy [..., S, S, 3]."""
    array = images.numpy() if hasattr(images, "numpy") else np.asarray(images)
    return np.moveaxis(array, -3, -1)
