"""From readings to tables: pure functions that the terminal and the page both show.

A table holds the readings themselves, never copies of their figures, so that a number
cannot lose its interval on the way to the reader.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from callgrain.core.errors import BadInput
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.panels._words import amount, inert, percent, points, whole
from callgrain.report._grader import agreement, card_totals, grade_grids
from callgrain.report.compare import word, words
from callgrain.verify.faults import LEVELS, TABLE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class SubtaskRow:
    """One sub-task: its score, the controls beside it, and its place among the weak."""

    subtask: str
    score: Reading
    controls: tuple[Reading, ...] = ()
    margin: Reading | None = None
    rank: int | None = None
    accused: bool | None = None

    @property
    def best(self) -> Reading | None:
        """The control that the margin was taken over, or else the highest one."""
        named = str(self.margin.by.get("control", "")) if self.margin else ""
        for control in self.controls:
            if control.name == named:
                return control
        return max(self.controls, key=lambda c: c.value or 0.0, default=None)


@dataclass(frozen=True)
class FaultRow:
    """One kind of fault: its rate over all, and by sub-task from the highest down."""

    kind: str
    level: str
    rate: Reading
    places: tuple[Reading, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Readings of one sub-task that belong side by side: a trait's slices, or its measures."""

    subtask: str
    name: str
    rows: tuple[tuple[str, Reading], ...]


@dataclass(frozen=True)
class FormRow:
    """Broken replies of one sub-task (of all where it is empty), and those right but for their form."""

    subtask: str
    broken: Reading
    right: Reading | None = None


@dataclass(frozen=True)
class CompareRow:
    """One sub-task before and after, on the same items."""

    subtask: str
    before: Reading
    after: Reading
    difference: Reading
    word: str


def read_readings(run: Run) -> list[Reading]:
    """Readings of a run. Raises BadInput with the place where a row is none."""
    found: list[Reading] = []
    for number, row in enumerate(run.rows("readings"), 1):
        try:
            found.append(Reading.model_validate(whole(row)))
        except ValidationError as error:
            place = f"{run.folder / 'readings.jsonl'}:{number}"
            raise BadInput(
                f"{place}: {error.errors()[0]['msg']}", "run the same command again: it reads anew"
            ) from error
    return found


def subtask_table(readings: Iterable[Reading]) -> list[SubtaskRow]:
    """A row for each sub-task, the weakest first: by rank where there is one, else by score."""
    scores: dict[str, Reading] = {}
    controls: dict[str, list[Reading]] = defaultdict(list)
    margins: dict[str, Reading] = {}
    ranks: dict[str, Reading] = {}
    for row in readings:
        subtask = str(row.by.get("subtask", ""))
        if not subtask:
            continue
        if (row.probe, row.name) == ("subtask", "ok") and len(row.by) == 1:
            scores[subtask] = row
        elif (row.probe, row.name) == ("control", "margin"):
            margins[subtask] = row
        elif row.probe == "control" and len(row.by) == 1:
            controls[subtask].append(row)
        elif (row.probe, row.name) == ("weakness", "rank"):
            ranks[subtask] = row
    rows = [
        SubtaskRow(
            subtask=subtask,
            score=score,
            controls=tuple(controls[subtask]),
            margin=margins.get(subtask),
            rank=_whole(ranks.get(subtask)),
            accused=_accused(ranks.get(subtask)),
        )
        for subtask, score in scores.items()
    ]
    return sorted(rows, key=lambda r: (r.rank or 10_000, 2.0 if r.score.value is None else r.score.value, r.subtask))


def weak(rows: Sequence[SubtaskRow]) -> list[SubtaskRow]:
    """Those accused; where the readings accuse nobody either way, the weakest that errs at all."""
    if any(row.accused is not None for row in rows):
        return [row for row in rows if row.accused]
    return [row for row in rows if row.score.value is not None and row.score.value < 1][:1]


