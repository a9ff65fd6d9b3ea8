"""Text dialects: what is written reads back, what is cut short is no refusal, hostile text is read in linear time."""

import json
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callgrain.core import plugins
from callgrain.core.types import Call, Fault, Message, Prompt, Tool
from callgrain.verify.faults import TABLE
from callgrain.verify.verdict import branch

NAMES = ("json", "compact")
SLOW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
traps = st.sampled_from(
    [
        "", " ", "\n", "null", "true", "@f", "@f a=1", '> "x"', '> "', "[]", "{}", '[{"name": "f"}]', "[sic] he said",
        "<think>", "</think>", "<think>a</think>b", "\\", "<\\/think>", '{"name"', "<tool_call>", "[TOOL_CALLS]",
        "$a$", "$a.b$", '{"text": "x"}', "```json\n[]```", " padded ", "DECLINE", "really?", "\u2028", "a\x00b",
    ]
)  # fmt: skip
words = st.one_of(texts, traps)
keys = st.one_of(st.from_regex(r"[a-z_][a-z0-9_.\-/]{0,8}", fullmatch=True), words)
numbers = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)
calls = st.builds(
    Call, name=keys, arguments=st.dictionaries(keys, values, max_size=4), label=st.one_of(st.none(), keys)
)
messages = st.builds(
    Message,
    role=st.just("assistant"),
    text=words,
    thought=words,
    calls=st.lists(calls, max_size=3).map(tuple),
)


def dialect(name: str):
    return plugins.load("dialects", name)()


@pytest.mark.parametrize("name", NAMES)
@given(message=messages)
@example(message=Message(text="<think>"))
@example(message=Message(text=" x", thought="</think>"))
@example(message=Message(thought="\\</think>\\"))
@example(message=Message(text="", calls=(Call(name=""),)))
@example(message=Message(calls=(Call(name="f", arguments={"a": -0.0}),)))
@SLOW
def test_what_is_written_reads_back(name: str, message: Message) -> None:
    assert dialect(name).parse(dialect(name).write(message)) == message


@pytest.mark.parametrize("name", NAMES)
@given(message=messages.filter(lambda m: m.calls), data=st.data())
@settings(SLOW, max_examples=150)
def test_a_call_that_is_cut_short_is_never_a_refusal(name: str, message: Message, data: st.DataObject) -> None:
    """Every cut: a fault, or fewer calls (or the last with less in it); never a plain text."""
    written = dialect(name).write(message.model_copy(update={"thought": ""}))
    at = data.draw(st.integers(1, max(1, len(written.rstrip()) - 1)))
    read = dialect(name).parse(written[:at])
    if isinstance(read, Fault):
        assert TABLE[read.kind].level == "form"
        return
    assert read.calls, (written[:at], read)
    assert len(read.calls) <= len(message.calls)
    assert branch(read) == "call"


def test_every_cut_of_a_json_list_is_truncated() -> None:
    written = dialect("json").write(Message(calls=(Call(name="f", arguments={"a": [1, {"b": "x y"}]}, label="l"),)))
    for at in range(1, len(written)):
        read = dialect("json").parse(written[:at])
        assert isinstance(read, Fault), written[:at]
        assert read.kind == "truncated", written[:at]


@pytest.mark.parametrize("name", NAMES)
def test_json_values_keep_their_types(name: str) -> None:
    typed = {"a": 1, "b": 1.0, "c": True, "d": None, "e": "1", "f": "true", "g": "null", "h": [], "i": {}, "j": ""}
    read = dialect(name).parse(dialect(name).write(Message(calls=(Call(name="f", arguments=typed),))))
    assert isinstance(read, Message)
    back = read.calls[0].arguments
    assert {k: (type(v), v) for k, v in back.items()} == {k: (type(v), v) for k, v in typed.items()}


@pytest.mark.parametrize("name", NAMES)
@given(text=words | st.binary(max_size=60).map(lambda b: b.decode("utf-8", "replace")))
@SLOW
def test_any_text_is_read_or_named_a_fault_of_form(name: str, text: str) -> None:
    read = dialect(name).parse(text)
    assert isinstance(read, Message) or TABLE[read.kind].level == "form"


