"""OpenAI chat completions: responses, choices, messages, batches.

The widest spoken of all wire formats. Calls in `tool_calls` or the older `function_call` are read, in
the text they are not: a server that leaves them there is read as kind `text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core.types import Json, Reply
from callgrain.dialects._wire import extras, raw_text, read_choice
from callgrain.records._reply import error_of, failed, guarded, has_any, object_of, objects_of, own_names, usage_of

_ENDS = ("finish_reason", "done_reason")
_PLAIN_PARTS = ("text", "refusal")
_OTHERS = (
    "reply", "message", "calls", "text", "result", "output", "candidates", "promptFeedback", "content", "completion",
    "response", "requests", "jsonrpc",
)  # fmt: skip


class OpenAIChat:
    """Chat completions as OpenAI, vLLM, llama.cpp, Ollama and most gateways answer them."""

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it is a completion, a choice, an assistant's message, or the error in its place."""
        choices = row.get("choices")
        if isinstance(choices, list):
            return not objects_of(choices) or "message" in objects_of(choices)[0]
        if isinstance(row.get("message"), dict) and any(end in row for end in _ENDS):
            return True
        if row.get("role") == "assistant" and "calls" not in row:
            return bool({"tool_calls", "function_call"} & set(row)) or _is_content(row)
        return _is_error(row)

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply in the first choice; ids are the calls' labels, `refusal` is text."""
        return guarded(lambda: _read(row, tools))


def _read(row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
    if error := error_of(row):
        return failed(error)
    choice: Mapping[str, Json] = row
    if isinstance(row.get("choices"), list):
        choice = (objects_of(row["choices"]) or [{}])[0]
    elif has_any(row, ("content", "tool_calls", "function_call", "role")):
        choice = {"message": dict(row)}
    if not isinstance(choice.get("message"), dict):
        return failed("no message in the completion")
    message = object_of(choice["message"])
    if isinstance(thinking := message.get("thinking"), str):
        message = {"reasoning_content": thinking, **message}
    choice = {**choice, "finish_reason": choice.get("finish_reason") or choice.get("done_reason"), "message": message}
    more = extras(row, choice)
    more["usage"] = more["usage"] or usage_of(row)
    return Reply.spoken(raw_text(choice), read_choice(choice, own_names(tools)), **more)


def _is_content(row: Mapping[str, Json]) -> bool:
    """Whether `content` is OpenAI's: a text, null, or parts that no other format has."""
    content = row.get("content")
    if isinstance(content, list):
        plain = all(part.get("type") in _PLAIN_PARTS for part in objects_of(content))
        return plain and row.get("type") != "message" and "stop_reason" not in row
    return "content" in row and (content is None or isinstance(content, str))


def _is_error(row: Mapping[str, Json]) -> bool:
    """An error alone, in none of the shapes that are another format's own."""
    if not error_of(row) or row.get("type") in ("error", "errored") or row.get("object") == "response":
        return False
    error = object_of(row["error"])
    gemini = isinstance(error.get("status"), str) and isinstance(error.get("code"), int)
    return not gemini and not has_any(row, _OTHERS)


plugin = OpenAIChat
