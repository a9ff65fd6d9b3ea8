"""JSON Schema behind one door: bounded, offline, linear-time patterns.

Schemas come from strangers. Both public validators follow `file:` and `http:` references by
default, and the fast one overflows its stack on a deep value and takes minutes over a small
schema that doubles its work at every level. Here a schema is surveyed before it is compiled
(`core/_survey.py`): what reaches outside itself, or is larger than the limits there, is not
compiled at all and judged by its declared top `type` alone; `unusable` says why. The work of
judging one value is bounded beforehand too: a value that would cost more is judged by type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from callgrain.core._plain import SILENT, Complaint, Judge, holds_numbers, is_json, plain
from callgrain.core._survey import Survey, pointed, survey
from callgrain.core.canonical import canonical

DEPTH_LIMIT = 60
"""Deepest nesting of a schema that an importer takes."""

VALUE_DEPTH_LIMIT = 100
"""Deepest value that is judged beyond its type: as deep as any dialect reads one."""

FRAME_LIMIT = 1_000
"""Validator frames that a value may pile up; some 30,000 of them fill 8 MB of stack."""

WORK_LIMIT = 4_000_000
"""Work on one value, in units of about 0.1 µs (see `Survey.work`): under half a second."""

HELD_LIMIT = 200_000
"""Schema values that compiled validators are kept for (about 1 kB each); beyond it the caches start anew."""

PATTERN_SIZE, PATTERN_STATES = 1 << 19, 1 << 19
"""Bytes of one compiled pattern, and of its table of states: a pattern that needs more is refused."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_EXACT: dict[str, tuple[type, ...]] = {**_TYPES, "integer": (int,)}


@dataclass(frozen=True)
class _Compiled:
    """A surveyed schema: its validator, or why there is none."""

    survey: Survey
    validator: Any = None
    reason: str | None = None
    room: int = 0
    """A value of one level that is no larger need not be measured."""

    def bears(self, size: int, depth: int) -> bool:
        """Whether a value of that size and depth can be judged within the limits."""
        if depth > VALUE_DEPTH_LIMIT or self.survey.stack(depth) > FRAME_LIMIT:
            return False
        return size * self.survey.work(depth) <= WORK_LIMIT


class Check:
    """One schema, ready to judge values: surveyed and compiled when that is first needed, and once.

    It holds the schema, which must not be changed afterwards (nouns are frozen).
    """

    __slots__ = ("_compiled", "_exact", "_judge", "_plain", "_quick", "schema")

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        known = _known(schema) if isinstance(schema, dict) else []
        self._exact = frozenset(t for kind in known for t in _EXACT[kind])
        self._plain = schema is True or (isinstance(schema, dict) and SILENT.issuperset(schema))
        self._compiled: _Compiled | None = None
        self._judge: Judge | None = None
        self._quick: Callable[[Any], bool] | None = None

    @property
    def usable(self) -> bool:
        """Whether values are judged by the whole schema, not by its top `type` alone."""
        return self.reason is None

    @property
    def reason(self) -> str | None:
        """Why the schema cannot be used, in one line; None where it can."""
        if isinstance(self.schema, bool):
            return None
        if not isinstance(self.schema, dict):
            return f"not a schema but a {type(self.schema).__name__}"
        return self._ready().reason

    def fits(self, value: Any) -> bool:
        """Whether there is no complaint: quicker than to hear which it is."""
        if self._quick is not None:
            try:
                return self._quick(value)
            except (ValueError, TypeError):
                pass  # a lone surrogate: judged below
        return self.complaint(value) is None

    def complaint(self, value: Any) -> Complaint | None:
        """What is wrong with `value`: its type, or something else that is not allowed. Never raises.

        NaN and infinities are not allowed anywhere, since JSON has no such numbers, and integers
        beyond NUMBER_BITS not where their value counts. None where the value fits, and where its
        type does and no more can be judged.
        """
        if self._quick is not None:  # it says yes in half the time that the judge below takes
            try:
                if self._quick(value):
                    return None
            except (ValueError, TypeError):
                pass
        if self._judge is not None:
            return self._judge(value)
        if self._exact:
            if type(value) not in self._exact and not has_type(self.schema, value):
                return "wrong_type"
        elif not isinstance(self.schema, dict):
            return "not_allowed" if self.schema is False else None
        elif not self.schema:
            return None
        if isinstance(value, float) and not is_json(value):
            return "not_allowed"
        return None if self._plain else self._beyond_type(value)

    def _beyond_type(self, value: Any) -> Complaint | None:
        compiled = self._ready()
        if self._judge is not None:
            return self._judge(value)
        if compiled.validator is None:
            return None
        size = _flat_size(value)
        if size is None or size > compiled.room:
            measured = _measure(value, compiled.survey.patterns)
            if measured is None:
                return "not_allowed"
            if not compiled.bears(*measured):
                return None
        if _fits(compiled.validator, value):
            return None
        return "wrong_type" if _misplaced(self.schema, value) else "not_allowed"

    def _ready(self) -> _Compiled:
        if self._compiled is None:
            self._compiled = _compile(self.schema)
            self._judge = None if self._compiled.reason else plain(self.schema)
            if self._judge is not None and not holds_numbers(self.schema):
                self._quick = self._compiled.validator.is_valid
        return self._compiled


_checks: dict[int, Check] = {}
_by_content: dict[bytes, _Compiled] = {}


def check_of(schema: Any) -> Check:
    """The Check of a schema: the same object has the same one (it holds the schema, so no id is used twice)."""
    found = _checks.get(id(schema))
    if found is not None and found.schema is schema:
        return found
    if len(_checks) >= 4096:
        _checks.clear()
    check = _checks[id(schema)] = Check(schema)
    return check


