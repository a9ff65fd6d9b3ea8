"""Which dialect a reply is in, what its calls are without their values, and where reinforcement would lead.

Calls that one dialect reads strictly are in that dialect; the most lenient reader is asked last.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, fsum

from callgrain.core import plugins
from callgrain.core.protocols import Dialect
from callgrain.core.types import Message, Ref, Reply

LENIENT = "chat_template"
"""The dialect whose `parse` takes any of the common formats: what a stricter one reads is that one's."""


class Tongues:
    """Tells texts apart by the dialects that can read calls in them, the most lenient reader last."""

    def __init__(self, own_id: str = "", own: Dialect | None = None) -> None:
        names = sorted(plugins.names("dialects"), key=lambda name: (name == LENIENT, name))
        self._dialects: dict[str, Dialect] = {
            n: own if own is not None and n == own_id else plugins.load("dialects", n)() for n in names
        }

    def of(self, reply: Reply) -> str:
        """A dialect's id; `text` for a readable turn without calls, `broken` for the rest."""
        for name, dialect in self._dialects.items():
            read = dialect.parse(reply.text)
            if isinstance(read, Message) and read.calls:
                return name
        return "broken" if reply.message is None else "text"


def forecast(shares: Mapping[str, float], rewards: Mapping[str, float], beta: float) -> dict[str, float]:
    """Shares that KL-regularised learning ends at: w_k exp(R_k / beta) / Z; with beta 0, all to the best paid.

    `shares` are those at the start, `rewards` the mean reward of each by then; what had no share gets none.
    """
    met = {name: share for name, share in shares.items() if share > 0}
    if not met:
        return dict.fromkeys(shares, 0.0)
    best = max(rewards.get(name, 0.0) for name in met)
    gaps = {name: rewards.get(name, 0.0) - best for name in met}
    if beta > 0:
        mass = {name: share * exp(gaps[name] / beta) for name, share in met.items()}
    else:
        mass = {name: share * (gaps[name] > -1e-9) for name, share in met.items()}
    total = fsum(mass.values())
    return {name: mass.get(name, 0.0) / total for name in shares}


def skeleton(message: Message) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """A turn's calls without their values: names, arguments, and which of them refer to which call's result."""
    at = {call.label: str(number) for number, call in enumerate(message.calls) if call.label}
    found: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    for call in message.calls:
        refs = {name: Ref.read(value) for name, value in call.arguments.items()}
        found.append((call.name, tuple(sorted((n, at.get(r.label, "?") if r else "") for n, r in refs.items()))))
    return tuple(found)
