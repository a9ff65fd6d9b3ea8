"""Planted: models that need the gold tools in the prompt, that do not, and that near neighbours lead astray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from statistics import fmean

from benchmarks._planting import Covered, Found, Planted, cut, diagnosed, pick, simulate
from callgrain.core import plugins
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded
from callgrain.probes._retrieval_figures import METRICS, expected, mean_share, standing
from callgrain.probes._retrieval_library import Library
from callgrain.probes.retrieval import SHOWN, Retrieval, asked, end_sizes, end_to_end, ranking

EASY, SOURCE = "toolworld:full", "toolworld:open"
"""Tools that describe themselves; and requests in other words than the names, which are all that BM25 has."""
SKILL, ASTRAY = 0.9, 0.5


def seen(sample: Sample) -> float:
    """Right exactly where the prompt shows every tool of the answer."""
    return float({call.name for call in sample.answer.calls} <= {tool.name for tool in sample.prompt.tools})


def led_astray(sample: Sample) -> float:
    """Right at SKILL among random others, at ASTRAY among what was found, never without the gold tools."""
    rate = ASTRAY if sample.traits.get("retrieval_arm") == "retrieved" else SKILL
    return rate * seen(sample)


def plants(quick: bool) -> Iterator[Found]:
    """Losses, and what they are made of."""
    pool = cut(SOURCE, ["full"], 60 if quick else 100)
    population = len(Library.of(pool.rows).tools)
    needs = diagnosed(Retrieval(), "retrieval", pool, Planted(seen))
    for size in end_sizes(population):
        shown = _missed(pool.rows, size)
        yield Found(f"needs the gold tools, {size} tools", shown, pick(needs, "loss", size=size))
    yield Found("needs the gold tools: none is known unseen", 0.0, pick(needs, "unseen", size=population))
    free = diagnosed(Retrieval(), "retrieval", pool, Planted(lambda _: SKILL, seed=1))
    yield Found("needs no tools: no loss", 0.0, pick(free, "loss", size=population))
    yield Found("needs no tools: right unseen", SKILL, pick(free, "unseen", size=population))
    astray = diagnosed(Retrieval(), "retrieval", pool, Planted(led_astray, seed=2))
    small = end_sizes(population)[0]
    yield Found(f"led astray by neighbours, {small} tools", SKILL - ASTRAY, pick(astray, "confused", size=small))
    missed = SKILL - ASTRAY * (1 - _missed(pool.rows, small))
    yield Found(f"led astray: the whole loss, {small} tools", missed, pick(astray, "loss", size=small))


def _missed(rows: Sequence[tuple[str, Sample]], size: int) -> float:
    """1 - COMP over all catalogues of the size: what a model loses that needs the gold tools and nothing else."""
    library = Library.of(rows)
    ranked = ranking(plugins.load("retrievers", "bm25")(library.tools), library, library.wanted)
    stands = [standing(ranked[one.trace], one.gold) for one in library.wanted]
    return 1 - fmean(expected(one, len(library.tools), size, (SHOWN,))[SHOWN][1] for one in stands)


def coverage(runs: int) -> Iterator[Covered]:
    """Intervals over fresh requests out of some 1,000, where nearly all is found and where much is missed."""
    for source in (EASY, SOURCE):
        library = Library.of(cut(source, ["full"], 1500).rows)
        ranked = ranking(plugins.load("retrievers", "bm25")(library.tools), library, library.wanted)
        stands = [standing(ranked[one.trace], one.gold) for one in library.wanted]
        for size in (16, *end_sizes(len(library.tools))):
            rows = [expected(one, len(library.tools), size, (SHOWN,))[SHOWN] for one in stands]
            for place, metric in enumerate(METRICS):
                figures = [row[place] for row in rows]
                told = f"{metric}@{SHOWN} of 100 requests, {size} tools of {source}: {fmean(figures):.3f}"
                yield Covered(told, _means(figures, runs), runs)
        if source == SOURCE:
            yield from _losses(library, runs)


def _means(figures: Sequence[float], runs: int) -> int:
    truth, rng, held = fmean(figures), Random(0), 0
    for _ in range(runs):
        _, low, high = mean_share(rng.choices(figures, k=100))
        held += low is not None and high is not None and low <= truth <= high
    return held


def _losses(library: Library, runs: int) -> Iterator[Covered]:
    questions: dict[str, list[Sample]] = {}
    for sample in asked(library, [one for one in library.wanted if len(one.gold) <= SHOWN], 0):
        questions.setdefault(str(sample.traits["of"]), []).append(sample)
    every = list(questions.values())
    names = ("loss", "confused", "whole")
    small = end_sizes(len(library.tools))[0]
    chances = [(led_astray(gold), led_astray(found), bool(seen(found))) for gold, found, *_ in every]
    truth = {
        "loss": fmean(before - after for before, after, _ in chances),
        "confused": SKILL - ASTRAY,
        "whole": fmean(whole for _, _, whole in chances),
    }
    held = dict.fromkeys(names, 0)
    for run in range(runs):
        drawn = Random(run).sample(every, 60)
        graded = simulate((("retrieval", "", s) for one in drawn for s in one[:2]), led_astray, run)
        for name, row in _read(graded, names, small).items():
            held[name] += row.low is not None and row.high is not None and row.low <= truth[name] <= row.high
    for name in names:
        yield Covered(f"{name} of 60 requests, {small} tools", held[name], runs)


def _read(graded: Sequence[Graded], names: Sequence[str], size: int) -> dict[str, Reading]:
    found = list(end_to_end(graded, {}))
    return {name: row for name in names if (row := pick(found, name, size=size)) is not None}
