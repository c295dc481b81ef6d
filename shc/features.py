"""What a backbone makes of the images, computed once: for heads that are trained on features that stay as they are.

Features of a backbone that nobody trains are kept in the user's cache folder (`shc.datasets.cache`), under the hash of
its weights and of the data: the next run with the same ones begins to train at once. Those of a run's own classifier
are kept in the run, as `features`.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from shc.config import ClassifierConfig, HasherConfig
from shc.datasets import ImageSet
from shc.datasets.cache import cache_folder, trim
from shc.datasets.streams import rows_of
from shc.devices import resolve_device
from shc.models import Backbone
from shc.runs import Run, RunError, artifact_key, digest, read_arrays, write_arrays
from shc.tasks import load_classifier, new_classifier
from shc.training import predict

SPLITS = ("val", "query", "query_seen", "database", "train")
CHUNK = 2000  # images at a time: those of a large set need not be in memory together


def features_of(
    net: nn.Module, images: ImageSet, splits: Iterable[str], device: str = "cpu", threads: int = 2
) -> dict[str, Tensor]:
    """float32 [n, D] of each split: what a backbone makes of its images."""
    return {split: predict(net, images.split(split)[0], device=device, threads=threads) for split in splits}


def backbone_features(
    net: Backbone, images: ImageSet, config: ClassifierConfig, device: str = "cpu", threads: int = 2
) -> dict[str, Tensor]:
    """float32 [n, D] of every split, from the cache folder if this backbone has seen these images before.

    `config` says what kind of backbone it is. An image that stands in two splits is computed once. A cache that cannot
    be written only costs the time of the next call.
    """
    inside = {split: images.splits[split] for split in SPLITS if split in images.splits}
    known = {field: asdict(config)[field] for field in ("net", "weights", "crop")}
    key = digest({name: tensor.cpu().numpy() for name, tensor in net.state_dict().items()}, "")
    seen = images.fingerprint + images.state
    file = cache_folder() / f"features-{artifact_key(known, seen, {'weights': key})}.safetensors"
    rows = torch.cat(list(inside.values())).unique()
    place = torch.full((int(rows[-1]) + 1,), -1)
    place[rows] = torch.arange(len(rows))
    whole = _read(file, len(rows), net.dim)
    if whole is None:
        parts = (rows_of(images.images, part) for part in rows.split(CHUNK))
        whole = torch.cat([predict(net, part, device=device, threads=threads) for part in parts])
        with suppress(RunError, OSError):
            write_arrays(file, {"features": whole.numpy()}, known | {"fingerprint": images.fingerprint})
            trim(file, "features-*.safetensors")
    return {split: whole[place[where]] for split, where in inside.items()}


def classifier_features(run: Run, images: ImageSet, device: str = "cpu", threads: int = 2) -> dict[str, Tensor]:
    """float32 [n, D] of every split: what the classifier's backbone makes of the images; kept as `features`."""
    net, classifier = load_classifier(run, images)
    config, inputs = ClassifierConfig(**classifier.meta["parameters"]), {"classifier": classifier.key}
    if not run.fresh("features", artifact_key({}, images.fingerprint, inputs)):
        if config.features == "frozen":
            arrays = backbone_features(net.backbone, images, config, device, threads)
        else:
            inside = [split for split in SPLITS if split in images.splits]
            arrays = features_of(net.backbone, images, inside, device, threads)
        run.save("features", arrays, parameters={}, fingerprint=images.fingerprint, inputs=inputs)
    return {split: torch.from_numpy(array) for split, array in run.load("features").arrays.items()}


def hasher_features(
    run: Run, images: ImageSet, net: Backbone, config: HasherConfig, device: str = "cpu", threads: int = 2
) -> dict[str, Tensor]:
    """float32 [n, D] of every split for a hasher's head, whose backbone `net` stays as it is."""
    if config.init == "classifier":
        return classifier_features(run, images, device, threads)
    first = ClassifierConfig(**load_classifier(run, images)[1].meta["parameters"])
    if first.weights == "imagenet":
        return backbone_features(net, images, first, device, threads)
    return features_of(net, images, [split for split in SPLITS if split in images.splits], device, threads)


def predict_split(run: Run, images: ImageSet, model: nn.Module, split: str, device: str = "auto") -> Tensor:
    """float32 [n, …]: what a run's classifier or hasher says about a split; features that the run keeps are used.

    The numbers are those of `predict(model, …)` up to rounding, in a moment instead of minutes for a frozen backbone.
    """
    net, classifier = load_classifier(run, images)
    fresh = run.fresh("features", artifact_key({}, images.fingerprint, {"classifier": classifier.key}))
    frozen = ClassifierConfig(**classifier.meta["parameters"]).features == "frozen"
    if frozen and fresh and _same(net.backbone, model.backbone):
        kept = torch.from_numpy(run.load("features")[split])
        return predict(model.head, kept, device=device)  # type: ignore[arg-type]
    return predict(model, images.split(split)[0], device=device)


def compute_first(run: Run, images: ImageSet, config: ClassifierConfig | HasherConfig) -> None:
    """Compute the features that a training will look for: by one process, before others train beside it."""
    where = dict(device=resolve_device(config.device), threads=config.threads)
    if isinstance(config, ClassifierConfig):
        if config.features == "frozen":
            backbone_features(new_classifier(images, config).backbone, images, config, **where)  # type: ignore[arg-type]
        return
    first = ClassifierConfig(**load_classifier(run, images)[1].meta["parameters"])
    if config.is_frozen(first) and config.init == "classifier":
        classifier_features(run, images, **where)  # type: ignore[arg-type]


def _read(file: Path, rows: int, dim: int) -> Tensor | None:
    """Features [rows, dim] from a file of the cache; None if there is none that is whole and fits."""
    try:
        features = read_arrays(file)[0]["features"]
        file.touch()  # the least recently used files go first
    except (RunError, OSError, KeyError):
        return None
    return torch.from_numpy(features) if features.shape == (rows, dim) else None


def _same(a: nn.Module, b: nn.Module | Tensor) -> bool:
    """Whether two backbones have the same weights."""
    if not isinstance(b, nn.Module):
        return False
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name].cpu(), other[name].cpu()) for name in mine)
