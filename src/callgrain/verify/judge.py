"""Given calls against one compiled answer: every fault, in one pass where no pairing is in doubt.

Most replies stand where they should: each call by the one it was meant to be. Then no pairing is
better, and the first look at an argument is also the last. All else goes through the optimal pairing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from callgrain.core.types import Call, Fault, Json, Ref, Verdict
from callgrain.verify.faults import by_level, fault
from callgrain.verify.key import ABSENT, Key, Scan, Slot, Want, Wrong
from callgrain.verify.lint import NESTING_LIMIT, broken_references, has_reference, too_deep
from callgrain.verify.match import FULL, NAME_WEIGHT, PAIR_LIMIT, Graph, Meets, Pairing, untangled


class Judgement:
    """What was found: faults, right leaves among all, right declared arguments, right calls."""

    __slots__ = ("declared", "faults", "leaves", "matched", "right")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.right = self.leaves = self.declared = self.matched = 0

    def count(self, want: Want, have: Call, scan: Scan) -> None:
        """Count the leaves of a call of the right name."""
        leaves = want.leaves(have.arguments)
        self.leaves += leaves
        self.right += leaves - len(scan[1])
        self.declared += scan[0]
        self.matched += not scan[1]


def judge(key: Key, given: Sequence[Call]) -> Verdict:
    """The verdict on `given`: all faults with place, what was expected, what was given."""
    found = None
    if key.plain and len(given) == len(key.wants):
        declared = 0
        for want, have in zip(key.wants, given, strict=True):
            right = want.fits(have)
            if right < 0:
                break
            declared += right
        else:
            return key.right(declared)
        found = _by_place(key, given)
    elif key.plain:
        found = _with_a_gap(key, given)
    if found is None:
        deep = [] if key.names_only else [i for i, call in enumerate(given) if too_deep(call)]
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
        "score": score if score < 0.99 else 0.99,
        "state": "graded",
        "detail": "",
        "measures": key.figures(found.declared, found.matched, len(given)),
    })  # fmt: skip


def _by_place(key: Key, given: Sequence[Call]) -> Judgement | None:
    """Where each call stands by the one that it looks most like; None where that is not plain to see."""
    wants = key.wants
    scans = [w.scan(have.arguments) for w, have in zip(wants, given, strict=True)]
    if len(wants) > 1 and not _stand(wants, given, scans):
        return None
    found = Judgement()
    for index, want in enumerate(wants):
        if not _called(key, want, given, index, scans[index], found):
            return None
    return found


def _stand(wants: Sequence[Want], given: Sequence[Call], scans: Sequence[Scan]) -> bool:
    """Whether no pairing is better than each by its place.

    So it is if each call that is not right there is the likeliest of its row, or each the likeliest
    of its column: no other cell can give what that one leaves. Cells of unequal names give a share at most.
    """
    amiss = [i for i, want in enumerate(wants) if scans[i][1] or want.name != given[i].name]
    likes = {i: wants[i].likeness(given[i], scans[i]) for i in amiss}
    if any(own < FULL - NAME_WEIGHT for own in likes.values()):
        return False
    others = range(len(wants))
    return all(
        all(wants[i].likeness(given[j]) <= own for j in others if j != i and given[j].name == wants[i].name)
        for i, own in likes.items()
    ) or all(
        all(wants[k].likeness(given[i]) <= own for k in others if k != i and wants[k].name == given[i].name)
        for i, own in likes.items()
    )


def _with_a_gap(key: Key, given: Sequence[Call]) -> Judgement | None:
    """Calls that are all right but for those left out, or those too many at the end: then no pairing is better."""
    wants, found, j = key.wants, Judgement(), 0
    if not wants or len(given) > PAIR_LIMIT:
        return None
    for i, want in enumerate(wants):
        have = given[j] if j < len(given) else None
        scan = want.scan(have.arguments) if have is not None and have.name == want.name else None
        if have is None or scan is None or scan[1]:
            _missing(key, i, found)
        else:
            found.count(want, have, scan)
            j += 1
    if j < len(given):
        if j < len(wants) or (not key.names_only and any(map(too_deep, given[j:]))):
            return None
        for extra in range(j, len(given)):
            _extra(key, given[extra], extra, found)
    return found


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
        want, have = key.wants[i], given[j]
        if want.linked and want.name == have.name:
            _called(key, want, given, j, _linked_scan(key, want, have, ((i, j), graph, meets)), found)
        else:
            _called(key, want, given, j, want.scan(have.arguments), found)
    _order(key, pairing, given, found)
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


def _called(key: Key, want: Want, given: Sequence[Call], j: int, scan: Scan, found: Judgement) -> bool:
    """The faults of given call j, which stands for `want`; False where a value is too deep to be judged."""
    have = given[j]
    if want.name != have.name:
        if not want.bare and too_deep(have):
            return False
        found.leaves += 1 if want.bare else 1 + max(len(want.call.arguments), len(have.arguments))
        kind = "wrong_tool" if have.name in key.offered else "unknown_tool"
        found.faults.append(fault(kind, f"calls.{j}.name", want.name, have.name))
        return True
    found.count(want, have, scan)
    for name, slot, value in scan[1]:
        place = f"calls.{j}.arguments.{name}"
        if (type(value) is dict or type(value) is list) and too_deep([value]):
            return False
        if slot is None or not slot.declared:
            found.faults.append(_uncalled_for(want, name, value, place))
        elif value is ABSENT:  # nothing was given: whatever the default is, it is no given value
            found.faults.append(fault("missing_argument", place, slot.gold))
        else:
            found.faults.append(_misvalued(slot, value, place, j, given))
    return True


def _linked_scan(key: Key, want: Want, have: Call, around: tuple[tuple[int, int], Graph, Meets]) -> Scan:
    """`Want.scan` where slots hold references: those are right where they lead to the right call."""
    declared = 0
    wrong: list[Wrong] = []
    for name, value in have.arguments.items():
        slot = want.slots.get(name)
        if slot is not None and key.alike(slot, value, *around):
            declared += slot.declared
        else:
            wrong.append((name, slot, value))
    wrong += [(n, s, ABSENT) for n, s in want.slots.items() if not s.absent_right and n not in have.arguments]
    return declared, wrong


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


def _uncalled_for(want: Want, name: str, value: Json, place: str) -> Fault:
    """An argument that the answer does not have."""
    if want.is_closed and name not in want.properties:
        return fault("unknown_argument", place, sorted(want.properties), value)
    return fault("ungrounded_value", place, None, value)


def _order(key: Key, pairing: Pairing, given: Sequence[Call], found: Judgement) -> None:
    """Calls that stand in another order than the one that counts."""
    answer = key.answer
    if len(pairing.pairs) < 2 or not (answer.ordered or answer.before):
        return
    at = dict(pairing.pairs)
    edges = list(pairwise(sorted(at))) if answer.ordered else list(answer.before)
    if not answer.ordered and any(i in at and j in at and at[i] >= at[j] for i, j in edges):
        at = untangled(at, edges, lambda i, j: _may_stand(key, pairing, i, given, j))
    for i, j in edges:
        if i in at and j in at:
            found.leaves += 1
            if at[i] < at[j]:
                found.right += 1
            else:
                names = [answer.calls[i].name, answer.calls[j].name]
                found.faults.append(fault("wrong_order", f"calls.{at[j]}", names, names[::-1]))


def _may_stand(key: Key, pairing: Pairing, i: int, given: Sequence[Call], j: int) -> bool:
    """Whether expected call i is as right at given call j as the one that stands there."""
    if key.linked:  # what refers to it must still mean the same
        return key.graph.unfolded[i] == key.graph.unfolded[pairing.of_given[j]]
    return key.wants[i].fits(given[j]) >= 0
