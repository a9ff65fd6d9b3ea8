"""Rewards: what a verdict is worth, the published shapes by hand, and policies that do not try."""

import itertools
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.protocols import SubTask
from callgrain.core.types import Answer, Call, Message, Origin, Prompt, Reply, Sample, Tool, Verdict
from callgrain.sources._open import open_source
from callgrain.verify._published import tool_n1_like, tool_n1_plain_like, toolrl_like
from callgrain.verify.faults import KINDS, LEVELS, TABLE, by_level, fault
from callgrain.verify.policies import POLICIES, SLACK, Row, level, suite
from callgrain.verify.reward import REWARDS, WORTH, binary, execution_state, graded, strict_json
from callgrain.verify.spoil import right, spoil
from callgrain.verify.verdict import judge_calls, verdict

OURS = {name: reward for name, reward in REWARDS.items() if not reward.published}
TASKS: dict[str, SubTask] = {name: plugins.load("subtasks", name)() for name in plugins.names("subtasks")}
WHOLE = ("full", "next_call", "slots", "parallel", "chain", "nest")
"""Sub-tasks in which all of a call counts: what the published shapes were made for."""


def f(name: str = "f", **arguments: object) -> Call:
    return Call(name=name, arguments=arguments)


def sample(*calls: Call, decision: str = "call") -> Sample:
    tools = tuple(Tool(name=n, parameters={"properties": {key: {} for key in "abxy"}}) for n in "fgh")
    return Sample(
        subtask="full",
        prompt=Prompt(messages=(Message(role="user", text="?"),), tools=tools),
        answer=Answer(decision=decision if not calls else "call", calls=calls, text="" if calls else "DECLINE"),
        origin=Origin(dataset="d", row="1", licence="none"),
    )


def reply(*calls: Call, text: str = "") -> Reply:
    return Reply(text=text, message=Message(calls=calls, text=text))


def judged(gold: Sample, given: Reply) -> Verdict:
    return judge_calls(gold.answer, gold.prompt.tools, given)


# ours ----------------------------------------------------------------------------------------


def test_what_cannot_be_graded_has_no_reward() -> None:
    for state in ("not_applicable", "grader_error"):
        for name, reward in REWARDS.items():
            assert reward.of(sample(f(x=1)), Reply(failure="down"), Verdict(state=state, score=0.0)) is None, name


def test_the_further_a_reply_gets_the_more_it_earns() -> None:
    gold = sample(f(x=1, y=2), f("g", a=1))
    replies = [
        reply(text="Done."),
        Reply(text="[{", fault=fault("truncated")),
        reply(f("h", x=1, y=2), f("g", a=1)),
        reply(f(x=9, y=9), f("g", a=9)),
        reply(f(x=9, y=2), f("g", a=1)),
        reply(*gold.answer.calls),
    ]
    earned = [graded(judged(gold, r)) or 0.0 for r in replies]
    assert earned == sorted(earned)
    assert len(set(earned)) == len(earned)
    assert earned[0] == 0
    assert earned[1] == pytest.approx(0.02)
    # two names and two of three arguments right: 4 of 5 leaves
    assert earned[4] == pytest.approx(0.15 + 0.45 * 4 / 5)
    assert earned[5] == 1


def test_calls_too_many_earn_nothing() -> None:
    gold = sample(f(x=1))
    once, twice = judged(gold, reply(f(x=1), f(x=1))), judged(gold, reply(*[f(x=1)] * 3))
    assert [x.kind for x in once.faults] == ["extra_call"]
    assert graded(once) == pytest.approx((0.05 + 0.1 * 2 / 4) / 2)
    assert graded(twice) == 0
    assert graded(judged(gold, reply(*[f("h")] * 500))) == 0
    assert graded(judged(gold, reply(f("nope", x=1), f("nope2")))) == pytest.approx(0.05 / 2)


def test_strict_json_takes_no_near_miss() -> None:
    broken = verdict([fault("wrong_shape")], 0.0)
    assert graded(broken) == pytest.approx(0.02)
    assert strict_json(broken) == 0
    wrong = judged(sample(f(x=1)), reply(f(x=2)))
    assert strict_json(wrong) == graded(wrong) == pytest.approx(0.15 + 0.45 / 2)


def test_execution_counts_where_the_tools_run_and_is_not_bought_by_a_lenient_tool() -> None:
    wrong = fault("wrong_value", "calls.0.arguments.x", 1, 2)
    assert execution_state(verdict([wrong], 0.5, win=1.0)) == 1
    assert execution_state(verdict([wrong], 0.5, win=0.0)) == 0
    assert execution_state(verdict([wrong], 0.5)) == 0
    assert execution_state(verdict([fault("wrong_type", "calls.0.arguments.x")], 0.5, win=1.0)) == 0
    assert execution_state(verdict([fault("extra_call", "calls.1")], 0.5, win=1.0)) == 0.5
    assert execution_state(verdict([fault("extra_call", f"calls.{i}") for i in (1, 2)], 0.5, win=1.0)) == 0
    assert execution_state(Verdict()) == 1


