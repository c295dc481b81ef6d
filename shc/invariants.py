"""What must hold of every evaluation, asserted where SHC_DEBUG=1 is set: bounds, recall that only rises, any order.

A metric that leaves its bounds, or that depends on the order in which a database happens to lie, is a mistake in this
package and no property of the data; so these are assertions, and the tests run with them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

ROUNDING = 1e-9
UNBOUNDED = ("wmAP@", "ACG@")  # these count shared labels, of which there may be many
PAIRS = 2**20  # of query and database item; larger evaluations are not counted a second time


def check_values(values: Mapping[str, np.ndarray]) -> None:
    """AssertionError unless metrics float64 [Q] by name are finite and in 0 to 1, and R@k does not fall with k.

    >>> check_values({"R@1": np.array([0.5]), "R@10": np.array([0.25])})
    Traceback (most recent call last):
    ...
    AssertionError: R@10 lies below R@1 for query 0: 0.25, not 0.5 or more
    """
    for name, value in values.items():
        most = np.inf if name.startswith(UNBOUNDED) else 1 + ROUNDING
        wrong = np.flatnonzero(~(np.isfinite(value) & (value >= -ROUNDING) & (value <= most)))
        assert not len(wrong), f"{name} is {value[wrong[0]]} for query {wrong[0]}; expected 0 to {most:.0f}"
    recalls = sorted((int(name[2:]), name) for name in values if name.startswith("R@") and name[2:].isdecimal())
    for (_, few), (_, many) in pairwise(recalls):
        wrong = np.flatnonzero(values[many] < values[few] - ROUNDING)
        assert not len(wrong), (
            f"{many} lies below {few} for query {wrong[0]}: {values[many][wrong[0]]}, not {values[few][wrong[0]]} or "
            "more"
        )


def check_order(histogram: np.ndarray, retrieval: Any, count: Callable[[Any], np.ndarray]) -> None:
    """AssertionError unless `count` gives the same histogram [Q, L, K+1] for the database in the opposite order."""
    if len(retrieval.query) * len(retrieval.database) > PAIRS:
        return
    turned = {name: np.ascontiguousarray(getattr(retrieval, name)[::-1]) for name in ("database", "database_labels")}
    same = np.array_equal(histogram, count(replace(retrieval, **turned)))
    assert same, "the counts depend on the order of the database"
    assert (histogram >= 0).all() and (histogram.sum((1, 2)) == len(retrieval.database)).all(), (
        "the counts do not add up to the database"
    )
