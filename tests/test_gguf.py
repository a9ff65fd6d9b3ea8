"""GGUF: every weight in its place under llama.cpp's name, and the figures that it computes with.

No llama.cpp here, so the file is read by two others: the gguf package, against numbers by hand, and
transformers' own reader, whose logits must be the model's. Where llama_cpp is installed it is asked too.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
gguf = pytest.importorskip("gguf", reason="the gguf extra is not installed")

from callgrain.core.errors import BadInput  # noqa: E402
from callgrain.core.store import write_json  # noqa: E402
from callgrain.export._export import ExportRecipe  # noqa: E402
from callgrain.export._run import export  # noqa: E402
from callgrain.export._verify import VerifyRecipe, verify_export  # noqa: E402
from callgrain.export._vocabulary import vocabulary as vocabulary_of  # noqa: E402
from callgrain.export.gguf import interleaved  # noqa: E402
from callgrain.models._load import CARD  # noqa: E402
from callgrain.models._tiny import new_tiny  # noqa: E402
from callgrain.tools._toolworld_micro import vocabulary  # noqa: E402

FAMILIES = ("llama", "qwen2", "qwen3", "lfm2")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
THETA = {"rope_type": "default", "rope_theta": 5000.0}


def byte_tokenizer(pattern: str = "") -> Any:
    """Byte-level BPE with a few merges, cut by `pattern` as Llama 3's is, or as GPT-2's is."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern)
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated") if pattern else None
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, level]) if split else level
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>", "<|pad|>"], initial_alphabet=level.alphabet(), show_progress=False
    )
    inner.train_from_iterator(["book the hotel in paris for two nights"] * 9, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")


def save(folder: Path, family: str, words: Any, **more: Any) -> Path:
    """A random model of that family, saved as anybody's would be."""
    classes = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "lfm2": (transformers.Lfm2Config, transformers.Lfm2ForCausalLM),
        "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
    }
    own: dict[str, Any] = {
        "llama": {"num_hidden_layers": 2, "tie_word_embeddings": False, "rms_norm_eps": 2e-5},
        "qwen2": {"num_hidden_layers": 2, "tie_word_embeddings": False},
        "qwen3": {"num_hidden_layers": 2, "head_dim": 32, "tie_word_embeddings": True},
        "lfm2": {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3},
        "gpt2": {"n_layer": 1, "n_embd": 64, "n_head": 2},
    }[family]
    shape = {} if family == "gpt2" else {**SHAPE, "rope_parameters": THETA}
    made, model_class = classes[family]
    ends = {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id, "bos_token_id": None}
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = model_class(made(vocab_size=len(words) + 3, **{**shape, **own, **ends, **more}))
        for name, parameter in model.named_parameters():  # norms of all ones would hide that two are swapped
            if parameter.ndim == 1:
                parameter.data.add_(torch.randn(parameter.shape) * 0.1)
            assert name
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    write_json(folder / CARD, {"dialect": "json"})
    return folder


@pytest.fixture(scope="module")
def words() -> Any:
    torch.set_num_threads(1)
    return byte_tokenizer(LLAMA3)


