"""The look of every picture: one Figure class that shows itself in a notebook, one style, one palette.

A `Figure` is made without pyplot, so no hidden state is left behind; it carries its alternative text, which notebooks
and reports store beside the picture. On screen an inch is 100 pixels; stored pictures are finer, 1,200 pixels at most.
"""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import style as mpl_style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import open_file_cm
from matplotlib.colors import ListedColormap, to_hex, to_rgb
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D, ScaledTranslation, blended_transform_factory

P = ParamSpec("P")
R = TypeVar("R")

DPI = 100  # pixels an inch on screen, and in live frames
FINEST, WIDEST = 150, 1200  # a stored picture has at most so many pixels an inch, and so many across
WIDTH = 10.0  # inches of a picture as wide as a notebook's page
BAND = (-0.034, 0, 0.026, 1)  # place of a coloured band: x, y, width, height as shares of the picture it belongs to
NAMED = 30  # up to so many classes are named one by one, more are shown by super-class
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "figure.titlesize": 11, "figure.titleweight": "bold", "legend.fontsize": 9, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "cividis", "image.interpolation": "nearest",
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "hatch.linewidth": 1.0,
}  # fmt: skip
# differ in lightness as well as in hue, so that they stay apart in grey and for colour-blind readers (Okabe & Ito 2008)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#8C8C8C"
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00")
# Hash centers, and the methods named after them, keep their look in all pictures; lines of reference are black.
ENTITIES: dict[str, dict[str, Any]] = {
    "semantic": dict(color=BLUE, marker="o", ls="-"),
    "permuted": dict(color=ORANGE, marker="s", ls="--"),
    "random": dict(color="#CC79A7", marker="^", ls=":"),
    "csq": dict(color=GREEN, marker="D", ls="-."),
    "distance": dict(color="#D55E00", marker="v", ls=(0, (6, 1, 1, 1, 1, 1))),
}
LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)))
# Twenty colours that are as far apart as an exchange search got them, for full colour vision (OKLab, least distance
# .10) and for red-green blindness (.08; Machado et al. 2009). Dark and light alternate: neighbours differ in grey.
PALE = "#D0D0D0"  # what is not accented
PALETTE = (
    "#907c11", "#f8c3ef", "#5d1276", "#5da8ba", "#83367e", "#9deda5", "#087ca1", "#e3cd3b", "#ba427d", "#f5a57f",
    "#6961cc", "#43d2b3", "#1e464b", "#5a8bd8", "#1a6331", "#919fff", "#294bae", "#8eb632", "#5b3203", "#ca7d79",
)  # fmt: skip


class Canvas(FigureCanvasAgg):
    """Agg's canvas, but its PNGs are small: 256 colours, unless `pil_kwargs` say how to write them."""

    def print_png(self, filename_or_obj: Any, *, metadata: Any = None, pil_kwargs: Any = None, **_: Any) -> None:
        """Write the figure to a path or a binary file; pictures are the same whatever made them."""
        buffer = io.BytesIO()
        super().print_png(buffer, metadata={"Software": None, **(metadata or {})}, pil_kwargs=pil_kwargs)
        with open_file_cm(filename_or_obj, "wb") as file:
            file.write(buffer.getvalue() if pil_kwargs else quantized(buffer.getvalue()))


