"""Ways to be right: any of them is enough, all parts of one are due, and nothing else is right."""

from itertools import permutations, product
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from callgrain.core.types import Accept, Answer, Call, Reply
from callgrain.verify.verdict import judge_branch, judge_calls
from callgrain.verify.ways import WAYS_LIMIT, all_of, any_of, ways
from calls import TOOLS, call, kinds, reply
from test_match import graphs, relabelled


def f(x: object) -> Call:
    return call("f", x=x)


def one(*calls: Call, **more: object) -> Answer:
    return Answer(calls=calls, **more)


# any of --------------------------------------------------------------------------------------


def test_any_of_is_right_in_each_way_and_in_no_mixture() -> None:
    either = any_of(one(f(1), call("g", p=1)), one(f(2), call("g", p=2)), one(call("h", p=3)))
    assert kinds(either, f(1), call("g", p=1)) == []
    assert kinds(either, call("g", p=2), f(2)) == []
    assert kinds(either, call("h", p=3)) == []
    assert kinds(either, f(1), call("g", p=2)) == ["wrong_value"]
    assert kinds(either, f(1)) == ["missing_call"]
    assert any_of(any_of(one(f(1)), one(f(2))), one(f(3))) == any_of(one(f(1)), one(f(2)), one(f(3)))
    assert any_of(one(f(1))) == one(f(1))


def test_what_is_nested_in_instead_counts_too() -> None:
    deep = any_of(one(f(1)), any_of(one(f(2)), any_of(one(f(3)), one(f(4)))))
    assert [way.calls[0].arguments["x"] for way in ways(deep)] == [1, 2, 3, 4]
    assert [kinds(deep, f(x)) for x in range(1, 6)] == [[], [], [], [], ["wrong_value"]]


def test_the_number_of_ways_is_bounded() -> None:
    wide = any_of(*(one(f(i)) for i in range(3 * WAYS_LIMIT)))
    assert len(ways(wide)) == WAYS_LIMIT
    assert kinds(wide, f(WAYS_LIMIT - 1)) == []
    assert kinds(wide, f(WAYS_LIMIT)) == ["wrong_value"]
    deep = one(f(0))
    for i in range(1, 3 * WAYS_LIMIT):
        deep = any_of(one(f(i)), deep)
    assert len(ways(deep)) == WAYS_LIMIT
    assert ways(deep)[0] is deep
    joined = all_of(*(any_of(one(f(2 * i)), one(f(2 * i + 1))) for i in range(12)))
    assert len(joined.instead) == WAYS_LIMIT - 1
    assert kinds(joined, *(f(2 * i) for i in range(12))) == []


# all of --------------------------------------------------------------------------------------


@st.composite
def parts(draw: st.DrawFn) -> tuple[list[Answer], list[Call]]:
    """Up to three answers of up to two ways each, few different calls in all; and some calls."""
    calls = st.builds(lambda name, x: call(name, x=x, p=1), st.sampled_from("fg"), st.integers(1, 3))
    accept = st.dictionaries(st.sampled_from(["0.x", "1.x"]), st.builds(Accept, values=st.just((3,))), max_size=1)
    way = st.builds(
        lambda made, kept, accepts: Answer(calls=tuple(made), ordered=kept, accepts=accepts),
        st.lists(calls, min_size=1, max_size=2),
        st.booleans(),
        accept,
    )
    answers = draw(st.lists(st.lists(way, min_size=1, max_size=2).map(lambda w: any_of(*w)), min_size=1, max_size=3))
    have = [c for answer in answers for c in draw(st.sampled_from(ways(answer))).calls][:5]
    if draw(st.booleans()):
        have = draw(st.permutations(have))
    if draw(st.integers(0, 3)) == 0:
        have[draw(st.integers(0, len(have) - 1))] = draw(calls)
    return answers, list(have)


def right(answers: list[Answer], have: list[Call]) -> bool:
    """By trying everything: each part in some way, each call of it some given call of its own."""
    for combination in product(*map(ways, answers)):
        wants = [(n, i) for n, way in enumerate(combination) for i in range(len(way.calls))]
        if len(wants) != len(have):
            continue
        for places in permutations(range(len(have))):
            at = dict(zip(wants, places, strict=True))
            fits = all(
                have[at[n, i]].name == combination[n].calls[i].name
                and have[at[n, i]].arguments["x"]
                in (
                    combination[n].calls[i].arguments["x"],
                    *combination[n].accepts.get(f"{i}.x", Accept()).values,
                )
                for n, i in wants
            )
            if fits and all(at[n, i - 1] < at[n, i] for n, i in wants if i and combination[n].ordered):
                return True
    return False


@given(case=parts())
@settings(max_examples=500, deadline=None)
def test_all_of_is_right_exactly_where_trying_everything_says_so(case: tuple[list[Answer], list[Call]]) -> None:
    answers, have = case
    want = right(answers, have)
    event(f"right: {want}")
    assert judge_calls(all_of(*answers), TOOLS, reply(*have)).ok == want
    if len(answers) > 1:
        assert judge_calls(all_of(answers[0], all_of(*answers[1:])), TOOLS, reply(*have)).ok == want
        assert judge_calls(all_of(*reversed(answers)), TOOLS, reply(*have)).ok == want


