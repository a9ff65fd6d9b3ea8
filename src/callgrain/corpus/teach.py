"""A teacher works through a source's problems step by step; right and wrong chains are kept.

The problems are Traces whose tools can be run and whose gold calls were: arithmetic (gsm8k), logic, toolworld.
Every chain lands in `chains.jsonl` as it ends, with each step's prompt, turn, result, credit and fault
(`_chains.py`), so a killed run goes on where it stopped; what a chain becomes does not hang on the others, so
the final set is the same. `rows.jsonl` holds the right chains' credited turns as training rows of `next_call`.
After Manduzio et al. 2024 (arXiv 2410.18890); errors and repairs are kept here, and credit is given by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.errors import BadInput, CallgrainError
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Model, Rehearses
from callgrain.core.store import Run
from callgrain.core.types import Answer, Sample, Sampling, Trace
from callgrain.corpus._agent import Bounds, Examples, Task, drive, task
from callgrain.corpus._chains import FILE, Chain, Problem, Step, chain_key, read_chains
from callgrain.corpus._credit import Goal
from callgrain.corpus._formats import callgrain
from callgrain.corpus._journaled import Journaled
from callgrain.corpus._teacher import UNNAMED, TeacherRecipe, open_teacher
from callgrain.corpus._usable import Usable
from callgrain.models._dispatch import failure_class
from callgrain.models._open import weights_key
from callgrain.sources._folder import SkipError
from callgrain.sources._open import open_trainable, set_aside

EXAMPLES_FROM = 512
"""Most problems at the head of the split that lend worked examples to the others, however few are asked."""


class TeachRecipe(TeacherRecipe):
    """Settings of a teacher's run."""

    source: str = Field(description="SOURCE whose tools can be run: logic: | gsm8k:FOLDER | toolworld ...")
    n: int = Field(default=100, ge=1, description="problems")
    chains: int = Field(default=4, ge=1, description="chains a problem")
    temperature: float = Field(default=0.8, ge=0, description="sampling temperature; 0 is greedy, for --chains 1")
    seed: int = Field(default=0, description="seed of the sampling")
    retries: int = Field(default=3, ge=0, description="further attempts at a turn that failed")
    max_steps: int = Field(default=40, ge=1, description="most turns of a chain, failed ones included")
    max_tokens: int = Field(default=512, ge=1, description="most tokens of a turn")
    chain_tokens: int = Field(default=8192, ge=1, description="generated tokens after which a chain is ended")
    open_chains: int = Field(default=256, ge=1, description="chains under way at a time: a round asks for all of them")


_UNNAMED = UNNAMED | {"open_chains"}


def teach(recipe: TeachRecipe, root: Path, *, tell: Tell = silent, teacher: Model | None = None) -> Run:
    """Write `chains.jsonl` and `rows.jsonl` in the run folder of this recipe, or go on where it stopped.

    Raises BadInput where the source is a benchmark (unless forced) or has no problem whose tools run, and
    where several chains are asked for without sampling; CallgrainError where too many chains got no reply:
    run again, the others are kept.
    """
    if recipe.chains > 1 and recipe.temperature == 0:
        raise BadInput(f"{recipe.chains} chains at temperature 0 are one chain", "write --chains 1, or a temperature")
    source, split = open_trainable(
        recipe.source, split=recipe.split, strict=recipe.strict, force=recipe.force, instead="teach on something else"
    )
    name = plugins.split_spec(recipe.source)[0]
    inputs = {"seed": recipe.seed, "teacher": weights_key(recipe.teacher.removeprefix("local:"))}
    with Run.open(root, "teach", name, recipe.model_dump(), inputs, unnamed=_UNNAMED) as run:
        if not run.is_done:
            problems = Problems(source, split, recipe.n)
            _ask(recipe, run, problems, tell, teacher)
            _finish(recipe, run, problems, tell)
    return run


class Problems(Usable[tuple[Problem, Goal]]):
    """(problem, goal) of the first `n` Traces of a split that can be worked through."""

    def made(self, at: int, trace: Trace) -> tuple[Problem, Goal]:
        """The problem, and what is to be reached. Raises SkipError where nothing is called, or not run to an end."""
        if trace.gold.decision != "call":
            raise SkipError("needs no call")
        if not trace.gold.world:
            raise SkipError("its tools cannot be run")
        if (goal := Goal.of(trace)) is None:
            raise SkipError("its own calls were not run to an end")
        return Problem(trace=trace.key, at=at, traits=trace.traits, origin=trace.origin), goal


