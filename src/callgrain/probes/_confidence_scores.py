"""Readings of scores: how they rank, whether they are calibrated, where a threshold lies, which slot they point at.

Intervals are by bootstrap over traces; the calibrated probabilities are held fixed in it, being fitted on other folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.significance import holm
from callgrain.core.types import Reading
from callgrain.probes._calibration import (
    FEWEST,
    Binned,
    Ranked,
    best_aurc,
    counted,
    cross_fitted,
    interval,
    shifted,
    two_sided,
)
from callgrain.probes._confidence_slots import SCORES, as_probability, slots, worst
from callgrain.probes._graded import Graded, reading

BASELINE = "average"
SHOWN = ("slot", BASELINE)
"""Scores whose curves and bins are drawn."""
COVERAGES = tuple(k / 10 for k in range(1, 11))
TARGETS = (0.9, 0.95)
STAGES = ("raw", "calibrated")


@dataclass(frozen=True)
class Turn:
    """One scored turn: its trace, whether it is right, its scores, and what it was graded from."""

    trace: str
    ok: bool
    scores: dict[str, float]
    graded: Graded


def ranked(turns: Sequence[Turn]) -> Iterator[Reading]:
    """`aurc`, `excess` and `auroc` by score with oracle and random beside, `difference` to the average, `risk`."""
    if len(turns) < FEWEST:
        return
    right, n = [t.ok for t in turns], len(turns)
    weights = counted([t.trace for t in turns])
    order = {name: Ranked([t.scores[name] for t in turns], right) for name in SCORES}
    wrong = 1 - sum(right) / n
    drawn = {name: one.aurc(weights) for name, one in order.items()}
    best = best_aurc(weights @ [not ok for ok in right], weights.sum(-1))
    for name, one in order.items():
        yield reading("confidence", "aurc", interval(one.aurc(), drawn[name]), n, score=name)
        excess = [a - b for a, b in zip(drawn[name], best, strict=True)]
        yield reading(
            "confidence", "excess", interval(one.aurc() - best_aurc(n - sum(right), n), excess), n, score=name
        )
        yield reading("confidence", "auroc", interval(one.auroc(), one.auroc(weights)), n, score=name)
    yield reading("confidence", "aurc", interval(best_aurc(n - sum(right), n), best), n, score="oracle")
    yield reading(
        "confidence", "aurc", stats.clustered_share([not r for r in right], [t.trace for t in turns]), n, score="random"
    )
    yield from _differences(order, drawn, n)
    for name in SHOWN:
        yield from _risks(name, order[name], weights)
    for share in COVERAGES:
        kept = round(share * n)
        yield reading(
            "confidence", "risk", (max(0.0, kept - sum(right)) / kept, None, None), kept, score="oracle", coverage=share
        )
        yield reading("confidence", "risk", (wrong, None, None), kept, score="random", coverage=share)


def _differences(order: dict[str, Ranked], drawn: dict[str, Any], n: int) -> Iterator[Reading]:
    """By how much each score's area is smaller than the average's, on the same turns; corrected for all of them."""
    others = [name for name in SCORES if name != BASELINE]
    gaps = {name: drawn[BASELINE] - drawn[name] for name in others}
    ps = dict(zip(others, holm([two_sided(gaps[name]) for name in others]), strict=True))
    for name in others:
        figure = interval(order[BASELINE].aurc() - order[name].aurc(), gaps[name])
        more = {"against": BASELINE, "p": round(ps[name], 4), "shown": ps[name] < 0.05}
        yield reading("confidence", "difference", figure, n, score=name, **more)


def _risks(name: str, order: Ranked, weights: Any) -> Iterator[Reading]:
    for share in COVERAGES:
        figure = interval(order.risk(share), order.risk(share, weights))
        yield reading("confidence", "risk", figure, max(1, round(share * order.n)), score=name, coverage=share)


def stated(turns: Sequence[Turn]) -> Iterator[Reading]:
    """`ece` (debiased), `ece_plain` with its floor `ece_floor`, `overconfidence` and `bin`, by score and stage."""
    if len(turns) < 2 * FEWEST:
        return
    right, clusters, n = [t.ok for t in turns], [t.trace for t in turns], len(turns)
    weights = counted(clusters)
    for name in SCORES:
        values = [t.scores[name] for t in turns]
        claims = {"raw": [as_probability(name, v) for v in values], "calibrated": cross_fitted(values, right, clusters)}
        for stage in STAGES:
            binned = Binned.of(claims[stage], right)
            figure = shifted(binned.debiased(clusters), binned.debiased(clusters, weights))
            yield reading("confidence", "ece", _clipped(figure), n, score=name, stage=stage)
            yield reading("confidence", "ece_plain", (binned.ece(), None, None), n, score=name, stage=stage)
            yield reading("confidence", "ece_floor", binned.perfect(), n, score=name, stage=stage)
            over = [p - ok for p, ok in zip(claims[stage], right, strict=True)]
            drawn = weights @ over / weights.sum(-1)
            yield reading("confidence", "overconfidence", interval(sum(over) / n, drawn), n, score=name, stage=stage)
            if name in SHOWN:
                for number, (claim, places) in enumerate(binned.rows()):
                    share = stats.clustered_share([right[p] for p in places], [clusters[p] for p in places])
                    yield reading(
                        "confidence",
                        "bin",
                        share,
                        len(places),
                        score=name,
                        stage=stage,
                        bin=number,
                        said=round(claim, 4),
                    )


def _clipped(
    figure: tuple[float | None, float | None, float | None],
) -> tuple[float | None, float | None, float | None]:
    """No error is below 0; the debiased estimate of none falls to either side of it."""
    value, low, high = (None if v is None else max(0.0, v) for v in figure)
    return value, low, high


def thresholds(turns: Sequence[Turn]) -> Iterator[Reading]:
    """`threshold` by score and target, chosen on half the traces; `kept` and `kept_ok` of the other half."""
    halves: tuple[list[Turn], list[Turn]] = ([], [])
    for turn in turns:
        halves[text_key("half", turn.trace) % 2].append(turn)
    chosen, verified = halves
    if min(map(len, halves)) < FEWEST:
        return
    for name in SHOWN:
        order = Ranked([t.scores[name] for t in chosen], [t.ok for t in chosen])
        for target in TARGETS:
            at = order.threshold(target)
            by = {"score": name, "target": target}
            yield reading("confidence", "threshold", (at, None, None), len(chosen), **by)
            above = [t for t in verified if at is not None and t.scores[name] >= at]
            clusters = [t.trace for t in verified]
            kept = stats.clustered_share([at is not None and t.scores[name] >= at for t in verified], clusters)
            yield reading("confidence", "kept", kept, len(verified), **by)
            right = stats.clustered_share([t.ok for t in above], [t.trace for t in above])
            yield reading("confidence", "kept_ok", right, len(above), **by)


def located(turns: Sequence[Turn]) -> Iterator[Reading]:
    """`located`: in wrong turns with one faulty slot, how often it is the least sure one; and by picking blindly."""
    hits: list[bool] = []
    blind: list[float] = []
    clusters: list[str] = []
    for turn in turns:
        paths = {slot.path for slot in slots(turn.graded.reply) if slot.kind in ("name", "value")}
        faulty = {path for fault in turn.graded.verdict.faults if (path := _path(fault.where)) in paths}
        least = worst(turn.graded.reply)
        if len(faulty) == 1 and len(turn.graded.verdict.faults) == 1 and least is not None:
            hits.append(least.kind in ("name", "value") and least.path in faulty)
            blind.append(1 / len(slots(turn.graded.reply)))
            clusters.append(turn.trace)
    if hits:
        yield reading("confidence", "located", stats.clustered_share(hits, clusters), len(hits), pick="least_sure")
        yield reading("confidence", "located", (sum(blind) / len(blind), None, None), len(hits), pick="blind")


def _path(where: str) -> str:
    """A fault's place in the calls as slots name it: `calls.0.arguments.city` is `0.city`."""
    parts = where.split(".")
    if parts[0] != "calls" or len(parts) < 3:
        return ""
    return f"{parts[1]}.{parts[2]}" if parts[2] == "name" else f"{parts[1]}.{'.'.join(parts[3:])}"
