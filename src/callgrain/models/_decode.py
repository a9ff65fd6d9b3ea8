"""Decoding: what a row is, how its next token is drawn and recorded, and when it ends.

No row knows of its neighbours: each has its own temperature, limit, grammar and random stream,
so a reply does not depend on its batch. `_engine.py` drives the models that it can; `decode` here
drives any by transformers' `generate`, more slowly, and draws the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Mask(Protocol):
    """What a grammar has to say to one row, token by token (`_masks.Masker`)."""

    def begin(self) -> list[int]:
        """Start anew; the tokens that every turn begins with."""
        ...

    def allowed(self) -> Any:
        """(vocabulary,) bool tensor of the tokens that may come next, on the processor; None for all."""
        ...

    def accept(self, token: int) -> list[int]:
        """Go on past `token`; the tokens that must follow it, whatever the model says."""
        ...


@dataclass
class Row:
    """One prompt under way: its token ids, how to draw, and what has come of it.

    `tokens` and `logprobs` (natural, at temperature 1) go as far as the end token, that included;
    under a `mask` they are those of the masked distribution, and 0.0 where the grammar leaves no
    choice. `forced` counts those tokens; `queue` holds such as have not been taken yet. `ended`
    says that the row came to its end by itself and not at `limit`. Where `scored`, `margins` and
    `entropies` hold for each token what `Reply` says of them, of the same distribution.
    """

    prompt: list[int]
    limit: int
    temperature: float
    top_p: float
    seed: int
    mask: Mask | None = None
    scored: bool = False
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    margins: list[float | None] = field(default_factory=list[float | None])
    entropies: list[float] = field(default_factory=list[float])
    ended: bool = False
    failure: str = ""
    forced: int = 0
    queue: list[int] = field(default_factory=list[int])
    rng: Random = field(default_factory=Random)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be drawn."""
        return self.ended or len(self.tokens) >= self.limit

    def begin(self) -> None:
        """Forget what has come so far."""
        self.tokens, self.logprobs, self.ended, self.forced = [], [], False, 0
        self.margins, self.entropies = [], []
        self.rng = Random(self.seed)
        self.queue = [] if self.mask is None else self.mask.begin()


@dataclass(frozen=True)
class Ending:
    """Where a turn ends: at one of `ids`, or once its text holds `text` ("" for ids alone)."""

    ids: frozenset[int]
    text: str = ""
    window: int = 0


class Drawer:
    """Draws and records the next tokens of rows."""

    def __init__(self, ending: Ending, tokenizer: Any) -> None:
        self._ending = ending
        self._tokenizer = tokenizer

    def draw(self, rows: Sequence[Row], scores: torch.Tensor) -> None:
        """Give each row (none of them done or with a queue) its next token from (rows, vocabulary) logits."""
        import torch

        scores = scores.float()
        masked = [
            (n, allowed) for n, row in enumerate(rows) if row.mask and (allowed := row.mask.allowed()) is not None
        ]
        if masked:
            places, allowed = zip(*masked, strict=True)
            ruled_out = torch.zeros(scores.shape, dtype=torch.bool)
            known = min(allowed[0].shape[0], scores.shape[1])
            ruled_out[list(places)] = True  # what the tokenizer does not know included
            ruled_out[list(places), :known] = ~torch.stack(allowed)[:, :known]
            scores = scores.masked_fill(ruled_out.to(scores.device), float("-inf"))
        chosen = _drawn(rows, scores)
        shares = torch.log_softmax(scores, dim=-1)
        likely: Any = shares.gather(1, chosen[:, None])[:, 0]
        _note(rows, shares)
        for row, token, logprob in zip(rows, chosen.tolist(), likely.tolist(), strict=True):
            self._take(row, token, min(logprob, 0.0))
            if row.mask is not None and not row.ended:
                row.queue = row.mask.accept(token)

    def force(self, row: Row) -> None:
        """Take the first token of the row's queue."""
        self._take(row, row.queue.pop(0), 0.0)
        row.forced += 1
        if row.scored:
            row.margins.append(None)
            row.entropies.append(0.0)

    def _take(self, row: Row, token: int, logprob: float) -> None:
        row.tokens.append(token)
        row.logprobs.append(logprob)
        row.ended = self._ends(row)

    def _ends(self, row: Row) -> bool:
        if row.tokens[-1] in self._ending.ids:
            return True
        if not self._ending.text:
            return False
        recent = row.tokens[-self._ending.window :]
        return self._ending.text in text_of_ids(self._tokenizer, recent)


