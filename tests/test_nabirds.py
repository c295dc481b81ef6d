"""NABirds from its text files: labels by the pictures' numbers, not by the lines' order, and a tree of equal depth."""

import doctest

import numpy as np
import pytest
from colored import check_pictures, check_replaced, save_picture
from whole import chance, run_through

from shc import datasets
from shc.datasets import nabirds
from shc.datasets.sources import MissingData

pytestmark = pytest.mark.filterwarnings("ignore:nabirds has")

# Numbers with gaps; 1000 comes after 817 as a number, not as a text.
NODES = {
    "0": "Birds",
    "1": "Ducks, Geese, and Swans",
    "2": "Perching Birds",
    "14": "Wood-Warblers",
    "129": "Common Eider",
    "400": "Yellow-rumped Warbler",
    "817": "Common Eider (Adult male)",
    "295": "Common Eider (Female/juvenile)",
    "1000": "Yellow-rumped Warbler (Breeding Myrtle)",
    "1010": "Never seen",
}
TREE = {"1": "0", "2": "0", "14": "2", "129": "1", "400": "14", "817": "129", "295": "129", "1000": "400", "1010": "1"}
LABELED = ["295", "817", "1000"]  # as numbers: labels 0, 1, 2


def pictures():
    """(id, path, class, training?): 4 training and 3 test pictures per class, ids without order."""
    found = []
    for label, node in enumerate(LABELED):
        for i in range(7):
            number = f"{(label * 7 + i) * 8191 % 65536:04x}139e-21dc-4d0c-bfe1-4cae3c85c8{label}{i}"
            found.append((number, f"{int(node):04}/{number.replace('-', '')}.jpg", node, i < 4))
    return sorted(found)


def write(root, images=None, labels=None, split=None, classes=NODES, hierarchy=TREE):
    rows = pictures()
    tables = {
        nabirds.IMAGES: {number: path for number, path, _, _ in rows} if images is None else images,
        # in another order than the images: only the numbers say what belongs together
        nabirds.LABELS: {number: node for number, _, node, _ in rows[::-1]} if labels is None else labels,
        nabirds.SPLIT: {number: int(train) for number, _, _, train in rows[1:] + rows[:1]} if split is None else split,
        nabirds.CLASSES: classes,
        nabirds.PARENTS: hierarchy,
    }
    root.mkdir(exist_ok=True)
    for name, table in tables.items():
        text = "".join(f"{key} {value}\n" for key, value in table.items())
        (root / name).write_text(text, encoding="utf-8", newline="\r\n" if name == nabirds.CLASSES else "\n")


@pytest.fixture
def root(tmp_path):
    write(tmp_path)
    for _, path, node, train in pictures():
        save_picture(tmp_path / "images" / path, LABELED.index(node), test=not train)
    return tmp_path


def load(root, **options):
    return datasets.load("nabirds", **({"root": str(root), "size": 16, "val": 0} | options))


def test_examples():
    assert doctest.testmod(nabirds).failed == 0


# ------------------------------------------------------------------------------------------------ labels and splits


def test_labels_and_official_split_are_what_the_pictures_show(root):
    images = load(root)
    test = check_pictures(images)
    assert images.class_names == [NODES[node] for node in LABELED]
    assert np.flatnonzero(~test).tolist() == images.splits["train"].tolist() == images.splits["database"].tolist()
    assert np.flatnonzero(test).tolist() == images.splits["query"].tolist()
    assert (len(images.splits["train"]), len(images.splits["query"])) == (12, 9)
    assert load(root).fingerprint == images.fingerprint != load(root, protocol="b").fingerprint


def test_a_picture_that_was_replaced_is_seen(root, tmp_path_factory):
    file = root / "images" / pictures()[0][1]
    check_replaced(load, root, file, 0, tmp_path_factory.mktemp("copy") / "birds")


def test_val_is_moved_from_train_and_stays_in_the_database(root):
    splits = {name: set(rows.tolist()) for name, rows in load(root, val=0.25).splits.items()}
    assert len(splits["val"]) == 3 and not splits["val"] & splits["train"]
    assert splits["val"] | splits["train"] == splits["database"]


def test_protocol_b_draws_the_papers_proportions_from_all_pictures(root):
    images = load(root, protocol="b")
    test = check_pictures(images)
    rows = np.concatenate([rows.numpy() for rows in images.splits.values()])
    assert sorted(rows.tolist()) == list(range(21))
    assert {name: len(rows) for name, rows in images.splits.items()} == {"train": 6, "query": 3, "database": 12}
    assert 0 < test[images.splits["train"]].sum() < 6


def test_protocol_b_at_full_size():
    sizes = 13 + np.random.default_rng(0).multinomial(48562 - 13 * 555, np.linspace(0.2, 1.8, 555) / 555)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(555), sizes))
    splits = nabirds.drawn(labels, seed=2)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(48562))
    for name, size in nabirds.PAPER.items():
        share = size / 50167
        counts = np.bincount(labels[splits[name]], minlength=555)
        assert counts.min() >= 1 and np.abs(counts - share * sizes).max() <= 1
        assert len(splits[name]) == pytest.approx(share * 48562, rel=0.01)
    again, other = nabirds.drawn(labels, seed=2), nabirds.drawn(labels, seed=3)
    assert all(np.array_equal(splits[name], again[name]) for name in splits)
    assert not np.array_equal(splits["query"], other["query"])


