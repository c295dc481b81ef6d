"""What a set of hash centers looks like inside: agreement with S, classes that fit badly, trees, the meaning of bits.

Codes are ±1 [C, K], S the class similarity [C, C], X = HᵀH/K what the centers made of it. Groups are super-classes,
int64 [C]; without a hierarchy there are none, and what needs them says so. Everything here measures; the pictures are
in `shc.structure_plots`, maps of codes in `shc.embedding`, the price of the minimum distance in `shc.frontier`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shc.centers import check_similarity
from shc.hamming import as_codes, as_numbers, check_size
from shc.hierarchy import Hierarchy


class RankAgreement(NamedTuple):
    """How well the order of the class pairs by similarity is kept; 1 entirely, 0 not at all, NaN if nothing ranks."""

    spearman: float
    kendall: float


@dataclass(frozen=True)
class BitMeaning:
    """One bit and the super-classes it separates: ids of those on its +1 side, on its −1 side, and cut in two."""

    bit: int
    information: float
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    cut: tuple[int, ...]


# ---------------------------------------------------------------------------------------------- agreement with S


def rank_agreement(S: np.ndarray, codes: np.ndarray) -> RankAgreement:
    """Spearman's ρ and Kendall's τ-b between S [C, C] and the similarity of the centers [C, K], over pairs of classes.

    Hamming distances are few, so many pairs are tied; τ-b (Kendall 1945) leaves ties out of its normalization.

    >>> S = np.array([[1, 0.5, -0.5], [0.5, 1, -1], [-0.5, -1, 1]])
    >>> [round(value, 3) for value in rank_agreement(S, [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, 1]])]
    [1.0, 1.0]
    """
    from scipy.stats import kendalltau

    from shc.similarity import spearman_upper

    S, codes = _checked(S, codes, least=2)
    X, pairs = _inner(codes), np.triu_indices(len(S), 1)
    tau = np.nan
    if np.ptp(S[pairs]) > 0 and np.ptp(X[pairs]) > 0:
        tau = float(kendalltau(S[pairs], X[pairs], variant="b").statistic)
    return RankAgreement(spearman_upper(S, X), tau)


def class_stress(S: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """float64 [C]: mean over each row of (S − X)², the part of f that lies with one class; their mean is f.

    >>> class_stress(np.array([[1, 0.5], [0.5, 1]]), [[1, 1, 1, 1], [1, 1, -1, -1]])
    array([0.125, 0.125])
    """
    S, codes = _checked(S, codes)
    return np.square(S - _inner(codes)).mean(1)


def stress_partners(S: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """int64 [C]: the other class with which each class's squared error is the largest.

    >>> S = np.array([[1, 0.5, -0.5], [0.5, 1, -0.75], [-0.5, -0.75, 1]])
    >>> stress_partners(S, [[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, 1, 1]])
    array([2, 2, 0])
    """
    S, codes = _checked(S, codes, least=2)
    error = np.square(S - _inner(codes))
    np.fill_diagonal(error, -1)  # never its own partner, even where everything fits
    return error.argmax(1)


def forced_stress(S: np.ndarray, bits: int, min_distance: int) -> np.ndarray:
    """float64 [C]: the stress that no center of `bits` bits avoids while every pair keeps `min_distance`.

    Pair by pair the nearest similarity that exists, 1 − 2D/K with a whole D ≥ d; what S asks above 1 − 2d/K is lost.
    Their mean is `shc.bounds.grid_bound`.

    >>> forced_stress(np.array([[1, 0.9], [0.9, 1]]), 4, 1)  # at most 1 − 2/4
    array([0.08, 0.08])
    """
    S = check_similarity(S)
    check_size(bits, len(S))
    if not 0 <= min_distance <= bits:
        raise ValueError(f"min_distance={min_distance} bits; expected 0 to {bits}, the code length")
    nearest = 1 - 2 * np.clip(np.round((1 - S) * bits / 2), min_distance, bits) / bits
    np.fill_diagonal(nearest, 1)
    return np.square(S - nearest).mean(1)


# ---------------------------------------------------------------------------------------------- trees


def average_linkage(distances: np.ndarray) -> np.ndarray:
    """Dendrogram float64 [C − 1, 4] of distances [C, C]: SciPy's average linkage, its leaves in the optimal order.

    >>> average_linkage(np.array([[0, 1, 4], [1, 0, 2], [4, 2, 0]]))[:, 2]
    array([1., 3.])
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    apart = square_matrix(distances, "distances", least=2)
    return linkage(squareform(apart, checks=False), "average", optimal_ordering=True)


