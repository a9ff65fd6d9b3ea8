"""Java's and JavaScript's literals as BFCL reads them: what cannot be read stays the string it is.

Its patterns are restated as scanners that take linear time, since one of the originals takes
exponential time on `[[a],[a],[a]...`. Kept are their limits: the first closing bracket ends a
collection whatever is nested in it, a comma ends an element whatever quotes stand around it, an
Array of String keeps its quotes where an ArrayList drops them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

JAVA: dict[str, type] = {
    **dict.fromkeys(("byte", "short", "integer", "long"), int),
    **dict.fromkeys(("float", "double"), float),
    **dict.fromkeys(("char", "String", "any"), str),
    **dict.fromkeys(("Array", "ArrayList", "Queue", "Stack"), list),
    **dict.fromkeys(("HashMap", "Hashtable"), dict),
    "Set": set,
    "boolean": bool,
}
JAVASCRIPT: dict[str, type] = {
    "String": str,
    "any": str,
    "integer": int,
    "Bigint": int,
    "float": float,
    "Boolean": bool,
    "dict": dict,
    "array": list,
}

_WHOLE = re.compile(r"-?\d+\n?")
_LONG = re.compile(r"-?\d+[lL]\n?")
_BIGINT = re.compile(r"-?\d+n\n?")
_DECIMAL = re.compile(r"-?\d+(\.\d+)?\n?")
_DOUBLE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\n?")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]\n?")
_LISTED = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\(")
_NEW_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_ADDING = re.compile(r"\s*\{\{")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{")
_MAP = re.compile(r"new\s+HashMap<")
_MAP_BODY = re.compile(r">\s*\(\)\s*\{\s*\{?\s*")
_MAP_EMPTY = re.compile(r">\s*\(\)")
_JS_ARRAY = re.compile(r"new\s+Array\(")
_SOLID = re.compile(r"\S")


def read_java(text: str, declared: str, items: str = "") -> Any:
    """`text` as a Java value of the declared type. Raises NotImplementedError for Set, Queue and their like."""
    if declared in ("byte", "short", "integer"):
        return int(text) if _WHOLE.fullmatch(text) else text
    if declared == "long":
        return int(text.strip()[:-1]) if _LONG.fullmatch(text) else text
    if declared == "float":
        return float(text.strip()[:-1]) if _FLOAT.fullmatch(text) else text
    if declared == "double":
        return float(text) if _DOUBLE.fullmatch(text) else text
    if declared == "boolean":
        return text == "true" if text in ("true", "false") else text
    if declared == "Array":
        return _java_array(text, items)
    if declared == "ArrayList":
        return _java_list(text, items)
    if declared == "HashMap":
        return _java_map(text)
    if declared in ("Set", "Hashtable", "Queue", "Stack"):
        raise NotImplementedError(f"BFCL reads no {declared}")
    return text


def read_javascript(text: str, declared: str, items: str = "") -> Any:
    """`text` as a JavaScript value of the declared type. Raises ValueError where BFCL does."""
    if declared == "String":
        return text[1:-1] if _quoted(text) else text
    if declared == "integer":
        return int(text) if _WHOLE.fullmatch(text) else text
    if declared == "float":
        return float(text) if _DECIMAL.fullmatch(text) else text
    if declared == "Bigint":
        return int(text[:-1]) if _BIGINT.fullmatch(text) else text
    if declared == "Boolean":
        return text == "true" if text in ("true", "false") else text
    if declared == "array":
        return _js_array(text.strip(), items)
    return _js_object(text.strip()) if declared == "dict" else text


def _java_value(text: str) -> Any:
    """A Java literal of no declared type."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.fullmatch(text) or _FLOAT.fullmatch(text):
        return (int if text[-1] in "lL" else float)(text[:-1])
    return _number(text)


def _js_value(text: str) -> Any:
    """A JavaScript literal of no declared type."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _quoted(text) else _number(text)


def _number(text: str) -> Any:
    """Whatever Python's own int and float read, `1_0` and `nan` included; else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _quoted(text: str) -> bool:
    return any(text.startswith(sign) and text.endswith(sign) for sign in ("'", '"'))


def _body(text: str, heads: re.Pattern[str], closing: str, least: int = 0) -> str | None:
    """What follows the first head up to a closing on the same line; a line is looked at once."""
    passed = -1
    for found in heads.finditer(text):
        start = found.end()
        if start <= passed:
            continue
        end = _until(text, start, closing, least)
        if end >= 0:
            return text[start:end]
        passed = _line_end(text, start)
    return None


def _until(text: str, start: int, closing: str, least: int = 0) -> int:
    """Where `closing` first stands from `start + least` on, with no line break before it; else -1."""
    return text.find(closing, start + least, _line_end(text, start))


def _line_end(text: str, start: int) -> int:
    at = text.find("\n", start)
    return len(text) if at < 0 else at


def _java_element(text: str, items: str) -> Any:
    if items in ("char", "String"):
        return text[1:-1]
    return read_java(text, items) if items else _java_value(text)


def _java_list(text: str, items: str) -> Any:
    listed = _body(text, _LISTED, "))", 1)
    if listed is not None:
        return [_java_element(part.strip(), items) for part in listed.split(",")]
    empty, last = False, text.rfind("}}")
    for found in _NEW_LIST.finditer(text):
        empty = True
        opened = _ADDING.match(text, found.end())
        body = _java_adds(text, opened.end()) if opened and opened.end() <= last else None
        if body is not None:
            return [_java_element(part.strip(), items) for part in _enclosed(body, "add(", ")", 1)]
    return [] if empty else text


