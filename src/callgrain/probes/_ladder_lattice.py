"""The lattice of oracles: right or wrong under every set of them, and what its figures say.

One game a sample: its players are the rungs, a coalition's value is whether the reply is right with those oracles in.
A rung that would change nothing on a sample is a dummy there. Figures are means over samples, so their Shapley values
are means of the samples' own; intervals are over traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from callgrain.core import stats
from callgrain.core.protocols import SubTask
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, reading
from callgrain.probes._ladder_replies import READ, rights
from callgrain.probes._shapley import Figure, paired_means, shapley

PROBE = "ladder"
PROMPT = ("retrieval", "schema", "syntax", "history")
REPLY = ("names", "values", "plan")
RUNGS = (*PROMPT, *REPLY)
"""Bit i of a coalition says whether rung i is in."""
WHOLE = (1 << len(RUNGS)) - 1
BESIDE = ("sham", "pruned")
"""What is asked beside the lattice, as it is but for this: other tools for nothing; no earlier exchange at all."""
NEVER = {"names": frozenset({"values"}), "slots": frozenset({"retrieval"})}
"""Rungs that can change nothing on a sub-task: it asks for no arguments, or is given its functions."""


@dataclass(frozen=True)
class Climb:
    """One sample's game: its value by coalition, what was right beside the lattice, which rungs apply.

    `asked` are the rungs that change its prompt. `how` says what the syntax rung is: `constrained` decoding, or the
    near-miss `recovered` from what was said.
    """

    subtask: str
    trace: str
    game: tuple[bool, ...]
    beside: Mapping[str, bool]
    open: tuple[str, ...]
    asked: tuple[str, ...]
    how: str


def joined(rungs: Sequence[str]) -> str:
    """The name of a set of rungs, in the order of `RUNGS`: `names+values`, and nothing for none of them."""
    return "+".join(rung for rung in RUNGS if rung in rungs)


def bits(rungs: Sequence[str]) -> int:
    """The coalition of these rungs."""
    return sum(1 << i for i, rung in enumerate(RUNGS) if rung in rungs)


def climb(task: SubTask, own: Graded, asked: Mapping[str, Graded], open_rungs: Sequence[str]) -> Climb | None:
    """The game of one sample of the pool; None where one of its prompts has no reply that counts.

    `asked` holds what was asked by the oracles that were in (`joined`). All is judged against the pool's sample:
    a verdict must not hang on which tools were shown.
    """
    constrained = READ in open_rungs
    reply_rungs = REPLY if constrained else (READ, *REPLY)
    place = [RUNGS.index(rung) for rung in reply_rungs]
    prompts = {bits(s): joined(s) for size in range(len(open_rungs) + 1) for s in combinations(open_rungs, size)}
    if any(name not in asked or not asked[name].counts for name in prompts.values()):
        return None
    table = {mask: rights(task, own.sample, asked[name].reply, reply_rungs) for mask, name in prompts.items()}
    could = bits(open_rungs)
    game = tuple(
        table[coalition & could][sum((coalition >> at & 1) << i for i, at in enumerate(place))]
        for coalition in range(WHOLE + 1)
    )
    had = {name: asked[name].reply for name in BESIDE if name in asked and asked[name].counts}
    beside = {name: task.grade(own.sample, reply).ok for name, reply in had.items()}
    never = NEVER.get(own.sample.subtask, frozenset())
    applies = tuple(r for r in RUNGS if (r in open_rungs or r in reply_rungs) and r not in never)
    how = "constrained" if constrained else "recovered"
    return Climb(own.sample.subtask, own.trace, game, beside, applies, tuple(open_rungs), how)


def figures(climbs: Sequence[Climb], subtask: str) -> Iterator[Reading]:
    """Every reading of one sub-task, or of all."""
    import numpy as np

    games, traces = np.asarray([c.game for c in climbs], dtype=float), [c.trace for c in climbs]
    rungs = [r for r in RUNGS if any(r in c.open for c in climbs)]
    at = [RUNGS.index(rung) for rung in rungs]
    n, base = len(climbs), games[:, 0]
    how = {READ: {"how": "+".join(sorted({c.how for c in climbs}))}}
    yield from _rights(games, traces, rungs, subtask)
    lost = games[:, WHOLE] - base
    alone = np.stack([games[:, 1 << i] - base for i in at], axis=1)
    shares = shapley(games)[:, at]
    rows = np.column_stack([lost, shares, alone, lost - alone.sum(axis=1)])
    whole, *rest = paired_means(rows, traces)
    yield reading(PROBE, "lost", _bounded(whole), n, subtask=subtask)
    for name, found in (("shapley", rest[: len(at)]), ("alone", rest[len(at) : -1])):
        for rung, figure in zip(rungs, found, strict=True):
            yield reading(PROBE, name, _bounded(figure), n, subtask=subtask, rung=rung, **how.get(rung, {}))
    yield from _applies(climbs, rungs, subtask)
    yield reading(PROBE, "interaction", rest[-1], n, subtask=subtask)
    yield _left(lost[:, None] - alone, traces, rungs, subtask)
    yield from _beside(climbs, subtask)


def _rights(games: Any, traces: Sequence[str], rungs: Sequence[str], subtask: str) -> Iterator[Reading]:
    """Shares right: as it is, under each oracle, under each pair (over all sub-tasks) and under all."""
    sets: list[tuple[str, ...]] = [(), *((rung,) for rung in rungs)]
    if subtask == "all":
        sets += combinations(rungs, 2)
    for chosen in (*sets, tuple(rungs)):
        hits = [bool(value) for value in games[:, bits(chosen)]]
        yield reading(
            PROBE, "ok", stats.clustered_share(hits, traces), len(hits), subtask=subtask, rungs=joined(chosen)
        )


def _applies(climbs: Sequence[Climb], rungs: Sequence[str], subtask: str) -> Iterator[Reading]:
    """Share of samples whose prompt an oracle changes: `retrieval` is how often a tool that is due was not found."""
    for rung in rungs:
        if rung in PROMPT and any(rung in c.asked for c in climbs):
            hits = [rung in c.asked for c in climbs]
            figure = stats.clustered_share(hits, [c.trace for c in climbs])
            yield reading(PROBE, "applies", figure, len(hits), subtask=subtask, rung=rung)


def _left(gaps: Any, traces: Sequence[str], rungs: Sequence[str], subtask: str) -> Reading:
    """The points that are still lost with the best single oracle in.

    Which is best is read in the same samples: so the interval holds for all rungs together, and its ends are the
    least of theirs.
    """
    found = paired_means(gaps, traces, looks=len(rungs))
    value, best = min((figure[0] or 0.0, i) for i, figure in enumerate(found))
    lows, highs = [f[1] for f in found if f[1] is not None], [f[2] for f in found if f[2] is not None]
    figure = (value, min(lows), min(highs)) if lows and highs else (value, None, None)
    return reading(PROBE, "left", _bounded(figure), len(traces), subtask=subtask, rung=rungs[best])


def _beside(climbs: Sequence[Climb], subtask: str) -> Iterator[Reading]:
    """The control, gain of changing as many tools as the oracle would for nothing; and that of no earlier exchange."""
    for name in BESIDE:
        had = [c for c in climbs if name in c.beside]
        if had:
            gains = [[float(c.beside[name]) - float(c.game[0])] for c in had]
            (figure,) = paired_means(gains, [c.trace for c in had])
            yield reading(PROBE, name, _bounded(figure), len(had), subtask=subtask)


def _bounded(figure: Figure) -> Figure:
    """A gain of shares lies between -1 and 1."""
    value, low, high = figure
    return value, None if low is None else max(-1.0, low), None if high is None else min(1.0, high)


def sample_of(own: Sample, prompt: Any, oracles: str, open_rungs: Sequence[str]) -> Sample:
    """What is asked: the pool's sample with another prompt, and which oracles are in."""
    traits = {**own.traits, "of": own.key, "ladder": oracles, "ladder_open": joined(open_rungs)}
    return own.model_copy(update={"prompt": prompt, "traits": traits})
