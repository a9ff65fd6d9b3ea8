"""Granular training rows from a source: exact shares, streamed, resumable.

One row a trace at most, for whichever sub-task is furthest behind its share. Memory does not
grow with the number of rows, and what is written is never written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Source, SubTask
from callgrain.core.recipe import Recipe
from callgrain.core.store import Run
from callgrain.core.types import Answer, Message, Origin, Prompt, Sample, Trace
from callgrain.corpus._formats import FORMATS, callgrain
from callgrain.sources._open import open_source, set_aside

BATCH = 256
"""Rows that are written together."""


class BuildRecipe(Recipe):
    """Settings of a build."""

    source: str = Field(description="SOURCE: toolworld[:micro] | sgd:FOLDER | gsm8k:FOLDER | jsonl:FILE ...")
    split: str = Field(default="train", description="split of the source")
    subtask: str = Field(
        default="all", description="sub-tasks, separated by commas, each with a weight if you like: nest=3,names=1"
    )
    n: int = Field(default=1000, ge=1, description="rows in all")
    seed: int = Field(default=0, description="seed of wordings and cuts")
    format: str = Field(default="callgrain", description="callgrain | trl | llamafactory | ms-swift | axolotl | openai")
    strict: bool = Field(default=False, description="stop at the first line of the source that cannot be read")
    force: bool = Field(
        default=False, description="build from a benchmark all the same (never train on what you report)"
    )


def weights(text: str) -> dict[str, float]:
    """`"nest=3,names"` -> shares that add up to 1. Raises UnknownName, BadInput."""
    known = plugins.names("subtasks")
    if text in ("all", ""):
        return {name: 1 / len(known) for name in known}
    out: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, weight = part.partition("=")
        if name not in known:
            raise UnknownName("sub-task", name, [*known, "all"])
        try:
            out[name] = float(weight or 1)
        except ValueError as error:
            raise BadInput(f"subtask: {part!r} has no weight that is a number", "write for instance nest=3") from error
        if out[name] < 0:
            raise BadInput(f"subtask: {part!r} has a negative weight", "leave the sub-task out instead")
    total = sum(out.values())
    if not total:
        raise BadInput("subtask: all weights are 0", "give at least one sub-task a weight")
    return {name: weight / total for name, weight in out.items() if weight}


def quotas(shares: dict[str, float], n: int) -> dict[str, int]:
    """Rows for each sub-task: whole numbers that add up to `n` (largest remainders)."""
    out = {name: int(share * n) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (out[name] - shares[name] * n, name))
    for name in by_remainder[: n - sum(out.values())]:
        out[name] += 1
    return out


def build(recipe: BuildRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Write `rows.jsonl` in the run folder of this recipe, or go on where it stopped.

    Raises BadInput where the source is a benchmark (unless forced) or yields no row.
    """
    if recipe.format not in FORMATS:
        raise UnknownName("format", recipe.format, FORMATS)
    source, split = open_source(recipe.source, split=recipe.split, strict=recipe.strict)
    if getattr(source, "benchmark", False) and not recipe.force:
        raise BadInput(f"{recipe.source} is a benchmark", "train on something else, or add --force and never report it")
    due = quotas(weights(recipe.subtask), recipe.n)
    name = plugins.split_spec(recipe.source)[0]
    run = Run.open(root, "build", name, recipe.model_dump(exclude={"force"}), {"seed": recipe.seed})
    if run.is_done:
        return run
    with run.journal("rows", keyed=False) as journal:
        made, at = _resume(run)
        pending: list[dict[str, Any]] = []
        for index, trace in _from(source, split, at):
            if all(made.get(s, 0) >= q for s, q in due.items()):
                break
            sample = _cut(trace, due, made, recipe.seed)
            if sample is None:
                continue
            made[sample.subtask] = made.get(sample.subtask, 0) + 1
            pending.append(_row(sample, index))
            if len(pending) == BATCH:
                journal.append(pending)
                pending = []
                tell("building rows", journal.count, recipe.n)
        journal.append(pending)
        tell("building rows", journal.count, recipe.n)
        count = journal.count
    if count and recipe.format != "callgrain":
        tell(f"writing {recipe.format} rows", 0, 0)
        export = FORMATS[recipe.format]
        run.replace_rows(recipe.format, (export(as_sample(row)) for row in run.rows("rows")))
    if not count:
        raise BadInput(f"{recipe.source} ({split}) yields no row for {recipe.subtask}", "try other sub-tasks")
    aside = set_aside(source)
    run.finish({"rows": count, "by_subtask": made, "short": recipe.n - count, "set_aside": aside.count})
    return run


def _row(sample: Sample, index: int) -> dict[str, Any]:
    """Our own row; `at`, the trace's number, is what lets a build resume."""
    return {**callgrain(sample), "key": sample.key, "at": index}


def as_sample(row: dict[str, Any]) -> Sample:
    """The sample that a row stands for; of its answer only the target turn is left."""
    target = Message.model_validate_json(row["target"])
    return Sample(
        subtask=row["subtask"],
        prompt=Prompt.model_validate_json(row["prompt"]),
        answer=Answer(decision="call" if target.calls else "answer", calls=target.calls, text=target.text),
        traits=row["traits"],
        origin=Origin.model_validate(row["origin"]),
    )


def _resume(run: Run) -> tuple[dict[str, int], int]:
    """(rows made by sub-task, number of the next trace) from what is written already."""
    made: dict[str, int] = {}
    at = 0
    for row in run.rows("rows"):
        made[row["subtask"]] = made.get(row["subtask"], 0) + 1
        at = row["at"] + 1
    return made, at


def _from(source: Source, split: str, start: int) -> Iterator[tuple[int, Trace]]:
    """Numbered traces from `start` on; a source with random access (`trace`) is not read from its beginning."""
    one = getattr(source, "trace", None)
    if callable(one):
        index = start
        while True:
            yield index, one(split, index)  # pyright: ignore[reportReturnType]
            index += 1
    yield from islice(enumerate(source.traces(split)), start, None)


def _cut(trace: Trace, due: dict[str, int], made: dict[str, int], seed: int) -> Sample | None:
    """A sample for the sub-task that is furthest behind and that the trace has something for."""
    open_ones = [s for s in due if made.get(s, 0) < due[s]]
    open_ones.sort(key=lambda s: (made.get(s, 0) / due[s], s))
    key = trace.key if open_ones else ""
    for subtask in open_ones:
        task: SubTask = _task(subtask)
        found = next(iter(task.samples(trace, Random(text_key(str(seed), subtask, key)))), None)
        if found is not None:
            return found
    return None


def _task(name: str) -> SubTask:
    return plugins.load("subtasks", name)()
