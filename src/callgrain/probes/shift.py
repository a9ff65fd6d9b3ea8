"""Does what it learned carry over to the least different task?

Each twin differs from a trace of the pool in one thing, and its right answer is known for certain. The original is
the pool's own sample, so every difference is paired. Twins that take something away (declining or asking is right)
are asked with their opposites about the same traces where both can be made: whoever always declines is right on half
of such a pair, and no more. Idea of the paired removal: Bernier et al. (arXiv 2603.23004), grids with one element
less; nobody reports it for tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from callgrain.core import significance, stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample, Trace
from callgrain.probes import _shift_documents as documents
from callgrain.probes import _shift_twins as twins
from callgrain.probes._graded import Graded, grouped, reading, subtask_of
from callgrain.probes._pool import Pool
from callgrain.probes._shift_deeper import deeper
from callgrain.sources import _pool as shown
from callgrain.sources._wrapping import SkipError
from callgrain.subtasks._cut import is_nested
from callgrain.verify.spoil import right

Make = Callable[[Trace, shown.Pool, Random], Trace]
Made = tuple[str, Sample]
"""(name of the twin, what is asked)."""

MOST: Mapping[str, int] = {"full": 40, "names": 20, "slots": 20}
"""Most pairs of a twin, by sub-task: 40 pairs show a loss of about 25 points; the grains only place it."""
SCAN = 4
"""Traces that are looked at for each pair wanted."""
WORDINGS = 24
"""Draws until a twin has its original's instruction: a sub-task has a few wordings."""
LEVEL = 0.05
"""Corrected p below which a difference is called shown."""
DISCORDANT = 0.25
"""Share of pairs that are right on one side only, where a pool shows none, for how many pairs would be needed."""
GAP = 0.1
"""The difference that would be worth seeing."""

PAIRS: Mapping[str, tuple[str, str]] = {
    "tool": ("no_tool", "added"),
    "parameter": ("no_value", "one_more_parameter"),
    "step": ("shorter", "deeper"),
    "description": ("unswapped", "swapped_descriptions"),
}
"""Twins that are asked about the same traces: one thing less and one more; two descriptions, and those exchanged."""
MAKERS: Mapping[str, Make] = {
    "no_tool": twins.no_tool,
    "added": twins.added,
    "no_value": twins.no_value,
    "one_more_parameter": twins.one_more_parameter,
    "shorter": twins.shorter,
    "deeper": deeper,
    "unswapped": documents.unswapped,
    "swapped_descriptions": documents.swapped_descriptions,
    "rename": twins.rename,
    "respell": twins.respell,
    "reword": twins.reword,
    "reorder": twins.reorder,
    "changed_documentation": documents.changed_documentation,
    "unit": documents.unit,
}
TOUCHES: Mapping[str, frozenset[str]] = {
    "full": frozenset(MAKERS),
    "names": frozenset({"added", "rename", "respell", "unswapped", "swapped_descriptions"}),
    "slots": frozenset({"one_more_parameter", "rename", "respell", "changed_documentation", "unit"}),
}
"""Twins of each sub-task: all of the whole, of the grains those that touch nothing else."""


class Shift:
    """Twins of the pool's traces; asks about 40 prompts for each of 14 twins, and 20 for each of 5 on a grain."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """The twins, each with the pool's sample that it is of (`of`) and its name (`twin`)."""
        if not isinstance(pool, Pool):
            return
        others = shown.Pool(tool for trace in pool.traces.values() for tool in trace.tools)
        rows = [(pool.traces[key], sample) for key, sample in pool.rows if key in pool.traces]
        for subtask, most in MOST.items():
            of = [(t, s) for t, s in rows if s.subtask == subtask and _has_twins(t, s)][: SCAN * most]
            workshop = _Workshop(subtask, others, rng.getrandbits(32))
            pairs = [names for names in PAIRS.values() if set(names) <= TOUCHES[subtask]]
            alone = [(name,) for name in MAKERS if name in TOUCHES[subtask] and not any(name in p for p in pairs)]
            for names in [*pairs, *alone]:
                yield from workshop.made(names, of, most)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `shift/ok`, `original`, `transfer`, `difference` by twin, `balanced` and `both` by change.

        All by sub-task. `difference` carries `p` (McNemar, corrected by Holm over the twins of its sub-task), `shown`,
        and where it is not shown how many pairs would show ten points (`needed`).
        """
        originals = {g.sample.key: g for g in graded if g.probe == "subtask" and g.counts}
        pairs = [
            Paired(g, originals[of])
            for g in graded
            if g.probe == "shift" and g.counts and (of := str(g.sample.traits["of"])) in originals
        ]
        by_subtask = grouped(pairs, lambda pair: pair.twin.sample.subtask)
        return [r for name in MOST if name in by_subtask for r in _readings(name, by_subtask[name])]


def _has_twins(trace: Trace, sample: Sample) -> bool:
    """Whether calls are due; of a nested trace a grain asks for one call, which one being drawn by lot."""
    return sample.answer.decision == "call" and (sample.subtask != "slots" or not is_nested(trace.gold.calls))


@dataclass(frozen=True)
class Paired:
    """A twin and its original, both judged."""

    twin: Graded
    original: Graded

    @property
    def name(self) -> str:
        """Which twin."""
        return str(self.twin.sample.traits["twin"])


@dataclass(frozen=True)
class _Workshop:
    """Makes the twins of one sub-task."""

    subtask: str
    others: shown.Pool
    seed: int

    def made(self, names: Sequence[str], of: Sequence[tuple[Trace, Sample]], most: int) -> Iterator[Sample]:
        """At most `most` of each twin; traces first of which all of them can be made."""
        found: list[list[Sample]] = []
        whole = 0
        for trace, base in of:
            found.append([sample for name in names if (sample := self._one(name, trace, base)) is not None])
            whole += len(found[-1]) == len(names)
            if whole == most:
                break
        left = dict.fromkeys(names, most)
        for sample in (sample for family in sorted(found, key=len, reverse=True) for sample in family):
            name = str(sample.traits["twin"])
            left[name] -= 1
            if left[name] >= 0:
                yield sample

    def _one(self, name: str, trace: Trace, base: Sample) -> Sample | None:
        """The twin's sample, put as its original is; None where there is none whose own key is right on it."""
        try:
            twin = MAKERS[name](trace, self.others, Random(text_key(name, str(self.seed), trace.key)))
        except (SkipError, RecursionError):  # nested too deeply, as the wrapping sources have it
            return None
        task, wanted = subtask_of(self.subtask), _instruction(base)
        for number in range(WORDINGS):
            sample = next(iter(task.samples(twin, Random(number))), None)
            if sample is None or sample.prompt == base.prompt:
                return None
            if _instruction(sample) == wanted:
                is_sound = task.grade(sample, right(sample)).ok
                traits = {**sample.traits, "twin": name, "of": base.key}
                return sample.model_copy(update={"traits": traits}) if is_sound else None
        return None


