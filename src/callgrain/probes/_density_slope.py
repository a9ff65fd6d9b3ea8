"""A slope within groups, with an interval that knows of clusters: least squares, jackknifed by trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

LEAST_CLUSTERS = 8


@dataclass(frozen=True)
class Point:
    """One observation: its group (compared within), its cluster (drawn together), x, and y."""

    group: int
    cluster: str
    x: float
    y: float


@dataclass(frozen=True)
class Slope:
    """Change of y over one unit of x, its 95 % interval, and the p-value of there being none."""

    value: float
    low: float | None
    high: float | None
    p: float | None


def slope(points: Sequence[Point]) -> Slope | None:
    """The slope common to all groups, each with a level of its own; None where x does not vary.

    The variance is the jackknife's over clusters (CR3), with the t quantile of clusters - 1 degrees of freedom. No
    limits with fewer than `LEAST_CLUSTERS` clusters, or where nothing varies.
    """
    import numpy as np

    if not points:
        return None
    groups = np.unique([p.group for p in points], return_inverse=True)[1]
    clusters = np.unique([p.cluster for p in points], return_inverse=True)[1]
    n = np.bincount(groups)
    x, y = np.array([p.x for p in points]), np.array([p.y for p in points])
    x -= (np.bincount(groups, x) / n)[groups]
    y -= (np.bincount(groups, y) / n)[groups]
    xx, xy = np.bincount(clusters, x * x), np.bincount(clusters, x * y)
    if xx.sum() < 1e-9 or (xx.sum() - xx).min() < 1e-9:
        return None
    value, count = float(xy.sum() / xx.sum()), len(xx)
    without = (xy.sum() - xy) / (xx.sum() - xx)
    error = sqrt((count - 1) / count * float(((without - value) ** 2).sum()))
    if count < LEAST_CLUSTERS or error < 1e-12:
        return Slope(value, None, None, None)
    from scipy.stats import t

    half = float(t.ppf(0.975, count - 1)) * error
    return Slope(value, value - half, value + half, float(2 * t.sf(abs(value) / error, count - 1)))
