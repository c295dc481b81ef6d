"""Every picture: our Figure with alternative text, nothing clipped, no words on words, small, the same each time."""

import base64
import io
import itertools

import numpy as np
import pytest
from frames import comparison_frame
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.text import Text
from PIL import Image

from shc import centers, figures, frames, frontier, live, plots, structure
from shc.charts import smoothed
from shc.class_plots import lowest_shown
from shc.comparison import ComparedCenters, compare_centers
from shc.hamming import distance, pair_histogram
from shc.hierarchy import Hierarchy
from shc.limits import distance_table

LONG = ["smiling face with sunglasses", "musical instruments", "ant", "woman’s boot"]


def example(classes: int = 100, bits: int = 32):
    rng = np.random.default_rng(0)
    groups = np.arange(classes) // 5 if classes > 10 else np.arange(classes) // 2
    S = 0.5 * (groups[:, None] == groups) + 0.05 * rng.standard_normal((classes, classes))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    shared = rng.standard_normal((groups.max() + 1, bits))[groups]
    codes = np.where(rng.standard_normal((classes, bits)) + shared > 0, 1, -1).astype(np.int8)
    names = [f"{LONG[c % 4]} {c}" for c in range(classes)]
    group_names = [f"{LONG[g % 4][:16]} {g}" for g in range(groups.max() + 1)]
    return S, codes, names, groups, group_names


def records(steps: int = 40):
    return [
        dict(step=s, epoch=1 + (s - 1) // 10, steps=40, loss=4.6 / s, terms={}, lr=0.1, images_per_second=900.0,
             seconds=s / 9, val=0.1 * s / 10 if s % 10 == 0 else None)
        for s in range(1, steps + 1)
    ]  # fmt: skip


def points(bits: int, distances: list[int]):
    """A frontier with made-up values."""
    codes = np.ones((2, bits), np.int8)
    return [frontier.FrontierPoint(bits, d, 0.01 + 0.001 * d, 0.005 + 0.001 * d, d, 0.5, codes) for d in distances]


def structure_pictures(S, codes, names, groups, group_names):
    """Those of shc.structure_plots."""
    tree, rng = Hierarchy(tuple((group_names[g],) for g in groups)), np.random.default_rng(2)
    labels = rng.integers(0, len(S), 400)
    around = {name: rng.standard_normal((len(S) + 400, 2)) for name in ("Classical MDS: 12% of the variance", "UMAP")}
    frontiers = {16: points(16, [0, 2, 4, 6]), 32: points(32, [0, 8, 10, 13]), 64: points(64, [0, 16, 24, 32])}
    maps = {"mAP@ALL": {0: [0.3, 0.31], 10: [0.35]}, "super-class mAP": {0: [0.2, 0.22], 10: [0.15]}}
    return {
        "tanglegram": plots.tanglegram(codes, tree, names),
        "stress_chart": plots.stress_chart(S, codes, names, groups, 4),
        "bit_meanings": plots.bit_meanings(codes, groups, group_names, structure.chance_information(codes, groups, 20)),
        "bit_correlations": plots.bit_correlations({"centers": codes, "codes of query images": codes[::-1]}),
        "code_maps": plots.code_maps(around, labels, groups, group_names),
        "code_maps without groups": plots.code_maps(around, labels),
        "frontier_curves": plots.frontier_curves(frontiers, {16: 4, 32: 10}, maps, 32, "linear hasher"),
        "one frontier": plots.frontier_curves({16: points(16, [0, 4])}),
    }


