"""The judgement: a reply held against an answer, every fault named with its place.

Paths: `calls.<i>` counts the calls as given (as expected for what is missing),
`calls.<i>.name`, `calls.<i>.arguments.<parameter>`, `text`, or `""` for the whole reply.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from callgrain.core.types import Answer, Decision, Fault, Message, Reply, Tool, Verdict
from callgrain.verify.faults import by_level, wrong_decision
from callgrain.verify.judge import judge
from callgrain.verify.key import Key
from callgrain.verify.ways import ways


def verdict(faults: Sequence[Fault], score: float, **measures: float) -> Verdict:
    """A verdict whose score agrees with its faults: 1 exactly where there is none."""
    if not faults:
        return Verdict(measures=measures)
    return Verdict(faults=by_level(faults), score=max(0.0, min(score, 0.99)), measures=measures)


def unanswered(reply: Reply) -> Verdict | None:
    """The verdict on a reply that is no answer at all: the back end failed, or the form is broken."""
    if reply.failure is not None:
        return Verdict(state="not_applicable", score=0.0, detail=f"no reply: {reply.failure}")
    if reply.fault is not None:
        return verdict([reply.fault], 0.0)
    if reply.message is None:
        return Verdict(state="grader_error", score=0.0, detail="the reply holds neither message nor fault nor failure")
    return None


def branch(message: Message) -> Decision:
    """Which branch a turn takes: call, ask, decline, or answer.

    A question is marked by the word ASK, a refusal by DECLINE (the instruction of `decide` says
    so); a text that ends in a question mark asks as well.
    """
    if message.calls:
        return "call"
    words = message.text.strip()
    head = words[:8].upper()
    if head.startswith("DECLINE"):
        return "decline"
    if head.startswith("ASK") or words.endswith("?"):
        return "ask"
    return "answer"


def judge_branch(answer: Answer, reply: Reply) -> Verdict:
    """Only the branch counts: the answer's, or that of one in `instead`.

    A malformed call is a fault of form, never a refusal.
    """
    if (out := unanswered(reply)) is not None or reply.message is None:
        return out or Verdict(state="grader_error", score=0.0)
    taken = branch(reply.message)
    if any(way.decision == taken for way in ways(answer)):
        return verdict([], 1.0)
    wrong = wrong_decision(answer.decision, taken)
    return verdict([wrong] if wrong else [], 0.0)


def judge_calls(answer: Answer, tools: Sequence[Tool], reply: Reply, *, names_only: bool = False) -> Verdict:
    """All the calls of a turn against the answer, or against whichever of `instead` fits best.

    `score` is the share of right leaves (names, arguments, places) among all that are
    expected or given. `names_only` leaves the arguments out. Measures: calls matched,
    expected and given; arguments right. Raises CallgrainError for a mode of comparison that does not exist.
    """
    message = reply.message
    if message is None or reply.fault is not None or reply.failure is not None:
        return unanswered(reply) or Verdict(state="grader_error", score=0.0)
    keys = _keys(answer, tools, names_only) if message.calls else ()
    if not keys:
        return judge_branch(answer, reply)
    if len(keys) == 1:
        return judge(keys[0], message.calls)
    return max((judge(key, message.calls) for key in keys), key=lambda v: (v.ok, v.score))


def is_right(answer: Answer, tools: Sequence[Tool], reply: Reply) -> bool:
    """`judge_calls(...).ok`, found out without naming a fault: for whoever asks nothing but yes or no."""
    message = reply.message
    if message is None or reply.fault is not None or reply.failure is not None:
        return False
    if answer.decision == "call" and message.calls:
        keys = _keys(answer, tools, False)
        if len(keys) == 1 and keys[0].plain:
            wants, calls = keys[0].wants, message.calls
            if len(wants) != len(calls):
                return False
            amiss = [want for want, call in zip(wants, calls, strict=True) if want.fits(call) < 0]
            if not amiss:
                return True
            if any(all(want.fits(call) < 0 for call in calls) for want in amiss):
                return False  # what no call fits, no pairing mends
    return judge_calls(answer, tools, reply).ok


KEYS_KEPT = 1024
"""Answers that stay compiled: rollouts of one prompt are graded in a row."""

_compiled: dict[tuple[int, int, bool], tuple[Answer, Sequence[Tool], tuple[Key, ...]]] = {}


def _keys(answer: Answer, tools: Sequence[Tool], names_only: bool) -> tuple[Key, ...]:
    """The answer and its alternatives, those that call, compiled once: kept by identity, with what they are made of."""
    name = (id(answer), id(tools), names_only)
    found = _compiled.get(name)
    if found is None or (found[1] is not tools and not _same(found[1], tools)):
        if len(_compiled) >= KEYS_KEPT:
            _compiled.pop(next(iter(_compiled)))
        keys = tuple(Key(way, tools, names_only=names_only) for way in ways(answer) if way.decision == "call")
        found = _compiled[name] = (answer, tuple(tools), keys)  # held, so that no id is used twice
    return found[2]


def _same(kept: Sequence[Tool], tools: Sequence[Tool]) -> bool:
    """Whether a list of tools, which may have changed since, still holds the tools that it held."""
    return len(kept) == len(tools) and all(map(operator.is_, kept, tools))
