"""Data sets of single pictures: lists and trees that lie, pictures that are none, and folders of one's own."""

import numpy as np
import test_coco
import test_nabirds
import test_stanford_cars as cars
from bad_inputs import both, emptied, half, load, nothing, of_files, of_folders, replaced, rewritten, without, written
from PIL import Image
from scipy.io import savemat

# ------------------------------------------------------------------------------------------ NABirds


def birds(place):
    test_nabirds.write(place / "files")
    for _, path, node, train in test_nabirds.pictures():
        test_nabirds.save_picture(place / "files/images" / path, test_nabirds.LABELED.index(node), test=not train)


PICTURE = f"files/images/{test_nabirds.pictures()[0][1]}"
LIST = "files/images.txt"
BIRDS = of_files(
    "the files of NABirds", birds, load("nabirds"),
    *((f"{name} is missing", without(f"files/{name}"), f"missing {name}")
      for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "hierarchy.txt",
                   "images")),
    ("an empty list of images", written(LIST, ""), "do not list the same pictures"),
    ("three empty lists", both(*(emptied(f"files/{name}.txt") for name in (
        "images", "image_class_labels", "train_test_split"))), "images.txt is empty"),
    ("labels that were cut short", rewritten("files/image_class_labels.txt", lambda c: c[: len(c) // 2].rpartition(
        b"\n")[0]), "image_class_labels.txt & stand in one only"),
    ("a split of 2", rewritten("files/train_test_split.txt", replaced(b" 1\n", b" 2\n")), "'2', not 1"),
    ("a class that nobody names", rewritten("files/image_class_labels.txt", replaced(b" 817\n", b" 818\n")), "'818'"),
    ("a class that is no number", rewritten("files/image_class_labels.txt", replaced(b" 817\n", b" gull\n")), "'gull'"),
    ("a line with one entry", rewritten(LIST, lambda c: c + b"alone\n"), "'alone' & two entries"),
    ("a line twice", rewritten(LIST, lambda c: c + c.partition(b"\n")[0] + b"\n"), "a second time"),
    ("a list that is no text", rewritten(LIST, lambda c: b"\xff\xfe" + c), "images.txt is no text"),
    ("a table of another data set", written("files/classes.txt", "0 cat\n1 dog\n"), "classes.txt does not name"),
    ("a circle of classes", rewritten("files/hierarchy.txt", replaced(b"129 1\n", b"129 817\n")), "goes in a circle"),
    ("a class outside of the tree", rewritten("files/hierarchy.txt", replaced(b"817 129\n", b"")), "does not hold"),
    ("a node without name", rewritten("files/hierarchy.txt", replaced(b"129 1\n", b"129 5\n")), "node 5"),
    ("a path out of the folder", rewritten(LIST, replaced(b" ", b" ../../")), "does not lie below"),
    ("an absolute path", rewritten(LIST, lambda c: c.replace(b" ", b" /etc/", 1)), "images//etc/"),
    ("a picture that is missing", without(PICTURE), "1 of the 21 pictures"),
    ("an empty picture", emptied(PICTURE), "missing or empty"),
    ("no training pictures", rewritten("files/train_test_split.txt", lambda c: c.replace(b" 1\n", b" 0\n")),
     "no training pictures"),
)  # fmt: skip

# ------------------------------------------------------------------------------------------ Stanford Cars


def official(**numbers):
    """The official files, whose pictures have the usual classes or these."""

    def make(place):
        cars.write_devkit(place / "files", **numbers)
        cars.write_pictures(place / "files")

    return make


def by_name(**parts):
    """The layout by class names: part → class → number of pictures."""

    def make(place):
        (place / "files/car_data").mkdir(parents=True)
        for part, classes in parts.items():
            for name, count in classes.items():
                for i in range(count):
                    cars.save_picture(place / "files/car_data" / part / name / f"{i}.jpg", 0)

    return make


def saved(name, **variables):
    """A function of a place that writes a MATLAB file."""
    return lambda place: savemat(place / name, variables)


