"""Replies that are wrong by construction: what a grader must flag.

Each mutation changes the right answer in one named way and is made only where `_apart`, which
knows nothing of the verifier, is sure that the result is wrong; else it is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from callgrain.core.schema import complaint
from callgrain.core.types import Call, Json, Ref, Reply, Sample, Tool
from callgrain.probes import _changes as changes
from callgrain.probes._apart import call_apart, dialect, differs, holds_reference, leaves, put, reply_with

T = TypeVar("T")
Make = Callable[[Sample, Random], Reply | None]


@dataclass(frozen=True)
class Mutation:
    """One way of making a right answer wrong; `kinds` are the faults that name it rightly."""

    name: str
    caption: str
    kinds: frozenset[str]
    make: Make


# arguments -----------------------------------------------------------------------------------


def _on_leaf(change: changes.Change, *, cased: bool = False) -> Make:
    """A mutation of one value."""

    def make(sample: Sample, rng: Random) -> Reply | None:
        found = leaves(sample)
        rng.shuffle(found)
        for leaf in found:
            for value in change(leaf, rng):
                calls = leaf.replaced(sample.answer.calls, value)
                if Ref.read(value) is None and differs(sample, calls, leaf.index, cased=cased):
                    return reply_with(sample, calls)
        return None

    return make


def _swapped_values(sample: Sample, rng: Random) -> Reply | None:
    """Two values of one call exchanged; not between `a` and `b` or `side1` and `side2`, whose order may be free."""
    calls = sample.answer.calls
    found = [leaf for leaf in leaves(sample) if not leaf.path]
    pairs = [
        (x, y)
        for at, x in enumerate(found)
        for y in found[at + 1 :]
        if x.index == y.index and _role(x.name) and _role(y.name) and _role(x.name) != _role(y.name)
    ]
    rng.shuffle(pairs)
    for x, y in pairs:
        changed = put(calls, x.index, {**calls[x.index].arguments, x.name: y.value, y.name: x.value})
        if differs(sample, changed, x.index):
            return reply_with(sample, changed)
    return None


_NUMBERING = frozenset(["first", "second", "third", "one", "two", "three", "initial", "other"])


def _role(name: str) -> str:
    """What a parameter's name says beside numbering: empty for `a`, `x1`, `second`."""
    words = [w.strip("0123456789") for w in name.casefold().split("_")]
    return "_".join(w for w in words if len(w) > 1 and w not in _NUMBERING)


def _dropped_argument(sample: Sample, rng: Random) -> Reply | None:
    calls = sample.answer.calls
    for i, name in _shuffled([(i, name) for i, call in enumerate(calls) for name in call.arguments], rng):
        changed = put(calls, i, {k: v for k, v in calls[i].arguments.items() if k != name})
        if differs(sample, changed, i):
            return reply_with(sample, changed)
    return None


def _invented_argument(sample: Sample, rng: Random) -> Reply | None:
    """A parameter that the tool does not have, or an optional one that nothing asked for."""
    calls, tools = sample.answer.calls, {t.name: t for t in sample.prompt.tools}
    for i in _shuffled(range(len(calls)), rng):
        tool = tools.get(calls[i].name)
        if tool is None:
            continue
        free = [n for n in tool.properties if n not in calls[i].arguments and _made_up(tool.properties[n]) is not None]
        names = [*free, *([] if tool.parameters.get("additionalProperties") else ["extra_note"])]
        for name in _shuffled([n for n in names if n in free or n not in tool.properties], rng):
            value = _made_up(tool.properties[name]) if name in free else "zzyzx"
            changed = put(calls, i, {**calls[i].arguments, name: value})
            if differs(sample, changed, i):
                return reply_with(sample, changed)
    return None


def _made_up(schema: Json) -> Json | None:
    """A value that no conversation holds, for a free text or number; None where one might hit the tool's default."""
    if not isinstance(schema, dict) or "enum" in schema:
        return None
    value = {"string": "zzyzx", "integer": 424242, "number": 4242.5}.get(str(schema.get("type")))
    return value if complaint(schema, value) is None else None


def _shuffled(items: Sequence[T], rng: Random) -> list[T]:
    return rng.sample(items, len(items))


# calls ---------------------------------------------------------------------------------------


