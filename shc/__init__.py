"""Semantic hash centers: short binary codes whose distances mean something.

Submodules load on first use (`import shc; shc.centers.solve(...)`), so importing the package stays cheap.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
_MODULES = (
    "asking", "bounds", "centers", "charts", "claims", "class_map", "code_map", "config", "constructions", "controls",
    "datasets", "efficientnet", "embedding", "encode", "estimates", "explorer", "features", "files", "frames",
    "frontier", "hamming", "hierarchy", "histograms", "image_search", "invariants", "label_sets", "launch", "live",
    "locks", "methods", "metrics", "models", "name_embeddings", "parameters", "pictures", "pipeline", "plots",
    "presets", "promises", "ranking", "refresh", "report", "runs", "search", "shards", "similarity", "stages",
    "store_evaluation", "structure", "sweeps", "training", "untrusted", "verify", "widgets",
)  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"shc.{name}")
    raise AttributeError(f"module 'shc' has no attribute {name!r}; its modules are {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
