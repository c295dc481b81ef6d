"""Interactive parts of the notebooks (ipywidgets), each with a static twin drawn by the same function.

A widget shows its picture as a PNG that our figures make; nothing is fetched from outside. What a widget cannot do (an
impossible minimum distance, say) it tells in its own message line.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shc import hamming, plots
from shc.center_plots import centers_frame, draw_centers
from shc.controls import CenterControls
from shc.figures import BLUE, GREY, Figure, new_figure, style
from shc.pictured import Pictured, button, ipw, row
from shc.pictures import draw_codes

if TYPE_CHECKING:
    from shc.centers import CenterStep

__all__ = ["BitFlipper", "CenterControls", "HistorySlider"]

SHOWN_CLASSES = 20  # most bars in a BitFlipper


class BitFlipper(Pictured):
    """Flip the bits of a class's code by hand and see which center is then the nearest.

    `codes` int8 [C, K] of ±1, one name per code (else ValueError).

    >>> flipper = BitFlipper(np.array([[1, 1, 1], [-1, -1, 1]]), ["cat", "car"])
    >>> flipper.bits[0].value = False
    >>> flipper.distances
    array([1, 1])
    """

    def __init__(self, codes: np.ndarray, names: Sequence[str]) -> None:
        super().__init__()
        self.codes, self.names = hamming.as_codes(codes), [str(name) for name in names]
        if len(self.names) != len(self.codes):
            raise ValueError(f"{len(self.names)} names for {len(self.codes)} codes; pass one name per code")
        self.choice = ipw.Dropdown(options=[(name, i) for i, name in enumerate(self.names)], description="code of")
        size = ipw.Layout(width="2.2rem", padding="0", margin="1px")
        self.bits = [ipw.ToggleButton(layout=size) for _ in range(self.codes.shape[1])]
        self.undo = button("Reset", self._load, "the class's own code again")
        self.told = ipw.Label()
        self.choice.observe(lambda _: self._load(), "value")
        for bit in self.bits:
            bit.observe(lambda _: self._update(), "value")
        self.children = [row([self.choice, self.undo]), row(self.bits), self.gone, self.told, self.image]
        self._load()

    @property
    def code(self) -> np.ndarray:
        """int8 [1, K]: the code as it is flipped now."""
        return np.array([[1 if bit.value else -1 for bit in self.bits]], dtype=np.int8)

    @property
    def distances(self) -> np.ndarray:
        """int [C]: bits between the flipped code and every center."""
        return hamming.distance(self.code, self.codes)[0]

    def static(self) -> Figure:
        """The class's code above the flipped one, and the nearest classes with their distances."""
        return flipper_figure(self.codes, self.names, self.choice.value, self.code[0])

    def _load(self) -> None:
        self._quiet = True  # one picture for all bits
        for bit, value in zip(self.bits, self.codes[self.choice.value], strict=True):
            bit.value = bool(value > 0)
        self._quiet = False
        self._update()

    def _update(self) -> None:
        if self._quiet:
            return
        flipped = self.code[0] != self.codes[self.choice.value]
        for k, bit in enumerate(self.bits):
            bit.description = "+" if bit.value else "−"
            bit.tooltip = f"bit {k} is {'+1' if bit.value else '−1'}{', flipped' if flipped[k] else ''}"
            bit.button_style = "warning" if flipped[k] else ""
        self.told.value = nearest_told(self.distances, self.names, self.choice.value)
        self.show(self.static())


def flipper_figure(codes: np.ndarray, names: Sequence[str], own: int, code: np.ndarray) -> Figure:
    """The code of class `own` above the edited `code` [K], and the classes sorted by their distance to the latter."""
    distances = hamming.distance(code[None], codes)[0]
    order = np.argsort(distances, kind="stable")[:SHOWN_CLASSES]
    bits, rows = codes.shape[1], len(order)
    figure, (top, bottom) = new_figure(
        9, 1.6 + 0.26 * rows, alt=f"Code of {names[own]} and the distances to all classes; "
        + nearest_told(distances, names, own), nrows=2, gridspec_kw=dict(height_ratios=[2.2, rows]),
    )  # fmt: skip
    with style():
        draw_codes(top, np.stack([codes[own], code]))
        top.set(xticks=[])
        top.set_yticks([0, 1], [names[own], "edited"])
        flips = int(distances[own])
        top.set_title(f"{flips} {'bit' if flips == 1 else 'bits'} flipped{' (framed)' if flips else ''}")

        bottom.barh(range(rows), distances[order], color=[BLUE if i == own else GREY for i in order], height=0.7)
        for row, i in enumerate(order):
            own_class = "  ← own class" if i == own else ""
            bottom.text(distances[i] + bits / 100, row, f"{distances[i]}{own_class}", va="center", fontsize=9)
        bottom.set_yticks(range(rows), [names[i] for i in order])
        bottom.invert_yaxis()
        bottom.set(xlim=(0, bits), xlabel="Hamming distance to the edited code (bits)")
        more = f", the nearest {rows} of {len(codes)} classes" if rows < len(codes) else ""
        bottom.set_title(f"Nearest class first{more}")
    return figure


def nearest_told(distances: np.ndarray, names: Sequence[str], own: int) -> str:
    """Which classes are nearest, and how far the own one is.

    >>> nearest_told(np.array([2, 1, 1]), ["cat", "dog", "car"], 0)
    'nearest: dog, car (1 bit); own class cat: 2 bits'
    """
    least = int(distances.min())
    nearest = [names[int(i)] for i in np.flatnonzero(distances == least)]
    told = ", ".join(nearest[:4]) + (f" and {len(nearest) - 4} more" if len(nearest) > 4 else "")
    far = int(distances[own])
    return f"nearest: {told} ({_bits(least)}); own class {names[own]}: {_bits(far)}"


def _bits(count: int) -> str:
    return f"{count} bit" if count == 1 else f"{count} bits"


class HistorySlider(Pictured):
    """Replay the records of an optimization for S [C, C]: the slider, or Play, picks the frame.

    `order` int64 [C] sorts the heat map, by default S's dendrogram. ValueError if there are no records.

    >>> from shc import centers
    >>> HistorySlider(list(centers.optimize_centers(np.eye(4), 8, sweeps=50)), np.eye(4)).slider.min
    0
    """

    def __init__(self, history: "Sequence[CenterStep]", S: np.ndarray, order: np.ndarray | None = None) -> None:
        super().__init__()
        if not len(history):
            raise ValueError("there is no history to replay; let the optimizer run first")
        self.history, self.S = list(history), S
        self.order = plots.dendrogram_order(S) if order is None else order
        self.figure = Figure()
        self._pictures: dict[int, tuple[bytes, str]] = {}  # each frame is drawn once
        last = len(self.history) - 1
        self.slider = ipw.IntSlider(last, 0, last, description="record", layout=ipw.Layout(width="32rem"))
        self.play = ipw.Play(value=last, min=0, max=last, interval=300)
        ipw.jslink((self.play, "value"), (self.slider, "value"))
        self.slider.observe(lambda _: self._update(), "value")
        self.children = [row([self.slider, self.play]), self.gone, self.image]
        self._update()

    def static(self) -> Figure:
        """The last frame."""
        return centers_frame(self.S, self.history, -1, self.order)

    def _update(self) -> None:
        at = self.slider.value
        if at not in self._pictures:
            draw_centers(self.figure, self.S, self.history, at, self.order)
            self._pictures[at] = self.figure.frame(), self.figure.alt
        self.image.value, self.alt = self._pictures[at]
