"""Changes that need no key: which reply is right is not asked, only how a reply may differ from the one before.

An invariance must change no call: tools in another order, parameters under other names (the answer is translated
back), one more tool, other words. A directed edit puts another value in the place of one that the request says
exactly once; the argument that held the one must hold the other, and nothing else may move.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random

from callgrain.core.types import Answer, Call, Json, Ref, Tool, Trace
from callgrain.probes._shift_twins import reordered
from callgrain.probes._shift_words import in_other_words
from callgrain.sources._edits import counted, derived, parts
from callgrain.sources._pool import Pool
from callgrain.sources._renamed import Names, parameter_names, renamed
from callgrain.sources._wrapping import SkipError
from callgrain.sources.reworded import respelt
from callgrain.verify.candidates import bumped

KINDS = ("number", "date", "identifier", "choice", "name")
"""Facts of a request that can be edited, by what they look like."""

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_ORDER: dict[str, int] = {month: number for number, month in enumerate(_MONTHS.split("|"), 1)}
_DATES = (
    re.compile(r"(?<![\w-])(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?![\w-])"),
    re.compile(rf"\b(?P<m>{_MONTHS}) (?P<d>\d{{1,2}}), (?P<y>\d{{4}})\b"),
    re.compile(rf"\b(?P<d>\d{{1,2}}) (?P<m>{_MONTHS}) (?P<y>\d{{4}})\b"),
)
_NUMBER = re.compile(r"(?<![\w.,:/#-])\d{1,9}(?:\.\d{1,4})?(?![\w:/-]|[.,]\d)")
_IDENTIFIER = re.compile(r"(?<![\w.@-])[A-Za-z]{1,6}-?\d{2,10}(?![\w@-])")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,20}(?: [A-Z][a-z]{2,20})?(?![\w'-])")
_CALENDAR = frozenset(f"{_MONTHS}|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday".split("|"))
_PLACES = ("Bergamo", "Malmo", "Porto", "Ghent", "Kyoto", "Cusco", "Aarhus", "Turku")
_PEOPLE = ("Ada Lindqvist", "Omar Reyes", "Nadia Petrov", "Theo Marchetti", "Lena Fischer", "Ravi Menon")


@dataclass(frozen=True)
class Fact:
    """A value that the request says, and the one that takes its place."""

    kind: str
    was: str
    becomes: str

    @property
    def forms(self) -> tuple[tuple[str, str], ...]:
        """Ways in which an argument may hold it, each with what must then stand there."""
        pairs = [(self.was, self.becomes)]
        if self.kind == "date" and (days := (_iso(self.was), _iso(self.becomes)))[0] != self.was:
            pairs.append(days)
        return tuple(pairs)

    def edited(self, value: Json) -> Json:
        """An argument's value as it must be after the edit: the same where it does not hold the fact."""
        if isinstance(value, list):
            return [self.edited(item) for item in value]
        if isinstance(value, dict):
            return {name: self.edited(item) for name, item in value.items()}
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            is_held = self.kind == "number" and value == float(self.was)
            return type(value)(float(self.becomes)) if is_held else value
        if not isinstance(value, str) or Ref.read(value):
            return value
        for was, becomes in self.forms:
            if value.strip().lower() == was.lower() or (self.kind != "number" and counted(value, was) == 1):
                return _in_place(value, was, becomes)
        return value


def _iso(said: str) -> str:
    """A date that was found, as YYYY-MM-DD."""
    found = next(match for pattern in _DATES if (match := pattern.fullmatch(said)))
    month = found["m"] if found["m"].isdigit() else str(_ORDER[found["m"]])
    return f"{found['y']}-{int(month):02d}-{int(found['d']):02d}"


def _in_place(text: str, was: str, becomes: str) -> str:
    """The text with one word or group of words exchanged; letter case follows what stood there."""

    def put(found: re.Match[str]) -> str:
        return becomes.capitalize() if found[0] != was and found[0][:1].isupper() else becomes

    return re.sub(rf"(?<!\w){re.escape(was)}(?!\w)", put, text, count=1, flags=re.IGNORECASE)


def facts(trace: Trace, rng: Random) -> dict[str, Fact]:
    """One fact of each kind that the last turn says once and the conversation nowhere else, by kind."""
    if not trace.messages or trace.messages[-1].role != "user":
        return {}
    said = "\n".join(message.text for message in trace.messages)
    found: dict[str, Fact] = {}
    for kind in KINDS:
        for fact in _FINDERS[kind](trace.messages[-1].text, trace.tools, rng):
            is_clear = counted(said, fact.was) == 1 and not counted(said, fact.becomes)
            if is_clear and fact.was.lower() != fact.becomes.lower():
                found[kind] = fact
                break
    return found


def _numbers(text: str, tools: Sequence[Tool], rng: Random) -> Iterator[Fact]:
    del tools, rng
    spans = [match.span() for pattern in _DATES for match in pattern.finditer(text)]
    for match in _NUMBER.finditer(text):
        if any(start <= match.start() < end for start, end in spans):
            continue
        whole, dot, rest = match[0].partition(".")
        if whole == str(int(whole)):
            yield Fact("number", match[0], f"{int(whole) - 1 if int(whole) > 1 else int(whole) + 1}{dot}{rest}")


