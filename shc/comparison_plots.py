"""Pictures of methods side by side: levels with intervals, paired differences, speed, doses, the paper's own numbers.

They draw the tables that `shc.frames` makes from a sweep. Data in, `Figure` out; all can be called from `shc.plots`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from shc.estimates import Estimate, estimate
from shc.figures import BLUE, GREY, Figure, entity, figure_of, ink, new_figure, shortened, spread, styled

if TYPE_CHECKING:
    from pandas import DataFrame

PALE = "#C9C9C9"
TREE = "trained on the class tree, by which super-class metrics are graded"
BEYOND = 2.5  # differences of so many times the median are drawn as arrows, so that small ones can be seen


def look_of(name: str) -> dict[str, Any]:
    """Color, marker and line of a method."""
    return dict(color=PALE, marker=".", ls="-") | entity(name)


@styled
def methods_by_bits(table: "DataFrame", metric: str = "mAP@ALL", ax: Axes | None = None) -> Figure:
    """A metric against the code length, a line per method with its intervals, named at the right.

    `table` is `shc.frames.summary(rows, metric, ["label", "bits"])`.
    """
    check_rows(table, "shc.frames.summary")
    lengths = sorted(table["bits"].unique())
    place = {bits: i for i, bits in enumerate(lengths)}
    names = sorted(table["label"].unique(), key=lambda name: bool(entity(name)))  # colors on top of grey
    seeds = f"{table['n'].min()} to {table['n'].max()}" if table["n"].nunique() > 1 else f"{table['n'].iloc[0]}"
    last = table[table["bits"] == lengths[-1]].sort_values("mean", ascending=False)
    told = ", ".join(f"{row.label} {row.mean:.3f}" for row in records(last))
    alt = (
        f"{metric} of {len(names)} methods at {listed(lengths)} bits, means of {seeds} seeds; at {lengths[-1]}: {told}"
    )
    figure, axes = figure_of(ax, 9, 5.2, alt)
    shift = dict(zip(names, np.linspace(-0.05, 0.05, len(names)), strict=True)) if len(names) > 1 else {names[0]: 0.0}
    ends: dict[str, tuple[float, float]] = {}
    for name in names:
        part = table[table["label"] == name].sort_values("bits")
        x = np.array([place[bits] for bits in part["bits"]]) + shift[name]
        look, known = look_of(name), bool(entity(name))
        axes.plot(x, part["mean"], **look, lw=1.8 if known else 1.1, ms=6 if known else 5, zorder=3 if known else 2)
        drawn = part["low"].notna().to_numpy()
        axes.vlines(x[drawn], part["low"][drawn], part["high"][drawn], color=look["color"], lw=1.4, zorder=2)
        ends[name] = float(x[-1]), float(part["mean"].iloc[-1])
    top = 1.08 * float(np.nanmax([table["mean"].max(), table["high"].max()]))
    name_ends(axes, ends, len(lengths) - 0.82, (0, top))
    axes.set(xlabel="code length (bits)", ylabel=metric, ylim=(0, top), xlim=(-0.25, len(lengths) - 0.86))
    axes.set_xticks(range(len(lengths)), [str(bits) for bits in lengths])
    axes.set_title(f"{metric} against code length; bars are 95 % intervals over seeds")
    return figure


@styled
def method_dots(
    rows: "DataFrame",
    metric: str = "mAP@ALL",
    by: str = "label",
    *,
    highlight: str = "shc",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """One line per value of `by`: every seed as a dot, their mean and its 95 % interval, the best on top.

    Open marks are methods that were trained on the class tree (column `circular`).
    """
    rows = rows.dropna(subset=[metric])
    check_rows(rows, "shc.frames.block")
    parts = {name: part for name, part in rows.groupby(by)}
    found = {name: estimate(part[metric]) for name, part in parts.items()}
    names = sorted(parts, key=lambda name: -found[name].mean)
    told = ", ".join(f"{name} {found[name].mean:.3f}" for name in names)
    figure, axes = figure_of(ax, 8.5, 1.2 + 0.32 * len(names), f"{title or metric}: {metric} of {told}")
    tree = False
    for i, name in enumerate(names):
        part, level = parts[name], found[name]
        look = dict(color=BLUE if name == highlight else GREY, marker="o") | entity(name)
        circular = "circular" in part and bool(part["circular"].all())
        tree |= circular
        axes.plot(part[metric], np.full(len(part), i + 0.24), ".", color=look["color"], ms=5, alpha=0.6)
        draw_estimate(axes, level, i, look["color"], circular, look["marker"])
        right = max(float(part[metric].max()), level.high if np.isfinite(level.high) else level.mean)
        axes.annotate(f"{level.mean:.3f}", (right, i), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(names)), [shortened(name, 36) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#EBEBEB", lw=0.8)
    axes.set_axisbelow(True)
    ends = [*rows[metric], *(x for e in found.values() for x in (e.low, e.high) if np.isfinite(x))]
    room = max(max(ends) - min(ends), 0.02 * abs(max(ends)), 1e-3)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(min(ends) - 0.06 * room, max(ends) + 0.17 * room))
    axes.set_xlabel(metric + not_from_0(axes.get_xlim()) + (f"\n(open: {TREE})" if tree else ""))
    axes.set_title(title or f"{metric}: each seed, mean and 95 % interval")
    return figure


@styled
def paired_differences(
    table: "DataFrame", metric: str = "mAP@ALL", one: str = "shc", title: str = "", ax: Axes | None = None
) -> Figure:
    """Forest plot: `one` minus every other method with its interval, a line at 0, Holm's p-value at the right.

    `table` is that of `shc.frames.differences`; the title counts the decided differences.
    """
    check_rows(table, "shc.frames.differences")
    rows = records(table.sort_values("mean", ascending=False))
    above, below = (sum(row.verdict == said for row in rows) for said in ("holds", "does not hold"))
    told = ", ".join(f"{row.other} {plus(row.mean)}" for row in rows)
    alt = f"{metric} of {one} minus that of {len(rows)} others, same seeds: {told}; {above} decidedly above 0"
    figure, axes = figure_of(ax, 9, 1.7 + 0.34 * len(rows), alt)
    axes.axvline(0, color="black", lw=1)
    sizes = np.abs([row.mean for row in rows])
    widest = max(BEYOND * float(np.median(sizes)), 1e-3)
    for i, row in enumerate(rows):
        clear = row.verdict in ("holds", "does not hold")
        level = Estimate(row.n, row.mean, row.low, row.high, row.p)
        color = BLUE if clear else GREY
        if abs(row.mean) <= widest:
            draw_estimate(axes, level, i, color, bool(row.circular))
        else:
            axes.plot(np.sign(row.mean) * widest, i, ">" if row.mean > 0 else "<", color=color, ms=8, clip_on=False)
        text = "no interval" if np.isnan(row.low) else f"p {'< 0.001' if row.p_holm < 0.001 else f'= {row.p_holm:.3f}'}"
        words = f"{plus(row.mean)}, {row.n} seeds, {text}"
        axes.text(1.02, i, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [shortened(row.other, 36) for row in rows])
    axes.tick_params(axis="y", length=0)
    if sizes.max() > widest:
        left, right = axes.get_xlim()
        axes.set_xlim(max(left, -widest), min(right, widest))
    axes.set(ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel(f"{metric}: {one} minus the other" + (" (arrows: beyond the axis)" if sizes.max() > widest else ""))
    axes.set_title(
        title or f"{one} is decidedly above {above} of {len(rows)} others" + (f", below {below}" * bool(below))
    )
    key: dict[str, Any] = dict(marker="o", ls="", ms=7, mew=1.6)
    axes.plot([], [], color=BLUE, **key, label="decided: α = 0.05 after Holm’s correction")
    axes.plot([], [], color=GREY, **key, label="not decided by these seeds")
    if any(row.circular for row in rows):
        axes.plot([], [], color=GREY, **key, mfc="white", label=f"open: {TREE}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def levels_and_difference(
    levels: Mapping[str, tuple[float, float, float]], difference: tuple[float, float, float], xlabel: str
) -> Figure:
    """Two levels with their intervals, and below them the first minus the second, paired, with the interval of that.

    All are (value, low, high). Two intervals may overlap while the difference is clear: the title tells the difference.
    """
    if len(levels) != 2:
        raise ValueError(f"{len(levels)} levels; expected two by name: the first minus the second is the difference")
    (one, other), (value, low, high) = levels, difference
    if low > 0 or high < 0:
        finding = f"{one} are {'above' if value > 0 else 'below'} {other}, paired query by query"
    else:
        finding = f"{one} and {other}: no difference that these queries decide"
    told = ", ".join(f"{name} {v:.3f} ({a:.3f} to {b:.3f})" for name, (v, a, b) in levels.items())
    pair = f"{plus(value)} ({plus(low)} to {plus(high)})"
    alt = f"{finding}. {xlabel}: {told}; paired difference {pair}"
    figure, (top, bottom) = new_figure(8, 2.9, alt=alt, nrows=2, height_ratios=(2, 1))
    looks = [dict(color=GREY, marker="o") | entity(name) for name in levels]
    for i, (look, (v, a, b)) in enumerate(zip(looks, levels.values(), strict=True)):
        draw_estimate(top, Estimate(0, v, a, b, np.nan), i, look["color"], False, look["marker"])
        top.annotate(f"{v:.3f}", (max(v, b), i), (8, 0), textcoords="offset points", va="center", fontsize=9)
    draw_estimate(bottom, Estimate(0, value, low, high, np.nan), 0, "black", False)
    bottom.annotate(pair, (max(value, high), 0), (8, 0), textcoords="offset points", va="center", fontsize=9)
    bottom.axvline(0, color="black", lw=1)
    most = max(max(v, b) for v, _, b in levels.values())
    span = 1.15 * most - min(0.0, *(a for _, a, _ in levels.values()))
    top.set(xlim=(1.15 * most - span, 1.15 * most), ylim=(1.5, -0.5), xlabel=xlabel)
    # an inch is the same difference in both panels
    start = min(0.0, low) - 0.05 * span
    bottom.set(xlim=(start, start + span), ylim=(0.5, -0.5), xlabel="paired difference, on the same scale")
    top.set_yticks([0, 1], [shortened(name, 36) for name in levels])
    bottom.set_yticks([0], ["the first − the second"])
    for axes in (top, bottom):
        axes.tick_params(axis="y", length=0)
    top.set_title(finding[:1].upper() + finding[1:])
    return figure


@styled
def learning_speed(curves: "DataFrame", time: "DataFrame | None" = None) -> Figure:
    """Validation value against the epoch and against seconds, a line per method (mean over seeds).

    `curves` is `shc.frames.curves(rows)`; `time` (`shc.frames.time_to`) marks where a share of the best is reached.
    """
    check_rows(curves, "shc.frames.curves")
    means = curves.groupby(["label", "epoch"], as_index=False)[["val", "seconds"]].mean()
    names = sorted(means["label"].unique(), key=lambda name: bool(entity(name)))
    best = {name: float(means[means["label"] == name]["val"].max()) for name in names}
    told = ", ".join(f"{name} {best[name]:.3f}" for name in sorted(names, key=lambda name: -best[name]))
    alt = f"Validation value of {len(names)} methods against epochs and seconds; best means: {told}"
    figure, (left, right) = new_figure(10, 4.6, alt=alt, ncols=2, sharey=True)
    top = 1.08 * max(best.values())
    for axes, x in ((left, "epoch"), (right, "seconds")):
        ends: dict[str, tuple[float, float]] = {}
        for name in names:
            part, look = means[means["label"] == name].dropna(subset=[x]).sort_values("epoch"), look_of(name)
            if part.empty:  # its time was not kept
                continue
            look |= dict(lw=1.8, ms=4, zorder=3) if entity(name) else dict(lw=1.1, ms=3, zorder=2)
            axes.plot(part[x], part["val"], **look)
            ends[name] = float(part[x].iloc[-1]), float(part["val"].iloc[-1])
            if time is not None and name in time.index:
                at = time.loc[name, x]
                where = np.interp(at, part[x], part["val"])
                axes.plot([at], [where], "o", ms=9, mfc="none", mec=look["color"], mew=1.4, zorder=4)
        far = [x for x, _ in ends.values()] or [1.0]
        # where the last of the usual ones ends; one that takes far longer is cut, and said to go on
        longest = max(end for end in far if end <= 1.5 * float(np.median(far)))
        late = {name: end for name, end in ends.items() if end[0] > longest}
        for name in late:
            part = means[means["label"] == name].dropna(subset=[x]).sort_values("epoch")
            ends[name] = longest, float(np.interp(longest, part[x], part["val"]))
        axes.set(ylim=(0, top), xlim=(0, 1.04 * longest))
        beyond = ", ".join(f"{name} goes on to {x} {end:.0f}: {value:.3f}" for name, (end, value) in late.items())
        axes.text(0.99, 0.02, beyond, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
        if axes is right:
            name_ends(axes, ends, 1.07 * longest, (0, top))
    left.set(xlabel="epoch", ylabel="mAP@ALL on validation drawings")
    right.set(xlabel="seconds (classifier, centers, hasher)")
    left.set_title("Against epochs" + ("; circles: 95 % of the best" if time is not None else ""))
    right.set_title("Against time")
    return figure


@styled
def dose_response(rows: "DataFrame", slope: Estimate, metric: str = "mAP@ALL", ax: Axes | None = None) -> Figure:
    """A metric against f of the centers, a dot per run; light: much false meaning, and the mean slope within seeds."""
    check_rows(rows, "shc.frames.block")
    f, values = rows["f"].to_numpy(), rows[metric].to_numpy()
    doses = listed([f"{dose:.0%}" for dose in sorted(rows["shuffled"].unique())])
    per = 0.01 * slope.mean
    told = f"{plus(per)} for each 0.01 of f"
    if np.isfinite(slope.low):
        told += f" ({plus(0.01 * slope.low)} to {plus(0.01 * slope.high)})"
    alt = f"{metric} against f for doses of false meaning {doses}, {rows['seed'].nunique()} seeds: {told}"
    figure, axes = figure_of(ax, 7.5, 4.2, alt)
    dots = axes.scatter(f, values, c=rows["shuffled"], cmap="cividis", vmin=0, vmax=1, s=34, edgecolors="black", lw=0.5)
    ends = np.array([f.min(), f.max()])
    if np.isfinite(slope.mean):
        axes.plot(ends, values.mean() + slope.mean * (ends - f.mean()), color="black", lw=1.4, zorder=0)
    bar = axes.get_figure().colorbar(dots, ax=axes, label="share of S that is false")  # type: ignore[union-attr]
    bar.ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("loss f(H) of the centers, against the true S" + not_from_0(axes.get_xlim()))
    axes.set_ylabel(metric + not_from_0(axes.get_ylim()))
    axes.set_title(f"False meaning: {told}")
    return figure


@styled
def paper_panel(tables: "DataFrame", metric: str = "mAP@ALL") -> Figure:
    """The SHC paper's methods as printed, a panel per data set; nothing in it was measured here.

    `tables` is `shc.frames.paper_tables()`.
    """
    rows = tables[(tables["table"] == "methods") & (tables["metric"] == metric)]
    if rows.empty:
        known = sorted(tables["metric"].unique())
        raise ValueError(f"metric={metric!r} is not printed in the paper; choose one of {', '.join(known)}")
    sets, known = list(dict.fromkeys(rows["data"])), ["SHC", "CSQ", "MDS"]
    lengths = sorted(rows["bits"].unique())
    places = range(len(lengths))
    shc = rows[(rows["method"] == "SHC") & (rows["bits"] == 32)]
    told = ", ".join(f"{row.data} {row.value:.3f}" for row in records(shc.rename(columns={"as printed": "value"})))
    alt = f"{metric} as printed in the SHC paper for {len(sets)} data sets; SHC at 32 bits: {told}"
    figure, panels = new_figure(10, 3.9, alt=alt, ncols=len(sets), sharey=True)
    for axes, name in zip(panels, sets, strict=True):
        part = rows[rows["data"] == name].pivot(index="method", columns="bits", values="as printed")[lengths]
        for method in part.index.drop(known, errors="ignore"):
            axes.plot(places, part.loc[method], color=PALE, lw=1, marker=".", ms=4)
        for method in known:
            axes.plot(
                places,
                part.loc[method],
                **look_of(method),
                lw=1.7,
                ms=5,
                label=method,
                zorder=3 if method == "SHC" else 2,
            )
        axes.set_xticks(places, [str(bits) for bits in lengths])
        axes.set_title(name)
        axes.set_ylim(0, 1.05 * float(rows["as printed"].max()))
    panels[0].plot([], [], color=PALE, marker=".", label=f"{rows['method'].nunique() - len(known)} others")
    panels[0].set_ylabel(f"{metric}, as printed")
    panels[len(sets) // 2].set_xlabel("code length (bits)")
    handles, words = panels[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=4)
    figure.suptitle("As printed by Chen et al. 2025: other data, networks and conventions than ours", x=0.01, ha="left")
    return figure


def draw_estimate(axes: Axes, level: Estimate, y: float, color: str, hollow: bool, marker: str = "o") -> None:
    """A mean at height y with its interval, if there is one."""
    if np.isfinite(level.low):
        axes.plot([level.low, level.high], [y, y], color=color, lw=2, solid_capstyle="butt")
    axes.plot([level.mean], [y], marker, ms=7, color=color, mfc="white" if hollow else color, mew=1.6)


def name_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], x: float, limits: tuple[float, float]) -> None:
    """Names of lines at x, right of their ends (x, y), moved apart and tied to them by a thin line."""
    names = list(ends)
    gap = 13 / (0.8 * axes.get_window_extent().height * 72 / 100) * (limits[1] - limits[0])
    places = spread(np.array([ends[name][1] for name in names]), gap, limits[0] + gap / 2, limits[1])
    for name, place in zip(names, places, strict=True):
        color = entity(name).get("color", "#6B6B6B")
        tie: dict[str, Any] = dict(color=color, lw=0.8, ls=(0, (1, 3)), alpha=0.7)  # no line that could be data
        axes.plot([ends[name][0], x], [ends[name][1], place], **tie, clip_on=False, zorder=1)
        axes.text(x, place, f" {shortened(name, 30)}", color=ink(color), va="center", fontsize=9)


def not_from_0(limits: tuple[float, float]) -> str:
    """Words for the label of an axis that hides 0.

    >>> not_from_0((0.3, 0.5)), not_from_0((0, 1))
    (' (axis does not begin at 0)', '')
    """
    return " (axis does not begin at 0)" if min(limits) > 0 or max(limits) < 0 else ""


def plus(value: float) -> str:
    """The number with its sign.

    >>> plus(0.0149), plus(-0.2)
    ('+0.015', '−0.200')
    """
    return f"{value:+.3f}".replace("-", "−")


def check_rows(table: "DataFrame", maker: str) -> None:
    """Raise ValueError for a table without rows."""
    if not len(table):
        raise ValueError(f"there are no rows to draw; pass those of {maker}, or skip the picture of what was not run")


def records(table: "DataFrame") -> list[Any]:
    """The rows with their columns as attributes."""
    return list(table.itertuples())


def listed(values: Sequence[Any]) -> str:
    """Values in words.

    >>> listed([16, 32, 64])
    '16, 32 and 64'
    """
    words = [str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
