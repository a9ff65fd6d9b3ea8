"""The running sum: the harness finds the step accuracies that were planted, and makes none of the published slips."""

from collections.abc import Sequence
from itertools import accumulate

import pytest
from benchmarks._planting import pick

from callgrain.core.types import Message, Prompt, Reply
from callgrain.probes._running_sum import SHIFTS, Game, Player, Setting, number_in, play, running_sum

STEPS = (0.97, 0.97, 0.9, 0.9, 0.8, 0.8)


def test_games_are_the_same_again_and_sums_add_up() -> None:
    setting = Setting(turns=6, keys=3)
    game = Game.draw(setting, 2)
    assert game == Game.draw(setting, 2) != Game.draw(setting, 3)
    assert all(len(words) == 3 for words in game.turns)
    total = 0
    for words, gold in zip(game.turns, game.sums, strict=True):
        total += sum(game.values[word] for word in words)
        assert total == gold


def test_the_worked_example_is_right_in_every_game() -> None:
    for number in range(50):
        game = Game.draw(Setting(), number)
        first, second = list(game.values)[:2]
        system = game.prompt([]).messages[0].text
        shown = f"answers are {game.values[first]} and {game.values[first] + game.values[second]}."
        assert shown in system
        assert f"`Add: {first}` and then `Add: {second}`" in system


def test_a_prompt_holds_the_history_and_never_the_answer() -> None:
    game = Game.draw(Setting(turns=3), 0)
    messages = game.prompt(["5", "6"]).messages
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m.text for m in messages if m.role == "assistant"] == ["5", "6"]
    assert len(game.prompt([]).messages) == 2


def test_a_shift_is_never_none() -> None:
    assert 0 not in SHIFTS
    assert (min(SHIFTS), max(SHIFTS), len(SHIFTS)) == (-10, 10, 20)
    setting = Setting(games=200, turns=10, rate=1.0)
    for number in range(200):
        game = Game.draw(setting, number)
        off = [a - b for a, b in zip(game.history(setting, number), game.sums, strict=True)]
        assert all(off)
        assert all(abs(o) <= 10 for o in off)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_injected_errors_come_at_their_rate_and_add_up_only_where_they_shall(rate: float) -> None:
    wrong = {False: 0, True: 0}
    for adds_up in (False, True):
        setting = Setting(turns=10, rate=rate, adds_up=adds_up)
        for number in range(300):
            game = Game.draw(setting, number)
            said = game.history(setting, number)
            shifts = [a - b for a, b in zip(said, game.sums, strict=True)]
            if adds_up:  # each error stays in all that follows
                shifts = [b - a for a, b in zip([0, *shifts], shifts, strict=False)]
            assert all(s == 0 or s in SHIFTS for s in shifts)
            wrong[adds_up] += sum(s != 0 for s in shifts)
    for count in wrong.values():
        assert count / 3000 == pytest.approx(rate, abs=0.03)


def test_the_last_number_counts() -> None:
    assert number_in(Reply(text="12 + 5 = -17.")) == -17
    assert number_in(Reply(message=Message(text="sum: 4"))) == 4
    assert number_in(Reply(text="I cannot")) is None


def test_planted_step_accuracies_are_found_each_within_its_interval() -> None:
    found = running_sum(Player(STEPS), Setting(games=300, turns=len(STEPS), keys=2))
    whole = 1.0
    for turn, chance in enumerate(STEPS, 1):
        step, prefix = pick(found, "step", turn=turn), pick(found, "prefix", turn=turn)
        whole *= chance
        for row, truth in ((step, chance), (prefix, whole)):
            assert row is not None
            assert row.low is not None
            assert row.high is not None
            assert row.low - 0.02 <= truth <= row.high + 0.02
            assert row.high - row.low < 0.13
    half = pick(found, "H50")
    assert half is not None
    assert half.value in (5.0, 6.0, None)


def test_the_three_accuracies_of_a_player_that_errs_once() -> None:
    """Right, wrong, right given its own wrong answer: index stays wrong, step recovers, the prefix is over."""
    setting = Setting(games=1, turns=4)
    turns = play(Player((1.0, 0.0, 1.0)), setting)
    assert [t.step for t in turns] == [True, False, True, True]
    assert [t.index for t in turns] == [True, False, False, False]
    assert [t.share for t in turns] == [0, 0, 1 / 2, 2 / 3]
    found = running_sum(Player((1.0, 0.0, 1.0)), setting)
    assert [r.value for r in found if r.name == "prefix"] == [1.0, 0.0]


@pytest.mark.parametrize("adds_up", [False, True])
def test_self_conditioning_is_found_and_none_is_found_where_there_is_none(adds_up: bool) -> None:
    setting = Setting(games=150, turns=6, rate=0.5, adds_up=adds_up)
    for planted in (0.0, 0.4):
        row = pick(running_sum(Player((0.95,), conditioning=planted), setting), "conditioning")
        assert row is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= -planted <= row.high
        assert (row.high < 0) == (planted > 0)


def test_no_slope_is_read_off_a_model_s_own_errors() -> None:
    """Its share of errors follows from its errors: the slope would be biased upwards for a player without any."""
    found = running_sum(Player((0.9,)), Setting(games=60, turns=8))
    assert pick(found, "conditioning") is None
    assert pick(found, "prefix", turn=1) is not None


class Silent:
    """A Model whose third turns do not come."""

    name = "silent"

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [
            Reply(failure="gone") if sum(m.role == "assistant" for m in p.messages) == 2 else reply
            for p, reply in zip(prompts, Player((1.0,)).answer(prompts), strict=True)
        ]


def test_a_game_that_is_cut_off_is_censored_and_not_wrong() -> None:
    found = running_sum(Silent(), Setting(games=8, turns=6))
    assert [(r.by["turn"], r.value) for r in found if r.name == "prefix"] == [(1, 1.0), (2, 1.0)]
    assert {r.by["turn"] for r in found if r.name == "step" and r.by} == {1, 2}


class Wordy:
    """Says no number at all."""

    name = "wordy"

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [Reply(text="I would rather not.", message=Message(text="I would rather not.")) for _ in prompts]


def test_an_answer_without_a_number_is_wrong_and_the_game_goes_on() -> None:
    found = running_sum(Wordy(), Setting(games=5, turns=3))
    rows = [r for r in found if r.name == "step"]
    assert all(r.value == 0 for r in rows)
    assert rows[-1].n == 15


def test_sums_of_a_game_are_those_of_its_steps() -> None:
    game = Game.draw(Setting(turns=5, keys=4), 9)
    assert list(game.sums) == list(accumulate(game.steps))
