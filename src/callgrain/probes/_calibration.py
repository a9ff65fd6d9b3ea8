"""What a score of confidence is worth: ranking, calibration, thresholds. Pure functions of scores and right or wrong.

Selective prediction after Geifman and El-Yaniv (AURC; its excess over the best order: arXiv 1805.08206), calibration
by isotonic regression on folds that were held out. The usual ECE is the mean of absolute gaps and so never 0 on a
sample, however well calibrated the score. Beside it stands one in which the sign of a bin's gap comes from other
folds than the gap itself: 0 on average where the score is calibrated, and erring downwards instead, by less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, sqrt
from typing import Any

import numpy as np

from callgrain.core import stats

Figure = tuple[float | None, float | None, float | None]
"""(value, low, high)."""

BINS = 15
BIN = 80
"""Turns in a bin at least: in as many the sign of a gap of 10 points can be told."""
FOLDS = 10
DRAWS = 1000
SURE = 0.8416
"""One-sided 80 % normal quantile: how far a threshold's own half must lie above the target."""
FEWEST = 20
"""Fewest turns above a threshold, and in a sample that is calibrated at all."""


class Ranked:
    """Turns from the surest to the least sure; equal scores come in any order, each as likely.

    `weights` are (draws, n) counts of each turn in the order given to the class, samples drawn again: what is
    asked of them is (draws,). Without weights it is one figure, of the turns as they are.
    """

    def __init__(self, scores: Sequence[float], right: Sequence[bool]) -> None:
        values = np.asarray(scores, dtype=float)
        self.n = len(values)
        self.order = np.argsort(-values, kind="stable")
        self.scores = values[self.order]
        self.wrong = 1.0 - np.asarray(right, dtype=float)[self.order]
        self.starts = np.flatnonzero(np.r_[True, np.diff(self.scores) != 0])

    def _groups(self, weights: Any) -> tuple[Any, Any]:
        """Turns and wrong turns in each group of equal scores: (draws, groups)."""
        own = np.ones((1, self.n)) if weights is None else np.atleast_2d(weights)[:, self.order].astype(float)
        return np.add.reduceat(own, self.starts, axis=-1), np.add.reduceat(own * self.wrong, self.starts, axis=-1)

    def aurc(self, weights: Any = None) -> Any:
        """Area under the risk-coverage curve: the mean share wrong among the surest 1, 2, ..., n turns."""
        counts, errors = self._groups(weights)
        rates = np.divide(errors, counts, out=np.zeros_like(errors), where=counts > 0)
        ends, lost = np.cumsum(counts, -1), np.cumsum(errors, -1)
        starts, before = ends - counts, lost - errors
        # Within a group that begins after C turns, E of them wrong, the share after j more is (E + j r) / (C + j).
        steps = _harmonic(int(ends[:, -1].max()))
        sums = rates * counts + (before - rates * starts) * (steps[ends.astype(int)] - steps[starts.astype(int)])
        return _one(sums.sum(-1) / ends[:, -1], weights)

    def risk(self, share: float, weights: Any = None) -> Any:
        """Share wrong among that share of the turns, the surest ones."""
        counts, errors = self._groups(weights)
        ends, lost = np.cumsum(counts, -1), np.cumsum(errors, -1)
        kept = np.maximum(1, np.rint(share * ends[:, -1]))
        at = (ends >= kept[:, None]).argmax(-1)[:, None]
        end, size, bad, total = (np.take_along_axis(a, at, -1)[:, 0] for a in (ends, counts, errors, lost))
        return _one((total - bad + (kept - end + size) * bad / size) / kept, weights)

    def auroc(self, weights: Any = None) -> Any:
        """Chance that a right turn scores above a wrong one, ties by halves; NaN where all are right or wrong."""
        counts, errors = self._groups(weights)
        hits, total = counts - errors, errors.sum(-1)
        below = total[:, None] - np.cumsum(errors, -1)
        pairs = hits.sum(-1) * total
        found = np.full(len(pairs), np.nan)
        np.divide((hits * (below + errors / 2)).sum(-1), pairs, out=found, where=pairs > 0)
        return _one(found, weights)

    def threshold(self, target: float) -> float | None:
        """The lowest score above which (itself included) the share right is shown, at 80 %, to reach the target.

        None where none does, or fewer than FEWEST turns score as high.
        """
        counts, errors = (found[0] for found in self._groups(None))
        n, wrong = np.cumsum(counts), np.cumsum(errors)
        p = 1 - wrong / n
        low = (p + SURE**2 / (2 * n) - SURE * np.sqrt(p * (1 - p) / n + SURE**2 / (4 * n * n))) / (1 + SURE**2 / n)
        fine = np.flatnonzero((low >= target) & (n >= FEWEST))
        return float(self.scores[self.starts[fine[-1]]]) if len(fine) else None


