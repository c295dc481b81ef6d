"""The steps of a run, each from the artifacts before it to its own: what notebooks and the in-process pipeline call.

Long steps are generators of records. A step whose artifact is there, made from the same inputs with the same
parameters, yields the records it was made with and computes nothing; an interrupted one goes on from its last finished
epoch.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shc import centers as stage2
from shc import hamming, label_sets, methods, metrics, promises, similarity
from shc.center_history import pack_history, unpack_history
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig, SimilarityConfig
from shc.control_centers import blended, control_centers
from shc.datasets import ImageSet
from shc.features import SPLITS, backbone_features, features_of, hasher_features, predict_split
from shc.features import classifier_features as classifier_features  # notebooks look for it here
from shc.hierarchy import Hierarchy
from shc.models import Hasher, codes_from
from shc.name_embeddings import name_embeddings
from shc.runs import Artifact, MissingArtifact, Run, RunError, artifact_key
from shc.tasks import load_classifier, load_weights, new_classifier, new_hasher, new_task
from shc.training import fit, predict
from shc.training_state import Record


def start(run: Run, config: Data) -> ImageSet:
    """Load the run's images and note in its params.yaml which they are."""
    images = config.load()
    if run.parameters().get("data") != config.identity():
        run.add_parameters("data", config.identity())
    return images


def images_of(run: Run) -> ImageSet:
    """The images that this run was started with; MissingArtifact if it was not started."""
    stored = run.parameters().get("data")
    if stored is None:
        raise MissingArtifact(f"{run.path} has no data yet; run notebook 01_classifier (or `shc run`) for it first")
    return Data.read(stored, run.path / "params.yaml").load()


def finished_images(run: Run) -> ImageSet:
    """The images of a run that went from classifier to codes; ForeignArtifact if these were made from other ones."""
    images = images_of(run)
    for artifact in ("classifier", "codes"):  # which check all that they were made from
        run.load(artifact, fingerprint=images.fingerprint)
    return images


def positions(images: ImageSet, labels: Tensor) -> Tensor:
    """int64 [N]: place of each class id among the trained classes, −1 for a class that was never trained on.

    Of label sets bool [N, C] the columns of the trained classes; a row may then be empty.
    """
    if labels.ndim == 2:
        return labels[:, images.train_classes]
    place = torch.full((len(images.class_names),), -1, dtype=torch.int64)
    place[images.train_classes] = torch.arange(len(images.train_classes))
    return place[labels]


def trained_names(images: ImageSet) -> list[str]:
    """Names of the trained classes, in the order of the rows of S and of the centers."""
    return [images.class_names[c] for c in images.train_classes.tolist()]


def trained_groups(images: ImageSet) -> tuple[np.ndarray, list[str]]:
    """Super-class of every trained class (int64 [C]) and the super-classes' names; one group without a hierarchy."""
    if images.hierarchy is None:
        return np.zeros(len(images.train_classes), dtype=np.int64), ["all classes"]
    return images.hierarchy.group_ids()[images.train_classes.numpy()], images.hierarchy.group_names()


def trained_hierarchy(images: ImageSet) -> Hierarchy | None:
    """The class tree of the trained classes, in the order of the rows of S; None without a hierarchy."""
    if images.hierarchy is None:
        return None
    return Hierarchy(tuple(images.hierarchy.paths[c] for c in images.train_classes.tolist()))


# ---------------------------------------------------------------------------------------------- stage 1


