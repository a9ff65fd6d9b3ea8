"""Short signatures and calls: one line each, few tokens, no brackets.

A call is its signature with values in the place of types: the tool `book_hotel city= nights=integer
-> hotel` is called by `@book_hotel city=paris nights=2`, with a label by `@a:book_hotel ...`.
Plain words stand bare, every other value is JSON. White space around the marks does not
count, so that a word-level tokenizer may join its words with blanks.
"""

from __future__ import annotations

import json
import re
from typing import Any

from callgrain.core.types import Call, Fault, Json, Message, Prompt, Tool
from callgrain.dialects._calls import OPENING, clean, looks_bare, read_value, shown
from callgrain.dialects._turns import cut_thought, join_turns, split_turns, with_thought

HOW = (
    "You can call functions. To call, write one line a call and nothing else: @function parameter=value. "
    "Put text with blanks in double quotes. To pass one call's result to another, label it, @a:function ..., "
    "and use $a$ or $a.field$ as the value."
)
_BARE = re.compile(r"[A-Za-z0-9_$][A-Za-z0-9_.$\-]{0,199}")
_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+\-]?\d+)?(?![A-Za-z0-9_.$\-])")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,199}")
_SPACE = re.compile(r"[ \t\r\n]*")
_LITERALS = ("true", "false", "null")


class Compact:
    """Signature-like calls."""

    end = "<|end|>"

    def turns(self, prompt: Prompt) -> list[tuple[str, str]]:
        """(role, text) of each turn; signatures and the way of writing calls stand in the system turn."""
        head, rest = split_turns(prompt, self.write)
        tools = "\n".join(signature(tool) for tool in prompt.tools)
        intro = f"{head}\n\n{HOW}\n\nFunctions:\n{tools}".strip() if prompt.tools else head
        return [("system", intro), *rest] if intro else rest

    def render(self, prompt: Prompt) -> str:
        """The whole prompt as one text: for models trained on this dialect, so without saying how."""
        head, rest = split_turns(prompt, self.write)
        tools = "\n".join(f"{signature(tool)} ;" for tool in prompt.tools)
        opening = [("system", head)] if head else []
        return join_turns([*opening, *([("tools", tools)] if tools else []), *rest], self.end)

    def write(self, message: Message) -> str:
        """An assistant turn as text."""
        calls = "\n".join(_call(c) for c in message.calls)
        if calls:
            said = f"\n> {_dumps(message.text)}" if message.text else ""
            return with_thought(message.thought, calls + said)
        plain = self.parse(message.text) == Message(text=message.text)
        return with_thought(message.thought, message.text if plain else f"> {_dumps(message.text)}")

    def parse(self, text: str) -> Message | Fault:
        """The turn that `text` spells, or the form fault that keeps it from being read."""
        thought, rest = cut_thought(text)
        body = rest.strip()
        if not body.startswith(("@", '> "')):
            if OPENING.search(body) or looks_bare(body) or '{"name"' in body:
                return Fault(kind="wrong_shape", where="", expected="@function parameter=value", given=shown(body))
            return Message(text=body, thought=thought)
        try:
            calls, said = _Reader(body).turn()
        except _BrokenError as broken:
            return Fault(kind=broken.kind, where=broken.where, expected=str(broken), given=shown(body))
        return Message(text=said, thought=thought, calls=tuple(calls))


class _BrokenError(Exception):
    """What keeps a turn from being read: its form fault and place."""

    def __init__(self, kind: str, where: str, expected: str) -> None:
        self.kind = kind
        self.where = where
        super().__init__(expected)


