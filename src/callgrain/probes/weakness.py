"""Which sub-task is weakest, and is it so beyond chance?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, by_subtask, reading


class Weakness:
    """Ranks sub-tasks by score, worst first, and accuses those that fall behind the others."""

    standard = True

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nothing of its own: it reads what others asked."""
        del pool, rng
        yield from ()

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `weakness/rank` (1 is weakest; `accused` says whether the gap is beyond chance) and `weakness/gap`.

        The gap is the share right of the other sub-tasks together minus this one's. A sub-task is
        accused where the gap's lower limit is above 0, at 5 % over all sub-tasks (Bonferroni).
        """
        counts = {name: (sum(g.verdict.ok for g in items), len(items)) for name, items in by_subtask(graded).items()}
        order = sorted(counts, key=lambda name: counts[name][0] / counts[name][1])
        z = stats.one_sided_z(len(counts))
        out: list[Reading] = []
        for rank, name in enumerate(order, start=1):
            hits, n = counts[name]
            rest = tuple(sum(c[i] for other, c in counts.items() if other != name) for i in (0, 1))
            gap = stats.difference((rest[0], hits), (rest[1], n), z)
            accused = gap[1] is not None and gap[1] > 0
            out.append(reading("weakness", "rank", (float(rank), None, None), n, subtask=name, accused=accused))
            shown = stats.difference((rest[0], hits), (rest[1], n))
            out.append(reading("weakness", "gap", shown, n, subtask=name))
        return out


plugin = Weakness
