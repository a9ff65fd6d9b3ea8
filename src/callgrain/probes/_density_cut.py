"""What the axes of density share: loads, requests to start from, and a sample that says where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from callgrain.core.types import Sample, Sampling, Trace
from callgrain.probes._graded import subtask_of
from callgrain.probes._pool import Pool
from callgrain.sources._edits import check_gold
from callgrain.sources._folder import SkipError

AXES = ("tools", "arguments", "declared", "calls")
LOADS: dict[str, tuple[int, ...]] = {
    "tools": (2, 4, 8, 16, 32, 64),
    "arguments": (2, 4, 8, 16, 32, 64),
    "declared": (2, 4, 8, 16, 32, 64),
    "calls": (1, 2, 4, 8, 16),
}
"""Doublings: what breaks does so over orders of magnitude, and each load costs as many prompts as any other.
A turn of more than 16 calls is longer than the longest reply that is usually allowed."""
BASES = 30
"""Requests of the pool that each axis starts from: a share at one load is then known to about 18 points, D50 to
about a third of a doubling, and the whole probe asks some 700 prompts at most."""
ROOM = {"arguments": 24, "calls": 64}
"""Tokens that a reply may have for each argument, each call: a long answer is not to fail for want of them."""
SUBTASK = "full"
"""The sub-task whose instruction stands above all of them: the same words at every load."""


@dataclass(frozen=True)
class Base:
    """A trace of the pool to start from; `of` is the key of a sample of it."""

    of: str
    trace: Trace


def bases(pool: Sequence[Sample], rng: Random) -> list[Base]:
    """The pool's traces that call with known arguments and one right answer, in random order."""
    if not isinstance(pool, Pool):
        return []
    first: dict[str, str] = {}
    for key, sample in pool.rows:
        first.setdefault(key, sample.key)
    found = [Base(of, pool.traces[key]) for key, of in first.items() if key in pool.traces]
    found = [base for base in found if _is_usable(base.trace)]
    rng.shuffle(found)
    return found


def _is_usable(trace: Trace) -> bool:
    try:
        check_gold(trace)
    except SkipError:
        return False
    return bool(trace.gold.calls) and not trace.gold.instead


def loads_within(axis: str, reached: Iterable[int]) -> tuple[int, ...]:
    """The axis's loads up to the greatest that at least half of the bases reach; none where there are fewer than 2."""
    most = sorted(reached, reverse=True)
    held = most[(len(most) - 1) // 2] if most else 0
    loads = tuple(load for load in LOADS[axis] if load <= held)
    return loads if len(loads) > 1 else ()


def asked(trace: Trace, base: Base, axis: str, load: int, **traits: str | int) -> Iterator[Sample]:
    """The trace's sample, with its place on the axis among its traits; none where the sub-task has none."""
    for sample in subtask_of(SUBTASK).samples(trace, Random(0)):
        own = {"of": base.of, "density_axis": axis, "density_load": load, **traits}
        room = Sampling(max_tokens=max(Sampling().max_tokens, ROOM.get(axis, 0) * load))
        prompt = sample.prompt.model_copy(update={"sampling": room})
        yield sample.model_copy(update={"prompt": prompt, "traits": {**sample.traits, **own}})
        return


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """Samples by load: what is answered together is then about as long."""
    return sorted(samples, key=lambda s: int(s.traits["density_load"]))