def test_a_written_reply_that_says_nothing_earns_next_to_nothing() -> None:
    empty = verdict([fault("incomplete_response", "text", "5")], 0.5, coverage=0.0, grounding=1.0)
    half = verdict([fault("incomplete_response", "text", "5")], 0.75, coverage=0.5, grounding=1.0)
    assert graded(empty) == pytest.approx(0.05)
    assert graded(half) == pytest.approx(0.05 + 0.85 / 2)


def test_levels_are_worth_more_the_later_they_come() -> None:
    assert tuple(WORTH) == LEVELS
    for (_, high), (low, top) in itertools.pairwise(WORTH[name] for name in LEVELS[:-1]):
        assert high <= low <= top < 1


made = st.builds(
    lambda kind, index, whole: fault(kind, f"calls.{index}" + ("" if whole else ".name")),
    st.sampled_from(KINDS),
    st.integers(0, 3),
    st.booleans(),
)


@given(
    faults=st.lists(made, min_size=1, max_size=6),
    score=st.floats(0, 0.99),
    figures=st.sampled_from([{}, {"win": 1.0}, {"win": 0.0}, {"coverage": 0.5, "grounding": 0.3}]),
    out=st.integers(0, 5),
)
@settings(max_examples=500, deadline=None)
def test_taking_a_fault_away_never_lowers_a_reward(
    faults: list, score: float, figures: dict[str, float], out: int
) -> None:
    before = Verdict(faults=by_level(faults), score=score, measures=figures)
    fewer = [x for i, x in enumerate(faults) if i != out % len(faults)]
    after = Verdict(faults=by_level(fewer), score=score if fewer else 1.0, measures=figures)
    for shape in (binary, graded, strict_json, execution_state):
        low, high = shape(before), shape(after)
        assert 0 <= (low or 0.0) <= (high or 0.0) <= 1
    assert (graded(before) or 0.0) < 1
    assert binary(before) == 0


# the published shapes, by hand ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "want"),
    [
        ((f(x=1, y=2),), 4.0),
        ((f(x=1, y=3),), 1 + 6 * (1 + 1 + 1) / 4 - 3),
        ((f("g", x=1, y=2),), 1 - 3.0),
        ((), -3.0),
        ((f(x=1, y=2), f("g")), 1 + 6 * (1 / 2 + 1 + 2) / 4 - 3),
        ((f(x=1, y=2), f(x=1, y=2)), 1 + 6 * (1 / 2 + 1 + 2) / 4 - 3),
        ((f(x=1, y=2, a=3),), 1 + 6 * (1 + 2 / 3 + 2) / 4 - 3),
        ((f(x=True, y=2.0),), 4.0),
    ],
)
def test_toolrl_by_hand(calls: tuple[Call, ...], want: float) -> None:
    """One gold call of two arguments: the most that can match is 1 + 1 + 2."""
    assert toolrl_like(sample(f(x=1, y=2)), reply(*calls)) == pytest.approx(want)


def test_toolrl_matches_greedily_in_the_order_of_the_gold() -> None:
    gold = sample(f(a=1), f(a=1, b=2))
    given = reply(f(a=1, b=2), f(a=2))
    # the first gold call takes the second's own: 1 (names) + 1.5 + 0.5 of 1 + 2 + 3; the best pairing has 1 + 1 + 3
    assert toolrl_like(gold, given) == pytest.approx(1 + 6 * 3 / 6 - 3)


def test_toolrl_pays_next_to_the_same_for_a_call_where_none_is_due() -> None:
    gold = sample(decision="decline")
    assert toolrl_like(gold, reply(text="DECLINE")) == 1
    assert toolrl_like(gold, reply(text="Paris, surely.")) == 1
    assert toolrl_like(gold, reply(f(x=1))) == 0
    assert toolrl_like(gold, Reply(text="[{", fault=fault("truncated"))) == 0
    assert toolrl_like(sample(f(x=1)), Reply(text="[{", fault=fault("truncated"))) == -3


def test_tool_n1_by_hand() -> None:
    gold = sample(f(x=1, y="a"), f("g"))
    assert tool_n1_like(gold, reply(f("g"), f(y="a", x=1))) == 1
    assert tool_n1_like(gold, reply(f("g"), f(y="a", x=1.0))) == 0
    assert tool_n1_like(gold, reply(f("g"), f(y="a", x="1"))) == 0
    assert tool_n1_like(gold, reply(f("g"))) == 0
    assert tool_n1_like(gold, reply(*gold.answer.calls, f("g"))) == 0
    none = sample(decision="decline")
    assert tool_n1_like(none, reply(text="DECLINE")) == 0
    assert tool_n1_like(none, reply(text="[]")) == 1
    assert tool_n1_plain_like(none, reply(text="DECLINE")) == 1
    assert tool_n1_plain_like(none, reply(text="ASK Which one?")) == 1
    assert tool_n1_plain_like(none, reply(f("g"))) == 0
    assert tool_n1_plain_like(none, Reply(text="[{", fault=fault("truncated"))) == 0


