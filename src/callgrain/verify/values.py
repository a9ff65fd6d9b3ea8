"""Are two argument values the same? Typed, recursive, with declared leeway.

True is not 1 and "5" is not 5. 1.0 is an integer value and an integer is a number. Strings
are compared after Unicode NFC and without outer white space. Defaults of the schema stand in
for what is left out. Beyond that only what a source declares is forgiven: accepted values,
and a mode for the parameter.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from callgrain.core.types import Accept, Json

MODES: dict[str, str] = {
    "exact": "typed equality (the default)",
    "normalised": "letter case, inner white space and punctuation at the ends do not count",
    "date": "the same calendar date or clock time in any of the usual spellings",
    "numeric": "numbers within a relative tolerance: numeric:0.01",
    "subset": "a list that holds at least the gold items, in any order",
    "unordered": "a list of the same items in any order",
    "any": "any value at all",
}
"""Modes of comparison that a source or a catalogue may declare for a parameter."""

_DATES = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%Y/%m/%d")
_TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I %p", "%I:%M%p", "%I%p")
_ORDINAL = re.compile(r"(?<=\d)(st|nd|rd|th)\b")


def same(gold: Json, given: Json, schema: Mapping[str, Any] | None = None, accept: Accept | None = None) -> bool:
    """Whether `given` is right where `gold` (or one of `accept.values`) is."""
    mode, _, setting = (accept.mode if accept else "exact").partition(":")
    wanted = (gold, *accept.values) if accept else (gold,)
    return any(_same_by(mode, setting, value, given, schema or {}) for value in wanted)


def _same_by(mode: str, setting: str, gold: Json, given: Json, schema: Mapping[str, Any]) -> bool:
    if mode == "any" or equal(gold, given, schema):
        return True
    if mode == "normalised":
        return isinstance(gold, str) and isinstance(given, str) and _plain(gold) == _plain(given)
    if mode == "date":
        moment = _moment(gold)
        return moment is not None and moment == _moment(given)
    if mode == "numeric":
        return _close(gold, given, float(setting or "1e-6"))
    if mode in ("subset", "unordered") and isinstance(gold, list) and isinstance(given, list):
        return _covers(gold, given) and (mode == "subset" or len(gold) == len(given))
    return False


def equal(gold: Json, given: Json, schema: Mapping[str, Any]) -> bool:
    """Typed, recursive equality; fields of objects that have a default may be left out."""
    if isinstance(gold, bool) or isinstance(given, bool):
        return gold is given
    if isinstance(gold, int | float) and isinstance(given, int | float):
        return gold == given
    if isinstance(gold, str) and isinstance(given, str):
        return text(gold) == text(given)
    if isinstance(gold, list) and isinstance(given, list):
        items = schema.get("items")
        inner: Mapping[str, Any] = items if isinstance(items, dict) else {}
        return len(gold) == len(given) and all(equal(a, b, inner) for a, b in zip(gold, given, strict=True))
    if isinstance(gold, dict) and isinstance(given, dict):
        fields = schema.get("properties")
        inner = fields if isinstance(fields, dict) else {}
        a, b = with_defaults(gold, inner), with_defaults(given, inner)
        return a.keys() == b.keys() and all(equal(a[k], b[k], _schema_of(inner, k)) for k in a)
    return gold is None and given is None


def with_defaults(arguments: Mapping[str, Json], properties: Mapping[str, Any]) -> dict[str, Json]:
    """The arguments with the schema's defaults filled in where they are left out."""
    filled = dict(arguments)
    for name, schema in properties.items():
        if name not in filled and isinstance(schema, dict) and "default" in schema:
            filled[name] = schema["default"]
    return filled


def text(value: str) -> str:
    """A string as it is compared: NFC, without outer white space."""
    return unicodedata.normalize("NFC", value).strip()


def _schema_of(properties: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = properties.get(name)
    return found if isinstance(found, dict) else {}


def _plain(value: str) -> str:
    return " ".join(text(value).casefold().split()).strip(" .,;:!?'\"")


def _close(gold: Json, given: Json, tolerance: float) -> bool:
    numbers = [v for v in (gold, given) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != 2:
        return False
    try:
        return math.isclose(numbers[0], numbers[1], rel_tol=tolerance, abs_tol=tolerance * 1e-3)
    except OverflowError:
        return False


def _covers(gold: list[Json], given: list[Json]) -> bool:
    """Whether each gold item has a given item of its own."""
    left = list(given)
    for item in gold:
        found = next((i for i, other in enumerate(left) if equal(item, other, {})), None)
        if found is None:
            return False
        del left[found]
    return True


def _moment(value: Json) -> date | time | None:
    """The date or time that a string spells, or None."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    cleaned = _ORDINAL.sub("", " ".join(value.split())).replace(".", "").upper()
    for pattern in _DATES:
        try:
            return datetime.strptime(cleaned.title() if "%B" in pattern or "%b" in pattern else cleaned, pattern).date()
        except ValueError:
            continue
    for pattern in _TIMES:
        try:
            return datetime.strptime(cleaned, pattern).time()
        except ValueError:
            continue
    return None
