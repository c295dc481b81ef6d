"""Hashing methods: one file each in this folder, registered by `@method` and found by name.

A method is a frozen dataclass of its hyper-parameters with one function: `loss(u, labels, centers)` takes the network's
outputs u [N, K], class positions int64 [N] and the hash centers as ±1 floats [C, K], and returns the scalar to minimise
with its named terms. `default_centers` names the centers it was published with.
"""

import difflib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class MethodInfo:
    """What a method needs and where it comes from, as `shc methods` lists it."""

    name: str
    needs: str
    source: str
    default_centers: str
    build: Callable[..., Any]


_REGISTRY: dict[str, MethodInfo] = {}


def method(name: str, *, needs: str, source: str, default_centers: str) -> Callable[[type], type]:
    """Register the decorated dataclass under `name`."""

    def register(cls: type) -> type:
        _REGISTRY[name] = MethodInfo(name, needs, source, default_centers, cls)
        return cls

    return register


def available() -> dict[str, MethodInfo]:
    """Every method of the folder by name.

    >>> sorted(available())
    ['csq', 'shc']
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
