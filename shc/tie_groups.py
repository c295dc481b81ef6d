"""Sums over the tie groups of a ranking: what `shc.ranking` builds its measures from.

A ranking is a row of tie groups; the items of a group come in uniformly random order. Counts are float64 [B, D]: B
rankings, D groups, nearest first. "mass" is any quantity summed over the items of a group: hits, gains, similarities.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def harmonic(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Σ_{i=1..count} 1/(start + i), accurate also far down the ranking, where a difference of digammas cancels."""
    from scipy.special import digamma

    start, count = np.broadcast_arrays(np.asarray(start, np.float64), np.asarray(count, np.float64))
    out = np.zeros(start.shape)
    near, far = (count > 0) & (start < 50), (count > 0) & (start >= 50)  # most groups are empty or beyond the cut
    x, n = start[near], count[near]
    out[near] = digamma(x + n + 1) - digamma(x + 1)
    low, n = start[far] + 0.5, count[far]
    # ψ(x + 1/2) = log x + 1/(24x²) − 7/(960x⁴) + …: beyond x = 50 the next term is below 2e-16.
    tail = lambda x: 1 / (24 * x**2) - 7 / (960 * x**4) + 31 / (8064 * x**6)
    out[far] = np.log1p(n / low) + tail(low + n) - tail(low)
    return out


def ramp(start: Any, count: Any, first: Any, step: Any) -> np.ndarray:
    """Σ_{i=1..count} (first + (i−1)·step) / (start + i)."""
    return count * step + (first - step - step * start) * harmonic(start, count)


def share_of_others(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(part − 1)/(whole − 1), the chance that a second item is of a part that the first is of; 0 for single items."""
    return np.where(whole > 1, (part - 1) / np.maximum(whole - 1, 1), 0.0)


def precisions_random(start: Any, found: Any, size: Any, hits: Any) -> np.ndarray:
    """Σ of the precisions at `hits` items placed at random on `size` ranks, after `start` ranks with `found` hits."""
    step = share_of_others(hits, size)
    return ratio(hits, size) * ramp(start, size, found + 1, step)


def precisions_first(start: Any, found: Any, size: Any, hits: Any) -> np.ndarray:
    """The same sum with the hits on the first of the `size` ranks."""
    return ramp(start, hits, found + 1, np.ones_like(hits, dtype=np.float64))


def precisions_last(start: Any, found: Any, size: Any, hits: Any) -> np.ndarray:
    """The same sum with the hits on the last of the `size` ranks."""
    return precisions_first(start + size - hits, found, size, hits)


def before(counts: np.ndarray) -> np.ndarray:
    """[B, D]: how much lies in nearer groups."""
    return np.cumsum(counts, axis=-1) - counts


def taken(total: np.ndarray, k: int, start: np.ndarray | None = None) -> np.ndarray:
    """[B, D]: how many items of each group are among the first k; `start` is before(total), if known."""
    return np.clip(k - (before(total) if start is None else start), 0, total)


def top_mass(total: np.ndarray, mass: np.ndarray, k: int) -> np.ndarray:
    """[B]: expected sum of `mass` over the first k items, where mass [B, D] is the sum over each group."""
    return (taken(total, k) * ratio(mass, total)).sum(-1)


def weighted_precisions(total: np.ndarray, relevant: np.ndarray, mass: np.ndarray, k: int) -> np.ndarray:
    """[B]: expected Σ over relevant items in the first k of (mass up to and including their rank) / rank.

    Items that are not relevant have no mass. At position i of a group of n, with ρ relevant items and mass s, the
    expectation is [ρ·before + s + (i−1)(ρs − s)/(n−1)] / n: the item's own mass, then that of the i−1 in front of it.
    """
    start, step = before(total), mass * share_of_others(relevant, total)
    terms = ramp(start, taken(total, k, start), relevant * before(mass) + mass, step)
    return ratio(terms, total).sum(-1)


def discounted(sizes: np.ndarray, mass: np.ndarray, discounts: np.ndarray) -> np.ndarray:
    """[B]: Σ over groups of mean gain × Σ of the discounts at its ranks; discounts [k+1] are summed up to each rank."""
    edges = np.minimum(np.cumsum(sizes, axis=-1), len(discounts) - 1).astype(np.int64)
    return (ratio(mass, sizes) * np.diff(discounts[edges], axis=-1, prepend=0)).sum(-1)


def summed_to_each_rank(sizes: np.ndarray, mass: np.ndarray, k: int) -> np.ndarray:
    """[B, k]: expected sum of `mass` [B, D] over the first 1, 2, … k items of groups of the given sizes [B, D]."""
    inside = taken(sizes, k)
    rest = k - inside.sum(-1, keepdims=True)  # ranks after the last item of a short ranking
    means = np.concatenate([ratio(mass, sizes), np.zeros_like(rest)], axis=1)
    counts = np.concatenate([inside, rest], axis=1).astype(np.int64)
    return np.cumsum(np.repeat(means.ravel(), counts.ravel()).reshape(-1, k), axis=1)


def ap_at_cut(
    total: np.ndarray,
    relevant: np.ndarray,
    k: int,
    precisions: Callable[..., np.ndarray],
    choose: Callable[[np.ndarray, np.ndarray], float],
    by_hits: bool,
) -> np.ndarray:
    """[B]: AP at k, where the number of hits that the group cut by k gives to the top k is averaged or chosen over.

    `precisions` places the hits inside a group; `choose(values, probabilities)` picks from one value per number of
    hits; `by_hits` divides by the hits in the top k instead of min(k, R).
    """
    start, found = before(total), before(relevant)
    drawn = taken(total, k, start)
    whole = drawn == total
    summed = np.where(whole, precisions(start, found, total, relevant), 0.0).sum(-1)
    inside = np.where(whole, relevant, 0.0).sum(-1)
    fixed = np.minimum(k, relevant.sum(-1))
    values = ratio(summed, inside if by_hits else fixed)
    for b, d in np.argwhere((drawn > 0) & ~whole):  # at most one group per ranking
        hits, chance = hits_in_sample(total[b, d], relevant[b, d], drawn[b, d])
        gained = summed[b] + precisions(start[b, d], found[b, d], drawn[b, d], hits)
        values[b] = choose(ratio(gained, inside[b] + hits if by_hits else fixed[b]), chance)
    return values


def hits_in_sample(size: float, relevant: float, drawn: float) -> tuple[np.ndarray, np.ndarray]:
    """Possible numbers of relevant items among `drawn` of `size`, and their hypergeometric probabilities."""
    hits = np.arange(max(0, drawn - (size - relevant)), min(relevant, drawn) + 1)
    x = hits[:-1]
    steps = np.log((relevant - x) * (drawn - x)) - np.log((x + 1) * (size - relevant - drawn + x + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    chance = np.exp(logs - logs.max())
    return hits, chance / chance.sum()


def ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, 0 where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
