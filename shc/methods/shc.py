"""SHC, stage 3 (Chen et al. 2025): every image is pulled to its class's semantic hash center.

    L = mean BCE( (tanh u + 1)/2 , (h_y + 1)/2 )  +  γ · mean( (|tanh u| − 1)² )

The first term is computed as BCE with logits at 2u: (tanh u + 1)/2 = sigmoid(2u) exactly, and the logit form does not
saturate in float32. Verified from the paper: both terms and γ = 1e-4.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from shc.methods import Method, method
from shc.targets import centers_of


@method(
    "shc",
    needs="class",
    source="Chen et al., ACM TOIS 43(6), 2025",
    default_centers="semantic",
    multi_label=True,
)
@dataclass(frozen=True)
class SHC(Method):
    """Binary cross-entropy towards the class's center plus a small pull of every output to ±1."""

    gamma: float = 1e-4  # weight of the quantization term

    def loss(self, u: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] or multi-hot [N, C], targets ±1 [C, K] → scalar and its two terms."""
        center = F.binary_cross_entropy_with_logits(2 * u, (centers_of(labels, targets) + 1) / 2)
        quantization = (u.tanh().abs() - 1).square().mean()
        return center + self.gamma * quantization, {"center": center, "quantization": quantization}
