"""What fuzzing found, or reading the code for it, one test each: these ended in errors of libraries, or did not end."""

import io
import json
import os
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import test_coco
import test_nabirds
import test_stanford_cars as test_cars
from fake_notebooks import parameters
from PIL import Image
from scipy.io import savemat

from shc import datasets, report, search_faiss
from shc.config import ConfigError, Data
from shc.datasets import coco, nabirds
from shc.datasets import stanford_cars as cars
from shc.datasets.sources import MissingData
from shc.files import read_arrays, write_arrays
from shc.image_files import BrokenImage, read_image
from shc.parameters import Parameter, ParameterError, parameters_of, typed
from shc.runs import Run, RunError, read_yaml
from shc.search import HammingIndex, SearchError
from shc.sweep_file import SweepError, read_sweep
from shc.untrusted import TooLarge, check_npy_file


@pytest.mark.parametrize("text", ["{[]: 1}", "0x" + "f" * 5000, "-" * 5000 + "1", str(2**63), "1" * 5000])
def test_values_that_python_cannot_hold_or_show(text):
    with pytest.raises(ParameterError, match="is not of type int; it is a length, by default 3") as raised:
        typed(Parameter("bits", "int", 3, "a length"), text)
    assert text[:20] in str(raised.value)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([parameters("a: list = {[]: 1}")], "parameter a must be a literal"),
        ([parameters("a: int = 'b'")], "a has a default that is not of type int"),
        ([parameters("a: int = 0x" + "f" * 5000)], "a has a default that is not of type int"),
        ([parameters("a.b: int = 0x" + "f" * 5000)], "may only hold .* not 'a AnnAssign too long to be shown'"),
        ([parameters("a: int = f(0x" + "f" * 5000 + ")")], "must be a literal, not a Call too long to be shown"),
        ([parameters("a: int = 1") | {"source": "\ud800"}], "does not parse"),
        ([parameters("a: int = " + "-" * 5000 + "1")], "does not parse|must be a literal"),
        ([parameters() | {"source": [1]}], "not those of a notebook of format 4"),
        ([parameters() | {"metadata": {"tags": 3}}], "not those of a notebook of format 4"),
        ([{}], "not those of a notebook of format 4"),
        (["cell"], "not those of a notebook of format 4"),
    ],
)
def test_cells_that_are_no_parameters(cells, told):
    with pytest.raises(RunError, match=told):
        parameters_of({"cells": cells})


def test_a_line_of_ipython_with_an_open_quote_is_left_out():
    assert parameters_of({"cells": [parameters("!echo 'a\na: int = 1  # b")]})["a"].help == "b"


