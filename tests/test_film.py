"""The film of an optimization: as many frames as asked, the last one shown longest, small enough for a page."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shc import centers, film

ROOT = Path(__file__).resolve().parent.parent


def test_a_film_shows_the_first_and_the_last_record():
    S = np.kron(np.eye(3), np.ones((2, 2)))
    history = list(centers.optimize_centers(S, 12, sweeps=60))
    shown = Image.open(io.BytesIO(film.centers_film(S, history, frames=5, width=400)))
    assert shown.format == "GIF" and shown.n_frames <= 5 and shown.width == 400
    first = np.asarray(shown.convert("RGB")).astype(int)
    assert shown.info["duration"] == film.STEADY and shown.info["loop"] == 0
    shown.seek(shown.n_frames - 1)
    assert shown.info["duration"] == film.LAST
    assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - first).mean() > 1  # it moved


def test_without_records_there_is_no_film():
    with pytest.raises(ValueError, match="no history to film; let the optimizer run first"):
        film.centers_film(np.eye(2), [])


def test_the_committed_film_is_small():
    file = ROOT / "notebooks" / "figures" / "centers.gif"
    assert file.stat().st_size < 2e6
    with Image.open(file) as shown:
        assert shown.n_frames > 20