def comparison_pictures(folder):
    """Those of shc.comparison_plots."""
    made = comparison_frame(folder)
    closed, doses = frames.block(made, "closed"), frames.block(made, "dose", ["shuffled"])
    at = frames.where(closed, bits=32)
    curves = frames.curves(at)
    slope = frames.estimate(frames.slopes(doses, "f", "mAP@ALL"))
    few = frames.block(comparison_frame(folder, "closed", seeds=2), "closed")
    return {
        "methods_by_bits": plots.methods_by_bits(frames.summary(closed, "mAP@ALL", ["label", "bits"])),
        "methods at one length, two seeds": plots.methods_by_bits(
            frames.summary(frames.where(few, bits=64), "mAP@100", ["label", "bits"]), "mAP@100"
        ),
        "method_dots": plots.method_dots(at),
        "dots of two seeds": plots.method_dots(frames.where(few, bits=16), "P@H<=2", title="Sixteen bits"),
        "one dot": plots.method_dots(at[at["label"] == "shc"].iloc[:1]),
        "paired_differences": plots.paired_differences(frames.differences(at, "mAP@ALL")),
        "differences of two seeds": plots.paired_differences(
            frames.differences(frames.where(few, bits=32), "mAP@ALL", others=["csq", "mds"])
        ),
        "learning_speed": plots.learning_speed(curves, frames.time_to(curves)),
        "one learning curve": plots.learning_speed(curves[curves["label"] == "csq"]),
        "levels_and_difference": plots.levels_and_difference(
            {"semantic centers": (0.5, 0.45, 0.55), "random centers": (0.42, 0.38, 0.46)}, (0.08, 0.06, 0.1), "mAP@ALL"
        ),
        "dose_response": plots.dose_response(doses, slope),
        "paper_panel": plots.paper_panel(frames.paper_tables()),
    }


def pictures(classes: int, folder):
    S, codes, names, groups, group_names = example(classes)
    order = plots.dendrogram_order(S)
    history = list(centers.optimize_centers(S, 16, sweeps=20, records=8))
    compared = compare_centers(S, 12, sweeps=5)
    rng = np.random.default_rng(1)
    patches = np.ones((8, 8), np.uint8)  # drawings have areas of one colour
    images = np.kron(rng.integers(0, 256, (3, 3, 4, 4), dtype=np.uint8), patches)
    neighbors = np.kron(rng.integers(0, 256, (3, 10, 3, 4, 4), dtype=np.uint8), patches)
    relations = rng.integers(0, 3, (3, 10))
    strips = (images, neighbors, rng.integers(0, 12, (3, 10)), relations, [*LONG[:2], "dog"])
    told = [[LONG[(i + j) % 4] for j in range(10)] for i in range(3)]
    confusion = rng.integers(0, 4, (classes, classes)) + 50 * np.eye(classes, dtype=int)
    detail = np.vstack([codes[:1], codes[np.arange(10) % classes]])
    told_apart = comparison_pictures(folder) | structure_pictures(S, codes, names, groups, group_names)
    return told_apart | {
        "similarity_heatmap": plots.similarity_heatmap(S, names, groups, group_names),
        "similarity_and_centers": plots.similarity_and_centers(S, codes, names, groups, group_names, order),
        "similarity_vs_distance": plots.similarity_vs_distance(S, codes, 4, groups),
        "distance_histogram": plots.distance_histogram(codes, 4, {"other centers": codes[::-1]}),
        "centers_map": plots.centers_map(codes, groups, group_names, order, names),
        "class_dendrogram": plots.class_dendrogram(S, names, groups, group_names),
        "film_strip": plots.film_strip(history, S, order),
        "distance_limits": plots.distance_limits(12, classes),
        "compared_centers": plots.compared_centers(compared, 0.01),
        "loss_parts": plots.loss_parts({"12 bits, d = 4": (0.05, 0.03, 0.04, 0.02), "long": (0.01, 0.009, 0.001, 0.0)}),
        "closest_pairs": plots.closest_pairs(S, {"d = 0": codes, "d = 4": codes[::-1]}, names),
        "optimization_curves": plots.optimization_curves(history),
        "training_curves": plots.training_curves({"semantic": records(), "random": records()}, title="Training"),
        "one training curve": plots.training_curves(records(25), title="classifier"),
        "an early training curve": plots.training_curves(records(3), title="classifier"),
        "centers_frame": live.centers_frame(S, history, 2, order),
        "confusion_heatmap": plots.confusion_heatmap(confusion, groups, group_names, names=names),
        "confusion_pairs": plots.confusion_pairs(confusion, names, groups),
        "quantization_histogram": plots.quantization_histogram(np.tanh(rng.standard_normal((50, 8)))),
        "bit_balance": plots.bit_balance(codes),
        "pr_curves": plots.pr_curves({"semantic": (np.linspace(0, 1, 5), np.linspace(1, 0, 5))}),
        "contact_sheet": plots.contact_sheet(images, np.arange(3), LONG, columns=2),
        "retrieval_strips": plots.retrieval_strips(*strips, told),
        "retrieval_detail": plots.retrieval_detail(images[0], neighbors[0], detail, relations[0], [LONG[0], *told[0]]),
        "worst_failures": plots.worst_failures(*strips, count=2),
        "code_strip": plots.code_strip(codes[:5, :16], names[:5]),
    }  # fmt: skip


