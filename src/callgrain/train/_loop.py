"""The loop under every method: transformers.Trainer with our batches, losses, meters and checkpoints.

The Trainer and accelerate bring devices, launchers and optimisers. Ours are the order of batches
(planned for the whole run, so that a resumed one meets the same), what a loss is (an Objective), a
journal of meters, and checkpoints that a kill cannot spoil. SIGTERM saves, and running again goes on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from callgrain.core.errors import MissingExtra
from callgrain.core.progress import Tell, silent
from callgrain.core.store import Journal, Run, write_json
from callgrain.models._load import CARD, Loaded
from callgrain.train import _checkpoints
from callgrain.train._batches import Pace, Plan, plan
from callgrain.train._recipe import TrainRecipe

if TYPE_CHECKING:
    import torch

INTERRUPTED = 130
"""Exit code of a run that was told to stop: the command line says then that running again goes on."""

_WEIGHTS = "trained.safetensors"


class Objective(Protocol):
    """What is minimised.

    `loss` gets the model as the launcher wraps it, a batch as the feed collates it and the number
    of steps done; it gives a scalar, and meters of this step by name (floats, or tensors of one
    number). Optional: `stop() -> str | None`, asked after each step, a reason to end the training.
    """

    def loss(self, model: Any, batch: Any, step: int) -> tuple[torch.Tensor, Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Feed:
    """What is trained on: items with their lengths in tokens, and how a list of them becomes a batch.

    A batch that has a method `to` is moved to the model's device by it.
    """

    items: Sequence[Any]
    lengths: Sequence[int]
    target_lengths: Sequence[int]
    collate: Callable[[list[Any]], Any]


@dataclass
class _Fit:
    """One training under way."""

    loaded: Loaded
    feed: Feed
    objective: Objective
    recipe: TrainRecipe
    run: Run
    tell: Tell
    plan: Plan
    world: int = 1
    began: float = field(default_factory=time.monotonic)
    spent: float = 0.0
    first: int = 0
    stopped: str = ""
    is_ended: bool = False
    window: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    journal: Journal | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return max(1, len(self.plan) // self.world)

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a checkpoint that was gone on from included."""
        return self.spent + time.monotonic() - self.began

    def tokens(self, start: int, end: int, lengths: Sequence[int]) -> int:
        """Tokens of the batches of those steps, on all processes."""
        return sum(lengths[i] for batch in self.plan.batches[start * self.world : end * self.world] for i in batch)

    def rate(self, step: int) -> float:
        """Tokens a second since this process began."""
        return self.tokens(self.first, step, self.feed.lengths) / max(time.monotonic() - self.began, 1e-9)


class _Held:
    """A batch as it is: launchers look into lists and mappings, and would take one apart."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


def needs_training() -> None:
    """Raises MissingExtra where a library is missing: the Trainer says it late, and at length."""
    for library in ("torch", "transformers", "accelerate"):
        if find_spec(library) is None:
            raise MissingExtra("training", library, "train")


def fit(  # noqa: PLR0913, PLR0917  the seam between every method and the loop
    loaded: Loaded,
    feed: Feed,
    objective: Objective,
    recipe: TrainRecipe,
    run: Run,
    tell: Tell = silent,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Train `loaded.model`, and go on from the last whole checkpoint of an earlier attempt.

    Writes `model/` (an adapter worked in), `adapter/` where there is one, `training.json` (with
    `extra`) and `meters.jsonl`, a row a logged step. Raises MissingExtra; SystemExit(130) after
    SIGTERM, once a checkpoint is saved.
    """
    needs_training()
    import torch

    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    model = loaded.model
    if recipe.adapter != "none":
        from callgrain.models._adapters import attach

        model = attach(model, recipe.adapter, recipe.rank, recipe.alpha, recipe.targets, seed=recipe.seed)
    pace = Pace(recipe.epochs, recipe.budget)
    batches = plan(feed.lengths, feed.target_lengths, recipe.batch_tokens, pace, recipe.seed)
    work = _Fit(loaded, feed, objective, recipe, run, tell, batches)
    trainer = _trainer(model, work)

    def say(line: str) -> None:
        run.log(line)
        tell(line, 0, 0)

    found = _checkpoints.newest(run.folder / "checkpoints", say)
    if found is not None:
        work.first, work.spent = found[1]["step"], found[1]["seconds"]
        tell(f"going on from step {work.first}", work.first, work.steps)
    _truncate_meters(run, work.first, trainer.is_world_process_zero())
    if trainer.is_world_process_zero():
        work.journal = run.journal("meters", keyed=False)
    with _until_told(work):
        try:
            trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
        finally:
            if work.journal is not None:
                work.journal.close()
    if work.is_ended:
        raise SystemExit(INTERRUPTED)
    if trainer.is_world_process_zero():
        _write(work, model, trainer.state.global_step, extra or {})
    trainer.accelerator.wait_for_everyone()
    return run.folder / "model"


