"""Plain text as the model wrote it, read by a dialect.

The row's own `dialect` names it; without one it is the chat templates' reader, which takes every
common spelling of calls. Text completions (`choices[0].text`) are read likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from callgrain.core import plugins
from callgrain.core.errors import CallgrainError
from callgrain.core.protocols import Dialect
from callgrain.core.types import Json, Reply
from callgrain.dialects._calls import clean
from callgrain.dialects._recover import spoken
from callgrain.records._reply import failed, guarded, has_any, objects_of, usage_of

_TEXTS = ("text", "output", "completion", "response")
_OTHERS = ("reply", "calls", "message", "role", "candidates", "content", "result", "requests", "jsonrpc", "tool_calls")


class Text:
    """Raw text under `text`, `output`, `completion` or `response`; `dialect` reads rows that name none."""

    dialect = "chat_template"

    def fits(self, row: Mapping[str, Json]) -> bool:
        """Whether it holds text, and nothing that another format would read better."""
        return _text_of(row) is not None and not has_any(row, _OTHERS) and row.get("object") != "response"

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply:
        """The Reply as the dialect reads it; names are taken as they are written."""
        return guarded(lambda: self._read(row))

    def _read(self, row: Mapping[str, Json]) -> Reply:
        text = _text_of(row)
        if text is None:
            return failed("no text in the record")
        named = row.get("dialect") or self.dialect
        try:
            dialect: Dialect = plugins.load("dialects", str(named))()
        except CallgrainError as error:
            return failed(clean(error.what))
        text = clean(text)
        if dialect.end:
            text = text.partition(dialect.end)[0]
        choice = (objects_of(row.get("choices")) or [row])[0]
        ended = choice.get("finish_reason") != "length"
        return spoken(dialect, text, ended=ended, usage=usage_of(row.get("usage")))


def _text_of(row: Mapping[str, Json]) -> str | None:
    choices = row.get("choices")
    if isinstance(choices, list):
        first = (objects_of(choices) or [{}])[0]
        return first["text"] if isinstance(first.get("text"), str) and "message" not in first else None
    return next((row[name] for name in _TEXTS if isinstance(row.get(name), str)), None)


plugin = Text
