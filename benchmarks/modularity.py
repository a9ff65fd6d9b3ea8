"""Does modularity predict anything? Composition and forgetting against contrast and entanglement, model by model.

    python -m benchmarks.modularity [--quick] [--models N] [--budget TOKENS] [--threads N] [--out FOLDER]

Small decoders are trained from scratch on the same world, each with its own seed, learning rate and weight decay
(what the probe is to tell apart has to differ somehow). Of each: contrast and entanglement as the probe reads them;
the share of held-out compositions (`nest`, `chain`) that are right; and forgetting, nats that held-out `names`,
`slots` and `decide` cost more after a further training on `next_call` alone. Spearman's rho over models, with
Fieller's interval. So few models show a strong relation or none: "not shown" is an answer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from math import atanh, sqrt, tanh
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._planting import cut, pick
from benchmarks.adapters import loss_of
from callgrain.core import plugins, stats
from callgrain.core.rows import read_json
from callgrain.core.store import Run, write_json
from callgrain.core.types import Reading
from callgrain.corpus.build import BuildRecipe, build
from callgrain.models._mask_search import Search
from callgrain.models._tiny import new_tiny
from callgrain.models.local import Local
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._modularity_motion import Motion
from callgrain.probes.modularity import Modularity
from callgrain.tools._toolworld_micro import vocabulary
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train

SOURCE = "toolworld:micro"
TAUGHT = "decide,names,slots,next_call,nest,chain"
KEPT = "names,slots,decide"
RATES, DECAYS = (2e-3, 4e-3), (0.0, 0.1)
MEASURES, OUTCOMES = ("contrast", "margin", "entanglement"), ("composition", "forgetting")


def rows_of(subtasks: str, split: str, n: int, seed: int, root: Path) -> Run:
    """Rows of a build."""
    return build(BuildRecipe(source=SOURCE, split=split, subtask=subtasks, n=n, seed=seed), root)


def trained(model: str, rows: Run, number: int, budget: int, given: argparse.Namespace) -> str:
    """A model's folder after a training on those rows."""
    recipe = TrainRecipe(
        model=model, rows=str(rows.folder), budget=budget, epochs=1000, batch_tokens=2048, max_length=512, seed=number,
        learning_rate=RATES[number % 2], weight_decay=DECAYS[number // 2 % 2], threads=given.threads,
        save_steps=100_000,
    )  # fmt: skip
    return str(train(recipe, given.out).folder / "model")


def composition(model: str, given: argparse.Namespace) -> float:
    """Share of held-out compositions that are right, mean of the two sub-tasks."""
    recipe = DiagnoseRecipe(
        model=f"local:{model}", source=SOURCE, subtask="nest,chain", probe="subtask", n=given.n, max_tokens=64
    )
    found = [r.value or 0.0 for r in readings(diagnose(recipe, given.out)) if r.name == "ok" and len(r.by) == 1]
    return sum(found) / max(1, len(found))


def modularity(model: str, given: argparse.Namespace) -> dict[str, Reading | None]:
    """What the probe reads: one seed of masks a skill, so that a model takes minutes."""
    pushes = (2, 2) if given.quick else (4, 8)
    probe = Modularity(
        search=Search(steps=6 if given.quick else 60),
        motion=Motion((0.2,), *pushes, few=4),
        seeds=1,
        prompts=1,
    )
    pool = cut(SOURCE, [*TAUGHT.split(",")], 20 if given.quick else 60)
    found = probe.conclude(list(probe.examine(Local(model), pool, [], lambda *_: None)))
    return {
        "contrast": pick(found, "contrast", arm="trained"),
        "margin": pick(found, "margin", control="random_mask"),
        "entanglement": pick(found, "entanglement", arm="trained"),
    }


def measured(number: int, given: argparse.Namespace) -> dict[str, float]:
    """One model: what the probe says of it, and what became of it."""
    kept = given.out / f"model-{number}.json"
    if kept.exists():
        known: Any = read_json(kept)
        return known
    words = (*vocabulary(), *plugins.names("subtasks"))
    fresh = new_tiny(given.out / f"fresh-{number}", words, seed=number)
    rows = rows_of(TAUGHT, "train", given.rows, number, given.out)
    model = trained(str(fresh), rows, number, given.budget, given)
    after = trained(model, rows_of("next_call", "train", given.rows, 99, given.out), number, given.budget // 8, given)
    held = rows_of(KEPT, "test", 60, 7, given.out)
    read = modularity(model, given)
    found = {name: float(row.value) for name, row in read.items() if row is not None and row.value is not None}
    found["composition"] = composition(model, given)
    found["loss"] = loss_of(model, held, "auto")
    found["forgetting"] = loss_of(after, held, "auto") - found["loss"]
    write_json(kept, found)
    return found


def spearman(one: Sequence[float], other: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """(rho, low, high): ranks with ties shared; Fieller, Hartley and Pearson (1957) on Fisher's scale."""
    n = len(one)
    a, b = _ranks(one), _ranks(other)
    middle = (n - 1) / 2
    spread = sqrt(sum((x - middle) ** 2 for x in a) * sum((y - middle) ** 2 for y in b))
    if n < 4 or spread == 0:
        return None, None, None
    rho = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True)) / spread
    inner = max(-0.999, min(0.999, rho))
    half = stats.Z * sqrt(1.06 / (n - 3))
    return rho, tanh(atanh(inner) - half), tanh(atanh(inner) + half)


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2 for value in values
    ]


def main() -> None:
    """Print a row a model, the correlations, and last one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four models of a few steps: does it run?")
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--budget", type=int, default=400_000, help="target tokens of each training")
    parser.add_argument("--rows", type=int, default=4000, help="rows of each build")
    parser.add_argument("--n", type=int, default=100, help="held-out compositions of each sub-task")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    if given.quick:
        given.models, given.budget, given.rows, given.n = 4, 2000, 100, 4
    given.out = given.out or Path(tempfile.mkdtemp(prefix="modularity-"))
    import torch

    torch.set_num_threads(given.threads)
    console = Console(width=132)
    table = Table("model", *MEASURES, *OUTCOMES, "loss", title="one row a model")
    found: list[dict[str, float]] = []
    for number in range(given.models):
        found.append(measured(number, given))
        cells = [f"{found[-1][k]:.3f}" if k in found[-1] else "n/a" for k in (*MEASURES, *OUTCOMES, "loss")]
        table.add_row(str(number), *cells)
        console.log(f"model {number}: {found[-1]}")
    console.print(table)
    console.print(_verdicts(found))
    print(json.dumps({"name": "modularity", "models": len(found), "rows": found}))


def _verdicts(found: Sequence[dict[str, float]]) -> Table:
    """Rho of each measure with each outcome, and what it shows."""
    table = Table("measure", "outcome", "Spearman's rho", "models", "", title="does it predict?")
    for measure in MEASURES:
        for outcome in OUTCOMES:
            both = [row for row in found if measure in row and outcome in row]
            rho, low, high = spearman([row[measure] for row in both], [row[outcome] for row in both])
            shown = low is not None and high is not None and (low > 0 or high < 0)
            said = "shown" if shown else "not shown"
            table.add_row(measure, outcome, stats.interval_text(rho, low, high, percent=False), str(len(both)), said)
    return table


if __name__ == "__main__":
    main()
