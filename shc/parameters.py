"""Parameters of notebooks: one `name: type = literal  # help` a line in the cell tagged `parameters`.

Read here without executing anything, so that a misspelt name or a value that a step would refuse is told at once.
"""

import ast
import difflib
import io
import math
import tokenize
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shc.runs import RunError

# whole numbers that notebooks use themselves, without a step that would check them: least and most
RANGES = {
    "tour_bits": (3, 1024), "neighbors": (1, None), "examples": (1, None), "map_codes": (1, None),
    "frontier_step": (1, None), "frontier_seeds": (1, None), "frontier_thin": (1, None),
} | dict.fromkeys(("tour_seed", "example_seed", "map_seed"), (0, 2**32 - 1))  # fmt: skip
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
LARGEST = 2**63 - 1  # of whole numbers; Python's have no end, and those of 4,300 digits cannot even be shown
LONGEST = 100  # characters of a value in a message


class ParameterError(ValueError):
    """A parameter that no notebook has, or a value that is not of its type."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell."""

    name: str
    kind: str
    default: Any
    help: str


def parameters_of(notebook: Mapping[str, Any]) -> dict[str, Parameter]:
    """The typed parameters of a notebook, by name.

    >>> cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "bits: int = 32  # code length"}
    >>> parameters_of({"cells": [cell]})["bits"]
    Parameter(name='bits', kind='int', default=32, help='code length')
    """
    try:
        cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        source = plain("\n".join("".join(cell["source"]) for cell in cells))
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"its cells are not those of a notebook of format 4 ({error!r:.80})") from error
    tree = parsed(source)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for line in tree.body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None):
            raise RunError(f"a parameters cell may only hold `name: type = literal` lines, not {_source(line)!r}")
        kind, name = _source(line.annotation), line.target.id
        if kind not in TYPES:
            raise RunError(f"parameter {name} has type {kind}; allowed are {', '.join(TYPES)}")
        try:
            default = ast.literal_eval(line.value)
        except (ValueError, TypeError) as error:  # the latter for {[]: 1}
            raise RunError(f"parameter {name} must be a literal, not {_source(line.value)}") from error
        parameter = Parameter(name, kind, default, comments.get(line.lineno, ""))
        try:
            fitting(parameter, default)
        except ParameterError as error:
            raise RunError(f"parameter {name} has a default that is not of type {kind}; write another one") from error
        found[name] = parameter
    return found


