"""Grammars as masks over tokens: the one place that knows llguidance.

A tokenizer is taken byte for byte where the library can read it; one of whole words, joined by
blanks when they are decoded, is given to it as the text that each token adds. Where a grammar
leaves but one text, its usual tokens are *forced*: they are taken as they stand, with jump-ahead
and without it, so that both give the same reply. For byte-level tokenizers the usual tokens are the
tokenizer's own for that text, for words the longest that fits.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from callgrain.dialects._grammar import Grammar
from callgrain.models._decode import Ending, text_of_ids

if TYPE_CHECKING:
    import torch

KEPT = 64
"""Compiled grammars that are kept, the least used given up first."""

NEAR = 64
"""Most tokens that are looked at for a single text behind them all."""

_OPTIONS = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": True,
    "lenient": True,
}


def can_mask(tokenizer: Any) -> bool:
    """Whether masks can be made here for such a tokenizer."""
    return find_spec("llguidance") is not None and getattr(tokenizer, "is_fast", False)


class Masks:
    """Masks over the tokens of one tokenizer; `spaced` where its tokens are words with blanks between them.

    `special` are its special tokens, which only a grammar that names them lets through. Raises
    ValueError where the library cannot take the tokenizer.
    """

    def __init__(self, tokenizer: Any, ending: Ending) -> None:
        self.special: frozenset[str] = frozenset(tokenizer.all_special_tokens)
        self._ends = _in_order(ending, tokenizer)
        self._compiled: OrderedDict[Grammar, Any] = OrderedDict()
        self.spaced, self._tokenizer = _taken(tokenizer, self._ends)

    def masker(self, grammar: Grammar) -> Masker:
        """A mask for one row. What of the grammar cannot be compiled is loosened, never refused."""
        found = self._compiled.pop(grammar, None) or self._compile(grammar)
        self._compiled[grammar] = found
        if len(self._compiled) > KEPT:
            self._compiled.popitem(last=False)
        return Masker(found, self._tokenizer, self._ends, spaced=self.spaced)

    def loosened(self, grammar: Grammar) -> tuple[str, ...]:
        """The rules of the grammar's values that the library cannot express, and that take any JSON."""
        return tuple(name for name, schema in grammar.values if not self._can_express(schema))

    def accepts(self, grammar: Grammar, text: str) -> bool:
        """Whether `text`, in whatever tokens, is a whole turn of the grammar."""
        matcher = self._compile(grammar)
        ids = _letters(self._tokenizer, text)
        return not matcher.is_error() and matcher.try_consume_tokens(ids) == len(ids) and bool(matcher.is_accepting())

    def _compile(self, grammar: Grammar) -> Any:
        matcher = self._matcher(grammar, {})
        if matcher.is_error():
            matcher = self._matcher(grammar, dict.fromkeys(self.loosened(grammar), "{}"))
        return matcher

    def _matcher(self, grammar: Grammar, instead: dict[str, str]) -> Any:
        from llguidance import LLMatcher

        values = (f"{name}: {_json_rule(instead.get(name, schema))}" for name, schema in grammar.values)
        # Forcing is by the tokenizer's own tokens for a text, which for words depend on the blank before it.
        options = '%llguidance {"no_forcing": true}\n' if self.spaced else ""
        lark = options + grammar.lark + "\n".join(values) + "\n"
        return LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(lark), log_level=0)

    def _can_express(self, schema: str) -> bool:
        from llguidance import LLMatcher

        lark = f"start: value\nvalue: {_json_rule(schema)}\n"
        return not LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(lark), log_level=0).is_error()


