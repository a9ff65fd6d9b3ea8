"""Schemas and values that strangers may send, and a child process that judges them one by one.

`corpus()` names them; `python tests/hostile.py NAME...` judges the named ones in this very process
under a limit on its memory, says which one it begins, and what each took. Whoever runs that reads
the name of the one that killed it off the last line.
"""

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Made = Callable[[], tuple[Any, Any]]
"""Makes a schema and a value to hold against it."""

FILE, WEB = "file:///etc/hostname", "http://127.0.0.1:9/schema.json"
LIST_KEYWORDS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAP_KEYWORDS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies")
ONE_KEYWORDS = (
    *("not", "if", "then", "else", "items", "contains", "additionalProperties", "unevaluatedProperties"),
    *("propertyNames", "unevaluatedItems", "additionalItems", "contentSchema", "$ref", "$dynamicRef", "$recursiveRef"),
)
KEYWORDS = (
    *LIST_KEYWORDS,
    *MAP_KEYWORDS,
    *ONE_KEYWORDS,
    *("type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength"),
    *("minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties"),
    *("minProperties", "required", "dependentRequired", "format", "contentEncoding", "contentMediaType", "title"),
    *("description", "default", "examples", "deprecated", "readOnly", "$schema", "$id", "$anchor", "$dynamicAnchor"),
    *("$vocabulary", "$comment"),
)
WRONG = (None, True, -1, 1.5, "", "x", [], [1, None], {"a": 1}, {"$ref": 5}, 10**400)
DRAFT7 = "http://json-schema.org/draft-07/schema#"
DRAFT4 = "http://json-schema.org/draft-04/schema#"


def nested(levels: int, key: str = "", end: Any = 1) -> Any:
    """`end` under so many objects of one key, or under as many lists where no key is given."""
    value: Any = end
    for _ in range(levels):
        value = {key: value} if key else [value]
    return value


def layered(levels: int, wrap: Callable[[Any], Any]) -> Any:
    """A schema wrapped into itself."""
    made: Any = {"type": "integer"}
    for _ in range(levels):
        made = wrap(made)
    return made


def _references() -> Iterator[tuple[str, Made]]:
    """Every keyword that takes a schema, with a reference out of it."""
    for uri, what in ((FILE, "file"), (WEB, "http")):
        out = {"$ref": uri}
        for key in LIST_KEYWORDS:
            yield f"{what} reference in {key}", lambda key=key, out=out: ({key: [out]}, [1, 2])
        for key in MAP_KEYWORDS:
            yield f"{what} reference in {key}", lambda key=key, out=out: ({key: {"a": out}}, {"a": 1, "b": 2})
        for key in ONE_KEYWORDS:
            inner = uri if key.startswith("$") else out
            value = [1, 2] if "tems" in key or key == "contains" else {"a": 1, "b": 2}
            yield f"{what} reference in {key}", lambda key=key, inner=inner, value=value: ({key: inner}, value)
        yield f"{what} meta-schema", lambda uri=uri: ({"$schema": uri, "minimum": 2}, 1)
        yield f"{what} base", lambda uri=uri: ({"$id": uri, "$ref": "other.json"}, 1)
        yield f"{what} base inside", lambda uri=uri: ({"allOf": [{"$id": uri, "$ref": "#/x"}]}, 1)
        yield (
            f"{what} base of a definition",
            lambda uri=uri: (
                {"$defs": {"a": {"$id": uri, "type": "string"}}, "$ref": uri},
                1,
            ),
        )
        yield (
            f"{what} draft-4 id",
            lambda uri=uri: (
                {"$schema": DRAFT4, "properties": {"a": {"id": uri, "$ref": "b"}}},
                {"a": 1},
            ),
        )


