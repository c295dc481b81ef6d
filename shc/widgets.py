"""Interactive parts of the notebooks (ipywidgets), each with a static twin drawn by the same function.

A widget shows its picture as a PNG that our figures make; nothing is fetched from outside. What a widget cannot do (an
impossible minimum distance, say) it tells in its own message line.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import centers, hamming, plots
from shc.figures import Figure
from shc.live import INTERVAL, centers_frame, centers_status

try:
    import ipywidgets as ipw
except ImportError as error:
    raise ImportError("widgets need the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'") from error

if TYPE_CHECKING:
    from shc.centers import CenterStep

PACE = 0.06  # seconds between two optimization records, so that an eye can follow


def picture(figure: Figure) -> Any:
    """An image widget that shows `figure`, with its alternative text."""
    image = ipw.Image(format="png", layout=ipw.Layout(max_width="100%"))
    return show(image, figure)


def show(image: Any, figure: Figure) -> Any:
    """Put another figure into an image widget."""
    image.value = figure.png()
    image.alt = figure.alt
    return image


class CenterControls(ipw.VBox):
    """Start, pause, step and reset a center optimization for S [C, C]; minimum distance and seed act at the next reset.

    `factory(min_distance, seed)` makes the iterator of CenterSteps; by default `shc.centers.optimize_centers`.
    """

    def __init__(
        self,
        S: np.ndarray,
        bits: int,
        min_distance: str | int = "rule",
        seed: int = 0,
        factory: Callable[[Any, int], Iterator["CenterStep"]] | None = None,
        pace: float = PACE,
    ) -> None:
        self.S, self.order, self.pace = S, plots.dendrogram_order(S), pace
        self.factory = factory or (lambda d, s: centers.optimize_centers(S, bits, min_distance=d, seed=s))
        self.steps: list[CenterStep] = []
        self._optimizer: Iterator[CenterStep] | None = None
        self._task: asyncio.Task[None] | None = None
        self._drawn = 0.0
        self.distance = ipw.Text(str(min_distance), description="min. distance", layout=ipw.Layout(width="13rem"))
        self.seed = ipw.Text(str(seed), description="seed", layout=ipw.Layout(width="11rem"))
        self.start, self.pause, self.step, self.reset = (
            ipw.Button(description=text, tooltip=told, layout=ipw.Layout(width="6rem"))
            for text, told in (
                ("Start", "let the optimizer run"),
                ("Pause", "hold it where it is"),
                ("Step", "one record further"),
                ("Reset", "begin again with the minimum distance and seed given here"),
            )
        )
        self.start.on_click(lambda _: self._start())
        self.pause.on_click(lambda _: self._pause())
        self.step.on_click(lambda _: self._step())
        self.reset.on_click(lambda _: self._reset())
        self.message = ipw.Label()
        self.image = ipw.Image(format="png", layout=ipw.Layout(max_width="100%"))
        buttons = ipw.HBox([self.start, self.pause, self.step, self.reset])
        super().__init__([ipw.HBox([buttons, self.distance, self.seed]), self.message, self.image])
        self._reset()

    @property
    def running(self) -> bool:
        """Whether the optimizer is being pulled right now."""
        return self._task is not None and not self._task.done()

    def static(self) -> Figure:
        """The final frame of a whole run with these settings."""
        steps = list(self.factory(self._distance(), int(self.seed.value)))
        return centers_frame(self.S, steps, -1, self.order)

    def _distance(self) -> str | int:
        text = self.distance.value.strip()
        return int(text) if text.lstrip("-").isdecimal() else text

    def _reset(self) -> None:
        self._pause()
        self.steps = []
        try:
            if not self.seed.value.strip().isdecimal():
                raise ValueError(f"seed {self.seed.value!r} must be a whole number, 0 or above")
            self._optimizer = iter(self.factory(self._distance(), int(self.seed.value)))
            self._advance(force=True)
        except ValueError as error:
            self._optimizer = None
            self.message.value = str(error)

    def _start(self) -> None:
        if not self.running and self._optimizer is not None:
            self._task = asyncio.get_event_loop().create_task(self._run())

    def _pause(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self.steps:
            self._draw(force=True)

    def _step(self) -> None:
        self._pause()
        self._advance(force=True)

    async def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            while self._advance():
                await asyncio.sleep(self.pace)
            self._draw(force=True)

    def _advance(self, force: bool = False) -> bool:
        """Pull one record; whether there was one."""
        if self._optimizer is None:
            return False
        step = next(self._optimizer, None)
        if step is None:
            return False
        self.steps.append(step)
        self._draw(force)
        return True

    def _draw(self, force: bool = False) -> None:
        if force or time.monotonic() - self._drawn >= INTERVAL:
            show(self.image, centers_frame(self.S, self.steps, -1, self.order))
            self.message.value = centers_status(self.steps[-1])
            self._drawn = time.monotonic()


class HistorySlider(ipw.VBox):
    """Replay the records of an optimization: the slider picks the frame."""

    def __init__(self, history: "Sequence[CenterStep]", S: np.ndarray, order: np.ndarray | None = None) -> None:
        if not history:
            raise ValueError("there is no history to replay; let the optimizer run first")
        self.history, self.S = history, S
        self.order = plots.dendrogram_order(S) if order is None else order
        last = len(history) - 1
        self.slider = ipw.IntSlider(
            last, 0, last, description="record", continuous_update=True, layout=ipw.Layout(width="36rem")
        )
        self.image = picture(self._frame(last))
        self.slider.observe(lambda change: show(self.image, self._frame(change["new"])), "value")
        super().__init__([self.slider, self.image])

    def _frame(self, at: int) -> Figure:
        return centers_frame(self.S, self.history, at, self.order)

    def static(self) -> Figure:
        """The last frame."""
        return self._frame(len(self.history) - 1)


class BitFlipper(ipw.VBox):
    """Flip the bits of a class's code by hand and see which center is then the nearest."""

    def __init__(self, codes: np.ndarray, names: Sequence[str]) -> None:
        self.codes, self.names = codes, list(names)
        self.choice = ipw.Dropdown(options=[(name, i) for i, name in enumerate(self.names)], description="code of")
        self.bits = [ipw.ToggleButton(layout=ipw.Layout(width="2.6rem")) for _ in range(codes.shape[1])]
        self.undo = ipw.Button(description="Reset", tooltip="the class's own code again")
        self.told, self.image = ipw.Label(), ipw.Image(format="png", layout=ipw.Layout(max_width="100%"))
        self._quiet = False
        self.choice.observe(lambda _: self._load(), "value")
        self.undo.on_click(lambda _: self._load())
        for bit in self.bits:
            bit.observe(lambda _: self._update(), "value")
        super().__init__([ipw.HBox([self.choice, self.undo]), ipw.HBox(self.bits), self.told, self.image])
        self._load()

    @property
    def code(self) -> np.ndarray:
        """int8 [1, K]: the code as it is flipped now."""
        return np.array([[1 if bit.value else -1 for bit in self.bits]], dtype=np.int8)

    @property
    def distances(self) -> np.ndarray:
        """int [C]: bits between the flipped code and every center."""
        return hamming.distance(self.code, self.codes)[0]

    def _load(self) -> None:
        self._quiet = True
        for bit, value in zip(self.bits, self.codes[self.choice.value], strict=True):
            bit.value = bool(value > 0)
        self._quiet = False
        self._update()

    def _update(self) -> None:
        for bit in self.bits:
            bit.description = "+" if bit.value else "−"
        if not self._quiet:
            distances = self.distances
            nearest = [name for name, d in zip(self.names, distances, strict=True) if d == distances.min()]
            own = distances[self.choice.value]
            self.told.value = f"nearest: {', '.join(nearest)} ({distances.min()} bits); own center: {own} bits"
            show(self.image, self.static())

    def static(self) -> Figure:
        """The flipped code above all centers, nearest first, differing bits framed."""
        order = np.argsort(self.distances, kind="stable")
        rows = np.concatenate([self.code, self.codes[order]])
        return plots.code_strip(rows, ["your code", *[self.names[i] for i in order]])


