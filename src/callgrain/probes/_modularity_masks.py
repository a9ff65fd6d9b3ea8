"""What a mask holds, written down as rows: the skill under it alone, and every skill without it.

Three arms: the model as trained; the same architecture with weights that its own initialiser has drawn, in which
masks are searched in the same way; and the trained model without as many weights of each layer, drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callgrain.models._mask_search import (
    Decision,
    Mask,
    Row,
    Search,
    only,
    outcomes,
    random_mask,
    redrawn,
    rows_of,
    search,
    swapped,
    weights_of,
    without,
)

ARMS = ("trained", "random_init", "random_mask")


@dataclass(frozen=True)
class Skill:
    """What a mask is searched on, and what is held out: no trace is in both, of any skill."""

    name: str
    searched: tuple[Decision, ...]
    held: tuple[Decision, ...]


@dataclass(frozen=True)
class Bench:
    """One network, the skills, and how masks are searched."""

    net: Any
    skills: Sequence[Skill]
    search: Search
    device: Any

    def outcome(self, skill: Skill, rows: Mapping[str, list[Row]]) -> list[list[Any]]:
        """[trace, share of tokens right, nats] of each held-out decision, as the network stands."""
        found = outcomes(self.net, rows[skill.name])
        return [
            [one.trace, round(it.right / it.tokens, 6), round(it.nats, 5)]
            for one, it in zip(skill.held, found, strict=True)
        ]

    @property
    def rows(self) -> dict[str, list[Row]]:
        """The held-out decisions of each skill in rows."""
        return {skill.name: rows_of(skill.held, device=self.device) for skill in self.skills}

    def whole(self) -> dict[str, Any]:
        """Every skill with nothing taken away."""
        rows = self.rows
        return {skill.name: self.outcome(skill, rows) for skill in self.skills}

    def masked(self, own: Skill, mask: Mask, *, alone: bool) -> dict[str, Any]:
        """The skill under its mask alone (if wanted), and every skill without the mask's weights."""
        rows, weights = self.rows, weights_of(self.net)
        found: dict[str, Any] = {"counts": mask.counts, "share": round(mask.share, 6)}
        if alone:
            with swapped(self.net, only(weights, mask)):
                found["alone"] = self.outcome(own, rows)
        with swapped(self.net, without(weights, mask)):
            found["without"] = {skill.name: self.outcome(skill, rows) for skill in self.skills}
        return found


def mask_rows(bench: Bench, seeds: int, known: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows `whole/<arm>/<seed>` and `mask/<arm>/<seed>/<skill>` that are not known yet."""
    made = dict(known)
    for arm in ("trained", "random_init"):
        for seed in range(seeds):
            owed = [skill for skill in bench.skills if _key(arm, seed, skill) not in made]
            key = f"whole/{arm}/{seed}"
            is_new = key not in made and (arm == "random_init" or seed == 0)
            if not owed and not is_new:
                continue
            net = bench.net if arm == "trained" else redrawn(bench.net, 1 + seed)
            this = Bench(net, bench.skills, bench.search, bench.device)
            if is_new:
                yield {"key": key, "kind": "whole", "arm": arm, "seed": seed, "skills": this.whole()}
            for skill in owed:
                mask = search(net, skill.searched, bench.search, seed)
                row: dict[str, Any] = {
                    **_head(arm, seed, skill),
                    "first": round(mask.first, 5), "last": round(mask.last, 5),
                    **this.masked(skill, mask, alone=True),
                }  # fmt: skip
                made[row["key"]] = row
                yield row
    yield from _random_rows(bench, seeds, made)


def _random_rows(bench: Bench, seeds: int, made: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The trained model without as many weights of each layer as its masks have, drawn at random."""
    weights = weights_of(bench.net)
    for seed in range(seeds):
        for number, skill in enumerate(bench.skills):
            if _key("random_mask", seed, skill) not in made:
                counts: Mapping[str, int] = made[_key("trained", seed, skill)]["counts"]
                mask = random_mask(counts, weights, 1000 * (seed + 1) + number)
                yield {**_head("random_mask", seed, skill), **bench.masked(skill, mask, alone=False)}


def _key(arm: str, seed: int, skill: Skill) -> str:
    return f"mask/{arm}/{seed}/{skill.name}"


def _head(arm: str, seed: int, skill: Skill) -> dict[str, Any]:
    return {"key": _key(arm, seed, skill), "kind": "mask", "arm": arm, "seed": seed, "mask": skill.name}
