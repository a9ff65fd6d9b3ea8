"""Which dialects it speaks, and how many different valid calls.

Each prompt is answered `DRAWS` times at `TEMPERATURE`. Preference tuning and reinforcement narrow a model:
one format takes over while pass@k stands still ("Echo Chamber", Zhao et al. 2025, arXiv 2504.07912), and words
may grow alike while what is valid and different in effect grows (Shypula et al. 2025, arXiv 2504.12522). So four
things are told apart: the dialect, the skeleton (names, arguments, references), the meaning by execution (by
canonical calls where the tools cannot be run), and all of it among valid replies alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import canonical
from callgrain.core.types import Call, Reading, Sample, Sampling
from callgrain.probes._graded import Graded, grouped, reading
from callgrain.probes._tongues import Tongues, forecast, skeleton
from callgrain.tools._catalogue import open_world
from callgrain.tools._execute import execute, outcome
from callgrain.verify.lint import lint, too_deep

DRAWS = 8
"""Replies a prompt: finite draws bias every count of distinct things, so that it is the same for every model."""
MOST = 40
"""Most prompts that are drawn for, over all sub-tasks in turn: 320 replies."""
TEMPERATURE = 0.7
"""At 1 a small model's form breaks before its plans differ."""
BETAS = (0.1, 1.0)
"""Weights of the divergence for which a forecast is made: a weak leash and a strong one; the reward is in [0, 1]."""


class Diversity:
    """Dialects, skeletons and meanings of repeated draws; asks about 8 prompts for each of 40 of the pool."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """The same prompts, drawn anew by seed."""
        del rng
        by = grouped([s for s in pool if s.prompt.tools], lambda s: s.subtask)
        turns = [items[i : i + 1] for i in range(MOST) for items in by.values()]
        for sample in [s for found in turns for s in found][:MOST]:
            for seed in range(1, DRAWS + 1):
                prompt = sample.prompt.model_copy(update={"sampling": Sampling(temperature=TEMPERATURE, seed=seed)})
                traits = {**sample.traits, "of": sample.key, "diversity_draw": seed}
                yield sample.model_copy(update={"prompt": prompt, "traits": traits})

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings by dialect (`share`, `ok`, `forecast` by beta) and over all prompts.

        `entropy` of the dialects of calling replies in nats; by prompt `skeletons` (distinct, a calling reply),
        `valid` (share of replies that a guard without the key would pass), `effective` (share of pairs that are
        both valid and different in meaning), `different` (of pairs both valid), `right_different` (of pairs both
        right: more than one good plan), `wrong_plans` (distinct meanings a wrong calling reply). Where a prompt has
        one right answer, diversity is no merit.
        """
        mine = [g for g in graded if g.probe == "diversity" and g.counts]
        if not mine:
            return []
        tongues = Tongues()
        drawn = [Drawn.of(g, tongues) for g in mine]
        groups = list(grouped(drawn, lambda d: d.of_).values())
        return [*_dialects(drawn), *_forecasts(groups), *_variety(groups)]


@dataclass(frozen=True)
class Drawn:
    """One draw: its prompt, trace and dialect, whether it calls, and its calls by skeleton and by meaning."""

    of_: str
    trace: str
    dialect: str
    score: float
    is_right: bool
    is_valid: bool
    skeleton: str
    meaning: str

    @classmethod
    def of(cls, item: Graded, tongues: Tongues) -> Drawn:
        """What a graded reply is."""
        message = item.reply.message
        calls = message.calls if message else ()
        sane = not any(map(too_deep, calls))
        return cls(
            of_=str(item.sample.traits["of"]),
            trace=item.trace,
            dialect=tongues.of(item.reply),
            score=item.verdict.score,
            is_right=item.verdict.ok,
            is_valid=message is not None and sane and not lint(calls, item.sample.prompt.tools),
            skeleton=repr(skeleton(message)) if message and calls else "",
            meaning=_meaning(calls, item.sample.answer.world) if calls and sane else "",
        )


