"""How an argument is asked for: by its name; in toolworld's small worlds, whose models know nothing else, by its cue.

Two parameters of one sense may not be asked for together: "toward oslo" would be the value of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random

from callgrain.core.types import Call, Json, Trace
from callgrain.tools._toolworld import SHORT, Universe
from callgrain.tools.toolworld import read_level, universe

PREFIX = "toolworld:"


@lru_cache(maxsize=16)
def _world(spec: str) -> Universe:
    level, others = read_level(spec.removeprefix(PREFIX))
    seed = others.removeprefix("seed=")
    return universe(level, int(seed) if seed.isdecimal() else 0)


def _small_world(trace: Trace) -> Universe | None:
    is_small = trace.traits.get("level") in SHORT and trace.gold.world.startswith(PREFIX)
    return _world(trace.gold.world) if is_small else None


def sense_and_words(trace: Trace, call: Call, name: str, value: Json) -> tuple[str, str]:
    """(what the parameter means, how its value is asked for)."""
    world = _small_world(trace)
    spec = world.specs.get(call.name) if world else None
    param = spec.by_name.get(name) if spec else None
    if world is None or param is None:
        return name.lower(), f"- {name}: {value}"
    return param.kind, param.cues[0].replace("{}", world.kinds[param.kind].says(value, Random(0)))


def request(trace: Trace, call: Call, words: Sequence[str]) -> str:
    """The whole request: a line for each value, or one sentence of the small world."""
    world = _small_world(trace)
    spec = world.specs.get(call.name) if world else None
    if spec is None:
        return "\n".join((f"Call {call.name} with these values:", *words))
    plain = [opener for opener in spec.openers if "{" not in opener]
    return " ".join((plain[0] if plain else call.name.replace("_", " "), *words))
