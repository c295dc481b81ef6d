"""The training loop that `shc.training` is measured against: what a careful user of torch and torchvision writes.

A data set whose images pass through torchvision's transforms one by one, a DataLoader with persistent workers, float32,
the usual memory layout, AdamW, a learning rate per step, a validation after every epoch. Net, first weights, batch,
schedule and amount of augmentation are those that `fit` is given; the random draws are the loader's own.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from shc.schedule import Schedule, one_cycle


class Images(Dataset[tuple[Tensor, int]]):
    """uint8 [N, 3, S, S] and int64 [N] as pairs of a transformed image and its label."""

    def __init__(self, images: Tensor, labels: Tensor, transform: transforms.Compose) -> None:
        self.images, self.labels, self.transform = images, labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(self.images[i]), self.labels[i]


def random_transform(schedule: Schedule, size: int) -> transforms.Compose:
    """Flip, translate, scale to [−1, 1], erase: as often and as much as `shc.augmentation` does.

    Torchvision's forms for tensors: on single images of 32 px they are faster than those for PIL images.
    """
    share = schedule.cutout**2
    steps = [
        transforms.RandomHorizontalFlip(),
        transforms.RandomCrop(size, padding=round(schedule.shift * size / 32), padding_mode="edge"),
        *fixed_transform().transforms,
    ]
    if share > 0:
        steps.append(transforms.RandomErasing(p=0.5, scale=(share, share), ratio=(1.0, 1.0), inplace=True))
    return transforms.Compose(steps)


def fixed_transform() -> transforms.Compose:
    """The same scale without chance."""
    scale = transforms.Normalize((0.5,) * 3, (0.5,) * 3, inplace=True)
    return transforms.Compose([transforms.ConvertImageDtype(torch.float32), scale])


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    workers: int,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Iterator[float]:
    """Train a classifier in place; yield its top-1 on the validation images after every epoch (NaN without them)."""
    device = torch.device(schedule.device)
    torch.manual_seed(schedule.seed)
    options = dict(num_workers=workers, persistent_workers=workers > 0, pin_memory=device.type == "cuda")
    data = Images(images, labels, random_transform(schedule, images.shape[-1]))
    loader = DataLoader(data, schedule.batch, shuffle=True, drop_last=True, **options)  # type: ignore[arg-type]
    seen = None
    if validation is not None:
        seen = DataLoader(Images(*validation, fixed_transform()), 500, **options)  # type: ignore[arg-type]
    model = model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    steps = schedule.epochs * len(loader)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step / steps, schedule.warmup))
    criterion = nn.CrossEntropyLoss()
    for _ in range(schedule.epochs):
        model.train()
        for x, y in loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
            rate.step()
        yield accuracy(model, seen, device) if seen is not None else float("nan")


@torch.no_grad()
def accuracy(model: nn.Module, loader: "DataLoader[tuple[Tensor, int]]", device: torch.device) -> float:
    """Share of the loader's images whose class has the highest output."""
    model.eval()
    right = sum(int((model(x.to(device)).argmax(1).cpu() == y).sum()) for x, y in loader)
    return right / len(loader.dataset)  # type: ignore[arg-type]
