"""Stanford Cars: 16,185 photographs of 196 models of cars (Krause et al., 3D Object Representations, 2013).

Read from the official annotation files, or from the folders by class name in which the data set circulates since its
site is gone. Both give the same classes, rows and splits: classes are in the order of their names (the official
numbers are not, and the folders do not have them), rows in that of the split and of the file names. The single
`cars_annos.mat` numbers the pictures in another way: the same protocol draws other pictures there.
Pictures are kept whole; the bounding boxes are not used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.listed import check_every_class, listed_pictures, warn_of_other_counts
from shc.datasets.sources import MissingData, SourceFile, data_root, require
from shc.datasets.splits import assembled, draw
from shc.datasets.streams import images_of_files
from shc.hierarchy import Hierarchy
from shc.image_files import SUFFIXES
from shc.mat_files import check_mat

OFFICIAL = {"training pictures": 8144, "test pictures": 8041, "classes": 196}
TRAIN, QUERY, SHORT_OF_ONE = 30, 10, 2  # protocol b: pictures per class; so many classes give one query less
FOLDERS = ("car_data/car_data", "car_data", ".")  # where train/ and test/ by class name may lie
_NOTE = "someone who has a copy (the official site is gone)"
FILES = tuple(
    SourceFile(name, instead="car_data", note=_NOTE)
    for name in (
        "devkit/cars_meta.mat",
        "devkit/cars_train_annos.mat",
        "cars_test_annos_withlabels.mat",
        "cars_train",
        "cars_test",
    )
)

MAKES_OF_TWO_WORDS = ("AM General", "Aston Martin", "Land Rover")
# Words of the class names that tell the type of body.
TYPES = {"SUV": "SUV", "Sedan": "Sedan", "Coupe": "Coupe", "Convertible": "Convertible", "Hatchback": "Hatchback",
         "Wagon": "Wagon", "Van": "Van", "Minivan": "Van", "Cab": "Pickup", "SuperCab": "Pickup"}  # fmt: skip
# The 14 official names without such a word, by what was sold under them.
UNTYPED = {
    "Acura Integra Type R 2001": "Coupe",
    "Acura TL Type-S 2008": "Sedan",
    "Buick Regal GS 2012": "Sedan",
    "Chevrolet Cobalt SS 2010": "Coupe",
    "Chevrolet Corvette Ron Fellows Edition Z06 2007": "Coupe",
    "Chevrolet Corvette ZR1 2012": "Coupe",
    "Chevrolet HHR SS 2010": "Wagon",
    "Chevrolet TrailBlazer SS 2009": "SUV",
    "Chrysler 300 SRT-8 2010": "Sedan",
    "Dodge Challenger SRT8 2011": "Coupe",
    "Dodge Charger SRT-8 2009": "Sedan",
    "FIAT 500 Abarth 2012": "Hatchback",
    "Jaguar XK XKR 2012": "Coupe",
    "Lamborghini Gallardo LP 570-4 Superleggera 2012": "Coupe",
}


@dataclass(frozen=True, eq=False)
class Cars:
    """What the files say: `paths` below the root, `labels` int64 [N], `test` bool [N], training pictures first."""

    paths: list[str]
    labels: np.ndarray
    test: np.ndarray
    class_names: list[str]
    annotations: list[Path]


@dataset(
    "stanford_cars",
    protocols=("a", "b"),
    about=About(
        classes="196 (make, model, year) in 8 types of body",
        images="8,144 + 8,041, photographs",
        terms="research only (the pictures belong to their owners)",
        files=FILES,
        layouts=("devkit/cars_train_annos.mat", "cars_annos.mat", "car_ims", "train", "test"),
        drawn="the splits are official, or drawn by the seed",
    ),
)
def stanford_cars(options: Options) -> ImageSet:
    """Stanford Cars: photographs of 196 models, in a tree of types of body and makes.

    Protocol `a`: the official split; the database is the 8,144 training pictures, 8,041 test pictures ask. Protocol
    `b`: 5,880 training, 1,958 query and 8,347 database pictures, drawn by class from all 16,185 (`drawn`).
    Raises ValueError (MissingData where files are not there) that says which file and what to do.
    """
    root = data_root(options.name, options.root)
    cars = read_cars(root)
    for test, what in ((False, "training pictures"), (True, "test pictures")):
        check_every_class(options.name, cars.labels[cars.test == test], cars.class_names, what)
    found = (int((~cars.test).sum()), int(cars.test.sum()), len(cars.class_names))
    warn_of_other_counts(options.name, dict(zip(OFFICIAL, found, strict=True)), OFFICIAL)
    files, source, state = listed_pictures(options.name, root, cars.paths, cars.annotations)
    if options.protocol == "a":
        train = np.flatnonzero(~cars.test)
        splits = {"train": train, "query": np.flatnonzero(cars.test), "database": train}
    else:
        splits = drawn(cars.labels, options.seed)
    return assembled(
        options,
        images=images_of_files(files, options.size, state),
        labels=cars.labels,
        splits=splits,
        class_names=cars.class_names,
        hierarchy=tree(cars.class_names),
        source=source,
        state=state,
    )


def drawn(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Protocol `b`, disjoint: 30 training and 10 query pictures of every class, the rest is the database.

    The paper's 1,958 queries are two less than 196 × 10, and it does not say which; here the two classes with the
    fewest pictures give 9. Raises ValueError for a class with fewer than 40.

    >>> {name: len(rows) for name, rows in drawn(np.repeat([0, 1, 2], [48, 50, 60]), seed=0).items()}
    {'train': 90, 'query': 28, 'database': 40}
    """
    splits = draw(labels, {"train": TRAIN, "query": QUERY, "database": -1}, seed)
    query = splits["query"]
    smallest = np.argsort(np.bincount(labels), kind="stable")[:SHORT_OF_ONE]
    back = np.array([query[labels[query] == label][-1] for label in smallest])
    splits["query"] = np.setdiff1d(query, back)
    splits["database"] = np.union1d(splits["database"], back)
    return splits