def fault_table(readings: Iterable[Reading]) -> list[FaultRow]:
    """A row for each kind: by level, and in a level from the commonest down."""
    rates: dict[str, Reading] = {}
    places: dict[str, list[Reading]] = defaultdict(list)
    for row in readings:
        if row.probe == "fault" and not row.by:
            rates[row.name] = row
        elif row.probe == "fault" and set(row.by) == {"subtask"}:
            places[row.name].append(row)
    order = [*LEVELS, "other"]
    rows = [
        FaultRow(kind, level_of(kind), rate, tuple(sorted(places[kind], key=lambda r: -(r.value or 0.0))))
        for kind, rate in rates.items()
    ]
    return sorted(rows, key=lambda r: (order.index(r.level), -(r.rate.value or 0.0), r.kind))


def level_of(kind: str) -> str:
    """Level of a kind of fault; `other` for one that the table does not hold."""
    return TABLE[kind].level if kind in TABLE else "other"


def slice_table(readings: Iterable[Reading]) -> list[Panel]:
    """Scores by one trait: a panel for each sub-task and trait that takes more than one value."""
    groups: dict[tuple[str, str], list[tuple[str | float, Reading]]] = defaultdict(list)
    for row in readings:
        if (row.probe, row.name) == ("subtask", "ok") and "subtask" in row.by and len(row.by) == 2:
            trait, value = next((k, v) for k, v in row.by.items() if k != "subtask")
            plain = value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
            groups[str(row.by["subtask"]), trait].append((plain, row))
    return [
        Panel(subtask, trait, tuple((str(value), row) for value, row in sorted(rows, key=lambda p: _natural(p[0]))))
        for (subtask, trait), rows in groups.items()
        if len(rows) > 1
    ]


def measure_table(readings: Iterable[Reading]) -> list[Panel]:
    """The further figures of each sub-task."""
    groups: dict[str, list[tuple[str, Reading]]] = defaultdict(list)
    for row in readings:
        if row.probe == "subtask" and row.name != "ok" and set(row.by) == {"subtask"}:
            groups[str(row.by["subtask"])].append((row.name, row))
    return [Panel(subtask, "measures", tuple(rows)) for subtask, rows in groups.items()]


def form_table(readings: Iterable[Reading]) -> list[FormRow]:
    """A row for each sub-task, the most often broken first, and one for all of them at the end."""
    parts: dict[str, dict[str, Reading]] = defaultdict(dict)
    for row in readings:
        if row.probe == "form" and set(row.by) <= {"subtask"}:
            parts[str(row.by.get("subtask", ""))][row.name] = row
    rows = [
        FormRow(subtask, part["broken"], part.get("right_but_for_form"))
        for subtask, part in parts.items()
        if "broken" in part
    ]
    return sorted(rows, key=lambda r: (not r.subtask, -(r.broken.value or 0.0), r.subtask))


def near_misses(readings: Iterable[Reading]) -> list[tuple[str, Reading]]:
    """What broken replies nearly were, over all sub-tasks, the commonest first."""
    found = [
        (str(row.by["near_miss"]), row)
        for row in readings
        if (row.probe, row.name) == ("form", "near_miss") and set(row.by) == {"near_miss"}
    ]
    return sorted(found, key=lambda pair: (-(pair[1].value or 0.0), pair[0]))


def count_table(readings: Iterable[Reading]) -> list[Reading]:
    """Counts of what was left out of every mean."""
    return [row for row in readings if row.probe == "count"]


def comparison_table(readings: Iterable[Reading]) -> list[CompareRow]:
    """Before and after by sub-task, the greatest gain first; the words are corrected for all being looked at."""
    compared = [row for row in readings if row.probe == "compare"]
    said = words(compared)
    parts: dict[str, dict[str, Reading]] = defaultdict(dict)
    for row in compared:
        if set(row.by) == {"subtask"}:
            parts[str(row.by["subtask"])][row.name] = row
    rows = [
        CompareRow(subtask, part["ok_before"], part["ok_after"], part["ok_difference"], said[subtask])
        for subtask, part in parts.items()
    ]
    return sorted(rows, key=lambda r: (-(r.difference.value or 0.0), r.subtask))


