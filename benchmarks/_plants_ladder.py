"""Ladders whose rungs are known: Shapley values by permutations, and how often intervals hold them.

A fault of one axis is mended by the oracle of that axis and no other, so the value of every coalition follows from the
planted rates; the true Shapley values are then means over all orders in which the oracles may be put in, worked out
here by enumeration and not by the probe's formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import permutations

import numpy as np

from benchmarks._planting import Covered, Found, Planted, cut, pick, put, questions
from callgrain.core.types import Sample
from callgrain.probes._graded import subtask_of
from callgrain.probes._ladder_lattice import PROMPT, REPLY, RUNGS, Climb, bits, figures
from callgrain.probes.ladder import Ladder
from callgrain.verify.spoil import kinds_on

SUBTASKS = ("slots", "parallel", "chain", "nest", "next_call", "full")
MENDS = {"wrong_tool": "names", "wrong_value": "values", "missing_call": "plan", "extra_call": "plan"}
"""What each planted fault is mended by; a text that cannot be read by none of them."""

Rates = Callable[[frozenset[str]], Mapping[str, float]]
"""Rates of faults under the oracles that are not in the prompt and would change it."""


def additive(out: frozenset[str]) -> dict[str, float]:
    """Each missing oracle brings faults of its own, whatever the others do."""
    return {
        "wrong_tool": 0.08 + 0.3 * ("retrieval" in out),
        "wrong_value": 0.1 + 0.1 * ("schema" in out),
        "extra_call": 0.05 + 0.1 * ("history" in out),
        "unparsable": 0.15 * ("syntax" in out),
    }


def joint(out: frozenset[str]) -> dict[str, float]:
    """A terse schema helps only where the history is healed, and the other way round."""
    return {"unparsable": 0.6 * bool({"schema", "history"} & out), "wrong_value": 0.1}


def either(out: frozenset[str]) -> dict[str, float]:
    """Either of the two is enough: together they give what one gives."""
    return {"unparsable": 0.6 * ({"schema", "history"} <= out), "wrong_tool": 0.1}


STATES: dict[str, Rates] = {"additive": additive, "both needed": joint, "either is enough": either}


@cache
def _orders(players: int) -> tuple[tuple[int, ...], ...]:
    return tuple(permutations(range(players)))


def values_by_orders(game: Sequence[float], players: Sequence[int]) -> dict[int, float]:
    """Shapley values as the mean gain over all orders: the definition, not the formula."""
    found = dict.fromkeys(players, 0.0)
    orders = _orders(len(players))
    for order in orders:
        inside = 0
        for step in order:
            player = players[step]
            found[player] += (game[inside | 1 << player] - game[inside]) / len(orders)
            inside |= 1 << player
    return found


def game_of(rates: Rates, asked: frozenset[str], kinds: frozenset[str] | None = None) -> list[float]:
    """The expected value of every coalition on a sample with these prompt oracles, on which `kinds` can be made."""
    out: list[float] = []
    for coalition in range(1 << len(RUNGS)):
        inside = {r for i, r in enumerate(RUNGS) if coalition >> i & 1}
        found = rates(asked - inside)
        out.append(
            1.0 - sum(v for k, v in found.items() if (kinds is None or k in kinds) and MENDS.get(k) not in inside)
        )
    return out


def _truth(rates: Rates, mine: Sequence[Sample]) -> list[float]:
    """The expected game, averaged over the samples that were asked."""
    games: list[list[float]] = []
    for sample in mine:
        asked = frozenset(r for r in str(sample.traits["ladder_open"]).split("+") if r)
        kinds = frozenset(kinds_on(sample, sorted(subtask_of(sample.subtask).kinds)))
        games.append(game_of(rates, asked, kinds))
    return [float(v) for v in np.asarray(games).mean(axis=0)]


def _chance(rates: Rates) -> Callable[[Sample], Mapping[str, float]]:
    def chance(sample: Sample) -> Mapping[str, float]:
        asked, inside = (frozenset(str(sample.traits.get(k, "")).split("+")) for k in ("ladder_open", "ladder"))
        return rates((asked - inside) & frozenset(PROMPT))

    return chance


def plants(quick: bool) -> Iterator[Found]:
    """Three states of the ladder on the executable world, held to a grammar or not."""
    for able in (True, False):
        pool = cut("toolworld:full", SUBTASKS, 10 if quick else 30, can_constrain=able)
        asked = questions(Ladder(), "ladder", pool)
        first = [s for probe, _, s in asked if probe == "ladder" and s.traits["ladder"] == ""]
        for state, rates in STATES.items():
            found = Ladder().read(put(Planted(_chance(rates), seed=3), asked))
            game = _truth(rates, first)
            name = f"{state}, {'constrained' if able else 'text'}"
            whole = game[-1] - game[0]
            yield Found(f"{name}: lost", whole, pick(found, "lost", subtask="all"))
            true = values_by_orders(game, range(len(RUNGS)))
            for i, rung in enumerate(RUNGS):
                yield Found(f"{name}: {rung}", true[i], pick(found, "shapley", subtask="all", rung=rung))
            alone = sum(game[1 << i] - game[0] for i in range(len(RUNGS)))
            yield Found(f"{name}: interaction", whole - alone, pick(found, "interaction", subtask="all"))
            best = max(range(len(RUNGS)), key=lambda i, game=game: game[1 << i])
            yield Found(f"{name}: left", game[-1] - game[1 << best], pick(found, "left", subtask="all"))


MISSED = 0.4
"""Share of simulated samples on which the retriever misses a tool."""
KEPT = 0.7
"""Probability that a simulated reply hangs on the sample alone: greedy replies to like prompts are alike."""
EASY, HARD = 0.5, 1.1
"""Rates of half of the simulated traces and of the others, as multiples of the planted ones (at most 0.97 in all)."""


def coverage(runs: int) -> Iterator[Covered]:
    """Simulated runs of 20 and of 60 traces with one to four samples each, hard and easy ones."""
    for state, rates in (("additive", additive), ("both needed", joint)):
        game = _expected(rates)
        true = values_by_orders(game, range(len(RUNGS)))
        whole = game[-1] - game[0]
        truths = {("lost", ""): whole, **{("shapley", r): true[i] for i, r in enumerate(RUNGS)}}
        truths |= {("alone", r): game[1 << i] - game[0] for i, r in enumerate(RUNGS)}
        truths["interaction", ""] = whole - sum(game[1 << i] - game[0] for i in range(len(RUNGS)))
        truths["left", ""] = game[-1] - max(game[1 << i] for i in range(len(RUNGS)))
        for traces in (20, 60):
            held = dict.fromkeys(truths, 0)
            for run in range(runs):
                for row in figures(_simulated(rates, traces, run), "all"):
                    key = (row.name, "" if row.name == "left" else str(row.by.get("rung", "")))
                    if key in truths and row.low is not None and row.high is not None:
                        held[key] += row.low - 1e-9 <= truths[key] <= row.high + 1e-9
            for (name, rung), count in held.items():
                if abs(truths[name, rung]) > 1e-9:  # what cannot happen is held always
                    yield Covered(f"{name} {rung}, {state}, {traces} traces", count, runs)


def _expected(rates: Rates) -> list[float]:
    """The expected game of a simulated sample."""
    missed, found = frozenset(PROMPT), frozenset(PROMPT) - {"retrieval"}
    parts = [
        (weight / 2, game_of(lambda out, by=by: {k: v * by for k, v in rates(out).items()}, asked))
        for weight, asked in ((MISSED, missed), (1 - MISSED, found))
        for by in (EASY, HARD)
    ]
    return [sum(weight * game[c] for weight, game in parts) for c in range(1 << len(RUNGS))]


def _simulated(rates: Rates, traces: int, seed: int) -> list[Climb]:
    """Games drawn by the toss of a coin, as many as the traces have samples."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(traces), rng.integers(1, 5, traces))
    by = np.where(rng.random(traces) < 0.5, HARD, EASY)[of]
    own, missed = rng.random(len(of)), rng.random(len(of)) < MISSED
    mends = _mends()
    games = np.zeros((len(of), 1 << len(RUNGS)), dtype=bool)
    for state in range(1 << len(PROMPT)):
        drawn = np.where(rng.random(len(of)) < KEPT, own, rng.random(len(of)))
        for has, rows in ((True, missed), (False, ~missed)):
            out = frozenset(r for i, r in enumerate(PROMPT) if not state >> i & 1 and (has or r != "retrieval"))
            edges = np.cumsum(list(rates(out).values()))
            fault = (drawn[rows, None] >= edges[None, :] * by[rows, None]).sum(axis=1)
            kinds = [*rates(out), ""]
            for reply in range(1 << len(REPLY)):
                right = np.asarray([mends[kind] >> reply & 1 for kind in kinds], dtype=bool)
                games[rows, state | reply << len(PROMPT)] = right[fault]
    # where the retriever missed nothing, its oracle changes nothing: both states are one prompt
    with_it = bits(("retrieval",))
    alike = [c for c in range(1 << len(RUNGS)) if c & with_it]
    games[np.ix_(~missed, alike)] = games[np.ix_(~missed, [c & ~with_it for c in alike])]
    open_ = (*PROMPT, *REPLY)
    return [
        Climb("full", str(of[i]), tuple(games[i].tolist()), {}, open_, PROMPT, "constrained") for i in range(len(of))
    ]


@cache
def _mends() -> dict[str, int]:
    """For each fault the sets of reply oracles that mend it, as bits; for none, all of them."""
    out = {"": (1 << (1 << len(REPLY))) - 1, "unparsable": 0}
    for kind, rung in MENDS.items():
        out[kind] = sum(1 << s for s in range(1 << len(REPLY)) if s >> REPLY.index(rung) & 1)
    return out