def test_protocol_b_has_every_class_of_six_in_every_split():
    labels = np.repeat(np.arange(200), np.arange(6, 206))
    for rows in nabirds.drawn(labels, seed=0).values():
        assert np.bincount(labels[rows], minlength=200).min() >= 1


# ------------------------------------------------------------------------------------------------ tree


def test_tree_is_padded_to_equal_depth(root):
    tree = load(root).hierarchy
    assert tree.paths == (
        ("Ducks, Geese, and Swans", "Common Eider", "Common Eider"),
        ("Ducks, Geese, and Swans", "Common Eider", "Common Eider"),
        ("Perching Birds", "Wood-Warblers", "Yellow-rumped Warbler"),
    )
    assert tree.shared_levels().tolist() == [[4, 3, 0], [3, 4, 0], [0, 0, 4]]


def test_a_class_right_below_the_root_is_its_own_group():
    assert nabirds.tree(["5"], {"0": "Birds", "5": "Ostrich"}, {"5": "0"}, "hierarchy.txt").paths == (("Ostrich",),)


def test_equal_names_are_told_apart(root):
    write(root, classes=NODES | {"817": "Common  Eider", "295": "Common Eider"})
    assert load(root).class_names[:2] == ["Common Eider (295)", "Common Eider (817)"]


# ------------------------------------------------------------------------------------------------ wrong files


@pytest.mark.parametrize("name", [file.name for file in nabirds.FILES])
def test_missing_files_are_named_with_the_form(root, name):
    (root / name).rename(root / "gone")
    with pytest.raises(MissingData, match=rf"missing {name} from https://dl\.allaboutbirds\.org/nabirds \(fill in"):
        load(root)


def test_wrong_root(tmp_path):
    with pytest.raises(MissingData, match=r"images\.txt.*hierarchy\.txt.*another root"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [nabirds.IMAGES, nabirds.LABELS, nabirds.SPLIT])
@pytest.mark.parametrize("where", ["line", "middle"])
def test_cut_lists_are_named(root, name, where):
    content = (root / name).read_text()
    lines = content.splitlines(keepends=True)
    (root / name).write_text("".join(lines[:-1]) if where == "line" else content[: -len(lines[-1]) + 20])
    match = "do not list the same pictures" if where == "line" else "line 21 .* needs two entries"
    with pytest.raises(ValueError, match=match) as error:
        load(root)
    assert name in str(error.value) and "unpack the archive again" in str(error.value)


def changed(**changes):
    """Tables with one entry of the first picture changed."""
    rows = pictures()
    number = rows[0][0]
    whole = {
        "images": {n: path for n, path, _, _ in rows},
        "labels": {n: node for n, _, node, _ in rows},
        "split": {n: int(train) for n, _, _, train in rows},
    }
    return {key: whole[key] | {number: value} for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed(labels="1011"), r"has class '1011', which classes\.txt does not name"),
        (changed(labels="-1"), r"has class '-1', which"),
        (changed(split="2"), r"has '2', not 1 \(training\) or 0 \(test\)"),
        (changed(images="../../x.jpg"), "does not lie below"),
        (changed(images=pictures()[1][1]), "is named twice"),
        ({"hierarchy": {k: v for k, v in TREE.items() if k != "295"}}, "does not hold class 295"),
        ({"hierarchy": TREE | {"1": "129"}}, "goes in a circle above class 295"),
        ({"hierarchy": TREE | {"129": "77"}}, r"names node 77 above class 295, which classes\.txt does not name"),
        ({"classes": {k: v for k, v in NODES.items() if k != "817"}}, r"class '817', which classes\.txt does not name"),
        ({"labels": {n: "1000" if node == "295" and train else node for n, _, node, train in pictures()}},
         r"1 of 3 classes have no training pictures, e\.g\. 'Common Eider \(Female"),
        ({"images": {}, "labels": {}, "split": {}}, r"images\.txt is empty"),
    ],
    ids=str,
)  # fmt: skip
def test_files_that_do_not_fit_each_other(root, changes, message):
    write(root, **changes)
    with pytest.raises(ValueError, match=message):
        load(root)


def test_lines_twice_and_files_that_are_no_text(root):
    with (root / nabirds.LABELS).open("a") as stream:
        stream.write(f"{pictures()[0][0]} 817\n")
    with pytest.raises(ValueError, match=r"image_class_labels\.txt: line 22 .* a second time"):
        load(root)
    (root / nabirds.LABELS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"image_class_labels\.txt is no text"):
        load(root)


def test_missing_pictures_are_counted(root):
    (root / "images" / pictures()[4][1]).unlink()
    with pytest.raises(MissingData, match=rf"1 of the 21 pictures .*e\.g\. images/{pictures()[4][1]}"):
        load(root)


@pytest.mark.filterwarnings("default:nabirds has")
def test_other_counts_than_published_warn(root):
    with pytest.warns(UserWarning, match=r"has 12 training pictures \(not 23,929\), 9 test pictures \(not 24,633\), 3"):
        load(root)


def test_publishers_facts():
    about = datasets.entries()["nabirds"].about
    assert "Cornell Lab" in about.terms and not any(file.url for file in about.files)
    with pytest.raises(ValueError, match="only fold 0"):
        load("nowhere", fold=1)


def test_the_whole_sequence(root, tmp_path):
    found, images = run_through(tmp_path / "run", "nabirds", root, val=0.3)
    assert found > chance(images)
