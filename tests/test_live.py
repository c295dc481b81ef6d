"""Live plots: how often they draw, what stays at the end, and what the frames say."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from shc import live
from shc.center_plots import draw_centers
from shc.centers import CenterStep
from shc.class_plots import lowest_shown
from shc.figures import Figure
from shc.hamming import minimum_distance, pair_histogram
from shc.live import (
    LivePlot,
    centers_frame,
    centers_plot,
    centers_status,
    duration,
    thinned,
    training_frame,
    training_plot,
)


class Clock:
    """A clock that is set by hand; `cost` passes whenever something is drawn."""

    def __init__(self, cost=0.0):
        self.now, self.cost, self.drawn = 0.0, cost, []

    def __call__(self):
        return self.now

    def draw(self, states):
        self.now += self.cost
        self.drawn.append(len(states))
        figure = Figure(figsize=(1, 1))
        figure.alt = f"{len(states)} states"
        return figure


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would show: a list of (new or replaced, figure or the data of a frame)."""
    calls = []

    def display(picture, display_id=False, **options):
        assert display_id, "without an id the picture could not be replaced"
        calls.append(("new", picture))
        return SimpleNamespace(update=lambda picture, **options: calls.append(("replaced", picture)))

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(live, "in_kernel", lambda: True)
    return calls


def step_of(codes, step=0, stage="anneal", loss=0.5, required=1):
    codes = np.asarray(codes, dtype=np.int8)
    closest = minimum_distance(codes)
    return CenterStep(
        step=step, stage=stage, loss=loss, best_loss=loss + 0.1, min_distance=closest, feasible=closest >= required,
        temperature=0.0, histogram=pair_histogram(codes), codes=codes, seconds=0.0, best_codes=codes,
        required_distance=required,
    )  # fmt: skip


def record(step, val=None, **other):
    given = dict(
        step=step, steps=200, epoch=1 + (step - 1) // 50, loss=2.0 / step, terms={}, lr=0.1, images_per_second=640.0,
        seconds=step / 10, val=val,
    )  # fmt: skip
    return given | other


CODES = [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]]
S = np.array([[1, 0.5, -0.5], [0.5, 1, -0.5], [-0.5, -0.5, 1]])


@pytest.mark.parametrize("every", [0.01, 0.1, 0.25, 0.3])
def test_at_most_four_frames_a_second(shown, every):
    clock = Clock()
    with LivePlot(clock.draw, clock=clock) as plot:
        times = []
        for _ in range(200):
            before = len(shown)
            plot.update(None)
            if len(shown) > before:
                times.append(clock.now)
            clock.now += every
    assert len(times) > 5 and min(np.diff(times)) >= 0.25 - 1e-9
    assert max(np.diff(times)) <= 0.25 + every + 1e-9, "frames are not held back longer than needed"


@pytest.mark.parametrize("cost, share", [(0.02, 0.05), (0.3, 0.05), (1.0, 0.05), (0.3, 0.2), (0.1, 1.0)])
def test_drawing_takes_no_more_than_its_share_of_the_time(shown, cost, share):
    clock = Clock(cost=cost)
    with LivePlot(clock.draw, share=share, clock=clock) as plot:
        while clock.now < 200:
            plot.update(None)
            assert plot.drawing <= share * clock.now + 1e-9 or plot.frames == 1, "the first frame is shown at once"
            clock.now += 0.01
        assert plot.frames == len(clock.drawn) and plot.drawing == pytest.approx(cost * plot.frames)
        most = min(share / cost, 4) * clock.now
        assert 0.9 * most - 2 <= plot.frames <= most, "frames are not held back longer than needed"


def test_redrawing_for_less_shows_more_frames_within_the_share(shown):
    clock = Clock(cost=0.1)

    def redraw(figure, states):
        clock.now += 0.03

    with LivePlot(clock.draw, redraw, clock=clock) as plot:
        while clock.now < 60:
            plot.update(None)
            assert plot.drawing <= 0.05 * clock.now + 1e-9 or plot.frames == 1
            if plot.frames == 1:
                second = clock.now
            clock.now += 0.01
    assert second <= 0.15 / 0.05 + 0.1, "the second frame does not wait as if it were another first"
    assert plot.frames > 0.9 * 60 * 0.05 / 0.03


