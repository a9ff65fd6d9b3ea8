"""The cross-entropy method: the best point of a box, found by drawing, keeping and drawing nearer.

Knows nothing of models: a pure search over coefficients in [0, 1], with a generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, pstdev

Point = tuple[float, ...]
Value = tuple[float, float]
"""(what is maximised, what breaks ties)."""

SPREAD = 0.5
"""Standard deviation of the first draw."""
STILL = 0.02
"""Once no coordinate of the elite spreads wider than this, drawing on would find nothing new."""


@dataclass(frozen=True)
class Found:
    """A point with its value, and in which iteration it was drawn (0: given, not drawn)."""

    point: Point
    value: Value
    iteration: int


def search(
    value: Callable[[Point], Value], starts: Sequence[Point], rng: Random, *, population: int = 32, elite: float = 0.2,
    iterations: int = 50,
) -> list[Found]:  # fmt: skip
    """Every point that was looked at, best first; earlier before later where two are equal.

    Draws around 1 / K with SPREAD at first, clipped to [0, 1]; then around the elite's mean with its
    spread. `starts` are looked at beforehand and count among the first elite, so that what is found is
    never worse, by `value`, than any of them. Ends after `iterations`, or once the elite stands still.
    """
    size = len(starts[0])
    seen = {point: Found(point, value(point), 0) for point in dict.fromkeys(starts)}
    middle, spread = [1.0 / size] * size, [SPREAD] * size
    keep = max(2, round(population * elite))
    for iteration in range(1, iterations + 1):
        drawn = list(seen) if iteration == 1 else []
        for _ in range(population):
            point = tuple(round(min(1.0, max(0.0, rng.gauss(m, s))), 4) for m, s in zip(middle, spread, strict=True))
            if point not in seen:
                seen[point] = Found(point, value(point), iteration)
            drawn.append(point)
        best = sorted((seen[p] for p in dict.fromkeys(drawn)), key=_rank)[:keep]
        columns = list(zip(*(found.point for found in best), strict=True))
        middle, spread = [fmean(c) for c in columns], [pstdev(c) for c in columns]
        if max(spread) < STILL:
            break
    return sorted(seen.values(), key=_rank)


def _rank(found: Found) -> tuple[float, float, int]:
    return -found.value[0], -found.value[1], found.iteration
