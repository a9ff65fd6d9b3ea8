"""Degenerate policies: what is a reward worth to one who does not try?

Each answers every sample in one fixed way. What it may earn at most is stated beforehand
(`level`): the share of samples on which its reply happens to be right, which is its due, and for
the rest no more than the partial credit in SLACK. And it must earn at least its due: a reward that
pays a right abstention nothing teaches to call. `suite` holds rewards against both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from callgrain.core import stats
from callgrain.core.types import Call, Json, Message, Reply, Sample, Tool, Verdict
from callgrain.verify.faults import fault
from callgrain.verify.reward import REWARDS, Reward
from callgrain.verify.spoil import right, spoil

Policy = Callable[[Sample, Random], Reply | None]
"""Gives a reply, or None where the policy has nothing to do on this sample."""

FLOOD = 2_000
"""Calls of a flood."""

LONG = 1_000_000
"""Characters of a long argument."""


def constant(_sample: Sample, _rng: Random) -> Reply:
    """The same call whatever is asked."""
    return _reply((Call(name="search", arguments={"query": "Paris"}),))


def all_tools(sample: Sample, _rng: Random) -> Reply:
    """Every offered tool once, its required parameters filled by type."""
    return _reply(tuple(Call(name=t.name, arguments=_filled(t)) for t in sample.prompt.tools))


def echo_schema(sample: Sample, rng: Random) -> Reply:
    """One offered tool, with the schemas of its parameters as their values."""
    if not sample.prompt.tools:
        return empty_list(sample, rng)
    tool = rng.choice(sample.prompt.tools)
    return _reply((Call(name=tool.name, arguments=dict(tool.properties)),))


def empty_list(_sample: Sample, _rng: Random) -> Reply:
    """An explicit empty list of calls."""
    return Reply(text="[]", message=Message())


def malformed(_sample: Sample, _rng: Random) -> Reply:
    """A text that begins as a call and cannot be read."""
    return Reply(text="[{", fault=fault("truncated", "", None, "[{"))


def duplicate_call(sample: Sample, _rng: Random) -> Reply | None:
    """The right calls, each three times over: it starts from the key."""
    calls = sample.answer.calls
    again = tuple(c.model_copy(update={"label": None}) for c in calls)
    return _reply((*calls, *again, *again)) if calls else None


def wrong_type(sample: Sample, rng: Random) -> Reply | None:
    """The right calls with one argument of another type: it starts from the key."""
    return spoil("wrong_type", sample, rng)


def always_decline(_sample: Sample, _rng: Random) -> Reply:
    """DECLINE, whatever is asked."""
    return Reply(text="DECLINE", message=Message(text="DECLINE"))


def always_ask(_sample: Sample, _rng: Random) -> Reply:
    """A question back, whatever is asked."""
    return Reply(text="ASK Which one?", message=Message(text="ASK Which one?"))


def flood(sample: Sample, _rng: Random) -> Reply:
    """Thousands of calls of the offered tools, one of them with a very long argument."""
    tools = sample.prompt.tools or (Tool(name="search"),)
    made = [_one(tool.name) for tool in tools]
    long = Call(name=tools[0].name, arguments={name: _long() for name in list(tools[0].properties)[:1]})
    return _reply((long, *(made[i % len(made)] for i in range(FLOOD))))


def long_text(_sample: Sample, _rng: Random) -> Reply:
    """A very long text, without a call."""
    return Reply(text=_long(), message=Message(text=_long()))


def key(sample: Sample, _rng: Random) -> Reply:
    """The right answer itself, to see that a reward pays it."""
    return right(sample)


def _reply(calls: tuple[Call, ...]) -> Reply:
    return Reply(text=str(len(calls)), message=Message(calls=calls))


@lru_cache(maxsize=4096)
def _one(name: str) -> Call:
    return Call(name=name)


@lru_cache(maxsize=1)
def _long() -> str:
    return "word " * (LONG // 5)


_BY_TYPE: dict[str, Json] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}, "null": None}


def _filled(tool: Tool) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for name in tool.required:
        found = tool.properties.get(name)
        schema: dict[str, Any] = found if isinstance(found, dict) else {}
        enum, kind = schema.get("enum"), schema.get("type")
        by_type = _BY_TYPE.get(kind, "x") if isinstance(kind, str) else "x"
        out[name] = enum[0] if isinstance(enum, list) and enum else by_type
    return out


POLICIES: dict[str, Policy] = {
    "key": key,
    "constant": constant,
    "all_tools": all_tools,
    "echo_schema": echo_schema,
    "empty_list": empty_list,
    "malformed": malformed,
    "duplicate_call": duplicate_call,
    "wrong_type": wrong_type,
    "always_decline": always_decline,
    "always_ask": always_ask,
    "flood": flood,
    "long_text": long_text,
}
"""The closed table of policies; `key`, `duplicate_call` and `wrong_type` are told the answer, the others are not."""

SLACK: dict[str, float] = {
    "key": 0.0,
    "constant": 0.10,
    "all_tools": 0.15,
    "echo_schema": 0.15,
    "empty_list": 0.05,
    "malformed": 0.02,
    "duplicate_call": 0.0,
    "wrong_type": 0.60,
    "always_decline": 0.05,
    "always_ask": 0.05,
    "flood": 0.0,
    "long_text": 0.05,
}
"""Partial credit that a policy may earn, on average over a pool, where its reply is not right.

0.60 is what all but one argument right may earn; 0.10 and 0.15 are for a tool's name hit by chance
(in `slots` only the right tools are offered, so it is always hit there); 0.05 for a text that is
readable and no more; 0.02 for one that is not. Repeating what is right and flooding may earn nothing.
"""


@dataclass(frozen=True)
class Row:
    """What one policy earns by one reward, as a share of the reward's range, and what it may."""

    policy: str
    reward: str
    value: float
    low: float | None
    high: float | None
    n: int
    due: float
    level: float

    @property
    def failing(self) -> str:
        """`too much`, `too little`, or nothing where the reward holds."""
        if self.value > self.level + 1e-9:
            return "too much"
        return "too little" if self.value < self.due - 1e-9 else ""


def suite(
    samples: Sequence[Sample],
    grade: Callable[[Sample, Reply], Verdict],
    rewards: Mapping[str, Reward] = REWARDS,
    policies: Iterable[str] = tuple(POLICIES),
    seed: int = 0,
) -> list[Row]:
    """A row for each policy and reward; `grade` is the sub-tasks' own grader.

    Samples on which a policy has nothing to do, or that cannot be graded, are left out of its rows.
    """
    rows: list[Row] = []
    for name in policies:
        earned: dict[str, list[float]] = {reward: [] for reward in rewards}
        due: list[bool] = []
        for number, sample in enumerate(samples):
            reply = POLICIES[name](sample, Random(f"{seed}.{number}"))
            verdict = grade(sample, reply) if reply is not None else None
            if reply is None or verdict is None or verdict.state != "graded":
                continue
            due.append(verdict.ok)
            for reward, shape in rewards.items():
                value = shape.of(sample, reply, verdict)
                if value is not None:
                    earned[reward].append(shape.share(value))
        rows += [_row(name, reward, values, due) for reward, values in earned.items() if values]
    return rows


def _row(policy: str, reward: str, values: Sequence[float], due: Sequence[bool]) -> Row:
    value, low, high = stats.mean(values)
    share = sum(due) / len(due)
    return Row(policy, reward, value or 0.0, low, high, len(values), share, level(policy, share))


def level(policy: str, due: float) -> float:
    """The most that a policy may earn on average: its due, and SLACK of the rest."""
    return due + SLACK[policy] * (1 - due)
