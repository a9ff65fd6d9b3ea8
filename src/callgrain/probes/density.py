"""Success against load: tools shown, arguments of a call, calls at once.

Four axes, each in doublings and on the same requests of the pool at every load, so that curves are paired:

- `tools`: the same request and the same one right call among 2 to 64 tools. The reply stays as long as it is.
- `arguments`: one call with 2 to 64 arguments, all asked for. The reply grows with the load, which no design can
  undo; so the share of arguments that are right stands beside the share of calls (`each`), and the effect of the
  answer's length at equal load (`length`).
- `declared`: 2 to 64 parameters declared and two asked for: the same density in the prompt at a reply of constant
  length. What falls here falls by density alone.
- `calls`: 1 to 16 requests in one turn, the tools shown held constant; length as with `arguments`.

After IFScale (arXiv 2507.11538), which counts keywords in one report and names its patterns by eye. Here the key
is exact, the classes are weighed (`_curves`), and the load at which success falls below 50 and 90 % has an
interval (`_density_crossing`). A load at which replies are cut off by the limit of tokens is left out of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample
from callgrain.probes._density_arguments import arguments_axis, declared_axis
from callgrain.probes._density_calls import calls_axis
from callgrain.probes._density_cut import SUBTASK
from callgrain.probes._density_read import density_readings
from callgrain.probes._density_tools import tools_axis
from callgrain.probes._density_trials import trials
from callgrain.probes._graded import Graded, grouped, reading, subtask_of
from callgrain.probes._pool import Pool
from callgrain.probes._unskilled import Majority, unskilled


class Density:
    """Curves of success over four loads, their class, D50 and D90, kinds of failure, and the effect of place.

    Asks about 23 prompts for each of up to 30 requests of the pool: some 700 at most. Needs replies alone.
    """

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Every axis as far as the pool's tools, values and requests reach."""
        if isinstance(pool, Pool):
            for axis in (tools_axis, arguments_axis, declared_axis, calls_axis):
                yield from axis(pool, rng)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings `density/...`, each by axis; what was asked at a load, by load too.

        `ok`, `control`, `each` (requirements met), `fault` (by type; share of replies with one), `cut_off`,
        `unanswered`; `D50`, `D90`, `class` (its weight), `fit` (the best class's curve); `drop` (greatest load
        minus least, paired); `position` (error at the last place minus the first); `length` (error a doubling of
        the answer's length, at equal load).
        """
        found = trials(graded)
        return [*density_readings(found), *_controls([g for g in graded if g.probe == "density" and g.counts])]


def _controls(mine: Sequence[Graded]) -> Iterator[Reading]:
    """One call by the words that request and tool share, values by the words that follow a parameter's name.

    For `tools` also a tool at random: right in 1 of N, if all else were right.
    """
    task = subtask_of(SUBTASK)
    groups = grouped(mine, lambda g: f"{g.sample.traits['density_axis']} {g.sample.traits['density_load']}")
    for items in groups.values():
        axis, load = str(items[0].sample.traits["density_axis"]), int(items[0].sample.traits["density_load"])
        oks: list[bool] = []
        for item in items:
            rng = Random(text_key("density", "lexical", item.sample.key))
            votes = Majority(()).without(item.sample.answer)
            reply = unskilled("lexical", SUBTASK, item.sample.prompt, votes, rng)
            oks.append(task.grade(item.sample, reply).ok)
        figure = stats.clustered_share(oks, [g.trace for g in items])
        yield reading("density", "control", figure, len(oks), axis=axis, load=load, control="lexical")
        if axis == "tools":
            by_chance = (1 / load, None, None)
            yield reading("density", "control", by_chance, len(oks), axis=axis, load=load, control="random_tool")


plugin = Density
