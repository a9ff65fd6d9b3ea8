"""NESTFUL's figures restated: functions, parameters, sequences and wins, as its scorer has them.

Behaviour of the scorer of IBM/NESTFUL (v2: `scorer.py`, `utils.py`, `output_parsers.py`). Values
are compared as Python prints them; calls stand against calls by their place; F1 is macro over
the gold's own labels, so what is named beyond them costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

from callgrain.core.types import Call, Json, Reply, Sample, Verdict
from callgrain.verify.verdict import unanswered

CALLING = frozenset({"full", "parallel", "slots", "next_call", "nest", "chain"})
"""Sub-tasks whose answers are whole calls."""

MEASURES: dict[str, str] = {
    "f1_functions": "F1 over function names",
    "f1_parameters": "F1 over parameters with their values",
    "partial_sequence": "share of calls that are right in their place",
    "full_sequence": "1 where every call is",
}
"""Figures of both graders, by the names that they have in `Verdict.measures`."""

_PSEUDO = ("var_result", "varResult")


class Crash(Enum):
    """In place of a result: the call could not be executed."""

    CRASHED = "crashed"


CRASHED = Crash.CRASHED


def passed_over(sample: Sample, reply: Reply) -> Verdict | None:
    """The verdict where there are no figures of this kind: no reply at all, or a sample that NESTFUL does not know."""
    if reply.failure is not None:
        return unanswered(reply)
    if sample.subtask not in CALLING:
        reason = f"NESTFUL has nothing like the sub-task {sample.subtask!r}"
    elif not sample.answer.calls:
        reason = "NESTFUL has no notion of a request without calls"
    else:
        return None
    return Verdict(state="not_applicable", score=0.0, detail=reason)


def grounded(calls: Sequence[Call]) -> list[tuple[str, dict[str, Json]]]:
    """Calls with `$var1.x$` read as `$function.x$`; only labels that begin with `var` and have a path are.

    Which of several calls of one function is meant is lost with that.
    """
    named = {c.label.replace("$", ""): c.name for c in calls if c.label and c.name not in _PSEUDO}
    return [(c.name, {k: _ground(v, named) for k, v in c.arguments.items()}) for c in calls if c.name != _PSEUDO[0]]


def _ground(value: Json, named: dict[str, str]) -> Json:
    if isinstance(value, list):
        return [_ground(item, named) if isinstance(item, str) else item for item in value]
    if not isinstance(value, str) or not value.startswith("$var") or "." not in value:
        return value
    label = value.split(".", 1)[0].replace("$", "")
    return value.replace(label, named[label]) if label in named else value


def mended(calls: Iterable[tuple[str, dict[str, Json]]]) -> list[tuple[str, dict[str, Json]]]:
    """Calls with an unended `$` ended. Only what is given is mended: a gold `$500-$1000` is never met again."""
    return [(name, {k: _ended(v) for k, v in arguments.items()}) for name, arguments in calls]


def _ended(value: Json) -> Json:
    return value + "$" if isinstance(value, str) and value.startswith("$") and not value.endswith("$") else value


def slots(arguments: dict[str, Json]) -> list[str]:
    """Parameters as text: 5 and "5", True and "True" are the same."""
    return [f"{name} = {value}" for name, value in arguments.items()]


def written(calls: Iterable[tuple[str, dict[str, Json]]]) -> list[tuple[str, str]]:
    """Each call as its name and the text that it is compared by."""
    return [(name, f"{name}({', '.join(sorted(slots(arguments)))})") for name, arguments in calls]


def partial_sequence(gold: Sequence[tuple[str, str]], given: Sequence[tuple[str, str]]) -> float:
    """Share of places with the same call. Of unequal lengths, the gold is used up until a name meets.

    A call inserted in front of all others therefore leaves nothing that is right.
    """
    if not gold:
        return 0.0
    if len(gold) == len(given):
        return sum(a[1] == b[1] for a, b in zip(gold, given, strict=True)) / len(gold)
    right = i = j = 0
    places = len(gold) + len(given)
    while i < len(gold) and j < len(given):
        if gold[i][0] == given[j][0]:
            right += gold[i][1] == given[j][1]
            places -= 1
            j += 1
        i += 1
    return right / places


def macro_f1(gold: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> float:
    """Macro F1 over rows of labels; only labels of the gold count, each row as a set. 0 without any."""
    hit, due, made = Counter[str](), Counter[str](), Counter[str]()
    for want, have in zip(gold, given, strict=True):
        due.update(set(want))
        made.update(set(have))
        hit.update(set(want) & set(have))
    return sum(2 * hit[label] / (due[label] + made[label]) for label in due) / len(due) if due else 0.0


def slot_rows(calls: Iterable[tuple[str, dict[str, Json]]]) -> dict[str, list[str]]:
    """Parameters by function: of several calls of one function only the last is kept."""
    return {name: slots(arguments) for name, arguments in calls}
