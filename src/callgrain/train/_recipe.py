"""Settings of a training run, the same for every method."""

from __future__ import annotations

from pydantic import Field

from callgrain.core.recipe import Recipe


class TrainRecipe(Recipe):
    """Settings of a training run."""

    model: str = Field(description="folder or hub id of the model that is trained (transformers, safetensors)")
    rows: str = Field(default="", description="run folder of a build; a recipe file may hold a [build] table instead")
    method: str = Field(default="sft", description="sft")
    adapter: str = Field(default="none", description="none: every weight is trained")
    dialect: str = Field(
        default="auto", description="auto (as trained before, else the chat template), json, compact, chat_template"
    )
    epochs: float = Field(default=1.0, gt=0, description="passes over the rows")
    learning_rate: float = Field(default=2e-5, gt=0, description="peak learning rate of AdamW")
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.05, ge=0, description="weight decay on matrices")
    beta2: float = Field(default=0.98, gt=0, lt=1, description="second moment's decay of AdamW")
    batch_tokens: int = Field(default=4096, ge=1, description="tokens of a batch, padding included")
    max_length: int = Field(default=4096, ge=8, description="tokens of a row; a longer one is left out and counted")
    seed: int = Field(default=0, description="seed of the order of batches and of dropout")
    save_steps: int = Field(default=200, ge=1, description="steps between checkpoints: what a kill can cost")
    threads: int = Field(default=0, ge=0, description="processor threads; 0 leaves torch's own choice")
