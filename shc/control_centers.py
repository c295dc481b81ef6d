"""Centers to measure SHC's against: without meaning, without distance, or with a dose of false meaning."""

import numpy as np

from shc import constructions
from shc.config import CentersConfig
from shc.methods.csq import csq_centers


def blended(S: np.ndarray, shuffled: float, seed: int) -> np.ndarray:
    """S [C, C] with a share of it replaced by S of shuffled classes: as structured, less true."""
    order = np.random.default_rng([seed, 2]).permutation(len(S))
    return S if shuffled == 0 else (1 - shuffled) * S + shuffled * S[np.ix_(order, order)]


def control_centers(config: CentersConfig, classes: int, semantic: np.ndarray | None = None) -> np.ndarray:
    """int8 [C, K] centers that know nothing of S: what SHC's are measured against.

    `permuted`: SHC's own centers (`semantic`), classes shuffled (same geometry, no meaning). `distance`: spread as far
    apart as possible, as MDS asks. `random`: independent coin flips. `csq`: Hadamard codes, or balanced random ones,
    dealt to the classes by the seed. Raises ValueError for `permuted` without `semantic`.

    >>> control_centers(CentersConfig(bits=16, kind="csq"), 10).shape
    (10, 16)
    """
    if config.kind == "permuted":
        if semantic is None:
            raise ValueError("kind='permuted' shuffles the semantic centers; give them")
        return semantic[np.random.default_rng([config.seed, 1]).permutation(classes)]
    if config.kind == "distance":
        return constructions.distance_only_centers(config.bits, classes, seed=config.seed)
    if config.kind == "random":
        return constructions.random_centers(config.bits, classes, seed=config.seed)
    codes = csq_centers(config.bits, classes, seed=config.seed)
    return codes[np.random.default_rng([config.seed, 3]).permutation(classes)]
