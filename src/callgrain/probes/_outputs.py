"""Recorded outputs and the items that they answer: by id, by place, or by a run's own samples.

A file of outputs says nothing of the question but its id. Each output is held until its item comes
by in the source, and let go again; items that nobody answered are counted and never cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

from pydantic import ValidationError

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput
from callgrain.core.protocols import SubTask
from callgrain.core.rows import Quarantine, read_rows
from callgrain.core.types import Answer, Fault, Reply, Sample, Trace
from callgrain.probes._graded import subtask_of
from callgrain.probes._overlay import Overlay
from callgrain.records._open import Recorded, recorded

NAMED = 5
"""Ids that a message names; beyond them there is a count."""
DRAWS = 64
"""Most cuts of `decide` that are tried until one leaves the tools as the recorded model saw them."""
ABSENT = Fault(kind="unparsable", expected="an output", detail="no_output")
"""What is wrong with an item that nothing was recorded for, where that is to count as wrong."""


@dataclass(frozen=True)
class Item:
    """A recorded output beside the sample that it answers.

    `published` is the sample by the gold as the source has it, where an overlay corrected it;
    `dropped` says that the overlay takes the item out; `absent` that there is no output at all.
    """

    id: str
    sample: Sample
    reply: Reply
    line: int = 0
    trace: str = ""
    probe: str = "subtask"
    published: Sample | None = None
    dropped: bool = False
    absent: bool = False


@dataclass
class Matched:
    """What became of a file's outputs; lists of ids stand in the file's or the source's order."""

    items: list[Item] = field(default_factory=list[Item])
    missing: list[str] = field(default_factory=list[str])
    unknown: list[str] = field(default_factory=list[str])
    uncut: list[str] = field(default_factory=list[str])
    repeated: int = 0
    by_place: bool = False


@dataclass(frozen=True)
class Cutting:
    """How samples are cut for outputs that name no sub-task, and how plain text is read."""

    subtask: str = "full"
    seed: int = 0
    kind: str = ""
    dialect: str = ""
    missing_is_wrong: bool = False

    def sample(self, subtask: str, trace: Trace) -> Sample | None:
        """The sample of a sub-task, the one that `diagnose` asks; None where the trace has none."""
        cutter = _cutter(subtask)
        for draw in range(DRAWS if subtask == "decide" else 1):
            seeds = (str(self.seed), subtask, trace.key, *([str(draw)] if draw else []))
            sample = next(iter(cutter.samples(trace, Random(text_key(*seeds)))), None)
            if subtask != "decide" or sample is None or sample.prompt.tools == trace.tools:
                return sample and lenient(sample)
        return None


def lenient(sample: Sample) -> Sample:
    """The sample with both branches without a call right, where one of them is.

    Who recorded the output knew nothing of the marks ASK and DECLINE: a refusal and an answer
    cannot be told apart. A question can: it ends in a question mark.
    """
    other = {"decline": "answer", "answer": "decline"}.get(sample.answer.decision)
    if other is None:
        return sample
    way = Answer.model_validate({"decision": other})
    return sample.model_copy(update={"answer": sample.answer.model_copy(update={"instead": (way,)})})


def match_source(
    path: Path, traces: Iterable[Trace], how: Cutting, bad: Quarantine, overlay: Overlay | None
) -> Matched:
    """Every output of the file beside its item of the source.

    Raises BadInput where the file holds no output, two different ones of one item, or none whose item
    the source has.
    """
    waiting = _Waiting(path, how, bad)
    found = Matched(repeated=waiting.repeated, by_place=waiting.by_place)
    groups: set[str] = set()
    rows: list[str] = []
    absent: list[tuple[str, str, Trace | None]] = []
    for place, trace in enumerate(traces):
        row, group = trace.origin.row, str(trace.traits.get("category", ""))
        rows += [row] if place < NAMED else []
        if overlay:
            overlay.read(trace)
        if outputs := waiting.take(row, place):
            groups.add(group)
        elif row not in waiting.taken:
            absent.append((group, row, trace if how.missing_is_wrong else None))
        for output in outputs:
            _add(found, output, trace, how, overlay)
    found.unknown = waiting.left()
    if not found.items and not found.uncut:
        raise BadInput(
            f"no output of {path} is of an item of the source: ids there are {', '.join(map(repr, found.unknown[:3]))}",
            f"the source's items are {', '.join(map(repr, rows[:3])) or 'none'}: give the ids as it has them",
        )
    found.items.sort(key=lambda item: item.line)
    for group, row, trace in absent:
        if group in groups:  # a file of one category says nothing of the others
            found.missing.append(row)
            if trace is not None:
                _add(found, None, trace, how, overlay)
    return found


