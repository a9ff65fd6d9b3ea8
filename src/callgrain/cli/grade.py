"""`grade`: recorded outputs of any model, graded without one."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from callgrain.cli._terminal import Terminal
from callgrain.cli._verbs import recipe_verb
from callgrain.core.stats import interval_text
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.probes._diagnose import readings
from callgrain.probes._grade import GradeRecipe, deepen, grade

SHOWN = 5
"""Disagreements and audited golds that are printed; the run folder has all."""
_WIDE = 100


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("grade", help="Grade recorded outputs without a model: FILE against the source that was asked.")(
        recipe_verb(GradeRecipe, work, positional="file")
    )


def work(recipe: GradeRecipe, terminal: Terminal) -> None:
    """Grade, print, and turn a check that failed into exit code 1."""
    gc.set_threshold(2_000_000, 10, 10)  # nouns hold no cycles: looking for some takes half as long as grading
    try:
        _work(recipe, terminal)
    finally:
        gc.freeze()  # nor is there any need to look for them at the end of the process


def _work(recipe: GradeRecipe, terminal: Terminal) -> None:
    run = grade(recipe, terminal.out, tell=terminal.tell)
    done = run.read("done")
    if recipe.junit:
        from callgrain.report.junit import write_junit

        write_junit(run, Path(recipe.junit))
    notes = list(_notes(done))
    if terminal.as_json:
        for row in run.rows("gold_audit" if recipe.gold_audit else "graders"):
            terminal.json(row)
        for note in notes if not terminal.quiet else ():
            typer.echo(note, err=True)
    else:
        _show(recipe, run, done, notes, terminal)
    failed = [text for part in done.get("parts", [done]) for text in _failed(recipe, part)]
    for text in failed:
        typer.echo(f"callgrain: {text}", err=True)
    if failed:
        raise typer.Exit(1)


def _show(recipe: GradeRecipe, run: Run, done: Mapping[str, Any], notes: Sequence[str], terminal: Terminal) -> None:
    """The result for people, and its page."""
    from callgrain.report.html import write_page
    from callgrain.report.tables import print_tables

    for line in table(readings(run)):
        terminal.line(line)
    parts = [Run.find(Path(part["run"])) for part in done.get("parts", [])]
    for one in parts or [run]:
        found = deepen(one, tell=terminal.tell)
        if not parts:
            print_tables([r for r in found if r.probe == "fault"])
            _differences(run, terminal)
        page = write_page(one)
        terminal.line(f"page: {page}")
    if recipe.gold_audit:
        _audit(run, done["audit"], terminal)
    for note in notes:
        terminal.line(note)
    terminal.done(run.folder)


def table(found: Sequence[Reading]) -> list[str]:
    """Shares right: sub-tasks and categories down, graders (and files, overlays) across."""
    cells = [r for r in found if (r.probe, r.name) == ("grade", "ok")]
    across = list(dict.fromkeys(_column(r) for r in cells))
    down = list(dict.fromkeys(_row(r) for r in cells))
    at = {(_row(r), _column(r)): f"{interval_text(r.value, r.low, r.high)} ({r.n})" for r in cells}
    grid = [["right [95 % interval] (n)", *across]]
    grid += [[row, *(at.get((row, column), "-") for column in across)] for row in down]
    widths = [max(len(line[i]) for line in grid) for i in range(len(across) + 1)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in grid]
    for r in found:
        if (r.probe, r.name) == ("grade", "agreement"):
            where = f"{r.by['file']}: " if "file" in r.by else ""
            share = interval_text(r.value, r.low, r.high)
            lines.append(f"{where}{r.by['grader']} and {r.by['other']} agree on {share} of {r.n:,}")
    return [_plain(line) for line in lines] + [""]


def _row(reading: Reading) -> str:
    return "/".join(str(reading.by[k]) for k in ("subtask", "category") if k in reading.by) or "all"


def _column(reading: Reading) -> str:
    by = reading.by
    overlay = {"": "", "none": " as published"}.get(str(by.get("overlay", "")), f" by {by.get('overlay')}")
    return (f"{by['file']}: " if "file" in by else "") + f"{by['grader']}{overlay}"


def _differences(run: Run, terminal: Terminal) -> None:
    """The first items on which graders differ, with each one's reason."""
    rows = list(run.rows("disagreements"))
    if rows:
        terminal.line(f"graders differ on {len(rows):,} items, all in disagreements.jsonl:")
    for row in rows[:SHOWN]:
        terminal.line(_plain(f"  {row['id']}"))
        for name, said in row["graders"].items():
            terminal.line(_plain(f"    {name:8} {'right' if said['ok'] else 'wrong'}: {said['why']}"))


def _audit(run: Run, count: int, terminal: Terminal) -> None:
    terminal.line(f"{count:,} golds look wrong, all in gold_audit.jsonl:" if count else "no gold looks wrong")
    for row in list(run.rows("gold_audit"))[:20]:
        proposal = "with a proposal" if row["answer"] else ""
        terminal.line(_plain(f"  {row['row']:28} {row['check']:10} {row['reason']}  {proposal}".rstrip()))


def _notes(done: Mapping[str, Any]) -> list[str]:
    """What was not graded, and why: counts with the first few names."""
    return [
        (f"{part['file']}: " if "file" in part else "") + _plain(note)
        for part in done.get("parts", [done])
        for note in _notes_of(part)
    ]


def _notes_of(done: Mapping[str, Any]) -> list[str]:
    def named(name: str, text: str) -> list[str]:
        count, first = done[name], done[f"{name}_first"]
        return [f"{count:,} {text}: {', '.join(first)}{', ...' if count > len(first) else ''}"] if count else []

    out = ["no output has an id: they were matched by their place"] if done["by_place"] else []
    out += named("missing", "items of the source have no output")
    out += named("unknown", "outputs are of no item of the source")
    out += named("uncut", "outputs are of items that the sub-task is not cut from")
    out += [f"{done['repeated']:,} outputs are there twice, the same"] if done["repeated"] else []
    out += [f"{done['failures']:,} outputs are failures, and in no share"] if done["failures"] else []
    for name, what in (("set_aside", "lines of the file"), ("source_aside", "lines of the source")):
        out += named(name, f"{what} could not be read and were set aside")
    if "overlay" in done:
        out.append(f"{done['corrected']:,} golds corrected and {done['dropped']:,} dropped by {done['overlay']}")
        out += [f"  refused {row}: {why}" for row, why in list(done["refused"].items())[:SHOWN]]
        out += [f"  {len(done['refused']):,} corrections refused"] if done["refused"] else []
    return out


def _failed(recipe: GradeRecipe, done: Mapping[str, Any]) -> list[str]:
    """The checks asked for that failed, in words."""
    share, out = done["right"] / max(1, done["graded"]), list[str]()
    if share < recipe.fail_under:
        out.append(f"{done['right']:,} of {done['graded']:,} right is under --fail-under {recipe.fail_under:g}")
    if done["without"] > recipe.fail_on_error:
        out.append(f"{done['without']:.1%} of the items have no output, over --fail-on-error {recipe.fail_on_error:g}")
    return out


def _plain(text: str) -> str:
    """A line that a terminal can take whatever a file says in it."""
    from callgrain.panels._words import inert

    text = inert(" ".join(text.split("\n")))
    return text if len(text) <= 4 * _WIDE else f"{text[: 4 * _WIDE]}..."
