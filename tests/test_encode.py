"""Images to codes in shards, and their evaluation. SHC_KILLS=10 kills the encoding of the last test ten times."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shc
from shc import cli, hamming, locks, metrics, stages, store_evaluation, sweep_jobs
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig, SimilarityConfig
from shc.encode import encode
from shc.histograms import level_histogram
from shc.image_files import BrokenImage, folder_label, image_files, read_image
from shc.parameters import ParameterError
from shc.runs import Run, RunError
from shc.shard_jobs import run_jobs
from shc.shards import EncodedStore, Manifest, Shard
from shc.store_evaluation import evaluate_stores, histograms

ROOT = Path(shc.__file__).resolve().parent.parent
BITS = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a hasher that was hardly trained, and its images."""
    run = Run(tmp_path_factory.mktemp("run"))
    images = stages.start(run, Data(scale=0.02, size=16))
    short = dict(epochs=1, batch=100, device="cpu", threads=1)
    list(stages.train_classifier(run, images, ClassifierConfig(**short)))
    stages.class_similarity(run, images, SimilarityConfig())
    next(stages.optimize_centers(run, images, CentersConfig(bits=BITS)))  # the first set will do
    list(stages.train_hasher(run, images, HasherConfig(**short)))
    return run, images


@pytest.fixture
def folder(run, tmp_path):
    """60 pictures of four kinds, a third of them of unknown class, two broken ones and a text file."""
    _, images = run
    x, y = images.split("query")
    for i in range(60):
        kind = images.class_names[y[i]] if i % 3 else "unknown"
        file = tmp_path / "pictures" / kind / "deep" / f"{i:02}.{('png', 'bmp', 'gif', 'webp')[i % 4]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i].permute(1, 2, 0).numpy()).save(file)
    whole = next((tmp_path / "pictures").rglob("00.png")).read_bytes()
    (tmp_path / "pictures" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pictures" / "text.JPG").write_text("no picture")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def quietly(run, *arguments, **options):
    told = []
    return encode(run.path, *arguments, say=told.append, device="cpu", **options), "\n".join(told)


def content(store):
    """All that a store holds, comparable."""
    return [(s.ids, s.labels.tolist(), s.codes.tolist(), s.failed) for s in store]


# ------------------------------------------------------------------------------------------ pictures


def test_pictures_are_prepared_as_the_data_sets_are(tmp_path):
    def prepared(image, name="a.png", **options):
        image.save(tmp_path / name, **options)
        return read_image(tmp_path / name, 8)

    assert prepared(Image.new("RGB", (8, 8), (10, 20, 30)))[:, 0, 0].tolist() == [10, 20, 30]
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert (prepared(clear) == 255).all(), "on white"
    wide = prepared(Image.new("RGB", (40, 10)))
    assert wide.shape == (3, 8, 8) and wide.dtype == np.uint8
    assert (wide[:, [0, 7]] == 255).all() and (wide[:, [3, 4]] < 40).all(), "padded with white"
    board = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    assert np.abs(prepared(board).astype(int) - 127).max() <= 8, "antialiased"
    gray = Image.fromarray(np.full((8, 8), 1 << 15, np.uint16))
    assert (prepared(gray) == 128).all(), "16 bits are scaled"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90°
    half = Image.new("RGB", (16, 16), "white")
    half.paste("black", (0, 0, 16, 8))
    turned = prepared(half, "a.jpg", exif=exif)[0]
    assert turned[:, 6:].max() < 60 and turned[:, :2].min() > 200, "upright"
    for mode in ("CMYK", "L", "1", "LA", "P"):
        assert prepared(Image.new(mode, (9, 5)), "a.tif").shape == (3, 8, 8)
    with pytest.raises(BrokenImage, match="No such file"):
        read_image(tmp_path / "none.png", 8)


def test_files_are_found_in_order_and_labelled_by_the_innermost_folder(folder, tmp_path):
    names = image_files(folder)
    assert len(names) == 62 and names == sorted(names) and "text.JPG" in names and "notes.txt" not in names
    assert folder_label("a/cat/dog/x/1.png", ["dog", "cat"]) == 0 and folder_label("dog", ["dog"]) == -1
    paths = ["birds/crane", "machines/crane", "gull"]  # what `image_folder` calls classes of the same folder name
    assert folder_label("machines/crane/1.png", paths) == 1 and folder_label("all/birds/crane/x/1.png", paths) == 0
    assert folder_label("plants/crane/1.png", paths) == -1 and folder_label("a/crane/1.png", ["a/crane", "crane"]) == 0
    with pytest.raises(RunError, match=r"none is not there; give a folder of images"):
        image_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty holds no images; files that end in \.png, "):
        image_files(tmp_path / "empty")


# ------------------------------------------------------------------------------------------ encoding


@pytest.mark.parametrize("format", ["parquet", "lance"])
def test_a_split_gets_the_codes_that_the_run_has(run, tmp_path, format):
    store, told = quietly(run[0], tmp_path / "store", split="query", format=format)
    np.testing.assert_array_equal(hamming.unpack(store.codes(), BITS), stages.load_codes(*run)["query"])
    np.testing.assert_array_equal(store.labels(), run[1].split("query")[1])
    assert store.ids() == [f"query:{row}" for row in range(200)]
    assert store.hierarchy == run[1].hierarchy and store.manifest.hasher == run[0].load("hasher").key
    assert told.endswith("store: 200 images encoded in 16 bits")


def test_broken_images_are_named_counted_and_tried_again(run, folder, tmp_path):
    out = tmp_path / "store"
    store, told = quietly(run[0], out, images=folder, shard=25)
    assert "62 images in 3 shards, 0 finished" in told
    assert "60 images encoded in 16 bits; 2 could not be read, listed in failed.csv (cut.png: " in told
    assert list(store.failed()) == ["cut.png", "text.JPG"] and len(store.ids()) == 60
    assert (out / "failed.csv").read_text().splitlines()[0] == "id,reason"
    labels = dict(zip(store.ids(), store.labels().tolist(), strict=True))
    assert sum(label == -1 for label in labels.values()) == 20 and store.manifest.unlabelled == 22
    names = run[1].class_names
    assert all(label == -1 or names[label] == name.split("/")[0] for name, label in labels.items())

    good = next(store.file(number) for number, shard in enumerate(store) if not shard.failed)
    before = good.stat().st_mtime_ns
    shutil.copy(next(folder.rglob("00.png")), folder / "cut.png")
    assert "2 could not be read" in quietly(run[0], out, images=folder, shard=25)[1]
    assert "1 could not be read" in quietly(run[0], out, images=folder, shard=25, retry=True)[1]
    (folder / "text.JPG").unlink()
    shutil.copy(folder / "cut.png", folder / "text.JPG")
    assert "62 images encoded in 16 bits" in quietly(run[0], out, images=folder, shard=25, retry=True)[1]
    assert not (out / "failed.csv").exists() and good.stat().st_mtime_ns == before


def test_pictures_in_a_format_that_is_not_read_are_told(run, folder, tmp_path):
    (folder / "phone.HEIC").write_bytes(b"any")
    store, told = quietly(run[0], tmp_path / "store", images=folder)
    assert "63 images" in told and "3 could not be read" in told
    assert store.failed()["phone.HEIC"] == ".heic is not read; convert it to PNG or JPEG"


def test_a_store_is_only_continued_as_it_was_begun(run, folder, tmp_path):
    out = tmp_path / "store"
    quietly(run[0], out, images=folder, shard=40)
    refused = {
        "another images per shard: 40, now 30": dict(images=folder, shard=30),
        "another format: parquet, now lance": dict(images=folder, shard=40, format="lance"),
        "the images changed since .* was begun .62 then, 200 now.": dict(split="query", shard=40),
    }
    for told, options in refused.items():
        with pytest.raises(RunError, match=told):
            quietly(run[0], out, **options)
    (folder / "text.JPG").rename(folder / "other.jpg")
    with pytest.raises(RunError, match=r"the images changed since .* was begun \(other names\); restore them"):
        quietly(run[0], out, images=folder, shard=40)
    (folder / "other.jpg").rename(folder / "text.JPG")
    manifest = json.loads((out / "manifest.json").read_text())
    for name, value in (("hasher", "0123456789abcdef"), ("bits", 32)):
        (out / "manifest.json").write_text(json.dumps(manifest | {name: value}))
        with pytest.raises(RunError, match=rf"another {name}: {value}, now {manifest[name]}; choose another --out"):
            quietly(run[0], out, images=folder, shard=40)
    with pytest.raises(RunError, match="belongs to another store than"):
        EncodedStore(out).read(0)
    (out / "manifest.json").write_text(json.dumps(manifest | {"version": 9}))
    with pytest.raises(RunError, match="has format version 9, this program writes 1"):
        EncodedStore(out)
    (out / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"holds codes but no manifest\.json; choose another --out"):
        quietly(run[0], out, images=folder, shard=40)


def test_damage_and_gaps_are_told(run, folder, tmp_path):
    store, _ = quietly(run[0], tmp_path / "store", images=folder, shard=25)
    whole = store.file(1).read_bytes()
    flipped = bytearray(whole)
    columns = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # what follows is partly said twice
    flipped[columns // 2] ^= 1
    for damaged in (whole[:-50], bytes(flipped), b""):
        store.file(1).write_bytes(damaged)
        with pytest.raises(
            RunError, match=r"codes-00001\.parquet is damaged or not a shard \(.*delete it and repeat `s"
        ):
            store.ids()
    store.file(1).unlink()
    with pytest.raises(RunError, match=r"lacks 1 of 3 shards \(codes-00001\.parquet\); repeat the `shc encode`"):
        store.check_complete()
    quietly(run[0], tmp_path / "store", images=folder, shard=25)
    assert store.file(1).read_bytes() == whole


def test_a_shard_that_lacks_rows_is_not_evaluated(tmp_path):
    store = EncodedStore.start(tmp_path, Manifest(8, "h", "f", 5, 3, "parquet", ["a"], None, 0))
    store.write(1, Shard(["x"], np.zeros(1, np.int32), np.zeros((1, 1), np.uint64)))
    with pytest.raises(RunError, match=r"codes-00001\.parquet holds 1 codes and 0 failures of 2 images; delete it"):
        store.read(1)


@pytest.mark.parametrize("format", ["parquet", "lance"])
def test_two_processes_may_write_the_same_shard(tmp_path, format):
    store = EncodedStore.start(tmp_path, Manifest(8, "h", "f", 1, 1, format, ["a"], None, 0))
    for _ in range(2):  # the second one could not know of the first
        store.write(0, Shard(["x"], np.zeros(1, np.int32), np.ones((1, 1), np.uint64)))
    (tmp_path / ".codes-00000.now").write_text("another process is writing")
    store.clean()
    assert (tmp_path / ".codes-00000.now").exists() and store.codes().tolist() == [[1]]


def test_two_encodings_into_one_folder_are_kept_apart(run, folder, tmp_path, monkeypatch):
    import test_locks

    monkeypatch.setattr(locks, "WAIT", 0.1)
    quietly(run[0], tmp_path / "store", images=folder, shard=40)
    process, _ = test_locks.holder(Run(tmp_path / "store"))
    try:
        with pytest.raises(
            RunError, match=rf"the encoding into .*store is being run already, by process {process.pid} "
        ):
            quietly(run[0], tmp_path / "store", images=folder, shard=40, retry=True)
        assert not EncodedStore(tmp_path / "store").missing()
    finally:
        process.kill()
        process.wait()
    assert "2 finished" in quietly(run[0], tmp_path / "store", images=folder, shard=40)[1]


def test_a_job_does_not_write_into_a_store_that_was_begun_anew(run, folder, tmp_path):
    from shc import encode as module

    task, manifest, names = module._plan(run[0].path, tmp_path, folder, None, "semantic", 2, "parquet", "cpu")
    EncodedStore.start(tmp_path, manifest)
    (tmp_path / "manifest.json").write_text(
        json.dumps(json.loads((tmp_path / "manifest.json").read_text()) | {"shard": 5})
    )
    with pytest.raises(RunError, match="was begun anew in another way while this job waited"):
        module.encode_shard(task, 1, (2, names[2:4]))


def test_bad_arguments_are_told(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "store"
    for options, told in (
        ({}, "give either --images FOLDER or --split NAME"),
        ({"split": "query", "shard": 0}, "--shard 0: give 1 image per shard or more"),
        ({"split": "query", "format": "csv"}, "--format 'csv' is unknown; choose parquet or lance"),
        ({"split": "query", "jobs": 0}, "--jobs 0: give 1 or more"),
    ):
        with pytest.raises(ParameterError, match=told):
            quietly(run[0], out, **options)
    assert cli.main(["encode", "--run", str(run[0].path), "--split", "nothing", "--out", str(out)]) == 1
    assert "has no split 'nothing'; its splits are" in capsys.readouterr().err
    monkeypatch.setattr(sweep_jobs, "CONNECT", 0.5)
    with pytest.raises(RunError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1 "):
        quietly(run[0], out, split="query", scheduler="tcp://127.0.0.1:1")
    for package in ("distributed", "pyarrow", "lancedb"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            told = rf"needs the extra `scale` \({package}\): pip install 'semantic-hash-centers\[scale\]'"
            format = "lance" if package == "lancedb" else "parquet"
            with pytest.raises(RunError, match=told):
                quietly(run[0], tmp_path / package, split="query", jobs=2, format=format)


# ------------------------------------------------------------------------------------------ evaluation


def made(folder, rows, *, tree=True, unknown=0, seed=0, **changes):
    """A store of random codes near 12 class centers; the first rows are of unknown class."""
    random = np.random.default_rng(seed)
    centers = np.where(np.random.default_rng(9).random((12, BITS)) < 0.5, 1, -1)
    labels = random.integers(0, 12, rows).astype(np.int32)
    codes = (centers[labels] * np.where(random.random((rows, BITS)) < 0.2, -1, 1)).astype(np.int8)
    labels[:unknown] = -1
    settings = dict(
        bits=BITS, hasher="h", files=f"f{seed}{rows}", total=rows, shard=30, format="parquet",
        class_names=[f"c{i}" for i in range(12)], paths=[[f"g{i // 4}"] for i in range(12)] if tree else None,
        unlabelled=unknown,
    )  # fmt: skip
    store = EncodedStore.start(folder, Manifest(**(settings | changes)))
    for number in range(store.manifest.shards):
        part = slice(number * 30, number * 30 + 30)
        packed = hamming.pack(codes[part])
        store.write(number, Shard([str(i) for i in range(rows)[part]], labels[part], packed))
    return store, codes, labels


@pytest.fixture(scope="module")
def cluster():
    """The address of a scheduler with two worker processes."""
    with sweep_jobs.client(2, "local") as connected:
        yield connected.scheduler.address


def summed(*stores, **options):
    return np.concatenate([histogram for _, histogram in sorted(histograms(*stores, **options), key=lambda x: x[0])])


@pytest.mark.parametrize("tree", [False, True])
def test_two_workers_count_the_same_integers_as_one_process(tmp_path, cluster, tree):
    query, query_codes, query_labels = made(tmp_path / "q", 65, tree=tree)
    database, codes, labels = made(tmp_path / "d", 200, tree=tree, seed=1)
    levels = query.hierarchy.shared_levels() if tree else None
    whole = level_histogram(query_codes, codes, query_labels, labels, levels, threads=1)
    assert whole.shape == (65, 3 if tree else 2, BITS + 1)
    for options in ({}, {"block": 7}, {"scheduler": cluster}, {"scheduler": cluster, "block": 20}):
        found = summed(query, database, **options)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, whole)
    halves = [made(tmp_path / f"d{half}", 100, tree=tree, seed=2 + half) for half in (0, 1)]
    together = np.concatenate([half[1] for half in halves]), np.concatenate([half[2] for half in halves])
    np.testing.assert_array_equal(
        summed(query, halves[0][0], halves[1][0], scheduler=cluster),
        level_histogram(query_codes, together[0], query_labels, together[1], levels, threads=1),
    )
    expected = metrics.evaluate(
        query_codes, codes, query_labels, labels, hierarchy=query.hierarchy, k=(10, 50), graded_k=20, threads=1
    )
    options = dict(k=(10, 50), graded_k=(20,))
    alone = evaluate_stores(tmp_path / "q", tmp_path / "d", **options)
    assert alone == pytest.approx(expected, abs=1e-12) and alone.keys() == expected.keys()
    assert evaluate_stores(tmp_path / "q", tmp_path / "d", scheduler=cluster, **options) == alone


def test_encoding_on_two_workers_gives_the_same_bytes(run, folder, tmp_path, cluster):
    alone, _ = quietly(run[0], tmp_path / "alone", images=folder, shard=16)
    spread, _ = quietly(run[0], tmp_path / "spread", images=folder, shard=16, scheduler=cluster)
    for number in range(4):
        assert alone.file(number).read_bytes() == spread.file(number).read_bytes()
    lance, _ = quietly(run[0], tmp_path / "lance", images=folder, shard=16, scheduler=cluster, format="lance")
    assert content(lance) == [(a, b, c, d) for a, b, c, d in content(alone)]


def test_an_error_of_a_job_is_the_error_of_the_command(tmp_path, cluster):
    query, *_ = made(tmp_path / "q", 20)
    database, *_ = made(tmp_path / "d", 100, seed=1)
    database.file(2).write_bytes(b"")
    with pytest.raises(RunError, match=r"codes-00002\.parquet is damaged"):
        summed(query, database, scheduler=cluster)
    assert sorted(run_jobs(divmod, [(7, 2), (9, 4)], scheduler=cluster)) == [(2, 1), (3, 1)]


def test_unknown_classes_are_an_error_or_left_out(tmp_path):
    _, query_codes, query_labels = made(tmp_path / "q", 40, unknown=3)
    _, codes, labels = made(tmp_path / "d", 100, unknown=35, seed=1)  # a whole shard of them
    with pytest.raises(RunError, match=r"q has 3 images of unknown class, .*or leave them out by --skip-unlabelled"):
        evaluate_stores(tmp_path / "q", tmp_path / "d")
    found = evaluate_stores(tmp_path / "q", tmp_path / "d", skip_unlabelled=True)
    tree = EncodedStore(tmp_path / "q").hierarchy
    expected = metrics.evaluate(query_codes[3:], codes[35:], query_labels[3:], labels[35:], hierarchy=tree, threads=1)
    assert found == pytest.approx(expected, abs=1e-12) and (found["queries"], found["database"]) == (37, 65)
    made(tmp_path / "none", 5, unknown=5)
    for pair in (("none", "d"), ("d", "none")):
        with pytest.raises(RunError, match="queries or database hold no image of a known class; nothing can be scored"):
            evaluate_stores(*(tmp_path / name for name in pair), skip_unlabelled=True)


def test_stores_that_do_not_fit_are_told_before_anything_is_counted(tmp_path, monkeypatch, capsys):
    made(tmp_path / "q", 40)
    made(tmp_path / "d", 40, hasher="other", seed=1)
    made(tmp_path / "flat", 40, tree=False, seed=1)
    made(tmp_path / "gap", 40, seed=1)[0].remove(1)
    monkeypatch.setattr(store_evaluation, "run_jobs", None)
    for database, told in (
        ("d", "have different hasher: h and other; encode both by one run's hasher"),
        ("flat", "have different class tree; encode both"),
        ("gap", "lacks 1 of 2 shards (codes-00001.parquet)"),
        ("none", "holds no encoded images (no manifest.json); make them with `shc encode`"),
    ):
        arguments = ["evaluate", "--query", str(tmp_path / "q"), "--database", str(tmp_path / database)]
        assert cli.main(arguments) == 1
        assert told in capsys.readouterr().err
    with pytest.raises(RunError, match="give one folder of codes or more as the database, each of them once"):
        evaluate_stores(tmp_path / "q", tmp_path / "d", tmp_path / "d")
    for options, told in (({"k": (0,)}, "k=0"), ({"radius": -1}, "radius=-1"), ({"convention": "x"}, "convention='x'")):
        with pytest.raises(ValueError, match=told):
            evaluate_stores(tmp_path / "q", tmp_path / "q", **options)


def test_the_command_prints_and_writes_every_metric(tmp_path, capsys):
    made(tmp_path / "q", 40)
    arguments = ["--query", str(tmp_path / "q"), "--database", str(tmp_path / "q"), "--k", "5", "--radius", "1"]
    assert cli.main(["evaluate", *arguments, "--out", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    printed = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert float(printed["mAP@5"]) == pytest.approx(scores["mAP@5"], abs=1e-6)
    assert {"P@H<=1", "super_mAP@ALL", "nDCG@100"} <= printed.keys() and scores["hasher"] == "h"


# ------------------------------------------------------------------------------------------ interruption


def test_an_encoding_killed_at_any_moment_goes_on_to_the_same_bytes(run, folder, tmp_path):
    whole, _ = quietly(run[0], tmp_path / "whole", images=folder, shard=2)
    kept = {number: whole.file(number).read_bytes() for number in range(31)}

    def start(out):
        return subprocess.Popen(
            [sys.executable, "-m", "shc", "encode", "--run", str(run[0].path), "--images", str(folder), "--out", out,
             "--shard", "2", "--device", "cpu"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    out, chance, kills = tmp_path / "killed", random.Random(0), int(os.environ.get("SHC_KILLS", 2))
    there = lambda: len(list(out.glob("codes-*")))
    while kills:
        if there() > 25:
            shutil.rmtree(out)
        process, wanted = start(str(out)), there() + chance.randint(0, 12)  # killed at all stages
        while there() < wanted and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.01))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills -= 1
        _, errors = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL), errors
    finished = {file.name: file.stat().st_mtime_ns for file in out.glob("codes-*")}
    assert all((out / name).read_bytes() == kept[int(name[6:11])] for name in finished)
    for left in out.glob(".*codes*"):
        os.utime(left, (0, 0))  # what is new may be another process's work
    process = start(str(out))
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"62 images in 31 shards, {len(finished)} finished" in told
    assert {number: EncodedStore(out).file(number).read_bytes() for number in range(31)} == kept
    assert all((out / name).stat().st_mtime_ns == written for name, written in finished.items()), "not made again"
    assert not list(out.glob(".*codes*")), "what the killed writers left is gone"