def test_the_share_counts_from_the_start_of_the_block(shown):
    clock = Clock(cost=0.1)
    plot = LivePlot(clock.draw, clock=clock)
    clock.now += 100  # between the cell that makes the plot and the one that uses it
    with plot:
        for _ in range(100):
            plot.update(None)
            clock.now += 0.01
        assert plot.frames == 1
    assert plot.drawing == pytest.approx(0.1), "the final figure does not count"


def test_one_place_is_redrawn_and_the_last_state_stays(shown):
    clock = Clock()
    with LivePlot(clock.draw, clock=clock) as plot:
        for _ in range(7):
            plot.update(None)
            clock.now += 0.1
    assert [how for how, _ in shown] == ["new"] + ["replaced"] * (len(shown) - 1)
    assert shown[-1][1] is plot.figure and plot.figure.alt == "7 states"


def test_not_live_shows_the_final_figure_once(shown):
    clock = Clock()
    with LivePlot(clock.draw, live=False, clock=clock) as plot:
        for _ in range(5):
            plot.update(None)
            clock.now += 1
    assert clock.drawn == [5] and shown == [("new", plot.figure)]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_last_picture_and_goes_on(shown, kind):
    clock = Clock()
    with pytest.raises(kind, match="stopped"), LivePlot(clock.draw, clock=clock) as plot:
        plot.update(None)
        plot.update(None)
        raise kind("stopped")
    assert shown[-1] == ("replaced", plot.figure) and plot.figure.alt == "2 states"


def test_an_error_in_the_block_is_told_rather_than_one_in_drawing(shown):
    def broken(states):
        raise ValueError("cannot draw")

    with pytest.raises(RuntimeError, match="the cause"), LivePlot(broken, live=False) as plot:
        plot.update(None)
        raise RuntimeError("the cause")
    with pytest.raises(ValueError, match="cannot draw"), LivePlot(broken, live=False) as plot:
        plot.update(None)


def test_nothing_to_show_shows_nothing(shown):
    with LivePlot(Clock().draw) as plot:
        pass
    assert shown == [] and plot.figure is None


def test_outside_a_notebook_nothing_is_written(monkeypatch, capsys):
    shell = SimpleNamespace(get_ipython=lambda: None)
    for ipython in (shell, SimpleNamespace(get_ipython=lambda: object())):  # plain Python, and IPython in a terminal
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        clock = Clock()
        with LivePlot(clock.draw, clock=clock) as plot:
            plot.update(None)
        assert clock.drawn == [1] and isinstance(plot.figure, Figure)
    assert capsys.readouterr() == ("", "")


def test_alternative_text_goes_to_the_notebook(shown):
    with LivePlot(Clock().draw, alt="what to see") as plot:
        plot.update(None)
    data, metadata = shown[-1][1]._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG") and metadata["image/png"]["alt"] == "what to see"
    assert plot.figure.alt == "what to see"


def test_interval_is_checked():
    with pytest.raises(ValueError, match=r"interval=-1 .* 0 or more"):
        LivePlot(Clock().draw, interval=-1)
    for share in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=rf"share={share} .* at most 1"):
            LivePlot(Clock().draw, share=share)


def test_frames_redraw_one_figure_and_the_end_is_drawn_anew(shown):
    clock = Clock()
    redrawn = []
    with LivePlot(clock.draw, lambda figure, states: redrawn.append((figure, len(states))), clock=clock) as plot:
        plot.update(None)
        first = plot.figure
        for _ in range(2):
            clock.now += 1
            plot.update(None)
    assert clock.drawn == [1, 3] and redrawn == [(first, 2), (first, 3)]
    frames, (_, final) = shown[:-1], shown[-1]
    assert [set(data) for _, data in frames] == [{"image/png", "text/plain"}] * 3
    assert final is plot.figure is not first and plot.frames == 3


def test_training_frame_tells_speed_time_left_and_best_value():
    records = [record(s, val={50: 0.3, 100: 0.6, 150: 0.5}.get(s)) for s in range(10, 160, 10)]
    figure = training_frame(records, "classifier")
    title = figure.get_suptitle()
    assert (
        title == "classifier: step 150 of 200 · 640 images/s · 5 s left · loss 0.013 · best val 0.600 (epoch 2, 10 s)"
    )
    assert title.removeprefix("classifier: ") in figure.alt
    loss, val = figure.axes
    assert loss.get_xlim() == (0, 200), "the axis shows how much is still to come"
    assert list(loss.lines[0].get_ydata()) == [r["loss"] for r in records]
    assert list(val.lines[0].get_xdata()) == [1, 2, 3] and list(val.lines[0].get_ydata()) == [0.3, 0.6, 0.5]
    assert val.get_xlim() == (0.5, 4.5), "200 steps of 50 an epoch are 4 epochs"


