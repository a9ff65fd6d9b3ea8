"""Pieces of a panel: names, figures, tables and folds, inert whatever they hold.

Panels never write markup around text themselves: what comes from tools, data or models goes
through `text` or `code`, numbers through `figure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels._words import amount, inert, number, percent, points

Cell = Markup | str
_SAYS = re.compile(r'<p class="says">(.*?)</p>', re.DOTALL)


def text(value: object) -> Markup:
    """Anything as text of the page."""
    return value if isinstance(value, Markup) else Markup("{}").format(inert(str(value)))


def code(name: str, tone: str = "") -> Markup:
    """A name as the page sets names; `up` and `even` are the tones other than alarm in a title."""
    shown = inert(name)
    return Markup('<code class="{}">{}</code>').format(tone, shown) if tone else Markup("<code>{}</code>").format(shown)


def share(row: Reading) -> Markup:
    """A share in percent with its interval."""
    return number(percent(row))


def gap(row: Reading) -> Markup:
    """A difference of shares in points with its interval."""
    return number(points(row))


def figure(row: Reading) -> Markup:
    """A number on its own scale with its interval."""
    return number(amount(row))


def join(parts: Iterable[Cell], between: str = " ") -> Markup:
    """The parts one after the other."""
    return text(between).join([text(part) for part in parts])


def key(*sentences: Cell) -> Markup:
    """What a reader must know to read what follows, in small type."""
    return Markup('<p class="key">{}</p>').format(join(sentences))


def said(*sentences: Cell) -> Markup:
    """What a panel finds, in sentences."""
    return Markup('<p class="says">{}</p>').format(join(sentences))


def sayings(body: Markup) -> list[str]:
    """What a drawn panel finds, as plain text: every `said` in it."""
    return [Markup(part).striptags() for part in _SAYS.findall(body)]  # noqa: S704 - our own markup


def small(*sentences: Cell) -> Markup:
    """A remark."""
    return Markup('<p class="small">{}</p>').format(join(sentences))


def heading(title: Cell) -> Markup:
    """A heading inside a panel."""
    return Markup("<h3>{}</h3>").format(text(title))


def fold(summary: Cell, body: Markup, *, is_open: bool = False) -> Markup:
    """A part that is one click (or the Enter key) away."""
    start = Markup("<details open>") if is_open else Markup("<details>")
    return Markup("{}<summary>{}</summary>{}</details>").format(start, text(summary), body)


def table(head: Sequence[Cell], rows: Sequence[Sequence[Cell]], *, picture: int | None = None) -> Markup:
    """A table whose first column names the rows; column `picture` holds strips of `_charts`.

    On a phone each row becomes a card, and a cell says the head of its column. Raises ValueError where a row has
    another number of cells than the head.
    """
    if any(len(row) != len(head) for row in rows):
        raise ValueError("a row of a table has another number of cells than its head")
    heads = [
        Markup('<th scope="col"{}>{}</th>').format(Markup(' class="pic"') if i == picture else "", text(cell))
        for i, cell in enumerate(head)
    ]
    body = [_row(head, row, picture) for row in rows]
    return Markup('<table class="chart probe"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        Markup("").join(heads), Markup("").join(body)
    )


def _row(head: Sequence[Cell], row: Sequence[Cell], picture: int | None) -> Markup:
    cells = [Markup('<th scope="row">{}</th>').format(text(row[0]))]
    for i, cell in enumerate(row[1:], 1):
        if i == picture:
            cells.append(Markup('<td class="pic">{}</td>').format(text(cell)))
        else:
            cells.append(Markup('<td data-of="{}">{}</td>').format(text(head[i]).striptags(), text(cell)))
    return Markup("<tr>{}</tr>").format(Markup("").join(cells))


def heat(
    head: Sequence[Cell],
    rows: Sequence[tuple[Cell, Sequence[Reading | None]]],
    *,
    corner: Cell = "",
    spread: float = 1.0,
) -> Markup:
    """A table of shares, the darker the higher; `spread` is the value of the darkest cell, a figure stands in each.

    Values below 0 (a loss) are drawn in the colour of what is weak.
    """
    heads = [Markup('<th scope="col">{}</th>').format(text(cell)) for cell in (corner, *head)]
    body = [
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            text(name), Markup("").join(_warm(c, spread) for c in cells)
        )
        for name, cells in rows
    ]
    return Markup(
        '<div class="wide"><table class="heat"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(Markup("").join(heads), Markup("").join(body))


def _warm(cell: Reading | None, spread: float) -> Markup:
    if cell is None or cell.value is None:
        return Markup("<td>–</td>")
    depth = min(1.0, abs(cell.value) / spread) if spread else 0.0
    tone = "loss" if cell.value < 0 else "share"
    return Markup('<td class="{}" style="--depth:{:.2f}" title="{}">{}<span class="of">n {}</span></td>').format(
        tone, depth, percent(cell)[1], f"{cell.value * 100:.0f}".replace("-", "−"), cell.n
    )