def _truncate_meters(run: Run, step: int, is_first: bool) -> None:
    """Drop the meters of steps that will be done again."""
    if is_first and (run.folder / "meters.jsonl").exists():
        run.journal("meters", keyed=False).close()  # cuts off what a kill has torn
        run.replace_rows("meters", [row for row in run.rows("meters") if row["step"] <= step])


@contextmanager
def _until_told(work: _Fit) -> Generator[None]:
    """SIGTERM asks for an end after the step under way; only the main thread can listen to it."""

    def end(*_: object) -> None:
        work.is_ended = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(work: _Fit, model: Any, steps: int, extra: Mapping[str, Any]) -> None:
    """The model as an ordinary folder, and the account of the training."""
    import torch

    recipe, target, tokenizer = work.recipe, work.run.folder / "model", work.loaded.tokenizer
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if recipe.adapter == "none":
        plain = model
    else:
        from callgrain.models._adapters import merged, save

        save(model, work.run.folder / "adapter", base=recipe.model)
        plain = merged(model)
    plain.save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)
    write_json(target / CARD, {"dialect": work.loaded.dialect_id})
    tokens = work.tokens(0, steps, work.feed.lengths)
    work.run.write(
        "training",
        {
            "steps": steps,
            "rows": len(work.feed.items),
            "tokens": tokens,
            "target_tokens": work.tokens(0, steps, work.feed.target_lengths),
            "seconds": round(work.seconds, 1),
            "tokens_per_second": round(tokens / max(work.seconds, 1e-9), 1),
            "parameters": sum(p.numel() for p in plain.parameters()),
            "trainable": trainable,
            "fill": round(work.plan.fill, 4),
            "precision": "bf16" if autocasts(recipe, torch.device(model.device)) else "fp32",
            "stopped": work.stopped,
            "loss": [[row["step"], row["loss"]] for row in work.run.rows("meters")],
            **extra,
        },
    )


def autocasts(recipe: TrainRecipe, device: torch.device) -> bool:
    """Whether forward and backward run in bf16: a reference must speak in the policy's precision."""
    return recipe.precision == "bf16" or (recipe.precision == "auto" and device.type == "cuda")


