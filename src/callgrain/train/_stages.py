"""Stages of a curriculum: the rows of one sub-task, a training on them, and what is right afterwards.

Every step is a run folder of its own within the curriculum's, named by what it hangs on: a killed
curriculum goes on where it was, and orders that begin alike share their beginnings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell
from callgrain.core.store import Run
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose
from callgrain.probes._graded import SUBTASKS
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import rows_of, train


@dataclass(frozen=True)
class Measure:
    """What scores are taken on: the same `n` samples of each sub-task for every model."""

    source: str
    split: str
    n: int
    max_tokens: int
    metric: str


@dataclass(frozen=True)
class Spent:
    """An arm's training: the model it ends with, its target tokens and seconds, and (sub-task, scores) by stage."""

    model: str
    tokens: int
    seconds: float
    steps: int
    stages: tuple[tuple[str, dict[str, float]], ...] = ()


@dataclass(frozen=True)
class Bench:
    """Where stages are trained and measured: the curriculum's run folder and its settings."""

    recipe: TrainRecipe
    measure: Measure
    run: Run
    tell: Tell

    def rows(self, subtask: str) -> Run:
        """The build's rows of one sub-task, as a build of their own; all of them where it is empty."""
        whole = rows_of(self.recipe)
        if not subtask:
            return whole
        settings = {**whole.read("recipe"), "subtask": subtask}
        with Run.open(self.run.folder, "rows", subtask, settings, {"of": whole.folder.name}) as part:
            if not part.is_done:
                part.replace_rows("rows", (row for row in whole.rows("rows") if row["subtask"] == subtask))
                part.finish({"rows": sum(1 for _ in part.rows("rows")), "by_subtask": [subtask]})
        return part

    def fit(self, model: str, subtask: str, budget: int, seed: int) -> Run:
        """Train `model` on one sub-task's rows ("" for all) for so many target tokens."""
        own = {name: getattr(self.recipe, name) for name in TrainRecipe.model_fields}
        own |= {"method": "sft", "model": model, "rows": str(self.rows(subtask).folder), "budget": budget, "seed": seed}
        return train(TrainRecipe.resolve(own), self.run.folder, tell=self.tell)

    def scores(self, model: str, subtasks: Sequence[str]) -> dict[str, dict[str, float]]:
        """How `model` does on each item: by sub-task, by the item's key. What was not graded is left out."""
        asked = DiagnoseRecipe(
            model=f"local:{model}",
            source=self.measure.source,
            split=self.measure.split,
            subtask=",".join(subtasks),
            probe="subtask",
            n=self.measure.n,
            max_tokens=self.measure.max_tokens,
            seed=self.recipe.seed,
        )
        found: dict[str, dict[str, float]] = {name: {} for name in subtasks}
        for row in diagnose(asked, self.run.folder, tell=self.tell).rows("verdicts"):
            if row["verdict"].get("state", "graded") == "graded":
                score = row["verdict"].get("score", 1.0) if self.measure.metric == "score" else row["ok"]
                found[row["subtask"]][row["key"]] = float(score)
        empty = [name for name in subtasks if not found[name]]
        if empty:
            raise BadInput(f"{self.measure.source} has no sample for {', '.join(empty)}", "leave it out of --subtasks")
        return found

    def staged(self, order: Sequence[str], budget: int) -> Spent:
        """Train on the sub-tasks one after another, an equal share of `budget` each; each is measured after its stage.

        A stage ends with the batch that reaches its share; what it took too much the next one gives back.
        An empty name stands for all rows: the joint arm has as many stages, and so as many warm-ups.
        """
        model, tokens, seconds, steps = self.recipe.model, 0, 0.0, 0
        stages: list[tuple[str, dict[str, float]]] = []
        for place, name in enumerate(order):
            due = round(budget * (place + 1) / len(order)) - tokens
            done = self.fit(model, name, max(1, due), self.recipe.seed + place).read("done")
            model = str(done["model"])
            tokens += int(done["target_tokens"])
            seconds += float(done["seconds"])
            steps += int(done["steps"])
            if name:
                stages.append((name, self.scores(model, [name])[name]))
        return Spent(model, tokens, seconds, steps, tuple(stages))


def chosen(text: str, rows: Run) -> tuple[str, ...]:
    """The sub-tasks of a comma list that are to be ordered; `all` is those that the rows hold.

    Raises UnknownName for one without rows, BadInput for fewer than two.
    """
    held: Mapping[str, Any] = dict.fromkeys(row["subtask"] for row in rows.rows("rows"))
    known = [*(name for name in SUBTASKS if name in held), *(name for name in held if name not in SUBTASKS)]
    names = known if text in ("all", "") else [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in held:
            raise UnknownName("sub-task of these rows", name, known)
    if len(set(names)) < 2:
        raise BadInput("there is nothing to order: one sub-task", "build rows of several, or use --method sft")
    return tuple(dict.fromkeys(names))


def check_apart(rows: Run, measure: Measure) -> None:
    """Raises BadInput where scores would be taken on what was trained on."""
    built = rows.read("recipe")
    if built.get("source") == measure.source and measure.split and built.get("split") == measure.split:
        raise BadInput(
            f"{measure.source} ({measure.split}) is what the rows were built from",
            "measure on another split, or leave --split empty",
        )


def put_model(model: str, target: Path) -> Path:
    """The model of a stage as this run's own, whole or not at all."""
    import shutil

    draft = target.with_name(".model.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(model, draft)
    draft.replace(target)
    return target
