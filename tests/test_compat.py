"""Other people's graders: their verdicts, their quirks, and what the strict one says beside them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core import plugins
from callgrain.core.protocols import Grader
from callgrain.core.types import Accept, Answer, Call, Fault, Message, Origin, Prompt, Reply, Sample, Tool, Trace
from callgrain.sources.bfcl import CATEGORIES, _answer, read_schema
from callgrain.subtasks.full import Full
from callgrain.verify.compat import nestful, nestful_fixed
from callgrain.verify.compat._bfcl_source import read_java, read_javascript
from callgrain.verify.compat.bfcl import FAULTS, BfclGrader, Outcome, check, compile_key
from callgrain.verify.compat.nestful import CRASHED
from callgrain.verify.faults import TABLE, fault
from callgrain.verify.verdict import judge_calls

FIXTURES = Path(__file__).parent / "fixtures" / "bfcl"

# What the real checker (bfcl-eval 2026.3.23) said, recorded by running it: category, schema of the one
# parameter x of function f (required), accepted values of each gold call, arguments of each call given,
# and its verdict. `benchmarks/conformance.py` runs the real one over everything that it ships.
# fmt: off
RECORDED = [
    ('simple', 'string', [{'x': ['5']}], [{'x': '-5'}], 'valid'),
    ('simple', 'string', [{'x': ['15']}], [{'x': '1.5'}], 'valid'),
    ('simple', 'string', [{'x': ['2024-11-1']}], [{'x': '2024-1-11'}], 'valid'),
    ('simple', 'string', [{'x': ['ab']}], [{'x': '/a/b'}], 'valid'),
    ('simple', 'string', [{'x': ["it's"]}], [{'x': 'IT"S'}], 'valid'),
    ('simple', 'string', [{'x': ['ab']}], [{'x': 'a\nb'}], 'value_error:string'),
    ('simple', 'string', [{'x': ['a']}], [{'x': 'b'}], 'value_error:string'),
    ('simple', 'string', [{'x': ['']}], [{'x': '-'}], 'valid'),
    ('simple', 'string', [{'x': ['5']}], [{'x': 5}], 'type_error:simple'),
    ('simple', 'string', [{'x': [5]}], [{'x': 5}], 'valid'),
    ('simple', 'string', [{'x': [5]}], [{'x': '5'}], 'value_error:others'),
    ('simple', 'integer', [{'x': [1]}], [{'x': True}], 'type_error:simple'),
    ('simple', 'integer', [{'x': [1]}], [{'x': 1.0}], 'type_error:simple'),
    ('simple', 'integer', [{'x': ['n']}], [{'x': 'n'}], 'valid'),
    ('simple', 'integer', [{'x': ['n']}], [{'x': 'N'}], 'value_error:others'),
    ('simple', 'integer', [{'x': [True]}], [{'x': 1}], 'valid'),
    ('simple', 'integer', [{'x': [1, '']}], [{'x': ''}], 'type_error:simple'),
    ('simple', 'integer', [{'x': []}], [{'x': 1}], 'value_error:others'),
    ('simple', 'float', [{'x': [2.0]}], [{'x': 2}], 'valid'),
    ('simple', 'float', [{'x': [2]}], [{'x': 2}], 'valid'),
    ('simple', 'float', [{'x': [0.1]}], [{'x': 0.1}], 'valid'),
    ('simple', 'float', [{'x': [2.0]}], [{'x': 10**400}], 'crash'),
    ('simple', 'boolean', [{'x': [True]}], [{'x': 1}], 'type_error:simple'),
    ('simple', 'boolean', [{'x': [True]}], [{'x': True}], 'valid'),
    ('simple', 'array<float>', [{'x': [[1.0, 2.5]]}], [{'x': [1, 2.5]}], 'type_error:nested'),
    ('simple', 'array<float>', [{'x': [[1, 2]]}], [{'x': [1, 2]}], 'valid'),
    ('simple', 'array<float>', [{'x': [[1.0], '']}], [{'x': [1]}], 'valid'),
    ('simple', 'array<string>', [{'x': [['a b']]}], [{'x': ['A-B']}], 'valid'),
    ('simple', 'array<string>', [{'x': [['a'], '']}], [{'x': []}], 'valid'),
    ('simple', 'array<string>', [{'x': [['a']]}], [{'x': []}], 'value_error:list/tuple'),
    ('simple', 'array<integer>', [{'x': [[1, 2]]}], [{'x': [2, 1]}], 'value_error:list/tuple'),
    ('simple', 'array<integer>', [{'x': ['v']}], [{'x': [1]}], 'value_error:others'),
    ('simple', 'array<integer>', [{'x': ['v']}], [{'x': 'v'}], 'valid'),
    ('simple', 'array<array>', [{'x': [[['A']]]}], [{'x': [['a']]}], 'value_error:list/tuple'),
    ('simple', 'array<integer>', [{'x': [[1]]}], [{'x': {'$tuple': [1]}}], 'type_error:simple'),
    ('simple', 'tuple<integer>', [{'x': [[1]]}], [{'x': {'$tuple': [1]}}], 'valid'),
    ('simple', 'array', [{'x': [[1]]}], [{'x': [1]}], 'crash'),
    ('simple', 'array<boolean>', [{'x': [[True]]}], [{'x': [1]}], 'type_error:nested'),
    ('simple', 'dict', [{'x': [{'a': [1], 'b': ['x', '']}]}], [{'x': {'a': 1}}], 'valid'),
    ('simple', 'dict', [{'x': [{'a': [1], 'b': ['x', '']}]}], [{'x': {'a': 2}}], 'value_error:dict_value'),
    ('simple', 'dict', [{'x': [{'a': [1], 'b': ['x']}]}], [{'x': {'a': 2}}], 'value_error:dict_key'),
    ('simple', 'dict', [{'x': [{'a': [1]}]}], [{'x': {'c': 1}}], 'value_error:dict_key'),
    ('simple', 'dict', [{'x': ['']}], [{'x': {}}], 'dict_checker:unclear'),
    ('simple', 'dict', [{'x': [{'a': [1]}, {'a': [2]}]}], [{'x': {'a': 2}}], 'valid'),
    ('simple', 'dict', [{'x': [{'a': ['B c']}]}], [{'x': {'a': 'b-C'}}], 'valid'),
    ('simple', 'dict', [{'x': [{'a': ['b']}]}], [{'x': {'a': True}}], 'value_error:dict_value'),
    ('simple', 'dict', [{'x': [{'a': [{'k': 'V'}]}]}], [{'x': {'a': {'k': 'v'}}}], 'value_error:dict_value'),
    ('simple', 'dict', [{'x': [{'a': 3}]}], [{'x': {'a': 3}}], 'crash'),
    ('simple', 'dict', [{'x': ['v']}], [{'x': {'a': 1}}], 'value_error:others'),
    ('simple', 'array<dict>', [{'x': [[{'a': [1]}]]}], [{'x': [{'a': 1}]}], 'valid'),
    ('simple', 'array<dict>', [{'x': [[{'a': [1]}]]}], [{'x': [{'a': 1}, {'a': 1}]}], 'value_error:list_dict_count'),
    ('simple', 'array<dict>', [{'x': [[{'a': [1]}]]}], [{'x': [{'a': 2}]}], 'value_error:dict_value'),
    ('simple', 'array<dict>', [{'x': [[{'a': [1]}], '']}], [{'x': [1]}], 'crash'),
    ('simple', 'array<dict>', [{'x': [[{'a': [1]}, {'b': [2]}]]}], [{'x': [{'b': 2}, {'a': 1}]}],
     'value_error:dict_key'),
    ('simple', 'any', [{'x': [3]}], [{'x': 3}], 'valid'),
    ('simple', 'any', [{'x': ['x']}], [{'x': 3}], 'type_error:simple'),
    ('simple', 'any', [{'x': ['x']}], [{'x': 'X'}], 'valid'),
    ('simple', 'weird', [{'x': ['x']}], [{'x': 'x'}], 'crash'),
    ('simple', 'string', [{'x': ['x']}], [{'x': None}], 'type_error:simple'),
    ('java', 'ArrayList<String>', [{'x': [['a', 'b']]}], [{'x': 'new ArrayList<String>(Arrays.asList("a", "b"))'}],
     'valid'),
    ('java', 'Array<String>', [{'x': [['a']]}], [{'x': 'new String[]{"a"}'}], 'value_error:list/tuple'),
    ('java', 'HashMap', [{'x': [{'k': [1]}]}], [{'x': 'new HashMap<String, Integer>() {{ put("k", 1); }}'}], 'valid'),
    ('java', 'long', [{'x': [5]}], [{'x': '5L'}], 'valid'),
    ('java', 'long', [{'x': [5]}], [{'x': '5'}], 'type_error:simple'),
    ('java', 'integer', [{'x': [5]}], [{'x': 5}], 'type_error:java'),
    ('java', 'Queue<any>', [{'x': [[1]]}], [{'x': 'q'}], 'crash'),
    ('java', 'boolean', [{'x': [True]}], [{'x': 'true'}], 'valid'),
    ('javascript', 'array<array>', [{'x': [[[1, 2], [3]]]}], [{'x': '[[1, 2], [3]]'}], 'valid'),
    ('javascript', 'dict', [{'x': [{'a': [1], 'b': [[1, 2]]}]}], [{'x': "{a: 1, 'b': [1, 2]}"}], 'valid'),
    ('javascript', 'Bigint', [{'x': [5]}], [{'x': '5n'}], 'valid'),
    ('javascript', 'Boolean', [{'x': [True]}], [{'x': True}], 'type_error:js'),
    ('javascript', 'String', [{'x': ['a']}], [{'x': "'A'"}], 'valid'),
    ('parallel', 'integer', [{'x': [1, 2]}, {'x': [1]}], [{'x': 1}, {'x': 2}],
     'parallel_function_checker_no_order:cannot_find_match'),
    ('parallel', 'integer', [{'x': [1]}, {'x': [1, 2]}], [{'x': 2}, {'x': 1}], 'valid'),
    ('parallel', 'integer', [{'x': [1]}, {'x': [2]}], [{'x': 1}], 'parallel_function_checker_no_order:wrong_count'),
    ('parallel', 'integer', [], [], 'valid'),
    ('multiple', 'integer', [{'x': [1]}], [{'x': 1}, {'x': 1}], 'multiple_function_checker:wrong_count'),
    ('multiple', 'integer', [{'x': [1]}], [], 'multiple_function_checker:wrong_count'),
    ('simple', 'integer', [{'x': [1]}], [], 'simple_function_checker:wrong_count'),
    ('simple', 'integer', [{'x': [1]}], [{}], 'simple_function_checker:missing_required'),
    ('simple', 'integer', [{'x': [1]}], [{'x': 1, 'y': 1}], 'simple_function_checker:unexpected_param'),
    ('live_simple', 'integer', [{'x': [1], 'y': [2]}], [{'x': 1}], 'simple_function_checker:missing_optional'),
    ('live_simple', 'integer', [{'x': [1], 'y': [2, '']}], [{'x': 1}], 'valid'),
    ('irrelevance', 'integer', [], [{'x': 1}], 'irrelevance_error:decoder_success'),
    ('irrelevance', 'integer', [], [], 'valid'),
    ('live_relevance', 'integer', [], [{'x': 1}], 'valid'),
    ('live_relevance', 'integer', [], [], 'relevance_error:decoder_failed'),
]
# fmt: on


def function(schema: dict) -> dict:
    return {
        "name": "f",
        "description": "",
        "parameters": {"type": "dict", "properties": {"x": schema}, "required": ["x"]},
    }


def schema_of(spelled: str) -> dict:
    """`array<float>` as BFCL's schema."""
    outer, _, inner = spelled.rstrip(">").partition("<")
    return {"type": outer, "items": {"type": inner}} if inner else {"type": outer}


