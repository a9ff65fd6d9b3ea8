"""What a schema would cost: its size, its references and its work, known before it is compiled.

The published validators bound none of this. The survey reads a schema as a graph: each subschema
leads to others at the same place of the value (`allOf`, `$ref`, ...) or one level below it
(`properties`, `items`, ...). A circle at the same place never ends; a fork that meets itself again
at every level doubles the work each time. All loops here are over lists, none recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any
from urllib.parse import unquote

from callgrain.core._patterns import CAP, states
from callgrain.core._plain import NUMBER_BITS

NESTING_LIMIT = 80
"""Deepest nesting of a schema that is compiled; the library itself gives up at 127."""

VALUES_LIMIT = 50_000
"""JSON values (objects, items, scalars) in a schema: about 1 to 2 kB of validator each in the worst case."""

TEXT_LIMIT = 4_000_000
"""Characters of all names and strings of a schema together."""

PATTERNS_LIMIT, PATTERN_LENGTH = 128, 5_000
"""Patterns in a schema (each may take half a MiB and 4 ms), and characters of one."""

RECURSIVE_LIMIT = 2_000
"""Subschemas of a recursive schema: their work is reckoned anew for each depth of the value."""

CHAIN_LIMIT = 500
"""Subschemas in a row, each a frame on the stack: at one place of a value, or all the way down."""

UNEVALUATED = 3
"""How often `unevaluated...` has the subschemas beside it looked at; measured: 2.6 times at each level."""

LINEAR_ENUM = 10
"""Work units of one comparison in an enum that is not all strings or all integers; floats take 1 µs."""

DIVISION = 30
"""Work units of one exact division; a float's multiples take ten times as long (29 µs at 1e300 / 1e-300)."""

CHARACTERS = 25
"""Pattern states times characters that make one unit of work (4 ns each)."""

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")
_MAPS = ("dependentSchemas", "dependencies")
_BELOW = ("additionalProperties", "propertyNames", "additionalItems", "contains")
_ASIDE = ("contentSchema",)
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_FREE = frozenset(["description", "title", "$comment", "default", "examples", "example"])
_NAMED = ("properties", "patternProperties", "$defs", "definitions")


@dataclass
class Node:
    """One subschema: what it costs by itself, and the numbers of those it leads to."""

    weight: int = 1
    again: int = 1
    here: list[int] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    """Groups of subschemas one level down; of a group at most one looks at any one value."""


@dataclass
class Survey:
    """What is known of a schema before it is compiled; `reason` says why it must not be."""

    reason: str | None = None
    values: int = 0
    patterns: bool = False
    frames: int = 1
    """Most subschemas in a row: at one place of the value where it recurs, else all the way down."""
    recursive: bool = False
    nodes: list[Node] = field(default_factory=list["Node"])
    order: list[int] = field(default_factory=list[int])
    _costs: list[list[int]] = field(default_factory=list[list[int]])

    def work(self, depth: int) -> int:
        """Units of work (about 0.1 µs) for each value of an instance of that depth, at most CAP."""
        while len(self._costs) <= (depth if self.recursive else 0):
            last = self._costs[-1] if self._costs else [0] * len(self.nodes)
            self._costs.append(self._costs_above(last))
        return self._costs[min(depth, len(self._costs) - 1)][0]

    def stack(self, depth: int) -> int:
        """Frames that judging a value of that depth may pile up."""
        return self.frames * (depth + 1) if self.recursive else self.frames

    def _costs_above(self, last: list[int]) -> list[int]:
        """Each subschema's cost, from the costs one level down (of this very round, where nothing recurs)."""
        costs = [0] * len(self.nodes)
        lower = last if self.recursive else costs
        for at in self.order:
            node = self.nodes[at]
            total = node.weight + node.again * sum(costs[i] for i in node.here)
            total += sum(max(lower[i] for i in group) for group in node.below)
            costs[at] = min(total, CAP)
        return costs


def survey(schema: dict[str, Any]) -> Survey:
    """The survey of a schema that is an object; never raises."""
    found = Survey()
    found.reason = _size(schema, found) or _Reader(schema, found).read()
    return found


