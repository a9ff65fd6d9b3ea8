"""Dialects and how different repeated replies are."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts
from callgrain.panels import _markup as mark

_NAMES = {
    "valid": "replies that a guard without the key would pass",
    "effective": "pairs of replies both valid and different in effect",
    "different": "of pairs both valid, different in effect",
    "right_different": "of pairs both right, by different plans",
    "skeletons": "distinct skeletons a calling reply",
    "wrong_plans": "distinct plans a wrong calling reply",
}
_FORECAST = (
    "Forecast: the share to which reinforcement that is held to the present model would move it, w exp(R / beta) / Z, "
    "with beta 0.1 and 1; a closed form, not a measurement."
)
_NO_MERIT = "Where a prompt has one right answer, diversity is no merit: read it beside the share right."


class Diversity:
    """Shares of the dialects with their accuracy and forecast; variety among repeated replies."""

    title = "Dialects and diversity"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The panel; None where nothing was drawn."""
        mine = [r for r in readings if r.probe == "diversity"]
        shares = [r for r in mine if r.name == "share"]
        if not shares:
            return None
        rows = [_dialect(row, mine) for row in shares]
        variety = [
            (_NAMES[r.name], _charts.strip(r), mark.share(r), str(r.n))
            for name in _NAMES
            for r in mine
            if r.name == name
        ]
        head = ("kind of reply", _charts.axis(), "share", "right", "forecast, weak leash", "strong leash")
        parts = [_finding(shares, mine), mark.table(head, rows, picture=1), mark.small(_FORECAST)]
        parts.append(mark.table(("of replies to one prompt", _charts.axis(), "share", "prompts"), variety, picture=1))
        return mark.join([*parts, mark.small(_NO_MERIT)])


def _dialect(row: Reading, mine: Sequence[Reading]) -> list[mark.Cell]:
    name = row.by["dialect"]
    right = next((r for r in mine if r.name == "ok" and r.by["dialect"] == name), None)
    ahead = {r.by["beta"]: r for r in mine if r.name == "forecast" and r.by["dialect"] == name}
    told = [mark.share(ahead[beta]) if beta in ahead else mark.text("–") for beta in (0.1, 1.0)]
    return [
        mark.code(str(name)),
        _charts.strip(row),
        mark.share(row),
        mark.share(right) if right else mark.text("–"),
        *told,
    ]


def _finding(shares: Sequence[Reading], mine: Sequence[Reading]) -> Markup:
    spoken = [r for r in shares if r.by["dialect"] not in ("text", "broken")]
    if not spoken:
        return mark.said("No reply held a call that any dialect can read.")
    most = max(spoken, key=lambda r: r.value or 0.0)
    name, said = mark.code(str(most.by["dialect"])), mark.share(most)
    first = Markup("It writes calls in one dialect only, {}: {} of all replies.").format(name, said)
    if len(spoken) > 1:
        first = Markup("It writes calls in {} dialects, most in {}: {} of all replies.").format(len(spoken), name, said)
    effective = next((r for r in mine if r.name == "effective"), None)
    if effective is None:
        return mark.said(first)
    tail = Markup("Of two replies to one prompt, {} are both valid and different in effect.")
    return mark.said(first, tail.format(mark.share(effective)))


plugin = Diversity
