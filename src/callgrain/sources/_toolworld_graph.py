"""Call graphs of toolworld: sampled by shape, typed edge by typed edge, then executed.

A shape lists the parents of each node in an order that can be executed: `((), (), (0, 1))` is two
roots that meet. Depth is the longest path in nodes, width the most nodes of one level, fan-in the
most parents of one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from callgrain.core.types import Call, Json, Ref, Result
from callgrain.tools._catalogue import Catalogue
from callgrain.tools._execute import execute
from callgrain.tools._toolworld import Param, Universe

Shape = tuple[tuple[int, ...], ...]
LABELS = "abcdefghij"
OPTIONAL_SHARE = 0.4
"""How often an optional parameter is given."""
SAME_NOUN_SHARE = 0.4
"""How often a producer with the consumer's noun is preferred ("find a hotel, then book it")."""

CHAIN2: Shape = ((), (0,))
CHAIN3: Shape = ((), (0,), (1,))
MEET2: Shape = ((), (), (0, 1))
FORK2: Shape = ((), (0,), (0,))
SHAPES: dict[tuple[str, str], tuple[Shape, ...]] = {
    ("micro", "seen"): (CHAIN2, CHAIN2, CHAIN2, MEET2, FORK2),
    ("micro", "depth"): (CHAIN3, CHAIN3, ((), (0,), (0, 1)), ((), (), (0, 1), (2,))),
    ("micro", "width"): (((), (0,), (0,), (0,)), ((), (), (), (0, 1, 2))),
    ("full", "seen"): (
        *(CHAIN2, CHAIN2, CHAIN3, CHAIN3, MEET2, MEET2, FORK2),
        *(((), (), (0, 1), (2,)), ((), (0,), (0, 1)), ((), (), (), (0, 1, 2))),
    ),
    ("full", "depth"): (((), (0,), (1,), (2,)), ((), (0,), (1,), (2,), (3,)), ((), (), (0, 1), (2,), (3,))),
    ("full", "width"): (((), (0,), (0,), (0,), (0,)), ((), (), (), (), (0, 1, 2, 3))),
}
LENGTHS: dict[tuple[str, str], tuple[int, ...]] = {
    ("micro", "seen"): (2,),
    ("micro", "beyond"): (3,),
    ("full", "seen"): (2, 2, 3),
    ("full", "beyond"): (4, 5),
}
"""How many calls a `parallel` or `chain` request has."""


@dataclass(frozen=True)
class Scope:
    """Which tools may be called, which must be among them, which edges may join them."""

    tools: tuple[str, ...]
    must: frozenset[str]
    edges: bool | None


@dataclass(frozen=True)
class Plan:
    """Executed calls of one request; `parents` are the graph."""

    kind: str
    calls: tuple[Call, ...]
    parents: Shape
    results: tuple[Result, ...]

    @property
    def depth(self) -> int:
        """Longest path in nodes; a chain without data counts each step."""
        return len(self.calls) if self.kind == "chain" else max(_levels(self.parents)) + 1

    @property
    def width(self) -> int:
        """Most calls on one level."""
        levels = _levels(self.parents)
        return 1 if self.kind == "chain" else max(levels.count(level) for level in levels)

    @property
    def fan_in(self) -> int:
        """Most calls whose results one call uses."""
        return max(map(len, self.parents))

    @property
    def sinks(self) -> list[int]:
        """Calls whose result no other call uses."""
        used = {p for parents in self.parents for p in parents}
        return [n for n in range(len(self.calls)) if n not in used]


def _levels(parents: Shape) -> list[int]:
    levels: list[int] = []
    for above in parents:
        levels.append(1 + max((levels[p] for p in above), default=-1))
    return levels


def sample(world: Universe, catalogue: Catalogue, scope: Scope, kind: str, shape: Shape, rng: Random) -> Plan | None:
    """A plan of that kind and shape whose calls all succeed, or None where this draw found none."""
    named = _tools(world, scope, shape, rng)
    if named is None or not _fits(scope, kind, [n for n, _ in named]):
        return None
    calls: list[Call] = []
    for index, (name, feeds) in enumerate(named):
        arguments = _arguments(world, name, feeds, rng)
        calls.append(Call(name=name, arguments=arguments, label=LABELS[index] if kind == "nest" else None))
    if len({c.key for c in calls}) < len(calls):
        return None
    results = execute(calls, catalogue)
    if any(r.error is not None for r in results):
        return None
    return Plan(kind, tuple(calls), shape, results)


