"""The chat_template dialect: reads back what it writes, and what models really write."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callgrain.core import plugins
from callgrain.core.errors import BrokenModel
from callgrain.core.types import Call, Fault, Message, Prompt, Result, Tool
from callgrain.dialects.chat_template import ChatTemplate

TOOL = Tool(
    name="get_weather",
    description="Weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    returns={"type": "object", "properties": {"celsius": {"type": "number"}}},
)
CHATML_TOOLS = (
    "{% if tools %}<|im_start|>system\n<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools><|im_end|>\n"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_BARE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

nasty = st.sampled_from(
    ["<tool_call>", "</tool_call>", "<think>", "</think>", "\\", "<\\tool_call>", "[TOOL_CALLS]", '{"name": "f"}', "[{",
     '"name"', "\n", " ", "```json\n", "<|python_tag|>", "\u2028"]
)  # fmt: skip
texts = st.lists(st.one_of(st.text(max_size=8), nasty), max_size=6).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
calls = st.builds(
    Call, name=texts, arguments=st.dictionaries(texts, values, max_size=4), label=st.none() | texts
)  # fmt: skip
messages = st.builds(Message, text=texts, thought=texts, calls=st.lists(calls, max_size=3).map(tuple))


def tokenizer(template: str | None):
    """A real tokenizer of transformers, with two words."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "<|im_end|>": 1}, unk_token="<unk>"))
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<|im_end|>")
    made.chat_template = template
    return made


@settings(max_examples=250, deadline=None)
@given(messages)
@example(Message(text='\\[{"name": "f", "arguments": {}}]'))
@example(Message(text='```json\n{"name": "f"}\n```'))
@example(Message(text="<\\\\tool_call>", thought="</think>\n"))
@example(Message(text="\n", calls=(Call(name="f", label=""),)))
@example(Message(text='{"name": "f"}', calls=(Call(name="f"),)))
@example(Message(text="Sure: {'name': 'f', 'arguments': {}}"))
def test_a_turn_reads_back_as_it_was_written(message: Message) -> None:
    dialect = ChatTemplate()
    for dialect.may_be_thinking in (True, False):
        assert dialect.parse(dialect.write(message)) == message


def test_a_turn_reads_back_through_a_template() -> None:
    dialect = ChatTemplate(tokenizer(CHATML_TOOLS))

    @settings(max_examples=60, deadline=None)
    @given(messages)
    def law(message: Message) -> None:
        assert dialect.parse(dialect.write(message)) == message

    law()


@settings(max_examples=200, deadline=None)
@given(st.one_of(texts, st.text()))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert isinstance(ChatTemplate().parse(text), Message | Fault)


CALL = Call(name="get_weather", arguments={"city": "Graz"})


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Graz"}}\n</tool_call>',
        '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Graz\\"}"}',
        '{"name": "get_weather", "parameters": {"city": "Graz"}}',
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Graz"}}',
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Graz"}}]',
        '[TOOL_CALLS] get_weather[ARGS]{"city": "Graz"}',
        '[{"name": "get_weather", "arguments": {"city": "Graz"}}]',
        '<function_call>{"name": "get_weather", "arguments": {"city": "Graz"}}</function_call>',
        '<|tool_call_start|>[get_weather(city="Graz")]<|tool_call_end|>',
        '{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Graz"}}}',
    ],
)
def test_the_spellings_of_common_templates(text: str) -> None:
    read = ChatTemplate().parse(text)
    assert isinstance(read, Message)
    assert read.calls == (CALL,)
    assert read.text == ""


