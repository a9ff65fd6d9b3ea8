"""Weak students made on purpose, and trainings of each at equal budget on mixtures by several rules.

A student is `tiny` after a short fine-tuning on rows of which those of one sub-task are spoiled in one named way and
the others are right, so that one grain is weak and the rest is not; a fourth student is `tiny` itself on a trade
that it does not know. Each is diagnosed on one split, prescribed for, trained, and asked again on another split.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from benchmarks.comparison import Bench
from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.store import Journal, Run
from callgrain.core.types import Sample
from callgrain.corpus._formats import callgrain
from callgrain.corpus.build import BuildRecipe, build, cut_for, numbered
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.models._box import BOXED
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose
from callgrain.probes._graded import SUBTASKS
from callgrain.sources._open import open_source
from callgrain.verify.spoil import spoil

ARMS = ("prescribed", "uniform", "opposite", "weakest", "hedged")
TREATED = 3
"""Sub-tasks that the arms `opposite` and `weakest` treat."""


@dataclass(frozen=True)
class Student:
    """A weakness that was planted (or, without `kind`, one that is there), where it is asked and practised."""

    name: str
    subtask: str = ""
    kind: str = ""
    world: str = "toolworld:open"
    """SOURCE that is asked; the rows come from other worlds of the same level."""
    rate: float = 4e-4
    longer: float = 1.0
    """How many times the budget its treatments get: a trade takes longer to learn than a habit to lose."""


STUDENTS = (
    Student("lost arguments", "slots", "missing_argument"),
    Student("wrong order", "chain", "wrong_order"),
    Student("needless calls", "decide", "needless_call"),
    Student("unknown trade", world="toolworld:farm", rate=1e-3, longer=2.5),
)


@dataclass(frozen=True)
class Trial:
    """Sizes of the experiment."""

    out: Path
    budget: int
    harm: int
    n: int
    seeds: int
    first: int = 0
    """The first seed; fresh ones confirm what others have suggested."""
    students: tuple[Student, ...] = STUDENTS
    arms: tuple[str, ...] = ARMS


def run(trial: Trial) -> Iterator[dict[str, Any]]:
    """A row for each arm of each student and seed, those of one seed together; what is done already is not redone."""
    with Journal(trial.out / "results.jsonl") as journal:
        for seed in range(trial.first, trial.first + trial.seeds):
            for student in trial.students:
                model = _made(student, trial)
                for arm in trial.arms:
                    key = f"{student.name}/{arm}/{seed}"
                    if key not in journal.keys:
                        journal.append([{"key": key, "seed": seed, **_trained(student, model, arm, seed, trial)}])
        yield from journal.rows()


def _trained(student: Student, model: str, arm: str, seed: int, trial: Trial) -> dict[str, Any]:
    mixture = mixtures(student, model, trial)[arm]
    worlds = f"{student.world},seed={1000 + 64 * seed},worlds=64"
    budget = round(trial.budget * student.longer)
    recipe = BuildRecipe(source=worlds, subtask=mixture, n=max(400, budget // 6), seed=seed)
    bench = Bench(trial.out, model, budget, trial.n, 1)
    tuned = bench.trained("sft", student.rate, seed, rows=str(build(recipe, trial.out).folder))
    asked = _asked(f"local:{tuned.folder / 'model'}", student, "unseen_tool", trial)
    found = tuned.read("training")
    row = {"student": student.name, "arm": arm, "mixture": mixture, "asked": f"diagnose/{asked.folder.name}"}
    print(f"{student.name:15} {arm:11} seed {seed}  {_line(asked)}  {found['target_tokens']} tokens", flush=True)
    return {**row, "target_tokens": found["target_tokens"], "seconds": found["seconds"]}


def untreated(student: Student, trial: Trial) -> Run:
    """The student's own diagnosis on the split that the arms are asked on."""
    return _asked(_spec(_made(student, trial)), student, "unseen_tool", trial)


def mixtures(student: Student, model: str, trial: Trial) -> dict[str, str]:
    """The mixture of every arm, from one diagnosis; `prescribed` is what the prescription itself says."""
    diagnosis = _asked(_spec(model), student, "test", trial)
    found = prescribe(PrescribeRecipe(run=str(diagnosis.folder)), trial.out).read("prescription")
    scores = {r["by"]["subtask"]: r["value"] for r in diagnosis.rows("readings") if _is_score(r)}
    lacking = weakest(scores)
    shares: dict[str, Mapping[str, float]] = {
        "opposite": opposite(scores),
        "weakest": lacking,
        "hedged": {name: (1 / len(scores) + lacking[name]) / 2 for name in scores},
    }
    written = {arm: ",".join(f"{name}={share:.4f}" for name, share in by.items()) for arm, by in shares.items()}
    return {"prescribed": found["build"]["subtask"], "uniform": ",".join(scores), **written}


def opposite(scores: Mapping[str, float]) -> dict[str, float]:
    """Shares that treat the strongest sub-tasks by what they have, and replay the others."""
    best = sorted(scores, key=lambda name: -scores[name])[:TREATED]
    return replayed({name: scores[name] for name in best}, scores)


def weakest(scores: Mapping[str, float]) -> dict[str, float]:
    """Shares that treat the weakest sub-tasks by what they lack, and replay the others."""
    worst = sorted(scores, key=lambda name: scores[name])[:TREATED]
    return replayed({name: 1 - scores[name] for name in worst}, scores)