def test_a_long_title_takes_two_lines_inside_the_picture():
    facts = dict(steps=20_000, images_per_second=12_345.0, left=4000.0, memory=12_345 * 2**20, device="cuda", batch=64)
    given = [record(s, val=0.5, **facts, batch_wanted=128) for s in (1000, 12_340)]
    figure = training_frame(given, "hasher, semantic centers")
    title = figure.get_suptitle()
    assert title.count("\n") == 1 and title.endswith("12,345 MB of GPU memory · batch 64, since 128 did not fit")
    figure.canvas.draw()
    box = figure._suptitle.get_window_extent()
    assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_training_frame_before_the_first_validation_and_at_the_end():
    assert "not validated yet" in [t.get_text() for t in training_frame([record(10)]).axes[1].texts]
    end = training_frame([record(50, images_per_second=100.0), record(200, val=0.7)])
    assert "200 steps · 370 images/s · 20 s in all" in end.get_suptitle()
    assert training_frame([record(200, val=-0.1)]).axes[1].get_ylim()[0] == -0.1


def test_long_histories_are_thinned():
    figure = training_frame([record(s, steps=9000) for s in range(1, 5001)])
    drawn = figure.axes[0].lines[0].get_xdata()
    assert len(drawn) <= live.POINTS and drawn[0] == 1 and drawn[-1] == 5000
    assert thinned([1, 2, 3]) == [1, 2, 3]


def test_training_plot_draws_records(shown):
    with training_plot("hasher") as plot:
        for s in (10, 20):
            plot.update(record(s))
    assert plot.figure.get_suptitle().startswith("hasher: step 20 of 200")
    assert isinstance(plot.figure.png(), bytes)


def test_centers_frame_shows_the_codes_in_the_given_order():
    figure = centers_frame(S, [step_of(CODES)], order=np.array([2, 0, 1]))
    shown = figure.axes[0].images[0].get_array()
    assert np.allclose(shown, [[1, -1, -0.5], [-1, 1, 0.5], [-0.5, 0.5, 1]])
    assert figure.axes[0].images[0].get_clim() == (lowest_shown(S), 1)
    assert [bar.get_height() for bar in figure.axes[1].patches] == [0, 1, 0, 1, 1]
    assert figure.png().startswith(b"\x89PNG")


def test_a_set_that_is_too_close_is_said_to_be():
    steps = [step_of(CODES, required=1), step_of(CODES, step=1, required=2)]
    kept, broken = centers_frame(S, steps, 0), centers_frame(S, steps, 1)
    assert "✓" in kept.axes[1].get_title(loc="left") and "✓ keeps the minimum of 1" in kept.alt
    assert "✗ too close" in broken.axes[1].get_title(loc="left") and "✗ breaks the minimum of 2" in broken.alt
    assert [bool(bar.get_hatch()) for bar in broken.axes[1].patches] == [True] * 2 + [False] * 3, "not by colour alone"
    assert "minimum of 3" in centers_frame(S, steps, 0, min_distance=3).alt


def test_the_loss_panel_shows_all_steps_and_marks_the_one_shown():
    steps = [step_of(CODES, step=i, loss=1 / (i + 1)) for i in range(30)]
    right = centers_frame(S, steps, 12).axes[2]
    assert list(right.lines[0].get_ydata()) == [s.loss for s in steps]
    assert (right.lines[2].get_xdata()[0], right.lines[2].get_ydata()[0]) == (12, 1 / 13)
    assert right.get_xlim() == (0, 30), "the next round number"
    assert centers_frame(S, [step_of(CODES, loss=-0.1)]).axes[2].get_ylim() == (0, 1), "a loss of 0 still has an axis"


