"""What a training consists of besides its records: optimizer and weights, and both as the tensors of a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from shc.runs import RunError
from shc.schedule import OPTIMIZERS, Schedule


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
