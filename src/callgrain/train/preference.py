"""Preference training: a right turn against a wrong one, by any of eight losses.

The prompt is computed once for both turns, only their tokens meet the output head, and the reference
is asked while training or once beforehand. The log-prob of the chosen turn is watched: a training in
which it falls is ended.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.store import Run
from callgrain.models._load import Loaded, load
from callgrain.train._loop import (
    Feed,
    autocasts,
    fit,
    needs_training,
)
from callgrain.train._losses import LOSSES, Knobs, Loss, Pairs
from callgrain.train._meters import Probe, StopRule, step_meters
from callgrain.train._pairs import EncodedPairs, PairBatch, as_pairs, collate_pairs, encode_pairs, sums_of
from callgrain.train._recipe import TrainRecipe
from callgrain.train._reference import Choice, Reference, how, online, precomputed

if TYPE_CHECKING:
    import torch

_OWN = -1.0
"""A setting that is left to the loss."""


class PreferenceRecipe(TrainRecipe):
    """Settings of a preference training."""

    method: str = Field(default="preference", description="sft, preference, grpo, curriculum; see callgrain ls methods")
    learning_rate: float = Field(default=5e-6, gt=0, description="peak learning rate of AdamW")
    pairs: str = Field(default="", description="run folder of `callgrain pairs`")
    loss: str = Field(default="dpo", description=f"one of {', '.join(LOSSES)}")
    beta: float = Field(
        default=_OWN, ge=_OWN, description="how sharply a pair is judged (-1: as the loss is published)"
    )
    label_smoothing: float = Field(
        default=_OWN, ge=_OWN, lt=0.5, description="share of labels taken to be the wrong way round, in cdpo (-1: .2)"
    )
    margin: float = Field(default=_OWN, ge=_OWN, description="margin of mean log-probs that simpo asks for (-1: .3)")
    nll_weight: float = Field(
        default=_OWN, ge=_OWN, description="weight of the likelihood of the chosen turn, in dpo_nll and span (-1: 1)"
    )
    desirable: float = Field(default=1.0, ge=0, description="weight of chosen turns in kto")
    undesirable: float = Field(default=1.0, ge=0, description="weight of rejected turns in kto")
    reference: Choice = Field(
        default="auto", description="online: asked at each step; precomputed: once, before; auto: the cheaper"
    )
    probe_steps: int = Field(
        default=25, ge=0, description="steps between probes of entropy, KL and gradient entanglement (0: none)"
    )
    stop_drop: float = Field(
        default=0.5, ge=0, description="end when log p(chosen) falls below its start by so many nats a token (0: never)"
    )

    def knobs(self, loss: Loss) -> Knobs:
        """The loss's settings: its own, but for those that are given here."""
        given = {
            name: value
            for name in ("beta", "label_smoothing", "margin", "nll_weight")
            if (value := float(getattr(self, name))) != _OWN
        }
        if (wrong := next((name for name, value in given.items() if value < 0), None)) is not None:
            raise BadInput(f"{wrong}: {given[wrong]:g} is negative", "give 0 or more, or -1 for the loss's own")
        return replace(loss.usual, desirable=self.desirable, undesirable=self.undesirable, **given)


@dataclass(frozen=True)
class Preferring:
    """The objective: the mean loss of a batch's pairs, with their meters."""

    loss_of: Loss
    knobs: Knobs
    reference: Reference | None
    probe: Probe | None
    probe_steps: int
    rule: StopRule

    def loss(self, model: Any, batch: PairBatch, step: int) -> tuple[torch.Tensor, dict[str, Any]]:
        """The loss of a step, and its meters; the probe is looked at first, while nothing else is kept."""
        from callgrain.models._forest import target_logprobs

        probed: dict[str, float] = {}
        if self.probe is not None and step % self.probe_steps == 0:
            probed = self.probe.read(model, self.each)
        reference = None if self.reference is None else self.reference.sums(model, batch)
        pairs = as_pairs(sums_of(target_logprobs(model, batch.forest), batch), batch, reference)
        meters = step_meters(pairs)
        if self.rule.drop:
            self.rule.see(step, float(meters["drop"]))
        return self.each(pairs).mean(), {**meters, **probed}

    def each(self, pairs: Pairs) -> torch.Tensor:
        """(B,) losses."""
        return self.loss_of.of(pairs, self.knobs)

    def stop(self) -> str | None:
        """Why the training should end: the chosen turns have become too unlikely."""
        return self.rule.reason


