"""Recorded outputs: each kind reads its own wire format, exactly one fits, and nothing ever raises."""

import json
import keyword
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core import plugins
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.protocols import Record
from callgrain.core.rows import Quarantine
from callgrain.core.types import Call, Fault, Message, Reply
from callgrain.records._open import Recorded, recorded, unwrapped
from callgrain.records._python import read_python
from callgrain.verify.faults import KINDS

FIXTURES = Path(__file__).parent / "fixtures" / "records"
KINDS_OF_RECORD = plugins.names("records")


def reader(kind: str) -> Record:
    return plugins.load("records", kind)()


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def all_fixtures() -> list[Any]:
    return [
        pytest.param(kind, number, row, expected, id=f"{kind}-{number}")
        for kind in KINDS_OF_RECORD
        for number, (row, expected) in enumerate(
            zip(rows_of(FIXTURES / f"{kind}.jsonl"), rows_of(FIXTURES / f"{kind}.expected.jsonl"), strict=True), 1
        )
    ]


def calls_of(message: Message | None) -> list[list[Any]]:
    if message is None:
        return []
    return [[c.name, c.arguments] if c.label is None else [c.name, c.arguments, c.label] for c in message.calls]


def one_outcome(reply: Reply) -> bool:
    return sum(part is not None for part in (reply.message, reply.fault, reply.failure)) == 1


# Golden fixtures


@pytest.mark.parametrize(("kind", "number", "row", "expected"), all_fixtures())
def test_golden(kind: str, number: int, row: dict[str, Any], expected: dict[str, Any]) -> None:
    bare, item, subtask = unwrapped(row)
    reply = reader(kind).read(bare, expected.get("tools", ["get_weather"]))
    assert one_outcome(reply)
    assert item == expected["id"]
    assert subtask == expected.get("subtask", "")
    assert calls_of(reply.message) == expected["calls"]
    assert (reply.message.text if reply.message else "") == expected["text"]
    assert (reply.fault.kind if reply.fault else None) == expected["fault"]
    assert (reply.failure or "").startswith(expected["failure"] or "\0" * (reply.failure is not None))
    assert (reply.failure is None) == (expected["failure"] is None)
    assert reply.usage == expected.get("usage", {})
    assert (reply.message.thought if reply.message else "") == expected.get("thought", "")
    assert calls_of(reply.recovered) == expected.get("recovered", [])


@pytest.mark.parametrize(("kind", "number", "row", "expected"), all_fixtures())
def test_exactly_one_kind_fits_and_unwrapping_ends(kind: str, number: int, row: dict[str, Any], expected: Any) -> None:
    bare, _, _ = unwrapped(row)
    assert [name for name in KINDS_OF_RECORD if reader(name).fits(bare)] == [kind]
    assert unwrapped(bare)[0] == bare


def test_each_kind_has_enough_fixtures_of_each_outcome() -> None:
    for kind in KINDS_OF_RECORD:
        expected = rows_of(FIXTURES / f"{kind}.expected.jsonl")
        assert len(expected) >= 6
        assert any(len(e["calls"]) == 1 for e in expected)
        assert any(len(e["calls"]) > 1 for e in expected)
        assert any(not e["calls"] and e["text"] for e in expected)
        assert any(e["fault"] for e in expected)
        assert kind == "bfcl" or any(e["calls"] and e["text"] for e in expected)


@pytest.mark.parametrize("kind", KINDS_OF_RECORD)
def test_a_file_is_streamed_and_an_array_reads_alike(kind: str, tmp_path: Path) -> None:
    quarantine = Quarantine()
    lines = list(recorded(FIXTURES / f"{kind}.jsonl", quarantine))
    assert quarantine.count == 0
    assert {one.kind for one in lines} == {kind}
    assert [one.line for one in lines] == list(range(1, len(lines) + 1))
    array = tmp_path / "array.json"
    array.write_text(" \n" + json.dumps(rows_of(FIXTURES / f"{kind}.jsonl"), indent=1), "utf-8")
    assert list(recorded(array, quarantine)) == lines