@pytest.fixture(scope="module", params=[6, 100])
def drawn(request, tmp_path_factory):
    return pictures(request.param, tmp_path_factory.mktemp("table"))


def words(figure):
    """Every text that is drawn, with its box in pixels (empty ones and hidden ticks left out)."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    for axes in figure.findobj(lambda artist: hasattr(artist, "get_xticklabels")):
        hidden = axes.xaxis.get_ticklabels() + axes.yaxis.get_ticklabels()
        if not axes.axison or not axes.get_visible():
            texts = [t for t in texts if t not in hidden]
        for axis in (axes.xaxis, axes.yaxis):  # ticks beyond the limits exist but are not drawn
            low, high = sorted(axis.get_view_interval())
            out = [tick for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            gone = {id(label) for tick in out for label in (tick.label1, tick.label2)}
            texts = [t for t in texts if id(t) not in gone]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts]


def collisions(figure):
    """Pairs of texts whose boxes share more than a fifth of the smaller one's width and height."""
    found = []
    for (one, a), (other, b) in itertools.combinations(words(figure), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > 1 and down > 0.25 * min(a.height, b.height) and across > 0.05 * min(a.width, b.width):
            found.append((one, other))
    return found


def test_every_public_picture_is_tested(drawn):
    helpers = {"dendrogram_order", "center_similarity", "draw_loss", "smoothed"}
    assert set(plots.__all__) - helpers <= set(drawn)


def test_pictures_have_alternative_text_and_are_small(drawn):
    for name, figure in drawn.items():
        assert isinstance(figure, figures.Figure), name
        assert len(figure.alt) > 10, name
        data, metadata = figure._repr_mimebundle_()
        assert metadata["image/png"]["alt"] == figure.alt == data["text/plain"]
        assert len(data["image/png"]) < 120_000, (name, len(data["image/png"]))
        width, height = Image.open(io.BytesIO(data["image/png"])).size
        assert 100 < width <= 1201 and height > 40, (name, width, height)
        assert metadata["image/png"]["width"] <= 1200


def test_no_word_is_clipped(drawn):
    for name, figure in drawn.items():
        for text, box in words(figure):
            inside = min(box.x0, box.y0, figure.bbox.width - box.x1, figure.bbox.height - box.y1)
            assert inside > -1.5, f"{name}: {text!r} at {box} leaves {figure.bbox}"


def test_no_words_lie_on_each_other(drawn):
    for name, figure in drawn.items():
        assert not collisions(figure), (name, collisions(figure)[:4])


def test_words_can_be_read_on_white(drawn):
    for name, figure in drawn.items():
        shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
        for text in shown:
            rgb = np.array(to_rgb(text.get_color()))
            light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
            on_dark = rgb.min() == 1  # the signs on dark cells
            assert on_dark or 1.05 / (light + 0.05) >= 4.5, (name, text.get_text(), text.get_color())


def test_pictures_have_no_empty_edge(drawn):
    for name, figure in drawn.items():
        ink = np.asarray(Image.open(io.BytesIO(figure.png())).convert("L")) < 250
        rows = np.flatnonzero(ink.any(1))
        above, below = rows[0], len(ink) - 1 - rows[-1]
        assert max(above, below) <= 40, (name, above, below)


def test_the_tests_of_words_would_notice():
    figure, axes = figures.new_figure(3, 3)
    axes.text(0.5, 1.8, "far outside")
    axes.text(0.5, 0.5, "one")
    axes.text(0.51, 0.5, "two")
    figure.set_layout_engine("none")
    assert max(box.y1 for _, box in words(figure)) > figure.bbox.height
    assert collisions(figure) == [("one", "two")]


def test_pictures_repeat_to_the_byte():
    S, codes, _, groups, _ = example()
    first, second = (plots.similarity_vs_distance(S, codes, 4, groups).png() for _ in range(2))
    assert first == second


def test_files_are_as_small_as_what_notebooks_store(tmp_path):
    _, codes, _, _, _ = example(20)
    figure = plots.bit_balance(codes)
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes() == figure._repr_mimebundle_()[0]["image/png"]
    figure.savefig(tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text()


def test_stored_colours_are_near_the_drawn_ones():
    S, _, names, groups, group_names = example()
    figure = plots.similarity_heatmap(S, names, groups, group_names)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it would still move words by parts of a pixel
    both = (Image.open(io.BytesIO(png)).convert("RGB") for png in (figure.frame(), figure.png()))
    drawn, stored = (np.asarray(picture).astype(int) for picture in both)
    assert drawn.shape == stored.shape
    assert np.abs(drawn - stored).max() < 25 and np.abs(drawn - stored).mean() < 1.5


def test_axes_of_the_caller_are_drawn_on():
    S, codes, _, _, _ = example(6)
    figure = MatplotlibFigure()
    left, right = figure.subplots(ncols=2)
    assert plots.distance_histogram(codes, 4, ax=left) is figure
    assert plots.similarity_vs_distance(S, codes, 4, ax=right) is figure
    assert left.get_xlabel() == "Hamming distance (bits)" and right.get_ylabel() == "Hamming distance (bits)"


@pytest.mark.parametrize("classes", [1, 2])
def test_few_classes_and_one_group_can_be_drawn(classes):
    S, codes, names, _, _ = example(classes + 1)
    S, codes, names = S[:classes, :classes], codes[:classes], names[:classes]
    groups = np.zeros(classes, int)
    for figure in (
        plots.similarity_heatmap(S, names, groups, ["all"]),
        plots.similarity_heatmap(S, names),
        plots.similarity_and_centers(S, codes, names, groups, ["all"]),
        plots.similarity_vs_distance(S, codes, 1, groups),
        plots.distance_histogram(codes, 1),
        plots.centers_map(codes, groups, ["all"]),
        plots.confusion_heatmap(np.eye(classes), groups, ["all"]),
        plots.confusion_pairs(np.eye(classes), names),
        plots.code_strip(codes, names),
        plots.closest_pairs(S, {"codes": codes}, names),
    ):
        assert len(figure.frame()) > 1000


def test_equal_codes_and_constant_similarities_can_be_drawn():
    S, codes = np.ones((5, 5)), np.ones((5, 8), np.int8)
    assert plots.similarity_and_centers(S, codes, list("abcde")).alt.endswith("hash centers")
    assert "closest are 0 bits apart" in plots.distance_histogram(codes, 2).alt
    assert (
        plots.similarity_vs_distance(S, codes, 2).axes[0].get_title(loc="left")
        == "Do similar classes get close centers?"
    )
    assert plots.class_dendrogram(S, list("abcde")).axes[0].get_xlim()[1] > 0
    assert len(plots.bit_balance(codes).png()) > 1000


def test_the_tanglegram_ties_every_class_to_itself_and_crosses_little():
    _, codes, names, groups, group_names = example()
    tree = Hierarchy(tuple((group_names[g],) for g in groups))
    figure = plots.tanglegram(codes, tree, names)
    middle = figure.axes[1]
    ends = np.array([line[:, 1] for line in middle.collections[0].get_segments()])  # [C, 2], left and right height
    assert sorted(ends[:, 0]) == sorted(ends[:, 1]) == list(range(100))
    for g in range(20):  # the taxonomy keeps super-classes together
        assert np.ptp(ends[groups == g, 1]) == (groups == g).sum() - 1
    crossings = sum(np.sign(a[0] - b[0]) != np.sign(a[1] - b[1]) for a, b in itertools.combinations(ends, 2))
    assert crossings < 100 * 99 / 4 / 2  # half of what a random order of the taxonomy has
    rho = structure.cophenetic_correlation(
        structure.joint_heights(structure.average_linkage(distance(codes, codes))), structure.taxonomy_heights(tree)
    )
    assert figure.alt.endswith(f"cophenetic correlation {rho:.2f}")
    assert {t for t, _ in words(figure)} >= set(group_names)


def test_the_tanglegram_accents_the_four_nearest_super_classes():
    _, codes, names, groups, group_names = example()
    tree = Hierarchy(tuple((group_names[g],) for g in groups))
    figure = plots.tanglegram(codes, tree, names)
    inside = [distance(codes[groups == g], codes[groups == g]).sum() for g in range(20)]
    nearest = np.argsort(inside, kind="stable")[:4]
    shades = [tuple(color) for color in figure.axes[1].collections[0].get_colors()]
    plain = max(shades, key=shades.count)
    assert {int(groups[c]) for c, shade in enumerate(shades) if shade != plain} == set(nearest.tolist())
    bold = [t.get_text() for t in figure.findobj(Text) if t.get_weight() == "bold" and t.get_text() in group_names]
    assert set(bold) == {group_names[g] for g in nearest} and all(name in figure.alt for name in bold)


def test_maps_name_the_super_classes_that_lie_together_and_leave_out_what_is_far():
    rng, groups = np.random.default_rng(0), np.arange(100) // 5
    labels = np.tile(np.arange(100), 9)
    middles = rng.uniform(-9, 9, (20, 2))[groups] + np.where(groups < 6, 0.2, 5)[:, None] * rng.standard_normal(
        (100, 2)
    )
    place = np.vstack([middles, middles[labels] + 0.1 * rng.standard_normal((900, 2))])
    place[np.r_[99, 100 + np.flatnonzero(labels == 99)]] = 1000
    figure = plots.code_maps({"flat": place}, labels, groups, [f"group {g}" for g in range(20)])
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == {f"group {g}" for g in range(6)}
    assert axes.get_xlim()[1] < 100 and axes.get_xlabel().endswith("far points are outside")
    (low, high), (down, up) = axes.get_xlim(), axes.get_ylim()
    outside = ((place < [low, down]) | (place > [high, up])).any(1).sum()
    assert axes.get_xlabel() == f"{outside} far points are outside" and outside >= 10


def test_a_deep_and_a_flat_taxonomy_can_be_drawn():
    _, codes, names, _, _ = example(6)
    for paths in ([("a", "b"), ("a", "b"), ("a", "c"), ("d", "e"), ("d", "e"), ("d", "f")], [("all",)] * 6):
        figure = plots.tanglegram(codes, Hierarchy(tuple(paths)), names)
        assert len(figure.frame()) > 1000 and not collisions(figure)


def test_stress_chart_shows_the_stress():
    S, codes, names, groups, _ = example()
    stress = structure.class_stress(S, codes)
    left, right = plots.stress_chart(S, codes, names, groups, 4).axes[:2]
    assert np.allclose([bar.get_height() for bar in left.patches], np.sort(stress)[::-1])
    assert right.get_yticklabels()[0].get_text().startswith(figures.shortened(names[stress.argmax()], 18))
    shades = [bar.get_facecolor() for bar in left.patches]
    assert set(shades[:10]) == {right.patches[0].get_facecolor()} and len(set(shades[10:])) == 1 < len(set(shades))
    worst = np.argsort(-stress, kind="stable")[:10]
    alike = (groups[worst] == groups[structure.stress_partners(S, codes)[worst]]).sum()
    assert right.get_xlabel() == f"stress; {alike} of 10 partners share the super-class"


def test_bit_meanings_shows_the_means_with_the_most_telling_bit_first():
    _, codes, _, groups, group_names = example()
    top, axes = plots.bit_meanings(codes, groups, group_names).axes[:2]
    heights = [bar.get_height() for bar in top.patches]
    assert heights == sorted(heights, reverse=True)
    rows = [group_names.index(label.get_text()) for label in axes.get_yticklabels()]
    columns = [int(label.get_text()) for label in axes.get_xticklabels()]
    assert np.allclose(axes.images[0].get_array(), structure.bit_means(codes, groups)[columns][:, rows].T)
    assert axes.images[0].get_clim() == (-1, 1)


def test_structure_of_few_classes_and_without_groups_can_be_drawn():
    S, codes, names, _, _ = example(3)
    for figure in (
        plots.stress_chart(S, codes, names),
        plots.stress_chart(S, codes, names, np.zeros(3, int)),
        plots.bit_correlations({"one bit": codes[:, :1]}),
        plots.code_maps({"flat": np.zeros((3, 2))}, np.zeros(0, int)),
        plots.tanglegram(codes[:2], Hierarchy((("a",), ("b",))), names[:2]),
    ):
        assert len(figure.frame()) > 1000


def test_many_groups_are_grey_and_the_largest_are_named():
    S, _, names, _, _ = example(100)
    groups = np.arange(100) // 2
    figure = plots.similarity_heatmap(S, names, groups, [f"g{g}" for g in range(50)])
    assert len([t for t, _ in words(figure) if t.startswith("g")]) == 24
    assert len(set(figures.palette(50))) == 2


def test_dendrogram_order_puts_similar_classes_side_by_side():
    S, _, _, groups, _ = example()
    shuffled = np.random.default_rng(2).permutation(len(S))
    order = plots.dendrogram_order(S[np.ix_(shuffled, shuffled)])
    assert sorted(order) == list(range(len(S)))
    neighbors = groups[shuffled[order]]
    assert (np.diff(neighbors) != 0).sum() == groups.max()  # every super-class is one stretch


def test_heat_maps_show_the_values_in_the_order_given_on_one_scale():
    S, codes, names, groups, group_names = example(6)
    order = np.array([3, 1, 5, 0, 2, 4])
    left, right = plots.similarity_and_centers(S, codes, names, groups, group_names, order).axes[:2]
    wide = codes.astype(float)
    for axes, values in ((left, S), (right, wide @ wide.T / 32)):
        assert np.allclose(axes.images[0].get_array(), values[np.ix_(order, order)])
        assert axes.images[0].get_clim() == (lowest_shown(S, wide @ wide.T / 32), 1)


def test_similarity_vs_distance_shows_every_pair():
    S, codes, _, groups, _ = example(6)
    axes = plots.similarity_vs_distance(S, codes, 4, groups).axes[0]
    points = np.concatenate([c.get_offsets() for c in axes.collections])
    assert len(points) == 15
    pairs = np.triu_indices(6, 1)
    assert np.allclose(np.sort(points[:, 0]), np.sort(S[pairs]))
    assert np.abs(np.sort(points[:, 1]) - np.sort(distance(codes, codes)[pairs])).max() <= 0.6  # jitter only
    limits = axes.get_xlim(), axes.get_ylim()
    assert limits[0][0] <= points[:, 0].min() and limits[1][1] >= points[:, 1].max()


def test_distance_histogram_counts_pairs_and_marks_those_too_close():
    _, codes, _, _, _ = example(100)
    bars = plots.distance_histogram(codes, 12).axes[0].patches[: codes.shape[1] + 1]
    assert [bar.get_height() for bar in bars] == pair_histogram(codes).tolist()
    assert [bool(bar.get_hatch()) for bar in bars] == [d < 12 for d in range(33)]


def test_plotkin_limit_is_the_largest_mean_distance():
    figure = plots.distance_histogram(np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]), 2)
    labels = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert "Plotkin: no set keeps more than 2" in labels  # the simplex code reaches it


