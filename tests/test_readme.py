"""The README's code runs, its commands parse, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from shc import cli, parameters, pipeline

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
