"""The probe `depth`: a grid of shapes, the ledger of each call by hand, effects, and what is not composed."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from benchmarks import _plants_depth as plants
from benchmarks._planting import Planted, cut, pick, put, questions, simulate

from callgrain.core import plugins
from callgrain.core.types import Answer, Call, Reading
from callgrain.panels.depth import Depth as Panel
from callgrain.probes._depth_ledger import Entry, ledger
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._logistic import effects
from callgrain.probes.depth import EACH, Depth, factor, grid
from callgrain.tools._execute import shape
from callgrain.verify.spoil import right

WORLD = plugins.opened("sources", "toolworld:full")


def chain() -> tuple[Answer, tuple]:
    """A composition of depth 3: a feeds b feeds c."""
    trace = WORLD.composed(((), (0,), (1,)), 0, seen=True)
    assert trace is not None
    return trace.gold, trace.tools


def states(given: tuple[Call, ...]) -> list[str]:
    gold, tools = chain()
    return [entry.state for entry in ledger(gold, tools, given).entries]


def changed(call: Call, **arguments: object) -> Call:
    return call.model_copy(update={"arguments": {**call.arguments, **arguments}})


def fed(call: Call) -> str:
    """The parameter that an earlier result feeds."""
    return next(name for name, value in call.arguments.items() if "$" in str(value))


def test_the_grid_varies_each_factor_on_its_own() -> None:
    seen = Counter()
    for cell in grid():
        trace = WORLD.composed(cell, 1, seen=False)
        if trace is not None:
            found = shape(trace.gold.calls)
            seen[found["depth"], found["width"], found["fan_in"]] += 1
    assert len(seen) >= 16
    assert max(seen.values()) == 1
    assert {d for d, _, _ in seen} == {2, 3, 4}
    assert {w for _, w, _ in seen} == {1, 2, 3}
    assert {f for _, w, f in seen if w == 3} == {1, 2, 3}


def test_edges_are_seen_or_never_seen() -> None:
    world = WORLD.world
    for number in range(6):
        for side in (True, False):
            trace = WORLD.composed(((), (), (0, 1), (2,)), number, seen=side)
            if trace is None:
                continue
            at = {c.label: c.name for c in trace.gold.calls}
            for call in trace.gold.calls:
                for name, value in call.arguments.items():
                    one = Call(name="x", arguments={"v": value})
                    assert all(world.seen_edge(at[ref.label], call.name, name) is side for ref in one.references)
    assert WORLD.composed(((), (0,)), 0, seen=True) == WORLD.composed(((), (0,)), 0, seen=True)
    assert WORLD.composed(((), (0,)), 0, seen=True) != WORLD.composed(((), (0,)), 1, seen=True)


def test_the_ledger_by_hand() -> None:
    gold, tools = chain()
    a, b, c = gold.calls
    assert states((a, b, c)) == ["correct"] * 3
    bad = changed(a, **{next(iter(a.arguments), "no_such"): "no such value"})
    assert states((bad, b, c)) == ["local", "propagation", "propagation"]
    lost = changed(b, **{fed(b): "no such value"})
    assert states((a, lost, c)) == ["correct", "local", "propagation"]
    healed = b.model_copy(update={"arguments": dict(b.arguments)})
    value = _value_fed(a, b)
    assert states((bad, changed(healed, **{fed(b): value}), c)) == ["local", "restoration", "correct"]
    assert states((a, b)) == ["correct", "correct", "omitted"]
    assert states(()) == ["omitted"] * 3
    assert ledger(gold, tools, ()).entries == (Entry(1, "omitted"), Entry(2, "omitted"), Entry(3, "omitted"))
    twice = ledger(gold, tools, (a, b, c, a.model_copy(update={"label": "z"})))
    assert [e.state for e in twice.entries] == ["correct"] * 3
    assert twice.extra == 1


def _value_fed(a: Call, b: Call) -> object:
    """What the right result of `a` would give to `b`."""
    from callgrain.tools._catalogue import open_world
    from callgrain.tools._execute import execute, resolved

    gold, _ = chain()
    made = execute((a,), open_world(gold.world))
    return resolved(b, {str(a.label): made[0]}).arguments[fed(b)]


def test_labels_and_order_do_not_matter_to_the_ledger() -> None:
    trace = WORLD.composed(((), (), (0, 1)), 2, seen=True)
    assert trace is not None
    a, b, c = trace.gold.calls
    assert [e.state for e in ledger(trace.gold, trace.tools, (b, a, c)).entries] == ["correct"] * 3
    assert [e.level for e in ledger(trace.gold, trace.tools, (a, b, c)).entries] == [1, 1, 2]


def test_a_right_answer_is_right_and_has_a_clean_ledger() -> None:
    pool = cut("toolworld:full", ("nest",), 25)
    found = Depth().read(put(Planted(lambda _: 1.0), questions(Depth(), "depth", pool)))
    assert {r.by["state"]: r.value for r in found if r.name == "ledger" and len(r.by) == 1} == {
        "correct": 1.0, "local": 0.0, "propagation": 0.0, "restoration": 0.0, "omitted": 0.0, "extra": 0.0,
    }  # fmt: skip
    assert {r.value for r in found if r.name == "ok"} == {1.0}


def test_logistic_effects_agree_with_known_ones_and_stay_finite() -> None:
    rng = Random(0)
    rows = [[rng.choice((1.0, 2.0, 3.0)), rng.choice((0.0, 1.0))] for _ in range(4000)]
    right_ = [rng.random() < 1 / (1 + 2.718281828 ** -(2 - 1.0 * d + 0.5 * o)) for d, o in rows]
    depth, overlap = effects(rows, right_)
    assert depth.value == pytest.approx(-1.0, abs=0.12)
    assert overlap.value == pytest.approx(0.5, abs=0.16)
    (parted,) = effects([[0.0]] * 20 + [[1.0]] * 20, [True] * 20 + [False] * 20)
    assert -10 < parted.value < -3
    # by hand: Firth's estimate of two groups adds half a success and half a failure to each
    (hand,) = effects([[0.0]] * 10 + [[1.0]] * 10, [True] * 8 + [False] * 2 + [True] * 5 + [False] * 5)
    from math import log

    assert hand.value == pytest.approx(log(5.5 / 5.5) - log(8.5 / 2.5), abs=1e-6)
    with pytest.raises(ValueError, match="vary"):
        effects([[1.0], [1.0]], [True, False])


def test_planted_costs_are_found_through_a_run(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(model="planted", source="toolworld:full", subtask="nest", probe="depth,subtask", n=60)
    run = diagnose(recipe, tmp_path, model=Planted(plants.chance))
    found = readings(run)
    for name in ("depth", "overlap"):
        row = pick(found, "effect", factor=name)
        assert row is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= plants.COSTS[name] <= row.high
        assert row.n > 90
    (run.folder / "done.json").unlink()
    assert readings(diagnose(recipe, tmp_path, model=Planted(plants.chance))) == found
    page = Panel().draw(found)
    assert page is not None
    assert "depth 4" in page
    assert "Ledger of calls" in page


def test_at_equal_shape_seen_edges_are_told_from_unseen_ones() -> None:
    pool = cut("toolworld:full", ("nest", "names"), 100)
    asked = questions(Depth(), "depth", pool)
    own = [s for p, _, s in asked if p == "depth"]
    assert len(own) <= 18 * 2 * EACH
    assert len({s.key for s in own}) == len(own)
    found = Depth().read(simulate(asked, lambda s: 0.9 if s.traits.get("depth_overlap") == 1.0 else 0.4, 1))
    gap = pick(found, "overlap_gap")
    assert gap is not None
    assert gap.low is not None
    assert gap.low > 0.3
    assert factor(put(Planted(lambda _: 1.0), asked[-1:])[0], "overlap") == 0.0


def test_other_pools_are_read_as_they_come_or_not_at_all() -> None:
    pool = cut("toolworld:full", ("nest",), 10)
    bare = list(pool)
    assert list(Depth().samples(bare, Random(0))) == []
    found = Depth().read(put(Planted(lambda s: 1.0), [("subtask", "", s) for s in bare]))
    assert any(r.name == "ok" for r in found)
    assert not [r for r in found if r.name.startswith("overlap")]
    assert Depth().read([]) == []
    assert Panel().draw([]) is None
    assert all(right(s).message for s in bare)


def test_hostile_states_are_inert() -> None:
    by = {"depth": 2, "width": 1}
    rows = [Reading(probe="depth", name="ok", value=0.5, low=0.1, high=0.9, n=4, by=by)]
    rows.append(Reading(probe="depth", name="ledger", value=0.5, low=0.1, high=0.9, n=4, by={"state": "<script>"}))
    page = Panel().draw(rows)
    assert page is not None
    assert "<script>" not in page
