"""Tools: the calculator's arithmetic, importers of functions and lists, and running graphs of calls."""

import json
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgrain.core.errors import BadInput, CallgrainError
from callgrain.core.types import Call, Tool
from callgrain.tools._catalogue import Catalogue, ToolError, open_world, read_catalogue
from callgrain.tools._execute import execute, outcome
from callgrain.tools.calculator import LIMIT
from callgrain.tools.openai import as_json

FIXTURES = Path(__file__).parent / "fixtures" / "tools"
CALCULATOR = open_world("calculator")


def calculate(name: str, **arguments: object) -> object:
    assert CALCULATOR.run is not None
    return CALCULATOR.run(name, arguments)


# calculator


@pytest.mark.parametrize(
    ("name", "a", "b", "value"),
    [
        ("add", 2, 3, 5),
        ("add", 0.1, 0.2, 0.3),
        ("subtract", 1, 3, -2),
        ("multiply", 0.2, 50, 10),
        ("divide", 6, 3, 2),
        ("divide", 1, 4, 0.25),
        ("divide", -7, 2, -3.5),
        ("add", 10**20, 1, 10**20 + 1),
        ("add", 123456789012345.6, 0, 123456789012345.6),
        ("multiply", 1e-20, 1, 1e-20),
    ],
)
def test_calculator_is_exact(name: str, a: float, b: float, value: float) -> None:
    given_back = calculate(name, a=a, b=b)
    assert given_back == value
    assert type(given_back) is type(value)


def test_calculator_takes_back_what_a_quotient_lost() -> None:
    third = calculate("divide", a=1, b=3)
    assert calculate("multiply", a=third, b=3) == 1
    assert isinstance(calculate("multiply", a=third, b=3), int)


@given(st.integers(-(10**14), 10**14), st.integers(-(10**14), 10**14))
def test_calculator_on_integers_is_integer_arithmetic(a: int, b: int) -> None:
    assert calculate("add", a=a, b=b) == a + b
    assert calculate("subtract", a=a, b=b) == a - b
    assert calculate("multiply", a=a, b=b) == a * b
    if b:
        value = calculate("divide", a=a, b=b)
        assert isinstance(value, int) == (a % b == 0)
        assert value == (a // b if a % b == 0 else float(Fraction(a, b)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("divide", {"a": 1, "b": 0}),
        ("divide", {"a": 1, "b": 0.0}),
        ("add", {"a": 1}),
        ("add", {"a": 1, "b": 2, "c": 3}),
        ("add", {"a": "1", "b": 2}),
        ("add", {"a": True, "b": 2}),
        ("add", {"a": None, "b": 2}),
        ("add", {"a": float("nan"), "b": 2}),
        ("add", {"a": float("inf"), "b": 2}),
        ("multiply", {"a": LIMIT, "b": 2}),
        ("add", {"a": 10**400, "b": 2}),
        ("power", {"a": 2, "b": 2}),
    ],
)
def test_calculator_refuses_as_a_tool_error(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ToolError):
        calculate(name, **arguments)


def test_calculator_takes_nothing_after_its_name() -> None:
    assert CALCULATOR.spec == "calculator"
    with pytest.raises(BadInput, match="takes no argument"):
        read_catalogue("calculator:big")


# running graphs


def test_references_are_resolved_and_labels_renamed_freely() -> None:
    calls = (
        Call(name="add", arguments={"a": 1, "b": 2}, label="x"),
        Call(name="multiply", arguments={"b": 4, "a": "$x$"}, label="y"),
    )
    results = execute(calls, CALCULATOR)
    assert [r.value for r in results] == [3, 12]
    assert outcome(calls, results) == [12]


def test_arguments_are_bound_by_name_not_by_place() -> None:
    one, two = {"a": 9, "b": 4}, {"b": 4, "a": 9}
    (first,) = execute((Call(name="subtract", arguments=one),), CALCULATOR)
    (second,) = execute((Call(name="subtract", arguments=two),), CALCULATOR)
    assert first.value == second.value == 5


def test_a_failure_never_equals_a_value() -> None:
    failing = (Call(name="divide", arguments={"a": 1, "b": 0}, label="x"),)
    (result,) = execute(failing, CALCULATOR)
    assert result.error == "division by zero"
    assert outcome(failing, (result,)) is None
    for name, a, b in (("subtract", 1, 1), ("multiply", 0, 5), ("add", 0, 1)):
        fine = (Call(name=name, arguments={"a": a, "b": b}, label="x"),)
        assert outcome(fine, execute(fine, CALCULATOR)) is not None


def test_a_failure_spreads_to_what_rests_on_it_and_no_further() -> None:
    calls = (
        Call(name="divide", arguments={"a": 1, "b": 0}, label="x"),
        Call(name="add", arguments={"a": "$x$", "b": 1}, label="y"),
        Call(name="add", arguments={"a": 1, "b": 1}, label="z"),
        Call(name="add", arguments={"a": "$later$", "b": 1}, label="w"),
    )
    results = execute(calls, CALCULATOR)
    assert [r.error is None for r in results] == [False, False, True, False]
    assert results[1].error == "'x' failed"
    assert "later" in str(results[3].error)


