"""ITQ, iterative quantization (Gong & Lazebnik, CVPR 2011): principal axes of the features, rotated towards the cube.

    min over rotations R  ‖ B − V R ‖²,  B = sign(V R),  V = (X − mean) W

W are the K principal axes. Alternating: B from R, then R by orthogonal Procrustes (singular vectors of Bᵀ V). There is
no training. Verified from the authors' published code: PCA, the random first rotation, 50 rounds, the Procrustes step.

ITQ itself needs no labels, but is run here on the features of the trained classifier, which has seen them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shc.methods import Method, Task, method


def rotation_to_cube(v: Tensor, rounds: int, start: Tensor) -> Tensor:
    """The rotation [K, K] of v [N, K] that lowers ‖sign(v R) − v R‖ step by step, from `start`.

    >>> corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> turned = corners @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    >>> (turned @ rotation_to_cube(turned, 5, torch.eye(2))).abs().round(decimals=4).unique()
    tensor([1.])
    """
    rotation = start
    for _ in range(rounds):
        codes = torch.where(v @ rotation >= 0, 1.0, -1.0).to(v)
        left, _, right = torch.linalg.svd(codes.T @ v)
        rotation = (left @ right).T
    return rotation


@method("itq", needs="none", source="Gong & Lazebnik, CVPR 2011", start="classifier")
@dataclass(frozen=True)
class ITQ(Method):
    """A linear head in closed form: PCA of the features, then a rotation towards ±1."""

    trained: ClassVar[bool] = False
    rounds: int = 50

    @torch.no_grad()
    def targets(self, task: Task, model: nn.Module) -> None:
        """Set `model.head`; ValueError if the features span fewer than `task.bits` dimensions."""
        assert task.features is not None
        head: Any = model.to(task.device).head
        x = task.features().to(task.device, torch.float64)  # (N, D)
        mean = x.mean(0)
        values, axes = torch.linalg.eigh((x - mean).T @ (x - mean))  # ascending
        relative = max(x.shape) * torch.finfo(torch.float32).eps  # singular values below are rounding of the features
        rank = int((values > values[-1] * relative**2).sum())
        if task.bits > rank:
            raise ValueError(
                f"bits={task.bits} is above the rank {rank} of the {len(x)} × {x.shape[1]} centered features, and PCA "
                f"has no more axes; choose bits up to {rank}, or more images or a wider network"
            )
        axes = axes[:, -task.bits :]  # (D, K)
        noise = torch.randn(task.bits, task.bits, generator=torch.Generator().manual_seed(task.seed))
        start = torch.linalg.qr(noise.to(x)).Q
        weight = (axes @ rotation_to_cube((x - mean) @ axes, self.rounds, start)).T  # (K, D)
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ mean)
