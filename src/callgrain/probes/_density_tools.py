"""The axis `tools`: the same request and the same one right call among 2, 4, ..., 64 tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from random import Random

from callgrain.core.types import Sample, Tool
from callgrain.probes._density_cut import BASES, LOADS, Base, asked, bases, in_order, loads_within
from callgrain.probes._pool import Pool
from callgrain.sources._edits import derived
from callgrain.sources._pool import Pool as Shelf
from callgrain.sources._pool import gold_tools

GOLDEN = 0.6180339887498949
"""The turn between the gold's places at two loads of one request: at each load the places cover the whole list."""


def tools_axis(pool: Pool, rng: Random) -> Iterator[Sample]:
    """Up to `BASES` requests at every load; the gold's place is balanced over the list at every load."""
    shelf = Shelf(tool for trace in pool.traces.values() for tool in trace.tools)
    kept = [(base, others) for base, others in _with_others(shelf, bases(pool, rng), rng) if others]
    loads = loads_within("tools", (len(others) + 1 for _, others in kept))
    kept = [(base, others) for base, others in kept if loads and len(others) + 1 >= loads[-1]]
    made: list[Sample] = []
    for number, (base, others) in enumerate(kept):
        (gold,) = gold_tools(base.trace)
        for step, load in enumerate(loads):
            place = int(((number + 0.5) / len(kept) + step * GOLDEN) % 1 * load)
            shown = rng.sample(others[: load - 1], load - 1)
            shown.insert(place, gold)
            trace = derived(base.trace, "density", tools=tuple(shown))
            made += asked(trace, base, "tools", load, density_place=place)
    yield from in_order(made)


def _with_others(shelf: Shelf, found: Sequence[Base], rng: Random) -> Iterator[tuple[Base, list[Tool]]]:
    """Requests for a single call, each with the tools to show beside it: near and far in turn, nearest loads first."""
    most, count = LOADS["tools"][-1] - 1, 0
    for base in found:
        own = gold_tools(base.trace)
        if count >= BASES or len(base.trace.gold.calls) != 1 or len(own) != 1:
            continue
        bare = base.trace.model_copy(update={"tools": tuple(own)})
        near, far = shelf.beside(bare, most // 2, 1.0, rng), shelf.beside(bare, most, 0.0, rng)
        mixed = {t.name: t for t in chain.from_iterable(zip_longest(near, far)) if t is not None}
        count += 1
        yield base, list(mixed.values())[:most]
