"""Prompts and replies in OpenAI's wire format: pure functions, no network.

What an endpoint sends is hostile and often wrong: whatever does not have the expected shape
becomes a Fault (the model's doing) or a WireError (the endpoint's doing), never a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from callgrain.core.errors import BadInput
from callgrain.core.types import Call, Fault, Json, Message, Prompt, Reply, Tool
from callgrain.dialects._calls import as_call, clean, shown
from callgrain.dialects._chat import as_chat, text_of

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "user"}


class WireError(Exception):
    """An answer that is no chat completion: becomes the failure of one Reply."""


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """Each name as endpoints take it: letters, digits, `_` and `-`, at most 64, no two alike."""
    out: dict[str, str] = {}
    taken: set[str] = set()
    # Names that are fine already go first, so that they keep themselves.
    for name in sorted(dict.fromkeys(names), key=lambda n: (bool(_ODD.search(n)) or len(n) > 64, n)):
        spelt = base = _ODD.sub("_", name)[:64] or "_"
        number = 2
        while spelt in taken:
            spelt = f"{base[:60]}_{number}"
            number += 1
        taken.add(spelt)
        out[name] = spelt
    return out


def prompt_names(prompt: Prompt) -> dict[str, str]:
    """Wire names of every tool that `prompt` shows or has called."""
    called = (call.name for message in prompt.messages for call in message.calls)
    return wire_names([*(tool.name for tool in prompt.tools), *called])


def native_body(prompt: Prompt) -> dict[str, Any]:
    """`messages` and `tools` of a request with the endpoint's own tool calling."""
    names = prompt_names(prompt)
    messages = as_chat(prompt.messages, arguments=text_of)
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["name"] = names[call["function"]["name"]]
        if message["role"] == "tool" and "name" in message:
            message["name"] = names.get(message["name"], _ODD.sub("_", message["name"])[:64])
        message.pop("reasoning_content", None)  # endpoints refuse what they only ever send
    body: dict[str, Any] = {"messages": messages}
    if prompt.tools:
        body["tools"] = [_wire_tool(tool, names[tool.name]) for tool in prompt.tools]
    return body


def text_body(turns: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`messages` of a request in plain text; a tool's turn is said by the user, since it answers no wire call."""
    return {"messages": [{"role": _ROLES.get(role, "user"), "content": text} for role, text in turns]}


def sampling_body(prompt: Prompt, limit_name: str) -> dict[str, Any]:
    """The sampling fields; `limit_name` is what the endpoint calls its limit of new tokens."""
    sampling = prompt.sampling
    body: dict[str, Any] = {"temperature": sampling.temperature, limit_name: sampling.max_tokens, "seed": sampling.seed}
    if sampling.temperature > 0:
        body["top_p"] = sampling.top_p
    return body


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


def read_choice(choice: Mapping[str, Json], names: Mapping[str, str]) -> Message | Fault:
    """The turn that a choice with native tool calls holds; `names` are the prompt's wire names.

    Arguments that are no JSON give the Fault `unparsable`, of the wrong shape `wrong_shape`;
    anything that was cut off at the limit of tokens gives `truncated`.
    """
    message = _object(choice.get("message")) or {}
    text = text_of_choice(choice)
    if is_cut(choice):
        return truncated(text or text_of(message.get("tool_calls")))
    own = {spelt: name for name, spelt in names.items()}
    given = message.get("tool_calls")
    listed: list[Json] = list(cast("list[Json]", given)) if isinstance(given, list) else []
    if not listed and message.get("function_call") is not None:
        listed = [message["function_call"]]
    calls: list[Call] = []
    for number, item in enumerate(listed):
        call = as_call(item, f"calls.{number}")
        if isinstance(call, Fault):
            return call
        calls.append(call.model_copy(update={"name": own.get(call.name, call.name)}))
    thought = message.get("reasoning_content") or message.get("reasoning")
    return Message(text=text, thought=clean(thought) if isinstance(thought, str) else "", calls=tuple(calls))


def extras(answer: Mapping[str, Json], choice: Mapping[str, Json]) -> dict[str, Any]:
    """Usage and log-probs for a Reply, as far as the endpoint gave them in a usable shape."""
    usage = _object(answer.get("usage")) or {}
    out: dict[str, Any] = {"usage": {k: v for k, v in usage.items() if isinstance(v, int) and not isinstance(v, bool)}}
    content = (_object(choice.get("logprobs")) or {}).get("content")
    rows = [_object(row) or {} for row in cast("list[Json]", content)] if isinstance(content, list) else []
    if rows and all(isinstance(r.get("token"), str) and isinstance(r.get("logprob"), int | float) for r in rows):
        out["tokens"] = tuple(clean(row["token"]) for row in rows)
        out["logprobs"] = tuple(float(row["logprob"]) for row in rows)
    return out


def raw_text(choice: Mapping[str, Json]) -> str:
    """What the model said, for the record: its text, and its calls as they came."""
    message = _object(choice.get("message")) or {}
    calls = message.get("tool_calls") or message.get("function_call")
    said = [text_of_choice(choice), clean(text_of(calls)) if calls else ""]
    return "\n".join(filter(None, said))


def read_reply(answer: Json, prompt: Prompt) -> Reply:
    """The Reply that a whole chat completion with native tool calls makes. Raises WireError."""
    choice = first_choice(answer)
    read = read_choice(choice, prompt_names(prompt))
    return Reply.spoken(raw_text(choice), read, **extras(cast("dict[str, Json]", answer), choice))


def split_endpoint(rest: str) -> tuple[str, str]:
    """`"NAME@URL"` -> (name, url). Raises BadInput; the name itself may hold an `@`."""
    at = max(rest.rfind("@http://"), rest.rfind("@https://"))
    if at <= 0:
        raise BadInput(
            f"{rest!r} is no endpoint", "write remote:NAME@URL, such as remote:qwen3@http://127.0.0.1:8000/v1"
        )
    return rest[:at], rest[at + 1 :].rstrip("/")


def _object(value: Json) -> dict[str, Json] | None:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else None


def _wire_tool(tool: Tool, name: str) -> dict[str, Any]:
    """A tool for the wire, where there is no field for what it returns: the description says it."""
    returns = f"\nReturns: {text_of(tool.returns)}" if tool.returns is not None else ""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": name, "description": tool.description + returns, "parameters": parameters}
    return {"type": "function", "function": function}
