"""Charts of numbers: training and optimization curves, precision and recall, bits.

Data in, `Figure` out, as in `shc.plots`, from where all of them can be called.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from shc.figures import BLUE, GREY, ORANGE, WIDTH, Figure, figure_of, new_figure, series, styled

if TYPE_CHECKING:
    from shc.centers import CenterStep

POINTS = 400  # a curve never shows more, so that long runs are drawn as fast as short ones
LINE = 105  # characters of a title that fit beside each other
Record = dict[str, Any]  # of shc.training.fit


def training_curves(records: Sequence[Record] | Mapping[str, Sequence[Record]], title: str = "Training") -> Figure:
    """Loss per step and validation value per epoch of `shc.training.fit`'s records: one list, or several by name."""
    figure = Figure()
    draw_training(figure, records, title)
    return figure


@styled
def draw_training(
    figure: Figure, records: Sequence[Record] | Mapping[str, Sequence[Record]], title: str = "Training"
) -> None:
    """Draw `training_curves` on an empty figure, or bring one that was drawn before up to date."""
    runs = records if isinstance(records, Mapping) else {"": records}
    if not any(len(rows) for rows in runs.values()):
        raise ValueError("there are no training records to draw; collect those that shc.training.fit yields")
    parts = figure.parts or _training_parts(figure, list(runs))
    lowest, highest = 0.0, 0.0
    for name, rows in runs.items():
        shown = thinned(rows)
        steps, values = [r["step"] for r in shown], [r["loss"] for r in shown]
        marks = [r for r in rows if r.get("val") is not None]
        if ("raw", name) in parts:
            parts["raw", name].set_data(steps, values)
        parts["mean", name].set_data(steps, smoothed(values))
        parts["val", name].set_data([r["epoch"] for r in marks], [r["val"] for r in marks])
        best = max(marks, key=lambda r: float(r["val"]), default=None)
        parts["best", name].set_data([best["epoch"]] if best else [], [best["val"]] if best else [])
        lowest = min([lowest, *(float(r["val"]) for r in marks)])
        highest = max([highest, *(float(r["val"]) for r in marks)])
    every = [r for rows in runs.values() for r in rows]
    left, right = figure.axes
    left.set_xlim(0, max(r.get("steps") or r["step"] for r in every))
    left.set_ylim(0, 1.08 * max(np.max([r["loss"] for r in every]), 1e-9))
    # validation comes at the end of an epoch, where step / epoch is the number of steps in each
    judged = [r for r in every if r.get("val") is not None]
    ends = [round(r.get("steps", r["step"]) * r["epoch"] / r["step"]) for r in judged]
    right.set_xlim(0.5, max([*ends, *(r["epoch"] for r in judged), 1]) + 0.5)
    right.tick_params(labelbottom=bool(judged), labelleft=bool(judged))
    right.set_ylim(lowest, highest * 1.12 if highest > 0 else 1)
    parts["empty"].set_visible(not judged)
    told = title if isinstance(records, Mapping) else f"{title}: {training_progress(records)}"
    cut = told.rfind(" · ", 0, LINE) if len(told) > LINE else -1
    parts["title"].set_text(told if cut < 0 else f"{told[:cut]}\n{told[cut + 3 :]}")
    figure.alt = f"{told}; training loss per step and validation value per epoch"


def _training_parts(figure: Figure, names: list[str]) -> dict[Any, Any]:
    figure.set_size_inches(WIDTH, 3.6)
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(ncols=2)
    parts: dict[Any, Any] = figure.parts
    parts["title"] = figure.suptitle("", x=0.01, ha="left")
    alone = len(names) == 1
    for i, name in enumerate(names):
        look = series(i, name) | dict(marker="")
        if alone:
            parts["raw", name] = left.plot([], [], color=GREY, lw=0.8, alpha=0.7, label="loss")[0]
        parts["mean", name] = left.plot([], [], **look, lw=1.8, label="running mean" if alone else name)[0]
        parts["val", name] = right.plot([], [], **look | dict(marker="o"), ms=4, label="" if alone else name)[0]
        kept = "best, kept" if i == len(names) - 1 else ""
        parts["best", name] = right.plot([], [], "o", ms=11, mfc="none", mec="black", mew=1.4, label=kept)[0]
    parts["empty"] = right.text(0.5, 0.5, "not validated yet", transform=right.transAxes, ha="center", color="#555555")
    left.set(xlabel="step", ylabel="training loss" if alone else "training loss, running mean")
    right.set(xlabel="epoch", ylabel="validation value")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(loc="upper right")
    right.legend(loc="lower right")
    return parts