def _recursion() -> Iterator[tuple[str, Made]]:
    tree = {"type": "object", "properties": {"v": {"type": "integer"}, "of": {"items": {"$ref": "#"}}}}
    fork = {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}, "b": {"minimum": 1}}}]}
    yield "circle", lambda: ({"$ref": "#"}, "x")
    yield (
        "circle of two",
        lambda: (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
            1,
        ),
    )
    yield (
        "circle through a branch",
        lambda: ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, 1),
    )
    yield "circle through not", lambda: ({"not": {"$ref": "#"}}, 1)
    yield "circle through an anchor", lambda: ({"$anchor": "me", "if": {"$ref": "#me"}, "then": False}, 1)
    yield "circle of dynamic references", lambda: ({"$dynamicAnchor": "me", "$dynamicRef": "#me"}, 1)
    yield "circle of recursive references", lambda: ({"$recursiveAnchor": True, "$recursiveRef": "#"}, 1)
    yield "tree", lambda: (tree, {"v": 1, "of": [{"v": 2, "of": [{"v": "x"}]}]})
    yield (
        "tree by dynamic references",
        lambda: (
            {"$dynamicAnchor": "n", "properties": {"of": {"items": {"$dynamicRef": "#n"}}}, "type": "object"},
            {"of": [{"of": [1]}]},
        ),
    )
    for levels in (10, 90, 400, 50_000):
        yield f"tree and a value {levels} deep", lambda n=levels: ({"items": {"$ref": "#"}}, nested(n))
        yield f"fork and a value {levels} deep", lambda n=levels: (fork, nested(n, "a", {"b": 0}))
    yield (
        "long circle",
        lambda: (
            {
                "$defs": {f"d{i}": {"properties": {"a": {"$ref": f"#/$defs/d{(i + 1) % 900}"}}} for i in range(900)},
                "$ref": "#/$defs/d0",
            },
            nested(90, "a"),
        ),
    )
    for n in (50, 400, 20_000):
        yield (
            f"chain of {n} references",
            lambda n=n: (
                {
                    "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(n)} | {f"d{n}": {"minimum": 5}},
                    "$ref": "#/$defs/d0",
                },
                1,
            ),
        )
    for n in (14, 60):
        yield f"references doubled {n} times", lambda n=n: (_doubled(n), 7)
    yield (
        "two anchors of one name",
        lambda: ({"allOf": [{"$anchor": "a"}, {"$anchor": "a", "minimum": 3}], "$ref": "#a"}, 1),
    )
    yield "reference to nothing", lambda: ({"$ref": "#/$defs/nope"}, 1)
    yield "reference into an enum", lambda: ({"enum": [{"$ref": "#/enum/0"}], "$ref": "#/enum/0"}, 1)
    yield "reference with escapes", lambda: ({"$defs": {"a/b~c%": {"minimum": 3}}, "$ref": "#/$defs/a~1b~0c%25"}, 1)
    yield "reference to a place that is no number", lambda: ({"allOf": [{}], "$ref": "#/allOf/" + "9" * 5000}, 1)
    yield "parameter that is called $ref", lambda: ({"properties": {"$ref": {"type": "string"}}}, {"$ref": 1})


def _doubled(n: int) -> dict[str, Any]:
    def twice(ref: dict[str, str]) -> dict[str, Any]:
        return {"allOf": [ref, {"anyOf": [ref]}]}

    defs: dict[str, Any] = {f"d{i}": twice({"$ref": f"#/$defs/d{i + 1}"}) for i in range(n)}
    return {"$defs": {**defs, f"d{n}": {"minimum": 5}}, "$ref": "#/$defs/d0"}


