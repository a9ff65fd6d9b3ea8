"""Adapters inside a model: what is trained, what is saved, and over which base it is opened again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from callgrain.core import plugins  # noqa: E402
from callgrain.core.errors import BadInput, BrokenModel, UnknownName  # noqa: E402
from callgrain.core.types import Message, Prompt, Sampling  # noqa: E402
from callgrain.corpus.build import BuildRecipe, build  # noqa: E402
from callgrain.models import _adapters, _lora, _svf  # noqa: E402
from callgrain.models._load import load  # noqa: E402
from callgrain.models._tiny import Size, new_tiny  # noqa: E402
from callgrain.models.local import Local  # noqa: E402
from callgrain.tools._toolworld_micro import vocabulary  # noqa: E402
from callgrain.train._recipe import TrainRecipe  # noqa: E402
from callgrain.train._run import train  # noqa: E402
from test_local import save_model  # noqa: E402

TRAINED = _adapters.KINDS[1:]


@pytest.fixture(scope="module", params=["llama", "lfm2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp(request.param) / "base"
    save_model(made, request.param)
    return made


def opened(folder: Path) -> Any:
    return load(str(folder)).model


def ids() -> torch.Tensor:
    return torch.randint(4, 40, (3, 15), generator=torch.Generator().manual_seed(1))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(ids()).logits


def trained(folder: Path, kind: str, *, steps: int = 3, targets: str = "auto") -> Any:
    """A model whose adapter has taken a few large steps."""
    model = _adapters.attach(opened(folder), kind, 4, 8.0, targets)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        model(ids(), labels=ids()).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()


@pytest.mark.parametrize("kind", _adapters.KINDS)
def test_an_adapter_leaves_the_models_answers_as_they_were(folder: Path, kind: str) -> None:
    base = opened(folder)
    model = _adapters.attach(opened(folder), kind)
    assert type(model) is type(base)
    assert torch.allclose(logits(model), logits(base), atol=1e-4)
    assert _adapters.kind_of(model) == kind


def test_the_trainable_parameters_are_those_by_hand(folder: Path) -> None:
    shapes = {
        name: tuple(module.weight.shape)
        for name, module in opened(folder).named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    for targets in ("auto", "attention", "mlp"):
        mark = {"auto": "", "attention": "self_attn", "mlp": "mlp" if "llama" in str(folder) else "feed_forward"}
        here = [s for name, s in shapes.items() if mark[targets] in name]
        assert here
        svf = _adapters.size_of(_adapters.attach(opened(folder), "svf", targets=targets))
        lora = _adapters.size_of(_adapters.attach(opened(folder), "lora", 3, targets=targets))
        assert svf.trainable == sum(map(min, here))
        assert lora.trainable == 3 * sum(map(sum, here))
        assert lora.total - lora.trainable == svf.total - svf.trainable == _adapters.size_of(opened(folder)).total
    whole = _adapters.size_of(_adapters.attach(opened(folder), "none"))
    assert whole.trainable == whole.total


def test_layers_are_named_by_the_end_of_their_path(folder: Path) -> None:
    model = opened(folder)
    assert all(name.endswith(("q_proj", "v_proj")) for name in _adapters.linears(model, "q_proj, v_proj"))
    one = next(n for n in _adapters.linears(model, "q_proj") if ".1." in n)
    assert _adapters.linears(model, one.removeprefix("model.")) == (one,)
    assert "lm_head" not in _adapters.linears(model)
    with pytest.raises(UnknownName, match="q_proj"):
        _adapters.linears(model, "q_prj")
    with pytest.raises(UnknownName, match="svf"):
        _adapters.attach(model, "svd")


@pytest.mark.parametrize("kind", TRAINED)
def test_training_moves_the_adapter_and_nothing_else(folder: Path, kind: str) -> None:
    base = opened(folder)
    model = trained(folder, kind)
    assert (logits(model) - logits(base)).abs().max() > 0.1
    assert _adapters.base_key(model) == _adapters.base_key(base)
    with _adapters.without(model):
        assert torch.allclose(logits(model), logits(base), atol=1e-6)
    assert (logits(model) - logits(base)).abs().max() > 0.1
    for name, value in base.state_dict().items():
        beside = name.replace(".weight", ".base_layer.weight")
        kept = model.state_dict()
        assert torch.equal(kept.get(name, kept.get(beside)), value)
    names = set(_adapters.trained_state(model))
    assert names
    assert all(".lora_" in n or n.endswith(".svf") for n in names)


def test_without_an_adapter_there_is_no_base_to_go_back_to(folder: Path) -> None:
    with pytest.raises(BadInput, match="no base to go back to"), _adapters.without(opened(folder)):
        pass


@pytest.mark.parametrize("kind", TRAINED)
def test_merged_is_a_plain_model_of_the_same_class(folder: Path, kind: str, tmp_path: Path) -> None:
    model = trained(folder, kind)
    plain = _adapters.merged(model)
    assert type(plain) is type(opened(folder))
    assert plain.state_dict().keys() == opened(folder).state_dict().keys()
    assert torch.allclose(logits(plain), logits(model), atol=1e-4)
    assert _adapters.kind_of(plain) == "none"
    assert _adapters.kind_of(model) == kind  # it can be trained on
    plain.save_pretrained(tmp_path / "merged")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(logits(again), logits(plain))


@pytest.mark.parametrize("kind", TRAINED)
def test_an_adapters_folder_is_opened_like_a_models(folder: Path, kind: str, tmp_path: Path) -> None:
    model = trained(folder, kind)
    saved = _adapters.save(model, tmp_path / "adapter")
    said = json.loads((saved / "adapter.json").read_text())
    assert said["kind"] == kind
    assert said["base"] == str(folder.resolve())
    assert said["parameters"] == _adapters.size_of(model).trainable
    assert sum(p.stat().st_size for p in saved.iterdir()) < (folder / "model.safetensors").stat().st_size
    loaded = load(str(saved))
    assert loaded.dialect_id == "chat_template"  # tokenizer and card are the base's
    assert torch.allclose(logits(loaded.model), logits(model), atol=1e-4)
    assert not any(".lora_" in n or n.endswith(".svf") for n in loaded.model.state_dict())
    on = _adapters.load(opened(folder), saved)
    assert torch.equal(logits(on), logits(model))
    assert _adapters.size_of(on) == _adapters.size_of(model)
    half = load(str(saved), dtype="bfloat16").model
    assert half.dtype == torch.bfloat16
    wanted = _adapters.merged(model).to(torch.bfloat16)
    assert torch.allclose(logits(half).float(), logits(wanted).float(), atol=0.3)


def test_a_served_adapter_says_what_its_merged_model_says(folder: Path, tmp_path: Path) -> None:
    model = trained(folder, "svf")
    saved = _adapters.save(model, tmp_path / "adapter")
    _adapters.merged(model).save_pretrained(tmp_path / "merged")
    load(str(folder)).tokenizer.save_pretrained(tmp_path / "merged")
    asked = [
        Prompt(messages=(Message(role="user", text=f"w{n} w{n + 1}"),), sampling=Sampling(max_tokens=6))
        for n in range(5)
    ]
    one, other = Local(str(saved)).answer(asked), Local(str(tmp_path / "merged")).answer(asked)
    assert [r.tokens for r in one] == [r.tokens for r in other]
    assert [r.tokens for r in one] != [r.tokens for r in Local(str(folder)).answer(asked)]


@pytest.mark.parametrize("kind", TRAINED)
def test_other_weights_than_its_bases_are_refused(folder: Path, kind: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(folder, base)
    saved = _adapters.save(trained(base, kind), tmp_path / "adapter")
    assert load(str(saved)).model is not None
    moved = tmp_path / "moved"
    shutil.move(base, moved)
    with pytest.raises(BrokenModel, match="is not there") as gone:
        load(str(saved))
    assert "adapter.json" in gone.value.remedy
    said = json.loads((saved / "adapter.json").read_text())
    (saved / "adapter.json").write_text(json.dumps({**said, "base": "../moved"}))
    assert load(str(saved)).model is not None  # a copy of the weights is the same weights
    other = opened(moved)
    with torch.no_grad():
        other.model.embed_tokens.weight.add_(0.01)  # no layer of the adapter, and yet another model
    other.save_pretrained(moved)
    with pytest.raises(BrokenModel, match="over other weights") as wrong:
        load(str(saved))
    assert '"base"' in wrong.value.remedy


def test_a_broken_adapters_folder_says_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    saved = _adapters.save(trained(folder, "svf"), tmp_path / "adapter")
    said = json.loads((saved / "adapter.json").read_text())
    (tmp_path / "second").mkdir()
    (tmp_path / "second/adapter.json").write_text(json.dumps({**said, "base": str(saved)}))
    with pytest.raises(BrokenModel, match="named as a base, holds an adapter"):
        load(str(tmp_path / "second"))
    (saved / "adapter.json").write_text(json.dumps({**said, "kind": "ia3"}))
    with pytest.raises(BrokenModel, match="no kind of adapter"):
        load(str(saved))
    (saved / "adapter.json").write_text(json.dumps({"kind": "svf"}))
    with pytest.raises(BrokenModel, match="names no base"):
        load(str(saved))
    (saved / "adapter.json").write_text(json.dumps(said))
    (saved / "svf.safetensors").unlink()
    with pytest.raises(BrokenModel, match=r"no svf\.safetensors"):
        load(str(saved))


def test_lora_is_pefts_own_format_both_ways(folder: Path, tmp_path: Path) -> None:
    model = trained(folder, "lora")
    saved = _adapters.save(model, tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(opened(folder), saved)
    assert torch.allclose(logits(theirs), logits(model), atol=1e-5)
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"], init_lora_weights=False)
    foreign = peft.get_peft_model(opened(folder), config)
    foreign.save_pretrained(tmp_path / "foreign")
    assert torch.allclose(logits(load(str(tmp_path / "foreign")).model), logits(foreign.eval()), atol=1e-4)
    parts = _lora.read(tmp_path / "foreign")
    assert all(name.endswith("q_proj") and part.scale == 3.0 for name, part in parts.items())
    settings = json.loads((tmp_path / "foreign/adapter_config.json").read_text())
    (tmp_path / "foreign/adapter_config.json").write_text(json.dumps({**settings, "use_dora": True}))
    with pytest.raises(BrokenModel, match="use_dora"):
        _lora.read(tmp_path / "foreign")


@pytest.mark.parametrize("kind", ["svf", "svf-relative"])
def test_svf_is_exported_as_lora_with_its_error(folder: Path, kind: str, tmp_path: Path) -> None:
    model = trained(folder, kind)
    errors = [_adapters.export_lora(model, tmp_path / f"r{rank}", rank) for rank in (1, 4, 32, 64)]
    assert errors == sorted(errors, reverse=True)
    assert 1 > errors[0] > errors[1] > 0.05
    assert errors[2] == errors[3] == 0.0
    assert torch.allclose(logits(load(str(tmp_path / "r64")).model), logits(model), atol=1e-3)
    base, plain = opened(folder), load(str(tmp_path / "r4")).model
    lost = whole = 0.0
    for name, layer in _svf.layers(model):
        change = (layer.changed() - layer.weight).detach()
        lost += float((plain.get_submodule(name).weight - layer.changed()).detach().norm() ** 2)
        whole += float(change.norm() ** 2)
        assert torch.equal(base.get_submodule(name).weight, layer.weight)
    assert errors[1] == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
    with pytest.raises(BadInput, match="no SVF"):
        _adapters.export_lora(base, tmp_path / "none", 4)


def test_the_first_weights_of_lora_hang_on_their_seed_alone(folder: Path) -> None:
    def first(seed: int) -> dict[str, torch.Tensor]:
        torch.rand(7)
        return _adapters.trained_state(_adapters.attach(opened(folder), "lora", 2, seed=seed))

    before = torch.get_rng_state()
    one = _adapters.attach(opened(folder), "lora", 2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's draws are moved
    again, other = first(3), first(4)
    mine = _adapters.trained_state(one)
    assert all(torch.equal(mine[k], again[k]) for k in mine)
    assert any(not torch.equal(mine[k], other[k]) for k in mine)


def test_a_bases_key_is_its_weights_and_nothing_else(folder: Path) -> None:
    base = opened(folder)
    key = _adapters.base_key(base)
    assert key == _adapters.base_key(load(str(folder), dtype="bfloat16").model)
    with torch.no_grad():
        next(p for n, p in base.named_parameters() if "down_proj" in n or "w2" in n).mul_(1.02)
    assert _adapters.base_key(base) != key


def test_the_rank_that_matches_is_told_with_what_it_costs(folder: Path) -> None:
    model = opened(folder)
    one = _adapters.size_of(_adapters.attach(opened(folder), "lora", 1)).trainable
    svf = _adapters.size_of(_adapters.attach(opened(folder), "svf")).trainable
    assert svf < one
    assert _adapters.rank_for(model, svf) == (1, one)
    assert _adapters.rank_for(model, 5 * one + 1) == (5, 5 * one)


@pytest.mark.parametrize("kind", ["lora", "svf"])
def test_a_training_leaves_an_adapter_that_is_its_model(kind: str, tmp_path: Path) -> None:
    base = new_tiny(tmp_path / "base", (*vocabulary(), *plugins.names("subtasks")), size=Size(width=32, layers="ca"))
    rows = build(BuildRecipe(source="toolworld:micro", subtask="names", n=24), tmp_path)
    settings = {"learning_rate": 0.05, "batch_tokens": 512, "max_length": 400, "threads": 1, "weight_decay": 0.0}
    recipe = TrainRecipe(model=str(base), rows=str(rows.folder), adapter=kind, rank=2, epochs=2, **settings)
    run = train(recipe, tmp_path)
    one, other = load(str(run.folder / "adapter")), load(str(run.folder / "model"))
    assert other.dialect_id == one.dialect_id == "compact"
    assert torch.allclose(logits(one.model), logits(other.model), atol=1e-4)
    assert not torch.allclose(logits(one.model), logits(opened(base)), atol=1e-2)
    loss = [value for _, value in run.read("training")["loss"]]
    assert loss[-1] < loss[0]
    said = json.loads((run.folder / "adapter/adapter.json").read_text())
    assert run.read("training")["trainable"] == said["parameters"] < 0.25 * run.read("training")["parameters"]
