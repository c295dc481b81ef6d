"""How a network is trained, as one validated object, and the course of its learning rate.

`Schedule` is what `shc.training.fit` takes; notebooks and commands make one from their parameters (`shc.config`).
"""

import math
from dataclasses import dataclass

import torch

OPTIMIZERS = {"adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; each value is fixed, so that a CPU run is repeatable.

    Raises ValueError that names the value and what is expected.
    """

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
    color: float = 0.0  # brightness, contrast and saturation vary by factors of 1 ± color
    eval_every: int = 1  # epochs between validations; the last epoch is always validated
    seed: int = 0
    device: str = "cpu"  # cuda, cuda:1, …; auto takes a GPU where one answers
    dtype: str = "float32"  # bfloat16: autocast; auto: the faster of the two, timed once
    threads: int = 2  # fixed, because the order of float additions depends on it
    compile: bool = False  # torch.compile: half a minute at the start, for long runs
    deterministic: bool = False  # equal bits on a GPU too, where some operations get slower
    auto_batch: bool = False  # out of device memory: go on with half the batch instead of stopping

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "eval_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.lr < 10:
            raise ValueError(f"lr={self.lr} must lie between 0 and 10; 0.003 is the default for the small net")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup={self.warmup} must be a share of all steps from 0 to below 1; 0.2 is the default")
        for name in ("weight_decay", "backbone_lr", "shift"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must be a finite number, 0 or above")
        if not 0 <= self.cutout <= 1:
            raise ValueError(f"cutout={self.cutout} must be a share of the image's side from 0 to 1")
        if self.crop < 0:
            raise ValueError(f"crop={self.crop} must be a number of pixels, or 0 for whole images")
        if not 0 <= self.color < 1:
            raise ValueError(f"color={self.color} must be from 0 (colors as they are) to below 1; 0.2 is a usual value")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer={self.optimizer!r} is unknown; choose {' or '.join(OPTIMIZERS)}")
        if self.dtype not in ("float32", "bfloat16", "auto"):
            raise ValueError(
                f"dtype={self.dtype!r} is unknown; choose 'float32' or 'bfloat16', or 'auto' for the faster of them"
            )


def one_cycle(progress: float, warmup: float) -> float:
    """Learning-rate factor in [0, 1] at `progress` in [0, 1]: linear warm-up, then a half cosine to zero.

    >>> one_cycle(0.2, 0.2), round(one_cycle(0.6, 0.2), 3)
    (1.0, 0.5)
    """
    if progress < warmup:
        return max(progress / warmup, 0.02)
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))


def batch_factor(batch: int, wanted: int) -> float:
    """Factor on the learning rate when a batch is smaller than the `wanted` one: √(batch / wanted).

    AdamW and RMSprop divide by the gradients' root mean square; for these, the noise of a step stays the same under a
    square root, not under the linear rule of plain SGD (Malladi et al., NeurIPS 2022).

    >>> batch_factor(32, 128), batch_factor(128, 128)
    (0.5, 1.0)
    """
    return math.sqrt(batch / wanted)