def restored(value: object) -> object:
    """`{"$tuple": [...]}` is how a tuple is written down above."""
    if isinstance(value, dict):
        return tuple(value["$tuple"]) if "$tuple" in value else {k: restored(v) for k, v in value.items()}
    return value


def said(outcome: Outcome) -> str:
    return "crash" if outcome.crash else outcome.error_type or "valid"


def sample_of(answer: Answer, tools: tuple[Tool, ...], subtask: str = "full") -> Sample:
    prompt = Prompt(messages=(Message(role="user", text="do it"),), tools=tools)
    return Sample(
        subtask=subtask, prompt=prompt, answer=answer, origin=Origin(dataset="test", row="0", licence="CC0-1.0")
    )


def calling(*calls: Call) -> Reply:
    return Reply(message=Message(calls=calls))


# bfcl


@pytest.mark.parametrize(("category", "schema", "accepted", "arguments", "real"), RECORDED)
def test_bfcl_says_what_the_real_checker_said(category, schema, accepted, arguments, real) -> None:
    calls = [("f", restored(one)) for one in arguments]
    answers = [{"f": one} for one in accepted]
    functions = [function(schema_of(schema))]
    outcome = check(functions, calls, answers, category)
    assert said(outcome) == real
    assert outcome.valid == (real == "valid")
    checker = compile_key(functions, answers, category)
    assert [checker.check(calls) for _ in range(2)] == [outcome, outcome]  # a table once made changes nothing


