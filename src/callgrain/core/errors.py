"""What the user can mend: one message, one remedy, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CallgrainError(Exception):
    """A broken set-up: `what` is wrong, and the `remedy` that mends it.

    The command line prints both without a traceback and exits with 2. A wrong *answer*
    is never an exception; it is a Fault.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}\n  {remedy}" if remedy else what)


class BadInput(CallgrainError):
    """A file or folder that is missing, malformed or not what it was taken for."""


class UnknownName(CallgrainError):
    """A name that is not there: lists what is, nearest first."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
        super().__init__(f"unknown {what} {name!r}", f"{hint}there is: {shown or 'nothing'}")
        self.known = names


class MissingExtra(CallgrainError):
    """A library that an optional part needs and that is not installed."""

    def __init__(self, part: str, library: str, extra: str) -> None:
        super().__init__(f"{part} needs {library}, which is not installed", f"pip install 'callgrain[{extra}]'")


class BrokenModel(CallgrainError):
    """A model that cannot be loaded or reached at all."""
