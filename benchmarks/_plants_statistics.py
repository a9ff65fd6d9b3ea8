"""The intervals that everything rests on: a share, a paired difference, a share of clusters, a mean by bootstrap.

Each is drawn from a known truth, a thousand times and more; what they cover is what every probe's interval can cover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from benchmarks._planting import Covered, Found
from callgrain.core import stats
from callgrain.core.significance import holm, mcnemar, n_paired, widened
from callgrain.core.types import Reading

Interval = tuple[float | None, float | None, float | None]
CELLS = ((True, True), (True, False), (False, True), (False, False))


def plants(quick: bool) -> Iterator[Found]:
    """Rates that tests promise: false alarms where nothing differs, and the power that n was chosen for."""
    runs = 400 if quick else 3000
    alarms = sum(_alarms(Random(f"family {i}")) for i in range(runs))
    yield _rate(
        "any of 9 null sub-tasks called different (Holm on McNemar), at most 5 %", 0.05, alarms, runs, most=True
    )
    plain = sum(_alarms(Random(f"family {i}"), corrected=False) for i in range(runs))
    yield _rate("the same without correction", 1 - 0.95**9, plain, runs, most=True)
    n = n_paired(0.1, 0.3)
    shown = sum(_power(Random(f"power {i}"), n, 0.1, 0.3) for i in range(runs))
    yield _rate(f"a gap of 10 points with 30 % discordant, n_paired says {n}", 0.8, shown, runs)


def _rate(state: str, planted: float, hits: int, runs: int, *, most: bool = False) -> Found:
    """A rate beside what was promised; of a bound, the lower end is open."""
    value, low, high = stats.share(hits, runs)
    if most:
        high = max(high or 0.0, planted)
    return Found(state, planted, Reading(probe="statistics", name="rate", value=value, low=low, high=high, n=runs))


def _alarms(rng: Random, *, corrected: bool = True) -> bool:
    ps: list[float] = []
    for _ in range(9):
        pairs = rng.choices(CELLS, (0.6, 0.1, 0.1, 0.2), k=100)
        ps.append(mcnemar(pairs.count((True, False)), pairs.count((False, True))))
    return min(holm(ps) if corrected else ps) <= 0.05


def _power(rng: Random, n: int, gap: float, discordant: float) -> bool:
    """Whether n pairs show the gap, by the interval of the paired difference."""
    gained, lost = (discordant + gap) / 2, (discordant - gap) / 2
    pairs = rng.choices(CELLS, (0.5, gained, lost, 0.5 - discordant), k=n)
    _, low, _ = stats.paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    return low is not None and low > 0


def coverage(runs: int) -> Iterator[Covered]:
    """Shares, paired differences, clustered shares, bootstrap means, sums of them, and several at once."""
    yield from _shares(runs)
    for n in (20, 100):
        for cells in ((0.5, 0.2, 0.1, 0.2), (0.8, 0.05, 0.05, 0.1)):
            yield _covered(f"paired difference, n {n}, {cells[1]} gained", runs, cells[1] - cells[2], _paired(n, cells))
    for clusters, size, spread in ((12, 4, 0.2), (40, 4, 0.2), (40, 4, 0.0), (100, 3, 0.5)):
        named = f"clustered share, {clusters} of {size}, spread {spread}"
        yield _covered(named, runs, 0.7, _clustered(clusters, size, spread))
    for n in (30, 200):
        yield _covered(f"bootstrap mean, n {n}", runs, 2 / 3, _bootstrap_mean(n))
    for groups in (12, 40):
        yield _covered(f"bootstrap over {groups} traces", runs, 0.7, _bootstrap_groups(groups))
    yield _covered("mean of 9 paired differences (MOVER)", runs, 0.1, _macro)
    yield _covered("nine shares at once, widened (Bonferroni)", runs, 0.0, _together)


def _covered(figure: str, runs: int, truth: float, draw: Callable[[Random], Interval]) -> Covered:
    held = 0
    for i in range(runs):
        _, low, high = draw(Random(f"{figure} {i}"))
        held += low is not None and high is not None and low <= truth <= high
    return Covered(figure, held, runs)


def _shares(runs: int) -> Iterator[Covered]:
    """One true share covers as the grid of its n falls; over shares drawn evenly the promise is held."""
    for n in (20, 60, 200):
        held = 0
        for i in range(runs):
            rng = Random(f"share {n} {i}")
            p = rng.uniform(0.02, 0.98)
            _, low, high = stats.share(sum(rng.random() < p for _ in range(n)), n)
            held += (low or 0.0) <= p <= (high or 0.0)
        yield Covered(f"share, n {n}, true shares from 2 to 98 %", held, runs)


def _paired(n: int, cells: tuple[float, ...]) -> Callable[[Random], Interval]:
    def draw(rng: Random) -> Interval:
        pairs = rng.choices(CELLS, cells, k=n)
        return stats.paired_difference([a for a, _ in pairs], [b for _, b in pairs])

    return draw


def _clustered(clusters: int, size: int, spread: float) -> Callable[[Random], Interval]:
    """Clusters whose own shares are beta with mean 0.7; `spread` is the correlation within one."""

    def draw(rng: Random) -> Interval:
        hits: list[bool] = []
        names: list[str] = []
        for cluster in range(clusters):
            p = _beta(rng, 0.7, spread)
            hits += [rng.random() < p for _ in range(size)]
            names += [str(cluster)] * size
        return stats.clustered_share(hits, names)

    return draw


def _beta(rng: Random, mean: float, spread: float) -> float:
    if not spread:
        return mean
    total = 1 / spread - 1
    return rng.betavariate(mean * total, (1 - mean) * total)


def _bootstrap_mean(n: int) -> Callable[[Random], Interval]:
    return lambda rng: stats.mean([rng.betavariate(2, 1) for _ in range(n)], draws=400, seed=rng.randrange(2**31))


def _bootstrap_groups(groups: int) -> Callable[[Random], Interval]:
    def draw(rng: Random) -> Interval:
        drawn = [[rng.random() < p for _ in range(3)] for p in (_beta(rng, 0.7, 0.2) for _ in range(groups))]
        return stats.bootstrap(drawn, _share_of, draws=300, seed=rng.randrange(2**31))

    return draw


def _share_of(groups: object) -> float | None:
    found = [hit for group in groups for hit in group]  # pyright: ignore[reportGeneralTypeIssues,reportUnknownVariableType]
    return sum(found) / len(found) if found else None


def _macro(rng: Random) -> Interval:
    draw = _paired(60, (0.5, 0.2, 0.1, 0.2))
    return stats.combined([(1 / 9, draw(rng)) for _ in range(9)])


def _together(rng: Random) -> Interval:
    """(0, 0, 0) where all nine widened intervals hold their truth, else nothing that holds it."""
    for _ in range(9):
        value, low, high = stats.share(sum(rng.random() < 0.7 for _ in range(80)), 80)
        if value is None or low is None or high is None:
            return None, None, None
        _, low, high = widened((value, low, high), 9)
        if not low <= 0.7 <= high:
            return 1.0, 1.0, 1.0
    return 0.0, 0.0, 0.0
