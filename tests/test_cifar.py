"""CIFAR-10 and CIFAR-100: tiny archives in the official layout, whose pictures tell what each record should become."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import torch
from whole import chance, run_through

from shc import datasets
from shc.datasets import cifar
from shc.datasets.sources import MissingData

NAMES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
KNOWN = datasets.read_archive("class_name_embeddings.npz")
NAMES100 = [str(name) for name in KNOWN["cifar100_names"]]
COARSE = KNOWN["cifar100_superclass"]
GROUPS = [f"group_{number}" for number in range(20)]
STEP = np.arange(32, dtype=np.uint8)


def picture(label, serial):
    """uint8 [3, 32, 32]: red tells the class, green grows downwards, blue to the right; the corner is unique."""
    image = np.zeros((3, 32, 32), np.uint8)
    image[0] = 2 * label + 7
    image[1] = 7 * STEP[:, None]
    image[2] = 5 * STEP[None, :]
    image[2, 0, 0], image[1, 0, 0] = serial % 251, serial // 251
    return image


def records(labels, start, two=False):
    """Bytes of one file: (coarse and) fine label, then red, green and blue."""
    return b"".join(
        bytes([COARSE[y], y] if two else [y]) + picture(y, start + i).tobytes() for i, y in enumerate(labels)
    )


def names_file(names):
    return "\n".join(name.replace(" ", "_") for name in names).encode() + b"\n\n"


def files10():
    """Six images of every class: one in each of the six files."""
    orders = [np.random.default_rng(seed).permutation(10).tolist() for seed in range(6)]
    found = {}
    for i, (name, order) in enumerate(zip(cifar.CIFAR10.records, orders, strict=True)):
        found[name] = records(order, 10 * i)
    return found | {"batches.meta.txt": names_file(NAMES10)}


def files100():
    """Six images of every class, five of them for training."""
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 5)).tolist()
    test = np.random.default_rng(1).permutation(100).tolist()
    return {
        "train.bin": records(order, 0, two=True),
        "test.bin": records(test, 500, two=True),
        "fine_label_names.txt": names_file(NAMES100),
        "coarse_label_names.txt": names_file(GROUPS),
    }


SETS = {
    "cifar10": (cifar.ARCHIVE10, files10, NAMES10),
    "cifar100": (cifar.ARCHIVE100, files100, NAMES100),
}


@pytest.fixture(autouse=True)
def tiny_counts(monkeypatch):
    """The layouts announce as many records as the fixtures hold, and the draws ask for as few."""
    for name in cifar.CIFAR10.records:
        monkeypatch.setitem(cifar.CIFAR10.records, name, 10)
    monkeypatch.setitem(cifar.CIFAR100.records, "train.bin", 500)
    monkeypatch.setitem(cifar.CIFAR100.records, "test.bin", 100)
    monkeypatch.setattr(cifar, "CIFAR10_DRAWS", {"query": 1, "train": 2, "database": -1})
    monkeypatch.setattr(cifar, "CIFAR100_DRAWS", {"train": 2, "query": 1, "database": -1})


def pack(folder, name, files):
    """The archive as its publisher packs it, with members that nobody asked for."""
    archive = SETS[name][0]
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / archive.name, "w:gz", compresslevel=1) as tar:
        inside = tarfile.TarInfo(archive.instead)
        inside.type = tarfile.DIRTYPE
        tar.addfile(inside)
        for path, content in {"elsewhere/test.bin": b"no", f"{archive.instead}/readme.html": b"<p>"}.items():
            add(tar, path, content)
        for path, content in files.items():
            add(tar, f"{archive.instead}/{path}", content)
    return folder


def add(tar, path, content):
    member = tarfile.TarInfo(path)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def load(name, root, **options):
    return datasets.load(name, root=str(root), **options)


@pytest.fixture(scope="module")
def contents():
    return {name: files() for name, (_, files, _) in SETS.items()}


@pytest.fixture
def roots(tmp_path, contents):
    return {name: pack(tmp_path / name, name, contents[name]) for name in SETS}


# ------------------------------------------------------------------------------------------------ records


@pytest.mark.parametrize("name", SETS)
def test_every_record_becomes_its_picture_and_its_label(name, roots):
    images = load(name, roots[name])
    pixels, labels = images.images.numpy(), images.labels.numpy()
    assert pixels.shape == (len(labels), 3, 32, 32) and pixels.dtype == np.uint8
    for i, label in enumerate(labels.tolist()):
        np.testing.assert_array_equal(pixels[i], picture(label, i))  # in the files' order, training files first
    assert np.bincount(labels).tolist() == [6] * len(images.class_names)
    assert images.class_names == SETS[name][2]


def test_cifar100_has_fine_classes_under_their_coarse_ones(roots):
    images = load("cifar100", roots["cifar100"])
    assert images.hierarchy.paths == tuple((f"group {parent}",) for parent in COARSE)
    assert np.bincount(images.hierarchy.group_ids()).tolist() == [5] * 20
    assert load("cifar10", roots["cifar10"]).hierarchy is None


def test_class_name_embeddings_follow_cifar100s_class_names(roots):
    images = load("cifar100", roots["cifar100"])
    vectors, stored = datasets.class_name_embeddings("cifar100"), dict(zip(NAMES100, KNOWN["cifar100"], strict=True))
    for name in ("apple", "lawn mower", "worm"):
        expected = stored[name] / np.linalg.norm(stored[name].astype(float))
        np.testing.assert_allclose(vectors[images.class_names.index(name)], expected, atol=1e-3)
    assert images.class_names == sorted(images.class_names)  # as the official list
    trees = [images.class_names.index(f"{kind} tree") for kind in ("maple", "oak", "palm", "pine", "willow")]
    similar = vectors @ vectors.T
    assert similar[np.ix_(trees, trees)].mean() > similar[trees].mean() + 0.2


@pytest.mark.parametrize("name", SETS)
def test_unpacked_folder_gives_the_same_data_set(name, roots, tmp_path, contents):
    folder = tmp_path / "unpacked" / SETS[name][0].instead
    folder.mkdir(parents=True)
    for path, content in contents[name].items():
        (folder / path).write_bytes(content)
    packed, unpacked = load(name, roots[name]), load(name, folder.parent)
    assert packed.fingerprint == unpacked.fingerprint and torch.equal(packed.images, unpacked.images)


def test_fingerprint_depends_on_pixels_of_the_files(roots, tmp_path, contents):
    changed = bytearray(contents["cifar10"]["test_batch.bin"])
    changed[-1] ^= 1
    other = pack(tmp_path / "other", "cifar10", contents["cifar10"] | {"test_batch.bin": bytes(changed)})
    assert load("cifar10", other).fingerprint != load("cifar10", roots["cifar10"]).fingerprint


def test_another_size_is_the_same_picture_without_alias(roots):
    images = load("cifar10", roots["cifar10"], size=16)
    assert images.images.shape == (60, 3, 16, 16)
    labels = images.labels[:, None, None]
    assert torch.equal(images.images[:, 0].long(), (2 * labels + 7).expand(-1, 16, 16))
    green, blue = images.images[:, 1].int(), images.images[:, 2].int()
    assert bool((green.diff(dim=1)[:, 1:] > 0).all()) and bool((blue.diff(dim=2)[:, :, 1:] > 0).all())


# ------------------------------------------------------------------------------------------------ splits


@pytest.mark.parametrize(
    ("name", "protocol", "sizes"),
    [
        ("cifar10", "disjoint", {"train": 10, "val": 10, "query": 10, "database": 30}),
        ("cifar10", "train-in-database", {"train": 10, "val": 10, "query": 10, "database": 50}),
        ("cifar100", "paper", {"train": 100, "val": 100, "query": 100, "database": 300}),
        ("cifar100", "official", {"train": 400, "val": 100, "query": 100, "database": 500}),
    ],
)
def test_protocols_of_the_loaded_set(name, protocol, sizes, roots):
    images = load(name, roots[name], protocol=protocol)
    assert {split: len(rows) for split, rows in images.splits.items()} == sizes
    rows = {split: set(found.tolist()) for split, found in images.splits.items()}
    learned = rows["train"] | rows["val"]
    assert not rows["train"] & rows["val"] and not rows["query"] & (learned | rows["database"])
    inside = protocol in ("train-in-database", "official")
    assert learned <= rows["database"] if inside else not learned & rows["database"]
    for split in images.splits:  # as many of every class
        assert len(set(np.bincount(images.split(split)[1]).tolist())) == 1
    if protocol == "official":
        assert rows["query"] == set(range(500, 600)) and rows["database"] == set(range(500))
    if protocol in ("disjoint", "paper"):  # also the usual one
        assert images.fingerprint == load(name, roots[name]).fingerprint


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (lambda y, seed: cifar.cifar10_rows(y % 10, "disjoint", seed), (5_000, 1_000, 54_000)),
        (lambda y, seed: cifar.cifar10_rows(y % 10, "train-in-database", seed), (5_000, 1_000, 59_000)),
        (lambda y, seed: cifar.cifar100_rows(y, 50_000, "paper", seed), (10_000, 5_000, 45_000)),
        (lambda y, seed: cifar.cifar100_rows(y, 50_000, "official", seed), (50_000, 10_000, 50_000)),
    ],
    ids=["disjoint", "train-in-database", "paper", "official"],
)
def test_full_sizes_are_those_of_the_literature(rows, sizes, monkeypatch):
    monkeypatch.undo()  # the true counts
    labels = np.concatenate([np.random.default_rng(i).permutation(np.repeat(np.arange(100), n)) for i, n in
                             enumerate((500, 100))])  # fmt: skip
    found, again, other = rows(labels, 0), rows(labels, 0), rows(labels, 1)
    assert (len(found["train"]), len(found["query"]), len(found["database"])) == sizes
    assert not set(found["query"]) & (set(found["train"]) | set(found["database"]))
    assert set(found["train"]) <= set(found["database"]) or not set(found["train"]) & set(found["database"])
    assert all(np.array_equal(found[split], again[split]) for split in found)
    drawn = len(found["query"]) != 10_000
    assert np.array_equal(found["query"], other["query"]) != drawn
    if drawn:  # from training and test images together
        assert found["query"].min() < 50_000 <= found["query"].max()


def test_the_layouts_announce_the_official_counts(monkeypatch):
    monkeypatch.undo()
    assert list(cifar.CIFAR10.records.values()) == [10_000] * 6
    assert list(cifar.CIFAR100.records.items()) == [("train.bin", 50_000), ("test.bin", 10_000)]


@pytest.mark.parametrize("change", [{"seed": 1}, {"protocol": "official"}, {"val": 0.5}, {"scale": 0.9}], ids=str)
def test_every_parameter_changes_the_fingerprint(change, roots):
    assert load("cifar100", roots["cifar100"], **change).fingerprint != load("cifar100", roots["cifar100"]).fingerprint


# ------------------------------------------------------------------------------------------------ bad files


def damaged(content, change):
    """The files with one thing wrong."""
    files = dict(content)
    first = bytearray(files["train.bin"])
    if change == "swapped bytes":
        for i in range(500):
            at = i * 3074
            first[at], first[at + 1] = first[at + 1], first[at]
    elif change == "label too large":
        first[3074 * 17 + 1] = 100
    elif change == "another parent":
        first[0] = (first[0] + 1) % 20
    elif change == "no image":
        for at in range(0, len(first), 3074):
            if first[at + 1] == 42:
                first[at], first[at + 1] = COARSE[41], 41
        test = bytearray(files["test.bin"])
        for at in range(0, len(test), 3074):
            if test[at + 1] == 42:
                test[at], test[at + 1] = COARSE[41], 41
        files["test.bin"] = bytes(test)
    elif change == "short":
        del first[-3074:]
    elif change == "long":
        first += first[:3074]
    files["train.bin"] = bytes(first)
    if change == "no test.bin":
        del files["test.bin"]
    elif change == "too few names":
        files["fine_label_names.txt"] = names_file(NAMES100[:99])
    elif change == "long names":
        files["fine_label_names.txt"] = b"x" * 100_000
    return files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("swapped bytes", r"\(first byte, coarse\): label \d+ of image \d+ is outside of 0 to 19"),
        ("label too large", r"\(second byte, fine\): label 100 of image 17 is outside of 0 to 99; .*fetch it again"),
        ("another parent", r"images of fine class \d+ lie in the coarse classes \d+ and \d+.*fetch it again"),
        ("no image", r"1 of 100 classes have no image \(class 42\); it is not the whole data set"),
        ("short", r"train.bin in .*cifar-100-binary.tar.gz has 1,533,926 bytes, not 1,537,000: it was cut short"),
        ("long", r"train.bin in .* has 1,540,074 bytes, not 1,537,000: it is another file"),
        ("no test.bin", r"cifar-100-binary.tar.gz lacks test.bin; it was cut short or is another archive"),
        ("too few names", r"fine_label_names.txt in .* holds 99 names, not 100"),
        ("long names", r"fine_label_names.txt in .* has 100,000 bytes, not 10,000: it is another file"),
    ],
)
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_damaged_content_is_named(change, message, form, tmp_path, contents):
    files = damaged(contents["cifar100"], change)
    if form == "archive":
        root = pack(tmp_path / "root", "cifar100", files)
    else:
        root, message = tmp_path, message.replace(".tar.gz", "").replace("train.bin in .*cifar-100-binary", "train.bin")
        message = message.replace(" in .*", "")
        (tmp_path / "cifar-100-binary").mkdir()
        for name, content in files.items():
            (tmp_path / "cifar-100-binary" / name).write_bytes(content)
    if change == "too few names":
        message = r"fine_label_names.txt in .* holds 99 names, not 100"
    with pytest.raises(ValueError, match=message) as error:
        load("cifar100", root)
    assert "\n" not in str(error.value) and str(root) in str(error.value)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.98])
def test_archive_that_was_cut_short(keep, roots):
    file = roots["cifar10"] / cifar.ARCHIVE10.name
    content = file.read_bytes()
    file.write_bytes(content[: keep if keep in (0, 10) else int(keep * len(content))])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz .*was cut short or is damaged .*fetch it again"):
        load("cifar10", roots["cifar10"])


def test_archive_with_a_flipped_byte_or_of_another_kind(roots, tmp_path):
    file = roots["cifar10"] / cifar.ARCHIVE10.name
    with gzip.open(file, "rb") as stream:
        content = bytearray(stream.read())
    stored = gzip.compress(bytes(content), compresslevel=0)  # as it is, so that a byte can be changed in place
    at = len(stored) // 2  # among the pixels
    file.write_bytes(stored)
    load("cifar10", roots["cifar10"])
    file.write_bytes(stored[:at] + b"\x99" + stored[at + 1 :])
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz was cut short or is damaged \(CRC"):
        load("cifar10", roots["cifar10"])
    file.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz was cut short or is damaged"):
        load("cifar10", roots["cifar10"])


def test_links_in_the_archive_are_not_followed(tmp_path, contents):
    root = tmp_path / "root"
    root.mkdir()
    with tarfile.open(root / cifar.ARCHIVE10.name, "w:gz") as tar:
        for path, content in contents["cifar10"].items():
            if path == "test_batch.bin":
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{path}")
                member.type, member.linkname = tarfile.SYMTYPE, "data_batch_1.bin"
                tar.addfile(member)
            else:
                add(tar, f"./cifar-10-batches-bin/{path}", content)
    with pytest.raises(ValueError, match=r"lacks test_batch\.bin"):
        load("cifar10", root)


def test_missing_archive_says_where_from_and_where_to(tmp_path, roots):
    message = r"cifar10 is not in .*: missing cifar-10-binary.tar.gz \(or cifar-10-batches-bin\) from https://www\.cs"
    for root in (tmp_path, roots["cifar100"], tmp_path / "nowhere"):
        with pytest.raises(MissingData, match=message) as error:
            load("cifar10", root)
        assert str(root) in str(error.value) and "shc datasets cifar10 --download" in str(error.value)


def test_pickled_archives_are_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(MissingData, match=r"missing cifar-10-binary\.tar\.gz"):
        load("cifar10", tmp_path)


def test_wrong_options_are_named(roots):
    with pytest.raises(ValueError, match=r"unknown to cifar10; choose disjoint or train-in-database"):
        load("cifar10", roots["cifar10"], protocol="paper")
    with pytest.raises(ValueError, match=r"fold=1 does not exist: cifar100 has only fold 0"):
        load("cifar100", roots["cifar100"], fold=1)


@pytest.mark.parametrize("name", SETS)
def test_the_whole_sequence(name, roots, tmp_path):
    found, images = run_through(tmp_path / "run", name, roots[name])
    assert found > chance(images)
