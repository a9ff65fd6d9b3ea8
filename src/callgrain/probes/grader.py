"""The grader itself: wrong replies flagged, right ones refused.

The card of the sub-tasks' own grading (`_card.py`) on the very samples that were asked, so that
no score stands without it. It asks no model anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample
from callgrain.probes._card import STRICT, card, graders
from callgrain.probes._graded import Graded, grouped

MAX_SAMPLES = 40
"""Most samples of a sub-task that are taken: an interval of a few points is enough, and a second is."""
MAX_CASES = 60
"""Most replies of one kind that are made."""


class GraderCard:
    """Kill rate, own class and false rejects of `strict`, by kind."""

    standard = True

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nothing of its own: it changes right answers, no model is asked."""
        del pool, rng
        yield from ()

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `grader/kill_rate`, `own_class`, `false_reject` by kind; the same for the same samples."""
        asked = grouped([g for g in graded if g.probe == "subtask"], lambda g: g.sample.subtask)
        samples = [g.sample for items in asked.values() for g in items[:MAX_SAMPLES]]
        return card(samples, graders(STRICT), Random(text_key("grader card")), MAX_CASES) if samples else []


plugin = GraderCard
