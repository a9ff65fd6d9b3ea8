"""Watching for format collapse: which dialect the model speaks, how surely, and how it fares in each.

Reinforcement can turn a model that speaks several dialects into one that speaks a single one long before the
score says so (Zhao et al. 2025, "Echo Chamber", 2504.07912): one format goes from a third to over 80 % while
pass@1 rises and pass@k does not. On a fixed set of prompts each dialect's share is set beside what the
closed form of KL-regularised learning foretells, w_k exp(R_k / beta) / Z. A verifier that reads one dialect
better than another would itself be the effect, so what is read is the dialect's own strict `parse`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from callgrain.core.progress import Tell, silent
from callgrain.core.stats import pass_at
from callgrain.core.store import Run
from callgrain.core.types import Sample
from callgrain.probes._tongues import Tongues, forecast, skeleton
from callgrain.train._rollouts import Drawn, Group, Rollouts, components

TABLE = "monitor"
"""Journal of the run folder: one row for each time that was looked."""

DOMINANT = 0.8
"""Share above which one dialect is said to have taken over."""

COLLAPSED = 0.25
"""Share of the first entropy below which it is said to have collapsed."""


@dataclass(frozen=True)
class Look:
    """What was seen at one step."""

    step: int
    row: dict[str, Any]

    def alarms(self, first: Mapping[str, Any]) -> list[str]:
        """What has gone wrong since the `first` look, as sentences; nothing where all is well."""
        found = [
            f"{name} has gone from {first['shares'].get(name, 0.0):.0%} to {share:.0%} of all replies"
            for name, share in self.row["shares"].items()
            if share > DOMINANT >= first["shares"].get(name, 0.0)
        ]
        if self.row["entropy"] < COLLAPSED * first["entropy"]:
            found.append(f"the entropy of a token has fallen from {first['entropy']:.3f} to {self.row['entropy']:.3f}")
        widest = max(self.row["pass_at"], key=int)
        if int(widest) > 1:
            one, many = (self.row["pass_at"][k] - first["pass_at"][k] for k in ("1", widest))
            if one > 0.02 and many < -0.02:
                found.append(f"pass@1 rose by {one:.2f} while pass@{widest} fell by {-many:.2f}")
        return found


class Monitor:
    """A fixed set of samples, asked again every so often; rows go to `monitor.jsonl` of the run.

    A step that has its row already is not asked again, so a resumed run has each row once.
    """

    def __init__(self, samples: Sequence[Sample], rollouts: Rollouts, tongues: Tongues, run: Run, beta: float) -> None:
        self._samples = samples
        self._rollouts = rollouts
        self._tongues = tongues
        self._run = run
        self._beta = beta

    def look(self, step: int, tell: Tell = silent) -> Look | None:
        """Draw replies with the weights as they stand, and write down what they are; alarms are told, and logged."""
        rows = list(self._run.rows(TABLE))
        if not self._samples or any(row["step"] == step for row in rows):
            return None
        row = described(self._rollouts.draw(self._samples, -1 - step), self._tongues)
        first = rows[0] if rows else row
        row["forecast"] = forecast(first["shares"], first["rewards"], self._beta)
        seen = Look(step, row)
        row["alarms"] = seen.alarms(first)
        for alarm in row["alarms"]:
            self._run.log(f"step {step}: {alarm}")
            tell(alarm, step, 0)
        with self._run.journal(TABLE) as journal:
            journal.append([{"key": str(step), "step": step, **row}])
        return seen


def described(groups: Sequence[Group], tongues: Tongues) -> dict[str, Any]:
    """A look's figures, over replies that have a reward.

    `shares`, `right` and `rewards` by dialect (share of replies, of them right, mean reward); `pass_at` by k;
    `entropy` in nats a token; `skeletons`: distinct call skeletons of a group, over its calling replies.
    """
    drawn = [one for group in groups for one in group.drawn if one.reward is not None]
    by: dict[str, list[Drawn]] = {}
    for one in drawn:
        by.setdefault(tongues.of(one.reply), []).append(one)
    parts = components(groups)
    near = Counter(one.reply.fault.detail for one in drawn if one.reply.fault is not None and one.reply.fault.detail)
    return {
        "replies": len(drawn),
        "shares": {name: len(mine) / len(drawn) for name, mine in sorted(by.items())},
        "right": {name: sum(one.verdict.ok for one in mine) / len(mine) for name, mine in sorted(by.items())},
        "rewards": {name: fsum(one.reward or 0.0 for one in mine) / len(mine) for name, mine in sorted(by.items())},
        "near_misses": dict(sorted(near.items())),
        "pass_at": _passes(groups),
        "skeletons": _variety(groups),
        **{name: parts[name] for name in ("reward", "entropy", "length", "calls", "abstentions")},
        **{name: parts[name] for name in ("calls_right", "abstentions_right", "ungraded")},
    }


def _passes(groups: Sequence[Group]) -> dict[str, float]:
    """pass@k for k = 1, 2, 4, ... as far as every group reaches, the mean over groups."""
    counts = [
        (sum(one.verdict.ok for one in group.drawn), len(group.drawn))
        for group in groups
        if group.drawn and all(one.reward is not None for one in group.drawn)
    ]
    least = min((drawn for _, drawn in counts), default=0)
    sizes = [2**power for power in range(least.bit_length()) if 2**power <= least]
    if not sizes:
        return {"1": 0.0}
    return {str(k): fsum(pass_at(k, right, drawn) for right, drawn in counts) / len(counts) for k in sizes}


def _variety(groups: Sequence[Group]) -> float:
    """Distinct call skeletons of a group by calling reply, the mean over groups that call."""
    shares: list[float] = []
    for group in groups:
        turns = [one.reply.message for one in group.drawn if one.reply.message is not None and one.reply.message.calls]
        if turns:
            shares.append(len({skeleton(turn) for turn in turns}) / len(turns))
    return fsum(shares) / len(shares) if shares else 0.0
