"""A planted law of loads: its effects, its limit, and its error on traces that it did not see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp

from benchmarks._planting import Covered, Found, Planted, cut, pick, put, questions, simulate
from callgrain.core.types import Reading, Sample
from callgrain.probes.capacity import LOADS, Capacity, Task, weights
from callgrain.probes.depth import Depth

COSTS = {"tools": 0.0, "calls": -1.2, "arguments": 0.0, "depth": -0.8, "history": 0.0}
START = 3.5


def chance(sample: Sample) -> float:
    """Logistic in the loads, whatever the sub-task."""
    loads = dict(zip(LOADS, Task("", "", weights(sample), True).scaled, strict=True))
    return 1 / (1 + exp(-(START + sum(COSTS[name] * v for name, v in loads.items()))))


def _asked(n: int) -> list[tuple[str, str, Sample]]:
    pool = cut("toolworld:full", ("names", "parallel", "nest", "chain", "full"), n)
    return questions(Depth(), "depth", pool)


def plants(quick: bool) -> Iterator[Found]:
    """Effects and held-out error through the verifier, and a model for which loads mean nothing."""
    asked = _asked(40 if quick else 100)
    found = Capacity().read(put(Planted(chance), asked))
    for name in ("calls", "depth"):
        yield Found(f"log-odds of {name}", COSTS[name], pick(found, "effect", load=name))
    yield Found("held-out error", 0.0, pick(found, "error"))
    yield Found("skill", "> 0", pick(found, "skill"))
    flat = Capacity().read(put(Planted(lambda _: 0.6), asked))
    yield Found("loads mean nothing: held-out error", 0.0, pick(flat, "error"))
    yield Found("loads mean nothing: skill", "about 0", pick(flat, "skill"))


def coverage(runs: int) -> Iterator[Covered]:
    """Effects and the held-out error over simulated runs (a twentieth of them: each fits a hundred laws)."""
    asked = _asked(60)
    counted = max(20, runs // 20)
    held = {"calls": 0, "depth": 0, "error": 0}
    for seed in range(counted):
        graded = simulate(asked, chance, seed)
        found: Sequence[Reading] = Capacity().read(graded)
        for name in ("calls", "depth"):
            row = pick(found, "effect", load=name)
            held[name] += row is not None and (row.low or 0) <= COSTS[name] <= (row.high or 0)
        row = pick(found, "error")
        held["error"] += row is not None and (row.low or 0) <= 0 <= (row.high or 0)
    for name, count in held.items():
        yield Covered(f"effect of {name}" if name in COSTS else "held-out error holds 0", count, counted)
