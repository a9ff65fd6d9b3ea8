"""A constrained tool call by our own decoder beside transformers' `generate`.

    python -m benchmarks.decode [--quick] [--threads N]

A Llama of 6 layers and width 256 with random weights, a BPE of 4k pieces trained on toolworld's
prompts, the json dialect, prompts with 1 and with 10 tools, batches of 1 and of 32. Ours answers
each prompt within the grammar of calls (the branches without a call are left out), and where the
grammar leaves a choice the right answer's token is taken, since random weights would fill every
text to the limit. The peers, on the same prompts: `free` is `generate`, greedy, without any
constraint, for as many tokens as our call has; `masked` is `generate` with the same masks as a
logits processor, one token a step. Workers take turns in one process; medians of the rounds count.
"Cost of the constraint" is our loop with masks and without jump-ahead against our loop without
masks, over as many tokens. Each round is timed whole, prompt included; nothing is kept between rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from callgrain.core import plugins
from callgrain.core.types import Message, Prompt, Tool, Trace
from callgrain.models import _decode
from callgrain.models._engine import Engine
from callgrain.models._load import hush
from callgrain.models._masks import Masks
from callgrain.sources._open import open_source

MAX_TOKENS = 96
VOCABULARY = 4096


def prompts(n_tools: int, count: int) -> list[tuple[Prompt, Message]]:
    """Requests over exactly so many tools, all of them the same set; the first is the one called for."""
    source, split = open_source("toolworld:full")
    taken: list[Trace] = list(itertools.islice((t for t in source.traces(split) if t.gold.calls), 400))
    tools: dict[str, Tool] = {}
    for trace in taken:
        wanted = {call.name for call in trace.gold.calls}
        for tool in sorted(trace.tools, key=lambda one: one.name not in wanted):
            tools.setdefault(tool.name, tool)
    offered = tuple(tools.values())[:n_tools]
    names = {tool.name for tool in offered}
    fitting = [trace for trace in taken if {call.name for call in trace.gold.calls} <= names]
    return [
        (Prompt(messages=t.messages, tools=offered), t.gold.message)
        for t in itertools.islice(itertools.cycle(fitting), count)
    ]


class Replay:
    """A mask that works as it would, and then lets only the right answer through: random weights say nothing usual."""

    def __init__(self, inner: Any, wanted: list[int]) -> None:
        self.inner, self.wanted, self.at = inner, wanted, 0

    def begin(self) -> list[int]:
        """As the mask has it, from the beginning."""
        self.at = 0
        return self._past(self.inner.begin())

    def allowed(self) -> Any:
        """The right answer's next token, if the mask allows it; else whatever the mask does."""
        bits = self.inner.allowed()
        token = self.wanted[self.at] if self.at < len(self.wanted) else 1
        if bits is None or not bits[token]:
            return bits
        only = bits & False
        only[token] = True
        return only

    def accept(self, token: int) -> list[int]:
        """As the mask has it."""
        self.at += 1
        return self._past(self.inner.accept(token))

    def _past(self, forced: list[int]) -> list[int]:
        self.at += len(forced)
        return forced


def tokenizer_of(dialect: Any) -> Any:
    """A byte-level BPE trained on prompts and answers in the dialect."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    source, split = open_source("toolworld:full")
    texts = [
        dialect.render(Prompt(messages=t.messages, tools=t.tools)) + dialect.write(t.gold.message)
        for t in itertools.islice(source.traces(split), 400)
    ]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|pad|>", "<|end|>"],
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")


def model_of() -> Any:
    """The model, of random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=8192,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


class Bench:
    """One set of prompts, and every way to answer them."""

    def __init__(self, parts: tuple[Any, Any, Any, Any], asked: list[tuple[Prompt, Message]]) -> None:
        self.dialect, self.tokenizer, self.model, self.engine = parts
        self.ending = _decode.ending_of(self.tokenizer, [1], self.dialect.end)
        self.endless = Engine(self.model, self.tokenizer, _decode.Ending(frozenset()))
        self.masks = Masks(self.tokenizer, self.ending)
        grammar = self.dialect.grammar(asked[0][0].tools)
        self.grammar = dataclasses.replace(grammar, lark=grammar.lark.replace("start: thought turn", "start: calls"))
        self.ids = [_decode.prompt_ids(self.tokenizer, self.dialect.render(p), templated=False) for p, _ in asked]
        self.wanted = [[*self.tokenizer.encode(self.dialect.write(m), add_special_tokens=False), 1] for _, m in asked]
        self.limits = [MAX_TOKENS] * len(asked)
        self.limits = [len(row.tokens) for row in self.ours()]

    def rows(self, *, masked: bool) -> list[_decode.Row]:
        """Fresh rows; those without a mask may not end before they are as long as ours."""
        return [
            _decode.Row(
                ids, limit, 0.0, 1.0, 0, mask=Replay(self.masks.masker(self.grammar), wanted) if masked else None
            )
            for ids, limit, wanted in zip(self.ids, self.limits, self.wanted, strict=True)
        ]

    def ours(self, *, jump: bool = True) -> list[_decode.Row]:
        """Our loop within the grammar."""
        rows = self.rows(masked=True)
        self.engine.run(rows, batch_size=len(rows), batch_tokens=10**6, jump=jump)
        return rows

    def unmasked(self) -> list[_decode.Row]:
        """Our loop without a grammar."""
        rows = self.rows(masked=False)
        self.endless.run(rows, batch_size=len(rows), batch_tokens=10**6)
        return rows

    def prompt_only(self) -> None:
        """Our loop up to the first token."""
        rows = [_decode.Row(ids, 1, 0.0, 1.0, 0) for ids in self.ids]
        self.endless.run(rows, batch_size=len(rows), batch_tokens=10**6)

    def generate(self, *, masked: bool, n_new: int = 0) -> None:
        """`generate`, with our masks or free; free for as many tokens as the longest of our calls."""
        import torch

        if masked:
            _decode.decode(self.model, self.rows(masked=True), self.ending, self.tokenizer)
            return
        longest = max(map(len, self.ids))
        ids = torch.tensor([[0] * (longest - len(each)) + each for each in self.ids])
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in self.ids])
        new = n_new or max(self.limits)
        with torch.inference_mode():
            self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
            )


