"""How far apart C codes of K bits can be: what no set reaches, what some set surely does, and what algebra gives.

`max_distance_limits` has the limits of Plotkin, Hamming and Gilbert–Varshamov, `algebraic_distance` what the Hadamard
and BCH codes of this package reach, `distance_table` both beside the paper's rule. Best known codes are often better
than these families and worse than the limits (Brouwer's tables); they are not listed here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import comb

from shc.bch import bch_words
from shc.hamming import check_size, min_distance_rule


@dataclass(frozen=True)
class DistanceLimits:
    """Limits on the minimum distance of C codes of K bits, in bits.

    No set exceeds `plotkin` (average distance, also of the codes that share their first bits), `hamming` (balls of
    half the distance must not overlap) or hence `largest`; a set with `gilbert_varshamov` exists for certain.
    """

    plotkin: int
    hamming: int
    gilbert_varshamov: int

    @property
    def largest(self) -> int:
        """No set of codes has a larger minimum distance than this."""
        return min(self.plotkin, self.hamming)

    @property
    def name(self) -> str:
        """Whose limit `largest` is."""
        return "Plotkin" if self.plotkin <= self.hamming else "Hamming"


@dataclass(frozen=True)
class DistanceRow:
    """The distances (bits) of `classes` codes of `bits` bits: the paper's `rule`, three limits, and `algebraic` codes.

    `cap` = 1 − 2·rule/K is the largest hᵢᵀhⱼ/K that the rule leaves to two classes, however alike they are.
    """

    bits: int
    classes: int
    rule: int
    gilbert_varshamov: int
    algebraic: int
    hamming: int
    plotkin: int
    cap: float


def distance_table(
    bits: Iterable[int] = (16, 32, 64), classes: Sequence[int] = (10, 100, 196, 555)
) -> list[DistanceRow]:
    """The rule's distance beside the limits and what algebra reaches, for every K in `bits` and C in `classes`.

    The defaults are the paper's code lengths and its data sets' numbers of classes. ValueError where C > 2^K.

    >>> row = distance_table([32], [100])[0]
    >>> row.rule, row.gilbert_varshamov, row.algebraic, row.hamming, row.plotkin, row.cap
    (10, 10, 12, 18, 15, 0.375)
    """
    rows = []
    for k in bits:
        for c in classes:
            limits, rule = max_distance_limits(k, c), min_distance_rule(k, c)
            reached, cap = algebraic_distance(k, c), 1 - 2 * rule / k
            rows.append(DistanceRow(k, c, rule, limits.gilbert_varshamov, reached, limits.hamming, limits.plotkin, cap))
    return rows


def max_distance_limits(bits: int, classes: int) -> DistanceLimits:
    """Plotkin, Hamming and Gilbert–Varshamov limits on the minimum distance of `classes` codes of `bits` bits.

    With one class there is no pair and all limits are `bits`. ValueError if `classes` codes cannot even differ.

    >>> max_distance_limits(16, 100)
    DistanceLimits(plotkin=6, hamming=6, gilbert_varshamov=3)
    """
    check_size(bits, classes)
    if classes == 1:
        return DistanceLimits(bits, bits, bits)
    if classes > 2**bits:
        raise ValueError(
            f"{classes} classes cannot have different centers of {bits} bits, which make {2**bits}; "
            f"use at least {(classes - 1).bit_length()} bits"
        )
    plotkin = bits
    for shared in range(bits):  # some ≥ C/2^shared codes agree on the first `shared` bits
        group = -(-classes // 2**shared)
        if group < 2:
            break
        # Over one bit at most ⌊C/2⌋⌈C/2⌉ pairs differ; the smallest distance is at most the mean one.
        plotkin = min(plotkin, (bits - shared) * (group // 2) * (group - group // 2) // comb(group, 2))
    balls = {k: list(accumulate(comb(k, i) for i in range(k + 1))) for k in (bits - 1, bits)}  # words within a radius
    # Even distances: C codes of K bits at 2t exist if and only if C codes of K − 1 bits at 2t − 1 do.
    hamming = max(
        d for d in range(1, bits + 1) if classes * balls[bits - 1 + d % 2][(d - 1) // 2] <= 2 ** (bits - 1 + d % 2)
    )
    certain = max(d for d in range(1, bits + 1) if (classes - 1) * balls[bits][d - 1] < 2**bits)
    return DistanceLimits(plotkin, hamming, certain)


def algebraic_distance(bits: int, classes: int) -> int:
    """The largest minimum distance that this package's algebraic codes guarantee for C codes of K bits.

    Hadamard codes (K a power of two, C ≤ 2K), shortened extended BCH codes, and BCH codes of one bit more with one bit
    left out. ValueError where C > 2^K.

    >>> algebraic_distance(64, 100), algebraic_distance(64, 555)
    (32, 28)
    """
    largest = max_distance_limits(bits, classes).largest
    hadamard = bits // 2 if bits & (bits - 1) == 0 and classes <= 2 * bits else 1
    for wanted in range(largest, hadamard, -1):
        if classes <= bch_words(bits + wanted % 2, wanted + wanted % 2):  # BCH distances are even here
            return wanted
    return max(hadamard, 1)
