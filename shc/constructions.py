"""Sets of centers that ignore the class similarity: random, Hadamard, BCH, greedy, and as far apart as possible.

They are the baselines' centers and the feasible starts of the optimizer. All return int8 ±1 arrays [C, K] and depend
on their seed alone. `shc.limits` says what no set can reach.
"""

import numpy as np

from shc.annealing import Problem, polish, repair, state_of, visit_seconds
from shc.bch import bch_centers
from shc.hamming import as_codes, check_seed, check_size, min_distance_rule, minimum_distance
from shc.limits import DistanceLimits, algebraic_distance, max_distance_limits

__all__ = [
    "DistanceLimits", "algebraic_centers", "centers_at_distance", "distance_only_centers", "feasible_centers",
    "hadamard_centers", "lexicode", "max_distance_limits", "random_centers",
]  # fmt: skip


TRIES = 6  # searches for a distance that was asked for in so many words, before it is called not found


def random_centers(bits: int, classes: int, seed: int = 0) -> np.ndarray:
    """Uniformly random centers int8 [C, K], all different whenever 2^K ≥ C.

    >>> random_centers(4, 16, seed=1).shape
    (16, 4)
    """
    check_size(bits, classes)
    check_seed(seed)
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


def algebraic_centers(bits: int, classes: int, seed: int = 0) -> np.ndarray:
    """Centers int8 [C, K] of the family whose distance is largest, `limits.algebraic_distance`: Hadamard, else BCH.

    Which words are taken is drawn by `seed`.

    >>> minimum_distance(algebraic_centers(32, 100))
    12
    """
    codes = _known_code(bits, classes, algebraic_distance(bits, classes), seed)
    assert codes is not None, "the distance is that of a known code"
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

    Tries, in this order: random different codes, Hadamard, BCH, the lexicode, and a search that removes violations,
    for at most `sweeps` visits to every center (by default some tenths of a second). Which class gets which code is
    drawn by `seed`. `fixed` = (indices [F], codes [F, K]) are classes whose codes are given; the search then begins
    from `start`.

    >>> minimum_distance(feasible_centers(32, 100, 10)) >= 10
    True
    """
    check_size(bits, classes)
    if min_distance > max_distance_limits(bits, classes).largest:
        return None
    if sweeps is None:
        sweeps = int(np.clip(0.1 / (classes * visit_seconds(classes, bits)), 20, 2000))
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
    if not len(free):
        return codes
    if bits <= 16 and (rest := lexicode(bits, len(free), min_distance, avoid=codes[indices])) is not None:
        codes[free] = rest[rng.permutation(len(free))]
        return codes
    return repair(codes, min_distance, free, state_of(int(rng.integers(2**31))), sweeps)


def centers_at_distance(
    bits: int,
    classes: int,
    min_distance: int | str = "rule",
    seed: int = 0,
    fixed: tuple[np.ndarray, np.ndarray] | None = None,
    start: np.ndarray | None = None,
) -> tuple[int, np.ndarray]:
    """A minimum distance that can be kept, and centers int8 [C, K] that keep it.

    "rule" steps down from `min_distance_rule` until centers are found, "max" from the largest distance not known to be
    impossible; a whole number is taken as it is. ValueError if it is impossible or no centers are found. `fixed`,
    `start` and `seed` as for `feasible_centers`; a `start` that keeps the distance is returned itself.

    >>> centers_at_distance(8, 24)[0]  # the rule says 3, but no code of 8 bits and distance 3 exceeds 20 words
    2
    """
    limits = max_distance_limits(bits, classes)  # raises if there are more classes than codes
    rule = min_distance_rule(bits, classes)
    limit = limits.largest if fixed is None else min(limits.largest, minimum_distance(fixed[1]))
    explicit = isinstance(min_distance, int | np.integer) and not isinstance(min_distance, bool)
    if explicit and int(min_distance) >= 0:
        wanted = int(min_distance)
        if wanted > limits.largest:
            raise ValueError(
                f"min_distance={wanted} is impossible: {classes} codes of {bits} bits are at most {limits.largest} "
                f"apart ({limits.name} limit); the paper's rule asks for {rule}"
            )
        if wanted > limit:
            raise ValueError(
                f"min_distance={wanted}, but two of the fixed codes are only {limit} apart; ask for at most {limit}"
            )
    elif min_distance in ("rule", "max"):
        wanted = min(rule, limit) if min_distance == "rule" else limit
    else:
        raise ValueError(f"min_distance={min_distance!r}; expected a whole number of bits, 'rule' or 'max'")
    for tried in range(wanted, -1, -1):
        if start is not None and minimum_distance(start) >= tried:
            codes: np.ndarray | None = start
        else:
            codes = feasible_centers(bits, classes, tried, seed, fixed, start)
        if codes is None and not (explicit and tried == wanted):
            continue
        # Chance decides at the edge of what a search finds: try the distance asked for, or one more, a few times.
        goal = tried + 1 if min_distance == "max" else tried
        for again in range(1, TRIES if codes is None or goal in range(tried + 1, wanted + 1) else 1):
            more = feasible_centers(bits, classes, goal, seed + again, fixed, start)
            if more is not None:
                tried, codes = goal, more
                break
        if codes is None:
            continue
        if explicit and tried < wanted:
            raise ValueError(
                f"found no {classes} codes of {bits} bits with min_distance={wanted}; the largest found is {tried}, "
                f"the paper's rule asks for {rule}"
            )
        return tried, codes
    raise AssertionError("distance 0 is always kept")


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
    _, codes = centers_at_distance(bits, classes, "max" if min_distance is None else min_distance, seed)
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
            codes, wanted, np.arange(classes), state_of(int(rng.integers(2**31))), sweeps, heat=heat, single=False
        )
        if found is not None:
            return np.ascontiguousarray(found[:, :bits])
    return None


def _word_codes(words: np.ndarray, bits: int) -> np.ndarray:
    return ((words[:, None] >> np.arange(bits) & 1) * 2 - 1).astype(np.int8)


def _duplicates(codes: np.ndarray) -> np.ndarray:
    """Rows that repeat an earlier row."""
    _, first = np.unique(codes, axis=0, return_index=True)
    return np.setdiff1d(np.arange(len(codes)), first)