def _size() -> Iterator[tuple[str, Made]]:
    wraps: dict[str, Callable[[Any], Any]] = {
        "properties": lambda s: {"properties": {"a": s}},
        "allOf": lambda s: {"allOf": [s]},
        "not": lambda s: {"not": s},
        "items": lambda s: {"items": s},
        "if": lambda s: {"if": s, "then": {"minimum": 1}, "else": s},
        "unevaluatedProperties": lambda s: {"allOf": [s], "unevaluatedProperties": False},
        "oneOf": lambda s: {"oneOf": [s, {"not": s}]},
        "enum": lambda s: {"enum": [s]},
    }
    for key, wrap in wraps.items():
        for levels in (10, 30) if key in ("if", "oneOf") else (10, 30, 100, 1_000, 50_000):
            yield f"{key} {levels} deep", lambda n=levels, wrap=wrap: (layered(n, wrap), {"a": 1})
    yield "enum of 200,000", lambda: ({"type": "string", "enum": [f"v{i}" for i in range(200_000)]}, "none")
    yield "enum of 20,000", lambda: ({"type": "string", "enum": [f"v{i}" for i in range(20_000)]}, "none")
    yield (
        "enum of floats against a list",
        lambda: (
            {"items": {"enum": [i + 0.5 for i in range(20_000)]}},
            [19_999.5] * 10_000,
        ),
    )
    yield "enum of lists against a list", lambda: ({"items": {"enum": [[i] for i in range(9_000)]}}, [[8_999]] * 9_000)
    yield (
        "20,000 parameters",
        lambda: (
            {"properties": {f"p{i}": {"type": "string"} for i in range(20_000)}, "additionalProperties": False},
            {f"p{i}": 1 for i in range(20_000)},
        ),
    )
    yield (
        "100,000 parameters",
        lambda: ({"properties": {f"p{i}": {"minLength": 1} for i in range(100_000)}}, {"p7": ""}),
    )
    yield "40,000 required", lambda: ({"required": [f"p{i}" for i in range(40_000)]}, {"p1": 1})
    yield "all of any", lambda: ({"allOf": [{"anyOf": [{"const": i} for i in range(150)]} for _ in range(150)]}, -1)
    yield "any of any", lambda: ({"anyOf": [{"anyOf": [{"const": i} for i in range(150)]} for _ in range(150)]}, -1)
    yield (
        "any of any against a list",
        lambda: (
            {"items": {"anyOf": [{"anyOf": [{"const": i} for i in range(60)]} for _ in range(60)]}},
            [-1.5] * 20_000,
        ),
    )
    yield "one of one", lambda: ({"oneOf": [{"oneOf": [{"minimum": i} for i in range(150)]} for _ in range(150)]}, 200)
    yield (
        "unevaluated beside many",
        lambda: (
            {"allOf": [{"properties": {f"p{i}": {}}} for i in range(3_000)], "unevaluatedProperties": False},
            {f"p{i}": 1 for i in range(3_001)},
        ),
    )
    yield (
        "20,000 dependent schemas",
        lambda: (
            {"dependentSchemas": {f"p{i}": {"required": [f"p{i + 1}"]} for i in range(8_000)}},
            {f"p{i}": 1 for i in range(8_000)},
        ),
    )
    yield "description of 40 MB", lambda: ({"type": "integer", "minimum": 1, "description": "x" * 40_000_000}, 0)
    yield "description of 2 MB", lambda: ({"type": "integer", "minimum": 1, "description": "\u00e9" * 2_000_000}, 0)
    yield "name of 1 MB", lambda: ({"properties": {"n" * 1_000_000: {"type": "string"}}}, {"n" * 1_000_000: 1})
    yield "object within itself", lambda: (_within_itself(), {"a": {"b": 1}})


def _within_itself() -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "minProperties": 1}
    made["properties"] = {"a": made, "b": made}
    return made


