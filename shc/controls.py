"""Controls of a running optimization (ipywidgets); notebooks find them in `shc.widgets`.

Long work runs in a thread of its own, pictures are drawn on the kernel's event loop, so that clicks are answered.
"""

import asyncio
import html
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import centers, constructions, plots
from shc.annealing import visit_seconds
from shc.center_plots import centers_frame, centers_status, draw_centers
from shc.figures import Figure
from shc.live import INTERVAL, SHARE
from shc.pictured import Pictured, button, ipw, row

if TYPE_CHECKING:
    from shc.center_optimizer import CenterOptimizer
    from shc.centers import CenterStep

SECONDS = 20  # about how long a watched run takes, so that an eye can follow
RECORDS = 500  # of a watched run: at whose ends clicks act: some hundredths of a second
LAG = 0.4  # seconds that a picture is behind, about: a frame that takes longer than the last stays under half a second
TICK = 0.02  # seconds between two looks at a running optimizer
STATIC_SWEEPS = 200  # visits per center of the run behind CenterControls.static(): tenths of a second for 100 classes

Factory = Callable[..., "CenterOptimizer"]


class CenterControls(Pictured):
    """Start, pause, step and reset a center optimization for S [C, C], change its settings while it runs, watch it.

    The sliders act on the running optimizer: the minimum distance in bits (one that no set is found for is told, and
    the slider goes back) and the heat, a factor on its temperatures. The seed acts at the next Reset, or at Start and
    Step if it was changed. Compare keeps the run as it is now beside those that follow.

    `factory(S, bits, min_distance=…, seed=…, sweeps=…, records=…)` makes the CenterOptimizer, by default
    `shc.centers.optimize_centers`; `sweeps` are by default as many as take about SECONDS. The optimizer runs in its own
    thread; pictures are drawn at least `interval` seconds apart, as seldom as drawing takes SHARE of the time but no
    more than LAG behind, and show the newest state. What cannot be done is told in the widget; only `static` raises
    ValueError.

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
        interval: float = INTERVAL,
    ) -> None:
        super().__init__()
        self.S, self.num_bits, self.interval = S, bits, interval
        self.sweeps = sweeps or max(1, round(SECONDS / (len(S) * visit_seconds(len(S), bits))))
        self.last = min(RECORDS, self.sweeps * len(S))  # about the number of the last step
        self.order = plots.dendrogram_order(S)
        self.figure = Figure()
        self.factory: Factory = factory or centers.optimize_centers
        self.steps: list[CenterStep] = []
        self.beside: list[CenterStep] = []  # the kept run
        self._optimizer: CenterOptimizer | None = None
        self._asked: str | int = min_distance  # what the next run keeps
        self._seed = ""  # what the seed's field said when the optimizer was made
        self._failure = ""  # why the optimizer stopped
        self._work: tuple[threading.Thread, threading.Event] | None = None  # the running optimizer, and what stops it
        self._tasks: dict[str, asyncio.Task[None]] = {}  # "watch" the optimizer, "keep" another distance
        wide = {"description_width": "initial"}
        self.distance = ipw.IntSlider(
            0, 0, _largest(bits, len(S)), description="min. distance (bits)", style=wide, continuous_update=False,
            layout=ipw.Layout(width="25rem"), tooltip="acts on the running optimizer when you let go",
        )  # fmt: skip
        self.heat = ipw.FloatLogSlider(
            1, min=-1, max=1, step=0.05, description="temperature ×", style=wide, readout_format=".2f",
            layout=ipw.Layout(width="22rem"), tooltip="acts on the running optimizer",
        )  # fmt: skip
        self.seed = ipw.Text(str(seed), description="seed", style=wide, layout=ipw.Layout(width="7rem"))
        self.start = button("Start", self._start, "let the optimizer run")
        self.pause = button("Pause", self._pause, "hold it where it is")
        self.step = button("Step", self._step, "one record further")
        self.reset = button("Reset", self._reset, "begin again with the minimum distance and seed given here")
        self.compare = ipw.ToggleButton(
            False, description="Compare", tooltip="keep this run beside the next", layout=ipw.Layout(width="6rem")
        )
        # as high also when there is nothing to tell, so that the picture stays where it is
        self.message = ipw.HTML(layout=ipw.Layout(min_height="1.6rem"))
        self.status = ipw.HTML()
        self.children = [
            row([self.start, self.pause, self.step, self.reset, self.compare, self.seed]),
            row([self.distance, self.heat]),
            self.gone, self.message, self.status, self.image,
        ]  # fmt: skip
        self._begin()
        self.distance.observe(lambda _: self._distance_moved(), "value")
        self.heat.observe(lambda _: self._warm(), "value")
        self.compare.observe(lambda _: self._set_beside(), "value")

    @property
    def running(self) -> bool:
        """Whether the optimizer is at work right now."""
        return self._work is not None and self._work[0].is_alive()

    def static(self) -> Figure:
        """The final frame of a short run with these settings."""
        sweeps = min(self.sweeps, STATIC_SWEEPS)
        steps = list(self._made(sweeps=sweeps))
        return centers_frame(self.S, steps, -1, self.order, beside=self.beside)

    def close(self) -> None:
        """Stop the optimizer and remove the widget."""
        self._leave()
        super().close()

    def _start(self) -> None:
        if self.running or not self._ready():
            return
        stop = threading.Event()
        arguments = self._optimizer, self.steps, stop
        # a daemon: a kernel that is shut down does not wait for it
        self._work = threading.Thread(target=self._pull, args=arguments, daemon=True), stop
        if not self._in_loop("watch", self._watch):
            self._work = None
            self._tell("Start works in a notebook; use Step here, or .static() for a picture")
            return
        self._work[0].start()
        self._enable()

    def _pause(self) -> None:
        """Hold the optimizer; the step that it is at is finished and shown."""
        if self._work is not None:
            self._work[1].set()

    def _step(self) -> None:
        if self.running:
            self._pause()
        elif self._ready():
            self._pull(self._optimizer, self.steps, None)
            self._draw()
            self._tell(self._failure)

    def _reset(self) -> None:
        self._begin()

    def _leave(self) -> None:
        """Let go of the optimizer; a step that it is at ends unseen."""
        self._pause()
        for task in self._tasks.values():
            task.cancel()
        self._tasks, self._work, self._optimizer = {}, None, None

    def _ready(self) -> bool:
        """Begin anew if there is no run, it is over, or the seed changed; False if that cannot be done."""
        if self._optimizer is not None and self._seed == self.seed.value and self.steps[-1].stage != "done":
            return True
        return self._begin()

    def _begin(self) -> bool:
        """Make an optimizer from the inputs and show its first set; False, with a message, if there can be none."""
        self._leave()
        self._failure = ""
        try:
            optimizer = self._made(sweeps=self.sweeps, records=RECORDS)
            first = next(optimizer)
        except Exception as error:  # a click never ends in a traceback
            self._tell(str(error) or "the optimizer has no steps to show")
            self._enable()
            return False
        self._optimizer, self.steps, self._seed = optimizer, [first], self.seed.value
        self._keeps(first.required_distance)
        self._warm()
        self._tell("")
        self._draw()
        self._enable()
        return True

    def _made(self, **options: Any) -> "CenterOptimizer":
        """An optimizer from the inputs; ValueError if they make no sense."""
        seed = self.seed.value.strip()
        if not seed.isdecimal():
            raise ValueError(f'seed "{seed}": expected a whole number of at least 0')
        return self.factory(self.S, self.num_bits, min_distance=self._asked, seed=int(seed), **options)

    def _pull(self, optimizer: Any, steps: "list[CenterStep]", stop: threading.Event | None) -> None:
        """Pull records until the run is over or `stop` is set; one record without `stop`."""
        try:
            for step in optimizer:
                steps.append(step)
                if stop is None or stop.is_set() or step.stage == "done":
                    return
            problem = "it has no more steps"
        except Exception as error:
            problem = str(error)
        if optimizer is self._optimizer:  # else another run has begun meanwhile
            self._optimizer, self._failure = None, f"the optimizer stopped: {problem}"

    async def _watch(self) -> None:
        """Draw the newest state now and then while the optimizer runs, and the last one in the end."""
        drawn, due = 0, 0.0
        while self.running:
            if len(self.steps) > drawn and time.monotonic() >= due:
                drawn, began = len(self.steps), time.monotonic()
                self._draw()
                due = began + self._wait(time.monotonic() - began)
            await asyncio.sleep(TICK)  # clicks are heard here
        self._work = None
        self._draw()
        self._enable()
        if self._failure:
            self._tell(self._failure)

    def _wait(self, took: float) -> float:
        """Seconds from the beginning of a frame that took so long to that of the next."""
        return max(self.interval, min(took / SHARE, LAG - took - TICK), 2 * took)

    def _distance_moved(self) -> None:
        """Have the optimizer keep the distance that the slider shows."""
        if self.distance.value == self._asked:
            return
        if self._optimizer is None:
            self._asked = self.distance.value  # for the next run
        elif not self._in_loop("keep", self._follow):
            self._answer(self.distance.value, self._keep(self._optimizer, self.distance.value))

    async def _follow(self) -> None:
        """Have the optimizer keep the slider's distance, until it shows what is kept."""
        optimizer = self._optimizer
        while (wanted := self.distance.value) != self._asked and optimizer is not None:
            self._tell(f"looking for centers at least {wanted} bits apart …", "")
            self._answer(wanted, await asyncio.to_thread(self._keep, optimizer, wanted))

    def _keep(self, optimizer: "CenterOptimizer", min_distance: int) -> str:
        """Why the optimizer cannot keep the distance; nothing if it will."""
        try:
            optimizer.keep(min_distance)
        except Exception as error:
            return str(error)
        return ""

    def _answer(self, wanted: int, problem: str) -> None:
        if not problem:
            self._asked = wanted
            self._tell("" if self.running else f"from the next step on, centers are kept {wanted} bits apart", "")
        else:
            self._tell(problem)
            if self.distance.value == wanted:
                self.distance.value = self._asked

    def _keeps(self, min_distance: int) -> None:
        """Let the slider show what is kept."""
        self._asked = min_distance
        self.distance.max = max(self.distance.max, min_distance)
        self.distance.value = min_distance

    def _warm(self) -> None:
        """Give the optimizer the slider's heat."""
        if self._optimizer is not None:
            try:
                self._optimizer.heat = self.heat.value
            except ValueError as error:
                self._tell(str(error))

    def _set_beside(self) -> None:
        self.beside = list(self.steps) if self.compare.value else []
        self.compare.button_style = "info" if self.beside else ""
        if self.steps:
            self._draw()

    def _in_loop(self, name: str, work: Callable[[], Any]) -> bool:
        """Run `work` on the event loop, unless it is running already; False if there is no loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = loop.create_task(work())
        return True

    def _draw(self) -> None:
        steps = list(self.steps)  # more may come while they are drawn
        draw_centers(self.figure, self.S, steps, -1, self.order, beside=self.beside, last=self.last)
        self.show(self.figure)
        temperature = f" · temperature {steps[-1].temperature:.0f}" if steps[-1].temperature else ""
        self.status.value = html.escape(centers_status(steps[-1]) + temperature)

    def _tell(self, problem: str, sign: str = "⚠") -> None:
        line = '<div style="line-height: 1.25">'
        self.message.value = f"{line}{sign} {html.escape(problem)}</div>" if problem else ""

    def _enable(self) -> None:
        self.start.disabled, self.pause.disabled = self.running, not self.running


def _largest(bits: int, classes: int) -> int:
    """Largest minimum distance that is not known to be impossible; K where there can be no centers at all."""
    try:
        return constructions.max_distance_limits(bits, classes).largest
    except ValueError:
        return bits
