"""One step of group-relative learning: replies are drawn, paid, and weighed on one shared row.

A group's prompt is computed once and every reply hangs on it as a branch; all groups of a step stand
side by side in the same row. Replies of a group that was paid alike move nothing and are not computed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from callgrain.core.errors import CallgrainError
from callgrain.core.progress import Tell, silent
from callgrain.core.store import Run
from callgrain.core.types import Sample
from callgrain.models._adapters import without
from callgrain.models._forest import Document, Forest, plant, target_logits, target_logprobs
from callgrain.models._isolation import bare_model
from callgrain.train._advantages import SHAPES, Totals, averaged, clipped, divergence, group_advantages
from callgrain.train._checkpoints import found
from callgrain.train._monitor import Monitor
from callgrain.train._rollouts import Drawn, Group, Rollouts, components

if TYPE_CHECKING:
    import torch

    from callgrain.models._load import Loaded
    from callgrain.train.grpo import GrpoRecipe


@dataclass
class Held:
    """What was drawn at `step` and is weighed until the next draw: rows, advantages, and log-probs as they were.

    `free` says of each token whether the model chose it; one that a grammar forced is not weighed. `old`
    are the log-probs of the policy that drew, `reference` those of the model before training: (N,) over
    the tokens of `documents`, None until they are known, or where they are not needed.
    """

    step: int
    documents: list[Document]
    advantages: list[float]
    free: list[bool]
    totals: Totals
    meters: dict[str, float]
    old: torch.Tensor | None = None
    reference: torch.Tensor | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, exactly: a float32 goes through JSON unchanged."""
        rows = [{"prompt": d.prompt, "branches": d.branches} for d in self.documents]
        kept = {name: None if t is None else t.tolist() for name, t in (("old", self.old), ("ref", self.reference))}
        return {"step": self.step, "documents": rows, "advantages": self.advantages,
            "free": self.free, "totals": asdict(self.totals),
                "meters": self.meters, **kept}  # fmt: skip

    @classmethod
    def from_json(cls, row: dict[str, Any], device: Any) -> Held:
        """The same from `as_json`."""
        import torch

        documents = [Document(tuple(r["prompt"]), tuple(map(tuple, r["branches"]))) for r in row["documents"]]
        old, reference = (None if row[n] is None else torch.tensor(row[n], device=device) for n in ("old", "ref"))
        totals = Totals(**row["totals"])
        return cls(row["step"], documents, row["advantages"], row["free"], totals, row["meters"], old, reference)


