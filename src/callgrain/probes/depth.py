"""Compositions by depth, width, fan-in and overlap with training.

Where the pool's tools can be run and composed (`toolworld`), nested requests are made in a grid: depth, width and
fan-in vary independently, once over producer -> consumer edges that `train` shows and once only over edges that it
never shows. So "it cannot compose" is told apart from "it saw that subgraph before" ("Faith and Fate", Dziri et al.
2023, arXiv 2305.18654, section 3). The model's own calls are run, and every call that was due is entered in
a ledger (`_depth_ledger.py`). Elsewhere the pool's own nested requests are read as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from callgrain.core import plugins, stats
from callgrain.core.errors import CallgrainError
from callgrain.core.types import Reading, Sample, Trace
from callgrain.probes._depth_ledger import STATES, Ledger, ledger
from callgrain.probes._graded import Graded, grouped, reading, subtask_of
from callgrain.probes._logistic import effects
from callgrain.probes._pool import Pool
from callgrain.tools._execute import shape

DEPTHS, WIDTHS = (2, 3, 4), (1, 2, 3)
"""Longest path and most calls of one level."""
EACH = 6
"""Most requests of a cell: with 18 shapes, seen and unseen, 216 prompts in all."""
FACTORS = ("depth", "width", "fan_in", "overlap")
LEAST = 40
"""Fewest requests for which effects are fitted."""


class Depth:
    """Success by shape, and what became of each due call; asks up to 216 prompts of its own."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nested requests over the pool's world, `EACH` (fewer for a small pool) for each cell of the grid."""
        del rng
        world = _world(pool)
        if world is None:
            return
        task = subtask_of("nest")
        each = min(EACH, max(1, len(pool) // 20))
        for seen in (True, False):
            for cell in grid():
                for number in range(each):
                    trace: Trace | None = world.composed(cell, number, seen=seen)
                    for sample in task.samples(trace, Random(number)) if trace is not None else ():
                        yield sample.model_copy(update={"traits": {**sample.traits, "depth_overlap": float(seen)}})

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings of the composed requests; of the pool's own nested ones where none could be composed.

        `ok` by depth and width, and by each factor alone; `effect` by factor: log-odds of being right for one step
        (of overlap: for all edges seen against none), the other factors held; `overlap` and `overlap_gap`: seen minus
        unseen at equal depth, width and fan-in. `ledger` by state, and by state and depth, is the share of calls
        that were due (`extra`: calls a due one), `expected` by depth what the share right would be if calls failed
        one by one at the rate of local errors. An unreadable reply has all its calls omitted.
        """
        own = [g for g in graded if g.probe == "depth" and g.counts]
        items = own or [g for g in graded if g.probe == "subtask" and g.sample.subtask == "nest" and g.counts]
        if not items:
            return []
        return [*_cells(items), *_effects(items), *_overlap(own), *_ledgers(items)]


def grid() -> list[tuple[tuple[int, ...], ...]]:
    """Every shape: `width` calls that need no other, of which `fan_in` feed the first of a spine to `depth`."""
    return [
        (*((),) * width, tuple(range(fan_in)), *((width + step,) for step in range(depth - 2)))
        for depth in DEPTHS
        for width in WIDTHS
        for fan_in in range(1, width + 1)
    ]


def _world(pool: Sequence[Sample]) -> Any | None:
    """The source whose world the pool's traces are in, where it composes requests of a given shape."""
    traces = pool.traces.values() if isinstance(pool, Pool) else ()
    for spec in dict.fromkeys(t.gold.world for t in traces if t.gold.world):
        try:
            source = plugins.opened("sources", spec)
        except CallgrainError:
            continue
        if callable(getattr(source, "composed", None)):
            return source
    return None


def factor(item: Graded, name: str) -> float:
    """Depth, width or fan-in of the calls that are due, or the share of edges that training shows."""
    if name == "overlap":
        return float(item.sample.traits.get("depth_overlap", 0.0))
    return float(shape(item.sample.answer.calls)[name])


def _cells(items: Sequence[Graded]) -> Iterator[Reading]:
    for key, group in sorted(grouped(items, lambda g: f"{factor(g, 'depth'):.0f} {factor(g, 'width'):.0f}").items()):
        depth, width = map(int, key.split())
        figure = stats.share(sum(g.verdict.ok for g in group), len(group))
        yield reading("depth", "ok", figure, len(group), depth=depth, width=width)
    for name in FACTORS[:3]:
        for level, group in sorted(grouped(items, lambda g, n=name: f"{factor(g, n):.0f}").items()):
            figure = stats.share(sum(g.verdict.ok for g in group), len(group))
            yield reading("depth", "ok", figure, len(group), **{name: int(level)})


def _effects(items: Sequence[Graded]) -> Iterator[Reading]:
    """Log-odds a step of each factor that varies; nothing where they cannot be told apart."""
    rows = [[factor(g, name) for name in FACTORS] for g in items]
    varying = [i for i in range(len(FACTORS)) if len({row[i] for row in rows}) > 1]
    if len(items) < LEAST or not varying:
        return
    try:
        found = effects([[row[i] for i in varying] for row in rows], [g.verdict.ok for g in items])
    except ValueError:
        return
    for i, one in zip(varying, found, strict=True):
        shown = one.low > 0 or one.high < 0
        figure = (one.value, one.low, one.high)
        yield reading("depth", "effect", figure, len(items), factor=FACTORS[i], shown=shown)


def _overlap(own: Sequence[Graded]) -> Iterator[Reading]:
    """Seen against unseen edges: each alone, and the difference over shapes that both have, weighted by their size."""
    for level, group in sorted(grouped(own, lambda g: f"{factor(g, 'overlap'):g}").items()):
        figure = stats.share(sum(g.verdict.ok for g in group), len(group))
        yield reading("depth", "overlap", figure, len(group), overlap=float(level))
    strata = grouped(own, lambda g: " ".join(f"{factor(g, name):.0f}" for name in FACTORS[:3]))
    value = variance = total = 0.0
    for group in strata.values():
        seen, unseen = ([g.verdict.ok for g in group if factor(g, "overlap") == side] for side in (1.0, 0.0))
        if not seen or not unseen:
            continue
        weight = len(seen) * len(unseen) / (len(seen) + len(unseen))
        parts = [(sum(side) / len(side), (sum(side) + 0.5) / (len(side) + 1), len(side) + 1) for side in (seen, unseen)]
        value += weight * (parts[0][0] - parts[1][0])
        variance += weight**2 * sum(p * (1 - p) / n for _, p, n in parts)
        total += weight
    if total:
        middle, half = value / total, stats.Z * variance**0.5 / total
        n = sum(map(len, strata.values()))
        yield reading("depth", "overlap_gap", (middle, max(-1.0, middle - half), min(1.0, middle + half)), n)


def _ledgers(items: Sequence[Graded]) -> Iterator[Reading]:
    found: list[tuple[Graded, Ledger]] = []
    for item in items:
        answer = item.sample.answer
        if answer.world:
            calls = item.reply.message.calls if item.reply.message else ()
            found.append((item, ledger(answer, item.sample.prompt.tools, calls)))
    if not found:
        return
    entries = [(item.sample.key, entry) for item, one in found for entry in one.entries]
    levels = sorted({entry.level for _, entry in entries})
    for state in STATES:
        yield _share(entries, state)
        for level in levels:
            yield _share([(key, e) for key, e in entries if e.level == level], state, depth=level)
    due = len(entries)
    extras = stats.mean([one.extra / len(one.entries) for _, one in found])
    yield reading("depth", "ledger", extras, due, state="extra")
    sound = 1 - sum(e.state in ("local", "omitted") for _, e in entries) / due
    for depth, group in sorted(grouped(found, lambda pair: f"{factor(pair[0], 'depth'):.0f}").items()):
        alone = [sound ** len(one.entries) for _, one in group]
        yield reading("depth", "expected", (sum(alone) / len(alone), None, None), len(group), depth=int(depth))


def _share(entries: Sequence[tuple[str, Any]], state: str, **by: int) -> Reading:
    figure = stats.clustered_share([e.state == state for _, e in entries], [key for key, _ in entries])
    return reading("depth", "ledger", figure, len(entries), state=state, **by)


plugin = Depth