def test_recorded_cases_show_every_kind_of_error() -> None:
    undecoded = {"ast_decoder:decoder_failed", "ast_decoder:decoder_wrong_output_format"}
    unreached = {"list_dict_checker:unclear", "simple_function_checker:wrong_func_name"}
    assert {row[-1] for row in RECORDED} - {"valid", "crash"} == set(FAULTS) - undecoded - unreached
    assert all(kind in TABLE for kind in FAULTS.values())


def test_bfcl_wrong_name_is_named_whatever_the_arguments() -> None:
    answers = [{"f": {"x": [1]}}]
    outcome = check([function({"type": "integer"})], [("F", {"x": 1})], answers, "simple_python")
    assert outcome == Outcome(False, "simple_function_checker:wrong_func_name")


QUIRKS = [
    ("string", {"type": "string"}, [["5"]], ["-5"], True, False),
    ("string", {"type": "string"}, [["15"]], ["1.5"], True, False),
    ("string", {"type": "string"}, [["2024-11-1"]], ["2024-1-11"], True, False),
    ("string", {"type": "string"}, [["ab"]], ["/a/b"], True, False),
    ("floats", {"type": "array", "items": {"type": "float"}}, [[[1.0, 2.5]]], [[1, 2.5]], False, True),
    ("greed", {"type": "integer"}, [[1, 2], [1]], [1, 2], False, True),
]


