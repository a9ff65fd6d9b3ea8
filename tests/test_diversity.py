"""The probe `diversity`: dialects, skeletons and meanings of repeated draws, by hand and through a run."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from benchmarks import _plants_diversity as plants
from benchmarks._planting import Planted, cut, pick, put, questions

from callgrain.core.types import Call, Reading
from callgrain.panels.diversity import Diversity as Panel
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes.diversity import DRAWS, MOST, Diversity, Drawn, _entropy, _meaning, _variety


def drawn(*kinds: str) -> list[Drawn]:
    """Draws of one prompt: a letter is a meaning, upper case is right, `!` is invalid."""
    return [
        Drawn("p", "t", "json", 1.0, k[0].isupper(), "!" not in k, skeleton=k[0].lower(), meaning=k[0].lower())
        for k in kinds
    ]


def figures(*groups: list[Drawn]) -> dict[str, float | None]:
    return {r.name: r.value for r in _variety(groups)}


def test_variety_by_hand() -> None:
    found = figures(drawn("A", "A", "b", "c!"))
    assert found["skeletons"] == 3 / 4
    assert found["valid"] == 3 / 4
    assert found["effective"] == 2 / 6  # (A, b) twice; c is not valid
    assert found["different"] == 2 / 3
    assert found["right_different"] == 0
    assert found["wrong_plans"] == 1.0
    same = figures(drawn(*["A"] * DRAWS))
    assert (same["effective"], same["skeletons"]) == (0, 1 / DRAWS)
    assert "wrong_plans" not in same
    two_plans = figures(drawn("A", "B"))
    assert (two_plans["right_different"], two_plans["different"]) == (1.0, 1.0)


def test_entropy_is_of_calling_replies_alone() -> None:
    groups = [[Drawn("p", "t", name, 0, False, True, "", "") for name in ("json", "compact", "text", "broken")]]
    assert _entropy(groups) == pytest.approx(0.6931, abs=1e-4)
    assert _entropy([[d for d in groups[0] if d.dialect == "text"]]) is None


def test_calls_that_do_not_run_mean_the_same_in_any_order() -> None:
    a, b = Call(name="f", arguments={"x": 1, "y": 2}, label="a"), Call(name="g")
    turned = Call(name="f", arguments={"y": 2, "x": 1}, label="other")
    assert _meaning([a, b], "") == _meaning([b, turned], "")
    assert _meaning([a], "") != _meaning([Call(name="f", arguments={"x": "1", "y": 2})], "")


def test_different_calls_with_the_same_result_mean_the_same_where_tools_run() -> None:
    pool = cut("toolworld:full", ("nest",), 5)
    sample = pool[0]
    calls = sample.answer.calls
    relabelled = [c.model_copy(update={"label": c.label}) for c in reversed(calls) if not c.references]
    assert _meaning(calls, sample.answer.world) == _meaning(calls, sample.answer.world)
    if relabelled:
        assert _meaning(relabelled[:1], sample.answer.world) != _meaning(calls, sample.answer.world)


def test_planted_shares_and_accuracies_are_found_through_a_run(tmp_path: Path) -> None:
    model: Any = plants.Bilingual(0.3, {"compact": 0.9, "json": 0.5})
    recipe = DiagnoseRecipe(model="bilingual", source="toolworld:full", subtask="slots", probe="diversity", n=30)
    model.name = "bilingual"
    found = readings(diagnose(recipe, tmp_path, model=model))
    own = [r for r in found if r.probe == "diversity"]
    share = pick(own, "share", dialect="compact")
    assert share is not None
    assert share.low is not None
    assert share.high is not None
    assert share.low <= 0.3 <= share.high
    assert share.n == 30 * DRAWS
    compact, plain = pick(own, "ok", dialect="compact"), pick(own, "ok", dialect="json")
    assert compact
    assert plain
    assert (compact.low or 0) > (plain.high or 1)
    ahead = pick(own, "forecast", dialect="compact", beta=0.1)
    assert ahead
    assert (ahead.value or 0) > (share.value or 1)
    (run,) = (tmp_path / "diagnose").iterdir()
    (run / "done.json").unlink()
    assert readings(diagnose(recipe, tmp_path, model=model)) == found


def test_a_bounded_number_is_asked_and_nothing_where_there_are_no_tools() -> None:
    pool = cut("toolworld:full", ("slots", "names", "parallel"), 30)
    asked = questions(Diversity(), "diversity", pool)[len(pool) :]
    assert len(asked) == MOST * DRAWS
    assert len({s.key for _, _, s in asked}) == MOST * DRAWS
    assert all(trace for _, trace, _ in asked)
    assert {s.subtask for _, _, s in asked} == {"slots", "names", "parallel"}
    bare = [s.model_copy(update={"prompt": s.prompt.model_copy(update={"tools": ()})}) for s in pool]
    assert list(Diversity().samples(bare, Random(0))) == []
    assert Diversity().read([]) == []


def test_the_panel_says_what_is_spoken_and_keeps_names_inert() -> None:
    pool = cut("toolworld:full", ("slots",), 10)
    found = Diversity().read(put(Planted(lambda _: 1.0), questions(Diversity(), "diversity", pool)))
    page = Panel().draw(found)
    assert page is not None
    assert "one dialect only" in page
    assert "both valid and different in effect" in page
    hostile: Sequence[Reading] = [
        Reading(probe="diversity", name="share", value=1.0, low=0.9, high=1.0, n=3, by={"dialect": "<script>\x1b"})
    ]
    drawn_page = Panel().draw(hostile)
    assert drawn_page is not None
    assert "<script>" not in drawn_page
    assert "⟨U+001B⟩" in drawn_page
    assert Panel().draw([]) is None
