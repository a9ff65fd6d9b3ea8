"""Modularity: masks do what they say, controls are what they claim, and a planted truth is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks import _plants_modularity as plants  # noqa: E402
from benchmarks._planting import Planted, cut, pick  # noqa: E402

from callgrain.core import plugins  # noqa: E402
from callgrain.core.types import Call, Message, Reading  # noqa: E402
from callgrain.models import _perturb  # noqa: E402
from callgrain.models._mask_search import (  # noqa: E402
    Mask,
    Search,
    decided,
    random_mask,
    redrawn,
    rows_of,
    search,
    swapped,
    weights_of,
    without,
)
from callgrain.models._tiny import Size, new_tiny  # noqa: E402
from callgrain.models.local import Local  # noqa: E402
from callgrain.panels.modularity import Modularity as Panel  # noqa: E402
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings  # noqa: E402
from callgrain.probes._modularity_motion import Motion  # noqa: E402
from callgrain.probes._modularity_read import participation, read  # noqa: E402
from callgrain.probes._modularity_skills import SKILLS, decisions, halves  # noqa: E402
from callgrain.probes._pool import Pool  # noqa: E402
from callgrain.probes.modularity import Modularity  # noqa: E402
from callgrain.tools._toolworld_micro import vocabulary  # noqa: E402

SMALL = Modularity(
    search=Search(steps=3, row_tokens=400), motion=Motion(levels=(0.05,), whole=1, single=1, few=2), seeds=1, most=16,
    held=4, prompts=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """A decoder of random weights that reads the small world."""
    torch.set_num_threads(1)
    words = (*vocabulary(), *plugins.names("subtasks"))
    return Local(str(new_tiny(tmp_path_factory.mktemp("tiny") / "model", words, size=Size(32, "ca", 2))))


@pytest.fixture(scope="module")
def pool() -> Pool:
    return cut("toolworld:micro", ["decide", "names", "slots", "next_call", "nest"], 24)


@pytest.fixture(scope="module")
def known(model: Local, pool: Pool) -> list[dict[str, Any]]:
    """All rows of a small examination of three skills."""
    return list(SMALL.examine(model, _some(pool), [], lambda *_: None))


def _some(pool: Pool) -> Pool:
    return Pool(tuple(row for row in pool.rows if row[1].subtask in ("decide", "names", "slots")))


def test_a_skill_is_decided_where_it_must_be(model: Local, pool: Pool) -> None:
    found = decisions(pool.rows, model.loaded, 24, 640)
    assert set(found) == set(SKILLS)
    tokenizer = model.loaded.tokenizer
    samples = {(s.subtask, trace): s for trace, s in pool.rows}
    for one in found["call"]:
        assert one.places == (0,)
        assert len(one.turn) == 1
    for one in found["value"]:
        calls = samples["slots", one.trace].answer.calls
        said = "".join(tokenizer.decode([one.turn[place]]).replace("##", "") for place in one.places)
        values = "".join(str(v) for c in calls for v in c.arguments.values())
        assert said.replace(" ", "").replace('"', "") == values.replace(" ", "").replace("True", "true")
    for one in found["nest"]:
        assert all("$" in tokenizer.decode(list(one.turn[: place + 1])) for place in one.places)
    for one in found["tool"]:  # the places are where another name that is shown parts from the right one, no others
        sample = samples["names", one.trace]
        for place in one.places:
            own = [call.name for call in sample.answer.calls]
            assert any(tool.name not in own[:1] for tool in sample.prompt.tools)
            assert 0 < place < len(one.turn)


def test_halves_split_traces_and_not_samples(model: Local, pool: Pool) -> None:
    found = decisions(pool.rows, model.loaded, 24, 640)
    sides = [[{d.trace for d in side} for side in halves(items)] for items in found.values()]
    assert not set.union(*(s for s, _ in sides)) & set.union(*(h for _, h in sides))


def test_a_search_lowers_the_loss_and_leaves_the_weights_alone(model: Local, pool: Pool) -> None:
    net = model.loaded.model
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    items = decisions(pool.rows, model.loaded, 8, 640)["call"]
    mask = search(net, items, Search(steps=25, penalty=1.0, row_tokens=2000), 0)
    assert mask.last < mask.first - 1.0
    assert 0 < mask.share < 1
    assert all(torch.equal(before[name], weight) for name, weight in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    again = search(net, items, Search(steps=25, penalty=1.0, row_tokens=2000), 0)
    assert again.counts == mask.counts
    tight = search(net, items, Search(steps=25, penalty=1e4, row_tokens=2000), 0)
    assert tight.share < mask.share


def test_a_random_mask_has_exactly_as_many_weights_of_each_layer(model: Local) -> None:
    weights = weights_of(model.loaded.model)
    counts = {name: (37 * n) % weight.numel() for n, (name, weight) in enumerate(weights.items())}
    one, same, other = (random_mask(counts, weights, seed) for seed in (0, 0, 1))
    assert one.counts == counts == other.counts
    assert all(torch.equal(one.kept[name], same.kept[name]) for name in counts)
    assert any(not torch.equal(one.kept[name], other.kept[name]) for name in counts)


def test_without_every_weight_nothing_is_left_but_the_token_before(model: Local, pool: Pool) -> None:
    net = model.loaded.model
    weights = weights_of(net)
    mask = Mask({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})
    rows = rows_of(decisions(pool.rows, model.loaded, 8, 640)["call"])
    with torch.inference_mode():
        whole = torch.cat([decided(net, row) for row in rows])
        with swapped(net, without(weights, mask)):
            bare = torch.cat([decided(net, row) for row in rows])
        back = torch.cat([decided(net, row) for row in rows])
    # Every prompt ends in the same mark: what was asked no longer reaches the answer.
    assert float((bare - bare[0]).abs().max()) < 1e-5
    assert float((whole - whole[0]).abs().max()) > 1e-2
    assert torch.equal(whole, back)


def test_a_redrawn_network_has_the_shape_and_none_of_the_weights(model: Local) -> None:
    net = model.loaded.model
    one, same, other = redrawn(net, 1), redrawn(net, 1), redrawn(net, 2)
    assert not one.training
    shapes = {name: weight.shape for name, weight in net.state_dict().items()}
    assert {name: weight.shape for name, weight in one.state_dict().items()} == shapes
    for name, weight in weights_of(net).items():
        assert torch.equal(weights_of(one)[name], weights_of(same)[name])
        assert not torch.allclose(weights_of(one)[name], weight)
        assert not torch.allclose(weights_of(one)[name], weights_of(other)[name])


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_a_push_meets_its_level(model: Local, pool: Pool, level: float) -> None:
    net = model.loaded.model
    rows = rows_of(decisions(pool.rows, model.loaded, 4, 640)["value"])
    before, weights = _perturb.reference(net, rows), weights_of(net)
    for _, direction in _perturb.ways(weights, 1, 1, 0):
        push = _perturb.matched(net, rows, before, direction, level)
        with swapped(net, _perturb.pushed(weights, direction, push.scale)):
            each = _perturb.moved(net, rows, before)
        assert sum(each) / len(each) == pytest.approx(push.kl, rel=1e-4)
        assert push.is_met or (level > 0.1 and push.kl < level)  # an untrained network has nowhere further to go
        assert push.is_met == (abs(push.kl - level) <= _perturb.TOLERANCE * level)
    assert max(_perturb.moved(net, rows, before)) == pytest.approx(0, abs=1e-6)


def test_an_edit_of_rank_one_takes_from_the_margins_that_it_was_fitted_on(model: Local, pool: Pool) -> None:
    net = model.loaded.model
    rows = rows_of(decisions(pool.rows, model.loaded, 4, 640)["call"])
    weights = weights_of(net)
    direction = _perturb.rank_one(net, rows, list(weights))
    assert [int(torch.linalg.matrix_rank(way)) for way in direction.values()] == [1]
    calm = sum(_perturb.margins_of(net, rows))
    with swapped(net, _perturb.pushed(weights, direction, 0.05)):
        assert sum(_perturb.margins_of(net, rows)) < calm


def test_overlap_is_corrected_for_chance() -> None:
    places = torch.arange(1000)
    assert _perturb.overlap(places, places, 0.01) == pytest.approx(1.0)
    drawn = [torch.randperm(10_000, generator=torch.Generator().manual_seed(s))[:1000] for s in range(20)]
    pairs = [_perturb.overlap(a, b, 0.1) for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
    assert sum(pairs) / len(pairs) == pytest.approx(0, abs=0.02)


def test_a_probe_goes_on_where_it_was(model: Local, pool: Pool, known: list[dict[str, Any]]) -> None:
    keys = [row["key"] for row in known]
    assert len(set(keys)) == len(keys)
    some = _some(pool)
    assert not list(SMALL.examine(model, some, known, lambda *_: None))
    half = known[: len(known) // 2]
    rest = list(SMALL.examine(model, some, half, lambda *_: None))
    assert [*half, *rest] == known
    assert SMALL.conclude([*half, *rest]) == SMALL.conclude(known)


def test_every_reading_of_the_contract_is_there(known: list[dict[str, Any]]) -> None:
    found = SMALL.conclude(known)
    names = {(r.name, r.by.get("arm")) for r in found}
    for arm in ("trained", "random_init", "random_mask"):
        assert {(name, arm) for name in ("own", "other", "contrast", "ablation")} <= names
    for arm in ("trained", "random_init"):
        assert {(name, arm) for name in ("entanglement", "fracture")} <= names
    skills = {str(r.by["mask"]) for r in found if r.name == "ablation"}
    assert len([r for r in found if r.name == "ablation"]) == 3 * len(skills) ** 2
    for row in found:
        if row.low is not None and row.high is not None and row.value is not None:
            assert row.low <= row.value <= row.high or row.name == "transfer"
        if row.name == "entanglement":
            assert float(row.by["floor"]) <= (row.value or 0) <= 1
    assert pick(found, "shown").value == 0  # type: ignore[union-attr]
    page = str(Panel().draw(found))
    assert "not shown" in page
    assert page.count('class="heat"') == 3


def test_blocks_glued_together_are_modular_and_one_task_is_not() -> None:
    modular, one = plants.examined(plants.glued(), 1), plants.examined(plants.shared(), 1)
    assert pick(modular, "shown").value == 1  # type: ignore[union-attr]
    assert pick(one, "shown").value == 0  # type: ignore[union-attr]
    other, own = (pick(modular, name, arm="trained") for name in ("other", "own"))
    assert other is not None
    assert other.value == 1.0  # the other block is whole
    assert own is not None
    assert (own.value or 0) < 0.85
    flat = pick(one, "contrast", arm="trained")
    assert flat is not None
    assert abs(flat.value or 0) < 0.1


def _mask_row(arm: str, seed: int, mask: str, share: dict[str, float]) -> dict[str, Any]:
    without = {
        skill: [[f"t{i}", 1.0 if i < 20 * right else 0.0, 1 - right] for i in range(20)]
        for skill, right in share.items()
    }
    return {
        "key": f"mask/{arm}/{seed}/{mask}", "kind": "mask", "arm": arm, "seed": seed, "mask": mask, "share": 0.01,
        "counts": {}, "without": without, "alone": [[f"t{i}", 1.0, 0.0] for i in range(20)],
    }  # fmt: skip


def _matrix(arm: str, seeds: Sequence[float], names: tuple[str, str] = ("a", "b")) -> list[dict[str, Any]]:
    one, two = names
    return [
        row
        for seed, own in enumerate(seeds)
        for row in (
            _mask_row(arm, seed, one, {one: own, two: 0.9}),
            _mask_row(arm, seed, two, {one: 0.9, two: own}),
        )
    ]


def test_figures_of_a_known_matrix() -> None:
    found = read([*_matrix("trained", (0.1, 0.3)), *_matrix("random_init", (0.9,)), *_matrix("random_mask", (0.8,))])
    own, other, contrast = (pick(found, name, arm="trained") for name in ("own", "other", "contrast"))
    assert [r.value if r else None for r in (own, other, contrast)] == pytest.approx([0.2, 0.9, 0.7])
    assert contrast is not None
    assert contrast.low is not None
    assert contrast.low < 0.7 < (contrast.high or 0)
    margins = [pick(found, "margin", control=name) for name in ("random_init", "random_mask")]
    assert [m.value if m else None for m in margins] == pytest.approx([0.7, 0.6])
    assert [r.value for r in found if r.name == "seed" and r.by["arm"] == "trained"] == pytest.approx([0.8, 0.6])
    assert pick(found, "shown").value == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "arms",
    [
        {"trained": (0.1, 0.1), "random_init": (0.1,), "random_mask": (0.9,)},  # the untrained network does the same
        {"trained": (0.1, 0.1), "random_init": (0.9,), "random_mask": (0.1,)},  # any weights would do
        {"trained": (0.0, 0.6), "random_init": (0.9,), "random_mask": (0.55,)},  # one seed does not clear it
        {"trained": (0.1, 0.1), "random_init": (0.9,)},  # a control is missing
    ],
)
def test_nothing_is_claimed_that_does_not_clear_both_controls(arms: dict[str, tuple[float, ...]]) -> None:
    found = read([row for arm, seeds in arms.items() for row in _matrix(arm, seeds)])
    assert pick(found, "shown").value == 0  # type: ignore[union-attr]
    assert "not shown" in str(Panel().draw(found))
    assert "rests in part" not in str(Panel().draw(found))


def test_theparticipation_ratio_runs_from_one_skill_to_all() -> None:
    assert participation([1.0, 0.0, 0.0, 0.0]) == 0.25
    assert participation([2.0, 2.0, 2.0, 2.0]) == pytest.approx(1.0)


def test_a_model_without_weights_is_not_examined(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(
        model="scripted:right=1", source="toolworld:micro", subtask="names", n=4, probe="modularity"
    )
    found = readings(diagnose(recipe, tmp_path, model=Planted(lambda _: 1.0)))
    assert [r.value for r in found if r.probe == "tier"] == [None]
    assert not [r for r in found if r.probe == "modularity"]
    assert Panel().draw(found) is None


def test_a_pool_without_skills_says_so(tmp_path: Path, model: Local) -> None:
    recipe = DiagnoseRecipe(
        model=model.name, source="toolworld:micro", subtask="names", n=4, probe="modularity", max_tokens=4
    )
    run = diagnose(recipe, tmp_path, model=model)
    found = [r for r in readings(run) if r.probe == "modularity"]
    assert [(r.name, r.value) for r in found] == [("skipped", None)]
    assert "fewer than two skills" in str(Panel().draw(found))
    assert readings(diagnose(recipe, tmp_path, model=model)) == readings(run)


def test_odd_samples_are_passed_over(model: Local, pool: Pool) -> None:
    odd = [
        (f"{i}", s.model_copy(update={"answer": s.answer.model_copy(update={"calls": (Call(name="\ud800x"),)})}))
        if i % 2
        else (
            f"{i}",
            s.model_copy(update={"prompt": s.prompt.model_copy(update={"messages": (Message(role="user"),)})}),
        )
        for i, (_, s) in enumerate(pool.rows)
        if s.subtask in ("names", "slots")
    ]
    assert isinstance(decisions(odd, model.loaded, 24, 640), dict)
    assert not list(Modularity().samples(pool, Random(0)))
    assert Modularity().read([]) == []


def test_a_network_too_large_for_the_device_is_left_alone(
    model: Local, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from callgrain.probes import modularity

    monkeypatch.setattr(modularity, "MOST_WEIGHTS", {"cpu": 100})
    (row,) = SMALL.examine(model, pool, [], lambda *_: None)
    assert row["kind"] == "skipped"
    assert "too many" in row["reason"]
    assert not list(SMALL.examine(model, pool, [row], lambda *_: None))


def test_hostile_names_are_inert() -> None:
    bad = ('<script>alert("x")</script>', "\u202egnp.\x1b[31m")
    found = read(
        [*_matrix("trained", (0.1,), bad), *_matrix("random_init", (0.9,), bad), *_matrix("random_mask", (0.9,), bad)]
    )
    found = [*found, Reading(probe="modularity", name="margin", value=0.1, n=1, by={"control": bad[0]})]
    page = str(Panel().draw(found))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    skipped = [Reading(probe="modularity", name="skipped", value=None, n=0, by={"reason": bad[0]})]
    assert "<script" not in str(Panel().draw(skipped))


def test_intervals_cover() -> None:
    for row in plants.coverage(60):
        assert row.held >= 0.85 * row.runs, row.figure


def test_small_settings_stay_frozen() -> None:
    assert replace(SMALL, seeds=2).seeds == 2
    assert SMALL.seeds == 1
