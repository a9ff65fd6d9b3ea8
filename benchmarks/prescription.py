"""Does the prescription help? Prescribed against uniform and opposite treatment of planted weaknesses, at equal budget.

`python -m benchmarks.prescription training` fine-tunes weak students made from `tiny` (and `tiny` on a trade that it
does not know) on mixtures by several rules at equal target tokens (`--students`, `--arms`, `--first 10` for fresh
seeds); `python -m benchmarks.prescription wrappers` gives text models with planted weaknesses three sets of settings at
an equal number of requests. `--quick` shows that it runs.

Intervals are paired by item. Those of trainings are given twice: over items with these trainings as they are, and over
seeds (Student's, paired by seed); a difference is called shown where neither holds 0.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see cli/main.py

from benchmarks import _prescription_training as training
from benchmarks import _prescription_wrappers as wrappers
from callgrain.core.stats import interval_text
from callgrain.core.store import Run

AIM = "prescribed minus uniform"
AGAINST = ("prescribed", "uniform", "opposite")
"""Compared with one another; every further arm is held against each of them."""


def main() -> None:
    """Print every arm and every difference; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("training", "wrappers"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--arms", default=",".join(training.ARMS), help="rules of shares, with commas")
    parser.add_argument("--budget", type=int, default=8_000, help="target tokens of a treatment")
    parser.add_argument("--harm", type=int, default=16_000, help="target tokens of the fine-tuning that plants")
    parser.add_argument("--n", type=int, default=60, help="samples a sub-task")
    parser.add_argument("--students", default="", help="planted weaknesses, with commas (default: every one)")
    parser.add_argument("--out", type=Path, default=Path("runs/prescription"))
    parser.add_argument("--quick", action="store_true", help="two seeds, a sixth of the budget")
    given = parser.parse_args()
    if given.what == "wrappers":
        _wrappers(given.out, 40 if given.quick else 200)
        return
    small = {"budget": given.budget // 6, "n": 16, "seeds": 2} if given.quick else {}
    chosen = tuple(s for s in training.STUDENTS if not given.students or s.name in given.students.split(","))
    sides = {"students": chosen, "arms": tuple(given.arms.split(","))}
    _training(training.Trial(**{k: v for k, v in vars(given).items() if k not in ("what", "quick")} | small | sides))


def _wrappers(out: Path, n: int) -> None:
    found = wrappers.run(out, n)
    better = 0
    for name, figures in found.items():
        print(f"{name}: prescribed {', '.join(figures['prescribed']) or 'nothing'}; opposite {figures['opposite']}")
        for arm, share in figures["right"].items():
            print(f"  {arm:34} {interval_text(*share)}")
        for title, gap in figures.items():
            if " minus " in title:
                is_shown = gap[1] is not None and (gap[1] > 0 or gap[2] < 0)
                print(f"  {title:34} {interval_text(*gap)} {'shown' if is_shown else 'no difference shown'}")
        better += figures["prescribed minus uniform"][1] > 0
    unit = "planted weaknesses on which the prescribed setting is shown to beat settings dealt out evenly"
    print(
        json.dumps({"name": "prescription_wrappers", "ours": better, "peer": len(found), "unit": unit, "n": n, **found})
    )


def _training(trial: training.Trial) -> None:
    rows = list(training.run(trial))
    print()
    out: dict[str, Any] = {}
    for student in trial.students:
        found = _students(student, [r for r in rows if r["student"] == student.name], trial)
        if found:
            out[student.name] = found
    shown = [f for f in out.values() if AIM in f and _is_shown(f[AIM]) and f[AIM]["value"] > 0]
    print(
        json.dumps(
            {
                "name": "prescription_training",
                "ours": len(shown),
                "peer": len(out),
                "unit": "students on which prescribed rows are shown to beat uniform ones",
                "n": trial.seeds,
                "differences": out,
            }
        )
    )


def _students(student: training.Student, rows: list[dict[str, Any]], trial: training.Trial) -> dict[str, Any]:
    """Differences between the arms of a student, over the seeds that every arm has."""
    folders = {(r["arm"], r["seed"]): r["asked"] for r in rows}
    every = range(trial.first, trial.first + trial.seeds)
    seeds = [s for s in every if all((arm, s) in folders for arm in trial.arms)]
    if not seeds:
        return {}
    oks = {a: [training.right_or_wrong(Run(trial.out / folders[a, s])) for s in seeds] for a in trial.arms}
    before = [training.right_or_wrong(training.untreated(student, trial))] * len(seeds)
    out: dict[str, Any] = {}
    for one, other in _pairs(trial.arms):
        out[f"{one} minus {other}"] = training.gap(oks[one], oks[other])
        if student.subtask:
            out[f"{one} minus {other} on {student.subtask}"] = training.gap(oks[one], oks[other], student.subtask)
    for arm in trial.arms:
        out[f"{arm} minus untreated"] = training.gap(oks[arm], before)
    print(f"{student.name} ({len(seeds)} seeds)")
    for name, found in out.items():
        items, over = (interval_text(found["value"], *found[k]) for k in ("items", "seeds"))
        print(f"  {name:34} items {items:28} seeds {over:28} {'shown' if _is_shown(found) else 'no difference shown'}")
    return out


def _pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared: the three of `AGAINST` among themselves, and every other rule with each of them."""
    controls = [a for a in AGAINST if a in arms]
    among = [(a, b) for i, a in enumerate(controls) for b in controls[i + 1 :]]
    return among + [(a, b) for a in arms if a not in AGAINST for b in controls]


def _is_shown(found: dict[str, Any]) -> bool:
    limits = [found[k] for k in ("items", "seeds")]
    return all(None not in pair and (pair[0] > 0 or pair[1] < 0) for pair in limits)


if __name__ == "__main__":
    main()
