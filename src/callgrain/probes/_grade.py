"""Grading what was recorded: outputs of any model, no model at hand.

The same run folder as a diagnosis, filled from files: samples of the items that the file answers,
replies, the first grader's verdicts, and every grader's word item by item (`graders.jsonl`). What
takes longer than the grading itself (fault rates, measures, the grader's card) is read by `deepen`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from callgrain.core import plugins
from callgrain.core.errors import BadInput
from callgrain.core.progress import Tell, silent
from callgrain.core.recipe import Recipe
from callgrain.core.rows import Quarantine
from callgrain.core.store import Run
from callgrain.core.types import Reading, Reply, Sample, Trace, Verdict
from callgrain.probes._asking import Question, judged, reply_row, verdict_row
from callgrain.probes._card import STRICT, Judge, graders
from callgrain.probes._diagnose import probe_of, read_by, readings, write_readings
from callgrain.probes._gold_audit import Finding, agreed, audited
from callgrain.probes._grade_rows import Judged, disagreement, figures_of, graded_of, grader_row, scores, summary
from callgrain.probes._graded import Graded
from callgrain.probes._outputs import ABSENT, Cutting, Item, match_run, match_source, samples_beside
from callgrain.probes._overlay import Overlay, read_overlay
from callgrain.sources._open import open_source, set_aside

ENDLESS = frozenset({"toolworld"})
"""Sources without an end: how much of them was asked has to be said."""
DEEP = ("subtask", "form", "faults", "weakness", "grader")
"""Probes of a recorded run: all that ask nothing. `controls` joins them where a run has asked its own."""

_UNNAMED = {"file", "source", "overlay", "junit", "fail_under", "fail_on_error"}
"""Paths, for whose contents hashes stand among the inputs; and what is only made of the result."""


def _listed(value: Any) -> Any:
    """One path as a list of one; paths as text."""
    given = [value] if isinstance(value, str | Path) else value
    return [str(part) if isinstance(part, Path) else part for part in given] if isinstance(given, list) else given


class GradeRecipe(Recipe):
    """Settings of grading recorded outputs."""

    file: Annotated[list[str], BeforeValidator(_listed)] = Field(
        min_length=1, description="recorded outputs, JSON Lines or one array; several FILEs stand side by side"
    )
    source: str = Field(
        default="", description="SOURCE that was asked: bfcl:FOLDER | jsonl:FILE ...; empty: samples.jsonl beside FILE"
    )
    split: str = Field(default="", description="split of the source; empty takes its test (or dev, or train) split")
    subtask: str = Field(default="full", description="sub-task of outputs that name none")
    grader: str = Field(
        default=STRICT, description="graders, separated by commas: strict, compat graders, or all; the first decides"
    )
    kind: str = Field(default="", description="kind of record of every row; empty recognises each")
    dialect: str = Field(default="", description="how plain text is read: json, compact, chat_template")
    n: int = Field(default=0, ge=0, description="items of the source that were asked, from its first; 0 is all")
    seed: int = Field(default=0, description="seed of the cuts, as in diagnose")
    overlay: str = Field(default="", description="file of corrected golds; figures come with it and without")
    gold_audit: bool = Field(default=False, description="list golds that look wrong, with evidence and a proposal")
    missing_is_wrong: bool = Field(default=False, description="count items without an output as wrong, not as missing")
    junit: str = Field(default="", description="write the verdicts as JUnit XML to this path")
    fail_under: float = Field(
        default=0.0, ge=0, le=1, description="exit with 1 where the first grader's share right is less"
    )
    fail_on_error: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="exit with 1 where more than this share has no output or a failed one",
    )
    strict: bool = Field(
        default=False, description="stop at the first bad line, and at a correction that no longer fits its gold"
    )


def grade(recipe: GradeRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Grade one file, or several side by side; `graders.jsonl` in the run folder has a line an item.

    Raises UnknownName for a grader, sub-task, source or kind that is not there, BadInput where file,
    source or overlay cannot be read, or nothing in the one is of the other.
    """
    judges = graders(recipe.grader)
    if recipe.subtask not in plugins.names("subtasks"):
        plugins.load("subtasks", recipe.subtask)
    if recipe.dialect:
        plugins.load("dialects", recipe.dialect)
    files = [_file(name) for name in recipe.file]
    with _start(recipe, files, root, judges) as run:
        if not run.is_done:
            work = _one if len(files) == 1 else _several
            work(recipe, files, run, judges, tell)
    return run


def _file(name: str) -> Path:
    """The file that is meant: of a run's folder, its replies."""
    path = Path(name).expanduser()
    return path / "replies.jsonl" if path.is_dir() else path


