"""`shc verify` on a run of small artifacts: it finds every kind of damage, names the command, and changes nothing."""

import hashlib
import json

import fake_notebooks as fake
import numpy as np
import pytest

from shc import cli
from shc.files import write_arrays
from shc.promises import broken, check
from shc.runs import Run, RunError
from shc.verify import verify

CODES = np.array([[1, 1, -1, -1], [-1, -1, 1, 1]], np.int8)
FACTS = {"min_distance": 4, "loss": 0.5}
S = np.array([[1.0, -0.5], [-0.5, 1.0]])


def statistics(**changes):
    return dict(logits=np.ones((3, 2), np.float32), labels=np.array([0, 1, 1]), feature_means=np.ones((2, 5))) | changes


@pytest.fixture
def run(tmp_path):
    """A run with an artifact of every kind, a checkpoint, a notebook and a picture."""
    run, data = Run(tmp_path / "one"), dict(fingerprint="f")
    run.save("splits", {"train": np.arange(3)}, parameters={}, **data)
    first = run.save("classifier", {"w": np.ones((2, 2), np.float32)}, parameters={"epochs": 1}, **data)
    second = run.save("statistics", statistics(), parameters={}, inputs={"classifier": first}, **data)
    third = run.save("similarity", {"S": S}, parameters={}, inputs={"statistics": second}, **data)
    made = dict(parameters={"bits": 4}, inputs={"similarity": third}, extra=FACTS, **data)
    run.save("centers", {"codes": CODES}, variant="random", **made)
    fourth = run.save("centers", {"codes": CODES}, **made)
    fifth = run.save("hasher", {"w": np.ones(3)}, parameters={}, inputs={"centers": fourth}, **data)
    packed = {"query": np.array([[0b11000000]], np.uint8)}
    run.save("codes", packed, parameters={"bits": 4}, inputs={"hasher": fifth}, **data)
    run.checkpoint("hasher", "k").save({"w": np.ones(2)}, {"epoch": 3})
    run.add_results(summary="s")
    run.add_parameters("data", {"data": "emoji"})
    fake.write(run.path / "notebooks" / "03_hash_centers.ipynb", fake.notebook(fake.code("1")))
    from matplotlib.figure import Figure

    run.save_figure(Figure(figsize=(1, 1)), "03_centers")
    return run


def wrong(run):
    return [finding for finding in verify(run.path) if not finding.good]


def state(folder):
    return {
        file: (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest()) for file in folder.rglob("*.*")
    }