@pytest.mark.parametrize(("name", "schema", "accepted", "values", "theirs", "right"), QUIRKS)
def test_strict_is_right_where_bfcl_is_not(name, schema, accepted, values, theirs, right) -> None:
    tool = Tool(name="f", parameters=read_schema(function(schema)["parameters"]))
    truth = [{"f": {"x": one}} for one in accepted]
    native = {"function": [function(schema)], "ground_truth": truth, "category": "parallel" if len(truth) > 1 else ""}
    answer = _answer(truth, {"f": tool}).model_copy(update={"native": {"bfcl": native}})
    reply = calling(*(Call(name="f", arguments={"x": value}) for value in values))
    published = sample_of(answer, (tool,))
    derived = sample_of(answer.model_copy(update={"native": None}), (tool,))
    assert BfclGrader().judge(published, reply).ok == BfclGrader().judge(derived, reply).ok == theirs
    assert judge_calls(answer, (tool,), reply).ok == right


TOOL = Tool(
    name="f",
    parameters={
        "type": "object",
        "properties": {
            "x": {"type": "integer"},
            "size": {"type": "number", "default": 1.5},
            "box": {"type": "object"},
            "many": {"type": "array", "items": {"type": "object"}},
            "loose": {},
        },
        "required": ["x"],
    },
)
OTHER = Tool(name="g", parameters={"type": "object", "properties": {}})
ONE = Answer(calls=(Call(name="f", arguments={"x": 1}),))


def test_verdict_carries_bfcls_name_and_our_kind() -> None:
    grader = BfclGrader()
    assert isinstance(grader, Grader)
    verdict = grader.judge(sample_of(ONE, (TOOL, OTHER)), calling(Call(name="f", arguments={"x": "1"})))
    assert (verdict.ok, verdict.score, verdict.detail) == (False, 0.0, "type_error:simple")
    assert [(f.kind, f.detail) for f in verdict.faults] == [("wrong_type", "type_error:simple")]
    assert grader.judge(sample_of(ONE, (TOOL, OTHER)), calling(ONE.calls[0])).score == 1.0


@pytest.mark.parametrize(
    ("reply", "kind", "detail"),
    [
        (Reply(fault=fault("unparsable")), "unparsable", "ast_decoder:decoder_failed"),
        (Reply(fault=fault("truncated")), "unparsable", "ast_decoder:decoder_failed"),
        (Reply(fault=fault("wrong_shape")), "wrong_shape", "ast_decoder:decoder_wrong_output_format"),
        (Reply(message=Message(text="I cannot.")), "missed_call", "ast_decoder:decoder_failed"),
        (Reply(message=Message(text=" ")), "missed_call", "simple_function_checker:wrong_count"),
        (calling(*ONE.calls, *ONE.calls), "extra_call", "simple_function_checker:wrong_count"),
    ],
)
def test_bfcl_on_what_is_not_one_call(reply: Reply, kind: str, detail: str) -> None:
    verdict = BfclGrader().judge(sample_of(ONE, (TOOL,)), reply)
    assert [(f.kind, f.detail) for f in verdict.faults] == [(kind, detail)]


