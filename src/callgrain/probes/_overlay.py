"""An overlay: corrections of published golds, versioned, beside the data and never in them.

JSON Lines: a header `{"overlay": NAME, "version": N, "source": SOURCE}`, then a line a row: `row`,
`was` (key of the gold that it was written against), `answer` or `"drop": true`, `reason` and `by`. A line
of `gold_audit.jsonl` that proposes an answer becomes one as soon as somebody puts a name to it (`by`).
A correction of a gold that has changed since is refused: it may be mended already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callgrain.core.errors import BadInput
from callgrain.core.plugins import split_spec
from callgrain.core.rows import Quarantine, read_rows
from callgrain.core.types import Answer, Trace
from callgrain.verify.lint import lint


class Header(BaseModel):
    """The first line of an overlay."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    overlay: str = Field(min_length=1, max_length=200)
    version: int = Field(ge=0)
    source: str = ""


class Correction(BaseModel):
    """One line: what is right instead, or that the item is to be left out. `check` and `evidence` are an audit's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    row: str
    was: str
    answer: Answer | None = None
    drop: bool = False
    reason: str = Field(min_length=1)
    by: str = Field(min_length=1)
    check: str = ""
    evidence: Any = None


class Overlay:
    """Corrections by row. What is stale, or breaks its own tools, is refused and kept by name with the reason."""

    def __init__(self, header: Header, corrections: dict[str, Correction]) -> None:
        self.header = header
        self.corrections = corrections
        self.refused: dict[str, str] = {}
        self._met: set[str] = set()
        self._good: dict[str, Correction] = {}

    @property
    def label(self) -> str:
        """`NAME@VERSION`: what readings carry."""
        return f"{self.header.overlay}@{self.header.version}"

    @property
    def settled(self) -> frozenset[str]:
        """Rows whose correction holds."""
        return frozenset(self._good)

    def read(self, trace: Trace) -> None:
        """Hold the row's correction against its gold, once: from then on it is applied, or refused."""
        row = trace.origin.row
        found = self.corrections.get(row)
        if found is None or row in self._met:
            return
        self._met.add(row)
        if found.was != trace.gold.key:
            self.refused[row] = f"written against the gold {found.was}, which is {trace.gold.key} now"
        elif found.answer and (faults := lint(found.answer.calls, trace.tools)):
            self.refused[row] = f"{faults[0].kind} at {faults[0].where}: it breaks its own tools' schema"
        else:
            self._good[row] = found

    def drops(self, trace: Trace) -> bool:
        """Whether the item is to be left out."""
        found = self._good.get(trace.origin.row)
        return found is not None and found.drop

    def changed(self, trace: Trace) -> Trace | None:
        """The trace with its corrected gold; None where nothing is corrected.

        A published key that the correction left as it was goes: it would still say the old.
        """
        found = self._good.get(trace.origin.row)
        if found is None or found.answer is None:
            return None
        answer = found.answer
        if answer.native == trace.gold.native:
            answer = answer.model_copy(update={"native": None})
        results = trace.results if answer.calls == trace.gold.calls else ()
        traits = {**trace.traits, "overlay": self.label}
        return trace.model_copy(update={"gold": answer, "results": results, "traits": traits})

    def close(self) -> dict[str, Any]:
        """What became of it: counts, and the refused by name. Rows that never came by are refused too."""
        for row in self.corrections.keys() - self._met:
            self.refused[row] = "no such row came by in the source"
        dropped = sum(c.drop for c in self._good.values())
        return {
            "overlay": self.label,
            "corrected": len(self._good) - dropped,
            "dropped": dropped,
            "refused": dict(sorted(self.refused.items())),
        }


def read_overlay(path: Path, source: str) -> Overlay:
    """The overlay at `path`, for `source`. Raises BadInput with the place of what is wrong in it."""
    header: Header | None = None
    corrections: dict[str, Correction] = {}
    for number, row in read_rows(path, Quarantine(strict=True)):
        place = f"{path}:{number}"
        try:
            if header is None:
                header = Header.model_validate(row)
                continue
            found = Correction.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            what = "no line of an overlay" if header else "no header of an overlay"
            raise BadInput(f"{place}: {what}: {where}: {first['msg']}", _SHAPE) from error
        if (found.answer is None) != found.drop:
            raise BadInput(f'{place}: one of "answer" and "drop": true is wanted', _SHAPE)
        if found.row in corrections:
            raise BadInput(f"{place}: a second correction of {found.row!r}", "keep the one that is meant")
        corrections[found.row] = found
    if header is None:
        raise BadInput(f"{path} is empty", _SHAPE)
    ours, theirs = split_spec(source)[0], split_spec(header.source)[0]
    if theirs and ours != theirs:
        raise BadInput(f"{path} corrects {theirs!r}, and the source is {ours!r}", "name the overlay of this source")
    return Overlay(header, corrections)


_SHAPE = (
    'a first line {"overlay": NAME, "version": 1, "source": SOURCE}, then lines '
    '{"row", "was", "answer" or "drop": true, "reason", "by"}'
)
