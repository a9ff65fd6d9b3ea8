"""Streams of the dialects whose turns are either calls or text: JSON lists, and lines of calls."""

from __future__ import annotations

import re
from collections.abc import Callable

from callgrain.core.types import Call, Fault, Json, Message
from callgrain.dialects._calls import OPENINGS
from callgrain.dialects._stream import Outside, Steps
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT, unescape_thought

WHITE = "".join(chr(n) for n in range(0x3001) if chr(n).isspace())
"""What `str.strip` takes away."""

_FATAL_MARKS = (*OPENINGS, '{"name"')
_FATAL = re.compile("|".join(map(re.escape, _FATAL_MARKS)))


class TurnStream(Steps):
    """A thought, then calls or text; a subclass says in `_begin` how calls begin."""

    def __init__(self, parse: Callable[[str], Message | Fault]) -> None:
        super().__init__(parse, self._start)
        self._thoughts: list[str] = []

    def _begin(self) -> bool:
        """The step at the first letter of the turn, which is in `pending`."""
        return self.go(self._text)

    def _start(self) -> bool:
        self.pending = self.pending.lstrip()
        if not self.pending.startswith(OPEN_THOUGHT):
            is_open = OPEN_THOUGHT.startswith(self.pending)
            return self.wait("" if self.pending else WHITE) if is_open else self.go(self._body)
        self.pending = self.pending.removeprefix(OPEN_THOUGHT)
        return self.go(self._thought)

    def _thought(self) -> bool:
        """A thought is one only once it is closed: until then it may as well be text."""
        thought, closed, rest = self.pending.partition(CLOSE_THOUGHT)
        if not closed:
            kept = max(0, len(self.pending) - len(CLOSE_THOUGHT) + 1)
            self._thoughts.append(self.pending[:kept])
            self.pending = self.pending[kept:]
            return self.wait()
        self._think(unescape_thought("".join([*self._thoughts, thought])))
        self.pending = rest
        return self.go(self._body)

    def _body(self) -> bool:
        self.pending = self.pending.lstrip()
        return self._begin() if self.pending else self.wait(WHITE)

    def _text(self) -> bool:
        """Text as it comes, but for what may be blanks at the end or a mark that makes it a Fault."""
        fatal = _FATAL.search(self.pending)
        end = fatal.start() if fatal else self._safe()
        said = self.pending[:end].rstrip()
        self._say(said)
        self.pending = self.pending[len(said) :]
        return self.stop() if fatal else self.wait("" if self.pending.strip() else WHITE)

    def _safe(self) -> int:
        """How much of `pending` is no part of a mark that has only begun."""
        at = max(map(self.pending.rfind, "<[{"))
        tail = self.pending[at:]
        return at if at >= 0 and any(mark.startswith(tail) for mark in _FATAL_MARKS) else len(self.pending)


class ListStream(TurnStream):
    """Turns of the json dialect: each call as soon as its object closes.

    `read_item` reads a call from its object, `read_turn` a turn that is one object. `speaks` is
    False where text may have to be read in another way in the end.
    """

    def __init__(
        self,
        parse: Callable[[str], Message | Fault],
        read_item: Callable[[Json], Call | Fault],
        read_turn: Callable[[Json], Message | Fault],
        *,
        speaks: bool = True,
    ) -> None:
        super().__init__(parse)
        self._read_item, self._read_turn, self._speaks = read_item, read_turn, speaks

    def _thought(self) -> bool:
        return super()._thought() if self._speaks else self.stop()

    def _text(self) -> bool:
        return super()._text() if self._speaks else self.stop()

    def _begin(self) -> bool:
        opening, inner = self.pending[0], self.pending[1:].lstrip()
        if opening not in "[{":
            return self.go(self._text)
        if not inner:
            return self.wait(WHITE)
        if inner[0] not in ('{"]}' if opening == "{" else '{"]}['):
            return self.go(self._text)
        if opening == "{":
            return self.go(self._object)
        self.pending = inner
        return self.list_of_calls()

    def read_item(self, value: Json) -> Call | Fault:
        return self._read_item(value)

    def _object(self) -> bool:
        """A turn that is one object: only its end settles what it says, for a key may come twice."""
        value = self.value()
        if value is None:
            return self.wait()
        turn = self._read_turn(value[0]) if value else None
        if isinstance(turn, Message):
            self._say(turn.text)
            for call in turn.calls:
                self._call(call)
        return self.stop()


class LineStream(TurnStream):
    """Turns of the compact dialect: each call once the next mark stands after it.

    Line ends mean nothing in that dialect, so the last call waits for the end of the turn.
    `read_call` reads one call from its text, or gives None.
    """

    def __init__(self, parse: Callable[[str], Message | Fault], read_call: Callable[[str], Call | None]) -> None:
        super().__init__(parse)
        self._read_call = read_call
        self._marks = Outside("@>")

    def _begin(self) -> bool:
        if self.pending.startswith("@"):
            self._part(1)
            return self.go(self._line)
        if '> "'.startswith(self.pending[:3]):
            return self.wait() if len(self.pending) < 3 else self.stop()
        return self.go(self._text)

    def _line(self) -> bool:
        end = self._marks.find(self.pending)
        if end < 0:
            self._part(len(self.pending))
            return self.wait()
        self._part(end)
        call = self._read_call("".join(self._parts))
        self._parts = []
        if call is None:
            return self.stop()
        self._call(call)
        if self.pending.startswith(">"):
            return self.stop()
        self._part(1)
        return True

    def _part(self, end: int) -> None:
        self._parts.append(self.pending[:end])
        self.pending = self.pending[end:]