def train_classifier(run: Run, images: ImageSet, config: ClassifierConfig) -> Iterator[Record]:
    """Train the classifier, yield its records, and save `classifier` and `statistics` (logits of the train images).

    `splits` keeps which images are in which split, int64 [n] each: positions in the data set, as its files order them.
    """
    if not run.fresh("splits", artifact_key({}, images.fingerprint, {})):
        splits = {name: rows.numpy() for name, rows in images.splits.items()}
        run.save("splits", splits, parameters={}, fingerprint=images.fingerprint)
    key = artifact_key(config.identity(), images.fingerprint, {})
    if run.fresh("classifier", key) and run.fresh(
        "statistics", artifact_key({}, images.fingerprint, {"classifier": key})
    ):
        yield from run.load("classifier").meta["extra"]["history"]
        return
    with run.alone():
        x: Any  # images, or features of them
        (x, labels), (x_val, labels_val) = images.split("train"), images.split("val")
        y, y_val = positions(images, labels), positions(images, labels_val)
        model = new_classifier(images, config)
        where = config.where()
        part: torch.nn.Module = model
        if frozen := config.features == "frozen":  # the last layer alone, on features
            kept = backbone_features(model.backbone, images, config, **where)
            part, x, x_val = model.head, kept["train"], kept["val"]
        x_val = x_val.to(where["device"])  # once, not at every validation

        def accuracy(net: torch.nn.Module) -> float:
            return label_sets.score(predict(net, x_val, **where), y_val)

        loss, checkpoint, history = label_sets.classification_loss, run.checkpoint("classifier", key), []
        options = dict(evaluate=accuracy, checkpoint=checkpoint, augmented=not frozen)
        for record in fit(part, loss, x, y, config.schedule(), **options):  # type: ignore[arg-type]
            history.append(record)
            yield record
        best_val = max(r["val"] for r in history if r["val"] is not None)
        extra = dict(history=history, best_val=best_val, **where | settled(history))
        identity = config.identity()
        promises.check("classifier", model.state_dict())
        run.save("classifier", model.state_dict(), parameters=identity, fingerprint=images.fingerprint, extra=extra)
        if frozen:
            run.save("features", kept, parameters={}, fingerprint=images.fingerprint, inputs={"classifier": key})
        features = x if frozen else predict(model.backbone, x, **where)
        means = label_sets.class_means(features, y, len(images.train_classes))
        arrays = {"logits": predict(part, x, **where), "labels": y, "feature_means": means}
        promises.check("statistics", arrays)
        run.add_parameters("classifier", asdict(config))  # first: what is saved last makes the stage a finished one
        run.save("statistics", arrays, parameters={}, fingerprint=images.fingerprint, inputs={"classifier": key})
        checkpoint.remove()


def settled(history: list[Record]) -> dict[str, Any]:
    """What "auto" became, and the batch that fitted into memory: facts of a training that its artifact keeps."""
    return {name: history[-1][name] for name in ("device", "dtype", "batch") if history and name in history[-1]}


def accuracies(run: Run, images: ImageSet) -> dict[str, float]:
    """`label_sets.score` (top-1, or class mAP) of the run's classifier on every held-out split of classes it saw."""
    model, _ = load_classifier(run, images)
    found: dict[str, float] = {}
    for split in (s for s in ("query_seen", "val", "query") if s in images.splits):
        truth = positions(images, images.split(split)[1])
        if bool(label_sets.known(truth).all()):
            found[split] = label_sets.score(predict_split(run, images, model, split), truth)
    return found


def class_similarity(run: Run, images: ImageSet, config: SimilarityConfig) -> np.ndarray:
    """S [C, C] of the trained classes from the configured source, saved as `similarity`."""
    statistics = run.load("statistics", fingerprint=images.fingerprint)
    promises.check("statistics", statistics.arrays)
    classes = images.train_classes.numpy()
    if config.source == "classifier":
        logits, labels = statistics["logits"], statistics["labels"]
        S = similarity.class_similarity(logits, labels, mask=config.mask, temperature=config.temperature)  # type: ignore[arg-type]
    elif config.source == "features":
        S = similarity.embedding_similarity(statistics["feature_means"])
    elif config.source == "names":
        S = similarity.embedding_similarity(name_embeddings(images, config.embeddings)[classes])
    elif config.source == "hierarchy":
        if images.hierarchy is None:
            raise RunError(f"data set {images.name!r} has no class hierarchy; choose source='classifier'")
        S = similarity.hierarchy_similarity(images.hierarchy)[np.ix_(classes, classes)]
    else:
        if images.class_similarity is None:
            raise RunError(f"data set {images.name!r} has no exact class similarity (shapes has); choose 'classifier'")
        S = similarity.normalize_similarity(images.class_similarity[np.ix_(classes, classes)])
    promises.check("similarity", {"S": S})
    run.save(
        "similarity", {"S": S}, parameters=config.identity(), fingerprint=images.fingerprint,
        inputs={"statistics": statistics.key},
    )  # fmt: skip
    run.add_parameters("similarity", asdict(config))
    return S


