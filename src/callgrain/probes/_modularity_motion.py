"""What moves together when weights are pushed, as rows: entanglement, fracture, edits, and whether calls stay calls.

Both arms that have weights of their own are pushed: the trained network and one that its initialiser has drawn.
All pushes are compared at matched output KL (`models/_perturb.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callgrain.core.types import Prompt, Reply, Sampling
from callgrain.models._load import Loaded
from callgrain.models._mask_search import Decision, rows_of, swapped, weights_of
from callgrain.models._perturb import (
    gradients,
    important,
    margins_of,
    matched,
    overlap,
    pushed,
    rank_one,
    reference,
    ways,
)
from callgrain.models.local import Local
from callgrain.probes._modularity_masks import Skill
from callgrain.verify.lint import lint

TOP = 0.01
"""Share of weights that count as important."""
EDIT_LEVEL = 0.2
"""Mean KL in nats, in the context that it was fitted in, at which an edit is looked at."""
MOST_REPLY = 64
"""Tokens of a reply of a pushed network: enough for a call, and broken ones go on for ever."""


@dataclass(frozen=True)
class Motion:
    """How much is pushed: levels of mean KL, directions in all matrices and in single ones, decisions of a skill."""

    levels: tuple[float, ...] = (0.05, 0.2)
    whole: int = 4
    single: int = 8
    few: int = 10


@dataclass(frozen=True)
class Stand:
    """One arm: its network with what it is spoken to by, the skills, and prompts whose answers are calls."""

    arm: str
    loaded: Loaded
    skills: Sequence[Skill]
    prompts: Sequence[tuple[str, Prompt]]
    motion: Motion


def motion_rows(stand: Stand, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows `push/<arm>/<direction>`, `fracture/<arm>/<skill>` and `edit/<arm>/<skill>/<context>` not known yet."""
    yield from _pushes(stand, known)
    for skill in stand.skills:
        for kind, make in (("fracture", _fracture), ("edit", _edits)):
            key = f"{kind}/{stand.arm}/{skill.name}"
            if key not in known:
                found = make(stand, skill)
                if found is not None:
                    yield {"key": key, "kind": kind, "arm": stand.arm, "skill": skill.name, **found}


def _pushes(stand: Stand, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a direction: at each level how far each skill moved, and what became of replies at the highest."""
    net, motion = stand.loaded.model, stand.motion
    few = [(skill.name, one) for skill in stand.skills for one in skill.held[: motion.few]]
    rows = rows_of([one for _, one in few], device=next(net.parameters()).device)
    before, weights = reference(net, rows), weights_of(net)
    said: list[Reply] | None = None
    for name, direction in ways(weights, motion.whole, motion.single, seed=0):
        key = f"push/{stand.arm}/{name}"
        if key in known:
            continue
        said = said if said is not None else _replies(stand)
        levels: list[dict[str, Any]] = []
        push = None
        for level in motion.levels:
            push = matched(net, rows, before, direction, level)
            by = {skill.name: [kl for (owner, _), kl in zip(few, push.moved, strict=True) if owner == skill.name]
                  for skill in stand.skills}  # fmt: skip
            means = {skill: round(sum(found) / len(found), 6) for skill, found in by.items()}
            levels.append({"level": level, "kl": round(push.kl, 6), "met": push.is_met, "moved": means})
        assert push is not None
        with swapped(net, pushed(weights, direction, push.scale)):
            after = _replies(stand)
        replies = [
            [trace, one.text != was.text, _is_call(one, prompt)]
            for (trace, prompt), was, one in zip(stand.prompts, said, after, strict=True)
        ]
        yield {"key": key, "kind": "push", "arm": stand.arm, "direction": name, "levels": levels, "replies": replies}


def _replies(stand: Stand) -> list[Reply]:
    brief = Sampling(max_tokens=MOST_REPLY)
    model = Local.around(stand.loaded)
    return model.answer([prompt.model_copy(update={"sampling": brief}) for _, prompt in stand.prompts])


def _is_call(reply: Reply, prompt: Prompt) -> bool:
    """Whether a reply is calls that fit the tools shown, right or wrong."""
    calls = reply.message.calls if reply.message else ()
    return bool(calls) and not lint(calls, prompt.tools)


def _contexts(found: Sequence[Decision]) -> tuple[list[Decision], list[Decision]]:
    return [one for one in found if one.context == 0], [one for one in found if one.context == 1]


def _fracture(stand: Stand, skill: Skill) -> dict[str, Any] | None:
    """Overlap of important weights between contexts, and between halves of one, at equal numbers of decisions."""
    net = stand.loaded.model
    weights, device = weights_of(net), next(net.parameters()).device
    sides = _contexts([*skill.searched, *skill.held])
    size = min(len(side) for side in sides) // 2
    if size < 2:
        return None
    tops = [
        [important(weights, gradients(net, rows_of(part, device=device), list(weights)), TOP) for part in parts]
        for parts in ((side[:size], side[size : 2 * size]) for side in sides)
    ]
    between = [overlap(one, other, TOP) for one in tops[0] for other in tops[1]]
    within = [overlap(one, other, TOP) for one, other in tops]
    return {"between": round(sum(between) / 4, 6), "within": round(sum(within) / 2, 6), "decisions": size}


def _edits(stand: Stand, skill: Skill) -> dict[str, Any] | None:
    """What an edit fitted in one context does to held-out margins of that one and of the other: log-odds taken."""
    net = stand.loaded.model
    device, weights = next(net.parameters()).device, weights_of(net)
    held = _contexts(skill.held)
    rows = [rows_of(side, device=device) for side in held]
    if not all(rows):
        return None
    calm = [margins_of(net, side) for side in rows]
    effects: list[list[Any]] = []
    for context, fitted in enumerate(_contexts(skill.searched)):
        if not fitted:
            continue
        on = rows_of(fitted, device=device)
        direction = rank_one(net, on, list(weights))
        push = matched(net, on, reference(net, on), direction, EDIT_LEVEL)
        if not push.is_met:
            continue
        with swapped(net, pushed(weights, direction, push.scale)):
            hot = [margins_of(net, side) for side in rows]
        for side in (0, 1):
            effects += [
                [one.trace, context, "own" if side == context else "other", round(was - after, 5)]
                for one, was, after in zip(held[side], calm[side], hot[side], strict=True)
            ]
    return {"effects": effects} if effects else None


def stands(
    trained: Loaded, untrained: Any, skills: Sequence[Skill], prompts: Sequence[tuple[str, Prompt]], motion: Motion
) -> Iterator[Stand]:
    """The two arms that have weights of their own."""
    yield Stand("trained", trained, skills, prompts, motion)
    yield Stand("random_init", replace(trained, model=untrained), skills, prompts, motion)
