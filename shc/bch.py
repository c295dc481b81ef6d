"""Extended BCH codes (Bose, Ray-Chaudhuri & Hocquenghem): algebraic sets of centers with a guaranteed distance.

Polynomials over GF(2) are Python integers, bit i the coefficient of x^i; elements of GF(2^m) likewise.
"""

import numpy as np

from shc.hamming import check_size

# Primitive polynomials of GF(2^m), m = 2 to 12 (bit i = coefficient of x^i).
_PRIMITIVE = {2: 7, 3: 11, 4: 19, 5: 37, 6: 67, 7: 131, 8: 285, 9: 529, 10: 1033, 11: 2053, 12: 4179}


def bch_centers(bits: int, classes: int, min_distance: int, seed: int | None = None) -> np.ndarray:
    """Words of a shortened extended BCH code: int8 [C, K], pairwise distances even and at least `min_distance`.

    The narrow-sense primitive code of length 2^m − 1 (Bose, Ray-Chaudhuri & Hocquenghem) with a parity bit, cut to K
    bits by keeping the words whose first 2^m − K bits are 0. The first C words, or random ones with a `seed`.
    ValueError if the code has fewer than C words.

    >>> bch_centers(8, 16, 4)[1]
    array([ 1,  1, -1,  1, -1, -1, -1,  1], dtype=int8)
    """
    check_size(bits, classes)
    words = bch_words(bits, min_distance)
    if classes > words:
        raise ValueError(
            f"the BCH code of {bits} bits with distance {min_distance} has {words} "
            f"words, fewer than {classes} classes; lower min_distance or use feasible_centers"
        )
    generator, messages = _bch_generator(bits, min_distance), words.bit_length() - 1
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


def bch_words(bits: int, min_distance: int) -> int:
    """How many words the code of `bch_centers` has.

    >>> bch_words(16, 6)
    128
    """
    if bits > 2 ** max(_PRIMITIVE):
        raise ValueError(f"bits={bits}; BCH codes are here for up to {2 ** max(_PRIMITIVE)} bits")
    if min_distance < 0:
        raise ValueError(f"min_distance={min_distance}; expected 0 bits or more")
    checks = _bch_generator(bits, min_distance).bit_length() - 1
    return 2 ** max(bits - 1 - checks, 0)  # shortening and the parity bit leave so many message bits


def _bch_generator(bits: int, min_distance: int) -> int:
    """Generator polynomial over GF(2) (bit i = coefficient of x^i) of the code of length 2^m − 1 ≥ bits − 1."""
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
    return generator


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
