"""Shift: twins failed at known rates, a model that always declines, one that reads no descriptions, dragged edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from random import Random

from benchmarks._planting import Covered, Found, Planted, cut, diagnosed, pick, put, questions
from callgrain.core.canonical import text_key
from callgrain.core.types import Fault, Message, Prompt, Reading, Reply, Sample, Verdict
from callgrain.probes._graded import Graded
from callgrain.probes._pool import Pool
from callgrain.probes._shift_edits import Fact, edited_call
from callgrain.probes.metamorphic import Metamorphic
from callgrain.probes.shift import PAIRS, Shift

SOURCE = "toolworld:full"
ORIGINAL = 0.9
"""Right on the originals, of the coverage runs."""
FAILED: Mapping[str, float] = {"deeper": 0.35, "changed_documentation": 0.5, "added": 0.7}
"""Twins that are right less often than their originals, and how often they are right."""
FOLLOWS, STAYS = 0.7, 0.85
"""How often an edited argument follows, and how often nothing else moves."""


def chance(sample: Sample) -> float:
    """Right on every original and on all twins but those that fail."""
    return FAILED.get(str(sample.traits["twin"]), 1.0) if "of" in sample.traits else 1.0


class Declines(Planted):
    """Declines whatever it is asked."""

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """A refusal to each prompt."""
        return [Reply(text="DECLINE", message=Message(text="DECLINE")) for _ in prompts]


class NameReader(Planted):
    """Right, but that of a tool and its double it takes the one whose name comes first, whatever is said of them."""

    def _one(self, prompt: Prompt) -> Reply:
        reply, doubles = super()._one(prompt), self._doubles
        if reply.message is None:
            return reply
        calls = tuple(c.model_copy(update={"name": doubles.get(c.name, c.name)}) for c in reply.message.calls)
        return Reply(text="-", message=reply.message.model_copy(update={"calls": calls}))

    @cached_property
    def _doubles(self) -> dict[str, str]:
        """For each name of a pair of doubles, the name that comes first; made-up names come but once."""
        names: dict[str, set[str]] = {}
        for sample in self._known.values():
            if sample.traits.get("twin") in PAIRS["description"]:
                names.setdefault(str(sample.traits["of"]), set()).update(c.name for c in sample.answer.calls)
        return {name: min(pair) for pair in names.values() for name in pair}


class Drags(Planted):
    """Right on originals; after an edit it keeps the old value, or calls once more, at the planted rates."""

    def _one(self, prompt: Prompt) -> Reply:
        reply = super()._one(prompt)
        sample = next((s for s in self._known.values() if s.prompt == prompt), None)
        if sample is None or "was" not in sample.traits or reply.message is None or not reply.message.calls:
            return reply
        traits, calls = sample.traits, reply.message.calls
        rng = Random(text_key("drags", str(self.seed), sample.key))
        if rng.random() >= FOLLOWS:
            back = Fact(str(traits["change"]).removeprefix("edit_"), str(traits["becomes"]), str(traits["was"]))
            calls = tuple(edited_call(call, back) for call in calls)
        if rng.random() >= STAYS:
            calls = (*calls, calls[0].model_copy(update={"name": f"{calls[0].name}_again", "label": None}))
        return Reply(text="-", message=reply.message.model_copy(update={"calls": calls}))


def plants(quick: bool) -> Iterator[Found]:
    """Planted truths, each with what the probe read."""
    n = 60 if quick else 200
    pool = cut(SOURCE, ("full",), n)
    found = diagnosed(Shift(), "shift", pool, Planted(chance))
    for twin, rate in FAILED.items():
        yield Found(f"right on {twin} in {rate:.0%}", rate, pick(found, "ok", twin=twin))
        yield Found(f"{twin}: lost", rate - 1, pick(found, "difference", twin=twin))
        yield Found(f"{twin}: transfer", rate, pick(found, "transfer", twin=twin))
    shown = sorted(str(r.by["twin"]) for r in found if r.name == "difference" and r.by["shown"])
    yield Found(
        "twins shown to hurt", ", ".join(sorted(FAILED)), Reading(probe="shift", name=", ".join(shown), value=None)
    )
    refusing = diagnosed(Shift(), "shift", pool, Declines(chance))
    yield Found("always declines: no_tool right", 1.0, pick(refusing, "ok", twin="no_tool"))
    yield Found("always declines: tool, mean of both", 0.5, pick(refusing, "balanced", change="tool"))
    yield Found("always declines: tool, both right", 0.0, pick(refusing, "both", change="tool"))
    blind = diagnosed(Shift(), "shift", pool, NameReader(lambda _: 1.0))
    yield Found("reads no descriptions: mean of both", 0.5, pick(blind, "balanced", change="description"))
    yield Found("reads no descriptions: both right", 0.0, pick(blind, "both", change="description"))
    dragged = diagnosed(Metamorphic(), "metamorphic", pool, Drags(lambda _: 1.0))
    yield Found(f"an edit is followed in {FOLLOWS:.0%}", FOLLOWS, pick(dragged, "target", change="edit"))
    yield Found(f"all else stays in {STAYS:.0%}", STAYS, pick(dragged, "collateral", change="edit"))
    yield Found("reorder moves nothing", 1.0, pick(dragged, "collateral", change="reorder"))
    yield Found("always declines: no reference", 0.0, _usable(pool))


def _usable(pool: Pool) -> Reading | None:
    found = Metamorphic().read(put(Declines(chance), questions(Metamorphic(), "metamorphic", pool)))
    return pick(found, "usable", change="reorder")


def coverage(runs: int) -> Iterator[Covered]:
    """Simulated runs: originals right in 90 %, twins by a chance of their own that leans on the original's.

    A twin is right in `after` of the traces whose original is right, and in `else_` of the others.
    """
    asked = questions(Shift(), "shift", cut(SOURCE, ("full",), 200))
    twins = ("added", "changed_documentation", "unit", "no_tool")
    kept = [q for q in asked if q[0] == "subtask" or q[2].traits["twin"] in twins]
    for after, otherwise in ((0.8, 0.3), (0.55, 0.2)):
        truth = ORIGINAL * after + (1 - ORIGINAL) * otherwise
        wanted = {"ok": truth, "transfer": after, "difference": truth - ORIGINAL, "balanced": truth, "procedure": after}
        held = dict.fromkeys(wanted, 0)
        for run in range(runs):
            rows = Shift().read(_drawn(kept, after, otherwise, run))
            for name, value in wanted.items():
                row = pick(rows, name, **_slice(name))
                held[name] += row is not None and _holds(row, value)
        for name, count in held.items():
            yield Covered(f"{name}, transfer {after}", count, runs)


def _slice(name: str) -> dict[str, str]:
    if name == "procedure":
        return {}
    return {"change": "tool"} if name == "balanced" else {"twin": "added"}


def _holds(row: Reading, value: float) -> bool:
    return row.low is not None and row.high is not None and row.low <= value <= row.high


def _drawn(asked: Sequence[tuple[str, str, Sample]], after: float, otherwise: float, seed: int) -> list[Graded]:
    """Verdicts by the toss of a coin, a twin's hanging on its original's."""
    rng = Random(seed)
    oks: dict[str, bool] = {}
    out: list[Graded] = []
    for probe, trace, sample in asked:
        rate = ORIGINAL if probe == "subtask" else after if oks[str(sample.traits["of"])] else otherwise
        is_right = rng.random() < rate
        if probe == "subtask":
            oks[sample.key] = is_right
        verdict = Verdict() if is_right else Verdict(faults=(Fault(kind="wrong_value"),), score=0.0)
        out.append(Graded(sample, Reply(text="-", message=Message(text="-")), verdict, probe, trace))
    return out
