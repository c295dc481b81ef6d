"""The classifier as a hash function (Sablayrolles et al., ICASSP 2017): an image gets the code of its predicted class.

    u = center of class arg max_c (w_c · f + b_c)

A sanity check, not a method: where queries and database share the trained classes it does well by design, and a hashing
method that stays below it has learned no more than the classes. It says nothing of classes it was not trained on.
Verified from the abstract: a trivial solution that encodes a classifier's output. Ours: each class's code is its hash
center, so that equal centers can be compared with and without hashing.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shc.methods import Method, Task, method


class PredictedCenter(nn.Module):
    """Features [N, D] → the ±1 center [N, K] of the class that a linear layer predicts."""

    centers: Tensor  # ±1 float [C, K]

    def __init__(self, dim: int, bits: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)
        self.register_buffer("centers", torch.ones(classes, bits))

    def forward(self, features: Tensor) -> Tensor:
        return self.centers[self.linear(features).argmax(1)]


@method("classifier", needs="class", source="Sablayrolles et al., ICASSP 2017", default_centers="semantic")
@dataclass(frozen=True)
class ClassifierCode(Method):
    """Code of the predicted class; the classifier is the one that the run has trained already."""

    trained: ClassVar[bool] = False

    def head(self, dim: int, bits: int, classes: int) -> nn.Module:
        """The classifier's layer followed by a table of centers."""
        return PredictedCenter(dim, bits, classes)

    @torch.no_grad()
    def targets(self, task: Task, model: nn.Module) -> None:
        """Copy the classifier's layer and the centers into `model.head`; ValueError if one of them is missing."""
        if task.classifier is None or task.centers is None:
            missing = "a trained classifier" if task.classifier is None else "centers"
            raise ValueError(f"method 'classifier' needs {missing}, got None")
        head: Any = model.to(task.device).head
        weight, bias = task.classifier
        head.linear.weight.copy_(weight)
        head.linear.bias.copy_(bias)
        head.centers.copy_(task.centers)
