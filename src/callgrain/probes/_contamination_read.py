"""What contaminated histories come to: shares, slopes, what length does, mitigations, the model's own chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from callgrain.core import stats
from callgrain.core.significance import discordant, holm, mcnemar
from callgrain.core.types import Reading
from callgrain.probes._contamination_cells import ANSWER_FAULTS, FAULTS, LONG, MENDED, MITIGATIONS, RATES, TURNS
from callgrain.probes._contamination_chain import Chain, walked
from callgrain.probes._contamination_history import ENVIRONMENTS
from callgrain.probes._contamination_slope import Slope, slope
from callgrain.probes._graded import Graded, reading
from callgrain.probes._survival import constant, horizon, life, survival

PROBE = "contamination"
SHOWN = 0.05
"""Corrected p below which a difference is called shown."""
LEVELS = (0.5, 0.8)
"""Chances that everything so far is right, of which the horizons H50 and H80 are told."""
OWN = {"fault": "own", "environment": ENVIRONMENTS[0]}
"""The slice of the model's own chains: its own faults, and what its own calls give."""

Cells = Mapping[tuple[object, ...], Mapping[str, Graded]]
"""(arm, family, fault, environment, rate, mitigation, turns) -> trace -> what was asked."""


def cells_of(graded: Sequence[Graded]) -> Cells:
    """What counts, by its condition and its trace."""
    out: dict[tuple[object, ...], dict[str, Graded]] = {}
    for one in graded:
        traits = one.sample.traits
        if one.probe == PROBE and one.counts and "contamination_chain" not in traits:
            names = ("arm", "family", "fault", "environment", "rate", "mitigation", "turns")
            place = tuple(traits.get(f"contamination_{name}", "") for name in names)
            # Two mitigations may leave different numbers of turns; only controls are told apart by it.
            key = place if place[0] == "control" else (*place[:-1], "")
            out.setdefault(key, {})[one.trace] = one
    return out


def control(cells: Cells, family: str = "calls", turns: int = TURNS) -> Mapping[str, Graded]:
    """Histories without a wrong turn."""
    return cells.get(("control", family, "", "", "", "", turns), {})


def at(cells: Cells, fault: str, environment: str, rate: float) -> Mapping[str, Graded]:
    """Histories with a share of wrong turns; at rate 0 the control of the same kind of turns."""
    if rate == 0:
        return control(cells, "answers" if fault in ANSWER_FAULTS else "calls")
    return cells.get(("history", "", fault, environment, rate, "", ""), {})


def rates(cells: Cells) -> Iterator[Reading]:
    """`contamination/ok` and `contamination/slope`."""
    slopes: list[tuple[str, str, Slope]] = []
    for fault in FAULTS:
        for environment in ENVIRONMENTS:
            asked = {rate: at(cells, fault, environment, rate) for rate in (0.0, *RATES[environment])}
            if not any(asked[rate] for rate in RATES[environment]):
                continue
            for rate, found in asked.items():
                yield _share("ok", found, fault=fault, environment=environment, rate=rate)
            points: dict[str, list[tuple[float, float]]] = {}
            for found in asked.values():
                for trace, one in found.items():
                    share = float(one.sample.traits["contamination_share"])
                    points.setdefault(trace, []).append((share, float(one.verdict.ok)))
            if (fitted := slope(points)) is not None:
                slopes.append((fault, environment, fitted))
    for p, (fault, environment, fitted) in zip(holm([s.p for _, _, s in slopes]), slopes, strict=True):
        by = {"fault": fault, "environment": environment, "p": p, "shown": p < SHOWN}
        low, high = (None if end is None else min(1.0, max(-1.0, end)) for end in (fitted.low, fitted.high))
        yield reading(PROBE, "slope", (fitted.value, low, high), fitted.clusters, **by)


def lengths(cells: Cells) -> Iterator[Reading]:
    """`contamination/length` and `contamination/decay`: what a history without a wrong turn does by its length."""
    none = control(cells, turns=0)
    for turns in (0, TURNS, LONG):
        found = control(cells, turns=turns)
        if found:
            yield _share("length", found, turns=turns)
        if found and none and turns:
            yield _gain("decay", found, none, turns=turns)


