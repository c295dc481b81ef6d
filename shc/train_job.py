"""Training one stage of a run in one or several processes: what `shc train` does, alone or under torchrun.

Parameters are those of notebooks 01 and 04, by their names there; a run that exists brings its own. Every process goes
through the same steps (`shc.stages`), and only the first one writes and prints.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from shc.config import CENTER_KINDS, ClassifierConfig, Data, HasherConfig
from shc.launch import Ranks, launch, ranks
from shc.parameters import Parameter, ParameterError, parse_settings
from shc.runs import Checkpoint, Run, artifact_key, read_meta

STAGES = {"classifier": ClassifierConfig, "hasher": HasherConfig}
PREFIX = "hasher_"  # of the notebook's parameters that the classifier has too
PREFIXED = ("epochs", "lr", "seed", "features", "backbone_lr")


def train(
    run: str | Path,
    stage: str,
    *,
    nproc: int | None = None,
    settings: Sequence[str] = (),
    device: str | None = None,
    kind: str = "semantic",
) -> str | None:
    """Train a run's "classifier" or "hasher" in `nproc` processes; a line about the result, None if not the first.

    `settings` are `name=value` texts; `kind` names the centers that a hasher is trained towards. Raises ParameterError
    for what a notebook would refuse, RunError if an earlier stage is missing or a process fails.
    """
    if stage not in STAGES:
        raise ParameterError(f"--stage {stage!r} is unknown; choose {' or '.join(STAGES)}")
    if kind not in CENTER_KINDS:
        raise ParameterError(f"--centers {kind!r} is unknown; choose one of {', '.join(CENTER_KINDS)}")
    if nproc is not None and nproc < 1:
        raise ParameterError(f"--nproc {nproc}: give 1 or more")
    data, config = configs(Run(run), stage, settings, device, kind)
    return launch(train_here, nproc, str(run), stage, data, config, kind)


def configs(run: Run, stage: str, settings: Sequence[str], device: str | None, kind: str) -> tuple[Any, Any]:
    """The data and training parameters: the defaults, over them the run's own, over them `settings`."""
    suffix = "" if kind == "semantic" or stage == "classifier" else f"-{kind}"
    stored = run.parameters()
    parts: dict[type, Mapping[str, Any]] = {
        Data: stored.get("data", {}),
        STAGES[stage]: stored.get(f"{stage}{suffix}", stored.get(stage, {})),
    }
    if stage == "hasher" and not parts[Data]:
        from shc.stages import images_of

        images_of(run)  # raises that there is none
    if stage == "hasher":
        parts = {kind: values for kind, values in parts.items() if kind is not Data}  # chosen with the classifier
    known = {p.name: p for step in parts for p in _parameters(step, stage)}
    given = parse_settings(settings, {stage: known}) | ({"device": device} if device else {})
    made = []
    for step, values in parts.items():
        own = {f.name: given[_public(f.name, stage)] for f in fields(step) if _public(f.name, stage) in given}
        try:
            made.append(step(**(dict(values) | own)))
        except (TypeError, ValueError) as error:
            raise ParameterError(f"the {stage} cannot be trained so: {error}") from error
    return (None, made[0]) if stage == "hasher" else (made[0], made[1])


def train_here(run: str, stage: str, data: Data | None, config: Any, kind: str) -> str | None:
    """This process's part of the training."""
    place = ranks()
    folder = Run(run) if place.first else Onlooker(run)
    with folder.alone():
        return _train_here(folder, place, stage, data, config, kind)


def _train_here(folder: Run, place: Ranks, stage: str, data: Data | None, config: Any, kind: str) -> str | None:
    from shc import features, stages

    if not place.first:
        place.wait()  # until the first one has rendered and kept the images
    images = stages.start(folder, data) if data is not None else stages.images_of(folder)
    features.compute_first(folder, images, config)
    if place.first:
        place.wait()
    if stage == "classifier":
        records = stages.train_classifier(folder, images, config)
    else:
        records = stages.train_hasher(folder, images, config, kind)
    file = folder.file(stage, "" if stage == "classifier" else stages.variant_of(kind))
    made = file.stat().st_mtime_ns if file.exists() else None
    for record in records:
        if place.first and record["val"] is not None:
            print(progress_line(record, config.epochs), flush=True)
    place.wait()  # what the first one wrote is there for whatever comes next
    if not place.first:
        return None
    facts = read_meta(file)["extra"]
    last = facts["history"][-1] if facts["history"] else {"seconds": 0.0}
    together = f" in {last['processes']} processes" if "processes" in last else ""
    again = "" if made != file.stat().st_mtime_ns else "; it was there already, made with these parameters"
    return f"{file}: best on val {facts['best_val']:.4f}, {last['seconds']:.0f} s{together}{again}"


def progress_line(record: Mapping[str, Any], epochs: int) -> str:
    """What `shc train` prints of a validated epoch.

    >>> progress_line(dict(epoch=1, loss=2.0, val=0.5, images_per_second=900.0, left=60.4, memory=2**30), 20)
    'epoch 1/20  loss 2.0000  val 0.5000  900 images/s, about 60 s left, 1,024 MB of memory'
    """
    told = f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.4f}  val {record['val']:.4f}  "
    told += f"{record['images_per_second']:,.0f} images/s"
    if "left" in record:  # records of earlier versions know neither this nor the memory
        told += f", about {record['left']:.0f} s left, {record['memory'] / 2**20:,.0f} MB of memory"
    smaller = f", batch {record['batch']}: {record['batch_wanted']} did not fit" if "batch_wanted" in record else ""
    return told + smaller


class Onlooker(Run):
    """A run folder as the processes beside the first one see it: they read, and write nothing."""

    def save(
        self, name: str, arrays: Any, *, parameters: Any, fingerprint: str, inputs: Any = None, **rest: Any
    ) -> str:
        """Only the key that the artifact would have."""
        return artifact_key(parameters, fingerprint, inputs or {})

    def alone(self) -> AbstractContextManager[None]:
        """Nothing: it is the first process that holds the folder."""
        return nullcontext()

    def add_parameters(self, step: str, values: Any) -> None:
        """Nothing."""

    def add_results(self, **values: Any) -> None:
        """Nothing."""

    def checkpoint(self, name: str, key: str) -> Checkpoint:
        """The same checkpoint, to be read only."""
        return ReadOnly(super().checkpoint(name, key).file, key)


class ReadOnly(Checkpoint):
    """A checkpoint that another process keeps."""

    def save(self, tensors: Any, state: Any) -> None:
        """Nothing."""

    def remove(self) -> None:
        """Nothing."""


def _public(name: str, stage: str) -> str:
    """A field's name among the notebooks' parameters."""
    return PREFIX + name if stage == "hasher" and name in PREFIXED else name


def _parameters(step: type, stage: str) -> list[Parameter]:
    """The fields of a step as parameters that can be set."""
    defaults = asdict(step())
    return [
        Parameter(_public(name, stage), type(value).__name__, value, f"of the {stage}")
        for name, value in defaults.items()
    ]