def _patterns() -> Iterator[tuple[str, Made]]:
    found: dict[str, tuple[str, str]] = {
        "catastrophic": ("^(a+)+$", "a" * 40_000 + "!"),
        "catastrophic, 1 MB": ("^(a+)+$", "a" * 1_000_000 + "!"),
        "alternation": ("^(a|a|ab)*c$", "ab" * 20_000),
        "three stars": ("(.*)(.*)(.*)z", "a" * 200_000),
        "counted twice": ("(a{1,1000}){1,1000}", "a" * 10_000),
        "counted thrice": ("((a{0,100}){0,100}){0,100}", "a" * 10_000),
        "state blow-up": ("[ab]*a[ab]{300}c", "ab" * 500_000),
        "state blow-up, long": ("[ab]*a[ab]{1000}c", "abba" * 250_000),
        "look-ahead": ("^(?=a)b$", "b"),
        "look-behind": ("(?<=a)b", "ab"),
        "back-reference": (r"^(a+)\1+$", "a" * 5_000 + "!"),
        "unicode class": (r"^\p{L}+$", "\u00e9" * 100_000 + "!"),
        "unicode class, counted": (r"^\p{L}{1000}$", "\u00e9" * 1_000),
        "broken": ("(", "x"),
        "broken count": ("a{2,1}", "x"),
        "huge count": ("a{" + "9" * 4000 + "}", "x"),
        "deep groups": ("(" * 2_000 + "a" + ")" * 2_000, "x"),
        "long": ("a|" * 400_000, "x"),
        "NUL": ("a\x00b", "a\x00b"),
        "lone surrogate": ("\ud800", "x"),
        "flags": ("(?x)(?i)(?s) a # b", "A"),
    }
    for name, (pattern, value) in found.items():
        yield f"pattern: {name}", lambda pattern=pattern, value=value: ({"type": "string", "pattern": pattern}, value)
    many = [r"\p{L}{4}" + "x" * i for i in range(120)]
    yield "120 patterns", lambda: ({"allOf": [{"pattern": p} for p in many]}, "\u00e9" * 2_000)
    yield "5,000 patterns", lambda: ({"allOf": [{"pattern": f"^a{i}$"} for i in range(5_000)]}, "a7")
    yield (
        "pattern properties",
        lambda: (
            {"patternProperties": {f"^(a+)+{i}$": {"minimum": 1} for i in range(100)}, "additionalProperties": False},
            {"a" * 1_000 + str(i): 0 for i in range(50)},
        ),
    )
    yield (
        "property names",
        lambda: (
            {"propertyNames": {"pattern": "^(a+)+$", "maxLength": 5}},
            {"a" * 1_000 + str(i): 0 for i in range(500)},
        ),
    )
    for name in (
        "regex",
        "email",
        "idn-hostname",
        "uri",
        "uri-template",
        "date-time",
        "ipv6",
        "json-pointer",
        "duration",
    ):
        yield (
            f"format {name}",
            lambda name=name: ({"$schema": DRAFT7, "format": name}, "((a{1,99}){1,99}.1:/@" * 20_000),
        )
    yield "unknown format", lambda: ({"format": "x" * 100_000}, "x")
    yield (
        "content encoding",
        lambda: (
            {"$schema": DRAFT7, "contentEncoding": "base64", "contentMediaType": "application/json"},
            "W1tb" * 100_000,
        ),
    )


def _numbers() -> Iterator[tuple[str, Made]]:
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    odd = (float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 10**6_000, 1e308, 5e-324, 1e-300, 0, -0.0)
    values = (float("nan"), float("inf"), 10**400, 10**100_000, 1e308, 5e-324, 3)
    for key in bounds:
        yield (
            f"odd numbers in {key}",
            lambda key=key: (
                {"anyOf": [{key: n} for n in odd if isinstance(n, int) and abs(n) < 10**401]},
                10**300,
            ),
        )
        for n in odd:
            yield f"{key} {_short(n)}", lambda key=key, n=n: ({"type": "number", key: n}, 10**30)
    for n in values:
        yield f"value {_short(n)}", lambda n=n: ({"type": "number", "maximum": 10, "multipleOf": 0.001}, n)
        yield f"{_short(n)} in a list", lambda n=n: ({"type": "array", "items": {"minimum": 2}}, [[n], n])
    yield "tiny multiples of a long list", lambda: ({"items": {"multipleOf": 1e-300}}, [1e300] * 100_000)
    yield "long multiples of a long list", lambda: ({"items": {"multipleOf": 10**400 + 1}}, [10**500] * 30_000)
    yield "unique items", lambda: ({"uniqueItems": True}, [*range(100_000), 1])
    yield "unique floats", lambda: ({"uniqueItems": True}, [i + 0.5 for i in range(100_000)])
    yield "unique objects", lambda: ({"uniqueItems": True}, [{"a": i, "b": [i]} for i in range(50_000)])
    yield "unique deep items", lambda: ({"uniqueItems": True}, [nested(50_000), nested(50_000)])
    yield "contains", lambda: ({"contains": {"const": 0.5}, "minContains": 10**18}, list(range(100_000)))
    yield (
        "contradictory bounds",
        lambda: ({"type": "integer", "minimum": 5, "maximum": 1, "minLength": 9, "maxLength": 0}, 3),
    )
    yield "bounds beyond any list", lambda: ({"minItems": 10**30, "maxItems": 10**40}, [1])


