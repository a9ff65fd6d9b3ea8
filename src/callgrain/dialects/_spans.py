"""Where names, parameters and values stand in a written turn, by reading along with its writer.

Nothing is searched for: the text is walked from its start, and each part must stand exactly
where the writer put it. A turn whose calls cannot be walked through has no spans, never wrong ones.
JSON in any spacing, calls between marks and the compact dialect are read; other spellings are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from callgrain.core.types import Call, Json, Message
from callgrain.dialects._calls import OPENING, clean
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT


class Span(NamedTuple):
    """A part of a written turn: from `start` to `end`, in characters or in tokens.

    `kind` is `name` (a function's name), `key` (a parameter's), `value` (an argument, with its
    quotes) or `mark` (all that stands around them). `path` is `"<call>.name"` for a name,
    `"<call>.<parameter>"` for a key and a value, `""` for a mark.
    """

    start: int
    end: int
    kind: str
    path: str


class _LostError(Exception):
    """The text is not what a writer of calls puts there."""


_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?[0-9][0-9.eE+\-]*")
_DECODER = json.JSONDecoder()
_INSIDE = ("arguments", "parameters")


def spans(text: str, message: Message) -> tuple[Span, ...]:
    """Names, keys and values of the calls of `message` in `text`, which is how a dialect wrote it; in order.

    Offsets are in characters. Empty where there are no calls, and for a spelling that is not known.
    """
    if not message.calls:
        return ()
    start = _past_thought(text)
    for walk in (_compact, _objects):
        try:
            return tuple(walk(text, start, message))
        except (_LostError, ValueError, IndexError, RecursionError):
            continue
    return ()


def _past_thought(text: str) -> int:
    at = len(text) - len(text.lstrip())
    if not text.startswith(OPEN_THOUGHT, at):
        return at
    closed = text.find(CLOSE_THOUGHT, at)
    return _skip(text, closed + len(CLOSE_THOUGHT)) if closed >= 0 else at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _take(text: str, at: int, *spellings: str) -> int:
    """The end of the first spelling that stands at `at`. Raises _LostError where none does."""
    for spelling in spellings:
        if text.startswith(spelling, at):
            return at + len(spelling)
    raise _LostError


def _compact(text: str, at: int, message: Message) -> Iterator[Span]:
    """`@label:name key=value ...`, one line a call, the said text after them."""
    found: list[Span] = []
    for number, call in enumerate(message.calls):
        at = _take(text, at, "@" if number == 0 else "\n@")
        if call.label is not None:
            at = _take(text, _take(text, at, *_words(call.label)), ":")
        end = _take(text, at, *_words(call.name))
        found.append(Span(at, end, "name", f"{number}.name"))
        for key, value in call.arguments.items():
            at = _take(text, end, " ")
            end = _take(text, at, *_words(key))
            found.append(Span(at, end, "key", f"{number}.{key}"))
            at = _take(text, end, "=")
            end = _take(text, at, *_words(value))
            found.append(Span(at, end, "value", f"{number}.{key}"))
        at = end
    if text[at:] and not text.startswith("\n> ", at):
        raise _LostError
    return iter(found)


def _words(value: Json) -> list[str]:
    """How the compact dialect may spell a value or a name: as JSON, a plain text bare."""
    spelled = json.dumps(clean(value), ensure_ascii=False)
    return [spelled, value] if isinstance(value, str) else [spelled]


class _Member(NamedTuple):
    """A key of an object and its value, with their places."""

    name: str
    key: tuple[int, int]
    value: tuple[int, int]


def _objects(text: str, at: int, message: Message) -> Iterator[Span]:
    """Calls as JSON objects with `name` and `arguments`, in one list, one after another, or between marks."""
    found: list[Span] = []
    left = list(enumerate(message.calls))
    while left:
        at = _next_object(text, at)
        members = {member.name: member for member in _members(text, at)}
        if "name" not in members and "calls" in members:  # the json dialect's turn of text and calls
            at = members["calls"].value[0]
            continue
        if "name" not in members and "function" in members:  # OpenAI's envelope
            at = members["function"].value[0]
            continue
        number, call = left.pop(0)
        found += _of_call(text, members, number, call)
        at = _end_of(text, at)
    return iter(found)


def _next_object(text: str, at: int) -> int:
    """Where the next call's object begins: past a bracket, a comma, or a mark that opens calls."""
    at = _skip(text, at)
    while not text.startswith("{", at):
        if text[at : at + 1] in "[,;]" and not OPENING.match(text, at):
            at = _skip(text, at + 1)
            continue
        opened = OPENING.search(text, at)  # what is said before the calls holds no mark: the writer escapes it
        if opened is None:
            raise _LostError
        at = _skip(text, opened.end())
    return at


def _of_call(text: str, members: dict[str, _Member], number: int, call: Call) -> Iterator[Span]:
    name = members.get("name")
    inside = next((members[key] for key in _INSIDE if key in members), None)
    if name is None or inside is None or json.loads(text[slice(*name.value)]) != call.name:
        raise _LostError
    parts = [Span(*name.value, "name", f"{number}.name")]
    given: dict[str, Any] = {}
    for member in _members(text, inside.value[0]):
        given[member.name] = json.loads(text[slice(*member.value)])
        parts.append(Span(*member.key, "key", f"{number}.{member.name}"))
        parts.append(Span(*member.value, "value", f"{number}.{member.name}"))
    if given != clean(call.arguments):
        raise _LostError
    return iter(sorted(parts))


def _members(text: str, at: int) -> Iterator[_Member]:
    """Keys and values of the object at `at`, with their places. Raises ValueError, _LostError."""
    at = _skip(text, _take(text, at, "{"))
    while not text.startswith("}", at):
        key, end = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise _LostError
        start = _skip(text, _take(text, _skip(text, end), ":"))
        stop = _end_of(text, start)
        yield _Member(key, (at, end), (start, stop))
        at = _skip(text, stop)
        if not text.startswith("}", at):
            at = _skip(text, _take(text, at, ","))


def _end_of(text: str, at: int) -> int:
    """Where the JSON value at `at` ends. Raises ValueError."""
    return _DECODER.raw_decode(text, at)[1]
