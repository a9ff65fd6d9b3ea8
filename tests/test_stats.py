"""Intervals: hand-computed values, and the coverage that they promise, by enumeration and by simulation."""

from math import comb, sqrt
from random import Random
from statistics import mean as average

import numpy as np
import pytest

from callgrain.core import stats

GRID = [i / 100 for i in range(2, 99)]


def test_wilson_by_hand() -> None:
    value, low, high = stats.share(8, 10)
    assert value == 0.8
    z2 = 1.959963984540054**2
    middle, half = (8 + z2 / 2) / (10 + z2), 1.959963984540054 * sqrt(10 * 0.8 * 0.2 + z2 / 4) / (10 + z2)
    assert low == pytest.approx(middle - half)
    assert high == pytest.approx(middle + half)
    assert (low, high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert stats.share(0, 10) == pytest.approx((0.0, 0.0, 0.2775328), abs=1e-6)
    assert stats.share(10, 10) == pytest.approx((1.0, 0.7224672, 1.0), abs=1e-6)
    assert stats.share(0, 0) == (None, None, None)


def test_newcombe_by_hand() -> None:
    """The first example of Newcombe (1998), method 10: 56/70 against 48/80."""
    assert stats.difference((56, 48), (70, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert stats.difference((9, 3), (10, 10)) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)
    assert stats.difference((1, 1), (0, 2)) == (None, None, None)


def test_paired_difference_by_hand() -> None:
    """Bonett and Price (2012): 2 gained, 1 lost among 10."""
    after = [True, True, False, True, True, True, False, False, True, True]
    before = [False, False, True, True, True, True, False, False, True, True]
    gained, lost = 3 / 12, 2 / 12
    half = stats.Z * sqrt((gained + lost - (gained - lost) ** 2) / 12)
    assert stats.paired_difference(after, before) == pytest.approx((0.1, 1 / 12 - half, 1 / 12 + half))
    assert stats.paired_difference([], []) == (None, None, None)
    with pytest.raises(ValueError, match="length"):
        stats.paired_difference([True], [])


@pytest.mark.parametrize("n", [20, 50, 200])
def test_wilson_covers_95_percent_by_enumeration(n: int) -> None:
    intervals = [stats.share(k, n) for k in range(n + 1)]
    covered = []
    for p in GRID:
        hits = (k for k, (_, low, high) in enumerate(intervals) if low <= p <= high)
        covered.append(sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in hits))
    assert 0.94 <= average(covered) <= 0.97
    assert min(covered) > 0.83


def test_newcombe_covers_95_percent() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for n1, n2 in ((30, 30), (40, 200), (200, 1400)):
        for p1, p2 in ((0.5, 0.5), (0.9, 0.6), (0.95, 0.95), (0.1, 0.3)):
            draws = zip(rng.binomial(n1, p1, 1000), rng.binomial(n2, p2, 1000), strict=True)
            bounds = [stats.difference((int(a), int(b)), (n1, n2)) for a, b in draws]
            covered.append(average(low <= p1 - p2 <= high for _, low, high in bounds))
    assert 0.94 <= average(covered) <= 0.97
    assert min(covered) > 0.92


def test_paired_differences_cover_95_percent() -> None:
    rng = Random(2)
    covered = []
    for n in (20, 60, 200):
        for both, gained, lost in ((0.5, 0.2, 0.1), (0.8, 0.05, 0.05), (0.3, 0.3, 0.02), (0.6, 0.1, 0.1)):
            cells = [(True, True), (True, False), (False, True), (False, False)]
            weights = [both, gained, lost, 1 - both - gained - lost]
            hits = 0
            for _ in range(600):
                after, before = zip(*rng.choices(cells, weights, k=n), strict=True)
                _, low, high = stats.paired_difference(after, before)
                hits += low <= gained - lost <= high
            covered.append(hits / 600)
    assert 0.94 <= average(covered) <= 0.98
    assert min(covered) > 0.92


def test_the_bootstrap_of_a_mean_covers_and_repeats_itself() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        values = list(rng.beta(2, 1, 60))
        _, low, high = stats.mean(values, draws=500)
        hits += low <= 2 / 3 <= high
    assert 0.91 <= hits / 300 <= 0.98
    assert stats.mean([0.1, 0.7, 1.0]) == stats.mean([0.1, 0.7, 1.0])
    assert stats.mean([]) == (None, None, None)
    assert stats.mean([0.25]) == (0.25, None, None)
    assert stats.mean([0.5] * 9) == (0.5, None, None), "nine equal values show no spread, not certainty"


def test_a_mean_of_zeros_and_ones_is_a_share() -> None:
    for values in ([1.0] * 9, [0.0] * 9, [0.0, 1.0, 1.0], [1.0]):
        assert stats.mean(values) == stats.share(round(sum(values)), len(values))
    assert stats.mean([1.0] * 9)[1] == pytest.approx(9 / (9 + stats.Z**2))


@pytest.mark.parametrize("n", [1, 2, 7, 100, 10_000])
def test_intervals_hold_their_value_and_stay_in_range(n: int) -> None:
    for hits in {0, 1, n // 2, n - 1, n}:
        value, low, high = stats.share(hits, n)
        assert 0 <= low <= value <= high <= 1
        for other in {0, n // 3, n}:
            gap, low, high = stats.difference((hits, other), (n, n))
            assert -1 <= low <= gap <= high <= 1


def test_many_looks_widen_the_limit() -> None:
    assert stats.one_sided_z(1) == pytest.approx(1.6448536)
    assert stats.one_sided_z(9) == pytest.approx(2.5392, abs=1e-3)
    assert stats.one_sided_z(0) == stats.one_sided_z(1)


def test_a_number_is_printed_with_its_interval() -> None:
    assert stats.interval_text(0.625, 0.5541, 0.691) == "62.5 % [55.4, 69.1]"
    assert stats.interval_text(None, None, None) == "n/a"
    assert stats.interval_text(0.5, None, None, percent=False) == "0.500"
