"""Shapley values of a lattice of coalitions, and intervals for means over traces.

A game of n players is a vector of 2^n values: bit i of an index says whether player i is in. The values are those of
Shapley (1953), by the exact formula: they add up to the gain of all players together (efficiency), are equal for
players that do the same (symmetry), and 0 for one that changes nothing (dummy), whose presence changes no other's.
All of it is linear in the game, so a mean over games has the mean of their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import factorial
from typing import Any

from callgrain.core.stats import one_sided_z, t_quantile

MOST_PLAYERS = 12
"""Most players of a game: its lattice doubles with each."""
FEWEST = 8
"""Fewest traces for which an interval is given, as for every bootstrap of the suite."""

Figure = tuple[float | None, float | None, float | None]


def shapley(games: Any) -> Any:
    """Shapley values of games: an array (..., 2^n) of values by coalition gives (..., n). Raises ValueError."""
    import numpy as np

    found = np.asarray(games, dtype=float)
    players = found.shape[-1].bit_length() - 1
    if found.shape[-1] != 1 << players or players > MOST_PLAYERS:
        raise ValueError(f"a lattice has 2^n coalitions of at most {MOST_PLAYERS} players, not {found.shape[-1]}")
    return found @ np.asarray(_weights(players)).T


@cache
def _weights(players: int) -> tuple[tuple[float, ...], ...]:
    """Weight of each coalition's value in each player's: plus where it is in, minus where it is not."""
    whole = factorial(players)
    out: list[tuple[float, ...]] = []
    for player in range(players):
        row: list[float] = []
        for coalition in range(1 << players):
            size = coalition.bit_count()
            inside = bool(coalition >> player & 1)
            others = size - inside
            weight = factorial(others) * factorial(players - others - 1) / whole
            row.append(weight if inside else -weight)
        out.append(tuple(row))
    return tuple(out)


def paired_means(values: Any, clusters: Sequence[str], looks: int = 1) -> list[Figure]:
    """(value, low, high) of the mean of each column of (rows, columns) gains; rows of one cluster are one trace's.

    Bonett and Price's interval (2012) carried over to gains of any size and to clusters: one row is added that gains
    and one that loses as much as the row that changes most, the ratio mean is linearised over clusters, and the
    quantile is t's at clusters - 1 degrees. Where every gain is -1, 0 or 1 and every cluster has one row, it is
    `stats.paired_difference` but for that quantile. A percentile bootstrap holds rare gains in 86 to 92 % of runs at
    20 to 40 traces. No limits below 8 clusters.
    With `looks` above 1 that many intervals hold together in 95 % (Bonferroni). Raises ValueError.
    """
    import numpy as np

    rows = np.asarray(values, dtype=float)
    if rows.ndim != 2 or len(rows) != len(clusters):
        raise ValueError("paired gains need a row for each item and a cluster for each row")
    n = len(rows)
    if n == 0:
        return []
    _, place = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    count = int(place.max()) + 1
    sizes = np.bincount(place).astype(float)
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, place, rows)
    means = rows.mean(axis=0)
    if count < FEWEST:
        return [(float(m), None, None) for m in means]
    most = np.abs(rows).max(axis=0)
    most[most < 1e-9] = 1.0  # what is nothing but rounding is no gain
    total = n + 2
    middle = sums.sum(axis=0) / total
    left = sums - sizes[:, None] * middle
    spread = (left**2).sum(axis=0) + 2 * (most**2 + middle**2)
    half = _quantile(count - 1, looks) * np.sqrt(spread) / total
    return [(float(m), float(a - h), float(a + h)) for m, a, h in zip(means, middle, half, strict=True)]


def _quantile(degrees: int, looks: int) -> float:
    """Student's t at 97.5 % shared among `looks`."""
    return t_quantile(degrees, one_sided_z(looks, 0.025))
