"""The same prompts and the same reward on TRL's GRPOTrainer: the engine for several machines, and for vLLM.

TRL draws and learns by its own means; ours are the rows, with their tools in the prompt as it is served,
and the grading. TRL decodes replies without special tokens, in which many models spell their calls, so
each reply is read from its token ids by the model's own dialect, exactly as a local model's reply is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callgrain.core.errors import BadInput, MissingExtra
from callgrain.core.progress import Tell, silent
from callgrain.core.store import Run, write_json
from callgrain.core.types import Sample
from callgrain.models import _adapters
from callgrain.models._load import CARD, Loaded
from callgrain.train._advantages import SHAPES
from callgrain.train._rollouts import Speaker, paid, reward_of, served_ids

if TYPE_CHECKING:
    from callgrain.train.grpo import GrpoRecipe


def check_engine(recipe: GrpoRecipe) -> None:
    """Raises MissingExtra without TRL (or vLLM, where it is asked for), BadInput for what TRL cannot do."""
    for library in ("trl", "datasets"):
        if find_spec(library) is None:
            raise MissingExtra("--engine trl", library, "rl")
    if recipe.vllm and find_spec("vllm") is None:
        raise BadInput("--vllm needs vLLM, which is not installed", "pip install vllm, or leave --vllm out")
    if recipe.constrain:
        raise BadInput("TRL draws without a constraint", "leave --constrain out, or take --engine callgrain")
    if recipe.baseline != "group":
        raise BadInput("TRL knows no baseline but the group's mean", "take --baseline group, or --engine callgrain")


def train_with_trl(
    loaded: Loaded, samples: Sequence[Sample], recipe: GrpoRecipe, run: Run, tell: Tell = silent
) -> Path:
    """Train on TRL's GRPOTrainer; `model/` in the run folder is the result, as with our own engine.

    Raises MissingExtra, and BadInput for settings that TRL has nothing for.
    """
    check_engine(recipe)
    model = _adapters.attach(loaded.model, recipe.adapter, recipe.rank, recipe.alpha, recipe.targets, seed=recipe.seed)
    earned: list[dict[str, float]] = []
    trainer = trainer_of(loaded, samples, recipe, run.folder / "checkpoints", earned)
    began = time.monotonic()
    tell("training on TRL", 0, 0)
    trainer.train(resume_from_checkpoint=_last_whole(run.folder / "checkpoints"))
    target = run.folder / "model"
    _adapters.merged(model).save_pretrained(target, safe_serialization=True)
    loaded.tokenizer.save_pretrained(target)
    write_json(target / CARD, {"dialect": loaded.dialect_id})
    history = trainer.state.log_history
    run.replace_rows("meters", (row for row in history if "reward" in row))
    run.write(
        "training",
        {
            "engine": "trl",
            "steps": trainer.state.global_step,
            "prompts": len(samples),
            "target_tokens": int(sum(row["tokens"] for row in earned)),
            "seconds": round(time.monotonic() - began, 1),
            "loss": [[row["step"], row["loss"]] for row in history if "loss" in row],
        },
    )
    return target


def trainer_of(
    loaded: Loaded, samples: Sequence[Sample], recipe: GrpoRecipe, folder: Path, earned: list[dict[str, float]]
) -> Any:
    """A GRPOTrainer over rendered prompts, paid by our reward; `earned` gets a row for each call of the reward."""
    import datasets
    import transformers
    from trl.trainer.grpo_trainer import GRPOTrainer

    model, tokenizer = loaded.model, loaded.tokenizer
    speaker = Speaker.around(loaded)
    model.generation_config.eos_token_id = sorted(speaker.ending.ids)  # the dialect's end stops TRL too
    rows = datasets.Dataset.from_list(
        [{"prompt": prompt_text(loaded, sample), "sample": number} for number, sample in enumerate(samples)]
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward_function(loaded, speaker, samples, recipe.reward, earned),
        args=_arguments(recipe, folder),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def reward_function(
    loaded: Loaded, speaker: Speaker, samples: Sequence[Sample], reward: str, earned: list[dict[str, float]]
) -> Callable[..., list[float | None]]:
    """What TRL calls: completions' token ids and the column `sample` -> a reward each, None where ungraded."""
    shape = reward_of(reward)

    def verified(completion_ids: list[list[int]], sample: list[int], **_: Any) -> list[float | None]:
        drawn = [
            paid(loaded.tokenizer, samples[number], speaker.read(ids), shape)
            for ids, number in zip(completion_ids, sample, strict=True)
        ]
        earned.append({"tokens": float(sum(map(len, completion_ids))), "ok": float(sum(d.verdict.ok for d in drawn))})
        return [one.reward for one in drawn]

    return verified


def prompt_text(loaded: Loaded, sample: Sample) -> str:
    """The prompt as a text that TRL's tokenisation turns into the very ids that are served.

    A template writes its opening token itself and the tokenizer would put a second one before it.
    Raises BadInput where no text does it.
    """
    wanted = list(served_ids(loaded, sample))
    text = loaded.dialect.render(sample.prompt)
    opening = loaded.tokenizer.bos_token or ""
    for candidate in (text, text.removeprefix(opening)):
        if loaded.tokenizer(text=[candidate])["input_ids"][0] == wanted:
            return candidate
    raise BadInput(
        "this tokenizer adds tokens to a prompt that are not there when it is served", "take --engine callgrain"
    )


def _arguments(recipe: GrpoRecipe, folder: Path) -> Any:
    """TRL's settings for the recipe's: a step is `prompts_per_step` groups, drawn once for all its updates."""
    import torch
    from trl.trainer.grpo_config import GRPOConfig

    on_gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.group * recipe.prompts_per_step,
        steps_per_generation=1,
        num_generations=recipe.group,
        num_iterations=recipe.epochs_per_batch,
        num_train_epochs=recipe.epochs,
        max_completion_length=recipe.max_tokens,
        temperature=recipe.temperature,
        loss_type=recipe.loss_type,
        scale_rewards="group" if SHAPES[recipe.loss_type].scaled else "none",
        epsilon=recipe.clip_low,
        epsilon_high=recipe.ceiling,
        beta=recipe.kl,
        use_vllm=recipe.vllm,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.beta2,
        max_grad_norm=1.0,
        seed=recipe.seed,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        gradient_checkpointing=on_gpu,  # TRL's own default, for its models are large
        bf16=recipe.precision == "bf16" or (recipe.precision == "auto" and on_gpu),
        use_cpu=not on_gpu,
        dataloader_pin_memory=False,
    )


def _last_whole(folder: Path) -> str | None:
    """The newest checkpoint with a trainer's state, which the Trainer writes last."""
    whole = [p.parent for p in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda p: int(p.name.rpartition("-")[2]))) if whole else None
