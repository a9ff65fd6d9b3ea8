"""A tokenizer as GGUF keeps it: byte-level BPE whole, of any other kind the list of its tokens alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PRE = {"": "gpt-2", f"{_WORDS}\\p{{N}}{{1,3}}{_REST}": "llama-bpe", f"{_WORDS}\\p{{N}}{_REST}": "qwen2"}
"""Names that llama.cpp gives to the ways of cutting text before merges, by the pattern of the cut."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids (`types` as GGUF counts them), merges in the order of their rank.

    `model` is `gpt2` for byte-level BPE, else `none`; `pre` is the name of the cut before merges.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    notes: tuple[str, ...]


def vocabulary(tokenizer: Any, size: int) -> Vocabulary:
    """The tokenizer's vocabulary, filled up to `size` entries with tokens that are never used."""
    from gguf import TokenType

    inner: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {int(t["id"]): bool(t["special"]) for t in inner.get("added_tokens", ())}
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(size)]
    special = {True: TokenType.CONTROL, False: TokenType.USER_DEFINED}
    types = [
        int(special[added[i]] if i in added else TokenType.NORMAL if i in by_id else TokenType.UNUSED)
        for i in range(size)
    ]
    model: dict[str, Any] = inner["model"]
    steps = list(_steps(inner.get("pre_tokenizer")))
    byte_level = [step for step in steps if step["type"] == "ByteLevel"]
    if model["type"] != "BPE" or not byte_level:
        note = (
            f"The tokenizer ({model['type']}) is none that GGUF can hold: the file lists its tokens, and whoever runs "
            "it must make token ids with the tokenizer of the transformers folder."
        )
        return Vocabulary("none", "", tuple(tokens), tuple(types), (), (note,))
    merges = [m if isinstance(m, str) else " ".join(m) for m in cast("list[Any]", model["merges"])]
    pre, notes = _pre(steps, byte_level[0])
    if inner.get("normalizer"):
        notes.append("The tokenizer normalises text first, which GGUF leaves out.")
    return Vocabulary("gpt2", pre, tuple(tokens), tuple(types), tuple(merges), tuple(notes))


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The pre-tokenizer's steps, sequences laid open."""
    if isinstance(part, dict):
        step = cast("dict[str, Any]", part)
        if step["type"] == "Sequence":
            for inner in step["pretokenizers"]:
                yield from _steps(inner)
        else:
            yield step


def _pre(steps: list[dict[str, Any]], byte_level: dict[str, Any]) -> tuple[str, list[str]]:
    """(name of the cut before merges, what differs from it)."""
    notes: list[str] = []
    patterns = [str(step["pattern"].get("Regex", "?")) for step in steps if step["type"] == "Split"]
    cut = "|".join(patterns) if patterns or byte_level.get("use_regex", True) else "?"
    pre = _PRE.get(cut, "default") if len(steps) <= 2 else "default"
    if pre == "default":
        notes.append("The tokenizer cuts text in a way that GGUF has no name for: llama.cpp may cut it otherwise.")
    if byte_level.get("add_prefix_space"):
        notes.append("The tokenizer puts a blank before the text, which GGUF leaves out.")
    return pre, notes
