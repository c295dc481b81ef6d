"""What an image should become: the center of its class, or for several labels what its centers agree on bit by bit.

Methods take labels as class positions int64 [N] or as a multi-hot matrix [N, C], float or bool; these functions serve
both.
"""

import torch
from torch import Tensor


def centers_of(labels: Tensor, centers: Tensor) -> Tensor:
    """The ±1 target [N, K] of every image: its class's center, or the bit-wise majority over its labels' centers.

    A tie of an even number of labels is decided by a fixed vector of random signs, the same for every image.
    Raises ValueError if an image has no label.

    >>> centers = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [1.0, 1.0, -1.0]])
    >>> centers_of(torch.tensor([1]), centers)
    tensor([[ 1., -1., -1.]])
    >>> centers_of(torch.tensor([[1.0, 1.0, 1.0]]), centers)
    tensor([[ 1.,  1., -1.]])
    """
    if labels.ndim == 1:
        return centers[labels]
    if bool((labels.sum(1) == 0).any()):
        raise ValueError("an image without a label has no center; leave such images out of the training split")
    votes = labels.to(centers.dtype) @ centers
    generator = torch.Generator().manual_seed(0)
    ties = torch.randint(2, (centers.shape[1],), generator=generator).to(centers) * 2 - 1
    return torch.where(votes == 0, ties, votes.sign())


def related(labels: Tensor, others: Tensor) -> Tensor:
    """bool [N, M]: whether two images share a label.

    >>> related(torch.tensor([0, 1]), torch.tensor([1, 1, 0]))
    tensor([[False, False,  True],
            [ True,  True, False]])
    """
    if labels.ndim == 1:
        return labels[:, None] == others[None, :]
    return labels.float() @ others.float().T > 0


def shares(labels: Tensor, classes: int) -> Tensor:
    """float [N, C]: every label's share of its image, label / number of labels (one-hot for a single label)."""
    if labels.ndim == 1:
        return torch.nn.functional.one_hot(labels, classes).float()
    return labels.float() / labels.sum(1, keepdim=True).clamp_min(1)
