"""What comes from elsewhere: pins that pip resolves to, licences of all of it, and what SECURITY.md promises."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_project import PIP_BLOCK, pins, requirements

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def licenses(tool):
    return tool("write_licenses")


def test_pip_resolves_the_requirements_to_the_pins_that_are_installed(tmp_path):
    """Without an index: pip can only answer with what is installed, and must find it inside ranges and pins.

    So this needs no network and is never skipped. That the pins can be fetched is what CI's `make test` begins with.
    """
    assert PIP_BLOCK[0] == "-c constraints.txt"
    wanted = [str(need) for need in requirements("pretrained", "scale")]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-index",
        "--disable-pip-version-check",
        "--quiet",
    ]
    report = tmp_path / "report.json"
    options = ["--report", str(report), "-c", str(ROOT / "constraints.txt")]
    done = subprocess.run([*command, *options, *wanted], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["install"] == [], "everything is installed, in the versions pinned"
    (tmp_path / "other.txt").write_text("numpy==0.0.1\n")  # and a pin that does not fit is noticed
    done = subprocess.run([*command, "-c", str(tmp_path / "other.txt"), "numpy"], capture_output=True, text=True)
    assert done.returncode != 0


def test_every_pin_has_its_licence_in_the_list(licenses):
    text = (ROOT / "docs" / "licenses.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([0-9]\S*) \| (.+) \|$", text, re.MULTILINE)
    assert {name: version for name, version, _ in rows} == pins(), "run tools/write_licenses.py"
    for name, _, told in rows:
        assert told not in ("not installed here", "see its licence file", "UNKNOWN"), f"{name}: find out its licence"
        now = licenses.license_of(name)
        assert now in (told, "not installed here") or sys.version_info[:2] != (3, 11), f"{name}: {now}; renew the list"


def test_every_data_set_has_its_terms_in_the_list(licenses):
    from shc.datasets import entries

    text = (ROOT / "docs" / "licenses.md").read_text(encoding="utf-8")
    own = {
        name: entry for name, entry in entries().items() if entry.build.__module__.startswith("shc.")
    }  # not of tests
    for name, entry in own.items():
        assert f"| {name} | {licenses.cell(entry.about.terms)} |" in text and entry.about.terms


def test_what_the_security_page_names_is_there():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`((?:shc|tests)/[\w/]+\.py)`", text)]
    assert named and all((ROOT / name).exists() for name in named)
