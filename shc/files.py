"""Files that are written whole and read with suspicion: arrays with their metadata, JSON, YAML.

Every write is atomic (temporary file in the same folder, fsync, rename, fsync of the folder). Nothing is pickled; sizes
are checked before memory is taken (`shc.untrusted`), contents by their checksum.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from shc.untrusted import TooLarge, check_depth, check_npz, check_safetensors, check_text

MOST_PARAMETERS = 2**20  # bytes of params.yaml
MOST_NOTEBOOK = 2**29  # of an executed one, with its pictures


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says what to do."""


class Damaged(RunError):
    """A file whose content cannot be trusted."""


class Unreadable(RunError):
    """A file that may be whole, but that we are not let read."""


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
        if isinstance(error, OSError) or "No space left" in str(error):
            raise unwritable(file, error) from error
        raise
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # renamed already, unless something went wrong


def unwritable(file: Path, error: Exception) -> RunError:
    """The error for a file that cannot be written, by what the system says."""
    if "No space left" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"the disk is full: {file} could not be written. What was saved before is untouched; free some space "
            "and repeat the same command, it goes on where it stopped"
        )
    return RunError(
        f"{file} could not be written ({getattr(error, 'strerror', None) or error}); make the folder writable or "
        "choose another run folder (--name, or `run = …` in the notebook)"
    )


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

            check_safetensors(file)
            with safe_open(file, framework="numpy") as stream:
                header = stream.metadata()
                arrays = {k: stream.get_tensor(k) for k in stream.keys()}
            text, checksum = header["shc"], header["sha256"]
        else:
            check_npz(file)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {k: archive[k] for k in archive.files}
            text, checksum = str(arrays.pop("__meta__")), str(arrays.pop("__sha256__"))
        intact, meta = checksum == digest(arrays, text), json.loads(text)
    except Exception as error:  # zip, zlib, NumPy's header, JSON and safetensors: each has its own errors
        raise unreadable(file, error) or damaged(file, reason(error)) from error
    if not intact or not isinstance(meta, dict):
        raise damaged(file, "its content does not match its checksum" if not intact else "no metadata")
    return arrays, meta


def read_meta(file: Path) -> dict[str, Any]:
    """Only the metadata of an artifact."""
    if file.suffix == ".safetensors":
        return read_arrays(file)[1]
    try:
        check_npz(file)
        with np.load(file, allow_pickle=False) as archive:
            meta = json.loads(str(archive["__meta__"]))
    except Exception as error:
        raise unreadable(file, error) or damaged(file, reason(error)) from error
    if not isinstance(meta, dict):
        raise damaged(file, "no metadata")
    return meta


def unreadable(file: Path, error: Exception) -> Unreadable | None:
    """The error for a file that the system does not let us read; None for any other reason."""
    if isinstance(error, MemoryError):
        return Unreadable(f"{file} could not be read: there is not enough memory; end other programs and repeat")
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EIO:
        why = getattr(error, "strerror", None) or error
        return Unreadable(f"{file} could not be read ({why}); it may be whole: make it readable and repeat the command")
    return None


def damaged(file: Path, why: str) -> Damaged:
    """The error for a file whose content cannot be trusted."""
    return Damaged(
        f"{file} is damaged or not one of our artifacts ({why}); delete it and run the notebook that makes it again"
    )


def reason(error: Exception) -> str:
    """What to tell of an error of a reader: our own words, else only its kind."""
    return str(error) if isinstance(error, TooLarge) else type(error).__name__


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
        check_text(file)
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        if told := unreadable(file, error):
            raise told from error
        raise RunError(f"{file} is not readable JSON ({error}); delete it and run the notebooks again") from error
    if not isinstance(value, dict):
        raise RunError(f"{file} must hold a JSON object; delete it and run the notebooks again")
    return value


def check_entries(file: Path, kinds: Mapping[str, tuple[type, Any]]) -> dict[str, Any]:
    """As `read_json`; RunError also unless its entries are of these kinds and hold values of the kind given second."""
    found = read_json(file)
    for name, (kind, inside) in kinds.items():
        value = found.get(name, kind())
        values = value.values() if isinstance(value, dict) else value
        if not isinstance(value, kind) or not all(isinstance(one, inside) for one in values):
            raise RunError(f"{file}: {name!r} holds {str(value)[:60]!r}; delete the file and run the notebooks again")
    return found


def read_notebook(file: Path) -> dict[str, Any]:
    """A notebook as its JSON object; RunError unless its cells and their outputs are such of format 4."""
    try:
        check_text(file, MOST_NOTEBOOK)
        notebook = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} is not a readable notebook ({error})") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise RunError(f"{file} is not a notebook of format 4: it has no list of cells")
    if notebook.get("nbformat") != 4:
        raise RunError(f"{file} is of notebook format {notebook.get('nbformat')!r}, not 4; run the notebooks again")
    if wrong := [number for number, cell in enumerate(notebook["cells"], 1) if not _is_cell(cell)]:
        raise RunError(f"{file} is not a notebook of format 4: cell {wrong[0]} has no type, no source or odd outputs")
    return notebook


def _is_cell(cell: Any) -> bool:
    """Whether a cell has what every cell of format 4 has."""
    if not isinstance(cell, dict) or not isinstance(cell.get("metadata"), dict):
        return False
    source, outputs = cell.get("source"), cell.get("outputs", [])
    texts = isinstance(source, str) or (isinstance(source, list) and all(isinstance(line, str) for line in source))
    told = isinstance(outputs, list) and all(
        isinstance(output, dict) and isinstance(output.get("output_type"), str) for output in outputs
    )
    return texts and told and cell.get("cell_type") in ("code", "markdown", "raw")


def read_yaml(file: Path) -> dict[str, Any]:
    """A mapping of plain values from a YAML file that `write_yaml` made, empty if there is none.

    Raises RunError if it is damaged or holds references (`&`, `*`), by which a small file can stand for a huge one.
    """
    import yaml

    if not file.exists():
        return {}
    try:
        stored = read_plain_yaml(file)
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        if told := unreadable(file, error):
            raise told from error
        why = str(error).splitlines()[0]
        raise RunError(f"{file} is not readable YAML ({why}); delete it and run notebook 01 again") from error
    if not isinstance(stored, dict):
        raise RunError(f"{file} must hold a mapping of steps to parameters; delete it and run notebook 01 again")
    return stored


def read_plain_yaml(file: Path) -> Any:
    """What a small YAML file holds; ValueError or YAMLError if it is none, is large or deep, or holds references."""
    import yaml

    check_text(file, MOST_PARAMETERS)
    check_depth(text := file.read_text(encoding="utf-8"))
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
        raise ValueError("it refers to its own parts; write them out")
    try:
        return yaml.safe_load(text)
    except (AttributeError, KeyError, TypeError) as error:  # `!!timestamp x`, `!!bool x`
        raise ValueError(f"a value of it is not of the type that it gives ({type(error).__name__})") from error
