"""The ledger of a composed answer: what became of each call that was due, by running the model's own calls.

After "Faith and Fate" (Dziri et al. 2023, arXiv 2305.18654, section 3.3), on calls instead of scratchpads: a call is
judged by what it gave and by what it was given. The paper's parser drops what it cannot read; here an unreadable
reply has every call omitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callgrain.core.types import Answer, Call, Json, Ref, Result, Tool
from callgrain.tools._catalogue import ToolError, open_world
from callgrain.tools._execute import execute, resolved
from callgrain.verify.key import Key
from callgrain.verify.lint import too_deep
from callgrain.verify.values import equal

STATES = ("correct", "local", "propagation", "restoration", "omitted")
"""What becomes of a call that is due; `extra` are calls beside them.

correct: the right result from right inputs. local: a wrong result, and the call would be wrong on its own inputs
too. propagation: a wrong result of a call that is right but for what it was fed. restoration: the right
result though an input was wrong.
"""


@dataclass(frozen=True)
class Entry:
    """One due call: its level in the graph (1 for a call that needs no other), and what became of it."""

    level: int
    state: str


@dataclass(frozen=True)
class Ledger:
    """Every due call of one answer, and the number of calls that were not due."""

    entries: tuple[Entry, ...]
    extra: int


def ledger(answer: Answer, tools: Sequence[Tool], given: Sequence[Call]) -> Ledger:
    """The ledger of `given` against an answer whose world can be run. Raises CallgrainError for an unknown world."""
    gold = answer.calls
    levels = _levels(gold)
    if not given or any(map(too_deep, given)):
        return Ledger(tuple(Entry(level, "omitted") for level in levels), 0)
    world = open_world(answer.world)
    due = {str(r.label): r for r in execute(gold, world)}
    labelled = _labelled(given)
    made = execute(labelled, world)
    pairing = Key(answer, tools).pairing(given)
    at = dict(pairing.pairs)
    partner = {gold[i].label or f"_{i}": made[j] for i, j in pairing.pairs}
    states: dict[str, str] = {}
    for i, call in enumerate(gold):
        label = call.label or f"_{i}"
        if i not in at:
            states[label] = "omitted"
            continue
        inputs_right = all(states.get(ref.label) in ("correct", "restoration") for ref in call.references)
        if _same_result(due[label], made[at[i]]):
            states[label] = "correct" if inputs_right else "restoration"
        else:
            own_right = _same_call(call, partner, labelled[at[i]], {str(r.label): r for r in made}, tools)
            states[label] = "propagation" if own_right and not inputs_right else "local"
    return Ledger(
        tuple(Entry(level, state) for level, state in zip(levels, states.values(), strict=True)), len(pairing.extra)
    )


def _labelled(calls: Sequence[Call]) -> tuple[Call, ...]:
    """The calls with a label each, so that every result can be found."""
    return tuple(c if c.label else c.model_copy(update={"label": f"_{i}"}) for i, c in enumerate(calls))


def _levels(calls: Sequence[Call]) -> list[int]:
    levels: dict[str, int] = {}
    out: list[int] = []
    for i, call in enumerate(calls):
        level = 1 + max((levels.get(ref.label, 0) for ref in call.references), default=0)
        levels[call.label or f"_{i}"] = level
        out.append(level)
    return out


def _same_result(due: Result, made: Result) -> bool:
    return due.error is None and made.error is None and equal(due.value, made.value, {})


def _same_call(
    due: Call, partner: dict[str, Result], given: Call, made: dict[str, Result], tools: Sequence[Tool]
) -> bool:
    """Whether the given call is what the due one would be, fed by the model's own earlier results.

    An input whose producer is missing, or failed, cannot be bound: then the references themselves must agree.
    """
    if due.name != given.name:
        return False
    tool = next((t for t in tools if t.name == due.name), None)
    try:
        want = resolved(due, partner).arguments
        have = resolved(given, made).arguments
    except ToolError:
        want, have = _bare(due.arguments), _bare(given.arguments)
    schema = tool.parameters if tool else {}
    return equal(want, have, schema)


def _bare(value: Json) -> Json:
    """The value with each reference reduced to its path: what is read of an earlier result, not of which."""
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_bare(v) for v in value]
    ref = Ref.read(value)
    return value if ref is None else {"$": ref.path}
