"""What the README and docs/scale.md say of speed is what the records hold."""

import json
import re
import shlex
from pathlib import Path

import pytest

from shc import cli, scale_page

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def record(name):
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_pages_hold_what_the_records_say():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\n".join(scale_page.speed_numbers(record("metrics"))) in readme
    assert "\n".join(scale_page.training_numbers(record("training"))) in readme
    assert "\n".join(scale_page.scale_numbers(record("scale"))) in PAGE
    assert "\n".join(scale_page.search_numbers(record("search"))) in PAGE


def test_training_numbers_are_those_of_whole_steps_and_pairs():
    rate = lambda step, ratio: dict(images_per_second={"step": [step, 1, 2]}, ratio={"step": ratio})
    share = dict(matmul_share={"step": 0.42})
    common = dict(net="cnn", size=32, batch=128)
    rows = [
        common | dict(loop="plain", images_per_second={"step": [1000.0, 1, 2]}),
        common | rate(1600.0, 1.61) | share,
        common | dict(images_per_second={"forward": [9, 9, 9]}),  # a layout without whole steps
        common | rate(2200.0, 2.19) | share,
    ]
    gap, ratio = dict(mean=-0.01, low=-0.02, high=0.0), dict(each=[0.5], mean=0.5, low=None, high=None)
    compared = {"ours, float32": dict(final_minus_plain=gap, time_to_threshold_over_plain=ratio)}
    trainings = dict(epochs=20, threshold=0.27, plain_final=0.281, runs=[dict(seed=0)], compared=compared)
    part = dict(device="a machine", threads=2, date="2026-01-02", rows=rows)
    lines = scale_page.training_numbers(dict(speed=part, gpu=None, trainings=trainings))
    assert "| cnn | 32 | 128 | 1,000 | 1,600 (× 1.61) | 2,200 (× 2.19) | 42% | 42% |" in lines
    assert any("No GPU" in line for line in lines)
    assert "float32: -0.010 (-0.020 to +0.000) top-1" in lines[-1] and "time to 0.270 × 0.50 of its" in lines[-1]
    one = dict(epochs=10, batch=64, lr=0.003, images=90_000, seeds=1, val=0.25, deviation=None, minus_default=gap)
    *_, row = scale_page.training_numbers(dict(speed=part, gpu=None, tuning=dict(schedules=[one])))
    assert row == "| 10 | 64 | 0.003 | 90,000 | 1 | 0.250 | – | -0.010 (-0.020 to +0.000) |"
    with_gpu = scale_page.training_numbers(dict(speed=part, gpu=part | dict(device="a GPU"), trainings=None))
    assert sum("a GPU" in line for line in with_gpu) == 1 and not any("No GPU" in line for line in with_gpu)


def test_unit_costs_are_the_largest_measurement_divided():
    rows = [
        {"database": 10**5, "counting": {"seconds": 9.0, "megabytes": 1}, "building": {"seconds": 1.0, "megabytes": 5},
         "searching": {"seconds": 2.0}},
        {"database": 10**6, "counting": {"seconds": 0.02, "megabytes": 60}},
    ]  # fmt: skip
    lines = scale_page.scale_numbers(
        dict(
            rows=rows, queries=100, bits=128, classes=10, k=5, threads=2, processor="a machine", date="2026-01-02",
            encode=dict(images_per_second=2000, net="cnn", size=32, device="cpu"),
        )
    )  # fmt: skip
    assert "| 100,000 | 9 s | 1 MB | 1 s | 5 MB | 2 s |" in lines
    assert "| 1,000,000 | 0.02 s | 60 MB | – | – | – |" in lines
    costs = next(line for line in lines if line.startswith("Unit costs"))
    assert "0.20 ns to count" in costs and "200.00 ns to search" in costs and "500 µs to encode" in costs
    # 10⁹ images: 5e5 s of encoding, 16 bytes a code, 1,000 queries × 0.2 ns, 200 ns for one query
    assert lines[-1] == "| 1,000,000,000 | 5.8 days | 16.0 GB | 3.3 minutes | 3.3 minutes |"


@pytest.mark.parametrize("seconds, text", [(0.0042, "0.0042 s"), (59, "59 s"), (150, "2.5 minutes"), (3e5, "3.5 days")])
def test_seconds_in_the_unit_people_use(seconds, text):
    assert scale_page.in_time(seconds) == text


def test_commands_of_the_page_parse(monkeypatch):
    monkeypatch.setattr(cli, "COMMANDS", dict.fromkeys(cli.COMMANDS, lambda options: 0))
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for language, block in blocks if not language for line in block.splitlines()]
    ours = [line for line in lines if re.match(r"(shc|torchrun) ", line)]
    assert len(ours) >= 5
    for line in ours:
        _, _, arguments = line.partition("-m shc " if line.startswith("torchrun") else "shc ")
        assert cli.main(shlex.split(arguments)) == 0, line
