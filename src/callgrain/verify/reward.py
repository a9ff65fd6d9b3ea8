"""Rewards: what a verdict is worth, as pure functions, and two published shapes beside them.

Ours read the Verdict alone, so they pay for what the grader found and nothing else: not for a
form that merely looks right, not for more calls, and for an abstention exactly where abstaining
is right. A verdict that is not `graded` has no reward (None), never 0: a back end that failed must
not teach. The published shapes (`_published.py`) grade by themselves and stand here to be compared
with; `policies.py` shows which of them pays whom for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from callgrain.core.types import Reply, Sample, Verdict
from callgrain.verify._published import tool_n1_like, tool_n1_plain_like, toolrl_like
from callgrain.verify.faults import TABLE, at_levels

FORM = at_levels("form")
REFUSED = frozenset(["unknown_tool", "unknown_argument", "wrong_type", "not_allowed", "broken_reference"])
"""Faults that the tools' own schemas show: what has one must not be paid because a lenient tool ran it."""

WORTH: dict[str, tuple[float, float]] = {
    "decision": (0.0, 0.0),
    "form": (0.02, 0.02),
    "choice": (0.05, 0.15),
    "arguments": (0.15, 0.6),
    "structure": (0.6, 0.8),
    "answer": (0.05, 0.9),
}
"""What a wrong reply earns by the level of its worst fault, from nothing else right to nearly all right.

`answer` begins low: a written reply meets no earlier level, so one that says nothing would else earn most.
"""

SPARE_CALLS = 2
"""So many calls too many, and nothing is earned; one of them halves the reward."""


def binary(verdict: Verdict) -> float | None:
    """1 where nothing is wrong, else 0."""
    return float(verdict.ok) if verdict.state == "graded" else None


def graded(verdict: Verdict) -> float | None:
    """The further a reply gets the more it earns: the least of what its faults' levels are worth.

    Within a level by the verdict's score (written replies: coverage times grounding). Each call
    too many takes its share of all of it. 1 only where nothing is wrong; taking a fault away never
    lowers it, because it is a least value over faults.
    """
    if verdict.state != "graded" or verdict.ok:
        return binary(verdict)
    return _spare(verdict) * min(_worth(TABLE[f.kind].level, verdict) for f in verdict.faults)


def _worth(level: str, verdict: Verdict) -> float:
    low, high = WORTH[level]
    share = verdict.score
    if level == "answer" and "coverage" in verdict.measures:
        share = verdict.measures["coverage"] * verdict.measures.get("grounding", 1.0)
    return low + (high - low) * min(1.0, max(0.0, share))


def _spare(verdict: Verdict) -> float:
    """1 without a call too many, 0 with SPARE_CALLS of them or more; an unknown tool in a due call's place is none."""
    extra = sum(f.kind in ("extra_call", "unknown_tool") and not f.where.endswith(".name") for f in verdict.faults)
    return max(0.0, 1 - extra / SPARE_CALLS)


def strict_json(verdict: Verdict) -> float | None:
    """`graded`, but nothing at all for a text that cannot be read as it is; near-misses are not repaired."""
    if any(f.kind in FORM for f in verdict.faults):
        return 0.0 if verdict.state == "graded" else None
    return graded(verdict)


def execution_state(verdict: Verdict) -> float | None:
    """1 where executing the calls gives the gold's result (the measure `win`), whatever the way there.

    Calls too many take their share, since a call made twice may change the world twice, and calls
    that the schemas refuse earn nothing. Where the tools do not run there is no `win`: then `binary`.
    """
    if verdict.state != "graded" or verdict.ok or "win" not in verdict.measures:
        return binary(verdict)
    if any(f.kind in REFUSED or f.kind in FORM for f in verdict.faults):
        return 0.0
    return _spare(verdict) * verdict.measures["win"]


@dataclass(frozen=True)
class Reward:
    """One shape: what it is, its range, and whether it is ours or a published one."""

    of: Callable[[Sample, Reply, Verdict], float | None]
    caption: str
    low: float = 0.0
    high: float = 1.0
    published: bool = False

    def share(self, value: float) -> float:
        """A reward as a share of its range, in [0, 1]."""
        return (value - self.low) / (self.high - self.low)


def _read(shape: Callable[[Verdict], float | None]) -> Callable[[Sample, Reply, Verdict], float | None]:
    return lambda _sample, _reply, verdict: shape(verdict)


def _own(shape: Callable[[Sample, Reply], float]) -> Callable[[Sample, Reply, Verdict], float | None]:
    """A published shape grades by itself; only whether there is anything to grade comes from the verdict."""
    return lambda sample, reply, verdict: shape(sample, reply) if verdict.state == "graded" else None


REWARDS: dict[str, Reward] = {
    "binary": Reward(_read(binary), "1 where nothing is wrong"),
    "graded": Reward(_read(graded), "by the level of the worst fault"),
    "strict_json": Reward(_read(strict_json), "graded, and 0 for any fault of form"),
    "execution_state": Reward(_read(execution_state), "1 where the executed result is right"),
    "toolrl_like": Reward(_own(toolrl_like), "ToolRL's format + matching, arXiv 2504.13958", -3.0, 4.0, True),
    "tool_n1_like": Reward(_own(tool_n1_like), "Tool-N1's exact multiset, Qwen scorer, 2505.00024", published=True),
    "tool_n1_plain_like": Reward(_own(tool_n1_plain_like), "the same, Llama scorer", published=True),
}
"""The closed table of rewards by name."""
