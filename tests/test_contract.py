"""The two keystones, held over every plug-in that is found: spoil against verify, and the protocols."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from callgrain.core import plugins
from callgrain.core.canonical import canonical, content_key, dumps, text_key
from callgrain.core.protocols import Dialect, Model, Probe, Source, SubTask
from callgrain.core.types import Answer, Call, Message, Prompt, Reply, Sample, Sampling, Trace
from callgrain.probes._unskilled import Majority, unskilled
from callgrain.sources._open import open_source
from callgrain.verify.faults import KINDS, LEVELS, TABLE, by_level, fault
from callgrain.verify.spoil import kinds_on, right, spoil
from cases import CASES, PUBLISHED

METHODS = {
    "dialects": ("turns", "render", "write", "parse", "stream"),
    "compat": ("judge",),
    "records": ("fits", "read"),
    "models": ("answer",),
    "sources": ("traces",),
    "subtasks": ("samples", "grade"),
    "probes": ("samples", "read"),
    "panels": ("draw",),
    "retrievers": ("rank",),
}
OPENED = {"sources": {"toolworld": ("micro", Source)}, "models": {"scripted": ("wrong_value=0.1", Model)}}
MANY = {"bfcl": 120, "sgd": 90, "gsm8k": 45}
"""Traces of the published sets that the table was first held against; every other set lends FEW."""
FEW = 20
BUILT_IN = {"toolworld:full": 140, "toolworld:micro": 100}
TASKS: dict[str, SubTask] = {name: plugins.load("subtasks", name)() for name in plugins.names("subtasks")}


# every plug-in -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [f for f in plugins.FAMILIES if f != "train"])
def test_every_plugin_has_a_caption_and_its_methods(family: str) -> None:
    names = plugins.names(family)
    assert names
    for name in names:
        caption = plugins.caption(family, name)
        assert 0 < len(caption) <= 70, (name, caption)
        plugin = plugins.load(family, name)
        assert callable(plugin), name
        for method in METHODS.get(family, ()):
            assert callable(getattr(plugin, method, None)), (name, method)


def test_what_can_be_opened_without_files_fulfils_its_protocol() -> None:
    for task in TASKS.values():
        assert isinstance(task, SubTask)
        assert task.kinds <= frozenset(KINDS)
        assert all(task.measures.values())
    for name in plugins.names("probes"):
        assert isinstance(plugins.load("probes", name)(), Probe)
    for name in ("json", "compact"):
        dialect = plugins.load("dialects", name)()
        assert isinstance(dialect, Dialect)
        assert dialect.end
    for family, opened in OPENED.items():
        for name, (rest, protocol) in opened.items():
            assert isinstance(plugins.load(family, name)(rest), protocol)


def test_the_table_is_closed_and_in_the_order_of_its_levels() -> None:
    levels = [TABLE[kind].level for kind in KINDS]
    assert sorted(levels, key=LEVELS.index) == levels
    assert set(levels) == set(LEVELS)
    assert all(kind.caption for kind in TABLE.values())
    with pytest.raises(KeyError):
        fault("clumsy")
    mixed = [fault("wrong_nesting", "b"), fault("missed_call"), fault("wrong_value", "c"), fault("wrong_value", "a")]
    assert [f.kind for f in by_level(mixed)] == ["missed_call", "wrong_value", "wrong_value", "wrong_nesting"]
    assert by_level(mixed) == by_level(mixed[::-1])


# spoil against verify ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(request: pytest.FixtureRequest) -> dict[str, list[Sample]]:
    """Samples of every sub-task by source; the public ones where they are."""
    specs = dict(BUILT_IN)
    data: Path | None = None
    with contextlib.suppress(pytest.skip.Exception):
        data = request.getfixturevalue("shared_data")
    if data is not None:
        specs |= {CASES[name].published(data): MANY.get(name, FEW) for name in PUBLISHED}
    return {spec: list(_samples(_traces(spec, n))) for spec, n in specs.items()}


def _traces(spec: str, n: int) -> list[Trace]:
    source, split = open_source(spec)
    found = list(itertools.islice(source.traces(split), 4 * n))
    return Random(0).sample(found, min(n, len(found)))


def _samples(traces: Sequence[Trace]) -> Iterator[Sample]:
    for trace in traces:
        for name, task in TASKS.items():
            yield from task.samples(trace, Random(text_key("contract", name, trace.key)))


def test_the_right_reply_is_right_on_every_sample(drawn: dict[str, list[Sample]]) -> None:
    rejected = []
    for spec, samples in drawn.items():
        assert len(samples) >= FEW, spec
        for sample in samples:
            verdict = TASKS[sample.subtask].grade(sample, right(sample))
            if not verdict.ok or verdict.score != 1:
                rejected.append((spec, sample.subtask, sample.origin.row, verdict.faults))
    assert not rejected, (len(rejected), rejected[:3])
    assert {s.subtask for samples in drawn.values() for s in samples} == set(TASKS)


def test_a_samples_spelling_is_joined_from_its_parts_to_the_letter(drawn: dict[str, list[Sample]]) -> None:
    for samples in drawn.values():
        for sample in samples[::3]:
            whole = sample.model_dump(mode="json")
            assert sample.spelt() == canonical(whole)
            assert sample.key == content_key(whole)
            assert sample.prompt.brief() == dumps(sample.prompt.model_dump(mode="json", exclude_defaults=True))
            assert Sample.model_validate_json(sample.model_dump_json()) == sample
    odd = Prompt(messages=(Message(role="user", text="é\u2028"),), constrain=True, sampling=Sampling(seed=3))
    assert odd.spelt() == canonical(odd.model_dump(mode="json"))
    assert odd.brief() == dumps(odd.model_dump(mode="json", exclude_defaults=True))


def test_a_spoiled_answer_is_blamed_for_what_was_spoiled(drawn: dict[str, list[Sample]]) -> None:
    made: Counter[tuple[str, str]] = Counter()
    astray = []
    for spec, samples in drawn.items():
        for sample in samples:
            task = TASKS[sample.subtask]
            for kind in KINDS:
                rng = Random(text_key(kind, sample.key))
                reply = spoil(kind, sample, rng)
                if reply is None:
                    continue
                verdict = task.grade(sample, reply)
                first = verdict.first.kind if verdict.first else ""
                if kind in task.kinds:
                    made[sample.subtask, kind] += 1
                    if first != kind or verdict.ok or verdict.score >= 1:
                        astray.append((spec, sample.subtask, sample.origin.row, kind, first))
                elif first and first not in task.kinds:
                    astray.append((spec, sample.subtask, sample.origin.row, kind, first))
    assert not astray, (len(astray), astray[:5])
    covered = Counter[str]()
    for (_, kind), count in made.items():
        covered[kind] += count
    assert {kind: covered[kind] for kind in KINDS if covered[kind] < 12} == {}
    assert made.total() > 10_000


def test_every_first_fault_stands_among_the_kinds_of_its_subtask(drawn: dict[str, list[Sample]]) -> None:
    """Replies that were not made on purpose: other samples' answers, and those of the unskilled controls."""
    strange = set()
    for samples in drawn.values():
        majority = Majority([s.answer for s in samples])
        for sample, other in zip(samples, samples[7:] + samples[:7], strict=True):
            task = TASKS[sample.subtask]
            counts = majority.without(sample.answer)
            replies = [
                unskilled(c, sample.subtask, sample.prompt, counts, Random(1))
                for c in ("random", "majority", "lexical")
            ]
            replies += [right(other), Reply(text="[{", fault=fault("truncated", "", None, "[{"))]
            replies += [_knotted(sample), _doubled(sample)]
            for reply in replies:
                verdict = task.grade(sample, reply)
                assert verdict.state == "graded"
                assert verdict.ok == (verdict.score == 1)
                if verdict.first and verdict.first.kind not in task.kinds:
                    strange.add((sample.subtask, verdict.first.kind))
    assert not strange


