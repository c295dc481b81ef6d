"""Pictures of classes and codes: data in, `Figure` out. Notebook cells are one call; tests look at the same figures.

Similarities use cividis between −1 and 1, distances are in bits, super-classes are the only thing coloured by hue (with
their names beside). Pictures made of images are in `shc.pictures`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import hamming
from shc.figures import BLUE, GREY, ORANGE, SERIES, Figure, group_bands, new_figure, style
from shc.pictures import contact_sheet, retrieval_strips

if TYPE_CHECKING:
    from shc.centers import CenterStep

__all__ = [
    "bars_with_intervals", "bit_balance", "centers_map", "code_strip", "confusion_heatmap", "contact_sheet",
    "dendrogram_order", "distance_histogram", "film_strip", "optimization_curves", "pr_curves", "quantization_histogram",
    "retrieval_strips", "similarity_and_centers", "similarity_heatmap", "similarity_vs_distance", "training_curves",
]  # fmt: skip


def dendrogram_order(S: np.ndarray) -> np.ndarray:
    """int64 [C]: classes sorted so that similar ones are neighbours (average linkage on 1 − S, optimal leaf order)."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(S) < 3:
        return np.arange(len(S))
    apart = np.clip(1 - S, 0, None)
    np.fill_diagonal(apart, 0)
    return leaves_list(linkage(squareform(apart, checks=False), "average", optimal_ordering=True)).astype(np.int64)


def center_similarity(codes: np.ndarray) -> np.ndarray:
    """HᵀH/K [C, C] of codes [C, K]: 1 for equal codes, −1 for opposite ones."""
    wide = codes.astype(np.float64)
    return wide @ wide.T / codes.shape[1]


def similarity_heatmap(
    S: np.ndarray, names: list[str], groups: np.ndarray, group_names: list[str], order: np.ndarray | None = None
) -> Figure:
    """S [C, C] as a heat map in dendrogram order with super-class bands."""
    order = dendrogram_order(S) if order is None else order
    alt = f"Heat map of the similarity of {len(S)} classes; similar classes are neighbors, bands show super-classes"
    figure, axes = new_figure(7.6, 6.2, alt=alt)
    with style():
        picture = _heat(axes, S, order, names, groups, group_names)
        axes.set_title("Class similarity S: blocks are super-classes found unasked", pad=22)
        figure.colorbar(picture, ax=axes, label="similarity", shrink=0.8)
    return figure


def similarity_and_centers(
    S: np.ndarray,
    codes: np.ndarray,
    names: list[str],
    groups: np.ndarray,
    group_names: list[str],
    order: np.ndarray | None = None,
) -> Figure:
    """S and the centers' similarity HᵀH/K as two heat maps in one order: the paper in one picture."""
    order = dendrogram_order(S) if order is None else order
    alt = f"Two heat maps of {len(S)} classes in one order: class similarity S, and similarity of the hash centers"
    figure, (left, right) = new_figure(11.5, 5.6, alt=alt, ncols=2)
    with style():
        _heat(left, S, order, names, groups, group_names)
        picture = _heat(right, center_similarity(codes), order, names, groups, group_names)
        if len(S) > 30:
            right.set_yticks([])
        left.set_title("Asked for: class similarity S", pad=22)
        right.set_title(f"Found: HᵀH/K of {codes.shape[1]}-bit hash centers", pad=22)
        figure.colorbar(picture, ax=[left, right], label="similarity", shrink=0.8)
    return figure


