"""Turns out of OpenAI's wire format, from endpoints and from files.

What comes back is hostile and often wrong: whatever does not have the expected shape becomes
a Fault (the model's doing) or a WireError (the endpoint's doing), never a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from callgrain.core.types import Call, Fault, Json, Message, Reply
from callgrain.dialects._calls import as_call, clean, shown
from callgrain.dialects._chat import text_of

_ODD = re.compile(r"[^A-Za-z0-9_-]")


class WireError(Exception):
    """An answer that is no chat completion: becomes the failure of one Reply."""


def wire_name(name: str) -> str:
    """`name` as endpoints take it: at most 64 letters, digits, `_` and `-`, all else spelt `_`."""
    return _ODD.sub("_", name)[:64] or "_"


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """Each name as endpoints take it: letters, digits, `_` and `-`, at most 64, no two alike."""
    out: dict[str, str] = {}
    taken: set[str] = set()
    # Names that are fine already go first, so that they keep themselves.
    for name in sorted(dict.fromkeys(names), key=lambda n: (bool(_ODD.search(n)) or len(n) > 64, n)):
        spelt = base = wire_name(name)
        number = 2
        while spelt in taken:
            spelt = f"{base[:60]}_{number}"
            number += 1
        taken.add(spelt)
        out[name] = spelt
    return out


def first_choice(answer: Json) -> dict[str, Json]:
    """The first choice of a chat completion. Raises WireError."""
    found = _object(answer)
    if found is None:
        raise WireError("the answer is no JSON object")
    if (error := found.get("error")) is not None:
        told = _object(error)
        raise WireError(f"the endpoint says: {shown(told.get('message') if told else error)}")
    choices = found.get("choices")
    choice = _object(cast("list[Json]", choices)[0]) if isinstance(choices, list) and choices else None
    if choice is None:
        raise WireError("the answer has no choices")
    if _object(choice.get("message")) is None:
        raise WireError("the answer's choice has no message")
    return choice


def text_of_choice(choice: Mapping[str, Json]) -> str:
    """The text of a choice; parts are joined, none at all is an empty text, a refusal is text."""
    message = _object(choice.get("message")) or {}
    content = message.get("content")
    if isinstance(content, list):
        parts = [_object(part) or {} for part in cast("list[Json]", content)]
        content = "".join(str(part["text"]) for part in parts if isinstance(part.get("text"), str))
    if not content and isinstance(message.get("refusal"), str):
        content = message["refusal"]
    return clean(content) if isinstance(content, str) else ""


def is_cut(choice: Mapping[str, Json]) -> bool:
    """Whether the answer ended at the limit of tokens instead of by itself."""
    return choice.get("finish_reason") in ("length", "max_tokens")


def truncated(text: str) -> Fault:
    """The fault of a turn that was cut off at the limit of tokens."""
    return Fault(kind="truncated", expected="an end within max_tokens", given=shown(text[-200:]))


def read_call(item: Json, number: int, own: Mapping[str, str]) -> Call | Fault:
    """The call that an object of any wire format spells; `own` gives names back their own spelling.

    Arguments that are no JSON, out of range or nested too deeply give the Fault `unparsable`,
    of the wrong shape `wrong_shape`. `number` is the place that the fault names.
    """
    try:
        item = clean(item, -2)  # two levels stand around the arguments, which have the whole depth to themselves
    except ValueError as error:
        return Fault(kind="unparsable", where=f"calls.{number}.arguments", expected=str(error))
    call = as_call(item, f"calls.{number}")
    return call if isinstance(call, Fault) else call.model_copy(update={"name": own.get(call.name, call.name)})


def read_choice(choice: Mapping[str, Json], own: Mapping[str, str]) -> Message | Fault:
    """The turn that a choice with native tool calls holds; `own` maps names on the wire to the prompt's.

    Arguments that are no JSON give the Fault `unparsable`, of the wrong shape `wrong_shape`;
    anything that was cut off at the limit of tokens gives `truncated`.
    """
    message = _object(choice.get("message")) or {}
    text = text_of_choice(choice)
    if is_cut(choice):
        return truncated(text or text_of(message.get("tool_calls")))
    given = message.get("tool_calls")
    listed: list[Json] = list(cast("list[Json]", given)) if isinstance(given, list) else []
    if not listed and message.get("function_call") is not None:
        listed = [message["function_call"]]
    calls: list[Call] = []
    for number, item in enumerate(listed):
        call = read_call(item, number, own)
        if isinstance(call, Fault):
            return call
        calls.append(call)
    thought = message.get("reasoning_content") or message.get("reasoning")
    return Message(text=text, thought=clean(thought) if isinstance(thought, str) else "", calls=tuple(calls))


def extras(answer: Mapping[str, Json], choice: Mapping[str, Json]) -> dict[str, Any]:
    """Usage and log-probs for a Reply, as far as the endpoint gave them in a usable shape."""
    usage = _object(answer.get("usage")) or {}
    out: dict[str, Any] = {"usage": {clean(k): v for k, v in usage.items() if is_count(v)}}
    content = (_object(choice.get("logprobs")) or {}).get("content")
    rows = [_object(row) or {} for row in cast("list[Json]", content)] if isinstance(content, list) else []
    if rows and all(isinstance(r.get("token"), str) and _is_logprob(r.get("logprob")) for r in rows):
        out["tokens"] = tuple(clean(row["token"]) for row in rows)
        out["logprobs"] = tuple(float(row["logprob"]) for row in rows)
    return out


def is_count(value: Json) -> bool:
    """Whether `value` can be a number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_logprob(value: Json) -> bool:
    return isinstance(value, int | float) and -1e9 < value < 1e9


def raw_text(choice: Mapping[str, Json]) -> str:
    """What the model said, for the record: its text, and its calls as they came."""
    message = _object(choice.get("message")) or {}
    calls = message.get("tool_calls") or message.get("function_call")
    said = [text_of_choice(choice), clean(text_of(calls)) if calls else ""]
    return "\n".join(filter(None, said))


def read_completion(answer: Json, own: Mapping[str, str]) -> Reply:
    """The Reply that a whole chat completion with native tool calls makes. Raises WireError."""
    choice = first_choice(answer)
    read = read_choice(choice, own)
    return Reply.spoken(raw_text(choice), read, **extras(cast("dict[str, Json]", answer), choice))


def _object(value: Json) -> dict[str, Json] | None:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else None
