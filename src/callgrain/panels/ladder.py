"""Lost points by oracle, from as it is to everything put right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts
from callgrain.panels import _ladder as steps
from callgrain.panels import _markup as mark

RUNGS: Mapping[str, str] = {
    "retrieval": "the right tools among those shown",
    "schema": "schemas without prose",
    "syntax": "form",
    "history": "the earlier exchange gone well",
    "names": "the right functions",
    "values": "the right values",
    "plan": "the right number, order and references",
}
_HOW = {
    "constrained": "replies held to the grammar",
    "recovered": "near-misses read as meant",
}


class Ladder:
    """A waterfall over the oracles, a table of alone and together, and each sub-task's shares."""

    title = "Where calls fail: the ladder of oracles"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The panel; None where the ladder was not climbed."""
        mine = [r for r in readings if r.probe == "ladder"]
        whole = [r for r in mine if r.by.get("subtask") == "all"]
        base, lost = _one(whole, "ok", rungs=""), _one(whole, "lost")
        shares = sorted((r for r in whole if r.name == "shapley"), key=lambda r: -(r.value or 0.0))
        if base is None or base.value is None or lost is None or not shares:
            return None
        others = list(dict.fromkeys(str(r.by["subtask"]) for r in mine if r.by.get("subtask") not in (None, "all")))
        parts = [_finding(whole, shares, lost), _waterfall(whole, base, shares), _together(whole)]
        if others:
            parts.append(mark.fold("by sub-task", _subtasks(mine, shares, others)))
        return mark.join([*parts, _key(shares)])


def _one(rows: Sequence[Reading], name: str, **by: str) -> Reading | None:
    return next((r for r in rows if r.name == name and all(r.by.get(k) == v for k, v in by.items())), None)


def _is_shown(row: Reading) -> bool:
    """Whether the interval lies on one side of nothing."""
    return row.low is not None and row.high is not None and (row.low > 0 or row.high < 0)


def _name(row: Reading) -> Markup:
    return mark.code(str(row.by.get("rung", "")))


def _finding(whole: Sequence[Reading], shares: Sequence[Reading], lost: Reading) -> Markup:
    base = _one(whole, "ok", rungs="")
    first = Markup("As it is, {} of the samples are right; all oracles together give back {} points.").format(
        mark.share(base) if base else "", mark.gap(lost)
    )
    shown = [r for r in shares if _is_shown(r) and (r.value or 0.0) > 0]
    if not shown:
        return mark.said(first, "No single axis is shown to cost points.")
    most = Markup("The largest share is that of {} ({}): {} points.").format(
        _name(shown[0]), RUNGS.get(str(shown[0].by.get("rung")), "unknown"), mark.gap(shown[0])
    )
    if len(shown) > 1 and not _apart(shown[0], shown[1]):
        most = Markup("{} Between it and {} no difference is shown.").format(most, _name(shown[1]))
    left = _one(whole, "left")
    if left is None:
        return mark.said(first, most)
    tail = "." if (left.low or 0.0) > 0 else "; that any are left is not shown."
    rest = Markup("Putting right the best single axis, {}, still leaves {} points{}").format(
        _name(left), mark.gap(left), tail
    )
    return mark.said(first, most, rest)


def _apart(one: Reading, other: Reading) -> bool:
    """Whether two intervals do not meet: a careful test of a difference."""
    return one.low is not None and other.high is not None and one.low > other.high


def _waterfall(whole: Sequence[Reading], base: Reading, shares: Sequence[Reading]) -> Markup:
    """From as it is, rung by rung by its share, to where all oracles lead."""
    at = base.value or 0.0
    rows: list[tuple[mark.Cell, ...]] = [("as it is", steps.step(0.0, at), mark.share(base), "", "")]
    for row in shares:
        end = at + (row.value or 0.0)
        tone = ("good" if end >= at else "weak") if _is_shown(row) else "plain"
        alone = _one(whole, "alone", rung=str(row.by.get("rung")))
        reach = _one(whole, "applies", rung=str(row.by.get("rung")))
        told = mark.share(reach) if reach else mark.text("all")
        rows.append((_name(row), steps.step(at, end, tone), mark.gap(row), mark.gap(alone) if alone else "", told))
        at = end
    top = _most(whole)
    if top is not None:
        rows.append(("with every oracle", steps.step(0.0, top.value or 0.0), mark.share(top), "", ""))
    head = ("oracle", _charts.axis(), "share of the points", "alone", "samples it changes")
    return mark.table(head, rows, picture=1)


def _most(whole: Sequence[Reading]) -> Reading | None:
    """The share right with the most oracles in."""
    rows = [r for r in whole if r.name == "ok"]
    return max(rows, key=lambda r: str(r.by.get("rungs", "")).count("+") + bool(r.by.get("rungs")), default=None)


def _together(whole: Sequence[Reading]) -> Markup:
    """What joint and sham oracles say: whether the axes can be mended one by one."""
    said: list[mark.Cell] = []
    joint, sham = _one(whole, "interaction"), _one(whole, "sham")
    if joint is not None and joint.value is not None:
        meaning = "; that they hang together is not shown."
        if _is_shown(joint):
            several = ("several oracles mend the same failures.", "some failures take several oracles at once.")
            meaning = f": {several[joint.value > 0]}"
        text = Markup("Beyond the sum of what each gives alone, all oracles together give {} points{}")
        said.append(text.format(mark.gap(joint), meaning))
    if sham is not None:
        tail = "." if _is_shown(sham) else ": no difference shown."
        said.append(Markup("Changing as many tools for nothing gives {} points{}").format(mark.gap(sham), tail))
    pruned = _one(whole, "pruned")
    if pruned is not None:
        tail = "." if _is_shown(pruned) else ": no difference shown."
        said.append(Markup("Leaving the earlier exchange out gives {} points{}").format(mark.gap(pruned), tail))
    return mark.small(*said) if said else Markup("")


def _subtasks(mine: Sequence[Reading], shares: Sequence[Reading], names: Sequence[str]) -> Markup:
    """A table of sub-tasks by rungs, darker where more points are lost."""
    rungs = [str(r.by.get("rung")) for r in shares]
    rows: list[tuple[mark.Cell, Sequence[Reading | None]]] = []
    for name in names:
        own = [r for r in mine if r.by.get("subtask") == name]
        cells = [_one(own, "ok", rungs=""), _one(own, "lost"), *(_one(own, "shapley", rung=rung) for rung in rungs)]
        rows.append((mark.code(name), cells))
    head = ("as it is", "lost", *(mark.code(rung, "even") for rung in rungs))
    return mark.heat(head, rows, corner="percent, and points", spread=0.6)


def _key(shares: Sequence[Reading]) -> Markup:
    """What each oracle is."""
    how = next((str(r.by["how"]) for r in shares if "how" in r.by), "")
    meant = {**RUNGS, "syntax": _HOW.get(how, RUNGS["syntax"])}
    told = [f"{rung}: {text}" for rung, text in meant.items() if any(r.by.get("rung") == rung for r in shares)]
    return mark.key(
        "Shares are Shapley values over every set of oracles and add up to the points given back.",
        f"Oracles: {'; '.join(told)}.",
    )


plugin = Ladder
