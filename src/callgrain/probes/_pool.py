"""The pool: which samples are asked, the same ones for every model.

At most one sample a trace and sub-task, so that samples are independent and intervals mean
what they say. `decide` is balanced over the branches that the source has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, overload

from callgrain.core.canonical import text_key
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import TIERS, Tier
from callgrain.core.types import Sample, Trace
from callgrain.probes._graded import grouped, subtask_of

SCAN_FACTOR = 20
"""Traces looked at for each sample wanted: a source without, say, parallel calls is not read to its end."""

Row = tuple[str, Sample]
"""(key of the trace, sample)."""


@dataclass(frozen=True)
class Abilities:
    """What the model that is to be asked can do: its tier, and whether it can be held to a grammar."""

    tier: Tier = "text"
    can_constrain: bool = False

    @classmethod
    def of(cls, model: Any) -> Abilities:
        """Those that a model states of itself."""
        return cls(getattr(model, "tier", "text"), bool(getattr(model, "can_constrain", False)))

    def reach(self, needed: Tier) -> bool:
        """Whether a probe that needs this tier can run."""
        return TIERS.index(self.tier) >= TIERS.index(needed)


@dataclass(frozen=True)
class Pool(Sequence[Sample]):
    """The samples that are asked, the traces that they were cut from (by key), and what the model can do."""

    rows: tuple[Row, ...]
    traces: Mapping[str, Trace] = field(default_factory=dict[str, Trace])
    abilities: Abilities = Abilities()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return [s for _, s in self.rows[index]] if isinstance(index, slice) else self.rows[index][1]

    def for_model(self, model: Any) -> Pool:
        """The same pool, for this model."""
        return replace(self, abilities=Abilities.of(model))


def pool(traces: Iterable[Trace], subtasks: Sequence[str], n: int, seed: int, tell: Tell = silent) -> list[Row]:
    """The rows of `draw`."""
    return list(draw(traces, subtasks, n, seed, tell).rows)


def draw(traces: Iterable[Trace], subtasks: Sequence[str], n: int, seed: int, tell: Tell = silent) -> Pool:
    """Up to `n` samples for each sub-task, in the order in which the source yields traces."""
    cutters = {name: subtask_of(name) for name in subtasks}
    kept: dict[str, list[Row]] = {name: [] for name in subtasks}
    behind: dict[str, Trace] = {}
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
                behind[key] = trace
        tell("cutting samples", sum(map(len, kept.values())), n * len(subtasks))
    rows = [row for name in subtasks for row in (_balanced(kept[name], n) if name == "decide" else kept[name])]
    return Pool(tuple(rows), {key: behind[key] for key, _ in rows})


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
