"""Planted weaknesses and known fault rates: does the diagnosis find what was put there?

A scripted model is broken on one sub-task, or makes one kind of fault at a known rate, and the
probes are asked. Run with `python -m benchmarks.planted [--quick]`.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Sample, Verdict
from callgrain.models.scripted import Scripted, _question
from callgrain.probes._graded import SUBTASKS, Graded, subtask_of
from callgrain.probes._pool import pool
from callgrain.probes.faults import Faults
from callgrain.probes.weakness import Weakness
from callgrain.sources._open import open_source
from callgrain.verify.faults import KINDS
from callgrain.verify.spoil import kinds_on, right, spoil

GRAINS = ("names", "slots", "next_call", "parallel", "chain", "nest", "response")
RATES = (0.05, 0.1, 0.2, 0.3, 0.5)
NOISE = 0.05
CONSOLE = Console(width=110)


def cut(subtasks: Sequence[str], n: int) -> list[Sample]:
    """The pool of a diagnosis on `toolworld:full`."""
    source, split = open_source("toolworld:full")
    return [sample for _, sample in pool(source.traces(split), subtasks, n, 0)]


def asked(model: Scripted, samples: Sequence[Sample], clean: dict[str, Verdict]) -> list[Graded]:
    """Every sample answered and graded; a right reply's verdict is taken from `clean`."""
    out: list[Graded] = []
    for sample, reply in zip(samples, model.answer([s.prompt for s in samples]), strict=True):
        known = reply == right(sample)
        verdict = clean[sample.key] if known else subtask_of(sample.subtask).grade(sample, reply)
        out.append(Graded(sample, reply, verdict))
    return out


def planted(samples: Sequence[Sample], seeds: int, noise: float) -> list[dict[str, float | str]]:
    """For each grain broken at 0.5: how often it ranks first, is accused, and others are."""
    clean = {s.key: subtask_of(s.subtask).grade(s, right(s)) for s in samples}
    rows: list[dict[str, float | str]] = []
    for target in GRAINS:
        first = accused = alarms = 0
        for seed in range(seeds):
            others = "".join(f",{name}={noise}" for name in GRAINS if name != target) if noise else ""
            model = Scripted(f"{target}=0.5{others},seed={seed}")
            model.rehearse(samples)
            ranks = [r for r in Weakness().read(asked(model, samples, clean)) if r.name == "rank"]
            first += any(r.by["subtask"] == target and r.value == 1 for r in ranks)
            accused += any(r.by["subtask"] == target and r.by["accused"] for r in ranks)
            alarms += sum(bool(r.by["accused"]) for r in ranks if r.by["subtask"] != target)
        clean_looks = seeds * (len(GRAINS) - 1)
        row = {"subtask": target, "first": first / seeds, "accused": accused / seeds, "alarms": alarms / clean_looks}
        rows.append(row)
    return rows


def show_planted(rows: list[dict[str, float | str]], title: str) -> None:
    """Print the table of planted weaknesses."""
    table = Table("broken at 0.5", "ranked first", "accused", "false alarms", title=title)
    for row in rows:
        table.add_row(str(row["subtask"]), *(f"{row[k]:.1%}" for k in ("first", "accused", "alarms")))
    CONSOLE.print(table)


def able_samples(samples: Sequence[Sample], n: int) -> dict[str, list[Sample]]:
    """For each kind, up to `n` samples on which it can be made, and on which it is then the first fault."""
    out: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
    for sample in Random(0).sample(list(samples), len(samples)):
        task = subtask_of(sample.subtask)
        for kind in kinds_on(sample, [k for k in sorted(task.kinds) if len(out[k]) < n]):
            reply = spoil(kind, sample, Random(0))
            verdict = task.grade(sample, reply) if reply else None
            if verdict is None or verdict.first is None or verdict.first.kind != kind:
                raise AssertionError(f"{kind} on {sample.origin} is judged {verdict}")
            out[kind].append(sample)
    return out


def draws(samples: Sequence[Sample], seeds: Sequence[int]) -> np.ndarray:
    """The scripted model's draw by seed and sample: it errs where the draw is below the rate."""
    questions = [_question(s.prompt) for s in samples]
    return np.array([[Random(text_key(str(seed), q)).random() for q in questions] for seed in seeds])


def recovery(samples: Sequence[Sample], runs: int, n: int) -> list[dict[str, float | str]]:
    """For each kind and rate: share of runs whose 95 % interval holds the true rate."""
    rows: list[dict[str, float | str]] = []
    for number, (kind, able) in enumerate(able_samples(samples, n).items()):
        if not able:
            continue
        row: dict[str, float | str] = {"kind": kind, "n": len(able)}
        for step, rate in enumerate(RATES):
            begin = (number * len(RATES) + step) * runs
            seeds = range(begin, begin + runs)
            counts = (draws(able, seeds) < rate).sum(axis=1)
            limits = [stats.share(int(hits), len(able)) for hits in counts]
            row[f"{rate}"] = float(np.mean([low <= rate <= high for _, low, high in limits]))  # type: ignore[operator]
            if rate == RATES[number % len(RATES)]:
                check_shortcut(kind, rate, seeds[0], able, int(counts[0]))
        row["all"] = float(np.mean([row[f"{rate}"] for rate in RATES]))
        rows.append(row)
    return rows


