"""SynthShapes-100: generated images whose class similarities are known exactly.

A super-class is a silhouette with a surface pattern (5 × 4: "striped star", "dotted gear", …). Its five classes share
both and a family of hues; they differ in the emblem at the center and in how fine the pattern is. Rotation, position,
size, outline, colors, light, background, occluder, blur and noise vary freely: `hardness` scales them. At hardness 1 a
small network confuses classes mostly inside the super-class, which is what a similarity read from it should show.

Coordinates: the image spans −1..1 in both directions; u, v are the object's own (rotated, scaled) coordinates.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from shc.datasets import PROTOCOLS, About, ImageSet, Options, dataset
from shc.datasets.rendering import add_noise, blur_some, per_class, per_image, rendered_set, split_classes, uniform
from shc.hierarchy import Hierarchy

RENDERER = "shapes renderer 1"  # raise the number whenever the same parameters would give other images
SILHOUETTES = ("star", "flower", "gear", "triangle", "pebble")
PATTERNS = ("striped", "dotted", "ringed", "checked")
EMBLEMS = ("disc", "triangle", "square", "cross", "ring")
# What sharing a silhouette, a pattern, an emblem adds to the similarity of two classes.
WEIGHTS = (0.45, 0.35, 0.20)
# Fineness of the pattern by emblem, permuted with the super-class, so that it tells no emblem across super-classes.
FINENESS = ((0, 1, 2, 3, 4), (2, 0, 4, 1, 3), (4, 3, 0, 2, 1), (1, 4, 3, 0, 2))
# A super-class's family of hues (0..1 around the color circle): a weak cue, as images stray far from it.
HUES = (0.02, 0.30, 0.58, 0.80, 0.12, 0.45, 0.70, 0.93, 0.20, 0.52, 0.88, 0.38, 0.64, 0.08, 0.26, 0.75, 0.97, 0.34,
        0.16, 0.55)  # fmt: skip
TURN = 2 * math.pi


def class_table() -> np.ndarray:
    """int64 [100, 3]: silhouette, pattern and emblem of every class (positions in the tuples above)."""
    silhouette, pattern, emblem = np.indices((len(SILHOUETTES), len(PATTERNS), len(EMBLEMS)))
    return np.stack([silhouette, pattern, emblem], -1).reshape(-1, 3)


def class_names() -> list[str]:
    """One name per class, such as "striped star with a disc"."""
    return [f"{PATTERNS[p]} {SILHOUETTES[s]} with a {EMBLEMS[e]}" for s, p, e in class_table()]


def attributes() -> np.ndarray:
    """float64 [100, 14], 0 or 1: which silhouette (5 columns), pattern (4) and emblem (5) every class has."""
    sizes = (len(SILHOUETTES), len(PATTERNS), len(EMBLEMS))
    return np.concatenate([np.eye(size)[column] for size, column in zip(sizes, class_table().T, strict=True)], axis=1)


def class_similarity() -> np.ndarray:
    """Exact similarity of the classes, float64 [100, 100]: the summed weights of the attributes two classes share.

    >>> class_similarity()[0, [0, 1, 5, 20, 99]]
    array([1.  , 0.8 , 0.65, 0.55, 0.  ])
    """
    table = class_table()
    return ((table[:, None] == table[None, :]) * np.array(WEIGHTS)).sum(-1).round(12)


@dataset(
    "shapes",
    PROTOCOLS,
    About(
        "100 in 20 super-classes",
        "62,000 renders, 16 to 256 px",
        terms="made by this package, as free as its code",
        drawn="generated images have no drawings to hold out",
    ),
)
def shapes(options: Options) -> ImageSet:
    """SynthShapes-100: generated silhouettes, patterns and emblems with exactly known class similarities."""
    table = class_table()
    superclass = table[:, 0] * len(PATTERNS) + table[:, 1]
    labels = {
        split: torch.from_numpy(classes).repeat_interleave(per_class(split, options.scale))
        for split, classes in split_classes(superclass, options).items()
        if split != "query_seen"  # every render is a drawing of its own
    }
    return rendered_set(
        options,
        source=RENDERER,
        labels=labels,
        groups={},
        renderer=lambda y, groups: lambda rows, generator: render(y[rows], options.size, generator),
        class_names=class_names(),
        hierarchy=Hierarchy(tuple((f"{PATTERNS[p]} {SILHOUETTES[s]}",) for s, p, _ in table)),
        class_similarity=class_similarity(),
    )


def render(labels: Tensor, size: int, generator: Generator, hardness: float = 1.0) -> Tensor:
    """Draw classes int64 [n] as float images [n, 3, size, size] in 0..1; `hardness` scales every nuisance.

    >>> render(torch.tensor([0, 99]), 32, Generator()).shape
    torch.Size([2, 3, 32, 32])
    """
    n = len(labels)
    silhouette, pattern, emblem = torch.from_numpy(class_table())[labels].unbind(1)
    superclass = silhouette * len(PATTERNS) + pattern
    u, v, edge = _object_frame(n, size, generator, hardness)
    angle, radius = torch.atan2(v, u), _length(u, v)

    outline = by_kind(silhouette, _OUTLINES, angle) * _wobble(angle, generator, hardness)
    fineness = torch.tensor(FINENESS)[superclass % len(FINENESS), emblem]
    color = _paint(superclass, _pattern(pattern, fineness, u, v, radius, generator, hardness), generator, hardness)
    color = color * (1 - 0.55 * soft_step(radius / outline - 0.9, 0.12))[:, None]  # darker rim
    color = _put_emblem(color, emblem, u, v, edge, generator, hardness)
    light = _spread(uniform(n, 0, TURN, generator))
    color = color * (1 + 0.32 * (u * torch.cos(light) + v * torch.sin(light)))[:, None]

    background = _background(n, size, generator, hardness)
    shadow = 0.45 * soft_step(outline - _length(u - 0.1, v - 0.1), 0.18)
    body = soft_step(outline - radius, edge)[:, None]
    images = background * (1 - shadow[:, None]) * (1 - body) + color.clamp(0, 1) * body

    images = _occlude(images, 0.5 * hardness, generator)
    images = blur_some(images, 0.3 * hardness, generator)
    contrast, brightness = uniform(n, 0.65, 1.2, generator), 0.06 * _normal(n, generator)
    images = (images - 0.5) * per_image(contrast) + 0.5 + per_image(brightness)
    return add_noise(images, 0.035 * hardness, generator)


# Outlines: radius as a function of the angle (radians), both [n, S, S].


def star(angle: Tensor) -> Tensor:
    spikes = 1 - 2 * torch.acos(torch.cos(5 * angle).clamp(-0.9999, 0.9999)) / math.pi  # triangle wave: pointed
    return 0.74 + 0.32 * spikes + 0.05 * spikes.square()


def flower(angle: Tensor) -> Tensor:
    return 0.60 + 0.40 * torch.cos(2.5 * angle).abs().clamp(min=1e-4).pow(0.6)


def gear(angle: Tensor) -> Tensor:
    return 0.80 + 0.13 * torch.tanh(4 * torch.cos(9 * angle))


def triangle(angle: Tensor) -> Tensor:
    third = TURN / 3
    return 1.25 * math.cos(third / 2) / torch.cos((angle + third / 2) % third - third / 2)


def pebble(angle: Tensor) -> Tensor:
    return 0.82 + 0.16 * torch.cos(2 * angle)


# Patterns: positive where the second color shows, as functions of two waves across (and along) the surface and of one
# wave in the radius, all [n, S, S] in −1..1.


def striped(across: Tensor, along: Tensor, rings: Tensor) -> Tensor:
    return 1.2 * across


def dotted(across: Tensor, along: Tensor, rings: Tensor) -> Tensor:
    return 1.2 * (across + along) - 1.15


def ringed(across: Tensor, along: Tensor, rings: Tensor) -> Tensor:
    return rings


def checked(across: Tensor, along: Tensor, rings: Tensor) -> Tensor:
    return 2.2 * across * along


# Emblems: distance to the border, positive inside; x, y [n, S, S] in units of the emblem's size.


def disc(x: Tensor, y: Tensor) -> Tensor:
    return 0.92 - _length(x, y)


def pointer(x: Tensor, y: Tensor) -> Tensor:
    return 0.62 - torch.maximum(-y, 0.5 * y + 0.866 * x.abs())


def square(x: Tensor, y: Tensor) -> Tensor:
    return 0.82 - torch.maximum(x.abs(), y.abs())


def cross(x: Tensor, y: Tensor) -> Tensor:
    arms = 0.33 - torch.minimum(x.abs(), y.abs())
    return torch.minimum(arms, 1 - torch.maximum(x.abs(), y.abs()))


def ring(x: Tensor, y: Tensor) -> Tensor:
    return 0.26 - (_length(x, y) - 0.74).abs()


_OUTLINES = (star, flower, gear, triangle, pebble)
_PATTERNS = (striped, dotted, ringed, checked)
_EMBLEMS = (disc, pointer, square, cross, ring)


def by_kind(kind: Tensor, functions: tuple[Callable[..., Tensor], ...], *arguments: Tensor) -> Tensor:
    """Apply `functions[kind[i]]` to row i of the arguments [n, S, S]; each function sees its rows at once."""
    result = torch.empty_like(arguments[0])
    for number in kind.unique().tolist():
        rows = kind == number
        result[rows] = functions[number](*(argument[rows] for argument in arguments))
    return result


def soft_step(x: Tensor, width: float | Tensor) -> Tensor:
    """0 below, 1 above zero, with a linear ramp from −width to +width."""
    return (x / width * 0.5 + 0.5).clamp(0, 1)


def rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """HSV colors [n] each, all in 0..1, as RGB [n, 3, 1, 1]."""
    sector = (torch.tensor([5.0, 3.0, 1.0]) + hue[:, None] * 6) % 6
    color = value[:, None] - (value * saturation)[:, None] * torch.minimum(sector, 4 - sector).clamp(0, 1)
    return color[:, :, None, None]


def _object_frame(n: int, size: int, generator: Generator, hardness: float) -> tuple[Tensor, Tensor, Tensor]:
    """Object coordinates u, v [n, S, S] under a random position, turn, size and squash; width of a pixel in them."""
    scale = uniform(n, 0.92 - 0.2 * hardness, 0.92, generator)
    center_x, center_y = uniform((2, n, 1, 1), -0.22, 0.22, generator) * hardness
    turn = _spread(uniform(n, -math.pi, math.pi, generator))
    squash = _spread(torch.exp(0.10 * hardness * _normal(n, generator)))
    x, y = _pixels(size)
    x, y, scale = x - center_x, y - center_y, _spread(scale)
    u = (x * torch.cos(turn) + y * torch.sin(turn)) / scale * squash
    v = (y * torch.cos(turn) - x * torch.sin(turn)) / scale / squash
    return u, v, 2.2 / size / scale


def _wobble(angle: Tensor, generator: Generator, hardness: float) -> Tensor:
    """A factor near 1 on the radius: four slow waves around the outline, drawn per image."""
    factor = torch.ones_like(angle)
    for waves in range(1, 5):
        height, phase = 0.045 * hardness * _normal(len(angle), generator), uniform(len(angle), 0, TURN, generator)
        factor = factor * (1 + _spread(height) * torch.cos(waves * angle + _spread(phase)))
    return factor


def _pattern(
    pattern: Tensor, fineness: Tensor, u: Tensor, v: Tensor, radius: Tensor, generator: Generator, hardness: float
) -> Tensor:
    """Share of the second color, [n, S, S] in 0..1; the pattern's direction and phase are random."""
    n = len(pattern)
    frequency = _spread((5.2 + 1.15 * fineness) * torch.exp(0.07 * hardness * _normal(n, generator)))
    direction, phase = _spread(uniform(n, 0, math.pi, generator)), _spread(uniform(n, 0, TURN, generator))
    across = torch.sin(1.5 * frequency * (u * torch.cos(direction) + v * torch.sin(direction)) + phase)
    along = torch.sin(1.5 * frequency * (v * torch.cos(direction) - u * torch.sin(direction)) + phase)
    rings = torch.sin(1.7 * frequency * radius + phase)
    return soft_step(by_kind(pattern, _PATTERNS, across, along, rings), 0.5)


