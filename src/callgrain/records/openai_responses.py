"""OpenAI Responses: messages, reasoning, function and MCP calls.

An `mcp_call` was executed by the endpoint, an `mcp_approval_request` is waiting to be: both are calls
that the model made. Tools of the endpoint's own (web search, code interpreter) have neither name
nor arguments of the item's functions and are passed over, as are the results among the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.types import Json, Reply
from callgrain.records._reply import Said, error_of, failed, guarded, items_of, object_of, objects_of, usage_of

_CALLS = {"function_call": "call_id", "mcp_call": "id", "mcp_approval_request": "id"}
"""Items that are calls, and the field that others refer to them by."""


class OpenAIResponses:
    """Responses objects, streamed `response.completed` events, or `{"output": [items]}` alone."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it is a Responses object, or at least its list of output items."""
        return "jsonrpc" not in row and (isinstance(row.get("output"), list) or row.get("object") == "response")

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply of all output items together; an incomplete one is truncated."""
        return guarded(lambda: _read(row, tools))


def _read(row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
    if error := error_of(row):
        return failed(error)
    status = row.get("status")
    if status in ("failed", "cancelled", "queued", "in_progress"):
        return failed(f"the response is {status}")
    if object_of(row.get("incomplete_details")).get("reason") == "content_filter":
        return failed("stopped by the content filter")
    if not isinstance(row.get("output"), list):
        return failed("no output in the response")
    said = Said()
    for item in objects_of(items_of(row["output"])):
        _add(item, said)
    return said.reply(tools, usage_of(row.get("usage")), cut=status == "incomplete")


def _add(item: dict[str, Json], said: Said) -> None:
    kind = item.get("type")
    if kind == "message" and item.get("role", "assistant") == "assistant":
        if said.texts:
            said.say("\n")
        content = item.get("content")
        said.say(content)
        for part in objects_of(content):
            said.say(part.get("refusal") if part.get("type") == "refusal" else part.get("text"))
    elif kind == "reasoning":
        for part in [*objects_of(item.get("summary")), *objects_of(item.get("content"))]:
            said.think(part.get("text"))
    elif kind == "custom_tool_call":  # its one argument is free text
        said.call(item.get("name"), {"input": item.get("input")}, item.get("call_id"))
    elif isinstance(kind, str) and kind in _CALLS:
        said.call(item.get("name"), item.get("arguments"), item.get(_CALLS[kind]))


plugin = OpenAIResponses
