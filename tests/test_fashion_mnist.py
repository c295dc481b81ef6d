"""Fashion-MNIST: tiny idx files made here, whose pictures tell what each image should become."""

import gzip
import struct

import numpy as np
import pytest
import torch
from whole import chance, run_through

from shc import datasets
from shc.datasets import cache, fashion_mnist, reading, streams
from shc.datasets.sources import MissingData

STEP = np.arange(28, dtype=np.uint8)


def picture(label, serial):
    """uint8 [28, 28]: grows downwards fast, to the right slowly; the middle tells the class, the corner is unique."""
    image = 6 * STEP[:, None] + STEP[None, :]
    image[10:18, 10:18] = 20 * label + 9
    image[0, 0], image[0, 1] = serial % 256, serial // 256
    return image


def idx(values, magic=None, shape=None):
    """Bytes of an idx file."""
    shape = values.shape if shape is None else shape
    magic = 0x800 + values.ndim if magic is None else magic
    return struct.pack(f">{1 + len(shape)}i", magic, *shape) + values.astype(np.uint8).tobytes()


TRAIN = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 6))
TEST = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 2))


def contents():
    x = {"train": np.stack([picture(y, i) for i, y in enumerate(TRAIN)]),
         "t10k": np.stack([picture(y, 60 + i) for i, y in enumerate(TEST)])}  # fmt: skip
    y = {"train": TRAIN, "t10k": TEST}
    return {f"{part}-{kind}": idx(values[part]) for kind, values in (("images-idx3-ubyte", x), ("labels-idx1-ubyte", y))
            for part in x}  # fmt: skip


def write(root, files, packed=True):
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        (root / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return root


@pytest.fixture(autouse=True)
def tiny_counts(monkeypatch):
    monkeypatch.setitem(fashion_mnist.IMAGES, "train", 60)
    monkeypatch.setitem(fashion_mnist.IMAGES, "t10k", 20)
    monkeypatch.setattr(fashion_mnist, "TRAIN_PER_CLASS", 2)


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "fashion", contents())


def load(root, **options):
    return datasets.load("fashion_mnist", root=str(root), **({"size": 28} | options))


# ------------------------------------------------------------------------------------------------ records


def test_every_image_becomes_its_picture_and_its_label(root):
    images = load(root)
    assert images.images.shape == (80, 3, 28, 28) and images.images.dtype == torch.uint8
    assert images.labels.tolist() == [*TRAIN.tolist(), *TEST.tolist()]
    for i, label in enumerate(images.labels.tolist()):
        for channel in range(3):
            np.testing.assert_array_equal(images.images[i, channel].numpy(), picture(label, i))


def test_classes_and_their_tree(root):
    images = load(root)
    assert images.class_names == [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip
    groups = {name: [] for name in images.hierarchy.group_names()}
    for name, (group,) in zip(images.class_names, images.hierarchy.paths, strict=True):
        groups[group].append(name)
    assert groups == {
        "tops": ["T-shirt/top", "Pullover", "Dress", "Coat", "Shirt"],
        "bottoms": ["Trouser"],
        "shoes": ["Sandal", "Sneaker", "Ankle boot"],
        "bags": ["Bag"],
    }


def test_unpacked_and_packed_files_give_the_same_data_set(root, tmp_path):
    packed, unpacked = load(root), load(write(tmp_path / "plain", contents(), packed=False))
    assert packed.fingerprint == unpacked.fingerprint and torch.equal(packed.images, unpacked.images)


def test_fingerprint_depends_on_the_pixels(root, tmp_path):
    files = contents()
    name = "t10k-images-idx3-ubyte"
    files[name] = files[name][:-1] + b"\x00"
    assert load(write(tmp_path / "other", files)).fingerprint != load(root).fingerprint


def test_usual_size_is_scaled_and_kept(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SHC_CACHE", str(tmp_path / "cache"))
    images = load(root, size=32).images
    assert images.shape == (80, 3, 32, 32)
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
    middles = images[:, 0, 14:18, 14:18].flatten(1)
    expected = torch.from_numpy(20 * np.concatenate([TRAIN, TEST]) + 9)[:, None]
    assert bool((middles == expected).all())
    monkeypatch.setattr(torch.nn.functional, "interpolate", lambda *_, **__: pytest.fail("resized again"))
    assert torch.equal(load(root, size=32, seed=5).images, images)


def test_reduction_is_antialiased():
    stripes = np.tile(np.repeat([255, 0, 0, 255], 64), 16).reshape(64, 64).T  # every new pixel's middle is black
    small = reading.resized(stripes[None, None].astype(np.uint8), 16, "stripes")
    assert small.shape == (1, 3, 16, 16) and int(small.min()) > 80 and int(small.max()) < 170


def test_resizing_in_batches_changes_nothing(monkeypatch):
    monkeypatch.setattr(cache, "_read", lambda *_: None)
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 20, 20), dtype=np.uint8)
    whole = reading.resized(images, 32, "noise")
    monkeypatch.setattr(reading, "BATCH", 3)
    assert torch.equal(reading.resized(images, 32, "noise"), whole)


# ------------------------------------------------------------------------------------------------ splits


def test_official_protocol_trains_on_what_it_ranks(root):
    images = load(root)
    rows = {split: set(found.tolist()) for split, found in images.splits.items()}
    assert rows["database"] == set(range(60)) and rows["query"] == set(range(60, 80))
    assert rows["train"] | rows["val"] == rows["database"] and not rows["train"] & rows["val"]
    assert images.fingerprint == load(root, protocol="official").fingerprint


