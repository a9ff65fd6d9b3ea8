"""Which mix of experts is best: found on shots, chosen on validation, reported on test.

The three sets share no trace, no prompt and no sample. Beside the mix that is found stand the base, each expert
alone, the uniform mix, the best single expert (chosen on validation), and dispatch by prompt or by a
classifier. Two oracles bound what dispatch could reach; both know what no model can know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from callgrain.core import plugins, stats
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.recipe import Recipe
from callgrain.core.store import Run
from callgrain.core.types import Message, Prompt, Reading, Reply, Sample, Sampling, Trace
from callgrain.models import _experts
from callgrain.models._open import weights_key
from callgrain.models.experts import Experts
from callgrain.probes._asking import judged
from callgrain.probes._graded import in_order, reading, subtask_of
from callgrain.probes._pool import pool
from callgrain.sources._open import open_source
from callgrain.train import _cem

FINALISTS = 5
"""Points of the search, best on the shots, between which validation chooses."""

LABEL_ORACLE, ITEM_ORACLE = "oracle by label", "oracle by item"
"""The expert of the sub-task's own name; the best expert of each item: an upper bound of dispatch."""

_UNNAMED = {"experts", "batch_size"}


class MixRecipe(Recipe):
    """Settings of a trial of experts."""

    experts: str = Field(description="FOLDER with experts/NAME/ (adapters over one base) and, if you like, mix.json")
    source: str = Field(default="toolworld:full", description="SOURCE: toolworld[:micro] | sgd:FOLDER | jsonl:FILE ...")
    split: str = Field(default="", description="split of the source; empty takes its test (or dev, or train) split")
    subtask: str = Field(
        default="", description="sub-tasks, separated by commas; empty: those that experts are named for"
    )
    n: int = Field(default=100, ge=1, description="test items a sub-task")
    validation: int = Field(default=40, ge=1, description="validation items a sub-task: they choose between mixes")
    shots: int = Field(default=10, ge=1, description="shots a sub-task: the search sees these and no others")
    seed: int = Field(default=0, description="seed of the three sets and of the search")
    population: int = Field(default=32, ge=2, description="mixes an iteration of the search")
    elite: float = Field(default=0.2, gt=0, le=1, description="share of them that the next iteration is drawn around")
    iterations: int = Field(default=50, ge=0, description="most iterations of the search")
    dialect: str = Field(default="auto", description="auto (as trained, else the chat template), or json, compact, ...")
    max_tokens: int = Field(default=128, ge=1, description="most tokens of one reply")
    batch_size: int = Field(default=16, ge=1, description="most prompts in a batch")


@dataclass(frozen=True)
class Sets:
    """Three sets of samples: no trace, prompt or sample is in two of them."""

    shots: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]


@dataclass(frozen=True)
class Outcome:
    """One reply, judged: right, whether it counts, its log-probability (natural), tokens of all and of a first pass."""

    ok: bool
    counts: bool
    logprob: float
    tokens: int
    route_tokens: int = 0


@dataclass(frozen=True)
class Arm:
    """One way of mixing on the test set: its outcomes item by item, and the coefficients of a fixed mix."""

    name: str
    outcomes: tuple[Outcome, ...]
    mix: Mapping[str, float] | None = None


def three_sets(
    traces: Callable[[], Iterable[Trace]], subtasks: Sequence[str], sizes: tuple[int, int, int], seed: int,
) -> Sets:  # fmt: skip
    """Shots, validation and test of these sizes a sub-task, or fewer where the source has fewer.

    Traces are dealt by their content, in shares of the sizes; a prompt that two traces give alike stays in the last
    set alone. `traces` is called once a set.
    """
    total = sum(sizes)

    def dealt(low: int, high: int) -> Iterator[Trace]:
        return (t for t in traces() if low <= text_key("experts", str(seed), t.key) % total < high)

    out: list[tuple[Sample, ...]] = []
    taken: set[str] = set()
    high = total
    for size in reversed(sizes):
        rows = [sample for _, sample in pool(dealt(high - size, high), subtasks, size, seed)]
        fresh = tuple(s for s in rows if s.prompt.key not in taken)
        taken |= {s.prompt.key for s in fresh}
        out.append(fresh)
        high -= size
    return Sets(out[2], out[1], out[0])