class RetrievalBrowser(ipw.VBox):
    """Choose a query and see its nearest database images; labels are class ids, `groups` int64 [C] super-classes."""

    def __init__(
        self,
        x_query: Any,
        query_codes: np.ndarray,
        y_query: Any,
        x_database: Any,
        database_codes: np.ndarray,
        y_database: Any,
        class_names: Sequence[str],
        groups: np.ndarray,
        neighbors: int = 10,
    ) -> None:
        self.x_query, self.query_codes, self.y_query = x_query, query_codes, np.asarray(y_query)
        self.x_database, self.database_codes, self.y_database = x_database, database_codes, np.asarray(y_database)
        self.class_names, self.groups, self.neighbors = np.asarray(class_names), groups, neighbors
        self.query = ipw.IntSlider(
            0, 0, len(self.y_query) - 1, description="query", continuous_update=False, layout=ipw.Layout(width="32rem")
        )
        self.previous, self.next, self.random = (
            ipw.Button(description=text, layout=ipw.Layout(width="6rem")) for text in ("Previous", "Next", "Random")
        )
        self.previous.on_click(lambda _: self._go(self.query.value - 1))
        self.next.on_click(lambda _: self._go(self.query.value + 1))
        self._draws = np.random.default_rng(0)
        self.random.on_click(lambda _: self._go(int(self._draws.integers(len(self.y_query)))))
        self.told, self.image = ipw.Label(), ipw.Image(format="png", layout=ipw.Layout(max_width="100%"))
        self.query.observe(lambda _: self._update(), "value")
        super().__init__([ipw.HBox([self.query, self.previous, self.next, self.random]), self.told, self.image])
        self._update()

    def found(self, queries: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Nearest database images of the queries: indices and distances in bits, both [Q, neighbors]."""
        return hamming.nearest(self.query_codes[list(queries)], self.database_codes, self.neighbors)

    def strips(self, queries: Sequence[int]) -> Figure:
        """The retrieval strips of the queries."""
        index, distance = self.found(queries)
        mine, theirs = self.y_query[list(queries)], self.y_database[index]
        relation = (mine[:, None] == theirs) * 1 + (self.groups[mine][:, None] == self.groups[theirs])
        names = list(self.class_names[mine])
        return plots.retrieval_strips(
            self.x_query[list(queries)], self.x_database[index], distance, relation, names, self.class_names[theirs]
        )

    def static(self) -> Figure:
        """The strip of the query that is shown now."""
        return self.strips([self.query.value])

    def _go(self, query: int) -> None:
        self.query.value = query % len(self.y_query)

    def _update(self) -> None:
        query = self.query.value
        index, distance = self.found([query])
        right = (self.y_database[index[0]] == self.y_query[query]).sum()
        name = self.class_names[self.y_query[query]]
        self.told.value = (
            f"query {query}: {name}; {right} of {self.neighbors} neighbors of the same class, "
            f"at {distance.min()} to {distance.max()} bits"
        )
        show(self.image, self.strips([query]))