def test_disjoint_protocol_keeps_training_images_out_of_the_database(root):
    images = load(root, protocol="disjoint")
    sizes = {split: np.bincount(images.split(split)[1]).tolist() for split in images.splits}
    assert sizes == {"train": [1] * 10, "val": [1] * 10, "query": [2] * 10, "database": [4] * 10}
    every = torch.cat(list(images.splits.values()))
    assert torch.equal(every.sort().values, torch.arange(80))


def test_full_sizes(monkeypatch):
    monkeypatch.undo()
    assert fashion_mnist.IMAGES == {"train": 60_000, "t10k": 10_000}
    labels = np.concatenate([np.random.default_rng(n).permutation(np.repeat(np.arange(10), n)) for n in (6000, 1000)])
    for protocol, train, database in (("official", 60_000, 60_000), ("disjoint", 5_000, 55_000)):
        rows, again = (fashion_mnist.split_rows(labels, 60_000, protocol, 0) for _ in range(2))
        assert [len(rows[split]) for split in ("train", "query", "database")] == [train, 10_000, database]
        assert all(len(set(np.bincount(labels[found]).tolist())) == 1 for found in rows.values())
        assert all(np.array_equal(rows[split], again[split]) for split in rows)
        assert rows["query"].min() == 60_000 > rows["database"].max()
    other = fashion_mnist.split_rows(labels, 60_000, "disjoint", 1)
    assert not np.array_equal(rows["train"], other["train"]) and not set(rows["train"]) & set(rows["database"])


# ------------------------------------------------------------------------------------------------ bad files


def changed(files, change):
    name = "train-labels-idx1-ubyte"
    content = files[name]
    if change == "swapped":
        files[name], files["train-images-idx3-ubyte"] = files["train-images-idx3-ubyte"], files[name]
    elif change == "test file":
        files[name] = files["t10k-labels-idx1-ubyte"]
    elif change == "signed":
        files[name] = idx(TRAIN, magic=0x901)
    elif change == "label":
        files[name] = content[:-3] + b"\x0a" + content[-2:]
    elif change == "class":
        files[name] = content.replace(b"\x05", b"\x04")
    elif change == "short":
        files[name] = content[:-2]
    elif change == "long":
        files[name] = content + b"\x01"
    elif change == "header":
        files[name] = content[:5]
    return files


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("swapped", r"train-images-idx3-ubyte\S* starts with 0x00000801, not 0x00000803: .*renamed or swapped"),
        ("test file", r"train-labels-idx1-ubyte\S* announces 20 values, not 60: it is another data set's file"),
        ("signed", r"starts with 0x00000901, not 0x00000801: it is no idx file of labels"),
        ("label", r"train-labels\S*: label 10 of image 57 is outside of 0 to 9; .*fetch it again"),
        ("class", r"train-labels\S*: 1 of 10 classes have no image \(class 5\)"),
        ("short", r"train-labels\S* has 66 bytes, not 68: it was cut short; delete it and fetch it again"),
        ("long", r"train-labels\S* goes on after 68 bytes: it is another file"),
        ("header", r"train-labels\S* ends inside its header; delete it and fetch it again"),
    ],
)
def test_damaged_files_are_named(change, message, packed, tmp_path):
    root = write(tmp_path / "bad", changed(contents(), change), packed)
    with pytest.raises(ValueError, match=message) as error:
        load(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "text", "flipped"])
def test_damaged_compression(damage, root):
    file = root / "t10k-images-idx3-ubyte.gz"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "text":
        content[:] = b"<html>"
    else:
        content[-8] ^= 1  # of the checksum
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz is cut short or damaged \(.*fetch it again"):
        load(root)


def test_missing_files_are_listed(root, tmp_path):
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        MissingData, match=r"missing t10k-labels-idx1-ubyte\.gz \(or t10k-labels-idx1-ubyte\) from"
    ) as e:
        load(root)
    assert "train-images" not in str(e.value)
    with pytest.raises(MissingData, match=r"shc datasets fashion_mnist --download"):
        load(tmp_path / "nowhere")


def test_files_of_a_system_package_are_found_unless_there_is_a_root(root, tmp_path, monkeypatch):
    about = fashion_mnist.ABOUT
    monkeypatch.setattr(fashion_mnist, "ABOUT", datasets.About(files=about.files, elsewhere=str(root)))
    monkeypatch.setenv("SHC_DATA", str(tmp_path / "data"))
    found = load("")
    with pytest.raises(MissingData, match=r"is not in .*nowhere"):
        load(tmp_path / "nowhere")
    (tmp_path / "data" / "fashion_mnist").mkdir(parents=True)
    assert load("").fingerprint == found.fingerprint  # an empty folder of the user's own is no obstacle
    files = changed(contents(), "label")
    write(tmp_path / "data" / "fashion_mnist", files)
    with pytest.raises(ValueError, match="label 10"):  # the user's own files come first
        load("")


def test_what_would_take_too_much_memory_is_the_same_data_set(root, monkeypatch):
    whole = load(root, size=32)
    monkeypatch.setattr(streams, "LIMIT", whole.images.numel() - 1)
    lazy = load(root, size=32)
    assert isinstance(whole.images, torch.Tensor) and isinstance(lazy.images, streams.LazyImages)
    assert lazy.fingerprint == whole.fingerprint
    for split in whole.splits:
        assert torch.equal(lazy.split(split)[0][[3, 0]], whole.split(split)[0][[3, 0]])
    rows = list(range(0, len(whole.images), 7))
    assert torch.equal(lazy.images[rows], whole.images[rows])


def test_the_whole_sequence(root, tmp_path):
    found, images = run_through(tmp_path / "run", "fashion_mnist", root)
    assert found > chance(images)
