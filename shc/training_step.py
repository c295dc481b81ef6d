"""One step of a training: the images of a batch, their loss, its gradients, and the settings these are computed under.

`shc.training.fit` decides when a step is taken, and what is recorded, judged and kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from shc import failures, launch
from shc.augmentation import augmented, draws_of, to_float
from shc.datasets.streams import LazyImages
from shc.devices import cpu_threads, deterministic, fastest, resolve_device, seeded, to_device
from shc.schedule import Schedule, batch_factor, one_cycle
from shc.training_state import compile_told, compiled, new_optimizer

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


def batches(images: Tensor | LazyImages, rows: Sequence[Tensor]) -> Iterator[Tensor]:
    """Images [n, …] of each of the row numbers (int64 [n]), where they are; lazy ones are made in turn."""
    if isinstance(images, LazyImages):
        return images.batches([part.cpu() for part in rows])
    return (images[part.to(images.device)] for part in rows)


class Stepper:
    """A network, its training set and its optimizer on one device: begin an epoch, then take its steps.

    Raises ValueError for an empty training set, a crop larger than the images, a device that does not exist, or a batch
    that the processes cannot share equally.
    """

    index: Tensor  # int64 [usable], the epoch's order of the images, on the device
    sources: Tensor  # the same, where the images are
    draws: Tensor | None  # [usable, 6 or 9], the epoch's random numbers for its images
    drawn: Iterator[Tensor] | None  # the epoch's next batches

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        images: Tensor | LazyImages,
        labels: Tensor,
        schedule: Schedule,
        augmented: bool,
        state: nn.Module | None,
    ) -> None:
        if augmented and schedule.crop > images.shape[-1]:
            raise ValueError(
                f"crop={schedule.crop} is more than the images' {images.shape[-1]} pixels; set size higher"
            )
        if len(images) == 0:
            raise ValueError("the training split is empty; check the data set's scale and splits")
        self.loss, self.images, self.labels, self.schedule = loss, images, labels, schedule
        self.augmented, self.state, self.dtype = augmented, state, schedule.dtype
        self.device = resolve_device(schedule.device)
        self.kind = torch.device(self.device).type
        self.wanted = self.batch = min(schedule.batch, len(images))
        self.usable = len(images) // self.batch * self.batch  # images in an epoch
        self.ranks = launch.ranks()
        self.ranks.part(self.batch)  # or the error that they cannot share it
        self.model = getattr(model, "_orig_mod", model)  # the network inside of a compiled one: its weights keep names
        self.model.to(self.device)
        if self.kind == "cuda":
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = new_optimizer(self.model, schedule, self.kind)
        self.bad: tuple[int, float] | None = None  # the first step whose loss was not finite, and that loss

    def start(self, done: int) -> None:
        """Make ready for steps after the `done` ones that were made before: data on the device, the number format."""
        model = self.ranks.wrap(self.model)
        self.forward = compiled(model) if self.schedule.compile else model
        with suppress(torch.OutOfMemoryError):  # images that are too many for the device go there batch by batch
            self.images = self.images.to(self.device)
        self.labels = self.labels.to(self.device)
        self.watch = failures.LossWatch(self.device, done)
        if self.dtype == "auto":
            self.dtype = self.faster()

    def faster(self) -> str:
        """The number format in which a step takes clearly less time here; the processes agree on the first one's."""
        tries = {name: partial(self.attempt, self.batch, name) for name in ("float32", "bfloat16")}
        try:
            quick = fastest(tries, self.device) == "bfloat16"
        except torch.OutOfMemoryError:
            quick = True  # it takes half the memory
        return "bfloat16" if self.ranks.agree(quick, self.device) else "float32"

    def begin(self, epoch: int) -> None:
        """Draw the order of the images and their augmentation, from the seed and the number of the epoch only."""
        generator = torch.Generator().manual_seed(self.schedule.seed * 100_003 + epoch)
        order = torch.randperm(len(self.images), generator=generator)[: self.usable]
        draws = draws_of((self.usable,), generator, self.schedule.color) if self.augmented else None
        self.draws = None if draws is None else to_device(draws, self.device)
        self.index = to_device(order, self.device)
        self.sources = order if isinstance(self.images, LazyImages) else self.index
        self.epoch, self.at, self.drawn = epoch, 0, None  # at: images of this epoch that were seen

    @property
    def more(self) -> bool:
        """Whether the epoch has another whole batch."""
        return self.at + self.batch <= self.usable

    def take(self) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Take a step with the next batch: its loss and terms; None if it did not fit into memory and nothing was done.

        A loss that is not finite moves no weights, and is told in `bad`; a GPU finds it only when `watch` is asked.
        """
        seen = self.epoch * self.usable + self.at
        rows, part = slice(self.at, self.at + self.batch), self.ranks.part(self.batch)
        if self.drawn is None:
            starts = range(self.at, self.usable - self.batch + 1, self.batch)
            self.drawn = batches(self.images, [self.sources[i : i + self.batch][part] for i in starts])
        factor = one_cycle(seen / (self.schedule.epochs * self.usable), self.schedule.warmup)
        factor *= batch_factor(self.batch, self.wanted)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr * group["scale"] * factor
        self.model.train()
        with self.settings(seen):
            x = to_device(next(self.drawn), self.device)
            draws = None if self.draws is None else self.draws[rows][part]
            try:
                total, terms = self.gradients(x, self.labels[self.index[rows]], draws, self.dtype)
            except torch.OutOfMemoryError:
                return None
            self.watch.see(total)
            self.bad = self.watch.found() if self.kind == "cpu" else None  # a GPU would make us wait in every step
            if self.bad is None:
                self.optimizer.step()
        self.at += self.batch
        return total, terms

    def halve(self, kept: Callable[[], str]) -> None:
        """Go on with half the batch if that is allowed, else raise OutOfMemory: what fits, and what is kept."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()  # what is free but in small pieces; does nothing without a GPU
        alone = self.ranks.size == 1
        if not self.schedule.auto_batch or not alone or self.batch < 4:
            attempt = partial(self.attempt, numbers=self.dtype)
            fits = failures.largest_batch(attempt, self.batch) if alone else None
            raise failures.too_large(self.device, self.batch, self.images.shape, self.model, fits, kept())
        self.batch, self.drawn = self.batch // 2, None

    def gradients(self, x: Tensor, y: Tensor, draws: Tensor | None, numbers: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch (a scalar) and its terms; the gradients are in the weights."""
        if draws is not None:
            how = self.schedule
            x = augmented(to_float(x), draws, how.shift, how.cutout, how.crop, how.color)
        with torch.autocast(self.kind, torch.bfloat16, numbers == "bfloat16"):
            outputs = self.forward(x)
        total, terms = self.loss(self.ranks.gather(outputs.float()), y)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        return total.detach(), terms

    def attempt(self, count: int, numbers: str) -> None:
        """A step without consequences on the first images: does it fit, how long does it take?"""
        rows, draws = self.ranks.part(count), None
        if self.augmented:
            draws = draws_of((count,), torch.Generator().manual_seed(0), self.schedule.color)[rows].to(self.device)
        with self.settings(0), failures.undisturbed(self.model, self.state):
            self.gradients(self.sample[:count][rows], self.labels[:count], draws, numbers)

    @cached_property
    def sample(self) -> Tensor:
        """A batch of images for attempts, made once."""
        return self.images[: self.wanted].to(self.device)

    @contextmanager
    def settings(self, seed: int) -> Iterator[None]:
        """Torch's settings for a step, and the user's again after it."""
        own = (self.schedule.seed * 2**31 + seed) * 1_009 + self.ranks.rank
        with (
            cpu_threads(self.schedule.threads),
            deterministic(self.schedule.deterministic, self.device),
            seeded(own % 2**63, self.device),
            compile_told(self.schedule.compile),
        ):
            yield
