"""Are the prescribed rows better than as many others? Arms of equal rows from the quickstart's base.

`python -m benchmarks.arms RUN` takes the folder of a finished quickstart, trains its base again on
the same number of rows of other mixtures (all nine sub-tasks in equal parts; the base's own
five) and holds the prescribed arm against each, paired, on the same samples. About three
minutes an arm on two cores. One seed: it says what happened once, not what happens.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see cli/main.py

from callgrain.cli._quickstart import QuickstartRecipe, _asking, _training
from callgrain.core.stats import interval_text
from callgrain.core.store import Run
from callgrain.corpus.build import BuildRecipe, build
from callgrain.probes._diagnose import diagnose
from callgrain.report.compare import compare, word
from callgrain.train._run import train


def main() -> None:
    """Print a table an arm; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished quickstart")
    given = parser.parse_args()
    recipe = QuickstartRecipe.model_validate(Run.find(given.run).read("recipe"))
    steps = given.run / "steps"
    trained = sorted((steps / "train").glob("*/done.json"), key=lambda p: p.stat().st_mtime_ns)
    base, tuned = (Run.find(p.parent) for p in (trained[0], trained[-1]))
    prescribed = diagnose(_asking(tuned, recipe), steps)
    source = f"{recipe.source},seed={1 + recipe.worlds},worlds={recipe.worlds}"
    found = {}
    for name, mixture in (("uniform", "all"), ("as the base", recipe.base_subtasks)):
        rows = build(
            BuildRecipe(source=source, subtask=mixture, n=recipe.rows, seed=recipe.seed + 1), given.run / "arms"
        )
        arm = train(_training(base.folder / "model", rows, recipe, 1e-3), given.run / "arms")
        other = diagnose(_asking(arm, recipe), given.run / "arms")
        readings = compare(other, prescribed)
        budget = {who: run.read("training")["target_tokens"] for who, run in (("prescribed", tuned), (name, arm))}
        print(f"\nprescribed minus {name}  (target tokens {budget})")
        for r in readings:
            if r.name in ("ok_difference", "macro_difference"):
                where = str(r.by.get("subtask", "mean"))
                print(f"  {where:10} {interval_text(r.value, r.low, r.high):28} n={r.n:<5} {word(r)}")
        found[name] = next([r.value, r.low, r.high] for r in readings if r.name == "macro_difference")
    print(
        json.dumps({"name": "arms", "ours": None, "peer": None, "ratio": None, "unit": "points/100", "n": 1, **found})
    )


if __name__ == "__main__":
    main()
