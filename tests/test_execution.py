"""Executed equality: calls are judged by what they come to, and a crash comes to nothing."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core.types import Answer, Call
from callgrain.subtasks._executed import wins
from callgrain.tools._catalogue import open_world
from callgrain.tools._execute import execute, outcome
from calls import call, nested

WORLD = "calculator"


@pytest.mark.parametrize("gold", [[0], [False], [None], [""], [[]], None, 0, False])
def test_a_crash_never_equals_a_value(gold: object) -> None:
    world = open_world(WORLD)
    assert {"divide", "add"} <= {t.name for t in world.tools}
    names = list(world["divide"].properties)
    crash = (Call(name="divide", arguments=dict(zip(names, (1, 0), strict=True))),)
    results = execute(crash, world)
    assert results[0].error is not None
    assert outcome(crash, results) is None
    answer = Answer(calls=(call("divide"),), result=gold, world=WORLD)
    assert not wins(answer, crash)
    assert not wins(answer, ())
    assert not wins(answer, (call("no_such_tool"),))


@pytest.mark.parametrize(
    "broken",
    [
        (call("add", a=1),),
        (call("add", a=1, b=2, c=3),),
        (call("add", x=1, y=2),),
        (call("add", a="1", b=2),),
        (call("add", a=True, b=2),),
        (call("add", a=None, b=2),),
        (call("add", a=float("nan"), b=2),),
        (call("add", a=10**40, b=2),),
        (call("add", a="$gone$", b=2),),
        (call("divide", "d", a=1, b=0), call("add", a="$d$", b=2)),
        (call("add", "d", a=1, b=2), call("divide", a="$d$", b=0)),
        (call("add", a=nested(90), b=2),),
    ],
)
@pytest.mark.parametrize("gold", [[3], [0], [None], None, [], [False]])
def test_calls_that_cannot_be_run_win_nothing(broken: tuple[Call, ...], gold: object) -> None:
    assert not wins(Answer(calls=broken, result=gold, world=WORLD), broken)


def test_a_result_keeps_its_type() -> None:
    one, true = Answer(result=[1], world=WORLD), Answer(result=[True], world=WORLD)
    assert wins(one, (call("subtract", a=3, b=2),))
    assert wins(Answer(result=[1.0], world=WORLD), (call("subtract", a=3, b=2),))
    assert not wins(true, (call("subtract", a=3, b=2),))
    assert not wins(Answer(result=["1"], world=WORLD), (call("subtract", a=3, b=2),))
    assert not wins(Answer(result=1, world=WORLD), (call("subtract", a=3, b=2),))


@given(a=st.integers(-99, 99), b=st.integers(1, 99), name=st.sampled_from(["add", "subtract", "multiply", "divide"]))
@settings(max_examples=60, deadline=None)
def test_arguments_are_bound_by_name_and_never_by_place(a: int, b: int, name: str) -> None:
    gold = (Call(name=name, arguments={"a": a, "b": b}),)
    result = outcome(gold, execute(gold, open_world(WORLD)))
    assert result is not None
    answer = Answer(calls=gold, result=result, world=WORLD)
    assert wins(answer, (Call(name=name, arguments={"b": b, "a": a}),))
    crossed = outcome((call(name, a=b, b=a),), execute((call(name, a=b, b=a),), open_world(WORLD)))
    assert wins(answer, (call(name, a=b, b=a),)) == (crossed == result)
    if name == "subtract" and a != b:
        assert not wins(answer, (call(name, a=b, b=a),))


def test_independent_results_come_in_any_order() -> None:
    calls = (call("add", a=1, b=2), call("multiply", a=2, b=5), call("subtract", a=9, b=2))
    answer = Answer(calls=calls, result=outcome(calls, execute(calls, open_world(WORLD))), world=WORLD)
    assert all(wins(answer, order) for order in itertools.permutations(calls))
    assert not wins(answer, calls[:2])
    assert not wins(answer, (*calls, calls[0]))
