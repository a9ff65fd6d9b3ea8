"""Given calls against one compiled answer: every fault, in one pass where no pairing is in doubt.

Most replies stand where they should: each call by the one it was meant to be. Then no pairing is
better, and the first look at an argument is also the last. All else goes through the optimal pairing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from callgrain.core.types import Call, Fault, Json, Ref, Verdict
from callgrain.verify.faults import by_level, fault
from callgrain.verify.key import Key, Slot, Want
from callgrain.verify.lint import NESTING_LIMIT, broken_references, has_reference, too_deep
from callgrain.verify.match import FULL, NAME_WEIGHT, PAIR_LIMIT, Graph, Meets, Pairing


class Judgement:
    """What was found: faults, right leaves among all, right declared arguments, right calls."""

    __slots__ = ("declared", "faults", "leaves", "matched", "right")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.right = self.leaves = self.declared = self.matched = 0


def judge(key: Key, given: Sequence[Call]) -> Verdict:
    """The verdict on `given`: all faults with place, what was expected, what was given."""
    found = _by_place(key, given) if key.plain else None
    if found is None:
        deep = [i for i, call in enumerate(given) if too_deep(call)]
        if deep:
            wanted = f"nesting of at most {NESTING_LIMIT}"
            faults = by_level(fault("unparsable", f"calls.{i}.arguments", wanted) for i in deep)
            return Verdict(faults=faults, score=0.0)
        found = _by_pairing(key, given)
    faults = found.faults
    if not faults:
        return key.right(found.declared, found.matched, len(given))
    score = found.right / found.leaves if found.leaves else 0.0
    return Verdict.trusted({
        "faults": (faults[0],) if len(faults) == 1 else by_level(faults),
        "score": min(score, 0.99),
        "state": "graded",
        "detail": "",
        "measures": key.figures(found.declared, found.matched, len(given)),
    })  # fmt: skip


def _by_place(key: Key, given: Sequence[Call]) -> Judgement | None:
    """Where each call stands by the one that it looks most like; None where that is not plain to see."""
    wants, n, m = key.wants, len(key.wants), len(given)
    found = Judgement()
    if n != m:
        return found if _with_a_gap(key, given, found) else None
    amiss: list[int] = []
    for index, want in enumerate(wants):
        have, before = given[index], len(found.faults)
        if want.name != have.name:
            if too_deep(have):
                return None
            _wrong_name(key, want, have, index, found)
        elif not _arguments(want, have.arguments, index, found, given):
            return None
        if len(found.faults) == before:
            found.matched += 1
        else:
            amiss.append(index)
    if n > 1 and amiss and not _stand(wants, given, amiss):
        return None
    return found


def _stand(wants: Sequence[Want], given: Sequence[Call], amiss: Sequence[int]) -> bool:
    """Whether no pairing is better than each by its place, where only `amiss` are not right there.

    So it is if each of them is the likeliest of its row, or each the likeliest of its column: no
    other cell can give what that one leaves.
    """
    for i in amiss:
        name = wants[i].name
        rivals = [call for j, call in enumerate(given) if j != i and call.name == name]
        if not _at_least(wants[i], given[i], [wants[i].likeness(rival) for rival in rivals]):
            break
    else:
        return True
    for i in amiss:
        name = given[i].name
        rivals = [want for k, want in enumerate(wants) if k != i and want.name == name]
        if not _at_least(wants[i], given[i], [want.likeness(given[i]) for want in rivals]):
            return False
    return True


def _at_least(want: Want, have: Call, rivals: Sequence[int]) -> bool:
    """Whether a pair is as alike as each rival; those of other names, which are not listed, reach a share at most."""
    own = want.likeness(have)
    return (own >= FULL - NAME_WEIGHT) and all(rival <= own for rival in rivals)


def _with_a_gap(key: Key, given: Sequence[Call], found: Judgement) -> bool:
    """Calls that are all right but for those left out, or those too many at the end: then no pairing is better."""
    wants = key.wants
    if not wants or len(given) > PAIR_LIMIT:
        return False
    j = 0
    for i, want in enumerate(wants):
        fits = want.fits(given[j]) if j < len(given) else -1
        if fits < 0:
            _missing(key, i, found)
            continue
        found.leaves += 1 + len(given[j].arguments)
        found.right += 1 + len(given[j].arguments)
        found.declared += fits
        found.matched += 1
        j += 1
    if j < len(given):
        if j < len(wants) or any(map(too_deep, given[j:])):
            return False
        for extra in range(j, len(given)):
            _extra(key, given[extra], extra, found)
    return True


def _by_pairing(key: Key, given: Sequence[Call]) -> Judgement:
    """Pair first, then look at names, arguments and order."""
    found, pairing = Judgement(), key.pairing(given)
    graph = Graph(given) if key.linked else key.graph
    meets = pairing.meets(key.graph)
    for i in pairing.missing:
        _missing(key, i, found)
    for j in pairing.extra:
        _extra(key, given[j], j, found)
    for i, j in pairing.pairs:
        want, have, before = key.wants[i], given[j], len(found.faults)
        if want.name != have.name:
            _wrong_name(key, want, have, j, found)
        elif want.linked:
            _linked_arguments(key, want, have, ((i, j), graph, meets), found, given)
        else:
            _arguments(want, have.arguments, j, found, given)
        found.matched += len(found.faults) == before
    _order(key, pairing, found)
    return found


def _missing(key: Key, i: int, found: Judgement) -> None:
    call = key.wants[i].call
    found.leaves += 1 if key.names_only else 1 + len(call.arguments)
    found.faults.append(fault("missing_call", f"calls.{i}", _shown(key, call)))


def _extra(key: Key, call: Call, j: int, found: Judgement) -> None:
    found.leaves += 1 if key.names_only else 1 + len(call.arguments)
    kind = "extra_call" if call.name in key.offered else "unknown_tool"
    found.faults.append(fault(kind, f"calls.{j}", None, _shown(key, call)))


def _shown(key: Key, call: Call) -> dict[str, Json]:
    """A whole call in a fault; without its arguments where they do not count."""
    shown: dict[str, Json] = {"name": call.name, "arguments": {} if key.names_only else call.arguments}
    return shown if key.names_only or call.label is None else {**shown, "label": call.label}


def _wrong_name(key: Key, want: Want, have: Call, j: int, found: Judgement) -> None:
    found.leaves += 1 if key.names_only else 1 + max(len(want.call.arguments), len(have.arguments))
    kind = "wrong_tool" if have.name in key.offered else "unknown_tool"
    found.faults.append(fault(kind, f"calls.{j}.name", want.name, have.name))


def _arguments(want: Want, arguments: dict[str, Json], j: int, found: Judgement, given: Sequence[Call] = ()) -> bool:
    """Hold the arguments of a call of the right name against its slots; False where one is too deep to be judged."""
    found.leaves += 1
    found.right += 1
    if want.bare:
        return True
    slots, seen, right, declared = want.slots, 0, 0, 0
    for name, value in arguments.items():
        slot = slots.get(name)
        if slot is None:
            if type(value) in _CONTAINERS and too_deep(value):
                return False
            found.faults.append(_uncalled_for(want, name, value, j))
            continue
        seen += 1
        if (type(value) is slot.scalar and value == slot.gold) or slot.match(value):
            right += 1
            declared += slot.declared
        elif type(value) in _CONTAINERS and too_deep(value):
            return False
        elif slot.declared:
            found.faults.append(_misvalued(slot, value, f"calls.{j}.arguments.{name}", j, given))
        else:
            found.faults.append(_uncalled_for(want, name, value, j))
    found.leaves += len(arguments)
    found.right += right
    found.declared += declared
    if seen < len(slots):
        _absent(want, arguments, j, found)
    return True


_CONTAINERS = (list, dict)


def _linked_arguments(
    key: Key,
    want: Want,
    have: Call,
    around: tuple[tuple[int, int], Graph, Meets],
    found: Judgement,
    given: Sequence[Call],
) -> None:
    """The same where slots hold references: those are right where they lead to the right call."""
    at, graph, meets = around
    found.leaves += 1 + len(have.arguments)
    found.right += 1
    for name, value in have.arguments.items():
        slot = want.slots.get(name)
        if slot is not None and key.alike(slot, value, at, graph, meets):
            found.right += 1
            found.declared += slot.declared
        elif slot is not None and slot.declared:
            found.faults.append(_misvalued(slot, value, f"calls.{at[1]}.arguments.{name}", at[1], given))
        else:
            found.faults.append(_uncalled_for(want, name, value, at[1]))
    _absent(want, have.arguments, at[1], found)


def _absent(want: Want, arguments: dict[str, Json], j: int, found: Judgement) -> None:
    """Slots for which nothing was given: whatever the default is, it is no given value."""
    for name, slot in want.slots.items():
        if slot.absent_counts and name not in arguments:
            found.leaves += 1
            if slot.absent_right:
                found.right += 1
            else:
                found.faults.append(fault("missing_argument", f"calls.{j}.arguments.{name}", slot.gold))


def _misvalued(slot: Slot, value: Json, place: str, j: int, given: Sequence[Call]) -> Fault:
    """An argument that is there on both sides, and not the same."""
    expected = slot.gold
    refers = has_reference(value)
    if refers:
        earlier = {label: i for label, i in Graph(given).index.items() if i < j}
        if broken := broken_references(value, earlier, place):
            return broken[0].model_copy(update={"expected": expected})
    if (refers and Ref.read(value) is not None) or (slot.linked and Ref.read(expected) is not None):
        return fault("wrong_nesting", place, expected, value)
    # What holds a reference is not held against the schema: nobody knows its value yet.
    return fault("wrong_value" if refers else slot.misfit(value), place, expected, value)


def _uncalled_for(want: Want, name: str, value: Json, j: int) -> Fault:
    """An argument that the answer does not have."""
    place = f"calls.{j}.arguments.{name}"
    if want.offered and name not in want.properties:
        return fault("unknown_argument", place, sorted(want.properties), value)
    return fault("ungrounded_value", place, None, value)


def _order(key: Key, pairing: Pairing, found: Judgement) -> None:
    """Calls that stand in another order than the one that counts."""
    answer = key.answer
    if len(pairing.pairs) < 2 or not (answer.ordered or answer.before):
        return
    at = dict(pairing.pairs)
    edges = list(pairwise(sorted(at))) if answer.ordered else list(answer.before)
    for i, j in edges:
        if i in at and j in at:
            found.leaves += 1
            if at[i] < at[j]:
                found.right += 1
            else:
                names = [answer.calls[i].name, answer.calls[j].name]
                found.faults.append(fault("wrong_order", f"calls.{at[j]}", names, names[::-1]))
