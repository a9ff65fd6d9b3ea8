"""The typed universe behind `toolworld`: kinds, parameters, fields, specs.

A kind is a semantic type ("city", "hotel_id"). A tool's parameter takes one kind and each field of
its result has one, so that producer -> consumer edges follow from the types alone. Whatever is
said about a tool in a request stands beside it, so that words and meaning cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, cast

from callgrain.core.canonical import canonical, text_key
from callgrain.core.types import Json, Tool
from callgrain.tools._catalogue import ToolError

Compute = Callable[[Mapping[str, Json]], Json]
Holds = Callable[[Json], bool]

UNSEEN_PERCENT = 15
"""Share of tools, and of producer -> consumer edges, that training never shows."""

SHORT = ("micro", "open", "farm")
"""Levels that speak in a dozen words, and whose sub-tasks are named instead of told."""


@dataclass(frozen=True)
class Kind:
    """A semantic type: its schema, how a value is drawn, checked and said."""

    name: str
    schema: Mapping[str, Json]
    draw: Callable[[Random], Json]
    holds: Holds
    says: Callable[[Json, Random], str]


@dataclass(frozen=True)
class Param:
    """One parameter: `cues` are phrases with `{}` for the value, `vague` stands for a missing one.

    With `many`, the value is a list of values of the kind.
    """

    name: str
    kind: str
    cues: tuple[str, ...]
    required: bool = True
    default: Json = None
    vague: str = ""
    question: str = ""
    about: str = ""
    many: bool = False


@dataclass(frozen=True)
class Field:
    """One field of a result; every phrase in `refs` has the word "that" in it exactly once."""

    name: str
    kind: str
    phrase: str
    refs: tuple[str, ...] = ()
    it: bool = False


@dataclass(frozen=True)
class Spec:
    """A tool with all that is needed to call it, run it and speak of it.

    `openers` begin a clause; `{name}` in one is the place of that parameter. `pronoun` openers fit
    only where that parameter is the result of a tool with the same noun ("price it").
    """

    tool: Tool
    verb: str
    noun: str
    params: tuple[Param, ...]
    fields: tuple[Field, ...]
    compute: Compute
    openers: tuple[str, ...]
    pronoun: tuple[str, ...] = ()
    identity: str = ""

    @property
    def known_as(self) -> str:
        """What the tool is in every world, whatever it is called in this one."""
        return self.identity or self.tool.name

    @cached_property
    def by_name(self) -> dict[str, Param]:
        """Parameters by name."""
        return {p.name: p for p in self.params}


@dataclass(frozen=True)
class Universe:
    """All tools of one level and seed; the same on every machine."""

    level: str
    seed: int
    kinds: Mapping[str, Kind]
    specs: Mapping[str, Spec]
    _feeds: dict[tuple[str, str, bool | None], tuple[tuple[str, str], ...]] = field(
        default_factory=dict[tuple[str, str, bool | None], tuple[tuple[str, str], ...]]
    )

    @property
    def style(self) -> str:
        """How the world speaks: `full` sentences, or the few words of `micro` and its like."""
        return "micro" if self.level in SHORT else "full"

    @property
    def spec(self) -> str:
        """The catalogue SPEC that opens this universe."""
        return f"toolworld:{self.level},seed={self.seed}"

    def seen_tool(self, name: str) -> bool:
        """Whether training may show the tool: a stable hash decides, the same in every world of the level."""
        return text_key("tool", self.level, self.specs[name].known_as) % 100 >= UNSEEN_PERCENT

    def seen_edge(self, producer: str, consumer: str, param: str) -> bool:
        """Whether training may feed `param` of `consumer` from `producer`: a stable hash, the same in every world."""
        ends = self.specs[producer].known_as, self.specs[consumer].known_as
        kind = self.specs[consumer].by_name[param].kind if self.style == "micro" else param
        return text_key("edge", self.level, *ends, kind) % 100 >= UNSEEN_PERCENT

    def feeders(self, consumer: str, param: str, seen: bool | None) -> tuple[tuple[str, str], ...]:
        """(producer, field) pairs that may feed a parameter, by `seen_edge`; None takes both sorts."""
        key = (consumer, param, seen)
        if key not in self._feeds:
            kind = self.specs[consumer].by_name[param].kind
            self._feeds[key] = tuple(
                (name, f.name)
                for name, spec in self.specs.items()
                for f in spec.fields
                if f.kind == kind
                and f.refs
                and name != consumer
                and (seen is None or self.seen_edge(name, consumer, param) == seen)
            )
        return self._feeds[key]

    def run(self, name: str, arguments: Mapping[str, Json]) -> Json:
        """The result of one call. Raises ToolError for a wrong name, presence, type or value."""
        spec = self.specs.get(name)
        if spec is None:
            raise ToolError(f"there is no tool {name!r}")
        for given in arguments:
            if given not in spec.by_name:
                raise ToolError(f"{name} has no parameter {given!r}")
        bound: dict[str, Json] = {}
        for param in spec.params:
            if param.name in arguments:
                bound[param.name] = self._checked(param, arguments[param.name])
            elif param.required:
                raise ToolError(f"{name} wants {param.name!r}")
            elif param.default is not None:
                bound[param.name] = param.default
        return spec.compute(bound)

    def _checked(self, param: Param, value: Json) -> Json:
        holds = self.kinds[param.kind].holds
        if param.many:
            values = cast("list[Json]", value) if isinstance(value, list) else []
            right = 0 < len(values) <= 64 and all(holds(v) for v in values)
        else:
            right = holds(value)
        if not right:
            raise ToolError(f"{param.name!r} is no {param.kind}")
        return value


def world_key(*parts: Any) -> int:
    """A stable 64-bit number of JSON values: what the in-memory world looks its answers up by."""
    return text_key(canonical([_plain(p) for p in parts]).decode())


def _plain(value: Any) -> Any:
    """1.0 and 1 are one number in JSON Schema, so they must have one key."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        plain: list[Any] = [_plain(v) for v in cast("list[Any]", value)]
        return plain
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in cast("Mapping[str, Any]", value).items()}
    return value


def seeded(*parts: str | int) -> Random:
    """A random stream of its own for some strings and numbers; the same on every machine."""
    return Random(text_key(*map(str, parts)))


def with_article(noun: str) -> str:
    """`"inn"` -> `"an inn"`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def whole(value: Json) -> bool:
    """True for a JSON integer: not for True, but for 1.0."""
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def schema_of(params: tuple[Param, ...], kinds: Mapping[str, Kind]) -> dict[str, Json]:
    """JSON Schema of the parameters."""
    properties: dict[str, Json] = {}
    for param in params:
        schema: dict[str, Json] = dict(kinds[param.kind].schema)
        if param.many:
            schema = {"type": "array", "items": schema, "minItems": 1}
        schema["description"] = param.about or param.name
        if param.default is not None:
            schema["default"] = param.default
        properties[param.name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": [p.name for p in params if p.required],
        "additionalProperties": False,
    }