def _harmonic(size: int) -> Any:
    """Harmonic numbers up to that of `size`, from that of 0."""
    return np.r_[0.0, np.cumsum(1.0 / np.arange(1, size + 1))]


def _one(found: Any, weights: Any) -> Any:
    return float(found[0]) if weights is None else found


def best_aurc(wrong: Any, n: Any) -> Any:
    """The area where each right turn is surer than each of the `wrong` among `n`; for single counts or (draws,)."""
    bad, size = np.atleast_1d(wrong).astype(int), np.atleast_1d(n).astype(int)
    steps = _harmonic(int(size.max()))
    # The sum over k = 1 .. wrong of k / (n - wrong + k).
    found = (bad - (size - bad) * (steps[size] - steps[size - bad])) / size
    return float(found[0]) if np.ndim(wrong) == 0 else found


def counted(clusters: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Any:
    """(draws, n) how often each turn stands in a sample of as many clusters, drawn with replacement."""
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    of = np.array([names[name] for name in clusters], dtype=int)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return drawn[:, of]


def interval(value: float, drawn: Any) -> Figure:
    """The value with the middle 95 % of what was drawn; no limits where a tenth of the draws is NaN, or all agree."""
    found = np.asarray(drawn, dtype=float)
    known = found[~np.isnan(found)]
    if np.isnan(value):
        return None, None, None
    if len(known) < 0.9 * len(found) or len(known) < 2 or known.min() == known.max():
        return value, None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return value, float(low), float(high)


def shifted(value: float, drawn: Any) -> Figure:
    """As `interval`, moved so that the mean of what was drawn is the value: for a figure that is biased in samples."""
    found = np.asarray(drawn, dtype=float)
    return interval(value, found + (value - found.mean()))


def two_sided(drawn: Any) -> float:
    """A p-value from bootstrapped differences: twice the smaller share on one side of 0, never below 1 / draws."""
    found = np.asarray(drawn, dtype=float)
    beyond = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(found) + 1))


# calibration ------------------------------------------------------------------------------------


def folds_of(clusters: Sequence[str], folds: int, seed: int = 0) -> list[int]:
    """The fold of each turn: those of one cluster share theirs, the folds have equally many clusters."""
    names = list(dict.fromkeys(clusters))
    place = dict(zip(names, np.random.default_rng(seed).permutation(len(names)).tolist(), strict=True))
    return [place[name] % folds for name in clusters]


def isotonic(scores: Sequence[float], right: Sequence[bool]) -> Callable[[Sequence[float]], list[float]]:
    """Score -> probability of being right: the non-decreasing fit, straight between the scores that it saw."""
    from scipy.optimize import isotonic_regression

    values = np.asarray(scores, dtype=float)
    places, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=np.asarray(right, dtype=float)) / counts
    fitted = isotonic_regression(means, weights=counts.astype(float)).x
    return lambda asked: np.interp(np.asarray(asked, dtype=float), places, fitted).tolist()


def cross_fitted(
    scores: Sequence[float], right: Sequence[bool], clusters: Sequence[str], folds: int = FOLDS
) -> list[float]:
    """Probability of being right of each turn, by isotonic regression on the folds that it is not in."""
    fold = folds_of(clusters, folds)
    out = [0.0] * len(scores)
    for one in set(fold):
        seen = [n for n, at in enumerate(fold) if at != one]
        own = [n for n, at in enumerate(fold) if at == one]
        if not seen:
            return [sum(right) / len(right)] * len(right)
        read = isotonic([scores[n] for n in seen], [right[n] for n in seen])
        for n, p in zip(own, read([scores[n] for n in own]), strict=True):
            out[n] = p
    return out


