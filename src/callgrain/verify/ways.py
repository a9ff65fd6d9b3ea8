"""Ways to be right: answers joined by "any of" and "all of", and all the ways that one holds.

`instead` of an Answer lists whole other answers. `any_of` makes such an answer; `all_of` joins
answers that are all due in one turn, each in whichever of its ways, up to WAYS_LIMIT of them.
"""

from __future__ import annotations

from itertools import islice, product

from callgrain.core.types import Accept, Answer, Call, Json, Ref

WAYS_LIMIT = 64
"""Most ways of one answer that are judged: products grow fast, and they come from data files."""


def ways(answer: Answer) -> tuple[Answer, ...]:
    """The answer and everything in its `instead`, at any depth, breadth first; at most WAYS_LIMIT."""
    if not answer.instead:
        return (answer,)
    found, layer = [answer], list(answer.instead)
    while layer and len(found) < WAYS_LIMIT:
        found += layer
        layer = [deeper for way in layer for deeper in way.instead]
    return tuple(found[:WAYS_LIMIT])


def any_of(first: Answer, *others: Answer) -> Answer:
    """An answer that is right in whichever way one of these is."""
    return first.model_copy(update={"instead": (*first.instead, *others)})


def all_of(*answers: Answer) -> Answer:
    """All the calls of these answers in one turn, each in any of its ways, in any order among one another.

    Labels are made distinct, so that no reference changes its meaning. The order within an
    answer still counts where it did. Text, facts and results of the parts are not joined.
    """
    joined = [_joined(combination) for combination in islice(product(*map(ways, answers)), WAYS_LIMIT)]
    return joined[0].model_copy(update={"instead": tuple(joined[1:])}) if joined else Answer()


def _joined(parts: tuple[Answer, ...]) -> Answer:
    calls: list[Call] = []
    before: list[tuple[int, int]] = []
    accepts: dict[str, Accept] = {}
    for number, part in enumerate(parts):
        start, size = len(calls), len(part.calls)
        labels: dict[str, str] = {}  # by number: a label has no room for more letters
        for index, call in enumerate(part.calls):
            labels.setdefault(call.label or "", f"p{number}_{index}")
        calls += [_relabelled(call, labels) for call in part.calls]
        chained = [(i, i + 1) for i in range(size - 1)] if part.ordered else part.before
        before += [(start + i, start + j) for i, j in chained if 0 <= i < size and 0 <= j < size]
        for index in range(size):  # what speaks of no call of this part must not speak of the next one's
            own = f"{index}."
            found = {k[len(own) :]: v for k, v in part.accepts.items() if k.startswith(own)}
            accepts |= {f"{start + index}.{name}": accept for name, accept in found.items()}
    return Answer(calls=tuple(calls), before=tuple(before), accepts=accepts)


def _relabelled(call: Call, labels: dict[str, str]) -> Call:
    label = labels[call.label] if call.label else call.label
    return call.model_copy(
        update={"label": label, "arguments": {k: _led(v, labels) for k, v in call.arguments.items()}}
    )


def _led(value: Json, labels: dict[str, str]) -> Json:
    """The value with its references led to the new labels."""
    if isinstance(value, dict):
        return {k: _led(v, labels) for k, v in value.items()}
    if isinstance(value, list):
        return [_led(v, labels) for v in value]
    ref = Ref.read(value)
    return value if ref is None or ref.label not in labels else str(ref.model_copy(update={"label": labels[ref.label]}))
