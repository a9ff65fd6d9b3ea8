"""The diagnosis under the probes: rounds, tiers, what weights are asked, costs, and one reply for one question."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from callgrain.core import plugins
from callgrain.core.progress import silent
from callgrain.core.protocols import Examines, Follows
from callgrain.core.types import Message, Prompt, Reading, Reply, Sample, Sampling
from callgrain.probes import _diagnose
from callgrain.probes._asking import Question
from callgrain.probes._diagnose import DiagnoseRecipe, chosen_probes, diagnose, readings, standard
from callgrain.probes._graded import Graded, reading
from callgrain.probes._pool import Abilities, Pool


class Chain:
    """Asks each sample of the pool again, up to a fourth time, as long as the last reply was short."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        del rng
        for sample in pool:
            yield link(sample, sample.key, 1)

    def follow(self, graded: Sequence[Graded]) -> Iterator[Sample]:
        for item in graded:
            if item.probe == "chain_probe" and item.sample.traits["link"] < 4 and len(item.reply.text) < 3:
                yield link(item.sample, str(item.sample.traits["of"]), int(item.sample.traits["link"]) + 1)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        links = [float(g.sample.traits["link"]) for g in graded if g.probe == "chain_probe"]
        return [reading("chain_probe", "longest", (max(links), None, None), len(links))]


class Weigher:
    """Two rows from the model itself."""

    needs = "weights"

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        del rng
        yield link(pool[0], pool[0].key, 9)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        return [reading("weigher", "asked", (float(sum(g.probe == "weigher" for g in graded)), None, None), 1)]

    def examine(
        self, model: Any, pool: Sequence[Sample], known: Sequence[Mapping[str, Any]], tell: Any
    ) -> Iterator[dict[str, Any]]:
        del tell
        there = {row["key"] for row in known}
        for key in ("a", "b"):
            if key not in there:
                model.weighed += 1
                yield {"key": key, "value": len(pool)}

    def conclude(self, rows: Sequence[Mapping[str, Any]]) -> list[Reading]:
        return [reading("weigher", "rows", (float(sum(r["value"] for r in rows)), None, None), len(rows))]


class Terse:
    """Says `no` to everything; stops dead at the n-th batch where it is told to."""

    name = "terse"

    def __init__(self, tier: str = "text", dies_at: int = 0) -> None:
        self.tier, self.dies_at = tier, dies_at
        self.asked: list[Prompt] = []
        self.batches = self.weighed = 0

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        self.batches += 1
        if self.batches == self.dies_at:
            raise KeyboardInterrupt
        self.asked += prompts
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        return [Reply(text="no", message=Message(text="no"), usage=usage) for _ in prompts]


