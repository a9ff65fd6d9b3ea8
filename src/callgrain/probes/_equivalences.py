"""Replies that are right by construction, though spelt otherwise: what a grader must not flag.

Each equivalence gives the right answer in another spelling that JSON, JSON Schema, the reference
syntax or the answer's own leeway declares the same, or None where there is no other spelling.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from callgrain.core.canonical import canonical
from callgrain.core.types import Call, Json, Ref, Reply, Sample
from callgrain.probes._apart import Leaf, dialect, leaves, put, reply_with
from callgrain.tools._execute import references

Make = Callable[[Sample, Random], Reply | None]


@dataclass(frozen=True)
class Equivalence:
    """One way of spelling a right answer otherwise."""

    name: str
    caption: str
    make: Make


def _unchanged(sample: Sample, rng: Random) -> Reply | None:
    """The right answer itself: a grader that refuses it flags mutations for nothing."""
    del rng
    return reply_with(sample, sample.answer.calls)


# arguments -----------------------------------------------------------------------------------


def _key_order(sample: Sample, rng: Random) -> Reply | None:
    """Every call's arguments in reverse: the members of a JSON object have no order (RFC 8259, section 4)."""
    del rng
    calls = sample.answer.calls
    if all(len(c.arguments) < 2 for c in calls):
        return None
    turned = [c.model_copy(update={"arguments": dict(reversed(c.arguments.items()))}) for c in calls]
    return reply_with(sample, turned)


def _on_leaf(change: Callable[[Leaf], Sequence[Json]]) -> Make:
    """An equivalence of one value."""

    def make(sample: Sample, rng: Random) -> Reply | None:
        found = leaves(sample)
        rng.shuffle(found)
        for leaf in found:
            for value in change(leaf):
                if Ref.read(value) is None:
                    return reply_with(sample, leaf.replaced(sample.answer.calls, value))
        return None

    return make


def _int_as_float(leaf: Leaf) -> Sequence[Json]:
    """1 as 1.0, which JSON Schema counts as an integer (draft 6 and later)."""
    value = leaf.value
    plain = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return [float(value)] if plain and leaf.schema.get("type") in ("integer", "number") else []


def _float_as_int(leaf: Leaf) -> Sequence[Json]:
    """2.0 as 2 where a number is wanted."""
    value = leaf.value
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return [int(value)] if whole and leaf.schema.get("type") == "number" else []


def _nfc(leaf: Leaf) -> Sequence[Json]:
    """The other of Unicode's canonically equivalent spellings (UAX 15), composed or decomposed."""
    value = leaf.value if isinstance(leaf.value, str) else ""
    return [other for form in ("NFD", "NFC") if (other := unicodedata.normalize(form, value)) != value]


def _outer_white_space(leaf: Leaf) -> Sequence[Json]:
    return [f" {leaf.value} "] if isinstance(leaf.value, str) and leaf.value.strip() else []


def _allowed_alternate(sample: Sample, rng: Random) -> Reply | None:
    """Another value that the answer itself accepts."""
    calls = sample.answer.calls
    found = [
        (i, name, other)
        for i, call in enumerate(calls)
        for name, value in call.arguments.items()
        if (accept := sample.answer.accepts.get(f"{i}.{name}")) is not None
        for other in accept.values
        if canonical(other) != canonical(value)
    ]
    if not found:
        return None
    i, name, other = rng.choice(found)
    return reply_with(sample, put(calls, i, {**calls[i].arguments, name: other}))


def _omitted_optional(sample: Sample, rng: Random) -> Reply | None:
    """An argument left out that the answer says may be."""
    calls, accepts = sample.answer.calls, sample.answer.accepts
    found = [
        (i, name)
        for i, call in enumerate(calls)
        for name in call.arguments
        if f"{i}.{name}" in accepts and accepts[f"{i}.{name}"].omissible
    ]
    return _without(sample, *rng.choice(found)) if found else None


def _explicit_default(sample: Sample, rng: Random) -> Reply | None:
    """A schema's default spelt out where the answer leaves it out, or left out where the answer spells it."""
    tools = {t.name: t for t in sample.prompt.tools}
    found: list[tuple[int, str, Json]] = []
    for i, call in enumerate(sample.answer.calls):
        for name, schema in tools[call.name].properties.items() if call.name in tools else ():
            if isinstance(schema, dict) and "default" in schema and name not in tools[call.name].required:
                default = schema["default"]
                if name not in call.arguments or canonical(call.arguments[name]) == canonical(default):
                    found.append((i, name, default))
    if not found:
        return None
    i, name, default = rng.choice(found)
    arguments = sample.answer.calls[i].arguments
    if name in arguments:
        return _without(sample, i, name)
    return reply_with(sample, put(sample.answer.calls, i, {**arguments, name: default}))


