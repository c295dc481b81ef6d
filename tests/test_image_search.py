"""`shc search` on a tiny run: what it prints, the picture, an index that lasts, and what it refuses."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from shc import cli, datasets, image_search, locks, plots, stages
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig
from shc.datasets.writing import write_folder
from shc.models import codes_from
from shc.runs import Run
from shc.search import HammingIndex, SearchError
from shc.training import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What `shc search` needs of a run: an untrained hasher of 16 bits, and its codes of 900 database images."""
    run = Run(tmp_path_factory.mktemp("tiny"))
    images = stages.start(run, Data(data="emoji", scale=0.02, size=16))
    told, classifier = dict(fingerprint=images.fingerprint), ClassifierConfig(device="cpu")
    net = stages.new_classifier(images, classifier)
    key = run.save("classifier", net.state_dict(), parameters=classifier.identity(), **told)
    hasher = HasherConfig(device="cpu")
    model = stages.new_hasher(net, images, run.load("classifier"), 16, hasher)
    x = images.split("database")[0]
    with torch.no_grad():
        model.head.bias -= predict(model, x).quantile(0.5, 0)  # half of the images on each side of every bit
    codes = {"database": np.packbits(predict(model, x).numpy() >= 0, axis=1)}
    key = run.save("hasher", model.state_dict(), parameters=hasher.identity(), inputs={"classifier": key}, **told)
    run.save("codes", codes, parameters={"bits": 16}, inputs={"hasher": key}, **told)
    return run


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """The first two database images as files."""
    pixels = stages.images_of(run).split("database")[0][:2].permute(0, 2, 3, 1).numpy()
    made = [tmp_path_factory.mktemp("pictures") / name for name in ("one.png", "zwei Bären.png")]
    for picture, file in zip(pixels, made, strict=True):
        Image.fromarray(picture).save(file)
    return [str(file) for file in made]


def shc_search(run, *arguments):
    return cli.main(["search", "--run", str(run.path), *arguments])


def test_table_and_picture(run, files, capsys, tmp_path):
    out = tmp_path / "found.png"
    assert shc_search(run, "--image", files[0], "--image", files[1], "-k", "4", "--out", str(out)) == 0
    told = capsys.readouterr().out
    images = stages.images_of(run)
    labels = images.split("database")[1].numpy()
    rows = [line.split(maxsplit=2) for line in told.splitlines() if re.match(r" +\d+ +\d+ ", line)]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"] * 2
    for _, _, rest in rows:
        name, identity = re.fullmatch(r"(.*\S) +(\d+)", rest).groups()
        assert name == images.class_names[labels[int(identity)]]
    assert rows[0][1] == rows[4][1] == "0"  # the image itself
    assert files[0] in told and files[1] in told and f"picture: {out}\n" in told
    width, height = Image.open(out).size
    assert width > 400 and height > 200 and not (run.path / "figures").exists()


def test_what_is_found_is_what_brute_force_finds(run, files):
    images = stages.images_of(run)
    told = []
    found = image_search.search(run, files, k=10_000, say=told.append)
    queries = image_search.read_images(files, 16)
    assert (queries == images.split("database")[0][:2]).all()
    codes = codes_from(predict(stages.load_hasher(run, images), queries)).numpy()
    distances = (codes[:, None] != stages.load_codes(run, images)["database"][None]).sum(2)
    assert found.ids.shape == distances.shape and (np.take_along_axis(distances, found.ids, 1) == found.distances).all()
    assert (found.distances == np.sort(distances, 1)).all()
    assert (
        told[-1].endswith("search.png, the first 12 neighbors of each") and (run.path / "figures/search.png").exists()
    )
    shutil.rmtree(run.path / "figures")


@pytest.mark.parametrize("engine", ["memory", "lance"])
def test_an_index_that_lasts_is_filled_once(run, files, engine, tmp_path, capsys):
    uri, out = f"{engine}:{tmp_path / 'index'}", str(tmp_path / "a.svg")
    answers = []
    for _ in range(2):
        assert shc_search(run, "--image", files[0], "-k", "1000", "--index", uri, "--out", out) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == f"filled {uri} with the 900 database codes of {run.path}\n" + answers[1]
    index = HammingIndex.open(uri)
    hasher = run.load("hasher").key
    assert (index.bits, index.fingerprint, index.count()) == (16, hasher, 900)
    index.add(np.ones((1, 16)), labels=[1000], paths=[files[1]])  # a picture from elsewhere, of a class from elsewhere
    index.save()
    assert shc_search(run, "--image", files[0], "-k", "2000", "--index", uri, "--out", out) == 0
    assert re.search(rf" unknown +{re.escape(files[1])}\n", capsys.readouterr().out)


def test_an_index_of_another_hasher_is_refused(run, files, tmp_path, capsys):
    uri = f"lance:{tmp_path / 'index'}"
    HammingIndex.open(uri, fingerprint="another").add(np.ones((3, 16)))
    assert shc_search(run, "--image", files[0], "--index", uri) == 1
    assert "was filled by the hasher another, not by" in capsys.readouterr().err


