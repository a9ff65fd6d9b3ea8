"""Rows as token ids, and batches of equal weight.

The mask comes from the seam between prompt and target, never from a string in the text: the
prompt is tokenised exactly as it is served, the target goes on from it. Batches hold rows of
like length up to a budget of tokens, so that little is padded; their order is shuffled by seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from callgrain.core.errors import BadInput
from callgrain.core.types import Message, Prompt
from callgrain.models._decode import prompt_ids
from callgrain.models._load import Loaded


@dataclass(frozen=True)
class Encoded:
    """One row: token ids, and how many of them belong to the prompt (they carry no loss)."""

    ids: tuple[int, ...]
    prompt: int


@dataclass(frozen=True)
class Rows:
    """The encoded rows, and how many were left out for their length."""

    kept: tuple[Encoded, ...]
    too_long: int

    @property
    def tokens(self) -> int:
        """Tokens in all, prompts included."""
        return sum(len(row.ids) for row in self.kept)

    @property
    def target_tokens(self) -> int:
        """Tokens that carry loss: what arms of an experiment are held equal in."""
        return sum(len(row.ids) - row.prompt for row in self.kept)


def encode(rows: Iterable[dict[str, Any]], loaded: Loaded, max_length: int) -> Rows:
    """Rows of a build as token ids. Raises BadInput where none fits, or where a tool's name is lost.

    A rendered prompt that lacks a tool's name would train the model to call what it cannot see:
    some templates drop `tools` without a word.
    """
    dialect, tokenizer = loaded.dialect, loaded.tokenizer
    templated = loaded.dialect_id == "chat_template"
    kept: list[Encoded] = []
    too_long = 0
    for number, row in enumerate(rows):
        prompt = Prompt.model_validate_json(row["prompt"])
        text = dialect.render(prompt)
        if number == 0:
            _check_tools(prompt, text)
        head = prompt_ids(tokenizer, text, templated=templated)
        target = dialect.write(Message.model_validate_json(row["target"])) + dialect.end
        tail: list[int] = tokenizer.encode(target, add_special_tokens=False)
        if len(head) + len(tail) > max_length:
            too_long += 1
            continue
        kept.append(Encoded((*head, *tail), len(head)))
    if not kept:
        raise BadInput("no row is short enough to train on", f"raise --max-length (now {max_length})")
    return Rows(tuple(kept), too_long)


def _check_tools(prompt: Prompt, text: str) -> None:
    lost = [tool.name for tool in prompt.tools if tool.name not in text]
    if lost:
        raise BadInput(
            f"the rendered prompt lacks the tool {lost[0]!r}", "choose a dialect that shows tools: --dialect json"
        )


class TokenBatches:
    """Indices of rows in batches of at most `budget` tokens, padding included; a new order each epoch."""

    def __init__(self, lengths: Sequence[int], budget: int, seed: int) -> None:
        self._lengths = lengths
        self._budget = budget
        self._seed = seed
        self._epoch = 0
        self._count = sum(1 for _ in self._cut(0))

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next pass is: the order depends on it and on the seed alone."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self._cut(self._epoch))
        Random(f"order {self._seed} {self._epoch}").shuffle(batches)
        # The number of batches of an epoch is promised beforehand; an order that needs one more or less keeps to it.
        yield from batches[: self._count]
        for index in range(self._count - len(batches)):
            yield batches[index % len(batches)]

    def _cut(self, epoch: int) -> Iterator[list[int]]:
        """Rows sorted by length (ties in random order), cut where the budget is full."""
        rng = Random(f"ties {self._seed} {epoch}")
        order = sorted(range(len(self._lengths)), key=lambda i: (self._lengths[i], rng.random()))
        batch: list[int] = []
        for index in order:
            if batch and (len(batch) + 1) * self._lengths[index] > self._budget:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch


def collate(rows: Sequence[Encoded], pad: int) -> dict[str, Any]:
    """Right-padded tensors: `input_ids`, `attention_mask` (batch, length), `labels` with -100 where no loss falls."""
    import torch

    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), -100, dtype=torch.long)
    for i, row in enumerate(rows):
        tensor = torch.tensor(row.ids, dtype=torch.long)
        ids[i, : len(row.ids)] = tensor
        mask[i, : len(row.ids)] = 1
        labels[i, row.prompt : len(row.ids)] = tensor[row.prompt :]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
