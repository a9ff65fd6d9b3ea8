"""Graders in tables: what each flags and refuses, and what they say of the same replies.

A score is worth what its grader is worth, so no page shows the one without the other. As in all
tables, a cell holds the reading itself, and so its interval and its n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from callgrain.core.types import Reading
from callgrain.probes._card import STRICT
from callgrain.probes._equivalences import EQUIVALENCES
from callgrain.probes._mutations import MUTATIONS

FLAGGED, NAMED, REFUSED = "kill_rate", "own_class", "false_reject"
ALL = "all"
"""The kind of a total."""
PUBLISHED = "none"
"""The overlay of a figure by the golds as published."""


@dataclass(frozen=True)
class Row:
    """One line: its name, and in each column a reading, or None where there is none."""

    name: str
    caption: str
    cells: tuple[Reading | None, ...]

    @property
    def n(self) -> int | None:
        """The n of all its cells, where they have the same."""
        found = {cell.n for cell in self.cells if cell}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Grid:
    """Lines and columns of readings; `total` stands beneath."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    total: Row | None = None

    @property
    def has_n(self) -> bool:
        """Whether one n a line will do."""
        return all(row.n is not None for row in (*self.rows, *([self.total] if self.total else [])))


@dataclass(frozen=True)
class Totals:
    """One grader over all kinds; a figure is None where it could judge no such reply."""

    grader: str
    flagged: Reading | None = None
    named: Reading | None = None
    refused: Reading | None = None
    left_out: tuple[Reading, ...] = ()

    @property
    def figures(self) -> list[tuple[str, Reading]]:
        """The figures that there are, in words."""
        named = (
            ("wrong ones flagged", self.flagged),
            ("named rightly", self.named),
            ("right ones refused", self.refused),
        )
        return [(words, row) for words, row in named if row]


def card_totals(readings: Iterable[Reading]) -> list[Totals]:
    """What each grader's card comes to, in the order of the readings."""
    found: dict[str, dict[str, Reading]] = {}
    for row in readings:
        if row.probe == "grader" and row.by.get("kind") == ALL:
            found.setdefault(str(row.by.get("grader", "")), {})[row.name] = row
    return [
        Totals(
            name,
            *(part.get(figure) for figure in (FLAGGED, NAMED, REFUSED)),
            left_out=tuple(r for key in ("not_applicable", "error") if (r := part.get(key)) and r.value),
        )
        for name, part in found.items()
    ]


def card_grids(readings: Iterable[Reading]) -> list[Grid]:
    """The card by kind: one grader has its figures side by side, several stand side by side in each."""
    cells: dict[str, dict[tuple[str, str], Reading]] = {FLAGGED: {}, NAMED: {}, REFUSED: {}}
    graders: list[str] = []
    for row in readings:
        if row.probe == "grader" and row.name in cells:
            grader = str(row.by.get("grader", ""))
            graders += [] if grader in graders else [grader]
            cells[row.name][str(row.by.get("kind", "")), grader] = row
    if len(graders) == 1:
        wrong = {(kind, f): row for f in (FLAGGED, NAMED) for (kind, _), row in cells[f].items()}
        right = {(kind, REFUSED): row for (kind, _), row in cells[REFUSED].items()}
        grids = [
            _grid("Wrong replies, made on purpose", wrong, {FLAGGED: "flagged", NAMED: "named rightly"}, ALL),
            _grid("Right replies, spelt otherwise", right, {REFUSED: "refused"}, ALL),
        ]
    else:
        across = {name: name for name in graders}
        grids = [
            _grid("Wrong replies that are flagged", cells[FLAGGED], across, ALL),
            _grid("Wrong replies that are flagged and named rightly", cells[NAMED], across, ALL),
            _grid("Right replies that are refused", cells[REFUSED], across, ALL),
        ]
    return [grid for grid in grids if grid.rows or grid.total]


def is_amiss(row: Reading) -> bool:
    """Whether the grader passes something wrong, or refuses something right."""
    if row.probe != "grader" or row.value is None:
        return False
    return (row.name == FLAGGED and row.value < 1) or (row.name == REFUSED and row.value > 0)


def scored_by(readings: Iterable[Reading]) -> str:
    """The grader whose scores these are: the first of a recorded run, else the sub-tasks' own."""
    return next((str(r.by.get("grader", "")) for r in readings if (r.probe, r.name) == ("grade", "ok")), STRICT)


def grade_grids(readings: Iterable[Reading]) -> list[Grid]:
    """What graders say of the same replies: over all and by sub-task, then by category."""
    shares = [row for row in readings if (row.probe, row.name) == ("grade", "ok")]
    across = {grader: grader for grader in (str(row.by.get("grader", "")) for row in shares)}
    subtasks = {row.by["subtask"] for row in shares if "subtask" in row.by}
    whole: dict[tuple[str, str], Reading] = {}
    parts: dict[tuple[str, str], Reading] = {}
    for row in shares:
        key = _line(row), str(row.by.get("grader", ""))
        if "category" in row.by:
            parts[key] = row
        elif "subtask" not in row.by or len(subtasks) > 1:
            whole[key] = row
    return [_grid(title, cells, across) for title, cells in (("", whole), ("By category", parts)) if cells]


def agreement(readings: Iterable[Reading]) -> list[Reading]:
    """How often two graders agree, pair by pair."""
    return [row for row in readings if (row.probe, row.name) == ("grade", "agreement")]


def _line(row: Reading) -> str:
    """What a share of right replies is of, in words."""
    overlay = str(row.by.get("overlay", ""))
    gold = {"": "", PUBLISHED: "golds as published"}.get(overlay, f"golds by {overlay}")
    grain = "/".join(str(row.by[key]) for key in ("subtask", "category") if key in row.by)
    return ", ".join(filter(None, (str(row.by.get("file", "")), gold, grain))) or ALL


def _grid(
    title: str, cells: Mapping[tuple[str, str], Reading], columns: Mapping[str, str], total: str | None = None
) -> Grid:
    """Lines by the first half of the key, columns by the second; the line named `total` stands apart."""
    lines = list(dict.fromkeys(line for line, _ in cells))
    made = [
        Row(line, _caption(line) if total else "", tuple(cells.get((line, key)) for key in columns)) for line in lines
    ]
    last = next((row for row in made if row.name == total), None)
    return Grid(title, tuple(columns.values()), tuple(row for row in made if row is not last), last)


def _caption(kind: str) -> str:
    made = MUTATIONS.get(kind) or EQUIVALENCES.get(kind)
    return made.caption if made else ""
