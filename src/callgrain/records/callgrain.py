"""Our own outputs: a Reply, a Message, or just the calls.

`{"id", "reply": {...}}` is a line of a run's replies.jsonl (there `key` is the id),
`{"id", "message": {...}}` a turn, `{"id", "calls": [{"name", "arguments", "label"}], "text"}` the least
that a program of one's own has to write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.types import Json, Message, Reply
from callgrain.dialects._calls import clean
from callgrain.records._reply import Said, failed, guarded, items_of, object_of, usage_of
from callgrain.verify.faults import KINDS

_TURN = frozenset(Message.model_fields)
_ROOM = -8
"""Depth that stands around a call's arguments in a Reply and is not counted as theirs."""


class Own:
    """Replies, messages and calls in the spelling of Callgrain's own nouns."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it holds a Reply, a Message or a list of calls of ours."""
        if isinstance(row.get("reply"), dict) or _is_turn(row.get("message")):
            return True
        if isinstance(row.get("calls"), list):
            return "choices" not in row and "content" not in row
        return row.get("role") == "assistant" and "text" in row and not {"content", "tool_calls"} & set(row)

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply as it was written; names are our own already, so nothing is undone."""
        return guarded(lambda: _read(row))


def _read(row: Mapping[str, Json]) -> Reply:
    if isinstance(row.get("reply"), dict):
        return _whole(object_of(row["reply"]))
    if _is_turn(row.get("message")) or row.get("role") == "assistant":
        turn = object_of(row.get("message")) or {k: v for k, v in row.items() if k in _TURN}
        return _whole({"text": turn.get("text", ""), "message": turn})
    said = Said()
    said.say(row.get("text"))
    said.think(row.get("thought"))
    for item in items_of(row.get("calls")):
        call = object_of(item)
        said.call(call.get("name"), call.get("arguments"), call.get("label"))
    return said.reply((), usage_of(row.get("usage"))) if isinstance(row.get("calls"), list) else failed("no reply")


def _whole(given: dict[str, Json]) -> Reply:
    """The Reply that `given` spells, or the failure that says what is wrong with the record."""
    try:
        reply = Reply.model_validate(clean(given, _ROOM))
    except ValueError as error:  # pydantic's own errors are ValueErrors too
        return failed(f"no valid reply: {' '.join(clean(str(error)).split())[:200]}")
    if sum(part is not None for part in (reply.message, reply.fault, reply.failure)) != 1:
        return failed("no valid reply: one of message, fault and failure is wanted")
    if reply.fault is not None and reply.fault.kind not in KINDS:
        return failed(f"no valid reply: there is no fault {reply.fault.kind!r}")
    return reply


def _is_turn(value: Json) -> bool:
    return isinstance(value, dict) and set(object_of(value)) <= _TURN


plugin = Own
