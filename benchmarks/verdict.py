"""The strict verdict, with every fault named, against BFCL's checker on BFCL's own data.

Both check the same outputs: the gold ones, and one spoiled in each way that applies, each ROLLOUTS
times in a row, as rollouts of one prompt are graded. Ours and the peer's take turns, each in its
own process, on one core; the figure is the median of the rounds' ratios. Answers are compiled once
a sample; what one verdict costs that has to compile first stands beside it. BFCL's checker stops at
the first error; the strict verdict names every one, and `is_right` only says yes or no. Run with
`python -m benchmarks.verdict [--quick]` after `bash benchmarks/peers.sh bfcl`.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from callgrain.core import plugins
from callgrain.core.types import Answer, Reply, Sample, Tool
from callgrain.sources._open import open_source
from callgrain.verify import verdict as judge
from callgrain.verify.spoil import right, spoil

HERE = Path(__file__).resolve().parent
KINDS = (
    "unknown_tool", "wrong_tool", "missing_call", "extra_call", "missing_argument", "unknown_argument", "wrong_type",
    "not_allowed", "wrong_value", "ungrounded_value",
)  # fmt: skip
ROLLOUTS = 8
Outputs = list[tuple[Sample, Reply]]
Judged = Callable[[Answer, Sequence[Tool], Reply], bool]


def samples(folder: Path) -> list[Sample]:
    """Every row of the folder that is answered by calls, as a sample of `full`."""
    source, split = open_source(f"bfcl:{folder}")
    full = plugins.load("subtasks", "full")()
    found = [next(iter(full.samples(trace, Random(0)))) for trace in source.traces(split) if trace.gold.calls]
    return [s for s in found if s.answer.native]


def output_sets(found: list[Sample]) -> dict[str, Outputs]:
    """Outputs by set: `gold`, and one for each kind of fault that can be made."""
    sets: dict[str, Outputs] = {"gold": [(s, right(s)) for s in found]}
    for kind in KINDS:
        made = ((s, spoil(kind, s, Random(i))) for i, s in enumerate(found))
        sets[kind] = [(s, reply) for s, reply in made if reply is not None]
    return sets


def as_peer(outputs: Outputs) -> list[list[Any]]:
    """The outputs as BFCL's checker takes them."""
    rows: list[list[Any]] = []
    for sample, reply in outputs:
        key = sample.answer.native["bfcl"]  # type: ignore[index]
        calls = [{call.name: call.arguments} for call in reply.message.calls]  # type: ignore[union-attr]
        rows.append([key["function"], calls, key["ground_truth"], key["category"]])
    return rows


class Peer:
    """BFCL's checker in its own process, told which set to check."""

    def __init__(self, python: Path, sets: dict[str, Outputs]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [python, HERE / "_bfcl_timer.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "BFCL_PROJECT_ROOT": self._folder.name},
        )  # fmt: skip
        self._say(
            json.dumps({"rollouts": ROLLOUTS, "sets": {name: as_peer(outputs) for name, outputs in sets.items()}})
        )

    def _say(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def seconds(self, name: str) -> tuple[float, int]:
        """Seconds that the set took, and how many outputs were valid."""
        took, valid = json.loads(self._say(name))
        return took, valid

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def named(answer: Answer, tools: Sequence[Tool], reply: Reply) -> bool:
    """Whether the verdict, with all its faults named, has none."""
    return not judge.judge_calls(answer, tools, reply).faults


def strict(outputs: Outputs, rollouts: int = ROLLOUTS, judged: Judged = named) -> tuple[float, int]:
    """Seconds of one round, and number of right ones."""
    valid = 0
    rows = [(s.answer, s.prompt.tools, r) for s, r in outputs]
    start = time.process_time()
    for answer, tools, reply in rows:
        for _ in range(rollouts):
            right = judged(answer, tools, reply)
        valid += right
    return (time.process_time() - start) / rollouts, valid


def compiling(outputs: Outputs) -> float:
    """Seconds that it takes to compile every answer and to judge one reply to it."""
    judge._compiled.clear()
    return strict(outputs, 1)[0]


def main() -> None:
    """Print a table a set, then the line."""
    quick = "--quick" in sys.argv
    python = Path(os.environ.get("CALLGRAIN_PEERS", HERE.parent / ".peers")) / "bfcl" / "bin" / "python"
    if not python.exists():
        sys.exit("the peer is not there: bash benchmarks/peers.sh bfcl (CALLGRAIN_PEERS names its folder)")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, for the peer as well
    data = next(python.parent.parent.glob("lib/python*/site-packages/bfcl_eval/data"))
    judge.KEYS_KEPT = 100_000  # every answer stays compiled, as in grading rollouts
    sets = output_sets(samples(data))
    gc.freeze()  # what lies here beside the answers is the benchmark's own
    cold = {name: compiling(outputs) / len(outputs) * 1e6 for name, outputs in sets.items()}
    peer = Peer(python, sets)
    rounds = [
        {
            name: (strict(outputs), peer.seconds(name), strict(outputs, judged=judge.is_right))
            for name, outputs in sets.items()
        }
        for _ in range(3 if quick else 9)
    ]
    peer.close()
    summary = {name: _row(name, sets[name], rounds, cold[name]) for name in sets}
    mutated = [name for name in sets if name != "gold"]
    n = sum(len(sets[name]) for name in mutated)
    ratios = [_ratio(rounds, mutated, side) for side in (0, 2)]
    print(f"{'all mutated':18} {n:6}  ratio with all faults named {ratios[0]:.1f}, yes or no {ratios[1]:.1f}")
    gold = summary["gold"]
    found = {
        "name": "verdict", "ours": round(gold["ours"]), "peer": round(gold["peer"]),
        "ratio": round(gold["ratio"], 2), "unit": "verdicts/s on gold", "n": n + len(sets["gold"]),
        "ratio_mutated": round(ratios[0], 2), "ratio_gold_yes_or_no": round(_ratio(rounds, ["gold"], 2), 2),
        "ratio_mutated_yes_or_no": round(ratios[1], 2),
    }  # fmt: skip
    print(json.dumps(found))


def _ratio(rounds: list[dict[str, Any]], names: list[str], side: int) -> float:
    """Median over the rounds of the peer's seconds on these sets by ours."""
    return median(sum(r[name][1][0] for name in names) / sum(r[name][side][0] for name in names) for r in rounds)


def _row(name: str, outputs: Outputs, rounds: list[dict[str, Any]], cold: float) -> dict[str, float]:
    """Print one set: microseconds an output, ratios, and how many each found right."""
    n = len(outputs)
    ours, theirs, short = (median(found[name][i][0] for found in rounds) / n * 1e6 for i in range(3))
    valid = [rounds[0][name][i][1] for i in range(3)]
    print(
        f"{name:18} {n:6}  bfcl {theirs:6.2f} us  all faults {ours:6.2f} us x{_ratio(rounds, [name], 0):4.1f}  "
        f"yes or no {short:5.2f} us x{_ratio(rounds, [name], 2):4.1f}  to compile {cold:5.1f} us  "
        f"right: bfcl {valid[1]}, ours {valid[0]} {valid[2]}"
    )
    return {"ours": 1e6 / ours, "peer": 1e6 / theirs, "ratio": _ratio(rounds, [name], 0)}


if __name__ == "__main__":
    main()
