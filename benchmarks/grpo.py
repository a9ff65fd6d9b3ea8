"""A GRPO update on one shared row beside G copies of the prompt, and a whole step beside TRL's.

    python -m benchmarks.grpo [--quick] [--threads N]

A random Llama (hidden 256, 6 layers, vocabulary 4096), a prompt of 280 tokens, 8 replies of 64. "Update": forward
and backward of the same clipped loss over the replies' tokens, ours with the prompt computed once and logits
at reply positions alone, against 8 padded rows with logits of the replies' positions (TRL's `logits_to_keep`) and
with logits everywhere; their log-probs must agree. "Whole step": draw, pay, forward, backward and AdamW, ours
against TRL's GRPOTrainer with the same model, prompt, number and length of replies and a reward that
costs nothing. All take turns in one process; medians count.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callgrain.models._forest import Document, plant, target_logprobs
from callgrain.models._load import hush
from callgrain.train._advantages import Totals, averaged, clipped, group_advantages

if TYPE_CHECKING:
    import torch

PROMPT, GROUP, REPLY, VOCABULARY = 280, 8, 64, 4096
END = 3


def new_model(seed: int = 0) -> Any:
    """The random Llama."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        pad_token_id=1,
        bos_token_id=None,
        eos_token_id=END,
        tie_word_embeddings=False,
        initializer_range=0.06,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = END
    return model


def new_tokenizer() -> Any:
    """A tokenizer of as many words as the model has ids, so that both engines can make text of them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<pad>", "<s>", "<|end|>", *(f"w{n}" for n in range(VOCABULARY - 4))]
    inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", eos_token="<|end|>")


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call, the collector at rest."""
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    work()
    spent = time.perf_counter() - began
    gc.enable()
    return spent


def rounds(workers: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Seconds of each worker in each round; they take turns, each round beginning with another."""
    spent: dict[str, list[float]] = {who: [] for who in workers}
    order = list(workers)
    for number in range(count + 1):
        for who in order[number % len(order) :] + order[: number % len(order)]:
            spent[who].append(seconds(workers[who]))
    return {who: times[1:] for who, times in spent.items()}  # the first round warms up


def ratio(spent: dict[str, list[float]], peer: str) -> float:
    """Median over rounds of how many times as long the peer took."""
    return statistics.median(b / a for a, b in zip(spent["ours"], spent[peer], strict=True))


def group_of_ids(seed: int = 1) -> Document:
    """A prompt and a group of replies, in random ids."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (PROMPT + GROUP * REPLY,), generator=rng).tolist()
    replies = [tuple(ids[PROMPT + REPLY * g : PROMPT + REPLY * (g + 1)]) for g in range(GROUP)]
    return Document(tuple(ids[:PROMPT]), tuple(replies))


ADVANTAGES = group_advantages([float(g % 2) for g in range(GROUP)])


def weigh(logprobs: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """The clipped loss of tokens in the order of the replies; it is the same work for every worker."""
    import torch

    better = torch.tensor(ADVANTAGES)[branch]
    losses, _ = clipped(logprobs, logprobs.detach(), better, 0.2, 0.2)
    return averaged(losses, branch, Totals(GROUP, GROUP * REPLY, REPLY), "reply")


def on_shared_row(model: Any, document: Document) -> torch.Tensor:
    """(GROUP x REPLY,) log-probs, the prompt computed once."""
    return target_logprobs(model, plant([document]))


def on_copies(model: Any, document: Document, *, everywhere: bool) -> torch.Tensor:
    """(GROUP x REPLY,) log-probs, the prompt computed for each reply."""
    import torch

    ids = torch.tensor([[*document.prompt, *branch] for branch in document.branches])
    mask = torch.ones_like(ids)
    if everywhere:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, PROMPT - 1 : -1]
    else:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=REPLY + 1).logits[:, :-1]
    found = torch.log_softmax(logits.float(), -1).gather(-1, ids[:, PROMPT:, None])[..., 0]
    return found.reshape(-1)


