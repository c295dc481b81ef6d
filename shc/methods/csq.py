"""CSQ, central similarity quantization (Yuan et al., CVPR 2020): centers from a Hadamard matrix, no semantics.

    L = mean BCE( (tanh u + 1)/2 , (h_y + 1)/2 )  +  λ · mean( log cosh( |tanh u| − 1 ) )

Centers are rows of a Hadamard matrix and its negative while these last (C ≤ 2K, K a power of two), else balanced random
codes. From the paper: both terms, λ = 1e-4, the choice of centers; tanh as the relaxation is the published code's,
which quantizes by (|tanh u| − 1)² instead and adds a pair loss. Its tutorial also redraws random codes until they are
far apart; ours only until they differ.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from shc.constructions import hadamard_centers
from shc.methods import Method, method
from shc.targets import centers_of


@method("csq", needs="class", source="Yuan et al., CVPR 2020", default_centers="csq", multi_label=True)
@dataclass(frozen=True)
class CSQ(Method):
    """Binary cross-entropy towards a data-independent center plus log-cosh quantization."""

    weight: float = 1e-4  # λ, weight of the quantization term

    def loss(self, u: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] or multi-hot [N, C], targets ±1 [C, K] → scalar and its two terms."""
        center = F.binary_cross_entropy_with_logits(2 * u, (centers_of(labels, targets) + 1) / 2)
        x = 1 - u.tanh().abs()  # log cosh is even
        quantization = (x + F.softplus(-2 * x) - math.log(2)).mean()
        return center + self.weight * quantization, {"center": center, "quantization": quantization}


def csq_centers(bits: int, classes: int, seed: int = 0) -> np.ndarray:
    """CSQ's centers int8 [C, K]: Hadamard codes where they exist, else random codes with as many +1 as −1.

    >>> csq_centers(32, 100).sum(axis=1).any()
    np.False_
    """
    if bits & (bits - 1) == 0 and classes <= 2 * bits:
        return hadamard_centers(bits, classes)
    half = np.where(np.arange(bits) < bits // 2, 1, -1).astype(np.int8)
    if classes > math.comb(bits, bits // 2):
        raise ValueError(f"{classes} classes cannot have different balanced codes of {bits} bits; use more bits")
    generator = np.random.default_rng(seed)
    codes = generator.permuted(np.tile(half, (classes, 1)), axis=1)
    while len(first := np.unique(codes, axis=0, return_index=True)[1]) < classes:  # no two classes share a code
        again = np.setdiff1d(np.arange(classes), first)
        codes[again] = generator.permuted(codes[again], axis=1)
    return codes