def mitigations(cells: Cells) -> Iterator[Reading]:
    """`contamination/mitigation`: each against the history as it was, corrected for all of them being looked at.

    `contamination/restored`: against as many right turns; above 0, a shorter history is easier, and nothing was mended.
    """
    found: list[tuple[str, str, Mapping[str, Graded], Mapping[str, Graded], float]] = []
    for fault in MENDED:
        before = at(cells, fault, ENVIRONMENTS[0], 1.0)
        for name in MITIGATIONS:
            after = cells.get(("mended", "", fault, ENVIRONMENTS[0], 1.0, name, ""), {})
            if name == "prune":
                after = {**_emptied(cells, before), **after}
            if after and before:
                both = [t for t in after if t in before]
                p = mcnemar(*discordant([after[t].verdict.ok for t in both], [before[t].verdict.ok for t in both]))
                found.append((fault, name, after, before, p))
    for p, (fault, name, after, before, _) in zip(holm([f[-1] for f in found]), found, strict=True):
        yield _gain("mitigation", after, before, fault=fault, mitigation=name, p=p, shown=p < SHOWN)
        yield _gain("restored", after, control(cells), fault=fault, mitigation=name)


def _emptied(cells: Cells, before: Mapping[str, Graded]) -> Mapping[str, Graded]:
    """What pruning leaves of histories that are wrong throughout: none, which was asked as a control."""
    none = control(cells, turns=0)
    whole = [t for t, one in before.items() if one.sample.traits["contamination_share"] == 1]
    return {trace: none[trace] for trace in whole if trace in none}


def own_chains(graded: Sequence[Graded]) -> Iterator[Reading]:
    """`contamination/survival`, `H50`, `H80`, `step`, `drift` and the `formula` of a constant rate."""
    found = walked(graded)
    lives = [life([_ok(own) for _, own in chain.values()]) for chain in found]
    steps = survival([one for one in lives if one[0] > 0])
    if not steps:
        return
    for step in steps:
        yield reading(PROBE, "survival", (step.value, step.low, step.high), step.at_risk, turn=step.turn, **OWN)
    last = steps[-1].turn
    for level in LEVELS:
        figure = horizon(steps, level)
        beyond = {"beyond": last} if figure[0] is None else {"high_beyond": last} if figure[2] is None else {}
        yield reading(PROBE, f"H{level * 100:.0f}", figure, len(found), **OWN, **beyond)
    yield from _steps(found)
    yield from _formula(found, last)


def _steps(found: Sequence[Chain]) -> Iterator[Reading]:
    points: dict[str, list[tuple[float, float]]] = {}
    for turn in sorted({turn for chain in found for turn in chain}):
        pairs = [chain[turn] for chain in found if turn in chain]
        for arm, rows in (("own", [own for _, own in pairs]), ("alone", [alone for alone, _ in pairs])):
            oks = [ok for row in rows if (ok := _ok(row)) is not None]
            if oks:
                yield reading(PROBE, "step", stats.share(sum(oks), len(oks)), len(oks), turn=turn, arm=arm)
    for number, chain in enumerate(found):
        for turn, (alone, own) in chain.items():
            before, after = _ok(alone), _ok(own)
            if before is not None and after is not None:
                points.setdefault(str(number), []).append((float(turn), float(after) - float(before)))
    if (fitted := slope(points)) is not None:
        yield reading(PROBE, "drift", fitted.figure, fitted.clusters, p=fitted.p, shown=fitted.p < SHOWN)


def _formula(found: Sequence[Chain], last: int) -> Iterator[Reading]:
    """What a constant chance of each turn alone would give: a line of reference, no estimate."""
    oks = [ok for chain in found for alone, _ in chain.values() if (ok := _ok(alone)) is not None]
    p = stats.share(sum(oks), len(oks))
    for turn in range(1, last + 1):
        figure = (_power(p[0], turn), _power(p[1], turn), _power(p[2], turn))
        yield reading(PROBE, "formula", figure, len(oks), turn=turn)
    for level in LEVELS:
        value, low, high = (constant(one, level) for one in p)
        yield reading(PROBE, "formula", (value, low, high), len(oks), level=level)


def _power(p: float | None, turn: int) -> float | None:
    return None if p is None else p**turn


def _ok(one: Graded | None) -> bool | None:
    return one.verdict.ok if one is not None and one.counts else None


def _share(name: str, found: Mapping[str, Graded], **by: str | float) -> Reading:
    oks = [one.verdict.ok for one in found.values()]
    return reading(PROBE, name, stats.share(sum(oks), len(oks)), len(oks), **by)


def _gain(name: str, after: Mapping[str, Graded], before: Mapping[str, Graded], **by: str | float) -> Reading:
    both = [trace for trace in after if trace in before]
    figure = stats.paired_difference([after[t].verdict.ok for t in both], [before[t].verdict.ok for t in both])
    return reading(PROBE, name, figure, len(both), **by)


__all__ = ["LEVELS", "PROBE", "SHOWN", "cells_of", "lengths", "mitigations", "own_chains", "rates"]
