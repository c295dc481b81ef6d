"""Pictures of what is possible: distance limits, sets of centers side by side, the loss beside its bound.

Distances are in bits. Data in, `Figure` out; all can be called from `shc.plots`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from shc import hamming
from shc.class_plots import check_rows, square
from shc.figures import BLUE, GREEN, GREY, ORANGE, Figure, figure_of, new_figure, shortened, styled
from shc.limits import DistanceRow, distance_table

if TYPE_CHECKING:
    from shc.comparison import ComparedCenters

BITS = tuple(range(8, 65, 4))
CLASSES = (4, 6, 8, 10, 14, 20, 30, 45, 70, 100, 150, 220, 330, 500, 750, 1000)


@styled
def distance_limits(
    bits: int = 32, classes: int = 100, lengths: Sequence[int] = BITS, sizes: Sequence[int] = CLASSES
) -> Figure:
    """The distance table as curves: d against K in `lengths` for C classes, and against C in `sizes` for K bits.

    Above Plotkin's and Hamming's limits there is no set of centers, below Gilbert and Varshamov's there is one for
    certain; dots are the paper's rule, the open circle is its d for (K, C). Sizes with C > 2^K are left out.
    """
    here = distance_table([bits], [classes])[0]
    told = f"{bits} bits and {classes} classes: the rule asks for {here.rule}, {here.algebraic} are reached by algebra"
    alt = f"Limits of the minimum distance against code length and number of classes; {told}"
    figure, (left, right) = new_figure(11.5, 4.3, alt=alt, ncols=2, sharey=False)
    _limit_curves(left, distance_table([k for k in lengths if classes <= 2**k], [classes]), "bits", here)
    _limit_curves(right, distance_table([bits], [c for c in sizes if c <= 2**bits]), "classes", here)
    left.set(xlabel="code length K (bits)", ylabel="minimum distance d (bits)")
    right.set(xlabel="classes C", ylabel="minimum distance d (bits)", xscale="log")
    left.set_title(f"{classes} classes: longer codes stand further apart")
    right.set_title(f"{bits} bits: the more classes, the closer")
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.legend(loc="upper left")
    return figure


def _limit_curves(axes: Axes, rows: Sequence[DistanceRow], against: str, here: DistanceRow) -> None:
    def column(name: str) -> list[int]:
        return [getattr(row, name) for row in rows]

    x = column(against)
    largest = [min(row.plotkin, row.hamming) for row in rows]
    top = 1.08 * max(largest)
    axes.fill_between(x, largest, top, color=ORANGE, alpha=0.15, lw=0)
    axes.fill_between(x, 0, column("gilbert_varshamov"), color=GREEN, alpha=0.15, lw=0)
    axes.plot(x, column("hamming"), color=GREY, ls=":", lw=1.6, label="Hamming: none above")
    axes.plot(x, column("plotkin"), color=ORANGE, lw=2, label="Plotkin: none above")
    axes.plot(x, column("algebraic"), color=BLUE, ls="-.", lw=1.6, marker="s", ms=3, label="Hadamard and BCH codes")
    axes.plot(x, column("gilbert_varshamov"), color=GREEN, ls="--", lw=1.6, label="Gilbert–Varshamov: exists")
    axes.plot(x, column("rule"), "o", color="black", ms=4, label="the paper's rule")
    axes.plot([getattr(here, against)], [here.rule], "o", color="black", mfc="none", ms=12, mew=1.8)
    axes.set(xlim=(min(x), max(x)), ylim=(0, top))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


@styled
def compared_centers(rows: "Sequence[ComparedCenters]", bound: float | None = None, ax: Axes | None = None) -> Figure:
    """f of each set as a bar, with smallest distance and seconds; hatched where it breaks the distance.

    `bound` is a number that f of no set at this distance falls below.
    """
    if not rows:
        raise ValueError("there are no sets to compare; pass the rows of shc.comparison.compare_centers")
    wanted = rows[0].required_distance
    kept = [f"{row.name} {row.loss:.4f}{'' if row.keeps else ' (too close)'}" for row in rows]
    alt = f"Loss f of {len(rows)} sets of hash centers at minimum distance {wanted}: {', '.join(kept)}"
    figure, axes = figure_of(ax, 9, 1.2 + 0.42 * len(rows), alt)
    best = min((row.loss for row in rows if row.keeps), default=None)
    for i, row in enumerate(rows):
        look: dict[str, Any] = dict(color=BLUE if row.loss == best else "#B5B5B5")
        if not row.keeps:
            look = dict(color=ORANGE, hatch="///", edgecolor="black", lw=0)
        axes.barh(i, row.loss, height=0.62, **look)
        mark = "✓" if row.keeps else "✗ too close"
        seconds = "under 0.1 s" if row.seconds < 0.1 else f"{row.seconds:.1f} s"
        told = f"{row.loss:.4f} · {row.min_distance} bits {mark} · {seconds}" + f"\n{row.note}" * bool(row.note)
        axes.annotate(told, (row.loss, i), (6, 0), textcoords="offset points", va="center", fontsize=9)
    if bound is not None:
        axes.axvline(bound, color="black", ls="--", lw=1.6)
        axes.text(bound, -0.62, "no set below ", ha="right", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [shortened(row.name) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="loss f(H)", xlim=(0, 1.75 * max(row.loss for row in rows)), ylim=(len(rows) - 0.5, -1))
    axes.set_title(f"f, smallest distance ({wanted} bits asked for) and seconds of each set")
    return figure


@styled
def loss_parts(parts: Mapping[str, tuple[float, float, float, float]], ax: Axes | None = None) -> Figure:
    """What f is made of, a bar per name of (f, its bound at the distance kept, f found at distance 0, its bound there).

    The first part no K-bit codes avoid, the second is the rise of the bound, the rest is open: a better set may exist,
    or the bound may be low. Where the mark, f at distance 0, lies left of the bound, the gap is the certain price.
    """
    if not parts:
        raise ValueError("there is nothing to draw; pass (f, bound, f at distance 0, bound at distance 0) by name")
    # a bound at distance 0 holds at any distance; the search for the other one may have stopped a little below it
    parts = {
        name: (loss, least if 0.999 * least <= bound < least else bound, free, least)
        for name, (loss, bound, free, least) in parts.items()
    }
    for name, (loss, bound, free, least) in parts.items():
        if not (0 <= least <= bound <= loss and least <= free):
            raise ValueError(
                f"{name}: f = {loss:.6g}, bound {bound:.6g}; {free:.6g} and {least:.6g} at distance 0; expected no f "
                "below its bound, and the lower bound at distance 0"
            )
    told = [
        f"f = {f:.4f}" + f", at most {f / max(bound, 1e-12):.2f} × the optimum" * (bound > 0)
        for f, bound, *_ in parts.values()
    ]
    alt = "; ".join(f"{name} {text}" for name, text in zip(parts, told, strict=True))
    figure, axes = figure_of(ax, 10, 1.7 + 0.5 * len(parts), f"The loss and its lower bounds: {alt}")
    places = range(len(parts))
    f, bound, free, least = np.array(list(parts.values()), float).T
    most = max(f.max(), 1e-9)
    pieces = (
        (least, "lower bound at d = 0"),
        (bound - least, "rise of the bound"),
        (f - bound, "open: gap to the bound"),
    )
    start = np.zeros(len(parts))
    looks: tuple[dict[str, Any], ...] = (
        dict(color=BLUE), dict(color=ORANGE, hatch="///", edgecolor="white", lw=0), dict(color="#D9D9D9"),
    )  # fmt: skip
    for (width, label), look in zip(pieces, looks, strict=True):
        axes.barh(places, width, left=start, height=0.6, label=label, **look)
        for i, (x, part) in enumerate(zip(start, width, strict=True)):
            mark = free[i] if x < free[i] < x + part else x  # the number goes to the longer side of it
            left, right = max((x, mark), (mark, x + part), key=lambda side: side[1] - side[0])
            if right - left > 0.06 * most:
                words: dict[str, Any] = dict(ha="center", va="center", fontsize=9, zorder=3)
                box = dict(facecolor="white", edgecolor="none", pad=1.2, alpha=0.85)
                axes.text((left + right) / 2, i, f"{part / f[i]:.0%}", bbox=box, **words)
        start = start + width
    above = np.array(places) - 0.42  # the bar's numbers stay free
    axes.plot(free, above, "v", color="black", ms=8, clip_on=False, label="found at d = 0")
    for i in places:
        axes.text(f[i], i, f"  {told[i]}", va="center", fontsize=9)
    axes.set_yticks(places, [shortened(name) for name in parts])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="loss f(H)", xlim=(0, 1.55 * most), ylim=(len(parts) + 0.3, -0.7))
    axes.set_title("What keeps f from zero?")
    axes.legend(loc="lower right", ncols=4, markerscale=0.5)
    return figure


@styled
def closest_pairs(
    S: np.ndarray, sets: Mapping[str, np.ndarray], names: Sequence[str], pairs: int = 12, ax: Axes | None = None
) -> Figure:
    """The pairs of classes that are closest in the first of `sets` (codes [C, K] by name), and where others put them.

    The tick is the distance K(1 − s)/2 that the similarity S [C, C] asks for.
    """
    S = square(S)
    if not sets:
        raise ValueError("there are no sets of centers; pass at least one by name, codes [C, K]")
    for codes in sets.values():
        check_rows(codes, S)
    upper = np.triu_indices(len(S), 1)
    distances = {name: hamming.distance(codes, codes)[upper] for name, codes in sets.items()}
    bits = next(iter(sets.values())).shape[1]
    first, near = next(iter(distances.items()))
    chosen = np.lexsort((-S[upper], near))[:pairs]
    labels = [
        f"{shortened(names[i])} – {shortened(names[j])}" for i, j in zip(*(u[chosen] for u in upper), strict=True)
    ]
    told = f"{first}: the closest pair is {near[chosen[0]]} bits apart, {labels[0]}" if len(chosen) else "no pairs"
    figure, axes = figure_of(ax, 9, 1.3 + 0.28 * max(len(chosen), 1), f"Closest pairs of classes. {told}")
    rows = range(len(chosen))
    asked = bits * (1 - S[upper][chosen]) / 2
    axes.plot(asked, rows, "|", color="black", ms=12, mew=1.8, ls="none", label="asked for by S: K(1 − s)/2")
    for k, (name, values) in enumerate(distances.items()):
        color, marker = ((ORANGE, "o"), (BLUE, "s"), (GREEN, "^"), (GREY, "D"))[k % 4]
        axes.plot(values[chosen], rows, marker, color=color, ms=7, ls="none", label=name, alpha=0.9)
    axes.set_yticks(rows, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#DDDDDD", lw=0.8)
    axes.set_axisbelow(True)
    axes.set(xlabel="Hamming distance (bits)", ylim=(max(len(chosen), 1) - 0.4, -0.6))
    axes.set_xlim(-0.5, None)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(told.split(",")[0])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
