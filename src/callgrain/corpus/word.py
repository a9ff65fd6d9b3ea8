"""A teacher words the requests of a source anew; calls, results and history stay, and every wording is verified.

Words last: what is right was there, and checked, before anybody put it into words, so a teacher cannot make it wrong;
at worst its words do not say it, and those are refused (`_wording.py`). The teacher sees the request, the calls in
plain words and the values to keep, never an answer to repeat. A refused wording is asked for again with the reason.
Replies are journaled (`_journaled.py`), a trace is written when all of its wordings are settled: a killed run goes on
and comes to the same set. After Selective Reflection-Tuning (arXiv 2402.10110, a teacher rewrites the instruction)
and BUTTON (2410.12952) and Magnet (2503.07826), where words come after truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.errors import BadInput, CallgrainError
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Model
from callgrain.core.store import Run
from callgrain.core.types import Sampling, Trace
from callgrain.corpus._asking import Wording, styles
from callgrain.corpus._journaled import Journaled
from callgrain.corpus._teacher import UNNAMED, TeacherRecipe, open_teacher
from callgrain.corpus._usable import Usable
from callgrain.corpus._wording import Request
from callgrain.models._open import weights_key
from callgrain.sources._edits import derived
from callgrain.sources._folder import SkipError
from callgrain.sources._open import open_trainable, set_aside


class WordRecipe(TeacherRecipe):
    """Settings of a wording."""

    source: str = Field(description="SOURCE whose requests are worded anew: synthetic:CATALOGUE | toolworld | ...")
    n: int = Field(default=500, ge=1, description="traces of the source")
    wordings: int = Field(default=1, ge=1, le=32, description="wordings of each request")
    keep_original: bool = Field(default=False, description="keep a trace as it is where no wording of it passes")
    retries: int = Field(default=2, ge=0, description="further attempts at a wording that was refused")
    temperature: float = Field(default=0.8, ge=0, description="sampling temperature; 0 is greedy")
    seed: int = Field(default=0, description="seed of the styles and the sampling")
    max_tokens: int = Field(default=400, ge=1, description="most tokens of a wording")
    window: int = Field(default=128, ge=1, description="traces whose wordings are asked for together")


_UNNAMED = UNNAMED | {"window"}


def word(recipe: WordRecipe, root: Path, *, tell: Tell = silent, teacher: Model | None = None) -> Run:
    """Write `traces.jsonl` and `words.jsonl` in the run folder of this recipe, or go on where it stopped.

    Raises BadInput where the source is a benchmark (unless forced) or has no request to word; CallgrainError where
    too many requests got no reply or a cap is reached: run again, what was answered is kept.
    """
    source, split = open_trainable(
        recipe.source, split=recipe.split, strict=recipe.strict, force=recipe.force, instead="word something else"
    )
    name = plugins.split_spec(recipe.source)[0]
    inputs = {"seed": recipe.seed, "teacher": weights_key(recipe.teacher.removeprefix("local:"))}
    with Run.open(root, "word", name, recipe.model_dump(), inputs, unnamed=_UNNAMED) as run:
        if not run.is_done:
            requests = Requests(source, split, recipe.n)
            _ask(recipe, run, requests, tell, teacher)
            _finish(recipe, run, requests)
    return run


class Requests(Usable[tuple[int, Request]]):
    """(number, request) of the first `n` Traces of a split whose request can be worded, each once."""

    def __iter__(self) -> Iterator[tuple[int, Request]]:
        self._seen = set[str]()
        return super().__iter__()

    def made(self, at: int, trace: Trace) -> tuple[int, Request]:
        """The request and its number. Raises SkipError where it cannot be worded, or was there before."""
        found = Request.of(trace)
        if trace.key in self._seen:
            raise SkipError("the same trace again")
        self._seen.add(trace.key)
        return at, found


# one trace ---------------------------------------------------------------------------------------


@dataclass
class Piece:
    """A trace with its wordings on their way."""

    at: int
    request: Request
    wordings: tuple[Wording, ...]

    @property
    def failed(self) -> bool:
        """Whether the back end left a wording without a reply."""
        return any(wording.failure for wording in self.wordings)

    def kept(self, teacher: str) -> list[Trace]:
        """The trace in each wording that passed."""
        trace, out = self.request.trace, list[Trace]()
        for one in self.wordings:
            if one.text:
                row = f"{trace.origin.row}+worded.{one.number}"
                traits = {"worded": teacher, "style": one.style}
                out.append(derived(trace, "worded", row=row, messages=self.request.worded(one.text), traits=traits))
        return out

    @property
    def row(self) -> dict[str, Any]:
        """As it lies in `words.jsonl`."""
        trace = self.request.trace
        told = {"row": trace.origin.row, "original": self.request.text, "wordings": [w.row for w in self.wordings]}
        return {"key": trace.key, "at": self.at, **told}


class _Files:
    """The two files of the run. A trace's wordings are written before its words, which say that it is settled."""

    def __init__(self, run: Run, recipe: WordRecipe) -> None:
        self.words, self.traces = run.journal("words"), run.journal("traces", keyed=False)
        for journal in (self.words, self.traces):
            if journal.torn:
                run.log(f"cut off {journal.torn} bytes of an unfinished line in {journal.path.name}; it is made again")
        self._had = {Trace.model_validate(row).key for row in self.traces.rows()}
        self._keep_original = recipe.keep_original

    def write(self, pieces: Sequence[Piece], teacher: str) -> None:
        """Write settled traces down; what a killed process had written of them stays as it is."""
        kept: list[Trace] = []
        for piece in pieces:
            found = piece.kept(teacher)
            kept += found or ([piece.request.trace] if self._keep_original else [])
        self.traces.append(t.model_dump(mode="json", exclude_defaults=True) for t in kept if t.key not in self._had)
        self.words.append(piece.row for piece in pieces)

    def close(self) -> None:
        self.traces.close()
        self.words.close()


