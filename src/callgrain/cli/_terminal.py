"""What a verb says and where: results on stdout, progress on stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass
class Terminal:
    """Output of one verb. With `as_json`, stdout carries the result as JSON and nothing else."""

    as_json: bool
    quiet: bool
    out: Path
    _last: tuple[str, float] = field(default=("", 0.0))

    def tell(self, what: str, done: int, total: int) -> None:
        """Progress on stderr: one moving line on a terminal, plain lines every few seconds elsewhere."""
        if self.quiet:
            return
        now, tty = time.monotonic(), sys.stderr.isatty()
        finished = total > 0 and done >= total
        if what == self._last[0] and not finished and now - self._last[1] < (0.1 if tty else 5.0):
            return
        counts = f" {done}/{total}" if total else ""
        if tty:
            sys.stderr.write(f"\r\x1b[2K{what}{counts}" + ("\n" if finished or not total else ""))
        elif what != self._last[0] or now - self._last[1] >= 5.0 or finished:
            sys.stderr.write(f"{what}{counts}\n")
        sys.stderr.flush()
        self._last = (what, now)

    def line(self, text: str = "") -> None:
        """A line of the result for people."""
        if not self.as_json:
            sys.stdout.write(f"{text}\n")

    def json(self, value: Any) -> None:
        """A line of the result for machines."""
        if self.as_json:
            sys.stdout.write(orjson.dumps(value).decode() + "\n")

    def done(self, folder: Path, **summary: Any) -> None:
        """The end of a verb: the run folder as the last line, or one JSON object that names it."""
        sys.stdout.flush()
        if self.as_json:
            self.json({"run": str(folder), **summary})
        else:
            self.line(str(folder))
