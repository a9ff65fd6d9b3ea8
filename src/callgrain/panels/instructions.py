"""Which parts of its instructions a model uses: the drop without each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts
from callgrain.panels import _markup as mark
from callgrain.panels._words import chance

_WITHOUT = {
    "descriptions": "no descriptions: names and types alone",
    "names": "made-up names: descriptions alone",
    "request": "no request",
    "shuffled": "each description at another function",
}


class Instructions:
    """What each part of the instructions is worth, over all sub-tasks and by each."""

    title = "Use of instructions"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The panel; None where nothing was taken away."""
        uses = [r for r in readings if r.probe == "instructions" and r.name == "use"]
        if not uses:
            return None
        subtasks = list(dict.fromkeys(str(r.by["subtask"]) for r in uses))
        top = "all" if "all" in subtasks else subtasks[0]
        limits = _charts.span_of(uses)
        parts = [_finding([r for r in uses if r.by["subtask"] == top], readings, top), _table(top, uses, limits)]
        parts += [mark.fold(mark.code(name), _table(name, uses, limits)) for name in subtasks if name != top]
        note = "Paired on the same samples; p by McNemar's exact test, corrected over the parts (Holm)."
        return mark.join([*parts, mark.small(note)])


def _table(subtask: str, uses: Sequence[Reading], limits: tuple[float, float, int]) -> Markup:
    rows: list[Sequence[mark.Cell]] = []
    for row in uses:
        if row.by["subtask"] == subtask:
            tone = "worse" if row.by["shown"] and (row.value or 0) > 0 else "no-difference-shown"
            strip = _charts.difference(row, limits[0], limits[1], tone)
            rows.append((_WITHOUT[str(row.by["part"])], strip, mark.gap(row), chance(row.by["p"]), str(row.n)))
    return mark.table(("without", _charts.axis(*limits, ""), "points lost", "p", "n"), rows, picture=1)


def _finding(uses: Sequence[Reading], readings: Sequence[Reading], subtask: str) -> Markup:
    shown = [r for r in uses if r.by["shown"] and (r.value or 0) > 0]
    unread = [
        str(r.by["part"]) for r in uses if not r.by["shown"] and r.by["part"] in ("descriptions", "names", "request")
    ]
    sentences: list[Markup] = []
    if shown:
        most = max(shown, key=lambda r: r.value or 0.0)
        text = Markup("It leans most on the {}: without, it loses {} points.")
        word = {"shuffled": "place of the descriptions"}.get(str(most.by["part"]), str(most.by["part"]))
        sentences.append(text.format(word, mark.gap(most)))
    if unread:
        sentences.append(Markup("That it uses the {} is not shown.").format(" or the ".join(unread)))
    follows = {
        r.name: r
        for r in readings
        if r.probe == "instructions" and r.by.get("subtask") == subtask and "follows" in r.name
    }
    if len(follows) == 2:
        text = Markup("Where name and description disagree it goes by the name in {}, by the description in {}.")
        sentences.append(text.format(*(mark.share(follows[k]) for k in ("follows_name", "follows_description"))))
    return mark.said(*sentences)


plugin = Instructions
