"""Planted dialects, skeletons and meanings: what the probe `diversity` reads of them."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log
from random import Random

from benchmarks._planting import Covered, Found, Planted, cut, pick, put, questions
from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.types import Prompt, Reply, Sample
from callgrain.dialects._recover import spoken
from callgrain.probes._graded import Graded, subtask_of
from callgrain.probes.diversity import BETAS, DRAWS, Diversity, Drawn, _dialects, _entropy
from callgrain.verify.faults import TABLE
from callgrain.verify.spoil import kinds_on


class Bilingual(Planted):
    """Right at `rates[dialect]`, and speaks the compact dialect in the planted share of its replies."""

    def __init__(self, compact: float, rates: dict[str, float], seed: int = 0) -> None:
        super().__init__(lambda _: 1.0, seed)
        self.compact, self.rates = compact, rates

    def answer(self, prompts: list[Prompt]) -> list[Reply]:
        """Replies in either dialect, each text read back strictly by that dialect."""
        return [self._said(prompt) for prompt in prompts]

    def _said(self, prompt: Prompt) -> Reply:
        rng = Random(text_key(str(self.seed), prompt.key))
        name = "compact" if rng.random() < self.compact else "json"
        chance = self.rates[name]
        self.chance = lambda sample: _readable(sample, 1 - chance)
        reply = self._one(prompt)
        dialect = plugins.load("dialects", name)()
        return reply if reply.message is None else spoken(dialect, dialect.write(reply.message))


def _readable(sample: Sample, wrong: float) -> dict[str, float]:
    """Each fault that leaves the reply readable in equal parts: a broken one is in no dialect."""
    kinds = [k for k in kinds_on(sample, sorted(subtask_of(sample.subtask).kinds)) if TABLE[k].level != "form"]
    return {kind: wrong / len(kinds) for kind in kinds}


def plants(quick: bool) -> Iterator[Found]:
    """A model of two dialects with known shares and accuracies; one that always says the same."""
    pool = cut("toolworld:full", ("slots", "parallel"), 10 if quick else 20)
    probe = Diversity()
    asked = questions(probe, "diversity", pool)
    share, right = 0.3, {"compact": 0.9, "json": 0.5}
    found = probe.read(put(Bilingual(share, right), asked))
    yield Found("30 % of replies in compact", share, pick(found, "share", dialect="compact"))
    yield Found("compact right 90 %", right["compact"], pick(found, "ok", dialect="compact"))
    yield Found("json right 50 %", right["json"], pick(found, "ok", dialect="json"))
    yield Found("entropy of 30 : 70", -(share * log(share) + 0.7 * log(0.7)), pick(found, "entropy"))
    single = probe.read(put(Planted(lambda _: 1.0), asked))
    yield Found("always the same reply: effective", "0", pick(single, "effective"))
    yield Found("always the same reply: skeletons", f"{1 / DRAWS:.3g}", pick(single, "skeletons"))
    scores = {name: _mean_score(put(Bilingual(float(name == "compact"), right), asked)) for name in right}
    mass = {name: w * exp(scores[name] / BETAS[1]) for name, w in (("compact", share), ("json", 1 - share))}
    truth = mass["compact"] / sum(mass.values())
    yield Found("forecast from shares and scores", truth, pick(found, "forecast", dialect="compact", beta=BETAS[1]))


def _mean_score(graded: list[Graded]) -> float:
    own = [g.verdict.score for g in graded if g.probe == "diversity"]
    return sum(own) / len(own)


def coverage(runs: int) -> Iterator[Covered]:
    """Shares and the entropy, drawn as the probe would see them: prompts that lean one way or the other."""
    held = {"share": 0, "ok": 0, "entropy": 0}
    lean = (0.1, 0.5)  # a prompt speaks compact at one of these rates: draws of a prompt go together
    share = sum(lean) / 2
    entropy = -(share * log(share) + (1 - share) * log(1 - share))
    for run in range(runs):
        rng = Random(run)
        groups: list[list[Drawn]] = []
        for prompt in range(40):
            rate = rng.choice(lean)
            names = ["compact" if rng.random() < rate else "json" for _ in range(DRAWS)]
            good = [rng.random() < 0.7 for _ in names]
            key = str(prompt)
            groups.append([Drawn(key, key, n, float(g), g, True, "s", "m") for n, g in zip(names, good, strict=True)])
        flat = [d for group in groups for d in group]
        rows = list(_dialects(flat))
        one = next(r for r in rows if r.name == "share" and r.by["dialect"] == "compact")
        ok = next(r for r in rows if r.name == "ok" and r.by["dialect"] == "compact")
        held["share"] += (one.low or 0) <= share <= (one.high or 1)
        held["ok"] += (ok.low or 0) <= 0.7 <= (ok.high or 1)
        if run < runs // 5:
            held["entropy"] += _within(groups, entropy)
    yield Covered("share of a dialect", held["share"], runs)
    yield Covered("right in a dialect", held["ok"], runs)
    yield Covered("entropy", held["entropy"], runs // 5)


def _within(groups: list[list[Drawn]], truth: float) -> bool:
    from callgrain.core import stats

    _, low, high = stats.bootstrap(groups, _entropy, draws=300)
    return low is not None and high is not None and low <= truth <= high
