"""Remedies that change the weights: rows, negatives, order, adapter.

What training can gain is bounded by what is lost: by the points that all oracles of the ladder win back together,
or, where no ladder was run, by everything that is wrong. The bound says nothing of how much of it rows will mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from callgrain.core.types import Reading
from callgrain.corpus._gain import HARD, Findings, Gain, Passed, Remedy, interval, shown
from callgrain.models._box import BOXED, folder_of
from callgrain.verify.faults import TABLE

COMMON = 0.05
"""Rate of a decision or form fault from which on negatives are made of it; the interval must clear it."""
CUT = "truncated"
"""What a limit on the reply's length does as well: no wrong turn to learn from."""
LARGE = 2 * 10**9
"""Bytes of weights from which on an adapter is prescribed: training all of them takes eight times as much memory."""


def can_train(model: str) -> bool:
    """Whether the weights behind a MODEL spec can be trained here."""
    return model == BOXED or model.startswith(("local:", "experts:"))


def mixture(
    found: Findings, shares: Mapping[str, float], treated: Sequence[str], good_enough: float
) -> Remedy | Passed:
    """Rows by sub-task, where one at least is shown to be weak."""
    weak = [s for s in treated if (high := found.scores[s].high) is not None and high < good_enough]
    rows = tuple(found.scores[s] for s in treated)
    if not weak:
        listed = "; ".join(f"{s} {shown(found.scores[s])}" for s in treated)
        return Passed("mixture", f"no sub-task is shown to lie below {good_enough:.0%}: {listed}", rows)
    lost = [r for r in found.all("ladder", "lost") if r.by.get("subtask") in treated and set(r.by) == {"subtask"}]
    gain = (
        found.over_subtasks(lost, "ladder: what all its oracles together win back on these", HARD, is_bound=True)
        if lost
        else _all_wrong(found, rows)
    )
    reason = "; ".join(f"{s} is right in {shown(found.scores[s])}" for s in weak)
    how = "callgrain train RUN/recipe.toml, RUN being the folder of this prescription"
    setting = {name: round(share, 4) for name, share in shares.items()}
    return Remedy("mixture", setting, reason, how, (*rows, *lost), gain, is_training=True)


def _all_wrong(found: Findings, rows: Sequence[Reading]) -> Gain | None:
    """Everything that the sub-tasks get wrong."""
    wrong = [
        row.model_copy(update={"value": 1 - row.value, "low": 1 - row.high, "high": 1 - row.low})
        for row in rows
        if row.value is not None and row.low is not None and row.high is not None
    ]
    return found.over_subtasks(wrong, "all that it gets wrong there (no ladder was run)", is_bound=True)


def negatives(found: Findings, n: int) -> Remedy | Passed:
    """Pairs whose wrong halves are the form and decision faults that the model makes."""
    rates = [r for r in found.readings if r.probe == "fault" and not r.by and r.name in TABLE and r.name != CUT]
    common = [r for r in rates if TABLE[r.name].level in ("decision", "form") and r.low is not None and r.low > COMMON]
    if not common:
        return Passed("negatives", f"no form or decision fault is shown to be made in more than {COMMON:.0%}", ())
    common.sort(key=lambda r: -(r.value or 0.0))
    faults = ",".join(f"{r.name}={r.value:.3g}" for r in common)
    parts = [_points_of(found, r) for r in found.readings if r.probe == "fault" and r.name in {c.name for c in common}]
    gain = found.over_subtasks([p for p in parts if p], "faults: as often as they are made", is_bound=True)
    reason = "right examples alone rarely mend these: " + "; ".join(f"{r.name} in {shown(r)}" for r in common)
    how = (
        f"callgrain pairs {found.source} --faults {faults} --like {found.folder} --n {n}, "
        "then callgrain train --method preference --pairs runs/pairs/... --loss dpo_nll after the rows above"
    )
    return Remedy("negatives", {"faults": faults, "loss": "dpo_nll"}, reason, how, (*common,), gain, is_training=True)


def _points_of(found: Findings, row: Reading) -> Reading | None:
    """The rate of a fault on a sub-task, as a share of all that the sub-task was asked."""
    score = found.scores.get(str(row.by.get("subtask", "")))
    if score is None or not score.n:
        return None
    part = row.n / score.n
    scaled = {k: None if v is None else v * part for k, v in zip(("value", "low", "high"), interval(row), strict=True)}
    return row.model_copy(update=scaled)


def order(found: Findings, treated: Sequence[str]) -> Remedy | Passed:
    """In which order: only a measured transfer can say, and a diagnosis measures none."""
    if len(treated) < 2:
        return Passed("order", "one sub-task has no order")
    names = ",".join(treated)
    how = f"callgrain train --method curriculum --subtasks {names} --arms proposed,joint,reverse measures it"
    return Passed("order", f"a diagnosis does not show what order does; rows are mixed ({how})")


def adapter(found: Findings, treated: Sequence[str]) -> Remedy | Passed:
    """A LoRA where all weights would be too much; its reason is memory, not a gain."""
    folder = folder_of(found.model if found.model == BOXED else found.model.partition(":")[2])
    size = sum(p.stat().st_size for p in Path(folder).glob("*.safetensors")) if folder.is_dir() else 0
    if size < LARGE:
        known = f"{size / 1e6:,.0f} MB of weights are trained whole" if size else "the size of the model is not known"
        return Passed("adapter", f"{known}; an adapter (lora, svf) is for larger ones")
    reason = (
        f"{size / 1e9:.1f} GB of weights and {len(treated)} weak sub-tasks: a low-rank change is enough to try first"
    )
    setting = {"adapter": "lora", "rank": 8}
    return Remedy("adapter", setting, reason, "callgrain train RECIPE --adapter lora --rank 8", is_training=True)