def _paint(superclass: Tensor, second: Tensor, generator: Generator, hardness: float) -> Tensor:
    """Two colors, the first from the super-class's family of hues, mixed by `second`: [n, 3, S, S]."""
    n = len(superclass)
    first_hue = torch.tensor(HUES)[superclass] + 0.06 * hardness * _normal(n, generator)
    apart = torch.where(torch.rand(n, generator=generator) < 0.5, 0.12, 0.42)  # a near or a far second hue
    second_hue = first_hue + apart + 0.06 * _normal(n, generator)
    first_color = rgb(first_hue % 1, uniform(n, 0.45, 0.95, generator), uniform(n, 0.45, 1, generator))
    second_color = rgb(second_hue % 1, uniform(n, 0.3, 0.9, generator), uniform(n, 0.35, 1, generator))
    return torch.lerp(first_color, second_color, second[:, None])


def _put_emblem(
    color: Tensor, emblem: Tensor, u: Tensor, v: Tensor, edge: Tensor, generator: Generator, hardness: float
) -> Tensor:
    """Draw the emblem in a random color, on a pale or dark plate that keeps it readable."""
    n = len(emblem)
    scale = _spread(0.31 * torch.exp(0.12 * hardness * _normal(n, generator)))
    shift_u, shift_v = 0.05 * hardness * torch.randn(2, n, 1, 1, generator=generator)
    turn = _spread(uniform(n, -1, 1, generator) * hardness)
    u, v = (u - shift_u) / scale, (v - shift_v) / scale
    x, y = u * torch.cos(turn) + v * torch.sin(turn), v * torch.cos(turn) - u * torch.sin(turn)
    ink = rgb(uniform(n, 0, 1, generator), uniform(n, 0.1, 0.9, generator), uniform(n, 0.05, 1, generator))
    plate = torch.where(ink.mean(1, keepdim=True) < 0.5, 0.3 * ink + 0.7, 0.25 * ink)
    color = torch.lerp(color, plate, 0.75 * soft_step(1.28 - _length(x, y), edge / scale)[:, None])
    return torch.lerp(color, ink, soft_step(by_kind(emblem, _EMBLEMS, x, y), edge / scale)[:, None])


