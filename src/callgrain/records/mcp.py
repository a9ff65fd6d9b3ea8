"""Model Context Protocol: the requests sent on a model's behalf.

`{"id", "requests": [...]}` holds the JSON-RPC requests of one item in order, with `text` for what the
model said beside them; one request alone is read too. Only `tools/call` is a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.types import Json, Reply
from callgrain.records._reply import Said, failed, guarded, object_of, objects_of, usage_of


class Mcp:
    """JSON-RPC requests to MCP servers, one or a list of them an item."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it is a JSON-RPC request, or has a list of requests."""
        return isinstance(row.get("requests"), list) or ("jsonrpc" in row and isinstance(row.get("method"), str))

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply with every `tools/call`; other methods and notifications are passed over."""
        return guarded(lambda: _read(row, tools))


def _read(row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
    alone = isinstance(row.get("method"), str)
    if not alone and not isinstance(row.get("requests"), list):
        return failed("no requests in the record")
    said = Said()
    said.say(row.get("text"))
    for request in [dict(row)] if alone else objects_of(row["requests"]):
        if request.get("method") == "tools/call":
            params = object_of(request.get("params"))
            said.call(params.get("name"), params.get("arguments"), request.get("id"))
    return said.reply(tools, usage_of(row.get("usage")))


plugin = Mcp
