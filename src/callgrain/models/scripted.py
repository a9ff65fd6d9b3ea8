"""A test double with known faults at known rates; no torch.

`scripted:wrong_value=0.3,nest=0.5,chain.wrong_order=0.2,seed=7`: a fault kind at a rate
wherever it can be made; any fault in one sub-task; one kind in one sub-task. It is told the
right answers beforehand (`rehearse`), since a Prompt has none. What it was not told, it does
not know. The same prompt gets the same answer in any order, on any machine; drawn at a temperature, each
seed of the prompt gets its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.types import Message, Prompt, Reply, Sample, Sampling
from callgrain.verify.faults import KINDS
from callgrain.verify.spoil import kinds_on, right, spoil


class Scripted:
    """Right answers, spoiled at known rates. Raises BadInput or UnknownName for a bad spec."""

    def __init__(self, rest: str, **_: Any) -> None:
        self.name = f"scripted:{rest}"
        self.seed, self.rates = _read(rest)
        self._known: dict[str, Sample] = {}

    def rehearse(self, samples: Sequence[Sample]) -> None:
        """Learn the right answers to the samples' prompts."""
        self._known |= {_question(s.prompt): s for s in samples}

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """The right answer to each prompt, or a spoiled one."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Reply:
        question = _question(prompt)
        sample = self._known.get(question)
        if sample is None:
            return Reply(text="I was not told.", message=Message(text="I was not told."))
        drawn = str(prompt.sampling.seed) if prompt.sampling.temperature > 0 else ""  # greedy is the same each time
        rng = Random(text_key(str(self.seed), question, drawn) if drawn else text_key(str(self.seed), question))
        return self.reply(sample, rng)

    def reply(self, sample: Sample, rng: Random) -> Reply:
        """Right, or spoiled as the rates have it; other doubles decide here what they get wrong."""
        draw = rng.random()
        for key, rate in self.rates.items():
            if (kinds := self._kinds(key, sample)) is None:
                continue
            if draw < rate:
                return self._spoiled(kinds, sample, rng)
            draw -= rate
        return right(sample)

    def _kinds(self, key: str, sample: Sample) -> Sequence[str] | None:
        """The kinds that `key` asks for on this sample's sub-task; None where it does not speak of it."""
        subtask, _, kind = key.rpartition(".")
        if not subtask and kind not in KINDS:
            subtask, kind = kind, ""
        graded = plugins.load("subtasks", sample.subtask).kinds
        if subtask not in ("", sample.subtask):
            return None
        return ([kind] if kind in graded else None) if kind else sorted(graded)

    def _spoiled(self, kinds: Sequence[str], sample: Sample, rng: Random) -> Reply:
        able = kinds_on(sample, kinds)
        wrong = spoil(rng.choice(able), sample, rng) if able else None
        return wrong or right(sample)


def _question(prompt: Prompt) -> str:
    """The prompt's key whatever the sampling: how a reply is drawn does not change what is asked."""
    return prompt.model_copy(update={"sampling": Sampling()}).key


def _read(rest: str) -> tuple[int, dict[str, float]]:
    """(seed, rate by key) of a spec."""
    seed, rates = 0, dict[str, float]()
    known = {*KINDS, *plugins.names("subtasks")}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, _, text = part.partition("=")
        subtask, _, kind = key.rpartition(".")
        try:
            if key == "seed":
                seed = int(text)
                continue
            rate = float(text)
        except ValueError as error:
            raise BadInput(f"scripted: {part!r} is no KIND=RATE", "write for instance wrong_value=0.3") from error
        if kind not in known or (subtask and subtask not in plugins.names("subtasks")):
            raise UnknownName("fault kind or sub-task", key, known)
        if not 0 <= rate <= 1:
            raise BadInput(f"scripted: the rate of {key!r} is {rate}", "give a share between 0 and 1")
        rates[key] = rate
    if sum(rates.values()) > 1 and all("." not in k and k in KINDS for k in rates):
        raise BadInput("scripted: the rates add up to more than 1", "one reply carries one fault: lower them")
    return seed, rates


plugin = Scripted