def _add(found: Matched, output: Recorded | None, trace: Trace, how: Cutting, overlay: Overlay | None) -> None:
    """Put an output (or that there is none) beside the sample that is cut for it."""
    row = trace.origin.row
    subtask = (output.subtask if output else "") or how.subtask
    changed = overlay.changed(trace) if overlay else None
    sample = how.sample(subtask, changed or trace)
    if sample is None:
        if output:
            found.uncut.append(row)
        return
    reply = output.reply([tool.name for tool in trace.tools]) if output else Reply(fault=ABSENT)
    published = how.sample(subtask, trace) if changed else None
    dropped = overlay is not None and overlay.drops(trace)
    line = output.line if output else 0
    found.items.append(
        Item(row, sample, reply, line, trace.key, published=published, dropped=dropped, absent=output is None)
    )


class _Waiting:
    """Outputs that wait for their items. Raises BadInput where there is none, or two of one item differ."""

    def __init__(self, path: Path, how: Cutting, bad: Quarantine) -> None:
        self.path, self.repeated, self._places = path, 0, 0
        self.taken: set[str] = set()
        self._by_id: dict[str, list[Recorded]] = {}
        self._by_place: list[Recorded] = []
        for output in read_outputs(path, how, bad):
            if output.id:
                self._put(output)
            else:
                self._by_place.append(output)
        if not self._by_id and not self._by_place:
            raise BadInput(f"{path} holds no output", bad.first[0] if bad.first else "the file is empty")
        self.by_place = not self._by_id
        if not self.by_place:
            for output in self._by_place:
                bad.add(path, output.line, "an output without an id, in a file whose other outputs have one")
            self._by_place = []

    def _put(self, output: Recorded) -> None:
        before = next((o for o in self._by_id.get(output.id, ()) if o.subtask == output.subtask), None)
        if before is None:
            self._by_id.setdefault(output.id, []).append(output)
        elif before.row == output.row:
            self.repeated += 1
        else:
            raise BadInput(
                f"{self.path}: lines {before.line} and {output.line} both give an output of {output.id!r}, and differ",
                "keep the one that is meant",
            )

    def take(self, row: str, place: int) -> list[Recorded]:
        """The outputs of an item, taken out; none the second time that its row comes by."""
        if self.by_place:
            self._places = place + 1
            return self._by_place[place : place + 1]
        found = self._by_id.pop(row, [])
        if found:
            self.taken.add(row)
        return found

    def left(self) -> list[str]:
        """Ids (or lines) of the outputs that no item was found for."""
        return [f"line {output.line}" for output in self._by_place[self._places :]] or list(self._by_id)


def read_outputs(path: Path, how: Cutting, bad: Quarantine) -> Iterator[Recorded]:
    """The outputs in a file; one of an unknown sub-task is set aside."""
    known = frozenset(plugins.names("subtasks"))
    for output in recorded(path, bad, how.kind):
        if output.subtask and output.subtask not in known:
            bad.add(path, output.line, f"there is no sub-task {output.subtask!r}: there is {', '.join(sorted(known))}")
        elif how.dialect and output.kind == "text" and "dialect" not in output.row:
            yield replace(output, row={**output.row, "dialect": how.dialect})
        else:
            yield output


def samples_beside(path: Path) -> Path:
    """The samples of the run that a file of replies is of. Raises BadInput where they are not beside it."""
    asked = path.parent / "samples.jsonl"
    if not asked.is_file():
        raise BadInput(
            f"no --source is named, and there is no samples.jsonl beside {path}",
            "name the data set that was asked, such as --source bfcl:FOLDER, or give a run's replies.jsonl",
        )
    return asked


def match_run(path: Path, how: Cutting, bad: Quarantine) -> Matched:
    """Every reply of a run beside that run's own sample. Raises BadInput where its samples are not beside it."""
    asked = samples_beside(path)
    replies: dict[str, Recorded] = {}
    for output in read_outputs(path, how, bad):
        replies.setdefault(output.id, output)
    found = Matched()
    answered: set[str] = set()  # two probes may have asked the same: one reply, two samples
    for number, row in read_rows(asked, Quarantine(strict=True)):
        sample = _sample(row, f"{asked}:{number}")
        output = replies.get(sample.key)
        answered.add(sample.key)
        if output is None:
            found.missing.append(sample.key)
            continue
        reply = output.reply([tool.name for tool in sample.prompt.tools])
        trace, probe = str(row.get("trace", "")), str(row.get("probe", "subtask"))
        found.items.append(Item(sample.key, sample, reply, output.line, trace, probe))
    found.unknown = [key for key in replies if key not in answered]
    if not found.items:
        raise BadInput(f"no reply of {path} is of a sample of {asked}", "the two files must be of one run")
    return found


def _sample(row: Mapping[str, object], place: str) -> Sample:
    try:
        return Sample.model_validate(row.get("sample"))
    except ValidationError as error:
        raise BadInput(f"{place}: no sample: {error.errors()[0]['msg']}", "run that diagnosis again") from error


@cache
def _cutter(subtask: str) -> SubTask:
    return subtask_of(subtask)