def tree(class_names: list[str]) -> Hierarchy:
    """Type of body, below it the make: a make builds several types, so that only (type, type and make) nests.

    The type comes first because it is what a picture shows: two sedans look more alike than a sedan and a pickup of
    one make do. The official names give 8 types and, below them, 105 groups.

    >>> tree(["BMW M3 Coupe 2012", "Aston Martin Virage Coupe 2012"]).paths
    (('Coupe', 'BMW Coupe'), ('Coupe', 'Aston Martin Coupe'))
    """
    return Hierarchy(tuple((body_type(name), f"{make(name)} {body_type(name)}") for name in class_names))


def body_type(class_name: str) -> str:
    """The type that the last fitting word of a class name tells, else the table's for official names, else "other".

    >>> body_type("Rolls-Royce Phantom Drophead Coupe Convertible 2012"), body_type("Dodge Dakota Crew Cab 2010")
    ('Convertible', 'Pickup')
    """
    for word in reversed(class_name.split()):
        if word in TYPES:
            return TYPES[word]
    return UNTYPED.get(class_name, "other")


def make(class_name: str) -> str:
    """The make: the first word of a class name, or two of three makes.

    >>> make("Land Rover LR2 SUV 2012"), make("Mercedes-Benz Sprinter Van 2012")
    ('Land Rover', 'Mercedes-Benz')
    """
    two = [name for name in MAKES_OF_TWO_WORDS if class_name.startswith(f"{name} ")]
    return two[0] if two else class_name.split()[0]


def read_cars(root: Path) -> Cars:
    """Paths, labels and official split, from whichever of the three layouts lies in `root`.

    Raises MissingData if none does, ValueError for a file that cannot be what it should be.
    """
    if (root / "devkit" / "cars_train_annos.mat").exists():
        return _from_devkit(root)
    if (root / "cars_annos.mat").exists():
        return _from_one_file(root / "cars_annos.mat")
    for folder in FOLDERS:
        if (root / folder / "train").is_dir() and (root / folder / "test").is_dir():
            return _from_folders(root, folder)
    require("stanford_cars", FILES, root)
    raise MissingData(  # car_data is there, but not what it should hold
        f"stanford_cars: {root / 'car_data'} has no folders train and test with one folder per class; put them there, "
        "or give another root"
    )


def _from_devkit(root: Path) -> Cars:
    devkit = root / "devkit"
    meta = devkit / "cars_meta.mat"
    places = [folder / "cars_test_annos_withlabels.mat" for folder in (devkit, root)]
    test_file = next((file for file in places if file.exists()), root / "cars_test_annos_withlabels.mat")
    files = [devkit / "cars_train_annos.mat", test_file]
    require("stanford_cars", [SourceFile(f.relative_to(root).as_posix(), note=_NOTE) for f in (meta, test_file)], root)
    class_names = _class_names(meta)
    rows = []
    for is_test, file in enumerate(files):
        folder = "cars_test" if is_test else "cars_train"
        for fname, number in zip(*_fields(file, "fname", "class"), strict=True):
            rows.append((bool(is_test), f"{folder}/{fname}", _class_name(number, class_names, file, fname)))
    return _ordered(rows, class_names, [meta, *files])


