"""Sub-skills and the very tokens at which each is decided.

Five skills, each on samples of its own sub-tasks: whether to call (`decide`, the first token), which tool
(`names`), which value (`slots`), what comes next (`next_call`), and which earlier result (`nest`, `chain`). A
token carries loss only where the skill decides it: a tool's name is decided where it parts from another name
that is shown, not where it goes on as it must. A leak of one skill's tokens into another's would fake modularity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from callgrain.core.canonical import text_key
from callgrain.core.errors import CallgrainError
from callgrain.core.types import Call, Message, Ref, Sample
from callgrain.dialects._spans import Span
from callgrain.models._encode import Encoder, Turn
from callgrain.models._mask_search import Decision
from callgrain.probes._graded import grouped
from callgrain.probes._pool import Row

Places = Callable[[Encoder, Sample, Turn], set[int]]
MOST_TURN = 96
"""Tokens of a turn that are looked at: a nest of four calls has more, and its later ones teach nothing further."""


def _first(encoder: Encoder, sample: Sample, turn: Turn) -> set[int]:
    """The token at which a turn becomes a call or words."""
    del encoder, sample, turn
    return {0}


def _choice(encoder: Encoder, sample: Sample, turn: Turn) -> set[int]:
    """Tokens at which a called tool's name parts from another that is shown."""
    message = sample.answer.message
    found: set[int] = set()
    for number, call in enumerate(message.calls):
        own = _span(turn, f"{number}.name", "name")
        if own is None:
            continue
        for tool in sample.prompt.tools:
            if tool.name != call.name:
                other = encoder.turn(_renamed(message, number, tool.name))
                same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(turn.ids, other.ids, strict=False))))
                if own.start <= same < own.end:
                    found.add(same)
    return found


def _renamed(message: Message, number: int, name: str) -> Message:
    calls = list(message.calls)
    calls[number] = Call(name=name, arguments=calls[number].arguments, label=calls[number].label)
    return message.model_copy(update={"calls": tuple(calls)})


def _span(turn: Turn, path: str, kind: str) -> Span | None:
    return next((span for span in turn.spans if span.path == path and span.kind == kind), None)


def _values(sample: Sample, turn: Turn, *, referring: bool) -> set[int]:
    """Tokens of arguments that are references, or of those that are not."""
    found: set[int] = set()
    for number, call in enumerate(sample.answer.message.calls):
        for name, value in call.arguments.items():
            span = _span(turn, f"{number}.{name}", "value")
            if span is not None and (Ref.read(value) is not None) == referring:
                found |= set(range(span.start, span.end))
    return found


def _copied(encoder: Encoder, sample: Sample, turn: Turn) -> set[int]:
    del encoder
    return _values(sample, turn, referring=False)


def _referred(encoder: Encoder, sample: Sample, turn: Turn) -> set[int]:
    del encoder
    return _values(sample, turn, referring=True)


def _next(encoder: Encoder, sample: Sample, turn: Turn) -> set[int]:
    """Whether anything is left to do, and if so which of the tools; of requests for several calls alone."""
    several = sample.traits.get("n_calls", 2)
    return {0} | _choice(encoder, sample, turn) if not isinstance(several, int) or several > 1 else set()


SKILLS: dict[str, tuple[tuple[str, ...], Places]] = {
    "call": (("decide",), _first),
    "tool": (("names",), _choice),
    "value": (("slots",), _copied),
    "next": (("next_call",), _next),
    "nest": (("nest", "chain"), _referred),
}
"""Skill -> the sub-tasks whose samples show it, and the places of a turn at which it is decided."""


def decisions(rows: Sequence[Row], loaded: Any, most: int, longest: int) -> dict[str, list[Decision]]:
    """Skill -> up to `most` decisions of at most `longest` tokens, one a trace; no entry for what the pool lacks.

    What cannot be tokenised or has no place that is decided on is passed over.
    """
    encoder = Encoder(loaded)
    out: dict[str, list[Decision]] = {}
    for skill, (subtasks, places) in SKILLS.items():
        found: dict[str, Decision] = {}
        for trace, sample in rows:
            if sample.subtask in subtasks and trace not in found and len(found) < most:
                one = _decision(encoder, trace, sample, places)
                if one is not None and one.tokens <= longest:
                    found[trace] = one
        if found:
            out[skill] = list(found.values())
    return out


def _decision(encoder: Encoder, trace: str, sample: Sample, places: Places) -> Decision | None:
    """The sample as a decision; None where nothing of it is decided on, or where it cannot be tokenised."""
    try:
        turn = encoder.turn(sample.answer.message)
        where = tuple(sorted(place for place in places(encoder, sample, turn) if place < MOST_TURN))
        if not where:
            return None
        return Decision(encoder.prompt(sample.prompt), turn.ids[: where[-1] + 1], where, trace, _context(sample))
    except CallgrainError:
        return None


def _context(sample: Sample) -> int:
    """0 or 1, by the tool that the sample is about: other tools are another context of the same skill."""
    calls = sample.answer.message.calls
    about = calls[0].name if calls else next((tool.name for tool in sample.prompt.tools), "")
    return text_key("modularity", "context", about) % 2


def halves(found: Sequence[Decision]) -> tuple[list[Decision], list[Decision]]:
    """(searched on, held out), by the decision's trace: the same trace lies on one side for every skill."""
    groups = grouped(found, lambda one: str(text_key("modularity", "half", one.trace) % 2))
    return groups.get("0", []), groups.get("1", [])