def test_a_whole_run_passes_line_by_line_and_nothing_is_changed(run, capsys):
    before = state(run.path)
    assert cli.main(["verify", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "13 files, all as they should be" and all(line.startswith("✓ ") for line in lines[:-1])
    text = "\n".join(lines)
    assert (
        "centers.npz" in text and "codes int8[2,4]  key " in text and "of epoch 3" in text and "S float64[2,2]" in text
    )
    assert state(run.path) == before


def damage_bytes(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("centers.npz", damage_bytes, "delete it, then shc run --name one --from 03"),
        ("hasher.safetensors", damage_bytes, "delete it, then shc run --name one --from 04"),
        ("statistics.npz", lambda f: f.write_bytes(f.read_bytes()[:-20]), "shc run --name one --from 01"),
        ("params.yaml", lambda f: f.write_text("a: [", encoding="utf-8"), "not readable YAML"),
        ("results.json", lambda f: f.write_text("{", encoding="utf-8"), "not readable JSON"),
        ("checkpoints/hasher.safetensors", damage_bytes, "the training begins anew"),
        ("notebooks/03_hash_centers.ipynb", lambda f: f.write_text("{}"), "shc run --name one --only 03"),
        ("notebooks/03_hash_centers.ipynb", lambda f: f.write_text('{"cells": [], "nbformat": 3}'), "format 3, not 4"),
        ("figures/03_centers.png", damage_bytes, "no whole PNG"),
        ("figures/03_centers.png", lambda f: (f.unlink(), f.symlink_to("/dev/null")), "is a link"),
        ("centers-random.npz", lambda f: f.rename(f.parent / "centers-csq.npz"), "variant 'random', and renamed"),
        ("similarity.npz", lambda f: f.rename(f.with_name("other.npz")), "is no artifact of ours"),
    ],
)  # fmt: skip
def test_damage_is_named_with_the_command_that_remakes_it(run, capsys, file, change, told):
    change(run.path / file)
    assert cli.main(["verify", str(run.path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("✗")]
    # what was made from it cannot be trusted either, and says so in a line of its own
    (mine,) = [line for line in lines if line.split()[1] == file or "renamed" in line or "no artifact" in line]
    assert told in mine and all(told in line or "was made from" in line or file in line for line in lines), lines


def test_what_was_made_from_something_else_is_named(run):
    run.save("centers", {"codes": -CODES}, parameters={"bits": 4, "seed": 1}, fingerprint="f", extra=FACTS)
    told = wrong(run)
    assert {finding.file for finding in told} == {"hasher.safetensors", "codes.npz"}
    assert all("was made from an earlier centers" in finding.told for finding in told)


@pytest.mark.parametrize(
    ("name", "arrays", "parameters", "extra", "told"),
    [
        ("centers", {"codes": CODES}, {}, FACTS | {"min_distance": 5}, "stand closer than they claim: 4 bits, not 5"),
        ("centers", {"codes": CODES * 2}, {}, FACTS, "do not hold ±1 codes only"),
        ("centers", {"codes": CODES.astype(float)}, {}, FACTS, "do not hold ±1 codes only"),
        ("centers", {"codes": CODES}, {"bits": 8}, FACTS, "codes have 4 bits, not the 8"),
        ("centers", {"codes": CODES}, {}, FACTS | {"loss": float("nan")}, "loss holds nan"),
        ("centers", {"codes": CODES}, {}, {"loss": 0.1}, "'min_distance' is missing"),
        ("similarity", {"S": S * np.inf}, {}, {}, "S holds inf at"),
        ("similarity", {"S": S + np.array([[0, 0.1], [0, 0]])}, {}, {}, "S is not symmetric"),
        ("similarity", {"S": S[:1]}, {}, {}, "expected [C, C]"),
        ("statistics", statistics(logits=np.full((3, 2), np.nan)), {}, {}, "logits holds nan at (0, 0)"),
        ("statistics", statistics(labels=np.array([0, 1, 2])), {}, {}, "labels run from 0 to 2; expected 0 to 1"),
        ("statistics", statistics(feature_means=np.ones((3, 5))), {}, {}, "do not fit together"),
        ("classifier", {"w": np.array([1.0, np.inf])}, {}, {}, "w holds inf at (1,)"),
        ("splits", {"train": np.array([1, 1])}, {}, {}, "names an image twice"),
        ("codes", {"query": np.zeros((2, 2), np.uint8)}, {"bits": 4}, {}, "expected uint8 [n, 1]"),
        ("codes", {"query": np.array([[1]], np.uint8)}, {"bits": 4}, {}, "holds bits beyond the 4th"),
        ("codes", {}, {"bits": 0}, {}, "bits=0; expected a whole number"),
    ],
)
def test_broken_promises_are_found_by_the_stages_and_by_verify(tmp_path, name, arrays, parameters, extra, told):
    assert any(told in text for text in broken(name, arrays, parameters, extra))
    with pytest.raises(RunError, match=f"^{name}: "):
        check(name, arrays, parameters, extra)
    run = Run(tmp_path)
    run.save(name, arrays, parameters=parameters, fingerprint="f", extra=extra)
    (finding,) = wrong(run)
    assert finding.remedy.startswith("delete it, then shc run --name")


def test_a_forged_key_and_links_are_named(tmp_path):
    run = Run(tmp_path / "one")
    meta = dict(parameters={}, fingerprint="f", inputs={}, key="k", extra={})
    write_arrays(run.file("similarity"), {"S": S}, meta)
    assert "its key is not that of" in wrong(run)[0].told
    (run.path / "figures").symlink_to(tmp_path)
    assert [(finding.file, finding.remedy) for finding in wrong(run)] == [("figures", "delete it")]


def test_folders_of_other_kinds_are_told(tmp_path, capsys):
    for folder, told in ((tmp_path / "no", "is not there"), (tmp_path, "holds no artifacts, no sweep and no codes")):
        assert cli.main(["verify", str(folder)]) == 1
        assert told in capsys.readouterr().err


def test_cells_of_a_sweep_are_checked(run, tmp_path, capsys):
    for cell, record in (("a", {"status": "finished", "parameters": {}, "seconds": 1}), ("b", {"status": "?"})):
        (tmp_path / cell).mkdir()
        (tmp_path / cell / "cell.json").write_text(json.dumps(record))
    broken_cell = Run(tmp_path / "a")
    broken_cell.save("similarity", {"S": S * 3}, parameters={}, fingerprint="f")
    assert cli.main(["verify", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "✓ a/cell.json" in lines[0] and "✗ a/similarity.npz" in lines[1] and "✗ b/cell.json" in lines[2]
    assert "repeat the `shc sweep`" in lines[1]


def test_a_store_is_checked_shard_by_shard(tmp_path):
    pytest.importorskip("pyarrow")
    from shc.shards import EncodedStore, Manifest, Shard

    manifest = Manifest(8, "h", "f", 4, 2, "parquet", ["a", "b"], None, 0)
    store = EncodedStore.start(tmp_path / "codes", manifest)
    for number, label in ((0, 1), (1, 7)):
        store.write(number, Shard(["x", "y"], np.array([0, label], np.int32), np.array([[1], [2]], np.uint64)))
    first, good, bad = verify(store.folder)
    assert first.good and good.good and not bad.good and "labels run from 0 to 7; there are 2 classes" in bad.told
    store.file(0).write_bytes(b"PAR1")
    assert "damaged or not a shard" in list(verify(store.folder))[1].told
