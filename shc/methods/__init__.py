"""Hashing methods: one file each in this folder, registered by `@method` and found by name.

A method is a frozen dataclass of its hyper-parameters, a subclass of `Method`. Training goes

    model  = backbone + method.head(dim, bits, classes)
    targets = method.targets(task, model)                  # what the loss compares with; may set up the model
    each step:   total, terms = method.loss(u, labels, targets)
    each epoch:  method.end_of_epoch(targets, epoch, outputs)

and `targets` is a tensor or a module whose buffers are kept in the checkpoint, so that a resumed training takes the
same path. Labels are class positions int64 [N], or a multi-hot float matrix [N, C] where an image has several; a method
that needs none gets the images' row numbers in the training set instead, so that it cannot see one.
"""

import difflib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from shc.datasets.streams import LazyImages

NEEDS = ("class", "label path", "label distances", "none")


@dataclass(frozen=True, eq=False)
class Task:
    """What a method may look at before training. A method reads only what its `needs` names.

    `labels` int64 [N] class positions of the training images (or multi-hot float [N, C]; row numbers for a method that
    needs none); `classes` C; `centers` ±1 float [C, K] for methods that have them; `paths` one path of parent names per
    class, coarsest first; `distances` float [C, C] label distances in [0, 1]; `images` uint8 [N, 3, S, S] the training
    images; `features` float [N, D] what the start network makes of them (computed when called); `classifier` weight
    [C, D] and bias [C] of the classifier's layer.
    """

    bits: int
    classes: int
    labels: "Tensor"
    seed: int = 0
    device: str = "cpu"
    centers: "Tensor | None" = None
    paths: tuple[tuple[str, ...], ...] | None = None
    distances: "np.ndarray | None" = None
    images: "Tensor | LazyImages | None" = None
    features: "Callable[[], Tensor] | None" = None
    classifier: "tuple[Tensor, Tensor] | None" = None


@dataclass(frozen=True)
class Method:
    """Base of all methods; the defaults are those of a loss towards given centers.

    Raises ValueError for a hyper-parameter that is not finite, is negative, or fails the method's own `check`.
    """

    trained: ClassVar[bool] = True  # False: `targets` sets the head in closed form, there is no gradient step

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.type is float and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, entry.name, float(value))
            elif not isinstance(value, entry.type) or (isinstance(value, bool) and entry.type is not bool):  # type: ignore[arg-type]
                expected = getattr(entry.type, "__name__", entry.type)
                raise ValueError(f"{entry.name}={value!r} must be of type {expected}, not {type(value).__name__}")
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{entry.name}={value!r} must be a finite number, 0 or above")
        self.check()

    def check(self) -> None:
        """Check hyper-parameters beyond their types."""

    def head(self, dim: int, bits: int, classes: int) -> "nn.Module":
        """The layer that maps features [N, D] to outputs u [N, K]."""
        from torch import nn

        return nn.Linear(dim, bits)

    def targets(self, task: Task, model: "nn.Module") -> Any:
        """What the loss compares outputs with: ±1 centers [C, K], or a module that holds more; on `task.device`."""
        return task.centers

    def loss(self, u: "Tensor", labels: "Tensor", targets: Any) -> "tuple[Tensor, dict[str, Tensor]]":
        """The scalar to minimise and its named terms, for outputs u [N, K] of a batch."""
        raise NotImplementedError

    def end_of_epoch(self, targets: Any, epoch: int, outputs: "Callable[[], Tensor]") -> None:
        """Called after epoch 1, 2, …; `outputs()` computes u [N, K] of all training images, in order."""


@dataclass(frozen=True)
class MethodInfo:
    """What a method needs and where it comes from, as `shc methods` lists it.

    `default_centers` is the kind of centers it was published with (see `shc.config.CENTER_KINDS`), "" without any;
    `start` the backbone it begins with: the classifier's, or "scratch" where the method claims not to see labels;
    `multi_label` whether images may have several labels, as they may for every method that needs none.
    """

    name: str
    needs: str
    source: str
    default_centers: str
    build: Callable[..., Any]
    start: str = "classifier"
    multi_label: bool = False
    options: dict[str, Any] = field(default_factory=dict)  # hyper-parameters with their defaults


_REGISTRY: dict[str, MethodInfo] = {}


def method(
    name: str,
    *,
    needs: str,
    source: str,
    default_centers: str = "",
    start: str = "classifier",
    multi_label: bool = False,
) -> Callable[[type], type]:
    """Register the decorated dataclass under `name`."""
    if needs not in NEEDS:
        raise ValueError(f"needs={needs!r} is unknown; choose one of {', '.join(NEEDS)}")

    def register(cls: type) -> type:
        options = {entry.name: entry.default for entry in fields(cls)}
        many = multi_label or needs == "none"
        _REGISTRY[name] = MethodInfo(name, needs, source, default_centers, cls, start, many, options)
        return cls

    return register


def available() -> dict[str, MethodInfo]:
    """Every method of the folder by name.

    >>> {"csq", "shc"} <= available().keys()
    True
    """
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def info(name: str) -> MethodInfo:
    """The registry's entry for a method; ValueError with the nearest names if there is none."""
    known = available()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"method {name!r} is unknown; {hint}Known methods: {', '.join(known)}")
    return known[name]


def get(name: str) -> Callable[..., Any]:
    """The method's dataclass: `get("csq")(weight=1e-3).loss(u, labels, centers)`."""
    return info(name).build


def build(name: str, options: str = "") -> Any:
    """A method with hyper-parameters from text, "name=value, name=value"; ValueError naming what does not fit.

    >>> build("shc", "gamma=0.01")
    SHC(gamma=0.01)
    """
    entry, values = info(name), {}
    for part in filter(None, (p.strip() for p in options.split(","))):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if key not in entry.options or not equals:
            near = difflib.get_close_matches(key, entry.options, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            told = ", ".join(f"{k}={v}" for k, v in entry.options.items()) or "none"
            raise ValueError(
                f"options={options!r}: method {name!r} has no hyper-parameter {key!r}; {hint}"
                f"It has (with defaults): {told}"
            )
        values[key] = _typed(text, entry.options[key], f"options={options!r}: {key}")
    try:
        return entry.build(**values)
    except ValueError as error:
        raise ValueError(f"options={options!r} of method {name!r}: {error}") from error


def _typed(text: str, default: Any, what: str) -> Any:
    if isinstance(default, str):
        return text
    try:
        return {"true": True, "false": False}[text.lower()] if isinstance(default, bool) else type(default)(text)
    except (KeyError, ValueError):
        raise ValueError(f"{what} must be of type {type(default).__name__}, not {text!r}") from None
