"""What graded outputs add up to: the rows, figures and counts of a recorded run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from callgrain.core import stats
from callgrain.core.types import Fault, Json, Reading, Sample, Verdict
from callgrain.probes._card import STRICT, Judge
from callgrain.probes._diagnose import probe_of, read_by
from callgrain.probes._graded import Graded, grouped, reading
from callgrain.probes._outputs import NAMED, Item, Matched


@dataclass(frozen=True)
class Judged:
    """One item with every grader's verdict, and with those by the published gold where it was corrected."""

    item: Item
    verdicts: Mapping[str, Verdict]
    published: Mapping[str, Verdict]


def graded_of(item: Judged, grader: str) -> Graded:
    """An item as probes read it, by one grader."""
    return Graded(item.item.sample, item.item.reply, item.verdicts[grader], item.item.probe, item.item.trace)


def grader_row(item: str, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """An item's line: what each grader says; `state` and `detail` only where it could not judge."""
    row: dict[str, Any] = {"id": item}
    for name, verdict in verdicts.items():
        said: dict[str, Any] = {"ok": verdict.ok}
        if name == STRICT:
            said["faults"] = [fault.kind for fault in verdict.faults]
        else:
            said["error_type"] = verdict.detail if verdict.state == "graded" and not verdict.ok else ""
        if verdict.state != "graded":
            said |= {"state": verdict.state, "detail": verdict.detail}
        row[name] = said
    return row


def disagreement(done: Judged) -> dict[str, Any] | None:
    """The line of an item on which graders differ, with each one's reason."""
    counted = {name: v for name, v in done.verdicts.items() if v.state == "graded"}
    if len({v.ok for v in counted.values()}) < 2:
        return None
    sample, message = done.item.sample, done.item.reply.message
    calls = [call.model_dump(mode="json", exclude_defaults=True) for call in message.calls] if message else []
    gold = [call.model_dump(mode="json", exclude_defaults=True) for call in sample.answer.calls]
    return {
        "id": done.item.id,
        "key": sample.key,
        "subtask": sample.subtask,
        "graders": {name: {"ok": v.ok, "why": why(v)} for name, v in counted.items()},
        "gold": gold or sample.answer.decision,
        "given": calls or done.item.reply.text[:2000],
    }


def why(verdict: Verdict) -> str:
    """A verdict in words: its first fault, with place and both sides, and the grader's own name for it."""
    first = verdict.first
    if first is None:
        return verdict.detail or "right"
    own = verdict.detail or first.detail
    return told(first) + (f" ({own})" if own else "")


def told(fault: Fault) -> str:
    """A fault in words."""
    place = f" at {fault.where}" if fault.where else ""
    sides = [
        f"{side} {_short(v)}" for side, v in (("expected", fault.expected), ("given", fault.given)) if v is not None
    ]
    return f"{fault.kind}{place}" + (f": {', '.join(sides)}" if sides else "")


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def figures_of(done: Sequence[Judged], judges: Mapping[str, Judge], overlay: str) -> list[Reading]:
    """`grade/ok` by grader, by sub-task and by category, with the overlay and without, and `grade/agreement`."""
    pool = [d for d in done if d.item.probe == "subtask"]
    out: list[Reading] = []
    for name in judges:
        if overlay:
            out += _shares(name, [(d.item.sample, d.published[name]) for d in pool], {"overlay": "none"})
        kept = [(d.item.sample, d.verdicts[name]) for d in pool if not d.item.dropped]
        out += _shares(name, kept, {"overlay": overlay} if overlay else {})
    kept = [d for d in pool if not d.item.dropped]
    for one, other in combinations(judges, 2):
        pairs = [(d.verdicts[one], d.verdicts[other]) for d in kept]
        same = [a.ok == b.ok for a, b in pairs if a.state == b.state == "graded"]
        out.append(reading("grade", "agreement", stats.share(sum(same), len(same)), len(same), grader=one, other=other))
    return out


def _shares(grader: str, rows: Sequence[tuple[Sample, Verdict]], by: dict[str, str]) -> Iterator[Reading]:
    counted = [(sample, verdict.ok) for sample, verdict in rows if verdict.state == "graded"]

    def share(items: Sequence[tuple[Sample, bool]], **more: str) -> Reading:
        figure = stats.share(sum(ok for _, ok in items), len(items))
        return reading("grade", "ok", figure, len(items), grader=grader, **by, **more)

    yield share(counted)
    for subtask, items in grouped(counted, lambda row: row[0].subtask).items():
        yield share(items, subtask=subtask)
        groups = grouped(items, lambda row: str(row[0].traits.get("category", "")))
        for category, some in groups.items() if len(groups) > 1 else ():
            yield share(some, subtask=subtask, category=category)


def scores(done: Sequence[Judged], judges: Mapping[str, Judge]) -> list[Reading]:
    """What `report` needs at least: scores, slices and ranks by the first grader, without measures."""
    first = next(iter(judges))
    bare = [graded_of(d, first) for d in done if not d.item.dropped]
    bare = [
        replace(g, verdict=g.verdict.model_copy(update={"measures": {}})) if g.verdict.measures else g for g in bare
    ]
    return read_by({name: probe_of(name) for name in ("subtask", "weakness")}, bare)


def summary(done: Sequence[Judged], found: Matched, judges: Mapping[str, Judge]) -> dict[str, Any]:
    pool = [d for d in done if d.item.probe == "subtask"]
    kept = [d for d in pool if not d.item.dropped]
    first = [d.verdicts[next(iter(judges))] for d in kept]
    counted = [v for v in first if v.state == "graded"]
    faults = Counter(v.first.kind for v in counted if v.first)
    failures = sum(d.item.reply.failure is not None for d in pool)
    asked = sum(not d.item.absent for d in pool) + len(found.missing)
    lists = {name: getattr(found, name) for name in ("missing", "unknown", "uncut")}
    return {
        "items": len(kept),
        "right": sum(v.ok for v in counted),
        "graded": len(counted),
        "failures": failures,
        "without": (failures + len(found.missing)) / max(1, asked),
        "faults": dict(faults.most_common()),
        "repeated": found.repeated,
        "by_place": found.by_place,
        **{name: len(ids) for name, ids in lists.items()},
        **{f"{name}_first": ids[:NAMED] for name, ids in lists.items()},
    }
