"""One run of a comparison, tiny: what it may see, what its row says, and that stage 1 is shared."""

import numpy as np
import pytest
import torch

from shc import hamming, method_run, methods, metrics, stages, tasks
from shc.config import HasherConfig
from shc.method_run import MethodRun, check_cell
from shc.runs import Run, RunError

TINY = dict(scale=0.02, size=16, bits=16, epochs=1, hasher_epochs=2)


def run_cell(path, base=None, **changes):
    settings, run = MethodRun(**(TINY | changes)), Run(path)
    if base is not None:
        method_run.adopt(run, base)
    images, records = method_run.prepare(run, settings)
    first = list(records)
    method_run.make_centers(run, images, settings)
    history = list(method_run.train(run, images, settings))
    return run, images, settings, first, history, method_run.measure(run, images, settings)


@pytest.fixture(scope="module")
def shc(tmp_path_factory):
    return run_cell(tmp_path_factory.mktemp("cells") / "shc", reference=True)


def test_the_row_says_what_the_artifacts_hold(shc):
    run, images, _, first, history, rows = shc
    row = rows[0]
    codes = stages.load_codes(run, images)
    labels = [images.split(split)[1] for split in ("query", "database")]
    found = metrics.evaluate(codes["query"], codes["database"], *labels, hierarchy=images.hierarchy)
    assert row["mAP@ALL"] == pytest.approx(found["mAP@ALL"], abs=1e-6)
    assert row["super_mAP@ALL"] == pytest.approx(found["super_mAP@ALL"], abs=1e-6)
    centers = run.load("centers")
    assert row["d"] == hamming.minimum_distance(centers["codes"])
    assert row["f"] == pytest.approx(
        float(np.mean((run.load("similarity")["S"] - gram(centers["codes"])) ** 2)), abs=1e-6
    )
    assert row["val"] == pytest.approx(max(r["val"] for r in history if r["val"] is not None), abs=1e-6)
    assert row["curve"].split()[-1] == f"2:{history[-1]['val']:.4f}"
    assert row["seconds_classifier"] == pytest.approx(first[-1]["seconds"], abs=0.06)
    assert row["information"] == "classes" and row["circular"] is False
    assert (row["queries"], row["database"]) == (len(labels[0]), len(labels[1]))


def gram(codes):
    return codes.astype(float) @ codes.T.astype(float) / codes.shape[1]


def test_reference_rows_are_the_same_images_ranked_otherwise(shc):
    run, images, _, _, _, rows = shc
    hashed, unquantized, snapped = rows
    assert [row["codes"] for row in rows] == ["hashed", "unquantized", "snapped"]
    H, codes = run.load("centers")["codes"], stages.load_codes(run, images)
    nearest = [H[(codes[split].astype(int) @ H.T.astype(int)).argmax(1)] for split in ("query", "database")]
    found = metrics.evaluate(*nearest, *(images.split(s)[1] for s in ("query", "database")), hierarchy=images.hierarchy)
    assert snapped["mAP@ALL"] == pytest.approx(found["mAP@ALL"], abs=1e-6)
    assert hashed["mAP@ALL"] != unquantized["mAP@ALL"] and "f" in snapped


def test_unquantized_map_is_average_precision_of_the_cosine():
    generator = torch.Generator().manual_seed(0)
    query, database = torch.randn(5, 8, generator=generator), torch.randn(40, 8, generator=generator)
    y, z = torch.randint(3, (5,), generator=generator), torch.randint(3, (40,), generator=generator)
    values = []
    for u, label in zip(query.numpy(), y.numpy(), strict=True):
        cosine = [float(u @ v) / float(np.linalg.norm(u) * np.linalg.norm(v)) for v in database.numpy()]
        hits = [bool(z[i] == label) for i in np.argsort(cosine)[::-1]]
        values.append(np.mean([np.mean(hits[: i + 1]) for i, hit in enumerate(hits) if hit]))
    assert method_run.unquantized_map(query, database, y, z) == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize("method", sorted(methods.available()))
@pytest.mark.parametrize("frozen", [False, True])
def test_every_method_runs_on_a_shared_classifier(shc, tmp_path, method, frozen):
    run, images, settings, _, _, rows = run_cell(tmp_path / "cell", shc[0].path, method=method, frozen=frozen)
    assert run.load("classifier").key == shc[0].load("classifier").key
    entry, row = methods.info(method), rows[0]
    assert 0 < row["mAP@ALL"] < 1 and 0 < row["val"] < 1
    assert (row["d"] is None) == (not entry.default_centers) == (row["centers"] == "")
    assert row["init"] == entry.start and ("classes" in row["information"]) == (
        entry.needs in ("class", "label path") or entry.start == "classifier"
    )
    assert row["circular"] == (entry.needs in ("label path", "label distances"))
    u = stages.predict(stages.load_hasher(run, images, settings.kind or "semantic"), images.split("query")[0])
    codes = stages.load_codes(run, images, settings.kind or "semantic")["query"]
    assert u.shape == (len(codes), 16) and ((u >= 0).numpy() == (codes > 0)).mean() > 0.999


