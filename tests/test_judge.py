"""The judge: its quick ways agree with the optimal pairing, and that with trying everything."""

import time
from collections import Counter
from itertools import combinations, permutations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from callgrain.core.types import Accept, Answer, Call, Fault, Verdict
from callgrain.verify.faults import TABLE, by_level
from callgrain.verify.judge import Judgement, _by_pairing, _by_place, _with_a_gap, judge
from callgrain.verify.key import Key
from callgrain.verify.match import PAIR_LIMIT
from callgrain.verify.values import equal, same
from callgrain.verify.verdict import is_right, judge_calls
from calls import F, call, kinds, reply, tool

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
    places = st.sampled_from(
        [*(f"{i}.{p}" for i, c in enumerate(calls) for p in c.arguments), "0.w", "1.y", "0.x", "9.x"]
    )
    answer = Answer(calls=tuple(calls), accepts=draw(st.dictionaries(places, ACCEPTS, max_size=4)))
    have = list(calls)
    for _ in range(draw(st.integers(0, 3))):
        what, at = (
            draw(st.sampled_from(["change", "forget", "forget", "drop", "add", "swap", "twice", "name"])),
            draw(st.integers(0, 9)),
        )
        at %= max(1, len(have))
        if what == "add" or not have:
            have.insert(at, draw(MADE))
        elif what == "drop":
            del have[at]
        elif what == "forget":
            lost = draw(PARAMETERS)
            kept = {k: v for k, v in have[at].arguments.items() if k != lost}
            have[at] = have[at].model_copy(update={"arguments": kept})
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
@settings(max_examples=800, deadline=None)
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
@settings(max_examples=500, deadline=None)
def test_right_is_what_trying_every_pairing_finds_right(case: tuple[Answer, list[Call]]) -> None:
    """Stated anew: what is declared is there or may be absent, and nothing else but defaults and what is accepted."""
    answer, have = case
    offered = {t.name: t.properties for t in MIXED}

    def fits(i: int, other: Call) -> bool:
        want = answer.calls[i]
        schemas = offered.get(want.name, {})
        for name in {*want.arguments, *other.arguments}:
            schema, accept = schemas.get(name, {}), answer.accepts.get(f"{i}.{name}", Accept())
            if name not in other.arguments:
                spared = "default" in schema and same(want.arguments[name], schema["default"], schema, accept)
                right = accept.omissible or spared
            elif name in want.arguments or "default" in schema:
                gold = want.arguments.get(name, schema.get("default"))
                right = same(gold, other.arguments[name], schema, accept)
            elif accept.mode == "exact":
                right = any(equal(v, other.arguments[name], schema) for v in accept.values)
            else:
                listed = any(same(v, other.arguments[name], schema, accept) for v in accept.values)
                right = accept.mode == "any" or listed
            if not right:
                return False
        return want.name == other.name

    want = len(have) == len(answer.calls) and any(
        all(fits(i, have[j]) for i, j in enumerate(at)) for at in permutations(range(len(have)))
    )
    event(f"right: {want}")
    if have:
        assert judge_calls(answer, MIXED, reply(*have)).ok == want
        assert is_right(answer, MIXED, reply(*have)) == want


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
