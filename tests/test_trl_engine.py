"""TRL as an engine: the same prompts and rewards as ours, and our losses held against TRL's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
trl = pytest.importorskip("trl", reason="the rl extra is not installed")

from callgrain.core.errors import BadInput, MissingExtra  # noqa: E402
from callgrain.models._forest import plant, target_logprobs  # noqa: E402
from callgrain.models._load import load  # noqa: E402
from callgrain.models.local import Local  # noqa: E402
from callgrain.train import _trl  # noqa: E402
from callgrain.train._advantages import SHAPES, Totals, averaged, clipped, divergence, group_advantages  # noqa: E402
from callgrain.train._rollouts import Drawing, Rollouts, Speaker, cut_samples, served_ids  # noqa: E402
from callgrain.train._run import train  # noqa: E402
from callgrain.train.grpo import GrpoRecipe  # noqa: E402
from test_grpo import recipe, save_toy, toy_source  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_source(tmp_path_factory.mktemp("source") / "toy.jsonl")


def trainer_of(toy: Path, source: str, tmp_path: Path, **more: Any) -> tuple[Any, Any, list[Any], list[Any]]:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (8, 0), 0)
    earned: list[dict[str, float]] = []
    settings: GrpoRecipe = recipe(toy, source, engine="trl", n=8, prompts_per_step=2, group=4, **more)
    return _trl.trainer_of(loaded, samples, settings, tmp_path / "trl", earned), loaded, samples, earned


def test_trl_pays_what_we_pay_for_the_same_replies(toy: Path, source: str) -> None:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (4, 0), 0)
    groups = Rollouts(loaded, Drawing(6, 1.0, 8), "graded").draw(samples, 0)
    earned: list[dict[str, float]] = []
    reward = _trl.reward_function(loaded, Speaker.around(loaded), samples, "graded", earned)
    ids = [list(one.ids) for group in groups for one in group.drawn]
    numbers = [number for number in range(4) for _ in range(6)]
    ours = [one.reward for group in groups for one in group.drawn]
    assert reward(completion_ids=ids, sample=numbers, prompts=[], completions=[]) == ours
    assert len(set(ours)) > 1
    assert earned[0]["tokens"] == sum(map(len, ids))
    read = Speaker.around(loaded).read(ids[0])
    said = groups[0].drawn[0].reply
    assert (read.text, read.message, read.fault, read.tokens) == (said.text, said.message, said.fault, said.tokens)


def test_two_steps_on_trl_leave_an_ordinary_model(toy: Path, source: str, tmp_path: Path) -> None:
    run = train(recipe(toy, source, engine="trl", n=8, group=4, epochs=1.0, kl=0.01), tmp_path)
    done = run.read("training")
    assert (done["engine"], done["steps"]) == ("trl", 2)
    assert len(rewards := [row["reward"] for row in run.rows("meters")]) == 2
    assert all(0 <= reward <= 1 for reward in rewards)
    assert 2 * 4 * 4 <= done["target_tokens"] <= 2 * 4 * 4 * 8
    made, first = (load(str(folder), dtype="float32").model for folder in (run.folder / "model", toy))
    moved = max((a - b).abs().max().item() for a, b in zip(made.parameters(), first.parameters(), strict=True))
    assert 1e-4 < moved < 0.1
    assert Local(str(run.folder / "model")).dialect_id == "compact"
    assert run.read("reward_hacks")


def test_trl_is_asked_the_tokens_that_are_served(toy: Path, source: str, tmp_path: Path) -> None:
    trainer, loaded, samples, _ = trainer_of(toy, source, tmp_path)
    for row, sample in zip(trainer.train_dataset, samples, strict=True):
        (ids,) = trainer._tokenize_prompts([row["prompt"]])[0]
        assert tuple(ids) == served_ids(loaded, sample)
    assert set(trainer.eos_token_ids) == {loaded.tokenizer.convert_tokens_to_ids("<|end|>")}


def test_an_opening_token_is_there_once(toy: Path, source: str) -> None:
    from tokenizers.processors import TemplateProcessing

    loaded = load(str(toy), dtype="float32")
    (sample, *_), _ = cut_samples(source, "", ["decide"], (1, 0), 0)
    tokenizer = loaded.tokenizer
    tokenizer.bos_token = "<pad>"
    both = [("<pad>", 1), ("<|end|>", 2)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<pad> $A", special_tokens=both)
    wanted = list(served_ids(loaded, sample))
    assert wanted[0] == 1 != wanted[1]
    text = _trl.prompt_text(loaded, sample)
    assert tokenizer(text=[text])["input_ids"] == [wanted]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<pad> $A <|end|>", special_tokens=both)
    with pytest.raises(BadInput, match="adds tokens to a prompt"):
        _trl.prompt_text(loaded, sample)


@pytest.mark.parametrize("shape", ["grpo", "dr_grpo", "dapo"])
def test_our_losses_are_trls(toy: Path, source: str, tmp_path: Path, shape: str) -> None:
    trainer, loaded, samples, _ = trainer_of(toy, source, tmp_path, loss_type=shape, kl=0.04)
    model = loaded.model
    groups = Rollouts(loaded, Drawing(4, 1.0, 8), "graded").draw(samples[:2], 0)
    forest = plant([group.document for group in groups])
    ours = target_logprobs(model, forest)
    drift = torch.linspace(-0.6, 0.6, len(ours))
    old, reference = ours.detach() + drift, ours.detach() - drift / 2
    each = [a for group in groups for a in group_advantages(group.rewards, scaled=SHAPES[shape].scaled)]
    better = torch.tensor(each)
    assert better.abs().max() > 0
    lengths = [len(one.ids) for group in groups for one in group.drawn]
    losses, _ = clipped(ours, old, better[forest.branch], 0.2, SHAPES[shape].clip_high)
    losses = losses + 0.04 * divergence(ours, old, reference)
    mine = averaged(losses, forest.branch, Totals(8, sum(lengths), 8), SHAPES[shape].over)

    def padded(values: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(8, max(lengths), dtype=values.dtype)
        for number, part in enumerate(values.split(lengths)):
            out[number, : len(part)] = part
        return out

    prompts = [group.prompt for group in groups for _ in group.drawn]
    widest = max(map(len, prompts))
    pad = loaded.tokenizer.pad_token_id
    inputs = {
        "prompt_ids": torch.tensor([[pad] * (widest - len(p)) + list(p) for p in prompts]),
        "prompt_mask": torch.tensor([[0] * (widest - len(p)) + [1] * len(p) for p in prompts]),
        "completion_ids": padded(forest.targets),
        "completion_mask": padded(torch.ones_like(forest.targets)),
        "advantages": better,
        "old_per_token_logps": padded(old),
        "ref_per_token_logps": padded(reference),
        "num_items_in_batch": torch.tensor(float(sum(lengths))),
    }
    trainer.current_gradient_accumulation_steps = 1
    model.train()
    theirs = trainer._compute_loss(model, inputs)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-3, abs=1e-6)
    weight = model.model.layers[0].self_attn.v_proj.weight
    slopes = [torch.autograd.grad(loss, weight)[0] for loss in (mine, theirs)]
    assert slopes[0].abs().max() > 1e-4
    assert (slopes[0] - slopes[1]).abs().max() < 1e-3 * slopes[1].abs().max()


def test_our_advantages_are_trls(toy: Path, source: str, tmp_path: Path) -> None:
    """What TRL's own scoring makes of our reward: mean and spread of each group, one reply ungraded."""
    trainer, _, _, _ = trainer_of(toy, source, tmp_path)
    paid = [1.0, 0.02, 0.0, 0.0, 1.0, None, 0.0, 1.0]
    trainer.reward_funcs = [lambda **_: paid]
    rows = [trainer.train_dataset[number] for number in (0, 0, 0, 0, 1, 1, 1, 1)]
    scored = trainer._generate_and_score_completions(rows)
    wanted = group_advantages(paid[:4]) + group_advantages(paid[4:])
    assert scored["advantages"].tolist() == pytest.approx(wanted, abs=1e-5)


def test_what_trl_cannot_do_is_said(toy: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for change, words in (
        ({"constrain": True}, "without a constraint"),
        ({"baseline": "leave_one_out"}, "no baseline but the group's mean"),
        ({"vllm": True}, "vLLM, which is not installed"),
    ):
        monkeypatch.setattr(_trl, "find_spec", lambda name: None if name == "vllm" else True)
        with pytest.raises(BadInput, match=words):
            train(recipe(toy, source, engine="trl", **change), tmp_path)
    monkeypatch.setattr(_trl, "find_spec", lambda name: None if name == "trl" else True)
    with pytest.raises(MissingExtra, match=r"callgrain\[rl\]"):
        train(recipe(toy, source, engine="trl"), tmp_path)
