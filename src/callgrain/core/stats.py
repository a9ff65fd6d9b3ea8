"""Intervals: pure functions of counts and values. All are 95 % and two-sided.

Wilson's score interval for a share, its paired cousin for a difference, and the percentile
bootstrap for means of anything else. Each says what it assumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, sqrt
from random import Random
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T")

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def share(hits: int, n: int) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of a share by Wilson (1927); all None where n is 0.

    Assumes independent trials: the pool holds at most one sample a trace and sub-task.
    """
    if n == 0:
        return None, None, None
    return wilson(hits, n, Z)


def paired_difference(
    after: Sequence[bool], before: Sequence[bool], clusters: Sequence[str] | None = None
) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of share(after) - share(before) on the same items.

    Bonett and Price (2012): Wald's interval with half a discordant pair added to each of the
    four cells' discordant ones, which keeps its coverage at small n and at the edges. Where several items are about
    one trace (`clusters`), it is widened by the design effect of the differences and by the t quantile.
    """
    if len(after) != len(before):
        raise ValueError("paired samples differ in length")
    return paired_mean([float(a) - float(b) for a, b in zip(after, before, strict=True)], clusters)


def paired_mean(
    differences: Sequence[float], clusters: Sequence[str] | None = None
) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of a mean of differences in [-1, 1]: `paired_difference` for fractions too.

    One difference of 1 and one of -1 are added, which is half a discordant pair in each cell.
    """
    n = len(differences)
    if n == 0:
        return None, None, None
    value, middle = sum(differences) / n, sum(differences) / (n + 2)
    half = Z * sqrt(((sum(d * d for d in differences) + 2) / (n + 2) - middle * middle) / (n + 2))
    if clusters is not None and len(set(clusters)) < n:
        count = len(set(clusters))
        if count < 2:
            return value, None, None
        half *= sqrt(_design_effect(differences, clusters)) * t_quantile(count - 1) / Z
    return value, max(-1.0, middle - half), min(1.0, middle + half)


def difference(
    hits: tuple[int, int], n: tuple[int, int], z: float = Z
) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of share one minus share two on different items.

    Newcombe (1998), method 10: the two Wilson intervals combined. `z` widens it where several
    differences are looked at together.
    """
    if 0 in n:
        return None, None, None
    (p1, low1, high1), (p2, low2, high2) = wilson(hits[0], n[0], z), wilson(hits[1], n[1], z)
    gap = p1 - p2
    return gap, gap - sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2), gap + sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2)


def combined(
    terms: Sequence[tuple[float, tuple[float | None, float | None, float | None]]],
) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of a weighed sum of independent figures, each (weight, its own interval).

    MOVER (Zou and Donner 2008): each figure's variance is recovered from its own limits, on the side that counts.
    A difference is weights 1 and -1, a mean weights 1/k. All None where a value is missing, no limits where one is.
    """
    value = down = up = 0.0
    bounded = bool(terms)
    for weight, (middle, low, high) in terms:
        if middle is None:
            return None, None, None
        value += weight * middle
        if low is None or high is None:
            bounded = False
            continue
        below, above = (middle - low, high - middle) if weight > 0 else (high - middle, middle - low)
        down += (weight * max(0.0, below)) ** 2
        up += (weight * max(0.0, above)) ** 2
    if not bounded:
        return (value if terms else None), None, None
    return value, value - sqrt(down), value + sqrt(up)


def wilson(hits: float, n: float, z: float = Z) -> tuple[float, float, float]:
    """(value, low, high) of a share by Wilson's score interval; `hits` and `n` may be effective numbers."""
    p, z2 = hits / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return p, low, 1.0 if hits == n else min(1.0, middle + half)


def one_sided_z(tests: int, alpha: float = 0.05) -> float:
    """The normal quantile at which `tests` one-sided looks together err with probability `alpha` at most."""
    return NormalDist().inv_cdf(1 - alpha / max(1, tests))


