"""What moved that had to, and what moved that had not; without a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts, _markup
from callgrain.panels._markup import Cell

CHANGES: Mapping[str, str] = {
    "reorder": "tools and parameters in another order",
    "rename_parameters": "parameters under other words",
    "one_more_tool": "one more tool, unlike all others",
    "paraphrase": "the request in other words",
    "edit_number": "another number",
    "edit_date": "another date",
    "edit_identifier": "another identifier",
    "edit_choice": "another value of a closed list",
    "edit_name": "another name",
    "edit": "all edits",
}
"""What each change is, in words."""
ALL = "edit"
"""All edits together."""


class Metamorphic:
    """The panel of `metamorphic`."""

    title = "Without a key: what moves with the request"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """How often the edited argument followed and all else stayed, by change."""
        own = [r for r in readings if r.probe == "shift" and r.name in ("target", "collateral", "usable", "chance")]
        changes = list(dict.fromkeys(str(r.by["change"]) for r in own if "change" in r.by))
        if not changes:
            return None
        by = {(r.name, str(r.by.get("change", ""))): r for r in own}
        head = ("change", _charts.axis(), "all else stayed", "the argument followed", "usable", "n")
        rows = [_row(name, by) for name in changes if ("collateral", name) in by]
        key = _markup.key(
            "The model's own reply to the original is the reference; no right answer is read.",
            "Usable: the original's reply calls something, and holds the value that is edited.",
        )
        return _markup.join([_found(by, changes), _markup.table(head, rows, picture=1), key], "")


Rows = Mapping[tuple[str, str], Reading]


def _row(change: str, by: Rows) -> list[Cell]:
    stayed = by["collateral", change]
    target, usable = by.get(("target", change)), by.get(("usable", change))
    return [
        Markup("{} {}").format(_markup.code(change), _markup.text(CHANGES.get(change, ""))),
        _charts.strip(stayed),
        _markup.share(stayed),
        _markup.share(target) if target else "–",
        _markup.share(usable) if usable else "–",
        str(stayed.n),
    ]


def _found(by: Rows, changes: Sequence[str]) -> Markup:
    sentences: list[Cell] = []
    target, stayed = by.get(("target", ALL)), by.get(("collateral", ALL))
    if target and stayed and target.value is not None:
        said = Markup(
            "One fact of the request was edited: the argument that held it followed in {}, all else stayed in {}."
        )
        sentences.append(said.format(_markup.share(target), _markup.share(stayed)))
    kept = {
        name: row
        for name in changes
        if ("target", name) not in by and (row := by.get(("collateral", name))) and row.value is not None
    }
    if kept:
        worst = min(kept, key=lambda name: kept[name].value or 0.0)
        said = Markup("Of the changes that must change nothing, {} ({}) moved most: the calls stayed in {}.")
        sentences.append(said.format(_markup.code(worst), CHANGES.get(worst, ""), _markup.share(kept[worst])))
    if not sentences:
        sentences.append("No reply to an original can serve as a reference: it calls nothing.")
    chance = by.get(("chance", ""))
    if chance and chance.value is not None:
        said = Markup("Two samples that have nothing in common got the same calls in {}.")
        sentences.append(said.format(_markup.share(chance)))
    return _markup.said(*sentences)


plugin = Metamorphic
