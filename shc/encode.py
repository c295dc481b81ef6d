"""From images to packed codes in shards (`shc.shards`), by a run's hasher: resumable, in one process or on a cluster.

A shard is one job. It is computed in batches that begin anew with each shard, by as many threads as the run's hasher
was trained with, so that processes of one kind of machine make the same bits, however many they are. A picture that
cannot be decoded is named in its shard and in failed.csv, and the rest goes on.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shc import hamming
from shc.image_files import NOT_READ, SUFFIXES, BrokenImage, folder_label, image_files, read_image, unread
from shc.locks import held
from shc.parameters import ParameterError
from shc.runs import Run, RunError, atomic_write
from shc.shard_files import FORMATS, require
from shc.shard_jobs import check_processes, progress, run_jobs
from shc.shards import EncodedStore, Manifest, Shard

if TYPE_CHECKING:
    from torch import Tensor

    from shc.datasets import ImageSet
    from shc.datasets.streams import LazyImages
    from shc.models import Hasher

BATCH = 500  # images at a time, as shc.training.predict takes them


@dataclass(frozen=True)
class Task:
    """What every job of an encoding needs to know; all of it is text and numbers, and small."""

    run: str
    kind: str  # of centers
    hasher: str  # key of the artifact
    fingerprint: str  # of the run's data
    size: int  # pixels
    classes: int  # trained ones
    device: str
    source: str  # a folder, or the name of a split
    is_split: bool
    out: str
    key: str  # of the store's manifest


def encode(
    run: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    split: str | None = None,
    kind: str = "semantic",
    shard: int = 10_000,
    format: str = "parquet",
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    say: Callable[[str], None] = print,
) -> EncodedStore:
    """Encode a folder of `images`, or a `split` of the run's data set, into the store `out`; go on where it stopped.

    `kind` names the centers that the hasher was trained towards. `retry` makes those shards again in which images could
    not be read. Raises RunError, or ParameterError, for what cannot be encoded, or not into this store.
    """
    from shc.devices import resolve_device

    if (images is None) == (split is None):
        raise ParameterError("give either --images FOLDER or --split NAME")
    if shard < 1:
        raise ParameterError(f"--shard {shard}: give 1 image per shard or more; 10000 is usual")
    if format not in FORMATS:
        raise ParameterError(f"--format {format!r} is unknown; choose {' or '.join(FORMATS)}")
    require(FORMATS[format], f"writing {format}")
    check_processes(jobs)
    if scheduler is None or scheduler == "local":
        resolve_device(device)  # on a cluster the workers' devices count
    task, manifest, names = _plan(Path(run), Path(out), images, split, kind, shard, format, device)
    store = EncodedStore.start(out, manifest)
    with held(store.folder, f"the encoding into {out}", "wait for it, or stop it, or choose another --out"):
        _encode(store, task, names, retry, jobs, scheduler, say)
    return store


def _encode(
    store: EncodedStore, task: Task, names: list[str], retry: bool, jobs: int | None, scheduler: str | None,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Make the shards that are missing, in a folder that no other process writes into."""
    manifest, shard = store.manifest, store.manifest.shard
    if retry:
        for number in set(range(manifest.shards)) - set(store.missing()):
            if store.failed_in(number):
                store.remove(number)
    missing = store.missing()
    done = manifest.shards - len(missing)
    say(f"{store.folder}: {manifest.total:,} images in {manifest.shards} shards, {done} finished")
    sizes = {number: min(shard, manifest.total - number * shard) for number in missing}

    def parts() -> Iterator[tuple[Any, ...]]:
        for number in missing:
            rows = slice(number * shard, (number + 1) * shard)
            yield task, number, (rows.start, names[rows])

    load.cache_clear()  # of an earlier call in this process
    if missing:
        with progress(manifest.total, manifest.total - sum(sizes.values()), "image") as bar:
            for number in run_jobs(encode_shard, parts(), processes=jobs, scheduler=scheduler):
                bar.update(sizes[number])
    store.clean()
    _tell_failures(store, say)


