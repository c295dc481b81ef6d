"""Parameters of every step as validated dataclasses; notebooks build them from their `parameters` cell.

A field's comment is its reason. Fields that only say where to compute (device, threads) are not part of a result's
identity; everything else is.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from shc.datasets import MOST_SEED, ImageSet
from shc.devices import resolve_device
from shc.models import CNNS, NETS
from shc.schedule import Schedule

SIMILARITY_SOURCES = ("classifier", "hierarchy", "names", "features", "exact")
CENTER_KINDS = ("semantic", "permuted", "distance", "random", "csq")
WHERE = ("device", "threads")


class ConfigError(ValueError):
    """A parameter whose value cannot be used; the message names it and what is expected."""


@dataclass(frozen=True)
class Step:
    """Common to all steps: types are checked when the object is made."""

    LATER: ClassVar[
        tuple[str, ...]
    ] = ()  # fields added since artifacts exist; at their default they change no identity

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), field.type
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, field.name, float(value))
            elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):  # type: ignore[arg-type]
                expected = getattr(kind, "__name__", kind)
                raise ConfigError(f"{field.name}={value!r} must be of type {expected}, not {type(value).__name__}")
            if isinstance(getattr(self, field.name), float) and not math.isfinite(getattr(self, field.name)):
                raise ConfigError(f"{field.name}={value!r} must be a finite number")
            if field.name == "seed" and not 0 <= value <= MOST_SEED:
                raise ConfigError(f"seed={value} must be 0 or above, and at most {MOST_SEED}")
        self.check()

    @classmethod
    def read(cls, values: Mapping[str, Any], file: Path) -> Self:
        """The step that a file of a run tells of; ConfigError naming the file for fields and values that are none."""
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in values if name not in known]:
            raise ConfigError(f"{file} has a parameter {unknown[0]!r}; known are {', '.join(known)}; delete the file")
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from error

    def check(self) -> None:
        """Check values beyond their types."""

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, without those that only say where it is computed."""
        usual = {field.name: field.default for field in fields(self) if field.name in self.LATER}
        return {k: v for k, v in asdict(self).items() if k not in WHERE and not (k in usual and v == usual[k])}

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Data(Step):
    """Which images: see `shc.datasets.load`."""

    data: str = "emoji"
    scale: float = 1.0  # share of the full sizes (10,000 training images)
    size: int = 32  # pixels
    seed: int = 0
    fold: int = 0  # which drawing family is held out
    protocol: str = "closed"  # or "unseen-classes"
    root: str = ""  # folder of a data set that lies in files
    val: float = 0.1  # share of the training images of such a set that epochs are chosen by
    unreadable: str = "skip"  # or "fail": what happens to damaged pictures of your own

    LATER = ("root", "val", "unreadable")

    def check(self) -> None:
        if not 0 < self.val <= 0.5:
            raise ConfigError(
                f"val={self.val} must be above 0 and at most 0.5: epochs are chosen by these images; 0.01 takes one of "
                "each class"
            )
        if self.root:  # found again from any working directory
            object.__setattr__(self, "root", os.path.abspath(os.path.expanduser(self.root)))

    def load(self) -> "ImageSet":
        """The images themselves."""
        from shc import datasets

        options = asdict(self)
        return datasets.load(options.pop("data"), **options)


@dataclass(frozen=True)
class Training(Step):
    """What classifier and hasher training have in common."""

    epochs: int = 20
    batch: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"  # or bfloat16, or auto: the faster of the two, timed once when a training begins
    threads: int = 2  # the default stays 2 on any machine, so that numbers repeat
    optimizer: str = "adamw"  # or rmsprop, the paper's
    warmup: float = 0.2  # share of all steps in which lr rises; 0 is a plain cosine
    color: float = 0.0  # brightness, contrast and saturation vary by factors of 1 ± color
    compile: bool = False  # torch.compile, for long runs
    deterministic: bool = False  # equal bits on a GPU too; runs on a CPU are equal anyway
    auto_batch: bool = False  # out of device memory: go on with half the batch

    LATER: ClassVar[tuple[str, ...]] = ("optimizer", "warmup", "color", "compile", "deterministic", "auto_batch")

    def check(self) -> None:
        resolve_device(self.device)
        self.schedule()

    def schedule(self) -> Schedule:
        """The training loop's settings."""
        names = {field.name for field in fields(Schedule)}
        shared = {name: value for name, value in asdict(self).items() if name in names}
        return Schedule(**(shared | self.where()))

    def where(self) -> dict[str, Any]:
        """The device, resolved, and the threads: where trained networks are applied as well."""
        return dict(device=resolve_device(self.device), threads=self.threads)


