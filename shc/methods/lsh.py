"""LSH, locality-sensitive hashing by random hyperplanes (Charikar, STOC 2002): the floor that learning must beat.

    u = W (f − mean f),  W ~ N(0, 1)

so that two features differ in a bit with probability angle/π, for the angle between them seen from the mean. There is
no training, and labels are not used. The hyperplanes are Charikar's; that they pass through the mean of the training
features instead of the origin is ours, since features after a ReLU all lie on one side of it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from shc.methods import Method, Task, method


@method("lsh", needs="none", source="Charikar, STOC 2002", start="scratch")
@dataclass(frozen=True)
class LSH(Method):
    """A linear head of Gaussian noise through the mean of the features."""

    trained: ClassVar[bool] = False

    @torch.no_grad()
    def targets(self, task: Task, model: nn.Module) -> None:
        """Set `model.head`."""
        assert task.features is not None
        head: Any = model.to(task.device).head
        mean = task.features().to(task.device, torch.float64).mean(0)  # (D,)
        generator = torch.Generator().manual_seed(task.seed)
        weight = torch.randn(task.bits, len(mean), generator=generator).to(mean)  # (K, D)
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ mean)
