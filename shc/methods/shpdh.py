"""SHPDH, semantic-hierarchy-preserving deep hashing (Zhang et al. 2019): a softmax over class means on every level.

    L = Σ_k −log softmax_c( −½ s_k ‖u − μ_kc‖² )[y_k]  +  (1/K) ( 10 · Σ relu(|u| − 1.1) + 0.1 · ‖sign u − u‖² )

averaged over images; k = 0 are the classes, k = 1, 2, … their groups from fine to coarse. μ_0c is the mean output of a
class over the training images, computed anew after every epoch; a group's mean is the mean of its children's.

Verified from the authors' code: all terms and weights, s = (1, ½) as inverse variances for two levels, the means. (It
has s = (1, .67, .5, .25) for a tree of four; halving on for deeper trees is our reading.) Ours: the first means are the
start network's instead of noise, and all means are taken in evaluation mode, without augmentation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shc.hierarchy import Hierarchy
from shc.methods import Method, Task, method


class ClassMeans(nn.Module):
    """Mean output of every class, and how the groups of each level follow from it.

    `means` [C, K]; per level k: `node_k` int64 [C], each class's group; `average_k` [G, C], the weight of every class
    in the mean of a group, which is the mean of its children's means. Raises ValueError for a class without an image.
    """

    means: Tensor
    labels: Tensor

    def __init__(self, labels: Tensor, classes: int, bits: int, paths: tuple[tuple[str, ...], ...] | None) -> None:
        super().__init__()
        count = torch.bincount(labels, minlength=classes)
        if bool((count == 0).any()):
            raise ValueError(f"class {int(count.argmin())} has no training image and so no mean; leave it out")
        tree = Hierarchy(paths) if paths else Hierarchy(((),) * classes)
        self.levels = tree.height
        self.register_buffer("labels", labels, persistent=False)  # only the means change
        self.register_buffer("means", torch.zeros(classes, bits))
        child, average = torch.arange(classes), torch.eye(classes)
        for level in range(self.levels):
            node = torch.from_numpy(tree.group_ids(level))
            if level:
                parent = torch.zeros(len(average), dtype=torch.int64).scatter(0, child, node)  # of each child group
                member = F.one_hot(parent).T.float()  # (G, children)
                average = member / member.sum(1, keepdim=True) @ average  # (G, C)
            self.register_buffer(f"node_{level}", node, persistent=False)
            self.register_buffer(f"average_{level}", average, persistent=False)
            child = node

    @torch.no_grad()
    def update(self, u: Tensor) -> None:
        """Take the class means of u [N, K], the outputs of all training images in order."""
        sums = torch.zeros_like(self.means).index_add_(0, self.labels, u.to(self.means))
        self.means.copy_(sums / torch.bincount(self.labels, minlength=len(sums))[:, None])


@method("shpdh", needs="label path", source="Zhang et al., arXiv 1901.11259, 2019")
@dataclass(frozen=True)
class SHPDH(Method):
    """Nearest class mean on every level of the hierarchy, outputs held near the corners of a cube."""

    coarser: float = 0.5  # factor on the inverse variance s from each level to the next coarser one
    cube: float = 10.0  # weight of what sticks out of the cube |u| ≤ edge
    vertex: float = 0.1  # weight of the squared distance from the nearest corner ±1
    edge: float = 1.1

    @torch.no_grad()
    def targets(self, task: Task, model: nn.Module) -> ClassMeans:
        """The class means of the start network's outputs; without a hierarchy there is only the level of classes."""
        state = ClassMeans(task.labels, task.classes, task.bits, task.paths).to(task.device)
        assert task.features is not None
        head: Any = model.to(task.device).head
        training = head.training
        state.update(head.eval()(task.features().to(task.device)))
        head.train(training)
        return state

    def loss(self, u: Tensor, labels: Tensor, targets: ClassMeans) -> tuple[Tensor, dict[str, Tensor]]:
        """u [N, K], labels int64 [N] → scalar; terms level_0, level_1, … (fine to coarse), cube, vertex."""
        terms = {}
        for level in range(targets.levels):
            means = (targets.get_buffer(f"average_{level}") @ targets.means).to(u)  # (G, K)
            closeness = u @ means.T - means.square().sum(1) / 2  # −½‖u − μ‖² but for ‖u‖², which softmax ignores
            node = targets.get_buffer(f"node_{level}")[labels]
            terms[f"level_{level}"] = F.cross_entropy(self.coarser**level * closeness, node)
        terms["cube"] = F.relu(u.abs() - self.edge).sum(1).mean()
        terms["vertex"] = (torch.where(u >= 0, 1.0, -1.0).to(u) - u).square().sum(1).mean()
        hierarchy = sum(terms[f"level_{level}"] for level in range(targets.levels))
        return hierarchy + (self.cube * terms["cube"] + self.vertex * terms["vertex"]) / u.shape[1], terms

    def end_of_epoch(self, targets: ClassMeans, epoch: int, outputs: Callable[[], Tensor]) -> None:
        """Compute the means anew."""
        targets.update(outputs())
