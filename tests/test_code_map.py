"""Linked maps without a page: what a selection holds. tests/test_map_browser.py draws boxes and picks classes."""

import numpy as np
import pytest
from test_explorer import opened

from shc import code_map, hamming, structure
from shc.asking import PAGE
from shc.code_map import CodeMap
from shc.runs import Run, RunError

NAMES, GROUPS, KINDS = ["cat", "dog", "car", "bus"], np.array([0, 0, 1, 1]), ["animals", "traffic"]


@pytest.fixture
def given():
    """Centers ±1 [4, 12], codes ±1 [90, 12], class positions, images and two layouts of four classes."""
    rng = np.random.default_rng(0)
    centers, codes = (rng.choice([-1, 1], (n, 12)).astype(np.int8) for n in (4, 90))
    images = rng.integers(0, 255, (90, 3, 8, 8), dtype=np.uint8)
    layouts = {name: rng.normal(size=(94, 2)) * scale for name, scale in (("flat", (3, 1)), ("bent", (1, 1)))}
    return centers, codes, rng.integers(0, 4, 90), images, layouts


@pytest.fixture
def made(given):
    return CodeMap(*given, NAMES, GROUPS, KINDS)


def test_a_box_selects_the_points_inside(made, given):
    *_, labels, images, layouts = given
    for name in layouts:
        places = np.frombuffer(made.first["places"][name], "<f4").reshape(94, 2)[4:]
        left, top, right, bottom = box = [0.3, 0.4, 0.7, 0.7]
        x, y = places.T
        rows = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        found = made.select(name, box=box)
        assert 0 < found["total"] == len(rows) < 90
        assert found == made.select(name, box=[right, bottom, left, top]) | dict(box=box), "corners in any order"
        assert dict(found["mix"]) == {c: n for c, n in enumerate(np.bincount(labels[rows], minlength=4)) if n}
        assert [count for _, count in found["mix"]] == sorted((count for _, count in found["mix"]), reverse=True)
        assert [image["row"] for image in found["images"]] == rows[:PAGE].tolist()
        for image in found["images"]:
            assert image["label"] == labels[image["row"]]
            assert (np.asarray(opened(image["src"])) == images[image["row"]].transpose(1, 2, 0)).all()
        most, count = found["mix"][0]
        assert found["told"].startswith(f"{len(rows)} images in the box: {count} {NAMES[most]}")


def test_places_keep_the_shape_of_the_map(made, given):
    layouts = given[-1]
    for name, points in layouts.items():
        places = np.frombuffer(made.first["places"][name], "<f4").reshape(94, 2)
        assert places.min() >= 0 and places.max() <= 1
        scale = np.ptp(points, axis=0).max()
        assert np.allclose(np.ptp(places, axis=0), np.ptp(points, axis=0) / scale, atol=1e-6)
        up = points[:, 1].argmax()
        assert places[:, 1].argmin() == up, "y goes down on a page"


def test_a_class_selects_its_images_and_a_box_comes_first(made, given):
    labels = given[2]
    found = made.select("flat", chosen=2)
    assert found["total"] == (labels == 2).sum() and found["mix"] == [(2, found["total"])]
    assert found["told"] == f"{found['total']} images of car"
    assert made.select("flat", box=[0, 0, 1, 1], chosen=2)["total"] == 90
    assert made.select("flat")["told"] == "90 images on the map"


def test_many_images_come_in_pages(made):
    pages = [made.select("flat", page=page) for page in range(4)]
    assert [row for page in pages for row in [image["row"] for image in page["images"]]] == list(range(90))
    assert made.select("flat", page=9)["page"] == 3
    empty = made.select("flat", box=[-3, -3, -2, -2])
    assert (empty["total"], empty["pages"], empty["mix"], empty["told"]) == (0, 1, [], "0 images in the box")


def test_the_page_has_the_bits_and_the_tree(made, given):
    centers, codes, *_ = given
    both = np.vstack([centers, codes])
    signs = np.unpackbits(np.frombuffer(made.first["signs"], np.uint8).reshape(12, -1), axis=1, count=94)
    assert ((signs.T == 1) == (both > 0)).all()
    tree = structure.average_linkage(hamming.distance(centers, centers))
    assert np.allclose(made.first["tree"], tree[:, :3])
    told = structure.bit_information(centers, GROUPS)
    assert [k for k, _ in made.first["bits"]] == np.argsort(-told, kind="stable").tolist()
    assert made.first["bits"][0][1] == f"bit {told.argmax()} ({told.max():.2f} bit of super-class)"


def test_without_super_classes_bits_stand_in_their_order(given):
    made = CodeMap(*given, NAMES)
    assert made.first["bits"][:2] == [(0, "bit 0"), (1, "bit 1")] and made.first["group_names"] == []
    assert made.static().alt == "4 centers among the codes of 90 images, laid out by flat and bent"


@pytest.mark.parametrize(
    "wrong, told",
    [
        (dict(layout="round"), "no map 'round'; choose flat or bent"),
        (dict(chosen=4), "class 4; expected a whole number from 0 to 3"),
        (dict(box=[1, 2, 3]), "cannot reshape"),
    ],
)
def test_a_question_that_makes_no_sense_is_told(made, monkeypatch, wrong, told):
    sent = []
    monkeypatch.setattr(made, "send", sent.append)
    made.asked(None, dict(id=1, kind="select", layout="flat") | wrong)
    assert sent[0].keys() == {"id", "problem"} and told in sent[0]["problem"]


def test_numbers_have_to_match(given, monkeypatch):
    centers, codes, labels, images, layouts = given
    with pytest.raises(ValueError, match="90 images, 89 codes, 90 labels"):
        CodeMap(centers, codes[1:], labels, images, layouts, NAMES)
    with pytest.raises(ValueError, match="94 centers and codes, 90 points of 'flat'"):
        CodeMap(centers, codes, labels, images, {"flat": layouts["flat"][4:]}, NAMES)
    with pytest.raises(ValueError, match="4 centers, 3 names"):
        CodeMap(centers, codes, labels, images, layouts, NAMES[1:])
    with pytest.raises(ValueError, match=r"labels are -1 to 3; expected 0 to 3"):
        CodeMap(centers, codes, np.where(np.arange(90) == 5, -1, labels), images, layouts, NAMES)
    with pytest.raises(ValueError, match="there is no map"):
        CodeMap(centers, codes, labels, images, {}, NAMES)
    monkeypatch.setattr(code_map, "MOST", 89)
    with pytest.raises(ValueError, match="90 images; a map shows at most 89: choose some of them"):
        CodeMap(*given, NAMES)


def test_one_class_is_enough(given):
    centers, codes, _, images, layouts = given
    one = {name: points[3:] for name, points in layouts.items()}
    assert CodeMap(centers[:1], codes, np.zeros(90, int), images, one, ["cat"]).first["tree"] == []


def test_where_widgets_do_not_work_there_are_the_maps(made):
    data, _ = made._repr_mimebundle_()
    assert data["text/plain"] == made.static().alt and len(made.static().axes) == 2


def test_what_is_missing_is_told_in_the_widget(tmp_path):
    made = CodeMap.of_run(Run(tmp_path / "new"))
    assert "run notebook 01_classifier" in made.first["problem"]
    with pytest.raises(RunError, match="run notebook 01_classifier"):
        made.static()