def _trainer(model: Any, work: _Fit) -> Any:
    """A Trainer with our batches, our loss and our checkpoints."""
    import torch
    import transformers

    feed, checkpoints = work.feed, work.run.folder / "checkpoints"
    # torch asks for classes of its own where any sequence and any iterable will do
    dataset: Any = feed.items
    sampler: Any = work.plan

    class Loop(transformers.Trainer):
        """The Trainer as `fit` wants it."""

        def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
            """Batches as planned, dealt out among processes by accelerate."""
            loader = torch.utils.data.DataLoader(
                dataset, batch_sampler=sampler, collate_fn=lambda items: {"held": _Held(feed.collate(items))}
            )
            return self.accelerator.prepare(loader)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """The objective's loss, in the recipe's precision."""
            del num_items_in_batch
            batch, device = inputs["held"].batch, self.args.device
            batch = batch.to(device) if hasattr(batch, "to") else batch
            with torch.autocast(device.type, torch.bfloat16, enabled=autocasts(work.recipe, device)):
                loss, meters = work.objective.loss(model, batch, self.state.global_step)
            work.window.append({"loss": loss.detach(), **meters})
            return (loss, {}) if return_outputs else loss

        def floating_point_ops(self, inputs: dict[str, Any]) -> int:
            """Not counted: the library's estimate looks for inputs that a row of documents does not have."""
            del inputs
            return 0

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            """Everything to a draft, which then becomes the checkpoint at once."""
            if self.is_world_process_zero():
                _checkpoints.draft(checkpoints)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                step, draft = self.state.global_step, checkpoints / ".draft"
                # A pickle that nothing reads again.
                for pickled in draft.rglob("training_args.bin"):
                    pickled.unlink()
                (draft / f"checkpoint-{step}").rename(draft / "whole")
                _checkpoints.seal(draft / "whole", checkpoints, step, {"seconds": round(work.seconds, 3)})
                draft.rmdir()
            self.accelerator.wait_for_everyone()

        def _get_output_dir(self, trial: Any) -> str:
            del trial
            return str(checkpoints / ".draft")

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            """What is trained and nothing else; sharded models as their launcher writes them."""
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                super().save_model(output_dir, _internal_call)
            elif self.is_world_process_zero():
                from safetensors.torch import save_file

                folder = Path(str(output_dir))
                folder.mkdir(parents=True, exist_ok=True)
                save_file({n: p.detach().contiguous() for n, p in _trained(self.model)}, folder / _WEIGHTS)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            if not (Path(resume_from_checkpoint) / _WEIGHTS).exists():
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            from safetensors.torch import load_file

            kept = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
            with torch.no_grad():
                for name, parameter in _trained(model or self.model):
                    parameter.copy_(kept[name])

    trainer = Loop(model=model, args=_arguments(work), train_dataset=dataset, callbacks=[_follower(work)])
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _arguments(work: _Fit) -> Any:
    """The recipe in the Trainer's words; learns from them how many processes there are."""
    import torch
    import transformers

    recipe = work.recipe
    args = transformers.TrainingArguments(
        output_dir=str(work.run.folder / "checkpoints"),
        max_steps=1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=recipe.weight_decay,
        adam_beta2=recipe.beta2,
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        seed=recipe.seed,
        data_seed=recipe.seed,
        save_steps=recipe.save_steps,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        average_tokens_across_devices=False,
        ddp_find_unused_parameters=False,
        accelerator_config={"even_batches": False},
        use_cpu=not torch.cuda.is_available(),
    )
    args._n_gpu = min(args.n_gpu, 1)  # pyright: ignore[reportPrivateUsage]  several GPUs are a launcher's work
    work.world = args.world_size
    args.max_steps = work.steps
    args.warmup_steps = round(recipe.warmup * work.steps)
    return args


def _follower(work: _Fit) -> Any:
    """A callback that keeps the meters, tells of progress and ends the run when it is time."""
    import transformers

    every = max(1, min(25, work.steps // 40))

    def asked_to_end(args: Any) -> bool:
        if args.world_size > 1:  # processes must agree, or one waits for the other's checkpoint
            import torch

            flag = torch.tensor(float(work.is_ended), device=args.device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
            work.is_ended = bool(flag)
        return work.is_ended

    class Follow(transformers.TrainerCallback):
        """After each step."""

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            """Meters, progress, and the reasons to stop."""
            step = state.global_step
            if asked_to_end(args):
                control.should_save = control.should_training_stop = True
            elif reason := getattr(work.objective, "stop", lambda: None)():
                work.stopped = reason
                control.should_training_stop = True
            # A window of meters ends with each checkpoint, so that a resumed run has the same rows.
            if step % every == 0 or control.should_save or control.should_training_stop or step >= work.steps:
                _log(work, step, more.get("lr_scheduler"))

    return Follow()


def _log(work: _Fit, step: int, schedule: Any) -> None:
    """One row of meters: means over the steps since the last row that have each."""
    names = dict.fromkeys(name for meters in work.window for name in meters)
    row: dict[str, Any] = {"step": step}
    for name in names:
        values = [float(meters[name]) for meters in work.window if name in meters]
        row[name] = sum(values) / len(values)
    work.window.clear()
    rate = work.rate(step)
    row |= {"tokens_per_second": round(rate, 1), "seconds": round(work.seconds, 3)}
    if schedule is not None:
        row["learning_rate"] = schedule.get_last_lr()[0]
    if work.journal is not None:
        work.journal.append([row])
        said = f", loss {row['loss']:.3f}" if "loss" in row else ""
        work.tell(f"training{said}, {rate:,.0f} tokens/s", step, work.steps)
