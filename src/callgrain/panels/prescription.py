"""What to do about it: remedies in order, with what each should gain."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts
from callgrain.panels._markup import Cell, code, fold, gap, heading, join, key, said, small, table, text

NAMES = {
    "mixture": "rows by sub-task",
    "negatives": "negatives",
    "adapter": "adapter",
    "order": "order of training",
    "constrain": "constrained decoding",
    "schemas": "compact schemas",
    "retrieval": "fewer tools in sight",
    "fewer_arguments": "fewer arguments at once",
    "fewer_calls": "fewer calls at once",
    "history": "mending the history",
    "escalation": "handing over",
    "voting": "voting",
    "repeats": "asking again",
}


class Prescription:
    """Remedies with their gain on an interval, the reasons and commands, and what was looked at in vain."""

    title = "What to do about it"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The section; None for a run that prescribes nothing and has looked at nothing."""
        mine = [r for r in readings if r.probe == "prescription"]
        gains = sorted((r for r in mine if r.name == "gain"), key=lambda r: int(r.by.get("order", 0)))
        passed = [r for r in mine if r.name == "passed"]
        if not mine:
            return None
        parts = [_finding(gains), *_drawn(gains), *(_how(row) for row in gains)]
        if passed:
            rows: list[Sequence[Cell]] = [(_name(r), text(str(r.by.get("reason", "")))) for r in passed]
            parts.append(
                fold(
                    f"looked at and not prescribed: {len(passed)}",
                    table(("remedy", "why not"), rows),
                    is_open=not gains,
                )
            )
        return Markup("").join(parts)


def _finding(gains: Sequence[Reading]) -> Markup:
    if not gains:
        return said("Nothing is prescribed: no remedy is shown to gain anything.")
    first = gains[0]
    if first.value is None:
        return said(text("{} first; what it gains is not known.").format(_name(first)))
    most = "at most " if first.by.get("at_most") else ""
    return said(
        Markup("{} first: {}{} points of {}.").format(
            _capital(_name(first)), most, gap(first), text(str(first.by.get("of", "")))
        ),
        "Gains do not add up, and each speaks of its own requests.",
    )


def _drawn(gains: Sequence[Reading]) -> list[Markup]:
    """The gains as a table with a strip each."""
    known = [r for r in gains if r.value is not None]
    if not gains:
        return []
    low, high, steps = _charts.span_of(known)
    head = ("remedy", join(["gain", _charts.axis(low, high, steps, "")]), "points", "of", "read from")
    rows: list[Sequence[Cell]] = [
        (
            _name(row),
            _charts.difference(row, low, high, "up"),
            join(["at most" if row.by.get("at_most") else "", gap(row)]) if row.value is not None else "not known",
            text(str(row.by.get("of", ""))),
            text(str(row.by.get("from", ""))),
        )
        for row in gains
    ]
    return [table(head, rows, picture=1), key("“At most” is a bound: an oracle's gain, or all that is wrong.")]


def _how(row: Reading) -> Markup:
    """One remedy: its setting, its reason, and how it is done."""
    place = row.by.get("order", "")
    by = "callgrain does it:" if row.by.get("ours") else "For whatever runs the model; callgrain does not do it:"
    return Markup("{}{}{}{}").format(
        heading(join([f"{place}.", _name(row)])),
        said(code(str(row.by.get("setting", "")), "even")),
        small(text(str(row.by.get("reason", "")))),
        small(by, code(str(row.by.get("how", "")), "even")),
    )


def _name(row: Reading) -> Markup:
    kind = str(row.by.get("remedy", ""))
    return text(NAMES.get(kind, kind))


def _capital(name: Markup) -> Markup:
    return name[:1].upper() + name[1:]


plugin = Prescription