def test_references_in_sweep_files(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    for text in ("set: &x [*x]", "\n".join(lines), "cells: [{seed: 1" + ":1" * 3000 + "}]", "set: 0x" + "f" * 5000):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(SweepError, match=r"refers to its own parts|a number of more than 1,000 digits"):
            read_sweep(tmp_path / "s.yaml")
        with pytest.raises(RunError, match="not readable YAML"):
            read_yaml(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("cells: [{seed: 1}]\nshared: [{a: b}]")
    with pytest.raises(SweepError, match="is no parameter that cells of method_run"):
        read_sweep(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    "entries",
    [
        {"headlines": []},
        {"headlines": {"a": 1}},
        {"seconds": {"a": "b"}},
        {"summary": 3},
        {"table": [1]},
        {"made_with": 1},
    ],
)  # fmt: skip
def test_results_that_no_report_could_show(tmp_path, entries):
    (tmp_path / "results.json").write_text(json.dumps(entries))
    with pytest.raises(RunError, match=f"results.json: '{next(iter(entries))}' holds .*; delete the file and run"):
        Run(tmp_path).results()
    with pytest.raises(RunError, match="delete the file"):
        report.index(Run(tmp_path), {})


def test_stored_parameters_of_another_kind(tmp_path):
    with pytest.raises(ConfigError, match=r"params\.yaml has a parameter 'sise'; known are .*; delete the file"):
        Data.read({"data": "emoji", "sise": 3}, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("1: {a: b}")
    with pytest.raises(RunError, match="gives no parameters for 1"):
        Run(tmp_path).parameters()


def test_pictures_of_a_run_without_a_scale_or_with_odd_words(tmp_path):
    (tmp_path / "figures").mkdir()
    file = tmp_path / "figures" / "03_a.png"
    Image.new("RGB", (40, 30)).save(file, dpi=(100, 100))
    content = file.read_bytes()
    at = content.index(b"pHYs") + 4
    chunk = bytes(4) + content[at + 4 : at + 9]  # no pixels per metre
    check = zlib.crc32(b"pHYs" + chunk).to_bytes(4, "big")
    file.write_bytes(content[:at] + chunk + check + content[at + 13 :])
    file.with_suffix(".txt").write_bytes(b"caf\xe9 <b>")
    assert "caf\ufffd &lt;b&gt;" in report.index(Run(tmp_path), {}) and report.width_on_screen(file) == 40


def test_a_checkpoint_without_state_or_with_texts_is_none(tmp_path):
    checkpoint = Run(tmp_path).checkpoint("hasher", "k")
    for arrays, meta in (({"w": np.ones(2)}, {"key": "k"}), ({"w": np.ones(2)}, {"key": "k", "state": []})):
        write_arrays(checkpoint.file, arrays, meta)
        assert checkpoint.load() is None


# ------------------------------------------------------------------------------------------ data sets


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data["images"][0].update(id=1e400), "OverflowError"),
        (lambda data: data["annotations"][0].update(category_id=2**70), "OverflowError"),
        (lambda data: data["categories"][0].update(id=2**70), "numbers of pictures or categories beyond all measure"),
        (lambda data: data["categories"].extend({"id": n, "name": "a", "supercategory": "b"} for n in range(100, 1200)),
         "beyond all measure"),
        (lambda data: data["categories"][0].update(name=["a"]), "a category without a name"),
        (lambda data: data["categories"][0].update(supercategory=None), "a category without a name"),
    ],
)  # fmt: skip
def test_coco_numbers_beyond_all_measure(tmp_path, monkeypatch, change, told):
    root, data = test_coco.write(tmp_path), json.loads(json.dumps(test_coco.content("train")))
    change(data)
    test_coco.annotation_file(root, "train").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=rf"instances_train2017.json is damaged.*{told}"):
        coco.read_instances(coco.annotation_files(root))


def test_coco_inside_coco_and_a_folder_in_its_place(tmp_path):
    root = test_coco.write(tmp_path)
    file = test_coco.annotation_file(root, "train")
    file.write_text('{"a":' * 100_000)
    with pytest.raises(ValueError, match="RecursionError"):
        coco.read_instances([file])
    with pytest.raises(ValueError, match="not a plain file"):
        coco.read_instances([tmp_path])


