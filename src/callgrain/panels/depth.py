"""Success by depth and width, what each costs, the ledger of calls."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts
from callgrain.panels import _markup as mark

_STATES = {
    "correct": "right result from right inputs",
    "local": "wrong by itself",
    "propagation": "right call, wrong inputs",
    "restoration": "right result in spite of a wrong input",
    "omitted": "not made (or not readable)",
    "extra": "made though not due, a due call",
}
_FACTORS = {
    "depth": "a level deeper",
    "width": "a call wider",
    "fan_in": "an input more",
    "overlap": "edges that training shows",
}


class Depth:
    """A heat map of depth by width, log-odds of each factor, the ledger by level."""

    title = "Depth of composition"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The panel; None where nothing nested was asked."""
        mine = [r for r in readings if r.probe == "depth"]
        cells = {(int(r.by["depth"]), int(r.by["width"])): r for r in mine if r.name == "ok" and len(r.by) == 2}
        if not cells:
            return None
        widths = sorted({w for _, w in cells})
        rows = [(f"depth {d}", [cells.get((d, w)) for w in widths]) for d in sorted({d for d, _ in cells})]
        head = [f"width {w}" for w in widths]
        parts = [_finding(mine), mark.heat(head, rows, corner="share right, %"), _effects(mine), _ledger(mine)]
        return mark.join([part for part in parts if part is not None])


def _finding(mine: Sequence[Reading]) -> Markup:
    effects = [r for r in mine if r.name == "effect"]
    shown = [r for r in effects if r.by["shown"] and (r.value or 0) < 0 and r.by["factor"] != "overlap"]
    sentences: list[Markup] = []
    if shown:
        worst = min(shown, key=lambda r: r.value or 0.0)
        text = Markup("What costs most is {}: {} in log-odds of being right.")
        sentences.append(text.format(_FACTORS[str(worst.by["factor"])], mark.figure(worst)))
    elif effects:
        sentences.append(Markup("That depth, width or fan-in costs anything is not shown."))
    gap = next((r for r in mine if r.name == "overlap_gap"), None)
    if gap is not None:
        more = gap.low is not None and gap.low > 0
        text = Markup("On edges that training shows it is right {} points more often, at equal shape.")
        if not more:
            text = Markup("That it does better on edges that training shows is not shown ({} points, at equal shape).")
        sentences.append(text.format(mark.gap(gap)))
    by = {str(r.by["state"]): r for r in mine if r.name == "ledger" and len(r.by) == 1}
    if "local" in by and "propagation" in by:
        text = Markup("Of the calls that were due, {} are wrong by themselves and {} only by what they were fed.")
        sentences.append(text.format(mark.share(by["local"]), mark.share(by["propagation"])))
    return mark.said(*sentences)


def _effects(mine: Sequence[Reading]) -> Markup | None:
    rows = [
        (_FACTORS[str(r.by["factor"])], mark.figure(r), "shown" if r.by["shown"] else "not shown", str(r.n))
        for r in mine
        if r.name == "effect"
    ]
    if not rows:
        return None
    note = mark.small(
        "Log-odds of a whole composition being right, the other factors held (Firth's logistic regression)."
    )
    return mark.join([mark.table(("one step", "log-odds", "", "n"), rows), note])


def _ledger(mine: Sequence[Reading]) -> Markup | None:
    found = [r for r in mine if r.name == "ledger"]
    if not found:
        return None
    total = {str(r.by["state"]): r for r in found if len(r.by) == 1}
    rows = [
        (mark.join([mark.code(state), f" {caption}"], ""), _charts.strip(total[state]), mark.share(total[state]))
        for state, caption in _STATES.items()
        if state in total
    ]
    levels = sorted({int(r.by["depth"]) for r in found if "depth" in r.by})
    at = {(str(r.by["state"]), int(r.by["depth"])): r for r in found if "depth" in r.by}
    grid = [
        (mark.code(s), [at.get((s, level)) for level in levels]) for s in _STATES if any((s, d) in at for d in levels)
    ]
    by_level = mark.heat([f"level {level}" for level in levels], grid, corner="of the calls due, %")
    ledger = mark.table(("what became of each call", _charts.axis(), "share"), rows, picture=1)
    return mark.join([mark.heading("Ledger of calls"), ledger, mark.fold("By level of the graph", by_level)])


plugin = Depth
