"""Values that could stand in an argument's place: near, of another type, outside, made up.

Nothing here says that a value is wrong; whoever spoils a call chooses among them by the schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from callgrain.core.schema import depth
from callgrain.core.types import Json

Schema = dict[str, Any]
_DEPTH = 32
"""Deepest value that is put into a reply on purpose: any dialect can write it."""


def of_other_types(gold: Json) -> list[Json]:
    """One value of each other JSON type."""
    return [str(gold) if not isinstance(gold, str) else 7, True, ["x"], {"x": 1}, None]


def outside(gold: Json, schema: Schema) -> list[Json]:
    """Values of the same type just beyond the schema's bounds, enum or pattern."""
    out: list[Json] = []
    for bound, step in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1), ("exclusiveMaximum", 0)):
        if isinstance(schema.get(bound), int | float):
            out.append(schema[bound] + step)
    if isinstance(gold, str):
        longest = schema.get("maxLength", 0)
        out += [gold + "_x", "?", "", "x" * (min(longest, 10_000) + 1 if isinstance(longest, int) else 1)]
    if isinstance(gold, list):
        out += [[], gold * 50]
    return [*out, -1, 10**9]


def invented(schema: Schema) -> list[Json]:
    """Values that no conversation holds, one of each type, those of an enum first."""
    return [*_enum(schema), "zzyzx", 424242, 4242.5, True, ["zzyzx"], {"zzyzx": 1}]


@dataclass(frozen=True)
class Around:
    """What stands around an argument: other arguments' values, and the conversation's words and numbers."""

    others: tuple[Json, ...]
    words: tuple[str, ...]
    numbers: tuple[Any, ...]

    def near(self, gold: Json, schema: Schema) -> list[Json]:
        """Legal-looking values that a model could take for the gold one, the likeliest first."""
        if enum := _enum(schema):
            return enum
        if isinstance(gold, bool):
            return [not gold]
        alike = [v for v in self.others if type(v) is type(gold)]
        if isinstance(gold, int | float):
            return [*alike, *self.numbers, gold + 1, gold - 1, gold / 2 if isinstance(gold, float) else gold * 2]
        if isinstance(gold, str):
            return [*alike, *self.words, bumped(gold), gold[::-1], gold + "x"]
        if isinstance(gold, list):
            return [*alike, gold[:-1], gold + gold, [*gold[1:], *gold[:1]]]
        return [*alike, *self._swapped(gold, schema)] if isinstance(gold, dict) else alike

    def _swapped(self, gold: dict[str, Json], schema: Schema) -> list[Json]:
        """The object with one field changed."""
        fields = schema.get("properties")
        inner: Schema = fields if isinstance(fields, dict) else {}
        apart = Around((), self.words, self.numbers)
        return [
            {**gold, name: value}
            for name, old in gold.items()
            for value in apart.near(old, inner[name] if isinstance(inner.get(name), dict) else {})[:4]
        ]


def bumped(gold: str) -> str:
    """The text with its last digit changed: a neighbour of the same pattern, of an identifier or a date."""
    at = max((i for i, letter in enumerate(gold) if letter in "0123456789"), default=-1)
    return gold if at < 0 else f"{gold[:at]}{9 - int(gold[at]) if gold[at] != '5' else 6}{gold[at + 1 :]}"


def _enum(schema: Schema) -> list[Json]:
    found = schema.get("enum")
    listed: list[Json] = found if isinstance(found, list) else []
    return [value for value in listed if depth(value, _DEPTH + 1) <= _DEPTH]
