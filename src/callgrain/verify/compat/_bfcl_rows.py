"""A Sample as a row of BFCL: its published key where it has one, else one that says the same.

What BFCL has no notion of has no row; the reason is given instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callgrain.core.types import Accept, Answer, Call, Json, Sample, Tool
from callgrain.verify.lint import has_reference
from callgrain.verify.values import equal

CALLING = frozenset({"full", "parallel", "slots", "next_call", "nest", "chain"})
"""Sub-tasks whose answers are whole calls."""

_TYPES = {"object": "dict", "number": "float"}
_PLAIN = frozenset({"string", "integer", "boolean", "array"})
_DEPTH = 32


@dataclass(frozen=True)
class Row:
    """What BFCL's checker is given of a row."""

    functions: Json
    answers: Json
    category: str


def row_of(sample: Sample) -> Row | str:
    """The row, or the reason why there is none."""
    answer = sample.answer
    if sample.subtask == "decide":
        if answer.decision in ("call", "decline"):
            return Row([], [], "relevance" if answer.decision == "call" else "irrelevance")
        return f"BFCL has no notion of the branch {answer.decision!r}"
    if sample.subtask not in CALLING:
        return f"BFCL has nothing like the sub-task {sample.subtask!r}"
    return _published(answer) or _derived(answer, sample.prompt.tools)


def _published(answer: Answer) -> Row | str | None:
    """The key as BFCL published it; None where the answer carries none, or has been cut down since."""
    native = (answer.native or {}).get("bfcl")
    if native is None:
        return None
    if not isinstance(native, dict) or not isinstance(native.get("category"), str):
        return "the published key is no object with a category"
    functions, truth = native.get("function"), native.get("ground_truth", [])
    if not isinstance(functions, list) or not isinstance(truth, list):
        return "the published key lacks its lists of functions and of accepted calls"
    names = [name for item in truth if isinstance(item, dict) for name in item]
    if sorted(map(str, names)) != sorted(call.name for call in answer.calls):
        return None
    return Row(functions, truth, native["category"])


def _derived(answer: Answer, tools: tuple[Tool, ...]) -> Row | str:
    if answer.decision == "decline":
        return Row([], [], "irrelevance")
    if answer.decision != "call":
        return f"BFCL has no notion of the branch {answer.decision!r}"
    if reason := _beyond(answer):
        return reason
    offered = {tool.name: tool for tool in tools}
    truth: list[Json] = []
    for index, call in enumerate(answer.calls):
        if call.name not in offered:
            return f"the key calls {call.name!r}, which is not offered"
        truth.append({call.name: _accepted(answer, index, call, offered[call.name])})
    category = "multiple" if len(tools) > 1 else "simple"
    if len(answer.calls) > 1:
        category = "parallel_multiple" if len(tools) > 1 else "parallel"
    return Row([_document(tool) for tool in tools], truth, category)


def _beyond(answer: Answer) -> str:
    """Why a key of calls cannot be written as one of BFCL's; "" where it can."""
    if not answer.calls:
        return "the key holds no call"
    if answer.instead:
        return "BFCL has no notion of other answers that are right as a whole"
    if answer.ordered or answer.before:
        return "BFCL has no notion of an order of calls"
    if any(has_reference(call.arguments) for call in answer.calls):
        return "BFCL has no notion of a reference to another call's result"
    if any(accept.mode == "any" for accept in answer.accepts.values()):
        return "BFCL has no notion of an argument for which any value is right"
    return ""


def _document(tool: Tool) -> Json:
    properties = {name: _dialect(schema) for name, schema in tool.properties.items()}
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": {"type": "dict", "properties": properties, "required": list(tool.required)},
    }


def _dialect(schema: Any, depth: int = 0) -> dict[str, Json]:
    """A parameter's schema in BFCL's dialect; a type that it has no word for becomes `any`."""
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return {"type": "any"}
    named = schema.get("type")
    if isinstance(named, list):
        some = [kind for kind in named if kind != "null"]
        named = some[0] if len(some) == 1 else None
    kind = _TYPES.get(named, named if named in _PLAIN else "any") if isinstance(named, str) else "any"
    return {"type": kind, "items": _dialect(schema.get("items"), depth + 1)} if kind == "array" else {"type": kind}


def _accepted(answer: Answer, index: int, call: Call, tool: Tool) -> dict[str, Json]:
    """Accepted values of each parameter, `""` among them where it may be left out.

    BFCL's own keys list a parameter's default, and `""` beside it, where nothing else is asked for.
    """
    out: dict[str, Json] = {}
    for name, schema in tool.properties.items():
        default: list[Json] = [schema["default"]] if isinstance(schema, dict) and "default" in schema else []
        accept = answer.accepts.get(f"{index}.{name}", Accept())
        values = [call.arguments[name]] if name in call.arguments else []
        values += [value for value in accept.values if not any(equal(value, known, {}) for known in values)]
        omissible = accept.omissible or any(equal(value, other, {}) for value in values for other in default)
        if name not in call.arguments:
            values, omissible = values + default, True
        if values:
            kinds = _dialect(schema)
            out[name] = [*(_listed(value, kinds) for value in values), *([""] if omissible else [])]
    for name in call.arguments.keys() - tool.properties.keys():
        out[name] = [call.arguments[name]]
    return out


def _listed(value: Json, kinds: dict[str, Json]) -> Json:
    """A value as BFCL's keys spell it: each field of a declared object is a list of accepted values."""
    if kinds["type"] == "dict" and isinstance(value, dict):
        return {key: [inner] for key, inner in value.items()}
    items = kinds.get("items")
    if kinds["type"] == "array" and isinstance(value, list) and isinstance(items, dict) and items["type"] == "dict":
        return [_listed(inner, items) for inner in value]
    return value
