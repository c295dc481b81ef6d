"""Stanford Cars from each layout: what a picture shows is its label, whatever the file's order of fields."""

import doctest
import shutil
from pathlib import Path

import numpy as np
import pytest
from colored import check_pictures, check_replaced, save_picture
from scipy.io import loadmat, savemat
from whole import chance, run_through

from shc import datasets
from shc.datasets import stanford_cars as cars
from shc.datasets.sources import MissingData

pytestmark = pytest.mark.filterwarnings("ignore:stanford_cars has")

# In the files' order, which is not that of the names.
NAMES = [
    "AM General Hummer SUV 2000",
    "Acura TL Sedan 2012",
    "Acura Integra Type R 2001",
    "Ram C/V Cargo Van Minivan 2012",
]
SORTED = ["AM General Hummer SUV 2000", "Acura Integra Type R 2001", "Acura TL Sedan 2012",
          "Ram C-V Cargo Van Minivan 2012"]  # fmt: skip
SHOWN = [0, 2, 1, 3]  # place of each of NAMES among the sorted ones: the color it is drawn in
IN_FILE = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
IN_README = ("bbox_x1", "bbox_x2", "bbox_y1", "bbox_y2", "class", "fname")
ONE_FILE = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
# Class numbers (from 1) of the pictures 00001.jpg and so on: 5 and 4 per class, mixed.
NUMBERS = {False: [3, 1, 4, 2, 2, 1, 3, 4, 1, 3, 2, 4, 4, 3, 2, 1, 1, 2, 3, 4], True: [2, 1, 4, 3] * 4}


def struct(rows, fields):
    """A struct array [1, N] of objects, as MATLAB saves it."""
    array = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for i, row in enumerate(rows):
        for field in fields:
            value = row.get(field, 7)
            array[0, i][field] = value if isinstance(value, str) else np.array([[value]], dtype=np.uint8)
    return {"annotations": array}


def cells(names):
    array = np.empty((1, len(names)), dtype=object)
    array[0] = names
    return {"class_names": array}


def rows_of(test, numbers=None):
    return [
        {"fname": f"{i:05}.jpg", "class": number}
        for i, number in enumerate(NUMBERS[test] if numbers is None else numbers, start=1)
    ]


def write_devkit(root, fields=IN_FILE, names=NAMES, test_file="cars_test_annos_withlabels.mat", **numbers):
    (root / "devkit").mkdir(parents=True, exist_ok=True)
    savemat(root / "devkit" / "cars_meta.mat", cells(names))
    savemat(root / "devkit" / "cars_train_annos.mat", struct(rows_of(False, numbers.get("train")), fields))
    savemat(root / test_file, struct(rows_of(True, numbers.get("test")), fields))


def write_pictures(root):
    for test, folder in ((False, "cars_train"), (True, "cars_test")):
        for row in rows_of(test):
            save_picture(root / folder / row["fname"], SHOWN[row["class"] - 1], test)


@pytest.fixture
def official(tmp_path):
    write_devkit(tmp_path)
    write_pictures(tmp_path)
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    """The layout in circulation: the same pictures under the names of their classes."""
    root = tmp_path / "folders"
    for test, folder in ((False, "train"), (True, "test")):
        for row in rows_of(test):
            name = NAMES[row["class"] - 1].replace("/", "-")
            save_picture(root / "car_data" / "car_data" / folder / name / row["fname"], SHOWN[row["class"] - 1], test)
    return root


@pytest.fixture
def small_b(monkeypatch):
    """Protocol b with 3 training and 2 query pictures per class."""
    monkeypatch.setattr(cars, "TRAIN", 3)
    monkeypatch.setattr(cars, "QUERY", 2)


def load(root, **options):
    images = datasets.load("stanford_cars", **({"root": str(root), "size": 16, "val": 0} | options))
    datasets.check_files("stanford_cars", str(root))  # refuses nothing that can be loaded
    return images


def test_examples():
    assert doctest.testmod(cars).failed == 0


# ------------------------------------------------------------------------------------------------ layouts


