"""The axis `calls`: 1, 2, 4, ... independent requests of the pool in one turn, the tools shown held constant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core.types import Sample, Tool, Trace
from callgrain.probes._density_cut import BASES, LOADS, Base, asked, bases, in_order, loads_within
from callgrain.probes._pool import Pool
from callgrain.sources._edits import derived
from callgrain.sources._folder import SkipError
from callgrain.sources._pool import gold_tools, is_right_too
from callgrain.sources.joined import agree, joint, part


def calls_axis(pool: Pool, rng: Random) -> Iterator[Sample]:
    """Up to `BASES` requests at every load; those that join them are added one by one, and mixed at every load."""
    parts = list(_parts(bases(pool, rng)))
    kept = [(base, _chosen(trace, [t for _, t in parts], rng)) for base, trace in parts[:BASES]]
    loads = loads_within("calls", (len(chosen) for _, chosen in kept))
    made: list[Sample] = []
    for base, chosen in kept:
        if not loads or len(chosen) < loads[-1]:
            continue
        tools = _shown(chosen[: loads[-1]])
        for load in loads:
            asking = rng.sample(chosen[:load], load)
            whole = asking[0] if load == 1 else joint(asking, rng)
            trace = derived(whole, "density", tools=tuple(rng.sample(tools, len(tools))))
            made += asked(trace, base, "calls", load)
    yield from in_order(made)


def _parts(found: Sequence[Base]) -> Iterator[tuple[Base, Trace]]:
    """Requests for one call that stand for themselves."""
    for base in found:
        try:
            trace = part(base.trace)
        except SkipError:
            continue
        if len(trace.gold.calls) == 1 and len(gold_tools(trace)) == 1:
            yield base, trace


def _chosen(first: Trace, others: Sequence[Trace], rng: Random) -> list[Trace]:
    """Requests that can stand in one turn with the first, which none of the others' tools could serve as well."""
    chosen = [first]
    for other in rng.sample(list(others), len(others)):
        if len(chosen) >= LOADS["calls"][-1]:
            break
        if all(agree([one], other) and _are_apart(one, other) for one in chosen):
            chosen.append(other)
    return chosen


def _are_apart(one: Trace, other: Trace) -> bool:
    (tool,), (its) = gold_tools(one), gold_tools(other)[0]
    return tool.name == its.name or not (is_right_too(tool, other) or is_right_too(its, one))


def _shown(chosen: Sequence[Trace]) -> list[Tool]:
    """The tools of all that may be asked for: the same ones at every load."""
    return list({tool.name: tool for trace in chosen for tool in gold_tools(trace)}.values())
