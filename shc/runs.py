"""The run folder: where a sequence keeps what it made, so that every notebook can start from the one before.

An artifact is one file (`safetensors` for weights, `npz` for arrays) that carries the parameters, data fingerprint,
inputs and library versions it was made with. Its `key` is the hash of parameters, fingerprint and the keys of its
inputs: equal keys mean "made the same way". Every write is atomic (temporary file, fsync, rename). Nothing is pickled.
"""

import errno
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

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


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says what to do."""


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

    def file(self, name: str, variant: str = "") -> Path:
        """Path of an artifact's file; variants (e.g. random centers) stand beside it as `name-variant`."""
        if name not in ARTIFACTS:
            raise RunError(f"there is no artifact called {name!r}; known are {', '.join(ARTIFACTS)}")
        return self.path / f"{name}{'-' + variant if variant else ''}.{ARTIFACTS[name][0]}"

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
        write_arrays(self.file(name, variant), {k: _numpy(v) for k, v in arrays.items()}, meta)
        return key

    def load(self, name: str, variant: str = "", *, fingerprint: str | None = None, **expected: Any) -> Artifact:
        """Read an artifact and check that it fits.

        Raises MissingArtifact if no notebook has made it, ForeignArtifact if it was made with parameters other than
        `expected`, from other data than `fingerprint`, or from inputs that were made anew since.
        """
        file, maker = self.file(name, variant), ARTIFACTS[name][1]
        if not file.exists():
            raise MissingArtifact(f"{file} does not exist yet; run notebook {maker} (or `shc run`) for this run first")
        arrays, meta = read_arrays(file)
        if not {"parameters", "fingerprint", "inputs", "key"} <= meta.keys():
            raise damaged(file, "no record of how it was made")
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
        for source, key in meta.get("inputs", {}).items():
            source_name, _, source_variant = source.partition("-")
            source_file = self.file(source_name, source_variant)
            if not source_file.exists():
                continue
            source_meta = read_meta(source_file)
            if source_meta.get("key") != key:
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
        except RunError:
            return False

    def checkpoint(self, name: str, key: str) -> "Checkpoint":
        """Where a training loop keeps its state while it runs."""
        return Checkpoint(self.path / "checkpoints" / f"{name}.safetensors", key)

    def results(self) -> dict[str, Any]:
        """What has been written by `add_results` so far."""
        return read_json(self.path / "results.json")

    def add_results(self, **values: Any) -> None:
        """Merge values into results.json."""
        text = json.dumps(self.results() | values, indent=1, sort_keys=True)
        atomic_write(self.path / "results.json", lambda f: f.write_text(text, encoding="utf-8"))

    def add_headline(self, notebook: str, text: str) -> None:
        """Note a notebook's key number, which the runner and the report show beside its name."""
        self.add_results(headlines=self.results().get("headlines", {}) | {notebook: text})

    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters of every step that was run, from params.yaml."""
        import yaml

        file = self.path / "params.yaml"
        try:
            stored = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            why = str(error).splitlines()[0]
            raise RunError(f"{file} is not readable YAML ({why}); delete it and run notebook 01 again") from error
        if not isinstance(stored, dict):
            raise RunError(f"{file} must hold a mapping of steps to parameters; delete it and run notebook 01 again")
        return stored

    def add_parameters(self, step: str, values: Mapping[str, Any]) -> None:
        """Store the parameters of one step in params.yaml."""
        import yaml

        text = yaml.safe_dump(self.parameters() | {step: dict(values)}, sort_keys=True, allow_unicode=True)
        atomic_write(self.path / "params.yaml", lambda f: f.write_text(text, encoding="utf-8"))

    def save_figure(self, figure: Any, name: str) -> Path:
        """Write a figure to figures/NAME.png and its alternative text beside it."""
        file = self.path / "figures" / f"{name}.png"
        atomic_write(file, lambda f: figure.savefig(f, format="png"))
        alt = getattr(figure, "alt", "") or name.replace("_", " ")
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
        except RunError:
            return None
        if meta.get("key") != self.key:
            return None
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, meta["state"]

    def save(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        write_arrays(self.file, {k: _numpy(v) for k, v in tensors.items()}, {"key": self.key, "state": dict(state)})

    def remove(self) -> None:
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
            self.file.parent.rmdir()


def artifact_key(parameters: Mapping[str, Any], fingerprint: str, inputs: Mapping[str, str]) -> str:
    """Hash (16 hex digits) of how an artifact is made."""
    text = json.dumps([dict(parameters), fingerprint, dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def atomic_write(file: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `file`, then rename it into place.

    Raises RunError if the folder cannot be written or the disk is full; `file` then still holds what it held before.
    """
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except Exception as error:
        if "No space left" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"the disk is full: {file} could not be written. What was saved before is untouched; free some space "
                "and repeat the same command, it goes on where it stopped"
            ) from error
        if isinstance(error, OSError):
            raise RunError(
                f"{file} could not be written ({error.strerror or error}); make the folder writable or choose another "
                "run folder (--name, or `run = …` in the notebook)"
            ) from error
        raise
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # renamed already, unless something went wrong


