"""Reading rows from disk: every bad line is named by place, counted, and never silently lost.

Lines are split at the newline byte alone: U+2028 and its kind occur inside strings of the
public data sets, and `str.splitlines` would cut there.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from callgrain.core.errors import BadInput

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest line that is read; a longer one counts as bad."""


@dataclass
class Quarantine:
    """Lines that could not be read: a count of all, and the first few with place and reason."""

    strict: bool = False
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, path: Path | str, line: int, reason: str) -> None:
        """Count one bad line; with `strict` raises BadInput with its place instead."""
        place = f"{path}:{line}: {reason}"
        if self.strict:
            raise BadInput(place, "mend the line, or leave out --strict to set it aside and go on")
        self.count += 1
        if len(self.first) < 5:
            self.first.append(place)


def open_bytes(path: Path) -> Any:
    """The file for reading, unpacked where its name ends in `.xz`. Raises BadInput."""
    try:
        return lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}", "check the path") from error


def read_text(path: Path) -> str:
    """The whole file as text. Raises BadInput where it is missing, packed wrong or not UTF-8."""
    try:
        with open_bytes(path) as file:
            return file.read().decode("utf-8-sig")
    except (lzma.LZMAError, EOFError) as error:
        raise BadInput(f"{path} is no valid xz file", "copy it again from where it was published") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error


def read_json(path: Path) -> Any:
    """The file as one JSON value. Raises BadInput with line and column."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}:{error.colno}: {error.msg}", "mend the JSON there") from error
    except RecursionError as error:
        raise BadInput(f"{path} is nested too deeply", "flatten it") from error


def read_rows(path: Path, quarantine: Quarantine) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line of a JSON Lines file; bad lines go to `quarantine`.

    Streams: memory does not grow with the file. Blank lines are passed over. Raises
    BadInput where the file cannot be read, and at a bad line where the quarantine is strict.
    """
    with open_bytes(path) as file:
        number = 0
        while True:
            try:
                line = file.readline(LINE_LIMIT + 1)
            except (lzma.LZMAError, EOFError) as error:
                raise BadInput(f"{path} is no valid xz file", "copy it again from where it was published") from error
            if not line:
                return
            number += 1
            if len(line) > LINE_LIMIT:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_LIMIT)
                quarantine.add(path, number, f"line over {LINE_LIMIT} bytes")
                continue
            if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
            if line.strip():
                row = _parse(line)
                if isinstance(row, dict):
                    yield number, row
                else:
                    quarantine.add(path, number, row)


def _parse(line: bytes) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with it."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:  # big integers are legal JSON that orjson refuses; NaN and Infinity are not JSON
            row = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return f"no valid JSON: {error.msg} at column {error.colno}"
    return row if isinstance(row, dict) else f"a {type(row).__name__} where an object is wanted"


def _no_constant(name: str) -> Any:
    raise ValueError(name)
