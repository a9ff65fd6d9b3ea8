"""Asking what is owed: a chunk at a time, every reply on disk, and what each probe cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from callgrain.core.errors import BadInput
from callgrain.core.progress import Tell
from callgrain.core.protocols import Model, Rehearses
from callgrain.core.store import Run
from callgrain.core.types import Prompt, Reading, Reply, Sample, Sampling, Verdict
from callgrain.probes._graded import Graded, grouped, in_order, reading, subtask_of
from callgrain.probes._pool import chunks

CHUNK = 64
"""Samples that are asked before their replies are written down: what a kill can cost."""


@dataclass(frozen=True)
class Question:
    """A sample that is asked: by which probe, and cut from which trace."""

    probe: str
    trace: str
    sample: Sample

    @property
    def key(self) -> str:
        """One line of `samples.jsonl` each; two probes may ask the same, and get one reply."""
        return self.sample.key if self.probe == "subtask" else f"{self.probe}/{self.sample.key}"

    def row(self) -> dict[str, Any]:
        """A line of `samples.jsonl`."""
        dumped = self.sample.model_dump(mode="json")
        return {"key": self.key, "probe": self.probe, "trace": self.trace, "sample": dumped}

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Question:
        """The question of a line."""
        return cls(row["probe"], row["trace"], Sample.model_validate(row["sample"]))


@dataclass(frozen=True)
class Asking:
    """How the questions of one diagnosis are put."""

    run: Run
    sampling: Sampling
    constrain: bool
    tell: Tell
    opened: Callable[[], Model]

    def ask(self, questions: Sequence[Question]) -> None:
        """Ask what has no reply yet.

        Requests that failed are written down last of all: a run that ends before asks them again.
        Raises BadInput where replies are to be constrained by a model that cannot be.
        """
        with self.run.journal("replies") as journal, self.run.journal("spent", keyed=False) as costs:
            if journal.torn:
                self.run.log(f"cut off {journal.torn} bytes of an unfinished reply; it is asked again")
            owed = {q.sample.key: q for q in questions if q.sample.key not in journal.keys}
            if not owed:
                return
            model = self.opened()
            if self.constrain and not getattr(model, "can_constrain", False):
                raise BadInput(
                    f"{model.name} cannot be held to a grammar",
                    "leave --constrain out, or take a local model with llguidance installed",
                )
            if isinstance(model, Rehearses):
                model.rehearse([q.sample for q in questions if "control" not in q.sample.traits])
            done, failed = len(questions) - len(owed), list[dict[str, Any]]()
            for probe, asked in grouped(list(owed.values()), lambda q: q.probe).items():
                for piece in chunks([q.sample for q in asked], CHUNK):
                    self.tell("asking the model" if probe == "subtask" else f"asking for {probe}", done, len(questions))
                    start = perf_counter()
                    replies = model.answer([self._drawn(s.prompt) for s in piece])
                    spent = perf_counter() - start
                    answered: list[dict[str, Any]] = []
                    for sample, reply in zip(piece, replies, strict=True):
                        (answered if reply.failure is None else failed).append(reply_row(sample, reply))
                    journal.append(answered)
                    costs.append([{"probe": probe, "prompts": len(piece), "seconds": round(spent, 4)}])
                    done += len(piece)
            journal.append(failed)
            self.tell("asking the model", done, len(questions))

    def _drawn(self, prompt: Prompt) -> Prompt:
        """The prompt as it is put: how it wants to be drawn stands where it says so."""
        own = prompt.sampling
        room = {
            "max_tokens": max(own.max_tokens, self.sampling.max_tokens) if own != _SILENT else self.sampling.max_tokens
        }
        silent = own.model_copy(update={"max_tokens": _SILENT.max_tokens}) == _SILENT
        sampling = (self.sampling if silent else own).model_copy(update=room)
        asked = {"sampling": sampling, "constrain": self.constrain or prompt.constrain}
        return prompt if (own, prompt.constrain) == tuple(asked.values()) else prompt.model_copy(update=asked)


_SILENT = Sampling()
"""The sampling of a prompt that does not say how it is to be drawn."""


def grade(run: Run, questions: Iterable[Question], tell: Tell) -> list[Graded]:
    """Every reply judged."""
    asked = list(questions)
    wanted = {one.sample.key for one in asked}  # of later rounds, these alone: the others were judged before
    replies = {r["key"]: Reply.model_validate(r["reply"]) for r in run.rows("replies") if r["key"] in wanted}
    tasks = {name: subtask_of(name) for name in {q.sample.subtask for q in asked}}
    graded: list[Graded] = []
    for index, one in enumerate(asked):
        if index % 500 == 0:
            tell("grading", index, len(asked))
        reply = replies[one.sample.key]
        verdict = judged(tasks[one.sample.subtask].grade, one.sample, reply)
        graded.append(Graded(one.sample, reply, verdict, one.probe, one.trace))
    return graded


def write_verdicts(run: Run, graded: Sequence[Graded]) -> None:
    """Put the verdicts in place; they are derived, so they are written anew as a whole.

    Two tables, so that whoever counts or pairs the pool's verdicts cannot count a control's among them.
    """
    run.replace_rows("verdicts", (verdict_row(g) for g in graded if g.probe == "subtask"))
    run.replace_rows("probe_verdicts", (verdict_row(g) for g in graded if g.probe != "subtask"))


def costs(graded: Sequence[Graded]) -> Iterator[Reading]:
    """Readings `cost/prompts`, `prompt_tokens` and `completion_tokens` by the probe that asked (`of`)."""
    for probe, items in grouped(graded, lambda g: g.probe).items():
        once = {g.sample.key: g for g in items}.values()
        yield reading("cost", "prompts", (float(len(once)), None, None), len(once), of=probe)
        for kind in ("prompt_tokens", "completion_tokens"):
            known = [g.reply.usage[kind] for g in once if kind in g.reply.usage]
            if known:
                yield reading("cost", kind, (float(sum(known)), None, None), len(known), of=probe)


def seconds(run: Run) -> dict[str, float]:
    """Seconds that the model took for each probe's questions, in the order of the sub-tasks' pool first."""
    groups = grouped(list(run.rows("spent")), lambda row: str(row["probe"]))
    return {name: round(sum(row["seconds"] for row in groups[name]), 3) for name in in_order(groups)}


def judged(judge: Callable[[Sample, Reply], Verdict], sample: Sample, reply: Reply) -> Verdict:
    """What `judge` says of a reply; that it broke on it is a state of the verdict."""
    try:
        return judge(sample, reply)
    except Exception as error:
        return Verdict(state="grader_error", score=0.0, detail=f"{type(error).__name__}: {error}")


def reply_row(sample: Sample, reply: Reply) -> dict[str, Any]:
    """A line of `replies.jsonl`."""
    return {"key": sample.key, "reply": reply.model_dump(mode="json", exclude_defaults=True)}


def verdict_row(item: Graded) -> dict[str, Any]:
    """A line of `verdicts.jsonl`."""
    return {
        "key": item.sample.key,
        "probe": item.probe,
        "subtask": item.sample.subtask,
        "ok": item.verdict.ok,
        "verdict": item.verdict.model_dump(mode="json"),
        "traits": item.sample.traits,
    }
