"""Curves of success over a load: classes, weights, crossings, slopes."""

from math import exp, inf, log2
from random import Random
from time import process_time

import pytest

from callgrain.probes._curves import CLASSES, fit, grid_of
from callgrain.probes._density_crossing import crossing, crossings
from callgrain.probes._density_slope import Point, slope

LOADS = (2, 4, 8, 16, 32, 64)


def tossed(law, traces, seed=0, loads=LOADS):
    rng = Random(seed)
    right = [[int(rng.random() < law(load)) for load in loads] for _ in range(traces)]
    return loads, right, [[1] * len(loads) for _ in right]


def logistic(load):
    return 1 / (1 + exp(2 * (log2(load) - 4)))


def test_weights_are_shares_of_one():
    curve = fit(*tossed(logistic, 30))
    assert curve is not None
    assert set(curve.weights) == set(CLASSES)
    assert sum(curve.weights.values()) == pytest.approx(1)
    assert curve.weights[curve.best] == pytest.approx(max(curve.weights.values()), abs=1e-6)
    assert (curve.line[0][0], curve.line[-1][0]) == (2, 64)


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("constant", lambda n: 0.6),
        ("linear", lambda n: 0.98 * max(0.0, 1 - (n - 2) / 60)),
        ("exponential", lambda n: 0.98 * 2 ** (-(n - 2) / 8)),
        ("logistic", lambda n: 0.95 / (1 + (n / 16) ** 1.5)),
        ("break", lambda n: 0.97 if n <= 16 else 0.97 * max(0.0, 1 - (n - 16) / 20)),
    ],
)
def test_many_traces_tell_the_class(name, law):
    curve = fit(*tossed(law, 400, seed=0))
    assert curve is not None
    near = {"break": {"break", "logistic"}}.get(name, {name})  # a steep logistic is a break, at six loads
    assert curve.best in near, curve.weights
    assert sum(curve.weights[one] for one in near) > 0.5 or name == "constant"
    assert all(abs(p - law(load)) < 0.08 for load, p in curve.line if load in LOADS)


def test_a_curve_needs_traces_and_loads():
    loads, right, asked = tossed(logistic, 30)
    assert fit(loads, right[:7], asked[:7]) is None
    assert fit(loads[:2], [row[:2] for row in right], [row[:2] for row in asked]) is None


def test_every_curve_of_a_grid_is_a_falling_chance():
    for name in CLASSES:
        grid = grid_of(name, LOADS)
        chances = 2.718281828459045**grid.right
        assert chances.min() >= 0.0049
        assert chances.max() <= 0.9951
        assert (chances[1:] <= chances[:-1] + 1e-12).all(), name


def test_the_same_counts_give_the_same_curve_fast():
    counted = tossed(logistic, 30)
    fit(*counted)
    start = process_time()
    assert fit(*counted) == fit(*counted)
    assert crossings(*counted, (0.5, 0.9)) == crossings(*counted, (0.5, 0.9))
    assert process_time() - start < 3


def test_a_crossing_is_read_on_the_log_scale():
    assert crossing((2, 4, 8), (0.9, 0.75, 0.25), 0.5) == pytest.approx(2**2.5)
    assert crossing((2, 4, 8), (0.9, 0.8, 0.7), 0.5) == inf
    assert crossing((2, 4, 8), (0.4, 0.3, 0.2), 0.5) == 0
    assert crossing((2, 4, 8), (0.9, 0.5, 0.1), 0.5) == pytest.approx(4)


def test_a_crossing_has_an_interval_and_knows_its_ends():
    counted = tossed(logistic, 60, seed=3)
    d50, d90 = crossings(*counted, (0.5, 0.9))
    assert d50.low is not None
    assert d50.high is not None
    assert d50.low < 16 < d50.high
    assert d90.load < d50.load
    (beyond,) = crossings(*tossed(lambda n: 1.0, 20), (0.5,))
    assert (beyond.load, beyond.low, beyond.high) == (inf, inf, inf)
    (below,) = crossings(*tossed(lambda n: 0.0, 20), (0.5,))
    assert (below.load, below.low, below.high) == (0, 0, 0)
    (few,) = crossings(*tossed(logistic, 7), (0.5,))
    assert (few.low, few.high) == (None, None)


def test_all_right_at_ninety_percent_is_doubted():
    (found,) = crossings(*tossed(lambda n: 1.0, 10), (0.9,))
    assert found.load == inf
    assert found.low is not None
    assert found.low < 64  # ten right replies do not show 90 %


def test_a_slope_is_compared_within_groups():
    points = [Point(g, str(c), x / 4, 10 * g + 0.5 * x / 4) for g in range(3) for c in range(9) for x in range(5)]
    found = slope(points)
    assert found is not None
    assert found.value == pytest.approx(0.5)


def test_a_slope_widens_where_clusters_hang_together():
    rng = Random(0)
    rows = [(c, x / 9, float(rng.random() < 0.5)) for c in range(20) for x in range(10)]
    bent = [(c, x / 9, float((c % 2 == 0) == (x > 4))) for c in range(20) for x in range(10)]
    free, tied = (slope([Point(0, str(c), x, y) for c, x, y in these]) for these in (rows, bent))
    assert free is not None
    assert tied is not None
    assert free.low is not None
    assert free.high is not None
    assert tied.low is not None
    assert tied.high is not None
    assert tied.high - tied.low > 1.5 * (free.high - free.low)
    assert slope([]) is None
    assert slope([Point(0, str(c), 1.0, 0.0) for c in range(9)]) is None
