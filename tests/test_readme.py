"""The README's code runs, its commands parse, its links lead somewhere."""

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
    data = getattr(options, "data", None)
    parameters.check_values(values | ({"data": data} if data else {}))
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
