"""Scores of known worth: calibrated and distorted by a temperature, ranked well and badly; votes with known chances.

A turn is drawn whole: a probability p from a known spread, right with probability p, and a margin that states p, or p
with its log-odds multiplied. What a probe should find then follows from the spread alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log

import numpy as np

from benchmarks._planting import Covered, Found, Planted, cut, diagnosed, pick
from callgrain.core.types import Message, Prompt, Reading, Reply, Sample
from callgrain.probes import confidence
from callgrain.probes._calibration import Binned, Ranked, best_aurc, counted, cross_fitted, interval, shifted
from callgrain.probes._confidence_scores import Turn, ranked, stated, thresholds
from callgrain.probes._confidence_slots import SCORES
from callgrain.probes._graded import Graded

N = 400
BLUR = 1.5
"""Standard deviation of the noise, in log-odds, that the whole-call average is given on top of the worst slot."""
SHARP = 2.5
"""By what a distorted model multiplies its log-odds: too sure of itself."""


def drawn(n: int, rng: np.random.Generator, sharp: float = 1.0) -> tuple[list[Turn], np.ndarray]:
    """`n` turns, and the true probability of each: log-odds uniform in [0, 5], so a margin has no second sign."""
    odds = rng.uniform(0.0, 5.0, n)
    p = 1 / (1 + np.exp(-odds))
    right = rng.random(n) < p
    blurred = odds + rng.normal(0, BLUR, n)
    turns = [Turn(str(i), bool(right[i]), _scores(float(sharp * odds[i]), float(blurred[i])), NOBODY) for i in range(n)]
    return turns, p


def _scores(odds: float, blurred: float) -> dict[str, float]:
    stated_p = 1 / (1 + np.exp(-odds))
    vague = -float(np.log1p(np.exp(-blurred)))
    return dict(zip(SCORES, (odds, log(stated_p), log(stated_p), vague, vague), strict=True))


NOBODY = Graded(
    Sample.model_validate({
        "subtask": "full", "prompt": {"messages": []}, "answer": {}, "traits": {},
        "origin": {"dataset": "planted", "row": "0", "licence": "CC0-1.0"},
    }),
    Reply(text="-", message=Message(text="-")), None,  # type: ignore[arg-type] # nothing of a planted turn is judged again
)  # fmt: skip


def truths(sharp: float = 1.0) -> dict[str, float]:
    """What a million turns are worth: areas of both scores and of the oracle, the calibration error, thresholds."""
    rng = np.random.default_rng(7)
    turns = 400_000
    odds = rng.uniform(0.0, 5.0, turns)
    p = 1 / (1 + np.exp(-odds))
    right = rng.random(turns) < p
    slot, average = Ranked(odds, right), Ranked(odds + rng.normal(0, BLUR, turns), right)
    said = 1 / (1 + np.exp(-sharp * odds))
    return {
        "slot": slot.aurc(), "average": average.aurc(), "oracle": best_aurc(int((~right).sum()), turns),
        "auroc": slot.auroc(), "ece": float(np.abs(said - p).mean()),
        "risk 0.5": slot.risk(0.5),
    }  # fmt: skip


def plants(quick: bool) -> Iterator[Found]:
    """Calibration and ranking of simulated turns; votes of a text-only double through the verifier."""
    rng = np.random.default_rng(11)
    for state, sharp in (("calibrated", 1.0), (f"log-odds times {SHARP}", SHARP)):
        turns, _ = drawn(N if quick else 4 * N, rng, sharp)
        found, truth = [*ranked(turns), *stated(turns), *thresholds(turns)], truths(sharp)
        yield Found(f"{state}: ECE", truth["ece"], pick(found, "ece", score="slot", stage="raw"))
        yield Found(
            f"{state}: ECE after isotonic regression", 0.0, pick(found, "ece", score="slot", stage="calibrated")
        )
        yield Found(f"{state}: AURC, worst slot", truth["slot"], pick(found, "aurc", score="slot"))
        yield Found(f"{state}: AURC, average", truth["average"], pick(found, "aurc", score="average"))
        gain = truth["average"] - truth["slot"]
        yield Found(f"{state}: gain on the average", gain, pick(found, "difference", score="slot"))
        yield Found(f"{state}: risk at half", truth["risk 0.5"], pick(found, "risk", score="slot", coverage=0.5))
    yield from _votes(quick)


def _votes(quick: bool) -> Iterator[Found]:
    """A double that is right 7 times of 10 and wrong in many ways: the plurality is right more often."""
    pool = cut("toolworld:full", ("slots", "full"), 20 if quick else 40)
    found = diagnosed(confidence.Confidence(), "confidence", pool, Planted(lambda _: 0.7, seed=5))
    yield Found("right 7 of 10, text only: scores", "missing", pick(found, "scored", missing="scores"))
    yield Found("right 7 of 10: one draw", 0.7, pick(found, "vote_ok", rule="drawn"))
    yield Found("right 7 of 10: 8 vote", "> 0.7", pick(found, "vote_ok", rule="plurality", voters=8))
    yield Found("right 7 of 10: gain over one", "> 0", pick(found, "vote", rule="plurality", voters=8))
    sure = diagnosed(confidence.Confidence(), "confidence", pool, Always())
    yield Found("the same each time: gain over one", 0.0, pick(sure, "vote", rule="plurality", voters=8))


class Always(Planted):
    """A double that says the same at every seed: a vote gains nothing."""

    def __init__(self) -> None:
        super().__init__(lambda _: 0.7, seed=5)

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """As if every prompt were drawn greedily."""
        cold = [p.model_copy(update={"sampling": p.sampling.model_copy(update={"temperature": 0.0})}) for p in prompts]
        return super().answer(cold)


def coverage(runs: int) -> Iterator[Covered]:
    """Intervals over simulated runs of N turns; the bootstrap draws 400 times instead of 1,000."""
    rng = np.random.default_rng(0)
    even, sharp = truths(), truths(SHARP)
    held = dict.fromkeys(
        ("aurc", "auroc", "excess", "difference", "risk 0.5", "kept_ok", "ece 0", "ece sharp", "ece isotonic"), 0
    )
    asked = dict.fromkeys(held, 0)

    def note(name: str, row: Reading | tuple[float | None, ...], truth: float) -> None:
        low, high = (row.low, row.high) if isinstance(row, Reading) else row[1:]
        if low is not None and high is not None:
            asked[name] += 1
            held[name] += low <= truth <= high

    weights = counted([str(i) for i in range(N)], 400)
    clusters = [str(i) for i in range(N)]
    for _ in range(runs):
        turns, _ = drawn(N, rng)
        right = [t.ok for t in turns]
        slot, average = (Ranked([t.scores[name] for t in turns], right) for name in ("slot", "average"))
        ours, theirs = slot.aurc(weights), average.aurc(weights)
        best = best_aurc(weights @ [not ok for ok in right], weights.sum(-1))
        note("aurc", interval(slot.aurc(), ours), even["slot"])
        note("auroc", interval(slot.auroc(), slot.auroc(weights)), even["auroc"])
        note("excess", interval(0.0, ours - best), even["slot"] - even["oracle"])
        note("difference", interval(0.0, theirs - ours), even["average"] - even["slot"])
        note("risk 0.5", interval(0.0, slot.risk(0.5, weights)), even["risk 0.5"])
        rows = list(thresholds(turns))
        at, kept = (pick(rows, name, score="slot", target=0.9) for name in ("threshold", "kept_ok"))
        if at is not None and at.value is not None and kept is not None:
            note("kept_ok", kept, _above(at.value))
        odds = np.array([t.scores["slot"] for t in turns])
        for name, times, truth in (("ece 0", 1.0, 0.0), ("ece sharp", SHARP, sharp["ece"])):
            binned = Binned.of((1 / (1 + np.exp(-times * odds))).tolist(), right)
            note(name, _ece(binned, clusters, weights), truth)
        fitted = Binned.of(cross_fitted(odds.tolist(), right, clusters), right)
        note("ece isotonic", _ece(fitted, clusters, weights), 0.0)
    for name, count in held.items():
        yield Covered(name, count, asked[name])


def _ece(binned: Binned, clusters: Sequence[str], weights: object) -> tuple[float | None, float | None, float | None]:
    """The interval as the probe gives it: no error is below 0."""
    value, low, high = shifted(binned.debiased(clusters), binned.debiased(clusters, weights))
    return value, max(0.0, low or 0.0), max(0.0, high or 0.0)


def _above(at: float) -> float:
    """Share right of all turns whose log-odds are at least `at`: the mean of the logistic over [at, 5]."""
    return float((np.log1p(np.exp(5.0)) - np.log1p(np.exp(at))) / (5.0 - at)) if at < 5.0 else 1.0
