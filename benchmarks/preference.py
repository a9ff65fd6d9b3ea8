"""DPO pairs a second: the prompt computed once for both turns, beside TRL's DPOTrainer.

    python -m benchmarks.preference [--quick] [--threads N] [--precision fp32|bf16] [--hidden H --layers L]

A random Llama (hidden 256, 6 layers) with a byte-level vocabulary of 4096 learned from the pairs; requests,
tools and calls of toolworld, spoken to in JSON, with 2 tools in the prompt (some 400 tokens) and with 20.
Both get the same token ids, the same loss (beta .1), AdamW and 4 pairs a step for one epoch, and take turns in
one process, each with a fresh copy of the weights; medians of the rounds count. "online" asks the reference
at each step, "precomputed" once before, its time included. The log-probs of both are held against
each other first. Timed is what comes after tokenising (processor seconds on one thread, else the wall's): ours
with its Trainer's making and the saved model, TRL's without.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from callgrain.core import plugins
from callgrain.core.store import Run
from callgrain.core.types import Prompt, Tool
from callgrain.corpus.pairs import PairsRecipe, pairs
from callgrain.models._forest import target_logprobs
from callgrain.models._load import Loaded, hush
from callgrain.train._loop import Feed, fit
from callgrain.train._losses import LOSSES
from callgrain.train._meters import StopRule
from callgrain.train._pairs import EncodedPair, collate_pairs, encode_pairs, sums_of
from callgrain.train._reference import online, precomputed
from callgrain.train.preference import PreferenceRecipe, Preferring

if TYPE_CHECKING:
    import torch

VOCABULARY, A_STEP, BETA, RATE = 4096, 4, 0.1, 1e-5
FAULTS = "wrong_value,wrong_type,wrong_tool,missing_argument,extra_call,missing_call"


def rows_of(count: int, tools: int, folder: Path) -> list[dict[str, Any]]:
    """Pairs of toolworld whose prompts have so many tools: those that are called, and others of the world."""
    recipe = PairsRecipe(source="toolworld:full", subtask="parallel", faults=FAULTS, n=max(count, 60))
    made = list(pairs(recipe, folder).rows("pairs"))
    read = [Prompt.model_validate_json(row["prompt"]) for row in made]
    world = {tool.name: tool for prompt in read for tool in prompt.tools}
    rng = Random(0)
    out: list[dict[str, Any]] = []
    for row, prompt in zip(made[:count], read, strict=False):
        called = [tool for tool in prompt.tools if f'"{tool.name}"' in row["chosen"] + row["rejected"]]
        others: list[Tool] = [tool for name, tool in sorted(world.items()) if name not in {t.name for t in called}]
        shown = called + rng.sample(others, max(0, tools - len(called)))
        rng.shuffle(shown)
        out.append({**row, "prompt": prompt.model_copy(update={"tools": tuple(shown)}).model_dump_json()})
    return out


def new_tokenizer(texts: list[str]) -> Any:
    """Byte-level BPE, learned from the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    marks = ["<pad>", "<|im_end|>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=marks, initial_alphabet=letters, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>")