@dataclass(frozen=True)
class Binned:
    """Stated probabilities in bins of equal mass (equal ones share a bin) beside what came of them."""

    stated: tuple[float, ...]
    right: tuple[bool, ...]
    bins: tuple[int, ...]

    @classmethod
    def of(cls, stated: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Binned:
        """At most `bins` bins of equally many turns, BIN or more in each where there are as many."""
        order = sorted(range(len(stated)), key=lambda n: stated[n])
        label, out = -1, [0] * len(stated)
        start, size = 0, max(BIN, floor(len(stated) / bins))
        for place, n in enumerate(order):
            fresh = place == 0 or (place - start >= size and stated[n] != stated[order[place - 1]])
            if fresh and (place == 0 or len(stated) - place >= size):
                label, start = label + 1, place
            out[n] = label
        return cls(tuple(stated), tuple(right), tuple(out))

    @cached_property
    def _order(self) -> Any:
        return np.argsort(self.bins, kind="stable")

    @cached_property
    def _starts(self) -> Any:
        """Where each bin begins in `_order`."""
        ordered = np.asarray(self.bins)[self._order]
        return np.flatnonzero(np.r_[True, np.diff(ordered) != 0])

    def _lacks(self, weights: Any) -> Any:
        """Right minus stated of each turn, bin by bin, as often as it was drawn: (draws, n)."""
        gaps = (np.asarray(self.right, float) - np.asarray(self.stated))[self._order]
        return gaps[None] if weights is None else np.asarray(weights, dtype=float)[:, self._order] * gaps

    def _sums(self, lacks: Any) -> Any:
        return np.add.reduceat(lacks, self._starts, axis=-1)

    def ece(self) -> float:
        """The usual expected calibration error."""
        return float(np.abs(self._sums(self._lacks(None))).sum() / len(self.bins))

    def debiased(self, clusters: Sequence[str], weights: Any = None) -> Any:
        """ECE with the sign of each bin's gap taken from the folds that its turns are not in; (draws,) for weights."""
        lacks = self._lacks(weights)
        total = self._sums(lacks)
        size = len(self.bins) if weights is None else np.asarray(weights).sum(-1)
        found = np.zeros(len(lacks))
        fold = np.array(folds_of(clusters, FOLDS))[self._order]
        for one in range(FOLDS):
            # A bin's sums over all folds make up the bin, so that the signed sum has its weight.
            own = self._sums(lacks * (fold == one))
            found += (np.sign(total - own) * own).sum(-1) / size
        return _one(found, weights)

    def perfect(self, draws: int = DRAWS, seed: int = 0) -> tuple[float, float, float]:
        """(mean, low, high) of the usual ECE where the stated probabilities are the true ones: its floor at this n."""
        rng = np.random.default_rng(seed)
        stated = np.asarray(self.stated)[self._order]
        hits = rng.random((draws, len(stated))) < stated
        found = np.abs(self._sums(hits - stated)).sum(-1) / len(stated)
        low, high = np.quantile(found, [0.025, 0.975])
        return float(found.mean()), float(low), float(high)

    def rows(self) -> list[tuple[float, list[int]]]:
        """(mean stated probability, places of its turns) of each bin, from the lowest."""
        groups: dict[int, list[int]] = {}
        for n, label in enumerate(self.bins):
            groups.setdefault(label, []).append(n)
        return [(sum(self.stated[n] for n in groups[b]) / len(groups[b]), groups[b]) for b in sorted(groups)]


# means with clusters ----------------------------------------------------------------------------


def bounded_mean(values: Sequence[float], clusters: Sequence[str], least: float) -> Figure:
    """(value, low, high) of a mean of values in [0, 1]: Wilson's interval at the effective number of items.

    A value is a share of several draws and varies less than a coin that is tossed once: by `least` of a coin's
    variance at least. No limits for fewer than two clusters.
    """
    n, count = len(values), len(set(clusters))
    if not n:
        return None, None, None
    mean = sum(values) / n
    if count < 2:
        return mean, None, None
    coin = mean * (1 - mean) / n
    prior = 4 / (n + 4)  # four items that vary as a coin does, as Agresti and Coull add: few values agree by chance
    effect = (_spread(values, clusters, mean) / coin) * (1 - prior) + prior if coin > 0 else 1.0
    size = n / max(least, effect)
    z2 = stats.Z**2 * (1 + (1 + stats.Z**2) / (2 * max(1, count - 1)))  # the t quantile's first correction
    middle = (mean + z2 / (2 * size)) / (1 + z2 / size)
    half = sqrt(z2) * sqrt(mean * (1 - mean) / size + z2 / (4 * size * size)) / (1 + z2 / size)
    return mean, max(0.0, middle - half), min(1.0, middle + half)


def _spread(values: Sequence[float], clusters: Sequence[str], mean: float) -> float:
    """Variance of the mean, items of one cluster taken together."""
    sums: dict[str, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    count = len(sums)
    return sum(s * s for s in sums.values()) * count / max(1, count - 1) / len(values) ** 2