def replayed(treated: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    """Shares in proportion to the weights of the treated, and equal parts of the replay for the other `names`."""
    others = [name for name in names if name not in treated]
    replay = PrescribeRecipe(run="").replay if others else 0.0
    total = sum(treated.values())
    shares = {name: (1 - replay) * weight / total for name, weight in treated.items()}
    return shares | {name: replay / len(others) for name in others}


def _is_score(row: Mapping[str, Any]) -> bool:
    return (row["probe"], row["name"], list(row["by"])) == ("subtask", "ok", ["subtask"])


def _spec(model: str) -> str:
    return model if model == BOXED else f"local:{model}"


def _asked(model: str, student: Student, split: str, trial: Trial) -> Run:
    given: dict[str, Any] = {"max_tokens": 96, "batch_size": 64, "n": trial.n, "probe": "subtask,faults"}
    recipe = DiagnoseRecipe(model=model, source=student.world, split=split, subtask=",".join(SUBTASKS), **given)
    return diagnose(recipe, trial.out)


def _line(asked: Run) -> str:
    rows = [r for r in asked.rows("readings") if _is_score(r)]
    return "  ".join(f"{r['by']['subtask']} {r['value']:.2f}" for r in rows) + f"  mean {_macro(rows):.3f}"


def _macro(rows: Sequence[Mapping[str, Any]]) -> float:
    return mean(r["value"] for r in rows)


# a student ----------------------------------------------------------------------------------------


def _made(student: Student, trial: Trial) -> str:
    """Folder of the student's weights: `tiny`, trained on rows half of which are its sub-task's, spoiled."""
    if not student.kind:
        return BOXED
    rows = _spoiled(student, trial)
    bench = Bench(trial.out, BOXED, trial.harm, trial.n, 1)
    return str(bench.trained("sft", student.rate, 7, rows=str(rows.folder)).folder / "model")


def _spoiled(student: Student, trial: Trial) -> Run:
    wanted = max(200, trial.harm // 8)
    with Run.open(trial.out, "build", "spoiled", {"n": wanted, "kind": student.kind}, {"of": student.subtask}) as run:
        if not run.is_done:
            run.replace_rows("rows", _rows(student, wanted))
            run.finish({})
    return run


def _rows(student: Student, wanted: int) -> Iterator[dict[str, Any]]:
    source, split = open_source(f"{student.world},seed=5000,worlds=64", split="train")
    others = [name for name in SUBTASKS if name != student.subtask]
    left = dict.fromkeys((student.subtask, *others), wanted // 2) | dict.fromkeys(others, wanted // 2 // len(others))
    for index, trace in numbered(source, split, 0):
        if trace is None:
            continue
        rng = Random(text_key("spoiled", str(index)))
        names = [name for name, count in left.items() if count]
        if not names:
            return
        for sample in cut_for(trace, [rng.choices(names, [left[n] for n in names])[0]], 0):
            target = _target(student, sample, rng)
            if target is not None:
                left[sample.subtask] -= 1
                yield {**callgrain(sample), "target": target, "key": sample.key, "at": index}


def _target(student: Student, sample: Sample, rng: Random) -> str | None:
    """What the student is taught to say: wrong on its sub-task wherever that can be, right elsewhere."""
    if sample.subtask != student.subtask:
        return sample.answer.message.brief().decode()
    reply = spoil(student.kind, sample, rng)
    return reply.message.brief().decode() if reply is not None and reply.message is not None else None


# what came out ------------------------------------------------------------------------------------

Oks = dict[str, tuple[str, str, bool]]
"""(trace, sub-task, right or wrong) by sample key."""


def right_or_wrong(run: Run) -> Oks:
    """Verdicts of a diagnosis's own samples."""
    traces = {row["key"]: row["trace"] for row in run.rows("samples")}
    return {r["key"]: (traces[r["key"]], r["subtask"], bool(r["ok"])) for r in run.rows("verdicts")}


def gap(one: Sequence[Oks], other: Sequence[Oks], subtask: str = "") -> dict[str, Any]:
    """Mean over seeds of one arm minus another: over sub-tasks alike, or on one.

    `items`: interval by bootstrap over traces with these trainings as they are; `seeds`: Student's over trainings,
    paired by seed, on these items. A difference is called shown where neither holds 0.
    """
    names = {s for _, s, _ in one[0].values()} if not subtask else {subtask}
    per_item = [
        (trace, name, mean(a[key][2] - b[key][2] for a, b in zip(one, other, strict=True)))
        for key, (trace, name, _) in one[0].items()
        if name in names
    ]
    clusters: dict[str, list[tuple[str, float]]] = {}
    for trace, name, value in per_item:
        clusters.setdefault(trace, []).append((name, value))
    items = stats.bootstrap(list(clusters.values()), _over_subtasks, seed=1)
    by_seed = [_over_subtasks([_differences(a, b, names)]) for a, b in zip(one, other, strict=True)]
    return {"value": items[0], "items": items[1:], "seeds": _student([v for v in by_seed if v is not None])}


def _differences(a: Oks, b: Oks, names: set[str]) -> list[tuple[str, float]]:
    return [(name, float(ok - b[key][2])) for key, (_, name, ok) in a.items() if name in names]


def _over_subtasks(groups: Sequence[Sequence[tuple[str, float]]]) -> float | None:
    by: dict[str, list[float]] = {}
    for group in groups:
        for name, value in group:
            by.setdefault(name, []).append(value)
    return mean(mean(values) for values in by.values()) if by else None


def _student(values: Sequence[float]) -> tuple[float | None, float | None]:
    from statistics import stdev

    from scipy.stats import t

    if len(values) < 2:
        return None, None
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return mean(values) - half, mean(values) + half
