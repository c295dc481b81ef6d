"""The tree of hash centers beside the taxonomy of their classes; can be called from `shc.plots`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from shc import hamming, structure
from shc.class_plots import branches
from shc.figures import NAMED, PALE, Figure, accents, ink, new_figure, shortened, signed, spread, styled
from shc.hierarchy import Hierarchy

DARK = "#4D4D4D"  # branches that hold several super-classes


@styled
def tanglegram(codes: np.ndarray, hierarchy: Hierarchy, names: Sequence[str]) -> Figure:
    """The dendrogram of centers [C, K] beside the taxonomy, a line from every class to itself.

    The super-classes whose centers are nearest to each other have hues, the others are grey. The taxonomy's leaves are
    sorted so that few lines cross; those that still do are classes whose centers stand among another super-class's.
    """
    heights = structure.taxonomy_heights(hierarchy)
    if not len(codes) == len(heights) == len(names):
        raise ValueError(
            f"{len(codes)} codes, {len(heights)} classes in the hierarchy and {len(names)} names; pass one each per "
            "class, the hierarchy as shc.stages.trained_hierarchy gives it"
        )
    tree = structure.average_linkage(hamming.distance(codes, codes))
    rho = structure.cophenetic_correlation(structure.joint_heights(tree), heights)
    told = "" if np.isnan(rho) else f": cophenetic correlation {signed(rho)}"
    ids, group_names = hierarchy.group_ids(), hierarchy.group_names()
    few = len(codes) <= NAMED
    nearest = _nearest(codes, ids)
    seen = f", in color {', '.join(group_names[g] for g in nearest)}" if len(nearest) else ""
    alt = f"Dendrogram of {len(codes)} hash centers beside the taxonomy of {len(group_names)} super-classes{seen}{told}"
    shape = dict(ncols=3, sharey=True, width_ratios=(4, 3, 2), gridspec_kw={"wspace": 0})
    figure, (left, middle, right) = new_figure(10, 6.4 if not few else 1.5 + 0.24 * len(codes), alt=alt, **shape)
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.06, wspace=0))  # lines go on from the leaves
    colors = accents(nearest, len(group_names))
    order = _draw_tree(left, tree, ids, colors)
    places = np.empty(len(order))
    places[order] = np.arange(len(order))
    beside = _draw_taxonomy(right, hierarchy, places, colors)
    start = 0.45 if few else 0  # behind the names
    ends = [[(start, places[c]), (1, beside[c])] for c in range(len(codes))]
    plain = np.array([colors[g] == PALE for g in ids])
    middle.add_collection(
        LineCollection(ends, colors=[colors[g] for g in ids], linewidths=np.where(plain, 0.9, 2.0), zorder=2)
    )
    middle.set(xlim=(0, 1), xticks=[])
    for axes in (left, middle, right):
        axes.set(ylim=(len(codes) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0, labelleft=False)
        axes.spines[["left", "bottom"]].set_visible(axes is left and False)
    left.set_xlabel("Hamming distance (bits), mean over pairs")
    left.set_title(f"Centers and taxonomy{told}")
    right.set_title("Taxonomy")
    _name_super_classes(right, ids, group_names, beside, colors)
    for c in range(len(codes)) if few else ():
        middle.text(0.43, places[c], shortened(names[c]), ha="right", va="center", fontsize=8)
    return figure


def _draw_tree(axes: Axes, tree: np.ndarray, ids: np.ndarray, colors: Sequence[str]) -> np.ndarray:
    """A dendrogram [C − 1, 4], root left; branches of one super-class take its hue. Returns the leaves in order."""
    order, lines, kinds = branches(tree, ids)
    shades = [colors[min(kind)] if len(kind) == 1 else DARK for kind in kinds]
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=[2 if len(k) == 1 else 1.0 for k in kinds]))
    axes.set_xlim(max(tree[:, 2].max(), 1e-9) * 1.03, 0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return order


def _draw_taxonomy(axes: Axes, hierarchy: Hierarchy, places: np.ndarray, colors: Sequence[str]) -> np.ndarray:
    """The taxonomy, root right; returns each class's height, groups sorted by the mean of `places` [C]."""
    levels = [hierarchy.group_ids(level) for level in range(hierarchy.height - 1, -1, -1)]  # coarse first, classes last
    means = [np.bincount(ids, places)[ids] / np.bincount(ids)[ids] for ids in levels]
    beside = np.empty(len(places))
    beside[np.lexsort([key for pair in zip(levels[::-1], means[::-1], strict=True) for key in pair])] = np.arange(
        len(places)
    )
    ids = hierarchy.group_ids()
    joints = beside.copy()  # height at which the branch of each class stands
    for level in range(1, hierarchy.height + 1):
        above = hierarchy.group_ids(level) if level < hierarchy.height else np.zeros(len(places), np.int64)
        for group in np.unique(above):
            inside = np.unique(joints[above == group])
            shade = colors[ids[above == group][0]] if level == 1 else DARK
            spans = [[(level - 1, y), (level, y)] for y in inside] + [[(level, inside[0]), (level, inside[-1])]]
            axes.add_collection(LineCollection(spans, colors=shade, linewidths=2 if level == 1 else 1.0))
            joints[above == group] = (inside[0] + inside[-1]) / 2
    axes.set(xlim=(0, hierarchy.height + 0.05), xticks=[])
    return beside


def _name_super_classes(
    axes: Axes, ids: np.ndarray, names: Sequence[str], beside: np.ndarray, colors: Sequence[str], most: int = 24
) -> None:
    """Names of the (largest) super-classes right of the axes, at the height of their classes."""
    sizes = np.bincount(ids, minlength=len(names))
    chosen = np.argsort(-sizes, kind="stable")[:most]
    chosen = chosen[sizes[chosen] > 0]
    middles = np.array([beside[ids == g].mean() for g in chosen])
    places = spread(middles, len(ids) / 30, -0.5, len(ids) - 0.5) if len(ids) > NAMED else middles
    for group, place in zip(chosen, places, strict=True):
        look: dict[str, Any] = (
            dict(color="#6B6B6B") if colors[group] == PALE else dict(color=ink(colors[group]), weight="bold")
        )
        words = shortened(names[group])
        axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8, **look)


def _nearest(codes: np.ndarray, ids: np.ndarray, most: int = 4) -> np.ndarray:
    """Up to `most` super-classes of two classes or more, those with the smallest mean distance between centers."""
    distances, sizes = hamming.distance(codes, codes), np.bincount(ids)
    several = np.flatnonzero(sizes > 1)
    means = [distances[np.ix_(ids == g, ids == g)].sum() / (sizes[g] * (sizes[g] - 1)) for g in several]
    return several[np.argsort(means, kind="stable")[:most]]
