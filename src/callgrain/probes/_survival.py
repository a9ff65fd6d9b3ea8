"""How long everything stays right: the product-limit curve, its horizons, and the line of a constant rate.

Pure functions. The curve is Kaplan and Meier's (1958): a chain of turns that ends before it went wrong is censored, not
counted as right. Its limits are Wilson's at the number of chains that Greenwood's variance amounts to (Rothman 1978),
which keep their coverage near 0 and 1, where Greenwood's own do not. The formula H(s) = ceil(ln s / ln p) supposes that
turns fail alike and apart (Sinha et al., arXiv 2509.09677, section 2): a line to compare with, never the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

from callgrain.core.stats import Z, wilson

Life = tuple[int, bool]
"""Turns that one chain was watched for, and whether the last of them went wrong (else it is censored after it)."""
Figure = tuple[float | None, float | None, float | None]
"""(value, low, high)."""


@dataclass(frozen=True)
class Step:
    """The curve after one turn: the share that is still right, its limits, and the chains that came to this turn."""

    turn: int
    value: float
    low: float
    high: float
    at_risk: int


def life(oks: Sequence[bool | None]) -> Life:
    """What a chain's turns come to; None is a turn that was not answered, and ends the watching before it."""
    for turn, ok in enumerate(oks, 1):
        if ok is None:
            return turn - 1, False
        if not ok:
            return turn, True
    return len(oks), False


def survival(lives: Sequence[Life]) -> list[Step]:
    """The curve from turn 1 to the last one that any chain came to; chains are independent of each other."""
    out: list[Step] = []
    value, spread, size = 1.0, 0.0, float(len(lives))
    for turn in range(1, max((turns for turns, _ in lives), default=0) + 1):
        at_risk = sum(turns >= turn for turns, _ in lives)
        failed = sum(turns == turn and is_wrong for turns, is_wrong in lives)
        value *= 1 - failed / at_risk
        if failed < at_risk:
            spread += failed / (at_risk * (at_risk - failed))
        # Where nothing has failed yet, or everything has, the variance is 0 and says nothing of the number of chains.
        size = at_risk if value == 1 else (1 - value) / (value * spread) if value > 0 else size
        _, low, high = wilson(value * size, size, Z)
        out.append(Step(turn, value, low, high, at_risk))
    return out


def horizon(steps: Sequence[Step], level: float) -> Figure:
    """(turn, low, high) at which the curve has fallen to `level`; None for what lies beyond the last turn.

    The limits are the turns at which the curve's lower and upper limits have fallen to it.
    """

    def first(figures: Sequence[float]) -> float | None:
        return next((float(s.turn) for s, f in zip(steps, figures, strict=True) if f <= level + 1e-12), None)

    return first([s.value for s in steps]), first([s.low for s in steps]), first([s.high for s in steps])


def constant(p: float | None, level: float) -> float | None:
    """Turns until `level`, were every turn right with probability `p` whatever came before; None where it never is."""
    if p is None or p >= 1:
        return None
    return float(max(1, ceil(log(level) / log(p) - 1e-9))) if p > 0 else 1.0


__all__ = ["Figure", "Life", "Step", "constant", "horizon", "life", "survival"]