class Masker:
    """The mask of one row (`_decode.Mask`)."""

    def __init__(self, compiled: Any, tokenizer: Any, ends: Sequence[int], *, spaced: bool) -> None:
        self._compiled = compiled
        self._tokenizer = tokenizer
        self._ends = ends
        self._spaced = spaced
        self._matcher: Any = None
        self._bits: Any = None

    @property
    def is_lost(self) -> bool:
        """Whether the grammar ran into a limit, so that from there on nothing is held to it."""
        return self._matcher is None or bool(self._matcher.is_error())

    def begin(self) -> list[int]:
        """Start anew; the tokens that every turn begins with."""
        self._matcher = self._compiled.deep_copy()
        return self._forced()

    def allowed(self) -> torch.Tensor | None:
        """(vocabulary,) bool tensor of the tokens that may come next; None for all."""
        import torch

        return None if self._bits is None else torch.from_numpy(self._bits)

    def accept(self, token: int) -> list[int]:
        """Go on past `token`; the tokens that must follow it, whatever the model says."""
        if self.is_lost or not self._matcher.consume_token(token):
            self._bits = None
            return []
        return self._forced()

    def _forced(self) -> list[int]:
        """The tokens that follow in any case; past them, which may come is noted."""
        out: list[int] = []
        while not self.is_lost:
            if not self._spaced and (sure := self._matcher.compute_ff_tokens()):
                if not self._matcher.consume_tokens(sure):
                    break
                out += sure
                continue
            self._bits = self._mask()
            if self._bits is None or (only := self._only()) is None:
                return out
            out.append(only)
            if only in self._ends or not self._matcher.consume_token(only):
                return out
        self._bits = None
        return out

    def _mask(self) -> Any:
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[: self._tokenizer.vocab_size].view(np.bool_)
        return bits if bits.any() else None

    def _only(self) -> int | None:
        """The one token that can come: the only one, any of the ends, or the longest where all lead to one text."""
        if (count := int(np.count_nonzero(self._bits))) > NEAR:
            return None
        near: list[int] = np.flatnonzero(self._bits).tolist()
        if count == 1:
            return near[0]
        if all(token in self._ends for token in near):
            return next(end for end in self._ends if end in near)
        if not self._spaced:
            return None
        texts = {token: bytes(self._tokenizer.decode_bytes([token])) for token in near}
        shortest = min(near, key=lambda token: len(texts[token]))
        if not all(text.startswith(texts[shortest]) for text in texts.values()):
            return None
        beyond = self._matcher.deep_copy()
        if not beyond.consume_token(shortest):
            return None
        whole = texts[shortest] + bytes(beyond.compute_ff_bytes())
        return max(near, key=lambda token: len(texts[token])) if all(map(whole.startswith, texts.values())) else None


def _json_rule(schema: str) -> str:
    value: Any = json.loads(schema)
    return "%json " + json.dumps({**value, "x-guidance": _OPTIONS})


def _in_order(ending: Ending, tokenizer: Any) -> list[int]:
    """The end tokens, the tokenizer's own first: which of them is forced must not change."""
    return sorted(ending.ids, key=lambda end: (end != tokenizer.eos_token_id, end))


def _taken(tokenizer: Any, ends: list[int]) -> tuple[bool, Any]:
    """(spaced, the library's tokenizer). Raises ValueError."""
    from llguidance import LLTokenizer, TokenizerWrapper

    first = ends[:1] or [0]
    try:
        inner = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        inner.no_padding()
        inner.no_truncation()
        return False, LLTokenizer(inner.to_str(), eos_token=ends or None)
    except ValueError:
        words = _Words(tokenizer, first[0])
        return True, LLTokenizer(TokenizerWrapper(words), eos_token=ends or first)


class _Words:
    """A tokenizer of words as the library wants one: the text that each token adds to what stands before it."""

    def __init__(self, tokenizer: Any, end: int) -> None:
        count = len(tokenizer)
        special = set(tokenizer.all_special_ids)
        self.eos_token_id = end
        self.bos_token_id = None
        self.special_token_ids = sorted(special)
        anchor = next((token for token in range(count) if token not in special), None)
        if anchor is None:
            raise ValueError("the tokenizer has no token that is text")
        before = len(text_of_ids(tokenizer, [anchor]))
        self.tokens = [text_of_ids(tokenizer, [anchor, token])[before:].encode() for token in range(count)]

    def __call__(self, text: Any) -> list[int]:
        """No tokens: the longest that fit are found by who masks."""
        return []


def _letters(tokenizer: Any, text: str) -> list[int]:
    """The text in tokens as they come, longest first."""
    found: list[int] = tokenizer.greedy_tokenize(text)
    return found
