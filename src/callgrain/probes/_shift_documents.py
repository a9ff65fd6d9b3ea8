"""Twins of what the documentation says: descriptions exchanged, another format, a value in another unit.

`swapped_descriptions` has one right answer only where names say nothing: so names are made up, the tool that is due
gets a double of the same parameters under another tool's description (`unswapped`), and then the two descriptions
change places. Who reads them follows; who goes by name, place or parameters is right once of two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.types import Accept, Json, Ref, Tool, Trace
from callgrain.probes._shift_twins import made_up, plain, unrun, unused
from callgrain.sources._edits import counted, derived, parts, spellings
from callgrain.sources._pool import Pool, gold_tools, is_right_too
from callgrain.sources._wrapping import SkipError

LONGEST = 60
"""Letters of the longest value whose letter case is changed."""
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format", "pattern", "x-match")
"""Keywords that would hold another unit or format to the old one."""

_MONEY = frozenset(["price", "amount", "cost", "budget", "fee", "total", "payment", "money", "salary", "rent", "fare"])
_OTHER_MONEY = frozenset(["currency", "currencies", "unit", "units", "cent", "cents", "percent", "rate", "ratio"])


def unswapped(trace: Trace, others: Pool, rng: Random) -> Trace:
    """Under made-up names, beside a double of the tool that is due which another description parts from it."""
    del others, rng
    return _doubled(trace)[0]


def swapped_descriptions(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The two descriptions of `unswapped` exchanged: the call moves to the other name."""
    del others, rng
    out, own, other = _doubled(trace)
    told = {own.name: other.description, other.name: own.description}
    tools = tuple(t.model_copy(update={"description": told.get(t.name, t.description)}) for t in out.tools)
    calls = tuple(call.model_copy(update={"name": other.name}) for call in out.gold.calls)
    return derived(out, "swapped", tools=tools, gold=unrun(out.gold, calls=calls))


def _doubled(trace: Trace) -> tuple[Trace, Tool, Tool]:
    """(the trace with a double, the tool that is due, its double); the same whenever it is asked for."""
    plain(trace)
    rng = Random(text_key("shift", "doubled", trace.key))
    if len(gold_tools(trace)) != 1 or any(message.calls for message in trace.messages):
        raise SkipError("several functions are due, or were called before")
    spare = [i for i, tool in enumerate(trace.tools) if not is_right_too(tool, trace)]
    if not spare:
        raise SkipError("no other function is shown")
    out = made_up(trace, rng)
    own, other = gold_tools(out)[0], out.tools[rng.choice(spare)]
    double = own.model_copy(update={"name": other.name, "description": other.description})
    tools = tuple(double if tool is other else tool for tool in out.tools)
    return derived(out, "doubled", tools=tools), own, double


@dataclass(frozen=True)
class Format:
    """Another way of giving a parameter's values: what its description then says, and each value in it."""

    name: str
    says: Callable[[str], str]
    value: Callable[[Json], Json]


def changed_documentation(trace: Trace, others: Pool, rng: Random) -> Trace:
    """A parameter's description states another unit or format: its values are given in that."""
    del others
    plain(trace)
    unused(trace)
    tools = gold_tools(trace)
    places = [(tool, name) for tool in tools for name in tool.properties]
    for tool, name in rng.sample(places, len(places)):
        for other in _formats(trace, tool, name):
            try:
                return _under(trace, tool, name, other)
            except SkipError:
                continue
    raise SkipError("no parameter whose documentation can be changed")


def _formats(trace: Trace, tool: Tool, name: str) -> Iterator[Format]:
    """Formats that the parameter does not have and could have."""
    schema = tool.properties[name]
    if not isinstance(schema, dict) or {"enum", "const", "default", "$ref", "anyOf", "oneOf"} & schema.keys():
        return
    about = f"{schema.get('description', '')} {tool.description}"
    kind = schema.get("type")
    if kind in ("number", "integer") and _is_money(trace, tool, name, about):
        yield Format("cents", lambda text: f"{text}, in cents".strip(" ,"), _in_cents)
    if kind == "string":
        if "YYYY" not in about.replace("YYYY-MM-DD", ""):
            yield Format("date", _says_date, _as_day_first)
        if "24" not in about:
            yield Format("clock", lambda text: f"{text}, on the 12-hour clock, such as 3:05 PM".strip(" ,"), _as_clock)
        if schema.get("format") in (None, "date"):
            yield Format("capitals", lambda text: f"{text}, in capital letters".strip(" ,"), _cased(str.upper))
            yield Format("small", lambda text: f"{text}, in lower-case letters".strip(" ,"), _cased(str.lower))


