"""Conversations that a model makes itself: its own turns are the history, and what they give comes back.

A chain is a list of requests that go with each other. Each is asked alone at first, which is the control of its turn;
then turn after turn behind what the model said. Everything that the next turn needs stands in what was asked before it,
so that a run which was cut off goes on from its folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.types import Message, Reply, Result, Sample, Tool, Trace
from callgrain.probes._contamination_cells import marked
from callgrain.probes._contamination_history import (
    UNREAD,
    Earlier,
    Exchange,
    asked,
    given,
    goes_with,
    request_of,
    shaped,
)
from callgrain.probes._graded import Graded
from callgrain.sources._pool import gold_tools
from callgrain.subtasks._cut import tidy

CHAINS, STEPS = 12, 8
"""Chains, and turns of each: no request is in two, so that chains are independent."""
LEAST_CHAINS, LEAST_STEPS = 6, 4
"""Chains become shorter, down to this, before there are fewer than this."""


def chains(earlier: Earlier, of: Mapping[str, str], rng: Random) -> Iterator[Sample]:
    """Every request of every chain, asked alone; `of` leads from a trace's key to the pool's sample."""
    left = rng.sample(earlier.calls, len(earlier.calls))
    steps = min(STEPS, max(LEAST_STEPS, len(left) // LEAST_CHAINS))
    for number in range(min(CHAINS, len(left) // steps)):
        chain, tools = _chain(left, steps)
        if len(chain) < LEAST_STEPS:
            return
        shown = list(tools.values())
        rng.shuffle(shown)
        for turn, trace in enumerate(chain, 1):
            sample = asked(trace, shown)
            if sample is not None:
                by = {"arm": "alone", "chain": number, "turn": turn}
                yield marked(sample, of[earlier.behind[trace.key]], by)


def _chain(left: list[Trace], steps: int) -> tuple[list[Trace], dict[str, Tool]]:
    """Up to `steps` requests that go with each other, taken out of `left`, and the tools that they need."""
    chosen = [left.pop(0)]
    tools = {tool.name: tool for tool in gold_tools(chosen[0])}
    for trace in list(left):
        if len(chosen) == steps:
            break
        if goes_with(trace, chosen, tools):
            chosen.append(trace)
            left.remove(trace)
            tools |= {tool.name: tool for tool in gold_tools(trace)}
    return chosen, tools


Chain = dict[int, tuple[Graded, Graded | None]]
"""By turn: the request alone, and behind the model's own turns (None: not asked yet)."""


def walked(graded: Sequence[Graded]) -> list[Chain]:
    """The chains as far as they have come; a first turn has no history, so it is its own control."""
    alone: dict[int, dict[int, Graded]] = {}
    own: dict[tuple[int, int], Graded] = {}
    for one in graded:
        traits = one.sample.traits
        if one.probe != "contamination" or "contamination_chain" not in traits:
            continue
        chain, turn = int(traits["contamination_chain"]), int(traits["contamination_turn"])
        if traits["contamination_arm"] == "alone":
            alone.setdefault(chain, {})[turn] = one
        else:
            own[chain, turn] = one
    return [
        {turn: (one, one if turn == 1 else own.get((chain, turn))) for turn, one in sorted(turns.items())}
        for chain, turns in sorted(alone.items())
    ]


def next_turns(graded: Sequence[Graded]) -> Iterator[Sample]:
    """The next turn of every chain whose last one was answered."""
    for chain in walked(graded):
        history: list[Message] = []
        for turn, (alone, own) in chain.items():
            if own is None:
                sample = alone.sample
                system, *request = sample.prompt.messages
                prompt = sample.prompt.model_copy(update={"messages": (system, *history, *request)})
                traits = {**sample.traits, "contamination_arm": "own", "contamination_turns": turn - 1}
                yield sample.model_copy(update={"prompt": prompt, "traits": traits})
                break
            if own.reply.failure is not None:
                break
            history += said(own.sample, own.reply).messages


def said(sample: Sample, reply: Reply) -> Exchange:
    """What the model made of a request, and what its environment gave back."""
    request = sample.prompt.messages[-1].text
    message = reply.message
    if message is None:
        return Exchange(request, Message(role="assistant", text=reply.text), note=UNREAD)
    turn = Message(role="assistant", text=message.text, calls=tidy(message.calls))
    if not turn.calls:
        return Exchange(request, turn, closing="")
    tools = {tool.name: tool for tool in sample.prompt.tools}
    known: dict[str, Result] = {}
    for call in sample.answer.calls:
        bare = call.model_copy(update={"label": None})
        value = shaped(tools.get(call.name), Random(text_key("contamination", "given", bare.key)))
        known[bare.key] = Result(name=call.name, value=value)
    return Exchange(request, turn, given(turn.calls, sample.prompt.tools, sample.answer.world, known))


__all__ = ["CHAINS", "LEAST_STEPS", "STEPS", "Chain", "chains", "next_turns", "request_of", "said", "walked"]
