"""The capacity card: limits of the model, and what they foretell."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _markup as mark

_LOADS = {
    "tools": "tools shown",
    "calls": "calls due",
    "arguments": "arguments of one call",
    "depth": "depth of composition",
    "history": "turns before",
}


class Capacity:
    """Limits of single axes and of the law, the law's error on held-out traces."""

    title = "Capacity card"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The card; None where no law could be fitted."""
        mine = [r for r in readings if r.probe == "capacity"]
        if not mine:
            return None
        parts = [_finding(mine), _limits(readings), _effects(mine), mark.small(_NOTE)]
        return mark.join([part for part in parts if part is not None])


_NOTE = (
    "The law is logistic in doublings of each load, fitted on some traces and tested on others; its limits hold "
    "everything else at its median. Limits of single axes come from prompts in which nothing else was changed: where "
    "they disagree with the law, believe the axis."
)


def _finding(mine: Sequence[Reading]) -> Markup:
    by = {r.name: r for r in mine if not r.by}
    error, skill = by.get("error"), by.get("skill")
    if error is None or skill is None:
        return mark.said("A law was fitted; there were too few traces to test it on.")
    told = Markup(
        "On traces that it did not see, the law foretells {:.1f} % right where {} are: an error of {} points."
    )
    predicted, observed = by["predicted"], by["observed"]
    worth = Markup("It is worth more than the average alone: {} of its Brier score explained.").format(
        mark.share(skill)
    )
    if skill.low is None or skill.low <= 0:
        worth = Markup("That it foretells single prompts better than the average alone is not shown ({}).").format(
            mark.share(skill)
        )
    return mark.said(told.format(100 * (predicted.value or 0.0), mark.share(observed), mark.gap(error)), worth)


def _limits(readings: Sequence[Reading]) -> Markup:
    rows: list[Sequence[mark.Cell]] = []
    for name in ("D90", "D50"):
        share = name.removeprefix("D")
        rows += [
            (
                f"{share} % right up to so many {_LOADS.get(str(r.by['axis']), r.by['axis'])}",
                _limit(r),
                "density",
                str(r.n),
            )
            for r in readings
            if r.probe == "density" and r.name == name
        ]
    rows += [
        (f"half right, by the law: {_LOADS[str(r.by['load'])]}", _limit(r), "law", str(r.n))
        for r in readings
        if r.probe == "capacity" and r.name == "limit"
    ]
    for r in readings:
        if r.probe == "contamination" and r.name == "H50":
            whose = r.by.get("fault", "own replies")
            rows.append((f"turns all right in half of all runs ({whose})", _limit(r), "contamination", str(r.n)))
    rows += [
        (f"right {r.by['k']} times out of {r.by['k']}", mark.share(r), "reliability", str(r.n))
        for r in readings
        if r.probe == "reliability" and r.name == "pass_hat"
    ]
    return mark.table(("limit", "value", "measured by", "n"), rows)


def _limit(row: Reading) -> Markup:
    """A load with its interval, whose ends may be open; where it was not reached, on which side it lies."""
    below, beyond = row.by.get("below"), row.by.get("beyond")
    if row.value is None:
        side = ("below", below) if below is not None else ("beyond", beyond)
        return mark.text(f"{side[0]} {side[1]:g}" if isinstance(side[1], int | float) else "not reached")
    low = row.low if row.low is not None else row.by.get("low_below")
    high = row.high if row.high is not None else row.by.get("high_beyond")
    if (row.low is not None and row.high is not None) or low is None or high is None:
        return mark.figure(row)
    ends = f"{'' if row.low is not None else 'below '}{low:g}", f"{'' if row.high is not None else 'beyond '}{high:g}"
    return mark.join([mark.figure(row.model_copy(update={"low": None, "high": None})), f"[{', '.join(ends)}]"])


def _effects(mine: Sequence[Reading]) -> Markup | None:
    rows = [
        (
            f"{_LOADS[str(r.by['load'])]}, {'a step' if r.by['load'] == 'depth' else 'doubled'}",
            mark.figure(r),
            "shown" if r.by["shown"] else "not shown",
        )
        for r in mine
        if r.name == "effect"
    ]
    if not rows:
        return None
    return mark.fold("What each load costs, in log-odds of being right", mark.table(("load", "log-odds", ""), rows))


plugin = Capacity
