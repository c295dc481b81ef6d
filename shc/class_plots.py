"""Pictures of classes: similarity and confusion matrices in dendrogram order, and the dendrogram itself.

Similarities use cividis (`lowest_shown` to 1); super-classes are the only thing coloured by hue, names beside.
Data in, `Figure` out; all can be called from `shc.plots`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator, PercentFormatter

from shc.figures import BLUE, GREY, NAMED, Figure, class_axes, figure_of, new_figure, palette, shortened, signed, styled
from shc.structure import average_linkage


def dendrogram_order(S: np.ndarray) -> np.ndarray:
    """int64 [C]: classes sorted so that similar ones are neighbors (average linkage on 1 − S, optimal leaf order).

    >>> dendrogram_order(np.array([[1, 0, 0.9], [0, 1, 0.1], [0.9, 0.1, 1]]))
    array([1, 2, 0])
    """
    from scipy.cluster.hierarchy import leaves_list

    S = square(S)
    return leaves_list(_linkage(S)).astype(np.int64) if len(S) > 2 else np.arange(len(S))


def center_similarity(codes: np.ndarray) -> np.ndarray:
    """HᵀH/K [C, C] of codes [C, K]: 1 for equal codes, −1 for opposite ones."""
    wide = np.asarray(codes).astype(np.float64)
    return wide @ wide.T / wide.shape[1]


def lowest_shown(*similarities: np.ndarray) -> float:
    """Where a colour scale that ends at 1 begins: −0.25, −0.5 or −1, below all but a hundredth of the pairs of classes.

    Similarities [C, C] are mostly around 0: on a scale from −1 the few that matter would hardly stand out.

    >>> lowest_shown(np.eye(3)), lowest_shown(np.array([[1, -0.4], [-0.4, 1]]))
    (-0.25, -0.5)
    """
    least = min(np.quantile(S[~np.eye(len(S), dtype=bool)], 0.01) if len(S) > 1 else 0.0 for S in similarities)
    return next((low for low in (-0.25, -0.5) if least >= low), -1.0)


@styled
def similarity_heatmap(
    S: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
    order: np.ndarray | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """S [C, C] as a heat map in dendrogram order, with super-class bands `groups` int64 [C] if they are given."""
    S, order = square(S), checked_order(S, order)
    alt = f"Heat map of the similarity of {len(S)} classes, similar classes side by side{_inside(S, groups)}"
    figure, axes = figure_of(ax, *((7.8, 5.7) if len(S) > NAMED else (7.0, 6.0)), alt)
    low = lowest_shown(S)
    picture, bottom = _heat(axes, S, order, names, groups, group_names, low)
    axes.set_title(title or "Class similarity S: similar classes side by side")
    bottom.set_xlabel(_inside(S, groups).removeprefix(": "))
    figure.colorbar(picture, ax=axes, label="similarity s", shrink=0.8, panchor=False, extend=_open(S, low))
    return figure


@styled
def similarity_and_centers(
    S: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
    order: np.ndarray | None = None,
) -> Figure:
    """S [C, C] and the similarity HᵀH/K of centers [C, K] as two heat maps in one order: the paper in one picture."""
    S, order = square(S), checked_order(S, order)
    check_rows(codes, S)
    rho = rank_correlation(S, center_similarity(codes))
    told = "" if np.isnan(rho) else f", rank correlation {signed(rho)}"
    alt = f"Two heat maps of {len(S)} classes in one order: class similarity S, similarity of the hash centers{told}"
    figure, (left, right) = new_figure(11.5, 4.8 if len(S) > NAMED else 5.8, alt=alt, ncols=2)
    found = center_similarity(codes)
    low = lowest_shown(S, found)
    _heat(left, S, order, names, groups, group_names, low)
    picture, bottom = _heat(right, found, order, names, groups, group_names, low, labels=False)
    left.set_title("Asked for: class similarity S")
    right.set_title(f"Found: HᵀH/K of {np.shape(codes)[1]}-bit hash centers")
    bottom.set_xlabel(told.removeprefix(", ").replace("correlation", "correlation with S:"))
    figure.colorbar(picture, ax=[left, right], label="similarity", shrink=0.8, panchor=False, extend=_open(found, low))
    return figure


@styled
def class_dendrogram(
    S: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
    bits: int | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Tree of classes by average linkage on 1 − S [C, C]; branches that hold one super-class only take its colour.

    For centers pass `center_similarity(codes)` and `bits`: joints then stand at Hamming distances K(1 − s)/2.
    """
    S = square(S)
    if len(S) < 2:
        raise ValueError(f"a dendrogram needs at least 2 classes, got {len(S)}")
    tree = _linkage(S)
    tree[:, 2] *= 1 if bits is None else bits / 2
    order, segments, kinds = branches(tree, groups)
    colors = palette(len(group_names or ()))
    pure = [len(kind) == 1 for kind in kinds]
    told = (
        f"{sum(pure)} of {len(pure)} joints stay inside one super-class" if groups is not None else "similar join early"
    )
    alt = f"Dendrogram of {len(S)} classes: {told}"
    figure, axes = figure_of(ax, 8, 6.3 if len(S) > NAMED else 1.4 + 0.24 * len(S), alt)
    shades = [colors[min(kind)] if len(kind) == 1 and colors else "#4d4d4d" for kind in kinds]
    axes.add_collection(LineCollection(segments, colors=shades, linewidths=[2.4 if one else 1.1 for one in pure]))
    axes.set(xlim=(0, max(tree[:, 2].max(), 1e-9) * 1.03), ylim=(len(S) - 0.5, -0.5))
    mark_classes(axes, order, names, groups, group_names, columns=False)
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("1 − similarity, mean over pairs" if bits is None else "Hamming distance (bits), mean over pairs")
    axes.set_title(title or told[0].upper() + told[1:])
    return figure