# ---------------------------------------------------------------------------------------------- stage 2


def variant_of(kind: str) -> str:
    """File name suffix for centers of this kind and what is trained towards them; none for the semantic ones."""
    return "" if kind == "semantic" else kind


def optimize_centers(run: Run, images: ImageSet, config: CentersConfig) -> Iterator[stage2.CenterStep]:
    """Make hash centers of the configured kind, yield the optimization's records, and save `centers`.

    Stopped or interrupted, it saves the best set so far, which keeps the distance; the next call starts anew.
    """
    S_artifact = run.load("similarity", fingerprint=images.fingerprint)
    promises.check("similarity", S_artifact.arrays)
    S, variant, inputs = S_artifact["S"], variant_of(config.kind), {"similarity": S_artifact.key}
    if config.kind == "permuted":
        inputs["centers"] = run.load("centers", bits=config.bits, min_distance=config.min_distance).key
    key = artifact_key(config.identity(), images.fingerprint, inputs)
    if run.fresh("centers", key, variant):
        yield from load_centers(run, images, config.kind)[1]
        return
    with run.alone():
        steps: list[stage2.CenterStep] = []

        def save(codes: np.ndarray, min_distance: int, seconds: float) -> None:
            achieved, identity = hamming.minimum_distance(codes), config.identity()
            if achieved < min_distance:
                raise RunError(
                    f"solver {config.solver!r} returned centers {achieved} bits apart, closer than {min_distance}; "
                    "they are not saved as a result"
                )
            if steps and steps[-1].stage != "done":  # not what the same call would give if it were left alone
                identity["stopped_after"] = steps[-1].step
            extra = dict(min_distance=min_distance, loss=stage2.loss(S, codes), seconds=seconds)
            promises.check("centers", {"codes": codes}, identity, extra)
            run.add_parameters(f"centers{'-' + variant if variant else ''}", asdict(config))
            run.save(
                "centers", {"codes": codes, **pack_history(steps)}, parameters=identity, fingerprint=images.fingerprint,
                inputs=inputs, variant=variant, extra=extra,
            )  # fmt: skip

        if config.kind != "semantic":
            semantic = run.load("centers")["codes"] if config.kind == "permuted" else None
            began = time.perf_counter()
            codes = control_centers(config, len(S), semantic)
            save(codes, hamming.minimum_distance(codes), time.perf_counter() - began)
            return
        options: dict[str, Any] = dict(min_distance=config.distance, seed=config.seed, solver=config.solver)
        aim = blended(S, config.shuffled, config.seed)
        try:
            for step in stage2.optimize_centers(aim, config.bits, **options):
                steps.append(step)
                yield step
        finally:  # also when the reader interrupts it or stops asking
            if steps:
                result = stage2.collect(steps)
                save(result.codes, result.min_distance, steps[-1].seconds)


def load_centers(run: Run, images: ImageSet, kind: str = "semantic") -> tuple[Artifact, list[stage2.CenterStep]]:
    """The run's centers (arrays: codes [C, K]) and the records of their optimization."""
    artifact = run.load("centers", variant_of(kind), fingerprint=images.fingerprint)
    for told in promises.broken("centers", artifact.arrays, artifact.meta["parameters"], artifact.meta["extra"]):
        raise RunError(f"{run.file('centers', variant_of(kind))}: {told}; run notebook 03_hash_centers again")
    return artifact, unpack_history(artifact.arrays)


