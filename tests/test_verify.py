"""The judge: values, pairing, graphs, lint, order, execution, and what strangers may put into a schema."""

import os
import sys
import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core import schema
from callgrain.core.types import Accept, Answer, Call, Message, Origin, Prompt, Ref, Reply, Sample, Tool
from callgrain.subtasks._executed import wins
from callgrain.tools._execute import execute, outcome
from callgrain.verify.facts import judge_text, states, tokens, ungrounded
from callgrain.verify.faults import KINDS
from callgrain.verify.lint import lint
from callgrain.verify.key import pair
from callgrain.verify.spoil import kinds_on
from callgrain.verify.values import MODES, equal, same, with_defaults
from callgrain.verify.verdict import branch, judge_branch, judge_calls


def tool(name: str, required: tuple[str, ...] = (), **properties: object) -> Tool:
    return Tool(name=name, parameters={"type": "object", "properties": properties, "required": list(required)})


def reply(*calls: Call, text: str = "") -> Reply:
    return Reply(message=Message(calls=calls, text=text))


def call(name: str, label: str | None = None, /, **arguments: object) -> Call:
    return Call(name=name, label=label, arguments=arguments)


ANY = {"type": "string"}
F = tool("f", x={}, y={}, z={})
G = tool("g", p={}, q={})
H = tool("h", p={}, q={}, r={"type": "array"})
TOOLS = (F, G, H)


def kinds(answer: Answer, *calls: Call, tools: tuple[Tool, ...] = TOOLS) -> list[str]:
    return [f.kind for f in judge_calls(answer, tools, reply(*calls)).faults]


# values --------------------------------------------------------------------------------------


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


# faults --------------------------------------------------------------------------------------

STRICT = tool(
    "s",
    ("n",),
    n={"type": "integer", "minimum": 1},
    kind={"type": "string", "enum": ["a", "b"]},
    flag={"type": "boolean"},
)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (call("s", n=2), []),
        (call("s", n=2.0), []),
        (call("s", n="2"), ["wrong_type"]),
        (call("s", n=True), ["wrong_type"]),
        (call("s", n=0), ["not_allowed"]),
        (call("s", n=3), ["wrong_value"]),
        (call("s"), ["missing_argument"]),
        (call("s", n=2, kind="a"), ["ungrounded_value"]),
        (call("s", n=2, other=1), ["unknown_argument"]),
        (call("s", n="2", other=1), ["unknown_argument", "wrong_type"]),
        (call("t", n=2), ["unknown_tool"]),
        (call("f", n=2), ["wrong_tool"]),
    ],
)
def test_each_fault_of_a_call_is_named(given: Call, want: list[str]) -> None:
    assert kinds(Answer(calls=(call("s", n=2),)), given, tools=(STRICT, F)) == want


def test_lint_names_what_shows_without_the_key() -> None:
    calls = [
        call("s", "a", n="x", kind="c", more=1),
        call("nope"),
        call("f", x="$a.id$", y=["$b$"], z="$c$"),
        call("s"),
    ]
    found = lint(calls, (STRICT, F))
    assert [(f.kind, f.where) for f in found] == [
        ("unknown_tool", "calls.1.name"),
        ("missing_argument", "calls.3.arguments.n"),
        ("unknown_argument", "calls.0.arguments.more"),
        ("wrong_type", "calls.0.arguments.n"),
        ("not_allowed", "calls.0.arguments.kind"),
        ("broken_reference", "calls.2.arguments.y.0"),
        ("broken_reference", "calls.2.arguments.z"),
    ]
    assert lint([call("s", n=1, kind="a", flag=False)], (STRICT,)) == ()
    open_ended = Tool(name="o", parameters={"properties": {}, "additionalProperties": True})
    assert lint([call("o", anything=1)], (open_ended,)) == ()


def test_a_malformed_call_never_counts_as_declining() -> None:
    decline = Answer(decision="decline", text="DECLINE")
    broken = Reply(text="[{", fault={"kind": "truncated"})
    for verdict in (judge_branch(decline, broken), judge_calls(decline, TOOLS, broken)):
        assert not verdict.ok
        assert verdict.first
        assert verdict.first.kind == "truncated"
    assert judge_branch(decline, reply(text="decline, sorry")).ok
    assert branch(Message(text="Which city?")) == "ask"
    assert branch(Message(text="Decline?")) == "decline"
    assert branch(Message(text="")) == "answer"


def test_written_replies_are_held_against_facts_and_grounds() -> None:
    prompt = Prompt(messages=(Message(role="user", text="Table for two at Nopa on March 5 at 17:30?"),))
    answer = Answer(decision="answer", text="Booked: ref X12.", facts=("X12",))

    def said(text: str) -> list[str]:
        return [f.kind for f in judge_text(answer, prompt, reply(text=text)).faults]

    assert said("Your table for 2 at Nopa, 5:30 pm, is booked: X12.") == []
    assert said("Your table is booked.") == ["incomplete_response"]
    assert said("Booked, X12, for 1,200 dollars.") == ["unfaithful_response"]
    assert said("Booked at Zuni: X12.") == ["unfaithful_response"]
    assert [f.kind for f in judge_text(answer, prompt, reply(call("f"))).faults] == ["needless_call"]
    assert tokens("1,234.50 and Seven") == ["1234.5", "and", "7"]
    assert states(tokens("it costs 12.50 dollars"), "12.5")
    assert not states(tokens("it costs 12.50 dollars"), "12")
    assert ungrounded("The total is 7.", ["seven items"]) == []


# execution -----------------------------------------------------------------------------------

WORLD = "calculator"


