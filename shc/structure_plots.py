"""Pictures of the structure of hash centers: stress, bits, maps of codes, the price of d.

What they draw is measured in `shc.structure`, `shc.embedding` and `shc.frontier`. Data in, `Figure` out; all can be
called from `shc.plots`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from shc import hamming, structure
from shc.class_plots import whole
from shc.figures import BLUE, GREY, LINES, PALE, Figure, accents, ink, new_figure, shortened, signed, spread, styled

if TYPE_CHECKING:
    from shc.frontier import FrontierPoint

DIVERGING = "PuOr"  # readable for colour-blind eyes, and light in the middle
SHADES = ("#222222", "#7A7A7A")  # of metrics: the hues belong to centers


@styled
def stress_chart(
    S: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    min_distance: int = 0,
    worst: int = 10,
) -> Figure:
    """How badly each class fits: stress (row mean of (S − HᵀH/K)²) sorted, and the `worst` classes with their partners.

    The dark part of a bar is what `min_distance` bits force on it, pair by pair (`shc.structure.forced_stress`).
    """
    stress, partners = structure.class_stress(S, codes), structure.stress_partners(S, codes)
    forced = structure.forced_stress(S, np.shape(codes)[1], min_distance)
    distance, order = hamming.distance(codes, codes), np.argsort(-stress, kind="stable")
    worst = min(worst, len(order))
    first, related = order[0], ""
    if groups is not None and len(np.unique(ids := whole(groups))) > 1:
        alike = int((ids[order[:worst]] == ids[partners[order[:worst]]]).sum())
        related = f"; {alike} of {worst} partners share the super-class"
    alt = (
        f"Stress of {len(stress)} classes, sorted; the largest is {stress[first]:.4f} for {names[first]}, mostly with "
        f"{names[partners[first]]}; the mean is f = {stress.mean():.4f}{related}"
    )
    figure, (left, right) = new_figure(10, 1.6 + 0.31 * max(worst, 8), alt=alt, ncols=2, width_ratios=(5, 4))
    shades = [BLUE] * worst + [PALE] * (len(order) - worst)
    left.bar(np.arange(len(order)) + 1, stress[order], width=1, color=shades, ec="white", lw=0.3)
    left.axhline(stress.mean(), color="black", lw=1.2, ls="--", label=f"mean = f = {stress.mean():.4f}")
    left.set(xlabel=f"{len(order)} classes, sorted", ylabel="stress", xlim=(0.3, len(order) + 0.7))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title("Stress is shared by all" if stress[first] < 2 * stress.mean() else "A few classes fit badly")
    left.legend(loc="upper right")
    shown = order[:worst]
    right.barh(range(worst), stress[shown], color=BLUE, height=0.7)
    right.barh(range(worst), forced[shown], color="black", ec="white", height=0.26)  # seen on dark bars too
    labels = [
        f"{shortened(names[c], 18)} ↔ {shortened(names[p], 18)}\ns = {signed(S[c, p])}, {distance[c, p]} bits"
        for c, p in zip(shown, partners[shown], strict=True)
    ]
    right.set_yticks(range(worst), labels, fontsize=7.5)
    right.tick_params(axis="y", length=0)
    right.set(ylim=(worst - 0.5, -0.5), xlabel=f"stress{related}")
    right.xaxis.set_major_locator(MaxNLocator(4))
    right.set_title(f"The worst (black: forced by d = {min_distance})")
    return figure


@styled
def bit_meanings(
    codes: np.ndarray, groups: np.ndarray, group_names: Sequence[str], chance: np.ndarray | None = None
) -> Figure:
    """Which super-classes each bit of centers [C, K] separates, the most telling bit first.

    Below: mean of the bit over every super-class, from all −1 to all +1. Above: mutual information of bit and
    super-class, with the range that shuffled classes reach if `chance` [draws, K] is given.
    """
    means, information = structure.bit_means(codes, groups), structure.bit_information(codes, groups)  # [K, G], [K]
    order = np.argsort(-information, kind="stable")
    ids = np.unique(whole(groups))
    rows = _similar_together(means[:, ids].T)
    alt = (
        f"Mean of {len(order)} bits over {len(ids)} super-classes, sorted by their information about the super-class, "
        f"{information.max():.2f} to {information.min():.2f} bit"
    )
    shape = dict(nrows=2, sharex=True, height_ratios=(1, max(1.2, 0.14 * len(ids))))
    figure, (top, axes) = new_figure(9.2, min(2.6 + 0.21 * len(ids), 9), alt=alt, **shape)
    at = np.arange(len(order))
    top.bar(at, information[order], color=BLUE, width=0.8)
    if chance is not None:
        level = float(np.quantile(chance, 0.975))
        told = "97.5 % of bits stay below by chance"
        top.axhline(level, color="black", lw=1.2, ls="--", label=told)
        top.legend(loc="lower right", bbox_to_anchor=(1, 0.98))  # beside the title: no bar or line reaches it
    top.set(ylabel="information\n(bit)", ylim=(0, 1.02 * max(1.25 * information.max(), 1e-3)))
    top.set_title("What each bit tells about the super-class")
    picture = axes.imshow(means[np.ix_(order, ids[rows])].T, aspect="auto", cmap=DIVERGING, vmin=-1, vmax=1)
    labels = [shortened(group_names[i]) for i in ids[rows]]
    axes.set_yticks(range(len(ids)) if len(ids) <= 40 else [], labels if len(ids) <= 40 else [], fontsize=8)
    axes.set_xticks(at, [str(bit) for bit in order], fontsize=8 if len(order) <= 40 else 6, rotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"number of the bit, of {len(order)}; the most telling first")
    figure.colorbar(picture, ax=axes, label="mean of the bit", ticks=[-1, 0, 1], shrink=0.9)
    return figure


@styled
def bit_correlations(codes: Mapping[str, np.ndarray]) -> Figure:
    """Correlation of the bits, one panel per name of codes [N, K], all in the order and the colours of the first.

    Far from 0 (either sign, which is arbitrary), two bits say much the same; the diagonal is left blank.
    """
    if not codes:
        raise ValueError("there are no codes to draw; pass at least one name with codes [N, K]")
    found = {name: structure.bit_correlation(value) for name, value in codes.items()}
    first = next(iter(found.values()))
    order = _similar_together(np.abs(first))
    off = ~np.eye(len(first), dtype=bool)
    limit = max(0.1, *(np.abs(c[off]).max(initial=0) for c in found.values()))
    typical = {name: float(np.sqrt(np.square(c[off]).mean())) if off.any() else 0.0 for name, c in found.items()}
    told = ", ".join(f"{name} {value:.2f}" for name, value in typical.items())
    alt = f"Correlation between the {len(first)} bits; root mean square off the diagonal: {told}"
    figure, axes = new_figure(4.6 * len(found) + 0.9, 4.4, alt=alt, ncols=len(found), squeeze=False)
    for ax, (name, correlation) in zip(axes[0], found.items(), strict=True):
        shown = correlation[np.ix_(order, order)].copy()
        np.fill_diagonal(shown, np.nan)
        picture = ax.imshow(shown, cmap=DIVERGING, vmin=-limit, vmax=limit)
        ax.set_title(f"{name}: typical size {typical[name]:.2f}")
        ax.set(xticks=[], yticks=[], xlabel=f"{len(first)} bits, similar ones side by side")
        ax.spines[:].set_visible(False)
    figure.colorbar(picture, ax=list(axes[0]), label="correlation", shrink=0.8, panchor=False)
    return figure


@styled
def code_maps(
    points: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
) -> Figure:
    """Centers as big marks and image codes as small dots, one panel per name of points [C + N, 2], the centers first.

    `labels` int64 [N] are the images' classes, positions in `groups` int64 [C]. The super-classes that lie most
    together have hues, and names at the median of their centers; a few points far from all others may be outside.
    """
    labels = whole(labels)
    sizes = {name: len(value) - len(labels) for name, value in points.items()}
    classes = next(iter(sizes.values()), 0)
    if len(set(sizes.values())) != 1 or classes <= labels.max(initial=-1) or classes < 1:
        raise ValueError(
            f"points of {sizes} centers for {len(labels)} images of classes up to {labels.max(initial=-1)}; pass "
            "[C + N, 2], the centers first"
        )
    ids = np.zeros(classes, np.int64) if groups is None else whole(groups)
    several = groups is not None and group_names is not None and len(np.unique(ids)) > 1
    accented = _tightest(list(points.values()), ids, classes) if several else np.unique(ids)
    colors = np.array(accents(accented, len(group_names or ())) if several else [BLUE] * (ids.max() + 1))
    alt = f"{classes} centers among the codes of {len(labels)} images, laid out by {' and '.join(points)}"
    if several and group_names is not None:
        alt += f"; in color the super-classes that lie most together: {', '.join(group_names[g] for g in accented)}"
    figure, axes = new_figure(5 * len(points), 4.9, alt=alt, ncols=len(points), squeeze=False)
    shade = np.random.default_rng(0).permutation(len(labels))  # no class is always drawn on top
    shade = shade[np.argsort(np.isin(ids[labels[shade]], accented), kind="stable")]  # but color is, on grey
    front = np.argsort(np.isin(ids, accented), kind="stable")
    edges = np.where(np.isin(ids, accented), "black", GREY)
    for ax, (name, place) in zip(axes[0], points.items(), strict=True):
        place = np.asarray(place)
        dots = place[classes:][shade]
        ax.scatter(*dots.T, s=9, c=colors[ids[labels[shade]]], lw=0, alpha=0.6, rasterized=True)
        ax.scatter(*place[front].T, s=32, c=colors[ids[front]], marker="D", ec=edges[front], lw=0.9, zorder=3)
        outside = _focus(ax, place)
        ax.set(xticks=[], yticks=[], xlabel=f"{outside} far points are outside" if outside else "")
        ax.spines[:].set_visible(False)
        ax.set_title(name)
        if several and group_names is not None:
            _name_places(ax, place[:classes], ids, accented, group_names, colors)
    last = axes[0, -1]
    last.scatter([], [], s=32, c="white", marker="D", ec="black", lw=0.9, label="center")
    last.scatter([], [], s=12, c="black", lw=0, label="image code")
    last.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, handletextpad=0.2, columnspacing=1.2)
    return figure


@styled
def frontier_curves(
    frontiers: "Mapping[int, Sequence[FrontierPoint]]",
    rules: Mapping[int, int] | None = None,
    maps: Mapping[str, Mapping[int, Sequence[float]]] | None = None,
    map_bits: int | None = None,
    map_title: str = "after training",
) -> Figure:
    """Loss f and its lower bound against the minimum distance, one panel per code length, the gap shaded.

    `rules` marks a distance for each code length. `maps` adds a panel for codes of `map_bits`: by name (mAP, …) the
    values, one per seed, at each distance; lines are their means.
    """
    if not frontiers or not all(len(points) for points in frontiers.values()):
        raise ValueError("there are no points to draw; make them with shc.frontier.frontier")
    told = ", ".join(f"{bits} bits {p[0].loss:.4f} to {p[-1].loss:.4f}" for bits, p in frontiers.items())
    alt = f"Loss f against the minimum distance from {next(iter(frontiers.values()))[0].min_distance}: {told}"
    for name, values in (maps or {}).items():
        means = {d: float(np.mean(each)) for d, each in values.items()}
        best = max(means, key=means.__getitem__)
        alt += f"; {name} is largest at d = {best}: {means[best]:.3f}"
    columns = len(frontiers) + bool(maps)
    figure, axes = new_figure(max(5, min(3.1 * columns + 0.6, 11.5)), 3.9, alt=alt, ncols=columns, squeeze=False)
    top = 1.08 * max(point.loss for points in frontiers.values() for point in points)
    for i, (ax, (bits, points)) in enumerate(zip(axes[0], frontiers.items(), strict=False)):
        d = [point.min_distance for point in points]
        losses, lower = [point.loss for point in points], [point.bound for point in points]
        ax.fill_between(d, lower, losses, color=BLUE, alpha=0.15, lw=0, label="optimum is in here")
        ax.plot(d, losses, color=BLUE, lw=1.8, marker="o", ms=4, label="f of centers found")
        ax.plot(d, lower, color="black", lw=1.4, ls="--", label="bound: no set is below")
        ax.set(ylim=(0, top), xlabel="minimum distance d (bits)")
        ax.set_title(f"{bits} bits")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if rules and bits in rules:
            ax.axvline(rules[bits], color="black", lw=1.4, ls=":", zorder=1, label="the rule’s d")
        if i:
            ax.tick_params(labelleft=False)
    axes[0, 0].set_ylabel("loss f(H)")
    handles, words = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=4 if columns > 2 else 2)
    if maps:
        _draw_maps(axes[0, -1], maps)
        axes[0, -1].set_title(map_title if map_bits is None else f"{map_bits} bits: {map_title}")
        if rules and map_bits is not None and map_bits in rules:
            axes[0, -1].axvline(rules[map_bits], color="black", lw=1.4, ls=":", zorder=1)
    return figure


def _draw_maps(axes: Axes, maps: Mapping[str, Mapping[int, Sequence[float]]]) -> None:
    """Retrieval against the distance: a line through the means over seeds, and every seed as a mark."""
    for i, (name, values) in enumerate(maps.items()):
        d = sorted(values)
        look: dict[str, Any] = dict(color=SHADES[i % 2], marker="spP*"[i % 4], ms=4)
        axes.plot([x for x in d for _ in values[x]], [v for x in d for v in values[x]], ls="", **look)
        axes.plot(d, [np.mean(values[x]) for x in d], lw=1.8, ls=LINES[i % len(LINES)], color=look["color"])
        axes.plot([], [], lw=1.8, ls=LINES[i % len(LINES)], label=name, **look)
    axes.set(xlabel="minimum distance d (bits)")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(loc="lower left")


def _similar_together(rows: np.ndarray) -> np.ndarray:
    """Order in which similar rows [N, M] are neighbors."""
    from scipy.cluster.hierarchy import leaves_list
    from scipy.spatial.distance import pdist, squareform

    if len(rows) < 3:
        return np.arange(len(rows))
    return leaves_list(structure.average_linkage(squareform(pdist(rows, "cityblock")))).astype(np.int64)


def _tightest(layouts: Sequence[np.ndarray], ids: np.ndarray, classes: int, most: int = 6) -> np.ndarray:
    """Up to `most` super-classes of two classes or more whose centers lie nearest to each other, over all layouts.

    Of super-classes with one class each, the first ones.
    """
    spread_of = np.zeros(int(ids.max()) + 1)
    for layout in layouts:
        centers = np.asarray(layout, float)[:classes]
        scale = np.median(np.abs(centers - np.median(centers, 0)), 0) + 1e-12  # a far point does not set it
        for g in np.unique(ids):
            inside = centers[ids == g] / scale
            spread_of[g] += np.linalg.norm(inside - np.median(inside, 0), axis=1).mean()
    found = np.unique(ids)
    several = found[np.bincount(ids)[found] > 1]
    several = several if len(several) else found
    return several[np.argsort(spread_of[several], kind="stable")[:most]]


def _focus(axes: Axes, place: np.ndarray) -> int:
    """Limits around the middle 97 % of the points in x and in y; returns how many are outside."""
    low, high = np.quantile(place, [0.015, 0.985], axis=0)  # one class of a hundred far off does not set them
    room = 0.08 * np.maximum(high - low, 1e-9)
    # no empty strip where the outermost are nearer than that
    low, high = np.maximum(low - room, place.min(0) - 0.3 * room), np.minimum(high + room, place.max(0) + 0.3 * room)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return int(((place < low) | (place > high)).any(1).sum())


def _name_places(
    axes: Axes, centers: np.ndarray, ids: np.ndarray, chosen: np.ndarray, names: Sequence[str], colors: np.ndarray
) -> None:
    """Names of the chosen super-classes at the median of their centers [C, 2], moved apart in height."""
    places = np.array([np.median(centers[ids == g], 0) for g in chosen])
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x = np.clip(places[:, 0], left + 0.22 * (right - left), right - 0.22 * (right - left))
    gap = 0.05 * (high - low)
    y = spread(np.clip(places[:, 1], low + gap, high - gap), gap, low + gap, high - gap)
    for group, across, up in zip(chosen, x, y, strict=True):
        box: dict[str, Any] = dict(fc="white", ec="none", alpha=0.8, pad=1)
        word: dict[str, Any] = dict(ha="center", va="center", fontsize=9, weight="bold", bbox=box, zorder=4)
        axes.text(across, up, shortened(names[group]), color=ink(colors[group]), **word)
