"""Plots of curves over a quantity: points on their intervals, fitted lines, steps.

The drawing stretches with the page and its text does not: curves lie in a box of 100 by 100 that is
stretched, marks stand at percentages, labels are text of the page. A table of the same figures belongs beside
every plot: the drawing is hidden from screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from markupsafe import Markup

from callgrain.panels._markup import Cell, text

Point = tuple[float, float]
Bar = tuple[float, float, float | None, float | None]
"""(x, y, low, high)."""

STYLES = 6
"""Styles that can be told apart, by the mark's shape and the line's dashes as well as by colour."""


@dataclass(frozen=True)
class Series:
    """One line of a plot: measured points with intervals, a fitted curve, or steps."""

    name: str
    points: tuple[Bar, ...] = ()
    curve: tuple[Point, ...] = ()
    style: int = 0
    is_reference: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis: its ends, its ticks with their labels, its name; `log` for geometric steps."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    name: str = ""
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value in percent of the axis, kept on it."""
        low, high, here = (log2(v) if self.log else v for v in (self.low, self.high, max(value, 1e-12)))
        return 100 * min(1.0, max(0.0, (here - low) / ((high - low) or 1.0)))


SHARES = Axis(0.0, 1.0, tuple((k / 4, f"{25 * k}") for k in range(5)), "% right")
"""The axis of a share, in percent."""


def over(values: Sequence[float], name: str, *, log: bool = False) -> Axis:
    """An axis that holds the values, with a tick at each (at most eight are labelled)."""
    found = sorted(set(values))
    every = -(-len(found) // 8)
    ticks = tuple((v, f"{v:g}") for i, v in enumerate(found) if i % every == 0)
    return Axis(found[0], found[-1], ticks, name, log)


def plot(series: Sequence[Series], x: Axis, y: Axis = SHARES, caption: Cell = "") -> Markup:
    """The figure; a legend where there is more than one series."""
    curves, marks = [Markup("")], [Markup("")]
    for one in series:
        style = f"s{one.style % STYLES}" + (" reference" if one.is_reference else "")
        if len(one.curve) > 1:
            path = " ".join(f"{x.at(a):.2f},{100 - y.at(b):.2f}" for a, b in one.curve)
            curves.append(
                Markup('<polyline class="{}" points="{}" vector-effect="non-scaling-stroke"/>').format(style, path)
            )
        marks += [_mark(bar, x, y, style, one.style) for bar in one.points]
    grid = [Markup('<line x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>').format(100 - y.at(v)) for v, _ in y.ticks]
    return Markup(
        '<figure class="plot"><div class="frame"><svg class="rules" aria-hidden="true">{}</svg>'
        '<svg class="curves" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
        '<svg class="marks" aria-hidden="true">{}</svg>{}{}</div>{}<figcaption>{}</figcaption></figure>'
    ).format(
        Markup("").join(grid), Markup("").join(curves), Markup("").join(marks), _ticks(y, "y"), _ticks(x, "x"),
        _legend(series), text(caption),
    )  # fmt: skip


def _mark(bar: Bar, x: Axis, y: Axis, style: str, shape: int) -> Markup:
    across, up = x.at(bar[0]), 100 - y.at(bar[1])
    parts = [Markup("")]
    if bar[2] is not None and bar[3] is not None:
        ends = 100 - y.at(bar[2]), 100 - y.at(bar[3])
        whisker = Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="{2:.2f}%" y2="{3:.2f}%"/>')
        parts.append(whisker.format(style, across, *ends))
    if shape % 2:  # squares and circles in turn: colour is never the only difference
        box = Markup('<rect class="{}" x="{:.2f}%" y="{:.2f}%" width="8" height="8" transform="translate(-4,-4)"/>')
        parts.append(box.format(style, across, up))
    else:
        parts.append(Markup('<circle class="{}" cx="{:.2f}%" cy="{:.2f}%" r="4.5"/>').format(style, across, up))
    return Markup("").join(parts)


def _ticks(axis: Axis, which: str) -> Markup:
    side = "left" if which == "x" else "bottom"
    marks = [
        Markup('<span style="{}:{:.2f}%">{}</span>').format(side, axis.at(value), text(label))
        for value, label in axis.ticks
    ]
    name = Markup("<i>{}</i>").format(text(axis.name)) if axis.name else ""
    return Markup('<span class="{}" aria-hidden="true">{}{}</span>').format(
        f"ticks {which}", Markup("").join(marks), name
    )


def _legend(series: Sequence[Series]) -> Markup:
    if len(series) < 2:
        return Markup("")
    items = [
        Markup('<span class="l s{}{}">{}</span>').format(
            one.style % STYLES, Markup(" reference") if one.is_reference else "", text(one.name)
        )
        for one in series
    ]
    return Markup('<p class="legend">{}</p>').format(Markup("").join(items))
