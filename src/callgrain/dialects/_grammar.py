"""Grammars of turns: what a dialect's `parse` reads, as rules that a decoder can be held to.

A grammar has every branch that an answer can take: calls of the tools shown, and text, which is
where a question, a refusal and a plain answer live. It spells as the dialect's `write` does, with a
tool's parameters in the order of their declaration. Rules are in llguidance's Lark
(its docs/syntax.md); values by JSON Schema stand beside them, because only who compiles them knows
which keywords can be expressed. Schemas come from strangers: what is too large or unusable for
`core/schema.py` becomes its top type, or any JSON, and is named in `loosened`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from callgrain.core.schema import check_of
from callgrain.core.types import Json, Tool
from callgrain.dialects._calls import OPENINGS, clean

SCHEMA_LIMIT = 20_000
"""Most characters of one value's schema; a longer one is taken by its top type."""

PARAMETERS_LIMIT = 500
"""Most parameters of a tool whose arguments are spelt out one by one."""

CHOICES_LIMIT = 1_000
"""Most choices of an enum that stand in the rules one by one."""

REFERENCE = r"\$[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z0-9_.\-]{1,120})?\$"
"""A reference as a regular expression (`core.types.Ref`), no longer than a bare word may be."""

NUMBER = r"NUMBER: /-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,25})?([eE][+\-]?[0-9]{1,2})?/"
"""The terminal of a number that is finite whatever its digits are."""

ANY = r"(.|\n)"
SPACE = r"[ \t\r\n]"

_TYPES = frozenset(("string", "integer", "number", "boolean", "array", "object", "null"))
_DROPPED = frozenset(
    ("format", "description", "title", "default", "examples", "example", "$comment", "x-guidance", "deprecated")
)
"""Keywords that say nothing of a value here: a format is advice, and judged by no verdict."""

_NESTED_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_NESTED_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NESTED = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_BELOW = ("properties", "prefixItems", "items", "additionalProperties")
_REFERENCE_SCHEMA = {"type": "string", "pattern": f"^{REFERENCE}$"}


@dataclass(frozen=True)
class Grammar:
    """A turn's grammar: `lark` begins at `start`; `values` are (rule, JSON Schema as text) that it refers to.

    A value is written as JSON with `, ` and `: ` between its parts. `loosened` names the places
    whose schema is not held to in full.
    """

    lark: str
    values: tuple[tuple[str, str], ...] = ()
    loosened: tuple[str, ...] = ()


@dataclass
class Rules:
    """A grammar in the making."""

    lines: list[str] = field(default_factory=list[str])
    values: dict[str, str] = field(default_factory=dict[str, str])
    loosened: list[str] = field(default_factory=list[str])

    def rule(self, name: str, *ways: str) -> str:
        """A rule with its alternatives; gives its name."""
        self.lines.append(f"{name}: " + "\n  | ".join(ways))
        return name

    def json(self, schema: Json, where: str) -> str:
        """The rule of a JSON value that fits `schema`, no reference included."""
        kept, reason = _usable(schema)
        if kept == {"type": "number"}:
            if NUMBER not in self.lines:
                self.lines.append(NUMBER)
            return "NUMBER"
        if reason is not None:
            self.loosened.append(f"{where}: {reason}")
        text = json.dumps(kept, sort_keys=False)
        return self.values.setdefault(text, f"value_{len(self.values)}")

    def done(self) -> Grammar:
        """The grammar as it stands."""
        values = tuple((name, text) for text, name in self.values.items())
        return Grammar("\n".join(self.lines) + "\n", values, tuple(self.loosened))


def literal(text: str) -> str:
    """A text as a Lark literal; "" stands for nothing at all."""
    return json.dumps(clean(text), ensure_ascii=False) if text else '""'


def dumps(value: Json) -> str:
    """A value as the dialects write it."""
    return json.dumps(clean(value), ensure_ascii=False)


def regex(text: str) -> str:
    """A text as a regular expression that matches just it."""
    return "".join(f"\\{c}" if c in r".[]{}()*+?|^$\/" else c for c in text)


def prose(name: str, *never: str) -> str:
    """The terminal of a text that fits none of the regular expressions `never`, nor holds calls in hiding."""
    marks = "|".join(regex(mark) for mark in OPENINGS)
    quotes = "[\"'`]?"
    members = "(name|function|arguments|parameters|tool_calls|calls)"
    bare = rf'\{{{SPACE}*"type":{SPACE}*"function"'
    inside = rf"({marks}|[{{,]{SPACE}*{quotes}{members}{quotes}{SPACE}*:|{bare})"
    ruled_out = [*never, f"{ANY}*{inside}{ANY}*"]
    return f"{name}: /{ANY}+/" + "".join(f" & ~/{slashed(one)}/" for one in ruled_out)


def slashed(pattern: str) -> str:
    """A regular expression as it stands between slashes."""
    return pattern.replace("\\/", "/").replace("/", "\\/")


def thought_first(opening: str, closing: str) -> str:
    """The regular expression of a text that has a thought before it: the longest terminal wins, so text is without."""
    return f"{SPACE}*{regex(opening)}{ANY}*{regex(closing)}{ANY}*" if opening else f"{ANY}*{regex(closing)}{ANY}*"


