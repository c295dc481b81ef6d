"""The project's own files: one environment told in three places, cheap imports, documented modules."""

import ast
import doctest
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import shc

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(module.name for module in pkgutil.walk_packages(shc.__path__, "shc."))
FILES = sorted((ROOT / "shc").rglob("*.py"))
PIP_BLOCK = ["-c constraints.txt", "-e .[notebooks,pretrained,scale,test]"]


def project_table():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras):
    table = project_table()
    wanted = [table["optional-dependencies"][extra] for extra in ("notebooks", "test", *extras)]
    return [Requirement(line) for line in (*table["dependencies"], *(line for extra in wanted for line in extra))]


def pin_lines():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins():
    return dict(line.split("==") for line in pin_lines())


# ------------------------------------------------------------------------------------------ environment


def test_conda_brings_python_and_pip_and_pip_the_rest():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["name"] == "shc" and environment["channels"] == ["conda-forge"]
    assert conda == ["python=3.11", "pip"] and Version("3.11") in SpecifierSet(project_table()["requires-python"])
    assert pip == {"pip": PIP_BLOCK}


def test_makefile_installs_the_same_block():
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line]
    assert len(lines) == 1
    words = lines[0].split("pip install", 1)[1].replace('"', "").split()
    wanted = " ".join(PIP_BLOCK).split()
    assert [word for word in words if word not in ("-q", "--disable-pip-version-check")] == wanted


def test_extras_that_are_installed_exist():
    named = re.search(r"\[(.*)\]", PIP_BLOCK[1])
    assert named and set(named[1].split(",")) <= set(project_table()["optional-dependencies"])


def test_every_requirement_has_one_pin_inside_its_range():
    names = [line.split("==")[0] for line in pin_lines()]
    assert len(names) == len(set(names))
    found = pins()
    for need in requirements("pretrained", "scale"):
        name = canonicalize_name(need.name)
        assert name in found, f"{need} has no pin; run tools/write_constraints.py"
        assert Version(found[name]) in need.specifier, f"{name}=={found[name]} is outside {need}"


def test_constraints_are_exact_sorted_pins_without_cuda_or_addresses():
    lines = pin_lines()
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line
        assert not re.match(r"nvidia-|cuda-|triton|pip==|setuptools==|wheel==", line), line
    comments = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("#")]
    assert len(comments) == 1 and "tools/write_constraints.py" in comments[0]
    assert "://" not in comments[0]


def test_generator_pins_what_the_environment_holds(tmp_path):
    (tmp_path / "tools").mkdir()
    copy = tmp_path / "tools" / "write_constraints.py"
    copy.write_text((ROOT / "tools" / "write_constraints.py").read_text())
    subprocess.run([sys.executable, str(copy)], check=True, capture_output=True)
    written = (tmp_path / "constraints.txt").read_text().splitlines()
    versions = dict(line.split("==") for line in written[1:])
    assert versions["pytest"] == pytest.__version__
    assert {canonicalize_name(need.name) for need in requirements()} <= set(versions)
    if sys.platform == "linux":
        assert set(versions) <= set(pins()), "constraints.txt lacks a package; run tools/write_constraints.py"


def test_ci_script_is_executable_and_runs_make_test_last():
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert script.stat().st_mode & 0o111 and lines[0].startswith("#!") and lines[-1] == "make test"
    assert "set -euo pipefail" in lines
    assert any(line.startswith("export SHC_REQUIRE_BROWSER=1") for line in lines)
    recipe = (ROOT / "Makefile").read_text().split("\ntest:")[1].split("\n\n")[0]
    assert recipe.splitlines()[-1].strip() == "$(BIN)/python -m pytest"  # its closing line ends the output
    for tool in ("ruff check", "ruff format --check", "mypy"):
        assert tool in recipe


def test_what_is_no_module_is_packaged():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = {file for file in (ROOT / "shc").glob("*.*") if file.suffix != ".py"}
    assert files and {file.name for file in files} <= set(table["shc"])


# ------------------------------------------------------------------------------------------ modules


def loaded_by(statement):
    """Top-level names of the modules that a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("statement", ["import shc", "import shc.cli", "import shc.pipeline, shc.runs"])
def test_imports_that_must_stay_cheap(statement):
    heavy = {"torch", "torchvision", "numba", "matplotlib", "scipy", "pandas", "papermill", "ipywidgets"}
    loaded = loaded_by(statement)
    assert "shc" in loaded and not loaded & heavy


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_and_its_examples_run(name):
    if name == "shc.__main__":  # runs the command
        return
    results = doctest.testmod(import_module(name))
    assert results.failed == 0


def test_package_lists_its_modules():
    flat = {name.split(".")[1] for name in MODULES} - {"__main__", "cli"}
    missing = [name for name in shc._MODULES if name not in flat]
    assert not missing, f"shc/__init__.py names modules that do not exist: {missing}"
    assert shc.runs is import_module("shc.runs") and "runs" in dir(shc)
    with pytest.raises(AttributeError, match=r"'shc' has no attribute 'center'; its modules are .*centers"):
        _ = shc.center


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_module_is_documented_and_not_too_long(file):
    """A docstring on the module, and on public functions and classes unless they are a line or two under a heading."""
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    # moves.py stays in one piece: numba caches a compiled function by its own file, and would not notice that one
    # it calls in another file has changed
    assert len(text.splitlines()) <= (510 if file.name == "moves.py" else 400), "split it"
    assert ast.get_docstring(tree)
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    for node in public:
        short = isinstance(node, ast.FunctionDef) and len(node.body) <= 3
        assert short or ast.get_docstring(node), f"{node.name} has no docstring"


# ------------------------------------------------------------------------------------------ files


def project_files():
    """Files under version control or about to be; without git, everything that is not hidden or made by a run."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    made = ("runs", "build", "dist")
    return [
        file
        for file in ROOT.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") or part in (*made, "__pycache__") for part in file.relative_to(ROOT).parts)
    ]


def test_no_file_holds_a_path_of_the_machine_it_was_written_on():
    folders = "|".join(("home", "root", "Users", "work", "tmp", "mnt", "private"))
    absolute = re.compile(rf"(?<![\w.:/~*$)}}-])/(?:{folders})/\w")
    here = {str(ROOT) + "/", str(Path.home()) + "/"} - {"//", "/"}
    guilty = []
    for file in project_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = [line for line in text.splitlines() if absolute.search(line) or any(path in line for path in here)]
        guilty += [f"{file.relative_to(ROOT)}: {line.strip()[:120]}" for line in lines]
    assert not guilty, "\n".join(guilty)
