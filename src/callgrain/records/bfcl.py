"""Result files of BFCL: native calls, or calls in Python.

BFCL is the Berkeley Function Calling Leaderboard. Where the model called natively, `result` is a
list of `{"function": "{arguments as JSON}"}`, else it is the model's text. A text is decoded as BFCL
does by default: backticks, blanks and line ends around it go, a missing bracket at either end is
put in, and the rest must be Python. What BFCL cannot decode it counts as "no call", which on
irrelevance is a pass; here only plain prose is.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from callgrain.core.types import Fault, Json, Message, Reply
from callgrain.dialects._calls import OPENING, clean, looks_bare, shown
from callgrain.dialects._chat import text_of
from callgrain.records._python import LENGTH_LIMIT, NO_CALL, read_python
from callgrain.records._reply import Said, failed, guarded, items_of, object_of, usage_of

_ERROR = "Error during inference:"
_KEYWORD = re.compile(r"[A-Za-z0-9_]\(\s{0,8}[A-Za-z_]\w{0,63}\s{0,8}=(?!=)")
_LITERAL = re.compile(r"(?<=[A-Za-z0-9_])\(\s{0,8}[\"'\d\-\[{]")
_OBJECT = re.compile(r"\{\s{0,8}[\"'](?:name|function|arguments|parameters|type)[\"']\s{0,8}:")
_OPENED = re.compile(r"\[\s{0,8}[A-Za-z_][\w.]{0,199}\(")
_OBJECTS = re.compile(r"\[\s{0,8}[\[{]")
_NAME_SIGNS = string.ascii_letters + string.digits + "_.-:/"
_LANGUAGES = ("python", "json", "tool_code")
"""What a Markdown fence says of the code in it."""

_WORD = re.compile(r"[A-Za-z_][\w.]{0,199}")


class Bfcl:
    """Rows as `bfcl generate` writes them for single-turn categories, in either mode."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it has a `result` that is a text or a list."""
        return isinstance(row.get("result"), str | list) and "jsonrpc" not in row

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply; in native calls a `_` for a `.` is undone, where only one offered name is spelt so."""
        return guarded(lambda: _read(row, tools))


def _read(row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
    result, usage = row.get("result"), usage_of(row)
    thought = row.get("reasoning_content")
    if isinstance(result, list):
        said = Said()
        said.think(thought)
        return _native(items_of(result), tools, said, usage)
    if not isinstance(result, str):
        return failed("no result in the record")
    if result.startswith(_ERROR):
        return failed(clean(shown(result)))
    text = clean(result)
    read = _in_python(text, tools)
    if isinstance(read, Fault):
        return Reply(text=text, fault=read, recovered=_recovered(text), usage=usage)
    thought = clean(thought) if isinstance(thought, str) else ""
    return Reply(text=text, message=read.model_copy(update={"thought": thought}), usage=usage)


def _native(listed: list[Json], tools: Sequence[str], said: Said, usage: dict[str, int]) -> Reply:
    if any(isinstance(item, list) for item in listed):
        return failed("a multi-turn result: only single turns are read")
    raw = clean(text_of(listed))
    for number, item in enumerate(listed):
        call = object_of(item)
        arguments = next(iter(call.values()), None)
        blank = isinstance(arguments, str) and not arguments.strip()
        if len(call) != 1 or arguments is None or blank:
            kind = "unparsable" if blank else "wrong_shape"
            wanted, given = '{"function": "arguments"}', clean(shown(item))
            fault = Fault(kind=kind, where=f"calls.{number}", expected=wanted, given=given)
            return Reply(text=raw, fault=fault, usage=usage)
        said.call(next(iter(call)), arguments)
    return said.reply(tools, usage).model_copy(update={"text": raw})


def _in_python(text: str, tools: Sequence[str]) -> Message | Fault:
    """The calls that BFCL would decode; else the prose; else the fault of a call that cannot be read."""
    body = text.strip("`\n ")
    body = body if body.startswith("[") else f"[{body}"
    body = body if body.endswith("]") else f"{body}]"
    read = read_python(body)
    if not isinstance(read, Fault):
        return Message(calls=tuple(read))
    is_python = read.kind == "wrong_shape" and read.detail != NO_CALL
    return read if is_python or _sets_out(text, tools) else Message(text=text)


def _sets_out(text: str, tools: Sequence[str]) -> bool:
    """Whether a text that is no calls set out to call all the same.

    It did where it opens like calls or an object of calls, has a bracket or a mark before a call, gives
    some function an argument by name, or an offered one a literal. A function that is only named in a
    sentence, with its parameters or with empty brackets behind it, is prose.
    """
    body = text.strip("`\n ")
    if body.startswith(_LANGUAGES):
        body = body.partition("\n")[2].lstrip()
    if body.startswith("{") or _OBJECTS.match(body) or looks_bare(body) or "<TOOLCALL>" in text:
        return True
    if (body.startswith("[") and body.endswith(")]")) or (text.lstrip().startswith("```") and "(" in body):
        return True
    if any(pattern.search(text) for pattern in (_OPENED, OPENING, _OBJECT, _KEYWORD)):
        return True
    offered = frozenset(filter(None, tools))
    opening = body.lstrip("[ ")
    if (word := _WORD.match(opening)) and word[0] in offered:
        rest = opening[word.end() :]
        if body.startswith("[") or not rest or rest[0] in "([{=\"'":
            return True
    if (body.startswith("[") or body.endswith("]")) and any(f"{name}(" in body for name in offered):
        return True
    named = (_name_before(text, found.start()) for found in _LITERAL.finditer(text))
    return any(name in offered or name.rpartition(".")[2] in offered for name in named)


def _name_before(text: str, end: int) -> str:
    before = text[max(0, end - 200) : end]
    return before[len(before.rstrip(_NAME_SIGNS)) :]


def _recovered(text: str) -> Message | None:
    """The calls between the first bracket and the last, where those can be read."""
    start, end = text.find("["), text.rfind("]") + 1
    read = read_python(text[start:end]) if 0 <= start < end <= start + LENGTH_LIMIT else None
    return Message(calls=tuple(read)) if isinstance(read, list) and read else None


plugin = Bfcl
