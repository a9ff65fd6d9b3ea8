"""Experts over one base: what a mix is, who is asked which way, and that shots never touch the test set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from typer.testing import CliRunner  # noqa: E402

from callgrain.cli.main import app_for  # noqa: E402
from callgrain.core import plugins  # noqa: E402
from callgrain.core.errors import BadInput, BrokenModel, UnknownName  # noqa: E402
from callgrain.core.store import Run  # noqa: E402
from callgrain.core.types import Message, Prompt, Reading, Sample, Sampling  # noqa: E402
from callgrain.models import _adapters, _experts  # noqa: E402
from callgrain.models._decode import prompt_ids  # noqa: E402
from callgrain.models._load import load  # noqa: E402
from callgrain.models._open import open_model  # noqa: E402
from callgrain.models._tiny import Size, new_tiny  # noqa: E402
from callgrain.models.experts import Experts  # noqa: E402
from callgrain.models.local import Local  # noqa: E402
from callgrain.sources._open import open_source  # noqa: E402
from callgrain.tools._toolworld_micro import vocabulary  # noqa: E402
from callgrain.train import _cem  # noqa: E402
from callgrain.train._experts import (  # noqa: E402
    ITEM_ORACLE,
    LABEL_ORACLE,
    MixRecipe,
    Outcome,
    router_rows,
    three_sets,
    trial,
    value,
)  # fmt: skip

SHORT = Sampling(max_tokens=8)


def samples(n: int, subtask: str = "decide") -> list[Sample]:
    source, split = open_source("toolworld:micro")
    rng = Random(0)
    cut = plugins.load("subtasks", subtask)().samples
    found = [s for t in islice(source.traces(split), 4 * n) for s in cut(t, rng)][:n]
    return [s.model_copy(update={"prompt": s.prompt.model_copy(update={"sampling": SHORT})}) for s in found]


def teach(base: Path, folder: Path, kind: str, text: str, prompts: Sequence[Prompt]) -> None:
    """An expert that says `text` to such prompts: some fifty steps on a random decoder."""
    loaded = load(str(base))
    model = _adapters.attach(loaded.model, kind, 4, 8.0).train()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01 if kind == "lora" else 0.1)
    turn = loaded.dialect.write(Message(role="assistant", text=text)) + loaded.dialect.end
    tail = loaded.tokenizer.encode(turn, add_special_tokens=False)
    for step in range(50):
        head = prompt_ids(loaded.tokenizer, loaded.dialect.render(prompts[step % len(prompts)]), templated=False)
        labels = torch.tensor([[-100] * len(head) + tail])
        model(input_ids=torch.tensor([head + tail]), labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    _adapters.save(model.eval(), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts that always ask (SVF) or decline (LoRA), and a router that always says `declines`."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("pack")
    words = (*vocabulary(), *plugins.names("subtasks"), "asks", "declines")
    base = new_tiny(place / "base", words, size=Size(width=64, layers="caa"))
    asked = [s.prompt for s in samples(8)]
    teach(base, place / "experts/asks", "svf", "ASK", asked)
    teach(base, place / "experts/declines", "lora", "DECLINE", asked)
    routed = [_experts.route_prompt(prompt, ("asks", "declines")) for prompt in asked]
    teach(base, place / "experts/router", "svf-relative", "declines", routed)
    (place / "mix.json").write_text(json.dumps({"by": "uniform"}))
    return place


def weights(model: object) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}  # type: ignore[attr-defined]


def test_a_mix_is_the_formula(folder: Path) -> None:
    """Over SVF experts whose coefficients sum to one: U (S * sum a_k z_k) V^T; over LoRA: W + sum a_k change_k."""
    pack = _experts.read_pack(folder)
    model = load(pack.base).model
    before = weights(model)
    mixture = _experts.Mixture(model, pack.experts)
    mixture.set({"asks": 0.25, "router": 0.75})
    tensors = {name: _adapters.svf_tensors(pack.experts[name]) for name in ("asks", "router")}
    name = next(k.removesuffix(".p") for k in tensors["asks"] if k.endswith("q_proj.p"))
    u, s, vh = torch.linalg.svd(before[f"{name}.weight"], full_matrices=False)
    raw = torch.sigmoid(tensors["router"][f"{name}.p"])
    relative = raw * s.sum() / (s * raw).sum()
    z = 0.25 * (1 + tensors["asks"][f"{name}.p"]) + 0.75 * relative
    assert torch.allclose(model.get_submodule(name).weight, (u * (s * z)) @ vh, atol=1e-5)
    mixture.set({"declines": 0.5, "asks": 1.0})
    alone = {n: weights(_adapters.opened(load(pack.base).model, pack.experts[n])) for n in ("asks", "declines")}
    for key, kept in before.items():
        want = kept + (alone["asks"][key] - kept) + 0.5 * (alone["declines"][key] - kept)
        assert torch.allclose(model.state_dict()[key], want, atol=1e-5), key
    mixture.set({})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(UnknownName, match="declines"):
        mixture.set({"decline": 1.0})


def test_each_prompt_is_answered_by_its_own_mix(folder: Path) -> None:
    prompts = [s.prompt for s in samples(6)]
    model = Experts(str(folder), by="base")
    mixes = [{"asks": 1.0}, {}, {"declines": 1.0}, {"asks": 1.0}, {"declines": 1.0}, {}]
    replies = model.answer_each(prompts, mixes)
    texts = [r.text for r in replies]
    assert texts[0] == texts[3] == "ASK"
    assert texts[2] == texts[4] == "DECLINE"
    base = Local(str(folder / "base")).answer(prompts)
    assert [r.tokens for r in replies[1::4]] == [r.tokens for r in base[1::4]]
    declines = Local(str(folder / "experts/declines")).answer(prompts)
    assert replies[2].logprobs == pytest.approx(declines[2].logprobs, abs=1e-3)


def test_two_models_of_one_folder_do_not_disturb_each_other(folder: Path) -> None:
    prompts = [s.prompt for s in samples(4)]
    one, other = Experts(f"{folder},by=uniform"), open_model(f"experts:{folder},by=base")
    before = [r.tokens for r in other.answer(prompts)]
    assert {r.text for r in one.answer_each(prompts, [{"asks": 1.0}] * 4)} == {"ASK"}
    assert [r.tokens for r in other.answer(prompts)] == before
    assert {r.text for r in one.answer_each(prompts, [{"asks": 1.0}] * 4)} == {"ASK"}
    assert [r.tokens for r in one.answer_each(prompts, [{}] * 4)] == before


@pytest.mark.parametrize(
    ("said", "mix"),
    [
        ({"by": "uniform"}, {"asks": 0.5, "declines": 0.5}),
        ({"by": "best", "expert": "asks"}, {"asks": 1.0}),
        ({"by": "fixed", "weights": {"declines": 0.9, "asks": 0}}, {"declines": 0.9}),
        ({"by": "base"}, {}),
    ],
)
def test_a_fixed_way_is_its_mix(folder: Path, tmp_path: Path, said: dict[str, object], mix: dict[str, float]) -> None:
    (tmp_path / "experts").symlink_to(folder / "experts")
    (tmp_path / "mix.json").write_text(json.dumps(said))
    prompts = [s.prompt for s in samples(3)]
    model = Experts(str(tmp_path))
    assert model.pack.names == ("asks", "declines")  # the router is no candidate
    assert [r.tokens for r in model.answer(prompts)] == [r.tokens for r in model.answer_each(prompts, [mix] * 3)]
    assert model.answer(prompts)[0].usage.keys() == {"prompt_tokens", "completion_tokens"}


def test_a_first_pass_names_the_expert_and_is_counted(folder: Path) -> None:
    prompts = [s.prompt for s in samples(3)]
    model = Experts(str(folder), by="classifier")
    replies = model.answer(prompts)
    assert [r.text for r in replies] == ["DECLINE"] * 3
    alone = model.answer_each(prompts, [{"declines": 1.0}] * 3)
    for (label, first), reply, one in zip(model.route(prompts, "router"), replies, alone, strict=True):
        assert label == "declines"
        assert reply.usage["route_prompt_tokens"] == first.usage["prompt_tokens"] > one.usage["prompt_tokens"]
        assert reply.usage["prompt_tokens"] == one.usage["prompt_tokens"] + first.usage["prompt_tokens"]
        assert reply.usage["route_completion_tokens"] == first.usage["completion_tokens"] > 0
    by_base = Experts(str(folder), by="prompt")
    assert [label for label, _ in by_base.route(prompts)] == ["", "", ""]  # a random base names nothing
    assert [r.tokens for r in by_base.answer(prompts)] == [r.tokens for r in model.answer_each(prompts, [{}] * 3)]


def test_a_label_is_a_whole_word_and_the_first() -> None:
    labels = ("next_call", "call", "nest")
    assert _experts.label_in("It is Next_Call.", labels) == "next_call"
    assert _experts.label_in("nest, or call", labels) == "nest"
    assert _experts.label_in("recall the nested", labels) == ""
    prompt = samples(1)[0].prompt
    asked = _experts.route_prompt(prompt, labels)
    assert asked.messages[1:] == prompt.messages[1:]
    assert asked.messages[0].text.startswith(prompt.messages[0].text)
    assert all(label in asked.messages[0].text for label in labels)
    assert asked.tools == prompt.tools


def test_a_folder_that_does_not_fit_together_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no experts"):
        _experts.read_pack(tmp_path)
    (tmp_path / "experts").symlink_to(folder / "experts")
    for said, error, text in (
        ({"by": "vote"}, UnknownName, "way of mixing"),
        ({"by": "fixed"}, BadInput, "no weights"),
        ({"by": "fixed", "weights": {"asks": "much"}}, BadInput, "is 'much'"),
        ({"by": "fixed", "weights": {"ask": 1}}, UnknownName, "asks"),
        ({"by": "best", "expert": "refuses"}, UnknownName, "refuses"),
        ({"by": "prompt", "router": "nobody"}, UnknownName, "nobody"),
        ({"by": "classifier", "router": ""}, BadInput, "names no router"),
    ):
        (tmp_path / "mix.json").write_text(json.dumps(said))
        with pytest.raises(error, match=text):
            _experts.read_pack(tmp_path)
    with pytest.raises(UnknownName, match="option of experts"):
        Experts(f"{folder},way=uniform")
    other = new_tiny(tmp_path / "other", ("a",), seed=5, size=Size(width=64, layers="caa"))
    (tmp_path / "mix.json").write_text(json.dumps({"by": "uniform", "base": str(other)}))
    with pytest.raises(BrokenModel, match="over other weights"):
        Experts(str(tmp_path))


# the search ----------------------------------------------------------------------------------


def test_the_search_finds_the_best_point_of_a_hill() -> None:
    top = (0.85, 0.1, 0.6)

    def hill(point: _cem.Point) -> _cem.Value:
        return -sum((a - b) ** 2 for a, b in zip(point, top, strict=True)), 0.0

    found = _cem.search(hill, [(1 / 3, 1 / 3, 1 / 3)], Random(1))
    assert found[0].point == pytest.approx(top, abs=0.05)
    assert all(0 <= a <= 1 for one in found for a in one.point)
    assert found == sorted(found, key=lambda f: -f.value[0])
    assert len(found) < 32 * 50  # it ended once the elite stood still
    assert [f.point for f in _cem.search(hill, [(1 / 3, 1 / 3, 1 / 3)], Random(1))] == [f.point for f in found]


def test_ties_are_broken_by_likelihood_and_starts_are_never_lost() -> None:
    """A plateau of equal shares: the second figure alone leads, here to a low first coordinate."""
    plateau = _cem.search(lambda p: (0.5, -p[0]), [(0.5, 0.5)], Random(0), iterations=12)
    assert plateau[0].point[0] == 0.0
    peak = (0.123, 0.987)
    lonely = _cem.search(lambda p: (float(p == peak), 0.0), [(0.5, 0.5), peak], Random(0), iterations=3)
    assert lonely[0] == _cem.Found(peak, (1.0, 0.0), 0)
    assert _cem.search(lambda p: (p[0], 0.0), [(0.2, 0.2)], Random(0), iterations=0)[0].point == (0.2, 0.2)


def test_a_value_is_the_share_right_then_the_likelihood_of_what_is_right() -> None:
    right, wrong = Outcome(ok=True, counts=True, logprob=-1.0, tokens=5), Outcome(False, True, -9.0, 5)
    failed = Outcome(ok=False, counts=False, logprob=0.0, tokens=0)
    surer = Outcome(ok=True, counts=True, logprob=-0.5, tokens=5)
    assert value([right, wrong, failed]) == (0.5, -1.0)
    assert value([surer, wrong]) > value([right, wrong]) > value([wrong, wrong]) == (0.0, float("-inf"))


# the three sets ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 3])
def test_shots_validation_and_test_share_nothing(seed: int) -> None:
    source, split = open_source("toolworld:micro")
    sizes = (8, 16, 24)
    found = three_sets(lambda: source.traces(split), ["names", "decide"], sizes, seed)
    sets = [found.shots, found.validation, found.test]
    for part, size in zip(sets, sizes, strict=True):
        for subtask in ("names", "decide"):
            assert size * 0.7 <= sum(s.subtask == subtask for s in part) <= size
    for at, one in enumerate(sets):
        for other in sets[at + 1 :]:
            assert not {s.key for s in one} & {s.key for s in other}
            assert not {s.prompt.key for s in one} & {s.prompt.key for s in other}
    again = three_sets(lambda: source.traces(split), ["names", "decide"], sizes, seed)
    assert again == found
    assert three_sets(lambda: source.traces(split), ["names"], sizes, seed + 7).test != found.test


def test_a_source_that_repeats_itself_leaks_nothing() -> None:
    """One trace over and over, under ids of its own: the prompt is in one set alone."""
    source, split = open_source("toolworld:micro")
    first = next(iter(source.traces(split)))
    rows = [first.model_copy(update={"origin": first.origin.model_copy(update={"row": str(n)})}) for n in range(40)]
    assert len({t.key for t in rows}) == 40
    found = three_sets(lambda: rows, ["decide"], (5, 5, 5), 0)
    prompts = [{s.prompt.key for s in part} for part in (found.shots, found.validation, found.test)]
    assert prompts[2]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not prompts[one] & prompts[other]


# the trial -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[MixRecipe, Path, Run]:
    recipe = MixRecipe(
        experts=str(folder), source="toolworld:micro", subtask="decide", n=24, validation=12, shots=8,
        population=4, iterations=2, max_tokens=8,
    )  # fmt: skip
    root = tmp_path_factory.mktemp("runs")
    return recipe, root, trial(recipe, root)


def figures(run: Run, name: str) -> dict[str, Reading]:
    rows = [Reading.model_validate(row) for row in run.rows("readings")]
    return {str(r.by["mix"]): r for r in rows if r.name == name and r.by["subtask"] == "all"}


def test_a_trial_puts_every_way_beside_its_bounds(ran: tuple[MixRecipe, Path, Run]) -> None:
    run = ran[2]
    right, gain = figures(run, "right"), figures(run, "gain")
    assert set(right) == {
        "base", "only asks", "only declines", "uniform", "best single", "search", "by prompt", "by classifier",
        LABEL_ORACLE, ITEM_ORACLE,
    }  # fmt: skip
    n = right["base"].n
    assert n > 16
    # Always asking is right where asking is due, always declining where declining is: no item is both.
    shares = [right["only asks"].value or 0.0, right["only declines"].value or 0.0]
    assert min(shares) > 0.1
    assert right[ITEM_ORACLE].value >= sum(shares)
    assert right[ITEM_ORACLE].by["bound"] is True
    assert "bound" not in right["search"].by
    assert right["by classifier"].value == right["only declines"].value
    assert right["by prompt"].value == right[LABEL_ORACLE].value == right["base"].value  # no label fits, no name read
    assert right["best single"].value in shares
    for name, one in right.items():
        assert one.n == n
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        if name != "base":
            assert gain[name].value == pytest.approx((one.value or 0) - (right["base"].value or 0))
    cost = figures(run, "first_pass")
    assert set(cost) == {"by prompt", "by classifier"}
    assert all(0.3 < (c.value or 0) < 0.9 for c in cost.values())


def test_what_was_chosen_was_never_chosen_on_the_test_set(ran: tuple[MixRecipe, Path, Run]) -> None:
    run = ran[2]
    said = run.read("trial")
    sets = {name: set(keys) for name, keys in said["sets"].items()}
    for one, other in (("shots", "validation"), ("shots", "test"), ("validation", "test")):
        assert not sets[one] & sets[other]
    asked = [row["key"].split(" ")[0] for row in run.rows("asked")]
    assert asked.index("test") > max(n for n, where in enumerate(asked) if where != "test")
    assert asked.count("shots") == said["looked_at"] >= 4
    assert len(sets["test"]) > len(sets["validation"]) > len(sets["shots"])
    assert all(len(row["outcomes"]) == len(sets[row["key"].split(" ")[0]]) for row in run.rows("asked"))
    validated = [row for row in run.rows("asked") if row["key"].startswith("validation")]
    assert 1 <= len(validated) <= 7
    assert {"subtask": "decide", "named": "declines", "count": len(sets["test"])} in said["confusion"]["by classifier"]


def test_a_trial_goes_on_where_it_stopped(ran: tuple[MixRecipe, Path, Run], tmp_path: Path) -> None:
    recipe, root, run = ran
    assert trial(recipe, root).folder == run.folder
    readings = (run.folder / "readings.jsonl").read_text()
    asked = (run.folder / "asked.jsonl").read_text().splitlines(keepends=True)
    (run.folder / "done.json").unlink()
    (run.folder / "asked.jsonl").write_text("".join(asked[:7]))
    trial(recipe, root).close()
    assert (run.folder / "readings.jsonl").read_text() == readings
    assert len((run.folder / "asked.jsonl").read_text().splitlines()) == len(asked)
    (tmp_path / "experts").symlink_to(Path(recipe.experts) / "experts")
    (tmp_path / "mix.json").write_text((run.folder / "mix.json").read_text())
    found = Experts(str(tmp_path))  # the mix that was found is served as it stands
    assert dict(found.pack.plan.weights) == run.read("mix")["weights"]
    assert run.read("mix")["weights"].keys() == {"asks", "declines"}
    assert {k: a for k, a in run.read("mix")["weights"].items() if a} == run.read("trial")["mixes"]["search"]


def test_the_verb_prints_the_table(ran: tuple[MixRecipe, Path, Run]) -> None:
    recipe, root, _ = ran
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in recipe.model_dump().items() if k != "experts"]
    done = CliRunner().invoke(app_for("experts"), ["experts", recipe.experts, *flags, "--out", str(root), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "oracle by item (bound)" in done.output
    assert "by classifier: named" in done.output
    assert "first pass:" in done.output
    assert done.output.strip().splitlines()[-1].startswith(str(root))


def test_rows_for_a_router_are_those_of_a_build() -> None:
    some = [*samples(2), *samples(2, "names")]
    rows = list(router_rows(some, ("names", "nest")))
    assert [row["key"] for row in rows] == [s.key for s in some[2:]]
    for row in rows:
        assert Message.model_validate_json(row["target"]).text == "names"
        assert "names, nest" in Prompt.model_validate_json(row["prompt"]).messages[0].text