def _dates(text: str, tools: Sequence[Tool], rng: Random) -> Iterator[Fact]:
    del tools, rng
    for pattern in _DATES:
        for match in pattern.finditer(text):
            try:
                day = date.fromisoformat(_iso(match[0])).day
            except ValueError:
                continue
            start, end = match.span("d")
            other = day - 1 if day > 1 else day + 1
            digits = f"{other:02d}" if match["m"].isdigit() else str(other)
            at = match.start()
            yield Fact("date", match[0], f"{match[0][: start - at]}{digits}{match[0][end - at :]}")


def _identifiers(text: str, tools: Sequence[Tool], rng: Random) -> Iterator[Fact]:
    del tools, rng
    for match in _IDENTIFIER.finditer(text):
        yield Fact("identifier", match[0], bumped(match[0]))


def _choices(text: str, tools: Sequence[Tool], rng: Random) -> Iterator[Fact]:
    """Values of the tools' enums."""
    enums = [schema["enum"] for tool in tools for schema in tool.properties.values() if _lists(schema)]
    for enum in enums:
        values = [value for value in enum if isinstance(value, str) and len(value) > 1]
        for value in values:
            others = [other for other in values if other != value and not counted(text, other)]
            if counted(text, value) == 1 and others:
                yield Fact("choice", value, rng.choice(others))


def _lists(schema: Json) -> bool:
    return isinstance(schema, dict) and isinstance(schema.get("enum"), list)


def _names(text: str, tools: Sequence[Tool], rng: Random) -> Iterator[Fact]:
    """Capitalised words that no enum holds: a person's name where there are two, else a place's."""
    listed = {str(v).lower() for tool in tools for s in tool.properties.values() if _lists(s) for v in s["enum"]}
    for match in _NAME.finditer(text):
        if not set(match[0].split()) & _CALENDAR and match[0].lower() not in listed:
            yield Fact("name", match[0], rng.choice(_PEOPLE if " " in match[0] else _PLACES))


_FINDERS: dict[str, Callable[[str, Sequence[Tool], Random], Iterator[Fact]]] = {
    "number": _numbers,
    "date": _dates,
    "identifier": _identifiers,
    "choice": _choices,
    "name": _names,
}


def edited(trace: Trace, fact: Fact) -> Trace:
    """The trace with the fact exchanged in the request, and in the key as far as it holds it."""
    last = trace.messages[-1]
    messages = (*trace.messages[:-1], last.model_copy(update={"text": _in_place(last.text, fact.was, fact.becomes)}))
    return derived(trace, fact.kind, messages=messages, gold=_edited_key(trace.gold, fact))


def _edited_key(gold: Answer, fact: Fact) -> Answer:
    calls = tuple(edited_call(call, fact) for call in gold.calls)
    accepts = {
        place: accept.model_copy(update={"values": tuple(fact.edited(value) for value in accept.values)})
        for place, accept in gold.accepts.items()
    }
    ways = tuple(_edited_key(way, fact) for way in gold.instead)
    return gold.model_copy(update={"calls": calls, "accepts": accepts, "instead": ways, "world": "", "result": None})


def edited_call(call: Call, fact: Fact) -> Call:
    """The call as it must be after the edit."""
    return call.model_copy(update={"arguments": {name: fact.edited(v) for name, v in call.arguments.items()}})


def reorder(trace: Trace, others: Pool, rng: Random) -> Trace:
    """Tools and parameters in another order."""
    del others
    return derived(trace, "reorder", tools=reordered(trace.tools, rng))


def rename_parameters(trace: Trace, others: Pool, rng: Random) -> Trace:
    """Every parameter under other words of the same meaning, where the table of such words has some."""
    del others
    given = parameter_names(trace.tools)
    names = respelt(given, "_".join, rng, fixes=False)
    if all(old == new for old, new in names.items()):
        raise SkipError("names that stay as they are")
    same = {word: word for name in given if (word := " ".join(parts(name)))}
    return derived(renamed(trace, Names({}, names, same)), "rename_parameters")


def one_more_tool(trace: Trace, others: Pool, rng: Random) -> Trace:
    """One more tool, which resembles none that is shown."""
    any_due = Answer(calls=tuple(Call(name=tool.name) for tool in trace.tools))
    found = others.beside(trace.model_copy(update={"gold": any_due}), 1, 0.0, rng)
    if not found:
        raise SkipError("no other function to show")
    shown = list(trace.tools)
    shown.insert(rng.randrange(len(shown) + 1), found[0])
    return derived(trace, "one_more_tool", tools=tuple(shown))


def paraphrase(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The request in other words."""
    del others
    return derived(trace, "paraphrase", messages=in_other_words(trace.messages, rng))


INVARIANCES: dict[str, Callable[[Trace, Pool, Random], Trace]] = {
    "reorder": reorder,
    "rename_parameters": rename_parameters,
    "one_more_tool": one_more_tool,
    "paraphrase": paraphrase,
}
"""Changes after which every call must be what it was."""
