"""The look of every picture: one Figure class that shows itself in a notebook, one style, one palette.

A `Figure` is made without pyplot, so no hidden state is left behind; it carries its alternative text, which notebooks
and reports store beside the picture.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 100
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "cividis", "image.interpolation": "nearest",
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "font.family": "DejaVu Sans",
}  # fmt: skip
# differ in lightness as well as in hue, so that they stay apart in grey and for colour-blind readers (Okabe & Ito 2008)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#8C8C8C"
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00")


class Figure(MatplotlibFigure):
    """A matplotlib figure that renders itself as PNG in a notebook, with its alternative text in `.alt`."""

    alt: str = ""

    def png(self, dpi: int = DPI) -> bytes:
        """The picture as PNG bytes at `dpi` dots an inch."""
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return quantized(buffer.getvalue())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        width, height = self.get_size_inches() * DPI
        size = {"width": int(width), "height": int(height), "alt": self.alt}
        return {"image/png": self.png(), "text/plain": self.alt or "figure"}, {"image/png": size}


def quantized(png: bytes) -> bytes:
    """The same picture with at most 256 colours, if that is smaller: a third of the bytes, no difference to the eye."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.getcolors(20_000) is not None  # drawn, not photographed
    method = Image.Quantize.MAXCOVERAGE if few else Image.Quantize.MEDIANCUT
    buffer = io.BytesIO()
    picture.quantize(256, method=method, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return min(png, buffer.getvalue(), key=len)


@contextmanager
def style() -> Iterator[None]:
    """Apply the package's matplotlib style inside the block."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        yield


def new_figure(width: float = 7, height: float = 4, *, alt: str = "", **grid: Any) -> tuple[Figure, Any]:
    """A figure of `width` × `height` inches and its axes (as `Figure.subplots(**grid)` returns them)."""
    with style():
        figure = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
        axes = figure.subplots(**grid)
    figure.alt = alt
    return figure, axes


def palette(groups: int) -> np.ndarray:
    """float [groups, 3] RGB colours: hues around the circle, lightness alternating so that neighbours differ in grey."""
    hues = np.arange(groups) / max(groups, 1)
    lightness = np.resize([0.45, 0.75, 0.60, 0.85], groups)
    import colorsys

    return np.array([colorsys.hls_to_rgb(h, light, 0.55) for h, light in zip(hues, lightness, strict=True)])


def group_bands(
    axes: Axes, groups: np.ndarray, group_names: list[str], *, names: list[str] | None = None, columns: bool = True
) -> None:
    """Mark the super-class of every row (and column) of a heat map by colour, named beside its longest stretch.

    `groups` int64 [C] in the order of the rows. With up to 30 rows the class names are written instead.
    """
    n = len(groups)
    axes.set_xticks([])
    if names is not None and n <= 30:
        axes.set_yticks(range(n), names)
        axes.set_xticks(range(n), names, rotation=90)
        return
    colors = palette(len(group_names))
    cmap = ListedColormap(colors)
    bands = (((-0.035, 0, 0.025, 1), groups[:, None]), ((0, -0.035, 1, 0.025), groups[None, :]))
    for bounds, row in bands[: 1 + columns]:
        band = axes.inset_axes(bounds)
        band.imshow(row, aspect="auto", cmap=cmap, vmin=-0.5, vmax=len(group_names) - 0.5)
        band.set_axis_off()
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    ends = np.r_[starts[1:], n]
    chosen: dict[int, tuple[int, int]] = {}
    for start, end in zip(starts, ends, strict=True):
        group = int(groups[start])
        if group not in chosen or end - start > chosen[group][1] - chosen[group][0]:
            chosen[group] = (int(start), int(end))
    middles = spread(np.array([(a + b - 1) / 2 for a, b in chosen.values()]), n / 24, -0.5, n - 0.5)
    axes.set_yticks(middles, [group_names[g] for g in chosen], fontsize=8)
    for label, group in zip(axes.get_yticklabels(), chosen, strict=True):
        label.set(color=ink(colors[group]), bbox=dict(facecolor=colors[group], lw=0, boxstyle="square,pad=0.15"))
    axes.tick_params(axis="y", length=0, pad=0.045 * axes.get_window_extent().width * 72 / DPI + 4)
    axes.xaxis.labelpad = 20 if columns else 4


def spread(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Move sorted-by-value label places apart by at least `gap` while staying near them, inside [low, high]."""
    order = np.argsort(places)
    moved = places[order].astype(float)
    for _ in range(200):
        overlap = gap - np.diff(moved)
        if not (overlap > 1e-6).any():
            break
        push = np.clip(overlap, 0, None) / 2
        moved[:-1] -= push
        moved[1:] += push
        moved = np.clip(moved, low, high)
    found = np.empty_like(moved)
    found[order] = moved
    return found


def ink(color: Any) -> str:
    """Black or white, whichever reads better on `color`."""
    r, g, b = to_rgb(color)
    return "black" if 0.299 * r + 0.587 * g + 0.114 * b > 0.55 else "white"
