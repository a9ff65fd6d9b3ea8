"""Reinforcement from the verifier: groups of replies, paid as graded.

Each prompt is answered several times by the model as it stands; the replies are graded by their own
sub-task, and what pays above its group's mean is made likelier (GRPO and its kin, see `_advantages.py`).
A group is one row: its prompt is computed once and every reply hangs on it as a branch. Nothing is trained
before the reward has been held against those who do not try (`verify/policies.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from callgrain.core.errors import BadInput, CallgrainError
from callgrain.core.progress import Tell, silent
from callgrain.core.store import Run
from callgrain.core.types import Sample
from callgrain.models._load import Loaded, load
from callgrain.probes._graded import subtask_of
from callgrain.probes._tongues import Tongues
from callgrain.train._advantages import SHAPES
from callgrain.train._group_step import GroupObjective
from callgrain.train._loop import Feed, fit
from callgrain.train._monitor import Monitor
from callgrain.train._recipe import TrainRecipe
from callgrain.train._rollouts import (
    Drawing,
    Rollouts,
    chosen_subtasks,
    cut_samples,
    reward_of,
    served_ids,
    train_source,
)  # fmt: skip
from callgrain.train._trl import check_engine, train_with_trl
from callgrain.verify.policies import Row, suite

HACK_SAMPLES = 48
"""Samples on which the reward is held against degenerate policies before anything is trained."""


class GrpoRecipe(TrainRecipe):
    """Settings of reinforcement from the verifier."""

    method: str = Field(default="grpo", description="grpo")
    source: str = Field(
        default="toolworld:full", description="SOURCE of the prompts: toolworld[:micro] | jsonl:FILE ..."
    )
    split: str = Field(default="", description="split of the source; empty takes its train split")
    subtask: str = Field(default="all", description="sub-tasks, separated by commas, or all, in equal parts")
    n: int = Field(default=512, ge=1, description="prompts to draw replies to")
    group: int = Field(default=8, ge=2, description="replies to each prompt")
    prompts_per_step: int = Field(default=8, ge=1, description="prompts of a step")
    temperature: float = Field(default=1.0, gt=0, description="temperature at which replies are drawn and weighed")
    max_tokens: int = Field(default=128, ge=1, description="most tokens of a reply")
    constrain: bool = Field(default=False, description="draw only what the tools' schemas allow")
    reward: str = Field(
        default="binary", description="binary, graded, strict_json, execution_state; a published shape to compare with"
    )
    allow: str = Field(
        default="", description="degenerate policies that the reward may pay too well, separated by commas"
    )
    loss_type: Literal["grpo", "dr_grpo", "dapo"] = Field(
        default="grpo",
        description="grpo; dr_grpo: without its biases of length and spread; dapo: by token, clips higher",
    )
    baseline: Literal["group", "leave_one_out"] = Field(
        default="group", description="what a reply is held against: its group's mean, or the mean of the others"
    )
    clip_low: float = Field(default=0.2, gt=0, lt=1, description="how far the ratio may fall below 1")
    clip_high: float = Field(
        default=0.0, ge=0, description="how far it may rise above 1; 0: as published (0.2, dapo 0.28)"
    )
    kl: float = Field(default=0.0, ge=0, description="weight of the divergence from the model as it was (beta)")
    epochs_per_batch: int = Field(default=1, ge=1, description="updates on the same replies")
    engine: Literal["callgrain", "trl"] = Field(
        default="callgrain", description="callgrain; trl: the same prompts and reward on TRL's GRPOTrainer"
    )
    vllm: bool = Field(default=False, description="draw with vLLM (engine trl, where vLLM is installed)")
    monitor_steps: int = Field(default=25, ge=0, description="steps between looks at dialects and entropy; 0: none")
    monitor_prompts: int = Field(default=16, ge=1, description="held-out prompts that are looked at")
    monitor_draws: int = Field(default=8, ge=2, description="replies to each of them")
    learning_rate: float = Field(default=1e-5, gt=0, description="peak learning rate of AdamW")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay on matrices")

    @property
    def drawing(self) -> Drawing:
        """How groups are drawn."""
        return Drawing(self.group, self.temperature, self.max_tokens, self.constrain, self.seed)

    @property
    def ceiling(self) -> float:
        """How far above 1 the ratio may rise."""
        return self.clip_high or SHAPES[self.loss_type].clip_high


class Grpo:
    """Replies drawn in groups, graded by the verifier, and made likelier where they beat their group."""

    settings = GrpoRecipe

    def inputs(self, recipe: GrpoRecipe) -> dict[str, Any]:
        """The source, which must not be a benchmark. Raises BadInput, UnknownName."""
        _, split = train_source(recipe.source, recipe.split)
        chosen_subtasks(recipe.subtask)
        reward_of(recipe.reward)
        if recipe.engine == "trl":
            check_engine(recipe)
        return {"source": recipe.source, "split": split}

    def train(self, recipe: GrpoRecipe, run: Run, tell: Tell = silent) -> Path:
        """Train; `model/` in the run folder is the result, `monitor.jsonl` what became of its dialects.

        Raises BadInput where the reward pays a degenerate policy more than it is due (`reward_hacks.json` has
        the table), or where no prompt is short enough; CallgrainError where no reply can be drawn at all.
        """
        samples, watched = cut_samples(
            recipe.source, recipe.split, chosen_subtasks(recipe.subtask),
            (recipe.n, recipe.monitor_prompts if recipe.monitor_steps else 0), recipe.seed, tell,
        )  # fmt: skip
        tell("holding the reward against those who do not try", 0, 0)
        refuse_hacks(samples[:HACK_SAMPLES], recipe, run)
        tell("opening the model", 0, 0)
        loaded = load(recipe.model, recipe.dialect, dtype="float32")
        samples, too_long = _short_enough(samples, loaded, recipe)
        watched, _ = _short_enough(watched, loaded, recipe) if watched else ([], 0)
        if recipe.engine == "trl":
            return train_with_trl(loaded, samples, recipe, run, tell)
        objective = GroupObjective(loaded, recipe, run, self._monitor(loaded, watched, recipe, run))
        feed, shaped = _fed(loaded, samples, recipe)
        try:
            folder = fit(loaded, feed, objective, shaped, run, tell, {"too_long": too_long})
            objective.look(int(run.read("training")["steps"]), tell)
        finally:
            objective.close()
        drawn = sum(row["tokens"] for row in run.rows("rollouts"))
        run.write(
            "training",
            {**run.read("training"), "engine": "callgrain", "rows": len(samples), "target_tokens": drawn},
        )
        return folder

    def _monitor(self, loaded: Loaded, watched: Sequence[Sample], recipe: GrpoRecipe, run: Run) -> Monitor | None:
        if not recipe.monitor_steps:
            return None
        drawing = Drawing(recipe.monitor_draws, 1.0, recipe.max_tokens, recipe.constrain, recipe.seed)
        rollouts = Rollouts(loaded, drawing, recipe.reward)
        return Monitor(watched, rollouts, Tongues(loaded.dialect_id, loaded.dialect), run, recipe.kl)


def refuse_hacks(samples: Sequence[Sample], recipe: GrpoRecipe, run: Run) -> list[Row]:
    """What the reward pays degenerate policies on `samples`; the table goes to `reward_hacks.json`.

    Raises BadInput where one earns more than its level, or less than it is due, and is not in `recipe.allow`.
    """
    rows = suite(samples, lambda sample, reply: subtask_of(sample.subtask).grade(sample, reply),
                 {recipe.reward: reward_of(recipe.reward)})  # fmt: skip
    run.write(
        "reward_hacks",
        [{"policy": r.policy, "reward": r.reward, "value": r.value, "due": r.due, "level": r.level, "n": r.n,
          "failing": r.failing} for r in rows],
    )  # fmt: skip
    allowed = {part.strip() for part in recipe.allow.split(",")}
    failing = [row for row in rows if row.failing and row.policy not in allowed]
    if failing:
        told = "; ".join(
            f"{r.policy} earns {r.value:.3f} where it may earn {r.level if r.failing == 'too much' else r.due:.3f} at "
            f"{'most' if r.failing == 'too much' else 'least'}" for r in failing
        )  # fmt: skip
        names = ",".join(row.policy for row in failing)
        raise BadInput(
            f"the reward {recipe.reward!r} pays {failing[0].failing} on these sub-tasks: {told}",
            f"take --reward binary, mix in other sub-tasks, or accept it with --allow {names}",
        )
    return rows


def _fed(loaded: Loaded, samples: list[Sample], recipe: GrpoRecipe) -> tuple[Feed, GrpoRecipe]:
    """The prompts as the loop deals them out: `prompts_per_step` a batch, whatever their lengths.

    So all are given one length, that of a group whose replies run to their limit. Of several updates on the
    same replies only the first takes its batch, so there are that many times more batches.
    """
    room = recipe.group * recipe.max_tokens
    length = room + sum(len(served_ids(loaded, s)) for s in samples) // len(samples)
    feed = Feed(samples, [length] * len(samples), [room] * len(samples), list)
    changes = {"batch_tokens": recipe.prompts_per_step * length, "epochs": recipe.epochs * recipe.epochs_per_batch}
    return feed, recipe.model_copy(update=changes)


def _short_enough(samples: Sequence[Sample], loaded: Loaded, recipe: GrpoRecipe) -> tuple[list[Sample], int]:
    """The samples whose prompt and longest reply fit in `max_length`, and how many do not. Raises BadInput."""
    kept: list[Sample] = []
    for sample in samples:
        try:
            length = len(served_ids(loaded, sample)) + recipe.max_tokens
        except CallgrainError:  # a template that refuses this conversation
            continue
        if length <= recipe.max_length:
            kept.append(sample)
    if not kept:
        raise BadInput("no prompt is short enough", "raise --max-length, or lower --max-tokens")
    return kept, len(samples) - len(kept)


plugin = Grpo
