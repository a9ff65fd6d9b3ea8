"""The local back end on random-weight models: a batch is its single rows, and log-probs are true."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from callgrain.core import plugins  # noqa: E402
from callgrain.core.errors import BadInput, BrokenModel, UnknownName  # noqa: E402
from callgrain.core.types import Message, Prompt, Reply, Sampling, Tool  # noqa: E402
from callgrain.models import _decode  # noqa: E402
from callgrain.models._engine import Engine  # noqa: E402
from callgrain.models.local import Local  # noqa: E402

TEMPLATE = (
    "{% if tools %}<|im_start|>system {% for t in tools %}{{ t.function.name }} {% endfor %}<|im_end|>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)
WORDS = [f"w{n}" for n in range(40)] + ["system", "user", "assistant", "get_weather"]


def save_model(folder: Path, kind: str) -> None:
    """A tiny model of random weights with its tokenizer, saved as anybody's would be."""
    specials = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {word: n for n, word in enumerate([*specials, *WORDS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "pad_token_id": 1,
        "bos_token_id": None,
        "eos_token_id": 3,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        if kind == "llama":
            config = transformers.LlamaConfig(num_hidden_layers=2, initializer_range=0.3, **shape)
            model = transformers.LlamaForCausalLM(config)
        else:
            layers = ["conv", "full_attention", "conv"]
            config = transformers.Lfm2Config(num_hidden_layers=3, layer_types=layers, initializer_range=0.3, **shape)
            model = transformers.Lfm2ForCausalLM(config)
    model.generation_config.temperature = 0.1  # a default of the folder that must not leak into the replies
    model.generation_config.repetition_penalty = 3.0
    model.generation_config.do_sample = True
    model.save_pretrained(folder)


@pytest.fixture(scope="module", params=["llama", "lfm2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp(request.param)
    save_model(made, request.param)
    return made


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plain")
    save_model(made, "llama")
    return made


TOOL = Tool(name="get_weather", parameters={"type": "object", "properties": {}})


def prompts(count: int, **sampling: float) -> list[Prompt]:
    """Prompts of very different lengths, so that a batch is mostly padding."""
    return [
        Prompt(
            messages=(Message(role="user", text=" ".join(WORDS[(n * 7 + k) % 40] for k in range(1 + 5 * (n % 6)))),),
            tools=(TOOL,) if n % 2 else (),
            sampling=Sampling(max_tokens=8 + 4 * (n % 4), **sampling),
        )
        for n in range(count)
    ]


def close(one: Reply, other: Reply) -> bool:
    return one.tokens == other.tokens and one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_batch_is_its_single_rows(folder: Path) -> None:
    model = Local(str(folder), batch_size=8)
    asked = prompts(12)
    together = model.answer(asked)
    alone = [model.answer([prompt])[0] for prompt in asked]
    assert all(map(close, together, alone))
    assert len({reply.text for reply in together}) > 3
    for prompt, reply in zip(asked, together, strict=True):
        assert reply.failure is None
        assert reply.usage["completion_tokens"] == len(reply.tokens or ()) <= prompt.sampling.max_tokens
        if reply.fault is not None:
            assert reply.fault.kind == "truncated"
            assert reply.usage["completion_tokens"] == prompt.sampling.max_tokens
        else:
            assert (reply.tokens or ("",))[-1] == "<|im_end|>"
            assert "<|im_end|>" not in reply.text


def test_logprobs_are_those_of_a_single_forward_pass(folder: Path) -> None:
    model = Local(str(folder))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for temperature in (0.0, 1.3):
        asked = prompts(6, temperature=temperature)
        for prompt, reply in zip(asked, model.answer(asked), strict=True):
            front = tokenizer.encode(model.dialect.render(prompt), add_special_tokens=False)
            back = tokenizer.convert_tokens_to_ids(list(reply.tokens or ()))
            with torch.no_grad():
                logits = plain(torch.tensor([front + back])).logits[0, len(front) - 1 : -1]
            true = torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(back)[:, None])[:, 0]
            assert reply.logprobs == pytest.approx(true.tolist(), abs=1e-4)
            if temperature == 0:
                assert back == logits.argmax(-1).tolist()


def test_sampling_is_seeded_row_by_row_and_leaves_the_global_state(folder: Path) -> None:
    model = Local(str(folder), batch_size=5)
    asked = prompts(9, temperature=1.0, top_p=0.9, seed=3)
    before = torch.random.get_rng_state()
    first = model.answer(asked)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(close, first, [model.answer([prompt])[0] for prompt in asked]))
    assert any(reply.message for reply in model.answer(prompts(24, temperature=2.0)))  # some do end by themselves
    other = model.answer(prompts(9, temperature=1.0, top_p=0.9, seed=4))
    assert [reply.text for reply in first] != [reply.text for reply in other]


def test_a_mixed_batch_keeps_each_prompts_own_sampling(llama: Path) -> None:
    model = Local(str(llama), batch_size=16)
    cold, warm = prompts(6), prompts(6, temperature=1.5)
    mixed = model.answer([p for pair in zip(cold, warm, strict=True) for p in pair])
    assert all(map(close, mixed[0::2], model.answer(cold)))
    assert all(map(close, mixed[1::2], model.answer(warm)))


def test_draws_follow_the_distribution() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).repeat(4000, 1)

    def shares(top_p: float, temperature: float) -> list[float]:
        rows = [_decode.Row([0], 1, temperature, top_p, seed) for seed in range(4000)]
        for row in rows:
            row.begin()
        _decode.Drawer(_decode.Ending(frozenset()), None).draw(rows, logits)
        return [sum(row.tokens == [n] for row in rows) / 4000 for n in range(4)]

    assert shares(1.0, 1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert shares(0.75, 1.0) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(1e-6, 1.0) == [1, 0, 0, 0]
    heat = [math.sqrt(share) for share in (0.5, 0.3, 0.15, 0.05)]
    assert shares(1.0, 2.0) == pytest.approx([h / sum(heat) for h in heat], abs=0.03)


def test_a_turn_ends_at_a_text_that_is_no_token(llama: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama)
    ending = _decode.ending_of(tokenizer, [3], "w1 w2")
    assert ending.text == "w1 w2"
    ids = tokenizer.convert_tokens_to_ids(["w5", "w1", "w2"])
    row = _decode.Row([0], 9, 0.0, 1.0, 0)
    drawer = _decode.Drawer(ending, tokenizer)
    for token in ids:
        scores = torch.full((1, len(tokenizer)), -5.0)
        scores[0, token] = 5.0
        drawer.draw([row], scores)
    assert row.ended
    assert row.tokens == ids
    assert _decode.ending_of(tokenizer, [3], "<|im_start|>") == _decode.Ending(frozenset({2, 3}))


def test_batches_respect_both_limits() -> None:
    lengths = [10, 100, 30, 30, 30, 500]
    made = _decode.batches(lengths, batch_size=3, batch_tokens=120)
    assert sorted(n for batch in made for n in batch) == list(range(6))
    assert made == [[5], [1], [2, 3, 4], [0]]


def test_a_prompt_beyond_the_window_is_a_failure(llama: Path) -> None:
    asked = prompts(2)
    long = Prompt(messages=(Message(role="user", text="w1 " * 300),))
    replies = Local(str(llama)).answer([asked[0], long, asked[1]])
    assert replies[1].failure
    assert "128" in replies[1].failure
    assert replies[0].failure is replies[2].failure is None


def test_a_refusing_template_is_a_failure_of_its_prompt(llama: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(llama, tmp_path / "copy")
    refusing = "{% if 'w9' in messages[-1].content %}{{ raise_exception('not this') }}{% endif %}" + TEMPLATE
    (copy / "chat_template.jinja").write_text(refusing)
    asked = [Prompt(messages=(Message(role="user", text=text),)) for text in ("w1", "w9")]
    replies = Local(str(copy)).answer(asked)
    assert replies[0].failure is None
    assert "not this" in (replies[1].failure or "")


def test_a_batch_that_breaks_is_halved(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Local(str(llama))
    asked = prompts(6, temperature=1.0)
    whole = model.answer(asked)
    real, asked_together = Engine.run, []

    def short_of_memory(engine, rows, **limits) -> None:
        asked_together.append(len(rows))
        if len(rows) > 1:
            raise torch.OutOfMemoryError("none left")
        real(engine, rows, **limits)

    monkeypatch.setattr(Engine, "run", short_of_memory)
    assert all(map(close, model.answer(asked), whole))
    assert sorted(asked_together) == [1] * 6 + [2, 2, 3, 3, 6]


def test_one_row_that_breaks_is_one_failure(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Local(str(llama))
    asked = prompts(6)
    whole = model.answer(asked)
    unlucky, real = len(model._row(asked[2]).prompt), Engine.run

    def breaks(engine, rows, **limits) -> None:
        if any(len(row.prompt) == unlucky for row in rows):
            raise RuntimeError("not this one")
        real(engine, rows, **limits)

    monkeypatch.setattr(Engine, "run", breaks)
    replies = model.answer(asked)
    assert [reply.failure for reply in replies].count("RuntimeError: not this one") == 1
    assert sum(map(close, replies, whole)) == 5


def test_the_recorded_dialect_is_spoken(llama: Path, tmp_path: Path) -> None:
    if "json" not in plugins.names("dialects"):
        pytest.skip("the json dialect is not there")
    copy = shutil.copytree(llama, tmp_path / "copy")
    (copy / "callgrain.json").write_text(json.dumps({"dialect": "json"}))
    model = Local(str(copy))
    assert model.dialect_id == "json"
    assert Local(str(copy), dialect="chat_template").dialect_id == "chat_template"
    (copy / "callgrain.json").write_text("[]")
    with pytest.raises(BadInput, match="records no dialect"):
        Local(str(copy))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("config.json",), "no config.json"),
        (("model.safetensors",), "no weights in safetensors"),
        (("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), "no tokenizer"),
        (("chat_template.jinja",), "no chat template.*\n.*--dialect json"),
    ],
)
def test_a_folder_that_lacks_a_part_says_which(
    llama: Path, tmp_path: Path, missing: tuple[str, ...], message: str
) -> None:
    copy = shutil.copytree(llama, tmp_path / "copy")
    for name in missing:
        (copy / name).unlink()
    with pytest.raises(BrokenModel, match=message):
        Local(str(copy))


def test_other_broken_set_ups(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="there is no folder"):
        Local(str(tmp_path / "nowhere"))
    with pytest.raises(UnknownName, match="batch_size"):
        Local(str(llama), batch_sise=3)
    copy = shutil.copytree(llama, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(BrokenModel, match="cannot load the model"):
        Local(str(copy))
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(BrokenModel, match="cannot load the tokenizer"):
        Local(str(copy))
    (copy / "adapter_config.json").write_text("{}")
    (copy / "config.json").unlink()
    with pytest.raises(BrokenModel, match="adapter"):
        Local(str(copy))


def test_a_tokenizer_with_more_tokens_than_the_model(llama: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(llama, tmp_path / "copy")
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["more"])
    tokenizer.save_pretrained(copy)
    with pytest.raises(BrokenModel, match="resize_token_embeddings"):
        Local(str(copy))
