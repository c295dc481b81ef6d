"""The README's code runs, its commands parse, its links lead somewhere."""

import json
import re
import shlex
from pathlib import Path

import pytest
from frames import comparison_frame

from shc import cli, datasets, parameters, pipeline, readme

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.split("#")[0].strip() for language, block in BLOCKS if not language for line in block.splitlines()]


def test_the_python_code_runs(capsys):
    programs = [block for language, block in BLOCKS if language == "python"]
    assert programs
    for program in programs:
        exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", sorted({line for line in LINES if line.startswith("shc ")}))
def test_every_command_parses(line, monkeypatch):
    monkeypatch.setattr(datasets, "check_files", lambda name, root: None)  # FOLDER is the reader's
    seen = []
    monkeypatch.setattr(cli, "COMMANDS", dict.fromkeys(cli.COMMANDS, lambda options: seen.append(options) or 0))
    assert cli.main(shlex.split(line)[1:]) == 0
    (options,) = seen
    values = parameters.parse_settings(getattr(options, "settings", []), pipeline.all_parameters())
    given = {name: getattr(options, name, None) for name in ("data", "root")}
    parameters.check_values(values | {name: value for name, value in given.items() if value})
    if hasattr(options, "first"):
        assert pipeline.select(options.first, options.only)


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for line in LINES for word in re.findall(r"make (\w+)", line)}
    assert named and named <= targets


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)", README)
    local = [link for link in links if "://" not in link]
    assert local
    missing = [link for link in local if not (ROOT / link).exists()]
    assert not missing


def test_every_notebook_and_command_is_told():
    for name in pipeline.SEQUENCE:
        assert f"notebooks/{name}.ipynb" in README
    for command in cli.COMMANDS:
        assert f"shc {command}" in README


def test_the_center_record_becomes_a_table():
    row = {
        "classes": 100, "bits": 32, "min_distance": 10, "bound": 0.01,
        "shc": {"loss": 0.0175, "seconds": 1.26}, "paper-code": {"loss": 0.0451, "seconds": 0.34},
    }  # fmt: skip
    growth = [{"classes": 10_000, "bits": 128, "seconds": 612.4, "gigabytes": 2.51}]
    record = {"device": "a machine", "date": "2026-01-02", "seed": 0, "rows": [row], "growth": growth}
    lines = readme.center_numbers(record)
    assert "a machine, 2026-01-02, seed 0" in lines[0]
    assert lines[4] == "| 100 | 32 | 10 | 0.0175 | 1.3 | 1.75 | 0.0451 in 0.3 s | – |"
    assert lines[-1] == "Larger sets, one thread: 10,000 classes × 128 bits 612 s, 2.5 GB."
    record["rows"] = [row | {"same_time": {"loss": 0.0181}}]
    assert readme.center_numbers(record)[4].endswith("| 0.0181 |")


def test_the_comparison_becomes_a_table_of_methods(tmp_path):
    frame = comparison_frame(tmp_path)
    lines = readme.comparison_numbers(frame)
    rows = {line.split(" | ")[0].strip("| *"): line.split(" | ") for line in lines[4:]}
    shown = frame[frame["block"].isin(["closed", "unseen", "shapes"])]
    assert set(rows) == set(shown["label"])
    shc = frame[(frame["block"] == "closed") & (frame["label"] == "shc") & (frame["bits"] == 32)]["mAP@ALL"]
    assert rows["shc"][3].startswith(f"{shc.mean():.3f} ± ") and rows["shc"][3].endswith(f"({len(shc)})")
    half = 2.776 * shc.std(ddof=1) / len(shc) ** 0.5  # Student's t at 97.5 %, 4 degrees of freedom
    assert rows["shc"][3].split(" ± ")[1].startswith(f"{half:.3f}")
    assert "tree" in rows["shpdh"][1] and rows["shc"][1] == "classes"  # whatever S its ablations were given
    at = frame[(frame["block"] == "closed") & (frame["bits"] == 32)].groupby("label")["mAP@ALL"].mean()
    assert [name for name in rows if name in at] == list(at.sort_values(ascending=False).index)
    alone = readme.comparison_numbers(frame[frame["block"] == "closed"])
    assert alone[4].count("|  ") >= 1  # what was not run stays empty


def test_the_record_of_fashion_mnist_becomes_a_table():
    row = {"f": [0.1, 0.1], "mAP@ALL": [0.8, 0.82], "mAP@1000": [0.7, 0.72], "super_mAP@ALL": [0.9, 0.92]}
    record = {
        "protocol": "disjoint", "processor": "a machine", "threads": 2, "date": "2026-01-02", "seeds": 2, "bits": [16],
        "sizes": {"train": 4500, "query": 10_000, "database": 55_000}, "hasher_epochs": 3,
        "results": {"16": {"semantic": row, "csq": row}},
        "difference": {"16": {"csq": {"mean": 0.01, "low": -0.002, "high": 0.02}}},
    }  # fmt: skip
    lines = readme.fashion_numbers(record)
    assert "a machine, 2 threads, 2026-01-02, 2 seeds; 4,500 training images" in lines[0]
    assert lines[4] == "| **semantic (SHC)** | 16 | 0.810 | 0.710 | 0.910 |"
    assert lines[5] == "| CSQ's | 16 | 0.810 (+0.010, -0.002 to +0.020) | 0.710 | 0.910 |"


def test_the_records_of_own_pictures_become_sentences(tmp_path):
    own = {
        "pictures": 2100, "classes": 12, "cores": 2, "date": "2026-01-02", "minutes": 3.4, "top1": {"query": 0.5},
        "results": {"mAP": {"semantic": 0.4, "random": 0.3}},
    }  # fmt: skip
    (tmp_path / "own_images.json").write_text(json.dumps(own))
    text = readme.own_pictures(tmp_path)
    assert "2,100 drawings and photographs in 12 classes" in text and "took 3.4 minutes" in text
    assert "top-1 0.500, mAP@ALL 0.400 at 32 bits, with random centers 0.300" in text and "JPEG" not in text
    steps = {"predict": {"megabytes": [600, 640]}, "fit": {"megabytes": [700, 790, 720], "images_per_second": 4000.4}}
    streaming = {"images": 100_000, "cores": 2, "date": "2026-01-02", "tensor_megabytes": 1229, "steps": steps}
    (tmp_path / "streaming.json").write_text(json.dumps(streaming))
    text = readme.own_pictures(tmp_path)
    assert "over 100,000 JPEGs" in text and "rose by at most 90 MB" in text and "4,000 images per second" in text


def test_the_records_of_watching_and_clicking_become_sentences(tmp_path):
    row = {"hold_up": 0.014, "lag": 0.4, "longest_lag": 0.49}
    live = {"found": {"32 bits": row}, "device": "CPU", "date": "2026-01-02", "classes": 100, "repeats": 5}
    (tmp_path / "live.json").write_text(json.dumps(live))
    click = {"minutes": 2.5, "processor": "a machine", "cores": 2, "date": "2026-01-03"}
    (tmp_path / "first_click.json").write_text(json.dumps(click))
    first, second = readme.results(tmp_path).split("\n\n")
    assert "CPU, 2026-01-02, 100 classes, medians of 5 runs): at 32 bits 1.4% longer than alone" in first
    assert "0.40 s behind (median) and 0.49 s at most" in first
    assert second.endswith("a machine, 2 cores, 2026-01-03): 2.5 minutes.")
