"""The probe `capacity`: a law of loads, its limits, its error on held-out traces, and the card."""

from math import exp, log2
from pathlib import Path
from random import Random

import pytest
from benchmarks import _plants_capacity as plants
from benchmarks._planting import Planted, cut, pick

from callgrain.core.types import Reading
from callgrain.panels.capacity import Capacity as Panel
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._logistic import fitted, telling
from callgrain.probes.capacity import LOADS, Capacity, Law, Task, _limit, weights


def tasks(n: int, cost: float, seed: int = 0) -> list[Task]:
    """Tasks whose only load is the number of tools; half are right at 2 ** (3 / cost) - 1 tools."""
    rng = Random(seed)
    out: list[Task] = []
    for i in range(n):
        tools = float(2 ** rng.randrange(7))
        right = rng.random() < 1 / (1 + exp(-(3 - cost * log2(1 + tools))))
        out.append(Task(str(i), "names", (tools, 1.0, 2.0, 1.0, 0.0), right))
    return out


def test_a_law_of_one_load_has_its_limit_where_it_was_planted() -> None:
    made = tasks(4000, 1.0)
    law = Law.of(made)
    assert law.columns == (LOADS.index("tools"),)
    limit = _limit(law, 0)
    assert limit is not None
    assert limit == pytest.approx(7.0, rel=0.15)
    assert law.chance(made[0]) == pytest.approx(1 / (1 + exp(-(3 - log2(1 + made[0].loads[0])))), abs=0.05)
    rising = tasks(4000, -1.0)
    assert _limit(Law.of(rising), 0) is None
    with pytest.raises(ValueError, match="varies"):
        Law.of([t for t in made if t.loads[0] == 2.0])


def test_columns_that_tell_nothing_more_are_left_out() -> None:
    assert telling([[1.0, 2.0, 5.0, 0.0], [2.0, 4.0, 5.0, 1.0], [3.0, 6.0, 5.0, 0.0]]) == [0, 3]
    fit = fitted([[0.0], [1.0]] * 50, [False, True] * 50)
    assert fit.chance([1.0]) > 0.95
    assert fit.chance([0.0]) < 0.05


def test_loads_are_read_off_the_prompt() -> None:
    (sample,) = cut("toolworld:full", ("nest",), 1)
    tools, calls, arguments, depth, history = weights(sample)
    assert tools == len(sample.prompt.tools)
    assert calls == len(sample.answer.calls)
    assert arguments == max(len(c.arguments) for c in sample.answer.calls)
    assert depth == sample.traits["depth"]
    assert history == len(sample.prompt.messages) - 1


def test_a_planted_law_is_found_and_foretells_through_a_run(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(
        model="planted", source="toolworld:full", subtask="names,parallel,nest", probe="capacity,depth,subtask", n=40
    )
    run = diagnose(recipe, tmp_path, model=Planted(plants.chance))
    found = readings(run)
    error, skill, calls = pick(found, "error"), pick(found, "skill"), pick(found, "effect", load="calls")
    for row, truth in ((error, 0.0), (calls, plants.COSTS["calls"])):
        assert row is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= truth <= row.high
    assert skill is not None
    assert skill.low is not None
    assert skill.low > 0
    (run.folder / "done.json").unlink()
    assert readings(diagnose(recipe, tmp_path, model=Planted(plants.chance))) == found
    page = Panel().draw(found)
    assert page is not None
    assert "worth more than the average alone" in page


def test_a_law_of_nothing_is_worth_nothing_and_says_so(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(model="coin", source="toolworld:full", subtask="names,nest", probe="capacity,subtask", n=60)
    model = Planted(lambda _: 0.5)
    model.name = "coin"
    found = readings(diagnose(recipe, tmp_path, model=model))
    skill = pick(found, "skill")
    assert skill is not None
    assert skill.low is not None
    assert skill.low <= 0
    page = Panel().draw(found)
    assert page is not None
    assert "is not shown" in page


def test_few_prompts_and_all_right_ones_give_no_law() -> None:
    assert Capacity().read([]) == []
    assert list(Capacity().samples([], Random(0))) == []
    assert Panel().draw([]) is None


def test_the_card_gathers_other_limits_and_keeps_names_inert() -> None:
    rows = [
        Reading(probe="capacity", name="limit", value=None, n=90, by={"load": "tools", "beyond": 4096.0}),
        Reading(probe="density", name="D50", value=17.0, low=12.0, high=20.0, n=90, by={"axis": "<b>tools"}),
        Reading(probe="reliability", name="pass_hat", value=0.4, low=0.3, high=0.5, n=90, by={"k": 4}),
    ]
    page = Panel().draw(rows)
    assert page is not None
    assert "beyond 4096" in page
    assert "right 4 times out of 4" in page
    assert "<b>tools" not in page
