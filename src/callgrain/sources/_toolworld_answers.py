"""Requests of toolworld that need no tool: what they say and what is right.

Half of them speak of the very request whose twin they are, with its tools in sight: whoever calls
whenever a tool matches the words is caught there. The other half is common knowledge.
"""

from __future__ import annotations

from random import Random

from callgrain.core.types import Ref
from callgrain.sources._toolworld_graph import Plan
from callgrain.sources._toolworld_words import body, request
from callgrain.tools._toolworld import Universe
from callgrain.tools._toolworld_kinds import MONTHS, WEEKDAYS

_THINGS = {
    "city": "city",
    "person": "person",
    "email": "email address",
    "brand": "brand",
    "colour": "colour",
    "cuisine": "cuisine",
    "genre": "genre",
}
_OPPOSITES = {"cheap": "expensive", "early": "late", "near": "far", "open": "closed", "large": "small", "fast": "slow"}
_CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Norway": "Oslo",
    "Egypt": "Cairo",
    "Peru": "Lima",
    "Japan": "Tokyo",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Greece": "Athens",
}


def answerable(world: Universe, plan: Plan, rng: Random) -> tuple[str, str, tuple[str, ...]]:
    """(request, right answer, facts) of a request that needs no tool."""
    made = _about_request(world, plan, rng) if rng.random() < 0.5 else None
    if made is None:
        made = _micro_common(world, rng) if world.style == "micro" else _common(rng)
    return made


def _about_request(world: Universe, plan: Plan, rng: Random) -> tuple[str, str, tuple[str, ...]] | None:
    """A question about something that the user says to have asked before."""
    call = plan.calls[0]
    spec = world.specs[call.name]
    kinds = [spec.by_name[n].kind for n in call.arguments]
    asked = [
        (kind, str(value))
        for kind, value in zip(kinds, call.arguments.values(), strict=True)
        if kinds.count(kind) == 1 and Ref.read(value) is None and (world.style == "micro" or kind in _THINGS)
    ]
    if not asked:
        return None
    kind, value = rng.choice(asked)
    if world.style == "micro":
        return f"yesterday i did {body(world, plan, rng)} which {kind} was that", value, (value,)
    quoted = request(world, plan, rng)
    thing = _THINGS[kind]
    question = rng.choice((f"Which {thing} did I mention there?", f"What was the {thing} in that message?"))
    return f"Yesterday I sent you this message: “{quoted}” {question}", f"The {thing} was {value}.", (value,)


def _micro_common(world: Universe, rng: Random) -> tuple[str, str, tuple[str, ...]]:
    roll = rng.random()
    if roll < 0.15:
        said, answer = rng.choice((("hello", "hello"), ("thanks", "welcome")))
        return said, answer, (answer,)
    if roll < 0.4:
        days = [d.lower() for d in WEEKDAYS]
        at = rng.randrange(7)
        after = rng.random() < 0.5
        answer = days[(at + (1 if after else -1)) % 7]
        return f"which day {'follows' if after else 'precedes'} {days[at]}", answer, (answer,)
    kind = world.kinds[rng.choice(sorted(world.kinds))]
    value = str(kind.draw(rng))
    if roll < 0.7:
        return f"what is {value}", kind.name, (kind.name,)
    return f"say {value}", value, (value,)


def _common(rng: Random) -> tuple[str, str, tuple[str, ...]]:
    roll = rng.randrange(6)
    if roll == 0:
        said = rng.choice(("Thanks, that is all for today.", "Thank you, I don't need anything else."))
        return said, "You are welcome!", ()
    if roll == 1:
        at = rng.randrange(12)
        answer = MONTHS[(at + 1) % 12]
        return f"Which month comes after {MONTHS[at]}?", f"{answer} comes after {MONTHS[at]}.", (answer,)
    if roll == 2:
        at = rng.randrange(7)
        answer = WEEKDAYS[(at + 1) % 7]
        return f"Which day of the week follows {WEEKDAYS[at]}?", f"{answer} follows {WEEKDAYS[at]}.", (answer,)
    if roll == 3:
        word = rng.choice(sorted(_OPPOSITES))
        return f"What is the opposite of “{word}”?", f"The opposite is “{_OPPOSITES[word]}”.", (_OPPOSITES[word],)
    if roll == 4:
        land = rng.choice(sorted(_CAPITALS))
        return f"What is the capital of {land}?", f"The capital of {land} is {_CAPITALS[land]}.", (_CAPITALS[land],)
    hours = rng.randint(2, 12)
    return f"How many minutes are there in {hours} hours?", f"That is {hours * 60} minutes.", (str(hours * 60),)
