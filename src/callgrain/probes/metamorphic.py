"""Does the reply change when it must, and only where it must? No key.

The model's own reply to the original is the reference, so any catalogue will do, the user's own among them
(`synthetic:CATALOGUE`). Nothing here reads what is right. Four changes must leave every call as it was; an edit of one
fact in the request must move the argument that held it and nothing else (metamorphic testing; target accuracy
and collateral stability of an edit, as for a model's weights).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample, Trace
from callgrain.probes._graded import Graded, grouped, reading, subtask_of
from callgrain.probes._pool import Pool
from callgrain.probes._shift_edits import INVARIANCES, KINDS, Fact, edited, facts
from callgrain.probes._shift_same import calls_of, is_same, leaves_of, moved
from callgrain.sources import _pool as shown
from callgrain.sources._wrapping import SkipError

SUBTASK = "full"
"""The sub-task that is asked: its prompt hangs on the request and the tools alone."""
MOST = 40
"""Samples of the pool that are changed."""
EDITS = 2
"""Most facts of one request that are edited, one at a time."""


class Metamorphic:
    """Invariances and directed edits; asks about 6 prompts for each of at most 40 samples of `full`."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Each sample changed (`change`) in up to six ways; an edited fact is in `was` and `becomes`."""
        del rng  # drawn from the prompt alone: nothing may hang on the key
        if not isinstance(pool, Pool):
            return
        rows = [(pool.traces[key], s) for key, s in pool.rows if s.subtask == SUBTASK and key in pool.traces][:MOST]
        others = shown.Pool(tool for trace, _ in rows for tool in trace.tools)
        used: Counter[str] = Counter()
        for trace, base in rows:
            for name, change in INVARIANCES.items():
                try:
                    yield from _asked(change(trace, others, _random(name, base)), base, change=name)
                except (SkipError, RecursionError):  # nested too deeply, as the wrapping sources have it
                    continue
            found = facts(trace, _random("facts", base))
            for kind in sorted(found, key=lambda kind: (used[kind], KINDS.index(kind)))[:EDITS]:
                used[kind] += 1
                fact = found[kind]
                traits = {"change": f"edit_{kind}", "was": fact.was, "becomes": fact.becomes}
                yield from _asked(edited(trace, fact), base, **traits)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `shift/target`, `shift/collateral` and `shift/usable` by change, and `shift/chance`.

        `usable` is the share of changed samples whose original reply can serve as a reference: it calls something, and
        for an edit holds the fact. `chance` says how often two samples that have nothing in common got the same calls.
        """
        originals = {g.sample.key: g for g in graded if g.probe == "subtask" and g.reply.failure is None}
        asked = [g for g in graded if g.probe == "metamorphic" and g.reply.failure is None]
        pairs = [(g, originals[of]) for g in asked if (of := str(g.sample.traits["of"])) in originals]
        by_change = grouped(pairs, lambda pair: str(pair[0].sample.traits["change"]))
        edits = [pair for name, found in by_change.items() if name.startswith("edit_") for pair in found]
        out = [r for name in INVARIANCES if name in by_change for r in _invariance(name, by_change[name])]
        for kind in KINDS:
            out += _edit(f"edit_{kind}", by_change.get(f"edit_{kind}", []))
        return [*out, *_edit("edit", edits), *_chance([original for _, original in pairs])]


def _random(name: str, base: Sample) -> Random:
    return Random(text_key("metamorphic", name, base.prompt.key))


def _asked(trace: Trace, base: Sample, **traits: str) -> Iterator[Sample]:
    for sample in subtask_of(SUBTASK).samples(trace, Random(0)):
        if sample.prompt != base.prompt:
            yield sample.model_copy(update={"traits": {**sample.traits, **traits, "of": base.key}})


Pair = tuple[Graded, Graded]


def _invariance(change: str, pairs: Sequence[Pair]) -> Iterator[Reading]:
    usable = [pair for pair in pairs if calls_of(pair[1].reply)]
    yield _usable(change, "invariance", len(usable), pairs)
    same = [is_same((g.sample, g.reply), (old.sample, old.reply)) for g, old in usable]
    yield _share("collateral", same, usable, change=change, relation="invariance")


def _edit(change: str, pairs: Sequence[Pair]) -> Iterator[Reading]:
    if not pairs:
        return
    found = [(pair, how) for pair in pairs if (how := _how(*pair)) is not None]
    kept = [pair for pair, _ in found]
    yield _usable(change, "edit", len(kept), pairs)
    yield _share("target", [hit for _, (hit, _) in found], kept, change=change, relation="edit")
    yield _share("collateral", [stayed for _, (_, stayed) in found], kept, change=change, relation="edit")


def _how(changed: Graded, original: Graded) -> tuple[bool, bool] | None:
    traits = changed.sample.traits
    fact = Fact(str(traits["change"]).removeprefix("edit_"), str(traits["was"]), str(traits["becomes"]))
    return moved(changed.reply, original.reply, fact, changed.sample.prompt.tools)


def _share(name: str, hits: Sequence[bool], pairs: Sequence[Pair], **by: str) -> Reading:
    return reading("shift", name, stats.clustered_share(hits, [_cluster(g) for g, _ in pairs]), len(hits), **by)


def _usable(change: str, relation: str, usable: int, pairs: Sequence[Pair]) -> Reading:
    return reading("shift", "usable", stats.share(usable, len(pairs)), len(pairs), change=change, relation=relation)


def _cluster(item: Graded) -> str:
    return item.trace or str(item.sample.traits["of"])


def _chance(originals: Sequence[Graded]) -> Iterator[Reading]:
    """How often a reply makes the calls of the next sample's: what one who always says the same would have."""
    once = [g for g in {g.sample.key: g for g in originals}.values() if calls_of(g.reply)]
    if len(once) > 1:
        found = [leaves_of(calls_of(g.reply), g.sample.prompt.tools) for g in once]
        same = [one == other for one, other in zip(found, [*found[1:], found[0]], strict=True)]
        yield reading("shift", "chance", stats.share(sum(same), len(same)), len(same))


plugin = Metamorphic
