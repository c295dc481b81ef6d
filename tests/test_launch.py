"""Training in several processes: two gloo processes, and torchrun once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import launched
import numpy as np
import pytest
import torch

import shc
from shc import cli
from shc.augmentation import augment
from shc.launch import Ranks, launch
from shc.runs import ForeignArtifact, Run, RunError
from shc.schedule import Schedule
from shc.train_job import Onlooker, configs
from shc.training import fit

ROOT = Path(shc.__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def together():
    """What two processes give, in one start."""
    return launch(launched.everything, 2)


@pytest.fixture(scope="module")
def alone():
    return launched.train_all()


@pytest.mark.parametrize("name", launched.METHODS)
def test_two_processes_train_like_one(together, alone, name):
    weights, records, same, saved = together[0][name]
    assert same, "parameters and the loss's memory are the same bits in both processes"
    assert saved == [2, 0], "only the first one keeps checkpoints"
    reference, alone_records, _, _ = alone[name]
    for key, array in reference.items():
        np.testing.assert_allclose(weights[key], array, rtol=0, atol=1e-5, err_msg=key)
    for a, b in zip(records, alone_records, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5) and a["lr"] == b["lr"]
        assert a["processes"] == 2 and "processes" not in b
        assert a["val"] == b["val"], "the first process's value counts in both"
    start = launched.network().state_dict()
    assert any(np.abs(weights[key] - start[key].numpy()).max() > 1e-2 for key in start), "it trained at all"


def test_batch_norm_has_one_running_average(together):
    first, second = together[1]
    assert first == second


def test_a_large_result_comes_back(together):
    assert torch.equal(together[2], torch.ones(1 << 20))


def test_slices_get_the_draws_of_the_whole_batch():
    x = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = augment(x, 2, 0.25, torch.Generator().manual_seed(5))
    parts = [
        augment(x[part], 2, 0.25, torch.Generator().manual_seed(5), part, 12)
        for part in (Ranks(rank, 3).part(12) for rank in range(3))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_one_process_is_this_one():
    assert launch(launched.place, 1, "a") == (0, 1, ("a",)) == launch(launched.place, None, "a")
    outputs = torch.ones(2, 3)
    assert Ranks().gather(outputs) is outputs and Ranks().part(5) == slice(0, 5) and Ranks().agree(0.3) == 0.3


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("second_fails", "process 1 of 2 failed: KeyError: 'the second one is missing'"),
        ("second_is_killed", "process 1 of 2 failed: it was ended by SIGKILL"),
    ],
)
def test_a_process_that_fails_ends_all_with_its_message(function, told):
    with pytest.raises(RunError, match=told):
        launch(getattr(launched, function), 2)


def test_what_cannot_be_started_is_told(monkeypatch):
    with pytest.raises(
        ValueError, match=r"<lambda> is defined inside another function, .*move it to the top of a \.py"
    ):
        launch(lambda: 1, 2)
    cell = type(launched.place)(launched.place.__code__, {}, "cell")
    cell.__module__, cell.__qualname__ = "__main__", "cell"
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(ValueError, match="cell is defined in a notebook or at a prompt, where new processes cannot"):
        launch(cell, 2)
    with pytest.raises(ValueError, match="nproc=0 must be a whole number of at least 1"):
        launch(launched.place, 0)
    monkeypatch.setattr("shc.launch.ranks", lambda: Ranks(0, 2))
    with pytest.raises(
        ValueError, match="a batch of 7 images cannot be divided among 2 processes; set batch to a mult"
    ):
        next(fit(launched.network(), None, *launched.images(), Schedule(batch=7)))


def test_another_number_than_torchrun_started_is_told(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="nproc=2, but torchrun started 4 processes"):
        launch(launched.place, 2)


# ------------------------------------------------------------------------------------------ shc train


def test_parameters_come_from_notebooks_run_and_command_in_this_order(tmp_path, capsys):
    run = Run(tmp_path)
    data, config = configs(run, "classifier", ["scale=0.02", "epochs=3"], "cpu", "semantic")
    assert (data.scale, data.size, config.epochs, config.batch, config.device) == (0.02, 32, 3, 128, "cpu")
    run.add_parameters("data", {"data": "shapes", "size": 16})
    run.add_parameters("classifier", {"epochs": 7, "lr": 0.001})
    run.add_parameters("hasher", {"epochs": 5})
    run.add_parameters("hasher-random", {"epochs": 4})
    data, config = configs(run, "classifier", ["epochs=3"], None, "semantic")
    assert (data.data, data.size, config.epochs, config.lr) == ("shapes", 16, 3, 0.001)
    assert configs(run, "hasher", ["hasher_lr=0.01", "batch=64"], None, "random")[1].epochs == 4
    _, config = configs(run, "hasher", ["hasher_lr=0.01", "batch=64"], None, "distance")
    assert (config.epochs, config.lr, config.batch) == (5, 0.01, 64)
    for arguments, told in (
        (["--set", "epoch=3"], "no notebook has a parameter 'epoch'; did you mean 'epochs'?"),
        (["--set", "lr=100"], "the classifier cannot be trained so: lr=100.0 must lie between 0 and 10"),
        (["--nproc", "0"], "--nproc 0: give 1 or more"),
        (["--centers", "x"], "--centers 'x' is unknown; choose one of semantic"),
    ):
        assert cli.main(["train", "--run", str(tmp_path), "--stage", "classifier", *arguments]) == 2
        assert told in capsys.readouterr().err
    assert cli.main(["train", "--run", str(tmp_path / "none"), "--stage", "hasher"]) == 1
    assert "has no data yet; run notebook 01_classifier" in capsys.readouterr().err


def test_those_beside_the_first_write_nothing(tmp_path):
    run = Onlooker(tmp_path)
    real = Run(tmp_path / "real")
    key = run.save("similarity", {"S": np.eye(2)}, parameters={"a": 1}, fingerprint="f")
    assert key == real.save("similarity", {"S": np.eye(2)}, parameters={"a": 1}, fingerprint="f")
    run.add_parameters("data", {"a": 1})
    run.add_results(a=1)
    checkpoint = real.checkpoint("c", "k")
    checkpoint.save({}, {"epoch": 1})
    seen = Onlooker(real.path).checkpoint("c", "k")
    seen.save({}, {"epoch": 2})
    seen.remove()
    assert seen.load() == ({}, {"epoch": 1}) and not list(tmp_path.glob("*.*"))
    with pytest.raises(ForeignArtifact):
        Onlooker(real.path).load("similarity", a=2)


def test_torchrun_trains_a_stage_and_the_command_then_finds_it(tmp_path, capsys):
    common = ["train", "--name", str(tmp_path / "run"), "--stage", "classifier", "--set", "threads=1"]
    first = ["--set", "scale=0.02", "--set", "size=16", "--set", "epochs=1", "--set", "batch=100", "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    started = subprocess.run(
        [*torchrun, "-m", "shc", *common, *first],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    assert started.stdout.count("epoch 1/1  loss ") == 1 and "s in 2 processes\n" in started.stdout
    run = Run(tmp_path / "run")
    assert run.load("classifier").meta["extra"]["history"][-1]["processes"] == 2
    assert run.load("statistics")["logits"].shape == (200, 100) and not (run.path / "checkpoints").exists()
    assert cli.main(common) == 0  # the run brings its parameters
    assert "2 processes; it was there already, made with these parameters" in capsys.readouterr().out
