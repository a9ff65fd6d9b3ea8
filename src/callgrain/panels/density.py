"""A curve for each load, its class, and where it crosses 90 and 50 %.

A crossing outside of what was asked is said as such ("beyond 64"), never drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels._markup import Cell, fold, gap, heading, join, key, said, share, small, table
from callgrain.panels._plot import SHARES, Bar, Series, over, plot

AXES = {
    "tools": ("Tools shown", "tools", "with the number of tools shown"),
    "arguments": ("Arguments in one call", "arguments", "with the number of arguments in one call"),
    "declared": ("Parameters declared, two asked for", "parameters", "with the number of parameters declared"),
    "calls": ("Calls in one turn", "calls", "with the number of calls asked for at once"),
}
"""Axis: heading, unit, and how a sentence speaks of it."""
CLASSES = {
    "constant": "constant", "linear": "a straight fall", "exponential": "an exponential fall",
    "logistic": "a logistic fall over doublings", "break": "flat, then a break",
}  # fmt: skip
CONTROLS = {"random_tool": "a tool at random (1 in N)", "lexical": "without skill: the tool nearest by words"}
TYPES = ("omission", "modification", "commission", "form")
SURE = 0.05
CLEAR = 0.5
"""Weight from which on a class outweighs all others together."""


class DensityPanel:
    """A plot, a table and a finding for each axis."""

    title = "Density: how much it can be given at once"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The section; None where the probe read nothing."""
        mine = [r for r in readings if r.probe == "density"]
        parts = [part for axis in AXES for part in _axis(axis, [r for r in mine if r.by.get("axis") == axis])]
        return join([_legend(), *parts], "") if parts else None


def _legend() -> Markup:
    return key(
        "The same requests at every load. D50 and D90 are the loads from which on fewer than 50 and 90 % are right, "
        "read off the falling regression of the shares; the class says how success falls, its weight how well it "
        "foretells requests that it was not fitted to, beside four others."
    )


def _axis(axis: str, mine: Sequence[Reading]) -> Iterator[Markup]:
    shares = sorted((r for r in mine if r.name == "ok"), key=_load)
    if not shares:
        return
    title, unit, _ = AXES[axis]
    yield heading(title)
    yield said(*_finding(axis, mine))
    yield plot(_series(mine, shares), over([_load(r) for r in shares], unit, log=True), SHARES, _caption(mine))
    yield from _remarks(axis, mine)
    yield fold("Figures", join([_figures(mine, shares), _classes(mine)], ""), is_open=True)


def _load(row: Reading) -> float:
    return float(row.by.get("load", 0))


def _named(mine: Sequence[Reading], name: str, **by: object) -> list[Reading]:
    return [r for r in mine if r.name == name and all(r.by.get(k) == v for k, v in by.items())]


def _finding(axis: str, mine: Sequence[Reading]) -> Iterator[Cell]:
    """What falls by how much, of which shape, and from where on."""
    _, unit, words = AXES[axis]
    first = min(_named(mine, "ok"), key=_load)
    if not first.value:
        yield join(
            [
                f"Nothing is right even at the least load ({_load(first):g} {unit}):",
                share(first),
                "so that nothing can fall.",
            ]
        )
        return
    for drop in _named(mine, "drop")[:1]:
        ends = f"from {drop.by.get('least')} to {drop.by.get('most')} {unit}"
        if drop.high is not None and drop.high < 0:
            yield join(["Success falls", f"{words}:", gap(drop), f"points {ends}."])
        elif drop.low is not None and drop.low > 0:
            yield join(["Success rises", f"{words}:", gap(drop), f"points {ends}."])
        else:
            yield join(["No fall", words, f"is shown {ends}: a difference of", gap(drop), "points."])
    for best in _named(mine, "class", best=True)[:1]:
        named = CLASSES.get(str(best.by.get("class")), str(best.by.get("class")))
        weight = f"(weight {best.value or 0:.2f})"
        if (best.value or 0) >= CLEAR:
            yield f"Of five classes {named} foretells best {weight}."
        else:
            yield f"Of five classes none stands out; {named} comes first {weight}."
    crossings = [(name, r) for name in ("D90", "D50") for r in _named(mine, name)[:1]]
    if crossings:
        yield join([f"{name} {crossing(r)}" for name, r in crossings], ", ") + "."


def crossing(row: Reading) -> str:
    """`16.0 tools [13.9, 18.8]` without the unit; an end outside of what was asked says so."""
    by = row.by
    if row.value is None:
        value = f"is beyond {by['beyond']}" if "beyond" in by else f"is below {by.get('below', 'the least load')}"
    else:
        value = f"is {row.value:.1f}"
    if row.low is None and row.high is None and "high_beyond" not in by and "low_below" not in by:
        return value
    if "below" in by and "low_below" in by and row.high == by["below"]:
        return value
    low = f"{row.low:.1f}" if row.low is not None else f"below {by.get('low_below', '?')}"
    high = f"{row.high:.1f}" if row.high is not None else f"beyond {by.get('high_beyond', '?')}"
    return f"{value} [{low}, {high}]"


