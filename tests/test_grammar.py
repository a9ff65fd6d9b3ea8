"""Grammars of turns: every right answer is in them, every spoiled one outside, and all that is in them is read."""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
from typing import Any

import pytest

pytest.importorskip("llguidance")
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

from tests.hostile import corpus  # noqa: E402

from callgrain.core import plugins  # noqa: E402
from callgrain.core.types import Call, Fault, Message, Sample, Tool, Trace  # noqa: E402
from callgrain.dialects._grammar import Grammar  # noqa: E402
from callgrain.models._decode import Ending  # noqa: E402
from callgrain.models._masks import Masks  # noqa: E402
from callgrain.sources._open import open_source  # noqa: E402
from callgrain.subtasks.full import Full  # noqa: E402
from callgrain.verify.lint import lint  # noqa: E402
from callgrain.verify.spoil import spoil  # noqa: E402

DIALECTS = ("json", "compact", "chat_template")
END = 256


def letters() -> Any:
    """A tokenizer of single bytes."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    inner = tokenizers.Tokenizer(tokenizers.models.BPE({**{c: n for n, c in enumerate(alphabet)}, "<|end|>": END}, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens(["<|end|>"])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")


TOKENIZER = letters()
MASKS = Masks(TOKENIZER, Ending(frozenset([END])))


def dialect(name: str) -> Any:
    return plugins.load("dialects", name)()


def traces(spec: str, count: int) -> list[Trace]:
    source, split = open_source(spec)
    return list(itertools.islice(source.traces(split), count))


def samples(spec: str, count: int) -> list[Sample]:
    rng = random.Random(0)
    return [sample for trace in traces(spec, count) for sample in Full().samples(trace, rng)]


def tool(name: str, required: tuple[str, ...] = (), /, **schemas: Any) -> Tool:
    return Tool(name=name, parameters={"type": "object", "properties": schemas, "required": list(required)})


TEXTS = (
    "ASK Which city?",
    "DECLINE",
    "The hotel costs 3 < 4 {euros}; write to a.b@c.org, @home or [sic].",
    "> quoted",
    "",
    "a line\nand another",
    '@paris city="x"',
    '[{"name": "nobody"}]',
    "<tool_call>",
)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("spec", ["toolworld:micro", "toolworld:full"])
def test_every_right_answer_is_in_the_grammar(name: str, spec: str) -> None:
    made = dialect(name)
    for trace in traces(spec, 15):
        grammar = made.grammar(trace.tools)
        assert MASKS.loosened(grammar) == ()
        gold = trace.gold.message
        labelled = [c.model_copy(update={"label": c.label or f"v_{n}"}) for n, c in enumerate(gold.calls)]
        turns = [gold, Message(calls=tuple(labelled)), Message(thought="let me see", calls=gold.calls)]
        for turn in turns:
            assert MASKS.accepts(grammar, made.write(turn)), made.write(turn)
    for text in TEXTS:
        assert MASKS.accepts(grammar, made.write(Message(text=text))), text
        assert MASKS.accepts(made.grammar(()), made.write(Message(text=text))), text


@pytest.mark.parametrize("name", DIALECTS)
def test_what_is_spoiled_is_outside(name: str) -> None:
    made = dialect(name)
    met: dict[str, int] = {}
    for sample in samples("toolworld:micro", 16) + samples("toolworld:full", 24):
        grammar = made.grammar(sample.prompt.tools)
        loose = any("bare word" in where for where in grammar.loosened)
        for kind in ("unknown_tool", "unknown_argument", "missing_argument", "wrong_type", "not_allowed"):
            reply = spoil(kind, sample, random.Random(1))
            if reply is None or reply.message is None or (loose and kind == "not_allowed"):
                continue
            if kind not in {fault.kind for fault in lint(reply.message.calls, sample.prompt.tools)}:
                continue  # the request asks for it, the schema does not
            met[kind] = met.get(kind, 0) + 1
            assert not MASKS.accepts(grammar, made.write(reply.message)), (kind, made.write(reply.message))
        written = made.write(sample.answer.message)
        if sample.answer.calls:
            half = written[: len(written) * 2 // 3]
            for broken in (half, written[:-2], f"Sure: {written}", f"```\n{written}\n```", written.replace("=", ":=")):
                if isinstance(made.parse(broken), Fault):
                    met["form"] = met.get("form", 0) + 1
                    assert not MASKS.accepts(grammar, broken), broken
    assert min(met.get(kind, 0) for kind in ("unknown_tool", "unknown_argument", "missing_argument", "form")) > 10
    assert met["wrong_type"] > 5
    assert met["not_allowed"] > 2


ODD = (
    tool("say", ("text",), text={"type": "string"}, loud={"type": "boolean"}),
    tool('we"ird / näme\n', ('k"ey',), **{'k"ey': {"type": "integer"}, "=@>": {"enum": ["a b", 3, None, True, "x"]}}),
    tool("list.all-of", (), of={"type": "array", "items": {"enum": ["red", "blue"]}}, deep={"type": "object"}),
    tool("nothing"),
    tool("ranged", ("n",), n={"type": "integer", "minimum": 2, "maximum": 30}, any={}, when={"format": "date"}),
    tool("either", ("x",), x={"anyOf": [{"type": "integer"}, {"type": "null"}]}, y={"type": ["string", "null"]}),
    Tool(name="open", parameters={"type": "object", "properties": {"a": {}}, "additionalProperties": True}),
    Tool(name="shared", parameters={"properties": {"p": {"$ref": "#/$defs/p"}}, "$defs": {"p": {"enum": [1, 2]}}}),
)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (Call(name="say", arguments={"text": 'she said "no" \\ \t é @x=1'}), True),
        (Call(name="say", arguments={"text": "12"}), True),
        (Call(name="say", arguments={"text": 12}), False),
        (Call(name="say", arguments={"text": "true", "loud": False}), True),
        (Call(name="say", arguments={"text": "x", "loud": "yes"}), False),
        (Call(name="say", arguments={"text": "x", "loud": "$a.b$"}), True),
        (Call(name="say", arguments={}), False),
        (Call(name='we"ird / näme\n', arguments={'k"ey': -4, "=@>": "a b"}), True),
        (Call(name='we"ird / näme\n', arguments={'k"ey': 4, "=@>": None}), True),
        (Call(name='we"ird / näme\n', arguments={'k"ey': 4, "=@>": "b"}), False),
        (Call(name="list.all-of", arguments={"of": ["red", "$a$"], "deep": {"x": [1, {"y": None}]}}), True),
        (Call(name="list.all-of", arguments={"of": ["green"]}), False),
        (Call(name="nothing"), True),
        (Call(name="nothing", arguments={"x": 1}), False),
        (Call(name="ranged", arguments={"n": 30, "any": [1.5], "when": "soon"}), True),
        (Call(name="ranged", arguments={"n": 31}), False),
        (Call(name="either", arguments={"x": None, "y": "word"}), True),
        (Call(name="either", arguments={"x": "word"}), False),
        (Call(name="open", arguments={"a": 1, "more": {"b": 2}}), True),
        (Call(name="shared", arguments={"p": 2}), True),
        (Call(name="shared", arguments={"p": 3}), False),
        (Call(name="unknown"), False),
    ],
)
def test_odd_tools_and_values(name: str, given: Call, fits: bool) -> None:
    made = dialect(name)
    grammar = made.grammar(ODD)
    for calls in ((given,), (Call(name="nothing"), given), (given.model_copy(update={"label": "a"}),)):
        assert MASKS.accepts(grammar, made.write(Message(calls=calls))) == fits, made.write(Message(calls=calls))


@pytest.mark.parametrize("name", DIALECTS)
def test_all_that_is_in_the_grammar_is_a_turn_without_fault(name: str) -> None:
    """Random walks through the grammar: what comes out is read, and lint finds nothing but made-up references."""
    made = dialect(name)
    rng = random.Random(5)
    calls = 0
    worlds = [ODD[:1] + ODD[2:4] + ODD[5:6], *(trace.tools for trace in traces("toolworld:full", 4))]
    for tools in worlds:
        grammar = only_calls(made.grammar(tools))
        for _ in range(7):
            text = walk(grammar, rng)
            if text is None:
                continue
            turn = made.parse(text)
            assert isinstance(turn, Message), (text, turn)
            assert turn.calls, text
            calls += len(turn.calls)
            faults = {fault.kind for fault in lint(turn.calls, tools)} - {"broken_reference"}
            loose = {"not_allowed"} if grammar.loosened else set()
            assert not faults - loose, (text, faults)
    assert calls > 12


def only_calls(grammar: Grammar) -> Grammar:
    """The grammar without its other branches."""
    name = "calls0" if "\ncalls0:" in grammar.lark else "calls"
    lark = grammar.lark.replace("start: thought turn", f"start: {name}").replace(": SAID0 ", ': "<tool_call>" ')
    return dataclasses.replace(grammar, lark=lark)


def walk(grammar: Grammar, rng: random.Random) -> str | None:
    """A random turn of the grammar that soon comes to its end; None where it does not."""
    masker = MASKS.masker(grammar)
    ids = masker.begin()
    for _ in range(400):
        if END in ids:
            break
        bits = masker.allowed()
        assert bits is not None, TOKENIZER.decode(ids)
        allowed = bits.nonzero()[:, 0].tolist()
        closing = [t for t in allowed if t == END or TOKENIZER.decode([t]) in '"}] \n']
        plain = [t for t in allowed if TOKENIZER.decode([t]).isalnum()] or allowed
        token = rng.choice(closing if closing and rng.random() < 0.5 else plain)
        ids += [token]
        if token != END:
            ids += masker.accept(token)
    return TOKENIZER.decode(ids[:-1]) if ids[-1] == END else None


def test_hostile_schemas_are_bounded_and_never_raise() -> None:
    made = dialect("json")
    names = sorted(corpus())
    for name in random.Random(3).sample(names, 60):
        schema, _ = corpus()[name]()
        began = time.perf_counter()
        grammar = made.grammar([Tool(name="f", parameters={"type": "object", "properties": {"x": schema}})])
        assert MASKS.accepts(grammar, "plain text"), name
        assert time.perf_counter() - began < 4, name


def test_a_schema_that_cannot_be_expressed_becomes_any_value_and_says_so() -> None:
    made = dialect("json")
    lookahead = {"type": "string", "pattern": "(?=a)b"}
    grammar = made.grammar([tool("f", ("x",), x=lookahead)])
    assert MASKS.loosened(grammar) or grammar.loosened
    assert MASKS.accepts(grammar, '[{"name": "f", "arguments": {"x": "whatever"}}]')
    assert not MASKS.accepts(grammar, '[{"name": "g", "arguments": {"x": "whatever"}}]')
    huge = made.grammar([tool("f", ("x",), x={"enum": ["y" * 90] * 900})])
    assert "more than" in huge.loosened[0]
    wide = made.grammar([tool("f", (), **{f"p{n}": {} for n in range(2000)})])
    assert MASKS.accepts(wide, '[{"name": "f", "arguments": {"p7": 1}}]')
    assert "too many" in wide.loosened[0]