META, TRAINED = "files/devkit/cars_meta.mat", "files/devkit/cars_train_annos.mat"
TESTED = "files/cars_test_annos_withlabels.mat"
UNNUMBERED = cars.struct(cars.rows_of(True), ("fname",))
CARS = [
    *of_files(
        "the files of Stanford Cars", official(), load("stanford_cars"),
        ("everything is missing", without("files"), "devkit/cars_meta.mat"),
        ("the names are missing", without(META), "devkit/cars_meta.mat"),
        ("the test's annotations are missing", without(TESTED), "cars_test_annos_withlabels.mat"),
        ("names that were cut short", rewritten(META, half), "cars_meta.mat cannot be read"),
        ("empty annotations", emptied(TRAINED), "cars_train_annos.mat cannot be read"),
        ("a text for annotations", written(TESTED, "class 1"), "withlabels.mat cannot be read"),
        ("a file of other variables", saved(META, names=1), "no variable 'class_names'"),
        ("names for annotations", saved(TRAINED, **cars.cells(["a"])), "no variable 'annotations'"),
        ("annotations without classes", saved(TESTED, **UNNUMBERED), "no field 'class'"),
        ("annotations that are a number", saved(TESTED, annotations=3), "no field 'fname'"),
        ("a name twice", saved(META, **cars.cells(["a", "a", "b", "c"])), "the same name to two classes"),
        ("fewer names than classes", saved(META, **cars.cells(["a", "b", "c"])), "classes are 1 to 3"),
        ("a picture that is missing", without("files/cars_train/00001.jpg"), "cars_train/00001.jpg"),
        ("an empty picture", emptied("files/cars_test/00002.jpg"), "cars_test/00002.jpg"),
        ("no test pictures", without("files/cars_test"), "16 of the 36 pictures"),
    ),
    *of_folders(
        "the classes of Stanford Cars", load("stanford_cars"),
        ("class 0", official(train=[0, *cars.NUMBERS[False][1:]]), "picture 00001.jpg has class 0"),
        ("class 5 of 4", official(test=[5, *cars.NUMBERS[True][1:]]), "class 5 & 1 to 4"),
        ("a class in words", official(train=["one", *cars.NUMBERS[False][1:]]), "class one"),
        ("a class that nobody tests", official(test=[1, 2, 3] * 5 + [1]), "1 of 4 classes have no test pictures"),
    ),
    *of_folders(
        "the folders of Stanford Cars", load("stanford_cars"),
        ("no folders", by_name(), "car_data has no folders train and test"),
        ("only training pictures", by_name(train={"a": 3}), "car_data has no folders train and test"),
        ("a class that nobody tests", by_name(train={"a": 3, "b": 3}, test={"a": 1}), "no test pictures, e.g. 'b'"),
    ),
]  # fmt: skip

# ------------------------------------------------------------------------------------------ COCO


def coco(place):
    test_coco.write(place / "files")


def edited(change, part="train"):
    """A function of a place that changes the content of an annotation file."""
    return lambda place: test_coco.edit(place / "files", change, part)


