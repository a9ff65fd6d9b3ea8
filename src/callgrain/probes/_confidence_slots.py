"""Which tokens of a reply chose something, and how sure the model was there.

A call is as sure as its least sure choice: the branch (call or text), each tool's name, each argument's value, and
what follows a call's last value or ends the turn. Punctuation and keys say nothing, tokens that a grammar forced even
less: averaged over a whole call they hide the one token that was a guess. So the unit is the slot and not a window of
tokens (DeepConf, arXiv 2508.15260, whose window of 2,048 tokens is the whole call here).

Tokens come as the back end names them, in whatever spelling its tokenizer has. They are held against the text with
all white space left out of both, and what does not fit is no slot rather than a wrong one.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from callgrain.core import plugins
from callgrain.core.types import Message, Reply
from callgrain.dialects._spans import Span, spans
from callgrain.dialects._turns import CLOSE_THOUGHT

CERTAIN = 50.0
"""The margin of a turn in which nothing was free, in nats: no probability that is told apart from 1 lies beyond."""

KINDS = ("decision", "name", "value", "end")
SCORES = ("slot", "slot_entropy", "slot_logprob", "average", "sequence")
"""Every score, ours first: worst slot by margin, entropy and log p; mean log p of the whole call, and its sum."""

WRITTEN = ("compact", "json")
"""Dialects that a turn is written in again where its own spelling cannot be walked (words with blanks between)."""


class Slot(NamedTuple):
    """One choice in a turn: its kind, where it stands in the calls, and the places of its tokens."""

    kind: str
    path: str
    tokens: tuple[int, ...]


def slots(reply: Reply) -> tuple[Slot, ...]:
    """The choices in a turn, in order; empty where it was not read as one, or tokens and text do not fit together."""
    if reply.message is None or not reply.tokens:
        return ()
    found = _aligned(reply.text, reply.tokens) or _aligned("", reply.tokens)
    if found is None:
        return ()
    text, ends, said = found
    parts = _parts(text, (reply.text, said), reply.message)
    if parts is None:
        return ()
    out = [Slot("decision", "", (_first(text, ends, reply.message),))]
    for part in parts:
        tokens = _within(part, parts, ends)
        if tokens:
            out.append(Slot(part.kind, part.path, tokens))
    used = {token for slot in out for token in slot.tokens}
    after = [(bisect_right(ends, end), call) for call, end in _last_letters(parts).items()]
    closing = [(len(ends) - 1, "")] if reply.message.calls else []
    for token, call in (*after, *closing):
        if token < len(ends) and token not in used:
            out.append(Slot("end", call, (token,)))
            used.add(token)
    return tuple(sorted(out, key=lambda slot: slot.tokens))


def scores(reply: Reply) -> dict[str, float] | None:
    """Every score of a turn, the higher the surer; None where the reply has no scores or no slots."""
    if reply.margins is None or reply.entropies is None or not reply.logprobs:
        return None
    sizes = {len(reply.tokens or ()), len(reply.logprobs), len(reply.margins), len(reply.entropies)}
    chosen = slots(reply) if len(sizes) == 1 else ()
    if not chosen:
        return None
    free = [n for slot in chosen for n in slot.tokens if reply.margins[n] is not None]
    margins = [m for n in free if (m := reply.margins[n]) is not None]
    return {
        "slot": min([CERTAIN, *margins]),
        "slot_entropy": -max([0.0, *(reply.entropies[n] for n in free)]),
        "slot_logprob": min([0.0, *(reply.logprobs[n] for n in free)]),
        "average": math.fsum(reply.logprobs) / len(reply.logprobs),
        "sequence": math.fsum(reply.logprobs),
    }


def worst(reply: Reply) -> Slot | None:
    """The slot with the smallest margin, the first of equals; None where nothing was free."""
    margins = reply.margins or ()
    free = [(m, slot) for slot in slots(reply) for n in slot.tokens if (m := margins[n]) is not None]
    return min(free, key=lambda pair: pair[0])[1] if free else None


def as_probability(name: str, score: float) -> float:
    """A score read as the probability that the turn is right, as one would without calibrating it.

    A margin as if there were two candidates, an entropy by its perplexity, a log p as it is.
    """
    if name == "slot":
        return 1 / (1 + math.exp(-score))
    return math.exp(min(0.0, score))


# tokens against text ----------------------------------------------------------------------------


def _aligned(text: str, tokens: Sequence[str]) -> tuple[str, list[int], str] | None:
    """(text without white space, where each token ends in it, the tokens' own text); of that where `text` is empty."""
    whole = _squeezed(text)
    for spelt in _SPELLINGS:
        read = spelt(tokens)
        if read is None:
            continue
        pieces = [_squeezed(piece) for piece in read]
        joined = "".join(pieces)
        if whole and not joined.startswith(whole):
            continue
        size = len(whole) or len(joined)
        return (whole or joined), [min(end, size) for end in accumulate(map(len, pieces))], "".join(read)
    return None


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _as_said(tokens: Sequence[str]) -> list[str] | None:
    return list(tokens)


def _as_sentence_pieces(tokens: Sequence[str]) -> list[str] | None:
    if not any("▁" in token for token in tokens):
        return None
    return [_BYTE.sub(lambda found: chr(int(found[1], 16)), token.replace("▁", " ")) for token in tokens]


def _as_word_pieces(tokens: Sequence[str]) -> list[str] | None:
    if not any(token.startswith("##") for token in tokens):
        return None
    return [token.removeprefix("##") for token in tokens]


def _as_bytes(tokens: Sequence[str]) -> list[str] | None:
    """Byte-level pieces: a letter that lies in several tokens belongs to the last of them."""
    table = _byte_letters()
    held, out = b"", list[str]()
    for token in tokens:
        held += bytes(table[c] for c in token) if all(c in table for c in token) else token.encode()
        try:
            out.append(held.decode())
            held = b""
        except UnicodeDecodeError as error:
            if error.end < len(held):  # not cut short but broken: no letter will come of it
                return None
            out.append(held[: error.start].decode())
            held = held[error.start :]
    return out


@cache
def _byte_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for (the table of GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPELLINGS: tuple[Callable[[Sequence[str]], list[str] | None], ...] = (
    _as_said, _as_word_pieces, _as_sentence_pieces, _as_bytes,
)  # fmt: skip


# parts of the turn ------------------------------------------------------------------------------


def _parts(text: str, said: Sequence[str], message: Message) -> list[Span] | None:
    """Names, keys and values in `text`, which has no white space; none in a turn of text; None where not found.

    `said` are spellings of the turn with their white space, of which one can be walked as a rule.
    """
    if not message.calls:
        return []
    for written in (*said, *_writings(message)):
        if _squeezed(written).startswith(text) and (found := spans(written, message)):
            before = [0, *accumulate(not letter.isspace() for letter in written)]
            return [Span(before[s.start], before[s.end], s.kind, s.path) for s in found]
    return None


def _writings(message: Message) -> Iterator[str]:
    for name in WRITTEN:
        dialect: Any = plugins.load("dialects", name)()
        yield dialect.write(message)


def _first(text: str, ends: Sequence[int], message: Message) -> int:
    """The token that begins the turn, behind a thought where there is one."""
    closed = text.find(CLOSE_THOUGHT) if message.thought else -1
    start = closed + len(CLOSE_THOUGHT) if closed >= 0 else 0
    return min(bisect_right(ends, start), len(ends) - 1)


def _last_letters(parts: Sequence[Span]) -> dict[str, int]:
    """Where the last name or value of each call ends: the token behind it says whether more follows."""
    return {part.path.partition(".")[0]: part.end for part in parts}


def _within(part: Span, parts: Sequence[Span], ends: Sequence[int]) -> tuple[int, ...]:
    """Tokens most of whose letters lie in this name or value; none of a key."""
    if part.kind not in ("name", "value"):
        return ()
    out: list[int] = []
    for n in range(bisect_right(ends, part.start), len(ends)):
        start, end = (ends[n - 1] if n else 0), ends[n]
        if start >= part.end:
            break
        own = min(end, part.end) - max(start, part.start)
        others = [max(0, min(end, s.end) - max(start, s.start)) for s in parts if s is not part]
        marks = end - start - own - sum(others)
        if own > 0 and own >= max(*others, marks, 0):
            out.append(n)
    return tuple(out)