def _note(rows: Sequence[Row], shares: torch.Tensor) -> None:
    """Margin and entropy of the next token of each row that wants them, from (rows, vocabulary) log-probabilities."""
    import torch

    wanted = [n for n, row in enumerate(rows) if row.scored]
    if not wanted:
        return
    own = shares if len(wanted) == len(rows) else shares[wanted]
    best: list[list[float]] = own.topk(min(2, own.shape[1]), dim=-1).values.tolist()
    spread: list[float] = torch.special.entr(own.exp()).sum(-1).tolist()
    for n, top, entropy in zip(wanted, best, spread, strict=True):
        has_choice = len(top) > 1 and top[1] > float("-inf")
        rows[n].margins.append(max(0.0, top[0] - top[1]) if has_choice else None)
        rows[n].entropies.append(max(0.0, entropy) if has_choice else 0.0)


def _drawn(rows: Sequence[Row], scores: Any) -> Any:
    """(batch,) token ids: the likeliest, or drawn from the nucleus where the temperature says so."""
    import torch

    chosen = scores.argmax(dim=-1)
    warm = [n for n, row in enumerate(rows) if row.temperature > 0]
    if not warm:
        return chosen
    given = [[rows[n].temperature, max(rows[n].top_p, 1e-9), rows[n].rng.random()] for n in warm]
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


class Chooser:
    """The rows' next tokens as `generate` asks for them: it takes this as its logits processor.

    It leaves all logits but the chosen one's at minus infinity, so that the greedy choice
    that follows is the token drawn here.
    """

    def __init__(self, rows: Sequence[Row], drawer: Drawer, pad: int) -> None:
        self.rows = rows
        self._drawer = drawer
        self._pad = pad

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(batch, length) ids and (batch, vocabulary) logits -> logits that leave one token a row."""
        import torch

        owed = [row for row in self.rows if not row.is_done and row.queue]
        free = [n for n, row in enumerate(self.rows) if not row.is_done and not row.queue]
        waiting = {id(row) for row in owed} | {id(self.rows[n]) for n in free}
        for row in owed:
            self._drawer.force(row)
        if free:
            self._drawer.draw([self.rows[n] for n in free], scores[free])
        chosen = [row.tokens[-1] if id(row) in waiting else self._pad for row in self.rows]
        only = torch.full_like(scores, float("-inf"))
        return only.scatter_(1, torch.tensor(chosen, device=scores.device)[:, None], 0.0)

    def finished(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(batch,) of bool: which rows are done; `generate` takes it as its stopping criterion."""
        import torch

        return torch.tensor([row.is_done for row in self.rows], device=input_ids.device)


def decode(model: Any, rows: Sequence[Row], ending: Ending, tokenizer: Any) -> None:
    """Fill `rows` anew with what `model` says to them, as one left-padded batch. Raises RuntimeError."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    for row in rows:
        row.begin()
    pad = pad_id(tokenizer, model)
    longest = max(len(row.prompt) for row in rows)
    ids = [[pad] * (longest - len(row.prompt)) + row.prompt for row in rows]
    mask = [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
    chooser = Chooser(rows, Drawer(ending, tokenizer), pad)
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


def bands(lengths: Sequence[int], batch_size: int, batch_tokens: int) -> list[tuple[list[int], int]]:
    """Rows that are decoded in slots of one length, longest first, as (row numbers, slots).

    A row shares its band with none more than twice as long, so that one long row does not cost
    the others their slots. There are at most `batch_size` slots, together of at most `batch_tokens`
    tokens, but always one.
    """
    out: list[tuple[list[int], int]] = []
    longest = 0
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        if not out or lengths[number] * 2 < longest:
            longest = lengths[number]
            out.append(([], max(1, min(batch_size, batch_tokens // longest))))
        out[-1][0].append(number)
    return [(numbers, min(size, len(numbers))) for numbers, size in out]


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
