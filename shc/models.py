"""Networks: a backbone that turns images into features, with a classifier's or a hasher's linear layer on top.

`cnn` is the CPU default for 32–64 px: five 3×3 convolutions with batch norm, 0.5 M weights, channels_last. The
torchvision ResNets keep their published stem with ImageNet weights (images are then resized to 224 px and normalised as
ImageNet was); without weights and below 65 px they get the usual 3×3 stem for small images.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = Literal["none", "imagenet"]
NETS = ("cnn", "resnet18", "resnet34", "resnet50")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SmallCNN(nn.Module):
    """Five-convolution network for small images: uint8-scaled input [N, 3, S, S] → features [N, 4·width]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        half, double, self.dim = width // 2, width * 2, width * 4

        def block(inside: int, outside: int) -> nn.Sequential:
            conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))

        self.layers = nn.Sequential(
            block(3, half), nn.MaxPool2d(2),
            block(half, width), nn.MaxPool2d(2),
            block(width, double), block(double, double), nn.MaxPool2d(2),
            block(double, self.dim),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))  # (N, dim)


class ResNet(nn.Module):
    """A torchvision ResNet without its classification layer: [N, 3, S, S] → features [N, 512 or 2048]."""

    def __init__(self, name: str, weights: Weights, size: int) -> None:
        super().__init__()
        import torchvision

        self.imagenet = weights == "imagenet"
        try:
            net = getattr(torchvision.models, name)(weights="IMAGENET1K_V1" if self.imagenet else None)
        except OSError as error:  # URLError and a full disk are both OSErrors
            raise ValueError(
                f"weights='imagenet' for {name} could not be downloaded ({error}); connect to the network, put the "
                "file into torch's hub cache by hand, or set weights='none' to train from scratch"
            ) from error
        if not self.imagenet and size <= 64:
            net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        self.dim = net.fc.in_features
        net.fc = nn.Identity()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        if self.imagenet:
            x = F.interpolate(x, size=224, mode="bilinear", antialias=True) if x.shape[-1] != 224 else x
            mean, std = (x.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
            x = ((x + 1) / 2 - mean) / std
        return self.net(x)


def backbone(name: str = "cnn", *, weights: Weights = "none", size: int = 32) -> nn.Module:
    """Build a feature extractor by name; its `.dim` is the number of features.

    Raises ValueError for an unknown name, or for ImageNet weights that do not exist or cannot be downloaded.

    >>> backbone("cnn")(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 256])
    """
    if name not in NETS:
        raise ValueError(f"net={name!r} is unknown; choose one of {', '.join(NETS)}")
    if weights not in ("none", "imagenet"):
        raise ValueError(f"weights={weights!r} is unknown; choose 'none' or 'imagenet'")
    if name == "cnn":
        if weights != "none":
            raise ValueError("net='cnn' has no ImageNet weights; set weights='none' or choose a resnet")
        net: nn.Module = SmallCNN()
    else:
        net = ResNet(name, weights, size)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Classifier(nn.Module):
    """Backbone → Linear(classes): images as floats in [−1, 1] [N, 3, S, S] → logits [N, C]."""

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = net
        self.head = nn.Linear(net.dim, classes)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class Hasher(nn.Module):
    """Backbone → head, a linear layer in most methods: images in [−1, 1] [N, 3, S, S] → u [N, K]; u ≥ 0 is a bit."""

    def __init__(self, net: nn.Module, bits: int, head: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = net
        self.head = nn.Linear(net.dim, bits) if head is None else head  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def codes_from(u: Tensor) -> Tensor:
    """int8 [N, K]: +1 where u ≥ 0, −1 elsewhere; never 0, as a sign function would give.

    >>> codes_from(torch.tensor([[-0.3, 0.0, 2.0]]))
    tensor([[-1,  1,  1]], dtype=torch.int8)
    """
    return torch.where(u >= 0, 1, -1).to(torch.int8)
