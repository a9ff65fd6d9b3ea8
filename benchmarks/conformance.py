"""Our restatement of BFCL's checker against the real one, output by output, and its named quirks.

Every single-turn row that the `bfcl-eval` package ships, its gold answer, every accepted
alternative and dozens of mutations: validity and error type must both agree, a crash with a
crash. Run with `python -m benchmarks.conformance [--quick]` after `bash benchmarks/peers.sh bfcl`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._bfcl_outputs import outputs_of
from callgrain.core.types import Answer, Call, Message, Origin, Prompt, Reply, Sample, Tool
from callgrain.sources.bfcl import _answer, read_schema
from callgrain.verify.compat.bfcl import Checker, Outcome, compile_key
from callgrain.verify.verdict import judge_calls

HERE = Path(__file__).resolve().parent
CATEGORIES = (
    "simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple", "irrelevance",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance",
)  # fmt: skip
CONSOLE = Console(width=140)

LINE = {"type": "dict", "required": ["x"]}
QUIRKS: tuple[tuple[str, dict[str, Any], list[dict[str, list[Any]]], list[dict[str, Any]], bool], ...] = (
    ("a minus sign is dropped", {"type": "string"}, [{"x": ["5"]}], [{"x": "-5"}], False),
    ("a decimal point is dropped", {"type": "string"}, [{"x": ["15"]}], [{"x": "1.5"}], False),
    ("dates run together", {"type": "string"}, [{"x": ["2024-11-1"]}], [{"x": "2024-1-11"}], False),
    ("slashes are dropped", {"type": "string"}, [{"x": ["ab"]}], [{"x": "/a/b"}], False),
    (
        "no integers among floats",
        {"type": "array", "items": {"type": "float"}},
        [{"x": [[1.0, 2.5]]}],
        [{"x": [1, 2.5]}],
        True,
    ),
    (
        "greedy pairing of parallel calls",
        {"type": "integer"},
        [{"x": [1, 2]}, {"x": [1]}],
        [{"x": 1}, {"x": 2}],
        True,
    ),
)
"""Name, schema of the parameter x, accepted values and arguments of each call, and what is right."""


def peer_python() -> str:
    """Python of the peer's environment, which is made where it is not there yet."""
    made = subprocess.run(["bash", str(HERE / "peers.sh"), "bfcl"], stdout=subprocess.PIPE, text=True, check=True)
    return made.stdout.split()[-1]


