"""Notebooks on data that is not the default: with several labels per image, and without super-classes or drawings."""

import numpy as np
import pairs  # noqa: F401  (registers its data set)
import pytest
from cells import run_cells
from PIL import Image

from shc import datasets, label_sets, pipeline, stages
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig
from shc.runs import Run

COLORS = [(230, 30, 30), (30, 230, 30), (30, 30, 230), (200, 200, 30), (30, 200, 200), (200, 30, 200)]


@pytest.fixture(scope="module", params=["pairs", "image_folder"])
def made(request, tmp_path_factory):
    """A hasty run on label sets, or on a folder with six classes and no tree: its name and its folder."""
    folder, root = tmp_path_factory.mktemp("run"), ""
    if request.param == "image_folder":
        root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
        for number, color in enumerate(COLORS):
            (root / f"color {number}").mkdir()
            for i in range(12):
                pixels = (np.array(color) + random.integers(-30, 26, (16, 16, 3))).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(root / f"color {number}" / f"{i}.png")
    data = Data(data=request.param, root=str(root), size=16)
    short = dict(batch=50, device="cpu", threads=1, epochs=2)
    stages.run_all(Run(folder), data, ClassifierConfig(**short), CentersConfig(bits=16), HasherConfig(**short))
    run_cells("01_classifier", run=str(folder), data=data.data, root=data.root, size=16, batch=50, epochs=2)
    return request.param, folder


def test_similarity_has_a_headline_without_super_classes(made):
    name, folder = made
    printed = run_cells("02_class_similarity", run=str(folder))
    headline = pipeline.headline(Run(folder), "02_class_similarity")
    expected = "same super-class AUC 0." if name == "pairs" else "mean square off the diagonal 0."
    assert headline.startswith(expected) and f"S from 'classifier': {headline}" in printed
    assert ("no super-classes to compare with" in headline) == (name == "image_folder")
    assert "probability nan" not in printed


def test_retrieval_calls_the_queries_what_they_are(made):
    printed = run_cells("05_retrieval", run=str(made[1]))
    assert "mAP@ALL on held-out images, 16 bits" in printed and "unseen" not in printed


def test_the_solutions_leave_out_what_the_data_does_not_have(made):
    name, folder = made
    table = pipeline.notebooks_folder().parent / "benchmarks" / "comparison.csv"
    printed = run_cells("solutions", run=str(folder), frame=str(table))
    assert "of the training images are misread" in printed and "nan" not in printed
    assert printed.count("left out: this data set has no super-classes") == (2 if name == "image_folder" else 0)


def test_queries_are_named_by_what_the_data_set_knows():
    closed, unseen = (datasets.load("emoji", scale=0.02, size=16, protocol=p) for p in ("closed", "unseen-classes"))
    assert [label_sets.asked(images) for images in (closed, unseen)] == ["unseen drawings", "unseen classes"]
    assert label_sets.clustered_by(closed) == "drawings"
    shapes = datasets.load("shapes", scale=0.02, size=16)
    assert (label_sets.asked(shapes), label_sets.clustered_by(shapes)) == ("held-out images", "classes")