def _ask(recipe: TeachRecipe, run: Run, problems: Problems, tell: Tell, teacher: Model | None) -> None:
    """Every chain that is owed; those that the back end failed are written down last, or not at all."""
    pool = Problems(problems.source, problems.split, EXAMPLES_FROM)
    examples = Examples(goal for _, goal in pool)
    if not pool.count:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in pool.skipped.items()) or "it is empty"
        raise BadInput(
            f"{recipe.source} ({recipe.split}) has no problem to work through ({reasons})",
            "take a source whose tools can be run: logic: | gsm8k:FOLDER | toolworld",
        )
    with run.journal(FILE) as journal, ExitStack() as stack:
        if journal.torn:
            run.log(f"cut off {journal.torn} bytes of an unfinished chain; it is made again")
        total, failed = recipe.n * recipe.chains, list[Chain]()
        owed = partial(_owed, recipe, problems, examples, journal.keys)
        if next(owed(), None) is None:
            return
        tell("opening the teacher", 0, 0)
        model = teacher or open_teacher(recipe)
        if not isinstance(model, Rehearses):  # a double that knows the answers is free, and told them anew each time
            model = stack.enter_context(Journaled(model, run))
        sampling = Sampling(temperature=recipe.temperature, max_tokens=recipe.max_tokens, seed=recipe.seed)
        bounds = Bounds(recipe.max_steps, recipe.retries, recipe.chain_tokens)
        for ended in drive(model, owed(), sampling, bounds, recipe.open_chains):
            failed += [chain for chain in ended if chain.end == "failed"]
            journal.append(chain.row for chain in ended if chain.end != "failed")
            if spent := next((c.detail for c in failed if failure_class(c.detail) == "budget"), None):
                raise CallgrainError(
                    f"{spent}: {journal.count} of {total} chains are done",
                    "raise the cap and run again: what was answered is kept, and not asked again",
                )
            tell("chains", journal.count + len(failed), total)
            if len(failed) > recipe.fail_on_error * total:
                raise CallgrainError(
                    f"{len(failed)} of {total} chains got no reply: {failed[-1].detail}",
                    "mend the endpoint and run again: finished chains are kept (--fail-on-error raises the limit)",
                )
        journal.append(chain.row for chain in failed)


def _owed(recipe: TeachRecipe, problems: Problems, examples: Examples, had: set[str]) -> Iterator[tuple[Task, int]]:
    """(task, number) of each chain that is not written yet, in the source's order."""
    for problem, goal in problems:
        numbers = [i for i in range(recipe.chains) if chain_key(problem.trace, i) not in had]
        if numbers:
            one = task(problem, goal, examples)
            yield from ((one, number) for number in numbers)


def _finish(recipe: TeachRecipe, run: Run, problems: Problems, tell: Tell) -> None:
    """The training rows, the counts, and the end of the run."""
    tell("writing rows", 0, 0)
    tally = _Tally()
    run.replace_rows("rows", tally.rows(read_chains(run)))
    summary = tally.summary()
    run.finish(
        {
            **summary,
            "skipped": dict(problems.skipped),
            "short": recipe.n - summary["problems"],
            "set_aside": set_aside(problems.source).count,
        }
    )


class _Tally:
    """What became of the chains, counted while their rows are written."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    def rows(self, chains: Iterator[Chain]) -> Iterator[dict[str, Any]]:
        """The rows of the right chains, each once a problem."""
        at, had, solved = -1, set[str](), False
        for chain in chains:
            if chain.problem.at != at:
                at, had, solved = chain.problem.at, set(), False
                self.counts["problems"] += 1
            self._count(chain)
            if not chain.right:
                continue
            self.counts["solved"] += not solved
            solved = True
            for sample in training_samples(chain):
                if sample.key not in had:
                    had.add(sample.key)
                    self.counts["rows"] += 1
                    yield {**callgrain(sample), "key": sample.key, "at": at}

    def _count(self, chain: Chain) -> None:
        self.ends[chain.end] += 1
        self.tokens.update(chain.usage)
        if chain.end == "failed":
            self.counts["failed"] += 1
            return
        self.counts["done"] += 1
        self.counts["right" if chain.right else "wrong"] += 1
        self.counts["steps"] += len(chain.steps)
        self.counts["errors"] += sum(step.kind == "broken" for step in chain.steps)
        self.counts["repaired"] += sum(step.retry for step in chain.steps if step.kind == "call")
        if (first := chain.first_wrong) is not None and (fault := chain.steps[first].fault) is not None:
            self.faults[fault.kind] += 1

    def summary(self) -> dict[str, Any]:
        """The counts, for `done.json`."""
        named = ("problems", "solved", "done", "failed", "right", "wrong", "steps", "errors", "repaired", "rows")
        return {
            **{name: self.counts[name] for name in named},
            "ends": dict(self.ends.most_common()),
            "first_faults": dict(self.faults.most_common()),
            "tokens": dict(self.tokens),
        }


def training_samples(chain: Chain) -> Iterator[Sample]:
    """The credited turns of a right chain as samples of `next_call`: the state, and the turn as the answer."""
    calls = 0
    for step in chain.steps:
        if step.credit > 0 and step.kind in ("call", "stop"):
            yield _sample(chain, step, calls)
        calls += step.kind == "call"


def _sample(chain: Chain, step: Step, k: int) -> Sample:
    turn = step.turn
    answer = Answer(decision="call" if turn.calls else "answer", calls=turn.calls, text=turn.text)
    traits = {**chain.problem.traits, "k": k, "stop": step.kind == "stop", "retry": step.retry}
    return Sample(
        subtask="next_call",
        prompt=step.prompt,
        answer=answer,
        traits={**traits, "teacher": chain.teacher},
        origin=chain.problem.origin,
    )