@pytest.fixture(scope="module", params=FAMILIES)
def written(request: pytest.FixtureRequest, words: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(family, the model's folder, the file)."""
    root = tmp_path_factory.mktemp(request.param)
    folder = save(root / "model", request.param, words)
    run = export(ExportRecipe(run=str(folder), format="gguf", n=5), root)
    assert run.read("done")["parity"] == {"compared": 5, "same": 5}
    return request.param, folder, run.folder / "model" / "model.gguf"


def weights(file: Path) -> dict[str, np.ndarray]:
    """Every tensor by name, as numbers."""
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(tuple(reversed(t.shape.tolist())))
        for t in gguf.GGUFReader(file).tensors
    }


def fields(file: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


def by_hand(name: str, values: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp wants them: row 2p of a head is the model's row p, row 2p + 1 its row p + half."""
    size = values.shape[0] // heads
    order = [h * size + p + half for h in range(heads) for p in range(size // 2) for half in (0, size // 2)]
    assert name
    return values[order]


NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.embedding_norm": "token_embd_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "operator_norm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "ffn_norm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
    "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj",
    "conv.conv": "shortconv.conv",
}


def test_every_weight_lies_under_its_name(written: Any) -> None:
    family, folder, file = written
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    found = weights(file)
    wanted: dict[str, np.ndarray] = {}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        stem, _, kind = name.rpartition(".")
        if stem.startswith("model.layers."):
            number, _, part = stem.removeprefix("model.layers.").partition(".")
            target = f"blk.{number}.{NAMES[part]}.{kind}"
        else:
            target = f"{NAMES[stem]}.{kind}"
        values = weight.numpy()
        if family == "llama" and "q_proj" in name:
            values = by_hand(name, values, 4)
        if family == "llama" and "k_proj" in name:
            values = by_hand(name, values, 2)
        wanted[target] = values.squeeze(1) if "conv.conv" in name else values
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_the_figures_are_the_models(written: Any, words: Any) -> None:
    family, folder, file = written
    said = fields(file)
    config = transformers.AutoConfig.from_pretrained(folder)
    assert said["general.architecture"] == family
    assert said["general.file_type"] == 0
    assert said[f"{family}.block_count"] == config.num_hidden_layers
    assert said[f"{family}.context_length"] == 256
    assert said[f"{family}.embedding_length"] == 64
    assert said[f"{family}.attention.head_count"] == 4
    assert said[f"{family}.rope.freq_base"] == 5000.0
    kv = [0, 2, 0] if family == "lfm2" else 2
    assert said[f"{family}.attention.head_count_kv"] == kv
    size = 32 if family == "qwen3" else 16
    assert said[f"{family}.attention.key_length"] == said[f"{family}.rope.dimension_count"] == size
    eps = config.norm_eps if family == "lfm2" else config.rms_norm_eps
    assert said[f"{family}.attention.layer_norm_rms_epsilon"] == pytest.approx(eps)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    rows = next(w.shape[0] for n, w in model.named_parameters() if n.endswith(("gate_proj.weight", "w1.weight")))
    assert said[f"{family}.feed_forward_length"] == rows
    assert said[f"{family}.vocab_size"] == len(words) + 3
    if family == "lfm2":
        assert said["lfm2.shortconv.l_cache"] == 3


def test_the_tokenizer_is_the_models(written: Any) -> None:
    family, folder, file = written
    words, size = transformers.AutoTokenizer.from_pretrained(folder), fields(file)[f"{family}.vocab_size"]
    said = fields(file)
    assert said["tokenizer.ggml.model"] == "gpt2"
    # transformers gives every qwen2 folder the cut of its own class, whatever its tokenizer.json says
    assert said["tokenizer.ggml.pre"] == ("qwen2" if family == "qwen2" else "llama-bpe")
    tokens = said["tokenizer.ggml.tokens"]
    assert len(tokens) == size
    assert all(tokens[i] == token for token, i in words.get_vocab().items())
    types = said["tokenizer.ggml.token_type"]
    assert types[words.eos_token_id] == gguf.TokenType.CONTROL
    assert [i for i, kind in enumerate(types) if kind == gguf.TokenType.UNUSED] == list(range(len(words), size))
    assert len(words) < size
    assert types[words.get_vocab()["a"]] == gguf.TokenType.NORMAL
    first = said["tokenizer.ggml.merges"][0].split(" ")
    assert len(first) == 2
    assert "".join(first) in words.get_vocab()
    assert said["tokenizer.ggml.eos_token_id"] == said["tokenizer.ggml.eot_token_id"] == words.eos_token_id
    assert said["tokenizer.ggml.add_bos_token"] is False
    assert "<|assistant|>" in said["tokenizer.chat_template"]


def test_another_reader_computes_the_same_logits(written: Any) -> None:
    """transformers' reader undoes the order of rows by code of its own."""
    _, folder, file = written
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    read = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, config=config, dtype="float32"
    ).eval()
    ids = torch.arange(3, 43)[None]
    with torch.no_grad():
        wanted, found = model(ids).logits, read(ids).logits
    assert wanted.std() > 0.1
    assert torch.allclose(wanted, found, atol=1e-4)


def test_a_swapped_row_is_found_out() -> None:
    values = np.arange(16.0)[:, None]
    assert interleaved(values, 2)[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    assert np.array_equal(by_hand("q", values, 2), interleaved(values, 2))


def test_the_check_replays_what_it_can(written: Any, tmp_path: Path) -> None:
    family, folder, file = written
    asked = VerifyRecipe(exported=str(file.parent), against=str(folder), n=4, max_tokens=6)
    result = verify_export(asked, tmp_path).read("result")
    assert (result["exact"], result["n"], result["parity"]["same"]) == (4, 4, 4)
    if find_spec("llama_cpp") is None:
        assert "llama.cpp was not run" in result["notes"][0]
    assert family in FAMILIES


@pytest.mark.parametrize(
    ("dtype", "kind", "far"), [("float16", "F16", 1e-3), ("bfloat16", "BF16", 8e-3), ("q8_0", "Q8_0", 8e-3)]
)
def test_smaller_types_are_as_near_as_they_can_be(
    dtype: str, kind: str, far: float, words: Any, tmp_path: Path
) -> None:
    folder = save(tmp_path / "model", "qwen3", words)
    file = export(ExportRecipe(run=str(folder), format="gguf", dtype=dtype, n=1), tmp_path).folder / "model/model.gguf"
    exact = export(ExportRecipe(run=str(folder), format="gguf", n=1), tmp_path).folder / "model" / "model.gguf"
    assert file.stat().st_size < 0.7 * exact.stat().st_size
    found, wanted = weights(file), weights(exact)
    types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(file).tensors}
    assert types["blk.0.attn_q.weight"] == kind
    assert types["blk.0.attn_norm.weight"] == types["output_norm.weight"] == "F32"
    for name, values in wanted.items():
        assert np.abs(found[name] - values).max() <= far * np.abs(values).max(), name


def test_llama_3s_positions_are_told(words: Any, tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}  # fmt: skip
    folder = save(tmp_path / "model", "llama", words, rope_parameters=rope)
    file = export(ExportRecipe(run=str(folder), format="gguf", n=1), tmp_path).folder / "model" / "model.gguf"
    factors = weights(file)["rope_freqs.weight"]
    lengths = 2 * np.pi * 10000.0 ** (np.arange(0, 16, 2) / 16)
    assert factors.shape == (8,)
    for length, factor in zip(lengths, factors, strict=True):
        if length < 64 / 4:
            assert factor == pytest.approx(1.0)
        elif length > 64:
            assert factor == pytest.approx(8.0)
        else:
            smooth = (64 / length - 1.0) / (4.0 - 1.0)
            assert factor == pytest.approx(1 / ((1 - smooth) / 8 + smooth), rel=1e-5)


def test_what_the_file_cannot_say_is_refused_or_said(words: Any, tmp_path: Path) -> None:
    folder = save(tmp_path / "gpt2", "gpt2", words)
    with pytest.raises(BadInput, match="what can: llama, qwen2, qwen3, lfm2"):
        export(ExportRecipe(run=str(folder), format="gguf"), tmp_path)
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
    folder = save(tmp_path / "yarn", "qwen3", words, rope_parameters=yarn)
    with pytest.raises(BadInput, match="positions of the kind 'yarn'"):
        export(ExportRecipe(run=str(folder), format="gguf"), tmp_path)
    tiny = new_tiny(tmp_path / "tiny", vocabulary())
    run = export(ExportRecipe(run=str(tiny), format="gguf", n=2), tmp_path)
    file = run.folder / "model" / "model.gguf"
    assert "none that GGUF can hold" in run.read("done")["notes"][0]
    assert "none that GGUF can hold" in (file.parent / "README.md").read_text()
    said = fields(file)
    assert said["tokenizer.ggml.model"] == "none"
    known = transformers.AutoTokenizer.from_pretrained(tiny).get_vocab()
    assert all(said["tokenizer.ggml.tokens"][i] == token for token, i in known.items())


def test_a_cut_without_a_name_is_said(words: Any) -> None:
    assert (vocabulary_of(words, 290).pre, vocabulary_of(words, 290).notes) == ("llama-bpe", ())
    assert (vocabulary_of(byte_tokenizer(), 290).pre, vocabulary_of(byte_tokenizer(), 290).notes) == ("gpt-2", ())
    odd = vocabulary_of(byte_tokenizer(r"\d+|\w+"), 290)
    assert odd.pre == "default"
    assert "no name for" in odd.notes[0]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama_cpp is not installed")
def test_llama_cpp_says_the_same(written: Any, tmp_path: Path) -> None:
    _, folder, file = written
    asked = VerifyRecipe(exported=str(file.parent), against=str(folder), n=10, max_tokens=16)
    run = verify_export(asked, tmp_path)
    result = run.read("result")
    assert result["notes"] == ["replayed by llama.cpp"]
    near_ties = [r for r in run.rows("mismatches") if abs(r["logprobs"][0] - r["logprobs"][1]) < 1e-3]
    assert result["exact"] + len(near_ties) == 10
