"""An optimization as a film: the frames that notebook 3 shows live, as one GIF."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shc.center_plots import draw_centers
from shc.class_plots import dendrogram_order
from shc.figures import Figure

if TYPE_CHECKING:
    from shc.centers import CenterStep

FRAMES = 36
WIDTH = 800  # pixels
STEADY, LAST = 140, 2500  # milliseconds a frame is shown
COLORS = 64


def centers_film(S: np.ndarray, history: "Sequence[CenterStep]", frames: int = FRAMES, width: int = WIDTH) -> bytes:
    """GIF of an optimization of hash centers for S [C, C]: similarity, distances and loss, over and over.

    Early records are shown more densely than late ones, since most moves come first. ValueError without records.

    >>> from shc import centers
    >>> centers_film(np.eye(4), list(centers.optimize_centers(np.eye(4), 8, sweeps=50)), frames=3)[:6]
    b'GIF89a'
    """
    from PIL import Image

    if not len(history):
        raise ValueError("there is no history to film; let the optimizer run first")
    places = np.unique(np.round((len(history) - 1) * np.linspace(0, 1, frames) ** 1.5).astype(int))
    figure, order = Figure(), dendrogram_order(S)
    pictures = []
    for at in places:
        draw_centers(figure, S, history, int(at), order)
        picture = Image.open(io.BytesIO(figure.frame())).convert("RGB")
        pictures.append(
            picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        )
    # one palette for all: what does not move keeps its colours, and the file stays small
    palette = Image.new("RGB", (width, 2 * pictures[0].height))
    palette.paste(pictures[0], (0, 0))
    palette.paste(pictures[-1], (0, pictures[0].height))
    common = palette.quantize(COLORS)
    film = [picture.quantize(palette=common, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    film[0].save(
        buffer, "GIF", save_all=True, append_images=film[1:], loop=0, optimize=True,
        duration=[STEADY] * (len(film) - 1) + [LAST],
    )  # fmt: skip
    return buffer.getvalue()
