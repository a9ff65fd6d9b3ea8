"""What readers of records share: a Reply out of what was said.

A record is hostile twice over, as model output and as a file: whatever is wrong with the
output becomes a Fault, whatever is wrong with the record a failure, and nothing is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from callgrain.core.types import Call, Fault, Json, Message, Reply
from callgrain.dialects._calls import clean, shown
from callgrain.dialects._chat import text_of
from callgrain.dialects._wire import is_count, read_call, truncated, wire_name

_COUNTS = {
    "prompt_tokens": (
        "prompt_tokens", "input_tokens", "promptTokenCount", "prompt_token_count", "input_token_count",
        "prompt_eval_count",
    ),
    "completion_tokens": (
        "completion_tokens", "output_tokens", "candidatesTokenCount", "candidates_token_count", "output_token_count",
        "eval_count",
    ),
}  # fmt: skip


@dataclass
class Said:
    """What a record says, gathered piece by piece; `calls` are objects with name, arguments and id."""

    texts: list[str] = field(default_factory=list[str])
    thoughts: list[str] = field(default_factory=list[str])
    calls: list[Json] = field(default_factory=list[Json])

    def say(self, text: Json) -> None:
        """Add a piece of text, where it is one."""
        if isinstance(text, str):
            self.texts.append(clean(text))

    def think(self, text: Json) -> None:
        """Add a piece of thought, where it is one."""
        if isinstance(text, str):
            self.thoughts.append(clean(text))

    def call(self, name: Json, arguments: Json, label: Json = None) -> None:
        """Add a call as the record has it; a label that is no text or number is left out."""
        named = {"name": name, "arguments": arguments}
        if isinstance(label, str | int) and not isinstance(label, bool) and label != "":
            named["id"] = clean(str(label))
        self.calls.append(named)

    def reply(self, tools: Sequence[str], usage: Mapping[str, int], *, cut: bool = False) -> Reply:
        """The Reply: its calls by the names of `tools`, or the first fault among them, or that it was `cut` off."""
        text = "".join(self.texts)
        raw = "\n".join(filter(None, [text, clean(text_of(self.calls)) if self.calls else ""]))
        if cut:
            return Reply(text=raw, fault=truncated(raw), usage=dict(usage))
        own = own_names(tools)
        calls: list[Call] = []
        for number, item in enumerate(self.calls):
            call = read_call(item, number, own)
            if isinstance(call, Fault):
                return Reply(text=raw, fault=call, usage=dict(usage))
            calls.append(call)
        message = Message(text=text, thought="\n".join(self.thoughts), calls=tuple(calls))
        return Reply(text=raw, message=message, usage=dict(usage))


def guarded(read: Callable[[], Reply]) -> Reply:
    """What `read` gives; what is nested too deeply, or too large to be read, is a form fault."""
    try:
        return read()
    except (ValueError, RecursionError, MemoryError) as error:
        return Reply(fault=Fault(kind="unparsable", expected=clean(str(error)[:200] or "a value of sensible size")))


def own_names(tools: Sequence[str]) -> dict[str, str]:
    """From a name as endpoints spell it to the offered one, where only one of the offered is spelt so."""
    out: dict[str, list[str]] = {}
    for name in dict.fromkeys(tools):
        out.setdefault(wire_name(name), []).append(name)
    return {spelt: found[0] for spelt, found in out.items() if len(found) == 1}


def usage_of(counts: Json) -> dict[str, int]:
    """`prompt_tokens` and `completion_tokens`, whatever the record calls them; what is no count is left out."""
    given = object_of(counts)
    found = {ours: next((given[n] for n in theirs if is_count(given.get(n))), None) for ours, theirs in _COUNTS.items()}
    return {name: count for name, count in found.items() if count is not None}


def error_of(row: Mapping[str, Json]) -> str:
    """What a recorded error says, "" where there is none."""
    error: Any = row.get("error")
    for _ in range(3):  # an error in an envelope with a type of its own
        if isinstance(error, dict) and isinstance(error.get("error"), dict):
            error = error["error"]
    if error is None or error is False or error in ("", {}):
        return ""
    told = object_of(error)
    said = next((told[k] for k in ("message", "code", "type") if isinstance(told.get(k), str | int)), error)
    return clean(shown(said)) or "an error without a message"


def failed(reason: str) -> Reply:
    """The Reply of an item for which there is no output."""
    return Reply(failure=reason)


def object_of(value: Json) -> dict[str, Json]:
    """`value` where it is an object, else an empty one."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def objects_of(value: Json) -> list[dict[str, Json]]:
    """The objects in a list; empty where it is none."""
    return [object_of(item) for item in items_of(value) if isinstance(item, dict)]


def items_of(value: Json) -> list[Json]:
    """`value` where it is a list, else an empty one."""
    return cast("list[Json]", value) if isinstance(value, list) else []


def has_any(row: Mapping[str, Json], names: Iterable[str]) -> bool:
    """Whether one of the fields `names` is there and not null."""
    return any(row.get(name) is not None for name in names)
