"""Readings of density out of its trials: shares, faults, curves, where they cross, and where in the list it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, log2

from callgrain.core import stats
from callgrain.core.significance import holm
from callgrain.core.types import Reading
from callgrain.probes._curves import CLASSES, LEAST_LOADS, LEAST_TRACES, fit
from callgrain.probes._density_crossing import Crossing, crossings
from callgrain.probes._density_cut import AXES
from callgrain.probes._density_slope import Point, Slope, slope
from callgrain.probes._density_trials import TYPES, Trial
from callgrain.probes._graded import reading

LEVELS = {"D50": 0.5, "D90": 0.9}
MOST_CUT_OFF = 0.1
"""Share of replies cut off for want of room from which on a load measures the limit and not the model."""

Counts = tuple[list[int], list[list[int]], list[list[int]]]
"""Loads, and (traces, loads) counts of right replies and of replies."""


def density_readings(found: Sequence[Trial]) -> list[Reading]:
    """All readings but the control, of the axes in their order."""
    out: list[Reading] = []
    slopes: dict[str, Slope] = {}
    for axis in AXES:
        mine = [t for t in found if t.axis == axis]
        for load in sorted({t.load for t in mine}):
            out += _at_load(axis, load, [t for t in mine if t.load == load])
        answered = [t for t in mine if t.is_answered]
        out += _curve(axis, counts(answered))
        out += _drop(axis, answered)
        if (by_place := slope(list(places(answered)))) is not None:
            slopes[axis] = by_place
        by_length = slope(list(_lengths(answered)))
        if by_length is not None:
            figure = (by_length.value, by_length.low, by_length.high)
            out.append(reading("density", "length", figure, len({t.trace for t in answered}), axis=axis))
    return [*out, *_positions(slopes, found)]


def _at_load(axis: str, load: int, mine: Sequence[Trial]) -> Iterator[Reading]:
    """Success, requirements met, types of fault, and what says that a load could not be measured."""
    answered = [t for t in mine if t.is_answered]
    by = {"axis": axis, "load": load}
    lost = len(mine) - len(answered)
    if lost:
        yield reading("density", "unanswered", stats.share(lost, len(mine)), len(mine), **by)
    if not answered:
        return
    traces = [t.trace for t in answered]
    yield reading("density", "ok", stats.clustered_share([t.ok for t in answered], traces), len(answered), **by)
    met = [(m.ok, t.trace) for t in answered for m in t.met]
    if met and axis in ("arguments", "calls"):
        figure = stats.clustered_share([ok for ok, _ in met], [trace for _, trace in met])
        yield reading("density", "each", figure, len(met), **by)
    for kind in TYPES:
        failed = [kind in t.types for t in answered]
        if kind != "form" or any(failed):
            yield reading("density", "fault", stats.clustered_share(failed, traces), len(answered), **by, type=kind)
    cut_off = sum(t.is_cut_off for t in answered)
    if cut_off:
        yield reading("density", "cut_off", stats.share(cut_off, len(answered)), len(answered), **by)


def counts(mine: Sequence[Trial]) -> Counts:
    """What curves are fitted to: loads at which replies had room, traces in order of first appearance."""
    loads = [load for load in sorted({t.load for t in mine}) if not _is_cut(t for t in mine if t.load == load)]
    rows = {trace: place for place, trace in enumerate(dict.fromkeys(t.trace for t in mine))}
    columns = {load: place for place, load in enumerate(loads)}
    right = [[0] * len(loads) for _ in rows]
    asked = [[0] * len(loads) for _ in rows]
    for one in mine:
        if one.load in columns:
            right[rows[one.trace]][columns[one.load]] += one.ok
            asked[rows[one.trace]][columns[one.load]] += 1
    return loads, right, asked


def _is_cut(mine: Iterator[Trial]) -> bool:
    cut = [t.is_cut_off for t in mine]
    return sum(cut) > MOST_CUT_OFF * len(cut)


def _curve(axis: str, counted: Counts) -> Iterator[Reading]:
    """The classes with their weights, the best one's curve, and where success crosses 50 and 90 %."""
    loads, right, asked = counted
    n, hits, tried = len(right), sum(map(sum, right)), sum(map(sum, asked))
    if n < LEAST_TRACES or len(loads) < LEAST_LOADS:
        return
    for level, found in zip(LEVELS, crossings(loads, right, asked, list(LEVELS.values())), strict=True):
        yield crossed(level, axis, found, (loads[0], loads[-1]), n)
    curve = fit(loads, right, asked) if 0 < hits < tried else None  # all right or all wrong: no shape to tell
    if curve is None:
        return
    for name in CLASSES:
        figure = (curve.weights[name], None, None)
        yield reading("density", "class", figure, n, axis=axis, **{"class": name, "best": name == curve.best})
    for load, share in curve.line:
        by = {"axis": axis, "load": round(load, 3), "class": curve.best}
        yield reading("density", "fit", (share, None, None), n, **by)


def crossed(name: str, axis: str, found: Crossing, ends: tuple[int, int], n: int) -> Reading:
    """The reading of a crossing: a value or limit outside of what was asked is None, and `by` says on which side."""
    by: dict[str, str | int] = {"axis": axis}
    least, most = ends
    value = found.load if 0 < found.load < inf else None
    low, high = found.low, found.high
    if value is None:
        by |= {"beyond": most} if found.load == inf else {"below": least}
    if high is not None and high == inf:
        high = None
        by |= {"high_beyond": most}
    if low is not None and low == inf:
        low = float(most)
    if low is not None and low == 0:
        low = None
        by |= {"low_below": least}
    if high is not None and high == 0:
        high = float(least)
    return reading("density", name, (value, low, high), n, **by)


def _drop(axis: str, mine: Sequence[Trial]) -> Iterator[Reading]:
    """Success at the greatest load with room minus that at the least, on the same traces."""
    loads = counts(mine)[0]
    if len(loads) < 2:
        return
    first, last = ({t.trace: t.ok for t in mine if t.load == load} for load in (loads[0], loads[-1]))
    both = [trace for trace in first if trace in last]
    figure = stats.paired_difference([last[t] for t in both], [first[t] for t in both])
    if both:
        yield reading("density", "drop", figure, len(both), axis=axis, least=loads[0], most=loads[-1])


def places(mine: Sequence[Trial]) -> Iterator[Point]:
    """Errors against the place of each requirement, compared at equal load."""
    for one in mine:
        for met in one.met:
            yield Point(one.load, one.trace, met.place, float(not met.ok))


def _lengths(mine: Sequence[Trial]) -> Iterator[Point]:
    """Errors against the doublings of the answer's length, at equal load."""
    for one in mine:
        if one.axis in ("arguments", "calls"):
            for met in one.met:
                yield Point(one.load, one.trace, log2(one.size), float(not met.ok))


def _positions(slopes: dict[str, Slope], found: Sequence[Trial]) -> Iterator[Reading]:
    """Change of the error rate from the first place to the last, p corrected for all axes being looked at."""
    tested = [axis for axis, one in slopes.items() if one.p is not None]
    ps = dict(zip(tested, holm([slopes[axis].p or 0.0 for axis in tested]), strict=True))
    for axis, one in slopes.items():
        by: dict[str, str | float] = {"axis": axis} | ({"p": round(ps[axis], 6)} if axis in ps else {})
        n = sum(len(t.met) for t in found if t.axis == axis and t.is_answered)
        yield reading("density", "position", (one.value, one.low, one.high), n, **by)
