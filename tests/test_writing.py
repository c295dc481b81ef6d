"""Images written as class folders: the round trip through `image_folder`, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from shc import datasets
from shc.datasets import streams
from shc.datasets.image_folder import files_of
from shc.datasets.writing import class_folders, write_folder
from shc.hierarchy import Hierarchy
from shc.runs import RunError


@pytest.fixture(scope="module")
def emoji():
    return datasets.load("emoji", scale=0.02, size=16)


def load(folder, size=16):
    return datasets.load("image_folder", root=str(folder), size=size)


def test_written_and_loaded_again_it_is_the_same(emoji, tmp_path):
    names = write_folder(emoji, tmp_path / "pictures")
    again = load(tmp_path / "pictures")
    files = files_of(again, tmp_path / "pictures")
    assert sorted(names) == files and not list(tmp_path.glob(".*"))
    place = {name: row for row, name in enumerate(files)}
    rows = np.array([place[name] for name in names])
    assert torch.equal(again.images[rows], emoji.images[:])
    assert [again.class_names[c] for c in again.labels[rows]] == [emoji.class_names[c] for c in emoji.labels]
    tree = dict(zip(again.class_names, again.hierarchy.paths, strict=True))
    assert tree == dict(zip(emoji.class_names, emoji.hierarchy.paths, strict=True))
    assert again.skipped == {} and len(again.images) == len(emoji.images)


def test_chosen_rows_are_written_in_their_order(emoji, tmp_path):
    rows = torch.tensor([20, 3, 1])
    names = write_folder(emoji, tmp_path, rows)
    assert [int(name[-8:-4]) for name in names] == [20, 3, 1]
    assert len(list(tmp_path.rglob("*.png"))) == 3 and tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_folder_written_from_files_is_the_same(emoji, tmp_path, monkeypatch):
    rows = torch.cat([(emoji.labels == c).nonzero()[:4, 0] for c in range(3)])
    write_folder(emoji, tmp_path / "a", rows)
    first = load(tmp_path / "a")
    monkeypatch.setattr(streams, "LIMIT", 5_000)
    monkeypatch.setattr("shc.datasets.writing.CHUNK", 5)
    lazy = load(tmp_path / "a")
    assert isinstance(lazy.images, streams.FileImages)
    write_folder(lazy, tmp_path / "b")
    monkeypatch.undo()
    second = load(tmp_path / "b")
    assert torch.equal(first.images[:], second.images[:]) and first.class_names == second.class_names


@pytest.mark.parametrize(
    ("names", "paths", "folders"),
    [
        (["cat", "dog"], None, ["cat", "dog"]),
        (["birds/crane", "machines/crane"], (("birds",), ("machines",)), ["birds/crane", "machines/crane"]),
        (["a/c", "b/c"], (("all", "a"), ("all", "b")), ["all/a/c", "all/b/c"]),
        (["AC/DC", "..", ".x", "what?", " y "], None, ["AC_DC", "_..", "_.x", "what_", "y"]),
        (["gull", "cat"], (("birds", "sea"), ("cat", "cat")), ["birds/sea/gull", "cat/cat/cat"]),
    ],
)
def test_names_become_folders(emoji, names, paths, folders):
    named = dataclasses.replace(emoji, class_names=names, hierarchy=Hierarchy(paths) if paths else None)
    assert class_folders(named) == folders


def test_what_cannot_be_written_is_told(emoji, tmp_path):
    sets = dataclasses.replace(emoji, labels=torch.zeros(len(emoji.labels), 100, dtype=torch.bool))
    with pytest.raises(ValueError, match="may have several labels, and a picture lies in one class folder"):
        write_folder(sets, tmp_path / "a")
    twins = dataclasses.replace(emoji, class_names=["a", "A", *emoji.class_names[2:]], hierarchy=None)
    with pytest.raises(ValueError, match=r"two classes of 'emoji' would lie in the folder 'a'; rename one"):
        write_folder(twins, tmp_path / "a")
    for rows in ([], [0, 0], [-1], [10**6], [[0]]):
        with pytest.raises(ValueError, match=r"must be positions among the 1,700 images, each at most once"):
            write_folder(emoji, tmp_path / "a", rows)
    assert not list(tmp_path.iterdir())
    write_folder(emoji, tmp_path / "a", [0])
    for place in (tmp_path / "a", next((tmp_path / "a").rglob("*.png"))):
        with pytest.raises(RunError, match="holds something already; give a folder that is empty"):
            write_folder(emoji, place, [0])


def test_a_failure_leaves_nothing_behind(emoji, tmp_path, monkeypatch):
    from PIL import Image

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match=r"could not be written .*No space left on device"):
        write_folder(emoji, tmp_path / "a", [0])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_changed_has_no_files_of_that_data_set(emoji, tmp_path):
    rows = torch.cat([(emoji.labels == c).nonzero()[:4, 0] for c in range(2)])
    names = write_folder(emoji, tmp_path, rows)
    images = load(tmp_path)
    assert files_of(images, tmp_path) == sorted(names)
    (tmp_path / names[0]).unlink()
    with pytest.raises(RunError, match="have changed since they were loaded; load the data set again"):
        files_of(images, tmp_path)
