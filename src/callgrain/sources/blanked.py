"""Instructions taken away, or dealt out wrongly; targets stay.

`blanked,what=descriptions,seed=0:SOURCE`: the train-time half of the question whether a model uses what it is told
(Kung and Peng 2023, arXiv 2305.11383, on functions). `what` is `descriptions` (names, types, enums and what is required
stay), `shuffled` (each function, and each parameter, gets the description of another), `tools` (no library at
all) or `request` (a library without a request). Names without meaning are `masked`. Rows made with
`tools` or `request` cannot be answered by reading: they are controls to train on beside the real rows, at the same
budget, and no score on them means anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar

from callgrain.core.errors import UnknownName
from callgrain.core.types import Json, Message, Tool, Trace
from callgrain.sources._edits import DEPTH, derived
from callgrain.sources._wrapping import Editing, SkipError

_SAID = ("description", "title", "examples", "example", "$comment")
"""What a schema says in words; everything else decides what may be given."""
_HOLDERS = ("properties", "$defs", "definitions", "patternProperties")


class Blanked(Editing):
    """Traces with less to read, or misled; what was due stays due."""

    name = "blanked"
    options: ClassVar[dict[str, object]] = {"what": "descriptions", "seed": 0}

    def __init__(self, rest: str, what: str = "descriptions", seed: int = 0) -> None:
        if what not in WAYS:
            raise UnknownName("part of the instructions", what, WAYS)
        super().__init__(rest, seed)
        self.what = what

    def edit(self, split: str, trace: Trace, rng: Random) -> Trace:
        """The trace without it. Raises SkipError where there is nothing to take."""
        return WAYS[self.what](trace, rng)


def without_descriptions(trace: Trace, rng: Random) -> Trace:
    """Functions by their names and types alone. Raises SkipError where nothing is described."""
    del rng
    tools = tuple(map(plain, trace.tools))
    if tools == trace.tools:
        raise SkipError("no descriptions")
    return derived(trace, "no_descriptions", tools=tools)


def plain(tool: Tool) -> Tool:
    """The tool without its words: name, types, enums, defaults and what is required stay."""
    returns = _plain(tool.returns) if tool.returns else tool.returns
    return tool.model_copy(update={"description": "", "parameters": _plain(tool.parameters), "returns": returns})


def _plain(schema: Json, depth: int = 0) -> Any:
    if depth > DEPTH or not isinstance(schema, dict | list):
        return schema
    if isinstance(schema, list):
        return [_plain(inner, depth + 1) for inner in schema]
    out: dict[str, Json] = {}
    for key, inner in schema.items():
        if key in _HOLDERS and isinstance(inner, dict):  # its keys are names, whatever they spell
            out[key] = {name: _plain(one, depth + 1) for name, one in inner.items()}
        elif key not in _SAID:
            out[key] = inner if key in ("enum", "const", "default") else _plain(inner, depth + 1)
    return out


def shuffled(trace: Trace, rng: Random) -> Trace:
    """Every description at another function, or another parameter of its function. Raises SkipError."""
    tools = deal(trace.tools, rng)
    if tools is None:
        raise SkipError("nothing to deal out anew")
    return derived(trace, "shuffled_descriptions", tools=tools)


def deal(tools: Sequence[Tool], rng: Random) -> tuple[Tool, ...] | None:
    """The tools with their descriptions moved round, and those of each one's parameters; None where nothing changes."""
    dealt = [_dealt_within(tool, rng) for tool in tools]
    texts = [tool.description for tool in tools]
    if len(set(texts)) > 1:
        by = rng.randrange(1, len(texts))
        turned = texts[by:] + texts[:by]
        dealt = [t.model_copy(update={"description": text}) for t, text in zip(dealt, turned, strict=True)]
    return tuple(dealt) if tuple(dealt) != tuple(tools) else None


def _dealt_within(tool: Tool, rng: Random) -> Tool:
    """The tool with the descriptions of its parameters moved round."""
    properties = tool.parameters.get("properties")
    if not isinstance(properties, dict):
        return tool
    said = {n: s["description"] for n, s in properties.items() if isinstance(s, dict) and "description" in s}
    if len(set(map(str, said.values()))) < 2:
        return tool
    names, by = list(said), rng.randrange(1, len(said))
    turned = dict(zip(names, [said[n] for n in names[by:] + names[:by]], strict=True))
    fresh = {n: {**s, "description": turned[n]} if n in turned else s for n, s in properties.items()}
    return tool.model_copy(update={"parameters": {**tool.parameters, "properties": fresh}})


def without_tools(trace: Trace, rng: Random) -> Trace:
    """No library. Raises SkipError where there is none to take."""
    del rng
    if not trace.tools:
        raise SkipError("no tools")
    return derived(trace, "no_tools", tools=())


def without_request(trace: Trace, rng: Random) -> Trace:
    """A library without a request: every user turn says nothing. Raises SkipError where none is said."""
    del rng
    messages = tuple(silent(m) for m in trace.messages)
    if messages == trace.messages:
        raise SkipError("no request")
    return derived(trace, "no_request", messages=messages)


def silent(message: Message) -> Message:
    """A user turn without its words; any other turn as it is."""
    return message.model_copy(update={"text": "..."}) if message.role == "user" and message.text else message


WAYS: dict[str, Callable[[Trace, Random], Trace]] = {
    "descriptions": without_descriptions,
    "shuffled": shuffled,
    "tools": without_tools,
    "request": without_request,
}
"""What can be taken away, or dealt out wrongly."""

plugin = Blanked
