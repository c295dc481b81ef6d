"""Pictures of hash centers: distances against similarities, histograms, bits, and an optimization as frames or film.

Distances are in bits. Data in, `Figure` out; all can be called from `shc.plots`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from shc import constructions, hamming
from shc.charts import draw_loss, thinned
from shc.class_plots import (
    center_similarity,
    check_rows,
    checked_order,
    dendrogram_order,
    lowest_shown,
    mark_classes,
    rank_correlation,
    square,
    whole,
)
from shc.figures import BLUE, GREEN, GREY, NAMED, ORANGE, Figure, figure_of, new_figure, series, signed, styled

if TYPE_CHECKING:
    from shc.centers import CenterStep


@styled
def similarity_vs_distance(
    S: np.ndarray,
    codes: np.ndarray,
    min_distance: int,
    groups: np.ndarray | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Every pair of classes: similarity against the Hamming distance of its centers, the ideal, and the least allowed.

    The ideal is D = K(1 − s)/2, which `f` is zero for; `min_distance` in bits.
    """
    S = square(S)
    check_rows(codes, S)
    bits, pairs = np.shape(codes)[1], np.triu_indices(len(S), 1)
    similarity, distance = S[pairs], hamming.distance(codes, codes)[pairs]
    rho = rank_correlation(S, center_similarity(codes))
    told = "" if np.isnan(rho) else f": rank correlation {signed(-rho)}"
    alt = f"Class pairs: similarity against Hamming distance of the centers, with the ideal line{told}"
    figure, axes = figure_of(ax, 8, 4.8, alt)
    ideal = np.array([-1.0, 1.0])
    axes.plot(ideal, bits * (1 - ideal) / 2, color="black", lw=1.2, label="ideal: D = K(1 − s)/2")
    axes.axhspan(0, min_distance - 0.5, color=ORANGE, alpha=0.15, lw=0)
    axes.axhline(min_distance - 0.5, color=ORANGE, lw=1.8, ls="--", label=f"closer than {min_distance} bits: forbidden")
    # whole distances hide each other: spread the dots a little, always the same way
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(distance))
    same = np.zeros(len(distance), bool) if groups is None else (whole(groups)[:, None] == whole(groups))[pairs]
    other = "class pair" if groups is None else "pair of different super-classes"
    axes.scatter(similarity[~same], (distance + jitter)[~same], s=6, color=GREY, alpha=0.5, lw=0, label=other)
    if same.any():
        kind: dict[str, Any] = dict(s=24, color=BLUE, marker="^", lw=0.4, ec="white", label="pair inside one")
        axes.scatter(similarity[same], (distance + jitter)[same], **kind)
    low, high = similarity.min(initial=1), similarity.max(initial=-1)
    axes.set_xlim(max(-1.05, low - 0.05), min(1.05, high + 0.05) if high > low else 1.05)
    axes.set_ylim(0, max(distance.max(initial=0), bits * (1 - low) / 2) + 1.5)
    axes.set(xlabel="class similarity s", ylabel="Hamming distance (bits)")
    axes.set_title(f"Do similar classes get close centers? {told.removeprefix(': ').capitalize()}".rstrip())
    axes.legend(loc="best", markerscale=1.6)
    return figure


