"""What a remedy is expected to gain: the readings behind it, in points, with an interval and its origin.

A gain that stands for an oracle, or for everything that is wrong, is a bound and is called one. Gains of several
remedies do not add up, and each speaks of its own requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from callgrain.core.significance import widened
from callgrain.core.stats import combined, interval_text
from callgrain.core.store import Run
from callgrain.core.types import Reading

EVERYWHERE = "the mean over sub-tasks"
HARD = "requests as the ladder asks them (whole catalogue, full schemas, after a call that failed)"


@dataclass(frozen=True)
class Gain:
    """An expected gain as a share, with its limits: of what, read where, and whether it is no more than a bound."""

    value: float
    low: float
    high: float
    origin: str
    of: str = EVERYWHERE
    is_bound: bool = False

    def __str__(self) -> str:
        size = f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}] points of {self.of}"
        return f"at most {size}" if self.is_bound else size

    def as_json(self) -> dict[str, Any]:
        """The gain as `prescription.json` has it."""
        figures = {"value": self.value, "low": self.low, "high": self.high, "points": str(self)}
        return {**figures, "of": self.of, "at_most": self.is_bound, "from": self.origin}


@dataclass(frozen=True)
class Findings:
    """What a diagnosis read, how it asked, and from which gain on a remedy is worth naming."""

    readings: tuple[Reading, ...]
    settings: Mapping[str, Any]
    folder: Path
    can_constrain: bool
    worth: float

    @classmethod
    def of(cls, run: Run, worth: float) -> Findings:
        """Those of a finished run."""
        rows = tuple(Reading.model_validate(row) for row in run.rows("readings"))
        able = run.read("pool").get("can_constrain", False) if (run.folder / "pool.json").exists() else False
        return cls(rows, run.read("recipe"), run.folder, bool(able), worth)

    @cached_property
    def scores(self) -> dict[str, Reading]:
        """Share right by sub-task."""
        found = self.all("subtask", "ok")
        return {str(r.by["subtask"]): r for r in found if set(r.by) == {"subtask"}}

    @property
    def model(self) -> str:
        """MODEL as it was named."""
        return str(self.settings.get("model", ""))

    @property
    def source(self) -> str:
        """SOURCE as it was named."""
        return str(self.settings.get("source", ""))

    def all(self, probe: str, name: str, **by: object) -> list[Reading]:
        """Readings of that name whose slice holds all of `by`."""
        return [
            r
            for r in self.readings
            if (r.probe, r.name) == (probe, name) and all(r.by.get(key) == value for key, value in by.items())
        ]

    def ran(self, probe: str) -> bool:
        """Whether a probe read anything."""
        return any(r.probe == probe for r in self.readings)

    def rung(self, rung: str, origin: str, *, is_bound: bool = False) -> tuple[Gain | None, tuple[Reading, ...]]:
        """What one oracle of the ladder gives alone, over all sub-tasks, and the readings behind it."""
        rows = self.all("ladder", "alone", rung=rung)
        total = [r for r in rows if r.by["subtask"] == "all"]
        if total:
            return gain_of([(1, interval(total[0]))], origin, HARD, is_bound=is_bound), (*rows,)
        return self.over_subtasks(rows, origin, HARD, is_bound=is_bound), (*rows,)

    def over_subtasks(
        self, rows: Sequence[Reading], origin: str, of: str = EVERYWHERE, *, is_bound: bool = False
    ) -> Gain | None:
        """The mean over all sub-tasks of gains by sub-task; one without a row counts as none gained."""
        k = max(1, len(self.scores))
        terms = [(1 / k, interval(row)) for row in rows if row.by.get("subtask") in self.scores]
        return gain_of(terms, origin, of, is_bound=is_bound)


def interval(row: Reading) -> tuple[float | None, float | None, float | None]:
    """(value, low, high)."""
    return row.value, row.low, row.high


def gain_of(
    terms: Sequence[tuple[float, tuple[float | None, float | None, float | None]]],
    origin: str,
    of: str = EVERYWHERE,
    *,
    is_bound: bool = False,
    looks: int = 1,
) -> Gain | None:
    """A weighed sum of figures as a gain, widened for `looks` of which it is the best; None without an interval."""
    value, low, high = combined(terms)
    if value is None or low is None or high is None:
        return None
    return Gain(*widened((value, low, high), looks), origin, of, is_bound)


def shown(row: Reading) -> str:
    """A share with its interval and n, in words."""
    return f"{interval_text(*interval(row))}, n {row.n}"


def points(row: Reading) -> str:
    """A difference of shares in points with its interval, in words."""
    if row.value is None or row.low is None or row.high is None:
        return "no interval"
    return f"{100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}] points, n {row.n}"


@dataclass(frozen=True)
class Remedy:
    """One thing to do: a kind, its setting, the readings behind it, what it should gain, and the command."""

    kind: str
    setting: Mapping[str, Any]
    reason: str
    how: str
    because: tuple[Reading, ...] = ()
    gain: Gain | None = None
    is_training: bool = False
    is_ours: bool = True
    """Whether callgrain applies it by itself; else it is a setting for whatever runs the model."""

    @property
    def said(self) -> str:
        """The setting on one line."""
        return ", ".join(f"{key} {value}" for key, value in self.setting.items())

    def as_json(self) -> dict[str, Any]:
        """The remedy as `prescription.json` has it."""
        return {
            "kind": self.kind,
            "setting": dict(self.setting),
            "because": [row.model_dump(mode="json") for row in self.because],
            "reason": self.reason,
            "gain": self.gain.as_json() if self.gain else None,
            "how": self.how,
            "applied_by": "callgrain" if self.is_ours else "your client",
        }


@dataclass(frozen=True)
class Passed:
    """What was looked at and is not prescribed, and why."""

    kind: str
    reason: str
    because: tuple[Reading, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The entry as `prescription.json` has it."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "because": [row.model_dump(mode="json") for row in self.because],
        }
