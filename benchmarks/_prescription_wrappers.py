"""Text models with a planted weakness that no training is needed for, and the settings prescribed to each.

Every model is asked the same held-out requests, each with 24 tools in sight and behind an exchange that failed. One
setting may be applied to a request: that is the budget. `prescribed` applies the first of what the model's own
diagnosis prescribes to every request, `uniform` deals all settings out evenly, `opposite` applies to every request
one that was looked at and not prescribed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks._planting import Planted
from callgrain.core import plugins, stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Message, Prompt, Reply, Result, Sample
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.dialects.json import JsonDialect
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose
from callgrain.probes._graded import subtask_of
from callgrain.sources._open import open_source
from callgrain.verify.spoil import spoil

GOOD, HURT = 0.95, 0.5
SETTINGS = ("constrain", "retrieval", "history")
DENSE = "crowded,n=20,near=0.2:toolworld:full,seed=9"


class Fenced(Planted):
    """Answers as Planted does, and puts a share of its calls behind a fence, which its dialect does not read."""

    def __init__(self, chance: Any, fenced: float) -> None:
        super().__init__(chance)
        self.fenced = fenced

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """The replies, some of them fenced."""
        return [self._told(p, r) for p, r in zip(prompts, super().answer(prompts), strict=True)]

    def _told(self, prompt: Prompt, reply: Reply) -> Reply:
        if reply.message is None or not reply.message.calls:
            return reply
        if Random(text_key("fence", prompt.key)).random() >= self.fenced:
            return reply
        dialect = JsonDialect()
        text = f"```json\n{dialect.write(reply.message)}\n```"
        return Reply.spoken(text, dialect.parse(text), recovered=dialect.recover(text))


@dataclass(frozen=True)
class Patient:
    """A weakness: rates of faults by sample, and the share of fenced calls."""

    name: str
    chance: Callable[[Sample], Mapping[str, float]]
    fenced: float = 0.0


def _usual(sample: Sample) -> Mapping[str, float]:
    del sample
    return {"wrong_value": 1 - GOOD}


def _crowd(sample: Sample) -> Mapping[str, float]:
    return {"wrong_tool": 1 - (GOOD if len(sample.prompt.tools) <= 8 else HURT)}


def _misled(sample: Sample) -> Mapping[str, float]:
    failed = any(r.error for m in sample.prompt.messages for r in m.results)
    is_wrong = failed or float(sample.traits.get("contamination_share", 0)) > 0
    return {"wrong_value": 1 - (HURT if is_wrong else GOOD)}


PATIENTS = (
    Patient("broken form", _usual, fenced=0.5),
    Patient("many tools", _crowd),
    Patient("wrong history", _misled),
)


def run(out: Path, n: int) -> dict[str, dict[str, Any]]:
    """By patient: what was prescribed, the share right by arm, and the paired differences."""
    asked = requests(n)
    found: dict[str, dict[str, Any]] = {}
    for patient in PATIENTS:
        chosen = _prescribed(patient, out, n)
        order = [kind for kind in chosen if kind in SETTINGS]
        spare = [kind for kind in SETTINGS if kind not in order]
        first, last = (order or spare)[0], (spare or order)[-1]
        arms = {
            "untreated": [""] * len(asked),
            "prescribed": [first] * len(asked),
            "uniform": [SETTINGS[i % len(SETTINGS)] for i in range(len(asked))],
            "opposite": [last] * len(asked),
        }
        oks = {arm: right(patient, asked, kinds) for arm, kinds in arms.items()}
        pairs = (("prescribed", "uniform"), ("prescribed", "opposite"), ("prescribed", "untreated"))
        found[patient.name] = {
            "prescribed": chosen,
            "opposite": last,
            "right": {arm: stats.share(sum(values), len(values)) for arm, values in oks.items()},
            **{f"{a} minus {b}": stats.paired_difference(oks[a], oks[b]) for a, b in pairs},
        }
    return found


def _prescribed(patient: Patient, out: Path, n: int) -> list[str]:
    """Kinds of what the patient's own diagnosis prescribes, the first first; the diagnosis is told nothing."""
    recipe = DiagnoseRecipe(
        model=f"planted:{patient.name.replace(' ', '-')}",
        source="crowded,n=20,near=0.2:toolworld:full",
        subtask="full",
        probe="standard,density,contamination",
        n=n,
    )
    model = Fenced(patient.chance, patient.fenced)
    asked = diagnose(recipe, out, model=model)
    return prescribe(PrescribeRecipe(run=str(asked.folder)), out).read("done")["remedies"]


