"""The run folder: where a sequence keeps what it made, so that every notebook can start from the one before.

An artifact is one file (`safetensors` for weights, `npz` for arrays) that carries the parameters, data fingerprint,
inputs and library versions it was made with. Its `key` is the hash of parameters, fingerprint and the keys of its
inputs: equal keys mean "made the same way". Files are written whole and checked when they are read (`shc.files`), and
two processes do not write into one folder (`shc.locks`).
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from shc.files import Damaged, check_entries, damaged, read_arrays, read_meta, read_yaml, write_arrays
from shc.files import RunError as RunError  # everything that keeps files looks for these here
from shc.files import atomic_write as atomic_write
from shc.files import digest as digest
from shc.files import read_json as read_json
from shc.locks import held

# artifact → file format and the notebook that makes it
ARTIFACTS = {
    "classifier": ("safetensors", "01_classifier"),
    "splits": ("npz", "01_classifier"),
    "statistics": ("npz", "01_classifier"),
    "features": ("safetensors", "04_hashing_network"),
    "similarity": ("npz", "02_class_similarity"),
    "centers": ("npz", "03_hash_centers"),
    "hasher": ("safetensors", "04_hashing_network"),
    "codes": ("npz", "04_hashing_network"),
}
FOLDERS = ("notebooks", "figures", "checkpoints")  # in a run
RESULTS: dict[str, tuple[type, Any]] = {  # entries of results.json that are read, and what stands in them
    "headlines": (dict, str), "seconds": (dict, int | float), "made_with": (dict, object), "summary": (str, str),
    "table": (list, list),
}  # fmt: skip
RECORD = {"parameters": dict, "fingerprint": str, "inputs": dict, "key": str, "extra": dict}  # of how it was made
VARIANT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class MissingArtifact(RunError):
    """An earlier step has not been run yet."""


class ForeignArtifact(RunError):
    """An artifact that was made with other parameters, other data or from other inputs."""


@dataclass(frozen=True)
class Artifact:
    """Arrays by name and the metadata they were saved with."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def key(self) -> str:
        return self.meta["key"]