def check_shortcut(kind: str, rate: float, seed: int, able: Sequence[Sample], hits: int) -> None:
    """The whole way (model, grading, probe) must print the very interval that was counted by draws."""
    model = Scripted(f"{kind}={rate},seed={seed}")
    model.rehearse(able)
    clean = {s.key: subtask_of(s.subtask).grade(s, right(s)) for s in able}
    readings = Faults().read(asked(model, able, clean))
    (found,) = [r for r in readings if r.name == kind and not r.by]
    want = (*stats.share(hits, len(able)), len(able))
    if (found.value, found.low, found.high, found.n) != want:
        raise AssertionError(f"{kind} at {rate}: the probe says {found}, the draws say {want}")


def show_recovery(rows: list[dict[str, float | str]]) -> None:
    """Print the table of recovered rates."""
    table = Table("fault kind", "n", *(f"rate {r}" for r in RATES), "all", title="true rate inside the 95 % interval")
    for row in rows:
        table.add_row(str(row["kind"]), str(row["n"]), *(f"{row[str(r)]:.1%}" for r in RATES), f"{row['all']:.1%}")
    CONSOLE.print(table)


def coverage(runs: int) -> dict[str, float]:
    """Share of simulated runs in which each interval holds the truth, meant to be 95 %."""
    rng = np.random.default_rng(0)
    inside: Counter[str] = Counter()
    for _ in range(runs):
        n, p = int(rng.integers(20, 400)), float(rng.uniform(0.03, 0.97))
        _, low, high = stats.share(int(rng.binomial(n, p)), n)
        inside["share"] += low <= p <= high  # type: ignore[operator]
        m, q = int(rng.integers(20, 400)), float(rng.uniform(0.03, 0.97))
        _, low, high = stats.difference((int(rng.binomial(n, p)), int(rng.binomial(m, q))), (n, m))
        inside["difference"] += low <= p - q <= high  # type: ignore[operator]
        both, gained, lost, _none = rng.dirichlet([4, 1, 1, 2])
        cells = rng.choice(4, n, p=[both, gained, lost, 1 - both - gained - lost])
        _, low, high = stats.paired_difference(list(cells < 2), list((cells == 0) | (cells == 2)))
        inside["paired_difference"] += low <= gained - lost <= high  # type: ignore[operator]
        values = rng.beta(2, 1, n)
        _, low, high = stats.mean(list(values), draws=400)
        inside["mean"] += low <= 2 / 3 <= high  # type: ignore[operator]
    return {name: count / runs for name, count in inside.items()}


def main() -> None:
    """Run all three parts; the last line of output is one JSON object."""
    quick = "--quick" in sys.argv[1:]
    seeds, n, runs, simulated = (5, 100, 60, 300) if quick else (20, 200, 200, 1000)
    start = time.perf_counter()
    grains = cut(GRAINS, n)
    quiet, noisy = planted(grains, seeds, 0.0), planted(grains, seeds, NOISE)
    show_planted(quiet, f"one grain broken, the others clean ({seeds} seeds, n={n} a sub-task)")
    show_planted(noisy, f"one grain broken, the others wrong at {NOISE}")
    recovered = recovery(cut(SUBTASKS, n), runs, 200)
    show_recovery(recovered)
    covered = coverage(simulated)
    CONSOLE.print({name: f"{value:.1%}" for name, value in covered.items()})

    def average(rows: list[dict[str, float | str]], key: str) -> float:
        return round(float(np.mean([float(row[key]) for row in rows])), 4)

    worst = min(recovered, key=lambda row: float(row["all"]))
    print(
        json.dumps(
            {
                "name": "planted",
                "ours": average(quiet, "first"),
                "peer": None,
                "ratio": None,
                "unit": "share of planted weaknesses ranked first",
                "n": seeds * len(GRAINS),
                "accused": average(quiet, "accused"),
                "false_alarms": average(quiet, "alarms"),
                "noisy_first": average(noisy, "first"),
                "noisy_accused": average(noisy, "accused"),
                "noisy_false_alarms": average(noisy, "alarms"),
                "recovery": average(recovered, "all"),
                "recovery_worst": {"kind": worst["kind"], "share": round(float(worst["all"]), 4), "n": worst["n"]},
                "recovery_kinds": len(recovered),
                "recovery_runs": runs,
                "coverage": {name: round(value, 4) for name, value in covered.items()},
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
