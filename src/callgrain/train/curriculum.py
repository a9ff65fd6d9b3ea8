"""Sub-tasks one after another, in the order that does least harm.

A pilot on each sub-task, from the same start, shows what training on it does to the others; the order
follows from that. The pilots are part of the bill: the proposed arm trains on what they leave of the
budget. Beside it the same budget can be spent jointly, in reverse and at random, and on the
proposed order as if pilots were free. One seed shows how the arms did, not that order matters:
for that, repeat it over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import Field

from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.stats import mean
from callgrain.core.store import Run
from callgrain.train import _transfer
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import rows_of
from callgrain.train._stages import Bench, Measure, Spent, check_apart, chosen, put_model

ARMS = ("proposed", "uncharged", "joint", "reverse", "random", "every")
MOST_ORDERS = 4
"""Sub-tasks of which every order is still tried: 24 trainings."""

Scores = _transfer.Scores


class CurriculumRecipe(TrainRecipe):
    """Settings of a curriculum."""

    subtasks: str = Field(default="all", description="sub-tasks to order, separated by commas; all: those in the rows")
    pilot_tokens: int = Field(default=20_000, ge=1, description="target tokens of the pilot on each sub-task")
    arms: str = Field(
        default="proposed",
        description="proposed (pilots charged), uncharged, joint, reverse, random, every (all orders of up to 4)",
    )
    source: str = Field(default="toolworld:micro", description="SOURCE on which sub-tasks are measured")
    split: str = Field(default="", description="its split; empty takes the one for checking")
    n: int = Field(default=100, ge=1, description="samples a sub-task")
    metric: Literal["ok", "score"] = Field(
        default="ok", description="ok: right or wrong; score: how much of a reply is right, where hardly any is whole"
    )
    max_tokens: int = Field(default=64, ge=1, description="most tokens of one reply when measuring")


class Curriculum:
    """Pilots, an order with its reasons, and a training by it; other arms where they are asked for."""

    settings = CurriculumRecipe

    def inputs(self, recipe: CurriculumRecipe) -> dict[str, str]:
        """The rows, by their build's name."""
        return {"rows": rows_of(recipe).folder.name}

    def train(self, recipe: CurriculumRecipe, run: Run, tell: Tell = silent) -> Path:
        """Measure, order, train; `transfer.json`, `order.json` and `training.json` hold what came out.

        Raises BadInput where there is nothing to order, no budget, or one that the pilots would use up.
        """
        measure = Measure(recipe.source, recipe.split, recipe.n, recipe.max_tokens, recipe.metric)
        bench = Bench(recipe, measure, run, tell)
        names = _check(recipe, bench)
        before = bench.scores(recipe.model, names)
        pilots = {name: bench.fit(recipe.model, name, recipe.pilot_tokens, recipe.seed).read("done") for name in names}
        after = {name: bench.scores(str(done["model"]), names) for name, done in pilots.items()}
        matrix = _transfer.transfer(before, after)
        cost = {
            "target_tokens": sum(int(p["target_tokens"]) for p in pilots.values()),
            "seconds": round(sum(float(p["seconds"]) for p in pilots.values()), 1),
        }
        if cost["target_tokens"] >= recipe.budget:
            raise BadInput("the pilots took the whole budget", "raise --budget or lower --pilot-tokens")
        run.write("transfer", {"before": _means(before), "matrix": _listed(matrix), "pilots": cost})
        order = _transfer.best_order(matrix)
        run.write("order", _explained(matrix, order))
        table, spent = _arms(bench, matrix, order, cost, before)
        mine = spent["proposed"]
        target = put_model(mine.model, run.folder / "model")
        training = {
            "steps": mine.steps,
            "target_tokens": mine.tokens + int(cost["target_tokens"]),
            "seconds": round(mine.seconds + float(cost["seconds"]), 1),
            "order": list(order),
            "pilots": cost,
            "arms": table,
            "predictor": _predictor(table),
        }
        run.write("training", training)
        return target


def _check(recipe: CurriculumRecipe, bench: Bench) -> tuple[str, ...]:
    """The sub-tasks to order. Raises BadInput, UnknownName for what cannot be run."""
    for arm in _asked(recipe):
        if arm not in ARMS:
            raise UnknownName("arm", arm, ARMS)
    rows = rows_of(recipe)
    check_apart(rows, bench.measure)
    names = chosen(recipe.subtasks, rows)
    if len(names) > _transfer.MOST:
        raise BadInput(f"{len(names)} sub-tasks are too many to order for certain", f"name {_transfer.MOST} at most")
    if "every" in _asked(recipe) and len(names) > MOST_ORDERS:
        raise BadInput(
            f"{len(names)} sub-tasks have too many orders", f"name {MOST_ORDERS} at most for the arm `every`"
        )
    if len(names) * recipe.pilot_tokens >= recipe.budget:
        raise BadInput(
            f"{len(names)} pilots of {recipe.pilot_tokens:,} target tokens use up the budget of {recipe.budget:,}",
            "raise --budget (target tokens in all, pilots included) or lower --pilot-tokens",
        )
    return names