def _start(recipe: GradeRecipe, files: Sequence[Path], root: Path, judges: Mapping[str, Judge]) -> Run:
    name, rest = plugins.split_spec(recipe.source)
    if name in ENDLESS and not recipe.n:
        raise BadInput(f"{name} has no end", "say with --n how many of its items were asked")
    if not name and (recipe.overlay or recipe.gold_audit):
        raise BadInput("an overlay and an audit are of a source's golds, and no --source is named", "name the source")
    named = {**recipe.model_dump(), "grader": ",".join(judges)}
    source = Path(rest).expanduser() if rest else None
    inputs = {
        "files": [_hash(path) for path in files],
        "source": f"{name}:{_hash(source)}" if source and source.exists() else recipe.source,
        "overlay": _hash(Path(recipe.overlay).expanduser()) if recipe.overlay else "",
        "seed": recipe.seed,
    }
    if not name:
        inputs["samples"] = [_hash(samples_beside(path)) for path in files]
    return Run.open(root, "grade", name or "replies", named, inputs, unnamed=_UNNAMED)


def _hash(path: Path) -> str:
    """A hash of a file's content, or of every file in a folder; "" where there is none."""
    found = blake2b(digest_size=8)
    for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if part.is_file():
            try:
                with part.open("rb") as file:
                    content = file_digest(file, blake2b)
            except OSError as error:
                raise BadInput(f"cannot read {part}: {error.strerror}", "check its permissions") from error
            found.update(f"{part.relative_to(path)}\0{content.hexdigest()}\n".encode(errors="surrogateescape"))
        elif part == path:
            raise BadInput(f"there is no file {str(path)!r}", "check the path")
    return found.hexdigest()


def _one(recipe: GradeRecipe, files: Sequence[Path], run: Run, judges: Mapping[str, Judge], tell: Tell) -> None:
    bad = Quarantine(strict=recipe.strict)
    how = Cutting(recipe.subtask, recipe.seed, recipe.kind, recipe.dialect, recipe.missing_is_wrong)
    overlay = read_overlay(Path(recipe.overlay).expanduser(), recipe.source) if recipe.overlay else None
    findings: list[Finding] = []
    tell("reading outputs", 0, 0)
    if recipe.source:
        traces, aside = _traces(recipe)
        seen = audited(traces, judges, findings) if recipe.gold_audit else traces
        found = match_source(files[0], seen, how, bad, overlay)
    else:
        found, aside = match_run(files[0], how, bad), Quarantine()
    corrected = overlay.close() if overlay else {}
    if recipe.strict and corrected.get("refused"):
        row, reason = next(iter(corrected["refused"].items()))
        count = len(corrected["refused"])
        raise BadInput(
            f"{count} corrections of {corrected['overlay']} do not fit, the first of {row!r}: {reason}",
            "look at those golds anew, or leave out --strict to go on without them",
        )
    done = [_judge(item, judges, tell, at, len(found.items)) for at, item in enumerate(found.items)]
    _write(run, done, judges)
    if recipe.gold_audit:
        findings = _open_ones(findings, overlay)
        run.replace_rows("gold_audit", findings)
    read = figures_of(done, judges, overlay.label if overlay else "")
    write_readings(run, [*read, *scores(done, judges)])
    counts = {"set_aside": bad.count, "set_aside_first": bad.first, **_source_aside(aside), **corrected}
    more = {"audit": len(findings), "deep": False, "command": _command(recipe)}
    run.finish({**summary(done, found, judges), **counts, **more})


def _command(recipe: GradeRecipe) -> str:
    """The command line that makes the run again: what the page shows."""
    parts = ["callgrain", "grade", *map(shlex.quote, recipe.file)]
    for name, value in recipe.model_dump(exclude={"file"}, exclude_defaults=True).items():
        parts.append(f"--{name.replace('_', '-')}")
        parts += [] if value is True else [shlex.quote(str(value))]
    return " ".join(parts)


def _traces(recipe: GradeRecipe) -> tuple[Iterator[Trace], Quarantine]:
    source, split = open_source(recipe.source, split=recipe.split, strict=recipe.strict)
    traces = source.traces(split)
    return islice(traces, recipe.n) if recipe.n else iter(traces), set_aside(source)


def _source_aside(aside: Quarantine) -> dict[str, Any]:
    return {"source_aside": aside.count, "source_aside_first": aside.first}


def _judge(item: Item, judges: Mapping[str, Judge], tell: Tell, at: int, total: int) -> Judged:
    if at % 500 == 0:
        tell("grading", at, total)
    if item.absent:
        nothing = Verdict(faults=(ABSENT,), score=0.0, detail="no output")
        return Judged(item, dict.fromkeys(judges, nothing), dict.fromkeys(judges, nothing))
    said = {name: judged(judge, item.sample, item.reply) for name, judge in judges.items()}
    before = item.published
    old = {name: judged(judge, before, item.reply) for name, judge in judges.items()} if before else said
    return Judged(item, said, old)


