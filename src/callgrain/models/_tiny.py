"""A decoder of a few million parameters that learns the small worlds of toolworld on a processor.

A stock transformers architecture (LFM2: short convolutions beside attention), so that the folder loads
with AutoModelForCausalLM and nothing else. The convolution gives each position its neighbours, without
which parameter and value are not bound in a few million tokens. Initial weights are wider than the
library's default, which is made for far wider models.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Size:
    """Width, and the kind of each layer: `c` a short convolution, `a` attention."""

    width: int = 128
    layers: str = "caaa"
    heads: int = 4


def new_tiny(folder: Path, words: Sequence[str], *, seed: int = 0, size: Size = Size()) -> Path:
    """Save an untrained decoder and its tokenizer in `folder`; returns the folder.

    `words` are those that are one token each; all else is spelt in pieces. Raises MissingExtra
    without torch and transformers.
    """
    try:
        import torch
        from transformers import Lfm2Config, Lfm2ForCausalLM
    except ImportError as error:
        raise MissingExtra("the tiny model", str(error.name), "train") from error
    hush()
    tokenizer = tiny_tokenizer(words)
    config = Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=2 * size.width,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(size.layers),
        layer_types=[{"c": "conv", "a": "full_attention"}[kind] for kind in size.layers],
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        conv_L_cache=3,
        conv_bias=False,
        max_position_embeddings=1024,
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


def _pieces() -> list[str]:
    """What a word that is no token is spelt in: signs, and pairs of a consonant and a vowel, in front and within."""
    signs = [c for c in string.printable if c.isprintable() and not c.isspace()]
    consonants = [c for c in string.ascii_lowercase if c not in "aeiou"]
    pairs = [pair for c in consonants for v in "aeiou" for pair in (c + v, v + c)]
    return [form for piece in (*signs, *pairs) for form in (piece, f"##{piece}")]


def tiny_tokenizer(words: Sequence[str]) -> Any:
    """A WordPiece tokenizer that knows `words` and the compact dialect's marks as one token each.

    `book_hotel` is `book` and `##_hotel`, so verbs and nouns recombine; `city=` is one token, and
    so is a label with its colon. Other words are spelt in pieces, so any ASCII text can be read.
    Decoding joins words with blanks: the dialect does not mind.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
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
    for word in words:
        spelled = f"##{word}" if word.startswith("_") and len(word) > 1 else split.normalize_str(word)
        found |= dict.fromkeys(spelled.split())
    found |= dict.fromkeys(["##_", *_pieces()])
    vocabulary = {word: i for i, word in enumerate(found)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="<|unk|>", max_input_chars_per_word=200))
    tokenizer.normalizer = split
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", unk_token="<|unk|>"
    )
