"""NESTFUL's figures with its defects mended: graphs compared as graphs.

The verdict is the strict one of `judge_calls`; labels and the order of independent calls do not
count, every call is scored (not only the last of its function), what was made up costs
precision, and in `wins` a crash never wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from callgrain.core.types import Answer, Call, Json, Reply, Sample, Tool, Verdict
from callgrain.verify.compat._nestful import CRASHED, MEASURES, Crash, passed_over
from callgrain.verify.key import pair
from callgrain.verify.lint import too_deep
from callgrain.verify.match import Graph, alike
from callgrain.verify.values import equal, with_defaults
from callgrain.verify.verdict import judge_calls

__all__ = ["CRASHED", "NestfulFixedGrader", "figures", "plugin", "wins"]


class NestfulFixedGrader:
    """What NESTFUL's figures mean to say."""

    measures = MEASURES

    def judge(self, sample: Sample, reply: Reply) -> Verdict:
        """The strict verdict, with the four figures against whichever right answer fits best."""
        if (passed := passed_over(sample, reply)) is not None:
            return passed
        tools = sample.prompt.tools
        calls = reply.message.calls if reply.message else ()
        if any(too_deep(call) for call in calls):
            calls = ()
        ways = [way.model_copy(update={"instead": ()}) for way in (sample.answer, *sample.answer.instead)]
        judged = [(judge_calls(way, tools, reply), way) for way in ways]
        best, way = max(judged, key=lambda found: (found[0].ok, found[0].score))
        matched = best.measures.get("calls_matched", 0.0)
        partial = matched / max(1, len(way.calls), len(calls))
        found = {**figures(way, calls, tools), "partial_sequence": partial, "full_sequence": float(best.ok)}
        detail = "" if best.ok else "full_sequence"
        return best.model_copy(update={"measures": found, "detail": best.detail or detail})


def figures(gold: Answer, given: Sequence[Call], tools: Sequence[Tool]) -> dict[str, float]:
    """F1 of names and of parameters, each call held against the one that it is best paired with."""
    offered = {tool.name: tool for tool in tools}
    pairing = pair(gold, given, tools)
    graphs = Graph(gold.calls, gold.accepts), Graph(given)
    meets = pairing.meets(graphs[0])
    pairs = [(i, j) for i, j in pairing.pairs if gold.calls[i].name == given[j].name]
    hit = due = made = 0
    for i, j in pairs:
        for name, expected, found in _parameters(gold, i, given[j], offered.get(given[j].name)):
            due += bool(expected)
            made += bool(found)
            if expected and found:
                schema = offered[given[j].name].properties.get(name) if given[j].name in offered else None
                leeway = (schema, gold.accepts.get(f"{i}.{name}"))
                hit += alike(*graphs, (i, j), (expected[0], found[0]), leeway, meets)
    lone = {i for i, _ in pairs}, {j for _, j in pairs}
    due += sum(len(c.arguments) for i, c in enumerate(gold.calls) if i not in lone[0])
    made += sum(len(c.arguments) for j, c in enumerate(given) if j not in lone[1])
    return {
        "f1_functions": _f1(len(pairs), len(gold.calls), len(given)),
        "f1_parameters": _f1(hit, due, made),
    }


def _parameters(
    gold: Answer, index: int, given: Call, tool: Tool | None
) -> Iterator[tuple[str, list[Json], list[Json]]]:
    """Each parameter that either side names, with its value on each (none where it is left out).

    Defaults stand in for what is left out; what may be left out and is, is not due.
    """
    want = gold.calls[index].arguments
    properties = tool.properties if tool else {}
    left, right = with_defaults(want, properties), with_defaults(given.arguments, properties)
    for name in {**want, **given.arguments}:
        accept = gold.accepts.get(f"{index}.{name}")
        if name not in given.arguments and accept is not None and accept.omissible:
            continue
        expected = [left[name]] if name in left else list(accept.values[:1]) if accept else []
        yield name, expected, [right[name]] if name in right else []


def wins(gold: Json, results: Sequence[Json | Crash]) -> bool:
    """Whether the last result is the gold one: typed, numbers within rounding, a crash never."""
    if not results or CRASHED in results:
        return False
    last = results[-1]
    if isinstance(gold, float) and isinstance(last, float):
        return math.isclose(gold, last, rel_tol=1e-9, abs_tol=1e-12)
    return equal(gold, last, {})


def _f1(hit: int, due: int, made: int) -> float:
    return 2 * hit / (due + made) if due + made else 1.0


plugin = NestfulFixedGrader