def ask(
    model: Experts, samples: Sequence[Sample], mixes: Sequence[_experts.Mix] | None, sampling: Sampling
) -> list[Outcome]:
    """Each sample by its own mix, greedily, judged by its sub-task; without mixes, as the folder's plan says."""
    prompts = [s.prompt.model_copy(update={"sampling": sampling}) for s in samples]
    replies = model.answer(prompts) if mixes is None else model.answer_each(prompts, mixes)
    return [_outcome(sample, reply) for sample, reply in zip(samples, replies, strict=True)]


def _outcome(sample: Sample, reply: Reply) -> Outcome:
    verdict = judged(subtask_of(sample.subtask).grade, sample, reply)
    spent = sum(reply.usage.get(key, 0) for key in ("prompt_tokens", "completion_tokens"))
    routed = sum(reply.usage.get(key, 0) for key in ("route_prompt_tokens", "route_completion_tokens"))
    return Outcome(verdict.ok, verdict.state == "graded", sum(reply.logprobs or ()), spent, routed)


def value(outcomes: Sequence[Outcome]) -> _cem.Value:
    """(share right, mean log-probability of the right outputs): what a search maximises, and what breaks its ties."""
    counted = [o for o in outcomes if o.counts]
    right = [o.logprob for o in counted if o.ok]
    return len(right) / max(1, len(counted)), sum(right) / len(right) if right else float("-inf")


def corners(names: Sequence[str]) -> list[_cem.Point]:
    """The base, the uniform mix and each expert alone: what a search looks at before it draws."""
    size = len(names)
    alone = [tuple(float(i == k) for i in range(size)) for k in range(size)]
    return [(0.0,) * size, (1.0 / size,) * size, *alone]


