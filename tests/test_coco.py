"""MS COCO: label sets by the official numbers of pictures and categories, which have gaps and no order."""

import doctest
import json
import shutil

import numpy as np
import pytest
from colored import check_replaced, save_picture, shown
from whole import chance, run_through

from shc import datasets
from shc.datasets import coco
from shc.datasets.sources import MissingData

pytestmark = pytest.mark.filterwarnings("ignore:coco has")

# As the official files write them, but out of order; label 0 is person, 3 the toothbrush.
CATEGORIES = [
    {"supercategory": "vehicle", "id": 13, "name": "bicycle"},
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "indoor", "id": 90, "name": "toothbrush"},
    {"supercategory": "vehicle", "id": 27, "name": "train"},
]
NUMBERS = [1, 13, 27, 90]
# Numbers of the pictures: those of val lie between those of train.
PICTURES = {"train": [9, 25, 30, 34, 36, 49, 61, 64, 71, 72, 581929], "val": [8, 33, 139, 285, 632]}
EMPTY = [49, 139]  # without any annotation


def sets():
    """Label set of every picture, by its number; the first label is the color."""
    numbers = sorted(n for n in PICTURES["train"] + PICTURES["val"] if n not in EMPTY)
    return {n: sorted({i % 4, i * i % 4}, key=lambda c: c != i % 4) for i, n in enumerate(numbers)}


def file_name(number, part, year):
    return f"{number:012}.jpg" if year == "2017" else f"COCO_{part}2014_{number:012}.jpg"


def content(part, year="2017"):
    images = [
        {"license": 4, "file_name": file_name(n, part, year), "height": 16, "width": 20, "id": n}
        for n in PICTURES[part][::-1]
    ]
    annotations = []
    for n in PICTURES[part]:
        for label in sets().get(n, []):
            outline = {"counts": [1, 2], "size": [16, 20]} if label == 3 else [[1.5, 2, 3, 4, 5, 6]]
            entry = {"segmentation": outline, "area": 2.5, "iscrowd": int(label == 3), "image_id": n}
            annotations += [entry | {"bbox": [1, 2, 3, 4], "category_id": NUMBERS[label], "id": len(annotations)}] * 2
    return {"info": {"year": 2017}, "licenses": [{"id": 4, "name": "x", "url": "y"}], "images": images,
            "annotations": annotations[::-1], "categories": CATEGORIES}  # fmt: skip


def annotation_file(root, part, year="2017"):
    return root / "annotations" / f"instances_{part}{year}.json"


