"""Several replies to one prompt: which are asked, when two are the same turn, and what a vote makes of them.

A vote is on canonical turns: schema defaults filled in, keys sorted, numbers and texts as the verifier compares
them, references followed, calls that do not hang on one another in any order. Two probes draw the same replies (the
same samples at the same seeds have the same keys), so that they are asked for once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from callgrain.core.canonical import text_key
from callgrain.core.schema import depth
from callgrain.core.types import Json, Message, Sample, Sampling, Tool
from callgrain.probes._confidence_slots import scores
from callgrain.probes._graded import Graded, grouped
from callgrain.probes._pool import Pool, Row
from callgrain.verify.match import Graph
from callgrain.verify.values import text, with_defaults
from callgrain.verify.verdict import branch

DRAWS = 8
"""Replies to one prompt: enough for pass^8, and for votes of 2, 4 and 8."""
ITEMS = 40
"""Samples that are drawn anew: with DRAWS 320 prompts, half a minute at ten replies a second."""
TEMPERATURE = 0.7
FEWEST, ENOUGH = 3, 0.75
"""A vote ends early once that many replies are there and this share of them agrees."""
ORDERS = 24
"""Orders of the drawn replies over which a vote is averaged."""
DEEP = 24
"""Values nested deeper than this are compared as they stand."""


def chosen(pool: Pool, most: int) -> list[Row]:
    """At most `most` rows of the pool in turn from each sub-task, of traces not yet taken as far as there are any.

    Replies in free text are left out: they say the same in many ways, and their slots are no choices.
    """
    queues = [list(rows) for name, rows in grouped(pool.rows, lambda r: r[1].subtask).items() if name != "response"]
    out: list[Row] = []
    used: set[str] = set()
    while len(out) < most and any(queues):
        for queue in filter(None, queues):
            place = next((n for n, row in enumerate(queue) if row[0] not in used), 0)
            row = queue.pop(place)
            used.add(row[0])
            out.append(row)
    return out[:most]


def draws(pool: Pool) -> Iterator[Sample]:
    """The samples of which each is asked DRAWS times, with the traits `of` and `draw` (0, 1, ...)."""
    has_scores = pool.abilities.reach("scores")
    for _, sample in chosen(pool, ITEMS):
        for number in range(DRAWS):
            sampling = Sampling(temperature=TEMPERATURE, seed=number + 1, scores=has_scores)
            traits = {**sample.traits, "of": sample.key, "draw": number}
            prompt = sample.prompt.model_copy(update={"sampling": sampling})
            yield sample.model_copy(update={"prompt": prompt, "traits": traits})


@dataclass(frozen=True)
class Said:
    """One drawn reply: the turn it is ("" where it is none), in which order it makes its calls, and its weight."""

    turn: str
    order: str
    ok: bool
    weight: float
    tokens: int


@dataclass(frozen=True)
class Item:
    """All drawn replies to one sample."""

    of: str
    trace: str
    subtask: str
    said: tuple[Said, ...]


def items(graded: Sequence[Graded], probe: str) -> list[Item]:
    """What was drawn for `probe`, by sample, as far as all of it counts."""
    own = [g for g in graded if g.probe == probe and "draw" in g.sample.traits]
    out: list[Item] = []
    for of, drawn in grouped(own, lambda g: str(g.sample.traits["of"])).items():
        found = sorted(drawn, key=lambda g: int(g.sample.traits["draw"]))
        if len(found) == DRAWS and all(g.counts for g in found):
            out.append(Item(of, found[0].trace or of, found[0].sample.subtask, tuple(map(_said, found))))
    return out


def _said(graded: Graded) -> Said:
    turn, order = canonical(graded.sample, graded.reply.message)
    own = scores(graded.reply)
    weight = 1.0 if own is None else math.exp(own["slot_logprob"])
    return Said(turn, order, graded.verdict.ok, weight, graded.reply.usage.get("completion_tokens", 0))


# when two turns are the same --------------------------------------------------------------------


def canonical(sample: Sample, message: Message | None) -> tuple[str, str]:
    """(turn, turn in its order of calls) in a spelling that equal turns share; empty for no turn."""
    if message is None:
        return "", ""
    if not message.calls:
        said = branch(message)
        spelt = f"{said}:{' '.join(text(message.text).split())}" if said == "answer" else said
        return spelt, spelt
    tools = {tool.name: tool for tool in sample.prompt.tools}
    calls = [
        call.model_copy(
            update={"arguments": {} if sample.subtask == "names" else _typed(call.arguments, tools.get(call.name))}
        )
        for call in message.calls
    ]
    found = Graph(calls).unfolded
    return "call:" + ",".join(sorted(found)), "call:" + ",".join(found)


def _typed(arguments: dict[str, Json], tool: Tool | None) -> dict[str, Json]:
    if depth(arguments, DEEP + 1) > DEEP:
        return arguments
    properties = tool.properties if tool else {}
    return {k: _plain(v, properties.get(k)) for k, v in with_defaults(arguments, properties).items()}


def _plain(value: Json, schema: Any) -> Json:
    """The value as `verify.values.equal` takes it: 5.0 is 5, texts in NFC, defaults of fields filled in."""
    own: dict[str, Any] = schema if isinstance(schema, dict) else {}
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item, own.get("items")) for item in value]
    if isinstance(value, dict):
        inner: Any = own.get("properties")
        fields: dict[str, Any] = inner if isinstance(inner, dict) else {}
        return {k: _plain(v, fields.get(k)) for k, v in with_defaults(value, fields).items()}
    return value


# votes ------------------------------------------------------------------------------------------


def winner(said: Sequence[Said], *, is_weighted: bool = False) -> Said:
    """The turn most replies make, in the order of calls that most of those have; the first of equals.

    What was not read as a turn has no vote unless nothing else was said.
    """
    voters = [one for one in said if one.turn] or list(said)
    turn = _most(voters, [one.turn for one in voters], is_weighted)
    agreed = [one for one in voters if one.turn == turn]
    order = _most(agreed, [one.order for one in agreed], is_weighted)
    return next(one for one in agreed if one.order == order)


def _most(voters: Sequence[Said], ballots: Sequence[str], is_weighted: bool) -> str:
    tally: Counter[str] = Counter()
    for one, ballot in zip(voters, ballots, strict=True):
        tally[ballot] += one.weight if is_weighted else 1  # type: ignore[assignment] # a sum of weights
    return max(tally, key=lambda ballot: tally[ballot])


def stopped(said: Sequence[Said]) -> int:
    """How many replies are drawn until the vote is clear."""
    tally: Counter[str] = Counter()
    for count, one in enumerate(said, 1):
        tally[one.turn] += 1
        if count >= FEWEST and tally.most_common(1)[0][1] >= ENOUGH * count:
            return count
    return len(said)


@dataclass(frozen=True)
class Voted:
    """What votes on one item come to, each averaged over orders of its replies.

    `plain[j - 1]` and `weighted[j - 1]` are the chance that a vote of j is right, `early` of one that ends when it is
    clear, and `used` the replies it takes.
    """

    plain: tuple[float, ...]
    weighted: tuple[float, ...]
    early: float
    used: float

    @classmethod
    def on(cls, item: Item) -> Voted:
        """The votes on the item, over ORDERS orders that hang on its sample alone."""
        rng = Random(text_key("votes", item.of))
        count = len(item.said)
        plain, weighted, early, used = [0.0] * count, [0.0] * count, 0.0, 0.0
        for _ in range(ORDERS):
            order = rng.sample(item.said, count)
            for j in range(1, count + 1):
                plain[j - 1] += winner(order[:j]).ok / ORDERS
                weighted[j - 1] += winner(order[:j], is_weighted=True).ok / ORDERS
            end = stopped(order)
            early += winner(order[:end]).ok / ORDERS
            used += end / ORDERS
        return cls(tuple(plain), tuple(weighted), early, used)


def at_budget(voted: Sequence[Voted]) -> list[float]:
    """The chance of each item that a plain vote is right which takes as many replies on average as the early one.

    Votes of the two nearest sizes are mixed so that the mean number of replies is the same.
    """
    mean = sum(v.used for v in voted) / len(voted)
    below = min(len(voted[0].plain) - 1, max(1, math.floor(mean)))
    share = min(1.0, max(0.0, mean - below))
    return [(1 - share) * v.plain[below - 1] + share * v.plain[below] for v in voted]
