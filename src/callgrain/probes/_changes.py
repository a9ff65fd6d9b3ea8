"""Values made wrong: what can be put in the place of one plain value of an argument.

Each function gives candidates in random order, or none where the value is not of its kind; whether a
candidate is surely wrong there is settled by whoever puts it in (`_mutations.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from callgrain.core.schema import complaint
from callgrain.core.types import Json
from callgrain.probes._apart import Leaf, day

Change = Callable[[Leaf, Random], Sequence[Json]]
"""Values to put in a place; the first that is surely wrong is taken."""


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1e-6 < abs(value) < 1e15


def sign_flip(leaf: Leaf, rng: Random) -> Sequence[Json]:
    del rng
    return [-leaf.value] if _number(leaf.value) else []


def decimal_shift(leaf: Leaf, rng: Random) -> Sequence[Json]:
    if not _number(leaf.value):
        return []
    if isinstance(leaf.value, int):
        return [leaf.value * 10]
    return rng.sample([leaf.value * 10, leaf.value / 10], 2)


def off_by_one(leaf: Leaf, rng: Random) -> Sequence[Json]:
    whole = isinstance(leaf.value, int) and not isinstance(leaf.value, bool) and abs(leaf.value) < 2**53
    return rng.sample([leaf.value + 1, leaf.value - 1], 2) if whole else []


def date_reorder(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """Month and day of a date exchanged, in `2024-01-11` and whatever follows it, or in `01/11/2024`."""
    del rng
    text = leaf.value if isinstance(leaf.value, str) else ""
    if day(text[:10]) is not None and (len(text) == 10 or text[10:11] in ("T", " ")) and text[4:5] == "-":
        other = f"{text[:5]}{text[8:10]}-{text[5:7]}"
        return [other + text[10:]] if day(other) else []
    parts = text.split("/")
    if len(parts) == 3 and all(p.isascii() and p.isdigit() for p in parts) and len(parts[2]) == 4:
        return [f"{parts[1]}/{parts[0]}/{parts[2]}"] if 0 < int(parts[0]) < 13 and 0 < int(parts[1]) < 13 else []
    return []


def path_change(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """A separator of a file's path left out, or another sign in its place."""
    text = leaf.value if isinstance(leaf.value, str) else ""
    if not text.startswith(("/", "~/", "./", "../")) or "//" in text or len(text) > 300:
        return []
    inner = [i for i in range(1, len(text) - 1) if text[i] == "/" and text[i - 1].isalnum() and text[i + 1].isalnum()]
    if not inner:
        return []
    at = rng.choice(inner)
    return [text[:at] + sign + text[at + 1 :] for sign in rng.sample(["", "_", "-"], 3)]


def wrong_type(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """Number as text, text as number or in a list, truth as 0 or 1; only where the schema names one type."""
    del rng
    value, kind = leaf.value, leaf.schema.get("type")
    if kind == "boolean" and isinstance(value, bool):
        return [int(value)]
    if kind in ("integer", "number") and _number(value):
        return [str(value)]
    if kind == "string" and isinstance(value, str) and value:
        return [int(value)] if value.isascii() and value.isdecimal() and len(value) < 16 else [[value]]
    return []


def null(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """Null where the one type that the schema names is another, and nothing says that it may be left out."""
    del rng
    schema, kind = leaf.schema, leaf.schema.get("type")
    named = isinstance(kind, str) and kind != "null" and not schema.get("nullable")
    vague = (leaf.accept and leaf.accept.omissible) or ("default" in schema and schema["default"] is None)
    return [None] if named and not vague and complaint(schema, None) is not None else []


def unit(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """Another unit of the same dimension, none that an accepted spelling has."""
    others = _other_units(leaf.value) if isinstance(leaf.value, str) else []
    taken = {_unit_of(v) for v in (leaf.accept.values if leaf.accept else ()) if isinstance(v, str)}
    left = [v for v in others if _unit_of(v) not in taken]
    return rng.sample(left, len(left))


def enum_neighbour(leaf: Leaf, rng: Random) -> Sequence[Json]:
    found = leaf.schema.get("enum")
    members = list(found) if isinstance(found, list) and leaf.value in found else []
    return rng.sample(members, len(members))


def case_change(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """Letters of the other case, only where the schema's enum or pattern refuses them: there case counts."""
    del rng
    if not isinstance(leaf.value, str) or not leaf.schema.keys() & {"enum", "pattern"}:
        return []
    other = leaf.value.swapcase()
    return [other] if complaint(leaf.schema, other) == "not_allowed" else []


def text_edit(leaf: Leaf, rng: Random) -> Sequence[Json]:
    """One letter of a word made one that seldom stands there, so that no other spelling comes out."""
    text = leaf.value if isinstance(leaf.value, str) else ""
    letters = [i for i, ch in enumerate(text[:300]) if ch.isascii() and ch.isalpha()]
    if len(letters) < 3:
        return []
    at = rng.choice(letters)
    return [text[:at] + sign + text[at + 1 :] for sign in "qxzj" if sign != text[at].lower()]


_UNITS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("km", "kilometers", "kilometres", "kilometer"), ("mi", "miles", "mile"), ("m", "meters", "metres", "meter"),
     ("ft", "feet", "foot"), ("cm", "centimeters", "centimetres", "centimeter")),
    (("kg", "kilograms", "kilogram"), ("lb", "pounds", "lbs", "pound"), ("g", "grams", "gram"),
     ("oz", "ounces", "ounce")),
    (("°C", "celsius"), ("°F", "fahrenheit"), ("K", "kelvin")),
    (("h", "hours", "hour", "hrs"), ("min", "minutes", "minute"), ("s", "seconds", "second"), ("d", "days", "day")),
    (("L", "liters", "litres", "liter"), ("gal", "gallons", "gallon"), ("ml", "milliliters", "millilitres")),
    (("km/h", "kilometers per hour", "kmh", "kph"), ("mph", "miles per hour")),
    (("MB", "megabytes"), ("GB", "gigabytes"), ("KB", "kilobytes")),
)  # fmt: skip
"""Dimensions, their units, and each unit's spellings: the sign first, then the word."""
_SPELLING = {
    spelling.casefold(): (dimension, unit)
    for dimension, units in enumerate(_UNITS)
    for unit, spellings in enumerate(units)
    for spelling in spellings
}


def _unit_of(text: str) -> tuple[int, int] | None:
    """(dimension, unit) that a text ends in after a number, or is; a lone sign of one or two letters is none."""
    number, word = _measured(text)
    return _SPELLING.get(word.casefold()) if number or len(word) > 2 else None


def _measured(text: str) -> tuple[str, str]:
    """`"5 km"` -> `("5 ", "km")`."""
    cut = next((i for i, ch in enumerate(text[:40]) if ch not in "0123456789.,- "), len(text))
    head = text[:cut]
    return (head, text[cut:].strip()) if any(map(str.isdecimal, head)) else ("", text.strip())


def _other_units(text: str) -> list[str]:
    """The text with each other unit of its dimension, as a sign where it had one and in words else."""
    found = _unit_of(text)
    if found is None:
        return []
    (number, word), (dimension, unit) = _measured(text), found
    as_word = word.casefold() != _UNITS[dimension][unit][0].casefold()
    return [number + spellings[as_word] for other, spellings in enumerate(_UNITS[dimension]) if other != unit]