def new_model(hidden: int, layers: int, device: str) -> Any:
    """A random Llama."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 43 // 16,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=16384,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).to(device)


# ours --------------------------------------------------------------------------------------------


def ours(base: Any, tokenizer: Any, items: tuple[EncodedPair, ...], how: str, given: argparse.Namespace) -> float:
    """Seconds of one epoch, the reference's included."""
    dialect = plugins.load("dialects", "json")()
    loaded = Loaded(copy.deepcopy(base), tokenizer, "json", dialect)
    tokens = sum(len(item.ids) for item in items) * A_STEP / len(items)
    settings = {"model": "random", "batch_tokens": round(tokens * 1.1), "learning_rate": RATE, "threads": given.threads}
    recipe = PreferenceRecipe.resolve({**settings, "precision": given.precision, "warmup": 0.0, "weight_decay": 0.0})
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        began = clock(given)
        with autocast(given):
            if how == "online":
                reference: Any = online(loaded.model, adapter=False)
            else:
                reference = precomputed(loaded.model, items, recipe.batch_tokens, run, lambda *_: None)
        objective = Preferring(LOSSES["dpo"], LOSSES["dpo"].usual, reference, None, 0, StopRule(0, run))
        sizes = [len(item.ids) for item in items], [sum(item.sizes[1:]) for item in items]
        fit(loaded, Feed(items, *sizes, collate_pairs), objective, recipe, run)
        spent = clock(given) - began
        steps = run.read("training")["steps"]
    wanted = -(-len(items) // A_STEP)
    if abs(steps - wanted) > 1 + wanted // 8:
        raise SystemExit(f"ours took {steps} steps, and {wanted} were meant: batches are not alike")
    return spent


def clock(given: argparse.Namespace) -> float:
    """Processor seconds on one thread, which do not depend on what else runs; else the wall's."""
    return time.process_time() if given.device == "cpu" and given.threads == 1 else time.perf_counter()


def autocast(given: argparse.Namespace) -> Any:
    """The precision that both train in."""
    import torch

    return torch.autocast(given.device, torch.bfloat16, enabled=given.precision == "bf16")


# TRL's -------------------------------------------------------------------------------------------


def trainer(base: Any, tokenizer: Any, items: tuple[EncodedPair, ...], how: str, given: argparse.Namespace) -> Any:
    """TRL's trainer on the same ids; `spent` is what asking the reference beforehand took."""
    import transformers
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class ById(DPOTrainer):
        """Takes token ids as they are."""

        spent = 0.0

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *args: Any) -> Any:
            self._precompute_model_hash = str(time.perf_counter())  # else the second round finds the first one's cache
            began = clock(given)
            found = super()._precompute_ref_logps(*args)
            self.spent = clock(given) - began
            return found

    parts = [item.document for item in items]
    data = Dataset.from_dict(
        {
            "prompt_ids": [list(d.prompt) for d in parts],
            "chosen_ids": [list(d.branches[0]) for d in parts],
            "rejected_ids": [list(d.branches[1]) for d in parts],
        }
    )
    settings = DPOConfig(
        output_dir=tempfile.mkdtemp(prefix="callgrain-dpo-"),
        per_device_train_batch_size=A_STEP,
        num_train_epochs=1,
        learning_rate=RATE,
        beta=BETA,
        max_length=None,
        precompute_ref_log_probs=how == "precomputed",
        gradient_checkpointing=False,
        bf16=given.precision == "bf16",
        use_cpu=given.device == "cpu",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    frozen = None if how == "precomputed" else copy.deepcopy(base)
    made = ById(copy.deepcopy(base), frozen, args=settings, train_dataset=data, processing_class=tokenizer)
    made.remove_callback(transformers.PrinterCallback)
    return made


def theirs(base: Any, tokenizer: Any, items: tuple[EncodedPair, ...], how: str, given: argparse.Namespace) -> float:
    """Seconds of one epoch, the reference's included."""
    made = trainer(base, tokenizer, items, how, given)
    began = clock(given)
    made.train()
    return made.spent + clock(given) - began


def apart(base: Any, tokenizer: Any, items: tuple[EncodedPair, ...], given: argparse.Namespace) -> float:
    """Largest relative difference of a turn's log-prob between ours and TRL's, in single precision."""
    import torch

    exact = argparse.Namespace(**{**vars(given), "precision": "fp32"})
    made = trainer(base, tokenizer, items, "online", exact)
    found: list[torch.Tensor] = []
    model = copy.deepcopy(base).eval()
    with torch.no_grad():
        for inputs, batch in zip(made.get_train_dataloader(), _in_order(made, items), strict=True):
            peer = torch.stack(made.compute_ref_log_probs(made.model.eval(), inputs), 1)
            own = sums_of(target_logprobs(model, batch.forest), batch)[:, :2]
            found.append(((own - peer).abs() / peer.abs()).max())
    return float(torch.stack(found).max())


def _in_order(made: Any, items: tuple[EncodedPair, ...]) -> Iterator[Any]:
    """Our batches of the pairs that TRL's loader deals, in its order."""
    known = {tuple(item.ids): item for item in items}
    for inputs in made.get_train_dataloader():
        mask = inputs["attention_mask"].bool()
        rows = [tuple(row[kept].tolist()) for row, kept in zip(inputs["input_ids"], mask, strict=True)]
        half = len(rows) // 2
        both = [
            (*chosen, *rejected[len(chosen) - int(size) :])
            for chosen, rejected, size in zip(
                rows[:half], rows[half:], inputs["completion_mask"][:half].sum(1), strict=True
            )
        ]
        yield collate_pairs([known[ids] for ids in both]).to(inputs["input_ids"].device)


# both --------------------------------------------------------------------------------------------


def measure(tools: int, count: int, turns: int, given: argparse.Namespace) -> dict[str, Any]:
    """Print and give the figures for prompts with so many tools."""
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(count, tools, Path(folder))
    dialect = plugins.load("dialects", "json")()
    texts = [dialect.render(Prompt.model_validate_json(row["prompt"])) + row["chosen"] for row in rows]
    tokenizer = new_tokenizer(texts)
    base = new_model(given.hidden, given.layers, given.device)
    items = encode_pairs(rows, Loaded(base, tokenizer, "json", dialect), 16384).kept
    sizes = [statistics.mean(item.sizes[i] for item in items) for i in range(3)]
    share = sum(2 * i.sizes[0] + i.sizes[1] + i.sizes[2] for i in items) / sum(len(i.ids) for i in items)
    difference = apart(base, tokenizer, items, given)
    print(f"{tools} tools: {len(items)} pairs, prompt {sizes[0]:.0f} tokens, turns {sizes[1]:.0f} and {sizes[2]:.0f};")
    print(f"  two rows hold {share:.2f} times the tokens; log-probs differ by {difference:.1e} of themselves at most")
    workers: dict[str, Callable[..., float]] = {}
    for how in ("online", "precomputed"):
        workers |= {f"ours, {how}": ours, f"TRL, {how}": theirs}
    spent: dict[str, list[float]] = {who: [] for who in workers}
    for who, work in workers.items():  # warms up
        work(base, tokenizer, items[:1], who.split()[-1], given)
    for number in range(turns):
        order = list(workers)
        for who in order[number % 4 :] + order[: number % 4]:
            spent[who].append(workers[who](base, tokenizer, items, who.split()[-1], given))
    rates = {who: round(len(items) / statistics.median(times), 2) for who, times in spent.items()}
    found: dict[str, Any] = {"pairs": len(items), "prompt": round(sizes[0]), "difference": difference, **rates}
    for how in ("online", "precomputed"):
        mine, peer = f"ours, {how}", f"TRL, {how}"
        ratio = statistics.median(b / a for a, b in zip(spent[mine], spent[peer], strict=True))
        found[f"ratio_{how}"] = round(ratio, 2)
        print(f"  {how:12} ours {rates[mine]:6.2f} pairs/s  TRL {rates[peer]:6.2f}  x{ratio:.2f}")
    return found


def main() -> None:
    """Print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs and rounds: under three minutes")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=0, help="pairs in an epoch (default 24; 8 with --quick)")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    hush()
    os.environ["TQDM_DISABLE"] = "1"
    importlib.import_module("datasets").disable_progress_bars()
    given.device = "cuda" if torch.cuda.is_available() else "cpu"
    count = given.pairs or (8 if given.quick else 24)
    few = measure(2, count, 2 if given.quick else 5, given)
    many = measure(20, count // 4 if given.quick else count // 2, 1 if given.quick else 3, given)
    shown = {"ours": few["ours, online"], "peer": few["TRL, online"], "ratio": few["ratio_online"]}
    more = {"ratio_precomputed": few["ratio_precomputed"], "ratio_20_tools": many["ratio_online"]}
    more |= {"ratio_20_tools_precomputed": many["ratio_precomputed"]}
    more |= {"difference": max(few["difference"], many["difference"]), "device": given.device, "threads": given.threads}
    print(
        json.dumps(
            {"name": "preference", **shown, "unit": "pairs/s", "n": few["pairs"], **more, "few": few, "many": many}
        )
    )


if __name__ == "__main__":
    main()
