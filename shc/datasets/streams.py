"""Images that lie in files: decoded into one tensor where that fits, else when they are asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shc.image_files import read_image

if TYPE_CHECKING:
    from torch import Tensor


def images_of_files(files: Sequence[Path], size: int, source: str) -> "Tensor":
    """uint8 [N, 3, size, size] of picture files; `source` identifies files and preparation, for the cache."""
    import torch

    return torch.from_numpy(np.stack([read_image(file, size) for file in files]))
