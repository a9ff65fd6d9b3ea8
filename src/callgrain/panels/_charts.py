"""Inline SVG drawn in percentages: it follows the width of its table cell, text never shrinks.

A chart here is a column of small strips in an ordinary table, so that the figures stand
beside their picture and a screen reader meets a table. Only numbers are written into the
marks; shape says everything that colour says.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from markupsafe import Markup

from callgrain.core.types import Reading

GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def axis(low: float = 0.0, high: float = 1.0, steps: int = 4, unit: str = "%") -> Markup:
    """Tick labels for the strips beneath, in percent or in points."""
    marks: list[Markup] = []
    for i in range(steps + 1):
        text = f"{(low + (high - low) * i / steps) * 100:.0f}".replace("-", "−")
        tail = Markup("<i> {}</i>").format(unit) if unit and i == steps else ""
        marks.append(Markup('<span style="left:{:.2f}%">{}{}</span>').format(100 * i / steps, text, tail))
    return Markup('<span class="axis" aria-hidden="true">{}</span>').format(Markup("").join(marks))


def strip(row: Reading, controls: Sequence[Reading] = (), tone: str = "plain") -> Markup:
    """A score as a dot on its interval, from 0 to 1; the controls as ticks beneath."""
    marks = [_tick(control.value) for control in controls if control.value is not None]
    if row.value is not None:
        marks += [_span(row.low, row.high), _dot(row.value, "dot")]
    return _svg(marks, tone, GRID)


def bar(row: Reading, scale: float, tone: str = "plain") -> Markup:
    """A rate as a bar from 0 to `scale`, its interval as a line over the end."""
    if row.value is None:
        return _svg([], tone, GRID)
    marks = [Markup('<rect class="bar" x="0" y="30%" width="{:.2f}%" height="40%"/>').format(_at(row.value / scale))]
    if row.low is not None and row.high is not None:
        marks.append(_span(row.low / scale, row.high / scale))
    return _svg(marks, tone, GRID)


def dumbbell(before: Reading, after: Reading, tone: str) -> Markup:
    """Before as a ring, after as a dot, the way between them as a line; from 0 to 1."""
    if before.value is None or after.value is None:
        return _svg([], tone, GRID)
    way = Markup('<line class="way" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>')
    marks = [way.format(_at(before.value), _at(after.value)), _dot(before.value, "ring"), _dot(after.value, "dot")]
    return _svg(marks, tone, GRID)


def difference(row: Reading, low: float, high: float, tone: str) -> Markup:
    """A difference on its interval between `low` and `high`, with the line of no difference."""
    width = high - low
    zero = Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>').format(_at(-low / width))
    if row.value is None:
        return _svg([zero], tone, ())
    marks = [zero]
    if row.low is not None and row.high is not None:
        marks.append(_span((row.low - low) / width, (row.high - low) / width))
    return _svg([*marks, _dot((row.value - low) / width, "dot")], tone, ())


def span_of(rows: Sequence[Reading]) -> tuple[float, float, int]:
    """Limits that hold every difference's interval and 0, and the round steps between them."""
    lows = [r.low for r in rows if r.low is not None]
    highs = [r.high for r in rows if r.high is not None]
    low, high = min([0.0, *lows]), max([0.0, *highs])
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.25) if high - low <= 4 * s), 0.5)
    first, last = floor(round(low / step, 6)), ceil(round(high / step, 6))
    if first == last:
        first, last = -1, 1
    return first * step, last * step, last - first


def scale_of(rows: Sequence[Reading]) -> float:
    """A round upper end (4 %, 10 %, 20 %, ...) that holds every rate's interval."""
    top = max([r.high or r.value or 0.0 for r in rows] or [0.0])
    return next((end for end in (0.04, 0.1, 0.2, 0.4, 0.6, 0.8) if top <= end), 1.0)


def line(points: Sequence[tuple[float, float]]) -> Markup:
    """A curve, such as a loss over steps, filling its box; the box carries the labels."""
    if len(points) < 2:
        return Markup("")
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, y0 = min(xs), min(0.0, *ys)
    wide, tall = (max(xs) - x0) or 1.0, (max(ys) - y0) or 1.0
    path = " ".join(f"{100 * (x - x0) / wide:.2f},{100 - 100 * (y - y0) / tall:.2f}" for x, y in points)
    return Markup(
        '<svg class="curve" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}" vector-effect="non-scaling-stroke"/></svg>'
    ).format(path)


def height(points: Sequence[tuple[float, float]]) -> float:
    """Where the last point of `line` stands, in percent of its box from below."""
    ys = [y for _, y in points]
    low = min(0.0, *ys)
    return 100 * (ys[-1] - low) / ((max(ys) - low) or 1.0)


def _svg(marks: Sequence[Markup], tone: str, grid: Sequence[float]) -> Markup:
    rules = [Markup('<line class="grid" x1="{0:.0f}%" x2="{0:.0f}%" y1="0" y2="100%"/>').format(g * 100) for g in grid]
    return Markup(
        '<svg class="strip {}" width="100%" height="26" aria-hidden="true" focusable="false">{}</svg>'
    ).format(tone, Markup("").join([*rules, *marks]))


def _span(low: float | None, high: float | None) -> Markup:
    if low is None or high is None:
        return Markup("")
    ends = _at(low), _at(high)
    return Markup('<line class="span" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>').format(*ends)


def _dot(value: float, kind: str) -> Markup:
    return Markup('<circle class="{}" cx="{:.2f}%" cy="50%" r="{}"/>').format(kind, _at(value), 4.5)


def _tick(value: float) -> Markup:
    return Markup('<line class="tick" x1="{0:.2f}%" x2="{0:.2f}%" y1="62%" y2="94%"/>').format(_at(value))


def _at(value: float) -> float:
    """A place in percent, kept on the strip."""
    return 100 * min(1.0, max(0.0, value))
