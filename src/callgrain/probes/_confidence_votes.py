"""Readings of votes: what they gain over one reply, and over a plain majority of as many replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.significance import holm
from callgrain.core.types import Reading
from callgrain.probes._calibration import bounded_mean
from callgrain.probes._graded import reading
from callgrain.probes._votes import DRAWS, Item, Voted, at_budget

SIZES = (2, 4, 8)
FLIPS = 2000


def gains(found: Sequence[Item], alone: Mapping[str, bool]) -> Iterator[Reading]:
    """`vote` (gain over one greedy reply) and `vote_ok` by rule and voters, `vote_equal`, `spent`."""
    both = [item for item in found if item.of in alone]
    if not both:
        return
    voted, traces, n = [Voted.on(item) for item in both], [item.trace for item in both], len(both)
    one = [float(alone[item.of]) for item in both]
    rules = {("plurality", size): [v.plain[size - 1] for v in voted] for size in SIZES}
    has_weights = any(said.weight != 1.0 for item in both for said in item.said)
    if has_weights:
        rules["weighted", DRAWS] = [v.weighted[DRAWS - 1] for v in voted]
    rules["early", DRAWS] = [v.early for v in voted]
    spent = sum(v.used for v in voted) / n
    yield reading("confidence", "vote_ok", bounded_mean(one, traces, 1.0), n, rule="one", voters=1)
    drawn = [v.plain[0] for v in voted]
    yield reading("confidence", "vote_ok", bounded_mean(drawn, traces, 1 / DRAWS), n, rule="drawn", voters=1)
    for (rule, size), oks in rules.items():
        yield reading("confidence", "vote_ok", bounded_mean(oks, traces, 1 / DRAWS), n, rule=rule, voters=size)
    yield reading("confidence", "spent", stats.mean([v.used for v in voted]), n, rule="early", voters=DRAWS)
    gaps = {key: [a - b for a, b in zip(oks, one, strict=True)] for key, oks in rules.items()}
    equal = {"early": _gap([v.early for v in voted], at_budget(voted))}
    if has_weights:
        equal["weighted"] = _gap(rules["weighted", DRAWS], rules["plurality", DRAWS])
    ps = holm([flipped(d, traces) for d in (*gaps.values(), *equal.values())])
    for ((rule, size), gap), p in zip(gaps.items(), ps, strict=False):
        yield reading("confidence", "vote", stats.paired_mean(gap, traces), n, rule=rule, voters=size, **_shown(p))
    for (rule, gap), p in zip(equal.items(), ps[len(gaps) :], strict=True):
        used = round(spent, 3) if rule == "early" else float(DRAWS)
        yield reading(
            "confidence", "vote_equal", stats.paired_mean(gap, traces), n, rule=rule, replies=used, **_shown(p)
        )


def _gap(after: Sequence[float], before: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(after, before, strict=True)]


def _shown(p: float) -> dict[str, float | bool]:
    return {"p": round(p, 4), "shown": p < 0.05}


def flipped(differences: Sequence[float], clusters: Sequence[str], seed: int = 0) -> float:
    """Two-sided p of a mean difference: how often signs tossed by cluster give one as far from 0."""
    sums: dict[str, float] = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + difference
    values = [s for s in sums.values() if s]
    rng, seen = Random(seed), abs(sum(values)) - 1e-9
    beyond = sum(abs(sum(v if rng.random() < 0.5 else -v for v in values)) >= seen for _ in range(FLIPS))
    return (beyond + 1) / (FLIPS + 1)
