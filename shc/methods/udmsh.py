"""UDMSH, unsupervised deep multi-similarity hashing (Qin et al., TCSVT 2020): graded similarities of features.

    L = Σ_ij w_ij ( cos(u_i, u_j) − s_ij )² / Σ_ij w_ij  +  λ · mean( (|u| − 1)² ),   u = R W f

s_ij ∈ {−1, −½, 0, ½, 1} and its weight w_ij come from the cosine distance of two images in the features of the start
network, whitened and joined from the whole image and its four quadrants. Distances pile up around a mode m; left and
right of it they are half Gaussians with deviations σ, as in SSDH (Yang et al., IJCAI 2018). With t = (m − distance)/σ,
images are similar (s = 1) from t = α on, dissimilar (−1) from −α, in steps between; w = |t|/α, at most 1. The rotation
R turns outputs towards the corners of the cube after every epoch, as in ITQ; it leaves all cosines as they are.

Verified from the abstract: global features of a CNN joined with spatial structure (of a fully convolutional network),
a matrix of their cosine distances with several levels, a multi-level pairwise loss, a Hamming-isometric mapping. From a
public re-implementation of SSDH: mode and half Gaussians, α = 2, squared error. Our reading: quadrants, whitening (in
features of an untrained network a few directions drown the others), steps, weights, λ, the rotation inside the head.
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
        top, left = self.row * (x.shape[-1] - half), self.column * (x.shape[-1] - half)
        part = x[..., top : top + half, left : left + half]
        return F.interpolate(part, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Similarities(nn.Module):
    """Unit-length features of the training images, and how their distances are distributed; no N × N matrix."""

    features: Tensor  # float16 [N, D]
    distribution: Tensor  # commonest cosine distance, deviations below and above it

    def __init__(self, features: Tensor, mode: float, left: float, right: float, head: nn.Module) -> None:
        super().__init__()
        self.heads: list[Any] = [head]  # in a list, so that its weights are not stored twice
        self.register_buffer("features", features.half())
        self.register_buffer("distribution", torch.tensor([mode, left, right]))

    def standardized(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """t [n, n] of the images in `rows`: how many deviations nearer than the mode each two are."""
        f, (mode, left, right) = self.features[rows].to(dtype), self.distribution.to(dtype)
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


def whitened(x: Tensor, axes: int) -> Tensor:
    """Rows of x [N, D] on their leading principal axes, each divided by its deviation, as unit vectors [N, ≤ axes]."""
    x = x.double() - x.double().mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x)  # ascending
    kept = max(1, min(axes, int((values > values[-1] * 1e-10).sum())))
    return F.normalize(x @ vectors[:, -kept:] / values[-kept:].clamp_min(1e-30).sqrt(), dim=1).float()


@method("udmsh", needs="none", source="Qin et al., IEEE TCSVT, 2020", start="scratch")
@dataclass(frozen=True)
class UDMSH(Method):
    """Cosines of outputs follow graded similarities of features; a rotation lowers the quantization error."""

    threshold: float = 2.0  # α: deviations from the mode at which two images count as surely (dis)similar
    levels: int = 2  # steps of similarity on each side of 0
    quantization: float = 0.1  # λ
    axes: int = 64  # leading principal axes of the features that are compared
    rounds: int = 10  # of the rotation's search after each epoch

    def check(self) -> None:
        """`threshold` must be at least 0.001, `levels` and `axes` at least 1."""
        for name, least in (("threshold", 1e-3), ("levels", 1), ("axes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")

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
        where: Any = dict(device=task.device, threads=torch.get_num_threads())
        views = [nn.Sequential(Quadrant(row, column), net.backbone) for row in (0, 1) for column in (0, 1)]
        parts = [task.features().float().cpu(), *(predict(view, task.images, **where) for view in views)]
        net.train(training)
        unit = [whitened(part, self.axes) for part in parts]
        joined = torch.cat([unit[0], *(quarter / 2 for quarter in unit[1:])], 1) / 2**0.5  # whole as much as quarters
        order = torch.randperm(len(joined), generator=torch.Generator().manual_seed(task.seed))
        some = joined[order[:1000]].half().float()
        distances = 1 - (some @ some.T)[torch.triu_indices(len(some), len(some), 1).unbind()]
        return Similarities(joined, *half_gaussians(distances), net.head).to(task.device)

    def loss(self, u: Tensor, labels: Tensor, targets: Similarities) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] row numbers → scalar and its two terms."""
        t = targets.standardized(labels, u.dtype) / self.threshold  # (N, N)
        similarity = ((t * self.levels).trunc() / self.levels).clamp(-1, 1)
        confidence = t.abs().clamp(max=1).fill_diagonal_(0)
        unit = F.normalize(u, dim=1)
        gap = (unit @ unit.T - similarity).square()
        pairwise = (confidence * gap).sum() / confidence.sum().clamp_min(1e-6)
        quantization = (u.abs() - 1).square().mean()
        return pairwise + self.quantization * quantization, {"pairwise": pairwise, "quantization": quantization}

    @torch.no_grad()
    def end_of_epoch(self, targets: Similarities, epoch: int, outputs: Callable[[], Tensor]) -> None:
        """Turn the outputs of all training images [N, K] towards the corners of the cube."""
        u, rotation = outputs().double(), targets.heads[0].rotation
        rotation.copy_(rotation.to(u) @ rotation_to_cube(u, self.rounds, torch.eye(u.shape[1]).to(u)))
