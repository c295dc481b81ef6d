"""Commands and their options: names of runs, folders, numbers and choices that make no sense."""

import json
import shutil

import fake_notebooks as fake
from bad_inputs import of_command, put, tiny_run, tiny_store
from PIL import Image

LONG = "x" * 300


def run_and_pictures(place):
    """The run `tiny`, a picture, and what is none."""
    put(tiny_run, "runs/tiny")(place)
    (place / "pictures").mkdir()
    (place / "empty").mkdir()
    Image.new("RGB", (20, 20), "red").save(place / "pictures" / "red.png")
    (place / "text.png").write_text("no picture")
    (place / "half.png").write_bytes((place / "pictures" / "red.png").read_bytes()[:40])
    (place / "file").write_text("a file")


def stores(place):
    """Two stores of codes, and variations that do not fit to them."""
    put(tiny_store, "codes")(place)
    for name, change in (
        ("other_hasher", dict(hasher="hasher2")), ("other_bits", dict(bits=8)), ("other_tree", dict(paths=None)),
        ("other_names", dict(class_names=["a", "b", "d"])), ("unlabelled", dict(unlabelled=7)),
    ):  # fmt: skip
        shutil.copytree(place / "codes", place / name)
        manifest = place / name / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    shutil.copytree(place / "codes", place / "incomplete")
    (place / "incomplete" / "codes-00001.parquet").unlink()
    (place / "file").write_text("a file")
    (place / "empty").mkdir()


def executed(place):
    """A project whose notebooks were executed, but for the last one; and a run with a cell that failed."""
    fake.write_sequence(place)
    for name in ("part", "failed"):
        fake.write_sequence(place / "runs" / name)
    (place / "runs" / "part" / "notebooks" / "solutions.ipynb").unlink()
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    book = fake.notebook(fake.parameters(), fake.code("x = 1", error))
    fake.write(place / "runs" / "failed" / "notebooks" / "05_retrieval.ipynb", book)


