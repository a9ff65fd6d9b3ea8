"""The reference of a preference loss: what the model said before it was trained.

Either it is asked at every step (with an adapter the base is still there: the adapter is switched
off; without one a frozen copy is kept), or it has been asked once about every pair, in a journal
of the run's folder that a killed run goes on with. The numbers are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from callgrain.core.progress import Tell
from callgrain.core.store import Run
from callgrain.models._adapters import without
from callgrain.models._forest import target_logprobs
from callgrain.models._isolation import bare_model
from callgrain.train._pairs import EncodedPair, PairBatch, collate_pairs, sums_of

if TYPE_CHECKING:
    import torch

Choice = Literal["auto", "online", "precomputed"]
JOURNAL = "reference"
"""Journal of a run's folder with the reference's sums by pair: `{"key", "sums"}`, see `_pairs.SUMS`."""


class Reference(Protocol):
    """Gives (B, SUMS) sums of the reference's log-probs on a batch, without gradient."""

    def sums(self, model: Any, batch: PairBatch) -> torch.Tensor: ...


@contextmanager
def still(model: Any) -> Generator[None]:
    """Without dropout for as long as the block runs."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


@dataclass(frozen=True)
class Online:
    """Asked at every step: `frozen`, or where that is None the trained model with its adapter switched off."""

    frozen: Any | None

    def sums(self, model: Any, batch: PairBatch) -> torch.Tensor:
        """One forward pass. Raises BadInput where there is neither a copy nor an adapter."""
        import torch

        with torch.no_grad():
            if self.frozen is not None:
                return sums_of(target_logprobs(self.frozen, batch.forest), batch)
            with still(model), without(bare_model(model)):
                return sums_of(target_logprobs(model, batch.forest), batch)


@dataclass(frozen=True)
class Precomputed:
    """Asked once, before the training."""

    known: dict[str, list[float]]

    def sums(self, model: Any, batch: PairBatch) -> torch.Tensor:
        """The sums that were written down."""
        import torch

        del model
        rows = [self.known[key] for key in batch.keys]
        return torch.tensor(rows, dtype=torch.float32, device=batch.leaf.device)


def how(choice: Choice, *, adapter: bool, epochs: float) -> Literal["online", "precomputed"]:
    """What `auto` means: online where the base costs no memory and each pair is seen once at most, else precomputed."""
    if choice != "auto":
        return choice
    return "online" if adapter and epochs <= 1 else "precomputed"


def online(model: Any, *, adapter: bool) -> Online:
    """The reference of a model that is not trained yet."""
    return Online(None if adapter else copy.deepcopy(model).eval().requires_grad_(False))


def precomputed(model: Any, items: Sequence[EncodedPair], batch_tokens: int, run: Run, tell: Tell) -> Precomputed:
    """Ask the model, not trained yet, about the pairs that `reference.jsonl` of the run does not have.

    Batches hold `batch_tokens` tokens at most, unless a pair alone has more.
    """
    import torch

    known: dict[str, list[float]] = {}
    with run.journal(JOURNAL) as journal:
        for row in journal.rows():
            known[row["key"]] = row["sums"]
        due = sorted((item for item in items if item.key not in known), key=lambda item: -len(item.ids))
        device = next(model.parameters()).device
        with torch.no_grad(), still(model):
            for batch_items in _batches(due, batch_tokens):
                batch = collate_pairs(batch_items).to(device)
                sums = sums_of(target_logprobs(model, batch.forest), batch).tolist()
                journal.append({"key": k, "sums": s} for k, s in zip(batch.keys, sums, strict=True))
                known |= dict(zip(batch.keys, sums, strict=True))
                tell("asking the reference", len(known), len(items))
    return Precomputed(known)


def _batches(items: Sequence[EncodedPair], budget: int) -> Iterator[list[EncodedPair]]:
    batch: list[EncodedPair] = []
    for item in items:
        if batch and sum(len(i.ids) for i in batch) + len(item.ids) > budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
