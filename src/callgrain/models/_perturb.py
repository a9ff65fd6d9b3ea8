"""Weights pushed about at matched output KL: what moves with what, and what an edit carries over.

A push is worth comparing only at equal effect: its scale is searched until the mean KL of the decisions' tokens,
from the model as it is to the model as pushed, is the level wanted (not at an equal norm, under which a trained and
an untrained network are not comparable). After the questions of Kumar et al., arXiv 2505.11581 (fractured and
entangled representations), who judge by eye; the figures are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING, Any

from callgrain.models._mask_search import Row, Weights, decided, means, swapped

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.05
"""How far the KL may be from its level, as a share of it."""
MOST_TRIES = 14
"""Scales that are tried for one push: the KL grows about with the square of the scale, so four or five do."""
START, MOST_STEP = 0.02, 8.0
"""Scale that is tried first, in norms of the matrices pushed, and the largest factor between two tries."""
MOST_SCALE = 64.0
"""Largest push, in norms of the matrices pushed: beyond it nothing is left of them anyway."""


@dataclass(frozen=True)
class Push:
    """A push at its scale: mean KL in nats, that of each decision in order, and whether the level was met."""

    scale: float
    kl: float
    moved: tuple[float, ...]
    is_met: bool


def reference(model: Any, rows: Sequence[Row]) -> list[torch.Tensor]:
    """(M, vocabulary) log-probabilities of each row, as the model stands."""
    import torch

    with torch.inference_mode():
        return [decided(model, row) for row in rows]


def moved(model: Any, rows: Sequence[Row], before: Sequence[torch.Tensor]) -> list[float]:
    """Mean KL of each decision's tokens in nats, from `before` to the model as it stands."""
    import torch

    found: list[float] = []
    with torch.inference_mode():
        for row, was in zip(rows, before, strict=True):
            kl = (was.exp() * (was - decided(model, row))).sum(-1)
            found += means(kl, row).tolist()
    return found


def noise(weights: Weights, names: Sequence[str], seed: int) -> dict[str, torch.Tensor]:
    """A random direction in those matrices, in each with the norm of the matrix itself."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    out: dict[str, torch.Tensor] = {}
    for name in names:
        drawn = torch.randn(weights[name].shape, generator=rng).to(weights[name])
        out[name] = drawn * (weights[name].norm() / drawn.norm())
    return out


def pushed(weights: Weights, direction: Mapping[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """The matrices of a direction, pushed that far."""
    return {name: weights[name] + scale * way for name, way in direction.items()}


def matched(
    model: Any, rows: Sequence[Row], before: Sequence[torch.Tensor], direction: Mapping[str, torch.Tensor], level: float
) -> Push:
    """The direction at the scale at which the mean KL of the rows' decisions is `level`.

    The nearest that was tried, with `is_met` False, where no scale up to `MOST_SCALE` gives it.
    """
    weights = {name: model.get_submodule(name).weight.detach() for name in direction}
    tried: list[Push] = []
    scale = START
    for count in range(MOST_TRIES):
        with swapped(model, pushed(weights, direction, scale)):
            each = moved(model, rows, before)
        kl = sum(each) / len(each)
        tried.append(Push(scale, kl, tuple(each), abs(kl - level) <= TOLERANCE * level))
        if tried[-1].is_met or (kl < level and scale >= MOST_SCALE):
            break
        scale = _next_scale(tried, level, count)
    return min(tried, key=lambda push: abs(push.kl - level))


def _next_scale(tried: Sequence[Push], level: float, count: int) -> float:
    """Between the nearest scales on either side of the level, where there are both; else further that way."""
    low = max((push for push in tried if push.kl < level), key=lambda push: push.scale, default=None)
    high = min((push for push in tried if push.kl > level), key=lambda push: push.scale, default=None)
    if low is None or high is None:
        last = tried[-1]
        step = sqrt(level / last.kl) if last.kl > 0 else MOST_STEP
        return min(last.scale * min(max(step, 1 / MOST_STEP), MOST_STEP), MOST_SCALE)
    if count % 2 or low.kl <= 0 or low.scale >= high.scale:  # halving now and then: the curve may have a bend
        return sqrt(low.scale * high.scale)
    part = log(level / low.kl) / log(high.kl / low.kl)
    return low.scale * (high.scale / low.scale) ** part


def margins(model: Any, row: Row) -> torch.Tensor:
    """(decisions,) log-odds of the right token against its best rival, mean over each decision's tokens.

    Unlike a loss it does not go flat where the model is sure, so that what is easy counts as much as what is hard.
    """
    found = decided(model, row)
    right = row.targets[:, None]
    odds = found.gather(1, right)[:, 0] - found.scatter(1, right, float("-inf")).amax(-1)
    return means(odds, row)


def margins_of(model: Any, rows: Sequence[Row]) -> list[float]:
    """The margin of each decision, as the model stands."""
    import torch

    with torch.inference_mode():
        return [value for row in rows for value in margins(model, row).tolist()]


def gradients(model: Any, rows: Sequence[Row], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Gradient of the decisions' mean margin with respect to each of those weights."""
    import torch

    weights = {name: model.get_submodule(name).weight.detach().clone().requires_grad_() for name in names}
    total = sum(row.count for row in rows)
    sums = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in weights.items()}
    for row in rows:
        with swapped(model, weights):
            mean = margins(model, row).sum() / total
        found = torch.autograd.grad(mean, list(weights.values()), materialize_grads=True)
        for name, grad in zip(weights, found, strict=True):
            sums[name] += grad
    return sums


def important(weights: Weights, gradient: Weights, share: float) -> torch.Tensor:
    """Places (sorted) of the top `share` of all those weights by |weight * gradient|."""
    import torch

    flat = torch.cat([(weight * gradient[name]).abs().flatten() for name, weight in weights.items()])
    return flat.topk(max(1, round(share * flat.numel()))).indices.sort().values


def overlap(one: torch.Tensor, other: torch.Tensor, share: float) -> float:
    """Share of places that two sets of equal size have in common, with chance at 0 and identity at 1."""
    import torch

    common = float(torch.isin(one, other).sum()) / len(one)
    return (common - share) / (1 - share)


def rank_one(model: Any, rows: Sequence[Row], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """A change of rank one that takes away from the decisions' margins: the largest gradient's leading singular pair.

    In one matrix, with that matrix's norm; "largest" is the gradient's norm times the matrix's.
    """
    import torch

    found = gradients(model, rows, names)
    weights = {name: model.get_submodule(name).weight.detach() for name in names}
    norms = {name: float(grad.norm() * weights[name].norm()) for name, grad in found.items()}
    name = max(names, key=lambda one: norms[one])
    u, _, vh = torch.linalg.svd(found[name].float(), full_matrices=False)
    weight = weights[name]
    return {name: (-torch.outer(u[:, 0], vh[0]) * weight.float().norm()).to(weight.dtype)}


def ways(weights: Weights, whole: int, single: int, seed: int) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """(name, direction): `whole` random ones in every matrix, then `single` ones in one matrix each, evenly spaced."""
    names = list(weights)
    for number in range(whole):
        yield f"all/{number}", noise(weights, names, seed + number)
    for number in range(min(single, len(names))):
        name = names[number * len(names) // min(single, len(names))]
        yield name, noise(weights, [name], seed + whole + number)
