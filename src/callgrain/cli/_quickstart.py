"""The whole loop on a model that is made in the same run, and one page about it.

Diagnose a small decoder, name what it lacks, build rows for exactly that, fine-tune, diagnose
again on the same samples. Every step is a run folder of its own, so Ctrl-C costs a step's last
few seconds and running again goes on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.cli._terminal import Terminal
from callgrain.core import plugins
from callgrain.core.recipe import Recipe
from callgrain.core.stats import interval_text
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.corpus.build import BuildRecipe, build
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import in_order
from callgrain.report.compare import compare, word
from callgrain.report.html import write_page
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train


class QuickstartRecipe(Recipe):
    """Settings of the quickstart."""

    source: str = Field(default="toolworld:micro", description="the world that is learnt and asked")
    worlds: int = Field(
        default=64, ge=1, description="worlds that training rows come from, each with signatures of its own"
    )
    base_subtasks: str = Field(
        default="names,slots,next_call,chain,response",
        description="what the base is taught: its gaps are made on purpose",
    )
    base_rows: int = Field(default=36_000, ge=100, description="rows that the base learns from")
    rows: int = Field(default=18_000, ge=100, description="rows that the prescription fills")
    n: int = Field(default=200, ge=10, description="samples a sub-task in each diagnosis")
    seed: int = Field(default=0, description="seed of everything")


def quickstart(recipe: QuickstartRecipe, terminal: Terminal) -> Run:
    """Run (or resume) the loop; the returned run holds `report.html` and the figures."""
    with Run.open(terminal.out, "quickstart", "loop", recipe.model_dump(), {"seed": recipe.seed}) as run:
        if not run.is_done:
            _loop(recipe, run, terminal, time.monotonic())
    _say(run.read("done"), terminal)
    return run


def _loop(recipe: QuickstartRecipe, run: Run, terminal: Terminal, began: float) -> None:
    root, tell = run.folder / "steps", terminal.tell
    resumed = root.exists()
    learnt = f"{recipe.source},seed=1,worlds={recipe.worlds}"
    more = f"{recipe.source},seed={1 + recipe.worlds},worlds={recipe.worlds}"  # other worlds: no request comes twice
    terminal.line(
        "1/5  making a small base: a decoder of under a million parameters, trained here with gaps on purpose"
    )
    base_rows = build(
        BuildRecipe(source=learnt, subtask=recipe.base_subtasks, n=recipe.base_rows, seed=recipe.seed), root, tell=tell
    )
    base = train(_training(_untrained(run, recipe), base_rows, recipe, 2e-3), root, tell=tell)
    terminal.line("2/5  diagnosing it on tools that it has never seen")
    before = diagnose(_asking(base, recipe), root, tell=tell)
    terminal.line("3/5  prescribing")
    prescription = prescribe(PrescribeRecipe(run=str(before.folder), n=recipe.rows), root)
    for item in prescription.read("prescription")["reasons"]:
        terminal.line(f"       {item['share']:>5.0%}  {item['subtask']:10} {item['reason']}")
    terminal.line("4/5  building those rows and fine-tuning on them")
    wanted = prescription.read("prescription")["build"]
    rows = build(BuildRecipe.resolve(wanted, {"source": more, "seed": recipe.seed + 1}), root, tell=tell)
    tuned = train(_training(base.folder / "model", rows, recipe, 1e-3), root, tell=tell)
    terminal.line("5/5  diagnosing again, on the same samples")
    after = diagnose(_asking(tuned, recipe), root, tell=tell)
    minutes = (time.monotonic() - began) / 60
    took = f"{minutes:.1f} minutes on this machine" + (", counted from when it was last started" if resumed else "")
    page = write_page(
        after, run.folder / "report.html", before=before, extra=_extra(recipe, base, tuned, prescription, took)
    )
    run.finish({**_figures(before, after), "page": str(page), "minutes": round(minutes, 1), "resumed": resumed})


def _untrained(run: Run, recipe: QuickstartRecipe) -> Path:
    """The decoder before its first step; made once."""
    from callgrain.models._tiny import new_tiny
    from callgrain.tools._toolworld_micro import vocabulary

    folder = run.folder / "untrained"
    words = (*vocabulary(), *plugins.names("subtasks"))
    return folder if (folder / "callgrain.json").exists() else new_tiny(folder, words, seed=recipe.seed)


def _training(model: Path, rows: Run, recipe: QuickstartRecipe, rate: float) -> TrainRecipe:
    return TrainRecipe(
        model=str(model),
        rows=str(rows.folder),
        learning_rate=rate,
        batch_tokens=1024,
        max_length=256,
        seed=recipe.seed,
        save_steps=500,
        threads=2,
    )


def _asking(trained: Run, recipe: QuickstartRecipe) -> DiagnoseRecipe:
    return DiagnoseRecipe(
        model=f"local:{trained.folder / 'model'}",
        source=recipe.source,
        split="unseen_tool",
        n=recipe.n,
        seed=recipe.seed,
        max_tokens=48,
        batch_size=64,
    )


def _extra(recipe: QuickstartRecipe, base: Run, tuned: Run, prescription: Run, took: str) -> dict[str, Any]:
    """What the page says beside the two diagnoses."""
    learnt, more = base.read("training"), tuned.read("training")
    taught = ", ".join(part.partition("=")[0] for part in recipe.base_subtasks.split(","))
    notes = [
        f"The base is a decoder of {learnt['parameters']:,} parameters, trained in this run from nothing, on "
        f"{learnt['rows']:,} rows of {taught} only. Its gaps are made on purpose, so that you can see whether the "
        "diagnosis finds them; what was prescribed comes from the diagnosis alone.",
        "Both diagnoses ask the same samples, on tools whose names and signatures no training row has shown.",
        "What is shown is the effect of more training on the prescribed rows, not that they are better than as many "
        "others: that takes an arm with the same budget on other rows.",
        f"It took {took}.",
    ]
    figures = {
        "base rows": learnt["rows"],
        "base target tokens": learnt["target_tokens"],
        "base seconds": learnt["seconds"],
        "fine-tuning rows": more["rows"],
        "fine-tuning target tokens": more["target_tokens"],
        "fine-tuning seconds": more["seconds"],
    }
    shares = prescription.read("prescription")["reasons"]
    return {"notes": notes, "prescription": shares, "training": figures, "loss": more["loss"]}


def _figures(before: Run, after: Run) -> dict[str, Any]:
    """Scores by sub-task before and after, and their paired differences."""

    def scores(run: Run) -> dict[str, Reading]:
        return {
            str(r.by["subtask"]): r
            for r in readings(run)
            if r.probe == "subtask" and r.name == "ok" and set(r.by) == {"subtask"}
        }

    def shown(reading: Reading) -> list[float | None]:
        return [reading.value, reading.low, reading.high]

    compared = {str(r.by["subtask"]): r for r in compare(before, after) if r.name == "ok_difference"}
    return {
        "before": {name: shown(r) for name, r in scores(before).items()},
        "after": {name: shown(r) for name, r in scores(after).items()},
        "difference": {name: [*shown(compared[name]), word(compared[name])] for name in in_order(compared)},
    }


def _say(done: dict[str, Any], terminal: Terminal) -> None:
    """The figures, for the terminal."""
    terminal.line(f"{'sub-task':10} {'before':24} {'after':24} difference (paired, 95 %)")
    for name in in_order(done["difference"]):
        change = done["difference"][name]
        before, after = (interval_text(*done[side][name]) for side in ("before", "after"))
        terminal.line(f"{name:10} {before:24} {after:24} {interval_text(*change[:3])} {change[3]}")
    terminal.line(f"\n{done['minutes']} minutes. Open the page: {done['page']}")
