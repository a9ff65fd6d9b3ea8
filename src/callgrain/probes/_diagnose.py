"""The diagnosis: a pool is asked, graded and read; every step lands in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Examines, Follows, Model, Probe, Tier
from callgrain.core.recipe import Recipe
from callgrain.core.rows import Quarantine
from callgrain.core.store import Run
from callgrain.core.types import Reading, Sample, Sampling
from callgrain.models._open import open_model, weights_key
from callgrain.probes._asking import Asking, Question, costs, grade, seconds, write_verdicts
from callgrain.probes._graded import SUBTASKS, Graded, reading
from callgrain.probes._pool import Abilities, Pool, draw
from callgrain.sources._open import open_source, set_aside

MOST_ROUNDS = 64
"""Most rounds in which probes ask again: a bound on a probe that never has enough."""
STANDARD, ALL = "standard", "all"
"""Sets of probes that can be named as one."""


class DiagnoseRecipe(Recipe):
    """Settings of a diagnosis."""

    model: str = Field(description="MODEL: scripted:KIND=RATE | local:FOLDER_OR_HUB_ID | remote:NAME@URL")
    source: str = Field(
        default="toolworld:full", description="SOURCE: toolworld[:micro] | bfcl:FOLDER | sgd:FOLDER | jsonl:FILE ..."
    )
    split: str = Field(default="", description="split of the source; empty takes its test (or dev, or train) split")
    subtask: str = Field(default="all", description="sub-tasks, separated by commas, or all")
    probe: str = Field(
        default="standard",
        description="probes, separated by commas; standard: scores, faults, controls, the grader; all: the whole suite",
    )
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

    chosen = {name: probe_of(name) for name in chosen_probes(recipe.probe)}
    asked = _asked(recipe, run, chosen, tell, opened)
    cut = run.read("pool")
    able = Abilities(cut["tier"], cut["can_constrain"])
    probes = _runnable(chosen, able)
    sampling = Sampling(temperature=recipe.temperature, max_tokens=recipe.max_tokens, seed=recipe.seed)
    graded = _rounds(Asking(run, sampling, recipe.constrain, tell, opened), probes, asked)
    write_verdicts(run, graded)
    found = [*read_by(probes, graded, tell), *_examined(run, probes, asked, tell, opened)]
    write_readings(run, [*found, *_tiers(chosen, able), *costs(graded)])
    pool, more = ([g for g in graded if (g.probe == "subtask") is own] for own in (True, False))
    failures = {
        "failures": sum(g.reply.failure is not None for g in pool),
        "probe_failures": sum(g.reply.failure is not None for g in more),  # a probe may ask more than a window holds
    }
    counts = {"samples": len(graded), "pool": len(pool), **failures, "set_aside": cut["set_aside"]}
    run.finish({**counts, "seconds": seconds(run)})


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


@cache
def standard() -> tuple[str, ...]:
    """Probes of every diagnosis that names none."""
    return tuple(name for name in plugins.names("probes") if getattr(plugins.load("probes", name), "standard", False))


def chosen_probes(text: str) -> list[str]:
    """Names of probes: a comma list, in which `standard` stands for several, or `all`. Raises UnknownName."""
    parts = [part.strip() for part in text.split(",")] or [STANDARD]
    wanted = [name for part in parts for name in (standard() if part in (STANDARD, "") else (part,))]
    known = plugins.names("probes")
    found = list(dict.fromkeys(wanted)) if ALL not in wanted else list(known)
    for name in found:
        if name not in known:
            raise UnknownName("probe", name, [*known, STANDARD, ALL])
    return sorted(found, key=lambda name: (name not in standard(), name))


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
    recipe: DiagnoseRecipe, run: Run, probes: Mapping[str, Probe], tell: Tell, opened: Callable[[], Model]
) -> list[Question]:
    """Everything that is asked at first; cut once, then read back from the run folder, with later rounds behind it."""
    if not (run.folder / "pool.json").exists():
        source, split = open_source(recipe.source, split=recipe.split, strict=recipe.strict)
        subtasks = _chosen(recipe.subtask, plugins.names("subtasks"), "sub-task")
        model = opened()  # a model that is not there is said before minutes go into a pool for it
        pool = draw(source.traces(split), subtasks, recipe.n, recipe.seed, tell).for_model(model)
        aside: Quarantine = set_aside(source)
        if not pool.rows:
            raise BadInput(f"{recipe.source} ({split}) has no sample for {recipe.subtask}", _hint(aside))
        behind = {sample.key: trace for trace, sample in pool.rows}
        cut = [Question("subtask", trace, sample) for trace, sample in pool.rows]
        for name, probe in _runnable(probes, pool.abilities).items():
            if name != "subtask":
                tell(f"cutting for {name}", 0, 0)
                rng = Random(text_key("probe", name, str(recipe.seed)))
                cut += [_question(name, sample, behind) for sample in probe.samples(pool, rng)]
        with run.journal("samples") as journal:
            journal.append(question.row() for question in cut)
        able = {"tier": pool.abilities.tier, "can_constrain": pool.abilities.can_constrain}
        run.write("pool", {"split": split, "set_aside": aside.count, "set_aside_first": aside.first, **able})
    return [Question.read(row) for row in run.rows("samples")]


def _question(probe: str, sample: Sample, behind: Mapping[str, str]) -> Question:
    """What a probe asks, with the trace of the pool's sample that it is made from."""
    return Question(probe, behind.get(str(sample.traits.get("of", "")), ""), sample)