@dataclass(frozen=True)
class ClassifierConfig(Training):
    """Stage 1: the network whose confusions tell how similar the classes are."""

    net: str = "cnn"
    weights: str = "none"
    eval_every: int = 1
    features: str = "tune"  # or "frozen": the backbone stays as it is, and the last layer learns from its features
    backbone_lr: float = 0.1  # factor on lr for a backbone with ImageNet weights; 1 for one from scratch
    crop: int = 0  # what the backbone sees of larger images: random crops in training, else the center; 0 for all

    LATER = (*Training.LATER, "features", "backbone_lr", "crop")

    def check(self) -> None:
        super().check()
        one_of("net", self.net, NETS)
        one_of("weights", self.weights, ("none",) if self.net in CNNS else ("none", "imagenet"))
        one_of("features", self.features, ("tune", "frozen"))
        if self.features == "frozen" and self.weights == "none":
            raise ConfigError(
                f"features='frozen' would train a last layer on an untrained {self.net}; set weights='imagenet' with a "
                f"net that has them ({', '.join(net for net in NETS if net not in CNNS)}), or features='tune'"
            )
        if self.weights == "none":  # an untrained backbone learns at the head's rate
            object.__setattr__(self, "backbone_lr", 1.0)

    def identity(self) -> dict[str, Any]:
        """As in every step; what follows from another field is not told twice."""
        whole = super().identity()
        return {k: v for k, v in whole.items() if k != "backbone_lr"} if self.weights == "none" else whole


@dataclass(frozen=True)
class SimilarityConfig(Step):
    """Stage 1, second half: how S is read."""

    source: str = "classifier"
    mask: str = "predicted"  # the paper's; "true" is the published code's
    temperature: float = 1.0
    embeddings: str = ""  # .npy file with a row per class, for source="names"

    LATER = ("embeddings",)

    def check(self) -> None:
        one_of("source", self.source, SIMILARITY_SOURCES)
        one_of("mask", self.mask, ("predicted", "true"))
        if self.temperature <= 0:
            raise ConfigError(f"temperature={self.temperature} must be above 0; 1 leaves the logits as they are")
        if not self.embeddings:
            return
        if self.source != "names":
            raise ConfigError(
                f"embeddings={self.embeddings!r} would not be read: S comes from {self.source!r}; set similarity=names"
            )
        file = os.path.abspath(os.path.expanduser(self.embeddings))  # found again from any working directory
        if not os.path.isfile(file):
            raise ConfigError(f"embeddings={self.embeddings!r} is not there; give a .npy file with a row per class")
        object.__setattr__(self, "embeddings", file)

    def identity(self) -> dict[str, Any]:
        """As in every step; a file counts by what it holds, not by where it lies."""
        whole = super().identity()
        if self.embeddings:
            whole["embeddings"] = hashlib.sha256(Path(self.embeddings).read_bytes()).hexdigest()[:16]
        return whole