def complaint(schema: Any, value: Any) -> Complaint | None:
    """What is wrong with `value` under `schema`: its type, or something else that is not allowed.

    None where it fits, and where the schema itself cannot be used (see `unusable`).
    """
    return check_of(schema).complaint(value)


def unusable(schema: Any) -> str | None:
    """Why a schema is judged by its top `type` alone, in one line; None where all of it counts."""
    return check_of(schema).reason


def _compile(schema: dict[str, Any]) -> _Compiled:
    """Survey, then compile; equal schemas share a validator, whichever object they came in."""
    surveyed = survey(schema)
    if surveyed.reason is not None:
        return _Compiled(surveyed, None, surveyed.reason)
    key = canonical(schema)
    found = _by_content.get(key)
    if found is None:
        held = sum(c.survey.values for c in _by_content.values()) if surveyed.values > 1_000 else 0
        if len(_by_content) >= 4096 or held + surveyed.values > HELD_LIMIT:
            _by_content.clear()
            _checks.clear()
        found = _by_content[key] = _validator(schema, surveyed)
    return found


def _validator(schema: dict[str, Any], surveyed: Survey) -> _Compiled:
    """The library's validator, or its own complaint about the schema."""
    try:
        made = jsonschema_rs.validator_for(
            schema,
            retriever=_deny,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=PATTERN_SIZE, dfa_size_limit=PATTERN_STATES),
        )
    except BaseException as wrong:  # a panic of the library is no Exception
        _raise_if_ours(wrong)
        return _Compiled(surveyed, None, str(wrong).partition("\n")[0][:200] or type(wrong).__name__)
    room = WORK_LIMIT // surveyed.work(1) if surveyed.stack(1) <= FRAME_LIMIT else 0
    return _Compiled(surveyed, made, None, room)


def _deny(uri: str) -> Any:
    raise ValueError(f"reference outside the schema: {uri[:200]!r}")


def _fits(validator: Any, value: Any) -> bool:
    """The library's yes or no; a value that it cannot read (a lone surrogate) is no JSON."""
    try:
        return validator.is_valid(value)
    except BaseException as wrong:  # a panic of the library is no Exception
        _raise_if_ours(wrong)
        return False


def _raise_if_ours(wrong: BaseException) -> None:
    if isinstance(wrong, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise wrong


def has_type(schema: dict[str, Any], value: Any) -> bool:
    """Whether `value` is of the schema's `type`: True is not an integer, 1.0 is one."""
    known = _known(schema)
    return not known or any(_is(kind, value) for kind in known)


def _known(schema: dict[str, Any]) -> list[str]:
    declared = schema.get("type")
    kinds = declared if isinstance(declared, list) else [declared]
    return [k for k in kinds if isinstance(k, str) and k in _TYPES]


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if not isinstance(value, _TYPES[kind]):
        return False
    return kind != "integer" or isinstance(value, int) or value.is_integer()


def _misplaced(schema: Any, value: Any) -> bool:
    """Whether an item or a field of a value that does not fit is of another type than is declared for it."""
    left: list[tuple[Any, Any]] = [(schema, value)]
    while left:
        part, inner = left.pop()
        if isinstance(part, dict) and "$ref" in part:
            part = pointed(schema, part)
        if not isinstance(part, dict):
            continue
        if not has_type(part, inner):
            return True
        if isinstance(inner, dict):
            named = part.get("properties")
            fields: dict[str, Any] = named if isinstance(named, dict) else {}
            others = part.get("additionalProperties")
            left += [(fields.get(k, others), v) for k, v in inner.items()]
        elif isinstance(inner, list):
            first = part.get("prefixItems")
            places: list[Any] = first if isinstance(first, list) else []
            items = part.get("items")
            left += [(places[i] if i < len(places) else items, v) for i, v in enumerate(inner)]
    return False


def _flat_size(value: Any) -> int | None:
    """At least the size of a scalar, or of a list or an object of scalars; None where there is more to it."""
    items: Iterable[Any] = (value,)
    size = 1
    if isinstance(value, dict):
        items = value.values()
        size += sum(map(len, value))
    elif isinstance(value, list):
        items = value
    for item in items:
        kind = type(item)
        if kind is str:
            size += len(item)
        elif kind is not bool and item is not None and not ((kind is int or kind is float) and is_json(item)):
            return None
        size += 1
    return size


def _measure(value: Any, text: bool) -> tuple[int, int] | None:
    """(size, depth) of a value without recursion, both up to their limits; None where it is no JSON.

    Size counts values, and the characters of strings and names where `text` asks for it.
    """
    size, depth, layer = 1, 0, [value]
    while layer and depth <= VALUE_DEPTH_LIMIT and size <= WORK_LIMIT:
        below: list[Any] = []
        for item in layer:
            if isinstance(item, dict | list):
                size += len(item)
                if text and isinstance(item, dict):
                    size += sum(len(name) for name in item if isinstance(name, str))
                below.extend(item.values() if isinstance(item, dict) else item)
            elif isinstance(item, str):
                size += len(item) if text else 0
            elif isinstance(item, int | float) and not is_json(item):
                return None
        layer = below
        depth += bool(below)
    return size, depth


def depth(value: Any, limit: int = DEPTH_LIMIT + 1) -> int:
    """Nesting depth of a JSON value, counted up to `limit` without recursion."""
    level, layer = 0, [value]
    while layer and level < limit:
        level += 1
        layer = [inner for item in layer for inner in _parts(item) if isinstance(inner, dict | list)]
    return level


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()
