"""How often each fault is made where it can be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, by_subtask, reading, subtask_of
from callgrain.verify.faults import KINDS
from callgrain.verify.spoil import kinds_on


class Faults:
    """Rate of each kind as the first fault, overall and by sub-task."""

    standard = True

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nothing of its own: it reads what others asked."""
        del pool, rng
        yield from ()

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `fault/<kind>`; n counts the samples on which the kind can be made, or was.

        A rate is the share of those whose *first* fault is of the kind: one reply is blamed once.
        """
        made: dict[tuple[str, str], int] = {}
        able: dict[tuple[str, str], int] = {}
        for subtask, items in by_subtask(graded).items():
            kinds = sorted(subtask_of(subtask).kinds)
            for item in items:
                first = item.verdict.first.kind if item.verdict.first else ""
                for kind in {*kinds_on(item.sample, kinds), *filter(None, [first])}:
                    able[subtask, kind] = able.get((subtask, kind), 0) + 1
                    made[subtask, kind] = made.get((subtask, kind), 0) + (kind == first)
        return [*_overall(made, able), *_parts(made, able)]


def _overall(made: dict[tuple[str, str], int], able: dict[tuple[str, str], int]) -> Iterator[Reading]:
    for kind in KINDS:
        n = sum(count for (_, k), count in able.items() if k == kind)
        if n:
            yield reading("fault", kind, stats.share(sum(c for (_, k), c in made.items() if k == kind), n), n)


def _parts(made: dict[tuple[str, str], int], able: dict[tuple[str, str], int]) -> Iterator[Reading]:
    for (subtask, kind), n in able.items():
        if made[subtask, kind]:
            yield reading("fault", kind, stats.share(made[subtask, kind], n), n, subtask=subtask)


plugin = Faults
