"""Live plots: one picture in a cell that is redrawn in place while something runs, and stays as the final figure.

A `LivePlot` is fed the records that optimizers and training loops yield. At most four frames a second are drawn, and
drawing takes at most a twentieth of the time, so that watching costs little: short runs show few frames. Outside a
notebook kernel nothing is shown. What the pictures show is drawn by `shc.center_plots` and `shc.charts`.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from shc.center_plots import centers_frame, centers_status, draw_centers
from shc.charts import POINTS, draw_training, duration, thinned, training_progress
from shc.charts import training_curves as training_frame
from shc.figures import Figure
from shc.plots import dendrogram_order

__all__ = [
    "POINTS", "LivePlot", "centers_frame", "centers_plot", "centers_status", "duration", "in_kernel", "thinned",
    "training_frame", "training_plot", "training_progress",
]  # fmt: skip

INTERVAL = 0.25  # seconds between two frames, at least
SHARE = 0.05  # of the time may go into drawing: a wait that nobody notices, and timings stay those of the work


class LivePlot:
    """Show `draw(states)` while a `with` block feeds `update(state)`; the last picture stays as `.figure`.

    `draw` gets the list of all states so far and returns a Figure; `redraw(figure, states)`, if given, brings the first
    frame's figure up to date instead. `live=False` shows only the final figure. `interval` is the least time between
    two frames in seconds, `share` the most of the time that drawing may take: the first frame is shown at once, any
    other when the time passed since the start allows it (the final figure does not count). `.frames` and `.drawing`
    tell how many were drawn and in how many seconds. `alt` replaces the figure's alternative text, `clock` is for
    tests. If the block raises, the last picture is left behind and the error goes on.

    >>> with LivePlot(lambda states: Figure(alt=f"{len(states)} states")) as plot:
    ...     for state in range(3):
    ...         plot.update(state)
    >>> plot.figure.alt
    '3 states'
    """

    def __init__(
        self,
        draw: Callable[[list[Any]], Figure],
        redraw: Callable[[Figure, list[Any]], None] | None = None,
        *,
        live: bool = True,
        interval: float = INTERVAL,
        share: float = SHARE,
        alt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if interval < 0:
            raise ValueError(f"interval={interval} seconds between frames; expected 0 or more")
        if not 0 < share <= 1:
            raise ValueError(f"share={share} of the time for drawing; expected more than 0 and at most 1")
        self.draw, self.redraw, self.live, self.alt, self.clock = draw, redraw, live, alt, clock
        self.interval, self.share = interval, share
        self.states: list[Any] = []
        self.figure: Figure | None = None
        self.frames, self.drawing = 0, 0.0  # drawn so far, and the seconds that took
        self._handle: Any = None
        self._began, self._due = clock(), float("-inf")

    def __enter__(self) -> "LivePlot":
        self._began = self.clock()
        return self

    def update(self, state: Any) -> None:
        """Keep the state, and draw a frame if one is due."""
        self.states.append(state)
        if not self.live or self.clock() < self._due or not in_kernel():
            return
        began = self.clock()
        if self.figure is None or self.redraw is None:
            self.figure = self.draw(self.states)
        else:
            self.redraw(self.figure, self.states)
        figure = self._told(self.figure)
        data = {"image/png": figure.frame(), "text/plain": figure.alt}
        self._show(data, raw=True, metadata={"image/png": figure.metadata()})
        took = self.clock() - began
        self.frames, self.drawing = self.frames + 1, self.drawing + took
        # the next frame must fit into the share too: it takes as long, or under half if the first is brought up to date
        expected = took / 2 if self.frames == 1 and self.redraw else took
        self._due = max(began + self.interval, self._began + (self.drawing + expected) / self.share - expected)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not self.states:
            return
        try:
            self.figure = self._told(self.draw(self.states))  # anew: its layout fits what it shows at the end
            if in_kernel():
                self._show(self.figure)
        except Exception:
            if error is None:  # else the block's own error is the one to tell
                raise

    def _told(self, figure: Figure) -> Figure:
        figure.alt = self.alt or figure.alt
        return figure

    def _show(self, picture: Any, **options: Any) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(picture, display_id=True, **options)
        else:
            self._handle.update(picture, **options)


def in_kernel() -> bool:
    """Whether this code runs in a notebook kernel, where pictures can be shown."""
    import sys

    if "IPython" not in sys.modules:
        return False
    return getattr(sys.modules["IPython"].get_ipython(), "kernel", None) is not None


def training_plot(title: str, live: bool = True, **options: Any) -> LivePlot:
    """A LivePlot of training records (`shc.training.fit`): loss per step, validation value per epoch, time left."""

    def redraw(figure: Figure, records: list[Any]) -> None:
        draw_training(figure, records, title)

    return LivePlot(lambda records: training_frame(records, title), redraw, live=live, **options)


def centers_plot(
    S: np.ndarray, min_distance: int | None = None, live: bool = True, order: np.ndarray | None = None, **options: Any
) -> LivePlot:
    """A LivePlot of center optimization steps for S [C, C]; `min_distance` in bits, by default the steps' own."""
    order = dendrogram_order(S) if order is None else order

    def redraw(figure: Figure, steps: list[Any]) -> None:
        draw_centers(figure, S, steps, -1, order, min_distance)

    return LivePlot(lambda steps: centers_frame(S, steps, -1, order, min_distance), redraw, live=live, **options)
