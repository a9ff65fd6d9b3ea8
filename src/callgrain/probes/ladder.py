"""Where calls fail: the points that each oracle gives back.

The situation is hard as a deployment is: tools as a retriever finds them in the whole catalogue, full schemas, free
decoding, an earlier exchange that went wrong. Then an oracle is put in for each axis, alone and with every other:
retrieval (the gold tools are shown), schema (without prose), syntax (held to the grammar), history (healed) change the
prompt; names, values and plan put that part of the reply right. The lost points are shared out by Shapley values over
the whole lattice, so that what takes two oracles is charged to both. ThorV2 (arXiv 2410.17950) names three such
failures, T-Eval (arXiv 2312.14033) tests abilities one by one; here they are swapped in jointly and attributed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random

from callgrain.core.types import Reading, Sample
from callgrain.probes._graded import Graded, grouped, in_order, subtask_of
from callgrain.probes._ladder_lattice import PROBE, Climb, climb, figures, joined, sample_of
from callgrain.probes._ladder_prompts import Situation, Situations
from callgrain.probes._pool import Pool

MOST = 40
"""Most samples a sub-task: the difference of two paired shares is then known to about 15 points, all together to 6."""
PROMPTS = 1200
"""Most prompts in all: minutes for a model that gives ten replies a second."""
CLIMBED = frozenset({"names", "slots", "parallel", "chain", "nest", "next_call", "full"})
"""Sub-tasks whose answers are calls; `decide` and `response` have no rungs to climb."""


class Ladder:
    """Lost points by oracle; asks about 2 to 18 prompts for each of at most 40 samples a sub-task, 1,200 in all.

    Two to the number of prompt oracles that change anything on a sample, one sham and one without the earlier
    exchange. Where no call is due, nothing is asked: in a whole catalogue there may be a tool for what the shown ones
    cannot do.
    """

    def samples(self, pool: Pool, rng: Random) -> Iterator[Sample]:
        """Every set of the oracles that change a sample's prompt, in the sub-tasks by turns until the bound is met."""
        due = [(trace, s) for trace, s in pool.rows if _is_climbed(s) and trace in pool.traces]
        by = grouped(due, lambda row: row[1].subtask)
        turns = [rows[i] for i in range(MOST) for rows in by.values() if i < len(rows)]
        situations = Situations(pool, rng) if turns else None
        asked = 0
        for key, sample in turns if situations else ():
            made = list(_asked(situations.of(sample, pool.traces[key]))) if situations else []
            asked += len(made)
            if asked > PROMPTS:
                break
            yield from made

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings by sub-task and over `all`, in shares of the samples (docs/diagnosis.md lists them).

        `lost`: right with every oracle minus as it is. `shapley` by rung: its share of that, adding up to it.
        `alone` by rung: what it gives with no other; `interaction`: lost minus the sum of those. `left`: what the
        best single oracle (`rung`) leaves. `ok` by rungs. `sham`: the control. `pruned`:
        gain where the earlier exchange is left out, not healed. `applies` by rung: samples whose prompt it changes.
        """
        climbs = _climbs(graded)
        by = grouped(climbs, lambda c: c.subtask)
        out = [row for name in in_order(by) for row in figures(by[name], name)]
        return [*out, *figures(climbs, "all")] if climbs else []


def _is_climbed(sample: Sample) -> bool:
    return sample.subtask in CLIMBED and sample.answer.decision == "call" and bool(sample.answer.calls)


def _asked(situation: Situation) -> Iterator[Sample]:
    """One sample a set of oracles, and those beside the lattice."""
    rungs = situation.open
    for size in range(len(rungs) + 1):
        for chosen in combinations(rungs, size):
            yield sample_of(situation.sample, situation.prompt(chosen), joined(chosen), rungs)
    for name, differs in (("sham", situation.sham != situation.found), ("pruned", situation.earlier is not None)):
        if differs:
            yield sample_of(situation.sample, situation.prompt((name,)), name, rungs)


def _climbs(graded: Sequence[Graded]) -> list[Climb]:
    """The games of all samples that were asked in full."""
    pool = {g.sample.key: g for g in graded if g.probe == "subtask"}
    mine = grouped([g for g in graded if g.probe == PROBE], lambda g: str(g.sample.traits["of"]))
    out: list[Climb] = []
    for key, items in mine.items():
        if key in pool:
            asked = {str(g.sample.traits["ladder"]): g for g in items}
            opened = [r for r in str(items[0].sample.traits["ladder_open"]).split("+") if r]
            made = climb(subtask_of(pool[key].sample.subtask), pool[key], asked, opened)
            out += [made] if made is not None else []
    return out


plugin = Ladder
