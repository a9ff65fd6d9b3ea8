"""From a diagnosis to a recipe, with the reason for every share and every setting.

Every sub-task that is not good enough gets rows in proportion to what it lacks times what it has to build on,
(1 - score) (score + 0.1); a part of the rows replays the others, so that what is known is not forgotten. Shares by what
is lacking alone, for the three weakest, do worse where nearly all is at the floor: a few rows move nothing there. Mean
over sub-tasks at equal target tokens, five seeds, 60 samples a sub-task, intervals over items and over seeds:

- `tiny` on a trade that it does not know, 20,000 tokens: +4.6 points ([3.2, 6.0], [2.4, 6.9]) over the three weakest by
  lack, which lose 2.4 ([-3.5, -1.3], [-3.8, -0.9]) to equal parts; over equal parts +2.3 ([1.3, 3.1], [-0.1, 4.6]), so
  not shown. The gain lies in `response` and `decide`. At 60,000 tokens (three seeds) +5.7 ([3.8, 7.6], [-1.0, 12.5])
  and +2.1 ([0.4, 4.0], [-2.8, 7.0]), neither shown. In a whole quickstart (one seed, 10,000 rows, 19 % fewer tokens) no
  difference from the three weakest is shown, -1.9 [-5.2, 1.1]: fewer right in `names` and `parallel`,
  more in `response`.
- A student with one spoiled sub-task, 8,000 tokens: no difference from the three weakest is shown, -0.4 ([-1.3, 0.3],
  [-1.2, 0.3]), though on the spoiled one itself they win by 5.7; over equal parts +1.0 ([0.3, 1.6], [0.4, 1.5]).

`python -m benchmarks.prescription training --budget 8000 --first 10 --seeds 5 --students "unknown trade,needless calls"
--arms prescribed,uniform,weakest,hedged` measures it.

What training on right answers does not mend (broken form, too many tools, a history gone wrong) is met by settings, as
far as probes have shown that they help; what was looked at and not shown is listed with its reason. A model whose
weights are out of reach gets settings alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.core.errors import BadInput
from callgrain.core.recipe import Recipe, to_toml
from callgrain.core.stats import interval_text
from callgrain.core.store import Run, write_atomic
from callgrain.core.types import Reading
from callgrain.corpus import _treatments
from callgrain.corpus._gain import Findings, Passed, Remedy
from callgrain.corpus._remedies import RULES
from callgrain.models._box import BOXED
from callgrain.verify.faults import TABLE

FORM_SHARE = 0.1
"""Share of form faults above which the prescription speaks of the decoder and of negatives."""

FOOTHOLD = 0.1
"""What is added to a score, so that a sub-task that is never right still gets rows."""

FLOOR = 0.25
"""A score whose upper limit lies below this is hardly ever right."""


class PrescribeRecipe(Recipe):
    """Settings of a prescription."""

    run: str = Field(description="folder of a finished diagnosis")
    top: int = Field(
        default=0, ge=0, description="how many sub-tasks are treated at most (0: all that are not good enough)"
    )
    replay: float = Field(
        default=0.25, ge=0, lt=1, description="share of rows that go to the other sub-tasks, against forgetting"
    )
    n: int = Field(default=4000, ge=1, description="training rows in all")
    good_enough: float = Field(default=0.95, ge=0, le=1, description="a score from which nothing is prescribed")
    worth: float = Field(
        default=0.01, ge=0, lt=1, description="least gain (a share) that a setting's interval must show"
    )


def prescribe(recipe: PrescribeRecipe, root: Path) -> Run:
    """Write `prescription.json`, and `recipe.toml` or `wrappers.toml` where there is something for it.

    `readings.jsonl` holds the diagnosis's readings and, behind them, those of the prescription, so that a page of this
    run shows both. Raises BadInput where nothing is left to treat of a model that can be trained.
    """
    diagnosis = Run.find(Path(recipe.run))
    found = Findings.of(diagnosis, recipe.worth)
    trains = _treatments.can_train(found.model)
    treated = _treated(found.scores, recipe) if trains else []
    shares = _shares(found.scores, treated, recipe.replay) if treated else {}
    looked = [rule(found) for rule in RULES]
    if treated:
        looked = [
            _treatments.mixture(found, shares, treated, recipe.good_enough),
            _treatments.negatives(found, recipe.n),
            _treatments.order(found, treated),
            _treatments.adapter(found, treated),
            *looked,
        ]
    remedies = sorted((r for r in looked if isinstance(r, Remedy)), key=_rank)
    if trains and not treated and not remedies:
        raise BadInput(
            f"every sub-task of {recipe.run} scores at least {recipe.good_enough:.0%}",
            "nothing to treat on this source: diagnose on a harder one",
        )
    inputs = {"diagnosis": diagnosis.folder.name}
    name = "mixture" if trains else "wrappers"
    with Run.open(root, "prescribe", name, recipe.model_dump(), inputs, unnamed={"run"}) as run:
        if not run.is_done:
            passed = [p for p in looked if isinstance(p, Passed)]
            written = _written(recipe, found, shares, treated)
            _write(run, found, written, remedies, passed)
            about = {**_about(found), "command": f"callgrain prescribe {shlex.quote(recipe.run)}"}
            run.finish({"treated": treated, "remedies": [r.kind for r in remedies], **about})
    return run


def _about(found: Findings) -> dict[str, Any]:
    """What a page says of the diagnosis behind the prescription."""
    return {name: found.settings[name] for name in ("model", "source", "seed") if name in found.settings}


def _rank(remedy: Remedy) -> tuple[bool, bool, float]:
    """Settings and rows by what they are shown to gain at least, bounds behind measured gains, the rest last."""
    gain = remedy.gain
    return gain is None, bool(gain and gain.is_bound), -(gain.low if gain else 0.0)


def _written(
    recipe: PrescribeRecipe, found: Findings, shares: dict[str, float], treated: Sequence[str]
) -> dict[str, Any]:
    """The parts of `prescription.json` that speak of rows."""
    by_share = sorted(shares.items(), key=lambda item: -item[1])
    reasons = [_reason(name, share, found, name in treated) for name, share in by_share]
    mixture = ",".join(f"{name}={share:.4f}" for name, share in shares.items())
    build = {"source": found.source, "split": "train", "subtask": mixture, "n": recipe.n, "seed": 1} if shares else {}
    advice = _advice(found.readings, _treatments.can_train(found.model)) + (_floor(found) if shares else [])
    return {"mixture": shares, "reasons": reasons, "advice": advice, "build": build}


def _floor(found: Findings) -> list[str]:
    """A warning where most sub-tasks are hardly ever right: a few rows mend them by no rule of shares."""
    low = [row for row in found.scores.values() if row.high is not None and row.high < FLOOR]
    if 2 * len(low) <= len(found.scores):
        return []
    return [
        f"{len(low)} of {len(found.scores)} sub-tasks are hardly ever right. In a trial of ours 20,000 target tokens "
        "moved none such, by whatever shares; 60,000 began to. There, these shares were not shown to beat equal parts "
        "(--subtask all). Give rows enough, then diagnose again."
    ]


def _write(
    run: Run, found: Findings, written: dict[str, Any], remedies: Sequence[Remedy], passed: Sequence[Passed]
) -> None:
    """Every file of the run."""
    sides = {"remedies": [r.as_json() for r in remedies], "looked_at": [p.as_json() for p in passed]}
    run.write("prescription", {**written, **sides})
    own = [*_readings(remedies, passed)]
    run.replace_rows("readings", (r.model_dump(mode="json") for r in (*found.readings, *own)))
    if written["build"]:
        notes = {"build": "rows: " + "; ".join(_share_of(r) for r in written["reasons"])}
        extra = {k: v for r in remedies if r.kind == "adapter" for k, v in r.setting.items()}
        trained = {"model": _trainable(found.model), "method": "sft", **extra, "build": written["build"]}
        head = f"# callgrain train {run.folder}/recipe.toml\n"
        write_atomic(run.folder / "recipe.toml", [(head + to_toml(trained, notes)).encode()])
    wrappers = [r for r in remedies if not r.is_training]
    if wrappers:
        notes = {r.kind: f"{r.reason}\ngain: {r.gain}\n{_applied(r)}: {r.how}" for r in wrappers}
        head = "# Settings for whatever runs the model, the most certain gain first.\n"
        tables = {r.kind: r.setting for r in wrappers}
        write_atomic(run.folder / "wrappers.toml", [(head + to_toml(tables, notes)).encode()])


def _applied(remedy: Remedy) -> str:
    return "callgrain does it" if remedy.is_ours else "for your own client, callgrain does not do it"


def _share_of(reason: dict[str, Any]) -> str:
    return f"{reason['subtask']} {reason['share']:.0%}: {reason['reason']}"


def _readings(remedies: Sequence[Remedy], passed: Sequence[Passed]) -> Iterable[Reading]:
    """Readings `prescription/gain` by remedy in their order, and `prescription/passed`, which have no value."""
    for place, one in enumerate(remedies, 1):
        by: dict[str, str | int | float | bool] = {"remedy": one.kind, "order": place, "setting": one.said}
        by |= {"reason": one.reason, "how": one.how, "ours": one.is_ours, "training": one.is_training}
        gain = one.gain
        if gain is None:
            yield Reading(probe="prescription", name="gain", value=None, n=0, by=by)
            continue
        by |= {"of": gain.of, "at_most": gain.is_bound, "from": gain.origin}
        n = max((row.n for row in one.because), default=0)
        yield Reading(probe="prescription", name="gain", value=gain.value, low=gain.low, high=gain.high, n=n, by=by)
    for one in passed:
        yield Reading(probe="prescription", name="passed", value=None, by={"remedy": one.kind, "reason": one.reason})


def _trainable(model: str) -> str:
    """The model that the recipe trains: the diagnosed one where its weights are at hand, else left to be named."""
    if model == BOXED:
        return model
    return model.partition(":")[2] if model.startswith("local:") else "FOLDER_OR_HUB_ID"


def _treated(scores: dict[str, Reading], recipe: PrescribeRecipe) -> list[str]:
    """Sub-tasks that are not good enough; where there are more than `top`, those that would get the most rows."""
    weak = [name for name, r in scores.items() if r.value is not None and r.value < recipe.good_enough]
    most = sorted(weak, key=lambda name: -_weight(scores[name]))[: recipe.top or None]
    return [name for name in weak if name in most]


def _weight(score: Reading) -> float:
    """What is lacking times what is there to build on."""
    value = score.value or 0.0
    return (1 - value) * (value + FOOTHOLD)


def _shares(scores: dict[str, Reading], treated: list[str], replay: float) -> dict[str, float]:
    """Share of rows by sub-task: the treated by their weights, the rest by equal parts of `replay`."""
    weights = {name: _weight(scores[name]) for name in treated}
    others = [name for name in scores if name not in treated]
    kept = replay if others else 0.0
    total = sum(weights.values())
    shares = {name: (1 - kept) * weight / total for name, weight in weights.items()}
    return shares | {name: kept / len(others) for name in others if kept}


def _reason(name: str, share: float, found: Findings, treated: bool) -> dict[str, Any]:
    """Why a sub-task gets its share."""
    score = found.scores[name]
    shown = interval_text(score.value, score.low, score.high)
    if not treated:
        return {"subtask": name, "share": share, "reason": f"replay, lest it be forgotten: {shown} now"}
    faults = [r for r in found.readings if r.probe == "fault" and r.by == {"subtask": name} and r.value]
    worst = max(faults, key=lambda r: (r.value or 0) * r.n, default=None)
    blame = f", mostly {worst.name} ({TABLE[worst.name].caption})" if worst and worst.name in TABLE else ""
    return {"subtask": name, "share": share, "reason": f"right in {shown} of {score.n}{blame}"}


def _advice(readings: Sequence[Reading], trains: bool) -> list[str]:
    """What the fault profile asks for beside rows."""
    rates = {r.name: r.value or 0.0 for r in readings if r.probe == "fault" and not r.by}
    advice: list[str] = []
    broken = next((r.value for r in readings if (r.probe, r.name) == ("form", "broken") and not r.by), None)
    counted = sum(rate for kind, rate in rates.items() if kind in TABLE and TABLE[kind].level == "form")
    form = counted if broken is None else broken  # rates of kinds have denominators of their own
    if form > FORM_SHARE:
        advice.append(
            f"{form:.0%} of the replies are broken in form. "
            + ("Right examples alone rarely mend that: train on negatives as well, or c" if trains else "C")
            + "onstrain the decoding."
        )
    decision = sum(rates.get(kind, 0.0) for kind in ("needless_call", "missed_question"))
    if decision > FORM_SHARE and trains:
        advice.append("It calls where it should not: keep a quarter of `decide` rows in every later mixture.")
    return advice
