"""Short signatures and calls: one line each, few tokens, no brackets.

A call is its signature with values in the place of types: the tool `book_hotel city= nights=integer
-> hotel` is called by `@book_hotel city=paris nights=2`, with a label by `@a:book_hotel ...`.
Plain words stand bare, every other value is JSON. White space around the marks does not
count, so that a word-level tokenizer may join its words with blanks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from callgrain.core.protocols import Stream
from callgrain.core.types import Call, Fault, Json, Message, Prompt, Tool
from callgrain.dialects._calls import OPENING, clean, is_cut_off, looks_bare, read_value, shown
from callgrain.dialects._grammar import Grammar
from callgrain.dialects._grammar_lines import line_grammar
from callgrain.dialects._list_stream import LineStream
from callgrain.dialects._loose import CutError, JunkError, Loose
from callgrain.dialects._recover import Meant, around, fault_of, hidden, meant, named
from callgrain.dialects._stream import Buffered
from callgrain.dialects._turns import cut_thought, join_turns, split_turns, with_thought

HOW = (
    "You can call functions. To call, write one line a call and nothing else: @function parameter=value. "
    "Put text with blanks in double quotes. To pass one call's result to another, label it, @a:function ..., "
    "and use $a$ or $a.field$ as the value."
)
_BARE = re.compile(r"[A-Za-z0-9_$][A-Za-z0-9_.$\-]{0,199}")
_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+\-]?\d+)?(?![A-Za-z0-9_.$\-])")
_HALF_NUMBER = re.compile(r"\.|[eE][+\-]?")  # what goes on behind -0.5 or -2e-9 cut short
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,199}")
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN_NAME = r"[A-Za-z_][A-Za-z0-9_.\-/]{0,199}+"
_GAP = r"[ \t\r\n]"
# In prose an `@` is mostly a person: a name, and a parameter's name with its `=`, must follow.
_CALLED = re.compile(
    rf"(?<![^\s`])@{_GAP}*+{_PLAIN_NAME}(?:{_GAP}*+:{_GAP}*+{_PLAIN_NAME})?+{_GAP}++{_PLAIN_NAME}{_GAP}*+="
)
_KEY = re.compile(rf'(?:({_PLAIN_NAME})|("(?:[^"\\]++|\\.)*+")){_GAP}*+=', re.DOTALL)
_ENDED = re.compile(r"[ \t\r]*+(?:\n|\Z|[@>`])")
_LAST = re.compile(rf"(?:{_PLAIN_NAME})?+(?=\s*+\Z)")
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
        thought, body = _parts(text)
        if not body.startswith(("@", '> "')):
            if OPENING.search(body) or looks_bare(body) or '{"name"' in body:
                fault = Fault(kind="wrong_shape", where="", expected="@function parameter=value", given=shown(body))
                return named(fault, _meant(body))
            found = _meant(body) if "@" in body else Meant()
            near = fault_of(found, body) if found.calls else hidden(body, "lines")
            return near or Message(text=body, thought=thought)
        try:
            calls, said = _Reader(body).turn()
        except _BrokenError as broken:
            fault = Fault(kind=broken.kind, where=broken.where, expected=str(broken), given=shown(body))
            return named(fault, _meant(body))
        return Message(text=said, thought=thought, calls=tuple(calls))

    def grammar(self, tools: Sequence[Tool], *, spaced: bool = False, special: frozenset[str] = frozenset()) -> Grammar:
        """Turns over `tools` as `write` spells them; see `core.protocols.Dialect`."""
        return line_grammar(tools, _word, _spell, spaced=spaced, special=special)

    def recover(self, text: str) -> Message | None:
        """The turn that a text which cannot be read probably means, or None."""
        thought, body = _parts(text)
        # Who asks about a text that can be read had it cut off: its last word may be half a word.
        calls = _meant(body, is_cut=isinstance(self.parse(text), Message)).calls
        return Message(thought=thought, calls=calls) if calls else None

    def stream(self) -> Stream:
        """A turn piece by piece; each call comes once the next one begins, the last one at the end."""
        if type(self).parse is not Compact.parse:
            return Buffered(self.parse)
        return LineStream(self.parse, _single)


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
            raise self._broken("truncated" if is_cut_off(error, self.text) else "unparsable", "a value") from error
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


class _LooseReader(_Reader):
    """A turn as it was probably meant: the calls that can be made out, and what they miss."""

    def __init__(self, text: str, *, is_cut: bool = False) -> None:
        super().__init__(text)
        self._is_cut = is_cut
        self._loose = Loose(text)
        self._spans: list[tuple[int, int]] = []

    def meant(self) -> Meant:
        """Every call in the text that has arguments, or a line's end after its name."""
        met = self._loose.met
        while not self._loose.is_spent and (start := self._next_start()) >= 0:
            self.at = start + 1
            try:
                self._one()
            except _BrokenError as broken:
                if broken.kind == "truncated" or self.at >= len(self.text):
                    met.add("truncated")
            except CutError:
                self.at = len(self.text)
                met.add("truncated")
            except JunkError as junk:
                self.at = max(junk.at, start + 1)
        if not self.calls:
            return Meant()
        return Meant(tuple(self.calls), frozenset(met | around(self.text, self._spans)))

    def _next_start(self) -> int:
        """Where the next call begins: at once, or at an `@` in the prose that a name and a parameter follow."""
        here = _SPACE.match(self.text, self.at)
        at = here.end() if here else self.at
        if self.text.startswith("@", at) and (at == 0 or self.at > 0):
            return at
        found = _CALLED.search(self.text, self.at)
        return found.start() if found else -1

    def _one(self) -> None:
        self._loose.step()
        start = self.at - 1
        name, label = self._word("a function name"), None
        if self._take(":"):
            label, name = name, self._word("a function name")
        ended = self.at
        arguments: dict[str, Json] = {}
        try:
            while (key := self._key()) is not None:
                value = self._value()
                arguments[key] = value
                ended = self.at
        finally:
            is_half = self._is_cut and ended == len(self.text)
            if arguments or (_ENDED.match(self.text, ended) and not is_half):
                self.calls.append(Call(name=name, arguments=arguments, label=label))
                self._spans.append((start, max(ended, self.at)))

    def _key(self) -> str | None:
        """The next parameter's name, past its `=`; None where the call ends."""
        self._loose.step()
        if self._take(","):
            self._loose.met.add("separators")
            self._skip()
        found = _KEY.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
            return found[1] if found[1] is not None else str(self._loose.value(found.start(2))[0])
        self._skip()
        if self._take(">"):
            self._value()
        elif (rest := _LAST.match(self.text, self.at)) and rest[0]:
            self.at = len(self.text)
            raise CutError
        return None

    def _value(self) -> Json:
        self._skip()
        found = None if _NUMBER.match(self.text, self.at) else _BARE.match(self.text, self.at)
        if found is not None and _is_word(found[0]):
            value, end = found[0], found.end()
        else:
            value, end = self._loose.value(self.at)
            if not isinstance(value, str) and _HALF_NUMBER.fullmatch(self.text, end):
                raise CutError
        if self._is_cut and end == len(self.text) and self.text[-1] not in "\"'}]":
            raise CutError
        self.at = end
        return value


def _parts(text: str) -> tuple[str, str]:
    thought, rest = cut_thought(text.encode(errors="replace").decode())
    return thought, rest.strip()


def _meant(body: str, *, is_cut: bool = False) -> Meant:
    """What a turn probably means: lines of calls, or else calls in JSON."""
    found = _LooseReader(body, is_cut=is_cut).meant() if "@" in body else Meant()
    return found if found.calls else meant(body, "lines")


def _single(text: str) -> Call | None:
    """The call that `text` is, or None."""
    try:
        calls, said = _Reader(text).turn()
    except _BrokenError:
        return None
    return calls[0] if len(calls) == 1 and not said else None


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
