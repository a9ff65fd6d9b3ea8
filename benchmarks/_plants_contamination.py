"""Contamination: models that wrong past calls of one kind put off by a known slope, chains and games of known steps.

The planted chance hangs on the traits of the question alone, so the true slope is the planted one, and the true curve
the product of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from benchmarks._planting import Covered, Found, Planted, cut, diagnosed, pick, questions, simulate
from callgrain.core.canonical import text_key
from callgrain.core.types import Reading, Sample
from callgrain.probes._contamination_read import cells_of, rates
from callgrain.probes._contamination_slope import slope
from callgrain.probes._running_sum import Player, Setting, running_sum
from callgrain.probes._survival import life, survival
from callgrain.probes.contamination import Contamination

NAME = "contamination"
SUBTASKS = ("full", "decide")
BASE, FALL, HEALED = 0.95, 0.6, 0.3
"""Chance of being right after a right history; what it falls by after wrong tools, as they go on or healed."""
FIRST, LOSS = 0.98, 0.05
"""Chance of the first turn of a chain, and what every further turn of its own costs."""
STEPS = (0.97, 0.97, 0.92, 0.92, 0.85, 0.85)
"""Planted accuracies of the running sum, step by step."""


def plants(quick: bool) -> Iterator[Found]:
    """Slopes, mitigations, chains; then the running sum."""
    pool = cut("toolworld:full", SUBTASKS, 160 if quick else 480)
    found = diagnosed(Contamination(), NAME, pool, Planted(_chance, seed=3))
    for environment, planted in (("consistent", -FALL), ("healed", -HEALED)):
        yield Found(f"wrong tool, {environment}: slope", planted, _slope(found, "wrong_tool", environment))
    for fault in ("wrong_value", "wrong_shape", "needless_call"):
        yield Found(f"{fault}, consistent: slope", 0.0, _slope(found, fault, "consistent"))
    for name, gain in (("prune", FALL), ("summarise", FALL), ("mark", FALL / 2), ("window", 0.0)):
        row = pick(found, "mitigation", fault="wrong_tool", mitigation=name)
        yield Found(f"wrong tool, mended by {name}: gain", gain, row)
    for turn in (2, 4, 8):
        yield Found(f"chain: all right up to turn {turn}", _held(turn), pick(found, "survival", turn=turn))
    yield Found("chain: turns to 50 %", float(_fallen(0.5)), pick(found, "H50"))
    yield Found("chain: change of a turn by what came before", -LOSS, pick(found, "drift"))
    yield Found("constant steps' horizon (a line to compare with)", "no estimate", pick(found, "formula", level=0.5))
    yield from _games(100 if quick else 400)


def _games(games: int) -> Iterator[Found]:
    own = running_sum(Player(STEPS), Setting(games=games, turns=len(STEPS), keys=2))
    whole = 1.0
    for turn, chance in enumerate(STEPS, 1):
        yield Found(f"running sum: step {turn}", chance, pick(own, "step", turn=turn))
        whole *= chance
    yield Found(f"running sum: all right up to step {len(STEPS)}", whole, pick(own, "prefix", turn=len(STEPS)))
    for adds_up in (False, True):
        setting = Setting(games=games, turns=len(STEPS), rate=0.5, adds_up=adds_up)
        read = running_sum(Player((BASE,), conditioning=0.4), setting)
        how = "add up" if adds_up else "stand alone"
        yield Found(f"running sum, errors {how}: self-conditioning", -0.4, pick(read, "conditioning"))


def _slope(found: list[Reading], fault: str, environment: str) -> Reading | None:
    return pick(found, "slope", fault=fault, environment=environment)


def _chance(sample: Sample) -> float:
    traits = sample.traits
    if "contamination_chain" in traits:
        turn = int(traits["contamination_turn"])
        return FIRST - LOSS * (turn - 1) if traits["contamination_arm"] == "own" else FIRST
    if traits.get("contamination_fault") != "wrong_tool":
        return BASE
    fall = FALL if traits["contamination_environment"] == "consistent" else HEALED
    if traits.get("contamination_mitigation") == "mark":
        fall /= 2
    return BASE - fall * float(traits["contamination_share"])


def _held(turn: int) -> float:
    value = 1.0
    for number in range(turn):
        value *= FIRST - LOSS * number
    return value


def _fallen(level: float) -> int:
    return next(turn for turn in range(1, 100) if _held(turn) <= level)


def coverage(runs: int) -> Iterator[Covered]:
    """Slopes by whole readings, with requests that are hard or easy by themselves; curves; the running sum."""
    pool = cut("toolworld:full", SUBTASKS, 60)
    asked = [q for q in questions(Contamination(), NAME, pool) if q[0] == NAME]
    asked = [q for q in asked if q[2].traits.get("contamination_fault", "") in ("", "wrong_tool")]
    asked = [q for q in asked if q[2].traits["contamination_arm"] in ("control", "history")]
    hard = {trace: 0.15 * (text_key(trace) % 2) for _, trace, _ in asked}
    behind = {sample.key: hard[trace] for _, trace, sample in asked}
    for fall in (FALL, 0.0):
        held = 0
        for seed in range(runs):
            found = simulate(asked, lambda s, fall=fall: 0.9 - behind[s.key] - fall * _share(s), seed)
            row = _slope(list(rates(cells_of(found))), "wrong_tool", "consistent")
            held += Found("", -fall, row).is_held is True
        yield Covered(f"slope of {0 - fall:g}, {len(hard)} requests", held, runs)
    rng = Random(1)
    for turn in (4, 8):
        held = sum(_covers(rng, turn) for _ in range(runs))
        yield Covered(f"12 chains all right up to turn {turn}", held, runs)
    yield Covered("drift of 12 chains", sum(_drifts(rng) for _ in range(runs)), runs)
    yield from _games_covered(min(runs, 200))


def _share(sample: Sample) -> float:
    return float(sample.traits["contamination_share"])


def _oks(rng: Random) -> list[bool]:
    return [rng.random() < FIRST - LOSS * turn for turn in range(8)]


def _covers(rng: Random, turn: int) -> bool:
    step = next(s for s in reversed(survival([life(_oks(rng)) for _ in range(12)])) if s.turn <= turn)
    return step.low <= _held(turn) <= step.high


def _drifts(rng: Random) -> bool:
    rows: dict[str, list[tuple[float, float]]] = {}
    for chain in range(12):
        alone = [rng.random() < FIRST for _ in range(8)]
        own = _oks(rng)
        own[0] = alone[0]
        rows[str(chain)] = [(float(t), float(a) - float(b)) for t, (a, b) in enumerate(zip(own, alone, strict=True), 1)]
    found = slope(rows)
    return found is not None and found.low is not None and found.high is not None and found.low <= -LOSS <= found.high


def _games_covered(runs: int) -> Iterator[Covered]:
    steps = slopes = 0
    for seed in range(runs):
        own = running_sum(Player(STEPS[:3], seed=seed), Setting(games=40, turns=3, seed=seed))
        steps += Found("", STEPS[2], pick(own, "step", turn=3)).is_held is True
        setting = Setting(games=20, turns=4, rate=0.5, seed=seed)
        read = running_sum(Player((BASE,), conditioning=0.4, seed=seed), setting)
        slopes += Found("", -0.4, pick(read, "conditioning")).is_held is True
    yield Covered("running sum: step 3 of 40 games", steps, runs)
    yield Covered("running sum: self-conditioning, 20 games", slopes, runs)
