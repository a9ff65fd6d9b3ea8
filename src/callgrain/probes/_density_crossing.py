"""The load at which success falls below a level, whatever the shape of the curve.

Of the shares at the loads asked the falling (isotonic) regression is taken, joined by straight lines over log2 of
the load; where that crosses the level is the figure. It hangs on no class of curve: a class chosen by its fit and
then believed put D50 aside of the truth so often that nominal 95 % held it in 80.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log2, sqrt
from statistics import NormalDist
from typing import Any

from callgrain.core import stats

DRAWS = 1000
LEAST_TRACES = 8

Array = Any
"""A numpy array; numpy is imported where it is used."""


@dataclass(frozen=True)
class Crossing:
    """A load and the limits of its interval: inf is beyond the greatest load asked, 0 below the least."""

    load: float
    low: float | None
    high: float | None


def crossings(
    loads: Sequence[int],
    right: Sequence[Sequence[int]],
    asked: Sequence[Sequence[int]],
    levels: Sequence[float],
    *,
    seed: int = 0,
) -> list[Crossing]:
    """Where each level is crossed, of (traces, loads) counts of right replies among those asked.

    95 % by the expanded percentile bootstrap over traces (Hesterberg 2015, arXiv 1411.5279: the
    percentiles are those of t with n - 1 degrees of freedom and n / (n - 1) of the variance). The resamples are taken
    as they are and with a right and a wrong reply more at every load, and the outermost limits stand: without
    those two replies loads with all right are never doubted, and D90 of 30 traces is held in 88 runs of 100.
    Where all resamples agree, the limits of the shares themselves (Wilson's) are read instead: ten right replies of
    ten do not show 90 %. No limits with fewer than `LEAST_TRACES` traces.
    """
    import numpy as np

    hits, tried = np.asarray(right, dtype=float), np.asarray(asked, dtype=float)
    count, at = len(hits), np.log2(np.asarray(loads, dtype=float))
    whole = _falling(hits.sum(0, keepdims=True), tried.sum(0, keepdims=True))
    found = [float(_crossed(whole, at, level)[0]) for level in levels]
    if count < LEAST_TRACES:
        return [Crossing(load, None, None) for load in found]
    from scipy.stats import t

    again = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS).astype(float)
    drawn = [_falling(again @ hits + more, again @ tried + 2 * more) for more in (0.0, 1.0)]
    tail = NormalDist().cdf(float(t.ppf(0.025, count - 1)) * sqrt(count / (count - 1)))
    ends = round(tail * (DRAWS - 1)), round((1 - tail) * (DRAWS - 1))
    out: list[Crossing] = []
    for load, level in zip(found, levels, strict=True):
        places = np.array([np.sort(_crossed(shares, at, level))[list(ends)] for shares in drawn])
        low, high = float(places[:, 0].min()), float(places[:, 1].max())
        if low == high:
            ends_by_load = [stats.share(int(h), int(n)) for h, n in zip(hits.sum(0), tried.sum(0), strict=True)]
            lows, highs = ([one[place] or 0.0 for one in ends_by_load] for place in (1, 2))
            low, high = min(low, crossing(loads, lows, level)), max(high, crossing(loads, highs, level))
        out.append(Crossing(load, low, high))
    return out


def crossing(loads: Sequence[int], shares: Sequence[float], level: float) -> float:
    """Where falling shares at the loads, joined over log2 of the load, cross the level: inf beyond, 0 below."""
    import numpy as np

    return float(_crossed(np.array([shares], dtype=float), np.array([log2(n) for n in loads]), level)[0])


def _falling(right: Array, asked: Array) -> Array:
    """Isotonic regression of every row by its min-max formula: rows are resamples, columns loads."""
    import numpy as np

    zero = np.zeros((len(right), 1))
    hits, tried = (np.concatenate([zero, counts.cumsum(1)], axis=1) for counts in (right, asked))
    size = right.shape[1]
    means = {
        (a, b): (hits[:, b + 1] - hits[:, a]) / np.maximum(tried[:, b + 1] - tried[:, a], 1e-12)
        for a in range(size)
        for b in range(a, size)
    }
    columns = [
        np.min([np.max([means[a, b] for b in range(j, size)], axis=0) for a in range(j + 1)], axis=0)
        for j in range(size)
    ]
    return np.stack(columns, axis=1)


def _crossed(shares: Array, at: Array, level: float) -> Array:
    """The load at which each row falls below the level."""
    import numpy as np

    out = np.full(len(shares), inf)
    for j in range(shares.shape[1] - 1, 0, -1):
        rows = (shares[:, j] < level) & (shares[:, j - 1] >= level)
        before, after = shares[rows, j - 1], shares[rows, j]
        out[rows] = 2.0 ** (at[j - 1] + (before - level) / (before - after) * (at[j] - at[j - 1]))
    out[shares[:, 0] < level] = 0.0
    return out