@styled
def distance_histogram(
    codes: np.ndarray,
    min_distance: int,
    reference: Mapping[str, np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """How many pairs of centers [C, K] stand at each Hamming distance; `reference` adds other center sets as outlines.

    Lines show the minimum distance asked for, K/2 (the mean of random codes) and the largest distance that any set can
    keep (`constructions.max_distance_limits`).
    """
    histogram, smallest = hamming.pair_histogram(codes), hamming.minimum_distance(codes)
    classes, bits = np.shape(codes)
    alt = f"Histogram of the Hamming distances between {classes} hash centers; the closest are {smallest} bits apart"
    figure, axes = figure_of(ax, 8, 3.8, alt)
    draw_distances(axes, histogram, min_distance)
    for i, (name, other) in enumerate((reference or {}).items()):
        counts = hamming.pair_histogram(other)
        look = series(2 + i % 4, name)
        axes.stairs(counts, np.arange(len(counts) + 1) - 0.5, color=look["color"], ls=look["ls"], lw=1.8, label=name)
    axes.axvline(bits / 2, color="black", lw=1.2, ls=":", label=f"K/2 = {bits / 2:g}: mean of random codes")
    if 2 < classes <= 2**bits:
        limits = constructions.max_distance_limits(bits, classes)
        told = f"{limits.name}: no set keeps more than {limits.largest}"
        axes.axvline(limits.largest, color="black", lw=1.2, ls="-.", label=told)
    found: list[int] = [
        int(d) for c in (codes, *(reference or {}).values()) for d in np.flatnonzero(hamming.pair_histogram(c))
    ]
    axes.set_xlim(max(-1, min([*found, min_distance]) - 2), min(bits + 1, max([*found, bits // 2 + 1]) + 2))
    axes.set_title(f"The closest two centers differ in {smallest} bits, {min_distance} were asked for")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_distances(axes: Axes, histogram: np.ndarray, min_distance: int) -> Any:
    """Bars of a histogram [K+1] of distances and the line of the minimum; returns the bars. See `color_distances`."""
    bars = axes.bar(np.arange(len(histogram)), histogram, width=0.9, color=BLUE, edgecolor="white", lw=0)
    color_distances(bars, min_distance)
    # before the first bar that is allowed
    axes.axvline(min_distance - 0.5, color="black", lw=1.6, ls="--", label=f"{min_distance} bits or more")
    axes.set(xlabel="Hamming distance (bits)", ylabel="pairs of classes")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return bars


def color_distances(bars: Any, min_distance: int) -> None:
    """Mark the bars of pairs closer than `min_distance` bits by colour and hatching."""
    for distance, bar in enumerate(bars):
        bar.set(color=ORANGE if distance < min_distance else BLUE, hatch="///" if distance < min_distance else "")
        bar.set_edgecolor("black" if distance < min_distance else "white")


@styled
def centers_map(
    codes: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
    order: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Centers [C, K] as a table of bits: one row per class (in `order`), one column per bit, similar bits together."""
    codes = hamming.as_codes(codes)
    order = checked_order(codes, np.arange(len(codes)) if order is None else order)
    columns = dendrogram_order(np.abs(center_similarity(codes.T)))
    alt = f"{len(codes)} hash centers of {codes.shape[1]} bits as rows of light (+1) and dark (−1) cells"
    figure, axes = figure_of(ax, 8, 5.2 if len(codes) > NAMED else 1.4 + 0.22 * len(codes), alt)
    axes.imshow(codes[order][:, columns], aspect="auto", vmin=-1.4, vmax=1.4)
    mark_classes(axes, order, names, groups, group_names, columns=False)
    axes.set_xlabel(f"{codes.shape[1]} bits, similar ones side by side (light: +1, dark: −1)")
    axes.set_title("Hash centers: related classes share bits" if groups is not None else "Hash centers")
    return figure


@styled
def film_strip(
    history: "Sequence[CenterStep]", S: np.ndarray, order: np.ndarray | None = None, frames: int = 6
) -> Figure:
    """HᵀH/K along an optimization, with loss and smallest distance, and S at the end; ✗ marks sets that break d."""
    S = square(S)
    order = checked_order(S, order)
    if not len(history):
        raise ValueError("the history has no steps to show; collect the records that optimize_centers yields")
    low = lowest_shown(S)
    chosen = [history[i] for i in np.unique(np.linspace(0, len(history) - 1, frames).round().astype(int))]
    alt = f"{len(chosen)} heat maps of the centers' similarity along the optimization, and the similarity asked for"
    figure, axes = new_figure(11.5, 0.65 + 11.5 / (len(chosen) + 1), alt=alt, ncols=len(chosen) + 1, squeeze=False)
    for ax, step in zip(axes[0], chosen, strict=False):
        ax.imshow(center_similarity(step.codes)[np.ix_(order, order)], vmin=low, vmax=1)
        ax.set_title(f"step {step.step}", fontsize=10)
        kept = "✓" if step.feasible else "✗ too close"
        ax.set_xlabel(f"f = {step.loss:.4f}\nmin {step.min_distance} bits {kept}", fontsize=9)
        if not step.feasible:
            ax.spines[:].set(visible=True, color=ORANGE, linewidth=3, linestyle="--")
    axes[0, -1].imshow(S[np.ix_(order, order)], vmin=low, vmax=1)
    axes[0, -1].set_title("asked for: S", fontsize=10)
    for ax in axes[0]:
        ax.set(xticks=[], yticks=[])
    return figure


def centers_frame(
    S: np.ndarray,
    steps: "Sequence[CenterStep]",
    at: int = -1,
    order: np.ndarray | None = None,
    min_distance: int | None = None,
    beside: "Sequence[CenterStep]" = (),
) -> Figure:
    """The centers of `steps[at]`: HᵀH/K as a heat map, distances between the classes, and the loss of all steps.

    `order` int64 [C] sorts the heat map (by default S's dendrogram); `min_distance` in bits (by default the step's
    own) is drawn as a line, and a set that breaks it is said to. `beside` are the steps of another run for the same S
    and bits: its last set is drawn to the left and into the same axes.
    """
    figure = Figure()
    draw_centers(figure, S, steps, at, dendrogram_order(S) if order is None else order, min_distance, beside)
    return figure


@styled
def draw_centers(
    figure: Figure,
    S: np.ndarray,
    steps: "Sequence[CenterStep]",
    at: int,
    order: np.ndarray,
    min_distance: int | None = None,
    beside: "Sequence[CenterStep]" = (),
    last: int = 0,
) -> None:
    """Draw `centers_frame` on an empty figure, or bring one that was drawn before up to date.

    The axis of the loss goes to step `last` at least: a frame costs least where the axes stay as they are.
    """
    step = steps[at]
    wanted = step.required_distance if min_distance is None else min_distance
    changes = [b.step for a, b in itertools.pairwise(steps) if a.required_distance != b.required_distance]
    kind = (len(S), len(step.histogram), wanted, bool(changes), id(beside[-1]) if beside else None)
    if figure.parts.get("kind") != kind:
        figure.clear()
        _centers_parts(figure, step, wanted, bool(changes), beside, order, lowest_shown(S))
        figure.parts.update(kind=kind, beside=beside)  # held, or another object could get its id
    parts = figure.parts
    _, middle, right = figure.axes[:3]
    parts["heat"].set_data(center_similarity(step.codes)[np.ix_(order, order)])
    for bar, count in zip(parts["bars"], step.histogram, strict=True):
        bar.set_height(count)
        bar.set_visible(count > 0)  # most have none, and a bar takes a millisecond

    shown = thinned(steps)
    for line, values in zip(parts["losses"], ([s.loss for s in shown], [s.best_loss for s in shown]), strict=True):
        line.set_data([s.step for s in shown], values)
    parts["now"].set_data([step.step], [step.loss])
    parts["changes"].set_data(np.repeat(changes, 3), np.tile([0, 0.72, np.nan], len(changes)))
    # the first steps fall so far that the rest would be a flat line: they may leave the picture
    top = max(max(s.loss, s.best_loss) for run in (steps, beside) for s in run[len(run) // 20 :])
    most = max(int(s.histogram.max()) for s in (step, *beside[-1:]))
    last = max(last, *(run[-1].step for run in (steps, beside) if run))
    # round numbers change seldom: only then must the axes be drawn anew
    limits = (_rounded(1.3 * max(most, 1)), max(_rounded(last), steps[0].step + 1), _rounded(1.4 * top) or 1)
    if parts.get("limits") != limits:
        parts["limits"] = limits
        middle.set_ylim(0, limits[0])
        right.set(xlim=(steps[0].step, limits[1]), ylim=(0, limits[2]))
        figure.refresh()
    told = (
        f"HᵀH/K at step {step.step} ({step.stage})",
        f"closest pair: {step.min_distance} bits {'✓' if step.min_distance >= wanted else '✗ too close'}",
        f"loss f = {step.loss:.4f}",
    )
    for title, text in zip(parts["titles"], told, strict=True):
        title.set_text(text)
    figure.alt = f"Hash centers of {len(S)} classes: similarity, distances and loss; {centers_status(step, wanted)}"
    if beside:
        figure.alt += f"; beside a run kept at {centers_status(beside[-1])}"


def _centers_parts(
    figure: Figure,
    step: "CenterStep",
    wanted: int,
    changed: bool,
    beside: "Sequence[CenterStep]",
    order: np.ndarray,
    low: float,
) -> None:
    """The axes and artists of `draw_centers`; places are fixed, since finding them takes longer than a frame."""
    width, height = 11.5, 3.6
    figure.set_size_inches(width, height)
    places = (  # inches: left, low, across, up
        ((2.5, 1.0, 2.25, 2.25), (6.05, 0.55, 2.25, 2.7), (9.05, 0.55, 2.35, 2.7), (4.83, 1.2, 0.1, 1.85))
        if beside
        else ((0.15, 0.4, 2.85, 2.85), (4.55, 0.55, 2.75, 2.7), (8.25, 0.55, 3.05, 2.7), (3.1, 0.68, 0.12, 2.3))
    )
    left, middle, right, bar = (
        figure.add_axes((x / width, low / height, across / width, up / height)) for x, low, across, up in places
    )
    parts: dict[Any, Any] = figure.parts
    classes = len(step.codes)
    parts["heat"] = left.imshow(np.zeros((classes, classes)), vmin=low, vmax=1)
    left.set(xticks=[], yticks=[], xlabel="this run" if beside else f"{classes} classes, similar ones side by side")
    figure.colorbar(parts["heat"], cax=bar, ticks=[low, 0, 1], extend="min" if low > -1 else "neither")
    parts["bars"] = draw_distances(middle, step.histogram, wanted)
    middle.set_xlim(-1, len(step.histogram))
    middle.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    parts["losses"] = draw_loss(right, [])
    parts["now"] = right.plot([], [], "o", color="black", ms=5, clip_on=False)[0]
    changes: dict[str, Any] = dict(color=ORANGE, lw=1.5, ls=":", label="minimum changed" if changed else None)
    parts["changes"] = right.plot([], [], transform=right.get_xaxis_transform(), **changes)[0]
    right.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    right.yaxis.set_major_locator(MaxNLocator(5))
    if beside:
        _draw_beside(figure, beside, order, low, (0.1 / width, 1.0 / height, 2.25 / width, 2.25 / height))
    for axes in (middle, right):
        axes.legend(loc="upper right", **(dict(fontsize=8, handlelength=1.6) if beside else {}))
    parts["titles"] = [axes.set_title("", y=1) for axes in (left, middle, right)]
    figure.moving = [parts["heat"], *parts["bars"], *parts["losses"], parts["changes"], parts["now"], *parts["titles"]]


def _draw_beside(figure: Figure, steps: "Sequence[CenterStep]", order: np.ndarray, low: float, place: Any) -> None:
    """The kept run: its heat map in `place`, its distances and loss as lines in the axes of the other run."""
    step, (_, middle, right) = steps[-1], figure.axes[:3]
    heat = figure.add_axes(place)
    heat.imshow(center_similarity(step.codes)[np.ix_(order, order)], vmin=low, vmax=1)
    kept = f"kept run, d = {step.required_distance}"
    heat.set(xticks=[], yticks=[], xlabel=f"{kept}\nclosest pair {step.min_distance} bits, f = {step.loss:.4f}")
    heat.set_title(f"HᵀH/K at step {step.step} ({step.stage})", y=1)
    edges = np.arange(len(step.histogram) + 1) - 0.5
    middle.stairs(step.histogram, edges, color=GREEN, lw=1.8, label=kept)
    shown = thinned(steps)
    line: dict[str, Any] = dict(color=GREEN, lw=1.8, ls="-.", label=f"best of the {kept}")
    right.plot([s.step for s in shown], [s.best_loss for s in shown], **line)


def _rounded(value: float) -> float:
    """The next round number from `value` on."""
    if value <= 0:
        return 0
    power = 10.0 ** math.floor(math.log10(value))
    return next(n * power for n in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 20) if n * power >= value)


def centers_status(step: "CenterStep", min_distance: int | None = None) -> str:
    """One line on a step: its number and stage, f, best f, smallest distance, and whether it keeps the minimum."""
    wanted = step.required_distance if min_distance is None else min_distance
    kept = "✓ keeps" if step.min_distance >= wanted else "✗ breaks"
    return (
        f"step {step.step} ({step.stage}) · f = {step.loss:.4f}, best {step.best_loss:.4f} · "
        f"smallest distance {step.min_distance} bits {kept} the minimum of {wanted}"
    )
