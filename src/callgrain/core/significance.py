"""Is a difference shown, and how many items would show it? Paired tests, many looks, power.

Pure functions of counts. A p-value here never stands alone: the interval of the difference
(`stats.paired_difference`) stands beside it, and several looks are corrected together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, comb, sqrt
from statistics import NormalDist

from callgrain.core.stats import Z

MOST_EXACT = 1000
"""Discordant pairs up to which McNemar's test is worked out exactly."""


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of as many pairs changing one way as the other: the exact binomial test of McNemar (1947).

    Beyond `MOST_EXACT` discordant pairs by the normal approximation with Edwards' correction. 1.0 where no pair
    is discordant: nothing was seen. Raises ValueError for a negative count.
    """
    n = gained + lost
    if min(gained, lost) < 0:
        raise ValueError("a count of pairs cannot be negative")
    if n == 0:
        return 1.0
    if n > MOST_EXACT:
        return min(1.0, 2 * (1 - NormalDist().cdf(max(0.0, abs(gained - lost) - 1) / sqrt(n))))
    tail = sum(comb(n, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**n)


def discordant(after: Sequence[bool], before: Sequence[bool]) -> tuple[int, int]:
    """(gained, lost): items that are right after and were not, and the other way about. Raises ValueError."""
    pairs = list(zip(after, before, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values corrected for all of them being looked at (Holm 1979): at most 5 % of families err at 0.05."""
    out, above = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        above = max(above, min(1.0, (len(ps) - rank) * ps[index]))
        out[index] = above
    return out


def false_discovery(ps: Sequence[float]) -> list[float]:
    """The p-values as q-values (Benjamini and Hochberg 1995): of those at most q, a share q is expected to be false."""
    out, below = [1.0] * len(ps), 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(ps)), key=lambda i: ps[i]), 1))):
        below = min(below, ps[index] * len(ps) / rank)
        out[index] = below
    return out


def p_of_interval(value: float, low: float, high: float, null: float = 0.0) -> float:
    """Two-sided p of `null` from a 95 % interval, by the limit on that side of the value (Altman and Bland 2011).

    Normal, so below 0.05 exactly where the interval does not hold `null`: a way to correct intervals of any kind
    for many looks, not a test of its own. An interval without width is no evidence (1.0).
    """
    half = value - low if null <= value else high - value
    if not half > 0:
        return 1.0
    return 2 * (1 - NormalDist().cdf(Z * abs(value - null) / half))


def widened(interval: tuple[float, float, float], looks: int) -> tuple[float, float, float]:
    """(value, low, high) so wide that all of `looks` such intervals hold their truth in 95 % of cases (Bonferroni).

    Each side is stretched by the ratio of the normal quantiles; one look leaves it as it is.
    """
    value, low, high = interval
    ratio = NormalDist().inv_cdf(1 - 0.025 / max(1, looks)) / Z
    return value, value - (value - low) * ratio, value + (high - value) * ratio


def n_paired(gap: float, discordant: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Items that two models must both answer, so that a true difference `gap` of their shares is shown.

    `discordant` is the share of items that one gets right and the other wrong (at least |gap|). After Connor
    (1987), the sample size of McNemar's test. Raises ValueError where no such difference can be.
    """
    gap = abs(gap)
    if not 0 < gap <= discordant <= 1:
        raise ValueError(f"a gap of {gap} does not go with {discordant} discordant pairs")
    normal = NormalDist()
    z_alpha, z_beta = normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)
    return ceil(((z_alpha * sqrt(discordant) + z_beta * sqrt(discordant - gap * gap)) / gap) ** 2)


def n_unpaired(gap: float, share: float = 0.5, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Items a model, on different items, so that a difference `gap` from `share` is shown. Raises ValueError."""
    other = share + gap if share + gap <= 1 else share - gap
    if gap == 0 or not 0 <= other <= 1 or not 0 <= share <= 1:
        raise ValueError(f"there is no share that lies {gap} from {share}")
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    return ceil(z * z * (share * (1 - share) + other * (1 - other)) / (gap * gap))


def gap_seen(n: int, discordant: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest difference of shares that `n` paired items show: `n_paired` turned round."""
    low, high = 1e-6, discordant
    if n <= 0 or n_paired(high, discordant, power=power, alpha=alpha) > n:
        return discordant
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if n_paired(middle, discordant, power=power, alpha=alpha) <= n else (middle, high)
    return high
