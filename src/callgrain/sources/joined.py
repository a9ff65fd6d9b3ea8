"""Parallel calls: requests of a source joined, their calls in any order.

`joined,n=3,seed=0,same=0.3:SOURCE` joins 2 to `n` single requests of one split into one turn. Public sets hold
next to no parallel calls, so they are made as MixSNIPS makes them; `same` is the share of joins in which the same
function is sought for every call (where a block of the source holds no second request for it, another joins).
A conversation in which nothing has been called yet is taken as the user's own words, where these hold every
value. No two calls of a join are equal, and tools that share a name share their schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from callgrain.core.errors import BadInput
from callgrain.core.types import Accept, Call, Message, Result, Tool, Trace
from callgrain.sources._edits import check_gold, derived, is_independent, is_said, joined_origin, user_words
from callgrain.sources._joined_words import request
from callgrain.sources._wrapping import Grouping, SkipError
from callgrain.tools._execute import outcome
from callgrain.verify.facts import states, tokens

MOST = 8
"""Most calls of a join."""
TOOLS = 64
"""Most tools that are shown with a join."""


class Joined(Grouping):
    """Requests joined; `skipped` counts Traces that cannot be, and those that were left over."""

    name = "joined"
    options: ClassVar[dict[str, object]] = {"n": 3, "seed": 0, "same": 0.3}
    block = 192
    width = 96

    def __init__(self, rest: str, n: int = 3, seed: int = 0, same: float = 0.3) -> None:
        if not 2 <= n <= MOST:
            raise BadInput(f"joined: n={n} is out of range", f"write n=2 to n={MOST}")
        if not 0 <= same <= 1:
            raise BadInput(f"joined: same={same} is no share", "write same=0 to same=1")
        super().__init__(rest, seed)
        self.n, self.same = n, same

    def group(self, split: str, traces: Sequence[Trace], rng: Random) -> Iterator[Trace]:
        """Joins of a block: every Trace is in one of them at most."""
        del split
        waiting = [part for trace in traces if (part := self._part(trace)) is not None]
        rng.shuffle(waiting)
        while waiting:
            chosen = [waiting.pop()]
            size, same = rng.randint(2, self.n), rng.random() < self.same
            for only_same in (True, False) if same else (False,):
                places = range(len(waiting) - 1, -1, -1) if len(chosen) == 1 else ()
                for place in places:
                    other = waiting[place]
                    alike = {c.name for c in other.gold.calls} == {c.name for c in chosen[0].gold.calls}
                    if (alike or not only_same) and (same or not alike) and agree(chosen, other):
                        chosen.append(waiting.pop(place))
                        if len(chosen) == size:
                            break
            if len(chosen) > 1:
                yield joint(chosen, rng)
            else:
                self.skipped["left over"] += 1

    def _part(self, trace: Trace) -> Trace | None:
        try:
            return part(trace)
        except SkipError as reason:
            self.skipped[str(reason)] += 1
            return None


def part(trace: Trace) -> Trace:
    """The trace as one request that stands for itself. Raises SkipError."""
    check_gold(trace)
    if not is_independent(trace.gold):
        raise SkipError("its calls wait for each other")
    if trace.gold.instead:
        raise SkipError("another answer is right too")
    if any(m.calls or m.results for m in trace.messages):
        raise SkipError("something was called before")
    system = [m for m in trace.messages if m.role == "system"]
    if len(trace.messages) - len(system) == 1:
        return trace
    said = user_words(trace.messages)
    for index, call in enumerate(trace.gold.calls):
        for name, value in call.arguments.items():
            forms = trace.gold.accepts.get(f"{index}.{name}", Accept()).values
            if not any(is_said(form, said) for form in (value, *forms)):
                raise SkipError("a value that the user did not say")
    messages = (*system, Message(role="user", text=" ".join(said.split("\n"))))
    return trace.model_copy(update={"messages": messages, "traits": {**trace.traits, "flattened": True}})


def agree(chosen: Sequence[Trace], other: Trace) -> bool:
    """Whether `other` can stand beside `chosen`: tools, calls, system turn and world."""
    known = {tool.name: tool for trace in chosen for tool in trace.tools}
    if len(known) + sum(tool.name not in known for tool in other.tools) > TOOLS:
        return False
    if any(not _same_tool(known[tool.name], tool) for tool in other.tools if tool.name in known):
        return False
    calls = [call for trace in chosen for call in trace.gold.calls]
    if len(calls) + len(other.gold.calls) > MOST:
        return False
    if any(c.name == o.name and c.arguments == o.arguments for c in calls for o in other.gold.calls):
        return False
    first = chosen[0]
    return _system(first) == _system(other) and first.gold.world == other.gold.world


def _same_tool(one: Tool, other: Tool) -> bool:
    return one is other or one.key == other.key


def _system(trace: Trace) -> str:
    return "\n".join(m.text for m in trace.messages if m.role == "system")


def joint(chosen: Sequence[Trace], rng: Random) -> Trace:
    """One Trace of several requests that agree."""
    calls: list[Call] = []
    accepts: dict[str, Accept] = {}
    for trace in chosen:
        for index, call in enumerate(trace.gold.calls):
            places = {k: v for k, v in trace.gold.accepts.items() if k.partition(".")[0] == str(index)}
            accepts |= {f"{len(calls)}.{k.partition('.')[2]}": v for k, v in places.items()}
            calls.append(call.model_copy(update={"label": None}))  # nothing refers to it, and labels may clash
    results = _results(chosen)
    told = all(trace.reply for trace in chosen) and bool(results)
    facts, heard = [f for t in chosen for f in t.gold.facts], tokens(" ".join(t.reply for t in chosen))
    tools = list({tool.name: tool for trace in chosen for tool in trace.tools}.values())
    rng.shuffle(tools)
    shared = {k: v for k, v in chosen[0].traits.items() if all(t.traits.get(k) == v for t in chosen)}
    first = chosen[0].model_copy(update={"traits": shared})
    system = tuple(m for m in first.messages if m.role == "system")
    gold = first.gold.model_copy(
        update={
            "calls": tuple(calls),
            "accepts": accepts,
            "facts": tuple(f for f in dict.fromkeys(facts) if states(heard, f)) if told else (),
            "result": outcome(calls, results) if first.gold.world and results else None,
            "text": "",
        }
    )
    origin = joined_origin([trace.origin for trace in chosen])
    trace = derived(
        first,
        "joined",
        tools=tuple(tools),
        messages=(*system, Message(role="user", text=request([user_words(t.messages) for t in chosen], calls, rng))),
        gold=gold,
        results=results,
        reply=" ".join(trace.reply for trace in chosen) if told else "",
        traits=_traits(chosen, len(calls), len({c.name for c in calls})),
    )
    return trace.model_copy(update={"origin": origin})


def _traits(chosen: Sequence[Trace], n_calls: int, n_names: int) -> dict[str, str | int | float | bool]:
    """What the join is: its services, and how many values nobody said where the source counts them."""
    services = dict.fromkeys(str(s) for t in chosen if (s := t.traits.get("service", t.traits.get("domain"))))
    made: dict[str, str | int | float | bool] = {
        "kind": "parallel", "n_joined": len(chosen), "n_calls": n_calls, "width": n_calls, "depth": 1, "fan_in": 0,
        "same_function": n_names < n_calls,
    }  # fmt: skip
    for name in ("unshown", "unsaid"):
        counts = [v for t in chosen if isinstance(v := t.traits.get(name), int)]
        made |= {name: sum(counts)} if counts else {}
    return made | ({"service": "+".join(services)} if services else {})


def _results(chosen: Sequence[Trace]) -> tuple[Result, ...]:
    """Every call's result, in order, or none at all."""
    found = [result.model_copy(update={"label": None}) for trace in chosen for result in trace.results]
    return tuple(found) if all(trace.results for trace in chosen) else ()


plugin = Joined
