"""A row of many documents gives each what it would get alone: logits, log-probabilities, gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

import transformers  # noqa: E402

from callgrain.core.errors import BadInput  # noqa: E402
from callgrain.models import _forest  # noqa: E402
from callgrain.models._forest import Document, by_branch, plant, target_logits, target_logprobs  # noqa: E402
from callgrain.models._isolation import ATTENTION, can_isolate  # noqa: E402

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # wide, so that a leak cannot hide in rounding
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LFM2 = {"layer_types": ["full_attention", "conv", "conv", "full_attention"], "block_auto_adjust_ff_dim": False}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen3": ("Qwen3", {"head_dim": 8, "tie_word_embeddings": True}),
    "lfm2": ("Lfm2", {**LFM2, "conv_L_cache": 4, "conv_bias": True}),
    "mistral, a window of 5": ("Mistral", {"sliding_window": 5}),
    "qwen2": ("Qwen2", {}),
    "gpt2": (
        "GPT2",
        {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "vocab_size": 61,
            "n_positions": 128,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
}
FALLBACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("Mamba", {"state_size": 4, "conv_kernel": 3}),
    "gemma2, soft caps": (
        "Gemma2",
        {"head_dim": 8, "attn_logit_softcapping": 1.0, "final_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    ),
}
DOCUMENTS = [
    Document((5, 6, 7, 8, 9, 10, 11), ((20, 21, 22), (23,), (), (24, 25, 26, 27, 28, 29))),
    Document((30,), ((31, 32, 33, 34),)),
    Document(tuple(range(35, 50)), ((50, 51), (52, 53, 54))),
]


def made(kind: str, more: dict[str, Any]) -> Any:
    config = getattr(transformers, f"{kind}Config")(**(more if kind == "GPT2" else {**SMALL, **more}))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def alone(model: Any, documents: list[Document]) -> Any:
    """Logits of every target, from one forward pass a branch by the library's own attention."""
    found = []
    for document in documents:
        for branch in document.branches:
            ids = torch.tensor([[*document.prompt, *branch]])
            logits = model(input_ids=ids, use_cache=False).logits[0]
            found.append(logits[len(document.prompt) - 1 : len(document.prompt) - 1 + len(branch)])
    return torch.cat(found).float()