@pytest.mark.parametrize("subtask", ["full", "decide"])
def test_a_broken_call_counts_as_abstention_there_and_not_here(subtask: str) -> None:
    declined = sample_of(Answer(decision="decline", text="DECLINE"), (TOOL,), subtask)
    broken = Reply(text="f(x=", fault=fault("unparsable"))
    strict = plugins.load("subtasks", subtask)().grade(declined, broken)
    assert BfclGrader().judge(declined, broken).ok
    assert not strict.ok
    assert strict.faults[0].kind == "unparsable"
    called = BfclGrader().judge(declined, calling(ONE.calls[0]))
    assert (called.faults[0].kind, called.detail) == ("needless_call", "irrelevance_error:decoder_success")


def test_where_a_call_is_due_any_call_will_do_for_relevance() -> None:
    sample = sample_of(ONE, (TOOL,), "decide")
    assert BfclGrader().judge(sample, calling(Call(name="nobody"))).ok
    assert BfclGrader().judge(sample, Reply(message=Message(text="no"))).detail == "relevance_error:decoder_failed"


REF = Call(name="f", arguments={"x": "$a.value$"})
INAPPLICABLE = [
    (Answer(decision="ask", text="ASK which?"), "full", "branch 'ask'"),
    (Answer(decision="answer", text="4"), "decide", "branch 'answer'"),
    (ONE, "names", "sub-task 'names'"),
    (ONE.model_copy(update={"instead": (ONE,)}), "next_call", "other answers"),
    (ONE.model_copy(update={"ordered": True}), "chain", "order of calls"),
    (ONE.model_copy(update={"before": ((0, 1),)}), "chain", "order of calls"),
    (Answer(calls=(Call(name="g", label="a"), REF)), "nest", "reference"),
    (ONE.model_copy(update={"accepts": {"0.x": Accept(mode="any")}}), "full", "any value"),
    (Answer(calls=(Call(name="h"),)), "full", "not offered"),
    (Answer(), "full", "no call"),
    (ONE.model_copy(update={"native": {"bfcl": [1]}}), "full", "category"),
    (ONE.model_copy(update={"native": {"bfcl": {"category": "x", "function": 3}}}), "full", "lists"),
]


@pytest.mark.parametrize(("answer", "subtask", "reason"), INAPPLICABLE)
def test_bfcl_says_what_it_has_no_notion_of(answer: Answer, subtask: str, reason: str) -> None:
    verdict = BfclGrader().judge(sample_of(answer, (TOOL, OTHER), subtask), calling(ONE.calls[0]))
    assert verdict.state == "not_applicable"
    assert reason in verdict.detail


def test_a_failed_back_end_is_nobodys_fault() -> None:
    for name in plugins.names("compat"):
        verdict = plugins.load("compat", name)().judge(sample_of(ONE, (TOOL,)), Reply(failure="timed out"))
        assert verdict.state == "not_applicable"
        assert "timed out" in verdict.detail


def test_where_the_real_checker_dies_it_is_the_graders_error() -> None:
    broken = {"function": [{"name": "f"}], "ground_truth": [{"f": {"x": [1]}}], "category": "simple_python"}
    answer = ONE.model_copy(update={"native": {"bfcl": broken}})
    verdict = BfclGrader().judge(sample_of(answer, (TOOL,)), calling(ONE.calls[0]))
    assert (verdict.state, verdict.detail) == ("grader_error", "KeyError: 'parameters'")


def test_a_key_that_was_cut_down_is_not_taken_for_the_published_one() -> None:
    native = {
        "function": [function({"type": "integer"})],
        "ground_truth": [{"f": {"x": [7]}}] * 2,
        "category": "parallel",
    }
    answer = ONE.model_copy(update={"native": {"bfcl": native}})
    assert BfclGrader().judge(sample_of(answer, (TOOL,)), calling(ONE.calls[0])).ok


