"""Networks: a backbone that turns images into features, with a classifier's or a hasher's linear layer on top.

`cnn` is the CPU default for 32–64 px: five 3×3 convolutions with batch norm, 0.5 M weights, channels_last; `cnn_small`
has 0.3 M, and `cnn_wide`, with 2.1 M about as large as the nets of CIFAR-10 speed records, is for a GPU. The others
come from torchvision, or from `shc.efficientnet`. With ImageNet weights a net sees images as in its own training:
resized to 224 px and normalized. The ResNets without weights get the usual 3×3 stem below 65 px; the rest has no form
for small images and always sees 224 px.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = Literal["none", "imagenet"]
TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "convnext_tiny", "efficientnet_b0", "mobilenet_v3_large", "vit_b_16",
)  # fmt: skip
CNNS = {"cnn": 64, "cnn_small": 48, "cnn_wide": 128}  # width by name; they have no ImageNet weights
NETS = ("cnn", *TORCHVISION, "efficientnet_lite0", "cnn_small", "cnn_wide")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A feature extractor: images as floats in [−1, 1] [N, 3, S, S] → features [N, dim].

    With `crop`, only that much of a larger image's center is looked at. Training passes random crops of this size
    already, so that the same network serves both.
    """

    dim: int
    crop: int = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.features(center_crop(x, self.crop))

    def features(self, x: Tensor) -> Tensor:
        """float32 [N, dim] of images that are cropped already."""
        raise NotImplementedError


class SmallCNN(Backbone):
    """Five-convolution network for small images: uint8-scaled input [N, 3, S, S] → features [N, 4·width]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        half, double, self.dim = width // 2, width * 2, width * 4

        def block(inside: int, outside: int, *after: nn.Module) -> nn.Sequential:
            conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outside), *after)

        def smaller() -> nn.Sequential:
            """The largest of four pixels, or 0: the same as with the ReLU before, which would see all four."""
            return nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True))

        self.layers = nn.Sequential(
            block(3, half), smaller(),
            block(half, width), smaller(),
            block(width, double, nn.ReLU(inplace=True)), block(double, double), smaller(),
            block(double, self.dim, nn.ReLU(inplace=True)),
        )  # fmt: skip

    def features(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))  # (N, dim)


class TorchvisionNet(Backbone):
    """A torchvision classification network without its last linear layer: [N, 3, S, S] → features [N, dim].

    Without `fetch` it has the form that `weights` need, and random numbers in it: for weights that are loaded later.
    """

    def __init__(self, name: str, weights: Weights, size: int, fetch: bool = True) -> None:
        super().__init__()
        import torchvision

        self.imagenet, resnet = weights == "imagenet", name.startswith("resnet")
        self.side = 224 if self.imagenet or not resnet else 0
        try:
            net = getattr(torchvision.models, name)(weights="IMAGENET1K_V1" if self.imagenet and fetch else None)
        except OSError as error:  # URLError and a full disk are both OSErrors
            raise ValueError(
                f"weights='imagenet' for {name} could not be downloaded ({error}); connect to the network, put the "
                "file into torch's hub cache by hand, set weights='none' to train from scratch, or choose "
                "net='efficientnet_lite0', whose weights come in a package"
            ) from error
        if resnet and not self.imagenet and size <= 64:
            net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        last = [key for key, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
        self.dim = net.get_submodule(last).in_features
        parent, _, child = last.rpartition(".")
        setattr(net.get_submodule(parent), child, nn.Identity())
        self.net = net

    def features(self, x: Tensor) -> Tensor:
        x = resized(x, self.side)
        if self.imagenet:
            mean, std = (x.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
            x = ((x + 1) / 2 - mean) / std
        return self.net(x)


def backbone(
    name: str = "cnn", *, weights: Weights = "none", size: int = 32, crop: int = 0, fetch: bool = True
) -> Backbone:
    """Build a feature extractor for images of `size` pixels by name; its `.dim` is the number of features.

    `crop` cuts the center out of larger images first. Without `fetch` the ImageNet weights are not looked for: the net
    has their form, and is to be loaded with weights of its own.
    Raises ValueError for an unknown name, for a crop larger than the images, or for ImageNet weights that do not exist,
    cannot be downloaded, or are in a package that is not installed.

    >>> backbone("cnn")(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 256])
    """
    if name not in NETS:
        raise ValueError(f"net={name!r} is unknown; choose one of {', '.join(NETS)}")
    if weights not in ("none", "imagenet"):
        raise ValueError(f"weights={weights!r} is unknown; choose 'none' or 'imagenet'")
    if crop > size:
        raise ValueError(f"crop={crop} is more than the images' {size} pixels; set size higher, or crop=0")
    if name in CNNS:
        if weights != "none":
            raise ValueError(f"net={name!r} has no ImageNet weights; set weights='none' or choose a resnet")
        net: Backbone = SmallCNN(CNNS[name])
    elif name == "efficientnet_lite0":
        from shc.efficientnet import EfficientNetLite0

        net = EfficientNetLite0(pretrained=weights == "imagenet" and fetch)
    else:
        net = TorchvisionNet(name, weights, crop or size, fetch)
    net.crop = crop
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def check_weights(name: str, weights: str) -> None:
    """Raise ValueError if a net's ImageNet weights come in a package that is not installed; nothing is read.

    >>> check_weights("efficientnet_lite0", "none")
    """
    if name == "efficientnet_lite0" and weights == "imagenet":
        from shc.efficientnet import weights_file

        weights_file()


def center_crop(x: Tensor, side: int) -> Tensor:
    """The middle [N, C, side, side] of images [N, C, S, S]; all of them if side is 0 or they are not larger.

    >>> center_crop(torch.arange(5.0).expand(1, 1, 5, 5), 3)[0, 0, 0]
    tensor([1., 2., 3.])
    """
    border = (x.shape[-1] - side) // 2
    return x[..., border : border + side, border : border + side] if side and border > 0 else x


def resized(x: Tensor, side: int) -> Tensor:
    """Images [N, 3, side, side], interpolated; left as they are if side is 0 or theirs."""
    if side in (0, x.shape[-1]):
        return x
    return F.interpolate(x, size=side, mode="bilinear", antialias=True)


class Classifier(nn.Module):
    """Backbone → Linear(classes): images as floats in [−1, 1] [N, 3, S, S] → logits [N, C]."""

    def __init__(self, net: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = net
        self.head = nn.Linear(net.dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class Hasher(nn.Module):
    """Backbone → head, a linear layer in most methods: images in [−1, 1] [N, 3, S, S] → u [N, K]; u ≥ 0 is a bit."""

    def __init__(self, net: Backbone, bits: int, head: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = net
        self.head = nn.Linear(net.dim, bits) if head is None else head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def codes_from(u: Tensor) -> Tensor:
    """int8 [N, K]: +1 where u ≥ 0, −1 elsewhere; never 0, as a sign function would give.

    >>> codes_from(torch.tensor([[-0.3, 0.0, 2.0]]))
    tensor([[-1,  1,  1]], dtype=torch.int8)
    """
    return torch.where(u >= 0, 1, -1).to(torch.int8)
