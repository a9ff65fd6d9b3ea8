"""Pairing: optimal, stable, blind to labels; and the quick ways to a verdict agree with it."""

import time
from collections import Counter
from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from callgrain.core.types import Accept, Answer, Call, Fault, Ref, Verdict
from callgrain.verify.faults import TABLE, by_level
from callgrain.verify.judge import Judgement, _by_pairing, _by_place, _with_a_gap, judge
from callgrain.verify.key import Key, pair
from callgrain.verify.match import PAIR_LIMIT
from callgrain.verify.verdict import is_right, judge_calls
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


# the quick ways ------------------------------------------------------------------------------

MIXED = (
    tool("f", x={}, y={"default": 1}, z={"type": "integer", "minimum": 0}),
    tool("g", p={"type": "string", "enum": ["a", "b"]}, q={"default": "a"}),
    tool("h", x={"type": "array", "items": {"type": "integer"}}),
)
VALUES = st.sampled_from([1, 2, True, "1", "a", "b", -1, [1], [1, "x"], None, "$c$", 1.0])
PARAMETERS = st.sampled_from(["x", "y", "z", "p", "q", "w"])
ARGUMENTS = st.dictionaries(PARAMETERS, VALUES, max_size=3)
ACCEPTS = st.builds(
    Accept,
    values=st.lists(VALUES.filter(lambda v: v != "$c$"), max_size=2).map(tuple),
    omissible=st.booleans(),
    mode=st.sampled_from(["exact", "exact", "exact", "normalised", "any"]),
)
PLAIN = st.dictionaries(PARAMETERS, VALUES.filter(lambda v: v != "$c$"), max_size=3)
MADE = st.builds(Call, name=st.sampled_from(["f", "f", "g", "h", "u"]), arguments=ARGUMENTS)


@st.composite
def held_against(draw: st.DrawFn, least: int = 0, most: int = 5) -> tuple[Answer, list[Call]]:
    """An answer without references, and calls that are more or less like its own."""
    made = st.builds(Call, name=st.sampled_from(["f", "f", "g", "h", "u"]), arguments=PLAIN)
    calls = draw(st.lists(made, min_size=1, max_size=most))
    if draw(st.booleans()):
        calls.append(draw(st.sampled_from(calls)))
    places = st.builds(lambda i, p: f"{i}.{p}", st.integers(0, len(calls)), PARAMETERS)
    answer = Answer(calls=tuple(calls), accepts=draw(st.dictionaries(places, ACCEPTS, max_size=4)))
    have = list(calls)
    for _ in range(draw(st.integers(0, 3))):
        what, at = draw(st.sampled_from(["change", "drop", "add", "swap", "twice", "name"])), draw(st.integers(0, 9))
        at %= max(1, len(have))
        if what == "add" or not have:
            have.insert(at, draw(MADE))
        elif what == "drop":
            del have[at]
        elif what == "twice":
            have.append(have[at])
        elif what == "name":
            have[at] = have[at].model_copy(update={"name": draw(st.sampled_from(["f", "g", "u"]))})
        elif what == "swap":
            have[at], have[0] = have[0], have[at]
        else:
            have[at] = have[at].model_copy(update={"arguments": {**have[at].arguments, **draw(ARGUMENTS)}})
    return answer, have


def leads_somewhere(found: Fault, answers: tuple[Answer, ...], have: list[Call]) -> bool:
    """Whether `where` is a path into the given calls, or the expected ones for what is missing."""
    head, _, rest = found.where.partition(".")
    index, _, rest = rest.partition(".")
    if head != "calls" or not index.isdecimal():
        return False
    if found.kind == "missing_call":
        return rest == "" and any(int(index) < len(a.calls) for a in answers)
    if int(index) >= len(have):
        return False
    if found.kind in ("extra_call", "unknown_tool", "wrong_tool", "wrong_order") and rest in ("", "name"):
        return True
    part, _, parameter = rest.partition(".")
    if found.kind == "missing_argument":
        return parameter not in have[int(index)].arguments
    return part == "arguments" and parameter.split(".")[0] in have[int(index)].arguments


