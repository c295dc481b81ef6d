"""Where networks are computed: which device, with which settings, how fast, and in how much memory.

Settings that torch keeps for the whole process (threads, random state, deterministic algorithms) are changed inside
`with` blocks and are as before after them; no environment variable is written.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS always adds in the same order
GAIN = 0.95  # a number format is taken for speed if a step takes at most this share of a float32 step


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda" where a GPU answers, else "cpu"; check any other name.

    Raises ValueError naming the device if it does not exist on this machine, or does not compute.

    >>> resolve_device("cpu")
    'cpu'
    """
    if not isinstance(device, str | torch.device):
        raise ValueError(f"device={device!r} is none; use 'cpu', 'cuda' or 'auto'")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()  # "meta" exists, but holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = torch.cuda.device_count()
        there = f"; this machine has {gpus} GPU(s), cuda:0 to cuda:{gpus - 1}" if gpus else ""
        raise ValueError(
            f"device={device!r} is not usable here ({str(error).splitlines()[0]}); use 'cpu', 'cuda' or 'auto'{there}"
        ) from error
    return device


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Run the block with `count` torch threads and restore the user's setting after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(wanted: bool, device: str = "cpu") -> Iterator[None]:
    """Run the block with torch's deterministic algorithms if they are wanted, and restore the user's settings after it.

    Raises ValueError on a GPU if cuBLAS was not told to compute the same way each time when Python started.
    """
    if not wanted:
        yield
        return
    given = os.environ.get("CUBLAS_WORKSPACE_CONFIG", "")
    if torch.device(device).type == "cuda" and given not in WORKSPACES:
        raise ValueError(
            f"deterministic=True on a GPU needs CUBLAS_WORKSPACE_CONFIG={WORKSPACES[0]} in the environment (it is "
            f"{given!r} now); set it before Python starts, or leave deterministic=False"
        )
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    before_cudnn = cudnn.deterministic, cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = before_cudnn


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Run the block with torch's random state (dropout draws from it) set by a seed; the user's is back after it."""
    generators = [torch.default_generator]
    if (where := torch.device(device)).type == "cuda":
        generators.append(
            torch.cuda.default_generators[torch.cuda.current_device() if where.index is None else where.index]
        )
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def to_device(x: Tensor, device: str) -> Tensor:
    """The tensor on the device; the host does not wait for a copy to a GPU."""
    if torch.device(device).type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def memory_used(device: str) -> int:
    """Bytes: the most that tensors have taken on a GPU so far, or what this process holds in main memory."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # where there is no /proc: the most so far
    return most if sys.platform == "darwin" else most * 1024


def fastest(tries: Mapping[str, Callable[[], object]], device: str, times: int = 5) -> str:
    """Name of the try that takes the least time: the median of some calls in turn, after two to warm up.

    The first try counts as the usual one: another must be clearly faster (`GAIN`) to be taken for it. One that raises
    RuntimeError, because the device cannot compute so, is left out.

    >>> import time
    >>> fastest({"usual": lambda: time.sleep(0.02), "quick": lambda: None}, "cpu")
    'quick'
    """
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    usual = next(iter(tries))
    seconds: dict[str, list[float]] = {name: [] for name in tries}
    for turn in range(2 + times):
        for name, call in tries.items():
            wait()
            began = time.perf_counter()
            try:
                call()
                wait()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                if name == usual:
                    raise
                seconds[name] = [float("inf")]
            if turn >= 2:
                seconds[name].append(time.perf_counter() - began)
    found = {name: statistics.median(values) for name, values in seconds.items()}
    quickest = min(found, key=lambda name: found[name])
    return quickest if found[quickest] <= GAIN * found[usual] else usual
