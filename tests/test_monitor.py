"""The format-collapse monitor: whose dialect a reply is, the closed forms, and when it raises an alarm."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from callgrain.core.stats import pass_at
from callgrain.core.store import Run
from callgrain.core.types import Answer, Call, Fault, Message, Origin, Prompt, Reply, Sample, Verdict
from callgrain.dialects._recover import spoken
from callgrain.dialects.compact import Compact
from callgrain.probes._tongues import Tongues, forecast, skeleton
from callgrain.train._monitor import Look, Monitor, described
from callgrain.train._rollouts import Drawn, Group

SAMPLE = Sample(
    subtask="full",
    prompt=Prompt(messages=(Message(role="user", text="go"),)),
    answer=Answer(calls=(Call(name="go"),)),
    origin=Origin(dataset="toy", row="0", licence="none"),
)
RIGHT, WRONG = Verdict(), Verdict(faults=(Fault(kind="wrong_value", where="calls.0"),), score=0.5)
TEXTS = {
    "compact": "@go place=park",
    "json": '[{"name": "go", "arguments": {"place": "park"}}]',
    "chat_template": '<tool_call>\n{"name": "go", "arguments": {"place": "park"}}\n</tool_call>',
    "text": "DECLINE",
    "broken": "@go place=",
}


def drawn(text: str, verdict: Verdict, reward: float | None, logprobs: tuple[float, ...] = (-1.0,)) -> Drawn:
    reply = spoken(Compact(), text, tokens=("x",) * len(logprobs), logprobs=logprobs)
    return Drawn(SAMPLE, reply, (1,) * len(logprobs), verdict, reward)


def test_every_text_is_its_own_dialects() -> None:
    tongues = Tongues("compact", Compact())
    for name, text in TEXTS.items():
        assert tongues.of(spoken(Compact(), text)) == name


def test_a_turn_that_any_dialect_writes_is_found_to_be_its() -> None:
    from callgrain.core import plugins

    message = Message(calls=(Call(name="go", arguments={"place": "park", "n": 3}),))
    for own in plugins.names("dialects"):
        tongues = Tongues(own, plugins.load("dialects", own)())
        for name in plugins.names("dialects"):
            text = plugins.load("dialects", name)().write(message)
            assert tongues.of(spoken(plugins.load("dialects", own)(), text)) == name


@pytest.mark.parametrize(("right", "n"), [(0, 6), (1, 6), (3, 6), (6, 6)])
def test_pass_at_k_is_the_share_of_all_choices_of_k_that_hold_a_right_one(right: int, n: int) -> None:
    replies = [True] * right + [False] * (n - right)
    for k in range(1, n + 1):
        chosen = list(combinations(replies, k))
        assert pass_at(k, right, n) == pytest.approx(sum(map(any, chosen)) / len(chosen))


def test_the_forecast_is_the_closed_form() -> None:
    shares, rewards = {"a": 0.5, "b": 0.5, "c": 0.0}, {"a": 0.6, "b": 0.4, "c": 1.0}
    found = forecast(shares, rewards, beta=0.1)
    assert found["a"] / found["b"] == pytest.approx(math.exp(2.0))
    assert found["c"] == 0.0
    assert sum(found.values()) == pytest.approx(1.0)
    assert forecast(shares, rewards, beta=1e6)["a"] == pytest.approx(0.5, abs=1e-5)
    assert forecast(shares, rewards, beta=1e-9)["a"] == pytest.approx(1.0)  # no overflow either
    assert forecast(shares, rewards, beta=0.0) == {"a": 1.0, "b": 0.0, "c": 0.0}


def test_skeletons_leave_values_out_and_keep_references() -> None:
    def turn(*calls: Call) -> Message:
        return Message(calls=calls)

    one, other = Call(name="go", arguments={"place": "park"}), Call(name="go", arguments={"place": "home"})
    assert skeleton(turn(one)) == skeleton(turn(other))
    assert skeleton(turn(one)) != skeleton(turn(Call(name="go", arguments={"town": "park"})))
    first = Call(name="find", label="a")
    assert skeleton(turn(first, Call(name="go", arguments={"place": "$a$"}))) != skeleton(turn(first, one))
    renamed = (Call(name="find", label="z"), Call(name="go", arguments={"place": "$z$"}))
    assert skeleton(turn(*renamed)) == skeleton(turn(first, Call(name="go", arguments={"place": "$a$"})))


def test_a_look_adds_up() -> None:
    groups = [
        Group((1,), (drawn(TEXTS["compact"], RIGHT, 1.0, (-1.0, -3.0)), drawn(TEXTS["json"], WRONG, 0.0))),
        Group((1,), (drawn(TEXTS["compact"], WRONG, 0.0), drawn(TEXTS["text"], WRONG, 0.0, (-2.0, -1.0)))),
    ]
    row = described(groups, Tongues("compact", Compact()))
    assert row["shares"] == {"compact": 0.5, "json": 0.25, "text": 0.25}
    assert row["right"] == {"compact": 0.5, "json": 0.0, "text": 0.0}
    assert row["rewards"]["compact"] == 0.5
    assert row["pass_at"] == {"1": 0.25, "2": 0.5}
    assert row["entropy"] == pytest.approx(9 / 6)
    assert row["skeletons"] == 1.0
    assert (row["reward"], row["abstentions"], row["calls"]) == (0.25, 0.25, 0.5)
    assert row["length"] == pytest.approx(6 / 4)


def test_what_cannot_be_graded_is_counted_and_in_no_mean() -> None:
    failed = Drawn(SAMPLE, Reply(failure="out of memory"), (), Verdict(state="not_applicable", score=0.0), None)
    row = described([Group((1,), (drawn(TEXTS["compact"], RIGHT, 1.0), failed))], Tongues("compact", Compact()))
    assert (row["replies"], row["ungraded"], row["reward"]) == (1, 1.0, 1.0)


FIRST = {"shares": {"a": 0.4, "b": 0.6}, "entropy": 1.0, "pass_at": {"1": 0.5, "4": 0.8}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"shares": {"a": 0.81, "b": 0.19}}, "a has gone from 40% to 81%"),
        ({"entropy": 0.24}, "entropy of a token has fallen"),
        ({"entropy": 0.26}, None),
        ({"pass_at": {"1": 0.6, "4": 0.7}}, r"pass@1 rose by 0.10 while pass@4 fell by 0.10"),
        ({"pass_at": {"1": 0.6, "4": 0.9}}, None),
    ],
)
def test_alarms(change: dict[str, object], words: str | None) -> None:
    found = Look(3, {**FIRST, **change}).alarms(FIRST)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_a_dialect_that_ruled_from_the_start_has_not_taken_over() -> None:
    always = {**FIRST, "shares": {"a": 0.95, "b": 0.05}}
    assert Look(3, {**always, "shares": {"a": 1.0}}).alarms(always) == []


class Parrot:
    """Rollouts that say one thing, then another."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def draw(self, samples: list[Sample], step: int) -> list[Group]:
        self.asked.append(step)
        names = ["compact", "json"] if len(self.asked) == 1 else ["compact", "compact"]
        return [Group((1,), tuple(drawn(TEXTS[name], RIGHT, 1.0) for name in names)) for _ in samples]


def test_looks_are_written_once_and_alarms_are_logged(tmp_path) -> None:
    run = Run.open(tmp_path, "train", "grpo", {}, {})
    parrot = Parrot()
    monitor = Monitor([SAMPLE], parrot, Tongues("compact", Compact()), run, 0.1)  # type: ignore[arg-type]
    told: list[str] = []
    for step in (0, 5):
        monitor.look(step, lambda what, *_: told.append(what))
    assert monitor.look(5) is None
    assert len(parrot.asked) == 2
    rows = list(run.rows("monitor"))
    assert [row["step"] for row in rows] == [0, 5]
    assert rows[1]["shares"] == {"compact": 1.0}
    assert rows[1]["forecast"] == {"compact": 0.5, "json": 0.5}  # paid alike at the start
    assert told == rows[1]["alarms"] == ["compact has gone from 50% to 100% of all replies"]
    assert "compact has gone from 50%" in (run.folder / "log.txt").read_text()
    run.close()