def _fits(scope: Scope, kind: str, names: Sequence[str]) -> bool:
    if scope.must and not scope.must.intersection(names):
        return False
    # Equal tools in a nest are told apart by "the first" and "the second": one such pair is enough.
    return kind != "nest" or len(set(names)) >= len(names) - 1


Feeds = dict[str, list[Ref]]


def _tools(world: Universe, scope: Scope, shape: Shape, rng: Random) -> list[tuple[str, Feeds]] | None:
    """A tool for each node, with what feeds it: sinks first, then whatever can feed those."""
    allowed = frozenset(scope.tools)
    names: list[str] = [""] * len(shape)
    feeds: list[Feeds] = [{} for _ in shape]
    wanted: list[list[tuple[int, str]]] = [[] for _ in shape]
    for node in reversed(range(len(shape))):
        field: dict[int, str] = {}
        if not wanted[node]:
            names[node] = _sink(scope, names, rng)
        else:
            found = _producer(world, scope, allowed, [(names[c], p) for c, p in wanted[node]], rng)
            if found is None:
                return None
            names[node], fields = found
            field = dict(enumerate(fields))
        for order, (child, param) in enumerate(wanted[node]):
            feeds[child].setdefault(param, []).insert(0, Ref(label=LABELS[node], path=field[order]))
        params = _fed(world, scope, names[node], len(shape[node]), rng)
        if params is None:
            return None
        for parent, param in zip(shape[node], params, strict=True):
            wanted[parent].append((node, param))
    return list(zip(names, feeds, strict=True))


def _sink(scope: Scope, names: Sequence[str], rng: Random) -> str:
    """Any tool; now and then the one that another call uses already (the same tool twice)."""
    taken = [n for n in names if n]
    if taken and rng.random() < 0.35:
        return rng.choice(taken)
    if scope.must and not taken:
        return rng.choice(sorted(scope.must))
    return rng.choice(scope.tools)


def _fed(world: Universe, scope: Scope, name: str, count: int, rng: Random) -> list[str] | None:
    """Parameters to be fed from `count` earlier calls; a list parameter takes them all."""
    if not count:
        return []
    open_: list[Param] = [p for p in world.specs[name].params if world.feeders(name, p.name, scope.edges)]
    lists = [p for p in open_ if p.many]
    if lists and (count > 1 or rng.random() < 0.5):
        return [rng.choice(lists).name] * count
    single = [p.name for p in open_ if not p.many]
    return rng.sample(single, count) if len(single) >= count else None


def _producer(
    world: Universe, scope: Scope, allowed: frozenset[str], wanted: Sequence[tuple[str, str]], rng: Random
) -> tuple[str, list[str]] | None:
    """A tool with a field for each parameter that wants one, and those fields."""
    options: list[dict[str, list[str]]] = []
    for consumer, param in wanted:
        found: dict[str, list[str]] = {}
        for name, field in world.feeders(consumer, param, scope.edges):
            if name in allowed:
                found.setdefault(name, []).append(field)
        options.append(found)
    common = [n for n in options[0] if all(n in o for o in options[1:])]
    if not common:
        return None
    noun = world.specs[wanted[0][0]].noun
    near = [n for n in common if world.specs[n].noun == noun]
    name = rng.choice(near if near and rng.random() < SAME_NOUN_SHARE else common)
    return name, [rng.choice(o[name]) for o in options]


def _arguments(world: Universe, name: str, feeds: Feeds, rng: Random) -> dict[str, Json]:
    out: dict[str, Json] = {}
    drawn: dict[str, list[Json]] = {}
    for param in world.specs[name].params:
        refs: list[Json] = [str(r) for r in feeds.get(param.name, ())]
        if refs and not param.many:
            out[param.name] = refs[0]
        elif refs or param.required or rng.random() < OPTIONAL_SHARE:
            before = drawn.setdefault(param.kind, [] if param.default is None else [param.default])
            wanted = max(0, rng.choice((2, 2, 3)) - len(refs)) if param.many else 1
            fresh = [_draw(world, param, before, rng) for _ in range(wanted)]
            out[param.name] = refs + fresh if param.many else fresh[0]
    return out


def _draw(world: Universe, param: Param, before: list[Json], rng: Random) -> Json:
    """A value that is not among `before`: nobody converts euros into euros."""
    kind = world.kinds[param.kind]
    value = kind.draw(rng)
    while value in before:
        value = kind.draw(rng)
    before.append(value)
    return value