def joint_heights(tree: np.ndarray) -> np.ndarray:
    """float64 [C, C]: height of the joint at which two classes meet in a dendrogram [C − 1, 4] (cophenetic distance).

    >>> joint_heights(average_linkage(np.array([[0, 1, 4], [1, 0, 2], [4, 2, 0]])))
    array([[0., 1., 3.],
           [1., 0., 3.],
           [3., 3., 0.]])
    """
    from scipy.cluster.hierarchy import cophenet
    from scipy.spatial.distance import squareform

    return squareform(cophenet(tree))


def taxonomy_heights(hierarchy: Hierarchy | None) -> np.ndarray:
    """float64 [C, C]: how many levels up two classes of the hierarchy meet; 0 for a class and itself.

    >>> taxonomy_heights(Hierarchy((("birds",), ("birds",), ("fish",))))
    array([[0., 1., 2.],
           [1., 0., 2.],
           [2., 2., 0.]])
    """
    if hierarchy is None:
        raise ValueError("this data set has no class hierarchy to compare with; take one that has (emoji, shapes)")
    return (hierarchy.height - hierarchy.shared_levels()).astype(np.float64)


def cophenetic_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two matrices of joint heights or distances [C, C] over pairs of classes; NaN if one is
    constant (Sokal & Rohlf 1962).

    >>> heights = np.array([[0, 1, 2], [1, 0, 2], [2, 2, 0]])
    >>> round(cophenetic_correlation(heights, 3 * heights), 6)
    1.0
    """
    a, b = square_matrix(first, "first", least=2), square_matrix(second, "second", least=2)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} classes cannot be compared; take the same classes in both")
    pairs = np.triu_indices(len(a), 1)
    x, y = (m[pairs] - m[pairs].mean() for m in (a, b))
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm > 1e-12 * max(np.abs(a).max() * np.abs(b).max(), 1e-300) else float("nan")


# ---------------------------------------------------------------------------------------------- bits


def bit_means(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """float64 [K, G]: mean of each bit over the classes of each super-class; ±1 where all of them agree.

    >>> bit_means([[1, 1], [1, -1], [-1, 1]], groups=[0, 0, 1])
    array([[ 1., -1.],
           [ 0.,  1.]])
    """
    codes, ids = _grouped(codes, groups)
    member = (ids[:, None] == np.arange(ids.max() + 1)).astype(np.float64)  # [C, G]
    return codes.T @ member / np.maximum(member.sum(0), 1)


def bit_information(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """float64 [K]: mutual information of each bit with the super-class, 0 to 1 bit: what the bit tells about it.

    Few classes per super-class lift it above 0 even for coin flips; `chance_information` says by how much.

    >>> bit_information([[1, 1], [1, -1], [-1, 1], [-1, -1]], groups=[0, 0, 1, 1])
    array([1., 0.])
    """
    codes, ids = _grouped(codes, groups)
    return _information(codes > 0, ids)


def chance_information(codes: np.ndarray, groups: np.ndarray, draws: int = 200, seed: int = 0) -> np.ndarray:
    """float64 [draws, K]: `bit_information` of the same centers given to shuffled classes, the level of no meaning.

    >>> chance_information([[1], [1], [-1], [-1]], groups=[0, 0, 1, 1], draws=300).mean().round(1)
    np.float64(0.3)
    """
    codes, ids = _grouped(codes, groups)
    rng = np.random.default_rng(seed)
    return np.array([_information(codes > 0, rng.permutation(ids)) for _ in range(draws)])


def bit_purity(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """float64 [K]: share of the classes that stand on the side of their super-class's majority, 0.5 to 1.

    >>> bit_purity([[1, 1], [1, -1], [-1, 1], [-1, -1]], groups=[0, 0, 1, 1])
    array([1. , 0.5])
    """
    codes, ids = _grouped(codes, groups)
    sizes = np.bincount(ids)
    return ((1 + np.abs(bit_means(codes, ids))) / 2) @ sizes / sizes.sum()


def telling_bits(codes: np.ndarray, groups: np.ndarray, count: int = 5, agreement: float = 0.8) -> list[BitMeaning]:
    """The `count` bits with the most information about the super-class, and the super-classes on either side.

    A super-class stands on a side if at least the share `agreement` of its classes does; else the bit cuts it in two.

    >>> telling_bits([[1, 1], [1, -1], [-1, 1], [-1, -1]], groups=[0, 0, 1, 1], count=1)
    [BitMeaning(bit=0, information=1.0, plus=(0,), minus=(1,), cut=())]
    """
    information, means = bit_information(codes, groups), bit_means(codes, groups)
    if not 0.5 < agreement <= 1:
        raise ValueError(f"agreement={agreement}; expected a share above 0.5 and at most 1")
    found = []
    for bit in np.argsort(-information, kind="stable")[:count].tolist():
        side = np.where(np.abs(means[bit]) >= 2 * agreement - 1 - 1e-9, np.sign(means[bit]), 0)
        plus, minus, cut = (tuple(np.flatnonzero(side == s).tolist()) for s in (1, -1, 0))
        found.append(BitMeaning(bit, float(information[bit]), plus, minus, cut))
    return found


def bit_correlation(codes: np.ndarray) -> np.ndarray:
    """float64 [K, K]: Pearson's correlation of the bits over codes [N, K]; a constant bit gets 0 with all others.

    >>> bit_correlation([[1, 1, 1], [1, 1, -1], [-1, -1, 1], [-1, -1, -1]])
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]])
    """
    wide = as_codes(codes).astype(np.float64)
    wide -= wide.mean(0)
    length = np.linalg.norm(wide, axis=0)
    wide /= np.where(length > 0, length, 1)
    correlation = np.clip(wide.T @ wide, -1, 1)
    np.fill_diagonal(correlation, 1)
    return correlation


# ---------------------------------------------------------------------------------------------- checks


def _inner(codes: np.ndarray) -> np.ndarray:
    wide = codes.astype(np.float64)
    return wide @ wide.T / wide.shape[1]


def _information(plus: np.ndarray, ids: np.ndarray) -> np.ndarray:
    member = (ids == np.arange(ids.max() + 1)[:, None]).astype(np.float64)  # [G, C]
    ones = member @ plus  # [G, K]
    joint = np.stack([ones, member.sum(1, keepdims=True) - ones]) / len(ids)  # [2, G, K]
    product = joint.sum(0) * joint.sum(1, keepdims=True)
    ratio = np.divide(joint, product, out=np.ones_like(joint), where=joint > 0)
    return np.clip((joint * np.log2(ratio)).sum((0, 1)), 0, 1)


def _checked(S: np.ndarray, codes: np.ndarray, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    S, codes = check_similarity(S), as_codes(codes)
    if len(codes) != len(S):
        raise ValueError(f"{len(codes)} codes for a similarity of {len(S)} classes; pass one center per class")
    if len(S) < least:
        raise ValueError(f"S has {len(S)} class; {least} classes or more make a pair")
    return S, codes


def _grouped(codes: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, ids = as_codes(codes), np.asarray(groups)
    if ids.shape != (len(codes),) or ids.dtype.kind not in "iu" or ids.min(initial=0) < 0:
        raise ValueError(
            f"groups have shape {list(ids.shape)} and type {ids.dtype}; expected a super-class id of 0 or more for "
            f"each of the {len(codes)} classes"
        )
    if len(np.unique(ids)) < 2:
        raise ValueError(
            "all classes are in one super-class, so no bit can tell super-classes apart; take data with a hierarchy"
        )
    return codes, ids.astype(np.int64)


def square_matrix(matrix: np.ndarray, what: str, least: int) -> np.ndarray:
    """The matrix as float64 [N, N]; ValueError unless it is square, finite, symmetric and has `least` rows."""
    values = np.asarray(as_numbers(matrix, what), dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"{what} has shape {list(values.shape)}; expected a square matrix, a row per class or point")
    if len(values) < least:
        raise ValueError(f"{what} has {len(values)} rows; expected at least {least}")
    if not np.isfinite(values).all():
        i, j = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"{what}[{i}, {j}] is {values[i, j]}; every entry must be finite")
    if np.abs(values - values.T).max() > 1e-6 * max(1.0, np.abs(values).max()):
        i, j = np.unravel_index(np.abs(values - values.T).argmax(), values.shape)
        raise ValueError(
            f"{what} is not symmetric: [{i}, {j}] is {values[i, j]:.6g}, [{j}, {i}] is {values[j, i]:.6g}; pass the "
            "mean of the matrix and its transpose"
        )
    return values
