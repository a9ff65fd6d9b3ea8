"""`diagnose`, `compare`, `report`, `prescribe`: where it breaks, by how much, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from callgrain.cli._terminal import AsJson, Out, Quiet, Terminal
from callgrain.cli._verbs import recipe_verb
from callgrain.core.errors import BadInput
from callgrain.core.store import Run, home
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.panels._markup import sayings
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.report._power import planned
from callgrain.report.compare import compare, told
from callgrain.report.html import drawn, write_page
from callgrain.report.tables import print_tables


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("diagnose", help="Score a model on each sub-task, with controls, and name its faults.")(
        recipe_verb(DiagnoseRecipe, _diagnose)
    )
    app.command("prescribe", help="From a diagnosis: a training recipe with reasons.")(
        recipe_verb(PrescribeRecipe, _prescribe, positional="run")
    )
    app.command("compare")(compare_runs)
    app.command("report")(report)


def _diagnose(recipe: DiagnoseRecipe, terminal: Terminal) -> None:
    run = diagnose(recipe, terminal.out, tell=terminal.tell)
    found, summary = readings(run), run.read("done")
    if terminal.as_json:
        for reading in found:
            terminal.json(reading.model_dump(mode="json"))
    else:
        print_tables(found)
        for _, title, body in drawn(found):
            for saying in sayings(body):
                terminal.line(f"{title}: {saying}")
        if summary["set_aside"]:
            terminal.line(f"{summary['set_aside']:,} lines of the source could not be read and were set aside:")
            for place in run.read("pool")["set_aside_first"]:
                terminal.line(f"  {place}")
        page = write_page(run)
        terminal.line(f"page: {page}")
        terminal.done(run.folder)
    failed = summary["failures"] / max(1, summary["pool"])
    if failed > recipe.fail_on_error:
        typer.echo(f"callgrain: {summary['failures']} of {summary['pool']} requests got no reply", err=True)
        raise typer.Exit(1)


def _prescribe(recipe: PrescribeRecipe, terminal: Terminal) -> None:
    run = prescribe(recipe, terminal.out)
    prescription = run.read("prescription")
    for item in prescription["reasons"]:
        terminal.line(f"  {item['share']:>6.1%}  {item['subtask']:10} {item['reason']}")
    for advice in prescription["advice"]:
        terminal.line(f"  {advice}")
    for place, item in enumerate(prescription["remedies"], 1):
        terminal.line(f"\n{place}. {item['kind']}: {', '.join(f'{k} {v}' for k, v in item['setting'].items())}")
        terminal.line(f"   {item['reason']}")
        if item["gain"]:
            terminal.line(f"   gain: {item['gain']['points']} ({item['gain']['from']})")
        terminal.line(f"   {item['applied_by']}: {item['how']}")
    if prescription["looked_at"]:
        terminal.line("\nlooked at, not prescribed:")
    for item in prescription["looked_at"]:
        terminal.line(f"  {item['kind']}: {item['reason']}")
    terminal.line()
    if prescription["build"]:
        terminal.line(f"train it:  callgrain train {run.folder / 'recipe.toml'}")
    if (run.folder / "wrappers.toml").exists():
        terminal.line(f"settings:  {run.folder / 'wrappers.toml'}")
    terminal.line(f"page: {write_page(run)}")
    terminal.done(run.folder, **prescription)


Folder = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished diagnosis")]


def compare_runs(
    before: Folder,
    after: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="another; without it: the items needed")] = None,
    points: Annotated[float, typer.Option(help="difference in points whose number of items is worked out")] = 3.0,
    out: Out = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Paired difference of two diagnoses, with intervals; says "no difference shown" where that is so.

    With one RUN: how many items a comparison with it would need to show --points. The last line is the folder of
    the last RUN; with --json, stdout carries the readings and nothing else.
    """
    terminal = Terminal(as_json=json, quiet=quiet, out=out or home())
    if not 0 < points <= 100:
        raise BadInput(f"points: {points:g} is no difference of shares", "write for instance --points 3")
    one = Run.find(before)
    found = planned(one, points) if after is None else compare(one, Run.find(after), points)
    for reading in found:
        terminal.json(reading.model_dump(mode="json"))
    if not json:
        if after is not None:
            print_tables(found)
        for line in told(found, points):
            terminal.line(f"  {line}")
        terminal.line(str(after or before))


def report(
    run: Folder,
    before: Annotated[Path | None, typer.Option(help="an earlier diagnosis, to show the difference")] = None,
    out: Annotated[
        Path | None, typer.Option(help="where the page goes (default: report.html in the run folder)")
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """One self-contained HTML page: no network, light and dark, every number with its interval."""
    terminal = Terminal(as_json=json, quiet=quiet, out=home())
    target = out / "report.html" if out and out.is_dir() else out
    page = write_page(Run.find(run), target, before=Run.find(before) if before else None)
    terminal.line(f"page: {page}")
    terminal.done(run, page=str(page))