class Preference:
    """Every weight or an adapter, by pairs of turns."""

    settings = PreferenceRecipe

    def inputs(self, recipe: TrainRecipe) -> dict[str, str]:
        """The pairs, by their run's name."""
        return {"pairs": pairs_of(_own(recipe)).folder.name}

    def train(self, recipe: TrainRecipe, run: Run, tell: Tell = silent) -> Path:
        """Train on the pairs of `recipe.pairs`; `model/` in the run folder is an ordinary transformers model.

        Goes on from the last whole checkpoint. `meters.jsonl` has, beside the loss, what
        `_meters.step_meters` and `Probe.read` give. Raises CallgrainError where model or pairs are not
        there, UnknownName for a loss that there is not.
        """
        needs_training()
        asked = _own(recipe)
        if asked.loss not in LOSSES:
            raise UnknownName("loss", asked.loss, LOSSES)
        loss = LOSSES[asked.loss]
        knobs = asked.knobs(loss)
        if asked.threads:
            import torch

            torch.set_num_threads(asked.threads)
        tell("opening the model", 0, 0)
        loaded = load(asked.model, asked.dialect, dtype="float32")
        tell("reading pairs", 0, 0)
        rows = pairs_of(asked).rows("pairs")
        found = encode_pairs(rows, loaded, asked.max_length, mismatched=asked.loss == "kto")
        objective = _objective(asked, loaded, found, (loss, knobs), run, tell)
        feed = Feed(
            items=found.kept,
            lengths=[len(item.ids) for item in found.kept],
            target_lengths=[sum(item.sizes[1:3]) for item in found.kept],
            collate=collate_pairs,
        )
        counts = {"pairs": len(found.kept), "too_long": found.too_long, "alike": found.alike}
        extra = {"loss_name": asked.loss, "knobs": asdict(knobs), **counts}
        try:
            return fit(loaded, feed, objective, asked, run, tell, extra)
        finally:
            objective.rule.close()


def pairs_of(recipe: PreferenceRecipe) -> Run:
    """The run whose pairs are trained on. Raises BadInput where none is named."""
    if not recipe.pairs:
        raise BadInput("there are no pairs to train on", "give --pairs the folder of a `callgrain pairs` run")
    return Run.find(Path(recipe.pairs))


def _own(recipe: TrainRecipe) -> PreferenceRecipe:
    return recipe if isinstance(recipe, PreferenceRecipe) else PreferenceRecipe.resolve(recipe.model_dump())


def _objective(
    recipe: PreferenceRecipe, loaded: Loaded, found: EncodedPairs, loss: tuple[Loss, Knobs], run: Run, tell: Tell
) -> Preferring:
    """What is minimised, with all that the model has to say before it is trained."""
    model, kept, adapter = loaded.model, found.kept, recipe.adapter != "none"
    reference: Reference | None = None
    with _spoken_as_trained(recipe, model):
        if loss[0].needs_reference or recipe.stop_drop:
            if how(recipe.reference, adapter=adapter, epochs=recipe.epochs) == "online":
                reference = online(model, adapter=adapter)
            else:
                reference = precomputed(model, kept, recipe.batch_tokens, run, tell)
        probe = Probe(model, kept) if recipe.probe_steps else None
    return Preferring(*loss, reference, probe, recipe.probe_steps, StopRule(recipe.stop_drop, run))


@contextmanager
def _spoken_as_trained(recipe: PreferenceRecipe, model: Any) -> Generator[None]:
    """In the precision that the loop trains in."""
    import torch

    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=autocasts(recipe, device)):
        yield


plugin = Preference
