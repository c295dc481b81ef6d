"""Every picture: a Figure of ours with alternative text, nothing clipped, small, the same each time."""

import io

import numpy as np
import pytest
from PIL import Image

from shc import centers, figures, plots
from shc.hamming import distance


def example(classes: int = 100, bits: int = 32):
    rng = np.random.default_rng(0)
    groups = np.arange(classes) // 5 if classes > 10 else np.arange(classes) // 2
    S = 0.5 * (groups[:, None] == groups) + 0.05 * rng.standard_normal((classes, classes))
    S = (S + S.T) / 2
    np.fill_diagonal(S, 1)
    codes = np.where(rng.standard_normal((classes, bits)) + groups[:, None] % 3 - 1 > 0, 1, -1).astype(np.int8)
    names = [f"class number {c}" for c in range(classes)]
    group_names = [f"super-class {g}" for g in range(groups.max() + 1)]
    return S, codes, names, groups, group_names


def records():
    return [
        dict(step=s, epoch=1 + s // 10, steps=40, loss=4.6 / s, terms={}, lr=0.1, images_per_second=900.0, seconds=s / 9,
             val=0.1 * s / 10 if s % 10 == 0 else None)
        for s in range(1, 41)
    ]  # fmt: skip


def pictures(classes: int):
    S, codes, names, groups, group_names = example(classes)
    order = plots.dendrogram_order(S)
    history = list(centers.optimize_centers(S, 16, sweeps=20, records=8))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    neighbors = rng.integers(0, 256, (3, 10, 3, 32, 32), dtype=np.uint8)
    strips = (images, neighbors, rng.integers(0, 12, (3, 10)), rng.integers(0, 3, (3, 10)))
    return {
        "similarity_heatmap": plots.similarity_heatmap(S, names, groups, group_names),
        "similarity_and_centers": plots.similarity_and_centers(S, codes, names, groups, group_names, order),
        "similarity_vs_distance": plots.similarity_vs_distance(S, codes, 4, groups),
        "distance_histogram": plots.distance_histogram(codes, 4, {"other centers": codes[::-1]}),
        "centers_map": plots.centers_map(codes, groups, group_names, order),
        "film_strip": plots.film_strip(history, S, order),
        "optimization_curves": plots.optimization_curves(history),
        "training_curves": plots.training_curves({"semantic": records(), "random": records()}, title="Training"),
        "confusion_heatmap": plots.confusion_heatmap(np.eye(classes, dtype=int), groups, group_names),
        "quantization_histogram": plots.quantization_histogram(np.tanh(rng.standard_normal((50, 8)))),
        "bit_balance": plots.bit_balance(codes),
        "pr_curves": plots.pr_curves({"semantic": (np.linspace(0, 1, 5), np.linspace(1, 0, 5))}),
        "bars_with_intervals": plots.bars_with_intervals({"a": (0.5, 0.4, 0.6), "a longer name": (0.4, 0.3, 0.5)}, "mAP"),
        "contact_sheet": plots.contact_sheet(images, columns=2),
        "retrieval_strips": plots.retrieval_strips(*strips, ["ant", "smiling face with sunglasses", "dog"]),
        "code_strip": plots.code_strip(codes[:5, :16], names[:5]),
    }  # fmt: skip


@pytest.fixture(scope="module", params=[6, 100])
def drawn(request):
    return pictures(request.param)


def test_every_public_picture_is_tested(drawn):
    assert set(drawn) == set(plots.__all__) - {"dendrogram_order"}


def test_pictures_have_alternative_text_and_are_small(drawn):
    for name, figure in drawn.items():
        assert isinstance(figure, figures.Figure), name
        assert len(figure.alt) > 10, name
        data, metadata = figure._repr_mimebundle_()
        assert metadata["image/png"]["alt"] == figure.alt
        assert len(data["image/png"]) < 150_000, name
        width, height = Image.open(io.BytesIO(data["image/png"])).size
        assert 100 < width <= 1250 and height > 40, (name, width, height)


def test_nothing_is_clipped(drawn):
    for name, figure in drawn.items():
        figure.png()  # the layout is made when drawing
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        inside = min(box.x0, box.y0, width - box.x1, height - box.y1)
        assert inside > -0.03, f"{name}: {box} leaves the figure of {width} × {height} inches"


def test_the_clipping_test_would_notice():
    figure, axes = figures.new_figure(2, 2)
    axes.text(0.5, 1.8, "far outside")
    assert figure.get_tightbbox().y1 > 2.03


def test_pictures_repeat_to_the_byte():
    S, codes, names, groups, group_names = example()
    first, second = (plots.similarity_vs_distance(S, codes, 4, groups).png() for _ in range(2))
    assert first == second


def test_dendrogram_order_puts_similar_classes_side_by_side():
    S, _, _, groups, _ = example()
    shuffled = np.random.default_rng(2).permutation(len(S))
    order = plots.dendrogram_order(S[np.ix_(shuffled, shuffled)])
    assert sorted(order) == list(range(len(S)))
    neighbors = groups[shuffled[order]]
    assert (np.diff(neighbors) != 0).sum() == groups.max()  # every super-class is one stretch


def test_similarity_vs_distance_shows_every_pair():
    S, codes, _, groups, _ = example(6)
    axes = plots.similarity_vs_distance(S, codes, 4, groups).axes[0]
    points = np.concatenate([c.get_offsets() for c in axes.collections])
    assert len(points) == 15
    pairs = np.triu_indices(6, 1)
    assert np.allclose(np.sort(points[:, 0]), np.sort(S[pairs]))
    assert np.abs(np.sort(points[:, 1]) - np.sort(distance(codes, codes)[pairs])).max() <= 0.6  # jitter only


def test_palette_differs_in_grey_between_neighbors():
    colors = figures.palette(20)
    grey = colors @ [0.299, 0.587, 0.114]
    assert np.abs(np.diff(grey)).min() > 0.05


def test_spread_keeps_labels_apart():
    places = figures.spread(np.array([3.0, 3.1, 3.2, 9.0]), 1.0, 0, 10)
    assert np.diff(np.sort(places)).min() > 0.99 and 0 <= places.min() and places.max() <= 10
