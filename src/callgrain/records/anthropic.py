"""Anthropic Messages: blocks of text, thinking and tool use.

Server tools and MCP tools that the endpoint ran itself are calls that the model made; the blocks of
their results are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.types import Json, Reply
from callgrain.records._reply import Said, error_of, failed, guarded, objects_of, usage_of

_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_ELSEWHERE = ("text", "refusal", "output_text")
_LOST = ("errored", "canceled", "expired")
_CUT = ("max_tokens", "model_context_window_exceeded")


class Anthropic:
    """Messages with content blocks, or the list of blocks alone; results of a message batch."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it has content blocks that are Anthropic's, or an error in their envelope."""
        if row.get("type") in _LOST or (row.get("type") == "error" and isinstance(row.get("error"), dict)):
            return True
        content = row.get("content")
        if not isinstance(content, list) or not {"jsonrpc", "tool_calls", "calls", "function_call"}.isdisjoint(row):
            return False
        if row.get("role", "assistant") != "assistant":
            return False
        kinds = [block.get("type") for block in objects_of(content)]
        if "output_text" in kinds:
            return False
        marked = row.get("type") == "message" or "stop_reason" in row
        return marked or "role" not in row or any(kind not in _ELSEWHERE for kind in kinds)

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply of all blocks together; `stop_reason` says whether it was cut off."""
        return guarded(lambda: _read(row, tools))


def _read(row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
    if error := error_of(row):
        return failed(error)
    if row.get("type") in _LOST:
        return failed(f"the request was {row['type']}")
    if not isinstance(row.get("content"), list):
        return failed("no content in the message")
    said = Said()
    for block in objects_of(row["content"]):
        kind = block.get("type")
        if kind == "text":
            said.say(block.get("text"))
        elif kind == "thinking":
            said.think(block.get("thinking"))
        elif kind in _CALLS:
            said.call(block.get("name"), block.get("input"), block.get("id"))
    return said.reply(tools, usage_of(row.get("usage")), cut=row.get("stop_reason") in _CUT)


plugin = Anthropic
