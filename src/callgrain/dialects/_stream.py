"""Reading a turn while it is still being said: what is certain comes out at once.

A stream gives out a piece only when no later text can change it: an event is never taken back.
Work is linear in the text, however it is cut: nothing is read twice but by `close`, which
parses the whole once. What a reader is not sure of waits for `rest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from callgrain.core.protocols import Event
from callgrain.core.types import Call, Fault, Json, Message
from callgrain.dialects._calls import SPACE, as_call, read_value

_INSIDE = re.compile(r'["\\]')


class Buffered:
    """The stream of any `parse`: everything comes at the end. Right for every dialect, quick for none."""

    def __init__(self, parse: Callable[[str], Message | Fault]) -> None:
        self._parse = parse
        self._chunks: list[str] = []
        self._read: Message | Fault | None = None
        self._events: list[Event] = []
        self._n_text = self._n_thought = self._n_calls = 0

    def feed(self, chunk: str) -> list[Event]:
        """What has become certain with this piece of text."""
        chunk = chunk.encode(errors="replace").decode()
        self._chunks.append(chunk)
        self._take(chunk)
        events, self._events = self._events, []
        return events

    def rest(self) -> list[Event]:
        """What was held back, once the text has ended; nothing where it cannot be read."""
        read = self.close()
        if isinstance(read, Message):
            self._think(read.thought[self._n_thought :])
            self._say(read.text[self._n_text :])
            for call in read.calls[self._n_calls :]:
                self._call(call)
        events, self._events = self._events, []
        return events

    def close(self) -> Message | Fault:
        """What the whole text is read as: `parse` of it."""
        if self._read is None:
            self._read = self._parse("".join(self._chunks))
        return self._read

    def _take(self, chunk: str) -> None:
        """Look at a piece of text. Here nothing is ever certain."""

    def _say(self, text: str) -> None:
        if text:
            self._events.append(Event(text=text))
            self._n_text += len(text)

    def _think(self, thought: str) -> None:
        if thought:
            self._events.append(Event(thought=thought))
            self._n_thought += len(thought)

    def _call(self, call: Call) -> None:
        self._events.append(Event(call=call))
        self._n_calls += 1


class Outside:
    """Finds marks outside of JSON texts in double quotes, over any number of pieces."""

    def __init__(self, marks: str) -> None:
        self._marks = re.compile(f'["{re.escape(marks)}]')
        self._is_text = False
        self._is_escaped = False

    def find(self, text: str, at: int = 0) -> int:
        """Where the next mark stands in this piece, or -1."""
        while at < len(text):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            found = (_INSIDE if self._is_text else self._marks).search(text, at)
            if found is None:
                return -1
            at = found.end()
            if found[0] == "\\":
                self._is_escaped = True
            elif found[0] == '"':
                self._is_text = not self._is_text
            else:
                return found.start()
        return -1


class Brackets:
    """Finds where a JSON value in brackets closes, over any number of pieces."""

    def __init__(self) -> None:
        self._outside = Outside("{}[]")
        self._depth = 0

    def end(self, text: str) -> int:
        """Where the value ends in this piece, or -1 where it goes on."""
        at = 0
        while (at := self._outside.find(text, at)) >= 0:
            self._depth += 1 if text[at] in "{[" else -1
            at += 1
            if self._depth <= 0:
                return at
        return -1


class Steps(Buffered):
    """A stream that reads in steps: each takes what is pending and says which step comes next.

    `self.pending` is the text that no step has used up; a step returns True where it has made
    way (another step may go on at once) and False where it must see more text.
    """

    def __init__(self, parse: Callable[[str], Message | Fault], first: Callable[[], bool]) -> None:
        super().__init__(parse)
        self.step = first
        self.is_over = False
        self._waiting: list[str] = []
        self._idle = ""
        self._parts: list[str] = []
        self._brackets = Brackets()
        self._is_list_empty = True
        self.pending = ""

    def go(self, step: Callable[[], bool]) -> bool:
        """Go on with another step."""
        self.step = step
        return True

    def _take(self, chunk: str) -> None:
        if self.is_over:
            return
        # A run of blanks (or of whatever the step waits out) is only gathered, else it were looked at once a piece.
        self._waiting.append(chunk)
        if self._idle and not chunk.strip(self._idle):
            return
        self.pending += "".join(self._waiting)
        self._waiting = []
        self._idle = ""
        while not self.is_over and self.step():
            pass

    def wait(self, idle: str = "") -> bool:
        """Nothing can be said before more text has come, and not before one that is none of `idle`."""
        self._idle = idle
        return False

    def stop(self) -> bool:
        """No more can be certain before the end: the rest waits for `rest`."""
        self.is_over = True
        self.pending = ""
        return False

    # a list of calls, from after its opening bracket on

    def list_of_calls(self) -> bool:
        """Read a list of calls, whose opening bracket is past; `after_list` follows."""
        self._is_list_empty = True
        return self.go(self._item)

    def after_list(self) -> bool:
        """The step after a list has closed."""
        return self.stop()

    def read_item(self, value: Json) -> Call | Fault:
        """The call that one item of a list is."""
        return as_call(value)

    def value(self) -> tuple[Json] | tuple[()] | None:
        """The JSON value in brackets that is under way: None until it closes, empty where it is none."""
        text = self.bracketed()
        return None if text is None else _value_of(text)

    def bracketed(self) -> str | None:
        """The text in brackets that is under way, or None until it closes."""
        end = self._brackets.end(self.pending)
        self._parts.append(self.pending if end < 0 else self.pending[:end])
        self.pending = "" if end < 0 else self.pending[end:]
        if end < 0:
            return None
        text, self._parts, self._brackets = "".join(self._parts), [], Brackets()
        return text

    def _item(self) -> bool:
        self.pending = self.pending.lstrip(SPACE)
        if not self.pending:
            return self.wait(SPACE)
        if self.pending.startswith("]") and self._is_list_empty:
            return self._list_end()
        return self.go(self._call_item) if self.pending.startswith("{") else self.stop()

    def _call_item(self) -> bool:
        value = self.value()
        if value is None:
            return self.wait()
        call = self.read_item(value[0]) if value else None
        if not isinstance(call, Call):
            return self.stop()
        self._is_list_empty = False
        self._call(call)
        return self.go(self._comma)

    def _comma(self) -> bool:
        self.pending = self.pending.lstrip(SPACE)
        if not self.pending:
            return self.wait(SPACE)
        if self.pending.startswith("]"):
            return self._list_end()
        if not self.pending.startswith(","):
            return self.stop()
        self.pending = self.pending[1:]
        return self.go(self._item)

    def _list_end(self) -> bool:
        self.pending = self.pending[1:]
        return self.go(self.after_list)


def _value_of(text: str) -> tuple[Json] | tuple[()]:
    """The JSON value that a whole text is, in a tuple; an empty one where it is none."""
    try:
        value, end = read_value(text)
    except ValueError:
        return ()
    return (value,) if end == len(text) else ()