def similarity_vs_distance(
    S: np.ndarray, codes: np.ndarray, min_distance: int, groups: np.ndarray | None = None
) -> Figure:
    """Every pair of classes: its similarity against the Hamming distance of its centers, and the distance asked for."""
    bits, pairs = codes.shape[1], np.triu_indices(len(S), 1)
    similarity, distance = S[pairs], hamming.distance(codes, codes)[pairs]
    alt = "Scatter plot of class pairs: similarity against Hamming distance of the centers, with the ideal line"
    figure, axes = new_figure(7.2, 4.6, alt=alt)
    with style():
        ideal = np.array([-1.0, 1.0])
        axes.plot(ideal, bits * (1 - ideal) / 2, color="black", lw=1.2, label="asked for: K(1 − s)/2")
        axes.axhline(min_distance, color=ORANGE, lw=1.8, ls="--", label=f"minimum distance {min_distance} bits")
        # whole distances hide each other: spread the dots a little, always the same way
        jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(distance))
        same = np.zeros(len(distance), bool) if groups is None else (groups[:, None] == groups)[pairs]
        axes.scatter(
            similarity[~same], (distance + jitter)[~same], s=5, color=GREY, alpha=0.5, lw=0, label="other pairs"
        )
        if same.any():
            kind = dict(s=22, color=BLUE, marker="^", lw=0, label="same super-class")
            axes.scatter(similarity[same], (distance + jitter)[same], **kind)
        margin = 0.05 * np.ptp(similarity) + 0.02
        axes.set_xlim(similarity.min() - margin, similarity.max() + margin)
        axes.set_ylim(0, max(distance.max(), bits * (1 - similarity.min()) / 2) + 1.5)
        axes.set(xlabel="class similarity s", ylabel="Hamming distance (bits)")
        axes.set_title("Similar classes get close centers, down to the minimum distance")
        axes.legend(loc="upper right", markerscale=1.6)
    return figure


