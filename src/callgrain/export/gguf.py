"""GGUF for llama.cpp: Llama, Qwen2, Qwen3, LFM2 with their tokenizer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from callgrain.core.errors import BadInput, MissingExtra
from callgrain.core.store import write_json
from callgrain.export._export import Export
from callgrain.export._vocabulary import Vocabulary, vocabulary
from callgrain.models._load import CARD

ARCHITECTURES = ("llama", "qwen2", "qwen3", "lfm2")
"""Families that can be written, by transformers' own `model_type`."""

_FILE = "model.gguf"
_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}


class Gguf:
    """One file with weights, tokenizer and chat template, as llama.cpp reads it."""

    dtypes = ("auto", "float32", "float16", "bfloat16", "q8_0")

    def write(self, export: Export, folder: Path) -> list[str]:
        """`model.gguf`, and the dialect's card beside it.

        Raises MissingExtra without the gguf package, BadInput for an architecture or a setting of it
        that the file cannot tell llama.cpp of.
        """
        if find_spec("gguf") is None:
            raise MissingExtra("writing GGUF", "gguf", "gguf")
        import gguf

        model = export.loaded.model
        config = model.config
        _check(config)
        words = vocabulary(export.loaded.tokenizer, int(config.vocab_size))
        kind = _TYPES[_dtype(export)]
        writer = gguf.GGUFWriter(folder / _FILE, config.model_type)
        writer.add_type("model")
        writer.add_name(export.subject.name)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_file_type(int(gguf.LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"]))
        _describe(writer, model)
        _spell(writer, export, words)
        for name, values, type_ in tensors(model, kind):
            writer.add_tensor(name, values, raw_dtype=type_)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        write_json(folder / CARD, {"dialect": export.loaded.dialect_id})
        return list(words.notes)


def _dtype(export: Export) -> str:
    asked = export.recipe.dtype
    return str(export.loaded.model.dtype).removeprefix("torch.") if asked == "auto" else asked


def _check(config: Any) -> None:
    """Raises BadInput for what the file could not say, and llama.cpp would therefore compute otherwise."""
    if config.model_type not in ARCHITECTURES:
        raise BadInput(f"{config.model_type} cannot be written as GGUF here", f"what can: {', '.join(ARCHITECTURES)}")
    kind = _rope(config).get("rope_type", "default")
    known = ("default", "linear", *(["llama3"] if config.model_type == "llama" else []))
    if kind not in known:
        raise BadInput(f"positions of the kind {kind!r} cannot be written", f"what can: {', '.join(known)}")
    if getattr(config, "hidden_act", "silu") not in ("silu", "swish"):
        raise BadInput(f"the activation {config.hidden_act!r} cannot be written", "llama.cpp computes silu here")
    if getattr(config, "use_sliding_window", False):
        raise BadInput("sliding windows cannot be written for this architecture", "set use_sliding_window to false")


def _rope(config: Any) -> dict[str, Any]:
    return dict(getattr(config, "rope_parameters", None) or {})


def _describe(writer: Any, model: Any) -> None:
    """The architecture's figures, under the names that llama.cpp looks for."""
    import gguf

    config = model.config
    rope, heads, kv = _rope(config), int(config.num_attention_heads), int(config.num_key_value_heads)
    size = _head_size(config)
    writer.add_vocab_size(int(config.vocab_size))
    writer.add_context_length(int(config.max_position_embeddings))
    writer.add_embedding_length(int(config.hidden_size))
    writer.add_block_count(int(config.num_hidden_layers))
    writer.add_head_count(heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if config.model_type == "lfm2":
        writer.add_head_count_kv([0 if kind == "conv" else kv for kind in config.layer_types])
        writer.add_shortconv_l_cache(int(config.conv_L_cache))
        writer.add_layer_norm_rms_eps(float(config.norm_eps))
        writer.add_feed_forward_length(int(model.model.layers[0].feed_forward.w1.weight.shape[0]))
    else:
        writer.add_head_count_kv(kv)
        writer.add_layer_norm_rms_eps(float(config.rms_norm_eps))
        writer.add_feed_forward_length(int(config.intermediate_size))


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _spell(writer: Any, export: Export, words: Vocabulary) -> None:
    """The tokenizer, the tokens with a meaning of their own, and the chat template."""
    tokenizer, config = export.loaded.tokenizer, export.loaded.model.config
    writer.add_tokenizer_model(words.model)
    if words.pre:
        writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    ends: Any = export.loaded.model.generation_config.eos_token_id
    first = ends[0] if isinstance(ends, list) else ends
    named = {
        "bos": tokenizer.bos_token_id,
        "eos": first if isinstance(first, int) else tokenizer.eos_token_id,
        "eot": first if isinstance(first, int) else None,
        "unk": tokenizer.unk_token_id,
        "pad": tokenizer.pad_token_id,
    }
    for name, token in named.items():
        if isinstance(token, int) and token < config.vocab_size:
            getattr(writer, f"add_{name}_token_id")(token)
    opening: Any = tokenizer.bos_token_id
    writer.add_add_bos_token(opening is not None and tokenizer.encode("")[:1] == [opening])
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def tensors(model: Any, kind: str) -> list[tuple[str, Any, Any]]:
    """(name, array, GGUF type) of each weight; norms, convolutions and biases stay float32.

    `kind` is a name of gguf's `GGMLQuantizationType`. Rows that blocks of 32 do not fit are kept as
    F16 where q8_0 is asked for.
    """
    import gguf
    import numpy as np
    from gguf.quants import quantize

    config = model.config
    types = gguf.GGMLQuantizationType
    names = gguf.get_tensor_name_map(_arch(config.model_type), int(config.num_hidden_layers))
    tied = bool(getattr(config, "tie_word_embeddings", False))
    out: list[tuple[str, Any, Any]] = []
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise BadInput(f"the weight {name!r} has no name in GGUF", "export it with --format merged")
        values = _laid_out(name, weight.detach().float().cpu().numpy(), config)
        exact = values.ndim < 2 or "shortconv.conv" in found
        wanted = types.F32 if exact else types.F16 if kind == "Q8_0" and values.shape[-1] % 32 else types[kind]
        out.append((found, quantize(np.ascontiguousarray(values), wanted), wanted))
    if _rope(config).get("rope_type") == "llama3":
        out.append(("rope_freqs.weight", _llama3_factors(config), types.F32))
    return out


def _arch(model_type: str) -> Any:
    import gguf

    return next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == model_type)


def _laid_out(name: str, values: Any, config: Any) -> Any:
    """A weight with its rows where llama.cpp expects them."""
    if config.model_type == "lfm2" and name.endswith("conv.conv.weight"):
        return values.squeeze(1)
    if config.model_type == "llama" and ".self_attn." in name and (".q_proj." in name or ".k_proj." in name):
        heads = int(config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads)
        return interleaved(values, heads)
    return values


def interleaved(values: Any, heads: int) -> Any:
    """Rows of queries or keys in llama.cpp's order: transformers turns halves of a head, llama.cpp neighbours.

    `values` is (heads * size, ...): within each head row i of the first half comes before row i of the second.
    """
    shape = values.shape
    return values.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def _llama3_factors(config: Any) -> Any:
    """What each frequency is divided by under Llama 3's scaling of positions, (head size / 2,) float32."""
    import numpy as np
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled: Any = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0]
    size = _head_size(config)
    plain = 1.0 / float(_rope(config)["rope_theta"]) ** (np.arange(0, size, 2, dtype=np.float64) / size)
    return (plain / scaled.double().numpy()).astype(np.float32)


plugin = Gguf
