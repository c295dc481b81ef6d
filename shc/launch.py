"""Several processes that train one network: start them here, or join those that torchrun has started.

Each process takes its slice of the same batch; the outputs are put together again, so that every process computes the
loss of the whole batch, pairs and memories included, and DistributedDataParallel averages the gradients. The result is
that of one process to float rounding, except where a network looks at its batch by itself: batch norm takes the mean
and variance of a process's own slice, and its running averages are those of the first process.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from shc.runs import RunError, atomic_write, read_arrays, write_arrays

RESULT = "result.safetensors"  # of the first process


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together; alone, every method leaves things as they are."""

    rank: int = 0
    size: int = 1
    grouped: bool = False  # a process group is there, be it of one process

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """The rows of a batch that are this process's; ValueError if the batch cannot be divided equally.

        >>> Ranks(1, 4).part(12)
        slice(3, 6, None)
        """
        if batch % self.size:
            raise ValueError(
                f"a batch of {batch} images cannot be divided among {self.size} processes; set batch to a multiple of "
                f"{self.size}, or change --nproc"
            )
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes, which all start from the first one's weights."""
        if not self.grouped and self.size == 1:
            return model
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", self.size)), torch.cuda.device_count()
        if next(model.parameters()).is_cuda and here > gpus:
            raise ValueError(
                f"{here} processes on a machine with {gpus} GPU(s); start one per GPU, or use device='cpu'"
            )
        return nn.parallel.DistributedDataParallel(model)

    def gather(self, outputs: Tensor) -> Tensor:
        """Outputs [n, …] of every process as [size · n, …], in the batch's order; gradients flow to this one's rows.

        All processes compute the same loss from them, so each holds the whole gradient of its own rows already. They
        are multiplied by the number of processes, by which DistributedDataParallel then divides the sum.
        """
        if not self.grouped and self.size == 1:
            return outputs
        parts = [torch.empty_like(outputs, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, outputs.detach().contiguous())
        if outputs.requires_grad:
            outputs.register_hook(lambda gradient: gradient * self.size)
        parts[self.rank] = outputs
        return torch.cat(parts)

    def agree(self, value: float, device: str = "cpu") -> float:
        """The first process's value."""
        if self.size == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(told, src=0)
        return told.item()

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers, such as the running averages of batch norm."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def ranks() -> Ranks:
    """This process's place: alone unless torch.distributed is initialized."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size(), grouped=True)
    return Ranks()


def launch(fn: Callable[..., Any], nproc: int | None, *args: Any) -> Any:
    """Call `fn(*args)` in `nproc` processes that can train together, and return what the first one returned.

    They talk by gloo on the CPU and by NCCL on GPUs, of which each process takes one. With one process `fn` is called
    here. Under torchrun this process joins the others instead (nproc may then be None), and only the first one gets the
    result, which consists of numbers, texts, lists, tuples, dicts, arrays and tensors. `fn` must stand in a module,
    because new processes import it.

    Raises ValueError for a function of a notebook or a bad number, RunError with the message of the process that failed
    first; the others are ended.
    """
    if (world := torchrun_size()) is not None:
        if nproc not in (None, world):
            raise ValueError(f"nproc={nproc}, but torchrun started {world} processes; leave --nproc out under torchrun")
        with _group("env://", int(os.environ["RANK"]), world):
            result = fn(*args)
        return result if int(os.environ["RANK"]) == 0 else None
    if nproc is not None and (isinstance(nproc, bool) or not isinstance(nproc, int) or nproc < 1):
        raise ValueError(f"nproc={nproc!r} must be a whole number of at least 1")
    if nproc in (None, 1):
        return fn(*args)
    _check_importable(fn)
    return _spawn(fn, int(nproc or 1), args)


def torchrun_size() -> int | None:
    """How many processes torchrun started, None if it did not start this one."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and not dist.is_initialized():
        return int(os.environ["WORLD_SIZE"])
    return None


def _spawn(fn: Callable[..., Any], nproc: int, args: tuple[Any, ...]) -> Any:
    from pickle import PicklingError  # raised where multiprocessing sends `fn` to the processes it starts

    from torch import multiprocessing
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # its word on every process that it ends
    with tempfile.TemporaryDirectory(prefix="shc-launch-") as folder:  # that nobody else may enter
        place = Path(folder)
        try:
            running = multiprocessing.spawn(_child, (nproc, folder, fn, args), nproc, join=False)
        except (PicklingError, TypeError, AttributeError) as error:
            raise ValueError(f"the arguments of {fn.__name__} cannot be sent to new processes ({error})") from error
        try:
            while not running.join(timeout=0.2):
                pass
        except (ProcessExitedException, ProcessRaisedException) as error:
            failed = sorted(place.glob("failed-*.txt"), key=lambda file: file.stat().st_mtime_ns)
            rank, reason = error.error_index, _how_it_ended(error)
            if failed:
                rank, reason = int(failed[0].stem.partition("-")[2]), failed[0].read_text(encoding="utf-8")
            raise RunError(f"process {rank} of {nproc} failed: {reason}") from error
        except BaseException:  # Ctrl-C
            for process in running.processes:
                process.terminate()
            for process in running.processes:
                process.join()
            raise
        arrays, told = read_arrays(place / RESULT)
    return _unpacked(told["result"], arrays)


def _child(rank: int, nproc: int, folder: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """What a started process does: join, work, and leave the result, or the reason of its failure, in the folder."""
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(nproc)}
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are all on this machine
    place = Path(folder)
    store = (place / "rendezvous").as_uri()  # a file: no port that another could take in the meantime
    try:
        with _group(store, rank, nproc):
            result = fn(*args)
        if rank == 0:
            arrays: dict[str, np.ndarray] = {}
            write_arrays(place / RESULT, arrays, {"result": _packed(result, arrays)})
    except Exception as error:
        kind = "" if isinstance(error, RunError | ValueError) else f"{type(error).__name__}: "
        text = kind + str(error)
        atomic_write(place / f"failed-{rank}.txt", lambda f: f.write_text(text, encoding="utf-8"))
        sys.exit(1)


def _packed(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A result as JSON, arrays and tensors apart in `arrays`; TypeError for what is neither.

    >>> arrays = {}
    >>> _packed((1, {"x": np.zeros(2)}), arrays), list(arrays)
    ({'tuple': [1, {'dict': {'x': {'array': '0'}}}]}, ['0'])
    """
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(part, arrays) for part in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _packed(part, arrays) for name, part in value.items()}}
    if isinstance(value, np.ndarray | Tensor):
        name = str(len(arrays))
        arrays[name] = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return {"tensor" if isinstance(value, Tensor) else "array": name}
    raise TypeError(f"a {type(value).__name__} cannot be sent back from another process; return numbers and arrays")


def _unpacked(told: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What `_packed` packed."""
    if not isinstance(told, dict):
        return told
    ((kind, value),) = told.items()
    if kind == "dict":
        return {name: _unpacked(part, arrays) for name, part in value.items()}
    if kind in ("array", "tensor"):
        return arrays[value] if kind == "array" else torch.from_numpy(arrays[value])
    parts = [_unpacked(part, arrays) for part in value]
    return tuple(parts) if kind == "tuple" else parts


@contextmanager
def _group(address: str, rank: int, size: int) -> Iterator[None]:
    """Be one of a group of processes; if the work fails, this process is about to end and leaves without a word."""
    local, together = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    backend = backend_for(together)
    if "nccl" in backend:
        torch.cuda.set_device(local)
    dist.init_process_group(backend, init_method=address, rank=rank, world_size=size)
    yield
    dist.destroy_process_group()


def backend_for(together: int) -> str:
    """How `together` processes on this machine talk: NCCL for tensors on GPUs if each has one of its own, else gloo."""
    if 0 < together <= torch.cuda.device_count() and dist.is_nccl_available():
        return "cpu:gloo,cuda:nccl"
    return "gloo"


def _how_it_ended(error: Any) -> str:
    signal_name = getattr(error, "signal_name", None)
    if signal_name:
        return f"it was ended by {signal_name} (often for memory); use fewer processes or a smaller batch"
    return str(error).strip().splitlines()[-1]


def _check_importable(fn: Callable[..., Any]) -> None:
    """Raise ValueError for a function that new processes could not import."""
    name = getattr(fn, "__qualname__", repr(fn))
    main = sys.modules["__main__"]
    interactive = getattr(fn, "__module__", None) == "__main__" and getattr(main, "__file__", None) is None
    if interactive or "<" in name:
        where = "in a notebook or at a prompt" if interactive else "inside another function"
        raise ValueError(
            f"{name} is defined {where}, where new processes cannot import it; move it to the top of a .py file and "
            "import it from there"
        )
