"""The decoding loop: what `generate` says, whatever the batch; the same under a grammar with and without jump-ahead."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("llguidance")

from callgrain.core import plugins  # noqa: E402
from callgrain.core.errors import BadInput  # noqa: E402
from callgrain.core.store import write_json  # noqa: E402
from callgrain.core.types import Message, Prompt, Reply, Sampling, Trace  # noqa: E402
from callgrain.models import _decode, _slots  # noqa: E402
from callgrain.models._decode import Ending, Row, bands  # noqa: E402
from callgrain.models._engine import Engine  # noqa: E402
from callgrain.models._load import Loaded  # noqa: E402
from callgrain.models._masks import Masks  # noqa: E402
from callgrain.models._tiny import tiny_tokenizer  # noqa: E402
from callgrain.models.local import Local  # noqa: E402
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose  # noqa: E402
from callgrain.sources._open import open_source  # noqa: E402

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
    "initializer_range": 0.3,
}
KINDS = ("llama", "qwen3", "lfm2")
PLAIN = Ending(frozenset([1]))


def model_of(kind: str, vocabulary: int) -> Any:
    """A model of random weights."""
    shape = {**SHAPE, "vocab_size": vocabulary}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if kind == "llama":
            made = transformers.LlamaForCausalLM(transformers.LlamaConfig(num_hidden_layers=2, **shape))
        elif kind == "qwen3":
            made = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(num_hidden_layers=2, head_dim=8, **shape))
        elif kind == "gemma2":
            made = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(num_hidden_layers=2, head_dim=8, **shape))
        else:
            layers = ["conv", "full_attention", "conv"]
            config = transformers.Lfm2Config(num_hidden_layers=3, layer_types=layers, **shape)
            made = transformers.Lfm2ForCausalLM(config)
    return made.eval()


class NoTokenizer:
    pad_token_id = 0


def rows(count: int, temperature: float = 0.0) -> list[Row]:
    """Rows of which many begin alike, of very different lengths."""
    rng = random.Random(1)
    heads = [[rng.randrange(2, 97) for _ in range(50)] for _ in range(3)]
    out: list[Row] = []
    for number in range(count):
        prompt = heads[number % 3][: rng.choice([50, 30, 4])] + [
            rng.randrange(2, 97) for _ in range(rng.randrange(1, 25))
        ]
        out.append(Row(prompt, rng.randrange(1, 30), temperature, 0.9, number))
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_engine_says_what_generate_says(kind: str, temperature: float) -> None:
    torch.set_num_threads(1)
    model = model_of(kind, 97)
    engine = Engine(model, NoTokenizer, PLAIN)
    wanted = rows(24, temperature)
    _decode.decode(model, wanted, PLAIN, NoTokenizer)
    for size, tokens in ((1, 10**6), (5, 10**6), (24, 300)):
        found = rows(24, temperature)
        engine.run(found, batch_size=size, batch_tokens=tokens)
        assert [row.tokens for row in found] == [row.tokens for row in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert one.ended == other.ended
    assert any(row.ended for row in wanted)
    assert model.config._attn_implementation == "sdpa"


def test_what_prompts_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("lfm2", 97)
    engine = Engine(model, NoTokenizer, PLAIN)
    given: list[int] = []
    real = _slots.lay

    def counting(starts, counts, device, dtype):
        given.append(sum(counts))
        return real(starts, counts, device, dtype)

    monkeypatch.setattr(_slots, "lay", counting)
    rng = random.Random(0)
    head = [rng.randrange(2, 97) for _ in range(200)]
    group = [Row([*head, 7, 8], 1, 1.0, 1.0, seed) for seed in range(8)]
    engine.run(group, batch_size=8, batch_tokens=10**6)
    assert sum(given) == 202 + 7  # of each copy, its last token
    given.clear()
    others = [Row([*head, *[rng.randrange(2, 97) for _ in range(5)]], 1, 0.0, 1.0, 0) for _ in range(6)]
    engine.run(others, batch_size=2, batch_tokens=10**6)
    assert sum(given) == 200 + 6 * 5
    alone = [dataclasses.replace(row, tokens=[], logprobs=[]) for row in others]
    for row in alone:
        engine.run([row], batch_size=1, batch_tokens=10**6)
    assert [row.tokens for row in alone] == [row.tokens for row in others]


def test_models_that_cannot_be_driven_are_refused() -> None:
    with pytest.raises(ValueError, match="sliding_attention"):
        Engine(model_of("gemma2", 97), NoTokenizer, PLAIN)
    granite = transformers.GraniteConfig(num_hidden_layers=2, logits_scaling=3.0, **{**SHAPE, "vocab_size": 97})
    with pytest.raises(ValueError, match="something else"):
        Engine(transformers.GraniteForCausalLM(granite).eval(), NoTokenizer, PLAIN)


def test_bands_keep_both_limits_and_long_rows_apart() -> None:
    assert bands([10, 100, 30, 60, 30, 500], batch_size=3, batch_tokens=120) == [
        ([5], 1),
        ([1, 3], 1),
        ([2, 4], 2),
        ([0], 1),
    ]


# grammars --------------------------------------------------------------------------------------


def traces(count: int = 12) -> list[Trace]:
    source, split = open_source("toolworld:micro")
    return list(itertools.islice(source.traces(split), count))


def texts(dialect: Any) -> list[str]:
    return [dialect.render(asked(trace)) + dialect.write(trace.gold.message) for trace in traces()]


def asked(trace: Trace, **more: Any) -> Prompt:
    return Prompt(messages=trace.messages, tools=trace.tools, **more)


def bpe(dialect: Any) -> Any:
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=500, show_progress=False, initial_alphabet=sorted(alphabet), special_tokens=["<|pad|>", "<|end|>"]
    )
    inner.train_from_iterator(texts(dialect), trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")


def words(dialect: Any) -> Any:
    return tiny_tokenizer(sorted({word for text in texts(dialect) for word in text.split()}))


class Spoken:
    """A dialect with a tokenizer, a model and its masks."""

    def __init__(self, name: str, tokenizer: Any, kind: str) -> None:
        self.dialect: Any = plugins.load("dialects", name)()
        self.tokenizer = tokenizer(self.dialect)
        self.ending = _decode.ending_of(self.tokenizer, [1], self.dialect.end)
        self.masks = Masks(self.tokenizer, self.ending)
        self.model = model_of(kind, len(self.tokenizer))
        self.engine = Engine(self.model, self.tokenizer, self.ending)

    def rows(self, *, calls: bool, temperature: float = 0.0) -> list[Row]:
        out: list[Row] = []
        for trace in traces():
            ids = _decode.prompt_ids(self.tokenizer, self.dialect.render(asked(trace)), templated=False)[-120:]
            grammar = self.dialect.grammar(trace.tools, spaced=self.masks.spaced, special=self.masks.special)
            if calls:
                start = "calls0" if "\ncalls0:" in grammar.lark else "calls"
                lark = grammar.lark.replace("start: thought turn", f"start: {start}")
                grammar = dataclasses.replace(grammar, lark=lark.replace(": SAID0 ", ': "<tool_call>" '))
            out.append(Row(ids, 70, temperature, 1.0, len(out), mask=self.masks.masker(grammar)))
        return out


CASES = [("json", bpe, "llama"), ("compact", bpe, "qwen3"), ("compact", words, "lfm2"), ("chat_template", bpe, "lfm2")]


@pytest.mark.parametrize(("name", "tokenizer", "kind"), CASES)
@pytest.mark.parametrize("calls", [False, True])
def test_jump_ahead_changes_nothing(name: str, tokenizer: Any, kind: str, *, calls: bool) -> None:
    spoken = Spoken(name, tokenizer, kind)
    jumped, stepped, generated = (spoken.rows(calls=calls) for _ in range(3))
    spoken.engine.run(jumped, batch_size=5, batch_tokens=10**6)
    spoken.engine.run(stepped, batch_size=5, batch_tokens=10**6, jump=False)
    _decode.decode(spoken.model, generated, spoken.ending, spoken.tokenizer)
    for one, other, third in zip(jumped, stepped, generated, strict=True):
        assert one.tokens == other.tokens == third.tokens
        assert one.forced == other.forced == third.forced == sum(p == 0.0 for p in one.logprobs)
        assert one.logprobs == pytest.approx(third.logprobs, abs=1e-3)
        assert not one.mask.is_lost  # type: ignore[union-attr]
        if one.ended:
            ids = one.tokens[:-1] if one.tokens[-1] in spoken.ending.ids else one.tokens
            turn = spoken.dialect.parse(_decode.text_of_ids(spoken.tokenizer, ids))
            assert isinstance(turn, Message)
            assert bool(turn.calls) or not calls
    if calls:
        assert sum(row.forced for row in jumped) > 30
        assert name == "chat_template" or any(row.ended for row in jumped)  # random weights seldom close a mark


def test_logprobs_are_those_of_the_masked_distribution() -> None:
    spoken = Spoken("json", bpe, "llama")
    found = spoken.rows(calls=True, temperature=0.8)
    spoken.engine.run(found, batch_size=4, batch_tokens=10**6)
    for row in found[:4]:
        again = row.mask
        assert again is not None
        queue = again.begin()
        with torch.inference_mode():
            logits = spoken.model(input_ids=torch.tensor([row.prompt + row.tokens])).logits[0, len(row.prompt) - 1 :]
        for place, (token, logprob) in enumerate(zip(row.tokens, row.logprobs, strict=True)):
            if queue:
                assert (queue.pop(0), logprob) == (token, 0.0)
                continue
            allowed = again.allowed()
            assert allowed is not None
            masked = logits[place].masked_fill(~allowed[: logits.shape[1]], float("-inf"))
            assert logprob == pytest.approx(float(torch.log_softmax(masked, -1)[token]), abs=1e-3)
            queue = again.accept(token)


def test_a_local_model_is_held_to_the_grammar(tmp_path: Path) -> None:
    dialect = plugins.load("dialects", "json")()
    tokenizer = bpe(dialect)
    for kind in ("llama", "gemma2"):  # by the engine, and by `generate`
        loaded = Loaded(model_of(kind, len(tokenizer)), tokenizer, "json", dialect)
        model = Local.around(loaded)
        assert model.can_constrain
        prompts = [asked(trace, sampling=Sampling(max_tokens=20)) for trace in traces(3)]
        held = model.answer([prompt.model_copy(update={"constrain": True}) for prompt in prompts])
        free = model.answer(prompts)
        assert all("forced_tokens" in reply.usage for reply in held)
        assert all("forced_tokens" not in reply.usage for reply in free)
    model_of("llama", len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_json(tmp_path / "callgrain.json", {"dialect": "json"})
    same = Local.around(Loaded(model_of("llama", len(tokenizer)), tokenizer, "json", dialect))
    assert Local(str(tmp_path)).answer(prompts) == same.answer(prompts)


def test_a_diagnosis_is_constrained_where_the_model_can_be(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(model="scripted:", source="toolworld:micro", subtask="full", probe="subtask", n=2)
    with pytest.raises(BadInput, match="cannot be held to a grammar"):
        diagnose(recipe.model_copy(update={"constrain": True}), tmp_path)
    seen: list[bool] = []

    class Held:
        name, can_constrain = "held", True

        def answer(self, prompts: Any) -> list[Reply]:
            seen.extend(prompt.constrain for prompt in prompts)
            return [Reply(message=Message(text="DECLINE")) for _ in prompts]

    diagnose(recipe.model_copy(update={"constrain": True}), tmp_path, model=Held())
    assert seen == [True, True]


def test_a_dialect_without_a_grammar_is_a_failure_and_not_an_unheld_reply() -> None:
    class Mute:
        end = "<|end|>"

        def __init__(self, inner: Any) -> None:
            self.render, self.parse = inner.render, inner.parse

    dialect = plugins.load("dialects", "json")()
    tokenizer = bpe(dialect)
    model = Local.around(Loaded(model_of("llama", len(tokenizer)), tokenizer, "json", Mute(dialect)))  # type: ignore[arg-type]
    assert not model.can_constrain
    reply = model.answer([asked(traces(1)[0], constrain=True)])[0]
    assert "no grammar" in (reply.failure or "")