def _strangers(sample: Sample) -> list[Tool]:
    """Offered tools that no right answer calls."""
    wanted = {c.name for way in (sample.answer, *sample.answer.instead) for c in way.calls}
    return [t for t in sample.prompt.tools if t.name not in wanted]


def _renamed(sample: Sample, rng: Random, name: str) -> Reply:
    calls = sample.answer.calls
    at = rng.randrange(len(calls))
    return reply_with(sample, (*calls[:at], calls[at].model_copy(update={"name": name}), *calls[at + 1 :]))


def _wrong_name(sample: Sample, rng: Random) -> Reply | None:
    others = _strangers(sample)
    return _renamed(sample, rng, rng.choice(others).name) if others else None


def _unoffered_name(sample: Sample, rng: Random) -> Reply | None:
    """A name that looks like the right one and is no tool at all."""
    known = {t.name for t in sample.prompt.tools} | {c.name for w in sample.answer.instead for c in w.calls}
    name = sample.answer.calls[0].name + "_v2"
    return None if name in known else _renamed(sample, rng, name)


def _missing_call(sample: Sample, rng: Random) -> Reply | None:
    calls = sample.answer.calls
    at = rng.randrange(len(calls))
    left = calls[:at] + calls[at + 1 :]
    return reply_with(sample, left) if left and differs(sample, left) else None


def _extra_call(sample: Sample, rng: Random) -> Reply | None:
    """A call of a tool that no right answer calls, with made-up arguments."""
    others = _strangers(sample)
    if not others:
        return None
    tool = rng.choice(others)
    arguments = {name: _made_up(tool.properties.get(name)) or "zzyzx" for name in tool.required}
    return reply_with(sample, (*sample.answer.calls, Call(name=tool.name, arguments=arguments)))


def _duplicate_call(sample: Sample, rng: Random) -> Reply | None:
    again = rng.choice(sample.answer.calls).model_copy(update={"label": None})
    changed = (*sample.answer.calls, again)
    offered = any(t.name == again.name for t in sample.prompt.tools)
    return reply_with(sample, changed) if offered and differs(sample, changed) else None


# structure -----------------------------------------------------------------------------------


def _wrong_order(sample: Sample, rng: Random) -> Reply | None:
    """Two calls exchanged whose order counts; not where references or equal calls could make that right again."""
    answer, calls = sample.answer, sample.answer.calls
    edges = [(i, i + 1) for i in range(len(calls) - 1)] if answer.ordered else list(answer.before)
    edges = [(i, j) for i, j in edges if 0 <= i < len(calls) and 0 <= j < len(calls)]
    if answer.instead or not edges or any(holds_reference(c.arguments) for c in calls):
        return None
    tools = {t.name: t for t in sample.prompt.tools}
    for i, j in _shuffled(edges, rng):
        rest = [k for k in range(len(calls)) if k not in (i, j)] if not answer.ordered else []
        if all(
            calls[x].name != calls[y].name or call_apart(answer, x, calls[y], tools.get(calls[x].name))
            for x, y in [(i, j), (j, i), *((k, x) for k in rest for x in (i, j))]
        ):
            changed = list(calls)
            changed[i], changed[j] = calls[j], calls[i]
            return reply_with(sample, changed)
    return None


def _references(sample: Sample, rng: Random) -> list[tuple[int, str, Ref]]:
    """Arguments that are one reference and have no other accepted value; none where other answers are right too."""
    found = [
        (i, name, ref)
        for i, call in enumerate(sample.answer.calls)
        for name, value in call.arguments.items()
        if (ref := Ref.read(value)) is not None and f"{i}.{name}" not in sample.answer.accepts
    ]
    return [] if sample.answer.instead else _shuffled(found, rng)


def _broken_reference(sample: Sample, rng: Random) -> Reply | None:
    """A reference to a label that no call has."""
    calls = sample.answer.calls
    for i, name, ref in _references(sample, rng):
        lost = ref.model_copy(update={"label": "nowhere"})
        if all(c.label != "nowhere" for c in calls):
            return reply_with(sample, put(calls, i, {**calls[i].arguments, name: str(lost)}))
    return None


