"""The diagnosis: a pool is asked, graded and read; every step lands in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Model, Probe, Rehearses
from callgrain.core.recipe import Recipe
from callgrain.core.rows import Quarantine
from callgrain.core.store import Run
from callgrain.core.types import Prompt, Reading, Reply, Sample, Sampling, Verdict
from callgrain.models._open import open_model, weights_key
from callgrain.probes._graded import SUBTASKS, Graded, subtask_of
from callgrain.probes._pool import chunks, pool
from callgrain.sources._open import open_source, set_aside

CHUNK = 64
"""Samples that are asked before their replies are written down: what a kill can cost."""


class DiagnoseRecipe(Recipe):
    """Settings of a diagnosis."""

    model: str = Field(description="MODEL: scripted:KIND=RATE | local:FOLDER_OR_HUB_ID | remote:NAME@URL")
    source: str = Field(
        default="toolworld:full", description="SOURCE: toolworld[:micro] | bfcl:FOLDER | sgd:FOLDER | jsonl:FILE ..."
    )
    split: str = Field(default="", description="split of the source; empty takes its test (or dev, or train) split")
    subtask: str = Field(default="all", description="sub-tasks, separated by commas, or all")
    probe: str = Field(default="all", description="probes, separated by commas, or all")
    n: int = Field(default=200, ge=1, description="samples a sub-task")
    seed: int = Field(default=0, description="seed of the pool, the same for every model that is to be compared")
    dialect: str = Field(
        default="", description="how the model is spoken to: json, compact, chat_template; empty lets the model say"
    )
    temperature: float = Field(default=0.0, ge=0, description="sampling temperature; 0 is greedy")
    max_tokens: int = Field(default=256, ge=1, description="most tokens of one reply")
    constrain: bool = Field(
        default=False, description="hold every reply to the grammar of the dialect and the tools shown (local models)"
    )
    strict: bool = Field(default=False, description="stop at the first line of the source that cannot be read")
    batch_size: int = Field(default=16, ge=1, description="prompts decoded together (local models)")
    concurrency: int = Field(default=8, ge=1, description="requests in flight (remote models)")
    timeout_s: float = Field(default=60.0, gt=0, description="seconds until a request is given up (remote models)")
    key_env: str = Field(default="OPENAI_API_KEY", description="environment variable that holds the endpoint's key")
    fail_on_error: float = Field(
        default=0.1, ge=0, le=1, description="exit with 1 where more than this share got no reply at all"
    )


_MODEL_OPTIONS = {
    "local": ("dialect", "batch_size"),
    "tiny": ("dialect", "batch_size"),
    "experts": ("dialect", "batch_size"),
    "remote": ("dialect", "concurrency", "timeout_s", "key_env"),
}


_UNNAMED = {"model", "batch_size", "concurrency", "timeout_s", "key_env", "fail_on_error"}
"""What only changes speed; and the model's spec, for which its weights stand: a folder may be moved."""


def open_recipe_model(recipe: DiagnoseRecipe) -> Model:
    """The recipe's model with the options that its back end takes."""
    back_end = plugins.split_spec(recipe.model)[0]
    options = {name: getattr(recipe, name) for name in _MODEL_OPTIONS.get(back_end, ())}
    return open_model(recipe.model, **{k: v for k, v in options.items() if v != ""})


def start(recipe: DiagnoseRecipe, root: Path) -> Run:
    """The run folder of this diagnosis: made, or found again."""
    name = plugins.split_spec(recipe.source)[0]
    inputs = {"seed": recipe.seed, "model": weights_key(recipe.model.removeprefix("local:"))}
    return Run.open(root, "diagnose", name, recipe.model_dump(), inputs, unnamed=_UNNAMED)


def diagnose(recipe: DiagnoseRecipe, root: Path, *, tell: Tell = silent, model: Model | None = None) -> Run:
    """Run (or resume) the diagnosis; `readings.jsonl` in its folder holds the result.

    Raises CallgrainError where model or source cannot be opened; a single item that gets no
    reply is recorded as such and counted.
    """
    with start(recipe, root) as run:
        if not run.is_done:
            _work(recipe, run, tell, model)
    return run


def _work(recipe: DiagnoseRecipe, run: Run, tell: Tell, model: Model | None) -> None:
    """Every step that the run folder does not hold yet."""

    @cache
    def opened() -> Model:
        tell("opening the model", 0, 0)
        return model or open_recipe_model(recipe)

    probes = {name: probe_of(name) for name in _chosen(recipe.probe, plugins.names("probes"), "probe")}
    asked = _asked(recipe, run, probes, tell, opened)
    _reply(recipe, run, [s for _, _, s in asked], tell, opened)
    graded = _grade(run, asked, tell)
    write_readings(run, read_by(probes, graded, tell))
    failures = sum(g.reply.failure is not None for g in graded)
    run.finish({"samples": len(graded), "failures": failures, "set_aside": run.read("pool")["set_aside"]})


def readings(run: Run) -> list[Reading]:
    """The readings of a finished run."""
    return [Reading.model_validate(row) for row in run.rows("readings")]


def write_readings(run: Run, found: Sequence[Reading]) -> None:
    """Put the readings of a run in place as a whole."""
    run.replace_rows("readings", (r.model_dump(mode="json") for r in found))


def read_by(probes: Mapping[str, Probe], graded: Sequence[Graded], tell: Tell = silent) -> list[Reading]:
    """What each probe reads in what was graded."""
    found: list[Reading] = []
    for name, probe in probes.items():
        tell(f"reading {name}", 0, 0)
        found += probe.read(graded)
    return found


