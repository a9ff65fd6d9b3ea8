"""An answer compiled: what grading many replies to one sample needs again and again, read once.

A `Slot` knows what is right for one parameter, a `Want` one expected call, a `Key` all of them with
their pairing. Accepted values lie in sets, schema defaults are filled in, schemas are compiled when a
value first has to be held against one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callgrain.core.schema import Check, check_of
from callgrain.core.types import Accept, Answer, Call, Json, Tool, Verdict
from callgrain.verify.lint import has_reference
from callgrain.verify.match import (
    FULL,
    NAME_WEIGHT,
    PAIR_LIMIT,
    Graph,
    Pairing,
    alike,
    assign,
    ends_of,
)
from callgrain.verify.values import Match, among, equal, matcher, with_defaults


class Slot:
    """One parameter of an expected call: what is right for it, and what its absence means.

    `declared`: the answer gives it; `expected`: it does, or the schema's default does.
    `match` judges ordinary values; a `linked` slot holds a reference and needs the whole graph.
    `absent_right`: it may be left out; `absent_counts`: leaving it out is a leaf that is judged.
    A value of type `scalar` that equals `gold` is right without asking `match`.
    """

    __slots__ = (
        "absent_counts", "absent_right", "accept", "check", "declared", "expected", "gold", "linked", "match", "scalar",
        "schema",
    )  # fmt: skip

    def __init__(self, name: str, arguments: Mapping[str, Json], schema: Json, accept: Accept | None) -> None:
        has_default = isinstance(schema, dict) and "default" in schema
        self.schema = schema
        self.accept = accept
        self.check: Check | None = None
        self.declared = name in arguments
        self.expected = self.declared or has_default
        self.gold: Json = arguments[name] if self.declared else schema["default"] if has_default else None
        self.linked = self.declared and has_reference(self.gold)
        self.scalar = type(self.gold) if self.expected and not self.linked and type(self.gold) in _SCALARS else None
        self.match: Match = self._match()
        omissible = accept is not None and accept.omissible
        self.absent_right = omissible or not self.declared or (has_default and self.match(schema["default"]))
        self.absent_counts = self.expected and not omissible

    def _match(self) -> Match:
        values = self.accept.values if self.accept else ()
        if self.linked:  # references are judged by where they lead: `Key.alike`
            return lambda value: any(equal(other, value, {}) for other in values)
        schema: Mapping[str, Any] = self.schema if isinstance(self.schema, dict) else {}
        if self.expected:
            return matcher(self.gold, schema, self.accept)
        # What the answer does not give is right as far as its source says so: the catalogue's mode alone does not.
        return among(values, schema if values else {}, self.accept)

    def misfit(self, value: Json) -> str:
        """The kind of fault that a wrong value is: `wrong_type`, `not_allowed`, else `wrong_value`."""
        if self.check is None:
            self.check = check_of(self.schema)
        return self.check.complaint(value) or "wrong_value"


_SCALARS = (str, int, float, bool)

ABSENT = object()
"""In the place of a value: nothing was given, and something was due."""

Wrong = tuple[str, "Slot | None", Any]
"""A parameter that is not right, its slot (None where the answer has none), and what was given or ABSENT."""

Scan = tuple[int, Sequence[Wrong]]
NOTHING: Sequence[Wrong] = ()


class Want:
    """One expected call with its slots: declared ones first, then defaults, then what is only accepted."""

    __slots__ = ("bare", "call", "expects", "is_closed", "linked", "name", "properties", "slots")

    def __init__(self, answer: Answer, index: int, tool: Tool | None, *, names_only: bool) -> None:
        self.call = answer.calls[index]
        self.name = self.call.name
        self.bare = names_only
        self.is_closed = tool is not None and tool.parameters.get("additionalProperties", False) is False
        self.properties: Mapping[str, Any] = tool.properties if tool else {}
        arguments = {} if names_only else self.call.arguments
        accepts = {} if names_only else _own(answer, index)
        filled = with_defaults({}, {} if names_only else self.properties)
        names = dict.fromkeys([*arguments, *filled, *accepts])
        self.slots = {n: Slot(n, arguments, self.properties.get(n), accepts.get(n)) for n in names}
        self.linked = any(slot.linked for slot in self.slots.values())
        self.expects = any(slot.absent_counts for slot in self.slots.values())

    def scan(self, arguments: Mapping[str, Json]) -> Scan:
        """(right declared arguments, wrong places) of a call of the right name. Not for linked slots."""
        if self.bare:
            return 0, NOTHING
        slots, declared, known = self.slots, 0, len(arguments)
        wrong: list[Wrong] | None = None
        for name, value in arguments.items():
            slot = slots.get(name)
            if slot is not None and ((type(value) is slot.scalar and value == slot.gold) or slot.match(value)):
                declared += slot.declared
                continue
            if wrong is None:
                wrong = []
            wrong.append((name, slot, value))
            known -= slot is None
        if known < len(slots):
            absent: list[Wrong] = [
                (n, s, ABSENT) for n, s in slots.items() if not s.absent_right and n not in arguments
            ]
            wrong = absent if wrong is None else wrong + absent
        return declared, NOTHING if wrong is None else wrong

    def fits(self, have: Call) -> int:
        """Number of declared arguments given where the call is right; -1 as soon as it is not. Not for linked slots."""
        if self.name != have.name:
            return -1
        slots, arguments, declared = self.slots, have.arguments, 0
        if self.bare:
            return 0
        for name, value in arguments.items():
            slot = slots.get(name)
            if slot is None or not ((type(value) is slot.scalar and value == slot.gold) or slot.match(value)):
                return -1
            declared += slot.declared
        if len(arguments) < len(slots) and not all(s.absent_right for n, s in slots.items() if n not in arguments):
            return -1
        return declared

    def leaves(self, arguments: Mapping[str, Json]) -> int:
        """What is judged in a call of the right name: the name, each argument given, each that was due."""
        if self.bare:
            return 1
        slots, n = self.slots, 1 + len(arguments)
        if self.expects and not slots.keys() <= arguments.keys():
            n += sum(slot.absent_counts and name not in arguments for name, slot in slots.items())
        return n

    def likeness(self, have: Call, scan: Scan | None = None) -> int:
        """How much a call looks like this one: its name, then the share of arguments that are right.

        FULL exactly where the call is right. Not for linked slots.
        """
        if self.bare:
            share = 100
        else:
            leaves = self.leaves(have.arguments) - 1
            share = 100 * (leaves - len((scan or self.scan(have.arguments))[1])) // leaves if leaves else 100
        return NAME_WEIGHT + share if self.name == have.name else share


def _own(answer: Answer, index: int) -> dict[str, Accept]:
    """What is accepted for the arguments of call `index`, by parameter."""
    mark = f"{index}."
    return {k[len(mark) :]: v for k, v in answer.accepts.items() if k.startswith(mark)}


class Key:
    """The expected calls of one answer (without its alternatives), compiled."""

    def __init__(self, answer: Answer, tools: Sequence[Tool], *, names_only: bool = False) -> None:
        self.answer = answer
        self.offered: Mapping[str, Tool] = {t.name: t for t in tools}
        self.names_only = names_only
        self.wants = tuple(
            Want(answer, i, self.offered.get(call.name), names_only=names_only) for i, call in enumerate(answer.calls)
        )
        self.linked = any(want.linked for want in self.wants)
        self.plain = not (self.linked or answer.ordered or answer.before)
        """Whether calls can be judged one by one: none refers to another, none must precede another."""
        self._right: dict[tuple[int, int, int], Verdict] = {}
        self.graph = (
            Graph([c.model_copy(update={"arguments": {}}) for c in answer.calls])
            if names_only
            else Graph(answer.calls, answer.accepts)
        )

    def figures(self, declared: int, matched: int, given: int) -> dict[str, float]:
        """Measures of a verdict: declared arguments right; calls matched, expected and given."""
        return {
            "arguments_right": float(declared),
            "calls_matched": float(matched),
            "calls_expected": float(len(self.wants)),
            "calls_given": float(given),
        }

    def right(self, declared: int, matched: int | None = None, given: int | None = None) -> Verdict:
        """The verdict without a fault: the same one for all replies of the same figures."""
        n = len(self.wants)
        counts = (declared, n if matched is None else matched, n if given is None else given)
        found = self._right.get(counts)
        if found is None:
            found = self._right[counts] = Verdict(measures=self.figures(*counts))
        return found

    def pairing(self, given: Sequence[Call]) -> Pairing:
        """The best one-to-one pairing; ties go to the pairing that keeps the calls in place."""
        n = len(self.wants)
        m = min(len(given), max(n, PAIR_LIMIT))
        if n == 0 or m == 0:
            return Pairing((), tuple(range(n)), tuple(range(len(given))))
        if n == m == 1:
            return Pairing(((0, 0),), (), tuple(range(1, len(given))))
        pairs = assign(self._linked_likes(given[:m]) if self.linked else self._likes(given[:m]))
        kept, used = {i for i, _ in pairs}, {j for _, j in pairs}
        return Pairing(
            pairs, tuple(i for i in range(n) if i not in kept), tuple(j for j in range(len(given)) if j not in used)
        )

    def _likes(self, given: Sequence[Call]) -> list[list[int]]:
        return [[want.likeness(have) for have in given] for want in self.wants]

    def _linked_likes(self, given: Sequence[Call]) -> list[list[int]]:
        """Likenesses where references count: a call is alike as far as the calls that feed it are."""
        found = Graph(given)
        likes = [[0] * len(given) for _ in self.wants]
        for i, want in enumerate(self.wants):  # in order, since one likeness hangs on those of earlier calls
            for j, have in enumerate(given):
                likes[i][j] = self._linked_likeness(want, have, (i, j), found, likes)
        return likes

    def _linked_likeness(
        self, want: Want, have: Call, at: tuple[int, int], found: Graph, likes: Sequence[Sequence[int]]
    ) -> int:
        credit = 0
        for name, value in have.arguments.items():
            slot = want.slots.get(name)
            if slot is None:
                continue
            ends = ends_of(self.graph, found, at, (slot.gold, value)) if slot.linked else None
            if ends is not None:
                credit += 100 * likes[ends[0]][ends[1]] // FULL
            elif self.alike(slot, value, at, found, lambda a, b: likes[a][b] == FULL):
                credit += 100
        absent = [s for name, s in want.slots.items() if s.absent_counts and name not in have.arguments]
        credit += 100 * sum(slot.absent_right for slot in absent)
        leaves = len(have.arguments) + len(absent)
        share = credit // leaves if leaves else 100
        return NAME_WEIGHT + share if want.name == have.name else share

    def alike(self, slot: Slot, value: Json, at: tuple[int, int], found: Graph, meets: Any) -> bool:
        """Whether `value` is right in `slot`, references included; `at` holds the indices of the two calls."""
        if not slot.linked:
            return slot.match(value)
        return alike(self.graph, found, at, (slot.gold, value), (slot.schema, slot.accept), meets)


def pair(expected: Answer, given: Sequence[Call], tools: Sequence[Tool]) -> Pairing:
    """The best one-to-one pairing of expected with given calls."""
    return Key(expected, tools).pairing(given)