def _under(trace: Trace, tool: Tool, name: str, other: Format) -> Trace:
    """The trace with the parameter documented in another format, and every value of it written so. Raises SkipError."""
    calls, accepts = list(trace.gold.calls), dict(trace.gold.accepts)
    changed = False
    for index, call in enumerate(calls):
        if call.name != tool.name or name not in call.arguments:
            continue
        place, value = f"{index}.{name}", other.value(call.arguments[name])
        changed = changed or value != call.arguments[name]
        calls[index] = call.model_copy(update={"arguments": {**call.arguments, name: value}})
        if (before := accepts.pop(place, None)) is not None:
            accepts[place] = Accept(values=_readable(before.values, other), omissible=before.omissible)
    if not changed:
        raise SkipError("a value that is the same in both")
    schema = {k: v for k, v in tool.properties[name].items() if k not in BOUNDS}
    schema["description"] = other.says(str(schema.get("description", "")).rstrip(" ."))
    tools = tuple(_documented(t, name, schema) if t is tool else t for t in trace.tools)
    gold = unrun(trace.gold, calls=tuple(calls), accepts=accepts)
    return derived(trace, "changed_documentation", tools=tools, gold=gold, traits={"document": other.name})


def _readable(values: tuple[Json, ...], other: Format) -> tuple[Json, ...]:
    """Those of the accepted values that can be said in the other format, in it."""
    out: list[Json] = []
    for value in values:
        try:
            out.append(other.value(value))
        except SkipError:
            continue
    return tuple(out)


def _documented(tool: Tool, name: str, schema: Mapping[str, Json]) -> Tool:
    properties = {**tool.parameters["properties"], name: dict(schema)}
    return tool.model_copy(update={"parameters": {**tool.parameters, "properties": properties}})


def _is_money(trace: Trace, tool: Tool, name: str, about: str) -> bool:
    """Whether the parameter is an amount of money in a currency's main unit, and nothing says otherwise."""
    told = {*parts(name), *parts(about)}
    others = {word for other in tool.properties for word in parts(other)}
    said = " ".join(message.text for message in trace.messages)
    return bool(told & _MONEY) and not (told | others) & _OTHER_MONEY and not re.search(r"\b(?:cents?|yen|JPY)\b", said)


def _in_cents(value: Json) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value * 100 - round(value * 100)) > 1e-6:
        raise SkipError("no amount")
    return round(value * 100)


def _says_date(text: str) -> str:
    return text.replace("YYYY-MM-DD", "DD/MM/YYYY") if "YYYY-MM-DD" in text else f"{text}, as DD/MM/YYYY".strip(" ,")


def _as_day_first(value: Json) -> Json:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise SkipError("no date")
    try:
        return f"{date.fromisoformat(value):%d/%m/%Y}"
    except ValueError as error:
        raise SkipError("no date") from error


def _as_clock(value: Json) -> Json:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if found is None:
        raise SkipError("no clock time")
    hour = int(found[1])
    return f"{hour % 12 or 12}:{found[2]} {'AM' if hour < 12 else 'PM'}"


def _cased(change: Callable[[str], str]) -> Callable[[Json], Json]:
    def value(given: Json) -> Json:
        if not isinstance(given, str) or Ref.read(given) or len(given) > LONGEST or "\n" in given:
            raise SkipError("no short text")
        if re.fullmatch(r"[\d\W]*", given) or "@" in given or "/" in given:
            raise SkipError("a text whose letters mean something")
        return change(given)

    return value


