"""From executed calls to words: requests, references to earlier results, replies.

Words are the last step, so the gold never has to be read out of them. A plan that these words
cannot tell apart from another is refused with Ambiguous, and the source draws again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import cast

from callgrain.core.types import Call, Json, Ref
from callgrain.sources._toolworld_graph import Plan
from callgrain.tools._toolworld import Field, Spec, Universe

_SLOT = re.compile(r"\{([a-z_]+)\}")
ORDINALS = ("first", "second", "third", "fourth", "fifth")
AND = {"micro": (" and ", " plus ", " and also "), "full": (", and ", " and also ", ", and also ")}
THEN = {"micro": (" then ", " and then "), "full": (", then ", ", and then ", " and then ")}
AFTER = {"micro": (" and after that ", " then "), "full": (", and after that ", ", then ", ", and once that is done ")}
FRAMES = {
    "micro": ("{}", "{}", "please {}", "kindly {}", "could you {}", "i want to {}", "{} please"),
    "full": ("{}.", "Please {}.", "Could you {}?", "I'd like you to {}.", "I need you to {}.", "Can you {}?"),
}


class Ambiguous(Exception):
    """These words would have two readings."""


def request(world: Universe, plan: Plan, rng: Random, missing: str = "") -> str:
    """The request that asks for exactly the plan; `missing` leaves out a parameter of its only call."""
    text = body(world, plan, rng, missing)
    frames = FRAMES[world.style]
    if world.style == "full":
        frame = rng.choice(frames)
        said = frame.replace("{}", text)
        return said[0].upper() + said[1:]
    fronted = text.split(" ", 1)[0] in _cue_words(world, plan)
    return text if fronted else rng.choice(frames).replace("{}", text)


def body(world: Universe, plan: Plan, rng: Random, missing: str = "") -> str:
    """The clauses of a plan, joined as its kind demands."""
    level = world.style
    clauses = [clause_of(world, plan, n, rng, missing) for n in range(len(plan.calls))]
    if plan.kind == "chain" and rng.random() < 0.5:
        joint = " then " if level == "micro" else ", then "
        return "first " + joint.join(clauses)
    text = clauses[0]
    for n, clause in enumerate(clauses[1:], 1):
        if plan.kind == "chain":
            joint = rng.choice(AFTER[level])
        else:
            joint = rng.choice((THEN if plan.parents[n] else AND)[level])
        text += joint + clause
    return text


def _cue_words(world: Universe, plan: Plan) -> set[str]:
    return {c.split()[0] for call in plan.calls for p in world.specs[call.name].params for c in p.cues}


def clause_of(world: Universe, plan: Plan, index: int, rng: Random, missing: str) -> str:
    """The words for one call of a plan; `missing` leaves out a parameter. Raises Ambiguous."""
    call, spec = plan.calls[index], world.specs[plan.calls[index].name]
    said = {name: _value(world, plan, index, name, rng) for name in call.arguments if name != missing}
    said_missing = {missing: spec.by_name[missing].vague} if missing and spec.by_name[missing].vague else {}
    opener = _opener(world, plan, index, said, rng)
    slots = _SLOT.findall(opener)
    for slot in slots:
        opener = opener.replace(f"{{{slot}}}", said.get(slot) or said_missing[slot])
    cues = [rng.choice(spec.by_name[n].cues).replace("{}", v) for n, v in said.items() if n not in slots]
    micro = world.style == "micro"
    if micro or rng.random() < 0.3:
        rng.shuffle(cues)
    if micro and index and not slots and _repeats(plan, index) and rng.random() < 0.5:
        return " ".join(("another", *cues))
    if micro and not index and cues and not slots and plan.kind != "chain" and rng.random() < 0.15:
        return " ".join((cues[0], opener, *cues[1:]))
    return " ".join((opener, *cues))


def _repeats(plan: Plan, index: int) -> bool:
    """Whether the call is of the same tool as the one before: "... and another ..."."""
    return plan.kind == "parallel" and plan.calls[index].name == plan.calls[index - 1].name


def _opener(world: Universe, plan: Plan, index: int, said: dict[str, str], rng: Random) -> str:
    spec = world.specs[plan.calls[index].name]
    if spec.pronoun:
        ref = Ref.read(plan.calls[index].arguments.get("item"))
        if ref and _producer(world, plan, ref)[1].noun == spec.noun and said["item"].split()[0] in ("it", "that"):
            return rng.choice(spec.pronoun)
    if any(text == "it" for text in said.values()):  # "rate a tour using it" is clear only for one noun
        raise Ambiguous
    return rng.choice(spec.openers)


def _producer(world: Universe, plan: Plan, ref: Ref) -> tuple[int, Spec, Field]:
    index = next(n for n, c in enumerate(plan.calls) if c.label == ref.label)
    spec = world.specs[plan.calls[index].name]
    return index, spec, next(f for f in spec.fields if f.name == ref.path)


def _value(world: Universe, plan: Plan, index: int, name: str, rng: Random) -> str:
    """How an argument is said; a list as "x, y and z"."""
    value = plan.calls[index].arguments[name]
    kind = world.kinds[world.specs[plan.calls[index].name].by_name[name].kind]
    parts: list[str] = []
    for item in cast("list[Json]", value) if isinstance(value, list) else [value]:
        ref = Ref.read(item)
        parts.append(_reference(world, plan, index, ref, rng) if ref else kind.says(item, rng))
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _reference(world: Universe, plan: Plan, index: int, ref: Ref, rng: Random) -> str:
    """How a clause speaks of an earlier result so that it can only be that one."""
    producer, spec, field = _producer(world, plan, ref)
    near = index == 1 and spec.noun == world.specs[plan.calls[1].name].noun
    if field.it and near and rng.random() < 0.5:
        return "it"
    phrase = rng.choice(field.refs)
    same = [n for n in range(index) if any(phrase in f.refs for f in world.specs[plan.calls[n].name].fields)]
    if world.style == "full":
        _check_full(world, plan, index, spec, same)
    elif _said_before(world, plan, index, field):
        phrase = phrase.replace("that ", "the resulting ")
        return phrase.replace("the ", f"the {ORDINALS[same.index(producer)]} ") if len(same) > 1 else phrase
    if len(same) > 1:
        phrase = phrase.replace("that ", f"the {ORDINALS[same.index(producer)]} ")
    return phrase


def _said_before(world: Universe, plan: Plan, index: int, field: Field) -> bool:
    """Whether a value of the field's kind stands in the request itself: "that city" could be it."""
    for call in plan.calls[: index + 1]:
        for name, value in call.arguments.items():
            if world.specs[call.name].by_name[name].kind == field.kind and Ref.read(value) is None:
                return True
    return False