def write_arrays(file: Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write arrays with their metadata as safetensors or npz, by the file's suffix."""
    text = json.dumps(meta, sort_keys=True)
    contiguous = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    checksum = digest(contiguous, text)
    if file.suffix == ".safetensors":
        from safetensors.numpy import save_file

        atomic_write(file, lambda f: save_file(contiguous, f, metadata={"shc": text, "sha256": checksum}))
    else:
        packed: dict[str, Any] = {"__meta__": np.array(text), "__sha256__": np.array(checksum), **contiguous}

        def write(target: Path) -> None:
            with open(target, "wb") as stream:
                np.savez_compressed(stream, **packed)

        atomic_write(file, write)


def read_arrays(file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a file that `write_arrays` made; RunError if it is damaged or something else."""
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, framework="numpy") as stream:
                header = stream.metadata()
                arrays = {k: stream.get_tensor(k) for k in stream.keys()}
            text, checksum = header["shc"], header["sha256"]
        else:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {k: archive[k] for k in archive.files}
            text, checksum = str(arrays.pop("__meta__")), str(arrays.pop("__sha256__"))
        intact, meta = checksum == digest(arrays, text), json.loads(text)
    except Exception as error:  # zip, zlib, NumPy's header, JSON and safetensors: each has its own errors
        raise damaged(file, type(error).__name__) from error
    if not intact or not isinstance(meta, dict):
        raise damaged(file, "its content does not match its checksum" if not intact else "no metadata")
    return arrays, meta


def read_meta(file: Path) -> dict[str, Any]:
    """Only the metadata of an artifact."""
    if file.suffix == ".safetensors":
        return read_arrays(file)[1]
    try:
        with np.load(file, allow_pickle=False) as archive:
            meta = json.loads(str(archive["__meta__"]))
    except Exception as error:
        raise damaged(file, type(error).__name__) from error
    if not isinstance(meta, dict):
        raise damaged(file, "no metadata")
    return meta


def damaged(file: Path, why: str) -> RunError:
    """The error for a file whose content cannot be trusted."""
    return RunError(
        f"{file} is damaged or not one of our artifacts ({why}); delete it and run the notebook that makes it again"
    )


def digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """sha256 over the arrays' names, types, shapes and bytes, and over `text`."""
    whole = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        whole.update(f"{name} {array.dtype.str} {array.shape}".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from `file`, empty if there is none; RunError if it is damaged."""
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunError(f"{file} is not readable JSON ({error}); delete it and run the notebooks again") from error
    if not isinstance(value, dict):
        raise RunError(f"{file} must hold a JSON object; delete it and run the notebooks again")
    return value


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