def _short(n: float) -> str:
    if not isinstance(n, int):
        return str(n)
    sign = "-" if n < 0 else ""
    return str(n) if abs(n) < 10**6 else f"{sign}10**{(n.bit_length() - 1) * 30103 // 100000}"


def _names() -> Iterator[tuple[str, Made]]:
    found = {
        "NUL": "a\x00b",
        "lone surrogate": "\ud800",
        "prototype": "__proto__",
        "constructor": "constructor",
        "empty": "",
        "composed": "\u00e9",
        "decomposed": "e\u0301",
        "bidi": "a\u202eb",
        "zero width": "a\u200bb",
        "dots": "a.b[0].c",
    }
    for name, spelt in found.items():
        yield (
            f"name: {name}",
            lambda spelt=spelt: ({"properties": {spelt: {"type": "string"}}, "required": [spelt]}, {spelt: 1}),
        )
        yield f"enum: {name}", lambda spelt=spelt: ({"type": "string", "enum": [spelt]}, spelt)
    yield (
        "names alike but for normal form",
        lambda: (
            {
                "properties": {"\u00e9": {"type": "string"}, "e\u0301": {"type": "integer"}},
                "additionalProperties": False,
            },
            {"\u00e9": "x", "e\u0301": 1},
        ),
    )
    yield (
        "duplicate names",
        lambda: (json.loads('{"type": "string", "type": "integer", "minimum": 2, "minimum": 9}'), 5),
    )
    for what, value in {"text": {"a": "\ud800"}, "name": {"\ud800": 1}, "number": {1: 2}, "tuple": {"a": (1,)}}.items():
        yield (
            f"plain object and a strange {what}",
            lambda value=value: (
                {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
                value,
            ),
        )
    for end in ("b", "a"):
        yield (
            f"plain object and a deep value in {end}",
            lambda end=end: (
                {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "array"}}}},
                {end: nested(50_000)},
            ),
        )
    yield "surrogate as a value", lambda: ({"type": "string", "minLength": 1}, "\ud800")
    yield "surrogate as a field", lambda: ({"properties": {"a": {}}, "additionalProperties": False}, {"\ud800": 1})
    yield "overlong list against a type", lambda: ({"type": "array", "items": {"type": "string"}}, list(range(200_000)))
    yield "long text against a length", lambda: ({"type": "string", "maxLength": 3}, "x" * 10_000_000)


def _shapes() -> Iterator[tuple[str, Made]]:
    for key in KEYWORDS:
        yield f"wrong kinds of {key}", lambda key=key: ({"anyOf": [{key: WRONG[1]}, {"minimum": 3}]}, {"a": 1})
        for wrong in WRONG:
            yield f"{key}: {str(wrong)[:12]}", lambda key=key, wrong=wrong: ({key: wrong}, {"a": [1]})
    odd: dict[str, Any] = {
        "text for a schema": "nonsense",
        "a list for a schema": [{"type": "string"}],
        "nothing for a schema": None,
        "a number for a schema": 5,
        "true": True,
        "false": False,
        "empty": {},
        "types": {"type": ["string", "null", "integer"], "minLength": 3},
        "every type": {"type": ["string", "null", "integer", "number", "array", "object", "boolean"]},
        "no types": {"type": []},
        "unknown type": {"type": "decimal", "minimum": 3},
        "types of a wrong kind": {"type": [1, None, {"a": 2}], "minimum": 3},
        "100,000 types": {"type": ["string"] * 100_000},
        "a tuple": {"enum": (1, 2)},
        "a set": {"enum": {1, 2}},
        "bytes": {"const": b"x"},
        "names that are no text": {"properties": {1: {"type": "string"}}},
        "no value is right": {"not": {}},
        "nothing in a list": {"items": False},
        "dead branch": {"if": True, "then": False, "else": {"$ref": "#/$defs/a"}, "$defs": {"a": {}}},
    }
    for name, schema in odd.items():
        yield name, lambda schema=schema: (schema, [1])