def _from_one_file(file: Path) -> Cars:
    class_names = _class_names(file)
    rows = [
        (_flag(is_test, file, path), str(path), _class_name(number, class_names, file, path))
        for path, number, is_test in zip(*_fields(file, "relative_im_path", "class", "test"), strict=True)
    ]
    return _ordered(rows, class_names, [file])


def _from_folders(root: Path, folder: str) -> Cars:
    rows, class_names = [], set()
    for part in ("train", "test"):
        for of_class in sorted((root / folder / part).iterdir()):
            if of_class.is_dir() and not of_class.name.startswith("."):
                class_names.add(of_class.name)
                rows += [
                    (part == "test", file.relative_to(root).as_posix(), of_class.name)
                    for file in of_class.iterdir()
                    if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
                ]
    if not rows:
        raise MissingData(
            f"stanford_cars: {root / folder} has no pictures in train/CLASS and test/CLASS; put them there"
        )
    return _ordered(rows, list(class_names), [])


def _ordered(rows: list[tuple[bool, str, str]], class_names: list[str], annotations: list[Path]) -> Cars:
    """Rows (test?, path, class name) in the order that every layout shares."""
    rows = sorted(rows, key=lambda row: (row[0], row[1].rpartition("/")[2], row[2]))
    names = sorted(class_names)
    place = {name: label for label, name in enumerate(names)}
    return Cars(
        paths=[path for _, path, _ in rows],
        labels=np.array([place[name] for _, _, name in rows], dtype=np.int64),
        test=np.array([test for test, _, _ in rows], dtype=bool),
        class_names=names,
        annotations=annotations,
    )


def _flag(value: Any, file: Path, picture: str) -> bool:
    """Whether a picture is one of the test: 1, or 0 for training."""
    if not isinstance(value, int | float) or value not in (0, 1):
        raise ValueError(f"{file}: picture {picture} has test={value!s}, not 0 or 1; it is damaged: fetch it again")
    return bool(value)


def _class_name(number: Any, class_names: list[str], file: Path, picture: str) -> str:
    """The name of a class number as the files have it: from 1."""
    if not (isinstance(number, int | float | np.number) and number in range(1, len(class_names) + 1)):
        raise ValueError(
            f"{file}: picture {picture} has class {number!s}, but the classes are 1 to {len(class_names)}; the file is "
            "damaged or belongs to other class names: take all files from one copy of the data set"
        )
    return class_names[int(number) - 1]


def _class_names(file: Path) -> list[str]:
    """Class names as folders have them, without '/' (official: "Ram C/V Cargo Van Minivan 2012")."""
    names = [str(name).replace("/", "-") for name in np.atleast_1d(_variable(file, "class_names"))]
    if len(set(names)) < len(names):
        raise ValueError(f"{file} gives the same name to two classes; this is no official file: fetch it again")
    if not all(name.split() for name in names):
        raise ValueError(f"{file} has a class without a name; this is no official file: fetch it again")
    return names


def _fields(file: Path, *fields: str) -> list[list[Any]]:
    """Columns of the struct array `annotations`, by name: their order differs between file and documentation."""
    annotations = np.atleast_1d(_variable(file, "annotations"))
    for field in fields:
        if field not in (annotations.dtype.names or ()):
            hint = "; test annotations without classes do not serve" if field == "class" else ""
            raise ValueError(f"{file}: 'annotations' has no field {field!r}{hint}; take the official file")
    return [annotations[field].tolist() for field in fields]


def _variable(file: Path, name: str) -> Any:
    from scipy.io import loadmat

    try:
        check_mat(file)
        return loadmat(file, squeeze_me=True, variable_names=[name])[name]
    except KeyError:
        raise ValueError(f"{file} has no variable {name!r}; it is another file: take the official one") from None
    except Exception as error:  # the reader raises whatever it comes across in a file that was cut
        raise ValueError(f"{file} cannot be read as a MATLAB file ({error}); it is damaged: fetch it again") from error
