"""Two runs over the same items: paired differences, each with its interval.

The same questions put to two models say far more than two scores side by side: what both
got right or both got wrong cancels. Items that only one run holds are counted and said. Several
sub-tasks are several looks: McNemar's exact p is corrected over them (Holm), and beside every
difference stands the number of items that would show it, or show a few points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callgrain.core.errors import BadInput
from callgrain.core.significance import discordant, holm, mcnemar, p_of_interval
from callgrain.core.stats import combined, interval_text, paired_difference, share
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.report._power import needed

BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"
ALPHA = 0.05
OWN = ("subtask", "fault", "count", "cost", "tier", "weakness", "grader", "prescription")
"""Probes whose readings are compared by the items themselves, or are no figures of the model."""


@dataclass(frozen=True)
class _Item:
    """What a comparison needs of one verdict."""

    subtask: str
    ok: bool
    graded: bool
    kinds: frozenset[str]


def compare(before: Run, after: Run, points: float = 3) -> list[Reading]:
    """Readings of `after` minus `before`, over the sample keys that both hold graded.

    Names, all of probe `compare`: `ok_before`, `ok_after` (shares on the pairs) and
    `ok_difference` by sub-task; `macro_difference` (mean over sub-tasks); `fault_difference`
    by kind (share of pairs that show the fault, so below 0 is better); `test` by sub-task, whose value is
    McNemar's exact p corrected over the sub-tasks (Holm; in `by` as `p_holm`, beside `p`; n counts the discordant
    pairs); `n_needed` by sub-task and points (`_power.needed`: the observed difference and `points`);
    `reading_difference` by probe and name, for what probes read in both runs; and the counts
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
    readings += _tests(by_subtask)
    for subtask, items in by_subtask.items():
        readings += needed(subtask, *_discordant(items), len(items), points)
    readings += _faults(pairs)
    readings += _of_probes(before, after)
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


def words(readings: Sequence[Reading]) -> dict[str, str]:
    """`word` of each sub-task's difference, corrected for all of them being looked at.

    `better` and `worse` where both the interval and Holm's p say so: over a whole suite without any difference,
    at most one comparison in twenty speaks of one.
    """
    ps = {r.by["subtask"]: float(r.by["p_holm"]) for r in readings if (r.probe, r.name) == ("compare", "test")}
    found = [r for r in readings if (r.probe, r.name) == ("compare", "ok_difference")]
    return {str(r.by["subtask"]): word(r) if ps.get(r.by["subtask"], 0.0) <= ALPHA else NOT_SHOWN for r in found}


def told(readings: Sequence[Reading], points: float) -> list[str]:
    """What a comparison (or, with one run, its planning) comes to, in lines."""
    mine = [r for r in readings if r.probe == "compare"]
    found = words(mine)
    needed_by = {str(r.by["subtask"]): r for r in mine if r.name == "n_needed" and r.by.get("of", "asked") == "asked"}
    lines: list[str] = []
    for subtask, row in needed_by.items():
        n = f"n needed to see {points:g} points: {_whole(row.value)} [{_whole(row.low)}, {_whole(row.high)}], n {row.n}"
        lines.append(f"{subtask:10} {found[subtask]}" if found.get(subtask, NOT_SHOWN) != NOT_SHOWN else "")
        if not lines[-1]:
            lines[-1] = f"{subtask:10} {NOT_SHOWN}; {n}" if found else f"{subtask:10} {n}"
    own = [r for r in mine if r.name == "reading_difference"]
    seen = surely(own)
    for row in seen:
        by = ", ".join(f"{k} {v}" for k, v in row.by.items() if k not in ("probe", "reading"))
        size = interval_text(row.value, row.low, row.high, percent=False)
        lines.append(f"{row.by['probe']}/{row.by['reading']} {by}: {size}")
    if own:
        lines.append(f"{len(own) - len(seen)} of {len(own)} readings of probes: {NOT_SHOWN} (Holm, over all of them)")
    return lines


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def surely(differences: Sequence[Reading]) -> list[Reading]:
    """Those differences whose interval still does not hold 0 when all of them are looked at (Holm)."""
    known = [r for r in differences if r.value is not None and r.low is not None and r.high is not None]
    ps = holm([p_of_interval(r.value or 0.0, r.low or 0.0, r.high or 0.0) for r in known])
    return [row for row, p in zip(known, ps, strict=True) if p <= ALPHA]


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
    value, low, high = combined([(1 / k, (row.value or 0.0, row.low or 0.0, row.high or 0.0)) for row in differences])
    limits = max(-1.0, low or 0.0), min(1.0, high or 0.0)
    return _reading("macro_difference", (value, *limits), sum(row.n for row in differences), {"subtasks": k})


def _discordant(pairs: Sequence[tuple[_Item, _Item]]) -> tuple[int, int]:
    """(gained, lost): pairs that changed one way, and the other."""
    return discordant([new.ok for _, new in pairs], [old.ok for old, _ in pairs])


def _tests(by_subtask: Mapping[str, Sequence[tuple[_Item, _Item]]]) -> list[Reading]:
    counts = {name: _discordant(items) for name, items in by_subtask.items()}
    ps = [mcnemar(*both) for both in counts.values()]
    return [
        _reading("test", (p_holm, None, None), sum(both), {"subtask": name, "p": p, "p_holm": p_holm})
        for (name, both), p, p_holm in zip(counts.items(), ps, holm(ps), strict=True)
    ]


def _of_probes(before: Run, after: Run) -> list[Reading]:
    """Differences of what probes read in both runs.

    Fits and curves do not pair by item: the two intervals are combined (MOVER), which is wider than a paired
    difference where the same items were asked, and so errs on the side of not shown.
    """
    old, new = (
        {(r.probe, r.name, tuple(sorted(r.by.items()))): r for r in _readings_of(run) if r.probe not in OWN}
        for run in (before, after)
    )
    out: list[Reading] = []
    for key in new:
        if key not in old or None in (old[key].low, new[key].low):
            continue
        one, other = new[key], old[key]
        figure = combined([(1.0, (one.value, one.low, one.high)), (-1.0, (other.value, other.low, other.high))])
        about = {**one.by, "probe": one.probe, "reading": one.name}
        out.append(_reading("reading_difference", figure, min(one.n, other.n), about))
    return out


def _readings_of(run: Run) -> list[Reading]:
    return [Reading.model_validate(row) for row in run.rows("readings")]


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
    by: Mapping[str, str | int | float | bool] | None = None,
) -> Reading:
    value, low, high = interval
    return Reading(probe="compare", name=name, value=value, low=low, high=high, n=n, by=dict(by or {}))


def _why(before: Run, after: Run, shared: int) -> str:
    if shared:
        return f"{shared} items are in both, but none of them was graded in both"
    old, new = before.read("recipe"), after.read("recipe")
    parts = [f"{k} {old.get(k)!r} and {new.get(k)!r}" for k in ("source", "seed", "n") if old.get(k) != new.get(k)]
    return f"they differ in {'; '.join(parts)}" if parts else "they hold different items"