def trial(recipe: MixRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Run (or resume) the trial: `readings.jsonl` and `trial.json` in its folder. Raises CallgrainError."""
    pack = _experts.read_pack(Path(recipe.experts).expanduser(), "base")
    keys = {name: weights_key(str(path)) for name, path in pack.experts.items()}
    inputs = {"experts": keys, "base": weights_key(pack.base), "seed": recipe.seed}
    with Run.open(root, "experts", plugins.split_spec(recipe.source)[0], recipe.model_dump(), inputs,
                  unnamed=_UNNAMED) as run:  # fmt: skip
        if not run.is_done:
            _Trial(recipe, run, tell).work()
    return run


def _subtasks(recipe: MixRecipe, names: Sequence[str]) -> list[str]:
    """The sub-tasks asked for, else those that experts are named for, else all. Raises UnknownName."""
    known = plugins.names("subtasks")
    wanted = [part.strip() for part in recipe.subtask.split(",") if part.strip()] or [n for n in names if n in known]
    for name in wanted:
        if name not in known:
            raise UnknownName("sub-task", name, known)
    return in_order(wanted or known)


class _Trial:
    """One trial under way: the model, the three sets, and a journal of what has been asked."""

    def __init__(self, recipe: MixRecipe, run: Run, tell: Tell) -> None:
        self._recipe, self._run, self._tell = recipe, run, tell
        tell("opening the experts", 0, 0)
        options: dict[str, Any] = {"dialect": recipe.dialect, "batch_size": recipe.batch_size}
        self._model = Experts(recipe.experts, by="base", **options)
        self._names = self._model.pack.names
        self._router = self._model.pack.plan.router
        source, split = open_source(recipe.source, split=recipe.split)
        sizes = (recipe.shots, recipe.validation, recipe.n)
        tell("cutting samples", 0, 0)
        self._sets = three_sets(lambda: source.traces(split), _subtasks(recipe, self._names), sizes, recipe.seed)
        if not all((self._sets.shots, self._sets.validation, self._sets.test)):
            raise BadInput(f"{recipe.source} ({split}) is too small for three sets", "lower --n and --validation")
        self._sampling = Sampling(temperature=0.0, max_tokens=recipe.max_tokens, seed=recipe.seed)
        self._routed: dict[str, list[tuple[str, str]]] = {}
        self._journal = run.journal("asked")
        self._known: dict[str, list[list[Any]]] = {row["key"]: row["outcomes"] for row in run.rows("asked")}

    def work(self) -> None:
        """Every arm, then what follows from them."""
        with self._journal:
            chosen, looked_at = self._search()
            arms = self._arms(chosen)
        confusion = {arm: Counter(pairs) for arm, pairs in self._routed.items()}
        self._run.replace_rows("readings", (r.model_dump(mode="json") for r in readings(arms, self._sets.test)))
        self._run.replace_rows("rows", router_rows(self._sets.shots, self._names))
        weights = {name: chosen.get(name, 0.0) for name in self._names}
        self._run.write("mix", {"by": "fixed", "base": self._model.pack.base, "weights": weights})
        self._run.write(
            "trial",
            {
                "mixes": {arm.name: arm.mix for arm in arms if arm.mix is not None},
                "looked_at": looked_at,
                "sets": {k: [s.key for s in getattr(self._sets, k)] for k in ("shots", "validation", "test")},
                "confusion": {
                    arm: [{"subtask": a, "named": b or "none", "count": n} for (a, b), n in sorted(c.items())]
                    for arm, c in confusion.items()
                },
            },
        )
        self._run.finish({"arms": len(arms), "test": len(self._sets.test), "looked_at": looked_at})

    def _ask(self, key: str, samples: Sequence[Sample], mixes: Sequence[_experts.Mix]) -> list[Outcome]:
        """Outcomes, out of the journal where they are there."""
        if key not in self._known:
            found = ask(self._model, samples, mixes, self._sampling)
            rows = [[o.ok, o.counts, o.logprob, o.tokens, o.route_tokens] for o in found]
            self._journal.append([{"key": key, "outcomes": rows}])
            self._known[key] = rows
        return [Outcome(*row) for row in self._known[key]]

    def _of(self, name: str, samples: Sequence[Sample], mix: _experts.Mix) -> list[Outcome]:
        return self._ask(f"{name} {sorted(mix.items())}", samples, [mix] * len(samples))

    def _mix(self, point: _cem.Point) -> dict[str, float]:
        return {name: a for name, a in zip(self._names, point, strict=True) if a}

    def _search(self) -> tuple[dict[str, float], int]:
        """(the mix found, how many were looked at): searched on the shots, chosen on validation."""
        recipe = self._recipe
        most = len(corners(self._names)) + recipe.population * recipe.iterations
        count = 0

        def looked_at(point: _cem.Point) -> _cem.Value:
            nonlocal count
            count += 1
            self._tell("searching mixes", count, most)
            return value(self._of("shots", self._sets.shots, self._mix(point)))

        rng = Random(text_key("cem", str(recipe.seed)))
        found = _cem.search(looked_at, corners(self._names), rng, population=recipe.population,
                            elite=recipe.elite, iterations=recipe.iterations)  # fmt: skip
        finalists = [self._mix(one.point) for one in found[:FINALISTS]]
        return max(finalists, key=lambda mix: value(self._of("validation", self._sets.validation, mix))), len(found)

    def _arms(self, chosen: Mapping[str, float]) -> list[Arm]:
        """Every way of mixing, on the test set."""
        test, validation = self._sets.test, self._sets.validation
        alone = {name: {name: 1.0} for name in self._names}
        best = max(self._names, key=lambda name: value(self._of("validation", validation, alone[name])))
        fixed = {"base": {}, **{f"only {n}": m for n, m in alone.items()}, "uniform": _experts.uniform(self._names)}
        fixed |= {"best single": alone[best], "search": dict(chosen)}
        arms: list[Arm] = []
        for number, (name, mix) in enumerate(fixed.items()):
            self._tell("asking on the test set", number, len(fixed))
            arms.append(Arm(name, tuple(self._of("test", test, mix)), mix))
        arms.append(self._dispatched("by prompt", ""))
        if self._router:
            arms.append(self._dispatched("by classifier", self._router))
        own: list[_experts.Mix] = [alone.get(s.subtask, {}) for s in test]
        arms.append(Arm(LABEL_ORACLE, tuple(self._ask("test own", test, own))))
        columns = zip(
            *(arm.outcomes for arm in arms if arm.name == "base" or arm.name.startswith("only ")), strict=True
        )
        arms.append(Arm(ITEM_ORACLE, tuple(max(column, key=lambda o: o.ok) for column in columns)))
        return arms

    def _dispatched(self, name: str, router: str) -> Arm:
        """The test set with a first pass that names the kind of task; its tokens are part of the outcome."""
        test = self._sets.test
        self._tell(f"asking {name}", 0, 0)
        said = self._model.route([s.prompt for s in test], router)
        self._routed[name] = [(s.subtask, label) for s, (label, _) in zip(test, said, strict=True)]
        mixes: list[_experts.Mix] = [{label: 1.0} if label else {} for label, _ in said]
        spent = [sum(r.usage.get(k, 0) for k in ("prompt_tokens", "completion_tokens")) for _, r in said]
        # By hand and not by a plan of the model: its labels are wanted beside its answers.
        outcomes = self._ask(f"test {name} {[label for label, _ in said]}", test, mixes)
        return Arm(
            name,
            tuple(Outcome(o.ok, o.counts, o.logprob, o.tokens + s, s) for o, s in zip(outcomes, spent, strict=True)),
        )


def readings(arms: Sequence[Arm], test: Sequence[Sample]) -> list[Reading]:
    """Per way and sub-task: share right; paired difference to the base; share of tokens that a first pass took.

    `by.bound` marks the oracles: they are bounds and no way of mixing.
    """
    base = next(arm for arm in arms if arm.name == "base")
    groups: dict[str, list[int]] = {"all": list(range(len(test)))}
    for name in in_order({s.subtask for s in test}):
        groups[name] = [i for i, s in enumerate(test) if s.subtask == name]
    out: list[Reading] = []
    for arm in arms:
        bound = {"bound": True} if arm.name in (LABEL_ORACLE, ITEM_ORACLE) else {}
        for name, places in groups.items():
            by: dict[str, Any] = {"mix": arm.name, "subtask": name, **bound}
            at = [i for i in places if arm.outcomes[i].counts and base.outcomes[i].counts]
            ok = [arm.outcomes[i].ok for i in at]
            out.append(reading("experts", "right", stats.share(sum(ok), len(ok)), len(ok), **by))
            if arm is not base:
                gain = stats.paired_difference(ok, [base.outcomes[i].ok for i in at])
                out.append(reading("experts", "gain", gain, len(ok), **by))
        if any(o.route_tokens for o in arm.outcomes):
            shares = [o.route_tokens / max(1, o.tokens) for o in arm.outcomes]
            out.append(reading("experts", "first_pass", stats.mean(shares), len(shares), mix=arm.name, subtask="all"))
    return out


def router_rows(samples: Iterable[Sample], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows that train a classifier expert: the question which kind of task it is, and the sub-task's name.

    They are a build's rows, so `train --rows` takes the trial's folder; none where no expert has the name.
    """
    for sample in samples:
        if sample.subtask in labels:
            prompt: Prompt = _experts.route_prompt(sample.prompt, labels)
            target = Message(role="assistant", text=sample.subtask)
            yield {
                "key": sample.key,
                "subtask": "route",
                "prompt": prompt.model_dump_json(exclude_defaults=True),
                "target": target.model_dump_json(exclude_defaults=True),
            }
