"""What a verb says and where: results on stdout, progress on stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

AsJson = Annotated[bool, typer.Option("--json", help="machine-readable result on stdout, nothing else")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Out = Annotated[Path | None, typer.Option(help="folder for run folders (this verb makes none)")]


@dataclass
class Terminal:
    """Output of one verb. With `as_json`, stdout carries the result as JSON and nothing else."""

    as_json: bool
    quiet: bool
    out: Path
    _last: tuple[str, float, bool] = field(default=("", 0.0, False))

    def tell(self, what: str, done: int, total: int) -> None:
        """Progress on stderr: one moving line on a terminal, plain lines every few seconds elsewhere."""
        if self.quiet:
            return
        now, tty = time.monotonic(), sys.stderr.isatty()
        finished = total > 0 and done >= total
        same, ended = what == self._last[0], self._last[2]
        if same and (ended or (not finished and now - self._last[1] < (0.1 if tty else 5.0))):
            return
        counts = f" {min(done, total)}/{total}" if total else ""
        if tty:
            sys.stderr.write(f"\r\x1b[2K{what}{counts}" + ("\n" if finished or not total else ""))
        else:
            sys.stderr.write(f"{what}{counts}\n")
        sys.stderr.flush()
        self._last = (what, now, finished)

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
