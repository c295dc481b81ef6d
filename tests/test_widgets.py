"""Widgets, driven by their buttons as a browser would, with an optimizer that takes no time."""

import asyncio
import itertools
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from shc import hamming
from shc.center_plots import centers_frame
from shc.centers import CenterStep
from shc.figures import Figure
from shc.widgets import BitFlipper, CenterControls, HistorySlider, flipper_figure

S = np.array([[1, 0.5, -0.5], [0.5, 1, -0.5], [-0.5, -0.5, 1]])
PNG = b"\x89PNG"


class Steps:
    """A stand-in for CenterOptimizer: random codes, `count` annealing steps of `slow` seconds."""

    def __init__(self, S, bits, *, min_distance, seed, sweeps=None, records=None, count=50, slow=0.0):
        self.rng, self.shape, self.count, self.slow = np.random.default_rng(seed), (len(S), bits), count, slow
        self.distance, self.heat, self.at, self.made = 0, None, 0, []
        self.keep(0 if min_distance in ("rule", "max") else min_distance)

    def keep(self, distance):
        if distance > self.shape[1]:
            raise ValueError(f"min_distance={distance} is impossible: <at most {self.shape[1]}>")
        self.distance = distance

    def __iter__(self):
        return self

    def __next__(self):
        i, self.at = self.at, self.at + 1
        if i == self.count + 2:
            raise StopIteration
        time.sleep(self.slow if i else 0)
        self.made.append(time.monotonic())
        codes = self.rng.choice([-1, 1], self.shape).astype(np.int8)
        return CenterStep(
            step=i, stage="start" if i == 0 else "done" if i == self.count + 1 else "anneal", loss=1 / (i + 1),
            best_loss=1 / (i + 1), min_distance=hamming.minimum_distance(codes), feasible=True,
            temperature=10.0 * (self.heat or 1), histogram=hamming.pair_histogram(codes), codes=codes, seconds=0.0,
            best_codes=codes, required_distance=self.distance,
        )  # fmt: skip


def many(*args, **options):
    return Steps(*args, **options, count=10**6, slow=0.001)


@pytest.fixture
def quick(monkeypatch):
    """Small pictures instead of frames, for tests of what buttons do."""

    def draw(figure, S, steps, at, order, beside=(), last=0):
        figure.set_size_inches(1, 1)
        figure.alt = f"frame of step {steps[at].step}" + (f" beside {beside[-1].step}" if beside else "")

    monkeypatch.setattr("shc.controls.draw_centers", draw)


def controls(**options):
    return CenterControls(S, 8, **{"factory": many, "interval": 60} | options)