class Run:
    """A run folder, e.g. `Run("runs/quickstart")`; the folder is made by the first write.

    >>> import tempfile
    >>> run = Run(tempfile.mkdtemp())
    >>> _ = run.save("similarity", {"S": np.eye(2)}, parameters={"mask": "true"}, fingerprint="f")
    >>> run.load("similarity", mask="true")["S"].shape
    (2, 2)
    >>> run.load("similarity", mask="predicted")
    Traceback (most recent call last):
    ...
    shc.runs.ForeignArtifact: similarity in this run was made with mask='true', not 'predicted'; run notebook \
02_class_similarity with these parameters, or name another run
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file, not a run folder; choose another run name")
        for name in links_in(self.path):  # somebody's run must not decide where this one writes, or what a report shows
            raise RunError(f"{self.path / name} is a link, which could lead out of the run folder; delete it")

    def file(self, name: str, variant: str = "") -> Path:
        """Path of an artifact's file; variants (e.g. random centers) stand beside it as `name-variant`."""
        if name not in ARTIFACTS:
            raise RunError(f"there is no artifact called {name!r}; known are {', '.join(ARTIFACTS)}")
        if not set(variant) <= VARIANT:
            raise RunError(f"{variant!r} is no variant of {name}: it has small letters, digits and '_' only")
        return self.path / f"{name}{'-' + variant if variant else ''}.{ARTIFACTS[name][0]}"

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from writing into this folder; RunError if one does. Readers are never kept waiting.

        A single write takes this for itself, a step that computes for all of its time.
        """
        return held(
            self.path, f"run {self.path.name!r}", "wait for it, or stop it (a notebook lets go when its cell is "
            "interrupted, or its kernel is restarted), or choose another run name",
        )  # fmt: skip

    def save(
        self,
        name: str,
        arrays: Mapping[str, Any],
        *,
        parameters: Mapping[str, Any],
        fingerprint: str,
        inputs: Mapping[str, str] | None = None,
        variant: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Write an artifact atomically and return its key. `extra` holds facts that are not part of the identity."""
        key = artifact_key(parameters, fingerprint, inputs or {})
        meta = dict(
            artifact=name, variant=variant, parameters=dict(parameters), fingerprint=fingerprint,
            inputs=dict(inputs or {}), key=key, versions=library_versions(), date=today(), extra=dict(extra or {}),
        )  # fmt: skip
        file = self.file(name, variant)
        with self.alone():
            write_arrays(file, {k: _numpy(v) for k, v in arrays.items()}, meta)
        return key

    def load(self, name: str, variant: str = "", *, fingerprint: str | None = None, **expected: Any) -> Artifact:
        """Read an artifact and check that it fits.

        Raises MissingArtifact if no notebook has made it, ForeignArtifact if it was made with parameters other than
        `expected`, from other data than `fingerprint`, or from inputs that were made anew since.
        """
        file, maker = self.file(name, variant), ARTIFACTS[name][1]
        if not file.exists():
            raise MissingArtifact(f"{file} does not exist yet; run notebook {maker} (or `shc run`) for this run first")
        try:
            arrays, meta = read_arrays(file)
            check_record(file, meta)
        except Damaged as error:
            raise Damaged(f"{error}: {maker}, or `shc run --name {self.path.name} --from {maker[:2]}`") from error
        remedy = f"run notebook {maker} with these parameters, or name another run"
        for parameter, value in expected.items():
            if (made := meta["parameters"].get(parameter)) != value:
                raise ForeignArtifact(f"{name} in this run was made with {parameter}={made!r}, not {value!r}; {remedy}")
        if fingerprint is not None and meta["fingerprint"] != fingerprint:
            raise ForeignArtifact(
                f"{file} was made from other data: files, splits or parameters of the data set have changed since; run "
                "notebook 01_classifier again and those after it (`shc run --from 01`), or name another run"
            )
        self._check_inputs(name, file, meta)
        return Artifact(arrays, meta)

    def _check_inputs(self, name: str, file: Path, meta: Mapping[str, Any]) -> None:
        """Raise ForeignArtifact if anything on the way to this artifact was made anew since."""
        for source, key in meta["inputs"].items():
            source_name, _, source_variant = source.partition("-")
            source_file = self.file(source_name, source_variant)
            if not source_file.exists():
                continue
            check_record(source_file, source_meta := read_meta(source_file))
            if source_meta["key"] != key:
                raise ForeignArtifact(
                    f"{file} was made from an earlier {source}, which has changed since; run notebook "
                    f"{ARTIFACTS[name][1]} with these parameters, or name another run"
                )
            self._check_inputs(source_name, source_file, source_meta)

    def fresh(self, name: str, key: str, variant: str = "") -> bool:
        """Whether the artifact exists and was made exactly as `key` says."""
        file = self.file(name, variant)
        try:
            return file.exists() and read_meta(file).get("key") == key
        except Damaged:
            return False

    def checkpoint(self, name: str, key: str) -> "Checkpoint":
        """Where a training loop keeps its state while it runs."""
        return Checkpoint(self.path / "checkpoints" / f"{name}.safetensors", key)

    def results(self) -> dict[str, Any]:
        """What has been written by `add_results` so far; RunError for entries that reports could not show."""
        return check_entries(self.path / "results.json", RESULTS)

    def add_results(self, **values: Any) -> None:
        """Merge values into results.json."""
        with self.alone():  # from reading to writing, or another process's values would be lost
            text = json.dumps(self.results() | values, indent=1, sort_keys=True)
            atomic_write(self.path / "results.json", lambda f: f.write_text(text, encoding="utf-8"))

    def add_headline(self, notebook: str, text: str) -> None:
        """Note a notebook's key number, which the runner and the report show beside its name."""
        self.add_results(headlines=self.results().get("headlines", {}) | {notebook: text})

    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters of every step that was run, from params.yaml."""
        stored = read_yaml(self.path / "params.yaml")
        if wrong := [k for k, values in stored.items() if not (isinstance(k, str) and isinstance(values, dict))]:
            raise RunError(
                f"{self.path / 'params.yaml'} gives no parameters for {wrong[0]!r}; delete it and run notebook 01 again"
            )
        return stored

    def add_parameters(self, step: str, values: Mapping[str, Any]) -> None:
        """Store the parameters of one step in params.yaml."""
        import yaml

        with self.alone():
            text = yaml.safe_dump(self.parameters() | {step: dict(values)}, sort_keys=True, allow_unicode=True)
            atomic_write(self.path / "params.yaml", lambda f: f.write_text(text, encoding="utf-8"))

    def save_figure(self, figure: Any, name: str) -> Path:
        """Write a figure to figures/NAME.png and its alternative text beside it."""
        if not name or Path(name).name != name or name.startswith("."):
            raise RunError(f"a figure cannot be called {name!r}; use letters, digits and '_', e.g. '03_centers'")
        file = self.path / "figures" / f"{name}.png"
        alt = getattr(figure, "alt", "") or name.replace("_", " ")
        with self.alone():
            atomic_write(file, lambda f: figure.savefig(f, format="png"))
            atomic_write(file.with_suffix(".txt"), lambda f: f.write_text(alt, encoding="utf-8"))
        return file


class Checkpoint:
    """State of an unfinished training, kept after every epoch and only used again under the same key."""

    def __init__(self, file: Path, key: str) -> None:
        self.file, self.key = file, key

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and metadata, or None if there is none that fits (a damaged one is as good as none)."""
        import torch

        try:
            arrays, meta = read_arrays(self.file)
        except Damaged:
            return None
        if meta.get("key") != self.key:
            return None
        try:
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        except TypeError:  # texts
            return None
        return (tensors, meta["state"]) if isinstance(meta.get("state"), dict) else None

    def save(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        write_arrays(self.file, {k: _numpy(v) for k, v in tensors.items()}, {"key": self.key, "state": dict(state)})

    def remove(self) -> None:
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
            self.file.parent.rmdir()


def links_in(folder: Path) -> list[str]:
    """Names of the links among a run's folders, its texts and its executed notebooks."""
    named = [*FOLDERS, "own", "params.yaml", "results.json"]  # "own" is the run that notebook 08 makes in this one
    links = [name for name in named if os.path.islink(folder / name)]
    if "notebooks" not in links:
        links += [
            f"notebooks/{file.name}" for file in sorted((folder / "notebooks").glob("*.[ij]*")) if file.is_symlink()
        ]
    return links


def check_record(file: Path, meta: Mapping[str, Any]) -> None:
    """Raise RunError unless an artifact's metadata say how it was made, and its key is the hash of that."""
    if not all(isinstance(meta.get(name), kind) for name, kind in RECORD.items()):
        raise damaged(file, "no record of how it was made")
    if meta["key"] != artifact_key(meta["parameters"], meta["fingerprint"], meta["inputs"]):
        raise damaged(file, "its key is not that of its parameters, data and inputs")


def artifact_key(parameters: Mapping[str, Any], fingerprint: str, inputs: Mapping[str, str]) -> str:
    """Hash (16 hex digits) of how an artifact is made."""
    text = json.dumps([dict(parameters), fingerprint, dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("semantic-hash-centers", "torch", "torchvision", "numpy", "numba", "scipy"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def processor() -> str:
    """Name of the processor, as the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def today() -> str:
    """The date in UTC, as written into artifacts and records."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