def _write(run: Run, done: Sequence[Judged], judges: Mapping[str, Judge]) -> None:
    """Every table of the run but its readings; what an overlay drops stands in none of them."""
    first = next(iter(judges))
    kept = [d for d in done if not d.item.dropped]
    pool = [d for d in kept if d.item.probe == "subtask"]
    run.replace_rows("samples", (Question(d.item.probe, d.item.trace, d.item.sample).row() for d in kept))
    run.replace_rows("replies", (reply_row(d.item.sample, d.item.reply) for d in kept))
    run.replace_rows("verdicts", ({**verdict_row(graded_of(d, first)), "id": d.item.id} for d in pool))
    others = [d for d in kept if d.item.probe != "subtask"]
    run.replace_rows("probe_verdicts", (verdict_row(graded_of(d, first)) for d in others))
    run.replace_rows("graders", (grader_row(d.item.id, d.verdicts) for d in pool))
    run.replace_rows("disagreements", (row for d in pool if (row := disagreement(d))))


def _several(recipe: GradeRecipe, files: Sequence[Path], run: Run, judges: Mapping[str, Judge], tell: Tell) -> None:
    """Each file is a run of its own, for `report` and `compare`; this one holds them side by side."""
    rows: list[dict[str, Any]] = []
    figures: list[Reading] = []
    items: dict[str, list[Item]] = {}
    parts: list[dict[str, Any]] = []
    for name, path in zip(_names(files), files, strict=True):
        one = recipe.model_copy(update={"file": [str(path)], "gold_audit": False, "junit": ""})
        part = grade(one, run.folder.parent.parent, tell=tell)
        rows += [{"file": name, **row} for row in part.rows("graders")]
        figures += [r.model_copy(update={"by": {"file": name, **r.by}}) for r in readings(part) if r.probe == "grade"]
        parts.append({"file": name, "run": str(part.folder), **part.read("done")})
        if recipe.gold_audit:
            items[name] = [item for item in _items(part) if item.probe == "subtask"]
    run.replace_rows("graders", rows)
    write_readings(run, figures)
    findings: list[Finding] = []
    if recipe.gold_audit:
        overlay = read_overlay(Path(recipe.overlay).expanduser(), recipe.source) if recipe.overlay else None
        golds: dict[str, str] = {}
        for trace in audited(_traces(recipe)[0], judges, findings):
            golds.setdefault(trace.origin.row, trace.gold.key)
            if overlay:
                overlay.read(trace)
        findings = _open_ones([*findings, *agreed(items, golds)], overlay)
        run.replace_rows("gold_audit", findings)
    worst = min(parts, key=lambda part: part["right"] / max(1, part["graded"]))
    run.finish(
        {**worst, "without": max(p["without"] for p in parts), "parts": parts, "audit": len(findings), "deep": True}
    )


def _names(files: Sequence[Path]) -> list[str]:
    """Short names of the files, all different."""
    short = [path.name for path in files]
    return short if len(set(short)) == len(short) else [str(path) for path in files]


def _open_ones(findings: Sequence[Finding], overlay: Overlay | None) -> list[Finding]:
    """What no correction has settled. `was` is the published gold's, so that an overlay can grow."""
    settled = overlay.settled if overlay else frozenset[str]()
    return [found for found in findings if found["row"] not in settled]


def _items(run: Run) -> Iterator[Item]:
    """What a run of one file holds, read back."""
    replies = {row["key"]: Reply.model_validate(row["reply"]) for row in run.rows("replies")}
    for row in run.rows("samples"):
        sample = Sample.model_validate(row["sample"])
        reply = replies[sample.key]
        absent = reply.fault == ABSENT
        yield Item(sample.origin.row, sample, reply, trace=row["trace"], probe=row["probe"], absent=absent)


def deepen(run: Run, *, tell: Tell = silent) -> list[Reading]:
    """All readings of a run, with those that take longer than grading did: read once, and kept."""
    summary = run.read("done")
    if summary["deep"]:
        return readings(run)
    rows = {table: run.rows(table) for table in ("verdicts", "probe_verdicts")}
    verdicts = {row["key"]: Verdict.model_validate(row["verdict"]) for table in rows.values() for row in table}
    graded = [Graded(i.sample, i.reply, verdicts[i.sample.key], i.probe, i.trace) for i in _items(run)]
    probes = [*DEEP, *(["controls"] if any(g.probe == "controls" for g in graded) else [])]
    own = [r for r in readings(run) if r.probe == "grade"]
    found = [*own, *read_by({name: probe_of(name) for name in probes}, graded, tell)]
    write_readings(run, found)
    run.write("done", {**summary, "deep": True})
    return found
