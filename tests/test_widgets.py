"""Widgets, driven by their buttons as a browser would, with an optimizer that takes no time."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from shc import hamming
from shc.center_plots import centers_frame
from shc.centers import CenterStep
from shc.figures import Figure
from shc.widgets import BitFlipper, CenterControls, HistorySlider, flipper_figure

S = np.array([[1, 0.5, -0.5], [0.5, 1, -0.5], [-0.5, -0.5, 1]])
PNG = b"\x89PNG"


def steps_of(S, bits, *, min_distance, seed, sweeps=None, count=50):
    """A stand-in for optimize_centers: random codes, `count` annealing steps."""
    if min_distance not in ("rule", "max") and min_distance > bits:
        raise ValueError(f"min_distance={min_distance} is impossible: <at most {bits}>")
    rng = np.random.default_rng(seed)

    def steps():
        for i in range(count + 2):
            codes = rng.choice([-1, 1], (len(S), bits)).astype(np.int8)
            yield CenterStep(
                step=i, stage="start" if i == 0 else "done" if i == count + 1 else "anneal", loss=1 / (i + 1),
                best_loss=1 / (i + 1), min_distance=hamming.minimum_distance(codes), feasible=True, temperature=0.0,
                histogram=hamming.pair_histogram(codes), codes=codes, seconds=0.0, best_codes=codes,
                required_distance=0,
            )  # fmt: skip

    return steps()


@pytest.fixture
def quick(monkeypatch):
    """Small pictures instead of frames, for tests of what buttons do."""

    def draw(figure, S, steps, at, order):
        figure.set_size_inches(1, 1)
        figure.alt = f"frame of step {steps[at].step}"

    monkeypatch.setattr("shc.controls.draw_centers", draw)


def controls(**options):
    return CenterControls(S, 8, **{"factory": steps_of, "pace": 0.0, "interval": 60} | options)


async def until(condition):
    """Let the event loop run until `condition()`."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def test_start_pause_step_reset(quick):
    async def session():
        widget = controls()
        assert len(widget.steps) == 1 and bytes(widget.image.value).startswith(PNG), "the first set is shown at once"
        widget.start.click()
        assert widget.running and widget.start.disabled and not widget.pause.disabled
        await until(lambda: len(widget.steps) > 5)

        widget.pause.click()
        held = len(widget.steps)
        await asyncio.sleep(0.05)
        assert len(widget.steps) == held and not widget.running and not widget.start.disabled
        assert f"step {widget.steps[-1].step} " in widget.status.value, "what is shown is where it is held"

        widget.step.click()
        assert len(widget.steps) == held + 1 and f"step {widget.steps[-1].step} " in widget.status.value
        widget.start.click()
        await until(lambda: len(widget.steps) > held + 3)
        widget.step.click()
        assert not widget.running, "a step holds a run"
        assert [s.step for s in widget.steps] == list(range(len(widget.steps))), "no record is lost or shown twice"

        widget.reset.click()
        assert [s.step for s in widget.steps] == [0] and "step 0 (start)" in widget.status.value
        assert not widget.running

    asyncio.run(session())


def test_a_run_ends_and_start_begins_another(quick):
    async def session():
        widget = controls(factory=lambda *a, **k: steps_of(*a, **k, count=3))
        widget.start.click()
        await until(lambda: not widget.running)
        assert [s.stage for s in widget.steps] == ["start", "anneal", "anneal", "anneal", "done"]
        assert (
            "(done)" in widget.status.value
            and widget.alt == "frame of step 4"
            and not widget.start.disabled
            and widget.pause.disabled
        )
        widget.start.click()
        assert widget.running and len(widget.steps) == 1
        widget.close()
        await asyncio.sleep(0.02)
        assert not widget.running, "a closed widget leaves nothing running"

    asyncio.run(session())


def test_frames_are_drawn_no_more_often_than_the_interval(quick):
    async def session():
        widget = controls(interval=60)
        drawn = []
        show = widget.show
        widget.show = lambda figure: (drawn.append(len(widget.steps)), show(figure))
        widget.start.click()
        await until(lambda: not widget.running)
        assert len(widget.steps) == 52 and len(drawn) <= 2 and drawn[-1] == 52, "one when it starts, one when it ends"

    asyncio.run(session())


def test_pace_leaves_time_between_records(quick):
    async def session():
        widget = controls(pace=0.05)
        widget.start.click()
        await asyncio.sleep(0.3)
        assert len(widget.steps) <= 1 + 0.3 / 0.05 + 1
        widget.pause.click()

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


@pytest.mark.parametrize("distance, told", [("9", "9 is impossible"), ("far", "far"), ("-1", "-1"), ("2.5", "2.5")])
def test_an_impossible_minimum_distance_is_told_in_the_widget(quick, distance, told):
    widget = controls()
    widget.distance.value = distance
    for act in (widget.reset, widget.start, widget.step):
        act.click()
        assert told in widget.message.value and not widget.running
    if distance == "9":
        assert "&lt;at most 8&gt;" in widget.message.value, "a message is text, not HTML"
    else:
        assert "whole number of bits, rule or max" in widget.message.value
    widget.distance.value = " 3 "
    widget.reset.click()
    assert widget.message.value == "" and len(widget.steps) == 1


@pytest.mark.parametrize("seed", ["", "one", "-1", "1.5"])
def test_a_bad_seed_is_told_in_the_widget(quick, seed):
    widget = controls()
    widget.seed.value = seed
    widget.reset.click()
    assert f'seed "{seed}": expected a whole number' in widget.message.value.replace("&quot;", '"')


def test_a_bad_request_at_the_start_does_not_raise(quick):
    widget = controls(min_distance=9)
    assert "impossible" in widget.message.value and widget.steps == []
    assert "image/png" not in widget._repr_mimebundle_()
    widget.pause.click()
    with pytest.raises(ValueError, match="impossible"):
        widget.static()


def test_inputs_act_at_reset_and_at_start(quick):
    asked = []

    def factory(S, bits, *, min_distance, seed, sweeps):
        asked.append((min_distance, seed, sweeps))
        return steps_of(S, bits, min_distance=min_distance, seed=seed)

    widget = controls(factory=factory, sweeps=70)
    widget.distance.value, widget.seed.value = "2", "5"
    widget.step.click()
    assert len(widget.steps) == 2, "changed inputs begin a new run, and the step is its first"
    widget.step.click()
    widget.distance.value = "max"
    assert len(widget.steps) == 3, "an input alone changes nothing"
    widget.reset.click()
    assert asked == [("rule", 0, 70), (2, 5, 70), ("max", 5, 70)] and len(widget.steps) == 1


def test_an_optimizer_that_fails_on_the_way_is_told(quick):
    def factory(S, bits, **options):
        yield from list(steps_of(S, bits, **options))[:2]
        raise ValueError("out of luck")

    widget = controls(factory=factory)
    widget.step.click()
    widget.step.click()
    assert "the optimizer stopped: out of luck" in widget.message.value and len(widget.steps) == 2


def test_start_without_an_event_loop_says_so(quick):
    widget = controls()
    widget.start.click()
    assert "works in a notebook" in widget.message.value and not widget.running


def test_controls_static_is_the_end_of_a_real_run():
    figure = CenterControls(S, 8, min_distance=2, sweeps=20).static()
    assert isinstance(figure, Figure) and "(done)" in figure.alt and "keeps the minimum of 2" in figure.alt


def test_history_slider_shows_the_chosen_record():
    history = list(steps_of(S, 8, min_distance="rule", seed=0, count=4))
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
