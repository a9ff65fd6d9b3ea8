"""What training on one sub-task does to the others, and which order does least harm.

Backward transfer as in Omni-Thinker (2507.14783): B[j, i] is what the score of sub-task i gains when
the same start is trained on j. The formula there was not seen by us; the model of an order is our own:
a sub-task's own stage mends what came before it, so an order is charged for what later stages undo.
Pure functions of scores; every difference is paired and has its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from callgrain.core.stats import mean, paired_difference

MOST = 12
"""Sub-tasks among which the best order is still found for certain: the work grows as 2^n."""


class Change(NamedTuple):
    """A difference of two scores on the same items, with its 95 % interval and their number."""

    value: float
    low: float
    high: float
    n: int

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


Scores = Mapping[str, Mapping[str, float]]
"""The score of each item in [0, 1] (0 and 1 where it is right or wrong): by sub-task, by the item's key."""
Matrix = Mapping[str, Mapping[str, Change]]
"""Change of a sub-task (inner key) by training on another (outer key)."""


def change(after: Mapping[str, float], before: Mapping[str, float]) -> Change:
    """`after` minus `before` over the items that both hold. Raises ValueError where they share none.

    Right and wrong have the interval of `stats.paired_difference`, scores in between that of
    `stats.mean`; where every item changed alike, that of the items that rose and fell.
    """
    pairs = [(after[key], before[key]) for key in before if key in after]
    if not pairs:
        raise ValueError("no item is in both")
    differences = [a - b for a, b in pairs]
    low = high = None
    if any(gap not in (-1, 0, 1) for gap in differences):
        _, low, high = mean(differences)
    if low is None or high is None:
        _, low, high = paired_difference([a > b for a, b in pairs], [b > a for a, b in pairs])
    return Change(sum(differences) / len(pairs), low or 0.0, high or 0.0, len(pairs))


def transfer(before: Scores, after: Mapping[str, Scores]) -> dict[str, dict[str, Change]]:
    """B[j][i]: what training on j, from the same start, changed in i. `after` is keyed by j."""
    return {j: {i: change(scores[i], before[i]) for i in before} for j, scores in after.items()}


def backward(stages: Sequence[tuple[str, Mapping[str, float]]], final: Scores) -> dict[str, Change]:
    """For each stage's sub-task: its score at the end minus its score right after its own stage.

    `stages` are (sub-task, scores of its items after its stage), in the order in which they were trained.
    """
    return {name: change(final[name], scores) for name, scores in stages}


def harm(matrix: Matrix, order: Sequence[str]) -> float:
    """Sum, over every sub-task and every later one, of what the later one costs it; gains do not offset it."""
    return sum(max(0.0, -matrix[later][earlier].value) for earlier, later in combinations(order, 2))


def gain(matrix: Matrix, order: Sequence[str]) -> float:
    """Sum over sub-tasks of the predicted change: their own stage's, and every later stage's, added up."""
    own = sum(matrix[name][name].value for name in order)
    return own + sum(matrix[later][earlier].value for earlier, later in combinations(order, 2))


def best_order(matrix: Matrix) -> tuple[str, ...]:
    """The order of least `harm`; among equals that of most `gain`, then the first by name.

    Exact, by dynamic programming over sets of sub-tasks: what a sub-task costs depends on which came
    before it, not on their order. Raises ValueError for more than MOST.
    """
    names = sorted(matrix)
    if len(names) > MOST:
        raise ValueError(f"more than {MOST} sub-tasks")
    best: dict[int, tuple[float, float, tuple[int, ...]]] = {0: (0.0, 0.0, ())}
    for members in range(1, 1 << len(names)):
        found: list[tuple[float, float, tuple[int, ...]]] = []
        for last in range(len(names)):
            if members >> last & 1:
                cost, lack, order = best[members ^ (1 << last)]
                added = [matrix[names[last]][names[i]].value for i in order]
                # Rounded, so that sums of the same numbers in another order count as equal.
                cost = round(cost + sum(max(0.0, -value) for value in added), 12)
                found.append((cost, round(lack - sum(added), 12), (*order, last)))
        best[members] = min(found)
    return tuple(names[i] for i in best[(1 << len(names)) - 1][2])


def reasons(matrix: Matrix, order: Sequence[str]) -> list[dict[str, str]]:
    """Why each sub-task stands where it stands: the largest harm that its place avoids, and whether it is shown."""
    out: list[dict[str, str]] = []
    for place, name in enumerate(order):
        avoided = [(matrix[name][other], other) for other in order[place + 1 :]]  # what it would cost those after it
        spared = [(matrix[other][name], other) for other in order[:place]]  # what those before it would cost it
        worst = min(avoided, default=None)
        mended = min(spared, default=None)
        said: list[str] = []
        if worst and worst[0].value < 0:
            said.append(f"after {worst[1]} it would cost that {_points(worst[0])}")
        if mended and mended[0].value < 0:
            said.append(f"{mended[1]} comes before it, which costs it {_points(mended[0])}")
        out.append({"subtask": name, "reason": "; ".join(said) or "its place costs nothing that was measured"})
    return out


def _points(cost: Change) -> str:
    word = "" if cost.is_shown else ", not shown beyond chance"
    return f"{-100 * cost.value:.1f} points [{-100 * cost.high:.1f}, {-100 * cost.low:.1f}]{word}"


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b of two gradings of the same things: 1 same order, -1 reversed; None where either is all ties."""
    if len(one) != len(other):
        raise ValueError("the two differ in length")
    agree = tied_one = tied_other = 0
    pairs = 0
    for i, j in combinations(range(len(one)), 2):
        pairs += 1
        a, b = one[i] - one[j], other[i] - other[j]
        tied_one += a == 0
        tied_other += b == 0
        agree += (a * b > 0) - (a * b < 0)
    scale = ((pairs - tied_one) * (pairs - tied_other)) ** 0.5
    return agree / scale if scale else None


def regret(predicted: Sequence[float], found: Sequence[float]) -> float:
    """What following the prediction costs: the best found score minus that of the order predicted best."""
    chosen = max(range(len(predicted)), key=lambda i: predicted[i])
    return max(found) - found[chosen]