def _meaning(calls: Sequence[Call], world: str) -> str:
    """What the calls come to when they are run; where they cannot be, the calls themselves, in any order."""
    if world:
        result = outcome(calls, execute(calls, open_world(world)))
        if result is not None:
            return canonical(result).decode()
    plain = [c.model_copy(update={"label": None}) for c in calls] if not any(c.references for c in calls) else calls
    return "\n".join(sorted(c.spelt().decode() for c in plain))


def _dialects(drawn: Sequence[Drawn]) -> Iterator[Reading]:
    traces = [d.trace or d.of_ for d in drawn]
    for name, count in Counter(d.dialect for d in drawn).most_common():
        figure = stats.clustered_share([d.dialect == name for d in drawn], traces)
        yield reading("diversity", "share", figure, len(drawn), dialect=name)
        own = [d for d in drawn if d.dialect == name]
        right = stats.clustered_share([d.is_right for d in own], [d.trace or d.of_ for d in own])
        yield reading("diversity", "ok", right, count, dialect=name)


def _forecasts(groups: Sequence[Sequence[Drawn]]) -> Iterator[Reading]:
    """Shares to which KL-regularised learning would move: w_k exp(R_k / beta) / Z, of the spoken dialects."""
    names = sorted({d.dialect for group in groups for d in group})
    if len(names) < 2:
        return
    for beta in BETAS:
        for name in names:
            figure = stats.bootstrap(groups, _forecast(name, beta), draws=300)
            yield reading("diversity", "forecast", figure, len(groups), dialect=name, beta=beta)


def _forecast(name: str, beta: float) -> Callable[[Sequence[Sequence[Drawn]]], float | None]:
    def figure(groups: Sequence[Sequence[Drawn]]) -> float | None:
        by = grouped([d for group in groups for d in group], lambda d: d.dialect)
        total = sum(map(len, by.values()))
        shares = {k: len(v) / total for k, v in by.items()}
        rewards = {k: sum(d.score for d in v) / len(v) for k, v in by.items()}
        return forecast(shares, rewards, beta).get(name, 0.0)

    return figure


def _variety(groups: Sequence[Sequence[Drawn]]) -> Iterator[Reading]:
    figures: dict[str, Callable[[Sequence[Drawn]], float | None]] = {
        "skeletons": lambda g: _distinct([d.skeleton for d in g if d.skeleton]),
        "valid": lambda g: sum(d.is_valid for d in g) / len(g),
        "effective": lambda g: _pairs(g, lambda a, b: a.is_valid and b.is_valid and a.meaning != b.meaning),
        "different": lambda g: _pairs([d for d in g if d.is_valid], lambda a, b: a.meaning != b.meaning),
        "right_different": lambda g: _pairs([d for d in g if d.is_right], lambda a, b: a.skeleton != b.skeleton),
        "wrong_plans": lambda g: _distinct([d.meaning for d in g if d.meaning and not d.is_right]),
    }
    for name, figure in figures.items():
        values = [v for v in map(figure, groups) if v is not None]
        if values:
            yield reading("diversity", name, stats.mean(values), len(values))
    spread = stats.bootstrap(groups, _entropy, draws=300)
    if spread[0] is not None:
        yield reading("diversity", "entropy", spread, len(groups))


def _distinct(values: Sequence[str]) -> float | None:
    return len(set(values)) / len(values) if values else None


def _pairs(group: Sequence[Drawn], holds: Callable[[Drawn, Drawn], bool]) -> float | None:
    pairs = list(combinations(group, 2))
    return sum(holds(a, b) for a, b in pairs) / len(pairs) if pairs else None


def _entropy(groups: Sequence[Sequence[Drawn]]) -> float | None:
    """Of the dialects in which calls were written, in nats: 0 where one is spoken alone."""
    counts = Counter(d.dialect for group in groups for d in group if d.dialect not in _NO_CALLS)
    total = sum(counts.values())
    return sum(c / total * log(total / c) for c in counts.values()) if total else None


_NO_CALLS = frozenset({"text", "broken"})


plugin = Diversity
