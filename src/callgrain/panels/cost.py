"""What each probe asked, what it cost, and which could not run."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _markup as mark

_FIGURES = ("prompts", "prompt_tokens", "completion_tokens", "seconds")


class Cost:
    """Prompts, tokens and seconds by probe; the tier that each needs beside the one that the model has."""

    title = "Cost"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The table; None where only the pool was asked, and nothing was left out."""
        costs = {(r.name, str(r.by["of"])): r for r in readings if r.probe == "cost"}
        tiers = {r.name: r for r in readings if r.probe == "tier"}
        names = list(dict.fromkeys([*(of for _, of in costs), *tiers]))
        if len(names) < 2 and not tiers:
            return None
        rows = [_row(name, costs, tiers.get(name)) for name in names]
        missing = [r for r in tiers.values() if r.value is None]
        head = ("asked by", "prompts", "prompt tokens", "reply tokens", "seconds", "needs")
        return mark.join([_finding(costs, missing), mark.table(head, rows)])


def _row(name: str, costs: dict[tuple[str, str], Reading], tier: Reading | None) -> Sequence[mark.Cell]:
    figures = [costs.get((figure, name)) for figure in _FIGURES]
    cells = [f"{r.value:,.0f}" if r and r.value is not None else "–" for r in figures]
    needs = "" if tier is None else str(tier.by["needs"])
    if tier is not None and tier.value is None:
        needs = f"{needs}: not run, the model gives {tier.by['has']}"
    return [mark.code("the pool" if name == "subtask" else name), *cells, needs]


def _finding(costs: dict[tuple[str, str], Reading], missing: Sequence[Reading]) -> Markup:
    asked = sum(r.value or 0 for (name, _), r in costs.items() if name == "prompts")
    tokens = sum(r.value or 0 for (name, _), r in costs.items() if name.endswith("_tokens"))
    first = f"{asked:,.0f} prompts in all" + (f", {tokens:,.0f} tokens." if tokens else ".")
    if not missing:
        return mark.said(first)
    names = mark.join([mark.code(r.name) for r in missing], ", ")
    return mark.said(first, Markup("Not run, since the model gives too little: {}.").format(names))


plugin = Cost
