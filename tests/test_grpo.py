"""Group-relative learning: formulae by hand, one row beside separate rows, rewards that are the verifier's."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from callgrain.core.errors import BadInput, UnknownName  # noqa: E402
from callgrain.core.store import Run  # noqa: E402
from callgrain.core.types import Answer, Message, Origin, Prompt, Sample, Trace  # noqa: E402
from callgrain.models._forest import Document, plant, target_logprobs  # noqa: E402
from callgrain.models._load import CARD, Loaded, load  # noqa: E402
from callgrain.models.local import Local  # noqa: E402
from callgrain.probes._graded import subtask_of  # noqa: E402
from callgrain.train._advantages import SHAPES, Totals, averaged, clipped, divergence, group_advantages, k3  # noqa: E402
from callgrain.train._group_step import GroupObjective  # noqa: E402
from callgrain.train._rollouts import Drawing, Rollouts, components, cut_samples, served_ids  # noqa: E402
from callgrain.train._run import train  # noqa: E402
from callgrain.train.grpo import GrpoRecipe, refuse_hacks  # noqa: E402
from callgrain.verify.reward import REWARDS, Reward  # noqa: E402

WORDS = ["ASK", "DECLINE", "yes", "no", "go", "park", "home", "red", "blue", "decide"]
MARKS = ["<unk>", "<pad>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tools|>"]


def save_toy(folder: Path, kind: str = "llama", seed: int = 0) -> Path:
    """A decoder of random weights that says a dozen words in the compact dialect."""
    vocabulary = {word: n for n, word in enumerate([*MARKS, *WORDS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens([tokenizers.AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", eos_token="<|end|>"
    ).save_pretrained(folder)
    shape = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.1,
        "pad_token_id": 1,
        "bos_token_id": None,
        "eos_token_id": 2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "llama":
            model = transformers.LlamaForCausalLM(transformers.LlamaConfig(num_hidden_layers=2, **shape))
        else:
            layers = ["conv", "full_attention"]
            config = transformers.Lfm2Config(num_hidden_layers=2, layer_types=layers, **shape)
            model = transformers.Lfm2ForCausalLM(config)
    model.save_pretrained(folder)
    (folder / CARD).write_text('{"dialect": "compact"}')
    return folder


def toy_source(path: Path, count: int = 24, decision: str = "answer") -> str:
    """Traces that no tool is needed for: right is whoever says anything and ends in time."""
    rng = random.Random(0)
    lines = []
    for number in range(count):
        text = " ".join(rng.choices(WORDS[2:-1], k=4))
        gold = Answer(decision=decision, text="yes" if decision == "answer" else "DECLINE")
        origin = Origin(dataset="toy", row=str(number), licence="none")
        trace = Trace(tools=(), messages=(Message(role="user", text=text),), gold=gold, origin=origin)
        lines.append(trace.model_dump_json())
    path.write_text("\n".join(lines) + "\n")
    return f"jsonl:{path}"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_source(tmp_path_factory.mktemp("source") / "toy.jsonl")


def recipe(model: Path, source: str, **more: Any) -> GrpoRecipe:
    given = {
        "model": str(model), "source": source, "subtask": "decide", "n": 16, "group": 6, "prompts_per_step": 4,
        "max_tokens": 8, "learning_rate": 3e-3, "monitor_steps": 0, "warmup": 0.0, "threads": 1,
    }  # fmt: skip
    return GrpoRecipe.resolve({**given, **more})


# -- formulae ----------------------------------------------------------------------------------------------------------


def test_advantages_by_hand() -> None:
    assert group_advantages([1.0, 0.0, 0.0, 0.0], scaled=False) == [0.75, -0.25, -0.25, -0.25]
    spread = 0.5 + 1e-4  # standard deviation of (1, 0, 0, 0) over n - 1
    assert group_advantages([1.0, 0.0, 0.0, 0.0]) == pytest.approx([0.75 / spread, *[-0.25 / spread] * 3])
    # RLOO: each against the mean of the others
    assert group_advantages([1.0, 0.5, 0.0], scaled=False, baseline="leave_one_out") == pytest.approx([0.75, 0, -0.75])


def test_a_group_that_was_paid_alike_teaches_nothing() -> None:
    for rewards in ([1.0, 1.0, 1.0], [0.3] * 8, [0.1 + 0.2, 0.3], [1.0], [None, 1.0], [None, None]):
        assert group_advantages(rewards) == [0.0] * len(rewards)


def test_a_reply_without_a_reward_is_in_no_mean() -> None:
    assert group_advantages([1.0, None, 0.0], scaled=False) == [0.5, 0.0, -0.5]


def test_the_clip_by_hand() -> None:
    ratios = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1], requires_grad=True)
    better = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    losses, cut = clipped(ratios.log(), torch.zeros(5), better, 0.2, 0.28)
    assert losses.tolist() == pytest.approx([-1.28, 1.5, -0.5, 0.8, -2.2])
    assert cut.tolist() == [True, False, False, True, False]
    (slope,) = torch.autograd.grad(losses.sum(), ratios)
    assert slope.tolist() == pytest.approx([0.0, 1.0, -1.0, 0.0, -2.0])


def test_k3_is_the_divergence_on_average() -> None:
    assert k3(torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])).item() == pytest.approx(
        0.5 - 1 + math.log(2)
    )
    policy, reference = torch.randn(2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double).log_softmax(
        -1
    )
    estimated = (policy.exp() * k3(policy, reference)).sum()
    assert estimated.item() == pytest.approx((policy.exp() * (policy - reference)).sum().item())
    assert (k3(policy, reference) >= 0).all()


def test_the_gradient_of_the_divergence_is_right_where_k3s_is_not() -> None:
    rng = torch.Generator().manual_seed(1)
    scores = torch.randn(7, generator=rng, dtype=torch.double, requires_grad=True)
    old, reference = torch.randn(2, 7, generator=rng, dtype=torch.double).log_softmax(-1)

    def slope(value: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value, scores, retain_graph=True)[0]

    policy = scores.log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    drawn = (old.exp() * divergence(policy, old, reference)).sum()  # the mean over draws from the old policy
    assert drawn.item() == pytest.approx(exact.item())
    assert slope(drawn).tolist() == pytest.approx(slope(exact).tolist())
    on_policy = (policy.detach().exp() * divergence(policy, policy.detach(), reference)).sum()
    assert slope(on_policy).tolist() == pytest.approx(slope(exact).tolist())
    bare = (policy.detach().exp() * k3(policy, reference)).sum()
    assert (slope(bare) - slope(exact)).abs().max() > 0.01


def test_what_each_shape_divides_by() -> None:
    losses, branch = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1])
    totals = Totals(replies=2, tokens=3, most=10)
    assert averaged(losses, branch, totals, SHAPES["grpo"].over).item() == pytest.approx((2 + 5) / 2)
    assert averaged(losses, branch, totals, SHAPES["dapo"].over).item() == pytest.approx(9 / 3)
    assert averaged(losses, branch, totals, SHAPES["dr_grpo"].over).item() == pytest.approx(9 / 20)
    # A reply of two tokens that earned nothing and was not computed counts all the same.
    more = Totals(replies=3, tokens=5, most=10)
    found = [averaged(losses, branch, more, SHAPES[name].over).item() for name in ("grpo", "dapo", "dr_grpo")]
    assert found == pytest.approx([7 / 3, 9 / 5, 9 / 30])


# -- one row beside separate rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "lfm2"])
@pytest.mark.parametrize("shape", ["grpo", "dr_grpo", "dapo"])
def test_the_gradient_of_one_row_is_that_of_separate_rows(tmp_path: Path, kind: str, shape: str) -> None:
    rng = random.Random(3)
    model = load(str(save_toy(tmp_path, kind)), dtype="float32").model

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(4, 16) for _ in range(count))

    documents = [Document(ids(7), (ids(3), ids(5), ids(1))), Document(ids(4), (ids(2), ids(6)))]
    better = torch.tensor([1.2, -0.7, -0.5, 0.4, -0.4])
    totals, over = Totals(5, 17, 8), SHAPES[shape].over
    forest = plant(documents)
    together = target_logprobs(model, forest)
    # Old log-probs that differ from the present ones, so that some ratios are clipped.
    drift = torch.linspace(-0.5, 0.5, len(together))
    losses, cut = clipped(together, together.detach() + drift, better[forest.branch], 0.2, 0.28)
    assert 0 < cut.sum() < len(cut)
    averaged(losses, forest.branch, totals, over).backward()
    shared = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)

    model.config._attn_implementation = "eager"  # the library's own attention, one plain row at a time
    done = 0
    for number, (document, reply) in enumerate((d, b) for d in documents for b in d.branches):
        row = torch.tensor([[*document.prompt, *reply]])
        logits = model(input_ids=row, use_cache=False).logits[0, len(document.prompt) - 1 : -1]
        alone = torch.log_softmax(logits, -1).gather(1, row[0, len(document.prompt) :, None])[:, 0]
        old = together.detach()[done : done + len(reply)] + drift[done : done + len(reply)]
        done += len(reply)
        mine, _ = clipped(alone, old, better[number].expand(len(reply)), 0.2, 0.28)
        averaged(mine, torch.zeros(len(reply), dtype=torch.long), totals, over).backward()
    assert done == len(together)
    assert shared.keys() == {name for name, p in model.named_parameters() if p.grad is not None}
    largest = max(g.abs().max().item() for g in shared.values())
    assert largest > 1e-3
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert (shared[name] - parameter.grad).abs().max().item() < 1e-5 * max(1.0, largest), name


# -- rollouts ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(toy: Path, source: str) -> tuple[Loaded, list[Sample], list[Any]]:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (6, 2), 0)
    groups = Rollouts(loaded, Drawing(group=8, temperature=1.0, max_tokens=8), "graded").draw(samples, 0)
    return loaded, samples, groups


def test_rewards_are_what_the_subtask_grades(drawn: tuple[Loaded, list[Sample], list[Any]]) -> None:
    _, samples, groups = drawn
    assert [len(group.drawn) for group in groups] == [8] * 6
    met = set()
    for sample, group in zip(samples, groups, strict=True):
        for one in group.drawn:
            verdict = subtask_of("decide").grade(sample, one.reply)
            assert one.verdict == verdict
            assert one.reward == REWARDS["graded"].of(sample, one.reply, verdict)
            met.add(one.reward)
    assert {0.02, 1.0} <= met  # cut off, and right


def test_token_ids_are_the_replys_and_its_logprobs_are_theirs(drawn: tuple[Loaded, list[Sample], list[Any]]) -> None:
    loaded, samples, groups = drawn
    for sample, group in zip(samples, groups, strict=True):
        assert group.prompt == served_ids(loaded, sample)
        with torch.no_grad():
            ours = target_logprobs(loaded.model, plant([group.document])).tolist()
        said = [p for one in group.drawn for p in one.reply.logprobs]
        assert ours == pytest.approx(said, abs=1e-4)
        for one in group.drawn:
            assert loaded.tokenizer.convert_ids_to_tokens(list(one.ids)) == list(one.reply.tokens)
            ended = one.ids[-1] == loaded.tokenizer.eos_token_id
            assert ended or (len(one.ids) == 8 and one.reply.fault.kind == "truncated")


def test_a_draw_hangs_on_weights_seed_and_step_alone(toy: Path, source: str) -> None:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (4, 2), 0)

    def texts(asked: list[Sample], step: int, seed: int = 0) -> list[list[str]]:
        rollouts = Rollouts(loaded, Drawing(4, 1.0, 8, seed=seed), "binary")
        return [[one.reply.text for one in group.drawn] for group in rollouts.draw(asked, step)]

    first = texts(samples, 3)
    assert texts(samples, 3) == first
    assert texts(samples[::-1], 3) == first[::-1]  # nor on its neighbours
    assert texts(samples, 4) != first
    assert texts(samples, 3, seed=1) != first
    assert len({text for group in first for text in group}) > 4  # replies of a group differ


def test_the_model_answers_in_evaluation_mode_and_goes_back(toy: Path, source: str) -> None:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (1, 1), 0)
    loaded.model.train()
    loaded.model.model.layers[0].eval()
    seen: list[bool] = []
    handle = loaded.model.model.layers[1].register_forward_pre_hook(lambda module, _: seen.append(module.training))
    Rollouts(loaded, Drawing(2, 1.0, 4), "binary").draw(samples, 0)
    handle.remove()
    assert seen
    assert not any(seen)
    assert loaded.model.training
    assert not loaded.model.model.layers[0].training


def test_the_weights_that_learn_are_the_weights_that_draw(toy: Path, source: str) -> None:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (2, 1), 0)
    rollouts = Rollouts(loaded, Drawing(4, 1.0, 8), "binary")
    before = rollouts.draw(samples, 0)
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight[loaded.tokenizer.eos_token_id] = 0.0
        loaded.model.get_output_embeddings().weight *= -3.0
    after = rollouts.draw(samples, 0)
    assert [[d.ids for d in g.drawn] for g in after] != [[d.ids for d in g.drawn] for g in before]
    said = [p for one in after[0].drawn for p in one.reply.logprobs]
    with torch.no_grad():
        ours = target_logprobs(loaded.model, plant([after[0].document])).tolist()
    assert said == pytest.approx(ours, abs=1e-4)


def test_components_add_up(drawn: tuple[Loaded, list[Sample], list[Any]]) -> None:
    _, _, groups = drawn
    every = [one for group in groups for one in group.drawn]
    parts = components(groups)
    faults = sum(value for name, value in parts.items() if name.startswith("fault_"))
    assert parts["ok"] + faults == pytest.approx(1.0)
    assert parts["ok"] == pytest.approx(sum(one.verdict.ok for one in every) / len(every))
    assert parts["cut_off"] == pytest.approx(sum(len(o.ids) == 8 and o.reply.fault is not None for o in every) / 48)
    assert parts["calls"] == 0.0
    assert parts["abstentions"] == pytest.approx(1 - parts["fault_form"])
    assert parts["ungraded"] == 0.0


def test_what_is_watched_is_not_trained_on() -> None:
    train_on, watched = cut_samples("toolworld:micro", "", ["names", "nest", "decide"], (20, 7), 0)
    assert (len(train_on), len(watched)) == (20, 7)
    rows = [{s.origin.row for s in part} for part in (train_on, watched)]
    assert not rows[0] & rows[1]
    assert {s.subtask for s in train_on} == {"names", "nest", "decide"}
    assert {s.origin.split for s in train_on} == {"train"}


def test_a_small_source_is_mostly_trained_on(source: str) -> None:
    train_on, watched = cut_samples(source, "", ["decide"], (100, 16), 0)  # 24 traces
    assert 3 <= len(watched) <= 5
    assert len(train_on) == 24 - len(watched)
    assert not {s.origin.row for s in train_on} & {s.origin.row for s in watched}
    assert len(cut_samples(source, "", ["decide"], (100, 0), 0)[0]) == 24


# -- the method --------------------------------------------------------------------------------------------------------


def test_the_reward_rises_and_all_is_written_down(toy: Path, source: str, tmp_path: Path) -> None:
    settings = recipe(
        toy, source, epochs=6.0, monitor_steps=8, monitor_prompts=4, monitor_draws=4, prompts_per_step=4, kl=0.01
    )
    run = train(settings, tmp_path)
    meters = list(run.rows("meters"))
    assert len(meters) == 24
    early, late = (sum(row["reward"] for row in part) / 4 for part in (meters[:4], meters[-4:]))
    assert early < 0.6
    assert late > early + 0.2
    assert meters[-1]["length"] < meters[0]["length"]
    assert all(row["kl"] >= 0 for row in meters if "kl" in row)
    assert meters[-1]["kl"] > meters[0]["kl"] == 0.0
    rollouts = list(run.rows("rollouts"))
    assert len(rollouts) == 24 * 4 * 6
    first = [row for row in rollouts if row["step"] == 0]
    assert meters[0]["reward"] == pytest.approx(sum(row["reward"] for row in first) / len(first))
    looks = list(run.rows("monitor"))
    assert [row["step"] for row in looks] == [0, 8, 16, 24]
    assert looks[-1]["pass_at"]["1"] > looks[0]["pass_at"]["1"]
    assert sum(looks[0]["shares"].values()) == pytest.approx(1.0)
    table = run.read("reward_hacks")
    assert {row["policy"] for row in table} >= {"constant", "always_decline", "flood"}
    assert not any(row["failing"] for row in table)
    done = run.read("training")
    assert done["target_tokens"] == sum(row["tokens"] for row in rollouts)
    assert Local(str(run.folder / "model")).answer([Prompt(messages=(Message(role="user", text="go home"),))])


class StopError(Exception):
    pass


@pytest.mark.parametrize("updates", [1, 2])
def test_a_run_that_was_cut_off_ends_the_same(toy: Path, source: str, tmp_path: Path, updates: int) -> None:
    from safetensors.torch import load_file

    settings = recipe(toy, source, save_steps=3, epochs_per_batch=updates, epochs=1.0 if updates > 1 else 2.0, kl=0.05)
    whole = train(settings, tmp_path / "whole")

    def stop(what: str, step: int, _: int) -> None:
        if what.startswith("training") and step >= 5:
            raise StopError

    with pytest.raises(StopError):
        train(settings, tmp_path / "cut", tell=stop)
    resumed = train(settings, tmp_path / "cut")
    one, other = (load_file(run.folder / "model" / "model.safetensors") for run in (whole, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert len(list(whole.folder.glob("held-*.json"))) <= 3 * (updates > 1)
    assert [row["reward"] for row in whole.rows("meters")] == [row["reward"] for row in resumed.rows("meters")]
    assert sorted(r["key"] for r in whole.rows("rollouts")) == sorted(r["key"] for r in resumed.rows("rollouts"))


def test_the_second_update_on_the_same_replies_is_clipped(toy: Path, source: str, tmp_path: Path) -> None:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (4, 1), 0)
    settings = recipe(toy, source, epochs_per_batch=3, clip_low=0.001, clip_high=0.001)
    with Run.open(tmp_path, "train", "grpo", {}, {}) as run:
        objective = GroupObjective(loaded, settings, run)
        loaded.model.train()
        loss, first = objective.loss(loaded.model, samples, 0)
        loss.backward()
        with torch.no_grad():
            for parameter in loaded.model.parameters():
                parameter.sub_(0.05 * parameter.grad)
        _, second = objective.loss(loaded.model, ["not looked at"], 1)
        again = GroupObjective(loaded, settings, run)
        _, restored = again.loss(loaded.model, ["not looked at"], 1)
        _, third = objective.loss(loaded.model, samples, 3)
    assert first["clipped"] == 0.0
    assert second["clipped"] > 0.0
    assert restored == second
    assert third["reward"] != first["reward"] or third["length"] != first["length"]


def test_in_mixed_precision_drawing_leaves_no_weights_behind(toy: Path, source: str, tmp_path: Path) -> None:
    """Autocast keeps the weights that it has cast: those of a draw have no gradient."""
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (4, 0), 0)
    with Run.open(tmp_path, "train", "grpo", {}, {}) as run:
        objective = GroupObjective(loaded, recipe(toy, source), run)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = objective.loss(loaded.model.train(), samples, 0)
        loss.backward()
    weights = [p for p in loaded.model.parameters() if p.dim() == 2]
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in weights)


@pytest.mark.parametrize("adapter", ["lora", "svf"])
def test_with_an_adapter_the_base_is_the_reference(toy: Path, source: str, tmp_path: Path, adapter: str) -> None:
    settings = recipe(toy, source, adapter=adapter, kl=0.01, epochs=2.0, learning_rate=2e-2)
    run = train(settings, tmp_path)
    meters = list(run.rows("meters"))
    assert meters[0]["kl"] == pytest.approx(0.0, abs=1e-7)
    assert meters[-1]["kl"] > 1e-5
    assert (run.folder / "adapter").is_dir()


def test_at_another_temperature_the_policy_is_the_one_that_drew(toy: Path, source: str, tmp_path: Path) -> None:
    loaded = load(str(toy), dtype="float32")
    samples, _ = cut_samples(source, "", ["decide"], (2, 1), 0)
    with Run.open(tmp_path, "train", "grpo", {}, {}) as run:
        objective = GroupObjective(loaded, recipe(toy, source, temperature=0.5), run)
        document = objective.rollouts.draw(samples, 0)[0].document
        ours = objective._logprobs(loaded.model, plant([document]))
    row = torch.tensor([[*document.prompt, *document.branches[0]]])
    with torch.no_grad():
        logits = loaded.model(input_ids=row).logits[0, len(document.prompt) - 1 : -1] / 0.5
    wanted = torch.log_softmax(logits, -1).gather(1, row[0, len(document.prompt) :, None])[:, 0]
    assert ours[: len(wanted)].tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def test_what_a_grammar_forces_is_nobodys_merit(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    from callgrain.core import plugins
    from callgrain.models._tiny import new_tiny
    from callgrain.tools._toolworld_micro import vocabulary

    folder = new_tiny(tmp_path / "tiny", (*vocabulary(), *plugins.names("subtasks")))
    loaded = load(str(folder), dtype="float32")
    at = loaded.tokenizer.convert_tokens_to_ids("@")
    lift = 12.0 * torch.nn.functional.one_hot(torch.tensor(at), loaded.model.config.vocab_size)
    loaded.model.get_output_embeddings().register_forward_hook(lambda _, __, logits: logits + lift)  # it likes to call
    samples, _ = cut_samples("toolworld:micro", "", ["names", "full"], (4, 0), 0)
    with Run.open(tmp_path, "train", "grpo", {}, {}) as run:
        settings = recipe(
            folder, "toolworld:micro", constrain=True, max_tokens=40, group=6, reward="graded", loss_type="dapo"
        )
        objective = GroupObjective(loaded, settings, run)
        groups = objective.rollouts.draw(samples, 0)
        _, meters = objective.loss(loaded.model, samples, 0)
        held = objective._held
    every = [one for group in groups for one in group.drawn]
    forced = sum(one.reply.usage["forced_tokens"] for one in every)
    choices = [list(zip(one.reply.logprobs, one.free, strict=True)) for one in every]
    assert forced > 0
    assert forced <= sum(not chosen for reply in choices for _, chosen in reply) < sum(map(len, choices))
    assert all((logprob == 0) is not chosen for reply in choices for logprob, chosen in reply)
    assert held.totals.tokens == sum(chosen for reply in choices for _, chosen in reply)
    assert meters["length"] * len(every) == pytest.approx(sum(map(len, choices)))


def test_a_reward_that_pays_those_who_do_not_try_is_refused(
    toy: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REWARDS, "generous", Reward(lambda *_: 1.0, "1 for anything"))
    with pytest.raises(BadInput, match=r"'generous' pays too much .*constant earns 1\.000 where it may earn"):
        train(recipe(toy, source, reward="generous"), tmp_path)
    (table,) = tmp_path.glob("train/*/reward_hacks.json")
    assert {r["policy"] for r in json.loads(table.read_text()) if r["failing"]} >= {"constant", "flood", "malformed"}
    assert not list(tmp_path.glob("train/*/checkpoints"))
    monkeypatch.setitem(REWARDS, "stingy", Reward(lambda *_: 0.0, "0 for anything"))
    with pytest.raises(BadInput, match=r"key earns 0\.000 where it may earn 1\.000 at least"):
        train(recipe(toy, source, reward="stingy"), tmp_path)


def test_published_shapes_that_overpay_are_refused_by_name(toy: Path, tmp_path: Path) -> None:
    samples, _ = cut_samples("toolworld:micro", "", ["decide", "full"], (24, 1), 0)
    with Run.open(tmp_path, "train", "grpo", {}, {}) as run:
        assert not [r for r in refuse_hacks(samples, recipe(toy, "x", reward="graded"), run) if r.failing]
        with pytest.raises(BadInput, match="'toolrl_like' pays") as refused:
            refuse_hacks(samples, recipe(toy, "x", reward="toolrl_like"), run)
        allowed = refused.value.remedy.rpartition("--allow ")[2]
        assert refuse_hacks(samples, recipe(toy, "x", reward="toolrl_like", allow=allowed), run)


def test_what_cannot_be_trained_says_so(toy: Path, source: str, tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(BadInput, match="is a benchmark"):
        train(recipe(toy, f"bfcl:{shared_data / 'bfcl_v4'}"), tmp_path)
    with pytest.raises(UnknownName, match="unknown reward 'binery'"):
        train(recipe(toy, source, reward="binery"), tmp_path)
    with pytest.raises(UnknownName, match="unknown sub-task 'decied'"):
        train(recipe(toy, source, subtask="decied"), tmp_path)
    with pytest.raises(BadInput, match="no prompt is short enough"):
        train(recipe(toy, source, max_length=12), tmp_path)
    with pytest.raises(BadInput, match="no sample for nest"):
        train(recipe(toy, source, subtask="nest"), tmp_path)
