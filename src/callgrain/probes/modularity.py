"""Modularity: are sub-skills in weights of their own, beyond controls?

A mask is searched for each sub-skill, its weights are taken away, and what is left is asked about every skill: the
contrast is how much better other skills do than the mask's own (Lepori et al., arXiv 2301.10884, sections 3 and 4).
A mask can be found for nearly any task in nearly any network, so two controls stand beside it: a network of the same
architecture that was never trained, masks searched in the same way; and random masks with as many weights of each
layer. Beside that the probe pushes weights at matched output KL and asks what moves together (after arXiv 2505.11581,
section 2): entanglement, fracture, edit transfer, and whether changed calls are calls still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from callgrain.core.errors import BrokenModel
from callgrain.core.progress import Tell
from callgrain.core.protocols import Tier
from callgrain.core.types import Prompt, Reading, Sample
from callgrain.models._load import Loaded
from callgrain.models._mask_search import Search, redrawn, weights_of
from callgrain.probes._modularity_masks import Bench, Skill, mask_rows
from callgrain.probes._modularity_motion import Motion, motion_rows, stands
from callgrain.probes._modularity_read import read
from callgrain.probes._modularity_skills import decisions, halves
from callgrain.probes._pool import Pool, Row

FEWEST = 6
"""Decisions of a skill on either side below which nothing is searched for it."""
MOST_WEIGHTS = {"cpu": 20_000_000}
"""Weights of linear layers beyond which a device is not asked: hours on a processor."""
MOST_ELSEWHERE = 2_000_000_000


@dataclass(frozen=True)
class Modularity:
    """Masks, controls and pushes; asks no prompts of its own, and looks into the weights instead.

    `most` decisions a skill of at most `longest` tokens, half of the traces searched on and half held out; `seeds`
    masks for each skill and arm; `prompts` replies for each of `motion`'s directions.
    """

    search: Search = field(default_factory=Search)
    motion: Motion = field(default_factory=Motion)
    seeds: int = 3
    most: int = 60
    longest: int = 640
    held: int = 20
    prompts: int = 8

    needs: Tier = "weights"

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]:
        """Nothing: the pool's own samples are what is decided on."""
        del pool, rng
        return iter(())

    def read(self, graded: Sequence[Any]) -> list[Reading]:
        """Nothing: every reading comes from `conclude`."""
        del graded
        return []

    def examine(
        self, model: Any, pool: Sequence[Sample], known: Sequence[Mapping[str, Any]], tell: Tell
    ) -> Iterator[dict[str, Any]]:
        """Rows of masks (`whole/`, `mask/`) and pushes (`push/`, `fracture/`, `edit/`) that are not known yet."""
        loaded = getattr(model, "loaded", None)
        if not isinstance(loaded, Loaded) or not isinstance(pool, Pool):
            return
        made = {str(row["key"]): row for row in known}
        reason = _obstacle(loaded.model)
        skills = [] if reason else self.skills(pool.rows, loaded)
        if not reason and len(skills) < 2:
            reason = "the pool shows fewer than two skills often enough"
        if reason:
            yield from () if "skipped" in made else [{"key": "skipped", "kind": "skipped", "reason": reason}]
            return
        device = next(loaded.model.parameters()).device
        bench = Bench(loaded.model, skills, self.search, device)
        total = self.seeds * len(skills) * 3
        for count, row in enumerate(mask_rows(bench, self.seeds, made), len(made) + 1):
            tell("masks", min(count, total), total)
            yield row
        for stand in stands(loaded, redrawn(loaded.model, 1), skills, self.spoken(pool.rows), self.motion):
            for row in motion_rows(stand, made):
                tell(f"pushing weights ({stand.arm})", 0, 0)
                yield row

    def conclude(self, rows: Sequence[Mapping[str, Any]]) -> list[Reading]:
        """Readings `modularity/...`: see `probes/_modularity_read.py`."""
        return read(rows)

    def skills(self, rows: Sequence[Row], loaded: Loaded) -> list[Skill]:
        """The skills that the pool shows often enough on either side."""
        found: list[Skill] = []
        for name, items in decisions(rows, loaded, self.most, self.longest).items():
            searched, held = halves(items)
            if min(len(searched), len(held)) >= FEWEST:
                found.append(Skill(name, tuple(searched), tuple(held[: self.held])))
        return found

    def spoken(self, rows: Sequence[Row]) -> list[tuple[str, Prompt]]:
        """Prompts whose right answer is calls with their arguments."""
        calls = [(t, s.prompt) for t, s in rows if s.subtask in ("slots", "nest", "full") and s.answer.message.calls]
        every = max(1, len(calls) // max(1, self.prompts))
        return calls[::every][: self.prompts]


def _obstacle(net: Any) -> str:
    """Why nothing is searched in this network; empty where there is no reason."""
    try:
        weights = weights_of(net)
    except BrokenModel as error:
        return error.what
    total = sum(weight.numel() for weight in weights.values())
    kind = next(net.parameters()).device.type
    if not weights:
        return "the weights are quantised"
    if total > MOST_WEIGHTS.get(kind, MOST_ELSEWHERE):
        return f"{total:,} weights are too many for this device ({kind})"
    return ""


plugin = Modularity
