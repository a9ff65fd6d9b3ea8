"""Curves of success against a load: five classes, fitted and weighed against each other.

p is the probability of being right at load N, lo and hi the least and greatest load asked:

    constant     p = a
    linear       p = a (1 - (N - lo) / (Z - lo)), 0 from Z on
    exponential  p = a 2^(-(N - lo) / H)
    logistic     p = a / (1 + exp(k (log2 N - log2 M)))
    break        p = a up to B, then a (1 - (N - B) / (Z - B)), 0 from Z on: flat, then a break

Maximum binomial likelihood over a closed grid of parameters, so that a fit is two matrix products, and hundreds
of refits are as well. IFScale (arXiv 2507.11538) names such classes by eye. Here a class has a weight: each is
fitted to half of the traces and held against the other half, many times over; the log-likelihoods are made into
weights by pseudo-BMA with the Bayesian bootstrap (Yao et al. 2018, arXiv 1704.02030, section 3.4). Halves, since
leaving out one trace at a time cannot tell a constant from a curve that bends a little (Shao 1993: the held-out
part must be large for the right model to be chosen). A weight says how well a class foretells traces that it has
not seen, beside the other four; it is not the probability that a law holds. The best class is that of the greatest
weight, but the constant where no other foretells better by a standard error: every class can bend as good as not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log2, sqrt
from typing import Any

CLASSES = ("constant", "linear", "exponential", "logistic", "break")
"""From the plainest on: of equal classes the first is called the best."""
LEAST_TRACES = 8
"""Fewest traces that a curve is fitted to: below it neither classes nor intervals mean anything."""
LEAST_LOADS = 3
SPLITS = 20
"""Times that the traces are halved, each half held against the fit of the other."""
STEPS = 4
"""Places a doubling at which the fitted curve is given."""

_EDGE = 0.005
"""No fit claims to be surer than this: one unlucky reply must not decide between classes."""
_TIE = 0.05
"""Log-likelihoods this near are as good as equal: a break may lie anywhere between two loads."""
_BLOCK = 64
"""Refits worked out at once: bounds memory at about 10 MB."""

Array = Any
"""A numpy array; numpy is imported where it is used."""


@dataclass(frozen=True)
class Grid:
    """The curves of one class: parameters (curves, 3) and log-likelihoods of right and wrong (loads, curves)."""

    params: Array
    right: Array
    wrong: Array


@dataclass(frozen=True)
class Curve:
    """What was fitted: weights of the classes, and the curve of the best of them, as (load, p)."""

    weights: Mapping[str, float]
    best: str
    line: tuple[tuple[float, float], ...]


def fit(
    loads: Sequence[int], right: Sequence[Sequence[int]], asked: Sequence[Sequence[int]], *, seed: int = 0
) -> Curve | None:
    """The curve behind (traces, loads) counts of right replies among those asked.

    None where there are fewer than `LEAST_TRACES` traces or `LEAST_LOADS` loads.
    """
    import numpy as np

    if len(right) < LEAST_TRACES or len(loads) < LEAST_LOADS:
        return None
    hits = np.asarray(right, dtype=float)
    misses = np.asarray(asked, dtype=float) - hits
    rng = np.random.default_rng(seed)
    held = _held(tuple(loads), hits, misses, rng)
    weights = _weights(held, rng)
    best = _best(weights, held)
    grid = grid_of(best, tuple(loads))
    found = hits.sum(0) @ grid.right + misses.sum(0) @ grid.wrong
    likely = grid.params[found >= found.max() - _TIE]  # their mean is the middle of what cannot be told apart
    at = 2.0 ** np.linspace(log2(loads[0]), log2(loads[-1]), round(STEPS * log2(loads[-1] / loads[0])) + 1)
    line = _SHAPES[best](likely, at, loads).mean(0)
    return Curve(weights, best, tuple((float(n), float(p)) for n, p in zip(at, line, strict=True)))


@lru_cache(maxsize=256)
def grid_of(name: str, loads: tuple[int, ...]) -> Grid:
    """The closed grid of a class for these loads."""
    import numpy as np

    low, high = float(loads[0]), float(loads[-1])
    tops = np.array([0.02, *np.arange(0.05, 0.9, 0.05), 0.9, 0.925, 0.95, 0.97, 0.985, 1.0])
    ends = low + np.geomspace((high - low) / 64, 32 * (high - low), 96)
    axes = {
        "constant": (np.linspace(0.0, 1.0, 101),),
        "linear": (tops, ends),
        "exponential": (tops, np.geomspace((high - low) / 256, 32 * (high - low), 96)),
        "logistic": (tops, np.arange(log2(low) - 2, log2(high) + 3, 0.1), np.array([0.7, 1, 1.4, 2, 3, 4.5, 7, 12])),
        "break": (tops, np.geomspace(low * 1.15, high, 32), np.geomspace(0.06, 16, 12)),
    }[name]
    params = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    chances = np.clip(_SHAPES[name](params, np.asarray(loads, dtype=float), loads), _EDGE, 1 - _EDGE)
    return Grid(params, np.log(chances).T.copy(), np.log1p(-chances).T.copy())


def _constant(params: Array, at: Array, loads: Sequence[int]) -> Array:
    del loads
    return params[:, :1] + 0 * at[None, :]


def _linear(params: Array, at: Array, loads: Sequence[int]) -> Array:
    fallen = (at[None, :] - loads[0]) / (params[:, 1:2] - loads[0])
    return params[:, :1] * (1 - fallen).clip(0)


def _exponential(params: Array, at: Array, loads: Sequence[int]) -> Array:
    return params[:, :1] * 2.0 ** (-(at[None, :] - loads[0]) / params[:, 1:2])


def _logistic(params: Array, at: Array, loads: Sequence[int]) -> Array:
    import numpy as np

    del loads
    steps = params[:, 2:3] * (np.log2(at)[None, :] - params[:, 1:2])
    return params[:, :1] / (1 + np.exp(steps.clip(-60, 60)))


def _break(params: Array, at: Array, loads: Sequence[int]) -> Array:
    """Its third parameter is (Z - B) / B."""
    del loads
    fallen = (at[None, :] / params[:, 1:2] - 1) / params[:, 2:3]
    return params[:, :1] * (1 - fallen.clip(0)).clip(0)


_SHAPES: dict[str, Callable[[Array, Array, Sequence[int]], Array]] = {
    "constant": _constant, "linear": _linear, "exponential": _exponential, "logistic": _logistic, "break": _break,
}  # fmt: skip


def _fitted(grid: Grid, hits: Array, misses: Array) -> Array:
    """The likeliest curve of each row of counts (rows, loads)."""
    import numpy as np

    starts = range(0, len(hits), _BLOCK)
    blocks = [slice(start, start + _BLOCK) for start in starts]
    return np.concatenate([(hits[rows] @ grid.right + misses[rows] @ grid.wrong).argmax(1) for rows in blocks])


def _held(loads: tuple[int, ...], hits: Array, misses: Array, rng: Array) -> Array:
    """Log-likelihood (traces, classes) of each trace under the fits that have not seen it, on average."""
    import numpy as np

    count = len(hits)
    half = np.zeros((SPLITS, count))
    for row in half:
        row[rng.permutation(count)[: count // 2]] = 1.0
    seen = np.concatenate([half, 1 - half])
    held = np.empty((count, len(CLASSES)))
    for place, name in enumerate(CLASSES):
        grid = grid_of(name, loads)
        chosen = _fitted(grid, seen @ hits, seen @ misses)
        said = hits @ grid.right[:, chosen] + misses @ grid.wrong[:, chosen]
        held[:, place] = (said * (1 - seen.T)).sum(1) / SPLITS
    return held


def _weights(held: Array, rng: Array) -> dict[str, float]:
    """Pseudo-BMA with the Bayesian bootstrap over traces."""
    import numpy as np

    sums = len(held) * rng.dirichlet(np.ones(len(held)), 1000) @ held
    chances = np.exp(sums - sums.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    return {name: float(share) for name, share in zip(CLASSES, chances.mean(0), strict=True)}


def _best(weights: Mapping[str, float], held: Array) -> str:
    """The class of the greatest weight; the constant where that one is not better by a standard error."""
    best = max(CLASSES, key=lambda name: (round(weights[name], 6), -CLASSES.index(name)))
    gain = held[:, CLASSES.index(best)] - held[:, 0]
    return best if gain.sum() > sqrt(len(gain)) * gain.std(ddof=1) else CLASSES[0]
