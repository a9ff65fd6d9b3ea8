"""What executing a reply's calls adds to its verdict: the win rate, and the edges that are right."""

from __future__ import annotations

from collections.abc import Sequence

from callgrain.core.types import Answer, Call, Reply, Sample, Verdict
from callgrain.tools._catalogue import open_world
from callgrain.tools._execute import execute, outcome, references
from callgrain.verify.lint import too_deep
from callgrain.verify.values import equal


def with_execution(sample: Sample, reply: Reply, verdict: Verdict) -> Verdict:
    """The verdict with `edges` and, where the tools run, the executed `win` among its measures."""
    if verdict.state != "graded":
        return verdict
    calls = reply.message.calls if reply.message else ()
    calls = () if any(map(too_deep, calls)) else calls
    figures = dict(verdict.measures)
    due = sum(len(references(c)) for c in sample.answer.calls)
    if due:
        figures["edges"] = _edges(sample.answer, calls, verdict, due)
    if sample.answer.world:
        figures["win"] = float(wins(sample.answer, calls))
    return verdict.model_copy(update={"measures": figures})


def _edges(answer: Answer, calls: Sequence[Call], verdict: Verdict, due: int) -> float:
    """Share of references that lead where they should, among those due and those given."""
    given = sum(len(references(c)) for c in calls)
    bad = sum(f.kind in ("broken_reference", "wrong_nesting") for f in verdict.faults)
    lost = sum(
        len(references(answer.calls[int(f.where.partition(".")[2])]))
        for f in verdict.faults
        if f.kind == "missing_call"
    )
    return max(0.0, due - bad - lost) / max(due, given) if calls else 0.0


def wins(answer: Answer, calls: Sequence[Call]) -> bool:
    """Whether executing `calls` gives the gold's result. Raises CallgrainError for an unknown world."""
    if not calls:
        return False
    result = outcome(calls, execute(calls, open_world(answer.world)))
    return result is not None and equal(answer.result, result, {})