def _background(n: int, size: int, generator: Generator, hardness: float) -> Tensor:
    """A gradient with coarse and fine clouds and up to three lobed blobs: [n, 3, S, S] in 0..1."""
    x, y = _pixels(size)
    colors = [
        rgb(uniform(n, 0, 1, generator), uniform(n, 0, 0.7, generator), uniform(n, 0.1, 1, generator)) for _ in range(2)
    ]
    angle = _spread(uniform(n, 0, TURN, generator))
    ramp = ((x * torch.cos(angle) + y * torch.sin(angle)) / 2 + 0.5).clamp(0, 1)
    images = torch.lerp(colors[0], colors[1], ramp[:, None])
    for cells, channels, strength in ((4, 3, 0.6), (16, 1, 0.5)):
        clouds = torch.rand(n, channels, cells, cells, generator=generator) - 0.5
        clouds = F.interpolate(clouds, size=(size, size), mode="bilinear", align_corners=False)
        images = images + clouds * per_image(uniform(n, 0, strength * hardness, generator))
    for _ in range(3):
        center_x, center_y = uniform((2, n, 1, 1), -1.1, 1.1, generator)
        radius, phase = _spread(uniform(n, 0.12, 0.34, generator)), _spread(uniform(n, 0, TURN, generator))
        lobes = torch.randint(2, 8, (n, 1, 1), generator=generator)
        dx, dy = x - center_x, y - center_y
        outline = radius * (1 + 0.35 * torch.cos(lobes * torch.atan2(dy, dx) + phase))
        drawn = per_image(torch.rand(n, generator=generator) < 0.75 * hardness)
        blob = rgb(uniform(n, 0, 1, generator), uniform(n, 0.2, 1, generator), uniform(n, 0.2, 1, generator))
        images = torch.lerp(images, blob, soft_step(outline - _length(dx, dy), 3 / size)[:, None] * drawn)
    return images.clamp(0, 1)


def _occlude(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Cover a random share of the images with a flat bar."""
    n, size = len(images), images.shape[-1]
    x, y = _pixels(size)
    center_x, center_y = uniform((2, n, 1, 1), -0.9, 0.9, generator)
    half_width, half_height = uniform((n, 1, 1), 0.06, 0.2, generator), uniform((n, 1, 1), 0.1, 0.45, generator)
    covered = ((x - center_x).abs() < half_width) & ((y - center_y).abs() < half_height)
    covered = covered[:, None] & per_image(torch.rand(n, generator=generator) < share)
    bar = rgb(*uniform((3, n), 0, 1, generator))
    return torch.where(covered, bar, images)


def _pixels(size: int) -> tuple[Tensor, Tensor]:
    """Pixel centers in −1..1: x [1, 1, S], y [1, S, 1]."""
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    return line[None, None, :], line[None, :, None]


def _length(x: Tensor, y: Tensor) -> Tensor:
    return torch.sqrt(x * x + y * y + 1e-9)


def _spread(values: Tensor) -> Tensor:
    """[n] → [n, 1, 1]: one value per image, for all pixels."""
    return values[:, None, None]


def _normal(n: int, generator: Generator) -> Tensor:
    return torch.randn(n, generator=generator)
