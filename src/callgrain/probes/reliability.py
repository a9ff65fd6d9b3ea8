"""Would it be right again? Repeats: pass@k and pass^k.

pass@k is the chance that one of k replies is right (Chen et al., arXiv 2107.03374), pass^k that all k are (tau-bench,
arXiv 2406.12045): unbiased from n draws of which c are right, 1 - C(n-c, k) / C(n, k) and C(c, k) / C(n, k). The
control is what replies would give that are right whatever the item, each with the mean chance p: 1 - (1-p)^k and p^k.
What lies between is no luck of the draw but items that are hard, or easy, each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random

from callgrain.core import stats
from callgrain.core.types import Reading, Sample
from callgrain.probes import _votes
from callgrain.probes._calibration import Figure, bounded_mean, counted, interval
from callgrain.probes._graded import Graded, reading
from callgrain.probes._pool import Pool
from callgrain.probes._votes import DRAWS, TEMPERATURE, Item

KS = (1, 2, 4, 8)


class Reliability:
    """Asks 8 replies (temperature 0.7) to each of at most 40 samples of the pool: those that `confidence` votes on."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Each chosen sample, drawn DRAWS times."""
        if isinstance(pool, Pool):
            yield from _votes.draws(pool)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `pass_at`, `pass_hat`, `chance` and `gap` by k, `identical` and `agreement` by what; `drawing`."""
        found = _votes.items(graded, "reliability")
        if not found:
            return []
        return [*passes(found), *sameness(found), *_against_pool(found, graded)]


def pass_hat(k: int, right: int, drawn: int) -> float:
    """The chance that all of `k` replies are right, from `right` of `drawn` >= k: unbiased."""
    return 1 - stats.pass_at(k, drawn - right, drawn)


def passes(found: Sequence[Item]) -> Iterator[Reading]:
    """`pass_at`, `pass_hat`, the `chance` of either without hard and easy items, and the `gap` to it, by k."""
    clusters, n = [item.trace for item in found], len(found)
    rights = [sum(said.ok for said in item.said) for item in found]
    mean = sum(rights) / (n * DRAWS)
    weights = counted(clusters)
    for k in KS:
        ats = [stats.pass_at(k, right, DRAWS) for right in rights]
        hats = [pass_hat(k, right, DRAWS) for right in rights]
        yield reading("reliability", "pass_at", bounded_mean(ats, clusters, 1 / DRAWS), n, k=k, temperature=TEMPERATURE)
        yield reading(
            "reliability", "pass_hat", bounded_mean(hats, clusters, 1 / DRAWS), n, k=k, temperature=TEMPERATURE
        )
        yield reading("reliability", "chance", (mean**k, None, None), n, k=k, of="pass_hat")
        yield reading("reliability", "chance", (1 - (1 - mean) ** k, None, None), n, k=k, of="pass_at")
        if k > 1:
            yield reading("reliability", "gap", _gap(rights, hats, weights, k), n, k=k)


def _gap(rights: Sequence[int], hats: Sequence[float], weights: object, k: int) -> Figure:
    """pass^k minus what its mean alone would give, by bootstrap over traces."""
    import numpy as np

    def gaps(own: object) -> list[float]:
        count = np.asarray(own, dtype=float)
        total = count.sum(-1)
        return (count @ np.asarray(hats) / total - (count @ np.asarray(rights) / (DRAWS * total)) ** k).tolist()

    return interval(gaps(np.ones((1, len(hats))))[0], gaps(weights) if len(hats) >= 8 else [])


def sameness(found: Sequence[Item]) -> Iterator[Reading]:
    """Whether all draws have the same verdict, and are the same turn; and the chance that two of them do."""
    clusters, n = [item.trace for item in found], len(found)
    for what in ("verdict", "call"):
        told = [[said.ok if what == "verdict" else said.turn for said in item.said] for item in found]
        same = [len(set(one)) == 1 and one[0] != "" for one in told]
        yield reading("reliability", "identical", stats.clustered_share(same, clusters), n, what=what, draws=DRAWS)
        pairs = [sum(a == b != "" for a, b in combinations(one, 2)) / (DRAWS * (DRAWS - 1) / 2) for one in told]
        yield reading("reliability", "agreement", bounded_mean(pairs, clusters, 1 / DRAWS), n, what=what)


def _against_pool(found: Sequence[Item], graded: Sequence[Graded]) -> Iterator[Reading]:
    """The pool's own replies to the same samples, and what drawing at the temperature costs, paired."""
    own = {g.sample.key: g.verdict.ok for g in graded if g.probe == "subtask" and g.counts}
    both = [(item, own[item.of]) for item in found if item.of in own]
    if not both:
        return
    clusters = [item.trace for item, _ in both]
    hits = [ok for _, ok in both]
    yield reading("reliability", "once", stats.clustered_share(hits, clusters), len(both))
    costs = [sum(said.ok for said in item.said) / DRAWS - ok for item, ok in both]
    yield reading("reliability", "drawing", stats.paired_mean(costs, clusters), len(both), temperature=TEMPERATURE)


plugin = Reliability
