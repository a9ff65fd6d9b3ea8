"""`train` and `quickstart`: making a model better at what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from callgrain.cli._quickstart import QuickstartRecipe, quickstart
from callgrain.cli._terminal import Terminal
from callgrain.cli._verbs import recipe_verb
from callgrain.core.recipe import Recipe
from callgrain.corpus.build import BuildRecipe, build
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train


class TrainVerb(TrainRecipe):
    """A training's settings, and the rows that it may build first."""

    build: dict[str, Any] = {}


def add_quickstart(app: typer.Typer) -> None:
    """Add the first verb that a newcomer runs."""
    app.command("quickstart", help="The whole loop on a model made here: diagnose, prescribe, train, diagnose again.")(
        recipe_verb(QuickstartRecipe, _quickstart)
    )


def add_to(app: typer.Typer) -> None:
    """Add the other verbs."""
    app.command("train", help="Fine-tune a model on granular rows; running it again resumes.")(
        recipe_verb(TrainRecipe, _train, file_first=True, resolve=TrainVerb)
    )


def _quickstart(recipe: QuickstartRecipe, terminal: Terminal) -> None:
    run = quickstart(recipe, terminal)
    terminal.done(run.folder, **run.read("done"))


def _train(recipe: Recipe, terminal: Terminal) -> None:
    settings = recipe.model_dump()
    rows = settings.pop("build", {})
    if rows and not settings["rows"]:
        made = build(BuildRecipe.resolve(rows), terminal.out, tell=terminal.tell)
        terminal.line(f"rows: {made.folder}")
        settings["rows"] = str(made.folder)
    run = train(TrainRecipe.resolve(settings), terminal.out, tell=terminal.tell)
    summary = run.read("done")
    terminal.line(
        f"  {summary['steps']:,} steps, {summary['target_tokens']:,} target tokens, {summary['seconds']:.0f} s"
    )
    if summary["too_long"]:
        terminal.line(f"  {summary['too_long']:,} rows were too long and left out")
    terminal.line(f"model: {Path(summary['model'])}")
    terminal.done(run.folder, **summary)