def is_sound(verdict: Verdict, answer: Answer, have: list[Call]) -> None:
    """What holds of every verdict on calls."""
    assert (verdict.score == 1) == verdict.ok == (not verdict.faults)
    assert 0 <= verdict.score <= 1
    assert verdict.faults == by_level(verdict.faults)
    assert all(f.kind in TABLE for f in verdict.faults)
    assert all(leads_somewhere(f, (answer, *answer.instead), have) for f in verdict.faults), verdict.faults
    assert verdict.key  # it can be written
    names = list(TABLE)
    assert verdict.first is None or names.index(verdict.first.kind) == min(names.index(f.kind) for f in verdict.faults)


def summary(found: Judgement) -> tuple[object, ...]:
    return sorted((f.kind, f.where) for f in found.faults), found.right, found.leaves, found.declared, found.matched


@given(case=held_against(), names_only=st.booleans())
@settings(max_examples=1200, deadline=None)
def test_the_quick_ways_agree_with_the_pairing(case: tuple[Answer, list[Call]], names_only: bool) -> None:
    answer, have = case
    key = Key(answer, MIXED, names_only=names_only)
    assert key.plain
    slow = _by_pairing(key, have)
    equal_counts = len(have) == len(answer.calls)
    quick = _by_place(key, have) if equal_counts else _with_a_gap(key, have)
    event(f"{'place' if equal_counts else 'gap'}: {'asked the pairing' if quick is None else 'quick'}")
    if quick is not None and equal_counts:
        assert summary(quick) == summary(slow)
    elif quick is not None:  # which of several equal calls is missing may differ
        assert Counter(f.kind for f in quick.faults) == Counter(f.kind for f in slow.faults)
        assert quick.matched == slow.matched
        if summary(quick)[0] == summary(slow)[0]:
            assert summary(quick) == summary(slow)
    verdict = judge(key, have)
    assert Counter(f.kind for f in verdict.faults) == Counter(f.kind for f in slow.faults)
    assert verdict.measures["calls_matched"] == slow.matched
    if equal_counts:
        assert verdict.faults == by_level(slow.faults)
        assert verdict.measures["arguments_right"] == slow.declared
        assert verdict.score == pytest.approx(1 if not slow.faults else min(0.99, slow.right / slow.leaves))


@given(case=held_against(), order=st.sampled_from(["free", "ordered", "before"]), names_only=st.booleans())
@settings(max_examples=500, deadline=None)
def test_every_verdict_is_sound_and_repeats_itself(
    case: tuple[Answer, list[Call]], order: str, names_only: bool
) -> None:
    answer, have = case
    edges = tuple((i, i + 1) for i in range(len(answer.calls) - 1)) if order == "before" else ()
    answer = answer.model_copy(update={"ordered": order == "ordered", "before": edges})
    if not have:
        return
    verdict = judge_calls(answer, MIXED, reply(*have), names_only=names_only)
    is_sound(verdict, answer, have)
    assert judge_calls(answer, MIXED, reply(*have), names_only=names_only) == verdict
    again = Answer.model_validate_json(answer.model_dump_json())
    assert judge_calls(again, MIXED, reply(*have), names_only=names_only) == verdict
    if not names_only:
        assert is_right(answer, MIXED, reply(*have)) == verdict.ok
    if order != "free":  # an order only ever adds
        free = judge_calls(answer.model_copy(update={"ordered": False, "before": ()}), MIXED, reply(*have))
        if verdict.ok and not names_only:
            assert free.ok


@given(case=held_against(most=4))
@settings(max_examples=250, deadline=None)
def test_the_pairing_is_the_best_of_all(case: tuple[Answer, list[Call]]) -> None:
    answer, have = case
    have = have[:6]
    key = Key(answer, MIXED)
    n, m = len(key.wants), len(have)
    likes = [[want.likeness(other) for other in have] for want in key.wants]
    pairing = key.pairing(have)
    assert len(pairing.pairs) == min(n, m)
    assert sorted([i for i, _ in pairing.pairs] + list(pairing.missing)) == list(range(n))
    assert sorted([j for _, j in pairing.pairs] + list(pairing.extra)) == list(range(m))
    if n <= m:
        best = max(sum(likes[i][j] for i, j in enumerate(chosen)) for chosen in permutations(range(m), n))
    else:
        best = max(sum(likes[i][j] for j, i in enumerate(chosen)) for chosen in permutations(range(n), m))
    assert sum(likes[i][j] for i, j in pairing.pairs) == best


