"""Sweep files: which notebook is run with which parameters, written as blocks of lists.

    notebook: method_run
    set: {scale: 0.2}                                      # common to all cells
    cells:                                                 # each block is the product of its lists
      - {method: [shc, csq], bits: [16, 32], seed: [0, 1, 2]}
      - {name: long training, method: shc, bits: 32, hasher_epochs: 20}

Read, expanded and checked here without starting anything; `shc.sweeps` runs them.
"""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from shc import pipeline
from shc.parameters import Parameter, ParameterError, check_values, fitting, parameters_of
from shc.runs import RunError
from shc.untrusted import check_depth, check_text

DEFAULT_NOTEBOOK = "method_run"
DEFAULT_SHARED = ("data", "scale", "size", "protocol", "fold", "epochs", "seed")  # what method_run's stage 1 depends on
OWN = ("run", "base", "base_only", "live")  # parameters that the sweep itself fills in
WHERE = ("device", "threads")  # parameters that only say where a cell is computed
MOST_CELLS = 100_000
KEYS = ("name", "notebook", "set", "cells", "shared")


class SweepError(RunError):
    """A sweep file that cannot be run; the message says where and why."""


@dataclass(frozen=True)
class Cell:
    """One run of the notebook. `values` are the parameters that the file sets, `base` the folder of its shared part."""

    number: int  # place in the file, from 1
    block: str
    id: str
    values: dict[str, Any]
    base: str = ""

    def __str__(self) -> str:
        return f"cell {self.number}  {', '.join(f'{name}={value!r}' for name, value in self.values.items())}"


@dataclass(frozen=True)
class Sweep:
    """A sweep file, expanded and checked."""

    name: str
    notebook: Path
    parameters: dict[str, Parameter]
    cells: tuple[Cell, ...]
    repeats: tuple[tuple[int, int], ...]  # numbers of a cell and of the earlier one that has the same parameters
    bases: dict[str, dict[str, Any]]  # parameters of each shared part by its folder

    @property
    def folder(self) -> Path:
        return pipeline.run_path(self.name).resolve()

    def resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters that decide a cell's rows, in the notebook's order: as given, else the notebook's default."""
        left_out = (*OWN, *WHERE)
        return {p.name: values.get(p.name, p.default) for p in self.parameters.values() if p.name not in left_out}


def read_sweep(file: str | Path, *, check: bool = True) -> Sweep:
    """Read a sweep file; SweepError if it cannot be used, listing every impossible cell.

    `check=False` leaves out what the notebook's steps would refuse, which takes longest to find.
    """
    file = Path(file)
    content = _content(file)
    notebook = _notebook(content.get("notebook", DEFAULT_NOTEBOOK), file)
    try:
        known = parameters_of(pipeline.read_notebook(notebook))
    except RunError as error:
        raise SweepError(f"notebook {notebook.stem}: {error}") from error
    if not known:
        raise SweepError(f"{notebook.name} has no cell tagged `parameters`: a sweep has nothing to set in it")
    if taken := {"block", "cell"} & known.keys():
        raise SweepError(
            f"{notebook.name} has a parameter {taken.pop()!r}, which is a column of every sweep; rename it"
        )
    shared = _shared(content, notebook, known)
    cells, repeats, wrong = [], [], []
    bases: dict[str, dict[str, Any]] = {}
    first: dict[str, int] = {}
    for number, (block, given) in enumerate(_expanded(content, file), 1):
        values, why = _fitted(given, known, notebook.stem)
        name = cell_id(values)
        if name in first:
            repeats.append((number, first[name]))
            continue
        first[name] = number
        whole = {p.name: values.get(p.name, p.default) for p in known.values()}
        base = {parameter: whole[parameter] for parameter in shared}
        folder = f"shared-{digest(base)}" if base else ""
        cell = Cell(number, block, name, values, folder)
        if check and not why:
            why = _refused(whole, values, notebook)
        wrong += [(reason, cell) for reason in why]
        cells.append(cell)
        bases |= {folder: base} if folder else {}
    if wrong:
        raise SweepError(_told(wrong, file))
    name = content.get("name", file.stem)
    sweep = Sweep(str(name), notebook, known, tuple(cells), tuple(repeats), bases)
    if (sweep.folder / "params.yaml").exists():
        raise SweepError(
            f"runs/{name} is a run of the notebook sequence, not a sweep; give {file.name} another `name:`"
        )
    return sweep