def print_tables(readings: Sequence[Reading], console: Console | None = None) -> None:
    """The tables that `readings` fill, on the terminal; nothing in them is taken as markup."""
    from rich.console import Console

    console = console or Console()
    for table in _terminal_tables(readings):
        if table.row_count:
            console.print(table)
    left_out = [f"{row.name} {row.value or 0:.0f}" for row in count_table(readings)]
    pairs = [f"{row.name} {row.value or 0:.0f}" for row in readings if row.probe == "compare" and not row.by]
    for title, parts in (("counts", left_out), ("pairs", pairs)):
        if parts:
            console.print(inert(f"{title}: {', '.join(parts)}"), markup=False, highlight=False)


def _terminal_tables(readings: Sequence[Reading]) -> list[Table]:
    scores = _table("sub-tasks, the weakest first", "sub-task", "right", "n", "best control", "margin (points)", "weak")
    for row in subtask_table(readings):
        best, margin = row.best, row.margin
        _add(
            scores,
            row.subtask,
            _figure(row.score),
            str(row.score.n),
            f"{best.name} {_figure(best)}" if best else "",
            _join(points(margin)) if margin else "",
            "weak" if row.accused else "",
        )
    faults = _table("faults", "level", "kind", "rate", "n")
    for fault in fault_table(readings):
        if fault.rate.value:
            _add(faults, fault.level, fault.kind, _figure(fault.rate), str(fault.rate.n))
    measures = _table("measures", "sub-task", "measure", "value", "n")
    for panel in measure_table(readings):
        for name, row in panel.rows:
            _add(measures, panel.subtask, name, _join(amount(row)), str(row.n))
    change = _table(
        "before and after, on the same items", "sub-task", "before", "after", "difference (points)", "n", ""
    )
    for pair in comparison_table(readings):
        _add(
            change,
            pair.subtask,
            *(_figure(pair.before), _figure(pair.after), _join(points(pair.difference))),
            *(str(pair.difference.n), pair.word),
        )
    for row in readings:
        if (row.probe, row.name) == ("compare", "macro_difference"):
            _add(change, "mean over sub-tasks", "", "", _join(points(row)), str(row.n), word(row))
    return [change, scores, *_grader_tables(readings), faults, *_form_tables(readings), measures]


def _grader_tables(readings: Sequence[Reading]) -> list[Table]:
    """Totals alone: what each grader flags and refuses, and what several say of the same replies."""
    card = _table("graders, on replies made on purpose", "grader", "figure", "share", "n")
    for total in card_totals(readings):
        for what, row in total.figures:
            _add(card, total.grader, what, _figure(row), str(row.n))
        for row in total.left_out:
            _add(card, total.grader, f"{row.name}, in no share", f"{row.value or 0:.0f}", str(row.n))
    said = _table("graders side by side, on the same replies", "of", "grader", "right", "n")
    for line in (line for grid in grade_grids(readings) if not grid.title for line in grid.rows):
        for cell in filter(None, line.cells):
            _add(said, line.name, str(cell.by.get("grader", "")), _figure(cell), str(cell.n))
    for row in agreement(readings):
        pair = f"{row.by.get('grader', '')} and {row.by.get('other', '')}"
        _add(said, str(row.by.get("file", "")), pair, f"agree {_figure(row)}", str(row.n))
    return [card, said]


def _form_tables(readings: Sequence[Reading]) -> list[Table]:
    """What broken form costs, where any is broken."""
    form = _table("form", "sub-task", "broken", "right but for form", "n")
    for row in form_table(readings):
        if row.broken.value:
            _add(form, row.subtask or "all", _figure(row.broken), _figure(row.right), str(row.broken.n))
    misses = _table("near-misses among the broken", "near-miss", "share", "n")
    for name, row in near_misses(readings):
        _add(misses, name, _figure(row), str(row.n))
    return [form, misses]


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column == "n" else "left", overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*(Text(inert(cell)) for cell in cells))


def _figure(share: Reading | None) -> str:
    return _join(percent(share)) if share else ""


def _join(parts: tuple[str, str]) -> str:
    return " ".join(filter(None, parts))


def _whole(row: Reading | None) -> int | None:
    return None if row is None or row.value is None else int(row.value)


def _accused(row: Reading | None) -> bool | None:
    found = None if row is None else row.by.get("accused")
    return None if found is None else found is True or found == "true"


def _natural(value: str | float) -> tuple[int, float, str]:
    """Numbers in their order first, then text in its own."""
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")
