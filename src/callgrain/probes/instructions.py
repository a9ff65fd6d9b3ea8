"""Which parts of its instructions a model uses.

A model tuned on functions may answer from habit: by the names it knows, or by the request alone (after Kung and
Peng 2023, arXiv 2305.11383). Each part is taken away, or made to mislead, and the drop is paired, sample by sample:
`descriptions` (names and types stay), `names` (made-up names; descriptions stay, the key is translated), `request`
(a library without a request), `shuffled` (each description at another function; the key stays with the names).
Where descriptions are dealt out wrongly, the replies also say which was read: the name or the description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.significance import discordant, holm, mcnemar
from callgrain.core.types import Reading, Sample, Trace
from callgrain.probes._graded import Graded, by_subtask, grouped, in_order, reading, subtask_of
from callgrain.probes._pool import Pool
from callgrain.sources._folder import SkipError
from callgrain.sources.blanked import shuffled, without_descriptions, without_request
from callgrain.sources.masked import masked

MOST = 30
"""Most samples of a sub-task: 120 prompts each, enough to see a drop of 20 points."""
PARTS: dict[str, Callable[[Trace, Random], Trace]] = {
    "descriptions": without_descriptions,
    "names": masked,
    "request": without_request,
    "shuffled": shuffled,
}
"""What is taken away, or misleads."""
NEVER = frozenset({"response"})
"""Its answer stands in the results, not in the tools."""


class Instructions:
    """The drop without each part of the instructions; asks 4 prompts for up to 30 samples of a sub-task."""

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """The pool's traces with a part gone, cut for the same sub-task; nothing without traces."""
        del rng
        if not isinstance(pool, Pool):
            return
        for subtask, rows in grouped(pool.rows, lambda row: row[1].subtask).items():
            if subtask in NEVER:
                continue
            for key, sample in rows[:MOST]:
                trace = pool.traces.get(key)
                for part in PARTS if trace is not None else ():
                    made = _without(part, trace, sample) if trace is not None else None
                    if made is not None:
                        yield made

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings by sub-task and over `all`: `ok` without each part, and `use`, what it is worth.

        `use` is the share right of the whole prompt minus that without the part, on the same samples, with the exact
        McNemar `p` corrected over parts (Holm) and `shown`. `follows_name` and `follows_description` are shares of the
        misled replies with one call: does it call the function of the right name, or the one that carries the right
        description?
        """
        whole = {g.sample.key: g for items in by_subtask(graded).values() for g in items}
        mine = [g for g in graded if g.probe == "instructions" and g.counts and str(g.sample.traits["of"]) in whole]
        out: list[Reading] = []
        groups = {
            name: [g for g in mine if g.sample.subtask == name] for name in in_order(g.sample.subtask for g in mine)
        }
        for subtask, items in (*groups.items(), *([("all", mine)] if len(groups) > 1 else [])):
            out += _uses(subtask, items, whole)
            out += _followed(subtask, [g for g in items if g.sample.traits["instructions_part"] == "shuffled"])
        return out


def _without(part: str, trace: Trace, sample: Sample) -> Sample | None:
    """The sample as the sub-task cuts it from the trace without the part; None where that cannot be."""
    rng = Random(text_key("instructions", part, trace.key))
    try:
        edited = PARTS[part](trace, rng)
    except (SkipError, RecursionError):
        return None
    cut = next(iter(subtask_of(sample.subtask).samples(edited, Random(text_key(part, sample.key)))), None)
    if cut is None:
        return None
    traits = {"of": sample.key, "instructions_part": part}
    if part == "shuffled":
        traits["instructions_misled"] = _bearer(trace, edited)
    return cut.model_copy(update={"traits": {**cut.traits, **traits}})


def _bearer(trace: Trace, edited: Trace) -> str:
    """The function that carries the description of the one that is due; none where several or no calls are due."""
    if len(trace.gold.calls) != 1:
        return ""
    due = next((t for t in trace.tools if t.name == trace.gold.calls[0].name), None)
    if due is None or not due.description:
        return ""
    bearers = [t.name for t in edited.tools if t.description == due.description]
    return bearers[0] if len(bearers) == 1 and bearers[0] != due.name else ""


def _uses(subtask: str, items: Sequence[Graded], whole: dict[str, Graded]) -> Iterator[Reading]:
    rows: list[tuple[str, list[Graded], list[bool], list[bool]]] = []
    for part in PARTS:
        if found := [g for g in items if g.sample.traits["instructions_part"] == part]:
            full = [whole[str(g.sample.traits["of"])].verdict.ok for g in found]
            rows.append((part, found, full, [g.verdict.ok for g in found]))
    ps = [mcnemar(*discordant(full, oks)) for _, _, full, oks in rows]
    for (part, found, full, oks), p in zip(rows, holm(ps), strict=True):
        yield reading(
            "instructions", "ok", stats.clustered_share(oks, [g.trace for g in found]), len(found),
            subtask=subtask, part=part,
        )  # fmt: skip
        figure = stats.paired_difference(full, oks, [g.trace for g in found])
        yield reading(
            "instructions", "use", figure, len(found), subtask=subtask, part=part, p=round(p, 6), shown=p < 0.05
        )


def _followed(subtask: str, items: Sequence[Graded]) -> Iterator[Reading]:
    """Of replies with one call to a prompt whose descriptions are at the wrong functions: which did it follow?"""
    called = [
        (g, g.reply.message.calls[0].name)
        for g in items
        if g.sample.traits.get("instructions_misled") and g.reply.message and len(g.reply.message.calls) == 1
    ]
    if not called:
        return
    traces = [g.trace for g, _ in called]
    by_name = [name == g.sample.answer.calls[0].name for g, name in called]
    by_text = [name == g.sample.traits["instructions_misled"] for g, name in called]
    for label, hits in (("follows_name", by_name), ("follows_description", by_text)):
        yield reading("instructions", label, stats.clustered_share(hits, traces), len(called), subtask=subtask)


plugin = Instructions