def test_thought_text_and_several_calls() -> None:
    one = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Graz"}}\n</tool_call>'
    read = ChatTemplate().parse(f"<think>\nhm\n</think>\n\nI look.\n{one}\n{one}\nDone.")
    assert read == Message(text="I look.\nDone.", thought="hm", calls=(CALL, CALL))
    mistral = '[TOOL_CALLS]get_weather[CALL_ID]a1[ARGS]{"city": "Graz"}[TOOL_CALLS]get_weather{"city": "Graz"}'
    read = ChatTemplate().parse(mistral)
    assert isinstance(read, Message)
    assert read.calls == (CALL.model_copy(update={"label": "a1"}), CALL)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('<tool_call>\n{"name": "f", "arguments": {"a": ', "truncated"),
        ('```json\n[{"name": "f", "arguments": {"a": 1}}]\n```', "wrong_shape"),
        ('{"name": "f", "arguments": {"a": 1}}\nDone.', "wrong_shape"),
        ('<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "unparsable"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', "unparsable"),
        ("<tool_call>" + '{"name":"f","arguments":' + '{"a":' * 5000, "unparsable"),
        ("<tool_call></tool_call>", "unparsable"),
        ('<tool_call>{"name": 3}</tool_call>', "wrong_shape"),
        ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', "wrong_shape"),
        ('[{"name": "f"}, 3]', "wrong_shape"),
        ("<|tool_call_start|>[f(1)]<|tool_call_end|>", "wrong_shape"),
        ("<|tool_call_start|>[f(a=g())]<|tool_call_end|>", "unparsable"),
        ("<|tool_call_start|>[f(a=" + "(" * 5000 + "]<|tool_call_end|>", "unparsable"),
    ],
)
def test_broken_calls_are_faults(text: str, kind: str) -> None:
    read = ChatTemplate().parse(text)
    assert isinstance(read, Fault)
    assert read.kind == kind


@pytest.mark.parametrize("unit", ["<tool_call>", "<", "[", "\\<think>", '{"name":', " ", "</think>", "[TOOL_CALLS]f{}"])
def test_reading_takes_linear_time(unit: str) -> None:
    dialect = ChatTemplate()

    def seconds(length: int) -> float:
        text = unit * (length // len(unit)) + "x"
        start = time.perf_counter()
        dialect.parse(text)
        dialect.write(Message(text=text))
        return time.perf_counter() - start

    seconds(1000)
    assert seconds(300_000) < 5.0


def test_the_template_gets_tools_calls_and_results() -> None:
    dialect = ChatTemplate(tokenizer(CHATML_TOOLS))
    assert dialect.takes_tools
    assert dialect.end == "<|im_end|>"
    turns = (
        Message(role="user", text="Weather in Graz?"),
        Message(calls=(CALL,)),
        Message(role="tool", results=(Result(name="get_weather", value={"celsius": 7}),)),
    )
    text = dialect.render(Prompt(messages=turns, tools=(TOOL,)))
    assert '"name": "get_weather"' in text
    assert '"return": {' in text
    assert '"parameters": {"city": "Graz"}' in text
    assert '<|im_start|>tool\n{"celsius": 7}<|im_end|>' in text
    assert text.endswith("<|im_start|>assistant\n")
    written = dialect.write(Message(calls=(CALL,)))
    assert written == '<tool_call>\n{"name": "get_weather", "parameters": {"city": "Graz"}}\n</tool_call>'


def test_only_a_prompt_that_opens_a_thought_lets_a_turn_begin_inside_it() -> None:
    text = "hm</think>\n\nSo."
    assert ChatTemplate().parse(text) == Message(text="So.", thought="hm")
    opening = ChatTemplate(tokenizer(CHATML_TOOLS.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")))
    assert opening.may_be_thinking
    assert opening.parse(text) == Message(text="So.", thought="hm")
    other = ChatTemplate(tokenizer(CHATML_TOOLS))
    assert not other.may_be_thinking
    assert other.parse(text) == Message(text=text)


def test_a_template_without_tools_speaks_json() -> None:
    if "json" not in plugins.names("dialects"):
        pytest.skip("the json dialect is not there")
    dialect = ChatTemplate(tokenizer(CHATML_BARE))
    assert not dialect.takes_tools
    prompt = Prompt(messages=(Message(role="user", text="Weather in Graz?"),), tools=(TOOL,))
    text = dialect.render(prompt)
    assert "get_weather" in text
    assert "<|im_start|>system" not in text
    assert text.endswith("<|im_start|>assistant\n")
    message = Message(calls=(CALL,))
    assert dialect.parse(dialect.write(message)) == message
    own = "<tool_call>" + json.dumps({"name": "get_weather", "arguments": {"city": "Graz"}}) + "</tool_call>"
    assert dialect.parse(own) == message


def test_no_template_is_a_plain_message() -> None:
    with pytest.raises(BrokenModel, match="--dialect json"):
        ChatTemplate(tokenizer(None))


def test_without_a_tokenizer_the_prompt_is_hermes() -> None:
    prompt = Prompt(messages=(Message(role="user", text="hi"),), tools=(TOOL,))
    text = ChatTemplate().render(prompt)
    assert "<tools>" in text
    assert "get_weather" in text
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
