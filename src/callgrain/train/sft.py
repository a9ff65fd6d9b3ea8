"""Supervised fine-tuning on transformers.Trainer, on targets only.

The loop, the optimiser and the checkpoints are the Trainer's, so a launcher of accelerate
gives several GPUs without a word here. Ours are the batches, the mask, and logits that are
computed only where there is loss: most tokens of a row with tools are prompt.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callgrain.core.errors import MissingExtra
from callgrain.core.progress import Tell, silent
from callgrain.core.store import Run, write_json
from callgrain.models._load import CARD, load
from callgrain.train._batches import Rows, TokenBatches, collate, encode
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import rows_of

if TYPE_CHECKING:
    import torch

COMPLETE = "COMPLETE"
"""Marker of a whole checkpoint: transformers writes its checkpoints file by file, so a kill can leave half of one."""


class Sft:
    """Every weight, by cross-entropy on the target turn."""

    settings = TrainRecipe

    def inputs(self, recipe: TrainRecipe) -> dict[str, str]:
        """The rows, by their build's name."""
        return {"rows": rows_of(recipe).folder.name}

    def train(self, recipe: TrainRecipe, run: Run, tell: Tell = silent) -> Path:
        """Train on the rows of `recipe.rows`; `model/` in the run folder is an ordinary transformers model.

        Goes on from the last whole checkpoint of an earlier attempt. `training.json` holds steps,
        tokens, seconds and the loss by step. Raises CallgrainError where model or rows are not there.
        """
        for library in ("torch", "transformers", "accelerate"):  # the Trainer says late, and at length, what it lacks
            if find_spec(library) is None:
                raise MissingExtra("training", library, "train")
        import torch
        import transformers

        target = run.folder / "model"
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        transformers.set_seed(recipe.seed)
        tell("opening the model", 0, 0)
        loaded = load(recipe.model, recipe.dialect, dtype="float32")
        model, tokenizer = loaded.model.train(), loaded.tokenizer
        tell("reading rows", 0, 0)
        rows = encode(rows_of(recipe).rows("rows"), loaded, recipe.max_length)
        began = time.monotonic()
        trainer = _trainer(model, tokenizer, rows, recipe, run, tell)
        trainer.train(resume_from_checkpoint=_last_whole(run.folder / "checkpoints"))
        model.save_pretrained(target, safe_serialization=True)
        tokenizer.save_pretrained(target)
        write_json(target / CARD, {"dialect": loaded.dialect_id})
        losses = [[e["step"], e["loss"]] for e in trainer.state.log_history if "loss" in e]
        run.write(
            "training",
            {
                "steps": trainer.state.global_step,
                "rows": len(rows.kept),
                "too_long": rows.too_long,
                "tokens": round(rows.tokens * recipe.epochs),
                "target_tokens": round(rows.target_tokens * recipe.epochs),
                "seconds": round(time.monotonic() - began, 1),
                "parameters": sum(p.numel() for p in model.parameters()),
                "loss": losses,
            },
        )
        return target


def _last_whole(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end."""
    whole = [p.parent for p in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda p: int(p.name.rpartition("-")[2]))) if whole else None


def _trainer(model: Any, tokenizer: Any, rows: Rows, recipe: TrainRecipe, run: Run, tell: Tell) -> Any:
    """A Trainer with our batches, our loss and our progress."""
    import torch
    import transformers

    batches = TokenBatches([len(r.ids) for r in rows.kept], recipe.batch_tokens, recipe.seed)
    steps = max(1, round(len(batches) * recipe.epochs))
    # torch asks for classes of its own where any sequence and any iterable will do
    dataset: Any = rows.kept
    sampler: Any = batches
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    class OnTargets(transformers.Trainer):
        """The Trainer with token-budget batches and logits on target positions alone."""

        def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
            """Batches by token budget, prepared by accelerate as any other."""
            loader = torch.utils.data.DataLoader(
                dataset,
                batch_sampler=sampler,
                collate_fn=lambda items: collate(items, pad),
            )
            return self.accelerator.prepare(loader)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Mean cross-entropy of the target tokens."""
            del num_items_in_batch
            loss = target_loss(model, inputs)
            return (loss, {}) if return_outputs else loss

    class Follow(transformers.TrainerCallback):
        """Progress, and the marker of a whole checkpoint."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Say where the training stands."""
            loss = next((e["loss"] for e in reversed(state.log_history) if "loss" in e), None)
            tell(f"training (loss {loss:.3f})" if loss is not None else "training", state.global_step, steps)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Mark the checkpoint as whole: the Trainer calls this when every file of it is there."""
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()

    arguments = transformers.TrainingArguments(
        output_dir=str(run.folder / "checkpoints"),
        max_steps=steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.beta2,
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        seed=recipe.seed,
        data_seed=recipe.seed,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        logging_steps=max(1, min(25, steps // 40)),
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        average_tokens_across_devices=False,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = OnTargets(model=model, args=arguments, train_dataset=dataset, callbacks=[Follow()])
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def target_loss(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Mean cross-entropy over positions with a label, logits computed only there.

    Right padding needs no mask under a causal decoder: no target position can see what comes
    after it. `use_cache=False`, since nothing is generated.
    """
    import torch

    labels = inputs["labels"][:, 1:]
    chosen = labels != -100
    body = _body(model)
    if body is None:  # an architecture without a bare decoder: let it compute all its logits
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1][chosen]
    else:
        hidden = body(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        logits = model.get_output_embeddings()(hidden.last_hidden_state[:, :-1][chosen])
    return torch.nn.functional.cross_entropy(logits.float(), labels[chosen])


def _body(model: Any) -> Any | None:
    """The decoder below the output head; None where the model is wrapped, scales its logits or is shaped otherwise."""
    body = getattr(model, "base_model", None)
    plain = not any(
        getattr(model.config, name, None) for name in ("final_logit_softcapping", "logit_scale", "logits_scaling")
    )
    has_head = hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is not None
    return body if body is not None and body is not model and plain and has_head else None


plugin = Sft
