"""benchmarks/training.py: the plain loop is a fair one, the summaries say what the trainings say, the whole runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from shc.augmentation import augment, to_float
from shc.schedule import Schedule, one_cycle

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark_files(monkeypatch):
    """The benchmark's modules, importable as a script in their folder imports them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import plain_loop
    import training_summary

    yield SimpleNamespace(plain_loop=plain_loop, summary=training_summary)
    for name in ("plain_loop", "training_summary"):
        sys.modules.pop(name, None)


def test_the_plain_loop_augments_as_often_and_as_much_as_ours(benchmark_files):
    torch.manual_seed(0)
    n, schedule = 2000, Schedule()
    columns = torch.arange(32, dtype=torch.uint8).mul(8).expand(3, 32, 32)  # brighter to the right
    ours = augment(to_float(columns.expand(n, 3, 32, 32)), 2, 0.25, torch.Generator().manual_seed(0))
    transform = benchmark_files.plain_loop.random_transform(schedule, 32)
    plain = torch.stack([transform(columns) for _ in range(n)])
    assert plain.shape == ours.shape and plain.dtype == torch.float32
    assert plain.amin().item() == pytest.approx(-1) and abs(plain.amax() - ours.amax()) < 1e-6
    for x, name in ((plain, "plain"), (ours, "ours")):
        flipped = (x[:, 0, 0, 0] > x[:, 0, 0, 31]).float().mean().item()
        assert 0.42 < flipped < 0.58, name
        erased = (x == 0).all(1).float().mean((1, 2))
        assert 0.42 < (erased > 0).float().mean() < 0.58, name
        assert erased.max().item() == 64 / 1024, name  # a square of a quarter of the side
        left = torch.where(x[:, 0, 0, 0] < x[:, 0, 0, 31], x[:, 0, 0, 0], x[:, 0, 0, 31])
        assert len(left.unique()) >= 3, name  # translated by 0, 1, 2 pixels to one side; replicated at the border
    assert benchmark_files.plain_loop.fixed_transform()(columns).equal(to_float(columns[None])[0])


def test_the_plain_loop_takes_the_same_learning_rates_and_learns(benchmark_files, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noting(self, *args, **options):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    labels = torch.arange(40) % 2
    images = (labels * 200)[:, None, None, None].expand(40, 3, 8, 8).to(torch.uint8).contiguous()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    schedule = Schedule(epochs=3, batch=16, lr=0.01)
    values = list(benchmark_files.plain_loop.train(net, images, labels, schedule, 0, (images, labels)))
    assert rates == pytest.approx([0.01 * one_cycle(i / 6, 0.2) for i in range(6)])  # 40 images: two steps an epoch
    assert len(values) == 3 and values[-1] == 1


def test_the_trainings_summary_is_paired_by_seed(benchmark_files):
    runs = []
    for seed, gain in enumerate((0.01, 0.02, 0.03)):
        base = 0.8 + 0.01 * seed
        runs.append(dict(seed=seed, loop="plain", val=[0.5, 0.7, base], seconds=[10.0, 20.0, 30.0]))
        runs.append(dict(seed=seed, loop="ours, x", val=[0.5, base, base + gain], seconds=[3.0, 6.0, 9.0]))
    found = benchmark_files.summary.compared(runs)
    assert found["threshold"] == 0.8 and found["plain_final"] == pytest.approx(0.81)
    ours = found["compared"]["ours, x"]
    assert ours["final_minus_plain"]["mean"] == pytest.approx(0.02)
    assert ours["final_minus_plain"]["low"] < 0.01 < 0.03 < ours["final_minus_plain"]["high"]  # t with 2 degrees
    assert ours["time_to_threshold_over_plain"]["each"] == [0.2, 0.2, 0.2]
    assert ours["epoch_seconds_over_plain"] == pytest.approx(0.3)
    slow = next(run for run in runs if run["loop"] == "ours, x")
    slow["seconds"] = [3.0, 6.0, 99.0]  # one disturbed epoch changes nothing
    again = benchmark_files.summary.compared(runs)["compared"]["ours, x"]
    assert again["time_to_threshold_over_plain"]["each"] == [0.2, 0.2, 0.2]


def test_schedules_are_compared_with_the_default_on_the_same_seeds(benchmark_files):
    rows = [
        dict(epochs=epochs, batch=8, lr=0.1, dtype="float32", seed=seed, images=80 * epochs, val=val + 0.1 * seed)
        for epochs, val in ((4, 0.5), (2, 0.52))
        for seed in range(3)
    ]
    chosen = dict(epochs=4, batch=8, lr=0.1, dtype="float32")
    short, default = benchmark_files.summary.by_schedule(rows, chosen)
    assert (short["epochs"], short["images"], default["minus_default"]["mean"]) == (2, 160, 0)
    assert short["minus_default"] == pytest.approx(dict(mean=0.02, low=0.02, high=0.02))
    assert (short["seeds"], short["deviation"], short["lowest"]) == (3, pytest.approx(0.1), 0.52)
    alone = benchmark_files.summary.by_schedule(rows[3:], chosen)
    assert alone[0]["minus_default"]["mean"] is None  # the default was not tried


def test_the_benchmark_runs_and_goes_on_where_it_stopped(tmp_path):
    record = tmp_path / "training.json"
    tiny = ["--quick", "--repeats", "2", "--epochs", "1", "--seeds", "1", "--scale", "0.02", "--nets", "cnn"]
    command = [sys.executable, str(BENCHMARKS / "training.py"), *tiny, "--workers", "0", "1", "--record", str(record)]
    root = str(BENCHMARKS.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    subprocess.run([*command, "--only", "speed", "trainings"], check=True, env=environment, timeout=600)
    found = json.loads(record.read_text())
    plain, *ours = found["speed"]["rows"]
    assert plain["loop"] == "plain" and set(plain["tried"]) == {"plain, 0 workers", "plain, 1 workers"}
    assert [(row["dtype"], row["layout"]) for row in ours] == [
        (dtype, layout) for dtype in ("float32", "bfloat16") for layout in ("channels_last", "contiguous")
    ]
    for row in ours:
        assert ("step" in row["images_per_second"]) == (row["layout"] == "channels_last")
        assert all(low <= middle <= high for middle, low, high in row["images_per_second"].values())
        assert all(value > 0 for value in [*row["ratio"].values(), *row["matmul_share"].values()])
    assert {run["loop"] for run in found["trainings"]["runs"]} == {"plain", "ours, float32", "ours, bfloat16"}
    assert found["gpu"] is None
    done = subprocess.run(
        [*command, "--only", "trainings", "tuning", "gpu"], check=True, env=environment, timeout=600,
        capture_output=True, text=True,
    )  # fmt: skip
    again = json.loads(record.read_text())
    assert "seed 0" not in done.stdout and again["trainings"] == found["trainings"] and again["speed"] == found["speed"]
    assert [row["epochs"] for row in again["tuning"]["rows"]] == [1, 2]
    if not torch.cuda.is_available():
        assert again["gpu"] is None and "stays empty" in done.stdout
