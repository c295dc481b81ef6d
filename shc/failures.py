"""What can go wrong while a network is trained, told in a sentence: what is kept, and what to do.

A loss that is no number any more, memory that runs out on the device, a device that stops answering.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from shc.runs import RunError

# how the errors of a GPU that stopped working begin; torch.AcceleratorError covers most of them
LOST = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS", "NCCL", "HIP error")


class OutOfMemory(RunError):
    """A step does not fit into the device's memory; the message says what does."""


class DeviceLost(RunError):
    """The device stopped computing in the middle of a training."""


class LossWatch:
    """Finds the first step whose loss is no finite number; it stays on the device, so that nobody waits for it."""

    def __init__(self, device: str, step: int = 0) -> None:
        """`step` is the number of steps made before."""
        self.step = torch.full((), step, dtype=torch.int64, device=device)
        self.bad_step = torch.zeros((), dtype=torch.int64, device=device)
        self.bad_loss = torch.zeros((), device=device)

    def see(self, loss: Tensor) -> None:
        """Look at the loss (a scalar tensor) of the next step."""
        self.step += 1
        first = (self.bad_step == 0) & ~torch.isfinite(loss)
        self.bad_step = torch.where(first, self.step, self.bad_step)
        self.bad_loss = torch.where(first, loss.float(), self.bad_loss)

    def found(self) -> tuple[int, float] | None:
        """The first bad step (counted from 1) and its loss; None if all were good. Waits for the device.

        >>> watch = LossWatch("cpu")
        >>> for loss in (1.0, float("inf"), float("nan")):
        ...     watch.see(torch.tensor(loss))
        >>> watch.found()
        (2, inf)
        """
        step = int(self.bad_step)
        return (step, self.bad_loss.item()) if step else None


def finite(model: nn.Module) -> bool:
    """Whether all weights are finite numbers."""
    checks = [torch.isfinite(p.detach()).all() for p in model.parameters()]
    return bool(torch.stack(checks).all()) if checks else True


def kept(epoch: int, checkpoint: bool, best: int) -> str:
    """What is left of a training that stopped after `epoch` finished epochs; `best` is the best one, 0 if none was.

    >>> kept(0, True, 0)
    'no epoch was finished, so nothing is kept'
    >>> kept(3, True, 2)
    'the checkpoint of epoch 3 is kept, and the weights of epoch 2, the best one'
    """
    parts = [f"the checkpoint of epoch {epoch} is kept"] if epoch and checkpoint else []
    parts += [f"the weights of epoch {best}, the best one"] if best else []
    if not parts:
        return (
            "no checkpoint was asked for, so nothing is kept" if epoch else "no epoch was finished, so nothing is kept"
        )
    return ", and ".join(parts) if len(parts) == 2 or (epoch and checkpoint) else f"{parts[0]}, are kept"


@contextmanager
def device_told(device: str, when: str, what: Callable[[], str]) -> Iterator[None]:
    """Turn errors of a device that failed in the block into OutOfMemory or DeviceLost.

    `when` names the work, as in "at step 3"; `what()` says what is kept.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"{device} ran out of memory {when} ({_first_line(error)}); {what()}. Free memory there, or set a smaller "
            "net or batch; the same command goes on from what is kept"
        ) from error
    except RuntimeError as error:
        text = _first_line(error)
        if not isinstance(error, torch.AcceleratorError) and not any(sign in text for sign in LOST):
            raise
        raise DeviceLost(
            f"{device} stopped working {when} ({text}); {what()}. Start Python (the notebook's kernel) anew "
            "and repeat the same command: it goes on from what is kept; device='cpu' does so without the device"
        ) from error


def too_large(
    device: str, batch: int, shape: tuple[int, ...], model: nn.Module, fits: int | None, what: str
) -> OutOfMemory:
    """The error for a batch that does not fit on the device; `fits` images do, None if nobody tried."""
    backbone = getattr(model, "backbone", model)
    net = type(getattr(backbone, "net", backbone)).__name__
    weights = sum(p.numel() for p in model.parameters())
    seen = f"{shape[-1]} pixels" if len(shape) == 4 else f"{shape[-1]} features"
    if fits:
        remedy = f"batch={fits} fits; set that, or auto_batch=True, which halves the batch until it does"
    elif fits == 0:
        remedy = "not even two images fit; choose a smaller net or size, or free memory on the device"
    else:
        remedy = "set a smaller batch"
    return OutOfMemory(
        f"batch={batch} images of {seen} do not fit into the memory of {device} with {net} ({weights / 1e6:.1f} "
        f"million weights); {remedy}. For now, {what}"
    )


def largest_batch(attempt: Callable[[int], object], batch: int) -> int:
    """The largest of batch // 2, batch // 4, … 2 for which `attempt` does not run out of device memory; 0 if none.

    One image is no batch: batch norm has no variance to divide by.

    >>> def attempt(n):
    ...     if n > 40:
    ...         raise torch.OutOfMemoryError
    >>> largest_batch(attempt, 128)
    32
    """
    while (batch := batch // 2) > 1:
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        try:
            attempt(batch)
            return batch
        except torch.OutOfMemoryError:
            pass
    return 0


@contextmanager
def undisturbed(*modules: nn.Module | None) -> Iterator[None]:
    """Let the block try steps with the modules; after it their buffers are as before, and there are no gradients."""
    there = [module for module in modules if module is not None]
    before = [[buffer.clone() for buffer in module.buffers()] for module in there]
    try:
        yield
    finally:
        for module, buffers in zip(there, before, strict=True):
            with torch.no_grad():
                for buffer, value in zip(module.buffers(), buffers, strict=True):
                    buffer.copy_(value)
            module.zero_grad(set_to_none=True)


def not_finite(step: int, loss: float, *, epoch: int, lr: float, what: str) -> FloatingPointError:
    """The error for a loss, or weights where the loss still was a number, that are not finite any more."""
    subject = "the weights became infinite or no numbers" if math.isfinite(loss) else f"the loss became {loss}"
    return FloatingPointError(
        f"{subject} at step {step} (epoch {epoch}); {what}. Lower lr (now {lr}) or check the images for constant or "
        "broken content"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
