"""Group-relative advantages and the clipped objective: pure functions of rewards and log-probs.

Replies to one prompt are each other's baseline, so no value model is trained. Three published
shapes stand in SHAPES and differ in what they divide by: GRPO (Shao et al. 2024, 2402.03300), Dr. GRPO
(Liu et al. 2025, 2503.20783), which divides neither by the spread of a group nor by a reply's length,
and DAPO (Yu et al. 2025, 2503.14476), which weighs tokens alike and clips higher above than below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Baseline = Literal["group", "leave_one_out"]
Over = Literal["reply", "tokens", "length"]

SPREAD_FLOOR = 1e-4
"""Added to a group's standard deviation before dividing by it."""


@dataclass(frozen=True)
class Shape:
    """What a published objective divides by, and how far above 1 its ratio may go.

    `scaled`: advantages are divided by their group's standard deviation. `over`: token losses are averaged
    within each reply and then over replies (`reply`), over all tokens (`tokens`), or summed and divided by
    replies times the most tokens of a reply (`length`), which favours neither short nor long ones.
    """

    scaled: bool
    over: Over
    clip_high: float


SHAPES: dict[str, Shape] = {
    "grpo": Shape(scaled=True, over="reply", clip_high=0.2),
    "dr_grpo": Shape(scaled=False, over="length", clip_high=0.2),
    "dapo": Shape(scaled=True, over="tokens", clip_high=0.28),
}
"""The closed table of objectives by the names that the field gives them."""


def group_advantages(
    rewards: Sequence[float | None], *, scaled: bool = True, baseline: Baseline = "group"
) -> list[float]:
    """How much better than its group each reply is; a reply without a reward (None) gets 0 and counts in no mean.

    `leave_one_out` takes the mean of the others as each reply's baseline (RLOO, Ahmadian et al. 2024,
    2402.14740). `scaled` divides by the group's standard deviation (n - 1 in its denominator). A group
    whose rewards are all alike, or of fewer than two, teaches nothing: all 0.
    """
    paid = [reward for reward in rewards if reward is not None]
    if len(paid) < 2 or not has_spread(rewards):
        return [0.0] * len(rewards)
    mean = fsum(paid) / len(paid)
    factor = len(paid) / (len(paid) - 1) if baseline == "leave_one_out" else 1.0
    if scaled:
        factor /= sqrt(fsum((reward - mean) ** 2 for reward in paid) / (len(paid) - 1)) + SPREAD_FLOOR
    return [0.0 if reward is None else factor * (reward - mean) for reward in rewards]


def has_spread(rewards: Sequence[float | None]) -> bool:
    """Whether two replies of the group were paid differently."""
    paid = [reward for reward in rewards if reward is not None]
    return bool(paid) and max(paid) - min(paid) > 1e-9


def clipped(
    logprobs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, low: float, high: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) losses of tokens, and (N,) of bool: where the clip has taken the gradient away.

    `-min(r A, clip(r, 1 - low, 1 + high) A)` with r = exp(logprobs - old), all (N,), one entry a token
    (PPO, Schulman et al. 2017, 1707.06347).
    """
    import torch

    ratio = torch.exp(logprobs - old)
    loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    cut = ((ratio < 1 - low) & (advantages < 0)) | ((ratio > 1 + high) & (advantages > 0))
    return loss, cut


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(N,) estimates of KL(policy || reference) at drawn tokens: never negative, unbiased in value.

    `exp(d) - d - 1` with d = reference - logprobs (Schulman 2020, "Approximating KL divergence").
    """
    import torch

    gap = reference - logprobs
    return torch.exp(gap) - gap - 1


def divergence(logprobs: torch.Tensor, old: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(N,) terms whose mean over tokens that the old policy drew is KL(policy || reference), in value and gradient.

    `k3` by itself has another gradient; weighed by the ratio to the policy that drew, it has the right one
    (DeepSeek-V3.2, 2512.02556).
    """
    import torch

    return torch.exp(logprobs - old) * k3(logprobs, reference)


@dataclass(frozen=True)
class Totals:
    """What a step's losses are divided by: its replies, their tokens, and the most tokens that a reply may have.

    Replies whose advantage is 0 need not be computed, but they count here.
    """

    replies: int
    tokens: int
    most: int


def averaged(losses: torch.Tensor, branch: torch.Tensor, totals: Totals, over: Over) -> torch.Tensor:
    """One number from (N,) losses of tokens; `branch` (N,) says whose reply each token is in."""
    import torch

    if over == "tokens":
        return losses.sum() / max(1, totals.tokens)
    if over == "length":
        return losses.sum() / max(1, totals.replies * totals.most)
    lengths = losses.new_zeros(max(1, totals.replies)).index_add(0, branch, torch.ones_like(losses))
    return (losses / lengths[branch]).sum() / max(1, totals.replies)
