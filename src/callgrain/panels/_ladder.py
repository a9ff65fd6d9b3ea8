"""Strips of a waterfall: each rung as a bar from where the one before it ends."""

from __future__ import annotations

from markupsafe import Markup

_STRIP = Markup(
    '<svg class="strip {}" width="100%" height="26" aria-hidden="true" focusable="false">{}<rect class="bar" '
    'x="{:.2f}%" y="30%" width="{:.2f}%" height="40%"/>{}</svg>'
)
_GRID = Markup("").join(
    Markup('<line class="grid" x1="{0}%" x2="{0}%" y1="0" y2="100%"/>').format(at) for at in (0, 25, 50, 75, 100)
)
_EDGE = Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="18%" y2="82%"/>')


def step(start: float, end: float, tone: str = "plain") -> Markup:
    """A bar between two shares with a line where it starts, from 0 to 1 over the strip; a loss runs backwards."""
    low, high = sorted(100 * min(1.0, max(0.0, value)) for value in (start, end))
    return _STRIP.format(tone, _GRID, low, high - low, _EDGE.format(100 * min(1.0, max(0.0, start))))
