"""Turns piece by piece: events are never taken back, cuts change nothing, work is linear; near-misses are named."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callgrain.core.protocols import Dialect, Event, Stream
from callgrain.core.types import Call, Fault, Json, Message
from callgrain.dialects import _recover
from callgrain.dialects._stream import Buffered
from callgrain.dialects.chat_template import ChatTemplate
from callgrain.dialects.compact import Compact
from callgrain.dialects.json import JsonDialect
from callgrain.verify.faults import TABLE

SLOW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sure() -> ChatTemplate:
    """A chat template whose prompt leaves no thought open: what most templates are."""
    made = ChatTemplate()
    made.may_be_thinking = False
    return made


def through_json() -> ChatTemplate:
    """A chat template without a place for tools."""
    made = ChatTemplate()
    made._spoken = JsonDialect()
    return made


class Fenced(JsonDialect):
    """A dialect of somebody else's, which knows nothing of streams."""

    def parse(self, text: str) -> Message | Fault:
        return super().parse(text.strip().removeprefix("```json\n").removesuffix("\n```"))


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "json": JsonDialect,
    "compact": Compact,
    "marks": sure,
    "marks, perhaps thinking": ChatTemplate,
    "marks, told json": through_json,
    "fenced": Fenced,
}

shards = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        "<tool_cal",
        "<think>",
        "</think>",
        "<\\think>",
        "<\\\\",
        "\\",
        "[TOOL_CALLS]",
        "[TOOL",
        '{"name": "f", "arguments": {"a": 1}}',
        '{"name": "g", "arguments": {"b": "x]}\\""}, "label": "l"}',
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        ":",
        '"',
        "'",
        " ",
        "\n",
        "\n\n",
        "```json\n",
        "```",
        '"name"',
        '{"name":',
        '{"text": "hi", "calls": [',
        "@f a=1 ",
        '@a:g b="@ >" ',
        "@",
        '> "said"',
        ">",
        "f[ARGS]",
        "f{}",
        "<|python_tag|>",
        "<|tool_call_start|>[f(a=1)]",
        "<|tool_call_end|>",
        "<|tool_call|>",
        "Done.",
        "é\u2028",
        "  ",
        "null",
        '[{"name": "f", "arguments": {}}',
        "[sic] ",
        "{'name': 'f', 'arguments': {'a': True}}",
        "\\[{",
        '{"type": "function", "function": {"name": "f"}}',
    ]
)
hostile = st.lists(st.one_of(shards, shards, st.text(max_size=5)), max_size=12).map("".join)
words = st.one_of(st.text(max_size=12), shards)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.floats(-1e6, 1e6) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
calls = st.builds(
    Call,
    name=names,
    arguments=st.dictionaries(names, values, min_size=1, max_size=3),
    label=st.none() | st.none() | names,
)
turns = st.builds(Message, text=words, thought=words, calls=st.lists(calls, max_size=3).map(tuple))
called = st.builds(Message, calls=st.lists(calls, min_size=1, max_size=3).map(tuple))


def pieces(text: str, cuts: list[int]) -> list[str]:
    at = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(at)]


def joined(events: list[Event]) -> list[tuple[str, str | Call]]:
    """Events with neighbouring text in one piece: what must not depend on the cuts."""
    out: list[tuple[str, str | Call]] = []
    for event in events:
        assert sum(map(bool, (event.text, event.thought, event.call))) == 1, event
        kind = "text" if event.text else "thought" if event.thought else "call"
        said = event.text or event.thought or event.call
        assert said is not None
        if out and kind != "call" and out[-1][0] == kind:
            out[-1] = (kind, str(out[-1][1]) + str(said))
        else:
            out.append((kind, said))
    return out


def streamed(stream: Stream, parts: list[str]) -> tuple[list[Event], list[Event], Message | Fault]:
    """(events before the end, events at the end, what it is read as)."""
    early = [event for part in parts for event in stream.feed(part)]
    return early, stream.rest(), stream.close()


def said(events: list[Event]) -> Message:
    return Message(
        text="".join(e.text for e in events),
        thought="".join(e.thought for e in events),
        calls=tuple(e.call for e in events if e.call),
    )


def holds(name: str, text: str, cuts: list[int]) -> None:
    dialect = DIALECTS[name]()
    whole = dialect.parse(text)
    reference = streamed(dialect.stream(), [text])
    for parts in (pieces(text, cuts), list(text)):
        early, late, read = streamed(dialect.stream(), parts)
        assert read == whole
        assert joined(early + late) == joined(reference[0] + reference[1])
        if isinstance(whole, Fault):
            assert late == []
            continue
        assert said(early + late) == whole.model_copy(update={"role": "assistant"})
        # What came early was a beginning of the end, so that nothing had to be taken back.
        assert whole.text.startswith(said(early).text)
        assert whole.thought.startswith(said(early).thought)
        assert whole.calls[: len(said(early).calls)] == said(early).calls


