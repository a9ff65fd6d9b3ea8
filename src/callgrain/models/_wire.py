"""Prompts in OpenAI's wire format: pure functions, no network.

How the answers are read stands in `dialects/_wire.py`: recorded outputs have the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from callgrain.core.errors import BadInput
from callgrain.core.types import Json, Prompt, Reply, Tool
from callgrain.dialects._chat import as_chat, text_of
from callgrain.dialects._wire import first_choice, read_completion, wire_name, wire_names

TOP = 20
"""Likeliest tokens that an endpoint is asked for at each place: the most that OpenAI's interface gives."""

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


def scores_body(wants_logprobs: bool, wants_scores: bool) -> dict[str, Any]:
    """The fields that ask for log-probabilities, and for those of the likeliest tokens beside each."""
    asked = {"logprobs": True} if wants_logprobs or wants_scores else {}
    return {**asked, "top_logprobs": TOP} if wants_scores else asked


def scores_of(choice: Mapping[str, Json]) -> dict[str, Any]:
    """`margins` and `entropies` for a Reply; nothing where a token lacks its likeliest two, or the choice has none."""
    rows = logprob_rows(choice)
    tops = [top_logprobs(row) for row in rows]
    if not rows or any(len(top) < 2 for top in tops):
        return {}
    margins: list[float | None] = []
    entropies: list[float] = []
    for top in tops:
        margins.append(top[0] - top[1])
        whole = math.fsum(math.exp(p - top[0]) for p in top)
        shares = [math.exp(p - top[0]) / whole for p in top]
        entropies.append(max(0.0, -math.fsum(s * math.log(s) for s in shares if s > 0)))
    return {"margins": tuple(margins), "entropies": tuple(entropies)}


def logprob_rows(choice: Mapping[str, Json]) -> list[dict[str, Json]]:
    """What a choice says of each of its tokens; empty where that is not in the usual shape."""
    told = choice.get("logprobs")
    content = told.get("content") if isinstance(told, dict) else None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        return []
    return cast("list[dict[str, Json]]", content)


def top_logprobs(row: Mapping[str, Json]) -> list[float]:
    """Natural logs of the likeliest tokens' probabilities at one place, highest first; empty where one is none."""
    listed = row.get("top_logprobs")
    tops = [one.get("logprob") if isinstance(one, dict) else None for one in listed] if isinstance(listed, list) else []
    if not all(is_logprob(value) for value in tops):
        return []
    return sorted((min(0.0, float(cast("float", value))) for value in tops), reverse=True)


def is_logprob(value: Json) -> bool:
    """Whether `value` can be the log of a probability; endpoints round, and write -9999 for none at all."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e9 < value < 0.1


def read_reply(answer: Json, prompt: Prompt) -> Reply:
    """The Reply that a whole chat completion with native tool calls makes. Raises WireError."""
    reply = read_completion(answer, {spelt: name for name, spelt in prompt_names(prompt).items()})
    scores = scores_of(first_choice(answer)) if prompt.sampling.scores and reply.tokens is not None else {}
    return reply.model_copy(update=scores) if scores else reply


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
