"""A slope within clusters: how a right turn's chance changes with a quantity, each base request its own control.

Every cluster (a request, a chain, a game) is asked at several values of x, so what makes it hard by itself falls out:
the slope is the mean of the clusters' own slopes, weighted by how far apart their x lie, with a cluster-robust variance
and Student's t. Two clusters are added for the interval alone, in which one answer at the end of x has turned, up and
down: what Bonett and Price (2012) do for a paired difference, which this is where each cluster has two points. Without
them the interval of a model that is always right would have no width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from callgrain.core.stats import t_quantile

LEAST = 4
"""Clusters below which no interval is given."""


@dataclass(frozen=True)
class Slope:
    """Change of y for one more of x, its limits, the two-sided p of none at all, points and clusters."""

    value: float
    low: float | None
    high: float | None
    p: float
    n: int
    clusters: int

    @property
    def figure(self) -> tuple[float | None, float | None, float | None]:
        """(value, low, high)."""
        return self.value, self.low, self.high


def slope(points: Mapping[str, Sequence[tuple[float, float]]]) -> Slope | None:
    """The slope of the clusters' (x, y); None where no cluster has two values of x."""
    found = {name: own for name, own in points.items() if len({x for x, _ in own}) > 1}
    if not found:
        return None
    own = [_own(rows) for rows in found.values()]
    total = sum(weight for weight, _ in own)
    value = sum(weight * beta for weight, beta in own) / total
    steep, mean = sum(map(_end, found.values())) / total, total / len(own)
    n, count = sum(map(len, found.values())), len(own)
    if count < LEAST:
        return Slope(value, None, None, 1.0, n, count)
    held = [*own, (mean, value + steep), (mean, value - steep)]
    error = sqrt(sum((weight * (beta - value)) ** 2 for weight, beta in held)) / (total + 2 * mean)
    degrees = count + 1  # of the clusters and the two beside them
    half = t_quantile(degrees) * error
    return Slope(value, value - half, value + half, _p(value / error, degrees), n, count)


def _p(t: float, degrees: int) -> float:
    """Two-sided p of Student's t, by the normal approximation of Abramowitz and Stegun (26.7.8)."""
    z = abs(t) * (1 - 1 / (4 * degrees)) / sqrt(1 + t * t / (2 * degrees))
    return 2 * (1 - NormalDist().cdf(z))


def _own(rows: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """(sum of squares of x about its mean, slope) of one cluster."""
    listed = list(rows)
    centre = sum(x for x, _ in listed) / len(listed)
    weight = sum((x - centre) ** 2 for x, _ in listed)
    return weight, sum((x - centre) * y for x, y in listed) / weight


def _end(rows: Sequence[tuple[float, float]]) -> float:
    """How far the outermost x of a cluster lies from its mean."""
    centre = sum(x for x, _ in rows) / len(rows)
    return max(abs(x - centre) for x, _ in rows)
