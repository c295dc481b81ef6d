"""UDMSH, unsupervised deep multi-similarity hashing (Qin et al., TCSVT 2020): graded similarities of features.

    L = mean_ij w_ij ( cos(u_i, u_j) − s_ij )²  +  λ · mean( (|u| − 1)² ),   u = R W f

s_ij ∈ {−1, −½, 0, ½, 1} and its weight w_ij come from the cosine distance of two images in the features of the start
network, joined from the whole image and its four quadrants. Distances pile up around a mode m; left and right of it
they are taken for half Gaussians with deviations σ, as in SSDH (Yang et al., IJCAI 2018). With t = (m − distance)/σ,
images are similar (s = 1) from t = α on, dissimilar (−1) from −α, in steps between; w = |t|/α, at most 1. The rotation R
turns the outputs towards the corners of the cube, as in ITQ, after every epoch: it leaves all cosines as they are.

Verified from the abstract: global features of a CNN joined with spatial structure (there from a fully convolutional
network), a matrix of their cosine distances with several levels, a multi-level pairwise loss, a Hamming-isometric mapping
against quantization error. From a public re-implementation of SSDH: mode and half Gaussians, α = 2, squared error. Our
reading: quadrants for the spatial structure, features centered first, the steps and weights, λ, the rotation in the head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shc.methods import Method, Task, method
from shc.methods.itq import rotation_to_cube
from shc.training import predict

SAMPLE = 1000  # images whose pairwise distances set the thresholds


class Rotated(nn.Module):
    """A linear layer followed by a rotation that is not learned: features [N, D] → u [N, K]."""

    rotation: Tensor  # [K, K]

    def __init__(self, dim: int, bits: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, bits)
        self.register_buffer("rotation", torch.eye(bits))

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features) @ self.rotation


class Quadrant(nn.Module):
    """One quarter of the images [N, 3, S, S], enlarged to the whole size."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column

    def forward(self, x: Tensor) -> Tensor:
        half = (x.shape[-1] + 1) // 2
        y, z = (place * (x.shape[-1] - half) for place in (self.row, self.column))
        part = x[..., y : y + half, z : z + half]
        return F.interpolate(part, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Similarities(nn.Module):
    """Unit-length features of all training images [N, D], half precision, and how their distances are distributed.

    `mode`, `left`, `right`: the commonest cosine distance and the deviations below and above it. Similarities are
    computed for a batch at a time; the N × N matrix never exists.
    """

    features: Tensor
    distribution: Tensor  # [mode, left, right]

    def __init__(self, features: Tensor, mode: float, left: float, right: float, head: nn.Module) -> None:
        super().__init__()
        self.heads = [head]  # in a list, so that its weights are not stored twice
        self.register_buffer("features", features.half())
        self.register_buffer("distribution", torch.tensor([mode, left, right]))

    def standardized(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """t [n, n] of the images in `rows`: how many deviations nearer than the mode each two are."""
        f = self.features[rows].to(dtype)
        mode, left, right = self.distribution.to(dtype)
        gap = mode - (1 - f @ f.T)
        return gap / torch.where(gap > 0, left, right)


def half_gaussians(distances: Tensor, bins: int = 100) -> tuple[float, float, float]:
    """Mode of the distances [P], the fullest of `bins` equal bins; root mean square deviation below and above it."""
    low, high = float(distances.min()), float(distances.max())
    fullest = int(torch.histc(distances, bins, low, high).argmax())
    mode = low + (fullest + 0.5) * (high - low) / bins
    gap = distances - mode
    left, right = (part.square().mean().sqrt() if len(part) else gap.std() for part in (gap[gap <= 0], gap[gap > 0]))
    return mode, max(float(left), 1e-6), max(float(right), 1e-6)


@method("udmsh", needs="none", source="Qin et al., IEEE TCSVT, 2020", start="scratch")
@dataclass(frozen=True)
class UDMSH(Method):
    """Cosines of outputs follow graded similarities of features; a rotation lowers the quantization error."""

    threshold: float = 2.0  # α: deviations from the mode at which two images count as surely (dis)similar
    levels: int = 2  # steps of similarity on each side of 0
    quantization: float = 0.1  # λ
    rounds: int = 10  # of the rotation's search after each epoch

    def check(self) -> None:
        """`threshold` must be above 0, `levels` at least 1."""
        if self.threshold == 0:
            raise ValueError("threshold=0.0 must be above 0, so that there is a middle between similar and dissimilar")
        if self.levels < 1:
            raise ValueError(f"levels={self.levels} must be at least 1")

    def head(self, dim: int, bits: int, classes: int) -> nn.Module:
        """Linear layer and rotation."""
        return Rotated(dim, bits)

    @torch.no_grad()
    def targets(self, task: Task, model: nn.Module) -> Similarities:
        """Features of whole images and quadrants by the start network; ValueError without the images."""
        if task.images is None or task.features is None:
            raise ValueError("udmsh needs the training images and their features, got None")
        net: Any = model.to(task.device)
        training = net.training
        parts = [task.features().float().cpu()]
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            view = nn.Sequential(Quadrant(row, column), net.backbone)
            parts.append(predict(view, task.images, device=task.device, threads=torch.get_num_threads()))
        net.train(training)
        unit = [F.normalize(part - part.mean(0), dim=1) for part in parts]
        whole, quarters = unit[0], torch.cat(unit[1:], 1)
        joined = F.normalize(torch.cat([whole, quarters / 2], 1), dim=1)  # whole and quarters have equal shares
        order = torch.randperm(len(joined), generator=torch.Generator().manual_seed(task.seed))
        some = joined[order[:SAMPLE]].half().float()
        first, second = torch.triu_indices(len(some), len(some), 1)
        distances = (1 - some @ some.T)[first, second]
        return Similarities(joined, *half_gaussians(distances), net.head).to(task.device)

    def loss(self, u: Tensor, labels: Tensor, targets: Similarities) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] row numbers → scalar and its two terms."""
        t = targets.standardized(labels, u.dtype) / self.threshold  # (N, N)
        similarity = ((t * self.levels).trunc() / self.levels).clamp(-1, 1)
        confidence = t.abs().clamp(max=1).fill_diagonal_(0)
        unit = F.normalize(u, dim=1)
        pairwise = (confidence * (unit @ unit.T - similarity).square()).mean()
        quantization = (u.abs() - 1).square().mean()
        return pairwise + self.quantization * quantization, {"pairwise": pairwise, "quantization": quantization}

    def end_of_epoch(self, targets: Similarities, epoch: int, outputs: Callable[[], Tensor]) -> None:
        """Turn the outputs of all training images [N, K] towards the corners of the cube."""
        head: Any = targets.heads[0]
        u = outputs().double()
        turn = rotation_to_cube(u, self.rounds, torch.eye(u.shape[1]).to(u))
        head.rotation.copy_(head.rotation.to(turn) @ turn)