def test_pictures_of_neighbors_that_moved_are_blank(run, files, tmp_path):
    images, index = stages.images_of(run), HammingIndex.open("memory:")
    index.add(np.ones((3, 16)), ids=[0, 1, 10**6], paths=["", files[0], str(tmp_path / "moved.png")])
    found = index.search(np.ones((1, 16)), k=3)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_search, "retrieval_strips", lambda queries, neighbors, *rest: seen.append(neighbors))
        image_search.draw(images, np.zeros((1, 3, 16, 16), np.uint8), ["q"], found)
    first, second, third = seen[0][0]
    database = images.split("database")[0].numpy()
    assert (first == database[0]).all() and (second == database[0]).all() and (third == third[0, 0, 0]).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--image", "missing.png"], r"missing.png is no picture that can be read \(No such file or directory\)"),
        (["--image", "text.png"], "text.png is no picture that can be read .*; give a PNG or JPEG file"),
        (["--image", "."], "is no picture that can be read"),
        (["-k", "0"], "k=0; expected a whole number of at least 1"),
        (["--out", "found.doc"], "cannot be written to found.doc; give a file that ends in .png, .pdf, .svg"),
        (["--index", "milvus:x"], "uri='milvus:x' names no index"),
        (["--run", "nowhere"], "nowhere has no data yet; run notebook 01_classifier"),
    ],
)
def test_mistakes(run, files, arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    given = arguments if "--image" in arguments else ["--image", files[0], *arguments]
    assert shc_search(run, *given) == 1
    error = capsys.readouterr().err
    assert re.search(told, error) and "Traceback" not in error
    assert not (tmp_path / "nowhere").exists()


def test_a_run_without_hasher(run, files, tmp_path, capsys):
    shutil.copytree(run.path, tmp_path / "copy")
    (tmp_path / "copy" / "hasher.safetensors").unlink()
    assert shc_search(Run(tmp_path / "copy"), "--image", files[0]) == 1
    assert "hasher.safetensors does not exist yet; run notebook 04_hashing_network" in capsys.readouterr().err


def test_pictures_of_a_folder_are_found_by_their_paths(tmp_path, capsys):
    emoji = datasets.load("emoji", scale=0.02, size=16)
    rows = torch.cat([(emoji.labels == c).nonzero()[:8, 0] for c in range(3)])
    names = write_folder(emoji, tmp_path / "pictures", rows)
    run, where = Run(tmp_path / "own"), dict(epochs=1, batch=8, device="cpu")
    data = Data(data="image_folder", root=str(tmp_path / "pictures"), size=16)
    stages.run_all(
        run, data, ClassifierConfig(**where), CentersConfig(bits=8), HasherConfig(**where), kinds=("semantic",)
    )
    images = stages.images_of(run)
    paths = image_search.database_files(run, images)
    assert len(paths) == len(images.splits["database"]) and set(paths) < {f"{data.root}/{name}" for name in names}
    for k, path in enumerate(paths):  # a picture's path is that of its pixels
        assert (image_search.read_images([path], 16)[0] == images.split("database")[0][k]).all()
    uri = f"memory:{tmp_path / 'index'}"
    assert shc_search(run, "--image", paths[0], "-k", "3", "--index", uri) == 0
    found = HammingIndex.open(uri).search(stages.load_codes(run, images)["database"][:1], k=len(paths))
    assert sorted(found.paths[0]) == sorted(paths)
    assert re.search(rf" 0  .*{re.escape(data.root)}/", capsys.readouterr().out)


def test_strips_without_relations_have_no_frames():
    pixels = np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 4, 3, 8, 8), np.uint8)
    figure = plots.retrieval_strips(*pixels, np.arange(8).reshape(2, 4), None, ["a", "b"], [["x"] * 4] * 2)
    words = [text.get_text() for text in figure.texts]
    assert "1 bit" in words and "0 bits" in words and not any(mark in word for word in words for mark in "✓~✗")
    assert not figure.legends and figure.alt.endswith("a, bits 0, 1, 2, 3; b, bits 4, 5, 6, 7")
    with pytest.raises(ValueError, match=r"distances \(2, 3\) for relations \(2, 3\)"):
        plots.retrieval_strips(*pixels, np.zeros((2, 3)), None, ["a", "b"])


def test_the_picture_is_not_drawn_into_a_run_that_another_process_works_in(run, files, monkeypatch, tmp_path):
    import test_locks

    monkeypatch.setattr(locks, "WAIT", 0.1)
    (run.path / "figures" / "search.png").unlink(missing_ok=True)
    process, _ = test_locks.holder(run)
    try:
        with pytest.raises(SearchError, match=rf"not drawn: .* being run already, by process {process.pid} .* --out"):
            image_search.search(run, files[:1], k=2, say=str)
        image_search.search(run, files[:1], k=2, out=tmp_path / "a.png", say=str)
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "a.png").exists() and not (run.path / "figures" / "search.png").exists()
