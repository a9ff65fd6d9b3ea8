"""Opening a file of recorded outputs: each row's kind, and whose it is.

Rows lie bare or wrapped, one in the other: an id with a `response` with a `body` with the completion.
They are unwrapped here and nowhere else, so that each kind knows its own object only.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from callgrain.core import plugins
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.protocols import Record
from callgrain.core.rows import Quarantine, open_bytes, read_json, read_rows
from callgrain.core.types import Json, Message, Reply

ARRAY_LIMIT = 512 * 1024 * 1024
"""Bytes of the largest file that is one JSON array: it is held in memory as a whole."""

_WRAPPERS = ("response", "body", "output", "completion", "message", "result")
_WHOLE = ("reply", "finish_reason", "done_reason", "jsonrpc")
"""Fields of an object that is itself what was recorded, whatever else it holds."""

_IDS = ("custom_id", "item_id", "id", "key")
_TURN = frozenset(Message.model_fields)


@dataclass(frozen=True)
class Recorded:
    """One recorded output: the item's id ("" where none is given), its line, and the bare object."""

    id: str
    line: int
    kind: str
    row: Mapping[str, Json]
    subtask: str = ""

    def reply(self, tools: Sequence[str]) -> Reply:
        """The Reply in it; `tools` are the names of the functions that the item offers. Never raises."""
        reader: Record = plugins.load("records", self.kind)()
        return reader.read(self.row, tools)


def recorded(path: Path, quarantine: Quarantine, kind: str = "") -> Iterator[Recorded]:
    """The outputs recorded at `path`: JSON Lines, or one JSON array (its lines are then positions).

    `kind` reads every row as that kind; without it a row of no known shape, or of more than one, goes
    to `quarantine`. Raises UnknownName for a kind that is none, BadInput where the file cannot
    be read, and at a bad row where the quarantine is strict.
    """
    known = plugins.names("records")
    if kind and kind not in known:
        raise UnknownName("kind of record", kind, known)
    return _each(path, quarantine, kind)


def unwrapped(row: Mapping[str, Json]) -> tuple[Mapping[str, Json], str, str]:
    """(what was recorded, the item's id, the sub-task), out of whatever stands around it."""
    item = subtask = ""
    for _ in range(4):
        item = item or _id_of(row)
        named = row.get("subtask")
        subtask = subtask or (named if isinstance(named, str) else "")
        inner = [row[name] for name in _WRAPPERS if _is_wrapped(name, row.get(name))]
        if len(inner) != 1 or any(name in row for name in _WHOLE):
            break
        row = cast("dict[str, Json]", inner[0])
    return row, item, subtask


def _each(path: Path, quarantine: Quarantine, kind: str) -> Iterator[Recorded]:
    readers: dict[str, Record] = {name: plugins.load("records", name)() for name in plugins.names("records")}
    rows = _array(path, quarantine) if _is_array(path) else read_rows(path, quarantine)
    for line, whole in rows:
        row, item, subtask = unwrapped(whole)
        fitting = [kind] if kind else [name for name, reader in readers.items() if reader.fits(row)]
        if len(fitting) == 1:
            yield Recorded(item, line, fitting[0], row, subtask)
        elif fitting:
            quarantine.add(path, line, f"fits more than one kind of record ({', '.join(fitting)}): name one")
        else:
            quarantine.add(path, line, f"fits no kind of record: there is {', '.join(readers)}")


def _id_of(row: Mapping[str, Json]) -> str:
    """The id that a row gives its item; an API's own ids of its answers are none."""
    of_api = "object" in row or row.get("type") == "message" or "jsonrpc" in row
    for name in _IDS:
        given = row.get(name)
        if isinstance(given, str | int) and not isinstance(given, bool) and not (of_api and name == "id"):
            return str(given).encode(errors="replace").decode()
    return ""


def _is_wrapped(name: str, value: Json) -> bool:
    """Whether a field holds a recorded object; a Message of ours is read with what stands beside it."""
    return isinstance(value, dict) and bool(value) and not (name == "message" and set(value) <= _TURN)


def _is_array(path: Path) -> bool:
    """Whether the file is one JSON array. Raises BadInput where that is too large to be read."""
    with open_bytes(path) as file:
        try:
            head: bytes = file.read(65536).removeprefix(b"\xef\xbb\xbf").lstrip()
            if not head.startswith(b"["):
                return False
            size = 65536
            while piece := file.read(1 << 20):
                size += len(piece)
                if size > ARRAY_LIMIT:
                    raise BadInput(f"{path} is an array of over {ARRAY_LIMIT} bytes", "write one object a line instead")
        except (lzma.LZMAError, EOFError) as error:
            raise BadInput(f"{path} is no valid xz file", "copy it again from where it was published") from error
    return True


def _array(path: Path, quarantine: Quarantine) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in enumerate(read_json(path), 1):
        if isinstance(row, dict):
            yield number, cast("dict[str, Any]", row)
        else:
            quarantine.add(path, number, f"a {type(row).__name__} where an object is wanted")
