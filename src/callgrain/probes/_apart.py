"""Is a reply surely wrong? A small typed comparison that is not the verifier's.

The mutations and equivalences test graders, the verifier among them, so it may not be their judge.
The comparison is conservative: two values are `apart` only where no usual reading makes them
the same. Beside it stand the places in an answer that can be changed.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from callgrain.core import plugins
from callgrain.core.schema import complaint
from callgrain.core.types import Accept, Answer, Call, Json, Ref, Reply, Sample, Tool
from callgrain.verify.values import leeway

Calls = tuple[Call, ...]
Schema = dict[str, Any]

LEAF_LIMIT = 100
"""Most places of one answer that are looked at."""


# what is surely different --------------------------------------------------------------------


def apart(gold: Json, given: Json, accept: Accept | None = None, *, cased: bool = False) -> bool:
    """Whether `given` is surely neither `gold` nor anything that `accept` allows in its place.

    Typed: True, 1 and "1" are three values, 1 and 1.0 are one. Texts are compared after NFKC, without
    differences of white space and, unless `cased`, of letter case. A declared mode widens what is the same.
    """
    mode, _, setting = (accept.mode if accept else "exact").partition(":")
    wanted = (gold, *accept.values) if accept else (gold,)
    try:
        slack = 2 * float(setting or "1e-6") if mode == "numeric" else 1e-9
        return mode not in ("any", "regex") and all(_apart(value, given, mode, slack, cased) for value in wanted)
    except (ValueError, OverflowError):  # a tolerance that is no number, an integer beyond any float
        return False


def _apart(a: Json, b: Json, mode: str, slack: float, cased: bool) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is not b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) > slack * max(abs(a), abs(b))
    if isinstance(a, str) and isinstance(b, str):
        if mode == "date":
            days = day(a), day(b)
            return None not in days and days[0] != days[1]
        return _plain(a, mode, cased) != _plain(b, mode, cased)
    if isinstance(a, list) and isinstance(b, list):
        if mode == "exact":
            return len(a) != len(b) or any(_apart(x, y, mode, slack, cased) for x, y in zip(a, b, strict=True))
        return any(all(_apart(x, y, mode, slack, cased) for y in b) for x in a)
    if isinstance(a, dict) and isinstance(b, dict):  # a field that one lacks may have a default
        return any(_apart(a[k], b[k], mode, slack, cased) for k in a.keys() & b.keys())
    return type(a) is not type(b)


def _plain(text: str, mode: str, cased: bool) -> str:
    found = " ".join(unicodedata.normalize("NFKC", text).split())
    if mode == "normalised":
        return "".join(ch for ch in found.casefold() if ch.isalnum())
    return found if cased else found.casefold()


def day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def differs(sample: Sample, calls: Calls, touched: int | None = None, *, cased: bool = False) -> bool:
    """Whether `calls` are surely no right answer: other names than each, or a touched call that is in none."""
    names = Counter(c.name for c in calls)
    tools = {t.name: t for t in sample.prompt.tools}
    for way in (sample.answer, *sample.answer.instead):
        if names != Counter(c.name for c in way.calls):
            continue
        if touched is None:
            return False
        call = calls[touched]
        like = (j for j, other in enumerate(way.calls) if other.name == call.name)
        if not all(call_apart(way, j, call, tools.get(call.name), cased) for j in like):
            return False
    return True


def call_apart(way: Answer, index: int, given: Call, tool: Tool | None, cased: bool = False) -> bool:
    """Whether one argument at least is surely wrong where call `index` of `way` is meant; references never are."""
    gold = way.calls[index].arguments
    properties = tool.properties if tool else {}
    for name in [*gold, *(n for n in given.arguments if n not in gold)]:
        schema = properties.get(name)
        accept = leeway(way.accepts.get(f"{index}.{name}"), schema)
        default = [schema["default"]] if isinstance(schema, dict) and "default" in schema else []
        if name in gold and name in given.arguments:
            want, have = gold[name], given.arguments[name]
            if not holds_reference(want) and not holds_reference(have) and apart(want, have, accept, cased=cased):
                return True
        elif name in gold:
            if not (accept and accept.omissible) and all(apart(gold[name], value, accept) for value in default):
                return True
        elif (accept is None or accept.mode.partition(":")[0] not in ("any", "regex")) and all(
            apart(value, given.arguments[name]) for value in (*default, *(accept.values if accept else ()))
        ):
            return True
    return False


def holds_reference(value: Json) -> bool:
    """Whether a reference to another call stands anywhere in `value`."""
    if isinstance(value, dict):
        return any(map(holds_reference, value.values()))
    return any(map(holds_reference, value)) if isinstance(value, list) else Ref.read(value) is not None


# replies and places --------------------------------------------------------------------------


def reply_with(sample: Sample, calls: Sequence[Call]) -> Reply:
    """The right turn with other calls in it, as the `json` dialect would write it."""
    message = sample.answer.message.model_copy(update={"calls": tuple(calls)})
    return Reply(text=dialect().write(message), message=message)


def dialect() -> Any:
    """The plain JSON dialect."""
    return plugins.load("dialects", "json")()


def put(calls: Calls, index: int, arguments: dict[str, Json]) -> Calls:
    """The calls with one call's arguments replaced."""
    return (*calls[:index], calls[index].model_copy(update={"arguments": arguments}), *calls[index + 1 :])


@dataclass(frozen=True)
class Leaf:
    """One plain value inside an argument, with its own schema and what the argument may be instead."""

    index: int
    name: str
    path: tuple[str | int, ...]
    value: Json
    schema: Schema
    accept: Accept | None

    def replaced(self, calls: Calls, value: Json) -> Calls:
        """The calls with another value in this place."""
        arguments = calls[self.index].arguments
        return put(calls, self.index, {**arguments, self.name: _set(arguments[self.name], self.path, value)})


def leaves(sample: Sample) -> list[Leaf]:
    """Values of offered tools' known parameters that fit their schema and hold no reference."""
    tools = {t.name: t for t in sample.prompt.tools}
    out: list[Leaf] = []
    for i, call in enumerate(sample.answer.calls):
        tool = tools.get(call.name)
        for name, value in call.arguments.items():
            schema = tool.properties.get(name) if tool else None
            if isinstance(schema, dict) and not holds_reference(value) and complaint(schema, value) is None:
                accept = leeway(sample.answer.accepts.get(f"{i}.{name}"), schema)
                out += [Leaf(i, name, path, v, s, accept) for path, v, s in _walk(value, schema, ())]
    return out[:LEAF_LIMIT]


def _walk(
    value: Json, schema: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Json, Schema]]:
    known: Schema = schema if isinstance(schema, dict) else {}
    if isinstance(value, dict):
        fields = known.get("properties")
        for key, inner in value.items():
            yield from _walk(inner, fields.get(key) if isinstance(fields, dict) else None, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value[:LEAF_LIMIT]):
            yield from _walk(inner, known.get("items"), (*path, at))
    else:
        yield path, value, known


def _set(value: Json, path: tuple[str | int, ...], new: Json) -> Json:
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {k: _set(v, rest, new) if k == head else v for k, v in value.items()}
    return [_set(v, rest, new) if i == head else v for i, v in enumerate(value)]
