"""The retrieval explorer without a page: what it answers, and what the page is told. tests/test_browser.py clicks."""

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from shc import explorer as module
from shc import hamming
from shc.class_map import ClassMap
from shc.code_map import CodeMap
from shc.datasets.streams import FileImages, packed
from shc.explorer import PAGE, Part, RetrievalExplorer
from shc.runs import Run, RunError

NAMES, GROUPS, KINDS = ["cat", "dog", "car", "bus"], np.array([0, 0, 1, 1]), ["animals", "traffic"]
STYLES = ["flat", "round"]
PNG = b"\x89PNG"


def part(rng, n, bits=6, size=8):
    images = torch.from_numpy(rng.integers(0, 255, (n, 3, size, size), dtype=np.uint8))
    codes = rng.choice([-1, 1], (n, bits)).astype(np.int8)
    facts = {"style": torch.from_numpy(rng.integers(0, 2, n))}
    return Part(images, codes, torch.from_numpy(rng.integers(0, 4, n)), facts)


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return {"query": part(rng, 60), "val": part(rng, 3)}, part(rng, 40)


@pytest.fixture
def made(parts):
    return RetrievalExplorer(*parts, NAMES, GROUPS, neighbors=5, group_names=KINDS, fact_names={"style": STYLES})


def opened(source):
    """The picture in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


# ------------------------------------------------------------------------------------------ neighbors


def test_the_nearest_are_those_of_the_distances(made):
    database = made.database
    for query in (0, 3):
        found = made.find("query", query)
        distances = hamming.distance(made.asking["query"].codes[[query]], database.codes)[0]
        assert [n["bits"] for n in found["neighbors"]] == np.sort(distances)[:5].tolist()
        mine = int(made.asking["query"].labels[query])
        for neighbor in found["neighbors"]:
            row = neighbor["row"]
            theirs = int(database.labels[row])
            assert neighbor["bits"] == distances[row] and neighbor["name"] == NAMES[theirs]
            assert neighbor["relation"] == (2 if mine == theirs else 1 if mine // 2 == theirs // 2 else 0)
            assert [1 if sign == "+" else -1 for sign in neighbor["code"]] == database.codes[row].tolist()
            assert (np.asarray(opened(neighbor["src"])) == database.images[row].permute(1, 2, 0).numpy()).all()
        right = sum(n["relation"] == 2 for n in found["neighbors"])
        assert f"query {query}: {NAMES[mine]}; {right} of 5 neighbors of the same class, at " in found["told"]


def test_another_code_asks_in_the_querys_place(made):
    own = made.asking["query"].codes[7]
    code = own.copy()
    code[[0, 4]] *= -1
    found = made.find("query", 7, code.tolist())
    assert sum(a != b for a, b in zip(found["own"], found["code"], strict=True)) == 2
    distances = hamming.distance(code[None], made.database.codes)[0]
    assert [n["bits"] for n in found["neighbors"]] == [distances[n["row"]] for n in found["neighbors"]]
    assert [n["bits"] for n in found["neighbors"]] == np.sort(distances)[:5].tolist()


def test_all_within_a_radius_come_in_pages(made):
    everything = []
    for page in (0, 1):
        found = made.find("query", 2, radius=6, page=page)
        everything += found["neighbors"]
        assert (found["total"], found["pages"], found["page"]) == (40, 2, page)
    assert sorted(n["row"] for n in everything) == list(range(40)) and len(found["neighbors"]) == 40 - PAGE
    assert made.find("query", 2, radius=6, page=9)["page"] == 1  # there is no page 9
    distances = hamming.distance(made.asking["query"].codes[[2]], made.database.codes)[0]
    found = made.find("query", 2, radius=2)
    assert found["total"] == (distances <= 2).sum() and f"{found['total']} images within 2 bits" in found["told"]


def test_an_empty_radius_is_told(parts):
    asking, database = parts
    far = Part(database.images[:1], -asking["query"].codes[:1], database.labels[:1])
    found = RetrievalExplorer(asking, far, NAMES, GROUPS).find("query", 0, radius=1)
    assert not found["neighbors"] and found["pages"] == 1 and found["told"].endswith("no image within 1 bit")


def test_label_sets_are_alike_where_they_share_a_class(parts):
    asking, database = parts
    sets = np.eye(4, dtype=bool)
    sets[0, 1] = True
    pairs = [Part(p.images, p.codes, sets[np.asarray(p.labels)]) for p in (asking["query"], database)]
    made = RetrievalExplorer({"query": pairs[0]}, pairs[1], NAMES, GROUPS, 40, group_names=KINDS)
    cat = int(np.flatnonzero(np.asarray(asking["query"].labels) == 0)[0])
    found = made.find("query", cat)
    assert found["name"] == "cat, dog" and "that share a class with it" in found["told"]
    expected = [2 if label < 2 else 0 for label in np.asarray(database.labels)[[n["row"] for n in found["neighbors"]]]]
    assert [n["relation"] for n in found["neighbors"]][:PAGE] == expected
    filters = {f["name"]: f["options"] for f in made.sheet("query", {"class": 1})["filters"]}
    counts = np.bincount(np.asarray(asking["query"].labels))
    assert filters["class"][1] == (1, "dog", counts[0] + counts[1])
    assert filters["super-class"] == [(0, "animals", counts[:2].sum()), (1, "traffic", counts[2:].sum())]
    assert made.sheet("query", {"class": 1})["total"] == counts[0] + counts[1]


# ------------------------------------------------------------------------------------------ the sheet of queries


def test_the_sheet_shows_every_query_once(made):
    pages = [made.sheet("query", page=page) for page in range(3)]
    rows = [query["row"] for page in pages for query in page["queries"]]
    assert sorted(rows) == list(range(60)) and [len(page["queries"]) for page in pages] == [PAGE, PAGE, 12]
    assert rows != sorted(rows), "a data set is often sorted by class; a page should show many"
    query = pages[1]["queries"][3]
    assert query["name"] == NAMES[made.asking["query"].labels[query["row"]]]
    expected = made.asking["query"].images[query["row"]].permute(1, 2, 0).numpy()
    assert (np.asarray(opened(query["src"])) == expected).all()


def test_filters_leave_the_queries_that_have_all_values(made):
    labels, styles = (np.asarray(x) for x in (made.asking["query"].labels, made.asking["query"].facts["style"]))
    answer = made.sheet("query", {"style": 1, "super-class": 0})
    expected = (styles == 1) & (labels < 2)
    assert answer["total"] == expected.sum()
    assert {query["row"] for query in answer["queries"]} <= set(np.flatnonzero(expected))
    filters = {f["name"]: f for f in answer["filters"]}
    assert [f["value"] for f in answer["filters"]] == [1, 0, -1]
    assert filters["style"]["options"] == [(v, STYLES[v], (styles == v).sum()) for v in (0, 1)]  # free to be changed
    classes = [(c, NAMES[c], ((labels == c) & (styles == 1)).sum()) for c in (0, 1)]
    assert filters["class"]["options"] == classes  # of this super-class only


def test_a_choice_that_no_query_has_is_dropped(made):
    answer = made.sheet("query", {"super-class": 0, "class": 3})
    assert [f["value"] for f in answer["filters"]] == [-1, 0, -1] and answer["total"] > 0


def test_many_queries_are_paged_and_only_a_page_is_made(monkeypatch):
    rng = np.random.default_rng(0)
    many, made = part(rng, 12_000), []
    known = module.thumbnails
    monkeypatch.setattr(module, "thumbnails", lambda images: made.append(len(images)) or known(images))
    explorer = RetrievalExplorer({"query": many}, part(rng, 40), NAMES, GROUPS)
    answer = explorer.sheet("query", page=400)
    assert (answer["pages"], answer["page"], answer["total"]) == (500, 400, 12_000) and max(made) <= PAGE


def test_images_in_files_are_decoded_a_page_at_a_time(tmp_path, parts, monkeypatch):
    database = parts[1]
    for i, image in enumerate(database.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i:02}.png")
    files = FileImages(packed(sorted(tmp_path.glob("*.png"))), 8)
    decoded, known = [], FileImages.__getitem__
    monkeypatch.setattr(FileImages, "__getitem__", lambda self, rows: decoded.append(len(rows)) or known(self, rows))
    in_files = Part(files, database.codes, database.labels)
    one, two = (RetrievalExplorer({"query": part}, part, NAMES, GROUPS) for part in (in_files, database))
    assert one.first == two.first and max(decoded) <= PAGE
    assert one.static().alt == two.static().alt


def test_large_images_become_small_thumbnails():
    noise = np.random.default_rng(0).integers(0, 255, (2, 3, 224, 224), dtype=np.uint8)
    large, small = module.thumbnails(noise)[0], module.thumbnails(noise[..., :32, :32])[0]
    assert large.startswith("data:image/jpeg") and opened(large).size == (192, 192)
    assert small.startswith("data:image/png") and opened(small).size == (32, 32)


# ------------------------------------------------------------------------------------------ questions of the page


def test_the_page_is_answered_with_the_id_of_its_question(made, monkeypatch):
    sent = []
    monkeypatch.setattr(made, "send", sent.append)

    def ask(**question):
        made._handle_msg({"content": {"data": {"method": "custom", "content": question}}, "buffers": []})
        return sent.pop()

    assert ask(id="a 1", kind="sheet", split="val", chosen={}, page=0) == {"id": "a 1", **made.sheet("val")}
    asked = dict(split="query", query=4, code="+-+-+-", radius=3, page=0)
    expected = made.find("query", 4, [1, -1, 1, -1, 1, -1], radius=3)
    assert ask(id="a 2", kind="find", **asked) == {"id": "a 2", **expected}


@pytest.mark.parametrize(
    "wrong, told",
    [
        (dict(split="train"), "no split 'train' asks; choose query or val"),
        (dict(query=60), r"query=60; expected a whole number from 0 to 59"),
        (dict(query=-1), r"query=-1; expected"),
        (dict(code="++"), r"have 2 bits, but index memory: holds codes of 6"),
        (dict(radius=-1), r"radius=-1; expected a whole number of at least 0"),
        (dict(color="red"), "color"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_and_raises_nothing(made, monkeypatch, wrong, told):
    sent = []
    monkeypatch.setattr(made, "send", sent.append)
    question = dict(id=1, kind="find", split="query", query=0, code=None, radius=None, page=0) | wrong
    made._handle_msg({"content": {"data": {"method": "custom", "content": question}}, "buffers": []})
    assert len(sent) == 1 and sent[0].keys() == {"id", "problem"} and re.search(told, sent[0]["problem"])


# ------------------------------------------------------------------------------------------ construction


def test_numbers_have_to_match(parts):
    asking, d = parts
    with pytest.raises(ValueError, match=r"database: 40 images, 39 codes, 40 labels"):
        RetrievalExplorer(asking, Part(d.images, d.codes[1:], d.labels), NAMES, GROUPS)
    with pytest.raises(ValueError, match=r"query: 0 images.*at least one image"):
        RetrievalExplorer({"query": Part(d.images[:0], d.codes[:0], d.labels[:0])}, d, NAMES, GROUPS)
    with pytest.raises(ValueError, match="query: codes of 5 bits, the database has 6"):
        RetrievalExplorer({"query": Part(d.images, d.codes[:, 1:], d.labels)}, d, NAMES, GROUPS)
    with pytest.raises(ValueError, match="no images ask"):
        RetrievalExplorer({}, d, NAMES, GROUPS)
    with pytest.raises(ValueError, match="neighbors=0"):
        RetrievalExplorer(asking, d, NAMES, GROUPS, neighbors=0)


def test_it_begins_where_it_is_told_to(parts):
    first = RetrievalExplorer(*parts, NAMES, GROUPS, query=11).first
    assert first["found"]["query"] == 11 and 11 in [query["row"] for query in first["sheet"]["queries"]]
    first = RetrievalExplorer(*parts, NAMES, GROUPS).first
    assert first["found"]["query"] == first["sheet"]["queries"][0]["row"]


def test_where_widgets_do_not_work_there_is_a_picture(made):
    figure = made.static()
    assert len(figure.axes) == 4 * 6 and figure.alt.count("of 5 neighbors of the same class") == 4
    made.find("query", int(made.order["query"][-1]))
    assert len(made.static().axes) == 6, "the last query has none after it"
    data, metadata = made._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and data["image/png"].startswith(PNG)
    assert metadata["image/png"]["alt"] == data["text/plain"] == made.static().alt


def test_what_is_missing_is_told_in_the_widget(tmp_path):
    explorer = RetrievalExplorer.of_run(Run(tmp_path / "new"))
    assert "run notebook 01_classifier" in explorer.first["problem"]
    assert explorer._repr_mimebundle_()[0]["text/plain"] == explorer.first["problem"]
    with pytest.raises(RunError, match="run notebook 01_classifier"):
        explorer.static()


def test_without_anywidget_the_extra_is_named():
    code = "import sys; sys.modules['anywidget'] = None; import shc.explorer"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode and "ImportError: widgets need the extra `notebooks`" in done.stderr


@pytest.mark.parametrize("widget", [RetrievalExplorer, ClassMap, CodeMap])
def test_the_front_end_is_one_module_that_fetches_nothing(widget):
    script, sheet = str(widget._esm), str(widget._css)
    assert script.count("export default") == 1 and "function frame(" in script and ".shc-asking" in sheet
    assert not re.search(r"\bimport\b|require\(|fetch\(|XMLHttp|https?:|innerHTML|eval\(", script)
    assert not re.search(r"@import|url\(", sheet)
