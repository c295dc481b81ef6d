"""Fuzzing of the readers of other people's data sets: NABirds, Stanford Cars, MS COCO and folders of pictures."""

import os
import struct
import zlib

import numpy as np
import pytest
import test_coco
import test_nabirds
import test_stanford_cars as test_cars
from colored import save_picture
from fuzzing import TEXTS, accepted, altered, damaged, dumped, fuzz, restored
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from shc import datasets
from shc.datasets import coco, nabirds
from shc.datasets import stanford_cars as cars
from shc.image_files import SUFFIXES, image_files, read_image


def check(images):
    """A loaded data set is one that every step can use."""
    count, classes = len(images.images), len(images.class_names)
    assert images.labels.shape in ((count,), (count, classes)) and all(isinstance(n, str) for n in images.class_names)
    assert images.labels.ndim == 2 or 0 <= images.labels.min() <= images.labels.max() < classes
    assert all(len(rows) and 0 <= rows.min() <= rows.max() < count for rows in images.splits.values())
    assert images.hierarchy is None or len(images.hierarchy.paths) == classes
    for name in images.class_names if images.hierarchy is None else sum(images.hierarchy.paths, ()):
        assert isinstance(name, str) and name


def load(name, root, **options):
    check(datasets.load(name, root=str(root), size=16, val=0, **options))


# ------------------------------------------------------------------------------------------ NABirds


def test_nabirds_files(tmp_path):
    root = tmp_path / "birds"
    test_nabirds.write(root)
    for _, path, node, train in test_nabirds.pictures():
        save_picture(root / "images" / path, test_nabirds.LABELED.index(node), test=not train)
    files = [root / name for name in (nabirds.IMAGES, nabirds.LABELS, nabirds.SPLIT, nabirds.CLASSES, nabirds.PARENTS)]
    whole = {file: file.read_bytes() for file in files}

    def changed(draw, content):
        lines = content.split(b"\n")
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in "ab")
        words = lines[at].split(b" ")
        kind = draw(st.sampled_from(("swap", "cut", "double", "word", "word", "move")))
        if kind == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "cut":
            del lines[at:other]
        elif kind == "double":
            lines.insert(other, lines[at])
        elif kind == "word":
            words[-1 if at % 2 else 0] = draw(st.sampled_from(TEXTS)).encode(errors="surrogatepass")
            lines[at] = b" ".join(words)
        else:
            lines[at] = words[0] + b" " + lines[other].split(b" ")[-1]
        return b"\n".join(lines)

    def prepare(draw):
        for file, content in whole.items():
            file.write_bytes(content)
        for _ in range(draw(st.integers(1, 2))):
            file = draw(st.sampled_from(files))
            file.write_bytes(draw(st.sampled_from((changed, changed, damaged)))(draw, file.read_bytes()))
        protocol = draw(st.sampled_from(("a", "b")))
        return lambda: load("nabirds", root, protocol=protocol)

    assert accepted(lambda: load("nabirds", root), root)
    assert fuzz("data: NABirds", prepare, root, few=4)["accepted"]


# ------------------------------------------------------------------------------------------ Stanford Cars


def test_stanford_cars_files(tmp_path, monkeypatch):
    monkeypatch.setattr(cars, "TRAIN", 3)
    monkeypatch.setattr(cars, "QUERY", 2)
    devkit, single = tmp_path / "devkit_", tmp_path / "single"
    test_cars.write_devkit(devkit)
    test_cars.write_pictures(devkit)
    rows = [
        {"relative_im_path": f"cars_{'test' if test else 'train'}/{row['fname']}", "class": row["class"], "test": test}
        for test in (False, True)
        for row in test_cars.rows_of(test)
    ]
    contents = test_cars.struct(rows, test_cars.ONE_FILE) | test_cars.cells(test_cars.NAMES)
    single.mkdir()
    for folder in ("cars_train", "cars_test"):
        (single / folder).symlink_to(devkit / folder)
    savemat(single / "cars_annos.mat", contents)
    whole = {file: file.read_bytes() for file in (*devkit.rglob("*.mat"), *single.rglob("*.mat"))}

    def forged(draw, file):
        """Other values in the structure, as a file that SciPy writes well."""
        found = {name: value.copy() for name, value in contents.items()}
        if draw(st.booleans()):
            at = draw(st.integers(0, found["annotations"].size - 1))
            field = draw(st.sampled_from(test_cars.ONE_FILE))
            found["annotations"][0, at][field] = odd(draw)
        else:
            found["class_names"][0, draw(st.integers(0, 3))] = odd(draw)
        if draw(st.booleans()):
            found[draw(st.sampled_from(("annotations", "class_names", "x")))] = odd(draw)
        savemat(file, found, do_compression=draw(st.booleans()))

    def prepare(draw):
        for file, content in whole.items():
            file.write_bytes(content)
        root = draw(st.sampled_from((devkit, single)))
        file = draw(st.sampled_from([file for file in whole if file.is_relative_to(root)]))
        kind = draw(st.sampled_from(("forged", "bytes", "packed", "element", "element")))
        if kind == "forged":
            forged(draw, single / "cars_annos.mat")
        elif kind == "bytes":
            file.write_bytes(damaged(draw, file.read_bytes()))
        else:
            content = element(draw, whole[file]) if kind == "element" else whole[file]
            file.write_bytes(packed(content) if kind == "packed" or draw(st.booleans()) else content)
            if kind == "packed":
                file.write_bytes(damaged(draw, file.read_bytes()))
        protocol = draw(st.sampled_from(("a", "b")))
        return lambda: load("stanford_cars", root, protocol=protocol)

    for root in (devkit, single):
        assert accepted(lambda root=root: load("stanford_cars", root), tmp_path)
    assert fuzz("data: Stanford Cars", prepare, tmp_path, few=4)["accepted"]


