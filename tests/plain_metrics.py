"""Retrieval measures in their textbook form, for one ranked list of relevance levels: the oracles of the metric tests.

Each is a few lines of loops over ranks, without ties, batches or closed forms. Averaged over every order of the ties
they must equal what `shc` computes from counts.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, permutations, product


def tie_orders(groups: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Every ranking that orders the items inside the groups anew."""
    for arrangement in product(*(list(permutations(group)) for group in groups)):
        yield [level for group in arrangement for level in group]


def over_orders(measure: Callable[[list[int]], float], groups: Sequence[Sequence[int]]) -> list[float]:
    return [measure(ranking) for ranking in tie_orders(groups)]


def ap(levels: Sequence[int], k: int | None = None, convention: str = "tie-aware", least: int = 1) -> float:
    k = min(k or len(levels), len(levels))
    relevant = [level >= least for level in levels]
    found, summed = 0, 0.0
    for rank in range(1, k + 1):
        if relevant[rank - 1]:
            found += 1
            summed += found / rank
    divisor = found if convention == "topk" else min(k, sum(relevant))
    return summed / divisor if divisor else 0.0


def weighted_ap(levels: Sequence[int]) -> float:
    hits = [sum(levels[: rank + 1]) / (rank + 1) for rank, level in enumerate(levels) if level > 0]
    return sum(hits) / len(hits) if hits else 0.0


def precision(levels: Sequence[int], k: int, least: int = 1) -> float:
    top = levels[:k]
    return sum(level >= least for level in top) / len(top)


def recall(levels: Sequence[int], k: int, least: int = 1) -> float:
    needed = sum(level >= least for level in levels)
    return sum(level >= least for level in levels[:k]) / needed if needed else 0.0


def acg(levels: Sequence[int], k: int) -> float:
    return sum(levels[:k]) / len(levels[:k])


def ndcg(levels: Sequence[int], k: int) -> float:
    def dcg(ranking: Sequence[int]) -> float:
        return sum((2**level - 1) / math.log2(1 + rank) for rank, level in enumerate(ranking[:k], start=1))

    best = dcg(sorted(levels, reverse=True))
    return dcg(levels) / best if best else 0.0


def hp(levels: Sequence[int], k: int) -> float:
    best = sum(sorted(levels, reverse=True)[:k])  # the similarity is level / height: the height cancels
    return sum(levels[:k]) / best if best else 0.0


def ahp(levels: Sequence[int], k: int) -> float:
    """The trapezoids one by one: area under HP between the ranks 1 and k, on an axis divided by k."""
    k = min(k, len(levels))
    curve = [hp(levels, rank) for rank in range(1, k + 1)]
    return sum((left + right) / 2 for left, right in pairwise(curve)) / k