def test_film_strip_flags_sets_that_break_the_distance():
    S, *_ = example(20)
    history = list(centers.optimize_centers(S, 12, sweeps=50, records=20))
    figure = plots.film_strip(history, S, frames=6)
    shown = [history[i] for i in np.unique(np.linspace(0, len(history) - 1, 6).round().astype(int))]
    for step, axes in zip(shown, figure.axes, strict=False):
        assert ("✗" in axes.get_xlabel()) == (not step.feasible)
        assert ("✓" in axes.get_xlabel()) == step.feasible


def test_distance_limits_draws_the_table():
    left, right = plots.distance_limits(16, 10, lengths=(2, 8, 16), sizes=(4, 10, 2**17)).axes
    rows = {(axes, k): distance_table([k[0]], [k[1]])[0] for axes, k in ((0, (8, 10)), (0, (16, 10)), (1, (16, 4)))}
    names = ("hamming", "plotkin", "algebraic", "gilbert_varshamov", "rule")
    for i, name in enumerate(names):
        assert left.lines[i].get_ydata().tolist() == [getattr(rows[0, k], name) for k in ((8, 10), (16, 10))]
    assert list(left.lines[0].get_xdata()) == [8, 16], "10 classes do not fit into 2 bits"
    assert list(right.lines[0].get_xdata()) == [4, 10] and right.lines[4].get_ydata()[0] == rows[1, (16, 4)].rule


