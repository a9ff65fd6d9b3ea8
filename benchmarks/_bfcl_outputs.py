"""Outputs to hold two BFCL checkers against each other: a row's gold answer, and what is near it.

Everything is drawn with a seeded generator, so that a run can be repeated. An output is a list
of `{name: {parameter: value}}`; Java and JavaScript values are source text, as BFCL has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, "", " ", "-", True, False, 0, 1, -1, 1.0, 0.5, -0.0, 10**30, 10**400, 1e308, "None", "true", "1",
    [], {}, [""], [[]], [None], [0], [1.0], [True], ["a"], [{}], {"a": 1}, {"": ""}, {"$tuple": [1, 2]},
    {"$tuple": []}, float("inf"), float("nan"), "'", "İß", "Σ'", "x" * 300,
)  # fmt: skip
"""Values put in place of any other."""

PIECES = (
    "new ArrayList<String>(Arrays.asList(", "new ArrayList<>() ", "new ArrayList<>() {{ ", "add(", "))", ")", "(",
    " }}", "{{", "}", "{", "new int[]", "new HashMap<String, Object>() {{ ", 'put("', '", ', '",', ");", "new Array(",
    "[", "]", "[[", "]]", ",", ", ", ":", ": ", '"', "'", "\n", " ", "a", "b c", "1", "2.5", "-3", "7L", "7l", "4f",
    "5n", "1e3", "true", "false", "null", "1_000", "nan", "key", '"k": 1', "'v'",
)  # fmt: skip
"""What random Java and JavaScript source is put together from."""


def plain(accepted: Any) -> Any:
    """An accepted value as a model would give it: fields of objects hold lists of choices in the key."""
    if isinstance(accepted, dict):
        chosen = {k: v[0] if isinstance(v, list) and v else v for k, v in accepted.items()}
        return {k: plain(v) if isinstance(v, dict) else v for k, v in chosen.items() if v != ""}
    return [plain(v) for v in accepted] if isinstance(accepted, list) else accepted


def choices(accepted: list[Any]) -> list[Any]:
    """Values for a parameter as they stand in the key, the choices of objects made."""
    return [plain(value) for value in accepted if value != ""]


def spelled(value: Any, declared: str, language: str) -> Any:
    """A value as its language's source text; Python's is the value itself."""
    if language == "python":
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        suffix = {"long": "L", "float": "f" if language == "java" else "", "Bigint": "n"}.get(declared, "")
        return f"{value}{suffix}"
    if isinstance(value, list):
        inner = [quoted(item, language) for item in value]
        if language == "javascript":
            return "[" + ", ".join(inner) + "]"
        if declared == "Array":
            return "new Object[]{" + ", ".join(inner) + "}"
        return "new ArrayList<Object>(Arrays.asList(" + ", ".join(inner) + "))"
    if isinstance(value, dict) and language == "java":
        puts = " ".join(f'put("{k}", {quoted(v, language)});' for k, v in value.items())
        return "new HashMap<String, Object>() {{ " + puts + " }}"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{k}": {quoted(v, language)}' for k, v in value.items()) + "}"
    return str(value)


def quoted(value: Any, language: str) -> str:
    """A nested value as source text: strings in quotes."""
    return f'"{value}"' if isinstance(value, str) else spelled(value, "", language)


def golds(row: dict[str, Any], language: str) -> list[dict[str, Any]]:
    """The first accepted values of every call of the key."""
    out: list[dict[str, Any]] = []
    for item in row["answers"]:
        name, parameters = next(iter(item.items()))
        declared = declared_types(row, name)
        arguments = {
            p: spelled(choices(listed)[0], declared.get(p, ""), language)
            for p, listed in parameters.items()
            if choices(listed)
        }
        out.append({name: arguments})
    return out


def declared_types(row: dict[str, Any], name: str) -> dict[str, str]:
    """Declared type of each parameter of a function."""
    for function in row["function"]:
        if function["name"] == name:
            return {p: schema.get("type", "") for p, schema in function["parameters"]["properties"].items()}
    return {}


def near(value: Any, rng: Random) -> Iterator[Any]:
    """Values that differ from `value` a little."""
    if isinstance(value, bool):
        yield from (not value, int(value), str(value), float(value), [value])
    elif isinstance(value, int | float):
        yield from (-value, value + 1, value + 0.5, str(value), [value], str(float(value)), value * 10, bool(value))
        yield from (float(value), int(value) if abs(value) < 1e300 else value)
    elif isinstance(value, str):
        yield from (value.upper(), value.lower(), value.swapcase(), value + " ", f" {value}", value[::-1], value[:-1])
        yield from (value + ".", "-" + value, value.replace(" ", ""), value.replace(",", ""), value + "x", f"'{value}'")
        yield from (
            value.replace("'", '"'),
            value.replace('"', "'"),
            f'"{value}"',
            [value],
            list(value),
            {value: value},
        )
        if value:
            at = rng.randrange(len(value))
            yield from (value[:at] + sign + value[at:] for sign in ("/", "_", "^", "*", "\n", "é", "'"))
            yield value[:at] + value[at + 1 :]
    elif isinstance(value, list):
        yield from (value[::-1], value[:-1], [*value, 1], [*value, *value], {"$tuple": value}, [value], str(value))
        yield from ([str(v) for v in value], [float(v) if isinstance(v, int) else v for v in value])
        for at, item in enumerate(value[:3]):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in near(item, rng))
            yield [*value[:at], rng.choice(STRANGE), *value[at + 1 :]]
    elif isinstance(value, dict):
        yield from ({}, {**value, "extra": 1}, [value], list(value), str(value), [value, value])
        for key, item in list(value.items())[:4]:
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in near(item, rng))
            yield {**value, key: rng.choice(STRANGE)}
            yield {(k.upper() if k == key else k): v for k, v in value.items()}


def calls_near(gold: list[dict[str, Any]]) -> Iterator[Any]:
    """The calls themselves wrong: too many, too few, in another order, named otherwise, no calls at all."""
    yield from ([], {"$undecodable": True}, "text", [{}], [1], {"a": {}}, [*gold, *gold], gold[::-1], gold[:-1])
    yield from ([*gold, {"nobody": {}}], [{**call, "second": {}} for call in gold], [{"x": 1}], [{"x": {}}])
    for at, call in enumerate(gold):
        name, arguments = next(iter(call.items()))
        rest = gold[:at], gold[at + 1 :]
        others = [{name.replace(".", "_"): arguments}, {name + "x": arguments}, {name.upper(): arguments}]
        others += [{name: {}}, {name: {**arguments, "unknown": 1}}, {name: {**arguments, "": ""}}]
        others += [{name: {k: v for k, v in arguments.items() if k != gone}} for gone in arguments]
        others += [{name: dict(reversed(arguments.items()))}]
        others += [{name: dict(zip(arguments, reversed(arguments.values()), strict=True))}]
        yield from ([*rest[0], other, *rest[1]] for other in others)
        yield [*rest[0], *rest[1]]
        yield [*rest[0], call, call, *rest[1]]
        yield [call for _ in gold]


def arguments_near(row: dict[str, Any], gold: list[dict[str, Any]], language: str, rng: Random) -> Iterator[Any]:
    """One argument wrong at a time, in every way that `near` knows and with strange values."""
    for at, call in enumerate(gold):
        name = next(iter(call))
        declared = declared_types(row, name)
        for parameter in {**declared, **call[name]}:
            right = call[name].get(parameter)
            values = [*near(right, rng), *rng.sample(STRANGE, 8)]
            if language != "python":
                values += ["".join(rng.choices(PIECES, k=rng.randint(1, 9))) for _ in range(12)]
                if isinstance(right, str) and right:
                    cuts = [rng.randrange(len(right)) for _ in range(6)]
                    values += [right[:cut] + rng.choice(PIECES) + right[cut:] for cut in cuts]
            for value in values:
                wrong = deepcopy(gold)
                wrong[at][name][parameter] = value
                yield wrong


def alternatives(row: dict[str, Any], gold: list[dict[str, Any]], language: str) -> Iterator[Any]:
    """Every other accepted value, one at a time, and every parameter that may be left out left out."""
    for at, item in enumerate(row["answers"]):
        name, parameters = next(iter(item.items()))
        declared = declared_types(row, name)
        for parameter, listed in parameters.items():
            for value in choices(listed)[1:]:
                other = deepcopy(gold)
                other[at][name][parameter] = spelled(value, declared.get(parameter, ""), language)
                yield other
            if "" in listed:
                other = deepcopy(gold)
                other[at][name].pop(parameter, None)
                yield other


def outputs_of(row: dict[str, Any], rng: Random, most: int) -> list[Any]:
    """Gold, every alternative, and a sample of what is wrong: `most` outputs beyond gold and alternatives."""
    category = row["category"]
    language = "javascript" if "javascript" in category else "java" if "java" in category else "python"
    if not row["answers"]:
        names = [function["name"] for function in row["function"]] or ["nobody"]
        gold: list[dict[str, Any]] = [{names[0]: {}}]
        return [gold, *calls_near(gold)]
    gold = golds(row, language)
    wrong = [*calls_near(gold), *arguments_near(row, gold, language, rng)]
    return [gold, *alternatives(row, gold, language), *rng.sample(wrong, min(most, len(wrong)))]
