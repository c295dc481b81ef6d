"""The best hash centers of very few classes, by trying all: the oracle for the optimizer and for the lower bounds.

The loss depends on the bits only as a multiset of columns, and a column and its negative are the same to it. So for C
classes there are 2^(C−1) kinds of bits, and sets of centers are ways to choose K of them with repetition: 61 million
for 6 classes and 8 bits.
"""

from math import comb

import numpy as np
from numba import njit

from shc.hamming import check_size

MOST = 10**8  # sets to try; some seconds


def best_centers(S: np.ndarray, bits: int, min_distance: int = 0) -> tuple[float, np.ndarray] | None:
    """The smallest loss of any centers of `bits` bits at least `min_distance` apart, and such centers int8 [C, K].

    None if no centers keep the distance. S [C, C] as for `shc.centers.optimize_centers`. ValueError if there are more
    than MOST sets to try: up to 6 classes and 8 bits are always served.

    >>> loss, codes = best_centers(np.array([[1.0, 0.9], [0.9, 1.0]]), 4, min_distance=1)
    >>> round(loss, 4), codes.shape
    (0.08, (2, 4))
    """
    from shc.centers import check_similarity

    S = check_similarity(S)
    classes = len(S)
    check_size(bits, classes)
    kinds = 2 ** (classes - 1)
    if comb(kinds + bits - 1, bits) > MOST:
        raise ValueError(
            f"{classes} classes and {bits} bits mean {comb(kinds + bits - 1, bits):.1e} sets of centers to try, more "
            f"than {MOST:.0e}; use shc.centers.solve and shc.bounds.lower_bound"
        )
    signs = 1 - 2 * (np.arange(kinds)[:, None] >> np.arange(classes) & 1)  # [kinds, C], the last class always +1
    pairs = np.triu_indices(classes, 1)
    products = (signs[:, pairs[0]] * signs[:, pairs[1]]).astype(np.int64)  # what a bit adds to every inner product
    value, chosen = _smallest(products, bits * S[pairs], bits - 2 * min_distance, bits)
    if not np.isfinite(value):
        return None
    return 2 * float(value) / (bits * classes) ** 2, np.ascontiguousarray(signs[chosen].T).astype(np.int8)


@njit(cache=True)
def _smallest(products, wanted, cap, bits):  # type: ignore[no-untyped-def]
    """Smallest Σ (wanted − g)² over choices of `bits` rows of products [kinds, P] with sums g ≤ cap, and the rows."""
    kinds, pairs = products.shape
    sums = np.zeros((bits + 1, pairs), np.int64)
    place, best = np.full(bits, -1), np.zeros(bits, np.int64)
    smallest, depth = np.inf, 0
    while depth >= 0:
        place[depth] += 1
        if place[depth] == kinds:
            depth -= 1
            continue
        for p in range(pairs):
            sums[depth + 1, p] = sums[depth, p] + products[place[depth], p]
        if depth < bits - 1:
            depth += 1
            place[depth] = place[depth - 1] - 1  # kinds in rising order, with repetition
            continue
        total = 0.0
        for p in range(pairs):
            g = sums[bits, p]
            total += (wanted[p] - g) ** 2 if g <= cap else np.inf
        if total < smallest:
            smallest = total
            best[:] = place
    return smallest, best
