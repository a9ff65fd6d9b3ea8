"""Golds that look wrong, with the evidence and a proposal; nothing is ever corrected here.

Three looks, none of which needs to know who is right: the gold against its own tools' schema, the
gold against the graders (does a checker refuse its own key?), and the gold against models that agree
with one another on something else. A line is what an overlay (`_overlay.py`) takes, but for a name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from callgrain.core import plugins
from callgrain.core.canonical import content_key
from callgrain.core.types import Answer, Fault, Json, Reply, Sample, Tool, Trace
from callgrain.probes._card import Judge, graders
from callgrain.probes._outputs import Cutting, Item
from callgrain.verify.lint import lint, misfit
from callgrain.verify.verdict import branch

Finding = dict[str, Any]


def audited(traces: Iterable[Trace], judges: Mapping[str, Judge], found: list[Finding]) -> Iterator[Trace]:
    """The traces as they are; what looks wrong in their golds goes to `found` as they pass."""
    cutting, all_judges = Cutting(), dict(judges)
    compat = plugins.names("compat")
    for trace in traces:
        for name in trace.gold.native or ():
            if name in compat and name not in all_judges:
                all_judges |= graders([name])
        if finding := _against_schema(trace):
            found.append(finding)
        sample = cutting.sample("full", trace)
        if sample is not None:
            found += _against_graders(trace.gold, sample, all_judges)
        yield trace


def _line(gold: tuple[str, str], check: str, reason: str, evidence: Json, answer: Answer | None = None) -> Finding:
    """One line; `gold` is (row, key of its gold)."""
    row, was = gold
    proposed = answer.model_dump(mode="json", exclude_defaults=True) if answer else None
    found = {"row": row, "was": was, "check": check, "reason": reason, "evidence": evidence}
    return {**found, "answer": proposed, "by": ""}


def _against_schema(trace: Trace) -> Finding | None:
    faults = [fault for fault in lint(trace.gold.calls, trace.tools) if not _is_default(fault)]
    if not faults:
        return None
    first = faults[0]
    reason = f"the gold breaks its own tool's schema: {first.kind} at {first.where}"
    evidence = [f.model_dump(mode="json", exclude_defaults=True) for f in faults[:5]]
    return _line((trace.origin.row, trace.gold.key), "schema", reason, evidence, _mended(trace, faults))


def _is_default(fault: Fault) -> bool:
    """Whether the value is the one that the schema itself declares, such as null for an optional text."""
    schema = fault.expected
    return isinstance(schema, dict) and "default" in schema and fault.given is schema["default"] is None


def _mended(trace: Trace, faults: Sequence[Fault]) -> Answer | None:
    """The gold with every fault mended where that is plain; None where one is not."""
    offered = {tool.name: tool for tool in trace.tools}
    calls = list(trace.gold.calls)
    accepts = dict(trace.gold.accepts)
    for fault in faults:
        _, index, *rest = fault.where.split(".", 3)
        if len(rest) < 2 or rest[0] != "arguments":
            return None
        call, name = calls[int(index)], rest[1]
        arguments = dict(call.arguments)
        if not _mend(arguments, name, fault.kind, offered[call.name]):
            return None
        calls[int(index)] = call.model_copy(update={"arguments": arguments})
        accepts.pop(f"{index}.{name}", None)
    if lint(calls, trace.tools):
        return None
    return trace.gold.model_copy(update={"calls": tuple(calls), "accepts": accepts, "native": None})


def _mend(arguments: dict[str, Json], name: str, kind: str, tool: Tool) -> bool:
    """Mend one argument in place; False where it is not plain how."""
    schema = tool.properties.get(name)
    if kind == "unknown_argument":
        del arguments[name]
        return True
    if kind == "missing_argument" and isinstance(schema, dict) and "default" in schema:
        arguments[name] = schema["default"]
        return True
    if kind not in ("wrong_type", "not_allowed") or name not in arguments:
        return False
    for value in _nearby(arguments[name], schema):
        if misfit(schema, value) is None:
            arguments[name] = value
            return True
    return False


def _nearby(value: Json, schema: Json) -> Iterator[Json]:
    """The same value spelt otherwise: a number as text, one thing as a list of one, another case of an enum's."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                number = kind(value)
            except ValueError:
                continue
            if isfinite(number):
                yield number
        if value.lower() in ("true", "false"):
            yield value.lower() == "true"
        listed = schema.get("enum") if isinstance(schema, dict) else None
        yield from (v for v in (listed or ()) if isinstance(v, str) and v.casefold() == value.casefold())
    elif isinstance(value, int | float):
        if not isinstance(value, bool) and value == value // 1:
            yield int(value)
        yield str(value)
    if isinstance(value, list) and len(value) == 1:
        yield value[0]
    yield [value]


