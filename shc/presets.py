"""Parameters that belong together, by a name: `shc run --preset NAME`.

`paper` is the published protocol: an ImageNet ResNet-34 on crops of 224 px, trained for 300 epochs by RMSprop at 1e-4
(7e-5 on CIFAR-100) with a cosine, weight decay 1e-5 and batches of 64. We read "pretrained" as ImageNet for both
networks: stage 3 does not go on from stage 1's. One in a hundred of the training images chooses the epoch, at least one
of each class; how it was chosen is not published. `paper-fast` trains the same network with what is usual today; its
numbers were chosen, not tuned. `frozen` trains no backbone at all. `tiny` shows in minutes whether everything works.
"""

import difflib
from dataclasses import dataclass, field
from typing import Any

from shc.parameters import ParameterError


@dataclass(frozen=True)
class Preset:
    """What it is for, and values of notebook parameters; some data sets have values of their own."""

    help: str
    values: dict[str, Any]
    of_data: dict[str, dict[str, Any]] = field(default_factory=dict)


PICTURES: dict[str, Any] = {"net": "resnet34", "weights": "imagenet", "size": 256, "crop": 224, "val": 0.01}
PRESETS = {
    "paper": Preset(
        "the published settings: ResNet-34, 300 epochs of RMSprop; for a GPU",
        PICTURES
        | {
            "optimizer": "rmsprop", "lr": 1e-4, "hasher_lr": 1e-4, "warmup": 0.0, "weight_decay": 1e-5, "batch": 64,
            "epochs": 300, "hasher_epochs": 300, "backbone_lr": 1.0, "hasher_backbone_lr": 1.0, "init": "scratch",
        },
        {"cifar100": {"lr": 7e-5, "hasher_lr": 7e-5}},
    ),
    "paper-fast": Preset(
        "the same network and images, AdamW, one cycle of 20 epochs, bfloat16; for a GPU",
        PICTURES
        | {
            "lr": 1e-3, "hasher_lr": 1e-3, "batch": 256, "epochs": 20, "hasher_epochs": 20, "dtype": "bfloat16",
            "backbone_lr": 0.1, "hasher_backbone_lr": 0.1,
        },
    ),
    "frozen": Preset(
        "features of an ImageNet network that is not trained further, computed once",
        {"net": "efficientnet_lite0", "weights": "imagenet", "features": "frozen", "hasher_epochs": 20},
        {name: {"size": 224} for name in ("coco", "image_folder", "nabirds", "stanford_cars")},  # the net's input
    ),
    "tiny": Preset(
        "a little of everything, to see that it works; the numbers mean nothing",
        {
            "scale": 0.02, "size": 16, "epochs": 2, "hasher_epochs": 2, "batch": 64, "bits": 16, "map_codes": 60,
            "frontier_step": 64, "frontier_seeds": 1, "frontier_thin": 1, "neighbors": 3, "examples": 2,
        },
    ),
}  # fmt: skip


def preset_values(name: str, data: str = "") -> dict[str, Any]:
    """The parameters of a preset for a data set; ParameterError for an unknown name.

    >>> preset_values("paper")["lr"], preset_values("paper", "cifar100")["lr"]
    (0.0001, 7e-05)
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ParameterError(f"preset {name!r} is unknown{hint} The presets are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    return preset.values | preset.of_data.get(data, {})
