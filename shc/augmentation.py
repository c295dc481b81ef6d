"""Images on the training device: uint8 to floats, and random flips, shifts, crops, erased squares and colors.

Whole batches are changed at once, where they are. The random numbers, a row per image, come from a seeded generator of
the CPU, so that they are the same on every device.
"""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, 3, S, S] → float32 in [−1, 1], channels_last."""
    return images.to(memory_format=torch.channels_last).float().div_(127.5).sub_(1)


def draws_of(shape: tuple[int, ...], generator: torch.Generator, color: float = 0.0) -> Tensor:
    """Random numbers in [0, 1) for images: [*shape, 6], or [*shape, 9] if colors vary too."""
    return torch.rand(*shape, 9 if color else 6, generator=generator)


def augment(
    x: Tensor,
    shift: int,
    cutout: float,
    generator: torch.Generator,
    part: slice = slice(None),
    of: int | None = None,
    crop: int = 0,
    color: float = 0.0,
) -> Tensor:
    """Randomly flip, translate and erase a batch [N, 3, S, S] of floats; one draw per image from `generator` (CPU).

    With `crop`, flip, and cut a random square of this side out of every image instead: [N, 3, crop, crop].

    If x holds only a `part` of a batch `of` so many images, they get what they would get in the whole batch.
    """
    draws = draws_of((of or len(x),), generator, color)[part].to(x.device)
    return augmented(x, draws, shift, cutout, crop, color)


def augmented(x: Tensor, draws: Tensor, shift: int, cutout: float, crop: int = 0, color: float = 0.0) -> Tensor:
    """`augment` by random numbers that were drawn before (`draws_of`): a row per image, on the same device."""
    n, _, size, _ = x.shape
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
    if color:
        x = recolored(x, draws[:, 6:], color)
    if cutout > 0 and not crop:
        half = cutout * size / 2
        center = draws[:, 3:5] * size
        off = draws[:, 5] < 0.5
        inside = (pixels[None, :] - center[:, :1]).abs() < half  # (N, S)
        inside_rows = (pixels[None, :] - center[:, 1:]).abs() < half
        erased = inside_rows[:, :, None] & inside[:, None, :] & ~off[:, None, None]
        x = x.masked_fill(erased[..., None], 0.0)
    return x.permute(0, 3, 1, 2)


def recolored(x: Tensor, draws: Tensor, color: float) -> Tensor:
    """Images [N, S, S, 3] in [−1, 1], brightness, contrast and saturation each times a factor in 1 ± color.

    `draws` [N, 3] in [0, 1) are one random number per factor.
    """
    bright, contrast, saturation = (1 + color * (2 * draws - 1))[:, :, None, None, None].unbind(1)  # (N, 1, 1, 1) each
    x = (x + 1) * bright - 1
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast
    grey = x.mean(3, keepdim=True)
    return (grey + (x - grey) * saturation).clamp_(-1, 1)
