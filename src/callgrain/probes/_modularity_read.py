"""From rows of masks and pushes to readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from callgrain.core import stats
from callgrain.core.types import Reading
from callgrain.probes._graded import grouped, reading
from callgrain.probes._modularity_figures import Cells, Interval, Matrix, cells
from callgrain.probes._modularity_masks import ARMS

Line = Mapping[str, Any]
RIGHT, NATS = 1, 2
CONTROLS = ARMS[1:]
FEWEST_EFFECT = 0.05
"""Log-odds that edits must take in their own context before a share of it is spoken of."""
FEWEST_HELD = 4
"""Held-out decisions in either context below which an edit is left out."""


def read(rows: Sequence[Line]) -> list[Reading]:
    """Every reading that the rows bear."""
    kinds = grouped(rows, lambda row: str(row["kind"]))
    return [
        *_skipped(kinds.get("skipped", [])),
        *_whole(kinds.get("whole", [])),
        *_masks(kinds.get("mask", [])),
        *_pushed(kinds.get("push", [])),
        *_fracture(kinds.get("fracture", [])),
        *_edits(kinds.get("edit", [])),
    ]  # fmt: skip


def _skipped(rows: Sequence[Line]) -> Iterator[Reading]:
    """`modularity/skipped`: nothing was searched, and why."""
    for row in rows:
        yield reading("modularity", "skipped", (None, None, None), 0, reason=str(row["reason"]))


def _whole(rows: Sequence[Line]) -> Iterator[Reading]:
    """`modularity/whole` by arm, subtask: right with nothing taken away."""
    for arm, found in grouped(rows, lambda row: str(row["arm"])).items():
        table = cells(
            {(str(row["seed"]), skill): values for row in found for skill, values in row["skills"].items()}, RIGHT
        )
        for skill, values in found[0]["skills"].items():
            mean = table.mean([(str(row["seed"]), skill) for row in found])
            yield reading("modularity", "whole", table.interval(mean), len(values), arm=arm, subtask=skill)


def _masks(rows: Sequence[Line]) -> Iterator[Reading]:
    """The matrix of each arm, what it comes to, and whether it clears its controls."""
    if not rows:
        return
    found = {
        (row["arm"], str(row["seed"]), row["mask"], skill): values
        for row in rows
        for skill, values in row["without"].items()
    }
    tables = {place: cells(found, place) for place in (RIGHT, NATS)}
    arms = {arm: _complete(rows, arm) for arm in ARMS}
    matrices = {arm: [Matrix(table, arm, *arms[arm]) for table in tables.values()] for arm in ARMS if arms[arm][1]}
    for arm, (right, nats) in matrices.items():
        yield from _of_arm(arm, right, nats)
        yield from _cells(right, nats, {skill: len(values) for skill, values in rows[0]["without"].items()})
        yield from _found(arm, [row for row in rows if row["arm"] == arm])
    yield from _margins(matrices)


def _complete(rows: Sequence[Line], arm: str) -> tuple[list[str], list[str]]:
    """(skills, seeds with a mask of every skill) of an arm."""
    by_seed = grouped([row for row in rows if row["arm"] == arm], lambda row: str(row["seed"]))
    skills = list(dict.fromkeys(str(row["mask"]) for found in by_seed.values() for row in found))
    return skills, [seed for seed, found in by_seed.items() if {row["mask"] for row in found} == set(skills)]


def _of_arm(arm: str, right: Matrix, nats: Matrix) -> Iterator[Reading]:
    """`own`, `other`, `contrast`, `contrast_nats`, and the contrast of each `seed`."""
    n = right.cells.traces
    for name, values in (("own", right.own()), ("other", right.other()), ("contrast", right.contrast())):
        yield reading("modularity", name, right.cells.interval(values), n, arm=arm, seeds=len(right.seeds))
    # In nats what is taken from a skill is a loss that rises, so own comes first.
    yield reading("modularity", "contrast_nats", nats.cells.interval(-nats.contrast()), n, arm=arm)
    for seed in right.seeds:
        value = float(right.contrast([seed])[0])
        yield reading("modularity", "seed", (value, None, None), n, arm=arm, seed=int(seed))


def _cells(right: Matrix, nats: Matrix, held: Mapping[str, int]) -> Iterator[Reading]:
    """`ablation` (share right) and `nats` (loss) by arm, mask and subtask; n is held-out decisions."""
    for mask in right.skills:
        for skill in right.skills:
            by = {"arm": right.arm, "mask": mask, "subtask": skill}
            for name, matrix in (("ablation", right), ("nats", nats)):
                yield reading("modularity", name, matrix.cells.interval(matrix.cell(mask, skill)), held[skill], **by)


def _found(arm: str, rows: Sequence[Line]) -> Iterator[Reading]:
    """`kept`: share of weights in a mask; `alone`: right under the mask alone, which proves nothing."""
    shares = [float(row["share"]) for row in rows]
    yield reading("modularity", "kept", (sum(shares) / len(shares), min(shares), max(shares)), len(shares), arm=arm)
    alone = {(str(row["seed"]), row["mask"]): row["alone"] for row in rows if "alone" in row}
    if alone:
        table = cells(alone, RIGHT)
        yield reading("modularity", "alone", table.interval(table.mean(list(alone))), table.traces, arm=arm)


def _margins(matrices: Mapping[str, Sequence[Matrix]]) -> Iterator[Reading]:
    """`margin` by control: the trained contrast minus the control's, on the same traces; `margin_nats`; `shown`.

    Shown is modularity where the contrast's and both margins' intervals lie above 0, in share right and in nats (a
    network that was never trained has nothing right to lose, but loss to gain), and every seed of the trained arm
    above every seed of both controls.
    """
    if "trained" not in matrices:
        return
    right, nats = matrices["trained"]
    needed = [right.cells.interval(right.contrast())]
    least = min(float(right.contrast([seed])[0]) for seed in right.seeds)
    most = [
        float(matrices[c][0].contrast([seed])[0]) for c in CONTROLS if c in matrices for seed in matrices[c][0].seeds
    ]
    for control in CONTROLS:
        if control in matrices:
            other, loss = matrices[control]
            margins = {
                "margin": right.cells.interval(right.contrast() - other.contrast()),
                "margin_nats": nats.cells.interval(loss.contrast() - nats.contrast()),
            }
            needed += margins.values()
            for name, figure in margins.items():
                yield reading("modularity", name, figure, right.cells.traces, control=control)
    clear = all(low is not None and low > 0 for _, low, _ in needed) and all(least > value for value in most)
    whole = all(control in matrices for control in CONTROLS)
    yield reading("modularity", "shown", (float(clear and whole), None, None), right.cells.traces)


def _pushed(rows: Sequence[Line]) -> Iterator[Reading]:
    """`entanglement` by arm, level and `coherent` by arm."""
    for arm, found in grouped(rows, lambda row: str(row["arm"])).items():
        for index, level in enumerate(found[0]["levels"]):
            met = [row["levels"][index]["moved"] for row in found if row["levels"][index]["met"]]
            spread = [participation(list(moved.values())) for moved in met]
            if spread:
                figure = stats.bootstrap(spread, lambda group: sum(group) / len(group))
                skills = len(met[0])
                yield reading(
                    "modularity", "entanglement", figure, len(spread), arm=arm, level=level["level"], floor=1 / skills
                )
        there = [row for row in found if row["levels"][-1]["met"]]
        changed = [(trace, bool(call)) for row in there for trace, is_new, call in row["replies"] if is_new]
        if changed:
            figure = stats.clustered_share([call for _, call in changed], [str(trace) for trace, _ in changed])
            yield reading("modularity", "coherent", figure, len(changed), arm=arm)


def participation(moved: Sequence[float]) -> float:
    """(sum D)^2 / (K sum D^2): 1/K where one skill alone moves, 1 where all move alike."""
    squares = sum(d * d for d in moved)
    return sum(moved) ** 2 / (len(moved) * squares) if squares > 0 else 1.0


def _fracture(rows: Sequence[Line]) -> Iterator[Reading]:
    """`fracture` by arm, and its floor `fracture_within`: the same between two halves of one context."""
    for arm, found in grouped(rows, lambda row: str(row["arm"])).items():
        for name, key in (("fracture", "between"), ("fracture_within", "within")):
            value = 1 - sum(float(row[key]) for row in found) / len(found)
            yield reading("modularity", name, (value, None, None), len(found), arm=arm)


def _edits(rows: Sequence[Line]) -> Iterator[Reading]:
    """`transfer` by arm: log-odds that edits take in the other context, over those in their own, both held out."""
    for arm, found in grouped(rows, lambda row: str(row["arm"])).items():
        table: dict[tuple[str, ...], list[list[Any]]] = {}
        for row in found:
            for trace, fitted, side, effect in row["effects"]:
                table.setdefault((row["skill"], str(fitted), side), []).append([trace, effect])
        large = {name for name, effects in table.items() if len(effects) >= FEWEST_HELD}
        both = [name[:2] for name in sorted(large) if name[2] == "own" and (*name[:2], "other") in large]
        if both:
            made = cells(table, 1)
            yield reading("modularity", "transfer", _ratio(made, both), made.traces, arm=arm, edits=len(both))


def _ratio(table: Cells, edits: Sequence[tuple[str, ...]]) -> Interval:
    import numpy as np

    own, other = (np.stack([table.column((*edit, side)) for edit in edits]) for side in ("own", "other"))
    gone = np.isnan(own) | np.isnan(other)  # a draw without any trace of one context of a skill
    below, above = (np.where(gone, 0.0, found).sum(axis=0) for found in (own, other))
    enough = below >= FEWEST_EFFECT * np.maximum(1, (~gone).sum(axis=0))
    if not enough[0]:
        return None, None, None
    return table.interval(np.where(enough, above / np.where(enough, below, 1.0), np.nan))
