"""MDS, minimal-distance-separated hash centers (Wang et al., CVPR 2023): classes are told apart by their centers.

    h = tanh u,  p = softmax_c( √K · cos(h, h_c) )
    L = mean BCE( p , one-hot y )  +  β · mean softplus( (1 − cos(h, b)) / 2 )  +  λ · mean( (|h| − 1)² )

The BCE is averaged over images and classes; the second mean is over the pairs of an image with an entry b of its own
class in a bank of earlier outputs. The centers themselves are stage 2's, kind "distance".

Verified from the published code: all three terms, their averages, β = 1, λ = 1e-4, the batch norm before the tanh. Our
reading: the bank is a ring of the network's own recent outputs (theirs has one row per training image, filled by a
second network that follows the first with momentum .9; it starts random, ours empty), an image is compared before its
output enters the bank, and the pair term counts from the first epoch (theirs from the tenth of a long training, which a
short one would never reach).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shc.methods import Method, Task, method
from shc.targets import related


class Bank(nn.Module):
    """Centers ±1 [C, K] and a ring of M recent outputs with labels, −1 where empty; `.eval()` freezes the ring."""

    centers: Tensor
    outputs: Tensor
    labels: Tensor
    position: Tensor
    epoch: Tensor

    def __init__(self, centers: Tensor, rows: int) -> None:
        super().__init__()
        self.register_buffer("centers", centers)
        self.register_buffer("outputs", centers.new_zeros(rows, centers.shape[1]))  # (M, K)
        self.register_buffer("labels", torch.full((rows,), -1, device=centers.device))  # (M,)
        self.register_buffer("position", torch.zeros((), dtype=torch.int64, device=centers.device))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64, device=centers.device))  # finished ones

    @torch.no_grad()
    def push(self, outputs: Tensor, labels: Tensor) -> None:
        """Write a batch [N, K], [N] over the oldest rows; of a batch larger than the ring its last M."""
        rows = len(self.labels)
        outputs, labels = outputs[-rows:], labels[-rows:]
        index = (self.position + torch.arange(len(labels), device=labels.device)) % rows
        self.outputs[index] = outputs.detach().to(self.outputs)
        self.labels[index] = labels
        self.position.copy_((self.position + len(labels)) % rows)


@method("mds", needs="class", source="Wang et al., CVPR 2023", default_centers="distance")
@dataclass(frozen=True)
class MDS(Method):
    """Softmax over the centers by cosine, a pull to earlier outputs of the same class, and quantization."""

    beta: float = 1.0  # β, weight of the pair term
    weight: float = 1e-4  # λ, weight of the quantization term
    pair_after: int = 0  # epochs before the pair term counts
    bank: int = 8192  # rows of the bank; never more than training images
    batch_norm: bool = True  # batch norm after the linear layer

    def check(self) -> None:
        if self.bank < 1:
            raise ValueError(
                f"bank={self.bank} holds nothing to pair with; give at least 1 row, or beta=0 for no pairs"
            )

    def head(self, dim: int, bits: int, classes: int) -> nn.Module:
        """Linear, and batch norm as published: [N, D] → u [N, K]."""
        return nn.Sequential(nn.Linear(dim, bits), *([nn.BatchNorm1d(bits)] if self.batch_norm else []))

    def targets(self, task: Task, model: nn.Module) -> Bank:
        """The run's centers with an empty bank; ValueError without centers."""
        if task.centers is None:
            raise ValueError("method 'mds' needs hash centers; its own kind is centers='distance'")
        return Bank(task.centers.to(task.device), min(self.bank, len(task.labels)))

    def loss(self, u: Tensor, labels: Tensor, targets: Bank) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] → scalar and its three terms; a training batch then enters the bank."""
        h = u.tanh()
        unit = F.normalize(h)  # (N, K)
        center = softmax_cross_entropies(unit @ targets.centers.to(u).T, labels)  # √K · cos, as |h_c| = √K
        cosine = unit @ F.normalize(targets.outputs.to(u)).T  # (N, M)
        positive = related(labels, targets.labels) & (targets.epoch >= self.pair_after)
        pair = (F.softplus((1 - cosine) / 2) * positive).sum() / positive.sum().clamp_min(1)
        quantization = (h.abs() - 1).square().mean()
        if targets.training and u.requires_grad:
            targets.push(h, labels)
        total = center + self.beta * pair + self.weight * quantization
        return total, {"center": center, "pair": pair, "quantization": quantization}

    def end_of_epoch(self, targets: Bank, epoch: int, outputs: object) -> None:
        """Count the epochs, for `pair_after`."""
        targets.epoch.fill_(epoch)


def softmax_cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over [N, C] of the binary cross-entropies between softmax(logits) and the one-hot labels.

    1 − p rounds to 0 for the likeliest class, so its logarithm is taken as that of the sum over the other classes.
    """
    top = logits.argmax(1, keepdim=True)
    log_p = logits.log_softmax(1)
    log_rest = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True) - logits.logsumexp(1, keepdim=True)
    log_not_p = torch.log1p(-log_p.exp().scatter(1, top, 0.0)).scatter(1, top, log_rest)  # (N, C)
    own = F.one_hot(labels, logits.shape[1]).bool()
    return -torch.where(own, log_p, log_not_p).mean()
