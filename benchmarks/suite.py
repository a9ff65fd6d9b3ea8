"""The whole suite on three models: the one in the box, random weights of transformers, and an HTTP endpoint.

`python -m benchmarks.suite [tiny|random|remote ...] [--n 60] [--out runs]`: which probes ran at which tier, prompts,
tokens and seconds of each, and what each found in a sentence. The endpoint is a server of this process that calls a
random tool and gives `top_logprobs`: what it says is noise, and that every probe says so is what is shown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from callgrain.core.canonical import text_key
from callgrain.core.store import Run
from callgrain.panels._markup import sayings
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.report.html import drawn, write_page

CONSOLE = Console(width=140)
SOURCES = {"tiny": "toolworld:open", "random": "toolworld:micro", "remote": "toolworld:micro"}
"""What each is asked on: `tiny` on the world that it was trained on."""


def main() -> None:
    """Print a table a model; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="tiny, random, remote (default: all three)")
    parser.add_argument("--n", type=int, default=60, help="samples a sub-task of tiny; the others get 8")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--quick", action="store_true", help="8 samples a sub-task")
    given = parser.parse_args()
    ran = 0
    for name in given.models or list(SOURCES):
        few = given.quick or name != "tiny"
        ran += _show(name, _asked(name, 8 if few else given.n, given.out))
    print(json.dumps({"name": "suite", "ours": ran, "peer": None, "ratio": None, "unit": "probes that ran", "n": ran}))


def _asked(name: str, n: int, out: Path) -> tuple[Run, float]:
    """The run of a model, and the seconds that it took."""
    settings: dict[str, Any] = {"source": SOURCES[name], "probe": "all", "n": n, "max_tokens": 96 if n == 8 else 256}
    start = time.perf_counter()
    if name == "tiny":
        run = diagnose(DiagnoseRecipe(model="tiny", **settings), out)
    elif name == "random":
        folder = Path(tempfile.mkdtemp())
        _random_weights(folder)
        run = diagnose(DiagnoseRecipe(model=f"local:{folder}", dialect="json", **settings), out)
    else:
        with _Served() as address:
            run = diagnose(DiagnoseRecipe(model=f"remote:noise@{address}/v1", dialect="json", **settings), out)
    return run, time.perf_counter() - start


def _show(name: str, asked: tuple[Run, float]) -> int:
    run, took = asked
    found = readings(run)
    costs = {(r.name, str(r.by["of"])): r.value or 0 for r in found if r.probe == "cost"}
    spent: dict[str, float] = run.read("done")["seconds"]
    tiers = [r for r in found if r.probe == "tier"]
    said = {probe: sayings(body) for probe, _, body in drawn(found)}
    table = Table(
        "probe", "needs", "ran", "prompts", "tokens", "model s", "finding", title=f"{name}: {took / 60:.1f} min"
    )
    for row in tiers:
        tokens = sum(costs.get((kind, row.name), 0) for kind in ("prompt_tokens", "completion_tokens"))
        first = said.get(row.name, ["-"])
        table.add_row(
            row.name, str(row.by["needs"]), "yes" if row.value else f"no: has {row.by['has']}",
            f"{costs.get(('prompts', row.name), 0):,.0f}", f"{tokens:,.0f}", f"{spent.get(row.name, 0):.0f}",
            (first[0] if first else "-")[:150],
        )  # fmt: skip
    CONSOLE.print(table)
    CONSOLE.print(f"page: {write_page(run)}")
    return sum(r.value is not None for r in tiers)


def _random_weights(folder: Path) -> None:
    """A Llama of random weights with a tokenizer of bytes, as transformers saves them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: i for i, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=16384, eos_token_id=1, bos_token_id=0, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


class _Served:
    """An endpoint of this machine that gives a call at random out of the tools shown, with log-probs; its address."""

    def __enter__(self) -> str:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Noise)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


class _Noise(BaseHTTPRequestHandler):
    """Chat completions whose text is one call of a tool named in the prompt."""

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = "\n".join(str(m.get("content")) for m in body["messages"])
        names = sorted({part.split('"')[0] for part in said.split('"name": "')[1:]}) or ["nothing"]
        rng = Random(text_key(said, str(body.get("seed"))))
        text = json.dumps([{"name": rng.choice(names), "arguments": {}}])
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [_token(text[i : i + 4], rng) for i in range(0, len(text), 4)]}
        usage = {"prompt_tokens": len(said) // 4, "completion_tokens": len(text) // 4, "total_tokens": 0}
        answer = json.dumps(
            {"id": "x", "object": "chat.completion", "model": "noise", "choices": [choice], "usage": usage}
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: the table says what was asked."""


def _token(text: str, rng: Random) -> dict[str, Any]:
    best = -rng.random()
    others = [{"token": text, "logprob": best, "bytes": None}, {"token": "x", "logprob": best - 1.0, "bytes": None}]
    return {"token": text, "logprob": best, "bytes": None, "top_logprobs": others}


if __name__ == "__main__":
    main()