def _instruction(sample: Sample) -> str:
    """What the sub-task asks for, behind whatever the trace's own system turn says."""
    return sample.prompt.messages[0].text.rpartition("\n\n")[2]


def _readings(subtask: str, pairs: Sequence[Paired]) -> list[Reading]:
    """All readings of one sub-task."""
    groups = grouped(pairs, lambda pair: pair.name)
    by_twin = {name: groups[name] for name in MAKERS if name in groups}
    corrected = significance.holm([_p(found) for found in by_twin.values()])
    out: list[Reading] = []
    for (name, found), p in zip(by_twin.items(), corrected, strict=True):
        out += _of_twin(subtask, name, found, p)
    for change, names in PAIRS.items():
        out += _of_change(subtask, change, [by_twin.get(name, []) for name in names])
    held = [pair for pair in pairs if pair.original.verdict.ok]
    figure = stats.clustered_share([pair.twin.verdict.ok for pair in held], [pair.twin.trace for pair in held])
    return [*out, reading("shift", "procedure", figure, len(held), subtask=subtask)]


def _p(pairs: Sequence[Paired]) -> float:
    return significance.mcnemar(*_turned(pairs))


def _turned(pairs: Sequence[Paired]) -> tuple[int, int]:
    """How many twins are right whose original is not, and how many the other way about."""
    return significance.discordant([p.twin.verdict.ok for p in pairs], [p.original.verdict.ok for p in pairs])


def _of_twin(subtask: str, twin: str, pairs: Sequence[Paired], p: float) -> Iterator[Reading]:
    after, before = [pair.twin.verdict.ok for pair in pairs], [pair.original.verdict.ok for pair in pairs]
    held = [now for now, then in zip(after, before, strict=True) if then]
    n, by = len(pairs), {"twin": twin, "subtask": subtask}
    yield reading("shift", "ok", stats.share(sum(after), n), n, **by)
    yield reading("shift", "original", stats.share(sum(before), n), n, **by)
    yield reading("shift", "transfer", stats.share(sum(held), len(held)), len(held), **by)
    is_shown = p < LEVEL
    tested = {"p": p, "shown": is_shown} | ({} if is_shown else {"needed": _needed(pairs)})
    yield reading("shift", "difference", stats.paired_difference(after, before), n, **by, **tested)


def _needed(pairs: Sequence[Paired]) -> int:
    """Pairs that would show a difference of `GAP`, at the share of discordant pairs that there is."""
    found = sum(_turned(pairs)) / len(pairs)
    return significance.n_paired(GAP, max(found, GAP) if found else DISCORDANT)


def _of_change(subtask: str, change: str, sides: Sequence[Sequence[Paired]]) -> Iterator[Reading]:
    """What is right of both twins of a change, on the traces that have both."""
    one, other = ({pair.original.sample.key: pair for pair in side} for side in sides)
    both = [(one[key], other[key]) for key in one if key in other]
    if not both:
        return
    by = {"change": change, "subtask": subtask, "twins": " + ".join(PAIRS[change])}
    oks = [pair.twin.verdict.ok for family in both for pair in family]
    clusters = [pair.original.sample.key for family in both for pair in family]
    yield reading("shift", "balanced", stats.clustered_share(oks, clusters), len(both), **by)
    whole = sum(all(pair.twin.verdict.ok for pair in family) for family in both)
    yield reading("shift", "both", stats.share(whole, len(both)), len(both), **by)


plugin = Shift
