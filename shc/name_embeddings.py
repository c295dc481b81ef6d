"""Embeddings of class names, one row per class: the package's own for some data sets, or a file of the user's.

A file is what `numpy.save` writes: real numbers [C, E] whose rows follow the data set's `class_names`. Nothing here
makes embeddings; any sentence encoder will do.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shc.datasets import class_name_embeddings
from shc.runs import RunError
from shc.untrusted import check_npy_file

if TYPE_CHECKING:
    from shc.datasets import ImageSet


def name_embeddings(images: "ImageSet", file: str = "") -> np.ndarray:
    """float [C, E]: a row per class of the data set, from a .npy `file`, else those that the package stores.

    Raises RunError for a file that holds anything else, naming what is expected, ValueError where there is neither a
    file nor stored embeddings.

    >>> from shc import datasets
    >>> name_embeddings(datasets.load("emoji", scale=0.02)).shape
    (100, 384)
    """
    if not file:
        return class_name_embeddings(images.name)
    names = images.class_names
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    expected = f"numbers [{len(names)}, E], a row for each of the classes {some} of {images.name!r} in this order"
    try:
        check_npy_file(Path(file))
        with open(file, "rb") as stream:
            rows = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(f"embeddings {file} cannot be read as .npy ({why}); save with numpy.save {expected}") from error
    if rows.dtype.kind not in "fiu":
        raise RunError(f"embeddings {file} hold {rows.dtype}; expected {expected}")
    if rows.ndim != 2 or len(rows) != len(names) or not rows.shape[1]:
        raise RunError(f"embeddings {file} have shape {list(rows.shape)}; expected {expected}")
    wrong = np.flatnonzero(~np.isfinite(rows).all(1) | ~rows.any(1))
    if len(wrong):
        told = "zeros" if not rows[wrong[0]].any() else "values that are not finite"
        raise RunError(f"embeddings {file} hold {told} for {names[wrong[0]]!r} (row {wrong[0]}); expected {expected}")
    return rows
