"""What treats the model in the box best? Arms at equal target tokens, several seeds, one set of questions.

`python -m benchmarks.comparison mixtures` trains `tiny` by SFT on three mixtures of the same trade: `umbrella`
(whole requests alone), `granular` (nine sub-tasks in equal parts) and `prescribed` (what its own diagnosis asks
for). `python -m benchmarks.comparison losses --model FOLDER` trains a model that can do part of it already (the one
that a quickstart leaves) on the same pairs by SFT on the right halves, DPO, DPO+NLL, span-contrastive DPO and KTO; each
loss's learning rate is chosen on a seed and samples of its own. Every arm stops at the same number of target tokens,
those of wrong halves counted (so SFT sees about twice as many pairs); all are asked the same samples, on tools that
no row shows.

A seed draws the rows and their order. The interval of a difference is Student's over seeds, paired by seed; the same
samples are asked each time, so it speaks of other trainings and not of other questions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see cli/main.py

from callgrain.core.stats import interval_text
from callgrain.core.store import Run
from callgrain.corpus.build import BuildRecipe, build
from callgrain.corpus.pairs import PairsRecipe, pairs
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.train._run import method_of, train

ASKED, PRACTICE = "toolworld:farm", "toolworld:farm,seed={first},worlds=64"
SUBTASKS = "full,names,slots,parallel,chain,nest,next_call,decide"
LOSSES = {
    "sft": (3e-4, 1e-3),
    "dpo": (1e-4, 4e-4),
    "dpo_nll": (1e-4, 4e-4),
    "span": (1e-4, 4e-4),
    "kto": (1e-4, 4e-4),
}
"""Arms of the losses, each with the learning rates that it chooses from."""


@dataclass(frozen=True)
class Bench:
    """What all arms share."""

    out: Path
    model: str
    budget: int
    n: int
    threads: int
    scores: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict[str, dict[int, dict[str, float]]])

    def asked(self, model: str, seed: int = 0) -> Run:
        """The diagnosis of a model on the shared samples."""
        recipe = DiagnoseRecipe(
            model=model,
            source=ASKED,
            split="unseen_tool",
            subtask=SUBTASKS,
            probe="subtask",
            n=self.n,
            seed=seed,
            max_tokens=96,
            batch_size=64,
        )
        return diagnose(recipe, self.out)

    def score(self, model: str, seed: int = 0) -> dict[str, float]:
        """Share right by sub-task, and their mean."""
        found = {
            str(r.by["subtask"]): r.value
            for r in readings(self.asked(model, seed))
            if r.probe == "subtask" and r.name == "ok" and set(r.by) == {"subtask"} and r.value is not None
        }
        return {**found, "mean": mean(found.values())}

    def trained(self, method: str, rate: float, seed: int, **more: Any) -> Run:
        """One training run of an arm."""
        settings = {
            "model": self.model,
            "method": method,
            "learning_rate": rate,
            "epochs": 20.0,
            "budget": self.budget,
            "batch_tokens": 2048,
            "max_length": 512,
            "precision": "bf16",
            "seed": seed,
            "save_steps": 10_000,
            "threads": self.threads,
        }
        return train(method_of(method).settings.resolve({**settings, **more}), self.out)

    def note(self, arm: str, seed: int, run: Run) -> None:
        """Ask an arm's model and keep what it scores."""
        found = self.score(f"local:{run.folder / 'model'}")
        self.scores.setdefault(arm, {})[seed] = found
        took = run.read("training")
        tokens, steps, seconds = took["target_tokens"], took["steps"], took["seconds"]
        print(
            f"{arm:12} seed {seed}  mean {found['mean']:.3f}  {steps} steps  {tokens} target tokens  {seconds:.0f} s",
            flush=True,
        )


