"""Text for the page and the terminal: inert whatever it holds, numbers always alike.

Names and values come from tools, data and models. A control character, a direction
override or a lone surrogate is spelt out, so that it can neither act nor hide.
"""

from __future__ import annotations

import re
from typing import Any, cast

from markupsafe import Markup

from callgrain.core.types import Reading

_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_LONE = re.compile("[\ud800-\udfff]")


def inert(text: str) -> str:
    """`text` with every character that acts instead of showing spelt as `⟨U+001B⟩`.

    Newline and tab stay. The result can always be written as UTF-8.
    """
    return _ACTIVE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def whole(value: Any) -> Any:
    """A JSON value with its lone surrogates spelt out: the nouns refuse such strings."""
    if isinstance(value, str):
        return _LONE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value)
    if isinstance(value, dict):
        return {whole(k): whole(v) for k, v in cast(dict[str, Any], value).items()}
    return [whole(item) for item in cast(list[Any], value)] if isinstance(value, list) else value


def clip(text: str, limit: int) -> str:
    """`text`, cut at `limit` characters with the number of those left out."""
    return text if len(text) <= limit else f"{text[:limit]} … (+{len(text) - limit} characters)"


def plural(count: int, noun: str) -> str:
    """`1 tool`, `4 tools`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def signed(value: float) -> str:
    """`+4.5`, `−4.5`, `0.0`: with a true minus sign, and none on zero."""
    text = f"{value:.1f}"
    return text.replace("-", "−") if float(text) < 0 else f"+{text}" if float(text) > 0 else "0.0"


def points(row: Reading) -> tuple[str, str]:
    """A difference of shares in percentage points: value and interval."""
    if row.value is None:
        return "n/a", ""
    if row.low is None or row.high is None:
        return signed(row.value * 100), "no interval"
    return signed(row.value * 100), f"[{signed(row.low * 100)}, {signed(row.high * 100)}]"


def amount(row: Reading) -> tuple[str, str]:
    """A measure on its own scale: value and interval."""
    if row.value is None:
        return "n/a", ""
    value = f"{row.value:.3f}".replace("-", "−") if abs(row.value) >= 0.0005 else "0.000"
    if row.low is None or row.high is None:
        return value, "no interval"
    return value, f"[{row.low:.3f}, {row.high:.3f}]".replace("-", "−")


def chance(p: object) -> str:
    """A p-value; a dash where there is none."""
    return "–" if not isinstance(p, int | float) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(row: Reading) -> tuple[str, str]:
    """A share: value and interval."""
    if row.value is None:
        return "n/a", ""
    value = f"{row.value * 100:.1f} %"
    return (
        (value, "no interval")
        if row.low is None or row.high is None
        else (value, f"[{row.low * 100:.1f}, {row.high * 100:.1f}]")
    )


def number(parts: tuple[str, str]) -> Markup:
    """Value and interval as the page shows every number; neither half breaks."""
    value, interval = parts
    tail = Markup(' <span class="ci">{}</span>').format(interval) if interval else Markup("")
    return Markup('<span class="num"><span class="v">{}</span>{}</span>').format(value, tail)