def probe_of(name: str) -> Probe:
    """The probe named `name`. Raises UnknownName."""
    return plugins.load("probes", name)()


def _chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    """Names out of a comma list, in reading order for sub-tasks. Raises UnknownName."""
    if text in ("all", ""):
        return [n for n in SUBTASKS if n in known] + [n for n in known if n not in SUBTASKS]
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in known:
            raise UnknownName(what, name, [*known, "all"])
    return names


def _asked(
    recipe: DiagnoseRecipe, run: Run, probes: dict[str, Probe], tell: Tell, opened: Callable[[], Model]
) -> list[tuple[str, str, Sample]]:
    """(probe, trace, sample) of everything that is asked; cut once, then read back from the run folder."""
    if not (run.folder / "pool.json").exists():
        source, split = open_source(recipe.source, split=recipe.split, strict=recipe.strict)
        subtasks = _chosen(recipe.subtask, plugins.names("subtasks"), "sub-task")
        opened()  # a model that is not there is said before minutes go into a pool for it
        rows = pool(source.traces(split), subtasks, recipe.n, recipe.seed, tell)
        aside: Quarantine = set_aside(source)
        if not rows:
            raise BadInput(f"{recipe.source} ({split}) has no sample for {recipe.subtask}", _hint(aside))
        cut = [("subtask", trace, sample) for trace, sample in rows]
        base = [sample for _, sample in rows]
        for name, probe in probes.items():
            if name != "subtask":
                rng = Random(text_key("probe", name, str(recipe.seed)))
                cut += [(name, "", sample) for sample in probe.samples(base, rng)]
        with run.journal("samples") as journal:
            journal.append(sample_row(*row) for row in cut)
        run.write("pool", {"split": split, "set_aside": aside.count, "set_aside_first": aside.first})
    rows = (row for row in run.rows("samples"))
    return [(row["probe"], row["trace"], Sample.model_validate(row["sample"])) for row in rows]


def _hint(aside: Quarantine) -> str:
    if aside.count:
        return f"{aside.count} lines could not be read, the first: {aside.first[0]}"
    return "try another split or other sub-tasks; `callgrain ls subtasks` says what each needs"


def _reply(recipe: DiagnoseRecipe, run: Run, samples: list[Sample], tell: Tell, opened: Callable[[], Model]) -> None:
    """Ask what has no reply yet, a chunk at a time.

    Requests that failed are written down last of all: a run that ends before asks them again.
    """
    with run.journal("replies") as journal:
        if journal.torn:
            run.log(f"cut off {journal.torn} bytes of an unfinished reply; it is asked again")
        owed = [s for s in samples if s.key not in journal.keys]
        if not owed:
            return
        model = opened()
        if recipe.constrain and not getattr(model, "can_constrain", False):
            raise BadInput(
                f"{model.name} cannot be held to a grammar",
                "leave --constrain out, or take a local model with llguidance installed",
            )
        if isinstance(model, Rehearses):
            model.rehearse([s for s in samples if "control" not in s.traits])
        sampling = Sampling(temperature=recipe.temperature, max_tokens=recipe.max_tokens, seed=recipe.seed)
        total, done = len(samples), len(samples) - len(owed)
        failed: list[dict[str, Any]] = []
        for piece in chunks(owed, CHUNK):
            tell("asking the model", done, total)
            replies = model.answer([_drawn(s.prompt, sampling, constrain=recipe.constrain) for s in piece])
            answered: list[dict[str, Any]] = []
            for sample, reply in zip(piece, replies, strict=True):
                (answered if reply.failure is None else failed).append(reply_row(sample, reply))
            journal.append(answered)
            done += len(piece)
        journal.append(failed)
        tell("asking the model", done, total)


def _drawn(prompt: Prompt, sampling: Sampling, *, constrain: bool) -> Prompt:
    asked = {"sampling": sampling, "constrain": constrain}
    return prompt if (prompt.sampling, prompt.constrain) == tuple(asked.values()) else prompt.model_copy(update=asked)


def _grade(run: Run, asked: list[tuple[str, str, Sample]], tell: Tell) -> list[Graded]:
    """Judge every reply; verdicts are derived, so they are written anew as a whole."""
    replies = {row["key"]: Reply.model_validate(row["reply"]) for row in run.rows("replies")}
    tasks = {name: subtask_of(name) for name in {s.subtask for _, _, s in asked}}
    graded: list[Graded] = []
    for index, (probe, trace, sample) in enumerate(asked):
        if index % 500 == 0:
            tell("grading", index, len(asked))
        reply = replies[sample.key]
        graded.append(Graded(sample, reply, judged(tasks[sample.subtask].grade, sample, reply), probe, trace))
    # Two tables, so that whoever counts or pairs the pool's verdicts cannot count a control's among them.
    run.replace_rows("verdicts", (verdict_row(g) for g in graded if g.probe == "subtask"))
    run.replace_rows("probe_verdicts", (verdict_row(g) for g in graded if g.probe != "subtask"))
    return graded


def judged(judge: Callable[[Sample, Reply], Verdict], sample: Sample, reply: Reply) -> Verdict:
    """What `judge` says of a reply; that it broke on it is a state of the verdict."""
    try:
        return judge(sample, reply)
    except Exception as error:
        return Verdict(state="grader_error", score=0.0, detail=f"{type(error).__name__}: {error}")


def sample_row(probe: str, trace: str, sample: Sample) -> dict[str, Any]:
    """A line of `samples.jsonl`."""
    return {"key": sample.key, "probe": probe, "trace": trace, "sample": sample.model_dump(mode="json")}


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