def _java_adds(text: str, start: int) -> str | None:
    """What stands between double braces, at least one sign of it."""
    first = _solid(text, start)
    end = text.find("}}", first + 1)
    if end >= 0:
        return text[first:end].rstrip()
    return " " if first > start and text.startswith("}}", first) else None


def _enclosed(text: str, opening: str, closing: str, least: int = 0) -> Iterator[str]:
    """What stands between each opening and the next closing on the same line."""
    at = text.find(opening)
    while at >= 0:
        start = at + len(opening)
        end = text.find(closing, start + least)
        if end < 0:
            return
        broken = text.rfind("\n", start, end)
        if broken < 0:
            yield text[start:end]
        at = text.find(opening, max(broken, at + 1) if broken >= 0 else end + len(closing))


def _java_array(text: str, items: str) -> Any:
    body = _body(text, _ARRAY, "}")
    if body is None:
        return text
    parts = [part.strip() for part in body.split(",") if part.strip()]
    return [read_java(part, items) if items else _java_value(part) for part in parts]


def _java_map(text: str) -> Any:
    head = _MAP.search(text)
    if head is None:
        return text
    body = _MAP_BODY.search(text, head.end())
    end = text.find("}", body.end()) if body else -1
    if body and end >= 0:
        return {key: _java_value(value.strip()) for key, value in _java_puts(text[body.end() : end].rstrip())}
    heads = [found.end() for found in _MAP.finditer(text)]
    for found in _MAP_EMPTY.finditer(text, head.end()):
        nearest = heads[bisect_right(heads, found.start()) - 1]
        if text.rfind("\n", nearest, found.start()) < 0:
            return {}
    return text


def _java_puts(text: str) -> Iterator[tuple[str, str]]:
    """Key and value of each `put("key", value)`; a key ends at the first `",` that a value follows.

    Only the first and the last on a line need trying: what parts them can hold no `)`.
    """
    at = text.find('put("')
    while at >= 0:
        start = at + len('put("')
        line = _line_end(text, start)
        end = -1
        for comma in (text.find('",', start, line), text.rfind('",', start, line)):
            value = _solid(text, comma + 2)
            end = _until(text, value, ")") if comma >= 0 else -1
            if end >= 0:
                yield text[start:comma], text[value:end]
                break
        at = text.find('put("', end + 1 if end >= 0 else line)


def _js_array(text: str, items: str) -> Any:
    opened = _JS_ARRAY.match(text)
    start = 1 if text.startswith("[") else opened.end() if opened else 0
    if not start:
        return text
    end = _rows_end(text, start, "]" if text[0] == "[" else ")")
    if end:
        return _js_rows(text[:end])
    close = _until(text, start, ")" if opened else "]")
    if close < 0:
        return text
    body = text[start:close].strip()
    parts = [part.strip() for part in body.split(",")] if body else []
    try:
        read: Callable[[str], Any] = (lambda part: read_javascript(part, items)) if items else _js_value
        return [read(part) for part in parts]
    except ValueError:
        return text


def _rows_end(text: str, start: int, close: str) -> int:
    """End of a list of bracketed rows that begins at `start`, 0 where there is none.

    From right to left: `first[i]` is where the list ends if the row that `i` stands in ends at
    the first bracket from `i` on, on the same line, after which the list can be ended.
    """
    n = len(text)
    solid, first = [n] * (n + 2), [0] * (n + 2)

    def row(at: int) -> int:
        at = solid[at]
        return first[at + 1] if at < n and text[at] == "[" else 0

    for i in range(n - 1, -1, -1):
        solid[i] = solid[i + 1] if text[i].isspace() else i
        first[i] = 0 if text[i] == "\n" else first[i + 1]
        if text[i] == "]" and (after := solid[i + 1]) < n:
            if text[after] == close:
                first[i] = after + 1
            elif text[after] == "," and (end := row(after + 1)):
                first[i] = end
    return row(start)


def _js_rows(text: str) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for index, row in enumerate(_enclosed(text, "[", "]")):
        inner = row.strip()
        if index == 0 and inner.startswith("["):
            inner = inner[1:]
        rows.append([_js_value(part) for part in inner.split(",")])
    return rows


def _js_object(text: str) -> Any:
    if text == "{}":
        return {}
    end = _until(text, 1, "}") if text.startswith("{") else -1
    if end < 0:
        return text
    out: dict[str, Any] = {}
    for key, given in _js_pairs(text[1:end]):
        value = given.strip()
        listed = value.startswith("[") and value.endswith("]")
        out[key.strip().strip("'\"")] = _js_array(value, "") if listed else _js_value(value.strip("'\""))
    return out


def _js_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Keys and values: a comma ends a value only where a colon comes before the next comma."""
    at = 0
    while (colon := text.find(":", at)) >= 0:
        if colon == at:
            at += 1
            continue
        start = _solid(text, colon + 1)
        end = after = len(text)
        comma = text.find(",", start)
        while comma >= 0:
            following = text.find(",", comma + 1)
            limit = len(text) if following < 0 else following
            mark = text.rfind(":", comma + 2, limit)
            if mark >= 0:
                end, after = comma, min(_solid(text, comma + 1), mark - 1)
                break
            comma = following
        yield text[at:colon], text[start:end]
        at = after


def _solid(text: str, at: int) -> int:
    """Where the next sign that is no white space stands; the end where there is none."""
    found = _SOLID.search(text, at)
    return found.start() if found else len(text)
