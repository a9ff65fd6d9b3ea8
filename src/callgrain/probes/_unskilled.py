"""Answers without skill: random within the schema, the majority tool, lexical overlap.

They see the sub-task's name and the Prompt, never the answer; the majority is counted over the
other samples' answers, so that no sample votes for itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

from callgrain.core.types import Answer, Call, Json, Message, Prompt, Reply, Tool
from callgrain.verify.facts import spelled, tokens

_MANY = {"parallel": 2, "chain": 2, "nest": 2}
_VALUE = re.compile(r"[^\s,;!?\"]{1,60}")


class Majority:
    """How often each tool, and each branch, is right over a pool of answers."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._names = Counter(c.name for a in answers for c in a.calls)
        self._branches = Counter(a.decision for a in answers)

    def without(self, answer: Answer) -> tuple[Counter[str], Counter[str]]:
        """The counts (tools, branches) without one answer's own votes."""
        names, branches = self._names.copy(), self._branches.copy()
        names.subtract(c.name for c in answer.calls)
        branches.subtract([answer.decision])
        return names, branches


def unskilled(
    control: str, subtask: str, prompt: Prompt, majority: tuple[Counter[str], Counter[str]], rng: Random
) -> Reply:
    """The control's reply to a prompt."""
    names, branches = majority
    if subtask == "response":
        return _echo(prompt, rng if control == "random" else None)
    if subtask in ("decide", "next_call", "full") and not _calls(control, branches, rng):
        text = {"ask": "ASK", "decline": "DECLINE"}.get(_branch(control, branches, rng), "STOP")
        return Reply(text=text, message=Message(text=text))
    if not prompt.tools:
        return Reply(text="DECLINE", message=Message(text="DECLINE"))
    count = len(prompt.tools) if subtask == "slots" else _MANY.get(subtask, 1)
    said = "\n".join(m.text for m in prompt.messages if m.role == "user")
    chosen = _tools(control, prompt.tools, said, names, rng)[:count]
    calls = tuple(Call(name=t.name, arguments=_fill(t, said, control, rng)) for t in chosen)
    return Reply(text=str(len(calls)), message=Message(calls=calls))


def _calls(control: str, branches: Counter[str], rng: Random) -> bool:
    return _branch(control, branches, rng) == "call"


def _branch(control: str, branches: Counter[str], rng: Random) -> str:
    if control == "random":
        return rng.choice(sorted(branches)) if branches else "call"
    if control == "majority":
        return max(sorted(branches), key=lambda b: branches[b], default="call")
    return "call"


def _echo(prompt: Prompt, rng: Random | None) -> Reply:
    """The last result as it is, or one result at random: what a reply is without reading."""
    shown = [spelled(m) for m in prompt.messages if m.results]
    text = (rng.choice(shown) if rng else shown[-1]) if shown else ""
    return Reply(text=text, message=Message(text=text.strip() or "-"))


def _tools(control: str, tools: Sequence[Tool], said: str, names: Counter[str], rng: Random) -> list[Tool]:
    """The tools in the control's order of preference."""
    mixed = rng.sample(list(tools), len(tools))
    if control == "majority":
        return sorted(mixed, key=lambda t: -names[t.name])
    if control == "lexical":
        heard = set(tokens(said))
        return sorted(mixed, key=lambda t: -len(heard & set(tokens(_about(t)))))
    return mixed


def _about(tool: Tool) -> str:
    words = [tool.name, *tool.properties, tool.description]
    return " ".join(words).replace("_", " ").replace(".", " ")


def _fill(tool: Tool, said: str, control: str, rng: Random) -> dict[str, Json]:
    """A value for each required parameter: by its schema and the words of the request."""
    words = _VALUE.findall(said[:5000])
    out: dict[str, Json] = {}
    for name in tool.required:
        schema = tool.properties.get(name)
        cued = _after_cue(words, name) if control == "lexical" else None
        out[name] = _value(schema if isinstance(schema, dict) else {}, words, cued, rng)
    return out


def _after_cue(words: Sequence[str], name: str) -> str | None:
    """The word that follows the parameter's own name in the request."""
    parts = set(name.lower().split("_"))
    for word, following in pairwise(words):
        if word.lower().strip(".:") in parts:
            return following
    return None


def _value(schema: dict[str, Any], words: Sequence[str], cued: str | None, rng: Random) -> Json:
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        named = [v for v in enum if isinstance(v, str) and v in words]
        return rng.choice(named or enum)
    kind = schema.get("type")
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "number"):
        numbers = [w for w in ([cued] if cued else words) if w and re.fullmatch(r"\d{1,9}", w.rstrip("."))]
        return int(rng.choice(numbers).rstrip(".")) if numbers else rng.randint(1, 10)
    if kind == "array":
        items = schema.get("items")
        return [_value(items if isinstance(items, dict) else {}, words, cued, rng)]
    if kind == "object":
        return {}
    return cued or (rng.choice(words).rstrip(".") if words else "")
