"""`diagnose` on real input: public data, a model of transformers, an HTTP endpoint.

    python -m benchmarks.real [--quick]

A scripted model that gets an argument's value wrong at a rate of 0.3 is diagnosed on each public
source: the printed interval should hold 0.3. A Llama of random weights, saved as anybody's model
would be, and a real HTTP server that answers half of its requests with the right native tool
calls are diagnosed on `toolworld:full`; what the server knew is counted, so the score has a truth.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from callgrain import diagnose
from callgrain.core.canonical import text_key
from callgrain.core.stats import interval_text
from callgrain.core.types import Prompt, Reading, Sample
from callgrain.dialects._chat import as_chat, text_of
from callgrain.models._wire import native_body, prompt_names
from callgrain.probes._diagnose import SUBTASKS
from callgrain.probes._pool import pool
from callgrain.sources._open import open_source
from callgrain.verify.spoil import right

RATE = 0.3
SOURCES = {"bfcl": ("bfcl_v4", "test"), "sgd": ("sgd", "dev"), "gsm8k": ("gsm8k", "test")}
TEMPLATE = (
    "{% if tools %}<|im_start|> system {% for t in tools %}{{ t.function | tojson }} {% endfor %}<|im_end|> {% endif %}"
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)

NO_TOOL = {"id": "w", "type": "function", "function": {"name": "no_such_tool", "arguments": "{}"}}
NEEDLESS = {"role": "assistant", "content": None, "tool_calls": [NO_TOOL]}
REFUSAL = {"role": "assistant", "content": "I would rather not."}


def overall(readings: Sequence[Reading], probe: str, name: str) -> Reading | None:
    """The reading that no slice narrows."""
    return next((r for r in readings if (r.probe, r.name, r.by) == (probe, name, {})), None)


def scores(readings: Sequence[Reading]) -> dict[str, Reading]:
    """The score of each sub-task."""
    return {str(r.by["subtask"]): r for r in readings if (r.probe, r.name, set(r.by)) == ("subtask", "ok", {"subtask"})}


def asked(out: Path) -> tuple[int, int]:
    """(samples, requests without a reply) of the one run in `out`."""
    (done,) = out.glob("diagnose/*/done.json")
    summary = json.loads(done.read_text())
    return summary["samples"], summary["failures"]


def scripted(name: str, folder: Path, split: str, n: int) -> dict[str, Any]:
    """The planted rate on one public source."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        found = diagnose(f"scripted:wrong_value={RATE}", f"{name}:{folder}", Path(out), split=split, n=n)
        seconds = time.perf_counter() - began
        samples, failures = asked(Path(out))
    rate = overall(found, "fault", "wrong_value")
    assert rate is not None
    assert rate.value is not None
    assert rate.low is not None
    assert rate.high is not None
    holds = rate.low <= RATE <= rate.high
    shown = interval_text(rate.value, rate.low, rate.high)
    print(
        f"{name:18} {seconds:6.1f} s  {samples:5,} samples  wrong_value {shown} of {rate.n}, "
        f"{'holds' if holds else 'does not hold'} {RATE:.0%}",
        flush=True,
    )
    rated = {"rate": rate.value, "low": rate.low, "high": rate.high, "of": rate.n, "holds": holds}
    return {"seconds": round(seconds, 1), "samples": samples, "failures": failures, **rated}


def save_random(folder: Path, prompts: Sequence[Prompt]) -> None:
    """A Llama of random weights with a tokenizer of the prompts' own words and a ChatML template."""
    import tokenizers
    import torch
    import transformers

    torch.set_num_threads(1)
    words = Counter(w for p in prompts for m in p.messages for w in m.text.split())
    words.update(w for p in prompts for t in p.tools for w in (*t.name.split("_"), *t.properties))
    specials = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>"]
    known = dict.fromkeys([*specials, "system", "user", "assistant", *(w for w, _ in words.most_common(1000))])
    vocabulary = {word: number for number, word in enumerate(known)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=8192,
            pad_token_id=1,
            bos_token_id=None,
            eos_token_id=3,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)


def local(n: int) -> dict[str, Any]:
    """A model that knows nothing: everything must be read and blamed, nothing may break."""
    with tempfile.TemporaryDirectory() as out:
        folder = Path(out) / "model"
        save_random(folder, [sample.prompt for sample in cut(n)])
        began = time.perf_counter()
        found = diagnose(f"local:{folder}", "toolworld:full", Path(out), n=n, max_tokens=24)
        seconds = time.perf_counter() - began
        samples, failures = asked(Path(out))
    right_ones = sum(round((r.value or 0) * r.n) for r in scores(found).values())
    faults = [r for r in found if r.probe == "fault" and not r.by and r.value]
    worst = max(faults, key=lambda r: (r.value or 0) * r.n, default=None)
    blame = f", mostly {worst.name}" if worst else ""
    print(
        f"{'local, random':18} {seconds:6.1f} s  {samples:5,} samples  {right_ones} right{blame}, {failures} failures",
        flush=True,
    )
    return {"seconds": round(seconds, 1), "samples": samples, "failures": failures, "right": right_ones}