def _series(mine: Sequence[Reading], shares: Sequence[Reading]) -> list[Series]:
    points: tuple[Bar, ...] = tuple((_load(r), r.value, r.low, r.high) for r in shares if r.value is not None)
    out = [Series("right", points=points)]
    fitted = sorted(_named(mine, "fit"), key=_load)
    if fitted:
        name = CLASSES.get(str(fitted[0].by.get("class")), str(fitted[0].by.get("class")))
        out.append(Series(f"fitted: {name}", curve=tuple((_load(r), r.value or 0.0) for r in fitted)))
    each = sorted(_named(mine, "each"), key=_load)
    if each:
        bars: tuple[Bar, ...] = tuple((_load(r), r.value, r.low, r.high) for r in each if r.value is not None)
        out.append(Series("each requirement", points=bars, style=1))
    for control, name in CONTROLS.items():
        found = sorted(_named(mine, "control", control=control), key=_load)
        if found:
            line = tuple((_load(r), r.value or 0.0) for r in found)
            out.append(Series(name, curve=line, style=3, is_reference=True))
    return out


def _caption(mine: Sequence[Reading]) -> str:
    n = max((r.n for r in mine if r.name == "ok"), default=0)
    return f"Share of replies that are right in every part, {n} requests at each load; 95 % intervals."


def _remarks(axis: str, mine: Sequence[Reading]) -> Iterator[Markup]:
    """What must be known to read the curve: the limit of tokens, the effect of place and of length."""
    cut_off = sorted((r for r in _named(mine, "cut_off") if (r.value or 0) > 0.1), key=_load)
    if cut_off:
        yield small(
            f"From {_load(cut_off[0]):g} {AXES[axis][1]} on replies were cut off by the limit of tokens: "
            "those loads say nothing of the model and are in no fit; --max-tokens raises it."
        )
    first, *others = sorted(_named(mine, "ok"), key=_load)
    best = max(others, key=lambda r: r.value or 0.0, default=first)
    if best.low is not None and first.high is not None and best.low > first.high:
        yield small(
            f"Success rises first: {_load(best):g} {AXES[axis][1]} go better than {_load(first):g}. D50 and D90 are "
            "read off a curve that only falls, and average such a start."
        )
    lost = sorted(_named(mine, "unanswered"), key=_load)
    if lost:
        yield small(f"From {_load(lost[0]):g} {AXES[axis][1]} on some prompts got no reply at all.")
    for row in _named(mine, "position")[:1]:
        p = row.by.get("p")
        shown = isinstance(p, float | int) and p < SURE
        tail = f" ({_p(p)}, corrected for all axes)." if isinstance(p, float | int) else "."
        start = "Place in the list matters:" if shown else "No effect of the place in the list is shown:"
        yield small(start, "errors at the last place minus at the first", gap(row), f"points{tail}")
    for row in _named(mine, "length")[:1]:
        yield small("At equal load, twice the length of the answer changes errors by", gap(row), "points.")


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"


def _figures(mine: Sequence[Reading], shares: Sequence[Reading]) -> Markup:
    kinds = [
        kind for kind in TYPES if any((r.value or 0) > 0 or kind != "form" for r in _named(mine, "fault", type=kind))
    ]
    each = {_load(r): r for r in _named(mine, "each")}
    head: list[Cell] = ["load", "n", "right", *(["each requirement"] if each else []), *kinds, "without skill"]
    rows: list[list[Cell]] = []
    for row in shares:
        load = _load(row)
        cells: list[Cell] = [f"{load:g}", str(row.n), share(row)]
        if each:
            cells.append(share(each[load]) if load in each else "–")
        for kind in kinds:
            found = _named(mine, "fault", type=kind, load=row.by.get("load"))
            cells.append(share(found[0]) if found else "–")
        control = _named(mine, "control", load=row.by.get("load"))
        best = max(control, key=lambda r: r.value or 0.0, default=None)
        rows.append([*cells, f"{(best.value or 0) * 100:.1f} %" if best else "–"])
    return table(head, rows)


def _classes(mine: Sequence[Reading]) -> Markup:
    rows = sorted(_named(mine, "class"), key=lambda r: -(r.value or 0.0))
    if not rows:
        return small("No curve is fitted: fewer than 8 requests or 3 loads, or all replies alike.")
    body = [[CLASSES.get(str(r.by.get("class")), str(r.by.get("class"))), f"{r.value or 0:.2f}"] for r in rows]
    return table(["class of curve", "weight"], body)


plugin = DensityPanel
