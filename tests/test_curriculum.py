"""The order of sub-tasks: the maths by hand and by trying every order, and a whole curriculum on a tiny model."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from callgrain.core import stats
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.store import Run
from callgrain.train import _transfer
from callgrain.train._transfer import Change, best_order, gain, harm, kendall_tau, regret


def matrix(values: dict[str, dict[str, float]]) -> dict[str, dict[str, Change]]:
    return {j: {i: Change(v, v - 0.1, v + 0.1, 50) for i, v in row.items()} for j, row in values.items()}


# trained on (row) -> changed (column)
ABC = {
    "a": {"a": 0.5, "b": -0.2, "c": 0.1},
    "b": {"a": 0.3, "b": 0.4, "c": -0.1},
    "c": {"a": -0.4, "b": 0.05, "c": 0.6},
}


# the maths -----------------------------------------------------------------------------------


def test_a_change_is_paired_over_the_items_that_both_hold() -> None:
    before = {"1": 0.0, "2": 1.0, "3": 0.0, "4": 1.0, "only before": 1.0}
    after = {"4": 0.0, "3": 1.0, "2": 1.0, "1": 1.0, "only after": 0.0}
    found = _transfer.change(after, before)
    value, low, high = stats.paired_difference([True, True, True, False], [False, True, False, True])
    assert found == Change(0.25, low, high, 4)
    assert value == 0.25
    with pytest.raises(ValueError, match="no item"):
        _transfer.change({"x": 1.0}, {"y": 1.0})


def test_scores_in_between_have_their_own_interval() -> None:
    before = {str(i): 0.25 for i in range(40)}
    after = {str(i): 0.25 + (0.5 if i % 2 else 0.0) for i in range(40)}
    found = _transfer.change(after, before)
    assert found.value == pytest.approx(0.25)
    assert (found.low, found.high) == stats.mean([0.5 if i % 2 else 0.0 for i in range(40)])[1:]
    assert 0.15 < found.low < 0.25 < found.high < 0.35
    assert found.is_shown
    alike = _transfer.change(before, before)
    assert alike.value == 0.0
    assert alike.low < 0 < alike.high, "items that all stay as they were prove nothing for certain"
    risen = _transfer.change({"1": 0.75, "2": 0.75}, {"1": 0.5, "2": 0.5})
    assert (risen.value, risen.is_shown) == (0.25, False)


def test_the_matrix_is_after_less_before_for_every_pair() -> None:
    before = {"a": {"1": 0.0, "2": 0.0}, "b": {"3": 1.0, "4": 1.0}}
    after = {"a": {"a": {"1": 1.0, "2": 1.0}, "b": {"3": 0.0, "4": 1.0}}, "b": before}
    found = _transfer.transfer(before, after)
    assert found["a"]["a"].value == 1.0
    assert found["a"]["b"].value == -0.5
    assert [found["b"][i].value for i in "ab"] == [0.0, 0.0]


def test_backward_transfer_is_the_end_less_the_own_stage() -> None:
    stages = [("a", {"1": 1.0, "2": 1.0}), ("b", {"3": 0.0, "4": 1.0})]
    final = {"a": {"1": 0.0, "2": 1.0}, "b": {"3": 1.0, "4": 1.0}}
    found = _transfer.backward(stages, final)
    assert {name: cell.value for name, cell in found.items()} == {"a": -0.5, "b": 0.5}


def test_harm_and_gain_by_hand() -> None:
    given = matrix(ABC)
    # order a, b, c: b later than a gives a .3 (no harm); c later costs a .4; c later gives b .05
    assert harm(given, "abc") == pytest.approx(0.4)
    assert gain(given, "abc") == pytest.approx(0.5 + 0.4 + 0.6 + 0.3 - 0.4 + 0.05)
    # order c, b, a: b later costs c .1; a later gives c .1; a later costs b .2
    assert harm(given, "cba") == pytest.approx(0.3)
    assert harm(given, "cab") == pytest.approx(0.1)
    assert best_order(given) == ("c", "a", "b")


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_the_best_order_is_the_best_of_every_order(size: int) -> None:
    for seed in range(8):
        rng = Random(seed * 100 + size)
        names = "abcdef"[:size]
        # a coarse grid, so that orders of equal harm occur and gain must decide
        given = matrix({j: {i: rng.randint(-3, 3) / 10 for i in names} for j in names})
        every = {order: (round(harm(given, order), 9), -round(gain(given, order), 9)) for order in permutations(names)}
        assert every[best_order(given)] == min(every.values())


def test_too_many_sub_tasks_are_refused_not_guessed() -> None:
    names = [f"t{n}" for n in range(_transfer.MOST + 1)]
    with pytest.raises(ValueError, match="more than"):
        best_order(matrix({j: dict.fromkeys(names, 0.0) for j in names}))


def test_reasons_name_the_largest_harm_that_a_place_avoids() -> None:
    given = matrix(ABC)
    by_name = {row["subtask"]: row["reason"] for row in _transfer.reasons(given, ("c", "a", "b"))}
    assert by_name["c"] == "after a it would cost that 40.0 points [30.0, 50.0]"
    assert by_name["a"].startswith("after b it would cost that 20.0 points")
    assert "c comes before it, which costs it 40.0 points" in by_name["a"]
    assert "a comes before it, which costs it 20.0 points" in by_name["b"]
    weak = {j: {i: Change(-0.05, -0.2, 0.1, 9) for i in "ab"} for j in "ab"}
    assert "not shown beyond chance" in _transfer.reasons(weak, ("a", "b"))[0]["reason"]


def test_kendalls_tau_by_hand_and_by_scipy() -> None:
    assert kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1.0
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1.0
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert kendall_tau([1, 1, 1], [1, 2, 3]) is None
    from scipy.stats import kendalltau

    rng = Random(5)
    for _ in range(20):
        one, other = [rng.randint(0, 5) for _ in range(12)], [rng.randint(0, 5) for _ in range(12)]
        assert kendall_tau(one, other) == pytest.approx(kendalltau(one, other).statistic)
    with pytest.raises(ValueError, match="length"):
        kendall_tau([1], [1, 2])


def test_regret_is_what_following_the_prediction_costs() -> None:
    assert regret([0.1, 0.9, 0.5], [0.7, 0.6, 0.2]) == pytest.approx(0.1)
    assert regret([0.9, 0.1], [0.7, 0.6]) == 0.0


# a whole curriculum ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, Path]:
    """(root, rows, model)."""
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    torch.set_num_threads(1)
    from callgrain.core import plugins
    from callgrain.corpus.build import BuildRecipe, build
    from callgrain.models._tiny import new_tiny
    from callgrain.tools._toolworld_micro import vocabulary

    root = tmp_path_factory.mktemp("curriculum")
    model = new_tiny(root / "seedling", (*vocabulary(), *plugins.names("subtasks")))
    return root, build(BuildRecipe(source="toolworld:micro", n=60, subtask="names,slots"), root), model


def settings(made: tuple[Path, Run, Path], **more: object) -> dict[str, object]:
    _, rows, model = made
    fixed = {"learning_rate": 2e-3, "batch_tokens": 512, "max_length": 256, "threads": 1, "n": 6, "max_tokens": 8}
    paths = {"model": str(model), "rows": str(rows.folder), "method": "curriculum"}
    return {**paths, **fixed, "pilot_tokens": 100, "budget": 600, **more}


@pytest.mark.slow
def test_arms_spend_what_they_are_given_and_pilots_are_charged(made: tuple[Path, Run, Path]) -> None:
    from callgrain.train._run import train
    from callgrain.train.curriculum import CurriculumRecipe

    recipe = CurriculumRecipe.resolve(settings(made, arms="uncharged,joint,reverse,every", metric="score"))
    run = train(recipe, made[0])
    training, order = run.read("training"), run.read("order")
    pilots = training["pilots"]["target_tokens"]
    arms = {row["arm"]: row for row in training["arms"]}
    assert set(arms) == {"proposed", "uncharged", "joint", "reverse", "order names slots", "order slots names"}
    assert 200 <= pilots < 400
    a_batch = 120  # a stage ends with the batch that reaches its share
    for name, row in arms.items():
        due = 600 - (pilots if name == "proposed" else 0)
        assert due <= row["target_tokens"] < due + a_batch, name
    assert training["target_tokens"] == arms["proposed"]["target_tokens"] + pilots
    assert arms["proposed"]["charged"] == pilots
    assert arms["uncharged"]["charged"] == 0
    assert arms["reverse"]["order"] == order["order"][::-1]
    assert arms["joint"]["order"] == ["all", "all"]
    # the same order at the same budget is the same run, whatever the arm is called
    same = arms["order " + " ".join(order["order"])]
    assert (same["ok"], same["backward"]) == (arms["uncharged"]["ok"], arms["uncharged"]["backward"])
    # the matrix is that of the pilots' own measurements
    found = run.read("transfer")["matrix"]
    assert set(found) == set(found["names"]) == {"names", "slots"}
    assert all(
        len(cell) == 4 and cell[3] == 6 and cell[1] <= cell[0] <= cell[2] for r in found.values() for cell in r.values()
    )
    cells = {j: {i: Change(*cell) for i, cell in row.items()} for j, row in found.items()}
    assert order["order"] == list(best_order(cells))
    assert order["harm"] == pytest.approx(harm(cells, order["order"]))
    assert {row["subtask"] for row in order["reasons"]} == {"names", "slots"}
    assert training["predictor"]["orders"] == 2
    # the model is the proposed arm's, and an ordinary one
    from callgrain.models._load import load

    assert load(str(run.folder / "model"), device="cpu").dialect_id == "compact"
    assert run.read("done")["steps"] == training["steps"] > 0


def test_running_again_trains_nothing_again(made: tuple[Path, Run, Path]) -> None:
    from callgrain.train._run import train
    from callgrain.train.curriculum import CurriculumRecipe

    recipe = CurriculumRecipe.resolve(settings(made, seed=1, n=4, max_tokens=4, pilot_tokens=60, budget=400))
    run = train(recipe, made[0])
    parts = {p: p.stat().st_mtime_ns for p in run.folder.glob("train/*/done.json")}
    assert len(parts) == 4, "two pilots and two stages"
    before = run.read("training")
    pilots, (arm,) = before["pilots"]["target_tokens"], before["arms"]
    assert (arm["arm"], arm["charged"]) == ("proposed", pilots)
    assert 400 - pilots <= arm["target_tokens"] < 400 - pilots + 120
    assert before["target_tokens"] == arm["target_tokens"] + pilots
    assert sorted(arm["order"]) == ["names", "slots"]
    (run.folder / "done.json").unlink()
    (run.folder / "training.json").unlink()  # as a kill near the end would leave it
    assert train(recipe, made[0]).read("training")["arms"] == before["arms"]
    assert {p: p.stat().st_mtime_ns for p in run.folder.glob("train/*/done.json")} == parts


def test_what_cannot_be_ordered_says_so(made: tuple[Path, Run, Path]) -> None:
    from callgrain.train._run import train
    from callgrain.train.curriculum import CurriculumRecipe

    def run(**more: object) -> None:
        train(CurriculumRecipe.resolve(settings(made, **more)), made[0])

    with pytest.raises(BadInput, match="use up the budget"):
        run(budget=150)
    with pytest.raises(BadInput, match="nothing to order"):
        run(subtasks="names")
    with pytest.raises(UnknownName, match="unknown sub-task of these rows 'nest'"):
        run(subtasks="names,nest")
    with pytest.raises(UnknownName, match="unknown arm 'jiont'"):
        run(arms="jiont")
    with pytest.raises(BadInput, match="is what the rows were built from"):
        run(split="train")