def training_progress(records: Sequence[Record]) -> str:
    """One line on a training run: step, speed, time left or taken, best validation value and when it was reached.

    Records that know them also tell the memory that is used, and the batch if the one that was asked for did not fit.

    >>> record = dict(step=50, steps=200, epoch=1, loss=1.5, seconds=10.0, images_per_second=640.0, val=0.5)
    >>> training_progress([record])
    'step 50 of 200 · 640 images/s · 30 s left · loss 1.500 · best val 0.500 (epoch 1, 10 s)'
    """
    last = records[-1]
    steps, seconds = last.get("steps", last["step"]), last.get("seconds", 0.0)
    done = last["step"] >= steps
    left = last.get("left", seconds * (steps - last["step"]) / max(last["step"], 1))
    speed = float(np.median([r["images_per_second"] for r in records])) if done else last["images_per_second"]
    parts = [
        f"{last['step']:,} steps" if done else f"step {last['step']:,} of {steps:,}",
        f"{speed:,.0f} images/s",
        f"{duration(seconds)} in all" if done else f"{duration(left)} left",
        f"loss {last['loss']:.3f}",
    ]
    best = max((r for r in records if r.get("val") is not None), key=lambda r: r["val"], default=None)
    if best is not None:
        parts.append(f"best val {best['val']:.3f} (epoch {best['epoch']}, {duration(best['seconds'])})")
    if last.get("memory"):
        parts.append(f"{last['memory'] / 2**20:,.0f} MB of {'GPU' if 'cuda' in last['device'] else 'main'} memory")
    if "batch_wanted" in last:
        parts.append(f"batch {last['batch']}, since {last['batch_wanted']} did not fit")
    return " · ".join(parts)


@styled
def optimization_curves(history: "Sequence[CenterStep]") -> Figure:
    """Loss, best loss that keeps the distance, and smallest distance (bits) against the step of a center optimizer."""
    if not len(history):
        raise ValueError("the history has no steps to draw; collect the records that optimize_centers yields")
    last, wanted = history[-1], history[-1].required_distance
    alt = f"Loss and smallest distance along {last.step} steps; best loss {last.best_loss:.4f} at {wanted} bits"
    figure, (top, bottom) = new_figure(8, 4.4, alt=alt, nrows=2, sharex=True, gridspec_kw=dict(height_ratios=[3, 2]))
    draw_loss(top, history)
    top.set_title(f"Best loss that keeps {wanted} bits: f = {last.best_loss:.4f}")
    top.legend(loc="upper right")
    steps, smallest = [s.step for s in history], np.array([s.min_distance for s in history])
    bottom.step(steps, smallest, color=BLUE, where="post")
    bottom.axhline(wanted, color="black", ls="--", lw=1.6, label=f"minimum distance {wanted}")
    bottom.fill_between(
        steps, np.minimum(smallest, wanted), wanted, step="post", color=ORANGE, alpha=0.5, lw=0, label="too close"
    )
    bottom.set(xlabel="step", ylabel="smallest distance\n(bits)", ylim=(0, max(smallest.max(), wanted) + 1))
    bottom.yaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.legend(loc="lower right")
    return figure


def draw_loss(axes: Axes, history: "Sequence[CenterStep]") -> tuple[Any, Any]:
    """Draw f of the current set and of the best set that keeps the distance; returns the two lines."""
    steps = [s.step for s in history]
    (now,) = axes.plot(steps, [s.loss for s in history], color=GREY, lw=1.2, label="current set")
    (best,) = axes.plot(steps, [s.best_loss for s in history], color=BLUE, lw=2, ls="--", label="best that keeps d")
    axes.set(xlabel="step" if not axes.get_shared_x_axes().get_siblings(axes)[1:] else "", ylabel="loss f(H)")
    return now, best