@pytest.mark.parametrize("name", sorted(DIALECTS))
@given(text=hostile, cuts=st.lists(st.integers(0, 200), max_size=5))
@example(text='[{"arguments": {}, "name": "f"}] <tool_call>{"name": "g"}</tool_call>', cuts=[])
@example(text='{"calls": [{"name": "f"}], "calls": []}', cuts=[])
@example(text='{"name": "f"}\n<tool_call>{"name": "g"}</tool_call>', cuts=[])
@example(text="{'name': 'f', 'arguments': {'a': True}}[TOOL ", cuts=[])
@example(text="hi </think><tool_call>{}", cuts=[])
@example(text='\ud800<tool_call>{"name": "f"}</tool_call>\ud83d\ude00', cuts=[])
@example(text='a\n<tool_call>{"name": "f"} ,</tool_call> b \n c <tool_call>{"name": "g"};[] ', cuts=[])
@settings(SLOW, max_examples=250)
def test_however_a_text_is_cut_it_is_read_the_same(name: str, text: str, cuts: list[int]) -> None:
    holds(name, text, cuts)


@pytest.mark.parametrize("name", sorted(DIALECTS))
@given(message=turns, cuts=st.lists(st.integers(0, 400), max_size=5), end=st.integers(0, 400))
@SLOW
def test_a_written_turn_streams_and_a_cut_one_gives_a_beginning_of_its_calls(
    name: str, message: Message, cuts: list[int], end: int
) -> None:
    written = DIALECTS[name]().write(message)
    holds(name, written, cuts)
    early, late, read = streamed(DIALECTS[name]().stream(), list(written[:end]))
    if message.calls and not message.thought and isinstance(read, Fault):
        got = said(early + late).calls
        assert got == message.calls[: len(got)]


CALL = Call(name="f", arguments={"a": "x"})
OTHER = Call(name="g", arguments={"b": [1, {"c": "]}"}]})


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("json", '[{"name": "f", "arguments": {"a": "x"}}', (CALL,)),
        (
            "json",
            '[{"name": "f", "arguments": {"a": "x"}}, {"name": "g", "arguments": {"b": [1, {"c": "]}"}]}}',
            (CALL, OTHER),
        ),
        ("compact", "@f a=x\n@", (CALL,)),
        ("compact", '@f a=x @g b=[1,{"c":"]}"}] >', (CALL, OTHER)),
        ("marks", 'Hm.\n<tool_call>\n{"name": "f", "arguments": {"a": "x"}}', (CALL,)),
        ("marks", '[TOOL_CALLS][{"name": "f", "arguments": {"a": "x"}}', (CALL,)),
        ("marks", '[TOOL_CALLS]f[ARGS]{"a": "x"}', (CALL,)),
        ("marks", '<|tool_call_start|>[f(a="x")]<|tool_call_end|>', (CALL,)),
        ("marks", '{"name": "f", "arguments": {"a": "x"}}', (CALL,)),
        ("marks, perhaps thinking", '</think><tool_call>{"name": "f", "arguments": {"a": "x"}}', (CALL,)),
        ("marks, told json", '[{"name": "f", "arguments": {"a": "x"}}', (CALL,)),
    ],
)
def test_a_call_is_there_with_its_last_letter(name: str, text: str, wanted: tuple[Call, ...]) -> None:
    stream = DIALECTS[name]().stream()
    events: list[Event] = []
    for letter in text[:-1]:
        events += stream.feed(letter)
    assert said(events).calls == wanted[:-1]
    events += stream.feed(text[-1])
    assert said(events).calls == wanted


@pytest.mark.parametrize("name", ["json", "compact", "marks"])
def test_text_comes_as_soon_as_it_can_be_no_mark(name: str) -> None:
    stream = DIALECTS[name]().stream()
    got = [said(stream.feed(part)).text for part in ("Hel", "lo <", "tool", "box> th", "ere")]
    # A blank before a mark may be the last of the text: json and compact strip it there.
    blank = "" if name == "marks" else " "
    assert got == ["Hel", "lo " if name == "marks" else "lo", "", f"{blank}<toolbox> th", "ere"]


