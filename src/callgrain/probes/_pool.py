"""The pool: which samples are asked, the same ones for every model.

At most one sample a trace and sub-task, so that samples are independent and intervals mean
what they say. `decide` is balanced over the branches that the source has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.progress import Tell, silent
from callgrain.core.types import Sample, Trace
from callgrain.probes._graded import grouped, subtask_of

SCAN_FACTOR = 20
"""Traces looked at for each sample wanted: a source without, say, parallel calls is not read to its end."""

Row = tuple[str, Sample]
"""(key of the trace, sample)."""


def pool(traces: Iterable[Trace], subtasks: Sequence[str], n: int, seed: int, tell: Tell = silent) -> list[Row]:
    """Up to `n` samples for each sub-task, in the order in which the source yields traces."""
    cutters = {name: subtask_of(name) for name in subtasks}
    kept: dict[str, list[Row]] = {name: [] for name in subtasks}
    for count, trace in enumerate(traces):
        wanting = [name for name in subtasks if not _full(name, kept[name], n)]
        if not wanting or count >= SCAN_FACTOR * n:
            break
        key = trace.key
        for name in wanting:
            rng = Random(text_key(str(seed), name, key))
            sample = next(iter(cutters[name].samples(trace, rng)), None)
            if sample is not None and _wanted(name, sample, kept[name], n):
                kept[name].append((key, sample))
        tell("cutting samples", sum(map(len, kept.values())), n * len(subtasks))
    return [row for name in subtasks for row in (_balanced(kept[name], n) if name == "decide" else kept[name])]


def _branch(row: Row) -> str:
    return str(row[1].traits.get("branch", ""))


def _full(name: str, rows: list[Row], n: int) -> bool:
    if name != "decide":
        return len(rows) >= n
    groups = grouped(rows, _branch)
    return len(groups) == 4 and all(len(g) >= -(-n // 4) for g in groups.values())


def _wanted(name: str, sample: Sample, rows: list[Row], n: int) -> bool:
    if name != "decide":
        return True
    branch = sample.traits.get("branch")
    return sum(_branch(row) == branch for row in rows) < n


def _balanced(rows: list[Row], n: int) -> list[Row]:
    """Equal shares of the branches that there are, `n` in all at most."""
    groups = grouped(rows, _branch)
    share = -(-n // max(1, len(groups)))
    return [row for i in range(share) for group in groups.values() for row in group[i : i + 1]][:n]


def chunks(items: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    """The items in pieces of `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
