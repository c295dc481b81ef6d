"""Controls of a running optimization (ipywidgets), and the base of every widget; notebooks find them in `shc.widgets`.

Long work runs in small pieces on the kernel's event loop, so that buttons answer meanwhile.
"""

import asyncio
import html
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import centers, plots
from shc.center_plots import centers_frame, centers_status, draw_centers
from shc.figures import Figure
from shc.live import INTERVAL

try:
    import ipywidgets as ipw
except ImportError as error:
    raise ImportError("widgets need the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'") from error

if TYPE_CHECKING:
    from shc.centers import CenterStep

PACE = 0.1  # seconds between two optimization records, so that an eye can follow
STATIC_SWEEPS = 200  # visits per center of the run behind CenterControls.static(): tenths of a second for 100 classes

Factory = Callable[..., "Iterator[CenterStep]"]


class Pictured(ipw.VBox):
    """A box with a picture, `.image`; a notebook viewed where widgets do not work shows the picture alone."""

    def __init__(self) -> None:
        super().__init__()
        self.alt = ""
        layout = ipw.Layout(max_width="100%", object_fit="contain", align_self="flex-start")
        self.image = ipw.Image(format="png", layout=layout)

    def static(self) -> Figure:
        """The picture as a figure of its own."""
        raise NotImplementedError

    def show(self, figure: Figure) -> None:
        """Put another figure into the picture; `.alt` then holds its alternative text."""
        # not the image's tooltip: ipywidgets 8 fails in the browser for tooltips of widgets without a description
        self.alt = figure.alt
        self.image.value = figure.frame()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if not isinstance(bundle, dict) or not self.image.value:
            return bundle
        alt, picture = self.alt, bytes(self.image.value)  # the trait may hold a memoryview
        return {**bundle, "image/png": picture, "text/plain": alt}, {"image/png": {"alt": alt}}