@pytest.mark.parametrize(
    ("gold", "accepts", "arguments", "ok"),
    [
        ({"x": 1, "size": 1.5}, {}, {"x": 1}, True),  # the default may be left out
        ({"x": 1}, {}, {"x": 1, "size": 1.5}, True),  # and may be given
        ({"x": 1}, {}, {"x": 1, "size": 2.5}, False),
        ({"x": 1}, {"0.x": Accept(values=(1, 2))}, {"x": 2}, True),
        ({"x": 1, "box": {"a": "B c"}}, {}, {"x": 1, "box": {"a": "b-C"}}, True),
        ({"x": 1, "box": {"a": 1}}, {"0.box": Accept(omissible=True)}, {"x": 1}, True),
        ({"x": 1, "box": {"a": 1}}, {}, {"x": 1}, False),
        ({"x": 1, "many": [{"a": 1}, {"a": 2}]}, {}, {"x": 1, "many": [{"a": 1}, {"a": 2}]}, True),
        ({"x": 1, "many": [{"a": 1}, {"a": 2}]}, {}, {"x": 1, "many": [{"a": 2}, {"a": 1}]}, False),
        ({"x": 1, "loose": [1, {"a": 2}]}, {}, {"x": 1, "loose": [1, {"a": 2}]}, True),
    ],
)
def test_a_row_is_made_of_any_sample(gold: dict, accepts: dict, arguments: dict, ok: bool) -> None:
    answer = Answer(calls=(Call(name="f", arguments=gold),), accepts=accepts)
    verdict = BfclGrader().judge(sample_of(answer, (TOOL,)), calling(Call(name="f", arguments=arguments)))
    assert (verdict.state, verdict.ok) == ("graded", ok)


def test_source_hands_the_published_row_on() -> None:
    found = {t.origin.row: t for t in plugins.load("sources", "bfcl")(str(FIXTURES)).traces("test")}
    published = [json.loads(line) for line in (FIXTURES / "BFCL_v4_parallel.json").open()]
    truth = [json.loads(line) for line in (FIXTURES / "possible_answer" / "BFCL_v4_parallel.json").open()]
    for row, key in zip(published, truth, strict=True):
        native = found[row["id"]].gold.native
        assert native == {
            "bfcl": {"function": row["function"], "ground_truth": key["ground_truth"], "category": "parallel"}
        }
    assert found["irrelevance_0"].gold.native["bfcl"]["ground_truth"] == []


def test_source_reads_live_categories_as_they_come(tmp_path: Path) -> None:
    row = {"id": "live_simple_0", "question": [[{"role": "user", "content": "x"}]]}
    row["function"] = [function({"type": "integer"})]
    (tmp_path / "possible_answer").mkdir()
    (tmp_path / "BFCL_v4_live_simple.json").write_text(json.dumps(row))
    key = {"id": "live_simple_0", "ground_truth": [{"f": {"x": [1]}}]}
    (tmp_path / "possible_answer" / "BFCL_v4_live_simple.json").write_text(json.dumps(key))
    nothing = {**row, "id": "live_irrelevance_0", "function": []}
    (tmp_path / "BFCL_v4_live_irrelevance.json").write_text(json.dumps(nothing))
    (tmp_path / "BFCL_v4_live_relevance.json").write_text(json.dumps(row))  # has no key: passed over
    source = plugins.load("sources", "bfcl")(str(tmp_path))
    traces = list(source.traces("test"))
    assert [t.traits["category"] for t in traces] == ["live_simple", "live_irrelevance"]
    assert [(t.gold.decision, len(t.tools)) for t in traces] == [("call", 1), ("decline", 0)]
    assert source.quarantine.count == 0
    assert "live_relevance" not in CATEGORIES


def test_published_keys_are_right_by_their_own_checker(shared_data: Path) -> None:
    grader, counted = BfclGrader(), 0
    for trace in plugins.load("sources", "bfcl")(str(shared_data / "bfcl_v4")).traces("test"):
        (sample,) = Full().samples(trace, Random(0))
        reply = Reply(message=sample.answer.message)
        verdict = grader.judge(sample, reply)
        assert verdict.ok, (trace.origin.row, verdict.detail)
        derived = sample.model_copy(update={"answer": sample.answer.model_copy(update={"native": None})})
        assert grader.judge(derived, reply).ok, trace.origin.row
        assert Trace.model_validate_json(trace.model_dump_json()).gold.native == trace.gold.native
        counted += 1
    assert counted == 1240


@pytest.mark.parametrize(
    ("text", "declared", "items", "value"),
    [
        ('new ArrayList<>() {{ add("a"); add("b"); }}', "ArrayList", "String", ["a", "b"]),
        ("new int[]{1, , 2}", "Array", "integer", [1, 2]),
        ('new HashMap<String, Map<K, V>>() {{ put("a", 1L); put("b", x); }}', "HashMap", "", {"a": 1, "b": "x"}),
        ("new HashMap<>()", "HashMap", "", {}),
        ("new HashMap<\n>()", "HashMap", "", "new HashMap<\n>()"),
        ("'c'", "char", "", "'c'"),
    ],
)
def test_java_source(text: str, declared: str, items: str, value: object) -> None:
    assert read_java(text, declared, items) == value


