"""From a diagnosis to a recipe, with the reason for every share.

Weak sub-tasks get rows in proportion to what they lack; a part of the rows replays the others,
so that what is known is not forgotten. What training on right answers does not mend (broken
form) is said, together with what does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.core.errors import BadInput
from callgrain.core.recipe import Recipe, to_toml
from callgrain.core.stats import interval_text
from callgrain.core.store import Run, write_atomic
from callgrain.core.types import Reading
from callgrain.models._box import BOXED
from callgrain.verify.faults import TABLE

FORM_SHARE = 0.1
"""Share of form faults above which the prescription speaks of the decoder and of negatives."""


class PrescribeRecipe(Recipe):
    """Settings of a prescription."""

    run: str = Field(description="folder of a finished diagnosis")
    top: int = Field(default=3, ge=1, description="how many of the weakest sub-tasks are treated")
    replay: float = Field(
        default=0.25, ge=0, lt=1, description="share of rows that go to the other sub-tasks, against forgetting"
    )
    n: int = Field(default=4000, ge=1, description="training rows in all")
    good_enough: float = Field(default=0.95, ge=0, le=1, description="a score from which nothing is prescribed")


def prescribe(recipe: PrescribeRecipe, root: Path) -> Run:
    """Write `prescription.json` and `recipe.toml`. Raises BadInput where nothing is left to treat."""
    diagnosis = Run.find(Path(recipe.run))
    readings = [Reading.model_validate(row) for row in diagnosis.rows("readings")]
    scores = {str(r.by["subtask"]): r for r in readings if r.probe == "subtask" and r.name == "ok" and len(r.by) == 1}
    treated = _treated(scores, recipe)
    settings = diagnosis.read("recipe")
    shares = _shares(scores, treated, recipe.replay)
    reasons = [_reason(name, share, scores[name], readings, name in treated) for name, share in shares.items()]
    mixture = ",".join(f"{name}={share:.4f}" for name, share in shares.items())
    build = {"source": settings["source"], "split": "train", "subtask": mixture, "n": recipe.n, "seed": 1}
    notes = {"build": "rows: " + "; ".join(f"{r['subtask']} {r['share']:.0%}: {r['reason']}" for r in reasons)}
    trained = {"model": _trainable(settings["model"]), "method": "sft"}
    inputs = {"diagnosis": diagnosis.folder.name}
    with Run.open(root, "prescribe", "mixture", recipe.model_dump(), inputs, unnamed={"run"}) as run:
        if not run.is_done:
            run.write(
                "prescription", {"mixture": shares, "reasons": reasons, "advice": _advice(readings), "build": build}
            )
            head = f"# callgrain train {run.folder}/recipe.toml\n"
            write_atomic(run.folder / "recipe.toml", [(head + to_toml({**trained, "build": build}, notes)).encode()])
            run.finish({"treated": treated})
    return run


def _trainable(model: str) -> str:
    """The model that the recipe trains: the diagnosed one where its weights are at hand, else left to be named."""
    if model == BOXED:
        return model
    return model.partition(":")[2] if model.startswith("local:") else "FOLDER_OR_HUB_ID"


def _treated(scores: dict[str, Reading], recipe: PrescribeRecipe) -> list[str]:
    """The weakest sub-tasks, worst first."""
    weak = [name for name, r in scores.items() if r.value is not None and r.value < recipe.good_enough]
    if not weak:
        raise BadInput(
            f"every sub-task of {recipe.run} scores at least {recipe.good_enough:.0%}",
            "nothing to treat on this source: diagnose on a harder one",
        )
    return sorted(weak, key=lambda name: scores[name].value or 0.0)[: recipe.top]


def _shares(scores: dict[str, Reading], treated: list[str], replay: float) -> dict[str, float]:
    """Share of rows by sub-task: the treated by what they lack, the rest by equal parts of `replay`."""
    lack = {name: 1 - (scores[name].value or 0.0) for name in treated}
    others = [name for name in scores if name not in treated]
    kept = replay if others else 0.0
    total = sum(lack.values())
    shares = {name: (1 - kept) * value / total for name, value in lack.items()}
    return shares | {name: kept / len(others) for name in others if kept}


def _reason(name: str, share: float, score: Reading, readings: list[Reading], treated: bool) -> dict[str, Any]:
    """Why a sub-task gets its share."""
    shown = interval_text(score.value, score.low, score.high)
    if not treated:
        return {"subtask": name, "share": share, "reason": f"replay, lest it be forgotten: {shown} now"}
    faults = [r for r in readings if r.probe == "fault" and r.by == {"subtask": name} and r.value]
    worst = max(faults, key=lambda r: (r.value or 0) * r.n, default=None)
    blame = f", mostly {worst.name} ({TABLE[worst.name].caption})" if worst and worst.name in TABLE else ""
    return {"subtask": name, "share": share, "reason": f"right in {shown} of {score.n}{blame}"}


def _advice(readings: list[Reading]) -> list[str]:
    """What the fault profile asks for beside rows."""
    rates = {r.name: r.value or 0.0 for r in readings if r.probe == "fault" and not r.by}
    advice: list[str] = []
    form = sum(rate for kind, rate in rates.items() if kind in TABLE and TABLE[kind].level == "form")
    if form > FORM_SHARE:
        advice.append(
            f"{form:.0%} of the replies are broken in form. Right examples alone rarely mend that: "
            "train on negatives as well, or constrain the decoding."
        )
    decision = sum(rates.get(kind, 0.0) for kind in ("needless_call", "missed_question"))
    if decision > FORM_SHARE:
        advice.append("It calls where it should not: keep a quarter of `decide` rows in every later mixture.")
    return advice
