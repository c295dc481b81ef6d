"""HashNet (Cao et al., ICCV 2017): weighted pairs, and a tanh that turns into the sign while training.

    h = tanh(β u),  θ_ij = α/K · h_iᵀh_j,   L = mean_{i≠j} w_ij [ log(1 + exp θ_ij) − s_ij θ_ij ]

with s_ij = 1 where two images share a label, else 0. The weight is |S|/|S1| for similar and |S|/|S0| for dissimilar
pairs, so that L is the mean over the similar plus the mean over the dissimilar pairs. There is no quantization term:
β grows by stages (continuation), β = (1 + growth · stage)^power.

Verified from the published code: θ with α = 10; the weights, counted in the batch (in its corrected loss; the one it
first came with weighs dissimilar pairs 1); β = (1 + .005 · iteration)^½ renewed every 200 iterations, which is growth
1 per stage. Our reading: a stage is one epoch (20 epochs end at β = 4.5, their 10,000 iterations at 7), all pairs of
one batch (theirs: between two batches), and a similar pair weighs the same however many labels it shares.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shc.methods import Method, Task, method
from shc.targets import related


class Continuation(nn.Module):
    """The β of the present stage."""

    beta: Tensor

    def __init__(self, device: str) -> None:
        super().__init__()
        self.register_buffer("beta", torch.ones((), device=device))


@method("hashnet", needs="class", source="Cao et al., ICCV 2017", multi_label=True)
@dataclass(frozen=True)
class HashNet(Method):
    """Balanced negative log-likelihood of the pairs' relations under tanh(β u), β growing."""

    alpha: float = 10.0  # α, inverse temperature of the pairs at K equal bits
    stage: int = 1  # epochs with the same β
    growth: float = 1.0  # of β^(1/power) per stage; 0 keeps tanh u
    power: float = 0.5

    def check(self) -> None:
        if self.stage < 1:
            raise ValueError(f"stage={self.stage} must be at least 1 epoch; growth=0 keeps β at 1")

    def targets(self, task: Task, model: nn.Module) -> Continuation:
        """β = 1."""
        return Continuation(task.device)

    def loss(self, u: Tensor, labels: Tensor, targets: Continuation) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] or multi-hot [N, C] → scalar and its two terms."""
        h = torch.tanh(targets.beta.to(u) * u)
        theta = self.alpha / u.shape[1] * h @ h.T  # (N, N)
        others = ~torch.eye(len(u), dtype=torch.bool, device=u.device)
        alike = related(labels, labels) & others
        apart = ~alike & others
        similar = -(F.logsigmoid(theta) * alike).sum() / alike.sum().clamp_min(1)
        dissimilar = -(F.logsigmoid(-theta) * apart).sum() / apart.sum().clamp_min(1)
        return similar + dissimilar, {"similar": similar, "dissimilar": dissimilar}

    def end_of_epoch(self, targets: Continuation, epoch: int, outputs: object) -> None:
        """Set β for the next epoch."""
        targets.beta.fill_((1 + self.growth * (epoch // self.stage)) ** self.power)
