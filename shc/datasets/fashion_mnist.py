"""Fashion-MNIST: 70,000 grey pictures of clothing (Xiao, Rasul & Vollgraf 2017), read from the four idx files.

An idx file is a big-endian header (magic number: 0, 0, type, dimensions; then every dimension's length as int32) and
the bytes behind it. Compressed and unpacked files serve alike. The tree of the classes is ours: the publishers give
none. A dress counts as a top: it covers the upper body, and is confused with shirts and coats, not with trousers.
"""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from shc.datasets import About, ImageSet, Options, dataset
from shc.datasets.reading import check_labels, check_size, resized
from shc.datasets.sources import SourceFile, located, require
from shc.datasets.splits import assembled, draw
from shc.hierarchy import Hierarchy
from shc.untrusted import TooLarge, check_regular

CLASSES = {
    "T-shirt/top": "tops",
    "Trouser": "bottoms",
    "Pullover": "tops",
    "Dress": "tops",
    "Coat": "tops",
    "Sandal": "shoes",
    "Shirt": "tops",
    "Sneaker": "shoes",
    "Bag": "bags",
    "Ankle boot": "shoes",
}
SIDE = 28  # pixels
IMAGES = {"train": 60_000, "t10k": 10_000}
TRAIN_PER_CLASS = 500  # of the protocol `disjoint`, as in CIFAR-10's
DEBIAN = "/usr/share/datasets/fashion-mnist"  # where the package `dataset-fashion-mnist` puts the files
MAGIC = {1: 0x00000801, 3: 0x00000803}  # unsigned bytes in one or three dimensions


def _file(name: str, md5: str, size: int) -> SourceFile:
    site = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    return SourceFile(f"{name}.gz", f"{site}/{name}.gz", md5, size, instead=name)


ABOUT = About(
    classes="10 in 4 groups",
    images="60,000 + 10,000 grey, 28 px",
    terms="MIT (Zalando SE)",
    files=(
        _file("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        _file("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
        _file("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        _file("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    ),
    elsewhere=DEBIAN,
    drawn="its publishers split it",
)


@dataset("fashion_mnist", protocols=("official", "disjoint"), about=ABOUT)
def fashion_mnist(options: Options) -> ImageSet:
    """Fashion-MNIST: ten kinds of clothing in grey pictures.

    `official`: the 10,000 test images ask, the 60,000 training images train and are ranked. `disjoint`: 500 training
    images per class train, the other 55,000 are ranked. Raises ValueError for files that are missing or damaged.
    """
    root = located("fashion_mnist", ABOUT.files, options.root, ABOUT.elsewhere)
    require("fashion_mnist", ABOUT.files, root)
    images, labels, digests = [], [], []
    for part, count in IMAGES.items():
        x, digest = read_idx(find(root, f"{part}-images-idx3-ubyte"), (count, SIDE, SIDE))
        file = find(root, f"{part}-labels-idx1-ubyte")
        y, label_digest = read_idx(file, (count,))
        check_labels(y, len(CLASSES), file)
        images.append(x)
        labels.append(y)
        digests += [digest, label_digest]
    # of what is inside the files: the publisher's and Debian's differ as files
    source = f"Fashion-MNIST {hashlib.sha256(' '.join(digests).encode()).hexdigest()}"
    all_labels = np.concatenate(labels).astype(np.int64)
    return assembled(
        options,
        images=resized(np.concatenate(images)[:, None], options.size, source),
        labels=all_labels,
        splits=split_rows(all_labels, len(labels[0]), options.protocol, options.seed),
        class_names=list(CLASSES),
        hierarchy=Hierarchy(tuple((group,) for group in CLASSES.values())),
        source=source,
    )


def split_rows(labels: np.ndarray, train: int, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """Rows of every split for labels [N] whose first `train` images are the training images.

    >>> rows = split_rows(np.zeros(1000, dtype=int), 900, "disjoint", 0)
    >>> {split: len(found) for split, found in rows.items()}
    {'train': 500, 'query': 100, 'database': 400}
    """
    query = np.arange(train, len(labels))
    if protocol == "official":
        everything = np.arange(train)
        return {"train": everything, "query": query, "database": everything}
    drawn = draw(labels[:train], {"train": TRAIN_PER_CLASS, "database": -1}, seed)
    return {"train": drawn["train"], "query": query, "database": drawn["database"]}


def find(root: Path, name: str) -> Path:
    """The file in `root`, compressed or not."""
    packed = root / f"{name}.gz"
    return packed if packed.exists() else root / name


def read_idx(file: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """The bytes of an idx file as uint8 of this shape, and the sha256 of its content.

    Raises ValueError for another magic number, another shape, and a file that is cut short or too long.
    """
    header = 4 + 4 * len(shape)
    expected = header + int(np.prod(shape))
    try:
        check_regular(file)  # a pipe would never end
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(expected + 1)  # no more, whatever the file claims to hold
    except (EOFError, zlib.error, gzip.BadGzipFile, TooLarge) as error:
        raise ValueError(f"{file} is cut short or damaged ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error})") from error
    check_head(content[:header], shape, file)
    if len(content) > expected:
        raise ValueError(f"{file} goes on after {expected:,} bytes: it is another file; delete it and fetch it again")
    check_size(len(content), expected, file)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape), hashlib.sha256(content).hexdigest()


def check_head(head: bytes, shape: tuple[int, ...], file: Path) -> None:
    """Raise ValueError unless an idx header announces unsigned bytes of this shape."""
    if len(head) < 4 + 4 * len(shape):
        raise ValueError(f"{file} ends inside its header; delete it and fetch it again")
    magic, *found = struct.unpack(f">{1 + len(shape)}i", head)
    if magic != MAGIC[len(shape)]:
        raise ValueError(
            f"{file} starts with {magic:#010x}, not {MAGIC[len(shape)]:#010x}: it is no idx file of "
            f"{'images' if len(shape) == 3 else 'labels'}; were the files renamed or swapped?"
        )
    if tuple(found) != shape:
        told = " × ".join(f"{n:,}" for n in found), " × ".join(f"{n:,}" for n in shape)
        raise ValueError(f"{file} announces {told[0]} values, not {told[1]}: it is another data set's file")
