"""Reading JSON that is almost JSON: one pass, no recursion, nothing evaluated.

Small models write single quotes, Python's literals, bare keys, trailing commas and comments, and
stop in the middle. This reader takes all of that and notes which it met. It is for reports
alone: what it reads was never right. Nothing is made up: a member that is cut off is left out.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, cast

from callgrain.core.types import Call, Fault, Json
from callgrain.dialects._calls import DEPTH_LIMIT, as_call, clean

# Possessive throughout: what has matched is never given back, so a failed match costs its length once.
_SPACE = re.compile(r"(?:[ \t\r\n\f\v\u00a0]++|//[^\n]*+|#[^\n]*+)*+")
_BLANK = re.compile(r"[ \t\r\n\f\v\u00a0]*+")
_DOUBLE = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_SINGLE = re.compile(r"'((?:[^'\\]++|\\.)*+)'", re.DOTALL)
# Within brackets an apostrophe ends the text only where something follows that may follow a text.
_QUOTED = re.compile(r"'((?:[^'\\]++|\\.|'(?!\s*+(?:[,:}\]]|\Z)))*+)'", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+\-]?[0-9]++)?")
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.\-]*+")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_LITERALS: dict[str, Json] = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_OPENING = re.compile(r"[{\[]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/\-]{0,199}")
_ARGUMENTS = ("arguments", "parameters")
_LABELS = frozenset(("name", "id", "type", "label"))
_FAR_TEXT = json.JSONDecoder(strict=False)


STEP_LIMIT = 5_000
"""Most values and brackets that are read of one text: some hundreds of calls, a few hundredths of a second."""


class JunkError(ValueError):
    """What stands at `at` belongs to no JSON, however loosely read."""

    def __init__(self, at: int) -> None:
        self.at = at
        super().__init__(f"no JSON at {at}")


class CutError(ValueError):
    """The text ends before the value does."""


@dataclass(slots=True)
class _Frame:
    """An object or list that is open: what it holds so far, and under which key the next value goes."""

    start: int
    is_object: bool
    is_inside_arguments: bool
    n_found: int
    members: dict[str, Json] = field(default_factory=dict[str, Json])
    items: list[Json] = field(default_factory=list[Json])
    key: str = ""


@dataclass(frozen=True)
class FoundCall:
    """A call, where its object starts, and whether only a name says that it is one."""

    start: int
    call: Call
    is_bare_name: bool


@dataclass(frozen=True)
class Root:
    """A value that stands in the text by itself, or as much of it as can be read."""

    start: int
    end: int
    value: Json = None
    is_whole: bool = False


class Loose:
    """A loose reading of one text: `met` names the near-misses that it came across."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.met: set[str] = set()
        self.found: list[FoundCall] = []
        self._stack: list[_Frame] = []
        self._n_steps = 0

    @property
    def is_spent(self) -> bool:
        """Whether the limit of steps is reached: the rest of the text is not looked at."""
        return self._n_steps >= STEP_LIMIT

    def step(self) -> None:
        """Count one step. Raises JunkError at the limit."""
        if self.is_spent:
            raise JunkError(len(self.text))
        self._n_steps += 1

    def scan(self) -> list[Root]:
        """Every value in brackets, left to right; the calls in them are `found`."""
        roots: list[Root] = []
        at = 0
        while not self.is_spent and (opened := _OPENING.search(self.text, at)):
            start = opened.start()
            met, n_found = set(self.met), len(self.found)
            try:
                value, at = self.value(start)
                roots.append(Root(start, at, value, is_whole=True))
            except JunkError as junk:
                at = max(junk.at, start + 1)
                roots.append(Root(start, at))
            except CutError:
                at = len(self.text)
                roots.append(Root(start, at))
            if len(self.found) == n_found:
                # Brackets of ordinary prose say nothing about how calls are written.
                self.met = met
        return roots

    def value(self, start: int) -> tuple[Json, int]:
        """The value at `start` and where it ends. Raises JunkError and CutError."""
        self._stack = []
        at = start
        try:
            while True:
                self.step()
                at, is_closed = self._place(at)
                if is_closed:
                    value, at = self._close(at)
                elif self.text.startswith(("{", "["), at):
                    at = self._open(at)
                    continue
                else:
                    value, at = self._scalar(at)
                if not self._stack:
                    return value, at
                at = self._put(value, at)
        except CutError:
            self._cut()
            raise

    def _place(self, at: int) -> tuple[int, bool]:
        """Where the next value is, past its key; or where the innermost bracket closes."""
        at = self._skip(at)
        if not self._stack:
            return at, False
        frame = self._stack[-1]
        if self.text[at] in "}]":
            return at, True
        if not frame.is_object:
            return at, False
        word = _WORD.match(self.text, at)
        if word is not None:
            self.met.add("unquoted_keys")
            key, at = word[0], word.end()
        else:
            key, at = self._scalar(at)
        at = self._skip(at)
        if not isinstance(key, str) or self.text[at] != ":":
            raise JunkError(at)
        frame.key = key
        return self._skip(at + 1), False

    def _open(self, at: int) -> int:
        if len(self._stack) >= DEPTH_LIMIT:
            raise JunkError(at)
        outer = self._stack[-1] if self._stack else None
        within = outer is not None and (outer.is_inside_arguments or (outer.is_object and outer.key in _ARGUMENTS))
        self._stack.append(_Frame(at, self.text[at] == "{", within, len(self.found)))
        return at + 1

    def _close(self, at: int) -> tuple[Json, int]:
        frame = self._stack[-1]
        if self.text[at] != ("}" if frame.is_object else "]"):
            raise JunkError(at + 1)
        self._stack.pop()
        if not frame.is_object:
            return frame.items, at + 1
        if not frame.is_inside_arguments:
            self._keep(frame)
        return frame.members, at + 1

    def _put(self, value: Json, at: int) -> int:
        """Put a value where it belongs, and go past the comma after it."""
        frame = self._stack[-1]
        if frame.is_object:
            frame.members[frame.key] = value
            frame.key = ""
        else:
            frame.items.append(value)
        at = self._skip(at)
        mark = self.text[at]
        if mark == ",":
            at = self._skip(at + 1)
            if self.text[at] in "}]":
                self.met.add("trailing_comma")
        elif mark not in "}]":
            raise JunkError(at)
        return at

    def _keep(self, frame: _Frame) -> None:
        """Note the object as a call where it is one, in the place of what was found inside it."""
        call = call_of(frame.members)
        if call is not None:
            del self.found[frame.n_found :]
            self.found.append(FoundCall(frame.start, call, is_bare_name=set(frame.members) <= _LABELS))

    def _cut(self) -> None:
        """The text has ended: the outermost call that is open keeps what was complete in it."""
        self.met.add("truncated")
        for depth, frame in enumerate(self._stack):
            if not frame.is_object or frame.is_inside_arguments:
                continue
            inner = self._stack[depth + 1] if depth + 1 < len(self._stack) else None
            if inner is not None and inner.is_object and frame.key in _ARGUMENTS:
                frame.members[frame.key] = inner.members
            if call_of(frame.members) is not None:
                self._keep(frame)
                return

    def _scalar(self, at: int) -> tuple[Json, int]:
        text = self.text
        if text.startswith('"', at):
            found = _DOUBLE.match(text, at)
            if found is None:
                raise CutError
            return _unescaped(found), found.end()
        if text.startswith("'", at):
            found = (_QUOTED if self._stack else _SINGLE).match(text, at)
            if found is None:
                raise CutError
            self.met.add("single_quotes")
            return _unescaped(found), found.end()
        return self._plain(at)

    def _plain(self, at: int) -> tuple[Json, int]:
        """A number or a literal; one that touches the end of the text may be half of it."""
        found = _NUMBER.match(self.text, at) or _WORD.match(self.text, at)
        if found is None:
            raise JunkError(at)
        if self._stack and found.end() == len(self.text):
            raise CutError
        word = found[0]
        if word in _LITERALS:
            if word[0].isupper():
                self.met.add("python_literals")
            return _LITERALS[word], found.end()
        try:
            number: Json = json.loads(word)
        except ValueError:
            raise JunkError(at) from None
        if not isinstance(number, int | float) or (isinstance(number, float) and not math.isfinite(number)):
            raise JunkError(at)
        return number, found.end()

    def _skip(self, at: int) -> int:
        """Past blanks and comments. Raises CutError at the end of the text."""
        found = _SPACE.match(self.text, at)
        end = found.end() if found else at
        if end > at and end > _blank(self.text, at):
            self.met.add("comments")
        if end >= len(self.text):
            raise CutError
        return end


