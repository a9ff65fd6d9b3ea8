"""JSON Schema behind one door: bounded, offline, linear-time patterns.

Schemas come from strangers. Both public validators follow `file:` and `http:` references by
default; here every reference outside the schema is refused, patterns run on a linear engine
with a size limit, and a schema that cannot be compiled is reported as such, never raised on.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import jsonschema_rs
import orjson

from callgrain.core.canonical import canonical

Complaint = Literal["wrong_type", "not_allowed"]

DEPTH_LIMIT = 60
"""Deepest nesting of a schema that is compiled; a deeper one validates nothing."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _deny(uri: str) -> Any:
    raise ValueError(f"reference outside the schema: {uri[:200]!r}")


@lru_cache(maxsize=4096)
def _validator(text: bytes) -> Any | None:
    """A compiled validator for a schema in canonical JSON, or None where it cannot be compiled."""
    try:
        return jsonschema_rs.validator_for(
            orjson.loads(text),
            retriever=_deny,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 21),
        )
    except (ValueError, TypeError, RecursionError, orjson.JSONDecodeError):
        return None


def complaint(schema: Any, value: Any) -> Complaint | None:
    """What is wrong with `value` under `schema`: its type, or something else that is not allowed.

    None where it fits, and where the schema itself cannot be used.
    """
    if not isinstance(schema, dict) or not schema:
        return None
    if not has_type(schema, value):
        return "wrong_type"
    if depth(schema) > DEPTH_LIMIT:
        return None
    check = _validator(canonical(schema))
    try:
        if check is None or check.is_valid(value):
            return None
        return "wrong_type" if _type_inside(check, value) else "not_allowed"
    except (ValueError, UnicodeEncodeError, RecursionError, OverflowError):
        return "not_allowed"


def _type_inside(check: Any, value: Any) -> bool:
    """Whether the first error is about a type (of an item or of a field)."""
    for error in check.iter_errors(value):
        return list(error.schema_path)[-1:] == ["type"]
    return False


def has_type(schema: dict[str, Any], value: Any) -> bool:
    """Whether `value` is of the schema's `type`: True is not an integer, 1.0 is one."""
    declared = schema.get("type")
    kinds = declared if isinstance(declared, list) else [declared]
    known = [k for k in kinds if isinstance(k, str) and k in _TYPES]
    return not known or any(_is(kind, value) for kind in known)


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if not isinstance(value, _TYPES[kind]):
        return False
    return kind != "integer" or isinstance(value, int) or value.is_integer()


def depth(value: Any, limit: int = DEPTH_LIMIT + 1) -> int:
    """Nesting depth of a JSON value, counted up to `limit` without recursion."""
    level, layer = 0, [value]
    while layer and level < limit:
        level += 1
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    return level
