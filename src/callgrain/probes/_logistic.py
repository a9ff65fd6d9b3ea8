"""Logistic regression that has an answer where all or none are right: Firth's penalised likelihood.

Firth (1993); Heinze and Schemper (2002): the log-likelihood plus half the log-determinant of the information. The
estimate is always finite, and its bias at small n of lower order. A few factors on a few hundred items need no more
than numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from callgrain.core.stats import Z

STEPS, LARGEST = 60, 5.0


@dataclass(frozen=True)
class Effect:
    """One factor's log-odds a unit, with its 95 % interval by Wald at the penalised estimate."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """A fitted law: chances for rows of the same columns, and what each column does."""

    effects: tuple[Effect, ...]
    intercept: float
    middle: tuple[float, ...]

    def chance(self, row: Sequence[float]) -> float:
        """The probability of being right that the law gives a row."""
        parts = zip(self.effects, row, self.middle, strict=True)
        return 1 / (1 + exp(-max(-30.0, min(30.0, self.intercept + sum(e.value * (x - m) for e, x, m in parts)))))


def effects(rows: Sequence[Sequence[float]], right: Sequence[bool]) -> list[Effect]:
    """One Effect a column of `rows`. Raises what `fitted` raises."""
    return list(fitted(rows, right).effects)


def fitted(rows: Sequence[Sequence[float]], right: Sequence[bool]) -> Fit:
    """The law that fits best, with an intercept beside the columns.

    Factors that do not vary, or that others determine, have no effect of their own: raises ValueError for such a
    design (`telling` leaves them out).
    """
    import numpy as np

    data: Any = np.asarray(rows, dtype=float)
    middle = data.mean(axis=0)
    design = np.column_stack([np.ones(len(data)), data - middle])
    if np.linalg.matrix_rank(np.unique(design, axis=0)) < design.shape[1]:
        raise ValueError("a factor does not vary, or hangs on the others")
    y = np.asarray(right, dtype=float)
    beta = np.zeros(design.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        weight = p * (1 - p)
        cover = np.linalg.pinv((design.T * weight) @ design)
        leverage = weight * ((design @ cover) * design).sum(axis=1)
        step = cover @ (design.T @ (y - p + leverage * (0.5 - p)))
        step *= min(1.0, LARGEST / max(1e-12, float(np.abs(step).max())))
        beta = beta + step
        if float(np.abs(step).max()) < 1e-8:
            break
    p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
    cover = np.linalg.pinv((design.T * (p * (1 - p))) @ design)
    half = Z * np.sqrt(np.diag(cover))
    found = [Effect(float(b), float(b - h), float(b + h)) for b, h in zip(beta[1:], half[1:], strict=True)]
    return Fit(tuple(found), float(beta[0]), tuple(float(m) for m in middle))


def telling(rows: Sequence[Sequence[float]]) -> list[int]:
    """Places of the columns that tell something which those before them do not."""
    import numpy as np

    data: Any = np.unique(np.asarray(rows, dtype=float), axis=0)
    kept: list[int] = []
    for column in range(data.shape[1]):
        tried = np.column_stack([np.ones(len(data)), data[:, [*kept, column]]])
        if np.linalg.matrix_rank(tried) == tried.shape[1]:
            kept.append(column)
    return kept
