"""Pictures of methods side by side show the numbers of the table. Words and sizes are tested in test_plots."""

import numpy as np
import pandas as pd
import pytest
from frames import comparison_frame
from matplotlib.colors import to_hex

from shc import frames, plots
from shc.comparison_plots import PALE
from shc.figures import BLUE, ENTITIES, GREY


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return comparison_frame(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def at32(made):
    return frames.where(frames.block(made, "closed"), bits=32)


def texts(axes):
    return [text.get_text().strip() for text in axes.texts]


def test_methods_by_bits_draws_means_and_names_every_line(made):
    table = frames.summary(frames.block(made, "closed"), "mAP@ALL", ["label", "bits"])
    figure = plots.methods_by_bits(table)
    axes = figure.axes[0]
    assert set(texts(axes)) == set(table["label"])
    lines = {to_hex(line.get_color()).upper(): line for line in axes.lines if len(line.get_xdata()) == 3}
    shc = frames.where(table, label="shc").sort_values("bits")["mean"]
    assert lines[BLUE].get_ydata() == pytest.approx(shc.to_numpy())
    assert PALE in lines and f"shc {shc.iloc[-1]:.3f}" in figure.alt
    assert [t.get_text() for t in axes.get_xticklabels()] == ["16", "32", "64"]


def test_names_at_the_right_keep_the_order_of_the_lines(made):
    table = frames.summary(frames.block(made, "closed"), "mAP@ALL", ["label", "bits"])
    axes = plots.methods_by_bits(table).axes[0]
    heights = {text.get_text().strip(): text.get_position()[1] for text in axes.texts}
    last = frames.where(table, bits=64).sort_values("mean")
    assert [heights[name] for name in last["label"]] == sorted(heights.values())


def test_dots_are_the_seeds_the_best_on_top(at32):
    axes = plots.method_dots(at32).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    means = at32.groupby("label")["mAP@ALL"].mean()
    assert names == list(means.sort_values(ascending=False).index)
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert sum(len(line.get_xdata()) for line in dots) == len(at32)
    hollow = [
        names[round(line.get_ydata()[0])]
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]
    assert set(hollow) == {"shpdh", "shrewd"} and "trained on the class tree" in axes.get_xlabel()


def test_dots_compare_any_column(made):
    rows = frames.where(frames.block(made, "similarity", ["similarity"]), data="emoji")
    axes = plots.method_dots(rows, by="similarity", highlight="classifier").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["hierarchy", "classifier", "names"]


def test_paired_differences_show_intervals_zero_and_what_is_decided(at32):
    table = frames.differences(at32, "mAP@ALL", others=["csq", "classifier", "shpdh"])
    table.loc[table["other"] == "classifier", "verdict"] = "not decided by 3 seeds"
    axes = plots.paired_differences(table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["csq", "classifier", "shpdh"]
    zero, *lines = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    intervals = {round(line.get_ydata()[0]): line for line in lines if len(line.get_xdata()) == 2}
    csq = frames.where(table, other="csq").iloc[0]
    assert list(intervals[0].get_xdata()) == pytest.approx([csq["low"], csq["high"]])
    assert (intervals[0].get_color(), intervals[1].get_color()) == (BLUE, GREY)
    assert texts(axes)[0] == f"+{csq['mean']:.3f}, 5 seeds, p < 0.001"


def test_the_title_of_differences_counts_what_is_decided(at32):
    table = frames.differences(at32, "mAP@ALL", others=["csq", "classifier", "shpdh"])
    table["verdict"] = ["holds", "not decided by 3 seeds", "does not hold"]
    figure = plots.paired_differences(table)
    assert figure.axes[0].get_title(loc="left") == "shc is decidedly above 1 of 3 others, below 1"
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(key) == 3 and key[2].startswith("open: trained on the class tree")


def test_differences_far_off_are_arrows_with_their_number(at32):
    table = frames.differences(at32, "mAP@ALL")
    axes = plots.paired_differences(table).axes[0]
    far = [line for line in axes.lines if line.get_marker() == ">"]
    assert far and axes.get_xlim()[1] < table["mean"].max()
    assert texts(axes)[0].startswith(f"+{table['mean'].max():.3f}") and "arrows" in axes.get_xlabel()


def test_differences_without_an_interval_say_so(tmp_path):
    few = frames.where(frames.block(comparison_frame(tmp_path, "closed", seeds=2), "closed"), bits=32)
    axes = plots.paired_differences(frames.differences(few, "mAP@ALL", others=["csq"])).axes[0]
    assert texts(axes)[0].endswith("2 seeds, no interval")


def test_learning_speed_shows_mean_curves_against_both(at32):
    curves = frames.curves(at32)
    figure = plots.learning_speed(curves, frames.time_to(curves))
    means = curves[curves["label"] == "csq"].groupby("epoch")[["val", "seconds"]].mean()
    color = ENTITIES["csq"]["color"]
    for axes, x in zip(figure.axes, (means.index, means["seconds"]), strict=True):
        (line,) = [line for line in axes.lines if line.get_color() == color and len(line.get_xdata()) == len(means)]
        assert list(line.get_xdata()) == pytest.approx(list(x))
        assert list(line.get_ydata()) == pytest.approx(list(means["val"]))
    assert "lsh" not in texts(figure.axes[1])  # it has no curve


def test_a_curve_that_goes_on_is_cut_where_the_others_end(at32):
    curves = frames.curves(at32)
    last = curves["epoch"].max()
    long = curves[curves["label"] == "csq"].assign(epoch=lambda part: 10 * part["epoch"], label="long")
    left = plots.learning_speed(pd.concat([curves, long])).axes[0]
    assert left.get_xlim()[1] == pytest.approx(1.04 * last)
    assert any(f"long goes on to epoch {10 * last}" in text for text in texts(left))


def test_a_paired_difference_stands_below_its_levels_on_the_same_scale():
    levels = {"semantic centers": (0.5, 0.45, 0.55), "random centers": (0.42, 0.38, 0.46)}
    figure = plots.levels_and_difference(levels, (0.08, 0.06, 0.1), "mAP@ALL")
    top, bottom = figure.axes
    assert [line.get_color() for line in top.lines[::2]] == [ENTITIES[kind]["color"] for kind in ("semantic", "random")]
    assert list(bottom.lines[0].get_xdata()) == [0.06, 0.1] and np.ptp(top.get_xlim()) == pytest.approx(
        np.ptp(bottom.get_xlim())
    )
    assert top.get_title(loc="left") == "Semantic centers are above random centers, paired query by query"
    undecided = plots.levels_and_difference(levels, (0.01, -0.02, 0.04), "mAP@ALL")
    assert "no difference that these queries decide" in undecided.alt
    with pytest.raises(ValueError, match="1 levels; expected two"):
        plots.levels_and_difference({"a": (1, 1, 1)}, (0, 0, 0), "mAP")


def test_an_axis_that_hides_0_says_so(at32):
    assert "(axis does not begin at 0)" in plots.method_dots(at32).axes[0].get_xlabel()
    around_0 = at32.assign(**{"mAP@ALL": at32["mAP@ALL"] - at32["mAP@ALL"].mean()})
    assert "does not begin at 0" not in plots.method_dots(around_0).axes[0].get_xlabel()


def test_dose_response_draws_every_run_and_the_slope(made):
    rows = frames.block(made, "dose", ["shuffled"])
    slope = frames.estimate(frames.slopes(rows, "f", "mAP@ALL"))
    axes = plots.dose_response(rows, slope).axes[0]
    assert len(axes.collections[0].get_offsets()) == len(rows)
    x, y = axes.lines[0].get_data()
    assert np.diff(y)[0] / np.diff(x)[0] == pytest.approx(slope.mean)
    assert f"{0.01 * slope.mean:+.3f}".replace("-", "−") in axes.get_title(loc="left")


def test_the_papers_panel_is_named_as_printed():
    figure = plots.paper_panel(frames.paper_tables(), "mAP@100")
    assert figure.axes[0].get_title(loc="left") == "CIFAR-100" and len(figure.axes) == 5
    assert figure.get_suptitle().startswith("As printed") and "as printed" in figure.alt
    (shc,) = [line for line in figure.axes[0].lines if line.get_label() == "SHC"]
    assert list(shc.get_ydata()) == [0.636, 0.6629, 0.6672]


@pytest.mark.parametrize(
    "call",
    [
        lambda none: plots.methods_by_bits(frames.summary(none, "mAP@ALL", ["label", "bits"])),
        lambda none: plots.method_dots(none),
        lambda none: plots.paired_differences(frames.differences(none, "mAP@ALL")),
        lambda none: plots.learning_speed(frames.curves(none)),
        lambda none: plots.dose_response(none, frames.estimate([])),
    ],
)
def test_what_was_not_run_is_no_picture(made, call):
    with pytest.raises(ValueError, match="there are no rows to draw"):
        call(made.iloc[:0])


def test_a_metric_that_the_paper_does_not_print_is_told():
    with pytest.raises(ValueError, match=r"metric='nDCG@100' is not printed in the paper; choose one of mAP@100"):
        plots.paper_panel(frames.paper_tables(), "nDCG@100")
