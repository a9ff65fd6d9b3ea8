"""A decoder of under a million parameters that learns the micro world in minutes.

A stock transformers architecture (LFM2: a short convolution below attention), so that the
folder loads with AutoModelForCausalLM and nothing else. The convolution gives each position
its neighbours, without which parameter and value are not bound in a few million tokens.
Initial weights are wider than the library's default, which is made for far wider models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callgrain.core.errors import MissingExtra
from callgrain.core.store import write_json
from callgrain.models._load import CARD, hush

MARKS = ("<|pad|>", "<|end|>", "<|unk|>", "<|system|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>")
PUNCTUATION = (
    "@",
    ";",
    "->",
    "|",
    ">",
    "#",
    "?=",
    "=",
    "integer",
    "number",
    "boolean",
    "STOP",
    *(f"{c}:" for c in "abcdef"),
)


def new_tiny(folder: Path, words: Sequence[str], *, seed: int = 0) -> Path:
    """Save an untrained decoder and its word-level tokenizer in `folder`; returns the folder.

    `words` is everything that the micro world can say; the compact dialect's marks are added.
    Raises MissingExtra without torch and transformers.
    """
    try:
        import torch
        from transformers import Lfm2Config, Lfm2ForCausalLM
    except ImportError as error:
        raise MissingExtra("the tiny model", str(error.name), "train") from error
    hush()
    tokenizer = word_tokenizer(words)
    config = Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=4,
        layer_types=["conv", "full_attention", "full_attention", "full_attention"],
        num_attention_heads=4,
        num_key_value_heads=4,
        conv_L_cache=3,
        conv_bias=False,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        initializer_range=0.06,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Lfm2ForCausalLM(config)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    write_json(folder / CARD, {"dialect": "compact"})
    return folder


def word_tokenizer(words: Sequence[str]) -> Any:
    """A tokenizer of whole words that knows the compact dialect's marks.

    `book_hotel` is `book` and `##_hotel`, so verbs and nouns recombine; `city=` is one token, and
    so is a label with its colon. Decoding joins words with blanks: the dialect does not mind.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    split = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"(?<=[A-Za-z0-9])_"), " ##_"),
            normalizers.Replace("|", " | "),
            normalizers.Replace("?=", "= ?= "),
            normalizers.Replace("=", "= "),
            normalizers.Replace("@", "@ "),
            normalizers.Replace(":", ": "),
        ]
    )
    found: dict[str, None] = dict.fromkeys([*MARKS, *PUNCTUATION])
    scratch = Tokenizer(WordLevel({}, unk_token="<|unk|>"))
    scratch.normalizer = split
    for word in words:
        spelled = f"##{word}" if word.startswith("_") and len(word) > 1 else split.normalize_str(word)
        found |= dict.fromkeys(spelled.split())
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(found)}, unk_token="<|unk|>"))
    tokenizer.normalizer = split
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", unk_token="<|unk|>"
    )