def test_a_shared_classifier_is_not_trained_again(shc, tmp_path):
    _, _, _, first, _, rows = run_cell(tmp_path / "cell", shc[0].path)
    assert [r["seconds"] for r in first] == [r["seconds"] for r in shc[3]]
    assert rows[0]["mAP@ALL"] == shc[5][0]["mAP@ALL"]  # and the same seed gives the same numbers


def test_validation_rows_search_the_training_images(shc, tmp_path):
    run, images = shc[:2]
    rows = method_run.measure(run, images, MethodRun(**TINY, split="val"))
    assert (rows[0]["queries"], rows[0]["database"]) == (len(images.splits["val"]), len(images.splits["train"]))
    assert rows[0]["mAP@ALL"] == pytest.approx(rows[0]["val"], abs=1e-6) and "seen mAP@ALL" not in rows[0]


def test_shuffled_similarity_costs_loss_and_keeps_the_distance(shc, tmp_path):
    run, images = shc[0], shc[1]
    losses, distances = [], []
    for shuffled in (0.0, 0.5, 1.0):
        config = MethodRun(**TINY, shuffled=shuffled).centers_config()
        list(stages.optimize_centers(run, images, config))
        extra = run.load("centers").meta["extra"]
        losses.append(extra["loss"])
        distances.append(extra["min_distance"])
    assert losses[0] < losses[1] < losses[2] and len(set(distances)) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"method": "shcc"}, "did you mean 'shc'"),
        ({"options": "gama=1"}, "has no hyper-parameter 'gama'; did you mean 'gamma'?"),
        ({"options": "gamma=much"}, "gamma must be of type float, not 'much'"),
        ({"options": "gamma=-1"}, "gamma=-1.0 must be a finite number, 0 or above"),
        ({"bits": 4}, "cannot have different centers of 4 bits"),
        ({"bits": 16, "min_distance": "12"}, "are at most"),
        ({"data": "emojy"}, "did you mean 'emoji'"),
        ({"similarity": "text"}, "similarity='text' is unknown"),
        ({"shuffled": 1.5}, "shuffled=1.5 must lie between 0"),
        ({"split": "test"}, "split='test' is unknown"),
        ({"bits": "32"}, "bits='32' must be of type int"),
        ({"hasher_lr": 20.0}, "lr=20.0 must lie between 0 and 10"),
    ],
)
def test_an_impossible_cell_is_told(values, told):
    with pytest.raises(ValueError) as raised:
        check_cell(values)
    assert told in str(raised.value)


def test_a_base_without_classifier_is_told(tmp_path):
    with pytest.raises(RunError, match="holds no classifier"):
        method_run.adopt(Run(tmp_path / "cell"), tmp_path / "nothing")


def test_a_method_without_centers_takes_the_length_of_the_runs_centers(shc, tmp_path):
    run, images = run_cell(tmp_path / "cell", shc[0].path)[:2]
    config = HasherConfig(method="dpsh", epochs=1, batch=64, device="cpu")
    list(stages.train_hasher(run, images, config))
    assert stages.load_codes(run, images)["query"].shape[1] == 16


def test_a_backbone_from_scratch_learns_at_the_full_rate():
    assert HasherConfig(init="scratch").schedule().backbone_lr == 1.0
    assert HasherConfig().schedule().backbone_lr == 0.5
    assert HasherConfig(init="scratch").identity()["backbone_lr"] == 1.0


@pytest.mark.parametrize("name", ["lsh", "itq", "udmsh", "shrewd", "dpsh", "shpdh"])
def test_a_task_holds_what_the_method_declared(shc, name):
    run, images, entry = shc[0], shc[1], methods.info(name)
    y = stages.positions(images, images.split("train")[1])
    tree, classifier = stages.trained_hierarchy(images), run.load("classifier")
    task = tasks.new_task(entry, images, tree, y, None, 16, 0, lambda: torch.zeros(1), classifier, "cpu")
    assert torch.equal(task.labels, y) == (entry.needs != "none")
    assert (task.classifier is not None) == (entry.needs == "class")
    assert (task.paths is not None) == (entry.needs == "label path")
    assert (task.distances is not None) == (entry.needs == "label distances")
    if entry.needs.startswith("label"):
        with pytest.raises(
            RunError, match=f"method '{name}' needs .*, which 'emoji' lacks; choose one of classifier, csq"
        ):
            tasks.new_task(entry, images, None, y, None, 16, 0, lambda: torch.zeros(1), classifier, "cpu")


def test_which_images_there_are_is_told_to_the_data(tmp_path):
    settings = MethodRun(**(TINY | dict(root=str(tmp_path), val=0.2, unreadable="fail")))
    data = settings.data_config()
    assert (data.root, data.val, data.unreadable) == (str(tmp_path), 0.2, "fail")
    assert "unreadable" not in MethodRun(**TINY).identity()  # older rows stay what they are