# Opening


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), "utf-8")
    return path


def test_unknown_and_ambiguous_rows_are_set_aside_by_place(tmp_path: Path) -> None:
    both = {"id": "x", "result": "[f(a=1)]", "candidates": []}
    path = write_lines(tmp_path / "a.jsonl", {"id": "a", "text": "hi"}, {"foo": 1}, "[", both, '{"id": 1')
    quarantine = Quarantine()
    assert [(r.id, r.line) for r in recorded(path, quarantine)] == [("a", 1)]
    assert quarantine.count == 4
    assert f"{path}:2: fits no kind" in quarantine.first[0]
    assert "openai_responses" in quarantine.first[0]
    assert "bfcl, gemini" in quarantine.first[2]
    assert [r.reply([]).message for r in recorded(path, Quarantine(), "bfcl")][2] == Message(
        calls=(Call(name="f", arguments={"a": 1}),)
    )
    with pytest.raises(BadInput, match=":2:"):
        list(recorded(path, Quarantine(strict=True)))


def test_a_forced_kind_that_is_none_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="openai_chat"):
        recorded(tmp_path / "none.jsonl", Quarantine(), "openai_chats")
    with pytest.raises(BadInput, match="cannot read"):
        list(recorded(tmp_path / "none.jsonl", Quarantine()))


@pytest.mark.parametrize("kind", KINDS_OF_RECORD)
def test_a_record_without_its_payload_is_a_failure_never_a_decline(kind: str) -> None:
    reply = reader(kind).read({"id": "x"}, ["f"])
    assert reply.failure is not None
    assert one_outcome(reply)


def test_a_broken_array_names_its_place_and_odd_items_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"id": "a", "text": "hi"}, 3, {"id": 5, "text": "ho"}]')
    quarantine = Quarantine()
    assert [(r.id, r.line) for r in recorded(path, quarantine)] == [("a", 1), ("5", 3)]
    assert quarantine.first == [f"{path}:2: a int where an object is wanted"]
    path.write_text('[{"id": "a"},\n {"id": ]')
    with pytest.raises(BadInput, match=":2:"):
        list(recorded(path, Quarantine()))


def test_an_array_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from callgrain.records import _open

    monkeypatch.setattr(_open, "ARRAY_LIMIT", 100_000)
    path = tmp_path / "a.json"
    path.write_text("[" + " " * 200_000 + "]")
    with pytest.raises(BadInput, match="one object a line"):
        list(recorded(path, Quarantine()))


def test_ids_of_wrappers_count_and_ids_of_apis_do_not() -> None:
    completion = {"id": "chatcmpl-1", "object": "chat.completion", "choices": []}
    assert unwrapped(completion)[1] == ""
    assert unwrapped({"id": "w", "response": completion})[1] == "w"
    assert unwrapped({"id": "batch_req", "custom_id": "w", "response": {"body": completion}})[:2] == (completion, "w")
    assert unwrapped({"id": "w", "subtask": "nest", "response": completion})[2] == "nest"
    assert unwrapped({"id": "own", "choices": []})[1] == "own"
    assert unwrapped({"id": True, "text": ""})[1] == ""


