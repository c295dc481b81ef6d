"""EmojiStyles-100: one hundred concepts (20 super-classes of 5) in ten freely licensed styles of drawing.

The 64 × 64 RGBA drawings lie in `data/emoji_styles.npz` (licences: `data/EMOJI_LICENSES.md`, made by
`tools/build_emoji.py`). Images are seeded renders: a drawing, moved and recolored, on a random background. Splits go
by family of drawings, because renders of one drawing must not stand on both sides: a query shows a drawing that no
training or database image shows.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from shc.datasets import DATA_FOLDER, PROTOCOLS, About, ImageSet, Options, dataset, read_archive
from shc.datasets.rendering import add_noise, blur_some, per_class, per_image, rendered_set, split_classes, uniform
from shc.hierarchy import Hierarchy

FILE = "emoji_styles.npz"
RENDERER = "emoji renderer 1"  # raise the number whenever the same parameters would give other images
# Styles whose drawings are alike. Fold f asks for family f; family f − 1 validates; the others train.
FAMILIES = {
    "noto": ("noto", "noto-v1"),
    "emojione": ("emojione", "emojione-v1"),
    "fluent": ("fluent-emoji-flat", "fluent-emoji", "fluent-3d"),
    "twemoji": ("twemoji",),
    "fxemoji": ("fxemoji",),
    "openmoji": ("openmoji",),
}
# RGB → luma and two chroma axes (YIQ): a rotation of the chroma plane changes the hue and keeps the luma.
RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Drawings:
    """The drawings: `sprites` uint8 [C, styles, 64, 64, 4] (RGBA, straight alpha), `present` bool [C, styles]."""

    sprites: np.ndarray
    present: np.ndarray
    class_names: list[str]
    styles: list[str]
    superclass: np.ndarray  # int64 [C]
    superclass_names: list[str]
    codepoints: list[str]  # hexadecimal, e.g. "1f434"


def drawings() -> Drawings:
    """Read the drawings that the package carries; ValueError if the file is missing or damaged.

    >>> drawings().sprites.shape
    (100, 10, 64, 64, 4)
    """
    archive = read_archive(FILE)
    return Drawings(
        sprites=archive["sprites"],
        present=archive["present"],
        class_names=archive["class_names"].tolist(),
        styles=archive["styles"].tolist(),
        superclass=archive["superclass"].astype(np.int64),
        superclass_names=archive["superclass_names"].tolist(),
        codepoints=archive["codepoints"].tolist(),
    )


@dataset(
    "emoji",
    PROTOCOLS,
    About(
        "100 in 20 super-classes",
        "67,000 renders, 16 to 256 px",
        terms="drawings Apache-2.0, CC-BY-4.0, CC-BY-SA-4.0, MIT",
        folds=len(FAMILIES),
        drawn=f"the held-out family of drawings: {', '.join(FAMILIES)}",
    ),
)
def emoji(options: Options) -> ImageSet:
    """EmojiStyles-100: 100 emoji in 10 styles; queries show a family of drawings never seen in training.

    `groups["style"]` is the style of every image and `groups["drawing"]` its drawing (class · 10 + style), over which
    intervals should be bootstrapped. Folds 4 and 5 hold out fxemoji for query and validation, which lacks three classes
    (rabbit face, hamster, evergreen tree): those have no images there.
    """
    source = drawings()
    held_out = split_styles(options.fold)
    labels, styles = {}, {}
    for split, classes in split_classes(source.superclass, options).items():
        labels[split], styles[split] = _choose_drawings(
            classes, held_out[split], per_class(split, options.scale), source
        )
    sprites = torch.from_numpy(source.sprites)
    count = len(source.styles)
    return rendered_set(
        options,
        source=f"{RENDERER}, {hashlib.sha256((DATA_FOLDER / FILE).read_bytes()).hexdigest()}",
        labels=labels,
        groups={"style": styles, "drawing": {split: labels[split] * count + styles[split] for split in labels}},
        renderer=lambda y, groups: (
            lambda rows, generator: render(sprites[y[rows], groups["style"][rows]], options.size, generator)
        ),
        class_names=source.class_names,
        hierarchy=Hierarchy(tuple((source.superclass_names[group],) for group in source.superclass)),
        group_names={
            "style": source.styles,
            "drawing": [f"{name}, {style}" for name in source.class_names for style in source.styles],
        },
    )


def split_styles(fold: int) -> dict[str, list[str]]:
    """Which styles every split shows: query one family, val another, the remaining ones all the rest.

    >>> split_styles(0)["query"], split_styles(0)["val"]
    (['noto', 'noto-v1'], ['openmoji'])
    """
    families = list(FAMILIES.values())
    query, val = families[fold], families[fold - 1]
    training = [style for family in families if family not in (query, val) for style in family]
    return {"train": training, "val": list(val), "query": list(query), "query_seen": training, "database": training}


def render(sprites: Tensor, size: int, generator: Generator, hardness: float = 1.0) -> Tensor:
    """Draw uint8 RGBA sprites [n, 64, 64, 4] as varied photographs: float images [n, 3, size, size] in 0..1.

    `hardness` scales the strength of the geometric and hue changes and the share of occluded and blurred images;
    0 leaves upright drawings on a background.

    >>> render(torch.zeros(2, 64, 64, 4, dtype=torch.uint8), 32, Generator()).shape
    torch.Size([2, 3, 32, 32])
    """
    rgba = sprites.permute(0, 3, 1, 2).float() / 255  # [n, 4, 64, 64]
    rgba[:, :3] *= rgba[:, 3:]  # premultiplied, so that resampling does not bleed the color of transparent pixels
    if size <= 32:
        rgba = F.avg_pool2d(rgba, 2)
    rgba = _move(rgba, size, generator, hardness)
    color, alpha = _recolor(rgba[:, :3], generator, hardness), rgba[:, 3:]
    images = _background(len(sprites), size, generator) * (1 - alpha) + color * alpha
    images = _occlude(images, 0.4 * hardness, generator)
    images = blur_some(images, 0.3 * hardness, generator)
    return add_noise(images, 0.03 * hardness, generator)


def _choose_drawings(classes: np.ndarray, styles: list[str], count: int, source: Drawings) -> tuple[Tensor, Tensor]:
    """Labels and styles, int64 [n]: `count` images per class, its drawings taking turns from another start per class.

    A class that none of the styles has drawn gets no images (three classes where fxemoji stands alone).
    """
    columns = np.array([source.styles.index(style) for style in styles])
    labels, chosen = [], []
    for label in classes:
        drawn = columns[source.present[label, columns]]
        if len(drawn):
            labels.append(np.full(count, label))
            chosen.append(drawn[(label + np.arange(count)) % len(drawn)])
    return torch.from_numpy(np.concatenate(labels)), torch.from_numpy(np.concatenate(chosen))


def _move(rgba: Tensor, size: int, generator: Generator, hardness: float) -> Tensor:
    """Random affine map and mirror image, sampled at `size`: [n, 4, ·, ·] → [n, 4, size, size]."""
    n = len(rgba)
    angle = uniform(n, -0.45, 0.45, generator) * hardness  # radians
    shrink = uniform(n, 1.0, 1.0 + 0.7 * hardness, generator)
    shear = uniform(n, -0.2, 0.2, generator) * hardness
    aspect = torch.exp(uniform(n, -0.15, 0.15, generator) * hardness)
    shift = uniform((n, 2), -0.3, 0.3, generator) * hardness  # in half image widths
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
    rows = (
        torch.stack([cos * aspect * mirror, shear - sin, shift[:, 0]], 1),
        torch.stack([sin * mirror, cos / aspect, shift[:, 1]], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), [n, 4, size, size], align_corners=False)
    return F.grid_sample(rgba, grid, align_corners=False)


def _recolor(rgb: Tensor, generator: Generator, hardness: float) -> Tensor:
    """Random hue, saturation and brightness, one 3 × 3 matrix per image: [n, 3, S, S] → the same."""
    n = len(rgb)
    hue = uniform(n, -0.35, 0.35, generator) * hardness  # radians in the chroma plane
    saturation, gain = uniform(n, 0.6, 1.3, generator), uniform(n, 0.75, 1.2, generator)
    chroma = torch.zeros(n, 3, 3)
    chroma[:, 0, 0] = 1
    chroma[:, 1, 1] = chroma[:, 2, 2] = torch.cos(hue) * saturation
    chroma[:, 2, 1] = torch.sin(hue) * saturation
    chroma[:, 1, 2] = -chroma[:, 2, 1]
    matrix = torch.linalg.inv(RGB_TO_YIQ) @ chroma @ RGB_TO_YIQ * gain[:, None, None]
    return (matrix @ rgb.flatten(2)).view_as(rgb).clamp_(0, 1)


def _background(n: int, size: int, generator: Generator) -> Tensor:
    """Flat color, linear gradient, soft clouds or fine texture, in equal shares: [n, 3, size, size]."""
    first, second = torch.rand(2, n, 3, 1, 1, generator=generator)
    angle = uniform(n, 0, 2 * torch.pi, generator)[:, None, None]
    across = torch.linspace(-1, 1, size)
    ramp = (torch.cos(angle) * across[None, None, :] + torch.sin(angle) * across[None, :, None])[:, None] / 2 + 0.5
    coarse, fine = torch.rand(n, 3, 4, 4, generator=generator), torch.rand(n, 1, 16, 16, generator=generator)
    clouds = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    grain = F.interpolate(fine, size=(size, size))
    kind = torch.randint(0, 4, (n, 1, 1, 1), generator=generator)
    backgrounds = (
        first.expand(-1, -1, size, size),
        first * (1 - ramp) + second * ramp,
        0.5 * first + 0.5 * clouds,
        0.7 * first + 0.3 * grain,
    )
    images = torch.empty(n, 3, size, size)
    for number, background in enumerate(backgrounds):
        torch.where(kind == number, background, images, out=images)
    return images.clamp_(0, 1)


def _occlude(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Cover a random share of the images with a small flat rectangle."""
    n, size = len(images), images.shape[-1]
    x, y = uniform((2, n, 1), 0, size, generator)  # center in pixels
    half_width, half_height = uniform((2, n, 1), 0.05 * size, 0.18 * size, generator)
    pixel = torch.arange(size)
    columns, rows = (pixel - x).abs() < half_width, (pixel - y).abs() < half_height  # bool [n, S]
    covered = rows[:, None, :, None] & columns[:, None, None, :]
    covered = covered & per_image(torch.rand(n, generator=generator) < share)
    return torch.where(covered, torch.rand(n, 3, 1, 1, generator=generator), images)
