"""Retrieval: are a request's tools found, and what do misses cost?

Recall, completeness (COMP@k: the whole gold set, COLT, arXiv 2405.16089) and nDCG of every retriever that is
installed, by the size of the catalogue, beside an order without skill; then the same from end to end: the model with
the tools that BM25 found, against the gold tools among as many others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from statistics import fmean
from typing import Any

from callgrain.core import plugins, stats
from callgrain.core.errors import MissingExtra
from callgrain.core.protocols import Retriever
from callgrain.core.significance import discordant, holm, mcnemar
from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, reading
from callgrain.probes._pool import Pool
from callgrain.probes._retrieval_figures import METRICS, Figures, by_chance, expected, mean_share, sizes, standing
from callgrain.probes._retrieval_library import Library, Wanted, others, shown

FUSED, PARTS = "fused", ("bm25", "dense")
"""The retriever that is made of others; it gets theirs, so that no tool is encoded twice."""
ENCODED = ("dense", FUSED)
"""Retrievers that encode every tool: they sit out beyond `MOST_ENCODED` tools, at some 70 tools a second."""
MOST_ENCODED = 3000
KS = (1, 3, 5, 10)
SMALLEST = 16
"""The smallest catalogue that is looked at: below it, the first ten are most of it."""
SHOWN = 5
"""Tools in the prompts from end to end: as many as hold the gold set of most requests, with some others."""
READ = 300
"""Requests of which recall is read: a share of a half is then known to 6 points."""
ASKED = 60
"""Requests that are asked again: three prompts each, and a loss of a quarter is told from none."""
GOLD, RETRIEVED = "gold", "retrieved"


class Retrieval:
    """Retrieval as a sub-skill. Asks about 3 prompts for each of at most 60 requests of the pool."""

    def samples(self, pool: Pool, rng: Random) -> Iterator[Sample]:
        """Each request with the gold tools among others, and with what BM25 finds in catalogues of two sizes."""
        library = Library.of(pool.rows)
        fitting = [one for one in library.wanted if len(one.gold) <= SHOWN]
        if len(library.tools) >= SMALLEST:
            yield from asked(library, fitting[:ASKED], rng.randrange(2**32))

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `recall`, `complete`, `ndcg` by retriever, k, size; `ok`, `loss` and its parts."""
        pool = [g for g in graded if g.probe == "subtask"]
        library = Library.of((g.trace, g.sample) for g in pool)
        return [
            *_found(replace(library, wanted=library.wanted[:READ])),
            *end_to_end(graded, {g.sample.key: g for g in pool}),
        ]


def asked(library: Library, wanted: Sequence[Wanted], seed: int) -> Iterator[Sample]:
    """Each request with its gold tools among others, and with what BM25 finds in each of `end_sizes`."""
    if not wanted:
        return
    ranked = ranking(plugins.load("retrievers", "bm25")(library.tools), library, wanted)
    for one in wanted:
        rest = others(library, one, seed)
        yield _sample(library, one, one.gold, rest, arm=GOLD)
        for size in end_sizes(len(library.tools)):
            kept = {*one.gold, *rest[: size - len(one.gold)]}
            found = [place for place in ranked[one.trace] if place in kept][:SHOWN]
            yield _sample(library, one, found, rest, arm=RETRIEVED, size=size)


def ranking(retriever: Retriever, library: Library, wanted: Sequence[Wanted]) -> dict[str, list[int]]:
    """Every tool's place in order, by trace."""
    ranked = retriever.rank([one.request for one in wanted], len(library.tools))
    return {one.trace: [place for place, _ in found] for one, found in zip(wanted, ranked, strict=True)}