# ---------------------------------------------------------------------------------------------- stage 3


def train_hasher(run: Run, images: ImageSet, config: HasherConfig, kind: str = "semantic") -> Iterator[Record]:
    """Train a hasher by `config.method`, yield its records, and save `hasher` and `codes` of every split.

    Its targets are the run's centers of `kind`, for the methods that have centers. Raises RunError if the method needs
    labels that the data set lacks.
    """
    variant, identity = variant_of(kind), config.identity()
    suffix = f"-{variant}" if variant else ""
    entry, method = methods.info(config.method), methods.build(config.method, config.options)
    inputs, codes, bits = {}, None, config.bits
    if entry.default_centers:
        centers, _ = load_centers(run, images, kind)
        inputs[f"centers{suffix}"] = centers.key
        codes, bits = centers["codes"], centers["codes"].shape[1]
        if config.bits not in (0, bits):
            raise RunError(f"bits={config.bits}, but the run's centers have {bits}; leave it 0, or make such centers")
    else:
        identity["bits"] = bits = bits or load_centers(run, images, kind)[0]["codes"].shape[1]
    net, classifier = load_classifier(run, images)
    first = ClassifierConfig(**classifier.meta["parameters"])
    inputs["classifier"], frozen = classifier.key, config.is_frozen(first)
    key = artifact_key(identity, images.fingerprint, inputs)
    code_inputs = {f"hasher{suffix}": key}
    code_key = artifact_key({"bits": bits}, images.fingerprint, code_inputs)
    if run.fresh("hasher", key, variant) and run.fresh("codes", code_key, variant):
        yield from run.load("hasher", variant).meta["extra"]["history"]
        return
    with run.alone():
        where = config.where()
        start_net = net if config.init == "classifier" else None
        model = new_hasher(start_net, images, classifier, bits, config).to(where["device"])
        inside = [split for split in SPLITS if split in images.splits]
        x_of: dict[str, Any] = {split: images.split(split)[0] for split in inside}
        part: torch.nn.Module = model
        if frozen:  # the head alone, on features
            part, x_of = model.head, hasher_features(run, images, model.backbone, config, **where)
        labels, labels_val = (images.split(split)[1] for split in ("train", "val"))
        device = where["device"]
        x_of |= {split: x_of[split].to(device) for split in ("train", "val")}  # once, not at every validation
        features = lambda: (x_of if frozen else features_of(model.backbone, images, ["train"], **where))["train"]
        task = new_task(
            entry, images, trained_hierarchy(images), positions(images, labels),
            None if codes is None else torch.from_numpy(codes.astype(np.float32)).to(device), bits, config.seed,
            lambda: features().to(device), classifier, device,
        )  # fmt: skip
        targets = method.targets(task, model)

        def retrieval(hasher: torch.nn.Module) -> float:
            query, database = (codes_from(predict(hasher, x_of[split], **where)) for split in ("val", "train"))
            return float(metrics.evaluate(query, database, labels_val, labels, k=(), graded_k=())["mAP@ALL"])

        loss = lambda u, y: method.loss(u, y, targets)
        outputs = lambda: predict(part, x_of["train"], **where).to(device)
        history: list[Record] = []
        checkpoint, schedule = run.checkpoint(f"hasher{variant}", key), replace(config.schedule(), crop=first.crop)
        if method.trained:
            records = fit(
                part, loss, x_of["train"], task.labels, schedule, evaluate=retrieval, checkpoint=checkpoint,
                augmented=not frozen, state=targets if isinstance(targets, torch.nn.Module) else None,
                end_of_epoch=lambda epoch: method.end_of_epoch(targets, epoch, outputs),
            )  # fmt: skip
            for record in records:
                history.append(record)
                yield record
        best = max((r["val"] for r in history if r["val"] is not None), default=None)
        extra = dict(history=history, best_val=retrieval(part) if best is None else best, kind=kind, bits=bits)
        extra |= where | settled(history)
        promises.check("hasher", model.state_dict())
        run.save(
            "hasher", model.state_dict(), parameters=identity, fingerprint=images.fingerprint, inputs=inputs,
            variant=variant, extra=extra,
        )  # fmt: skip
        arrays = {
            split: np.packbits(codes_from(predict(part, x_of[split], **where)).numpy() > 0, axis=1) for split in inside
        }
        promises.check("codes", arrays, {"bits": bits})
        run.add_parameters(f"hasher{suffix}", asdict(config))
        run.save(
            "codes", arrays, parameters={"bits": bits}, fingerprint=images.fingerprint,
            inputs=code_inputs, variant=variant,
        )  # fmt: skip
        checkpoint.remove()


