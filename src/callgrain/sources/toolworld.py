"""Unlimited, seeded, executable traces over the built-in tools.

A call graph is sampled first, executed, and only then put into words. Trace i of a split hangs on
(level, seed, split, i) and nothing else, so a reader can stop and go on anywhere. Splits hold out
whole tools, producer -> consumer edges, depths and widths; `train` and `test` part the plans by a
stable hash, so that no plan is on both sides in any wording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from callgrain.core import plugins
from callgrain.core.canonical import canonical, text_key
from callgrain.core.errors import CallgrainError, UnknownName
from callgrain.core.types import Answer, Call, Message, Origin, Tool, Trace
from callgrain.sources._toolworld_answers import answerable
from callgrain.sources._toolworld_graph import LENGTHS, SHAPES, Plan, Scope, Shape, sample
from callgrain.sources._toolworld_words import Ambiguous, reply, request
from callgrain.tools._catalogue import open_world
from callgrain.tools._execute import outcome, references
from callgrain.tools._toolworld import Universe, seeded
from callgrain.tools.toolworld import read_level, universe

LICENCE = "Apache-2.0"
SCHEDULE = (
    *("single:0", "parallel", "nest", "decline:0", "chain", "ask:0", "single:1", "nest", "parallel", "answer:0"),
    *("chain", "single:2", "nest", "decline:1", "answer:1", "single:3", "ask:1", "chain", "nest", "parallel"),
)
"""Kinds of one block of traces; twins carry the number of the `single` whose request they share."""
ONLY = {"unseen_edge": ("nest",), "unseen_depth": ("nest", "chain"), "unseen_width": ("nest", "parallel")}
"""Splits that not every kind can be in."""
WORDS = {"train": 32, "test": 32, "unseen_tool": 32, "unseen_edge": 32, "unseen_depth": 40, "unseen_width": 40}
"""Longest micro request in words."""
ALIKE = (frozenset({"create_event", "create_reminder"}), frozenset({"sum_amounts", "compute_total"}))
"""Tools so near to each other that one shown beside the other would leave the choice open."""
ATTEMPTS = 2000
COMPOSED = 300
"""Draws for a request of a given shape: some shapes cannot be made of unseen edges alone."""


@dataclass(frozen=True)
class _Made:
    """A request in the making: no `gold` means that the plan itself is right."""

    plan: Plan
    text: str
    tools: tuple[Tool, ...]
    gold: Answer | None = None
    twin: str = ""


class Toolworld:
    """SOURCE `toolworld:full`, `toolworld:micro,seed=3,tools=6`: infinite splits of executable traces.

    With `worlds=N`, trace i is trace i // N of the world with seed + i % N. The same names have other
    signatures in every world, so a model must read the signature that is shown: trained on one world
    alone a small decoder learned each tool by heart and none of the unseen ones.
    """

    splits = ("train", "test", "unseen_tool", "unseen_edge", "unseen_depth", "unseen_width")

    def __init__(self, rest: str = "") -> None:
        bare, others = read_level(rest)
        wanted = plugins.options("toolworld", others, {"level": bare, "seed": 0, "tools": 4, "worlds": 1})
        if not 1 <= wanted["tools"] <= 128:
            raise CallgrainError(f"toolworld: tools={wanted['tools']} is out of range", "write tools=1 to tools=128")
        if not 1 <= wanted["worlds"] <= 4096:
            raise CallgrainError(
                f"toolworld: worlds={wanted['worlds']} is out of range", "write worlds=1 to worlds=4096"
            )
        self.shown: int = wanted["tools"]
        self.worlds: int = wanted["worlds"]
        self._others: dict[int, Toolworld] = {}
        self.world: Universe = universe(wanted["level"], wanted["seed"])
        self.catalogue = open_world(self.world.spec)
        seen = [n for n in self.world.specs if self.world.seen_tool(n)]
        hidden = [n for n in self.world.specs if not self.world.seen_tool(n)]
        everything, nothing = tuple(self.world.specs), frozenset[str]()
        self._scopes = {
            "unseen_tool": Scope(everything, frozenset(hidden), True),
            "unseen_edge": Scope(tuple(seen), nothing, False),
        }
        self._scope = Scope(tuple(seen), nothing, True)
        self._pools = {"seen": tuple(seen), "unseen": tuple(hidden)}

    def traces(self, split: str, start: int = 0) -> Iterator[Trace]:
        """Traces from number `start` on, without end. Raises UnknownName for a split not in `splits`."""
        index = start
        while True:
            yield self.trace(split, index)
            index += 1

    def trace(self, split: str, index: int) -> Trace:
        """Trace number `index` of a split, whatever was asked for before."""
        if split not in self.splits:
            raise UnknownName("split of toolworld", split, self.splits)
        index, world = divmod(index, self.worlds)
        if world:
            return self._other(world).trace(split, index)
        kinds = ONLY.get(split)
        if kinds:
            return self._called(split, index, kinds[index % len(kinds)])
        block, slot = divmod(index, len(SCHEDULE))
        kind, _, number = SCHEDULE[slot].partition(":")
        if kind in ("parallel", "chain", "nest"):
            return self._called(split, index, kind)
        return self._twin(split, index, kind, f"{block}.{number}")

    def composed(self, shape: Shape, number: int, *, seen: bool) -> Trace | None:
        """A nested request of that shape, over edges that `train` shows, or only over edges that it never shows.

        `number` tells apart several of a shape. None where no draw of a few could be made and put into words.
        """
        split = "test" if seen else "unseen_edge"
        scope = Scope(self._pools["seen"], frozenset(), seen)
        for attempt in range(COMPOSED):
            rng = seeded("composed", self.world.level, self.world.seed, split, str(shape), number, attempt)
            plan = sample(self.world, self.catalogue, scope, "nest", shape, rng)
            if plan is None or not self._side(split, [[c.name, c.arguments] for c in plan.calls]):
                continue
            try:
                text = request(self.world, plan, rng)
            except Ambiguous:
                continue
            return self._trace(split, number, _Made(plan, text, self._show(split, plan, rng)))
        return None

    def _other(self, world: int) -> Toolworld:
        """The source of the world that many seeds further on; made when first asked for."""
        if world not in self._others:
            spec = f"{self.world.level},seed={self.world.seed + world},tools={self.shown}"
            self._others[world] = Toolworld(spec)
        return self._others[world]

    # Making one trace

    def _seeds(self, split: str, what: str, of: str) -> Iterator[Random]:
        for attempt in range(ATTEMPTS):
            yield seeded("trace", self.world.level, self.world.seed, split, what, of, attempt)
        raise AssertionError(f"no {what} trace {of} of {split} in {ATTEMPTS} attempts")

    def _called(self, split: str, index: int, kind: str) -> Trace:
        # The shape is drawn before the first attempt and kept: some are put into words far more seldom than others,
        # and a shape drawn anew with each attempt would all but vanish.
        first = seeded("shape", self.world.level, self.world.seed, split, kind, index)
        kept = self._shape(split, kind, first)
        for attempt, rng in enumerate(self._seeds(split, kind, str(index))):
            plan = self._plan(split, kind, rng, kept if attempt < ATTEMPTS // 2 else self._shape(split, kind, rng))
            text = self._said(split, plan, rng) if plan else None
            if plan and text:
                return self._trace(split, index, _Made(plan, text, self._show(split, plan, rng)))
        raise AssertionError

    def _twin(self, split: str, index: int, kind: str, base: str) -> Trace:
        plan, text, tools, missing = self._base(split, base)
        twin = f"{text_key(split, base, text):016x}"
        if kind == "single":
            return self._trace(split, index, _Made(plan, text, tools, twin=twin))
        for rng in self._seeds(split, kind, base):
            if kind == "decline":
                said = "DECLINE" if self.world.style == "micro" else "DECLINE None of these tools can do that."
                gold = Answer(decision="decline", text=said, world=self.world.spec)
                shown = self._show(split, plan, rng, absent=True)
                return self._trace(split, index, _Made(plan, text, shown, gold, twin))
            if kind == "ask":
                gold = self._question(plan.calls[0].name, missing)
                asked = request(self.world, plan, rng, missing)
                return self._trace(split, index, _Made(plan, asked, tools, gold, twin))
            said, answer, facts = answerable(self.world, plan, rng)
            shown = self._show(split, plan, rng)
            if self._side(split, [said, sorted(t.name for t in shown)]):
                gold = Answer(decision="answer", text=answer, facts=facts, world=self.world.spec)
                return self._trace(split, index, _Made(plan, said, shown, gold, twin))
        raise AssertionError

    def _base(self, split: str, base: str) -> tuple[Plan, str, tuple[Tool, ...], str]:
        """The single call that a family of twins shares, its request and tools, and what `ask` leaves out."""
        for rng in self._seeds(split, "single", base):
            plan = self._plan(split, "single", rng, self._shape(split, "single", rng))
            if plan is None:
                continue
            text = self._said(split, plan, rng)
            call = plan.calls[0]
            missing = rng.choice([p.name for p in self.world.specs[call.name].params if p.required])
            rest = {k: v for k, v in call.arguments.items() if k != missing}
            if text and self._side(split, [call.name, missing, rest]):
                return plan, text, self._show(split, plan, rng), missing
        raise AssertionError

    def _plan(self, split: str, kind: str, rng: Random, shape: Shape) -> Plan | None:
        scope = self._scopes.get(split, self._scope)
        plan = sample(self.world, self.catalogue, scope, kind, shape, rng)
        return plan if plan and self._side(split, [[c.name, c.arguments] for c in plan.calls]) else None

    def _shape(self, split: str, kind: str, rng: Random) -> Shape:
        style = self.world.style
        beyond = split in ("unseen_depth", "unseen_width")
        if kind == "nest":
            return rng.choice(SHAPES[style, split.removeprefix("unseen_") if beyond else "seen"])
        return ((),) * (1 if kind == "single" else rng.choice(LENGTHS[style, "beyond" if beyond else "seen"]))

    def _said(self, split: str, plan: Plan, rng: Random) -> str | None:
        try:
            text = request(self.world, plan, rng)
        except Ambiguous:
            return None
        return text if self.world.style == "full" or len(text.split()) <= WORDS[split] else None

    def _side(self, split: str, content: object) -> bool:
        """Whether content may be in the split: `train` and `test` part everything between them."""
        if split not in ("train", "test"):
            return True
        key = text_key("side", self.world.spec, canonical(content).decode())
        return (key % 2 == 0) == (split == "train")

    def _question(self, name: str, missing: str) -> Answer:
        text = f"ASK {missing}"
        if self.world.style == "full":
            text = f"ASK {self.world.specs[name].by_name[missing].question} ({missing})"
        return Answer(decision="ask", text=text, facts=(missing,), world=self.world.spec)

    def _show(self, split: str, plan: Plan, rng: Random, absent: bool = False) -> tuple[Tool, ...]:
        """The tools of the plan among others, in random order; half of the others share verb or noun.

        With `absent`, the plan's own are left out.
        """
        gold = list(dict.fromkeys(c.name for c in plan.calls))
        banned = set(gold) | {n for group in ALIKE if group & set(gold) for n in group}
        shown = [] if absent else list(gold)
        wanted = max(self.shown, len(shown) + 1)
        specs, own = self.world.specs, [self.world.specs[n] for n in gold]
        for _ in range(50 * wanted):
            if len(shown) >= wanted:
                break
            hidden = split == "unseen_tool" and rng.random() < 0.5
            name = rng.choice(self._pools["unseen" if hidden else "seen"])
            if name in banned or name in shown:
                continue
            near = any(specs[name].verb == s.verb or specs[name].noun == s.noun for s in own)
            if near or rng.random() < 0.12:  # about an eighth of all tools are near: this makes it half and half
                shown.append(name)
        rng.shuffle(shown)
        return tuple(specs[n].tool for n in shown)

    def _trace(self, split: str, index: int, made: _Made) -> Trace:
        level, plan, gold = self.world.level, made.plan, made.gold
        called = gold is None
        said, facts = reply(self.world, plan)
        if gold is None:
            gold = Answer(
                calls=plan.calls,
                ordered=plan.kind == "chain",
                facts=facts,
                result=outcome(plan.calls, plan.results),
                world=self.world.spec,
            )
        return Trace(
            tools=made.tools,
            messages=(Message(role="user", text=made.text),),
            gold=gold,
            results=plan.results if called else (),
            reply=said if called else gold.text,
            traits={
                "level": level,
                "kind": plan.kind if called else gold.decision,
                "depth": plan.depth if called else 0,
                "width": plan.width if called else 0,
                "fan_in": plan.fan_in if called else 0,
                "n_calls": len(plan.calls) if called else 0,
                "n_tools": len(made.tools),
                "unseen": split.removeprefix("unseen_") if split.startswith("unseen_") else "none",
                "from": _from(plan.calls) if called else "",
                "words": len(made.text.split()),
                "twin": made.twin,
            },
            origin=Origin(
                dataset="toolworld", row=f"{level}-{self.world.seed}-{split}-{index}", licence=LICENCE, split=split
            ),
        )


def _from(calls: tuple[Call, ...]) -> str:
    """Where the arguments come from: `request`, `result`, or both."""
    linked = sum(bool(references(c)) for c in calls)
    given = any(not isinstance(v, str) or not v.startswith("$") for c in calls for v in c.arguments.values())
    return "+".join(filter(None, ("request" if given else "", "result" if linked else "")))


plugin = Toolworld