@pytest.mark.parametrize("gold", [[0], [False], [None], [""], [[]], None, 0, False])
def test_a_crash_never_equals_a_value(gold: object) -> None:
    from callgrain.tools._catalogue import open_world

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


# hostile schemas and values ------------------------------------------------------------------

HOSTILE: dict[str, tuple[object, object]] = {
    "file reference": ({"$ref": "file:///etc/hostname"}, "x"),
    "http reference": ({"$ref": "http://127.0.0.1:9/schema.json"}, "x"),
    "reference of a field": ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd#/x"}}}, {"a": 1}),
    "dynamic reference": ({"$schema": "http://127.0.0.1:9/meta", "$id": "file:///etc/", "$ref": "hostname"}, 1),
    "circle": ({"$ref": "#"}, "x"),
    "circle through a definition": ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, 1),
    "catastrophic pattern": ({"type": "string", "pattern": "^(a+)+$"}, "a" * 40_000 + "!"),
    "catastrophic alternation": ({"type": "string", "pattern": "^(a|a|ab)*c$"}, "ab" * 20_000),
    "backreference": ({"type": "string", "pattern": r"^(a+)\1+$"}, "a" * 5_000 + "!"),
    "huge pattern": ({"type": "string", "pattern": "(x{1000}){1000}"}, "x" * 1000),
    "broken pattern": ({"type": "string", "pattern": "("}, "x"),
    "huge integer": ({"type": "integer", "maximum": 10**400}, 10**500),
    "not a number": ({"type": "number", "minimum": 0}, float("nan")),
    "infinity": ({"type": "integer"}, float("inf")),
    "lone surrogate": ({"type": "string", "enum": ["a"]}, "\ud800"),
    "surrogate in the schema": ({"type": "string", "enum": ["\ud800"]}, "a"),
    "no schema": ("nonsense", 1),
    "a list": ([], 1),
    "unknown type": ({"type": "decimal"}, 1),
    "types of a wrong kind": ({"type": [1, None, {"a": 2}]}, 1),
    "negative multiple": ({"type": "number", "multipleOf": 0}, 3),
    "many ways": ({"anyOf": [{"anyOf": [{"const": i} for i in range(60)]} for _ in range(60)]}, -1),
    "unique items": ({"type": "array", "uniqueItems": True}, list(range(3000))),
    "zip bomb of references": (
        {
            "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(14)} | {"d14": {}},
            "$ref": "#/$defs/d0",
        },
        1,
    ),
}  # fmt: skip


def nested(depth: int, kind: type) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


for _depth in (50, 90, 400):
    HOSTILE[f"value {_depth} deep"] = ({"type": "array"}, nested(_depth, list))
    HOSTILE[f"object {_depth} deep"] = ({"type": "object"}, nested(_depth, dict))
    HOSTILE[f"schema {_depth} deep"] = (
        {"type": "object", "properties": {"a": nested(_depth, dict)}}, {"a": 1}
    )  # fmt: skip

_opened: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and (event in ("open", "os.open", "urllib.Request") or event.startswith("socket.")):
        _opened.append(f"{event} {arguments[:2]}")


sys.addaudithook(_watch)


def watched(work: Callable[[], object]) -> float:
    """Seconds that `work` takes; fails where it opens a file or a socket."""
    global _watching  # noqa: PLW0603  an audit hook can never be taken away: it is only switched
    _opened.clear()
    start, _watching = time.process_time(), True
    try:
        work()
    finally:
        _watching = False
    assert not _opened
    return time.process_time() - start


def test_the_audit_hook_sees_what_is_opened() -> None:
    with pytest.raises(AssertionError, match="open"):
        watched(lambda: os.close(os.open(os.devnull, os.O_RDONLY)))


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_schemas_and_values_are_judged_in_bounded_time(name: str) -> None:
    found, value = HOSTILE[name]
    schema.complaint({"type": "string", "minLength": 1}, "warm")
    assert watched(lambda: schema.complaint(found, value)) < 1.0
    one = Tool(name="t", parameters={"type": "object", "properties": {"v": found, "w": {}}})
    gold, given = Answer(calls=(call("t", v="other", w=1),)), call("t", v=value, w=1)

    def judge() -> None:
        verdict = judge_calls(gold, (one,), reply(given))
        assert verdict.first
        assert not verdict.ok
        lint([given], (one,))

    assert watched(judge) < 1.0
    sample = Sample(
        subtask="full",
        prompt=Prompt(messages=(Message(role="user", text="a 7"),), tools=(one,)),
        answer=Answer(calls=(call("t", v=1),)),
        origin=Origin(dataset="d", row="1", licence="none"),
    )
    assert watched(lambda: kinds_on(sample, KINDS)) < 3.0


def test_a_hostile_pattern_costs_time_linear_in_the_value() -> None:
    pattern = {"type": "string", "pattern": "^(a+)+$"}
    schema.complaint(pattern, "a")
    assert watched(lambda: schema.complaint(pattern, "a" * 1_000_000 + "!")) < 1.0
    assert schema.complaint(pattern, "a" * 1000) is None
    assert schema.complaint(pattern, "a" * 1000 + "!") == "not_allowed"


def test_long_replies_are_judged_in_bounded_time() -> None:
    answer = Answer(decision="answer", text="It is 5.", facts=("5",))
    prompt = Prompt(messages=(Message(role="user", text="1:2-3/4," * 3000),))
    for text in ("A1" * 50_000, "1,2.3:4/" * 15_000, "A'a-" * 30_000, "'" * 100_000, "Ab " * 40_000, "\u0301" * 50_000):
        said = text
        assert watched(lambda said=said: judge_text(answer, prompt, reply(text=said))) < 2.0
