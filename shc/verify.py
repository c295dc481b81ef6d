"""`shc verify`: is a folder what it claims to be? Every file of a run, a sweep or a store of codes, one line each.

Nothing is written, locked or executed. A line says what a file holds (shapes and types; its checksum covers these, the
parameters, the data's fingerprint and the versions it was made with) or what is wrong, and the command that remakes it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shc import promises
from shc.files import RunError, Unreadable, read_arrays, read_json
from shc.pipeline import SEQUENCE, read_notebook
from shc.runs import ARTIFACTS, Run, check_record, links_in
from shc.untrusted import check_regular

GOOD, BAD = "✓", "✗"
FAILED = "a cell of it failed"


@dataclass(frozen=True)
class Finding:
    """One file: what it holds, or what is wrong and what to do."""

    file: str
    good: bool
    told: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{GOOD if self.good else BAD} {self.file:<28} {self.told}{remedy}"


def verify(folder: str | Path) -> Iterator[Finding]:
    """What is known of every file in a run folder, a folder of a sweep, or a store that `shc encode` made.

    Raises RunError if the folder is none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder} is {'a file' if folder.exists() else 'not there'}; give a run's name or folder")
    if (folder / "manifest.json").exists():
        yield from of_store(folder)
    elif any(folder.glob("*/cell.json")):
        yield from of_sweep(folder)
    elif any(folder.glob("*.npz")) or any(folder.glob("*.safetensors")) or (folder / "params.yaml").exists():
        yield from of_run(folder)
    else:
        raise RunError(f"{folder} holds no artifacts, no sweep and no codes; give a run's name or folder")


def of_run(folder: Path) -> Iterator[Finding]:
    """The files of a run folder."""
    links = links_in(folder)
    yield from (
        Finding(name, False, "is a link, which could lead out of the run folder", "delete it") for name in links
    )
    if links:
        return
    run = Run(folder)
    for file in sorted([*folder.glob("*.npz"), *folder.glob("*.safetensors")]):
        yield of_artifact(run, file)
    for name, read, first in (("params.yaml", run.parameters, "01"), ("results.json", run.results, "00")):
        if (folder / name).exists():
            yield found(name, entries_of, f"delete it, then {again(run, first)}", read)
    for file in sorted((folder / "checkpoints").glob("*.safetensors")):
        remedy = "delete it: the training begins anew"
        yield found(f"checkpoints/{file.name}", of_checkpoint, remedy, file)
    stamps = folder / "notebooks" / "stamps.json"
    if stamps.exists():
        yield found(
            "notebooks/stamps.json", lambda: f"{len(read_json(stamps))} notebooks", f"delete it, then {again(run)}"
        )
    for file in sorted((folder / "notebooks").glob("*.ipynb")):
        remedy = again(run, file.stem) if file.stem in SEQUENCE else f"shc report --name {run.path.name}"
        yield found(f"notebooks/{file.name}", of_notebook, remedy, file)
    for file in sorted((folder / "figures").glob("*.png")):
        remedy = next((again(run, name) for name in SEQUENCE if name[:2] == file.stem[:2]), "delete it")
        yield found(f"figures/{file.name}", of_picture, remedy, file)


def of_artifact(run: Run, file: Path) -> Finding:
    """One artifact: its checksum, its key, the keys of its inputs, and what its stage promises."""
    name, _, variant = file.stem.partition("-")
    if name not in ARTIFACTS or file.suffix != f".{ARTIFACTS[name][0]}":
        return Finding(file.name, False, "is no artifact of ours", "delete it, or keep it elsewhere")

    def told() -> str:
        expected = run.file(name, variant)
        arrays, meta = read_arrays(expected)
        check_record(file, meta)
        if (meta.get("artifact"), meta.get("variant")) != (name, variant):
            raise RunError(f"it was saved as {meta.get('artifact')!r}, variant {meta.get('variant')!r}, and renamed")
        if not meta["fingerprint"] or not isinstance(meta.get("versions"), dict) or not meta["versions"]:
            raise RunError("it does not say from which data or by which versions it was made")
        run.load(name, variant)  # and what it was made from
        if wrong := next(promises.broken(name, arrays, meta["parameters"], meta["extra"]), ""):
            raise RunError(wrong)
        return f"{contents(arrays)}  key {meta['key']}  torch {meta['versions'].get('torch', '?')}, {meta.get('date')}"

    return found(file.name, told, f"delete it, then {again(run, ARTIFACTS[name][1], whole=True)}")


def of_checkpoint(file: Path) -> str:
    """What an unfinished training left; RunError if it is damaged (the training would begin anew)."""
    arrays, meta = read_arrays(file)
    if not isinstance(meta.get("key"), str) or not isinstance(meta.get("state"), dict):
        raise RunError("it has no key or no state")
    return f"{contents(arrays)}  of epoch {meta['state'].get('epoch', '?')}"


