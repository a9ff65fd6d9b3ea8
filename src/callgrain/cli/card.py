"""`card`: what a grader is worth, before anybody believes its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from callgrain.cli._terminal import Terminal
from callgrain.cli._verbs import recipe_verb
from callgrain.core.stats import interval_text
from callgrain.core.types import Reading
from callgrain.probes._card import CardRecipe, make_card
from callgrain.probes._diagnose import readings
from callgrain.probes._equivalences import EQUIVALENCES
from callgrain.probes._mutations import MUTATIONS

ACROSS = 3
"""Most graders side by side: with their intervals, more would not fit a terminal."""
_TITLES = {
    "kill_rate": "wrong replies that were flagged",
    "own_class": "wrong replies that were flagged and named rightly",
    "false_reject": "right replies that were refused",
}


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("card", help="Score graders: wrong replies they flag, right ones they refuse.")(
        recipe_verb(CardRecipe, work)
    )


def work(recipe: CardRecipe, terminal: Terminal) -> None:
    """Make the card and print it: kinds down, graders across."""
    run = make_card(recipe, terminal.out, tell=terminal.tell)
    found = readings(run)
    if terminal.as_json:
        for row in found:
            terminal.json(row.model_dump(mode="json"))
        return
    for line in tables(found):
        terminal.line(line)
    terminal.done(run.folder)


def tables(found: Sequence[Reading]) -> list[str]:
    """Lines of the card: three tables of kinds down and graders across, then what was left out."""
    names = list(dict.fromkeys(str(r.by["grader"]) for r in found))
    out: list[str] = []
    for figure, title in _TITLES.items():
        cells = {(str(r.by["kind"]), str(r.by["grader"])): r for r in found if r.name == figure}
        for start in range(0, len(names), ACROSS):
            if cells:
                out += [f"{title} [95 % interval] (n)", *_grid(cells, names[start : start + ACROSS]), ""]
    for row in found:
        if row.name in ("not_applicable", "error") and row.by["kind"] == "all" and row.value:
            what = "cannot judge" if row.name == "not_applicable" else "broke on"
            out.append(f"{row.by['grader']} {what} {row.value:,.0f} of {row.n:,} replies: they are in no share")
    return out


def _grid(cells: Mapping[tuple[str, str], Reading], names: Sequence[str]) -> list[str]:
    captions = {name: made.caption for name, made in (*MUTATIONS.items(), *EQUIVALENCES.items())}
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    rows = [["", *names, ""]]
    rows += [[kind, *(_cell(cells.get((kind, name))) for name in names), captions.get(kind, "")] for kind in kinds]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows
    ]


def _cell(row: Reading | None) -> str:
    return f"{interval_text(row.value, row.low, row.high)} ({row.n})" if row else "-"
