"""One export: its folder, its format, the check of its template, its card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from callgrain.core import plugins
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Exporter
from callgrain.core.store import Run, write_atomic
from callgrain.core.types import Prompt
from callgrain.export._card import card, trained_on
from callgrain.export._export import Export, ExportRecipe, opened, subject_of
from callgrain.export._template import parity
from callgrain.models._open import weights_key
from callgrain.probes._graded import SUBTASKS
from callgrain.probes._pool import pool
from callgrain.sources._open import open_source

README = "README.md"


def export(recipe: ExportRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Write the model in `model/` of the run folder, with its card; running it again finds it there.

    Raises BadInput where there is no model, where the format cannot write it, or not in that type.
    """
    subject = subject_of(recipe.run)
    format_: Exporter = plugins.load("export", recipe.format)()
    if recipe.dtype not in format_.dtypes:
        raise UnknownName(f"type of weights for {recipe.format}", recipe.dtype, format_.dtypes)
    inputs = {"model": weights_key(str(subject.folder)), "of": subject.name}
    inputs |= {name: Run.find(Path(path)).folder.name for name, path in _diagnoses(recipe).items()}
    with Run.open(
        root, "export", recipe.format, recipe.model_dump(), inputs, unnamed=("run", "before", "after")
    ) as run:
        if not run.is_done:
            _work(recipe, run, opened(subject, recipe), format_, tell)
    return run


def _diagnoses(recipe: ExportRecipe) -> dict[str, str]:
    return {name: path for name in ("before", "after") if (path := getattr(recipe, name))}


def _work(recipe: ExportRecipe, run: Run, made: Export, format_: Exporter, tell: Tell) -> None:
    """The files, the parity of the template, the card; a half-written folder of an earlier attempt goes first."""
    target = run.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    tell(f"writing {recipe.format}", 0, 0)
    notes = [*made.notes, *format_.write(made, target)]
    tell("holding the chat template against training", 0, 0)
    asked = list(islice(prompts(made, recipe), recipe.n))
    compared, differing = parity(made.loaded, made.loaded.tokenizer, asked)
    same = {"compared": compared, "same": compared - len(differing)}
    diagnoses = {name: Run.find(Path(path)) for name, path in _diagnoses(recipe).items()}
    write_atomic(target / README, [card(made, diagnoses, same, notes).encode()])
    files = {p.relative_to(target).as_posix(): p.stat().st_size for p in sorted(target.rglob("*")) if p.is_file()}
    run.finish({"model": str(target), "bytes": sum(files.values()), "files": files, "parity": same, "notes": notes})


def prompts(made: Export, recipe: ExportRecipe) -> Iterator[Prompt]:
    """Prompts of the rows that the model was trained on; of a source where they are not at hand."""
    rows = trained_on(made.subject)
    if rows is None:
        yield from (sample_prompt for _, sample_prompt in source_prompts(recipe.source, "", recipe.n, 0))
        return
    step = max(1, sum(1 for _ in _prompted(rows)) // max(1, recipe.n))
    for row in islice(_prompted(rows), None, None, step):
        prompt: Any = row["prompt"]
        yield Prompt.model_validate_json(prompt) if isinstance(prompt, str) else Prompt.model_validate(prompt)


def _prompted(run: Run) -> Iterator[dict[str, Any]]:
    """Rows or pairs of a run that hold a prompt."""
    for name in ("rows", "pairs"):
        for row in run.rows(name):
            yield row.get("pair", row)


def source_prompts(spec: str, split: str, n: int, seed: int) -> list[tuple[str, Prompt]]:
    """(sub-task, prompt) of `n` samples, every sub-task in turn. Raises BadInput where the source has none."""
    source, name = open_source(spec, split=split)
    subtasks = [s for s in SUBTASKS if s in plugins.names("subtasks")]
    rows = pool(source.traces(name), subtasks, -(-n // len(subtasks)), seed)
    if not rows and n:
        raise BadInput(f"{spec} ({name}) has no prompts", "name another --source")
    samples = [sample for _, sample in rows]
    Random(f"prompts {seed}").shuffle(samples)
    return [(sample.subtask, sample.prompt) for sample in samples[:n]]