def load_hasher(run: Run, images: ImageSet, kind: str = "semantic") -> Hasher:
    """The run's trained hasher for centers of `kind`."""
    artifact = run.load("hasher", variant_of(kind), fingerprint=images.fingerprint)
    net, classifier = load_classifier(run, images)
    promises.check("hasher", artifact.arrays)
    bits = run.load("codes", variant_of(kind)).meta["parameters"]["bits"]
    config = HasherConfig.read(artifact.meta["parameters"] | {"device": "cpu"}, run.path / "hasher")
    load_weights(model := new_hasher(net, images, classifier, bits, config), artifact, run.path / "hasher")
    return model.eval()


def load_codes(run: Run, images: ImageSet, kind: str = "semantic") -> dict[str, np.ndarray]:
    """int8 ±1 codes [N, K] of every split, as the run's hasher for `kind` made them."""
    artifact = run.load("codes", variant_of(kind), fingerprint=images.fingerprint)
    promises.check("codes", artifact.arrays, artifact.meta["parameters"])
    bits = artifact.meta["parameters"]["bits"]
    unpacked = {k: np.unpackbits(v, axis=1, count=bits).astype(np.int8) * 2 - 1 for k, v in artifact.arrays.items()}
    for split, codes in unpacked.items():
        if len(codes) != len(images.splits.get(split, ())):
            raise RunError(f"codes of {split!r} do not match the data; run notebook 04_hashing_network again")
    return unpacked


# ---------------------------------------------------------------------------------------------- evaluation


def evaluate(run: Run, images: ImageSet, kind: str = "semantic", queries: str = "query") -> dict[str, Any]:
    """Every metric of `shc.metrics.evaluate` for one query split against the database, with per-query values."""
    codes = load_codes(run, images, kind)
    labels = {split: images.split(split)[1] for split in (queries, "database")}
    return metrics.evaluate(
        codes[queries], codes["database"], labels[queries], labels["database"],
        hierarchy=label_sets.graded_tree(images), per_query=True,
    )  # fmt: skip


def run_all(
    run: Run,
    data: Data,
    classifier: ClassifierConfig,
    centers: CentersConfig,
    hasher: HasherConfig,
    similarity_config: SimilarityConfig | None = None,
    kinds: tuple[str, ...] = ("semantic", "random"),
) -> dict[str, float]:
    """The whole sequence in one process, without notebooks: mAP@ALL of the query split for every kind of centers."""
    images = start(run, data)
    for _ in train_classifier(run, images, classifier):
        pass
    class_similarity(run, images, similarity_config or SimilarityConfig())
    found = {}
    for kind in kinds:
        for _ in optimize_centers(run, images, centers.with_(kind=kind)):
            pass
        for _ in train_hasher(run, images, hasher, kind):
            pass
        found[kind] = evaluate(run, images, kind)["mAP@ALL"]
    run.add_results(mAP={kind: round(value, 6) for kind, value in found.items()})
    return found