def of_notebook(file: Path) -> str:
    """An executed notebook; RunError unless it is JSON of format 4 and no cell failed."""
    book = read_notebook(file)
    cells = book["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    if any(output["output_type"] == "error" for output in outputs):
        raise RunError(FAILED)
    return f"{len(cells)} cells, {len(outputs)} outputs"


def of_picture(file: Path) -> str:
    """A picture that a notebook saved; RunError unless it is a whole PNG."""
    from PIL import Image

    if file.is_symlink():
        raise RunError("it is a link, which could lead out of the run folder")
    try:
        check_regular(file)
        with Image.open(file, "r", ("PNG",)) as picture:
            picture.verify()
            return f"{picture.width} × {picture.height} pixels"
    except Exception as error:  # Pillow raises whatever it comes across
        raise RunError(f"it is no whole PNG ({type(error).__name__})") from error


def of_store(folder: Path) -> Iterator[Finding]:
    """The shards of a store of codes."""
    from shc.shards import EncodedStore

    remedy = "repeat the `shc encode` that made it, into another --out"
    try:
        store = EncodedStore(folder)
    except ValueError as error:
        yield Finding("manifest.json", False, str(error))
        return
    about = store.manifest
    yield Finding("manifest.json", True, f"{about.total:,} images, {about.bits} bits, hasher {about.hasher}")

    def told(number: int) -> str:
        shard = store.read(number)
        classes = len(about.class_names)
        if len(shard.labels) and not -1 <= shard.labels.min() <= shard.labels.max() < classes:
            raise RunError(f"labels run from {shard.labels.min()} to {shard.labels.max()}; there are {classes} classes")
        beyond = about.bits % 64
        if beyond and (shard.codes[:, -1] >> np.uint64(beyond)).any():
            raise RunError(f"codes hold bits beyond the {about.bits}th")
        return f"{len(shard):,} codes, {len(shard.failed):,} not read"

    for number in range(about.shards):
        file = store.file(number)
        remedy = f"delete {file.name} and repeat the `shc encode` that made it"
        yield found(file.name, told, remedy, number)


def of_sweep(folder: Path) -> Iterator[Finding]:
    """The cells of a sweep: their records and artifacts; only what is wrong in a cell gets a line of its own.

    A failed cell is told by its record; that its notebook failed is no damage.
    """
    for record in sorted(folder.glob("*/cell.json")):
        cell = record.parent
        remedy = f"delete the folder {cell.name} and repeat the `shc sweep`"
        yield (about := found(f"{cell.name}/cell.json", of_cell, remedy, record))
        for finding in of_run(cell):
            if not finding.good and not (finding.told == FAILED and about.told.startswith("failed")):
                yield Finding(f"{cell.name}/{finding.file}", False, finding.told, remedy)


def of_cell(record: Path) -> str:
    """A cell's record."""
    told = read_json(record)
    if told.get("status") not in ("finished", "failed") or not isinstance(told.get("parameters"), dict):
        raise RunError("it does not say how the cell ended, or with which parameters")
    return f"{told['status']}, {told.get('seconds', '?')} s"


def entries_of(read: Callable[[], dict[str, Any]]) -> str:
    """How many entries a file holds."""
    return f"{len(read())} entries"


def found(file: str, told: Callable[..., str], remedy: str, *about: Any) -> Finding:
    """What `told(*about)` returns, or the reason of its RunError with the remedy."""
    try:
        return Finding(file, True, told(*about))
    except (ValueError, TypeError, AttributeError) as error:  # of contents that nobody of us wrote
        why = " ".join(str(error).split()) or type(error).__name__
        return Finding(file, False, why, "" if isinstance(error, Unreadable) else remedy)


def contents(arrays: Mapping[str, Any], most: int = 4) -> str:
    """Types and shapes of arrays.

    >>> contents({"S": np.eye(2), "names": np.array(["a"])})
    'S float64[2,2], names <U1[1]'
    """
    shown = [f"{name} {array.dtype}[{','.join(map(str, array.shape))}]" for name, array in list(arrays.items())[:most]]
    rest = (
        [f"… {len(arrays)} arrays, {sum(array.size for array in arrays.values()):,} values"]
        if len(arrays) > most
        else []
    )
    return ", ".join([*shown, *rest])


def again(run: Run, notebook: str = "", whole: bool = False) -> str:
    """The command that remakes what a notebook made; `whole` also what follows from it."""
    option = f" {'--from' if whole else '--only'} {notebook[:2]}" if notebook[:2].isdecimal() else ""
    return f"shc run --name {run.path.name}{option}"
