"""The score of each sub-task, its further figures and its slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, by_subtask, grouped, reading

MIN_SLICE = 10
"""Fewest samples of a slice that is shown."""
MAX_SLICES = 8
"""Most values of a trait that is sliced by."""


class SubTaskProbe:
    """`ok` a sub-task, `ok` a slice, mean of each measure."""

    standard = True

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """The pool itself."""
        del rng
        yield from pool

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `subtask/ok` by sub-task and slice, `subtask/<measure>`, and what was left out."""
        out: list[Reading] = []
        for name, items in by_subtask(graded).items():
            figure = stats.share(sum(g.verdict.ok for g in items), len(items))
            out.append(reading("subtask", "ok", figure, len(items), subtask=name))
            out += self._measures(name, items)
            out += self._slices(name, items)
        return [*out, *self._left_out(graded)]

    def _measures(self, name: str, items: Sequence[Graded]) -> Iterator[Reading]:
        values: dict[str, list[float]] = {}
        for item in items:
            for measure, value in item.verdict.measures.items():
                values.setdefault(measure, []).append(value)
        for measure, found in sorted(values.items()):
            yield reading("subtask", measure, stats.mean(found), len(found), subtask=name)
        recalls = {k: v for k, v in values.items() if k.startswith("recall_")}
        if len(recalls) > 1:
            balanced = sum(sum(v) / len(v) for v in recalls.values()) / len(recalls)
            low, high = _balanced_interval(list(recalls.values()))
            n = sum(map(len, recalls.values()))
            yield reading("subtask", "balanced_accuracy", (balanced, low, high), n, subtask=name)

    def _slices(self, name: str, items: Sequence[Graded]) -> Iterator[Reading]:
        traits = sorted({key for g in items for key in g.sample.traits})
        for trait in traits:
            having = [g for g in items if trait in g.sample.traits]
            groups = grouped(having, lambda g, t=trait: str(g.sample.traits[t]))
            if not 2 <= len(groups) <= MAX_SLICES:
                continue
            for group in groups.values():
                if len(group) >= MIN_SLICE:
                    figure = stats.share(sum(g.verdict.ok for g in group), len(group))
                    yield reading(
                        "subtask", "ok", figure, len(group), subtask=name, **{trait: group[0].sample.traits[trait]}
                    )

    def _left_out(self, graded: Sequence[Graded]) -> Iterator[Reading]:
        asked = [g for g in graded if g.probe == "subtask"]
        counts = {
            "asked": len(asked),
            "failures": sum(g.reply.failure is not None for g in asked),
            "not_applicable": sum(g.verdict.state == "not_applicable" and g.reply.failure is None for g in asked),
            "grader_error": sum(g.verdict.state == "grader_error" for g in asked),
        }
        for name, count in counts.items():
            yield reading("count", name, (float(count), None, None), len(asked))


def _balanced_interval(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Normal interval of a mean of means, each group's variance taken with one success and failure added."""
    variance = 0.0
    for group in groups:
        n = len(group)
        p = (sum(group) + 1) / (n + 2)
        variance += p * (1 - p) / (n + 2)
    middle = sum(sum(g) / len(g) for g in groups) / len(groups)
    half = stats.Z * variance**0.5 / len(groups)
    return max(0.0, middle - half), min(1.0, middle + half)


plugin = SubTaskProbe
