"""Pairing: not greedy, stable, blind to labels; graphs of calls, and the order that counts."""

import time
from itertools import permutations
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from callgrain.core.types import Accept, Answer, Call, Ref
from callgrain.verify.key import pair
from callgrain.verify.verdict import judge_calls
from calls import TOOLS, F, call, kinds, reply, tool

# pairing -------------------------------------------------------------------------------------


def test_the_pairing_is_optimal_and_not_greedy() -> None:
    gold = Answer(calls=(call("f", x=1, y=1), call("f", x=1, y=2)))
    pairs = pair(gold, [call("f", x=1, y=9), call("f", x=1, y=1)], [F]).pairs
    assert pairs == ((0, 1), (1, 0))
    assert kinds(gold, call("f", x=1, y=9), call("f", x=1, y=1)) == ["wrong_value"]


def test_ties_keep_the_calls_in_place() -> None:
    gold = Answer(calls=tuple(call("f", x=i) for i in range(5)))
    given = [call("f", x=100 + i) for i in range(5)]
    assert pair(gold, given, [F]).pairs == tuple((i, i) for i in range(5))
    assert pair(gold, given[:3], [F]).pairs == ((0, 0), (1, 1), (2, 2))
    assert pair(Answer(calls=gold.calls[:2]), given, [F]).pairs == ((0, 0), (1, 1))


@given(
    values=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    spoilt=st.integers(0, 4),
    order=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_a_wrong_value_is_never_missing_and_extra(values: list[int], spoilt: int, order: Random) -> None:
    gold = Answer(calls=tuple(call("f", x=v, y=i) for i, v in enumerate(values)))
    given = list(gold.calls)
    at = spoilt % len(given)
    given[at] = call("f", x=99, y=at)
    order.shuffle(given)
    assert kinds(gold, *given) == ["wrong_value"]


def test_identical_calls_are_as_many_as_asked_for() -> None:
    twice = Answer(calls=(call("f", x=1), call("f", x=1)))
    assert kinds(twice, call("f", x=1), call("f", x=1)) == []
    assert kinds(twice, call("f", x=1)) == ["missing_call"]
    assert kinds(twice, *[call("f", x=1)] * 3) == ["extra_call"]
    assert kinds(Answer(calls=(call("f", x=1),)), *[call("f", x=1)] * 2) == ["extra_call"]


def test_a_flood_of_calls_is_bounded() -> None:
    gold = Answer(calls=tuple(call("f", x=i) for i in range(20)))
    start = time.process_time()
    found = judge_calls(gold, TOOLS, reply(*(call("f", x=-i) for i in range(3000))))
    assert time.process_time() - start < 3
    assert sum(f.kind == "extra_call" for f in found.faults) == 2980


# graphs --------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Call, ...]:
    """A random graph of calls over few tools and values, so that likenesses tie."""
    out: list[Call] = []
    for i in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(["f", "g", "h"]))
        names = {"f": ["x", "y"], "g": ["p", "q"], "h": ["p", "r"]}[name]
        arguments: dict[str, object] = {}
        for parameter in draw(st.lists(st.sampled_from(names), unique=True, max_size=2)):
            ref = st.builds(lambda n, p: f"$c{n}{p}$", st.integers(0, max(0, i - 1)), st.sampled_from(["", ".id"]))
            one = st.integers(0, 2) if i == 0 else st.integers(0, 2) | ref
            arguments[parameter] = draw(st.lists(one, max_size=3) if parameter == "r" else one)
        out.append(Call(name=name, arguments=arguments, label=f"c{i}"))
    return tuple(out)


