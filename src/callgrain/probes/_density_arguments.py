"""The axes `arguments` and `declared`: one call with many arguments, or with many that are not asked for.

A tool is made for the purpose: it keeps name and description of a gold tool, and takes parameters of other tools
of the pool, with values that these were called with. The request lists the values and nothing else, so the key is
exact and only their number varies. With `arguments`, all N are asked for, and the reply grows with N; with
`declared`, N are declared and two are asked for, and the reply stays as long as it is: what falls there falls by
density alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from callgrain.core.schema import complaint
from callgrain.core.types import Answer, Call, Json, Message, Ref, Sample, Tool, Trace
from callgrain.probes._density_cut import BASES, LOADS, Base, asked, bases, loads_within
from callgrain.probes._density_words import request, sense_and_words
from callgrain.probes._pool import Pool
from callgrain.sources._edits import derived

LONGEST = 40
"""Most characters of a value: the number of arguments is to vary, not how hard each is."""
ASKED = 2
"""Arguments asked for where the number of declared ones varies."""
OTHERS = 7
"""Most other tools of the request's own that stand beside the made one, the same ones at every load: models that
have only ever seen several tools decline a single one."""


@dataclass(frozen=True)
class Wanted:
    """A parameter with its schema and the value that is asked for, what it means and how it is asked for."""

    name: str
    schema: Mapping[str, Json]
    value: Json
    sense: str
    words: str


def arguments_axis(pool: Pool, rng: Random) -> Iterator[Sample]:
    """Up to `BASES` requests at every load: all N arguments of one call."""
    for base, load, wanted in _requests(pool, rng, "arguments"):
        listed = rng.sample(wanted[:load], load)
        trace = _made(base, listed, listed, rng)
        places = {one.name: place for place, one in enumerate(listed)}
        order = " ".join(str(places[name]) for name in sorted(places))
        yield from asked(trace, base, "arguments", load, density_order=order)


def declared_axis(pool: Pool, rng: Random) -> Iterator[Sample]:
    """Up to `BASES` requests at every load: two arguments of one call whose tool declares N."""
    for base, load, wanted in _requests(pool, rng, "declared"):
        trace = _made(base, wanted[:ASKED], wanted[:load], rng)
        yield from asked(trace, base, "declared", load)


def _requests(pool: Pool, rng: Random, axis: str) -> list[tuple[Base, int, list[Wanted]]]:
    """(base, load, all that is wanted of it at most), by load; the same bases at every load."""
    stock = _stock(pool.traces.values())
    kept = [(base, _wanted(base, stock, rng)) for base in bases(pool, rng)[:BASES]]
    loads = loads_within(axis, (len(wanted) for _, wanted in kept))
    enough = [(base, wanted) for base, wanted in kept if loads and len(wanted) >= loads[-1]]
    return [(base, load, wanted) for load in loads for base, wanted in enough]


def _stock(traces: Iterable[Trace]) -> dict[str, list[Wanted]]:
    """Plain arguments of the pool's own gold calls, by parameter."""
    found: dict[str, dict[str, Wanted]] = {}
    for trace in traces:
        for call in trace.gold.calls:
            for one in _plain(trace, call):
                found.setdefault(one.name, {}).setdefault(repr(one.value), one)
    return {name: list(values.values()) for name, values in sorted(found.items())}


def _plain(trace: Trace, call: Call) -> Iterator[Wanted]:
    """Arguments whose value can be listed as it stands: short words and numbers that fit a schema of their own."""
    tool = next((t for t in trace.tools if t.name == call.name), None)
    for name, value in call.arguments.items() if tool else ():
        schema = tool.properties.get(name) if tool else None
        if not isinstance(schema, dict) or "$ref" in repr(schema) or "\n" in name:
            continue
        kept = {k: v for k, v in cast(dict[str, Any], schema).items() if k != "default"}
        if kept.get("type") in ("string", "integer", "number") and _is_sayable(value) and not complaint(kept, value):
            yield Wanted(name, kept, value, *sense_and_words(trace, call, name, value))


def _is_sayable(value: Json) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    text = str(value)
    return 0 < len(text) <= LONGEST and text.strip() == text and text.isprintable() and Ref.read(value) is None


def _wanted(base: Base, stock: Mapping[str, Sequence[Wanted]], rng: Random) -> list[Wanted]:
    """The base's own arguments first, then others of the pool; no name or sense twice, no value where that can be."""
    out: list[Wanted] = []
    own = list(_plain(base.trace, base.trace.gold.calls[0]))
    taken: set[str] = set()
    for choice in ([one] for one in own):
        out += _untaken(choice, taken, rng)
    for name in rng.sample(list(stock), len(stock)):
        if len(out) >= LOADS["arguments"][-1]:
            break
        out += _untaken(stock[name], taken, rng)
    return out


def _untaken(choice: Sequence[Wanted], taken: set[str], rng: Random) -> list[Wanted]:
    """One of the choice, added to what is taken; none where its name or its sense is."""
    free = [one for one in choice if not {f"name {one.name.lower()}", f"sense {one.sense}"} & taken]
    if not free:
        return []
    one = rng.choice([one for one in free if f"value {one.value}" not in taken] or free)
    taken |= {f"name {one.name.lower()}", f"sense {one.sense}", f"value {one.value}"}
    return [one]


def _beside(trace: Trace, made: Tool) -> tuple[Tool, ...]:
    """The made tool in the place of the one whose name it has, among the first of the trace's others."""
    others = [t.name for t in trace.tools if t.name != made.name][:OTHERS]
    return tuple(made if t.name == made.name else t for t in trace.tools if t.name == made.name or t.name in others)


def _made(base: Base, listed: Sequence[Wanted], declared: Sequence[Wanted], rng: Random) -> Trace:
    """The trace that asks for `listed` of a tool that takes `declared`, in an order of its own."""
    trace, call = base.trace, base.trace.gold.calls[0]
    own = next(t for t in trace.tools if t.name == call.name)
    order = rng.sample(list(declared), len(declared))
    required = {one.name for one in listed}
    parameters: dict[str, Json] = {
        "type": "object",
        "properties": {one.name: dict(one.schema) for one in order},
        "required": [one.name for one in order if one.name in required],
    }
    tool = Tool(name=call.name, description=own.description, parameters=parameters)
    system = tuple(m for m in trace.messages if m.role == "system")
    said = request(trace, call, [one.words for one in listed])
    return derived(
        trace,
        "density",
        tools=_beside(trace, tool),
        messages=(*system, Message(role="user", text=said)),
        gold=Answer(calls=(Call(name=call.name, arguments={one.name: one.value for one in listed}),)),
        results=(),
        reply="",
    )
