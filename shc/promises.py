"""What every artifact promises beyond being whole: shapes that fit, finite numbers, ±1 codes, centers far apart.

Checked where a stage hands its result on, where the next one takes it, and by `shc verify`. Nothing is computed from
the data set here, so that a run can be checked on a machine that lacks it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from shc import hamming
from shc.files import RunError

ROUNDING = 1e-9  # of S, whose entries are float64
Arrays = Mapping[str, np.ndarray]
Facts = Mapping[str, Any]


def debug() -> bool:
    """Whether results are checked that cost time to check: SHC_DEBUG=1, as in the tests."""
    return os.environ.get("SHC_DEBUG", "") not in ("", "0")


def check(name: str, arrays: Mapping[str, Any], parameters: Facts | None = None, extra: Facts | None = None) -> None:
    """Raise RunError naming the first promise of the artifact `name` that these arrays (NumPy or torch) break.

    >>> check("similarity", {"S": np.array([[1.0, np.nan], [np.nan, 1.0]])})
    Traceback (most recent call last):
    ...
    shc.files.RunError: similarity: S holds nan at (0, 1); expected finite numbers
    """
    numbers = {
        key: np.asarray(value.detach().cpu() if hasattr(value, "detach") else value) for key, value in arrays.items()
    }
    for told in broken(name, numbers, parameters or {}, extra or {}):
        raise RunError(f"{name}: {told}")


def broken(name: str, arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    """The promises of the artifact `name` that do not hold, in words."""
    try:
        yield from PROMISES[name](arrays, parameters, extra)
    except KeyError as error:
        yield f"{error.args[0]!r} is missing"
    except (TypeError, ValueError, IndexError) as error:
        yield str(error)


def _weights(arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    if not arrays:
        yield "it holds no weights"
    for key, array in arrays.items():
        yield from _finite(key, array)


def _splits(arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    for key, rows in arrays.items():
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            yield f"{key} is {_told(rows)}; expected positions of images, whole numbers [n]"
        elif rows.min(initial=0) < 0 or len(np.unique(rows)) != len(rows):
            yield f"{key} names an image twice, or one before the first"


def _statistics(arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    logits, labels, means = arrays["logits"], arrays["labels"], arrays["feature_means"]
    if logits.ndim != 2 or len(labels) != len(logits) or means.ndim != 2 or len(means) != logits.shape[1]:
        yield f"logits {_told(logits)}, labels {_told(labels)} and feature_means {_told(means)} do not fit together"
    elif labels.ndim == 1 and len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        yield f"labels run from {labels.min()} to {labels.max()}; expected 0 to {logits.shape[1] - 1}"
    yield from _finite("logits", logits)
    yield from _finite("feature_means", means)


def _similarity(arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    S = arrays["S"]
    if S.ndim != 2 or S.shape[0] != S.shape[1] or not len(S):
        yield f"S is {_told(S)}; expected [C, C]"
        return
    yield from _finite("S", S)
    if not np.isfinite(S).all():
        return
    if np.abs(S - S.T).max() > ROUNDING or np.abs(S.diagonal() - 1).max() > ROUNDING or np.abs(S).max() > 1 + ROUNDING:
        yield "S is not symmetric with a diagonal of 1 and entries from −1 to 1"


def _centers(arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    codes, least = arrays["codes"], extra["min_distance"]
    if codes.dtype != np.int8 or codes.ndim != 2 or not codes.size or not np.isin(codes, (-1, 1)).all():
        yield f"codes are {_told(codes)} and do not hold ±1 codes only, int8 [C, K]"
        return
    if codes.shape[1] != parameters.get("bits", codes.shape[1]):
        yield f"codes have {codes.shape[1]} bits, not the {parameters['bits']} of their parameters"
    if isinstance(least, bool) or not isinstance(least, int):
        yield f"their distance is recorded as {least!r}; expected a whole number of bits"
    elif (achieved := hamming.minimum_distance(codes)) < least:
        yield f"these centers stand closer than they claim: {achieved} bits, not {least}"
    yield from _finite("loss", np.asarray(extra["loss"], dtype=np.float64))


def _codes(arrays: Arrays, parameters: Facts, extra: Facts) -> Iterator[str]:
    bits = parameters["bits"]
    if isinstance(bits, bool) or not isinstance(bits, int) or bits < 1:
        yield f"bits={bits!r}; expected a whole number of at least 1"
        return
    for split, packed in arrays.items():
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-bits // 8):
            yield f"{split} is {_told(packed)}; expected uint8 [n, {-(-bits // 8)}], packed codes of {bits} bits"
        elif bits % 8 and (packed[:, -1] & (0xFF >> bits % 8)).any():
            yield f"{split} holds bits beyond the {bits}th"


PROMISES: dict[str, Callable[[Arrays, Facts, Facts], Iterator[str]]] = {
    "classifier": _weights, "splits": _splits, "statistics": _statistics, "features": _weights,
    "similarity": _similarity, "centers": _centers, "hasher": _weights, "codes": _codes,
}  # fmt: skip


def _finite(what: str, array: np.ndarray) -> Iterator[str]:
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        yield f"{what} holds {array[place]} at {place}; expected finite numbers"


def _told(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