class Endpoint(ThreadingHTTPServer):
    """Chat completions with native tool calls: right for half of the prompts that it was shown."""

    daemon_threads = True

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {question(native_body(s.prompt)): turn(s) if knows(s) else wrong(s) for s in samples}
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Endpoint
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: else each answer waits for the kernel's delayed acknowledgement

    def do_POST(self) -> None:
        """The right turn where it is known, else a wrong one."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = self.server.answers.get(question(body), REFUSAL)
        sent = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        """No log."""


def question(body: dict[str, Any]) -> str:
    """What is asked, whatever the model's name and the sampling."""
    return json.dumps([body["messages"], body.get("tools")], sort_keys=True)


def knows(sample: Sample) -> bool:
    """Whether the server answers rightly: a coin of the prompt's own."""
    return text_key("endpoint", sample.prompt.key) % 2 == 0


def turn(sample: Sample) -> dict[str, Any]:
    """The right assistant turn as an endpoint sends it."""
    message = right(sample).message
    assert message is not None
    (said,) = as_chat((message,), arguments=text_of)
    names = prompt_names(sample.prompt)
    for call in said.get("tool_calls", ()):
        call["function"]["name"] = names[call["function"]["name"]]
    return said


def wrong(sample: Sample) -> dict[str, Any]:
    """A turn that no sub-task takes for right: words for calls, a call for words."""
    return REFUSAL if sample.answer.calls else NEEDLESS


def cut(n: int) -> list[Sample]:
    """The pool that a diagnosis on `toolworld:full` asks."""
    source, split = open_source("toolworld:full")
    return [sample for _, sample in pool(source.traces(split), list(SUBTASKS), n, 0)]


def remote(n: int) -> dict[str, Any]:
    """A real HTTP server whose right answers are counted beforehand."""
    samples = cut(n)
    expected = Counter(s.subtask for s in samples if knows(s))
    server = Endpoint(samples)
    try:
        with tempfile.TemporaryDirectory() as out:
            began = time.perf_counter()
            address = f"http://127.0.0.1:{server.server_port}/v1"
            found = diagnose(f"remote:half@{address}", "toolworld:full", Path(out), n=n, key_env="CALLGRAIN_NO_KEY")
            seconds = time.perf_counter() - began
            total, failures = asked(Path(out))
    finally:
        server.shutdown()
        server.server_close()
    measured = {name: round((r.value or 0) * r.n) for name, r in scores(found).items()}
    astray = {name: (expected[name], hits) for name, hits in measured.items() if hits != expected[name]}
    told = f"other than what the server knew: {astray}" if astray else "exactly what the server knew"
    print(
        f"{'remote, half':18} {seconds:6.1f} s  {total:5,} samples  {sum(measured.values())} right of {len(samples)}, "
        f"{told}; {failures} failures",
        flush=True,
    )
    return {
        "seconds": round(seconds, 1),
        "samples": total,
        "failures": failures,
        "right": sum(measured.values()),
        "known": expected.total(),
        "astray": astray,
    }


def main() -> None:
    """Print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 samples a sub-task instead of 100")
    n = 30 if parser.parse_args().quick else 100
    os.environ["NO_PROXY"] = "127.0.0.1"
    shared = Path(os.environ.get("CALLGRAIN_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    sources: dict[str, dict[str, Any]] = {}
    for name, (folder, split) in SOURCES.items():
        if (shared / folder).is_dir():
            sources[name] = scripted(name, shared / folder, split, n)
        else:
            print(f"{name}: not measured, no {folder}/ in {shared} (CALLGRAIN_SHARED_DATA names another folder)")
    found: dict[str, Any] = {"sources": sources, "remote": remote(n)}
    try:
        found["local"] = local(10)
    except ImportError as error:
        print(f"local: not measured, {error.name} is not installed (pip install 'callgrain[train]')")
    held = sum(s["holds"] for s in sources.values())
    unit = f"of {len(sources)} intervals hold {RATE}"
    print(json.dumps({"name": "real", "ours": held, "peer": None, "ratio": None, "unit": unit, "n": n, **found}))


if __name__ == "__main__":
    main()
