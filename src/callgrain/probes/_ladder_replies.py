"""Oracles that stand in the reply: names, values and plan of the calls put right, each for itself.

They ask nothing of the model: the calls that it made are paired with the answer's as the verifier pairs them, one
axis is taken from the answer and the rest left as it was given. Exactly:

- `syntax` (only where the model cannot be held to a grammar): a turn that could not be read is what it was probably
  meant to be (`Reply.recovered`), where that is known.
- `names`: each paired call gets the name of the call it stands for. A turn without any call, where calls are due,
  becomes the answer's functions without arguments: to choose among functions is also to choose to call.
- `values`: each paired call gets exactly the answer's arguments that are plain values; those that hold references stay.
- `plan`: calls too many go, calls left out are put in whole, order, labels and references are the answer's.

A reply that cannot be read has no call to mend. An oracle may be declined: what is right stays right. All of them
together make every reply right that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from callgrain.core.protocols import SubTask
from callgrain.core.types import Answer, Call, Message, Reply, Sample
from callgrain.verify.key import Key
from callgrain.verify.lint import has_reference, too_deep
from callgrain.verify.verdict import judge_calls
from callgrain.verify.ways import ways

READ = "syntax"
"""The rung that reads what was meant, where it is one of the reply's."""


def mended(sample: Sample, reply: Reply, rungs: Sequence[str]) -> Reply:
    """The reply with these oracles in; the same object where they change nothing."""
    message = reply.message
    if message is None and READ in rungs and reply.fault is not None:
        message = reply.recovered
    if message is None or any(map(too_deep, message.calls)):
        return reply
    calls = _calls(sample, message, rungs)
    if message is reply.message and _keys(calls) == _keys(message.calls):
        return reply
    return Reply(text=reply.text, message=message.model_copy(update={"calls": calls}))


def rights(task: SubTask, sample: Sample, reply: Reply, rungs: Sequence[str]) -> list[bool]:
    """Whether the reply is right with each set of `rungs`: 2^n values, bit i of the index says whether rung i is in."""
    out = [False] * (1 << len(rungs))
    judged: dict[tuple[str, ...] | None, bool] = {}
    for coalition in range(len(out)):
        inside = [i for i in range(len(rungs)) if coalition >> i & 1]
        if any(out[coalition & ~(1 << i)] for i in inside):
            out[coalition] = True
            continue
        now = mended(sample, reply, [rungs[i] for i in inside])
        key = None if now is reply or now.message is None else _keys(now.message.calls)
        if key not in judged:
            judged[key] = task.grade(sample, now).ok
        out[coalition] = judged[key]
    return out


def _keys(calls: Sequence[Call]) -> tuple[str, ...]:
    """The calls by content: to Python, True equals 1."""
    return tuple(call.key for call in calls)


def _calls(sample: Sample, message: Message, rungs: Sequence[str]) -> tuple[Call, ...]:
    given = message.calls
    names, values, plan = ("names" in rungs, "values" in rungs, "plan" in rungs)
    if not given:
        opened = [call.model_copy(update={"arguments": {}}) for call in sample.answer.calls] if names else []
        return tuple(_argued(gold, call, values, plan) for gold, call in zip(sample.answer.calls, opened, strict=False))
    if not (names or values or plan):
        return given
    answer = _nearest(sample, message)
    pairing = Key(answer, sample.prompt.tools, names_only=sample.subtask == "names").pairing(given)
    out: list[tuple[int, Call]] = []
    for place, call in enumerate(given):
        meant = pairing.of_given.get(place)
        if meant is not None:
            gold = answer.calls[meant]
            update = {"name": gold.name if names else call.name, "label": gold.label if plan else call.label}
            out.append((meant, _argued(gold, call.model_copy(update=update), values, plan)))
        elif not plan:
            out.append((place, call))
    if plan:
        out += [(place, answer.calls[place]) for place in pairing.missing]
        out.sort(key=lambda pair: pair[0])
    return tuple(call for _, call in out)


def _argued(gold: Call, call: Call, values: bool, plan: bool) -> Call:
    """The call with its plain values (`values`), its references (`plan`) or both taken from `gold`."""
    linked = {name for name, value in gold.arguments.items() if has_reference(value)}
    plain, refers = (gold if values else call).arguments, (gold if plan else call).arguments
    kept = {name: value for name, value in plain.items() if name not in linked}
    return call.model_copy(update={"arguments": kept | {n: v for n, v in refers.items() if n in linked}})


def _nearest(sample: Sample, message: Message) -> Answer:
    """The way of being right that the reply comes nearest to, as the verifier chooses it."""
    found = [way for way in ways(sample.answer) if way.decision == "call"]
    if len(found) == 1:
        return found[0]
    reply, bare = Reply(message=message), sample.subtask == "names"

    def near(way: Answer) -> tuple[bool, float]:
        alone = way.model_copy(update={"instead": ()})
        verdict = judge_calls(alone, sample.prompt.tools, reply, names_only=bare)
        return verdict.ok, verdict.score

    return max(found, key=near)
