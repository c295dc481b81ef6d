"""The heat map that answers, without a page: what it tells of two classes. tests/test_map_browser.py points at them."""

import numpy as np
import pytest
from test_explorer import opened

from shc import hamming, similarity
from shc.class_map import SHOWN, ClassMap
from shc.plots import dendrogram_order
from shc.runs import Run, RunError

NAMES, KINDS = ["cat", "dog", "Bus", "car", "ant"], ["animals", "traffic"]
GROUPS = np.array([0, 0, 1, 1, 0])


@pytest.fixture
def given():
    """S, images uint8 [60, 3, 8, 8], class positions int64 [60] and centers ±1 [5, 12] of five classes."""
    rng = np.random.default_rng(0)
    S = similarity.embedding_similarity(rng.normal(size=(5, 6)))
    images, labels = rng.integers(0, 255, (60, 3, 8, 8), dtype=np.uint8), rng.integers(0, 5, 60)
    return S, images, labels, rng.choice([-1, 1], (5, 12)).astype(np.int8)


@pytest.fixture
def made(given):
    S, images, labels, codes = given
    return ClassMap(S, NAMES, images, labels, GROUPS, KINDS, codes)


def test_a_pair_is_told_as_it_is(made, given):
    S, images, labels, codes = given
    above = np.sort(S[np.triu_indices(5, 1)])[::-1]
    for a, b in ((0, 3), (3, 0), (4, 1)):
        found = made.pair(a, b)
        bits = int(hamming.distance(codes, codes)[a, b])
        assert (found["a"], found["b"], found["s"], found["bits"]) == (a, b, S[a, b], bits)
        place = int((above > S[a, b]).sum()) + 1
        rank = f"in place {place}" if place > 1 else "the most similar"
        assert f"{rank} of 10 pairs; their centers differ in {bits} of 12 bits" in found["told"]
        for c, face in zip((a, b), found["faces"], strict=True):
            assert (face["name"], face["group"]) == (NAMES[c], KINDS[GROUPS[c]]) and len(face["src"]) == SHOWN
            own = images[labels == c].transpose(0, 2, 3, 1)
            assert all((np.asarray(opened(src)) == own).all((1, 2, 3)).any() for src in face["src"])
    assert made.pair(4, 1)["told"].endswith("; both animals") and "both" not in made.pair(0, 3)["told"]
    assert made.pair(2, 2)["told"] == "Bus: a class is similar to itself by 1" and made.pair(2, 2)["bits"] == 0


def test_without_centers_there_are_no_distances(given):
    S, images, labels, _ = given
    made = ClassMap(S, NAMES, images, labels, without="no distances yet")
    assert made.first["apart"] is None and made.first["without"] == "no distances yet"
    found = made.pair(0, 1)
    assert found["bits"] is None and "bits" not in found["told"] and found["faces"][0]["group"] == ""
    assert list(made.first["orders"]) == ["dendrogram", "name"], "there is no taxonomy to sort by"
    assert [name for name, *_ in made.first["pairs"]] == ["most similar", "most unlike"]


def test_the_page_draws_what_python_has(made, given):
    S, _, _, codes = given
    assert (np.frombuffer(made.first["S"], "<f4").reshape(5, 5) == S.astype(np.float32)).all()
    assert (np.frombuffer(made.first["apart"], "<u2").reshape(5, 5) == hamming.distance(codes, codes)).all()
    assert len(made.first["scale"]) == 768


def test_every_order_has_every_class_once(made, given):
    orders = made.first["orders"]
    assert all(sorted(order) == list(range(5)) for order in orders.values())
    assert orders["dendrogram"] == dendrogram_order(given[0]).tolist()
    assert GROUPS[orders["taxonomy"]].tolist() == [0, 0, 0, 1, 1]
    assert [NAMES[c] for c in orders["name"]] == ["ant", "Bus", "car", "cat", "dog"]


def test_pairs_worth_a_look_are_what_they_are_called(made, given):
    S, _, _, codes = given
    pairs = {name: (a, b) for name, a, b in made.first["pairs"]}
    off = S[np.triu_indices(5, 1)]
    across = GROUPS[:, None] != GROUPS
    assert S[pairs["most similar"]] == off.max() and S[pairs["most unlike"]] == off.min()
    assert S[pairs["alike, yet of two super-classes"]] == S[across].max()
    assert S[pairs["unlike, yet of one super-class"]] == S[~across].min()
    error = np.square(S - codes.astype(int) @ codes.T / 12)
    np.fill_diagonal(error, 0)
    assert error[pairs["worst placed"]] == pytest.approx(error.max())
    assert (made.first["pair"]["a"], made.first["pair"]["b"]) == pairs["most similar"]


def test_label_sets_show_images_that_have_the_class(given):
    S, images, labels, _ = given
    sets = np.eye(5, dtype=bool)[labels]
    sets[:, 1] |= labels == 0
    both = ClassMap(S, NAMES, images, sets).pair(0, 1)["faces"]
    alone = ClassMap(S, NAMES, images, np.where(labels == 1, 0, labels)).pair(0, 1)["faces"]
    assert len(both[0]["src"]) == len(both[1]["src"]) == SHOWN and alone[1]["src"] == []


@pytest.mark.parametrize("wrong", [dict(a=5, b=0), dict(a=0, b=-1), dict(a=0.5, b=1), dict(a="cat", b=0)])
def test_a_class_that_is_not_there_is_told(made, monkeypatch, wrong):
    sent = []
    monkeypatch.setattr(made, "send", sent.append)
    made._handle_msg(
        {"content": {"data": {"method": "custom", "content": dict(id=1, kind="pair", **wrong)}}, "buffers": []}
    )
    assert sent[0].keys() == {"id", "problem"} and "expected a whole number from 0 to 4" in sent[0]["problem"]


def test_only_questions_are_answered(made, monkeypatch):
    sent = []
    monkeypatch.setattr(made, "send", sent.append)
    made.asked(None, dict(id=3, kind="close"))
    assert sent == [dict(id=3, problem="no question 'close'; ask pair")]


def test_numbers_have_to_match(given):
    S, images, labels, codes = given
    with pytest.raises(ValueError, match="5 classes, 4 names, 5 groups; pass as many of each"):
        ClassMap(S, NAMES[1:], images, labels)
    with pytest.raises(ValueError, match="60 images, 59 labels"):
        ClassMap(S, NAMES, images, labels[1:])
    with pytest.raises(ValueError, match="5 classes, 4 centers"):
        ClassMap(S, NAMES, images, labels, codes=codes[1:])
    with pytest.raises(ValueError, match="S has shape"):
        ClassMap(S[1:], NAMES, images, labels)


def test_one_class_is_enough():
    made = ClassMap(np.ones((1, 1)), ["cat"], np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, int))
    assert made.first["pairs"] == [] and made.first["pair"]["told"] == "cat: a class is similar to itself by 1"


def test_where_widgets_do_not_work_there_is_the_heat_map(made):
    data, metadata = made._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == made.static().alt
    assert made.static().alt.startswith("Heat map of the similarity of 5 classes")


def test_what_is_missing_is_told_in_the_widget(tmp_path):
    made = ClassMap.of_run(Run(tmp_path / "new"))
    assert "run notebook 01_classifier" in made.first["problem"]
    with pytest.raises(RunError, match="run notebook 01_classifier"):
        made.static()
