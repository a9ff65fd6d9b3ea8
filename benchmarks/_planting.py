"""Models whose weaknesses are known, and what a probe makes of them.

`Planted` answers as a text model does: right, or spoiled in the way and at the rate that was planted for that very
sample; its replies go through the verifier. `simulate` draws verdicts instead, for a thousand runs in a minute.
A file `benchmarks/_plants_<probe>.py` has `plants(quick)`, yielding `Found`, and `coverage(runs)`, yielding `Covered`;
`python -m benchmarks.recovery [PROBE ...] [--quick]` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from callgrain.core.protocols import Follows, Probe
from callgrain.core.types import Fault, Message, Reading, Reply, Sample, Verdict
from callgrain.models.scripted import Scripted
from callgrain.probes._graded import Graded, subtask_of
from callgrain.probes._pool import Abilities, Pool, draw
from callgrain.sources._open import open_source
from callgrain.verify.spoil import kinds_on, right, spoil

Chance = Callable[[Sample], float | Mapping[str, float]]
"""Probability of being right on a sample; or of each fault kind, by kind."""


@dataclass(frozen=True)
class Found:
    """One planted truth, and what a probe read."""

    state: str
    planted: float | str
    reading: Reading | None

    @property
    def is_held(self) -> bool | None:
        """Whether the interval holds what was planted; None where there is no interval, or no number."""
        row = self.reading
        if row is None or row.low is None or row.high is None or isinstance(self.planted, str):
            return None
        return row.low <= self.planted <= row.high


@dataclass(frozen=True)
class Covered:
    """How often an interval held the truth over simulated runs; 93 to 97 % is wanted of a 95 % interval."""

    figure: str
    held: int
    runs: int


class Planted(Scripted):
    """A text model that is wrong exactly as often as planted; told the answers by `rehearse`, like any double."""

    def __init__(self, chance: Chance, seed: int = 0) -> None:
        super().__init__(f"seed={seed}")
        self.name, self.chance = "planted", chance

    def reply(self, sample: Sample, rng: Random) -> Reply:
        """Right, or spoiled by one of the kinds that can be made here, at their rates."""
        point = rng.random()
        kinds = kinds_on(sample, sorted(subtask_of(sample.subtask).kinds))
        for kind, rate in _rates(self.chance(sample), kinds).items():
            if point < rate:
                return spoil(kind, sample, rng) or right(sample)
            point -= rate
        return right(sample)


def _rates(chance: float | Mapping[str, float], kinds: Sequence[str]) -> dict[str, float]:
    if isinstance(chance, Mapping):
        return {kind: rate for kind, rate in chance.items() if kind in kinds}
    return {kind: (1 - chance) / len(kinds) for kind in kinds}


def simulate(samples: Iterable[tuple[str, str, Sample]], chance: Chance, seed: int) -> list[Graded]:
    """(probe, trace, sample) judged by the toss of a coin: no text, no verifier.

    The message of a simulated reply is empty; a probe that reads replies needs `Planted`.
    """
    rng = Random(seed)
    out: list[Graded] = []
    for probe, trace, sample in samples:
        found = chance(sample)
        rates = found if isinstance(found, Mapping) else {"wrong_value": 1 - found}
        point, kind = rng.random(), ""
        for name, rate in rates.items():
            if point < rate:
                kind = name
                break
            point -= rate
        verdict = Verdict(faults=(Fault(kind=kind),), score=0.0) if kind else Verdict()
        out.append(Graded(sample, Reply(text="-", message=Message(text="-")), verdict, probe, trace))
    return out


def cut(source: str, subtasks: Sequence[str], n: int, seed: int = 0, **able: Any) -> Pool:
    """The pool of a diagnosis, with its traces; `able` are fields of Abilities."""
    opened, split = open_source(source)
    return replace(draw(opened.traces(split), subtasks, n, seed), abilities=Abilities(**able))


def questions(probe: Probe, name: str, pool: Pool, seed: int = 0) -> list[tuple[str, str, Sample]]:
    """(probe, trace, sample) of the pool and of what the probe asks at first."""
    behind = {sample.key: trace for trace, sample in pool.rows}
    own = probe.samples(pool, Random(seed))
    return [
        *(("subtask", trace, sample) for trace, sample in pool.rows),
        *((name, behind.get(str(s.traits.get("of", "")), ""), s) for s in own),
    ]


def put(model: Planted, asked: Sequence[tuple[str, str, Sample]]) -> list[Graded]:
    """Every question answered by the double and judged by the verifier."""
    model.rehearse([s for _, _, s in asked if "control" not in s.traits])
    replies = model.answer([s.prompt for _, _, s in asked])
    return [
        Graded(sample, reply, subtask_of(sample.subtask).grade(sample, reply), probe, trace)
        for (probe, trace, sample), reply in zip(asked, replies, strict=True)
    ]


def diagnosed(probe: Probe, name: str, pool: Pool, model: Planted) -> list[Reading]:
    """What the probe reads of the double, every round asked."""
    graded = put(model, questions(probe, name, pool))
    while isinstance(probe, Follows):
        known = {g.sample.key for g in graded}
        more = {s.key: s for s in probe.follow(graded) if s.key not in known}
        if not more:
            break
        behind = {g.sample.key: g.trace for g in graded}
        graded += put(model, [(name, behind.get(str(s.traits.get("of", "")), ""), s) for s in more.values()])
    return probe.read(graded)


def pick(readings: Iterable[Reading], name: str, **by: object) -> Reading | None:
    """The first reading of that name whose slice holds all of `by`."""
    return next((r for r in readings if r.name == name and all(r.by.get(k) == v for k, v in by.items())), None)


__all__ = [
    "Abilities", "Covered", "Found", "Planted", "cut", "diagnosed", "pick", "put", "questions", "simulate",
]  # fmt: skip
