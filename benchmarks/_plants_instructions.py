"""Planted habits: what the probe `instructions` reads of a model that does not read a part of its prompt."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks._planting import Covered, Found, Planted, cut, pick, put, questions, simulate
from callgrain.core import plugins
from callgrain.core.types import Prompt, Reply, Sample
from callgrain.dialects._recover import spoken
from callgrain.probes.instructions import Instructions
from callgrain.verify.spoil import right

LOST = {"descriptions": 0.1, "names": 0.4, "request": 0.95, "shuffled": 0.3}
"""Share lost without each part by a model that is right 95 times in 100 with all; without a request, all of it:
prompts that differed in their request alone are then the same, and have one answer."""
WHOLE = 0.95


class ByDescription(Planted):
    """Calls the function that carries the right description, whatever its name."""

    def _one(self, prompt: Prompt) -> Reply:
        sample = self._known[prompt.model_copy(update={"sampling": Prompt(messages=()).sampling}).key]
        misled = str(sample.traits.get("instructions_misled", ""))
        if not misled:
            return right(sample)
        (call,) = sample.answer.calls
        dialect = plugins.load("dialects", "json")()
        message = sample.answer.message.model_copy(update={"calls": (call.model_copy(update={"name": misled}),)})
        return spoken(dialect, dialect.write(message))


def chance(sample: Sample) -> float:
    """Right as often as planted for the part that is gone."""
    return WHOLE - LOST.get(str(sample.traits.get("instructions_part", "")), 0.0)


def plants(quick: bool) -> Iterator[Found]:
    """What each part is worth, and a model that reads descriptions and no names."""
    pool = cut("toolworld:full", ("names", "slots", "full"), 15 if quick else 30)
    asked = questions(Instructions(), "instructions", pool)
    found = Instructions().read(put(Planted(chance), asked))
    for part, lost in LOST.items():
        yield Found(f"loses {lost:.0%} without {part}", lost, pick(found, "use", subtask="all", part=part))
    single = cut("toolworld:full", ("names",), 30)
    read = Instructions().read(put(ByDescription(lambda _: 1.0), questions(Instructions(), "instructions", single)))
    yield Found("goes by descriptions: follows_description", 1.0, pick(read, "follows_description", subtask="names"))
    yield Found("goes by descriptions: follows_name", 0.0, pick(read, "follows_name", subtask="names"))


def coverage(runs: int) -> Iterator[Covered]:
    """The paired worth of a part, alone and over sub-tasks whose samples share traces."""
    pool = cut("toolworld:full", ("names", "slots", "full"), 30)
    asked = questions(Instructions(), "instructions", pool)
    held = {("names", "names"): 0, ("all", "names"): 0, ("all", "descriptions"): 0}
    for seed in range(runs):
        found = Instructions().read(simulate(asked, chance, seed))
        for subtask, part in held:
            row = pick(found, "use", subtask=subtask, part=part)
            held[subtask, part] += row is not None and (row.low or -1) <= LOST[part] <= (row.high or 1)
    for (subtask, part), count in held.items():
        yield Covered(f"worth of {part}, {subtask}", count, runs)
