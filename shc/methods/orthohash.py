"""OrthoHash (Hoe et al., NeurIPS 2021): one loss, a softmax with cosine margin against fixed ±1 targets.

    v = BN(W f),  z_c = s · ( cos(v, t_c) − m · [c is a label] ),  L = −mean Σ_c share_c · log softmax(z)_c

Where an image has several labels, share_c = label / number of labels, else one-hot. The batch norm's output is u, and
its sign is the code: it balances the bits, and the cosine alone keeps v near a corner of the cube.

The targets t_c ∈ {−1, +1}^K by `target_type`:
    bernoulli   random codes (the published code's default; ours are drawn again where two classes got the same)
    hadamard    rows of a Hadamard matrix in random order, orthogonal up to C = K, then complements to C = 2K
    centers     those of the run

Verified from the published code: margin .2 on the cosine of every label, label / count, bias-free linear layer with
batch norm, no quantization term, random targets by default. Not verified there: s = √K (its default is 8, which is √K
at its default of 64 bits) and Hadamard targets, both as the paper is usually cited.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shc.constructions import hadamard_centers, random_centers
from shc.methods import Method, Task, method
from shc.targets import shares

TARGET_TYPES = ("bernoulli", "hadamard", "centers")


@method("orthohash", needs="class", source="Hoe et al., NeurIPS 2021", multi_label=True)
@dataclass(frozen=True)
class OrthoHash(Method):
    """Cosine-margin softmax against fixed ±1 targets, of which `target_type` says the kind."""

    margin: float = 0.2  # m, what a label's cosine must be ahead of the others
    scale: float = 0.0  # s, inverse temperature of the softmax; 0 means √K
    target_type: str = "bernoulli"  # or hadamard, centers

    def check(self) -> None:
        if self.target_type not in TARGET_TYPES:
            raise ValueError(f"target_type={self.target_type!r} is unknown; choose one of {', '.join(TARGET_TYPES)}")

    def head(self, dim: int, bits: int, classes: int) -> nn.Module:
        """Linear without bias, then batch norm: [N, D] → v [N, K]."""
        return nn.Sequential(nn.Linear(dim, bits, bias=False), nn.BatchNorm1d(bits))

    def targets(self, task: Task, model: nn.Module) -> Tensor:
        """Targets ±1 [C, K] drawn by the task's seed, or its centers; ValueError where these targets do not exist."""
        if self.target_type == "centers":
            if task.centers is None:
                raise ValueError("target_type='centers' needs hash centers; give some, or choose bernoulli or hadamard")
            return task.centers.to(task.device)
        if self.target_type == "bernoulli":
            codes = random_centers(task.bits, task.classes, task.seed)
        else:
            try:
                rows = hadamard_centers(task.bits, max(task.bits, task.classes))
            except ValueError as error:
                raise ValueError(
                    f"target_type='hadamard' does not exist for bits={task.bits} and {task.classes} classes: it takes "
                    "a power of two for bits, and at most twice as many classes; choose bernoulli or centers"
                ) from error
            codes = np.random.default_rng(task.seed).permutation(rows)[: task.classes]
        return torch.from_numpy(codes).float().to(task.device)

    def loss(self, u: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] or multi-hot [N, C], targets ±1 [C, K] → scalar and its only term."""
        share = shares(labels, len(targets)).to(u)  # (N, C)
        root = math.sqrt(u.shape[1])
        cosine = F.normalize(u) @ targets.to(u).T / root
        logits = (self.scale or root) * (cosine - self.margin * (share > 0))
        entropy = -(share * logits.log_softmax(1)).sum(1).mean()
        return entropy, {"cosine": entropy}
