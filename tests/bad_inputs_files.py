"""Folders that `shc` itself wrote, damaged or forged: runs, stores of codes, executed notebooks; and single files."""

import json

import fake_notebooks as fake
import numpy as np
from bad_inputs import (
    Case,
    both,
    emptied,
    half,
    of_files,
    of_folders,
    of_function,
    put,
    rewritten,
    tiny_run,
    tiny_store,
    without,
    written,
)  # fmt: skip
from PIL import Image

from shc import files, shards, stages
from shc.image_files import image_files, read_image
from shc.image_search import read_images
from shc.name_embeddings import name_embeddings
from shc.pipeline import read_notebook
from shc.runs import Run
from shc.store_evaluation import evaluate_stores

RUN, STORE = put(tiny_run, "runs/tiny"), put(tiny_store, "codes")
TINY = "runs/tiny"
MANIFEST, SHARD = "codes/manifest.json", "codes/codes-00001.parquet"


def forged(name, arrays=(), **facts):
    """A function of a place that changes arrays or facts of an artifact, with a checksum that fits."""

    def forge(place):
        file = place / TINY / name
        kept, meta = files.read_arrays(file)
        files.write_arrays(file, kept | dict(arrays), meta | facts)

    return forge


def swapped(first, second):
    """A function of a place that puts the second artifact's file in the first one's place."""
    return lambda place: (place / TINY / first).write_bytes((place / TINY / second).read_bytes())


def linked(name):
    """A function of a place that puts a link out of the run in it."""

    def link(place):
        (place / "elsewhere").mkdir()
        (place / TINY / name).symlink_to(place / "elsewhere")

    return link


def manifest(**changes):
    """A function of a place that changes entries of a store's manifest; None takes one out."""

    def change(place):
        told = json.loads((place / MANIFEST).read_text()) | changes
        (place / MANIFEST).write_text(json.dumps({key: value for key, value in told.items() if value != "none"}))

    return change


def shard(labels=None, words=None, **changes):
    """A function of a place that writes the second shard anew."""

    def write(place):
        store = shards.EncodedStore(place / "codes")
        old = store.read(1)
        new = shards.Shard(old.ids, old.labels if labels is None else labels, old.codes if words is None else words)
        store.write(1, shards.Shard(**vars(new) | changes))

    return write


def moved(source, target):
    return lambda place: (place / source).rename(place / target)


def read_everything(place):
    """All that a user of a run may ask for."""
    run = Run(place / TINY)
    images = stages.finished_images(run)
    stages.load_centers(run, images)
    stages.load_hasher(run, images)
    stages.evaluate(run, images)
    run.results()


def evaluated(place):
    evaluate_stores(place / "codes", place / "codes")


def executed(*cells, **changes):
    """A run with one executed notebook."""

    def make(place):
        fake.write_sequence(place)
        fake.write(place / "runs/one/notebooks/03_hash_centers.ipynb", fake.notebook(*cells) | changes)

    return make


def bias(count, value=0.0):
    return {"head.bias": np.full(count, value, np.float32)}