def relabelled(calls: tuple[Call, ...], rng: Random) -> tuple[Call, ...]:
    """The same graph: other labels, another topological order."""
    new = {f"c{i}": f"n{k}" for i, k in enumerate(rng.sample(range(100), len(calls)))}

    def value(v: object) -> object:
        if isinstance(v, list):
            return [value(item) for item in v]
        ref = Ref.read(v)
        return v if ref is None else str(Ref(label=new[ref.label], path=ref.path))

    def needs(c: Call) -> set[str]:
        flat = [i for v in c.arguments.values() for i in (v if isinstance(v, list) else [v])]
        return {r.label for r in map(Ref.read, flat) if r}

    left, done, out = list(calls), set[str](), []
    while left:
        ready = [c for c in left if needs(c) <= done]
        chosen = rng.choice(ready)
        left.remove(chosen)
        done.add(chosen.label or "")
        arguments = {k: value(v) for k, v in chosen.arguments.items()}
        out.append(Call(name=chosen.name, arguments=arguments, label=new[chosen.label or ""]))
    return tuple(out)


@given(calls=graphs(), rng=st.randoms(use_true_random=False))
@settings(max_examples=600, deadline=None)
def test_a_graph_is_itself_under_other_labels_and_any_topological_order(calls: tuple[Call, ...], rng: Random) -> None:
    verdict = judge_calls(Answer(calls=calls), TOOLS, reply(*relabelled(calls, rng)))
    assert verdict.ok, verdict.faults
    assert verdict.score == 1


def test_producers_of_one_name_are_told_apart_by_what_feeds_them() -> None:
    gold = Answer(calls=(call("f", "a", x=1), call("f", "b", x=2), call("g", "c", p="$a$"), call("g", "d", p="$b$")))
    swapped = (call("f", "u", x=2), call("f", "v", x=1), call("g", "s", p="$u$"), call("g", "t", p="$v$"))
    assert kinds(gold, *swapped) == []
    crossed = Answer(calls=(*gold.calls[:2], call("g", "c", p="$a$", q=1), call("g", "d", p="$b$", q=2)))
    given = (*gold.calls[:2], call("g", p="$b$", q=1), call("g", p="$a$", q=2))
    assert kinds(crossed, *given) == ["wrong_nesting", "wrong_nesting"]


def test_equal_computations_may_stand_for_one_another() -> None:
    twins = (call("f", "a", x=1), call("f", "b", x=1))
    gold = Answer(calls=(*twins, call("g", p="$a$"), call("h", p="$b$")))
    assert kinds(gold, *twins, call("g", p="$a$"), call("h", p="$a$")) == []
    deep = (call("g", "c", p="$a$"), call("g", "d", p="$b$"))
    gold = Answer(calls=(*twins, *deep, call("h", p="$c$")))
    assert kinds(gold, *twins, *deep, call("h", p="$d$")) == []


def test_references_are_judged_by_where_they_lead() -> None:
    gold = Answer(calls=(call("f", "a", x=1), call("g", p="$a.id$")))
    assert kinds(gold, call("f", "a", x=1), call("g", p="$a.name$")) == ["wrong_nesting"]
    assert kinds(gold, call("f", "a", x=1), call("g", p="$b.id$")) == ["broken_reference"]
    assert kinds(gold, call("g", p="$a.id$"), call("f", "a", x=1)) == ["broken_reference"]
    assert kinds(gold, call("f", "a", x=1), call("g", p=7)) == ["wrong_nesting"]
    assert kinds(gold, call("f", "a", x=2), call("g", p="$a.id$")) == ["wrong_value"]
    whole = Answer(calls=(call("f", "a", x=1), call("g", p="$a$")))
    assert kinds(whole, call("f", "a", x=1), call("g", p="$a.result$")) == []
    lenient = whole.model_copy(update={"accepts": {"1.p": Accept(values=(1, "one"))}})
    assert kinds(lenient, call("f", "a", x=1), call("g", p="one")) == []
    assert kinds(lenient, call("f", "a", x=1), call("g", p=True)) == ["wrong_nesting"]


