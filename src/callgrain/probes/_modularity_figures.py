"""Figures of masks with their intervals: held-out traces are drawn anew, for every cell of the matrix at once.

Intervals speak of the samples: a figure is a mean over seeds, and traces are drawn with replacement (percentile
bootstrap, all skills and arms on the same draws, so that differences between arms are paired). How far seeds lie
apart is a figure of its own: three seeds make no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DRAWS = 1000
FEWEST = 8
"""Traces below which there is no interval, as everywhere."""

Interval = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Cells:
    """Figures by cell: `values` (1 + DRAWS, cells), the first row as seen, the others as drawn; traces in all."""

    names: Mapping[tuple[str, ...], int]
    values: np.ndarray
    traces: int

    def column(self, name: tuple[str, ...]) -> np.ndarray:
        """(1 + DRAWS,) of one cell."""
        return self.values[:, self.names[name]]

    def mean(self, names: Sequence[tuple[str, ...]]) -> np.ndarray:
        """(1 + DRAWS,) mean of several cells."""
        return self.values[:, [self.names[name] for name in names]].mean(axis=1)

    def interval(self, found: np.ndarray) -> Interval:
        """(value, low, high); no limits for few traces, or where every draw says the same."""
        import numpy as np

        value, drawn = float(found[0]), found[1:]
        if self.traces < FEWEST or np.isnan(drawn).mean() > 0.1 or float(np.nanmax(drawn) - np.nanmin(drawn)) == 0:
            return (None if np.isnan(value) else value), None, None
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return value, float(low), float(high)


def cells(found: Mapping[tuple[str, ...], Sequence[Sequence[Any]]], place: int, seed: int = 0) -> Cells:
    """Cell -> [[trace, right, nats], ...] as means of that place, as seen and under redrawn traces."""
    import numpy as np

    traces = {trace: i for i, trace in enumerate(sorted({str(row[0]) for rows in found.values() for row in rows}))}
    sums, counts = np.zeros((len(traces), len(found))), np.zeros((len(traces), len(found)))
    for column, rows in enumerate(found.values()):
        for row in rows:
            sums[traces[str(row[0])], column] += float(row[place])
            counts[traces[str(row[0])], column] += 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(traces), np.full(len(traces), 1 / max(1, len(traces))), size=DRAWS)
    weights = np.concatenate([np.ones((1, len(traces))), drawn])
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw without any trace of a skill has no mean of it
        values = (weights @ sums) / (weights @ counts)
    return Cells({name: i for i, name in enumerate(found)}, values, len(traces))


@dataclass(frozen=True)
class Matrix:
    """The ablation matrix of one arm, over its seeds."""

    cells: Cells
    arm: str
    skills: Sequence[str]
    seeds: Sequence[str]

    def cell(self, mask: str, skill: str, seeds: Sequence[str] = ()) -> np.ndarray:
        """(1 + DRAWS,) of a skill without a mask's weights, mean over seeds."""
        return self.cells.mean([(self.arm, seed, mask, skill) for seed in seeds or self.seeds])

    def own(self, seeds: Sequence[str] = ()) -> np.ndarray:
        """Mean of the diagonal: each skill without its own mask's weights."""
        import numpy as np

        return np.mean([self.cell(skill, skill, seeds) for skill in self.skills], axis=0)

    def other(self, seeds: Sequence[str] = ()) -> np.ndarray:
        """Mean off the diagonal: each skill without another's."""
        import numpy as np

        pairs = [(mask, skill) for mask in self.skills for skill in self.skills if mask != skill]
        return np.mean([self.cell(mask, skill, seeds) for mask, skill in pairs], axis=0)

    def contrast(self, seeds: Sequence[str] = ()) -> np.ndarray:
        """Off the diagonal minus on it. Every skill counts as much in both, so hard skills cancel."""
        return self.other(seeds) - self.own(seeds)