def test_a_redrawn_frame_is_the_frame_drawn_anew():
    codes = np.random.default_rng(0).choice([-1, 1], (30, 3, 9))
    steps = [step_of(c, step=i, loss=1 / (i + 1), required=2) for i, c in enumerate(codes)]
    figure, order = Figure(), np.array([2, 0, 1])
    for at, known, wanted in ((0, 1, None), (20, 25, None), (3, 30, None), (29, 30, 4)):
        draw_centers(figure, S, steps[:known], at, order, wanted)
        anew = centers_frame(S, steps[:known], at, order, wanted)
        assert figure.frame() == anew.frame() and figure.alt == anew.alt


def test_another_code_length_begins_the_figure_anew():
    figure = Figure()
    for codes in (CODES, np.ones((3, 7)), CODES):
        draw_centers(figure, S, [step_of(codes)], -1, np.arange(3))
        assert len(figure.axes[1].patches) == np.shape(codes)[1] + 1


def test_a_frame_costs_a_fraction_of_a_new_figure():
    steps = [step_of(CODES, step=i) for i in range(50)]
    order, figure = np.arange(3), Figure()
    draw_centers(figure, S, steps, -1, order)
    figure.frame()

    def seconds(draw):
        began = time.perf_counter()
        draw()
        return time.perf_counter() - began

    def redraw():
        draw_centers(figure, S, steps, -1, order)
        figure.frame()

    again = min(seconds(redraw) for _ in range(5))
    anew = min(seconds(lambda: centers_frame(S, steps, -1, order)._repr_mimebundle_()) for _ in range(5))
    assert again < 0.5 * anew, f"{again * 1e3:.0f} ms a frame, {anew * 1e3:.0f} ms a figure"


def test_a_run_beside_another_is_drawn_into_the_same_axes():
    kept = [step_of(np.roll(CODES, i, axis=1), step=i, loss=0.9 - i / 10) for i in range(4)]
    now = [step_of(CODES, step=i, required=1 + i) for i in range(3)]
    figure = centers_frame(S, now, 1, np.array([2, 0, 1]), beside=kept)
    heat, middle, right, _, other = figure.axes
    assert np.allclose(other.images[0].get_array(), heat.images[0].get_array()) and "step 3" in other.get_title("left")
    assert list(middle.patches[-1].get_data().values) == list(kept[-1].histogram)
    assert [list(line.get_ydata()) for line in right.lines if "kept" in line.get_label()] == [
        [s.best_loss for s in kept]
    ]
    assert right.get_xlim() == (0, 3) and right.get_ylim()[1] > 1
    assert "step 1 (anneal)" in figure.alt and figure.alt.endswith(centers_status(kept[-1]))

    draw_centers(figure, S, now, 2, np.array([2, 0, 1]), beside=kept)
    assert figure.frame() == centers_frame(S, now, 2, np.array([2, 0, 1]), beside=kept).frame()
    draw_centers(figure, S, now, 2, np.array([2, 0, 1]))
    assert len(figure.axes) == 4


def test_steps_at_which_the_minimum_changed_are_marked():
    steps = [step_of(CODES, step=i, required=1 if i < 5 else 2) for i in range(9)]
    right = centers_frame(S, steps).axes[2]
    (mark,) = (line for line in right.lines if line.get_label() == "minimum changed")
    assert list(mark.get_xdata()) == [5, 5, 5]
    labels = [text.get_text() for text in centers_frame(S, steps[:5]).axes[2].get_legend().get_texts()]
    assert "minimum changed" not in labels


def test_axes_go_to_round_numbers_so_that_they_seldom_change():
    figure, limits = Figure(), set()
    steps = [step_of(CODES, step=i, loss=1 / (1 + i)) for i in range(100)]
    for known in range(1, 101):
        draw_centers(figure, S, steps[:known], -1, np.arange(3), last=80)
        limits.add((*figure.axes[2].get_xlim(), *figure.axes[2].get_ylim()))
        assert steps[known - 1].step <= figure.axes[2].get_xlim()[1]
    assert {high for _, high, *_ in limits} == {80, 100} and len(limits) < 20


def test_centers_plot_ends_with_the_last_step(shown):
    with centers_plot(S, min_distance=2, live=False) as plot:
        for i in range(3):
            plot.update(step_of(CODES, step=i))
    assert "step 2 (anneal)" in plot.figure.alt and "breaks the minimum of 2" in plot.figure.alt
    assert len(shown) == 1


def test_duration_goes_over_at_whole_minutes():
    assert [duration(s) for s in (0, 59.4, 59.6, 3599.6)] == ["0 s", "59 s", "1 min 0 s", "1 h 0 min"]