def test_files_of_this_test_have_the_structure_of_the_official_ones(official):
    """As public readers index them: annotations[0][i]["fname"][0], ["class"][0, 0]; class_names[0][i][0]."""
    train = loadmat(official / "devkit" / "cars_train_annos.mat")["annotations"]
    assert train.shape == (1, 20) and train.dtype.names == IN_FILE
    assert all(train.dtype[field].kind == "O" for field in IN_FILE)
    assert train[0][0]["fname"].shape == (1,) and train[0][0]["fname"][0] == "00001.jpg"
    assert train[0][0]["class"].shape == (1, 1) and train[0][0]["class"][0, 0] == 3
    assert train[0][0]["class"].dtype == np.uint8
    names = loadmat(official / "devkit" / "cars_meta.mat")["class_names"]
    assert names.shape == (1, 4) and names[0][3][0] == "Ram C/V Cargo Van Minivan 2012"


@pytest.mark.parametrize("fields", [IN_FILE, IN_README, IN_FILE[::-1]], ids=["file", "readme", "reversed"])
def test_labels_are_what_the_pictures_show_whatever_the_order_of_fields(official, fields):
    write_devkit(official, fields)
    images = load(official)
    assert images.class_names == SORTED
    test = check_pictures(images)
    assert np.flatnonzero(~test).tolist() == images.splits["train"].tolist() == images.splits["database"].tolist()
    assert np.flatnonzero(test).tolist() == images.splits["query"].tolist()
    assert (len(images.splits["train"]), len(images.splits["query"])) == (20, 16)


def test_test_annotations_may_lie_in_the_devkit(official):
    file = official / "cars_test_annos_withlabels.mat"
    shutil.move(file, official / "devkit" / file.name)
    assert len(load(official).splits["query"]) == 16


@pytest.mark.parametrize("protocol", ["a", "b"])
def test_both_layouts_give_the_same_rows_and_splits(official, folders, small_b, protocol):
    first, second = load(official, protocol=protocol, val=0.3), load(folders, protocol=protocol, val=0.3)
    check_pictures(second)
    assert first.class_names == second.class_names and first.labels.tolist() == second.labels.tolist()
    assert first.images.tolist() == second.images.tolist()
    assert {k: v.tolist() for k, v in first.splits.items()} == {k: v.tolist() for k, v in second.splits.items()}
    assert first.hierarchy == second.hierarchy


@pytest.mark.parametrize("folder", ["car_data", "."])
def test_folders_may_lie_higher_and_hold_other_files(folders, folder):
    shutil.move(folders / "car_data" / "car_data", folders / "found")
    shutil.rmtree(folders / "car_data")
    if folder == ".":
        for part in ("train", "test"):
            shutil.move(folders / "found" / part, folders / part)
    else:
        shutil.move(folders / "found", folders / folder)
    (folders / folder / "train" / ".DS_Store").write_bytes(b"x")
    (folders / folder / "train" / SORTED[0] / "notes.txt").write_text("x")
    check_pictures(load(folders))


def test_one_file_for_all_pictures(tmp_path):
    rows, number = [], 0
    for label in (1, 2, 3, 4):  # the official numbering follows the classes
        for test in (0, 1, 0, 1, 0):
            number += 1
            rows.append({"relative_im_path": f"car_ims/{number:06}.jpg", "class": label, "test": test})
            save_picture(tmp_path / rows[-1]["relative_im_path"], SHOWN[label - 1], bool(test))
    savemat(tmp_path / "cars_annos.mat", struct(rows, ONE_FILE) | cells(NAMES))
    images = load(tmp_path)
    test = check_pictures(images)
    assert np.flatnonzero(test).tolist() == images.splits["query"].tolist() == list(range(12, 20))


def test_a_picture_that_was_replaced_is_seen(official, tmp_path_factory):
    check_replaced(load, official, official / "cars_train" / "00001.jpg", 0, tmp_path_factory.mktemp("copy") / "cars")


def test_another_annotation_or_picture_changes_the_fingerprint(official):
    before = load(official).fingerprint
    assert load(official).fingerprint == before
    with (official / "cars_train" / "00001.jpg").open("ab") as stream:
        stream.write(b"x")
    changed = load(official).fingerprint
    write_devkit(official, train=NUMBERS[False][::-1])
    assert len({before, changed, load(official).fingerprint}) == 3