def link(sample: Sample, of: str, number: int) -> Sample:
    prompt = sample.prompt.model_copy(update={"sampling": Sampling(temperature=0.5, seed=number)})
    return sample.model_copy(update={"prompt": prompt, "traits": {"of": of, "link": number}})


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two probes of this file beside the built-in ones."""
    own = {"chain_probe": Chain, "weigher": Weigher}
    real = _diagnose.probe_of
    monkeypatch.setattr(_diagnose, "probe_of", lambda name: own[name]() if name in own else real(name))
    monkeypatch.setattr(_diagnose, "chosen_probes", lambda text: text.split(","))


def recipe(**more: Any) -> DiagnoseRecipe:
    given = {"model": "terse", "source": "toolworld:micro", "subtask": "names", "probe": "subtask,chain_probe", "n": 5}
    return DiagnoseRecipe.resolve({**given, **more})


@pytest.mark.usefixtures("probes")
def test_rounds_go_on_until_nothing_follows_and_each_question_keeps_its_trace(tmp_path: Path) -> None:
    assert isinstance(Chain(), Follows)
    model = Terse()
    run = diagnose(recipe(), tmp_path, model=model)
    assert len(model.asked) == 5 * 5
    assert [r.value for r in readings(run) if r.probe == "chain_probe"] == [4.0]
    questions = [Question.read(row) for row in run.rows("samples")]
    traces = {q.sample.key: q.trace for q in questions if q.probe == "subtask"}
    assert all(q.trace == traces[str(q.sample.traits["of"])] for q in questions if q.probe != "subtask")
    drawn = [(p.sampling.temperature, p.sampling.seed) for p in model.asked]
    assert drawn == [(0.0, 0)] * 5 + [(0.5, k) for k in range(1, 5) for _ in range(5)]
    assert {p.sampling.max_tokens for p in model.asked} == {256}


@pytest.mark.usefixtures("probes")
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 5])
def test_a_run_killed_in_any_round_ends_as_if_it_had_not_been(tmp_path: Path, dies_at: int) -> None:
    whole = readings(diagnose(recipe(), tmp_path / "whole", model=Terse()))
    with pytest.raises(KeyboardInterrupt):
        diagnose(recipe(), tmp_path / "killed", model=Terse(dies_at=dies_at))
    again = Terse()
    assert readings(diagnose(recipe(), tmp_path / "killed", model=again)) == whole
    assert len(again.asked) == 25 - 5 * (dies_at - 1)


@pytest.mark.usefixtures("probes")
def test_a_probe_beyond_the_models_tier_says_so_and_asks_nothing(tmp_path: Path) -> None:
    text = Terse()
    found = readings(diagnose(recipe(probe="subtask,weigher"), tmp_path / "text", model=text))
    assert text.weighed == 0
    assert not [r for r in found if r.probe == "weigher"]
    (tier,) = [r for r in found if r.probe == "tier"]
    assert (tier.name, tier.value, tier.by) == ("weigher", None, {"needs": "weights", "has": "text"})
    assert len(text.asked) == 5
    able = Terse("weights")
    found = readings(diagnose(recipe(probe="subtask,weigher"), tmp_path / "weights", model=able))
    assert isinstance(Weigher(), Examines)
    assert able.weighed == 2
    assert [(r.name, r.value) for r in found if r.probe == "weigher"] == [("asked", 1.0), ("rows", 10.0)]
    assert [r.value for r in found if r.probe == "tier"] == [1.0]


@pytest.mark.usefixtures("probes")
def test_rows_from_inside_a_model_are_not_made_again(tmp_path: Path) -> None:
    first = Terse("weights")
    run = diagnose(recipe(probe="subtask,weigher"), tmp_path, model=first)
    (run.folder / "done.json").unlink()
    again = Terse("weights")
    assert readings(diagnose(recipe(probe="subtask,weigher"), tmp_path, model=again)) == readings(run)
    assert (again.weighed, again.asked) == (0, [])


@pytest.mark.usefixtures("probes")
def test_costs_are_counted_by_who_asked(tmp_path: Path) -> None:
    run = diagnose(recipe(), tmp_path, model=Terse())
    cost = {(r.name, r.by["of"]): r.value for r in readings(run) if r.probe == "cost"}
    assert cost["prompts", "subtask"] == 5
    assert cost["prompts", "chain_probe"] == 20
    assert cost["prompt_tokens", "chain_probe"] == 200
    assert cost["completion_tokens", "subtask"] == 10
    assert sorted(run.read("done")["seconds"]) == ["chain_probe", "subtask"]


def test_standard_stands_for_several_and_unknown_probes_are_named() -> None:
    assert chosen_probes("standard") == list(standard())
    assert chosen_probes("") == list(standard())
    assert set(standard()) == {"subtask", "controls", "faults", "form", "grader", "weakness"}
    assert chosen_probes("faults,standard") == sorted(standard())
    assert set(chosen_probes("all")) == set(plugins.names("probes"))
    with pytest.raises(Exception, match="fault"):
        chosen_probes("fault")


def test_abilities_are_what_the_model_says_of_itself() -> None:
    assert Abilities.of(Terse("scores")) == Abilities("scores", can_constrain=False)
    assert Abilities("scores").reach("text")
    assert not Abilities("scores").reach("weights")
    pool = Pool(()).for_model(Terse("weights"))
    assert (len(pool), pool.abilities.tier) == (0, "weights")
    assert silent("nothing", 0, 0) is None