NAN = np.full((100, 100), np.nan)
ARTIFACTS = (
    "classifier.safetensors",
    "statistics.npz",
    "similarity.npz",
    "centers.npz",
    "hasher.safetensors",
    "codes.npz",
)
ROWS = (
    *((f"half of {name}", rewritten(f"{TINY}/{name}", half), f"{name} is damaged") for name in ARTIFACTS),
    *((f"nothing in {name}", emptied(f"{TINY}/{name}"), f"{name} is damaged") for name in ARTIFACTS),
    ("another artifact's file", swapped("centers.npz", "similarity.npz"), "centers"),
    ("parameters that are no YAML", written(f"{TINY}/params.yaml", "data: ["), "params.yaml is not readable YAML"),
    ("parameters that are a list", written(f"{TINY}/params.yaml", "- 1"), "params.yaml must hold a mapping"),
    ("parameters of a step that are a number", written(f"{TINY}/params.yaml", "data: 3"), "no parameters for 'data'"),
    ("parameters that refer to themselves", written(f"{TINY}/params.yaml", "data: &a {x: *a}"), "its own parts"),
    ("parameters of Python", written(f"{TINY}/params.yaml", "data: !!python/name:os.system"), "params.yaml"),
    ("an unknown field", written(f"{TINY}/params.yaml", "data: {date: today}"), "'date'"),
    ("a field of another type", written(f"{TINY}/params.yaml", "data: {data: shapes, size: big}"), "size='big'"),
    ("an unknown data set", written(f"{TINY}/params.yaml", "data: {data: shape}"), "'shape'"),
    ("another data set", written(f"{TINY}/params.yaml", "data: {data: shapes, scale: 0.02, size: 32}"), "other data"),
    ("results that are no JSON", written(f"{TINY}/results.json", "{"), "results.json is not readable JSON"),
    ("results that are a list", written(f"{TINY}/results.json", "[]"), "results.json must hold a JSON object"),
    ("notebooks that lie elsewhere", linked("notebooks"), "notebooks & is a link"),
    ("figures that lie elsewhere", linked("figures"), "figures & is a link"),
    ("centers that lie on each other", forged("centers.npz", dict(codes=np.ones((100, 16), np.int8))), "0 bits, not"),
    ("centers of zeros", forged("centers.npz", dict(codes=np.zeros((100, 16), np.int8))), "±1 codes"),
    ("centers without parameters", forged("centers.npz", parameters=3), "centers.npz & no record"),
    ("centers of a forged key", forged("centers.npz", key="0" * 16), "its key is not that"),
    ("a classifier of nan", forged("classifier.safetensors", bias(100, np.nan)), "nan"),
    ("a classifier of other classes", forged("classifier.safetensors", bias(7)), "head.bias"),
    ("a hasher of infinite weights", forged("hasher.safetensors", bias(16, np.inf)), "inf"),
    ("a hasher of other bits", forged("hasher.safetensors", bias(8)), "head.bias"),
    ("codes of too few bytes", forged("codes.npz", dict(query=np.zeros((9, 1), np.uint8))), "query is uint8 [9, 1]"),
    ("codes of too few images", forged("codes.npz", dict(query=np.zeros((3, 2), np.uint8))), "'query'"),
    ("codes of a split that is not there", forged("codes.npz", dict(test=np.zeros((3, 2), np.uint8))), "'test'"),
)  # fmt: skip
VERIFIED = (
    *ROWS[12:18], *ROWS[22:26],
    ("a file that is no artifact", written(f"{TINY}/weights.npz", "x"), "weights.npz & no artifact of ours"),
    ("logits of other classes", forged("statistics.npz", dict(logits=np.zeros((3, 2), np.float32))), "logits"),
    ("similarities of nan", forged("similarity.npz", dict(S=NAN)), "S holds nan"),
    ("a checkpoint that was cut short", written(f"{TINY}/checkpoints/classifier.safetensors", "x" * 9), "damaged"),
    ("a picture that is none", written(f"{TINY}/figures/03_centers.png", "x"), "03_centers.png & no whole PNG"),
    ("a notebook that is none", written(f"{TINY}/notebooks/03_hash_centers.ipynb", "{}"), "no list of cells"),
    ("stamps that are none", written(f"{TINY}/notebooks/stamps.json", "[1]"), "stamps.json"),
)  # fmt: skip
STORES = (
    ("no manifest", without(MANIFEST), "codes holds no encoded images"),
    ("an empty manifest", emptied(MANIFEST), "manifest.json is not readable JSON"),
    ("half a manifest", rewritten(MANIFEST, half), "manifest.json is not readable JSON"),
    ("a manifest that is a list", written(MANIFEST, "[1]"), "manifest.json must hold a JSON object"),
    ("another version", manifest(version=2), "version 2"),
    ("an unknown entry", manifest(colour="red"), "colour"),
    ("no bits", manifest(bits="none"), "bits"),
    ("bits in words", manifest(bits="16"), "bits='16'"),
    ("0 bits", manifest(bits=0), "bits=0"),
    ("negative bits", manifest(bits=-16), "bits=-16"),
    ("a total in words", manifest(total="100"), "total='100'"),
    ("a negative total", manifest(total=-1), "total=-1"),
    ("empty shards", manifest(shard=0), "shard=0"),
    ("an unknown format", manifest(format="csv"), "format='csv'"),
    ("a format that leaves the folder", manifest(format="/../x"), "format='/../x'"),
    ("class names that are a text", manifest(class_names="abc"), "class_names='abc'"),
    ("a tree of other classes", manifest(paths=[["x"]]), "paths"),
    ("a tree of two depths", manifest(paths=[["x"], ["x", "y"], ["z"]]), "paths"),
    ("a tree that is a number", manifest(paths=3), "paths=3"),
    ("a hasher that is a number", manifest(hasher=3), "hasher=3"),
    ("more images than there are", manifest(total=130), "codes-00003.parquet"),
    ("a shard is missing", without(SHARD), "lacks 1 of 3 shards"),
    ("half a shard", rewritten(SHARD, half), f"{SHARD} is damaged"),
    ("an empty shard", emptied(SHARD), f"{SHARD} is damaged"),
    ("a text for a shard", written(SHARD, "id,label,code"), f"{SHARD} is damaged"),
    ("a folder for a shard", both(without(SHARD), lambda place: (place / SHARD).mkdir()), f"{SHARD} is damaged"),
    ("another store's shards", manifest(hasher="hasher2"), "belongs to another store"),
    ("two shards swapped", lambda p: (p / SHARD).write_bytes((p / "codes/codes-00002.parquet").read_bytes()),
     "codes-00001.parquet holds 20 codes"),
    ("fewer codes than announced", shard(ids=["a"], labels=np.zeros(1, np.int32), codes=np.zeros((1, 1), np.uint64)),
     "holds 1 codes"),
    ("a class beyond all", shard(labels=np.full(40, 3, np.int32)), "3"),
    ("words of two", shard(codes=np.zeros((40, 2), np.uint64)), "codes-00001.parquet"),
    ("bits beyond the code", shard(codes=np.full((40, 1), 2**40, np.uint64)), "16"),
)  # fmt: skip
NOTEBOOKS = (
    ("no JSON", written("a.ipynb", "{"), "a.ipynb is not a readable notebook"),
    ("no text", written("a.ipynb", b"\xff\xfe"), "a.ipynb is not a readable notebook"),
    ("no cells", written("a.ipynb", '{"nbformat": 3, "worksheets": []}'), "a.ipynb & no list of cells"),
    ("a number", written("a.ipynb", "3"), "a.ipynb & no list of cells"),
    ("brackets without end", written("a.ipynb", "[" * 100_000), "a.ipynb"),
    ("a folder", lambda place: (place / "a.ipynb").mkdir(), "a.ipynb is not a readable notebook"),
)
PAGES = (
    ("no JSON", both(executed(), written("runs/one/notebooks/04_hashing_network.ipynb", "{")), "04_hashing_network"),
    ("a cell without type", executed({"source": "x", "metadata": {}}), "03_hash_centers"),
    ("a cell without source", executed({"cell_type": "code", "metadata": {}, "outputs": []}), "03_hash_centers"),
    ("a cell that is a number", executed(3), "03_hash_centers"),
    ("an output that is a number", executed(fake.code("x", 3)), "03_hash_centers"),
    ("another format", executed(nbformat=3), "03_hash_centers"),
    ("results that are no JSON", both(executed(), written("runs/one/results.json", "{")), "results.json"),
    ("a table of numbers", both(executed(), written("runs/one/results.json", '{"table": 3}')), "results.json"),
)
PICTURES = (
    ("not there", lambda place: None, "a.png"),
    ("a folder", lambda place: (place / "a.png").mkdir(), "not a plain file"),
    ("empty", written("a.png", ""), "a.png"),
    ("a text", written("a.png", "no picture"), "a.png"),
    ("drawn by a program", written("a.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "a.png"),
    ("too many pixels", written("a.png", b"P6 60000 60000 255\n" + bytes(99)), "3600000000 pixels"),
    ("gray without white", lambda p: Image.fromarray(np.full((4, 4), -1.5, np.float32)).save(p / "a.png", "TIFF"),
     "no known white"),
)  # fmt: skip


def array(content):
    def save(place):
        with open(place / "names.npy", "wb") as stream:
            np.save(stream, content, allow_pickle=True)

    return save


class Three:
    """As much of a data set as embeddings of names depend on."""

    name, class_names = "pets", ("cat", "dog", "cow")


EMBEDDINGS = (
    ("not there", lambda place: None, "names.npy cannot be read"),
    ("a text", written("names.npy", "0.1 0.2"), "names.npy cannot be read"),
    ("Python objects", array(np.array([{}, {}, {}])), "Python objects, which are never read"),
    ("an archive", lambda place: np.savez(place / "names.npy", np.eye(3)), "names.npy"),
    ("half of it", both(array(np.eye(3)), rewritten("names.npy", half)), "names.npy"),
    ("words", array(np.array(["cat", "dog", "cow"])), "<U3"),
    ("two rows for three classes", array(np.ones((2, 4))), "[2, 4]"),
    ("one number for each", array(np.ones(3)), "[3]"),
    ("no numbers", array(np.ones((3, 0))), "[3, 0]"),
    ("a row of zeros", array(np.array([[1, 2], [0, 0], [3, 4]])), "'dog' (row 1)"),
    ("a row of nan", array(np.array([[1, 2], [3, 4], [np.nan, 5]])), "'cow' (row 2)"),
)

CASES = [
    *of_files("a run folder", RUN, read_everything, *ROWS),
    *of_files("shc verify of a run", RUN, "verify tiny", *VERIFIED),
    *of_files("a store of codes", STORE, evaluated, *STORES),
    *of_files("shc verify of a store", STORE, "verify codes", *STORES[1:]),
    *of_folders("a notebook", lambda place: read_notebook(place / "a.ipynb"), *NOTEBOOKS),
    *of_folders("shc report", "report --name one", *PAGES),
    *of_folders("shc.image_files.read_image", lambda place: read_image(place / "a.png", 16), *PICTURES[1:]),
    *of_folders("shc.image_search.read_images", lambda place: read_images([place / "a.png"], 16), *PICTURES),
    *of_folders("a file of embeddings", lambda place: name_embeddings(Three(), str(place / "names.npy")), *EMBEDDINGS),
    Case("shc.image_files.image_files", "nothing", lambda place: image_files(place / "nowhere"), "is not there"),
    *of_function(
        "Run.file", Run("nowhere").file, dict(name="centers"),
        ("an unknown artifact", dict(name="weights"), "'weights' & centers"),
        ("a variant that leaves the run", dict(variant="../x"), "'../x'"),
        ("a variant of capitals", dict(variant="Random"), "'Random'"),
    ),
    Case("Run", "a file", lambda place: Run(place / "a"), "a is a file", written("a", "")),
    Case("Run.load", "what was not made", lambda place: Run(place).load("hasher"), "hasher.safetensors does not exist"),
    Case("Run.load", "other bits", lambda place: Run(place / TINY).load("centers", bits=9), "bits=16, not 9", RUN),
    Case("Run.load", "other data", lambda place: Run(place / TINY).load("codes", fingerprint="x"), "other data", RUN),
    Case("Run.save_figure", "a name that leaves the run", lambda place: Run(place).save_figure(None, "../x"), "'../x'"),
]  # fmt: skip
