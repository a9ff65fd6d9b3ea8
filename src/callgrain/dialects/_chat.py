"""Messages and tools in the shape of OpenAI chat messages, for templates and for endpoints.

The two differ in one thing: a chat template wants the arguments of a call as an object, an
endpoint as a JSON string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from callgrain.core.types import Call, Json, Message, Result, Tool


def text_of(value: Json) -> str:
    """A value as one line of JSON, with letters of every script as they are."""
    return json.dumps(value, ensure_ascii=False)


def result_text(result: Result) -> str:
    """What a call gave, as text: a string as it is, all else as JSON, an error as `{"error": ...}`."""
    if result.error is not None:
        return text_of({"error": result.error})
    return result.value if isinstance(result.value, str) else text_of(result.value)


def as_chat(
    messages: Iterable[Message],
    arguments: Callable[[dict[str, Json]], Any] = dict,
    named: Callable[[int, str | None], str] = lambda number, label: label or f"call_{number}",
) -> list[dict[str, Any]]:
    """Chat messages; `arguments` spells a call's arguments, `named` its id from its number and label.

    A result without a label answers the first call that has no answer yet.
    """
    out: list[dict[str, Any]] = []
    open_ids: list[str] = []
    by_label: dict[str, str] = {}
    number = 0
    for message in messages:
        if message.role == "assistant" and message.calls:
            ids = [named(number + i, call.label) for i, call in enumerate(message.calls)]
            number += len(ids)
            by_label |= {call.label: id_ for call, id_ in zip(message.calls, ids, strict=True) if call.label}
            open_ids = list(ids)
            out.append(_with_calls(message, ids, arguments))
        elif message.results:
            for result in message.results:
                id_ = by_label.get(result.label or "") or (open_ids[0] if open_ids else result.label or "call_0")
                open_ids = [other for other in open_ids if other != id_]
                turn = {"role": "tool", "tool_call_id": id_, "name": result.name, "content": result_text(result)}
                out.append(turn if result.name else {k: v for k, v in turn.items() if k != "name"})
        elif message.role == "tool":
            out.append({"role": "tool", "tool_call_id": open_ids.pop(0) if open_ids else "call_0"})
            out[-1]["content"] = message.text
        else:
            out.append({"role": message.role, "content": message.text})
            if message.thought:
                out[-1]["reasoning_content"] = message.thought
    return out


def as_function(tool: Tool) -> dict[str, Any]:
    """A tool as templates take it: `return` is what transformers calls the schema of the result."""
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    if tool.returns is not None:
        function["return"] = tool.returns
    return {"type": "function", "function": function}


def _with_calls(message: Message, ids: list[str], arguments: Callable[[dict[str, Json]], Any]) -> dict[str, Any]:
    def one(call: Call, id_: str) -> dict[str, Any]:
        return {
            "id": id_,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments(call.arguments)},
        }

    turn: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.thought:
        turn["reasoning_content"] = message.thought
    turn["tool_calls"] = [one(call, id_) for call, id_ in zip(message.calls, ids, strict=True)]
    return turn