def seconds(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(parts: tuple[Any, Any, Any, Any], n_tools: int, size: int, n_rounds: int) -> dict[str, Any]:
    """The figures of one batch size and number of tools."""
    bench = Bench(parts, prompts(n_tools, size))
    workers: dict[str, Callable[[], object]] = {
        "ours": bench.ours,
        "stepped": lambda: bench.ours(jump=False),
        "unmasked": bench.unmasked,
        "free": lambda: bench.generate(masked=False),
        "masked": lambda: bench.generate(masked=True),
        "prompt": bench.prompt_only,
        "generate's prompt": lambda: bench.generate(masked=False, n_new=1),
    }
    spent: dict[str, list[float]] = {who: [] for who in workers}
    order = list(workers)
    for number in range(n_rounds + 1):
        for who in order[number % len(order) :] + order[: number % len(order)]:
            spent[who].append(seconds(workers[who]))
    middle = {who: statistics.median(times[1:]) for who, times in spent.items()}
    rows = bench.ours()
    tokens, forced = sum(len(row.tokens) for row in rows), sum(row.forced for row in rows)
    found = {
        "tools": n_tools,
        "batch": size,
        "prompt_tokens": statistics.mean(map(len, bench.ids)),
        "tokens": tokens,
        "forced_share": round(forced / tokens, 3),
        "ours": round(tokens / middle["ours"]),
        "generate": round(tokens / middle["free"]),
        "generate_masked": round(tokens / middle["masked"]),
        "ratio": ratio(spent, "free", "ours"),
        "ratio_after_prompt": after_prompt(spent),
        "ratio_masked": ratio(spent, "masked", "ours"),
        "jump_ahead_ratio": ratio(spent, "stepped", "ours"),
        "constraint_cost": round(ratio(spent, "stepped", "unmasked") - 1, 3),
    }
    print(
        f"{n_tools:>2} tools, batch {size:>2}: ours {found['ours']:>5} tokens/s, generate {found['generate']:>5}"
        f" (x{found['ratio']:.2f}, after the prompt x{found['ratio_after_prompt']:.2f}),"
        f" generate with masks {found['generate_masked']:>5} (x{found['ratio_masked']:.2f});"
        f" forced {found['forced_share']:.0%}, jump-ahead x{found['jump_ahead_ratio']:.2f},"
        f" constraint {found['constraint_cost']:+.1%}",
        flush=True,
    )
    return found


def after_prompt(spent: dict[str, list[float]]) -> float:
    """The ratio to `generate` of what remains without the prompt's own pass."""
    columns = [spent[who][1:] for who in ("free", "generate's prompt", "ours", "prompt")]
    return round(statistics.median((a - b) / max(c - d, 1e-6) for a, b, c, d in zip(*columns, strict=True)), 3)


def ratio(spent: dict[str, list[float]], above: str, below: str) -> float:
    """Median over the rounds of one worker's time by another's; the first round warms up."""
    return round(statistics.median(a / b for a, b in zip(spent[above][1:], spent[below][1:], strict=True)), 3)


def main() -> None:
    """Print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    hush()
    dialect = plugins.load("dialects", "json")()
    tokenizer, model = tokenizer_of(dialect), model_of()
    engine = Engine(model, tokenizer, _decode.ending_of(tokenizer, [1], dialect.end))
    parts = dialect, tokenizer, model, engine
    small, large = (5, 2) if given.quick else (15, 7)
    found = [measure(parts, tools, size, small if size == 1 else large) for size in (1, 32) for tools in (1, 10)]
    first = found[0]
    shown = {
        "ours": first["ours"],
        "peer": first["generate"],
        "ratio": first["ratio"],
        "unit": "tokens/s",
        "n": first["tokens"],
    }
    print(json.dumps({"name": "decode", **shown, "threads": given.threads, "cases": found}))


if __name__ == "__main__":
    main()