@pytest.mark.parametrize("name", [*MODELS, *FALLBACKS])
def test_every_document_comes_out_of_the_row_as_it_would_alone(name: str) -> None:
    kind, more = (MODELS | FALLBACKS)[name]
    model = made(kind, more)
    wanted = alone(model, DOCUMENTS)  # before the model was prepared for rows
    assert can_isolate(model) is (name in MODELS)
    with torch.no_grad():
        found = target_logits(model, plant(DOCUMENTS))
        assert found.dtype == torch.float32
        assert (found - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))
        assert (alone(model, DOCUMENTS) - wanted).abs().max() < 1e-5, "without a layout the model is what it was"
        single = torch.cat([target_logits(model, plant([d])) for d in DOCUMENTS])
        assert (single - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["llama", "lfm2", "mistral, a window of 5", "mamba"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_documents_alone(name: str, checkpointing: bool) -> None:
    kind, more = (MODELS | FALLBACKS)[name]
    model = made(kind, more).train()
    other = copy.deepcopy(model)
    targets = plant(DOCUMENTS).targets
    torch.nn.functional.cross_entropy(alone(other, DOCUMENTS), targets).backward()
    if checkpointing:
        model.gradient_checkpointing_enable()
    (-target_logprobs(model, plant(DOCUMENTS)).mean()).backward()
    for (key, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert theirs.grad is not None, key
        assert torch.allclose(ours.grad, theirs.grad, atol=2e-6, rtol=1e-4), key


def test_the_row_is_laid_out_as_written() -> None:
    forest = plant([Document((5, 6), ((7, 8), (9,))), Document((10,), ((11,),))])
    assert forest.input_ids.tolist() == [[5, 6, 7, 8, 9, 10, 11]]
    assert forest.position_ids.tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    assert forest.targets.tolist() == [7, 8, 9, 11]
    assert forest.where.tolist() == [1, 2, 1, 5]
    assert forest.branch.tolist() == [0, 0, 1, 2]
    assert forest.branches == 3
    assert forest.tokens == 7
    assert forest.layout.before.tolist() == [7, 0, 1, 2, 1, 7, 5]
    values = torch.tensor([0.5, 0.25, 4.0, 8.0])
    assert by_branch(values, forest).tolist() == [0.75, 4.0, 8.0]
    counts = by_branch(torch.ones(19), plant(DOCUMENTS))
    assert counts.tolist() == [3, 1, 0, 6, 4, 2, 3]
    with pytest.raises(BadInput, match="has no prompt"):
        plant([Document((), ((1,),))])
    with pytest.raises(BadInput, match="no documents"):
        plant([])


def test_log_probabilities_are_the_softmax_at_the_targets_in_chunks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("Llama", {})
    forest = plant(DOCUMENTS)
    wanted = torch.log_softmax(alone(model, DOCUMENTS), -1).gather(1, forest.targets[:, None])[:, 0]
    whole = target_logprobs(model, forest)
    monkeypatch.setattr(_forest, "_AT_ONCE", 3 * 61)  # three rows a chunk
    chunked = target_logprobs(model, forest)
    assert torch.allclose(whole, wanted, atol=1e-5)
    assert torch.allclose(chunked, wanted, atol=1e-5)
    gradients = [torch.autograd.grad(lp.sum(), list(model.parameters())) for lp in (whole, chunked, wanted)]
    for one, two, three in zip(*gradients, strict=True):
        assert (one - two).abs().max() <= 1e-5 * one.abs().max()
        assert (one - three).abs().max() <= 1e-5 * one.abs().max()


def test_plain_packing_leaks_with_a_cache_which_is_why_there_are_layouts() -> None:
    model = made("Llama", {})
    rows = [tuple(d.prompt) + d.branches[0] for d in DOCUMENTS]
    ids = torch.tensor([[t for row in rows for t in row]])
    places = torch.tensor([[p for row in rows for p in range(len(row))]])
    with torch.no_grad():
        wanted = torch.cat([model(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in rows])
        leaky = model(input_ids=ids, position_ids=places, use_cache=True).logits[0]
        tight = model(input_ids=ids, position_ids=places, use_cache=False).logits[0]
    assert (leaky - wanted).abs().max() > 0.1
    assert (tight - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["llama", "lfm2"])
def test_bf16_autocast_is_close(name: str) -> None:
    model = made(*MODELS[name])
    with torch.no_grad():
        exact = target_logprobs(model, plant(DOCUMENTS))
        with torch.autocast("cpu", torch.bfloat16):
            rough = target_logprobs(model, plant(DOCUMENTS))
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.2


def test_wrapped_models_give_the_same_numbers() -> None:
    peft = pytest.importorskip("peft")
    model = made("Llama", {})
    wanted = alone(model, DOCUMENTS).detach()
    forest = plant(DOCUMENTS)

    class Launcher(torch.nn.Module):
        """What DistributedDataParallel is from outside: `module`, and a forward of its own."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module
            self.seen = 0

        def forward(self, *args: Any, **more: Any) -> Any:
            self.seen += 1
            return self.module(*args, **more)

    launcher = Launcher(model)
    assert torch.allclose(target_logits(launcher, forest), wanted, atol=1e-5)
    assert launcher.seen == 1, "the forward pass must go through the wrapper, or no gradient is shared"
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    assert torch.allclose(target_logits(lora, forest), wanted, atol=1e-5)
    for key, weight in lora.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(weight, std=0.5)
    moved = target_logits(lora, forest)
    assert (moved - wanted).abs().max() > 0.1
    assert torch.allclose(moved, alone(lora, DOCUMENTS), atol=1e-5)
    target_logprobs(lora, forest).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in lora.parameters())


def test_a_prepared_model_still_generates_and_saves(tmp_path: Any) -> None:
    model = made("Lfm2", MODELS["lfm2"][1])
    prompt = {
        "input_ids": torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]]),
        "attention_mask": torch.tensor([[0, 0, 1, 1], [1] * 4]),
    }
    wanted = model.generate(**prompt, max_new_tokens=6, do_sample=False)
    assert can_isolate(model)
    assert model.config._attn_implementation == ATTENTION
    assert torch.equal(model.generate(**prompt, max_new_tokens=6, do_sample=False), wanted)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config._attn_implementation == "sdpa"
    assert torch.allclose(alone(again, DOCUMENTS), alone(model, DOCUMENTS), atol=1e-6)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.zero_()
        assert target_logits(copied, plant(DOCUMENTS)).abs().max() == 0, "a copy runs on weights of its own"