def odd(draw):
    """A value that MATLAB files can hold and these should not."""
    values = (
        np.zeros((0, 0)), np.zeros((3, 2)), 1 + 2j, np.array([["ab", "cd"]]), "", "x" * 5000, "../../x", True, -1, 2.5,
        np.nan, np.inf, 2**40, {"a": {"b": 1}}, np.array([{"a": 1}, 2], dtype=object), np.zeros((2, 2, 2)), "é\u4e00",
    )  # fmt: skip
    return draw(st.sampled_from(values))


def element(draw, content):
    """The file with other numbers in the tags and dimensions of its elements: they stand at multiples of 4."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(31, len(content) // 4 - 1)) * 4
        if draw(st.booleans()):  # rather where a small number stands: a kind, a size, a dimension
            places = [i for i in range(128, len(content) - 3, 4) if 0 < struct.unpack_from("<I", content, i)[0] < 600]
            at = draw(st.sampled_from(places))
        value = draw(
            st.sampled_from((0, 1, 2, 3, 4, 5, 6, 8, 9, 14, 15, 16, 17, 64, 2**16, 2**28, 2**31 - 1, 2**32 - 1))
        )
        struct.pack_into("<I", content, at, value)
    return bytes(content)


def packed(content):
    """The file with each variable compressed."""
    found, at = bytearray(content[:128]), 128
    while at + 8 <= len(content):
        _, size = struct.unpack_from("<II", content, at)
        piece = zlib.compress(content[at : at + 8 + size])
        found += struct.pack("<II", 15, len(piece)) + piece
        at += 8 + size
    return bytes(found)


# ------------------------------------------------------------------------------------------ MS COCO


def test_coco_files(tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "COUNTS", {"query": 3, "train": 5})
    root = test_coco.write(tmp_path / "coco")
    files = {part: test_coco.annotation_file(root, part) for part in test_coco.PICTURES}
    content = {part: test_coco.content(part) for part in files}
    for part in files:  # shorter, so that a fault more often hits what is read
        content[part] = {k: v for k, v in content[part].items() if k not in ("info", "licenses")}
        kept = ("image_id", "category_id", "id")
        content[part]["annotations"] = [{k: a[k] for k in kept} for a in content[part]["annotations"]]

    def prepare(draw):
        for part, file in files.items():
            file.write_bytes(dumped(content[part]))
        for _ in range(draw(st.integers(1, 2))):
            part = draw(st.sampled_from(list(files)))
            text = dumped(altered(draw, content[part])) if draw(st.integers(0, 3)) else files[part].read_bytes()
            files[part].write_bytes(damaged(draw, text) if not draw(st.integers(0, 3)) else text)
        protocol = draw(st.sampled_from(("hashnet", "disjoint")))
        return lambda: load("coco", root, protocol=protocol)

    assert accepted(lambda: load("coco", root), root)
    assert fuzz("data: COCO", prepare, root, few=4)["accepted"]


# ------------------------------------------------------------------------------------------ folders of pictures

FORMATS = ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "jp2", "ico")
NAMES = ("..jpg", "a\nb.png", "é\u202e.png", "x" * 240 + ".png", " .png", "$(x).png", "<b>.png", "-rf.png", b"\xff.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_folders_of_pictures(tmp_path):
    whole, root = tmp_path / "whole", tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for group in ("a/cat", "b/dog"):
        (whole / group).mkdir(parents=True)
        for i, suffix in enumerate(FORMATS):
            pixels = rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(whole / group / f"{i}.{suffix}")

    def prepare(draw):
        restored(whole, root)
        files = sorted(file for file in root.rglob("*") if file.is_file())
        for _ in range(draw(st.integers(1, 3))):
            file = draw(st.sampled_from(files))
            kind = draw(st.sampled_from(("bytes", "bytes", "bytes", "rename", "link", "odd", "suffix", "empty")))
            if file.is_symlink() or not file.is_file():
                continue
            if kind == "bytes":
                file.write_bytes(damaged(draw, file.read_bytes()))
            elif kind == "rename":
                os.rename(
                    os.fsencode(file), os.path.join(os.fsencode(file.parent), os.fsencode(draw(st.sampled_from(NAMES))))
                )
            elif kind == "suffix":
                file.rename(file.with_suffix(draw(st.sampled_from((*SUFFIXES, ".heic", ".eps", ".txt", "")))))
            elif kind == "empty":
                file.write_bytes(b"")
            elif kind == "link":
                target = draw(
                    st.sampled_from(("/dev/zero", "/dev/null", ".", "..", "gone", file.name, "/", str(whole)))
                )
                file.unlink()
                file.symlink_to(target)
            else:
                file.unlink()
                os.mkfifo(file) if draw(st.booleans()) else file.mkdir()
        unreadable = draw(st.sampled_from(("skip", "fail")))
        return lambda: read(unreadable)

    def read(unreadable="skip"):
        load("image_folder", root, unreadable=unreadable)
        for name in image_files(root):
            try:
                read_image(root / name, 16)
            except ValueError as error:
                assert "\n" not in str(error)

    restored(whole, root)
    assert accepted(read, root)
    assert fuzz("data: folders of pictures", prepare, root)["accepted"]
