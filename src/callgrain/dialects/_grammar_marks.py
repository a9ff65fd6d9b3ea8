"""Rules of calls behind marks, or in whatever JSON a chat template spells them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from callgrain.core.types import Call, Message, Tool
from callgrain.dialects._calls import OPENING, OPENINGS
from callgrain.dialects._grammar import (
    ANY,
    SPACE,
    Grammar,
    Rules,
    literal,
    offered,
    prose,
    regex,
    slashed,
    thought_first,
    thought_rule,
)
from callgrain.dialects._grammar_json import call_rules
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT

BARE = rf'{SPACE}*\[?{SPACE}*\{{{SPACE}*("name"|"function"|"type": "function"){ANY}*'
"""A text that sets out to be calls without marks."""

_MARKS = "|".join(regex(mark) for mark in OPENINGS)


@dataclass(frozen=True)
class Spelling:
    """How calls are spelt: `opening`, an object a call with `between` them, `closing`.

    An object is `before`, its name, `middle`, its arguments, and a bracket; `label` stands before
    that bracket where a call has one, "" where it has no place.
    """

    opening: str
    before: str
    middle: str
    between: str
    closing: str
    label: str = ""


HERMES = Spelling(
    "<tool_call>\n", '{"name": ', ', "arguments": ', "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", ', "id": '
)


def spelling_of(write: Callable[[Message], str]) -> Spelling | None:
    """How `write` spells calls, seen from two samples; None where their objects are not told from the rest."""
    first, second = Call(name="callgrain_a", arguments={"zq": 1}), Call(name="callgrain_b", arguments={"zq": 2})
    one, two = write(Message(calls=(first,))), write(Message(calls=(first, second)))
    before, _, rest = one.partition('"callgrain_a"')
    middle, _, after = rest.partition('{"zq": 1}')
    start = before.rfind("{")
    between = two.partition('{"zq": 1}')[2].partition('"callgrain_b"')[0]
    opening, before = before[: max(start, 0)], before[start:]
    if start < 0 or not after.startswith("}") or not (between.startswith("}") and between.endswith(before)):
        return None
    made = Spelling(opening, before, middle, between[1 : -len(before)], after[1:])
    head = f'{opening}{before}"callgrain_a"{middle}{{"zq": 1}}'
    whole = f'{head}{between}"callgrain_b"{middle}{{"zq": 2}}{after}'
    if whole != two:
        return None
    return HERMES if replace(made, label=HERMES.label) == HERMES else made


def mark_grammar(
    tools: Sequence[Tool], spelling: Spelling | None, *, special: frozenset[str], may_be_thinking: bool
) -> Grammar:
    """The grammar of turns whose calls are spelt as `spelling` says, or in Hermes' way."""
    rules = Rules()
    if spelling is None:
        rules.loosened.append("calls: the template's own spelling is not known, they are spelt in Hermes' way")
    rules.rule("start", "thought turn")
    opening = "" if may_be_thinking else OPEN_THOUGHT
    thought_rule(rules, opening, CLOSE_THOUGHT, special)
    thought = thought_first(opening, CLOSE_THOUGHT)
    rules.lines.append(prose("TEXT", BARE, thought))
    # A text that would read as calls is written with a stroke before it, and then may hold anything but marks.
    rules.lines.append(f"ESCAPED: /\\\\{ANY}*/ & ~/{slashed(f'{ANY}*({_MARKS}){ANY}*')}/ & ~/{slashed(thought)}/")
    turns = ["TEXT", "ESCAPED", '""']
    if tools:
        kept = list(dict.fromkeys([spelling or HERMES, HERMES]))
        for number, way in enumerate(kept):
            turns.append(_calls(rules, way, offered(tools), number, special, thought))
    rules.rule("turn", *turns)
    return rules.done()


def _marked(text: str, special: frozenset[str]) -> str:
    """A text in which special tokens stand as such."""
    names = sorted((name for name in special if name and name in text), key=len, reverse=True)
    if not names:
        return literal(text)
    pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", text)
    return " ".join(piece if piece in special else literal(piece) for piece in pieces if piece)


def _calls(
    rules: Rules, way: Spelling, tools: Sequence[Tool], number: int, special: frozenset[str], thought: str
) -> str:
    """Calls in one spelling, with text before them where a mark tells where it ends."""
    call = call_rules(rules, tools, (way.before, way.middle, way.label, "}"), prefix=f"w{number}_")
    between, closing = _marked(way.between, special), _marked(way.closing, special)
    rest = f"{call} ({between} {call})*"
    found = OPENING.match(way.opening)
    if found is None:
        return rules.rule(f"calls{number}", f"{literal(way.opening)} {rest} {closing}")
    mark, after = found[0], literal(way.opening[found.end() :])
    if mark in special:
        return rules.rule(f"calls{number}", f"TEXT? {mark} {after} {rest} {closing}")
    rules.lines.append(
        f"SAID{number}: /{slashed(f'{ANY}*{regex(mark)}')}/"
        f" & ~/{slashed(f'{ANY}*({_MARKS}){ANY}+')}/ & ~/{slashed(BARE)}/ & ~/{slashed(thought)}/"
    )
    return rules.rule(f"calls{number}", f"SAID{number} {after} {rest} {closing}")