class _Reader:
    """One pass over a turn, left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.calls: list[Call] = []

    def turn(self) -> tuple[list[Call], str]:
        """The calls, and the text after them."""
        while self._take("@"):
            self.calls.append(self._call())
        said = ""
        if self._take(">"):
            value = self._value()
            if not isinstance(value, str):
                raise self._broken("unparsable", "a text in double quotes")
            said = value
        self._skip()
        if self.at < len(self.text):
            raise self._broken("unparsable", "@ or the end")
        return self.calls, said

    def _call(self) -> Call:
        name, label = self._word("a function name"), None
        if self._take(":"):
            label, name = name, self._word("a function name")
        arguments: dict[str, Json] = {}
        while True:
            self._skip()
            if self.at >= len(self.text) or self.text[self.at] in "@>":
                return Call(name=name, arguments=arguments, label=label)
            key = self._word("a parameter name")
            if not self._take("="):
                raise self._broken("unparsable", f"= after {key!r}")
            if key in arguments:
                raise self._broken("unparsable", f"{key!r} only once")
            arguments[key] = self._value()

    def _word(self, wanted: str) -> str:
        self._skip()
        if self.text.startswith('"', self.at):
            value = self._value()
            return value if isinstance(value, str) else ""
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise self._broken("unparsable", wanted)
        self.at = found.end()
        return found[0]

    def _value(self) -> Json:
        self._skip()
        found = None if _NUMBER.match(self.text, self.at) else _BARE.match(self.text, self.at)
        if found is not None and _is_word(found[0]):
            self.at = found.end()
            return found[0]
        try:
            value, self.at = read_value(self.text, self.at)
        except ValueError as error:
            cut = isinstance(error, json.JSONDecodeError) and (
                error.pos >= len(self.text) or error.msg.startswith("Unterminated")
            )
            raise self._broken("truncated" if cut else "unparsable", "a value") from error
        return value

    def _take(self, mark: str) -> bool:
        self._skip()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _broken(self, kind: str, expected: str) -> _BrokenError:
        ended = self.at >= len(self.text)
        return _BrokenError("truncated" if ended else kind, f"calls.{max(0, len(self.calls))}", expected)


def signature(tool: Tool) -> str:
    """One line for a tool: parameters with their types, what it gives, what it is for."""
    parts = [_word(tool.name)]
    for name, schema in tool.properties.items():
        mark = "" if name in tool.required else "?"
        parts.append(f"{_word(name)}{mark}={_kind(schema)}")
    if tool.returns:
        parts.append(f"-> {_returned(tool.returns)}")
    if tool.description:
        parts.append(f"# {' '.join(tool.description.split())[:200]}")
    return " ".join(parts)


def _kind(schema: Any) -> str:
    """A parameter's type in short: nothing for a string, the choices of an enum."""
    if not isinstance(schema, dict):
        return "any"
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return "|".join(_spell(v) for v in enum[:20]) + ("|..." if len(enum) > 20 else "")
    kind = schema.get("type", "any")
    if kind == "array":
        return f"[{_kind(schema.get('items', {})) or 'string'}]"
    fields = schema.get("properties")
    if kind == "object" and isinstance(fields, dict) and fields:
        return "{" + ",".join(f"{_word(k)}:{_kind(v) or 'string'}" for k, v in list(fields.items())[:12]) + "}"
    return "" if kind == "string" else "|".join(map(str, kind)) if isinstance(kind, list) else str(kind)


def _returned(schema: dict[str, Any]) -> str:
    title = schema.get("title")
    return title if isinstance(title, str) and _NAME.fullmatch(title) else _kind(schema) or "string"


def _call(call: Call) -> str:
    label = f"{_word(call.label)}:" if call.label is not None else ""
    return " ".join([f"@{label}{_word(call.name)}", *(f"{_word(k)}={_spell(v)}" for k, v in call.arguments.items())])


def _word(name: str) -> str:
    return name if _NAME.fullmatch(name) else _dumps(name)


def _spell(value: Json) -> str:
    bare = isinstance(value, str) and _BARE.fullmatch(value) and _is_word(value)
    return str(value) if bare else _dumps(value)


def _is_word(text: str) -> bool:
    """Whether a bare text is a string and not one of JSON's own literals."""
    return text not in _LITERALS and _NUMBER.fullmatch(text) is None


def _dumps(value: Json) -> str:
    return json.dumps(clean(value), ensure_ascii=False)


plugin = Compact
