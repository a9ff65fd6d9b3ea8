"""Verdicts: every fault is named with its place, and what strangers send is judged in bounded time."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from callgrain.core import schema
from callgrain.core.errors import UnknownName
from callgrain.core.types import Accept, Answer, Call, Message, Origin, Prompt, Reply, Sample, Tool, Verdict
from callgrain.verify import verdict as room
from callgrain.verify.facts import judge_text, states, tokens, ungrounded
from callgrain.verify.faults import KINDS
from callgrain.verify.lint import NESTING_LIMIT, lint
from callgrain.verify.spoil import kinds_on
from callgrain.verify.verdict import branch, is_right, judge_branch, judge_calls
from calls import TOOLS, F, G, call, kinds, nested, reply, tool
from hostile import corpus

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


def test_names_only_looks_at_names_alone() -> None:
    gold = Answer(calls=(call("f", "a", x=1), call("g", p="$a$")), accepts={"0.x": Accept(mode="no such mode")})

    def names(*calls: Call) -> list[tuple[str, str]]:
        found = judge_calls(gold, (F, G), reply(*calls), names_only=True)
        assert (found.score == 1) == found.ok == (not found.faults)
        assert found.measures.get("arguments_right", 0) == 0
        return [(f.kind, f.where) for f in found.faults]

    assert names(call("g", x="$nowhere$"), call("f", nonsense=nested(5_000))) == []
    assert names(call("f"), call("f")) == [("wrong_tool", "calls.1.name")]
    assert names(call("f", x=nested(5_000)), call("t", x=nested(5_000))) == [("unknown_tool", "calls.1.name")]
    assert names(call("g")) == [("missing_call", "calls.0")]
    assert names(call("f"), call("g"), call("g", x=nested(5_000))) == [("extra_call", "calls.2")]
    assert names(call("f"), call("t"), call("g")) == [("unknown_tool", "calls.1")]
    shown = judge_calls(gold, (F, G), reply(call("f", x=1)), names_only=True).faults[0]
    assert shown.expected == {"name": "g", "arguments": {}}
    assert judge_calls(gold, (F, G), reply(call("f"), call("f")), names_only=True).score == 0.5
    with pytest.raises(UnknownName):
        judge_calls(gold, (F, G), reply(call("f"), call("g")))


@pytest.mark.parametrize("required", [5, None, [{}], "n", {"n": 1}, [["n"]], [None, True, 1.5], [[], "n"]])
def test_required_may_be_anything(required: Any) -> None:
    odd = Tool(name="o", parameters={"properties": {"n": {"type": "integer"}}, "required": required})
    assert odd.required == (("n",) if required == [[], "n"] else ())
    assert [f.kind for f in lint([call("o")], (odd,))] == ["missing_argument"] * len(odd.required)
    assert kinds(Answer(calls=(call("o", n=1),)), call("o"), tools=(odd,)) == ["missing_argument"]


@pytest.mark.parametrize("properties", [5, None, [], "n", [{"n": {}}]])
@pytest.mark.parametrize("inner", [{}, {"$defs": 5}, {"$defs": {"a": 5}}, {"definitions": []}])
def test_properties_may_be_anything(properties: Any, inner: dict[str, Any]) -> None:
    odd = Tool(name="o", parameters={"properties": properties, **inner})
    assert odd.properties == {}
    assert kinds(Answer(calls=(call("o", n=1),)), call("o", n=2), tools=(odd,)) == ["wrong_value"]
    assert kinds(Answer(calls=(call("o"),)), call("o", n=2), tools=(odd,)) == ["unknown_argument"]


class Point(BaseModel):
    """A definition of its own in the schema that is made."""

    x: int
    label: str = "here"


class Route(BaseModel):
    """Refers to the definition at the root."""

    start: Point
    via: list[Point] = []
    speed: float = 1.0


def test_a_parameter_finds_the_definitions_at_the_root() -> None:
    made = Route.model_json_schema()
    assert "$defs" in made
    assert made["properties"]["start"] == {"$ref": "#/$defs/Point"}
    route = Tool(name="route", parameters=made)
    gold = Answer(calls=(call("route", start={"x": 1}, via=[{"x": 2}]),))

    def found(**arguments: Any) -> list[str]:
        linted = [f.kind for f in lint([call("route", **arguments)], (route,))]
        judged = kinds(gold, call("route", **arguments), tools=(route,))
        assert [k for k in judged if k in ("wrong_type", "not_allowed")] == linted
        return judged

    assert found(start={"x": 1}, via=[{"x": 2}]) == []
    assert found(start={"x": 1.0}, via=[{"x": 2}], speed=1) == []
    assert found(start={"x": "1"}, via=[{"x": 2}]) == ["wrong_type"]
    assert found(start={"x": 1}, via=[{"x": 2}, {"x": None}]) == ["wrong_type"]
    assert found(start={"label": "a"}, via=[{"x": 2}]) == ["not_allowed"]
    assert found(start={"x": 3}, via=[{"x": 2}]) == ["wrong_value"]
    assert found(start={"x": 1}, via=[{"x": 2}], speed=2) == ["ungrounded_value"]
    assert route.properties["speed"] is made["properties"]["speed"]  # only who refers carries the definitions
    assert set(route.properties["start"]) == {"$ref", "$defs"}
    old = {"properties": {"n": {"$ref": "#/definitions/N"}}, "definitions": {"N": {"type": "integer"}}}
    assert kinds(Answer(calls=(call("o", n=1),)), call("o", n="1"), tools=(Tool(name="o", parameters=old),)) == [
        "wrong_type"
    ]


def test_a_copy_with_other_parameters_has_other_properties() -> None:
    one = tool("s", ("n",), n={"type": "integer"})
    assert one.properties == {"n": {"type": "integer"}}
    key = one.key
    other = one.model_copy(update={"parameters": {"properties": {"m": {"type": "string"}}}})
    assert other.properties == {"m": {"type": "string"}}
    assert other.required == ()
    assert other.key != key == one.key
    gold = Answer(calls=(call("s", n=1),))
    assert kinds(gold, call("s", n=1, m="a"), tools=(one,)) == ["unknown_argument"]
    assert kinds(gold, call("s", n=1, m="a"), tools=(other,)) == ["ungrounded_value"]


def test_a_turn_without_calls_where_calls_are_due() -> None:
    gold = Answer(calls=(call("f", x=1),))
    for text, kind in (("", "missed_call"), ("DECLINE", "missed_call"), ("Which?", "needless_question")):
        found = judge_calls(gold, TOOLS, reply(text=text))
        assert [(f.kind, f.where, f.expected) for f in found.faults] == [(kind, "", "call")]
        assert found.score == 0
    assert kinds(gold, call("f", x=1), tools=()) == []  # a tool that is not offered can still be the right one
    assert kinds(gold, call("f", x=2), tools=()) == ["wrong_value"]
    assert kinds(gold, call("g", x=1), tools=()) == ["unknown_tool"]
    assert kinds(Answer(), call("f")) == ["extra_call"]
    assert kinds(Answer(decision="ask"), call("f")) == ["needless_call"]


# what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("changing", ["answer", "tools", "both"])
def test_no_answer_is_taken_for_another_that_is_gone(changing: str) -> None:
    """Identities are used again: a verdict must follow the content all the same."""
    seen: set[int] = set()
    again = 0
    same_answer, same_tools = Answer(calls=(call("f", x=0),)), (tool("f", x={"type": "integer"}),)
    for i in range(2 * room.KEYS_KEPT):
        gold, offered, x, typed = same_answer, same_tools, 0, True
        if changing != "tools":
            gold, x = Answer(calls=(Call(name="f", arguments={"x": i}),)), i
        if changing != "answer":
            offered, typed = (tool("f", x={"type": "integer" if i % 2 else "string"}),), bool(i % 2)
        found = judge_calls(gold, offered, reply(call("f", x=x - 1 + i % 3)))
        assert [f.kind for f in found.faults] == ([] if i % 3 == 1 else ["wrong_value" if typed else "wrong_type"]), i
        fresh = id(offered) if changing == "tools" else id(gold)
        again += fresh in seen
        seen.add(fresh)
        del gold, offered, found
        assert not judge_calls(Answer(decision="decline"), same_tools, reply(call("f"))).ok
    assert len(room._compiled) <= room.KEYS_KEPT
    assert again or changing == "tools"  # else nothing was shown; tools are told apart one by one


def test_a_list_of_tools_may_change_between_two_verdicts() -> None:
    gold, offered = Answer(calls=(call("f", x=1),)), [F]
    wrong = reply(call("g", p=1))
    assert [f.kind for f in judge_calls(gold, offered, wrong).faults] == ["unknown_tool"]
    offered.append(G)
    assert [f.kind for f in judge_calls(gold, offered, wrong).faults] == ["wrong_tool"]
    offered[:] = [tool("f", x={"type": "string"}), F]
    assert [f.kind for f in judge_calls(gold, offered, wrong).faults] == ["unknown_tool"]
    names = judge_calls(gold, offered, reply(call("f", x=2)), names_only=True)
    assert names.ok
    assert not judge_calls(gold, offered, reply(call("f", x=2))).ok


def test_a_verdict_without_a_fault_is_shared_and_stays_what_it_is() -> None:
    gold = Answer(calls=(call("f", x=1),), accepts={"0.x": Accept(omissible=True)})
    first, other = judge_calls(gold, TOOLS, reply(call("f", x=1))), judge_calls(gold, TOOLS, reply(call("f")))
    assert first.measures["arguments_right"] == 1
    assert other.measures["arguments_right"] == 0
    assert first == Verdict.model_validate_json(first.model_dump_json())
    wrong = judge_calls(gold, TOOLS, reply(call("f", x=[2])))
    assert wrong == Verdict.model_validate_json(wrong.model_dump_json())
    assert wrong.first is wrong.faults[0]


# depth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [NESTING_LIMIT - 1, NESTING_LIMIT, NESTING_LIMIT + 1, 5_000])
@pytest.mark.parametrize("how", ["place", "pairing", "gap", "name", "extra", "unknown argument"])
def test_depth_is_judged_alike_whichever_way_a_verdict_is_found(how: str, depth: int) -> None:
    gold = Answer(calls=(call("f", x=1), call("g", p=1)), ordered=how == "pairing")
    deep = call("f", x=nested(depth))
    calls, want = {
        "name": ((call("f", x=1), deep), "wrong_tool"),
        "extra": ((call("f", x=1), call("g", p=1), deep), "extra_call"),
        "gap": ((deep,), "missing_call"),
        "unknown argument": ((call("f", x=1, w=nested(depth)), call("g", p=1)), "unknown_argument"),
    }.get(how, ((deep, call("g", p=1)), "wrong_value"))
    found = judge_calls(gold, TOOLS, reply(*calls))
    assert found.first
    assert not is_right(gold, TOOLS, reply(*calls))
    # the arguments are one level deeper than the value
    assert found.first.kind == ("unparsable" if depth >= NESTING_LIMIT else want)
    lint(calls, TOOLS)


def test_a_key_of_any_depth_is_judged() -> None:
    for deep in (nested(5_000), {"a": nested(5_000)}):
        gold = Answer(calls=(call("f", x=deep),))
        assert kinds(gold, call("f", x=1)) == ["wrong_value"]
        assert kinds(gold, call("f", x=deep)) == ["unparsable"]
        lenient = Answer(calls=(call("f", x=1),), accepts={"0.x": Accept(values=(deep,))})
        assert kinds(lenient, call("f", x=1)) == []


# what strangers send -------------------------------------------------------------------------

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


CORPUS = corpus()
DEEP_ENUMS = ("enum 1000 deep", "enum 50000 deep")


def spoilable(name: str) -> Sample:
    """A sample whose tool has the named hostile schema."""
    found, _ = CORPUS[name]()
    return Sample(
        subtask="full",
        prompt=Prompt(
            messages=(Message(role="user", text="a 7"),),
            tools=(Tool(name="t", parameters={"type": "object", "properties": {"v": found, "w": {}}}),),
        ),
        answer=Answer(calls=(call("t", v=1),)),
        origin=Origin(dataset="d", row="1", licence="none"),
    )


def test_hostile_schemas_are_spoiled_in_bounded_time() -> None:
    """Verdicts over them are measured beside the door (`test_schema.py`); here what makes wrong answers reads them."""
    slow: list[tuple[str, float]] = []
    names = [n for n in CORPUS if not n.startswith(("file ", "http ")) and n not in DEEP_ENUMS]
    assert len(names) > 80
    for name in names:
        sample = spoilable(name)
        if (seconds := watched(lambda sample=sample: kinds_on(sample, KINDS))) > 3:
            slow.append((name, seconds))
    assert slow == []


@pytest.mark.parametrize("name", DEEP_ENUMS)
def test_a_schema_that_lists_deep_values_is_spoiled(name: str) -> None:
    kinds_on(spoilable(name), KINDS)


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
