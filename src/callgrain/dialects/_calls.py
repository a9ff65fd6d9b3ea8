"""Reading calls out of what models write: every common spelling, in linear time.

Model output is hostile: nothing is evaluated, JSON nesting is bounded, and no regular
expression here can backtrack. Each reader either gives calls or says by a form Fault why not.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any, NoReturn, cast

from callgrain.core.types import Call, Fault, Json

DEPTH_LIMIT = 64
"""Deepest nesting of a JSON value that is read."""

PYTHON_LIMIT = 20_000
"""Most letters of calls in Python: its parser is the slowest of those used here."""

OPENINGS: dict[str, str] = {
    "<tool_call>": "</tool_call>",
    "<function_call>": "</function_call>",
    "<functioncall>": "</functioncall>",
    "<|tool_call_start|>": "<|tool_call_end|>",
    "<|tool_call|>": "<|/tool_call|>",
    "<|python_tag|>": "",
    "[TOOL_CALLS]": "",
}
"""Marks at which calls begin, and how they close: Hermes and Qwen, older tunes, LFM2, Granite, Llama 3, Mistral."""

BARE_KEYS = ('"name"', '"function"', '"type": "function"')
"""How an object begins that is a call without marks."""

OPENING = re.compile("|".join(re.escape(mark) for mark in OPENINGS))
SPACE = " \t\r\n"
SEPARATORS = SPACE + ",;"
"""What may stand between two JSON values of one block."""

_HALF_NUMBER = re.compile(r"-|\.|[eE][+\-]?")
_SPACE = re.compile(f"[{SPACE}]*")
_BETWEEN = re.compile(f"[{SEPARATORS}]*")
_NAME = re.compile(r"[A-Za-z0-9_.:/\-]{1,200}")


class _WrongShapeError(ValueError):
    """JSON that is no call."""


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def read_value(text: str, start: int = 0) -> tuple[Json, int]:
    """The JSON value at `start` and where it ends. Raises ValueError, for deep nesting as well."""
    try:
        value, end = _DECODER.raw_decode(text, _skip(_SPACE, text, start))
        return clean(value), end
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_cut_off(error: ValueError, text: str) -> bool:
    """Whether `text` stops before its JSON does: in a string, before a bracket, inside a number or a literal."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    rest = text[error.pos : error.pos + 6]
    half = _HALF_NUMBER.fullmatch(rest) or any(word.startswith(rest) for word in ("true", "false", "null"))
    return error.pos >= len(text) or error.msg.startswith("Unterminated") or bool(half)


def clean(value: Json, depth: int = 0) -> Json:
    """`value` with lone surrogates replaced. Raises ValueError for infinities and deep nesting."""
    if depth > DEPTH_LIMIT:
        raise ValueError(f"nested more than {DEPTH_LIMIT} deep")
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is out of range")
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in cast("list[Json]", value)]
    if isinstance(value, dict):
        return {clean(key): clean(item, depth + 1) for key, item in cast("dict[str, Json]", value).items()}
    return value


def read_calls(text: str) -> tuple[str, list[Call]] | Fault:
    """What `text` says beside its calls, and the calls; a Fault where one cannot be read.

    Calls without marks must stand alone: that is settled before any mark is looked for, so that
    a mark inside an argument is part of the argument.
    """
    if looks_bare(text):
        body = text.strip()
        return _guarded(body, lambda: ("", _bare(body)))
    return read_marked(text)


def read_marked(text: str) -> tuple[str, list[Call]] | Fault:
    """What `text` says beside its marked calls, and those calls; a Fault where one cannot be read."""
    found = OPENING.search(text)
    if found is None:
        return text, []
    return _guarded(text[found.start() :], lambda: _marked(text, found))


def looks_bare(text: str) -> bool:
    """Whether `text` as a whole sets out to be calls in plain JSON, without marks around them."""
    rest = text.lstrip()
    if rest.startswith("["):
        rest = rest[1:].lstrip()
    return rest.startswith("{") and rest[1:].lstrip().startswith(BARE_KEYS)


def as_call(value: Json, where: str = "calls.0") -> Call | Fault:
    """One call out of a JSON object: flat, or in OpenAI's `function` envelope."""
    try:
        return _call(value)
    except _WrongShapeError as error:
        return Fault(kind="wrong_shape", where=where, expected=str(error), given=shown(value))
    except (ValueError, RecursionError) as error:
        return Fault(kind="unparsable", where=f"{where}.arguments", expected=str(error), given=shown(value))


