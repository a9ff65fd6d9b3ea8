"""Documents side by side in one row, and the log-probabilities of their branches.

A document is a prompt and the turns that may follow it: one for supervised rows, two for a
preference, a group for reinforcement. The prompt is computed once, nothing is padded, and the
output head sees only the positions that predict a branch token. Every document comes out as it
would alone; where an architecture cannot be kept apart, padded rows give the same numbers, slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import TYPE_CHECKING, Any

from callgrain.core.errors import BadInput
from callgrain.models._isolation import Layout, Piece, bare_model, can_isolate, has_plain_head, row_arguments

if TYPE_CHECKING:
    import torch

_AT_ONCE = 2**25
"""Most logits that are kept at once, in numbers: 128 MiB in float32."""


@dataclass(frozen=True)
class Document:
    """A prompt and the turns that may follow it, as token ids; the prompt has one token at least."""

    prompt: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Forest:
    """Documents in one row of T positions, with N target tokens in the order of documents and branches.

    `input_ids`, `position_ids` (1, T); `targets` the ids of branch tokens, `where` the position
    that predicts each, `branch` the number of its branch among all `branches` of the row: (N,) int64.
    """

    documents: tuple[Document, ...]
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: Layout
    targets: torch.Tensor
    where: torch.Tensor
    branch: torch.Tensor
    branches: int

    @property
    def tokens(self) -> int:
        """Positions of the row: prompts once, and every branch."""
        return int(self.input_ids.shape[1])

    def to(self, device: Any, **_: Any) -> Forest:
        """The same on another device."""
        names = ("input_ids", "position_ids", "targets", "where", "branch", "layout")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def plant(documents: Sequence[Document], device: Any = "cpu") -> Forest:
    """The documents in one row. Raises BadInput for none at all, and for one without a prompt."""
    import torch

    ids: list[int] = []
    places: list[int] = []
    before: list[int] = []
    targets: list[int] = []
    where: list[int] = []
    owner: list[int] = []
    pieces: list[Piece] = []
    total = sum(len(d.prompt) + sum(map(len, d.branches)) for d in documents)
    branches = 0
    for document in documents:
        if not document.prompt:
            raise BadInput("a document has no prompt, so nothing predicts its first token", "give it a token at least")
        seen, trunk, first = len(document.prompt), len(pieces), len(ids)
        ids += document.prompt
        places += range(seen)
        before += [total, *range(first, first + seen - 1)]
        pieces.append(Piece(seen))
        for number, branch in enumerate(document.branches):
            start = len(ids)
            steps = [first + seen - 1, *range(start, start + len(branch) - 1)] if branch else []
            ids += branch
            places += range(seen, seen + len(branch))
            before += steps
            targets += branch
            where += steps
            owner += [branches + number] * len(branch)
            if number == 0:  # prompt and first branch are one causal piece
                pieces[trunk] = Piece(seen + len(branch))
            elif branch:
                pieces.append(Piece(len(branch), trunk, seen))
        branches += len(document.branches)
    if not ids:
        raise BadInput("there are no documents to put in a row", "give one at least")

    def tensor(values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Forest(
        documents=tuple(documents),
        input_ids=tensor(ids)[None],
        position_ids=tensor(places)[None],
        layout=Layout(tuple(pieces), tensor(before)),
        targets=tensor(targets),
        where=tensor(where),
        branch=tensor(owner),
        branches=branches,
    )


def target_logits(model: Any, forest: Forest) -> torch.Tensor:
    """(N, vocabulary) float32 logits: of the positions that predict a branch token, and of no others.

    `model` is a causal model of transformers, as it is or wrapped by PEFT or by a launcher.
    """
    hidden, head = _hidden(model, forest)
    return (hidden if head is None else head(hidden)).float()


def target_logprobs(model: Any, forest: Forest) -> torch.Tensor:
    """(N,) natural log-probabilities of `forest.targets`; large vocabularies go chunk by chunk.

    Where chunks are needed, the backward pass computes their logits a second time.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    hidden, head = _hidden(model, forest)
    if head is None:
        return _logprobs(hidden, forest.targets)
    rows = max(1, _AT_ONCE // int(head.weight.shape[0]))
    if len(hidden) <= rows:
        return _logprobs(head(hidden), forest.targets)

    def chunk(states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return _logprobs(head(states), targets)

    parts = zip(hidden.split(rows), forest.targets.split(rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([chunk(*part) for part in parts])
    kept: Any = checkpoint
    return torch.cat([kept(chunk, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def by_branch(values: torch.Tensor, forest: Forest) -> torch.Tensor:
    """(branches,) sums of `values` (N,) over the tokens of each branch."""
    return values.new_zeros(forest.branches).index_add(0, forest.branch, values)


def _logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    import torch

    return -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def _hidden(model: Any, forest: Forest) -> tuple[torch.Tensor, Any | None]:
    """Hidden states at `where` and the output head; logits and None where the model computes them by itself."""
    bare = bare_model(model)
    if not can_isolate(model):
        return _padded(model, bare, forest)
    given = {"input_ids": forest.input_ids, "position_ids": forest.position_ids}
    given |= row_arguments(forest.layout, forest.input_ids)
    body = _body(model, bare)
    if body is not None:
        return body(**given).last_hidden_state[0][forest.where], bare.get_output_embeddings()
    if "logits_to_keep" in signature(type(bare).forward).parameters:
        return model(**given, logits_to_keep=forest.where).logits[0], None
    return model(**given).logits[0][forest.where], None


def _padded(model: Any, bare: Any, forest: Forest) -> tuple[torch.Tensor, Any | None]:
    """The same for layers that cannot be kept apart: a row for each branch, padded on the right.

    Under a causal decoder no target position can see what comes after it.
    """
    import torch

    device = forest.input_ids.device
    rows = [(d, b) for d in forest.documents for b in d.branches]
    longest = max(len(d.prompt) + len(b) for d, b in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long, device=device)
    mask = torch.zeros((len(rows), longest), dtype=torch.long, device=device)
    for number, (document, branch) in enumerate(rows):
        whole = torch.tensor([*document.prompt, *branch], dtype=torch.long)
        ids[number, : len(whole)] = whole.to(device)
        mask[number, : len(whole)] = 1
    line = [number for number, (_, b) in enumerate(rows) for _ in b]
    place = [len(d.prompt) - 1 + i for d, b in rows for i in range(len(b))]
    at = (torch.tensor(line, dtype=torch.long, device=device), torch.tensor(place, dtype=torch.long, device=device))
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    body = _body(model, bare)
    if body is not None:
        return body(**given).last_hidden_state[at], bare.get_output_embeddings()
    return model(**given).logits[at], None


def _body(model: Any, bare: Any) -> Any | None:
    """The decoder below the output head; None where the whole model has to be called.

    That is where it scales its logits, or where a launcher's wrapper must see the forward pass.
    """
    if model is not bare:
        base = getattr(model, "get_base_model", None)
        if base is None or base() is not bare or getattr(model.active_peft_config, "is_prompt_learning", False):
            return None
    return bare.base_model if has_plain_head(bare) else None