def test_order_counts_only_where_the_answer_says_so() -> None:
    a, b, c = call("f", x=1), call("g", p=2), call("h", p=3)
    free, chain, partly = (
        Answer(calls=(a, b, c)),
        Answer(calls=(a, b, c), ordered=True),
        Answer(calls=(a, b, c), before=((0, 2),)),
    )
    assert kinds(free, c, b, a) == []
    assert kinds(chain, a, b, c) == []
    assert kinds(chain, b, a, c) == ["wrong_order"]
    assert kinds(chain, c, b, a) == ["wrong_order", "wrong_order"]
    assert kinds(partly, b, a, c) == []
    assert kinds(partly, c, b, a) == ["wrong_order"]
    assert kinds(chain, b, c) == ["missing_call"]
    assert set(kinds(chain, c, a)) == {"missing_call", "wrong_order"}


def test_the_best_of_several_right_answers_counts() -> None:
    ways = Answer(
        calls=(call("f", x=1),), instead=(Answer(calls=(call("g", p=2, q=2),)), Answer(calls=(call("h", p=3),)))
    )
    assert kinds(ways, call("h", p=3)) == []
    assert kinds(ways, call("g", p=2, q=9)) == ["wrong_value"]
    assert kinds(ways, call("f", x=5)) == ["wrong_value"]
    assert judge_calls(ways, TOOLS, reply(call("g", p=2, q=9))).score == pytest.approx(2 / 3)


def test_what_feeds_a_call_is_told_apart_inside_lists_too() -> None:
    gold = Answer(calls=(call("f", "a", x=1), call("f", "b", x=2), call("h", r=["$a$", 5])))
    assert kinds(gold, call("f", "a", x=2), call("f", "b", x=1), call("h", r=["$b$", 5])) == []
    # the same letters, but they lead to the other call
    assert kinds(gold, call("f", "a", x=2), call("f", "b", x=1), call("h", r=["$a$", 5])) == ["wrong_value"]
    assert kinds(gold, call("f", "a", x=1), call("f", "b", x=2), call("h", r=["$a$", True])) == ["wrong_value"]
    deep = Answer(calls=(call("f", "a", x=1), call("f", "b", x=2), call("h", p={"k": [{"v": "$a$"}]})))
    assert kinds(deep, call("f", "m", x=1), call("f", "n", x=2), call("h", p={"k": [{"v": "$m$"}]})) == []
    assert kinds(deep, call("f", "b", x=1), call("f", "a", x=2), call("h", p={"k": [{"v": "$a$"}]})) == ["wrong_value"]


@pytest.mark.parametrize(("mode", "more"), [("unordered", []), ("subset", ["$n$"]), ("subset", [7])])
def test_modes_of_lists_hold_for_references(mode: str, more: list[object]) -> None:
    calls = (call("f", "a", x=1), call("f", "b", x=2), call("h", r=["$a$", "$b$"]))
    gold = Answer(calls=calls, accepts={"2.r": Accept(mode=mode)})
    made = (call("f", "m", x=1), call("f", "n", x=2))
    assert kinds(gold, *made, call("h", r=["$n$", *more, "$m$"])) == []
    assert kinds(gold, *made, call("h", r=["$n$", *more, "$n$"])) == ["wrong_value"]


def test_what_else_is_accepted_is_part_of_a_computation() -> None:
    """Two producers are interchangeable only where the same values are right for both."""
    users = (call("g", p="$a$", q=1), call("g", p="$b$", q=2))
    crossed = (call("g", p="$n$", q=1), call("g", p="$m$", q=2))
    twins = (call("f", "a", x=1), call("f", "b", x=1))
    wider = Answer(calls=(*twins, *users), accepts={"0.x": Accept(values=(2,))})
    assert kinds(wider, call("f", "m", x=2), call("f", "n", x=1), *crossed) == ["wrong_nesting", "wrong_nesting"]
    mirrored = Answer(
        calls=(call("f", "a", x=1), call("f", "b", x=2), *users),
        accepts={"0.x": Accept(values=(2,)), "1.x": Accept(values=(1,))},
    )
    assert kinds(mirrored, call("f", "m", x=1), call("f", "n", x=2), *crossed) == []
    truth = Answer(calls=(call("f", "a", x=1), call("f", "b", x=True), *users))
    assert len(kinds(truth, call("f", "m", x=1), call("f", "n", x=True), *crossed)) == 2
    assert kinds(truth, call("f", "n", x=True), call("f", "m", x=1), *reversed(crossed)) != []


