"""The stream of chat templates: text, and calls behind the marks of any common template."""

from __future__ import annotations

from collections.abc import Callable

from callgrain.core.types import Call, Fault, Message
from callgrain.dialects._calls import (
    BARE_KEYS,
    OPENING,
    OPENINGS,
    SEPARATORS,
    SPACE,
    as_call,
    is_python,
    named_call,
    python_calls,
    read_value,
)
from callgrain.dialects._list_stream import WHITE
from callgrain.dialects._stream import Steps
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT

_MISTRAL = "[TOOL_CALLS]"
_HEADER_LIMIT = 1000
_TAILS = ("think>", *(mark[1:] for mark in OPENINGS))


class MarkStream(Steps):
    """Turns of a chat template.

    `unescape` undoes the escapes of marks in text. `may_be_thinking` says that the prompt may have
    left a thought open: then all may be thought until its end, and nothing is certain before.
    """

    def __init__(
        self, parse: Callable[[str], Message | Fault], unescape: Callable[[str], str], *, may_be_thinking: bool
    ) -> None:
        super().__init__(parse, self._start)
        self._unescape, self._may_be_thinking = unescape, may_be_thinking
        self._mark = self._head = ""
        self._is_first = self._is_fresh = True

    def _start(self) -> bool:
        body = self.pending.lstrip()
        if self._may_be_thinking or body.startswith(OPEN_THOUGHT):
            return self.go(self._thought)
        return self.wait("" if body else WHITE) if OPEN_THOUGHT.startswith(body) else self.go(self._body)

    def _thought(self) -> bool:
        thought, closed, rest = self.pending.partition(CLOSE_THOUGHT)
        kept = len(thought) if closed else max(0, len(thought) - len(CLOSE_THOUGHT) + 1)
        self._parts.append(thought[:kept])
        if not closed:
            self.pending = self.pending[kept:]
            return self.wait()
        said = "".join(self._parts).lstrip().removeprefix(OPEN_THOUGHT)
        self._think(self._unescape(said.removeprefix("\n").removesuffix("\n")))
        self._parts, self.pending = [], rest
        return self.go(self._after_thought)

    def _after_thought(self) -> bool:
        if self.pending in ("", "\n"):
            return self.wait()
        self.pending = self.pending.removeprefix("\n").removeprefix("\n")
        return self.go(self._body)

    def _body(self) -> bool:
        """Bare JSON, or text; a backslash before bare JSON makes it text."""
        rest = self.pending.lstrip()
        if not rest or rest == "[":
            return self.wait(WHITE)
        if self.pending.startswith("\\"):
            return self.stop()
        inner = rest[1:].lstrip() if rest.startswith("[") else rest
        if not inner:
            return self.wait(WHITE)
        key = inner[1:].lstrip()
        if inner.startswith("{") and any(k.startswith(key[: len(k)]) for k in BARE_KEYS):
            if not key.startswith(BARE_KEYS):
                return self.wait("" if key else WHITE)
            self.pending, self._mark = rest, ""
            return self._values()
        return self.go(self._text)

    def _text(self) -> bool:
        found = OPENING.search(self.pending)
        end = found.start() if found else self._safe()
        said = self.pending[:end]
        if self._is_first:
            said = said.removesuffix("\n")
        elif self._is_fresh:
            said = said.strip()
            said = f"\n{said}" if said and self._n_text else said
        else:
            said = said.rstrip()
        used = len(self.pending[:end].rstrip()) if not self._is_first else len(said)
        self._is_fresh = self._is_fresh and not said
        self._say(self._unescape(said))
        if found is None:
            self.pending = self.pending[used:]
            is_blank = not self._is_first and not self.pending.strip()
            return self.wait("\\" if self.pending.endswith("\\") else WHITE if is_blank else "")
        self._mark, self._is_first = found[0], False
        self.pending = self.pending[found.end() :]
        return self.go(self._block)

    def _safe(self) -> int:
        """How much of `pending` is no part of a mark, or of an escaped one, that has only begun."""
        at = max(map(self.pending.rfind, "<["))
        tail = self.pending[at + 1 :].lstrip("\\")
        is_begun = at >= 0 and any(
            full.startswith(tail) and full != tail for mark in _TAILS for full in (mark, f"/{mark}")
        )
        return at if is_begun else len(self.pending)

    def _block(self) -> bool:
        """What follows a mark: JSON, a name before JSON, or Python."""
        self.pending = self.pending.lstrip(SPACE)
        if not self.pending:
            return self.wait(SPACE)
        if self._mark == _MISTRAL and self.pending[0] not in "[{":
            return self.go(self._header)
        if self.pending[0] == "[" or self._mark in ("<|tool_call_start|>", "<|python_tag|>"):
            inner = self.pending[1:].lstrip(SPACE) if self.pending[0] == "[" else self.pending
            if not inner:
                return self.wait(SPACE)
            if self._mark in ("<|tool_call_start|>", "<|python_tag|>") and inner[0] not in "{[":
                return self.go(self._python) if OPENINGS[self._mark] else self.stop()
            if _MISTRAL[1:].startswith(inner[: len(_MISTRAL) - 1]):
                return self.stop()
        return self._values() if self.pending[0] in "[{" else self.stop()

    def _header(self) -> bool:
        """Mistral's `name[CALL_ID]x[ARGS]`, up to the arguments' bracket."""
        head, bracket, _ = self.pending.partition("{")
        if '"' in head or len(head) > _HEADER_LIMIT:
            return self.stop()
        if not bracket:
            return self.wait()
        self._head = head
        self.pending = self.pending[len(head) :]
        return self._values()

    def _python(self) -> bool:
        close = OPENINGS[self._mark]
        text, closed, rest = self.pending.partition(close)
        kept = len(text) if closed else max(0, len(text) - len(close) + 1)
        self._parts.append(text[:kept])
        if not closed:
            self.pending = self.pending[kept:]
            return self.wait()
        spelt, self._parts = "".join(self._parts), []
        try:
            calls = python_calls(spelt) if is_python(spelt, 0) else []
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            calls = []
        for call in calls:
            self._call(call)
        self.pending = rest
        self._is_fresh = True
        return self.go(self._text) if calls else self.stop()

    def _values(self) -> bool:
        if not self.pending.startswith("["):
            return self.go(self._value)
        self.pending = self.pending[1:]
        return self.list_of_calls()

    def after_list(self) -> bool:
        return self.go(self._next)

    def _value(self) -> bool:
        """An object: a call by itself, or the arguments after a name."""
        text = self.bracketed()
        if text is None:
            return self.wait()
        try:
            value, end = named_call(self._head + text, 0) if self._head else read_value(text)
        except ValueError:
            return self.stop()
        call = value if isinstance(value, Call) else as_call(value)
        if isinstance(call, Fault) or end != len(self._head) + len(text):
            return self.stop()
        self._call(call)
        is_named, self._head = bool(self._head), ""
        return self.go(self._close if is_named else self._next)

    def _next(self) -> bool:
        """After a value: another one, or the end of its block."""
        rest = self.pending.lstrip(SEPARATORS)
        if not rest:
            return self.wait(SEPARATORS)
        if _MISTRAL.startswith(rest[: len(_MISTRAL)]) and len(rest) < len(_MISTRAL):
            return self.wait()
        if rest[0] in "[{" and not OPENING.match(rest):
            self.pending = rest
            return self._values()
        return self.go(self._close) if self._mark else self.stop()

    def _close(self) -> bool:
        """Past the closing mark, where there is one, to the text after it."""
        rest = self.pending.lstrip(SPACE)
        close = OPENINGS[self._mark]
        if not rest or (close.startswith(rest) and rest != close):
            return self.wait("" if rest else SPACE)
        self.pending = rest.removeprefix(close)
        self._is_fresh = True
        return self.go(self._text)
