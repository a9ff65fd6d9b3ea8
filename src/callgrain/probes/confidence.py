"""Can its confidence be trusted? Scores by slot, calibration, votes.

A turn's score is that of its least sure choice (`_confidence_slots.py`); beside it stand the usual ones, the mean log
p of the whole call and its sum. Each is asked three things: does it rank right before wrong (AURC, AUROC), is it
calibrated (ECE, before and after isotonic regression on held-out folds), and above which threshold is the model right
often enough, chosen on one half and verified on the other. Votes are on canonical calls (`_votes.py`), held against
one greedy reply and against a plain majority of as many replies (DeepConf, arXiv 2508.15260, has no such control).
A model that gives no scores of its tokens is voted on, and the reading `scored` says what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core.types import Reading, Sample, Sampling
from callgrain.probes import _votes
from callgrain.probes._confidence_scores import Turn, located, ranked, stated, thresholds
from callgrain.probes._confidence_slots import scores
from callgrain.probes._confidence_votes import gains
from callgrain.probes._graded import Graded, reading
from callgrain.probes._pool import Pool

MOST = 400
"""Samples whose greedy reply is scored: on them an AUROC of 0.8 is known to within 0.04 or so."""


class Confidence:
    """Asks at most 400 samples of the pool once more, with scores, and 8 replies each to 40 of them for the votes."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """The chosen samples with scores where the model has them; then the ones that are voted on."""
        if not isinstance(pool, Pool):
            return
        if pool.abilities.reach("scores"):
            for _, sample in _votes.chosen(pool, MOST):
                prompt = sample.prompt.model_copy(update={"sampling": Sampling(scores=True)})
                traits = {**sample.traits, "of": sample.key, "confidence": "greedy"}
                yield sample.model_copy(update={"prompt": prompt, "traits": traits})
        yield from _votes.draws(pool)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """What the scores are worth where there are any, and what votes gain."""
        own = [g for g in graded if g.probe == "confidence"]
        greedy = [g for g in own if g.sample.traits.get("confidence") == "greedy"]
        found = _votes.items(graded, "confidence")
        if not greedy and not found:
            return []
        out = list(_coverage(greedy, len(found)))
        turns = _turns(greedy)
        for part in (ranked, stated, thresholds, located):
            out += part(turns)
        out += gains(found, _alone(graded, greedy))
        return out


def _turns(greedy: Sequence[Graded]) -> list[Turn]:
    """The replies that were read as turns and have scores: what was not read needs none to be seen as wrong."""
    return [
        Turn(g.trace or str(g.sample.traits["of"]), g.verdict.ok, own, g)
        for g in greedy
        if g.counts and g.reply.message is not None and (own := scores(g.reply)) is not None
    ]


def _coverage(greedy: Sequence[Graded], voted: int) -> Iterator[Reading]:
    """Reading `scored`: how many of the turns have scores, or that the model has none to give; `unscored` by reason."""
    if not greedy:
        yield reading("confidence", "scored", (None, None, None), voted, missing="scores")
        return
    reasons = {"failure": 0, "unreadable": 0, "no_scores": 0, "no_slots": 0}
    for g in greedy:
        if scores(g.reply) is None:
            reasons[_reason(g)] += 1
    count = len(greedy)
    share = 1 - sum(reasons.values()) / count
    missing = max(reasons, key=lambda name: reasons[name]) if share < 1 else ""
    yield reading("confidence", "scored", (share, None, None), count, missing=missing)
    for name, found in reasons.items():
        if found:
            yield reading("confidence", "unscored", (found / count, None, None), count, reason=name)


def _reason(graded: Graded) -> str:
    if graded.reply.failure is not None:
        return "failure"
    if graded.reply.message is None:
        return "unreadable"
    return "no_scores" if graded.reply.margins is None else "no_slots"


def _alone(graded: Sequence[Graded], greedy: Sequence[Graded]) -> dict[str, bool]:
    """Right or wrong of the one reply to each sample: the greedy one with scores, else the pool's own."""
    pool = {g.sample.key: g.verdict.ok for g in graded if g.probe == "subtask" and g.counts}
    return pool | {str(g.sample.traits["of"]): g.verdict.ok for g in greedy if g.counts}


plugin = Confidence