@given(first=graphs(), second=graphs(), rng=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_parts_with_the_same_labels_keep_their_references_apart(
    first: tuple[Call, ...], second: tuple[Call, ...], rng: Random
) -> None:
    both = all_of(one(*first), one(*second))
    a, b = relabelled(first, rng), relabelled(second, rng)
    b = tuple(c.model_copy(update={"label": f"z{c.label}", "arguments": led(c.arguments, "z")}) for c in b)
    turns = [a] * len(a) + [b] * len(b)
    rng.shuffle(turns)
    left = {id(a): list(a), id(b): list(b)}
    have = [left[id(turn)].pop(0) for turn in turns]
    verdict = judge_calls(both, TOOLS, reply(*have))
    assert verdict.ok, verdict.faults


def led(value: object, mark: str) -> object:
    """The value with every reference's label marked."""
    if isinstance(value, dict):
        return {k: led(v, mark) for k, v in value.items()}
    if isinstance(value, list):
        return [led(v, mark) for v in value]
    return f"${mark}{value[1:]}" if isinstance(value, str) and value[:1] == "$" else value


def test_a_reference_into_the_other_part_is_wrong() -> None:
    part = one(call("f", "a", x=1), call("g", p="$a$", q=1)), one(call("f", "a", x=2), call("g", p="$a$", q=2))
    both = all_of(*part)
    m, n = call("f", "m", x=1), call("f", "n", x=2)
    assert kinds(both, n, m, call("g", p="$m$", q=1), call("g", p="$n$", q=2)) == []
    assert kinds(both, n, m, call("g", p="$n$", q=1), call("g", p="$m$", q=2)) == ["wrong_nesting"] * 2
    lists = all_of(one(call("f", "a", x=1), call("h", p={"k": ["$a$"]})), part[1])
    assert kinds(lists, m, n, call("h", p={"k": ["$m$"]}), call("g", p="$n$", q=2)) == []
    assert kinds(lists, m, n, call("h", p={"k": ["$n$"]}), call("g", p="$n$", q=2)) == ["wrong_value"]


def test_labels_may_be_as_long_as_they_can_be_and_stand_twice() -> None:
    label = "l" * 64
    part = one(call("f", label, x=1), call("g", p=f"${label}$"))
    assert kinds(all_of(part, one(call("h", p=1))), *part.calls, call("h", p=1)) == []
    twice = one(call("f", "a", x=1), call("f", "a", x=2), call("g", p="$a$"))
    assert kinds(all_of(one(call("h", p=1)), twice), *twice.calls, call("h", p=1)) == kinds(twice, *twice.calls) == []
    assert kinds(all_of(twice), call("f", x=1), call("f", "b", x=2), call("g", p="$b$")) == ["wrong_nesting"]


def test_what_speaks_of_no_call_of_a_part_speaks_of_no_other() -> None:
    first = one(f(1), accepts={"1.p": Accept(values=(7,)), "x": Accept(), "0.x": Accept(values=(8,))}, before=((0, 1),))
    both = all_of(first, one(call("g", p=1)))
    assert kinds(both, call("g", p=1), f(8)) == []
    assert kinds(both, f(1), call("g", p=7)) == ["wrong_value"]
    late = all_of(one(call("g", p=1)), first)
    assert kinds(late, f(8), call("g", p=1)) == []


def test_nothing_joined_asks_for_nothing() -> None:
    assert all_of() == Answer()
    assert ways(all_of()) == (Answer(),)
    assert kinds(all_of(one(f(1)))) == ["missed_call"]
    assert kinds(all_of(one(f(1))), f(1)) == []


# branches ------------------------------------------------------------------------------------

DECISIONS = {"call": reply(f(1)), "ask": reply(text="ASK which?"), "decline": reply(text="DECLINE")}
DECISIONS["answer"] = reply(text="It is 5.")


@pytest.mark.parametrize("first", DECISIONS)
@pytest.mark.parametrize("second", DECISIONS)
def test_a_branch_is_right_where_it_is_one_of_the_ways(first: str, second: str) -> None:
    either = any_of(Answer(decision=first, calls=DECISIONS[first].message.calls), Answer(decision=second))
    for taken, said in DECISIONS.items():
        found = judge_branch(either, said)
        assert found.ok == (taken in (first, second)), (taken, found.faults)
        assert found.ok or found.first.where == ""
        assert found.ok or (found.first.expected, found.first.given) == (first, taken)


def test_calling_is_right_only_with_the_right_calls_where_declining_would_be_too() -> None:
    for either in (any_of(Answer(decision="decline"), one(f(1))), any_of(one(f(1)), Answer(decision="decline"))):
        assert kinds(either, f(1)) == []
        assert kinds(either, f(2)) == ["wrong_value"]
        assert kinds(either, f(1), f(1)) == ["extra_call"]
        assert judge_calls(either, TOOLS, reply(text="DECLINE")).ok
        assert not judge_calls(either, TOOLS, reply(text="It is 5.")).ok
    neither = any_of(Answer(decision="decline"), Answer(decision="ask"))
    assert kinds(neither, f(1)) == ["needless_call"]


def test_a_reply_that_cannot_be_read_is_right_in_no_way() -> None:
    either = any_of(Answer(decision="decline"), one(f(1)))
    for judge in (judge_branch, lambda a, r: judge_calls(a, TOOLS, r)):
        assert [x.kind for x in judge(either, Reply(text="[", fault={"kind": "truncated"})).faults] == ["truncated"]
        assert judge(either, Reply(failure="timeout")).state == "not_applicable"
        assert judge(either, Reply()).state == "grader_error"