def shown(value: Json) -> str:
    """The first 200 characters of `value`, for a Fault's `given`."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"


def _guarded(text: str, read: Any) -> Any:
    try:
        return read()
    except _WrongShapeError as error:
        return Fault(kind="wrong_shape", where="calls", expected=str(error), given=shown(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        return Fault(kind="unparsable", where="calls", expected=str(error)[:200], given=shown(text))


def _bare(body: str) -> list[Call]:
    calls, end = _json_calls(body, 0)
    if body[end:].strip(SEPARATORS):
        raise _WrongShapeError("nothing after the calls")
    return calls


def _marked(text: str, found: re.Match[str]) -> tuple[str, list[Call]]:
    """Calls behind marks; text between and after them is joined to the text before."""
    pieces = [text[: found.start()].removesuffix("\n")]
    calls: list[Call] = []
    while found:
        mark, close = found[0], OPENINGS[found[0]]
        got, end = _block(text, found.end(), mark)
        calls += got
        end = _skip(_SPACE, text, end)
        if close and text.startswith(close, end):
            end += len(close)
        following = OPENING.search(text, end)
        pieces.append(text[end : following.start() if following else len(text)].strip())
        if following is None:
            break
        found = following
    return "\n".join([pieces[0], *filter(None, pieces[1:])] if pieces[0] else filter(None, pieces)), calls


def _block(text: str, start: int, mark: str) -> tuple[list[Call], int]:
    start = _skip(_SPACE, text, start)
    if mark == "[TOOL_CALLS]" and not text.startswith(("[", "{"), start):
        call, end = named_call(text, start)
        return [call], end
    if mark in ("<|tool_call_start|>", "<|python_tag|>") and is_python(text, start):
        close = OPENINGS[mark]
        end = text.find(close, start) if close else len(text)
        end = len(text) if end < 0 else end
        return python_calls(text[start:end]), end
    return _json_calls(text, start)


def _json_calls(text: str, start: int) -> tuple[list[Call], int]:
    """JSON objects one after another, or lists of them."""
    calls: list[Call] = []
    end = start
    while text.startswith(("{", "["), at := _skip(_BETWEEN, text, end)) and not OPENING.match(text, at):
        value, end = read_value(text, at)
        calls += map(_call, cast("list[Json]", value) if isinstance(value, list) else [value])
    if end == start:
        raise ValueError("there is no JSON object")
    return calls, end


def _call(value: Json) -> Call:
    if not isinstance(value, dict):
        raise _WrongShapeError("an object with 'name' and 'arguments'")
    outer = cast("dict[str, Json]", value)
    envelope = outer.get("function")
    inner = cast("dict[str, Json]", envelope) if isinstance(envelope, dict) else outer
    name = inner.get("name", inner.get("function"))
    if not isinstance(name, str):
        raise _WrongShapeError("a name that is a string")
    arguments: Any = inner.get("arguments", inner.get("parameters"))
    if isinstance(arguments, str):
        text = arguments.strip() or "{}"
        arguments, end = read_value(text)
        if end != len(text):
            raise ValueError("text after the arguments")
    if not isinstance(arguments, dict | None):
        raise _WrongShapeError("arguments that are an object")
    label = outer.get("id", inner.get("id"))
    given = cast("dict[str, Json]", arguments or {})
    return Call(name=name, arguments=given, label=label if label is None else str(label))


def named_call(text: str, start: int) -> tuple[Call, int]:
    """Mistral's later spelling: `name[CALL_ID]x[ARGS]{...}`, or `name{...}`. Raises ValueError."""
    name = _NAME.match(text, start)
    if name is None:
        raise ValueError("there is no function name")
    end, label = name.end(), None
    if text.startswith("[CALL_ID]", end):
        given = _NAME.match(text, end + 9)
        label, end = (given[0], given.end()) if given else (None, end + 9)
    end += 6 if text.startswith("[ARGS]", end) else 0
    arguments, end = read_value(text, end)
    return _call({"name": name[0], "arguments": arguments, "id": label}), end


def is_python(text: str, start: int) -> bool:
    """Whether `[f(x=1)]` or `f(x=1)` stands there, and no JSON."""
    at = _skip(_SPACE, text, start + 1) if text.startswith("[", start) else start
    name = _NAME.match(text, at)
    return name is not None and text.startswith("(", name.end())


def python_calls(text: str) -> list[Call]:
    """Calls spelt as Python with keyword literals: parsed to a tree, never run.

    Raises ValueError, SyntaxError, RecursionError and MemoryError.
    """
    if len(text) > PYTHON_LIMIT:
        raise ValueError("too long for a call in Python")
    tree = ast.parse(text.strip(), mode="eval").body
    nodes = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    calls: list[Call] = []
    for node in nodes:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            raise _WrongShapeError("calls")
        if node.args or any(k.arg is None for k in node.keywords):
            raise _WrongShapeError("calls with keyword arguments only")
        given = {str(k.arg): _json_value(ast.literal_eval(k.value)) for k in node.keywords}
        calls.append(Call(name=clean(ast.unparse(node.func)), arguments=clean(given)))
    return calls


def _json_value(value: Any) -> Json:
    """A Python literal as JSON; raises ValueError for bytes, sets and the like."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except TypeError as error:
        raise ValueError(str(error)) from error


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start