def _rounds(asking: Asking, probes: Mapping[str, Probe], asked: list[Question]) -> list[Graded]:
    """Ask, judge, and ask again what follows from it, until nothing follows."""
    following = {name: probe for name, probe in probes.items() if isinstance(probe, Follows)}
    graded: list[Graded] = []
    for number in range(MOST_ROUNDS):
        asking.ask(asked)
        graded += grade(asking.run, asked[len(graded) :], asking.tell)
        behind = {g.sample.key: g.trace for g in graded if g.trace}
        known = {question.key for question in asked}
        more: dict[str, Question] = {}
        for name, probe in following.items():
            asking.tell(f"round {number + 2} of {name}", 0, 0)
            for sample in probe.follow(graded):
                question = _question(name, sample, behind)
                if question.key not in known:
                    more[question.key] = question
        if not more:
            break
        with asking.run.journal("samples") as journal:
            journal.append(question.row() for question in more.values())
        asked += more.values()
    return graded


def _examined(
    run: Run, probes: Mapping[str, Probe], asked: Sequence[Question], tell: Tell, opened: Callable[[], Model]
) -> list[Reading]:
    """What probes find that look into the model itself; rows that are there are not made again."""
    found: list[Reading] = []
    pool = Pool(tuple((q.trace, q.sample) for q in asked if q.probe == "subtask"))
    for name, probe in probes.items():
        if not isinstance(probe, Examines):
            continue
        with run.journal(f"examined_{name}") as journal:
            known = list(journal.rows())
            for row in probe.examine(opened(), pool, known, tell):
                journal.append([row])
            found += probe.conclude(list(journal.rows()))
    return found


def _runnable(probes: Mapping[str, Probe], able: Abilities) -> dict[str, Probe]:
    """The probes that this model can be held to."""
    return {name: probe for name, probe in probes.items() if able.reach(needs(probe))}


def needs(probe: Probe) -> Tier:
    """The tier without which a probe does not run."""
    return getattr(probe, "needs", "text")


def _tiers(probes: Mapping[str, Probe], able: Abilities) -> list[Reading]:
    """Readings `tier/<probe>`: 1 where it ran, no value where the model lacks what it needs."""
    return [
        reading("tier", name, (1.0 if able.reach(needs(p)) else None, None, None), 0, needs=needs(p), has=able.tier)
        for name, p in probes.items()
        if name not in standard()
    ]


def _hint(aside: Quarantine) -> str:
    if aside.count:
        return f"{aside.count} lines could not be read, the first: {aside.first[0]}"
    return "try another split or other sub-tasks; `callgrain ls subtasks` says what each needs"