# BFCL: what is a call, what is prose, what is neither


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("f()", [["f", {}]]),
        ("a.b.c(x=[1, [2, {'k': (3,)}]])", [["a.b.c", {"x": [1, [2, {"k": [3]}]]}]]),
        ("f(x=-1, y=-2.5, z=None)", [["f", {"x": -1, "y": -2.5, "z": None}]]),
        ("f(x='a' 'b')", [["f", {"x": "ab"}]]),
        ("f(x=true, y=Paris)", [["f", {"x": "true", "y": "Paris"}]]),
        ("f(x=g(y=1))", [["f", {"x": {"g": {"y": 1}}}]]),
        ("f(x=g(1), y=h[2], z=...)", [["f", {"x": "g(1)", "y": "h[2]", "z": "..."}]]),
        ("f(1, x=2)", [["f", {"x": 2}]]),
        ("f(x=3 * (2 + 0.5) - 1)", [["f", {"x": 6.5}]]),
        ("f(x=1, x=2)", [["f", {"x": 2}]]),
        ("[f(a=1)", [["f", {"a": 1}]]),
        ("f(a=1), g(b=2)]", [["f", {"a": 1}], ["g", {"b": 2}]]),
        ("(f(a=1), g(b=2))", [["f", {"a": 1}], ["g", {"b": 2}]]),
        ("f(x='日本 \\u00e9')", [["f", {"x": "日本 é"}]]),
    ],
)
def test_python_calls_are_read_as_bfcl_reads_them(text: str, calls: list[Any]) -> None:
    read = reader("bfcl").read({"result": text}, ["f"])
    if text.startswith("("):
        assert read.fault is not None  # the brackets that BFCL puts around make a tuple in a list of it
        direct = read_python(text)
        assert isinstance(direct, list)
        assert calls_of(Message(calls=tuple(direct))) == calls
    else:
        assert calls_of(read.message) == calls


@pytest.mark.parametrize(
    "text",
    [
        "I cannot do that.",
        "None",
        "Sorry, none of these functions fits.",
        "[sic] I cannot say.",
        "The function get_weather(city) needs a city; which one?",
        "You could try get_weather() once you know the city.",
        "The answer is 42 (see above). f(2) = 4.",
        "x == 3 and (y == 4)",
        "{}"[:0],
        "Which city? (e.g. Paris)",
        "1. First\n2. Second",
    ],
)
def test_prose_is_text(text: str) -> None:
    reply = reader("bfcl").read({"result": text}, ["get_weather", "math.sqrt"])
    assert reply.message == Message(text=text)


@pytest.mark.parametrize(
    "text",
    [
        "[get_weather(city='Paris'",
        "get_weather(city='Paris)",
        "get_weather(city: 'Paris')",
        "I will call get_weather(city='Paris').",
        "Calling: get_weather('Paris') now",
        "print(default_api.get_weather('Paris')) it is",
        "The root: math.sqrt(2) it is",
        "[get_weather]",
        "get_weather",
        "[unknown_tool(x y)]",
        "unknown_tool(x = 3",
        "```json\n[{'name': 'get_weather', 'arguments': {'city': 'Paris'}}]\n```",
        '{"get_weather": {"city": "Paris"}}',
        'Sure. {"name": "get_weather", "arguments": {"city": "Paris"}}',
        "<tool_call>get_weather</tool_call>",
        "<TOOLCALL>[get_weather(city='Paris')]</TOOLCALL>",
        "get_weather(**{'city': 'Paris'})",
        "Sure: [get_weather()]",
        "[get_wea ther()]",
        "'get_weather()]",
        "[math'.sqrt(), get_weather()",
        "get_weather'city=Paris)",
        "```python\n[math.sq)rt(*y)\n```",
        "__import__('os').system('true') + 1",
        "[get_weather(city='Paris'), 'and more']",
    ],
)
def test_a_call_that_cannot_be_read_is_never_prose(text: str) -> None:
    reply = reader("bfcl").read({"result": text}, ["get_weather", "math.sqrt"])
    assert reply.fault is not None
    assert reply.fault.kind in ("unparsable", "wrong_shape")


def test_an_underscore_is_undone_only_where_it_is_clear_whose_it_is() -> None:
    row = {"result": [{"a_b": "{}"}]}
    named = [
        calls_of(reader("bfcl").read(row, tools).message)[0][0]
        for tools in (["a.b"], ["a.b", "a_b"], ["a.b", "a-b"], ["a.b", "a b"], ["c"], [])
    ]
    assert named == ["a.b", "a_b", "a.b", "a_b", "a_b", "a_b"]