class Peer:
    """The real checker in its own process."""

    def __init__(self, python: str, scratch: str) -> None:
        environment = {**os.environ, "BFCL_PROJECT_ROOT": scratch}  # it makes folders where it is told
        self.process = subprocess.Popen(
            [python, str(HERE / "_bfcl_peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        if self._line() != "ready":
            raise RuntimeError("the peer does not start")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def judge(self, row: dict[str, Any], outputs: list[Any]) -> tuple[list[list[Any]], float]:
        """[valid or None for a crash, error type] of each output, and the seconds it took."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**row, "outputs": outputs}) + "\n")
        self.process.stdin.flush()
        judged, seconds = json.loads(self._line())
        return judged, seconds

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def restored(value: Any) -> Any:
    """`{"$tuple": [...]}` as a tuple, at any depth."""
    if isinstance(value, dict):
        if list(value) == ["$tuple"]:
            return tuple(restored(v) for v in value["$tuple"])
        return {k: restored(v) for k, v in value.items()}
    return [restored(v) for v in value] if isinstance(value, list) else value


def ours(checker: Checker, output: Any) -> Outcome:
    """Our judgement of a decoded output, calls or not."""
    if isinstance(output, dict) and output.get("$undecodable"):
        return checker.refuse("ast_decoder:decoder_failed")
    shaped = isinstance(output, list) and all(
        isinstance(call, dict) and len(call) == 1 and isinstance(next(iter(call.values())), dict) for call in output
    )
    if not shaped:
        return checker.refuse("ast_decoder:decoder_wrong_output_format")
    return checker.check([next(iter(call.items())) for call in output])


def rows(data: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Every single-turn row with its key: one in eight of the large categories with `quick`."""
    for category in CATEGORIES:
        questions = [json.loads(line) for line in (data / f"BFCL_v4_{category}.json").open(encoding="utf-8")]
        path = data / "possible_answer" / f"BFCL_v4_{category}.json"
        truth = [json.loads(line)["ground_truth"] for line in path.open(encoding="utf-8")] if path.exists() else []
        for index, question in enumerate(questions):
            if quick and len(questions) > 60 and index % 8:
                continue
            answers = truth[index] if truth else []
            yield {"function": question["function"], "answers": answers, "category": category, "id": question["id"]}


def compare(peer: Peer, data: Path, quick: bool) -> dict[str, Any]:
    """Both checkers over everything; disagreements are printed as they are found."""
    rng, errors = Random(0), Counter[str]()
    tally: dict[str, list[int]] = {}
    disagree: list[Any] = []
    seconds = {"ours": 0.0, "peer": 0.0}
    for row in rows(data, quick):
        outputs = outputs_of(row, rng, 60)
        judged, spent = peer.judge(row, outputs)
        decoded = restored(json.loads(json.dumps(outputs)))
        start = time.perf_counter()
        checker = compile_key(row["function"], row["answers"], row["category"])
        found = [ours(checker, output) for output in decoded]
        seconds["ours"] += time.perf_counter() - start
        seconds["peer"] += spent
        count = tally.setdefault(row["category"], [0, 0, 0])
        count[0] += 1
        for output, outcome, (valid, error) in zip(outputs, found, judged, strict=True):
            same = bool(outcome.crash) if valid is None else (outcome.valid, outcome.error_type) == (valid, error)
            same = same and bool(outcome.crash) == (valid is None)
            count[1] += 1
            count[2] += same
            errors["crash" if valid is None else error or "valid"] += 1
            if not same:
                disagree.append({"id": row["id"], "output": output, "real": [valid, error], "ours": repr(outcome)})
    show(tally, errors)
    total, agree = sum(c[1] for c in tally.values()), sum(c[2] for c in tally.values())
    return {
        "items": sum(c[0] for c in tally.values()),
        "outputs": total,
        "agree": agree,
        "ratio": agree / total,
        "error_types": len(errors),
        "microseconds": {side: round(1e6 * spent / total, 2) for side, spent in seconds.items()},
        "disagree": disagree[:5],
    }


def show(tally: dict[str, list[int]], errors: Counter[str]) -> None:
    """Print what agreed by category, and how often each error type was met."""
    table = Table("category", "items", "outputs", "agree", title="valid and error type, ours against the real checker")
    for category, (items, total, agree) in tally.items():
        table.add_row(category, str(items), str(total), str(agree))
    CONSOLE.print(table)
    CONSOLE.print(dict(errors.most_common()))


def quirks(peer: Peer) -> list[dict[str, Any]]:
    """The named quirks: what the real checker, ours, the strict verdict and a person say."""
    out: list[dict[str, Any]] = []
    for name, schema, accepted, given, right in QUIRKS:
        function = {"name": "f", "description": "", "parameters": {**LINE, "properties": {"x": schema}}}
        answers = [{"f": one} for one in accepted]
        row = {
            "function": [function],
            "answers": answers,
            "category": "parallel" if len(given) > 1 else "simple_python",
        }
        calls = [{"f": one} for one in given]
        ((valid, _),), _ = peer.judge(row, [calls])
        mine = compile_key([function], answers, row["category"]).check([("f", one) for one in given]).valid
        tool = Tool(name="f", parameters=read_schema(function["parameters"]))
        answer: Answer = _answer(answers, {"f": tool})
        sample = Sample(
            subtask="full",
            prompt=Prompt(messages=(Message(role="user", text="x"),), tools=(tool,)),
            answer=answer,
            origin=Origin(dataset="quirk", row=name, licence="Apache-2.0"),
        )
        reply = Reply(message=Message(calls=tuple(Call(name="f", arguments=one) for one in given)))
        strict = judge_calls(sample.answer, sample.prompt.tools, reply).ok
        out.append({"quirk": name, "real": valid, "ours": mine, "strict": strict, "right": right})
    return out


def main() -> None:
    """Compare, show the quirks; the last line of output is one JSON object."""
    sys.set_int_max_str_digits(0)
    python = peer_python()
    asked = "import importlib.util as u; print(u.find_spec('bfcl_eval').submodule_search_locations[0])"
    package = subprocess.run([python, "-c", asked], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        peer = Peer(python, scratch)
        figures = compare(peer, Path(package) / "data", "--quick" in sys.argv[1:])
        named = quirks(peer)
        peer.close()
    table = Table("quirk", "real", "ours (compat)", "strict", "right")
    for row in named:
        table.add_row(row["quirk"], *(str(row[side]) for side in ("real", "ours", "strict", "right")))
    CONSOLE.print(table)
    last = {"name": "conformance", **figures, "quirks": named, "seconds": round(time.perf_counter() - start, 1)}
    print(json.dumps(last))


if __name__ == "__main__":
    main()
