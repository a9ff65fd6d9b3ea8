"""What a preference training looks like from inside, and when it should end.

A margin can widen while both turns become less likely, and then the model learns to say neither.
So the log-prob of the chosen turn is a meter and has a stop rule of its own, and a probe on fixed pairs
measures why: how much the gradients of the two turns have in common (2410.13828).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from callgrain.core.store import Journal, Run
from callgrain.models._forest import target_logits
from callgrain.models._isolation import bare_model
from callgrain.train._losses import Pairs
from callgrain.train._pairs import EncodedPair, PairBatch, as_pairs, collate_pairs, sums_of
from callgrain.train._reference import still

if TYPE_CHECKING:
    from torch import Tensor

PROBED = 8
"""Pairs of the probe at most."""
PROBE_LOGITS = 2**25
"""Most logits of the probe, in numbers (128 MiB in float32): a large vocabulary has fewer pairs."""
SMOOTHING = 0.9
"""Weight of the past in the smoothed log-prob of the chosen turn."""
AT_LEAST = 10
"""Batches before the stop rule speaks."""
JOURNAL = "chosen"
"""Journal of a run's folder: how far below its start the chosen turn's log-prob is, nats a token, by step."""


def step_meters(pairs: Pairs) -> dict[str, Tensor]:
    """Means over the batch, in nats: log-probs of either turn, whole and a token; margin; accuracy; drop.

    `margin` is between log-ratios to the reference where there is one, else between log-probs;
    `accuracy` the share of pairs whose margin is positive. `drop` is how far log p(chosen) lies below the
    reference's, a token.
    """
    w, l = pairs.chosen, pairs.rejected  # noqa: E741 - the letters of the papers
    known = w.reference is not None
    margin = w.ratio - l.ratio if known else w.policy - l.policy
    named = {
        "logp_chosen": w.policy,
        "logp_rejected": l.policy,
        "logp_chosen_token": w.mean,
        "logp_rejected_token": l.mean,
        "margin": margin,
        "accuracy": (margin > 0).float(),
    }
    if known:
        named["drop"] = -w.ratio / w.tokens.clamp(min=1)
    return {name: value.detach().float().mean() for name, value in named.items()}


def inner(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> float:
    """Inner product of two gradients, given parameter by parameter."""
    return sum(
        float((a.float() * b.float()).sum()) for a, b in zip(one, other, strict=True) if a is not None and b is not None
    )


class Probe:
    """Fixed pairs on which gradients and whole distributions are looked at now and then.

    Made before the training begins: it keeps what the model says then.
    """

    def __init__(self, model: Any, items: Sequence[EncodedPair]) -> None:
        import torch

        kept = _few(items, int(model.get_output_embeddings().weight.shape[0]))
        device = next(model.parameters()).device
        self._batch = collate_pairs(kept).to(device)
        self._own = torch.tensor(_own_branches(self._batch), device=device)[self._batch.forest.branch]
        with torch.no_grad(), still(model):
            self._before = torch.log_softmax(target_logits(model, self._batch.forest), -1)
            self._reference = sums_of(_of_targets(self._before, self._batch), self._batch)

    def read(self, model: Any, loss: Callable[[Pairs], Tensor]) -> dict[str, float]:
        """The meters, in nats; `.grad` is left as it is, `loss` gives one number a pair.

        - `entropy`, `kl`: of the model's distribution, and from it to the one before the training; a token
          of the two turns.
        - `entanglement`: `<g_w, g_l> / |g_w|^2` of the gradients of log p(chosen) and log p(rejected). Above 1,
          pushing the rejected turn down takes the chosen turn down with it (2410.13828).
        - `rise`: cosine between g_w and the way in which a step on this loss goes: below 0, the chosen
          turn becomes less likely. It tells losses apart that entanglement, a property of the pairs, cannot.
        """
        import torch

        bare = bare_model(model)
        trained = [p for p in bare.parameters() if p.requires_grad]
        with torch.enable_grad(), still(bare):
            logs = torch.log_softmax(target_logits(bare, self._batch.forest), -1)
            sums = sums_of(_of_targets(logs, self._batch), self._batch)
            goals = sums[:, 0].mean(), sums[:, 1].mean(), loss(as_pairs(sums, self._batch, self._reference)).mean()
            w, l, down = (  # noqa: E741 - the letters of the papers
                torch.autograd.grad(goal, trained, retain_graph=True, allow_unused=True) for goal in goals
            )
        with torch.no_grad():
            shares = logs[self._own].exp()
            entropy = -(shares * logs[self._own]).sum(-1).mean()
            kl = (shares * (logs[self._own] - self._before[self._own])).sum(-1).mean()
        size, slope = inner(w, w), inner(down, down)
        return {
            "entropy": float(entropy),
            "kl": float(kl),
            "entanglement": inner(w, l) / size if size else 0.0,
            "rise": -inner(w, down) / (size * slope) ** 0.5 if size * slope else 0.0,
        }


def _few(items: Sequence[EncodedPair], vocabulary: int) -> list[EncodedPair]:
    """Pairs from all over the rows, as many as the probe may have; one at least."""
    step = max(1, len(items) // PROBED)
    kept: list[EncodedPair] = []
    tokens = 0
    for item in items[::step][:PROBED]:
        tokens += sum(item.sizes[1:])
        if kept and tokens * vocabulary > PROBE_LOGITS:
            break
        kept.append(item)
    return kept


def _own_branches(batch: PairBatch) -> list[bool]:
    """Which branches of the row are turns of its pairs, and not of other requests."""
    return [number % batch.width < 2 for number in range(batch.forest.branches)]


def _of_targets(logs: Tensor, batch: PairBatch) -> Tensor:
    return logs.gather(1, batch.forest.targets[:, None])[:, 0]


class StopRule:
    """Ends a training in which the chosen turn becomes less likely by more than `drop` nats a token, smoothed.

    What it has seen lies in the run's folder, step by step, so that a resumed training stops where
    one that was not killed does. A `drop` of 0 switches it off.
    """

    def __init__(self, drop: float, run: Run) -> None:
        self.drop = drop
        self._run = run
        self._journal: Journal | None = None
        self._smoothed, self._seen = 0.0, 0

    def see(self, step: int, drop: float) -> None:
        """How far log p(chosen) lies below its start in the batch of this step, nats a token."""
        if self._journal is None:
            self._journal = self._run.journal(JOURNAL)
            for row in self._journal.rows():
                if int(row["key"]) < step:
                    self._add(row["drop"])
        self._journal.append([{"key": str(step), "drop": drop}])
        self._add(drop)

    def _add(self, drop: float) -> None:
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * drop
        self._seen += 1

    @property
    def reason(self) -> str | None:
        """Why the training should end; None while it should not."""
        if not self.drop or self._seen < AT_LEAST:
            return None
        fallen = self._smoothed / (1 - SMOOTHING**self._seen)
        if fallen <= self.drop:
            return None
        return f"log p(chosen) fell by {fallen:.2f} nats a token, more than stop_drop ({self.drop:g})"

    def close(self) -> None:
        """Hand what was seen to the disk."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