def branches(tree: np.ndarray, groups: np.ndarray | None = None) -> tuple[np.ndarray, list[np.ndarray], list[set[int]]]:
    """What a dendrogram [C − 1, 4] is drawn from: leaves in order int64 [C]; line and super-classes of each joint.

    Leaf i of the order is row i, as in the heat maps; lines are [4, 2], height and row.
    """
    from scipy.cluster.hierarchy import dendrogram

    drawn = dendrogram(tree, no_plot=True, link_color_func=str)
    kinds: list[set[int]] = [set() if groups is None else {int(groups[i])} for i in range(len(tree) + 1)]
    for a, b, *_ in tree:
        kinds.append(kinds[int(a)] | kinds[int(b)])
    bends = zip(drawn["dcoord"], drawn["icoord"], strict=True)
    lines = [np.column_stack([x, (np.array(y) - 5) / 10]) for x, y in bends]  # scipy puts leaf i at 5 + 10 i
    return np.array(drawn["leaves"]), lines, [kinds[int(joint)] for joint in drawn["color_list"]]


@styled
def confusion_heatmap(
    confusion: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | None = None,
    order: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Share of each true class (row of counts [C, C]) taken for each class (column), on a square-root scale.

    Rows are sorted by super-class unless `order` int64 [C] says otherwise.
    """
    confusion = square(confusion, "confusion").astype(np.float64)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    if order is None:
        order = np.arange(len(share)) if groups is None else np.argsort(whole(groups), kind="stable")
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    told = f"{np.trace(confusion) / max(confusion.sum(), 1):.0%} right"
    if groups is not None and wrong.sum():
        inside = wrong[whole(groups)[:, None] == whole(groups)].sum() / wrong.sum()
        told += f", {inside:.0%} of the errors inside the super-class"
    figure, axes = figure_of(ax, 7.8, 5.7, f"Confusion matrix of {len(share)} classes, sorted by super-class; {told}")
    picture = axes.imshow(np.sqrt(share[np.ix_(order, order)]), vmin=0, vmax=1, cmap="viridis")
    bottom = mark_classes(axes, order, names, groups, group_names)
    axes.set_anchor("W")
    bottom.set_xlabel("predicted class, in the order of the true classes")
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, panchor=False, label="share of the true class (row)")
    bar.set_ticks(np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]), labels=["0", "0.01", "0.05", "0.2", "0.5", "1"])
    axes.set_title(told[0].upper() + told[1:])
    return figure


@styled
def confusion_pairs(
    confusion: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    pairs: int = 12,
    ax: Axes | None = None,
) -> Figure:
    """The `pairs` most frequent confusions in counts [C, C] (row: true class), as shares of the true class."""
    share = np.asarray(confusion, float)
    share = share / np.maximum(share.sum(1, keepdims=True), 1)
    off = np.where(np.eye(len(share), dtype=bool), -1.0, share)
    ranked = [divmod(int(i), len(share)) for i in np.argsort(-off, axis=None, kind="stable")[:pairs]]
    found = [(i, j) for i, j in ranked if off[i, j] > 0]
    labels = [f"{shortened(names[i])} → {shortened(names[j])}" for i, j in found]
    alt = "Most frequent confusions: " + ", ".join(f"{n} {off[p]:.0%}" for n, p in zip(labels, found, strict=True))
    figure, axes = figure_of(ax, 8, 1.1 + 0.27 * max(len(found), 1), alt)
    for i, pair in enumerate(found):
        inside = groups is not None and groups[pair[0]] == groups[pair[1]]
        look: dict[str, Any] = dict(color=BLUE) if inside else dict(color="#D9D9D9", hatch="///", edgecolor=GREY)
        axes.barh(i, off[pair], height=0.66, **(dict(color=BLUE) if groups is None else look))
        axes.text(off[pair], i, f" {off[pair]:.1%}", va="center", fontsize=9)
    axes.set_yticks(range(len(found)), labels)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="share of the true class", xlim=(0, 1.15 * max([off[p] for p in found], default=1)))
    axes.set_ylim(max(len(found), 1) - 0.4, -0.6)
    axes.set_title("Taken for another most often (true → predicted)" if found else "No class is ever taken for another")
    if groups is not None and found:
        axes.barh([-5], [0], color=BLUE, label="same super-class")
        axes.barh([-5], [0], color="#D9D9D9", hatch="///", edgecolor=GREY, label="another super-class")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def mark_classes(
    axes: Axes,
    order: np.ndarray,
    names: Sequence[str] | None,
    groups: np.ndarray | None,
    group_names: Sequence[str] | None,
    **options: bool,
) -> Axes:
    """`class_axes` for names and groups in the classes' order, shown in `order` int64 [C]."""
    for what, given in (("names", names), ("groups", groups)):
        if given is not None and len(given) != len(order):
            raise ValueError(f"{len(given)} {what} for {len(order)} classes; pass one per class, in the classes' order")
    sorted_names = None if names is None else [str(names[i]) for i in order]
    sorted_groups = None if groups is None else whole(groups)[order]
    return class_axes(axes, len(order), sorted_names, sorted_groups, group_names, **options)


def square(S: np.ndarray, what: str = "S") -> np.ndarray:
    """The matrix as a NumPy array; ValueError unless it is [C, C] and finite."""
    S = np.asarray(S)
    if S.ndim != 2 or S.shape[0] != S.shape[1] or not len(S):
        raise ValueError(f"{what} has shape {list(S.shape)}; expected a square matrix [C, C], one row per class")
    if not np.isfinite(S).all():
        i, j = np.argwhere(~np.isfinite(S))[0]
        raise ValueError(f"{what}[{i}, {j}] is {S[i, j]}; every entry must be finite (a class without images?)")
    return S


def checked_order(rows: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """`order` as int64 [C], by default the dendrogram's; ValueError unless it holds every row once."""
    if order is None:
        return dendrogram_order(rows)
    order = whole(order)
    if sorted(order.tolist()) != list(range(len(rows))):
        raise ValueError(f"order has {len(order)} entries; expected every class from 0 to {len(rows) - 1} once")
    return order


def whole(values: Any) -> np.ndarray:
    """Labels of any kind (NumPy, torch, list) as int64."""
    return np.asarray(values).astype(np.int64)


def check_rows(codes: np.ndarray, S: np.ndarray) -> None:
    """ValueError unless there is one code per class."""
    if len(codes) != len(S):
        raise ValueError(f"{len(codes)} codes for a similarity of {len(S)} classes; pass one center per class")


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ of two matrices' upper triangles; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    pairs = np.triu_indices(len(a), 1)
    if len(pairs[0]) < 2 or np.ptp(a[pairs]) == 0 or np.ptp(b[pairs]) == 0:
        return float("nan")
    return float(spearmanr(a[pairs], b[pairs]).statistic)


def _inside(S: np.ndarray, groups: np.ndarray | None) -> str:
    """Mean similarity inside and between super-classes, in words; nothing where one of the two does not occur."""
    if groups is None or len(groups) != len(S):
        return ""
    same, pairs = whole(groups)[:, None] == whole(groups), ~np.eye(len(S), dtype=bool)
    if not (same & pairs).any() or same.all():
        return ""
    return f": mean {signed(S[same & pairs].mean())} inside super-classes, {signed(S[~same].mean())} between"


def _heat(
    axes: Axes,
    S: np.ndarray,
    order: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray | None,
    group_names: Sequence[str] | None,
    low: float,
    labels: bool = True,
) -> Any:
    picture = axes.imshow(S[np.ix_(order, order)], vmin=low, vmax=1)
    bottom = mark_classes(axes, order, names, groups, group_names, labels=labels)
    axes.spines[:].set_visible(False)
    axes.set_anchor("W")  # the layout makes room for words left of the axes' place, so no slack may be there
    return picture, bottom


def _open(S: np.ndarray, low: float) -> str:
    """Which end of a colour scale is open: the lower one if something lies below it."""
    return "min" if S.min(initial=1) < low else "neither"


def _linkage(S: np.ndarray) -> np.ndarray:
    apart = np.clip(1 - (S + S.T) / 2, 0, None)
    np.fill_diagonal(apart, 0)
    return average_linkage(apart)