HOSTILE = {
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 20_000,
    "at signs": "@f a=1 " * 14_000,
    "labels": "@a:" * 33_000,
    "quotes": '@f a="' + '\\"' * 50_000,
    "thoughts": "<think>" * 14_000,
    "open thoughts": "<think>" + "</" * 50_000,
    "blanks": "@f" + " " * 100_000 + "!",
    "marks": "<tool_call>" * 9_000,
    "fences": "```" * 33_000,
    "digits": "@f a=0." + "1" * 100_000,
    "huge integer": '[{"name": "f", "arguments": {"a": ' + "9" * 100_000 + "}}]",
    "huge exponent": '[{"name": "f", "arguments": {"a": 1e999999}}]',
    "not a number": '[{"name": "f", "arguments": {"a": NaN}}]',
    "lone surrogate": '[{"name": "f", "arguments": {"a": "\\ud800"}}]',
    "dots": "@f a=$" + "." * 100_000,
    "objects": '[{"name": "f"},' * 6_600,
    "escapes": '@f a="' + "\\u0041" * 16_000,
    "newlines": "\n" * 100_000 + "@",
    "keys": "@f " + "a=b " * 25_000,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_hostile_text_takes_linear_time(name: str, what: str) -> None:
    parse, text = dialect(name).parse, HOSTILE[what]
    parse(text[:1000])
    start = time.process_time()
    read = parse(text)
    assert time.process_time() - start < 1.0
    assert isinstance(read, Message) or TABLE[read.kind].level == "form"
    if isinstance(read, Message):
        json.dumps(read.model_dump(mode="json"), allow_nan=False).encode()


@pytest.mark.parametrize("name", NAMES)
def test_time_grows_with_the_length_and_not_its_square(name: str) -> None:
    for what in ("at signs", "blanks", "quotes", "thoughts", "open thoughts", "marks", "newlines", "objects"):
        text = HOSTILE[what]
        eighth, whole = _seconds(name, text[: len(text) // 8]), _seconds(name, text)
        assert whole < 30 * eighth + 0.02, (what, eighth, whole)


def _seconds(name: str, text: str) -> float:
    parse, best = dialect(name).parse, 9.0
    for _ in range(3):
        start = time.process_time()
        parse(text)
        best = min(best, time.process_time() - start)
    return best


def test_compact_passes_over_blanks_around_its_marks() -> None:
    want = Message(calls=(Call(name="find_hotel", arguments={"city": "paris", "nights": 2}, label="a"),))
    for text in (
        "@a:find_hotel city=paris nights=2",
        "@ a: find_hotel city= paris nights =2",
        " @ a : find_hotel city = paris nights = 2 ",
        "@a:find_hotel\ncity=paris\tnights=2\n",
        '@"a":"find_hotel" "city"="paris" "nights"=2',
    ):
        assert dialect("compact").parse(text) == want, text
    two = dialect("compact").parse('@ f a= $x.y$ @ g > "so"')
    assert two == Message(text="so", calls=(Call(name="f", arguments={"a": "$x.y$"}), Call(name="g")))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("json", '[{"name": "f", "arguments": {"a": 1}}', "truncated"),
        ("json", '[{"name": "f", "arguments": {"a": 1}}] and more', "wrong_shape"),
        ("json", "[{'name': 'f'}]", "unparsable"),
        ("json", '[{"tool": "f", "input": {}}]', "wrong_shape"),
        ("json", '{"text": 3}', "wrong_shape"),
        ("json", '{"answer": "x"}', "wrong_shape"),
        ("json", 'Sure: [{"name": "f", "arguments": {}}]', "wrong_shape"),
        ("json", '[{"name": "f", "arguments": [1]}]', "wrong_shape"),
        ("json", '<tool_call>{"name": "f"}</tool_call>', "wrong_shape"),
        ("compact", "@f a=", "truncated"),
        ("compact", '@f a="x', "truncated"),
        ("compact", "@", "truncated"),
        ("compact", "@f a", "truncated"),
        ("compact", "@f a b", "unparsable"),
        ("compact", "@f a=1 a=2", "unparsable"),
        ("compact", '[{"name": "f", "arguments": {}}]', "wrong_shape"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, text: str, kind: str) -> None:
    read = dialect(name).parse(text)
    assert isinstance(read, Fault), read
    assert read.kind == kind


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["DECLINE", "I [sic] said so.", "Call me at 5.", "{braces} in prose", "a < b", "2 > 1"]
)
def test_prose_is_prose(name: str, text: str) -> None:
    assert dialect(name).parse(text) == Message(text=text)


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_shows_tools_and_turns_and_stays_open(name: str) -> None:
    tool = Tool(name="f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    prompt = Prompt(
        messages=(
            Message(role="system", text="Be brief."),
            Message(role="user", text="Do f with 3."),
            Message(role="assistant", calls=(Call(name="f", arguments={"a": 3}),)),
        ),
        tools=(tool,),
    )
    turns = dialect(name).turns(prompt)
    assert [role for role, _ in turns] == ["system", "user", "assistant"]
    assert "Be brief." in turns[0][1]
    assert "integer" in turns[0][1]
    assert dialect(name).parse(turns[2][1]) == Message(calls=(Call(name="f", arguments={"a": 3}),))
    rendered = dialect(name).render(prompt)
    assert rendered.endswith("<|assistant|>\n")
    assert dialect(name).end in rendered
