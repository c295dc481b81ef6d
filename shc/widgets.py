"""Interactive parts of the notebooks (ipywidgets), each with a static twin drawn by the same function.

A widget shows its picture as a PNG that our figures make; nothing is fetched from outside. What a widget cannot do (an
impossible minimum distance, say) it tells in its own message line. Long work runs in small pieces on the kernel's event
loop, so that buttons answer meanwhile.
"""

import asyncio
import html
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import centers, hamming, plots
from shc.figures import BLUE, GREY, ORANGE, Figure, new_figure, style
from shc.live import INTERVAL, centers_frame, centers_status

try:
    import ipywidgets as ipw
except ImportError as error:
    raise ImportError("widgets need the extra `notebooks`: pip install 'semantic-hash-centers[notebooks]'") from error

if TYPE_CHECKING:
    from shc.centers import CenterStep

PACE = 0.1  # seconds between two optimization records, so that an eye can follow
STATIC_SWEEPS = 200  # proposals per bit of the run behind CenterControls.static(): a second for 100 classes
SHOWN_CLASSES = 20  # most bars in a BitFlipper

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
        self.image.value = figure.png()

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
        self.show(centers_frame(self.S, self.steps, -1, self.order))
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
            figure = centers_frame(self.S, self.history, at, self.order)
            self._pictures[at] = figure.png(), figure.alt
        self.image.value, self.alt = self._pictures[at]


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
        self.children = [row([self.choice, self.undo]), row(self.bits), self.told, self.image]
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
        both = np.stack([codes[own], code])
        top.imshow(both, cmap="cividis", vmin=-1.4, vmax=1.4, aspect="auto")
        for k in np.flatnonzero(both[0] != both[1]):
            top.add_patch(_rectangle(int(k)))
        if bits <= 40:
            for (row, k), bit in np.ndenumerate(both):
                sign, color = ("+", "black") if bit > 0 else ("−", "white")
                top.text(k, row, sign, ha="center", va="center", color=color)
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


class RetrievalBrowser(Pictured):
    """Choose a query and see its nearest database images.

    Images uint8 [Q, 3, S, S] and [N, 3, S, S], codes ±1 [Q, K] and [N, K], labels int64 [Q] and [N] (class ids);
    `class_names` and `groups` (super-class, int64 [C]) by class id. ValueError if they differ in number.
    """

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
        super().__init__()
        check_numbers("query", x_query, query_codes, y_query)
        check_numbers("database", x_database, database_codes, y_database)
        self.x_query, self.query_codes, self.y_query = x_query, query_codes, np.asarray(y_query)
        self.x_database, self.database_codes, self.y_database = x_database, database_codes, np.asarray(y_database)
        self.class_names, self.groups, self.neighbors = np.asarray(class_names), np.asarray(groups), neighbors
        self.query = ipw.IntSlider(
            0, 0, len(self.y_query) - 1, description="query", continuous_update=False, layout=ipw.Layout(width="32rem")
        )
        self._draws = np.random.default_rng(0)
        self.previous = button("Previous", lambda: self._go(self.query.value - 1))
        self.next = button("Next", lambda: self._go(self.query.value + 1))
        self.random = button("Random", lambda: self._go(int(self._draws.integers(len(self.y_query)))))
        self.told = ipw.Label()
        self.query.observe(lambda _: self._update(), "value")
        self.children = [row([self.query, self.previous, self.next, self.random]), self.told, self.image]
        self._update()

    def found(self, queries: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Nearest database images of the queries: indices and distances in bits, both [Q, neighbors]."""
        return hamming.nearest(self.query_codes[list(queries)], self.database_codes, self.neighbors)

    def strips(self, queries: Sequence[int]) -> Figure:
        """The retrieval strips of the queries."""
        return self._strips(queries, *self.found(queries))

    def static(self, queries: int = 4) -> Figure:
        """The strips of a few queries, from the one that is shown now."""
        first = self.query.value
        return self.strips(range(first, min(first + queries, len(self.y_query))))

    def _strips(self, queries: Sequence[int], index: np.ndarray, distance: np.ndarray) -> Figure:
        mine, theirs = self.y_query[list(queries)], self.y_database[index]
        relation = (mine[:, None] == theirs) * 1 + (self.groups[mine][:, None] == self.groups[theirs])
        names = list(self.class_names[mine])
        return plots.retrieval_strips(
            self.x_query[list(queries)], self.x_database[index], distance, relation, names, self.class_names[theirs]
        )

    def _go(self, query: int) -> None:
        self.query.value = query % len(self.y_query)

    def _update(self) -> None:
        query = self.query.value
        index, distance = self.found([query])
        right = (self.y_database[index[0]] == self.y_query[query]).sum()
        self.told.value = (
            f"query {query}: {self.class_names[self.y_query[query]]}; {right} of {index.shape[1]} neighbors of the "
            f"same class, at {', '.join(map(str, distance[0]))} bits"
        )
        self.show(self._strips([query], index, distance))


def check_numbers(told: str, images: Any, codes: np.ndarray, labels: Any) -> None:
    """Raise ValueError unless there is one code and one label for every image, and an image at all."""
    if not len(images) == len(codes) == len(labels) or not len(images):
        raise ValueError(
            f"{told}: {len(images)} images, {len(codes)} codes, {len(labels)} labels; pass one code and one label for "
            "every image, and at least one image"
        )


def button(text: str, clicked: Callable[[], Any], tooltip: str = "") -> Any:
    """A push button."""
    made = ipw.Button(description=text, tooltip=tooltip or text, layout=ipw.Layout(width="6rem"))
    made.on_click(lambda _: clicked())
    return made


def row(widgets: Sequence[Any]) -> Any:
    """Widgets side by side, on several lines where the page is narrow."""
    return ipw.HBox(widgets, layout=ipw.Layout(flex_flow="row wrap"))


def _bits(count: int) -> str:
    return f"{count} bit" if count == 1 else f"{count} bits"


def _rectangle(k: int) -> Any:
    """A frame around bit k of the edited code."""
    from matplotlib.patches import Rectangle

    return Rectangle((k - 0.45, 0.55), 0.9, 0.9, fill=False, edgecolor=ORANGE, lw=2)
