"""BFCL v4's single-turn checker restated: a key is read once, then many outputs are held against it.

Behaviour of `bfcl-eval` 2026.3.23, oddities included; `benchmarks/conformance.py` holds the two
against each other. Each gold call is met by the first output that fits it, in order and without
a second thought; the function's own document decides what is required; every parameter of the
key must be given unless `""` stands among its values. Where the original dies of an exception,
the outcome names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callgrain.core.types import Json
from callgrain.verify.compat._bfcl_values import Parameter

Calls = Sequence[tuple[str, Mapping[str, Any]]]
"""Decoded calls: (name, arguments), with Python's own values in them (tuples are possible)."""

CRASHES = (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError)
"""What a malformed key or an odd output makes the original raise."""

UNDECODED = "ast_decoder:decoder_failed"
MISSHAPEN = "ast_decoder:decoder_wrong_output_format"
_NO_MATCH = "parallel_function_checker_no_order:cannot_find_match"


@dataclass(frozen=True)
class Outcome:
    """BFCL's yes or no with its own name of the error, or the exception that it dies of."""

    valid: bool
    error_type: str = ""
    crash: str = ""


@dataclass(frozen=True)
class Checker:
    """A key that has been read: `check` judges decoded calls, `refuse` an output without any.

    `wanted` holds one reader of each gold call, or the exception that reading it raises.
    """

    style: str
    wanted: tuple[Signature | Exception, ...]

    def check(self, calls: Calls) -> Outcome:
        """The judgement of calls that could be decoded (none of them is `[]`)."""
        if self.style in ("irrelevance", "relevance"):
            return self._abstention(bool(calls))
        try:
            error = self._error(calls)
        except CRASHES as crash:
            return Outcome(False, crash=_named(crash))
        return Outcome(not error, error)

    def refuse(self, error: str) -> Outcome:
        """The judgement of an output that is not calls: `error` is UNDECODED or MISSHAPEN.

        Where no call was due that is right: BFCL takes a broken call for an abstention.
        """
        if self.style in ("irrelevance", "relevance"):
            return self._abstention(False)
        return Outcome(False, error)

    def _abstention(self, called: bool) -> Outcome:
        if self.style == "irrelevance":
            return Outcome(False, "irrelevance_error:decoder_success") if called else Outcome(True)
        return Outcome(True) if called else Outcome(False, "relevance_error:decoder_failed")

    def _error(self, calls: Calls) -> str:
        if len(calls) != (1 if self.style == "simple_function_checker" else len(self.wanted)):
            return f"{self.style}:wrong_count"
        if self.style == "parallel_function_checker_no_order":
            return self._greedy(calls)
        return _read(self.wanted, 0).error(*calls[0])

    def _greedy(self, calls: Calls) -> str:
        """First come, first served: a call that two gold calls would take is lost to the second."""
        free = list(range(len(calls)))
        for index in range(len(self.wanted)):
            signature = _read(self.wanted, index)
            found = next((i for i in free if not signature.error(*calls[i])), None)
            if found is None:
                return _NO_MATCH
            free.remove(found)
        return ""


class Signature:
    """One gold call: the function's document and what is accepted for each parameter."""

    def __init__(self, function: Any, answer: Any, language: str) -> None:
        accepted: Any = next(iter(answer.values()), None)
        self.name = function["name"]
        details = function["parameters"]["properties"]
        self.required = function["parameters"]["required"]
        self.parameters = {p: Parameter(details[p], accepted[p], language) for p in accepted if p in details}
        self.due = [(p, listed) for p, listed in accepted.items() if not (isinstance(listed, list) and "" in listed)]

    def error(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The first thing wrong with a call, in BFCL's words; "" where there is none."""
        if name != self.name:
            return "simple_function_checker:wrong_func_name"
        for parameter in self.required:
            if parameter not in arguments:
                return "simple_function_checker:missing_required"
        for parameter, value in arguments.items():
            known = self.parameters.get(parameter)
            if known is None:
                return "simple_function_checker:unexpected_param"
            if error := known.error(value):
                return error
        for parameter, listed in self.due:
            if parameter not in arguments and "" not in listed:
                return "simple_function_checker:missing_optional"
        return ""


def compile_key(functions: Json, possible_answers: Json, category: str) -> Checker:
    """A checker of BFCL's raw `function` and `ground_truth` of one row, of any single-turn category.

    Never raises: a key that the original cannot read becomes a crash of each check that reaches it.
    """
    if "relevance" in category:
        return Checker("irrelevance" if "irrelevance" in category else "relevance", ())
    language = "javascript" if "javascript" in category else "java" if "java" in category else "python"
    answers: list[Any] = possible_answers if isinstance(possible_answers, list) else []
    if "parallel" in category:
        style = "parallel_function_checker_no_order"
    elif "multiple" in category:
        style = "multiple_function_checker"
    else:
        style, answers = "simple_function_checker", answers[:1]
    wanted: list[Signature | Exception] = []
    for answer in answers:
        try:
            simple = style == "simple_function_checker"
            function = functions[0] if simple else _described(functions, next(iter(answer), ""))
            wanted.append(Signature(function, answer, language))
        except CRASHES as crash:
            wanted.append(crash)
    return Checker(style, tuple(wanted))


def check(functions: Json, calls: Calls, possible_answers: Json, category: str) -> Outcome:
    """BFCL's judgement of `calls`: `compile_key` and `check` in one go."""
    return compile_key(functions, possible_answers, category).check(calls)


def _described(functions: Any, name: str) -> Any:
    """The function's document; a lone document answers to every name."""
    if not isinstance(functions, list):
        return functions
    return next((function for function in functions if function["name"] == name), None)


def _read(wanted: Sequence[Signature | Exception], index: int) -> Signature:
    """The reader of a gold call. Raises what reading the key raised."""
    found = wanted[index]
    if isinstance(found, Exception):
        raise found
    return found


def _named(crash: Exception) -> str:
    return f"{type(crash).__name__}: {str(crash)[:120]}"
