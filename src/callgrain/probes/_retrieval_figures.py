"""Recall, completeness and nDCG of rankings, over every smaller catalogue at once.

A ranking of the whole catalogue ranks each part of it too. How many of the tools that stand above a gold one are left
in a random part is hypergeometric, so the mean over all parts of a size that hold the gold tools is exact: nothing is
drawn. COMP@k is COLT's (arXiv 2405.16089): the share of requests whose whole gold set is among the first k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, exp, lgamma, log2, sqrt

from callgrain.core import stats

METRICS = ("recall", "complete", "ndcg")

Figures = tuple[float, float, float]
"""(recall, complete, ndcg) of one request at one k."""


@dataclass(frozen=True)
class Standing:
    """Where a ranking has a request's gold tools: for each that it ranks, how many others stand above it, ascending."""

    above: tuple[int, ...]
    n_gold: int


def standing(ranked: Sequence[int], gold: Sequence[int]) -> Standing:
    """The standing of the gold tools' places in a ranking of places."""
    wanted = set(gold)
    found = [rank for rank, place in enumerate(ranked) if place in wanted]
    return Standing(tuple(rank - earlier for earlier, rank in enumerate(found)), len(wanted))


def expected(one: Standing, population: int, size: int, ks: Sequence[int]) -> Mapping[int, Figures]:
    """Mean figures by k over all catalogues of `size` out of `population` tools that hold the gold tools.

    Raises ValueError where the size holds less than the gold tools, or more than there are.
    """
    if not one.n_gold <= size <= population:
        raise ValueError(f"a catalogue of {size} tools out of {population} cannot hold {one.n_gold} gold ones")
    others, drawn, most = population - one.n_gold, size - one.n_gold, max(ks)
    at = [[0.0] * len(one.above) for _ in range(most)]  # probability that a gold tool has this rank, from 0
    for index, above in enumerate(one.above):
        for left, chance in enumerate(_left(others, above, drawn, most - index)):
            at[index + left][index] = chance
    out: dict[int, Figures] = {}
    for k in ks:
        found = sum(map(sum, at[:k]))
        whole = sum(row[-1] for row in at[:k]) if len(one.above) == one.n_gold else 0.0
        gain = sum(sum(row) / log2(rank + 2) for rank, row in enumerate(at[:k]))
        out[k] = (found / one.n_gold, whole, gain / _ideal(min(one.n_gold, k)))
    return out


def by_chance(n_gold: int, size: int, k: int) -> Figures:
    """The same figures of an order without any skill."""
    k = min(k, size)
    whole = comb(size - n_gold, k - n_gold) / comb(size, k) if k >= n_gold else 0.0
    gain = sum(n_gold / size / log2(rank + 2) for rank in range(k))
    return k / size, whole, gain / _ideal(min(n_gold, k))


def sizes(population: int, smallest: int, most: int = 6) -> list[int]:
    """Geometric sizes from `smallest` to the whole population, `most` of them at most; none below `smallest`."""
    if population < smallest:
        return []
    step = 2
    while smallest * step ** (most - 2) < population:
        step *= 2
    found = [smallest * step**i for i in range(most) if smallest * step**i < population]
    return [*found[: most - 1], population]


def mean_share(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of the mean of values between 0 and 1; all None without any.

    Wald's interval with one more request at either end, after Agresti and Coull (1998), and Wilson's for zeros and
    ones. A bootstrap of few requests that are nearly all found is far too narrow; this one is then too wide.
    """
    n = len(values)
    if n == 0:
        return None, None, None
    if all(v in (0, 1) for v in values):
        return stats.share(round(sum(values)), n)
    middle = (sum(values) + 1) / (n + 2)
    spread = (sum((v - middle) ** 2 for v in values) + middle**2 + (1 - middle) ** 2) / (n + 1)
    half = stats.Z * sqrt(spread / (n + 2))
    value = sum(values) / n
    return value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half))


@lru_cache(maxsize=65536)
def _left(others: int, above: int, drawn: int, most: int) -> tuple[float, ...]:
    """P(that many of the `above` are among `drawn` of `others`), for 0 up to below `most`."""
    low, high = max(0, drawn - (others - above)), min(above, drawn)
    whole = _log_comb(others, drawn)
    return tuple(
        exp(_log_comb(above, x) + _log_comb(others - above, drawn - x) - whole) if low <= x <= high else 0.0
        for x in range(max(0, most))
    )


def _log_comb(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _ideal(hits: int) -> float:
    return sum(1 / log2(rank + 2) for rank in range(hits))
