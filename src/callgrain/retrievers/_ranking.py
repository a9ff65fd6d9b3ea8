"""Rankings as values: the best of many scores, and several rankings made into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Ranking = list[tuple[int, float]]
"""(place of the tool, score), best first; equal scores go by place."""


def best(scores: Any, k: int) -> Ranking:
    """The `k` highest of a vector of scores."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")[: max(0, k)]  # stable: equal scores go by place
    return [(int(place), float(scores[place])) for place in order]


def reciprocal(rankings: Sequence[Ranking], k: int, constant: int) -> Ranking:
    """Reciprocal rank fusion: a tool's score is the sum of 1 / (constant + its rank) over the rankings."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (place, _) in enumerate(ranking, start=1):
            scores[place] = scores.get(place, 0.0) + 1 / (constant + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[: max(0, k)]
