"""One step more: a call that needs the result of the last, made, run and put into words by the source's own graph.

Only the built-in world can do it: it knows what feeds what, runs every call, and says a reference so that it can
only be that one. The new clause stands behind the request, whose words stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from callgrain.core.types import Answer, Call, Json, Ref, Tool, Trace
from callgrain.probes._shift_twins import plain
from callgrain.sources._edits import derived
from callgrain.sources._pool import Pool, gold_tools
from callgrain.sources._toolworld_graph import LABELS, Plan
from callgrain.sources._toolworld_words import THEN, Ambiguous, clause_of
from callgrain.sources._wrapping import SkipError
from callgrain.sources.toolworld import ALIKE
from callgrain.tools._catalogue import open_world
from callgrain.tools._execute import execute, outcome, references, shape
from callgrain.tools._toolworld import Universe
from callgrain.tools.toolworld import read_level, universe

TRIES = 24
"""Calls that are tried as the next step before a trace is given up."""


def deeper(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The trace with one more call behind its last, which uses that one's result. Raises SkipError."""
    del others
    plain(trace)
    gold = trace.gold
    if not gold.world.startswith("toolworld:") or len(trace.messages) != 1 or len(gold.calls) >= len(LABELS):
        raise SkipError("no world that can make a step more")
    if gold.ordered or (len(gold.calls) > 1 and not any(references(call) for call in gold.calls)):
        raise SkipError("calls that hang on nothing")
    world = _universe(gold.world)
    labels = [call.label or LABELS[i] for i, call in enumerate(gold.calls)]
    calls = tuple(c.model_copy(update={"label": label}) for c, label in zip(gold.calls, labels, strict=True))
    parents = tuple(_parents(call, labels) for call in calls)
    for call in _next(world, calls[-1], trace, rng):
        longer = (*calls, call)
        results = execute(longer, open_world(gold.world))
        if any(result.error is not None for result in results):
            continue
        plan = Plan("nest", longer, (*parents, (len(calls) - 1,)), results)
        try:
            clause = clause_of(world, plan, len(calls), rng, "")
        except Ambiguous:
            continue
        text = _joined(trace.messages[0].text, clause, world.style, rng)
        return derived(
            trace,
            "deeper",
            tools=_shown(trace, world.specs[call.name].tool, rng),
            messages=(trace.messages[0].model_copy(update={"text": text}),),
            gold=Answer(calls=longer, result=outcome(longer, results), world=gold.world),
            results=results,
            reply="",
            traits={"kind": "nest", **shape(longer)},
        )
    raise SkipError("no step that can be said clearly")


def _universe(spec: str) -> Universe:
    """The universe behind an answer's world, as the source opened it."""
    level, options = read_level(spec.partition(":")[2])
    return universe(level, int(options.removeprefix("seed=") or 0))


def _parents(call: Call, labels: list[str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(labels.index(ref.label) for ref in references(call)))


def _next(world: Universe, last: Call, trace: Trace, rng: Random) -> Iterator[Call]:
    """Calls of tools not used yet, fed by a field of the last call; seen tools and edges for a trace of such."""
    used = {call.name for call in trace.gold.calls}
    banned = used | {name for group in ALIKE if group & {tool.name for tool in trace.tools} for name in group}
    seen = True if trace.traits.get("unseen") == "none" else None
    found = [
        (name, param.name, field)
        for name, spec in world.specs.items()
        if name not in banned and (seen is None or world.seen_tool(name))
        for param in spec.params
        if not param.many
        for producer, field in world.feeders(name, param.name, seen)
        if producer == last.name
    ]
    for name, fed, field in rng.sample(found, min(TRIES, len(found))):
        arguments: dict[str, Json] = {}
        for param in world.specs[name].params:
            if param.name == fed:
                arguments[fed] = str(Ref(label=last.label or "", path=field))
            elif param.required:
                drawn = world.kinds[param.kind].draw(rng)
                arguments[param.name] = [drawn] if param.many else drawn
        yield Call(name=name, arguments=arguments, label=LABELS[len(trace.gold.calls)])


def _joined(text: str, clause: str, style: str, rng: Random) -> str:
    """The request with the clause before its end."""
    said = text.rstrip()
    for end in (".", "?", " please"):
        if said.endswith(end):
            return f"{said.removesuffix(end)}{rng.choice(THEN[style])}{clause}{end}"
    return f"{said}{rng.choice(THEN[style])}{clause}"


def _shown(trace: Trace, tool: Tool, rng: Random) -> tuple[Tool, ...]:
    """The tools with the one that the step needs, in the place of one that nothing needs where there is such."""
    if any(t.name == tool.name for t in trace.tools):
        return trace.tools
    own = gold_tools(trace)
    spare = [i for i, t in enumerate(trace.tools) if t not in own]
    if not spare:
        return (*trace.tools, tool)
    place = rng.choice(spare)
    return (*trace.tools[:place], tool, *trace.tools[place + 1 :])