class CenterControls(Pictured):
    """Start, pause, step and reset a center optimization for S [C, C], and watch it.

    The minimum distance (a whole number of bits, "rule" or "max") and the seed act at the next Reset, or at Start and
    Step if they were changed. `factory(S, bits, min_distance=…, seed=…, sweeps=…)` makes the iterator of CenterSteps;
    by default `shc.centers.optimize_centers`. `pace` and `interval` are the shortest times between two steps and two
    frames in seconds. What cannot be done is told in the widget; only `static` raises ValueError.

    >>> CenterControls(np.eye(4), 8).static().alt.split("; ")[0]
    'Hash centers of 4 classes: similarity, distances and loss'
    """

    def __init__(
        self,
        S: np.ndarray,
        bits: int,
        min_distance: str | int = "rule",
        seed: int = 0,
        factory: Factory | None = None,
        *,
        sweeps: int | None = None,
        pace: float = PACE,
        interval: float = INTERVAL,
    ) -> None:
        super().__init__()
        self.S, self.num_bits, self.sweeps = S, bits, sweeps
        self.order = plots.dendrogram_order(S)
        self.figure = Figure()
        self.factory: Factory = factory or centers.optimize_centers
        self.pace, self.interval = pace, interval
        self.steps: list[CenterStep] = []
        self._optimizer: Iterator[CenterStep] | None = None
        self._used: tuple[str, str] | None = None  # what the inputs said when the optimizer was made
        self._task: asyncio.Task[None] | None = None
        wide = {"description_width": "initial"}
        self.distance = ipw.Text(
            str(min_distance), description="min. distance", style=wide, layout=ipw.Layout(width="12rem"),
            tooltip="a whole number of bits, rule or max",
        )  # fmt: skip
        self.seed = ipw.Text(str(seed), description="seed", style=wide, layout=ipw.Layout(width="8rem"))
        self.start = button("Start", self._start, "let the optimizer run")
        self.pause = button("Pause", self._pause, "hold it where it is")
        self.step = button("Step", self._step, "one record further")
        self.reset = button("Reset", self._reset, "begin again with the minimum distance and seed given here")
        self.message, self.status = ipw.HTML(), ipw.Label()
        controls = row([self.start, self.pause, self.step, self.reset, self.distance, self.seed])
        self.children = [controls, self.message, self.status, self.image]
        self._reset()

    @property
    def running(self) -> bool:
        """Whether the optimizer is being pulled right now."""
        return self._task is not None and not self._task.done()

    def static(self) -> Figure:
        """The final frame of a short run with these settings."""
        min_distance, seed = self._inputs()
        sweeps = min(self.sweeps or STATIC_SWEEPS, STATIC_SWEEPS)
        steps = list(self.factory(self.S, self.num_bits, min_distance=min_distance, seed=seed, sweeps=sweeps))
        return centers_frame(self.S, steps, -1, self.order)

    def close(self) -> None:
        """Stop the optimizer and remove the widget."""
        self._stop()
        super().close()

    def _start(self) -> None:
        if self.running or not self._ready():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._tell("Start works in a notebook; use Step here, or .static() for a picture")
            return
        self._task = loop.create_task(self._run())
        self._enable()

    def _pause(self) -> None:
        if self._stop():
            self._draw()

    def _step(self) -> None:
        self._stop()
        if self._ready():
            self._advance()
            self._draw()

    def _reset(self) -> None:
        self._stop()
        self._begin()

    def _stop(self) -> bool:
        """Stop pulling records; whether any were being pulled."""
        was_running = self.running
        if self._task is not None and was_running:
            self._task.cancel()
        self._task = None
        self._enable()
        return was_running

    def _ready(self) -> bool:
        """Begin anew if there is no run, it is over, or the inputs changed; False if that cannot be done."""
        same = self._used == (self.distance.value, self.seed.value)
        if self._optimizer is not None and same and self.steps[-1].stage != "done":
            return True
        return self._begin()

    def _begin(self) -> bool:
        """Make an optimizer from the inputs and show its first set; False, with a message, if there can be none."""
        self._optimizer, self._used = None, None
        try:
            min_distance, seed = self._inputs()
            optimizer = iter(
                self.factory(self.S, self.num_bits, min_distance=min_distance, seed=seed, sweeps=self.sweeps)
            )
            self.steps = [next(optimizer)]
        except Exception as error:  # a click never ends in a traceback
            self._tell(str(error) or "the optimizer has no steps to show")
            return False
        self._optimizer, self._used = optimizer, (self.distance.value, self.seed.value)
        self._tell("")
        self._draw()
        return True

    def _inputs(self) -> tuple[str | int, int]:
        """Minimum distance and seed as written in the inputs; ValueError if they make no sense."""
        distance, seed = self.distance.value.strip(), self.seed.value.strip()
        if not seed.isdecimal():
            raise ValueError(f'seed "{seed}": expected a whole number of at least 0')
        if distance in ("rule", "max"):
            return distance, int(seed)
        if not distance.isdecimal():
            raise ValueError(f'minimum distance "{distance}": expected a whole number of bits, rule or max')
        return int(distance), int(seed)

    def _advance(self) -> bool:
        """Pull one record; whether more will come."""
        assert self._optimizer is not None
        try:
            step = next(self._optimizer, None)
        except Exception as error:
            self._optimizer = None
            self._tell(f"the optimizer stopped: {error}")
            return False
        if step is None:
            self._optimizer = None
            return False
        self.steps.append(step)
        return step.stage != "done"

    async def _run(self) -> None:
        due = 0.0
        while self._advance():
            if time.monotonic() >= due:
                self._draw()
                due = time.monotonic() + self.interval
            await asyncio.sleep(self.pace)  # clicks are heard here
        self._task = None
        self._draw()
        self._enable()

    def _draw(self) -> None:
        draw_centers(self.figure, self.S, self.steps, -1, self.order)
        self.show(self.figure)
        self.status.value = centers_status(self.steps[-1])

    def _tell(self, problem: str) -> None:
        self.message.value = f"<b>⚠ {html.escape(problem)}</b>" if problem else ""

    def _enable(self) -> None:
        self.start.disabled, self.pause.disabled = self.running, not self.running


class HistorySlider(Pictured):
    """Replay the records of an optimization for S [C, C]: the slider, or Play, picks the frame.

    `order` int64 [C] sorts the heat map, by default S's dendrogram. ValueError if there are no records.

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
        self.children = [row([self.slider, self.play]), self.image]
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


def button(text: str, clicked: Callable[[], Any], tooltip: str = "") -> Any:
    """A push button."""
    made = ipw.Button(description=text, tooltip=tooltip or text, layout=ipw.Layout(width="6rem"))
    made.on_click(lambda _: clicked())
    return made


def row(widgets: Sequence[Any]) -> Any:
    """Widgets side by side, on several lines where the page is narrow."""
    return ipw.HBox(widgets, layout=ipw.Layout(flex_flow="row wrap"))