@pytest.mark.parametrize("blank", ["", "  "])
def test_native_arguments_that_are_blank_are_unreadable_for_bfcl(blank: str) -> None:
    reply = reader("bfcl").read({"result": [{"f": blank}]}, ["f"])
    assert reply.fault is not None
    assert reply.fault.kind == "unparsable"


def test_the_gold_of_the_public_data_reads_back_in_both_modes(shared_data: Path) -> None:
    folder = shared_data / "bfcl_v4"
    seen = 0
    for name in ("simple_python", "multiple", "parallel", "parallel_multiple"):
        items = {r["id"]: r for r in rows_of(folder / f"BFCL_v4_{name}.json")}
        for row in rows_of(folder / "possible_answer" / f"BFCL_v4_{name}.json"):
            tools = [f["name"] for f in items[row["id"]]["function"]]
            gold = [
                Call(name=n, arguments={k: _first(v) for k, v in given.items() if _first(v) != ""})
                for call in row["ground_truth"]
                for n, given in call.items()
            ]
            text = ", ".join(f"{c.name}({', '.join(f'{k}={v!r}' for k, v in c.arguments.items())})" for c in gold)
            native = [{c.name.replace(".", "_"): json.dumps(c.arguments)} for c in gold]
            for result in (f"[{text}]", native):
                reply = reader("bfcl").read({"id": row["id"], "result": result}, tools)
                assert reply.message == Message(calls=tuple(gold)), row["id"]
                seen += 1
    assert seen > 1000


def _first(accepted: Any) -> Any:
    """The first accepted value, those inside an object resolved as well."""
    value = accepted[0]
    if isinstance(value, dict):
        return {k: v[0] if isinstance(v, list) and v else v for k, v in value.items()}
    return value


# What a Message is on the wire reads back as itself

names = st.from_regex(r"[a-z][a-z_]{0,8}(\.[a-z]{1,5})?", fullmatch=True)
plain = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=6,
)
messages = st.builds(
    lambda text, calls: Message(
        text=text,
        calls=tuple(Call(name=n, arguments=a, label=f"id_{i}") for i, (n, a) in enumerate(calls)),
    ),
    plain,
    st.lists(st.tuples(names, st.dictionaries(plain, values, max_size=3)), max_size=3),
)


def as_chat(m: Message) -> dict[str, Any]:
    calls = [
        {"id": c.label, "type": "function", "function": {"name": wire(c.name), "arguments": json.dumps(c.arguments)}}
        for c in m.calls
    ]
    message = {"role": "assistant", "content": m.text or None, **({"tool_calls": calls} if calls else {})}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def as_responses(m: Message) -> dict[str, Any]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": m.text}]}
    calls = [
        {"type": "function_call", "call_id": c.label, "name": wire(c.name), "arguments": json.dumps(c.arguments)}
        for c in m.calls
    ]
    return {"object": "response", "status": "completed", "output": [*([said] if m.text else []), *calls]}


def as_anthropic(m: Message) -> dict[str, Any]:
    said = [{"type": "text", "text": m.text}] if m.text else []
    calls = [{"type": "tool_use", "id": c.label, "name": wire(c.name), "input": c.arguments} for c in m.calls]
    return {"type": "message", "role": "assistant", "content": [*said, *calls], "stop_reason": "end_turn"}


def as_gemini(m: Message) -> dict[str, Any]:
    calls = [{"functionCall": {"id": c.label, "name": c.name, "args": c.arguments}} for c in m.calls]
    parts = [*([{"text": m.text}] if m.text else []), *calls]
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}


def as_mcp(m: Message) -> dict[str, Any]:
    requests = [
        {"jsonrpc": "2.0", "id": c.label, "method": "tools/call", "params": {"name": c.name, "arguments": c.arguments}}
        for c in m.calls
    ]
    return {"requests": requests, "text": m.text}