# functions


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    shutil.copy(FIXTURES / "world_of_functions.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "world_of_functions", raising=False)
    return read_catalogue("functions:world_of_functions")


def test_functions_become_tools(functions: Catalogue) -> None:
    assert [tool.name for tool in functions.tools] == ["pack", "root", "swap", "later", "fails"]
    pack = functions["pack"]
    assert pack.description == "Pack a box. It is packed at once."
    assert pack.required == ("box", "size")
    assert pack.properties["size"]["description"] == "how large"
    assert pack.properties["box"]["description"] == "what is packed, over two lines"
    assert pack.properties["copies"] == {"type": "integer", "default": 1, "description": "how many"}
    assert set(pack.parameters["$defs"]["Box"]["properties"]) == {"title", "weight"}
    assert "Size" in pack.parameters["$defs"]
    assert functions["root"].properties["x"]["description"] == "a number that is not negative"
    assert functions["root"].returns == {"type": "number"}
    assert {k: v["description"] for k, v in functions["swap"].properties.items()} == {
        "a": "the first",
        "b": "the second",
    }


def test_functions_run_by_name_with_strict_types(functions: Catalogue) -> None:
    run = functions.run
    assert run is not None
    assert run("swap", {"b": "2", "a": "1"}) == ["2", "1"]
    assert run("later", {"n": 1}) == 2
    packed = run("pack", {"box": {"title": "t"}, "size": "small", "when": "2026-01-31"})
    assert packed == {"packed": "t", "size": "small", "copies": 1, "when": "2026-01-31"}
    for name, arguments in (
        ("later", {"n": "1"}),
        ("later", {"n": True}),
        ("later", {}),
        ("later", {"n": 1, "m": 2}),
        ("pack", {"box": {"title": "t"}, "size": "huge"}),
        ("root", {"x": -1}),
        ("fails", {"kind": "exit"}),
        ("fails", {"kind": "assert"}),
        ("fails", {"kind": "object"}),
        ("fails", {"kind": "nan"}),
        ("fails", {"kind": "key"}),
        ("nowhere", {}),
    ):
        with pytest.raises(ToolError):
            run(name, arguments)


def test_functions_are_never_opened_by_a_data_file(functions: Catalogue) -> None:
    with pytest.raises(CallgrainError, match="not one of the built-in"):
        open_world(functions.spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_there_at_all", "needs 'not_there_at_all'"),
        ("def f(:", "SyntaxError"),
        ("raise RuntimeError('boom')", "boom"),
        ("import sys; sys.exit(2)", "SystemExit"),
        ("x = 1", "no public function"),
        ("def f(a, /): ...", "cannot be given by name"),
        ("def f(*a): ...", "cannot be given by name"),
        ("class C: ...\ndef f(a: C): ...", "no JSON Schema"),
        ("def f(a: 'Nowhere'): ...", "no JSON Schema"),
    ],
)
def test_functions_bad_modules(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"bad_{abs(sum(map(ord, text)))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(BadInput, match=message):
        read_catalogue(f"functions:{name}")


@pytest.mark.parametrize("spec", ["functions:", "functions:a/b.py", "functions:no_such_module_here", "functions:os.no"])
def test_functions_bad_names(spec: str) -> None:
    with pytest.raises(BadInput, match="module"):
        read_catalogue(spec)


# openai

SCHEMA = {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]}


def read_list(folder: Path, content: object) -> Catalogue:
    path = folder / "tools.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_catalogue(f"openai:{path}")


def test_openai_reads_each_spelling(tmp_path: Path) -> None:
    inner = {"name": "lamp", "description": "Switch.", "parameters": SCHEMA}
    expected = (Tool(name="lamp", description="Switch.", parameters=SCHEMA),)
    for item in ({"type": "function", "function": inner}, {"type": "function", **inner, "strict": True}, inner):
        assert read_list(tmp_path, [item]).tools == expected
        assert read_list(tmp_path, {"tools": [item]}).tools == expected
    assert read_list(tmp_path, [{"name": "bare"}]).tools[0].parameters == {"type": "object", "properties": {}}
    assert read_list(tmp_path, [inner]).run is None


def test_our_own_catalogue_is_read_back_equal(tmp_path: Path) -> None:
    assert read_list(tmp_path, as_json(CALCULATOR)).tools == CALCULATOR.tools


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{]", r"tools\.json:1:3"),
        ({"functions": []}, "no list of tools"),
        ([], "empty list"),
        ([3], r"\[0\]: a int"),
        ([{"name": "a"}, {"name": "a"}], r"\[1\]: a second tool named 'a'"),
        ({"tools": [{"name": ""}]}, r"tools\[0\]\.name"),
        ([{"type": "function", "function": {"description": "x"}}], r"\[0\]\.function\.name"),
        ([{"type": "function", "function": []}], r"\[0\]\.function"),
        ([{"type": "web_search"}], "web_search"),
        ([{"name": "a", "parameters": {"type": "dict"}}], r"\[0\]\.parameters: no JSON Schema"),
        ([{"name": "a", "parameters": {"type": "string"}}], "parameters are an object"),
        ([{"name": "a", "parameters": {"properties": []}}], "no JSON Schema"),
        ([{"name": "a", "parameters": {"required": "x"}}], "no JSON Schema"),
        ([{"name": "a", "description": 3}], "description"),
        ([{"name": "a", "mutates": "maybe"}], "mutates"),
        ('[{"name": "a", "parameters": ' + '{"not": ' * 80 + "{}" + "}" * 80 + "}]", "nested deeper"),
    ],
)
def test_openai_bad_lists_name_the_place(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_list(tmp_path, content)
    assert caught.match(message)


def test_openai_fetches_no_dialect(tmp_path: Path) -> None:
    parameters = {**SCHEMA, "$schema": "http://127.0.0.1:9/none"}
    assert read_list(tmp_path, [{"name": "a", "parameters": parameters}]).tools[0].parameters == parameters


def test_openai_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file"):
        read_catalogue(f"openai:{tmp_path / 'none.json'}")
    with pytest.raises(BadInput, match="no file"):
        read_catalogue("openai:")