class Figure(MatplotlibFigure):
    """A matplotlib figure that shows itself as a PNG in a notebook, pyplot or not.

    `alt` is its alternative text. `parts` is where a function that redraws the figure keeps its artists, by name, and
    `moving` lists those that change between two frames: only they are drawn again, in this order, on top of the rest.
    """

    def __init__(self, *args: Any, alt: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        Canvas(self)
        self.alt = alt
        self.parts: dict[Any, Any] = {}
        self.moving: list[Artist] = []
        self._still: Any = None  # pixels of what does not move

    def clear(self, keep_observers: bool = False) -> None:
        """Remove everything, also `parts` and `moving`."""
        super().clear(keep_observers)
        self.parts, self.moving, self._still = {}, [], None

    def refresh(self) -> None:
        """Draw also what does not move in the next frame, say because the limits of an axis changed."""
        self._still = None

    @property
    def finest(self) -> float:
        """Pixels an inch of the stored picture."""
        return min(FINEST, WIDEST / self.get_figwidth())

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib's, at the resolution of stored pictures unless `dpi` is given."""
        with style():
            super().savefig(fname, **{"dpi": self.finest, **options})

    def png(self, dpi: float = DPI) -> bytes:
        """The picture as PNG bytes in 256 colours, at `dpi` pixels an inch (by default as on screen)."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=dpi)
        return buffer.getvalue()

    def frame(self) -> bytes:
        """The picture as PNG bytes at screen resolution, made for speed rather than size."""
        canvas: Any = self.canvas
        with style():
            if self._still is None:
                seen = [artist for artist in self.moving if artist.get_visible()]
                for artist in seen:
                    artist.set_visible(False)
                canvas.draw()
                for artist in seen:
                    artist.set_visible(True)
                if self.moving:
                    self._still = canvas.copy_from_bbox(self.bbox)
            else:
                canvas.restore_region(self._still)
            for artist in self.moving:
                artist.draw(canvas.get_renderer())
        return quick_png(np.asarray(canvas.buffer_rgba())[..., :3])

    def metadata(self) -> dict[str, Any]:
        """What a notebook stores beside the PNG: its size on screen in pixels, and the alternative text."""
        width, height = (self.get_size_inches() * DPI).round()
        return {"width": int(width), "height": int(height), "alt": self.alt}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"image/png": self.png(self.finest), "text/plain": self.alt or "figure"}, {"image/png": self.metadata()}


def quick_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as PNG: unfiltered, in half Pillow's time, and other threads may run meanwhile.

    >>> quick_png(np.zeros((2, 3, 3), dtype=np.uint8))[:4]
    b'\\x89PNG'
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b"")
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def quantized(png: bytes) -> bytes:
    """The same picture in at most 256 colours, if that makes it smaller."""
    from PIL import Image

    stored = Image.open(io.BytesIO(png))
    fine = stored.info.get("dpi", (DPI, DPI))  # pages show a stored picture at the size it was drawn for
    picture = stored.convert("RGB")
    # the colours furthest apart, refined by k-means: a median cut shows as stripes in colour bars
    choice: dict[str, Any] = dict(method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    if picture.getcolors(20_000) is None:  # made of images: every 36th pixel tells the colours ten times faster
        few = picture.resize((picture.width // 6, picture.height // 6), Image.Resampling.NEAREST)
        reduced = picture.quantize(palette=few.quantize(256, **choice), dither=Image.Dither.NONE)
    else:
        reduced = picture.quantize(256, **choice)
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True, dpi=fine)
    return min(png, buffer.getvalue(), key=len)


def style() -> Any:
    """Context in which matplotlib draws in the package's style, whatever the user's settings."""
    return mpl_style.context(["default", STYLE])


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorator of functions that draw: applies the package's matplotlib style while they run."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return wrapper


@styled
def new_figure(width: float = WIDTH, height: float = 4, *, alt: str = "", **grid: Any) -> tuple[Figure, Any]:
    """A figure of `width` × `height` inches and its axes (as `Figure.subplots(**grid)` returns them)."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06), alt=alt)
    return figure, figure.subplots(**grid)


@styled
def figure_of(ax: Axes | None, width: float, height: float, alt: str) -> tuple[Any, Axes]:
    """A new figure with one axes, or the figure of the caller's `ax`, and the axes to draw on."""
    if ax is None:
        return new_figure(width, height, alt=alt)
    return root(ax), ax


def root(axes: Axes) -> Any:
    """The figure that the axes stand in."""
    return axes.get_figure(root=True)


def palette(groups: int) -> list[str]:
    """One colour for each of `groups` super-classes; two greys in turn beyond twenty, where hues no longer differ.

    >>> palette(2), palette(50)[:3]
    (['#907c11', '#f8c3ef'], ['#4d4d4d', '#c4c4c4', '#4d4d4d'])
    """
    if groups <= len(PALETTE):
        return list(PALETTE[:groups])
    return [("#4d4d4d", "#c4c4c4")[i % 2] for i in range(groups)]


def entity(name: str) -> dict[str, Any]:
    """Color, marker and line of centers, or of a method by what centers it has; empty for what has no look of its own.

    >>> entity("shc, random centers") == entity("random centers") == ENTITIES["random"], entity("itq")
    (True, {})
    """
    kind = name.lower().removeprefix("shc, ").removeprefix("solver ").removesuffix(" centers")
    return dict(ENTITIES.get({"shc": "semantic", "mds": "distance"}.get(kind, kind), {}))


def series(place: int, name: str = "") -> dict[str, Any]:
    """Color, line and marker of one of several curves: its own, if it has a look of its own, else by its place.

    >>> series(1)["marker"], series(1, "semantic")["color"] == BLUE
    ('s', True)
    """
    by_place = dict(color=SERIES[place % len(SERIES)], ls=LINES[place % len(LINES)], marker="osD^vP"[place % 6])
    return by_place | entity(name)


def ink(color: str, contrast: float = 4.5) -> str:
    """The colour for words: darkened, if need be, until its contrast with white is that of readable text (WCAG 2).

    >>> ink("#E69F00"), ink("#0072B2")
    ('#9c6c00', '#0072b2')
    """
    rgb = np.array(to_rgb(color))
    for share in np.linspace(1, 0, 101):
        drawn = to_hex(share * rgb)
        darker = np.array(to_rgb(drawn))  # as it is drawn, in 256 steps
        light = np.where(darker <= 0.04045, darker / 12.92, ((darker + 0.055) / 1.055) ** 2.4)
        if 1.05 / (light @ (0.2126, 0.7152, 0.0722) + 0.05) >= contrast:
            break
    return drawn


def accents(chosen: np.ndarray, count: int) -> list[str]:
    """The hues of the chosen super-classes, dark enough for thin lines, and PALE for all others of `count`."""
    hues, few = palette(count), count <= len(PALETTE)
    found = {int(g): hues[g] if few else PALETTE[i] for i, g in enumerate(chosen)}
    return [ink(found[g], 2.5) if g in found else PALE for g in range(count)]


def class_axes(
    axes: Axes,
    classes: int,
    names: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
    *,
    columns: bool = True,
    labels: bool = True,
) -> Axes:
    """Say what the rows of a picture are: up to 30 classes by name, more by coloured bands of their super-classes.

    `names` and `groups` int64 [C] are in the order of the rows. `columns` marks the columns too; `labels=False` leaves
    the words out, for the second of two pictures with the same rows. Returns the lowest axes, for a label below.
    """
    axes.set(xticks=[], yticks=[])
    left = bottom = axes
    if groups is not None and group_names is not None:
        left = _band(axes, BAND, groups[:, None], len(group_names))
        if columns:
            bottom = _band(axes, (BAND[1], BAND[0], BAND[3], BAND[2]), groups[None, :], len(group_names))
    if classes <= NAMED and names is not None:
        if labels:
            left.set_yticks(range(classes), [shortened(name) for name in names])
        if columns:
            bottom.set_xticks(range(classes), [shortened(name) for name in names], rotation=90)
        for side in (left, bottom):
            side.tick_params(length=0)
    elif groups is not None and group_names is not None and labels:
        _name_groups(axes, groups, group_names)
    return bottom


def _band(axes: Axes, bounds: tuple[float, float, float, float], cells: np.ndarray, count: int) -> Axes:
    """A strip beside the axes, coloured by super-class; words of the classes go on its ticks, outside the colour."""
    band = axes.inset_axes(bounds)
    band.imshow(cells, aspect="auto", cmap=ListedColormap(palette(count)), vmin=-0.5, vmax=count - 0.5)
    band.set(xticks=[], yticks=[])
    band.spines[:].set_visible(False)
    return band


def _name_groups(axes: Axes, groups: np.ndarray, group_names: Sequence[str], most: int = 24) -> None:
    """Name every super-class once, beside its longest stretch of rows; the `most` largest where there are too many."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    lengths = np.diff(np.r_[starts, len(groups)])
    longest: dict[int, int] = {}
    for i, group in enumerate(groups[starts].tolist()):
        if group not in longest or lengths[i] > lengths[longest[group]]:
            longest[group] = i
    sizes = np.bincount(groups)
    chosen = sorted(sorted(longest, key=lambda g: -sizes[g])[:most], key=lambda g: starts[longest[g]])
    middles = np.array([starts[longest[g]] + (lengths[longest[g]] - 1) / 2 for g in chosen])
    height = 0.85 * axes.get_window_extent().height * 72 / DPI  # points; the layout will take some for words
    places = spread(middles, len(groups) * 11 / height, -0.5, len(groups) - 0.5)
    colors, figure = palette(len(group_names)), root(axes)
    # x in points from the left edge of the axes' band, y in rows
    edge: Any = ScaledTranslation(BAND[0], 0, axes.transAxes)  # type: ignore[arg-type]
    points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans + edge
    beside = blended_transform_factory(points, axes.transData)
    for group, middle, place in zip(chosen, middles, places, strict=True):
        line = Line2D([-1, -7, -19, -25], [middle, middle, place, place], transform=beside, clip_on=False)
        line.set(color=colors[group], linewidth=1.8, solid_capstyle="butt")
        axes.add_artist(line)
        axes.text(-29, place, shortened(group_names[group]), transform=beside, ha="right", va="center", fontsize=8)


def spread(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Places moved apart to at least `gap`, as little as possible, in the same order and inside [low, high].

    >>> spread(np.array([1.0, 1.2, 5.0]), 1.0, 0.0, 6.0)
    array([0.6, 1.6, 5. ])
    """
    order = np.argsort(places, kind="stable")
    steps = np.arange(len(places)) * min(gap, (high - low) / max(len(places) - 1, 1))
    # least squares with a smallest gap is isotonic regression of the places with the gaps taken off
    blocks: list[list[float]] = []  # mean, size
    for value in np.asarray(places, float)[order] - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            total = blocks[-1][1] + size
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * size) / total, total]
    fitted = np.concatenate([np.full(int(size), mean) for mean, size in blocks]) if blocks else np.zeros(0)
    moved = np.empty(len(places))
    moved[order] = np.clip(fitted, low, high - (steps[-1] if len(steps) else 0)) + steps
    return moved


def shortened(name: str, longest: int = 22) -> str:
    """The name, cut to `longest` characters with an ellipsis.

    >>> shortened("smiling face with sunglasses")
    'smiling face with sun…'
    """
    name = str(name)
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def signed(value: float, digits: int = 2) -> str:
    """The number with a real minus sign.

    >>> signed(-0.0149)
    '−0.01'
    """
    return f"{value:.{digits}f}".replace("-", "−")
