"""`export` and `verify-export`: a model out of the house, and whether it is still the same."""

from __future__ import annotations

import typer

from callgrain.cli._terminal import Terminal
from callgrain.cli._verbs import recipe_verb
from callgrain.core.stats import interval_text
from callgrain.export._export import ExportRecipe
from callgrain.export._run import export
from callgrain.export._verify import VerifyRecipe, verify_export


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("export", help="Write a trained model as others read it, with its card: merged, adapter, gguf.")(
        recipe_verb(ExportRecipe, _export, positional="run")
    )
    app.command("verify-export", help="Ask an export and its model the same; tell the first token that differs.")(
        recipe_verb(VerifyRecipe, _verify, positional="exported")
    )


def _export(recipe: ExportRecipe, terminal: Terminal) -> None:
    run = export(recipe, terminal.out, tell=terminal.tell)
    summary = run.read("done")
    terminal.line(f"  {len(summary['files'])} files, {summary['bytes'] / 1e6:,.1f} MB")
    same = summary["parity"]
    if same["compared"]:
        terminal.line(f"  chat template: {same['same']} of {same['compared']} prompts to the token as trained")
    for note in summary["notes"]:
        terminal.line(f"  {note}")
    terminal.line(f"model: {summary['model']}")
    terminal.done(run.folder, **summary)


def _verify(recipe: VerifyRecipe, terminal: Terminal) -> None:
    run = verify_export(recipe, terminal.out, tell=terminal.tell)
    result = run.read("result")
    value, low, high = result["rate"]
    terminal.line(f"  {result['exact']} of {result['n']} replies the same, {interval_text(value, low, high)}")
    for row in run.rows("mismatches"):
        if "tokens" in row:
            said = " / ".join(
                "(ended)" if token is None else f"{token!r} {logprob:.4f}"
                for token, logprob in zip(row["tokens"], row["logprobs"], strict=True)
            )
        else:
            said = " / ".join(str(failure or "a reply") for failure in row["failures"])
        terminal.line(f"  prompt {row['number']} ({row['subtask']}): parts at token {row['index']}: {said}")
    same = result["parity"]
    terminal.line(f"  chat template: {same['same']} of {same['compared']} prompts to the token as trained")
    for note in result["notes"]:
        terminal.line(f"  {note}")
    terminal.done(run.folder, **result)
    if value < recipe.fail_under:
        typer.echo(f"callgrain: {value:.1%} of the replies agree, fewer than {recipe.fail_under:.1%}", err=True)
        raise typer.Exit(1)
