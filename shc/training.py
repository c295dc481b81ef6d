"""One training loop for every network of the package, written as a generator of records.

The caller draws, prints or stops; the loop only trains. Facts that matter: the data set is one uint8 tensor, moved to
the device once, augmented there in batches (`shc.augmentation`); every epoch draws its order and augmentation from
(seed, epoch), so that a run resumed from a checkpoint takes the same path as one that was never stopped; on a GPU the
host waits for the device only to make a record; the returned weights are those of the epoch with the best validation
value.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from shc import failures, launch
from shc.augmentation import augment as augment  # this and what follows: others look for it here
from shc.augmentation import augmented as augmented_by
from shc.augmentation import draws_of, to_float
from shc.datasets.streams import LazyImages
from shc.devices import cpu_threads, deterministic, fastest, memory_used, resolve_device, seeded, to_device
from shc.schedule import Schedule, batch_factor, one_cycle
from shc.training_state import compile_told, compiled, new_optimizer, pack, unpack

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
# step, epoch, steps, loss, terms, lr, val (None between validations), images_per_second, seconds, left, memory,
# device, dtype, batch
Record = dict[str, Any]
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


def batches(images: Tensor | LazyImages, rows: Sequence[Tensor]) -> Iterator[Tensor]:
    """Images [n, …] of each of the row numbers (int64 [n]), where they are; lazy ones are made in turn."""
    if isinstance(images, LazyImages):
        return images.batches([part.cpu() for part in rows])
    return (images[part.to(images.device)] for part in rows)


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
    if augmented and schedule.crop > images.shape[-1]:
        raise ValueError(f"crop={schedule.crop} is more than the images' {images.shape[-1]} pixels; set size higher")
    if len(images) == 0:
        raise ValueError("the training split is empty; check the data set's scale and splits")
    device, dtype = resolve_device(schedule.device), schedule.dtype
    kind = torch.device(device).type
    every = record_every or RECORD_EVERY.get(kind, 10)
    wanted = batch = min(schedule.batch, len(images))
    usable = len(images) // batch * batch  # images in an epoch
    ranks = launch.ranks()
    part = ranks.part(batch)
    model = getattr(model, "_orig_mod", model)  # the network inside of a compiled one: its weights keep their names
    model.to(device)
    if kind == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = new_optimizer(model, schedule, kind)
    history: list[Record] = []
    best: dict[str, Tensor] = {}
    best_value, first_epoch, earlier_seconds = float("-inf"), 0, 0.0
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        tensors, meta = saved
        history, best_value, first_epoch = meta["history"], meta["best"], meta["epoch"]
        earlier_seconds = meta["seconds"]
        dtype, batch = meta.get("dtype", dtype), meta.get("batch", batch)
        best = unpack(tensors, model, optimizer, state)
        yield from history
    if ranks.agree(first_epoch, device) != first_epoch:
        raise ValueError("the processes found different checkpoints; start them where they share the run folder")
    forward = compiled(ranks.wrap(model)) if schedule.compile else ranks.wrap(model)
    with suppress(torch.OutOfMemoryError):  # images that are too many for the device go there batch by batch
        images = images.to(device)
    labels = labels.to(device)
    done, finished = history[-1]["step"] if history else 0, first_epoch  # steps, epochs
    watch = failures.LossWatch(device, done)
    started = time.perf_counter()

    def gradients(x: Tensor, y: Tensor, draws: Tensor | None, numbers: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch (a scalar) and its terms; the gradients are in the weights."""
        if draws is not None:
            x = augmented_by(to_float(x), draws, schedule.shift, schedule.cutout, schedule.crop, schedule.color)
        with torch.autocast(kind, torch.bfloat16, numbers == "bfloat16"):
            outputs = forward(x)
        total, terms = loss(ranks.gather(outputs.float()), y)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        return total.detach(), terms

    @cache
    def sample() -> Tensor:
        """A batch of images for attempts, made once."""
        return images[:wanted].to(device)

    def attempt(count: int, numbers: str) -> None:
        """A step without consequences on the first images: does it fit, how long does it take?"""
        rows, draws = ranks.part(count), None
        if augmented:
            draws = draws_of((count,), torch.Generator().manual_seed(0), schedule.color)[rows].to(device)
        with settings(0), failures.undisturbed(model, state):
            gradients(sample()[:count][rows], labels[:count], draws, numbers)

    @contextmanager
    def settings(seed: int) -> Iterator[None]:
        """Torch's settings for a step, and the user's again after it."""
        own = (schedule.seed * 2**31 + seed) * 1_009 + ranks.rank
        with (
            cpu_threads(schedule.threads),
            deterministic(schedule.deterministic, device),
            seeded(own % 2**63, device),
            compile_told(schedule.compile),
        ):
            yield

    def kept() -> str:
        """What a failure leaves; the model gets the best epoch's weights, so that its own may be lost."""
        judged = [r for r in history if r["val"] is not None]
        with suppress(RuntimeError):  # of a device that is gone
            model.load_state_dict(best or model.state_dict())
        epoch = max(judged, key=lambda r: r["val"])["epoch"] if best else 0
        return failures.kept(finished, checkpoint is not None, epoch)

    if dtype == "auto":
        tries = {name: partial(attempt, batch, name) for name in ("float32", "bfloat16")}
        try:
            quick = fastest(tries, device) == "bfloat16"
        except torch.OutOfMemoryError:
            quick = True  # it takes half the memory
        dtype = "bfloat16" if ranks.agree(quick, device) else "float32"

    for epoch in range(first_epoch, schedule.epochs):
        generator = torch.Generator().manual_seed(schedule.seed * 100_003 + epoch)
        order = torch.randperm(len(images), generator=generator)[:usable]
        draws = to_device(draws_of((usable,), generator, schedule.color), device) if augmented else None
        index = to_device(order, device)
        sources = order if isinstance(images, LazyImages) else index
        epoch_started, at = time.perf_counter(), 0  # images of this epoch that were seen
        drawn: Iterator[Tensor] | None = None
        while at + batch <= usable:
            if drawn is None:
                part, starts = ranks.part(batch), range(at, usable - batch + 1, batch)
                drawn = batches(images, [sources[i : i + batch][part] for i in starts])
            rows, seen, full, bad = slice(at, at + batch), epoch * usable + at, False, None
            factor = one_cycle(seen / (schedule.epochs * usable), schedule.warmup) * batch_factor(batch, wanted)
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr * group["scale"] * factor
            model.train()
            with failures.device_told(device, f"at step {done + 1}", kept), settings(seen):
                x = to_device(next(drawn), device)
                try:
                    given = None if draws is None else draws[rows][part]
                    total, terms = gradients(x, labels[index[rows]], given, dtype)
                except torch.OutOfMemoryError:
                    full = True  # after this block nothing holds the step's tensors any more
                else:
                    watch.see(total)
                    bad = watch.found() if kind == "cpu" else None  # a GPU would make us wait in every step
                    if bad is None:
                        optimizer.step()
            if full:
                optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()  # what is free but in small pieces; does nothing without a GPU
                if not schedule.auto_batch or ranks.size > 1 or batch < 4:
                    fits = failures.largest_batch(partial(attempt, numbers=dtype), batch) if ranks.size == 1 else None
                    raise failures.too_large(device, batch, images.shape, model, fits, kept())
                batch, drawn = batch // 2, None
                continue
            at, done = at + batch, done + 1
            last = at + batch > usable
            if (done - 1) % every and not last and bad is None:
                continue
            with failures.device_told(device, f"at step {done}", kept), deterministic(schedule.deterministic, device):
                bad = bad or watch.found()
                value = total.item()
                if last and bad is None and not failures.finite(model):
                    bad = done, value
                if bad is not None:
                    raise failures.not_finite(*bad, epoch=epoch + 1, lr=schedule.lr, what=kept())
                rate = at / (time.perf_counter() - epoch_started)
                if last:
                    ranks.share_buffers(model)
                if last and end_of_epoch is not None:
                    end_of_epoch(epoch + 1)
                val = None
                if last and evaluate and ((epoch + 1) % schedule.eval_every == 0 or epoch + 1 == schedule.epochs):
                    val = ranks.agree(evaluate(model), device)
                    if val > best_value:
                        best_value, best = val, {k: v.detach().clone() for k, v in model.state_dict().items()}
                seconds = earlier_seconds + time.perf_counter() - started
                share = (epoch * usable + (usable if last else at)) / (schedule.epochs * usable)
                steps = done + ((schedule.epochs - epoch) * usable - at) // batch
                record = dict(
                    step=done, epoch=epoch + 1, steps=steps, loss=value,
                    terms={name: term.item() for name, term in terms.items()}, lr=optimizer.param_groups[-1]["lr"],
                    images_per_second=rate, seconds=seconds, left=seconds * (1 - share) / share, val=val,
                    memory=memory_used(device), device=device, dtype=dtype, batch=batch,
                )  # fmt: skip
                if batch < wanted:
                    record["batch_wanted"] = wanted
                if ranks.size > 1:
                    record["processes"] = ranks.size
                history.append(record)
                finished = epoch + last
                if last and checkpoint is not None and ranks.first:
                    facts = dict(epoch=finished, seconds=seconds, dtype=dtype, batch=batch)
                    checkpoint.save(
                        pack(model, best, optimizer, state), dict(history=history, best=best_value, **facts)
                    )
            yield record
    if best:
        model.load_state_dict(best)


def time_to(history: Sequence[Record], value: float) -> float | None:
    """Seconds of training after which the validation value first was at least `value`; None if it never was.

    >>> time_to([dict(seconds=1.0, val=None), dict(seconds=2.0, val=0.5), dict(seconds=4.0, val=0.8)], 0.6)
    4.0
    """
    return next((r["seconds"] for r in history if r["val"] is not None and r["val"] >= value), None)