def test_compared_centers_mark_broken_sets_and_the_best_that_keeps_the_distance():
    made = [(0.3, 1), (0.1, 4), (0.2, 4)]
    rows = [ComparedCenters(f"set {i}", np.ones((2, 8)), f, d, 4, 0.02 + i, "") for i, (f, d) in enumerate(made)]
    axes = plots.compared_centers(rows, 0.05).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.3, 0.1, 0.2]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [True, False, False]
    assert axes.patches[1].get_facecolor()[:3] == pytest.approx(to_rgb(figures.BLUE))
    told = [t.get_text() for t in axes.texts]
    assert "1 bits ✗ too close · under 0.1 s" in told[0] and "4 bits ✓ · 1.0 s" in told[1]


def test_loss_parts_add_up_to_f():
    parts = {"a": (0.05, 0.03, 0.04, 0.02), "b": (0.01, 0.01, 0.0, 0.0), "nothing": (0, 0, 0, 0)}
    axes = plots.loss_parts(parts).axes[0]
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(3, 3)  # part, name
    assert np.allclose(widths.sum(0), [0.05, 0.01, 0]) and np.allclose(widths[:, 0], [0.02, 0.01, 0.02])
    assert axes.lines[0].get_xdata().tolist() == [0.04, 0, 0]
    assert "at most 1.67 × the optimum" in axes.texts[-3].get_text() and "optimum" not in axes.texts[-1].get_text()


