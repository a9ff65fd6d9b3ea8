"""Pairing expected with given calls: optimal, stable, and blind to labels.

The pairing maximises the total likeness, so a call with one wrong value is paired with the
call it was meant to be and is never reported as one missing and one extra. Two graphs are
the same if a pairing maps every reference onto its like: labels and the order of
independent calls do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from callgrain.core.canonical import content_key
from callgrain.core.types import Accept, Call, Json, Ref
from callgrain.verify.values import equal, same

NAME_WEIGHT = 1000
"""Likeness of an equal name; it outweighs any number of equal arguments."""

FULL = NAME_WEIGHT + 100
"""Likeness of two calls that are the same in every part, all that feeds them included."""

PAIR_LIMIT = 128
"""Most given calls that are paired, unless more are expected; a flood beyond it is all `extra_call`."""


Meets = Callable[[int, int], bool]
"""`meets(a, b)`: may a reference lead to given call b where it should lead to expected call a?"""


@dataclass(frozen=True)
class Pairing:
    """(expected, given) indices of paired calls, and the indices that are left on either side."""

    pairs: tuple[tuple[int, int], ...]
    missing: tuple[int, ...]
    extra: tuple[int, ...]

    @cached_property
    def of_given(self) -> dict[int, int]:
        """Expected index by given index."""
        return {given: expected for expected, given in self.pairs}

    def meets(self, gold: Graph) -> Meets:
        """References must lead to the partner of the call they should lead to, or to one that computes the same."""

        def check(a: int, b: int) -> bool:
            partner = self.of_given.get(b)
            return partner == a or (partner is not None and gold.unfolded[partner] == gold.unfolded[a])

        return check


class Graph:
    """Calls with their labels looked up: which earlier call does a reference mean?

    `accepts` is an Answer's: what else is right for their arguments.
    """

    def __init__(self, calls: Sequence[Call], accepts: Mapping[str, Accept] | None = None) -> None:
        self.calls = tuple(calls)
        self.accepts = accepts or {}
        self.index = {c.label: i for i, c in reversed(list(enumerate(self.calls))) if c.label}

    def target(self, ref: Ref, before: int) -> int | None:
        """Index of the call that `ref` means as seen from call number `before`."""
        found = self.index.get(ref.label)
        return found if found is not None and found < before else None

    @cached_property
    def unfolded(self) -> tuple[str, ...]:
        """A hash of each call with its references replaced by the calls they mean: of equal computations it is equal.

        Calls for which other values are accepted compute other things. A hash, so that a deep
        graph does not unfold into an exponential one, and True is not 1.
        """
        out: list[str] = []
        for i, call in enumerate(self.calls):
            parts = {k: self._unfold(v, i, out) for k, v in call.arguments.items()}
            own = {k: a for k, a in self.accepts.items() if k.startswith(f"{i}.")}
            for place, accept in own.items():
                name = place.partition(".")[2]
                given = [parts[name]] if name in parts else []
                right = sorted({content_key(value) for value in (*given, *accept.values)})
                parts[name] = {"among": right, "omissible": accept.omissible, "mode": accept.mode, "due": bool(given)}
            out.append(content_key([call.name, parts]))
        return tuple(out)

    def _unfold(self, value: Json, at: int, done: list[str]) -> Json:
        if isinstance(value, dict):
            return {k: self._unfold(v, at, done) for k, v in value.items()}
        if isinstance(value, list):
            return [self._unfold(v, at, done) for v in value]
        ref = Ref.read(value)
        target = self.target(ref, at) if ref else None
        return value if ref is None or target is None else {"$": [path_of(ref), done[target]]}


def path_of(ref: Ref) -> str:
    """The path of a reference in one spelling: `result` alone stands for the whole result."""
    return "" if ref.path == "result" else ref.path


def assign(likes: list[list[int]]) -> tuple[tuple[int, int], ...]:
    """(row, column) of the assignment with the greatest sum, nearest to the diagonal on ties; sorted."""
    n, m = len(likes), len(likes[0])
    if n <= m:
        best = [max(range(m), key=lambda j, i=i: (likes[i][j], -abs(i - j), -j)) for i in range(n)]
        if len(set(best)) == n:  # each has the one it likes best: no sum is greater
            return tuple(enumerate(best))
    else:
        best = [max(range(n), key=lambda i, j=j: (likes[i][j], -abs(i - j), -i)) for j in range(m)]
        if len(set(best)) == m:
            return tuple(sorted((i, j) for j, i in enumerate(best)))
    from scipy.optimize import linear_sum_assignment

    scale = 2 * max(n, m) ** 2  # a tie-break that can never outweigh one unit of likeness
    costs = [[-likes[i][j] * scale + abs(i - j) for j in range(m)] for i in range(n)]
    rows, columns = linear_sum_assignment(costs)
    return tuple(sorted((int(i), int(j)) for i, j in zip(rows, columns, strict=True)))


SEARCH_LIMIT = 2_000
"""Steps of the search for an order: beyond them the pairing stays as it is."""


def untangled(at: dict[int, int], before: Sequence[tuple[int, int]], may: Meets) -> dict[int, int]:
    """The pairing `at` with expected calls exchanged so that each edge of `before` is kept; `at` where that fails.

    `may(i, j)`: can expected call i stand at given call j as well as the one that stands there?
    """
    order = sorted(at, key=at.__getitem__)
    needs = {i: {a for a, b in before if b == i and a in at} for i in order}
    path: list[int] = []
    placed: set[int] = set()
    tried: set[frozenset[int]] = set()

    def next_ones() -> Iterator[int]:
        own = order[len(path)]
        return iter([i for i in order if i not in placed and needs[i] <= placed and (i == own or may(i, at[own]))])

    stack = [next_ones()]
    for _ in range(SEARCH_LIMIT):
        i = next(stack[-1], None)
        if i is None:
            stack.pop()
            if not stack:
                break
            placed.discard(path.pop())
            continue
        path.append(i)
        placed.add(i)
        if len(path) == len(order):
            return {i: at[own] for i, own in zip(path, order, strict=True)}
        if (state := frozenset(placed)) in tried:
            placed.discard(path.pop())
        else:
            tried.add(state)
            stack.append(next_ones())
    return at


def ends_of(gold: Graph, found: Graph, at: tuple[int, int], values: tuple[Json, Json]) -> tuple[int, int] | None:
    """The calls to which two references of the same path lead; None where the values are not such."""
    want, have = Ref.read(values[0]), Ref.read(values[1])
    if want is None or have is None or path_of(want) != path_of(have):
        return None
    a, b = gold.target(want, at[0]), found.target(have, at[1])
    return None if a is None or b is None else (a, b)


def alike(
    gold: Graph,
    found: Graph,
    at: tuple[int, int],
    values: tuple[Json, Json],
    leeway: tuple[Json, Accept | None],
    meets: Meets,
) -> bool:
    """Whether two arguments are the same, references included.

    `at` holds the indices of the two calls, `leeway` the parameter's schema and what else is
    accepted; `meets` judges where references lead.
    """
    want, have = values
    schema, accept = leeway
    if Ref.read(want) is not None:
        if _stands_for(gold, found, at, values, meets):
            return True
        return accept is not None and any(equal(value, have, {}) for value in accept.values)
    if isinstance(want, list) and isinstance(have, list) and (accept is None or accept.mode == "exact"):
        if len(want) == len(have) and all(
            alike(gold, found, at, (w, h), (_items(schema), None), meets) for w, h in zip(want, have, strict=True)
        ):
            return True
    elif isinstance(want, dict) and isinstance(have, dict) and want.keys() == have.keys():
        found_fields = schema.get("properties") if isinstance(schema, dict) else None
        fields: dict[str, Json] = found_fields if isinstance(found_fields, dict) else {}
        if all(alike(gold, found, at, (want[k], have[k]), (fields.get(k), None), meets) for k in want):
            return True
    led = _led(gold, found, at, values, meets)
    return same(want, led, schema if isinstance(schema, dict) else None, accept)


def _led(gold: Graph, found: Graph, at: tuple[int, int], values: tuple[Json, Json], meets: Meets) -> Json:
    """The given value with each reference spelled as the one in the expected value that it stands for.

    One that stands for none is spelled as None: labels are no values, and equal ones may lead elsewhere.
    """
    want, have = values
    if isinstance(have, dict):
        return {k: _led(gold, found, at, (want, v), meets) for k, v in have.items()}
    if isinstance(have, list):
        return [_led(gold, found, at, (want, v), meets) for v in have]
    if Ref.read(have) is None:
        return have
    return next((text for text in _references(want) if _stands_for(gold, found, at, (text, have), meets)), None)


def _stands_for(gold: Graph, found: Graph, at: tuple[int, int], values: tuple[Json, Json], meets: Meets) -> bool:
    """Whether two references lead to calls that stand for one another, or are one text that leads nowhere."""
    ends = ends_of(gold, found, at, values)
    if ends is not None:
        return meets(*ends)
    ref = Ref.read(values[0])
    return values[0] == values[1] and ref is not None and gold.target(ref, at[0]) is found.target(ref, at[1]) is None


def _references(value: Json) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _references(part)
    elif Ref.read(value) is not None:
        yield value


def _items(schema: Json) -> Json:
    return schema.get("items") if isinstance(schema, dict) else None
