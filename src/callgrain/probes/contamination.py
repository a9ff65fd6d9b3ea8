"""Wrong past calls and the next turn, and how long a chain holds.

The same request is asked behind histories of equal length of which a chosen share of the turns is wrong in one named
way. At a share of 0 the history is right throughout: the control that tells what wrong turns do from what length does;
no history at all is the control of length. After "The Illusion of Diminishing Returns" (Sinha et al., arXiv 2509.09677,
section 3.3: self-conditioning), for calls, by kind of fault, with an environment that goes along with the wrong call or
that heals it. Beside it, chains in which the model's own turns are the history, asked round after round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import cast

from callgrain.core.types import Reading, Sample
from callgrain.probes._contamination_cells import LONG, cells
from callgrain.probes._contamination_chain import chains, next_turns
from callgrain.probes._contamination_history import Earlier, is_base
from callgrain.probes._contamination_read import cells_of, lengths, mitigations, own_chains, rates
from callgrain.probes._graded import Graded
from callgrain.probes._pool import Pool

BASES = 18
"""Requests that are asked behind every history: 32 prompts each, so that with the chains a run asks at most 756."""


class Contamination:
    """Accuracy against the share of wrong past turns, horizons, mitigations.

    Asks at most 32 prompts for each of up to 18 requests of the pool, and at most 15 for each of up to 12 chains, of
    which 7 come one round after the other; by the umbrella sub-task, whatever sub-tasks the pool holds.
    """

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Histories of each kind before the same requests, and every request of the chains alone."""
        known = cast("Pool", pool)
        of: dict[str, str] = {}
        for key, sample in known.rows:
            of.setdefault(key, sample.key)
        earlier = Earlier.of(known.traces)
        keys = [key for key in of if key in known.traces]
        left = BASES
        for key in rng.sample(keys, len(keys)):
            if left and is_base(known.traces[key]):
                asked = list(cells(earlier.before(known.traces[key], LONG, rng), of[key]))
                left -= bool(asked)
                yield from asked
        yield from chains(earlier, of, rng)

    def follow(self, graded: Sequence[Graded]) -> Iterator[Sample]:
        """The next turn of every chain."""
        yield from next_turns(graded)

    def read(self, graded: Sequence[Graded]) -> list[Reading]:
        """Readings of the histories by fault, environment and rate, of length, mitigations and chains."""
        found = cells_of(graded)
        return [*rates(found), *lengths(found), *mitigations(found), *own_chains(graded)]


plugin = Contamination