def thought_rule(rules: Rules, opening: str, closing: str, special: frozenset[str], *, blanks: bool = True) -> str:
    """The rule of a thought that may stand before a turn, and be missing; `opening` "" says that it may be open.

    The blanks after it belong to it, unless `blanks` says that they are the turn's own.
    """
    if closing in special:
        rules.lines.append(f"THOUGHT: /{ANY}+/")
        space = f" /{SPACE}*/" if blanks else ""
        return rules.rule("thought", f"{opening} THOUGHT? {closing}{space}", '""')
    end = regex(closing)
    more = f"{end}{SPACE}*[^ \\t\\r\\n]{ANY}*" if blanks else f"{end}{ANY}+"
    pattern = f"{regex(opening)}{ANY}*{end}" + (f"{SPACE}*" if blanks else "")
    marks = f"{ANY}*({'|'.join(map(regex, OPENINGS))}){ANY}*"
    # The longest terminal wins: an open thought that went on over marks would swallow the calls.
    open_end = "" if opening else f" & ~/{slashed(marks)}/"
    rules.lines.append(f"THOUGHT: /{slashed(pattern)}/ & ~/{slashed(f'{ANY}*{more}')}/{open_end}")
    return rules.rule("thought", "THOUGHT", '""')


def arguments(
    rules: Rules, name: str, tool: Tool, spell: Callable[[str, str], str], around: tuple[str, str, str, str]
) -> str:
    """The rule `name` of a tool's arguments, in the order of their declaration, the optional ones or not.

    `spell(parameter, rule prefix)` gives the text of one argument, as Lark; `around` is what
    stands before the first, between two, after the last, and in the place of none at all.
    """
    first, between, last, none = around
    properties = list(tool.properties)
    required = set(tool.required)
    closed = tool.parameters.get("additionalProperties", False) is False
    ways = [spell(parameter, f"{name}_{n}") for n, parameter in enumerate(properties)]
    extra = "" if closed else spell("", f"{name}_extra")
    tails = [f"{name}_t{n}" for n in range(len(ways) + 1)]
    more = f"({literal(between)} {extra})* " if extra else ""
    rules.rule(tails[-1], f"{more}{literal(last)}")
    for n in reversed(range(len(ways))):
        taken = f"{literal(between)} {ways[n]} {tails[n + 1]}"
        rules.rule(tails[n], *([taken] if properties[n] in required else [taken, tails[n + 1]]))
    starts: list[str] = []
    for n, parameter in enumerate(properties):
        starts.append(f"{literal(first)} {ways[n]} {tails[n + 1]}")
        if parameter in required:
            return rules.rule(name, *starts)
    if extra:
        starts.append(f"{literal(first)} {extra} {tails[-1]}")
    return rules.rule(name, *starts, literal(none))


def offered(tools: Sequence[Tool]) -> list[Tool]:
    """The tools that can be called, each name once."""
    return list({clean(tool.name): tool for tool in reversed(tools)}.values())[::-1]


def is_too_wide(tool: Tool) -> bool:
    """Whether a tool has more parameters than are spelt out."""
    return len(tool.properties) > PARAMETERS_LIMIT


def choices(schema: Json) -> list[Json] | None:
    """The values that an enum or a constant leaves, where they can be listed."""
    if not isinstance(schema, dict):
        return None
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(found, list) or not 0 < len(found) <= CHOICES_LIMIT:
        return None
    check = check_of(schema)
    return [value for value in cast("list[Json]", found) if not check.usable or check.fits(value)] or None


def takes_text(schema: Json) -> bool:
    """Whether some text may fit the schema."""
    if not isinstance(schema, dict):
        return schema is not False
    kinds = schema.get("type")
    if isinstance(kinds, str | list) and kinds:
        return "string" in kinds
    ways = schema.get("anyOf", schema.get("oneOf"))
    return any(takes_text(way) for way in cast("list[Any]", ways)) if isinstance(ways, list) else True


def is_plain_text(schema: Json) -> bool:
    """Whether every text fits the schema and nothing else does."""
    return isinstance(schema, dict) and schema.get("type") == "string" and not set(schema) - _DROPPED - {"type"}


def _usable(schema: Json) -> tuple[Json, str | None]:
    """The schema as it can be compiled, with references allowed within it; and what was given up, if anything."""
    if isinstance(schema, bool) or schema == {}:
        return {}, None if schema is not False else "nothing fits it"
    check = check_of(schema)
    reason = check.reason
    if reason is None and len(json.dumps(schema)) > SCHEMA_LIMIT:
        reason = f"a schema of more than {SCHEMA_LIMIT} characters"
    if reason is None:
        return _kept(schema, refers="$ref" in json.dumps(schema)), None
    kind: Any = cast("dict[str, Any]", schema).get("type") if isinstance(schema, dict) else None
    return ({"type": kind} if isinstance(kind, str) and kind in _TYPES else {}), reason


def _kept(schema: Json, *, refers: bool) -> Json:
    """The schema without what says nothing; its depth is bounded by the survey.

    Members and items may be references instead, unless definitions are shared: there the same
    schema would be widened at some places and not at others.
    """
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key in _DROPPED:
            continue
        widen = key in _BELOW and not refers
        if key in _NESTED_MAPS and isinstance(value, dict):
            out[key] = {name: _widened(inner, widen, refers) for name, inner in cast("dict[str, Any]", value).items()}
        elif key in _NESTED_LISTS and isinstance(value, list):
            out[key] = [_widened(inner, widen, refers) for inner in cast("list[Any]", value)]
        else:
            out[key] = _widened(value, widen, refers) if key in _NESTED else value
    return out


def _widened(schema: Json, widen: bool, refers: bool) -> Json:
    kept = _kept(schema, refers=refers)
    if not widen or not isinstance(kept, dict) or not kept or is_plain_text(kept):
        return kept
    return {"anyOf": [kept, _REFERENCE_SCHEMA]}


def lines(parts: Iterable[str]) -> str:
    """Alternatives in one line."""
    return " | ".join(parts)
