"""Calls as one JSON list, tools as JSON Schema, for any chat model.

A turn of calls is `[{"name": ..., "arguments": {...}, "label": ...}]`; a turn of text is the
text itself. Where both occur, or where a text would read as calls, the turn is an object
`{"text": ..., "calls": [...]}`. Thoughts stand before it in `<think>` marks.
"""

from __future__ import annotations

import json
from typing import Any

from callgrain.core.types import Call, Fault, Json, Message, Prompt
from callgrain.dialects._calls import OPENING, as_call, looks_bare, read_value, shown
from callgrain.dialects._chat import as_function, text_of
from callgrain.dialects._turns import cut_thought, join_turns, split_turns, with_thought

HOW = (
    "You can call functions. To call, write nothing but a JSON list with one object a call: "
    '[{"name": "<function>", "arguments": {"<parameter>": <value>}}]. '
    'To pass one call\'s result to another, give the first a "label" and use "$label.path$" as the value.'
)


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
        thought, rest = cut_thought(text)
        body = rest.strip()
        if not body.startswith(("[", "{")) or not _sets_out(body):
            if OPENING.search(body) or looks_bare(body) or '{"name"' in body:
                return Fault(kind="wrong_shape", where="", expected="a JSON list and nothing else", given=shown(body))
            return Message(text=body, thought=thought)
        try:
            value, end = read_value(body)
        except ValueError as error:
            return Fault(kind=_how_broken(error, body), where="", expected=str(error)[:200], given=shown(body))
        if body[end:].strip():
            return Fault(kind="unparsable", where="", expected="nothing after the calls", given=shown(body[end:]))
        return self._read(value, thought)

    def _read(self, value: Json, thought: str) -> Message | Fault:
        text = ""
        if isinstance(value, dict) and "name" not in value:
            text, listed = value.get("text", ""), value.get("calls", [])
            if not isinstance(text, str) or not isinstance(listed, list) or set(value) - {"text", "calls"}:
                return Fault(kind="wrong_shape", where="", expected="a list of calls", given=shown(value))
        else:
            listed = value if isinstance(value, list) else [value]
        calls: list[Call] = []
        for index, item in enumerate(listed):
            call = as_call(item, f"calls.{index}")
            if isinstance(call, Fault):
                return call
            label = item.get("label") if isinstance(item, dict) else None
            calls.append(call.model_copy(update={"label": label if isinstance(label, str) else call.label}))
        return Message(text=text, thought=thought, calls=tuple(calls))


def _sets_out(body: str) -> bool:
    """Whether a text that opens a bracket means JSON: prose such as `[sic] ...` does not."""
    rest = body[1:].lstrip()
    return not rest or rest[0] in '{"]}' or (body[0] == "[" and rest[0] == "[")


def _how_broken(error: ValueError, body: str) -> str:
    """`truncated` where the text stops before the value does, `unparsable` otherwise."""
    if isinstance(error, json.JSONDecodeError):
        return "truncated" if error.pos >= len(body) or error.msg.startswith("Unterminated") else "unparsable"
    return "unparsable"


def _as_json(call: Call) -> dict[str, Any]:
    out: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    return out if call.label is None else {**out, "label": call.label}


def _dumps(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


plugin = JsonDialect
