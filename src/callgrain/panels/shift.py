"""The twin table: every least change, and its opposite beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts, _markup
from callgrain.panels._markup import Cell
from callgrain.panels._words import chance

CHANGES: Mapping[str, str] = {
    "no_tool": "the tool is gone: decline",
    "added": "one more tool",
    "no_value": "a required value is gone: ask",
    "one_more_parameter": "one more required parameter",
    "shorter": "the first step is done",
    "deeper": "one step more",
    "unswapped": "made-up names, a double beside it",
    "swapped_descriptions": "the same, descriptions exchanged",
    "rename": "made-up names",
    "respell": "names in other words",
    "reword": "the request in other words",
    "reorder": "another order of tools",
    "changed_documentation": "the documentation asks for another form",
    "unit": "the request says another unit",
}
"""What each twin changes, in words."""
WHOLE = "full"
"""The sub-task whose table stands open; the others are folded."""

Twin = Mapping[str, Reading]
"""Readings of one twin by name."""


class Shift:
    """The panel of `shift`."""

    title = "Shift: what the least change does"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """What breaks it most beyond chance, the twins, and both of each pair together."""
        own = [
            r
            for r in readings
            if r.probe == "shift" and ("twin" in r.by or r.name in ("balanced", "both", "procedure"))
        ]
        subtasks = list(dict.fromkeys(str(r.by.get("subtask", "")) for r in own))
        if not any(r.name == "difference" for r in own):
            return None
        first = WHOLE if WHOLE in subtasks else subtasks[0]
        parts = [_part(_of(own, first)), *(_folded(name, _of(own, name)) for name in subtasks if name != first)]
        return _markup.join([_found(_of(own, first), first), *parts], "")


def _of(readings: Sequence[Reading], subtask: str) -> list[Reading]:
    return [r for r in readings if r.by.get("subtask", "") == subtask]


def _twins(readings: Sequence[Reading]) -> dict[str, Twin]:
    """Readings by twin and name, in the order in which they come."""
    out: dict[str, dict[str, Reading]] = {}
    for row in readings:
        if "twin" in row.by:
            out.setdefault(str(row.by["twin"]), {})[row.name] = row
    return {name: rows for name, rows in out.items() if {"ok", "original", "transfer", "difference"} <= rows.keys()}


def _found(readings: Sequence[Reading], subtask: str) -> Markup:
    """The finding: the worst change that is shown to hurt, or that none is."""
    rows = {name: rows["difference"] for name, rows in _twins(readings).items()}
    hurt = {name: r for name, r in rows.items() if r.by.get("shown") is True and r.value is not None and r.value < 0}
    sentences: list[Cell] = []
    if hurt:
        worst = min(hurt, key=lambda name: hurt[name].value or 0.0)
        said = Markup("Beyond chance it breaks most on {} ({}): {} points against the originals (p {}).")
        gap = hurt[worst]
        sentences.append(said.format(_markup.code(worst), _words(worst), _markup.gap(gap), _chance(gap)))
        if others := [name for name in hurt if name != worst]:
            sentences.append(Markup("Also shown: {}.").format(_markup.join([_markup.code(n) for n in others], ", ")))
    else:
        sentences.append(f"No shift is shown to hurt: of {len(rows)} least changes none costs more than chance allows.")
        needed = [int(r.by["needed"]) for r in rows.values() if "needed" in r.by]
        if needed:
            sentences.append(f"Ten points would show with {min(needed)} to {max(needed)} pairs of each.")
    sentences += [
        Markup("Of what it gets right it gets {} of the twins right ({}).").format(
            _markup.share(r), _markup.code(subtask)
        )
        for r in readings
        if r.name == "procedure" and r.value is not None
    ]
    return _markup.said(*sentences)


def _part(readings: Sequence[Reading]) -> Markup:
    twins = _twins(readings)
    gaps = [rows["difference"] for rows in twins.values()]
    low, high, steps = _charts.span_of(gaps)
    head = (
        "twin",
        "original",
        "twin right",
        "transfer",
        _charts.axis(low, high, steps, "points"),
        "difference",
        "p",
        "n",
    )
    rows = [_row(name, found, low, high) for name, found in twins.items()]
    key = _markup.key(
        "Each twin differs from a sample of the pool in one thing.",
        "Transfer: how often it is right where the original is.",
        "p is McNemar's, corrected for all twins of the table (Holm); coloured where a difference is shown.",
        "Where none is, n stands beside the pairs that would show ten points.",
    )
    return _markup.join([_markup.table(head, rows, picture=4), key, _both(readings)], "")


def _row(name: str, found: Twin, low: float, high: float) -> list[Cell]:
    gap = found["difference"]
    is_shown = gap.by.get("shown") is True
    tone = ("weak" if (gap.value or 0) < 0 else "good") if is_shown else "plain"
    return [
        Markup("{} {}").format(_markup.code(name), _markup.text(_words(name))),
        _markup.share(found["original"]),
        _markup.share(found["ok"]),
        _markup.share(found["transfer"]),
        _charts.difference(gap, low, high, tone),
        _markup.gap(gap),
        _chance(gap),
        _enough(gap),
    ]


def _enough(row: Reading) -> str:
    """Pairs, and how many would show ten points where nothing is shown."""
    return f"{row.n} of {row.by['needed']}" if "needed" in row.by else str(row.n)


def _both(readings: Sequence[Reading]) -> Markup:
    """Pairs of opposite twins: what whoever always declines, or goes by names, gets is said beside it."""
    balanced = [r for r in readings if r.name == "balanced"]
    if not balanced:
        return Markup("")
    whole = {str(r.by.get("change", "")): r for r in readings if r.name == "both"}
    rows: list[list[Cell]] = []
    for row in balanced:
        other = whole.get(str(row.by.get("change", "")))
        rows.append(
            [
                Markup("{} ({})").format(_markup.text(row.by.get("change", "")), _markup.text(row.by.get("twins", ""))),
                _charts.strip(row),
                _markup.share(row),
                _markup.share(other) if other else "–",
                str(row.n),
            ]
        )
    head = ("change", _charts.axis(), "mean of both twins", "both right", "pairs")
    return _markup.join(
        [
            _markup.heading("Both ways of a change, on the same traces"),
            _markup.table(head, rows, picture=1),
            _markup.key(
                "Who always declines has 50 % of the tool pairs and never both, who always asks of the parameters,",
                "who chooses without reading descriptions, of the descriptions.",
            ),
        ],
        "",
    )


def _folded(subtask: str, readings: Sequence[Reading]) -> Markup:
    if not _twins(readings):
        return Markup("")
    return _markup.fold(Markup("On {} alone").format(_markup.code(subtask)), _part(readings))


def _words(twin: str) -> str:
    return CHANGES.get(twin, "")


def _chance(row: Reading) -> str:
    p = row.by.get("p")
    if not isinstance(p, int | float):
        return ""
    return chance(p)


plugin = Shift
