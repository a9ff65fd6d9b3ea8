"""Replies of the density probe as plain trials: right or not, failed in what way, and which requirement where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from callgrain.core.canonical import canonical
from callgrain.core.types import Fault
from callgrain.probes._graded import Graded
from callgrain.verify.faults import at_levels
from callgrain.verify.key import pair

TYPES = ("omission", "modification", "commission", "form")
"""Left out; there but wrong; too much; and what cannot be read as calls at all."""
OMITTED = frozenset({"missed_call", "needless_question", "missing_call", "missing_argument"})
ADDED = frozenset({"needless_call", "extra_call", "unknown_argument", "ungrounded_value"})
ROOM = 1.25
"""A reply as long as its answer's JSON and a quarter more had room for the answer."""


@dataclass(frozen=True)
class Met:
    """One requirement: its place among those of its request, from 0 (first) to 1 (last), and whether it was met."""

    place: float
    ok: bool


@dataclass(frozen=True)
class Trial:
    """One reply at one load. `size` is the right answer's length in characters of JSON."""

    axis: str
    load: int
    trace: str
    ok: bool
    types: frozenset[str] = frozenset()
    met: tuple[Met, ...] = ()
    size: int = 1
    is_cut_off: bool = False
    is_answered: bool = True


def trials(graded: Iterable[Graded], probe: str = "density") -> list[Trial]:
    """Everything that the probe asked."""
    return [_trial(g) for g in graded if g.probe == probe and "density_axis" in g.sample.traits]


def _trial(item: Graded) -> Trial:
    traits, calls = item.sample.traits, item.sample.answer.calls
    size = len(canonical([{"name": c.name, "arguments": c.arguments} for c in calls]))
    faults = item.verdict.faults
    return Trial(
        axis=str(traits["density_axis"]),
        load=int(traits["density_load"]),
        trace=item.trace or str(traits.get("of", "")),
        ok=item.verdict.ok,
        types=frozenset(type_of(fault) for fault in faults),
        met=tuple(_met(item)) if item.counts else (),
        size=size,
        is_cut_off=any(f.kind == "truncated" for f in faults) and len(item.reply.text) < ROOM * size,
        is_answered=item.counts,
    )


def type_of(fault: Fault) -> str:
    """Omission, modification, commission, or form."""
    if fault.kind in at_levels("form"):
        return "form"
    if fault.kind in OMITTED:
        return "omission"
    if fault.kind in ADDED or (fault.kind == "unknown_tool" and not fault.where.endswith(".name")):
        return "commission"
    return "modification"


def _met(item: Graded) -> Iterator[Met]:
    """Each requirement of the request with its place; none where there is but one, which has no place."""
    traits, load = item.sample.traits, int(item.sample.traits["density_load"])
    if load < 2:
        yield from ()
    elif traits["density_axis"] == "tools":
        yield Met(int(traits["density_place"]) / (load - 1), item.verdict.ok)
    elif traits["density_axis"] == "arguments":
        oks = _arguments_met(item)
        places = [int(place) for place in str(traits["density_order"]).split()]
        for place, ok in zip(places, oks, strict=True):
            yield Met(place / (load - 1), ok)
    elif traits["density_axis"] == "calls":
        for place, ok in enumerate(_calls_met(item)):
            yield Met(place / (load - 1), ok)


def _arguments_met(item: Graded) -> list[bool]:
    """Whether each argument, by name, is given and right; none is where its call is not the right one."""
    names = sorted(item.sample.answer.calls[0].arguments)
    if item.verdict.ok:
        return [True] * len(names)
    faults = item.verdict.faults
    if item.reply.message is None or not item.reply.message.calls:
        return [False] * len(names)
    if any(f.kind == "missing_call" or f.where.endswith((".name", ".arguments")) for f in faults):
        return [False] * len(names)
    wrong = {f.where.partition(".arguments.")[2] for f in faults}
    return [name not in wrong for name in names]


def _calls_met(item: Graded) -> list[bool]:
    """Whether each call, in the order of the request, is there and right in every part."""
    calls = item.sample.answer.calls
    if item.verdict.ok:
        return [True] * len(calls)
    given: Sequence[object] = item.reply.message.calls if item.reply.message is not None else ()
    if item.reply.message is None or not given:
        return [False] * len(calls)
    wrong = {f.where.split(".")[1] for f in item.verdict.faults if f.kind != "missing_call" and f.where.count(".")}
    found = pair(item.sample.answer, item.reply.message.calls, item.sample.prompt.tools)
    partner = dict(found.pairs)
    return [i in partner and str(partner[i]) not in wrong for i in range(len(calls))]