async def until(condition):
    """Let the event loop run until `condition()`."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_start_pause_step_reset(quick):
    async def session():
        widget = controls()
        assert len(widget.steps) == 1 and bytes(widget.image.value).startswith(PNG), "the first set is shown at once"
        widget.start.click()
        assert widget.running and widget.start.disabled and not widget.pause.disabled
        await until(lambda: len(widget.steps) > 5)

        widget.pause.click()
        await until(lambda: not widget.start.disabled)
        held = len(widget.steps)
        await asyncio.sleep(0.05)
        assert len(widget.steps) == held and not widget.running and widget.pause.disabled
        assert f"step {widget.steps[-1].step} " in widget.status.value, "what is shown is where it is held"

        widget.step.click()
        assert len(widget.steps) == held + 1 and f"step {widget.steps[-1].step} " in widget.status.value
        widget.start.click()
        await until(lambda: len(widget.steps) > held + 3)
        widget.step.click()
        await until(lambda: not widget.running)
        assert [s.step for s in widget.steps] == list(range(len(widget.steps))), "no record is lost or shown twice"

        widget.start.click()
        widget.reset.click()
        assert [s.step for s in widget.steps] == [0] and "step 0 (start)" in widget.status.value
        await asyncio.sleep(0.05)
        assert len(widget.steps) == 1 and not widget.running and not widget.start.disabled, "the old run left no trace"

    asyncio.run(session())


def test_a_run_ends_and_start_begins_another(quick):
    async def session():
        widget = controls(factory=lambda *a, **k: Steps(*a, **k, count=3, slow=0.05))
        widget.start.click()
        await until(lambda: not widget.start.disabled)
        assert [s.stage for s in widget.steps] == ["start", "anneal", "anneal", "anneal", "done"]
        assert "(done)" in widget.status.value and widget.alt == "frame of step 4" and widget.pause.disabled
        widget.start.click()
        assert widget.running and widget.steps[0].step == 0 and len(widget.steps) < 5
        widget.close()
        await until(lambda: not widget.running)

    asyncio.run(session())


def test_frames_are_drawn_no_more_often_than_the_interval(quick):
    async def session():
        widget = controls(factory=lambda *a, **k: Steps(*a, **k, slow=0.002))
        drawn = []
        show = widget.show
        widget.show = lambda figure: (drawn.append(len(widget.steps)), show(figure))
        widget.start.click()
        await until(lambda: not widget.start.disabled)
        assert len(widget.steps) == 52 and len(drawn) <= 2 and drawn[-1] == 52, "one when it starts, one when it ends"

    asyncio.run(session())


@pytest.mark.parametrize("took, wait", [(0.001, 0.25), (0.02, 0.36), (0.04, 0.34), (0.1, 0.28), (0.4, 0.8)])
def test_frames_wait_for_their_share_of_the_time_but_lag_no_more_than_half_a_second(took, wait):
    assert controls(interval=0.25)._wait(took) == pytest.approx(wait)


def test_what_is_shown_is_never_half_a_second_old(quick, monkeypatch):
    """Under load: drawing takes 0.15 s, a step 0.01 s; frames are skipped, the newest state is shown."""
    shown = []

    def draw(figure, S, steps, at, order, beside=(), last=0):
        newest = len(steps)
        time.sleep(0.15)
        shown.append((newest, time.monotonic()))

    async def session():
        widget = controls(interval=0.25, factory=lambda *a, **k: Steps(*a, **k, count=10**6, slow=0.01))
        optimizer = widget._optimizer
        monkeypatch.setattr("shc.controls.draw_centers", draw)
        widget.start.click()
        await until(lambda: len(shown) > 4)
        widget.pause.click()
        await until(lambda: not widget.start.disabled)
        # a picture is behind from the moment that the first step it does not show is made, until the next is there
        behind = [at - optimizer.made[old] for (old, _), (_, at) in itertools.pairwise(shown)]
        assert max(behind) < 0.5 + 0.15, behind
        assert shown[-1][0] == len(widget.steps)

    asyncio.run(session())


def test_other_clicks_are_heard_while_it_runs(quick):
    async def session():
        widget, heard = controls(), []
        widget.start.click()
        asyncio.get_running_loop().call_soon(lambda: heard.append(widget.running))
        await until(lambda: heard)
        assert heard == [True]
        widget.pause.click()

    asyncio.run(session())


def test_sliders_act_on_the_running_optimizer(quick):
    async def session():
        widget = controls()
        widget.start.click()
        await until(lambda: len(widget.steps) > 2)
        widget.distance.value = 3
        widget.heat.value = 2
        await until(lambda: widget.steps[-1].required_distance == 3 and widget.steps[-1].temperature == 20)
        assert widget.running and [s.step for s in widget.steps] == list(range(len(widget.steps))), "the same run"
        assert widget.message.value == ""

        widget.distance.max = 99
        widget.distance.value = 9
        await until(lambda: "9 is impossible" in widget.message.value)
        assert "&lt;at most 8&gt;" in widget.message.value, "a message is text, not HTML"
        assert widget.distance.value == 3 and widget.running, "the slider shows what is kept"
        widget.distance.value = 4
        await until(lambda: widget.steps[-1].required_distance == 4)
        assert widget.message.value == ""
        widget.reset.click()
        assert widget.steps[0].required_distance == 4 and widget.distance.value == 4
        widget.step.click()
        assert widget.steps[-1].temperature == 20, "a run begins with the settings that are shown"

    asyncio.run(session())


def test_the_last_of_many_slider_values_counts(quick):
    class Slow(Steps):
        def keep(self, distance):
            time.sleep(0.05)
            super().keep(distance)

    async def session():
        widget = controls(factory=lambda *a, **k: Slow(*a, **k, count=10**6, slow=0.001))
        widget.start.click()
        for value in (1, 2, 3, 2, 5):
            widget.distance.value = value
            await asyncio.sleep(0.01)
        assert "looking for centers" in widget.message.value
        await until(lambda: widget.steps[-1].required_distance == 5 and not widget.message.value)
        widget.close()

    asyncio.run(session())


def test_a_slider_moved_while_it_is_held_acts_at_the_next_step(quick):
    widget = controls()
    widget.distance.value = 2
    assert len(widget.steps) == 1 and "from the next step on" in widget.message.value
    widget.step.click()
    assert widget.steps[-1].required_distance == 2 and len(widget.steps) == 2 and widget.message.value == ""


def test_compare_keeps_a_run_beside_the_next(quick):
    widget = controls()
    for _ in range(3):
        widget.step.click()
    widget.compare.value = True
    widget.seed.value = "5"
    widget.step.click()
    assert widget.alt == "frame of step 1 beside 3"
    widget.compare.value = False
    assert widget.alt == "frame of step 1" and len(widget.steps) == 2


@pytest.mark.parametrize("seed", ["", "one", "-1", "1.5"])
def test_a_bad_seed_is_told_in_the_widget(quick, seed):
    widget = controls()
    widget.seed.value = seed
    for act in (widget.reset, widget.start, widget.step):
        act.click()
        assert f'seed "{seed}": expected a whole number' in widget.message.value.replace("&quot;", '"')
        assert not widget.running and not widget.start.disabled


def test_a_bad_request_at_the_start_does_not_raise(quick):
    widget = controls(min_distance=9)
    assert "impossible" in widget.message.value and widget.steps == []
    assert "image/png" not in widget._repr_mimebundle_()
    widget.pause.click()
    with pytest.raises(ValueError, match="impossible"):
        widget.static()
    widget.compare.value = True
    widget.distance.value = 3
    widget.start.click()
    assert len(widget.steps) == 1 and widget.distance.value == 3, "what can be done is done then"


def test_inputs_of_the_next_run(quick):
    asked = []

    def factory(S, bits, *, min_distance, seed, sweeps, records):
        asked.append((min_distance, seed, sweeps))
        return Steps(S, bits, min_distance=min_distance, seed=seed)

    widget = controls(factory=factory, sweeps=70)
    assert widget.distance.value == 0, "the slider shows what the rule came to"
    widget.seed.value = "5"
    widget.step.click()
    assert len(widget.steps) == 2, "a changed seed begins a new run, and the step is its first"
    widget.distance.value = 2
    widget.step.click()
    assert len(widget.steps) == 3
    widget.reset.click()
    assert asked == [("rule", 0, 70), (0, 5, 70), (2, 5, 70)] and len(widget.steps) == 1


def test_an_optimizer_that_fails_on_the_way_is_told(quick):
    class Unlucky(Steps):
        def __next__(self):
            if self.at == 2:
                raise ValueError("out of luck")
            return super().__next__()

    widget = controls(factory=Unlucky)
    widget.step.click()
    widget.step.click()
    assert "the optimizer stopped: out of luck" in widget.message.value and len(widget.steps) == 2

    async def session():
        widget = controls(factory=Unlucky)
        widget.start.click()
        await until(lambda: "out of luck" in widget.message.value)
        assert not widget.running and not widget.start.disabled

    asyncio.run(session())


def test_start_without_an_event_loop_says_so(quick):
    widget = controls()
    widget.start.click()
    assert "works in a notebook" in widget.message.value and not widget.running


def test_watching_neither_holds_the_optimizer_up_nor_lags():
    """The bounds are loose, since tests share the machine; `benchmarks/live.py` measures on a free one."""
    path = Path(__file__).parent.parent / "benchmarks" / "live.py"
    live = SimpleNamespace(**runpy.run_path(str(path)))
    S = live.class_similarity(100)
    runs = [(live.alone(S, 32, 4000), live.watched(S, 32, 4000)) for _ in range(4)][1:]
    alone, watched = min(bare for bare, _ in runs), min(seen["seconds"] for _, seen in runs)
    assert watched < 1.5 * alone, f"{alone:.2f} s alone, {watched:.2f} s watched"
    assert min(seen["lag"] for _, seen in runs) < 1 and all(seen["frames"] >= 2 for _, seen in runs)


def test_dead_controls_say_so():
    """JupyterLab gives a class to widgets whose kernel is gone; the styles are there from the beginning."""
    for widget in (controls(), HistorySlider([controls().steps[0]], S)):
        assert widget.gone in widget.children and "shc-widget" in widget._dom_classes
        assert "jupyter-widgets-disconnected" in widget.gone.value and "run this cell again" in widget.gone.value


def test_controls_static_is_the_end_of_a_real_run():
    figure = CenterControls(S, 8, min_distance=2, sweeps=20).static()
    assert isinstance(figure, Figure) and "(done)" in figure.alt and "keeps the minimum of 2" in figure.alt


def test_history_slider_shows_the_chosen_record():
    history = list(Steps(S, 8, min_distance="rule", seed=0, count=4))
    widget = HistorySlider(history, S, np.arange(3))
    last = widget.image.value
    assert "step 5 (done)" in widget.alt and widget.slider.max == 5
    widget.slider.value = 2
    assert "step 2 (anneal)" in widget.alt and widget.image.value != last
    widget.slider.value = 5
    assert widget.image.value == last
    assert last == centers_frame(S, history, -1, np.arange(3)).frame(), "redrawn frames are those drawn anew"
    assert "step 5 (done)" in widget.static().alt
    with pytest.raises(ValueError, match="no history to replay"):
        HistorySlider([], S)


CODES = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, -1, -1, -1], [-1, -1, -1, -1, -1, -1]], dtype=np.int8)
NAMES = ["cat", "dog", "car"]


def test_flipped_bits_change_the_distances():
    widget = BitFlipper(CODES, NAMES)
    assert list(widget.distances) == [0, 3, 6]
    for k in (3, 4):
        widget.bits[k].value = not widget.bits[k].value
    assert list(widget.distances) == [2, 1, 4] and list(widget.code[0]) == [1, 1, 1, -1, -1, 1]
    assert widget.told.value == "nearest: dog (1 bit); own class cat: 2 bits"
    assert [b.description for b in widget.bits] == ["+", "+", "+", "−", "−", "+"]
    assert [k for k, b in enumerate(widget.bits) if "flipped" in b.tooltip] == [3, 4]
    widget.undo.click()
    assert list(widget.distances) == [0, 3, 6]
    widget.choice.value = 2
    assert list(widget.distances) == [6, 3, 0] and not any("flipped" in b.tooltip for b in widget.bits)


def test_choosing_a_class_draws_once():
    widget, drawn = BitFlipper(CODES, NAMES), []
    widget.image.observe(lambda _: drawn.append(1), "value")
    widget.choice.value = 2
    assert len(drawn) == 1


def test_flipper_static_shows_what_is_flipped_now():
    widget = BitFlipper(CODES, NAMES)
    widget.bits[5].value = False
    figure = widget.static()
    strip, bars = figure.axes
    assert np.array_equal(strip.images[0].get_array(), [CODES[0], widget.code[0]])
    assert len(strip.patches) == 1 and strip.get_title(loc="left") == "1 bit flipped (framed)"
    assert [bar.get_width() for bar in bars.patches] == [1, 2, 5]
    assert [t.get_text() for t in bars.get_yticklabels()] == ["cat", "dog", "car"]
    assert "own class cat: 1 bit" in figure.alt


def test_flipper_shows_the_nearest_of_many_classes():
    codes = np.random.default_rng(0).choice([-1, 1], (100, 64)).astype(np.int8)
    figure = flipper_figure(codes, [str(i) for i in range(100)], 7, codes[7])
    assert len(figure.axes[1].patches) == 20 and "nearest 20 of 100" in figure.axes[1].get_title(loc="left")
    assert figure.axes[1].get_yticklabels()[0].get_text() == "7"


def test_flipper_wants_one_name_per_code():
    with pytest.raises(ValueError, match="2 names for 3 codes"):
        BitFlipper(CODES, ["cat", "dog"])


def test_a_notebook_read_elsewhere_keeps_the_picture():
    for widget in (controls(), BitFlipper(CODES, NAMES)):
        data, metadata = widget._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in data and data["image/png"].startswith(PNG)
        assert metadata["image/png"]["alt"] == data["text/plain"] == widget.alt


def test_without_ipywidgets_the_extra_is_named():
    code = "import sys; sys.modules['ipywidgets'] = None; import shc.widgets"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode and "ImportError: widgets need the extra `notebooks`" in done.stderr