def test_a_bound_that_was_found_a_little_too_low_is_that_of_distance_0():
    axes = plots.loss_parts({"tiny": (0.0505461, 0.0488691, 0.0503762, 0.04887)}).axes[0]
    assert [round(bar.get_width(), 7) for bar in axes.patches] == [0.04887, 0.0, 0.0016761]
    with pytest.raises(ValueError, match="and the lower bound at distance 0"):
        plots.loss_parts({"swapped": (0.05, 0.02, 0.04, 0.03)})


def test_closest_pairs_are_those_of_the_first_set():
    codes = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])
    apart = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1]])
    S = np.array([[1, 0.5, -0.5], [0.5, 1, -1], [-0.5, -1, 1]])
    axes = plots.closest_pairs(S, {"first": codes, "other": apart}, ["cat", "dog", "car"], pairs=2).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat – dog", "dog – car"]
    asked, first, other = (line.get_xdata().tolist() for line in axes.lines)
    assert (asked, first, other) == ([1, 4], [1, 3], [2, 2])


def test_worst_failures_come_first():
    relations = np.array([[2, 2], [0, 0], [1, 0]])
    images = np.zeros((3, 3, 8, 8), np.uint8)
    neighbors = np.zeros((3, 2, 3, 8, 8), np.uint8)
    names, distances = ["good", "worst", "bad"], np.zeros((3, 2), int)
    alt = plots.worst_failures(images, neighbors, distances, relations, names, count=2).alt
    assert alt.index("worst, 0") < alt.index("bad, 0") and "good" not in alt


