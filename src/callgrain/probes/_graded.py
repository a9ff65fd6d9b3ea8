"""A sample with its reply and verdict: what probes read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from callgrain.core import plugins
from callgrain.core.protocols import SubTask
from callgrain.core.types import Reading, Reply, Sample, Verdict

T = TypeVar("T")

SUBTASKS: tuple[str, ...] = (
    "names", "slots", "next_call", "parallel", "chain", "nest", "response", "decide", "full",
)  # fmt: skip
"""Reading order of the built-in sub-tasks: from the smallest grain to the umbrella."""


@dataclass(frozen=True)
class Graded:
    """One asked sample. `probe` is who asked it, `trace` the record it was cut from."""

    sample: Sample
    reply: Reply
    verdict: Verdict
    probe: str = "subtask"
    trace: str = ""

    @property
    def counts(self) -> bool:
        """Whether it takes part in means."""
        return self.verdict.state == "graded"


def subtask_of(name: str) -> SubTask:
    """The sub-task named `name`. Raises UnknownName."""
    return plugins.load("subtasks", name)()


def in_order(names: Iterable[str]) -> list[str]:
    """Sub-task ids in reading order, strangers last."""
    return sorted(set(names), key=lambda s: (SUBTASKS.index(s) if s in SUBTASKS else len(SUBTASKS), s))


def grouped(items: Sequence[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Items by key, in order of first appearance."""
    out: dict[str, list[T]] = {}
    for item in items:
        out.setdefault(key(item), []).append(item)
    return out


def by_subtask(graded: Sequence[Graded], probe: str = "subtask") -> dict[str, list[Graded]]:
    """What `probe` asked and what counts, by sub-task in reading order."""
    groups = grouped([g for g in graded if g.probe == probe and g.counts], lambda g: g.sample.subtask)
    return {name: groups[name] for name in in_order(groups)}


def reading(
    probe: str,
    name: str,
    figure: tuple[float | None, float | None, float | None],
    n: int,
    **by: str | int | float | bool,
) -> Reading:
    """A Reading from (value, low, high)."""
    value, low, high = figure
    return Reading(probe=probe, name=name, value=value, low=low, high=high, n=n, by=by)
