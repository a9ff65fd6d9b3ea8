"""Calls as one JSON list, tools as JSON Schema, for any chat model.

A turn of calls is `[{"name": ..., "arguments": {...}, "label": ...}]`; a turn of text is the
text itself. Where both occur, or where a text would read as calls, the turn is an object
`{"text": ..., "calls": [...]}`. Thoughts stand before it in `<think>` marks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from callgrain.core.protocols import Stream
from callgrain.core.types import Call, Fault, Json, Message, Prompt, Tool
from callgrain.dialects._calls import OPENING, as_call, is_cut_off, looks_bare, read_value, shown
from callgrain.dialects._chat import as_function, text_of
from callgrain.dialects._grammar import ANY, SPACE, Grammar, Rules, offered, prose, thought_first, thought_rule
from callgrain.dialects._grammar_json import call_rules
from callgrain.dialects._list_stream import ListStream
from callgrain.dialects._recover import hidden, meant, named
from callgrain.dialects._stream import Buffered
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT, cut_thought, join_turns, split_turns, with_thought

HOW = (
    "You can call functions. To call, write nothing but a JSON list with one object a call: "
    '[{"name": "<function>", "arguments": {"<parameter>": <value>}}]. '
    'To pass one call\'s result to another, give the first a "label" and use "$label.path$" as the value.'
)

_SETS_OUT = (rf'{SPACE}*[\[{{]{SPACE}*(["{{\]}}]{ANY}*)?', rf"{SPACE}*\[{SPACE}*\[{ANY}*", f"{SPACE}{ANY}*")
"""What `sets_out` says yes to, as regular expressions; nor does a text begin with a blank."""


class JsonDialect:
    """JSON lists of calls."""

    end = "<|end|>"

    def turns(self, prompt: Prompt) -> list[tuple[str, str]]:
        """(role, text) of each turn; tools and the way of writing calls stand in the system turn."""
        tools = "\n".join(text_of(as_function(tool)["function"]) for tool in prompt.tools)
        head, out = split_turns(prompt, self.write)
        intro = f"{head}\n\n{HOW}\n\nFunctions:\n{tools}".strip() if prompt.tools else head
        return [("system", intro), *out] if intro else out

    def render(self, prompt: Prompt) -> str:
        """The whole prompt as one text, open for the assistant's turn."""
        return join_turns(self.turns(prompt), self.end)

    def write(self, message: Message) -> str:
        """An assistant turn as text."""
        calls = [_as_json(c) for c in message.calls]
        if calls and not message.text:
            body = _dumps(calls)
        elif calls or not self._plain(message.text):
            body = _dumps({"text": message.text, "calls": calls} if calls else {"text": message.text})
        else:
            body = message.text
        return with_thought(message.thought, body)

    def _plain(self, text: str) -> bool:
        """Whether the text reads back as itself when it stands alone."""
        return self.parse(text) == Message(text=text)

    def parse(self, text: str) -> Message | Fault:
        """The turn that `text` spells, or the form fault that keeps it from being read."""
        thought, body = self._parts(text)
        if not sets_out(body):
            if OPENING.search(body) or looks_bare(body) or '{"name"' in body:
                return self._named(_fault("wrong_shape", "a JSON list and nothing else", body), body)
            return hidden(body, "list") or Message(text=body, thought=thought)
        try:
            value, end = read_value(body)
        except ValueError as error:
            return self._named(
                _fault("truncated" if is_cut_off(error, body) else "unparsable", str(error)[:200], body), body
            )
        if body[end:].strip():
            return self._named(_fault("unparsable", "nothing after the calls", body[end:]), body)
        turn = read_turn(value)
        return self._named(turn, body) if isinstance(turn, Fault) else turn.model_copy(update={"thought": thought})

    def grammar(self, tools: Sequence[Tool], *, spaced: bool = False, special: frozenset[str] = frozenset()) -> Grammar:
        """Turns over `tools` as `write` spells them; see `core.protocols.Dialect`."""
        rules = Rules()
        rules.rule("start", "thought turn")
        thought_rule(rules, OPEN_THOUGHT, CLOSE_THOUGHT, special)
        rules.lines.append(prose("TEXT", *_SETS_OUT, thought_first(OPEN_THOUGHT, CLOSE_THOUGHT)))
        text = rules.json({"type": "string"}, "text")
        turns = ["TEXT", f'"{{\\"text\\": " {text} "}}"', '""']
        if tools:
            call_rules(rules, offered(tools), ('{"name": ', ', "arguments": ', ', "label": ', "}"))
            rules.rule("calls", '"[" call (", " call)* "]"')
            turns += ["calls", f'"{{\\"text\\": " {text} ", \\"calls\\": " calls "}}"']
        rules.rule("turn", *turns)
        return rules.done()

    def recover(self, text: str) -> Message | None:
        """The turn that a text which cannot be read probably means, or None."""
        thought, body = self._parts(text)
        calls = meant(body, "list").calls
        return Message(thought=thought, calls=calls) if calls else None

    def stream(self) -> Stream:
        """A turn piece by piece; each call comes as soon as its object closes."""
        # Whoever reads otherwise than this class cannot be streamed as this class reads.
        if type(self).parse is not JsonDialect.parse:
            return Buffered(self.parse)
        return ListStream(self.parse, read_item, read_turn)

    def _parts(self, text: str) -> tuple[str, str]:
        thought, rest = cut_thought(text.encode(errors="replace").decode())
        return thought, rest.strip()

    def _named(self, fault: Fault, body: str) -> Fault:
        return named(fault, meant(body, "list"))


def read_turn(value: Json) -> Message | Fault:
    """The turn that a JSON value spells: a list of calls, one call, or text beside calls."""
    text = ""
    if isinstance(value, dict) and "name" not in value:
        text, listed = value.get("text", ""), value.get("calls", [])
        if not isinstance(text, str) or not isinstance(listed, list) or set(value) - {"text", "calls"}:
            return Fault(kind="wrong_shape", where="", expected="a list of calls", given=shown(value))
    else:
        listed = value if isinstance(value, list) else [value]
    calls: list[Call] = []
    for index, item in enumerate(listed):
        call = read_item(item, index)
        if isinstance(call, Fault):
            return call
        calls.append(call)
    return Message(text=text, calls=tuple(calls))


def read_item(item: Json, index: int = 0) -> Call | Fault:
    """One call, with its label."""
    call = as_call(item, f"calls.{index}")
    label = item.get("label") if isinstance(item, dict) else None
    if isinstance(call, Fault) or not isinstance(label, str):
        return call
    return call.model_copy(update={"label": label})


def _fault(kind: str, expected: str, given: str) -> Fault:
    return Fault(kind=kind, where="", expected=expected, given=shown(given))


def sets_out(body: str) -> bool:
    """Whether a text means JSON: prose such as `[sic] ...` does not."""
    if not body.startswith(("[", "{")):
        return False
    rest = body[1:].lstrip()
    return not rest or rest[0] in '{"]}' or (body[0] == "[" and rest[0] == "[")


def _as_json(call: Call) -> dict[str, Any]:
    out: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    return out if call.label is None else {**out, "label": call.label}


def _dumps(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


plugin = JsonDialect
