"""The grader card: how often a grader flags what is wrong, and refuses what is right.

A score is worth what its grader is worth. Mutations (`_mutations.py`) and equivalences
(`_equivalences.py`) are made on real samples and handed to graders, the sub-tasks' own (`strict`)
and any of the `compat` family; each share comes by kind, with its n and Wilson's interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydantic import Field

from callgrain.core import plugins, stats
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Grader
from callgrain.core.recipe import Recipe
from callgrain.core.schema import depth
from callgrain.core.store import Run
from callgrain.core.types import Reading, Reply, Sample, Verdict
from callgrain.probes._equivalences import EQUIVALENCES
from callgrain.probes._graded import SUBTASKS, in_order, reading, subtask_of
from callgrain.probes._mutations import MUTATIONS
from callgrain.probes._pool import pool
from callgrain.sources._open import open_source, set_aside
from callgrain.tools._execute import references

Judge = Callable[[Sample, Reply], Verdict]

STRICT = "strict"
"""The name of the sub-tasks' own grading."""
SKIPPED = frozenset(["response", "decide"])
"""Sub-tasks that grade no calls."""
DEPTH_LIMIT = 50
"""Deepest nesting of an answer's arguments on which anything is made."""


class CardRecipe(Recipe):
    """Settings of a grader card."""

    source: str = Field(
        default="toolworld:full", description="SOURCE: toolworld[:micro] | bfcl:FOLDER | sgd:FOLDER | jsonl:FILE ..."
    )
    split: str = Field(default="", description="split of the source; empty takes its test (or dev, or train) split")
    subtask: str = Field(default="all", description="sub-tasks, separated by commas, or all that grade calls")
    grader: str = Field(default="all", description="graders, separated by commas: strict, compat graders, or all")
    n: int = Field(default=100, ge=1, description="samples a sub-task")
    limit: int = Field(default=200, ge=1, description="most replies of one kind that are made")
    seed: int = Field(default=0, description="seed of the pool and of what is changed in it")
    strict: bool = Field(default=False, description="stop at the first line of the source that cannot be read")


@dataclass(frozen=True)
class Case:
    """One reply made on purpose. `own` are the faults that name it rightly: none where it is right."""

    kind: str
    sample: Sample
    reply: Reply
    own: frozenset[str] = frozenset()


def graders(names: str | Sequence[str] = "all") -> dict[str, Judge]:
    """Graders by name: `strict`, ids of the compat family, or `all`. Raises UnknownName."""
    known = (STRICT, *plugins.names("compat"))
    chosen = [part.strip() for part in names.split(",") if part.strip()] if isinstance(names, str) else list(names)
    if not chosen or "all" in chosen:
        chosen = list(known)
    for name in chosen:
        if name not in known:
            raise UnknownName("grader", name, [*known, "all"])
    return {name: _strict if name == STRICT else _compat(name) for name in chosen}


def _strict(sample: Sample, reply: Reply) -> Verdict:
    return subtask_of(sample.subtask).grade(sample, reply)


def _compat(name: str) -> Judge:
    found = plugins.load("compat", name)
    grader: Grader = found() if isinstance(found, type) else found
    return grader.judge


def cases(samples: Sequence[Sample], rng: Random, limit: int | None = None) -> Iterator[Case]:
    """Everything that can be made on `samples`, up to `limit` of a kind, drawn over all of them.

    A mutation is made only where the sub-task grades one of the faults that it is.
    """
    usable = [s for s in samples if _usable(s)]
    order = rng.sample(usable, len(usable))
    finds = {name: subtask_of(name).kinds for name in {s.subtask for s in usable}}
    seed = str(rng.getrandbits(64))
    for kind, made in (*MUTATIONS.items(), *EQUIVALENCES.items()):
        own = MUTATIONS[kind].kinds if kind in MUTATIONS else frozenset[str]()
        count = 0
        for at, sample in enumerate(order):
            if limit is not None and count >= limit:
                break
            if own and not own & finds[sample.subtask]:
                continue
            reply = made.make(sample, Random(text_key(seed, kind, str(at))))
            if reply is not None:
                count += 1
                yield Case(kind, sample, reply, own)