def cell_id(values: Mapping[str, Any]) -> str:
    """Readable and unique name of a cell's folder.

    >>> cell_id({"method": "shc", "bits": 32, "seed": 0})
    'shc-32-s0-00412263'
    """
    words = [str(values[name]) for name in ("method", "bits") if name in values]
    words += [f"s{values['seed']}"] if "seed" in values else []
    readable = [re.sub(r"[^A-Za-z0-9]+", "_", word)[:24] for word in words] or ["cell"]
    return "-".join([*readable, digest(values)])


def digest(values: Mapping[str, Any]) -> str:
    """8 hex digits that stand for these parameters."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


# ------------------------------------------------------------------------------------------ reading


def _content(file: Path) -> dict[str, Any]:
    """The file as a mapping with known keys."""
    import yaml

    try:
        check_text(file)
        check_depth(text := file.read_text(encoding="utf-8"))
        check_once(yaml.compose(text, yaml.SafeLoader), file)
        content = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise SweepError(f"there is no file {file}; name a sweep file such as benchmarks/comparison.yaml") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SweepError(f"{file}{where}: not readable YAML ({getattr(error, 'problem', error)})") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SweepError(f"{file} is not readable ({error})") from error
    if not isinstance(content, dict):
        raise SweepError(f"{file} must hold `cells:` and, if wanted, {', '.join(k for k in KEYS if k != 'cells')}")
    for key in content:
        if key not in KEYS:
            raise SweepError(
                f"{file} has an unknown key {key!r}; {_near(str(key), KEYS)}The keys are {', '.join(KEYS)}"
            )
    if not isinstance(content.get("name", ""), str):
        raise SweepError(f"{file}: name: {content['name']!r} is not a text; write it in quotes")
    return content


def check_once(node: Any, file: Path, seen: set[int] | None = None) -> None:
    """Raise SweepError for a name that stands twice in one mapping of a YAML tree, of which the last would count."""
    seen = set() if seen is None else seen  # a tree may refer to itself
    if not isinstance(getattr(node, "value", ""), list) or id(node) in seen:
        return
    seen.add(id(node))
    names: set[str] = set()
    for part in node.value:
        if isinstance(part, tuple):
            if (name := str(part[0].value)) in names:
                line = part[0].start_mark.line + 1
                raise SweepError(f"{file}, line {line}: {name!r} stands there twice; give it once")
            names.add(name)
        for inner in part if isinstance(part, tuple) else (part,):
            check_once(inner, file, seen)


def _notebook(name: Any, file: Path) -> Path:
    """Where the notebook is: a name of notebooks/, or a path seen from the sweep file's folder."""
    if not isinstance(name, str) or not name:
        raise SweepError(f"{file}: notebook: {name!r} must be a name such as {DEFAULT_NOTEBOOK}, or a path")
    if "/" in name or name.endswith(".ipynb"):
        found = (file.parent / name).resolve()
        if not found.is_file():
            raise SweepError(f"{file}: there is no notebook {name} (paths are seen from the sweep file's folder)")
        return found
    folder = pipeline.notebooks_folder()
    if not (folder / f"{name}.ipynb").is_file():
        names = sorted(found.stem for found in folder.glob("*.ipynb"))
        raise SweepError(f"there is no notebook {name!r}; {_near(name, names)}The notebooks are {', '.join(names)}")
    return folder / f"{name}.ipynb"