def _ask(recipe: WordRecipe, run: Run, requests: Requests, tell: Tell, teacher: Model | None) -> None:
    """Every wording that is owed, window by window; traces that the back end failed are written last, or not at all."""
    with closing(_Files(run, recipe)) as files:
        had = frozenset(files.words.keys)
        owed = ((at, found) for at, found in requests if found.trace.key not in had)
        first = list(islice(owed, 1))
        if not requests.count:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in requests.skipped.items()) or "it is empty"
            raise BadInput(
                f"{recipe.source} ({recipe.split}) has no request to word ({reasons})", "take another source"
            )
        if not first:
            return
        tell("opening the teacher", 0, 0)
        with Journaled(teacher or open_teacher(recipe), run) as model:
            failed, settled = list[Piece](), len(had)
            while window := [*first, *islice(owed, recipe.window - len(first))]:
                first = []
                pieces = [_piece(recipe, at, found) for at, found in window]
                _settle(recipe, model, pieces)
                failed += [piece for piece in pieces if piece.failed]
                files.write([piece for piece in pieces if not piece.failed], model.name)
                settled += len(pieces)
                tell("wording requests", settled, recipe.n)
                _check(model, recipe)
            files.write(failed, model.name)


def _piece(recipe: WordRecipe, at: int, found: Request) -> Piece:
    drawn = styles(found, recipe.wordings, recipe.seed)
    return Piece(at, found, tuple(Wording(found, number, style) for number, style in enumerate(drawn)))


def _settle(recipe: WordRecipe, model: Model, pieces: Sequence[Piece]) -> None:
    """Ask, and ask again with the reason, until each wording has passed, failed, or been refused often enough."""
    sampling = Sampling(temperature=recipe.temperature, max_tokens=recipe.max_tokens, seed=recipe.seed)
    for _ in range(recipe.retries + 1):
        due = [(p, w) for p in pieces for w in p.wordings if not w.text and not w.failure]
        replies = model.answer([w.prompt(sampling) for _, w in due]) if due else []
        for (piece, wording), reply in zip(due, replies, strict=True):
            wording.hear(reply, [w.text for w in piece.wordings if w.text])


def _check(model: Journaled, recipe: WordRecipe) -> None:
    """Raises CallgrainError where a cap is reached, or too many requests failed."""
    found = model.check(recipe.fail_on_error)
    if found.skipped.get("budget"):
        raise CallgrainError(
            f"a cap on spending is reached: {found.done:,} requests are answered and kept",
            "raise it (--max-requests, --max-tokens-total, --max-cost) and run again: it goes on from there",
        )


# the end -----------------------------------------------------------------------------------------


def _finish(recipe: WordRecipe, run: Run, requests: Requests) -> None:
    """The counts, and the end of the run."""
    counts, by = Counter[str](), {name: Counter[str]() for name in ("refused", "given_up", "failed", "styles")}
    usage: Counter[str] = Counter()
    for row in run.rows("words"):
        counts["traces"] += 1
        kept = 0
        for one in row["wordings"]:
            verdicts = [attempt["refused"] for attempt in one["attempts"]]
            counts["requests"] += len(verdicts)
            by["refused"].update(v for v in verdicts if v)
            usage.update(one["usage"])
            if "failed" in one:
                by["failed"][one["failed"]] += 1
            elif verdicts[-1]:
                by["given_up"][verdicts[-1]] += 1
            else:
                kept += 1
                counts["at_once"] += len(verdicts) == 1
                by["styles"][one["style"]] += 1
        counts["kept"] += kept
        counts["wordings"] += len(row["wordings"])
        counts["originals"] += not kept and recipe.keep_original
        counts["left_out"] += not kept and not recipe.keep_original
    names = ("traces", "wordings", "kept", "at_once", "originals", "left_out", "requests")
    run.finish(
        {
            **{name: counts[name] for name in names},
            **{name: dict(found.most_common()) for name, found in by.items()},
            "tokens": dict(usage),
            "skipped": dict(requests.skipped),
            "short": recipe.n - counts["traces"],
            "set_aside": set_aside(requests.source).count,
        }
    )
