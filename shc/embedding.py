"""Codes and centers as dots on a plane: classical MDS (linear, says what it keeps) and UMAP (neighborhoods).

Both take a matrix of distances between all codes, so that centers and the codes of images can be laid out together.
`kept_neighbors` judges the result: any picture of many bits in two dimensions loses most of them.
"""

import warnings
from typing import Any

import numpy as np

from shc.structure import square_matrix


def classical_scaling(distances: np.ndarray, dimensions: int = 2) -> tuple[np.ndarray, float]:
    """Points [N, dimensions] whose distances come near `distances` [N, N], and the share of variance they keep.

    Classical MDS (Torgerson 1952): the leading eigenvectors of B = −½ J D² J, J = I − 1/N; the share is their
    eigenvalues over the sum of all sizes |λ|. Hamming distance is a *squared* Euclidean one: pass its square root.

    >>> points, kept = classical_scaling(np.array([[0, 3, 4], [3, 0, 5], [4, 5, 0]]))
    >>> np.hypot(*(points[1] - points[2])).round(6), round(kept, 6)
    (np.float64(5.0), 1.0)
    """
    squared = np.square(square_matrix(distances, "distances", least=2))
    if not 1 <= dimensions <= len(squared):
        raise ValueError(f"dimensions={dimensions}; expected 1 to {len(squared)}, the number of points")
    means = squared.mean(0)
    B = -(squared - means - means[:, None] + means.mean()) / 2
    values, vectors = np.linalg.eigh(B)
    values, vectors = values[::-1], vectors[:, ::-1][:, :dimensions]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(dimensions)])  # an eigenvector's sign is arbitrary
    leading = np.clip(values[:dimensions], 0, None)
    return vectors * signs * np.sqrt(leading), float(leading.sum() / max(np.abs(values).sum(), 1e-300))


def umap_points(distances: np.ndarray, seed: int = 0, neighbors: int = 15, least_gap: float = 0.3) -> np.ndarray:
    """float32 [N, 2]: UMAP (McInnes et al. 2018) of precomputed distances [N, N], the same for the same seed.

    It keeps neighborhoods: who lies beside whom says something; sizes of gaps and clusters say little.

    >>> line = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    >>> umap_points(line, neighbors=4).shape
    (12, 2)
    """
    apart = square_matrix(distances, "distances", least=3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies, and that precomputed distances have no inverse
            from umap import UMAP

            options: dict[str, Any] = dict(
                n_neighbors=min(neighbors, len(apart) - 1), min_dist=least_gap, random_state=seed, n_jobs=1
            )
            start = "spectral" if len(apart) > 50 else "random"  # a spectral start needs more points than dimensions
            return UMAP(metric="precomputed", init=start, **options).fit_transform(apart)
    except ImportError as error:
        raise ImportError("UMAP is not installed; pip install 'semantic-hash-centers[notebooks]'") from error


def kept_neighbors(distances: np.ndarray, points: np.ndarray, count: int = 5) -> tuple[float, float]:
    """How far a flat picture can be trusted: share of the `count` nearest dots that are truly nearest, and by chance.

    `distances` [N, N] are the true ones, `points` [N, 2] the picture. A neighbor is true if it is no farther than the
    true `count`-th nearest (ties count); chance is a picture with its dots shuffled.

    >>> line = np.arange(6.0)
    >>> kept_neighbors(np.abs(np.subtract.outer(line, line)), np.c_[line, line], count=1)
    (1.0, 0.3333333333333333)
    """
    true, points = square_matrix(distances, "distances", least=2), np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or len(points) != len(true):
        raise ValueError(f"points have shape {list(points.shape)}; expected [{len(true)}, 2], one row per distance")
    if not 1 <= count < len(true):
        raise ValueError(f"count={count} neighbors; expected 1 to {len(true) - 1}, one fewer than there are points")
    others = np.where(np.eye(len(true), dtype=bool), np.inf, true)
    reach = np.sort(others, axis=1)[:, count - 1 : count]  # the count-th smallest of each row
    drawn = np.square(points[:, None] - points[None]).sum(2)
    np.fill_diagonal(drawn, np.inf)
    nearest = np.argsort(drawn, axis=1, kind="stable")[:, :count]
    near = others <= reach
    return float(np.take_along_axis(near, nearest, axis=1).mean()), float(near.sum() / (near.size - len(near)))
