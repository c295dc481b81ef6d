"""SHREWD (Arponen & Bishop 2019): distances of codes follow distances of labels; codes become binary and uniform.

    L = Σ_ij w_ij | D_ij/mean D − T_ij/mean T | / Σ_ij w_ij  +  λ · mean_i log( ν(z_i, Y) / ν(z_i, Z) )

z = (tanh u + 1)/2 are the batch's outputs in [0, 1], D their L1 distances, T the label distances, both over the pairs
i < j of the batch; w = (γ/(γ + T))^ρ lets near pairs weigh more. The second term estimates the Kullback-Leibler
divergence per bit, up to a constant, from the batch Z to as many samples Y of Beta(.1, .1) in each bit, nearly binary
and independent: ν is the L1 distance to the nearest (other) point, divided by K.

Verified from the abstract: code distances that follow a hierarchy's, and an empirical KL term towards binary, uniform
codes; classes as such are not used. All the rest is our reading: both distances and their normalization, the weights,
the nearest-neighbour estimate with its floor (duplicates are not pushed apart without end), every default.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shc.methods import Method, Task, method


class LabelDistances(nn.Module):
    """Label distances [C, C], and a count of the steps so far, from which each step's random samples follow."""

    distances: Tensor
    step: Tensor  # int64 scalar

    def __init__(self, distances: np.ndarray, seed: int) -> None:
        super().__init__()
        self.seed = seed
        table = torch.from_numpy(np.asarray(distances, dtype=np.float32))
        self.register_buffer("distances", table, persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))


@method("shrewd", needs="label distances", source="Arponen & Bishop, LLD workshop at ICLR 2019")
@dataclass(frozen=True)
class SHREWD(Method):
    """Code distances matched to label distances, and a KL divergence towards nearly binary codes."""

    weight: float = 0.1  # λ of the divergence
    near: float = 0.1  # γ: the label distance beyond which a pair weighs little
    decay: float = 1.0  # ρ: how fast its weight falls then; 0 weighs all pairs alike
    shape: float = 0.1  # both parameters of the Beta distribution; the smaller, the nearer to binary
    floor: float = 0.01  # added to ν: codes closer than this, as a share of the bits, count as one

    def check(self) -> None:
        """All but `weight` and `decay` must be above 0."""
        for name in ("near", "shape", "floor"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name}=0.0 must be above 0")

    def targets(self, task: Task, model: nn.Module) -> LabelDistances:
        """The label distances on the task's device; ValueError if there are none."""
        if task.distances is None:
            raise ValueError("shrewd needs label distances [C, C], got None; give the data set a hierarchy")
        return LabelDistances(task.distances, task.seed).to(task.device)

    def loss(self, u: Tensor, labels: Tensor, targets: LabelDistances) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] → scalar and its two terms; draws the step's samples. ValueError for N < 2."""
        n, bits = u.shape
        if n < 2:
            raise ValueError(f"a batch of {n} image has no pairs; set batch to 2 or more")
        z = (u.tanh() + 1) / 2
        codes = torch.cdist(z, z, p=1) / bits  # (N, N)
        wanted = targets.distances[labels[:, None], labels].to(u)
        first, second = torch.triu_indices(n, n, 1, device=u.device)
        d, t = codes[first, second], wanted[first, second]
        w = (self.near / (self.near + t)) ** self.decay
        tiny = 1e-6  # a batch of one class has no label distance to divide by
        gap = (d / d.mean().clamp_min(tiny) - t / t.mean().clamp_min(tiny)).abs()
        similarity = (w * gap).sum() / w.sum()

        draw = np.random.default_rng([targets.seed, int(targets.step)]).beta(self.shape, self.shape, (n, bits))
        targets.step += 1
        samples = torch.from_numpy(draw).to(u)
        itself = torch.eye(n, dtype=torch.bool, device=u.device)
        inside = codes.masked_fill(itself, torch.inf).amin(1)  # ν(z_i, Z)
        outside = torch.cdist(z, samples, p=1).amin(1) / bits  # ν(z_i, Y)
        divergence = ((outside + self.floor).log() - (inside + self.floor).log()).mean()
        return similarity + self.weight * divergence, {"similarity": similarity, "divergence": divergence}