ANNOTATED = "files/annotations/instances_train2017.json"
COCO = of_files(
    "the files of COCO", coco, load("coco"),
    ("everything is missing", without("files"), "annotations_trainval2017.zip"),
    ("one file of annotations is missing", without("files/annotations/instances_val2017.json"), "instances_val2017"),
    ("annotations that were cut short", rewritten(ANNOTATED, half), "instances_train2017.json is damaged"),
    ("empty annotations", emptied(ANNOTATED), "instances_train2017.json is damaged"),
    ("annotations that are a list", written(ANNOTATED, "[]"), "instances_train2017.json is damaged"),
    ("annotations without end", written(ANNOTATED, "[" * 100_000), "instances_train2017.json is damaged"),
    ("annotations that are no text", written(ANNOTATED, b"\xff\xfe\x00"), "instances_train2017.json is damaged"),
    ("captions", edited(lambda data: data.pop("categories")), "KeyError: 'categories'"),
    ("pictures without names", edited(lambda data: data["images"][0].pop("file_name")), "instances_train2017.json"),
    ("pictures that are a number", edited(lambda data: data.update(images=3)), "instances_train2017.json is damaged"),
    ("a number in words", edited(lambda data: data["images"][0].update(id="first")), "'first'"),
    ("a number beyond 63 bits", edited(lambda data: data["annotations"][0].update(image_id=2**70)), "damaged"),
    ("an unknown picture", edited(lambda data: data["annotations"][0].update(image_id=77)), "picture 77"),
    ("an unknown category", edited(lambda data: data["annotations"][0].update(category_id=5)), "category 5"),
    ("a category of other names", edited(lambda data: data["categories"][0].update(name="bike")), "other categories"),
    ("a category twice", both(*(edited(lambda d: d["categories"].append(
        d["categories"][0] | {"name": "bike"}), part) for part in ("train", "val"))), "a category twice"),
    ("a picture twice", edited(lambda data: data["images"].append(data["images"][0])), "lists a picture twice"),
    ("a picture of both parts", edited(lambda data: data["images"].append({"id": 8, "file_name": "x"})),
     "one of the other file"),
    ("two names for one file", edited(lambda data: data["images"][0].update(file_name=data["images"][1]["file_name"])),
     "is named twice"),
    ("a path out of the folder", edited(lambda data: data["images"][0].update(file_name="../../x.jpg")), "../../x.jpg"),
    ("no pictures", both(*(edited(lambda d: d.update(images=[], annotations=[]), part) for part in (
        "train", "val"))), "no categories or no pictures"),
    ("too few pictures", lambda p: edited(lambda d: d.update(annotations=d["annotations"][:2]))(p), "coco"),
    ("pictures that are not unpacked", both(without("files/train2017"), written("files/train2017.zip", "")),
     "train2017.zip & is not unpacked"),
    ("pictures that are missing", without("files/val2017"), "val2017.zip & is missing"),
    ("one picture that is missing", without("files/val2017/000000000008.jpg"), "val2017/000000000008.jpg"),
)  # fmt: skip

# ------------------------------------------------------------------------------------------ one's own pictures


def album(*folders, count=4):
    """Folders of small pictures below the root."""

    def make(place):
        (place / "files").mkdir()
        for number, folder in enumerate(folders):
            (place / "files" / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = np.random.default_rng(100 * number + i).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(place / "files" / folder / f"{i}.png")

    return make


PAIR = album("cat", "dog")
OWN = [
    *of_files(
        "a folder of one's own", PAIR, load("image_folder", unreadable="fail"),
        ("missing", without("files"), "files is not there"),
        ("a file", both(without("files"), written("files", "text")), "files is a file"),
        ("half a picture", rewritten("files/cat/1.png", half), "cat/1.png & unreadable='skip'"),
        ("an empty picture", emptied("files/cat/2.png"), "cat/2.png (the file is empty)"),
        ("a text as a picture", written("files/dog/text.jpg", "no picture"), "dog/text.jpg"),
        ("a format that is not read", written("files/dog/a.heic", b"ftypheic"), "dog/a.heic & convert it"),
        ("too many pixels", written("files/dog/bomb.ppm", b"P6 60000 60000 255\n" + bytes(99)), "dog/bomb.ppm"),
    ),
    *of_folders(
        "folders of one's own", load("image_folder"),
        ("nothing in it", album(), "files holds no images"),
        ("one class", album("cat"), "1 class folder(s)"),
        ("pictures without classes", album("."), "0 class folder(s)"),
        ("too few pictures", album("cat", "dog", count=3), "cat (3), dog (3)"),
        ("ready-made splits", album("train/cat", "train/dog", "test/cat"), "test, train look like splits"),
        ("splits in every class", album("cat/train", "cat/test", "dog/train", "dog/test"), "look like splits"),
        ("hidden classes", album(".cat", ".dog"), "0 class folder(s)"),
    ),
    *of_files("the options of one's own", PAIR, load("image_folder", fold=1), ("a fold", nothing, "fold=1")),
    *of_files("the options of one's own", PAIR, load("image_folder", folder="files/cat/1.png"),
              ("a picture as the root", nothing, "1.png is a file")),
    *of_files(
        "folders with damage", PAIR, load("image_folder"),
        ("no picture can be read", lambda place: [
            file.write_bytes(b"") for file in (place / "files").rglob("*.png")], "cat (0), dog (0)"),
        ("one class cannot be read", lambda place: [
            file.write_bytes(b"\x89PNG") for file in (place / "files/cat").iterdir()], "cat (0)"),
    ),
]  # fmt: skip

CASES = [*BIRDS, *CARS, *COCO, *OWN]