def call_of(members: dict[str, Json]) -> Call | None:
    """The call that an object is: it has a name that a function can have, and arguments or nothing else.

    The rule keeps prose from becoming calls: `{"name": "Ann Lee", ...}` is somebody, and
    `{"name": "Ann", "age": 3}` is too.
    """
    envelope = members.get("function")
    inner = cast("dict[str, Json]", envelope) if isinstance(envelope, dict) else members
    name = inner.get("name", inner.get("function"))
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        return None
    if not any(key in inner for key in _ARGUMENTS) and not set(inner) <= _LABELS:
        return None
    call = as_call(members)
    if isinstance(call, Fault):
        return None
    label = members.get("label")
    return call.model_copy(update={"label": label}) if isinstance(label, str) else call


def _unescaped(found: re.Match[str]) -> str:
    """The text between quotes, as JSON means it where it is JSON, else as Python does."""
    inner: str = found[1]
    if "\\" not in inner:
        return clean(inner)
    try:
        return clean(_FAR_TEXT.decode(found[0]))
    except ValueError:
        pass
    out = _ESCAPE.sub(_letter, inner)
    # Two halves of a surrogate pair, each escaped by itself, are one letter.
    return out.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _letter(found: re.Match[str]) -> str:
    given: str = found[1]
    if len(given) == 1:
        return _LETTERS.get(given, given)
    number = int(given[1:], 16)
    return chr(number) if number <= 0x10FFFF else "\ufffd"


def _blank(text: str, at: int) -> int:
    found: Any = _BLANK.match(text, at)
    return found.end()
