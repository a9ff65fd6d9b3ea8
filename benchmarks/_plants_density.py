"""Density: curves of known class and crossing, planted through the verifier; coverage of the intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp, log2
from random import Random

from benchmarks._planting import Covered, Found, Planted, cut, pick, put, questions
from callgrain.core import stats
from callgrain.core.types import Reading, Sample
from callgrain.probes._curves import fit
from callgrain.probes._density_crossing import crossing, crossings
from callgrain.probes._density_read import counts, places
from callgrain.probes._density_slope import slope
from callgrain.probes._density_trials import Met, Trial
from callgrain.probes.density import Density

Law = Callable[[float], float]

TOOLS = (2, 4, 8, 16, 32, 64)
LAWS: dict[str, tuple[str, tuple[int, ...], Law]] = {
    "logistic": ("tools", TOOLS, lambda n: 1 / (1 + exp(2 * (log2(n) - 4)))),
    "break": ("calls", (1, 2, 4, 8, 16), lambda n: 0.97 * min(1.0, max(0.0, 1 - (n - 4) / 5))),
    "exponential": ("arguments", TOOLS, lambda n: 0.98 * 2 ** (-(n - 2) / 12)),
    "constant": ("declared", TOOLS, lambda n: 0.9),
    "linear": ("tools", TOOLS, lambda n: 0.98 * max(0.0, 1 - (n - 2) / 60)),
}
"""Class: the axis that it is planted on, the loads, and success by load."""
TRACES = 30
LIKE = 0.4
"""Share of simulated traces whose replies hang together over all loads, as those of an easy or a hard request do."""


def plants(quick: bool) -> Iterator[Found]:
    """D50 and D90 of four curves, the class, a type of fault, and an effect of place."""
    pool = cut("toolworld:full", ["full", "slots"], 100 if quick else 200)
    asked = questions(Density(), "density", pool)
    for name in ("logistic", "break", "exponential", "constant"):
        axis, loads, law = LAWS[name]
        own = [q for q in asked if q[2].traits.get("density_axis") == axis]
        found = Density().read(put(Planted(_by_load(law)), own))
        for figure, level in (("D50", 0.5), ("D90", 0.9)):
            truth = crossing(loads, [law(n) for n in loads], level)
            planted = truth if loads[0] <= truth <= loads[-1] else f"beyond {loads[-1]}"
            if name != "constant" or figure == "D50":
                yield Found(f"{axis}: {name}, {figure}", planted, pick(found, figure, axis=axis))
        best = pick(found, "class", axis=axis, best=True)
        called = best.by["class"] if best else "none"
        yield Found(
            f"{axis}: {name}, weight (best: {called})", name, pick(found, "class", axis=axis, **{"class": name})
        )
    own = [q for q in asked if q[2].traits.get("density_axis") == "tools"]
    found = Density().read(put(Planted(_by_place), own))
    yield Found("tools: errors by place", 0.4, pick(found, "position", axis="tools"))
    own = [q for q in asked if q[2].traits.get("density_axis") == "arguments"]
    found = Density().read(put(Planted(lambda s: {"missing_argument": 0.2, "wrong_value": 0.1}), own))
    for kind, rate in (("omission", 0.2), ("modification", 0.1), ("commission", 0.0)):
        yield Found(f"arguments: {kind} at 8", rate, pick(found, "fault", axis="arguments", load=8, type=kind))


def _by_load(law: Law) -> Callable[[Sample], dict[str, float]]:
    """Wrong values as often as the law says: a kind that can be made on every sample."""
    return lambda sample: {"wrong_value": 1 - law(int(sample.traits["density_load"]))}


def _by_place(sample: Sample) -> dict[str, float]:
    place = int(sample.traits["density_place"]) / (int(sample.traits["density_load"]) - 1)
    return {"wrong_tool": 0.1 + 0.4 * place}


def coverage(runs: int) -> Iterator[Covered]:
    """Success at a load, D50, D90 and the slope over places; and how often the planted class is the best."""
    for name in ("logistic", "break", "exponential", "linear"):
        axis, loads, law = LAWS[name]
        truths = [crossing(loads, [law(n) for n in loads], level) for level in (0.5, 0.9)]
        held, right, shares = [0, 0], 0, 0
        fits = max(20, runs // 10)
        for run in range(runs):
            found = _simulated(axis, loads, law, Random(run))
            counted = counts(found)
            for place, one in enumerate(crossings(*counted, (0.5, 0.9), seed=run)):
                held[place] += one.low is not None and one.high is not None and one.low <= truths[place] <= one.high
            if run < fits:
                curve = fit(*counted, seed=run)
                right += curve is not None and curve.best == name
            _, low, high = stats.share(sum(t.ok for t in found if t.load == loads[2]), TRACES)
            shares += low is not None and high is not None and low <= law(loads[2]) <= high
        yield Covered(f"ok at {loads[2]}, {name}", shares, runs)
        yield Covered(f"D50, {name} on {axis}, {TRACES} traces", held[0], runs)
        yield Covered(f"D90, {name} on {axis}, {TRACES} traces", held[1], runs)
        yield Covered(f"share of runs in which the best class is {name}", right, fits)
    yield _constant_found(max(20, runs // 10))
    yield _slope_held(runs)


def _constant_found(runs: int) -> Covered:
    axis, loads, law = LAWS["constant"]
    curves = [fit(*counts(_simulated(axis, loads, law, Random(run))), seed=run) for run in range(runs)]
    best = sum(curve is not None and curve.best == "constant" for curve in curves)
    return Covered("share of runs in which the best class is constant", best, runs)


def _simulated(axis: str, loads: tuple[int, ...], law: Law, rng: Random) -> list[Trial]:
    """Trials of `TRACES` traces; some are of one mind over all loads."""
    out: list[Trial] = []
    for trace in range(TRACES):
        alike = rng.random() < LIKE
        mind = rng.random()
        out += [Trial(axis, load, str(trace), (mind if alike else rng.random()) < law(load)) for load in loads]
    return out


def _slope_held(runs: int) -> Covered:
    """Errors of 0.1 at the first place and 0.5 at the last; places as the probe deals them out."""
    held = 0
    for run in range(runs):
        rng = Random(run)
        found: list[Trial] = []
        for trace in range(TRACES):
            alike, mind = rng.random() < LIKE, rng.random()
            for step, load in enumerate(TOOLS):
                place = int(((trace + 0.5) / TRACES + step * 0.618034) % 1 * load) / (load - 1)
                ok = (mind if alike else rng.random()) >= 0.1 + 0.4 * place
                found.append(Trial("tools", load, str(trace), ok, met=(Met(place, ok),)))
        one = slope(list(places(found)))
        held += one is not None and one.low is not None and one.high is not None and one.low <= 0.4 <= one.high
    return Covered(f"position, {TRACES} traces", held, runs)


__all__ = ["Reading", "coverage", "plants"]