CASES = [
    *of_command(
        "",
        ("no command", "", "COMMAND"),
        ("an unknown command", "rum", "'rum'"),
    ),
    *of_command(
        "run",
        ("an unknown option", "--nmae x", "--nmae"),
        ("a name that leaves the folder", "--name ../x", "'../x'"),
        ("an absolute name", "--name /srv/x", "'/srv/x'"),
        ("a hidden name", "--name .x", "'.x'"),
        ("an empty name", "--name=", "run name ''"),
        ("a name with a colon", "--name a:b", "'a:b'"),
        ("a name with a line break", "--name a\nb", "'a\\nb'"),
        ("a name that no disk takes", f"--name {LONG}", "run name 'xxx & 300"),
        ("a name without value", "--name", "--name"),
        ("an unknown notebook to begin at", "--from 12", "--from 12 & 08_your_own_images"),
        ("an unknown notebook alone", "--only retrieval", "--only retrieval"),
        ("an empty notebook", "--only=", "--only"),
        ("from and only", "--from 02 --only 03", "--from and --only"),
        ("an unknown preset", "--preset papier", "'papier' & did you mean 'paper'"),
        ("a setting without value", "--set bits", "got 'bits'"),
        ("a setting that is empty", "--set=", "got ''"),
        ("an unknown data set", "--data cifar", "'cifar' & did you mean 'cifar10'"),
        ("quick with a value", "--quick=yes", "--quick"),
    ),
    *of_command(
        "run",
        ("a file instead of a run", "--name file", "runs/file is a file"),
        ("other parameters in the middle", "--name tiny --from 03 --data emoji", "data='shapes' & asked: 'emoji'"),
        ("another size in the middle", "--name tiny --only 05 --set size=64", "size=16 & asked: 64"),
        ("another seed in the middle", "--name tiny --from 02 --set seed=7", "seed=0 & asked: 7"),
        ("a quick end of a slow run", "--name tiny --from 04 --quick", "scale=0.02 & asked: 0.2"),
        prepare=lambda place: (put(tiny_run, "runs/tiny")(place), (place / "runs" / "file").write_text("")),
    ),
    *of_command(
        "train",
        ("no run", "--stage classifier", "--run"),
        ("no stage", "--run tiny", "--stage"),
        ("an unknown stage", "--run tiny --stage centers", "'centers' & hasher"),
        ("no processes", "--run tiny --stage classifier --nproc 0", "--nproc 0"),
        ("processes in words", "--run tiny --stage classifier --nproc two", "'two'"),
        ("unknown centers", "--run tiny --stage hasher --centers bch", "'bch' & permuted"),
        ("centers that were not made", "--run tiny --stage hasher --centers csq", "centers-csq.npz"),
        ("an unknown parameter", "--run tiny --stage classifier --set epoch=1", "'epoch' & did you mean 'epochs'"),
        ("the other stage's parameter", "--run tiny --stage classifier --set hasher_lr=1", "'hasher_lr'"),
        ("a parameter out of range", "--run tiny --stage classifier --set epochs=0", "epochs=0"),
        ("an unknown net", "--run tiny --stage classifier --set net=vgg", "net='vgg'"),
        ("a crop above the size", "--run tiny --stage classifier --set crop=99", "crop=99 & 16 pixels"),
        ("an unknown device", "--run tiny --stage classifier --device gpu", "device='gpu'"),
        ("an unknown method", "--run tiny --stage hasher --set method=shcc", "'shcc' & did you mean 'shc'"),
        ("a method that lacks label paths", "--run tiny --stage hasher --set bits=8", "bits=8 & 16"),
        ("a hasher of an empty run", "--run empty --stage hasher", "empty has no data yet"),
        ("a run that is a file", "--run file --stage classifier", "file is a file"),
        ("a run's name that leaves the folder", "--run .. --stage hasher", "no data yet"),
        prepare=run_and_pictures,
    ),
    *of_command(
        "encode",
        ("no run", "--images pictures --out codes", "--run"),
        ("no place to write", "--run tiny --images pictures", "--out"),
        ("neither images nor split", "--run tiny --out codes", "--images & --split"),
        ("images and split", "--run tiny --images pictures --split query --out codes", "--split & --images"),
        ("an unknown split", "--run tiny --split test --out codes", "'test' & database"),
        ("a folder that is not there", "--run tiny --images nowhere --out codes", "nowhere is not there"),
        ("a folder without pictures", "--run tiny --images empty --out codes", "empty holds no images"),
        ("a picture as the folder", "--run tiny --images pictures/red.png --out codes", "red.png is a file"),
        ("empty shards", "--run tiny --split query --out codes --shard 0", "--shard 0"),
        ("shards in words", "--run tiny --split query --out codes --shard many", "'many'"),
        ("an unknown format", "--run tiny --split query --out codes --format csv", "'csv' & parquet or lance"),
        ("no processes", "--run tiny --split query --out codes --jobs 0", "--jobs 0"),
        ("an unknown device", "--run tiny --split query --out codes --device gpu", "device='gpu'"),
        ("a hasher that was not trained", "--run tiny --split query --out codes --centers csq", "hasher-csq"),
        ("centers that leave the run", "--run tiny --split query --out codes --centers ../x", "'../x' is no variant"),
        ("a run that is not there", "--run nowhere --split query --out codes", "nowhere has no data yet"),
        ("an empty run", "--run empty --split query --out codes", "empty has no data yet"),
        ("a file to write into", "--run tiny --split query --out file", "file is a file"),
        ("a folder below a file", "--run tiny --split query --out file/codes", "file/codes"),
        ("a run's name that no disk takes", f"--run {LONG} --split query --out codes", "xxx"),
        prepare=run_and_pictures,
    ),
    *of_command(
        "search",
        ("no picture", "--run tiny", "--image"),
        ("a picture that is not there", "--run tiny --image nowhere.png", "nowhere.png"),
        ("a text as a picture", "--run tiny --image text.png", "text.png is no picture"),
        ("half a picture", "--run tiny --image half.png", "half.png is no picture"),
        ("a folder as a picture", "--run tiny --image pictures", "pictures is no picture"),
        ("a second picture that is none", "--run tiny --image pictures/red.png --image text.png", "text.png"),
        ("no neighbors", "--run tiny --image pictures/red.png -k 0", "k=0"),
        ("neighbors in words", "--run tiny --image pictures/red.png -k ten", "'ten'"),
        ("an unknown index", "--run tiny --image pictures/red.png --index faiss:x", "'faiss:x' & memory:"),
        ("an index without a colon", "--run tiny --image pictures/red.png --index memory", "'memory'"),
        ("an index in a file", "--run tiny --image pictures/red.png --index memory:file", "file is a file"),
        ("a picture of another format", "--run tiny --image pictures/red.png --out found.jpg", "found.jpg & .png"),
        ("a folder to write into", "--run tiny --image pictures/red.png --out pictures", "pictures"),
        ("an empty run", "--run empty --image pictures/red.png", "empty has no data yet"),
        ("a run that is a file", "--run file --image pictures/red.png", "file is a file"),
        ("a place below a file", "--run tiny --image pictures/red.png --out file/found.png", "file/found.png"),
        prepare=run_and_pictures,
    ),
    *of_command(
        "evaluate",
        ("no database", "--query codes", "--database"),
        ("a folder without codes", "--query empty --database codes", "empty holds no encoded images"),
        ("a store that is not there", "--query codes --database nowhere", "nowhere holds no encoded images"),
        ("a file as a store", "--query codes --database file", "file"),
        ("a database named twice", "--query codes --database codes codes", "each of them once"),
        ("another hasher", "--query codes --database other_hasher", "hasher: hasher1 and hasher2"),
        ("other bits", "--query codes --database other_bits", "bits: 16 and 8"),
        ("other class names", "--query codes --database other_names", "different class names"),
        ("another tree", "--query codes --database other_tree", "different class tree"),
        ("an incomplete store", "--query codes --database incomplete", "lacks 1 of 3 shards & codes-00001.parquet"),
        ("images of unknown class", "--query unlabelled --database codes", "7 images of unknown class"),
        ("no ranks", "--query codes --database codes --k 0", "k=0"),
        ("negative ranks of graded metrics", "--query codes --database codes --graded-k -5", "-5"),
        ("a negative radius", "--query codes --database codes --radius -1", "radius=-1"),
        ("half a bit", "--query codes --database codes --radius 0.5", "'0.5'"),
        ("an unknown convention", "--query codes --database codes --convention best", "'best' & tie-aware"),
        ("no processes", "--query codes --database codes --jobs 0", "--jobs 0"),
        ("a folder to write into", "--query codes --database codes --out empty", "--out empty"),
        ("a file in no folder", "--query codes --database codes --out nowhere/s.json", "--out nowhere/s.json"),
        prepare=stores,
    ),
    *of_command(
        "verify",
        ("a run that is not there", "nowhere", "nowhere is not there"),
        ("a name that leaves the folder", "../..", "../.. holds no artifacts"),
        ("no name and no run", "", "quickstart is not there"),
        ("a name that no disk takes", LONG, "xxx"),
        ("two folders", "a b", "b"),
    ),
    *of_command(
        "report",
        ("a run that is not there", "--name nowhere", "nowhere has no executed notebooks"),
        ("a name that leaves the folder", "--name ../x", "'../x'"),
        ("a name with a slash", "--name a/b", "'a/b'"),
    ),
    *of_command(
        "refresh",
        ("a run that is not there", "--name nowhere", "00_tour was not executed in run 'nowhere'"),
        ("a hidden run", "--name .git", "'.git'"),
        ("a run whose last notebook is missing", "--name part", "solutions was not executed in run 'part'"),
        ("a run of which a cell failed", "--name failed", "05_retrieval & ValueError"),
        prepare=executed,
    ),
    *of_command(
        "datasets",
        ("an unknown data set", "emojies", "'emojies' & did you mean 'emoji'"),
        ("an unknown protocol", "cifar10 --protocol official", "protocol='official' & train-in-database"),
        ("everything to be fetched", "--download", "which data set"),
        ("everything to be checked", "--check", "which data set"),
        ("a root of nothing", "--root {p}", "which data set"),
        ("files that no program fetches", "nabirds --download --root {p}/data", "dl.allaboutbirds.org"),
        ("files that nobody offers", "stanford_cars --download", "the official site is gone"),
        ("a check without files", "cifar100 --check --root {p}/data", "cifar-100-binary.tar.gz"),
        ("a check of one's own nothing", "image_folder --check --root {p}/data", "data holds no images"),
        ("a check of own pictures without root", "image_folder --check", "image_folder"),
    ),
    *of_command("methods", ("an argument", "shc", "shc")),
]
