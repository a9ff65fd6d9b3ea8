"""`experts`: which mix of experts is best, and what choosing for each prompt would gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from callgrain.cli._terminal import Terminal
from callgrain.cli._verbs import recipe_verb
from callgrain.core.stats import interval_text
from callgrain.core.types import Reading
from callgrain.probes._diagnose import readings
from callgrain.train._experts import MixRecipe, trial

ACROSS = 3
"""Most sub-tasks side by side: with their intervals, more would not fit a terminal."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    text = "Compare ways of mixing experts over one base: uniform, best single, searched, by prompt, by classifier."
    app.command("experts", help=text)(recipe_verb(MixRecipe, work, positional="experts"))


def work(recipe: MixRecipe, terminal: Terminal) -> None:
    """Run the trial and print it: ways of mixing down, sub-tasks across."""
    run = trial(recipe, terminal.out, tell=terminal.tell)
    found = readings(run)
    if terminal.as_json:
        for row in found:
            terminal.json(row.model_dump(mode="json"))
        return
    said = run.read("trial")
    for line in [*table(found), *_gains(found), "", *_mixes(said["mixes"]), *_confusion(said["confusion"])]:
        terminal.line(line)
    sets = said["sets"]
    terminal.line(
        f"{said['looked_at']:,} mixes looked at on {len(sets['shots']):,} shots, chosen on {len(sets['validation']):,} "
        f"validation items, reported on {len(sets['test']):,} others"
    )
    terminal.line(f"the mix found, as a model's mix.json: {run.folder / 'mix.json'}")
    terminal.done(run.folder)


def table(found: Sequence[Reading]) -> list[str]:
    """Shares right on the test set; bounds are marked, for no way of mixing reaches them."""
    cells = {(str(r.by["mix"]), str(r.by["subtask"])): r for r in found if r.name == "right"}
    names = list(dict.fromkeys(mix for mix, _ in cells))
    across = list(dict.fromkeys(subtask for _, subtask in cells))
    out = ["right on the test set [95 % interval] (n)"]
    for start in range(0, len(across), ACROSS):
        columns = across[start : start + ACROSS]
        rows = [["", *columns]]
        for name in names:
            bound = " (bound)" if cells[name, across[0]].by.get("bound") else ""
            rows.append([f"{name}{bound}", *(_cell(cells.get((name, column))) for column in columns)])
        out += [*_aligned(rows), ""]
    return out


def _gains(found: Sequence[Reading]) -> list[str]:
    """Paired differences to the base over all items, and what a first pass cost."""
    costs = {str(r.by["mix"]): r.value or 0.0 for r in found if r.name == "first_pass"}
    rows = [["against the base, same items", "", ""]]
    for r in found:
        if r.name == "gain" and r.by["subtask"] == "all":
            name = str(r.by["mix"])
            cost = f"first pass: {costs[name]:.0%} of its tokens" if name in costs else ""
            rows.append([name, interval_text(r.value, r.low, r.high), cost])
    return _aligned(rows)


def _mixes(mixes: Mapping[str, Mapping[str, float]]) -> list[str]:
    found = mixes.get("search", {})
    best = ", ".join(mixes.get("best single", {})) or "none"
    parts = ", ".join(f"{name} {a:.2f}" for name, a in found.items() if a)
    return [f"best single expert on validation: {best}", f"mix found on the shots: {parts or 'the base alone'}", ""]


def _confusion(confusion: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What a first pass named, sub-tasks down and names across."""
    out: list[str] = []
    for name, cells in confusion.items():
        down = list(dict.fromkeys(str(c["subtask"]) for c in cells))
        across = sorted({str(c["named"]) for c in cells})
        at = {(c["subtask"], c["named"]): int(c["count"]) for c in cells}
        rows = [[f"{name}: named", *across]]
        rows += [[subtask, *(str(at.get((subtask, named), 0)) for named in across)] for subtask in down]
        out += [*_aligned(rows), ""]
    return out


def _cell(row: Reading | None) -> str:
    return f"{interval_text(row.value, row.low, row.high)} ({row.n})" if row else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