def test_hostile_arguments_are_worth_nothing_and_break_nothing() -> None:
    deep: object = 1
    for _ in range(50_000):
        deep = [deep]
    for value in (deep, 10**20_000, "\ud800", float("nan"), "x" * 1_000_000):
        for gold in (sample(f(x=1)), sample(decision="decline")):
            given = reply(f(x=value), f(x=value))
            found = judged(gold, given)
            for name, reward in REWARDS.items():
                earned = reward.share(reward.of(gold, given, found) or 0.0)
                assert 0 <= earned < 1, name


# spoiled replies and policies ----------------------------------------------------------------


def grade(one: Sample, given: Reply) -> Verdict:
    return TASKS[one.subtask].grade(one, given)


@pytest.fixture(scope="module")
def pool() -> list[Sample]:
    """Samples of every sub-task from both worlds of toolworld."""
    out: list[Sample] = []
    for spec in ("toolworld:full", "toolworld:micro"):
        source, split = open_source(spec)
        for trace in itertools.islice(source.traces(split), 24):
            for name, task in TASKS.items():
                out += task.samples(trace, Random(text_key("reward", name, trace.key)))
    assert {s.subtask for s in out} == set(TASKS)
    assert {s.answer.decision for s in out} == {"call", "ask", "decline", "answer"}
    return out


def test_a_spoiled_reply_earns_less_than_the_right_one(pool: list[Sample]) -> None:
    made: Counter[str] = Counter()
    won: Counter[str] = Counter()
    for one in pool:
        best = grade(one, right(one))
        assert [r.of(one, right(one), best) for r in OURS.values()] == [1.0] * len(OURS)
        for kind in TASKS[one.subtask].kinds:
            given = spoil(kind, one, Random(text_key(kind, one.key)))
            if given is None:
                continue
            found = grade(one, given)
            made[kind] += 1
            for name, reward in OURS.items():
                value = reward.of(one, given, found)
                assert value is not None
                if name == "execution_state" and found.measures.get("win") == 1.0 and value == 1:
                    won[kind] += 1  # another way to the same result: right by its own measure
                    continue
                assert value < 1, (name, kind)
                assert value <= 0.02 or TABLE[kind].level not in ("decision", "form"), (name, kind)
    assert made.total() > 1_500
    assert set(made) >= set(KINDS) - {"missed_question"}
    assert won.total() < 0.1 * made.total()
    assert not set(won) & {"extra_call", "wrong_type", "unknown_tool", "missed_call"}


@pytest.fixture(scope="module")
def rows(pool: list[Sample]) -> list[Row]:
    return suite(pool, grade, OURS)


@pytest.fixture(scope="module")
def published(pool: list[Sample]) -> list[Row]:
    others = {name: reward for name, reward in REWARDS.items() if reward.published}
    policies = [name for name in POLICIES if name != "flood"]
    return suite([s for s in pool if s.subtask in WHOLE], grade, others, policies)


def test_our_rewards_hold_their_stated_levels(rows: list[Row]) -> None:
    assert len(rows) == len(POLICIES) * len(OURS)
    assert [(r.policy, r.reward, r.failing, r.value, r.level) for r in rows if r.failing] == []
    by = {(r.policy, r.reward): r for r in rows}
    assert all(by["key", name].value == 1 for name in OURS)
    assert all(by[p, "binary"].value == pytest.approx(by[p, "binary"].due) for p in POLICIES)
    # what is paid to a flood and to repetition is their due alone
    for policy, name in itertools.product(("flood", "duplicate_call"), OURS):
        assert by[policy, name].value == pytest.approx(by[policy, name].due)


def test_the_levels_say_something(rows: list[Row]) -> None:
    assert set(SLACK) == set(POLICIES)
    assert level("flood", 0.25) == 0.25
    assert level("wrong_type", 0.5) == pytest.approx(0.8)
    untaught = [r for r in rows if r.policy not in ("key", "wrong_type")]
    assert max(r.level for r in untaught) < 0.35


def test_the_published_shapes_fail_exactly_where_their_holes_are(published: list[Row]) -> None:
    failing = {(r.reward, r.policy, r.failing) for r in published if r.failing}
    much, little = "too much", "too little"
    toolrl = {("toolrl_like", p, much) for p in set(POLICIES) - {"flood", "key", "empty_list", "long_text"}}
    toolrl |= {("toolrl_like", p, little) for p in ("key", "empty_list", "long_text")}
    qwen = {("tool_n1_like", "empty_list", much)}
    qwen |= {("tool_n1_like", p, little) for p in ("key", "always_decline", "always_ask", "long_text")}
    llama = {("tool_n1_plain_like", p, much) for p in ("empty_list", "always_decline", "always_ask", "long_text")}
    assert failing == toolrl | qwen | llama


def test_policies_do_the_same_twice(pool: list[Sample]) -> None:
    for name, policy in POLICIES.items():
        assert policy(pool[0], Random(1)) == policy(pool[0], Random(1)), name
