"""What the processes of benchmarks/training.py run: nets, passes, steps and trainings, ours and the plain loop's."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import plain_loop
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from shc import datasets, label_sets, models
from shc.config import ClassifierConfig
from shc.datasets import ImageSet
from shc.devices import cpu_threads
from shc.pipeline import KERNEL
from shc.schedule import Schedule
from shc.stages import positions
from shc.tasks import new_classifier
from shc.training import fit, predict

SETTINGS = KERNEL
UNSET = dict.fromkeys(SETTINGS, "")
CLASSES = 100
NETS = {  # name: (builder, image size, batch, steps in one turn on a CPU); the last ones for a GPU, or --full
    "cnn": (lambda: models.backbone("cnn"), 32, 128, 8),
    "cnn_wide": (lambda: models.SmallCNN(128).to(memory_format=torch.channels_last), 32, 128, 4),
    "resnet18": (lambda: models.backbone("resnet18", size=32), 32, 64, 2),
    "resnet34": (lambda: models.backbone("resnet34", size=224), 224, 32, 1),
}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


class Arm:
    """A process of its own, with its own environment, in which functions of this file are called one at a time."""

    def __init__(self, settings: dict[str, str]) -> None:
        before = {name: os.environ.get(name, "") for name in settings}
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            set_environment(settings)
            self(torch.get_num_threads)  # starts it
        finally:
            set_environment(before)

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.pool.submit(function, *args).result()

    def close(self) -> None:
        self.pool.shutdown()


def set_environment(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value


def new_net(name: str, layout: str = "channels_last") -> nn.Module:
    torch.manual_seed(0)
    return models.Classifier(NETS[name][0](), CLASSES).to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]


def random_images(size: int, count: int) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, S, S] and int64 [N]."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draws)
    return images, torch.randint(0, CLASSES, (count,), generator=draws)


def seconds(call: Callable[[], Any], device: str = "cpu") -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


@cache
def passes(net: str, dtype: str, layout: str, batch: int, device: str) -> dict[str, Callable[[], Any]]:
    """Forward, and forward + backward, of one batch that lies ready; and how many operations both take."""
    model, (images, labels) = new_net(net, layout).to(device).train(), random_images(NETS[net][1], batch)
    x = (images.float() / 127.5 - 1).to(device, memory_format=LAYOUTS[layout])
    y = labels.to(device)

    def forward() -> Tensor:
        with torch.autocast(device, torch.bfloat16, dtype == "bfloat16"):
            return model(x)

    def both() -> None:
        model.zero_grad()
        nn.functional.cross_entropy(forward().float(), y).backward()

    return {"forward": forward, "forward + backward": both}


def pass_rates(
    net: str, dtype: str, layout: str, batch: int, count: int, device: str, threads: int
) -> dict[str, float]:
    """Images/s of `count` passes each."""
    with cpu_threads(threads):
        found = {}
        for name, run in passes(net, dtype, layout, batch, device).items():
            run()
            found[name] = batch * count / seconds(lambda run=run: [run() for _ in range(count)], device)  # type: ignore[misc]
    return found


def our_steps(net: str, dtype: str, batch: int, count: int, device: str, threads: int) -> float:
    """Images/s of `count` steps of `fit` with augmentation."""
    schedule = Schedule(epochs=1, batch=batch, dtype=dtype, device=device, threads=threads)
    data = random_images(NETS[net][1], batch * count)
    steps = fit(new_net(net), label_sets.classification_loss, *data, schedule, record_every=50)
    return batch * count / seconds(lambda: list(steps), device)


@cache
def plain_epochs(net: str, batch: int, count: int, workers: int, device: str) -> Iterator[float]:
    """A plain training that does not end, an epoch of `count` steps at a time."""
    data = random_images(NETS[net][1], batch * count)
    schedule = Schedule(epochs=10**6, batch=batch, device=device)
    return plain_loop.train(new_net(net, "contiguous"), *data, schedule, workers)


def plain_steps(net: str, batch: int, count: int, workers: int, device: str) -> float:
    """Images/s of `count` steps of the plain loop with loading and transforms; its workers are started before."""
    return batch * count / seconds(lambda: next(plain_epochs(net, batch, count, workers, device)), device)


def matmul_rate(dtype: str, device: str, threads: int) -> float:
    """Operations per second of a product of two square matrices: the best of a few sizes."""
    found = 0.0
    for size in (4096, 8192) if device == "cuda" else (512, 1024, 2048):
        a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
        with cpu_threads(threads):
            _ = a @ b
            found = max(found, 2 * size**3 / min(seconds(lambda a=a, b=b: a @ b, device) for _ in range(5)))  # type: ignore[misc]
    return found


def operations(net: str) -> float:
    """Floating-point operations of forward + backward, per image."""
    with FlopCounterMode(display=False) as counter:
        passes(net, "float32", "contiguous", 2, "cpu")["forward + backward"]()
    return counter.get_total_flops() / 2


@cache
def emoji(scale: float) -> ImageSet:
    return datasets.load("emoji", scale=scale)


def emoji_data(scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and class positions of train and val."""
    (x, labels), (x_val, labels_val) = emoji(scale).split("train"), emoji(scale).split("val")
    assert isinstance(x, Tensor) and isinstance(x_val, Tensor)  # emoji is never lazy
    return x, positions(emoji(scale), labels), x_val, positions(emoji(scale), labels_val)


@cache
def training(loop: str, schedule: Schedule, scale: float, workers: int) -> Iterator[float]:
    """A whole training; top-1 on val after each epoch."""
    x, y, x_val, y_val = emoji_data(scale)
    model = new_classifier(emoji(scale), ClassifierConfig(seed=schedule.seed))
    if loop == "plain":
        model = model.to(memory_format=torch.contiguous_format)
        yield from plain_loop.train(model, x, y, schedule, workers, (x_val, y_val))
        return
    where: dict[str, Any] = dict(device=schedule.device, threads=schedule.threads)
    scored = lambda net: label_sets.score(predict(net, x_val, **where), y_val)
    for record in fit(model, label_sets.classification_loss, x, y, schedule, evaluate=scored, record_every=50):
        if record["val"] is not None:
            yield record["val"]


def one_epoch(*of: Any) -> tuple[float, float]:
    """Seconds of the training's next epoch with its validation, and the accuracy after it."""
    emoji_data(of[2])  # rendered or read before the clock starts
    started = time.perf_counter()
    value = next(training(*of))
    return time.perf_counter() - started, value
