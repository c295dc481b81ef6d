"""The networks that trainings start from; of the data set, a hashing method sees what it declared to need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shc import methods, promises
from shc.config import ClassifierConfig, HasherConfig
from shc.datasets import ImageSet
from shc.hierarchy import Hierarchy
from shc.models import Backbone, Classifier, Hasher, backbone
from shc.runs import Artifact, Run, RunError


def new_backbone(images: ImageSet, config: ClassifierConfig, fetch: bool = True) -> Backbone:
    """The classifier's kind of backbone for these images, its weights drawn from torch's random state."""
    weights: Any = config.weights
    return backbone(config.net, weights=weights, size=images.images.shape[-1], crop=config.crop, fetch=fetch)


def new_classifier(images: ImageSet, config: ClassifierConfig, fetch: bool = True) -> Classifier:
    """An untrained classifier for the trained classes, its weights drawn from the config's seed.

    Without `fetch` ImageNet weights are not looked for: it is to be loaded with weights of its own.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Classifier(new_backbone(images, config, fetch), len(images.train_classes))


def load_classifier(run: Run, images: ImageSet) -> tuple[Classifier, Artifact]:
    """The run's trained classifier and its artifact."""
    artifact = run.load("classifier", fingerprint=images.fingerprint)
    promises.check("classifier", artifact.arrays)
    file = run.file("classifier")
    model = new_classifier(images, ClassifierConfig.read(artifact.meta["parameters"], file), fetch=False)
    load_weights(model, artifact, file)
    return model.eval(), artifact


def load_weights(model: torch.nn.Module, artifact: Artifact, file: Path) -> None:
    """Give a network an artifact's weights; RunError naming the file if they are those of another network."""
    try:
        model.load_state_dict({k: torch.from_numpy(v) for k, v in artifact.arrays.items()})
    except (RuntimeError, TypeError) as error:  # other names or shapes; a type that torch lacks
        why = " ".join(str(error).split())[:200]
        raise RunError(f"{file} does not fit to its network ({why}); delete it and run its notebook again") from error


def new_task(
    method: methods.MethodInfo,
    images: ImageSet,
    tree: Hierarchy | None,
    y: Tensor,
    centers: Tensor | None,
    bits: int,
    seed: int,
    features: Callable[[], Tensor],
    classifier: Artifact,
    device: str,
) -> methods.Task:
    """What the method may look at: class positions y of the training images, or row numbers if it needs none.

    y is int64 [N], or bool [N, C] for label sets. Raises RunError if the method takes one class per image and there are
    several, if an image has none, or if the method needs a class tree that the data set lacks.
    """
    if y.ndim == 2:
        check_label_sets(method, images.name, y)
    if tree is None and method.needs in ("label path", "label distances"):
        fitting = ", ".join(n for n, m in methods.available().items() if m.needs in ("class", "none"))
        wanted = "a class hierarchy (label paths)" if method.needs == "label path" else "label distances (a hierarchy)"
        raise RunError(f"method {method.name!r} needs {wanted}, which {images.name!r} lacks; choose one of {fitting}")
    return methods.Task(
        bits=bits,
        classes=len(images.train_classes),
        labels=torch.arange(len(y)) if method.needs == "none" else (y.float() if y.ndim == 2 else y),
        seed=seed,
        device=device,
        centers=centers,
        paths=tree.paths if tree is not None and method.needs == "label path" else None,
        distances=1 - tree.similarity() if tree is not None and method.needs == "label distances" else None,
        images=images.split("train")[0],
        features=features,
        classifier=(torch.from_numpy(classifier["head.weight"]), torch.from_numpy(classifier["head.bias"]))
        if method.needs == "class"
        else None,
    )


def check_label_sets(method: methods.MethodInfo, data: str, y: Tensor) -> None:
    """Raise RunError unless the method can be trained on images with the label sets y bool [N, C]."""
    if not method.multi_label:
        fitting = ", ".join(name for name, entry in methods.available().items() if entry.multi_label)
        raise RunError(
            f"method {method.name!r} takes one class per image, and images of {data!r} may have several; choose one of "
            f"{fitting}"
        )
    empty = int((~y.any(1)).sum())
    if empty and method.needs != "none":
        raise RunError(
            f"{empty} of {len(y)} training images of {data!r} have no label, so nothing to be trained towards; leave "
            "them out of its training split"
        )


def new_hasher(
    start_net: Classifier | None, images: ImageSet, classifier: Artifact, bits: int, config: HasherConfig
) -> Hasher:
    """A hasher on the classifier's kind of backbone: with its weights if `start_net` is given, else from scratch."""
    first = ClassifierConfig(**classifier.meta["parameters"])
    method = methods.build(config.method, config.options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = new_backbone(images, first, fetch=start_net is None)
        model = Hasher(net, bits, method.head(net.dim, bits, len(images.train_classes)))
    if start_net is not None:
        model.backbone.load_state_dict(start_net.backbone.state_dict())
    return model