# ------------------------------------------------------------------------------------------------ protocols


def official_labels():
    """Labels of 16,185 pictures in 196 classes of 48 to 117."""
    sizes = 48 + np.random.default_rng(0).multinomial(16185 - 48 * 196, np.linspace(0.4, 1.6, 196) / 196)
    return np.random.default_rng(1).permutation(np.repeat(np.arange(196), sizes))


def test_protocol_b_has_the_papers_sizes_and_is_disjoint():
    labels = official_labels()
    splits = cars.drawn(labels, seed=3)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 5880, "query": 1958, "database": 8347}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(16185))
    assert set(np.bincount(labels[splits["train"]])) == {30}
    queries, sizes = np.bincount(labels[splits["query"]]), np.bincount(labels)
    assert sorted(queries)[:3] == [9, 9, 10] and queries.max() == 10
    assert sizes[queries == 9].max() <= sizes[queries == 10].min()
    again, other = cars.drawn(labels, seed=3), cars.drawn(labels, seed=4)
    assert all(np.array_equal(splits[name], again[name]) for name in splits)
    assert not np.array_equal(splits["train"], other["train"])


def test_protocol_b_draws_from_both_official_parts(official, small_b):
    images = load(official, protocol="b")
    test = check_pictures(images)
    assert {name: len(rows) for name, rows in images.splits.items()} == {"train": 12, "query": 6, "database": 18}
    assert 0 < test[images.splits["train"]].sum() < 12
    assert images.fingerprint != load(official, protocol="b", seed=1).fingerprint


def test_protocol_b_refuses_small_classes(official):
    with pytest.raises(ValueError, match="class 0 has 9 images, but the splits"):
        load(official, protocol="b")


# ------------------------------------------------------------------------------------------------ tree


def test_tree_of_types_and_makes(official):
    tree = load(official).hierarchy
    assert tree.paths == (
        ("SUV", "AM General SUV"),
        ("Coupe", "Acura Coupe"),
        ("Sedan", "Acura Sedan"),
        ("Van", "Ram Van"),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ford Ranger SuperCab 2011", ("Pickup", "Ford")),
        ("Ford E-Series Wagon Van 2012", ("Van", "Ford")),
        ("Infiniti G Coupe IPL 2012", ("Coupe", "Infiniti")),
        ("Aston Martin V8 Vantage Convertible 2012", ("Convertible", "Aston Martin")),
        ("Chevrolet HHR SS 2010", ("Wagon", "Chevrolet")),
        ("Trabant 601 1964", ("other", "Trabant")),
    ],
)
def test_type_and_make_of_a_name(name, expected):
    assert (cars.body_type(name), cars.make(name)) == expected


def test_the_table_holds_only_names_without_a_type():
    assert len(cars.UNTYPED) == 14 and set(cars.UNTYPED.values()) <= set(cars.TYPES.values())
    assert not any(word in cars.TYPES for name in cars.UNTYPED for word in name.split())


# ------------------------------------------------------------------------------------------------ wrong files


@pytest.mark.parametrize("what", ["nothing", "no folder", "train annotations", "names", "test annotations", "empty"])
def test_missing_annotations_are_named(official, tmp_path, what):
    root, expected = official, "cars_train_annos.mat"
    if what == "nothing":
        root = tmp_path / "other"
        root.mkdir()
    elif what == "no folder":
        root = tmp_path / "nowhere"
    elif what == "train annotations":
        (root / "devkit" / "cars_train_annos.mat").unlink()
    elif what == "names":
        expected = "devkit/cars_meta.mat"
        (root / expected).unlink()
    elif what == "test annotations":
        expected = "cars_test_annos_withlabels.mat"
        (root / expected).unlink()
    else:
        root, expected = tmp_path / "b", "car_data has no folders train and test"
        (root / "car_data").mkdir(parents=True)
    with pytest.raises(MissingData, match=expected) as error:
        load(root)
    assert str(root) in str(error.value) and "another root" in str(error.value)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.95])
def test_cut_annotations_are_named(official, kept):
    file = official / "devkit" / "cars_train_annos.mat"
    content = file.read_bytes()
    file.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(ValueError, match=r"cars_train_annos\.mat cannot be read as a MATLAB file .*fetch it again"):
        load(official)