def as_own(m: Message) -> dict[str, Any]:
    return {"reply": Reply(text="raw", message=m).model_dump(mode="json", exclude_defaults=True)}


def as_calls(m: Message) -> dict[str, Any]:
    return {"text": m.text, "calls": [{"name": c.name, "arguments": c.arguments, "label": c.label} for c in m.calls]}


def wire(name: str) -> str:
    return name.replace(".", "_")


RENDERERS: list[tuple[str, Callable[[Message], dict[str, Any]]]] = [
    ("openai_chat", as_chat),
    ("openai_responses", as_responses),
    ("anthropic", as_anthropic),
    ("gemini", as_gemini),
    ("mcp", as_mcp),
    ("callgrain", as_own),
    ("callgrain", as_calls),
]


@settings(max_examples=40, deadline=None)
@given(message=messages)
@pytest.mark.parametrize(("kind", "render"), RENDERERS, ids=lambda p: p if isinstance(p, str) else p.__name__)
def test_what_is_rendered_reads_back_equal(
    kind: str, render: Callable[[Message], dict[str, Any]], message: Message
) -> None:
    tools = sorted({c.name for c in message.calls})
    if len({wire(t) for t in tools}) < len(tools):
        return  # two names that are spelt alike cannot be told apart
    for row in (render(message), {"id": "w", "response": {"body": render(message)}}):
        on_disk = json.loads(json.dumps(row))
        bare, _, _ = unwrapped(on_disk)
        assert [name for name in KINDS_OF_RECORD if reader(name).fits(bare)] == [kind]
        assert reader(kind).read(bare, tools).message == message


@settings(max_examples=60, deadline=None)
@given(message=messages)
def test_what_is_rendered_for_bfcl_reads_back_equal(message: Message) -> None:
    calls = tuple(c.model_copy(update={"label": None}) for c in message.calls)
    row = {"id": "x", "result": [{c.name: json.dumps(c.arguments)} for c in calls]}
    assert reader("bfcl").read(row, []).message == Message(calls=calls)
    python = [c for c in calls if all(k.isidentifier() and k.isascii() and k not in KEYWORDS for k in c.arguments)]
    python = [c for c in python if not KEYWORDS & set(c.name.split("."))]
    text = f"[{', '.join(f'{c.name}({_spelt(c.arguments)})' for c in python)}]"
    assert reader("bfcl").read({"id": "x", "result": text}, []).message == Message(calls=tuple(python))


KEYWORDS = {*keyword.kwlist, "__debug__"}


def _spelt(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in arguments.items())


# Hostile records

fields = (
    "id", "reply", "message", "calls", "text", "role", "content", "tool_calls", "function_call", "choices",
    "finish_reason", "output", "object", "status", "error", "incomplete_details", "type", "stop_reason",
    "result", "candidates", "parts", "promptFeedback", "finishReason", "usage", "requests", "jsonrpc", "method",
    "params", "name", "arguments", "dialect", "completion", "response", "body", "function", "thought", "args",
    "functionCall",
)  # fmt: skip
words = (
    "assistant", "message", "response", "tools/call", "tool_use", "text", "length", "incomplete", "MAX_TOKENS",
    "json", "compact", "f(a=1)", "[f(a=", "\ud800", "function_call", "reasoning", "thinking", "output_text",
    "error",
)  # fmt: skip
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(words)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(fields) | plain, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=600, deadline=None)
@given(
    row=st.dictionaries(st.sampled_from(fields) | plain, anything, max_size=6),
    tools=st.lists(st.text(max_size=3), max_size=3),
)
def test_no_object_makes_a_reader_raise(row: dict[str, Any], tools: list[str]) -> None:
    before = repr(row)
    bare, item, subtask = unwrapped(row)
    assert isinstance(item, str)
    assert isinstance(subtask, str)
    for name in KINDS_OF_RECORD:
        for given_row in (row, bare):
            assert reader(name).fits(given_row) in (True, False)
            reply = reader(name).read(given_row, tools)
            assert one_outcome(reply)
            assert reply.fault is None or reply.fault.kind in KINDS
            assert Reply.model_validate_json(reply.model_dump_json()) is not None
    assert repr(row) == before


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


CARRIERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "openai_chat": lambda a: {"message": {"tool_calls": [{"function": {"name": "f", "arguments": a}}]}},
    "openai_responses": lambda a: {"output": [{"type": "function_call", "name": "f", "arguments": a}]},
    "anthropic": lambda a: {"content": [{"type": "tool_use", "name": "f", "input": a}]},
    "gemini": lambda a: {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": a}}]}}]},
    "mcp": lambda a: {"requests": [{"method": "tools/call", "params": {"name": "f", "arguments": a}}]},
    "callgrain": lambda a: {"calls": [{"name": "f", "arguments": a}]},
    "bfcl": lambda a: {"result": [{"f": a}]},
}


@pytest.mark.parametrize("kind", CARRIERS)
@pytest.mark.parametrize("spelt", [dict, json.dumps], ids=["object", "string"])
def test_hostile_arguments(kind: str, spelt: Callable[[Any], Any]) -> None:
    def read(arguments: Any) -> Reply:
        return reader(kind).read(CARRIERS[kind](spelt(arguments)), ["f"])

    assert calls_of(read({"x": deep(60)}).message) == [["f", {"x": deep(60)}]]
    for bad in ({"x": deep(70)}, {"x": deep(900)}, {"x": float("inf")}):
        assert (fault := read(bad).fault) is not None
        assert fault.kind == "unparsable"
    assert calls_of(read({"x": "a\ud800b"}).message) == [["f", {"x": "a?b"}]]


@pytest.mark.parametrize("kind", CARRIERS)
def test_hostile_argument_texts(kind: str) -> None:
    def read(arguments: str) -> Reply:
        return reader(kind).read(CARRIERS[kind](arguments), ["f"])

    assert calls_of(read('{"x": 1, "x": 2}').message) == [["f", {"x": 2}]]  # as every JSON reader has it
    for bad in ('{"x": 1e400}', '{"x": NaN}', "[" * 100_000, '{"x":' * 100_000, '{"x": 1} and so on', "'x'"):
        assert (fault := read(bad).fault) is not None
        assert fault.kind == "unparsable"
        assert len(fault.given or "") <= 200


@pytest.mark.parametrize(
    "text",
    [
        "f(x=lambda: __import__('os').system('true'))",
        "f(x=[i for i in range(3)])",
        "f(x={i for i in y}, z=1)",
        "f(x=f'{1}')",
        "f(x=9**9**9)",
        "f(x=2**100000)",
        "f(x=(2**4000)**4000)",
        "f(x=1/0)",
        "f(x=1e400)",
        "f(x=1j)",
        "f(x=b'a')",
        "f(x={1, 2})",
        "f(x='a' * 1000000000)",
        "f(x=1 << 100000000)",
        "f(x=(-8) ** 0.5)",
        "f(x={**y})",
        "f(x=[*y])",
        "f(x=not y)",
        "f(x=(y := 1))",
        "f(x=yield)",
        "__import__('os').system('true')",
        "(lambda: 0)(x=1)",
        "f(x=1)(y=2)",
        "[f(x=" + "[" * 100_000 + "]" * 100_000 + ")]",
        "[" * 100_000,
        "f(x=" + "(" * 30_000,
        "f(x=" + "1+" * 40_000 + "1)",
        "f(x=" + "-" * 90_000 + "1)",
        "f" + ".a" * 40_000 + "(x=1)",
        "f" + "()" * 40_000 + "(x=1)",
        "f(x='" + "a" * 200_000 + "')",
        "f(x=" + "9" * 5_000 + ")",
        "f(x='a\0b')",
    ],
)
def test_python_that_is_no_call_is_a_fault_and_never_run(text: str) -> None:
    read = read_python(text)
    assert isinstance(read, Fault)
    assert read.kind in ("unparsable", "wrong_shape")
    assert len(read.given or "") <= 200
    reply = reader("bfcl").read({"result": text}, ["f"])
    assert reply.message is None