def end_sizes(population: int) -> list[int]:
    """Sizes that are asked from end to end: the whole catalogue, and about an eighth of it."""
    return sorted({max(SMALLEST, population // 8), population})


def _sample(library: Library, one: Wanted, places: Sequence[int], spare: Sequence[int], **arm: str | int) -> Sample:
    tools = shown(library, places, SHOWN, spare, one.sample.key)
    prompt = one.sample.prompt.model_copy(update={"tools": tools})
    traits = {
        **one.sample.traits,
        "of": one.sample.key,
        "retrieval_whole": set(one.gold) <= set(places),
        **{f"retrieval_{name}": value for name, value in arm.items()},
    }
    return one.sample.model_copy(update={"prompt": prompt, "traits": traits})


def _found(library: Library) -> Iterator[Reading]:
    """What each retriever finds, by size and k."""
    over = sizes(len(library.tools), SMALLEST)
    if not over or not library.wanted:
        return
    for name, made in _made(library).items():
        ran = (None if made is None else 1.0, None, None)
        yield reading("retrieval", "ran", ran, len(library.wanted), retriever=name)
        if made is not None:
            yield from _curves(name, ranking(made, library, library.wanted), library, over)
    for size in over:
        for k in KS:
            fitting = [by_chance(len(one.gold), size, k) for one in library.wanted if len(one.gold) <= size]
            for metric, values in zip(METRICS, zip(*fitting, strict=True), strict=False):
                figure = (fmean(values), None, None)
                yield reading("retrieval", metric, figure, len(fitting), retriever="random", k=k, size=size)


def _made(library: Library) -> dict[str, Retriever | None]:
    """Every retriever over the library; None where it is not installed or would take too long."""
    out: dict[str, Retriever | None] = {}
    for name in sorted(plugins.names("retrievers"), key=lambda name: (name == FUSED, name)):
        parts = [out[part] for part in PARTS if part in out]
        too_many = name in ENCODED and len(library.tools) > MOST_ENCODED
        if too_many or (name == FUSED and None in parts):
            out[name] = None
            continue
        plugin = plugins.load("retrievers", name)
        try:
            out[name] = plugin(library.tools, parts) if name == FUSED else plugin(library.tools)
        except MissingExtra:
            out[name] = None
    return out


def _curves(name: str, ranked: Mapping[str, Sequence[int]], library: Library, over: Sequence[int]) -> Iterator[Reading]:
    stands = [standing(ranked[one.trace], one.gold) for one in library.wanted]
    for size in over:
        rows: list[Mapping[int, Figures]] = [
            expected(one, len(library.tools), size, KS) for one in stands if one.n_gold <= size
        ]
        for k in KS:
            for place, metric in enumerate(METRICS):
                figure = mean_share([row[k][place] for row in rows])
                yield reading("retrieval", metric, figure, len(rows), retriever=name, k=k, size=size)


def end_to_end(graded: Sequence[Graded], pool: Mapping[str, Graded]) -> Iterator[Reading]:
    """The model's own success with retrieved tools, paired with gold tools and with those that it was shown."""
    own = [g for g in graded if g.probe == "retrieval" and g.counts]
    gold = {str(g.sample.traits["of"]): g for g in own if g.sample.traits["retrieval_arm"] == GOLD}
    arms: dict[int, dict[str, Graded]] = {}
    for g in own:
        if g.sample.traits["retrieval_arm"] == RETRIEVED:
            arms.setdefault(int(g.sample.traits["retrieval_size"]), {})[str(g.sample.traits["of"])] = g
    if not arms or not gold:
        return
    yield _share("ok", list(gold.values()), arm=GOLD, k=SHOWN)
    before = [pool[of] for of in gold if of in pool and pool[of].counts]
    yield _share("ok", before, arm="shown")
    tables = {size: [(gold[of], found) for of, found in arms[size].items() if of in gold] for size in sorted(arms)}
    ps = holm([_p(pairs) for pairs in tables.values()])
    for (size, pairs), p in zip(tables.items(), ps, strict=True):
        by: dict[str, Any] = {"retriever": "bm25", "k": SHOWN, "size": size}
        found = [b for _, b in pairs]
        whole = [pair for pair in pairs if pair[1].sample.traits["retrieval_whole"]]
        yield _share("ok", found, arm=RETRIEVED, k=SHOWN, size=size)
        yield _difference("loss", pairs, **by, p=round(p, 6), shown=p < 0.05)
        yield reading("retrieval", "whole", stats.share(len(whole), len(pairs)), len(pairs), **by)
        yield _difference("confused", whole, **by)
        yield _share("unseen", [b for _, b in pairs if not b.sample.traits["retrieval_whole"]], **by)
        again = [(b, pool[of]) for b in found if (of := str(b.sample.traits["of"])) in pool and pool[of].counts]
        yield _difference("change", again, **by)


def _p(pairs: Sequence[tuple[Graded, Graded]]) -> float:
    return mcnemar(*discordant([b.verdict.ok for _, b in pairs], [a.verdict.ok for a, _ in pairs]))


def _share(name: str, items: Sequence[Graded], **by: str | int) -> Reading:
    return reading("retrieval", name, stats.share(sum(g.verdict.ok for g in items), len(items)), len(items), **by)


def _difference(name: str, pairs: Sequence[tuple[Graded, Graded]], **by: Any) -> Reading:
    """Share right of the first of each pair, minus that of the second."""
    figure = stats.paired_difference([a.verdict.ok for a, _ in pairs], [b.verdict.ok for _, b in pairs])
    return reading("retrieval", name, figure, len(pairs), **by)


plugin = Retrieval
