"""What broken form costs: replies that would be right if readable.

A fence around a right call is a fault like any other, and stays one. But a model that lacks only
the form is mended otherwise than one that lacks the skill, so the two are told apart here: the
turn that was probably meant is graded as if it had been said, and no score changes by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.types import Reading, Reply, Sample
from callgrain.dialects._recover import NEAR_MISSES
from callgrain.probes._asking import judged
from callgrain.probes._graded import Graded, by_subtask, reading, subtask_of
from callgrain.probes._outputs import ABSENT
from callgrain.verify.faults import TABLE

UNNAMED = "unrecognised"
"""The near-miss of a reply that came near to nothing known."""


class Form:
    """Share of broken replies, of those right but for their form, and the near-misses among the broken."""

    standard = True

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nothing of its own: it reads what others asked."""
        del pool, rng
        yield from ()

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `form/broken`, `form/right_but_for_form` and `form/near_miss`, by sub-task and over all.

        The first two are shares of all graded replies, a near-miss is a share of the broken ones;
        where none is broken there is `form/broken` alone. An item without an output has no form.
        """
        groups = {name: [g for g in items if g.reply.fault != ABSENT] for name, items in by_subtask(graded).items()}
        groups = {name: items for name, items in groups.items() if items}
        meant = {name: [_right_if_read(g) for g in items if _is_broken(g)] for name, items in groups.items()}
        missed = {name: Counter(_near_miss(g) for g in items if _is_broken(g)) for name, items in groups.items()}
        out: list[Reading] = []
        for name, items in groups.items():
            out += _readings(len(items), meant[name], missed[name], subtask=name)
        if groups:
            every = [right for found in meant.values() for right in found]
            out += _readings(sum(map(len, groups.values())), every, sum(missed.values(), Counter()))
        return out


def _is_broken(item: Graded) -> bool:
    fault = item.reply.fault
    return fault is not None and fault.kind in TABLE and TABLE[fault.kind].level == "form"


def _right_if_read(item: Graded) -> bool:
    """Whether the sub-task's own grading would pass the turn that was probably meant."""
    turn = item.reply.recovered
    return turn is not None and judged(subtask_of(item.sample.subtask).grade, item.sample, Reply(message=turn)).ok


def _near_miss(item: Graded) -> str:
    """What the form nearly was; a stranger's own name for it is none of ours."""
    detail = item.reply.fault.detail if item.reply.fault else ""
    return detail if detail in NEAR_MISSES else UNNAMED


def _readings(n: int, meant: Sequence[bool], missed: Counter[str], **by: str) -> Iterator[Reading]:
    """The readings of `n` replies, of which those in `meant` are broken."""
    broken = len(meant)
    yield reading("form", "broken", stats.share(broken, n), n, **by)
    if not broken:
        return
    yield reading("form", "right_but_for_form", stats.share(sum(meant), n), n, **by)
    for name in (*NEAR_MISSES, UNNAMED):
        if missed[name]:
            yield reading("form", "near_miss", stats.share(missed[name], broken), broken, **by, near_miss=name)


plugin = Form
