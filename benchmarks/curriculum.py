"""What an order of sub-tasks is worth: the proposed one beside joint training, its reverse and others.

    python -m benchmarks.curriculum [--quick] [--threads N] [--seeds N] [--model FOLDER] [--every]

Every arm starts from the same model, spends the same target tokens in as many stages, and is asked the
same items; the proposed arm has paid for its pilots out of them, the uncharged one has not. Without
--model a small decoder is made and given a little of everything first, so that there is something to
forget. With --every each order of the sub-tasks is trained, and Kendall's tau says how well the
pilots ranked them. `ours` is the mean score of the proposed arm over seeds, `peer` that of joint training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from callgrain.core import plugins
from callgrain.corpus.build import BuildRecipe, build
from callgrain.models._tiny import new_tiny
from callgrain.tools._toolworld_micro import vocabulary
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train
from callgrain.train.curriculum import CurriculumRecipe

SOURCE = "toolworld:micro"
COMMON = {"learning_rate": 2e-3, "batch_tokens": 2048, "max_length": 512}


def start(root: Path, threads: int, tokens: int) -> str:
    """A decoder of under a million parameters after `tokens` target tokens of everything."""
    fresh = new_tiny(root / "fresh", (*vocabulary(), *plugins.names("subtasks")))
    rows = build(BuildRecipe(source=SOURCE, n=4000, seed=99), root)
    recipe = TrainRecipe.resolve({"model": str(fresh), "rows": str(rows.folder), "budget": tokens, **COMMON})
    return str(train(recipe.model_copy(update={"threads": threads}), root).folder / "model")


def run(root: Path, asked: argparse.Namespace, model: str, seed: int) -> dict[str, Any]:
    """One curriculum with its arms."""
    rows = build(BuildRecipe(source=SOURCE, n=asked.rows, subtask=asked.subtasks, seed=seed), root)
    settings = {
        "model": model,
        "rows": str(rows.folder),
        "method": "curriculum",
        "budget": asked.budget,
        "pilot_tokens": asked.pilot_tokens,
        "arms": "uncharged,joint,reverse,random" + (",every" if asked.every else ""),
        "source": SOURCE,
        "n": asked.n,
        "max_tokens": 48,
        "metric": asked.metric,
        "seed": seed,
        "threads": asked.threads,
        **COMMON,
    }
    return train(CurriculumRecipe.resolve(settings), root).read("training")


def main() -> None:
    """Run the seeds, print a row an arm and the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sub-tasks, one seed, few tokens: under 3 minutes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="", help="folder of the model that every arm starts from")
    parser.add_argument("--every", action="store_true", help="train every order, to grade the prediction")
    parser.add_argument("--subtasks", default="names,slots,nest,decide")
    parser.add_argument("--budget", type=int, default=120_000, help="target tokens of an arm")
    parser.add_argument("--pilot-tokens", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--n", type=int, default=100, help="items a sub-task")
    parser.add_argument("--metric", default="ok", choices=["ok", "score"])
    parser.add_argument("--warm-tokens", type=int, default=100_000)
    asked = parser.parse_args()
    if asked.quick:
        small = {"seeds": 1, "subtasks": "names,slots", "budget": 3000, "pilot_tokens": 400, "rows": 400, "n": 30}
        vars(asked).update(small, metric="score", warm_tokens=20_000)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        model = asked.model or start(root, asked.threads, asked.warm_tokens)
        found = [run(root, asked, model, seed) for seed in range(asked.seeds)]
    arms = [row["arm"] for row in found[0]["arms"] if not row["arm"].startswith("order ")]
    scores = {arm: [r["ok"][0] for f in found for r in f["arms"] if r["arm"] == arm] for arm in arms}
    print(f"{'arm':12} {'mean':>7} {'lowest':>7} {'highest':>7}   over {asked.seeds} seeds")
    for arm, values in scores.items():
        print(f"{arm:12} {statistics.mean(values):7.3f} {min(values):7.3f} {max(values):7.3f}")
    taus = [f["predictor"].get("tau_harm") for f in found]
    ours, peer = (statistics.mean(scores[arm]) for arm in ("proposed", "joint"))
    result = {
        "name": "curriculum",
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(ours / peer, 4) if peer else None,
        "unit": f"mean {asked.metric}",
        "n": asked.n * len(asked.subtasks.split(",")),
        "seeds": asked.seeds,
        "arms": {arm: [round(v, 4) for v in values] for arm, values in scores.items()},
        "orders": [f["order"] for f in found],
        "pilot_share": round(statistics.mean(f["pilots"]["target_tokens"] / asked.budget for f in found), 4),
        "tau_harm": taus,
        "regret": [f["predictor"].get("regret") for f in found],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