def requests(n: int) -> list[Sample]:
    """Held-out requests, each behind an exchange in which a call failed."""
    source, split = open_source(DENSE, split="test")
    task = subtask_of("full")
    found: list[Sample] = []
    before: tuple[Message, ...] = ()
    for trace in source.traces(split):
        sample = next(iter(task.samples(trace, Random(0))), None)
        if sample is None or len(trace.gold.calls) != 1 or len(sample.prompt.tools) < 16:
            continue
        if before:
            messages = (*before, *sample.prompt.messages)
            found.append(sample.model_copy(update={"prompt": sample.prompt.model_copy(update={"messages": messages})}))
        before = _failed(sample)
        if len(found) == n:
            return found
    return found


def _failed(sample: Sample) -> tuple[Message, ...]:
    """The request with a call that no tool answers."""
    users = tuple(m for m in sample.prompt.messages if m.role == "user")[-1:]
    reply = spoil("unknown_tool", sample, Random(1))
    if not users or reply is None or reply.message is None:
        return ()
    call = reply.message.calls[0]
    result = Result(name=call.name, error=f"no function named {call.name}")
    return (*users, Message(calls=(call,)), Message(role="tool", results=(result,)))


# settings -----------------------------------------------------------------------------------------


def right(patient: Patient, asked: Sequence[Sample], kinds: Sequence[str]) -> list[bool]:
    """Right or wrong on each request under its setting."""
    model = Fenced(patient.chance, patient.fenced)
    put = [_WRAPPERS.get(kind, _as_is)(sample) for sample, kind in zip(asked, kinds, strict=True)]
    model.rehearse(put)
    replies = model.answer([sample.prompt for sample in put])
    return [_is_right(*item) for item in zip(put, replies, kinds, strict=True)]


def _is_right(sample: Sample, reply: Reply, kind: str) -> bool:
    """The verdict; a call of a tool that was not retrieved is none that the model could have made."""
    if kind == "constrain" and reply.recovered is not None:
        reply = Reply(text=reply.text, message=reply.recovered)
    offered = {tool.name for tool in sample.prompt.tools}
    due = {call.name for call in sample.answer.calls}
    return due <= offered and subtask_of(sample.subtask).grade(sample, reply).ok


def _as_is(sample: Sample) -> Sample:
    return sample


def _retrieved(sample: Sample) -> Sample:
    """The five tools that BM25 finds for the last request."""
    tools = sample.prompt.tools
    said = next(m.text for m in reversed(sample.prompt.messages) if m.role == "user")
    places = [place for place, _ in plugins.load("retrievers", "bm25")(tools).rank([said], 5)[0]]
    kept = tuple(tools[place] for place in sorted(places))
    return sample.model_copy(update={"prompt": sample.prompt.model_copy(update={"tools": kept})})


def _pruned(sample: Sample) -> Sample:
    """The conversation without exchanges whose call failed: from their request to their result."""
    kept: list[Message] = []
    for message in sample.prompt.messages:
        kept.append(message)
        if any(result.error for result in message.results):
            while kept and kept.pop().role != "user":
                pass
    return sample.model_copy(update={"prompt": sample.prompt.model_copy(update={"messages": tuple(kept)})})


_WRAPPERS: Mapping[str, Callable[[Sample], Sample]] = {"retrieval": _retrieved, "history": _pruned}
