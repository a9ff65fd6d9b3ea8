"""Near-misses: what form a call nearly had, and which call was probably meant.

A reply in a fence, with prose around it or with single quotes is wrong, and stays wrong: `parse`
gives a Fault. But it is wrong in a way that has a name, and a report that shows what was meant
tells a model without the skill from one that only lacks the form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from callgrain.core.protocols import Dialect
from callgrain.core.types import Call, Fault, Json, Message, Reply
from callgrain.dialects._calls import OPENING, read_marked, shown
from callgrain.dialects._loose import FoundCall, Loose, Root, call_of

Home = Literal["list", "marks", "lines"]
"""Where calls stand in a dialect: in a JSON list, behind marks, or on lines that begin with `@`."""

NEAR_MISSES: dict[str, str] = {
    "truncated": "stops in the middle of a call",
    "other_spelling": "calls in another spelling than the one asked for",
    "fence": "calls in a Markdown fence",
    "prose_around": "words before or after the calls",
    "no_list": "calls one after another, without a list around them",
    "single_quotes": "texts in single quotes",
    "python_literals": "True, False and None for true, false and null",
    "unquoted_keys": "names of fields without quotes",
    "trailing_comma": "a comma after the last item",
    "comments": "comments within the calls",
    "separators": "commas between arguments that take none",
}
"""Every near-miss by name. Where a text has several, its Fault's `detail` is the first of them in this order."""

STRICT_LIMIT = 50_000
"""Most letters that are read strictly, as another dialect's calls: reports need no more."""

_KINDS = {"truncated": "truncated"} | dict.fromkeys(
    ("other_spelling", "fence", "prose_around", "no_list"), "wrong_shape"
)
_FENCE = re.compile(r"```[A-Za-z0-9_+\-]{0,20}|`")
_CLOSINGS = re.compile(r"</(?:tool_call|function_call|functioncall)>|<\|tool_call_end\|>|<\|/tool_call\|>")
_NOTHING = " \t\r\n,;[]{}"


@dataclass(frozen=True)
class Meant:
    """The calls that a text probably means, and every near-miss in it."""

    calls: tuple[Call, ...] = ()
    met: frozenset[str] = frozenset()

    @property
    def detail(self) -> str:
        """The near-miss that a Fault names: the first in the order of NEAR_MISSES, or none."""
        return next((name for name in NEAR_MISSES if name in self.met), "")


def spoken(dialect: Dialect, text: str, *, ended: bool = True, **more: Any) -> Reply:
    """The Reply that `text` is in `dialect`: the one place where a Reply is made from text.

    `ended` is False where the text stopped at the limit of tokens; that is a Fault whatever was
    said. `more` are further fields of the Reply.
    """
    read = dialect.parse(text) if ended else _unended(text)
    if isinstance(read, Message):
        return Reply(text=text, message=read, **more)
    recover = getattr(dialect, "recover", None)
    return Reply(text=text, fault=read, recovered=None if recover is None else recover(text), **more)


def meant(body: str, home: Home) -> Meant:
    """What JSON in `body` probably means, and how it misses what `home` asks for.

    Calls are objects with a name that a function can have and arguments; a name alone will do
    where nothing but fences and marks stands beside it. All else is prose.
    """
    if OPENING.search(body) is None and not ("{" in body and ("name" in body or "function" in body)):
        return Meant()
    loose = Loose(body)
    roots = loose.scan()
    pairs = _pairs(roots, loose.found)
    mark = _mark_outside(body, [root for root, _ in pairs])
    if mark is not None:
        read = read_marked(body[mark : mark + STRICT_LIMIT])
        if not isinstance(read, Fault) and read[1]:
            return Meant(tuple(read[1]), frozenset() if home == "marks" else frozenset({"other_spelling"}))
        pairs = [pair for pair in pairs if pair[0].start >= mark]
    layout = around(body, [(root.start, root.end) for root, _ in pairs])
    if "prose_around" in layout and mark is None:
        pairs = [(root, sure) for root, found in pairs if (sure := [f for f in found if not f.is_bare_name])]
        layout = around(body, [(root.start, root.end) for root, _ in pairs])
    calls = tuple(f.call for _, found in pairs for f in found)
    other = home == "lines" or _is_wrapped(pairs) or (mark is not None and home == "list")
    if not calls:
        return Meant(met=frozenset({"other_spelling"} if mark is not None and home != "marks" else ()))
    if mark is not None and home == "marks":
        layout -= {"prose_around"}
    met = loose.met | layout | ({"other_spelling"} if other else set())
    if home == "list" and len(pairs) > 1:
        met.add("no_list")
    return Meant(calls, frozenset(met))


def hidden(body: str, home: Home) -> Fault | None:
    """The Fault of a text that would pass for prose although it means calls; None for real prose."""
    found = meant(body, home)
    return fault_of(found, body) if found.calls and found.detail else None


def fault_of(found: Meant, body: str) -> Fault:
    """The Fault that a near-miss is."""
    name = found.detail
    return Fault(kind=_KINDS.get(name, "unparsable"), expected=f"no {name}", given=shown(body), detail=name)


def named(fault: Fault, found: Meant) -> Fault:
    """A strict reader's Fault with the near-miss that it comes from, and the kind that such a one has."""
    detail = "truncated" if fault.kind == "truncated" else found.detail
    if not detail:
        return fault
    return fault.model_copy(update={"detail": detail, "kind": _KINDS.get(detail, "unparsable")})


def around(body: str, spans: Sequence[tuple[int, int]]) -> set[str]:
    """`fence` and `prose_around`, as far as they stand outside `spans` (ordered, apart)."""
    if not spans:
        return set()
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    outside = " ".join(body[a:b] for a, b in zip([0, *ends], [*starts, len(body)], strict=True))
    said = _FENCE.sub(" ", outside)
    met = {"fence"} if said != outside else set[str]()
    if _CLOSINGS.sub(" ", OPENING.sub(" ", said)).strip(_NOTHING):
        met.add("prose_around")
    return met


def _unended(text: str) -> Fault:
    return Fault(kind="truncated", expected="an end within max_tokens", given=text[-200:], detail="truncated")


def _pairs(roots: Iterable[Root], found: Sequence[FoundCall]) -> list[tuple[Root, list[FoundCall]]]:
    """Each value that holds calls, with its calls."""
    out: list[tuple[Root, list[FoundCall]]] = []
    at = 0
    for root in roots:
        inside: list[FoundCall] = []
        while at < len(found) and found[at].start < root.end:
            inside.append(found[at])
            at += 1
        if inside:
            out.append((root, inside))
    return out


def _mark_outside(body: str, roots: Sequence[Root]) -> int | None:
    """Where the first mark of a call stands that is no part of a value."""
    at = 0
    for mark in OPENING.finditer(body):
        while at < len(roots) and roots[at].end <= mark.start():
            at += 1
        if at == len(roots) or mark.start() < roots[at].start:
            return mark.start()
    return None


def _is_wrapped(pairs: Iterable[tuple[Root, list[FoundCall]]]) -> bool:
    """Whether calls stand in an object of another make, such as `{"tool_calls": [...]}`."""
    for root, _ in pairs:
        value: Json = root.value
        if isinstance(value, dict):
            members = cast("dict[str, Json]", value)
            if call_of(members) is None and set(members) - {"text", "calls"}:
                return True
    return False
