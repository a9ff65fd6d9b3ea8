"""Batched decoding in which no row knows of its neighbours.

transformers' `generate` drives the model (every architecture has its own caches and masks);
what is drawn, what is recorded and when a row ends is decided here, row by row: each row has
its own temperature, limit and random stream, so a reply does not depend on its batch, and the
log-probability of each token is kept without keeping the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass
class Row:
    """One prompt under way: its token ids, how to draw, and what has come of it.

    `tokens` and `logprobs` go as far as the end token, that included; `ended` says that the
    row came to its end by itself and not at `limit`.
    """

    prompt: list[int]
    limit: int
    temperature: float
    top_p: float
    seed: int
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    ended: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be drawn."""
        return self.ended or len(self.tokens) >= self.limit


@dataclass(frozen=True)
class Ending:
    """Where a turn ends: at one of `ids`, or once its text holds `text` ("" for ids alone)."""

    ids: frozenset[int]
    text: str = ""
    window: int = 0


class Chooser:
    """Draws and records the next token of each row: `generate` takes it as its logits processor.

    It leaves all logits but the chosen one's at minus infinity, so that the greedy choice
    that follows is the token drawn here.
    """

    def __init__(self, rows: Sequence[Row], ending: Ending, tokenizer: Any, pad: int) -> None:
        self.rows = rows
        self._ending = ending
        self._tokenizer = tokenizer
        self._pad = pad
        self._rngs = [Random(row.seed) for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(batch, length) ids and (batch, vocabulary) logits -> logits that leave one token a row."""
        import torch

        chosen = self._drawn(scores)
        likely: Any = torch.log_softmax(scores, dim=-1).gather(1, chosen[:, None])[:, 0]
        tokens, logprobs = chosen.tolist(), likely.tolist()
        for number, row in enumerate(self.rows):
            if row.is_done:
                chosen[number] = self._pad
                continue
            row.tokens.append(tokens[number])
            row.logprobs.append(min(logprobs[number], 0.0))
            row.ended = self._ends(row)
        only = torch.full_like(scores, float("-inf"))
        return only.scatter_(1, chosen[:, None], 0.0)

    def finished(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(batch,) of bool: which rows are done; `generate` takes it as its stopping criterion."""
        import torch

        return torch.tensor([row.is_done for row in self.rows], device=input_ids.device)

    def _drawn(self, scores: Any) -> Any:
        """(batch,) token ids: the likeliest, or drawn from the nucleus where the temperature says so."""
        import torch

        chosen = scores.argmax(dim=-1)
        warm = [n for n, row in enumerate(self.rows) if row.temperature > 0 and not row.is_done]
        if not warm:
            return chosen
        given = [[self.rows[n].temperature, max(self.rows[n].top_p, 1e-9), self._rngs[n].random()] for n in warm]
        settings: Any = torch.tensor(given, device=scores.device)
        heat, top_p, draws = settings[:, 0:1], settings[:, 1:2], settings[:, 2:3]
        shares, order = torch.softmax(scores[warm] / heat, dim=-1).sort(dim=-1, descending=True, stable=True)
        # The nucleus: every token before which less than top_p has gathered; the first is always in it.
        kept = shares * ((shares.cumsum(-1) - shares) < top_p)
        mass = kept.cumsum(-1)
        # `right` so that a draw of exactly 0 still takes a token of some mass.
        place = torch.searchsorted(mass, draws * mass[:, -1:], right=True)
        place = torch.minimum(place, (kept > 0).sum(-1, keepdim=True) - 1)
        chosen[warm] = order.gather(1, place)[:, 0]
        return chosen

    def _ends(self, row: Row) -> bool:
        if row.tokens[-1] in self._ending.ids:
            return True
        if not self._ending.text:
            return False
        recent = row.tokens[-self._ending.window :]
        return self._ending.text in text_of_ids(self._tokenizer, recent)


def decode(model: Any, rows: Sequence[Row], ending: Ending, tokenizer: Any) -> None:
    """Fill `rows` anew with what `model` says to them, as one left-padded batch. Raises RuntimeError."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    for row in rows:
        row.tokens, row.logprobs, row.ended = [], [], False
    pad = pad_id(tokenizer, model)
    longest = max(len(row.prompt) for row in rows)
    ids = [[pad] * (longest - len(row.prompt)) + row.prompt for row in rows]
    mask = [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
    chooser = Chooser(rows, ending, tokenizer, pad)
    config = GenerationConfig(
        max_new_tokens=max(row.limit for row in rows), do_sample=False, num_beams=1, pad_token_id=pad, use_cache=True
    )
    with torch.inference_mode():
        model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=StoppingCriteriaList([chooser.finished]),
        )


def batches(lengths: Sequence[int], batch_size: int, batch_tokens: int) -> list[list[int]]:
    """Row numbers by batch, longest first, so that what does not fit in memory shows at once.

    `lengths` are tokens of prompt and reply together; a batch holds at most `batch_size` rows
    and, padded to its longest, `batch_tokens` tokens; a longer row is a batch of its own.
    """
    out: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        fits = out and len(out[-1]) < batch_size and lengths[out[-1][0]] * (len(out[-1]) + 1) <= batch_tokens
        if fits:
            out[-1].append(number)
        else:
            out.append([number])
    return out


def ending_of(tokenizer: Any, model_ends: Sequence[int], end: str) -> Ending:
    """Where turns end: the model's and the tokenizer's end tokens, and the dialect's `end`."""
    ids = {*model_ends}
    if isinstance(tokenizer.eos_token_id, int):
        ids.add(tokenizer.eos_token_id)
    if not end:
        return Ending(frozenset(ids))
    spelt: list[int] = tokenizer.encode(end, add_special_tokens=False)
    if len(spelt) == 1 and spelt[0] != tokenizer.unk_token_id:
        # A token of its own, which in most vocabularies no other spelling of `end` can be.
        ids.add(spelt[0])
        if spelt[0] in tokenizer.all_special_ids or spelt[0] in tokenizer.added_tokens_decoder:
            return Ending(frozenset(ids))
    return Ending(frozenset(ids), end, window=len(end.encode()) + 8)


def text_of_ids(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens included: marks of calls are special in many models."""
    text: str = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def prompt_ids(tokenizer: Any, text: str, *, templated: bool) -> list[int]:
    """Token ids of a rendered prompt: a chat template has written its own opening token already.

    For other text the tokenizer's opening token goes in front where it would put one there;
    a closing token never follows, for the assistant has yet to speak.
    """
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    opening = tokenizer.bos_token_id
    if not templated and opening is not None and ids[:1] != [opening] and tokenizer.encode("")[:1] == [opening]:
        return [opening, *ids]
    return ids


def pad_id(tokenizer: Any, model: Any) -> int:
    """An id to pad with; it is masked, so any that the model knows will do."""
    for source in (tokenizer, model.config.get_text_config()):
        if isinstance(found := getattr(source, "pad_token_id", None), int) and found >= 0:
            return found
    return 0
