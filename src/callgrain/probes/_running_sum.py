"""The running sum of a dictionary's words: the published task of long execution, as a test of the harness.

A dictionary (word -> integer) stands in the prompt; every turn names K words, and the answer is the sum of all so far
(Sinha et al., arXiv 2509.09677, section 3). What is known of the player must come out: three accuracies a turn (equal
to the true sum; everything so far right; right given the answer that stands in the history), and how the last one falls
with the share of wrong answers in the history. Of the published harness three things are done otherwise: a shift is
never 0, worked examples are worked out and not written down, and whether wrong answers add up is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from callgrain.core import stats
from callgrain.core.canonical import text_key
from callgrain.core.protocols import Model
from callgrain.core.types import Message, Prompt, Reading, Reply, Sampling
from callgrain.probes._contamination_slope import slope
from callgrain.probes._graded import reading
from callgrain.probes._survival import constant, horizon, life, survival

PROBE = "running_sum"
WORDS = (
    "amber", "basin", "cedar", "delta", "ember", "fable", "grove", "hazel", "inlet", "jolly", "kite", "lemon",
    "maple", "north", "olive", "pearl", "quilt", "river", "stone", "tulip",
)  # fmt: skip
"""Words of the dictionary: short, unlike each other, none of them a number."""
VALUES = (-99, 99)
SHIFTS = tuple(shift for shift in range(-10, 11) if shift)
"""What a wrong answer is off by: the published range, without the 0 that is no error."""
_NUMBER = re.compile(r"-?\d{1,12}")
_LINE = "{}: {}"


@dataclass(frozen=True)
class Setting:
    """How the task is put. `rate` is None where the model's own answers are the history.

    Else the history is written beforehand, and each of its answers is wrong with that chance: by a shift of the true
    sum, or, where errors add up, of the sum that goes on from the answer before it.
    """

    games: int = 50
    turns: int = 10
    keys: int = 1
    rate: float | None = None
    adds_up: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Game:
    """A dictionary, and the words of each turn."""

    values: dict[str, int]
    turns: tuple[tuple[str, ...], ...]

    @classmethod
    def draw(cls, setting: Setting, number: int) -> Game:
        """Game `number` of a setting: the same on every machine."""
        rng = Random(text_key(PROBE, str(setting.seed), str(number)))
        values = {word: rng.randint(*VALUES) for word in WORDS}
        return cls(values, tuple(tuple(rng.choices(WORDS, k=setting.keys)) for _ in range(setting.turns)))

    @property
    def steps(self) -> tuple[int, ...]:
        """What each turn adds."""
        return tuple(sum(self.values[word] for word in words) for words in self.turns)

    @property
    def sums(self) -> tuple[int, ...]:
        """The true sum after each turn."""
        return tuple(accumulate(self.steps))

    def history(self, setting: Setting, number: int) -> tuple[int, ...]:
        """Answers as they are written into the history, right and wrong."""
        rng = Random(text_key(PROBE, "shifts", str(setting.seed), str(number)))
        out: list[int] = []
        for step, gold in zip(self.steps, self.sums, strict=True):
            right = (out[-1] if out else 0) + step if setting.adds_up else gold
            is_wrong, shift = rng.random() < (setting.rate or 0.0), rng.choice(SHIFTS)
            out.append(right + shift if is_wrong else right)
        return tuple(out)

    def prompt(self, said: Sequence[str]) -> Prompt:
        """The turn after those whose answers have been `said`."""
        listed = "\n".join(_LINE.format(word, value) for word, value in self.values.items())
        system = Message(role="system", text=f"{_rules(self.values)}\n{listed}")
        turns = [Message(role="user", text=_request(words)) for words in self.turns[: len(said) + 1]]
        answers = [Message(role="assistant", text=text) for text in said]
        mixed = [m for pair in zip(turns, answers, strict=False) for m in pair]
        return Prompt(messages=(system, *mixed, turns[-1]), sampling=Sampling(max_tokens=24))


def _request(words: Sequence[str]) -> str:
    return f"Add: {', '.join(words)}"


def _rules(values: dict[str, int]) -> str:
    first, second = list(values)[:2]
    shown = (values[first], values[first] + values[second])
    return (
        "Keep a running sum, starting from 0. Each turn names words; add their values, which are listed below, and "
        f"answer with the new sum alone. For example, to `{_request([first])}` and then `{_request([second])}` the "
        f"answers are {shown[0]} and {shown[1]}. Values:"
    )


def number_in(reply: Reply) -> int | None:
    """The last whole number of a reply, or None where it holds none."""
    text = reply.message.text if reply.message else reply.text
    found = _NUMBER.findall(text[-400:])
    return int(found[-1]) if found else None


@dataclass(frozen=True)
class Turn:
    """One answer judged: was there a reply, is it the true sum, and is it right given the answer before it?

    `share` is the part of the earlier answers shown that are not the true sum.
    """

    game: int
    turn: int
    answered: bool
    index: bool
    step: bool
    share: float


def play(model: Model, setting: Setting) -> list[Turn]:
    """Every turn of every game: asked one after the other, or at once where the history is written beforehand."""
    games = [Game.draw(setting, number) for number in range(setting.games)]
    if setting.rate is None:
        return _own(model, games)
    written = [game.history(setting, number) for number, game in enumerate(games)]
    places = [(number, turn) for turn in range(setting.turns) for number in range(len(games))]
    replies = model.answer([games[n].prompt([str(v) for v in written[n][:t]]) for n, t in places])
    return [_judged((n, games[n]), t, written[n][:t], reply) for (n, t), reply in zip(places, replies, strict=True)]


def _own(model: Model, games: Sequence[Game]) -> list[Turn]:
    said: list[list[str]] = [[] for _ in games]
    heard: list[list[int]] = [[] for _ in games]
    out: list[Turn] = []
    alive = list(range(len(games)))
    for turn in range(max((len(game.turns) for game in games), default=0)):
        replies = model.answer([games[number].prompt(said[number]) for number in alive])
        for number, reply in zip(list(alive), replies, strict=True):
            out.append(_judged((number, games[number]), turn, heard[number], reply))
            if reply.failure is not None:
                alive.remove(number)  # it cannot be asked on: what came before counts
                continue
            value = number_in(reply)
            said[number].append(reply.message.text if reply.message else reply.text)
            heard[number].append(value if value is not None else (heard[number] or [0])[-1])
    return out


def _judged(place: tuple[int, Game], turn: int, before: Sequence[int], reply: Reply) -> Turn:
    number, game = place
    given, gold = number_in(reply), game.sums
    due = (before[-1] if before else 0) + game.steps[turn]
    wrong = sum(value != true for value, true in zip(before, gold, strict=False))
    is_answered = reply.failure is None
    return Turn(number, turn + 1, is_answered, given == gold[turn], given == due, wrong / max(1, len(before)))


def running_sum(model: Model, setting: Setting | None = None) -> list[Reading]:
    """Readings `running_sum/step`, `index` and `prefix` by turn, `step` in all, `conditioning`, `H50`, `formula`.

    `prefix`, `H50` and `formula` are read where the history is the model's own; `conditioning`, the change of step
    accuracy for a history that is wrong throughout against one that is right, where it is written beforehand: the share
    of a model's own errors follows from its errors, and a slope on it would be biased even where there is none.
    """
    chosen = setting or Setting()
    played = [turn for turn in play(model, chosen) if turn.answered]
    out: list[Reading] = []
    for number in sorted({turn.turn for turn in played}):
        here = [turn for turn in played if turn.turn == number]
        for name, hits in (("step", [t.step for t in here]), ("index", [t.index for t in here])):
            out.append(reading(PROBE, name, stats.share(sum(hits), len(hits)), len(hits), turn=number))
    hits = [turn.step for turn in played]
    overall = stats.clustered_share(hits, [str(turn.game) for turn in played])
    out.append(reading(PROBE, "step", overall, len(hits)))
    return [*out, *(_prefixes(played, overall[0]) if chosen.rate is None else _conditioning(played))]


def _conditioning(played: Sequence[Turn]) -> list[Reading]:
    points: dict[str, list[tuple[float, float]]] = {}
    for turn in played:
        if turn.turn > 1:  # nothing stands before the first
            points.setdefault(str(turn.game), []).append((turn.share, float(turn.step)))
    fitted = slope(points)
    return [reading(PROBE, "conditioning", fitted.figure, fitted.clusters, p=fitted.p)] if fitted else []


def _prefixes(played: Sequence[Turn], p: float | None) -> list[Reading]:
    games: dict[int, list[bool]] = {}
    for turn in sorted(played, key=lambda t: (t.game, t.turn)):
        games.setdefault(turn.game, []).append(turn.index)
    steps = survival([life(oks) for oks in games.values()])
    out = [reading(PROBE, "prefix", (s.value, s.low, s.high), s.at_risk, turn=s.turn) for s in steps]
    if steps:
        found = horizon(steps, 0.5)
        beyond = {"beyond": steps[-1].turn} if found[0] is None else {}
        out.append(reading(PROBE, "H50", found, len(games), **beyond))
        out.append(reading(PROBE, "formula", (constant(p, 0.5), None, None), len(played), level=0.5))
    return out


class Player:
    """A Model that plays by known rules: right given the answer before it with a chance that is planted.

    `chances` holds that chance by turn (the last one goes on), which falls by `conditioning` times the share of the
    earlier answers shown that are not the true sum. A wrong answer is off by one of `SHIFTS`. It reads what every
    model reads, the prompt.
    """

    name = "player"

    def __init__(self, chances: Sequence[float], conditioning: float = 0.0, seed: int = 0) -> None:
        self.chances, self.conditioning, self.seed = tuple(chances), conditioning, seed

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One number each."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Reply:
        system, *turns = prompt.messages
        lines = (line.partition(": ") for line in system.text.splitlines()[1:])
        values = {word: int(value) for word, _, value in lines}
        asked = [m.text.removeprefix("Add: ").split(", ") for m in turns if m.role == "user"]
        steps = [sum(values[word] for word in words) for words in asked]
        shown = [number_in(Reply(message=m)) or 0 for m in turns if m.role == "assistant"]
        share = sum(a != b for a, b in zip(shown, accumulate(steps), strict=False)) / max(1, len(shown))
        rng = Random(text_key("player", str(self.seed), prompt.key))
        chance = self.chances[min(len(shown), len(self.chances) - 1)] - self.conditioning * share
        due = (shown[-1] if shown else 0) + steps[-1]
        text = str(due if rng.random() < chance else due + rng.choice(SHIFTS))
        return Reply(text=text, message=Message(text=text))


__all__ = ["SHIFTS", "Game", "Player", "Setting", "Turn", "number_in", "play", "running_sum"]
