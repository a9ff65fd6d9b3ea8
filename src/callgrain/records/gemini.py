"""Gemini generateContent: parts of text, thought and function calls.

A call that Gemini itself could not read is never in the parts: `MALFORMED_FUNCTION_CALL` says so
instead, and what the model wrote stands in the finish message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.types import Fault, Json, Reply
from callgrain.dialects._calls import clean, shown
from callgrain.records._reply import Said, error_of, failed, guarded, object_of, objects_of, usage_of

_MALFORMED = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")


class Gemini:
    """Responses with candidates; field names in camelCase or, from the Python SDK, snake_case."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it has candidates, or says why there are none."""
        if isinstance(row.get("candidates"), list) or isinstance(_either(row, "promptFeedback"), dict):
            return True
        error = object_of(row.get("error"))
        ours = isinstance(error.get("status"), str) and isinstance(error.get("code"), int)
        return ours and row.get("type") != "error" and row.get("object") != "response"

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply of the first candidate; blocked ones are failures."""
        return guarded(lambda: _read(row, tools))


def _read(row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
    if error := error_of(row):
        return failed(error)
    candidates = objects_of(row.get("candidates"))
    if not candidates:
        blocked = _either(object_of(_either(row, "promptFeedback")), "blockReason")
        return failed(f"the prompt was blocked: {clean(shown(blocked))}" if blocked else "no candidates")
    first = candidates[0]
    reason = str(_either(first, "finishReason") or "")[:100].rpartition(".")[2]
    usage = usage_of(_either(row, "usageMetadata"))
    if reason in _MALFORMED:
        told = _either(first, "finishMessage")
        text = clean(told) if isinstance(told, str) else ""
        return Reply(text=text, fault=Fault(kind="unparsable", where="calls", given=shown(text)), usage=usage)
    said = Said()
    for part in objects_of(object_of(first.get("content")).get("parts")):
        if isinstance(called := _either(part, "functionCall"), dict):
            said.call(called.get("name"), called.get("args"), called.get("id"))
        elif part.get("thought") is True:
            said.think(part.get("text"))
        else:
            said.say(part.get("text"))
    if not said.texts and not said.calls and reason not in ("", "STOP", "MAX_TOKENS"):
        return failed(f"no output: {clean(reason)}")
    return said.reply(tools, usage, cut=reason == "MAX_TOKENS")


def _either(given: Mapping[str, Json], name: str) -> Json:
    """The field `name` in camelCase, or in snake_case where that is what there is."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return given[name] if given.get(name) is not None else given.get(snake)


plugin = Gemini
