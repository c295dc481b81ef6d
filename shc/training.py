"""One training loop for every network of the package, written as a generator of records.

The caller draws, prints or stops; the loop only trains. Facts that matter: the data set is one uint8 tensor, moved to
the device once, augmented there in batches; every epoch draws its order and augmentation from (seed, epoch), so that a
run resumed from a checkpoint takes the same path as one that was never stopped; the returned weights are those of the
epoch with the best validation value.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shc import launch
from shc.datasets.streams import LazyImages

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
OPTIMIZERS = {"adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
Record = dict[str, Any]  # step, epoch, loss, terms, lr, images_per_second, seconds, val (None between evaluations)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; each value is fixed, so that a CPU run is repeatable."""

    epochs: int = 20
    batch: int = 128
    lr: float = 3e-3  # peak of a one-cycle schedule: linear warm-up over `warmup`, cosine to zero
    warmup: float = 0.2  # share of all steps; 0 is a plain cosine
    weight_decay: float = 0.05
    optimizer: str = "adamw"  # or rmsprop, which the paper used
    backbone_lr: float = 1.0  # factor on lr for the backbone, below 1 when it was trained before
    shift: int = 2  # largest random translation in pixels at 32 px, scaled with the image
    cutout: float = 0.25  # side of the erased square as a share of the image, in half of the images
    crop: int = 0  # side of random crops, which then take the place of shift and cutout; 0 for none
    eval_every: int = 1  # epochs between validations; the last epoch is always validated
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"  # or bfloat16: autocast
    threads: int = 2  # fixed, because the order of float additions depends on it

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "eval_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.lr < 10:
            raise ValueError(f"lr={self.lr} must lie between 0 and 10; 0.003 is the default for the small net")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup={self.warmup} must be a share of all steps from 0 to below 1; 0.2 is the default")
        if self.crop < 0:
            raise ValueError(f"crop={self.crop} must be a number of pixels, or 0 for whole images")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer={self.optimizer!r} is unknown; choose {' or '.join(OPTIMIZERS)}")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype={self.dtype!r} is unknown; choose 'float32' or 'bfloat16'")


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda" where a GPU answers, else "cpu"; check any other name.

    Raises ValueError naming the device if it does not exist on this machine.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} is not usable here ({str(error).splitlines()[0]}); use 'cpu', 'cuda' or 'auto'"
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


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, 3, S, S] → float32 in [−1, 1], channels_last."""
    return images.to(memory_format=torch.channels_last).float().div_(127.5).sub_(1)


def augment(
    x: Tensor,
    shift: int,
    cutout: float,
    generator: torch.Generator,
    part: slice = slice(None),
    of: int | None = None,
    crop: int = 0,
) -> Tensor:
    """Randomly flip, translate and erase a batch [N, 3, S, S] of floats; one draw per image from `generator` (CPU).

    With `crop`, flip, and cut a random square of this side out of every image instead: [N, 3, crop, crop].

    If x holds only a `part` of a batch `of` so many images, they get what they would get in the whole batch.
    """
    n, _, size, _ = x.shape
    draws = torch.rand(of or n, 6, generator=generator)[part].to(x.device)
    sign = torch.where(draws[:, 0] < 0.5, -1.0, 1.0)
    side = crop or size
    pixels = torch.arange(side, device=x.device)
    if crop:
        dx, dy = (draws[:, 1:3] * (size - crop + 1)).long().clamp_(max=size - crop).unbind(1)
    else:
        dx, dy = ((draws[:, 1:3] * 2 - 1) * (shift * size / 32)).round().long().unbind(1)
    columns = (torch.where(sign[:, None] < 0, side - 1 - pixels, pixels) + dx[:, None]).clamp_(0, size - 1)
    rows = (pixels + dy[:, None]).clamp_(0, size - 1)
    x = x.permute(0, 2, 3, 1)[torch.arange(n, device=x.device)[:, None, None], rows[:, :, None], columns[:, None]]
    if cutout > 0 and not crop:
        half = cutout * size / 2
        center = draws[:, 3:5] * size
        off = draws[:, 5] < 0.5
        inside = (pixels[None, :] - center[:, :1]).abs() < half  # (N, S)
        inside_rows = (pixels[None, :] - center[:, 1:]).abs() < half
        erased = inside_rows[:, :, None] & inside[:, None, :] & ~off[:, None, None]
        x = x.masked_fill(erased[..., None], 0.0)
    return x.permute(0, 3, 1, 2)


@torch.no_grad()
def predict(
    model: nn.Module, images: Tensor | LazyImages, *, device: str = "cpu", batch: int = 500, threads: int = 2
) -> Tensor:
    """Run the model in evaluation mode over uint8 images [N, 3, S, S] → float32 outputs [N, …] on the CPU.

    Features [N, D], a float tensor, are passed on as they are; lazy images are made batch by batch.
    """
    was_training, device = model.training, resolve_device(device)
    model.to(device).eval()
    images = images.to(device) if isinstance(images, LazyImages) else images
    with cpu_threads(threads):
        rows = torch.arange(len(images)).split(batch)
        found: Tensor | None = None  # one tensor: many small ones between large batches would leave holes in memory
        for part, x in zip(rows, batches(images, rows), strict=True):
            x = x.to(device)
            outputs = model(to_float(x) if x.dtype == torch.uint8 else x).float().cpu()
            if found is None:
                found = outputs.new_empty(len(images), *outputs.shape[1:])
            found[part] = outputs
    model.train(was_training)
    assert found is not None  # there is always a batch, at least an empty one
    return found


def batches(images: Tensor | LazyImages, rows: Sequence[Tensor]) -> Iterator[Tensor]:
    """Images [n, …] of each of the row numbers (int64 [n], on the CPU), where they are; lazy ones are made in turn."""
    if isinstance(images, LazyImages):
        return images.batches(rows)
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
    record_every: int = 10,
    augmented: bool = True,
    state: nn.Module | None = None,
    end_of_epoch: Callable[[int], None] | None = None,
) -> Iterator[Record]:
    """Train `model` in place and yield a record every few steps and at the end of every epoch.

    `images` uint8 [N, 3, S, S] in a tensor, or lazy; `labels` int64 [N]; `loss(outputs, labels)` returns the scalar
    to minimise and its named terms; `evaluate(model)` returns the validation value (higher is better) by which the
    epoch is chosen: when the generator is exhausted the model holds the best epoch's weights. `checkpoint` (see
    `shc.runs.Checkpoint`) keeps the state of every finished epoch; with one, the records made before are yielded again
    and training goes on after.
    Without `augmented`, `images` are features [N, D], taken as they are. `state` holds what else the loss remembers,
    kept in the checkpoint; `end_of_epoch(epoch)` is called before each validation.

    In a process group (`shc.launch`) each process computes its slice of every batch; orders, draws, loss and choice of
    the epoch are the same in all, and the first one keeps the checkpoint. Batch norm sees the slices only.

    Raises ValueError for an empty training set or a batch that the processes cannot share equally, and
    FloatingPointError when the loss is no longer finite.

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
    device, batch = schedule.device, min(schedule.batch, len(images))
    steps_per_epoch = len(images) // batch
    total_steps = schedule.epochs * steps_per_epoch
    ranks = launch.ranks()
    part = ranks.part(batch)
    model.to(device)
    base = [p for n, p in model.named_parameters() if n.startswith("backbone.") and p.requires_grad]
    head = [p for n, p in model.named_parameters() if not n.startswith("backbone.") and p.requires_grad]
    groups = [dict(params=base, scale=schedule.backbone_lr), dict(params=head, scale=1.0)]
    groups = [group for group in groups if group["params"]]
    optimizer = OPTIMIZERS[schedule.optimizer](groups, lr=schedule.lr, weight_decay=schedule.weight_decay)
    history: list[Record] = []
    best: dict[str, Tensor] = {}
    best_value, first_epoch, earlier_seconds = float("-inf"), 0, 0.0
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        tensors, meta = saved
        history, best_value, first_epoch = meta["history"], meta["best"], meta["epoch"]
        earlier_seconds = meta["seconds"]
        model.load_state_dict(_under(tensors, "model."))
        if state is not None:
            state.load_state_dict(_under(tensors, "state."))
        best = _under(tensors, "best.")
        _restore_optimizer(optimizer, _under(tensors, "optimizer."))
        yield from history
    if ranks.agree(first_epoch, device) != first_epoch:
        raise ValueError("the processes found different checkpoints; start them where they share the run folder")
    spread = ranks.wrap(model)
    images, labels = images.to(device), labels.to(device)
    started = time.perf_counter()

    for epoch in range(first_epoch, schedule.epochs):
        generator = torch.Generator().manual_seed(schedule.seed * 100_003 + epoch)
        order = torch.randperm(len(images), generator=generator)
        epoch_started = time.perf_counter()
        drawn = batches(images, [order[i * batch : (i + 1) * batch][part] for i in range(steps_per_epoch)])
        for i in range(steps_per_epoch):
            step = epoch * steps_per_epoch + i
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr * group["scale"] * one_cycle(step / total_steps, schedule.warmup)
            model.train()
            index = order[i * batch : (i + 1) * batch].to(device)
            with cpu_threads(schedule.threads):
                x = next(drawn).to(device)
                if augmented:
                    x = augment(to_float(x), schedule.shift, schedule.cutout, generator, part, batch, schedule.crop)
                with torch.autocast(torch.device(device).type, torch.bfloat16, schedule.dtype == "bfloat16"):
                    outputs = spread(x)
                total, terms = loss(ranks.gather(outputs.float()), labels[index])
                optimizer.zero_grad(set_to_none=True)
                total.backward()
                optimizer.step()
            last = i == steps_per_epoch - 1
            if step % record_every and not last:
                continue
            value = total.item()
            if value != value or value in (float("inf"), float("-inf")):
                raise FloatingPointError(
                    f"the loss became {value} at step {step + 1} (epoch {epoch + 1}); the last finished epoch is kept. "
                    f"Lower lr (now {schedule.lr}) or check the images for constant or broken content"
                )
            if last:
                ranks.share_buffers(model)
            if last and end_of_epoch is not None:
                end_of_epoch(epoch + 1)
            val = None
            rate = (i + 1) * batch / (time.perf_counter() - epoch_started)
            if last and evaluate and ((epoch + 1) % schedule.eval_every == 0 or epoch + 1 == schedule.epochs):
                val = ranks.agree(evaluate(model), device)
                if val > best_value:
                    best_value, best = val, {k: v.detach().clone() for k, v in model.state_dict().items()}
            record = dict(
                step=step + 1, epoch=epoch + 1, steps=total_steps, loss=value,
                terms={name: term.item() for name, term in terms.items()}, lr=optimizer.param_groups[-1]["lr"],
                images_per_second=rate, seconds=earlier_seconds + time.perf_counter() - started, val=val,
            )  # fmt: skip
            if ranks.size > 1:
                record["processes"] = ranks.size
            history.append(record)
            if last and checkpoint is not None and ranks.first:
                tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
                tensors |= {f"best.{k}": v for k, v in best.items()}
                tensors |= {f"optimizer.{k}": v for k, v in _optimizer_tensors(optimizer).items()}
                tensors |= {f"state.{k}": v for k, v in state.state_dict().items()} if state is not None else {}
                checkpoint.save(
                    tensors, dict(history=history, best=best_value, epoch=epoch + 1, seconds=record["seconds"])
                )
            yield record
    if best:
        model.load_state_dict(best)


def one_cycle(progress: float, warmup: float) -> float:
    """Learning-rate factor in [0, 1] at `progress` in [0, 1]: linear warm-up, then a half cosine to zero.

    >>> one_cycle(0.2, 0.2), round(one_cycle(0.6, 0.2), 3)
    (1.0, 0.5)
    """
    if progress < warmup:
        return max(progress / warmup, 0.02)
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(v) for i, entry in state.items() for name, v in entry.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    for key, value in tensors.items():
        index, name = key.split(".")
        whole["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(whole)