def write(root, year="2017"):
    for part, numbers in PICTURES.items():
        file = annotation_file(root, part, year)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content(part, year)))
        for n in numbers:
            if n not in EMPTY:  # the loader does not need them
                save_picture(root / f"{part}{year}" / file_name(n, part, year), sets()[n][0], part == "val")
    return root


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data set of 14 pictures with labels; the splits are drawn in small."""
    monkeypatch.setattr(coco, "COUNTS", {"query": 3, "train": 5})
    return write(tmp_path / "coco")


def load(root, **options):
    images = datasets.load("coco", **({"root": str(root), "size": 16, "val": 0} | options))
    datasets.check_files("coco", str(root))  # refuses nothing that can be loaded
    return images


def edit(root, change, part="train"):
    """Rewrite an annotation file after `change` has worked on its content."""
    file = annotation_file(root, part)
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_examples():
    assert doctest.testmod(coco).failed == 0


# ------------------------------------------------------------------------------------------------ labels and splits


def test_label_sets_are_those_of_the_pictures(root):
    images = load(root)
    assert images.class_names == ["person", "bicycle", "train", "toothbrush"]
    assert images.hierarchy.paths == (("person",), ("vehicle",), ("vehicle",), ("indoor",))
    numbers = sorted(sets())
    assert images.labels.shape == (14, 4) and str(images.labels.dtype) == "torch.bool"
    assert [sorted(sets()[n]) for n in numbers] == [np.flatnonzero(row).tolist() for row in images.labels.numpy()]
    expected = [(sets()[n][0], n in PICTURES["val"]) for n in numbers]
    assert shown(images.images) == expected
    assert images.parameters["dropped"] == 2
    assert images.train_classes.tolist() == np.flatnonzero(images.split("train")[1].any(0)).tolist()


def test_a_picture_that_was_replaced_is_seen(root, tmp_path):
    file = root / "val2017" / file_name(min(sets()), "val", "2017")
    check_replaced(load, root, file, 0, tmp_path / "copy")


def test_both_years_give_the_same_rows_and_splits(root, tmp_path):
    first, second = load(root), load(write(tmp_path / "2014", "2014"))
    assert first.images.tolist() == second.images.tolist() and first.labels.tolist() == second.labels.tolist()
    assert {k: v.tolist() for k, v in first.splits.items()} == {k: v.tolist() for k, v in second.splits.items()}


def test_protocols(root):
    splits = {
        protocol: {name: set(rows.tolist()) for name, rows in load(root, protocol=protocol).splits.items()}
        for protocol in ("hashnet", "disjoint")
    }
    hashnet, disjoint = splits["hashnet"], splits["disjoint"]
    assert [len(hashnet[name]) for name in ("query", "train", "database")] == [3, 5, 11]
    assert hashnet["train"] < hashnet["database"] and not hashnet["query"] & hashnet["database"]
    assert hashnet["query"] == disjoint["query"] and hashnet["train"] == disjoint["train"]
    assert disjoint["database"] == hashnet["database"] - hashnet["train"]
    assert load(root).fingerprint == load(root).fingerprint != load(root, seed=1).fingerprint


def test_full_size():
    splits = coco.drawn(122218, "disjoint", seed=0)
    assert {name: len(rows) for name, rows in splits.items()} == {"query": 5000, "train": 10000, "database": 107218}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(122218))
    assert np.array_equal(splits["train"], coco.drawn(122218, "hashnet", seed=0)["train"])
    assert not np.array_equal(splits["train"], coco.drawn(122218, "hashnet", seed=1)["train"])


def test_outlines_are_not_kept_while_parsing(root):
    listed, annotated, categories = coco._parsed(annotation_file(root, "train"))
    assert len(listed) == 11 and annotated.shape[1] == 2 and set(categories) == set(NUMBERS)
    assert coco._slim(content("train")["annotations"][0]) in map(tuple, annotated.tolist())


# ------------------------------------------------------------------------------------------------ wrong files


def test_wrong_root_names_the_archives(tmp_path):
    with pytest.raises(MissingData, match=r"annotations_trainval2017\.zip .*train2017\.zip .*`shc datasets coco --dow"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("year", ["2017", "2014"])
def test_one_annotation_file_is_missing(tmp_path, year):
    root = write(tmp_path, year)
    annotation_file(root, "val", year).unlink()
    for folder in ("train2017", "val2017"):
        (root / folder).mkdir(exist_ok=True)
    with pytest.raises(MissingData, match=rf"instances_val{year}\.json not found .*unpack annotations_trainval{year}"):
        load(root)


def test_packed_or_missing_pictures(root):
    shutil.rmtree(root / "train2017")
    with pytest.raises(MissingData, match=r"train2017\.zip in .* is missing: get it"):
        load(root)
    (root / "train2017.zip").write_bytes(b"x")
    with pytest.raises(MissingData, match=r"train2017\.zip in .* is not unpacked: unpack it there"):
        load(root)


def test_missing_pictures_are_counted(root):
    (root / "val2017" / "000000000033.jpg").unlink()
    with pytest.raises(MissingData, match=r"1 of the 14 pictures .*e\.g\. val2017/000000000033\.jpg"):
        load(root)


@pytest.mark.parametrize("text", ["", "[1]", "{}", "cut", '{"images": [], "annotations": [], "categories": [7]}'])
def test_damaged_annotations_are_named(root, text):
    file = annotation_file(root, "train")
    file.write_text(file.read_text()[:-300] if text == "cut" else text)
    with pytest.raises(ValueError, match=r"instances_train2017\.json is damaged, was cut short, .* unpack"):
        load(root)


def test_annotations_of_another_kind(root):
    def captions(data):
        data["annotations"] = [{"image_id": 9, "id": 1, "caption": "a dog"}]

    edit(root, captions)
    with pytest.raises(ValueError, match="holds no annotations of instances"):
        load(root)


def rename(data):
    data["categories"][0]["name"] = "bike"


def twice(data):
    data["images"].append(data["images"][0])


def from_other_file(data):
    data["images"][0]["id"] = 9


def wrong_category(data):
    data["annotations"][0]["category_id"] = 2


def wrong_picture(data):
    data["annotations"][0]["image_id"] = 7


def outside(data):
    data["images"][0]["file_name"] = "../../x.jpg"


@pytest.mark.parametrize(
    ("change", "part", "message"),
    [
        (rename, "val", "has other categories than the file before"),
        (twice, "train", "lists a picture twice"),
        (from_other_file, "val", "or one of the other file"),
        (wrong_category, "train", "an annotation has category 2, which does not stand under 'categories'"),
        (wrong_picture, "train", "an annotation has picture 7, which does not stand under 'images'"),
        (outside, "train", "does not lie below"),
    ],
)
def test_files_that_were_changed(root, change, part, message):
    edit(root, change, part)
    with pytest.raises(ValueError, match=message):
        load(root)


def test_category_without_pictures(root):
    for part in PICTURES:
        edit(root, lambda data: data["categories"].append({"supercategory": "x", "id": 5, "name": "airplane"}), part)
    with pytest.raises(ValueError, match=r"1 of 5 classes have no pictures, e\.g\. 'airplane'"):
        load(root)


def test_no_pictures_at_all(root):
    for part in PICTURES:
        edit(root, lambda data: data.update(images=[], annotations=[]), part)
    with pytest.raises(ValueError, match="list no categories or no pictures"):
        load(root)


def test_too_few_pictures_for_the_protocol(root, monkeypatch):
    monkeypatch.setattr(coco, "COUNTS", {"query": 5, "train": 9})
    with pytest.raises(ValueError, match="coco has 14 pictures, but its splits need more than 14"):
        load(root)


@pytest.mark.filterwarnings("default:coco has")
def test_other_counts_than_published_warn(root):
    with pytest.warns(UserWarning, match=r"has 14 pictures with labels \(not 122,218\), 2 pictures without \(not"):
        load(root)


def test_publishers_facts():
    about = datasets.entries()["coco"].about
    assert "CC BY 4.0" in about.terms and "Flickr" in about.terms
    assert [(file.name, len(file.md5), file.instead) for file in about.files] == [
        ("annotations_trainval2017.zip", 32, "annotations"),
        ("train2017.zip", 32, "train2017"),
        ("val2017.zip", 32, "val2017"),
    ]
    with pytest.raises(ValueError, match="only fold 0"):
        load("nowhere", fold=1)


def test_the_whole_sequence(root, tmp_path):
    found, images = run_through(tmp_path / "run", "coco", root, val=0.3)
    assert found > chance(images)