@pytest.mark.parametrize("number", [0, 5])
def test_class_numbers_outside_of_the_names(official, number):
    write_devkit(official, train=[number, *NUMBERS[False][1:]])
    with pytest.raises(ValueError, match=rf"train_annos\.mat: picture 00001\.jpg has class {number}, .* are 1 to 4"):
        load(official)


def test_test_annotations_without_classes(official):
    savemat(official / "cars_test_annos_withlabels.mat", struct(rows_of(True), [f for f in IN_FILE if f != "class"]))
    with pytest.raises(ValueError, match="no field 'class'; test annotations without classes do not serve"):
        load(official)


def test_another_mat_file(official):
    savemat(official / "devkit" / "cars_meta.mat", {"names": np.zeros(3)})
    with pytest.raises(ValueError, match=r"cars_meta\.mat has no variable 'class_names'"):
        load(official)


def test_two_classes_of_one_name(official):
    write_devkit(official, names=[*NAMES[:3], NAMES[0]])
    with pytest.raises(ValueError, match="the same name to two classes"):
        load(official)


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_without_pictures(official, part):
    numbers = [1 if number == 4 else number for number in NUMBERS[part == "test"]]
    write_devkit(official, **{part: numbers})
    what = "training" if part == "train" else "test"
    with pytest.raises(ValueError, match=rf"1 of 4 classes have no {what} pictures, e\.g\. 'Ram C-V"):
        load(official)


def test_class_folder_without_pictures(folders):
    (folders / "car_data" / "car_data" / "train" / "Audi TT Hatchback 2011").mkdir()
    with pytest.raises(ValueError, match=r"1 of 5 classes have no training pictures, e\.g\. 'Audi TT"):
        load(folders)
    shutil.rmtree(folders / "car_data" / "car_data" / "train")
    shutil.rmtree(folders / "car_data" / "car_data" / "test")
    for part in ("train", "test"):
        (folders / "car_data" / "car_data" / part).mkdir()
    with pytest.raises(MissingData, match="has no pictures in train/CLASS"):
        load(folders)


def test_missing_pictures_are_counted(official):
    (official / "cars_test" / "00003.jpg").unlink()
    (official / "cars_train" / "00009.jpg").write_bytes(b"")
    with pytest.raises(MissingData, match=r"2 of the 36 pictures .* missing or empty, e\.g\. cars_train/00009\.jpg"):
        load(official)


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "..\\x.jpg", "00002.jpg"])
def test_pictures_outside_of_the_root_or_named_twice(official, path):
    rows = rows_of(False)
    rows[0]["fname"] = path
    savemat(official / "devkit" / "cars_train_annos.mat", struct(rows, IN_FILE))
    (official.parent / "x.jpg").write_bytes(b"secret")
    with pytest.raises(ValueError, match="is named twice" if path == "00002.jpg" else "does not lie below"):
        load(official)


def test_absolute_paths_are_refused(tmp_path):
    rows = [{"relative_im_path": str(tmp_path / "x.jpg"), "class": n, "test": t} for t in (0, 1) for n in (1, 2, 3, 4)]
    savemat(tmp_path / "cars_annos.mat", struct(rows, ONE_FILE) | cells(NAMES))
    with pytest.raises(ValueError, match="does not lie below"):
        load(tmp_path)


@pytest.mark.filterwarnings("default:stanford_cars has")
def test_other_counts_than_published_warn(official):
    with pytest.warns(UserWarning, match=r"has 20 training pictures \(not 8,144\), 16 test pictures \(not 8,041\), 4"):
        load(official)


def test_publishers_facts():
    about = datasets.entries()["stanford_cars"].about
    assert {Path(file.name).name for file in about.files} >= {"cars_meta.mat", "cars_train_annos.mat", "cars_test"}
    assert not any(file.url for file in about.files) and "research" in about.terms
    with pytest.raises(ValueError, match="only fold 0"):
        load("nowhere", fold=1)


def test_the_whole_sequence(official, tmp_path):
    found, images = run_through(tmp_path / "run", "stanford_cars", official, val=0.3)
    assert found > chance(images)
