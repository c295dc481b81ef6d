"""One training loop for every network of the package, written as a generator of records.

The caller draws, prints or stops; the loop only trains. Facts that matter: the data set is one uint8 tensor, moved to
the device once, augmented there in batches (`shc.augmentation`); every epoch draws its order and augmentation from
(seed, epoch), so that a run resumed from a checkpoint takes the same path as one that was never stopped; on a GPU the
host waits for the device only to make a record; the returned weights are those of the epoch with the best validation
value.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from shc import failures
from shc.augmentation import to_float
from shc.datasets.streams import LazyImages
from shc.devices import cpu_threads, deterministic, memory_used, resolve_device, to_device
from shc.schedule import Schedule
from shc.training_state import Progress, Record, pack, unpack
from shc.training_step import Loss, Stepper, batches

RECORD_EVERY = {"cpu": 10, "cuda": 50}  # steps: on a GPU every record makes the host wait
ON_DEVICE = 2**30  # bytes of predictions that are collected on the device


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor | LazyImages,
    *,
    device: str = "cpu",
    batch: int = 500,
    threads: int = 2,
    keep: bool = False,
) -> Tensor:
    """Run the model in evaluation mode over uint8 images [N, 3, S, S] → float32 outputs [N, …] on the CPU.

    Features [N, D], a float tensor, are passed on as they are; lazy images are made batch by batch. On a GPU the
    outputs come back in one copy at the end, up to a gigabyte of them; with `keep` they stay there.

    Raises `shc.failures.OutOfMemory` and `DeviceLost`.
    """
    was_training, device = model.training, resolve_device(device)
    model.to(device).eval()
    images = images.to(device) if isinstance(images, LazyImages) else images
    passing = f"while {len(images):,} images passed through the network, {batch} at a time"
    with cpu_threads(threads), failures.device_told(device, passing, lambda: "their outputs are lost"):
        rows = torch.arange(len(images), device=None if isinstance(images, LazyImages) else images.device).split(batch)
        found: Tensor | None = None  # one tensor: many small ones between large batches would leave holes in memory
        first = 0
        for x in batches(images, rows):
            x = to_device(x, device)
            outputs = model(to_float(x) if x.dtype == torch.uint8 else x).float()
            if found is None:
                shape = (len(images), *outputs.shape[1:])
                there = keep or 4 * len(images) * outputs[:1].numel() <= ON_DEVICE
                found = torch.empty(shape, device=device if there else "cpu")
            found[first : first + len(outputs)] = outputs
            first += len(outputs)
    model.train(was_training)
    assert found is not None  # there is always a batch, at least an empty one
    return found if keep else found.cpu()


def fit(
    model: nn.Module,
    loss: Loss,
    images: Tensor | LazyImages,
    labels: Tensor,
    schedule: Schedule,
    *,
    evaluate: Callable[[nn.Module], float] | None = None,
    checkpoint: Any = None,
    record_every: int | None = None,
    augmented: bool = True,
    state: nn.Module | None = None,
    end_of_epoch: Callable[[int], None] | None = None,
) -> Iterator[Record]:
    """Train `model` in place and yield a record every few steps and at the end of every epoch.

    `images` uint8 [N, 3, S, S] in a tensor, or lazy; `labels` int64 [N]; `loss(outputs, labels)` returns the scalar
    to minimise and its named terms; `evaluate(model)` returns the validation value (higher is better) by which the
    epoch is chosen: when the generator is exhausted the model holds the best epoch's weights. `checkpoint` (see
    `shc.runs.Checkpoint`) keeps the state of every finished epoch; with one, the records made before are yielded again
    and training goes on after, in the number format and batch that were found for it before.
    `record_every` is in steps, by default 10, and 50 on a GPU.
    Without `augmented`, `images` are features [N, D], taken as they are. `state` holds what else the loss remembers,
    kept in the checkpoint; `end_of_epoch(epoch)` is called before each validation.

    In a process group (`shc.launch`) each process computes its slice of every batch; orders, draws, loss and choice of
    the epoch are the same in all, and the first one keeps the checkpoint. Batch norm sees the slices only.

    Raises ValueError for an empty training set, a device that does not exist, or a batch that the processes cannot
    share equally; FloatingPointError when the loss is no longer finite (on a GPU seen at the next record; the step is
    the right one); `shc.failures.OutOfMemory` and `DeviceLost`. The model then holds the best epoch's weights, if there
    is one.

    >>> x, y = torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> step = lambda out, y: (nn.functional.cross_entropy(out, y), {})
    >>> [r["epoch"] for r in fit(net, step, x, y, Schedule(epochs=2, batch=8))]
    [1, 2]
    """
    step = Stepper(model, loss, images, labels, schedule, augmented, state)
    model, device, every = step.model, step.device, record_every or RECORD_EVERY.get(step.kind, 10)
    progress = Progress()
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        tensors, meta = saved
        best = unpack(tensors, model, step.optimizer, state)
        progress = Progress(meta["history"], best, meta["best"], meta["epoch"], meta["seconds"])
        step.dtype, step.batch = meta.get("dtype", step.dtype), meta.get("batch", step.batch)
        yield from progress.history
    if step.ranks.agree(progress.epochs, device) != progress.epochs:
        raise ValueError("the processes found different checkpoints; start them where they share the run folder")
    done = progress.steps
    step.start(done)
    kept, started = partial(progress.kept, model, checkpoint is not None), time.perf_counter()
    for epoch in range(progress.epochs, schedule.epochs):
        step.begin(epoch)
        epoch_started = time.perf_counter()
        while step.more:
            with failures.device_told(device, f"at step {done + 1}", kept):
                made = step.take()
            if made is None:
                step.halve(kept)
                continue
            done, (total, terms), last = done + 1, made, not step.more
            if (done - 1) % every and not last and step.bad is None:
                continue
            with failures.device_told(device, f"at step {done}", kept), deterministic(schedule.deterministic, device):
                bad, value = step.bad or step.watch.found(), total.item()
                if last and bad is None and not failures.finite(model):
                    bad = done, value
                if bad is not None:
                    raise failures.not_finite(*bad, epoch=epoch + 1, lr=schedule.lr, what=kept())
                rate = step.at / (time.perf_counter() - epoch_started)
                if last:
                    step.ranks.share_buffers(model)
                if last and end_of_epoch is not None:
                    end_of_epoch(epoch + 1)
                val = None
                if last and evaluate and ((epoch + 1) % schedule.eval_every == 0 or epoch + 1 == schedule.epochs):
                    val = step.ranks.agree(evaluate(model), device)
                    progress.judge(val, model)
                seconds = progress.seconds + time.perf_counter() - started
                share = (epoch + (1 if last else step.at / step.usable)) / schedule.epochs
                record = dict(
                    step=done, epoch=epoch + 1, loss=value, terms={name: term.item() for name, term in terms.items()},
                    steps=done + ((schedule.epochs - epoch) * step.usable - step.at) // step.batch,
                    lr=step.optimizer.param_groups[-1]["lr"], val=val, images_per_second=rate, seconds=seconds,
                    left=seconds * (1 - share) / share, memory=memory_used(device), device=device, dtype=step.dtype,
                    batch=step.batch,
                )  # fmt: skip
                if step.batch < step.wanted:
                    record["batch_wanted"] = step.wanted
                if step.ranks.size > 1:
                    record["processes"] = step.ranks.size
                progress.history.append(record)
                progress.epochs = epoch + last
                if last and checkpoint is not None and step.ranks.first:
                    facts = dict(epoch=epoch + 1, seconds=seconds, dtype=step.dtype, batch=step.batch)
                    checkpoint.save(
                        pack(model, progress.best, step.optimizer, state),
                        dict(history=progress.history, best=progress.best_value, **facts),
                    )
            yield record
    if progress.best:
        model.load_state_dict(progress.best)


def time_to(history: Sequence[Record], value: float) -> float | None:
    """Seconds of training after which the validation value first was at least `value`; None if it never was.

    >>> time_to([dict(seconds=1.0, val=None), dict(seconds=2.0, val=0.5), dict(seconds=4.0, val=0.8)], 0.6)
    4.0
    """
    return next((r["seconds"] for r in history if r["val"] is not None and r["val"] >= value), None)
