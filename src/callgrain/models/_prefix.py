"""Who sits in which slot, and what of a new row's prompt lies in another slot already.

Prompts that begin alike (the same system turn and tools, the copies of one prompt that a group of
samples needs) go through the model once: a row waits one step where a row just seated is about to
compute what it could copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from callgrain.models._decode import Row
from callgrain.models._slots import Memory

WORTH = 8
"""Tokens that a row must save by waiting for another to be computed first."""

LOOKED_AT = 16
"""Rows, beside those that find a seat, that are looked at for one: the others wait their turn."""


@dataclass
class Seat:
    """A row in a slot; `length` of its tokens, prompt included, are in the memory."""

    row: Row
    ids: Any
    length: int = 0

    @property
    def chunk(self) -> list[int]:
        """The tokens that the model has not been given yet."""
        within = self.length - len(self.row.prompt)
        return self.row.tokens[within:] if within >= 0 else [*self.row.prompt[self.length :], *self.row.tokens]


@dataclass
class _Shown:
    """The prompt whose first `known` tokens lie in a slot."""

    ids: Any
    known: int


class Shelf:
    """`size` slots of a memory: rows take them, leave them, and copy what they share."""

    def __init__(self, rows: Sequence[Row], memory: Memory, size: int) -> None:
        ordered = sorted(rows, key=lambda row: row.prompt)  # neighbours share most
        self.memory = memory
        self._waiting = [Seat(row, np.asarray(row.prompt, dtype=np.int64)) for row in ordered]
        self._seats: list[Seat | None] = [None] * size
        self._shown: list[_Shown | None] = [None] * size

    @property
    def live(self) -> list[Seat]:
        """The rows under way, in the order of their slots, which leave no gap."""
        return [seat for seat in self._seats if seat is not None]

    def admit(self, budget: int) -> None:
        """Seat as many waiting rows as there is room for, `budget` tokens in this step (or one row)."""
        budget -= sum(len(seat.chunk) for seat in self.live)
        passed: list[Seat] = []
        while self._waiting and len(passed) < LOOKED_AT and None in self._seats:
            seat = self._waiting.pop(0)
            slot = self._seats.index(None)
            source, saved = self._source(seat)
            cost = len(seat.ids) - saved
            if (cost > budget and self.live) or self._coming(seat) >= saved + WORTH:
                passed.append(seat)
                continue
            budget -= cost
            self.memory.copy(source, slot, saved)
            seat.length = saved
            self._seats[slot], self._shown[slot] = seat, _Shown(seat.ids, saved)
        self._waiting = passed + self._waiting
        self._close_gaps()

    def fed(self) -> None:
        """Note that the model has been given every seated row's chunk."""
        for seat, shown in zip(self._seats, self._shown, strict=True):
            if seat is not None and shown is not None:
                seat.length += len(seat.chunk)
                shown.known = min(seat.length, len(seat.ids))

    def sweep(self) -> None:
        """Let the rows that are done leave; what they left in their slots can still be copied."""
        self._seats = [None if seat is not None and seat.row.is_done else seat for seat in self._seats]

    def _source(self, seat: Seat) -> tuple[int, int]:
        """(slot, tokens) of the longest beginning that lies in the memory; the last token is always owed."""
        best = 0, 0
        for slot, shown in enumerate(self._shown):
            if (
                shown is not None
                and (saved := min(_alike(seat.ids, shown.ids), shown.known, len(seat.ids) - 1)) > best[1]
            ):
                best = slot, saved
        return best

    def _coming(self, seat: Seat) -> int:
        """Tokens that the seat could copy once the rows seated so far have been through the model."""
        found = (
            min(_alike(seat.ids, other.ids), len(seat.ids) - 1) for other in self.live if other.length < len(other.ids)
        )
        return max(found, default=0)

    def _close_gaps(self) -> None:
        """Move the last rows into the gaps, so that the rows under way stand in the first slots."""
        while None in self._seats:
            gap = self._seats.index(None)
            last = max((n for n, seat in enumerate(self._seats) if seat is not None), default=-1)
            moved = self._seats[last]
            if last < gap or moved is None:
                return
            self.memory.copy(last, gap, moved.length)
            self._seats[gap], self._seats[last] = moved, None
            self._shown[gap] = _Shown(moved.ids, min(moved.length, len(moved.ids)))


def _alike(one: Any, other: Any) -> int:
    """How many tokens two prompts have in common at their beginnings."""
    shorter = min(len(one), len(other))
    apart: Any = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(apart[0]) if len(apart) else shorter