def _without(sample: Sample, index: int, name: str) -> Reply:
    calls = sample.answer.calls
    return reply_with(sample, put(calls, index, {k: v for k, v in calls[index].arguments.items() if k != name}))


# calls and references ------------------------------------------------------------------------


def _parallel_order(sample: Sample, rng: Random) -> Reply | None:
    """The calls in another order, where none is asked for and every reference still comes after what it means."""
    answer, calls = sample.answer, sample.answer.calls
    labels = [c.label for c in calls if c.label]
    if len(calls) < 2 or answer.ordered or answer.before or len(set(labels)) < len(labels):
        return None
    at = {c.label: i for i, c in enumerate(calls) if c.label}
    needs = [{at[r.label] for r in references(c) if r.label in at} for c in calls]
    order: list[int] = []
    while len(order) < len(calls):
        free = [i for i in range(len(calls)) if i not in order and needs[i] <= set(order)]
        if not free:
            return None
        order.append(rng.choice(free))
    return None if order == list(range(len(calls))) else reply_with(sample, [calls[i] for i in order])


def _id_change(sample: Sample, rng: Random) -> Reply | None:
    """Every label renamed, and the references to it with it."""
    del rng
    calls = sample.answer.calls
    labels = list(dict.fromkeys(c.label for c in calls if c.label))
    if not labels:
        return None
    fresh = {label: f"step_{n}_of_it" for n, label in enumerate(labels)}

    def moved(ref: Ref) -> Ref:
        return ref.model_copy(update={"label": fresh.get(ref.label, ref.label)})

    return reply_with(
        sample,
        [
            Call(name=c.name, arguments=_mapped(c.arguments, moved), label=fresh[c.label] if c.label else None)
            for c in calls
        ],
    )


def _whole_result_path(sample: Sample, rng: Random) -> Reply | None:
    """`$a$` as `$a.result$` or back, where the tool's result is known to be no object with fields of its own."""
    del rng
    tools = {t.name: t for t in sample.prompt.tools}
    plain: set[str] = set()
    for call in sample.answer.calls:
        returns = tools[call.name].returns if call.name in tools else None
        if call.label and returns and isinstance(returns.get("type"), str) and returns["type"] != "object":
            plain.add(call.label)

    def moved(ref: Ref) -> Ref:
        other = {"": "result", "result": ""}.get(ref.path)
        return ref if ref.label not in plain or other is None else ref.model_copy(update={"path": other})

    calls = [c.model_copy(update={"arguments": _mapped(c.arguments, moved)}) for c in sample.answer.calls]
    return None if tuple(calls) == sample.answer.calls else reply_with(sample, calls)


def _mapped(value: Json, change: Callable[[Ref], Ref]) -> Any:
    """The value with each reference in it changed."""
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [_mapped(v, change) for v in value]
    ref = Ref.read(value)
    return value if ref is None else str(change(ref))


# text ----------------------------------------------------------------------------------------


def _white_space(sample: Sample, rng: Random) -> Reply | None:
    """The dialect's text indented anew, and read."""
    text: str = dialect().write(sample.answer.message)
    wide = json.dumps(json.loads(text), ensure_ascii=False, indent=rng.choice([1, 2, 4]))
    return Reply.spoken(f"\n{wide}\n", dialect().parse(f"\n{wide}\n"))


def _escapes(sample: Sample, rng: Random) -> Reply | None:
    """The dialect's text with every letter beyond ASCII written as a JSON escape."""
    del rng
    text: str = dialect().write(sample.answer.message)
    escaped = json.dumps(json.loads(text), ensure_ascii=True)
    return None if escaped == text else Reply.spoken(escaped, dialect().parse(escaped))


_ROWS: tuple[tuple[str, str, Make], ...] = (
    ("unchanged", "the right answer as it stands", _unchanged),
    ("key_order", "arguments in another order", _key_order),
    ("explicit_default", "a default spelt out, or left out", _explicit_default),
    ("int_as_float", "1 written as 1.0", _on_leaf(_int_as_float)),
    ("float_as_int", "2.0 written as 2", _on_leaf(_float_as_int)),
    ("nfc", "composed letters decomposed, or back", _on_leaf(_nfc)),
    ("outer_white_space", "blanks around a text", _on_leaf(_outer_white_space)),
    ("allowed_alternate", "another accepted value", _allowed_alternate),
    ("omitted_optional", "an argument left out that may be", _omitted_optional),
    ("parallel_order", "free calls in another order", _parallel_order),
    ("id_change", "labels renamed throughout", _id_change),
    ("whole_result_path", "`$a$` as `$a.result$`, or back", _whole_result_path),
    ("white_space", "the text indented anew", _white_space),
    ("escapes", "letters beyond ASCII as JSON escapes", _escapes),
)

EQUIVALENCES: dict[str, Equivalence] = {name: Equivalence(name, caption, make) for name, caption, make in _ROWS}
"""Every equivalence by name, in the order in which a card lists them."""
