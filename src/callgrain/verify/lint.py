"""Faults that can be seen without the key: names, shapes, types, references.

What a runtime guard can check before a call leaves the house. Every fault of a call is named,
not only the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.schema import complaint, depth
from callgrain.core.types import Call, Fault, Json, Ref, Tool
from callgrain.verify.faults import by_level, fault

NESTING_LIMIT = 100
"""Deepest nesting of arguments that are judged; the dialects read no value as deep as that."""


def lint(calls: Sequence[Call], tools: Sequence[Tool]) -> tuple[Fault, ...]:
    """Every fault of `calls` that shows against the tools alone, in the order of the table."""
    offered = {tool.name: tool for tool in tools}
    found: list[Fault] = []
    labels: set[str] = set()
    for index, call in enumerate(calls):
        where = f"calls.{index}"
        if too_deep(call):
            found.append(fault("unparsable", f"{where}.arguments", f"nesting of at most {NESTING_LIMIT}"))
            continue
        tool = offered.get(call.name)
        if tool is None:
            found.append(fault("unknown_tool", f"{where}.name", sorted(offered), call.name))
        else:
            found += lint_arguments(call, tool, where)
        found += broken_references(call.arguments, labels, f"{where}.arguments")
        if call.label:
            labels.add(call.label)
    return by_level(found)


def too_deep(value: Json) -> bool:
    """Whether a value (or a call's arguments) is nested too deeply to be judged by recursion."""
    if isinstance(value, Call):
        value = value.arguments
        if not any(isinstance(inner, dict | list) for inner in value.values()):
            return False
    return depth(value, NESTING_LIMIT + 1) > NESTING_LIMIT


def lint_arguments(call: Call, tool: Tool, where: str) -> list[Fault]:
    """Missing, unknown, wrongly typed and disallowed arguments of one call."""
    found = [
        fault("missing_argument", f"{where}.arguments.{name}", tool.properties.get(name))
        for name in tool.required
        if name not in call.arguments
    ]
    for name, value in call.arguments.items():
        place = f"{where}.arguments.{name}"
        if name not in tool.properties:
            if tool.parameters.get("additionalProperties", False) is False:
                found.append(fault("unknown_argument", place, sorted(tool.properties), value))
        elif (kind := misfit(tool.properties[name], value)) is not None:
            found.append(fault(kind, place, tool.properties[name], value))
    return found


def misfit(schema: Json, value: Json) -> str | None:
    """`wrong_type`, `not_allowed` or None; a value that holds a reference is not judged yet."""
    return None if has_reference(value) else complaint(schema, value)


def has_reference(value: Json) -> bool:
    """Whether a reference occurs anywhere in `value`."""
    if isinstance(value, str):
        return value[:1] == "$" and Ref.read(value) is not None
    layer: list[Json] = [value] if isinstance(value, dict | list) else []
    while layer:  # a key's depth is not trusted
        items = [item for part in layer for item in (part.values() if isinstance(part, dict) else part)]
        if any(isinstance(item, str) and item[:1] == "$" and Ref.read(item) is not None for item in items):
            return True
        layer = [item for item in items if isinstance(item, dict | list)]
    return False


def broken_references(value: Json, labels: set[str] | Mapping[str, int], where: str) -> list[Fault]:
    """References in `value` to a label that no earlier call carries."""
    if isinstance(value, dict):
        return [f for k, v in value.items() for f in broken_references(v, labels, f"{where}.{k}")]
    if isinstance(value, list):
        return [f for i, v in enumerate(value) for f in broken_references(v, labels, f"{where}.{i}")]
    ref = Ref.read(value)
    if ref is None or ref.label in labels:
        return []
    return [fault("broken_reference", where, sorted(labels), value)]