class GroupObjective:
    """The loss of a step: draws its groups, then weighs every reply by its advantage.

    With `epochs_per_batch` above 1 the same replies serve for so many steps; `held-<step>.json` keeps them,
    so that a run that is cut off in between goes on with them.
    """

    def __init__(self, loaded: Loaded, recipe: GrpoRecipe, run: Run, monitor: Monitor | None = None) -> None:
        self.rollouts = Rollouts(loaded, recipe.drawing, recipe.reward)
        self._recipe = recipe
        self._run = run
        self._monitor = monitor
        self._shape = SHAPES[recipe.loss_type]
        self._held: Held | None = None
        self._journal = run.journal("rollouts")
        self._base: Any = None
        if recipe.kl and recipe.adapter == "none":  # an adapter is switched off instead, at no memory
            self._base = copy.deepcopy(loaded.model).eval().requires_grad_(False)

    def loss(self, model: Any, batch: Sequence[Sample], step: int) -> tuple[torch.Tensor, dict[str, float]]:
        """The step's loss and its meters; `batch` are the prompts to draw for. Raises CallgrainError."""
        recipe = self._recipe
        turn = step % recipe.epochs_per_batch
        device = next(iter(model.parameters())).device
        if turn == 0:
            if recipe.monitor_steps and step % recipe.monitor_steps < recipe.epochs_per_batch:
                self.look(step)
            self._held = self._draw(batch, step)
        elif self._held is None or self._held.step != step - turn:
            self._held = Held.from_json(self._run.read(f"held-{step - turn}"), device)
        held = self._held
        if not held.documents:  # nobody was better than anybody: a step without a gradient
            return next(p for p in model.parameters() if p.requires_grad).sum() * 0.0, dict(held.meters)
        forest = plant(held.documents, device)
        logprobs = self._logprobs(model, forest)
        if held.old is None:
            held.old = logprobs.detach()
            held.reference = self._of_base(model, forest) if recipe.kl else None
            if recipe.epochs_per_batch > 1:
                self._keep(held)
        return self._weighed(held, logprobs, forest)

    def look(self, step: int, tell: Tell = silent) -> None:
        """Let the monitor look at the model as it stands, where there is a monitor."""
        if self._monitor is not None:
            self._monitor.look(step, tell)

    def close(self) -> None:
        """End the journal of rollouts."""
        self._journal.close()

    def _draw(self, samples: Sequence[Sample], step: int) -> Held:
        recipe = self._recipe
        began = monotonic()
        groups = self.rollouts.draw(samples, step)
        seconds = monotonic() - began
        if failures := _failures(groups):
            raise CallgrainError(
                f"not one reply could be drawn: {failures[0]}", "lower --max-tokens or --prompts-per-step"
            )
        self._journal.append(
            _told(one, f"{step}.{at}.{number}", step)
            for at, group in enumerate(groups)
            for number, one in enumerate(group.drawn)
        )
        documents: list[Document] = []
        advantages: list[float] = []
        free: list[bool] = []
        for group in groups:
            each = group_advantages(group.rewards, scaled=self._shape.scaled, baseline=recipe.baseline)
            mine = [a for a, one in zip(each, group.drawn, strict=True) if one.reward is not None]
            if any(mine) or (mine and recipe.kl):
                documents.append(group.document)
                advantages += mine
                free += [chosen for one in group.drawn if one.reward is not None for chosen in one.free]
        paid = [one for group in groups for one in group.drawn if one.reward is not None]
        totals = Totals(len(paid), sum(sum(one.free) for one in paid), recipe.max_tokens)
        return Held(step, documents, advantages, free, totals, {**components(groups), "draw_seconds": seconds})

    def _keep(self, held: Held) -> None:
        """Write down what was drawn; what no checkpoint can go on with any more is removed."""
        self._run.write(f"held-{held.step}", held.as_json())
        steps = [int(place.name.rpartition("-")[2]) for place in found(self._run.folder / "checkpoints")]
        needed = {held.step, *(step - step % self._recipe.epochs_per_batch for step in steps)}
        for path in self._run.folder.glob("held-*.json"):
            if int(path.stem.rpartition("-")[2]) not in needed:
                path.unlink()

    def _logprobs(self, model: Any, forest: Forest) -> torch.Tensor:
        """(N,) log-probs of the replies' tokens at the temperature at which they were drawn."""
        import torch

        if self._recipe.temperature == 1.0:
            return target_logprobs(model, forest)
        logits = target_logits(model, forest) / self._recipe.temperature
        return -torch.nn.functional.cross_entropy(logits, forest.targets, reduction="none")

    def _of_base(self, model: Any, forest: Forest) -> torch.Tensor:
        import torch

        with torch.no_grad():
            if self._base is not None:
                return self._logprobs(self._base, forest)
            with without(bare_model(model)):
                return self._logprobs(model, forest)

    def _weighed(self, held: Held, logprobs: torch.Tensor, forest: Forest) -> tuple[torch.Tensor, dict[str, float]]:
        import torch

        recipe = self._recipe
        old = logprobs.detach() if held.old is None else held.old
        free = torch.tensor(held.free, device=logprobs.device)
        branch = forest.branch[free]
        better = torch.tensor(held.advantages, dtype=logprobs.dtype, device=logprobs.device)[branch]
        losses, cut = clipped(logprobs[free], old[free], better, recipe.clip_low, recipe.ceiling)
        meters = {**held.meters, "clipped": float(cut.float().mean())}
        if held.reference is not None:
            gap = divergence(logprobs[free], old[free], held.reference[free])
            losses = losses + recipe.kl * gap
            meters["kl"] = float(gap.detach().mean())
        return averaged(losses, branch, held.totals, self._shape.over), meters


def _failures(groups: Sequence[Group]) -> list[str]:
    """Why there is no reply, where there is none at all."""
    said = [one.reply.failure for group in groups for one in group.drawn]
    return [text for text in said if text is not None] if all(text is not None for text in said) else []


def _told(one: Drawn, key: str, step: int) -> dict[str, Any]:
    """A line of `rollouts.jsonl`: enough to see what was paid for what."""
    return {
        "key": key,
        "step": step,
        "sample": one.sample.key,
        "subtask": one.sample.subtask,
        "text": one.reply.text[:2000],
        "reward": one.reward,
        "faults": [fault.kind for fault in one.verdict.faults],
        "state": one.verdict.state,
        "tokens": len(one.ids),
    }