_DOWN: dict[str, tuple[str, int]] = {
    "kilometers": ("meters", 1000),
    "kilometres": ("metres", 1000),
    "km": ("meters", 1000),
    "meters": ("centimeters", 100),
    "metres": ("centimetres", 100),
    "kilograms": ("grams", 1000),
    "kg": ("grams", 1000),
    "liters": ("milliliters", 1000),
    "hours": ("minutes", 60),
    "minutes": ("seconds", 60),
    "days": ("hours", 24),
    "weeks": ("days", 7),
    "years": ("months", 12),
    "dollars": ("cents", 100),
    "euros": ("cents", 100),
    "feet": ("inches", 12),
}
"""Units that a request may say, each with a smaller one and how many of those it has."""
_UP: dict[str, tuple[str, int]] = {"nights": ("week", 7), "months": ("year", 12), "days": ("week", 7)}
"""Units with a larger one."""
_PIECES = frozenset({"quantity", "many"})


def unit(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The request says a value in another unit than the documentation: the right value stays.

    Only where the documentation states the unit, or counts pieces; of an amount of money the twin states it.
    """
    del others
    plain(trace)
    text = trace.messages[-1].text
    places = [(call, name) for call in trace.gold.calls for name in call.arguments]
    for call, name in rng.sample(places, len(places)):
        tool = next((t for t in trace.tools if t.name == call.name), None)
        value = call.arguments[name]
        form = _said_once(value, trace)
        if tool is None or form is None or not isinstance(tool.properties.get(name), dict):
            continue
        said = _elsewhere(text, form, float(str(value)), _about(tool, name))
        if said is not None:
            return _said(trace, trace.tools, said)
        if _is_money(trace, tool, name, str(tool.properties[name].get("description", ""))):
            schema = tool.properties[name]
            stated = {**schema, "description": f"{schema.get('description', '')}, in dollars".strip(" ,")}
            tools = tuple(_documented(t, name, stated) if t is tool else t for t in trace.tools)
            cents = _replaced(text, rf"[$]?{re.escape(form)}(?: dollars)?", f"{_in_cents(float(str(value)))} cents")
            return _said(trace, tools, cents)
    raise SkipError("no value whose unit can change")


def _said(trace: Trace, tools: tuple[Tool, ...], text: str) -> Trace:
    messages = (*trace.messages[:-1], trace.messages[-1].model_copy(update={"text": text}))
    return derived(trace, "unit", tools=tools, messages=messages)


def _about(tool: Tool, name: str) -> set[str]:
    return {*parts(name), *parts(str(tool.properties[name].get("description", "")))}


def _said_once(value: Json, trace: Trace) -> str | None:
    """How the last turn writes a number that is said there once and nowhere else, in digits."""
    if isinstance(value, bool) or not re.fullmatch(r"\d+(?:\.\d+)?", str(value)):
        return None
    given = float(str(value))
    number: Json = int(given) if given.is_integer() else given
    everything = "\n".join(message.text for message in trace.messages)
    said = [form for form in spellings(number) if counted(everything, form)]
    return (
        said[0] if len(said) == 1 and counted(trace.messages[-1].text, said[0]) == 1 and said[0][0].isdigit() else None
    )


def _elsewhere(text: str, form: str, value: float, about: set[str]) -> str | None:
    """The text with the number in another unit, where the parameter's own is documented; None where it cannot be."""
    word = re.search(rf"(?<![\w.,$-]){re.escape(form)}[ -]([A-Za-z]+)", text)
    spoken = word[1].lower() if word else ""
    named = spoken if spoken in _DOWN or spoken in _UP else f"{spoken}s"
    if spoken and {named, named.rstrip("s")} & about and word is not None and value.is_integer():
        if named in _UP and value > _UP[named][1]:
            return _replaced(text, re.escape(word[0]), _mixed(int(value), *_UP[named], named))
        if named in _DOWN:
            return _replaced(text, re.escape(word[0]), f"{int(value) * _DOWN[named][1]} {_DOWN[named][0]}")
    if about & _PIECES and value.is_integer() and value >= 12:
        whole, rest = divmod(int(value), 12)
        return _replaced(text, re.escape(form), f"{whole} dozen" + (f" and {rest}" if rest else ""))
    return None


def _mixed(value: int, larger: str, times: int, smaller: str) -> str:
    whole, rest = divmod(value, times)
    first = f"{whole} {larger}{'s' if whole > 1 else ''}"
    return f"{first} and {rest} {smaller if rest > 1 else smaller.rstrip('s')}" if rest else first


def _replaced(text: str, pattern: str, by: str) -> str:
    return re.sub(rf"(?<![\w.,-]){pattern}(?!\w)(?![.,]\d)", lambda _: by, text, count=1)
