"""Schemas that say little, judged without the library: types, fields, items, enums of words.

Nine tools in ten say no more than this of their arguments, and a call across the language border
for each costs more than the judging. What is not wholly understood here is left to the library,
which has accepted the schema beforehand in any case; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Literal

Complaint = Literal["wrong_type", "not_allowed"]
Judge = Callable[[Any], Complaint | None]
Field = tuple[type | None, Judge]
"""The one type of which every value is right (None where there is no such), and a judge of all others."""

NUMBER_BITS = 14_000
"""Bits of an integer (some 4,200 digits): Python itself refuses to spell longer ones."""

SILENT = frozenset(
    (
        *("type", "title", "description", "default", "examples", "example", "$comment", "deprecated", "readOnly"),
        *("writeOnly", "optional", "$defs", "definitions", "$schema", "$id", "$anchor", "contentMediaType"),
    )
)
"""Keywords that forbid nothing beyond the type: a schema of these alone needs no validator."""

LEVELS = 8
"""Schemas nested deeper than this are left to the library."""

_FINE: dict[str, frozenset[type]] = {
    "string": frozenset([str]),
    "boolean": frozenset([bool]),
    "null": frozenset([type(None)]),
    "integer": frozenset([int]),
    "number": frozenset([int, float]),
    "array": frozenset([list]),
    "object": frozenset([dict]),
}
_EXACT = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}
"""Kinds of which one exact type says all: most values need no more than a look at theirs."""

_HUGE = 1 << NUMBER_BITS


def is_json(number: int | float) -> bool:
    """Whether JSON has such a number, and one that a reader takes."""
    return isfinite(number) if isinstance(number, float) else -_HUGE < number < _HUGE


def plain(schema: Any, levels: int = LEVELS) -> Judge | None:
    """A judge that agrees with the library on this schema, or None where only the library knows."""
    if not isinstance(schema, dict) or not levels:
        return None
    kind, said = schema.get("type"), schema.keys() - SILENT
    if not isinstance(kind, str) or kind not in _FINE:
        return None
    if kind == "object" and said <= {"properties", "required", "additionalProperties"}:
        return _object(schema, levels)
    if kind == "array" and said <= {"items"}:
        return _array(schema, levels)
    if kind == "string" and said == {"enum"}:
        return _words(schema["enum"])
    if said:
        return None
    return _number(kind) if kind in ("integer", "number") else _typed(_FINE[kind])


def holds_numbers(schema: Any) -> bool:
    """Whether a number that need not be whole is asked for anywhere: the library takes NaN for one."""
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if part.get("type") == "number":
                return True
            left += part.values()
    return False


def _typed(fine: frozenset[type]) -> Judge:
    return lambda value: None if type(value) in fine else "wrong_type"


def _words(enum: Any) -> Judge | None:
    if not isinstance(enum, list) or not all(isinstance(word, str) for word in enum):
        return None
    words = frozenset(enum)

    def judge(value: Any) -> Complaint | None:
        if isinstance(value, str):
            return None if value in words else "not_allowed"
        return "wrong_type"

    return judge


def _number(kind: str) -> Judge:
    def judge(value: Any) -> Complaint | None:
        if type(value) is int:
            return None
        if not isinstance(value, float):
            return "wrong_type"
        if kind == "integer" and not value.is_integer():
            return "wrong_type"
        return None if isfinite(value) else "not_allowed"

    return judge


def _array(schema: dict[str, Any], levels: int) -> Judge | None:
    inner = plain(schema["items"], levels - 1) if "items" in schema else _anything
    if inner is None:
        return None

    def judge(value: Any) -> Complaint | None:
        if not isinstance(value, list):
            return "wrong_type"
        worst: Complaint | None = None
        for item in value:
            if (found := inner(item)) is not None:
                if found == "wrong_type":
                    return found
                worst = found
        return worst

    return judge


def _object(schema: dict[str, Any], levels: int) -> Judge | None:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    open_ended = schema.get("additionalProperties", True)
    if not isinstance(properties, dict) or not isinstance(required, list) or not isinstance(open_ended, bool):
        return None
    unknown: Field = (None, _anything if open_ended else _nothing)
    fields: dict[str, Field] = {}
    for name, inner in properties.items():
        found = plain(inner, levels - 1)
        if found is None:
            return None
        fields[name] = (_EXACT.get(inner["type"]) if SILENT.issuperset(inner) else None, found)
    due = tuple(required)

    def judge(value: Any) -> Complaint | None:
        if not isinstance(value, dict):
            return "wrong_type"
        worst: Complaint | None = None
        for name, item in value.items():
            exact, inner = fields.get(name, unknown)
            if type(item) is not exact and (found := inner(item)) is not None:
                if found == "wrong_type":
                    return found
                worst = found
        for name in due:
            if name not in value:
                return "not_allowed"
        return worst

    return judge


def _anything(_value: Any) -> Complaint | None:
    return None


def _nothing(_value: Any) -> Complaint | None:
    return "not_allowed"