def test_contact_sheet_shows_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    sheet = plots.contact_sheet(images, columns=2).axes[0].images[0].get_array()
    assert (sheet[:16, :16] == np.moveaxis(images[0], 0, -1)).all()
    assert (sheet[17:33, :16] == np.moveaxis(images[2], 0, -1)).all()


def test_torch_images_are_taken_too():
    torch = pytest.importorskip("torch")
    assert plots.contact_sheet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).alt == "Contact sheet of 2 images"


def test_smoothed_curves_have_no_edge_effects():
    values = np.random.default_rng(0).random(30)
    expected = [values[max(i - 4, 0) : i + 5].mean() for i in range(30)]
    assert np.allclose(smoothed(values), expected) and np.allclose(smoothed([1.0]), [1.0])


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: plots.similarity_heatmap(np.ones((2, 3)), ["a", "b"]), "expected a square matrix"),
        (lambda: plots.similarity_heatmap(np.full((2, 2), np.nan), ["a", "b"]), "must be finite"),
        (lambda: plots.similarity_heatmap(np.eye(3), ["a", "b"]), "2 names for 3 classes"),
        (lambda: plots.similarity_heatmap(np.eye(2), ["a", "b"], order=[0, 0]), "every class from 0 to 1 once"),
        (lambda: plots.similarity_and_centers(np.eye(3), np.ones((2, 4)), ["a"] * 3), "2 codes for a similarity of 3"),
        (lambda: plots.film_strip([], np.eye(3)), "no steps"),
        (lambda: plots.optimization_curves([]), "no steps"),
        (lambda: plots.training_curves([]), "no training records"),
        (lambda: plots.compared_centers([]), "no sets to compare"),
        (lambda: plots.loss_parts({}), "nothing to draw"),
        (lambda: plots.loss_parts({"a": (0.1, 0.2, 0.1, 0.0)}), "a: f = 0.1, bound 0.2.*expected no f below its bound"),
        (lambda: plots.loss_parts({"a": (0.3, 0.2, 0.1, 0.15)}), "0.1 and 0.15 at distance 0"),
        (lambda: plots.closest_pairs(np.eye(2), {}, ["a", "b"]), "no sets of centers"),
        (lambda: plots.class_dendrogram(np.eye(1), ["a"]), "at least 2 classes"),
        (lambda: plots.quantization_histogram(np.array([[3.0]])), "apply tanh first"),
        (lambda: plots.tanglegram(np.ones((2, 4)), Hierarchy((("a",),) * 3), ["a", "b"]), "2 codes, 3 classes"),
        (lambda: plots.tanglegram(np.ones((2, 4)), None, ["a", "b"]), "no class hierarchy"),
        (lambda: plots.bit_meanings(np.ones((2, 4)), np.zeros(2, int), ["all"]), "all classes are in one super-class"),
        (lambda: plots.bit_correlations({}), "no codes to draw"),
        (lambda: plots.code_maps({"a": np.zeros((3, 2))}, np.array([5])), "the centers first"),
        (lambda: plots.frontier_curves({}), "no points to draw"),
        (lambda: plots.contact_sheet(np.zeros((0, 3, 8, 8), np.uint8)), "expected \\[N, 3, S, S\\]"),
        (lambda: plots.code_strip(np.ones((2, 4)), ["a"]), "1 names for 2 codes"),
        (
            lambda: plots.retrieval_strips(
                np.zeros((2, 3, 8, 8)), np.zeros((2, 5, 3, 8, 8)), np.zeros((2, 4)), np.zeros((2, 5)), ["a", "b"]
            ),
            "neighbors \\(2, 5\\) and distances \\(2, 4\\)",
        ),
    ],
)
def test_errors_say_what_to_pass(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_palette_differs_in_grey_between_neighbors():
    grey = np.array([to_rgb(c) for c in figures.palette(20)]) @ [0.299, 0.587, 0.114]
    assert len(set(figures.palette(20))) == 20
    assert np.abs(np.diff(grey)).min() > 0.1


def test_spread_keeps_labels_apart():
    places = figures.spread(np.array([3.0, 3.1, 3.2, 9.0]), 1.0, 0, 10)
    assert np.allclose(places, [2.1, 3.1, 4.1, 9.0])
    crowded = figures.spread(np.full(8, 9.9), 2.0, 0, 10)  # more than fit at that gap
    assert np.allclose(crowded, np.linspace(0, 10, 8))


def test_the_users_style_is_neither_used_nor_changed():
    import matplotlib as mpl

    S, _, names, _, _ = example(6)
    expected = plots.similarity_heatmap(S, names).png()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "axes.grid": True, "lines.linewidth": 9}):
        before = dict(mpl.rcParams)
        assert plots.similarity_heatmap(S, names).png() == expected
        assert dict(mpl.rcParams) == before


def test_a_notebook_shows_figures_with_and_without_pyplot():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.pylabtools import select_figure_formats

    figure, axes = figures.new_figure(4, 3, alt="a picture")
    axes.imshow(np.random.default_rng(0).random((50, 50)))
    shell = InteractiveShell.instance()
    try:
        for formats in (set(), {"png"}):  # before and after the inline backend is active
            select_figure_formats(shell, formats)
            data, metadata = shell.display_formatter.format(figure)
            png = data["image/png"] if isinstance(data["image/png"], bytes) else base64.b64decode(data["image/png"])
            assert Image.open(io.BytesIO(png)).mode == "P"  # 256 colours either way
            assert metadata["image/png"]["alt"] == "a picture"
    finally:
        InteractiveShell.clear_instance()


def test_a_quick_png_is_the_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(figures.quick_png(pixels)))), pixels)