@pytest.mark.parametrize(
    ("text", "declared", "items", "value"),
    [
        ("new Array([1, 2], [3])", "array", "array", [[1, 2], [3]]),
        ("[{a: 1, b: 2}]", "array", "dict", ["{a: 1", "b: 2}"]),
        ("{a: [1, 2], b: x, y: 'z'}", "dict", "", {"a": [1, 2], "b": "x", "y": "z"}),
        ("[[]]", "array", "array", [[""]]),
        ("1_0", "integer", "", "1_0"),
    ],
)
def test_javascript_source(text: str, declared: str, items: str, value: object) -> None:
    assert read_javascript(text, declared, items) == value


@pytest.mark.parametrize(
    ("read", "declared", "text"),
    [
        (read_javascript, "array", "[" + "[a]," * 20_000),  # takes the original's pattern exponential time
        (read_javascript, "array", "[" * 60_000),
        (read_javascript, "dict", "{" + "a:,b" * 20_000 + "}"),
        (read_java, "ArrayList", "new ArrayList<>(Arrays.asList(" * 10_000),
        (read_java, "ArrayList", "new ArrayList<>() {{ " * 10_000),
        (read_java, "HashMap", "new HashMap<>() {{" + 'put("",' * 20_000 + "\n)}"),
        (read_java, "Array", "new int[]{\n" * 10_000),
    ],
)
def test_hostile_source_takes_linear_time(read, declared: str, text: str) -> None:
    start = perf_counter()
    read(text, declared)
    assert perf_counter() - start < 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    schema=json_values | st.fixed_dictionaries({"type": st.sampled_from(["string", "array", "dict", "float", "any"])}),
    accepted=json_values,
    value=json_values,
    category=st.sampled_from(["simple_python", "simple_java", "simple_javascript", "multiple", "parallel"]),
)
@settings(max_examples=300, deadline=None)
def test_no_key_and_no_output_makes_it_raise(schema, accepted, value, category) -> None:
    outcome = check([function(schema)], [("f", {"x": value})], [{"f": {"x": accepted}}], category)
    assert outcome.valid == (not outcome.error_type and not outcome.crash)
    assert not outcome.error_type or outcome.error_type in FAULTS


# nestful


def call(name: str, label: str | None = None, **arguments: object) -> Call:
    return Call(name=name, arguments=arguments, label=label)


def number(name: str) -> Tool:
    return Tool(name=name, parameters={"type": "object", "properties": {k: {} for k in "abx"}})


TOOLS = tuple(number(name) for name in ("add", "mul", "log"))
NESTED = Answer(
    calls=(
        call("add", "var1", a=1, b=2),
        call("mul", "var2", a="$var1.r$", b=2),
        call("mul", "var3", a=3, b="$var2.r$"),
    )
)


def both(answer: Answer, *given: Call) -> tuple[dict, dict]:
    sample, reply = sample_of(answer, TOOLS), calling(*given)
    official, fixed = (g().judge(sample, reply) for g in (nestful.plugin, nestful_fixed.plugin))
    assert official.ok == (official.measures["full_sequence"] == 1.0) == (official.score == 1.0)
    assert fixed.ok == (fixed.measures["full_sequence"] == 1.0) == judge_calls(answer, TOOLS, reply).ok
    assert set(official.measures) == set(fixed.measures) == set(nestful.plugin.measures)
    return official.measures, fixed.measures


def test_nestful_the_gold_itself_is_all_right() -> None:
    official, fixed = both(NESTED, *NESTED.calls)
    assert set(official.values()) == set(fixed.values()) == {1.0}


def test_nestful_same_function_twice_keeps_the_last() -> None:
    wrong = NESTED.calls[1].model_copy(update={"arguments": {"a": 9, "b": 9}})
    official, fixed = both(NESTED, NESTED.calls[0], wrong, NESTED.calls[2])
    assert official["f1_parameters"] == 1.0
    assert fixed["f1_parameters"] == pytest.approx(4 / 6)


def test_nestful_inserted_call_shifts_the_rest() -> None:
    official, fixed = both(NESTED, call("log", x=1), *NESTED.calls)
    assert official["partial_sequence"] == 0.0
    assert fixed["partial_sequence"] == 0.75
    assert official["f1_functions"] == 1.0  # names beyond the gold's cost nothing
    assert fixed["f1_functions"] == pytest.approx(6 / 7)


def test_nestful_values_are_compared_as_text() -> None:
    answer = Answer(calls=(call("add", a=1, b=True),))
    official, fixed = both(answer, call("add", a="1", b="True"))
    assert official["full_sequence"] == 1.0
    assert (fixed["full_sequence"], fixed["f1_parameters"]) == (0.0, 0.0)