def test_a_text_that_only_looks_like_a_reference_is_itself() -> None:
    for value in ("$HOME$", ["$HOME$", 1]):
        gold = Answer(calls=(call("f", x=value), call("g", p=1)))
        assert kinds(gold, *gold.calls) == []
        assert kinds(gold, call("g", p=1), call("f", x=value)) == []
        assert kinds(gold, call("f", x="$PATH$"), call("g", p=1)) == ["broken_reference"]
        assert kinds(gold, call("f", "HOME", x=1), call("f", x=value), call("g", p=1)) != []


# order ---------------------------------------------------------------------------------------


def test_an_order_holds_for_whichever_of_equal_calls_keeps_it() -> None:
    gold = Answer(calls=(call("f", x=1), call("f", x=1), call("g", p=1)), before=((1, 2),))
    f, g = call("f", x=1), call("g", p=1)
    assert kinds(gold, f, g, f) == []
    assert kinds(gold, f, f, g) == []
    assert kinds(gold, g, f, f) == ["wrong_order"]
    wider = Answer(calls=gold.calls, before=gold.before, accepts={"0.x": Accept(values=(2,))})
    assert kinds(wider, f, g, f) == []
    assert kinds(wider, f, g, call("f", x=2)) == []
    assert kinds(wider, call("f", x=2), g, f) == ["wrong_order"]


def test_equal_computations_change_places_only_where_references_allow() -> None:
    gold = Answer(
        calls=(call("f", "a", x=1), call("f", "b", x=1), call("g", p="$a$"), call("h", p=1)), before=((1, 3),)
    )
    assert kinds(gold, call("f", "m", x=1), call("h", p=1), call("f", "n", x=1), call("g", p="$m$")) == []
    assert kinds(gold, call("h", p=1), call("f", "m", x=1), call("f", "n", x=1), call("g", p="$m$")) == ["wrong_order"]


@st.composite
def ordered_answers(draw: st.DrawFn) -> tuple[Answer, list[Call]]:
    """Few different calls, so that many are equal, with a partial order; and the same calls, shuffled."""
    n = draw(st.integers(2, 5))
    calls = tuple(call(draw(st.sampled_from("fg")), x=1, p=1) for _ in range(n))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    before = tuple(draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)))
    return Answer(calls=calls, before=before), draw(st.permutations(calls))


@given(case=ordered_answers())
@settings(max_examples=300, deadline=None)
def test_an_order_is_kept_exactly_where_some_naming_of_equal_calls_keeps_it(case: tuple[Answer, list[Call]]) -> None:
    answer, have = case
    kept = any(
        all(answer.calls[i] == have[at[i]] for i in range(len(have))) and all(at[i] < at[j] for i, j in answer.before)
        for at in permutations(range(len(have)))
    )
    event(f"kept: {kept}")
    found = judge_calls(answer, (tool("f", x={}, p={}), tool("g", x={}, p={})), reply(*have))
    assert found.ok == kept
    assert {f.kind for f in found.faults} <= {"wrong_order"}


def test_the_search_for_an_order_is_bounded() -> None:
    n = 60
    calls = (*[call("f", x=1)] * n, call("g", p=1))
    gold = Answer(calls=calls, before=tuple((i, n) for i in range(n)))
    start = time.process_time()
    assert set(kinds(gold, *calls[:-2], calls[-1], calls[0])) == {"wrong_order"}
    assert time.process_time() - start < 2
