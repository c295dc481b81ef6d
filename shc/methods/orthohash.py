"""OrthoHash (Hoe et al., NeurIPS 2021): one loss, a softmax with cosine margin against fixed ±1 targets.

    v = BN(W f),  z_c = s · ( cos(v, t_c) − m · [c is a label] ),  L = −mean Σ_c share_c · log softmax(z)_c

Where an image has several labels, share_c = label / number of labels, else one-hot. The batch norm's output is u, and
its sign is the code: it balances the bits, and the cosine alone keeps v near a corner of the cube.

The targets t_c are hash centers that know nothing of the images, by default "random" (Bernoulli codes, as in the
published code); "csq" gives Hadamard codes, and any other kind shows what the loss does with it.

Verified from the published code: margin .2 on the cosine of every label, label / count, bias-free linear layer with
batch norm, no quantization term, random targets by default. Not verified there: s = √K (its default is 8, which is √K
at its default of 64 bits) and Hadamard targets, both as the paper is usually cited.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from shc.methods import Method, method
from shc.targets import shares


@method("orthohash", needs="class", source="Hoe et al., NeurIPS 2021", default_centers="random", multi_label=True)
@dataclass(frozen=True)
class OrthoHash(Method):
    """Cosine-margin softmax against fixed ±1 targets."""

    margin: float = 0.2  # m, what a label's cosine must be ahead of the others
    scale: float = 0.0  # s, inverse temperature of the softmax; 0 means √K

    def head(self, dim: int, bits: int, classes: int) -> nn.Module:
        """Linear without bias, then batch norm: [N, D] → v [N, K]."""
        return nn.Sequential(nn.Linear(dim, bits, bias=False), nn.BatchNorm1d(bits))

    def loss(self, u: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] or multi-hot [N, C], targets ±1 [C, K] → scalar and its only term."""
        share = shares(labels, len(targets)).to(u)  # (N, C)
        root = math.sqrt(u.shape[1])
        cosine = F.normalize(u) @ targets.to(u).T / root
        logits = (self.scale or root) * (cosine - self.margin * (share > 0))
        entropy = -(share * logits.log_softmax(1)).sum(1).mean()
        return entropy, {"cosine": entropy}
