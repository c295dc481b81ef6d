"""What a training remembers: its optimizer, its records, its best epoch, and all of it as a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from shc import failures
from shc.runs import RunError
from shc.schedule import OPTIMIZERS, Schedule

# step, epoch, steps, loss, terms, lr, val (None between validations), images_per_second, seconds, left, memory,
# device, dtype, batch
Record = dict[str, Any]


@dataclass
class Progress:
    """How far a training is: its records, and the weights of the epoch with the best validation value."""

    history: list[Record] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_value: float = float("-inf")
    epochs: int = 0  # finished
    seconds: float = 0.0  # that processes before this one took

    @property
    def steps(self) -> int:
        """Steps made until the last record."""
        return int(self.history[-1]["step"]) if self.history else 0

    def judge(self, value: float, model: nn.Module) -> None:
        """Keep the model's weights if their validation value is the best so far."""
        if value > self.best_value:
            self.best_value = value
            self.best = {name: weights.detach().clone() for name, weights in model.state_dict().items()}

    def kept(self, model: nn.Module, checkpoint: bool) -> str:
        """What a failure leaves; the model gets the best epoch's weights, so that its own may be lost."""
        judged = [r for r in self.history if r["val"] is not None]
        with suppress(RuntimeError):  # of a device that is gone
            model.load_state_dict(self.best or model.state_dict())
        epoch = max(judged, key=lambda r: r["val"])["epoch"] if self.best else 0
        return failures.kept(self.epochs, checkpoint, epoch)


def new_optimizer(model: nn.Module, schedule: Schedule, kind: str) -> torch.optim.Optimizer:
    """The schedule's optimizer for the model on a `kind` of device; backbone and the rest are groups of their own."""
    base = [p for n, p in model.named_parameters() if n.startswith("backbone.") and p.requires_grad]
    head = [p for n, p in model.named_parameters() if not n.startswith("backbone.") and p.requires_grad]
    groups = [dict(params=base, scale=schedule.backbone_lr), dict(params=head, scale=1.0)]
    options: dict[str, Any] = dict(lr=schedule.lr, weight_decay=schedule.weight_decay)
    if kind == "cuda" and schedule.optimizer == "adamw":
        options["fused"] = True  # one kernel for all weights; on the CPU it would round in another way
    return OPTIMIZERS[schedule.optimizer]([group for group in groups if group["params"]], **options)


def compiled(model: nn.Module) -> nn.Module:
    """The model in front of torch.compile; its weights are still those of `model`, under their own names.

    Raises RunError if torch cannot compile here.
    """
    with compile_told(True):
        try:
            return torch.compile(model)  # type: ignore[return-value]
        except RuntimeError as error:
            raise _cannot(error) from error


@contextmanager
def compile_told(wanted: bool) -> Iterator[None]:
    """Turn what torch.compile complains about, which it does at the first step, into a RunError."""
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        yield
    except (TorchDynamoException, InvalidCxxCompiler) as error:
        raise _cannot(error) from error


def _cannot(error: Exception) -> RunError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return RunError(
        f"compile=True: torch.compile cannot compile this network here ({lines[0] if lines else type(error).__name__})"
        ". It needs a C++ compiler on the CPU and Triton on a GPU; leave compile=False: training works, its steps are "
        "slower"
    )


def pack(
    model: nn.Module, best: dict[str, Tensor], optimizer: torch.optim.Optimizer, state: nn.Module | None
) -> dict[str, Tensor]:
    """All of it as named tensors, for a checkpoint; `best` are the weights of the best epoch so far."""
    found = {f"model.{k}": v for k, v in model.state_dict().items()}
    found |= {f"best.{k}": v for k, v in best.items()}
    for i, entry in optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{i}.{name}": torch.as_tensor(v) for name, v in entry.items()}
    return found | ({f"state.{k}": v for k, v in state.state_dict().items()} if state is not None else {})


def unpack(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, state: nn.Module | None
) -> dict[str, Tensor]:
    """Put `pack`ed tensors back where they were; returns the weights of the best epoch."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    model.load_state_dict(under("model."))
    if state is not None:
        state.load_state_dict(under("state."))
    whole = optimizer.state_dict()
    for key, value in under("optimizer.").items():
        index, name = key.split(".")
        whole["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(whole)
    return under("best.")