def corpus() -> dict[str, Made]:
    """Every hostile schema by name, with a value to hold against it."""
    found: dict[str, Made] = {}
    for part in (_references, _recursion, _size, _patterns, _numbers, _names, _shapes):
        for name, made in part():
            assert name not in found, name
            found[name] = made
    return found


# the child process ----------------------------------------------------------------------------

SPARE = 256 << 20
"""Bytes that the child may map beyond what it has once everything is imported, and the schema made."""

_opened: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and (event.startswith(("open", "os.", "urllib.", "socket.", "subprocess.", "http.", "import"))):
        _opened.append(f"{event} {arguments[:2]}"[:200])


def _status(field: str) -> int:
    """A figure of this process in bytes: VmRSS, VmHWM (its peak) or VmSize."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10
    raise KeyError(field)


def judge(name: str, made: Made) -> dict[str, Any]:
    """Everything that reads a schema, on one of them; seconds, peak bytes and what was opened."""
    global _watching  # noqa: PLW0603  an audit hook can never be taken away: it is only switched
    from callgrain.core import schema as door
    from callgrain.core.types import Answer, Call, Message, Reply, Tool
    from callgrain.verify import verdict as verdicts
    from callgrain.verify.lint import lint

    schema, value = made()
    tool = Tool(name="t", parameters={"type": "object", "properties": {"v": schema, "w": {}}, "required": ["v"]})
    gold, given = (
        Answer(calls=(Call(name="t", arguments={"v": "other", "w": 1}),)),
        Call(name="t", arguments={"v": value}),
    )
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    base, seconds, _opened[:] = _status("VmRSS"), {}, []
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + SPARE, limits[1]))

    def timed(what: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        out = work()
        seconds[what] = round(time.perf_counter() - began, 4)
        return out

    _watching = True
    try:
        found = timed("complaint", lambda: door.complaint(schema, value))
        again = timed("again", lambda: door.complaint(schema, value))
        reason = timed("unusable", lambda: door.unusable(schema))
        timed("has_type", lambda: isinstance(schema, dict) and door.has_type(schema, value))
        timed("lint", lambda: lint([given], (tool,)))
        verdict = timed("judge", lambda: verdicts.judge_calls(gold, (tool,), Reply(message=Message(calls=(given,)))))
    finally:
        _watching = False
        resource.setrlimit(resource.RLIMIT_AS, limits)
    peak = _status("VmHWM") - base
    door._checks.clear()
    door._by_content.clear()
    verdicts._compiled.clear()  # what is kept would be looked at again for each schema
    assert again == found, (found, again)
    return {
        "name": name, "complaint": found, "reason": reason, "ok": verdict.ok, "seconds": max(seconds.values()),
        "slowest": max(seconds, key=seconds.get), "mb": round(peak / 2**20, 1), "opened": list(_opened),
    }  # fmt: skip


def main(names: list[str]) -> None:
    """Judge the named schemas; a line before each and a line after it."""
    import callgrain.verify.verdict  # noqa: F401  what is imported now is not imported while it is watched
    from callgrain.core import schema as door

    door.complaint({"type": "string", "pattern": "a"}, "warm")
    sys.addaudithook(_watch)
    made = corpus()
    gc.collect()
    gc.freeze()  # what stays is not looked at again for each schema
    for name in names or made:
        sys.stdout.write(json.dumps({"begins": name}) + "\n")
        sys.stdout.flush()
        sys.stdout.write(json.dumps(judge(name, made[name])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(json.loads(sys.stdin.read() or "[]"))