def test_a_thought_comes_once_it_is_closed() -> None:
    for name in ("json", "compact", "marks", "marks, perhaps thinking"):
        stream = DIALECTS[name]().stream()
        events = stream.feed("<think>hm</thi") + stream.feed("nk>\n\nSo ") + stream.feed("it is")
        assert joined(events)[0] == ("thought", "hm"), name
        assert said(events + stream.rest()).text == "So it is"


def test_a_dialect_that_overrides_parse_alone_is_buffered() -> None:
    assert type(Fenced().stream()) is Buffered
    assert type(JsonDialect().stream()) is not Buffered


# linear time ---------------------------------------------------------------------------------

ONE = '{"name": "f", "arguments": {"a": "x y", "b": [1, 2]}}'
UNITS = {
    "brackets": "[",
    "braces": '{"a":',
    "names": '{"name":',
    "calls cut": '{"name": "f", "arguments": {"a": ',
    "marks": "<tool_call>",
    "near marks": "<tool_cal",
    "escaped quotes": '"\\',
    "apostrophes": "'",
    "spaced apostrophes": "{'a' ' ",
    "fences": "```",
    "thoughts": "<think>",
    "ends of thoughts": "</think>",
    "lines": "@f x=",
    "labels": "@a:",
    "backslashes": "<\\",
    "commas": "[,",
    "objects": ONE + "\n",
    "list": ONE + ", ",
    "marked": f"<tool_call>{ONE}</tool_call>\n",
    "python": "<|tool_call_start|>[f(",
    "blanks": " ",
    "newlines": "\n",
    "single": "{'name': 'f', 'arguments': {'a': 'it's'}}",
    "comments": "{#",
    "words": "{a ",
    "quoted keys": '@f "a" ',
    "people": "@name and ",
    "mistral": "[TOOL_CALLS]f",
    "args": "[TOOL_CALLS]f[ARGS]{}",
    "closes": "}]",
    "digits": "9",
    "minus": "-",
    "open texts": '{"a',
    "strings": '@f a="x ',
    "junk": '[{"name": "f", "arguments": {"a": 1}} x',
    "dots": "@f a=$.",
}
STARTS = {
    "": "",
    "list": "[",
    "mark": "<tool_call>",
    "line": "@f a=1 ",
    "python": "<|tool_call_start|>[f(a=",
    "object": '[{"name": "f", "arguments": {"a": ',
}


def seconds(do: Callable[[], object]) -> float:
    best = 9.0
    for _ in range(3):
        began = time.process_time()
        do()
        best = min(best, time.process_time() - began)
    return best


def everything(dialect: Dialect, text: str) -> None:
    dialect.parse(text)
    getattr(dialect, "recover", str)(text)


