"""Does training on instructions teach to use them? Controls at train time and at test time, four cells each.

`python -m benchmarks.instructions [--seeds 3] [--budget 20000] [--out runs]`: the model in the box is fine-tuned
further in its own world, at equal target tokens, on real rows and on rows with the same targets but no library
(`tools`), or no request (`request`); each is asked real prompts, prompts without a library and prompts without
a request, on the same traces. A model that answers from habit does as well without what was taken away (Kung and Peng
2023, arXiv 2305.11383). Descriptions are left alone: the dialect of the model in the box does not show them. On a trade
that it does not know (`toolworld:farm`) 20,000 tokens leave every arm at 0 of these sub-tasks: nothing could be told.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see cli/main.py

from rich.console import Console
from rich.table import Table

from benchmarks.comparison import Bench
from callgrain.core.stats import t_quantile
from callgrain.core.store import Journal, Run
from callgrain.corpus.build import BuildRecipe, build
from callgrain.models._box import BOXED
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose

WORLD = "toolworld:open"
ARMS = ("", "tools", "request")
"""What is taken away: nothing, the library, the request."""
SUBTASKS = "full,parallel,chain"
"""Sub-tasks that can be cut without a library: the others put it into the question itself."""
RATE = 4e-4
CONSOLE = Console(width=110)


def main() -> None:
    """Print the table of cells; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=20_000, help="target tokens of each training")
    parser.add_argument("--n", type=int, default=100, help="samples a sub-task and cell")
    parser.add_argument("--out", type=Path, default=Path("runs/instructions"))
    parser.add_argument("--quick", action="store_true", help="one seed, a tenth of the budget")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.budget, given.n = 1, given.budget // 10, 20
    cells: dict[tuple[str, str], list[float]] = {}
    with Journal(given.out / "cells.jsonl") as journal:
        for seed in range(given.seeds):
            for arm in ARMS:
                if f"{arm}/{seed}/{given.budget}" not in journal.keys:
                    shares = _asked(_trained(arm, seed, given), given)
                    journal.append([{"key": f"{arm}/{seed}/{given.budget}", "arm": arm, "shares": shares}])
        for row in journal.rows():
            if row["key"].endswith(f"/{given.budget}"):
                for test, share in row["shares"].items():
                    cells.setdefault((row["arm"], test), []).append(share)
    _show(cells)
    real, blind = mean(cells["", ""]), mean(cells["tools", ""])
    figures = {"ours": real, "peer": blind, "ratio": real / blind if blind else None}
    unit = "share right, real rows against rows without a library"
    print(json.dumps({"name": "instructions", **figures, "unit": unit, "n": given.seeds}))


def _source(arm: str, world: str = WORLD) -> str:
    return f"blanked,what={arm}:{world}" if arm else world


def _trained(arm: str, seed: int, given: argparse.Namespace) -> Run:
    worlds = _source(arm, f"{WORLD},seed={1000 + 64 * seed},worlds=64")
    recipe = BuildRecipe(source=worlds, subtask=SUBTASKS, n=max(400, given.budget // 6), seed=seed)
    bench = Bench(given.out, BOXED, given.budget, given.n, 1)
    return bench.trained("sft", RATE, seed, rows=str(build(recipe, given.out).folder))


def _asked(tuned: Run, given: argparse.Namespace) -> Mapping[str, float]:
    """Share right by what is taken away at test time: the mean over sub-tasks of calls that are due."""
    out: dict[str, float] = {}
    for test in ARMS:
        more: dict[str, Any] = {"n": given.n, "max_tokens": 96, "batch_size": 64, "probe": "subtask"}
        model = f"local:{tuned.folder / 'model'}"
        recipe = DiagnoseRecipe(model=model, source=_source(test), split="test", subtask=SUBTASKS, **more)
        run = diagnose(recipe, given.out)
        oks: dict[str, list[bool]] = {}
        for row in run.rows("verdicts"):
            if row["subtask"] != "full" or row["traits"].get("branch", "call") == "call":
                oks.setdefault(row["subtask"], []).append(bool(row["ok"]))
        out[test] = mean(sum(found) / len(found) for found in oks.values())
        print(f"{tuned.folder.name} asked without {test or 'nothing'}: {out[test]:.3f}", flush=True)
    return out


def _show(cells: Mapping[tuple[str, str], list[float]]) -> None:
    table = Table("trained without", *(f"asked without {test or 'anything gone'}" for test in ARMS))
    for arm in ARMS:
        table.add_row(arm or "anything gone", *(_interval(cells.get((arm, test), [])) for test in ARMS))
    CONSOLE.print(table)
    for arm in ARMS[1:]:
        gaps = [a - b for a, b in zip(cells.get(("", ""), []), cells.get((arm, ""), []), strict=True)]
        CONSOLE.print(f"real rows minus rows without {arm}, asked real prompts, paired by seed: {_interval(gaps)}")


def _interval(values: list[float]) -> str:
    """Mean over seeds with Student's interval."""
    if not values:
        return "-"
    if len(values) < 2:
        return f"{100 * mean(values):.1f} %"
    half = t_quantile(len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{100 * mean(values):.1f} % [{100 * (mean(values) - half):.1f}, {100 * (mean(values) + half):.1f}]"


if __name__ == "__main__":
    main()
