"""Doubles that are right at a known rate on each item: pass@k, pass^k and identical verdicts against their truth."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np

from benchmarks._planting import Covered, Found, Planted, cut, diagnosed, pick
from callgrain.core.canonical import text_key
from callgrain.core.types import Sample
from callgrain.probes import reliability
from callgrain.probes._votes import DRAWS, ITEMS, Item, Said, chosen

SUBTASKS = ("names", "slots", "full", "parallel")
EASY, HARD = 0.95, 0.4


def rate(sample: Sample) -> float:
    """The planted rate of an item: two kinds, told apart by what is asked."""
    return EASY if text_key("kind", str(sample.prompt.messages[-1].text)) % 2 else HARD


def plants(quick: bool) -> Iterator[Found]:
    """Even rates, two kinds of items, and a double that is always right."""
    pool = cut("toolworld:full", SUBTASKS, 40 if quick else 120)
    for state, chance in (
        ("every item at 0.8", lambda _: 0.8),
        ("items at 0.95 or 0.4", rate),
        ("always right", lambda _: 1.0),
    ):
        rates = np.array([chance(sample) for _, sample in chosen(pool, ITEMS)])
        found = diagnosed(reliability.Reliability(), "reliability", pool, Planted(chance, seed=3))
        for k in (1, 4, 8):
            yield Found(f"{state}: pass@{k}", float((1 - (1 - rates) ** k).mean()), pick(found, "pass_at", k=k))
            yield Found(f"{state}: pass^{k}", float((rates**k).mean()), pick(found, "pass_hat", k=k))
        same = float((rates**DRAWS + (1 - rates) ** DRAWS).mean())
        yield Found(f"{state}: same verdict 8 times", same, pick(found, "identical", what="verdict"))
        gap = float((rates**8).mean() - rates.mean() ** 8)
        yield Found(f"{state}: pass^8 beyond chance", gap, pick(found, "gap", k=8))


def coverage(runs: int) -> Iterator[Covered]:
    """Items drawn from a spread of rates: the truth is that of the whole spread."""
    rng = np.random.default_rng(0)
    whole = rng.beta(2.0, 1.0, 1_000_000)
    truths = {
        "pass_at k=1": whole.mean(), "pass_at k=4": (1 - (1 - whole) ** 4).mean(), "pass_hat k=2": (whole**2).mean(),
        "pass_hat k=4": (whole**4).mean(), "pass_hat k=8": (whole**8).mean(),
        "identical": (whole**8 + (1 - whole) ** 8).mean(),
        "gap k=4": (whole**4).mean() - whole.mean() ** 4, "gap k=8": (whole**8).mean() - whole.mean() ** 8,
    }  # fmt: skip
    held = dict.fromkeys(truths, 0)
    for _ in range(runs):
        rights = rng.binomial(DRAWS, rng.beta(2.0, 1.0, ITEMS)).tolist()
        items = [_item(n, right) for n, right in enumerate(rights)]
        for row in (*reliability.passes(items), *reliability.sameness(items)):
            name = f"{row.name} k={row.by['k']}" if "k" in row.by else row.name
            if name in truths and row.by.get("what", "verdict") == "verdict" and row.low is not None:
                held[name] += row.low <= truths[name] <= (row.high or 0.0)
    for name, count in held.items():
        yield Covered(name, count, runs)


def _item(number: int, right: int) -> Item:
    said = [Said("call:a", "call:a", True, 1.0, 1)] * right + [Said("call:b", "call:b", False, 1.0, 1)] * (
        DRAWS - right
    )
    Random(number).shuffle(said)
    return Item(str(number), str(number), "full", tuple(said))
