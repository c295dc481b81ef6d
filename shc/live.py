"""Live plots: one picture in a cell that is redrawn in place while something runs, and stays as the final figure.

A `LivePlot` is fed the records that optimizers and training loops yield. At most four frames a second are drawn, fewer
where drawing is slow, so that watching costs little. Outside a notebook kernel nothing is shown. What the pictures of
centers show is drawn by `centers_frame`, which the widgets use too.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shc.charts import POINTS, draw_loss, duration, thinned, training_progress
from shc.charts import training_curves as training_frame
from shc.figures import BLUE, ORANGE, Figure, new_figure, style
from shc.plots import center_similarity, dendrogram_order

if TYPE_CHECKING:
    from shc.centers import CenterStep

__all__ = [
    "POINTS", "LivePlot", "centers_frame", "centers_plot", "centers_status", "duration", "in_kernel", "thinned",
    "training_frame", "training_plot", "training_progress",
]  # fmt: skip

INTERVAL = 0.25  # seconds between two frames, at least
SHARE = 2  # seconds of work for every second of drawing, at least


class LivePlot:
    """Show `draw(states)` while a `with` block feeds `update(state)`; the last picture stays as `.figure`.

    `draw` gets the list of all states so far and returns a Figure. `live=False` shows only the final figure. `interval`
    is the time between frames in seconds, `alt` replaces the figure's alternative text, `clock` is for tests. If the
    block raises, the last picture is left behind and the error goes on.

    >>> with LivePlot(lambda states: new_figure(alt=f"{len(states)} states")[0]) as plot:
    ...     for state in range(3):
    ...         plot.update(state)
    >>> plot.figure.alt
    '3 states'
    """

    def __init__(
        self,
        draw: Callable[[list[Any]], Figure],
        *,
        live: bool = True,
        interval: float = INTERVAL,
        alt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if interval < 0:
            raise ValueError(f"interval={interval} seconds between frames; expected 0 or more")
        self.draw, self.live, self.interval, self.alt, self.clock = draw, live, interval, alt, clock
        self.states: list[Any] = []
        self.figure: Figure | None = None
        self._handle: Any = None
        self._due = float("-inf")

    def __enter__(self) -> "LivePlot":
        return self

    def update(self, state: Any) -> None:
        """Keep the state, and draw a frame if one is due."""
        self.states.append(state)
        if not self.live or self.clock() < self._due or not in_kernel():
            return
        began = self.clock()
        self._show(self._drawn())
        ended = self.clock()
        self._due = ended + max(self.interval - (ended - began), SHARE * (ended - began))

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not self.states:
            return
        try:
            self.figure = self._drawn()
            if in_kernel():
                self._show(self.figure)
        except Exception:
            if error is None:  # else the block's own error is the one to tell
                raise

    def _drawn(self) -> Figure:
        figure = self.draw(self.states)
        figure.alt = self.alt or figure.alt
        return figure

    def _show(self, figure: Figure) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)


def in_kernel() -> bool:
    """Whether this code runs in a notebook kernel, where pictures can be shown."""
    import sys

    if "IPython" not in sys.modules:
        return False
    return getattr(sys.modules["IPython"].get_ipython(), "kernel", None) is not None


def training_plot(title: str, live: bool = True, **options: Any) -> LivePlot:
    """A LivePlot of training records (`shc.training.fit`): loss per step, validation value per epoch, time left."""
    return LivePlot(lambda records: training_frame(records, title), live=live, **options)


def centers_plot(
    S: np.ndarray, min_distance: int | None = None, live: bool = True, order: np.ndarray | None = None, **options: Any
) -> LivePlot:
    """A LivePlot of center optimization steps for S [C, C]; `min_distance` in bits, by default the steps' own."""
    order = dendrogram_order(S) if order is None else order
    return LivePlot(lambda steps: centers_frame(S, steps, -1, order, min_distance), live=live, **options)


def centers_frame(
    S: np.ndarray,
    steps: "Sequence[CenterStep]",
    at: int = -1,
    order: np.ndarray | None = None,
    min_distance: int | None = None,
) -> Figure:
    """The centers of `steps[at]`: HᵀH/K as a heat map, distances between the classes, and the loss of all steps.

    `order` int64 [C] sorts the heat map (by default S's dendrogram); `min_distance` in bits (by default the step's
    own) is drawn as a line, and a set that breaks it is said to.
    """
    step = steps[at]
    order = dendrogram_order(S) if order is None else order
    wanted = step.required_distance if min_distance is None else min_distance
    keeps = step.min_distance >= wanted
    told = centers_status(step, wanted)
    alt = f"Hash centers of {len(S)} classes: similarity, distances and loss; {told}"
    figure, (left, middle, right) = new_figure(
        11.5, 3.9, alt=alt, ncols=3, gridspec_kw=dict(width_ratios=[1.05, 1.1, 1.1])
    )
    with style():
        heat = left.imshow(center_similarity(step.codes)[np.ix_(order, order)], vmin=-1, vmax=1)
        left.set(xticks=[], yticks=[], xlabel=f"{len(S)} classes, similar ones side by side")
        left.set_title("HᵀH/K")
        figure.colorbar(heat, ax=left, shrink=0.8, ticks=[-1, 0, 1])

        bits = len(step.histogram) - 1
        color, hatch = (BLUE, "") if keeps else (ORANGE, "//")
        middle.bar(np.arange(bits + 1), step.histogram, width=0.9, color=color, hatch=hatch, edgecolor="white", lw=0)
        middle.axvline(wanted - 0.5, color="black", lw=1.6, ls="--", label=f"minimum distance {wanted}")
        middle.set(xlabel="Hamming distance (bits)", ylabel="pairs of classes")
        middle.set(xlim=(-1, bits + 1), ylim=(0, 1.3 * max(int(step.histogram.max()), 1)))
        middle.set_title(f"closest pair: {step.min_distance} bits {'✓' if keeps else '✗ too close'}")
        middle.legend(loc="upper right")

        draw_loss(right, thinned(steps))
        right.plot(step.step, step.loss, "o", color="black", ms=5)
        right.set_xlim(steps[0].step, max(steps[-1].step, steps[0].step + 1))
        # the first steps fall so far that the rest would be a flat line: they may leave the picture
        later = steps[len(steps) // 20 :]
        top = max(max(s.loss, s.best_loss) for s in later)
        right.set_ylim(0, 1.4 * top if top > 0 else 1)
        right.set_title(f"loss f = {step.loss:.4f}")
        right.legend(loc="upper right")
        figure.suptitle(told, x=0.01, ha="left", fontsize=10)
    return figure


def centers_status(step: "CenterStep", min_distance: int | None = None) -> str:
    """One line on a step: its number and stage, f, best f, smallest distance, and whether it keeps the minimum."""
    wanted = step.required_distance if min_distance is None else min_distance
    kept = "✓ keeps" if step.min_distance >= wanted else "✗ breaks"
    return (
        f"step {step.step} ({step.stage}) · f = {step.loss:.4f}, best {step.best_loss:.4f} · "
        f"smallest distance {step.min_distance} bits {kept} the minimum of {wanted}"
    )