def _rewired_reference(sample: Sample, rng: Random) -> Reply | None:
    """A reference to another earlier call, one that surely computes something else."""
    answer, calls = sample.answer, sample.answer.calls
    labels = [c.label for c in calls if c.label]
    tools = {t.name: t for t in sample.prompt.tools}
    for i, name, ref in _references(sample, rng):
        if ref.label not in labels or len(set(labels)) < len(labels):
            continue
        right = next(k for k, c in enumerate(calls) if c.label == ref.label)
        for j in _shuffled([k for k in range(i) if k != right], rng):
            other = calls[j]
            if other.name == calls[right].name and not call_apart(answer, right, other, tools.get(other.name)):
                continue
            label = other.label or next(f"r{n}" for n in range(len(calls) + 1) if f"r{n}" not in labels)
            moved = str(ref.model_copy(update={"label": label}))
            changed = (*calls[:j], other.model_copy(update={"label": label}), *calls[j + 1 :])
            return reply_with(sample, put(changed, i, {**calls[i].arguments, name: moved}))
    return None


# form ----------------------------------------------------------------------------------------


def _spoken(text: str) -> Reply:
    """The text as its dialect reads it."""
    return Reply.spoken(text, dialect().parse(text))


def _truncated(sample: Sample, rng: Random) -> Reply | None:
    """The text of the right turn cut off before its last letter or digit: something of it is lost."""
    text: str = dialect().write(sample.answer.message)
    last = max(i for i, ch in enumerate(text) if ch.isalnum())
    return _spoken(text[: rng.randint(1, last)])


def _malformed(sample: Sample, rng: Random) -> Reply | None:
    """The text of the right turn with a sign of JSON's own exchanged, left out or added."""
    text: str = dialect().write(sample.answer.message)
    broken = [text.replace('"name": ', '"name"= ', 1), text.replace(', "arguments"', ' "arguments"', 1), text + "}"]
    return _spoken(rng.choice(broken))


_VALUE = "wrong_value not_allowed"
_ROWS: tuple[tuple[str, str, str, Make], ...] = (
    ("sign_flip", "a number's sign changed", _VALUE, _on_leaf(changes.sign_flip)),
    ("decimal_shift", "a number ten times too large or small", _VALUE, _on_leaf(changes.decimal_shift)),
    ("off_by_one", "a whole number one too large or small", _VALUE, _on_leaf(changes.off_by_one)),
    ("date_reorder", "month and day of a date exchanged", _VALUE, _on_leaf(changes.date_reorder)),
    ("path_change", "a separator of a path lost or changed", _VALUE, _on_leaf(changes.path_change)),
    ("unit", "the same number in another unit", _VALUE, _on_leaf(changes.unit)),
    ("text_edit", "one letter of a text changed", _VALUE, _on_leaf(changes.text_edit)),
    ("enum_neighbour", "another member of the enum", "wrong_value", _on_leaf(changes.enum_neighbour)),
    ("case_change", "letter case changed where the schema refuses it", "not_allowed",
     _on_leaf(changes.case_change, cased=True)),
    ("wrong_type", "a value as another JSON type", "wrong_type", _on_leaf(changes.wrong_type)),
    ("null", "null in a value's place", "wrong_type", _on_leaf(changes.null)),
    ("swapped_values", "two values of one call exchanged", f"{_VALUE} wrong_type", _swapped_values),
    ("dropped_argument", "an argument left out", "missing_argument", _dropped_argument),
    ("invented_argument", "an argument that nothing asked for", "unknown_argument ungrounded_value",
     _invented_argument),
    ("wrong_name", "another offered tool", "wrong_tool", _wrong_name),
    ("unoffered_name", "a tool that is not offered", "unknown_tool", _unoffered_name),
    ("missing_call", "a call left out", "missing_call", _missing_call),
    ("extra_call", "a call of a tool that is not needed", "extra_call", _extra_call),
    ("duplicate_call", "a call made twice", "extra_call", _duplicate_call),
    ("wrong_order", "two calls exchanged whose order counts", "wrong_order", _wrong_order),
    ("broken_reference", "a reference to no call", "broken_reference", _broken_reference),
    ("rewired_reference", "a reference to another call", "wrong_nesting", _rewired_reference),
    ("truncated", "the text cut off inside", "truncated", _truncated),
    ("malformed", "the text made unreadable", "unparsable wrong_shape", _malformed),
)  # fmt: skip

MUTATIONS: dict[str, Mutation] = {
    name: Mutation(name, caption, frozenset(kinds.split()), make) for name, caption, kinds, make in _ROWS
}
"""Every mutation by name, in the order in which a card lists them."""