def _size(schema: dict[str, Any], found: Survey) -> str | None:
    """What forbids reading it as a graph: its size, its depth, or what JSON cannot write."""
    text, layer = 0, [schema]
    for _ in range(NESTING_LIMIT + 1):
        below: list[Any] = []
        for item in layer:
            if isinstance(item, dict):
                if not all(isinstance(name, str) for name in item):
                    return "a name that is no string"
                text += sum(map(len, item))
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, str):
                text += len(item)
            elif isinstance(item, float) and not isfinite(item):
                return "a number that JSON cannot write"
            elif isinstance(item, int) and item.bit_length() > NUMBER_BITS:
                return f"an integer of more than {NUMBER_BITS:,} bits"
            elif not isinstance(item, int | float | None):
                return f"a value that JSON cannot write: {type(item).__name__}"
            if found.values + len(layer) + len(below) > VALUES_LIMIT:
                return f"more than {VALUES_LIMIT:,} values"
            if text > TEXT_LIMIT:
                return f"more than {TEXT_LIMIT:,} characters"
        found.values += len(layer)
        layer = below
        if not layer:
            return None
    return f"nested more than {NESTING_LIMIT} deep"


class _Reader:
    """Reads a schema of bounded size into the graph of a Survey."""

    def __init__(self, schema: dict[str, Any], found: Survey) -> None:
        self.root, self.found = schema, found
        self.number = {id(schema): 0}
        self.left: list[dict[str, Any]] = [schema]
        self.references: list[tuple[int, str]] = []
        self.anchors: dict[str, int] = {}
        self.patterns = 0
        self.own_base = False
        self.id_key = "id" if "draft-04" in str(schema.get("$schema")) else "$id"
        found.nodes.append(Node())

    def read(self) -> str | None:
        """Fill the survey; the reason why the schema cannot be used, or None."""
        while self.left:
            part = self.left.pop()
            reason = self._read(part, self.found.nodes[self.number[id(part)]])
            reason = reason or (None if self.left else self._point())
            if reason:
                return reason
        nodes = self.found.nodes
        if self.own_base and self.references:
            return "references beside an $id of an inner schema"
        for at, name in self.references:
            if name not in self.anchors:
                return f"a reference outside the schema, or to nothing in it: {name[:100]!r}"
            nodes[at].here.append(self.anchors[name])
        return self._arrange(nodes)

    def _read(self, part: dict[str, Any], node: Node) -> str | None:
        at = self.number[id(part)]
        for key in _REFERENCES:
            if isinstance(part.get(key), str):
                self.references.append((at, part[key]))
        for key in ("$anchor", "$dynamicAnchor", self.id_key):
            name = part.get(key)
            if not isinstance(name, str) or (key == self.id_key and part is self.root):
                continue
            if key == self.id_key and not name.startswith("#"):
                self.own_base = True
            elif self.anchors.setdefault("#" + name.removeprefix("#"), at) != at:
                return f"two places of one name: {name[:100]!r}"
        node.weight += _weight(part)
        node.again = UNEVALUATED if any(k in part for k in _UNEVALUATED) else 1
        node.here += [self._at(s) for s in _same_place(part)]
        for group in _one_below(part):
            node.below.append([self._at(s) for s in group])
        for aside in _aside(part):
            self._at(aside)
        return self._patterns(part, node)

    def _patterns(self, part: dict[str, Any], node: Node) -> str | None:
        named = part.get("patternProperties")
        for pattern in [part.get("pattern"), *(named if isinstance(named, dict) else ())]:
            if isinstance(pattern, str):
                self.patterns += 1
                self.found.patterns = True
                if len(pattern) > PATTERN_LENGTH or self.patterns > PATTERNS_LIMIT:
                    return f"more than {PATTERNS_LIMIT} patterns, or one of more than {PATTERN_LENGTH:,} characters"
                node.weight += states(pattern) // CHARACTERS
        return None

    def _at(self, part: dict[str, Any]) -> int:
        """The number of a subschema; a new one is left to be read."""
        known = self.number.get(id(part))
        if known is None:
            known = self.number[id(part)] = len(self.found.nodes)
            self.found.nodes.append(Node())
            self.left.append(part)
        return known

    def _point(self) -> str | None:
        """Follow the references by pointer; what they lead to may be new, and is then read as well."""
        kept: list[tuple[int, str]] = []
        for at, ref in self.references:
            if ref != "#" and not ref.startswith("#/"):
                kept.append((at, ref))
                continue
            target = pointed(self.root, {"$ref": ref}, hops=1)
            if not isinstance(target, dict | bool):
                return f"a reference to nothing: {ref[:100]!r}"
            if isinstance(target, dict):
                self.found.nodes[at].here.append(self._at(target))
        self.references = kept
        return None

    def _arrange(self, nodes: list[Node]) -> str | None:
        """Order the subschemas so that each comes after all it leads to; circles are found here."""
        order = _sorted([n.here + [i for group in n.below for i in group] for n in nodes])
        if order is None:
            self.found.recursive = True
            order = _sorted([n.here for n in nodes])
            if order is None:
                return "a reference that leads back to itself at the same place of the value"
            if len(nodes) > RECURSIVE_LIMIT:
                return f"recursive, with more than {RECURSIVE_LIMIT:,} subschemas"
        self.found.order = order
        rows = [1] * len(nodes)
        for at in order:
            ends = (
                nodes[at].here if self.found.recursive else [*nodes[at].here, *(i for g in nodes[at].below for i in g)]
            )
            rows[at] = 1 + max((rows[i] for i in ends), default=0)
        self.found.frames = max(rows)
        if self.found.frames > CHAIN_LIMIT:
            return f"more than {CHAIN_LIMIT} subschemas in a row"
        return None


