"""The door to JSON Schema: hostile schemas in bounded time and memory, and what is judged of the rest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core import schema as door
from callgrain.core._patterns import states
from callgrain.core._survey import survey
from callgrain.core.schema import Check, check_of, complaint, has_type, unusable
from hostile import corpus

HOSTILE = Path(__file__).with_name("hostile.py")
OFFLINE = ("file ", "http ")


def judged(names: list[str]) -> list[dict[str, Any]]:
    """What a child process says of the named schemas; fails naming the one that killed it."""
    done = subprocess.run(
        [sys.executable, str(HOSTILE)],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    last = next((line["begins"] for line in reversed(lines) if "begins" in line), "the start")
    assert done.returncode == 0, f"killed by {last!r} ({done.returncode}): {done.stderr[-500:]}"
    return [line for line in lines if "name" in line]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory of a part of a process's life is read from /proc, which is not here")
    return {row["name"]: row for row in judged([])}


def test_every_hostile_schema_is_judged_within_a_second_and_256_megabytes(found: dict[str, dict[str, Any]]) -> None:
    assert len(found) == len(corpus()) >= 80
    assert [(n, r["seconds"]) for n, r in found.items() if r["seconds"] > 1] == []
    assert [(n, r["mb"]) for n, r in found.items() if r["mb"] > 256] == []


def test_no_schema_opens_a_file_or_a_socket(found: dict[str, dict[str, Any]]) -> None:
    assert {n: r["opened"] for n, r in found.items() if r["opened"]} == {}
    outside = {n: r["reason"] for n, r in found.items() if n.startswith(OFFLINE)}
    assert len(outside) > 50
    assert [n for n, reason in outside.items() if not reason] == []


def test_a_wrong_answer_stays_wrong_whatever_the_schema(found: dict[str, dict[str, Any]]) -> None:
    assert [n for n, r in found.items() if r["ok"]] == []


def test_a_schema_that_cannot_be_used_is_judged_by_its_type_alone(found: dict[str, dict[str, Any]]) -> None:
    unused = {n: r for n, r in found.items() if r["reason"]}
    assert len(unused) > 200
    assert {r["complaint"] for n, r in unused.items() if not n.startswith(("value ", "100,000 types"))} == {None}
    assert found["100,000 types"]["complaint"] == "wrong_type"
    assert all("\n" not in r["reason"] and len(r["reason"]) <= 220 for r in unused.values())


def test_the_child_names_the_schema_that_kills_it_and_sees_what_is_opened() -> None:
    code = (
        "import hostile, os, sys\n"
        "def kill(): os.abort()\n"
        "hostile.corpus = lambda: {'fine': lambda: ({}, 1), 'deadly': kill}\n"
        "hostile.main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOSTILE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == -6
    assert json.loads(done.stdout.splitlines()[-1]) == {"begins": "deadly"}
    code = (
        "import hostile, sys\n"
        "from callgrain.core import schema\n"
        "schema.complaint = lambda s, v: open('/dev/null').close()\n"
        "hostile.corpus = lambda: {'opens': lambda: ({}, 1)}\n"
        "hostile.main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOSTILE.parent, capture_output=True, text=True, check=False)
    assert "/dev/null" in json.loads(done.stdout.splitlines()[-1])["opened"][0]


# what is judged ------------------------------------------------------------------------------

TREE = {"type": "object", "properties": {"v": {"type": "integer"}, "of": {"items": {"$ref": "#"}}}}


@pytest.mark.parametrize(
    ("schema", "value", "want"),
    [
        ({"type": "string"}, 1, "wrong_type"),
        ({"type": "integer"}, True, "wrong_type"),
        ({"type": "integer"}, 2.0, None),
        ({"type": "integer"}, 2.5, "wrong_type"),
        ({"type": "number"}, float("nan"), "not_allowed"),
        ({"type": "number"}, 10**4250, None),
        ({"type": "number", "maximum": 10}, 10**4250, "not_allowed"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "\ud800"}, None),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "\ud800", "b": 1}, None),
        ({"type": "number", "maximum": 10}, 10**400, "not_allowed"),
        ({"type": "number", "minimum": 10**400}, 10**400, None),
        ({"type": "object", "properties": {"a": {"type": "number"}}}, {"a": float("nan")}, "not_allowed"),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": 10**4250}, None),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": float("nan")}, "wrong_type"),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": None}, "wrong_type"),
        ({"type": "object", "properties": {"a": {"type": "number"}}}, [1], "wrong_type"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}}},
            {"a": [float("inf")]},
            "not_allowed",
        ),
        ({"type": "string", "enum": ["a"]}, "b", "not_allowed"),
        ({"type": ["string", "null"], "minLength": 2}, None, None),
        ({"type": ["string", "null"], "minLength": 2}, "x", "not_allowed"),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1], "wrong_type"),
        ({"type": "array", "items": {"enum": ["a"]}}, ["a", 1], "not_allowed"),
        ({"properties": {"a": {"enum": [1]}, "b": {"type": "string"}}}, {"a": 2, "b": 3}, "wrong_type"),
        ({"additionalProperties": {"type": "string"}}, {"a": 2}, "wrong_type"),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", "b"], "wrong_type"),
        (TREE, {"v": 1, "of": [{"v": 2}]}, None),
        (TREE, {"v": 1, "of": [{"v": 2, "of": [{"v": "x"}]}]}, "wrong_type"),
        ({"$defs": {"a": {"minimum": 3}}, "$ref": "#/$defs/a"}, 2, "not_allowed"),
        ({"$id": "https://here/x", "$defs": {"a": {"$anchor": "n", "minimum": 3}}, "$ref": "#n"}, 2, "not_allowed"),
        ({"properties": {"$ref": {"type": "string"}, "$id": {"minimum": 3}}}, {"$ref": "x", "$id": 2}, "not_allowed"),
        ({"type": "string", "minLength": 1}, "\ud800", "not_allowed"),
        ({"type": "string", "$ref": "file:///x"}, 1, "wrong_type"),
        ({"type": "string", "$ref": "file:///x"}, "a", None),
        (False, None, "not_allowed"),
        (True, None, None),
        ({}, float("nan"), None),
        ("nonsense", 1, None),
    ],
)
def test_what_is_judged(schema: Any, value: Any, want: str | None) -> None:
    assert complaint(schema, value) == want
    assert Check(schema).complaint(value) == want
    assert check_of(schema).fits(value) == Check(schema).fits(value) == (want is None)


def test_reasons_say_what_is_the_matter() -> None:
    assert unusable({"type": "string", "enum": ["a"]}) is None
    assert check_of({"type": "string", "minLength": 1}).usable
    assert "outside" in (unusable({"items": {"$ref": "http://127.0.0.1:9/x"}}) or "")
    assert "leads back" in (unusable({"$ref": "#"}) or "")
    assert "regex" in (unusable({"pattern": "(?=a)"}) or "")
    assert "50,000" in (unusable({"enum": list(range(60_000))}) or "")
    assert unusable({"enum": list(range(49_000))}) is None
    assert "list" in (unusable([]) or "")
    assert not check_of({"type": "decimal"}).usable


def test_the_same_object_has_one_check_and_equal_ones_share_a_validator() -> None:
    one, two = ({"type": "string", "enum": ["a", "b"]} for _ in range(2))
    assert check_of(one) is check_of(one)
    assert check_of(one) is not check_of(two)
    assert complaint(one, "c") == complaint(two, "c") == "not_allowed"
    assert check_of(one)._ready() is check_of(two)._ready()


def test_no_schema_is_taken_for_another_that_is_gone() -> None:
    """Objects come and go at the same address; a cache by address must not confuse them."""
    for i in range(6_000):
        assert complaint({"type": "integer", "enum": [i]}, i) is None, i
        assert complaint({"type": "integer", "enum": [-i - 1]}, i) == "not_allowed", i


def test_the_caches_are_bounded() -> None:
    for i in range(12):
        check_of({"enum": list(range(i, i + 40_000))}).complaint(-1)
        assert sum(c.survey.values for c in door._by_content.values()) <= door.HELD_LIMIT


@pytest.mark.parametrize(
    ("pattern", "low", "high"),
    [
        ("abc", 3, 5),
        ("a{10}", 10, 12),
        ("(a{1,1000}){1,1000}", 10**6, 2 * 10**6),
        ("(ab{3}){4}c", 16, 26),
        ("[a-z]{3,}x", 3, 6),
        (r"\{9}", 2, 4),
        ("[{9}]", 1, 3),
        ("a{,7}", 1, 9),
        ("a{x}", 4, 6),
        ("((((", 1, 6),
        ("a{" + "9" * 20 + "}", 10**11, 10**13),
        ("", 1, 1),
    ],
)
def test_a_pattern_is_weighed_by_what_it_unrolls_to(pattern: str, low: int, high: int) -> None:
    assert low <= states(pattern) <= high


@given(st.text(alphabet="ab(){}[]\\,1*|^$", max_size=60))
@settings(deadline=None)
def test_any_text_can_be_weighed(pattern: str) -> None:
    assert states(pattern) >= 1


def test_work_grows_with_the_depth_of_the_value_only_where_a_schema_recurs() -> None:
    plain = survey({"properties": {"a": {"properties": {"b": {"enum": ["x"]}}}}})
    assert plain.work(0) == plain.work(50) < 30
    line = survey(TREE)
    assert line.work(10) < line.work(20) < 200
    fork = survey({"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}, "minItems": 1}]})
    assert fork.work(20) > 2**20
    assert fork.work(100) <= 10**12


# the library is right where it is asked ------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)
schemas = st.recursive(
    st.fixed_dictionaries({}, optional={
        "type": st.sampled_from(["string", "integer", "array", "object", "null", "boolean", "number"]),
        "enum": st.lists(values, min_size=1, max_size=3),
        "minimum": st.integers(-2, 2),
        "maxLength": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "pattern": st.sampled_from(["^a+$", "b"]),
        "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
        "additionalProperties": st.booleans(),
    }),
    lambda inner: st.fixed_dictionaries({}, optional={
        "items": inner,
        "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "not": inner,
    }),
    max_leaves=5,
)  # fmt: skip
words = st.sampled_from(["a", "ab", "b"])
little = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "array", "object", "null", "boolean", "number"])}
    )
    | st.fixed_dictionaries({"type": st.just("string"), "enum": st.lists(words, min_size=1, max_size=2)}),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)},
            optional={
                "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
                "additionalProperties": st.booleans(),
            },
        )
    ),
    max_leaves=4,
)


@given(schema=little, value=values | st.floats(-2, 2))
@settings(max_examples=500, deadline=None)
def test_what_is_judged_without_the_library_is_judged_alike(schema: dict[str, Any], value: Any) -> None:
    import jsonschema_rs

    check = Check(schema)
    check._ready()
    assert check._judge is not None
    found = check.complaint(value)
    assert (found is None) == jsonschema_rs.validator_for(schema).is_valid(value)
    assert (found == "wrong_type") == door._misplaced(schema, value)
    assert found == Check({**schema, "allOf": [{}]}).complaint(value)
    assert check.fits(value) == (found is None)


@given(schema=schemas, value=values)
@settings(max_examples=300, deadline=None)
def test_a_value_is_complained_of_exactly_where_the_library_refuses_it(schema: dict[str, Any], value: Any) -> None:
    import jsonschema_rs

    found = complaint(schema, value)
    assert (found is None) == jsonschema_rs.validator_for(schema).is_valid(value)
    if not has_type(schema, value):
        assert found == "wrong_type"
