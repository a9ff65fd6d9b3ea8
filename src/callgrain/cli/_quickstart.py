"""The whole loop on the model in the box and a catalogue that it has never seen, and one page about it.

Diagnose it, name what it lacks, build rows for exactly that, fine-tune, diagnose again on the same
samples. Every step is a run folder of its own, so Ctrl-C costs a step's last few seconds and running
again goes on.
"""

from __future__ import annotations

import time
from typing import Any

from pydantic import Field

from callgrain.cli._terminal import Terminal
from callgrain.core.recipe import Recipe
from callgrain.core.stats import interval_text
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.corpus.build import BuildRecipe, build
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.models._box import BOXED
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import in_order
from callgrain.report.compare import compare, word
from callgrain.report.html import write_page
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train


class QuickstartRecipe(Recipe):
    """Settings of the quickstart."""

    model: str = Field(default=BOXED, description="tiny, or the folder or hub id of the model that is treated")
    source: str = Field(default="toolworld:farm", description="the catalogue that it is asked about, and never saw")
    split: str = Field(default="unseen_tool", description="split of the source that both diagnoses ask")
    practice: str = Field(
        default="toolworld:farm,seed=1,worlds=64",
        description="SOURCE of the rows: the same trade in other worlds, without the tools that are asked about",
    )
    rows: int = Field(default=10_000, ge=100, description="rows that the prescription fills")
    learning_rate: float = Field(default=3e-3, gt=0, description="peak learning rate of the treatment")
    n: int = Field(default=150, ge=10, description="samples a sub-task in each diagnosis")
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
    terminal.line(f"1/4  diagnosing {recipe.model} on tools that it has never seen ({recipe.source})")
    spec = recipe.model if recipe.model == BOXED else f"local:{recipe.model}"
    before = diagnose(_asking(spec, recipe), root, tell=tell)
    terminal.line("2/4  prescribing")
    prescription = prescribe(PrescribeRecipe(run=str(before.folder), n=recipe.rows), root)
    for item in prescription.read("prescription")["reasons"]:
        terminal.line(f"       {item['share']:>5.0%}  {item['subtask']:10} {item['reason']}")
    terminal.line("3/4  building those rows and fine-tuning on them")
    wanted = {**prescription.read("prescription")["build"], "source": recipe.practice, "seed": recipe.seed + 1}
    rows = build(BuildRecipe.resolve(wanted), root, tell=tell)
    tuned = train(_training(rows, recipe), root, tell=tell)
    terminal.line("4/4  diagnosing again, on the same samples")
    after = diagnose(_asking(f"local:{tuned.folder / 'model'}", recipe), root, tell=tell)
    minutes = (time.monotonic() - began) / 60
    took = f"{minutes:.1f} minutes on this machine" + (", counted from when it was last started" if resumed else "")
    page = write_page(after, run.folder / "report.html", before=before, extra=_extra(recipe, tuned, prescription, took))
    run.finish({**_figures(before, after), "page": str(page), "minutes": round(minutes, 1), "resumed": resumed})


def _training(rows: Run, recipe: QuickstartRecipe) -> TrainRecipe:
    return TrainRecipe(
        model=recipe.model,
        rows=str(rows.folder),
        learning_rate=recipe.learning_rate,
        batch_tokens=2048,
        max_length=512,
        precision="bf16",
        seed=recipe.seed,
        save_steps=250,
        threads=1,
    )


def _asking(model: str, recipe: QuickstartRecipe) -> DiagnoseRecipe:
    return DiagnoseRecipe(
        model=model,
        source=recipe.source,
        split=recipe.split,
        n=recipe.n,
        seed=recipe.seed,
        max_tokens=80,
        batch_size=64,
    )


def _extra(recipe: QuickstartRecipe, tuned: Run, prescription: Run, took: str) -> dict[str, Any]:
    """What the page says beside the two diagnoses."""
    learnt = tuned.read("training")
    notes = [
        f"{recipe.model} ({learnt['parameters']:,} parameters) is asked about {recipe.source}, a catalogue that it has "
        f"never seen; it is treated on rows of {recipe.practice}.",
        "Both diagnoses ask the same samples, on tools whose names and signatures no training row has shown.",
        "What is shown is the effect of training on the prescribed rows, not that they are better than as many "
        "others: that takes an arm with the same budget on other rows.",
        f"It took {took}.",
    ]
    figures = {
        "fine-tuning rows": learnt["rows"],
        "fine-tuning target tokens": learnt["target_tokens"],
        "fine-tuning seconds": learnt["seconds"],
    }
    shares = prescription.read("prescription")["reasons"]
    return {"notes": notes, "prescription": shares, "training": figures, "loss": learnt["loss"]}


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