def _sorted(leads: list[list[int]]) -> list[int] | None:
    """Numbers with those they lead to first (Kahn 1962); None where there is a circle."""
    into: list[list[int]] = [[] for _ in leads]
    open_ends = [len(ends) for ends in leads]
    for at, ends in enumerate(leads):
        for end in ends:
            into[end].append(at)
    order = [at for at, count in enumerate(open_ends) if not count]
    for at in order:  # grows while it is read
        for before in into[at]:
            open_ends[before] -= 1
            if not open_ends[before]:
                order.append(before)
    return order if len(order) == len(leads) else None


def _same_place(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in _LISTS:
        yield from _schemas(part.get(key))
    for key in _SINGLE:
        yield from _schemas([part.get(key)])
    for key in _MAPS:
        yield from _schemas(part.get(key))


def _one_below(part: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Groups of which at most one member looks at any one value below; patterns may all look."""
    for key in ("properties", "prefixItems", "items"):
        inner = part.get(key)
        group = list(_schemas([inner] if key == "items" and isinstance(inner, dict) else inner))
        if group:
            yield group
    singles = [part.get(key) for key in (*_BELOW, *_UNEVALUATED)]
    patterns = part.get("patternProperties")
    for inner in [*_schemas(singles), *_schemas(patterns)]:
        yield [inner]


def _aside(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Subschemas that judge nothing from here, but may be referred to."""
    for key in ("$defs", "definitions"):
        yield from _schemas(part.get(key))
    for key in _ASIDE:
        yield from _schemas([part.get(key)])


def _schemas(found: Any) -> Iterator[dict[str, Any]]:
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    for one in inner:
        if isinstance(one, dict):
            yield one


def pointed(root: Any, part: Any, hops: int = CHAIN_LIMIT) -> Any:
    """What a `$ref` by pointer within the schema leads to, or None; references in a row are followed."""
    for _ in range(hops):
        ref = part.get("$ref") if isinstance(part, dict) else None
        if not isinstance(ref, str):
            return part
        if not ref.startswith("#") or (ref != "#" and ref[1] != "/"):
            return None
        part = root
        for step in unquote(ref[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, list):
                part = part[int(name)] if name.isdecimal() and name.isascii() and int(name[:9]) < len(part) else None
            else:
                part = part.get(name) if isinstance(part, dict) else None
    return part


def _weight(part: dict[str, Any]) -> int:
    """Work units of the keywords of one subschema that hold no subschemas."""
    total = 0
    for key, value in part.items():
        if key in _FREE or key in _NAMED:
            continue
        if key == "enum" and isinstance(value, list):
            kinds = set(map(type, value))
            total += 1 if kinds in ({str}, {int}) else LINEAR_ENUM * _count(value)
        elif key == "const":
            total += LINEAR_ENUM * _count(value)
        elif key in ("required", "dependentRequired", "dependencies"):
            total += _count(value)
        elif key == "multipleOf":
            total += DIVISION if isinstance(value, int) else 10 * DIVISION
        else:
            total += 1
    return total


def _count(value: Any) -> int:
    """JSON values in a value whose depth is bounded."""
    count, layer = 0, [value]
    while layer:
        count += len(layer)
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return count
