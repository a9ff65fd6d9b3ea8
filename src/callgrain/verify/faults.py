"""The closed table of faults: every way in which a reply can be wrong.

Seven users share it: the grader, the negatives of preference pairs, error-contaminated
histories, the scripted model, the reward, the runtime guard and the report's columns. A kind
that is not here does not exist. Levels are ordered: a report blames the first fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from callgrain.core.types import Decision, Fault, Json

LEVELS: tuple[str, ...] = ("decision", "form", "choice", "arguments", "structure", "answer")


@dataclass(frozen=True)
class Kind:
    """One row of the table: its level and what it means."""

    name: str
    level: str
    caption: str


_ROWS = (
    ("decision", "needless_call", "called a tool where none was called for"),
    ("decision", "missed_call", "gave text where a call was due"),
    ("decision", "needless_question", "asked back although nothing was missing"),
    ("decision", "missed_question", "did not ask for a value that was missing"),
    ("decision", "needless_answer", "answered from nowhere what no tool could do"),
    ("decision", "needless_decline", "declined what it could have answered"),
    ("form", "unparsable", "the text cannot be read as calls"),
    ("form", "wrong_shape", "readable, but not shaped as calls"),
    ("form", "truncated", "the text ends in the middle of a call"),
    ("choice", "unknown_tool", "called a tool that was not offered"),
    ("choice", "wrong_tool", "called another tool than the right one"),
    ("choice", "missing_call", "left a call out"),
    ("choice", "extra_call", "made a call too many"),
    ("arguments", "missing_argument", "left an argument out"),
    ("arguments", "unknown_argument", "gave an argument that the tool does not have"),
    ("arguments", "wrong_type", "an argument of another type than the schema says"),
    ("arguments", "not_allowed", "an argument outside its enum, range or pattern"),
    ("arguments", "wrong_value", "a legal argument with another value than the right one"),
    ("arguments", "ungrounded_value", "gave an optional argument that nothing asked for"),
    ("structure", "wrong_order", "calls in another order than the one that counts"),
    ("structure", "broken_reference", "refers to a call that is not there, or comes later"),
    ("structure", "wrong_nesting", "refers to the wrong result, or not at all"),
    ("answer", "unfaithful_response", "states what neither request nor results show"),
    ("answer", "incomplete_response", "leaves out what was asked for"),
)

TABLE: dict[str, Kind] = {name: Kind(name, level, caption) for level, name, caption in _ROWS}
KINDS: tuple[str, ...] = tuple(TABLE)
_RANK = {name: index for index, name in enumerate(TABLE)}

_DECISIONS: dict[tuple[Decision, Decision], str] = {
    ("call", "ask"): "needless_question",
    ("call", "decline"): "missed_call",
    ("call", "answer"): "missed_call",
    ("ask", "call"): "needless_call",
    ("ask", "decline"): "missed_question",
    ("ask", "answer"): "missed_question",
    ("decline", "call"): "needless_call",
    ("decline", "ask"): "needless_question",
    ("decline", "answer"): "needless_answer",
    ("answer", "call"): "needless_call",
    ("answer", "ask"): "needless_question",
    ("answer", "decline"): "needless_decline",
}


def at_levels(*levels: str) -> frozenset[str]:
    """Kinds of the named levels."""
    return frozenset(k.name for k in TABLE.values() if k.level in levels)


def fault(kind: str, where: str = "", expected: Json = None, given: Json = None) -> Fault:
    """A Fault of a kind that stands in the table. Raises KeyError for any other."""
    if kind not in TABLE:
        raise KeyError(kind)
    return Fault.trusted({"kind": kind, "where": where, "expected": expected, "given": given, "detail": ""})


def wrong_decision(gold: Decision, given: Decision) -> Fault | None:
    """The fault of taking branch `given` where `gold` was right."""
    kind = _DECISIONS.get((gold, given))
    return fault(kind, "", gold, given) if kind else None


def by_level(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Faults in the order of the table, then of place: stable, so that `first` is one fault."""
    listed = tuple(faults)
    return listed if len(listed) < 2 else tuple(sorted(listed, key=lambda f: (_RANK[f.kind], f.where)))
