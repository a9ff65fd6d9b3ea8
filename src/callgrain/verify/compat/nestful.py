"""NESTFUL's own scorer, defects included: full sequence accuracy.

Its defects are kept: parameters are filed under the function's name, so that a function called
twice is scored by its last call; numbers, booleans and their texts are the same; an inserted
call shifts all others; labels and the order of independent calls count; a `$` that begins a value
is given an end on one side only; and in `wins` a crash is a `False` that equals a gold result of 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from callgrain.core.types import Call, Fault, Json, Reply, Sample, Verdict
from callgrain.verify.compat._nestful import (
    CRASHED,
    MEASURES,
    Crash,
    grounded,
    macro_f1,
    mended,
    partial_sequence,
    passed_over,
    slot_rows,
    written,
)
from callgrain.verify.faults import fault

__all__ = ["CRASHED", "NestfulGrader", "figures", "macro_f1", "plugin", "wins"]


class NestfulGrader:
    """NESTFUL's judgement of one reply; its F1 figures are those of a corpus of this one item."""

    measures = MEASURES

    def judge(self, sample: Sample, reply: Reply) -> Verdict:
        """`ok` where the full sequence is right. What cannot be parsed is no calls at all."""
        if (passed := passed_over(sample, reply)) is not None:
            return passed
        calls = reply.message.calls if reply.message else ()
        try:
            found = figures(sample.answer.calls, calls)
        except (RecursionError, ValueError) as crash:  # a value too deep, or a number too long, to be printed
            return Verdict(state="grader_error", score=0.0, detail=f"{type(crash).__name__}: {str(crash)[:120]}")
        if found["full_sequence"] == 1.0:
            return Verdict(measures=found)
        kind = reply.fault.kind if reply.fault else _kind(sample.answer.calls, calls)
        wrong: Fault = fault(kind).model_copy(update={"detail": "full_sequence"})
        return Verdict(faults=(wrong,), score=0.0, detail="full_sequence", measures=found)


def figures(gold: Sequence[Call], given: Sequence[Call]) -> dict[str, float]:
    """NESTFUL's four figures of one item."""
    want, have = grounded(gold), mended(grounded(given))
    wanted, had = slot_rows(want), slot_rows(have)
    functions = [*wanted, *(name for name in had if name not in wanted)]
    partial = partial_sequence(written(want), written(have))
    return {
        "f1_functions": macro_f1([[name for name, _ in want]], [[name for name, _ in have]]),
        "f1_parameters": macro_f1([wanted.get(f, []) for f in functions], [had.get(f, []) for f in functions]),
        "partial_sequence": partial,
        "full_sequence": float(partial == 1.0),
    }


def wins(gold: Json, results: Sequence[Json | Crash]) -> bool:
    """Whether the last result is the gold one, as NESTFUL compares them: a crash is False, and False is 0.

    Floats are rounded to the gold's decimal places.
    """
    if not results:
        return False
    last: Any = False if CRASHED in results else results[-1]
    if type(gold) is float and type(last) is float:
        last = round(last, len(str(gold).partition(".")[2]))
    return bool(last == gold)


def _kind(gold: Sequence[Call], given: Sequence[Call]) -> str:
    """The fault of ours that a wrong sequence comes nearest to."""
    if not given:
        return "missed_call"
    want, have = [c.name for c in gold], [c.name for c in given]
    if len(want) != len(have):
        return "missing_call" if len(want) > len(have) else "extra_call"
    if want == have:
        return "wrong_value"
    return "wrong_order" if Counter(want) == Counter(have) else "wrong_tool"


plugin = NestfulGrader