def _check_full(world: Universe, plan: Plan, index: int, spec: Spec, same: Sequence[int]) -> None:
    """Refuse what an ordinal cannot settle: raises Ambiguous."""
    tools = {plan.calls[n].name for n in same}
    if len(same) > 1 and (len(tools) > 1 or any(plan.parents[n] for n in same)):
        raise Ambiguous
    for n, call in enumerate(plan.calls[:index]):
        other = world.specs[call.name]
        if n not in same and other.noun == spec.noun and _names_an_id(other, call):
            raise Ambiguous


def _names_an_id(spec: Spec, call: Call) -> bool:
    return any(p.kind.startswith(spec.noun) and Ref.read(call.arguments.get(p.name)) is None for p in spec.params)


def reply(world: Universe, plan: Plan) -> tuple[str, tuple[str, ...]]:
    """(sentence, facts): what the last results say, at most two fields of each."""
    parts: list[str] = []
    facts: list[str] = []
    for n in plan.sinks:
        spec, value = world.specs[plan.calls[n].name], plan.results[n].value
        for field in spec.fields[:2]:
            text = str(value[field.name] if field.name else value)
            named = world.style == "micro" or spec.noun in field.phrase
            phrase = field.phrase if named else f"{spec.noun} {field.phrase}"
            parts.append(f"the {phrase} is {text}")
            facts.append(text)
    sentence = " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    if world.style == "micro":
        return " and ".join(parts), tuple(dict.fromkeys(facts))
    return sentence[0].upper() + sentence[1:] + ".", tuple(dict.fromkeys(facts))