@pytest.mark.parametrize(
    ("name", "start"), [*itertools.product(["json", "compact", "marks"], sorted(STARTS)), ("marks, told json", "")]
)
def test_reading_a_hostile_hundred_kilobytes_takes_a_moment(name: str, start: str) -> None:
    dialect = DIALECTS[name]()
    for what, unit in UNITS.items():
        text = STARTS[start] + unit * (100_000 // len(unit))
        began = time.process_time()
        read = dialect.parse(text)
        took = time.process_time() - began
        assert isinstance(read, Message) or TABLE[read.kind].level == "form"
        # Where the machine was busy, the best of three counts.
        assert min(took, took if took < 0.2 else seconds(lambda text=text: dialect.parse(text))) < 0.2, what


@pytest.mark.parametrize("name", ["json", "compact", "marks"])
def test_twice_the_text_takes_less_than_four_times_as_long(name: str) -> None:
    dialect = DIALECTS[name]()
    for what, unit in UNITS.items():
        half, whole = unit * (12_000 // len(unit)), unit * (24_000 // len(unit))
        short, long = (seconds(lambda text=text: everything(dialect, text)) for text in (half, whole))
        assert long < 4 * short + 0.01, (what, short, long)


@pytest.mark.parametrize("name", ["json", "compact", "marks"])
@pytest.mark.parametrize("unit", ["list", "blanks", "backslashes", "escaped quotes"])
def test_streaming_letter_by_letter_takes_linear_time(name: str, unit: str) -> None:
    def stream(length: int) -> float:
        text = {"json": "[", "compact": "@f a=1 ", "marks": "x "}[name] + UNITS[unit] * (length // len(UNITS[unit]))
        made = DIALECTS[name]().stream()
        began = time.process_time()
        for letter in text:
            made.feed(letter)
        return time.process_time() - began

    short, long = min(stream(8_000), stream(8_000)), min(stream(32_000), stream(32_000))
    assert long < 10 * short + 0.05, (short, long)


def test_a_megabyte_letter_by_letter() -> None:
    text = "[" + ", ".join([ONE] * (1_000_000 // len(ONE)))
    stream = JsonDialect().stream()
    began = time.process_time()
    count = sum(len(stream.feed(letter)) for letter in text)
    assert count == 1_000_000 // len(ONE)
    assert time.process_time() - began < 12


# near-misses ---------------------------------------------------------------------------------

PROSE = ("Sure, I'll do that:", "Here you go (see [1]):", "Okay! I {think} so.", "It's done - hope that helps.")


def as_list(message: Message) -> list[dict[str, Json]]:
    return [c.model_dump(mode="json", exclude_none=True) for c in message.calls]


def bare_keys(message: Message) -> str:
    def one(call: Call) -> str:
        label = "" if call.label is None else f", label: {json.dumps(call.label)}"
        return f"{{name: {json.dumps(call.name)}, arguments: {json.dumps(call.arguments)}{label}}}"

    return f"[{', '.join(map(one, message.calls))}]"


def lines(message: Message, before: str, between: str, after: str) -> str:
    """Compact lines with something before, between and after the arguments."""

    def one(call: Call) -> str:
        said = between.join(f"{k}={json.dumps(v)}" for k, v in call.arguments.items())
        return f"@{call.label + ':' if call.label else ''}{call.name} {before}{said}{after}"

    return "\n".join(map(one, message.calls))


def in_marks(message: Message, spell: Callable[[dict[str, Json]], str]) -> str:
    return "\n".join(f"<tool_call>\n{spell(call)}\n</tool_call>" for call in as_list(message))


MISSES: dict[str, dict[str, Callable[[Message], str]]] = {
    "json": {
        "fence": lambda m: f"```json\n{JsonDialect().write(m)}\n```",
        "prose_around": lambda m: f"{PROSE[0]}\n{JsonDialect().write(m)}\n{PROSE[3]}",
        "single_quotes": lambda m: repr(as_list(m)),
        "trailing_comma": lambda m: JsonDialect().write(m)[:-1] + ",]",
        "unquoted_keys": bare_keys,
        "no_list": lambda m: "\n".join(map(json.dumps, as_list(m))),
        "comments": lambda m: "[ // the calls\n" + JsonDialect().write(m)[1:],
        "other_spelling": lambda m: json.dumps({"tool_calls": as_list(m)}),
    },
    "compact": {
        "fence": lambda m: f"```\n{Compact().write(m)}\n```",
        "prose_around": lambda m: f"{PROSE[1]}\n{Compact().write(m)}\n\nThat, I think, is it.",
        "other_spelling": lambda m: JsonDialect().write(m),
        "separators": lambda m: lines(m, "", ", ", ","),
        "single_quotes": lambda m: lines(m, "_q='' ", " ", ""),
    },
    "marks": {
        "fence": lambda m: f"```json\n{JsonDialect().write(m)}\n```",
        "prose_around": lambda m: f"{PROSE[2]}\n{JsonDialect().write(m)}",
        "single_quotes": lambda m: in_marks(m, repr),
        "trailing_comma": lambda m: in_marks(m, lambda call: json.dumps(call)[:-1] + ",}"),
        "other_spelling": lambda m: json.dumps({"tool_calls": as_list(m)}),
    },
}


def plain(calls: tuple[Call, ...]) -> list[tuple[str, dict[str, Json], str | None]]:
    return [(c.name, {k: v for k, v in c.arguments.items() if k != "_q"}, c.label) for c in calls]


CASES = [(name, miss) for name, table in MISSES.items() for miss in table]


@pytest.mark.parametrize(("name", "miss"), CASES)
@given(message=called)
@settings(SLOW, max_examples=20)
def test_a_near_miss_is_named_and_recovered_and_never_right(name: str, miss: str, message: Message) -> None:
    if miss == "no_list" and len(message.calls) < 2:
        return
    dialect = DIALECTS[name]()
    text = MISSES[name][miss](message)
    reply = _recover.spoken(dialect, text)
    assert reply.message is None, text
    assert reply.fault is not None
    assert TABLE[reply.fault.kind].level == "form"
    assert reply.fault.detail == miss, text
    assert reply.recovered is not None, text
    assert plain(reply.recovered.calls) == plain(message.calls), text
    # The same fault, should the stream be asked.
    assert streamed(dialect.stream(), list(text))[2] == reply.fault


@pytest.mark.parametrize("name", ["json", "compact", "marks"])
@given(message=called, data=st.data())
@settings(SLOW, max_examples=80)
def test_what_is_cut_off_is_a_beginning_of_what_was_meant(name: str, message: Message, data: st.DataObject) -> None:
    written = DIALECTS[name]().write(message)
    text = written[: data.draw(st.integers(1, len(written)))]
    for ended in (True, False):
        reply = _recover.spoken(DIALECTS[name](), text, ended=ended)
        if reply.fault is None:
            continue
        assert ended or reply.fault.kind == reply.fault.detail == "truncated"
        got = () if reply.recovered is None else reply.recovered.calls
        assert len(got) <= len(message.calls)
        for given_, wanted in zip(got, message.calls, strict=False):
            assert given_.name == wanted.name, text
            last = given_ is got[-1]
            kept = wanted.arguments if not last else {k: wanted.arguments.get(k) for k in given_.arguments}
            assert given_.arguments == kept, text


@pytest.mark.parametrize("name", ["json", "compact", "marks"])
@pytest.mark.parametrize(
    "text",
    [
        "The set {1, 2} and f(x) = {x: x > 0}.",
        "if (a) { b(); } else { c[0] = 'it'; }",
        "Ask @ann or @bob about it.",
        "{'name': 'Ann Lee', 'age': 3} is a record.",
        "In JSON one writes {\"city\": \"Graz\"}, not {'city': 'Graz'}.",
        "```python\nprint({'a': 1})\n```",
        "It's {name} you want, isn't it?",
        "mail a@b.example c = 1",
        "[1, 2, 3,]",
        "arguments: none; name: none",
        "A call needs a name and arguments {both}.",
        "The cat sat [on the mat",
        "Look: {'name': 'Ann', 'born': 1990,}",
        "@",
        "Use `name` and `arguments`.",
    ],
)
def test_prose_is_never_a_call(name: str, text: str) -> None:
    reply = _recover.spoken(DIALECTS[name](), text)
    assert reply.recovered is None
    if name != "compact" or not text.startswith("@"):
        assert reply.message == Message(text=text)


@given(
    text=st.text(max_size=60)
    | st.lists(
        st.sampled_from(["{", "}", "[", "]", "'", '"', "a", ":", ",", "=", "@", " ", "1", "```"]), max_size=40
    ).map("".join)
)
@settings(SLOW, max_examples=150)
def test_without_a_name_in_the_text_nothing_is_recovered_from_it(text: str) -> None:
    for name in ("json", "marks"):
        if "name" not in text and "function" not in text:
            assert _recover.spoken(DIALECTS[name](), text).recovered is None


@pytest.mark.parametrize(
    ("text", "detail", "arguments"),
    [
        ("[{'name': 'f', 'arguments': {'a': True, 'b': None}}]", "single_quotes", {"a": True, "b": None}),
        ('[{"name": "f", "arguments": {"a": True, "b": None}}]', "python_literals", {"a": True, "b": None}),
        ("[{'name': 'f', 'arguments': {'a': 'it's 5 o'clock'}}]", "single_quotes", {"a": "it's 5 o'clock"}),
        ('```json\n[{"name": "f", "arguments": {"a": [1, 2', "truncated", {}),
        ('```json\n[{"name": "f", "arguments": {"a": 1, "b": "x', "truncated", {"a": 1}),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', "other_spelling", {"a": 1}),
        ('{"type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"},}', "trailing_comma", {"a": 1}),
        ('[{"name": "f", "arguments": {"a": "\\x41\\\'"}}]', "", {"a": "A'"}),
        ('Sure:\n```json\n[{"name": "f", "arguments": {"a": 1,}}]\n```', "fence", {"a": 1}),
    ],
)
def test_near_misses_of_small_models(text: str, detail: str, arguments: dict[str, Json]) -> None:
    reply = _recover.spoken(JsonDialect(), text)
    assert reply.fault is not None
    assert reply.recovered is not None
    assert reply.fault.detail == detail
    assert reply.recovered.calls == (Call(name="f", arguments=arguments),)


def test_nesting_of_any_depth_is_a_fault_and_no_crash() -> None:
    deep = "[" * 200_000
    for text in (deep, '[{"name": "f", "arguments": {"a": ' + deep, "<tool_call>" + '{"a":' * 100_000, "@f a=" + deep):
        for made in DIALECTS.values():
            assert isinstance(made().parse(text), Message | Fault)
    assert isinstance(JsonDialect().parse('[{"name": "f", "arguments": {"a": ' + deep), Fault)


def test_every_near_miss_has_a_caption_and_is_met_by_a_test() -> None:
    assert all(_recover.NEAR_MISSES.values())
    assert {miss for _, miss in CASES} | {"truncated", "python_literals"} == set(_recover.NEAR_MISSES)