def encode_shard(task: Task, number: int, part: tuple[int, list[str]]) -> int:
    """The job: compute and write one shard, whose images are named from position `part[0]` on; returns its number."""
    import torch

    first, names = part
    if not (Path(task.out) / "manifest.json").exists():
        raise RunError(
            f"a worker does not see {task.out}; start the workers where the output folder is shared under the same path"
        )
    store = EncodedStore(task.out)
    if store.manifest.key != task.key:
        raise RunError(f"{task.out} was begun anew in another way while this job waited; encode into another --out")
    net = load(task)
    failed: dict[str, str] = {}
    kept: list[int] = []
    codes: list[Tensor] = []  # on the device: one copy a shard, and nobody waits for a batch
    for start in range(0, len(names), BATCH):
        pixels, rows, broken = _pixels(task, first + start, names[start : start + BATCH])
        failed |= broken
        kept += [start + row for row in rows]
        if rows:
            codes.append(net(pixels))
    ids = [names[row] for row in kept]
    labels = _labels(task, store, first, names)[kept]
    words = np.zeros((0, -(-store.bits // 64)), dtype=np.uint64)
    if codes:
        words = hamming.pack(torch.cat(codes).cpu().numpy())
    store.write(number, Shard(ids, labels, words, failed))
    return number


@lru_cache(maxsize=1)
def load(task: Task) -> "Callable[[Tensor], Tensor]":
    """The run's hasher as a function from uint8 images [n, 3, S, S] to codes int8 [n, K] on the device.

    It is kept for a process's next job.
    """
    from shc.devices import resolve_device
    from shc.models import codes_from
    from shc.stages import load_hasher, variant_of
    from shc.training import predict

    run = Run(task.run)
    if not run.path.is_dir():
        raise RunError(
            f"a worker does not see {task.run}; start the workers where the run folder is shared under the same path"
        )
    artifact = run.load("hasher", variant_of(task.kind))
    if artifact.key != task.hasher:
        raise RunError(f"the hasher of {task.run} was trained anew meanwhile; encode into another --out")
    net: Hasher = load_hasher(run, _without_images(task), task.kind)
    where: dict[str, Any] = dict(
        device=resolve_device(task.device), threads=artifact.meta["extra"].get("threads", 2), batch=BATCH
    )
    return lambda pixels: codes_from(predict(net, pixels, keep=True, **where))


def _plan(
    run: Path,
    out: Path,
    images: str | Path | None,
    split: str | None,
    kind: str,
    shard: int,
    format: str,
    device: str,
) -> tuple[Task, Manifest, list[str]]:
    """What is to be done: the jobs' task, the store's manifest, and the ids of all images in order."""
    from shc import stages

    folder = Run(run)
    data = stages.images_of(folder)
    hasher = folder.load("hasher", stages.variant_of(kind), fingerprint=data.fingerprint)
    if images is not None:
        names = image_files(images, SUFFIXES + NOT_READ)  # what is not read is told, not passed over
        labels = np.array([folder_label(name, data.class_names) for name in names])
        text = "\n".join(names)
    else:
        labels = data.split(str(split))[1].numpy()
        if labels.ndim == 2:
            raise RunError(
                f"images of {data.name!r} may have several labels, and a store holds one class per image; notebook "
                "05_retrieval (`shc.stages.evaluate`) scores the run's own codes, and a folder of the images is "
                "encoded with --images, unlabelled"
            )
        names = [f"{split}:{row}" for row in range(len(labels))]
        text = f"{data.fingerprint} {split}"
    bits = folder.load("codes", stages.variant_of(kind)).meta["parameters"]["bits"]
    manifest = Manifest(
        bits=bits, hasher=hasher.key,
        files=hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest(), total=len(names), shard=shard,
        format=format, class_names=list(data.class_names),
        paths=None if data.hierarchy is None else [list(path) for path in data.hierarchy.paths],
        unlabelled=int((labels < 0).sum()),
        source=f"split {split} of {data.name}" if images is None else f"folder {Path(images).name}",
    )  # fmt: skip
    task = Task(
        run=str(run.resolve()), kind=kind, hasher=hasher.key, fingerprint=data.fingerprint,
        size=data.images.shape[-1], classes=len(data.train_classes), device=device,
        source=str(split) if images is None else str(Path(images).resolve()), is_split=images is None,
        out=str(out.resolve()), key=manifest.key,
    )  # fmt: skip
    return task, manifest, names


def _pixels(task: Task, first: int, names: list[str]) -> "tuple[Tensor, list[int], dict[str, str]]":
    """uint8 [n, 3, S, S] of the images that could be read, their places among `names`, and why the others could not."""
    import torch

    if task.is_split:
        return _split(task)[0][first : first + len(names)], list(range(len(names))), {}
    if not Path(task.source).is_dir():
        raise RunError(f"a worker does not see {task.source}; start the workers where the images are shared")
    pixels, rows, failed = [], [], {}
    for row, name in enumerate(names):
        try:
            name.encode()
            if why := unread(name):
                raise BrokenImage(why)
            pixels.append(read_image(Path(task.source) / name, task.size))
            rows.append(row)
        except UnicodeEncodeError:
            failed[name.encode(errors="surrogateescape").decode(errors="backslashreplace")] = "its name is not UTF-8"
        except BrokenImage as error:
            failed[name] = str(error)
    return torch.from_numpy(np.stack(pixels)) if pixels else torch.empty(0), rows, failed


def _labels(task: Task, store: EncodedStore, first: int, names: list[str]) -> np.ndarray:
    """int32 [n] of the named images."""
    if task.is_split:
        return _split(task)[1][first : first + len(names)].numpy().astype(np.int32)
    return np.array([folder_label(name, store.manifest.class_names) for name in names], dtype=np.int32)


@lru_cache(maxsize=1)
def _split(task: Task) -> "tuple[Tensor | LazyImages, Tensor]":
    """Images and labels of a split, memory-mapped where they are cached."""
    from shc import stages

    images = stages.images_of(Run(task.run))
    if images.fingerprint != task.fingerprint:
        raise RunError(f"the data of {task.run} changed meanwhile; encode into another --out")
    return images.split(task.source)


def _without_images(task: Task) -> "ImageSet":
    """As much of a data set as the networks' shapes depend on, so that workers need not load it."""
    import torch

    from shc.datasets import ImageSet

    return ImageSet(
        name="", images=torch.empty((0, 3, task.size, task.size), dtype=torch.uint8), labels=torch.empty(0),
        class_names=[], hierarchy=None, splits={}, fingerprint=task.fingerprint,
        train_classes=torch.arange(task.classes),
    )  # fmt: skip


def _tell_failures(store: EncodedStore, say: Callable[[str], None]) -> None:
    """Write failed.csv, or delete an old one, and say how it went."""
    failed, file = store.failed(), store.folder / "failed.csv"
    good = store.manifest.total - len(failed)
    if not failed:
        file.unlink(missing_ok=True)
        say(f"{store.folder}: {good:,} images encoded in {store.bits} bits")
        return

    def write(target: Path) -> None:
        with open(target, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("id", "reason"), *failed.items()])

    atomic_write(file, write)
    first, why = next(iter(failed.items()))
    say(
        f"{store.folder}: {good:,} images encoded in {store.bits} bits; {len(failed):,} could not be read, listed in "
        f"{file.name} ({first}: {why}). When they are repaired, repeat with --retry"
    )