def parsed(code: str) -> ast.Module:
    """The syntax tree of a notebook's code without IPython's % and ! lines; RunError showing the line that is wrong."""
    try:
        return ast.parse(plain(code))
    except SyntaxError as error:
        raise RunError(f"code does not parse ({error.msg}): {(error.text or '').strip()}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # no valid text; brackets in brackets in brackets
        raise RunError(f"code does not parse ({type(error).__name__}): {code[:40]!r} …") from error


def plain(code: str) -> str:
    """Code without IPython's % and ! lines, which are left empty."""
    return "\n".join("" if line.startswith(("%", "!")) else line for line in code.splitlines())


def _source(node: ast.AST) -> str:
    """A piece of code for a message, shortened where it is long."""
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets inside brackets
        text = f"a {type(node).__name__} too long to be shown"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def parse_settings(settings: Sequence[str], known: Mapping[str, Mapping[str, Parameter]]) -> dict[str, Any]:
    """Turn `name=value` texts into typed values.

    Raises ParameterError naming the parameter: unknown (with the nearest name) or of another type.

    >>> parse_settings(["bits=64"], {"03": {"bits": Parameter("bits", "int", 32, "")}})
    {'bits': 64}
    """
    merged = {name: parameter for parameters in known.values() for name, parameter in parameters.items()}
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ParameterError(f"--set takes name=value, got {setting!r}; for example --set bits=64")
        if name not in merged or name == "run":
            near = difflib.get_close_matches(name, merged, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            names = ", ".join(sorted(set(merged) - {"run"}))
            raise ParameterError(f"no notebook has a parameter {name!r}; {hint}The parameters are {names}")
        values[name] = typed(merged[name], text)
    return values


def typed(parameter: Parameter, text: str) -> Any:
    """The value that `text` stands for, checked against the parameter's type."""
    if parameter.kind == "str":
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text.lower(), text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    return fitting(parameter, value, text)


def fitting(parameter: Parameter, value: Any, shown: Any = None) -> Any:
    """`value` if it is of the parameter's type (whole numbers become floats where one is due), else ParameterError.

    >>> fitting(Parameter("lr", "float", 0.1, "learning rate"), "1e-4")  # what YAML makes of 1e-4
    0.0001
    """
    shown = value if shown is None else shown
    if parameter.kind == "float" and type(value) in (int, str):
        with suppress(ValueError, OverflowError):
            value = float(value)
    odd = (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) > LARGEST)
    if type(value) is not TYPES[parameter.kind] or odd:
        quotes = "; write it in quotes" if parameter.kind == "str" else ""
        raise ParameterError(
            f"{parameter.name}={told(shown)} is not of type {parameter.kind}{quotes}; "
            f"it is {parameter.help or 'a parameter'}, by default {told(parameter.default)}"
        )
    return value


def told(value: Any) -> str:
    """A value for a message, shortened where it is long.

    >>> told("a" * 1000)[-8:]
    'aaaaaa …'
    """
    try:
        text = repr(value)
    except ValueError:  # of Python, for a number of thousands of digits
        text = f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def check_values(values: Mapping[str, Any]) -> None:
    """Raise ParameterError for values that the steps would refuse later: better before a kernel than an hour on."""
    from shc import config, models

    def build(kind: type, **names: str) -> Any:
        try:
            return kind(**{field: values[name] for field, name in names.items() if name in values})
        except ValueError as error:
            field, equals, rest = str(error).partition("=")
            raise ParameterError(f"{names.get(field, field)}{equals}{rest}") from error

    def same(*names: str) -> dict[str, str]:
        return {name: name for name in names}

    loop = (
        "batch", "device", "dtype", "optimizer", "warmup", "weight_decay", "color", "compile", "deterministic",
        "auto_batch",
    )  # fmt: skip
    own = ("net", "weights", "features", "backbone_lr", "crop", "epochs", "lr", "seed")
    classifier = build(config.ClassifierConfig, **same(*own, *loop))
    build(config.SimilarityConfig, source="similarity", **same("mask", "temperature", "embeddings"))
    centers = build(config.CentersConfig, seed="center_seed", **same("bits", "min_distance", "solver"))
    renamed = {field: f"hasher_{field}" for field in ("epochs", "lr", "seed", "features", "backbone_lr")}
    hasher = build(config.HasherConfig, **renamed, **same("method", "init", *loop))
    which = ("data", "scale", "size", "seed", "fold", "protocol", "root", "val", "unreadable")
    data = build(config.Data, **same(*which))
    for name, (least, most) in RANGES.items():
        if name in values and not least <= values[name] <= (math.inf if most is None else most):
            limit = "or above" if most is None else f"to {most}"
            raise ParameterError(f"{name}={values[name]!r} must be {least} {limit}")
    try:
        hasher.is_frozen(classifier)
        models.check_weights(classifier.net, classifier.weights)
        config.check_possible(data, centers)
        check_table(values)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    if classifier.crop > data.size:
        raise ParameterError(f"crop={classifier.crop} is more than the images' {data.size} pixels; set size higher")


def check_table(values: Mapping[str, Any]) -> None:
    """Raise ValueError if a sweep's table that the values name, or its metric, cannot be compared by notebook 07."""
    if not {"frame", "metric"} & values.keys():
        return
    from shc import frames, pipeline

    known = pipeline.all_parameters(("07_compare_methods",))["07_compare_methods"]
    frame, metric = (values.get(name, known[name].default) for name in ("frame", "metric"))
    frames.check_metric(frames.read_frame(pipeline.notebooks_folder() / frame), metric)