def _expanded(content: Mapping[str, Any], file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Label and parameters of every cell, in the file's order."""
    common, blocks = content.get("set") or {}, content.get("cells")
    if not isinstance(common, dict):
        raise SweepError(f"{file}: set: must hold `parameter: value` pairs, not {common!r}")
    if not isinstance(blocks, list) or not blocks:
        raise SweepError(f"{file}: cells: must be a list of blocks such as `- {{method: [shc, csq], seed: [0, 1]}}`")
    cells: list[tuple[str, dict[str, Any]]] = []
    for place, block in enumerate(blocks, 1):
        if not isinstance(block, dict):
            raise SweepError(f"{file}: block {place} of cells must hold `parameter: value` pairs, not {block!r}")
        lists = {k: v if isinstance(v, list) else [v] for k, v in block.items() if k != "name"}
        if empty := [name for name, values in lists.items() if not values]:
            raise SweepError(f"{file}: block {place} gives no value for {empty[0]!r}; a list needs at least one")
        if len(cells) + math.prod(map(len, lists.values())) > MOST_CELLS:
            raise SweepError(f"{file}: its lists make more than {MOST_CELLS:,} cells with block {place}; shorten them")
        label = str(block.get("name", place))
        cells += [(label, {**common, **dict(zip(lists, values, strict=True))}) for values in product(*lists.values())]
    return cells


def _shared(content: Mapping[str, Any], notebook: Path, known: Mapping[str, Parameter]) -> tuple[str, ...]:
    """The parameters that decide what cells share; none unless the notebook can make that part alone."""
    able = {"base", "base_only"} <= known.keys()
    if "shared" not in content:
        return tuple(n for n in DEFAULT_SHARED if n in known) if able and notebook.stem == DEFAULT_NOTEBOOK else ()
    names = content["shared"] or []
    if not isinstance(names, list):
        raise SweepError(f"shared: must be a list of parameters, not {names!r}")
    if names and not able:
        raise SweepError(
            f"`shared` needs a notebook with the parameters base and base_only; {notebook.name} lacks them"
        )
    for name in names:
        if name not in known or name in (*OWN, *WHERE):
            near = _near(str(name), sorted(set(known) - {*OWN, *WHERE}))
            raise SweepError(f"shared: {name!r} is no parameter that cells of {notebook.name} could share; {near}")
    return tuple(names)


# ------------------------------------------------------------------------------------------ checking


def _fitted(
    given: Mapping[Any, Any], known: Mapping[str, Parameter], notebook: str
) -> tuple[dict[str, Any], list[str]]:
    """The values by name in the notebook's types, and what is wrong with them."""
    values, wrong = {str(name): value for name, value in given.items()}, []
    free = sorted(set(known) - set(OWN))
    for name, value in values.items():
        if name in OWN:
            wrong.append(f"{name} is filled in by the sweep; leave it out")
        elif name not in known:
            names = ", ".join(free)
            wrong.append(f"{notebook} has no parameter {name!r}; {_near(name, free)}Its parameters are {names}")
        else:
            try:
                values[name] = fitting(known[name], value)
            except ParameterError as error:
                wrong.append(str(error))
    return values, wrong


def _refused(whole: Mapping[str, Any], values: Mapping[str, Any], notebook: Path) -> list[str]:
    """What the notebook's steps would refuse, of those notebooks whose steps are known."""
    try:
        if notebook.stem == DEFAULT_NOTEBOOK:
            from shc.method_run import check_cell

            check_cell({name: value for name, value in whole.items() if name not in OWN})
        elif notebook.stem in pipeline.SEQUENCE:
            check_values(values)
    except ValueError as error:
        return [str(error)]
    return []


def _told(wrong: list[tuple[str, Cell]], file: Path) -> str:
    """All impossible cells, those with the same reason together."""
    reasons: dict[str, list[Cell]] = {}
    for reason, cell in wrong:
        reasons.setdefault(reason, []).append(cell)
    count = len({cell.number for _, cell in wrong})
    lines = [f"{file}: {count} cell{'s' * (count > 1)} cannot be run; nothing was started"]
    for reason, cells in reasons.items():
        lines += [reason, *(f"    {cell}" for cell in cells)]
    return "\n".join(lines)


def _near(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}? " if near else ""
