"""How many items would show a difference: of two runs that were compared, or of one run before it is.

The answer hangs on the share of items that one model gets right and the other wrong. Two runs show it; with one
run it is bounded: at least the difference itself, at most what two models without anything in common would have.
"""

from __future__ import annotations

from collections.abc import Iterator

from callgrain.core.significance import gap_seen, n_paired
from callgrain.core.stats import share
from callgrain.core.store import Run
from callgrain.core.types import Reading

RELATED = 0.5
"""Discordant items of two related models, as a share of what independent ones would have; one run cannot show it."""


def needed(subtask: str, gained: int, lost: int, n: int, points: float) -> Iterator[Reading]:
    """Readings `n_needed` by sub-task and points: items for a power of 80 %, given the discordant share that was seen.

    One for `points` (`of: asked`), one for the observed difference (`of: observed`) where there is one. The limits
    come from those of the discordant share (Wilson).
    """
    discordant = share(gained + lost, n)
    gap = abs(gained - lost) / n
    for size, of in ((points / 100, "asked"), (gap, "observed")):
        if size:
            # With a pair of each kind added the share is never nothing: no discordant pair seen is not none there.
            middle = max(size, (gained + lost + 1) / (n + 2))
            low, high = (max(size, limit or 0.0) for limit in discordant[1:])
            figure = [float(n_paired(size, min(1.0, d))) for d in (middle, low, high)]
            by: dict[str, str | float] = {"subtask": subtask, "points": round(100 * size, 2), "of": of}
            yield Reading(
                probe="compare", name="n_needed", value=figure[0], low=figure[1], high=figure[2], n=n, by={**by}
            )


def planned(run: Run, points: float) -> list[Reading]:
    """What a comparison with this run could show, by sub-task: `n_needed` for `points`, and `gap_seen` by its n.

    Value: for a related model (`RELATED`); low: one that differs in nothing but those points; high: one without
    anything in common with it.
    """
    out: list[Reading] = []
    for row in (Reading.model_validate(r) for r in run.rows("readings")):
        if (row.probe, row.name) != ("subtask", "ok") or set(row.by) != {"subtask"} or row.value is None or not row.n:
            continue
        gap = points / 100
        p = min(max(row.value, 1 / (row.n + 2)), 1 - 1 / (row.n + 2))
        apart = max(gap, 2 * p * (1 - p))
        shares = (max(gap, RELATED * apart), gap, apart)
        value, low, high = (float(n_paired(gap, d)) for d in shares)
        by = {"subtask": str(row.by["subtask"]), "points": points}
        out.append(Reading(probe="compare", name="n_needed", value=value, low=low, high=high, n=row.n, by={**by}))
        seen = [gap_seen(row.n, d) for d in (RELATED * apart, RELATED * apart, apart)]
        out.append(
            Reading(
                probe="compare",
                name="gap_seen",
                value=seen[0],
                low=None,
                high=None,
                n=row.n,
                by={"subtask": by["subtask"]},
            )
        )
    return out
