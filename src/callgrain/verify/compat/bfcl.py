"""BFCL's own checker (v4, single turn), quirks included.

What a leaderboard would print, beside what is right: it takes `-5` for `5` and `/a/b` for `ab`,
refuses an integer list where floats are declared, loses parallel calls to its own greed, and
counts a broken call as an abstention. Where the real checker dies the verdict is `grader_error`.
"""

from __future__ import annotations

from collections import OrderedDict

from callgrain.core.types import Fault, Reply, Sample, Verdict
from callgrain.verify.compat._bfcl_check import (
    MISSHAPEN,
    UNDECODED,
    Calls,
    Checker,
    Outcome,
    Signature,
    check,
    compile_key,
)
from callgrain.verify.compat._bfcl_rows import row_of
from callgrain.verify.faults import fault

__all__ = ["FAULTS", "BfclGrader", "Calls", "Checker", "Outcome", "Signature", "check", "compile_key", "plugin"]

FAULTS: dict[str, str] = {
    UNDECODED: "unparsable",
    MISSHAPEN: "wrong_shape",
    "irrelevance_error:decoder_success": "needless_call",
    "relevance_error:decoder_failed": "missed_call",
    "simple_function_checker:wrong_count": "missing_call",
    "multiple_function_checker:wrong_count": "missing_call",
    "parallel_function_checker_no_order:wrong_count": "missing_call",
    "parallel_function_checker_no_order:cannot_find_match": "missing_call",
    "simple_function_checker:wrong_func_name": "wrong_tool",
    "simple_function_checker:missing_required": "missing_argument",
    "simple_function_checker:missing_optional": "missing_argument",
    "simple_function_checker:unexpected_param": "unknown_argument",
    "type_error:simple": "wrong_type",
    "type_error:nested": "wrong_type",
    "type_error:java": "wrong_type",
    "type_error:js": "wrong_type",
    "value_error:string": "wrong_value",
    "value_error:list/tuple": "wrong_value",
    "value_error:dict_key": "wrong_value",
    "value_error:dict_value": "wrong_value",
    "value_error:list_dict_count": "wrong_value",
    "value_error:others": "wrong_value",
    "dict_checker:unclear": "wrong_value",
    "list_dict_checker:unclear": "wrong_value",
}
"""Our kind for each error type of BFCL's single-turn runner: closed, nothing else is ever given."""

_KEPT = 4096


class BfclGrader:
    """BFCL's judgement of a reply; keys are read once and kept for the last few thousand samples."""

    def __init__(self) -> None:
        self._checkers: OrderedDict[str, tuple[Checker, int] | str] = OrderedDict()

    def judge(self, sample: Sample, reply: Reply) -> Verdict:
        """`ok` is BFCL's `valid`, `detail` its error type; `not_applicable` says what it has no notion of."""
        if reply.failure is not None:
            return Verdict(state="not_applicable", score=0.0, detail=f"no reply: {reply.failure}")
        known = self._checker(sample)
        if isinstance(known, str):
            return Verdict(state="not_applicable", score=0.0, detail=known)
        checker, due = known
        if reply.fault is not None:
            outcome = checker.refuse(MISSHAPEN if reply.fault.kind == "wrong_shape" else UNDECODED)
            return _verdict(outcome, FAULTS.get(outcome.error_type, ""))
        if reply.message is None:
            return Verdict(state="grader_error", score=0.0, detail="the reply holds nothing to judge")
        calls = [(call.name, call.arguments) for call in reply.message.calls]
        if not calls and reply.message.text.strip():
            outcome = checker.refuse(UNDECODED)
            return _verdict(outcome, "missed_call")
        outcome = checker.check(calls)
        kind = FAULTS.get(outcome.error_type, "")
        surplus = len(calls) > due and outcome.error_type.endswith(":wrong_count")
        return _verdict(outcome, "missed_call" if kind and not calls else "extra_call" if surplus else kind)

    def _checker(self, sample: Sample) -> tuple[Checker, int] | str:
        """The sample's compiled key and the number of calls due, or why there is none."""
        found = self._checkers.get(sample.key)
        if found is None:
            row = row_of(sample)
            if isinstance(row, str):
                found = row
            else:
                found = (compile_key(row.functions, row.answers, row.category), len(sample.answer.calls))
            self._checkers[sample.key] = found
            if len(self._checkers) > _KEPT:
                self._checkers.popitem(last=False)
        return found


def _verdict(outcome: Outcome, kind: str) -> Verdict:
    if outcome.crash:
        return Verdict(state="grader_error", score=0.0, detail=outcome.crash)
    if outcome.valid:
        return Verdict()
    found: Fault = fault(kind).model_copy(update={"detail": outcome.error_type})
    return Verdict(faults=(found,), score=0.0, detail=outcome.error_type)


plugin = BfclGrader