def _asked(recipe: CurriculumRecipe) -> list[str]:
    return list(dict.fromkeys(["proposed", *(part.strip() for part in recipe.arms.split(",") if part.strip())]))


def _plans(recipe: CurriculumRecipe, order: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(arm, order of its stages) of each arm that is asked for."""
    for arm in _asked(recipe):
        if arm in ("proposed", "uncharged"):
            yield arm, order
        elif arm == "joint":
            yield arm, ("",) * len(order)
        elif arm == "reverse":
            yield arm, order[::-1]
        elif arm == "random":
            yield arm, tuple(Random(f"order {recipe.seed}").sample(sorted(order), len(order)))
        else:
            for other in permutations(sorted(order)):
                yield f"order {' '.join(other)}", other


def _arms(
    bench: Bench,
    matrix: _transfer.Matrix,
    order: tuple[str, ...],
    cost: Mapping[str, Any],
    before: Scores,
) -> tuple[list[dict[str, Any]], dict[str, Spent]]:
    """A row of the table for each arm, and what each arm spent."""
    recipe: Any = bench.recipe
    spent: dict[str, Spent] = {}
    ends: dict[str, Scores] = {}
    table: list[dict[str, Any]] = []
    for arm, stages in _plans(recipe, order):
        budget = recipe.budget - (int(cost["target_tokens"]) if arm == "proposed" else 0)
        bench.tell(f"arm {arm}", 0, 0)
        spent[arm] = bench.staged(stages, budget)
        ends[arm] = bench.scores(spent[arm].model, order)
        row = _row(arm, stages, spent[arm], ends[arm], before)
        row["charged"] = int(cost["target_tokens"]) if arm == "proposed" else 0
        if arm != "joint":
            row["harm"] = _transfer.harm(matrix, stages)
            row["predicted"] = _transfer.gain(matrix, stages) / len(stages)
            row["backward"] = _listed_row(_transfer.backward(spent[arm].stages, ends[arm]))
        table.append(row)
    for row in table:
        if "joint" in ends and row["arm"] != "joint":
            row["less_joint"] = list(_pooled_change(ends[row["arm"]], ends["joint"]))
    return table, spent


def _row(arm: str, stages: tuple[str, ...], spent: Spent, end: Scores, before: Scores) -> dict[str, Any]:
    return {
        "arm": arm,
        "order": list(stages) if any(stages) else ["all"] * len(stages),
        "target_tokens": spent.tokens,
        "seconds": round(spent.seconds, 1),
        "ok": mean([score for items in end.values() for score in items.values()]),
        "by_subtask": _means(end),
        "gained": list(_pooled_change(end, before)),
    }


def _pooled_change(after: Scores, before: Scores) -> _transfer.Change:
    """Paired difference over the items of all sub-tasks together."""
    one, other = (
        {f"{name} {key}": score for name, items in scores.items() for key, score in items.items()}
        for scores in (after, before)
    )
    return _transfer.change(one, other)


def _means(scores: Scores) -> dict[str, Any]:
    return {name: mean(list(items.values())) for name, items in scores.items()}


def _listed_row(row: Mapping[str, _transfer.Change]) -> dict[str, list[float]]:
    return {name: list(cell) for name, cell in row.items()}


def _listed(matrix: _transfer.Matrix) -> dict[str, dict[str, list[float]]]:
    """The matrix as JSON: trained on (outer key), changed (inner key): value, low, high, n."""
    return {name: _listed_row(row) for name, row in matrix.items()}


def _explained(matrix: _transfer.Matrix, order: tuple[str, ...]) -> dict[str, Any]:
    """The order, why, and what is predicted of it and of its reverse."""
    return {
        "order": list(order),
        "harm": _transfer.harm(matrix, order),
        "harm_reversed": _transfer.harm(matrix, order[::-1]),
        "reasons": _transfer.reasons(matrix, order),
        "harms_shown": sum(c.high < 0 for j, row in matrix.items() for i, c in row.items() if i != j),
        "assumes": "that a later stage costs a sub-task what its pilot did, and that costs add up",
    }


def _predictor(table: list[dict[str, Any]]) -> dict[str, Any]:
    """How well harm and gain, predicted from pilots, rank the orders that were run at the full budget."""
    rows = [row for row in table if row["arm"] not in ("joint", "proposed")]
    rows = list({tuple(row["order"]): row for row in rows}.values())
    found = [row["ok"][0] for row in rows]
    if len(rows) < 2:
        return {"orders": len(rows)}
    by_harm, by_gain = [-row["harm"] for row in rows], [row["predicted"] for row in rows]
    return {
        "orders": len(rows),
        "tau_harm": _transfer.kendall_tau(by_harm, found),
        "tau_gain": _transfer.kendall_tau(by_gain, found),
        "regret": _transfer.regret(by_harm, found),
    }


plugin = Curriculum