def test_nothing_in_a_text_is_run() -> None:
    seen: list[str] = []
    watching = True

    def hook(event: str, _: Any) -> None:
        if watching and event in ("exec", "import", "open", "os.system", "subprocess.Popen"):
            seen.append(event)

    read_python("f(x=1)")  # whatever is loaded on first use is loaded now
    sys.addaudithook(hook)
    try:
        inert = read_python("f(x=__import__('os'), y=open('/dev/null'), z=exit())")
        top = read_python("__import__('os')")
        read_python("[f(x=exec('1')), g(y=2**9)]")
    finally:
        watching = False
    assert seen == []
    assert isinstance(inert, list)
    assert inert[0].arguments == {"x": "__import__('os')", "y": "open('/dev/null')", "z": "exit()"}
    assert top == [Call(name="__import__")]  # a call of a tool that nobody offers


@pytest.mark.parametrize("kind", KINDS_OF_RECORD)
@pytest.mark.parametrize("piece", ["a", "[", "f(", "{", "<tool_call>", "a(a=", "a(1", "\ud800", "```"])
def test_ten_megabytes_of_text_take_bounded_time(kind: str, piece: str) -> None:
    text = piece * (10_000_000 // len(piece))
    rows = {
        "callgrain": {"calls": [], "text": text},
        "bfcl": {"result": text},
        "openai_chat": {"role": "assistant", "content": text},
        "openai_responses": {"output": [{"type": "message", "content": [{"text": text}]}]},
        "anthropic": {"content": [{"type": "text", "text": text}]},
        "gemini": {"candidates": [{"content": {"parts": [{"text": text}]}}]},
        "mcp": {"requests": [], "text": text},
        "text": {"text": text},
    }
    started = time.perf_counter()
    assert one_outcome(reader(kind).read(rows[kind], ["f", "a"]))
    assert time.perf_counter() - started < 20


def test_a_recorded_row_gives_its_reply() -> None:
    one = Recorded("x", 1, "callgrain", {"calls": [{"name": "f", "arguments": {}}]})
    assert one.reply(["f"]).message == Message(calls=(Call(name="f"),))
    with pytest.raises(AttributeError):
        one.id = "y"  # type: ignore[misc]


ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    float("inf"),
    "",
    "x",
    "\ud800",
    [],
    [[]],
    {},
    {"a": 1},
    [None],
    [{}],
    "[f(",
)


def damaged(row: Any, rng: Random) -> Any:
    """`row` with one field at a random place dropped, put elsewhere or replaced by something odd."""
    if isinstance(row, dict) and row and rng.random() < 0.9:
        name = rng.choice(list(row))
        other = rng.choice([name, name, rng.choice(fields)])
        return {**{k: v for k, v in row.items() if k != name}, other: damaged(row[name], rng)}
    if isinstance(row, list) and row and rng.random() < 0.9:
        at = rng.randrange(len(row))
        return [*row[:at], damaged(row[at], rng), *row[at + 1 :]]
    return rng.choice(ODD)


@pytest.mark.parametrize("kind", KINDS_OF_RECORD)
def test_damaged_records_never_raise(kind: str) -> None:
    rng = Random(kind)
    for row in rows_of(FIXTURES / f"{kind}.jsonl"):
        for _ in range(60):
            worse = damaged(row, rng)
            bare, _, _ = unwrapped(worse if isinstance(worse, dict) else {"id": worse})
            fitting = [name for name in KINDS_OF_RECORD if reader(name).fits(bare)]
            for name in {kind, *fitting}:
                reply = reader(name).read(bare, ["get_weather", "shop.find"])
                assert one_outcome(reply)
                assert Reply.model_validate_json(reply.model_dump_json()) is not None