def test_nabirds_trees_and_files_without_end(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    up = {str(n): str(n + 1) for n in range(10_000, 10_050)}
    test_nabirds.write(tmp_path, classes=test_nabirds.NODES | {n: "x" for n in (*up, "10050")},
                       hierarchy=test_nabirds.TREE | {"295": "10000"} | up)  # fmt: skip
    with pytest.raises(ValueError, match="has more than 20 levels above class 295"):
        nabirds.read_birds(tmp_path)
    monkeypatch.setattr(nabirds, "MOST_TEXT", 100)
    with pytest.raises(ValueError, match=r"images\.txt cannot be read \(it has .* bytes; at most 100 are read\)"):
        nabirds.read_birds(tmp_path)
    (tmp_path / nabirds.IMAGES).unlink()
    (tmp_path / nabirds.IMAGES).mkdir()
    with pytest.raises(ValueError, match="not a plain file"):
        nabirds.read_birds(tmp_path)


@pytest.mark.parametrize(
    ("names", "row", "told"),
    [
        ([*test_cars.NAMES[:3], " "], {}, "a class without a name"),
        (test_cars.NAMES, {"test": 2}, "test=2, not 0 or 1"),
        (test_cars.NAMES, {"test": "yes"}, "test=yes, not 0 or 1"),
    ],
)
def test_stanford_cars_without_names_or_parts(tmp_path, names, row, told):
    rows = [
        {"relative_im_path": "a.jpg", "class": 1, "test": 0},
        {"relative_im_path": "b.jpg", "class": 2, "test": 1} | row,
    ]
    savemat(tmp_path / "cars_annos.mat", test_cars.struct(rows, test_cars.ONE_FILE) | test_cars.cells(names))
    with pytest.raises(ValueError, match=told):
        cars.read_cars(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pictures_that_are_pipes_and_devices(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.effect_noise((20, 20), 90 + i).save(tmp_path / name / f"{i}.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "dog" / "zero.png").symlink_to("/dev/zero")
    with pytest.warns(UserWarning, match="left out"):
        images = datasets.load("image_folder", root=str(tmp_path), size=16)
    assert len(images.images) == 10
    assert images.skipped == dict.fromkeys(("cat/pipe.png", "dog/zero.png"), "it is not a plain file")
    for name in images.skipped:
        with pytest.raises(BrokenImage, match="it is not a plain file"):
            read_image(tmp_path / name, 16)


# ------------------------------------------------------------------------------------------ indexes


@pytest.mark.parametrize(
    ("arrays", "meta"),
    [
        ({"index": np.zeros(0, np.uint8)}, {}),
        ({"ids": np.array([3, 3])}, {}),
        ({"ids": np.array([-1, 3])}, {}),
        ({"ids": np.array([0.5, 3])}, {}),
        ({"labels": np.array([-2, 0])}, {}),
        ({"labels": np.array([0, 0, 0])}, {}),
        ({"paths": np.frombuffer(b"a\0b\0c", np.uint8)}, {}),
        ({"paths": np.frombuffer(b"\xff\0b", np.uint8)}, {}),
        ({}, {"bits": 300}),
        ({}, {"bits": "8"}),
        ({}, {"fingerprint": 3}),
        ({}, {"kind": "hnsw"}),
        ({}, {"options": []}),
    ],
)
def test_a_saved_index_that_was_forged(tmp_path, arrays, meta):
    index = HammingIndex.open(f"memory:{tmp_path}")
    index.add(np.array([[1, -1, 1], [1, 1, 1]]), ids=[5, 3], labels=[0, 1], paths=["a", "b"])
    index.save()
    file = tmp_path / search_faiss.FILE
    was, about = read_arrays(file)
    assert HammingIndex.open(f"memory:{tmp_path}").search(np.array([[1, 1, 1]]), k=2).ids.tolist() == [[3, 5]]
    write_arrays(file, was | arrays, about | meta)
    with pytest.raises(SearchError, match="is damaged or no index; delete it and fill the index again"):
        HammingIndex.open(f"memory:{tmp_path}")


def test_a_flat_index_is_not_read_by_faiss_whose_head_could_lie(tmp_path, monkeypatch):
    import faiss

    index = HammingIndex.open(f"memory:{tmp_path}")
    index.add(np.array([[1, -1, 1], [1, 1, 1]]))
    index.save()
    monkeypatch.setattr(faiss, "deserialize_index_binary", None)
    assert HammingIndex.open(f"memory:{tmp_path}").count() == 2


def test_texts_without_letters_take_memory_all_the_same(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<U0", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("S.npy", stream.getvalue())
    with pytest.raises(RunError, match=r"announces \[1099511627776\] of <U0"):
        read_arrays(tmp_path / "a.npz")


def test_a_header_of_npy_that_announces_gigabytes(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{'descr': '<f8'}")
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="the header of it announces more than 10,000 bytes"):
            check_npy_file(tmp_path / "a.npy")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["a: !!timestamp x", "a: !!bool x", "a: !!int x", "a: !!float x", "!!binary é: 1"])
def test_yaml_values_that_are_not_of_the_type_they_give(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match="not readable YAML"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", ["emoji", "nabirds", "stanford_cars", "coco", "image_folder", "cifar10"])
def test_a_root_whose_name_is_too_long(name):
    with pytest.raises(MissingData, match="is no folder"):
        datasets.check_files(name, "x" * 5000)