@dataclass(frozen=True)
class CentersConfig(Step):
    """Stage 2: one ±1 center per class."""

    bits: int = 32
    kind: str = "semantic"  # the controls: permuted, distance, random, csq
    min_distance: str = "rule"  # the paper's rule, "max", or a number of bits
    seed: int = 0
    solver: str = "shc"
    shuffled: float = 0.0  # share of S that is replaced by S of shuffled classes: the dose of false meaning

    LATER = ("shuffled",)

    def check(self) -> None:
        from shc.centers import SOLVERS

        one_of("kind", self.kind, CENTER_KINDS)
        one_of("solver", self.solver, SOLVERS)
        if not 0 <= self.shuffled <= 1:
            raise ConfigError(f"shuffled={self.shuffled} must lie between 0 (S as it is) and 1 (no true meaning left)")
        if not 1 <= self.bits <= 1024:
            raise ConfigError(f"bits={self.bits} must lie between 1 and 1024; 16, 32 and 64 are usual")
        if self.min_distance not in ("rule", "max") and not self.min_distance.isdecimal():
            raise ConfigError(
                f"min_distance={self.min_distance!r} must be 'rule', 'max' or a whole number of bits such as '12'"
            )

    @property
    def distance(self) -> str | int:
        """`min_distance` as the optimizer takes it."""
        return int(self.min_distance) if self.min_distance.isdecimal() else self.min_distance


@dataclass(frozen=True)
class HasherConfig(Training):
    """Stage 3: the network that maps every image to its class's center."""

    epochs: int = 10
    lr: float = 2e-3
    method: str = "shc"
    init: str = "classifier"  # or "scratch", as the classifier began; compared methods start from the same point
    backbone_lr: float = 0.5  # factor on lr for a backbone that starts trained; 1 for one from scratch
    eval_every: int = 2
    options: str = ""  # the method's hyper-parameters, "name=value, name=value"
    frozen: bool = False  # train the last layer only, on features computed once and without augmentation
    bits: int = 0  # for methods without centers; 0 takes the centers' length
    features: str = "default"  # tune or frozen; the default is what the classifier did

    LATER = (*Training.LATER, "options", "frozen", "bits", "features")

    def check(self) -> None:
        from shc import methods

        super().check()
        methods.build(self.method, self.options)
        one_of("init", self.init, ("classifier", "scratch"))
        one_of("features", self.features, ("default", "tune", "frozen"))
        if self.frozen and self.features == "tune":
            raise ConfigError("frozen=True and features='tune' contradict each other; give one of them")
        if not 0 <= self.bits <= 1024:
            raise ConfigError(f"bits={self.bits} must lie between 1 and 1024, or be 0 for the centers' length")
        if self.init == "scratch":  # an untrained backbone learns at the head's rate
            object.__setattr__(self, "backbone_lr", 1.0)

    def is_frozen(self, classifier: ClassifierConfig) -> bool:
        """Whether the last layer alone is trained, given how the classifier was.

        Raises ConfigError if `features` asks for this on a backbone that nobody trained. `frozen=True` may: what is
        fitted to random features is the honest baseline of methods that claim to see no labels.
        """
        if self.features == "frozen" and self.init == "scratch" and classifier.weights == "none":
            raise ConfigError(
                "features='frozen' with init='scratch' would train a last layer on an untrained backbone; set "
                "init='classifier', weights='imagenet' with a net that has them, or features='tune'"
            )
        usual = self.features == "default" and classifier.features == "frozen"
        return self.frozen or self.features == "frozen" or usual


def check_possible(data: Data, centers: CentersConfig) -> None:
    """Raise ConfigError if the data set refuses its options, lacks files, or has too many classes for such centers."""
    from shc import constructions, datasets

    options, embedded = asdict(data), data.data in ("emoji", "shapes")
    classes = 80 if data.protocol == "unseen-classes" else 100  # of the embedded data sets
    try:
        datasets.check(options.pop("data"), **options)
        datasets.check_files(data.data, data.root)
        if not embedded:  # how many classes it has is in its files
            return
        largest = constructions.max_distance_limits(centers.bits, classes).largest
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if isinstance(centers.distance, int) and centers.distance > largest:
        raise ConfigError(
            f"min_distance={centers.distance} is impossible: {classes} codes of {centers.bits} bits are at most "
            f"{largest} apart; 'rule' asks for the paper's distance"
        )


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}")
