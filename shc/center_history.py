"""Records of a center optimization as arrays, to be kept beside the centers."""

from dataclasses import asdict
from typing import Any

import numpy as np

from shc.centers import CenterStep


def pack_history(steps: list[CenterStep]) -> dict[str, np.ndarray]:
    """The records as arrays `history_*`, a bit per code entry."""
    if not steps:
        return {}
    columns = {f"history_{name}": np.array([getattr(s, name) for s in steps]) for name in asdict(steps[0])}
    bits = columns["history_codes"].shape[-1]
    columns["history_codes"] = np.packbits(columns["history_codes"] > 0, axis=-1)
    return columns | {"history_bits": np.array(bits)}


def unpack_history(arrays: dict[str, np.ndarray]) -> list[CenterStep]:
    """The records that `pack_history` packed; none where none were."""
    columns = {k.removeprefix("history_"): v for k, v in arrays.items() if k.startswith("history_")}
    if not columns:
        return []
    bits = int(columns.pop("bits"))
    columns["codes"] = np.unpackbits(columns["codes"], axis=-1, count=bits).astype(np.int8) * 2 - 1
    rows = zip(*columns.values(), strict=True)
    return [CenterStep(**{k: _plain(v) for k, v in zip(columns, row, strict=True)}) for row in rows]


def _plain(value: Any) -> Any:
    return value.item() if np.ndim(value) == 0 else value