@styled
def quantization_histogram(outputs: np.ndarray, ax: Axes | None = None) -> Figure:
    """Histogram of tanh(u) [N, K]: outputs near ±1 survive rounding, those near 0 are unsure bits."""
    outputs = np.asarray(outputs)
    if outputs.size == 0 or not np.abs(outputs).max() <= 1:
        largest = np.abs(outputs).max() if outputs.size else "nothing"
        raise ValueError(f"outputs reach {largest}; expected tanh values between −1 and 1 (apply tanh first)")
    unsure = (np.abs(outputs) < 0.5).mean()
    gap = np.square(np.abs(outputs) - 1).mean()
    told = f"{unsure:.1%} of the bits are unsure (|tanh u| < 0.5); mean quantization error {gap:.3f}"
    figure, axes = figure_of(ax, 8, 3.4, f"Histogram of the network's outputs before rounding: {told}")
    share = np.full(outputs.size, 1 / outputs.size)
    axes.axvspan(-0.5, 0.5, color=ORANGE, alpha=0.2, lw=0, zorder=0)
    axes.hist(outputs.ravel(), bins=np.linspace(-1, 1, 61).tolist(), color=BLUE, weights=share)
    axes.text(0, 0.95, "unsure bits", transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=9)
    axes.set(xlabel="network output tanh(u), rounded to −1 or +1", ylabel="share of outputs", xlim=(-1, 1))
    axes.set_title(told)
    return figure


@styled
def bit_balance(codes: np.ndarray, ax: Axes | None = None) -> Figure:
    """Share of +1 in every bit of codes [N, K], sorted; a bit at 0.5 carries most information.

    The axis reaches as far as the bits, in tenths on both sides of 0.5, so that small differences can be seen.
    """
    share = np.sort((np.asarray(codes) > 0).mean(0))
    told = f"Shares of +1 go from {share[0]:.2f} to {share[-1]:.2f}; a bit at 0.5 tells most"
    figure, axes = figure_of(ax, 8, 3, f"Balance of {len(share)} bits, sorted. {told}")
    axes.bar(np.arange(1, len(share) + 1), share - 0.5, bottom=0.5, color=BLUE)
    axes.axhline(0.5, color="black", lw=1)
    reach = np.ceil(10 * np.abs(share - 0.5).max() + 1e-9) / 10
    axes.set(xlabel=f"{len(share)} bits, sorted", ylabel="share of +1", xlim=(0.4, len(share) + 0.6))
    axes.set_ylim(max(0.5 - reach, 0), min(0.5 + reach, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(told)
    return figure


@styled
def pr_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], ax: Axes | None = None) -> Figure:
    """Precision against recall for growing Hamming radius, one line per name of (recall, precision), each [R]."""
    figure, axes = figure_of(ax, 6.8, 4.2, f"Precision against recall for growing Hamming radius: {', '.join(curves)}")
    for i, (name, (recall, precision)) in enumerate(curves.items()):
        axes.plot(recall, precision, **series(i, name), ms=4, lw=1.6, label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Precision and recall; a mark for each Hamming radius")
    axes.legend(loc="best")
    return figure


def smoothed(values: Sequence[float], span: int = 9) -> np.ndarray:
    """Running mean over up to `span` neighbors, same length.

    >>> smoothed([0, 3, 6], span=3)
    array([1.5, 3. , 4.5])
    """
    places, half = np.arange(len(values)), span // 2
    sums = np.cumsum(np.r_[0.0, np.asarray(values, float)])
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def thinned(states: Sequence[Any], most: int = POINTS) -> list[Any]:
    """At most `most` of the states, evenly spread, first and last included.

    >>> thinned(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(states) <= most:
        return list(states)
    return [states[i] for i in np.linspace(0, len(states) - 1, most).round().astype(int)]


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(42.3), duration(200), duration(7300)
    ('42 s', '3 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
