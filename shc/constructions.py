"""Sets of centers that ignore the class similarity: random, Hadamard, BCH, greedy, and as far apart as possible.

They are the baselines' centers and the feasible starts of the optimizer. All return int8 ±1 arrays [C, K] and depend
on their seed alone. `max_distance_limits` says what no set can reach.
"""

from dataclasses import dataclass
from math import comb

import numpy as np

from shc.annealing import Problem, polish, repair, state_of
from shc.hamming import as_codes, check_size, minimum_distance


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
    # Even distances: C codes of K bits at 2t exist if and only if C codes of K − 1 bits at 2t − 1 do.
    hamming = max(
        d for d in range(1, bits + 1) if classes * _ball(bits - 1 + d % 2, (d - 1) // 2) <= 2 ** (bits - 1 + d % 2)
    )
    certain = max(d for d in range(1, bits + 1) if (classes - 1) * _ball(bits, d - 1) < 2**bits)
    return DistanceLimits(plotkin, hamming, certain)


def random_centers(bits: int, classes: int, seed: int = 0) -> np.ndarray:
    """Uniformly random centers int8 [C, K], all different whenever 2^K ≥ C.

    >>> random_centers(4, 16, seed=1).shape
    (16, 4)
    """
    check_size(bits, classes)
    rng = np.random.default_rng(seed)
    if bits <= 16:
        words = rng.permutation(2**bits)
        return _word_codes(np.resize(words, classes), bits)
    codes = rng.integers(0, 2, (classes, bits), dtype=np.int8) * 2 - 1
    while len(again := _duplicates(codes)):
        codes[again] = rng.integers(0, 2, (len(again), bits), dtype=np.int8) * 2 - 1
    return codes.astype(np.int8)


def hadamard_centers(bits: int, classes: int) -> np.ndarray:
    """Rows of the Sylvester–Hadamard matrix, then their complements: int8 [C, K], at distance K/2 or K.

    This is the first-order Reed–Muller code, and what CSQ (Yuan et al. 2020) uses. ValueError unless K is a power of
    two and C ≤ 2K.

    >>> hadamard_centers(2, 4).tolist()
    [[1, 1], [1, -1], [-1, -1], [-1, 1]]
    """
    check_size(bits, classes)
    if bits & (bits - 1):
        raise ValueError(
            f"bits={bits} is not a power of two, so there is no Sylvester–Hadamard matrix; use bch_centers"
        )
    if classes > 2 * bits:
        raise ValueError(
            f"{classes} classes exceed the {2 * bits} Hadamard codes of {bits} bits; use bch_centers or more bits"
        )
    rows = np.ones((1, 1), dtype=np.int8)
    while len(rows) < bits:
        rows = np.block([[rows, rows], [rows, -rows]])
    return np.concatenate([rows, -rows])[:classes].astype(np.int8)


def bch_centers(bits: int, classes: int, min_distance: int, seed: int | None = None) -> np.ndarray:
    """Words of a shortened extended BCH code: int8 [C, K], pairwise distances even and at least `min_distance`.

    The narrow-sense primitive code of length 2^m − 1 (Bose, Ray-Chaudhuri & Hocquenghem) with a parity bit, cut to K
    bits by keeping the words whose first 2^m − K bits are 0. The first C words, or random ones with a `seed`.
    ValueError if the code has fewer than C words.

    >>> minimum_distance(bch_centers(16, 100, 4)) >= 4
    True
    """
    check_size(bits, classes)
    generator, length = _bch_generator(bits, min_distance)
    messages = (length - 1) - (generator.bit_length() - 1) - (length - bits)  # message bits left after shortening
    if messages < 0 or classes > 2**messages:
        raise ValueError(
            f"the BCH code of {bits} bits with distance {min_distance} has {2**messages if messages > 0 else 1} "
            f"words, fewer than {classes} classes; lower min_distance or use feasible_centers"
        )
    if seed is None:
        chosen = list(range(classes))
    else:
        rng = np.random.default_rng(seed)
        chosen = [int(w) for w in rng.choice(2 ** min(messages, 20), classes, replace=False)]
    checks = generator.bit_length() - 1
    codes = np.empty((classes, bits), dtype=np.int8)
    for row, message in enumerate(chosen):
        word = message << checks
        word ^= _remainder(word, generator)
        flags = [(word >> position) & 1 for position in range(bits - 1)]
        codes[row] = [2 * flag - 1 for flag in (*flags, sum(flags) % 2)]
    return codes


def lexicode(bits: int, classes: int, min_distance: int, avoid: np.ndarray | None = None) -> np.ndarray | None:
    """The first C words, in counting order, that keep `min_distance` to all before: int8 [C, K], or None if too few.

    `avoid` [N, K] are codes that they keep the distance to as well. Goes through all 2^K words: K at most 20.

    >>> len(lexicode(8, 16, 4))
    16
    """
    check_size(bits, classes)
    if bits > 20:
        raise ValueError(f"bits={bits} means {2**bits} words to go through; lexicode serves up to 20 bits")
    words = np.arange(2**bits, dtype=np.uint32)
    open_words = np.ones(2**bits, dtype=bool)
    found: list[int] = []
    taken = [] if avoid is None else [int(w) for w in (avoid > 0) @ (1 << np.arange(bits))]
    while len(found) < classes:
        if not taken:
            word = int(open_words.argmax())
            if not open_words[word]:
                return None
            found.append(word)
            taken = [word]
        open_words &= np.bitwise_count(words ^ np.uint32(taken.pop())) >= max(min_distance, 1)
    return _word_codes(np.array(found), bits)


def feasible_centers(
    bits: int,
    classes: int,
    min_distance: int,
    seed: int = 0,
    fixed: tuple[np.ndarray, np.ndarray] | None = None,
    start: np.ndarray | None = None,
    sweeps: int | None = None,
) -> np.ndarray | None:
    """Centers int8 [C, K] with at least `min_distance`, or None if none was found (there may be some all the same).

    Tries, in this order: random different codes, Hadamard, BCH, the lexicode, and a search that removes violations, for
    at most `sweeps` passes over all bits (by default about a second). Which class gets which code is drawn by `seed`.
    `fixed` = (indices [F], codes [F, K]) are classes whose codes are given; the search then begins from `start`.

    >>> minimum_distance(feasible_centers(32, 100, 10)) >= 10
    True
    """
    check_size(bits, classes)
    if min_distance > max_distance_limits(bits, classes).largest:
        return None
    if sweeps is None:
        sweeps = int(np.clip(2e9 / (bits * classes * (classes + 100)), 20, 2000))
    rng = np.random.default_rng([seed, bits, classes, min_distance])
    indices = np.zeros(0, dtype=np.int64) if fixed is None else np.asarray(fixed[0], dtype=np.int64)
    free = np.setdiff1d(np.arange(classes), indices)
    if fixed is None:
        code = _known_code(bits, classes, min_distance, int(rng.integers(2**31)))
        if code is not None:
            # Permuting bits and flipping a column keep all distances.
            code = code[rng.permutation(classes)][:, rng.permutation(bits)]
            return (code * (rng.integers(0, 2, bits, dtype=np.int8) * 2 - 1)).astype(np.int8)
        return _search_even(bits, classes, min_distance, rng, sweeps)
    codes = random_centers(bits, classes, int(rng.integers(2**31))) if start is None else as_codes(start).copy()
    codes[indices] = fixed[1]
    if minimum_distance(codes[indices]) < min_distance:
        return None
    if bits <= 16 and (rest := lexicode(bits, len(free), min_distance, avoid=codes[indices])) is not None:
        codes[free] = rest[rng.permutation(len(free))]
        return codes
    return repair(codes, min_distance, free, state_of(int(rng.integers(2**31))), sweeps)


def distance_only_centers(
    bits: int, classes: int, seed: int = 0, min_distance: int | None = None, sweeps: int = 500
) -> np.ndarray:
    """Centers int8 [C, K] as far apart as possible, whatever the classes mean: the baseline without similarity.

    First the largest minimum distance for which a set is found (or the given `min_distance`), then, keeping it, a
    large mean and a small variance of the pairwise distances (the aims of Wang et al. 2023, "minimal-distance-separated
    hash centers"). ValueError if no set with the given `min_distance` is found.

    >>> minimum_distance(distance_only_centers(16, 20))
    8
    """
    codes = None
    if min_distance is not None:
        codes = feasible_centers(bits, classes, min_distance, seed)
        if codes is None:
            raise ValueError(f"found no {classes} codes of {bits} bits with distance {min_distance}; ask for less")
    else:
        for wanted in range(max_distance_limits(bits, classes).largest, 0, -1):
            codes = feasible_centers(bits, classes, wanted, seed)
            if codes is not None:
                break
    assert codes is not None  # distance 1 is always found
    if classes < 3:
        return codes
    # Equal targets, as low as the mean of C inner products can be: spread evenly and far.
    target = np.full((classes, classes), -1.0 / (classes - 1))
    problem = Problem.of(target, bits, minimum_distance(codes))
    return polish(problem, codes, state_of(seed), sweeps)


def _known_code(bits: int, classes: int, min_distance: int, seed: int) -> np.ndarray | None:
    """A code from the families above with the wanted distance, or None."""
    if min_distance <= 1:
        return random_centers(bits, classes, seed)
    rng = np.random.default_rng(seed)
    even = min_distance + min_distance % 2
    if bits & (bits - 1) == 0 and classes <= 2 * bits and even <= bits // 2:
        return hadamard_centers(bits, 2 * bits)[rng.choice(2 * bits, classes, replace=False)]
    for wanted, length in ((even, bits), (even, bits + 1)):  # one bit more, then cut: distance even − 1
        if length > bits and even == min_distance:
            break
        try:
            return bch_centers(length, classes, wanted, seed)[:, :bits]
        except ValueError:
            continue
    return lexicode(bits, classes, min_distance) if bits <= 16 else None


def _search_even(
    bits: int, classes: int, min_distance: int, rng: np.random.Generator, sweeps: int
) -> np.ndarray | None:
    """A code found by annealing the violations; an odd distance as one of a bit more, whose distances are even."""
    length, wanted = bits + min_distance % 2, min_distance + min_distance % 2
    for heat in (3.0, 8.0):
        codes = random_centers(length, classes, int(rng.integers(2**31)))
        codes[:, 0] *= codes.prod(axis=1)  # an even number of −1, which pairs of flips keep
        found = repair(
            codes, wanted, np.arange(classes), state_of(int(rng.integers(2**31))), sweeps, heat=heat, pairs=1.0
        )
        if found is not None:
            return np.ascontiguousarray(found[:, :bits])
    return None


def _bch_generator(bits: int, min_distance: int) -> tuple[int, int]:
    """Generator polynomial over GF(2) (bit i = coefficient of x^i) and extended length 2^m ≥ bits."""
    m = max(2, (bits - 1).bit_length())
    primitive = _PRIMITIVE[m]
    order = 2**m - 1
    power = [1]  # α^0, α^1, … as bit patterns
    for _ in range(order - 1):
        step = power[-1] << 1
        power.append(step ^ primitive if step >> m else step)
    generator = 1
    roots: set[int] = set()
    for exponent in range(1, min(max(min_distance - 1, 1), order)):
        if exponent in roots:
            continue
        conjugates, other = [], exponent
        while other not in conjugates:
            conjugates.append(other)
            other = 2 * other % order
        roots.update(conjugates)
        generator = _multiply(generator, _minimal_polynomial([power[c] for c in conjugates], primitive, m))
    return generator, order + 1


def _minimal_polynomial(roots: list[int], primitive: int, m: int) -> int:
    """Product of (x − r) over a conjugacy class in GF(2^m); its coefficients are 0 or 1."""
    coefficients = [1]
    for root in roots:
        shifted = [0, *coefficients]  # times x
        for place, value in enumerate(coefficients):
            shifted[place] ^= _field_product(value, root, primitive, m)
        coefficients = shifted
    return sum(1 << place for place, value in enumerate(coefficients) if value)


def _field_product(a: int, b: int, primitive: int, m: int) -> int:
    return _remainder(_multiply(a, b), primitive)


def _multiply(a: int, b: int) -> int:
    """Product of two polynomials over GF(2)."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1, b >> 1
    return product


def _remainder(a: int, b: int) -> int:
    """Remainder of polynomial a divided by b over GF(2)."""
    while a.bit_length() >= b.bit_length():
        a ^= b << (a.bit_length() - b.bit_length())
    return a


def _ball(bits: int, radius: int) -> int:
    return sum(comb(bits, i) for i in range(radius + 1))


def _word_codes(words: np.ndarray, bits: int) -> np.ndarray:
    return ((words[:, None] >> np.arange(bits) & 1) * 2 - 1).astype(np.int8)


def _duplicates(codes: np.ndarray) -> np.ndarray:
    """Rows that repeat an earlier row."""
    _, first = np.unique(codes, axis=0, return_index=True)
    return np.setdiff1d(np.arange(len(codes)), first)


# Primitive polynomials of GF(2^m), m = 2 to 12 (bit i = coefficient of x^i).
_PRIMITIVE = {2: 7, 3: 11, 4: 19, 5: 37, 6: 67, 7: 131, 8: 285, 9: 529, 10: 1033, 11: 2053, 12: 4179}
