"""DPSH, deep pairwise-supervised hashing (Li, Wang & Kang, IJCAI 2016): images that share a label get like codes.

    θ_ij = ½ u_iᵀu_j,   L = mean_{i≠j} [ log(1 + exp θ_ij) − s_ij θ_ij ]  +  η · mean( (u − sign u)² )

with s_ij = 1 where two images share a label, else 0; no tanh. The bracket is −log sigmoid(±θ_ij), computed so.

Verified from the published PyTorch code: both terms, θ and s. Our reading: the pairs are those within a batch, an image
with itself left out and both getting gradients (theirs pair a batch with the last outputs of all N training images,
held fixed); and means instead of sums, so that the learning rate does not depend on the batch. Its weight of 10 on the
sum over bits, beside a sum over N = 5000 partners, is 10 K / N on our means, about .1 at 48 bits: hence η.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from shc.methods import Method, method
from shc.models import codes_from
from shc.targets import related


@method("dpsh", needs="class", source="Li, Wang & Kang, IJCAI 2016", multi_label=True)
@dataclass(frozen=True)
class DPSH(Method):
    """Negative log-likelihood of the pairs' relations plus a pull of every output to its sign."""

    eta: float = 0.1  # η, weight of the quantization term

    def loss(self, u: Tensor, labels: Tensor, targets: object) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] or multi-hot [N, C] → scalar and its two terms."""
        n = len(u)
        theta = u @ u.T / 2  # (N, N)
        likelihood = F.logsigmoid(torch.where(related(labels, labels), theta, -theta)).fill_diagonal_(0)
        pair = -likelihood.sum() / max(n * (n - 1), 1)
        quantization = (u - codes_from(u).to(u)).square().mean()
        return pair + self.eta * quantization, {"pair": pair, "quantization": quantization}
