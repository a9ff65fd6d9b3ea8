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
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

from callgrain.core.errors import CallgrainError, UnknownName
from callgrain.core.schema import VALUE_DEPTH_LIMIT, check_of, depth
from callgrain.core.types import Accept, Json

MODES: dict[str, str] = {
    "exact": "typed equality (the default)",
    "normalised": "letter case, inner white space and punctuation at the ends do not count",
    "date": "the same calendar date or clock time in any of the usual spellings",
    "numeric": "numbers within a relative tolerance: numeric:0.01",
    "regex": "a string in which the pattern occurs, read by a linear engine: regex:^[A-Z]{3}$",
    "subset": "a list that holds at least the gold items, in any order",
    "unordered": "a list of the same items in any order",
    "any": "any value at all",
}
"""Modes of comparison that a source may declare for a parameter (`Accept.mode`) or a catalogue (MODE_KEYWORD)."""

MODE_KEYWORD = "x-match"
"""Keyword of a parameter's schema by which a catalogue declares its mode: `{"type": "string", "x-match": "date"}`."""

Match = Callable[[Json], bool]
"""Whether a given value is right in one place."""

_DATES = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%Y/%m/%d")
_TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I %p", "%I:%M%p", "%I%p")
_ORDINAL = re.compile(r"(?<=\d)(st|nd|rd|th)\b")


def same(gold: Json, given: Json, schema: Mapping[str, Any] | None = None, accept: Accept | None = None) -> bool:
    """Whether `given` is right where `gold` (or one of `accept.values`) is.

    Raises UnknownName for a mode that is not in MODES, CallgrainError for a setting it cannot have.
    """
    return matcher(gold, schema or {}, accept)(given)


def matcher(gold: Json, schema: Mapping[str, Any], accept: Accept | None = None) -> Match:
    """`same` with all but the given value read once: what is accepted lies in sets, by type.

    Raises as `same` does.
    """
    return among((gold, *accept.values) if accept else (gold,), schema, accept)


def among(wanted: tuple[Json, ...], schema: Mapping[str, Any], accept: Accept | None = None) -> Match:
    """Whether a given value is one of `wanted`, with the leeway of `matcher`. Raises as `same` does."""
    mode, setting = mode_of(schema, accept)
    parts = (value for value in wanted if not isinstance(value, str | int | float) or isinstance(value, bool))
    others = tuple(value for value in parts if _is_shallow(value))  # equality goes as deep as these
    texts = frozenset(text(value) for value in wanted if isinstance(value, str))
    # NaN is right nowhere, but a set would find it by identity.
    numbers = frozenset(v for v in wanted if isinstance(v, int | float) and not isinstance(v, bool) and v == v)  # noqa: PLR0124
    flat = tuple(found for value in others if (found := _flat(value)) is not None)
    wider = _LEEWAY[mode](wanted, setting) if mode != "exact" else None

    def match(given: Json) -> bool:
        kind = type(given)
        if kind is str:
            found = given in texts or text(given) in texts
        elif kind is int or kind is float:
            found = given in numbers
        else:
            found = any(same_parts(given) for same_parts in flat) or any(equal(v, given, schema) for v in others)
        return found or (wider is not None and _is_shallow(given) and wider(given))

    return match


def leeway(accept: Accept | None, schema: Json) -> Accept | None:
    """What a source accepts for a parameter, with the catalogue's mode where the source names none."""
    declared = schema.get(MODE_KEYWORD, "exact") if isinstance(schema, dict) else "exact"
    if not isinstance(declared, str) or declared == "exact" or (accept is not None and accept.mode != "exact"):
        return accept
    return (accept or Accept()).model_copy(update={"mode": declared})


def _flat(gold: Json) -> Match | None:
    """A quick yes for a list of scalars: the same items of the same types. None for all else, NaN among them."""
    if not isinstance(gold, list) or not all(type(item) in _SCALARS and item == item for item in gold):  # noqa: PLR0124
        return None
    types = [type(item) for item in gold]
    return lambda given: given == gold and [type(item) for item in given] == types


_SCALARS = (str, int, float, bool, type(None))


def _is_shallow(value: Json) -> bool:
    """Whether what follows may recurse into the value, which is one level of a call's arguments down."""
    return depth(value, VALUE_DEPTH_LIMIT) < VALUE_DEPTH_LIMIT


def mode_of(schema: Mapping[str, Any], accept: Accept | None) -> tuple[str, str]:
    """(mode, setting) of a parameter: the source's word, else the catalogue's, else exact.

    Raises UnknownName for a mode that is not in MODES.
    """
    declared = accept.mode if accept is not None and accept.mode != "exact" else schema.get(MODE_KEYWORD, "exact")
    mode, _, setting = declared.partition(":") if isinstance(declared, str) else (repr(declared), "", "")
    if mode not in MODES:
        raise UnknownName("mode of comparison", mode, MODES)
    return mode, setting


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


def _by_plain(wanted: tuple[Json, ...], setting: str) -> Match:
    plain = frozenset(_plain(value) for value in wanted if isinstance(value, str))
    return lambda given: isinstance(given, str) and _plain(given) in plain


def _by_moment(wanted: tuple[Json, ...], setting: str) -> Match:
    moments = frozenset(moment for value in wanted if (moment := _moment(value)) is not None)
    return lambda given: bool(moments) and _moment(given) in moments


def _by_tolerance(wanted: tuple[Json, ...], setting: str) -> Match:
    try:
        tolerance = float(setting or "1e-6")
    except ValueError:
        tolerance = math.nan
    if not 0 <= tolerance < math.inf:
        raise CallgrainError(f"numeric:{setting} is no tolerance", "write a share, such as numeric:0.01")
    return lambda given: any(_close(value, given, tolerance) for value in wanted)


def _by_pattern(wanted: tuple[Json, ...], setting: str) -> Match:
    check = check_of({"type": "string", "pattern": setting})
    if not setting or not check.usable:
        raise CallgrainError(
            f"regex:{setting[:80]} is no usable pattern: {check.reason or 'it is empty'}",
            "write one after the colon, such as regex:^[A-Z]{3}$",
        )
    return check.fits


def _by_items(wanted: tuple[Json, ...], setting: str, *, whole: bool) -> Match:
    lists = [value for value in wanted if isinstance(value, list)]

    def match(given: Json) -> bool:
        if not isinstance(given, list):
            return False
        return any(_covers(value, given) and (not whole or len(value) == len(given)) for value in lists)

    return match


_LEEWAY: dict[str, Callable[[tuple[Json, ...], str], Match]] = {
    "normalised": _by_plain,
    "date": _by_moment,
    "numeric": _by_tolerance,
    "regex": _by_pattern,
    "subset": lambda wanted, setting: _by_items(wanted, setting, whole=False),
    "unordered": lambda wanted, setting: _by_items(wanted, setting, whole=True),
    "any": lambda wanted, setting: lambda given: True,
}


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
