"""`grade_cli`: a thousand recorded outputs graded, `callgrain grade` against `bfcl evaluate`, whole processes.

    bash benchmarks/peers.sh bfcl && python -m benchmarks.grade_cli [--quick]

Both get the same texts, the gold calls of BFCL's four Python categories as a model would write them, and
the same questions out of the peer's package. Ours runs both its own grader and BFCL's, and writes every
reply, verdict and reading of the run; the peer writes its scores. They take turns; medians of wall time count.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._bfcl_outputs import golds
from benchmarks.conformance import peer_python

CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple")
ROUNDS = 7
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
"""A model whose handler takes calls as Python text and wants no key."""


def lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def written(call: dict[str, Any]) -> str:
    """A call as Python text."""
    name, arguments = next(iter(call.items()))
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def lay(data: Path, scratch: Path) -> int:
    """The peer's result folder, our FILE and the SOURCE folder in `scratch`; returns how many outputs there are."""
    results = scratch / "result" / MODEL.replace("/", "_") / "non_live"
    results.mkdir(parents=True)
    (scratch / "source" / "possible_answer").mkdir(parents=True)
    everything: list[str] = []
    for category in CATEGORIES:
        name = f"BFCL_v4_{category}.json"
        for part in (name, f"possible_answer/{name}"):
            shutil.copy(data / part, scratch / "source" / part)
        answers = {row["id"]: row["ground_truth"] for row in lines(data / "possible_answer" / name)}
        rows: list[str] = []
        for row in lines(data / name):
            calls = golds({"function": row["function"], "answers": answers[row["id"]]}, "python")
            rows.append(json.dumps({"id": row["id"], "result": f"[{', '.join(map(written, calls))}]"}))
        (results / f"BFCL_v4_{category}_result.json").write_text("\n".join(rows) + "\n")
        everything += rows
    (scratch / "outputs.jsonl").write_text("\n".join(everything) + "\n")
    return len(everything)


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Wall seconds of a process, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def check(rows: list[dict[str, Any]], shown: str) -> None:
    """Both must say the same of each category; raises SystemExit where they do not."""
    for category in CATEGORIES:
        oks = [row["bfcl"]["ok"] for row in rows if row["id"].rpartition("_")[0] == category]
        if not re.search(rf"Test completed: {category}\. .*Accuracy: {sum(oks) / len(oks):.2%}", shown):
            raise SystemExit(f"{category}: {sum(oks)} of {len(oks)} right here; there: {shown}")


def main() -> None:
    """Print both medians, and one JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    rounds = 2 if parser.parse_args().quick else ROUNDS
    python = peer_python()
    asked = "import importlib.util as u; print(u.find_spec('bfcl_eval').submodule_search_locations[0])"
    package = subprocess.run([python, "-c", asked], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        n = lay(Path(package) / "data", scratch)
        environment = {**os.environ, "BFCL_PROJECT_ROOT": folder}
        ours = [sys.executable, "-m", "callgrain.cli.main", "grade", f"{folder}/outputs.jsonl", "--json", "--quiet"]
        ours += ["--source", f"bfcl:{folder}/source", "--grader", "strict,bfcl"]
        peer = [python, "-m", "bfcl_eval", "evaluate", "--model", MODEL, "--test-category", ",".join(CATEGORIES)]
        for number in range(-1, rounds):  # the first round warms the disk and is not counted
            spent, said = timed([*ours, "--out", f"{folder}/runs{number}"], environment)
            shutil.rmtree(scratch / "score", ignore_errors=True)
            theirs, shown = timed(peer, environment)
            check([json.loads(line) for line in said.split("\n") if line], shown)
            if number >= 0:
                seconds["ours"].append(spent)
                seconds["peer"].append(theirs)
    middle = {side: statistics.median(found) for side, found in seconds.items()}
    for side, found in seconds.items():
        print(f"{side}: median {middle[side]:.2f} s of {', '.join(f'{s:.2f}' for s in found)}")
    figures = {side: round(value, 3) for side, value in middle.items()}
    print(
        json.dumps(
            {"name": "grade_cli", **figures, "ratio": round(middle["peer"] / middle["ours"], 2), "unit": "s", "n": n}
        )
    )


if __name__ == "__main__":
    main()
