"""Prompts in OpenAI's wire format: pure functions, no network.

How the answers are read stands in `dialects/_wire.py`: recorded outputs have the same shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from callgrain.core.errors import BadInput
from callgrain.core.types import Json, Prompt, Reply, Tool
from callgrain.dialects._chat import as_chat, text_of
from callgrain.dialects._wire import read_completion, wire_name, wire_names

_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "user"}


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
            message["name"] = names.get(message["name"], wire_name(message["name"]))
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


def read_reply(answer: Json, prompt: Prompt) -> Reply:
    """The Reply that a whole chat completion with native tool calls makes. Raises WireError."""
    return read_completion(answer, {spelt: name for name, spelt in prompt_names(prompt).items()})


def split_endpoint(rest: str) -> tuple[str, str]:
    """`"NAME@URL"` -> (name, url). Raises BadInput; the name itself may hold an `@`."""
    at = max(rest.rfind("@http://"), rest.rfind("@https://"))
    if at <= 0:
        raise BadInput(
            f"{rest!r} is no endpoint", "write remote:NAME@URL, such as remote:qwen3@http://127.0.0.1:8000/v1"
        )
    return rest[:at], rest[at + 1 :].rstrip("/")


def _wire_tool(tool: Tool, name: str) -> dict[str, Any]:
    """A tool for the wire, where there is no field for what it returns: the description says it."""
    returns = f"\nReturns: {text_of(tool.returns)}" if tool.returns is not None else ""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": name, "description": tool.description + returns, "parameters": parameters}
    return {"type": "function", "function": function}