def _against_graders(gold: Answer, sample: Sample, judges: Mapping[str, Judge]) -> Iterator[Finding]:
    """A finding for each grader that refuses, or breaks on, the gold as a reply."""
    for name, judge in judges.items():
        try:
            verdict = judge(sample, Reply(message=sample.answer.message))
            state, detail = verdict.state, verdict.detail
            faults = [f.kind for f in verdict.faults]
        except Exception as error:  # a stranger's grader may raise anything: that is a finding
            state, detail, faults = "grader_error", f"{type(error).__name__}: {error}"[:200], []
        if state == "not_applicable" or (state == "graded" and not faults):
            continue
        what = "breaks on" if state == "grader_error" else "refuses"
        reason = f"{name} {what} the gold itself: {detail or ', '.join(faults)}"
        evidence = {"grader": name, "state": state, "faults": faults, "detail": detail}
        yield _line((sample.origin.row, gold.key), "grader", reason, evidence)


def agreed(files: Mapping[str, Sequence[Item]], golds: Mapping[str, str]) -> list[Finding]:
    """Items on which several files agree with each other, in good form, against the gold.

    `golds` gives each row's key of the gold. More than half of the outputs of an item, and two at least,
    must be the same calls (or all no call), readable, and within their tools' schema.
    """
    by_row: dict[str, list[tuple[str, Item]]] = defaultdict(list)
    for name, items in files.items():
        for item in items:
            if item.sample.subtask == "full" and not item.absent and item.reply.failure is None:
                by_row[item.sample.origin.row].append((name, item))
    out: list[Finding] = []
    for row, outputs in by_row.items():
        groups: dict[str, list[tuple[str, Item]]] = defaultdict(list)
        for name, item in outputs:
            if (spelled := _spelled(item)) is not None:
                groups[spelled].append((name, item))
        best = max(groups.values(), key=len, default=[])
        if len(best) < 2 or 2 * len(best) <= len(outputs):
            continue
        finding = _agreement(row, golds.get(row, ""), best, len(outputs))
        out += [finding] if finding else []
    return out


def _agreement(row: str, was: str, best: Sequence[tuple[str, Item]], n: int) -> Finding | None:
    """The finding on a group of same outputs; None where the gold holds them right."""
    sample, message = best[0][1].sample, best[0][1].reply.message
    if message is None or not was or graders("strict")["strict"](sample, best[0][1].reply).ok:
        return None
    answer = Answer(calls=message.calls) if message.calls else Answer(decision="decline")
    share = len(best) / n
    reason = f"{len(best)} of {n} outputs agree with each other against the gold"
    calls = [call.model_dump(mode="json", exclude_defaults=True) for call in message.calls]
    names = [name for name, _ in best]
    evidence = {"share": round(share, 4), "agree": len(best), "n": n, "files": names, "calls": calls}
    return _line((row, was), "agreement", reason, evidence, answer)


def _spelled(item: Item) -> str | None:
    """One spelling for calls that say the same; None where they are malformed, break a schema, or ask back."""
    message = item.reply.message
    if message is None or lint(message.calls, item.sample.prompt.tools):
        return None
    if not message.calls:
        return None if branch(message) == "ask" else "no call"
    calls = [[call.name, _even(call.arguments)] for call in message.calls]
    ordered = item.sample.answer.ordered or any(call.label for call in message.calls)
    return content_key(calls if ordered else sorted(calls, key=content_key))


def _even(value: Json) -> Json:
    """The value with 2.0 and 2 as one: lint has seen that it is nested no deeper than can be walked."""
    if isinstance(value, dict):
        return {k: _even(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_even(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
