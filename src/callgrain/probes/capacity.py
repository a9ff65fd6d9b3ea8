"""What the model can carry: a law of loads, tested on held-out tasks.

One logistic law over everything that was asked intact (the pool, the density axes, the compositions): tools shown,
calls due, arguments of the fullest call, depth, turns so far, and the sub-task. It is fitted on some traces and
foretells others, and its error is published beside it: a card that does not predict says so. The limits of single
axes, as other probes fit them, stand on the same card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, grouped, reading
from callgrain.probes._logistic import Fit, fitted, telling
from callgrain.tools._execute import shape

ASKED_INTACT = ("subtask", "density", "depth")
"""Probes whose prompts are whole tasks: nothing taken away, nothing misleading."""
LOADS = ("tools", "calls", "arguments", "depth", "history")
LEAST = 80
"""Fewest graded prompts for which a law is fitted."""
FOLDS = 5
DRAWS = 100
"""Resamplings behind the interval of a limit: each fits the law anew."""
GREATEST = {"tools": 4096.0, "calls": 64.0, "arguments": 64.0, "depth": 16.0, "history": 256.0}
"""Loads up to which a limit is looked for: beyond them the law is not believed."""


@dataclass(frozen=True)
class Task:
    """One graded prompt: its trace, sub-task, loads and whether it was right."""

    trace: str
    subtask: str
    loads: tuple[float, ...]
    is_right: bool

    @cached_property
    def scaled(self) -> list[float]:
        """Loads as the law takes them: doublings, but depth in steps."""
        return [v if name == "depth" else log2(1 + v) for name, v in zip(LOADS, self.loads, strict=True)]

    @classmethod
    def of(cls, item: Graded) -> Task:
        """What a graded prompt weighs."""
        return cls(item.trace or item.sample.key, item.sample.subtask, weights(item.sample), item.verdict.ok)


def weights(sample: Sample) -> tuple[float, ...]:
    """The loads of a prompt in the order of LOADS, as they are."""
    found = shape(sample.answer.calls)
    most = max((len(c.arguments) for c in sample.answer.calls), default=0)
    turns = len(sample.prompt.messages) - 1
    return float(len(sample.prompt.tools)), float(found["n_calls"]), float(most), float(found["depth"]), float(turns)


class Capacity:
    """A law of the loads with its error on held-out traces; asks nothing of its own."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nothing of its own: it reads what others asked."""
        del pool, rng
        yield from ()

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings of the law, where at least `LEAST` intact prompts that call for calls were graded.

        `effect` by load: log-odds a doubling (of depth: a step). `limit` by load: where the law falls to one half, the
        others at their median (`beyond` where that is not within reach). On traces that a fold did not see:
        `predicted` and `observed` share right, `error` (predicted minus observed, by bootstrap over traces), `brier`,
        and `skill` (1 - Brier score over that of the best constant; 0 is worth nothing).
        """
        wanted = [g for g in graded if g.probe in ASKED_INTACT and g.counts and g.sample.answer.decision == "call"]
        tasks = [Task.of(g) for g in wanted]
        if len(tasks) < LEAST or len({t.is_right for t in tasks}) < 2:
            return []
        return [*_law(tasks), *_held_out(tasks)]


@dataclass(frozen=True)
class Law:
    """A fit with the columns that it took: places of loads first, then sub-tasks."""

    fit: Fit
    columns: tuple[int, ...]
    subtasks: tuple[str, ...]
    middle: tuple[float, ...]

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> Law:
        """The law of these tasks. Raises ValueError where nothing varies."""
        subtasks = tuple(sorted({t.subtask for t in tasks}))[1:]
        rows = [_row(t, subtasks) for t in tasks]
        columns = telling(rows)
        if not columns:
            raise ValueError("no load varies")
        fit = fitted([[r[c] for c in columns] for r in rows], [t.is_right for t in tasks])
        return cls(fit, tuple(columns), subtasks, tuple(_middle(rows)))

    def chance(self, task: Task) -> float:
        """How likely the task is right."""
        row = _row(task, self.subtasks)
        return self.fit.chance([row[c] for c in self.columns])


def _row(task: Task, subtasks: Sequence[str]) -> list[float]:
    return [*task.scaled, *(float(task.subtask == name) for name in subtasks)]


def _law(tasks: Sequence[Task]) -> Iterator[Reading]:
    try:
        law = Law.of(tasks)
    except ValueError:
        return
    for place, effect in zip(law.columns, law.fit.effects, strict=True):
        if place < len(LOADS):
            shown = effect.low > 0 or effect.high < 0
            figure = (effect.value, effect.low, effect.high)
            yield reading("capacity", "effect", figure, len(tasks), load=LOADS[place], shown=shown)
    draws = _drawn_limits(_by_trace(tasks))
    for place in (c for c in law.columns if c < len(LOADS)):
        value = _limit(law, place)
        if value is None:
            beyond = GREATEST[LOADS[place]]
            yield reading("capacity", "limit", (None, None, None), len(tasks), load=LOADS[place], beyond=beyond)
            continue
        known = sorted(v for v in draws.get(place, ()) if v is not None)
        ends = (known[round(0.025 * (len(known) - 1))], known[round(0.975 * (len(known) - 1))])
        low, high = ends if len(known) >= 0.9 * DRAWS else (None, None)
        yield reading("capacity", "limit", (value, low, high), len(tasks), load=LOADS[place])


def _drawn_limits(groups: Sequence[Sequence[Task]]) -> dict[int, list[float | None]]:
    """The limits of laws fitted to resampled traces, by place of the load."""
    rng = Random(0)
    out: dict[int, list[float | None]] = {}
    for _ in range(DRAWS):
        tasks = [task for group in rng.choices(groups, k=len(groups)) for task in group]
        try:
            law = Law.of(tasks)
        except ValueError:
            continue
        for place in (c for c in law.columns if c < len(LOADS)):
            out.setdefault(place, []).append(_limit(law, place))
    return out


def _limit(law: Law, place: int) -> float | None:
    """Load at which the law crosses one half, everything else at its median; None where it does not within reach."""
    greatest = GREATEST[LOADS[place]]
    low, high = 0.0, greatest if LOADS[place] == "depth" else log2(1 + greatest)

    def chance(x: float) -> float:
        row = [*law.middle[:place], x, *law.middle[place + 1 :]]
        return law.fit.chance([row[c] for c in law.columns])

    if not chance(low) > 0.5 > chance(high):
        return None
    for _ in range(40):
        half = (low + high) / 2
        low, high = (half, high) if chance(half) > 0.5 else (low, half)
    return low if LOADS[place] == "depth" else 2**low - 1


def _middle(rows: Sequence[Sequence[float]]) -> list[float]:
    """The middle of each load; sub-tasks at their shares."""
    columns = list(zip(*rows, strict=True))
    loads = [sorted(column)[len(rows) // 2] for column in columns[: len(LOADS)]]
    return [*loads, *(sum(column) / len(rows) for column in columns[len(LOADS) :])]


def _by_trace(tasks: Sequence[Task]) -> list[list[Task]]:
    return list(grouped(tasks, lambda task: task.trace).values())


def _held_out(tasks: Sequence[Task]) -> Iterator[Reading]:
    """Every trace foretold by a law that did not see it."""
    folds = [[t for t in tasks if text_key("fold", t.trace) % FOLDS == fold] for fold in range(FOLDS)]
    told: list[list[tuple[float, float, bool]]] = []
    for fold, held in enumerate(folds):
        others = [t for i, part in enumerate(folds) if i != fold for t in part]
        try:
            law = Law.of(others)
        except ValueError:
            continue
        base = sum(t.is_right for t in others) / len(others)
        told += [[(law.chance(t), base, t.is_right) for t in group] for group in _by_trace(held)]
    flat = [one for group in told for one in group]
    if not flat:
        return
    n = len(flat)
    yield reading("capacity", "predicted", (sum(p for p, _, _ in flat) / n, None, None), n)
    right = [ok for _, _, ok in flat]
    traces = [str(i) for i, group in enumerate(told) for _ in group]
    yield reading("capacity", "observed", stats.clustered_share(right, traces), n)
    yield reading("capacity", "error", stats.bootstrap(told, _gap, draws=500), n)
    yield reading("capacity", "brier", stats.bootstrap(told, _brier, draws=500), n)
    yield reading("capacity", "skill", stats.bootstrap(told, _skill, draws=500), n)


Told = Sequence[Sequence[tuple[float, float, bool]]]
"""By trace: (chance that the law gave, share right of those that it was fitted on, whether it was right)."""


def _gap(told: Told) -> float | None:
    flat = [one for group in told for one in group]
    return sum(p - ok for p, _, ok in flat) / len(flat) if flat else None


def _brier(told: Told) -> float | None:
    flat = [one for group in told for one in group]
    return sum((p - ok) ** 2 for p, _, ok in flat) / len(flat) if flat else None


def _skill(told: Told) -> float | None:
    flat = [one for group in told for one in group]
    constant = sum((base - ok) ** 2 for _, base, ok in flat)
    return 1 - sum((p - ok) ** 2 for p, _, ok in flat) / constant if constant else None


plugin = Capacity
