"""Equality of argument values: typed, recursive, and each mode of leeway that may be declared."""

import math
import unicodedata
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core.errors import CallgrainError, UnknownName
from callgrain.core.schema import VALUE_DEPTH_LIMIT
from callgrain.core.types import Accept, Answer, Json, Message, Origin, Prompt, Sample
from callgrain.verify.spoil import spoil
from callgrain.verify.values import MODE_KEYWORD, MODES, equal, leeway, matcher, mode_of, same, text, with_defaults
from callgrain.verify.verdict import is_right, judge_calls
from calls import F, call, kinds, nested, reply, tool

ANY = {"type": "string"}


@pytest.mark.parametrize(
    ("gold", "given", "want"),
    [
        (True, 1, False),
        (1, True, False),
        (False, 0, False),
        (0, False, False),
        (None, False, False),
        (None, 0, False),
        (None, "", False),
        (None, None, True),
        ("5", 5, False),
        (5, "5", False),
        (1, 1.0, True),
        (1.0, 1, True),
        (1.5, 1, False),
        ("true", True, False),
        ("é", "e\u0301", True),
        (" Paris\n", "Paris", True),
        ("Paris", "paris", False),
        ("a  b", "a b", False),
        ("", " ", True),
        ([1, 2], [1, 2.0], True),
        ([1, 2], [2, 1], False),
        ([1], [True], False),
        ([], None, False),
        ({}, [], False),
        ({"a": [1, {"b": "x"}]}, {"a": [1.0, {"b": " x"}]}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ({"a": 1}, {"A": 1}, False),
        (10**400, 10**400, True),
        (10**400, 1e308, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_equality_is_typed(gold: object, given: object, want: bool) -> None:
    assert same(gold, given) is want
    answer = Answer(calls=(call("f", x=gold),))
    assert (kinds(answer, call("f", x=given)) == []) is want
    assert is_right(answer, (F,), reply(call("f", x=given))) is want


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(a=json_values, b=json_values)
@settings(deadline=None)
def test_equality_is_reflexive_and_symmetric(a: object, b: object) -> None:
    assert equal(a, a, {})
    assert equal(a, b, {}) == equal(b, a, {})


@pytest.mark.parametrize(
    ("mode", "gold", "given", "want"),
    [
        ("exact", "Paris", "paris", False),
        ("normalised", "San  Jose.", "san jose", True),
        ("normalised", "San Jose", "San Juan", False),
        ("normalised", "5", 5, False),
        ("date", "2024-03-05", "March 5th, 2024", True),
        ("date", "2024-03-05", "5 Mar 2024", True),
        ("date", "2024-03-05", "2024-03-06", False),
        ("date", "17:15", "5:15 pm", True),
        ("date", "17:15", "5:15 am", False),
        ("date", "not a date", "not a date either", False),
        ("date", "2024-03-05", 20240305, False),
        ("numeric:0.01", 100, 100.9, True),
        ("numeric:0.01", 100, 102, False),
        ("numeric", 1, True, False),
        ("numeric", 10**400, 1.0, False),
        ("subset", ["a"], ["b", "a"], True),
        ("subset", ["a", "a"], ["a", "b"], False),
        ("unordered", ["a", "b"], ["b", "a"], True),
        ("unordered", ["a", "b"], ["a", "b", "b"], False),
        ("unordered", [1], [True], False),
        ("any", "x", {"no": "matter"}, True),
    ],
)
def test_modes(mode: str, gold: object, given: object, want: bool) -> None:
    assert mode.partition(":")[0] in MODES
    assert same(gold, given, None, Accept(mode=mode)) is want


def test_accepted_values_count_and_keep_their_types() -> None:
    accept = Accept(values=("NYC", 1))
    assert same("New York", "NYC", None, accept)
    assert not same("New York", "nyc", None, accept)
    assert same("New York", 1.0, None, accept)
    assert not same("New York", True, None, accept)
    answer = Answer(calls=(call("f", x=1),), accepts={"0.y": Accept(values=(1,), omissible=True)})
    assert kinds(answer, call("f", x=1)) == []
    assert kinds(answer, call("f", x=1, y=1)) == []
    assert kinds(answer, call("f", x=1, y=True)) == ["ungrounded_value"]
    assert kinds(answer, call("f", x=1, y=2)) == ["ungrounded_value"]


def test_defaults_stand_in_for_what_is_left_out() -> None:
    unit = tool("w", city=ANY, unit={"type": "string", "default": "km"}, deep={"properties": {"a": {"default": 1}}})
    plain, spelt = call("w", city="x"), call("w", city="x", unit="km")
    other = call("w", city="x", unit="m")
    assert kinds(Answer(calls=(plain,)), spelt, tools=(unit,)) == []
    assert kinds(Answer(calls=(spelt,)), plain, tools=(unit,)) == []
    # the model said nothing of it, so no *value* of its can be wrong; and what it added, nothing asked for
    assert kinds(Answer(calls=(other,)), plain, tools=(unit,)) == ["missing_argument"]
    assert kinds(Answer(calls=(plain,)), other, tools=(unit,)) == ["ungrounded_value"]
    assert kinds(Answer(calls=(spelt,)), other, tools=(unit,)) == ["wrong_value"]
    lenient = {"0.unit": Accept(values=("m",), omissible=True)}
    assert kinds(Answer(calls=(other,), accepts=lenient), plain, tools=(unit,)) == []
    deep = Answer(calls=(call("w", city="x", deep={"a": 1, "b": 2}),))
    assert kinds(deep, call("w", city="x", deep={"b": 2}), tools=(unit,)) == []
    assert kinds(deep, call("w", city="x", deep={"a": 2, "b": 2}), tools=(unit,)) == ["wrong_value"]
    assert with_defaults({}, {"a": {"default": 0}, "b": {}, "c": True}) == {"a": 0}


# laws ----------------------------------------------------------------------------------------

near = st.sampled_from(
    [True, False, 1, 0, 1.0, 0.0, -0.0, 2, 1.5, "1", "true", "", " ", "a", " a", "A", "a.", "é", "e\u0301", None,
     "2024-03-05", "March 5, 2024", "17:15", "5:15 pm", 10**400]
)  # fmt: skip
"""Values that are easily taken for one another."""

confusable = st.recursive(
    near | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
SETTINGS = {"numeric": "numeric:0.01", "regex": "regex:^[a-z]+$"}
EVERY_MODE = [SETTINGS.get(mode, mode) for mode in MODES]
SYMMETRIC = ("exact", "normalised", "date", "numeric:0.01", "unordered")


@pytest.mark.parametrize("mode", EVERY_MODE)
@given(value=confusable | json_values)
@settings(max_examples=60, deadline=None)
def test_the_gold_value_is_right_in_every_mode(mode: str, value: Json) -> None:
    assert same(value, value, None, Accept(mode=mode))


@pytest.mark.parametrize("mode", SYMMETRIC)
@given(a=confusable, b=confusable)
@settings(max_examples=150, deadline=None)
def test_no_side_of_a_comparison_is_special(mode: str, a: Json, b: Json) -> None:
    accept = Accept(mode=mode)
    assert same(a, b, None, accept) == same(b, a, None, accept)


@given(value=st.text(max_size=6))
@settings(deadline=None)
def test_strings_are_normalised_once_and_for_all(value: str) -> None:
    assert text(text(value)) == text(value)
    assert same(value, unicodedata.normalize("NFD", f"\n {value} "))


@given(wanted=st.lists(confusable, min_size=1, max_size=4), value=confusable)
@settings(max_examples=300, deadline=None)
def test_a_compiled_value_is_equal_to_what_equality_says(wanted: list[Json], value: Json) -> None:
    """Sets, by-type and flat-list quick paths: each agrees with `equal`."""
    accept = Accept(values=tuple(wanted[1:]))
    assert matcher(wanted[0], {}, accept)(value) == any(equal(w, value, {}) for w in wanted)
    assert same(wanted[0], value, None, accept) == matcher(wanted[0], {}, accept)(value)


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "value", "want"),
    [
        ((1,), True, False),
        ((True,), 1, False),
        ((0,), False, False),
        ((1,), "1", False),
        (("1",), 1, False),
        ((1,), 1.0, True),
        ((1.0,), 1, True),
        (([True],), [1], False),
        (([1],), [True], False),
        (([1],), [1.0], True),
        (([["1"]],), [[1]], False),
        (({"a": [True]},), {"a": [1]}, False),
        (({"a": True},), {"a": 1}, False),
        ((None,), "", False),
        (("",), None, False),
        ((NAN,), NAN, False),
        (([NAN],), [NAN], False),
        (([1, [NAN]],), [1, [NAN]], False),
        (({"a": NAN},), {"a": NAN}, False),
    ],
)
def test_sets_of_accepted_values_keep_types_apart(values: tuple[Json, ...], value: Json, want: bool) -> None:
    assert matcher("another", {}, Accept(values=values))(value) is want
    assert matcher(values[0], {})(value) is want


def test_null_is_a_value_and_no_absence() -> None:
    null = Answer(calls=(call("f", x=None),))
    assert kinds(null, call("f", x=None)) == []
    assert kinds(null, call("f")) == ["missing_argument"]
    assert kinds(Answer(calls=(call("f"),)), call("f", x=None)) == ["ungrounded_value"]


# modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "value", "want"),
    [
        ("^[A-Z]{3}$", "ABC", True),
        ("^[A-Z]{3}$", "ABCD", False),
        ("^[A-Z]{3}$", 123, False),
        ("b", "abc", True),
        ("^a:b$", "a:b", True),  # a colon may stand in a pattern
        ("^(a+)+$", "a" * 200_000 + "!", False),  # a backtracking engine would never end
    ],
)
def test_a_pattern_accepts_where_it_occurs(pattern: str, value: Json, want: bool) -> None:
    assert same("gold", value, None, Accept(mode=f"regex:{pattern}")) is want


@pytest.mark.parametrize(
    "mode",
    [
        *("regex", "regex:", "regex:(", "regex:(?=a)b", "regex:(?<!a)b", r"regex:(a)\1", "regex:(x{1000}){1000}"),
        *("numeric:abc", "numeric:-1", "numeric:nan", "numeric:inf"),
    ],
)
def test_a_mode_whose_setting_is_unusable_is_refused_with_a_remedy(mode: str) -> None:
    with pytest.raises(CallgrainError) as refused:
        same("a", "b", None, Accept(mode=mode))
    assert "write" in str(refused.value)
    assert mode.partition(":")[0] + ":" in str(refused.value).partition("write")[2]


@pytest.mark.parametrize("declared", ["normalized", "", "Exact", ["date"], 5, None])
def test_an_unknown_mode_is_answered_with_those_that_there_are(declared: Json) -> None:
    with pytest.raises(UnknownName, match="normalised"):
        mode_of({MODE_KEYWORD: declared}, None)
    if isinstance(declared, str):
        with pytest.raises(UnknownName, match="normalised"):
            judge_calls(
                Answer(calls=(call("f", x="a"),), accepts={"0.x": Accept(mode=declared)}), (F,), reply(call("f", x="b"))
            )


def test_a_catalogue_declares_modes_and_a_source_has_the_last_word() -> None:
    dated = tool("d", on={"type": "string", MODE_KEYWORD: "date"})
    answer = Answer(calls=(call("d", on="2024-03-05"),))
    spoken, shouted = call("d", on="March 5, 2024"), call("d", on="2024-03-05.")
    assert kinds(answer, spoken, tools=(dated,)) == []
    assert kinds(answer, spoken, tools=(tool("d", on=ANY),)) == ["wrong_value"]
    assert kinds(answer, call("d", on="March 6, 2024"), tools=(dated,)) == ["wrong_value"]
    other = answer.model_copy(update={"accepts": {"0.on": Accept(mode="normalised")}})
    assert kinds(other, spoken, tools=(dated,)) == ["wrong_value"]
    assert kinds(other, shouted, tools=(dated,)) == []
    more = answer.model_copy(update={"accepts": {"0.on": Accept(values=("soon",))}})
    assert kinds(more, spoken, tools=(dated,)) == kinds(more, call("d", on="soon"), tools=(dated,)) == []
    assert leeway(None, dated.properties["on"]) == Accept(mode="date")
    assert leeway(Accept(mode="any"), dated.properties["on"]) == Accept(mode="any")


@pytest.mark.parametrize("mode", ["normalised", "date", "numeric:0.5", "regex:^[a-z]+$", "unordered", "subset", "any"])
def test_a_spoiled_value_is_wrong_in_the_mode_that_the_catalogue_declares(mode: str) -> None:
    kind, gold = {"numeric": ("number", 100), "unordered": ("array", ["a", "b"]), "subset": ("array", ["a", "b"])}.get(
        mode.partition(":")[0], ("string", "2024-03-05")
    )
    one = tool("d", on={"type": kind, MODE_KEYWORD: mode})
    sample = Sample(
        subtask="full",
        prompt=Prompt(messages=(Message(role="user", text="On May 5 2024, a 7."),), tools=(one,)),
        answer=Answer(calls=(call("d", on=gold),)),
        origin=Origin(dataset="d", row="1", licence="none"),
    )
    made = [spoil("wrong_value", sample, Random(seed)) for seed in range(8)]
    assert (mode == "any") == all(spoiled is None for spoiled in made)
    for spoiled in filter(None, made):
        first = judge_calls(sample.answer, (one,), spoiled).first
        assert first
        assert first.kind == "wrong_value"


def test_what_is_only_accepted_is_accepted_in_its_mode() -> None:
    gold = (call("f", x=1),)
    lenient = Answer(calls=gold, accepts={"0.y": Accept(values=("2024-03-05",), mode="date")})
    assert kinds(lenient, call("f", x=1, y="March 5, 2024")) == []
    assert kinds(lenient, call("f", x=1, y="March 6, 2024")) == ["ungrounded_value"]
    whatever = Answer(calls=gold, accepts={"0.y": Accept(mode="any", omissible=True)})
    assert kinds(whatever, call("f", x=1, y=[1])) == kinds(whatever, call("f", x=1)) == []
    nothing = Answer(calls=gold, accepts={"0.y": Accept(omissible=True)})
    assert kinds(nothing, call("f", x=1, y=None)) == ["ungrounded_value"]
    loose = tool("f", x={}, y={MODE_KEYWORD: "any"})  # the catalogue says how to compare, not that it is asked for
    assert kinds(nothing, call("f", x=1, y=5), tools=(loose,)) == ["ungrounded_value"]


@pytest.mark.parametrize("mode", ["exact", "subset", "unordered", "any", "normalised", "date"])
@pytest.mark.parametrize("depth", [VALUE_DEPTH_LIMIT, 5_000])
def test_a_value_too_deep_is_right_in_no_mode(mode: str, depth: int) -> None:
    deep = nested(depth)
    assert not same([], deep, None, Accept(mode=mode))
    assert not same([deep], [deep], None, Accept(mode=mode))  # nor where the key itself is as deep
    assert same([nested(50)], [nested(50)], None, Accept(mode=mode))
    answer = Answer(calls=(call("f", x=[deep]),), accepts={"0.x": Accept(mode=mode)})
    assert kinds(answer, call("f", x=[deep])) == ["unparsable"]
    assert kinds(answer, call("f", x=[1])) == ([] if mode == "any" else ["wrong_value"])


def test_a_default_that_equals_nothing_makes_no_fault() -> None:
    for odd in (NAN, nested(5_000), [NAN]):
        one = tool("w", a={}, b={"default": odd})
        assert kinds(Answer(calls=(call("w", a=1),)), call("w", a=1), tools=(one,)) == []
        assert kinds(Answer(calls=(call("w", a=1),)), call("w", a=1, b=2), tools=(one,)) == ["ungrounded_value"]