@given(
    values=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True), min_size=1, max_size=6),
    given_values=st.lists(st.integers(1, 4), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_accepted_values_never_mislead_the_pairing(values: list[list[int]], given_values: list[int]) -> None:
    """Where greed fails: the call that takes 1 or 2 must leave the 1 to the call that takes nothing else."""
    answer = Answer(
        calls=tuple(call("f", x=own[0]) for own in values),
        accepts={f"{i}.x": Accept(values=tuple(own)) for i, own in enumerate(values)},
    )
    have = [call("f", x=v) for v in given_values]
    if not have:
        return
    few = min(len(values), len(have))
    fits = max(
        sum(given_values[j] in values[i] for i, j in zip(wants, haves, strict=True))
        for wants in permutations(range(len(values)), few)
        for haves in ([range(few)] if len(values) >= len(have) else combinations(range(len(have)), few))
    )
    found = judge_calls(answer, (F,), reply(*have))
    assert found.measures["calls_matched"] == fits
    count = Counter(f.kind for f in found.faults)
    assert count["wrong_value"] == few - fits
    assert count["missing_call"] == max(0, len(values) - len(have))
    assert count["extra_call"] == max(0, len(have) - len(values))


def test_greed_is_not_enough() -> None:
    gold = Answer(calls=(call("f", x=1), call("f", x=1)), accepts={"0.x": Accept(values=(2,))})
    assert kinds(gold, call("f", x=1), call("f", x=2)) == []
    assert kinds(gold, call("f", x=2), call("f", x=2)) == ["wrong_value"]


# many calls ----------------------------------------------------------------------------------


def many(n: int, *, linked: bool = False) -> tuple[Call, ...]:
    return tuple(call("f", f"c{i}", x=i, y=f"$c{i - 1}$" if linked and i else 0) for i in range(n))


@pytest.mark.parametrize("how", ["free", "ordered", "before", "linked"])
def test_more_calls_are_expected_than_a_flood_would_be(how: str) -> None:
    n = 200
    assert n > PAIR_LIMIT
    calls = many(n, linked=how == "linked")
    edges = tuple((i, i + 1) for i in range(n - 1)) if how == "before" else ()
    answer = Answer(calls=calls, ordered=how == "ordered", before=edges)
    start = time.process_time()
    assert kinds(answer, *calls) == []
    assert kinds(answer, *calls[:-1]) == ["missing_call"]
    assert kinds(answer, *calls, call("g")) == ["extra_call"]
    wrong = (*calls[:-1], calls[-1].model_copy(update={"arguments": {**calls[-1].arguments, "x": -1}}))
    assert kinds(answer, *wrong) == ["wrong_value"]
    if how == "free":
        assert kinds(answer, *reversed(calls)) == []
        assert kinds(answer, *(call("f", x=-i - 1, y=0) for i in range(n))) == ["wrong_value"] * n
    assert time.process_time() - start < 8


@pytest.mark.parametrize("extra", [PAIR_LIMIT - 1, PAIR_LIMIT, PAIR_LIMIT + 1, 2_000])
def test_a_flood_in_any_place_is_extra_calls(extra: int) -> None:
    gold = Answer(calls=(call("f", x=1), call("g", p=2)))
    flood = [call("f", x=-i) for i in range(extra)]
    assert Counter(kinds(gold, *gold.calls, *flood)) == {"extra_call": extra}
    assert Counter(kinds(gold, *gold.calls, *[call("nope")] * extra)) == {"unknown_tool": extra}
    start = time.process_time()
    assert sum(kind == "extra_call" for kind in kinds(gold, *flood, *gold.calls)) == extra
    assert time.process_time() - start < 3
