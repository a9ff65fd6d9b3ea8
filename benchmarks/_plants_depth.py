"""Planted costs of depth, width and unseen edges, and errors planted call by call."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from random import Random

from benchmarks._planting import Covered, Found, Planted, cut, pick, put, questions, simulate
from callgrain.core import plugins, stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Call, Prompt, Reply, Sample, Sampling
from callgrain.dialects._recover import spoken
from callgrain.probes.depth import Depth
from callgrain.tools._execute import shape

COSTS = {"depth": -0.9, "width": -0.5, "fan_in": 0.0, "overlap": 1.2}
"""Log-odds a step."""
LOCAL = 0.15
"""Each call goes wrong by itself this often, whatever its place."""


def chance(sample: Sample) -> float:
    """Logistic in the factors; unplanted samples are right."""
    if "depth_overlap" not in sample.traits:
        return 1.0
    values: dict[str, float] = dict(shape(sample.answer.calls))
    values["overlap"] = float(sample.traits["depth_overlap"])
    return 1 / (1 + exp(-(3.2 + sum(cost * values[name] for name, cost in COSTS.items()))))


class Erring(Planted):
    """Each call of the right answer goes wrong by itself at the rate LOCAL; the others are fed by what it gives."""

    def _one(self, prompt: Prompt) -> Reply:
        sample = self._known[prompt.model_copy(update={"sampling": Sampling()}).key]
        rng = Random(text_key(str(self.seed), prompt.key))
        calls = tuple(_spoilt(c) if rng.random() < LOCAL else c for c in sample.answer.calls)
        dialect = plugins.load("dialects", "json")()
        return spoken(dialect, dialect.write(sample.answer.message.model_copy(update={"calls": calls})))


def _spoilt(call: Call) -> Call:
    """The call with a value that its world refuses."""
    name = next(iter(call.arguments), "no_such_parameter")
    return call.model_copy(update={"arguments": {**call.arguments, name: "no such value"}})


def plants(quick: bool) -> Iterator[Found]:
    """The costs and the ledger, through the verifier."""
    pool = cut("toolworld:full", ("nest", "names"), 30 if quick else 100)
    asked = questions(Depth(), "depth", pool)
    found = Depth().read(put(Planted(chance), asked))
    for name, cost in COSTS.items():
        yield Found(f"log-odds of {name}", cost, pick(found, "effect", factor=name))
    erring = Depth().read(put(Erring(lambda _: 1.0), asked))
    yield Found("each call wrong by itself", LOCAL, pick(erring, "ledger", state="local"))
    yield Found("the same at level 1", LOCAL, pick(erring, "ledger", state="local", depth=1))
    yield Found("level 1 has nothing to propagate", 0.0, pick(erring, "ledger", state="propagation", depth=1))
    right = [
        (1 - LOCAL) ** len(_needed(s.answer.calls, i))
        for p, _, s in asked
        if p == "depth"
        for i in range(len(s.answer.calls))
    ]
    yield Found("right by all it needs", sum(right) / len(right), pick(erring, "ledger", state="correct"))


def _needed(calls: tuple[Call, ...], index: int) -> set[int]:
    """The call itself and every call that it hangs on."""
    at = {c.label: i for i, c in enumerate(calls)}
    found, open_ = {index}, [index]
    while open_:
        for ref in calls[open_.pop()].references:
            if at[ref.label] not in found:
                found.add(at[ref.label])
                open_.append(at[ref.label])
    return found


def coverage(runs: int) -> Iterator[Covered]:
    """Effects over simulated runs, and a ledger's share whose calls go wrong together within an answer."""
    pool = cut("toolworld:full", ("nest", "names"), 100)
    asked = questions(Depth(), "depth", pool)
    held = dict.fromkeys(COSTS, 0)
    for seed in range(runs):
        found = Depth().read(simulate(asked, chance, seed))
        for name, cost in COSTS.items():
            row = pick(found, "effect", factor=name)
            held[name] += row is not None and (row.low or 0) <= cost <= (row.high or 0)
    for name, count in held.items():
        yield Covered(f"effect of {name}", count, runs)
    sizes = [len(s.answer.calls) for p, _, s in asked if p == "depth"]
    inside = 0
    for seed in range(runs):
        rng = Random(seed)
        hits: list[bool] = []
        keys: list[str] = []
        for key, size in enumerate(sizes):
            rate = rng.choice((0.02, 0.28))
            hits += [rng.random() < rate for _ in range(size)]
            keys += [str(key)] * size
        _, low, high = stats.clustered_share(hits, keys)
        inside += low is not None and high is not None and low <= LOCAL <= high
    yield Covered("share of a state in the ledger, clustered by answer", inside, runs)