def distance_histogram(
    codes: np.ndarray, min_distance: int, reference: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """How many pairs of centers stand at each Hamming distance; `reference` adds other center sets as outlines."""
    bits, classes = codes.shape[1], len(codes)
    figure, axes = new_figure(7.2, 3.6, alt=f"Histogram of the Hamming distances between {classes} hash centers")
    with style():
        axes.bar(np.arange(bits + 1), hamming.pair_histogram(codes), width=0.9, color=BLUE, label="these centers")
        for color, (name, other) in zip(SERIES[1:], (reference or {}).items(), strict=False):
            axes.step(np.arange(bits + 1), hamming.pair_histogram(other), where="mid", color=color, label=name)
        axes.axvline(min_distance - 0.5, color=ORANGE, lw=1.8, ls="--", label=f"minimum distance {min_distance}")
        axes.axvline(bits / 2, color="black", lw=1, ls=":", label=f"K/2 = {bits / 2:g}, the mean of random codes")
        distances = np.flatnonzero(hamming.pair_histogram(codes))
        low, high = min(distances.min(initial=bits), min_distance), distances.max(initial=0)
        axes.set_xlim(max(-1, low - 2), min(bits + 1, max(high, bits // 2) + 2))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="Hamming distance (bits)", ylabel="pairs of classes")
        axes.set_title("No two centers are closer than the minimum distance")
        axes.set_ylim(0, 1.55 * hamming.pair_histogram(codes).max(initial=1))
        axes.legend(loc="upper right", ncols=1)
    return figure


def centers_map(
    codes: np.ndarray, groups: np.ndarray, group_names: list[str], order: np.ndarray | None = None
) -> Figure:
    """The centers as a table of bits: one row per class (in `order`), one column per bit (similar bits together)."""
    order = np.arange(len(codes)) if order is None else order
    columns = dendrogram_order(np.abs(center_similarity(codes.T)))
    alt = f"{len(codes)} hash centers of {codes.shape[1]} bits as rows of light and dark cells"
    figure, axes = new_figure(7.2, 5.2, alt=alt)
    with style():
        axes.imshow(codes[order][:, columns], aspect="auto", cmap="cividis", vmin=-1.4, vmax=1.4)
        group_bands(axes, groups[order], group_names, columns=False)
        axes.set_xlabel("bits (similar ones side by side); light +1, dark −1")
        axes.set_title("Hash centers: related classes share most of their bits", pad=16)
    return figure


def film_strip(history: "Sequence[CenterStep]", S: np.ndarray, order: np.ndarray, frames: int = 6) -> Figure:
    """HᵀH/K along an optimization, with loss and smallest distance; frames that break the distance are marked ✗."""
    chosen = [history[i] for i in np.unique(np.linspace(0, len(history) - 1, frames).round().astype(int))]
    figure, axes = new_figure(
        11.5,
        2.75,
        alt=f"{len(chosen)} heat maps along the optimization of hash centers",
        ncols=len(chosen),
        squeeze=False,
    )
    with style():
        for ax, step in zip(axes[0], chosen, strict=True):
            ax.imshow(center_similarity(step.codes)[np.ix_(order, order)], vmin=-1, vmax=1)
            mark = "✓" if step.feasible else "✗ too close"
            ax.set_xlabel(f"f = {step.loss:.4f}\nmin {step.min_distance} bits {mark}", fontsize=9)
            ax.set_title(f"step {step.step}", fontsize=10)
            ax.set(xticks=[], yticks=[])
    return figure


def optimization_curves(history: "Sequence[CenterStep]") -> Figure:
    """Loss, best loss that keeps the distance, and smallest distance (bits) against the step."""
    figure, (top, bottom) = new_figure(
        7.2, 4.4, alt="Loss and minimum distance along the optimization", nrows=2, sharex=True
    )
    with style():
        draw_loss(top, history)
        steps = [s.step for s in history]
        bottom.plot(steps, [s.min_distance for s in history], color=BLUE)
        bottom.axhline(history[-1].required_distance, color=ORANGE, ls="--", label="minimum distance")
        bottom.set(xlabel="step", ylabel="smallest distance (bits)")
        bottom.legend()
    return figure


def draw_loss(axes: Any, history: "Sequence[CenterStep]") -> None:
    """Draw f of the current set and of the best set that keeps the distance."""
    steps = [s.step for s in history]
    axes.plot(steps, [s.loss for s in history], color=GREY, lw=1.2, label="current set")
    axes.plot(steps, [s.best_loss for s in history], color=BLUE, lw=1.8, label="best that keeps d")
    axes.set(xlabel="step", ylabel="loss f(H)")
    axes.legend()


def training_curves(records: Any, title: str = "Training") -> Figure:
    """Loss per step and validation value per epoch; `records` is one list of records, or several by name."""
    series = records if isinstance(records, Mapping) else {"": records}
    figure, (left, right) = new_figure(9.5, 3.4, alt=f"{title}: loss and validation value", ncols=2)
    with style():
        for color, line, (name, rows) in zip(SERIES, ("-", "--", "-.", ":", "-", "--"), series.items(), strict=False):
            left.plot([r["step"] for r in rows], smoothed([r["loss"] for r in rows]), color=color, ls=line, label=name)
            judged = [r for r in rows if r["val"] is not None]
            style_ = dict(color=color, ls=line, marker="o", ms=4, label=name)
            right.plot([r["epoch"] for r in judged], [r["val"] for r in judged], **style_)
        left.set(xlabel="step", ylabel="training loss", ylim=(0, None))
        right.set(xlabel="epoch", ylabel="validation value", ylim=(0, None))
        left.set_title(title)
        if len(series) > 1:
            right.legend(loc="lower right")
    return figure


def smoothed(values: Sequence[float], span: int = 9) -> np.ndarray:
    """Running mean over up to `span` neighbours, same length."""
    padded = np.pad(np.asarray(values, float), span // 2, mode="edge")
    return np.convolve(padded, np.ones(span) / span, mode="valid")[: len(values)]


def confusion_heatmap(confusion: np.ndarray, groups: np.ndarray, group_names: list[str]) -> Figure:
    """Share of each true class (row) that was taken for each class (column), on a square-root scale."""
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    order = np.argsort(groups, kind="stable")
    alt = f"Confusion matrix of {len(share)} classes, sorted by super-class; errors gather in blocks on the diagonal"
    figure, axes = new_figure(7.6, 6.2, alt=alt)
    with style():
        picture = axes.imshow(np.sqrt(share[np.ix_(order, order)]), vmin=0, vmax=1, cmap="viridis")
        group_bands(axes, groups[order], group_names)
        axes.set_ylabel("true class (band: super-class)")
        axes.set_xlabel("predicted class")
        bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class")
        bar.set_ticks(np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]), labels=["0", ".01", ".05", ".2", ".5", "1"])
        axes.set_title("Errors gather inside super-classes", pad=22)
    return figure


def quantization_histogram(outputs: np.ndarray) -> Figure:
    """Histogram of tanh(u) [N, K]: outputs near ±1 survive rounding, those near 0 are unsure bits."""
    figure, axes = new_figure(7.2, 3.2, alt="Histogram of the network's outputs before rounding to bits")
    with style():
        axes.hist(np.ravel(outputs), bins=np.linspace(-1, 1, 61), color=BLUE)
        axes.axvspan(-0.5, 0.5, color=ORANGE, alpha=0.2, lw=0, label="unsure bits, |tanh u| < 0.5")
        axes.set(xlabel="output tanh(u)", ylabel="outputs", xlim=(-1, 1))
        axes.set_title("Most outputs are nearly bits before they are rounded")
        axes.legend(loc="upper center")
    return figure


def bit_balance(codes: np.ndarray) -> Figure:
    """Share of +1 in every bit of codes [N, K], sorted; 0.5 carries most information."""
    share = np.sort((codes > 0).mean(0))
    figure, axes = new_figure(7.2, 2.8, alt="Share of +1 for every bit, sorted")
    with style():
        axes.bar(np.arange(len(share)), share, color=BLUE)
        axes.axhline(0.5, color="black", lw=1, ls=":")
        axes.set(xlabel="bits, sorted", ylabel="share of +1", ylim=(0, 1))
        axes.set_title("Balance of the bits (0.5 carries most information)")
    return figure


def pr_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Precision against recall for growing Hamming radius, one line per name."""
    figure, axes = new_figure(6.4, 4, alt=f"Precision against recall: {', '.join(curves)}")
    with style():
        lines = zip(SERIES, ("-", "--", "-.", ":", "-", "--"), curves.items(), strict=False)
        for color, line, (name, (recall, precision)) in lines:
            axes.plot(recall, precision, color=color, ls=line, marker=".", ms=4, label=name)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
        axes.set_title("Precision and recall for growing Hamming radius")
        axes.legend()
    return figure


def bars_with_intervals(rows: Mapping[str, tuple[float, float, float]], xlabel: str) -> Figure:
    """One bar per name: value with its interval (value, low, high)."""
    values, lows, highs = np.array(list(rows.values())).T
    figure, axes = new_figure(
        7.2, 0.9 + 0.55 * len(rows), alt=f"{xlabel}: " + ", ".join(f"{n} {v[0]:.3f}" for n, v in rows.items())
    )
    with style():
        colors = [BLUE, *[GREY] * (len(rows) - 1)]
        axes.barh(range(len(rows)), values, xerr=[values - lows, highs - values], color=colors, capsize=4, height=0.6)
        for i, (value, high) in enumerate(zip(values, highs, strict=True)):
            axes.text(high + 0.01 * highs.max(), i, f"{value:.3f}", va="center")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set(xlabel=xlabel, xlim=(0, highs.max() * 1.12))
    return figure


def code_strip(codes: np.ndarray, names: Sequence[str]) -> Figure:
    """Codes [n, K] as rows of + and −; bits that differ from the first row's are framed and counted."""
    rows, bits = codes.shape
    alt = f"{rows} codes of {bits} bits; bits that differ from the first are framed"
    figure, axes = new_figure(min(11, 2.4 + 0.32 * bits), 0.7 + 0.34 * rows, alt=alt)
    with style():
        axes.imshow(codes, cmap="cividis", vmin=-1.4, vmax=1.4, aspect="auto")
        differ = codes != codes[:1]
        for i, k in np.argwhere(differ):
            axes.add_patch(_frame(k, i))
        if bits <= 40:
            for i, k in np.ndindex(rows, bits):
                bright = codes[i, k] > 0
                axes.text(k, i, "+" if bright else "−", ha="center", va="center", color="black" if bright else "white")
        axes.set_yticks(
            range(rows), [f"{name} ({n} differ)" if n else name for name, n in zip(names, differ.sum(1), strict=True)]
        )
        axes.set_xticks([])
        axes.set_title(f"bits that differ from {names[0]!r} are framed", fontsize=10)
    return figure


def _frame(k: int, i: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((k - 0.42, i - 0.42), 0.84, 0.84, fill=False, edgecolor=ORANGE, lw=2)


def _heat(
    axes: Any, S: np.ndarray, order: np.ndarray, names: list[str], groups: np.ndarray, group_names: list[str]
) -> Any:
    picture = axes.imshow(S[np.ix_(order, order)], vmin=-1, vmax=1)
    group_bands(axes, groups[order], group_names, names=[names[i] for i in order])
    return picture
