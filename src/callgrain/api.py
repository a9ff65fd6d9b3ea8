"""What the verbs do, as functions: the same code without the command line.

Thin on purpose. Each takes a spec as the verbs do and the fields of the verb's recipe as
keywords, and gives nouns or the folder of a run, in which everything else is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, overload

from callgrain.core import plugins
from callgrain.core.protocols import Model, Source
from callgrain.core.store import home
from callgrain.core.types import Reading, Reply, Sample, Tool, Trace, Verdict
from callgrain.corpus.build import BuildRecipe
from callgrain.corpus.build import build as _build
from callgrain.models._open import open_model
from callgrain.probes._diagnose import DiagnoseRecipe, readings
from callgrain.probes._diagnose import diagnose as _diagnose
from callgrain.probes._grade import GradeRecipe
from callgrain.probes._grade import grade as _grade
from callgrain.report.junit import write_junit
from callgrain.sources._open import open_source as _open_source
from callgrain.tools._catalogue import read_catalogue

__all__ = ["Traces", "build", "diagnose", "grade", "open_model", "open_source", "read_tools"]


class Traces:
    """A source at one of its splits: iterate over its Traces, or take `traces(split)` of another."""

    def __init__(self, source: Source, split: str) -> None:
        self.source = source
        self.split = split

    @property
    def splits(self) -> tuple[str, ...]:
        """What `traces` accepts."""
        return self.source.splits

    def traces(self, split: str = "") -> Iterator[Trace]:
        """Traces of `split`, or of the split that was opened. Raises UnknownName."""
        return self.source.traces(split or self.split)

    def __iter__(self) -> Iterator[Trace]:
        return self.traces()


def read_tools(spec: str) -> tuple[Tool, ...]:
    """The tools behind a SPEC such as `functions:package.module`. Raises CallgrainError."""
    return read_catalogue(spec).tools


def open_source(spec: str, split: str = "") -> Traces:
    """The source behind a SOURCE spec; without a split, the one that it names for checking.

    `toolworld` has no end: `itertools.islice` it. Raises UnknownName for an unknown source or
    split, BadInput where its files are not there.
    """
    return Traces(*_open_source(spec, split=split))


def build(source: str, out: Path | None = None, **settings: Any) -> Path:
    """Training rows from `source`; returns the run folder, with the rows in its `rows.jsonl`.

    `settings` are the fields of BuildRecipe; `out` holds the run folders (default ./runs). The
    same settings find the same folder again. Raises CallgrainError.
    """
    with closing(_build(BuildRecipe.resolve({**settings, "source": source}), out or home())) as run:
        return run.folder


def diagnose(model: str | Model, source: str, out: Path | None = None, **settings: Any) -> list[Reading]:
    """Readings of `model`, a MODEL spec or any object with `name` and `answer`, on `source`.

    `settings` are the fields of DiagnoseRecipe; `out` holds the run folders (default ./runs).
    Run folders are found again by the model's name: give another model another name. Raises
    CallgrainError.
    """
    named = model if isinstance(model, str) else model.name
    recipe = DiagnoseRecipe.resolve({**settings, "model": named, "source": source})
    with closing(_diagnose(recipe, out or home(), model=None if isinstance(model, str) else model)) as run:
        return readings(run)


@overload
def grade(item: Sample, reply: Reply, /) -> Verdict: ...


@overload
def grade(
    item: str | Path | Sequence[str | Path], /, *, source: str = "", out: Path | None = None, **settings: Any
) -> list[dict[str, Any]]: ...


def grade(
    item: Any, reply: Reply | None = None, /, *, source: str = "", out: Path | None = None, **settings: Any
) -> Any:
    """One reply's Verdict, or a file of recorded outputs item by item.

    `grade(sample, reply)` is the verdict of the sample's own sub-task. `grade(file, source=...)` does what the
    verb does and gives its lines: `{"id", "strict": {"ok", "faults"}, "bfcl": {"ok", "error_type"}}`, a key
    for each of the graders asked for; `settings` are the fields of GradeRecipe, `out` holds the run folders
    (default ./runs). Raises UnknownName, and BadInput where file and source do not fit each other.
    """
    if isinstance(item, Sample):
        if reply is None:
            raise TypeError("grade(sample, reply): no reply is given")
        return plugins.load("subtasks", item.subtask)().grade(item, reply)
    recipe = GradeRecipe.resolve({**settings, "file": item, "source": source})
    with closing(_grade(recipe, out or home())) as run:
        if recipe.junit:
            write_junit(run, Path(recipe.junit))
        return list(run.rows("gold_audit" if recipe.gold_audit else "graders"))