def test_nestful_labels_and_order_of_independent_calls() -> None:
    answer = Answer(calls=(call("add", "s", a=1), call("log", "t", x=2), call("mul", a="$s.r$")))
    renamed = (call("log", "p", x=2), call("add", "q", a=1), call("mul", a="$q.r$"))
    official, fixed = both(answer, *renamed)
    assert official["full_sequence"] == 0.0
    assert set(fixed.values()) == {1.0}


def test_nestful_cannot_tell_two_calls_of_one_function_apart() -> None:
    answer = Answer(calls=(call("add", "var1", a=1), call("add", "var2", a=2), call("mul", a="$var1.r$")))
    official, fixed = both(answer, *answer.calls[:2], call("mul", a="$var2.r$"))
    assert official["full_sequence"] == 1.0
    assert fixed["full_sequence"] == 0.0


def test_nestful_dollar_amount_in_the_gold_is_never_met() -> None:
    answer = Answer(calls=(call("log", x="$500-$1000"),))
    official, fixed = both(answer, *answer.calls)
    assert (official["full_sequence"], fixed["full_sequence"]) == (0.0, 1.0)


def test_nestful_a_crash_equals_zero() -> None:
    assert nestful.wins(0, [3, CRASHED])
    assert nestful.wins(False, [CRASHED])
    assert not nestful_fixed.wins(0, [3, CRASHED])
    assert not nestful.wins(1, [CRASHED])
    assert nestful.wins(1, [True])
    assert not nestful_fixed.wins(1, [True])
    for module in (nestful, nestful_fixed):
        assert module.wins(0.3, [0.1 + 0.2])
        assert module.wins([1, 2], [5, [1, 2]])
        assert not module.wins(0, [])


@pytest.mark.parametrize(
    ("given_calls", "kind"),
    [
        ((), "missed_call"),
        ((call("add", "var1", a=1, b=2),), "missing_call"),
        ((*NESTED.calls, call("log")), "extra_call"),
        ((NESTED.calls[1], NESTED.calls[0], NESTED.calls[2]), "wrong_order"),
        ((*NESTED.calls[:2], call("log")), "wrong_tool"),
        ((*NESTED.calls[:2], call("mul", a=4)), "wrong_value"),
    ],
)
def test_nestful_names_a_fault(given_calls: tuple[Call, ...], kind: str) -> None:
    reply = Reply(message=Message(text="" if given_calls else "no", calls=given_calls))
    verdict = nestful.plugin().judge(sample_of(NESTED, TOOLS), reply)
    assert [(f.kind, f.detail) for f in verdict.faults] == [(kind, "full_sequence")]


def test_nestful_unreadable_reply_and_what_does_not_apply() -> None:
    broken = Reply(fault=Fault(kind="truncated"))
    for grader in (nestful.plugin(), nestful_fixed.plugin()):
        verdict = grader.judge(sample_of(NESTED, TOOLS), broken)
        assert verdict.faults[0].kind == "truncated"
        assert set(verdict.measures.values()) == {0.0}
        assert grader.judge(sample_of(Answer(decision="decline"), TOOLS), broken).state == "not_applicable"
        assert "names" in grader.judge(sample_of(NESTED, TOOLS, "names"), broken).detail


def test_nestful_value_that_cannot_be_printed_is_the_graders_error() -> None:
    reply = calling(call("add", a=10**5000))
    assert nestful.plugin().judge(sample_of(NESTED, TOOLS), reply).state == "grader_error"
    assert nestful_fixed.plugin().judge(sample_of(NESTED, TOOLS), reply).state == "graded"


plain_text = st.text(st.characters(codec="ascii", exclude_characters="$"), max_size=5).map(str.strip)
plain_json = st.recursive(
    st.booleans() | st.integers(-9, 9) | plain_text, lambda v: st.lists(v, max_size=2), max_leaves=4
)


@given(st.dictionaries(st.sampled_from("abx"), plain_json), st.dictionaries(st.sampled_from("abx"), plain_json))
@settings(max_examples=200, deadline=None)
def test_strict_implies_official_for_one_call_of_plain_json(want: dict, have: dict) -> None:
    answer = Answer(calls=(Call(name="add", arguments=want),))
    official, fixed = both(answer, Call(name="add", arguments=have))
    assert fixed["full_sequence"] <= official["full_sequence"]
    same, strict = both(answer, Call(name="add", arguments=dict(reversed(want.items()))))
    assert (same["full_sequence"], strict["full_sequence"]) == (1.0, 1.0)
