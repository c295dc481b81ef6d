"""One method under the common protocol: the same data, start and schedule for all, one seed for all that is random.

A `MethodRun` says what is compared; its row says what came out. Stage 1 is shared by all methods of a seed (adopted
from a base run), and its seconds stand beside those of stages 2 and 3.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shc import hamming, label_sets, methods, metrics, stages
from shc.config import (
    SIMILARITY_SOURCES,
    CentersConfig,
    ClassifierConfig,
    ConfigError,
    Data,
    HasherConfig,
    SimilarityConfig,
    Step,
    check_possible,
    one_of,
)
from shc.datasets import ImageSet
from shc.runs import Run, RunError, library_versions, today
from shc.training import predict
from shc.training_state import Record

MEASURES = (
    "mAP@ALL", "mAP@100", "mAP@1000", "super_mAP@ALL", "nDCG@100", "mAHP@250", "P@H<=2", "empty@H<=2",
    "wmAP@ALL", "ACG@100",  # of label sets
)  # fmt: skip


@dataclass(frozen=True)
class MethodRun(Step):
    """Everything that a row of a comparison was made with; fields as in `shc.config`."""

    data: str = "emoji"
    scale: float = 1.0
    size: int = 32
    protocol: str = "closed"
    fold: int = 0
    bits: int = 32
    method: str = "shc"
    options: str = ""
    centers: str = "default"  # kind of centers; default: those the method was published with
    solver: str = "shc"
    min_distance: str = "rule"
    similarity: str = "classifier"
    shuffled: float = 0.0
    init: str = "default"  # default: the classifier's backbone, scratch for methods that claim to see no labels
    frozen: bool = False
    epochs: int = 20
    hasher_epochs: int = 10
    hasher_lr: float = 2e-3
    batch: int = 128  # images in a step of the hasher
    seed: int = 0  # of the classifier, the centers, their assignment, and the hasher
    split: str = "query"  # or val, against the training images: for tuning
    reference: bool = False  # also rows for unquantized outputs and for codes snapped to the nearest center
    device: str = "cpu"
    threads: int = 1
    root: str = ""  # of a data set that lies in files, as `val` and `unreadable` are
    val: float = 0.1
    unreadable: str = "skip"

    LATER = ("root", "val", "unreadable")

    def check(self) -> None:
        self.classifier_config()
        one_of("similarity", self.similarity, SIMILARITY_SOURCES)
        one_of("split", self.split, ("query", "val"))
        try:
            self.hasher_config()
        except ValueError as error:
            raise ConfigError(str(error)) from error
        check_possible(self.data_config(), self.centers_config())

    @property
    def kind(self) -> str:
        """Kind of the centers; "" for a method without."""
        usual = methods.info(self.method).default_centers
        if self.centers in ("default", ""):
            return usual
        if not usual:
            raise ConfigError(f"centers={self.centers!r}: method {self.method!r} has no centers; leave it 'default'")
        return self.centers

    @property
    def start(self) -> str:
        """Where the backbone starts: classifier or scratch."""
        return methods.info(self.method).start if self.init == "default" else self.init

    def data_config(self) -> Data:
        return Data(
            data=self.data, scale=self.scale, size=self.size, fold=self.fold, protocol=self.protocol, root=self.root,
            val=self.val, unreadable=self.unreadable,
        )  # fmt: skip

    def classifier_config(self) -> ClassifierConfig:
        return ClassifierConfig(epochs=self.epochs, seed=self.seed, device=self.device, threads=self.threads)

    def centers_config(self, kind: str = "") -> CentersConfig:
        return CentersConfig(
            bits=self.bits, kind=kind or self.kind or "semantic", min_distance=self.min_distance, seed=self.seed,
            solver=self.solver, shuffled=self.shuffled,
        )  # fmt: skip

    def hasher_config(self) -> HasherConfig:
        return HasherConfig(
            epochs=self.hasher_epochs, lr=self.hasher_lr, batch=self.batch, seed=self.seed, device=self.device,
            threads=self.threads, method=self.method, options=self.options, init=self.start, frozen=self.frozen,
            bits=0 if methods.info(self.method).default_centers else self.bits,
        )  # fmt: skip


def check_cell(values: dict[str, Any]) -> None:
    """Raise ValueError with the reason if a comparison cannot have a run with these parameters.

    >>> check_cell({"method": "csq", "bits": 4})
    Traceback (most recent call last):
    ...
    shc.config.ConfigError: 100 classes cannot have different centers of 4 bits, which make 16; use at least 7 bits
    """
    names = {field.name for field in fields(MethodRun)}
    MethodRun(**{name: value for name, value in values.items() if name in names})


def adopt(run: Run, base: str | Path) -> None:
    """Put the base run's stage 1 into `run`, as links where the file system has them.

    Raises RunError if the base holds no classifier.
    """
    if not (Path(base) / "classifier.safetensors").exists():
        raise RunError(f"base run {base} holds no classifier; make it first, or leave `base` empty")
    run.path.mkdir(parents=True, exist_ok=True)
    for name in ("classifier.safetensors", "statistics.npz", "features.safetensors"):
        source, target = Path(base) / name, run.path / name
        if source.exists() and not target.exists():
            with suppress(FileExistsError):
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copy2(source, target)


def prepare(run: Run, settings: MethodRun) -> tuple[ImageSet, Iterator[Record]]:
    """The images, and the records of stage 1 (stored ones where it was adopted)."""
    images = stages.start(run, settings.data_config())
    return images, stages.train_classifier(run, images, settings.classifier_config())


def make_centers(run: Run, images: ImageSet, settings: MethodRun) -> None:
    """Stage 2 as the settings ask for it; nothing for a method without centers."""
    stages.class_similarity(run, images, SimilarityConfig(source=settings.similarity))
    if settings.kind == "permuted":
        for _ in stages.optimize_centers(run, images, settings.centers_config("semantic")):
            pass
    if settings.kind:
        for _ in stages.optimize_centers(run, images, settings.centers_config()):
            pass


def train(run: Run, images: ImageSet, settings: MethodRun) -> Iterator[Record]:
    """Stage 3: the records of the hasher's training."""
    return stages.train_hasher(run, images, settings.hasher_config(), settings.kind or "semantic")


