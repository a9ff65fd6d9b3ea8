"""Two runs over the same items: paired differences, each with its interval.

The same questions put to two models say far more than two scores side by side: what both
got right or both got wrong cancels. Items that only one run holds are counted and said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from callgrain.core.errors import BadInput
from callgrain.core.stats import paired_difference, share
from callgrain.core.store import Run
from callgrain.core.types import Reading

BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"


@dataclass(frozen=True)
class _Item:
    """What a comparison needs of one verdict."""

    subtask: str
    ok: bool
    graded: bool
    kinds: frozenset[str]


def compare(before: Run, after: Run) -> list[Reading]:
    """Readings of `after` minus `before`, over the sample keys that both hold graded.

    Names, all of probe `compare`: `ok_before`, `ok_after` (shares on the pairs) and
    `ok_difference` by sub-task; `macro_difference` (mean over sub-tasks); `fault_difference`
    by kind (share of pairs that show the fault, so below 0 is better); and the counts
    `paired`, `only_before`, `only_after`, `not_graded`. Raises BadInput where nothing pairs.
    """
    old, new = _items(before), _items(after)
    shared = [key for key in old if key in new]
    pairs = [(old[key], new[key]) for key in shared if old[key].graded and new[key].graded]
    if not pairs:
        raise BadInput(
            f"no item of {before.folder} pairs with one of {after.folder}: {_why(before, after, len(shared))}",
            "diagnose both models with the same --source, --n, --seed and --subtask",
        )
    by_subtask: dict[str, list[tuple[_Item, _Item]]] = defaultdict(list)
    for pair in pairs:
        by_subtask[pair[0].subtask].append(pair)
    readings: list[Reading] = []
    for subtask, items in by_subtask.items():
        readings += _scores(subtask, items)
    readings.append(_macro([r for r in readings if r.name == "ok_difference"]))
    readings += _faults(pairs)
    counts = {
        "paired": len(pairs),
        "only_before": len(old) - len(shared),
        "only_after": len(new) - len(shared),
        "not_graded": len(shared) - len(pairs),
    }
    return readings + [_reading(name, (float(count), None, None), count) for name, count in counts.items()]


def word(difference: Reading) -> str:
    """`better`, `worse`, or `no difference shown` where the interval holds 0 (or is missing).

    Of a fault's rate, less is better.
    """
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return NOT_SHOWN
    risen = difference.low > 0
    return BETTER if risen != (difference.name == "fault_difference") else WORSE


def _items(run: Run) -> dict[str, _Item]:
    """Every verdict of a run by its sample's key. Raises BadInput where a row lacks a part."""
    found: dict[str, _Item] = {}
    for number, row in enumerate(run.rows("verdicts"), 1):
        try:
            verdict: dict[str, Any] = row["verdict"]
            found[row["key"]] = _Item(
                subtask=row["subtask"],
                ok=bool(row["ok"]),
                graded=verdict.get("state", "graded") == "graded",
                kinds=frozenset(fault["kind"] for fault in verdict.get("faults", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            place = f"{run.folder / 'verdicts.jsonl'}:{number}"
            raise BadInput(f"{place}: no verdict row (lacks {error})", "run that diagnosis again") from error
    return found


def _scores(subtask: str, pairs: Sequence[tuple[_Item, _Item]]) -> list[Reading]:
    old, new = [b.ok for b, _ in pairs], [a.ok for _, a in pairs]
    n, by = len(pairs), {"subtask": subtask}
    return [
        _reading("ok_before", share(sum(old), n), n, by),
        _reading("ok_after", share(sum(new), n), n, by),
        _reading("ok_difference", paired_difference(new, old), n, by),
    ]


def _macro(differences: Sequence[Reading]) -> Reading:
    """Mean difference over sub-tasks, each counting alike whatever its n.

    The interval recovers each sub-task's variance from its own limits (MOVER; Zou and Donner
    2008). A bootstrap over pairs agrees at large n, but has no width where no pair is
    discordant, and so would call one lucky item a proof.
    """
    k = len(differences)
    value = down = up = 0.0
    for row in differences:
        middle, low, high = row.value or 0.0, row.low or 0.0, row.high or 0.0
        value += middle / k
        down += max(0.0, middle - low) ** 2
        up += max(0.0, high - middle) ** 2
    limits = max(-1.0, value - sqrt(down) / k), min(1.0, value + sqrt(up) / k)
    return _reading("macro_difference", (value, *limits), sum(row.n for row in differences), {"subtasks": k})


def _faults(pairs: Sequence[tuple[_Item, _Item]]) -> list[Reading]:
    """Difference in the share of pairs with a fault, for each kind that either run shows."""
    kinds: set[str] = set()
    for old, new in pairs:
        kinds |= old.kinds | new.kinds
    rows = [
        _reading(
            "fault_difference",
            paired_difference([kind in new.kinds for _, new in pairs], [kind in old.kinds for old, _ in pairs]),
            len(pairs),
            {"fault": kind},
        )
        for kind in sorted(kinds)
    ]
    return sorted(rows, key=lambda row: row.value or 0.0)


def _reading(
    name: str,
    interval: Iterable[float | None],
    n: int,
    by: dict[str, str] | dict[str, int] | None = None,
) -> Reading:
    value, low, high = interval
    return Reading(probe="compare", name=name, value=value, low=low, high=high, n=n, by=dict(by or {}))


def _why(before: Run, after: Run, shared: int) -> str:
    if shared:
        return f"{shared} items are in both, but none of them was graded in both"
    old, new = before.read("recipe"), after.read("recipe")
    parts = [f"{k} {old.get(k)!r} and {new.get(k)!r}" for k in ("source", "seed", "n") if old.get(k) != new.get(k)]
    return f"they differ in {'; '.join(parts)}" if parts else "they hold different items"
