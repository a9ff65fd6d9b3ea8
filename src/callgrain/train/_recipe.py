"""Settings of a training run: those of every method, to which each method adds its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from callgrain.core.recipe import Recipe


class TrainRecipe(Recipe):
    """Settings of a training run."""

    model: str = Field(description="tiny, or a folder or hub id of the model that is trained (safetensors)")
    rows: str = Field(default="", description="run folder of a build; a recipe file may hold a [build] table instead")
    method: str = Field(default="sft", description="sft, preference, grpo, curriculum; see callgrain ls methods")
    adapter: Literal["none", "lora", "svf", "svf-relative"] = Field(
        default="none",
        description="none: every weight is trained; lora: low-rank; svf: scales of singular values (rates of 4e-3 and "
        "more); svf-relative: the same with their sum held",
    )
    rank: int = Field(default=8, ge=1, description="rank of a LoRA adapter")
    alpha: float = Field(default=16.0, gt=0, description="scale of a LoRA adapter, over its rank")
    targets: str = Field(default="auto", description="layers that an adapter changes: auto, attention, mlp, or names")
    dialect: str = Field(
        default="auto", description="auto (as trained before, else the chat template), json, compact, chat_template"
    )
    epochs: float = Field(default=1.0, gt=0, description="passes over the rows")
    budget: int = Field(
        default=0, ge=0, description="stop after so many target tokens, whatever epochs says (0: no such limit)"
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="peak learning rate of AdamW")
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.05, ge=0, description="weight decay on matrices")
    beta2: float = Field(default=0.98, gt=0, lt=1, description="second moment's decay of AdamW")
    batch_tokens: int = Field(default=4096, ge=1, description="tokens of a batch")
    max_length: int = Field(default=4096, ge=8, description="tokens of a row; a longer one is left out and counted")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="of the forward and backward pass; auto: bf16 on a GPU, fp32 on a processor"
    )
    name_weight: float = Field(default=1.0, gt=0, description="weight of the loss on tokens of a function's name")
    value_weight: float = Field(default=1.0, gt=0, description="weight of the loss on tokens of argument values")
    seed: int = Field(default=0, description="seed of the order of batches and of dropout")
    save_steps: int = Field(default=200, ge=1, description="steps between checkpoints: what a kill can cost")
    threads: int = Field(default=0, ge=0, description="processor threads; 0 leaves torch's own choice")