def _knotted(sample: Sample) -> Reply:
    """Every argument a reference to the call itself."""
    calls = [c.model_copy(update={"label": "k", "arguments": dict.fromkeys(c.arguments, "$k$")}) for c in _made(sample)]
    return Reply(message=Message(calls=tuple(calls)))


def _doubled(sample: Sample) -> Reply:
    """The first call in the place of every one."""
    return Reply(message=Message(calls=_made(sample)[:1] * len(_made(sample))))


def _made(sample: Sample) -> tuple[Call, ...]:
    return sample.answer.calls or (Call(name="nothing", arguments={"x": 1}),)


def test_a_back_end_that_gave_nothing_is_no_answer_at_all() -> None:
    source, split = open_source("toolworld:micro")
    for trace in itertools.islice(source.traces(split), 40):
        for name, task in TASKS.items():
            for sample in task.samples(trace, Random(0)):
                assert task.grade(sample, Reply(failure="timed out")).state == "not_applicable", name
                assert task.grade(sample, Reply()).state == "grader_error", name


def test_what_can_be_spoiled_does_not_hang_on_the_generator(drawn: dict[str, list[Sample]]) -> None:
    """The denominator of a rate (`kinds_on`) must be what the scripted model can make."""
    for samples in drawn.values():
        for sample in samples[::9]:
            able = set(kinds_on(sample, KINDS))
            for seed in (1, 2):
                again = {kind for kind in KINDS if spoil(kind, sample, Random(seed)) is not None}
                assert again == able, (sample.origin, again ^ able)


def test_spoiling_twice_with_one_seed_gives_one_reply(drawn: dict[str, list[Sample]]) -> None:
    samples = drawn["toolworld:full"][:60]
    for sample, kind in itertools.product(samples, KINDS):
        assert spoil(kind, sample, Random(3)) == spoil(kind, sample, Random(3))


def test_an_answer_without_calls_cannot_have_a_wrong_argument() -> None:
    source, split = open_source("toolworld:micro")
    trace = next(t for t in source.traces(split) if t.gold.decision == "decline")
    sample = next(iter(TASKS["decide"].samples(trace, Random(0))))
    assert sample.answer == Answer(decision="decline", text=sample.answer.text, facts=sample.answer.facts)
    assert set(kinds_on(sample, KINDS)) == {"needless_call", "needless_question", "needless_answer"}
