"""Which small decoder binds parameter to value? Architectures at equal tokens, on rows of toolworld's open world.

`python -m benchmarks.architectures` trains, with the same rows, order, optimiser and learning rate: LFM2 with one or
two short convolutions, a Qwen3 block as the library initialises it, and the same block with an induction circuit put
in by hand (layer 0: a head that attends to the previous token; layer 1: heads that find where the present token
came before, and copy what followed). All are stock architectures of transformers. What is read is whole turns exact
under teacher forcing, on tools of a world that no row comes from. `ours` is the architecture of the model in the box,
`peer` the better Qwen3.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see cli/main.py

import torch

from callgrain.core import plugins
from callgrain.corpus.build import BuildRecipe, build
from callgrain.models._forest import Document, plant, target_logits
from callgrain.models._tiny import Size, tiny_tokenizer
from callgrain.tools._toolworld_micro import vocabulary

WIDTH, HEADS = 160, 4
LEARN = BuildRecipe(
    source="toolworld:open,seed=1,worlds=64", subtask="full=3,nest=2,decide=1,parallel=1.5,chain=1", n=1
)
ASK = BuildRecipe(source="toolworld:open,seed=0", split="unseen_tool", subtask="full,nest", n=1)


def main() -> None:
    """Print a table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4_000_000, help="training tokens an arm")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="an eighth of the tokens: shows that it runs")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokens = given.tokens // 8 if given.quick else given.tokens
    tokenizer = tiny_tokenizer((*vocabulary(), *plugins.names("subtasks")))
    with tempfile.TemporaryDirectory() as folder:
        learn = _documents(LEARN.model_copy(update={"n": tokens // 75}), Path(folder), tokenizer)
        ask = _documents(ASK.model_copy(update={"n": 600}), Path(folder), tokenizer)
        found: dict[str, list[float]] = {}
        for seed in range(given.seeds):
            for name, make in ARMS.items():
                torch.manual_seed(seed)  # the library initialises from the global stream
                model = make(tokenizer)
                copied = _repeats(model)
                began = time.monotonic()
                curve = _train(model, learn, ask, tokens, seed)
                found.setdefault(name, []).append(curve[-1][1])
                size = sum(p.numel() for p in model.parameters())
                shown = "  ".join(f"{step / 1e6:.1f}M {right:.3f}" for step, right in curve)
                print(
                    f"{name:18} {size:,}  copies at the start {copied:.2f}  {shown}  {time.monotonic() - began:.0f} s",
                    flush=True,
                )
    means = {name: mean(scores) for name, scores in found.items()}
    peer = max(means["qwen3"], means["qwen3+induction"])
    print(
        json.dumps(
            {
                "name": "architectures",
                "ours": means["lfm2 cacaa"],
                "peer": peer,
                "ratio": round(means["lfm2 cacaa"] / max(peer, 1e-9), 3),
                "unit": "whole turns exact",
                "n": given.seeds,
                "means": means,
            }
        )
    )


def _documents(recipe: BuildRecipe, folder: Path, tokenizer: Any) -> list[Document]:
    from callgrain.core.types import Message, Prompt

    dialect = plugins.load("dialects", "compact")()
    made: list[Document] = []
    for row in build(recipe, folder).rows("rows"):
        prompt = tokenizer.encode(dialect.render(Prompt.model_validate_json(row["prompt"])))
        target = dialect.write(Message.model_validate_json(row["target"])) + dialect.end
        made.append(Document(tuple(prompt), (tuple(tokenizer.encode(target)),)))
    return made


def _train(model: Any, learn: list[Document], ask: list[Document], tokens: int, seed: int) -> list[tuple[int, float]]:
    """AdamW with linear decay; (tokens seen, share of whole turns exact) eight times."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    order = torch.randperm(len(learn), generator=torch.Generator().manual_seed(seed)).tolist()
    seen, at, curve = 0, 0, []
    marks = [tokens * n // 4 for n in range(1, 5)]
    while seen < tokens:
        batch: list[Document] = []
        while sum(len(d.prompt) + len(d.branches[0]) for d in batch) < 2048:
            batch.append(learn[order[at % len(order)]])
            at += 1
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, seen / (0.03 * tokens) + 0.01) * max(0.02, 1 - seen / tokens)
        forest = plant(batch)
        loss = torch.nn.functional.cross_entropy(target_logits(model.train(), forest), forest.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        seen += forest.tokens
        if (seen >= marks[len(curve)] and len(curve) < len(marks) - 1) or seen >= tokens:
            curve.append((seen, _exact(model, ask)))
    return curve


@torch.no_grad()
def _exact(model: Any, ask: list[Document]) -> float:
    """Share of turns of which every token is the likeliest, the right ones before it given."""
    right = 0
    for start in range(0, len(ask), 30):
        forest = plant(ask[start : start + 30])
        hit = target_logits(model.eval(), forest).argmax(-1) == forest.targets
        misses = torch.zeros(forest.branches, dtype=torch.long).index_add(0, forest.branch, (~hit).long())
        right += int((misses == 0).sum())
    return right / len(ask)


@torch.no_grad()
def _repeats(model: Any) -> float:
    """Share of tokens right in the second half of random tokens said twice: an induction circuit's work."""
    ids = torch.randint(60, 1200, (16, 24), generator=torch.Generator().manual_seed(0)).repeat(1, 2)
    logits = model.eval()(input_ids=ids, use_cache=False).logits
    return float((logits[:, 24:-1].argmax(-1) == ids[:, 25:]).float().mean())


def _lfm2(layers: str) -> Any:
    from callgrain.models._load import load
    from callgrain.models._tiny import new_tiny

    def make(_: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            words = (*vocabulary(), *plugins.names("subtasks"))
            seed = int(torch.initial_seed())
            return load(str(new_tiny(Path(folder), words, seed=seed, size=Size(WIDTH, layers, HEADS)))).model

    return make


def _qwen3(tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=5,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=WIDTH // HEADS, max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, tie_word_embeddings=True,
        initializer_range=0.06, pad_token_id=0, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


@torch.no_grad()
def _induction(tokenizer: Any) -> Any:
    """A Qwen3 block with a previous-token head in layer 0 and heads that match and copy in layer 1.

    RoPE pairs dimension i with i + size/2 and turns it by theta^(-2i/size) a position: early pairs tell positions
    apart, late ones hardly move and so can hold content. The embedding's dimension 0 is a constant, from which
    the head of layer 0 makes queries and keys that know their position alone.
    """
    model = _qwen3(tokenizer)
    size, half = WIDTH // HEADS, WIDTH // HEADS // 2
    embedding = model.model.embed_tokens.weight
    scale = float(embedding.std())
    embedding[:, 0] = 6 * scale
    theta = 10000.0 ** (-torch.arange(half) / half)
    # Layer 0, head 0: a key turned by one position meets the query of the next.
    first = model.model.layers[0].self_attn
    early = 5
    for name in ("q_proj", "k_proj"):
        getattr(first, name).weight[:size] = 0
    first.q_proj.weight[:early, 0] = 1.0
    first.k_proj.weight[:early, 0] = torch.cos(theta[:early])
    first.k_proj.weight[half : half + early, 0] = torch.sin(theta[:early])
    first.q_norm.weight[:], first.k_norm.weight[:] = 2.5, 2.5
    # What it carries: a projection of the previous token into a subspace of its own.
    carried = 2 * (half - 6)  # as many dimensions as the late pairs have
    basis = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    basis[0] = 0  # the constant is not carried
    read, write = basis[:, :carried].T, basis[:, carried : 2 * carried]
    first.v_proj.weight[:size] = 0
    first.v_proj.weight[:carried] = read
    first.o_proj.weight.mul_(0.02)
    first.o_proj.weight[:, :size] = 0
    first.o_proj.weight[:, :carried] = write * scale * 2.5
    # Layer 1: queries are the present token's projection, keys what stands in that subspace.
    second = model.model.layers[1].self_attn
    late = [*range(6, half), *range(half + 6, size)]
    second.q_proj.weight[:], second.k_proj.weight[:] = 0, 0
    for head in range(HEADS):
        rows = [head * size + i for i in late]
        second.q_proj.weight[rows] = read
        second.k_proj.weight[rows] = write.T
    second.q_norm.weight[:], second.k_norm.weight[:] = 2.5, 2.5
    second.v_proj.weight[:] = torch.eye(WIDTH)
    second.o_proj.weight[:] = torch.eye(WIDTH) * scale * 2
    for number, layer in enumerate(model.model.layers):  # what is put in by hand is not drowned by random layers
        layer.mlp.down_proj.weight.mul_(0.02)
        if number > 1:
            layer.self_attn.o_proj.weight.mul_(0.02)
    return model


ARMS = {"lfm2 cacaa": _lfm2("cacaa"), "lfm2 caaaa": _lfm2("caaaa"), "qwen3": _qwen3, "qwen3+induction": _induction}

if __name__ == "__main__":
    main()
