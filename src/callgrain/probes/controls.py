"""What a score is worth beside answers without skill or tools.

Three controls need no model: a random call that fits the schema, the majority tool, lexical
overlap. Two ask the model again: with no tools shown, and with the tools' descriptions dealt
out anew. The margin is the score minus the best control's, on the same samples (after Kung
and Peng 2023, arXiv 2305.11383: models tuned on instructions may not be using them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample, Tool
from callgrain.probes._graded import Graded, by_subtask, reading, subtask_of
from callgrain.probes._unskilled import Majority, unskilled

FREE = ("random", "majority", "lexical")
ASKED = ("empty_tools", "shuffled_descriptions")


class Controls:
    """Controls and the margin over the best of them."""

    standard = True

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Each sample again without tools, and again with descriptions shuffled where that changes it."""
        for sample in pool:
            if sample.subtask != "response":  # its answer stands in the results, not in the tools
                yield _with_tools(sample, (), "empty_tools")
            shuffled = _shuffled(sample.prompt.tools, rng)
            if shuffled is not None:
                yield _with_tools(sample, shuffled, "shuffled_descriptions")

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `control/<name>` and `control/margin` (with the name of the best control) by sub-task."""
        asked = {
            (str(g.sample.traits["of"]), str(g.sample.traits["control"])): g for g in graded if g.probe == "controls"
        }
        out: list[Reading] = []
        for name, items in by_subtask(graded).items():
            oks = _free(name, items)
            for control in ASKED:
                pairs = {g.sample.key: asked.get((g.sample.key, control)) for g in items}
                if any(pairs.values()):
                    oks[control] = {key: found.verdict.ok for key, found in pairs.items() if found and found.counts}
            for control, found in oks.items():
                figure = stats.share(sum(found.values()), len(found))
                out.append(reading("control", control, figure, len(found), subtask=name))
            out += _margin(name, items, oks)
        return out


def _margin(name: str, items: Sequence[Graded], oks: dict[str, dict[str, bool]]) -> Iterator[Reading]:
    """The score minus the best control's, paired; the best is the one with the highest share."""
    usable = {control: found for control, found in oks.items() if found}
    if not usable:
        return
    best = max(usable, key=lambda control: sum(usable[control].values()) / len(usable[control]))
    both = [g for g in items if g.sample.key in usable[best]]
    figure = stats.paired_difference([g.verdict.ok for g in both], [usable[best][g.sample.key] for g in both])
    yield reading("control", "margin", figure, len(both), subtask=name, control=best)


def _free(name: str, items: Sequence[Graded]) -> dict[str, dict[str, bool]]:
    """Right or wrong by sample key, for each control that needs no model."""
    task = subtask_of(name)
    majority = Majority([g.sample.answer for g in items])
    out: dict[str, dict[str, bool]] = {}
    for control in FREE:
        out[control] = {}
        for item in items:
            rng = Random(text_key(control, item.sample.key))
            counts = majority.without(item.sample.answer)
            reply = unskilled(control, name, item.sample.prompt, counts, rng)
            out[control][item.sample.key] = task.grade(item.sample, reply).ok
    return out


def _with_tools(sample: Sample, tools: Sequence[Tool], control: str) -> Sample:
    prompt = sample.prompt.model_copy(update={"tools": tuple(tools)})
    traits = {**sample.traits, "control": control, "of": sample.key}
    return sample.model_copy(update={"prompt": prompt, "traits": traits})


def _shuffled(tools: Sequence[Tool], rng: Random) -> tuple[Tool, ...] | None:
    """The tools with their descriptions moved round by one or more; None where nothing would change."""
    texts = [t.description for t in tools]
    if len(set(texts)) < 2:
        return None
    by = rng.randrange(1, len(texts))
    return tuple(
        t.model_copy(update={"description": text}) for t, text in zip(tools, texts[by:] + texts[:by], strict=True)
    )


plugin = Controls