def measure(run: Run, images: ImageSet, settings: MethodRun) -> list[dict[str, Any]]:
    """Rows of the comparison: one for the codes, and two more if `reference` is set."""
    kind = settings.kind or "semantic"
    codes = stages.load_codes(run, images, kind)
    query, database = ("query", "database") if settings.split == "query" else ("val", "train")
    row = facts(run, images, settings) | dict(queries=len(codes[query]), database=len(codes[database]))
    rows = [row | dict(codes="hashed") | measures(images, codes[query], codes[database], query, database)]
    if settings.split == "query" and "query_seen" in codes:
        seen = measures(images, codes["query_seen"], codes[database], "query_seen", database)
        rows[0]["seen mAP@ALL"] = seen["mAP@ALL"]
    if settings.reference:
        hasher, config = stages.load_hasher(run, images, kind), settings.hasher_config()
        u = {
            split: predict(hasher, images.split(split)[0], device=config.device, threads=config.threads)
            for split in (query, database)
        }
        labels = {split: images.split(split)[1] for split in u}
        value = unquantized_map(u[query], u[database], labels[query], labels[database])
        rows.append(row | {"codes": "unquantized", "mAP@ALL": value})
        if settings.kind:
            H = stages.load_centers(run, images, kind)[0]["codes"]
            snapped = [H[hamming.distance(codes[split], H).argmin(1)] for split in (query, database)]
            found = measures(images, snapped[0], snapped[1], query, database)
            rows.append(row | dict(codes="snapped") | found)
    return rows


def measures(images: ImageSet, queries: np.ndarray, database: np.ndarray, query: str, base: str) -> dict[str, float]:
    """`MEASURES` of query codes against database codes, for the splits they belong to."""
    labels = (images.split(query)[1], images.split(base)[1])
    found = metrics.evaluate(queries, database, *labels, hierarchy=label_sets.graded_tree(images))
    return {name: round(float(found[name]), 6) for name in MEASURES if name in found}


def unquantized_map(
    queries: torch.Tensor, database: torch.Tensor, query_labels: torch.Tensor, database_labels: torch.Tensor
) -> float:
    """mAP@ALL when ranking by the cosine of the real-valued outputs [N, K]: what rounding to bits can lose."""
    a, b = (torch.nn.functional.normalize(x, dim=1) for x in (queries, database))
    alone, values = np.ones(len(b), dtype=int), []  # no ties: every rank holds one image
    for row, label in zip(a, query_labels, strict=True):
        shared = (database_labels & label).any(1) if database_labels.ndim == 2 else database_labels == label
        relevant = shared[(b @ row).argsort(descending=True, stable=True)].numpy()
        values.append(metrics.expected_ap(alone, relevant.astype(int)))
    return round(float(np.mean(values)), 6)


def facts(run: Run, images: ImageSet, settings: MethodRun) -> dict[str, Any]:
    """What is known of a finished run besides its retrieval: centers, validation, seconds, versions."""
    entry, kind = methods.info(settings.method), settings.kind or "semantic"
    variant = stages.variant_of(kind)
    hasher = run.load("hasher", variant, fingerprint=images.fingerprint).meta["extra"]
    history = [r for r in hasher["history"] if r["val"] is not None]
    known = dict(centers=settings.kind, init=settings.start, f=None, d=None, seconds_centers=0.0)
    if settings.kind:
        centers = run.load("centers", variant).meta["extra"]
        known |= dict(f=round(centers["loss"], 6), d=centers["min_distance"])
        source = run.load("centers").meta["extra"] if kind == "permuted" else centers
        known["seconds_centers"] = round(source["seconds"], 2)
    tree = entry.needs in ("label path", "label distances") or (
        kind == "semantic" and bool(settings.kind) and settings.similarity in ("hierarchy", "exact")
    )
    names = kind == "semantic" and bool(settings.kind) and settings.similarity == "names"
    uses_classes = entry.needs in ("class", "label path") or settings.start == "classifier"
    told = [text for text, used in (("classes", uses_classes), ("tree", tree), ("class names", names)) if used]
    return known | dict(
        information=", ".join(told) or "none",
        circular=tree,
        val=round(hasher["best_val"], 6),
        best_epoch=max(history, key=lambda r: r["val"])["epoch"] if history else 0,
        curve=" ".join(f"{r['epoch']}:{r['val']:.4f}" for r in history),
        seconds_classifier=round(run.load("classifier").meta["extra"]["history"][-1]["seconds"], 1),
        seconds_hasher=round(hasher["history"][-1]["seconds"], 1) if hasher["history"] else 0.0,
        fingerprint=images.fingerprint[:16],
        torch=library_versions()["torch"],
        date=today(),
    )
