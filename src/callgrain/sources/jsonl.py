"""Our own Trace format: one JSON Trace a line, plain or packed with xz.

`rest` is the file. There is one split, `all`; which split a row came from stands in its origin.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from callgrain.core.errors import BadInput
from callgrain.core.rows import Quarantine, read_rows
from callgrain.core.types import Trace
from callgrain.sources._folder import check_split


class TraceLines:
    """A JSON Lines file of Traces. Raises BadInput where the file is missing."""

    splits = ("all",)

    def __init__(self, rest: str) -> None:
        if not rest:
            raise BadInput("jsonl: no file is named", "write jsonl:FILE")
        self.path = Path(rest).expanduser()
        if not self.path.is_file():
            raise BadInput(f"there is no file {rest!r}", "name a JSON Lines file with one Trace a line: jsonl:FILE")
        self.quarantine = Quarantine()

    def traces(self, split: str) -> Iterator[Trace]:
        """The file's Traces in its order; a line that is no Trace goes to `quarantine`."""
        check_split("jsonl", split, self.splits)
        read = bad = 0
        for number, row in read_rows(self.path, self.quarantine):
            try:
                trace = Trace.model_validate(row)
            except (ValidationError, RecursionError) as error:
                bad += 1
                self.quarantine.add(self.path, number, _first(error))
                continue
            read += 1
            yield trace
        if bad and not read:
            raise BadInput(f"{self.path} holds no Trace in {bad} lines", f"first: {self.quarantine.first[0]}")


def _first(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "row"
    return f"no Trace: {place}: {first['msg']}"


plugin = TraceLines