def main() -> None:
    """Print every run, then the table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mixtures", "losses"))
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=60_000, help="target tokens an arm")
    parser.add_argument("--n", type=int, default=80, help="samples a sub-task")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the mixtures")
    parser.add_argument("--arms", default=",".join(LOSSES), help="losses to run, with sft among them for the table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--quick", action="store_true", help="two seeds, a tenth of the budget: shows that it runs")
    given = parser.parse_args()
    seeds = 2 if given.quick else given.seeds
    budget, n = (given.budget // 10, 12) if given.quick else (given.budget, given.n)
    bench = Bench(given.out, given.model, budget, n, given.threads)
    spec = given.model if given.model == "tiny" else f"local:{given.model}"
    untreated = bench.score(spec)
    control = (
        mixtures(bench, spec, range(seeds), given.rate)
        if given.what == "mixtures"
        else losses(bench, range(seeds), given.arms.split(","))
    )
    print(f"\nuntreated    {_row(untreated)}")
    for arm, by_seed in bench.scores.items():
        print(f"{arm:12} {_row({k: mean(s[k] for s in by_seed.values()) for k in untreated})}")
    print(f"\nminus {control}, paired by seed (95 %, Student's t over {seeds} seeds)")
    differences = {arm: _difference(bench.scores[arm], bench.scores[control]) for arm in bench.scores if arm != control}
    for arm, (value, low, high) in differences.items():
        print(
            f"{arm:12} {interval_text(value, low, high)}  {'shown' if low > 0 or high < 0 else 'no difference shown'}"
        )
    means = {arm: mean(s["mean"] for s in by_seed.values()) for arm, by_seed in bench.scores.items()}
    best = max((a for a in means if a != control), key=lambda arm: means[arm])
    line = {
        "name": f"comparison_{given.what}",
        "ours": means[best],
        "peer": means[control],
        "unit": f"share right, {best} against {control}",
    }
    ratio = round(means[best] / means[control], 3) if means[control] else None
    print(
        json.dumps(
            {
                **line,
                "ratio": ratio,
                "n": seeds,
                "means": means,
                "differences": differences,
                "untreated": untreated["mean"],
            }
        )
    )


def mixtures(bench: Bench, spec: str, seeds: range, rate: float) -> str:
    """SFT on three mixtures; the control is the umbrella."""
    found = prescribe(PrescribeRecipe(run=str(bench.asked(spec, seed=100).folder)), bench.out).read("prescription")
    prescribed = found["build"]["subtask"]
    print(f"prescribed: {prescribed}", file=sys.stderr)
    for seed in seeds:
        for arm, mixture in (("umbrella", "full"), ("granular", "all"), ("prescribed", prescribed)):
            rows = build(BuildRecipe(source=_practice(seed), subtask=mixture, n=_rows(bench), seed=seed), bench.out)
            bench.note(arm, seed, bench.trained("sft", rate, seed, rows=str(rows.folder)))
    return "umbrella"


def losses(bench: Bench, seeds: range, arms: list[str]) -> str:
    """Losses on the same pairs; the control is SFT on their right halves."""
    chosen: dict[str, float] = {}
    tried = _pairs(bench, 1000)
    for loss in arms:
        rates = LOSSES[loss]
        found = {
            rate: bench.score(f"local:{_arm(bench, loss, rate, 1000, tried).folder / 'model'}", seed=100)["mean"]
            for rate in rates
        }
        chosen[loss] = max(rates, key=lambda rate: found[rate])
        print(f"{loss}: rate {chosen[loss]:.1e} of {[f'{r:.1e} {v:.3f}' for r, v in found.items()]}", flush=True)
    for seed in seeds:
        made = _pairs(bench, seed)
        for loss, rate in chosen.items():
            bench.note(loss, seed, _arm(bench, loss, rate, seed, made))
    return "sft"


def _arm(bench: Bench, loss: str, rate: float, seed: int, made: Run) -> Run:
    if loss == "sft":
        return bench.trained("sft", rate, seed, rows=str(_right_halves(bench, made).folder))
    return bench.trained("preference", rate, seed, pairs=str(made.folder), loss=loss, stop_drop=0.0)


def _pairs(bench: Bench, seed: int) -> Run:
    return pairs(PairsRecipe(source=_practice(seed), n=_rows(bench), seed=seed), bench.out)


def _right_halves(bench: Bench, made: Run) -> Run:
    """The chosen turns of the pairs, as rows."""
    with Run.open(bench.out, "build", "chosen", {}, {"pairs": made.folder.name}) as run:
        if not run.is_done:
            kept = ("subtask", "prompt", "traits", "origin", "key", "at")
            run.replace_rows(
                "rows", ({**{k: row[k] for k in kept}, "target": row["chosen"]} for row in made.rows("pairs"))
            )
            run.finish({})
    return run


def _practice(seed: int) -> str:
    return PRACTICE.format(first=1 + 64 * seed)


def _rows(bench: Bench) -> int:
    """Rows enough for the budget in one pass; a mixture of short targets goes round more than once."""
    return max(200, bench.budget // 10)


def _row(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _difference(ours: dict[int, dict[str, float]], other: dict[int, dict[str, float]]) -> tuple[float, float, float]:
    """Mean difference of the means over seeds, with Student's interval."""
    from scipy.stats import t

    gaps = [ours[seed]["mean"] - other[seed]["mean"] for seed in ours]
    half = t.ppf(0.975, len(gaps) - 1) * stdev(gaps) / len(gaps) ** 0.5
    return mean(gaps), mean(gaps) - half, mean(gaps) + half


if __name__ == "__main__":
    main()
