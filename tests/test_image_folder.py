"""A user's folder as a data set: every kind of picture, classes from folders, splits, and what is refused."""

import io
import os
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, features

from shc import datasets, stages
from shc import image_files as image_formats
from shc.config import CentersConfig, ClassifierConfig, ConfigError, Data, HasherConfig, check_possible
from shc.datasets import image_folder, streams, survey
from shc.datasets.sources import MissingData
from shc.datasets.streams import FileImages
from shc.image_files import BrokenImage, fault, image_files, read_image
from shc.runs import Run, RunError

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


def pages():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    return bytes_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])


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
    "plain.jfif": (bytes_of(Image.new("RGB", (8, 8), (9, 9, 9)), "JPEG"), (9, 9, 9)),
    "plain.tif": (bytes_of(Image.new("RGB", (8, 8), (10, 20, 30)), "TIFF", compression="tiff_lzw"), (10, 20, 30)),
    "sixteen.tiff": (bytes_of(Image.fromarray(np.full((8, 8), 200 * 256, np.uint16)), "TIFF"), (200, 200, 200)),
    "wide gray.tiff": (bytes_of(Image.fromarray(np.full((8, 8), 200 * 256, np.int32)), "TIFF"), (200, 200, 200)),
    "pages.tiff": (pages(), (255, 0, 0)),
    "fax.tif": (bytes_of(Image.new("1", (8, 8), 1), "TIFF", compression="group4"), (255, 255, 255)),
    "print.tif": (bytes_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    "icon.ico": (bytes_of(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "ICO"), (255, 255, 255)),
    "plain.ppm": (bytes_of(Image.new("RGB", (8, 8), (10, 20, 30)), "PPM"), (10, 20, 30)),
}
if features.check("jpg_2000"):
    KINDS["plain.jp2"] = (bytes_of(Image.new("RGB", (8, 8), (10, 20, 30)), "JPEG2000"), (10, 20, 30))
if "avif" in features.modules and features.check("avif"):
    KINDS["plain.avif"] = (bytes_of(Image.new("RGB", (8, 8), (10, 20, 30)), "AVIF", quality=100), (10, 20, 30))
noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
BROKEN = {
    "empty.png": (b"", "the file is empty"),
    "cut.jpg": (bytes_of(noise, "JPEG")[:3000], "truncated"),
    "cut.png": (bytes_of(noise)[:3000], "truncated"),
    "text.jpg": (b"<html>404</html>", "cannot identify image file"),
    "bomb.png": (bytes_of(Image.new("1", (12_000, 9_000))), r"12,000 × 9,000 pixels are more than 100,000,000"),
    "large bomb.png": (bytes_of(Image.new("1", (30_000, 30_000))), "decompression bomb"),
}
UNSUITED = {
    "float.tif": (bytes_of(Image.new("F", (8, 8)), "TIFF"), "its numbers have no known white; save it with 8 or 16"),
    "beyond.tif": (bytes_of(Image.new("I", (8, 8), 70_000), "TIFF"), "its numbers have no known white"),
    "program.png": (bytes_of(Image.new("RGB", (8, 8)), "EPS"), "cannot identify image file"),
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


@pytest.mark.parametrize("name", [*BROKEN, *UNSUITED])
def test_broken_pictures_are_told_apart_without_warnings(tmp_path, name):
    content, why = (BROKEN | UNSUITED)[name]
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


SPLIT_LAYOUTS = {  # folders of pictures, and what the message names
    "only splits": (["train/cat", "train/dog", "test/cat", "test/dog"], "test, train look like splits"),
    "without classes": (["train", "test"], "test, train look like splits"),
    "one level down": (["set/train/cat", "set/train/dog", "set/test/cat"], r"in .*set, and several of them hold cat"),
    "beside a folder": (["train/cat", "test/cat", "docs"], "test, train look like splits"),
    "down and beside": (["a/b/Training Set/pets/cat", "a/b/val2017/pets/cat", "a/docs"], "hold pets/cat"),
    "other classes in each": (["set/train/cat", "set/train/dog", "set/test/cow"], "test, train look like splits"),
    "below the classes": (["cat/train", "cat/test", "dog/train", "dog/test", "dog/val"], "put all pictures of a class"),
}
HONEST_LAYOUTS = {
    "vehicles": ["train", "bus", "car"],
    "nested": ["vehicles/train", "vehicles/bus", "medicine/test"],
    "one that has classes": ["train/steam", "train/diesel", "bus/steam"],
    "both, beside others": ["words/train", "words/test", "words/chair"],
    "numbered": ["train 1", "train 2"],
    "other words": ["training camp", "test tube"],
}


def empty_files(root, folders):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for i in range(4):
            (root / folder / f"{i}.png").write_bytes(bytes([i]))


@pytest.mark.parametrize("name", SPLIT_LAYOUTS)
def test_ready_made_splits_are_refused_before_a_picture_is_read(tmp_path, name, monkeypatch):
    folders, told = SPLIT_LAYOUTS[name]
    empty_files(tmp_path, folders)
    monkeypatch.setattr(image_folder, "survey", None)
    with pytest.raises(ValueError, match=r"look like splits, not classes.*put all pictures of a class") as error:
        image_folder.pictures(tmp_path)
    assert re.search(told, str(error.value))
    chosen = re.search("as root, e.g. (.*), or put", str(error.value))
    assert bool(chosen) == (name != "below the classes")
    if chosen and name not in ("without classes", "down and beside"):  # that piece of advice leads on
        assert os.path.basename(chosen[1]) == "train"
        image_folder.check_no_splits([(folder,) for folder in os.listdir(chosen[1])], tmp_path)


@pytest.mark.parametrize("name", HONEST_LAYOUTS)
def test_classes_may_be_called_train_or_test(tmp_path, name):
    empty_files(tmp_path, HONEST_LAYOUTS[name])
    assert image_folder.pictures(tmp_path).folders == sorted(tuple(f.split("/")) for f in HONEST_LAYOUTS[name])


def test_pictures_of_other_formats_are_named_and_other_files_are_not(root):
    car = root / "machines" / "car"
    for name in ("a.HEIC", "b.nef", "c.svg"):
        (car / name).write_bytes(b"anything")
    for name in ("notes.txt", "labels.csv", "Thumbs.db", ".DS_Store", "data.json", "._d.heic"):
        (car / name).write_bytes(b"anything")
    with pytest.warns(UserWarning, match=r"3 of 51 pictures \(machines/car/a\.HEIC \(\.heic is not read; convert it"):
        images = load(root)
    assert set(images.skipped) == {f"machines/car/{name}" for name in ("a.HEIC", "b.nef", "c.svg")}
    assert len(images.images) == 48
    with pytest.raises(ValueError, match=r"3 of 51 pictures .* cannot be read; repair, convert or remove"):
        load(root, unreadable="fail")


def test_a_folder_of_nothing_but_other_formats_says_so(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.heic").write_bytes(b"anything")
    with (
        pytest.warns(UserWarning, match=r"2 of 2 pictures .*\.heic is not read; convert it"),
        pytest.raises(ValueError, match=r"0 class folder\(s\) with pictures in"),
    ):
        load(tmp_path)


def test_a_format_that_this_pillow_lacks_is_named(root, monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    image_formats._decoders.cache_clear()
    try:
        (root / "machines" / "car" / "a.avif").write_bytes(b"anything")
        with pytest.warns(UserWarning, match=r"a\.avif \(\.avif is not read; convert it to PNG or JPEG\)"):
            load(root)
    finally:
        image_formats._decoders.cache_clear()


def copied(root, source, *names):
    for name in names:
        (root / name).write_bytes((root / source).read_bytes())


def split_of(images, root):
    """Which split the file of each name lies in."""
    names = image_folder.files_of(images, root)
    return {names[row]: split for split, rows in images.splits.items() for row in rows.tolist()}


def test_copies_in_different_splits_are_told(root):
    copied(root, "machines/car/00.png", *(f"machines/car/copy {i}.png" for i in range(6)))
    with pytest.warns(UserWarning, match="different splits, 1 time") as told:
        images = load(root)
    assert images.duplicates == [("machines/car/00.png", *(f"machines/car/copy {i}.png" for i in range(6)))]
    (first, split), (second, other) = re.findall(r"(machines/car/[\w ]+\.png) in (\w+)", str(told[0].message))
    where = split_of(images, root)
    assert where[first] == split != where[second] == other and "different classes" not in str(told[0].message)


def test_copies_in_different_classes_are_counted(root):
    copied(root, "machines/car/00.png", *(f"animals/fish/trout/car {i}.png" for i in range(12)))
    copied(root, "machines/car/01.png", *(f"machines/car/car {i}.png" for i in range(12)))
    with pytest.warns(UserWarning, match=r"2 time\(s\) .*; 1 of them lie in different classes too"):
        load(root)


def test_copies_are_those_of_the_images_that_are_used(tmp_path):
    filled(tmp_path, 30)
    copied(tmp_path, "machines/car/00.png", *(f"machines/car/copy {i:02d}.png" for i in range(12)))
    with pytest.warns(UserWarning, match="1 time"):
        (whole,) = load(tmp_path).duplicates
    with warnings.catch_warnings(action="ignore"):
        small = load(tmp_path, scale=0.2)
    where = split_of(small, tmp_path)
    assert len(whole) == 13 and all(name in where for group in small.duplicates for name in group)
    left = [name for name in whole if name in where]
    assert small.duplicates == ([tuple(left)] if len({where[name] for name in left}) > 1 else [])


def test_copies_in_one_split_are_not_told(root):
    images = load(root)
    names = image_folder.files_of(images, root)
    first, second = images.splits["train"][:2].tolist()
    digests = np.arange(len(names), dtype=np.uint8)[:, None]
    digests[second] = digests[first]
    assert image_folder._copies(images, names, digests) == ([], "")
    digests[images.splits["query"][0]] = digests[first]
    groups, told = image_folder._copies(images, names, digests)
    assert len(groups) == 1 and len(groups[0]) == 3 and "in query" in told


def test_files_belong_to_their_images_or_are_refused(root):
    images = load(root)
    files = image_folder.files_of(images, root)
    for row in (0, 17, 47):
        assert np.array_equal(read_image(root / files[row], 16), images.images[row].numpy())
    renamed = root / files[0]
    renamed.rename(renamed.with_name("99 renamed.png"))  # as many pictures of every class as before
    with pytest.raises(RunError, match="have changed since they were loaded"):
        image_folder.files_of(images, root)
    renamed.with_name("99 renamed.png").rename(renamed)
    assert image_folder.files_of(images, root) == files
    picture((1, 2, 3), 99).save(root / files[1])
    with pytest.raises(RunError, match="have changed since they were loaded"):
        image_folder.files_of(images, root)


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