def mean(
    values: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of a mean by percentile bootstrap; seeded, so a report repeats itself.

    Zeros and ones are a share and get its interval. Where all values are the same the interval is
    None: resampling them would show a certainty that is not there.
    """
    if not values:
        return None, None, None
    middle = sum(values) / len(values)
    if all(v in (0, 1) for v in values):
        return share(round(sum(values)), len(values))
    if len(values) < 2 or min(values) == max(values):
        return middle, None, None
    import numpy as np

    data = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, 2_000_000 // len(data))  # bounds memory at about 16 MB whatever n is
    for start in range(0, draws, step):
        size = (min(step, draws - start), len(data))
        means[start : start + size[0]] = data[rng.integers(0, len(data), size)].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return middle, float(low), float(high)


def clustered_share(hits: Sequence[bool], clusters: Sequence[str]) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of a share whose items come in clusters, such as several questions about one trace.

    Wilson's interval at the effective number of items, n over the design effect (Korn and Graubard 1998), with
    the t quantile of clusters - 1 degrees of freedom; never narrower than for independent items. None as limits
    where there is a single cluster.
    """
    n = len(hits)
    if n == 0:
        return None, None, None
    p, count = sum(hits) / n, len(set(clusters))
    if count < 2:
        return p, None, None
    if count == n:
        return share(sum(hits), n)
    effect = _design_effect([float(hit) for hit in hits], clusters)
    return wilson(p * n / effect, n / effect, t_quantile(count - 1))


def _design_effect(values: Sequence[float], clusters: Sequence[str]) -> float:
    """By how much two or more clusters raise the variance of a mean, at least 1; all alike, a cluster is one item."""
    n, middle = len(values), sum(values) / len(values)
    sums: dict[str, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - middle
    count = len(sums)
    alone = sum((v - middle) ** 2 for v in values)
    if not alone:
        return n / count
    return max(1.0, sum(total**2 for total in sums.values()) * count / (count - 1) / alone)


def t_quantile(degrees: int, z: float = Z) -> float:
    """97.5 % quantile of Student's t; Cornish and Fisher's expansion, within 1 % from 5 degrees on.

    Another normal quantile `z` gives t's at the same level, for 5 degrees and more.
    """
    if degrees < 5:
        return (12.706, 4.303, 3.182, 2.776)[degrees - 1]
    v = degrees
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def bootstrap(
    groups: Sequence[T], figure: Callable[[Sequence[T]], float | None], *, draws: int = 1000, seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """(value, low, high) of any figure of independent groups, by percentile bootstrap over the groups.

    A group is a whole cluster: everything that was asked about one trace. Few groups make the plain percentiles too
    narrow (91 % of 12), so they are taken further out, as Student's t and n / (n - 1) ask (the expanded percentile of
    Hesterberg 2015, section 5.2). Draws for which the figure has no value are left out; no limits where more than a
    tenth are, where there are fewer than 8 groups, or all draws agree.
    """
    value = figure(groups)
    if value is None or len(groups) < 8:
        return value, None, None
    rng = Random(seed)
    found = [figure(rng.choices(groups, k=len(groups))) for _ in range(draws)]
    known = sorted(v for v in found if v is not None)
    if len(known) < 0.9 * draws or known[0] == known[-1]:
        return value, None, None
    tail = NormalDist().cdf(-t_quantile(len(groups) - 1) * sqrt(len(groups) / (len(groups) - 1)))
    return value, known[round(tail * (len(known) - 1))], known[round((1 - tail) * (len(known) - 1))]


def pass_at(k: int, right: int, drawn: int) -> float:
    """The chance that one of `k` replies is right, from `right` of `drawn` >= k: unbiased (Chen et al. 2107.03374)."""
    return 1 - comb(drawn - right, k) / comb(drawn, k)


def interval_text(value: float | None, low: float | None, high: float | None, *, percent: bool = True) -> str:
    """`"62.5 % [55.4, 69.1]"`: how every number is printed, on the terminal and on the page."""
    if value is None:
        return "n/a"
    k, unit = (100, " %") if percent else (1, "")
    digits = 1 if percent else 3
    if low is None or high is None:
        return f"{value * k:.{digits}f}{unit}"
    return f"{value * k:.{digits}f}{unit} [{low * k:.{digits}f}, {high * k:.{digits}f}]"