def _usable(sample: Sample) -> bool:
    """Whether calls are due that can be walked through and whose own references lead somewhere."""
    ways = (sample.answer, *sample.answer.instead)
    values = [c.arguments for w in ways for c in w.calls] + [list(a.values) for w in ways for a in w.accepts.values()]
    due = sample.subtask not in SKIPPED and sample.answer.decision == "call" and bool(sample.answer.calls)
    if not due or any(depth(value, DEPTH_LIMIT + 1) > DEPTH_LIMIT for value in values):
        return False
    before: set[str | None] = set()
    for call in sample.answer.calls:
        if any(ref.label not in before for ref in references(call)):
            return False
        before.add(call.label)
    return True


def card(
    samples: Sequence[Sample], judges: Mapping[str, Judge], rng: Random, limit: int | None = None
) -> list[Reading]:
    """The readings `grader/kill_rate`, `own_class` and `false_reject` by grader and kind, `all` for the total.

    What a grader cannot judge (`not_applicable`) or breaks on (`error`) is left out of the shares and
    counted, a total each and a reading for each kind in which it occurs. No readings where nothing can be made.
    """
    made = list(cases(samples, rng, limit))
    if not made:
        return []
    return [row for name, judge in judges.items() for row in _read(name, [(c, outcome(judge, c)) for c in made])]


def outcome(judge: Judge, case: Case) -> str:
    """What a grader says: `own`, `other` (flagged, named otherwise), `passed`, `not_applicable` or `error`."""
    try:
        verdict = judge(case.sample, case.reply)
    except Exception:  # a stranger's grader may raise anything: that is what the card counts
        return "error"
    if verdict.state != "graded":
        return "error" if verdict.state == "grader_error" else "not_applicable"
    if verdict.ok:
        return "passed"
    return "own" if verdict.first is not None and verdict.first.kind in case.own else "other"


def _read(grader: str, judged: Sequence[tuple[Case, str]]) -> Iterator[Reading]:
    """One grader's readings."""
    kinds: dict[str, Counter[str]] = {}
    for case, said in judged:
        kinds.setdefault(case.kind, Counter())[said] += 1
    for names in (MUTATIONS, EQUIVALENCES):
        found = [kind for kind in names if kind in kinds]
        rows = [(kind, kinds[kind]) for kind in found]
        if rows:
            rows.append(("all", sum((count for _, count in rows), Counter())))
        for kind, said in rows:
            n = said["own"] + said["other"] + said["passed"]
            flagged = stats.share(said["own"] + said["other"], n)
            if n and names is MUTATIONS:
                yield reading("grader", "kill_rate", flagged, n, grader=grader, kind=kind)
                yield reading("grader", "own_class", stats.share(said["own"], n), n, grader=grader, kind=kind)
            elif n:
                yield reading("grader", "false_reject", flagged, n, grader=grader, kind=kind)
    for name in ("not_applicable", "error"):
        counts = {kind: count[name] for kind, count in kinds.items() if count[name]}
        for kind, count in {**counts, "all": sum(counts.values())}.items():
            asked = kinds[kind].total() if kind in kinds else len(judged)
            yield reading("grader", name, (float(count), None, None), asked, grader=grader, kind=kind)


def make_card(recipe: CardRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """The card of `recipe`; `readings.jsonl` in its run folder holds it.

    Raises UnknownName for a grader, sub-task or source that is not there, BadInput where nothing can be asked.
    """
    judges, subtasks = graders(recipe.grader), _subtasks(recipe.subtask)
    named = {**recipe.model_dump(), "grader": ",".join(judges)}  # `all` is another card where there are more graders
    inputs = {"seed": recipe.seed}
    with Run.open(root, "card", plugins.split_spec(recipe.source)[0], named, inputs) as run:
        if not run.is_done:
            source, split = open_source(recipe.source, split=recipe.split, strict=recipe.strict)
            rows = pool(source.traces(split), subtasks, recipe.n, recipe.seed, tell)
            samples = [sample for _, sample in rows]
            tell("grading", 0, 0)
            found = card(samples, judges, Random(text_key("card", str(recipe.seed))), recipe.limit)
            if not found:
                raise BadInput(f"{recipe.source} ({split}) has no call to change", "try another split or sub-task")
            run.replace_rows("readings", (r.model_dump(mode="json") for r in found))
            run.finish({"samples": len(samples), "set_aside": set_aside(source).count})
    return run


def _subtasks(text: str) -> list[str]:
    known = [name for name in in_order([*SUBTASKS, *plugins.names("subtasks")]) if name not in SKIPPED]
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    for name in chosen:
        if name not in (*known, "all"):
            raise UnknownName("sub-task that grades calls", name, [*known, "all"])
    return known if not chosen or "all" in chosen else in_order(chosen)
