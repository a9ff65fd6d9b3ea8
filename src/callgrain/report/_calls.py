"""Calls in print, with the very place of each fault marked in them.

The path of a node is built while it is written and compared with the faults' paths, so that
a parameter with a dot in its name needs no parsing. A fault that points at something which
is not there (a missing argument, a missing call) gets a gap to mark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from markupsafe import Markup

from callgrain.core.types import Call, Fault
from callgrain.panels._words import clip, inert

_DEPTH = 8
"""Values nested deeper than this are written flat: a page is no place to recurse for ever."""

_LONG = 56
"""Characters beyond which a call's arguments stand one to a line."""


class Marked:
    """Writes calls as HTML; `marks` maps the path of a fault to its number on the page."""

    def __init__(self, marks: dict[str, int]) -> None:
        self.marks = marks
        self.met: set[str] = set()

    def calls(self, calls: Sequence[Call], *, bare: bool = False) -> Markup:
        """Every call, one below the other; `bare` where only the names were asked for."""
        rows = [self.call(f"calls.{i}", call, bare=bare) for i, call in enumerate(calls)]
        return Markup("").join(Markup('<div class="call">{}</div>').format(row) for row in rows)

    def call(self, path: str, call: Call, *, bare: bool = False) -> Markup:
        """One call as `label = name(parameter=value, ...)`."""
        name = self._mark(f"{path}.name", Markup('<b class="name">{}</b>').format(inert(clip(call.name, 120))))
        if call.label:
            name = Markup('<span class="label">{} = </span>{}').format(inert(clip(call.label, 60)), name)
        if bare and not call.arguments:
            return self._mark(path, name)
        pairs = [self._argument(f"{path}.arguments", key, value) for key, value in call.arguments.items()]
        pairs += self._gaps(f"{path}.arguments.")
        flat = sum(len(pair.striptags()) for pair in pairs) + len(call.name)
        if len(pairs) > 1 and flat > _LONG:
            inner = Markup("").join(Markup("\n  {},").format(pair) for pair in pairs) + Markup("\n")
        else:
            inner = Markup(", ").join(pairs)
        inner = self._mark(f"{path}.arguments", inner)
        return self._mark(path, Markup("{}({})").format(name, inner))

    def text(self, text: str) -> Markup:
        """What was said in words."""
        shown = Markup('<q class="said">{}</q>').format(inert(clip(text, 900))) if text else Markup("")
        return (
            self._mark("text", shown or Markup('<i class="gap">no text</i>')) if text or "text" in self.marks else shown
        )

    def _argument(self, path: str, key: str, value: Any) -> Markup:
        place = f"{path}.{key}"
        pair = Markup('<span class="label">{}=</span>{}').format(inert(clip(key, 120)), self._value(place, value, 0))
        return self._mark(place, pair)

    def _value(self, path: str, value: Any, depth: int) -> Markup:
        inside = any(mark.startswith(f"{path}.") for mark in self.marks)
        if not inside or depth >= _DEPTH or not isinstance(value, dict | list):
            return Markup("{}").format(plain(value, 240))
        if isinstance(value, list):
            items = [
                self._mark(f"{path}.{i}", self._value(f"{path}.{i}", v, depth + 1))
                for i, v in enumerate(cast(list[Any], value))
            ]
            return Markup("[{}]").format(Markup(", ").join(items + self._gaps(f"{path}.")))
        parts = [
            self._mark(f"{path}.{k}", Markup("{}: {}").format(plain(k, 120), self._value(f"{path}.{k}", v, depth + 1)))
            for k, v in cast(dict[str, Any], value).items()
        ]
        return Markup("{{{}}}").format(Markup(", ").join(parts + self._gaps(f"{path}.")))

    def _gaps(self, prefix: str) -> list[Markup]:
        """Marks just below `prefix` that no node has met: what should have been there."""
        missing = [p for p in self.marks if p.startswith(prefix) and p not in self.met and "." not in p[len(prefix) :]]
        return [
            self._mark(p, Markup('<i class="gap">{} missing</i>').format(inert(clip(p[len(prefix) :], 120))))
            for p in missing
        ]

    def _mark(self, path: str, content: Markup) -> Markup:
        number = self.marks.get(path)
        if number is None:
            return content
        self.met.add(path)
        return Markup("<mark>{}<sup>{}</sup></mark>").format(content, number)


def plain(value: Any, limit: int) -> str:
    """A JSON value in print: inert, and cut at `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    except (RecursionError, ValueError, TypeError):
        text = "(cannot be written)"
    return inert(clip(text, limit))


def given(calls: Sequence[Call], text: str, faults: Sequence[Fault], *, bare: bool = False) -> Markup:
    """What the model gave, with each fault's place marked; a call left out gets a gap."""
    marks = {f.where: i for i, f in _numbered(faults) if f.kind != "missing_call"}
    writer = Marked(marks)
    parts = [writer.calls(calls, bare=bare), writer.text(text)]
    for number, fault in enumerate(faults, 1):
        unmet = fault.where.startswith("calls.") and fault.where not in writer.met
        if fault.kind == "missing_call" or unmet:
            what = "a call is missing" if fault.kind == "missing_call" else f"nothing at {inert(clip(fault.where, 80))}"
            gap = Markup('<div class="call"><mark><i class="gap">{}</i><sup>{}</sup></mark></div>')
            parts.append(gap.format(what, number))
    body = Markup("").join(parts) or Markup('<i class="gap">nothing</i>')
    return Markup('<mark class="whole">{}<sup>{}</sup></mark>').format(body, marks[""]) if "" in marks else body


def expected(calls: Sequence[Call], faults: Sequence[Fault], *, bare: bool = False) -> Markup:
    """What was right, with the call marked that the reply lacks."""
    return Marked({f.where: i for i, f in _numbered(faults) if f.kind == "missing_call"}).calls(calls, bare=bare)


def _numbered(faults: Sequence[Fault]) -> list[tuple[int, Fault]]:
    """Faults with their numbers, last first: of two at one place the graver keeps it."""
    return list(reversed(list(enumerate(faults, 1))))
