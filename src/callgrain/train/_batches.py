"""Batches of equal weight, and the plan of a whole run.

Documents go side by side into rows of at most so many tokens, first fit among a few open rows in a
random order: nothing is padded, and a batch mixes lengths. The plan of all epochs is a function of
lengths, seed and budget alone, so a resumed run meets the same batches in the same order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

_OPEN = 32
"""Rows that are open at a time: more fill better, and take longer to look through."""


@dataclass(frozen=True)
class Plan:
    """Numbers of items by batch, in order, for the whole run; `targets` are its target tokens."""

    batches: tuple[array[int], ...]
    tokens: int
    targets: int
    fill: float

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(batch) for batch in self.batches)


@dataclass(frozen=True)
class Pace:
    """How far a run goes: passes over the items, or (where it is not 0) a budget of target tokens."""

    epochs: float = 1.0
    budget: int = 0


def plan(lengths: Sequence[int], targets: Sequence[int], batch_tokens: int, pace: Pace, seed: int) -> Plan:
    """The batches of a run over items of `lengths` tokens, `targets` of them trained.

    With a budget the run ends with the batch that reaches it, in whatever epoch that is. A share
    of an epoch is that share of its batches, one at least.
    """
    batches: list[array[int]] = []
    spent = epoch = 0
    reach = pace.budget if sum(targets) > 0 else 0
    while True:
        found = packed(lengths, batch_tokens, Random(f"order {seed} {epoch}"))
        if not reach:
            left = pace.epochs - epoch
            batches += found if left >= 1 else found[: max(1 - len(batches), round(left * len(found)))]
            epoch += 1
            if epoch >= pace.epochs:
                break
            continue
        for batch in found:
            batches.append(batch)
            spent += sum(targets[i] for i in batch)
            if spent >= reach:
                break
        epoch += 1
        if spent >= reach:
            break
    tokens = sum(lengths[i] for batch in batches for i in batch)
    room = sum(max(batch_tokens, sum(lengths[i] for i in batch)) for batch in batches)
    return Plan(tuple(batches), tokens, sum(targets[i] for b in batches for i in b), tokens / room)


def packed(lengths: Sequence[int], batch_tokens: int, rng: Random) -> list[array[int]]:
    """Every item once, in batches of at most `batch_tokens` tokens; a longer item is a batch of its own."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    closed: list[array[int]] = []
    rows: list[array[int]] = []
    room: list[int] = []
    for item in order:
        length = lengths[item]
        place = next((n for n, left in enumerate(room) if left >= length), None)
        if place is None:
            if len(rows) == _OPEN:
                fullest = min(range(_OPEN), key=room.__getitem__)
                closed.append(rows.pop(fullest))
                room.pop(fullest)
            rows.append(array("i"))
            room.append(batch_tokens)
            place = len(rows) - 1
        rows[place].append(item)
        room[place] -= length
    closed += rows
    # The last rows to be closed are the emptiest: they must not all come at the end of the epoch.
    rng.shuffle(closed)
    return closed
