"""A user's folder as a data set: every kind of picture, classes from folders, splits, and what is refused."""

import io
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from shc import datasets, stages
from shc.config import CentersConfig, ClassifierConfig, ConfigError, Data, HasherConfig, check_possible
from shc.datasets import image_folder, streams, survey
from shc.datasets.sources import MissingData
from shc.datasets.streams import FileImages
from shc.image_files import BrokenImage, fault, image_files, read_image
from shc.runs import Run

COLORS = {"penguin": (20, 20, 60), "gull": (200, 210, 220), "trout": (120, 140, 60), "car": (200, 20, 20)}
PLACES = {"penguin": "animals/birds", "gull": "animals/birds", "trout": "animals/fish", "car": "machines"}


def picture(color, seed, size=(24, 18)):
    rng = np.random.default_rng(seed)
    pixels = np.array(color) + rng.integers(-20, 20, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def filled(root, count=12, classes=COLORS, places=PLACES):
    for name in classes:
        folder = root / places.get(name, "") / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture(COLORS.get(name, (90, 90, 90)), sum(f"{folder}".encode()) * 1000 + i).save(folder / f"{i:02d}.png")
    return root


@pytest.fixture
def root(tmp_path):
    return filled(tmp_path / "pictures")


def load(root, **options):
    return datasets.load("image_folder", root=str(root), size=16, **options)


def bytes_of(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


# ------------------------------------------------------------------------------------------ kinds of pictures


def exif_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.new("RGB", (16, 16), "white")
    half.paste("black", (0, 0, 16, 8))
    return bytes_of(half, "JPEG", exif=exif)


def palette():
    return bytes_of(Image.new("RGB", (9, 9), (10, 20, 30)).quantize(4))


def clear_palette():
    image = Image.new("P", (9, 9), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    return bytes_of(image, transparency=0)


def animated():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    return bytes_of(frames[0], "GIF", save_all=True, append_images=frames[1:])


KINDS = {
    "plain.png": (bytes_of(Image.new("RGB", (8, 8), (10, 20, 30))), (10, 20, 30)),
    "gray.png": (bytes_of(Image.new("L", (8, 8), 77)), (77, 77, 77)),
    "sixteen.png": (bytes_of(Image.fromarray(np.full((8, 8), 200 * 256, np.uint16))), (200, 200, 200)),
    "palette.png": (palette(), (10, 20, 30)),
    "clear palette.png": (clear_palette(), (255, 255, 255)),
    "alpha.png": (bytes_of(Image.new("RGBA", (8, 8), (255, 0, 0, 0))), (255, 255, 255)),
    "clear color.png": (bytes_of(Image.new("RGB", (8, 8), (1, 2, 3)), transparency=(1, 2, 3)), (255, 255, 255)),
    "one bit.png": (bytes_of(Image.new("1", (8, 8), 1)), (255, 255, 255)),
    "print.jpg": (bytes_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), (255, 0, 0)),
    "animated.gif": (animated(), (255, 0, 0)),
    "Größe 写真.webp": (bytes_of(Image.new("RGB", (8, 8), (0, 0, 0)), "WEBP", lossless=True), (0, 0, 0)),
    "UPPER.JPG": (bytes_of(Image.new("RGB", (8, 8), (9, 9, 9)), "JPEG"), (9, 9, 9)),
}
noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
BROKEN = {
    "empty.png": (b"", "the file is empty"),
    "cut.jpg": (bytes_of(noise, "JPEG")[:3000], "truncated"),
    "cut.png": (bytes_of(noise)[:3000], "truncated"),
    "text.jpg": (b"<html>404</html>", "cannot identify image file"),
    "bomb.png": (bytes_of(Image.new("1", (12_000, 9_000))), r"12,000 × 9,000 pixels are more than 100,000,000"),
    "large bomb.png": (bytes_of(Image.new("1", (30_000, 30_000))), "decompression bomb"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_is_read(tmp_path, name):
    content, color = KINDS[name]
    (tmp_path / name).write_bytes(content)
    assert image_files(tmp_path) == [name] and fault(content) == ""
    found = read_image(tmp_path / name, 16)
    assert found.shape == (3, 16, 16) and found.dtype == np.uint8
    assert np.abs(found[:, 8, 8].astype(int) - color).max() <= 3


def test_pictures_are_turned_upright():
    turned = read_image(io.BytesIO(exif_turned()), 16)[0]
    assert turned[:, 12:].max() < 60 and turned[:, :4].min() > 200


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pictures_are_told_apart_without_warnings(tmp_path, name):
    content, why = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert why in fault(content) or pytest.fail(fault(content))
        with pytest.raises(BrokenImage):
            read_image(tmp_path / name, 16)


def test_a_long_strip_is_no_bomb():
    strip = read_image(io.BytesIO(bytes_of(Image.new("L", (90_000, 2), 0))), 16)
    assert strip.shape == (3, 16, 16) and strip.mean() > 200, "its square of 90,000 × 90,000 was never made"


def test_links_lead_out_of_the_folder_once_and_never_in_circles(tmp_path, root):
    plain = image_files(root)
    elsewhere = filled(tmp_path / "elsewhere", 2, ["boat"], {"boat": "ships"})
    (elsewhere / "ships" / "around").symlink_to(elsewhere)
    (root / "linked").symlink_to(elsewhere)
    (root / "linked again").symlink_to(elsewhere)
    (root / "machines" / "up").symlink_to(root)
    (root / "animals" / "side").symlink_to(root / "machines")
    (root / "machines" / "self.png").symlink_to(root / "machines" / "self.png")
    (root / "machines" / "dangling.png").symlink_to(root / "nothing.png")
    names = set(image_files(root)) - set(plain)
    linked = {name.split("/")[0] for name in names if name.startswith("linked")}
    assert len(linked) == 1 and len([name for name in names if "boat" in name]) == 2
    assert names - {name for name in names if "boat" in name} == {"machines/self.png", "machines/dangling.png"}
    with pytest.raises(BrokenImage, match="symbolic links"):
        read_image(root / "machines" / "self.png", 16)


# ------------------------------------------------------------------------------------------ classes and splits


def test_folders_are_classes_and_what_is_above_them_the_tree(root):
    images = load(root)
    assert images.class_names == ["gull", "penguin", "trout", "car"]
    assert images.hierarchy.paths == (
        ("animals", "birds"), ("animals", "birds"), ("animals", "fish"), ("machines", "machines"),
    )  # fmt: skip
    assert images.hierarchy.group_names() == ["birds", "fish", "machines"]
    assert images.images.shape == (48, 3, 16, 16) and images.images.dtype == torch.uint8
    assert images.train_classes.tolist() == [0, 1, 2, 3]
    for split in images.splits:  # labels belong to the pictures
        x, y = images.split(split)
        for image, label in zip(x, y.tolist(), strict=True):
            color = image[:, 8].float().mean(1).numpy()
            assert np.abs(color - COLORS[images.class_names[label]]).max() < 20
    assert images.skipped == {} and images.duplicates == []


@pytest.mark.parametrize(
    ("places", "names", "paths"),
    [
        ({}, ["car", "gull", "penguin", "trout"], None),
        (dict.fromkeys(COLORS, "all/mine"), ["car", "gull", "penguin", "trout"], None),
        ({"car": "x"}, ["gull", "penguin", "trout", "car"], (("gull",), ("penguin",), ("trout",), ("x",))),
    ],
)
def test_trees_that_tell_nothing_are_none(tmp_path, places, names, paths):
    images = load(filled(tmp_path, 4, places=places))
    assert images.class_names == names
    assert (images.hierarchy.paths if images.hierarchy else None) == paths


def test_classes_of_the_same_name_stay_apart(tmp_path):
    filled(tmp_path, 4, ["crane", "gull"], {"crane": "birds", "gull": "birds"})
    filled(tmp_path, 4, ["crane"], {"crane": "machines"})
    images = load(tmp_path)
    assert images.class_names == ["birds/crane", "gull", "machines/crane"]
    assert images.hierarchy.group_ids().tolist() == [0, 0, 1]


def test_pictures_beside_folders_are_a_class_of_their_group(root):
    for i in range(4):
        picture((1, 2, 3), i).save(root / "animals" / f"any {i}.png")
    images = load(root)
    assert images.class_names == ["animals", "gull", "penguin", "trout", "car"]
    assert images.hierarchy.group_names() == ["animals", "birds", "fish", "machines"]


@pytest.mark.parametrize("count", [4, 5, 7, 12, 40])
def test_splits_are_disjoint_complete_and_balanced(tmp_path, count):
    images = load(filled(tmp_path, count))
    rows = torch.cat(list(images.splits.values()))
    assert sorted(images.splits) == ["database", "query", "train", "val"]
    assert sorted(rows.tolist()) == list(range(4 * count))
    for split in images.splits:
        share = torch.bincount(images.split(split)[1], minlength=4)
        assert len(share.unique()) == 1 and share[0] >= 1, split
    if count == 40:
        sizes = {split: len(rows) / 4 for split, rows in images.splits.items()}
        assert sizes == pytest.approx({"train": 18, "val": 2, "query": 4, "database": 16}, abs=1)


def test_splits_depend_on_the_seed_alone(root, tmp_path):
    first, again, other = load(root), load(root), load(root, seed=1)
    assert all(torch.equal(rows, again.splits[split]) for split, rows in first.splits.items())
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert not torch.equal(first.splits["train"], other.splits["train"])
    moved = root.rename(tmp_path / "elsewhere")
    assert load(moved).fingerprint == first.fingerprint
    half = load(moved, scale=0.5)
    assert len(half.splits["train"]) < len(first.splits["train"])
    assert "val" not in load(moved, val=0).splits


def test_another_content_is_another_data_set(root):
    first = load(root)
    file = next(root.rglob("*.png"))
    status = file.stat()
    picture((1, 2, 3), 5).save(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    second = load(root)
    assert first.fingerprint != second.fingerprint and not torch.equal(first.images, second.images)


def test_files_are_read_once(root, monkeypatch):
    first = load(root)
    monkeypatch.setattr(survey, "_read", None)
    monkeypatch.setattr(streams, "read_image", None)
    again = load(root)
    assert torch.equal(first.images, again.images) and first.fingerprint == again.fingerprint
    monkeypatch.undo()
    read = []
    monkeypatch.setattr(survey, "ahead", lambda work, jobs: (read.append(job[1:]) or work(job) for job in jobs))
    picture((1, 2, 3), 0).save(root / "machines" / "car" / "new.png")
    assert len(load(root).images) == 49 and read == [(0, 1)]


def test_a_damaged_record_of_the_files_is_made_anew(root):
    first = load(root)
    from shc.datasets.cache import cache_folder

    for file in cache_folder().glob("folder-*.npz"):
        file.write_bytes(b"nothing")
    assert load(root).fingerprint == first.fingerprint


# ------------------------------------------------------------------------------------------ what is refused or told


@pytest.fixture
def damaged(root):
    for i, (name, (content, _)) in enumerate(BROKEN.items()):
        (root / "machines" / "car" / f"{i} {name}").write_bytes(content)
    picture((1, 2, 3), 0).save(root / "loose.png")
    (root / "notes.txt").write_text("no picture")
    (root / "machines" / ".thumbs").mkdir()
    picture((1, 2, 3), 0).save(root / "machines" / ".thumbs" / "a.png")
    picture((1, 2, 3), 0).save(root / "machines" / "car" / "._a.png")
    return root


def test_damaged_pictures_are_left_out_and_named(damaged, root):
    with pytest.warns(UserWarning, match=r"7 of 55 pictures \(loose\.png \(it lies in no class.*, and 2 more\) left"):
        images = load(damaged)
    assert len(images.images) == 48 and len(images.skipped) == 7
    assert images.skipped["machines/car/0 empty.png"] == "the file is empty"
    with pytest.warns(UserWarning, match="7 of 55"):  # remembered, and told again
        assert load(damaged).skipped == images.skipped


def test_damaged_pictures_are_refused_by_choice(damaged):
    with pytest.raises(
        ValueError, match=r"6 of 54 pictures \(machines/car/0 empty\.png \(the file is empty\), .*repair"
    ):
        load(damaged, unreadable="fail")
    with pytest.raises(ValueError, match="unreadable='maybe' is unknown; choose skip or fail"):
        load(damaged, unreadable="maybe")


def test_the_choice_does_not_change_what_is_identified(root):
    assert load(root, unreadable="fail").fingerprint == load(root).fingerprint


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems")
def test_names_that_are_no_text_are_left_out(root):
    (root / "machines" / "car").joinpath(os.fsdecode(b"\xff.png")).write_bytes(KINDS["plain.png"][0])
    with pytest.warns(UserWarning, match=r"1 of 49 pictures \(machines/car/\\xff\.png \(its name is not UTF-8\)\)"):
        assert len(load(root).images) == 48


def test_what_cannot_be_read_at_all_is_tried_again(root, monkeypatch):
    link = root / "machines" / "car" / "later.png"
    link.symlink_to(root / "later.bin")
    with pytest.warns(UserWarning, match=r"later\.png \(No such file or directory\)"):
        assert len(load(root).images) == 48
    (root / "later.bin").write_bytes(KINDS["plain.png"][0])
    assert len(load(root).images) == 49


def test_too_few_pictures_are_named_with_their_classes(tmp_path):
    filled(tmp_path, 3, [f"class {i}" for i in range(7)], {})
    filled(tmp_path, 4, ["good"], {})
    (tmp_path / "class 0" / "01.png").write_bytes(b"")
    with (
        pytest.raises(
            ValueError, match=r"7 of 8 classes have fewer than 4 readable .*class 0 \(2\), class 1 \(3\), .*…"
        ),
        warnings.catch_warnings(action="ignore"),
    ):
        load(tmp_path)


def test_folders_without_classes_are_refused(tmp_path):
    with pytest.raises(MissingData, match="is not there; give a folder of images; `root` is the folder whose"):
        load(tmp_path / "none")
    with pytest.raises(MissingData, match="holds no images"):
        load(tmp_path)
    filled(tmp_path, 4, ["one"], {})
    with pytest.raises(ValueError, match=r"1 class folder\(s\) with pictures in .*at least two"):
        load(tmp_path)
    filled(tmp_path / "split", 4, ["a"], {"a": "train"})
    filled(tmp_path / "split", 4, ["a"], {"a": "test"})
    with pytest.raises(ValueError, match=r"test, train look like splits, not classes; .* give one of them as root"):
        load(tmp_path / "split")
    with pytest.raises(ValueError, match="fold=1 does not exist"):
        load(tmp_path, fold=1)


def test_copies_in_different_splits_are_told(root):
    car = root / "machines" / "car"
    for i in range(6):
        (car / f"copy {i}.png").write_bytes((car / "00.png").read_bytes())
    with pytest.warns(UserWarning, match=r"different splits, 1 time.*machines/car/00\.png = machines/car/copy 0"):
        images = load(root)
    assert images.duplicates == [("machines/car/00.png", *(f"machines/car/copy {i}.png" for i in range(6)))]


def test_copies_in_one_split_are_not():
    names, digests = list("abcdef"), np.array([[1], [1], [2], [3], [2], [4]], dtype=np.uint8)
    splits = {"train": np.array([0, 1, 2]), "query": np.array([3, 4, 5])}
    assert image_folder.duplicates(names, digests, splits) == [("c", "e")]
    assert image_folder.duplicates(names[3:], digests[3:], {"train": np.array([0, 1, 2])}) == []


# ------------------------------------------------------------------------------------------ the whole sequence


def test_the_whole_sequence_from_a_tensor_and_from_files(root, tmp_path, monkeypatch):
    in_memory = sequence(root, tmp_path / "tensor", torch.Tensor)
    monkeypatch.setattr(streams, "LIMIT", 20_000)
    assert sequence(root, tmp_path / "files", FileImages) == in_memory


def sequence(root, folder, kind):
    """What comes out of a run: mAP and losses."""
    data = Data(data="image_folder", root=str(root), size=16)
    where = dict(epochs=2, batch=16, device="cpu", threads=1)
    run = Run(folder)
    found = stages.run_all(run, data, ClassifierConfig(**where), CentersConfig(bits=16), HasherConfig(**where))
    assert found["semantic"] > 0.3
    images = stages.images_of(run)
    assert isinstance(images.images, kind)
    assert run.parameters()["data"] == data.identity() and run.parameters()["data"]["root"] == str(root)
    assert stages.load_codes(run, images)["query"].shape == (len(images.splits["query"]), 16)
    return found, [r["loss"] for r in run.load("hasher").meta["extra"]["history"]]


def test_the_configuration_finds_the_folder_from_anywhere(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    assert Data(data="image_folder", root=root.name).root == str(root)
    check_possible(Data(data="image_folder", root=root.name), CentersConfig(bits=4, min_distance="3"))
    with pytest.raises(ConfigError, match="unreadable='no' is unknown"):
        check_possible(Data(data="image_folder", unreadable="no"), CentersConfig())


def test_embedded_data_sets_are_what_they_were():
    assert Data().identity() == dict(data="emoji", scale=1.0, size=32, seed=0, fold=0, protocol="closed")
    images = datasets.load("emoji", scale=0.02, size=16)
    assert images.parameters == dict(name="emoji", scale=0.02, size=16, seed=0, fold=0, protocol="closed")
    assert images.fingerprint == datasets.load("emoji", scale=0.02, size=16, val=0.3, unreadable="fail").fingerprint