def update(count: int) -> dict[str, Any]:
    """Forward and backward of one group."""
    import torch

    document = group_of_ids()
    ours, theirs = new_model().train(), new_model().train()
    branch = torch.arange(GROUP).repeat_interleave(REPLY)

    def worker(model: Any, logprobs: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def work() -> None:
            weigh(logprobs(), branch).backward()
            model.zero_grad(set_to_none=True)

        return work

    with torch.no_grad():
        gap = (on_shared_row(ours, document) - on_copies(theirs, document, everywhere=False)).abs().max().item()
    spent = rounds(
        {
            "ours": worker(ours, lambda: on_shared_row(ours, document)),
            "copies": worker(theirs, lambda: on_copies(theirs, document, everywhere=False)),
            "full": worker(theirs, lambda: on_copies(theirs, document, everywhere=True)),
        },
        count,
    )
    times = {who: statistics.median(mine) for who, mine in spent.items()}
    print("\n| update of one group | s | ours is faster |\n|---|---:|---:|")
    print(f"| one shared row (ours) | {times['ours']:.3f} | |")
    print(f"| {GROUP} copies, logits of replies | {times['copies']:.3f} | {ratio(spent, 'copies'):.2f}x |")
    print(f"| {GROUP} copies, logits everywhere | {times['full']:.3f} | {ratio(spent, 'full'):.2f}x |")
    print(f"\nlog-probs differ by {gap:.1e} at most")
    return {"seconds": times, "ratio": ratio(spent, "copies"), "ratio_full": ratio(spent, "full"), "gap": gap}


def our_step(model: Any, tokenizer: Any, prompt: str) -> Callable[[], object]:
    """A whole step of ours: draw a group, pay it, weigh it, learn."""
    import torch

    from callgrain.core.types import Answer, Message, Origin, Prompt, Sample
    from callgrain.dialects.compact import Compact
    from callgrain.models._load import Loaded
    from callgrain.train._rollouts import Drawing, Rollouts

    class Bare(Compact):
        """The prompt as it stands, so that both engines are asked the same tokens."""

        def render(self, prompt: Prompt) -> str:
            return prompt.messages[0].text

    loaded = Loaded(model, tokenizer, "compact", Bare())
    sample = Sample(
        subtask="decide",
        prompt=Prompt(messages=(Message(role="user", text=prompt),)),
        answer=Answer(decision="answer"),
        origin=Origin(dataset="benchmark", row="0", licence="none"),
    )
    rollouts = Rollouts(loaded, Drawing(GROUP, 1.0, REPLY), "binary")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    steps = iter(range(10**9))

    def step() -> int:
        (group,) = rollouts.draw([sample], next(steps))
        forest = plant([group.document])
        weigh(target_logprobs(model, forest), forest.branch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return sum(len(one.ids) for one in group.drawn)

    return step


def trl_step(model: Any, tokenizer: Any, prompt: str, folder: Path) -> Callable[[], object]:
    """A whole step of TRL's GRPOTrainer, the same work; each call trains one step of a trainer made beforehand."""
    import datasets
    import transformers
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    def alternating(completions: list[str], **_: Any) -> list[float]:
        return [float(number % 2) for number in range(len(completions))]

    arguments = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=GROUP,
        num_generations=GROUP,
        steps_per_generation=1,
        max_completion_length=REPLY,
        max_steps=1,
        learning_rate=1e-6,
        beta=0.0,
        report_to=[],
        disable_tqdm=True,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=alternating,
        args=arguments,
        train_dataset=datasets.Dataset.from_list([{"prompt": prompt}] * 64),
        processing_class=tokenizer,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.create_optimizer_and_scheduler(num_training_steps=10_000)
    trainer.model.train()
    batches = iter(trainer.get_train_dataloader())
    trainer.current_gradient_accumulation_steps = 1

    def step() -> None:
        trainer.training_step(trainer.model, next(batches), None)
        trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.model.zero_grad(set_to_none=True)
        trainer.state.global_step += 1

    return step


def whole_step(count: int) -> dict[str, Any]:
    """Draw, pay, learn: ours and TRL's in turns; a random model ends a reply early once in 64 replies."""
    tokenizer = new_tokenizer()
    prompt = " ".join(tokenizer.convert_ids_to_tokens(list(group_of_ids().prompt)))
    model = new_model()
    with tempfile.TemporaryDirectory() as folder:
        workers = {
            "ours": our_step(copy.deepcopy(model), tokenizer, prompt),
            "trl": trl_step(copy.deepcopy(model), tokenizer, prompt, Path(folder)),
        }
        spent = rounds(workers, count)
    times = {who: statistics.median(mine) for who, mine in spent.items()}
    print("\n| whole step | s |\n|---|---:|")
    print(f"| ours | {times['ours']:.3f} |\n| TRL | {times['trl']:.3f} |\n\n{ratio(spent, 'trl'):.2f}x")
    return {"ours": times["ours"], "trl": times["trl"], "ratio": ratio(spent, "trl")}


def main() -> None:
    """Print the tables; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, within two minutes on one core")
    parser.add_argument("--threads", type=int, default=1, help="processor threads of torch")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    hush()
    count = 3 if given.quick else 15
    one = update(count)
    whole = whole_step(max(3, count // 2))
    shown = {"ours": one["seconds"]["ours"], "peer": one["seconds"]["copies"], "ratio": one["ratio"]}
    more = {"threads": given.threads, "gap": one["gap"], "ratio_full": one["ratio_full"], "whole_step": whole}
    print(json.dumps({"name": "grpo", **shown, "unit": "s", "n": count, **more}))


if __name__ == "__main__":
    main()
